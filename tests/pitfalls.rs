//! Bugs that other rate limiters shipped, each as a test of ours, named for the behaviour that was missing.
//!
//! The line above each test says what went wrong, and where.
#![cfg(not(loom))]

use std::{
    future::{Future, Pending, pending},
    sync::{Arc, Barrier},
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use tollgate::{
    Algorithm, Clock, CoarseClock, Composite, FixedWindow, IpKey, KeyedLimiter, LeakyBucket, Limiter, Line,
    ManualClock, MonotonicClock, Quota, QuotaError, RateLimiter, Reserve, SlidingLog, SlidingWindow, Timer, Timestamp,
    TokenBucket, WaitError,
};

const SECOND: u64 = 1_000_000_000;

fn limiter<A: Algorithm>(algorithm: Result<A, QuotaError>) -> RateLimiter<A, ManualClock> {
    RateLimiter::with_clock(algorithm.expect("a quota that can be held"), ManualClock::new())
}

fn bucket(quota: Quota) -> RateLimiter<TokenBucket, ManualClock> {
    limiter(TokenBucket::new(quota))
}

type Any = Arc<dyn Limiter + Send + Sync>;

/// All five algorithms under one quota, by one clock.
fn all(quota: Quota, clock: &ManualClock) -> [(&'static str, Any); 5] {
    fn any<A: Algorithm + 'static>(algorithm: Result<A, QuotaError>, clock: &ManualClock) -> Any {
        Arc::new(RateLimiter::with_clock(algorithm.expect("a quota that can be held"), clock.clone()))
    }
    [
        ("fixed window", any(FixedWindow::new(quota), clock)),
        ("sliding window", any(SlidingWindow::new(quota), clock)),
        ("sliding log", any(SlidingLog::new(quota), clock)),
        ("token bucket", any(TokenBucket::new(quota), clock)),
        ("leaky bucket", any(LeakyBucket::new(quota), clock)),
    ]
}

fn nanos(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

/// Takes one unit at a time, at `now`, until refused.
fn take_all(limiter: &(impl Limiter + ?Sized), now: Timestamp) -> u64 {
    let mut taken = 0;
    while limiter.check_at(now).is_ok() {
        taken += 1;
    }
    taken
}

/// What is left at `now`, as one number.
fn room(limiter: &(impl Limiter + ?Sized), now: Timestamp) -> u64 {
    match limiter.peek_n_at(0, now) {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

mod arithmetic {
    use super::*;

    // governor, throttlecrab: the emission interval cut to whole nanoseconds; 700 M/s was served as 1 G/s, 300 M/s as
    // 333 M/s, and above 1 G/s everything passed.
    #[test]
    fn rates_that_no_whole_interval_expresses_are_served_exactly() {
        for rate in [300_000_000, 700_000_000, 1_000_000_001, 3_000_000_000, 1_000_000_000_000] {
            let bucket = bucket(Quota::per_second(rate));
            let mut total = bucket.check_n_at(rate, nanos(0)).map(|_| 0).expect("a fresh bucket is full");
            for now in (0..=SECOND).step_by(12_500_000) {
                let left = room(&bucket, nanos(now));
                total += if left > 0 && bucket.check_n_at(left, nanos(now)).is_ok() { left } else { 0 };
            }
            assert_eq!(total, rate);
        }
    }

    // ratelimit: a refill set "last" to now and dropped the fraction; 1 per second polled every 1.999 us gave half.
    #[test]
    fn fractions_of_a_unit_survive_polling() {
        let second = bucket(Quota::per_second(1));
        let admitted = (0..=2 * SECOND).step_by(1_999).filter(|&now| second.check_at(nanos(now)).is_ok()).count();
        assert_eq!(admitted, 1 + 1, "polled every 1,999 ns for 2 s, which misses the second instant by 1,998 ns");
        let day = bucket(Quota::per_day(1));
        let admitted = (0..4 * 86_400_000).step_by(1_700).filter(|&now| day.check_at(millis(now)).is_ok()).count();
        assert_eq!(admitted, 4);
    }

    // leaky-bucket: the next refill was due one interval after the last *poll*; a 1 ms refill gave 469/s of 1,000.
    #[test]
    fn a_late_poll_does_not_put_off_the_next_unit() {
        let bucket = bucket(Quota::per_second(1_000).burst(4));
        let polls = (0..=SECOND).step_by(2_130_000).chain([SECOND]);
        let admitted: u64 = polls.map(|now| take_all(&bucket, nanos(now))).sum();
        assert_eq!(admitted, 4 + 1_000);
    }

    // governor: an unchecked product; one per hour with a burst of u32::MAX wrapped, and refused 5 M of 4 G.
    #[test]
    fn a_slow_rate_with_a_large_burst_passes_the_whole_burst() {
        let burst = u64::from(u32::MAX);
        let bucket = bucket(Quota::per_hour(1).burst(burst));
        assert!(bucket.check_n(burst - 5_000_000).is_ok());
        for left in [4_000_000, 3_000_000, 2_000_000, 1_000_000, 0] {
            assert_eq!(bucket.check_n(1_000_000).map(|allowed| allowed.remaining), Ok(left));
        }
        assert_eq!(bucket.check().unwrap_err().retry_after, Some(Duration::from_secs(3_600)));
    }

    // ratelimit: wait hints were rounded down; 118 of 158 retries failed at 3 M/s.
    #[test]
    fn a_retry_after_the_hint_never_fails() {
        let bucket = bucket(Quota::per_second(3_000_000).burst(1));
        let mut now = nanos(12_345);
        assert!(bucket.check_at(now).is_ok());
        for _ in 0..158 {
            now = now + bucket.check_at(now).unwrap_err().retry_after.unwrap();
            assert!(bucket.peek_at(now - Duration::from_nanos(1)).is_err(), "the hint is too long");
            assert!(bucket.check_at(now).is_ok(), "the hint is too short");
        }
    }

    // tower_governor: `Retry-After: 0` for a wait of less than a second.
    #[test]
    fn a_header_never_tells_a_refused_caller_to_retry_at_once() {
        for quota in [Quota::per_second(1), Quota::per_second(3), Quota::per_second(1_000_000)] {
            let bucket = bucket(quota.burst(1));
            assert!(bucket.check().is_ok());
            assert_eq!(bucket.check().unwrap_err().retry_after_secs(), Some(1));
        }
    }

    // redis_rate: a hint of 99 s for a cost of 1,000 on a burst of 10.
    #[test]
    fn a_cost_that_can_never_pass_gets_no_hint() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            for cost in [11, 1_000, u64::MAX] {
                let denied = limiter.check_n(cost).unwrap_err();
                assert_eq!((denied.retry_after, denied.retry_after_secs()), (None, None), "{name}, {cost}");
            }
            assert!(limiter.check_n(10).is_ok(), "{name}");
            assert!(limiter.check_n(10).unwrap_err().retry_after.is_some(), "{name}");
        }
    }

    // axum_gcra, governor: one unit more than the burst after idling; throttlecrab: 17 at once of a burst of 10 after
    // 17.9 s, because the arrival time was raised to now less the tolerance instead of now.
    #[test]
    fn idling_saves_up_no_more_than_the_burst() {
        for idle in [999, 1_000, 1_001, 10_000, 17_900, 18_000, 1_000_000] {
            let bucket = bucket(Quota::per_second(1).burst(10));
            let start = millis(50_000);
            assert_eq!(take_all(&bucket, start), 10);
            let later = start + Duration::from_millis(idle);
            assert_eq!(take_all(&bucket, later), (idle / 1_000).min(10), "after {idle} ms");
        }
    }

    // throttlecrab: a burst of 1 never limited, because its entry lived for 0 s.
    #[test]
    fn a_burst_of_one_limits() {
        for start in [0, 1, SECOND, 1_790_000_000 * SECOND] {
            let bucket = bucket(Quota::per_second(1).burst(1));
            assert!(bucket.check_at(nanos(start)).is_ok());
            assert!(bucket.check_at(nanos(start)).is_err());
            assert!(bucket.check_at(nanos(start + SECOND - 1)).is_err());
            assert!(bucket.check_at(nanos(start + SECOND)).is_ok());
        }
    }

    // redis-cell crashed on a limit of zero; fastapi-limiter admitted the first hit.
    #[test]
    fn a_limit_of_zero_is_refused_when_it_is_built() {
        let zero = Quota::per_second(0);
        assert_eq!(FixedWindow::new(zero), Err(QuotaError::ZeroLimit));
        assert_eq!(SlidingWindow::new(zero), Err(QuotaError::ZeroLimit));
        assert_eq!(SlidingLog::new(zero), Err(QuotaError::ZeroLimit));
        assert_eq!(TokenBucket::new(zero), Err(QuotaError::ZeroLimit));
        assert_eq!(LeakyBucket::new(zero.burst(5)), Err(QuotaError::ZeroLimit));
        assert_eq!(TokenBucket::new(Quota::per_second(5).burst(0)), Err(QuotaError::ZeroBurst));
        assert_eq!(TokenBucket::new(Quota::new(5, Duration::ZERO)), Err(QuotaError::ZeroPeriod));
    }

    // limits: the weighted previous count was rounded down, which let one request more pass than the rule allows.
    #[test]
    fn a_fraction_of_the_previous_window_counts() {
        let window = limiter(SlidingWindow::new(Quota::per_second(10)));
        assert!(window.check_n_at(10, millis(999)).is_ok());
        // 10 * 0.999 = 9.99 units weigh on the first millisecond; nine, if rounded down.
        assert!(window.check_at(millis(1_001)).is_err());
        assert!(window.check_at(nanos(1_099_999_999)).is_err());
        assert!(window.check_at(millis(1_100)).is_ok());
    }

    // x/time/rate: tokens in floating point; three reservations at 60/s that were cancelled in reverse left -6e-8 tokens,
    // and the next check was refused.
    #[test]
    fn refunds_in_any_order_leave_nothing_behind() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let bucket = bucket(Quota::per_second(60).burst(15));
            let (start, costs) = (nanos(1_234_567_891), [3, 5, 7]);
            let fresh = bucket.peek_at(start);
            for cost in costs {
                assert!(bucket.check_n_at(cost, start).is_ok());
            }
            for nth in order {
                bucket.refund_at(costs[nth], start);
            }
            assert_eq!(bucket.peek_at(start), fresh);
            assert_eq!(take_all(&bucket, start), 15);
        }
        // And a unit at a time, ten thousand times over.
        let bucket = bucket(Quota::new(7, Duration::from_secs(5)));
        assert!(bucket.check_n(7).is_ok());
        let full = bucket.peek();
        for _ in 0..10_000 {
            bucket.refund(3);
            assert!(bucket.check().is_ok() && bucket.check_n(2).is_ok());
        }
        assert_eq!(bucket.peek(), full);
    }
}

