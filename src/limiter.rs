//! The trait that all limiters meet.

use core::time::Duration;

use crate::{Allowed, Decision, Denied, Headroom, Leaving, Observed, Observer, Timestamp};

/// Decides whether requests may pass.
///
/// Five verbs: [`check`](Self::check) decides and takes, [`peek`](Self::peek) decides as `check` would and takes
/// nothing, [`refund`](Self::refund) gives back, [`reset`](Self::reset) forgets. Each also comes `_at` an explicit
/// time, which must be one of the limiter's own clock; `check` and `peek` come for a cost of 1 and, with `_n`, for any
/// cost.
///
/// A cost of 0 asks whether a single unit is left, and takes nothing: it is allowed iff a cost of 1 would be.
///
/// The trait is object-safe. No method panics, blocks or allocates.
///
/// ```
/// use tollgate::{FixedWindow, Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let clock = ManualClock::new();
/// let limiters: Vec<Box<dyn Limiter>> = vec![
///     Box::new(RateLimiter::with_clock(FixedWindow::new(Quota::per_minute(100))?, clock.clone())),
///     Box::new(RateLimiter::with_clock(TokenBucket::new(Quota::per_second(5))?, clock)),
/// ];
/// for limiter in &limiters {
///     let before = limiter.peek();
///     assert_eq!(limiter.check(), before);
///     limiter.refund(1);
///     assert_eq!(limiter.peek(), before);
/// }
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
pub trait Limiter {
    /// The time by the limiter's clock.
    fn now(&self) -> Timestamp;

    /// Decides on `cost` units at `now`, and takes them if they pass and leave what must be left for others.
    ///
    /// The answer is that of a limiter that can hold so much less; see [`Headroom`]. [`leaving`](Self::leaving) is the
    /// convenient way to say it.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision;

    /// Answers as [`check_n_leaving_at`](Self::check_n_leaving_at) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision;

    /// How long it takes, at the least, until `cost` units pass and leave what must be left, if `ahead` units have to pass first,
    /// each request as soon as it can; `None` if never. A line knows by this that a deadline cannot be met.
    ///
    /// What passes with a [`delay`](Allowed::delay) has passed once that is over. Exact for the buckets, as long as each of those
    /// ahead can pass; for the others a bound from below. What is provided knows nothing of those ahead.
    fn forecast_at(&self, _ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        match self.peek_n_leaving_at(cost, leave, now) {
            Ok(allowed) => Some(allowed.delay),
            Err(denied) => denied.retry_after,
        }
    }

