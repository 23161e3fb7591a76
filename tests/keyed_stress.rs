//! Real threads on the real clock: a table under a flood of keys, and under traffic in which some keys come far more often
//! than others.
//!
//! `KEYED_FLOOD` is the number of new keys in each flood: 60,000 if not given, and worth ten million in release.
#![cfg(not(loom))]

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tollgate::{
    Algorithm, Clock, FixedWindow, KeyedLimiter, LeakyBucket, MonotonicClock, Quota, SlidingLog, SlidingWindow, Tiers,
    TokenBucket,
    keyed::{Plan, PlanFor},
};

/// One test at a time: each has all threads to itself, and nobody else's memory is measured.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next of a row of random numbers.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

mod flood {
    use super::*;

    const CAPACITY: usize = 10_000;
    const OLD: u64 = 100;
    const LIMIT: u64 = 5;
    const THREADS: u64 = 4;

    /// The resident memory of this process in bytes, where it is told, but for the pages of its code, which come as it runs.
    fn resident() -> Option<usize> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let kib =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB")?.trim().parse().ok());
        kib.map(|kib: usize| kib * 1_024)
    }

    fn keys() -> u64 {
        std::env::var("KEYED_FLOOD").map_or(60_000, |keys| keys.parse().expect("a number of keys"))
    }

    /// 100 keys take all they have, and ask again and again while new keys come from all sides.
    fn flood<A: PlanFor<u64> + Sync>(algorithm: A) -> KeyedLimiter<u64, A> {
        let _alone = alone();
        let before = resident();
        let limiter = KeyedLimiter::<u64, A>::with_capacity(algorithm, CAPACITY);
        for old in 0..OLD {
            assert!((0..LIMIT).all(|_| limiter.check(&old).is_ok()), "there is room for the first");
        }
        let (each, admitted, started) = (keys() / THREADS, AtomicU64::new(0), Instant::now());
        let worker = |thread: u64| {
            let begin = 1_000_000 + thread * each;
            for (nth, key) in (begin..begin + each).enumerate() {
                if limiter.check(&key).is_ok() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
                let old = nth as u64 % OLD;
                assert!(limiter.check(&old).is_err(), "{old} was admitted once too often");
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || worker(thread))).collect();
            workers.into_iter().for_each(|worker| worker.join().expect("as asserted"));
        });
        for old in 0..OLD {
            assert!(limiter.check(&old).is_err(), "{old} was reset");
        }
        let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));
        // The stacks of the threads, and what the allocator keeps of them.
        let most = limiter.memory() + (1 << 20);
        assert!(grown <= Some(most), "{grown:?} bytes of {most}");
        println!(
            "{} new keys, {} of them admitted in {:?}: {:?}; {grown:?} bytes more, of a table of {}",
            each * THREADS,
            admitted.into_inner(),
            started.elapsed(),
            limiter.stats(),
            limiter.memory(),
        );
        limiter
    }

    /// Nobody recovers: the table fills, and the others share what newcomers have.
    fn that_stays<A: Algorithm>(algorithm: A) {
        let limiter = flood(algorithm);
        assert!(limiter.len() > CAPACITY, "the flood was too small");
        assert!(limiter.stats().overflowed > 0);
        assert_eq!(limiter.stats().taken_over, 0);
    }

    /// New keys recover at once, and slots change hands all the time.
    fn that_passes<A: Algorithm>(build: impl Fn(Quota) -> A) {
        let slow_and_fast = [Quota::per_day(LIMIT), Quota::new(LIMIT, Duration::from_micros(100))].map(build);
        let by_age = |key: &u64| usize::from(*key >= OLD);
        let limiter = flood(Tiers::new(slow_and_fast, by_age).unwrap());
        assert!(limiter.stats().taken_over > 1_000, "{:?}", limiter.stats());
    }

    #[test]
    fn resets_no_fixed_window() {
        that_stays(FixedWindow::new(Quota::per_day(LIMIT)).unwrap());
        that_passes(|quota| FixedWindow::new(quota).unwrap());
    }

    #[test]
    fn resets_no_sliding_window() {
        that_stays(SlidingWindow::new(Quota::per_day(LIMIT)).unwrap());
        that_passes(|quota| SlidingWindow::new(quota).unwrap());
    }

    #[test]
    fn resets_no_sliding_log() {
        that_stays(SlidingLog::new(Quota::per_day(LIMIT)).unwrap());
        that_passes(|quota| SlidingLog::new(quota).unwrap());
    }

    #[test]
    fn resets_no_token_bucket() {
        that_stays(TokenBucket::new(Quota::per_day(LIMIT)).unwrap());
        that_passes(|quota| TokenBucket::new(quota).unwrap());
    }

    #[test]
    fn resets_no_leaky_bucket() {
        that_stays(LeakyBucket::new(Quota::per_day(LIMIT)).unwrap());
        that_passes(|quota| LeakyBucket::new(quota).unwrap());
    }
}