mod time {
    use super::*;

    // x/time/rate, pd: "last" was set back when the clock stepped back, and the same time was paid for twice.
    #[test]
    fn a_clock_that_steps_back_and_forth_mints_nothing() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            let mut admitted = 0;
            for _ in 0..1_000 {
                for now in [millis(10_500), millis(10_000), millis(10_400), millis(9_000)] {
                    admitted += take_all(&*limiter, now);
                }
            }
            assert_eq!(admitted, 10, "{name}");
        }
    }

    // governor: a jump ahead and back locked everyone out until real time caught up, with no way out.
    #[test]
    fn a_jump_ahead_and_back_costs_no_more_than_the_jump_and_a_reset_ends_it() {
        let (start, jump, quota) = (millis(100_000), Duration::from_secs(60), Quota::per_second(10));
        for (name, limiter) in all(quota, &ManualClock::new()) {
            assert_eq!(take_all(&*limiter, start + jump), 10, "{name}");
            let denied = limiter.check_at(start).unwrap_err();
            let recovered = jump + 2 * quota.period();
            assert!(denied.retry_after.unwrap() <= recovered && denied.reset_after <= recovered, "{name}: {denied:?}");
            assert!(limiter.check_at(start + denied.retry_after.unwrap()).is_ok(), "{name}");
            limiter.reset_at(start);
            assert_eq!(take_all(&*limiter, start), 10, "{name}");
        }
        // A jump without a request is none.
        for (name, limiter) in all(quota, &ManualClock::new()) {
            assert!(limiter.peek_at(start + jump).is_ok());
            assert_eq!(take_all(&*limiter, start), 10, "{name}");
        }
    }

    // governor on quanta: a counter that differs between cores; the readings of two threads are out of order by some
    // microseconds all the time.
    #[test]
    fn jitter_stays_within_the_bound() {
        for (name, limiter) in all(Quota::new(10, Duration::from_micros(100)), &ManualClock::new()) {
            let (mut admitted, mut latest) = (Vec::new(), 0);
            for tick in 0..20_000_u64 {
                // Each core lags by its own amount, up to 3 us.
                let now = 1_000_000 + tick * 97 - [0, 3_000, 1_234][tick as usize % 3];
                latest = latest.max(now);
                admitted.extend((0..take_all(&*limiter, nanos(now))).map(|_| latest));
            }
            let most = (0..admitted.len())
                .map(|first| admitted[first..].iter().take_while(|&&at| at < admitted[first] + 100_000).count())
                .max();
            let bound = match name {
                "fixed window" => 20,
                "sliding log" => 10,
                _ => 19,
            };
            assert!(most <= Some(bound), "{name}: {most:?}");
            // 19 periods, of which a sliding window gives one unit less each.
            assert!(admitted.len() >= 19 * 9 - 1, "{name}: only {}", admitted.len());
        }
    }

    // Several: time 0 stood for "never seen", so that what happened then was forgotten.
    #[test]
    fn nothing_is_special_about_the_epoch() {
        let quota = Quota::per_second(3);
        for ((name, at_epoch), (_, later)) in
            all(quota, &ManualClock::new()).into_iter().zip(all(quota, &ManualClock::new()))
        {
            // A whole number of windows later, all is alike.
            let offset = Duration::from_secs(1_790_000_000);
            for now in [0, 0, 0, 0, 1, 1, 999, 1_000, 1_000, 1_001, 1_500, 2_000, 2_999, 3_000, 3_000, 3_000, 3_000] {
                let now = millis(now);
                assert_eq!(at_epoch.check_at(now), later.check_at(now + offset), "{name} at {now:?}");
            }
        }
    }

    // pingora-limits: a difference of times wrapped within the first second, and panicked under contention.
    #[test]
    fn times_before_the_state_are_no_underflow() {
        for (name, limiter) in all(Quota::per_second(2), &ManualClock::new()) {
            assert!(limiter.check_at(millis(900)).is_ok(), "{name}");
            for now in [millis(899), nanos(1), Timestamp::ZERO] {
                let answer = limiter.check_at(now);
                limiter.refund_at(u64::from(answer.is_ok()), now);
                let wait = answer.map_or_else(|denied| denied.reset_after, |allowed| allowed.reset_after);
                assert!(wait <= Duration::from_secs(3), "{name}: {wait:?}");
            }
        }
    }
}

