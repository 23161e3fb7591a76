//! `Quota` and `QuotaError`: which quotas each algorithm takes, to the last one, and what the others are told.
#![cfg(not(loom))]

use std::time::Duration;

use tollgate::{
    Allowed, FixedWindow, LeakyBucket, Limiter, ManualClock, Quota, QuotaError, RateLimiter, SlidingLog, SlidingWindow,
    Timestamp, TokenBucket,
};

const HORIZON: Duration = Duration::from_nanos(Timestamp::HORIZON.as_nanos());
const NANOSECOND: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

/// What each algorithm says to a quota: two windows, the log, two buckets.
fn all(quota: Quota) -> [Result<(), QuotaError>; 5] {
    [
        FixedWindow::new(quota).map(drop),
        SlidingWindow::new(quota).map(drop),
        SlidingLog::new(quota).map(drop),
        TokenBucket::new(quota).map(drop),
        LeakyBucket::new(quota).map(drop),
    ]
}

/// Asserts the field that an error names, and what its message says, as a whole.
fn assert_says(error: QuotaError, field: &str, message: &str) {
    assert_eq!(error.field(), field);
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_quota_says_what_it_was_made_of() {
    let quota = Quota::new(5, Duration::from_secs(7));
    assert_eq!((quota.limit(), quota.period(), quota.explicit_burst()), (5, Duration::from_secs(7), None));
    let quota = quota.burst(9).burst(2);
    assert_eq!((quota.limit(), quota.explicit_burst()), (5, Some(2)));
    assert_eq!(TokenBucket::new(quota).unwrap().quota(), quota);
    assert_eq!(Quota::per_minute(5), Quota::new(5, Duration::from_secs(60)));
    assert_ne!(Quota::per_second(60), Quota::per_minute(3_600), "the same rate, but another window");
}

#[test]
fn a_quota_is_made_and_checked_at_compile_time() {
    const QUOTA: Quota = Quota::per_second(100).burst(20);
    const BUCKET: TokenBucket = match TokenBucket::new(QUOTA) {
        Ok(bucket) => bucket.start_empty(),
        Err(_) => panic!("a quota that cannot be held"),
    };
    assert_eq!(BUCKET.burst(), 20);
}

#[test]
fn without_a_burst_a_bucket_passes_the_limit_at_once() {
    assert_eq!(TokenBucket::new(Quota::per_second(7)).unwrap().burst(), 7);
    assert_eq!(LeakyBucket::new(Quota::per_second(7)).unwrap().burst(), 7);
    assert_eq!(LeakyBucket::new(Quota::per_second(7).burst(9)).unwrap().burst(), 9);
}

#[test]
fn the_emission_interval_is_rounded_up() {
    assert_eq!(Quota::per_second(3).emission_interval(), Duration::from_nanos(333_333_334));
    assert_eq!(Quota::per_second(1_000_000_000_000).emission_interval(), NANOSECOND);
    assert_eq!(Quota::per_day(1).emission_interval(), Duration::from_secs(86_400));
    assert_eq!(Quota::new(0, SECOND).emission_interval(), Duration::MAX);
    assert_eq!(Quota::new(5, Duration::ZERO).emission_interval(), Duration::ZERO);
    assert_eq!(Quota::new(1, Duration::MAX).emission_interval(), Duration::MAX);
}

#[test]
fn a_limit_of_zero() {
    assert_eq!(all(Quota::per_second(0)), [Err(QuotaError::ZeroLimit); 5]);
    assert!(all(Quota::per_second(1)).iter().all(Result::is_ok));
    assert_says(QuotaError::ZeroLimit, "limit", "limit: 0 would refuse everything; use at least 1");
}

#[test]
fn a_period_of_zero() {
    assert_eq!(all(Quota::new(1, Duration::ZERO)), [Err(QuotaError::ZeroPeriod); 5]);
    assert!(all(Quota::new(1, NANOSECOND)).iter().all(Result::is_ok));
    assert_says(QuotaError::ZeroPeriod, "period", "period: 0 has no rate; use at least 1 ns");
}

#[test]
fn a_period_beyond_the_horizon() {
    assert!(all(Quota::new(1, HORIZON)).iter().all(Result::is_ok));
    for period in [HORIZON + NANOSECOND, Duration::from_secs(1 << 40), Duration::MAX] {
        assert_eq!(all(Quota::new(1, period)), [Err(QuotaError::PeriodTooLong { period }); 5]);
    }
    assert_says(
        QuotaError::PeriodTooLong { period: Duration::from_secs(5_000_000_000) },
        "period",
        "period: 5000000000s is longer than 4294967295.999999999s (136 years)",
    );
}

#[test]
fn a_burst_of_zero() {
    let [.., token, leaky] = all(Quota::per_second(5).burst(0));
    assert_eq!([token, leaky], [Err(QuotaError::ZeroBurst); 2]);
    assert_says(
        QuotaError::ZeroBurst,
        "burst",
        "burst: 0 would refuse everything; use at least 1, or leave it out for a burst of the whole limit",
    );
}

#[test]
fn a_burst_without_a_bucket() {
    // Even one that would change nothing: a reader of the configuration would believe in it.
    let [fixed, sliding, log, token, leaky] = all(Quota::per_second(5).burst(5));
    let refused = |algorithm| Err(QuotaError::BurstWithoutBucket { algorithm });
    assert_eq!([fixed, sliding, log], [refused("fixed window"), refused("sliding window"), refused("sliding log")]);
    assert!(token.is_ok() && leaky.is_ok());
    assert_says(
        QuotaError::BurstWithoutBucket { algorithm: "sliding log" },
        "burst",
        "burst: a sliding log has none, its limit is all that may pass at once; leave it out or use a bucket",
    );
}

#[test]
fn the_largest_limit_of_a_fixed_window() {
    for (period, most) in [
        (NANOSECOND, 3),
        (SECOND, (1 << 32) - 1),
        (Duration::from_secs(60), (1 << 37) - 1),
        (Duration::from_secs(86_400), (1 << 48) - 1),
        (HORIZON, (1 << 63) - 1),
    ] {
        assert!(FixedWindow::new(Quota::new(most, period)).is_ok());
        for limit in [most + 1, u64::MAX] {
            let error = QuotaError::LimitTooLarge { algorithm: "fixed window", limit, period, most };
            assert_eq!(FixedWindow::new(Quota::new(limit, period)), Err(error));
        }
    }
}

#[test]
fn the_largest_limit_of_a_sliding_window() {
    for (period, most) in [
        (NANOSECOND, 1),
        (SECOND, 65_535),
        (Duration::from_secs(60), 262_143),
        (Duration::from_secs(3_600), 2_097_151),
        (HORIZON, (1 << 31) - 1),
    ] {
        assert!(SlidingWindow::new(Quota::new(most, period)).is_ok());
        for limit in [most + 1, u64::MAX] {
            let error = QuotaError::LimitTooLarge { algorithm: "sliding window", limit, period, most };
            assert_eq!(SlidingWindow::new(Quota::new(limit, period)), Err(error));
        }
    }
    assert_says(
        SlidingWindow::new(Quota::per_second(65_536)).unwrap_err(),
        "limit",
        "limit: 65536 is too large for a sliding window of 1s; the state would wrap within a century, \
         use at most 65535, a longer period, or a token bucket",
    );
}

#[test]
fn the_largest_limit_of_a_log() {
    let most = (1 << 24) - 1;
    assert!(SlidingLog::new(Quota::per_second(most)).is_ok());
    for limit in [most + 1, u64::MAX] {
        assert_eq!(SlidingLog::new(Quota::per_second(limit)), Err(QuotaError::LogTooLong { limit, most }));
    }
    assert_says(
        QuotaError::LogTooLong { limit: 1 << 24, most },
        "limit",
        "limit: 16777216 is too large for a sliding log, which remembers each unit; use at most 16777215",
    );
}

#[test]
fn the_highest_rate_of_a_bucket() {
    let most = 1 << 42;
    let [.., token, leaky] = all(Quota::per_second(most));
    assert_eq!([token, leaky], [Ok(()); 2]);
    let too_high = QuotaError::RateTooHigh { limit: most + 1, period: SECOND, most };
    let [.., token, leaky] = all(Quota::per_second(most + 1));
    assert_eq!([token, leaky], [Err(too_high); 2]);
    // It is the rate that counts, not the limit.
    assert!(TokenBucket::new(Quota::new(60 * most, Duration::from_secs(60))).is_ok());
    assert!(TokenBucket::new(Quota::new(4_398, NANOSECOND)).is_ok());
    assert!(matches!(TokenBucket::new(Quota::new(4_399, NANOSECOND)), Err(QuotaError::RateTooHigh { .. })));
    assert!(matches!(TokenBucket::new(Quota::new(u64::MAX, NANOSECOND)), Err(QuotaError::RateTooHigh { .. })));
    assert_says(
        too_high,
        "limit",
        "limit: 4398046511105 per 1s is too fast; the state would wrap, use at most 4398046511104 per second",
    );
}

#[test]
fn the_largest_burst_of_a_bucket() {
    let quota = |burst| Quota::per_second(1_000).burst(burst);
    let [.., token, leaky] = all(quota(u64::MAX));
    let Err(error @ QuotaError::BurstTooLarge { burst: u64::MAX, most }) = token else { panic!("{token:?}") };
    assert_eq!(leaky, Err(error));
    // 136 years of tokens and the burst fill the word.
    assert_eq!(most, u64::MAX - 1_000 * (1 << 32));
    assert!(TokenBucket::new(quota(most)).is_ok());
    let error = QuotaError::BurstTooLarge { burst: most + 1, most };
    assert_eq!(TokenBucket::new(quota(most + 1)), Err(error));
    assert_says(
        error,
        "burst",
        "burst: 18446739778742255616 is too large; at this rate at most 18446739778742255615 fits in the state",
    );

    // Where tokens are counted modulo 2^64, a quarter of that.
    let quota = |burst| Quota::per_second(1_000_000_000_000).burst(burst);
    let most = 1 << 62;
    assert!(TokenBucket::new(quota(most)).is_ok());
    assert_eq!(TokenBucket::new(quota(most + 1)), Err(QuotaError::BurstTooLarge { burst: most + 1, most }));

    // The limit stands for the burst, and is blamed as such.
    let limit = u64::MAX;
    let error = TokenBucket::new(Quota::new(limit, HORIZON)).unwrap_err();
    assert!(matches!(error, QuotaError::BurstTooLarge { burst, .. } if burst == limit), "{error}");
}

#[test]
fn the_largest_start_of_a_bucket() {
    let error = QuotaError::StartTooLarge { start: 6, burst: 5 };
    let token = TokenBucket::new(Quota::per_second(9).burst(5)).unwrap();
    assert_eq!((token.start_with(5), token.start_with(6)), (Ok(token), Err(error)));
    let leaky = LeakyBucket::new(Quota::per_second(9).burst(5)).unwrap();
    assert_eq!((leaky.start_with(5), leaky.start_with(6)), (Ok(leaky), Err(error)));
    assert_eq!(token.start_with(0), Ok(token.start_empty()));
    assert_says(error, "start", "start: 6 units are more than the burst of 5; start with at most that");
}

/// What a bucket starts with is what it has, wherever its clock starts, and again after a reset.
#[test]
fn a_bucket_starts_with_what_it_was_told() {
    for origin in [Timestamp::ZERO, Timestamp::from_nanos(1), Timestamp::from_secs(1_790_000_000)] {
        for (rate, start) in [(10, 3), (7, 7), (1_000_000_000_000, 250_000_000_000)] {
            let bucket = TokenBucket::new(Quota::per_second(rate)).unwrap().start_with(start).unwrap();
            let limiter = RateLimiter::with_clock(bucket, ManualClock::starting_at(origin));
            assert!(limiter.check_n(start + 1).is_err(), "{start} of {rate}");
            assert_eq!(limiter.check_n(start).map(|allowed| allowed.remaining), Ok(0));
            limiter.clock().advance(SECOND * 5);
            limiter.reset();
            assert_eq!(limiter.peek_n(start).map(|allowed| allowed.remaining), Ok(0));
            limiter.clock().advance(SECOND);
            assert_eq!(limiter.check_n(rate).map(|allowed| allowed.remaining), Ok(0), "full a second later");
        }
    }
    // A line that is full at the start: the first who gets in waits for all but one of those before.
    let bucket = LeakyBucket::new(Quota::per_second(10)).unwrap().start_empty();
    let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
    assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(100)));
    let delay = |allowed: Allowed| allowed.delay;
    assert_eq!(limiter.check_at(Timestamp::from_nanos(100_000_000)).map(delay), Ok(Duration::from_millis(900)));
}

/// Errors are errors, and small enough to be passed around.
#[test]
fn errors_are_errors() {
    fn is_error<E: std::error::Error + Send + Sync + Copy + 'static>(error: E) -> Box<dyn std::error::Error> {
        Box::new(error)
    }
    assert!(is_error(QuotaError::ZeroLimit).source().is_none());
}
