//! Our own costs: every algorithm, admitted and refused, by the clock and at a given time, alone and contended.
//!
//! `benches/compare` sets them beside those of other crates.

mod common;

use std::{
    hint::black_box,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use common::{AMPLE, AMPLE_LOG, AMPLE_WINDOW, New, ample, spent};
use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::{
    Algorithm, Clock, FixedWindow, LeakyBucket, Limiter, ManualClock, MonotonicClock, Quota, RateLimiter, SlidingLog,
    SlidingWindow, Timestamp, TokenBucket,
};

criterion_main!(benches);
criterion_group!(
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = clocks, algorithms
);

fn clocks(c: &mut Criterion) {
    let clock = MonotonicClock::new();
    c.bench_function("clock/monotonic", |b| b.iter(|| clock.now()));
}

fn algorithms(c: &mut Criterion) {
    algorithm(c, "token_bucket", TokenBucket::new, AMPLE);
    algorithm(c, "leaky_bucket", LeakyBucket::new, AMPLE);
    algorithm(c, "fixed_window", FixedWindow::new, AMPLE_WINDOW);
    algorithm(c, "sliding_window", SlidingWindow::new, AMPLE_WINDOW);
    algorithm(c, "sliding_log", SlidingLog::new, AMPLE_LOG);
}

fn algorithm<A: Algorithm>(c: &mut Criterion, name: &str, new: New<A>, quota: Quota) {
    let allow = || ample(new, quota, MonotonicClock::new());
    let deny = || spent(new, MonotonicClock::new());
    for (answer, limiter) in [("allow", allow()), ("deny", deny())] {
        c.bench_function(&format!("{name}/{answer}/clock"), |b| b.iter(|| black_box(&limiter).check()));
    }
    for (answer, limiter) in
        [("allow", ample(new, quota, ManualClock::new())), ("deny", spent(new, ManualClock::new()))]
    {
        let mut now = Timestamp::ZERO;
        c.bench_function(&format!("{name}/{answer}/given_time"), |b| {
            b.iter(|| {
                now = now + Duration::from_nanos(10);
                black_box(&limiter).check_at(now)
            });
        });
    }
    for (answer, limiter) in [("allow", allow()), ("deny", deny())] {
        c.bench_function(&format!("{name}/{answer}/contended"), |b| b.iter_custom(|checks| contend(&limiter, checks)));
    }
}

/// How long two threads take for `checks` each.
fn contend<A: Algorithm>(limiter: &RateLimiter<A>, checks: u64) -> Duration {
    let start = Barrier::new(2);
    let run = || {
        start.wait();
        let since = Instant::now();
        for _ in 0..checks {
            let _ = black_box(limiter.check());
        }
        since.elapsed()
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().expect("no panic")).into_iter().max().expect("two threads")
    })
}
