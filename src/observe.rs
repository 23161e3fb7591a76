//! What has become of requests, told to an observer.

use alloc::{boxed::Box, sync::Arc};
use core::time::Duration;

use crate::{Allowed, Decision, Denied, Headroom, Limiter, Timestamp, Undo};

/// Is told what has become of each request to a limiter: what [`Limiter::observed`] takes.
///
/// All methods do nothing unless they are written. They are called where the decision was made, by the thread that asked,
/// and the request waits for them. If one panics, what was taken by then stays taken. [`Counters`](crate::Counters) is one
/// that counts; logs and metrics are for those who write their own.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tollgate::{Denied, Limiter, ManualClock, Observer, Quota, RateLimiter, TokenBucket};
///
/// /// Counts the refusals of requests that ask for more than can ever pass: a mistake of somebody's.
/// #[derive(Default)]
/// struct Mistakes(AtomicU64);
///
/// impl Observer for Mistakes {
///     fn refused(&self, _cost: u64, denied: &Denied) {
///         if denied.retry_after.is_none() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, ManualClock::new());
/// let limiter = limiter.observed(Mistakes::default());
/// assert!(limiter.check_n(11).is_err());
/// assert_eq!(limiter.observer().0.load(Ordering::Relaxed), 1);
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
pub trait Observer {
    /// A request for `cost` units was admitted, and they stay taken.
    fn admitted(&self, cost: u64, allowed: &Allowed) {
        let _ = (cost, allowed);
    }

    /// A request for `cost` units was refused.
    fn refused(&self, cost: u64, denied: &Denied) {
        let _ = (cost, denied);
    }

    /// Of what was [taken](Undo::take_leaving_at), and told as admitted, up to `cost` units were put back.
    fn put_back(&self, cost: u64) {
        let _ = cost;
    }
}

/// A limiter that tells an observer what has become of each request: what [`Limiter::observed`] returns.
///
/// Told are the checks, not the looks: a [`peek`](Limiter::peek) changes nothing. Of a
/// [`Composite`](crate::Composite) that is observed, the observer is told of the whole. Of a part that is, its observer
/// is told of a request that all parts have admitted, and of one that this part has refused; not of one that it would have
/// admitted and another part has refused: that took nothing of it. So what a part has counted as admitted is what is
/// charged to it. (Where several parts would refuse, it is counted by the one that is named to the caller, or that was come
/// upon.) A refund is not told: what it gives back is known to who asks for it.
///
/// It cannot be booked ahead of time, or charged: that is for the limiter under it, and not told.
///
/// Under a [`Lease`](crate::Lease) the observer is told of what the lease takes, is refused, and puts back; to be told of requests, observe
/// the lease.
///
/// To keep the limiter, observe a reference to it. A limiter that is not observed pays nothing.
#[derive(Clone, Copy, Debug)]
pub struct Observed<L, O> {
    limiter: L,
    observer: O,
}

impl<L: Limiter, O: Observer> Observed<L, O> {
    pub(crate) const fn new(limiter: L, observer: O) -> Self {
        Self { limiter, observer }
    }

    /// The limiter.
    #[must_use]
    pub const fn limiter(&self) -> &L {
        &self.limiter
    }

    /// Who is told.
    #[must_use]
    pub const fn observer(&self) -> &O {
        &self.observer
    }

    #[inline(always)]
    fn tell(&self, cost: u64, decision: Decision) -> Decision {
        match &decision {
            Ok(allowed) => self.observer.admitted(cost, allowed),
            Err(denied) => self.observer.refused(cost, denied),
        }
        decision
    }
}

impl<L: Limiter, O: Observer> Limiter for Observed<L, O> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.limiter.now()
    }

    #[inline]
    fn check(&self) -> Decision {
        self.tell(1, self.limiter.check())
    }

    #[inline]
    fn check_n(&self, cost: u64) -> Decision {
        self.tell(cost, self.limiter.check_n(cost))
    }

    #[inline(always)]
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.tell(cost, self.limiter.check_n_leaving_at(cost, leave, now))
    }

    #[inline(always)]
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.peek_n_leaving_at(cost, leave, now)
    }

    /// What is called off was neither admitted nor refused.
    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        let decision = self.limiter.check_and(cost, leave, now, &mut |allowed| {
            let agreed = agree(allowed);
            if agreed {
                self.observer.admitted(cost, allowed);
            }
            agreed
        });
        decision.inspect_err(|denied| self.observer.refused(cost, denied))
    }

    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        self.limiter.forecast_at(ahead, cost, leave, now)
    }

    fn refused_at(&self, cost: u64, leave: Headroom, now: Timestamp, denied: &Denied) {
        self.observer.refused(cost, denied);
        self.limiter.refused_at(cost, leave, now, denied);
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

impl<L: Undo, O: Observer> Undo for Observed<L, O> {
    type Taken = L::Taken;

    #[inline]
    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, L::Taken), Denied> {
        let answer = self.limiter.take_leaving_at(cost, leave, now);
        match &answer {
            Ok((allowed, _)) => self.observer.admitted(cost, allowed),
            Err(denied) => self.observer.refused(cost, denied),
        }
        answer
    }

    fn undo_at(&self, taken: L::Taken, cost: u64, now: Timestamp) {
        self.limiter.undo_at(taken, cost, now);
        self.observer.put_back(cost);
    }

    fn delays(&self) -> bool {
        self.limiter.delays()
    }
}

/// An observer behind a pointer is an observer.
macro_rules! observer_behind {
    ($($pointer:ty),+) => {$(
        impl<O: Observer + ?Sized> Observer for $pointer {
            #[inline]
            fn admitted(&self, cost: u64, allowed: &Allowed) {
                (**self).admitted(cost, allowed);
            }
            #[inline]
            fn refused(&self, cost: u64, denied: &Denied) {
                (**self).refused(cost, denied);
            }
            #[inline]
            fn put_back(&self, cost: u64) {
                (**self).put_back(cost);
            }
        }
    )+};
}

observer_behind!(&O, Box<O>, Arc<O>);
