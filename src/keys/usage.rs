//! How much a key is used, counted where the requests are and written where the caller likes.
//!
//! A request costs an addition in memory; the database sees a batch, as often as the caller drains the counters.

use alloc::vec::Vec;
use core::fmt;

use super::{KeyId, UnixTime, table::Table};
use crate::sync::{AtomicU64, Ordering};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It passed.
    Allowed,
    /// It was refused by a limit, or for lack of credits.
    Limited,
    /// It was refused for another reason, by a key whose secret was proved: its status, its time, its scopes.
    Refused,
}

/// The counters of one key. Lock-free; may also be kept by the caller, beside whatever else is kept of a key.
///
/// # Why `Relaxed` is enough
///
/// Each counter is a fact of its own. Adding and draining are one atomic operation each, so what is added is drained once,
/// in this batch or in the next; that a batch may hold a count and not yet the time of the same request changes no sum.
/// Checked by `usage_is_drained_once` in `tests/keys_loom.rs`.
#[derive(Default)]
pub struct Usage {
    allowed: AtomicU64,
    limited: AtomicU64,
    refused: AtomicU64,
    /// A second more than the time of the last use; 0 is never.
    last: AtomicU64,
}

impl Usage {
    /// Counts one request at `now`.
    pub fn count(&self, outcome: Outcome, now: UnixTime) {
        let counter = match outcome {
            Outcome::Allowed => &self.allowed,
            Outcome::Limited => &self.limited,
            Outcome::Refused => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let last = now.as_secs().saturating_add(1);
        // Almost always another request came in the same second, and there is nothing to write.
        if self.last.load(Ordering::Relaxed) < last {
            self.last.fetch_max(last, Ordering::Relaxed);
        }
    }

    /// What was counted since it was last drained.
    pub fn drain(&self) -> Counts {
        let take = |counter: &AtomicU64| match counter.load(Ordering::Relaxed) {
            0 => 0,
            _ => counter.swap(0, Ordering::Relaxed),
        };
        Counts {
            allowed: take(&self.allowed),
            limited: take(&self.limited),
            refused: take(&self.refused),
            last_used: take(&self.last).checked_sub(1).map(UnixTime::from_secs),
        }
    }

    fn is_drained(&self) -> bool {
        let counters = [&self.allowed, &self.limited, &self.refused, &self.last];
        counters.iter().all(|counter| counter.load(Ordering::Relaxed) == 0)
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        f.debug_struct("Usage")
            .field("allowed", &load(&self.allowed))
            .field("limited", &load(&self.limited))
            .field("refused", &load(&self.refused))
            .finish_non_exhaustive()
    }
}

/// What was counted between two drains; to be added to what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Counts {
    /// Requests that passed.
    pub allowed: u64,
    /// Requests that a limit refused, or the lack of credits.
    pub limited: u64,
    /// Requests that were refused for another reason, to a key whose secret was proved.
    pub refused: u64,
    /// When the last of them came. May be missing, and come in the next batch alone, if a request is being counted at the
    /// moment of the drain.
    pub last_used: Option<UnixTime>,
}

/// The counters of all keys, and of the attempts that were no key's.
///
/// A key gets its counters when it is first used, which takes a lock and may allocate; after that, counting shares a lock
/// with all other counting. Only keys whose secret was proved are entered, so that guesses, however many, leave nothing
/// behind but one number.
///
/// ```
/// # let id: tollgate::keys::KeyId = "4eC39HqLyjWDarjt".parse().unwrap();
/// use tollgate::keys::{Outcome, UnixTime, UsageTable};
///
/// let usage = UsageTable::new();
/// let now = UnixTime::from_secs(1_700_000_000);
/// usage.count(&id, Outcome::Allowed, now);
/// usage.count(&id, Outcome::Limited, now);
///
/// // Once a minute, say:
/// for (id, counts) in usage.drain() {
///     println!("UPDATE keys SET calls = calls + {}, last_used = {:?} WHERE id = '{id}'", counts.allowed, counts.last_used);
/// }
/// assert!(usage.drain().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct UsageTable {
    keys: Table<Usage>,
    failed: AtomicU64,
}

impl UsageTable {
    /// A table without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request of the key `id` at `now`.
    pub fn count(&self, id: &KeyId, outcome: Outcome, now: UnixTime) {
        if let Some(usage) = self.keys.read().get(id) {
            return usage.count(outcome, now);
        }
        self.keys.write().entry(*id).or_default().count(outcome, now);
    }

    /// Counts an attempt that proved to be no key's.
    pub fn count_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since the last drain, of each key that was used. Keys that were not are forgotten.
    pub fn drain(&self) -> Vec<(KeyId, Counts)> {
        let mut idle = Vec::new();
        let mut batch = Vec::new();
        for (id, usage) in self.keys.read().iter() {
            match usage.drain() {
                Counts { allowed: 0, limited: 0, refused: 0, last_used: None } => idle.push(*id),
                counts => batch.push((*id, counts)),
            }
        }
        if !idle.is_empty() {
            let mut keys = self.keys.write();
            for id in idle {
                // Nobody counts while it is locked for writing: what is zero here is zero when it goes.
                if keys.get(&id).is_some_and(Usage::is_drained) {
                    keys.remove(&id);
                }
            }
        }
        batch
    }

    /// How many attempts were no key's since this was last asked.
    pub fn drain_failures(&self) -> u64 {
        self.failed.swap(0, Ordering::Relaxed)
    }

    /// How many keys have counters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.read().len()
    }

    /// Whether no key has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
