//! Lines in which requests come, leave, run out of time, and are overtaken by what is not in line: in order, in time, and
//! nobody is forgotten.
#![cfg(not(loom))]

#[macro_use]
mod runner;
mod world;

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::Index};
use runner::hold;
use tollgate::{
    Algorithm, Clock, Composite, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, Line, ManualClock, Quota,
    RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket, WaitError,
};
use world::World;

const START: u64 = 1_790_000_000_123_456_789;

trait PerSecond: Algorithm + Copy {
    /// Whether forecasts are exact.
    const EXACT: bool;
    fn per_second(limit: u64) -> Self;
}

macro_rules! per_second {
    ($($algorithm:ident: $exact:literal),+) => {$(
        impl PerSecond for $algorithm {
            const EXACT: bool = $exact;
            fn per_second(limit: u64) -> Self {
                $algorithm::new(Quota::per_second(limit)).unwrap()
            }
        }
    )+};
}

per_second!(FixedWindow: false, SlidingWindow: false, SlidingLog: false, TokenBucket: true, LeakyBucket: true);

fn clock() -> ManualClock {
    ManualClock::starting_at(Timestamp::from_nanos(START))
}

fn nanos() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), (1..30_u64).prop_map(|tenths| tenths * 100_000_000), 0..3_000_000_000_u64]
}

/// What passes when, as it was foretold for everybody, and as it came to be.
fn foretold(limiter: &impl Limiter, clock: &ManualClock, exact: bool, costs: &[u64]) -> Result<(), TestCaseError> {
    let line = Line::new(limiter, 100);
    let mut world = World::new(clock);
    let mut ahead = 0;
    let mut forecasts = Vec::new();
    for &cost in costs {
        let forecast = limiter.forecast_at(ahead, cost, Headroom::NONE, clock.now());
        let timers = world.timers.clone();
        let waits = world.spawn(line.wait(cost, Duration::MAX, timers));
        forecasts.push(forecast);
        match world.outcome(waits) {
            // The limiter has counted it by now.
            Some((_, Ok(_))) => prop_assert_eq!(forecast, Some(Duration::ZERO)),
            Some((_, Err(error))) => {
                prop_assert!(matches!(error, WaitError::Never { .. }), "{error}");
                prop_assert_eq!(forecast, None);
            }
            None => ahead += cost,
        }
    }
    world.advance(Duration::from_secs(1_000));
    for (forecast, time) in forecasts.into_iter().zip(world.times()) {
        prop_assert_eq!(forecast.is_none(), time.is_none());
        prop_assert!(forecast <= time, "not before {:?}, but at {:?}", forecast, time);
        if exact {
            prop_assert_eq!(forecast, time);
        }
    }
    Ok(())
}

fn a_forecast_is_never_too_long<A: PerSecond>() {
    let limits = prop_oneof![Just(1_u64), Just(2), Just(5), Just(10)];
    let before = vec((nanos(), 0..8_u64), 0..4);
    hold(400, (limits, any::<bool>(), before, vec(0..12_u64, 1..10)), |(limit, keyed, before, costs)| {
        let clock = clock();
        let algorithm = A::per_second(limit);
        let one = RateLimiter::with_clock(algorithm, clock.clone());
        let keys: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(algorithm, 10, clock.clone());
        let key = keys.key("one");
        for (later, cost) in before {
            let _ = (one.check_n(cost), key.check_n(cost));
            clock.advance(Duration::from_nanos(later));
        }
        if keyed { foretold(&key, &clock, A::EXACT, &costs) } else { foretold(&one, &clock, A::EXACT, &costs) }
    });
}

for_all_algorithms!(forecasts, a_forecast_is_never_too_long);

