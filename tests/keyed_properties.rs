//! Properties of the keyed limiter, over random interleavings of keys, times and operations, in the smallest table there
//! is: 32 slots, for up to 150 keys, so that slots change hands and newcomers find no room all the time.
//!
//! Each key has a reference limiter of `tests/oracle`. Where nothing overflowed, and the clock did not step back, the
//! table must answer exactly as these do. Otherwise it may refuse more, and never admit more.
#![cfg(not(loom))]

// Not all of it is of use here.
#[allow(dead_code, unused_imports)]
mod oracle;
#[macro_use]
mod runner;

use std::{cell::Cell, time::Duration};

use oracle::{Answer, FixedOracle, LogOracle, Oracle, QuantisedBucket, SlidingOracle, within_horizon, wraps};
use proptest::{collection::vec, prelude::*};
use runner::hold;
use tollgate::{
    Algorithm, FixedWindow, KeyedLimiter, LeakyBucket, ManualClock, Quota, SecretState, SlidingLog, SlidingWindow,
    Timestamp, TokenBucket,
};

const HORIZON: u64 = Timestamp::HORIZON.as_nanos();
const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;

// ---------------------------------------------------------------------------------------------------------------------
// The shared runner.

/// An algorithm under test.
trait Subject: Algorithm + Copy {
    type Oracle: Oracle;

    /// Whether the quota may have a burst.
    const HAS_BURST: bool = false;
    /// Largest limit that is worth trying.
    const MOST: u64 = u64::MAX;

    /// The algorithm, lacking that many units at the start, if it can.
    fn build(quota: Quota, lacking: u64) -> Self;

    /// The reference for a key that was never seen, in a table that begins at `start`.
    fn oracle(quota: Quota, lacking: u64, start: u128) -> Self::Oracle;

    /// The most units that may be admitted within `time`, last instant less the first.
    fn bound(quota: Quota, time: u128) -> u128;
}

/// How many periods begin within `time`, the first included.
fn periods(quota: Quota, time: u128) -> u128 {
    time / quota.period().as_nanos() + 1
}

impl Subject for FixedWindow {
    type Oracle = FixedOracle;

    fn build(quota: Quota, _lacking: u64) -> Self {
        Self::new(quota).unwrap()
    }

    fn oracle(quota: Quota, _lacking: u64, _start: u128) -> FixedOracle {
        FixedOracle::new(quota)
    }

    fn bound(quota: Quota, time: u128) -> u128 {
        u128::from(quota.limit()) * (periods(quota, time) + 1)
    }
}

impl Subject for SlidingWindow {
    type Oracle = SlidingOracle;

    const MOST: u64 = 10_000;

    fn build(quota: Quota, _lacking: u64) -> Self {
        Self::new(quota).unwrap()
    }

    fn oracle(quota: Quota, _lacking: u64, _start: u128) -> SlidingOracle {
        SlidingOracle::new(quota)
    }

    fn bound(quota: Quota, time: u128) -> u128 {
        (2 * u128::from(quota.limit()) - 1) * periods(quota, time)
    }
}

impl Subject for SlidingLog {
    type Oracle = LogOracle;

    const MOST: u64 = 10;

    fn build(quota: Quota, _lacking: u64) -> Self {
        Self::new(quota).unwrap()
    }

    fn oracle(quota: Quota, _lacking: u64, _start: u128) -> LogOracle {
        LogOracle::new(quota)
    }

    fn bound(quota: Quota, time: u128) -> u128 {
        u128::from(quota.limit()) * periods(quota, time)
    }
}

macro_rules! bucket_subject {
    ($bucket:ty, $leaky:literal) => {
        impl Subject for $bucket {
            type Oracle = QuantisedBucket;

            const HAS_BURST: bool = true;

            fn build(quota: Quota, lacking: u64) -> Self {
                Self::new(quota).unwrap().start_with(burst(quota) - lacking).unwrap()
            }

            fn oracle(quota: Quota, lacking: u64, start: u128) -> QuantisedBucket {
                QuantisedBucket::new(quota, $leaky, lacking, start)
            }

            // The phase quantum is less than a nanosecond, for quotas as ordinary as these.
            fn bound(quota: Quota, time: u128) -> u128 {
                u128::from(burst(quota)) + (time + 1) * u128::from(quota.limit()) / quota.period().as_nanos()
            }
        }
    };
}

bucket_subject!(TokenBucket, false);
bucket_subject!(LeakyBucket, true);

