//! The table: a fixed array of slots, each the state of one key, taken over in place by others once it has recovered.
//!
//! # What it holds
//!
//! A *slot* is two words: the fingerprint of a key (its hash, with the tag of its quota in the lowest bits) and the state's
//! word. Four slots are a cache line, two lines a *set*, and a key may be in any slot of its three sets, which its hash
//! draws. Four sets share a *latch*: a lock for newcomers, the time of the last take-over, and the state that newcomers
//! share while their sets are full. Nothing is kept of a key but the fingerprint.
//!
//! A state that has *recovered* is that of a key which was never seen, so the slot of one can be given to another, and
//! nobody can tell. That is all there is to making room: no sweeper, no time to live, no tombstones.
//!
//! # A check
//!
//! *A hit*: the fingerprint is found, the state's word is loaded, and the fingerprint is confirmed; then a step of the
//! algorithm is swapped in, and the fingerprint is confirmed again. It takes no lock, and waits for no one, but where the
//! key's own slot is being taken over at this very moment.
//!
//! *A newcomer* holds the latches of its sets, in their order, looks once more, and then either takes a slot (one that
//! was never used, or one whose state has recovered) or, if there is none, the shared state. Of three sets it takes the
//! first with two free slots, which leaves one for others to whom this set is the last resort.
//!
//! # Why it is exact
//!
//! - *One key never has two slots.* A fingerprint is written only by who holds the latch of its set. Newcomers with the
//!   same key hold the same latches, so the second of them finds what the first has written.
//! - *An update never lands on a replaced key.* To take a slot over, a newcomer marks its fingerprint as *busy*, then
//!   swaps the state's word, from the one that it found to have recovered to its own, and only then writes its
//!   fingerprint. Whoever loads its word and then finds its own fingerprint unchanged has loaded a word of its own: if it
//!   had loaded the newcomer's, it would see the mark, which was written before. If it swaps that word before the
//!   newcomer does, the newcomer's swap fails, and the fingerprint is put back; if after, its own swap fails. That leaves
//!   the case that the newcomer's word has come to equal the old one. A word only grows while a key lives, past that from
//!   which it began; only a refund or a reset can bring it back. So after a swap the fingerprint is confirmed once more.
//!   Is it another's by then, the units were taken from the other: it has lost them, but nobody has gained any, and the
//!   check begins again. Is it busy, the swap came first, or it was that other case: the outcome tells.
//! - *No key is ever reset.* Only recovered states are taken over. Who finds no slot takes from the shared state, as if
//!   all such newcomers were one key; who finds one later begins with that state, in which its own units are. So a flood
//!   of keys can make newcomers be refused early, and never gives any key more than its quota.
//! - *Time does not run backwards for a key that was taken over.* Whoever takes a slot at some time leaves that time with
//!   the latch, and no newcomer begins before it. So a thread that was held up since it read the clock, or a clock that
//!   steps back, cannot see as absent what had not recovered by its own time.
//!
//! # Orderings
//!
//! A fingerprint is stored with release, and found with acquire: who finds one sees at least the word with which it
//! began. The word is swapped with release after the mark, and loaded with acquire before the fingerprint is confirmed:
//! who sees the newcomer's word, or one that followed it, sees the mark. The latches order newcomers among themselves.
//!
//! Checked by `tests/keyed_loom.rs`, on tables of one slot a line.

use alloc::boxed::Box;
use core::time::Duration;

#[cfg(feature = "std")]
use crossbeam_utils::CachePadded;

use super::{
    counters::Counters,
    latch::Latch,
    plan::Plan,
    print::{BUSY, Print, VACANT},
};
use crate::{
    Algorithm, Allowed, Clock, Decision, Denied, Headroom, Timestamp,
    algorithm::Answer,
    cell::{BackOff, Moved, Owner, Place, Sole},
    memory::{prefetch, zeroed},
    returns::Lowered,
    sync::{AtomicU64, Ordering},
};
#[cfg(feature = "std")]
use crate::{
    algorithm::{self, Bookable, Request, Step},
    ledger::{Booked, Ledger},
};

/// Slots in a line: their fingerprints come first, then their words.
const LINE: usize = if cfg!(loom) { 1 } else { 4 };
const WORDS_OF_LINE: usize = 2 * LINE;

/// Lines, and slots, in a set.
const LINES: usize = 2;
pub(super) const SLOTS: usize = LINES * LINE;
const WORDS_OF_SET: usize = LINES * WORDS_OF_LINE;

