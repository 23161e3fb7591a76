//! `Granted` as an argument of a handler.

use ::axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{StatusCode, request::Parts},
};

use super::Granted;

/// Refused with 500 where no [`ApiKeyLayer`](super::ApiKeyLayer) is in front of the route, or its store keeps something
/// else than `M` with each key: a mistake of the program and not of the client.
impl<M: Send + Sync + 'static, S: Sync> FromRequestParts<S> for Granted<M> {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// `None` where no [`ApiKeyLayer`](super::ApiKeyLayer) is in front of the route.
impl<M: Send + Sync + 'static, S: Sync> OptionalFromRequestParts<S> for Granted<M> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
