//! Properties of composites, over random parts of any algorithm, direct, keyed and nested, in any order: agreement with
//! references that commit together, and that a refusal, however late, leaves every part as it was.
#![cfg(not(loom))]

// Not all of it is of use here.
#[allow(dead_code, unused_imports)]
mod oracle;
#[macro_use]
#[allow(unused_macros)]
mod runner;

use std::{cell::Cell, rc::Rc, time::Duration};

use oracle::{
    Answer, CompositeOracle, FixedOracle, LeavingOracle, LogOracle, Oracle, Part, QuantisedBucket, SlidingOracle,
};
use proptest::{collection::vec, prelude::*};
use runner::hold;
use tollgate::{
    Algorithm, Allowed, Composite, Decision, Denied, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter,
    ManualClock, Quota, RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket,
};

const START: u64 = 1_790_000_000_123_456_789;

/// One part: an algorithm by its number, its quota, and whether it is a key of a keyed limiter.
#[derive(Clone, Debug)]
struct Given {
    algorithm: usize,
    limit: u64,
    period: u64,
    burst: Option<u64>,
    keyed: bool,
}

impl Given {
    fn quota(&self) -> Quota {
        let quota = Quota::new(self.limit, Duration::from_nanos(self.period));
        if self.algorithm < 3 { quota } else { self.burst.map_or(quota, |burst| quota.burst(burst)) }
    }

    fn limiter(&self, clock: &ManualClock) -> Rc<dyn Limiter> {
        fn any<A: Algorithm + Copy + 'static>(algorithm: A, keyed: bool, clock: &ManualClock) -> Rc<dyn Limiter> {
            if keyed {
                Rc::new(OneOfMany(KeyedLimiter::with_clock(algorithm, 10, clock.clone())))
            } else {
                Rc::new(RateLimiter::with_clock(algorithm, clock.clone()))
            }
        }
        let quota = self.quota();
        match self.algorithm {
            0 => any(FixedWindow::new(quota).unwrap(), self.keyed, clock),
            1 => any(SlidingWindow::new(quota).unwrap(), self.keyed, clock),
            2 => any(SlidingLog::new(quota).unwrap(), self.keyed, clock),
            3 => any(TokenBucket::new(quota).unwrap(), self.keyed, clock),
            _ => any(LeakyBucket::new(quota).unwrap(), self.keyed, clock),
        }
    }

    fn oracle(&self) -> Box<dyn Part> {
        let quota = self.quota();
        match self.algorithm {
            0 => Box::new(FixedOracle::new(quota)),
            1 => Box::new(SlidingOracle::new(quota)),
            2 => Box::new(LogOracle::new(quota)),
            3 => Box::new(QuantisedBucket::new(quota, false, 0, START.into())),
            _ => Box::new(QuantisedBucket::new(quota, true, 0, START.into())),
        }
    }
}

/// A key of a limiter of its own.
struct OneOfMany<A: Algorithm>(KeyedLimiter<str, A, ManualClock>);

/// Another's, behind an `Rc`.
struct Shared(Rc<dyn Limiter>);

/// A part that says it will let a request pass and then, when it comes to that, refuses; and calls this in between.
struct Deceiver<'a>(&'a dyn Fn());

macro_rules! limiter_through {
    ($(($($generics:tt)*) $name:ty: |$self:ident| $inner:expr;)+) => {$(
        impl<$($generics)*> Limiter for $name {
            fn now(&self) -> Timestamp {
                let $self = self;
                $inner.now()
            }
            fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
                let $self = self;
                $inner.check_n_leaving_at(cost, leave, now)
            }
            fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
                let $self = self;
                $inner.peek_n_leaving_at(cost, leave, now)
            }
            fn check_and(
                &self,
                cost: u64,
                leave: Headroom,
                now: Timestamp,
                agree: &mut dyn FnMut(&Allowed) -> bool,
            ) -> Decision {
                let $self = self;
                $inner.check_and(cost, leave, now, agree)
            }
            fn refund_at(&self, cost: u64, now: Timestamp) {
                let $self = self;
                $inner.refund_at(cost, now);
            }
            fn reset_at(&self, now: Timestamp) {
                let $self = self;
                $inner.reset_at(now);
            }
        }
    )+};
}

limiter_through! {
    (A: Algorithm) OneOfMany<A>: |this| this.0.key("one");
    () Shared: |this| this.0;
}

impl Limiter for Deceiver<'_> {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO
    }

    fn check_n_leaving_at(&self, _: u64, _: Headroom, _: Timestamp) -> Decision {
        (self.0)();
        Err(refusal())
    }

    fn peek_n_leaving_at(&self, _: u64, _: Headroom, _: Timestamp) -> Decision {
        Ok(grant())
    }

    fn refund_at(&self, _: u64, _: Timestamp) {
        panic!("nothing was taken");
    }

    fn reset_at(&self, _: Timestamp) {}
}