/// The sets in which a key may be.
const CANDIDATES: usize = if cfg!(loom) { 2 } else { 3 };

/// The sets that share a latch.
pub(super) const GROUP: usize = if cfg!(loom) { 1 } else { 4 };

/// For so many keys there are two sets. With a word of control and a shared one for every four sets that makes 24 bytes a
/// key, and of 16 slots 5 are spare.
const KEYS_FOR_TWO_SETS: usize = if cfg!(loom) { 2 * SLOTS } else { 11 };

/// How many counts of what lowers words there are, for all keys together.
const LOWERED: usize = if cfg!(loom) { 1 } else { 64 };

/// The slots of all keys.
pub(crate) struct Table<A> {
    plan: A,
    /// When the table was made.
    begun: Timestamp,
    sets: usize,
    /// The sets, from `first` on, which is at the beginning of a cache line.
    words: Box<[AtomicU64]>,
    first: usize,
    /// For each latch its control, and then a shared word for each tag.
    latches: Box<[AtomicU64]>,
    /// What the algorithm keeps beside the word of each slot, and beside each shared word.
    beside: Box<[AtomicU64]>,
    beside_shared: Box<[AtomicU64]>,
    each_beside: usize,
    counters: Counters,
    /// Of the keys that draw each.
    lowered: Box<[Lowered]>,
    #[cfg(feature = "std")]
    ledger: CachePadded<Ledger>,
}

/// The state of one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'a> {
    pub(super) fingerprint: &'a AtomicU64,
    word: &'a AtomicU64,
    /// Of all slots in the table.
    pub(super) number: usize,
}

/// The slots of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set<'a> {
    words: &'a [AtomicU64; WORDS_OF_SET],
    number: usize,
}

/// What was taken of a key, and in which slot.
#[derive(Clone, Copy, Debug)]
pub struct Taken<T> {
    slot: usize,
    taken: T,
}

/// What was taken of a key under this plan.
pub(super) type TakenOf<A> = Taken<<<A as Plan>::Algorithm as Algorithm>::Taken>;

/// A slot as the state of the key that was found in it.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    fingerprint: &'a AtomicU64,
    print: Print,
    tag_bits: u32,
}

impl Owner for Found<'_> {
    type Gone = Moved;

    /// Relaxed: the load of the word, which comes before, acquires.
    #[inline(always)]
    fn confirm(self) -> Result<(), Moved> {
        if self.fingerprint.load(Ordering::Relaxed) == self.print.tagged { Ok(()) } else { Err(Moved) }
    }

    #[inline(always)]
    fn confirm_swap(self) -> Result<(), Moved> {
        self.confirm().or_else(|Moved| self.outcome())
    }
}

impl Found<'_> {
    /// Whether the slot is still the key's, now that somebody was about to give it away, or to change its tag.
    #[cold]
    fn outcome(self) -> Result<(), Moved> {
        let mut back_off = BackOff::from_waits();
        loop {
            match self.fingerprint.load(Ordering::Acquire) {
                BUSY => back_off = back_off.wait(),
                found if self.print.matches(found, self.tag_bits) => return Ok(()),
                _ => return Err(Moved),
            }
        }
    }
}

/// The latches of a newcomer's sets, held.
struct Held<'a>([Option<Latch<'a>>; CANDIDATES]);

impl<'a> Held<'a> {
    fn latches(&self) -> impl Iterator<Item = Latch<'a>> {
        self.0.iter().copied().flatten()
    }

    /// The time at which a newcomer acts that has read `now`: no earlier than the last take-over.
    fn floor(&self, now: Timestamp) -> Timestamp {
        self.latches().map(Latch::floor).fold(now, Timestamp::max)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.latches().for_each(Latch::unlock);
    }
}

