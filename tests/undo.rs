//! What is taken can be kept and put back, in any order, in part, and as late as one likes: never more than what was taken, and
//! never anybody else's.
#![cfg(not(loom))]

#[macro_use]
mod runner;

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};
use runner::hold;
use tollgate::{
    Algorithm, Clock, Decision, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Quota,
    QuotaError, RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket, Undo,
};

const START: u64 = 1_790_000_000_123_456_789;

/// An algorithm that can be made of a limit per second.
trait PerSecond: Algorithm + Copy {
    fn per_second(limit: u64) -> Self;
}

macro_rules! per_second {
    ($($algorithm:ident),+) => {$(
        impl PerSecond for $algorithm {
            fn per_second(limit: u64) -> Self {
                $algorithm::new(Quota::per_second(limit)).unwrap()
            }
        }
    )+};
}

per_second!(FixedWindow, SlidingWindow, SlidingLog, TokenBucket, LeakyBucket);

/// A request that passed: its units, less those that were put back, and when.
#[derive(Clone, Copy, Debug)]
struct Passed<T> {
    cost: u64,
    at: Timestamp,
    /// What there is to undo it by, until it has been undone.
    taken: Option<T>,
}

/// What a limiter says now and later, for all costs that make a difference.
fn sayings(limiter: &impl Limiter, now: Timestamp) -> Vec<Decision> {
    let waits = [0, 1, 49_000, 100_000_000, 333_333_334, 1_000_000_000, 1_500_000_000];
    let times = waits.map(|wait| now + Duration::from_nanos(wait));
    times.iter().flat_map(|&time| (0..13).map(move |cost| limiter.peek_n_at(cost, time))).collect()
}

fn agrees_with_a_world_in_which_it_never_was<A: PerSecond>() {
    // What is done (0..3: take, 3..6: undo), when, which of those that passed, for how many units.
    let later = prop_oneof![
        4 => Just(0),
        1 => 0..200_u64,
        2 => (1..13_u64).prop_map(|tenths| tenths * 100_000_000),
        1 => 0..3_000_000_000_u64,
    ];
    let steps = vec((0..6_u8, later, any::<prop::sample::Index>(), 1..5_u64), 1..16);
    hold(1_000, (1..13_u64, any::<bool>(), steps), |(limit, keyed, steps)| {
        let algorithm = A::per_second(limit);
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let keys: KeyedLimiter<str, A, ManualClock> = KeyedLimiter::with_clock(algorithm, 10, clock.clone());
        if keyed {
            undo_in_any_order(&keys.key("one"), algorithm, &clock, steps)
        } else {
            undo_in_any_order(&RateLimiter::with_clock(algorithm, clock.clone()), algorithm, &clock, steps)
        }
    });
}

fn undo_in_any_order<A: PerSecond, L: Undo>(
    limiter: &L,
    algorithm: A,
    clock: &ManualClock,
    steps: Vec<(u8, u64, prop::sample::Index, u64)>,
) -> Result<(), TestCaseError> {
    let mut passed: Vec<Passed<L::Taken>> = Vec::new();
    let mut stood_still = true;
    for (what, later, which, cost) in steps {
        clock.advance(Duration::from_nanos(later));
        stood_still &= later == 0 || passed.is_empty();
        let now = clock.now();
        if what < 3 {
            if let Ok((_, taken)) = limiter.take_leaving_at(cost, Headroom::NONE, now) {
                passed.push(Passed { cost, at: now, taken: Some(taken) });
            }
        } else if !passed.is_empty() {
            let one = which.index(passed.len());
            if let Some(taken) = passed[one].taken.take() {
                limiter.undo(taken, cost);
                passed[one].cost = passed[one].cost.saturating_sub(cost);
            }
        }
        let twin = RateLimiter::with_clock(algorithm, ManualClock::starting_at(Timestamp::from_nanos(START)));
        for passed in passed.iter().filter(|passed| passed.cost > 0) {
            prop_assert!(twin.check_n_at(passed.cost, passed.at).is_ok());
        }
        for (found, without) in sayings(limiter, now).into_iter().zip(sayings(&twin, now)) {
            if stood_still {
                prop_assert_eq!(found.is_ok(), without.is_ok());
            }
            match (found, without) {
                (Ok(found), Ok(without)) => prop_assert!(found.remaining <= without.remaining),
                (Ok(found), Err(without)) => prop_assert!(false, "{found:?}, but without what was undone {without:?}"),
                (Err(_), _) => {}
            }
        }
    }
    Ok(())
}

for_all_algorithms!(undone, agrees_with_a_world_in_which_it_never_was);

fn bucket(clock: &ManualClock) -> Result<RateLimiter<TokenBucket, ManualClock>, QuotaError> {
    Ok(RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10).burst(20))?, clock.clone()))
}

/// To take the place that a step was given for where its units still are: those before it may have been put back since.
#[test]
fn what_was_undone_before_does_not_let_a_later_undo_take_from_others() {
    let clock = ManualClock::new();
    let limiter = bucket(&clock).unwrap();
    let (_, first) = limiter.take(10).unwrap();
    let (_, second) = limiter.take(10).unwrap();
    limiter.undo(first, 10);
    clock.advance(Duration::from_secs(1)); // what the second has taken is regained
    assert!(limiter.check_n(10).is_ok());
    limiter.undo(second, 10);
    assert_eq!(limiter.peek_n(0).unwrap().remaining, 10);
}

/// What has left the window, but was not let go yet, is nothing that could be put back for others.
#[test]
fn what_a_log_has_forgotten_is_not_put_back_for_others() {
    let clock = ManualClock::new();
    let limiter = RateLimiter::with_clock(SlidingLog::new(Quota::per_second(10)).unwrap(), clock.clone());
    assert!(limiter.check_n(2).is_ok());
    clock.advance(Duration::from_millis(900));
    let (_, taken) = limiter.take(3).unwrap();
    assert!(limiter.check().is_ok());
    clock.advance(Duration::from_millis(100)); // the first two are gone
    limiter.undo(taken, 3);
    assert_eq!(limiter.peek_n(0).unwrap().remaining, 9);
}

#[test]
fn more_than_was_taken_is_not_put_back() {
    let clock = ManualClock::new();
    let limiter = bucket(&clock).unwrap();
    assert!(limiter.check_n(10).is_ok());
    let (_, taken) = limiter.take(5).unwrap();
    limiter.undo(taken, u64::MAX);
    assert_eq!(limiter.peek_n(0).unwrap().remaining, 10);
}

#[test]
fn limiters_behind_pointers_and_with_headroom_can_undo() {
    fn back_and_forth(limiter: impl Undo) {
        let before = limiter.peek_n(0);
        let (_, taken) = limiter.take(3).unwrap();
        assert_ne!(limiter.peek_n(0), before);
        limiter.undo(taken, 3);
        assert_eq!(limiter.peek_n(0), before);
    }
    let limiter = Arc::new(bucket(&ManualClock::new()).unwrap());
    back_and_forth(&limiter);
    back_and_forth((&*limiter).leaving(Headroom::units(5)));
    back_and_forth(Box::new(&limiter));
    back_and_forth(limiter);
}
