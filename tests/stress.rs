//! Real threads on the real clock: each algorithm under fire for a second, its total held to the bound.
//!
//! Not a proof (loom is nearer to one), but the only test in which nothing is simulated.
#![cfg(not(loom))]

use std::{sync::Barrier, thread, time::Duration};

use tollgate::{
    Algorithm, Clock, FixedWindow, LeakyBucket, Limiter, MonotonicClock, Quota, RateLimiter, SlidingLog, SlidingWindow,
    TokenBucket,
};

const THREADS: usize = 4;
const RUN: Duration = Duration::from_secs(1);

/// Hammers one limiter from many threads for a second, each until it is next refused: units admitted, and the limiter's
/// own time from just before it was made to the last of these refusals, in nanoseconds.
fn hammer<A: Algorithm>(algorithm: A) -> (u64, u64) {
    let clock = MonotonicClock::new();
    let start = clock.now();
    let limiter = RateLimiter::with_clock(algorithm, clock);
    let barrier = Barrier::new(THREADS);
    let worker = || {
        barrier.wait();
        let mut admitted = 0;
        loop {
            let time = limiter.now() - start;
            if limiter.check().is_ok() {
                admitted += 1;
            } else if time >= RUN {
                return (admitted, time.as_nanos() as u64);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().fold((0, 0), |(total, latest), worker| {
            let (admitted, time) = worker.join().expect("a worker has nothing to panic at");
            (total + admitted, latest.max(time))
        })
    })
}

/// A bucket that starts empty admits its rate: never more, and under steady fire at most 0.1 % less.
///
/// The burst is what is regained in a second, so that nothing is lost while the machine is busy elsewhere.
fn assert_bucket(algorithm: impl Algorithm) {
    let rate = algorithm.quota().limit();
    let (admitted, nanos) = hammer(algorithm);
    let most = (u128::from(rate) * u128::from(nanos) / 1_000_000_000) as u64;
    assert!(admitted <= most, "{admitted} of at most {most}");
    assert!(admitted >= most - most / 1_000, "{admitted} of {most}");
}

#[test]
fn token_bucket() {
    assert_bucket(TokenBucket::new(Quota::per_second(100_000)).unwrap().start_empty());
}

#[test]
fn leaky_bucket() {
    assert_bucket(LeakyBucket::new(Quota::per_second(700_000)).unwrap().start_empty());
}

#[test]
fn fixed_window() {
    // 10 ms each: as many windows as were touched.
    let period = Duration::from_millis(10);
    let (admitted, nanos) = hammer(FixedWindow::new(Quota::new(500, period)).unwrap());
    let windows = nanos / period.as_nanos() as u64 + 2;
    assert!(admitted <= 500 * windows, "{admitted} in {windows} windows");
    assert!(admitted >= 500 * 10, "{admitted}: windows went unused");
}

#[test]
fn sliding_window() {
    let period = Duration::from_millis(10);
    let (admitted, nanos) = hammer(SlidingWindow::new(Quota::new(500, period)).unwrap());
    let periods = nanos / period.as_nanos() as u64 + 1;
    assert!(admitted < 2 * 500 * periods, "{admitted} in {periods} periods");
    assert!(admitted >= 500 * 10, "{admitted}: most of the limit went unused");
}

#[test]
fn sliding_log() {
    let period = Duration::from_millis(10);
    let (admitted, nanos) = hammer(SlidingLog::new(Quota::new(500, period)).unwrap());
    let periods = nanos / period.as_nanos() as u64 + 1;
    assert!(admitted <= 500 * periods, "{admitted} in {periods} periods");
    // A thread that is held up between claiming a place and writing it keeps the others waiting for that place.
    assert!(admitted >= 500 * 10, "{admitted}: places went unused");
}

/// The shortest windows there are, so that each place is claimed, given back and forgotten at once by several threads.
#[test]
fn a_sliding_log_survives_refunds_and_resets_at_the_end_of_its_window() {
    for (limit, period) in [(1, 20), (1, 200), (3, 300)] {
        let quota = Quota::new(limit, Duration::from_nanos(period));
        let limiter = RateLimiter::new(SlidingLog::new(quota).unwrap());
        let start = limiter.now();
        let worker = |seed: usize| {
            for step in (seed..).step_by(7) {
                match step % 16 {
                    0..4 => limiter.refund(1),
                    4 => limiter.reset(),
                    _ => {
                        let answer = limiter.check();
                        let wait = answer.map_or_else(|denied| denied.retry_after, |allowed| Some(allowed.reset_after));
                        // As far as the clock of a thread that was held up lies behind, and a window.
                        assert!(wait < Some(10 * RUN), "{answer:?}");
                    }
                }
                if step % 1_000 < 7 && limiter.now() - start > RUN / 4 {
                    break;
                }
            }
        };
        thread::scope(|scope| (0..THREADS).for_each(|seed| drop(scope.spawn(move || worker(seed)))));
        // Nothing is left claimed and not written.
        let later = limiter.now() + Duration::from_secs(1);
        assert!(limiter.peek_n_at(limit, later).is_ok(), "{limit} per {period} ns");
    }
}
