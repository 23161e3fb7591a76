//! Keys that turn up where they should not.

use alloc::{format, string::String};

use sha2::{Digest as _, Sha256};

use super::{Prefix, token::TAIL_LEN};

impl Prefix {
    /// A regular expression for scanners of leaked secrets: it matches every key with this prefix, inside of any text.
    ///
    /// In the syntax that all engines share. What it matches is a key if [`Token::parse`](super::Token::parse) reads it, as
    /// the checksum then fits: one in four billion strings of the right form does by chance. It asks for no end of a word,
    /// as a key may stand in the middle of one: `%3Dtg_live_…`, `\ntg_live_…`.
    ///
    /// ```
    /// use tollgate::keys::Prefix;
    ///
    /// assert_eq!(Prefix::literal("tg_live").scanner_pattern(), "tg_live_[0-9A-Za-z]{54}");
    /// ```
    #[must_use]
    pub fn scanner_pattern(&self) -> String {
        format!("{self}_[0-9A-Za-z]{{{}}}", TAIL_LEN - 1)
    }
}

/// The SHA-256 of a token as it is, for lists of leaked keys: two parties can compare such digests without either handing
/// a key to the other.
///
/// ```
/// let reported = tollgate::keys::leak_digest(b"a token out of a public repository");
/// assert_eq!(reported[..4], [0xee, 0xff, 0x6b, 0x97]);
/// ```
#[must_use]
pub fn leak_digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}
