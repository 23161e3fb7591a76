//! Digests: pinned to values that were computed elsewhere, bound to what they are of, and versioned.

use tollgate::keys::{Digest, Digester, PepperError, Scheme, Token};

use super::{NOW, issue};
use tollgate::keys::{KeyError, NewKey, Record};

const TOKEN: &[u8] = b"tg_live_4eC39HqLyjWDarjtT1zdp7dcTYooMQauvdEDq54NiTphI7jx0FWHZ6";
const PEPPER: &[u8] = b"a pepper for the known answers..";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest that changes from one version of this library to the next: every key that was ever stored is invalid. The
/// values are from Python's `hashlib` and `hmac`.
#[test]
fn known_answers() {
    let token = Token::parse(TOKEN).unwrap();
    let foreign = Token::foreign(TOKEN).unwrap();
    let plain = Digester::plain();
    let peppered = Digester::peppered(3, PEPPER).unwrap();
    assert_eq!(
        hex(plain.digest(&token).as_bytes()),
        "aa4f4d534dfcb49964c02a8ed10ff341d2eab12e27edaba5a7ec46306426007e"
    );
    assert_eq!(
        hex(peppered.digest(&token).as_bytes()),
        "f84f9d540cc2818b6b1710a0d9d7950b3d52b1251c1a6e92c921ea5521eca923"
    );
    assert_eq!(
        hex(plain.digest(&foreign).as_bytes()),
        "aaccc046896e32cb9bc92f231e1937e1d25e4c094f0f5a380f79a1d5f18900c1"
    );
    assert_eq!(
        hex(peppered.digest(&foreign).as_bytes()),
        "c387fa9254194ce4a62cb67cf42370ece93dadbf9243e10cbf0a40690296f931"
    );
    assert_eq!(foreign.id().as_str(), "LuoySv2mIk92DQ9k");
    assert_eq!(peppered.digest(&token).scheme(), Scheme::HmacSha256 { pepper: 3 });
}

/// A digest of the secret alone: whoever can swap two records has the other's rights.
#[test]
fn a_digest_is_bound_to_the_prefix_the_id_and_the_secret() {
    let digester = Digester::plain();
    let prefix = |name: &'static str| tollgate::keys::Prefix::literal(name);
    let issue = |name, seed| NewKey::new(prefix(name), "acme").issue(&digester, &mut super::generator(seed)).unwrap();
    // One seed, so one id and one secret, in two environments.
    let (live, test) = (issue("tg_live", 1), issue("tg_test", 1));
    assert_eq!(live.record.id, test.record.id);
    let token = digester.read(test.key.expose_secret().as_bytes()).unwrap();
    assert_eq!(digester.verify(&token, Some(&live.record), NOW).unwrap_err(), KeyError::Invalid);
    assert!(digester.matches(&token, &test.record.digest));
    // The digest of one key under the id of another.
    let other = issue("tg_live", 2);
    let swapped = Record { digest: live.record.digest, ..other.record.clone() };
    let token = digester.read(other.key.expose_secret().as_bytes()).unwrap();
    assert_eq!(digester.verify(&token, Some(&swapped), NOW).unwrap_err(), KeyError::Invalid);
}

/// One bit of the digest that is not compared.
#[test]
fn every_bit_of_a_digest_counts() {
    let digester = Digester::plain();
    let issued = issue(&digester, 1);
    let token = digester.read(issued.key.expose_secret().as_bytes()).unwrap();
    assert!(digester.matches(&token, &issued.record.digest));
    for bit in 0..256 {
        let mut bytes = *issued.record.digest.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!digester.matches(&token, &Digest::from_parts(Scheme::Sha256, bytes)), "bit {bit}");
    }
}

/// A change of pepper that locks everybody out, or one that never ends.
#[test]
fn a_change_of_pepper_is_a_change_of_digest_on_first_use() {
    let old = Digester::peppered(1, b"the old pepper, of 32 bytes or so").unwrap();
    let issued = issue(&old, 1);
    let text = issued.key.expose_secret().as_bytes();
    let new = Digester::peppered(2, b"the new pepper, of 32 bytes or so").unwrap();
    let both = new.clone().with_old_pepper(1, b"the old pepper, of 32 bytes or so").unwrap();

    let token = both.read(text).unwrap();
    let upgrade = both.verify(&token, Some(&issued.record), NOW).unwrap().expect("it is under the old pepper");
    assert_eq!(upgrade.scheme(), Scheme::HmacSha256 { pepper: 2 });
    let record = Record { digest: upgrade, ..issued.record.clone() };
    assert!(both.verify(&token, Some(&record), NOW).unwrap().is_none(), "it is under the new one now");
    // Once all are, the old one can go; whoever is not is not let in, but told no more than anybody.
    assert!(new.verify(&token, Some(&record), NOW).is_ok());
    assert_eq!(new.verify(&token, Some(&issued.record), NOW).unwrap_err(), KeyError::Invalid);
    assert_eq!(old.verify(&token, Some(&record), NOW).unwrap_err(), KeyError::Invalid);
}

