//! How to wait for a time to pass, without knowing which executor does it.

use core::{future::Future, time::Duration};

/// What wakes a task after a time: the timer of an executor, handed in. [`Line::wait`](crate::Line::wait) sleeps by it.
///
/// With the feature `tokio` there is `TokioTimer`. For another executor it is a few lines:
///
/// ```
/// use std::{future::{Ready, ready}, time::Duration};
/// use tollgate::{ManualClock, Timer};
///
/// /// For tests: instead of sleeping it moves the clock on.
/// struct Skip(ManualClock);
///
/// impl Timer for Skip {
///     type Sleep = Ready<()>;
///
///     fn sleep(&self, duration: Duration) -> Ready<()> {
///         self.0.advance(duration);
///         ready(())
///     }
/// }
/// ```
pub trait Timer {
    /// What [`sleep`](Self::sleep) returns.
    type Sleep: Future<Output = ()>;

    /// A future that is ready after `duration`, which begins now, and not when it is first polled.
    ///
    /// Earlier is harmless: who wakes looks at the clock. It may be dropped before.
    fn sleep(&self, duration: Duration) -> Self::Sleep;
}

impl<T: Timer + ?Sized> Timer for &T {
    type Sleep = T::Sleep;

    fn sleep(&self, duration: Duration) -> T::Sleep {
        (**self).sleep(duration)
    }
}

/// Tokio's timer. The runtime needs it enabled: `enable_time`, or `enable_all`.
///
/// It counts in milliseconds, and rounds up.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTimer;

#[cfg(feature = "tokio")]
impl Timer for TokioTimer {
    type Sleep = tokio::time::Sleep;

    /// # Panics
    ///
    /// As `tokio::time::sleep` does outside of a runtime with a timer.
    fn sleep(&self, duration: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(duration)
    }
}
