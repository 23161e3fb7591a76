//! The state of the sliding log: the last `limit` admitted units in a ring of atomic timestamps, without a lock.
//!
//! # What it holds
//!
//! Every admitted unit has a *place*: places are numbered from the first unit ever on, and place `p` lives in slot
//! `p mod limit`, in lap `p / limit`. The *head* is one word: the next place to give out (as lap and slot), and how
//! many places before it are *live*, that is, not yet seen to have left the window. A slot holds the time of its unit
//! and the lap it belongs to, modulo 4, so that it tells which of the places that share it it speaks for.
//!
//! # A check
//!
//! 1. Load the head. Walk the live places from the oldest on, as long as they have left the window: they are *gone*.
//! 2. If the others leave no room for the cost, refuse, having stored nothing.
//! 3. Swap the head for one that lies `cost` places ahead, with the gone places no longer live. If that fails, begin
//!    again.
//! 4. Write the time into the claimed slots.
//!
//! # Why it never admits too much
//!
//! - The swap orders all claims. Live places never number more than the limit, so no two of them share a slot.
//! - A place stops being live only if someone has read its time, and the time had left the window, and all live
//!   places before it had too. A claimed slot that is not yet written still carries the tag of an earlier lap. It
//!   reads as *just used*: it is not gone, and nothing after it is.
//! - So a place can be given out again only after its last writer has written. The write of a writer that was held up
//!   can never land on a later lap, and four laps are more than enough to tell apart.
//! - The order of the places is the order of the claims, and a time is raised to that of the place before it. Two
//!   threads that claim in the other order than they read the clock may still write times out of order; as the walk
//!   stops at the first place that is not gone, the later of the two times holds for both.
//! - The head comes back to an earlier value only after its laps have wrapped (at a limit of a million, 2^24 windows
//!   later). A refund moves it back by its places and on by four laps, which no tag tells from none: else a place that
//!   was given back and claimed again would be taken for the one that somebody saw leaving.
//!
//! # Orderings
//!
//! The swap is a release, and loads of the head acquire. A claimer then sees the times that were read as gone before
//! its slots were freed, so its own writes come after them in each slot's modification order. Slots are relaxed
//! otherwise: a slot that reads as an earlier lap's is taken as just used, whatever the reason.
//!
//! Checked by `ring_*` in `tests/loom.rs`, with a clock that moves.

use core::time::Duration;

use crate::{
    Allowed, Denied,
    algorithm::Answer,
    cell::{BackOff, Moved, Owner, Place as State},
    sync::{AtomicU64, Ordering},
};

/// The largest limit of a log: it keeps 16 bits for the lap, and takes 128 MiB.
pub(crate) const MOST_PLACES: u64 = (1 << 24) - 1;

/// The bits of a slot that tell its lap, and their mask.
const LAP_BITS: u32 = 2;
const TAG: u64 = (1 << LAP_BITS) - 1;

/// How often a refund or a reset looks again for a place that is claimed but not written.
const PATIENCE: u32 = if cfg!(loom) { 1 } else { 16 };

/// The times of the last admitted units, borrowed from whoever holds them, and the log's rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'a> {
    head: &'a AtomicU64,
    /// As many as the ring can hold; a log may be given more than its limit.
    slots: &'a [AtomicU64],
    limit: u64,
    /// The period, in nanoseconds.
    window: u64,
}

/// The head, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// The next place to be given out.
    next: Place,
    /// How many places before it are live.
    live: u64,
}

/// One of the places that share a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    lap: u64,
    slot: u64,
}

/// Places that were claimed at once.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The head that followed.
    head: u64,
    cost: u64,
    /// The time that was written into them, in nanoseconds.
    at: u64,
}

/// What a slot says of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// Used at this time, in nanoseconds.
    Used(u64),
    /// Claimed, and not yet written: just used.
    Unwritten,
    /// Given out again since the head was loaded.
    Overtaken,
}

/// The head was out of date: load it again.
struct Stale;

/// A ring at some time, as one walk over its oldest places saw it.
struct View {
    head: Head,
    /// The word that it was unpacked from.
    word: u64,
    /// How many of the live places have left the window.
    gone: u64,
    /// The time of the first that has not; `None` if there is none.
    oldest: Option<u64>,
}

impl View {
    fn in_use(&self) -> u64 {
        self.head.live - self.gone
    }
}

impl<'a> Ring<'a> {
    /// The ring in `state`, which has at least `limit` slots; a word and slots of zeros are a ring that was never used.
    #[inline]
    pub(crate) fn new(state: State<'a>, limit: u64, window: u64) -> Self {
        Self { head: state.word, slots: state.beside, limit, window }
    }

