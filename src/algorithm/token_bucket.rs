//! The token bucket: a steady rate, and a burst after a pause.
//!
//! A bucket holds up to `burst` tokens and gains `limit` of them per `period`, continuously. A request takes as many
//! tokens as it costs, or is refused if they are not there. Whoever pauses saves up for a burst; whoever does not gets
//! the rate.
//!
//! - **Equation**: `used + n <= burst`, where `used` (tokens) falls by `limit / period` per nanosecond, to 0 at the
//!   least, and rises by the cost `n` of what is admitted. The same as GCRA with a tolerance of `burst - 1`
//!   emission intervals.
//! - **Bound**: `burst + floor(limit * d / period)` units within any time `d`; so `burst + limit - 1` in any half-open
//!   period.
//! - **Precision**: the moment at which the bucket last was full is rounded in the caller's favour, by at most 0.47 ns and
//!   2^-63 of the time in which it fills. By so much `d` may be longer, and a wait shorter than by the exact rate.
//! - **Above 4 × 10^9 per second** a word cannot hold all that is spent until [the horizon](crate::Timestamp::HORIZON), and tokens
//!   are counted modulo 2^64. There a clock that steps back by more than an hour fills the bucket, each time that it
//!   does; and a bucket that is left alone until its count comes round (213 days at 10^12 a second, half of that if it
//!   was never used) refuses for up to an hour.
//! - **Memory**: 8 bytes a key.
//! - **Choose it** for most APIs: it forgives bursts and keeps the long-run rate exactly.
//! - **Reference**: ITU-T I.371 (GCRA); RFC 2697 and 2698 for the token bucket of networks.

use super::bucket::Bucket;
use crate::{Quota, QuotaError};

/// A steady rate of `limit` per `period`, and up to `burst` at one instant after a pause.
///
/// Without [`Quota::burst`] the burst is the limit. The rate is exact from one a year to 4 × 10^12 a second.
///
/// The equation, the bound and what it costs are in the documentation of [its module](self).
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let clock = ManualClock::new();
/// let bucket = TokenBucket::new(Quota::per_second(3).burst(2))?;
/// let limiter = RateLimiter::with_clock(bucket, clock.clone());
///
/// assert!(limiter.check().is_ok());
/// assert!(limiter.check().is_ok());
/// let denied = limiter.check().unwrap_err();
/// assert_eq!(denied.retry_after, Some(Duration::from_nanos(333_333_334)));
///
/// clock.advance(Duration::from_nanos(333_333_333));
/// assert!(limiter.check().is_err());
/// clock.advance(Duration::from_nanos(1));
/// assert!(limiter.check().is_ok());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    pub(super) bucket: Bucket,
}

impl TokenBucket {
    /// A bucket that starts full.
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

    /// The same bucket, but empty at the start: nothing passes until a first token has been gained.
    ///
    /// ```
    /// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(10))?.start_empty();
    /// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
    /// assert_eq!(limiter.check().unwrap_err().remaining, 0);
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    #[must_use]
    pub const fn start_empty(self) -> Self {
        match self.start_with(0) {
            Ok(empty) => empty,
            Err(_) => self,
        }
    }

    /// The same bucket, but with `tokens` in it at the start.
    ///
    /// # Errors
    ///
    /// [`QuotaError::StartTooLarge`] if that is more than the burst.
    pub const fn start_with(self, tokens: u64) -> Result<Self, QuotaError> {
        match self.bucket.starting_with(tokens) {
            Ok(bucket) => Ok(Self { bucket }),
            Err(error) => Err(error),
        }
    }

    /// The quota that this algorithm enforces.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.bucket.quota()
    }

    /// How many units may pass at one instant.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.bucket.burst()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, algorithm::Rule};

    #[test]
    fn a_recovered_bucket_is_a_fresh_one() {
        let bucket = TokenBucket::new(Quota::per_second(10)).unwrap();
        let (_, word) = bucket.step(0, 10, Timestamp::from_secs(5)).unwrap();
        let later = Timestamp::from_secs(6);
        assert_eq!(bucket.step(word, 7, later), bucket.step(0, 7, later));
    }

    #[test]
    fn an_earlier_time_only_refuses() {
        let bucket = TokenBucket::new(Quota::per_second(10)).unwrap();
        let (_, word) = bucket.step(0, 10, Timestamp::from_secs(5)).unwrap();
        assert!(bucket.step(word, 1, Timestamp::from_secs(4)).is_err());
        assert!(bucket.step(word, 1, Timestamp::ZERO).is_err());
    }
}
