//! One atomic word, and the one compare-and-swap loop that every one-word algorithm goes through.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, spin_loop};

/// The state of a limiter: one word, alone on its cache line.
///
/// # Why `Relaxed` is enough
///
/// The word publishes nothing but itself: whoever reads it goes on to read no other memory on the strength of what it
/// says. All that is needed is that the swaps of one word happen one after the other, each on the value that the one
/// before left, and that is the modification order of a single atomic, which every ordering keeps. Had two facts been
/// in two words, this would not hold.
///
/// What is not promised is that the words are written in the order of their times: `now` is read before the word is
/// loaded, so a thread that was held up in between applies an earlier time to a later state. The steps are written so
/// that an earlier time can only refuse, never admit more.
///
/// Checked by `two_threads_share_one_word` and its neighbours in `tests/loom.rs`, with a clock that moves.
#[derive(Debug)]
pub struct Cell {
    word: CachePadded<AtomicU64>,
}

impl Cell {
    pub(crate) fn new(word: u64) -> Self {
        Self { word: CachePadded::new(AtomicU64::new(word)) }
    }

    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self, word: u64) {
        self.word.store(word, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn update<U: Update>(&self, update: &U) -> Result<U::Answer, U::Refusal> {
        self::update(&self.word, update)
    }
}

/// A change of a word, as a pure function of it.
///
/// A trait and not a closure, because a closure cannot be told to be inlined always, and only if it is inlined does
/// an answer that the caller ignores cost nothing.
pub(crate) trait Update {
    type Answer;
    type Refusal;

    /// The answer and the next word, or a refusal.
    fn apply(&self, word: u64) -> Result<(Self::Answer, u64), Self::Refusal>;
}

/// Applies `update` to `word` until its result is swapped in, or until it refuses.
///
/// A refusal, or an update that leaves the word as it is, stores nothing. A failed swap means that another thread
/// succeeded, so threads make progress as a whole; the loser spins a little first, and longer each time, which keeps
/// the cache line with the winner for a few more of its own updates.
#[inline(always)]
pub(crate) fn update<U: Update>(word: &AtomicU64, update: &U) -> Result<U::Answer, U::Refusal> {
    let mut current = word.load(Ordering::Relaxed);
    let mut back_off = BackOff::new();
    loop {
        let (answer, next) = update.apply(current)?;
        if next == current {
            return Ok(answer);
        }
        match word.compare_exchange_weak(current, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Ok(answer),
            Err(_) => back_off.spin(),
        }
        current = word.load(Ordering::Relaxed);
    }
}

/// A short spin after each failure, twice as long each time, up to a bound.
#[derive(Debug)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The longest spin, in pauses: 2^5.
    const LONGEST: u32 = 5;

    pub(crate) const fn new() -> Self {
        Self { failures: 0 }
    }

    #[cold]
    pub(crate) fn spin(&mut self) {
        // One pause, to loom, says that another thread must go on first; more of them say nothing new.
        let pauses = if cfg!(loom) { 1 } else { 1 << self.failures };
        for _ in 0..pauses {
            spin_loop();
        }
        self.failures = (self.failures + 1).min(Self::LONGEST);
    }
}
