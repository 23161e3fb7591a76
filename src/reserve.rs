//! Booking ahead of time, and costs that are known only afterwards.

use alloc::{boxed::Box, sync::Arc};
use core::{fmt::Debug, time::Duration};

use crate::{Allowed, Denied, Headroom, Limiter, Timestamp};

/// A limiter that can be booked ahead of time, and charged afterwards: a bucket, direct or one key of a keyed limiter.
///
/// Only the buckets. A window admits in steps, and what it will admit later depends on what comes in between; a
/// [`Composite`](crate::Composite) has a time for each of its parts. What is booked of a [`Live`](crate::Live) quota
/// would be due at another time after a change. All of them can be waited for in a [`Line`](crate::Line).
///
/// [`reserve`](Self::reserve) is the convenient way; the other methods are what it is made of.
///
/// # Booking ahead
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, Reserve, TokenBucket};
///
/// let clock = ManualClock::new();
/// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, clock.clone());
/// assert!(limiter.check_n(10).is_ok());
///
/// // Nothing is left, but in 300 ms there will be.
/// let booking = (&limiter).reserve(3, Duration::from_secs(1))?;
/// assert_eq!(booking.delay(), Duration::from_millis(300));
/// // What is booked is taken: others come after it.
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(400)));
/// // Later than one is ready to wait is a refusal; it says after how long it would not be.
/// let denied = (&limiter).reserve(10, Duration::from_secs(1)).unwrap_err();
/// assert_eq!(denied.retry_after, Some(Duration::from_millis(300)));
///
/// // Dropped before it is committed, it is as if it had not been.
/// drop(booking);
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(100)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What cancelling puts back
///
/// A booking has a place in the line of units that time makes up for one after the other. What of its place time has not
/// reached is put back, whatever was booked and cancelled before it and after it, and in whatever order; those that came later
/// stand so much further ahead. What time has reached is spent: it is gone for a bucket that is not full, and made no
/// difference to one that is. So a booking that lies ahead, and one that was just made, is put back to the last unit.
///
/// If units were given back in the meantime by a [`refund`](Limiter::refund) or an [undone](crate::Undo) check, it is
/// less by what was gained since the booking, as it is not known whose place that has moved. After a
/// [`reset`](Limiter::reset), or if the key was in another [tier](crate::Tiers) meanwhile, nothing is put back: what
/// was booked is forgotten. In a table of keys, what happens to one key in 64 counts for this. Never is a unit of
/// somebody else's put back, but in two cases: a refund of units that are not in use any more takes the newest that are, and if
/// those were the booking's, it is paid twice; and a clock that steps back while bookings are open is not noticed.
///
/// To put units back takes some 2 ns for each open booking behind them. Other bookings of the limiter, or of all keys of a
/// table, wait meanwhile; checks do not. So it is for thousands of open bookings, not for millions.
///
/// A booking that moves ahead is not told: its [`act_at`](Booking::act_at) stays. The bound of the algorithm counts it from when
/// its turn has come. So if those before it are cancelled, and it is used when it was told, others may have booked the same
/// instant, and then as much more passes within a time that begins later: what was put back before its turn, and no more.
///
/// # Costs that are known afterwards
///
/// Take an estimate, and settle the difference:
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, Reserve, TokenBucket};
///
/// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(100))?, ManualClock::new());
/// let request = (&limiter).reserve(40, Duration::ZERO)?; // at once, or not at all
/// request.settle(25); // it was less: the rest goes back
/// assert_eq!(limiter.peek_n(0)?.remaining, 75);
///
/// let request = (&limiter).reserve(40, Duration::ZERO)?;
/// request.settle(175); // it was more: a debt, for which those who come later wait
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(1_010)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Reserve: Limiter {
    /// What a booking is known by.
    type Booked: Copy + Debug;

    /// Takes `cost` units ahead of time, if they pass and leave what must be left for others within the time `longest`. The
    /// [`delay`](Allowed::delay) says when that is.
    ///
    /// From a leaky bucket they are taken as by a check, if the delay is no longer than that: how many may be in line is its
    /// burst. A key for which a keyed limiter has no room is not booked ahead: from what newcomers share it is taken only if it
    /// passes at once, and it is not put back.
    ///
    /// A cost of 0 asks for a single unit, and takes nothing. It must be [closed](Self::close_at), also if all is kept.
    ///
    /// # Errors
    ///
    /// [`Denied`] if they do not; nothing is taken then. `retry_after` is how long until the same would be booked: `None`
    /// if the cost is more than the burst, or time ends before.
    fn book_leaving_at(
        &self,
        cost: u64,
        leave: Headroom,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Allowed, Self::Booked), Denied>;

    /// Ends a booking of which `kept` units are kept. The others are put back, as many as time has not reached.
    ///
    /// The booking must be one of this limiter, or this key; once it is closed, to close it again does nothing.
    ///
    /// `now` is a time of the limiter's clock, or later if others have gone by later times.
    fn close_at(&self, booked: Self::Booked, kept: u64, now: Timestamp);

    /// Takes `cost` units at `now`, whether they pass or not. What is not there is a debt, also beyond the burst: later
    /// requests wait for it. (A debt ends where the state does: after [the horizon](Timestamp::HORIZON), and above 4 × 10^9
    /// units per second after an hour.)
    fn charge_at(&self, cost: u64, now: Timestamp);

    /// Takes `cost` units now, whether they pass or not; see [`charge_at`](Self::charge_at).
    fn charge(&self, cost: u64) {
        self.charge_at(cost, self.now());
    }

    /// Books `cost` units, to be used within the time `longest`; see [`Reserve`].
    ///
    /// To keep the limiter, call it on a reference: `(&limiter).reserve(..)`. A key of a keyed limiter can be copied.
    ///
    /// # Errors
    ///
    /// [`Denied`] if they do not pass by then; nothing is taken. `retry_after` is how long until the same would be booked:
    /// `None` if the cost is more than the burst, or time ends before.
    fn reserve(self, cost: u64, longest: Duration) -> Result<Booking<Self>, Denied>
    where
        Self: Sized,
    {
        let now = self.now();
        let (allowed, booked) = self.book_leaving_at(cost, Headroom::NONE, longest, now)?;
        Ok(Booking { limiter: self, booked: Some(booked), cost, allowed, at: now })
    }
}

