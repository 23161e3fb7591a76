//! What an operator is told of keys, as the documentation of the crate says.

use tollgate::keys::{KeyError, Refusal};

use crate::identity::Unidentified;

#[inline]
pub(super) fn allowed() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tollgate_keys_allowed_total").increment(1);
}

pub(super) fn refused<E>(refusal: &Refusal<E>) {
    tell(reason(refusal), matches!(refusal, Refusal::Unavailable(_)), None);
}

pub(super) fn unidentified(error: &Unidentified) {
    tell("unidentified", error.status().is_server_error(), Some(error));
}

/// Of an error of the store nothing is told, as it may name the key.
fn tell(reason: &'static str, is_servers_fault: bool, unidentified: Option<&Unidentified>) {
    #[cfg(not(all(feature = "metrics", feature = "tracing")))]
    let _ = (reason, is_servers_fault, unidentified);

    #[cfg(feature = "metrics")]
    metrics::counter!("tollgate_keys_refused_total", "reason" => reason).increment(1);

    #[cfg(feature = "tracing")]
    if is_servers_fault {
        tracing::error!(reason, error = unidentified.map(tracing::field::display), "key refused");
    } else {
        tracing::debug!(reason, "key refused");
    }
}

/// A refusal in a word.
fn reason<E>(refusal: &Refusal<E>) -> &'static str {
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
        Refusal::Unavailable(_) => "unavailable",
        _ => "other",
    }
}
