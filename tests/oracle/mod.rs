//! Slow, obvious reference limiters, to hold the real ones to.
//!
//! Each keeps a plain list of what was admitted and says only three things about a time: how many units would pass
//! then, whether nothing counts any more then, and what an admission or a refund adds to the list. Everything else
//! follows from these by looking for the first nanosecond at which the answer changes. All of it is in whole
//! numbers: no packed words, no reciprocals, no rounding but where the algorithm's own documentation has one.
//!
//! What all of them share:
//!
//! - A cost of 0 asks whether one unit is left and takes nothing.
//! - `remaining` is what would still pass at the same instant, after the request.
//! - A wait is the shortest after which the request passes if nothing else arrives; there is none for a cost over the
//!   limit. From the horizon on time stands still for what is admitted, but waits are told as if it went on.
//! - A wait that is too long for a [`Duration`] is the longest one there is.

mod bucket;
mod composite;
mod leaving;
mod sliding_log;
mod window;

use std::time::Duration;

use tollgate::{Carry, Decision, Quota, Timestamp};

pub(crate) use self::{
    bucket::{PlainBucket, QuantisedBucket, wraps},
    composite::{CompositeOracle, Part},
    leaving::LeavingOracle,
    sliding_log::LogOracle,
    window::{FixedOracle, SlidingOracle},
};

/// A decision with all that comes with it, `retry_after` included where it was allowed (`None`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) reset_after: Duration,
    pub(crate) delay: Duration,
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        match decision {
            Ok(allowed) => Self {
                allowed: true,
                limit: allowed.limit,
                remaining: allowed.remaining,
                retry_after: None,
                reset_after: allowed.reset_after,
                delay: allowed.delay,
            },
            Err(denied) => Self {
                allowed: false,
                limit: denied.limit,
                remaining: denied.remaining,
                retry_after: denied.retry_after,
                reset_after: denied.reset_after,
                delay: Duration::ZERO,
            },
        }
    }
}

/// A reference limiter. Times are nanoseconds, within the horizon for all that changes it.
pub(crate) trait Oracle: Clone {
    /// The most that can ever pass at one instant.
    fn limit(&self) -> u64;

    /// How many units pass at the time `at` if nothing arrives until then.
    fn room(&self, at: u128) -> u64;

    /// Whether nothing that was admitted counts any more at the time `at`.
    fn recovered(&self, at: u128) -> bool;

    /// Enters `cost` units, at least one, that were admitted at `now`.
    fn enter(&mut self, cost: u64, now: u128);

    /// Takes back as many as `cost` units of those that count at `now`.
    fn give_back(&mut self, cost: u64, now: u128);

    /// Begins again at `now`.
    fn begin_again(&mut self, now: u128);

    /// Whether an admitted request has to wait until all before it have drained.
    fn delays(&self) -> bool {
        false
    }

    /// Whether all that was admitted before the time `at` has drained, if admitted requests have to wait for that.
    fn drained(&self, at: u128) -> bool {
        self.recovered(at)
    }

    /// The answer to `cost` units at `now`, which are not taken.
    fn peek(&self, cost: u64, now: Timestamp) -> Answer {
        let now = within_horizon(now);
        let (limit, room) = (self.limit(), self.room(now));
        let asked = cost.max(1);
        let allowed = asked <= room;
        let mut after = self.clone();
        if allowed && cost > 0 {
            after.enter(cost, now);
        }
        Answer {
            allowed,
            limit,
            remaining: if allowed { room - cost } else { room },
            retry_after: (!allowed && asked <= limit).then(|| first(|wait| self.room(now + wait) >= asked)),
            reset_after: first(|wait| after.recovered(now + wait)),
            delay: if allowed && self.delays() { first(|wait| self.drained(now + wait)) } else { Duration::ZERO },
        }
    }

    /// The answer to `cost` units at `now`, which are taken if they pass.
    fn check(&mut self, cost: u64, now: Timestamp) -> Answer {
        let answer = self.peek(cost, now);
        if answer.allowed {
            self.take(cost, now);
        }
        answer
    }

    /// Takes `cost` units, whether they pass or not.
    fn take(&mut self, cost: u64, now: Timestamp) {
        if cost > 0 {
            self.enter(cost, within_horizon(now));
        }
    }

    fn refund(&mut self, cost: u64, now: Timestamp) {
        self.give_back(cost, within_horizon(now));
    }

    fn reset(&mut self, now: Timestamp) {
        self.begin_again(within_horizon(now));
    }
}

/// A reference limiter whose quota can be changed.
pub(crate) trait Adjust: Oracle {
    /// The bits that a word of a live limiter has for its rule.
    const LIVE_BITS: u32 = 56;

    /// Makes this the quota at `now`: what is in use then stays in use, as many units or as large a share, rounded up.
    fn set_quota(&mut self, quota: Quota, carry: Carry, now: u128);
}

/// The nanoseconds of `now`; all times beyond the horizon are one.
pub(crate) fn within_horizon(now: Timestamp) -> u128 {
    now.min(Timestamp::HORIZON).as_nanos().into()
}

/// The shortest wait in nanoseconds after which `happened` holds, which must hold for all longer ones as well.
fn first(happened: impl Fn(u128) -> bool) -> Duration {
    if happened(0) {
        return Duration::ZERO;
    }
    let mut yes = 1;
    while !happened(yes) {
        yes *= 2;
    }
    let mut no = yes / 2;
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if happened(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    duration(yes)
}

/// A wait of so many nanoseconds; the longest there is if it is longer.
pub(crate) fn duration(nanos: u128) -> Duration {
    match u64::try_from(nanos / 1_000_000_000) {
        Ok(seconds) => Duration::new(seconds, (nanos % 1_000_000_000) as u32),
        Err(_) => Duration::MAX,
    }
}
