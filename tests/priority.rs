//! Priority: what must be left for others, by every algorithm, and who yields first when there is not enough for all.
#![cfg(not(loom))]

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use tollgate::{
    Algorithm, Composite, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Priority, Quota,
    QuotaError, RateLimiter, SlidingLog, SlidingWindow, TokenBucket,
};

type Any = Arc<dyn Limiter + Send + Sync>;

const LEVELS: [Priority; 3] = [Priority::Critical, Priority::Normal, Priority::Background];

/// All algorithms under one quota; direct, as a key among many, and as a part of a composite whose other part is ample.
fn all(quota: Quota, clock: &ManualClock) -> Vec<(String, Any)> {
    fn add<A: Algorithm + Copy + 'static>(
        all: &mut Vec<(String, Any)>,
        algorithm: Result<A, QuotaError>,
        clock: &ManualClock,
    ) {
        let algorithm = algorithm.expect("a quota that can be held");
        let direct = RateLimiter::with_clock(algorithm, clock.clone());
        all.push((format!("{algorithm:?}"), Arc::new(direct)));
        let keyed = KeyedLimiter::<u64, _, _>::with_clock(algorithm, 10, clock.clone());
        // As a key borrows its limiter.
        let keyed: &'static _ = Box::leak(Box::new(keyed));
        all.push((format!("keyed {algorithm:?}"), Arc::new(keyed.key(&7))));
        let ample = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(1 << 20)).unwrap(), clock.clone());
        let direct = RateLimiter::with_clock(algorithm, clock.clone());
        all.push((format!("composite {algorithm:?}"), Arc::new(Composite::new((ample, direct)))));
    }
    let mut limiters = Vec::new();
    add(&mut limiters, FixedWindow::new(quota), clock);
    add(&mut limiters, SlidingWindow::new(quota), clock);
    add(&mut limiters, SlidingLog::new(quota), clock);
    add(&mut limiters, TokenBucket::new(quota), clock);
    add(&mut limiters, LeakyBucket::new(quota), clock);
    limiters
}

#[test]
fn levels_are_shares_of_the_limit() {
    let of_100 = LEVELS.map(|level| level.headroom().of_limit(100));
    assert_eq!(of_100, [0, 20, 50]);
    // Rounded down: of one unit nobody need leave any.
    assert_eq!(LEVELS.map(|level| Headroom::from(level).of_limit(1)), [0, 0, 0]);
    assert_eq!(Headroom::percent(50).of_limit(u64::MAX), u64::MAX / 2);
    assert_eq!(Headroom::percent(255).of_limit(u64::MAX), u64::MAX);
    assert!(Priority::Background < Priority::Normal && Priority::Normal < Priority::Critical);
}

#[test]
fn what_must_be_left_is_left() {
    let clock = ManualClock::new();
    for (name, limiter) in all(Quota::per_second(10), &clock) {
        let taken = LEVELS.map(|_| 0_u64);
        // From the least important to the most.
        let mut taken_by = taken;
        for (level, taken) in LEVELS.iter().zip(&mut taken_by).rev() {
            while (&limiter).leaving(*level).check().is_ok() {
                *taken += 1;
            }
        }
        assert_eq!(taken_by, [2, 3, 5], "{name}");
    }
}

/// To whom must leave some, a limiter is one that holds less.
#[test]
fn the_answer_is_that_of_a_smaller_limiter() {
    let clock = ManualClock::new();
    for (name, limiter) in all(Quota::per_second(10), &clock) {
        let background = (&limiter).leaving(Priority::Background);
        let allowed = background.check_n(2).unwrap();
        assert_eq!((allowed.limit, allowed.remaining), (5, 3), "{name}");
        assert_eq!(limiter.check_n(2).unwrap().remaining, 6, "{name}");
        let denied = background.check_n(4).unwrap_err();
        assert_eq!((denied.limit, denied.remaining), (5, 1), "{name}");
        assert_eq!(background.check_n(6).unwrap_err().retry_after, None, "{name}: more than half never passes");
        assert!(limiter.peek_n(6).is_ok(), "{name}");
        assert_eq!((&limiter).leaving(Headroom::units(10)).check().unwrap_err().retry_after, None, "{name}");
        assert_eq!((&limiter).leaving(Headroom::units(u64::MAX)).check().unwrap_err().limit, 0, "{name}");
        // A wait is until it fits and leaves that, to the nanosecond.
        let wait = denied.retry_after.unwrap();
        let now = limiter.now();
        assert!(background.peek_n_at(4, now + wait).is_ok(), "{name}");
        assert!(background.peek_n_at(4, now + wait - Duration::from_nanos(1)).is_err(), "{name}");
        // What is taken is the cost, and can be given back.
        background.refund(4);
        assert_eq!(limiter.peek_n(0).unwrap().remaining, 10, "{name}");
    }
}

/// One who must leave more leaves the most that anybody asks of him.
#[test]
fn headrooms_of_several_layers_do_not_add_up() {
    let clock = ManualClock::new();
    let limiter = RateLimiter::with_clock(FixedWindow::new(Quota::per_second(10)).unwrap(), clock);
    let twice = (&limiter).leaving(Headroom::units(3)).leaving(Priority::Normal);
    assert_eq!(twice.peek_n(0).unwrap().remaining, 7);
}

