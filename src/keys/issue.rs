//! How a key comes to be.

use alloc::sync::Arc;

use rand_core::TryCryptoRng;

use super::{
    ApiKey, Digest, Digester, KeyId, Prefix, Record, Scheme, Scopes, Status, UnixTime, draw, token::SECRET_LEN,
};

/// A key that is about to be issued: everything that the caller decides about it.
///
/// ```
/// use rand_core::SeedableRng;
/// use tollgate::keys::{Digester, NewKey, Prefix, UnixTime};
///
/// // A real service hands in the operating system's generator, or calls `issue_from_os`.
/// let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// let digester = Digester::peppered(1, b"32 random bytes out of the vault")?;
///
/// let issued = NewKey::new(Prefix::literal("tg_live"), "acme")
///     .tier("pro")
///     .scopes("orders:* users:read".parse()?)
///     .expires_at(UnixTime::from_secs(1_800_000_000))
///     .issue(&digester, &mut generator)?;
///
/// let token = digester.read(issued.key.expose_secret().as_bytes())?;
/// assert_eq!(token.id(), issued.record.id);
/// assert!(digester.verify(&token, Some(&issued.record), UnixTime::from_secs(1_700_000_000)).is_ok());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is issued before `issue` is called"]
pub struct NewKey<M = ()> {
    prefix: Prefix,
    owner: Arc<str>,
    tier: Arc<str>,
    scopes: Scopes,
    not_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
    meta: M,
}

impl NewKey {
    /// A key of an owner's. It has no tier, grants nothing, is valid at once and never expires, until said otherwise.
    pub fn new(prefix: Prefix, owner: impl Into<Arc<str>>) -> Self {
        Self {
            prefix,
            owner: owner.into(),
            tier: "".into(),
            scopes: Scopes::none(),
            not_before: None,
            expires_at: None,
            meta: (),
        }
    }
}

impl<M> NewKey<M> {
    /// The name of the tier whose quotas it has.
    pub fn tier(self, tier: impl Into<Arc<str>>) -> Self {
        Self { tier: tier.into(), ..self }
    }

    /// What it may be used for.
    pub fn scopes(self, scopes: Scopes) -> Self {
        Self { scopes, ..self }
    }

    /// The first second in which it may be used.
    pub fn not_before(self, from: UnixTime) -> Self {
        Self { not_before: Some(from), ..self }
    }

    /// The first second in which it may no longer be used.
    pub fn expires_at(self, at: UnixTime) -> Self {
        Self { expires_at: Some(at), ..self }
    }

    /// Whatever the application keeps with it.
    pub fn meta<N>(self, meta: N) -> NewKey<N> {
        let Self { prefix, owner, tier, scopes, not_before, expires_at, meta: _ } = self;
        NewKey { prefix, owner, tier, scopes, not_before, expires_at, meta }
    }

    /// Draws an id and a secret, and makes the record to be stored.
    ///
    /// # Errors
    ///
    /// [`IssueError`] if the generator fails, or plainly is not random.
    pub fn issue<R>(self, digester: &Digester, generator: &mut R) -> Result<Issued<M>, IssueError<R::Error>>
    where
        R: TryCryptoRng + ?Sized,
    {
        let (key, digest) = draw_key(&self.prefix, digester, generator)?;
        let record = self.record(key.id(), digest);
        Ok(Issued { key, record })
    }

    /// As [`issue`](Self::issue), from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`IssueError`] if the operating system has no randomness to give.
    #[cfg(feature = "getrandom")]
    pub fn issue_from_os(self, digester: &Digester) -> Result<Issued<M>, IssueError<getrandom::Error>> {
        self.issue(digester, &mut getrandom::SysRng)
    }

    /// The record of a key that another issuer has handed out and of which only the SHA-256 of its token is known.
    ///
    /// It is accepted by a [`Digester::with_foreign`], under the token that its holder has. The first verification
    /// returns a digest under the current scheme, to be stored. Import only what has 112 random bits or more; shorter
    /// secrets need a slow hash, which this is not.
    ///
    /// The id is derived from the digest, so that importing twice finds the record of the first time. (A token that has the
    /// form of ours is looked up by the id that it names: give the record that one.) The prefix is that
    /// of the keys which rotations of this one will issue.
    pub fn import(self, sha256: [u8; 32]) -> Record<M> {
        self.record(KeyId::of_foreign(&sha256), Digest::from_parts(Scheme::ForeignSha256, sha256))
    }

    fn record(self, id: KeyId, digest: Digest) -> Record<M> {
        let Self { prefix, owner, tier, scopes, not_before, expires_at, meta } = self;
        Record {
            id,
            prefix,
            digest,
            owner,
            family: id,
            tier,
            scopes,
            status: Status::Active,
            not_before,
            expires_at,
            retires_at: None,
            version: 0,
            meta,
        }
    }
}

/// A new id and secret under `prefix`, and their digest.
pub(super) fn draw_key<R: TryCryptoRng + ?Sized>(
    prefix: &Prefix,
    digester: &Digester,
    generator: &mut R,
) -> Result<(ApiKey, Digest), IssueError<R::Error>> {
    let id = KeyId::from_digits(*draw::characters::<{ KeyId::LEN }, R>(generator)?);
    let secret = draw::characters::<SECRET_LEN, R>(generator)?;
    // A generator that is cloned for each draw: half of the secret would be public. By chance, 62^-16.
    if secret.starts_with(id.as_str().as_bytes()) {
        return Err(IssueError::Stuck);
    }
    let key = ApiKey::new(prefix, &id, &secret);
    let digest = digester.digest(&key.token());
    Ok((key, digest))
}

/// A key that was issued: the key itself, to be shown once, and its record, to be stored.
#[derive(Debug)]
pub struct Issued<M = ()> {
    /// The key, secret included.
    pub key: ApiKey,
    /// What is to be stored of it.
    pub record: Record<M>,
}

/// Why no key could be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError<E> {
    /// The generator failed.
    #[error("generator: {0}")]
    Generator(E),

    /// The generator returns the same byte, or the same bytes, over and over.
    #[error("generator: stuck, it returns the same over and over; hand in one that is seeded by the operating system")]
    Stuck,
}
