//! The sliding log: `limit` in any period, to the nanosecond.
//!
//! The time of each admitted unit is remembered until it is one period old. A request passes if that leaves room for
//! it. Nothing is approximated, and that is what it costs: memory for `limit` times.
//!
//! - **Equation**: `live + n <= limit`, where `live` is the number of units admitted less than one period ago: at a
//!   time `t` with `t + period > now`.
//! - **Bound**: `limit` in any period (half-open: a unit no longer counts when it is exactly one period old).
//! - **Memory**: 8 × `limit` bytes a key, taken when it is built.
//! - **Cost**: constant per unit asked for, and per unit that has left the window since the last admission. Only an
//!   admission lets go of these: a peek or a refusal that finds many of them walks over them again.
//! - **Choose it** where the limit must hold in any period and is not large: few, costly or audited requests.
//! - **Reference**: none; it is the definition that the other algorithms approximate.
//!
//! If the clock steps back, a unit is entered at the time of the newest one before it: the log reads in order. The
//! ring that holds it without a lock is described in `src/ring.rs`.

#[cfg(feature = "serde")]
use alloc::vec::Vec;
use core::time::Duration;

use super::{Algorithm, Answer};
#[cfg(feature = "serde")]
use crate::snapshot::{Shift, State};
use crate::{
    Decision, Headroom, Quota, QuotaError, Timestamp,
    cell::{Moved, Owner, Place, Sole},
    ring::{Claim, MOST_PLACES, Ring},
};

/// `limit` units in any `period`.
///
/// The equation, the bound and what it costs are in the documentation of [its module](self).
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, SlidingLog};
///
/// let clock = ManualClock::new();
/// let limiter = RateLimiter::with_clock(SlidingLog::new(Quota::per_second(2))?, clock.clone());
///
/// assert!(limiter.check().is_ok());
/// clock.advance(Duration::from_millis(700));
/// assert!(limiter.check().is_ok());
/// // The first unit leaves the window one second after it was admitted.
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(300)));
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingLog {
    quota: Quota,
    /// The period, in nanoseconds.
    window: u64,
}

impl SlidingLog {
    /// A log of the quota's period.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the limit or the period is 0, the period is over 136 years, a burst is given, or the limit is
    /// over 2^24 - 1.
    pub const fn new(quota: Quota) -> Result<Self, QuotaError> {
        match quota.validated_without_burst("sliding log") {
            Ok((limit, _)) if limit > MOST_PLACES => Err(QuotaError::LogTooLong { limit, most: MOST_PLACES }),
            Ok((_, window)) => Ok(Self { quota, window }),
            Err(error) => Err(error),
        }
    }

    /// The quota that this algorithm enforces.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }
}

impl SlidingLog {
    #[inline]
    fn ring<'a>(&self, place: Place<'a>) -> Ring<'a> {
        Ring::new(place, self.quota.limit(), self.window)
    }

    /// The ring as one of a smaller limit, for who must leave so many units.
    #[inline]
    fn ring_leaving<'a>(&self, place: Place<'a>, leave: Headroom) -> Ring<'a> {
        let limit = self.quota.limit();
        Ring::new(place, limit.saturating_sub(leave.of(|| limit)), self.window)
    }
}

impl Algorithm for SlidingLog {
    type Taken = Claim;

    fn quota(&self) -> Quota {
        self.quota()
    }

    fn beside(&self) -> usize {
        self.quota.limit() as usize
    }

    fn initial(&self, _now: Timestamp) -> u64 {
        0
    }

    #[inline]
    fn take<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Answer<Claim>, O::Gone> {
        self.ring_leaving(place, leave).decide(owner, cost, now.within_horizon(), true)
    }

    #[inline]
    fn peek<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Decision, O::Gone> {
        let answer = self.ring_leaving(place, leave).decide(owner, cost, now.within_horizon(), false)?;
        Ok(answer.map(|(allowed, _)| allowed))
    }

