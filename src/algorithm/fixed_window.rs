//! The fixed window: `limit` per window of the clock.
//!
//! Time is cut into windows of one period, counted from the clock's epoch. Each window admits `limit` units. At
//! its end all is forgotten.
//!
//! - **Equation**: `count + n <= limit`, where `count` (units) is what was admitted in the window in force.
//! - **Bound**: `2 * limit` in any period, half at the end of one window and half at the beginning of the next.
//! - **Memory**: 8 bytes a key: the window's number and the count. 136 years of windows have to fit in the number, so
//!   the limit is at most 4.2 × 10^9 per second, 1.3 × 10^11 per minute.
//! - **Choose it** for quotas per day or month, where "when does it reset" must have a simple answer. A window of a
//!   day begins at midnight UTC only if the clock counts from such a midnight.
//! - **Reference**: none; it is what everybody writes first.

use core::time::Duration;

use super::{
    Adjustable, Rule, Step,
    window::{Position, Windows, restored, saved},
};
#[cfg(feature = "serde")]
use crate::snapshot::{SaveWord, Shift, State};
use crate::{Allowed, Carry, Denied, Quota, QuotaError, Timestamp};

/// What errors call it.
const NAME: &str = "fixed window";

/// `limit` units per window of the clock, one `period` long.
///
/// The equation, the bound and what it costs are in the documentation of [its module](self).
///
/// ```
/// use std::time::Duration;
/// use tollgate::{FixedWindow, Limiter, ManualClock, Quota, RateLimiter};
///
/// let clock = ManualClock::new();
/// let limiter = RateLimiter::with_clock(FixedWindow::new(Quota::per_minute(2))?, clock.clone());
///
/// clock.advance(Duration::from_secs(45));
/// assert!(limiter.check_n(2).is_ok());
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_secs(15)));
///
/// clock.advance(Duration::from_secs(15)); // the next window
/// assert!(limiter.check_n(2).is_ok());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    quota: Quota,
    windows: Windows,
}

impl FixedWindow {
    /// Windows of the quota's period, from the clock's epoch on.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the limit or the period is 0, the period is over 136 years, a burst is given, or the limit does
    /// not fit in the state beside the window's number.
    pub const fn new(quota: Quota) -> Result<Self, QuotaError> {
        match Windows::within(quota, u64::BITS, 1, NAME) {
            Ok(windows) => Ok(Self { quota, windows }),
            Err(error) => Err(error),
        }
    }

    /// The quota that this algorithm enforces.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Where `word` stands at `now`, and what was admitted in the window in force.
    #[inline(always)]
    const fn read(&self, word: u64, now: Timestamp) -> (Position, u64) {
        let position = self.windows.position(word >> self.windows.count_bits, now);
        let count = if position.age == 0 { self.windows.count(word) } else { 0 };
        (position, count)
    }

    #[inline]
    const fn word(&self, number: u64, count: u64) -> u64 {
        number << self.windows.count_bits | count
    }
}

impl Rule for FixedWindow {
    fn quota(&self) -> Quota {
        self.quota()
    }

    fn fresh(&self, _now: Timestamp) -> u64 {
        0
    }

    #[inline(always)]
    fn step_leaving(&self, word: u64, cost: u64, leave: u64, now: Timestamp) -> Result<(Allowed, u64), Denied> {
        let (position, count) = self.read(word, now);
        let limit = self.quota.limit().saturating_sub(leave);
        // More than the limit may be in a word that was made under a larger one.
        let remaining = limit.saturating_sub(count);
        let end = Duration::from_nanos(position.lead + position.rest);
        let reset_after = |count| if count == 0 { Duration::ZERO } else { end };
        let asked = cost.max(1);
        if asked > remaining {
            let retry_after = (asked <= limit).then_some(end);
            return Err(Denied { limit, remaining, reset_after: reset_after(count), retry_after });
        }
        let count = count + cost;
        let allowed =
            Allowed { limit, remaining: limit - count, reset_after: reset_after(count), delay: Duration::ZERO };
        Ok((allowed, if cost == 0 { word } else { self.word(position.number, count) }))
    }

    /// No window admits more than the limit.
    fn forecast(&self, word: u64, ahead: u64, cost: u64, leave: u64, now: Timestamp) -> Option<Duration> {
        let (position, count) = self.read(word, now);
        let alone = match self.step_leaving(word, cost, leave, now) {
            Ok(_) => Duration::ZERO,
            Err(denied) => denied.retry_after?,
        };
        Some(alone.max(self.windows.room_for(&position, count, ahead.saturating_add(cost), self.quota.limit())))
    }

