//! The operating system's monotonic clock, read from the processor's counter where that is reliable.

/// Nanoseconds since the first `MonotonicClock` of the process, from the processor's counter where it is reliable
/// (by way of [quanta](https://docs.rs/quanta)), otherwise from the operating system.
///
/// All clocks of a process count from the same epoch. The first one to be made takes some 10 ms (at most 200 ms) to
/// calibrate the counter. The time that the system spends suspended may not be counted.
///
/// It can be made only with the `std` feature; the type is there without, to be named.
#[derive(Clone, Debug)]
pub struct MonotonicClock {
    #[cfg(feature = "std")]
    counter: quanta::Clock,
    /// The counter at the epoch.
    #[cfg(feature = "std")]
    epoch: u64,
    #[cfg(not(feature = "std"))]
    _unmade: core::convert::Infallible,
}

#[cfg(feature = "std")]
mod with_std {
    use std::sync::OnceLock;

    use super::MonotonicClock;
    use crate::{Clock, Timestamp};

    /// The first clock, from whose making all others count.
    static FIRST: OnceLock<MonotonicClock> = OnceLock::new();

    impl MonotonicClock {
        /// The process's clock.
        #[must_use]
        pub fn new() -> Self {
            let first = FIRST.get_or_init(|| {
                let counter = quanta::Clock::new();
                let epoch = counter.raw();
                Self { counter, epoch }
            });
            first.clone()
        }
    }

    impl Default for MonotonicClock {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Clock for MonotonicClock {
        #[inline]
        fn now(&self) -> Timestamp {
            // Zero, not a wrapped number, where another core's counter lags behind the epoch.
            Timestamp::from_nanos(self.counter.delta_as_nanos(self.epoch, self.counter.raw()))
        }
    }
}
