//! One state, as it can be moved from one clock to another.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Algorithm, Timestamp, algorithm::Rule, cell::Place, keyed::latch::Held, sync::Ordering};

/// What is in use of a state, as each algorithm counts it, relative to when it was taken down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Of a bucket.
    Bucket {
        /// In the bucket's units, of which a token is a power of two.
        used: u64,
    },
    /// Of a fixed window.
    FixedWindow {
        count: u64,
        /// The nanoseconds after which the window in force ends.
        left: u64,
    },
    /// Of a sliding window.
    SlidingWindow {
        previous: u64,
        current: u64,
        /// The nanoseconds after which the current window ends.
        left: u64,
    },
    /// Of a log: the times of its units, oldest first.
    Log { times: Vec<u64> },
}

/// How states are moved from one clock to another, in nanoseconds within the horizon.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    /// When they were taken down, by the old clock.
    pub(crate) then: u64,
    /// When they are restored, by the new one.
    pub(crate) now: u64,
    /// How much time has passed in between.
    pub(crate) passed: u64,
}

impl Shift {
    /// What is left of a time that began when the snapshot was taken.
    pub(crate) const fn left(&self, of: u64) -> u64 {
        of.saturating_sub(self.passed)
    }

    /// A time of the old clock, by the new one; it may lie before the epoch.
    pub(crate) const fn moved(&self, time: u64) -> i128 {
        time as i128 - self.then as i128 - self.passed as i128 + self.now as i128
    }
}

/// An [`Algorithm`] whose state can be taken down and restored: all of them.
///
/// The trait is sealed; it is here to be named in bounds.
pub trait Save: Algorithm {
    /// What it is called.
    const NAME: &'static str;

    /// Has the quota stay what it is until what is returned is dropped; nothing, if it cannot be changed.
    fn hold(&self) -> Option<Held<'_>> {
        None
    }

    /// What is in use of the state in `place` at `now`. Only while the quota is [held](Self::hold).
    fn save(&self, place: Place<'_>, now: Timestamp) -> State;

    /// Makes the state in `place`, which was never used, one that has as much in use; or nothing, if it cannot have.
    fn load(&self, place: Place<'_>, state: &State, shift: &Shift) -> Option<()>;
}

/// A [`Rule`] whose word can be taken down and restored.
pub trait SaveWord: Rule {
    /// What it is called.
    const NAME: &'static str;
    /// What its [`Live`](crate::Live) form is called, which counts in other units.
    const LIVE_NAME: &'static str;

    /// What is in use of `word` at `now`.
    fn save_word(&self, word: u64, now: Timestamp) -> State;

    /// A word that has as much in use, and never less room than that had; nothing if there is none.
    fn load_word(&self, state: &State, shift: &Shift) -> Option<u64>;
}

impl<R: SaveWord> Save for R {
    const NAME: &'static str = R::NAME;

    fn save(&self, place: Place<'_>, now: Timestamp) -> State {
        self.save_word(place.word.load(Ordering::Acquire), now)
    }

    fn load(&self, place: Place<'_>, state: &State, shift: &Shift) -> Option<()> {
        place.word.store(self.load_word(state, shift)?, Ordering::Release);
        Some(())
    }
}
