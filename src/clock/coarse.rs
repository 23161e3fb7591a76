//! A clock that is cheap to read because somebody else reads the real one.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::{Clock, Timestamp, sync::plain::AtomicU64};

/// A clock that shows the last time it was told; a reading is one atomic load.
///
/// It is refreshed by its owner, once per batch or per turn of an event loop, or by a thread that the owner starts
/// with `start_ticker`. It never steps back. A limiter by this clock stays within its bound by
/// the clock's own time: within a real time `d` it admits what its bound allows for `d` and one refresh interval.
///
/// Clones share the time.
///
/// ```
/// use tollgate::{CoarseClock, Limiter, Quota, RateLimiter, Timestamp, TokenBucket};
///
/// let clock = CoarseClock::new();
/// let bucket = TokenBucket::new(Quota::per_second(10).burst(1))?;
/// let limiter = RateLimiter::with_clock(bucket, clock.clone());
///
/// assert!(limiter.check().is_ok());
/// assert!(limiter.check().is_err());
/// clock.refresh(Timestamp::from_nanos(100_000_000));
/// assert!(limiter.check().is_ok());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CoarseClock {
    nanos: Arc<AtomicU64>,
}

impl CoarseClock {
    /// A clock at its epoch, until it is first refreshed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows `now` from here on, unless it shows a later time already.
    pub fn refresh(&self, now: Timestamp) {
        // Relaxed: the time publishes nothing but itself.
        self.nanos.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for CoarseClock {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

#[cfg(feature = "std")]
pub use with_std::Ticker;

#[cfg(feature = "std")]
mod with_std {
    use std::{io, sync::mpsc, thread, time::Duration};

    use super::CoarseClock;
    use crate::{Clock, MonotonicClock};

    /// A thread that refreshes a [`CoarseClock`]; it ends when this is dropped.
    #[derive(Debug)]
    #[must_use = "the thread ends when this is dropped"]
    pub struct Ticker {
        /// Hanging up wakes the thread at once and ends it.
        stop: Option<mpsc::Sender<()>>,
        thread: Option<thread::JoinHandle<()>>,
    }

    impl CoarseClock {
        /// Starts a thread that refreshes this clock from the [`MonotonicClock`] once per `interval`.
        ///
        /// The clock is first refreshed before this returns.
        ///
        /// # Errors
        ///
        /// That of [`thread::Builder::spawn`], if the operating system cannot start a thread.
        ///
        /// ```
        /// use std::time::Duration;
        /// use tollgate::{Clock, CoarseClock};
        ///
        /// let clock = CoarseClock::new();
        /// let ticker = clock.start_ticker(Duration::from_millis(1))?;
        /// let before = clock.now();
        /// while clock.now() == before {
        ///     std::thread::yield_now();
        /// }
        /// drop(ticker);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn start_ticker(&self, interval: Duration) -> io::Result<Ticker> {
            let (source, clock) = (MonotonicClock::new(), self.clone());
            clock.refresh(source.now());
            let (stop, stopped) = mpsc::channel();
            let tick = move || {
                while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                    clock.refresh(source.now());
                }
            };
            let thread = thread::Builder::new().name("tollgate-ticker".into()).spawn(tick)?;
            Ok(Ticker { stop: Some(stop), thread: Some(thread) })
        }
    }

    impl Drop for Ticker {
        fn drop(&mut self) {
            drop(self.stop.take());
            if let Some(thread) = self.thread.take() {
                // An error would be the thread's panic, and it has nothing to panic at.
                let _ = thread.join();
            }
        }
    }
}
