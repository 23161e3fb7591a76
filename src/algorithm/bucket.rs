//! The arithmetic that the token bucket and the leaky bucket share.
//!
//! # Tokens since the epoch
//!
//! With `f` bits of fraction, let `V(now) = floor(now * limit * 2^f / period)`: the tokens generated since the clock's
//! epoch, in units of 2^-f tokens. The word holds `c`, the tokens spent since the epoch in the same unit. Then what is
//! in use is `used = max(0, c - V(now))`, and `n` tokens may pass iff `used + n <= burst`; they leave
//! `c = V(now) + used + n`.
//!
//! This is GCRA (ITU-T I.371, annex A; the "theoretical arrival time" is the moment when `V` reaches `c`), counted in
//! fractions of a token where others count in nanoseconds. A token is then always a whole number of units, so
//! nothing is ever rounded but the moment at which the bucket last was full, once, by less than one unit. A rate
//! of 3 per second is 3 per second in any long run, and so is one of 10^12.
//!
//! # How fine, and how far
//!
//! `f` is the largest for which everything that can be spent by [`Timestamp::HORIZON`] fits in the word. That makes
//! a unit worth at most 0.47 ns, plus 2^-63 of the time in which an empty bucket fills: what the rounding of the moment
//! can amount to, always in the caller's favour.
//!
//! A rate above some 4 × 10^9 per second has no room for fractions, and no room to count to the horizon either.
//! There `c` and `V` are counted modulo 2^64, and `c` is taken to be in the future of `V` if it is less than the
//! burst and an hour's tokens ahead, in the past otherwise. A clock that steps back by more than an hour therefore
//! fills such a bucket. A bucket left alone until `V` has come round to it (213 days at 10^12 a second; half of that if
//! it was never used, as a fresh one lies half a modulus behind) refuses for up to that hour.

use core::time::Duration;

use super::Step;
#[cfg(feature = "serde")]
use crate::snapshot::{Shift, State};
use crate::{Allowed, Carry, Denied, Quota, QuotaError, Timestamp, ratio::Ratio, timestamp::nanos_of};

/// The highest rate, in units per second: it leaves a state readable for 48 days, a fresh one for 24.
const MOST_PER_SECOND: u64 = 1 << 42;

/// The largest burst of a bucket that counts modulo 2^64: a quarter of the modulus.
const MOST_WRAPPING_BURST: u64 = 1 << 62;

/// A quota as a bucket, and how full a fresh one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Units of 2^-f tokens per nanosecond.
    rate: Ratio,
    /// The burst, in tokens.
    burst: u64,
    /// The burst in the same units.
    capacity: u64,
    /// `f`: a token is 2^f units.
    token_bits: u32,
    /// How far ahead of `V` a `c` counts as future, in units, if they are counted modulo 2^64.
    reach: Option<u64>,
    /// Whether a wait can be too long for 64 bits of nanoseconds.
    distant: bool,
    /// How many tokens a fresh bucket lacks.
    lacking: u64,
    quota: Quota,
}

/// What [`Bucket::take`] found and took, in units.
pub(super) struct Taken {
    pub(super) next: u64,
    /// `V(now)`.
    generated: u64,
    /// In use before this request, and after it.
    used: [u64; 2],
    now: u64,
}

