//! The bound of each algorithm: the most that it admits in any period, whatever the caller does.
//!
//! Each is asserted twice over. That no adversary gets past it, and that one reaches it: a bound that nobody reaches
//! would hide a limiter that is too strict, or documentation that is too modest.
#![cfg(not(loom))]

use std::time::Duration;

use tollgate::{
    FixedWindow, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, SlidingLog, SlidingWindow, Timestamp,
    TokenBucket,
};

const MILLISECOND: u64 = 1_000_000;

/// When units were admitted, and how many.
type Admitted = Vec<(u64, u64)>;

fn limiter<A: tollgate::Algorithm>(algorithm: A) -> RateLimiter<A, ManualClock> {
    RateLimiter::with_clock(algorithm, ManualClock::new())
}

/// As many single units at `now` as pass.
fn take_all(limiter: &impl Limiter, now: u64) -> u64 {
    let mut taken = 0;
    while limiter.check_at(Timestamp::from_nanos(now)).is_ok() {
        taken += 1;
    }
    taken
}

/// The most units admitted within any `time`: from any instant to the last one that is less than that later.
fn most_within(admitted: &Admitted, time: u64) -> u64 {
    let (mut most, mut sum, mut last) = (0, 0, 0);
    for &(begin, units) in admitted {
        while last < admitted.len() && admitted[last].0 < begin + time {
            sum += admitted[last].1;
            last += 1;
        }
        most = most.max(sum);
        sum -= units;
    }
    most
}

/// The most units that any of many adversaries gets in any 100 ms, probing every millisecond for half a second.
///
/// Each of them keeps still until some millisecond, takes all there is, keeps still again for a while, and from then on
/// takes all there is in each millisecond.
fn most_in_100_ms<A: tollgate::Algorithm>(algorithm: A) -> u64 {
    let fresh = limiter(algorithm);
    let mut most = 0;
    for start in (0..200).filter(|start| start % 10 < 2 || start % 10 == 9) {
        for pause in [1, 2, 5, 9, 10, 11, 50, 90, 91, 99, 100, 101, 110] {
            fresh.reset_at(Timestamp::ZERO);
            let mut admitted = vec![(start * MILLISECOND, take_all(&fresh, start * MILLISECOND))];
            for now in (start + pause..500).map(|now| now * MILLISECOND) {
                admitted.push((now, take_all(&fresh, now)));
            }
            most = most.max(most_within(&admitted, 100 * MILLISECOND));
        }
    }
    most
}

/// Ten per 100 ms.
fn ten() -> Quota {
    Quota::new(10, Duration::from_millis(100))
}

#[test]
fn a_sliding_log_admits_the_limit_in_any_period() {
    assert_eq!(most_in_100_ms(SlidingLog::new(ten()).unwrap()), 10);
}

#[test]
fn a_fixed_window_admits_twice_the_limit_in_some_period_and_no_more() {
    assert_eq!(most_in_100_ms(FixedWindow::new(ten()).unwrap()), 20);
}

#[test]
fn a_sliding_window_admits_one_less_than_twice_the_limit_in_some_period_and_no_more() {
    assert_eq!(most_in_100_ms(SlidingWindow::new(ten()).unwrap()), 19);
}

#[test]
fn a_token_bucket_admits_the_burst_and_one_less_than_the_limit_in_some_period_and_no_more() {
    assert_eq!(most_in_100_ms(TokenBucket::new(ten()).unwrap()), 19);
    for burst in [1, 2, 9, 11, 40] {
        assert_eq!(most_in_100_ms(TokenBucket::new(ten().burst(burst)).unwrap()), burst + 9);
    }
}

#[test]
fn a_leaky_bucket_books_the_burst_and_one_less_than_the_limit_in_some_period_and_no_more() {
    assert_eq!(most_in_100_ms(LeakyBucket::new(ten()).unwrap()), 19);
    for burst in [1, 2, 9, 11, 40] {
        assert_eq!(most_in_100_ms(LeakyBucket::new(ten().burst(burst)).unwrap()), burst + 9);
    }
}