/// Answers are made by limiters only: these are of some.
fn grant() -> Allowed {
    RateLimiter::with_clock(TokenBucket::new(Quota::per_second(1 << 20)).unwrap(), ManualClock::new()).check().unwrap()
}

fn refusal() -> Denied {
    let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(1)).unwrap(), ManualClock::new());
    limiter.check_n(2).unwrap_err()
}

fn given() -> impl Strategy<Value = Given> {
    let period = prop_oneof![Just(1_000), Just(1_000_003), Just(1_000_000_000), 100..150_u64];
    let burst = proptest::option::of(1..16_u64);
    (0..5_usize, 1..12_u64, period, burst, any::<bool>()).prop_map(|(algorithm, limit, period, burst, keyed)| Given {
        algorithm,
        limit,
        period,
        burst,
        keyed,
    })
}

/// What is done, when (nanoseconds later), for how many units, leaving what.
type Step = (u8, u64, u64, Headroom);

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![3 => Just(0), 2 => 0..200_u64, 2 => 0..3_000_000_u64, 1 => 0..3_000_000_000_u64];
    let cost = prop_oneof![8 => 0..5_u64, 1 => Just(u64::MAX)];
    let leave = prop_oneof![
        4 => Just(Headroom::NONE),
        1 => (0..4_u64).prop_map(Headroom::units),
        1 => (0..=101_u8).prop_map(Headroom::percent),
        1 => Just(Headroom::percent(20).and(Headroom::units(1))),
    ];
    (0..16_u8, later, cost, leave)
}

fn leaving(oracles: &[Box<dyn Part>], leave: Headroom) -> Vec<Box<dyn Part>> {
    let less = |limiter: Box<dyn Part>| {
        let leave = leave.of_limit(limiter.limit());
        Box::new(LeavingOracle { limiter, leave }) as Box<dyn Part>
    };
    oracles.iter().cloned().map(less).collect()
}

/// The parts as one: in a row, or the first so many in a composite of their own, and so on with the others.
fn nest(limiters: &[Rc<dyn Limiter>], nested: usize) -> Composite<Vec<Box<dyn Limiter>>> {
    let boxed = |limiters: &[Rc<dyn Limiter>]| {
        limiters.iter().map(|limiter| Box::new(Shared(limiter.clone())) as Box<dyn Limiter>).collect::<Vec<_>>()
    };
    let (inner, outer) = limiters.split_at(nested.min(limiters.len()));
    if inner.is_empty() {
        return Composite::new(boxed(outer));
    }
    let mut parts: Vec<Box<dyn Limiter>> = vec![Box::new(Composite::new(boxed(inner)))];
    if !outer.is_empty() {
        parts.push(Box::new(Composite::new(boxed(outer))));
    }
    Composite::new(parts)
}

#[test]
fn a_composite_decides_as_references_that_commit_together() {
    hold(600, (vec(given(), 1..5), 0..4_usize, vec(step(), 1..40)), |(parts, nested, steps)| {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let limiters: Vec<_> = parts.iter().map(|part| part.limiter(&clock)).collect();
        let composite = nest(&limiters, nested);
        let mut oracles: Vec<_> = parts.iter().map(Given::oracle).collect();
        for (what, later, cost, leave) in steps {
            clock.advance(Duration::from_nanos(later));
            let now = tollgate::Clock::now(&clock);
            let mut together = CompositeOracle::new(oracles.clone());
            let shown = CompositeOracle::new(leaving(&oracles, leave)).peek(cost, now);
            match what {
                0 => {
                    composite.refund_at(cost, now);
                    together.refund(cost, now);
                }
                1 => {
                    composite.reset_at(now);
                    together.reset(now);
                }
                2 | 3 => prop_assert_eq!(Answer::from(composite.peek_n_leaving_at(cost, leave, now)), shown),
                _ => {
                    prop_assert_eq!(Answer::from(composite.check_n_leaving_at(cost, leave, now)), shown);
                    if shown.allowed {
                        together.take(cost, now);
                    }
                }
            }
            oracles = together.into_parts();
        }
        Ok(())
    });
}

