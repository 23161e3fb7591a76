//! API keys: is this text one that was issued?
//!
//! prefixed-api-key reads a text, hashes it and compares; where the hashes are kept is its user's affair, here a map
//! by the short token. A text that is not a key never gets that far, one that was not issued gets to the map.

use std::collections::HashMap;

use prefixed_api_key::{PrefixedApiKey, PrefixedApiKeyController};

use super::Case;
use crate::{
    keys::Generator,
    rounds::Workload,
    subject::{Lane, whole},
};

/// How many keys were issued.
const ISSUED: usize = 10_000;

pub fn cases() -> Vec<Case> {
    let case = |name, presented: fn(Issued) -> Vec<String>, expected| {
        Case::new(format!("keys/verify/{name}"), 1, 1, move || {
            let issued = Issued::new();
            let lanes = vec![issued.prefixed_api_key()];
            let (texts, mut generator) = (presented(issued), Generator::new(9));
            let mut nth = move || texts[generator.below(texts.len() as u64) as usize].clone();
            let draw = move |count| (0..count).map(|_| nth()).collect();
            Workload { lanes, draw: Box::new(draw), expected: Some(expected), decisions: 1, audit: None }
        })
    };
    vec![
        case("valid", |issued| issued.texts, true),
        case("unknown", |_| Issued::new().texts, false),
        case("malformed", |issued| issued.texts.iter().map(|text| text.replace('_', "-")).collect(), false),
    ]
}

/// Keys as their owners hold them, and what is kept of them.
struct Issued {
    texts: Vec<String>,
    hashes: HashMap<String, String>,
}

impl Issued {
    fn new() -> Self {
        let controller = controller();
        let (mut texts, mut hashes) = (Vec::new(), HashMap::new());
        for _ in 0..ISSUED {
            let (key, hash) = controller.generate_key_and_hash();
            texts.push(key.to_string());
            hashes.insert(key.short_token().to_owned(), hash);
        }
        Self { texts, hashes }
    }

    fn prefixed_api_key(&self) -> Lane<String> {
        let (controller, hashes) = (controller(), self.hashes.clone());
        Lane::new("prefixed-api-key", move |text: &String| {
            let verified = PrefixedApiKey::from_string(text).ok().and_then(|key| {
                let hash = hashes.get(key.short_token())?;
                controller.check_hash(&key, hash).then_some(key)
            });
            whole(verified).is_some()
        })
    }
}

type Controller = PrefixedApiKeyController<prefixed_api_key::rand::rngs::OsRng, prefixed_api_key::sha2::Sha256>;

fn controller() -> Controller {
    PrefixedApiKeyController::configure().prefix("compare".to_owned()).seam_defaults().finalize().expect("complete")
}