/// The most that any adversary gets within `time` nanoseconds, exactly: all who ask at some of 13 instants, one
/// nanosecond apart, and take all there is or one unit.
fn most_of_all_adversaries<A: tollgate::Algorithm>(algorithm: A, origin: u64, times: &[u64]) -> Vec<u64> {
    const INSTANTS: u64 = 13;
    let fresh = limiter(algorithm);
    let mut most = vec![0; times.len()];
    for one_each in [false, true] {
        for asked in 0_u32..1 << INSTANTS {
            fresh.reset_at(Timestamp::from_nanos(origin));
            let mut admitted = Admitted::new();
            for now in (0..INSTANTS).filter(|instant| asked >> instant & 1 == 1).map(|instant| origin + instant) {
                let taken = if one_each {
                    u64::from(fresh.check_at(Timestamp::from_nanos(now)).is_ok())
                } else {
                    take_all(&fresh, now)
                };
                admitted.push((now, taken));
            }
            for (most, &time) in most.iter_mut().zip(times) {
                *most = most_within(&admitted, time).max(*most);
            }
        }
    }
    most
}

/// Origins that begin a window of 4 ns, and one that does not.
const ORIGINS: [u64; 3] = [0, 1_790_000_000_000_000_000, 1_790_000_000_000_000_003];

/// Two per 4 ns.
fn two() -> Quota {
    Quota::new(2, Duration::from_nanos(4))
}

#[test]
fn no_adversary_gets_past_the_bound_and_one_reaches_it() {
    for origin in ORIGINS {
        assert_eq!(most_of_all_adversaries(SlidingLog::new(two()).unwrap(), origin, &[4]), [2]);
        assert_eq!(most_of_all_adversaries(FixedWindow::new(two()).unwrap(), origin, &[4]), [4]);
        assert_eq!(most_of_all_adversaries(SlidingWindow::new(two()).unwrap(), origin, &[4]), [3]);
        assert_eq!(most_of_all_adversaries(TokenBucket::new(two()).unwrap(), origin, &[4]), [3]);
        assert_eq!(most_of_all_adversaries(LeakyBucket::new(two()).unwrap(), origin, &[4]), [3]);
    }
}

#[test]
fn a_sliding_window_of_one_unit_admits_it_once_in_any_period() {
    let one = Quota::new(1, Duration::from_nanos(4));
    for origin in ORIGINS {
        assert_eq!(most_of_all_adversaries(SlidingWindow::new(one).unwrap(), origin, &[4]), [1]);
    }
}

/// `burst + floor(limit * d / period)` within any time `d`, both ends included.
#[test]
fn a_bucket_admits_the_burst_and_what_is_gained_within_any_time() {
    // Both ends included: less than `d + 1` apart.
    let within: Vec<u64> = (1..=10).collect();
    for origin in [0, 1_790_000_000_000_000_003] {
        for (burst, limit, period) in [(1, 2, 4), (3, 2, 4), (1, 1, 3), (2, 1, 3), (2, 3, 4), (3, 3, 4)] {
            let quota = Quota::new(limit, Duration::from_nanos(period)).burst(burst);
            let bound: Vec<u64> = within.iter().map(|time| burst + limit * (time - 1) / period).collect();
            assert_eq!(most_of_all_adversaries(TokenBucket::new(quota).unwrap(), origin, &within), bound, "{quota:?}");
            assert_eq!(most_of_all_adversaries(LeakyBucket::new(quota).unwrap(), origin, &within), bound, "{quota:?}");
        }
    }
}

/// At more than one unit per nanosecond, the rounding by at most 0.47 ns is a part of a unit that shows.
#[test]
fn a_fast_bucket_admits_what_is_gained_within_half_a_nanosecond_more() {
    let within: Vec<u64> = (1..=10).collect();
    for origin in ORIGINS {
        for (burst, limit, period) in [(4, 5, 4), (3, 7, 5), (9, 17, 4)] {
            let quota = Quota::new(limit, Duration::from_nanos(period)).burst(burst);
            let most = most_of_all_adversaries(TokenBucket::new(quota).unwrap(), origin, &within);
            for (time, most) in within.iter().map(|time| time - 1).zip(most) {
                let exact = burst + limit * time / period;
                let rounded = burst + limit * (100 * time + 47) / (100 * period);
                assert!((exact..=rounded).contains(&most), "{most} of {quota:?} within {time} ns");
            }
        }
    }
}

/// A log of 100,000 units, in costs of up to a thousand: still the limit in any period.
#[test]
fn a_long_log_admits_the_limit_in_any_period() {
    let (limit, period) = (100_000, 1_000_000);
    let log = limiter(SlidingLog::new(Quota::new(limit, Duration::from_nanos(period))).unwrap());
    let mut admitted = Admitted::new();
    for now in (0..4 * period).step_by(3_001) {
        for cost in [999, 1, 500] {
            if log.check_n_at(cost, Timestamp::from_nanos(now)).is_ok() {
                admitted.push((now, cost));
            }
        }
    }
    let most = most_within(&admitted, period);
    assert!((limit - 999..=limit).contains(&most), "{most}");
}

