//! A limit for each family of keys, or for each owner, as large as their tier says.

use alloc::sync::Arc;
use core::{
    borrow::Borrow,
    fmt::{self, Debug},
    hash::{Hash, Hasher},
};

use super::{KeyId, LimitBy, Quotas, Record, lock::Lock};
use crate::{
    Algorithm, Allowed, Clock, Decision, Headroom, KeyedLimiter, Limiter, MonotonicClock, SecretState, Tiers,
    keyed::{Resolver, TiersError},
};

/// A limit for each family of keys, or for each owner, as large as [`Quotas`] say: a [`KeyedLimiter`] of [`Tiers`].
///
/// It hangs on the family and not on the key, so that rotating a key doubles nothing; or on the owner, so that having
/// more keys does not. When a key's tier changes, or its quota, what has been consumed stays consumed, even where that is more
/// than it has under the new one. All tiers have one period, so that an owner with keys in several of them cannot use the
/// one to forget what was consumed in the other; a bucket says with its burst how much of it may come at once.
///
/// The quotas are numbers of tiers, from 0, as [`Tiers`] count them.
///
/// ```
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// use tollgate::{
///     ManualClock, Quota, TokenBucket,
///     keys::{Digester, HangOn, LimitBy, NewKey, Prefix, Quotas, RecordLimiter},
/// };
///
/// let free = TokenBucket::new(Quota::per_minute(2))?;
/// let pro = TokenBucket::new(Quota::per_minute(100))?;
/// let quotas = Quotas::new(0).with_tier("pro", 1);
/// let limiter = RecordLimiter::with_clock(HangOn::Family, [free, pro], quotas, 10_000, ManualClock::new())?;
///
/// let record = NewKey::new(Prefix::literal("tg_live"), "acme").issue(&Digester::plain(), &mut generator)?.record;
/// assert_eq!(limiter.check_n(&record, 2)?.remaining, 0);
/// assert!(limiter.check_n(&record, 1).is_err());
///
/// // An exception for the owner, from now on.
/// limiter.set_quotas((*limiter.quotas()).clone().with_owner("acme", 1));
/// assert_eq!(limiter.check_n(&record, 1)?.remaining, 97);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct RecordLimiter<A, C = MonotonicClock> {
    on: HangOn,
    quotas: Lock<Arc<Quotas<usize>>>,
    limiter: KeyedLimiter<Subjects, Tiers<A, ByTier>, C>,
}

/// What a limit hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HangOn {
    /// The key and its rotations, all of them together.
    Family,
    /// All keys of an owner together.
    Owner,
}

#[cfg(feature = "std")]
impl<A: Algorithm> RecordLimiter<A> {
    /// A limit for as many as `keys` families in use at one time, by the operating system's monotonic clock.
    ///
    /// # Errors
    ///
    /// [`TiersError`] if there are no tiers, or more than 256, or if their periods differ.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    pub fn per_family(
        tiers: impl IntoIterator<Item = A>,
        quotas: Quotas<usize>,
        keys: usize,
    ) -> Result<Self, TiersError> {
        Self::with_clock(HangOn::Family, tiers, quotas, keys, MonotonicClock::new())
    }

    /// A limit for as many as `keys` owners in use at one time, by the operating system's monotonic clock.
    ///
    /// # Errors
    ///
    /// [`TiersError`] if there are no tiers, or more than 256, or if their periods differ.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    pub fn per_owner(
        tiers: impl IntoIterator<Item = A>,
        quotas: Quotas<usize>,
        keys: usize,
    ) -> Result<Self, TiersError> {
        Self::with_clock(HangOn::Owner, tiers, quotas, keys, MonotonicClock::new())
    }
}

#[cfg(feature = "std")]
impl<A: Algorithm, C: Clock> RecordLimiter<A, C> {
    /// A limit for as many as `keys` families or owners in use at one time, by `clock`.
    ///
    /// # Errors
    ///
    /// [`TiersError`] if there are no tiers, or more than 256, or if their periods differ.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    pub fn with_clock(
        on: HangOn,
        tiers: impl IntoIterator<Item = A>,
        quotas: Quotas<usize>,
        keys: usize,
        clock: C,
    ) -> Result<Self, TiersError> {
        Self::with_clock_and_secret(on, tiers, quotas, keys, clock, SecretState::new())
    }
}

