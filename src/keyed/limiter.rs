//! One limit per key: an algorithm, a table of states, a clock.

use core::{
    borrow::Borrow,
    fmt::{self, Debug},
    hash::{BuildHasher, Hash},
    marker::PhantomData,
};

use super::{
    counters::KeyedStats,
    hasher::SecretState,
    one_key::{Fingerprint, OneKey},
    plan::{Plan, PlanFor},
    print::Print,
    table::Table,
};
use crate::{Clock, Decision, Headroom, MonotonicClock, Timestamp};

/// One limit for each of millions of keys, in memory that is fixed when it is built.
///
/// A key is whatever can be hashed: a number, a name, an [`IpKey`](crate::IpKey), a tuple of them. Nothing of it is kept
/// but 64 bits of its hash, and it is looked up by whatever it borrows as (`&str` for `String`). Two keys share a limit
/// only if all these bits agree, which for a million keys has a probability of one in 37 million. In a struct field the
/// type is `KeyedLimiter<String, TokenBucket>`.
///
/// A check of a key that was seen before takes no lock and never allocates. It reads one or two cache lines for nine keys in
/// ten of a full table, and up to six for the others.
///
/// # How much memory, and what happens when it is full
///
/// It is built for a number of keys that are *in use* at one time: whose state has not recovered, so that it still differs
/// from that of a key which was never seen. It takes 24 bytes for each, and for the sliding log 12 × `limit` more; the
/// operating system commits them as they are first used. A state that has recovered is given to another key in place,
/// which nobody can tell; there is no thread that sweeps, no time to live, and nothing to tune.
///
/// With as many keys in use as it was built for, about one newcomer in 100,000 finds all its places taken. With more,
/// more of them do, and then **no key is ever reset**: such newcomers share one state, as if they were one key, until there
/// is room, and begin with that state when there is. So under a flood of keys, however large, each key gets at most its
/// quota; those that came before are not affected; newcomers may be refused early. [`stats`](Self::stats) tells.
///
/// # Time
///
/// As with a single limiter, an earlier time than was seen before is harmless; a newcomer that takes over a slot begins no
/// earlier than the last take-over nearby, so a clock that jumps ahead by `d` and back may refuse newcomers for up to `d`.
///
/// ```
/// use tollgate::{KeyedLimiter, ManualClock, Quota, TokenBucket};
///
/// let bucket = TokenBucket::new(Quota::per_second(10).burst(2))?;
/// let clock = ManualClock::new();
/// let limiter: KeyedLimiter<String, _, _> = KeyedLimiter::with_clock(bucket, 10_000, clock.clone());
///
/// assert!(limiter.check("alice").is_ok());
/// assert!(limiter.check("alice").is_ok());
/// assert!(limiter.check("alice").is_err());
/// assert!(limiter.check("bob").is_ok());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
pub struct KeyedLimiter<K: ?Sized, A, C = MonotonicClock, S = SecretState> {
    pub(super) table: Table<A>,
    pub(super) clock: C,
    hasher: S,
    key: PhantomData<fn(&K)>,
}

#[cfg(feature = "std")]
impl<K: ?Sized, A: Plan> KeyedLimiter<K, A> {
    /// A limiter for `keys` keys in use at one time, by the operating system's monotonic clock.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    ///
    /// ```
    /// use tollgate::{KeyedLimiter, Quota, TokenBucket};
    ///
    /// let limiter: KeyedLimiter<u64, TokenBucket> =
    ///     KeyedLimiter::with_capacity(TokenBucket::new(Quota::per_second(10))?, 100_000);
    /// assert!(limiter.check(&17).is_ok());
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    #[must_use]
    pub fn with_capacity(algorithm: A, keys: usize) -> Self {
        Self::with_clock(algorithm, keys, MonotonicClock::new())
    }
}

#[cfg(feature = "std")]
impl<K: ?Sized, A: Plan, C: Clock> KeyedLimiter<K, A, C> {
    /// A limiter for `keys` keys in use at one time, by `clock`.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    #[must_use]
    pub fn with_clock(algorithm: A, keys: usize, clock: C) -> Self {
        Self::with_clock_and_hasher(algorithm, keys, clock, SecretState::new())
    }
}

impl<K: ?Sized, A: Plan, C: Clock, S: BuildHasher> KeyedLimiter<K, A, C, S> {
    /// A limiter for `keys` keys in use at one time, by `clock`, whose keys are hashed by `hasher`.
    ///
    /// A hasher without a secret is for keys that no stranger can choose; see [`SecretState`] for what is at stake.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    #[must_use]
    pub fn with_clock_and_hasher(algorithm: A, keys: usize, clock: C, hasher: S) -> Self {
        let table = Table::new(algorithm, keys, clock.now());
        Self { table, clock, hasher, key: PhantomData }
    }

    /// The algorithm, or the [`Tiers`](crate::Tiers).
    #[must_use]
    pub fn algorithm(&self) -> &A {
        self.table.plan()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// How many keys are in use now: whose state has not recovered. It looks at every slot.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len(self.clock.now())
    }

