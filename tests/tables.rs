//! The tables by which other limiters are tested, restated in our words: whoever comes from one of them finds the same
//! answers here.
#![cfg(not(loom))]

use std::time::Duration;

use tollgate::{Decision, FixedWindow, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, Timestamp, TokenBucket};

fn bucket(quota: Quota) -> RateLimiter<TokenBucket, ManualClock> {
    RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), ManualClock::new())
}

/// Origins: a table must not depend on where its clock starts.
const ORIGINS: [Timestamp; 3] = [Timestamp::ZERO, Timestamp::from_nanos(1), Timestamp::from_secs(1_790_000_000)];

/// Runs rows of (milliseconds, cost, passes).
fn run(quota: Quota, rows: &[(u64, u64, bool)]) {
    for origin in ORIGINS {
        let bucket = bucket(quota);
        for &(millis, cost, passes) in rows {
            let answer = bucket.check_n_at(cost, origin + Duration::from_millis(millis));
            assert_eq!(answer.is_ok(), passes, "{cost} after {millis} ms from {origin:?}: {answer:?}");
        }
    }
}

/// throttled and redis-cell: one per second, a burst of five; the rows with limit, remaining, reset and retry.
///
/// Their `MaxBurst` counts on top of the first unit: 4 there is a burst of 5 here. A retry of -1 there is no
/// refusal, or none that a wait can help.
#[test]
fn throttled_and_redis_cell() {
    let ms = Duration::from_millis;
    /// Milliseconds, cost, remaining, reset, and for a refusal the retry.
    type Row = (u64, u64, u64, u64, Option<Option<u64>>);
    let rows: [Row; 15] = [
        (0, 6, 5, 0, Some(None)),
        (0, 1, 4, 1_000, None),
        (0, 1, 3, 2_000, None),
        (0, 1, 2, 3_000, None),
        (0, 1, 1, 4_000, None),
        (0, 1, 0, 5_000, None),
        (0, 1, 0, 5_000, Some(Some(1_000))),
        (3_000, 1, 2, 3_000, None),
        (3_100, 1, 1, 3_900, None),
        (4_000, 1, 1, 4_000, None),
        (8_000, 1, 4, 1_000, None),
        (9_500, 1, 4, 1_000, None),
        (9_500, 0, 4, 1_000, None),
        (9_500, 2, 2, 3_000, None),
        (9_500, 5, 2, 3_000, Some(Some(3_000))),
    ];
    for origin in ORIGINS {
        let bucket = bucket(Quota::per_second(1).burst(5));
        for (row, (now, cost, remaining, reset, refusal)) in rows.into_iter().enumerate() {
            let answer = bucket.check_n_at(cost, origin + ms(now));
            let found = match answer {
                Ok(allowed) => (allowed.limit, allowed.remaining, allowed.reset_after, None),
                Err(denied) => (denied.limit, denied.remaining, denied.reset_after, Some(denied.retry_after)),
            };
            let expected = (5, remaining, ms(reset), refusal.map(|retry| retry.map(ms)));
            assert_eq!(found, expected, "row {row} from {origin:?}");
        }
    }
}

/// redis-cell's example: `CL.THROTTLE user123 15 30 60` is 30 per minute with 15 on top of the first. It answers "not
/// limited, limit 16, remaining 15, no retry, reset in 2 s".
#[test]
fn redis_cell_example() {
    let allowed = bucket(Quota::per_minute(30).burst(16)).check().unwrap();
    assert_eq!((allowed.limit, allowed.remaining), (16, 15));
    assert_eq!(allowed.reset_after, Duration::from_secs(2));
}

/// redis-cell: rates as emission intervals.
#[test]
fn redis_cell_rates() {
    for (quota, interval) in [
        (Quota::per_day(24), Duration::from_secs(3_600)),
        (Quota::per_hour(6), Duration::from_secs(600)),
        (Quota::per_minute(6), Duration::from_secs(10)),
        (Quota::new(6, Duration::from_secs(120)), Duration::from_secs(20)),
        (Quota::per_second(5), Duration::from_millis(200)),
    ] {
        assert_eq!(quota.emission_interval(), interval);
    }
}

/// x/time/rate: ten per second, a burst of one.
#[test]
fn x_time_rate_burst_of_one() {
    run(
        Quota::per_second(10).burst(1),
        &[
            (0, 1, true),
            (0, 1, false),
            (0, 1, false),
            (100, 1, true),
            (100, 1, false),
            (100, 1, false),
            (200, 2, false),
            (200, 1, true),
            (200, 1, false),
        ],
    );
}

/// x/time/rate: ten per second, a burst of three.
///
/// The last row differs: a cost of 0 always passes there, and asks for one unit here.
#[test]
fn x_time_rate_burst_of_three() {
    run(
        Quota::per_second(10).burst(3),
        &[
            (0, 2, true),
            (0, 2, false),
            (0, 1, true),
            (0, 1, false),
            (100, 4, false),
            (200, 1, true),
            (300, 1, true),
            (400, 1, true),
            (400, 1, true),
            (400, 1, false),
            (400, 1, false),
            (900, 3, true),
            (900, 0, false),
        ],
    );
}

