//! What came with a request.

use tollgate::keys::{Presented, bearer};

/// Of two keys, the first or the last is believed: a proxy reads the one, the application the other.
#[test]
fn a_key_in_two_places_is_no_key() {
    let (a, b) = (Some(&b"a"[..]), Some(&b"b"[..]));
    assert_eq!(Presented::in_one_of([None, None]), Presented::Nothing);
    assert_eq!(Presented::in_one_of([]), Presented::Nothing);
    assert_eq!(Presented::in_one_of([None, a]), Presented::Once(b"a"));
    assert_eq!(Presented::in_one_of([a, b]), Presented::Twice);
    assert_eq!(Presented::in_one_of([a, a]), Presented::Twice, "not even the same one");
    assert_eq!(Presented::in_one_of([a, None, b, None, a]), Presented::Twice);
    assert_eq!(Presented::in_one_of([Some(&b""[..])]), Presented::Once(b""), "an empty one is malformed, not missing");
    assert_eq!((Presented::from(a), Presented::from(None)), (Presented::Once(b"a"), Presented::Nothing));
}

#[test]
fn a_bearer_token_is_what_follows_the_scheme() {
    for (value, token) in [
        ("Bearer x", Some("x")),
        ("bEaReR   x", Some("x")),
        ("Bearer\tx", Some("x")),
        ("Bearer x y", Some("x y")),
        ("Bearer ", Some("")),
        ("Bearer", None),
        ("Bearerx", None),
        ("Basic x", None),
        (" Bearer x", None),
        ("", None),
        ("Beäre x", None),
    ] {
        assert_eq!(bearer(value.as_bytes()), token.map(str::as_bytes), "{value}");
    }
}