impl Bucket {
    /// A bucket whose words have so many bits, from 45 to 64. With less than 64 it never counts modulo: time has half of them.
    pub(super) const fn within(quota: Quota, bits: u32) -> Result<Self, QuotaError> {
        let (limit, period) = match quota.validated() {
            Ok(valid) => valid,
            Err(error) => return Err(error),
        };
        let burst = match quota.explicit_burst() {
            Some(0) => return Err(QuotaError::ZeroBurst),
            Some(burst) => burst,
            None => limit,
        };
        let spare_bits = u64::BITS - bits;
        let most = u64::MAX >> spare_bits;
        // Time ends after 2^32 seconds.
        let most_per_second = if spare_bits == 0 { MOST_PER_SECOND } else { 1 << (bits - 1 - 32) };
        if limit as u128 * 1_000_000_000 > most_per_second as u128 * period as u128 {
            return Err(QuotaError::RateTooHigh { limit, period: quota.period(), most: most_per_second });
        }
        let by_horizon = scaled(Timestamp::HORIZON.as_nanos(), limit, period);
        let (token_bits, reach) = if by_horizon + burst as u128 <= most as u128 {
            ((by_horizon as u64 + burst).leading_zeros() - spare_bits, None)
        } else if by_horizon <= 1 << (bits - 1) {
            return Err(QuotaError::BurstTooLarge { burst, most: most - by_horizon as u64 });
        } else if burst > MOST_WRAPPING_BURST {
            return Err(QuotaError::BurstTooLarge { burst, most: MOST_WRAPPING_BURST });
        } else {
            const HOUR: u64 = 60 * 60 * 1_000_000_000;
            (0, Some(burst + scaled(HOUR, limit, period) as u64))
        };
        // Fits: `limit * 2^f / period` is less than 2^64 divided by the horizon, and a period is at most that.
        let rate = Ratio::new(limit << token_bits, period);
        let capacity = burst << token_bits;
        let time_to_fill = scaled(burst, period, limit);
        let distant = reach.is_some() || time_to_fill >= 1 << 63;
        Ok(Self { rate, burst, capacity, token_bits, reach, distant, lacking: 0, quota })
    }

    /// The same bucket, but a fresh one holds `start` tokens.
    pub(super) const fn starting_with(self, start: u64) -> Result<Self, QuotaError> {
        let burst = self.burst();
        if start > burst {
            return Err(QuotaError::StartTooLarge { start, burst });
        }
        Ok(Self { lacking: burst - start, ..self })
    }

    pub(super) const fn quota(&self) -> Quota {
        self.quota
    }

    pub(super) const fn burst(&self) -> u64 {
        self.burst
    }

    /// The word of a bucket that lacks what a fresh one lacks.
    pub(super) fn fresh(&self, now: Timestamp) -> u64 {
        let generated = self.rate.units_at(now.within_horizon());
        match (self.lacking, self.reach) {
            // Full at any time, earlier ones included.
            (0, None) => 0,
            (0, Some(_)) => generated.wrapping_sub(1 << 63),
            (lacking, _) => generated.wrapping_add(lacking << self.token_bits),
        }
    }

    /// Takes `cost` tokens if they are there and `leave` more; a cost of 0 takes nothing but asks for one.
    #[inline(always)]
    pub(super) fn take(&self, word: u64, cost: u64, leave: u64, now: Timestamp) -> Result<Taken, Denied> {
        let now = now.within_horizon();
        let generated = self.rate.units_at(now);
        let used = self.used(word, generated);
        let asked = cost.max(1);
        if asked > self.burst().saturating_sub(leave) {
            return Err(self.denied(leave, used, generated, now, None));
        }
        // What may be in use for the request to pass. `asked + leave <= burst`, so the shift keeps all bits.
        let allowed = self.capacity - ((asked + leave) << self.token_bits);
        if used > allowed {
            return Err(self.denied(leave, used, generated, now, Some(used - allowed)));
        }
        let after = used + (cost << self.token_bits);
        let next = if cost == 0 { word } else { generated.wrapping_add(after) };
        Ok(Taken { next, generated, used: [used, after], now })
    }

    /// The answer to a request that was taken and had to leave `leave` tokens; `delayed` until what was in use before it has drained.
    #[inline(always)]
    pub(super) fn allowed(&self, taken: &Taken, leave: u64, delayed: bool) -> Allowed {
        let [before, after] = taken.used;
        Allowed {
            limit: self.burst() - leave,
            remaining: ((self.capacity - after) >> self.token_bits) - leave,
            reset_after: self.drained(after, taken.generated, taken.now, from_few_nanos),
            delay: if delayed {
                self.drained(before, taken.generated, taken.now, from_few_nanos)
            } else {
                Duration::ZERO
            },
        }
    }

    /// The refusal of a request for which `excess` units too many are in use.
    #[inline(always)]
    fn denied(&self, leave: u64, used: u64, generated: u64, now: u64, excess: Option<u64>) -> Denied {
        Denied {
            limit: self.burst().saturating_sub(leave),
            remaining: (self.capacity.saturating_sub(used) >> self.token_bits).saturating_sub(leave),
            reset_after: self.drained(used, generated, now, Duration::from_nanos),
            retry_after: excess.map(|excess| self.drained(excess, generated, now, Duration::from_nanos)),
        }
    }