    /// Admits `cost` units at `now` if `take`, with the claim that was made; a cost of 0 asks for one.
    pub(crate) fn decide<O: Owner>(&self, owner: O, cost: u64, now: u64, take: bool) -> Result<Answer<Claim>, O::Gone> {
        let mut back_off = BackOff::from_swaps();
        loop {
            let word = self.load(owner)?;
            match self.decide_on(word, cost, now, take) {
                Ok(decision) => return Ok(decision),
                Err(Stale) => back_off = back_off.spin(),
            }
        }
    }

    #[inline(always)]
    fn decide_on(&self, word: u64, cost: u64, now: u64, take: bool) -> Result<Answer<Claim>, Stale> {
        let view = self.view(word, now)?;
        let limit = self.limit;
        let in_use = view.in_use();
        // More than the limit may be in use if it was a larger one that they were admitted under.
        let remaining = limit.saturating_sub(in_use);
        let asked = cost.max(1);
        if asked > remaining {
            let retry_after = if asked <= limit {
                let blocking = asked + in_use - limit;
                let last = self.latest(self.back(view.head.next, in_use), blocking, now)?;
                // What was not written when the walk met it may be by now, with a time that has left the window.
                Some(self.until_gone(view.oldest.max(Some(last)), now))
            } else {
                None
            };
            let reset_after = self.until_gone(self.newest(&view, now)?, now);
            return Ok(Err(Denied { limit, remaining, reset_after, retry_after }));
        }
        let mut newest = self.newest(&view, now)?;
        let mut claim = Claim { head: word, cost, at: now };
        if cost > 0 {
            // Never before the place before it.
            let at = newest.map_or(now, |newest| newest.max(now));
            newest = Some(at);
            if take {
                let next = Head { next: self.ahead(view.head.next, cost), live: in_use + cost };
                claim = Claim { head: self.swap(word, next)?, cost, at };
                self.write(view.head.next, cost, at);
            }
        }
        let allowed = Allowed {
            limit,
            remaining: remaining - cost,
            reset_after: self.until_gone(newest, now),
            delay: Duration::ZERO,
        };
        Ok(Ok((allowed, claim)))
    }

    /// Gives back up to `cost` of the newest units that are still in use at `now`.
    ///
    /// Where the newest place is claimed by another thread that does not come to write it, the oldest is given back
    /// instead: as much may pass now, and no more later.
    pub(crate) fn refund<O: Owner>(&self, owner: O, cost: u64, now: u64) -> Result<(), O::Gone> {
        let mut back_off = BackOff::from_waits();
        let mut left = cost;
        for attempt in 0.. {
            let word = self.load(owner)?;
            if let Ok(view) = self.view(word, now) {
                let returned = view.in_use().min(left);
                let oldest_instead = attempt >= PATIENCE;
                let done = if oldest_instead {
                    self.give_up_oldest(word, view.gone + returned).is_ok()
                } else {
                    let newest = self.give_back_newest(word, returned);
                    left -= newest;
                    newest == returned
                };
                if done {
                    break;
                }
            }
            back_off = back_off.spin();
        }
        Ok(())
    }

    /// Gives back `cost` of the units that were claimed, unless they have left the window, by `latest` or by the time of the
    /// newest unit.
    ///
    /// They are the newest, unless others have claimed places since. Then as many of the oldest that are in use are given up in
    /// their stead. What stays is never less than what would be there without this claim: as many, and one by one none that
    /// leaves the window earlier. (Of two rows of times in order, each no earlier than its counterpart, take the first away
    /// from the later row and any from the other: that still holds.) Where a place among these is claimed by another thread
    /// that does not come to write it, it stays until it leaves the window.
    pub(crate) fn undo<O: Owner>(
        &self,
        owner: O,
        claim: Claim,
        cost: u64,
        latest: impl Fn() -> u64,
    ) -> Result<(), O::Gone> {
        let mut back_off = BackOff::from_waits();
        let mut left = cost.min(claim.cost);
        for attempt in 0..=PATIENCE {
            let word = self.load(owner)?;
            if attempt == 0 && word == claim.head {
                left -= self.give_back_newest(word, left);
            } else if let Some(newest) = self.newest_written(word) {
                let latest = newest.max(latest());
                if latest.saturating_sub(claim.at) >= self.window {
                    break;
                }
                if let Ok(view) = self.view(word, latest) {
                    let count = self.written(word, view.gone + left.min(view.in_use()));
                    if self.give_up_oldest(word, count).is_ok() {
                        // Less than are gone, where a refund at an earlier time is just taking one of those back.
                        left -= count.saturating_sub(view.gone);
                    }
                }
            }
            if left == 0 {
                break;
            }
            back_off = back_off.spin();
        }
        Ok(())
    }

