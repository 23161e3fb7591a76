//! One key of a keyed limiter, as a limiter.

use core::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    ops::Deref,
    time::Duration,
};

#[cfg(feature = "std")]
use super::table::Taken;
use super::{
    KeyedLimiter,
    plan::{Plan, PlanFor},
    print::Print,
    table::TakenOf,
};
use crate::{Algorithm, Allowed, Clock, Decision, Denied, Headroom, Limiter, Quota, Timestamp, Undo, undo};
#[cfg(feature = "std")]
use crate::{
    Reserve,
    algorithm::{Bookable, Request},
    ledger::Booked,
};

/// One key of a [`KeyedLimiter`], as a [`Limiter`]: what [`KeyedLimiter::key`] returns.
///
/// It has hashed the key once, and borrows the limiter or shares it, as `H` says. It takes no slot; it is the same whether the
/// key has one or not.
#[derive(Clone, Copy)]
pub struct OneKey<H> {
    pub(super) limiter: H,
    pub(super) print: Print,
}

impl<H, K: ?Sized, A: Plan, C: Clock, S: BuildHasher> OneKey<H>
where
    H: Deref<Target = KeyedLimiter<K, A, C, S>>,
{
    /// That `key` of `limiter`, which it keeps: with an `Arc` of it, the key can be moved to a task or a thread.
    ///
    /// ```
    /// use std::{sync::Arc, thread, time::Duration};
    /// use tollgate::{KeyedLimiter, Line, Quota, TokenBucket, WaitError, keyed::OneKey};
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(100).burst(2))?;
    /// let limiter: Arc<KeyedLimiter<String, _>> = Arc::new(KeyedLimiter::with_capacity(bucket, 10_000));
    /// let line = Line::new(OneKey::of(Arc::clone(&limiter), "alice"), 100);
    /// let waiting = thread::spawn(move || line.wait_blocking(1, Duration::from_secs(1)).is_ok());
    /// assert!(waiting.join().unwrap());
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    pub fn of<Q>(limiter: H, key: &Q) -> Self
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
        A: PlanFor<Q>,
    {
        let print = limiter.print(key);
        Self { limiter, print }
    }
}

/// Which key of a [`KeyedLimiter`] it is, without the key and without the limiter: to come back to it later.
///
/// It is worth something to the limiter that it was made by; to another it is the fingerprint of some other key.
///
/// ```
/// use tollgate::{KeyedLimiter, Limiter, ManualClock, Quota, TokenBucket};
///
/// let bucket = TokenBucket::new(Quota::per_second(3))?;
/// let limiter: KeyedLimiter<String, _, _> = KeyedLimiter::with_clock(bucket, 100, ManualClock::new());
/// let alice = limiter.key("alice").fingerprint();
/// assert!(limiter.key_of(alice).check_n(2).is_ok());
/// assert_eq!(limiter.peek_n("alice", 0)?.remaining, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Fingerprint(pub(super) Print);

/// It is not shown: it is made with the table's secret.
impl core::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl<H, K: ?Sized, A: Plan, C, S> OneKey<H>
where
    H: Deref<Target = KeyedLimiter<K, A, C, S>>,
{
    /// Which key it is, to [come back to it](KeyedLimiter::key_of) later.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.print)
    }

    /// The quota that the key is under.
    #[must_use]
    pub fn quota(&self) -> Quota {
        let tag = self.print.tagged & ((1 << A::TAG_BITS) - 1);
        self.limiter.table.plan().algorithm(tag).quota()
    }
}

/// The fingerprint is not shown: it is made with the table's secret.
impl<H> core::fmt::Debug for OneKey<H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OneKey").finish_non_exhaustive()
    }
}

impl<H, K: ?Sized, A: Plan, C: Clock, S> Limiter for OneKey<H>
where
    H: Deref<Target = KeyedLimiter<K, A, C, S>>,
{
    #[inline]
    fn now(&self) -> Timestamp {
        self.limiter.clock.now()
    }

    #[inline]
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.table.check(self.print, cost, leave, now, &self.limiter.clock)
    }

    #[inline]
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.table.peek(self.print, cost, leave, now, &self.limiter.clock)
    }

    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        self.limiter.table.forecast(self.print, ahead, cost, leave, now, &self.limiter.clock)
    }

    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        undo::check_and(self, cost, leave, now, agree)
    }

    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.limiter.table.refund(self.print, cost, now, &self.limiter.clock);
    }

    fn reset_at(&self, now: Timestamp) {
        self.limiter.table.reset(self.print, now, &self.limiter.clock);
    }
}

impl<H, K: ?Sized, A: Plan, C: Clock, S> Undo for OneKey<H>
where
    H: Deref<Target = KeyedLimiter<K, A, C, S>>,
{
    /// Nothing, if it was taken of what newcomers share.
    type Taken = Option<TakenOf<A>>;

    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, Self::Taken), Denied> {
        self.limiter.table.take(self.print, cost, leave, now, &self.limiter.clock)
    }

    fn undo_at(&self, taken: Self::Taken, cost: u64, now: Timestamp) {
        if let Some(taken) = taken {
            self.limiter.table.undo(self.print, taken, cost, || self.now().max(now));
        }
    }

    fn delays(&self) -> bool {
        self.limiter.table.plan().algorithm(0).delays()
    }
}

#[cfg(feature = "std")]
impl<H, K: ?Sized, A: Plan, C: Clock, S> Reserve for OneKey<H>
where
    H: Deref<Target = KeyedLimiter<K, A, C, S>>,
    A::Algorithm: Bookable,
{
    /// Nothing, if it was taken of what newcomers share.
    type Booked = Option<Taken<Booked>>;

    fn book_leaving_at(
        &self,
        cost: u64,
        leave: Headroom,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Allowed, Self::Booked), Denied> {
        self.limiter.table.book(self.print, &Request { cost, leave, longest, now }, &self.limiter.clock)
    }

    fn close_at(&self, booked: Self::Booked, kept: u64, now: Timestamp) {
        if let Some(booked) = booked {
            self.limiter.table.close(self.print, booked, kept, || self.now().max(now));
        }
    }

    fn charge_at(&self, cost: u64, now: Timestamp) {
        self.limiter.table.charge(self.print, cost, now, &self.limiter.clock);
    }
}
