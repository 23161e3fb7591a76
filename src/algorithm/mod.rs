//! The five algorithms: what each promises, holds and costs.
//!
//! | algorithm | the rule, in short | most admitted in any period | memory per key | choose it for |
//! | --- | --- | --- | --- | --- |
//! | [`FixedWindow`] | `limit` per window of the clock | 2 × limit | 8 bytes | quotas per day or month, billing |
//! | [`SlidingLog`] | `limit` in any period, to the nanosecond | limit | 8 × limit bytes | few, costly, audited requests |
//! | [`SlidingWindow`] | `limit`, the last window weighted by its overlap | 2 × limit − 1 | 8 bytes | fair limits per minute or hour |
//! | [`TokenBucket`] | a steady rate, and a burst after a pause | burst + limit − 1 | 8 bytes | most APIs |
//! | [`LeakyBucket`] | the same rate, but evenly spaced | burst + limit − 1 booked, evenly spaced | 8 bytes | protecting what must not see bursts |
//!
//! The exact bound of each is in the documentation of its module; it counts units, and a unit that is refunded is not
//! counted.

mod bucket;
pub mod fixed_window;
pub mod leaky_bucket;
pub mod sliding_log;
pub mod sliding_window;
pub mod token_bucket;
mod window;

use core::{convert::Infallible, fmt::Debug};

pub use fixed_window::FixedWindow;
pub use leaky_bucket::LeakyBucket;
pub use sliding_log::SlidingLog;
pub use sliding_window::SlidingWindow;
pub use token_bucket::TokenBucket;

use crate::{
    Allowed, Decision, Denied, Quota, Timestamp,
    cell::{Cell, Update},
};

/// How requests are counted: one of the five algorithms, with its quota.
///
/// The trait is sealed. It is here to be named in bounds, and to let the holders of state ([`RateLimiter`]) serve all
/// algorithms alike; requests go through the [`Limiter`](crate::Limiter) trait.
///
/// [`RateLimiter`]: crate::RateLimiter
pub trait Algorithm: sealed::Sealed + Debug + Send + Sync {
    /// What one key needs to remember: one atomic word for all but the log.
    type State: Debug + Send + Sync;

    /// The quota that this algorithm enforces.
    fn quota(&self) -> Quota;

    /// The state of a key that was never seen, at `now`.
    fn new_state(&self, now: Timestamp) -> Self::State;

    /// Decides on `cost` units at `now`, and takes them if they pass.
    fn check(&self, state: &Self::State, cost: u64, now: Timestamp) -> Decision;

    /// Decides as [`check`](Self::check) would, and takes nothing.
    fn peek(&self, state: &Self::State, cost: u64, now: Timestamp) -> Decision;

    /// Gives back up to `cost` units at `now`.
    fn refund(&self, state: &Self::State, cost: u64, now: Timestamp);

    /// Makes `state` one of a key that was never seen, at `now`.
    fn reset(&self, state: &Self::State, now: Timestamp);
}

/// An algorithm whose whole state is one word: a pure step from a word and a time to an answer and the next word.
///
/// Pure, so that it can be tested by hand, and used by every holder of a word: a limiter, a table of keys, a script
/// on a server.
pub trait Rule: sealed::Sealed + Debug + Send + Sync {
    /// The quota that this rule enforces.
    fn quota(&self) -> Quota;

    /// The word of a key that was never seen, for a limiter that starts at `now`.
    fn fresh(&self, now: Timestamp) -> u64;

    /// The answer to a request of `cost` units at `now`, and if it passes the word that follows.
    ///
    /// A cost of 0 asks whether a single unit is left, and leaves the word as it is.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the request must not pass; the word is then left as it is.
    fn step(&self, word: u64, cost: u64, now: Timestamp) -> Result<(Allowed, u64), Denied>;

    /// The word after `cost` units are given back at `now`, or as many as are in use.
    fn give_back(&self, word: u64, cost: u64, now: Timestamp) -> u64;
}

impl<R: Rule> Algorithm for R {
    type State = Cell;

    fn quota(&self) -> Quota {
        Rule::quota(self)
    }

    fn new_state(&self, now: Timestamp) -> Cell {
        Cell::new(self.fresh(now))
    }

    #[inline(always)]
    fn check(&self, state: &Cell, cost: u64, now: Timestamp) -> Decision {
        state.update(&Take { rule: self, cost, now })
    }

    #[inline(always)]
    fn peek(&self, state: &Cell, cost: u64, now: Timestamp) -> Decision {
        self.step(state.load(), cost, now).map(|(allowed, _)| allowed)
    }

    fn refund(&self, state: &Cell, cost: u64, now: Timestamp) {
        let Ok(()) = state.update(&GiveBack { rule: self, cost, now });
    }

    fn reset(&self, state: &Cell, now: Timestamp) {
        state.store(self.fresh(now));
    }
}

/// Taking `cost` units at `now`, as an update of a word.
pub(crate) struct Take<'a, R> {
    pub(crate) rule: &'a R,
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
}

impl<R: Rule> Update for Take<'_, R> {
    type Answer = Allowed;
    type Refusal = Denied;

    #[inline(always)]
    fn apply(&self, word: u64) -> Result<(Allowed, u64), Denied> {
        self.rule.step(word, self.cost, self.now)
    }
}

/// Giving back `cost` units at `now`, as an update of a word.
pub(crate) struct GiveBack<'a, R> {
    pub(crate) rule: &'a R,
    pub(crate) cost: u64,
    pub(crate) now: Timestamp,
}

impl<R: Rule> Update for GiveBack<'_, R> {
    type Answer = ();
    type Refusal = Infallible;

    fn apply(&self, word: u64) -> Result<((), u64), Infallible> {
        Ok(((), self.rule.give_back(word, self.cost, self.now)))
    }
}

mod sealed {
    /// Only this crate's algorithms: holders of state rely on properties that a signature cannot state.
    pub trait Sealed {}
    impl Sealed for super::FixedWindow {}
    impl Sealed for super::LeakyBucket {}
    impl Sealed for super::SlidingLog {}
    impl Sealed for super::SlidingWindow {}
    impl Sealed for super::TokenBucket {}
}
