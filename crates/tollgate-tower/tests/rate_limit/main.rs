//! What a [`RateLimitLayer`](tollgate_tower::RateLimitLayer) does to requests and responses, over real connections.
#![cfg(all(feature = "axum", feature = "keys", feature = "metrics", feature = "tracing"))]

mod answers;
mod bodies;
mod concurrency;
mod headers;
mod identity;
mod observe;
mod servers;
mod service;
mod support;
