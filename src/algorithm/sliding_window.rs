//! The sliding window, as a counter: the last window counts by how much of it still overlaps the period up to now.
//!
//! Time is cut into windows as in the fixed window. What was admitted in the previous window counts as if it had been
//! spread evenly over it, so that its weight falls steadily from 1 to 0 in the course of the current window. The
//! comparison is made in whole numbers; nothing is rounded.
//!
//! - **Equation**: `previous * (length - elapsed) + (current + n) * length <= limit * length`, with counts in units and
//!   times in nanoseconds.
//! - **Bound**: `2 * limit - 1` in any period, reached only by a burst late in one window and a trickle through
//!   the next; `limit` per period on average. A burst of the whole limit at a window's beginning blocks for `length +
//!   length / limit`.
//! - **Memory**: 8 bytes a key: the window's number and two counts. 136 years of windows have to fit in the number,
//!   so the limit is at most 65,535 per second, 262,143 per minute, 2,097,151 per hour; beyond, use a token bucket.
//! - **Choose it** for limits per minute or hour that should neither double at an edge nor need a log.
//! - **Reference**: J. Desgats, "How we built rate limiting capable of scaling to millions of domains", Cloudflare
//!   (2017).

use core::time::Duration;

use super::{
    Adjustable, Rule, Step,
    window::{Position, Windows, restored, saved},
};
#[cfg(feature = "serde")]
use crate::snapshot::{SaveWord, Shift, State};
use crate::{Allowed, Carry, Denied, Quota, QuotaError, Timestamp, ratio::Divisor};

/// What errors call it.
const NAME: &str = "sliding window";

/// `limit` units per `period`, the previous window weighted by its overlap.
///
/// The equation, the bound and what it costs are in the documentation of [its module](self).
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, SlidingWindow};
///
/// let clock = ManualClock::new();
/// let limiter = RateLimiter::with_clock(SlidingWindow::new(Quota::per_minute(4))?, clock.clone());
///
/// assert!(limiter.check_n(4).is_ok());
/// // At 1:15 a quarter of the previous minute has gone, and with it a quarter of its four units.
/// assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_secs(75)));
/// clock.advance(Duration::from_secs(75));
/// assert!(limiter.check().is_ok());
/// assert!(limiter.check().is_err());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    quota: Quota,
    windows: Windows,
    per_length: Divisor,
}

/// A state at some time.
struct View {
    position: Position,
    previous: u64,
    current: u64,
}

impl SlidingWindow {
    /// Windows of the quota's period, from the clock's epoch on.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the limit or the period is 0, the period is over 136 years, a burst is given, or two counts of
    /// the limit do not fit in the state beside the window's number.
    pub const fn new(quota: Quota) -> Result<Self, QuotaError> {
        match Windows::within(quota, u64::BITS, 2, NAME) {
            Ok(windows) => Ok(Self { quota, windows, per_length: Divisor::new(windows.length) }),
            Err(error) => Err(error),
        }
    }

    /// The quota that this algorithm enforces.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    #[inline(always)]
    const fn read(&self, word: u64, now: Timestamp) -> View {
        let bits = self.windows.count_bits;
        let position = self.windows.position(word >> (2 * bits), now);
        let (previous, current) = (self.windows.count(word >> bits), self.windows.count(word));
        let (previous, current) = match position.age {
            0 => (previous, current),
            1 => (current, 0),
            _ => (0, 0),
        };
        View { position, previous, current }
    }

    #[inline]
    const fn word(&self, number: u64, previous: u64, current: u64) -> u64 {
        let bits = self.windows.count_bits;
        number << (2 * bits) | previous << bits | current
    }

    /// The units that count against the limit, rounded up.
    ///
    /// Costs are whole, so `x + n <= limit` holds for a fraction `x` iff it holds for the next whole number: rounding
    /// up here decides exactly as the equation does.
    #[inline(always)]
    fn used(&self, view: &View) -> u64 {
        let weighted = self.per_length.div_ceil(view.previous as u128 * view.position.rest as u128);
        view.current + weighted as u64
    }

    /// The time until nothing counts any more.
    #[inline]
    const fn reset_after(&self, view: &View) -> Duration {
        let windows = match (view.previous, view.current) {
            (0, 0) => return Duration::ZERO,
            (_, 0) => 0,
            _ => 1,
        };
        Duration::from_nanos(view.position.lead + view.position.rest + windows * self.windows.length)
    }

