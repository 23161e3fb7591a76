//! The `Limiter` trait: all algorithms alike, through any pointer, from any thread.
#![cfg(not(loom))]

use std::{sync::Arc, thread, time::Duration};

use tollgate::{
    Algorithm, CoarseClock, Decision, FixedWindow, LeakyBucket, Limiter, ManualClock, MonotonicClock, Quota,
    QuotaError, RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket,
};

type Any = Box<dyn Limiter + Send + Sync>;

/// All five algorithms under one quota, each by its own clock.
fn all(quota: Quota) -> [(&'static str, Any, ManualClock); 5] {
    fn any<A: Algorithm + 'static>(
        name: &'static str,
        algorithm: Result<A, QuotaError>,
    ) -> (&'static str, Any, ManualClock) {
        let clock = ManualClock::starting_at(Timestamp::from_secs(100));
        let limiter = RateLimiter::with_clock(algorithm.expect("a quota that can be held"), clock.clone());
        (name, Box::new(limiter), clock)
    }
    [
        any("fixed window", FixedWindow::new(quota)),
        any("sliding window", SlidingWindow::new(quota)),
        any("sliding log", SlidingLog::new(quota)),
        any("token bucket", TokenBucket::new(quota)),
        any("leaky bucket", LeakyBucket::new(quota)),
    ]
}

fn ten() -> Quota {
    Quota::per_second(10)
}

