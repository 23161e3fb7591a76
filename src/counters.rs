//! How many requests were admitted and refused, and of how many units.

use core::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;

use crate::{Allowed, Denied, Observer, sync::plain::AtomicU64};

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
    /// Units of those that were admitted which were put back by an [`undo`](crate::Undo::undo_at): as many as were handed to it,
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
    /// Each number has all that was counted before the reading began, and nothing that came after it; of what is counted
    /// meanwhile, one may have what another has not.
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
