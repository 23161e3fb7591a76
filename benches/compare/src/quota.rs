//! The same quotas for every crate.

use std::{num::NonZeroU32, time::Duration};

/// `limit` per `period`, and as many at once: the one description that the constructors of all crates are given.
#[derive(Clone, Copy)]
pub struct Quota {
    pub limit: u32,
    pub period: Duration,
}

impl Quota {
    /// So much that all is admitted: one per nanosecond, which every bucket can hold exactly.
    pub const AMPLE: Self = Self::new(1_000_000_000, Duration::from_secs(1));

    /// So little that, once ten are spent, nothing is admitted for longer than a run takes.
    pub const SCARCE: Self = Self::new(10, Duration::from_secs(24 * 60 * 60));

    /// So much that a run does not spend it: the windows have no room for counts as large as [`Self::AMPLE`]'s.
    pub const AMPLE_WINDOW: Self = Self::new(2_000_000_000, Duration::from_secs(100 * 365 * 24 * 60 * 60));

    /// [`Self::AMPLE`]'s rate for a log of `limit` places.
    pub const fn ample_log(limit: u32) -> Self {
        Self::new(limit, Duration::from_nanos(limit as u64))
    }

    /// [`Self::SCARCE`]'s rate for a log of `limit` places.
    pub const fn scarce_log(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(Self::SCARCE.period.as_secs() / Self::SCARCE.limit as u64 * limit as u64))
    }

    const fn new(limit: u32, period: Duration) -> Self {
        Self { limit, period }
    }

    pub fn tollgate(self) -> tollgate::Quota {
        tollgate::Quota::new(self.limit.into(), self.period)
    }

    pub fn governor(self) -> governor::Quota {
        let burst = NonZeroU32::new(self.limit).expect("a limit");
        governor::Quota::with_period(self.period / self.limit).expect("a period").allow_burst(burst)
    }

    pub fn rate_net(self) -> rate_net::Quota {
        rate_net::Quota::rate(self.limit, self.period).expect("a quota")
    }

    pub fn ratelimit(self) -> ratelimit::Ratelimiter {
        let builder = ratelimit::Ratelimiter::builder(self.limit.into()).period(self.period);
        let limit = self.limit.into();
        builder.max_tokens(limit).initial_available(limit).build().expect("a quota")
    }

    /// It refills at intervals of whole milliseconds.
    pub fn leaky_bucket(self) -> leaky_bucket::RateLimiter {
        let (limit, per_ms) = (self.limit as usize, self.limit as usize / self.period.as_millis() as usize);
        let (refill, interval) =
            if per_ms > 0 { (per_ms, Duration::from_millis(1)) } else { (1, self.period / self.limit) };
        leaky_bucket::RateLimiter::builder().max(limit).initial(limit).refill(refill).interval(interval).build()
    }
}
