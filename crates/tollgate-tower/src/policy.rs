//! One limit: what it is called, who is counted, and by what.

use std::{borrow::Borrow, cell::Cell, fmt, sync::Arc};

use tollgate::{
    Algorithm, Allowed, Clock, Decision, Headroom, KeyedLimiter, Limiter, Quota, RateLimiter, Timestamp,
    keyed::{Fingerprint, OneKey, PlanFor},
};

use crate::{Identity, RequestHead, TextError, identity::Unidentified, text::Text};

/// One limit: its name, who is counted, and the limiter that counts.
///
/// Clones share the limiter. So do policies that are given the same `Arc` of one: for several routes, say, or for a handler
/// that looks at it.
///
/// A [`LeakyBucket`](tollgate::LeakyBucket) refuses what would have to wait too long; but what may pass does so at once,
/// as the layers have no timer to make it wait.
///
/// ```
/// use tollgate::{IpKey, KeyedLimiter, Quota, RateLimiter, SlidingWindow, TokenBucket};
/// use tollgate_tower::{Policy, identity::ClientAddress};
///
/// let bucket = TokenBucket::new(Quota::per_second(10))?;
/// let clients = KeyedLimiter::<IpKey, _>::with_capacity(bucket, 100_000);
/// let client = Policy::keyed("client", ClientAddress::peer(), clients)?;
///
/// let window = SlidingWindow::new(Quota::per_minute(10_000))?;
/// let everybody = Policy::global("everybody", RateLimiter::new(window))?;
/// assert_eq!((client.name(), everybody.name()), ("client", "everybody"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    pub(crate) name: Text,
    /// What a unit is, if not a request.
    unit: Option<Text>,
    pub(crate) counter: Arc<dyn Counter>,
}

impl Policy {
    /// Counts each key alone: everybody has the quota of the limiter, whose keys are those of the identity, as the table of
    /// [`identity`](crate::identity) lists them: `KeyedLimiter::<IpKey, _>` for a client's address.
    ///
    /// The name is told to clients.
    ///
    /// # Errors
    ///
    /// [`TextError`] unless the name is of 1 to 64 printable ASCII characters.
    pub fn keyed<I, K, A, C>(
        name: &str,
        identity: I,
        limiter: impl Into<Arc<KeyedLimiter<K, A, C>>>,
    ) -> Result<Self, TextError>
    where
        I: Identity,
        K: Borrow<I::Key> + ?Sized + 'static,
        A: PlanFor<I::Key> + Send + Sync + 'static,
        C: Clock + Send + Sync + 'static,
    {
        Self::of(name, EachKey { identity, limiter: limiter.into() })
    }

    /// Counts all requests together. A limiter that is not a [`RateLimiter`], as a composite, is for
    /// [`custom`](Self::custom).
    ///
    /// # Errors
    ///
    /// [`TextError`] unless the name is of 1 to 64 printable ASCII characters.
    pub fn global<A, C>(name: &str, limiter: impl Into<Arc<RateLimiter<A, C>>>) -> Result<Self, TextError>
    where
        A: Algorithm + 'static,
        C: Clock + Send + Sync + 'static,
    {
        Self::of(name, AllTogether(limiter.into()))
    }

