//! The time of a key's life: seconds since 1970.

use core::{ops::Add, time::Duration};

/// Seconds since the Unix epoch, from 0 to `u64::MAX`.
///
/// The times in a key's record have to mean the same on every machine and after every restart, so they are of another
/// type than a limiter's [`Timestamp`](crate::Timestamp), which counts from wherever its clock does.
///
/// ```
/// use std::time::Duration;
/// use tollgate::keys::UnixTime;
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// assert_eq!(now + Duration::from_secs(60), UnixTime::from_secs(1_700_000_060));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The first second of 1970.
    pub const EPOCH: Self = Self(0);

    /// The last second that there is; no time is after it.
    pub const MAX: Self = Self(u64::MAX);

    /// `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// The time by the operating system's calendar clock; 1970 if that is set to a time before.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.unwrap_or_default().as_secs())
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    /// The time `later` after this one, saturating; parts of a second are dropped.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later.as_secs()))
    }
}
