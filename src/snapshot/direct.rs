//! A single limiter's snapshot.

use serde::{Deserialize, Serialize};

use super::{RestoreError, Save, State, header::Header};
use crate::{Clock, Quota, RateLimiter, Timestamp};

/// What is in use of a [`RateLimiter`]; the [module](super) says what comes back of it.
///
/// It is plain data for serde, with a version. What is in it is otherwise nobody's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    header: Header,
    state: State,
}

impl Snapshot {
    /// The quota that it is of, as its only element: the one to restore it with, where that can be changed.
    ///
    /// A damaged snapshot may say anything, and have none or several.
    ///
    /// ```
    /// use tollgate::{Carry, Limiter, Live, ManualClock, Quota, RateLimiter, TokenBucket};
    ///
    /// let bucket = Live::<TokenBucket>::new(Quota::per_second(10))?;
    /// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
    /// limiter.set_quota(Quota::per_second(15), Carry::Absolute)?;
    /// assert!(limiter.check_n(12).is_ok());
    /// let snapshot = limiter.snapshot(None);
    /// assert_eq!(snapshot.quotas(), [Quota::per_second(15)]);
    ///
    /// let bucket = Live::<TokenBucket>::new(snapshot.quotas()[0])?;
    /// let limiter = RateLimiter::restore(bucket, ManualClock::new(), &snapshot, None)?;
    /// limiter.set_quota(Quota::per_second(20), Carry::Absolute)?;
    /// assert_eq!(limiter.peek_n(0)?.remaining, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        self.header.quotas()
    }
}

impl<A: Save, C: Clock> RateLimiter<A, C> {
    /// What is in use now; needs the feature `serde`.
    ///
    /// `wall` is the time by a clock that goes on across a restart, such as the system's time since 1970. Others may use the
    /// limiter meanwhile; see the [module](crate::snapshot).
    #[must_use]
    pub fn snapshot(&self, wall: Option<Timestamp>) -> Snapshot {
        let _unchanged = self.algorithm().hold();
        let now = self.clock().now();
        Snapshot { header: Header::new(self.algorithm(), now, wall), state: self.algorithm().save(self.place(), now) }
    }

    /// A limiter by `clock` that goes on from `snapshot`; needs the feature `serde`.
    ///
    /// `wall` is the time now by the clock that the snapshot was given a time of. The [module](crate::snapshot) says what
    /// comes back.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the snapshot is of another algorithm, quota or version, or says what cannot be.
    pub fn restore(algorithm: A, clock: C, snapshot: &Snapshot, wall: Option<Timestamp>) -> Result<Self, RestoreError> {
        let shift = snapshot.header.shift(&algorithm, clock.now(), wall)?;
        let limiter = Self::with_clock(algorithm, clock);
        match limiter.algorithm().load(limiter.place(), &snapshot.state, &shift) {
            Some(()) => Ok(limiter),
            None => Err(RestoreError::Damaged { what: "more is in use than can be, or it is counted in another way" }),
        }
    }
}
