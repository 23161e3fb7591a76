//! Whether a token is the key that it says it is.

use super::{Digest, Digester, FormatError, Record, Token, UnixTime};

impl Digester {
    /// Verifies a token against the record that was found under its id, or against none.
    ///
    /// Without I/O: whoever loads records asynchronously or in batches calls [`read`](Self::read), loads, and calls this.
    /// Returns the digest to store in place of the record's, if that is under an older scheme.
    ///
    /// A token without a record is hashed and compared all the same, so that an id that does not exist and a wrong secret
    /// look alike from the outside. Whether a key is revoked, disabled or expired is found out only by whoever has its
    /// secret.
    ///
    /// # Errors
    ///
    /// [`KeyError`]; never [`KeyError::Malformed`], which [`read`](Self::read) finds.
    pub fn verify<M>(
        &self,
        token: &Token<'_>,
        record: Option<&Record<M>>,
        now: UnixTime,
    ) -> Result<Option<Digest>, KeyError> {
        let dummy = self.dummy();
        let matches = self.matches(token, record.map_or(&dummy, |record| &record.digest));
        let Some(record) = record.filter(|_| matches) else {
            return Err(KeyError::Invalid);
        };
        record.usable(now)?;
        Ok((record.digest.scheme() != self.current()).then(|| self.digest(token)))
    }
}

/// Why a presented key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has not the form of a key.
    #[error("malformed key: {0}")]
    Malformed(#[from] FormatError),

    /// There is no such key: the id is unknown, or the secret is wrong, and nobody is told which.
    #[error("invalid key")]
    Invalid,

    /// It was revoked, for good.
    #[error("the key was revoked")]
    Revoked,

    /// It is disabled at present.
    #[error("the key is disabled")]
    Disabled,

    /// It has expired, or another one has taken its place.
    #[error("the key expired at Unix time {}", at.as_secs())]
    Expired {
        /// The first second in which it was no longer valid.
        at: UnixTime,
    },

    /// It is for later.
    #[error("the key is not valid before Unix time {}", from.as_secs())]
    NotYetValid {
        /// The first second in which it will be valid.
        from: UnixTime,
    },
}

impl KeyError {
    /// Whether the presenter may have been guessing: all but those errors that are told only to who has the secret.
    #[must_use]
    pub const fn is_guess(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, sync::Arc};
    use core::cell::Cell;

    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::keys::{
        ApiKey, Issued, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Prefix, Scheme, Write,
        digest::spy::{COMPARED, HASHED},
    };

    const PREFIX: Prefix = Prefix::literal("tg_live");
    const SECRET: &[u8; 32] = &[b'x'; 32];

    fn issue(digester: &Digester, seed: u64) -> Issued {
        NewKey::new(PREFIX, "acme").issue(digester, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap()
    }

    /// What a verification does: its error, the hashes made, the comparisons made.
    fn calls(digester: &Digester, token: &Token<'_>, record: Option<&Record>) -> (KeyError, u32, u32) {
        HASHED.set(0);
        COMPARED.set(0);
        let error = digester.verify(token, record, UnixTime::EPOCH).expect_err("no token here is right");
        (error, HASHED.get(), COMPARED.get())
    }

    /// An id that is unknown answered at once, one that is known after a hash: whoever measures learns which ids exist.
    #[test]
    fn an_unknown_id_costs_the_same_calls_as_a_wrong_secret() {
        let digesters = [
            Digester::plain(),
            Digester::peppered(1, &[7; 32]).unwrap(),
            Digester::peppered(2, &[8; 32]).unwrap().with_old_pepper(1, &[7; 32]).unwrap().with_foreign(),
        ];
        for digester in &digesters {
            let (known, other) = (issue(digester, 1), issue(digester, 2));
            let wrong = ApiKey::new(&PREFIX, &known.key.id(), SECRET);
            let unknown = calls(digester, &other.key.token(), None);
            assert_eq!(unknown, (KeyError::Invalid, 1, 1));
            assert_eq!(calls(digester, &wrong.token(), Some(&known.record)), unknown);
            // A record that was swapped in from another id, and one under a scheme that is not accepted.
            assert_eq!(calls(digester, &known.key.token(), Some(&other.record)), unknown);
            let digest = Digest::from_parts(Scheme::HmacSha256 { pepper: 99 }, *known.record.digest.as_bytes());
            let record = Record { digest, ..known.record };
            assert_eq!(calls(digester, &known.key.token(), Some(&record)), unknown);
        }
    }

    /// A store that counts its look-ups.
    struct Spy {
        store: MemoryStore,
        gets: Cell<u32>,
    }

    impl KeyStore for Spy {
        type Meta = ();
        type Error = core::convert::Infallible;

        fn get(&self, id: &KeyId) -> Result<Option<Arc<Record>>, Self::Error> {
            self.gets.set(self.gets.get() + 1);
            self.store.get(id)
        }

        fn insert(&self, record: Record) -> Result<Write, Self::Error> {
            self.store.insert(record)
        }

        fn update(&self, record: Record) -> Result<Write, Self::Error> {
            self.store.update(record)
        }
    }

    /// As above, with the store in between: a second look-up for one of them would tell them apart as well.
    #[test]
    fn an_unknown_id_costs_the_same_look_ups_as_a_wrong_secret() {
        let digester = Digester::plain();
        let known = issue(&digester, 1);
        let spy = Spy { store: MemoryStore::new(), gets: Cell::new(0) };
        let Ok(Write::Done) = spy.insert(known.record.clone()) else { unreachable!("the store is empty") };
        let keyring = Keyring::new(digester, &spy);
        let verify = |id: &KeyId| -> (String, u32) {
            spy.gets.set(0);
            let key = ApiKey::new(&PREFIX, id, SECRET);
            let error = keyring.verify(key.expose_secret().as_bytes(), UnixTime::EPOCH).unwrap_err();
            (format!("{error:?}"), spy.gets.get())
        };
        let wrong = verify(&known.key.id());
        assert_eq!(wrong, ("Key(Invalid)".into(), 1));
        assert_eq!(verify(&issue(&Digester::plain(), 2).key.id()), wrong);
    }
}
