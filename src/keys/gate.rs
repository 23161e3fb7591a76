//! The one call that an application makes.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use super::{
    CreditTable, Digest, KeyError, KeyStore, Keyring, LimitBy, Outcome, Presented, Record, Refusal, Scope, UnixTime,
    UsageTable,
};
use crate::{Allowed, IpKey};

type Limit<T> = Box<dyn LimitBy<T> + Send + Sync>;

/// Everything between a request and its handler: who is asking, may they, and how much of it.
///
/// In this order, and nothing is taken by a request that is refused:
///
/// 1. exactly one key was presented;
/// 2. its address has not failed too often: one unit is taken, and given back unless the attempt proves to be a guess;
/// 3. the key is one, by form, look-up, secret, and only then by status and time;
/// 4. it has the required scopes;
/// 5. it is within all limits, which hang on its family or its owner;
/// 6. it has the credits;
///
/// and it is counted. `A` is what attempts are limited by, an [`IpKey`] unless said otherwise.
///
/// Limits are by the clock that they were built with, which need not count from 1970 as the time of an [`Attempt`] does.
///
/// ```
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// use std::net::IpAddr;
/// use tollgate::{
///     IpKey, KeyedLimiter, ManualClock, Quota, TokenBucket,
///     keys::{
///         Attempt, Digester, Gate, HangOn, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter, Refusal, Scope,
///         UnixTime,
///     },
/// };
///
/// const READ: Scope<'static> = Scope::literal("orders:read");
///
/// let clock = ManualClock::new();
/// let failures = TokenBucket::new(Quota::per_minute(20))?;
/// let [free, pro] = [2, 100].map(Quota::per_minute).map(TokenBucket::new);
/// let quotas = Quotas::new(0).with_tier("pro", 1);
/// let gate = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
///     .throttle(KeyedLimiter::<IpKey, _, _>::with_clock(failures, 10_000, clock.clone()))
///     .limit(RecordLimiter::with_clock(HangOn::Family, [free?, pro?], quotas, 10_000, clock)?);
///
/// let new = NewKey::new(Prefix::literal("tg_live"), "acme").scopes("orders:*".parse()?);
/// let issued = gate.keyring().issue(new, &mut generator)?;
///
/// let from = IpKey::from("192.0.2.1".parse::<IpAddr>()?);
/// let now = UnixTime::from_secs(1_700_000_000);
/// let attempt = Attempt::new(issued.key.expose_secret(), from, now).requires(&[READ]);
/// assert_eq!(gate.check(&attempt)?.limits[0].remaining, 1);
/// assert!(gate.check(&attempt).is_ok());
///
/// let refusal = gate.check(&attempt).unwrap_err();
/// assert!(matches!(refusal, Refusal::Limited { limit: 0, .. }));
/// assert_eq!((refusal.status(), refusal.retry_after_secs()), (429, Some(30)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Gate<S: KeyStore, A = IpKey> {
    keyring: Keyring<S>,
    throttle: Option<Limit<A>>,
    limits: Vec<Limit<Record<S::Meta>>>,
    credits: CreditTable,
    usage: UsageTable,
}

impl<S: KeyStore, A> Gate<S, A> {
    /// A gate without limits.
    #[must_use]
    pub fn new(keyring: Keyring<S>) -> Self {
        Self { keyring, throttle: None, limits: Vec::new(), credits: CreditTable::new(), usage: UsageTable::new() }
    }

    /// Limits how often attempts may fail, by where they come from.
    ///
    /// An attempt takes a unit before its key is looked at and has it given back unless it proves to be a guess, so that
    /// no number of attempts at once is more than the limit. Its burst must therefore be more than the requests that one
    /// address may have in verification at the same moment; and a [`KeyedLimiter`](crate::KeyedLimiter) should have room
    /// for all addresses that fail within its period, as those beyond share one state, which gets nothing back.
    #[must_use]
    pub fn throttle(self, failures: impl LimitBy<A> + Send + Sync + 'static) -> Self {
        Self { throttle: Some(Box::new(failures)), ..self }
    }

    /// One more limit for whoever has passed verification.
    #[must_use]
    pub fn limit(mut self, limit: impl LimitBy<Record<S::Meta>> + Send + Sync + 'static) -> Self {
        self.limits.push(Box::new(limit));
        self
    }

