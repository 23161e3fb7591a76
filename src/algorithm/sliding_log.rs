//! The sliding log: `limit` in any period, to the nanosecond.
//!
//! The time of each admitted unit is remembered until it is one period old. A request passes if that leaves room for
//! it. Nothing is approximated, and that is what it costs: memory for `limit` times.
//!
//! - **Equation**: `live + n <= limit`, where `live` is the number of units admitted less than one period ago: at a
//!   time `t` with `t + period > now`.
//! - **Bound**: `limit` in any period (half-open: a unit no longer counts when it is exactly one period old).
//! - **Memory**: 8 × `limit` bytes a key, taken when it is built.
//! - **Cost**: constant per unit asked for, and per unit that has left the window since the last admission. Only an
//!   admission lets go of these: a peek or a refusal that finds many of them walks over them again.
//! - **Choose it** where the limit must hold in any period and is not large: few, costly or audited requests.
//! - **Reference**: none; it is the definition that the other algorithms approximate.
//!
//! If the clock steps back, a unit is entered at the time of the newest one before it: the log reads in order. The
//! ring that holds it without a lock is described in `src/ring.rs`.

use super::Algorithm;
use crate::{
    Decision, Quota, QuotaError, Timestamp,
    ring::{MOST_PLACES, Ring},
};

/// `limit` units in any `period`.
///
/// The equation, the bound and what it costs are in the documentation of [its module](self).
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, SlidingLog};
///
/// let clock = ManualClock::new();
/// let limiter = RateLimiter::with_clock(SlidingLog::new(Quota::per_second(2))?, clock.clone());
///
/// assert!(limiter.check().is_ok());
/// clock.advance(Duration::from_millis(700));
/// assert!(limiter.check().is_ok());
/// // The first unit leaves the window one second after it was admitted.
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(300)));
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingLog {
    quota: Quota,
    /// The period, in nanoseconds.
    window: u64,
}

impl SlidingLog {
    /// A log of the quota's period.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the limit or the period is 0, the period is over 136 years, a burst is given, or the limit is
    /// over 2^24 - 1.
    pub const fn new(quota: Quota) -> Result<Self, QuotaError> {
        match quota.validated_without_burst("sliding log") {
            Ok((limit, _)) if limit > MOST_PLACES => Err(QuotaError::LogTooLong { limit, most: MOST_PLACES }),
            Ok((_, window)) => Ok(Self { quota, window }),
            Err(error) => Err(error),
        }
    }

    /// The quota that this algorithm enforces.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }
}

impl Algorithm for SlidingLog {
    type State = Ring;

    fn quota(&self) -> Quota {
        self.quota()
    }

    fn new_state(&self, _now: Timestamp) -> Ring {
        Ring::new(self.quota.limit())
    }

    #[inline]
    fn check(&self, state: &Ring, cost: u64, now: Timestamp) -> Decision {
        state.decide(cost, now.within_horizon(), self.window, true)
    }

    #[inline]
    fn peek(&self, state: &Ring, cost: u64, now: Timestamp) -> Decision {
        state.decide(cost, now.within_horizon(), self.window, false)
    }

    fn refund(&self, state: &Ring, cost: u64, now: Timestamp) {
        state.refund(cost, now.within_horizon(), self.window);
    }

    fn reset(&self, state: &Ring, _now: Timestamp) {
        state.reset();
    }
}
