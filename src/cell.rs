//! One state: an atomic word, what an algorithm keeps beside it, and the one compare-and-swap loop that every one-word
//! algorithm goes through.

use alloc::boxed::Box;
use core::convert::Infallible;

use crossbeam_utils::CachePadded;

use crate::{
    returns::Lowered,
    sync::{AtomicU64, Ordering, spin_loop, yield_now},
};

/// A state of its own, alone on its cache line: that of a single limiter.
#[derive(Debug)]
pub(crate) struct Cell {
    state: CachePadded<(AtomicU64, Box<[AtomicU64]>, Lowered)>,
}

impl Cell {
    /// The word of a state, and the zeros beside it.
    pub(crate) fn new(word: u64, beside: usize) -> Self {
        let beside = (0..beside).map(|_| AtomicU64::new(0)).collect();
        Self { state: CachePadded::new((AtomicU64::new(word), beside, Lowered::new())) }
    }

    #[inline(always)]
    pub(crate) fn place(&self) -> Place<'_> {
        Place { word: &self.state.0, beside: &self.state.1 }
    }

    /// The counts of what lowers the word: beside it, as whoever counts writes it too.
    pub(crate) fn lowered(&self) -> &Lowered {
        &self.state.2
    }
}

/// Where a state is, whoever holds it: its word, and what an algorithm keeps beside it (the times of a log).
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub(crate) word: &'a AtomicU64,
    pub(crate) beside: &'a [AtomicU64],
}

/// Whose state is in a place.
///
/// A place in a table can be given to another key between any two steps of a check. So whoever acts on a state has the
/// owner confirm, after each load of its word and after each swap, that it is still the one it came for.
pub trait Owner: Copy {
    /// What there is to say when it is not.
    type Gone;

    /// Whether the word that was just loaded was the owner's.
    fn confirm(self) -> Result<(), Self::Gone>;

    /// Whether the word that was just swapped for another was still the owner's, and not just equal to what it had been.
    fn confirm_swap(self) -> Result<(), Self::Gone>;
}

/// The owner of a state of its own: there never is another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sole;

impl Owner for Sole {
    type Gone = Infallible;

    #[inline(always)]
    fn confirm(self) -> Result<(), Infallible> {
        Ok(())
    }

    #[inline(always)]
    fn confirm_swap(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The state in this place has become another key's: look for it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved;

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

/// Applies `update` to `word` until its result is swapped in, or until it refuses, or the state is no longer `owner`'s.
///
/// A refusal, or an update that leaves the word as it is, stores nothing. A failed swap means that another thread
/// succeeded, so threads make progress as a whole; the loser spins a little first, and longer each time, which keeps
/// the cache line with the winner for a few more of its own updates.
///
/// # Orderings
///
/// A single limiter's word publishes nothing but itself: whoever reads it goes on to read no other memory on the strength
/// of what it says, so `Relaxed` would do. All that is needed is that the swaps of one word happen one after the other, each on the value that
/// the one before left, and that is the modification order of a single atomic, which every ordering keeps. Had two
/// facts been in two words, this would not hold.
///
/// In a table there are two: the word, and whose it is. There the loads acquire and the swaps release, and
/// `src/keyed/table.rs` says what they order. Processors that tell the two apart pay a little for it.
///
/// What is not promised is that the words are written in the order of their times: `now` is read before the word is
/// loaded, so a thread that was held up in between applies an earlier time to a later state. The steps are written so
/// that an earlier time can only refuse, never admit more.
///
/// Checked by `two_threads_share_one_word` and its neighbours in `tests/loom.rs`, with a clock that moves, and for
/// tables in `tests/keyed_loom.rs`.
#[inline(always)]
pub(crate) fn update<U: Update, O: Owner>(
    word: &AtomicU64,
    owner: O,
    update: &U,
) -> Result<Result<U::Answer, U::Refusal>, O::Gone> {
    let mut current = word.load(Ordering::Acquire);
    let mut back_off = BackOff::from_swaps();
    loop {
        owner.confirm()?;
        let (answer, next) = match update.apply(current) {
            Ok(applied) => applied,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if next == current {
            return Ok(Ok(answer));
        }
        match word.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return owner.confirm_swap().map(|()| Ok(answer)),
            Err(_) => back_off = back_off.spin(),
        }
        current = word.load(Ordering::Acquire);
    }
}

/// A spin after each failure, twice as long each time, up to a bound.
///
/// By value, so that it never has to be in memory where nothing fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    /// How long the next spin is.
    pauses: u32,
}

impl BackOff {
    /// The longest spin, in pauses.
    const LONGEST: u32 = 128;

    /// For who lost a swap. The winner makes some dozens of updates during the first spin: with fewer, the cache line's way
    /// back and forth takes longer than what is done on it.
    pub(crate) const fn from_swaps() -> Self {
        Self { pauses: 64 }
    }

    /// For who needs another thread to go on, with what takes it but a moment.
    pub(crate) const fn from_waits() -> Self {
        Self { pauses: 1 }
    }

    /// Spins.
    #[cold]
    #[must_use]
    pub(crate) fn spin(self) -> Self {
        // One pause, to loom, says that another thread must go on first; more of them say nothing new.
        let pauses = if cfg!(loom) { 1 } else { self.pauses };
        for _ in 0..pauses {
            spin_loop();
        }
        Self { pauses: (2 * self.pauses).min(Self::LONGEST) }
    }

    /// Spins, or when that has been for nothing gives up the processor: the other thread may have lost its own.
    #[cold]
    #[must_use]
    pub(crate) fn wait(self) -> Self {
        if self.pauses < Self::LONGEST {
            return self.spin();
        }
        yield_now();
        self
    }
}