fn burst(quota: Quota) -> u64 {
    quota.explicit_burst().unwrap_or(quota.limit())
}

/// One step of a random history: when, which key, and what is done to it.
#[derive(Clone, Debug)]
struct Step {
    when: When,
    key: u64,
    what: What,
    cost: Cost,
}

#[derive(Clone, Debug)]
enum When {
    Now,
    /// So many 256ths of a period later.
    Later(u64),
    /// So many 256ths of how far the clock may step back before the latest time.
    Earlier(u64),
    /// Periods later, and so many nanoseconds off.
    Periods(u64, i64),
    /// The end of the window, and so many nanoseconds off.
    Edge(i64),
    /// When the last refused request passes, and so many nanoseconds off.
    Retry(i64),
    /// When the last key was to be recovered, and so many nanoseconds off.
    Reset(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Check,
    Peek,
    Refund,
    Reset,
}

#[derive(Clone, Debug)]
enum Cost {
    Units(u64),
    /// The most that can ever pass, and so many more.
    Limit(i64),
    /// What was left as of the last answer, and so many more.
    Room(i64),
}

#[derive(Clone, Debug)]
struct Case {
    quota: Quota,
    lacking: u64,
    origin: u64,
    seed: u64,
    /// How far the clock may step back from the latest time.
    back: u64,
    steps: Vec<Step>,
}

fn quota<A: Subject>() -> impl Strategy<Value = Quota> {
    let ordinary = prop_oneof![
        3 => (1..=10_u64, proptest::sample::select(vec![97, 100, 1_000, SECOND, HOUR])),
        1 => (proptest::sample::select(vec![100, 999_983, 1 << 30]), Just(SECOND)),
    ];
    let quota = (ordinary, proptest::option::of(1..=20_u64)).prop_map(|((limit, period), burst)| {
        let quota = Quota::new(limit.min(A::MOST), Duration::from_nanos(period));
        burst.filter(|_| A::HAS_BURST).map_or(quota, |burst| quota.burst(burst))
    });
    let fast = (1_u64 << 33..=1 << 42, 1..=20_u64).prop_map(|(rate, burst)| Quota::per_second(rate).burst(burst));
    (quota, fast, 0..10_u8)
        .prop_map(|(quota, fast, one_in_ten)| if A::HAS_BURST && one_in_ten == 0 { fast } else { quota })
}

fn step(keys: u64, crowd: u32) -> impl Strategy<Value = Step> {
    let off = -1..=1_i64;
    let when = prop_oneof![
        crowd => Just(When::Now),
        4 => (0..256_u64).prop_map(When::Later),
        2 => (0..=256_u64).prop_map(When::Earlier),
        1 => (0..4_u64, off.clone()).prop_map(|(n, off)| When::Periods(n, off)),
        1 => off.clone().prop_map(When::Edge),
        3 => off.clone().prop_map(When::Retry),
        1 => off.clone().prop_map(When::Reset),
    ];
    // Some keys come all the time.
    let key = prop_oneof![1 => 0..4_u64, 3 => 0..keys];
    let what = prop_oneof![
        20 => Just(What::Check),
        2 => Just(What::Peek),
        2 => Just(What::Refund),
        1 => Just(What::Reset),
    ];
    let cost = prop_oneof![
        6 => (0..4_u64).prop_map(Cost::Units),
        1 => (-2..=1_i64).prop_map(Cost::Limit),
        3 => (-1..=1_i64).prop_map(Cost::Room),
    ];
    (when, key, what, cost).prop_map(|(when, key, what, cost)| Step { when, key, what, cost })
}

/// Histories of a table, in which the clock steps back by up to `most_back` periods.
fn cases<A: Subject>(most_back: u64) -> impl Strategy<Value = Case> {
    let origin = prop_oneof![
        2 => 0..3_u64,
        2 => Just(1_790_000_000_123_456_789),
        1 => (0..5 * HOUR).prop_map(|before| HORIZON - before),
        1 => Just(u64::MAX - 5),
    ];
    let lacking = prop_oneof![3 => Just(0), 1 => 0..=256_u64];
    // Many keys that all come at once find no room; where fewer come at longer intervals, slots change hands.
    let steps = (proptest::sample::select(vec![6_u64, 25, 50, 150]), proptest::sample::select(vec![12_u32, 60, 600]))
        .prop_flat_map(|(keys, crowd)| vec(step(keys, crowd), 1..400));
    (quota::<A>(), lacking, origin, any::<u64>(), 0..=256_u64, steps).prop_map(
        move |(quota, lacking, origin, seed, back, mut steps)| {
            let lacking = if A::HAS_BURST { burst(quota) * lacking / 256 } else { 0 };
            // What a bucket lacks at the start can be given back to it, but only while its key has a slot.
            let refund = |step: &&mut Step| step.what == What::Refund && lacking > 0;
            steps.iter_mut().filter(refund).for_each(|step| step.what = What::Peek);
            let back = u128::from(back * most_back) * quota.period().as_nanos() / 256;
            // Where a bucket counts modulo 2^64, it is exact for an hour.
            let back = if wraps(quota) { back.min(u128::from(HOUR - 1)) } else { back };
            Case { quota, lacking, origin, seed, back: back as u64, steps }
        },
    )
}

/// A table in the middle of a history, and where that is.
struct World<'a, A: Subject> {
    case: &'a Case,
    table: KeyedLimiter<u64, A, ManualClock>,
    now: u64,
    latest: u64,
    retry_at: Option<u64>,
    reset_at: u64,
    room: u64,
}

