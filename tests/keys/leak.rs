//! The scanner's pattern finds every key, wherever it stands.

use proptest::prelude::*;
use regex::Regex;
use tollgate::keys::{Digester, NewKey, Prefix, Token};

use super::{generator, issue};

proptest! {
    /// A pattern that misses some keys: those with two `_` in the prefix, at the end of a line, or in the middle of what
    /// looks like a word, as after the `%3D` of a URL or the `\n` of a string's source.
    #[test]
    fn every_key_is_found_in_any_text(
        prefix in "[a-z0-9]([a-z0-9_]{0,30}[a-z0-9])?",
        before in "\\PC*|[\"'=: \n/]|%3D|\\\\n",
        after in "[\"'&;: \n/._0-9A-Za-z]?",
        seed: u64,
    ) {
        let prefix = Prefix::new(&prefix).unwrap();
        let key = NewKey::new(prefix, "").issue(&Digester::plain(), &mut generator(seed)).unwrap().key;
        let text = format!("{before}{}{after}", key.expose_secret());
        let pattern = Regex::new(&prefix.scanner_pattern()).unwrap();
        let found: Vec<&str> = pattern.find_iter(&text).map(|found| found.as_str()).collect();
        prop_assert!(found.contains(&key.expose_secret()), "{} in {:?}: {:?}", pattern, text, found);
    }
}

/// A pattern that finds what is no key, and raises false alarms.
#[test]
fn what_is_no_key_is_not_found_or_fails_its_checksum() {
    let text = issue(&Digester::plain(), 1).key.expose_secret().to_owned();
    let pattern = Regex::new(&Prefix::literal("tg_live").scanner_pattern()).unwrap();
    for other in [text[..61].to_owned(), text.replace("live", "test")] {
        assert!(!pattern.is_match(&other), "{other}");
    }
    let mut typo = text.clone();
    typo.replace_range(30..31, if &text[30..31] == "a" { "b" } else { "a" });
    assert!(pattern.is_match(&typo) && Token::parse(typo.as_bytes()).is_err());
    // The end of another prefix is no prefix.
    let end = Regex::new(&Prefix::literal("live").scanner_pattern()).unwrap().find(&text).expect("it has the form");
    assert!(Token::parse(end.as_str().as_bytes()).is_err());
}

/// The digest that others compute too: SHA-256 of the text, and nothing else. From FIPS 180-2, appendix B.1.
#[test]
fn a_leak_digest_is_plain_sha_256() {
    let digest = tollgate::keys::leak_digest(b"abc");
    assert_eq!(digest[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
}
