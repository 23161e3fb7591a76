//! One limit per key: the table of states, and what is around it.

mod counters;
mod hasher;
mod ip;
pub(crate) mod latch;
mod limiter;
mod live;
mod many;
mod one_key;
mod plan;
mod print;
#[cfg(feature = "serde")]
mod saved;
mod table;
mod tiers;

#[cfg(feature = "serde")]
pub(crate) use saved::SavedTable;
pub use {
    counters::KeyedStats,
    hasher::SecretState,
    ip::IpKey,
    limiter::KeyedLimiter,
    many::CheckEach,
    one_key::{Fingerprint, OneKey},
    plan::{Plan, PlanFor},
    tiers::{Resolver, Tiers, TiersError},
};