    /// Counts all requests together, by any limiter, whose quota is what clients are told: a
    /// [`Composite`](tollgate::Composite), say.
    ///
    /// Several policies in one layer are all or nothing too, and clients are told of each.
    ///
    /// # Errors
    ///
    /// [`TextError`] unless the name is of 1 to 64 printable ASCII characters.
    ///
    /// ```
    /// use tollgate::{Composite, Quota, RateLimiter, SlidingWindow, TokenBucket};
    /// use tollgate_tower::Policy;
    ///
    /// let hour = Quota::per_hour(10_000);
    /// let burst = RateLimiter::new(TokenBucket::new(Quota::per_second(100))?);
    /// let limits = Composite::new((burst, RateLimiter::new(SlidingWindow::new(hour)?)));
    /// let everybody = Policy::custom("everybody", hour, limits)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn custom(name: &str, quota: Quota, limiter: impl Limiter + Send + Sync + 'static) -> Result<Self, TextError> {
        Self::of(name, Custom { quota, limiter })
    }

    /// What a unit is, if not a request: `content-bytes`, say. It is told to clients who know the structured headers.
    ///
    /// # Errors
    ///
    /// [`TextError`] unless it is of 1 to 64 printable ASCII characters.
    pub fn unit(self, unit: &str) -> Result<Self, TextError> {
        Ok(Self { unit: Some(Text::new(unit)?), ..self })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.plain()
    }

    /// What is told of it to those who have this quota.
    pub(crate) fn told(&self, quota: Quota) -> (&str, Quota, Option<&str>) {
        (self.name.quoted(), quota, self.unit.as_ref().map(|unit| &**unit.quoted()))
    }

    fn of(name: &str, counter: impl Counter + 'static) -> Result<Self, TextError> {
        Ok(Self { name: Text::new(name)?, unit: None, counter: Arc::new(counter) })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).field("unit", &self.unit).finish_non_exhaustive()
    }
}

/// Who is counted by a limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seat {
    All,
    Key(Fingerprint),
}

/// A limiter, and who is counted by it.
trait Counted: Send + Sync {
    type One<'a>: Limiter
    where
        Self: 'a;

    fn seat(&self, request: &RequestHead<'_>) -> Result<Seat, Unidentified>;

    /// The limiter of one of its own seats.
    fn one(&self, seat: Seat) -> Self::One<'_>;

    fn quota(&self, seat: Seat) -> Quota;

    /// The quota of all seats, if they have one and it stays.
    fn fixed_quota(&self) -> Option<Quota>;
}

struct AllTogether<A: Algorithm, C>(Arc<RateLimiter<A, C>>);

impl<A: Algorithm + 'static, C: Clock + Send + Sync + 'static> Counted for AllTogether<A, C> {
    type One<'a>
        = &'a RateLimiter<A, C>
    where
        Self: 'a;

    fn seat(&self, _request: &RequestHead<'_>) -> Result<Seat, Unidentified> {
        Ok(Seat::All)
    }

    fn one(&self, _seat: Seat) -> &RateLimiter<A, C> {
        &self.0
    }

    fn quota(&self, _seat: Seat) -> Quota {
        self.0.algorithm().quota()
    }

    fn fixed_quota(&self) -> Option<Quota> {
        fixed(self.0.algorithm())
    }
}

/// The quota of `algorithm`, if it stays.
fn fixed(algorithm: &impl Algorithm) -> Option<Quota> {
    (!algorithm.is_live()).then(|| algorithm.quota())
}

struct Custom<L> {
    quota: Quota,
    limiter: L,
}

impl<L: Limiter + Send + Sync> Counted for Custom<L> {
    type One<'a>
        = &'a L
    where
        Self: 'a;

    fn seat(&self, _request: &RequestHead<'_>) -> Result<Seat, Unidentified> {
        Ok(Seat::All)
    }

    fn one(&self, _seat: Seat) -> &L {
        &self.limiter
    }

    fn quota(&self, _seat: Seat) -> Quota {
        self.quota
    }

    fn fixed_quota(&self) -> Option<Quota> {
        Some(self.quota)
    }
}

struct EachKey<I, K: ?Sized, A, C> {
    identity: I,
    limiter: Arc<KeyedLimiter<K, A, C>>,
}

impl<I, K, A, C> Counted for EachKey<I, K, A, C>
where
    I: Identity,
    K: Borrow<I::Key> + ?Sized + 'static,
    A: PlanFor<I::Key> + Send + Sync + 'static,
    C: Clock + Send + Sync + 'static,
{
    type One<'a>
        = OneKey<&'a KeyedLimiter<K, A, C>>
    where
        Self: 'a;

    fn seat(&self, request: &RequestHead<'_>) -> Result<Seat, Unidentified> {
        let key = self.identity.key(request)?;
        Ok(Seat::Key(self.limiter.key(&key).fingerprint()))
    }

    fn one(&self, seat: Seat) -> Self::One<'_> {
        match seat {
            Seat::Key(fingerprint) => self.limiter.key_of(fingerprint),
            Seat::All => unreachable!("the seats of a keyed limiter are keys"),
        }
    }

