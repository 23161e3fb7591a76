//! Limits that hang on something about a request.

use alloc::sync::Arc;
use core::hash::{BuildHasher, Hash};

use crate::{
    Allowed, Clock, Decision, Headroom, KeyedLimiter, Limiter,
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

    /// Gives back `cost` units that a request has taken.
    fn refund(&self, by: &T, cost: u64);

    /// As [`check_n`](Self::check_n), but once the units are taken `agree` is asked, and if it does not, they are given back,
    /// as exactly as [`Limiter::check_and`](crate::Limiter::check_and) does. What is provided refunds them: right where
    /// nobody else takes of the limit meanwhile.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if the request must not pass; nothing is taken, and `agree` is not asked.
    fn check_and(&self, by: &T, cost: u64, agree: &mut dyn FnMut(&Allowed) -> bool) -> Decision {
        let allowed = self.check_n(by, cost)?;
        if !agree(&allowed) {
            self.refund(by, cost);
        }
        Ok(allowed)
    }
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

    fn check_and(&self, by: &K, cost: u64, agree: &mut dyn FnMut(&Allowed) -> bool) -> Decision {
        let key = self.key(by);
        key.check_and(cost, Headroom::NONE, key.now(), agree)
    }
}

/// Shared, so that it can be asked and changed from elsewhere too.
impl<T: ?Sized, L: LimitBy<T> + ?Sized> LimitBy<T> for Arc<L> {
    fn check_n(&self, by: &T, cost: u64) -> Decision {
        (**self).check_n(by, cost)
    }

    fn refund(&self, by: &T, cost: u64) {
        (**self).refund(by, cost);
    }

    fn check_and(&self, by: &T, cost: u64, agree: &mut dyn FnMut(&Allowed) -> bool) -> Decision {
        (**self).check_and(by, cost, agree)
    }
}
