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

use common::{AMPLE, AMPLE_LIVE, AMPLE_LOG, AMPLE_WINDOW, New, ample, spent};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tollgate::{
    Algorithm, Carry, Clock, FixedWindow, KeyedLimiter, LeakyBucket, Limiter, Live, ManualClock, MonotonicClock, Quota,
    RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket,
};

criterion_main!(benches);
criterion_group!(
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = clocks, algorithms, keys
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
    algorithm(c, "live_token_bucket", Live::<TokenBucket>::new, AMPLE_LIVE);
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

/// A token bucket for each of many keys, all of them seen before.
fn keys(c: &mut Criterion) {
    for (name, count) in [("1k", 1_000), ("1m", 1_000_000)] {
        let limiter = known(TokenBucket::new, AMPLE, count);
        let live = known(Live::<TokenBucket>::new, AMPLE_LIVE, count);
        // Each key once in `count`, in an order that no cache foresees.
        let mut keys = (0..).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count);
        c.bench_function(&format!("keyed/{name}/clock"), |b| {
            b.iter_batched(|| keys.next().expect("endless"), |key| limiter.check(&key), BatchSize::SmallInput);
        });
        c.bench_function(&format!("keyed_live/{name}/clock"), |b| {
            b.iter_batched(|| keys.next().expect("endless"), |key| live.check(&key), BatchSize::SmallInput);
        });
        let mut bursts = [1_000, 2_000].into_iter().cycle();
        c.bench_function(&format!("keyed_live/{name}/set_quota"), |b| {
            b.iter(|| {
                let quota = AMPLE_LIVE.burst(bursts.next().expect("endless"));
                live.set_quota(quota, Carry::Absolute).expect("a quota that a live bucket can have");
            });
        });
        let now = limiter.clock().now();
        c.bench_function(&format!("keyed/{name}/given_time"), |b| {
            b.iter_batched(|| keys.next().expect("endless"), |key| limiter.check_at(&key, now), BatchSize::SmallInput);
        });
        c.bench_function(&format!("keyed/{name}/many_256"), |b| {
            let batch = || keys.by_ref().take(256).collect::<Vec<_>>();
            b.iter_batched(batch, |batch| limiter.check_many(&batch), BatchSize::SmallInput);
        });
    }
}

/// A limiter of so many keys, all of them seen before.
fn known<A: Algorithm>(new: New<A>, quota: Quota, count: u64) -> KeyedLimiter<u64, A> {
    let limiter = KeyedLimiter::with_capacity(new(quota).expect("a quota that it can hold"), count as usize);
    (0..count).for_each(|key| limiter.check(&key).map(drop).expect("an ample quota"));
    limiter
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