    fn quota(&self, seat: Seat) -> Quota {
        self.one(seat).quota()
    }

    fn fixed_quota(&self) -> Option<Quota> {
        let plan = self.limiter.algorithm();
        if plan.tags() == 1 { fixed(plan.algorithm(0)) } else { None }
    }
}

/// What a layer needs of a policy's limiter, of whatever type it is.
pub(crate) trait Counter: Send + Sync {
    fn seat(&self, request: &RequestHead<'_>) -> Result<Seat, Unidentified>;
    fn quota(&self, seat: Seat) -> Quota;
    fn fixed_quota(&self) -> Option<Quota>;
    fn now(&self, seat: Seat) -> Timestamp;
    fn check(&self, seat: Seat, cost: u64, leave: Headroom, now: Timestamp) -> Decision;
    fn peek(&self, seat: Seat, cost: u64, leave: Headroom, now: Timestamp) -> Decision;
    fn check_and(
        &self,
        seat: Seat,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision;
    fn refund(&self, seat: Seat, cost: u64, now: Timestamp);
    fn reset(&self, seat: Seat, now: Timestamp);
}

impl<T: Counted> Counter for T {
    fn seat(&self, request: &RequestHead<'_>) -> Result<Seat, Unidentified> {
        Counted::seat(self, request)
    }

    fn quota(&self, seat: Seat) -> Quota {
        Counted::quota(self, seat)
    }

    fn fixed_quota(&self) -> Option<Quota> {
        Counted::fixed_quota(self)
    }

    fn now(&self, seat: Seat) -> Timestamp {
        self.one(seat).now()
    }

    fn check(&self, seat: Seat, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.one(seat).check_n_leaving_at(cost, leave, now)
    }

    fn peek(&self, seat: Seat, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.one(seat).peek_n_leaving_at(cost, leave, now)
    }

    fn check_and(
        &self,
        seat: Seat,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        self.one(seat).check_and(cost, leave, now, agree)
    }

    fn refund(&self, seat: Seat, cost: u64, now: Timestamp) {
        self.one(seat).refund_at(cost, now);
    }

    fn reset(&self, seat: Seat, now: Timestamp) {
        self.one(seat).reset_at(now);
    }
}

/// One policy and one of its seats: a limiter that remembers what it has said last.
pub(crate) struct Part<'a> {
    counter: &'a dyn Counter,
    pub(crate) seat: Seat,
    pub(crate) said: Cell<Option<Decision>>,
}

impl<'a> Part<'a> {
    /// The one that `request` is counted as.
    pub(crate) fn new(policy: &'a Policy, request: &RequestHead<'_>) -> Result<Self, Unidentified> {
        Ok(Self::of(policy, policy.counter.seat(request)?))
    }

    pub(crate) fn of(policy: &'a Policy, seat: Seat) -> Self {
        Self { counter: &*policy.counter, seat, said: Cell::new(None) }
    }

    fn say(&self, decision: Decision) -> Decision {
        self.said.set(Some(decision));
        decision
    }
}

impl Limiter for Part<'_> {
    fn now(&self) -> Timestamp {
        self.counter.now(self.seat)
    }

    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.say(self.counter.check(self.seat, cost, leave, now))
    }

    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.say(self.counter.peek(self.seat, cost, leave, now))
    }

    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        self.say(self.counter.check_and(self.seat, cost, leave, now, agree))
    }

    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.counter.refund(self.seat, cost, now);
    }

    fn reset_at(&self, now: Timestamp) {
        self.counter.reset(self.seat, now);
    }
}
