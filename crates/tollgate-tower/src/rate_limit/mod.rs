//! Limits in front of a service.

mod admission;
mod layer;
mod refusal;
mod service;

pub use {
    layer::{LayerError, RateLimitLayer},
    refusal::Refusal,
    service::{RateLimitFuture, RateLimitService},
};
