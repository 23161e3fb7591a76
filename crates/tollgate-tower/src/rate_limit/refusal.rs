//! A request that may not pass, and what it is answered.

use bytes::Bytes;
use http::{Response, StatusCode};
use tollgate::Denied;

use crate::{
    Problem, RequestHead,
    grpc::{self, Code},
    identity::Unidentified,
};

/// Why a request may not pass. Nothing was taken of any limit.
///
/// | refusal | [`status`](Self::status) | |
/// | --- | --- | --- |
/// | over a limit, for a time | 429 | `Retry-After`, in whole seconds, never 0 |
/// | over a limit, for ever | 403 | no `Retry-After`: the request costs more than the limit ever holds |
/// | without the identity by which it is counted | 400, or 500 if the server should know it | see [`Unidentified`] |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal<'a> {
    /// It is over a limit.
    #[non_exhaustive]
    Limited {
        /// The names of all policies that refuse it.
        policies: &'a [&'a str],
        /// What that one of them has said which refuses for longest.
        denied: Denied,
    },
    /// It cannot be counted.
    #[non_exhaustive]
    Unidentified {
        /// The name of the policy by which it cannot.
        policy: &'a str,
        /// Why.
        error: &'a Unidentified,
    },
}

impl Refusal<'_> {
    /// The status of a response that says so.
    ///
    /// A request that can never pass is not answered with 429, as that invites to try again. It is forbidden: by 403 a
    /// client is told not to repeat it ([RFC 9110, section 15.5.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.4)).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Limited { denied: Denied { retry_after: Some(_), .. }, .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Limited { .. } => StatusCode::FORBIDDEN,
            Self::Unidentified { error, .. } => error.status(),
        }
    }

    /// The value of its `Retry-After` header, in whole seconds, never 0; `None` if waiting does not help.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Limited { denied, .. } => denied.retry_after_secs(),
            Self::Unidentified { .. } => None,
        }
    }

    /// The response that says so, in the form of RFC 9457. The layer adds `Retry-After` and the headers of its dialect.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let status = self.status();
        let problem = match &self {
            Self::Limited { policies, denied } => {
                let title = "Request cannot be satisfied as assigned quota has been exceeded";
                let problem = Problem::new(status, Problem::QUOTA_EXCEEDED, title).violated(policies.iter().copied());
                match denied.retry_after_secs() {
                    Some(wait) => problem.detail(format!("Retry after {wait} s.")),
                    None => problem.detail("The request costs more than the policy ever allows. Do not retry it."),
                }
            }
            Self::Unidentified { error, .. } => {
                let title = status.canonical_reason().unwrap_or("Refused");
                Problem::new(status, Problem::ABOUT_BLANK, title).detail(error.to_string())
            }
        };
        problem.into_response()
    }

    /// What it is answered unless the layer is told otherwise: a call of gRPC in the words of gRPC, all others with a
    /// problem.
    pub(super) fn answer(self, request: &RequestHead<'_>) -> Response<Bytes> {
        if grpc::is_call(request) { self.into_grpc() } else { self.into_response() }
    }

    /// The status `RESOURCE_EXHAUSTED`, and when to try again.
    fn into_grpc(self) -> Response<Bytes> {
        let (code, message, retry_after) = match &self {
            Self::Limited { denied: Denied { retry_after: Some(wait), .. }, .. } => {
                (Code::ResourceExhausted, "over a limit", Some(*wait))
            }
            Self::Limited { .. } => (Code::ResourceExhausted, "costs more than ever passes", None),
            Self::Unidentified { error, .. } => return grpc::unidentified(error),
        };
        grpc::trailers_only(code, message, retry_after)
    }
}