    /// As [`check_n_leaving_at`](Self::check_n_leaving_at), but once the units are taken `agree` is asked, and if it does
    /// not, they are given back. How a [`Composite`](crate::Composite) takes from its parts.
    ///
    /// Unlike a [`refund`](Self::refund), this knows what it undoes: as many of the units are given back as time has not
    /// regained since, and never any of somebody else's; see [`Undo`](crate::Undo).
    ///
    /// The answer is the same whether `agree` does so or not. What is provided is for limiters that nobody else takes from
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken, and `agree` is not asked.
    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        let allowed = self.check_n_leaving_at(cost, leave, now)?;
        if !agree(&allowed) {
            self.refund_at(cost, now);
        }
        Ok(allowed)
    }

    /// A request was refused because this limiter, when a [`Composite`](crate::Composite) only looked at it, said `denied`.
    ///
    /// For limiters that tell others what has become of requests, as [`Observed`] does. All others need not know: nothing was
    /// taken of them, and the default does nothing.
    fn refused_at(&self, cost: u64, leave: Headroom, now: Timestamp, denied: &Denied) {
        let _ = (cost, leave, now, denied);
    }

    /// Gives back up to `cost` units at `now`, as many as are still in use.
    ///
    /// Right after a check it leaves the limiter as if neither had happened. What has been regained in the meantime is
    /// not given back twice: a full bucket stays full, a window that has ended stays ended. Refund only what was taken;
    /// within any time, no more is admitted than the algorithm's bound and what was refunded.
    fn refund_at(&self, cost: u64, now: Timestamp);

    /// Makes the limiter as new at `now`: all that was taken is forgotten.
    fn reset_at(&self, now: Timestamp);

    /// This limiter, for requests that must leave some of it for others: a [`Headroom`], or a
    /// [`Priority`](crate::Priority).
    ///
    /// To keep the limiter, call it on a reference: `(&limiter).leaving(..)`. A key of a keyed limiter can be copied.
    #[inline]
    fn leaving(self, leave: impl Into<Headroom>) -> Leaving<Self>
    where
        Self: Sized,
    {
        Leaving::new(self, leave.into())
    }

    /// This limiter, with an observer that is told what becomes of each request: [`Counters`](crate::Counters), or one of
    /// your own.
    ///
    /// To keep the limiter, call it on a reference: `(&limiter).observed(..)`.
    #[inline]
    fn observed<O: Observer>(self, observer: O) -> Observed<Self, O>
    where
        Self: Sized,
    {
        Observed::new(self, observer)
    }

    /// Decides on `cost` units at `now`, and takes them if they pass.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline(always)]
    fn check_n_at(&self, cost: u64, now: Timestamp) -> Decision {
        self.check_n_leaving_at(cost, Headroom::NONE, now)
    }

    /// Answers as [`check_n_at`](Self::check_n_at) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    #[inline(always)]
    fn peek_n_at(&self, cost: u64, now: Timestamp) -> Decision {
        self.peek_n_leaving_at(cost, Headroom::NONE, now)
    }

    /// Decides on one unit now, and takes it if it passes.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline]
    fn check(&self) -> Decision {
        self.check_n_at(1, self.now())
    }

    /// Decides on `cost` units now, and takes them if they pass.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline]
    fn check_n(&self, cost: u64) -> Decision {
        self.check_n_at(cost, self.now())
    }

    /// Decides on one unit at `now`, and takes it if it passes.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline]
    fn check_at(&self, now: Timestamp) -> Decision {
        self.check_n_at(1, now)
    }

    /// Answers as [`check`](Self::check) would, and takes nothing.
    ///
    /// The units left *before* any request are the `remaining` of `peek_n(0)`.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    #[inline]
    fn peek(&self) -> Decision {
        self.peek_n_at(1, self.now())
    }

    /// Answers as [`check_n`](Self::check_n) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    #[inline]
    fn peek_n(&self, cost: u64) -> Decision {
        self.peek_n_at(cost, self.now())
    }

    /// Answers as [`check_at`](Self::check_at) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    #[inline]
    fn peek_at(&self, now: Timestamp) -> Decision {
        self.peek_n_at(1, now)
    }

    /// Gives back up to `cost` units now; see [`refund_at`](Self::refund_at).
    #[inline]
    fn refund(&self, cost: u64) {
        self.refund_at(cost, self.now());
    }

    /// Makes the limiter as new.
    #[inline]
    fn reset(&self) {
        self.reset_at(self.now());
    }
}

/// A limiter behind a pointer is a limiter.
macro_rules! limiter_behind {
    ($($pointer:ty),+) => {$(
        impl<L: Limiter + ?Sized> Limiter for $pointer {
            #[inline]
            fn now(&self) -> Timestamp {
                (**self).now()
            }
            // Not by the time: a lease need not look at it.
            #[inline]
            fn check(&self) -> Decision {
                (**self).check()
            }
            #[inline]
            fn check_n(&self, cost: u64) -> Decision {
                (**self).check_n(cost)
            }
            #[inline]
            fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
                (**self).check_n_leaving_at(cost, leave, now)
            }
            #[inline]
            fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
                (**self).peek_n_leaving_at(cost, leave, now)
            }
            #[inline]
            fn check_n_at(&self, cost: u64, now: Timestamp) -> Decision {
                (**self).check_n_at(cost, now)
            }
            #[inline]
            fn peek_n_at(&self, cost: u64, now: Timestamp) -> Decision {
                (**self).peek_n_at(cost, now)
            }
            fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
                (**self).forecast_at(ahead, cost, leave, now)
            }
            fn check_and(
                &self,
                cost: u64,
                leave: Headroom,
                now: Timestamp,
                agree: &mut dyn FnMut(&Allowed) -> bool,
            ) -> Decision {
                (**self).check_and(cost, leave, now, agree)
            }
            fn refused_at(&self, cost: u64, leave: Headroom, now: Timestamp, denied: &Denied) {
                (**self).refused_at(cost, leave, now, denied);
            }
            #[inline]
            fn refund_at(&self, cost: u64, now: Timestamp) {
                (**self).refund_at(cost, now);
            }
            #[inline]
            fn reset_at(&self, now: Timestamp) {
                (**self).reset_at(now);
            }
        }
    )+};
}

limiter_behind!(&L, alloc::boxed::Box<L>, alloc::sync::Arc<L>);
