//! The leaky bucket, as a queue: the same rate as the token bucket, but evenly spaced.
//!
//! Admitted requests line up and leave at the rate of `limit` per `period`; up to `burst` units may be in line. An
//! admitted request is told the `delay` after which it is its turn; a request that finds the line full is refused.
//!
//! - **Equation**: `used + n <= burst`, as in the token bucket, and `delay` is the time in which what is in use before
//!   the request drains.
//! - **Bound**: `burst + floor(limit * d / period)` units are admitted within any time `d`. If each waits for its
//!   delay, departures are one emission interval apart per unit of cost, and at most `floor(limit * d / period) + 1`
//!   requests of cost 1 depart within `d`.
//! - **Precision**: the moment at which the bucket last was full is rounded in the caller's favour, by at most 0.47 ns and
//!   2^-63 of the time in which it fills. By so much `d` may be longer, and a wait shorter than by the exact rate.
//! - **Above 4 × 10^9 per second** a word cannot hold all that is spent until [the horizon](crate::Timestamp::HORIZON), and tokens
//!   are counted modulo 2^64. There a clock that steps back by more than an hour fills the bucket, each time that it
//!   does; and a bucket that is left alone until its count comes round (213 days at 10^12 a second, half of that if it
//!   was never used) refuses for up to an hour.
//! - **Memory**: 8 bytes a key.
//! - **Choose it** to protect what must not see bursts, and for clients that keep to somebody else's limit.
//! - **Reference**: J. S. Turner, "New directions in communications", IEEE Communications Magazine 24 (1986). What
//!   nginx calls `burst=n` counts on top of the request in service, and is a burst of `n + 1` here.

use super::bucket::Bucket;
use crate::{Quota, QuotaError};

/// An even flow of `limit` per `period`, with up to `burst` units in line.
///
/// Without [`Quota::burst`] the burst is the limit. Whoever is admitted should wait for the
/// [`delay`](crate::Allowed::delay) before going ahead.
///
/// The equation, the bound and what it costs are in the documentation of [its module](self).
///
/// ```
/// use std::time::Duration;
/// use tollgate::{LeakyBucket, Limiter, ManualClock, Quota, RateLimiter};
///
/// let bucket = LeakyBucket::new(Quota::per_second(10).burst(3))?;
/// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
///
/// let delays: Vec<_> = (0..3).map(|_| limiter.check().unwrap().delay).collect();
/// assert_eq!(delays, [0, 100, 200].map(Duration::from_millis));
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(100)));
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakyBucket {
    pub(super) bucket: Bucket,
}

impl LeakyBucket {
    /// A bucket with nobody in line.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the limit, the period or the burst is 0, the period is over 136 years, the rate is over
    /// 2^42 per second, or the burst does not fit in the state beside 136 years of tokens.
    pub const fn new(quota: Quota) -> Result<Self, QuotaError> {
        match Bucket::within(quota, u64::BITS) {
            Ok(bucket) => Ok(Self { bucket }),
            Err(error) => Err(error),
        }
    }

    /// The same bucket, but with no place free at the start, as if `burst` units were in line.
    #[must_use]
    pub const fn start_empty(self) -> Self {
        match self.start_with(0) {
            Ok(empty) => empty,
            Err(_) => self,
        }
    }

    /// The same bucket, but with `places` free at the start, as if the others of the burst were in line.
    ///
    /// # Errors
    ///
    /// [`QuotaError::StartTooLarge`] if that is more than the burst.
    pub const fn start_with(self, places: u64) -> Result<Self, QuotaError> {
        match self.bucket.starting_with(places) {
            Ok(bucket) => Ok(Self { bucket }),
            Err(error) => Err(error),
        }
    }

    /// The quota that this algorithm enforces.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.bucket.quota()
    }

    /// How many units may be in line at one instant.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.bucket.burst()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::{Timestamp, algorithm::Rule};

    #[test]
    fn the_delay_of_a_cost_is_that_of_its_first_unit() {
        let bucket = LeakyBucket::new(Quota::per_second(10)).unwrap();
        let (first, word) = bucket.step(0, 4, Timestamp::ZERO).unwrap();
        assert_eq!(first.delay, Duration::ZERO);
        let (second, _) = bucket.step(word, 2, Timestamp::from_nanos(100_000_000)).unwrap();
        assert_eq!(second.delay, Duration::from_millis(300));
    }
}
