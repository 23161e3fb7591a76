//! Bookings under the model checker: what cancelling one leaves behind, in every interleaving with checks, with other bookings,
//! and with what is given back past the ledger.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test reserve_loom --target-dir target/loom`.
//!
//! The clock is an atomic that moves with each reading, also with the one by which something is put back.
#![cfg(loom)]

mod moving;

use std::{hash::BuildHasher, time::Duration};

use loom::{
    sync::{Arc, atomic::Ordering},
    thread,
};
use moving::Moving;
use tollgate::{KeyedLimiter, Limiter, Quota, RateLimiter, Reserve, Timestamp, TokenBucket, Undo};

const START: u64 = 1_000;

type Tokens = RateLimiter<TokenBucket, Moving>;

/// So many in 40 ns.
fn in_40(limit: u64) -> TokenBucket {
    TokenBucket::new(Quota::new(limit, Duration::from_nanos(40))).unwrap()
}

/// As many, but nothing is regained within the model.
fn in_a_second(limit: u64) -> TokenBucket {
    TokenBucket::new(Quota::per_second(limit)).unwrap()
}

fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

fn check(limiter: &impl Limiter) -> Option<u64> {
    let now = limiter.now();
    limiter.check_at(now).is_ok().then_some(now.as_nanos())
}

/// From one time to another no more than the bucket has, and gains.
fn audit(times: impl IntoIterator<Item = Option<u64>>, limit: u64) {
    let mut times: Vec<u64> = times.into_iter().flatten().collect();
    times.sort_unstable();
    for (first, &start) in times.iter().enumerate() {
        for (last, &end) in times.iter().enumerate().skip(first) {
            let count = (last - first + 1) as u64;
            assert!(count <= limit + (end - start) * limit / 40, "{count} within {} ns: {times:?}", end - start);
        }
    }
}

/// One thread does this with its limiter while another checks, and then it is looked at what is left.
fn while_another_checks(limit: u64, step: u64, act: fn(&Tokens)) {
    model(3, move || {
        let limiter = Arc::new(RateLimiter::with_clock(in_40(limit), Moving::new(START, step)));
        let others = limiter.clone();
        let other = thread::spawn(move || [check(&*others), check(&*others)]);
        act(&limiter);
        let times = other.join().unwrap();
        let mut all = times.to_vec();
        all.extend((0..3).map(|_| check(&*limiter)));
        audit(all, limit);
    });
}

#[test]
fn cancelling_puts_back_nothing_of_others() {
    // A unit is regained in four readings of the clock, in two, in one.
    for (limit, step) in [(1, 10), (2, 10), (1, 40)] {
        while_another_checks(limit, step, |limiter| drop(limiter.reserve(1, Duration::from_nanos(60))));
    }
}

#[test]
fn bookings_cancelled_by_two_threads_leave_what_was_there() {
    model(3, || {
        let limiter = Arc::new(RateLimiter::with_clock(in_a_second(3), Moving::new(START, 1)));
        let others = limiter.clone();
        let other = thread::spawn(move || drop((&*others).reserve(2, Duration::MAX).unwrap()));
        let one = (&*limiter).reserve(3, Duration::MAX).unwrap();
        let two = (&*limiter).reserve(1, Duration::MAX).unwrap();
        drop(one);
        two.settle(1);
        other.join().unwrap();
        let left = limiter.peek_n_at(0, Timestamp::from_nanos(START + 40)).unwrap().remaining;
        assert_eq!(left, 2);
    });
}

/// The case in which a place has moved without the ledger's knowing: see `src/ledger.rs`. Units before it are undone while it is
/// booked, time reaches where it is by then, and others take what there is; then it is cancelled.
#[test]
fn what_is_undone_past_the_ledger_is_not_put_back_twice() {
    model(3, || {
        // A unit every 20 ns, of 4.
        let clock = Moving::new(START, 1);
        let bucket = TokenBucket::new(Quota::new(4, Duration::from_nanos(80))).unwrap();
        let limiter = Arc::new(RateLimiter::with_clock(bucket, clock.clone()));
        let (_, taken) = limiter.take(2).unwrap();
        let others = limiter.clone();
        let other = thread::spawn(move || others.undo(taken, 2));
        let booking = (&*limiter).reserve(2, Duration::MAX).unwrap();
        other.join().unwrap();
        clock.nanos.fetch_add(45, Ordering::Relaxed);
        let start = clock.nanos.load(Ordering::Relaxed);
        assert!(limiter.check_n(3).is_ok());
        drop(booking);
        let more = (0..5).filter(|_| limiter.check().is_ok()).count() as u64;
        let end = clock.nanos.load(Ordering::Relaxed);
        assert!(3 + more <= 4 + (end - start) / 20, "{more} more within {} ns", end - start);
    });
}

/// A reset gives as much as a new bucket has, and what was booked before it nothing more, whenever it is cancelled.
#[test]
fn what_a_reset_forgets_is_not_put_back() {
    model(3, || {
        let limiter = Arc::new(RateLimiter::with_clock(in_a_second(2), Moving::new(START, 1)));
        let others = limiter.clone();
        let other = thread::spawn(move || {
            others.reset();
            u64::from(others.check_n(2).is_ok())
        });
        let booking = (&*limiter).reserve(2, Duration::ZERO);
        drop(booking);
        // All that has passed since the reset, and nothing was kept before.
        let passed = 2 * other.join().unwrap();
        let more = (0..3).filter(|_| limiter.check().is_ok()).count() as u64;
        assert!(passed + more <= 2, "{passed} and {more} more");
    });
}

/// Hashes a key as itself.
#[derive(Clone, Copy)]
struct AsItself;

struct Last(u64);

impl BuildHasher for AsItself {
    type Hasher = Last;
    fn build_hasher(&self) -> Last {
        Last(0)
    }
}

impl std::hash::Hasher for Last {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {}
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

#[test]
fn a_key_is_booked_and_cancelled_while_it_is_checked() {
    model(2, || {
        let limiter: KeyedLimiter<u64, _, _, _> =
            KeyedLimiter::with_clock_and_hasher(in_40(1), 1, Moving::new(START, 10), AsItself);
        let limiter = Arc::new(limiter);
        let others = limiter.clone();
        let other = thread::spawn(move || check(&others.key(&1)));
        drop(limiter.key(&1).reserve(1, Duration::from_nanos(60)));
        let key = limiter.key(&1);
        let times = [other.join().unwrap(), check(&key), check(&key)];
        audit(times, 1);
    });
}

/// Planted: what is cancelled is refunded, which takes the newest units there are for its own.
#[test]
#[should_panic(expected = "within")]
fn a_refund_for_a_cancel_is_caught() {
    while_another_checks(2, 10, |limiter| {
        if let Ok(booking) = limiter.reserve(1, Duration::from_nanos(60)) {
            booking.commit();
            limiter.refund(1);
        }
    });
}
