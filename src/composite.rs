//! Several limits as one.

use core::{fmt, time::Duration};

use crate::{Allowed, Decision, Denied, Headroom, Limiter, Parts, Timestamp};

/// Several limits as one: a request passes if all of them let it pass, and is charged to all or to none.
///
/// The parts are a tuple or an array of limiters, a list of boxed ones, or [`Parts`] of your own; any mix of algorithms, of
/// single limiters, of keys of a keyed limiter, and of other composites. They must go by the same clock, of which there is
/// one reading for all. With no part at all, everything passes. A limit that is there twice is charged twice, though it says
/// each time what it has for one: so a request may be refused where `peek` and `retry_after` say that it passes.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Composite, FixedWindow, KeyedLimiter, Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let clock = ManualClock::new();
/// let second = TokenBucket::new(Quota::per_second(10))?;
/// let second: KeyedLimiter<String, _, _> = KeyedLimiter::with_clock(second, 1_000, clock.clone());
/// let day = RateLimiter::with_clock(FixedWindow::new(Quota::per_day(11))?, clock.clone());
///
/// let alice = Composite::new((second.key("alice"), &day)).named(&["a client's second", "everybody's day"]);
/// assert_eq!(alice.check_n(10)?.remaining, 0);
/// let refused = alice.check_all(1).unwrap_err();
/// assert_eq!(refused.to_string(), "a client's second: rate limited: 0 of 10 units left, retry after 100ms");
///
/// clock.advance(Duration::from_secs(1));
/// let refused = alice.check_all(2).unwrap_err();
/// assert_eq!((refused.limit, refused.name), (1, Some("everybody's day")));
/// assert_eq!(second.peek_n("alice", 0)?.remaining, 10); // nothing was taken of it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The answer
///
/// As a [`Limiter`], it answers as one limiter would that admits what all of its parts admit. `limit` and `remaining` are
/// the least of any part's, `reset_after` and `delay` the longest; so is `retry_after`, and it is `None` if there is a part
/// that can never let the request pass. [`check_all`](Self::check_all) also names the limit that refused.
///
/// # How, and what others see of it
///
/// First all parts but the first are looked at. If one refuses, that is all: nothing was taken, not for a moment. Otherwise
/// they are taken one after the other, in their order. A later one may refuse even so, if another thread took its last units
/// since it was looked at, or if it is there twice. Then those before it are given back, but for what time has regained
/// since they were taken, and never a unit of anybody else's; see [`Undo`](crate::Undo).
///
/// Meanwhile others find less in these, and may be refused for it: by no more than the cost of each request that is being
/// taken at that moment, and for no longer than that takes. They are told the truth as it then was. Put the limit that most
/// requests share last: what comes last is never given back.
///
/// What is taken of a part is kept on the stack until all have agreed: thousands of parts may not find enough of it.
///
/// A newcomer's units are not given back where a keyed limiter had no room for it, and counted it with others; see
/// [`KeyedLimiter::refund`](crate::KeyedLimiter::refund).
#[derive(Clone, Copy)]
pub struct Composite<P> {
    parts: P,
    names: &'static [&'static str],
}

/// One of several limits has refused a request, and nothing was taken from any.
///
/// Where more than one refuses, it is the one that does so for longest: after its `retry_after`, if nothing else arrives, none
/// refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}: {denied}", Label(self))]
#[non_exhaustive]
pub struct RefusedBy {
    /// Which of the parts it is, from 0. Of a composite among them, [`peek_all`](Composite::peek_all) says which of its own.
    pub limit: usize,
    /// Its name, if it was [given one](Composite::named).
    pub name: Option<&'static str>,
    /// What it said.
    pub denied: Denied,
}

struct Label<'a>(&'a RefusedBy);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name {
            Some(name) => f.write_str(name),
            None => write!(f, "limit {}", self.0.limit),
        }
    }
}

/// What all parts have said so far, as one limiter would say it.
const NO_PART: Allowed =
    Allowed { limit: u64::MAX, remaining: u64::MAX, reset_after: Duration::ZERO, delay: Duration::ZERO };

/// What is asked of each part.
#[derive(Clone, Copy)]
struct Request {
    cost: u64,
    leave: Headroom,
    now: Timestamp,
}

/// A refusal: by which part, in its own words, and as the composite's.
struct Refusal {
    limit: usize,
    own: Denied,
    joint: Denied,
}

/// Why not all parts were taken.
enum Stopped {
    /// A part has refused.
    Refused(usize, Denied),
    /// All have agreed, with this for an answer, but who asked for it has not.
    CalledOff(Allowed),
}

