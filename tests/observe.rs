//! An observer is told of each request once, of what has become of it in the end.
#![cfg(not(loom))]

#[path = "runner/mod.rs"]
#[allow(unused_macros)]
mod runner;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use proptest::{collection::vec, prelude::*};
use runner::hold;
use tollgate::{
    Composite, Counters, Counts, Denied, FixedWindow, Headroom, KeyedLimiter, Limiter, ManualClock, Observer, Quota,
    RateLimiter, TokenBucket, Undo,
};

fn bucket(limit: u64) -> RateLimiter<TokenBucket, ManualClock> {
    RateLimiter::with_clock(TokenBucket::new(Quota::per_second(limit)).unwrap(), ManualClock::new())
}

/// Requests and units: admitted, must wait, never.
fn numbers(counts: Counts) -> [(u64, u64); 3] {
    [counts.admitted, counts.must_wait, counts.never].map(|count| (count.requests, count.units))
}

#[test]
fn checks_are_counted_by_what_became_of_them_and_looks_are_not() {
    let limiter = bucket(10).observed(Counters::new());
    assert!(limiter.check().is_ok());
    assert!(limiter.check_n(3).is_ok());
    assert!(limiter.check_at(limiter.now()).is_ok());
    assert!(limiter.check_n_at(2, limiter.now()).is_ok());
    assert!(limiter.check_n(0).is_ok());
    assert!((&limiter).leaving(Headroom::units(3)).check().is_err());
    assert!(limiter.check_n(4).is_err());
    assert!(limiter.check_n(11).is_err());
    assert!(limiter.peek().is_ok() && limiter.peek_n(4).is_err());
    limiter.refund(1);
    assert_eq!(numbers(limiter.observer().read()), [(5, 7), (2, 5), (1, 11)]);
    assert_eq!(limiter.observer().read().refused().units, 16);
}

#[test]
fn a_key_is_observed_as_a_limiter_is() {
    let bucket = TokenBucket::new(Quota::per_second(2)).unwrap();
    let keys: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(bucket, 10, ManualClock::new());
    let counters = Counters::new();
    for name in ["alice", "bob", "alice", "alice"] {
        let _ = keys.key(name).observed(&counters).check();
    }
    assert_eq!(numbers(counters.read()), [(3, 3), (1, 1), (0, 0)]);
}

#[test]
fn what_is_put_back_is_counted_apart() {
    let limiter = bucket(10).observed(Counters::new());
    let (_, taken) = limiter.take(4).unwrap();
    assert!(limiter.take(7).is_err());
    limiter.undo(taken, 3);
    let counts = limiter.observer().read();
    assert_eq!((numbers(counts), counts.put_back), ([(1, 4), (1, 7), (0, 0)], 3));

    // What is called off was not admitted.
    assert!(limiter.check_and(1, Headroom::NONE, limiter.now(), &mut |_| false).is_ok());
    assert_eq!(limiter.observer().read(), counts);
    assert!(limiter.check_and(1, Headroom::NONE, limiter.now(), &mut |_| true).is_ok());
    assert_eq!(limiter.observer().read().admitted.requests, 2);
}

#[test]
fn a_lease_is_observed_by_its_requests_and_a_limiter_under_it_by_what_is_taken() {
    let limiter = bucket(10_000).observed(Counters::new());
    let lease = (&limiter).lease().observed(Counters::new());
    (0..100).for_each(|_| assert!(lease.check().is_ok()));
    assert_eq!(numbers(lease.observer().read())[0], (100, 100));
    drop(lease);
    let counts = limiter.observer().read();
    assert!(counts.admitted.requests < 10);
    assert_eq!(counts.admitted.units - counts.put_back, 100);
}

#[test]
fn an_observer_behind_a_pointer_is_told_as_well() {
    let counters = Arc::new(Counters::new());
    let boxed: Box<dyn Observer> = Box::new(counters.clone());
    let limiter = bucket(1).observed(boxed);
    let (_, taken) = limiter.take(1).unwrap();
    assert!(limiter.check().is_err());
    limiter.undo(taken, 1);
    let counts = counters.read();
    assert_eq!((numbers(counts), counts.put_back), ([(1, 1), (1, 1), (0, 0)], 1));
}

