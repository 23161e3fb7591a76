//! What was taken is put back later: as much of it as time has not regained, and nothing of anybody else's.
#![cfg(not(loom))]

// Not all of it is of use here.
#[allow(unused_macros)]
mod runner;

use std::time::Duration;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use runner::hold;
use tollgate::{
    Algorithm, FixedWindow, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, SlidingLog,
    SlidingWindow, TokenBucket, Undo,
};

const TEN: Quota = Quota::per_second(10);

fn left(limiter: &impl Limiter) -> u64 {
    limiter.peek_n(0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining)
}

/// What is done to a limiter of every kind.
trait Story {
    fn tell<L: Undo>(&self, name: &str, limiter: &L, twin: &L, clock: &ManualClock);

    fn by<A: Algorithm + Copy>(&self, algorithm: A) {
        let clock = ManualClock::new();
        let [limiter, twin] = [(); 2].map(|()| RateLimiter::with_clock(algorithm, clock.clone()));
        self.tell(&format!("{algorithm:?}"), &limiter, &twin, &clock);
        let clock = ManualClock::new();
        let keyed = KeyedLimiter::<u64, _, _>::with_clock(algorithm, 10, clock.clone());
        self.tell(&format!("keyed {algorithm:?}"), &keyed.key(&7), &keyed.key(&8), &clock);
    }

    fn by_all(&self, quota: Quota) {
        self.by(FixedWindow::new(quota).unwrap());
        self.by(SlidingWindow::new(quota).unwrap());
        self.by(SlidingLog::new(quota).unwrap());
        self.by(TokenBucket::new(quota).unwrap());
        self.by(LeakyBucket::new(quota).unwrap());
    }
}

#[test]
fn no_more_is_put_back_than_was_taken() {
    struct Much;
    impl Story for Much {
        fn tell<L: Undo>(&self, name: &str, limiter: &L, _: &L, clock: &ManualClock) {
            // Also where a log has gone round.
            for _ in 0..3 {
                assert!(limiter.check_n(3).is_ok());
                let (_, nothing) = limiter.take(0).unwrap();
                let (_, taken) = limiter.take(2).unwrap();
                limiter.undo(taken, u64::MAX);
                assert_eq!(left(limiter), 7, "{name}");
                limiter.undo(nothing, u64::MAX);
                assert_eq!(left(limiter), 7, "{name}");
                clock.advance(Duration::from_secs(2));
                assert!(limiter.check_n(10).is_ok());
                clock.advance(Duration::from_secs(2));
            }
        }
    }
    Much.by_all(TEN);
}

#[test]
fn a_part_is_put_back() {
    struct Half;
    impl Story for Half {
        fn tell<L: Undo>(&self, name: &str, limiter: &L, _: &L, _: &ManualClock) {
            let [first, second] = [4, 6].map(|cost| limiter.take(cost).unwrap().1);
            limiter.undo(first, 3);
            assert_eq!(left(limiter), 3, "{name}");
            limiter.undo(second, 4);
            assert_eq!(left(limiter), 7, "{name}");
        }
    }
    Half.by_all(TEN);
}

/// However long ago it was, and however often the places of a log have been used since.
#[test]
fn what_is_long_past_puts_nothing_back() {
    struct Late(u32);
    impl Story for Late {
        fn tell<L: Undo>(&self, name: &str, limiter: &L, _: &L, clock: &ManualClock) {
            let (_, taken) = limiter.take(3).unwrap();
            for _ in 0..self.0 {
                clock.advance(Duration::from_secs(2));
                assert!(limiter.check_n(10).is_ok());
            }
            limiter.undo(taken, 3);
            assert_eq!(left(limiter), 0, "{name} after {} windows", self.0);
        }
    }
    (1..10).for_each(|windows| Late(windows).by_all(TEN));
}

/// In a log the oldest units are given back for others: so those of the first may not be its own any more.
#[test]
fn what_stands_for_others_is_put_back_too() {
    struct Three;
    impl Story for Three {
        fn tell<L: Undo>(&self, name: &str, limiter: &L, _: &L, _: &ManualClock) {
            let [first, second, _] = [1; 3].map(|cost| limiter.take(cost).unwrap().1);
            limiter.undo(second, 1);
            limiter.undo(first, 1);
            assert_eq!(left(limiter), 9, "{name}");
        }
    }
    Three.by_all(TEN);
}

/// The last one has taken at a later time than that which was undone before: the state is the same as if it had not.
#[test]
fn a_state_that_has_come_back_is_not_taken_for_ones_own() {
    struct Back;
    impl Story for Back {
        fn tell<L: Undo>(&self, name: &str, limiter: &L, twin: &L, clock: &ManualClock) {
            let [others, own] = [2, 1].map(|cost| limiter.take(cost).unwrap().1);
            limiter.undo(others, 2);
            clock.advance(Duration::from_millis(50));
            assert!(limiter.check_n(2).is_ok() && twin.check_n(2).is_ok());
            limiter.undo(own, 1);
            assert_eq!(limiter.peek_n(9), twin.peek_n(9), "{name}");
        }
    }
    Back.by_all(TEN);
}

/// What comes: so long after the one before, so many units, of which so many are put back, after so many more have come.
type Step = (u64, u64, u64, usize);

/// Twins take only what is never put back. Whatever is put back in whatever order, they are never behind; nor ahead, where
/// it is a count that is kept, or no time has passed.
#[derive(Debug)]
struct Steps(Vec<Step>);

impl Story for Steps {
    fn tell<L: Undo>(&self, name: &str, limiter: &L, twin: &L, clock: &ManualClock) {
        let mut taken = Vec::new();
        let counts = name.contains("Window");
        let mut exact = true;
        let rest = [(0, 0, 0, 0); 8];
        for (nth, &(later, cost, back, wait)) in self.0.iter().chain(&rest).enumerate() {
            clock.advance(Duration::from_nanos(later));
            exact &= counts || later == 0;
            if let Ok((_, token)) = limiter.take(cost) {
                let back = back.min(cost);
                assert!(twin.check_n(cost - back).is_ok(), "{name}: there was room for more in the limiter");
                taken.push((nth + wait, token, back));
            }
            taken.retain(|&(when, token, back)| {
                if when <= nth {
                    limiter.undo(token, back);
                }
                when > nth
            });
            if taken.is_empty() {
                assert!(left(limiter) <= left(twin), "{name}: {} > {}", left(limiter), left(twin));
                assert!(!exact || left(limiter) == left(twin), "{name}: {} < {}", left(limiter), left(twin));
            }
        }
    }
}

#[test]
fn whatever_the_order_nobody_gains() {
    let later = prop_oneof![3 => Just(0), 2 => 0..300_u64, 1 => 0..3_000_u64];
    let steps = vec((later, 0..4_u64, 0..4_u64, 0..8_usize), 1..30);
    hold(800, (1..8_u64, steps), |(limit, steps)| -> TestCaseResult {
        Steps(steps).by_all(Quota::new(limit, Duration::from_nanos(1_000)));
        Ok(())
    });
}
