//! What an operator is told: counters with the feature `metrics`, events with the feature `tracing`.
//!
//! | counter | labels | |
//! | --- | --- | --- |
//! | `tollgate_keys_allowed_total` | | requests whose key was granted |
//! | `tollgate_keys_refused_total` | `reason` | requests that were refused |
//!
//! The event of a refusal says the same, at the level `DEBUG`, or at `ERROR` if the store is unavailable. Neither has
//! anything of the key.

use tollgate::keys::{KeyError, Refusal};

#[inline]
pub(super) fn allowed() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tollgate_keys_allowed_total").increment(1);
}

pub(super) fn refused(reason: &'static str) {
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    let _ = reason;

    #[cfg(feature = "metrics")]
    metrics::counter!("tollgate_keys_refused_total", "reason" => reason).increment(1);

    #[cfg(feature = "tracing")]
    if reason == UNAVAILABLE {
        tracing::error!(reason, "key refused");
    } else {
        tracing::debug!(reason, "key refused");
    }
}

const UNAVAILABLE: &str = "unavailable";

/// A refusal in a word.
pub(super) fn reason<E>(refusal: &Refusal<E>) -> &'static str {
    match refusal {
        Refusal::Missing => "missing",
        Refusal::Twice => "twice",
        Refusal::Throttled(_) => "throttled",
        Refusal::Key(KeyError::Malformed(_)) => "malformed",
        Refusal::Key(KeyError::Invalid) => "invalid",
        Refusal::Key(KeyError::Revoked) => "revoked",
        Refusal::Key(KeyError::Disabled) => "disabled",
        Refusal::Key(KeyError::Expired { .. }) => "expired",
        Refusal::Key(KeyError::NotYetValid { .. }) => "not_yet_valid",
        Refusal::Scope { .. } => "scope",
        Refusal::Limited { .. } => "limited",
        Refusal::Credits(_) => "credits",
        Refusal::Unavailable(_) => UNAVAILABLE,
        _ => "other",
    }
}
