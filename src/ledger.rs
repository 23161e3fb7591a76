//! The line of those who have booked ahead.
//!
//! # Where a booking stands
//!
//! A bucket's word is a line: it says how many units have been taken since the epoch, `V` how many time has made up for, and
//! what lies between is in use. A booking of `n` units that left the word at `e` has the *place* from `e - n` to `e`. Time
//! moves towards it; what of the place it has passed is spent, what it has not reached can be put back. The ledger keeps the
//! end of each place that is booked. If units of one are put back, all that came after stand so much further ahead, and
//! the ledger, which is in order, moves them.
//!
//! # Why no unit of others is put back
//!
//! While time has not reached `e`, nobody who came after has found the line empty. So each of them made the word larger by its
//! own units and by no more, and the word is `e + k`, of which `k` are theirs: those of them that are still there, as what
//! one puts back it takes out of its own place, ahead of `e`. Had the booking not been, the word would have been at most
//! `max(e - n, V) + k`, whenever they came. The difference is at least `min(n, e - V)`, and that is what is put back. It is
//! less than the difference only if time has reached the place, and others have come after it.
//!
//! In that argument the word must not have been lowered but through the ledger. A refund, a reset, or a check that was
//! undone may have been of units before the place, and then it is nearer than the ledger says. [`Lowered`] tells. After
//! a refund or an undone check, what is put back is what of `n` units time has not reached if they began at the time of
//! the booking, as in [`Undo`](crate::Undo): that is never more than it should be, unless a refund took the booking's own
//! units, as the newest, for its own; and less by what was gained in the meantime. After a reset, or a change of quota, the
//! booking is forgotten.
//!
//! All that goes through the ledger is ordered by its lock. Checks do not, and take no notice of it.
//!
//! Checked by `tests/reserve_loom.rs`, and by `tests/reserve_properties.rs` against worlds in which what was put back never
//! was booked.

use alloc::collections::BTreeMap;

use crate::{
    algorithm::Step,
    returns::{Lowered, Since},
    sync::{Mutex, MutexGuard},
};

/// The bookings that are open, of one limiter or of all keys of a table.
#[derive(Debug)]
pub(crate) struct Ledger {
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    /// By whose they are, and then in the order in which they were booked.
    places: BTreeMap<(u64, u64), Place>,
    booked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    end: u64,
    since: Since,
    /// Of what broke with the past.
    unbroken: Since,
}

/// Where a booking's place is by now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stands {
    /// It ends at this word.
    Before(u64),
    /// Nearer than the ledger says, but not before the time of the booking.
    Nearer,
    /// Nowhere: what was taken is forgotten.
    Nowhere,
}

/// A booking: its place in the ledger, and the step that it was.
#[derive(Clone, Copy, Debug)]
pub struct Booked {
    whose: u64,
    number: u64,
    step: Step,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { open: Mutex::new(Open { places: BTreeMap::new(), booked: 0 }) }
    }

    /// Holds the line, so that something can be booked in a word whose owner counts what lowers it in `lowered`.
    pub(crate) fn hold(&self, lowered: &Lowered) -> Held<'_> {
        let open = self.open.lock();
        Held { open, since: lowered.returns.now(), unbroken: lowered.breaks.now() }
    }

    /// Strikes a booking out. What of it is not `kept`, `put_back` puts back: so many units of this step, which stands
    /// where it is told when it asks; and it says how much that was, as a difference of words.
    pub(crate) fn close(
        &self,
        booked: Booked,
        kept: u64,
        lowered: &Lowered,
        put_back: impl FnOnce(&Step, u64, &dyn Fn() -> Stands) -> u64,
    ) {
        let Booked { whose, number, step } = booked;
        let mut open = self.open.lock();
        let Some(place) = open.places.remove(&(whose, number)) else { return };
        let Some(surplus) = step.cost().checked_sub(kept).filter(|&surplus| surplus > 0) else { return };
        let stands = || match (lowered.breaks.none(place.unbroken), lowered.returns.none(place.since)) {
            (true, true) => Stands::Before(place.end),
            (true, false) => Stands::Nearer,
            (false, _) => Stands::Nowhere,
        };
        let returned = put_back(&step, surplus, &stands);
        for (_, behind) in open.places.range_mut((whose, number)..=(whose, u64::MAX)) {
            behind.end = behind.end.wrapping_sub(returned);
        }
    }
}

/// The line, held while something is booked.
pub(crate) struct Held<'a> {
    open: MutexGuard<'a, Open>,
    since: Since,
    unbroken: Since,
}

impl Held<'_> {
    /// Enters the step that was taken for `whose` meanwhile.
    pub(crate) fn enter(mut self, whose: u64, step: Step) -> Booked {
        let number = self.open.booked;
        self.open.booked += 1;
        let place = Place { end: step.end(), since: self.since, unbroken: self.unbroken };
        self.open.places.insert((whose, number), place);
        Booked { whose, number, step }
    }
}
