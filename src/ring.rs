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

use alloc::boxed::Box;
use core::time::Duration;

use crossbeam_utils::CachePadded;

use crate::{
    Allowed, Decision, Denied,
    cell::BackOff,
    sync::{AtomicU64, Ordering},
};

/// The largest limit of a log: it keeps 16 bits for the lap, and takes 128 MiB.
pub(crate) const MOST_PLACES: u64 = (1 << 24) - 1;

/// The bits of a slot that tell its lap, and their mask.
const LAP_BITS: u32 = 2;
const TAG: u64 = (1 << LAP_BITS) - 1;

/// How often a refund or a reset looks again for a place that is claimed but not written.
const PATIENCE: u32 = if cfg!(loom) { 1 } else { 16 };

/// The times of the last admitted units.
#[derive(Debug)]
pub struct Ring {
    head: CachePadded<AtomicU64>,
    slots: Box<[AtomicU64]>,
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

impl Ring {
    /// A ring of `limit` places, from 1 to [`MOST_PLACES`], none of them used.
    pub(crate) fn new(limit: u64) -> Self {
        // A slot of zeros is of lap 0 and the head begins in lap 1, so an unused slot reads as not written.
        let slots = (0..limit).map(|_| AtomicU64::new(0)).collect();
        let head = Head { next: Place { lap: 1, slot: 0 }, live: 0 };
        let ring = Self { head: CachePadded::new(AtomicU64::new(0)), slots };
        ring.head.store(ring.pack(head), Ordering::Release);
        ring
    }

    fn limit(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Admits `cost` units at `now` if `take`, for a window of `window` nanoseconds; a cost of 0 asks for one.
    pub(crate) fn decide(&self, cost: u64, now: u64, window: u64, take: bool) -> Decision {
        let mut back_off = BackOff::new();
        loop {
            let word = self.head.load(Ordering::Acquire);
            match self.decide_on(word, cost, now, window, take) {
                Ok(decision) => return decision,
                Err(Stale) => back_off.spin(),
            }
        }
    }

    fn decide_on(&self, word: u64, cost: u64, now: u64, window: u64, take: bool) -> Result<Decision, Stale> {
        let view = self.view(word, now, window)?;
        let limit = self.limit();
        let in_use = view.in_use();
        let asked = cost.max(1);
        if asked > limit - in_use {
            let retry_after = if asked <= limit {
                let blocking = asked - (limit - in_use);
                let last = self.latest(self.back(view.head.next, in_use), blocking, now)?;
                // What was not written when the walk met it may be by now, with a time that has left the window.
                Some(until_gone(view.oldest.max(Some(last)), now, window))
            } else {
                None
            };
            let reset_after = until_gone(self.newest(&view, now)?, now, window);
            return Ok(Err(Denied { limit, remaining: limit - in_use, reset_after, retry_after }));
        }
        let mut newest = self.newest(&view, now)?;
        if cost > 0 {
            // Never before the place before it.
            let at = newest.map_or(now, |newest| newest.max(now));
            newest = Some(at);
            if take {
                let next = Head { next: self.ahead(view.head.next, cost), live: in_use + cost };
                self.swap(word, next)?;
                self.write(view.head.next, cost, at);
            }
        }
        let allowed = Allowed {
            limit,
            remaining: limit - in_use - cost,
            reset_after: until_gone(newest, now, window),
            delay: Duration::ZERO,
        };
        Ok(Ok(allowed))
    }

    /// Gives back up to `cost` of the newest units that are still in use at `now`.
    ///
    /// Where the newest place is claimed by another thread that does not come to write it, the oldest is given back
    /// instead: as much may pass now, and no more later.
    pub(crate) fn refund(&self, cost: u64, now: u64, window: u64) {
        let mut back_off = BackOff::new();
        let mut left = cost;
        for attempt in 0.. {
            let word = self.head.load(Ordering::Acquire);
            if let Ok(view) = self.view(word, now, window) {
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
                    return;
                }
            }
            back_off.spin();
        }
    }

    /// Forgets all units, but for those that another thread is claiming at this moment and does not come to write.
    pub(crate) fn reset(&self) {
        let mut back_off = BackOff::new();
        for attempt in 0.. {
            let word = self.head.load(Ordering::Acquire);
            let live = self.unpack(word).live;
            let all_written = self.written(word, live) == live;
            if (all_written || attempt >= PATIENCE) && self.give_up_oldest(word, live).is_ok() {
                return;
            }
            back_off.spin();
        }
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
    fn view(&self, word: u64, now: u64, window: u64) -> Result<View, Stale> {
        let head = self.unpack(word);
        let oldest = self.back(head.next, head.live);
        for gone in 0..head.live {
            match self.entry(self.ahead(oldest, gone)) {
                Entry::Used(at) if at + window <= now => {}
                Entry::Used(at) => return Ok(View { head, gone, oldest: Some(at) }),
                Entry::Unwritten => return Ok(View { head, gone, oldest: Some(now) }),
                Entry::Overtaken => return Err(Stale),
            }
        }
        Ok(View { head, gone: head.live, oldest: None })
    }

    /// The time of the newest unit in use; `None` if none is.
    ///
    /// The oldest may hold the later time, if their threads claimed in the other order than they read the clock. The
    /// newest is in use for as long as the oldest is.
    fn newest(&self, view: &View, now: u64) -> Result<Option<u64>, Stale> {
        let Some(oldest) = view.oldest else { return Ok(None) };
        self.latest(self.back(view.head.next, 1), 1, now).map(|newest| Some(newest.max(oldest)))
    }

    /// The latest time of `count` places from `first` on, counting those not written as used `now`.
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

    /// The place `count` after `place`; `count` is at most the limit.
    #[inline]
    fn ahead(&self, place: Place, count: u64) -> Place {
        let slot = place.slot + count;
        match slot.checked_sub(self.limit()) {
            None => Place { slot, ..place },
            Some(slot) => Place { lap: place.lap.wrapping_add(1), slot },
        }
    }

    /// The place `count` before `place`; `count` is at most the limit.
    #[inline]
    fn back(&self, place: Place, count: u64) -> Place {
        match place.slot.checked_sub(count) {
            Some(slot) => Place { slot, ..place },
            None => Place { lap: place.lap.wrapping_sub(1), slot: place.slot + self.limit() - count },
        }
    }

    /// The bits that hold a number of places, the limit included.
    #[inline]
    fn place_bits(&self) -> u32 {
        u64::BITS - self.limit().leading_zeros()
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

/// How long after `now` the unit used at the time `last` leaves the window; zero if there is none.
#[inline]
fn until_gone(last: Option<u64>, now: u64, window: u64) -> Duration {
    last.map_or(Duration::ZERO, |last| Duration::from_nanos(last + window - now))
}

/// The low bits of a slot that is written in `lap`.
#[inline]
const fn tag(lap: u64) -> u64 {
    lap & TAG
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_refund_brings_an_earlier_head_back() {
        for limit in [1, 3, 64, 1 << 14, 1 << 16, MOST_PLACES] {
            let ring = Ring::new(limit);
            let cost = limit.min(1 << 16);
            let mut heads = alloc::vec::Vec::new();
            for _ in 0..5 {
                assert!(ring.decide(cost, 1, 10, true).is_ok());
                heads.push(ring.head.load(Ordering::Relaxed));
                ring.refund(cost, 1, 10);
                heads.push(ring.head.load(Ordering::Relaxed));
            }
            let count = heads.len();
            heads.sort_unstable();
            heads.dedup();
            assert_eq!(heads.len(), count, "{limit}");
        }
    }
}