    /// The keys.
    pub const fn keyring(&self) -> &Keyring<S> {
        &self.keyring
    }

    /// The credits, by family; a family that has none here needs none.
    pub const fn credits(&self) -> &CreditTable {
        &self.credits
    }

    /// The counters, to be drained.
    pub const fn usage(&self) -> &UsageTable {
        &self.usage
    }

    /// Decides whether a request may pass, and takes what it costs if so.
    ///
    /// Allocates one thing at most, the list of what the limits said; nothing if the key, its scopes or the first limit
    /// refuse. (And once per key, its counters.)
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing is taken then, but for the unit that a guess costs its address.
    pub fn check(&self, attempt: &Attempt<'_, A>) -> Result<Grant<S::Meta>, Refusal<S::Error>> {
        let presented = match attempt.presented {
            Presented::Nothing => return Err(Refusal::Missing),
            Presented::Twice => return Err(Refusal::Twice),
            Presented::Once(presented) => presented,
        };
        let (record, upgrade) = self.verify(presented, attempt)?;
        let answer = self.admit(&record, attempt);
        let outcome = match &answer {
            Ok(_) => Outcome::Allowed,
            Err(Refusal::Limited { .. } | Refusal::Credits(_)) => Outcome::Limited,
            Err(_) => Outcome::Refused,
        };
        self.usage.count(&record.id, outcome, attempt.now);
        let (limits, credits) = answer?;
        Ok(Grant { record, limits, credits, upgrade })
    }

    /// Gives back what a request has taken, as its handler has failed, say; all of its cost, or a part of it. Once: what
    /// is given back twice was taken by nobody.
    pub fn refund(&self, grant: &Grant<S::Meta>, cost: u64, now: UnixTime) {
        for limit in &self.limits {
            limit.refund(&grant.record, cost);
        }
        // Only to who has paid with credits.
        if grant.credits.is_some()
            && let Some(credits) = self.credits.get(&grant.record.family)
        {
            credits.add(cost, now);
        }
    }

    /// Stores the digest under the current scheme that a request was granted with, in place of the older one; as
    /// [`Keyring::upgrade`], to be called after each grant and doing nothing for most.
    ///
    /// # Errors
    ///
    /// Whatever the store reports.
    pub fn upgrade(&self, grant: &Grant<S::Meta>) -> Result<(), S::Error>
    where
        S::Meta: Clone,
    {
        self.keyring.store_upgrade(&grant.record, grant.upgrade)
    }

    /// Steps 2 and 3: the record of the key, if it is one.
    fn verify(&self, presented: &[u8], attempt: &Attempt<'_, A>) -> Result<Proved<S::Meta>, Refusal<S::Error>> {
        let mut answer = Err(Refusal::Missing);
        let mut is_guess = || {
            answer = self.prove(presented, attempt.now);
            let guessed = matches!(&answer, Err(Refusal::Key(error)) if error.is_guess());
            if guessed {
                self.usage.count_failure();
            }
            guessed
        };
        match &self.throttle {
            Some(throttle) => {
                throttle.check_and(&attempt.from, 1, &mut |_| is_guess()).map_err(Refusal::Throttled)?;
            }
            None => {
                is_guess();
            }
        }
        answer
    }

    /// Step 3.
    fn prove(&self, presented: &[u8], now: UnixTime) -> Result<Proved<S::Meta>, Refusal<S::Error>> {
        let digester = self.keyring.digester();
        let token = digester.read(presented).map_err(KeyError::Malformed)?;
        let record = self.keyring.store().get(&token.id()).map_err(Refusal::Unavailable)?;
        let answer = digester.verify(&token, record.as_deref(), now);
        match (answer, record) {
            (Ok(upgrade), Some(record)) => Ok((record, upgrade)),
            (Ok(_), None) => Err(KeyError::Invalid.into()),
            (Err(error), _) => {
                if !error.is_guess() {
                    self.usage.count(&token.id(), Outcome::Refused, now);
                }
                Err(error.into())
            }
        }
    }