mod traffic {
    use super::*;

    const KEYS: usize = 1_000;
    const RUN: Duration = Duration::from_millis(200);
    /// 20 in 2 ms.
    const LIMIT: u64 = 20;
    const PERIOD: Duration = Duration::from_millis(2);

    /// A key by Zipf's law: the nth comes about 1/n as often as the first.
    fn zipf(state: &mut u64) -> usize {
        let uniform = (random(state) >> 11) as f64 / (1_u64 << 53) as f64;
        ((KEYS as f64).powf(uniform) as usize - 1).min(KEYS - 1)
    }

    /// Units admitted of each key, and the limiter's own time from just before it was made to the end.
    fn hammer<A: Plan + PlanFor<usize> + Sync>(algorithm: A, capacity: usize, threads: u64) -> (Vec<u64>, Duration) {
        let _alone = alone();
        let clock = MonotonicClock::new();
        let start = clock.now();
        let limiter = KeyedLimiter::<usize, A>::with_clock(algorithm, capacity, clock);
        let worker = |thread: u64| {
            let (mut admitted, mut state) = (vec![0_u64; KEYS], thread);
            loop {
                for _ in 0..64 {
                    let key = zipf(&mut state);
                    let cost = random(&mut state) % 3 + 1;
                    if limiter.check_n(&key, cost).is_ok() {
                        admitted[key] += cost;
                    }
                }
                if limiter.clock().now() - start >= RUN {
                    return admitted;
                }
            }
        };
        let total = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || worker(thread))).collect();
            workers.into_iter().fold(vec![0; KEYS], |total, worker| {
                let admitted = worker.join().expect("a worker has nothing to panic at");
                total.into_iter().zip(admitted).map(|(total, admitted)| total + admitted).collect()
            })
        });
        if capacity == 0 {
            assert!(limiter.stats().taken_over > 0 && limiter.stats().overflowed > 0, "{:?}", limiter.stats());
        }
        (total, limiter.clock().now() - start)
    }

    /// In a table of 32 slots for 1,000 keys, and in one with room for all; on 2 and on 8 threads.
    fn assert_bound<A: Algorithm + Copy>(algorithm: A, bound: impl Fn(Duration) -> u64) {
        for (capacity, threads) in [(0, 2), (0, 8), (KEYS, 2), (KEYS, 8)] {
            let (admitted, time) = hammer(algorithm, capacity, threads);
            let most = bound(time);
            for (key, &admitted) in admitted.iter().enumerate() {
                assert!(admitted <= most, "key {key}: {admitted} of {most} in {time:?}, {threads} threads");
            }
            assert!(admitted[0] > 0);
            if capacity == KEYS {
                // It is asked for far more often than that.
                assert!(admitted[0] >= most / 10, "{} of {most} in {time:?}, {threads} threads", admitted[0]);
            }
        }
    }

    fn quota() -> Quota {
        Quota::new(LIMIT, PERIOD)
    }

    /// Periods that may have begun within this time, but for the first.
    fn periods(time: Duration) -> u64 {
        (time.as_nanos() / PERIOD.as_nanos()) as u64
    }

    /// The burst and what is gained.
    fn gained(time: Duration) -> u64 {
        LIMIT + (time.as_nanos() * u128::from(LIMIT) / PERIOD.as_nanos()) as u64 + 1
    }

    #[test]
    fn is_held_to_fixed_windows() {
        assert_bound(FixedWindow::new(quota()).unwrap(), |time| LIMIT * (periods(time) + 2));
    }

    #[test]
    fn is_held_to_sliding_windows() {
        assert_bound(SlidingWindow::new(quota()).unwrap(), |time| LIMIT * (periods(time) + 2));
    }

    #[test]
    fn is_held_to_sliding_logs() {
        assert_bound(SlidingLog::new(quota()).unwrap(), |time| LIMIT * (periods(time) + 1));
    }

    #[test]
    fn is_held_to_token_buckets() {
        assert_bound(TokenBucket::new(quota()).unwrap(), gained);
    }

    #[test]
    fn is_held_to_leaky_buckets() {
        assert_bound(LeakyBucket::new(quota()).unwrap(), gained);
    }
}