fn remaining(decision: Decision) -> u64 {
    match decision {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

#[test]
fn limiters_are_send_and_sync_as_far_as_their_clocks_are() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<RateLimiter<FixedWindow>>();
    is_shared::<RateLimiter<SlidingWindow, CoarseClock>>();
    is_shared::<RateLimiter<SlidingLog, ManualClock>>();
    is_shared::<RateLimiter<TokenBucket, MonotonicClock>>();
    is_shared::<RateLimiter<LeakyBucket>>();
    is_shared::<Arc<dyn Limiter + Send + Sync>>();
}

/// Each method, through each pointer, reaches the limiter behind it: one that was forgotten in a forwarding would
/// answer from the trait's default and for another time.
#[test]
fn a_limiter_behind_a_pointer_is_that_limiter() {
    fn uses(limiter: impl Limiter) -> Vec<u64> {
        let later = Timestamp::from_secs(200);
        let mut left = vec![limiter.now().as_nanos()];
        left.push(remaining(limiter.check()));
        left.push(remaining(limiter.check_n(3)));
        left.push(remaining(limiter.check_at(later)));
        left.push(remaining(limiter.check_n_at(2, later)));
        left.push(remaining(limiter.peek_at(later)));
        left.push(remaining(limiter.peek_n_at(5, later)));
        limiter.refund_at(1, later);
        left.push(remaining(limiter.peek_n_at(0, later)));
        limiter.reset_at(later);
        left.push(remaining(limiter.peek_n_at(0, later)));
        limiter.reset();
        left.push(remaining(limiter.check_n(4)));
        limiter.refund(2);
        left.push(remaining(limiter.peek()));
        left.push(remaining(limiter.peek_n(6)));
        left
    }
    for (name, limiter, _) in all(ten()) {
        let fresh = || limiter.reset_at(Timestamp::ZERO);
        let expected = [100_000_000_000, 9, 6, 9, 7, 6, 2, 8, 10, 6, 7, 2];
        assert_eq!(uses(&limiter), expected, "{name} by &Box");
        fresh();
        assert_eq!(uses(&*limiter), expected, "{name} by &dyn");
        fresh();
        assert_eq!(uses(Box::new(&limiter)), expected, "{name} by Box<&_>");
        fresh();
        let shared: Arc<dyn Limiter + Send + Sync> = limiter.into();
        assert_eq!(uses(shared.clone()), expected, "{name} by Arc<dyn>");
        shared.reset_at(Timestamp::ZERO);
        assert_eq!(uses(&shared), expected, "{name} by &Arc<dyn>");
    }
}

/// The time that is given is the time that arrives, for those two methods as well whose answer does not show it.
#[test]
fn a_time_passes_through_a_pointer() {
    fn uses(limiter: impl Limiter) {
        let (now, later) = (limiter.now(), Timestamp::from_secs(200));
        limiter.reset_at(later);
        assert_eq!(remaining(limiter.peek_n_at(0, later)), 0, "empty at the time of the reset");
        limiter.reset_at(Timestamp::ZERO);
        assert!(limiter.check_n_at(4, now).is_ok());
        limiter.refund_at(4, later);
        assert_eq!(remaining(limiter.peek_n_at(0, now)), 6, "nothing was in use at the time of the refund");
    }
    let clock = ManualClock::starting_at(Timestamp::from_secs(100));
    let limiter = RateLimiter::with_clock(TokenBucket::new(ten()).unwrap().start_empty(), clock);
    uses(&limiter);
    uses(Box::new(&limiter));
    uses(Arc::new(limiter));
}

#[test]
fn peek_answers_as_check_and_takes_nothing() {
    for (name, limiter, clock) in all(ten()) {
        for cost in [1, 0, 4, 6, 5, 1, 10, 11, u64::MAX] {
            for _ in 0..3 {
                assert_eq!(limiter.peek_n(cost), limiter.peek_n(cost), "{name}, {cost}");
            }
            let expected = limiter.peek_n(cost);
            assert_eq!(limiter.check_n(cost), expected, "{name}, {cost}");
            clock.advance(Duration::from_millis(30));
        }
    }
}

#[test]
fn a_cost_of_zero_asks_for_one_unit_and_takes_none() {
    for (name, limiter, _) in all(ten()) {
        for left in (0..=10).rev() {
            for _ in 0..20 {
                let answer = limiter.check_n(0);
                assert_eq!((remaining(answer), answer.is_ok()), (left, left > 0), "{name}");
                assert_eq!(answer.is_ok(), limiter.peek().is_ok(), "{name}");
            }
            // The wait is that of one unit.
            assert_eq!(
                limiter.check_n(0).err().map(|denied| denied.retry_after),
                limiter.peek().err().map(|denied| denied.retry_after),
                "{name}"
            );
            assert_eq!(limiter.check().is_ok(), left > 0, "{name}");
        }
    }
}

#[test]
fn a_fresh_limiter_has_the_whole_limit_and_nothing_to_recover() {
    for (name, limiter, _) in all(ten()) {
        let allowed = limiter.peek_n(0).unwrap();
        assert_eq!((allowed.limit, allowed.remaining), (10, 10), "{name}");
        assert_eq!((allowed.reset_after, allowed.delay), (Duration::ZERO, Duration::ZERO), "{name}");
    }
}

#[test]
fn remaining_is_what_still_passes() {
    for (name, limiter, clock) in all(ten()) {
        for cost in [3, 2, 1, 7, 2] {
            let left = remaining(limiter.check_n(cost));
            assert!(limiter.peek_n(left + 1).is_err(), "{name}: more than {left}");
            assert!(left == 0 || limiter.peek_n(left).is_ok(), "{name}: {left}");
            clock.advance(Duration::from_millis(123));
        }
    }
}

#[test]
fn a_refund_gives_back_what_is_in_use_and_no_more() {
    for (name, limiter, _) in all(ten()) {
        limiter.refund(5);
        assert_eq!(remaining(limiter.peek_n(0)), 10, "{name}: a refund of nothing");
        assert!(limiter.check_n(4).is_ok());
        limiter.refund(0);
        assert_eq!(remaining(limiter.peek_n(0)), 6, "{name}");
        limiter.refund(3);
        assert_eq!(remaining(limiter.peek_n(0)), 9, "{name}");
        limiter.refund(u64::MAX);
        assert_eq!(remaining(limiter.peek_n(0)), 10, "{name}");
        assert!(limiter.check_n(10).is_ok() && limiter.check().is_err(), "{name}: ten, and no more");
    }
}

/// What time has regained is not given back a second time.
#[test]
fn a_late_refund_gives_back_only_what_is_still_in_use() {
    for (name, limiter, clock) in all(ten()) {
        assert!(limiter.check_n(10).is_ok());
        clock.advance(Duration::from_secs(3));
        limiter.refund(10);
        assert!(limiter.check_n(10).is_ok() && limiter.check().is_err(), "{name}: ten, and no more");
    }
    let clock = ManualClock::new();
    let bucket = RateLimiter::with_clock(TokenBucket::new(ten()).unwrap(), clock.clone());
    assert!(bucket.check_n(10).is_ok());
    clock.advance(Duration::from_millis(700));
    bucket.refund(10);
    assert_eq!(remaining(bucket.peek_n(0)), 10, "seven by time, three by refund");
    // A sliding window gives back units of the window before, which still weigh.
    let clock = ManualClock::new();
    let window = RateLimiter::with_clock(SlidingWindow::new(ten()).unwrap(), clock.clone());
    assert!(window.check_n(10).is_ok());
    clock.set(Timestamp::from_nanos(1_500_000_000));
    assert!(window.check_n(3).is_ok());
    window.refund(7);
    assert_eq!(remaining(window.peek_n(0)), 7, "three of this window, four of the one before; six are left of that");
}

#[test]
fn a_reset_makes_a_limiter_as_new() {
    for (name, limiter, clock) in all(ten()) {
        assert!(limiter.check_n(10).is_ok());
        limiter.reset();
        assert_eq!(remaining(limiter.peek_n(0)), 10, "{name}");
        assert_eq!(limiter.peek_n(0).unwrap().reset_after, Duration::ZERO, "{name}");
        assert!(limiter.check_n(10).is_ok() && limiter.check().is_err(), "{name}");
        clock.advance(Duration::from_millis(1));
        limiter.reset();
        assert!(limiter.check_n(10).is_ok() && limiter.check().is_err(), "{name}");
    }
}

/// Through a shared reference, by any number of threads.
#[test]
fn a_limiter_is_shared_without_a_lock() {
    for (name, limiter, _) in all(Quota::per_second(4_000)) {
        let admitted: usize = thread::scope(|scope| {
            let check = || (0..2_000).filter(|_| limiter.check().is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(check)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 4_000, "{name}");
    }
}

#[test]
fn a_limiter_tells_its_algorithm_and_its_clock() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(9));
    let limiter = RateLimiter::with_clock(LeakyBucket::new(ten().burst(3)).unwrap(), clock);
    assert_eq!(limiter.algorithm().quota(), ten().burst(3));
    assert_eq!(limiter.algorithm().burst(), 3);
    limiter.clock().advance(Duration::from_secs(1));
    assert_eq!(limiter.now(), Timestamp::from_secs(10));
    for quota in [
        FixedWindow::new(ten()).unwrap().quota(),
        SlidingWindow::new(ten()).unwrap().quota(),
        SlidingLog::new(ten()).unwrap().quota(),
        TokenBucket::new(ten()).unwrap().quota(),
    ] {
        assert_eq!(quota, ten());
    }
}

#[test]
fn delays_are_told_by_the_leaky_bucket_only() {
    for (name, limiter, _) in all(ten()) {
        let delays = [(); 3].map(|()| limiter.check().unwrap().delay);
        let expected = if name == "leaky bucket" { [0, 100, 200] } else { [0; 3] };
        assert_eq!(delays, expected.map(Duration::from_millis), "{name}");
    }
}

#[test]
fn a_wait_that_is_longer_than_any_duration_is_the_longest() {
    // 2^38 units, one every four years.
    let quota = Quota::new(1, Duration::from_secs(1 << 27)).burst(1 << 38);
    let limiter = RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), ManualClock::new());
    assert_eq!(limiter.check_n(1 << 38).unwrap().reset_after, Duration::MAX);
    assert_eq!(limiter.check_n(1 << 38).unwrap_err().retry_after, Some(Duration::MAX));
}