mod concurrency {
    use super::*;

    /// The algorithms whose state is one word: all but the log, which is under fire in `tests/loom.rs`.
    fn words(quota: Quota, clock: &ManualClock) -> impl Iterator<Item = (&'static str, Any)> {
        all(quota, clock).into_iter().filter(|(name, _)| *name != "sliding log")
    }

    /// Checks on so many threads at once, each `checks` times at the times that `now` gives; how many passed.
    fn race(limiter: &Any, threads: usize, checks: u64, now: impl Fn(usize, u64) -> Timestamp + Sync) -> u64 {
        let start = Barrier::new(threads);
        thread::scope(|scope| {
            let (start, now) = (&start, &now);
            let run = |index: usize| {
                start.wait();
                (0..checks).filter(|&nth| limiter.check_at(now(index, nth)).is_ok()).count() as u64
            };
            let threads: Vec<_> = (0..threads).map(|index| scope.spawn(move || run(index))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        })
    }

    // limitador, trypema: check and then update; all who checked at once passed.
    #[test]
    fn threads_at_one_instant_get_the_limit_and_no_more() {
        for (name, limiter) in all(Quota::per_second(1_000), &ManualClock::new()) {
            assert_eq!(race(&limiter, 4, 500, |_, _| millis(5_000)), 1_000, "{name}");
        }
    }

    // ratelimit, tokio-rate-limit, limitador: two atomics for one fact; at a window's edge a thread saw the new
    // time with the old count, or overwrote another's count with its own.
    #[test]
    fn threads_that_cross_edges_get_the_limit_of_each_window_and_no_more() {
        for _ in 0..20 {
            for (name, limiter) in words(Quota::new(10, Duration::from_micros(1)), &ManualClock::new()) {
                // In each of 100 windows each thread asks ten times at its beginning: more than there is.
                let admitted = race(&limiter, 2, 1_000, |_, nth| nanos(10_000 + nth / 10 * 1_000));
                assert!(admitted <= 1_000, "{name}: {admitted} of 1,000");
                // A thread that is late finds its window gone, but what is asked for last is asked for in time.
                assert!(admitted >= 10, "{name}: {admitted}");
            }
        }
    }

    // better-bucket: tokens and time in one word, and a time that was read before the word; a thread that was held up set
    // the time back, and granted 36 to 527 times the quota.
    #[test]
    fn a_time_that_was_read_long_ago_grants_nothing() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            let mut admitted = 0;
            for second in 1..=100_u64 {
                admitted += take_all(&*limiter, millis(second * 1_000));
                // Threads that read the clock up to ten seconds before come only now.
                for late in 1..=10 {
                    admitted += take_all(&*limiter, millis((second * 1_000).saturating_sub(late * 999)));
                }
            }
            assert!(admitted <= 1_000, "{name}: {admitted} of 1,000");
        }
        // And on threads, of which one is always ten windows behind.
        for (name, limiter) in words(Quota::new(10, Duration::from_micros(1)), &ManualClock::new()) {
            let time = |index: usize, nth: u64| nanos(100_000 + nth * 10 - if index == 0 { 10_000 } else { 0 });
            let admitted = race(&limiter, 2, 20_000, time);
            // 200 windows for the one that is ahead, and ten before that.
            assert!(admitted <= 2_110, "{name}: {admitted}");
        }
    }

    // leaky-bucket: a snapshot of the state was stored back when a guard was dropped; what others took meanwhile came
    // back, or what came back to them was lost.
    #[test]
    fn a_refund_gives_back_its_own_units_and_nobody_elses() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            assert!(limiter.check_n(3).is_ok());
            assert!(limiter.check_n(4).is_ok(), "someone else, in the meantime");
            limiter.refund(3);
            assert_eq!(room(&*limiter, Timestamp::ZERO), 6, "{name}");
        }
    }

    // bucket4j on a remote store: compare-and-swap without progress; 45 retries in 45 ms on a hot key.
    #[test]
    fn a_hot_limiter_makes_progress() {
        for (name, limiter) in all(Quota::per_second(60_000), &ManualClock::new()) {
            let started = Instant::now();
            assert_eq!(race(&limiter, 4, 15_000, |_, _| Timestamp::ZERO), 60_000, "{name}");
            assert!(started.elapsed() < Duration::from_secs(20), "{name}: {:?}", started.elapsed());
        }
    }
}