impl<'a, A: Subject> World<'a, A> {
    fn new(case: &'a Case) -> Self {
        let (now, room) = (case.origin, burst(case.quota));
        Self { case, table: table(case), now, latest: now, retry_at: None, reset_at: now, room }
    }

    /// The key, the cost and the time of a step.
    fn place(&mut self, step: &Step) -> (u64, u64, Timestamp) {
        let period = self.case.quota.period().as_nanos() as u64;
        let near = |time: u64, off: i64| time.saturating_add_signed(off);
        let part = |of: u64, parts: u64| (u128::from(of) * u128::from(parts) / 256) as u64;
        let now = self.now;
        let asked = match step.when {
            When::Now => now,
            When::Later(parts) => now.saturating_add(part(period, parts)),
            When::Earlier(parts) => self.latest.saturating_sub(part(self.case.back, parts)),
            When::Periods(n, off) => near(now.saturating_add(n * period), off),
            When::Edge(off) => near((now / period).saturating_add(1).saturating_mul(period), off),
            When::Retry(off) => near(self.retry_at.unwrap_or(now), off),
            When::Reset(off) => near(self.reset_at, off),
        };
        let end = if wraps(self.case.quota) { self.case.origin.saturating_add(24 * HOUR) } else { u64::MAX };
        self.now = asked.clamp(self.latest.saturating_sub(self.case.back), end);
        self.latest = self.latest.max(self.now);
        let cost = match step.cost {
            Cost::Units(units) => units,
            Cost::Limit(off) => burst(self.case.quota).saturating_add_signed(off),
            Cost::Room(off) => self.room.saturating_add_signed(off),
        };
        (step.key, cost, Timestamp::from_nanos(self.now))
    }

    fn heard(&mut self, answer: Option<Answer>) {
        let Some(answer) = answer else { return };
        let after = |wait: Duration| u64::try_from(u128::from(self.now) + wait.as_nanos()).unwrap_or(u64::MAX);
        if let Some(wait) = answer.retry_after {
            self.retry_at = Some(after(wait));
        }
        self.reset_at = after(answer.reset_after);
        self.room = answer.remaining;
    }

    /// Does what is asked, and says whether nothing has overflowed so far.
    fn act(&mut self, what: What, key: u64, cost: u64, now: Timestamp) -> (Option<Answer>, bool) {
        let answer = act(&self.table, what, key, cost, now);
        self.heard(answer);
        (answer, self.table.stats().overflowed == 0)
    }
}

fn table<A: Subject>(case: &Case) -> KeyedLimiter<u64, A, ManualClock> {
    let clock = ManualClock::starting_at(Timestamp::from_nanos(case.origin));
    let hasher = SecretState::with_seed(case.seed);
    KeyedLimiter::with_clock_and_hasher(A::build(case.quota, case.lacking), 1, clock, hasher)
}

fn act<A: Subject>(
    table: &KeyedLimiter<u64, A, ManualClock>,
    what: What,
    key: u64,
    cost: u64,
    now: Timestamp,
) -> Option<Answer> {
    match what {
        What::Check => return Some(table.check_n_at(&key, cost, now).into()),
        What::Peek => return Some(table.peek_n_at(&key, cost, now).into()),
        What::Refund => table.refund_at(&key, cost, now),
        What::Reset => table.reset_at(&key, now),
    }
    None
}

