//! Properties of quotas that are changed, over random histories of checks and changes: agreement with references that are
//! changed alike, for a single limiter and for the keys of a table, and that no change gives anything away.
#![cfg(not(loom))]

// Not all of it is of use here.
#[allow(dead_code, unused_imports)]
mod oracle;
#[macro_use]
#[allow(unused_macros)]
mod runner;

use std::time::Duration;

use oracle::{Adjust, Answer, FixedOracle, LeavingOracle, Oracle, QuantisedBucket, SlidingOracle, within_horizon};
use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use runner::hold;
use tollgate::{
    Carry, Decision, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, Live, ManualClock, Quota, RateLimiter,
    SlidingWindow, Timestamp, TokenBucket, algorithm::Adjustable,
};

const SECOND: u64 = 1_000_000_000;
const KEYS: u64 = 4;

/// An algorithm under test.
trait Subject: Adjustable + 'static {
    type Oracle: Adjust;

    const HAS_BURST: bool = false;

    fn oracle(quota: Quota, start: u128) -> Self::Oracle;
}

impl Subject for FixedWindow {
    type Oracle = FixedOracle;

    fn oracle(quota: Quota, _start: u128) -> FixedOracle {
        FixedOracle::new(quota)
    }
}

impl Subject for SlidingWindow {
    type Oracle = SlidingOracle;

    fn oracle(quota: Quota, _start: u128) -> SlidingOracle {
        SlidingOracle::new(quota)
    }
}

impl Subject for TokenBucket {
    type Oracle = QuantisedBucket;

    const HAS_BURST: bool = true;

    fn oracle(quota: Quota, start: u128) -> QuantisedBucket {
        QuantisedBucket::within(quota, QuantisedBucket::LIVE_BITS, false, 0, start)
    }
}

impl Subject for LeakyBucket {
    type Oracle = QuantisedBucket;

    const HAS_BURST: bool = true;

    fn oracle(quota: Quota, start: u128) -> QuantisedBucket {
        QuantisedBucket::within(quota, QuantisedBucket::LIVE_BITS, true, 0, start)
    }
}

macro_rules! for_all_live {
    ($name:ident, $property:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn fixed_window() {
                $property::<FixedWindow>();
            }
            #[test]
            fn sliding_window() {
                $property::<SlidingWindow>();
            }
            #[test]
            fn token_bucket() {
                $property::<TokenBucket>();
            }
            #[test]
            fn leaky_bucket() {
                $property::<LeakyBucket>();
            }
        }
    };
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Check {
        key: u64,
        cost: Cost,
        leave: u64,
        percent: u8,
    },
    Peek {
        key: u64,
        cost: Cost,
    },
    Refund {
        key: u64,
        cost: u64,
    },
    Reset {
        key: u64,
    },
    Change {
        quota: Given,
        carry: Carry,
    },
    /// So many nanoseconds later, or this share of a period, in sixteenths.
    Later(u64),
    Sixteenths(u64),
    Earlier(u64),
}

#[derive(Clone, Debug)]
enum Cost {
    Units(u64),
    /// What was left as of the last answer, and so many more.
    Room(i64),
}

#[derive(Clone, Copy, Debug)]
struct Given {
    limit: u64,
    period: u64,
    burst: Option<u64>,
}

impl Given {
    fn quota<S: Subject>(self) -> Quota {
        let quota = Quota::new(self.limit, Duration::from_nanos(self.period));
        match self.burst {
            Some(burst) if S::HAS_BURST => quota.burst(burst),
            _ => quota,
        }
    }
}

/// Small numbers, those around powers of two and of ten, and as likely of any number of bits.
fn edgy() -> impl Strategy<Value = u64> + Clone {
    let near = |n: u64, off: i64| n.saturating_add_signed(off);
    prop_oneof![
        6 => 0..12_u64,
        2 => (0..64_u32, -2..=2_i64).prop_map(move |(bits, off)| near(1 << bits, off)),
        2 => (0..20_u32, -1..=1_i64).prop_map(move |(digits, off)| near(10_u64.pow(digits), off)),
        1 => (0..8_u64).prop_map(|n| u64::MAX - n),
        2 => (any::<u64>(), 0..64_u32).prop_map(|(n, bits)| n >> bits),
    ]
}

fn given() -> impl Strategy<Value = Given> + Clone {
    let period = prop_oneof![
        2 => Just(SECOND),
        2 => Just(60 * SECOND),
        1 => Just(7 * SECOND),
        1 => Just(1_000_003),
        1 => edgy(),
    ];
    (edgy(), period, prop_oneof![2 => Just(None), 3 => edgy().prop_map(Some)])
        .prop_map(|(limit, period, burst)| Given { limit, period, burst })
}