mod refusals {
    use super::*;

    // limits: a refused request of 11 against a limit of 10 was counted, and poisoned the window; upstash: -1e6 units
    // left, for 115 days.
    #[test]
    fn a_refused_cost_is_not_taken() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            for cost in [11, 1_000_000, u64::MAX] {
                assert!(limiter.check_n(cost).is_err(), "{name}");
            }
            assert!(limiter.check_n(4).is_ok(), "{name}");
            let before = limiter.peek();
            for cost in [7, 10, 11, u64::MAX] {
                let denied = limiter.check_n(cost).unwrap_err();
                assert_eq!(denied.remaining, 6, "{name}");
                assert!(denied.reset_after <= Duration::from_secs(2), "{name}");
            }
            assert_eq!(limiter.peek(), before, "{name}");
            assert!(limiter.check_n(6).is_ok(), "{name}");
        }
    }
}

mod keys_and_memory {
    use std::net::IpAddr;

    use super::*;

    fn keyed<K, A: Algorithm>(algorithm: Result<A, QuotaError>, keys: usize) -> KeyedLimiter<K, A, ManualClock> {
        KeyedLimiter::with_clock(algorithm.expect("a quota that can be held"), keys, ManualClock::new())
    }

    // governor, tower_governor: a flood of new keys took all the memory there was.
    #[test]
    fn a_flood_of_keys_takes_no_more_memory() {
        let limiter = keyed::<u64, _>(TokenBucket::new(Quota::per_day(5)), 1_000);
        let memory = limiter.memory();
        let admitted = (0..100_000).filter(|key| limiter.check(key).is_ok()).count();
        assert_eq!(limiter.memory(), memory);
        assert!((1_000..2_000).contains(&admitted), "{admitted} of 100,000 new keys were admitted");
    }

