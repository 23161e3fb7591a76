//! What the fixed and the sliding window share: numbered windows of the clock, and where a state stands in them.

use core::time::Duration;

use crate::{Carry, Quota, QuotaError, Timestamp, ratio::Ratio};

/// Windows of one length, numbered from the clock's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// The length of a window, in nanoseconds.
    pub(super) length: u64,
    /// One window per length.
    number: Ratio,
    /// The bits that a word has for each count, beside the window's number.
    pub(super) count_bits: u32,
}

/// Where a state stands at some time.
pub(super) struct Position {
    /// The window in force: that of the time, or that of the state if the time is before it.
    pub(super) number: u64,
    /// How many windows the state is behind the one in force.
    pub(super) age: u64,
    /// The time until the window in force begins: 0 but where the clock has stepped back, in nanoseconds.
    pub(super) lead: u64,
    /// What is left of the window in force, at the time or at its beginning, in nanoseconds.
    pub(super) rest: u64,
}

#[cfg(feature = "serde")]
impl Position {
    /// The time until the window in force ends, in nanoseconds.
    pub(super) const fn left(&self) -> u64 {
        self.lead + self.rest
    }
}

impl Windows {
    /// Windows of the quota's period, with room for `counts` counts of its limit in a word of so many bits.
    ///
    /// The number never wraps before the horizon, so a state is never taken for one of another lap, however long it
    /// was left alone. That is worth more than larger limits would be: a limit that leaves no room for it is refused.
    pub(super) const fn within(
        quota: Quota,
        bits: u32,
        counts: u32,
        algorithm: &'static str,
    ) -> Result<Self, QuotaError> {
        let (limit, length) = match quota.validated_without_burst(algorithm) {
            Ok(valid) => valid,
            Err(error) => return Err(error),
        };
        let number_bits = u64::BITS - (Timestamp::HORIZON.as_nanos() / length).leading_zeros();
        let count_bits = bits.saturating_sub(number_bits) / counts;
        let most = (1 << count_bits) - 1;
        if limit > most {
            return Err(QuotaError::LimitTooLarge { algorithm, limit, period: quota.period(), most });
        }
        Ok(Self { length, number: Ratio::new(1, length), count_bits })
    }

    /// Where a state of the window `stored` stands at `now`.
    #[inline(always)]
    pub(super) const fn position(&self, stored: u64, now: Timestamp) -> Position {
        let now = now.within_horizon();
        let number = self.number.units_at(now);
        let elapsed = now - number * self.length;
        if stored > number {
            let lead = (stored - number) * self.length - elapsed;
            Position { number: stored, age: 0, lead, rest: self.length }
        } else {
            Position { number, age: number - stored, lead: 0, rest: self.length - elapsed }
        }
    }

    /// How long until `units` have room, at the least: beside `count` in the window in force, and then with no more than
    /// `limit` in each window.
    pub(super) fn room_for(&self, position: &Position, count: u64, units: u64, limit: u64) -> Duration {
        let over = units.saturating_sub(limit.saturating_sub(count));
        match over.div_ceil(limit) {
            0 => Duration::ZERO,
            windows => {
                let whole = u128::from(windows - 1) * u128::from(self.length);
                let nanos = whole + u128::from(position.lead) + u128::from(position.rest);
                u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
            }
        }
    }

    /// The window in which to go on with a state that `from` has in its window `number` at `now`.
    ///
    /// That of now; or if the window in force lies ahead, that in which it begins: what was admitted in it must not be
    /// forgotten before.
    pub(super) fn carried(&self, from: &Self, number: u64, now: Timestamp) -> u64 {
        if self.length == from.length {
            number
        } else {
            self.number.units_at(now.within_horizon().max(number * from.length))
        }
    }

    /// The number of the window in which the last of the `left` nanoseconds from `now` on lies, or that of the last window.
    #[cfg(feature = "serde")]
    pub(super) const fn number_of_last(&self, now: u64, left: u64) -> u64 {
        self.number.units_at(Timestamp::from_nanos(now + (left - 1)).within_horizon())
    }

    /// The longest time that can be left of a window in force, which may begin as late as at the horizon.
    #[cfg(feature = "serde")]
    pub(super) const fn most_left(&self) -> u64 {
        Timestamp::HORIZON.as_nanos() + self.length
    }

    /// What is in use where `count` of the limit `from` was, of a limit `to`: as much, or as large a share, rounded up; up to
    /// what a word can hold.
    pub(super) fn carried_count(&self, count: u64, carry: Carry, from: u64, to: u64) -> u64 {
        let count = u128::from(count);
        let carried = match carry {
            Carry::Absolute => count,
            Carry::Proportional => (count * u128::from(to)).div_ceil(from.into()),
        };
        carried.min(self.count(u64::MAX).into()) as u64
    }

    /// The largest count that a word can hold.
    #[cfg(feature = "serde")]
    pub(super) const fn most_count(&self) -> u64 {
        self.count(u64::MAX)
    }

    /// How many words they are saved in.
    pub(super) const WORDS: usize = Ratio::WORDS + 2;

    /// All that there is to them, as so many words.
    pub(super) fn save(&self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        words[..Ratio::WORDS].copy_from_slice(&self.number.save());
        words[Ratio::WORDS..].copy_from_slice(&[self.length, self.count_bits.into()]);
        words
    }

    /// What was saved.
    #[inline(always)]
    pub(super) fn restore(word: impl Fn(usize) -> u64) -> Self {
        let (length, count_bits) = (word(9), word(10) as u32 % u64::BITS);
        Self { length, number: Ratio::restore(word), count_bits }
    }

    /// The lowest `count_bits` bits of `word`.
    #[inline]
    pub(super) const fn count(&self, word: u64) -> u64 {
        word & ((1 << self.count_bits) - 1)
    }
}

/// Windows and the limit of their quota, as so many words.
pub(super) fn saved(windows: &Windows, limit: u64) -> [u64; Windows::WORDS + 1] {
    let mut words = [limit; Windows::WORDS + 1];
    words[..Windows::WORDS].copy_from_slice(&windows.save());
    words
}

/// What was saved, with the quota.
#[inline(always)]
pub(super) fn restored(word: impl Fn(usize) -> u64) -> (Windows, Quota) {
    let limit = word(Windows::WORDS);
    let windows = Windows::restore(word);
    (windows, Quota::new(limit, Duration::from_nanos(windows.length)))
}