impl<P: Parts> Composite<P> {
    /// All of `parts` as one.
    ///
    /// ```
    /// use tollgate::{Composite, FixedWindow, Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
    ///
    /// let clock = ManualClock::new();
    /// let minute = RateLimiter::with_clock(TokenBucket::new(Quota::per_minute(60))?, clock.clone());
    /// let day = RateLimiter::with_clock(FixedWindow::new(Quota::per_day(1_000))?, clock);
    ///
    /// // As many as are known when the program is written, without an allocation ...
    /// assert!(Composite::new((&minute, &day)).check().is_ok());
    /// // ... or as many as a configuration says.
    /// let limits: Vec<Box<dyn Limiter>> = vec![Box::new(minute), Box::new(day)];
    /// assert!(Composite::new(limits).check().is_ok());
    /// # Ok::<(), tollgate::QuotaError>(())
    /// ```
    #[must_use]
    pub const fn new(parts: P) -> Self {
        Self { parts, names: &[] }
    }

    /// The same, but a refusal says the name of the limit, from this list in the order of the parts. One that has no name in
    /// it, as one whose name is not known when the program is written, is known by its number.
    #[must_use]
    pub fn named(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }

    /// The parts.
    #[must_use]
    pub const fn parts(&self) -> &P {
        &self.parts
    }

    /// Decides on `cost` units now, and takes them from all parts if they pass.
    ///
    /// # Errors
    ///
    /// [`RefusedBy`] one of the parts if the request must not pass; nothing is taken then.
    pub fn check_all(&self, cost: u64) -> Result<Allowed, RefusedBy> {
        self.check_all_leaving_at(cost, Headroom::NONE, self.now())
    }

    /// Decides on `cost` units at `now`, of which so many must be left of each part, and takes them from all if they pass.
    ///
    /// # Errors
    ///
    /// [`RefusedBy`] one of the parts if the request must not pass; nothing is taken then.
    pub fn check_all_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<Allowed, RefusedBy> {
        self.decide(Request { cost, leave, now }, &mut |_| true).map_err(|refusal| self.name(&refusal))
    }

    /// Answers as [`check_all`](Self::check_all) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`RefusedBy`] one of the parts if the request would not pass.
    pub fn peek_all(&self, cost: u64) -> Result<Allowed, RefusedBy> {
        self.peek_all_leaving_at(cost, Headroom::NONE, self.now())
    }

    /// Answers as [`check_all_leaving_at`](Self::check_all_leaving_at) would, and takes nothing.
    ///
    /// # Errors
    ///
    /// [`RefusedBy`] one of the parts if the request would not pass.
    pub fn peek_all_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<Allowed, RefusedBy> {
        self.survey(Request { cost, leave, now }, None).map_err(|refusal| self.name(&refusal))
    }

    fn name(&self, refusal: &Refusal) -> RefusedBy {
        RefusedBy { limit: refusal.limit, name: self.names.get(refusal.limit).copied(), denied: refusal.own }
    }

    fn decide(&self, request: Request, agree: &mut dyn FnMut(&Allowed) -> bool) -> Result<Allowed, Refusal> {
        // The first is asked as it is taken: if it refuses, nothing is in hand.
        let Request { cost, leave, now } = request;
        let refuses = |index: usize| self.parts.part(index).peek_n_leaving_at(cost, leave, now).is_err();
        if (1..self.parts.len()).any(refuses) {
            self.survey(request, None).inspect_err(|refusal| self.tell(request, refusal))?;
        }
        match self.take(0, NO_PART, request, agree) {
            Ok(allowed) | Err(Stopped::CalledOff(allowed)) => Ok(allowed),
            Err(Stopped::Refused(limit, denied)) => self.survey(request, Some((limit, denied))),
        }
    }

    /// Tells the part that refused a request when it was only looked at.
    #[cold]
    fn tell(&self, Request { cost, leave, now }: Request, refusal: &Refusal) {
        self.parts.part(refusal.limit).refused_at(cost, leave, now, &refusal.own);
    }

    /// What all parts say, without taking anything, but for one that has said it already.
    fn survey(&self, request: Request, known: Option<(usize, Denied)>) -> Result<Allowed, Refusal> {
        let Request { cost, leave, now } = request;
        let ask = |index: usize| match known {
            Some((limit, denied)) if limit == index => Err(denied),
            _ => self.parts.part(index).peek_n_leaving_at(cost, leave, now),
        };
        let mut joint = NO_PART;
        for index in 0..self.parts.len() {
            match ask(index) {
                Ok(allowed) => joint = both(&joint, &allowed),
                Err(denied) => return Err(self.refusal(request, ask, index, denied)),
            }
        }
        Ok(joint)
    }

