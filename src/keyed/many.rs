//! Many keys at once: their lines are asked for together, so that the waits for memory overlap.

use alloc::vec::Vec;
use core::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    iter::FusedIterator,
};

use super::{
    KeyedLimiter,
    plan::{Plan, PlanFor},
    print::Print,
};
use crate::{Clock, Decision, Headroom, Timestamp};

/// How many keys are asked for ahead of the first decision: more than a processor can wait for at once.
const AHEAD: usize = 32;

/// The decisions on many keys, in their order; from [`KeyedLimiter::check_each`].
///
/// A decision is made when it is asked for; the keys that are not are not charged.
#[must_use = "a key is decided on, and charged, only when its decision is asked for"]
pub struct CheckEach<'a, K: ?Sized, A, C, S, I> {
    limiter: &'a KeyedLimiter<K, A, C, S>,
    keys: I,
    cost: u64,
    now: Timestamp,
    /// The prints of the keys to come, from `next` to `end`, which go round.
    prints: [Print; AHEAD],
    next: usize,
    waiting: usize,
}

impl<K: ?Sized, A: Plan, C: Clock, S: BuildHasher> KeyedLimiter<K, A, C, S> {
    /// Decides on one unit of each key, all at one reading of the clock, and takes those that pass.
    ///
    /// The same as so many checks one after another, a key that comes twice included, but faster in a table that is larger
    /// than the processor's cache. It allocates the list of answers; [`check_each`](Self::check_each) does not.
    ///
    /// ```
    /// use tollgate::{KeyedLimiter, ManualClock, Quota, TokenBucket};
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(1))?;
    /// let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(bucket, 1_000, ManualClock::new());
    /// let passed: Vec<bool> = limiter.check_many(&[7, 8, 7]).iter().map(Result::is_ok).collect();
    /// assert_eq!(passed, [true, true, false]);
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    #[must_use]
    pub fn check_many<Q: Hash>(&self, keys: &[Q]) -> Vec<Decision>
    where
        K: Borrow<Q>,
        A: PlanFor<Q>,
    {
        self.check_each(keys).collect()
    }

    /// Decides on one unit of each key, as the answers are asked for, all at one reading of the clock.
    ///
    /// ```
    /// use tollgate::{KeyedLimiter, ManualClock, Quota, TokenBucket};
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(1))?;
    /// let limiter: KeyedLimiter<String, _, _> = KeyedLimiter::with_clock(bucket, 1_000, ManualClock::new());
    /// let requests = [("alice", "/a"), ("bob", "/b"), ("alice", "/c")];
    /// let decisions = limiter.check_each(requests.iter().map(|(name, _)| *name));
    /// let passed: Vec<&str> =
    ///     requests.iter().zip(decisions).filter(|(_, decision)| decision.is_ok()).map(|((_, path), _)| *path).collect();
    /// assert_eq!(passed, ["/a", "/b"]);
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    pub fn check_each<'k, Q, I>(&self, keys: I) -> CheckEach<'_, K, A, C, S, I::IntoIter>
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized + 'k,
        A: PlanFor<Q>,
        I: IntoIterator<Item = &'k Q>,
    {
        self.check_each_n_at(keys, 1, self.clock.now())
    }

    /// Decides on `cost` units of each key at `now`, as the answers are asked for.
    pub fn check_each_n_at<'k, Q, I>(
        &self,
        keys: I,
        cost: u64,
        now: Timestamp,
    ) -> CheckEach<'_, K, A, C, S, I::IntoIter>
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized + 'k,
        A: PlanFor<Q>,
        I: IntoIterator<Item = &'k Q>,
    {
        let keys = keys.into_iter();
        CheckEach { limiter: self, keys, cost, now, prints: [Print::NONE; AHEAD], next: 0, waiting: 0 }
    }
}

impl<'k, K, Q, A, C, S, I> Iterator for CheckEach<'_, K, A, C, S, I>
where
    K: Borrow<Q> + ?Sized,
    Q: Hash + ?Sized + 'k,
    A: PlanFor<Q>,
    C: Clock,
    S: BuildHasher,
    I: Iterator<Item = &'k Q>,
{
    type Item = Decision;

    #[inline]
    fn next(&mut self) -> Option<Decision> {
        while self.waiting < AHEAD {
            let Some(key) = self.keys.next() else { break };
            let print = self.limiter.print(key);
            self.limiter.table.prefetch(print);
            self.prints[(self.next + self.waiting) % AHEAD] = print;
            self.waiting += 1;
            if self.waiting > AHEAD / 2 {
                self.limiter.table.prefetch_further(self.prints[(self.next + self.waiting - AHEAD / 2) % AHEAD]);
            }
        }
        self.waiting = self.waiting.checked_sub(1)?;
        let print = self.prints[self.next];
        self.next = (self.next + 1) % AHEAD;
        Some(self.limiter.table.check(print, self.cost, Headroom::NONE, self.now, &self.limiter.clock))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.keys.size_hint();
        (least.saturating_add(self.waiting), most.and_then(|most| most.checked_add(self.waiting)))
    }
}

impl<'k, K, Q, A, C, S, I> FusedIterator for CheckEach<'_, K, A, C, S, I>
where
    K: Borrow<Q> + ?Sized,
    Q: Hash + ?Sized + 'k,
    A: PlanFor<Q>,
    C: Clock,
    S: BuildHasher,
    I: FusedIterator<Item = &'k Q>,
{
}

impl<K: ?Sized, A, C, S, I> core::fmt::Debug for CheckEach<'_, K, A, C, S, I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CheckEach").field("cost", &self.cost).field("now", &self.now).finish_non_exhaustive()
    }
}
