//! The fixed and the sliding window.
//!
//! Time is cut into windows of one period from the epoch on. The *window in force* is that of the time, or the latest
//! in which anything was admitted or given back if that is later: a time before the window in force counts as its
//! beginning.

use tollgate::{Carry, Quota, Timestamp};

use super::{Adjust, Oracle};

/// What was admitted, by window.
#[derive(Clone, Debug)]
struct Windows {
    length: u128,
    limit: u64,
    /// The number of a window, and units that were admitted in it.
    entries: Vec<(u128, u64)>,
}

impl Windows {
    fn new(quota: Quota) -> Self {
        Self { length: quota.period().as_nanos(), limit: quota.limit(), entries: Vec::new() }
    }

    fn in_force(&self, at: u128) -> u128 {
        let latest = self.entries.iter().map(|&(window, _)| window).max().unwrap_or(0);
        latest.max(at / self.length)
    }

    /// What is left of the window in force.
    fn rest(&self, at: u128) -> u128 {
        let begin = self.in_force(at) * self.length;
        begin + self.length - at.max(begin)
    }

    fn count(&self, window: u128) -> u64 {
        self.entries.iter().filter(|entry| entry.0 == window).map(|entry| entry.1).sum()
    }

    /// Takes back as many as `cost` units of `window`, and says how many.
    fn give_back(&mut self, cost: u64, window: u128) -> u64 {
        let mut left = cost;
        for entry in self.entries.iter_mut().filter(|entry| entry.0 == window) {
            let returned = entry.1.min(left);
            entry.1 -= returned;
            left -= returned;
        }
        cost - left
    }
}

impl Windows {
    /// The same windows under another quota: in the one in force and the one before it so many units count, or are admitted,
    /// as `[previous, current]` units of the old quota are. A word has so many bits for that, and for the number.
    fn carried(&self, quota: Quota, counts: [u64; 2], carry: Carry, now: u128, bits_and_counts: (u32, u32)) -> Self {
        let mut new = Self::new(quota);
        let in_force = self.in_force(now);
        let number = if new.length == self.length { in_force } else { now.max(in_force * self.length) / new.length };
        // Bit by bit.
        let last = u128::from(Timestamp::HORIZON.as_nanos()) / new.length;
        let number_bits = (0..128).find(|&bits| last >> bits == 0).expect("so many bits");
        let (bits, counts_of_word) = bits_and_counts;
        let most = (1_u128 << ((bits - number_bits) / counts_of_word)) - 1;
        let carried = |count: u64| {
            let count = match carry {
                Carry::Absolute => count.into(),
                Carry::Proportional => (u128::from(count) * u128::from(new.limit)).div_ceil(self.limit.into()),
            };
            count.min(most) as u64
        };
        let [previous, current] = counts.map(carried);
        new.entries.push((number, current));
        if let Some(before) = number.checked_sub(1) {
            new.entries.push((before, previous));
        }
        new
    }
}

/// `limit` units per window; what was admitted in another counts nothing.
///
/// A refund takes units back from the window in force only.
#[derive(Clone, Debug)]
pub(crate) struct FixedOracle(Windows);

impl FixedOracle {
    pub(crate) fn new(quota: Quota) -> Self {
        Self(Windows::new(quota))
    }
}

impl Oracle for FixedOracle {
    fn limit(&self) -> u64 {
        self.0.limit
    }

    fn room(&self, at: u128) -> u64 {
        // More than the limit may count if it was made smaller.
        self.0.limit.saturating_sub(self.0.count(self.0.in_force(at)))
    }

    fn recovered(&self, at: u128) -> bool {
        self.0.count(self.0.in_force(at)) == 0
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.0.entries.push((self.0.in_force(now), cost));
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        self.0.give_back(cost, self.0.in_force(now));
    }

    fn begin_again(&mut self, _now: u128) {
        self.0.entries.clear();
    }
}

/// `previous * rest + (current + n) * length <= limit * length`.
///
/// A refund takes units back from the window in force first, then from the one before it.
#[derive(Clone, Debug)]
pub(crate) struct SlidingOracle(Windows);

impl SlidingOracle {
    pub(crate) fn new(quota: Quota) -> Self {
        Self(Windows::new(quota))
    }

    /// The units of the window before the one in force, and of the one in force.
    fn counts(&self, at: u128) -> [u64; 2] {
        let current = self.0.in_force(at);
        [current.checked_sub(1).map_or(0, |previous| self.0.count(previous)), self.0.count(current)]
    }
}

impl Oracle for SlidingOracle {
    fn limit(&self) -> u64 {
        self.0.limit
    }

    fn room(&self, at: u128) -> u64 {
        let [previous, current] = self.counts(at).map(u128::from);
        let counted = previous * self.0.rest(at) + current * self.0.length;
        // The largest `n` of the inequality. More than the limit may count where the clock has stepped back.
        ((u128::from(self.0.limit) * self.0.length).saturating_sub(counted) / self.0.length) as u64
    }

    fn recovered(&self, at: u128) -> bool {
        self.counts(at) == [0, 0]
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.0.entries.push((self.0.in_force(now), cost));
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        let current = self.0.in_force(now);
        let mut returned = self.0.give_back(cost, current);
        if let Some(previous) = current.checked_sub(1) {
            returned += self.0.give_back(cost - returned, previous);
        }
        if returned > 0 {
            self.0.entries.push((current, 0));
        }
    }

    fn begin_again(&mut self, _now: u128) {
        self.0.entries.clear();
    }
}

impl Adjust for FixedOracle {
    fn set_quota(&mut self, quota: Quota, carry: Carry, now: u128) {
        let count = self.0.count(self.0.in_force(now));
        self.0 = self.0.carried(quota, [0, count], carry, now, (Self::LIVE_BITS, 1));
    }
}

impl Adjust for SlidingOracle {
    fn set_quota(&mut self, quota: Quota, carry: Carry, now: u128) {
        let [previous, current] = self.counts(now);
        let counts = if quota.period().as_nanos() == self.0.length {
            [previous, current]
        } else {
            let counted = u128::from(previous) * self.0.rest(now) + u128::from(current) * self.0.length;
            [0, counted.div_ceil(self.0.length) as u64]
        };
        self.0 = self.0.carried(quota, counts, carry, now, (Self::LIVE_BITS, 2));
    }
}