    /// The time after `now` in which `units` more are generated, made a duration by `from_nanos`.
    #[inline(always)]
    fn drained(&self, units: u64, generated: u64, now: u64, from_nanos: impl Fn(u64) -> Duration) -> Duration {
        if units == 0 {
            Duration::ZERO
        } else if self.distant {
            wait(self.rate.time_for(units, now, generated))
        } else {
            from_nanos(self.rate.time_of(generated + units) - now)
        }
    }

    /// The word after as many as `cost` tokens of those in use are given back.
    pub(super) fn give_back(&self, word: u64, cost: u64, now: Timestamp) -> u64 {
        let used = self.used(word, self.rate.units_at(now.within_horizon()));
        // More than the burst may be in use, and then more than that can be given back.
        word.wrapping_sub(used.min(cost.min(u64::MAX >> self.token_bits) << self.token_bits))
    }

    /// The word without `cost` of the tokens that `step` took, while others may have taken more and put theirs back, up to
    /// the time `latest`.
    ///
    /// The word is never less than what the steps that remain make of it one after the other, each `max(c, V(t)) + n`. In
    /// that sequence these tokens begin at `V(s)` or later, `s` being the time of the step, whatever came before it and was
    /// put back since. So they make the word larger by as many of them as are in use at `latest` if they begin there: that
    /// much can be taken out, and it is nobody else's.
    pub(super) fn undo(&self, word: u64, step: &Step, cost: u64, latest: Timestamp) -> u64 {
        let [taken_at, generated] = [step.at, latest].map(|time| self.rate.units_at(time.within_horizon()));
        let spent = taken_at.wrapping_add(step.cost.min(self.burst()) << self.token_bits);
        let returned = self.used(spent, generated).min(self.used(word, generated));
        word.wrapping_sub(returned.min(cost.min(self.burst()) << self.token_bits))
    }

    /// Whether nothing of `word` is in use.
    pub(super) fn recovered(&self, word: u64, now: Timestamp) -> bool {
        self.used(word, self.rate.units_at(now.within_horizon())) == 0
    }

    /// The word at `now` of a bucket that has been left alone since `begun`.
    pub(super) fn unseen(&self, begun: Timestamp, now: Timestamp) -> u64 {
        let passed = now.within_horizon().saturating_sub(begun.within_horizon());
        let gained = u128::from(passed) * u128::from(self.quota.limit());
        let filled = gained >= u128::from(self.lacking) * self.quota.period().as_nanos();
        // A full bucket is made anew: the word of an old one would come round where tokens are counted modulo 2^64.
        if filled { Self { lacking: 0, ..*self }.fresh(now) } else { self.fresh(begun) }
    }

    /// The word with as many tokens in use as `word` has in the bucket `from`, or as large a share of the burst, rounded up;
    /// more than the burst, if need be, up to what a word can hold.
    pub(super) fn carry(&self, word: u64, from: &Self, carry: Carry, now: Timestamp) -> u64 {
        let generated = self.rate.units_at(now.within_horizon());
        let used = u128::from(from.used(word, from.rate.units_at(now.within_horizon())));
        let used = match (carry, self.token_bits.checked_sub(from.token_bits)) {
            (Carry::Absolute, Some(finer)) => used << finer,
            (Carry::Absolute, None) => used.div_ceil(1 << (from.token_bits - self.token_bits)),
            (Carry::Proportional, _) => (used * u128::from(self.capacity)).div_ceil(from.capacity.into()),
        };
        generated.wrapping_add(used.min(self.most_in_use(generated).into()) as u64)
    }

