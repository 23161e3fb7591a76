//! What has become of requests: told to an observer, and counted.

use alloc::{boxed::Box, sync::Arc};
use core::{sync::atomic::Ordering, time::Duration};

use crossbeam_utils::CachePadded;

use crate::{Allowed, Decision, Denied, Headroom, Limiter, Timestamp, Undo, sync::plain::AtomicU64};

/// Is told what has become of each request to a limiter: what [`Limiter::observed`] takes.
///
/// All methods do nothing unless they are written. They are called where the decision was made, by the thread that asked,
/// and the request waits for them. If one panics, what was taken by then stays taken. [`Counters`] is one that counts; logs and metrics are for those who write their own.
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

/// Counts what it is told, for any number of limiters: requests and units, admitted and refused.
///
/// The counts are kept in several cache lines, of which each thread has one that it shares with few others, so that threads
/// which do not meet in a limiter do not meet here. (Without `std` there is one for all.) A count takes two additions to
/// memory that is rarely elsewhere; it wraps at 2^64.
///
/// ```
/// use tollgate::{Counters, Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let counters = Counters::new();
/// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, ManualClock::new());
/// let limiter = limiter.observed(&counters);
/// let _ = [limiter.check_n(4), limiter.check_n(6), limiter.check_n(1), limiter.check_n(11)];
///
/// let counts = counters.read();
/// assert_eq!((counts.admitted.requests, counts.admitted.units), (2, 10));
/// assert_eq!((counts.must_wait.requests, counts.must_wait.units), (1, 1));
/// assert_eq!((counts.never.requests, counts.never.units), (1, 11));
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Debug, Default)]
pub struct Counters {
    shards: [CachePadded<Shard>; SHARDS],
}

/// As many threads count without meeting.
const SHARDS: usize = if cfg!(feature = "std") { 16 } else { 1 };

#[derive(Debug, Default)]
struct Shard {
    admitted: Pair,
    must_wait: Pair,
    never: Pair,
    put_back: AtomicU64,
}

#[derive(Debug, Default)]
struct Pair {
    requests: AtomicU64,
    units: AtomicU64,
}

/// What [`Counters`] have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that were admitted.
    pub admitted: Count,
    /// Requests that were refused, and would pass later.
    pub must_wait: Count,
    /// Requests that were refused because they can never pass: they cost more than the limiter can hold.
    pub never: Count,
    /// Units of those that were admitted which were put back by an [`undo`](Undo::undo_at): as many as were handed to it,
    /// whether time had regained some of them or not.
    pub put_back: u64,
}

impl Counts {
    /// All requests that were refused.
    ///
    /// ```
    /// use tollgate::{Counters, Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
    ///
    /// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, ManualClock::new());
    /// let limiter = limiter.observed(Counters::new());
    /// let _ = [limiter.check_n(10), limiter.check_n(1), limiter.check_n(11)];
    /// assert_eq!(limiter.observer().read().refused().requests, 2);
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    #[must_use]
    pub const fn refused(&self) -> Count {
        Count {
            requests: self.must_wait.requests.wrapping_add(self.never.requests),
            units: self.must_wait.units.wrapping_add(self.never.units),
        }
    }
}

/// How many requests, and of how many units together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// How many requests.
    pub requests: u64,
    /// The sum of their costs.
    pub units: u64,
}

impl Counters {
    /// Counters at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted so far.
    ///
    /// Each number has all that was counted before the reading began, and nothing that came after it; of what is counted meanwhile,
    /// one may have what another has not.
    #[must_use]
    pub fn read(&self) -> Counts {
        let sum = |count: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| count(shard).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        Counts {
            admitted: Count { requests: sum(|s| &s.admitted.requests), units: sum(|s| &s.admitted.units) },
            must_wait: Count { requests: sum(|s| &s.must_wait.requests), units: sum(|s| &s.must_wait.units) },
            never: Count { requests: sum(|s| &s.never.requests), units: sum(|s| &s.never.units) },
            put_back: sum(|s| &s.put_back),
        }
    }

    #[inline]
    fn shard(&self) -> &Shard {
        &self.shards[shard_of_thread() % self.shards.len()]
    }
}

impl Pair {
    /// Relaxed: the counts order nothing.
    #[inline]
    fn count(&self, units: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.units.fetch_add(units, Ordering::Relaxed);
    }
}

impl Observer for Counters {
    #[inline]
    fn admitted(&self, cost: u64, _allowed: &Allowed) {
        self.shard().admitted.count(cost);
    }

    #[inline]
    fn refused(&self, cost: u64, denied: &Denied) {
        let shard = self.shard();
        let pair = if denied.retry_after.is_some() { &shard.must_wait } else { &shard.never };
        pair.count(cost);
    }

    #[inline]
    fn put_back(&self, cost: u64) {
        self.shard().put_back.fetch_add(cost, Ordering::Relaxed);
    }
}

/// The number of the thread, in the order in which they first counted something.
#[cfg(feature = "std")]
#[inline]
fn shard_of_thread() -> usize {
    use std::sync::atomic::AtomicUsize;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    // A thread that is ending, and counts in a destructor, may have none any more.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// There is nothing to tell threads apart by.
#[cfg(not(feature = "std"))]
#[inline]
fn shard_of_thread() -> usize {
    0
}
