//! What an operator is told of limits, as the documentation of the crate says.

use crate::Refusal;

#[inline]
pub(crate) fn allowed() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tollgate_allowed_total").increment(1);
}

#[inline]
pub(crate) fn refused(refusal: &Refusal<'_>) {
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    let _ = refusal;

    #[cfg(feature = "metrics")]
    for policy in names(refusal) {
        let policy = (*policy).to_owned();
        metrics::counter!("tollgate_refused_total", "policy" => policy, "reason" => reason(refusal)).increment(1);
    }
    #[cfg(feature = "tracing")]
    match refusal {
        Refusal::Unidentified { policy, error } if error.status().is_server_error() => {
            tracing::error!(policy, "{error}");
        }
        _ => tracing::debug!(
            policies = ?names(refusal),
            reason = reason(refusal),
            retry_after = refusal.retry_after_secs(),
            "request refused"
        ),
    }
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
fn names<'a>(refusal: &'a Refusal<'a>) -> &'a [&'a str] {
    match refusal {
        Refusal::Limited { policies, .. } => policies,
        Refusal::Unidentified { policy, .. } => std::slice::from_ref(policy),
    }
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
fn reason(refusal: &Refusal<'_>) -> &'static str {
    match refusal {
        Refusal::Limited { denied, .. } if denied.retry_after.is_none() => "never",
        Refusal::Limited { .. } => "limited",
        Refusal::Unidentified { .. } => "unidentified",
    }
}
