//! What the buckets can do and the windows cannot: units that lie ahead of time are a place in line.

use core::time::Duration;

use super::{Rule, Step, most, replace, replace_saying, word_of_unseen};
use crate::{
    Allowed, Decision, Denied, Headroom, Timestamp,
    algorithm::Answer,
    cell::{Moved, Owner, Place, Update, update},
    ledger::Stands,
    sync::Ordering,
};

/// An algorithm that can be booked ahead of time: the token bucket and the leaky bucket.
///
/// The trait is sealed; it is here to be named in bounds.
pub trait Bookable: Rule {
    /// The answer to a request of `cost` units that must leave `leave`, and the word that follows, if it is its turn within
    /// the time `longest`.
    ///
    /// # Errors
    ///
    /// [`Denied`] if it is not, with how long until it is.
    fn book(
        &self,
        word: u64,
        cost: u64,
        leave: u64,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Allowed, u64), Denied>;

    /// The word after `cost` units are taken, whether they pass or not.
    fn charge(&self, word: u64, cost: u64, now: Timestamp) -> u64;

    /// How much of the last `cost` units before the word `end` time has not reached at `latest`, as a difference of words.
    fn ahead(&self, end: u64, cost: u64, latest: Timestamp) -> u64;
}

/// A booking, as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) cost: u64,
    pub(crate) leave: Headroom,
    pub(crate) longest: Duration,
    pub(crate) now: Timestamp,
}

impl Step {
    /// The word that the step left.
    pub(crate) fn end(&self) -> u64 {
        self.after
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    fn of(request: &Request, after: u64) -> Self {
        Self { after, cost: request.cost, at: request.now }
    }
}

/// A booking, as an update of a word.
struct Book<'a, R> {
    rule: &'a R,
    leave: u64,
    request: &'a Request,
}

impl<R: Bookable> Update for Book<'_, R> {
    type Answer = (Allowed, Step);
    type Refusal = Denied;

    fn apply(&self, word: u64) -> Result<(Self::Answer, u64), Denied> {
        let Request { cost, longest, now, .. } = *self.request;
        let (allowed, next) = self.rule.book(word, cost, self.leave, longest, now)?;
        Ok(((allowed, Step::of(self.request, next)), next))
    }
}

/// Books what is asked for, if it is its turn in time.
pub(crate) fn book<R: Bookable, O: Owner>(
    rule: &R,
    place: Place<'_>,
    owner: O,
    request: &Request,
) -> Result<Answer<Step>, O::Gone> {
    let leave = request.leave.of(|| most(rule.quota()));
    update(place.word, owner, &Book { rule, leave, request })
}

/// What newcomers share, and since when their table has stood.
type Shared<'a> = (Place<'a>, Timestamp);

/// The answer to a booking for a key that was never seen; nothing is taken.
pub(crate) fn book_unseen<R: Bookable>(rule: &R, (shared, begun): Shared<'_>, request: &Request) -> Decision {
    let leave = request.leave.of(|| most(rule.quota()));
    let unseen = word_of_unseen(rule, shared, begun, request.now);
    Book { rule, leave, request }.apply(unseen).map(|((allowed, _), _)| allowed)
}

/// As [`Algorithm::begin`](super::Algorithm::begin), with a booking that must have been found to pass.
pub(crate) fn begin_booked<R: Bookable>(
    rule: &R,
    place: Place<'_>,
    word: u64,
    (shared, begun): Shared<'_>,
    request: &Request,
) -> Result<Step, Moved> {
    let leave = request.leave.of(|| most(rule.quota()));
    let unseen = word_of_unseen(rule, shared, begun, request.now);
    let Ok(((_, step), next)) = (Book { rule, leave, request }).apply(unseen) else { return Err(Moved) };
    begin_with(place, word, next).map(|()| step)
}

/// As [`Algorithm::begin`](super::Algorithm::begin), whether they pass or not.
pub(crate) fn begin_charged<R: Bookable>(
    rule: &R,
    place: Place<'_>,
    word: u64,
    (shared, begun): Shared<'_>,
    cost: u64,
    now: Timestamp,
) -> Result<(), Moved> {
    begin_with(place, word, rule.charge(word_of_unseen(rule, shared, begun, now), cost, now))
}

fn begin_with(place: Place<'_>, word: u64, next: u64) -> Result<(), Moved> {
    place.word.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed).map(|_| ()).map_err(|_| Moved)
}

/// Takes `cost` units, whether they pass or not.
pub(crate) fn charge<R: Bookable, O: Owner>(
    rule: &R,
    place: Place<'_>,
    owner: O,
    cost: u64,
    now: Timestamp,
) -> Result<(), O::Gone> {
    replace(place, owner, |word| rule.charge(word, cost, now))
}

/// As [`charge`], of the state that newcomers share. Only one thread at a time may be in here with one state.
pub(crate) fn charge_shared<R: Bookable>(rule: &R, (shared, begun): Shared<'_>, cost: u64, now: Timestamp) {
    let next = rule.charge(word_of_unseen(rule, shared, begun, now), cost, now);
    // 0 says that none ever had to; where tokens are counted modulo 2^64 it might also be said by chance.
    shared.word.store(next.max(1), Ordering::Release);
}

/// Puts `cost` units of a step back, as many as lie ahead of time, and says how much that was, as a difference of words.
///
/// `stands` says where the step's place in line is by now; it is asked after the word was loaded, and so is the time.
pub(crate) fn put_back<R: Bookable, O: Owner>(
    rule: &R,
    place: Place<'_>,
    owner: O,
    (step, cost): (&Step, u64),
    stands: impl Fn() -> Stands,
    latest: impl Fn() -> Timestamp,
) -> Result<u64, O::Gone> {
    let cost = cost.min(step.cost);
    replace_saying(place, owner, |word| {
        let returned = match stands() {
            Stands::Before(end) => {
                let latest = latest();
                rule.ahead(end, cost, latest).min(rule.ahead(word, cost, latest))
            }
            Stands::Nearer => word.wrapping_sub(rule.undo(word, step, cost, latest())),
            Stands::Nowhere => 0,
        };
        (returned, word.wrapping_sub(returned))
    })
}