impl<A: Plan> Table<A> {
    /// A table in which so many keys find a slot, all of which have not recovered.
    pub(crate) fn new(plan: A, keys: usize, begun: Timestamp) -> Self {
        // One less, for what is lost to the beginning of a line.
        let sets = (keys as u128 * 2 / KEYS_FOR_TWO_SETS as u128).saturating_sub(1);
        let sets = usize::try_from(sets).unwrap_or(usize::MAX).max(GROUP);
        let tags = plan.tags();
        let beside = (0..tags as u64).map(|tag| plan.algorithm(tag).beside()).max().unwrap_or(0);
        let slots = sets.saturating_mul(SLOTS);
        let groups = sets.div_ceil(GROUP);
        // A line more, to begin at the beginning of one: an allocation that is aligned to more than what is usual would be
        // zeroed by hand, and so committed.
        let words = zeroed(slots.saturating_mul(2).saturating_add(WORDS_OF_LINE));
        let offset = words.as_ptr().addr() / size_of::<u64>() % WORDS_OF_LINE;
        Self {
            begun,
            sets,
            first: (WORDS_OF_LINE - offset) % WORDS_OF_LINE,
            words,
            latches: zeroed(groups.saturating_mul(tags + 1)),
            beside: zeroed(slots.saturating_mul(beside)),
            beside_shared: zeroed(groups.saturating_mul(tags).saturating_mul(beside)),
            each_beside: beside,
            counters: Counters::default(),
            lowered: (0..LOWERED).map(|_| Lowered::new()).collect(),
            #[cfg(feature = "std")]
            ledger: CachePadded::new(Ledger::new()),
            plan,
        }
    }

    pub(crate) fn plan(&self) -> &A {
        &self.plan
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When the table was made.
    #[cfg(feature = "serde")]
    pub(super) fn begun(&self) -> Timestamp {
        self.begun
    }

    /// How many slots there are.
    #[cfg(feature = "serde")]
    pub(super) fn slots(&self) -> usize {
        self.sets * SLOTS
    }

    /// How many latches there are.
    #[cfg(feature = "serde")]
    pub(super) fn groups(&self) -> usize {
        self.sets.div_ceil(GROUP)
    }

    /// The bytes that are taken at most, once every page has been written.
    pub(crate) fn bytes(&self) -> usize {
        let arrays = [&self.words, &self.latches, &self.beside, &self.beside_shared];
        arrays.into_iter().map(|array| size_of_val(&**array)).sum()
    }

    /// How many keys have a state that has not recovered by `now`.
    pub(crate) fn len(&self, now: Timestamp) -> usize {
        (0..self.sets * SLOTS).filter(|&number| self.in_use(number, now)).count()
    }

    /// Whether there is no such key.
    pub(crate) fn is_empty(&self, now: Timestamp) -> bool {
        !(0..self.sets * SLOTS).any(|number| self.in_use(number, now))
    }

    /// Whether the slot of this number is a key's that has not recovered by `now`.
    pub(super) fn in_use(&self, number: usize, now: Timestamp) -> bool {
        let slot = self.slot(number);
        let found = slot.fingerprint.load(Ordering::Acquire);
        found != VACANT && found != BUSY && self.algorithm_of(found).recovered_word(self.place(slot), now).is_none()
    }

    /// The set in which the key most likely is, whose lines are asked for.
    #[inline(always)]
    pub(crate) fn prefetch(&self, print: Print) -> Set<'_> {
        let home = self.set(print.draw(0, self.sets));
        home.prefetch();
        home
    }

    /// Asks for the lines of the other sets, if the key is not in the one that it most likely is in, whose lines must have
    /// come by now.
    #[inline(always)]
    pub(crate) fn prefetch_further(&self, print: Print) {
        let [home, further @ ..] = self.candidates(print);
        if self.set(home).find(print, 0).is_none() {
            further.into_iter().for_each(|set| self.set(set).prefetch());
        }
    }

    /// Decides on `cost` units of the key at `now`, of which `leave` must be left, and takes them if they pass.
    ///
    /// Here and below, `now` is a time of the `clock`, which is read again where a state changes its tag.
    #[inline(always)]
    pub(crate) fn check(
        &self,
        print: Print,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        clock: &impl Clock,
    ) -> Decision {
        self.check_from(self.set(print.draw(0, self.sets)), print, cost, leave, now, clock)
    }

    /// As [`check`](Self::check), given the set in which the key most likely is.
    #[inline(always)]
    pub(crate) fn check_from(
        &self,
        home: Set<'_>,
        print: Print,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        clock: &impl Clock,
    ) -> Decision {
        if let Some(slot) = home.find(print, 0)
            && let Ok(decision) =
                self.algorithm_of(print.tagged).check(self.place(slot), self.found(slot, print), cost, leave, now)
        {
            return decision;
        }
        self.check_further(print, cost, leave, now, clock)
    }

