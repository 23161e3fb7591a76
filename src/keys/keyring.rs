//! Keys together with where they are stored: the life of a key from issue to revocation.

use alloc::sync::Arc;
use core::{convert::Infallible, time::Duration};

use rand_core::TryCryptoRng;

use super::{
    Digest, Digester, IsRevoked, IssueError, Issued, KeyError, KeyId, KeyStore, NewKey, Record, RotateError, Status,
    UnixTime, Write,
};

/// A [`Digester`] and a [`KeyStore`]: issues, verifies, rotates and revokes keys that are stored.
///
/// Every change reads a record and swaps the changed one in for that version, again if somebody else was faster. So no
/// change is lost, and what is decided is decided on the record that it replaces.
///
/// ```
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// use tollgate::keys::{Digester, KeyError, Keyring, MemoryStore, NewKey, Prefix, UnixTime, VerifyError};
///
/// let keyring = Keyring::new(Digester::plain(), MemoryStore::new());
/// let issued = keyring.issue(NewKey::new(Prefix::literal("tg_live"), "acme"), &mut generator)?;
/// let presented = issued.key.expose_secret().as_bytes();
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// assert_eq!(&*keyring.verify(presented, now)?.record.owner, "acme");
///
/// keyring.revoke(&issued.key.id())?;
/// assert_eq!(keyring.verify(presented, now).unwrap_err(), VerifyError::Key(KeyError::Revoked));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Keyring<S> {
    digester: Digester,
    store: S,
}

impl<S> Keyring<S> {
    /// Keys that are hashed by `digester` and kept in `store`.
    pub const fn new(digester: Digester, store: S) -> Self {
        Self { digester, store }
    }

    /// What hashes them.
    pub const fn digester(&self) -> &Digester {
        &self.digester
    }

    /// Where they are kept.
    pub const fn store(&self) -> &S {
        &self.store
    }
}

impl<S: KeyStore> Keyring<S> {
    /// How often a change is tried again because somebody else was faster; beyond it, the store cannot be comparing
    /// what it says it compares.
    const ATTEMPTS: u32 = 64;

    /// Verifies what was presented: reads it, looks it up, compares, and only then looks at status and time.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Key`] if the key is not accepted, [`VerifyError::Unavailable`] if the store cannot say.
    pub fn verify(&self, presented: &[u8], now: UnixTime) -> Result<Verified<S::Meta>, VerifyError<S::Error>> {
        let token = self.digester.read(presented).map_err(KeyError::Malformed)?;
        let record = self.store.get(&token.id()).map_err(VerifyError::Unavailable)?;
        let upgrade = self.digester.verify(&token, record.as_deref(), now)?;
        match record {
            Some(record) => Ok(Verified { record, upgrade }),
            None => Err(KeyError::Invalid.into()),
        }
    }

    /// Issues a key and stores its record.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Issue`] if the generator fails, [`ChangeError::IdTaken`] if it repeats itself,
    /// [`ChangeError::Unavailable`] if the store does.
    #[expect(clippy::type_complexity, reason = "a result with both types spelt out")]
    pub fn issue<R>(
        &self,
        key: NewKey<S::Meta>,
        generator: &mut R,
    ) -> Result<Issued<S::Meta>, ChangeError<S::Error, R::Error>>
    where
        R: TryCryptoRng + ?Sized,
        S::Meta: Clone,
    {
        let issued = key.issue(&self.digester, generator)?;
        match self.store.insert(issued.record.clone()).map_err(ChangeError::Unavailable)? {
            Write::Done => Ok(issued),
            Write::Conflict => Err(ChangeError::IdTaken),
        }
    }

    /// Revokes a key, for good: no verification that begins after this returns accepts it.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotFound`], [`ChangeError::Contended`], [`ChangeError::Unavailable`].
    pub fn revoke(&self, id: &KeyId) -> Result<(), ChangeError<S::Error>>
    where
        S::Meta: Clone,
    {
        self.change(id, |record| {
            record.revoke();
            Ok(())
        })
    }

    /// Disables a key until it is enabled again.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Revoked`], or as [`revoke`](Self::revoke).
    pub fn disable(&self, id: &KeyId) -> Result<(), ChangeError<S::Error>>
    where
        S::Meta: Clone,
    {
        self.change(id, Record::disable)
    }

    /// Enables a key again.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Revoked`], or as [`revoke`](Self::revoke).
    pub fn enable(&self, id: &KeyId) -> Result<(), ChangeError<S::Error>>
    where
        S::Meta: Clone,
    {
        self.change(id, Record::enable)
    }

    /// Makes any change of a record: of its scopes, its tier, its expiry, its metadata. `change` is called again if somebody
    /// else was faster.
    ///
    /// What must not change does not: the id, the version, and that a revoked key stays revoked.
    ///
    /// # Errors
    ///
    /// What `change` returns, or as [`revoke`](Self::revoke).
    pub fn change(
        &self,
        id: &KeyId,
        mut change: impl FnMut(&mut Record<S::Meta>) -> Result<(), IsRevoked>,
    ) -> Result<(), ChangeError<S::Error>>
    where
        S::Meta: Clone,
    {
        for _ in 0..Self::ATTEMPTS {
            let mut record = self.load(id)?;
            let (status, version) = (record.status, record.version);
            change(&mut record)?;
            if status == Status::Revoked && record.status != Status::Revoked {
                return Err(IsRevoked.into());
            }
            let record = Record { id: *id, version, ..record };
            if let Write::Done = self.store.update(record).map_err(ChangeError::Unavailable)? {
                return Ok(());
            }
        }
        Err(ChangeError::Contended)
    }

