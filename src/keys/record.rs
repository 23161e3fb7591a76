//! What is stored of a key.

use alloc::sync::Arc;

use super::{Digest, KeyError, KeyId, Prefix, Scopes, UnixTime};

/// What is stored of a key: everything but its secret.
///
/// Plain data, to be written to and read from a database of any kind. `M` is whatever else the application keeps with a
/// key. Changes go through the methods, which keep the promises about revocation and expiry, or through a
/// [`Keyring`](super::Keyring), which also stores them without losing anybody else's.
#[derive(Clone, Debug)]
pub struct Record<M = ()> {
    /// What it is looked up by.
    pub id: KeyId,
    /// What its token begins with; kept, so that a rotation can issue one like it.
    pub prefix: Prefix,
    /// The digest of its secret.
    pub digest: Digest,
    /// Whose it is: a customer's number, say. Limits may hang on it.
    pub owner: Arc<str>,
    /// The id of the first key of which this one is a rotation, its own if it is none. Limits hang on it, so that
    /// rotating doubles none.
    pub family: KeyId,
    /// The name of the tier whose quotas it has.
    pub tier: Arc<str>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Whether it may be used at all.
    pub status: Status,
    /// The first second in which it may be used, if not from the beginning.
    pub not_before: Option<UnixTime>,
    /// The first second in which it may no longer be used, if there is to be one.
    pub expires_at: Option<UnixTime>,
    /// The first second in which it may no longer be used because another key has taken its place.
    pub retires_at: Option<UnixTime>,
    /// How often it was changed: what a store compares before it swaps.
    pub version: u64,
    /// Whatever the application keeps with it.
    pub meta: M,
}

/// Whether a key may be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It may.
    #[default]
    Active,
    /// Not at present.
    Disabled,
    /// Never again.
    Revoked,
}

impl<M> Record<M> {
    /// The first second in which the key may no longer be used: the earlier of expiry and retirement.
    #[must_use]
    pub fn effective_expiry(&self) -> Option<UnixTime> {
        match (self.expires_at, self.retires_at) {
            (Some(expiry), Some(retirement)) => Some(expiry.min(retirement)),
            (expiry, retirement) => expiry.or(retirement),
        }
    }

    /// Whether the key may be used at `now`, by status and time.
    ///
    /// To be asked, and its answer told, only once its secret has been proved.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: revoked before disabled before expired before not yet valid, so that what is final is said first.
    pub fn usable(&self, now: UnixTime) -> Result<(), KeyError> {
        match self.status {
            Status::Revoked => return Err(KeyError::Revoked),
            Status::Disabled => return Err(KeyError::Disabled),
            Status::Active => {}
        }
        match (self.effective_expiry(), self.not_before) {
            (Some(at), _) if now >= at => Err(KeyError::Expired { at }),
            (_, Some(from)) if now < from => Err(KeyError::NotYetValid { from }),
            _ => Ok(()),
        }
    }

    /// Revokes the key, for good.
    pub fn revoke(&mut self) {
        self.status = Status::Revoked;
    }

    /// Disables the key until it is enabled again.
    ///
    /// # Errors
    ///
    /// [`IsRevoked`] if it was revoked, which is final.
    pub fn disable(&mut self) -> Result<(), IsRevoked> {
        self.set_status(Status::Disabled)
    }

    /// Enables the key again.
    ///
    /// # Errors
    ///
    /// [`IsRevoked`] if it was revoked, which is final.
    pub fn enable(&mut self) -> Result<(), IsRevoked> {
        self.set_status(Status::Active)
    }

    fn set_status(&mut self, status: Status) -> Result<(), IsRevoked> {
        if self.status == Status::Revoked {
            return Err(IsRevoked);
        }
        self.status = status;
        Ok(())
    }
}

/// A change was asked for that a revoked key does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key was revoked, which is final; issue another")]
pub struct IsRevoked;