    /// What all parts say, of which the one of index `first` is the first to refuse.
    #[cold]
    fn refusal(&self, request: Request, ask: impl Fn(usize) -> Decision, first: usize, denied: Denied) -> Refusal {
        let Request { leave, now, .. } = request;
        let (mut limit, mut own, mut joint) = (first, denied, denied);
        for index in (0..self.parts.len()).filter(|&index| index != first) {
            let said = if index < first { None } else { ask(index).err() };
            if let Some(denied) = said {
                if is_longer(&denied, &own) {
                    (limit, own) = (index, denied);
                }
                joint = worse(&joint, &denied);
            } else {
                // What is left of it, without this request.
                let denied = match self.parts.part(index).peek_n_leaving_at(0, leave, now) {
                    Ok(Allowed { limit, remaining, reset_after, .. })
                    | Err(Denied { limit, remaining, reset_after, .. }) => {
                        Denied { limit, remaining, reset_after, retry_after: Some(Duration::ZERO) }
                    }
                };
                joint = worse(&joint, &denied);
            }
        }
        Refusal { limit, own, joint }
    }

    /// Takes the parts from `index` on, if all of them and then `agree` to it; `before` is what those before have said.
    fn take(
        &self,
        index: usize,
        before: Allowed,
        request: Request,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Result<Allowed, Stopped> {
        if index == self.parts.len() {
            return if agree(&before) { Ok(before) } else { Err(Stopped::CalledOff(before)) };
        }
        let mut rest = Ok(before);
        let Request { cost, leave, now } = request;
        let own = self.parts.part(index).check_and(cost, leave, now, &mut |allowed| {
            rest = self.take(index + 1, both(&before, allowed), request, agree);
            rest.is_ok()
        });
        match own {
            Ok(_) => rest,
            Err(denied) => Err(Stopped::Refused(index, denied)),
        }
    }
}

/// How many there are, and their names; not the parts themselves, as boxed limiters say nothing of themselves.
impl<P: Parts> fmt::Debug for Composite<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composite").field("len", &self.parts.len()).field("names", &self.names).finish_non_exhaustive()
    }
}

/// What two limits say that both allow a request.
fn both(one: &Allowed, other: &Allowed) -> Allowed {
    Allowed {
        limit: one.limit.min(other.limit),
        remaining: one.remaining.min(other.remaining),
        reset_after: one.reset_after.max(other.reset_after),
        delay: one.delay.max(other.delay),
    }
}

/// What two limits say of which one or both refuse a request.
fn worse(one: &Denied, other: &Denied) -> Denied {
    Denied {
        limit: one.limit.min(other.limit),
        remaining: one.remaining.min(other.remaining),
        reset_after: one.reset_after.max(other.reset_after),
        retry_after: one.retry_after.and_then(|wait| other.retry_after.map(|other| wait.max(other))),
    }
}

/// Whether `one` refuses for longer than `other`.
fn is_longer(one: &Denied, other: &Denied) -> bool {
    match (one.retry_after, other.retry_after) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

impl<P: Parts> Limiter for Composite<P> {
    /// By the clock of the first part that has one: a composite of no part, which has none, says zero.
    fn now(&self) -> Timestamp {
        let mut times = (0..self.parts.len()).map(|index| self.parts.part(index).now());
        times.find(|&now| now > Timestamp::ZERO).unwrap_or(Timestamp::ZERO)
    }

    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.check_and(cost, leave, now, &mut |_| true)
    }

    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.survey(Request { cost, leave, now }, None).map_err(|refusal| refusal.joint)
    }

    /// No part lets it pass earlier than it does by itself.
    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        (0..self.parts.len()).try_fold(Duration::ZERO, |longest, index| {
            Some(longest.max(self.parts.part(index).forecast_at(ahead, cost, leave, now)?))
        })
    }

    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        self.decide(Request { cost, leave, now }, agree).map_err(|refusal| refusal.joint)
    }

    /// The part that refuses is told.
    fn refused_at(&self, cost: u64, leave: Headroom, now: Timestamp, _denied: &Denied) {
        let request = Request { cost, leave, now };
        if let Err(refusal) = self.survey(request, None) {
            self.tell(request, &refusal);
        }
    }

    fn refund_at(&self, cost: u64, now: Timestamp) {
        (0..self.parts.len()).for_each(|index| self.parts.part(index).refund_at(cost, now));
    }

    fn reset_at(&self, now: Timestamp) {
        (0..self.parts.len()).for_each(|index| self.parts.part(index).reset_at(now));
    }
}
