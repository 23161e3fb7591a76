//! A limiter of which some must be left.

use super::Oracle;

/// The limiter, but able to hold so many units less.
#[derive(Clone, Debug)]
pub(crate) struct LeavingOracle<O> {
    pub(crate) limiter: O,
    pub(crate) leave: u64,
}

impl<O: Oracle> Oracle for LeavingOracle<O> {
    fn limit(&self) -> u64 {
        self.limiter.limit().saturating_sub(self.leave)
    }

    fn room(&self, at: u128) -> u64 {
        self.limiter.room(at).saturating_sub(self.leave)
    }

    fn recovered(&self, at: u128) -> bool {
        self.limiter.recovered(at)
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.limiter.enter(cost, now);
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        self.limiter.give_back(cost, now);
    }

    fn begin_again(&mut self, now: u128) {
        self.limiter.begin_again(now);
    }

    fn delays(&self) -> bool {
        self.limiter.delays()
    }

    fn drained(&self, at: u128) -> bool {
        self.limiter.drained(at)
    }
}