/// x/time/rate: the clock jumps back.
///
/// It differs on purpose: there "last" is set back, two units pass at 0 ms and the time from 0 to 100 ms is paid for
/// again. Here what is in use at 100 ms is in use at 0 ms as well, and so is the unit regained since.
#[test]
fn x_time_rate_jump_backwards() {
    run(
        Quota::per_second(10).burst(3),
        &[
            (100, 1, true),
            (0, 1, true),
            (0, 1, false),
            (0, 1, false),
            (100, 1, true),
            (100, 1, false),
            (100, 1, false),
            (200, 1, true),
            (200, 1, false),
            (200, 1, false),
        ],
    );
}

/// x/time/rate: a rate that is no whole number, 0.7692307692307693 per second, is 10 per 13 s.
#[test]
fn x_time_rate_no_truncation() {
    let bucket = bucket(Quota::new(10, Duration::from_secs(13)).burst(1));
    assert!(bucket.check().is_ok());
    assert_eq!(bucket.check().unwrap_err().retry_after, Some(Duration::from_millis(1_300)));
}

/// x/time/rate: what it reserves at once, as delays of a leaky bucket. There the burst goes first and what is over waits;
/// here everyone is spaced.
#[test]
fn x_time_rate_intervals() {
    for (quota, interval) in [
        (Quota::per_second(1_000_000_000), Duration::from_nanos(1)),
        (Quota::per_second(1_000_000), Duration::from_micros(1)),
        (Quota::per_second(1_000), Duration::from_millis(1)),
        (Quota::per_second(10), Duration::from_millis(100)),
        (Quota::new(2, Duration::from_secs(5)), Duration::from_millis(2_500)),
        (Quota::new(1, Duration::from_secs(4)), Duration::from_secs(4)),
    ] {
        let leaky = RateLimiter::with_clock(LeakyBucket::new(quota.burst(4)).unwrap(), ManualClock::new());
        let delays = [(); 4].map(|()| leaky.check().unwrap().delay);
        assert_eq!(delays, [Duration::ZERO, interval, interval * 2, interval * 3]);
    }
}

/// governor: its direct limiter, two per second.
#[test]
fn governor_rejects_too_many() {
    run(
        Quota::per_second(2),
        &[(0, 1, true), (1, 1, true), (2, 1, false), (1_002, 1, true), (1_003, 1, true), (1_004, 1, false)],
    );
}

/// governor: costs of several units, four per second.
#[test]
fn governor_rejects_too_many_of_several_units() {
    run(
        Quota::per_second(4),
        &[(0, 2, true), (0, 2, true), (1, 2, false), (1_001, 2, true), (1_002, 2, true), (1_003, 2, false)],
    );
}

/// governor: no more than the burst, however long it waited; an `InsufficientCapacity` there has no `retry_after` here.
#[test]
fn governor_never_passes_more_than_the_burst() {
    run(Quota::per_second(5), &[(0, 15, false), (3_000, 15, false), (20_000, 15, false)]);
    let bucket = bucket(Quota::per_second(5));
    for cost in [15, 7, 6] {
        assert_eq!(bucket.check_n(cost).unwrap_err().retry_after, None);
    }
    assert!(bucket.check_n(5).is_ok());
}

/// governor: no cell too many after a pause that is longer than the bucket takes to fill.
#[test]
fn governor_passes_no_extra_unit_after_a_pause() {
    let five = |at| [(at, 1, true); 5].into_iter().chain([(at, 1, false)]);
    run(Quota::per_second(5), &five(0).chain(five(2_000)).collect::<Vec<_>>());
}

/// governor: twenty requests a millisecond apart, each of which waits as told if it has to; all of them pass.
#[test]
fn governor_waits_are_right() {
    let bucket = bucket(Quota::per_second(5));
    let mut now = Timestamp::ZERO;
    for _ in 0..20 {
        now = now + Duration::from_millis(1);
        if let Err(denied) = bucket.check_at(now) {
            now = now + denied.retry_after.unwrap();
            assert!(bucket.check_at(now).is_ok());
        }
    }
    // Five at once and fifteen at 200 ms each, from the first request on.
    assert_eq!(now, Timestamp::from_nanos(3_001_000_000));
}

/// nginx: `limit_req rate=10r/s burst=4` delays up to four behind the one that is served; more are rejected.
#[test]
fn nginx_delays_and_rejects() {
    let limiter =
        RateLimiter::with_clock(LeakyBucket::new(Quota::per_second(10).burst(5)).unwrap(), ManualClock::new());
    let delay = |answer: Decision| answer.map(|allowed| allowed.delay.as_millis()).ok();
    let delays = [(); 6].map(|()| delay(limiter.check()));
    assert_eq!(delays, [Some(0), Some(100), Some(200), Some(300), Some(400), None]);
    limiter.clock().advance(Duration::from_millis(100));
    assert_eq!([(); 2].map(|()| delay(limiter.check())), [Some(400), None]);
}

/// Redis' `INCR` and `EXPIRE` recipe, as everybody writes it: ten per minute of the clock.
#[test]
fn incr_and_expire() {
    let limiter = RateLimiter::with_clock(FixedWindow::new(Quota::per_minute(10)).unwrap(), ManualClock::new());
    for left in (0..10).rev() {
        let allowed = limiter.check_at(Timestamp::from_secs(59)).unwrap();
        assert_eq!((allowed.remaining, allowed.reset_after), (left, Duration::from_secs(1)));
    }
    let denied = limiter.check_at(Timestamp::from_secs(59)).unwrap_err();
    assert_eq!(denied.retry_after, Some(Duration::from_secs(1)));
    assert!(limiter.check_at(Timestamp::from_secs(60)).is_ok());
}
