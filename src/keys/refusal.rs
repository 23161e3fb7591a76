//! Why a request was refused, and what to tell whoever sent it.

use super::{Exhausted, KeyError, VerifyError};
use crate::Denied;

/// Why a request was refused. `E` is the store's error.
///
/// | refusal | [`status`](Self::status) | [`challenge`](Self::challenge) |
/// | --- | --- | --- |
/// | nothing presented | 401 | bare |
/// | presented twice | 400 | `invalid_request` |
/// | malformed, invalid, revoked, disabled, expired, not yet valid | 401 | `invalid_token` |
/// | a scope is missing | 403 | `insufficient_scope` |
/// | too many failures from this address, over a limit, out of credits | 429, and [when to come back](Self::retry_after_secs) | |
/// | over a limit for ever: the request costs more than it ever holds | 403 | |
/// | the store is unavailable | 503 | |
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal<E> {
    /// No key came with the request.
    #[error("no key was presented")]
    Missing,

    /// Keys came in two places.
    #[error("a key was presented in two places; send it in one")]
    Twice,

    /// Too many attempts from this address have failed; the key was not looked at.
    #[error("too many failed attempts: {0}")]
    Throttled(Denied),

    /// The key is not accepted.
    #[error(transparent)]
    Key(#[from] KeyError),

    /// The key is good, but not for this.
    #[error("the key lacks a scope, the required one at index {missing}")]
    Scope {
        /// The first of the required scopes that is not granted, as an index.
        missing: usize,
    },

    /// A limit is reached.
    #[error("limit {limit}: {denied}")]
    Limited {
        /// Which of the gate's limits, in their order.
        limit: usize,
        /// What it said.
        denied: Denied,
    },

    /// The credits are spent.
    #[error(transparent)]
    Credits(#[from] Exhausted),

    /// The store cannot say. Nothing passes then.
    #[error("the key store is unavailable: {0}")]
    Unavailable(E),
}

impl<E> Refusal<E> {
    /// The status of an HTTP response that says so.
    ///
    /// A request that costs more than ever passes is forbidden, as 429 invites to try again.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Missing | Self::Key(_) => 401,
            Self::Twice => 400,
            Self::Scope { .. } | Self::Limited { denied: Denied { retry_after: None, .. }, .. } => 403,
            Self::Throttled(_) | Self::Limited { .. } | Self::Credits(_) => 429,
            Self::Unavailable(_) => 503,
        }
    }

    /// The value of its `WWW-Authenticate` header, if it has one
    /// ([RFC 6750, section 3](https://www.rfc-editor.org/rfc/rfc6750#section-3)).
    #[must_use]
    pub const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Missing => Some("Bearer"),
            Self::Twice => Some(r#"Bearer error="invalid_request""#),
            Self::Key(_) => Some(r#"Bearer error="invalid_token""#),
            Self::Scope { .. } => Some(r#"Bearer error="insufficient_scope""#),
            Self::Throttled(_) | Self::Limited { .. } | Self::Credits(_) | Self::Unavailable(_) => None,
        }
    }

    /// The value of its `Retry-After` header, in whole seconds, never 0; `None` if waiting does not help, or nobody knows.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Throttled(denied) | Self::Limited { denied, .. } => denied.retry_after_secs(),
            Self::Credits(exhausted) => exhausted.retry_after.map(|wait| wait.as_secs().max(1)),
            _ => None,
        }
    }
}

impl<E> From<VerifyError<E>> for Refusal<E> {
    fn from(error: VerifyError<E>) -> Self {
        match error {
            VerifyError::Key(error) => Self::Key(error),
            VerifyError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}