/// The references of all keys.
struct Oracles<A: Subject> {
    unseen: A::Oracle,
    of: Vec<A::Oracle>,
}

impl<A: Subject> Oracles<A> {
    fn new(case: &Case) -> Self {
        let start = within_horizon(Timestamp::from_nanos(case.origin));
        let unseen = A::oracle(case.quota, case.lacking, start);
        Self { of: vec![unseen.clone(); 150], unseen }
    }

    fn act(&mut self, what: What, key: u64, cost: u64, now: Timestamp) -> Option<Answer> {
        let oracle = &mut self.of[key as usize];
        match what {
            What::Check => return Some(oracle.check(cost, now)),
            What::Peek => return Some(oracle.peek(cost, now)),
            What::Refund => oracle.refund(cost, now),
            What::Reset => *oracle = self.unseen.clone(),
        }
        None
    }
}

/// What has happened in all cases of a property: it must have been tried on what it is about.
#[derive(Debug, Default)]
struct Seen {
    taken_over: Cell<u64>,
    /// Only what was admitted; many more were refused.
    overflowed: Cell<u64>,
}

impl Seen {
    fn note<A: Subject>(&self, world: &World<'_, A>) {
        let stats = world.table.stats();
        self.taken_over.set(self.taken_over.get() + stats.taken_over);
        self.overflowed.set(self.overflowed.get() + stats.overflowed);
    }

