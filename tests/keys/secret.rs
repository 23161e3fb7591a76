//! What is kept of a secret, and what is not.

use tollgate::keys::{Digester, Keyring, MemoryStore, NewKey, Presented};

use super::{NOW, PREFIX, generator, issue};

/// The secret in a log line, by way of `Debug`.
#[test]
fn nothing_prints_a_secret() {
    let digester = Digester::peppered(1, b"a pepper that nobody should see").unwrap();
    let keyring = Keyring::new(digester.clone(), MemoryStore::new());
    let issued = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    let text = issued.key.expose_secret();
    let verified = keyring.verify(text.as_bytes(), NOW).unwrap();
    let printed = [
        format!("{:?}", issued.key),
        format!("{issued:?}"),
        format!("{issued:#?}"),
        format!("{keyring:?}"),
        format!("{verified:?}"),
        format!("{digester:?}"),
        format!("{:?}", Presented::from(text)),
        format!("{:?}", keyring.verify(&text.as_bytes()[..61], NOW).unwrap_err()),
    ];
    let (secret, checksum) = (&text[24..56], &text[56..]);
    let digest = issued.record.digest.as_bytes();
    for printed in printed {
        // No six characters of the secret in a row, nor the checksum, which is 32 bits of it.
        let leaked = (0..=secret.len() - 6).find(|&at| printed.contains(&secret[at..at + 6]));
        assert_eq!(leaked, None, "{printed}");
        assert!(!printed.contains(checksum), "{printed}");
        assert!(!printed.contains("pepper that"), "{printed}");
        assert!(!printed.contains(&format!("{}, {}, {}", digest[0], digest[1], digest[2])), "{printed}");
    }
    assert_eq!(format!("{:?}", issued.key), format!("ApiKey(tg_live_{}********)", issued.record.id));
}

#[test]
fn a_key_shows_itself_when_asked() {
    let issued = issue(&Digester::plain(), 1);
    assert_eq!(issued.key.id(), issued.record.id);
    assert_eq!(issued.key.expose_secret().len(), 62);
}

/// Whatever tells two secrets apart early, copies or prints them: the types have none of it.
#[test]
fn secrets_cannot_be_compared_copied_or_displayed() {
    // A method of the trait is found only if the type has it; else that of the fallback is.
    trait Fallback {
        fn has(&self) -> bool {
            false
        }
    }
    macro_rules! lacks {
        ($type:ty, $($bound:tt)+) => {{
            struct Probe<T: ?Sized>(core::marker::PhantomData<T>);
            impl<T: ?Sized> Fallback for Probe<T> {}
            #[allow(dead_code)]
            impl<T: ?Sized + $($bound)+> Probe<T> {
                fn has(&self) -> bool {
                    true
                }
            }
            assert!(!Probe::<$type>(core::marker::PhantomData).has(), "{} is {}", stringify!($type), stringify!($($bound)+));
            assert!(Probe::<u8>(core::marker::PhantomData).has(), "the probe finds nothing");
        }};
    }
    lacks!(tollgate::keys::ApiKey, core::fmt::Display);
    lacks!(tollgate::keys::ApiKey, PartialEq);
    lacks!(tollgate::keys::ApiKey, Clone);
    lacks!(tollgate::keys::ApiKey, serde::Serialize);
    lacks!(tollgate::keys::Digest, PartialEq);
    lacks!(tollgate::keys::Digest, core::fmt::Display);
    lacks!(tollgate::keys::Token<'static>, PartialEq);
    lacks!(tollgate::keys::Token<'static>, core::fmt::Display);
    lacks!(tollgate::keys::Digester, PartialEq);
}