    // limitador's cache, throttlecrab, any cache that drops what was used least recently: a flood of new keys pushed out
    // the counters of those that were limited, and so reset them.
    #[test]
    fn a_flood_of_keys_resets_none_that_came_before() {
        fn flood<A: Algorithm>(algorithm: Result<A, QuotaError>) {
            let limiter = keyed::<u64, _>(algorithm, 1_000);
            assert!((0..100).all(|key| limiter.check_n(&key, 5).is_ok()));
            for key in 100..20_000 {
                let _ = limiter.check(&key);
            }
            assert!(limiter.stats().overflowed > 0);
            assert!((0..100).all(|key| limiter.check(&key).is_err()), "{:?}", limiter.algorithm());
        }
        flood(FixedWindow::new(Quota::per_day(5)));
        flood(SlidingWindow::new(Quota::per_day(5)));
        flood(SlidingLog::new(Quota::per_day(5)));
        flood(TokenBucket::new(Quota::per_day(5)));
        flood(LeakyBucket::new(Quota::per_day(5)));
    }

    // The same: a key that is pushed out while it is limited comes back as new, as often as it likes.
    #[test]
    fn rotating_through_more_keys_than_there_is_room_for_gains_nothing() {
        let limiter = keyed::<u64, _>(TokenBucket::new(Quota::per_day(5)), 100);
        let mut admitted = vec![0; 1_000];
        for _ in 0..20 {
            for key in 0..1_000 {
                admitted[key as usize] += u64::from(limiter.check(&key).is_ok());
            }
        }
        assert_eq!(admitted.iter().max(), Some(&5));
    }

