//! The same quotas for every crate.

use std::{num::NonZeroU32, time::Duration};

/// `limit` per `period`, and as many at once: the one description that the constructors of all crates are given.
#[derive(Clone, Copy)]
pub struct Quota {
    pub limit: u32,
    pub period: Duration,
}

impl Quota {
    /// So much that all is admitted: one per nanosecond, which every crate can hold exactly.
    pub const AMPLE: Self = Self::new(1_000_000_000, Duration::from_secs(1));

    pub const fn new(limit: u32, period: Duration) -> Self {
        Self { limit, period }
    }

    pub fn governor(self) -> governor::Quota {
        let burst = NonZeroU32::new(self.limit).expect("a limit");
        governor::Quota::with_period(self.period / self.limit).expect("a period").allow_burst(burst)
    }

    pub fn rate_net(self) -> rate_net::Quota {
        rate_net::Quota::rate(self.limit, self.period).expect("a quota")
    }
}
