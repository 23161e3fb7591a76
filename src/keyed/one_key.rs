//! One key of a keyed limiter, as a limiter.

use super::{KeyedLimiter, plan::Plan, print::Print, table::TakenOf};
use crate::{Algorithm, Allowed, Clock, Decision, Denied, Headroom, Limiter, Timestamp, Undo, undo};

/// One key of a [`KeyedLimiter`], as a [`Limiter`]: what [`KeyedLimiter::key`] returns.
///
/// It borrows the limiter, and has hashed the key once. It takes no slot; it is the same whether the key has one or not.
pub struct OneKey<'a, K: ?Sized, A, C, S> {
    pub(super) limiter: &'a KeyedLimiter<K, A, C, S>,
    pub(super) print: Print,
}

impl<K: ?Sized, A, C, S> Clone for OneKey<'_, K, A, C, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, A, C, S> Copy for OneKey<'_, K, A, C, S> {}

/// The fingerprint is not shown: it is made with the table's secret.
impl<K: ?Sized, A: core::fmt::Debug, C, S> core::fmt::Debug for OneKey<'_, K, A, C, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OneKey").finish_non_exhaustive()
    }
}

impl<K: ?Sized, A: Plan, C: Clock, S> Limiter for OneKey<'_, K, A, C, S> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.limiter.clock.now()
    }

    #[inline]
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.table.check(self.print, cost, leave, now)
    }

    #[inline]
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.table.peek(self.print, cost, leave, now)
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
        self.limiter.table.refund(self.print, cost, now);
    }

    fn reset_at(&self, now: Timestamp) {
        self.limiter.table.reset(self.print, now);
    }
}

impl<K: ?Sized, A: Plan, C: Clock, S> Undo for OneKey<'_, K, A, C, S> {
    /// Nothing, if it was taken of what newcomers share.
    type Taken = Option<TakenOf<A>>;

    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, Self::Taken), Denied> {
        self.limiter.table.take(self.print, cost, leave, now)
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