    /// As [`check`](Self::check), where the key was not found in its first set, or was no longer there.
    #[inline(never)]
    fn check_further(&self, print: Print, cost: u64, leave: Headroom, now: Timestamp, clock: &impl Clock) -> Decision {
        self.take(print, cost, leave, now, clock).map(|(allowed, _)| allowed)
    }

    /// As [`check`](Self::check), with what [`undo`](Self::undo) has to know: nothing if it was taken from the shared state.
    pub(crate) fn take(
        &self,
        print: Print,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        clock: &impl Clock,
    ) -> Answer<Option<TakenOf<A>>> {
        let algorithm = self.algorithm_of(print.tagged);
        let take = |slot: Slot<'_>| {
            let answer = algorithm.take(self.place(slot), self.found(slot, print), cost, leave, now)?;
            Ok(answer.map(|(allowed, taken)| (allowed, Some(Taken { slot: slot.number, taken }))))
        };
        match self.with_slot(print, || clock.now().max(now), take) {
            Ok(answer) => answer,
            Err(held) => self.take_newcomer(&held, print, cost, leave, now),
        }
    }

    /// Gives back the `cost` units that were `taken`, but for those that time has regained, and never any of others.
    ///
    /// A key that has no slot any more, or another, had recovered. Of one that is under another tag by now nothing is
    /// given back: time may have regained more, at another rate. No one else may have acted on the state at a time
    /// later than what `latest` says after the state was loaded.
    pub(crate) fn undo(&self, print: Print, taken: TakenOf<A>, cost: u64, latest: impl Fn() -> Timestamp) {
        let algorithm = self.algorithm_of(print.tagged);
        let undo = |slot: Slot<'_>| {
            if slot.number == taken.slot {
                algorithm.undo(self.place(slot), self.found(slot, print), taken.taken, cost, &latest)
            } else {
                Ok(())
            }
        };
        self.lowered(print).returns.count(|| self.with_slot_as_it_was(print, undo));
    }

    /// Decides as [`check`](Self::check) would, and takes nothing.
    #[inline]
    pub(crate) fn peek(
        &self,
        print: Print,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        clock: &impl Clock,
    ) -> Decision {
        let algorithm = self.algorithm_of(print.tagged);
        let peek = |slot| algorithm.peek(self.place(slot), self.found(slot, print), cost, leave, now);
        match self.with_slot(print, || clock.now().max(now), peek) {
            Ok(decision) => decision,
            Err(held) => {
                let at = held.floor(now);
                later(algorithm.peek_shared(self.shared(print), self.begun, cost, leave, at), at - now)
            }
        }
    }

    /// How long, at the least, until `cost` units of the key pass if `ahead` others pass first; `None` if never.
    pub(crate) fn forecast(
        &self,
        print: Print,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        clock: &impl Clock,
    ) -> Option<Duration> {
        let algorithm = self.algorithm_of(print.tagged);
        let forecast = |slot| algorithm.forecast(self.place(slot), self.found(slot, print), ahead, cost, leave, now);
        match self.with_slot(print, || clock.now().max(now), forecast) {
            Ok(forecast) => forecast,
            Err(held) => {
                let at = held.floor(now);
                let wait = algorithm.forecast_shared(self.shared(print), self.begun, ahead, cost, leave, at)?;
                Some(if wait.is_zero() { wait } else { wait.saturating_add(at - now) })
            }
        }
    }

    /// Gives back up to `cost` units of the key at `now`.
    ///
    /// A key without a slot has recovered, or has its units in the shared state, among those of others.
    pub(crate) fn refund(&self, print: Print, cost: u64, now: Timestamp, clock: &impl Clock) {
        let algorithm = self.algorithm_of(print.tagged);
        let refund = |slot| algorithm.refund(self.place(slot), self.found(slot, print), cost, now);
        self.lowered(print).returns.count(|| {
            let _ = self.with_slot(print, || clock.now().max(now), refund);
        });
    }

    /// Makes the key one that was never seen at `now`, as it is if it has no slot.
    pub(crate) fn reset(&self, print: Print, now: Timestamp, clock: &impl Clock) {
        let algorithm = self.algorithm_of(print.tagged);
        let reset = |slot| algorithm.reset(self.place(slot), self.found(slot, print), self.begun, now);
        self.lowered(print).breaks.count(|| {
            let _ = self.with_slot(print, || clock.now().max(now), reset);
        });
    }

    /// Does what `act` does to the key's slot, once it has one of its tag; or holds the latches of its sets, if it has none.
    ///
    /// No one else may have acted on the state at a time later than what `latest` says after the state was loaded.
    #[inline]
    fn with_slot<'a, T>(
        &'a self,
        print: Print,
        latest: impl Fn() -> Timestamp,
        act: impl Fn(Slot<'a>) -> Result<T, Moved>,
    ) -> Result<T, Held<'a>> {
        loop {
            if let Some(slot) = self.find(print, 0)
                && let Ok(done) = act(slot)
            {
                return Ok(done);
            }
            let held = self.lock(print);
            if !self.adopt(print, &latest) {
                return Err(held);
            }
        }
    }

    /// Does what `act` does to the key's slot, if it has one that is still of the same tag.
    fn with_slot_as_it_was<'a, T>(&'a self, print: Print, act: impl Fn(Slot<'a>) -> Result<T, Moved>) -> Option<T> {
        loop {
            if let Some(slot) = self.find(print, 0)
                && let Ok(done) = act(slot)
            {
                return Some(done);
            }
            // With the latches held nobody is about to give the slot away, or to change its tag.
            let _held = self.lock(print);
            self.find(print, 0)?;
        }
    }

    /// Decides on a key that has no slot, with the latches of its sets held.
    #[cold]
    fn take_newcomer(
        &self,
        held: &Held<'_>,
        print: Print,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Answer<Option<TakenOf<A>>> {
        let algorithm = self.algorithm_of(print.tagged);
        let at = held.floor(now);
        let mut decision = algorithm.peek_shared(self.shared(print), self.begun, cost, leave, at);
        let mut taken = None;
        if decision.is_ok() && cost > 0 {
            taken = self.settle(print, now, |slot, word| {
                algorithm.begin(self.place(slot), word, (self.shared(print), self.begun), cost, at)
            });
            if taken.is_none() {
                // Of a live quota, which may have been changed since, this may be a refusal.
                decision = algorithm.check_shared(self.shared(print), self.begun, cost, leave, at);
                if decision.is_ok() {
                    self.counters.overflowed(self.group(print));
                }
            }
        }
        later(decision, at - now).map(|allowed| (allowed, taken))
    }

    /// Gives the key a free slot, if there is one, whose word was found to be what `begin` is told, and which begins as that
    /// makes it. By `now`, the time that was read, and not by the later one at which the key may have to begin: by that one a
    /// key has recovered that was checked after the clock had stepped back, and is in use.
    fn settle<T>(
        &self,
        print: Print,
        now: Timestamp,
        begin: impl Fn(Slot<'_>, u64) -> Result<T, Moved>,
    ) -> Option<Taken<T>> {
        let vacant = |slot: Slot| slot.fingerprint.load(Ordering::Relaxed) == VACANT;
        let recovered = |slot: Slot| {
            let found = slot.fingerprint.load(Ordering::Relaxed);
            self.algorithm_of(found).recovered_word(self.place(slot), now).is_some()
        };
        self.settle_in(print, vacant, now, &begin).or_else(|| self.settle_in(print, recovered, now, &begin))
    }

    /// As [`settle`](Self::settle), in a slot that is `free`.
    fn settle_in<T>(
        &self,
        print: Print,
        free: impl Fn(Slot) -> bool,
        now: Timestamp,
        begin: &impl Fn(Slot<'_>, u64) -> Result<T, Moved>,
    ) -> Option<Taken<T>> {
        let sets = self.candidates(print).map(|set| {
            let slots: [Slot<'_>; SLOTS] =
                core::array::from_fn(|nth| self.set(set).slot(lines(print)[nth / LINE] * LINE + nth % LINE));
            slots.map(|slot| free(slot).then_some(slot))
        });
        // The first of its sets that has two to spare; if none has, the first that has one.
        let spare =
            |least: usize| sets.iter().filter(move |slots| slots.iter().flatten().count() >= least).flatten().flatten();
        spare(2).chain(spare(1)).find_map(|&slot| self.give(slot, print, now, begin))
    }

    /// Gives a free slot to the key, unless it turns out not to have recovered.
    fn give<T>(
        &self,
        slot: Slot<'_>,
        print: Print,
        now: Timestamp,
        begin: &impl Fn(Slot<'_>, u64) -> Result<T, Moved>,
    ) -> Option<Taken<T>> {
        let found = slot.fingerprint.load(Ordering::Relaxed);
        let word = match found {
            VACANT => slot.word.load(Ordering::Relaxed),
            _ => self.algorithm_of(found).recovered_word(self.place(slot), now)?,
        };
        let mut busy = Busy::mark(slot, found);
        let taken = begin(slot, word).ok()?;
        if found != VACANT {
            // Before the old key can be missed.
            let group = slot.number / SLOTS / GROUP;
            self.latch(group).raise(now);
            self.counters.taken_over(group);
        }
        busy.then = print.tagged;
        Some(Taken { slot: slot.number, taken })
    }

    /// Brings every state of the tag that there is over to what its algorithm has become: what newcomers share first, and then
    /// slot by slot.
    ///
    /// Newcomers wait while it is at their sets. Whoever finds a slot brought over finds what is shared brought over as well.
    pub(super) fn bring_over(&self, tag: u64, act: impl Fn(Place<'_>)) {
        let groups = self.sets.div_ceil(GROUP);
        for group in 0..groups {
            let latch = self.latch(group);
            let _held = latch.hold();
            let shared = self.shared_by(group, tag as usize);
            // 0 says that no newcomer ever had to share it.
            if shared.word.load(Ordering::Relaxed) != 0 {
                act(shared);
            }
        }
        for group in 0..groups {
            let latch = self.latch(group);
            let _held = latch.hold();
            for number in group * GROUP * SLOTS..self.sets.min((group + 1) * GROUP) * SLOTS {
                let slot = self.slot(number);
                let found = slot.fingerprint.load(Ordering::Relaxed);
                if found != VACANT && tag_of::<A>(found) == tag {
                    act(self.place(slot));
                }
            }
        }
    }

    /// Whether the key has a slot, which if it was of another tag is now one of its present tag. Only for who holds the
    /// latches.
    #[cold]
    fn adopt(&self, print: Print, latest: impl Fn() -> Timestamp) -> bool {
        let Some(slot) = self.find(print, A::TAG_BITS) else { return false };
        let found = slot.fingerprint.load(Ordering::Relaxed);
        if found != print.tagged {
            let mut busy = Busy::mark(slot, found);
            // Whoever swaps a word of the old tag in the meantime makes this look again, and finds the new tag afterwards.
            let (to, from) = (self.algorithm_of(print.tagged), self.algorithm_of(found));
            // A word of another quota says nothing about places in line.
            let Ok(()) = self.lowered(print).breaks.count(|| to.carry_over(self.place(slot), Sole, from, &latest));
            busy.then = print.tagged;
        }
        true
    }

    /// Holds the latches of all sets of the key, lowest first: so no two newcomers wait for each other.
    fn lock(&self, print: Print) -> Held<'_> {
        let mut groups = self.candidates(print).map(|set| set / GROUP);
        groups.sort_unstable();
        let mut held = Held([None; CANDIDATES]);
        for (nth, &group) in groups.iter().enumerate() {
            if nth == 0 || groups[nth - 1] != group {
                let latch = self.latch(group);
                latch.lock();
                held.0[nth] = Some(latch);
            }
        }
        held
    }

    /// The slot in which the key is, whatever the lowest `any_bits` bits of its fingerprint.
    ///
    /// Who acts on the state must look for its own tag: a word that was loaded after another was found is not sure to have
    /// been kept under the present one, even if that is confirmed.
    fn find(&self, print: Print, any_bits: u32) -> Option<Slot<'_>> {
        let sets = self.candidates(print).map(|set| self.set(set));
        for set in &sets {
            set.prefetch();
        }
        sets.into_iter().find_map(|set| set.find(print, any_bits))
    }

    /// The sets in which the key may be, most likely first; often the same twice in a small table.
    #[inline]
    fn candidates(&self, print: Print) -> [usize; CANDIDATES] {
        core::array::from_fn(|nth| print.draw(nth as u32, self.sets))
    }

    /// The group of the key's first set, whose latch has the state that it shares if it must.
    fn group(&self, print: Print) -> usize {
        print.draw(0, self.sets) / GROUP
    }

    pub(super) fn latch(&self, group: usize) -> Latch<'_> {
        Latch::new(&self.latches[group * (self.plan.tags() + 1)])
    }

    fn lowered(&self, print: Print) -> &Lowered {
        // Three numbers are taken by the sets.
        &self.lowered[print.draw(3, self.lowered.len())]
    }

    /// The state that the key shares with other newcomers of its tag if it finds no slot.
    fn shared(&self, print: Print) -> Place<'_> {
        self.shared_by(self.group(print), tag_of::<A>(print.tagged) as usize)
    }

    /// The state that the newcomers of a tag share in a group.
    pub(super) fn shared_by(&self, group: usize, tag: usize) -> Place<'_> {
        let tags = self.plan.tags();
        let word = &self.latches[group * (tags + 1) + 1 + tag];
        Place { word, beside: self.nth(&self.beside_shared, group * tags + tag) }
    }

    #[inline(always)]
    pub(super) fn algorithm_of(&self, fingerprint: u64) -> &A::Algorithm {
        self.plan.algorithm(tag_of::<A>(fingerprint))
    }

    #[inline(always)]
    fn found<'a>(&self, slot: Slot<'a>, print: Print) -> Found<'a> {
        Found { fingerprint: slot.fingerprint, print, tag_bits: A::TAG_BITS }
    }

    #[inline(always)]
    fn set(&self, number: usize) -> Set<'_> {
        let begin = self.first + number * WORDS_OF_SET;
        let words = &self.words[begin..begin + WORDS_OF_SET];
        Set { words: words.try_into().expect("a set has so many words"), number }
    }

    /// The slot of this number.
    pub(super) fn slot(&self, number: usize) -> Slot<'_> {
        self.set(number / SLOTS).slot(number % SLOTS)
    }

    #[inline(always)]
    pub(super) fn place<'a>(&'a self, slot: Slot<'a>) -> Place<'a> {
        Place { word: slot.word, beside: self.nth(&self.beside, slot.number) }
    }

    /// What lies beside the `nth` word of those that `all` lie beside.
    #[inline(always)]
    fn nth<'a>(&self, all: &'a [AtomicU64], nth: usize) -> &'a [AtomicU64] {
        // Nothing, for all algorithms but the log.
        if all.is_empty() { all } else { &all[nth * self.each_beside..][..self.each_beside] }
    }
}

