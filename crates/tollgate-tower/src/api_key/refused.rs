//! What a refusal is answered with.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use tollgate::keys::{Refusal, Scope};

use crate::{
    Problem, RequestHead,
    grpc::{self, Code},
    identity::Unidentified,
};

/// The answer to a refused request of which these scopes are required, with the status that was asked for if that is of
/// an error. `policy` is the name of the limit that is reached.
pub(super) fn answer<E>(
    refusal: &Refusal<E>,
    asked: Option<StatusCode>,
    scopes: &[Scope<'_>],
    policy: Option<&str>,
) -> Response<Bytes> {
    let is_error = |status: &StatusCode| status.is_client_error() || status.is_server_error();
    let own = || StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
    let status = asked.filter(is_error).unwrap_or_else(own);

    let mut response = problem(refusal, status, scopes).violated(policy).into_response();
    let headers = response.headers_mut();
    // A 401 must have one (RFC 9110, section 15.5.2), whatever it is that somebody has chosen it for.
    let challenge = refusal.challenge().or((status == StatusCode::UNAUTHORIZED).then_some("Bearer"));
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refusal.retry_after_secs() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn problem<'a, E>(refusal: &Refusal<E>, status: StatusCode, scopes: &[Scope<'_>]) -> Problem<'a> {
    let (kind, title) = match refusal {
        Refusal::Throttled(_) => (Problem::ABNORMAL_USAGE, "Too many failed attempts"),
        Refusal::Limited { .. } | Refusal::Credits(_) => {
            (Problem::QUOTA_EXCEEDED, "Request cannot be satisfied as assigned quota has been exceeded")
        }
        _ => (Problem::ABOUT_BLANK, status.canonical_reason().unwrap_or("Refused")),
    };
    let detail: Cow<'static, str> = match (refusal, refusal.retry_after_secs()) {
        (_, Some(wait)) => format!("Retry after {wait} s.").into(),
        (Refusal::Missing, _) => "Send a key as `X-API-Key`, or as `Authorization: Bearer`.".into(),
        (Refusal::Twice, _) => "Keys came in two places; send one in one.".into(),
        (Refusal::Key(error), _) => error.to_string().into(),
        (Refusal::Scope { missing }, _) => match scopes.get(*missing) {
            Some(scope) => format!("The key lacks the scope `{scope}`.").into(),
            None => "The key lacks a scope.".into(),
        },
        (Refusal::Limited { .. } | Refusal::Throttled(_), _) => {
            "The request costs more than the limit ever allows. Do not retry it.".into()
        }
        (Refusal::Credits(_), _) => "The credits of the key are spent.".into(),
        // What the store says is not for strangers.
        (Refusal::Unavailable(_), _) => "Keys cannot be looked up at present.".into(),
        _ => "The request was refused.".into(),
    };
    Problem::new(status, kind, title).detail(detail)
}

/// The answer to a refused call of gRPC.
pub(super) fn grpc_answer<E>(refusal: &Refusal<E>) -> Response<Bytes> {
    let (code, message) = match refusal {
        Refusal::Missing => (Code::Unauthenticated, "no key came"),
        Refusal::Twice => (Code::InvalidArgument, "keys came in two places"),
        Refusal::Key(_) => (Code::Unauthenticated, "the key is not accepted"),
        Refusal::Scope { .. } => (Code::PermissionDenied, "the key lacks a scope"),
        Refusal::Throttled(_) => (Code::ResourceExhausted, "too many failed attempts"),
        Refusal::Limited { .. } => (Code::ResourceExhausted, "over a limit"),
        Refusal::Credits(_) => (Code::ResourceExhausted, "out of credits"),
        _ => (Code::Unavailable, "keys cannot be looked up at present"),
    };
    grpc::trailers_only(code, message, refusal.retry_after_secs().map(Duration::from_secs))
}

/// The answer to a request that comes from nowhere, so that its failures could not be limited.
pub(super) fn unidentified(request: &RequestHead<'_>, error: &Unidentified) -> Response<Bytes> {
    super::observe::unidentified(error);
    if grpc::is_call(request) {
        return grpc::unidentified(error);
    }
    let title = error.status().canonical_reason().unwrap_or("Refused");
    Problem::new(error.status(), Problem::ABOUT_BLANK, title).detail(error.to_string()).into_response()
}
