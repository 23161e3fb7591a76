//! Rate limits in front of an HTTP service.
//!
//! # A tour
//!
//! - An [`Identity`] says who a request is counted as; [`identity`] has those that there are.
#![cfg_attr(
    feature = "keys",
    doc = "- An [`ApiKeyLayer`] finds out who is asking, and refuses who may not; what it grants is a"
)]
#![cfg_attr(feature = "keys", doc = "  [`Granted`].")]
//! - A [`Problem`] is an answer that says what is wrong.
#![forbid(unsafe_code)]

#[cfg(feature = "keys")]
mod api_key;
mod body;
mod head;
pub mod identity;
mod problem;

#[cfg(feature = "keys")]
pub use api_key::{ApiKeyFuture, ApiKeyLayer, ApiKeyService, Granted, KeyFamily, KeyOwner};
pub use {
    body::AnswerBody,
    head::{RequestHead, ResponseHead},
    identity::Identity,
    ipnet::IpNet,
    problem::Problem,
};
