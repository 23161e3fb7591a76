//! The form of a token: what was formatted is read back, and nothing else is.

use proptest::prelude::*;
use tollgate::keys::{Digester, FormatError, NewKey, Prefix, PrefixError, Token};

use super::{generator, issue};

fn key(prefix: &str, seed: u64) -> String {
    let new = NewKey::new(Prefix::new(prefix).unwrap(), "acme");
    new.issue(&Digester::plain(), &mut generator(seed)).unwrap().key.expose_secret().into()
}

proptest! {
    /// Tokens of a variable length, or split at the first `_`: some prefix, or 12 % of the keys, could not be read back.
    #[test]
    fn what_is_formatted_is_read_back(prefix in "[a-z0-9]([a-z0-9_]{0,30}[a-z0-9])?", seed: u64) {
        let new = NewKey::new(Prefix::new(&prefix).unwrap(), "acme");
        let issued = new.issue(&Digester::plain(), &mut generator(seed)).unwrap();
        let text = issued.key.expose_secret();
        let token = Token::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(token.id(), issued.record.id);
        prop_assert_eq!(token.prefix(), Some(issued.record.prefix));
        prop_assert_eq!(text.len(), prefix.len() + 55);
        let after = &text[prefix.len()..];
        let id_then_secret = format!("_{}", token.id());
        prop_assert!(text.starts_with(&prefix) && after.starts_with(&id_then_secret));
    }

    /// Slicing a `str` at the offset of a byte: input that is not ASCII made it panic.
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Token::parse(&bytes).is_err());
        // Of the right length and with separators about, so that it comes further.
        let near: Vec<u8> = bytes.iter().map(|byte| b"_0aZ\xC3\xA9"[usize::from(byte % 6)]).collect();
        prop_assert!(Token::parse(&near).is_err());
    }

    #[test]
    fn text_of_any_script_is_refused_without_a_panic(text in "\\PC{0,128}") {
        prop_assert!(Token::parse(text.as_bytes()).is_err());
    }
}

/// A checksum of part of the token, or none: a typo cost a look-up, or found another key.
#[test]
fn every_edit_of_one_character_is_refused() {
    for seed in 0..4 {
        let text = key("tg_live", seed);
        let bytes = text.as_bytes();
        for at in 0..=bytes.len() {
            for byte in 0..=u8::MAX {
                let mut inserted = bytes.to_vec();
                inserted.insert(at, byte);
                assert!(Token::parse(&inserted).is_err(), "{byte} inserted at {at}");
                if at < bytes.len() && byte != bytes[at] {
                    let mut changed = bytes.to_vec();
                    changed[at] = byte;
                    assert!(Token::parse(&changed).is_err(), "{byte} for {} at {at}", bytes[at]);
                }
            }
            if at < bytes.len() {
                let mut deleted = bytes.to_vec();
                deleted.remove(at);
                assert!(Token::parse(&deleted).is_err(), "deleted at {at}");
            }
            if at + 1 < bytes.len() && bytes[at] != bytes[at + 1] {
                let mut swapped = bytes.to_vec();
                swapped.swap(at, at + 1);
                assert!(Token::parse(&swapped).is_err(), "swapped at {at}");
            }
        }
    }
}

/// An error that says the wrong thing sends whoever reads it the wrong way.
#[test]
fn an_error_says_what_is_wrong() {
    let text = key("tg_live", 1);
    let error = |text: &str| Token::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error(""), FormatError::TooShort { len: 0 });
    assert_eq!(error(&text[text.len() - 54..]), FormatError::TooShort { len: 54 });
    assert_eq!(error(&text[text.len() - 55..]), FormatError::Prefix(PrefixError::Empty));
    assert_eq!(error(&text.replacen('_', "-", 2)), FormatError::Separator);
    assert_eq!(error(&text.replacen("tg", "TG", 1)), FormatError::Prefix(PrefixError::Character { at: 0 }));
    assert_eq!(error(&format!("_{text}")), FormatError::Prefix(PrefixError::Underscore));
    assert_eq!(error(&text.replacen("live_", "live__", 1)), FormatError::Prefix(PrefixError::Underscore));
    let mut bytes = text.clone().into_bytes();
    bytes[20] = b'-';
    assert_eq!(Token::parse(&bytes).unwrap_err(), FormatError::Character);
    bytes[20] = if text.as_bytes()[20] == b'0' { b'1' } else { b'0' };
    assert_eq!(Token::parse(&bytes).unwrap_err(), FormatError::Checksum);
    assert_eq!(error(&format!("{text}\n")), FormatError::Separator);
    for len in [129, 130, 1 << 20] {
        assert_eq!(Token::parse(&vec![b'a'; len]).unwrap_err(), FormatError::TooLong { len });
    }
    assert_eq!(Token::parse(&[b'a'; 128]).unwrap_err(), FormatError::Separator);
}

#[test]
fn a_prefix_is_checked() {
    for prefix in ["a", "0", "tg_live", "a__b", &"x".repeat(32)] {
        assert_eq!(Prefix::new(prefix).unwrap().as_str(), prefix);
        assert_eq!(prefix.parse::<Prefix>().unwrap().to_string(), prefix);
    }
    let error = |prefix: &str| Prefix::new(prefix).unwrap_err();
    assert_eq!(error(""), PrefixError::Empty);
    assert_eq!(error(&"x".repeat(33)), PrefixError::TooLong { len: 33 });
    for prefix in ["_", "_a", "a_", "__"] {
        assert_eq!(error(prefix), PrefixError::Underscore, "{prefix}");
    }
    for (prefix, at) in [("A", 0), ("tg-live", 2), ("é", 0), ("a b", 1), ("a\0", 1)] {
        assert_eq!(error(prefix), PrefixError::Character { at }, "{prefix}");
    }
}

/// The secret in a log line, by way of `Debug`.
#[test]
fn a_token_does_not_print_its_secret() {
    let issued = issue(&Digester::plain(), 1);
    let text = issued.key.expose_secret();
    let token = Token::parse(text.as_bytes()).unwrap();
    assert_eq!(format!("{token:?}"), format!("Token(tg_live_{}********)", issued.record.id));
    let foreign = Token::foreign(text.as_bytes()).unwrap();
    assert!(!format!("{foreign:?}").contains(&text[24..]));
}
