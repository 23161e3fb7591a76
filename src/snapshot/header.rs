//! What a snapshot is of.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{RestoreError, Save, Shift};
use crate::{Quota, Timestamp, keyed::Plan};

/// What a snapshot is of, and when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    algorithm: String,
    /// Those of all tiers; a single one where there are none.
    quotas: Vec<Quota>,
    /// The time of the limiter's clock.
    at: Timestamp,
    /// The time of a clock that goes on across a restart.
    wall: Option<Timestamp>,
}

impl Header {
    /// To be raised with each change of what a snapshot says or means.
    const VERSION: u32 = 1;

    pub(super) fn new<A: Plan>(plan: &A, at: Timestamp, wall: Option<Timestamp>) -> Self
    where
        A::Algorithm: Save,
    {
        Self { version: Self::VERSION, algorithm: A::Algorithm::NAME.into(), quotas: quotas(plan).collect(), at, wall }
    }

    /// Those of all tiers.
    pub(super) fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// From when to when states are moved, if this is of the `plan`'s limiter, and it is `now` by its new clock.
    pub(super) fn shift<A: Plan>(
        &self,
        plan: &A,
        now: Timestamp,
        wall: Option<Timestamp>,
    ) -> Result<Shift, RestoreError>
    where
        A::Algorithm: Save,
    {
        if self.version != Self::VERSION {
            return Err(RestoreError::Version { found: self.version, expected: Self::VERSION });
        }
        if self.algorithm != A::Algorithm::NAME {
            return Err(RestoreError::Algorithm { found: self.algorithm.clone(), expected: A::Algorithm::NAME });
        }
        if self.quotas.len() != plan.tags() {
            return Err(RestoreError::Tiers { found: self.quotas.len(), expected: plan.tags() });
        }
        for (tier, (&found, expected)) in self.quotas.iter().zip(quotas(plan)).enumerate() {
            if found != expected {
                return Err(RestoreError::Quota { tier, found, expected });
            }
        }
        let passed = self.wall.zip(wall).map_or(0, |(then, now)| now.as_nanos().saturating_sub(then.as_nanos()));
        let passed = Timestamp::from_nanos(passed).within_horizon();
        Ok(Shift { then: self.at.within_horizon(), now: now.within_horizon(), passed })
    }
}

fn quotas<A: Plan>(plan: &A) -> impl Iterator<Item = Quota> {
    use crate::Algorithm as _;

    (0..plan.tags() as u64).map(|tag| plan.algorithm(tag).quota())
}