    // fastapi-limiter: the key was ignored, and all callers shared one bucket.
    #[test]
    fn each_caller_has_a_limit_of_its_own() {
        let limiter = keyed::<String, _>(FixedWindow::new(Quota::per_day(1)), 1_000);
        for caller in ["", "a", "b", "ab", "a b", "b a"] {
            assert!(limiter.check(caller).is_ok(), "{caller:?}");
            assert!(limiter.check(caller).is_err(), "{caller:?}");
        }
    }

    // fastapi-limiter: keys were joined to a string, and those of different routes or methods were the same.
    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let limiter = keyed::<(&str, &str), _>(FixedWindow::new(Quota::per_day(1)), 1_000);
        for key in [("GET", "/a"), ("POST", "/a"), ("GET", "/ab"), ("GET/", "a"), ("", "GET/a"), ("GET/a", "")] {
            assert!(limiter.check(&key).is_ok(), "{key:?}");
        }
    }

    // tower_governor, fastapi-limiter, slowapi: a new identity for each request. One that a header names is for the caller
    // to look through; of an address, the part that its owner may choose at will does not count.
    #[test]
    fn one_who_owns_a_network_is_one_client() {
        let limiter = keyed::<IpKey, _>(TokenBucket::new(Quota::per_day(5)), 1_000);
        let network = 0x2001_0db8_0000_0001_u128 << 64;
        let addresses = (0..1_000_u128).map(|host| IpAddr::V6((network | (host * 0x1_0000_0001)).into()));
        let admitted = addresses.filter(|&address| limiter.check(&IpKey::from(address)).is_ok()).count();
        assert_eq!(admitted, 5);
        let mapped = ["192.0.2.1", "::ffff:192.0.2.1"].map(|address| IpKey::from(address.parse::<IpAddr>().unwrap()));
        assert_eq!(mapped[0], mapped[1]);
    }
}