/// Units that are booked ahead: what [`Reserve::reserve`] returns.
///
/// Wait for its [`delay`](Self::delay) and go ahead; then [`commit`](Self::commit), or [`settle`](Self::settle) what it came
/// to. If it is dropped before, it is cancelled. (If it is forgotten, as by [`forget`](core::mem::forget), its units stay
/// taken, and its entry stays in memory as long as the limiter.)
#[derive(Debug)]
#[must_use = "a booking that is dropped is cancelled"]
pub struct Booking<L: Reserve> {
    limiter: L,
    /// Until it is closed.
    booked: Option<L::Booked>,
    cost: u64,
    allowed: Allowed,
    at: Timestamp,
}

impl<L: Reserve> Booking<L> {
    /// How many units are booked.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// What the limiter answered when it was booked: what was left, and the [`delay`](Allowed::delay).
    #[must_use]
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// How long to wait, from when it was booked, before its units may be used.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.allowed.delay
    }

    /// When its units may be used, by the limiter's clock.
    #[must_use]
    pub fn act_at(&self) -> Timestamp {
        self.at + self.allowed.delay
    }

    /// How long it is from now until they may be used: zero if they may.
    #[must_use]
    pub fn remaining_delay(&self) -> Duration {
        self.act_at() - self.limiter.now()
    }

    /// Keeps the units: they have been used, or will be.
    pub fn commit(self) {
        let cost = self.cost;
        self.settle(cost);
    }

    /// Keeps `used` units. If that is less than was booked, the rest is put back, as much of it as time has not reached; if it
    /// is more, the rest is [charged](Reserve::charge_at).
    pub fn settle(mut self, used: u64) {
        self.close(used);
        if used > self.cost {
            self.limiter.charge(used - self.cost);
        }
    }

    /// Puts the units back, as many as time has not reached: as dropping it does.
    pub fn cancel(self) {}

    fn close(&mut self, kept: u64) {
        if let Some(booked) = self.booked.take() {
            self.limiter.close_at(booked, kept, Timestamp::ZERO);
        }
    }
}

impl<L: Reserve> Drop for Booking<L> {
    fn drop(&mut self) {
        self.close(0);
    }
}

macro_rules! reserve_behind {
    ($($pointer:ty),+) => {$(
        impl<L: Reserve + ?Sized> Reserve for $pointer {
            type Booked = L::Booked;

            fn book_leaving_at(
                &self,
                cost: u64,
                leave: Headroom,
                longest: Duration,
                now: Timestamp,
            ) -> Result<(Allowed, Self::Booked), Denied> {
                (**self).book_leaving_at(cost, leave, longest, now)
            }

            fn close_at(&self, booked: Self::Booked, kept: u64, now: Timestamp) {
                (**self).close_at(booked, kept, now);
            }

            fn charge_at(&self, cost: u64, now: Timestamp) {
                (**self).charge_at(cost, now);
            }
        }
    )+};
}

reserve_behind!(&L, Box<L>, Arc<L>);
