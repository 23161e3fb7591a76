//! A point in time: nanoseconds since the epoch of the clock that read it.

use core::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since the epoch of the [`Clock`](crate::Clock) that read it, from 0 to [`Timestamp::HORIZON`].
///
/// The epoch is the clock's own business: the process's start, the Unix epoch, a test's zero. Only timestamps of one
/// clock can be compared. Arithmetic saturates; nothing here panics.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Timestamp;
///
/// let start = Timestamp::from_nanos(1_000);
/// assert_eq!(start + Duration::from_micros(1), Timestamp::from_nanos(2_000));
/// assert_eq!(start - Timestamp::from_nanos(400), Duration::from_nanos(600));
/// assert_eq!(Timestamp::ZERO - start, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The clock's epoch.
    pub const ZERO: Self = Self(0);

    /// The last nanosecond of the first 2^32 seconds (136 years) after the epoch: the last instant that limiters tell
    /// apart from later ones.
    ///
    /// A timestamp may be any `u64`, but for a limiter time stands still from here on: what was admitted stays
    /// admitted, and nothing is regained. It is what lets a state of 64 bits resolve fractions of a nanosecond. A
    /// clock that counts from 1970 reaches it in the year 2106.
    pub const HORIZON: Self = Self((1_000_000_000 << 32) - 1);

    /// The instant `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `seconds` seconds after the epoch; saturates at `u64::MAX` nanoseconds (584 years).
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The nanoseconds that a limiter works with: at most [`Timestamp::HORIZON`].
    #[inline]
    pub(crate) const fn within_horizon(self) -> u64 {
        if self.0 < Self::HORIZON.0 { self.0 } else { Self::HORIZON.0 }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({:?})", Duration::from_nanos(self.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// The instant `later` after this one, saturating.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(later)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    /// The instant `earlier` before this one, saturating at the epoch.
    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(earlier)))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// The time from `earlier` to this instant; zero if `earlier` is the later of the two.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds, saturating.
pub(crate) const fn nanos_of(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}
