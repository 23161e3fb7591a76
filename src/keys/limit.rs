//! Limits that hang on something about a request.

use core::hash::{BuildHasher, Hash};

use crate::{
    Clock, Decision, KeyedLimiter,
    keyed::{Plan, PlanFor},
};

/// A limiter per `T`: per address, per record.
///
/// What a [`Gate`](super::Gate) asks: in front of verification a `LimitBy` of addresses, behind it any number of
/// `LimitBy<Record<M>>`. A [`KeyedLimiter`] is one by its keys, a [`RecordLimiter`](super::RecordLimiter) one by records.
pub trait LimitBy<T: ?Sized> {
    /// Decides on `cost` units of what `by` has now, and takes them if they pass.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if they do not; nothing is taken then.
    fn check_n(&self, by: &T, cost: u64) -> Decision;

    /// Gives back `cost` units that a [`check_n`](Self::check_n) has just taken, as another limit has refused.
    fn refund(&self, by: &T, cost: u64);
}

impl<K, A, C, S> LimitBy<K> for KeyedLimiter<K, A, C, S>
where
    K: Hash + ?Sized,
    A: Plan + PlanFor<K>,
    C: Clock,
    S: BuildHasher,
{
    #[inline]
    fn check_n(&self, by: &K, cost: u64) -> Decision {
        self.check_n(by, cost)
    }

    #[inline]
    fn refund(&self, by: &K, cost: u64) {
        self.refund(by, cost);
    }
}
