//! `Timestamp`: saturating arithmetic, and time that stands still at the horizon.
#![cfg(not(loom))]

use std::time::Duration;

use tollgate::{
    FixedWindow, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, SlidingLog, SlidingWindow, Timestamp,
    TokenBucket,
};

const NANOSECOND: Duration = Duration::from_nanos(1);
const LAST: Timestamp = Timestamp::from_nanos(u64::MAX);

#[test]
fn units_are_nanoseconds_and_seconds_since_the_epoch() {
    assert_eq!(Timestamp::ZERO.as_nanos(), 0);
    assert_eq!(Timestamp::default(), Timestamp::ZERO);
    assert_eq!(Timestamp::from_nanos(17).as_nanos(), 17);
    assert_eq!(Timestamp::from_secs(17), Timestamp::from_nanos(17_000_000_000));
}

#[test]
fn the_horizon_is_the_end_of_2_to_the_32_seconds() {
    assert_eq!(Timestamp::HORIZON + NANOSECOND, Timestamp::from_secs(1 << 32));
}

#[test]
fn differences_are_durations_and_never_negative() {
    let [early, late] = [3, 10].map(Timestamp::from_secs);
    assert_eq!(late - early, Duration::from_secs(7));
    assert_eq!(early - late, Duration::ZERO);
    assert_eq!(LAST - Timestamp::ZERO, Duration::from_nanos(u64::MAX));
}

#[test]
fn sums_saturate_at_both_ends() {
    assert_eq!(Timestamp::from_secs(1) + Duration::from_millis(500), Timestamp::from_nanos(1_500_000_000));
    assert_eq!(LAST - NANOSECOND + NANOSECOND, LAST);
    for long in [NANOSECOND, Duration::from_nanos(u64::MAX), Duration::from_secs(1 << 40), Duration::MAX] {
        assert_eq!(LAST + long, LAST);
        assert_eq!(Timestamp::ZERO - long, Timestamp::ZERO);
    }
    // A duration that does not fit in 64 bits of nanoseconds is not taken for what is left of it.
    let long = Duration::from_nanos(u64::MAX) + NANOSECOND * 6;
    assert_eq!(Timestamp::from_nanos(1) + long, LAST);
    assert_eq!(LAST - long, Timestamp::ZERO);
    assert_eq!(Timestamp::from_secs(u64::MAX), LAST);
    assert_eq!(Timestamp::from_secs(18_446_744_073), Timestamp::from_nanos(18_446_744_073_000_000_000));
    assert_eq!(Timestamp::from_secs(18_446_744_074), LAST);
}

#[test]
fn order_is_that_of_time() {
    let mut times = [LAST, Timestamp::from_nanos(1), Timestamp::HORIZON, Timestamp::ZERO];
    times.sort();
    assert_eq!(times, [Timestamp::ZERO, Timestamp::from_nanos(1), Timestamp::HORIZON, LAST]);
}

#[test]
fn debug_reads_as_a_duration() {
    assert_eq!(format!("{:?}", Timestamp::from_nanos(1_500_000_000)), "Timestamp(1.5s)");
}

/// From the horizon on, what was admitted stays admitted, and nothing is regained: no algorithm admits more than once
/// what it would at the horizon itself.
#[test]
fn time_stands_still_for_a_limiter_from_the_horizon_on() {
    let quota = Quota::per_second(10);
    let clock = || ManualClock::new();
    let limiters: [Box<dyn Limiter>; 5] = [
        Box::new(RateLimiter::with_clock(FixedWindow::new(quota).unwrap(), clock())),
        Box::new(RateLimiter::with_clock(SlidingWindow::new(quota).unwrap(), clock())),
        Box::new(RateLimiter::with_clock(SlidingLog::new(quota).unwrap(), clock())),
        Box::new(RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), clock())),
        Box::new(RateLimiter::with_clock(LeakyBucket::new(quota).unwrap(), clock())),
    ];
    let later = [Timestamp::HORIZON, Timestamp::HORIZON + NANOSECOND, Timestamp::from_secs(1 << 33), LAST];
    for limiter in limiters {
        assert!(limiter.check_n_at(4, Timestamp::HORIZON).is_ok());
        for now in later {
            assert_eq!(limiter.peek_at(now), limiter.peek_at(Timestamp::HORIZON), "{now:?}");
        }
        let admitted: usize = later.iter().map(|&now| (0..20).filter(|_| limiter.check_at(now).is_ok()).count()).sum();
        assert_eq!(admitted, 6);
        limiter.reset_at(LAST);
        assert!(limiter.check_n_at(10, LAST).is_ok());
        assert!(limiter.check_at(LAST).is_err());
    }
}
