//! A key in full, which exists only between its issue and its being shown.

use alloc::string::String;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    KeyId, Prefix, Token,
    token::{SECRET_LEN, TAIL_LEN, checksum},
};

/// A newly issued key, secret included: to be shown once, and wiped from memory when it is dropped.
///
/// It cannot be printed, serialised or compared by accident: no `Display`, no `Serialize`, no `PartialEq`, no `Clone`, and
/// `Debug` prints stars. [`expose_secret`](Self::expose_secret) is the one way to its text.
///
/// ```
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// use tollgate::keys::{Digester, NewKey, Prefix};
///
/// let issued = NewKey::new(Prefix::literal("tg_live"), "acme").issue(&Digester::plain(), &mut generator)?;
/// assert!(issued.key.expose_secret().starts_with("tg_live_"));
/// assert_eq!(format!("{:?}", issued.key), format!("ApiKey(tg_live_{}********)", issued.record.id));
/// # Ok::<(), tollgate::keys::IssueError<core::convert::Infallible>>(())
/// ```
pub struct ApiKey {
    /// Never grows, so that no copy is left behind.
    text: String,
    id: KeyId,
}

impl ApiKey {
    pub(super) fn new(prefix: &Prefix, id: &KeyId, secret: &[u8; SECRET_LEN]) -> Self {
        let mut text = String::with_capacity(prefix.as_str().len() + TAIL_LEN);
        text.push_str(prefix.as_str());
        text.push('_');
        text.push_str(id.as_str());
        text.extend(secret.iter().map(|&digit| char::from(digit)));
        text.extend(checksum(text.as_bytes()).map(char::from));
        Self { text, id: *id }
    }

    /// The key as it is to be shown to whoever will use it. Do not log it, do not store it.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.text
    }

    /// What the key is looked up by.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key as if it had been presented.
    pub(super) fn token(&self) -> Token<'_> {
        Token::issued(self.text.as_bytes(), self.id)
    }
}

impl Drop for ApiKey {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl ZeroizeOnDrop for ApiKey {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.text.len().saturating_sub(TAIL_LEN - 1 - KeyId::LEN);
        write!(f, "ApiKey({}********)", &self.text[..shown])
    }
}