    /// The time of the newest live place that is written. What is not was claimed at a time that is over by now.
    fn newest_written(&self, word: u64) -> Option<u64> {
        let Head { next, live } = self.unpack(word);
        let mut newest = (1..=live).map(|nth| self.entry(self.back(next, nth)));
        match newest.find(|entry| *entry != Entry::Unwritten) {
            Some(Entry::Used(at)) => Some(at),
            _ => None,
        }
    }

    /// Forgets all units, but for those that another thread is claiming at this moment and does not come to write.
    pub(crate) fn reset<O: Owner>(&self, owner: O) -> Result<(), O::Gone> {
        let mut back_off = BackOff::from_waits();
        for attempt in 0.. {
            let word = self.load(owner)?;
            let live = self.unpack(word).live;
            let all_written = self.written(word, live) == live;
            if (all_written || attempt >= PATIENCE) && self.give_up_oldest(word, live).is_ok() {
                break;
            }
            back_off = back_off.spin();
        }
        Ok(())
    }

    /// The head's word if all live places have left the window by `now`: then the log is as one that was never used.
    pub(crate) fn recovered(&self, now: u64) -> Option<u64> {
        let word = self.head.load(Ordering::Acquire);
        // The newest is the last to leave, as a rule: a look at it spares the walk.
        let newest = self.back(self.unpack(word).next, 1);
        let live = self.unpack(word).live > 0;
        if live && !matches!(self.entry(newest), Entry::Used(at) if at + self.window <= now) {
            return None;
        }
        self.view(word, now).ok().filter(|view| view.in_use() == 0).map(|view| view.word)
    }

    /// Begins this ring, whose head was found to be `word` and recovered, again: with the units that are in use in
    /// `before` at `now`, and `cost` more, which fit.
    ///
    /// Nobody else may change `before` meanwhile.
    pub(crate) fn begin(&self, word: u64, before: &Ring<'_>, cost: u64, now: u64) -> Result<Claim, Moved> {
        let Ok(view) = before.view(before.head.load(Ordering::Acquire), now) else { return Err(Moved) };
        let first = self.unpack(word).next;
        let units = view.in_use() + cost;
        let head = Head { next: self.ahead(first, units), live: units };
        let head = self.swap(word, head).map_err(|Stale| Moved)?;
        let oldest = before.back(view.head.next, view.in_use());
        let mut latest = now;
        for nth in 0..units {
            if nth < view.in_use() {
                latest = match before.entry(before.ahead(oldest, nth)) {
                    Entry::Used(at) => at,
                    Entry::Unwritten | Entry::Overtaken => now,
                };
            } else {
                latest = latest.max(now);
            }
            self.write(self.ahead(first, nth), 1, latest);
        }
        Ok(Claim { head, cost, at: latest })
    }

    /// The times of the units in use at `now`, in order; a unit that is being written counts as used now.
    #[cfg(feature = "serde")]
    pub(crate) fn times(&self, now: u64) -> alloc::vec::Vec<u64> {
        let view = loop {
            if let Ok(view) = self.view(self.head.load(Ordering::Acquire), now) {
                break view;
            }
        };
        let oldest = self.back(view.head.next, view.in_use());
        let mut latest = 0;
        let time = |nth| match self.entry(self.ahead(oldest, nth)) {
            Entry::Used(at) => Some(at),
            Entry::Unwritten => Some(now),
            // It has left the window since.
            Entry::Overtaken => None,
        };
        // None leaves before the one before it.
        let mut in_order = |at: u64| {
            latest = latest.max(at);
            latest
        };
        (0..view.in_use()).filter_map(time).map(&mut in_order).collect()
    }

    /// Enters units of these times, in order, no more than there are places, into a ring that was never used and that nobody
    /// else has.
    #[cfg(feature = "serde")]
    pub(crate) fn enter(&self, times: &[u64]) {
        let mut next = Place { lap: 0, slot: 0 };
        for &at in times {
            self.write(next, 1, at);
            next = self.ahead(next, 1);
        }
        self.head.store(self.pack(Head { next, live: times.len() as u64 }), Ordering::Release);
    }