fn carry() -> impl Strategy<Value = Carry> + Clone {
    prop_oneof![Just(Carry::Absolute), Just(Carry::Proportional)]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    let cost = || prop_oneof![3 => edgy().prop_map(Cost::Units), 3 => (-1..=1_i64).prop_map(Cost::Room)];
    prop_oneof![
        8 => (key(), cost(), prop_oneof![3 => Just(0), 1 => edgy()], prop_oneof![3 => Just(0), 1 => 0..110_u8])
            .prop_map(|(key, cost, leave, percent)| Step::Check { key, cost, leave, percent }),
        2 => (key(), cost()).prop_map(|(key, cost)| Step::Peek { key, cost }),
        1 => (key(), edgy()).prop_map(|(key, cost)| Step::Refund { key, cost }),
        1 => key().prop_map(|key| Step::Reset { key }),
        6 => (given(), carry()).prop_map(|(quota, carry)| Step::Change { quota, carry }),
        2 => edgy().prop_map(Step::Later),
        4 => (0..40_u64).prop_map(Step::Sixteenths),
        1 => edgy().prop_map(Step::Earlier),
    ]
}

/// What is common to a single limiter and the keys of a table.
trait Keys {
    fn check(&self, key: u64, cost: u64, leave: Headroom) -> Decision;
    fn peek(&self, key: u64, cost: u64) -> Decision;
    fn refund(&self, key: u64, cost: u64);
    fn reset(&self, key: u64);
    fn set_quota(&self, quota: Quota, carry: Carry) -> bool;
    fn quota(&self) -> Quota;
}

impl<A: Adjustable> Keys for RateLimiter<Live<A>, ManualClock> {
    fn check(&self, _key: u64, cost: u64, leave: Headroom) -> Decision {
        self.leaving(leave).check_n(cost)
    }
    fn peek(&self, _key: u64, cost: u64) -> Decision {
        self.peek_n(cost)
    }
    fn refund(&self, _key: u64, cost: u64) {
        Limiter::refund(self, cost);
    }
    fn reset(&self, _key: u64) {
        Limiter::reset(self);
    }
    fn set_quota(&self, quota: Quota, carry: Carry) -> bool {
        self.set_quota(quota, carry).is_ok()
    }
    fn quota(&self) -> Quota {
        self.algorithm().quota()
    }
}

impl<A: Adjustable> Keys for KeyedLimiter<u64, Live<A>, ManualClock> {
    fn check(&self, key: u64, cost: u64, leave: Headroom) -> Decision {
        self.key(&key).leaving(leave).check_n(cost)
    }
    fn peek(&self, key: u64, cost: u64) -> Decision {
        self.peek_n(&key, cost)
    }
    fn refund(&self, key: u64, cost: u64) {
        self.refund(&key, cost);
    }
    fn reset(&self, key: u64) {
        self.reset(&key);
    }
    fn set_quota(&self, quota: Quota, carry: Carry) -> bool {
        self.set_quota(quota, carry).is_ok()
    }
    fn quota(&self) -> Quota {
        self.algorithm().quota()
    }
}

/// Goes through a history with a limiter and with references, one for each key that is told apart.
fn agree<S: Subject>(
    limiter: &impl Keys,
    clock: &ManualClock,
    mut references: Vec<S::Oracle>,
    steps: &[Step],
    may_go_back: bool,
) -> TestCaseResult {
    let mut room = 0;
    let mut changed = 0;
    for step in steps {
        let now = clock.now_at();
        let count = references.len() as u64;
        let units = |cost: &Cost| match *cost {
            Cost::Units(units) => units,
            Cost::Room(off) => u64::saturating_add_signed(room, off),
        };
        let compare = |real: Decision, expected: Answer, room: &mut u64| {
            let real = Answer::from(real);
            *room = real.remaining;
            prop_assert_eq!(real, expected, "{:?} at {:?} after {} changes", step, now, changed);
            Ok(())
        };
        match step {
            Step::Check { key, cost, leave, percent } => {
                let reference = &mut references[(key % count) as usize];
                let headroom = Headroom::units(*leave).and(Headroom::percent(*percent));
                let cost = units(cost);
                let leave = headroom.of_limit(reference.limit());
                let expected = LeavingOracle { limiter: reference.clone(), leave }.peek(cost, now);
                let real = limiter.check(*key, cost, headroom);
                compare(real, expected, &mut room)?;
                if expected.allowed {
                    reference.take(cost, now);
                }
            }
            Step::Peek { key, cost } => {
                let expected = references[(key % count) as usize].peek(units(cost), now);
                compare(limiter.peek(*key, units(cost)), expected, &mut room)?;
            }
            Step::Refund { key, cost } => {
                limiter.refund(*key, *cost);
                references[(key % count) as usize].refund(*cost, now);
            }
            Step::Reset { key } => {
                limiter.reset(*key);
                references[(key % count) as usize].reset(now);
            }
            Step::Change { quota, carry } => {
                let (before, quota) = (limiter.quota(), quota.quota::<S>());
                if limiter.set_quota(quota, *carry) {
                    changed += 1;
                    prop_assert_eq!(limiter.quota(), quota);
                    if quota != before {
                        references.iter_mut().for_each(|one| one.set_quota(quota, *carry, within_horizon(now)));
                    }
                } else {
                    prop_assert!(Live::<S>::new(quota).is_err(), "refused, and not for what it is");
                    prop_assert_eq!(limiter.quota(), before);
                }
            }
            Step::Later(nanos) => clock.set(now + Duration::from_nanos(*nanos)),
            Step::Sixteenths(sixteenths) => clock.set(now + limiter.quota().period() / 16 * *sixteenths as u32),
            Step::Earlier(nanos) if may_go_back => clock.set(now - Duration::from_nanos(*nanos)),
            Step::Earlier(_) => {}
        }
    }
    Ok(())
}