    /// Within a period, all that passes is in the log together; and no period admits more than the limit.
    fn forecast<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Option<Duration>, O::Gone> {
        let wait = |decision: Decision| match decision {
            Ok(_) => Some(Duration::ZERO),
            Err(denied) => denied.retry_after,
        };
        let together = ahead.saturating_add(cost.max(1));
        if let Some(wait) = wait(self.peek(place, owner, together, leave, now)?) {
            return Ok(Some(wait));
        }
        let Some(alone) = wait(self.peek(place, owner, cost, leave, now)?) else { return Ok(None) };
        let periods = (together.div_ceil(self.quota.limit()) - 1).try_into().unwrap_or(u32::MAX);
        Ok(Some(alone.max(self.quota.period().checked_mul(periods).unwrap_or(Duration::MAX))))
    }

    fn forecast_shared(
        &self,
        shared: Place<'_>,
        _begun: Timestamp,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Option<Duration> {
        let Ok(forecast) = self.forecast(shared, Sole, ahead, cost, leave, now);
        forecast
    }

    fn undo<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        taken: Claim,
        cost: u64,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone> {
        self.ring(place).undo(owner, taken, cost, || latest().within_horizon())
    }

    fn refund<O: Owner>(&self, place: Place<'_>, owner: O, cost: u64, now: Timestamp) -> Result<(), O::Gone> {
        self.ring(place).refund(owner, cost, now.within_horizon())
    }

    fn reset<O: Owner>(&self, place: Place<'_>, owner: O, _begun: Timestamp, _now: Timestamp) -> Result<(), O::Gone> {
        self.ring(place).reset(owner)
    }

    fn recovered_word(&self, place: Place<'_>, now: Timestamp) -> Option<u64> {
        self.ring(place).recovered(now.within_horizon())
    }

    fn peek_shared(
        &self,
        shared: Place<'_>,
        _begun: Timestamp,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Decision {
        let Ok(decision) = self.peek(shared, Sole, cost, leave, now);
        decision
    }

    fn check_shared(
        &self,
        shared: Place<'_>,
        _begun: Timestamp,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Decision {
        let Ok(decision) = self.check(shared, Sole, cost, leave, now);
        decision
    }

    fn begin(
        &self,
        place: Place<'_>,
        word: u64,
        (shared, _begun): (Place<'_>, Timestamp),
        cost: u64,
        now: Timestamp,
    ) -> Result<Claim, Moved> {
        self.ring(place).begin(word, &self.ring(shared), cost, now.within_horizon())
    }

    /// The log remembers times, whatever the quota that they were admitted under: there is nothing to change.
    fn carry_over<O: Owner>(
        &self,
        _place: Place<'_>,
        owner: O,
        _from: &Self,
        _latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone> {
        owner.confirm()
    }
}

#[cfg(feature = "serde")]
impl crate::snapshot::Save for SlidingLog {
    const NAME: &'static str = "sliding log";

    fn save(&self, place: Place<'_>, now: Timestamp) -> State {
        State::Log { times: self.ring(place).times(now.within_horizon()) }
    }

    /// The times by the new clock; none is earlier than the epoch, or than the one before it.
    fn load(&self, place: Place<'_>, state: &State, shift: &Shift) -> Option<()> {
        let State::Log { times } = state else { return None };
        if times.len() > place.beside.len() || times.iter().any(|&time| time > Timestamp::HORIZON.as_nanos()) {
            return None;
        }
        let in_use = |&moved: &i128| moved + i128::from(self.window) > i128::from(shift.now);
        let mut latest = 0;
        let mut in_order = |moved: i128| {
            latest = moved.clamp(latest, Timestamp::HORIZON.as_nanos().into());
            latest as u64
        };
        let times: Vec<u64> = times.iter().map(|&time| shift.moved(time)).filter(in_use).map(&mut in_order).collect();
        self.ring(place).enter(&times);
        Some(())
    }
}
