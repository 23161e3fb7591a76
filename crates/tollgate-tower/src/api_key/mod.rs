//! API keys in front of a service: who is asking, may they, and how much of it.
//!
//! An [`ApiKeyLayer`] asks a [`Gate`](tollgate::keys::Gate) about each request. What it grants reaches the handler as a
//! [`Granted`]; what it refuses is answered here.

#[cfg(feature = "axum")]
mod axum;
mod granted;
mod holder;
mod layer;
mod observe;
mod presented;
mod refused;
mod service;
mod told;

pub use {
    granted::Granted,
    holder::{KeyFamily, KeyOwner},
    layer::ApiKeyLayer,
    service::{ApiKeyFuture, ApiKeyService},
};