    /// The time until `asked` units, refused now but no more than `limit`, pass.
    #[cold]
    fn retry_after(&self, view: &View, asked: u64, limit: u64) -> Duration {
        let Position { lead, rest, .. } = view.position;
        // How much of a window of `count` units may be left for it to fit beside the rest of the limit.
        let tolerable = |room: u64, count: u64| (room as u128 * self.windows.length as u128 / count as u128) as u64;
        let wait = match limit.checked_sub(view.current + asked) {
            // Within the window in force: enough of the previous one has to go.
            Some(room) => rest - tolerable(room, view.previous),
            // In the next window, where the current one is the previous.
            None => rest + self.windows.length - tolerable(limit - asked, view.current),
        };
        Duration::from_nanos(lead + wait)
    }
}

impl Rule for SlidingWindow {
    fn quota(&self) -> Quota {
        self.quota()
    }

    fn fresh(&self, _now: Timestamp) -> u64 {
        0
    }

    #[inline(always)]
    fn step_leaving(&self, word: u64, cost: u64, leave: u64, now: Timestamp) -> Result<(Allowed, u64), Denied> {
        let mut view = self.read(word, now);
        let limit = self.quota.limit().saturating_sub(leave);
        // More than the limit may count where the clock has stepped back within a window.
        let remaining = limit.saturating_sub(self.used(&view));
        let asked = cost.max(1);
        if asked > remaining {
            let retry_after = (asked <= limit).then(|| self.retry_after(&view, asked, limit));
            return Err(Denied { limit, remaining, reset_after: self.reset_after(&view), retry_after });
        }
        view.current += cost;
        let allowed =
            Allowed { limit, remaining: remaining - cost, reset_after: self.reset_after(&view), delay: Duration::ZERO };
        let next = if cost == 0 { word } else { self.word(view.position.number, view.previous, view.current) };
        Ok((allowed, next))
    }

    /// No window admits more than the limit.
    fn forecast(&self, word: u64, ahead: u64, cost: u64, leave: u64, now: Timestamp) -> Option<Duration> {
        let View { position, current: count, .. } = self.read(word, now);
        let alone = match self.step_leaving(word, cost, leave, now) {
            Ok(_) => Duration::ZERO,
            Err(denied) => denied.retry_after?,
        };
        Some(alone.max(self.windows.room_for(&position, count, ahead.saturating_add(cost), self.quota.limit())))
    }

    /// Units of the current window go first, then those of the previous one; older ones are forgotten already.
    fn give_back(&self, word: u64, cost: u64, now: Timestamp) -> u64 {
        let View { position, previous, current } = self.read(word, now);
        let from_current = current.min(cost);
        let from_previous = previous.min(cost - from_current);
        if from_current + from_previous == 0 {
            return word;
        }
        self.word(position.number, previous - from_previous, current - from_current)
    }

    /// They are in the current window's count, or one window later in the previous one's; after that they are forgotten.
    fn undo(&self, word: u64, step: &Step, cost: u64, _latest: Timestamp) -> u64 {
        let bits = self.windows.count_bits;
        let (previous, current) = (self.windows.count(word >> bits), self.windows.count(word));
        match (word >> (2 * bits)).checked_sub(step.after >> (2 * bits)) {
            Some(0) => word - current.min(cost),
            Some(1) => word - (previous.min(cost) << bits),
            _ => word,
        }
    }

    fn recovered(&self, word: u64, now: Timestamp) -> bool {
        let View { position, previous, current } = self.read(word, now);
        (previous, current, position.lead) == (0, 0, 0)
    }

    /// Windows of the same length keep their counts; in others, all that is in use counts as admitted in the current one.
    fn carry(&self, word: u64, from: &Self, carry: Carry, now: Timestamp) -> u64 {
        let view = from.read(word, now);
        let number = self.windows.carried(&from.windows, view.position.number, now);
        let (previous, current) = if self.windows.length == from.windows.length {
            (view.previous, view.current)
        } else {
            (0, from.used(&view))
        };
        let [previous, current] = [previous, current]
            .map(|count| self.windows.carried_count(count, carry, from.quota.limit(), self.quota.limit()));
        self.word(number, previous, current)
    }
}