    /// The head's word, if it is the owner's.
    ///
    /// Once it is, a swap on it can only succeed if it still is: whoever gives the ring away moves the head, and a head
    /// never comes back.
    #[inline]
    fn load<O: Owner>(&self, owner: O) -> Result<u64, O::Gone> {
        let word = self.head.load(Ordering::Acquire);
        owner.confirm().map(|()| word)
    }

    /// Moves the head `word` back over its newest places, one at a time, until `count` are given back or the head turns
    /// out to be out of date: how many were given back.
    fn give_back_newest(&self, mut word: u64, count: u64) -> u64 {
        for done in 0..count {
            // Four laps on, once, so that the head is a new one and the tags are the same.
            let laps = if done == 0 { TAG + 1 } else { 0 };
            match self.give_back_one(word, laps) {
                Ok(next) => word = next,
                Err(Stale) => return done,
            }
        }
        count
    }

    /// Moves the head `word` back over its newest place and on by `laps`, and returns the head that follows.
    ///
    /// The slot is first marked as not written, by a swap that only one thread can win, so that whoever is given the
    /// place next finds it as a claimer expects it: never with a time that is not its own.
    fn give_back_one(&self, word: u64, laps: u64) -> Result<u64, Stale> {
        let head = self.unpack(word);
        let place = self.back(head.next, 1);
        let slot = &self.slots[place.slot as usize];
        let written = slot.load(Ordering::Relaxed);
        if written & TAG != tag(place.lap) {
            return Err(Stale);
        }
        let unwritten = written & !TAG | tag(place.lap.wrapping_sub(1));
        // Relaxed: the swap of the head that follows publishes it.
        slot.compare_exchange(written, unwritten, Ordering::Relaxed, Ordering::Relaxed).map_err(|_| Stale)?;
        let next = Head { next: Place { lap: place.lap.wrapping_add(laps), ..place }, live: head.live - 1 };
        self.swap(word, next).inspect_err(|_| {
            // As it was, unless the place has left the window and was claimed again in the meantime.
            let _ = slot.compare_exchange(unwritten, written, Ordering::Relaxed, Ordering::Relaxed);
        })
    }

    /// Lets the oldest live places go, `count` of them or as many as come before the first that is not written.
    fn give_up_oldest(&self, word: u64, count: u64) -> Result<u64, Stale> {
        let head = self.unpack(word);
        self.swap(word, Head { live: head.live - self.written(word, count), ..head })
    }

    /// How many of the oldest `count` live places come before the first that is not written.
    fn written(&self, word: u64, count: u64) -> u64 {
        let head = self.unpack(word);
        let oldest = self.back(head.next, head.live);
        let is_written = |&nth: &u64| matches!(self.entry(self.ahead(oldest, nth)), Entry::Used(_));
        (0..count).take_while(is_written).count() as u64
    }

    /// Walks the live places of the head `word`, from the oldest to the first that has not left the window.
    #[inline(always)]
    fn view(&self, word: u64, now: u64) -> Result<View, Stale> {
        let head = self.unpack(word);
        let oldest = self.back(head.next, head.live);
        for gone in 0..head.live {
            match self.entry(self.ahead(oldest, gone)) {
                Entry::Used(at) if at + self.window <= now => {}
                Entry::Used(at) => return Ok(View { head, word, gone, oldest: Some(at) }),
                Entry::Unwritten => return Ok(View { head, word, gone, oldest: Some(now) }),
                Entry::Overtaken => return Err(Stale),
            }
        }
        Ok(View { head, word, gone: head.live, oldest: None })
    }

    /// The time of the newest unit in use; `None` if none is.
    ///
    /// The oldest may hold the later time, if their threads claimed in the other order than they read the clock. The
    /// newest is in use for as long as the oldest is.
    #[inline(always)]
    fn newest(&self, view: &View, now: u64) -> Result<Option<u64>, Stale> {
        let Some(oldest) = view.oldest else { return Ok(None) };
        self.latest(self.back(view.head.next, 1), 1, now).map(|newest| Some(newest.max(oldest)))
    }

    /// The latest time of `count` places from `first` on, counting those not written as used `now`.
    #[inline(always)]
    fn latest(&self, first: Place, count: u64, now: u64) -> Result<u64, Stale> {
        (0..count).try_fold(0, |latest, nth| match self.entry(self.ahead(first, nth)) {
            Entry::Used(at) => Ok(at.max(latest)),
            Entry::Unwritten => Ok(now.max(latest)),
            Entry::Overtaken => Err(Stale),
        })
    }

