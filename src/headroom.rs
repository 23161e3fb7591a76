//! What a request must leave for others.

use core::time::Duration;

use crate::{Allowed, Decision, Denied, Limiter, Timestamp, Undo};

/// What a request must leave for others: so many units, so many percent of what the limiter can hold, or both.
///
/// A request passes only if this much would still be left. It is one step: nobody can come between looking at what is left
/// and taking it. To such a request the limiter is one that can hold that much less, and is otherwise the same: so
/// `limit` and `remaining` are less by as much, `retry_after` is how long until the request fits *and leaves that*, and it
/// is `None` if the cost is more than the rest can ever be.
///
/// Percents are of the limit of a window and of the burst of a bucket, rounded down; in a
/// [`Composite`](crate::Composite) of each part's own. [`Priority`](crate::Priority) has names for three of them.
///
/// ```
/// use tollgate::{FixedWindow, Headroom, Limiter, ManualClock, Quota, RateLimiter};
///
/// let limiter = RateLimiter::with_clock(FixedWindow::new(Quota::per_minute(10))?, ManualClock::new());
/// let batch = (&limiter).leaving(Headroom::units(4));
/// assert_eq!(batch.check_n(5)?.remaining, 1);
/// assert_eq!(limiter.check_n(1)?.remaining, 4);
/// assert!(batch.check().is_err());
/// assert!(limiter.check_n(4).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Headroom {
    units: u64,
    percent: u8,
}

impl Headroom {
    /// Nothing need be left.
    pub const NONE: Self = Self { units: 0, percent: 0 };

    /// So many units. If that is all that the limiter can ever hold, nothing passes.
    #[must_use]
    pub const fn units(units: u64) -> Self {
        Self { units, percent: 0 }
    }

    /// So many percent of what the limiter can hold, rounded down. With 100, and with more, nothing passes.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self { units: 0, percent: if percent < 100 { percent } else { 100 } }
    }

    /// As much as either of them asks for, whichever is more.
    ///
    /// ```
    /// use tollgate::Headroom;
    ///
    /// let at_least_two = Headroom::percent(10).and(Headroom::units(2));
    /// assert_eq!((at_least_two.of_limit(10), at_least_two.of_limit(100)), (2, 10));
    /// ```
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            units: if self.units > other.units { self.units } else { other.units },
            percent: if self.percent > other.percent { self.percent } else { other.percent },
        }
    }

    /// The units that must be left of a `limit`.
    #[must_use]
    pub const fn of_limit(self, limit: u64) -> u64 {
        let percent = self.percent as u64;
        // Without the rounding, and the overflow, of a product.
        let share = limit / 100 * percent + limit % 100 * percent / 100;
        if self.units > share { self.units } else { share }
    }

    /// As [`of_limit`](Self::of_limit), of a limit that is looked up only if it is needed.
    #[inline(always)]
    pub(crate) fn of(self, limit: impl FnOnce() -> u64) -> u64 {
        if self.percent == 0 { self.units } else { self.of_limit(limit()) }
    }
}

/// A limiter for requests that must leave some of it for others: what [`Limiter::leaving`] returns.
///
/// It checks and peeks so; refunds and resets are those of the limiter.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<L> {
    limiter: L,
    leave: Headroom,
}

impl<L: Limiter> Leaving<L> {
    pub(crate) const fn new(limiter: L, leave: Headroom) -> Self {
        Self { limiter, leave }
    }
}

impl<L: Limiter> Limiter for Leaving<L> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.limiter.now()
    }

    #[inline(always)]
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.check_n_leaving_at(cost, self.leave.and(leave), now)
    }

    #[inline(always)]
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.peek_n_leaving_at(cost, self.leave.and(leave), now)
    }

    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        self.limiter.forecast_at(ahead, cost, self.leave.and(leave), now)
    }

    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        self.limiter.check_and(cost, self.leave.and(leave), now, agree)
    }

    fn refused_at(&self, cost: u64, leave: Headroom, now: Timestamp, denied: &Denied) {
        self.limiter.refused_at(cost, self.leave.and(leave), now, denied);
    }

    #[inline]
    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.limiter.refund_at(cost, now);
    }

    #[inline]
    fn reset_at(&self, now: Timestamp) {
        self.limiter.reset_at(now);
    }
}

impl<L: Undo> Undo for Leaving<L> {
    type Taken = L::Taken;

    #[inline]
    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, L::Taken), Denied> {
        self.limiter.take_leaving_at(cost, self.leave.and(leave), now)
    }

    #[inline]
    fn undo_at(&self, taken: L::Taken, cost: u64, now: Timestamp) {
        self.limiter.undo_at(taken, cost, now);
    }

    fn delays(&self) -> bool {
        self.limiter.delays()
    }
}

#[cfg(feature = "std")]
impl<L: crate::Reserve> crate::Reserve for Leaving<L> {
    type Booked = L::Booked;

    fn book_leaving_at(
        &self,
        cost: u64,
        leave: Headroom,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Allowed, L::Booked), Denied> {
        self.limiter.book_leaving_at(cost, self.leave.and(leave), longest, now)
    }

    fn close_at(&self, booked: L::Booked, kept: u64, now: Timestamp) {
        self.limiter.close_at(booked, kept, now);
    }

    fn charge_at(&self, cost: u64, now: Timestamp) {
        self.limiter.charge_at(cost, now);
    }
}
