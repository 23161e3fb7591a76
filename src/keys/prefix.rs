//! What a token begins with: the product and the environment that it is for.

use core::{fmt, str::FromStr};

/// 1 to 32 of `[a-z0-9_]`, with no `_` at either end: names the product and the environment, `tg_live`, `acme_test`.
///
/// ```
/// use tollgate::keys::{Prefix, PrefixError};
///
/// const LIVE: Prefix = Prefix::literal("tg_live");
/// assert_eq!(LIVE.as_str(), "tg_live");
/// assert_eq!(Prefix::new("Sk"), Err(PrefixError::Character { at: 0 }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Padded with zeros, so that equal prefixes are equal bytes.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl Prefix {
    /// The most characters that a prefix has.
    pub const MAX_LEN: usize = 32;

    /// A prefix.
    ///
    /// # Errors
    ///
    /// [`PrefixError`] if it is empty, too long, begins or ends with `_`, or has a character outside of `[a-z0-9_]`.
    pub const fn new(prefix: &str) -> Result<Self, PrefixError> {
        let from = prefix.as_bytes();
        if let Err(error) = Self::check(from) {
            return Err(error);
        }
        let mut bytes = [0; Self::MAX_LEN];
        let mut at = 0;
        while at < from.len() {
            bytes[at] = from[at];
            at += 1;
        }
        Ok(Self { bytes, len: from.len() as u8 })
    }

    /// A prefix that is written in the source; as a `const` it is checked by the compiler.
    ///
    /// # Panics
    ///
    /// If [`new`](Self::new) would refuse it.
    #[must_use]
    pub const fn literal(prefix: &'static str) -> Self {
        match Self::new(prefix) {
            Ok(prefix) => prefix,
            Err(_) => panic!("a prefix is 1 to 32 of [a-z0-9_], with no `_` at either end"),
        }
    }

    /// The prefix, without the `_` that follows it in a token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // All of it is ASCII, by construction.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether `prefix` is one.
    #[inline]
    pub(super) const fn check(prefix: &[u8]) -> Result<(), PrefixError> {
        let mut at = 0;
        let mut good = true;
        while at < prefix.len() {
            good &= matches!(prefix[at], b'a'..=b'z' | b'0'..=b'9' | b'_');
            at += 1;
        }
        match prefix {
            [b'_', ..] | [.., b'_'] | [] => Err(Self::fault(prefix)),
            _ if good && prefix.len() <= Self::MAX_LEN => Ok(()),
            _ => Err(Self::fault(prefix)),
        }
    }

    /// What is wrong with a prefix that is none.
    #[cold]
    const fn fault(prefix: &[u8]) -> PrefixError {
        let len = prefix.len();
        if len == 0 {
            return PrefixError::Empty;
        }
        if len > Self::MAX_LEN {
            return PrefixError::TooLong { len };
        }
        let mut at = 0;
        while at < len {
            if !matches!(prefix[at], b'a'..=b'z' | b'0'..=b'9' | b'_') {
                return PrefixError::Character { at };
            }
            at += 1;
        }
        PrefixError::Underscore
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(prefix: &str) -> Result<Self, PrefixError> {
        Self::new(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({})", self.as_str())
    }
}

/// Why a string is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// It is empty.
    #[error("prefix: empty; use 1 to {} characters", Prefix::MAX_LEN)]
    Empty,

    /// It has too many characters.
    #[error("prefix: {len} characters are too many; use at most {}", Prefix::MAX_LEN)]
    TooLong {
        /// How many it has.
        len: usize,
    },

    /// It begins or ends with `_`.
    #[error("prefix: begins or ends with `_`; leave it out, a token puts one after the prefix")]
    Underscore,

    /// It has another character than those that are allowed.
    #[error("prefix: the character at byte {at} is none of a-z, 0-9 and `_`")]
    Character {
        /// Where, in bytes.
        at: usize,
    },
}