#[derive(Clone, Debug)]
enum Op {
    Come { cost: u64, longest: Duration },
    Leave { which: Index },
    Overtake { cost: u64 },
    GiveBack { cost: u64 },
    Pass { nanos: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let longest = prop_oneof![2 => Just(Duration::MAX), 3 => nanos().prop_map(Duration::from_nanos)];
    prop_oneof![
        6 => (0..12_u64, longest).prop_map(|(cost, longest)| Op::Come { cost, longest }),
        2 => any::<Index>().prop_map(|which| Op::Leave { which }),
        1 => (1..5_u64).prop_map(|cost| Op::Overtake { cost }),
        1 => (1..5_u64).prop_map(|cost| Op::GiveBack { cost }),
        4 => nanos().prop_map(|nanos| Op::Pass { nanos }),
    ]
}

/// One who came, and is there or has passed.
struct Came {
    task: usize,
    cost: u64,
    at: Duration,
    longest: Duration,
}

fn in_order_and_in_time(
    limiter: &impl Limiter,
    clock: &ManualClock,
    most: usize,
    ops: &[Op],
) -> Result<(), TestCaseError> {
    let line = Line::new(limiter, most);
    let mut world = World::new(clock);
    let mut came: Vec<Came> = Vec::new();
    for op in ops {
        match *op {
            Op::Come { cost, longest } => {
                let (at, before) = (world.elapsed(), line.waiting());
                let timers = world.timers.clone();
                let task = world.spawn(line.wait(cost, longest, timers));
                prop_assert!(line.waiting() <= most);
                match world.outcome(task) {
                    Some((_, Err(error))) => {
                        let right = match error {
                            WaitError::Full { .. } => before == most,
                            WaitError::TooLong { wait, .. } => wait > longest,
                            WaitError::Never { cost, limit } => cost > limit,
                            _ => false,
                        };
                        prop_assert!(right, "{error}");
                    }
                    passed => prop_assert!(passed.is_none() || before == 0, "jumped the queue"),
                }
                came.push(Came { task, cost, at, longest });
            }
            Op::Leave { which } => {
                let waiting: Vec<_> = came.iter().filter(|came| world.is_waiting(came.task)).collect();
                if !waiting.is_empty() {
                    world.drop_task(waiting[which.index(waiting.len())].task);
                }
            }
            Op::Overtake { cost } => {
                let _ = limiter.check_n(cost);
            }
            Op::GiveBack { cost } => {
                limiter.refund(cost);
                line.recheck();
                world.run();
            }
            Op::Pass { nanos } => world.advance(Duration::from_nanos(nanos)),
        }
        prop_assert!(world.passed.is_sorted(), "out of order: {:?}", world.passed);
        let mut waiting = came.iter().filter(|came| world.is_waiting(came.task)).peekable();
        if let Some(first) = waiting.peek() {
            let forecast = limiter.forecast_at(0, first.cost, Headroom::NONE, clock.now());
            prop_assert_ne!(forecast, Some(Duration::ZERO), "the first could pass, and was forgotten");
        }
        for waits in waiting.clone() {
            prop_assert!(world.elapsed() <= waits.at.saturating_add(waits.longest), "waits past its deadline");
        }
        prop_assert_eq!(line.waiting(), waiting.count());
        for came in &came {
            if let Some((at, outcome)) = world.outcome(came.task) {
                prop_assert!(at <= came.at.saturating_add(came.longest), "{outcome:?} after the deadline");
            }
        }
    }
    // Whoever is ready to wait for ever passes in the end.
    world.advance(Duration::from_secs(1_000));
    prop_assert_eq!(line.waiting(), 0);
    for came in came.iter().filter(|came| came.longest == Duration::MAX) {
        let refused =
            matches!(world.outcome(came.task), Some((_, Err(error))) if matches!(error, WaitError::TooLong { .. }));
        prop_assert!(!refused && !world.is_waiting(came.task));
    }
    Ok(())
}

fn nobody_is_forgotten<A: PerSecond>() {
    let limits = prop_oneof![Just(1_u64), Just(2), Just(5), Just(10)];
    hold(500, (limits, 0..3_u8, 0..5_usize, vec(op(), 1..24)), |(limit, kind, most, ops)| {
        let clock = clock();
        let algorithm = A::per_second(limit);
        let one = RateLimiter::with_clock(algorithm, clock.clone());
        match kind {
            0 => in_order_and_in_time(&one, &clock, most, &ops),
            1 => {
                let keys: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(algorithm, 10, clock.clone());
                in_order_and_in_time(&keys.key("one"), &clock, most, &ops)
            }
            _ => {
                let other = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(5)).unwrap(), clock.clone());
                in_order_and_in_time(&Composite::new((&one, &other)), &clock, most, &ops)
            }
        }
    });
}

for_all_algorithms!(lines, nobody_is_forgotten);
