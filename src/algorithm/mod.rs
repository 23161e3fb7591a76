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

#[cfg(feature = "std")]
mod bookable;
mod bucket;
pub mod fixed_window;
pub mod leaky_bucket;
mod of_bucket;
pub mod sliding_log;
pub mod sliding_window;
pub mod token_bucket;
mod window;

use core::{convert::Infallible, fmt::Debug, time::Duration};

#[cfg(feature = "std")]
pub use bookable::Bookable;
#[cfg(feature = "std")]
pub(crate) use bookable::{Request, begin_booked, begin_charged, book, book_unseen, charge, charge_shared, put_back};
pub use fixed_window::FixedWindow;
pub use leaky_bucket::LeakyBucket;
pub use sliding_log::SlidingLog;
pub use sliding_window::SlidingWindow;
pub use token_bucket::TokenBucket;

use crate::{
    Allowed, Carry, Decision, Denied, Headroom, Quota, QuotaError, Timestamp,
    cell::{Moved, Owner, Place, Update, update},
    sync::Ordering,
};

/// How requests are counted: one of the five algorithms, with its quota.
///
/// The trait is sealed. It is here to be named in bounds, and to let the holders of states, [`RateLimiter`] and
/// [`KeyedLimiter`], serve all algorithms alike; requests go through the [`Limiter`](crate::Limiter) trait.
///
/// [`RateLimiter`]: crate::RateLimiter
/// [`KeyedLimiter`]: crate::KeyedLimiter
pub trait Algorithm: sealed::Sealed + Debug + Send + Sync {
    /// What [`undo`](Self::undo) has to know of what was taken.
    type Taken: Copy + Debug;

    /// The quota that this algorithm enforces.
    fn quota(&self) -> Quota;

    /// Whether the quota can be changed while it is in use, as that of a [`Live`](crate::Live) can.
    fn is_live(&self) -> bool {
        false
    }

    /// Whether an admitted request may have to wait for its delay.
    fn delays(&self) -> bool {
        false
    }

    /// How many words a state has beside its first, which must be zeros at the start: none for all but the log.
    fn beside(&self) -> usize;

    /// The word of a state that was never used, for a limiter that starts at `now`.
    fn initial(&self, now: Timestamp) -> u64;

    /// Decides on `cost` units at `now`, of which `leave` must be left, and takes them if they pass.
    fn take<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Answer<Self::Taken>, O::Gone>;

    /// As [`take`](Self::take), for who will not undo it.
    #[inline(always)]
    fn check<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Decision, O::Gone> {
        Ok(self.take(place, owner, cost, leave, now)?.map(|(allowed, _)| allowed))
    }

    /// Decides as [`take`](Self::take) would, and takes nothing.
    fn peek<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Decision, O::Gone>;

    /// How long, at the least, until `cost` units pass if `ahead` others pass first; `None` if never.
    fn forecast<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Option<Duration>, O::Gone>;

