//! A clock that moves only when told to.

use alloc::sync::Arc;
use core::{sync::atomic::Ordering, time::Duration};

use crate::{Clock, Timestamp, sync::plain::AtomicU64, timestamp::nanos_of};

/// A clock that stands still until it is told to move, for tests and simulations.
///
/// Clones share the time.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::new();
/// let same = clock.clone();
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(same.now(), Timestamp::from_secs(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    // Of `core` even under loom: what is modelled is the limiter, by a clock of the model's own.
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock at its epoch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock at `start`.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        let clock = Self::new();
        clock.set(start);
        clock
    }

    /// Moves on by `step`, saturating at `u64::MAX` nanoseconds.
    pub fn advance(&self, step: Duration) {
        let later = |nanos: u64| Some(nanos.saturating_add(nanos_of(step)));
        // Relaxed: the time publishes nothing but itself. The update never fails, as the closure never declines.
        let _ = self.nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Moves to `now`, which may be earlier.
    pub fn set(&self, now: Timestamp) {
        self.nanos.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}