/// What can be done ahead of time, if the algorithm can.
#[cfg(feature = "std")]
impl<A: Plan> Table<A>
where
    A::Algorithm: Bookable,
{
    /// Books what is asked for of the key, if it is its turn in time. There is nothing to close if it was taken from the
    /// shared state.
    pub(crate) fn book(&self, print: Print, request: &Request, clock: &impl Clock) -> Answer<Option<Taken<Booked>>> {
        let rule = self.algorithm_of(print.tagged);
        let line = self.ledger.hold(self.lowered(print));
        let book = |slot: Slot<'_>| {
            let answer = algorithm::book(rule, self.place(slot), self.found(slot, print), request)?;
            Ok(answer.map(|(allowed, taken)| (allowed, Some(Taken { slot: slot.number, taken }))))
        };
        let (allowed, taken) = match self.with_slot(print, || clock.now().max(request.now), book) {
            Ok(answer) => answer,
            Err(held) => self.book_newcomer(&held, print, request),
        }?;
        let enter = |Taken { slot, taken }| Taken { slot, taken: line.enter(print.untagged(A::TAG_BITS), taken) };
        Ok((allowed, taken.map(enter)))
    }

    /// Books for a key that has no slot, with the latches of its sets held.
    #[cold]
    fn book_newcomer(&self, held: &Held<'_>, print: Print, request: &Request) -> Answer<Option<Taken<Step>>> {
        let rule = self.algorithm_of(print.tagged);
        let Request { cost, leave, longest, now } = *request;
        let (shared, at) = ((self.shared(print), self.begun), held.floor(now));
        let request = Request { now: at, longest: longest.saturating_sub(at - now), ..*request };
        let answer = algorithm::book_unseen(rule, shared, &request);
        let answer = match answer {
            Ok(allowed) if cost > 0 => {
                let begin =
                    |slot: Slot<'_>, word| algorithm::begin_booked(rule, self.place(slot), word, shared, &request);
                if let Some(taken) = self.settle(print, now, begin) {
                    Ok((allowed, Some(taken)))
                } else {
                    let decision = rule.check_shared(shared.0, self.begun, cost, leave, at);
                    if decision.is_ok() {
                        self.counters.overflowed(self.group(print));
                    }
                    decision.map(|allowed| (allowed, None))
                }
            }
            answer => answer.map(|allowed| (allowed, None)),
        };
        match answer {
            Ok((allowed, taken)) => later(Ok(allowed), at - now).map(|allowed| (allowed, taken)),
            Err(denied) => later(Err(denied), at - now).map(|allowed| (allowed, None)),
        }
    }

    /// Ends a booking of which `kept` units are kept, and puts the others back, as many as time has not reached.
    pub(crate) fn close(&self, print: Print, booked: Taken<Booked>, kept: u64, latest: impl Fn() -> Timestamp) {
        let rule = self.algorithm_of(print.tagged);
        self.ledger.close(booked.taken, kept, self.lowered(print), |step, cost, stands| {
            let put_back = |slot: Slot<'_>| {
                if slot.number == booked.slot {
                    algorithm::put_back(rule, self.place(slot), self.found(slot, print), (step, cost), stands, &latest)
                } else {
                    Ok(0)
                }
            };
            self.with_slot_as_it_was(print, put_back).unwrap_or(0)
        });
    }

    /// Takes `cost` units of the key, whether they pass or not; from the shared state, if there is no room for it.
    pub(crate) fn charge(&self, print: Print, cost: u64, now: Timestamp, clock: &impl Clock) {
        let rule = self.algorithm_of(print.tagged);
        let charge = |slot| algorithm::charge(rule, self.place(slot), self.found(slot, print), cost, now);
        if let Err(held) = self.with_slot(print, || clock.now().max(now), charge) {
            let (shared, at) = ((self.shared(print), self.begun), held.floor(now));
            let begin = |slot: Slot<'_>, word| algorithm::begin_charged(rule, self.place(slot), word, shared, cost, at);
            if cost > 0 && self.settle(print, now, begin).is_none() {
                algorithm::charge_shared(rule, shared, cost, at);
                self.counters.overflowed(self.group(print));
            }
        }
    }
}

