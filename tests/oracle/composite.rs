//! Several limiters as one.

use super::Oracle;

/// Admits what all of its parts admit, and enters it with all of them.
#[derive(Clone)]
pub(crate) struct CompositeOracle {
    parts: Vec<Box<dyn Part>>,
}

impl CompositeOracle {
    pub(crate) fn new(parts: Vec<Box<dyn Part>>) -> Self {
        Self { parts }
    }

    pub(crate) fn into_parts(self) -> Vec<Box<dyn Part>> {
        self.parts
    }
}

impl Oracle for CompositeOracle {
    fn limit(&self) -> u64 {
        self.parts.iter().map(|part| part.as_limit()).min().unwrap_or(u64::MAX)
    }

    fn room(&self, at: u128) -> u64 {
        self.parts.iter().map(|part| part.room_at(at)).min().unwrap_or(u64::MAX)
    }

    fn recovered(&self, at: u128) -> bool {
        self.parts.iter().all(|part| part.recovered_at(at))
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.parts.iter_mut().for_each(|part| part.enter_at(cost, now));
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        self.parts.iter_mut().for_each(|part| part.give_back_at(cost, now));
    }

    fn begin_again(&mut self, now: u128) {
        self.parts.iter_mut().for_each(|part| part.begin_again_at(now));
    }

    fn delays(&self) -> bool {
        true
    }

    fn drained(&self, at: u128) -> bool {
        self.parts.iter().all(|part| part.drained_at(at))
    }
}

/// An [`Oracle`] of any kind.
pub(crate) trait Part {
    fn boxed(&self) -> Box<dyn Part>;
    fn as_limit(&self) -> u64;
    fn room_at(&self, at: u128) -> u64;
    fn recovered_at(&self, at: u128) -> bool;
    fn enter_at(&mut self, cost: u64, now: u128);
    fn give_back_at(&mut self, cost: u64, now: u128);
    fn begin_again_at(&mut self, now: u128);
    fn drained_at(&self, at: u128) -> bool;
}

impl<O: Oracle + 'static> Part for O {
    fn boxed(&self) -> Box<dyn Part> {
        Box::new(self.clone())
    }

    fn as_limit(&self) -> u64 {
        self.limit()
    }

    fn room_at(&self, at: u128) -> u64 {
        self.room(at)
    }

    fn recovered_at(&self, at: u128) -> bool {
        self.recovered(at)
    }

    fn enter_at(&mut self, cost: u64, now: u128) {
        self.enter(cost, now);
    }

    fn give_back_at(&mut self, cost: u64, now: u128) {
        self.give_back(cost, now);
    }

    fn begin_again_at(&mut self, now: u128) {
        self.begin_again(now);
    }

    fn drained_at(&self, at: u128) -> bool {
        !self.delays() || self.drained(at)
    }
}

impl Clone for Box<dyn Part> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

/// And back again.
impl Oracle for Box<dyn Part> {
    fn limit(&self) -> u64 {
        (**self).as_limit()
    }

    fn room(&self, at: u128) -> u64 {
        (**self).room_at(at)
    }

    fn recovered(&self, at: u128) -> bool {
        (**self).recovered_at(at)
    }

    fn enter(&mut self, cost: u64, now: u128) {
        (**self).enter_at(cost, now);
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        (**self).give_back_at(cost, now);
    }

    fn begin_again(&mut self, now: u128) {
        (**self).begin_again_at(now);
    }

    fn delays(&self) -> bool {
        true
    }

    fn drained(&self, at: u128) -> bool {
        (**self).drained_at(at)
    }
}