impl Adjustable for SlidingWindow {
    /// The last is the reciprocal of the length.
    type Words = [u64; Windows::WORDS + 2];

    fn within(quota: Quota, bits: u32) -> Result<Self, QuotaError> {
        let windows = Windows::within(quota, bits, 2, NAME)?;
        Ok(Self { quota, windows, per_length: Divisor::new(windows.length) })
    }

    fn save(&self) -> Self::Words {
        let mut words = [self.per_length.reciprocal(); Windows::WORDS + 2];
        words[..=Windows::WORDS].copy_from_slice(&saved(&self.windows, self.quota.limit()));
        words
    }

    #[inline(always)]
    fn restore(word: impl Fn(usize) -> u64) -> Self {
        let reciprocal = word(Windows::WORDS + 1);
        let (windows, quota) = restored(word);
        Self { quota, windows, per_length: Divisor::with_reciprocal(windows.length, reciprocal) }
    }
}

#[cfg(feature = "serde")]
impl SaveWord for SlidingWindow {
    const NAME: &'static str = "sliding window";
    const LIVE_NAME: &'static str = "live sliding window";

    fn save_word(&self, word: u64, now: Timestamp) -> State {
        let View { position, previous, current } = self.read(word, now);
        State::SlidingWindow { previous, current, left: position.left() }
    }

    /// The current window becomes the first that does not end before it: each count then weighs as much as it did, for longer.
    fn load_word(&self, state: &State, shift: &Shift) -> Option<u64> {
        let &State::SlidingWindow { previous, current, left } = state else { return None };
        let most = self.windows.most_count();
        if previous > most || current > most || left > self.windows.most_left() {
            return None;
        }
        let (previous, current, left) = match shift.left(left) {
            // It has ended: its count is the previous one, and the next window has begun.
            0 => (current, 0, shift.left(left + self.windows.length)),
            left => (previous, current, left),
        };
        if left == 0 || (previous, current) == (0, 0) {
            return Some(0);
        }
        let number = self.windows.number_of_last(shift.now, left);
        if shift.now + left > Timestamp::HORIZON.as_nanos() {
            // There is no such window, and none in which it could lose weight.
            return Some(self.word(number, 0, (previous + current).min(most)));
        }
        Some(self.word(number, previous, current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_fraction_of_a_unit_counts() {
        // 10 in the first second; at 1.05 s they weigh 9.5, which leaves room for none.
        let rule = SlidingWindow::new(Quota::per_second(10)).unwrap();
        let (_, word) = rule.step(0, 10, at(0)).unwrap();
        assert!(rule.step(word, 1, at(1_050)).is_err());
        assert!(rule.step(word, 1, at(1_099)).is_err());
        assert!(rule.step(word, 1, at(1_100)).is_ok());
    }

    #[test]
    fn after_two_windows_nothing_is_left() {
        let rule = SlidingWindow::new(Quota::per_second(10)).unwrap();
        let (allowed, word) = rule.step(0, 10, at(300)).unwrap();
        assert_eq!(allowed.reset_after, Duration::from_millis(1_700));
        assert_eq!(rule.step(word, 10, at(2_000)).unwrap().0.remaining, 0);
    }

    #[test]
    fn the_largest_limit_fits_and_the_next_does_not() {
        for period in [1, 2, 1_000, 1_000_000_000, 86_400_000_000_000, Timestamp::HORIZON.as_nanos()] {
            let quota = |limit| Quota::new(limit, Duration::from_nanos(period));
            let most = match SlidingWindow::new(quota(u64::MAX)) {
                Err(QuotaError::LimitTooLarge { most, .. }) => most,
                other => panic!("{other:?}"),
            };
            assert!(SlidingWindow::new(quota(most + 1)).is_err());
            let rule = SlidingWindow::new(quota(most)).unwrap();
            let last_window = Timestamp::from_nanos(Timestamp::HORIZON.as_nanos() / period * period);
            let (_, word) = rule.step(0, most, last_window - Duration::from_nanos(period)).unwrap();
            assert_eq!(rule.step(word, 1, last_window).unwrap_err().remaining, 0);
        }
    }
}