#[test]
fn a_refusal_names_the_limit_that_refuses_for_longest() {
    hold(300, (vec(given(), 1..5), vec(step(), 1..30)), |(parts, steps)| {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let limiters: Vec<_> = parts.iter().map(|part| part.limiter(&clock)).collect();
        let composite = nest(&limiters, 0);
        for (_, later, cost, leave) in steps {
            clock.advance(Duration::from_nanos(later));
            let now = tollgate::Clock::now(&clock);
            let answers: Vec<_> = limiters.iter().map(|part| part.peek_n_leaving_at(cost, leave, now)).collect();
            let peeked = composite.peek_all_leaving_at(cost, leave, now);
            let checked = composite.check_all_leaving_at(cost, leave, now);
            prop_assert_eq!(peeked, checked);
            match checked {
                Ok(_) => prop_assert!(answers.iter().all(Result::is_ok)),
                Err(refused) => {
                    prop_assert_eq!(answers[refused.limit], Err(refused.denied));
                    let longest = |denied: &Denied| denied.retry_after.unwrap_or(Duration::MAX);
                    for denied in answers.iter().filter_map(|answer| answer.err()) {
                        prop_assert!(longest(&denied) <= longest(&refused.denied));
                    }
                }
            }
        }
        Ok(())
    });
}

/// What a limiter says now and later, for all costs that make a difference.
fn sayings(limiter: &dyn Limiter, now: Timestamp) -> Vec<Answer> {
    let waits = [0, 1, 7, 49, 500, 999_999, 1_000_003, 500_000_000, 2_000_000_000];
    let times = waits.map(|wait| now + Duration::from_nanos(wait));
    times.iter().flat_map(|&time| (0..17).map(move |cost| limiter.peek_n_at(cost, time).into())).collect()
}

/// Twins see everything but the refused request; it is taken from all parts before the one that refuses, which is anywhere.
#[test]
fn a_late_refusal_leaves_every_part_as_it_was() {
    hold(400, (vec(given(), 1..5), 0..5_usize, 0..3_usize, vec(step(), 1..20)), |(parts, place, nested, steps)| {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let [limiters, twins]: [Vec<_>; 2] =
            std::array::from_fn(|_| parts.iter().map(|part| part.limiter(&clock)).collect());
        let (before, after) = limiters.split_at(place.min(limiters.len()));
        for (what, later, cost, leave) in steps {
            clock.advance(Duration::from_nanos(later));
            let now = tollgate::Clock::now(&clock);
            let asked = Cell::new(false);
            let asks = || asked.set(true);
            let refused = Composite::new((nest(before, nested), Deceiver(&asks), nest(after, 0)));
            let could = limiters.iter().all(|part| part.peek_n_leaving_at(cost, leave, now).is_ok());
            prop_assert!(refused.check_n_leaving_at(cost, leave, now).is_err());
            prop_assert_eq!(asked.get(), could, "what refuses when looked at is not even tried");
            for (limiter, twin) in limiters.iter().zip(&twins) {
                prop_assert_eq!(sayings(&**limiter, now), sayings(&**twin, now));
            }
            for limiter in limiters.iter().chain(&twins) {
                if what == 0 {
                    limiter.refund_at(cost, now);
                } else {
                    let _ = limiter.check_n_at(cost, now);
                }
            }
        }
        Ok(())
    });
}

/// Others take from the parts, at the same time or later, while a request is in hand that is then refused: what they took
/// stays taken, and if no time has passed nothing else does.
#[test]
fn a_late_refusal_gives_back_nothing_of_others() {
    let others = (prop_oneof![Just(0), 0..200_u64, 0..3_000_000_u64, 0..3_000_000_000_u64], vec(0..5_u64, 0..4));
    hold(1_500, (given(), vec((step(), others), 1..12)), |(part, steps)| {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let (limiter, twin) = (part.limiter(&clock), part.limiter(&clock));
        let mut exact = true;
        for ((_, later, cost, leave), (meanwhile, takes)) in steps {
            clock.advance(Duration::from_nanos(later));
            let now = tollgate::Clock::now(&clock);
            let takes_meanwhile = || {
                clock.advance(Duration::from_nanos(meanwhile));
                for &units in &takes {
                    // The twin has room for what the limiter lets pass.
                    if limiter.check_n(units).is_ok() {
                        assert!(twin.check_n(units).is_ok());
                    }
                }
            };
            let refused = Composite::new((Shared(limiter.clone()), Deceiver(&takes_meanwhile)));
            // What stays of a log are as many units, but it may be newer ones: they are told apart if their times are.
            exact &= meanwhile == 0 && (part.algorithm != 2 || later == 0);
            let _ = refused.check_n_leaving_at(cost, leave, now);
            let latest = tollgate::Clock::now(&clock);
            for (found, without) in sayings(&*limiter, latest).into_iter().zip(sayings(&*twin, latest)) {
                prop_assert!(found.remaining <= without.remaining || !found.allowed, "{found:?} {without:?}");
                prop_assert!(!found.allowed || without.allowed, "{found:?} {without:?}");
                if exact {
                    prop_assert_eq!(found, without);
                }
            }
        }
        Ok(())
    });
}
