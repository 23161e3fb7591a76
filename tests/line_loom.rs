//! Lines under the model checker: whoever waits is served or sent away, in every interleaving.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test line_loom --target-dir target/loom`.
//!
//! The clock is an atomic that moves with each reading. Who is not first sleeps without a timer, so one that is not called sleeps
//! for ever, and the checker says that it is a deadlock.
#![cfg(loom)]

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use loom::{
    future::block_on,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tollgate::{Clock, Limiter, Line, Quota, RateLimiter, Timer, Timestamp, TokenBucket, WaitError};

/// The model's clock: each reading is a step later.
#[derive(Clone)]
struct Moving(Arc<AtomicU64>);

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.fetch_add(20, Ordering::Relaxed))
    }
}

/// A timer that is always early, but lets others go first.
struct Early;

struct Yield(bool);

impl Timer for Early {
    type Sleep = Yield;

    fn sleep(&self, _: Duration) -> Yield {
        Yield(false)
    }
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        thread::yield_now();
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

type Waits = Line<RateLimiter<TokenBucket, Moving>>;

/// One unit at a time, every six readings of the clock; at first there is none.
fn line() -> Arc<Waits> {
    let clock = Moving(Arc::new(AtomicU64::new(1_000)));
    let bucket = TokenBucket::new(Quota::new(1, Duration::from_nanos(120))).unwrap();
    let limiter = RateLimiter::with_clock(bucket, clock);
    assert!(limiter.check().is_ok());
    Arc::new(Line::new(limiter, 10))
}

fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

fn passes(line: &Waits) -> bool {
    block_on(line.wait(1, Duration::MAX, Early)).is_ok()
}

/// Polls once, and then does not look any more: it leaves the line, as it should, or not.
fn gives_up(line: &Waits, leaves: bool) {
    let mut waits: Pin<Box<dyn Future<Output = bool> + '_>> =
        Box::pin(async { line.wait(1, Duration::MAX, Early).await.is_ok() });
    block_on(poll_fn(|context| {
        let _ = waits.as_mut().poll(context);
        Poll::Ready(())
    }));
    if leaves {
        drop(waits);
    } else {
        std::mem::forget(waits);
    }
}

#[test]
fn each_waiter_calls_the_next() {
    model(2, || {
        let line = line();
        let others = line.clone();
        let other = thread::spawn(move || assert!(passes(&others)));
        assert!(passes(&line));
        other.join().unwrap();
        assert_eq!(line.waiting(), 0);
    });
}

#[test]
fn a_waiter_that_is_dropped_calls_the_next() {
    model(2, || {
        let line = line();
        let others = line.clone();
        let other = thread::spawn(move || gives_up(&others, true));
        assert!(passes(&line));
        other.join().unwrap();
        assert_eq!(line.waiting(), 0);
    });
}

#[test]
fn one_of_three_is_dropped_and_the_others_pass() {
    model(2, || {
        let line = line();
        let others = [line.clone(), line.clone()];
        let [first, second] = others;
        let first = thread::spawn(move || gives_up(&first, true));
        let second = thread::spawn(move || assert!(passes(&second)));
        assert!(passes(&line));
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(line.waiting(), 0);
    });
}

#[test]
fn a_closed_line_is_left_by_all() {
    model(2, || {
        let line = line();
        let others = line.clone();
        let other = thread::spawn(move || block_on(others.wait(1, Duration::MAX, Early)));
        line.close();
        let refused = other.join().unwrap();
        assert!(refused.is_ok() || refused == Err(WaitError::Closed));
        assert_eq!(block_on(line.wait(1, Duration::MAX, Early)), Err(WaitError::Closed));
        assert_eq!(line.waiting(), 0);
    });
}

/// Planted: a waiter that goes without leaving the line, so that the next is not called.
#[test]
#[should_panic(expected = "deadlock")]
fn a_waiter_that_does_not_leave_is_caught() {
    model(2, || {
        let line = line();
        let others = line.clone();
        // For whoever comes second it makes no difference, so in some interleavings only.
        let other = thread::spawn(move || gives_up(&others, false));
        assert!(passes(&line));
        other.join().unwrap();
    });
}