    /// Takes `cost` tokens ahead of time, if they are there, and `leave` more, within the time `longest`; or if the bucket
    /// `delays`, at once, but to be used within that time.
    #[cfg(feature = "std")]
    pub(super) fn book(
        &self,
        word: u64,
        cost: u64,
        leave: u64,
        longest: Duration,
        delays: bool,
        now: Timestamp,
    ) -> Result<(Allowed, u64), Denied> {
        let now = now.within_horizon();
        let generated = self.rate.units_at(now);
        let used = self.used(word, generated);
        let asked = cost.max(1);
        if asked > self.burst().saturating_sub(leave) {
            return Err(self.denied(leave, used, generated, now, None));
        }
        let drained = |units| self.drained(units, generated, now, Duration::from_nanos);
        let allowed = self.capacity - ((asked + leave) << self.token_bits);
        let fits = drained(used.saturating_sub(allowed));
        // When it is its turn. That is an instant which does not move, so it comes within reach as time goes by.
        let turn = if delays { drained(used) } else { fits };
        let mut early = turn.saturating_sub(longest);
        if delays {
            early = early.max(fits);
        }
        let after = u128::from(used) + (u128::from(cost) << self.token_bits);
        let over = after.saturating_sub(self.most_in_use(generated).into()) as u64;
        if over > 0 {
            // What a word cannot hold yet, or if time ends before, ever.
            early = early.max(drained(over));
        }
        if !early.is_zero() || over > 0 {
            let denied = self.denied(leave, used, generated, now, None);
            let ever = over == 0 || self.reach.is_some();
            return Err(Denied { retry_after: ever.then_some(early), ..denied });
        }
        let after = after as u64;
        let answer = Allowed {
            limit: self.burst() - leave,
            remaining: (self.capacity.saturating_sub(after) >> self.token_bits).saturating_sub(leave),
            reset_after: drained(after),
            delay: turn,
        };
        Ok((answer, if cost == 0 { word } else { generated.wrapping_add(after) }))
    }

    /// The word after `cost` tokens are taken, whether they are there or not; as many of them as a word can hold.
    #[cfg(feature = "std")]
    pub(super) fn charge(&self, word: u64, cost: u64, now: Timestamp) -> u64 {
        if cost == 0 {
            // Not even the time is noted, as by a check of nothing.
            return word;
        }
        let generated = self.rate.units_at(now.within_horizon());
        let after = u128::from(self.used(word, generated)) + (u128::from(cost) << self.token_bits);
        generated.wrapping_add(after.min(self.most_in_use(generated).into()) as u64)
    }

    /// How many units of the last `cost` tokens before `end` time has not reached at `latest`.
    #[cfg(feature = "std")]
    pub(super) fn ahead(&self, end: u64, cost: u64, latest: Timestamp) -> u64 {
        let generated = self.rate.units_at(latest.within_horizon());
        self.used(end, generated).min(cost.min(self.burst()) << self.token_bits)
    }

    /// How long until `cost` tokens and `leave` more are there, or if the bucket `delays` until it is their turn, once `ahead`
    /// have been taken; `None` if never.
    pub(super) fn forecast(
        &self,
        word: u64,
        ahead: u64,
        cost: u64,
        leave: u64,
        delays: bool,
        now: Timestamp,
    ) -> Option<Duration> {
        let now = now.within_horizon();
        let generated = self.rate.units_at(now);
        let asked = cost.max(1);
        let allowed = (self.burst().checked_sub(leave)?.checked_sub(asked)?) << self.token_bits;
        let allowed = if delays { 0 } else { allowed };
        let in_line = u128::from(self.used(word, generated)) + (u128::from(ahead) << self.token_bits);
        let excess = in_line.saturating_sub(allowed.into());
        // Those ahead take their units one after the other, so a word need not hold them all; but time ends.
        let most = if self.reach.is_some() { u64::MAX } else { self.most_in_use(generated) };
        if excess > most.into() {
            return Some(Duration::MAX);
        }
        Some(self.drained(excess as u64, generated, now, Duration::from_nanos))
    }

    /// The most that can be in use, debts included.
    fn most_in_use(&self, generated: u64) -> u64 {
        match self.reach {
            // The word of a full bucket at the horizon is the largest that there is.
            None => self.rate.units_at(Timestamp::HORIZON.as_nanos()) - generated + self.capacity,
            Some(reach) => reach,
        }
    }

    #[cfg(feature = "serde")]
    pub(super) fn save_word(&self, word: u64, now: Timestamp) -> State {
        State::Bucket { used: self.used(word, self.rate.units_at(now.within_horizon())) }
    }