    /// Steps 4 to 6: what each limit said, and the credits that are left.
    fn admit(&self, record: &Record<S::Meta>, attempt: &Attempt<'_, A>) -> Result<Admitted, Refusal<S::Error>> {
        if let Some(missing) = attempt.scopes.iter().position(|&scope| !record.scopes.grants(scope)) {
            return Err(Refusal::Scope { missing });
        }
        let mut said = Vec::new();
        let credits = self.take(0, record, attempt, &mut said)?;
        Ok((said, credits))
    }

    /// Takes the limits from `index` on, and then the credits: all of them or none. What each has `said`, and the credits that
    /// are left.
    fn take(
        &self,
        index: usize,
        record: &Record<S::Meta>,
        attempt: &Attempt<'_, A>,
        said: &mut Vec<Allowed>,
    ) -> Result<Option<u64>, Refusal<S::Error>> {
        let Some(limit) = self.limits.get(index) else {
            let account = self.credits.get(&record.family);
            let left = account.map(|credits| credits.spend(attempt.cost, attempt.now)).transpose();
            return left.map_err(Refusal::Credits);
        };
        let mut rest = Ok(None);
        let decision = limit.check_and(record, attempt.cost, &mut |allowed| {
            // Not before one has passed: a refusal by the first allocates nothing.
            said.reserve_exact(self.limits.len() - index);
            said.push(*allowed);
            rest = self.take(index + 1, record, attempt, said);
            rest.is_ok()
        });
        match decision {
            Ok(_) => rest,
            Err(denied) => Err(Refusal::Limited { limit: index, denied }),
        }
    }
}

/// A record whose key was proved, and the digest that it should have.
type Proved<M> = (Arc<Record<M>>, Option<Digest>);

/// What each limit said, and the credits that are left.
type Admitted = (Vec<Allowed>, Option<u64>);

/// What an application knows of a request.
///
/// A request without a cost costs one unit of each limit and one credit.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a, A = IpKey> {
    /// The key that came with it.
    pub presented: Presented<'a>,
    /// Where it came from, for the throttle. Never what a client can choose, as a header that no proxy of yours has set.
    pub from: A,
    /// The scopes that it requires, all of them.
    pub scopes: &'a [Scope<'a>],
    /// What it costs, in the units of the limits and in credits.
    pub cost: u64,
    /// The time now, by the calendar.
    pub now: UnixTime,
}

impl<'a, A> Attempt<'a, A> {
    /// A request that requires no scope and costs 1.
    pub fn new(presented: impl Into<Presented<'a>>, from: A, now: UnixTime) -> Self {
        Self { presented: presented.into(), from, scopes: &[], cost: 1, now }
    }

    /// The same request, but it requires all of these scopes.
    #[must_use]
    pub fn requires(self, scopes: &'a [Scope<'a>]) -> Self {
        Self { scopes, ..self }
    }

    /// The same request, but it costs so much.
    #[must_use]
    pub fn costs(self, cost: u64) -> Self {
        Self { cost, ..self }
    }
}

/// A request that may pass.
#[derive(Debug)]
#[non_exhaustive]
pub struct Grant<M = ()> {
    /// The record of the key that it came with.
    pub record: Arc<Record<M>>,
    /// What each of the gate's limits said, in their order.
    pub limits: Vec<Allowed>,
    /// The credits that are left, if the key's family has any to count.
    pub credits: Option<u64>,
    /// The digest to store in place of the record's, which is under an older scheme: [`Gate::upgrade`].
    pub upgrade: Option<Digest>,
}

impl<M> Clone for Grant<M> {
    fn clone(&self) -> Self {
        let Self { record, limits, credits, upgrade } = self;
        Self { record: Arc::clone(record), limits: limits.clone(), credits: *credits, upgrade: *upgrade }
    }
}

impl<M> Grant<M> {
    /// What the tightest of the limits said, the one with the fewest units left: what to tell the client of.
    #[must_use]
    pub fn tightest(&self) -> Option<&Allowed> {
        self.limits.iter().min_by_key(|allowed| allowed.remaining)
    }

    /// How long the request should wait before it proceeds: the longest that a limit said, zero unless one is a leaky bucket.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.limits.iter().map(|allowed| allowed.delay).max().unwrap_or_default()
    }
}

impl<S: KeyStore + fmt::Debug, A> fmt::Debug for Gate<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("keyring", &self.keyring)
            .field("throttled", &self.throttle.is_some())
            .field("limits", &self.limits.len())
            .finish_non_exhaustive()
    }
}