    fn assert_enough(&self) {
        assert!(self.taken_over.get() > 20 && self.overflowed.get() > 0, "{self:?}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The properties.

for_all_algorithms!(where_nothing_overflows_each_key_has_a_limiter_of_its_own, agrees_with_its_oracles);

/// Bit by bit, however often slots change hands.
fn agrees_with_its_oracles<A: Subject>() {
    let (taken_over, compared) = (Cell::new(0), Cell::new(0_u64));
    hold(60, cases::<A>(0), |case| {
        let (mut world, mut oracles) = (World::<A>::new(&case), Oracles::<A>::new(&case));
        for step in &case.steps {
            let (key, cost, now) = world.place(step);
            let (answer, exact) = world.act(step.what, key, cost, now);
            if !exact {
                break;
            }
            let expected = oracles.act(step.what, key, cost, now);
            prop_assert_eq!(answer, expected, "{:?} {} of {} at {:?}", step.what, cost, key, now);
            compared.set(compared.get() + 1);
            taken_over.set(taken_over.get().max(world.table.stats().taken_over));
        }
        Ok(())
    });
    assert!(
        compared.get() > 1_000 && taken_over.get() > 5,
        "{} steps, {} taken over",
        compared.get(),
        taken_over.get()
    );
}

for_all_algorithms!(promise_1_no_flood_gives_a_key_more_than_a_limiter_of_its_own, never_more_than_its_oracle);

/// Whatever is admitted, the key's reference, which knows what was admitted before, admits as well.
fn never_more_than_its_oracle<A: Subject>() {
    let seen = Seen::default();
    hold(60, cases::<A>(0), |case| {
        let (mut world, mut oracles) = (World::<A>::new(&case), Oracles::<A>::new(&case));
        for step in &case.steps {
            let (key, cost, now) = world.place(step);
            let (answer, _) = world.act(step.what, key, cost, now);
            match answer {
                Some(answer) if answer.allowed => {
                    let expected = oracles.act(step.what, key, cost, now).expect("an answer");
                    prop_assert!(expected.allowed, "{:?} {} of {} at {:?}: {:?}", step.what, cost, key, now, answer);
                    prop_assert!(answer.remaining <= expected.remaining, "{:?}, {:?}", answer, expected);
                }
                Some(_) => {}
                None => drop(oracles.act(step.what, key, cost, now)),
            }
        }
        seen.note(&world);
        Ok(())
    });
    seen.assert_enough();
}

for_all_algorithms!(promise_1_holds_where_the_clock_steps_back, never_more_than_the_bound);

/// A request is counted no earlier than the latest of its key, and no later than the latest of the table: if the clock
/// steps back by up to `d`, an interval can so be stretched by as much. And where the key cannot have lost its slot,
/// nothing has changed for it.
fn never_more_than_the_bound<A: Subject>() {
    let (seen, exactly) = (Seen::default(), Cell::new(0_u64));
    hold(60, cases::<A>(3), |case| {
        let (mut world, mut oracles) = (World::<A>::new(&case), Oracles::<A>::new(&case));
        let mut histories = vec![Vec::<(u128, u64)>::new(); 150];
        let mut known = [true; 150];
        for step in &case.steps {
            let (key, cost, now) = world.place(step);
            let (history, known) = (&mut histories[key as usize], &mut known[key as usize]);
            let what = if step.what == What::Refund { What::Check } else { step.what };

            let latest = within_horizon(Timestamp::from_nanos(world.latest));
            let sure = within_horizon(now) == latest || !oracles.of[key as usize].recovered(latest);
            let (answer, nothing_overflowed) = world.act(what, key, cost, now);
            let expected = oracles.act(what, key, cost, now);
            if nothing_overflowed && *known && sure {
                prop_assert_eq!(answer, expected, "{:?} {} of {} at {:?}", what, cost, key, now);
                exactly.set(exactly.get() + 1);
            }
            *known &= nothing_overflowed && (sure || what == What::Peek);

            match answer {
                Some(answer) if answer.allowed && what == What::Check && cost > 0 => {
                    let own_latest = history.last().map_or(0, |event| event.0);
                    history.push((own_latest.max(within_horizon(now)), cost));
                }
                None => history.clear(),
                _ => {}
            }
        }
        for history in histories {
            for (first, &(begin, _)) in history.iter().enumerate() {
                let mut admitted = 0;
                for &(end, cost) in &history[first..] {
                    admitted += u128::from(cost);
                    let most = A::bound(case.quota, end - begin + u128::from(case.back));
                    prop_assert!(admitted <= most, "{admitted} of {most} in {} ns: {history:?}", end - begin);
                }
            }
        }
        seen.note(&world);
        Ok(())
    });
    seen.assert_enough();
    assert!(exactly.get() > 1_000, "{} steps compared", exactly.get());
}

for_all_algorithms!(promise_2_refusals_are_free, refusals_are_free);

/// A twin that never sees a refused request, nor a look, answers alike for ever: nothing is taken from the key, nor from
/// what newcomers share, and nobody's slot is.
fn refusals_are_free<A: Subject>() {
    let seen = Seen::default();
    hold(60, cases::<A>(3), |case| {
        let (mut world, twin) = (World::<A>::new(&case), table::<A>(&case));
        for step in &case.steps {
            let (key, cost, now) = world.place(step);
            let expected = Answer::from(twin.peek_n_at(&key, cost, now));
            let (answer, _) = world.act(step.what, key, cost, now);
            match answer {
                Some(answer) => {
                    prop_assert_eq!(answer, expected, "{:?} {} of {} at {:?}", step.what, cost, key, now);
                    if answer.allowed && step.what == What::Check {
                        let _ = twin.check_n_at(&key, cost, now);
                    }
                }
                None => drop(act(&twin, step.what, key, cost, now)),
            }
            prop_assert_eq!(world.table.stats(), twin.stats());
        }
        seen.note(&world);
        Ok(())
    });
    seen.assert_enough();
}

for_all_algorithms!(promise_3_waits_are_honest, waits_are_honest);

/// After `retry_after` the same request passes, one nanosecond earlier it does not: for newcomers without room too, as
/// long as nobody else comes.
fn waits_are_honest<A: Subject>() {
    let seen = Seen::default();
    hold(60, cases::<A>(3), |case| {
        let mut world = World::<A>::new(&case);
        for step in &case.steps {
            let (key, cost, now) = world.place(step);
            let (answer, _) = world.act(step.what, key, cost, now);
            let Some(answer) = answer.filter(|answer| !answer.allowed) else { continue };
            prop_assert_eq!(answer.retry_after.is_none(), cost > burst(case.quota), "{:?} for {}", answer, cost);
            prop_assert!(answer.remaining < cost.max(1));
            let Some(wait) = answer.retry_after else { continue };
            prop_assert!(wait > Duration::ZERO, "{:?}", answer);
            let passes = |wait: Duration| {
                let then = u64::try_from(within_horizon(now) + wait.as_nanos()).ok().filter(|&then| then <= HORIZON)?;
                Some(world.table.peek_n_at(&key, cost, Timestamp::from_nanos(then)).is_ok())
            };
            prop_assert_ne!(passes(wait), Some(false), "{} of {} at {:?}: {:?}", cost, key, now, answer);
            let before = wait - Duration::from_nanos(1);
            prop_assert_ne!(passes(before), Some(true), "{} of {} at {:?}: {:?}", cost, key, now, answer);
        }
        seen.note(&world);
        Ok(())
    });
    seen.assert_enough();
}