    /// As [`forecast`](Self::forecast), for a key that has no state of its own.
    fn forecast_shared(
        &self,
        shared: Place<'_>,
        begun: Timestamp,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Option<Duration>;

    /// Gives back `cost` of the units that were `taken`, but for those that time has regained, and never any of others.
    ///
    /// No one else may have acted on the state at a time later than what `latest` says *after* the state was loaded.
    fn undo<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        taken: Self::Taken,
        cost: u64,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone>;

    /// Gives back up to `cost` units at `now`.
    fn refund<O: Owner>(&self, place: Place<'_>, owner: O, cost: u64, now: Timestamp) -> Result<(), O::Gone>;

    /// Makes the state in `place` one that was never used at `now`, in a limiter that has stood since `begun`.
    fn reset<O: Owner>(&self, place: Place<'_>, owner: O, begun: Timestamp, now: Timestamp) -> Result<(), O::Gone>;

    /// The word in `place` if nothing of the state counts any more at `now`: then nobody can tell it from one that was
    /// never used.
    fn recovered_word(&self, place: Place<'_>, now: Timestamp) -> Option<u64>;

    /// Decides as [`check_shared`](Self::check_shared) would, and takes nothing.
    fn peek_shared(&self, shared: Place<'_>, begun: Timestamp, cost: u64, leave: Headroom, now: Timestamp) -> Decision;

    /// Decides by the state that all keys without one of their own share, in a table that has stood since `begun`. Only
    /// one thread at a time may be in here with one state.
    fn check_shared(&self, shared: Place<'_>, begun: Timestamp, cost: u64, leave: Headroom, now: Timestamp)
    -> Decision;

    /// Makes the recovered state in `place`, whose word was found to be `word`, that of another key: what is shared (as
    /// in [`check_shared`](Self::check_shared)) and `cost` units more, which must have been found to pass.
    fn begin(
        &self,
        place: Place<'_>,
        word: u64,
        shared: (Place<'_>, Timestamp),
        cost: u64,
        now: Timestamp,
    ) -> Result<Self::Taken, Moved>;

    /// Makes a state that was kept under the quota of `from` one under this quota. What is in use stays in use, even where
    /// that is more than this quota has.
    ///
    /// No one else may have acted on the state at a time later than what `latest` says after the state was loaded.
    fn carry_over<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        from: &Self,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone>;
}

/// An algorithm whose whole state is one word: a pure step from a word and a time to an answer and the next word.
///
/// Pure, so that it can be tested by hand, and used by every holder of a word: a limiter, a table of keys, a script
/// on a server.
pub trait Rule: sealed::Sealed + Debug + Send + Sync {
    /// The quota that this rule enforces.
    fn quota(&self) -> Quota;

    /// Whether an admitted request may have to wait for its delay.
    fn delays(&self) -> bool {
        false
    }

    /// The word of a key that was never seen, for a limiter that starts at `now`.
    fn fresh(&self, now: Timestamp) -> u64;

    /// The answer to a request of `cost` units at `now` that must leave `leave` units, and if it passes the word that
    /// follows. It is the answer of a limiter that can hold so many units less.
    ///
    /// A cost of 0 asks whether a single unit is left, and leaves the word as it is.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the request must not pass; the word is then left as it is.
    fn step_leaving(&self, word: u64, cost: u64, leave: u64, now: Timestamp) -> Result<(Allowed, u64), Denied>;

    /// As [`step_leaving`](Self::step_leaving), for a request that need not leave anything.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the request must not pass; the word is then left as it is.
    #[inline(always)]
    fn step(&self, word: u64, cost: u64, now: Timestamp) -> Result<(Allowed, u64), Denied> {
        self.step_leaving(word, cost, 0, now)
    }

    /// How long, at the least, until a request of `cost` units that must leave `leave` passes, if `ahead` units pass first;
    /// `None` if never.
    fn forecast(&self, word: u64, ahead: u64, cost: u64, leave: u64, now: Timestamp) -> Option<Duration>;

    /// The word without `cost` of the units that `step` took; others may have made `word` of what it left, by steps and by
    /// undoing steps, at times up to `latest`. Never less than what they would have made of it alone.
    fn undo(&self, word: u64, step: &Step, cost: u64, latest: Timestamp) -> u64;

    /// The word after `cost` units are given back at `now`, or as many as are in use.
    fn give_back(&self, word: u64, cost: u64, now: Timestamp) -> u64;

    /// Whether nothing of `word` counts any more, at `now` or at any later time.
    fn recovered(&self, word: u64, now: Timestamp) -> bool;

    /// The word at `now` of a key that was never seen, for a limiter that started at `begun`.
    fn unseen(&self, begun: Timestamp, _now: Timestamp) -> u64 {
        self.fresh(begun)
    }

    /// The word under this rule that has as much in use at `now` as `word` has under the rule `from`, or as large a share of
    /// the most that can be, up to what a word can hold.
    fn carry(&self, word: u64, from: &Self, carry: Carry, now: Timestamp) -> u64;
}

/// A rule whose quota can be changed while it is in use, as that of a [`Live`](crate::Live): its words fit into fewer bits,
/// and it can be kept in atomics.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no live form: its quota cannot be changed while it is in use",
    note = "`FixedWindow`, `SlidingWindow`, `TokenBucket` and `LeakyBucket` have one"
)]
pub trait Adjustable: Rule + Copy {
    /// What a rule is kept as: an array of up to 15 words.
    type Words: AsRef<[u64]>;

    /// The rule of this quota whose words have so many bits, from 45 to 63.
    ///
    /// # Errors
    ///
    /// As the algorithm's `new`.
    fn within(quota: Quota, bits: u32) -> Result<Self, QuotaError>;

    /// The rule as words.
    fn save(&self) -> Self::Words;

    /// The rule that was saved, from each of its words. Any words give some rule.
    fn restore(word: impl Fn(usize) -> u64) -> Self;
}

/// A step: the word that it left, the units that it took, and when.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub(crate) after: u64,
    pub(crate) cost: u64,
    pub(crate) at: Timestamp,
}

/// What was taken, and what there is to undo it by.
pub(crate) type Answer<T> = Result<(Allowed, T), Denied>;

/// The most that an algorithm of this quota can ever hold.
#[inline(always)]
pub(crate) fn most(quota: Quota) -> u64 {
    quota.explicit_burst().unwrap_or(quota.limit())
}

impl<R: Rule> Algorithm for R {
    type Taken = Step;

    fn quota(&self) -> Quota {
        Rule::quota(self)
    }

    fn delays(&self) -> bool {
        Rule::delays(self)
    }

    #[inline(always)]
    fn beside(&self) -> usize {
        0
    }

    fn initial(&self, now: Timestamp) -> u64 {
        self.fresh(now)
    }

    #[inline(always)]
    fn take<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Answer<Step>, O::Gone> {
        let leave = leave.of(|| most(self.quota()));
        update(place.word, owner, &Take { rule: self, cost, leave, now })
    }

    #[inline(always)]
    fn peek<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Decision, O::Gone> {
        let leave = leave.of(|| most(self.quota()));
        let word = place.word.load(Ordering::Acquire);
        owner.confirm()?;
        Ok(self.step_leaving(word, cost, leave, now).map(|(allowed, _)| allowed))
    }

    fn forecast<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Option<Duration>, O::Gone> {
        let leave = leave.of(|| most(self.quota()));
        let word = place.word.load(Ordering::Acquire);
        owner.confirm()?;
        Ok(Rule::forecast(self, word, ahead, cost, leave, now))
    }

    fn forecast_shared(
        &self,
        shared: Place<'_>,
        begun: Timestamp,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Option<Duration> {
        let leave = leave.of(|| most(self.quota()));
        Rule::forecast(self, word_of_unseen(self, shared, begun, now), ahead, cost, leave, now)
    }

    fn undo<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        taken: Step,
        cost: u64,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone> {
        replace(place, owner, |word| Rule::undo(self, word, &taken, cost.min(taken.cost), latest()))
    }

    fn refund<O: Owner>(&self, place: Place<'_>, owner: O, cost: u64, now: Timestamp) -> Result<(), O::Gone> {
        replace(place, owner, |word| self.give_back(word, cost, now))
    }

    fn reset<O: Owner>(&self, place: Place<'_>, owner: O, begun: Timestamp, now: Timestamp) -> Result<(), O::Gone> {
        replace(place, owner, |_| self.unseen(begun, now))
    }

    fn recovered_word(&self, place: Place<'_>, now: Timestamp) -> Option<u64> {
        let word = place.word.load(Ordering::Acquire);
        self.recovered(word, now).then_some(word)
    }

    fn peek_shared(&self, shared: Place<'_>, begun: Timestamp, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        let leave = leave.of(|| most(self.quota()));
        self.step_leaving(word_of_unseen(self, shared, begun, now), cost, leave, now).map(|(allowed, _)| allowed)
    }

    fn check_shared(
        &self,
        shared: Place<'_>,
        begun: Timestamp,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Decision {
        let leave = leave.of(|| most(self.quota()));
        let (allowed, next) = self.step_leaving(word_of_unseen(self, shared, begun, now), cost, leave, now)?;
        if cost > 0 {
            // 0 says that none ever had to; where tokens are counted modulo 2^64 it might also be said by chance.
            shared.word.store(next.max(1), Ordering::Release);
        }
        Ok(allowed)
    }

    fn begin(
        &self,
        place: Place<'_>,
        word: u64,
        (shared, begun): (Place<'_>, Timestamp),
        cost: u64,
        now: Timestamp,
    ) -> Result<Step, Moved> {
        let unseen = word_of_unseen(self, shared, begun, now);
        let Ok((_, next)) = self.step(unseen, cost, now) else { return Err(Moved) };
        let swapped = place.word.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed);
        swapped.map(|_| Step { after: next, cost, at: now }).map_err(|_| Moved)
    }

    fn carry_over<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        from: &Self,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone> {
        replace(place, owner, |word| self.carry(word, from, Carry::Absolute, latest()))
    }
}

/// What a key without a state of its own begins with: the word that such keys share, or if they never had to, that of a
/// key that was never seen.
fn word_of_unseen<R: Rule>(rule: &R, shared: Place<'_>, begun: Timestamp, now: Timestamp) -> u64 {
    match shared.word.load(Ordering::Acquire) {
        0 => rule.unseen(begun, now),
        word => word,
    }
}

/// Makes the word in `place` what `next` says, whatever it is.
fn replace<O: Owner>(place: Place<'_>, owner: O, next: impl Fn(u64) -> u64) -> Result<(), O::Gone> {
    replace_saying(place, owner, |word| ((), next(word)))
}

/// As [`replace`], with something to say of it.
fn replace_saying<O: Owner, A>(place: Place<'_>, owner: O, next: impl Fn(u64) -> (A, u64)) -> Result<A, O::Gone> {
    let Ok(answer) = update(place.word, owner, &Replace(next))?;
    Ok(answer)
}

/// Taking `cost` units at `now` and leaving `leave`, as an update of a word.
struct Take<'a, R> {
    rule: &'a R,
    cost: u64,
    leave: u64,
    now: Timestamp,
}

impl<R: Rule> Update for Take<'_, R> {
    type Answer = (Allowed, Step);
    type Refusal = Denied;

    #[inline(always)]
    fn apply(&self, word: u64) -> Result<(Self::Answer, u64), Denied> {
        let (allowed, next) = self.rule.step_leaving(word, self.cost, self.leave, self.now)?;
        Ok(((allowed, Step { after: next, cost: self.cost, at: self.now }), next))
    }
}

/// Whatever the word, another, as an update that never refuses.
struct Replace<F>(F);

impl<A, F: Fn(u64) -> (A, u64)> Update for Replace<F> {
    type Answer = A;
    type Refusal = Infallible;

    fn apply(&self, word: u64) -> Result<(A, u64), Infallible> {
        Ok((self.0)(word))
    }
}

pub(crate) mod sealed {
    /// Only this crate's algorithms: holders of state rely on properties that a signature cannot state.
    pub trait Sealed {}
    impl Sealed for super::FixedWindow {}
    impl Sealed for super::LeakyBucket {}
    impl Sealed for super::SlidingLog {}
    impl Sealed for super::SlidingWindow {}
    impl Sealed for super::TokenBucket {}
}
