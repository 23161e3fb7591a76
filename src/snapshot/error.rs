//! Why a snapshot was refused.

use alloc::string::String;

use crate::Quota;

/// A snapshot that a limiter cannot be restored from. Nothing was lost: it can be restored by what it is of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It was written by a version of this crate that writes others.
    #[error("version: {found} is not known here; this crate reads {expected}")]
    Version {
        /// That of the snapshot.
        found: u32,
        /// The one that can be read.
        expected: u32,
    },

    /// It is of another algorithm.
    #[error("algorithm: the snapshot is of a {found}; restore it as one, not as a {expected}")]
    Algorithm {
        /// That of the snapshot.
        found: String,
        /// That of the limiter.
        expected: &'static str,
    },

    /// It is of another number of tiers.
    #[error("tiers: the snapshot has {found} and the limiter {expected}; give it the same, in the same order")]
    Tiers {
        /// Those of the snapshot.
        found: usize,
        /// Those of the limiter.
        expected: usize,
    },

    /// It is of another quota.
    #[error(
        "quota: that of tier {tier} was {found:?} and is {expected:?}; restore with the same one, and change it afterwards"
    )]
    Quota {
        /// The number of the tier; 0 where there are none.
        tier: usize,
        /// That of the snapshot.
        found: Quota,
        /// That of the limiter.
        expected: Quota,
    },

    /// It is of a table of another size.
    #[error("capacity: the snapshot is of {found} slots, these are {expected}; restore it for the same number of keys")]
    Capacity {
        /// The slots of the snapshot.
        found: u64,
        /// The slots of the limiter.
        expected: u64,
    },

    /// The hasher does not hash as it did, so that no key would be found.
    #[error("hasher: it does not hash as when the snapshot was taken; restore with the same version of its crate")]
    Hasher,

    /// It says what cannot be.
    #[error("damaged: {what}")]
    Damaged {
        /// What cannot be.
        what: &'static str,
    },
}
