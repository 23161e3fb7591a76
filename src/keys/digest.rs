//! What is stored of a secret, and how a presented one is compared with it.
//!
//! A fast hash is the right one. A secret has 190 random bits, so there is nothing to guess that a slow hash would protect
//! (NIST SP 800-63B asks for salt and stretching only below 112); what a slow hash would add is 50 to 500 ms for
//! each request, and an oracle, as only ids that exist would be hashed.
//!
//! The hash covers a tag of its purpose, the prefix, the id and the secret. So a stored digest is worth nothing under
//! another id or in another environment, even to somebody who can swap records.

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use constant_time_eq::constant_time_eq_32;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use super::{FormatError, Token};

/// Keeps our digests apart from whatever else is hashed with the same pepper. Neither begins with the other.
const ISSUED: &[u8] = b"tollgate.key.v1:";
const FOREIGN: &[u8] = b"tollgate.foreign.v1:";

/// How a digest was made; stored beside it.
///
/// ```
/// use tollgate::keys::Scheme;
///
/// let scheme = Scheme::HmacSha256 { pepper: 3 };
/// assert_eq!(scheme.to_string(), "hmac-sha256:3");
/// assert_eq!("hmac-sha256:3".parse(), Ok(scheme));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// SHA-256.
    Sha256,
    /// HMAC-SHA-256 with a secret of the service, a pepper.
    HmacSha256 {
        /// The pepper's version.
        pepper: u32,
    },
    /// The SHA-256 of the whole token and nothing else, as another issuer stored it.
    ForeignSha256,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256 => f.write_str("sha256"),
            Self::HmacSha256 { pepper } => write!(f, "hmac-sha256:{pepper}"),
            Self::ForeignSha256 => f.write_str("foreign-sha256"),
        }
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(name: &str) -> Result<Self, SchemeError> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "foreign-sha256" => Ok(Self::ForeignSha256),
            _ => match name.strip_prefix("hmac-sha256:").map(str::parse) {
                Some(Ok(pepper)) => Ok(Self::HmacSha256 { pepper }),
                _ => Err(SchemeError),
            },
        }
    }
}

/// A string that names no [`Scheme`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scheme: none of `sha256`, `hmac-sha256:VERSION` and `foreign-sha256`")]
pub struct SchemeError;

/// What is stored of a secret: 32 bytes, and the scheme that they were made by.
///
/// There is no `PartialEq`, so that no comparison can leave off at the first byte that differs; only a [`Digester`]
/// compares, in constant time. `Debug` prints the scheme.
#[derive(Clone, Copy)]
pub struct Digest {
    scheme: Scheme,
    bytes: [u8; 32],
}

impl Digest {
    /// A digest as it was read from storage.
    #[must_use]
    pub const fn from_parts(scheme: Scheme, bytes: [u8; 32]) -> Self {
        Self { scheme, bytes }
    }

    /// How it was made.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}, ********)", self.scheme)
    }
}

/// Makes digests under the current scheme, and compares presented tokens with those made under it and older ones.
///
/// A pepper is a secret of the service, from an environment variable or a vault, never from the database: with it, a
/// copy of the database is not enough to tell whether a guess is right, and write access to it is not enough to plant
/// a key. Peppers have versions. To change one, make the new one current and keep the old one: a verification under the old
/// one returns the digest under the new one, to be stored.
///
/// ```
/// use tollgate::keys::{Digester, PepperError, Scheme};
///
/// let digester = Digester::peppered(2, b"a new pepper, 32 bytes from a vault")?
///     .with_old_pepper(1, b"the pepper before, also from there")?
///     .with_plain(); // from the time before peppers
/// assert_eq!(digester.current(), Scheme::HmacSha256 { pepper: 2 });
/// assert_eq!(digester.with_old_pepper(1, &[0; 32]).unwrap_err(), PepperError::Twice { version: 1 });
/// # Ok::<(), PepperError>(())
/// ```
#[derive(Clone)]
pub struct Digester {
    current: Scheme,
    plain: bool,
    foreign: bool,
    peppers: Vec<(u32, Hmac<Sha256>)>,
    /// SHA-256 that has seen the tag of our own tokens.
    tagged: Sha256,
}

impl Digester {
    /// The fewest bytes of a pepper: 128 bits.
    pub const MIN_PEPPER: usize = 16;

    /// SHA-256, without a pepper.
    #[must_use]
    pub fn plain() -> Self {
        let tagged = Sha256::new().chain_update(ISSUED);
        Self { current: Scheme::Sha256, plain: true, foreign: false, peppers: Vec::new(), tagged }
    }

    /// HMAC-SHA-256 with a pepper of 16 or more random bytes.
    ///
    /// Digests without a pepper are not accepted, so that nobody who can write to the database can plant one; see
    /// [`with_plain`](Self::with_plain).
    ///
    /// # Errors
    ///
    /// [`PepperError::TooShort`].
    pub fn peppered(version: u32, pepper: &[u8]) -> Result<Self, PepperError> {
        let digester = Self { plain: false, current: Scheme::HmacSha256 { pepper: version }, ..Self::plain() };
        digester.with_old_pepper(version, pepper)
    }

