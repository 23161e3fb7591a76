//! A keyed limiter's snapshot.

use alloc::vec::Vec;
use core::{
    fmt::{self, Debug},
    hash::BuildHasher,
};

use serde::{Deserialize, Serialize};

use super::{RestoreError, Save, header::Header};
use crate::{
    Clock, KeyedLimiter, Quota, SecretState, Timestamp,
    keyed::{Plan, SavedTable},
};

/// What is in use of a [`KeyedLimiter`], with its hasher; the [module](super) says what comes back of it, and why it is
/// **confidential**.
///
/// It is plain data for serde, with a version. What is in it is otherwise nobody's business.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedSnapshot<S = SecretState> {
    header: Header,
    hasher: S,
    /// What it makes of a text: so that one which has come to hash otherwise is found out.
    probe: u64,
    table: SavedTable,
}

impl<S> KeyedSnapshot<S> {
    /// The quotas that it is of, those of all tiers in their order, or one: those to restore it with, where they can be changed.
    ///
    /// A damaged snapshot may say anything, and have another number of them.
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        self.header.quotas()
    }
}

/// Not the hasher, and nothing of the keys but how many they are.
impl<S> Debug for KeyedSnapshot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedSnapshot")
            .field("header", &self.header)
            .field("keys", &self.table.len())
            .finish_non_exhaustive()
    }
}

fn probe(hasher: &impl BuildHasher) -> u64 {
    hasher.hash_one("tollgate")
}

impl<K: ?Sized, A: Plan, C: Clock, S: BuildHasher + Clone> KeyedLimiter<K, A, C, S>
where
    A::Algorithm: Save,
{
    /// What is in use now; needs the feature `serde`.
    ///
    /// `wall` is the time by a clock that goes on across a restart, such as the system's time since 1970. Others may use the
    /// limiter meanwhile: keys that have a slot are not held up, newcomers for as long as it takes to copy the 32
    /// slots near theirs, and a change of a [`Live`](crate::Live) quota until all is copied. See the [module](crate::snapshot), also for why the result is confidential.
    ///
    /// To be written, it needs a hasher that can be: [`SecretState`], or one of your own.
    #[must_use]
    pub fn snapshot(&self, wall: Option<Timestamp>) -> KeyedSnapshot<S> {
        let plan = self.algorithm();
        let _unchanged: Vec<_> = (0..plan.tags() as u64).filter_map(|tag| plan.algorithm(tag).hold()).collect();
        let now = self.clock().now();
        KeyedSnapshot {
            header: Header::new(plan, now, wall),
            hasher: self.hasher().clone(),
            probe: probe(self.hasher()),
            table: self.table().save(now),
        }
    }

    /// A limiter for as many `keys` as that of the `snapshot`, by `clock`, which goes on from there with its hasher; needs
    /// the feature `serde`.
    ///
    /// `wall` is the time now by the clock that the snapshot was given a time of. The [module](crate::snapshot) says what
    /// comes back. The [`stats`](Self::stats) begin anew.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the snapshot is of another algorithm, other quotas (in all tiers), another capacity or version, or
    /// says what cannot be.
    ///
    /// # Panics
    ///
    /// As `Vec::with_capacity` does, if there is not memory for so many keys.
    ///
    /// ```
    /// use tollgate::{KeyedLimiter, ManualClock, Quota, TokenBucket, snapshot::KeyedSnapshot};
    ///
    /// type Limiter = KeyedLimiter<String, TokenBucket, ManualClock>;
    ///
    /// let bucket = TokenBucket::new(Quota::per_second(10))?;
    /// let limiter = Limiter::with_clock(bucket, 1_000, ManualClock::new());
    /// assert!(limiter.check_n("alice", 7).is_ok());
    /// let written = serde_json::to_vec(&limiter.snapshot(None))?;
    ///
    /// let read: KeyedSnapshot = serde_json::from_slice(&written)?;
    /// let limiter = Limiter::restore(bucket, 1_000, ManualClock::new(), &read, None)?;
    /// assert_eq!(limiter.peek_n("alice", 0)?.remaining, 3);
    /// assert_eq!(limiter.peek_n("bob", 0)?.remaining, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(
        algorithm: A,
        keys: usize,
        clock: C,
        snapshot: &KeyedSnapshot<S>,
        wall: Option<Timestamp>,
    ) -> Result<Self, RestoreError> {
        let shift = snapshot.header.shift(&algorithm, clock.now(), wall)?;
        if snapshot.probe != probe(&snapshot.hasher) {
            return Err(RestoreError::Hasher);
        }
        let table = snapshot.table.restore(algorithm, keys, &shift)?;
        Ok(Self::with_table(table, clock, snapshot.hasher.clone()))
    }
}
