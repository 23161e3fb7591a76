//! What a limiter answers: [`Allowed`] or [`Denied`].

use core::time::Duration;

/// The answer to one request.
///
/// A refusal is not an error of the program; it is a [`Result`] so that `?`, `is_ok` and `match` read as they should.
pub type Decision = Result<Allowed, Denied>;

/// The request may pass, and its cost has been taken.
///
/// ```
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, ManualClock::new());
/// let allowed = limiter.check_n(4).expect("a fresh bucket is full");
/// assert_eq!((allowed.limit, allowed.remaining), (10, 6));
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Allowed {
    /// The most units that `remaining` can ever be: the limit of a window, the burst of a bucket.
    pub limit: u64,
    /// How many more units would pass at this instant, after this request.
    pub remaining: u64,
    /// How long until the limiter is as if it had never been used, if nothing else arrives.
    pub reset_after: Duration,
    /// How long the request should wait before it proceeds: zero for every algorithm but the leaky bucket.
    pub delay: Duration,
}

/// The request must not pass; nothing was taken.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let bucket = TokenBucket::new(Quota::per_second(10).burst(1))?;
/// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
/// assert!(limiter.check().is_ok());
///
/// // Wait, and it will pass ...
/// let denied = limiter.check().unwrap_err();
/// assert_eq!(denied.retry_after, Some(Duration::from_millis(100)));
/// // ... but the tenth of a second is a whole one in a `Retry-After` header.
/// assert_eq!(denied.retry_after_secs(), Some(1));
///
/// // No wait can help a request that costs more than the bucket holds.
/// assert_eq!(limiter.check_n(2).unwrap_err().retry_after, None);
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("rate limited: {remaining} of {limit} units left, {}", Advice(*retry_after))]
#[non_exhaustive]
pub struct Denied {
    /// The most units that `remaining` can ever be: the limit of a window, the burst of a bucket.
    pub limit: u64,
    /// How many units would pass at this instant: fewer than the request's cost.
    pub remaining: u64,
    /// How long until the limiter is as if it had never been used, if nothing else arrives.
    pub reset_after: Duration,
    /// How long until the same request passes, if nothing else arrives: it passes then and not a nanosecond earlier.
    ///
    /// `None` means that no wait can help: the cost is more than the limiter ever holds.
    pub retry_after: Option<Duration>,
}

impl Denied {
    /// `retry_after` in whole seconds, rounded up and so never 0: the value of an HTTP `Retry-After` header
    /// ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
    ///
    /// `None` where `retry_after` is `None`.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
    }
}

/// What to tell the caller in one clause.
struct Advice(Option<Duration>);

impl core::fmt::Display for Advice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(wait) => write!(f, "retry after {wait:?}"),
            None => f.write_str("the cost is more than can ever pass"),
        }
    }
}
