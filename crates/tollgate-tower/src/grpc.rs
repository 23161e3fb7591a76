//! Answers to calls of gRPC.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, header};

use crate::{RequestHead, identity::Unidentified};

/// A status of gRPC, as much as a refusal needs ([the codes](https://grpc.io/docs/guides/status-codes/)).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "keys"), expect(dead_code, reason = "some are for keys alone"))]
pub(crate) enum Code {
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Internal,
    Unavailable,
    Unauthenticated,
}

impl Code {
    const fn number(self) -> &'static str {
        match self {
            Self::InvalidArgument => "3",
            Self::PermissionDenied => "7",
            Self::ResourceExhausted => "8",
            Self::Internal => "13",
            Self::Unavailable => "14",
            Self::Unauthenticated => "16",
        }
    }
}

/// Whether a request is a call of gRPC: a `POST` with a body of `application/grpc`, or one of its relatives.
///
/// Any client can say so, and is answered with the status 200. No cache keeps that of a `POST` for others.
pub(crate) fn is_call(request: &RequestHead<'_>) -> bool {
    let kind = request.headers.get(header::CONTENT_TYPE);
    let relative = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    request.method == Method::POST
        && relative.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b'-' | b';')))
}

/// The answer to a call that cannot be counted.
pub(crate) fn unidentified(error: &Unidentified) -> Response<Bytes> {
    let code = if error.status().is_server_error() { Code::Internal } else { Code::InvalidArgument };
    trailers_only(code, "cannot be counted", None)
}

/// A response of trailers only, as [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) has it,
/// and when to try again; not at all if that is `None`.
pub(crate) fn trailers_only(code: Code, message: &'static str, retry_after: Option<Duration>) -> Response<Bytes> {
    const STATUS: HeaderName = HeaderName::from_static("grpc-status");
    const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

    let pushback = match retry_after {
        // The type is an int32.
        Some(wait) => HeaderValue::from(wait.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128) as u64),
        // A negative number is a request not to retry.
        None => HeaderValue::from_static("-1"),
    };
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from_static(code.number()));
    headers.insert(MESSAGE, HeaderValue::from_static(message));
    headers.insert(PUSHBACK, pushback);
    response
}
