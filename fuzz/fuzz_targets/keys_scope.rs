//! Any strings as grants and as a scope: read without a panic; what is granted agrees with a reference that compares name
//! by name; and what is covered grants nothing more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::keys::{Scope, Scopes};

fuzz_target!(|input: (String, String, String)| {
    let (strong, weak, scope) = input;
    // Characters that scopes are made of are rare among all that there are.
    let tame = |text: String| -> String {
        text.chars().map(|character| char::from(b"ab:* :a*"[character as usize % 8])).collect()
    };
    check(&strong, &weak, &scope);
    check(&tame(strong), &tame(weak), &tame(scope));
});

fn check(strong: &str, weak: &str, scope: &str) {
    let (Ok(strong), Ok(weak)) = (strong.parse::<Scopes>(), weak.parse::<Scopes>()) else { return };
    assert_eq!(strong.as_str().parse::<Scopes>().as_ref(), Ok(&strong));
    let expected = weak.iter().all(|wanted| strong.iter().any(|grant| covers(grant, wanted)));
    assert_eq!(strong.covers(&weak), expected, "{strong:?} {weak:?}");
    let Ok(scope) = Scope::new(scope) else { return };
    assert_eq!(strong.grants(scope), strong.iter().any(|grant| covers(grant, scope.as_str())));
    assert!(!strong.covers(&weak) || !weak.grants(scope) || strong.grants(scope));
}

/// Whether a grant covers a scope or another grant, name by name.
fn covers(grant: &str, wanted: &str) -> bool {
    let (mut grant, mut wanted) = (grant.split(':'), wanted.split(':'));
    loop {
        match (grant.next(), wanted.next()) {
            (Some("*"), Some(_)) | (None, None) => return true,
            (Some(name), Some(other)) if name == other => {}
            _ => return false,
        }
    }
}
