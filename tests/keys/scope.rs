//! Scopes: what is granted, against a reference that compares name by name.

use proptest::prelude::*;
use tollgate::keys::{Scope, ScopeError, Scopes};

/// Whether a grant covers a scope or another grant, name by name.
fn covers(grant: &str, wanted: &str) -> bool {
    fn step(grant: &[&str], wanted: &[&str]) -> bool {
        match (grant, wanted) {
            (["*"], [_, ..]) => true,
            ([], []) => true,
            ([name, grant @ ..], [other, wanted @ ..]) => name == other && *other != "*" && step(grant, wanted),
            _ => false,
        }
    }
    let names = |path: &'_ str| path.split(':').map(str::to_owned).collect::<Vec<_>>();
    let (grant, wanted) = (names(grant), names(wanted));
    let refs = |names: &'_ [String]| names.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();
    let (grant, wanted) = (refs(&grant), refs(&wanted));
    step(&grant.iter().map(String::as_str).collect::<Vec<_>>(), &wanted.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Few and short names, so that they meet: one is the beginning of another.
const PATH: &str = "(a|b|ab)(:(a|b|ab)){0,2}";
const GRANT: &str = "(\\*|(a|b|ab)(:(a|b|ab)){0,2}(:\\*)?)";

proptest! {
    /// A grant of `a:b` taken for the beginning of `a:bc`; a `*` that reaches up, or into its own node.
    #[test]
    fn grants_agree_with_the_reference(grants in proptest::collection::vec(GRANT, 0..4), scope in PATH) {
        let scopes = Scopes::new(grants.iter().map(String::as_str)).unwrap();
        let expected = grants.iter().any(|grant| covers(grant, &scope));
        prop_assert_eq!(scopes.grants(Scope::new(&scope).unwrap()), expected, "{:?} {}", grants, scope);
    }

    /// A key that mints one stronger than itself: whatever the weaker grants, the stronger has to.
    #[test]
    fn what_is_covered_grants_nothing_more(
        strong in proptest::collection::vec(GRANT, 0..4),
        weak in proptest::collection::vec(GRANT, 0..4),
        scopes in proptest::collection::vec(PATH, 32),
    ) {
        let (a, b) = (Scopes::new(strong.iter().map(String::as_str)).unwrap(), Scopes::new(weak.iter().map(String::as_str)).unwrap());
        let expected = weak.iter().all(|weak| strong.iter().any(|strong| covers(strong, weak)));
        prop_assert_eq!(a.covers(&b), expected);
        for scope in &scopes {
            let scope = Scope::new(scope).unwrap();
            prop_assert!(!(a.covers(&b) && b.grants(scope)) || a.grants(scope), "{:?} {:?} {}", a, b, scope);
        }
        // And what is not covered shows in some scope: below each grant, one that no one else thought of.
        if !a.covers(&b) {
            let probes = weak.iter().map(|grant| grant.replace('*', "zz:zz"));
            prop_assert!(probes.into_iter().any(|probe| !a.grants(Scope::new(&probe).unwrap())));
        }
    }

    #[test]
    fn scopes_survive_their_string(grants in proptest::collection::vec(GRANT, 0..6)) {
        let scopes = Scopes::new(grants.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(&scopes.as_str().parse::<Scopes>().unwrap(), &scopes);
        let mut sorted = grants.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(scopes.iter().collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn any_string_is_checked_without_a_panic(text in "\\PC{0,20}") {
        let _ = Scope::new(&text);
        let _ = text.parse::<Scopes>();
    }
}

#[test]
fn what_is_required_has_no_star() {
    for scope in ["*", "a:*", "*:a", "a*", "a:b*"] {
        assert_eq!(Scope::new(scope), Err(ScopeError::Star), "{scope}");
    }
    for grant in ["**", "a*", "a:*:b", "*:a", "a:b*"] {
        assert_eq!(Scopes::new([grant]), Err(ScopeError::Star), "{grant}");
    }
}

#[test]
fn names_are_checked() {
    for (scope, error) in [
        ("", ScopeError::EmptyName { at: 0 }),
        (":", ScopeError::EmptyName { at: 0 }),
        (":a", ScopeError::EmptyName { at: 0 }),
        ("a:", ScopeError::EmptyName { at: 2 }),
        ("a::b", ScopeError::EmptyName { at: 2 }),
        ("a b", ScopeError::Character { at: 1 }),
        ("a:é", ScopeError::Character { at: 2 }),
        ("a\"", ScopeError::Character { at: 1 }),
    ] {
        assert_eq!(Scope::new(scope), Err(error), "{scope}");
        assert_eq!(Scopes::new([scope]), Err(error), "{scope}");
    }
    assert_eq!("a  a:b a".parse::<Scopes>().unwrap().as_str(), "a a:b");
    assert_eq!("  ".parse::<Scopes>().unwrap(), Scopes::none());
}

#[test]
fn an_empty_list_grants_nothing() {
    let everything: Scopes = "*".parse().unwrap();
    assert!(!Scopes::none().grants(Scope::literal("a")));
    assert!(everything.grants(Scope::literal("a:b:c")));
    assert!(everything.covers(&Scopes::none()) && Scopes::none().covers(&Scopes::none()));
    assert!(!Scopes::none().covers(&everything));
    assert_eq!(Scopes::default(), Scopes::none());
}