    /// A word of which as many units are in use as in the `state`, but for those that the time that has passed has regained.
    ///
    /// What is in use is known to the unit, by times whose own fractions of a unit are known as well. So where the new clock
    /// goes on as the old one did this is the same word, and where it does not, the fraction is rounded up.
    #[cfg(feature = "serde")]
    pub(super) fn load_word(&self, state: &State, shift: &Shift) -> Option<u64> {
        let &State::Bucket { used } = state else { return None };
        if used > self.most_in_use(0) {
            return None;
        }
        // Without the reciprocals, as these count modulo 2^64.
        let rate = u128::from(self.quota.limit() << self.token_bits);
        let period = self.quota.period().as_nanos();
        let fraction = |time: u64| (u128::from(time) * rate % period) as i128;
        let regained = (u128::from(shift.passed) * rate / period) as i128;
        let phase = fraction(shift.now) - fraction(shift.then) - fraction(shift.passed);
        // The quotient, rounded up.
        let phase = -(-phase).div_euclid(period as i128);
        let used = i128::from(used) - regained + phase;
        let now = Timestamp::from_nanos(shift.now);
        if used <= 0 {
            return Some(Self { lacking: 0, ..*self }.fresh(now));
        }
        let generated = self.rate.units_at(shift.now);
        Some(generated.wrapping_add(used.min(self.most_in_use(generated).into()) as u64))
    }

    /// How many words it is saved in.
    pub(super) const WORDS: usize = Ratio::WORDS + 4;

    const EXPLICIT_BURST: u64 = 1 << 8;
    const DISTANT: u64 = 1 << 9;

    /// All that there is to a bucket that starts full, and does not count modulo, as so many words.
    pub(super) fn save(&self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        words[..Ratio::WORDS].copy_from_slice(&self.rate.save());
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        let flags = u64::from(self.token_bits)
            | flag(self.quota.explicit_burst().is_some(), Self::EXPLICIT_BURST)
            | flag(self.distant, Self::DISTANT);
        let period = nanos_of(self.quota.period());
        words[Ratio::WORDS..].copy_from_slice(&[self.burst, flags, self.quota.limit(), period]);
        words
    }

    /// What was saved.
    #[inline(always)]
    pub(super) fn restore(word: impl Fn(usize) -> u64) -> Self {
        let [burst, flags, limit, period] = [word(9), word(10), word(11), word(12)];
        let token_bits = flags as u32 % u64::BITS;
        let quota = Quota::new(limit, Duration::from_nanos(period));
        Self {
            rate: Ratio::restore(word),
            burst,
            capacity: burst << token_bits,
            token_bits,
            reach: None,
            distant: flags & Self::DISTANT != 0,
            lacking: 0,
            quota: if flags & Self::EXPLICIT_BURST != 0 { quota.burst(burst) } else { quota },
        }
    }

    /// The units in use: how far `spent` is ahead of `generated`.
    #[inline(always)]
    const fn used(&self, spent: u64, generated: u64) -> u64 {
        match self.reach {
            None => spent.saturating_sub(generated),
            Some(reach) => {
                let ahead = spent.wrapping_sub(generated);
                if ahead <= reach { ahead } else { 0 }
            }
        }
    }
}

/// `amount * numerator / denominator`, rounded up.
const fn scaled(amount: u64, numerator: u64, denominator: u64) -> u128 {
    (amount as u128 * numerator as u128).div_ceil(denominator as u128)
}

/// [`Duration::from_nanos`] for what is mostly less than a second, and need not be divided then.
#[inline(always)]
const fn from_few_nanos(nanos: u64) -> Duration {
    if nanos < 1_000_000_000 { Duration::new(0, nanos as u32) } else { Duration::from_nanos(nanos) }
}

/// A wait in nanoseconds as a [`Duration`], or the longest there is.
#[inline]
fn wait(nanos: u128) -> Duration {
    match u64::try_from(nanos) {
        Ok(nanos) => Duration::from_nanos(nanos),
        // Not `Duration::new`: it might panic, for all that the optimiser can tell, and so must be called for nothing.
        Err(_) => {
            let rest = Duration::from_nanos((nanos % 1_000_000_000) as u64);
            match u64::try_from(nanos / 1_000_000_000) {
                Ok(seconds) => Duration::from_secs(seconds).saturating_add(rest),
                Err(_) => Duration::MAX,
            }
        }
    }
}