    /// Also accepts digests under an older pepper.
    ///
    /// # Errors
    ///
    /// [`PepperError`] if it is shorter than 16 bytes, or the version is taken.
    pub fn with_old_pepper(mut self, version: u32, pepper: &[u8]) -> Result<Self, PepperError> {
        if pepper.len() < Self::MIN_PEPPER {
            return Err(PepperError::TooShort { len: pepper.len() });
        }
        if self.pepper(version).is_some() {
            return Err(PepperError::Twice { version });
        }
        let mac = Hmac::new_from_slice(pepper).map_err(|_| PepperError::TooShort { len: pepper.len() })?;
        self.peppers.push((version, mac));
        Ok(self)
    }

    /// Also accepts digests without a pepper, of keys that were issued before there was one; whoever can write to the
    /// database can then plant a key.
    #[must_use]
    pub fn with_plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Also accepts tokens of any other form, and digests that are the plain SHA-256 of the whole token: keys that another
    /// issuer made, see [`NewKey::import`](super::NewKey::import).
    ///
    /// Input that is no token of ours is then hashed and looked up, where otherwise it would be refused at once. And while
    /// it is on, a pepper does not keep out whoever can write to the database: a digest without one can be planted, as
    /// with [`with_plain`](Self::with_plain). Turn it off when the imported keys have been used once.
    #[must_use]
    pub fn with_foreign(self) -> Self {
        Self { foreign: true, ..self }
    }

    /// The scheme of new digests.
    #[must_use]
    pub const fn current(&self) -> Scheme {
        self.current
    }

    /// Reads what was presented.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if it is no token of ours, nor one that a [foreign](Self::with_foreign) issuer can have made.
    #[inline]
    pub fn read<'a>(&self, presented: &'a [u8]) -> Result<Token<'a>, FormatError> {
        match Token::parse(presented) {
            Err(_) if self.foreign => Token::foreign(presented),
            parsed => parsed,
        }
    }

    /// The digest of a token under the current scheme.
    #[must_use]
    pub fn digest(&self, token: &Token<'_>) -> Digest {
        Digest { scheme: self.current, bytes: self.hash(token, self.current) }
    }

    /// Whether `stored` is the digest of `token`. The time that it takes does not depend on where they differ.
    ///
    /// A digest under a scheme that is not accepted costs as much, and matches nothing.
    #[must_use]
    pub fn matches(&self, token: &Token<'_>, stored: &Digest) -> bool {
        let accepted = self.accepts(stored.scheme);
        let bytes = self.hash(token, if accepted { stored.scheme } else { self.current });
        equal(&bytes, &stored.bytes) & accepted
    }

    /// The digest that is compared when there is no record: no token is known to have it, and a match is not believed.
    pub(super) const fn dummy(&self) -> Digest {
        Digest { scheme: self.current, bytes: [0; 32] }
    }

    fn accepts(&self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::Sha256 => self.plain,
            Scheme::HmacSha256 { pepper } => self.pepper(pepper).is_some(),
            Scheme::ForeignSha256 => self.foreign,
        }
    }

    fn pepper(&self, version: u32) -> Option<&Hmac<Sha256>> {
        self.peppers.iter().find(|pepper| pepper.0 == version).map(|pepper| &pepper.1)
    }

    fn hash(&self, token: &Token<'_>, scheme: Scheme) -> [u8; 32] {
        #[cfg(test)]
        spy::HASHED.set(spy::HASHED.get() + 1);
        let (tag, bytes) = if token.is_foreign() { (FOREIGN, token.bytes()) } else { (ISSUED, token.signed()) };
        let pepper = match scheme {
            Scheme::ForeignSha256 => return Sha256::digest(token.bytes()).into(),
            Scheme::Sha256 => None,
            Scheme::HmacSha256 { pepper } => self.pepper(pepper),
        };
        match pepper {
            None if !token.is_foreign() => self.tagged.clone().chain_update(bytes).finalize().into(),
            None => Sha256::new().chain_update(tag).chain_update(bytes).finalize().into(),
            Some(mac) => mac.clone().chain_update(tag).chain_update(bytes).finalize().into_bytes().into(),
        }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<u32> = self.peppers.iter().map(|pepper| pepper.0).collect();
        f.debug_struct("Digester")
            .field("current", &self.current)
            .field("plain", &self.plain)
            .field("foreign", &self.foreign)
            .field("peppers", &versions)
            .finish()
    }
}

/// Whether two digests are the same. `constant_time_eq` has the comparison in assembly, out of the optimiser's reach.
#[inline]
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    #[cfg(test)]
    spy::COMPARED.set(spy::COMPARED.get() + 1);
    constant_time_eq_32(a, b)
}

/// Why a pepper was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PepperError {
    /// It has too few bytes.
    #[error("pepper: {len} bytes can be guessed; use at least {}, better 32, all of them random", Digester::MIN_PEPPER)]
    TooShort {
        /// How many it has.
        len: usize,
    },

    /// There is one of that version already.
    #[error("pepper: there is a version {version} already; give each pepper a version of its own")]
    Twice {
        /// The version.
        version: u32,
    },
}

/// Counts what a verification does, for the test that an unknown id costs the same calls as a wrong secret.
#[cfg(test)]
pub(super) mod spy {
    use core::cell::Cell;

    std::thread_local! {
        pub(in crate::keys) static HASHED: Cell<u32> = const { Cell::new(0) };
        pub(in crate::keys) static COMPARED: Cell<u32> = const { Cell::new(0) };
    }
}