impl<A: Algorithm, C: Clock> RecordLimiter<A, C> {
    /// A limit for as many as `keys` families or owners in use at one time, by `clock`, that are hashed under `secret`: for
    /// programs without `std`.
    ///
    /// # Errors
    ///
    /// [`TiersError`] if there are no tiers, or more than 256, or if their periods differ.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not so much memory.
    pub fn with_clock_and_secret(
        on: HangOn,
        tiers: impl IntoIterator<Item = A>,
        quotas: Quotas<usize>,
        keys: usize,
        clock: C,
        secret: SecretState,
    ) -> Result<Self, TiersError> {
        let tiers = Tiers::new(tiers, ByTier)?;
        // One owner may have keys of several tiers. A use of the one must not make what the other has used run out sooner.
        let mut periods = tiers.algorithms().iter().map(|tier| tier.quota().period());
        let first = tiers.algorithms()[0].quota().period();
        if let Some(other) = periods.find(|&period| period != first) {
            return Err(TiersError::Periods { first, other });
        }
        let limiter = KeyedLimiter::with_clock_and_hasher(tiers, keys, clock, secret);
        Ok(Self { on, quotas: Lock::new(Arc::new(quotas)), limiter })
    }

    /// Which number each tier has, and each exception.
    #[must_use]
    pub fn quotas(&self) -> Arc<Quotas<usize>> {
        Arc::clone(&self.quotas.read())
    }

    /// Changes which number each tier has, and each exception, for all checks that begin after this returns.
    pub fn set_quotas(&self, quotas: Quotas<usize>) {
        *self.quotas.write() = Arc::new(quotas);
    }

    /// The limits, one of each tier.
    #[must_use]
    pub fn tiers(&self) -> &[A] {
        self.limiter.algorithm().algorithms()
    }

    fn subject<'r, M>(&self, record: &'r Record<M>) -> Subject<'r> {
        let tier = *self.quotas.read().resolve(record).0;
        let on = match self.on {
            HangOn::Family => On::Family(record.family),
            HangOn::Owner => On::Owner(&record.owner),
        };
        Subject { on, tier }
    }
}

impl<M, A: Algorithm, C: Clock> LimitBy<Record<M>> for RecordLimiter<A, C> {
    fn check_n(&self, record: &Record<M>, cost: u64) -> Decision {
        self.limiter.check_n(&self.subject(record), cost)
    }

    fn refund(&self, record: &Record<M>, cost: u64) {
        self.limiter.refund(&self.subject(record), cost);
    }

    fn check_and(&self, record: &Record<M>, cost: u64, agree: &mut dyn FnMut(&Allowed) -> bool) -> Decision {
        let subject = self.limiter.key(&self.subject(record));
        subject.check_and(cost, Headroom::NONE, subject.now(), agree)
    }
}

impl<A: Algorithm, C: Debug> Debug for RecordLimiter<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordLimiter").field("on", &self.on).field("limiter", &self.limiter).finish_non_exhaustive()
    }
}

/// Whose limit it is, and by which tier.
struct Subject<'r> {
    on: On<'r>,
    tier: usize,
}

#[derive(Hash)]
enum On<'r> {
    Family(KeyId),
    Owner(&'r str),
}

/// Without the tier: whoever changes theirs keeps what they have consumed.
impl Hash for Subject<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.on.hash(state);
    }
}

/// Reads the tier off the subject, where it was put.
#[derive(Debug)]
struct ByTier;

impl Resolver<Subject<'_>> for ByTier {
    fn tier(&self, subject: &Subject<'_>) -> usize {
        subject.tier
    }
}

/// What a limiter of subjects of any lifetime calls its keys. There is none: a limiter keeps only their hashes.
#[derive(Debug)]
enum Subjects {}

impl<'r> Borrow<Subject<'r>> for Subjects {
    fn borrow(&self) -> &Subject<'r> {
        match *self {}
    }
}