/// In a composite each part keeps a share of its own.
#[test]
fn shares_in_a_composite_are_of_each_part() {
    let clock = ManualClock::new();
    let second = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10)).unwrap(), clock.clone());
    let hour = RateLimiter::with_clock(FixedWindow::new(Quota::per_hour(20)).unwrap(), clock.clone());
    let limits = Composite::new((&second, &hour));
    let background = (&limits).leaving(Priority::Background);
    assert!(background.check_n(5).is_ok());
    assert_eq!(limits.check_all_leaving_at(1, Priority::Background.into(), limits.now()).unwrap_err().limit, 0);
    clock.advance(Duration::from_secs(1));
    assert!(background.check_n(5).is_ok());
    clock.advance(Duration::from_secs(1));
    let refused = limits.peek_all_leaving_at(1, Priority::Background.into(), limits.now()).unwrap_err();
    assert_eq!((refused.limit, refused.denied.limit), (1, 10));
    assert!(limits.check_n(10).is_ok());
}

/// In one step: threads that each leave half never take more than the other half.
#[test]
fn nobody_comes_between_look_and_take() {
    let clock = ManualClock::new();
    for (name, limiter) in all(Quota::per_second(1_000), &clock) {
        let barrier = Barrier::new(3);
        let taken: usize = thread::scope(|scope| {
            let run = || {
                barrier.wait();
                (0..1_000).filter(|_| (&limiter).leaving(Priority::Background).check().is_ok()).count()
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 500, "{name}");
    }
}

/// Requests of three levels that come evenly, so many per second of each, for twenty seconds: how many of each came in,
/// and passed.
fn simulate(limiter: &dyn Limiter, clock: &ManualClock, per_second: [u64; 3]) -> [(u64, u64); 3] {
    let mut counts = [(0, 0); 3];
    // Each level has an accumulator, to which its rate is added at every tick of a millisecond.
    let mut due = [0; 3];
    for _ in 0..20_000 {
        // The least important first, as who comes first is not what decides.
        for (level, rate) in (0..3).rev().map(|level| (level, per_second[level])) {
            due[level] += rate;
            while due[level] >= 1_000 {
                due[level] -= 1_000;
                counts[level].0 += 1;
                counts[level].1 += u64::from(limiter.leaving(LEVELS[level]).check().is_ok());
            }
        }
        clock.advance(Duration::from_millis(1));
    }
    counts
}

/// 100 a second are admitted, and 300 come. Critical traffic has the fifth that all others leave; of a bucket, which regains
/// it all the time, it has whatever it asks for, up to the whole rate.
#[test]
fn under_an_overload_of_three_to_one_background_yields_first() {
    let clock = ManualClock::new();
    let buckets = |(name, _): &(String, Any)| name.contains("Bucket");
    let by_all = all(Quota::per_second(100), &clock).into_iter().map(|limiter| (limiter, [20, 130, 150]));
    let by_buckets = [[50, 100, 150], [99, 101, 100]].into_iter().flat_map(|rates| {
        all(Quota::per_second(100), &clock).into_iter().filter(buckets).map(move |limiter| (limiter, rates))
    });
    for ((name, limiter), rates) in by_all.chain(by_buckets) {
        let [critical, normal, background] = simulate(&limiter, &clock, rates);
        let shown = format!("{name}: {critical:?} {normal:?} {background:?}");
        assert_eq!(critical.1, critical.0, "critical traffic loses nothing: {shown}");
        let shares = [normal, background].map(|(came, passed)| passed as f64 / came as f64);
        // Where critical traffic takes all there is, there is little that normal traffic could be ahead by.
        assert!(shares[0] > shares[1], "background yields first: {shown}");
        // A bucket holds nothing back that somebody could have used; a window and a log no more than what is to be left.
        let most = if name.contains("Bucket") { 100 } else { 80 };
        assert!(critical.1 + normal.1 + background.1 >= 20 * most, "{shown}");
    }
}

/// More than its share is asked for by critical traffic, and that much it has, of a window too, in each of the seconds.
#[test]
fn critical_traffic_has_its_share_at_least() {
    let clock = ManualClock::new();
    for (name, limiter) in all(Quota::per_second(100), &clock) {
        let [critical, ..] = simulate(&limiter, &clock, [60, 90, 150]);
        assert!((20 * 20..=20 * 60).contains(&critical.1), "{name}: {critical:?}");
    }
}

/// What comes at once is bounded by the burst, not by the rate: a batch finds what its level may use of it.
#[test]
fn a_batch_finds_the_share_of_its_level() {
    let clock = ManualClock::new();
    for (name, limiter) in all(Quota::per_second(10), &clock) {
        for (batch, passes) in [(5, 5), (8, 5)] {
            let passed = (0..batch).filter(|_| (&limiter).leaving(Priority::Background).check().is_ok()).count();
            assert_eq!(passed, passes, "{name}");
            clock.advance(Duration::from_secs(2));
        }
    }
}

#[test]
fn without_an_overload_nobody_is_refused_for_priority() {
    let clock = ManualClock::new();
    for (name, limiter) in all(Quota::per_second(100), &clock) {
        // No more than background may use of a window, whoever it is of.
        for rates in [[0, 0, 45], [10, 15, 20], [35, 5, 5]] {
            for (came, passed) in simulate(&limiter, &clock, rates) {
                assert_eq!(came, passed, "{name} at {rates:?}");
            }
            clock.advance(Duration::from_secs(10));
        }
    }
    // A bucket regains all the time: nobody is refused as long as all together stay below its rate.
    for bucket in all(Quota::per_second(100), &clock).into_iter().filter(|(name, _)| name.contains("Bucket")) {
        for (came, passed) in simulate(&bucket.1, &clock, [30, 30, 39]) {
            assert_eq!(came, passed, "{}", bucket.0);
        }
    }
}