/// A pepper that protects nothing, as whoever can write to the database plants a digest without one.
#[test]
fn a_digest_without_a_pepper_is_not_accepted_unasked() {
    let peppered = Digester::peppered(1, PEPPER).unwrap();
    let planted = issue(&Digester::plain(), 1);
    let token = peppered.read(planted.key.expose_secret().as_bytes()).unwrap();
    assert_eq!(peppered.verify(&token, Some(&planted.record), NOW).unwrap_err(), KeyError::Invalid);
    let lenient = peppered.with_plain();
    let upgrade = lenient.verify(&token, Some(&planted.record), NOW).unwrap();
    assert_eq!(upgrade.map(|digest| digest.scheme()), Some(Scheme::HmacSha256 { pepper: 1 }));
    // Nor one under the same version of another pepper, or the plain SHA-256 of the whole token.
    let other = issue(&Digester::peppered(1, b"somebody else's pepper").unwrap(), 1);
    assert_eq!(lenient.verify(&token, Some(&other.record), NOW).unwrap_err(), KeyError::Invalid);
    let digest = Digest::from_parts(Scheme::ForeignSha256, tollgate::keys::leak_digest(token_bytes(&planted)));
    let foreign = Record { digest, ..planted.record.clone() };
    assert_eq!(lenient.verify(&token, Some(&foreign), NOW).unwrap_err(), KeyError::Invalid);
    assert!(lenient.with_foreign().verify(&token, Some(&foreign), NOW).is_ok());
}

fn token_bytes(issued: &tollgate::keys::Issued) -> &[u8] {
    issued.key.expose_secret().as_bytes()
}

#[test]
fn peppers_are_checked() {
    assert_eq!(Digester::peppered(1, b"short").unwrap_err(), PepperError::TooShort { len: 5 });
    assert_eq!(Digester::peppered(1, b"").unwrap_err(), PepperError::TooShort { len: 0 });
    assert_eq!(Digester::peppered(1, &[1; 15]).unwrap_err(), PepperError::TooShort { len: 15 });
    let one = Digester::peppered(1, &[1; 16]).unwrap();
    assert_eq!(one.clone().with_old_pepper(1, &[2; 16]).unwrap_err(), PepperError::Twice { version: 1 });
    assert_eq!(one.with_old_pepper(0, &[2; 3]).unwrap_err(), PepperError::TooShort { len: 3 });
}

#[test]
fn a_scheme_survives_its_name() {
    for scheme in [
        Scheme::Sha256,
        Scheme::ForeignSha256,
        Scheme::HmacSha256 { pepper: 0 },
        Scheme::HmacSha256 { pepper: u32::MAX },
    ] {
        assert_eq!(scheme.to_string().parse(), Ok(scheme));
    }
    for name in ["", "sha1", "SHA256", "hmac-sha256", "hmac-sha256:", "hmac-sha256:-1", "hmac-sha256:4294967296"] {
        assert!(name.parse::<Scheme>().is_err(), "{name}");
    }
}

/// Keys of another issuer: they work under the token that their holders have, and become ours on first use.
#[test]
fn a_foreign_digest_is_hashed_anew_on_first_use() {
    let theirs = b"some-other-service:0f8e2c7b6a5d4c3b2a19";
    let record = NewKey::new(super::PREFIX, "acme").import(tollgate::keys::leak_digest(theirs));
    assert_eq!(record.digest.scheme(), Scheme::ForeignSha256);

    // Not unless asked to.
    assert!(matches!(Digester::plain().read(theirs), Err(tollgate::keys::FormatError::TooShort { .. })));
    let digester = Digester::peppered(1, PEPPER).unwrap().with_foreign();
    let token = digester.read(theirs).unwrap();
    assert_eq!(token.id(), record.id);
    let upgrade = digester.verify(&token, Some(&record), NOW).unwrap().expect("it is not ours yet");
    let record = Record { digest: upgrade, ..record };
    assert!(digester.verify(&token, Some(&record), NOW).unwrap().is_none());
    // Another token has another id; and if it had this one's, another digest.
    let wrong = digester.read(b"some-other-service:0f8e2c7b6a5d4c3b2a18").unwrap();
    assert_ne!(wrong.id(), record.id);
    assert_eq!(digester.verify(&wrong, Some(&record), NOW).unwrap_err(), KeyError::Invalid);
    // A rotation of it is a key of ours.
    let rotated = record.rotate(core::time::Duration::ZERO, NOW, &digester, &mut super::generator(1)).unwrap();
    assert!(rotated.issued.key.expose_secret().starts_with("tg_live_"));
    // A token that has the form of ours names its id, and is found under that one alone.
    let issued = issue(&Digester::plain(), 9);
    let text = issued.key.expose_secret().as_bytes();
    let record = NewKey::new(super::PREFIX, "acme").import(tollgate::keys::leak_digest(text));
    let token = digester.read(text).unwrap();
    assert_ne!(token.id(), record.id);
    let record = Record { id: token.id(), ..record };
    assert!(digester.verify(&token, Some(&record), NOW).unwrap().is_some());
    // Nothing of any size but a sensible one is hashed.
    assert!(digester.read(b"").is_err());
    assert!(digester.read(&[b'x'; 512]).is_ok());
    assert!(digester.read(&[b'x'; 513]).is_err());
}