/// A burst of the whole limit at a window's beginning blocks for a window and the part of one unit in the next.
#[test]
fn a_sliding_window_first_admits_again_after_a_window_and_the_share_of_one_unit() {
    for (limit, period) in [(1, 1_000), (4, 60_000), (10, 1_000), (1_000, 3_600_000)] {
        let (period, window) = (period * MILLISECOND, Duration::from_millis(period));
        for start in [0, 7 * period] {
            let limiter = limiter(SlidingWindow::new(Quota::new(limit, window)).unwrap());
            let at = |after: u64| Timestamp::from_nanos(start + after);
            assert!(limiter.check_n_at(limit, at(0)).is_ok());
            let first = period + period / limit;
            let wait = limiter.check_at(at(0)).unwrap_err().retry_after;
            assert_eq!(wait, Some(Duration::from_nanos(first)), "{limit} per {window:?}");
            for after in (0..first).step_by((period / 97) as usize).chain([first - 1]) {
                assert!(limiter.check_at(at(after)).is_err(), "after {after} ns");
            }
            assert!(limiter.check_at(at(first)).is_ok());
        }
    }
}

/// What leaves a leaky bucket, if everyone waits for the delay: one emission interval per unit apart, without exception
/// while anyone is in line.
#[test]
fn departures_from_a_leaky_bucket_are_evenly_spaced() {
    let interval = 10 * MILLISECOND;
    let limiter = limiter(LeakyBucket::new(ten()).unwrap());
    // Arrivals all at once, in a flood, and now and then.
    let arrivals = [0; 7].into_iter().chain(1..200).chain((200..2_000).step_by(37)).map(|millis| millis * MILLISECOND);
    let mut free_at = 0;
    let mut departed = Admitted::new();
    for (nth, now) in arrivals.enumerate() {
        let cost = [1, 1, 3][nth % 3];
        if let Ok(allowed) = limiter.check_n_at(cost, Timestamp::from_nanos(now)) {
            let departure = now + allowed.delay.as_nanos() as u64;
            assert_eq!(departure, now.max(free_at), "unit {nth} at {now}");
            free_at = departure + cost * interval;
            departed.push((departure, 1));
        }
    }
    assert!(departed.len() > 50, "{}", departed.len());
    assert_eq!(most_within(&departed, interval), 1);
}

/// The same for a rate whose interval is no whole number of nanoseconds: `floor(limit * d / period) + 1` within `d`.
#[test]
fn departures_do_not_bunch_where_the_interval_is_a_fraction() {
    let limiter = limiter(LeakyBucket::new(Quota::per_second(3).burst(30)).unwrap());
    let mut departures = Vec::new();
    while let Ok(allowed) = limiter.check_at(Timestamp::ZERO) {
        departures.push(allowed.delay.as_nanos());
    }
    let exact: Vec<u128> = (0..30_u128).map(|nth| (nth * 1_000_000_000).div_ceil(3)).collect();
    assert_eq!(departures, exact);
}

/// The fixed window gives the limit in each window, the sliding one no more than that on average.
#[test]
fn a_caller_that_always_asks_gets_no_more_than_the_limit_per_window() {
    for (limit, period) in [(1, 1_000_u64), (2, 1_000), (7, 5_000), (10, 1_000), (60, 60_000)] {
        let quota = Quota::new(limit, Duration::from_millis(period));
        let (sliding, fixed) = (limiter(SlidingWindow::new(quota).unwrap()), limiter(FixedWindow::new(quota).unwrap()));
        let windows = 100;
        let always_asks = |limiter: &dyn Limiter| {
            let (mut now, mut taken) = (Timestamp::ZERO, 0);
            while now < Timestamp::from_nanos(windows * period * MILLISECOND) {
                match limiter.check_at(now) {
                    Ok(_) => taken += 1,
                    Err(denied) => now = now + denied.retry_after.unwrap(),
                }
            }
            taken
        };
        assert_eq!(always_asks(&fixed), windows * limit);
        // The last unit of a window would need the one before it to have gone: one less than the limit, after the
        // first burst. Of a limit of 1 that is a unit in every other window.
        let expected = if limit == 1 { windows / 2 } else { windows * (limit - 1) + 1 };
        assert_eq!(always_asks(&sliding), expected, "{limit}");
    }
}