    /// Whether no key is in use now. It looks at slots until it finds one that is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty(self.clock.now())
    }

    /// What has happened to newcomers so far.
    #[must_use]
    pub fn stats(&self) -> KeyedStats {
        self.table.counters().read()
    }

    /// The bytes that the states take, at most: less while parts of the table were never used.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.bytes()
    }

    /// One key as a [`Limiter`](crate::Limiter), which borrows this; [`OneKey::of`] makes one that shares it.
    ///
    /// ```
    /// use tollgate::{KeyedLimiter, Limiter, ManualClock, Quota, TokenBucket};
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(3))?;
    /// let limiter: KeyedLimiter<String, _, _> = KeyedLimiter::with_clock(bucket, 100, ManualClock::new());
    /// let alice = limiter.key("alice");
    /// assert!(alice.check_n(2).is_ok());
    /// alice.refund(1);
    /// assert_eq!(alice.peek_n(0).unwrap().remaining, 2);
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    pub fn key<Q>(&self, key: &Q) -> OneKey<&Self>
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        OneKey::of(self, key)
    }

    /// The key of this [`Fingerprint`], which a [`key`](Self::key) of this limiter has given, as a
    /// [`Limiter`](crate::Limiter).
    ///
    /// With [`Tiers`](crate::Tiers), the key is in the tier that it was in then.
    pub fn key_of(&self, fingerprint: Fingerprint) -> OneKey<&Self> {
        OneKey { limiter: self, print: fingerprint.0.kept_clear(A::TAG_BITS) }
    }

    /// Decides on one unit of `key` now, and takes it if it passes.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline(always)]
    pub fn check<Q>(&self, key: &Q) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.check_n(key, 1)
    }

    /// Decides on `cost` units of `key` now, and takes them if they pass; a cost of 0 asks for one and takes none.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline(always)]
    pub fn check_n<Q>(&self, key: &Q, cost: u64) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        let print = self.print(key);
        // The line is on its way while the clock is read.
        let home = self.table.prefetch(print);
        self.table.check_from(home, print, cost, Headroom::NONE, self.clock.now(), &self.clock)
    }

    /// Decides on one unit of `key` at `now`, and takes it if it passes.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline]
    pub fn check_at<Q>(&self, key: &Q, now: Timestamp) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.check_n_at(key, 1, now)
    }

    /// Decides on `cost` units of `key` at `now`, and takes them if they pass; a cost of 0 asks for one and takes none.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken then.
    #[inline]
    pub fn check_n_at<Q>(&self, key: &Q, cost: u64, now: Timestamp) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.table.check(self.print(key), cost, Headroom::NONE, now, &self.clock)
    }

    /// Answers as [`check`](Self::check) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    pub fn peek<Q>(&self, key: &Q) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.peek_n(key, 1)
    }

    /// Answers as [`check_n`](Self::check_n) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    pub fn peek_n<Q>(&self, key: &Q, cost: u64) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.peek_n_at(key, cost, self.clock.now())
    }

    /// Answers as [`check_n_at`](Self::check_n_at) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request would not pass.
    pub fn peek_n_at<Q>(&self, key: &Q, cost: u64, now: Timestamp) -> Decision
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.table.peek(self.print(key), cost, Headroom::NONE, now, &self.clock)
    }

    /// Gives back up to `cost` units of `key` now, as many as are still in use.
    ///
    /// As [`Limiter::refund`](crate::Limiter::refund). Units that a key took from the state which newcomers share, where
    /// there was no room for it, are not given back, as they might go to others.
    pub fn refund<Q>(&self, key: &Q, cost: u64)
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.refund_at(key, cost, self.clock.now());
    }

    /// Gives back up to `cost` units of `key` at `now`; see [`refund`](Self::refund).
    pub fn refund_at<Q>(&self, key: &Q, cost: u64, now: Timestamp)
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.table.refund(self.print(key), cost, now, &self.clock);
    }

    /// Makes `key` as new; but for units that it took from the state which newcomers share.
    pub fn reset<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.reset_at(key, self.clock.now());
    }

    /// Makes `key` as new at `now`; see [`reset`](Self::reset).
    pub fn reset_at<Q>(&self, key: &Q, now: Timestamp)
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        self.table.reset(self.print(key), now, &self.clock);
    }

    #[inline(always)]
    pub(super) fn print<Q>(&self, key: &Q) -> Print
    where
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        Print::new(&self.hasher, key, self.table.plan().tag(key), A::TAG_BITS)
    }
}

#[cfg(feature = "serde")]
impl<K: ?Sized, A, C, S> KeyedLimiter<K, A, C, S> {
    pub(crate) fn with_table(table: Table<A>, clock: C, hasher: S) -> Self {
        Self { table, clock, hasher, key: PhantomData }
    }

    pub(crate) fn table(&self) -> &Table<A> {
        &self.table
    }

    pub(crate) fn hasher(&self) -> &S {
        &self.hasher
    }
}

/// What it is built of; not the states, of which there may be millions.
impl<K: ?Sized, A: Plan + Debug, C: Debug, S> Debug for KeyedLimiter<K, A, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimiter")
            .field("algorithm", self.table.plan())
            .field("clock", &self.clock)
            .field("stats", &self.table.counters().read())
            .finish_non_exhaustive()
    }
}
