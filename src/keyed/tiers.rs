//! Several quotas of one algorithm, and which of them a key has.

use alloc::boxed::Box;
use core::{
    fmt::{self, Debug},
    time::Duration,
};

use super::plan::{Plan, PlanFor};
use crate::{Algorithm, algorithm::sealed::Sealed};

/// Several quotas of one algorithm, from 1 to 256, each of which is the quota of some keys.
///
/// In place of the algorithm of a [`KeyedLimiter`](crate::KeyedLimiter): `resolver` says for each key which tier it has,
/// as a number from 0. It is asked on every check, so that a key can be moved to another tier at any time. What the key
/// has consumed by then stays consumed: as many units as were in use are in use under the new quota, even where that is more
/// than it has. So nobody sheds anything by moving to and fro between tiers of one period; a bucket that moves to a much smaller quota may have to wait
/// for long, and [`reset`](crate::KeyedLimiter::reset) ends that. (The windows keep their counts where the period stays the
/// same; where it does not, what is in use counts as taken in the current window, and is forgotten with it: do not let keys
/// go to and fro between windows of different periods.)
///
/// But for what it took from the state that newcomers share where there is no room: each tier has one of its own.
///
/// A number past the last tier is taken for 0.
///
/// Each tier after the first takes a third of a byte more for each key that the table is built for; logs take memory by the
/// largest limit, and each further tier of them a third of a byte more for each unit of it. Two keys share a limit if 56
/// bits of their hashes agree, as 8 hold the tier: for a million keys that has a probability of one in 140,000.
///
/// ```
/// use tollgate::{KeyedLimiter, ManualClock, Quota, Tiers, TokenBucket};
///
/// let free = TokenBucket::new(Quota::per_second(2))?;
/// let paid = TokenBucket::new(Quota::per_second(10))?;
/// let by_plan = |name: &str| usize::from(name.starts_with("paid-"));
///
/// type Resolver = fn(&str) -> usize;
/// let tiers = Tiers::new([free, paid], by_plan as Resolver)?;
/// let limiter: KeyedLimiter<String, Tiers<TokenBucket, Resolver>, _> =
///     KeyedLimiter::with_clock(tiers, 1_000, ManualClock::new());
///
/// assert_eq!(limiter.check("alice").unwrap().remaining, 1);
/// assert_eq!(limiter.check("paid-bob").unwrap().remaining, 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tiers<A, R> {
    algorithms: Box<[A]>,
    resolver: R,
}

/// Says which tier a key has: any function from the key to a number, or a type of your own that looks it up.
///
/// It is called once per check, before anything else, and should take no longer than a look into a map.
pub trait Resolver<Q: ?Sized> {
    /// The number of `key`'s tier, from 0.
    fn tier(&self, key: &Q) -> usize;
}

impl<Q: ?Sized, F: Fn(&Q) -> usize> Resolver<Q> for F {
    #[inline]
    fn tier(&self, key: &Q) -> usize {
        self(key)
    }
}

/// Tiers that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TiersError {
    /// There are none, or more than 256.
    #[error("tiers: {count} of them; give at least 1 and at most 256")]
    Count {
        /// How many there are.
        count: usize,
    },

    /// Two of them have different periods, where keys of several tiers are limited as one.
    #[error(
        "tiers: one has a period of {first:?} and another of {other:?}; keys in both, limited as one, would forget with the shorter what counts in the longer, so give all the same, and a bucket a burst"
    )]
    Periods {
        /// The period of the first tier.
        first: Duration,
        /// One that differs.
        other: Duration,
    },
}

impl<A: Algorithm, R> Tiers<A, R> {
    const TAG_BITS: u32 = 8;

    /// The tiers, from number 0 on, and who says which of them a key has.
    ///
    /// # Errors
    ///
    /// [`TiersError`] if there are none, or more than 256.
    pub fn new(algorithms: impl IntoIterator<Item = A>, resolver: R) -> Result<Self, TiersError> {
        let algorithms: Box<[A]> = algorithms.into_iter().collect();
        match algorithms.len() {
            count if (1..=1 << Self::TAG_BITS).contains(&count) => Ok(Self { algorithms, resolver }),
            count => Err(TiersError::Count { count }),
        }
    }

    /// The tiers, from number 0 on.
    #[must_use]
    pub fn algorithms(&self) -> &[A] {
        &self.algorithms
    }

    /// Who says which tier a key has.
    #[must_use]
    pub fn resolver(&self) -> &R {
        &self.resolver
    }
}

/// The algorithms; not the resolver, which may be a closure.
impl<A: Debug, R> Debug for Tiers<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiers").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl<A, R> Sealed for Tiers<A, R> {}

impl<A: Algorithm, R> Plan for Tiers<A, R> {
    type Algorithm = A;

    const TAG_BITS: u32 = Self::TAG_BITS;

    #[inline]
    fn algorithm(&self, tag: u64) -> &A {
        self.algorithms.get(tag as usize).unwrap_or(&self.algorithms[0])
    }

    fn tags(&self) -> usize {
        self.algorithms.len()
    }
}

impl<A: Algorithm, R: Resolver<Q>, Q: ?Sized> PlanFor<Q> for Tiers<A, R> {
    #[inline]
    fn tag(&self, key: &Q) -> u64 {
        let tier = self.resolver.tier(key);
        if tier < self.algorithms.len() { tier as u64 } else { 0 }
    }
}
