#![doc = include_str!("../README.md")]
//!
//! # A tour
//!
//! - A [`Quota`] says how much may pass: a limit of units per period, and for the buckets a burst.
//! - An algorithm says how it is counted: [`FixedWindow`], [`SlidingLog`], [`SlidingWindow`], [`TokenBucket`],
//!   [`LeakyBucket`]. [`algorithm`] compares them. A quota that one cannot hold exactly is a [`QuotaError`].
//! - A [`Clock`] says what time it is, as a [`Timestamp`]: [`MonotonicClock`], [`CoarseClock`], [`ManualClock`], or your
//!   own.
//! - A [`RateLimiter`] puts the three together, with an atomic state. Requests go through the [`Limiter`] trait.
//! - A [`KeyedLimiter`] is one limiter for each of millions of keys, in fixed memory; [`Tiers`] give keys different
//!   quotas, [`IpKey`] makes a key of an address.
//! - A [`Composite`] is several limits as one, and [`Priority`] says who yields first.
//! - An [`Observer`] is told what becomes of requests; [`Counters`] count it.
//! - A [`Lease`] takes units ahead for one thread, where a limiter that all threads share is too slow.
#![cfg_attr(feature = "serde", doc = "- A [`snapshot`] keeps what is in use across a restart.")]
#![cfg_attr(
    feature = "std",
    doc = "- A bucket can be booked ahead of time, or charged afterwards: [`Reserve`] makes a"
)]
#![cfg_attr(feature = "std", doc = "  [`Booking`]. A [`Line`] waits for any limiter.")]
//! - A [`Live`] algorithm is one whose quota can be changed while it is in use; [`Carry`] says what becomes of what was consumed.
#![cfg_attr(
    feature = "keys",
    doc = "- A [`Gate`](crate::keys::Gate) says who is asking: [`keys`] issues, verifies and"
)]
#![cfg_attr(feature = "keys", doc = "  revokes API keys, and goes from a key to its quota.")]
//! - The answer is a [`Decision`]: [`Allowed`] or [`Denied`], each with what to tell the caller.
#![cfg_attr(not(feature = "std"), no_std)]
// But for `memory.rs`, which is exempt.
#![deny(unsafe_code)]

extern crate alloc;

pub mod algorithm;
mod cell;
mod clock;
mod composite;
mod counters;
mod decision;
mod error;
mod headroom;
pub mod keyed;
#[cfg(feature = "keys")]
pub mod keys;
mod lease;
#[cfg(feature = "std")]
mod ledger;
mod limiter;
#[cfg(feature = "std")]
mod line;
mod live;
mod memory;
mod observe;
mod parts;
mod priority;
mod quota;
mod rate_limiter;
mod ratio;
#[cfg(feature = "std")]
mod reserve;
mod returns;
mod ring;
#[cfg(feature = "serde")]
pub mod snapshot;
mod sync;
#[cfg(feature = "std")]
mod timer;
mod timestamp;
mod undo;

#[cfg(feature = "tokio")]
pub use timer::TokioTimer;
pub use {
    algorithm::{Algorithm, FixedWindow, LeakyBucket, SlidingLog, SlidingWindow, TokenBucket},
    clock::{Clock, CoarseClock, ManualClock, MonotonicClock},
    composite::{Composite, RefusedBy},
    counters::{Count, Counters, Counts},
    decision::{Allowed, Decision, Denied},
    error::QuotaError,
    headroom::{Headroom, Leaving},
    keyed::{IpKey, KeyedLimiter, SecretState, Tiers},
    lease::Lease,
    limiter::Limiter,
    live::{Carry, Live},
    observe::{Observed, Observer},
    parts::Parts,
    priority::Priority,
    quota::Quota,
    rate_limiter::RateLimiter,
    timestamp::Timestamp,
    undo::Undo,
};
#[cfg(feature = "std")]
pub use {
    clock::Ticker,
    line::{Line, WaitError},
    reserve::{Booking, Reserve},
    timer::Timer,
};
