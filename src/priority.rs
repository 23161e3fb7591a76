//! Who yields first when there is not enough for all.

use crate::Headroom;

/// How important a request is: the named levels of [`Headroom`].
///
/// There is no queue. A less important request is refused while there is still something left, so that the more important
/// ones find it.
///
/// With a bucket nobody notices as long as all together stay below its rate, and no more come at once than a level may
/// use of the burst: it regains what is to be left all the time, and under an overload critical traffic gets up to the
/// whole rate. With a window or a log, what a level leaves it never gets: background uses half of the limit at most,
/// even if nobody else comes, and of what the others have used up by the middle of a window, critical traffic has the
/// fifth that is left.
///
/// Shares are rounded down. Of a burst of 1 nobody need leave anything, so no level is shut out for ever, and there
/// priority does nothing: give a limit that has to tell levels apart a burst of 10 or more.
///
/// ```
/// use tollgate::{Limiter, ManualClock, Priority, Quota, RateLimiter, TokenBucket};
///
/// let bucket = TokenBucket::new(Quota::per_second(10))?;
/// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
/// let at = |priority: Priority| (&limiter).leaving(priority);
///
/// assert!(at(Priority::Background).check_n(5).is_ok());
/// assert!(at(Priority::Background).check().is_err()); // half of the burst stays for others
/// assert!(at(Priority::Normal).check_n(3).is_ok());
/// assert!(at(Priority::Normal).check().is_err()); // and a fifth of it for what is critical
/// assert!(at(Priority::Critical).check_n(2).is_ok());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// Can come later: it leaves 50 % of the burst, or of the window's limit.
    Background,
    /// Most requests: it leaves 20 %.
    #[default]
    Normal,
    /// Must come through if anything does: it leaves nothing.
    Critical,
}

impl Priority {
    /// What a request of this priority must leave for those of a higher one.
    #[must_use]
    pub const fn headroom(self) -> Headroom {
        match self {
            Self::Background => Headroom::percent(50),
            Self::Normal => Headroom::percent(20),
            Self::Critical => Headroom::NONE,
        }
    }
}

impl From<Priority> for Headroom {
    fn from(priority: Priority) -> Self {
        priority.headroom()
    }
}