/// A slot that is marked as busy, until this is dropped; also by a panic of a clock.
struct Busy<'a> {
    slot: Slot<'a>,
    /// The fingerprint that it then has.
    then: u64,
}

impl<'a> Busy<'a> {
    /// Release, with the swap of the word that follows: who sees the new word sees the mark.
    fn mark(slot: Slot<'a>, then: u64) -> Self {
        slot.fingerprint.store(BUSY, Ordering::Release);
        Self { slot, then }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.slot.fingerprint.store(self.then, Ordering::Release);
    }
}

impl<'a> Set<'a> {
    #[inline(always)]
    fn prefetch(self) {
        for line in 0..LINES {
            prefetch(&self.words[line * WORDS_OF_LINE]);
        }
    }

    /// The slot in which the key is, whatever the lowest `any_bits` bits of its fingerprint.
    #[inline(always)]
    fn find(self, print: Print, any_bits: u32) -> Option<Slot<'a>> {
        for line in lines(print) {
            let mut matches = 0;
            // All of a line, without a branch: where in it a key is found is not to be foretold.
            for nth in 0..LINE {
                let found = self.words[line * WORDS_OF_LINE + nth].load(Ordering::Acquire);
                matches |= usize::from(print.matches(found, any_bits)) << nth;
            }
            if matches != 0 {
                return Some(self.slot(line * LINE + matches.trailing_zeros() as usize % LINE));
            }
        }
        None
    }

    /// The `nth` slot of the set.
    #[inline(always)]
    fn slot(self, nth: usize) -> Slot<'a> {
        let word = nth / LINE * WORDS_OF_LINE + nth % LINE;
        Slot { fingerprint: &self.words[word], word: &self.words[word + LINE], number: self.number * SLOTS + nth }
    }
}

/// The lines of a set, that which a key prefers first.
#[inline(always)]
fn lines(print: Print) -> [usize; LINES] {
    [print.bit(), print.bit() ^ 1]
}

#[inline(always)]
pub(super) fn tag_of<A: Plan>(fingerprint: u64) -> u64 {
    fingerprint & ((1 << A::TAG_BITS) - 1)
}

/// The same answer, for who has to wait for `lead` longer: it was given for a time that lies so far ahead.
fn later(decision: Decision, lead: Duration) -> Decision {
    let lengthen = |wait: Duration| if wait.is_zero() { wait } else { wait.saturating_add(lead) };
    match decision {
        Ok(allowed) => {
            Ok(Allowed { reset_after: lengthen(allowed.reset_after), delay: lengthen(allowed.delay), ..allowed })
        }
        Err(denied) => Err(Denied {
            reset_after: lengthen(denied.reset_after),
            retry_after: denied.retry_after.map(lengthen),
            ..denied
        }),
    }
}