/// A clock's time, without the trait in scope.
trait NowAt {
    fn now_at(&self) -> Timestamp;
}

impl NowAt for ManualClock {
    fn now_at(&self) -> Timestamp {
        tollgate::Clock::now(self)
    }
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1_790_000_000 * SECOND + 123_456_789), edgy()]
}

fn a_changed_limiter_is_the_reference_that_is_changed<S: Subject>() {
    hold(600, (given(), start(), vec(step(), 1..60)), |(first, start, steps)| {
        let quota = first.quota::<S>();
        let Ok(live) = Live::<S>::new(quota) else { return Ok(()) };
        let clock = ManualClock::starting_at(Timestamp::from_nanos(start));
        let limiter = RateLimiter::with_clock(live, clock.clone());
        let reference = S::oracle(quota, within_horizon(Timestamp::from_nanos(start)));
        agree::<S>(&limiter, &clock, vec![reference], &steps, true)
    });
}

for_all_live!(a_changed_limiter_is_the_reference, a_changed_limiter_is_the_reference_that_is_changed);

/// Quotas of a rate that no bucket counts modulo: then a key that has recovered is one that was never seen.
fn calm(mut given: Given) -> Given {
    given.limit %= 1_000_003;
    given.period = given.period.clamp(SECOND, 1 << 50);
    given.burst = given.burst.map(|burst| burst % (1 << 40));
    given
}

fn changed_keys_are_each_a_reference<S: Subject>() {
    hold(300, (given(), start(), vec(step(), 1..80)), |(first, start, mut steps)| {
        let quota = calm(first).quota::<S>();
        let Ok(live) = Live::<S>::new(quota) else { return Ok(()) };
        for step in &mut steps {
            if let Step::Change { quota, .. } = step {
                *quota = calm(*quota);
            }
        }
        let clock = ManualClock::starting_at(Timestamp::from_nanos(start));
        let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(live, 100, clock.clone());
        let reference = S::oracle(quota, within_horizon(Timestamp::from_nanos(start)));
        agree::<S>(&limiter, &clock, vec![reference; KEYS as usize], &steps, false)
    });
}

for_all_live!(changed_keys_are_each_as_the_reference, changed_keys_are_each_a_reference);

/// A number with many divisors, so that shares of limits are whole numbers of its parts.
const PARTS: u64 = 5_040;
const LIMITS: [u64; 11] = [1, 2, 3, 5, 7, 8, 10, 12, 63, 144, 720];

/// Checks and changes at one instant. What is admitted then is never more than the largest of the quotas; and if all changes
/// keep shares, the shares that are admitted are never more than the whole.
fn no_change_gives_anything_away<S: Subject>() {
    let step = (0..LIMITS.len(), prop_oneof![Just(SECOND), Just(60 * SECOND), Just(SECOND / 10)], vec(0..9_u64, 0..4));
    hold(2_000, (vec(step, 1..40), carry()), |(steps, carry)| {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_790_000_000));
        let quota = |limit: usize, period: u64| Quota::new(LIMITS[limit], Duration::from_nanos(period));
        let (first, period, _) = &steps[0];
        let Ok(live) = Live::<S>::new(quota(*first, *period)) else { return Ok(()) };
        let limiter = RateLimiter::with_clock(live, clock);
        let (mut units, mut shares, mut largest) = (0, 0, 0);
        for (limit, period, costs) in steps {
            let _ = limiter.set_quota(quota(limit, period), carry);
            let limit = limiter.algorithm().quota().limit();
            largest = largest.max(limit);
            for cost in costs {
                if limiter.check_n(cost).is_ok() {
                    units += cost;
                    shares += cost * (PARTS / limit);
                }
            }
            match carry {
                Carry::Absolute => prop_assert!(units <= largest, "{units} of at most {largest}"),
                Carry::Proportional => prop_assert!(shares <= PARTS, "{shares} parts of {PARTS}"),
            }
        }
        Ok(())
    });
}

for_all_live!(nothing_is_given_away, no_change_gives_anything_away);
