//! How much may pass: a limit of units per period, and how many of them at once.

use core::time::Duration;

use crate::{QuotaError, Timestamp, timestamp::nanos_of};

/// `limit` units per `period`; for the buckets also `burst`, how many may pass at one instant.
///
/// A quota is plain data. It is checked where it is used: each algorithm's `new` refuses a quota that it cannot hold
/// exactly, with a [`QuotaError`](crate::QuotaError) that names the field.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Quota;
///
/// const API: Quota = Quota::per_second(100);         // 100 units per second
/// let uploads = Quota::per_hour(1 << 30).burst(1 << 20); // a GiB per hour, a MiB of it at once
/// let slow = Quota::new(5, Duration::from_secs(7));  // any rational rate is exact
///
/// assert_eq!(API.limit(), 100);
/// assert_eq!(uploads.period(), Duration::from_secs(3600));
/// assert_eq!(slow.emission_interval(), Duration::from_millis(1_400));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quota {
    limit: u64,
    period: Duration,
    burst: Option<u64>,
}

impl Quota {
    /// `limit` units per `period`.
    #[must_use]
    pub const fn new(limit: u64, period: Duration) -> Self {
        Self { limit, period, burst: None }
    }

    /// `limit` units per second (not one unit per `limit` seconds).
    #[must_use]
    pub const fn per_second(limit: u64) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// `limit` units per minute.
    #[must_use]
    pub const fn per_minute(limit: u64) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// `limit` units per hour.
    #[must_use]
    pub const fn per_hour(limit: u64) -> Self {
        Self::new(limit, Duration::from_secs(60 * 60))
    }

    /// `limit` units per day of 24 hours.
    #[must_use]
    pub const fn per_day(limit: u64) -> Self {
        Self::new(limit, Duration::from_secs(24 * 60 * 60))
    }

    /// The same rate, but at most `burst` units at one instant.
    ///
    /// For the buckets only; without it they let `limit` units pass at once. It is the whole of what may pass at one
    /// instant, not an extra on top of a first unit.
    #[must_use]
    pub const fn burst(self, burst: u64) -> Self {
        Self { burst: Some(burst), ..self }
    }

    /// Units per period.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The period of the limit; for the window algorithms, the window.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The burst that was asked for, if one was.
    #[must_use]
    pub const fn explicit_burst(&self) -> Option<u64> {
        self.burst
    }

    /// A period divided by a limit, rounded up to a whole nanosecond: the time in which one unit is regained.
    ///
    /// For display; the algorithms compute with the exact fraction. Zero for a zero period, and the longest duration
    /// there is for a zero limit.
    #[must_use]
    pub const fn emission_interval(&self) -> Duration {
        if self.limit == 0 {
            return Duration::MAX;
        }
        let nanos = self.period.as_nanos().div_ceil(self.limit as u128);
        // The quotient is at most the period's own nanoseconds, so both parts fit.
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    }
}

/// What an algorithm needs of a quota, checked.
impl Quota {
    /// The limit, checked to be at least 1, and the period in nanoseconds, checked to be from 1 to the horizon.
    pub(crate) const fn validated(&self) -> Result<(u64, u64), QuotaError> {
        if self.limit == 0 {
            return Err(QuotaError::ZeroLimit);
        }
        let period = nanos_of(self.period);
        if period == 0 {
            return Err(QuotaError::ZeroPeriod);
        }
        if period > Timestamp::HORIZON.as_nanos() {
            return Err(QuotaError::PeriodTooLong { period: self.period });
        }
        Ok((self.limit, period))
    }

    /// As [`validated`](Self::validated), for an `algorithm` that has no burst.
    pub(crate) const fn validated_without_burst(&self, algorithm: &'static str) -> Result<(u64, u64), QuotaError> {
        if self.burst.is_some() {
            return Err(QuotaError::BurstWithoutBucket { algorithm });
        }
        self.validated()
    }
}