#[test]
fn the_part_that_refuses_counts_it_and_the_others_do_not() {
    let first = bucket(10).observed(Counters::new());
    let second = bucket(3).observed(Counters::new());
    let inner = Composite::new((&first, &second)).observed(Counters::new());
    let last = bucket(20).observed(Counters::new());
    let outer = Composite::new((&inner, &last)).observed(Counters::new());
    let read = |counters: &Counters| numbers(counters.read());

    assert!(outer.check_n(2).is_ok());
    assert!(outer.check_n(2).is_err()); // by the second
    assert!(outer.check_n(21).is_err()); // by all; the first of those that never pass it
    assert_eq!(read(outer.observer()), [(1, 2), (1, 2), (1, 21)]);
    assert_eq!(read(inner.observer()), [(1, 2), (1, 2), (1, 21)]);
    assert_eq!(read(first.observer()), [(1, 2), (0, 0), (1, 21)]);
    assert_eq!(read(second.observer()), [(1, 2), (1, 2), (0, 0)]);
    assert_eq!(read(last.observer()), [(1, 2), (0, 0), (0, 0)]);

    // With a headroom, and by way of a lease.
    let lease = (&last).lease();
    let leaving = (&lease).leaving(Headroom::units(19));
    assert!(Composite::new((leaving, &first)).check().is_err());
    assert_eq!(read(last.observer()), [(1, 2), (1, 1), (0, 0)]);
    assert_eq!(read(first.observer())[0], (1, 2));
}

/// A part that is there twice is found to be refusing only after the first has taken: that is undone, and was not admitted.
#[test]
fn a_check_that_is_called_off_by_a_later_part_was_not_admitted() {
    let limiter = bucket(3).observed(Counters::new());
    assert!(Composite::new((&limiter, &limiter)).check_n(2).is_err());
    assert_eq!(numbers(limiter.observer().read()), [(0, 0), (1, 2), (0, 0)]);
    assert_eq!(limiter.peek_n(0).unwrap().remaining, 3);
}

#[test]
fn parts_have_counted_what_they_are_charged_and_what_they_refused() {
    let requests = vec((0..12_u64, 0..4_u64, 0..3_usize), 0..40);
    hold(256, (1..30_u64, 1..30_u64, 1..30_u64, requests), |(one, two, three, requests)| {
        let parts = [one, two, three].map(|limit| {
            let window = FixedWindow::new(Quota::per_second(limit)).unwrap();
            RateLimiter::with_clock(window, ManualClock::new()).observed(Counters::new())
        });
        let all = Composite::new([&parts[0], &parts[1], &parts[2]]).observed(Counters::new());
        let mut direct = [0; 3];
        for (cost, leave, part) in requests {
            if leave == 3 {
                direct[part] += 1;
                let _ = parts[part].check_n(cost);
            } else {
                let _ = (&all).leaving(Headroom::units(leave)).check_n(cost);
            }
        }
        let whole = all.observer().read();
        let mut refused = 0;
        for (part, limit) in parts.iter().zip([one, two, three]) {
            let counts = part.observer().read();
            let left = part.peek_n(0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining);
            prop_assert_eq!(counts.admitted.units, limit - left);
            refused += counts.refused().requests;
        }
        let alone: u64 = parts.iter().map(|part| part.observer().read().admitted.requests).sum();
        let alone = alone - 3 * whole.admitted.requests;
        let refused_alone = direct.iter().sum::<u64>() - alone;
        prop_assert_eq!(refused, whole.refused().requests + refused_alone);
        Ok(())
    });
}

/// One that panics when it is told of a refusal.
struct Fussy;

impl Observer for Fussy {
    fn refused(&self, _cost: u64, _denied: &Denied) {
        panic!("refused");
    }
}

#[test]
fn an_observer_that_panics_leaves_limiters_and_leases_in_order() {
    let (common, scarce) = (bucket(10_000).observed(Counters::new()), bucket(1).observed(Fussy));
    let lease = (&common).lease();
    (0..100).for_each(|_| assert!(lease.check().is_ok()));
    // Twice in one composite, so that the lease has spent when the second of the scarce units is asked for.
    let both = Composite::new((&lease, &scarce, &scarce));
    assert!(catch_unwind(AssertUnwindSafe(|| both.check())).is_err());
    assert_eq!(numbers(common.observer().read())[1..], [(0, 0), (0, 0)]);
    lease.settle();
    assert_eq!(lease.in_hand(), 0);
    // What was spent by then stays so.
    assert_eq!(common.peek_n(0).unwrap().remaining, 10_000 - 101);
    assert!(lease.check().is_ok());
    drop(lease);
    assert_eq!(common.peek_n(0).unwrap().remaining, 10_000 - 102);
}

/// Threads race for the last units of one part, so that many a check of the other is undone.
#[test]
fn what_is_undone_in_a_race_was_not_admitted() {
    let (common, scarce) = (bucket(100_000).observed(Counters::new()), bucket(2_000).observed(Counters::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let _ = Composite::new((&common, &scarce)).check();
                }
            });
        }
    });
    let read = |counters: &Counters| numbers(counters.read());
    assert_eq!(read(common.observer()), [(2_000, 2_000), (0, 0), (0, 0)]);
    assert_eq!(read(scarce.observer()), [(2_000, 2_000), (2_000, 2_000), (0, 0)]);
    assert_eq!(common.peek_n(0).unwrap().remaining, 100_000 - 2_000);
}
