//! The sliding log.

use tollgate::Quota;

use super::Oracle;

/// `limit` units in any period; a unit counts while it is less than one period old.
///
/// The list reads in order: an entry is made at the time of the newest one before it, if the clock has stepped back.
/// An admission drops what has left the window at its own time, for good. A refund takes back the newest units that
/// still count.
#[derive(Clone, Debug)]
pub(crate) struct LogOracle {
    window: u128,
    limit: u64,
    /// The time of an admission, and its units.
    entries: Vec<(u128, u64)>,
}

impl LogOracle {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { window: quota.period().as_nanos(), limit: quota.limit(), entries: Vec::new() }
    }

    fn live(&self, at: u128) -> u64 {
        self.entries.iter().filter(|entry| entry.0 + self.window > at).map(|entry| entry.1).sum()
    }
}

impl Oracle for LogOracle {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn room(&self, at: u128) -> u64 {
        self.limit - self.live(at)
    }

    fn recovered(&self, at: u128) -> bool {
        self.live(at) == 0
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.entries.retain(|entry| entry.0 + self.window > now);
        let newest = self.entries.last().map_or(0, |entry| entry.0);
        self.entries.push((now.max(newest), cost));
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        let mut left = cost;
        for entry in self.entries.iter_mut().rev().filter(|entry| entry.0 + self.window > now) {
            let returned = entry.1.min(left);
            entry.1 -= returned;
            left -= returned;
        }
        self.entries.retain(|entry| entry.1 > 0);
    }

    fn begin_again(&mut self, _now: u128) {
        self.entries.clear();
    }
}
