//! Lines on tokio: its timer, and tasks that are aborted.
#![cfg(all(feature = "tokio", not(loom)))]

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollgate::{Clock, Line, Quota, RateLimiter, Timestamp, TokenBucket, TokioTimer, WaitError};

/// Tokio's clock, which a paused runtime moves on when there is nothing else to do.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.0.elapsed()
    }
}

fn line(quota: Quota) -> Arc<Line<RateLimiter<TokenBucket, TokioClock>>> {
    let bucket = TokenBucket::new(quota).unwrap();
    Arc::new(Line::new(RateLimiter::with_clock(bucket, TokioClock(Instant::now())), 100))
}

#[tokio::test(start_paused = true)]
async fn tasks_pass_in_order_and_in_time() {
    let line = line(Quota::per_second(10));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for cost in [10, 5, 1, 10] {
        let line = line.clone();
        tasks.push(tokio::spawn(async move {
            line.wait(cost, Duration::MAX, TokioTimer).await.unwrap();
            start.elapsed().as_millis()
        }));
        tokio::task::yield_now().await;
    }
    for (task, expected) in tasks.into_iter().zip([0, 500, 600, 1_600]) {
        assert_eq!(task.await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_makes_room_for_the_next() {
    let line = line(Quota::per_second(10));
    line.wait(10, Duration::ZERO, TokioTimer).await.unwrap();
    let start = Instant::now();
    let large = tokio::spawn({
        let line = line.clone();
        async move { line.wait(10, Duration::MAX, TokioTimer).await }
    });
    tokio::task::yield_now().await;
    let small = tokio::spawn({
        let line = line.clone();
        async move { line.wait(3, Duration::from_secs(5), TokioTimer).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    large.abort();
    small.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_millis(), 300);
    let refused = line.wait(3, Duration::from_millis(200), &TokioTimer).await;
    assert!(matches!(refused, Err(WaitError::TooLong { wait, .. }) if wait == Duration::from_millis(300)));
}

/// Whoever is dropped by a time-out from outside, at whatever moment that is, leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_of_which_many_are_dropped() {
    let line =
        Arc::new(Line::new(RateLimiter::new(TokenBucket::new(Quota::per_second(2_000).burst(10)).unwrap()), 1_000));
    let start = std::time::Instant::now();
    let tasks: Vec<_> = (0..400_u64)
        .map(|task| {
            let line = line.clone();
            tokio::spawn(async move {
                let cost = 1 + task % 5;
                let waits = line.wait(cost, Duration::MAX, TokioTimer);
                let passed = tokio::time::timeout(Duration::from_millis(task * 7 % 150), waits).await;
                passed.map_or(0, |outcome| outcome.map_or(0, |_| cost))
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += task.await.unwrap();
    }
    let most = 10 + 1 + 2 * start.elapsed().as_millis() as u64;
    assert!((10..=most).contains(&passed), "{passed} of {most}");
    assert_eq!(line.waiting(), 0);
    line.wait(10, Duration::from_secs(10), TokioTimer).await.unwrap();
}
