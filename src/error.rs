//! Why a quota was refused.

use core::time::Duration;

use crate::Timestamp;

/// A quota that an algorithm cannot hold exactly, refused when the algorithm is built.
///
/// Each message says which field is at fault, why, and what would be right.
///
/// ```
/// use tollgate::{FixedWindow, Quota, QuotaError, TokenBucket};
///
/// let error = TokenBucket::new(Quota::per_second(0)).unwrap_err();
/// assert_eq!(error, QuotaError::ZeroLimit);
/// assert_eq!(error.field(), "limit");
/// assert_eq!(error.to_string(), "limit: 0 would refuse everything; use at least 1");
///
/// let error = FixedWindow::new(Quota::per_second(5).burst(10)).unwrap_err();
/// assert_eq!(error.field(), "burst");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The limit is zero.
    #[error("limit: 0 would refuse everything; use at least 1")]
    ZeroLimit,

    /// The period is zero.
    #[error("period: 0 has no rate; use at least 1 ns")]
    ZeroPeriod,

    /// The period is longer than limiters can look ahead.
    #[error("period: {period:?} is longer than {:?} (136 years)", most_period())]
    PeriodTooLong {
        /// The period that was asked for.
        period: Duration,
    },

    /// The burst is zero.
    #[error("burst: 0 would refuse everything; use at least 1, or leave it out for a burst of the whole limit")]
    ZeroBurst,

    /// A burst was given to an algorithm that has none.
    #[error("burst: a {algorithm} has none, its limit is all that may pass at once; leave it out or use a bucket")]
    BurstWithoutBucket {
        /// The algorithm's name.
        algorithm: &'static str,
    },

    /// The burst does not fit in the state beside the time.
    #[error("burst: {burst} is too large; at this rate at most {most} fits in the state")]
    BurstTooLarge {
        /// The burst that was asked for, or the limit that stands for it.
        burst: u64,
        /// The largest that would be accepted.
        most: u64,
    },

    /// The units per second are more than the state can tell apart for long enough.
    #[error("limit: {limit} per {period:?} is too fast; the state would wrap, use at most {most} per second")]
    RateTooHigh {
        /// The limit that was asked for.
        limit: u64,
        /// The period that was asked for.
        period: Duration,
        /// The largest rate that is accepted, in units per second.
        most: u64,
    },

    /// The counts do not fit in the state beside the window's number.
    #[error(
        "limit: {limit} is too large for a {algorithm} of {period:?}; the state would wrap within a century, \
         use at most {most}, a longer period, or a token bucket"
    )]
    LimitTooLarge {
        /// The algorithm's name.
        algorithm: &'static str,
        /// The limit that was asked for.
        limit: u64,
        /// The period that was asked for.
        period: Duration,
        /// The largest limit that would be accepted for this period.
        most: u64,
    },

    /// The log of this many units is longer than a ring can be.
    #[error("limit: {limit} is too large for a sliding log, which remembers each unit; use at most {most}")]
    LogTooLong {
        /// The limit that was asked for.
        limit: u64,
        /// The largest limit that is accepted.
        most: u64,
    },

    /// A bucket was asked to start with more than it holds.
    #[error("start: {start} units are more than the burst of {burst}; start with at most that")]
    StartTooLarge {
        /// The units that were asked for.
        start: u64,
        /// The bucket's burst.
        burst: u64,
    },
}

impl QuotaError {
    /// The name of the field that is at fault: `limit`, `period`, `burst` or `start`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::ZeroLimit | Self::RateTooHigh { .. } | Self::LimitTooLarge { .. } | Self::LogTooLong { .. } => {
                "limit"
            }
            Self::ZeroPeriod | Self::PeriodTooLong { .. } => "period",
            Self::ZeroBurst | Self::BurstWithoutBucket { .. } | Self::BurstTooLarge { .. } => "burst",
            Self::StartTooLarge { .. } => "start",
        }
    }
}

/// The longest period: limiters tell no two instants beyond it apart.
pub(crate) const fn most_period() -> Duration {
    Duration::from_nanos(Timestamp::HORIZON.as_nanos())
}