    /// Units of a window that has ended are forgotten already, and are not given back.
    fn give_back(&self, word: u64, cost: u64, now: Timestamp) -> u64 {
        let (_, count) = self.read(word, now);
        word - count.min(cost)
    }

    /// Another window has forgotten them.
    fn undo(&self, word: u64, step: &Step, cost: u64, _latest: Timestamp) -> u64 {
        let windows = &self.windows;
        if word >> windows.count_bits != step.after >> windows.count_bits {
            return word;
        }
        word - windows.count(word).min(cost)
    }

    fn recovered(&self, word: u64, now: Timestamp) -> bool {
        let (position, count) = self.read(word, now);
        count == 0 && position.lead == 0
    }

    /// What is in use counts in this rule's window of the same time.
    fn carry(&self, word: u64, from: &Self, carry: Carry, now: Timestamp) -> u64 {
        let (position, count) = from.read(word, now);
        let number = self.windows.carried(&from.windows, position.number, now);
        let count = self.windows.carried_count(count, carry, from.quota.limit(), self.quota.limit());
        self.word(number, count)
    }
}

impl Adjustable for FixedWindow {
    type Words = [u64; Windows::WORDS + 1];

    fn within(quota: Quota, bits: u32) -> Result<Self, QuotaError> {
        Ok(Self { quota, windows: Windows::within(quota, bits, 1, NAME)? })
    }

    fn save(&self) -> Self::Words {
        saved(&self.windows, self.quota.limit())
    }

    #[inline(always)]
    fn restore(word: impl Fn(usize) -> u64) -> Self {
        let (windows, quota) = restored(word);
        Self { quota, windows }
    }
}

#[cfg(feature = "serde")]
impl SaveWord for FixedWindow {
    const NAME: &'static str = "fixed window";
    const LIVE_NAME: &'static str = "live fixed window";

    fn save_word(&self, word: u64, now: Timestamp) -> State {
        let (position, count) = self.read(word, now);
        State::FixedWindow { count, left: position.left() }
    }

    /// In the first window that does not end before the old one does.
    fn load_word(&self, state: &State, shift: &Shift) -> Option<u64> {
        let &State::FixedWindow { count, left } = state else { return None };
        if count > self.windows.most_count() || left > self.windows.most_left() {
            return None;
        }
        match shift.left(left) {
            0 => Some(0),
            _ if count == 0 => Some(0),
            left => Some(self.word(self.windows.number_of_last(shift.now, left), count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_nanosecond_belongs_to_the_old_window() {
        let rule = FixedWindow::new(Quota::per_second(1)).unwrap();
        let (_, word) = rule.step(0, 1, Timestamp::from_nanos(999_999_999)).unwrap();
        assert!(rule.step(word, 1, Timestamp::from_nanos(999_999_999)).is_err());
        assert!(rule.step(word, 1, Timestamp::from_secs(1)).is_ok());
    }

    #[test]
    fn a_count_over_the_limit_leaves_nothing() {
        let [one, three] = [1, 3].map(|limit| FixedWindow::new(Quota::per_second(limit)).unwrap());
        let (_, word) = three.step(0, 3, Timestamp::ZERO).unwrap();
        assert_eq!(one.step(word, 1, Timestamp::ZERO).unwrap_err().remaining, 0);
        assert!(one.step(word, 0, Timestamp::ZERO).is_err());
    }

    #[test]
    fn the_largest_limit_fits_and_the_next_does_not() {
        for period in [1, 2, 1_000, 1_000_000_000, 86_400_000_000_000, Timestamp::HORIZON.as_nanos()] {
            let quota = |limit| Quota::new(limit, Duration::from_nanos(period));
            let most = match FixedWindow::new(quota(u64::MAX)) {
                Err(QuotaError::LimitTooLarge { most, .. }) => most,
                other => panic!("{other:?}"),
            };
            assert!(FixedWindow::new(quota(most + 1)).is_err());
            let rule = FixedWindow::new(quota(most)).unwrap();
            let (allowed, word) = rule.step(0, most, Timestamp::HORIZON).unwrap();
            assert_eq!(allowed.remaining, 0);
            assert_eq!(rule.step(word, 1, Timestamp::HORIZON).unwrap_err().remaining, 0);
        }
    }
}
