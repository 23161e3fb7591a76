//! Where the time comes from.
//!
//! | clock | a reading costs | choose it for |
//! | --- | --- | --- |
//! | [`MonotonicClock`] | a read of the processor's counter | most programs; the default |
//! | [`CoarseClock`] | an atomic load | gateways: one reading serves a batch or a tick |
//! | [`ManualClock`] | an atomic load | tests and simulations |

mod coarse;
mod manual;
mod monotonic;

use alloc::{boxed::Box, sync::Arc};

#[cfg(feature = "std")]
pub use coarse::Ticker;
pub use {coarse::CoarseClock, manual::ManualClock, monotonic::MonotonicClock};

use crate::Timestamp;

/// A source of time.
///
/// A clock should not step back, but a limiter stays within its bound if one does. To the limiter, time never runs
/// backwards: at an earlier time than it has seen it admits what is left at that later time, if anything, and regains
/// nothing until that time is reached again. Its bound holds for its own time, the latest that it has admitted a request
/// at. A clock that jumps ahead by `d` and back again therefore makes it refuse for up to `d`;
/// [`Limiter::reset`](crate::Limiter::reset) ends that.
///
/// ```
/// use std::time::{SystemTime, UNIX_EPOCH};
/// use tollgate::{Clock, FixedWindow, Limiter, Quota, RateLimiter, Timestamp};
///
/// /// Counts from 1970, so that windows of a day begin at midnight UTC.
/// struct UnixClock;
///
/// impl Clock for UnixClock {
///     fn now(&self) -> Timestamp {
///         let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
///         Timestamp::ZERO + since
///     }
/// }
///
/// let daily = RateLimiter::with_clock(FixedWindow::new(Quota::per_day(1_000))?, UnixClock);
/// assert!(daily.check().is_ok());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
pub trait Clock {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Box<C> {
    #[inline]
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}
