// Its example is of axum.
#![cfg_attr(feature = "axum", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "axum"), doc = "Rate limits and API keys in front of an HTTP service.")]
//!
//! # A tour
//!
//! - A [`Policy`] is one limit: a name, who is counted, and a limiter.
//! - An [`Identity`] says who a request is counted as; [`identity`] has those that there are.
#![cfg_attr(
    feature = "keys",
    doc = "- An [`ApiKeyLayer`] finds out who is asking, and refuses who may not; what it grants is a"
)]
#![cfg_attr(feature = "keys", doc = "  [`Granted`].")]
//! - A [`RateLimitLayer`] puts policies in front of a service.
//! - A [`Dialect`] is how clients are told of limits; a [`Refusal`] what they are told of a request that may not pass, as a
//!   [`Problem`] unless you say otherwise.
//!
//! # What an operator is told
//!
//! With the feature `metrics`, these counters of the crate [metrics](https://docs.rs/metrics):
//!
//! | counter | labels | |
//! | --- | --- | --- |
//! | `tollgate_allowed_total` | | requests that have passed a [`RateLimitLayer`] |
//! | `tollgate_refused_total` | `policy`, `reason` | requests that have not: they are `limited`, cost more than ever passes (`never`), or are `unidentified` |
//! | `tollgate_keys_allowed_total` | | requests whose key was granted by an `ApiKeyLayer` |
//! | `tollgate_keys_refused_total` | `reason` | requests that it has refused: `missing`, `twice`, `throttled`, `malformed`, `invalid`, `revoked`, `disabled`, `expired`, `not_yet_valid`, `scope`, `limited`, `credits`, `unavailable` or `unidentified` |
//!
//! Where several policies refuse a request, it is counted for each. With the feature `tracing`, a refusal is an event that says
//! the same, at the level `DEBUG`; at `ERROR` where the server is at fault: the store of keys is unavailable, or nothing tells
//! the layer whom to count. Neither has anything of a key, or of the identity of a client.
#![forbid(unsafe_code)]

#[cfg(feature = "keys")]
mod api_key;
mod body;
mod dialect;
mod grpc;
mod head;
pub mod identity;
mod observe;
mod policy;
mod problem;
mod rate_limit;
mod text;

#[cfg(feature = "keys")]
pub use api_key::{ApiKeyFuture, ApiKeyLayer, ApiKeyService, Granted, KeyFamily, KeyOwner};
pub use {
    body::AnswerBody,
    dialect::Dialect,
    head::{RequestHead, ResponseHead},
    identity::Identity,
    ipnet::IpNet,
    policy::Policy,
    problem::Problem,
    rate_limit::{LayerError, RateLimitFuture, RateLimitLayer, RateLimitService, Refusal},
    text::TextError,
};
