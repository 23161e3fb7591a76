//! The five algorithms, all with one quota.

use tollgate::{FixedWindow, LeakyBucket, Quota, QuotaError, SlidingLog, SlidingWindow, TokenBucket};

use crate::{
    outcome::{Outcome, passes},
    progress::Progress,
    timeline::Timeline,
    trace::Trace,
};

/// The most memory that the sliding logs may take together, in bytes.
const MOST_MEMORY: u128 = 1 << 30;

/// What a table of sliding logs takes for each unit of each key that it is made for, in bytes.
const BYTES_OF_UNIT: u128 = 12;

/// One of each.
#[derive(Debug)]
pub(crate) struct Algorithms {
    fixed_window: FixedWindow,
    sliding_log: SlidingLog,
    sliding_window: SlidingWindow,
    token_bucket: TokenBucket,
    leaky_bucket: LeakyBucket,
}

impl Algorithms {
    /// The buckets with all of `quota`, the others without its burst.
    pub(crate) fn new(quota: &Quota) -> Result<Self, String> {
        Self::build(quota).map_err(|error| {
            let (field, text) = (error.field(), error.to_string());
            let option = match field {
                "period" => "window",
                other => other,
            };
            format!("--{option}: {}", text.strip_prefix(&format!("{field}: ")).unwrap_or(&text))
        })
    }

    fn build(quota: &Quota) -> Result<Self, QuotaError> {
        let without_burst = Quota::new(quota.limit(), quota.period());
        Ok(Self {
            fixed_window: FixedWindow::new(without_burst)?,
            sliding_log: SlidingLog::new(without_burst)?,
            sliding_window: SlidingWindow::new(without_burst)?,
            token_bucket: TokenBucket::new(*quota)?,
            leaky_bucket: LeakyBucket::new(*quota)?,
        })
    }

    /// Refuses to keep so many sliding logs that they would fill the memory.
    pub(crate) fn check_memory(&self, keys: usize) -> Result<(), String> {
        let limit = self.sliding_log.quota().limit();
        let bytes = BYTES_OF_UNIT * u128::from(limit) * keys as u128;
        if bytes <= MOST_MEMORY {
            return Ok(());
        }
        let gib = bytes as f64 / (1u64 << 30) as f64;
        let most = MOST_MEMORY / (BYTES_OF_UNIT * keys as u128);
        Err(format!(
            "--limit: {limit} is too large for this log; the sliding log keeps 12 bytes for each unit of each key, \
             {gib:.1} GiB for {keys} keys, use at most {most}"
        ))
    }

    /// What each makes of the trace, beside its bound: the most that it promises to admit in any half-open period.
    pub(crate) fn replay(&self, trace: &Trace, capacity: usize, timeline: &Timeline) -> [Outcome; 5] {
        let input = (trace, capacity);
        let progress = Progress::of_steps("replaying", 5 * (passes(trace) + 1));
        let limit = self.fixed_window.quota().limit();
        let of_buckets = self.token_bucket.burst().saturating_add(limit - 1);
        [
            Outcome::of("fixed_window", self.fixed_window, 2 * limit, input, timeline, &progress),
            Outcome::of("sliding_log", self.sliding_log, limit, input, timeline, &progress),
            Outcome::of("sliding_window", self.sliding_window, 2 * limit - 1, input, timeline, &progress),
            Outcome::of("token_bucket", self.token_bucket, of_buckets, input, timeline, &progress),
            Outcome::of("leaky_bucket", self.leaky_bucket, of_buckets, input, timeline, &progress),
        ]
    }
}
