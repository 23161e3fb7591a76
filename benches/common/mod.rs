//! What the benchmarks of this folder share: limiters by which everything passes, or nothing.

use std::time::Duration;

use tollgate::{Algorithm, Clock, Limiter, Quota, QuotaError, RateLimiter};

/// More than can be asked for: one unit per nanosecond.
pub(crate) const AMPLE: Quota = Quota::per_second(1_000_000_000);

/// More than is asked for in a run, in counts that a word of a window has room for.
pub(crate) const AMPLE_WINDOW: Quota = Quota::new(2_000_000_000, Duration::from_secs(100 * 365 * 24 * 60 * 60));

/// More than is asked for in a run, of a rate that a live bucket counts exactly.
pub(crate) const AMPLE_LIVE: Quota = Quota::per_second(8_000_000).burst(1_000_000_000_000_000);

/// The rate of [`AMPLE`], for a log of a thousand places.
pub(crate) const AMPLE_LOG: Quota = Quota::new(1_000, Duration::from_micros(1));

/// Spent at once, and not regained in a run.
const SCARCE: Quota = Quota::per_day(10);

/// How to make an algorithm of a quota, as its `new` does.
pub(crate) type New<A> = fn(Quota) -> Result<A, QuotaError>;

/// A limiter by which everything passes, if `quota` is one of those above.
pub(crate) fn ample<A: Algorithm, C: Clock>(new: New<A>, quota: Quota, clock: C) -> RateLimiter<A, C> {
    RateLimiter::with_clock(new(quota).expect("a quota that all algorithms can hold"), clock)
}

/// A limiter by which nothing passes any more.
pub(crate) fn spent<A: Algorithm, C: Clock>(new: New<A>, clock: C) -> RateLimiter<A, C> {
    let limiter = ample(new, SCARCE, clock);
    limiter.check_n(SCARCE.limit()).expect("a fresh limiter admits its limit");
    limiter
}
