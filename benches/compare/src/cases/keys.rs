//! API keys: is this text one that was issued?
//!
//! prefixed-api-key reads a text, hashes it and compares; where the hashes are kept is its user's affair, here a map
//! by the short token. A text that is not a key never gets that far, one that was not issued gets to the map, and with
//! tollgate to the hash, so that the two cannot be told apart from outside.
//!
//! The floors are the hashes alone, on the bytes that tollgate hashes.

use std::{collections::HashMap, hint::black_box};

use hmac::{Hmac, KeyInit, Mac};
use prefixed_api_key::{PrefixedApiKey, PrefixedApiKeyController};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use sha2::{Digest as _, Sha256};
use tollgate::keys::{Digester, KeyStore, Keyring, MemoryStore, NewKey, Prefix, UnixTime, Write};

use super::Case;
use crate::{
    keys::Generator,
    rounds::Workload,
    subject::{Lane, whole},
};

/// How many keys were issued.
const ISSUED: usize = 10_000;

const PEPPER: &[u8] = b"32 bytes of randomness, or so...";
/// What is hashed before the key itself.
const TAG: &[u8] = b"tollgate.key.v1:";

pub fn cases() -> Vec<Case> {
    let case = |name, presented: fn(&Issued) -> Vec<Presented>, expected: bool| {
        Case::new(format!("keys/verify/{name}"), 1, 1, move || {
            let issued = Issued::new(1);
            let mut lanes = vec![
                issued.tollgate("tollgate", Digester::plain()),
                issued.tollgate("tollgate (pepper)", Digester::peppered(1, PEPPER).expect("it is long enough")),
                issued.prefixed_api_key(),
            ];
            // Every text has a hash; the other cases have no floor.
            if expected {
                lanes.extend(floors());
            }
            let (texts, mut generator) = (presented(&issued), Generator::new(9));
            let mut nth = move || texts[generator.below(texts.len() as u64) as usize].clone();
            let draw = move |count| (0..count).map(|_| nth()).collect();
            Workload { lanes, draw: Box::new(draw), expected: Some(expected), decisions: 1, audit: None }
        })
    };
    vec![
        case("valid", |issued| issued.texts.clone(), true),
        case("one", |issued| issued.texts[..1].to_vec(), true),
        case("unknown", |_| Issued::new(2).texts, false),
        case(
            "malformed",
            |issued| issued.texts.iter().map(|text| text.map(|text| text.replace('_', "-"))).collect(),
            false,
        ),
        case("typo", |issued| issued.texts.iter().map(|text| text.map(typo)).collect(), false),
    ]
}

/// A text for each of the two, as each issues its own.
#[derive(Clone)]
struct Presented {
    tollgate: String,
    theirs: String,
}

impl Presented {
    fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self { tollgate: change(&self.tollgate), theirs: change(&self.theirs) }
    }
}

/// The same text, but the last character but one is another.
fn typo(text: &str) -> String {
    let at = text.len() - 2;
    let other = if &text[at..=at] == "x" { "y" } else { "x" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

/// Keys as their owners hold them, and what is kept of them.
struct Issued {
    texts: Vec<Presented>,
    hashes: HashMap<String, String>,
    seed: u64,
}

impl Issued {
    fn new(seed: u64) -> Self {
        let (controller, mut generator) = (controller(), ChaCha20Rng::seed_from_u64(seed));
        let (mut texts, mut hashes) = (Vec::new(), HashMap::new());
        for _ in 0..ISSUED {
            let (key, hash) = controller.generate_key_and_hash();
            let new = NewKey::new(Prefix::literal("compare"), "");
            let issued = new.issue(&Digester::plain(), &mut generator).expect("it does not fail");
            texts.push(Presented { tollgate: issued.key.expose_secret().into(), theirs: key.to_string() });
            hashes.insert(key.short_token().to_owned(), hash);
        }
        Self { texts, hashes, seed }
    }

    fn tollgate(&self, name: &'static str, digester: Digester) -> Lane<Presented> {
        let (keyring, mut generator) =
            (Keyring::new(digester, MemoryStore::new()), ChaCha20Rng::seed_from_u64(self.seed));
        for _ in 0..ISSUED {
            // The same keys again, with digests of this digester.
            let new = NewKey::new(Prefix::literal("compare"), "");
            let record = new.issue(keyring.digester(), &mut generator).expect("it does not fail").record;
            assert_eq!(keyring.store().insert(record), Ok(Write::Done));
        }
        let now = UnixTime::from_secs(1_700_000_000);
        Lane::new(name, move |text: &Presented| whole(keyring.verify(text.tollgate.as_bytes(), now)).is_ok())
    }

    fn prefixed_api_key(&self) -> Lane<Presented> {
        let (controller, hashes) = (controller(), self.hashes.clone());
        Lane::new("prefixed-api-key", move |text: &Presented| {
            let verified = PrefixedApiKey::from_string(&text.theirs).ok().and_then(|key| {
                let hash = hashes.get(key.short_token())?;
                controller.check_hash(&key, hash).then_some(key)
            });
            whole(verified).is_some()
        })
    }
}

/// The hashes alone. Each is of some bytes or other, which is all that is asserted of it.
fn floors() -> [Lane<Presented>; 4] {
    fn signed(text: &Presented) -> &[u8] {
        &text.tollgate.as_bytes()[..text.tollgate.len() - 6]
    }
    let mac = Hmac::<Sha256>::new_from_slice(PEPPER).expect("of any length");
    let theirs = hmac_sha256::HMAC::new(PEPPER);
    [
        Lane::new("sha2 alone", |text| {
            black_box(Sha256::new().chain_update(TAG).chain_update(signed(text)).finalize());
            true
        }),
        Lane::new("hmac alone (pepper)", move |text| {
            black_box(mac.clone().chain_update(TAG).chain_update(signed(text)).finalize().into_bytes());
            true
        }),
        Lane::new("hmac-sha256 alone", |text| {
            let mut hash = hmac_sha256::Hash::new();
            hash.update(TAG);
            hash.update(signed(text));
            black_box(hash.finalize());
            true
        }),
        Lane::new("hmac-sha256 alone (pepper)", move |text| {
            let mut mac = theirs.clone();
            mac.update(TAG);
            mac.update(signed(text));
            black_box(mac.finalize());
            true
        }),
    ]
}

type Controller = PrefixedApiKeyController<prefixed_api_key::rand::rngs::OsRng, prefixed_api_key::sha2::Sha256>;

fn controller() -> Controller {
    PrefixedApiKeyController::configure().prefix("compare".to_owned()).seam_defaults().finalize().expect("complete")
}