    /// Rotates a key: issues one that takes its place, and lets it retire after `grace`; see [`Record::rotate`].
    ///
    /// The new record is inserted first, and only then the old one swapped for one that retires, which decides between
    /// rotations that race: one of them wins. A failure in between leaves the old key as it was and a record whose
    /// secret nobody was told. A store that cannot say whether it has swapped may have: then the old key retires, and
    /// nobody has its successor. To rotate it again, have a [`change`](Self::change) set [`Record::retires_at`] to `None`.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Rotated`] if the key was rotated before, by another thread perhaps; [`ChangeError::Revoked`],
    /// [`ChangeError::Expired`], or as [`issue`](Self::issue) and [`revoke`](Self::revoke).
    #[expect(clippy::type_complexity, reason = "a result with both types spelt out")]
    pub fn rotate<R>(
        &self,
        id: &KeyId,
        grace: Duration,
        now: UnixTime,
        generator: &mut R,
    ) -> Result<Issued<S::Meta>, ChangeError<S::Error, R::Error>>
    where
        R: TryCryptoRng + ?Sized,
        S::Meta: Clone,
    {
        for _ in 0..Self::ATTEMPTS {
            let rotation = self.load(id)?.rotate(grace, now, &self.digester, generator)?;
            let successor = rotation.issued;
            match self.store.insert(successor.record.clone()).map_err(ChangeError::Unavailable)? {
                Write::Done => {}
                Write::Conflict => return Err(ChangeError::IdTaken),
            }
            match self.store.update(rotation.retired).map_err(ChangeError::Unavailable)? {
                Write::Done => return Ok(successor),
                Write::Conflict => {
                    // Nobody has its secret, which is being dropped here. Revoked all the same, so that no key lies about
                    // that looks valid and belongs to no one.
                    let mut orphan = successor.record;
                    orphan.revoke();
                    let _ = self.store.update(orphan).map_err(ChangeError::Unavailable)?;
                }
            }
        }
        Err(ChangeError::Contended)
    }

    /// Stores the digest under the current scheme that a verification returned, in place of the older one.
    ///
    /// A conflict is left at that: somebody else has changed the record, and the next verification returns the digest
    /// again if it is still needed.
    ///
    /// # Errors
    ///
    /// Whatever the store reports.
    pub fn upgrade(&self, verified: &Verified<S::Meta>) -> Result<(), S::Error>
    where
        S::Meta: Clone,
    {
        self.store_upgrade(&verified.record, verified.upgrade)
    }

    /// As [`upgrade`](Self::upgrade), from the parts.
    pub(super) fn store_upgrade(&self, record: &Record<S::Meta>, upgrade: Option<Digest>) -> Result<(), S::Error>
    where
        S::Meta: Clone,
    {
        if let Some(digest) = upgrade {
            let _ = self.store.update(Record { digest, ..record.clone() })?;
        }
        Ok(())
    }

    fn load<G>(&self, id: &KeyId) -> Result<Record<S::Meta>, ChangeError<S::Error, G>>
    where
        S::Meta: Clone,
    {
        let record = self.store.get(id).map_err(ChangeError::Unavailable)?.ok_or(ChangeError::NotFound)?;
        Ok(Arc::unwrap_or_clone(record))
    }
}

/// A key that was accepted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verified<M = ()> {
    /// Its record.
    pub record: Arc<Record<M>>,
    /// The digest to store in place of the record's, which is under an older scheme: [`Keyring::upgrade`].
    pub upgrade: Option<Digest>,
}

/// Why a key was not accepted, or could not be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError<E> {
    /// It was not accepted.
    #[error(transparent)]
    Key(#[from] KeyError),

    /// The store cannot say. No key is accepted then.
    #[error("the key store is unavailable: {0}")]
    Unavailable(E),
}

/// Why a key could not be issued, changed or rotated. `E` is the store's error, `G` the generator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError<E, G = Infallible> {
    /// There is no key of that id.
    #[error("there is no such key")]
    NotFound,

    /// It was revoked, which is final.
    #[error(transparent)]
    Revoked(#[from] IsRevoked),

    /// It has expired, and a rotation makes nothing valid again.
    #[error("the key expired at Unix time {}; issue another", at.as_secs())]
    Expired {
        /// The first second in which it was no longer valid.
        at: UnixTime,
    },

    /// Another key has taken its place already.
    #[error("the key was rotated before; rotate its successor")]
    Rotated,

    /// The id that was drawn is there already.
    #[error("generator: it drew an id that exists, so it repeats itself; seed it by the operating system")]
    IdTaken,

    /// The generator failed.
    #[error(transparent)]
    Issue(#[from] IssueError<G>),

    /// Others were faster, again and again.
    #[error("the record changed each time that it was read; does the store compare versions?")]
    Contended,

    /// The store cannot say whether it was done.
    #[error("the key store is unavailable: {0}")]
    Unavailable(E),
}

impl<E, G> From<RotateError<G>> for ChangeError<E, G> {
    fn from(error: RotateError<G>) -> Self {
        match error {
            RotateError::Revoked(error) => Self::Revoked(error),
            RotateError::Expired { at } => Self::Expired { at },
            RotateError::Rotated => Self::Rotated,
            RotateError::Issue(error) => Self::Issue(error),
        }
    }
}