mod composites {
    use super::*;

    // governor's users, limits, slowapi, flask-limiter, .NET's chained limiters: limits that are checked one after the other
    // leave the earlier ones charged when a later one refuses.
    #[test]
    fn a_refusal_by_one_limit_charges_no_other() {
        for (name, first) in all(Quota::per_second(10), &ManualClock::new()) {
            for (other, last) in all(Quota::per_second(2), &ManualClock::new()) {
                let limits = Composite::new((&first, &last));
                assert_eq!(take_all(&limits, Timestamp::ZERO), 2);
                let before = (first.peek(), last.peek());
                for cost in [1, 3, 11, u64::MAX] {
                    assert!(limits.check_n(cost).is_err());
                }
                assert_eq!((first.peek(), last.peek()), before, "{name} and {other}");
                assert_eq!(room(&*first, Timestamp::ZERO), 8, "{name} and {other}");
                first.reset();
            }
        }
    }

    // .NET: nobody could tell which limit had refused.
    #[test]
    fn a_refusal_says_which_limit_it_was() {
        let clock = ManualClock::new();
        let limits: Vec<Any> = all(Quota::per_second(10), &clock).into_iter().map(|(_, limiter)| limiter).collect();
        for index in 0..limits.len() {
            assert!(limits[index].check_n(10).is_ok());
            let refused = Composite::new(&limits[..]).named(&["fixed", "sliding", "log"]).check_all(1).unwrap_err();
            assert_eq!(refused.limit, index);
            assert_eq!(refused.name, ["fixed", "sliding", "log"].get(index).copied());
            assert_eq!(Err(refused.denied), limits[index].check());
            limits[index].reset();
        }
    }
}

mod reserving_and_waiting {
    use super::*;

    // x/time/rate: tokens as floating-point numbers. Three bookings at 60 a second, cancelled in reverse, left -6e-8 tokens, and the
    // next check was refused.
    #[test]
    fn bookings_cancelled_in_reverse_leave_a_full_bucket() {
        for start in [nanos(0), nanos(1_790_000_000_123_456_789)] {
            let clock = ManualClock::starting_at(start);
            let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(60)).unwrap(), clock.clone());
            for cost in [1, 7, 20, 60] {
                let mut bookings: Vec<_> =
                    (0..3).map(|_| (&limiter).reserve(cost, Duration::from_secs(10)).unwrap()).collect();
                while let Some(last) = bookings.pop() {
                    last.cancel();
                }
                assert_eq!(limiter.peek_n(0).unwrap().remaining, 60, "bookings of {cost}");
                assert!(limiter.check_n(60).is_ok());
                limiter.refund(60);
            }
        }
    }

    // resilience4j: a waiter that was interrupted kept its permit.
    #[test]
    fn a_waiter_that_is_dropped_keeps_nothing() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            let line = Line::new(&limiter, 10);
            assert!(limiter.check_n(9).is_ok());
            let before = limiter.peek_n(0);
            for cost in [2, 10, 5] {
                let mut waits = Box::pin(line.wait(cost, Duration::MAX, NoTimer));
                assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            assert_eq!((line.waiting(), limiter.peek_n(0)), (0, before), "{name}");
        }
    }

    struct NoTimer;

    impl Timer for NoTimer {
        type Sleep = Pending<()>;
        fn sleep(&self, _: Duration) -> Pending<()> {
            pending()
        }
    }

    // resilience4j: waiters slept for all of their time-out, and learned only then that it had been hopeless.
    #[test]
    fn a_waiter_that_cannot_be_served_in_time_does_not_sleep() {
        let hour = Duration::from_secs(3_600);
        for (name, limiter) in all(Quota::new(10, 100 * hour), &ManualClock::new()) {
            let line = Line::new(&limiter, 10);
            assert!(line.wait_blocking(10, Duration::ZERO).is_ok(), "{name}");
            // Would it sleep, this test would take an hour.
            let refused = line.wait_blocking(10, hour).unwrap_err();
            assert!(matches!(refused, WaitError::TooLong { wait, .. } if wait > hour), "{name}: {refused}");
            let refused = line.wait_blocking(11, Duration::MAX).unwrap_err();
            assert!(matches!(refused, WaitError::Never { .. }), "{name}: {refused}");
        }
    }
}