    #[inline]
    fn entry(&self, place: Place) -> Entry {
        let entry = self.slots[place.slot as usize].load(Ordering::Relaxed);
        match entry & TAG {
            found if found == tag(place.lap) => Entry::Used(entry >> LAP_BITS),
            found if found == tag(place.lap.wrapping_add(1)) => Entry::Overtaken,
            _ => Entry::Unwritten,
        }
    }

    /// Writes the time `at` into `count` places from `first` on, which the caller has claimed.
    #[inline]
    fn write(&self, first: Place, count: u64, at: u64) {
        for place in (0..count).map(|nth| self.ahead(first, nth)) {
            self.slots[place.slot as usize].store(at << LAP_BITS | tag(place.lap), Ordering::Relaxed);
        }
    }

    #[inline]
    fn swap(&self, word: u64, next: Head) -> Result<u64, Stale> {
        let next = self.pack(next);
        self.head.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed).map(|_| next).map_err(|_| Stale)
    }

    /// The place `count` after `place`; `count` is at most the places.
    #[inline]
    fn ahead(&self, place: Place, count: u64) -> Place {
        let slot = place.slot + count;
        match slot.checked_sub(self.places()) {
            None => Place { slot, ..place },
            Some(slot) => Place { lap: place.lap.wrapping_add(1), slot },
        }
    }

    /// The place `count` before `place`; `count` is at most the places.
    #[inline]
    fn back(&self, place: Place, count: u64) -> Place {
        match place.slot.checked_sub(count) {
            Some(slot) => Place { slot, ..place },
            None => Place { lap: place.lap.wrapping_sub(1), slot: place.slot + self.places() - count },
        }
    }

    /// How long after `now` the unit used at the time `last` leaves the window; zero if there is none.
    #[inline]
    fn until_gone(&self, last: Option<u64>, now: u64) -> Duration {
        last.map_or(Duration::ZERO, |last| Duration::from_nanos(last + self.window - now))
    }

    /// How many places there are.
    #[inline]
    fn places(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The bits that hold a number of places, all of them included.
    #[inline]
    fn place_bits(&self) -> u32 {
        u64::BITS - self.places().leading_zeros()
    }

    /// Lap, slot and live places, from the highest bits to the lowest; the lap wraps.
    #[inline]
    fn pack(&self, head: Head) -> u64 {
        let bits = self.place_bits();
        head.next.lap << (2 * bits) | head.next.slot << bits | head.live
    }

    #[inline]
    fn unpack(&self, word: u64) -> Head {
        let bits = self.place_bits();
        let mask = (1 << bits) - 1;
        Head { next: Place { lap: word >> (2 * bits), slot: word >> bits & mask }, live: word & mask }
    }
}

/// The low bits of a slot that is written in `lap`; in the first lap not those of a slot of zeros.
#[inline]
const fn tag(lap: u64) -> u64 {
    lap.wrapping_add(1) & TAG
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cell::{Cell, Sole};

    #[test]
    fn no_refund_brings_an_earlier_head_back() {
        for limit in [1, 3, 64, 1 << 14, 1 << 16, MOST_PLACES] {
            let state = Cell::new(0, limit as usize);
            let ring = Ring::new(state.place(), limit, 10);
            let cost = limit.min(1 << 16);
            let mut heads = alloc::vec::Vec::new();
            for _ in 0..5 {
                assert!(matches!(ring.decide(Sole, cost, 1, true), Ok(Ok(_))));
                heads.push(ring.head.load(Ordering::Relaxed));
                let Ok(()) = ring.refund(Sole, cost, 1);
                heads.push(ring.head.load(Ordering::Relaxed));
            }
            let count = heads.len();
            heads.sort_unstable();
            heads.dedup();
            assert_eq!(heads.len(), count, "{limit}");
        }
    }

    #[test]
    fn an_undo_does_not_need_the_newest_to_be_written() {
        let state = Cell::new(0, 10);
        let ring = Ring::new(state.place(), 10, 100);
        let claim = |cost| ring.decide(Sole, cost, 1, true).unwrap_or_else(|gone| match gone {}).unwrap().1;
        let (_, second) = (claim(2), claim(3));
        // As one leaves it that is held up before it writes.
        let head = ring.unpack(second.head);
        ring.swap(second.head, Head { next: ring.ahead(head.next, 4), live: head.live + 4 }).ok().unwrap();
        let Ok(()) = ring.undo(Sole, second, 3, || 1);
        assert_eq!(ring.unpack(ring.head.load(Ordering::Relaxed)).live, 6);
    }
}
