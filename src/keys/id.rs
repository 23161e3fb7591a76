//! What a key is looked up by.

use core::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use sha2::{Digest as _, Sha256};

use super::base62;

/// The public part of a key, which it is looked up by: 16 base62 characters, 95 random bits.
///
/// Not a secret: it may stand in logs, in URLs of an administration page, in a customer's support request.
///
/// ```
/// use tollgate::keys::KeyId;
///
/// let id: KeyId = "4eC39HqLyjWDarjt".parse()?;
/// assert_eq!(id.to_string(), "4eC39HqLyjWDarjt");
/// assert!("4eC39HqLyjWDarj_".parse::<KeyId>().is_err());
/// # Ok::<(), tollgate::keys::KeyIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    /// How many characters an id has.
    pub const LEN: usize = 16;

    /// From characters that are known to be digits.
    pub(super) const fn from_digits(digits: [u8; Self::LEN]) -> Self {
        Self(digits)
    }

    /// The id of a key that was issued elsewhere, of which nothing is known but the SHA-256 of its token.
    ///
    /// 95 bits of a hash of that digest, so that the id gives away nothing of the digest itself.
    #[must_use]
    pub fn of_foreign(sha256: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"tollgate.foreign.id.v1:").chain_update(sha256).finalize();
        let number = hash.iter().take(12).fold(0u128, |number, &byte| number << 8 | u128::from(byte));
        // 62^16 is a little more than 2^95, so each number of 95 bits has digits of its own.
        Self(base62::encode(number >> 1))
    }

    /// The 16 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // All of it is ASCII, by construction.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// By its bytes alone, which is a single `write`.
impl Hash for KeyId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(id: &str) -> Result<Self, KeyIdError> {
        match <[u8; Self::LEN]>::try_from(id.as_bytes()) {
            Ok(digits) if base62::are_digits(&digits) => Ok(Self(digits)),
            _ => Err(KeyIdError),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.as_str())
    }
}

/// A string that is no [`KeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("id: not {} base62 characters", KeyId::LEN)]
pub struct KeyIdError;
