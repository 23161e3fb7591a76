//! The form of a key as it is handed out and presented.
//!
//! ```text
//! {prefix}_{id:16}{secret:32}{crc:6}        tg_live_4eC39HqLyjWDarjtT1zdp7dcTYooMQauvdEDq54NiTphI7jx0FWHZ6
//! ```
//!
//! The widths are fixed and are counted from the right, so that a prefix may have any number of `_`. The checksum is a
//! CRC-32 of all before it: it catches typos before anything is looked up, and lets a scanner of leaked secrets be certain of
//! what it has found. It is no defence, and it is stored nowhere, as it would give away 32 bits of the secret.

use core::fmt;

use sha2::{Digest as _, Sha256};

use super::{KeyId, Prefix, PrefixError, base62, crc32::crc32};

/// Characters of a secret: 190 random bits.
pub(super) const SECRET_LEN: usize = 32;
const CHECKSUM_LEN: usize = 6;
const SIGNED_TAIL_LEN: usize = KeyId::LEN + SECRET_LEN;

/// What follows the prefix: `_`, id, secret, checksum.
pub(super) const TAIL_LEN: usize = 1 + SIGNED_TAIL_LEN + CHECKSUM_LEN;

/// A token that was presented: well-formed, and no more than that is known of it.
///
/// It borrows what was presented. `Debug` prints the prefix and the id, and stars for the secret.
///
/// ```
/// use tollgate::keys::{FormatError, Token};
///
/// let token = Token::parse(b"tg_live_4eC39HqLyjWDarjtT1zdp7dcTYooMQauvdEDq54NiTphI7jx0FWHZ6")?;
/// assert_eq!(token.id().as_str(), "4eC39HqLyjWDarjt");
/// assert_eq!(format!("{token:?}"), "Token(tg_live_4eC39HqLyjWDarjt********)");
///
/// let typo = b"tg_live_4eC39HqLyjWDarjtT1zdp7dcTyooMQauvdEDq54NiTphI7jx0FWHZ6";
/// assert_eq!(Token::parse(typo).unwrap_err(), FormatError::Checksum);
/// # Ok::<(), FormatError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Token<'a> {
    bytes: &'a [u8],
    id: KeyId,
    /// Whether another issuer made it, so that nothing is known of its form.
    foreign: bool,
}

impl<'a> Token<'a> {
    /// The fewest bytes that a token has.
    pub const MIN_LEN: usize = 1 + TAIL_LEN;

    /// The most bytes that a token has.
    pub const MAX_LEN: usize = Prefix::MAX_LEN + TAIL_LEN;

    /// The most bytes that are looked at; longer input is refused unread.
    pub const MAX_INPUT: usize = 128;

    /// The most bytes of a [foreign](Self::foreign) token.
    pub const MAX_FOREIGN: usize = 512;

    /// Reads a token: any bytes, of any length. Allocates nothing and never panics.
    ///
    /// # Errors
    ///
    /// [`FormatError`] says what is wrong with it. As the form is public, so is that.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let len = bytes.len();
        if len > Self::MAX_INPUT {
            return Err(FormatError::TooLong { len });
        }
        let Some((signed, checksum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
            return Err(FormatError::TooShort { len });
        };
        let Some((front, tail)) = signed.split_last_chunk::<SIGNED_TAIL_LEN>() else {
            return Err(FormatError::TooShort { len });
        };
        let Some((separator, prefix)) = front.split_last() else {
            return Err(FormatError::TooShort { len });
        };
        if *separator != b'_' {
            return Err(FormatError::Separator);
        }
        Prefix::check(prefix)?;
        if !base62::are_digits(tail) {
            return Err(FormatError::Character);
        }
        if base62::decode(checksum) != Some(crc32(signed)) {
            return Err(FormatError::Checksum);
        }
        let mut id = [0; KeyId::LEN];
        id.copy_from_slice(&tail[..KeyId::LEN]);
        Ok(Self { bytes, id: KeyId::from_digits(id), foreign: false })
    }

    /// Takes the token of another issuer as it is, 1 to 512 bytes of any form.
    ///
    /// Its id is derived from its SHA-256, as the id of an [imported](super::NewKey::import) digest is.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if it is empty or too long.
    pub fn foreign(bytes: &'a [u8]) -> Result<Self, FormatError> {
        match bytes.len() {
            0 => Err(FormatError::TooShort { len: 0 }),
            len if len > Self::MAX_FOREIGN => Err(FormatError::TooLong { len }),
            _ => Ok(Self { bytes, id: KeyId::of_foreign(&Sha256::digest(bytes).into()), foreign: true }),
        }
    }

    /// A token that was formatted here.
    pub(super) const fn issued(bytes: &'a [u8], id: KeyId) -> Self {
        Self { bytes, id, foreign: false }
    }

    /// What the key is looked up by.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The prefix; `None` for a foreign token, which need not have one.
    #[must_use]
    pub fn prefix(&self) -> Option<Prefix> {
        let prefix = self.bytes.get(..self.bytes.len().checked_sub(TAIL_LEN)?)?;
        if self.foreign {
            return None;
        }
        Prefix::new(core::str::from_utf8(prefix).ok()?).ok()
    }

    /// The token as it was presented, secret included.
    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Prefix, id and secret, as they stand in the token: all but the checksum.
    pub(super) fn signed(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len().saturating_sub(CHECKSUM_LEN)]
    }

    /// Whether another issuer made it.
    pub(super) const fn is_foreign(&self) -> bool {
        self.foreign
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            Some(prefix) => write!(f, "Token({prefix}_{}********)", self.id),
            None => write!(f, "Token(foreign {}, ********)", self.id),
        }
    }
}

/// The checksum of prefix, id and secret, as it stands in a token.
pub(super) fn checksum(signed: &[u8]) -> [u8; CHECKSUM_LEN] {
    base62::encode(crc32(signed).into())
}

/// Why bytes are no token. Says nothing of their content, so it may be logged and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// More bytes than are looked at.
    #[error("{len} bytes are too many for a key")]
    TooLong {
        /// How many.
        len: usize,
    },

    /// Fewer bytes than any token has.
    #[error("{len} bytes are too few for a key")]
    TooShort {
        /// How many.
        len: usize,
    },

    /// There is no `_` where the prefix ends.
    #[error("no `_` between prefix and key; part of it may be missing")]
    Separator,

    /// The prefix is none.
    #[error(transparent)]
    Prefix(#[from] PrefixError),

    /// A character of the id or the secret is not base62.
    #[error("a character that no key has")]
    Character,

    /// The checksum is wrong: a typo, or part of the key is missing.
    #[error("the checksum does not match; part of it may be mistyped or missing")]
    Checksum,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token that a large forge published as an example; its checksum covers what follows its prefix.
    #[test]
    fn a_published_checksum() {
        assert_eq!(&checksum(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), b"0mLq17");
    }

    #[test]
    fn the_longest_token_is_read_and_one_byte_more_is_not() {
        let mut bytes = [b'a'; Token::MAX_LEN + 1];
        let fill = |bytes: &mut [u8]| {
            let end = bytes.len() - CHECKSUM_LEN;
            bytes[end - SIGNED_TAIL_LEN - 1] = b'_';
            let crc = checksum(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc);
        };
        fill(&mut bytes[1..]);
        assert!(Token::parse(&bytes[1..]).is_ok());
        bytes[1..].fill(b'a');
        fill(&mut bytes);
        assert_eq!(Token::parse(&bytes).unwrap_err(), FormatError::Prefix(PrefixError::TooLong { len: 33 }));
    }
}
