//! Whether anything was given back in the meantime.
//!
//! A word alone does not tell whether it has only grown since it was last seen: what one gives back another may have taken,
//! and it reads as before. Who puts units back by where they stood in the word has to know. So whoever lowers a word counts
//! it, before and after.
//!
//! # Why it is exact
//!
//! Say that a word was swapped for a lower one between a swap of mine and a later load of mine. If that was *begun* before
//! I looked first, it had not *ended* then, and there was nothing to go by from the start; if after, it had begun by the
//! time that I look again, as I do so after the load, which acquires what the swap released.
//!
//! Checked by `tests/reserve_loom.rs`.

use crate::sync::{AtomicU64, Ordering};

/// What has lowered a word, or a word of several, other than through the ledger.
#[derive(Debug)]
pub(crate) struct Lowered {
    /// Units that were given back: refunds, and checks that were undone.
    pub(crate) returns: Returns,
    /// States that were forgotten, or made those of another quota: what is in use has nothing to do any more with what
    /// was taken before.
    pub(crate) breaks: Returns,
}

impl Lowered {
    pub(crate) fn new() -> Self {
        Self { returns: Returns::new(), breaks: Returns::new() }
    }
}

/// Counts of what was given back: begun, and ended.
#[derive(Debug)]
pub(crate) struct Returns {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// When a look was taken at [`Returns`]; nothing, if something was being given back at that moment.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(Option<u64>);

impl Returns {
    fn new() -> Self {
        Self { begun: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// To be read before the word is.
    #[cfg(feature = "std")]
    pub(crate) fn now(&self) -> Since {
        // In this order: what had begun by the second load had ended by the first, if they agree.
        let ended = self.ended.load(Ordering::Acquire);
        let begun = self.begun.load(Ordering::Acquire);
        Since((begun == ended).then_some(begun))
    }

    /// Whether nothing was given back since then, as far as a word shows it that was loaded before.
    #[cfg(feature = "std")]
    pub(crate) fn none(&self, since: Since) -> bool {
        since.0.is_some_and(|begun| self.begun.load(Ordering::Acquire) == begun)
    }

    /// Gives back what `lower` does.
    pub(crate) fn count<T>(&self, lower: impl FnOnce() -> T) -> T {
        // The swap of the word, which comes after, releases this.
        self.begun.fetch_add(1, Ordering::AcqRel);
        let _ended = Ended(&self.ended);
        lower()
    }
}

/// Counts that something has ended, also if it was by a panic of a clock.
struct Ended<'a>(&'a AtomicU64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