mod usability {
    use super::*;

    // tower_governor, actix-governor: `per_second(n)` meant one per n seconds.
    #[test]
    fn per_second_means_so_many_in_a_second() {
        let second = Duration::from_secs(1);
        for (quota, period) in [
            (Quota::per_second(5), second),
            (Quota::per_minute(5), second * 60),
            (Quota::per_hour(5), second * 3_600),
            (Quota::per_day(5), second * 86_400),
        ] {
            assert_eq!((quota.limit(), quota.period()), (5, period));
            assert_eq!(take_all(&bucket(quota), Timestamp::ZERO), 5);
            let refused = bucket(quota.burst(1));
            assert!(refused.check().is_ok());
            assert_eq!(refused.check().unwrap_err().retry_after, Some(period / 5));
        }
    }

    // governor: a limiter whose type nobody could write in a struct field.
    #[test]
    fn a_limiter_is_named_in_a_field() {
        struct Service {
            requests: RateLimiter<TokenBucket>,
            logins: RateLimiter<SlidingLog, CoarseClock>,
            any: Box<dyn Limiter>,
        }
        let service = Service {
            requests: RateLimiter::new(TokenBucket::new(Quota::per_second(1)).unwrap()),
            logins: RateLimiter::with_clock(SlidingLog::new(Quota::per_minute(1)).unwrap(), CoarseClock::new()),
            any: Box::new(RateLimiter::new(FixedWindow::new(Quota::per_day(1)).unwrap())),
        };
        assert!(service.requests.check().is_ok() && service.logins.check().is_ok() && service.any.check().is_ok());
    }

    // governor: a refusal that could be read only with a clock of the same kind.
    #[test]
    fn a_refusal_is_understood_without_a_clock() {
        let denied = {
            let bucket = RateLimiter::new(TokenBucket::new(Quota::per_hour(1)).unwrap());
            assert!(bucket.check().is_ok());
            bucket.check().unwrap_err()
        };
        let wait = denied.retry_after.unwrap();
        assert!(Duration::from_secs(3_500) < wait && wait <= Duration::from_secs(3_600), "{wait:?}");
    }

    // Most: no look without taking, no count of what is left, no giving back.
    #[test]
    fn peek_remaining_and_refund_are_there_for_every_algorithm() {
        for (name, limiter) in all(Quota::per_second(10), &ManualClock::new()) {
            assert_eq!(limiter.peek_n(3), limiter.peek_n(3), "{name}");
            assert_eq!(limiter.check_n(3).unwrap().remaining, 7, "{name}");
            limiter.refund(2);
            assert_eq!(limiter.check().unwrap().remaining, 8, "{name}");
        }
    }

    // governor: time that was read from the operating system, so that tests had to sleep.
    #[test]
    fn every_limiter_runs_by_any_clock() {
        fn by<C: Clock>(clock: C) -> bool {
            RateLimiter::with_clock(LeakyBucket::new(Quota::per_second(1)).unwrap(), clock).check().is_ok()
        }
        let mine = ManualClock::new();
        assert!(by(&mine) && by(CoarseClock::new()) && by(MonotonicClock::new()));
    }
}
