//! Leases under the model checker: what goes back when one ends, while others take, in every interleaving.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test lease_loom --target-dir target/loom`.
//!
//! The clock is an atomic that moves with each reading, also with the one by which units are put back.
#![cfg(loom)]

mod moving;

use std::{sync::Arc, time::Duration};

use loom::{sync::atomic::Ordering, thread};
use moving::Moving;
use tollgate::{
    Algorithm, Allowed, Decision, Denied, FixedWindow, Headroom, Limiter, Quota, RateLimiter, SlidingLog,
    SlidingWindow, Timestamp, TokenBucket, Undo,
};

const START: u64 = 1_200_000;

fn limiter<A: Algorithm>(algorithm: A, step: u64) -> RateLimiter<A, Moving> {
    let clock = Moving::new(START, step);
    let limiter = RateLimiter::with_clock(algorithm, clock);
    limiter.clock().nanos.store(START, Ordering::Relaxed);
    limiter
}

fn model(preemptions: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(check);
}

fn take_all(limiter: &impl Limiter, now: u64) -> u64 {
    (1..).find(|_| limiter.check_at(Timestamp::from_nanos(now)).is_err()).unwrap() - 1
}

/// Two leases on twenty units of which nothing is regained: in the end, twenty have been admitted, or `lost` fewer.
fn nothing_is_lost<A: Algorithm + Copy + 'static>(algorithm: A, lost: u64) {
    model(Some(2), move || {
        let limiter = Arc::new(limiter(algorithm, 1));
        let run = |limiter: &RateLimiter<A, Moving>| {
            let lease = limiter.lease();
            // One, and then one and another ahead, of which one goes back.
            (0..2).map(|_| u64::from(lease.check().is_ok())).sum::<u64>()
        };
        let others = limiter.clone();
        let other = thread::spawn(move || run(&others));
        let mine = run(&limiter);
        let admitted = mine + other.join().unwrap();
        assert_eq!(admitted, 4, "there was room for all");
        let all = admitted + take_all(&*limiter, START + 100);
        assert!((20 - lost..=20).contains(&all), "what was unspent has not come back: {all}");
    });
}

#[test]
fn lease_return_loses_nothing() {
    let quota = Quota::new(20, Duration::from_nanos(1 << 40));
    nothing_is_lost(TokenBucket::new(quota).unwrap(), 0);
    nothing_is_lost(FixedWindow::new(quota).unwrap(), 0);
    nothing_is_lost(SlidingWindow::new(quota).unwrap(), 0);
    // One that has a place after a unit that is being written as it goes back: it does not wait for that for long.
    nothing_is_lost(SlidingLog::new(quota).unwrap(), 1);
}

/// A lease that holds a unit goes back while another thread takes what there is, twice: at times at which what was leased may
/// have been regained, or its window may have gone by. From one time to another, no more than `most` may be admitted.
fn returns_only_its_own<A, L>(
    algorithm: A,
    step: u64,
    most: fn(u64, u64) -> u64,
    wrap: fn(Arc<RateLimiter<A, Moving>>) -> L,
) where
    A: Algorithm + Copy + 'static,
    L: Undo + 'static,
{
    model(Some(3), move || {
        let limiter = Arc::new(limiter(algorithm, step));
        let lease = wrap(limiter.clone()).lease();
        // At one time: one, then one and one ahead, and all others of twelve.
        let now = Timestamp::from_nanos(START);
        assert!((0..2).all(|_| lease.check_at(now).is_ok()) && lease.in_hand() == 1);
        assert!(limiter.check_n_at(9, now).is_ok());
        let others = limiter.clone();
        let other = thread::spawn(move || {
            let take = |cost| {
                let now = others.now();
                let taken = others.check_n_at(cost, now).is_ok();
                (now.as_nanos(), if taken { cost } else { 0 })
            };
            [take(12), take(1)]
        });
        drop(lease);
        let mut admitted = vec![(START, 11)];
        admitted.extend(other.join().unwrap());
        // What is left for afterwards.
        let end = limiter.now().as_nanos();
        admitted.push((end, take_all(&*limiter, end)));
        for (first, &(start, _)) in admitted.iter().enumerate() {
            for (last, &(end, _)) in admitted.iter().enumerate().skip(first) {
                let units: u64 = admitted[first..=last].iter().map(|(_, units)| units).sum();
                assert!(units <= most(start, end), "{units} within {} ns: {admitted:?}", end - start);
            }
        }
    });
}

fn returns<A: Algorithm + Copy + 'static>(algorithm: A, step: u64, most: fn(u64, u64) -> u64) {
    returns_only_its_own(algorithm, step, most, |limiter| limiter);
}

const WINDOW: u64 = 40_000;

fn twelve() -> Quota {
    Quota::new(12, Duration::from_nanos(WINDOW))
}

/// Twelve in each window.
fn in_its_window(start: u64, end: u64) -> u64 {
    if start / WINDOW == end / WINDOW { 12 } else { u64::MAX }
}

#[test]
fn lease_return_gives_back_nothing_of_others() {
    let bucket = |limit| TokenBucket::new(Quota::new(limit, Duration::from_nanos(WINDOW)).burst(12)).unwrap();
    // A unit is regained in four readings of the clock, in one, in half of one; in one reading all of them.
    returns(bucket(1), WINDOW / 4, |start, end| 12 + (end - start) / WINDOW);
    returns(bucket(1), WINDOW, |start, end| 12 + (end - start) / WINDOW);
    returns(bucket(4), WINDOW / 2, |start, end| 12 + (end - start) / (WINDOW / 4));
    returns(bucket(12), WINDOW, |start, end| 12 + 12 * (end - start) / WINDOW);
    returns(FixedWindow::new(twelve()).unwrap(), WINDOW / 2, in_its_window);
    returns(FixedWindow::new(twelve()).unwrap(), WINDOW, in_its_window);
    returns(SlidingWindow::new(twelve()).unwrap(), WINDOW / 2, in_its_window);
    returns(SlidingLog::new(twelve()).unwrap(), WINDOW / 2, |start, end| 12 * ((end - start) / WINDOW + 1));
}

/// Planted: what a lease has not spent is refunded, which takes the newest units there are for its own.
#[test]
#[should_panic(expected = "within 20000 ns")]
fn a_lease_return_by_refund_is_caught() {
    struct Refunds<L>(L);

    impl<L: Limiter> Limiter for Refunds<L> {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
        fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
            self.0.check_n_leaving_at(cost, leave, now)
        }
        fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
            self.0.peek_n_leaving_at(cost, leave, now)
        }
        fn refund_at(&self, cost: u64, now: Timestamp) {
            self.0.refund_at(cost, now);
        }
        fn reset_at(&self, now: Timestamp) {
            self.0.reset_at(now);
        }
    }

    impl<L: Undo> Undo for Refunds<L> {
        type Taken = L::Taken;

        fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, L::Taken), Denied> {
            self.0.take_leaving_at(cost, leave, now)
        }
        fn undo_at(&self, _taken: L::Taken, cost: u64, _now: Timestamp) {
            self.0.refund(cost);
        }
        fn delays(&self) -> bool {
            self.0.delays()
        }
    }

    returns_only_its_own(FixedWindow::new(twelve()).unwrap(), WINDOW / 2, in_its_window, Refunds);
}
