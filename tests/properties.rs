//! Properties of all algorithms, over random quotas, costs and times: agreement with the reference limiters of
//! `tests/oracle`, decision by decision, and the library's promises, by their numbers:
//!
//! 1. *Bound.* Never more than the documented bound in any interval, whatever the clock does.
//! 2. *Refusals are free.* A refused request takes nothing.
//! 3. *Honest waits.* After `retry_after` the same request passes, one nanosecond earlier it does not; `None` iff it
//!    can never pass.
//! 4. *Exact rates.* Over any long run the admitted rate equals the quota, from one a year to 10^12 a second.
//! 5. *Exact refunds.* A check and its refund leave the state as if neither had happened.
//! 6. *Total.* No panic for any quota, cost and time.
//!
//! A property is a function over any [`Subject`]; `for_all_algorithms!` makes one test of it for each.
#![cfg(not(loom))]

// Not all of it is of use here.
#[allow(dead_code, unused_imports)]
mod oracle;
#[macro_use]
mod runner;

use std::time::Duration;

use num_bigint::BigUint;
use oracle::{
    Answer, FixedOracle, LogOracle, Oracle, PlainBucket, QuantisedBucket, SlidingOracle, duration, within_horizon,
    wraps,
};
use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use runner::hold;
use tollgate::{
    Algorithm, FixedWindow, LeakyBucket, Limiter, ManualClock, Quota, QuotaError, RateLimiter, SlidingLog,
    SlidingWindow, Timestamp, TokenBucket,
};

const HORIZON: u64 = Timestamp::HORIZON.as_nanos();
const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const YEAR: u64 = 365 * 24 * HOUR;

// ---------------------------------------------------------------------------------------------------------------------
// The shared runner.

/// An algorithm under test.
trait Subject: Algorithm + Copy + 'static {
    type Oracle: Oracle;

    /// Largest limit that is worth trying.
    const MOST: u64 = u64::MAX;
    /// Whether the quota may have a burst.
    const HAS_BURST: bool = false;

    fn build(quota: Quota) -> Result<Self, QuotaError>;

    /// The same algorithm, but lacking that many units at the start, if it can.
    fn lacking(self, _units: u64) -> Self {
        self
    }

    /// The reference for this algorithm, lacking that many units at `start`.
    fn oracle(&self, lacking: u64, start: Timestamp) -> Self::Oracle;

    /// The most units that may be admitted within `time` (last instant less the first), in exact terms: no more than
    /// the first number divided by the second, which is rounded down.
    fn bound(quota: Quota, time: u64) -> u128;
}

/// As many as `windows` limits; anything if the time is a period or more.
fn bound_in_a_period(units: u128, quota: Quota, time: u64) -> u128 {
    if u128::from(time) < quota.period().as_nanos() { units } else { u128::MAX }
}

impl Subject for FixedWindow {
    type Oracle = FixedOracle;

    fn build(quota: Quota) -> Result<Self, QuotaError> {
        Self::new(quota)
    }

    fn oracle(&self, _lacking: u64, _start: Timestamp) -> FixedOracle {
        FixedOracle::new(self.quota())
    }

    fn bound(quota: Quota, time: u64) -> u128 {
        bound_in_a_period(2 * u128::from(quota.limit()), quota, time)
    }
}

impl Subject for SlidingWindow {
    type Oracle = SlidingOracle;

    fn build(quota: Quota) -> Result<Self, QuotaError> {
        Self::new(quota)
    }

    fn oracle(&self, _lacking: u64, _start: Timestamp) -> SlidingOracle {
        SlidingOracle::new(self.quota())
    }

    fn bound(quota: Quota, time: u64) -> u128 {
        bound_in_a_period(2 * u128::from(quota.limit()) - 1, quota, time)
    }
}

impl Subject for SlidingLog {
    type Oracle = LogOracle;

    // It takes memory, and time, for each unit; `tests/bounds.rs` has longer logs.
    const MOST: u64 = 100;

    fn build(quota: Quota) -> Result<Self, QuotaError> {
        Self::new(quota)
    }

    fn oracle(&self, _lacking: u64, _start: Timestamp) -> LogOracle {
        LogOracle::new(self.quota())
    }

    fn bound(quota: Quota, time: u64) -> u128 {
        bound_in_a_period(u128::from(quota.limit()), quota, time)
    }
}

/// `burst + floor(limit * (time + quantum) / period)`.
fn bound_of_bucket(quota: Quota, time: u64) -> u128 {
    let gained = BigUint::from(quota.limit()) * (BigUint::from(time) * QUANTUM_PARTS + quantum(quota));
    let gained = gained / (BigUint::from(quota.period().as_nanos()) * QUANTUM_PARTS);
    (gained + burst(quota)).try_into().unwrap_or(u128::MAX)
}

/// In how many parts of a nanosecond the [`quantum`] is given.
const QUANTUM_PARTS: u128 = 100 << 63;

/// What the rounding of `src/algorithm/bucket.rs` may amount to: 0.47 ns, and 2^-63 of the time in which an empty
/// bucket of one unit more fills.
fn quantum(quota: Quota) -> BigUint {
    let fills = (BigUint::from(burst(quota)) + 1_u8) * quota.period().as_nanos();
    BigUint::from(47_u128 << 63) + fills * 100_u8 / quota.limit() + 1_u8
}

/// The [`quantum`] in whole nanoseconds, rounded up.
fn tolerance(quota: Quota) -> u128 {
    ((quantum(quota) + QUANTUM_PARTS - 1_u8) / QUANTUM_PARTS).try_into().expect("a few years")
}

fn burst(quota: Quota) -> u64 {
    quota.explicit_burst().unwrap_or(quota.limit())
}

/// The nanoseconds in which a bucket fills that was emptied at the horizon, as seen from the epoch.
fn longest_wait(quota: Quota) -> u128 {
    u128::from(HORIZON) + (u128::from(burst(quota)) * quota.period().as_nanos()).div_ceil(quota.limit().into())
}

macro_rules! bucket_subject {
    ($bucket:ty, $leaky:literal) => {
        impl Subject for $bucket {
            type Oracle = QuantisedBucket;

            const HAS_BURST: bool = true;

            fn build(quota: Quota) -> Result<Self, QuotaError> {
                Self::new(quota)
            }

            fn lacking(self, units: u64) -> Self {
                self.start_with(self.burst() - units).expect("not more than the burst")
            }

            fn oracle(&self, lacking: u64, start: Timestamp) -> QuantisedBucket {
                QuantisedBucket::new(self.quota(), $leaky, lacking, within_horizon(start))
            }

            fn bound(quota: Quota, time: u64) -> u128 {
                bound_of_bucket(quota, time)
            }
        }

        impl Bucket for $bucket {
            const LEAKY: bool = $leaky;
        }
    };
}

/// An algorithm that has a plain GCRA for a second reference.
trait Bucket: Subject {
    const LEAKY: bool;
}

bucket_subject!(TokenBucket, false);
bucket_subject!(LeakyBucket, true);

/// One step of a random history: a time, relative to what came before, and what is done then.
#[derive(Clone, Debug)]
struct Step {
    when: When,
    what: What,
    cost: Cost,
}

#[derive(Clone, Debug)]
enum When {
    Now,
    Later(u64),
    Earlier(u64),
    At(u64),
    /// Periods later, and so many nanoseconds off.
    Periods(u64, i64),
    /// Emission intervals later, and so many nanoseconds off.
    Intervals(u64, i64),
    /// Periods earlier.
    PeriodsAgo(u64),
    /// The end of the window, and so many nanoseconds off.
    Edge(i64),
    /// When the last refused request passes, and so many nanoseconds off.
    Retry(i64),
    /// When all was to be recovered, as of the last answer, and so many nanoseconds off.
    Reset(i64),
}

#[derive(Clone, Copy, Debug)]
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

/// Numbers where things go wrong: small ones, around powers of two and of ten, the largest, and any.
fn edgy() -> impl Strategy<Value = u64> + Clone {
    let near = |n: u64, off: i64| n.saturating_add_signed(off);
    prop_oneof![
        4 => 0..8_u64,
        2 => (0..64_u32, -2..=2_i64).prop_map(move |(bits, off)| near(1 << bits, off)),
        2 => (0..20_u32, -1..=1_i64).prop_map(move |(digits, off)| near(10_u64.pow(digits), off)),
        1 => (0..8_u64).prop_map(|n| u64::MAX - n),
        // As likely to have any number of bits.
        2 => (any::<u64>(), 0..64_u32).prop_map(|(n, bits)| n >> bits),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let off = -1..=1_i64;
    let when = prop_oneof![
        4 => Just(When::Now),
        2 => edgy().prop_map(When::Later),
        1 => edgy().prop_map(When::Earlier),
        1 => edgy().prop_map(When::At),
        1 => (0..4_u64, off.clone()).prop_map(|(n, off)| When::Periods(n, off)),
        3 => (0..4_u64, off.clone()).prop_map(|(n, off)| When::Intervals(n, off)),
        1 => (1..3_u64).prop_map(When::PeriodsAgo),
        2 => off.clone().prop_map(When::Edge),
        3 => off.clone().prop_map(When::Retry),
        1 => off.clone().prop_map(When::Reset),
    ];
    let what = prop_oneof![
        12 => Just(What::Check),
        2 => Just(What::Peek),
        2 => Just(What::Refund),
        1 => Just(What::Reset),
    ];
    let cost = prop_oneof![
        6 => (0..4_u64).prop_map(Cost::Units),
        1 => edgy().prop_map(Cost::Units),
        1 => (-2..=2_i64).prop_map(Cost::Limit),
        4 => (-1..=1_i64).prop_map(Cost::Room),
    ];
    (when, what, cost).prop_map(|(when, what, cost)| Step { when, what, cost })
}

/// Where a clock may start: its epoch, just after, the Unix time, close to the horizon and beyond.
fn origin() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        2 => 0..3_u64,
        2 => Just(1_790_000_000_123_456_789),
        1 => (0..3 * YEAR).prop_map(|before| HORIZON - before),
        1 => edgy(),
    ]
}

/// Any quota that `A` accepts, at the edges of what it accepts more often than not.
fn quota<A: Subject>() -> impl Strategy<Value = Quota> + Clone {
    let period = prop_oneof![
        3 => proptest::sample::select(vec![SECOND, 5 * SECOND, 60 * SECOND, HOUR, 24 * HOUR, YEAR]),
        1 => Just(HORIZON),
        3 => edgy(),
    ];
    let burst = proptest::option::of(edgy());
    (edgy(), period, burst).prop_map(|(limit, period, burst)| accepted::<A>(limit, period, burst))
}

/// The quota that is nearest to the one asked for, of those that `A` accepts.
fn accepted<A: Subject>(limit: u64, period: u64, burst: Option<u64>) -> Quota {
    let (mut limit, mut period, mut burst) = (limit.clamp(1, A::MOST), period, burst.filter(|_| A::HAS_BURST));
    // Each error is mended once or twice; one that stays names a most that is refused.
    for _ in 0..8 {
        let quota = Quota::new(limit, Duration::from_nanos(period));
        let quota = burst.map_or(quota, |burst| quota.burst(burst));
        match A::build(quota) {
            // A `Duration` cannot hold the waits of such a bucket.
            Ok(_) if longest_wait(quota) > Duration::MAX.as_nanos() => burst = Some(quota.limit()),
            Ok(_) => return quota,
            Err(QuotaError::ZeroPeriod) => period = 1,
            Err(QuotaError::PeriodTooLong { .. }) => period = HORIZON,
            Err(QuotaError::ZeroBurst) => burst = Some(1),
            Err(QuotaError::LimitTooLarge { most, .. }) => limit = most,
            Err(QuotaError::BurstTooLarge { most, .. }) => burst = Some(most),
            Err(QuotaError::RateTooHigh { most, .. }) => {
                limit = (u128::from(most) * u128::from(period) / u128::from(SECOND)).try_into().unwrap_or(u64::MAX);
            }
            Err(error) => panic!("{quota:?}: {error}"),
        }
    }
    panic!("{limit} per {period} ns, {burst:?} at once: what the errors ask for is refused as well");
}

/// A subject with all that a property needs to try it.
#[derive(Clone, Debug)]
struct Case {
    quota: Quota,
    /// Of 256 parts of the limit, how many a fresh limiter lacks.
    lacking: u64,
    origin: u64,
    steps: Vec<Step>,
}

impl Case {
    fn algorithm<A: Subject>(&self) -> A {
        A::build(self.quota).expect("accepted").lacking(self.lacking_units::<A>())
    }

    fn lacking_units<A: Subject>(&self) -> u64 {
        if A::HAS_BURST { (u128::from(burst(self.quota)) * u128::from(self.lacking) / 256) as u64 } else { 0 }
    }

    fn start(&self) -> Timestamp {
        Timestamp::from_nanos(self.origin)
    }

    fn limiter<A: Subject>(&self) -> RateLimiter<A, ManualClock> {
        RateLimiter::with_clock(self.algorithm(), ManualClock::starting_at(self.start()))
    }

    fn oracle<A: Subject>(&self) -> A::Oracle {
        self.algorithm::<A>().oracle(self.lacking_units::<A>(), self.start())
    }
}

fn cases<A: Subject>(quotas: impl Strategy<Value = Quota>) -> impl Strategy<Value = Case> {
    let lacking = prop_oneof![3 => Just(0), 1 => 0..=256_u64];
    (quotas, lacking, origin(), vec(step(), 1..40)).prop_map(|(quota, lacking, origin, steps)| Case {
        quota,
        lacking,
        origin,
        steps,
    })
}

/// How far the clock of a history may go, in nanoseconds.
#[derive(Clone, Copy)]
struct Reach {
    /// Back from the latest time.
    back: u64,
    /// Ahead from the first.
    ahead: u64,
}

impl Reach {
    const ANYWHERE: Self = Self { back: u64::MAX, ahead: u64::MAX };

    /// As far as the algorithm is exact: a bucket that counts modulo 2^64 is so if the clock steps back by less than
    /// an hour and the whole history takes a day.
    fn of<A: Subject>(quota: Quota) -> Self {
        if A::HAS_BURST && wraps(quota) { Self { back: HOUR - 1, ahead: 24 * HOUR } } else { Self::ANYWHERE }
    }
}

/// Where in a history we are: makes the times and costs of steps absolute.
struct Cursor<'a> {
    case: &'a Case,
    reach: Reach,
    now: u64,
    latest: u64,
    retry_at: Option<u64>,
    reset_at: u64,
    room: u64,
    limit: u64,
}

impl<'a> Cursor<'a> {
    fn new(case: &'a Case, reach: Reach) -> Self {
        let origin = case.origin;
        let limit = burst(case.quota);
        Self { case, reach, now: origin, latest: origin, retry_at: None, reset_at: origin, room: limit, limit }
    }

    fn time(&mut self, when: &When) -> Timestamp {
        let period = self.case.quota.period().as_nanos() as u64;
        let interval = self.case.quota.emission_interval().as_nanos() as u64;
        let near = |time: u64, off: i64| time.saturating_add_signed(off);
        let now = self.now;
        let asked = match *when {
            When::Now => now,
            When::Later(by) => now.saturating_add(by),
            When::Earlier(by) => now.saturating_sub(by),
            When::At(time) => time,
            When::Periods(n, off) => near(now.saturating_add(n.saturating_mul(period)), off),
            When::Intervals(n, off) => near(now.saturating_add(n.saturating_mul(interval)), off),
            When::PeriodsAgo(n) => now.saturating_sub(n.saturating_mul(period)),
            When::Edge(off) => near((now / period).saturating_add(1).saturating_mul(period), off),
            When::Retry(off) => near(self.retry_at.unwrap_or(now), off),
            When::Reset(off) => near(self.reset_at, off),
        };
        let Reach { back, ahead } = self.reach;
        self.now = asked.clamp(self.latest.saturating_sub(back), self.case.origin.saturating_add(ahead));
        self.latest = self.latest.max(self.now);
        Timestamp::from_nanos(self.now)
    }

    fn cost(&self, cost: &Cost) -> u64 {
        match *cost {
            Cost::Units(units) => units,
            Cost::Limit(off) => self.limit.saturating_add_signed(off),
            Cost::Room(off) => self.room.saturating_add_signed(off),
        }
    }

    fn heard(&mut self, answer: &Answer) {
        let after = |wait: Duration| u64::try_from(u128::from(self.now) + wait.as_nanos()).unwrap_or(u64::MAX);
        if let Some(wait) = answer.retry_after {
            self.retry_at = Some(after(wait));
        }
        self.reset_at = after(answer.reset_after);
        self.room = answer.remaining;
    }
}

/// Walks a history: `each` gets what is to be done, the cost and the time, and gives the answer if there is one.
fn walk(
    case: &Case,
    reach: Reach,
    mut each: impl FnMut(What, u64, Timestamp) -> Result<Option<Answer>, TestCaseError>,
) -> TestCaseResult {
    let mut cursor = Cursor::new(case, reach);
    for step in &case.steps {
        let now = cursor.time(&step.when);
        let answer = each(step.what, cursor.cost(&step.cost), now)?;
        if let Some(answer) = answer {
            cursor.heard(&answer);
        }
    }
    Ok(())
}

/// Does what is asked, by a limiter.
fn act(limiter: &impl Limiter, what: What, cost: u64, now: Timestamp) -> Option<Answer> {
    match what {
        What::Check => Some(limiter.check_n_at(cost, now).into()),
        What::Peek => Some(limiter.peek_n_at(cost, now).into()),
        What::Refund => {
            limiter.refund_at(cost, now);
            None
        }
        What::Reset => {
            limiter.reset_at(now);
            None
        }
    }
}

/// Does what is asked, by the reference.
fn act_by_oracle(oracle: &mut impl Oracle, what: What, cost: u64, now: Timestamp) -> Option<Answer> {
    match what {
        What::Check => Some(oracle.check(cost, now)),
        What::Peek => Some(oracle.peek(cost, now)),
        What::Refund => {
            oracle.refund(cost, now);
            None
        }
        What::Reset => {
            oracle.reset(now);
            None
        }
    }
}

/// What a limiter would answer to this cost at this time.
fn peek(limiter: &impl Limiter, cost: u64, now: u64) -> Answer {
    limiter.peek_n_at(cost, Timestamp::from_nanos(now)).into()
}

// ---------------------------------------------------------------------------------------------------------------------
// Agreement.

for_all_algorithms!(agrees_with_its_oracle, agrees_with_its_oracle_);

/// Bit by bit, for any quota; the buckets with the reference that has their rounding.
fn agrees_with_its_oracle_<A: Subject>() {
    hold(150, cases::<A>(quota::<A>()), |case| {
        let (limiter, mut oracle) = (case.limiter::<A>(), case.oracle::<A>());
        walk(&case, Reach::ANYWHERE, |what, cost, now| {
            let answer = act(&limiter, what, cost, now);
            let expected = act_by_oracle(&mut oracle, what, cost, now);
            prop_assert_eq!(answer, expected, "{:?} {} at {:?}", what, cost, now);
            Ok(answer)
        })
    });
}

#[test]
fn token_bucket_is_plain_gcra_where_the_emission_interval_is_whole() {
    is_plain_gcra::<TokenBucket>();
}

#[test]
fn leaky_bucket_is_plain_gcra_where_the_emission_interval_is_whole() {
    is_plain_gcra::<LeakyBucket>();
}

/// Where a unit takes a whole number of nanoseconds, and a quantum less than one, the rounding makes no difference.
fn is_plain_gcra<A: Bucket>() {
    let quotas = (edgy(), edgy(), proptest::option::of(edgy())).prop_map(|(limit, interval, burst)| {
        let interval = interval.clamp(1, HORIZON);
        let limit = limit.clamp(1, HORIZON / interval);
        let quota = accepted::<A>(limit, limit * interval, burst);
        let whole = quota.period().as_nanos().is_multiple_of(quota.limit().into());
        if whole && !wraps(quota) && tolerance(quota) == 1 { quota } else { Quota::per_second(10) }
    });
    hold(150, cases::<A>(quotas), |case| {
        let limiter = case.limiter::<A>();
        let mut plain = PlainBucket::new(case.quota, A::LEAKY, case.lacking_units::<A>(), within_horizon(case.start()));
        walk(&case, Reach::ANYWHERE, |what, cost, now| {
            let answer = act(&limiter, what, cost, now);
            let expected = act_by_oracle(&mut plain, what, cost, now);
            prop_assert_eq!(answer, expected, "{:?} {} at {:?}", what, cost, now);
            Ok(answer)
        })
    });
}

#[test]
fn token_bucket_is_gcra_to_the_phase_quantum() {
    is_gcra_to_the_phase_quantum::<TokenBucket>();
}

#[test]
fn leaky_bucket_is_gcra_to_the_phase_quantum() {
    is_gcra_to_the_phase_quantum::<LeakyBucket>();
}

/// For any quota: never later than plain GCRA, and never earlier by more than the documented quantum.
///
/// The reference follows the decisions of the real one, so that a difference cannot pile up unseen.
fn is_gcra_to_the_phase_quantum<A: Bucket>() {
    hold(200, cases::<A>(quota::<A>()), |case| {
        let limiter = case.limiter::<A>();
        let mut plain = PlainBucket::new(case.quota, A::LEAKY, case.lacking_units::<A>(), within_horizon(case.start()));
        let tolerance = tolerance(case.quota);
        let early = |found: Duration, exact: Duration| {
            found <= exact && exact.as_nanos().saturating_sub(tolerance) <= found.as_nanos()
        };
        walk(&case, Reach::of::<A>(case.quota), |what, cost, now| {
            let Some(answer) = act(&limiter, what, cost, now) else {
                act_by_oracle(&mut plain, what, cost, now);
                return Ok(None);
            };
            let exact = plain.peek(cost, now);
            let asked = cost.max(1);
            // What passes now, and at the end of the quantum.
            let instant = within_horizon(now);
            let [room, room_soon] = [plain.room(instant), plain.room(instant + tolerance)];
            let shown = format!("{what:?} {cost} at {now:?}: {answer:?}, exactly {exact:?}");
            if answer.allowed {
                prop_assert!(asked <= room_soon, "{}", shown);
                prop_assert!(answer.remaining <= room_soon - cost, "{}", shown);
                prop_assert!(answer.remaining >= room.saturating_sub(cost), "{}", shown);
                if matches!(what, What::Check) {
                    plain.take(cost, now);
                }
            } else {
                prop_assert!(asked > room, "{}", shown);
                prop_assert!((room..=room_soon).contains(&answer.remaining), "{}", shown);
                prop_assert_eq!(answer.retry_after.is_some(), exact.retry_after.is_some(), "{}", shown);
                let [found, exact] = [answer.retry_after, exact.retry_after].map(Option::unwrap_or_default);
                prop_assert!(early(found, exact), "{}", shown);
            }
            if answer.allowed == exact.allowed {
                prop_assert!(early(answer.reset_after, exact.reset_after), "{}", shown);
                prop_assert!(early(answer.delay, exact.delay), "{}", shown);
            }
            Ok(Some(answer))
        })
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// The promises.

for_all_algorithms!(promise_1_never_more_than_the_bound, never_more_than_the_bound);

/// Any interval, of any length, in any history, by the limiter's own time: where the clock has stepped back, a request
/// counts at the time of the latest one that was admitted before it.
fn never_more_than_the_bound<A: Subject>() {
    hold(120, cases::<A>(quota::<A>()), |case| {
        let limiter = case.limiter::<A>();
        let mut history = History::default();
        walk(&case, Reach::of::<A>(case.quota), |what, cost, now| {
            let what = if matches!(what, What::Refund) { What::Check } else { what };
            let answer = act(&limiter, what, cost, now);
            history.note(what, cost, now, answer);
            Ok(answer)
        })?;
        history.assert_bound::<A>(case.quota)
    });
}

#[test]
fn promise_1_holds_for_a_token_bucket_by_the_stamps_of_a_clock_that_steps_back() {
    never_more_than_the_bound_by_any_stamps::<TokenBucket>();
}

#[test]
fn promise_1_holds_for_a_leaky_bucket_by_the_stamps_of_a_clock_that_steps_back() {
    never_more_than_the_bound_by_any_stamps::<LeakyBucket>();
}

/// The buckets keep their bound by the clock's own time as well, whatever it does.
fn never_more_than_the_bound_by_any_stamps<A: Bucket>() {
    hold(120, cases::<A>(quota::<A>()), |case| {
        let limiter = case.limiter::<A>();
        let mut history = History::default();
        walk(&case, Reach::of::<A>(case.quota), |what, cost, now| {
            let what = if matches!(what, What::Refund) { What::Check } else { what };
            let answer = act(&limiter, what, cost, now);
            match (what, answer) {
                (What::Check, Some(answer)) if answer.allowed && cost > 0 => {
                    history.events.push((within_horizon(now) as u64, cost, 0));
                }
                (What::Reset, _) => history.events.clear(),
                _ => {}
            }
            Ok(answer)
        })?;
        history.events.sort_unstable();
        history.assert_bound::<A>(case.quota)
    });
}

for_all_algorithms!(promise_1_never_more_than_the_bound_and_what_was_refunded, never_more_than_the_bound_and_refunds);

/// The same with refunds, which make room for as much again within any interval that they fall into.
fn never_more_than_the_bound_and_refunds<A: Subject>() {
    hold(120, cases::<A>(quota::<A>()), |case| {
        let limiter = case.limiter::<A>();
        let mut history = History::default();
        walk(&case, Reach { back: 0, ..Reach::of::<A>(case.quota) }, |what, cost, now| {
            let answer = act(&limiter, what, cost, now);
            history.note(what, cost, now, answer);
            Ok(answer)
        })?;
        history.assert_bound::<A>(case.quota)
    });
}

/// What was admitted and given back, in order.
#[derive(Debug, Default)]
struct History {
    /// The time, units admitted, units given back.
    events: Vec<(u64, u64, u64)>,
}

impl History {
    fn note(&mut self, what: What, cost: u64, now: Timestamp, answer: Option<Answer>) {
        let latest = self.events.last().map_or(0, |event| event.0);
        match (what, answer) {
            (What::Check, Some(answer)) if answer.allowed && cost > 0 => {
                self.events.push((latest.max(within_horizon(now) as u64), cost, 0));
            }
            (What::Refund, _) => self.events.push((latest, 0, cost)),
            // Begins anew.
            (What::Reset, _) => self.events.clear(),
            _ => {}
        }
    }

    fn assert_bound<A: Subject>(&self, quota: Quota) -> TestCaseResult {
        for (first, &(begin, ..)) in self.events.iter().enumerate().filter(|(_, event)| event.1 > 0) {
            let (mut admitted, mut refunded) = (0, 0);
            for &(end, taken, given) in &self.events[first..] {
                admitted += u128::from(taken);
                refunded += u128::from(given);
                let bound = A::bound(quota, end - begin);
                let most = bound.saturating_add(refunded);
                prop_assert!(admitted <= most, "{admitted} of {most} in {} ns: {self:?}", end - begin);
            }
        }
        Ok(())
    }
}

for_all_algorithms!(promise_2_refusals_are_free, refusals_are_free);

/// A twin that never sees a refused request answers alike for ever. As the twin is only ever asked by `peek`, this is
/// also the test that `peek` answers as `check` does.
fn refusals_are_free<A: Subject>() {
    hold(100, cases::<A>(quota::<A>()), |case| {
        let (limiter, twin) = (case.limiter::<A>(), case.limiter::<A>());
        walk(&case, Reach::ANYWHERE, |what, cost, now| {
            let expected = Answer::from(twin.peek_n_at(cost, now));
            let answer = act(&limiter, what, cost, now);
            match (what, answer) {
                (What::Check, Some(answer)) => {
                    prop_assert_eq!(answer, expected, "{} at {:?}", cost, now);
                    if answer.allowed {
                        let _ = twin.check_n_at(cost, now);
                    }
                }
                (What::Peek, _) => {}
                _ => drop(act(&twin, what, cost, now)),
            }
            Ok(answer)
        })
    });
}

for_all_algorithms!(promise_3_waits_are_honest, waits_are_honest);

fn waits_are_honest<A: Subject>() {
    hold(150, cases::<A>(quota::<A>()), |case| {
        let limiter = case.limiter::<A>();
        let most = burst(case.quota);
        walk(&case, Reach::ANYWHERE, |what, cost, now| {
            let Some(answer) = act(&limiter, what, cost, now) else { return Ok(None) };
            // Later times as seen from here; there are none from the horizon on.
            let now = within_horizon(now);
            let at = |wait: Duration| u64::try_from(now + wait.as_nanos()).ok().filter(|&at| at <= HORIZON);
            let nanosecond = Duration::from_nanos(1);
            if !answer.allowed {
                prop_assert_eq!(answer.retry_after.is_none(), cost > most, "{:?} for {}", answer, cost);
                prop_assert!(answer.remaining < cost.max(1));
            }
            if let Some(wait) = answer.retry_after {
                prop_assert!(wait > Duration::ZERO, "{:?}", answer);
                if let Some(then) = at(wait) {
                    prop_assert!(peek(&limiter, cost, then).allowed, "{} after {:?}", cost, wait);
                }
                if let Some(before) = at(wait - nanosecond) {
                    prop_assert!(!peek(&limiter, cost, before).allowed, "{} before {:?}", cost, wait);
                }
            }
            // And so is `reset_after`: from then on nothing is in use, and not before.
            if !matches!(what, What::Peek) {
                let fresh = |at: u64| peek(&limiter, 0, at).reset_after == Duration::ZERO;
                if let Some(then) = at(answer.reset_after) {
                    prop_assert!(fresh(then), "{:?}", answer);
                    prop_assert_eq!(peek(&limiter, 0, then).remaining, most);
                }
                if let Some(before) = answer.reset_after.checked_sub(nanosecond).and_then(at) {
                    prop_assert!(!fresh(before), "{:?}", answer);
                }
            }
            Ok(Some(answer))
        })
    });
}

for_all_algorithms!(promise_5_refunds_are_exact, refunds_are_exact);

/// A check and its refund, at any point of any history: a twin that saw neither answers alike, then and at any later
/// time.
fn refunds_are_exact<A: Subject>() {
    hold(100, cases::<A>(quota::<A>()), |case| {
        let (limiter, twin) = (case.limiter::<A>(), case.limiter::<A>());
        let reach = Reach { back: 0, ..Reach::of::<A>(case.quota) };
        walk(&case, reach, |what, cost, now| {
            if limiter.check_n_at(cost, now).is_ok() {
                limiter.refund_at(cost, now);
            }
            let period = case.quota.period().as_nanos() as u64;
            let interval = case.quota.emission_interval().as_nanos() as u64;
            for wait in [0, 1, interval, period - 1, period, period * 2] {
                if wait > reach.ahead {
                    break;
                }
                let later = now.as_nanos().saturating_add(wait);
                for cost in [0, 1, cost, burst(case.quota)] {
                    prop_assert_eq!(peek(&limiter, cost, later), peek(&twin, cost, later), "{} after {}", cost, wait);
                }
            }
            let answer = act(&limiter, what, cost, now);
            prop_assert_eq!(answer, act(&twin, what, cost, now));
            Ok(answer)
        })
    });
}

for_all_algorithms!(promise_6_total, total);

/// No panic, for any quota of any period, burst and limit, and any history at any times.
fn total<A: Subject>() {
    let wild = (edgy(), any::<u64>().prop_map(|n| n & 0xf), edgy(), edgy(), proptest::option::of(edgy()), edgy());
    hold(2_000, wild, |(limit, small, seconds, nanos, burst, start)| {
        let period = match small {
            0 => Duration::MAX,
            1..4 => Duration::new(seconds, (nanos % SECOND) as u32),
            _ => Duration::from_nanos(nanos),
        };
        let quota = burst.map_or(Quota::new(limit, period), |burst| Quota::new(limit, period).burst(burst));
        let _ = quota.emission_interval();
        if let Err(error) = A::build(quota) {
            prop_assert!(error.to_string().starts_with(error.field()), "{}", error);
        }
        if let Ok(bucket) = TokenBucket::new(quota) {
            prop_assert_eq!(bucket.start_with(start).is_err(), start > bucket.burst());
        }
        if let Ok(bucket) = LeakyBucket::new(quota) {
            prop_assert_eq!(bucket.start_with(start).is_err(), start > bucket.burst());
        }
        Ok(())
    });
    let times = vec((edgy(), edgy()), 1..30);
    hold(100, (quota::<A>(), origin(), times), |(quota, origin, requests)| {
        let case = Case { quota, lacking: 0, origin, steps: Vec::new() };
        let limiter = case.limiter::<A>();
        for (index, (now, cost)) in requests.into_iter().enumerate() {
            let what = [What::Check, What::Check, What::Refund, What::Peek, What::Reset][index % 5];
            if let Some(answer) = act(&limiter, what, cost, Timestamp::from_nanos(now)) {
                prop_assert!(answer.remaining <= answer.limit);
            }
        }
        Ok(())
    });
}

/// Exact rates, one module for what the fourth promise says.
mod promise_4_rates_are_exact {
    use super::*;

    /// From one a year to 10^12 a second; two that a whole number of nanoseconds cannot express for each that it can.
    fn rates() -> Vec<Quota> {
        let per = |limit, period| Quota::new(limit, Duration::from_nanos(period));
        vec![
            per(1, YEAR),
            per(3, YEAR),
            per(1, 24 * HOUR),
            per(7, 5 * SECOND),
            per(3, SECOND),
            per(1_000, SECOND),
            per(999_983, SECOND),
            per(300_000_000, SECOND),
            per(700_000_000, SECOND),
            per(1_000_000_001, SECOND),
            per(4_000_000_000, SECOND),
            per(1_000_000_000_000, SECOND),
            per((1 << 42) - 1, SECOND),
        ]
    }

    /// Takes all there is at irregular times, and before the bucket is full again, for so many periods: exactly the
    /// rate and one burst.
    fn takes_the_rate_and_one_burst<A: Bucket>(quota: Quota, origin: u64, periods: u64) -> u64 {
        let limiter =
            RateLimiter::with_clock(A::build(quota).unwrap(), ManualClock::starting_at(Timestamp::from_nanos(origin)));
        let period = quota.period().as_nanos() as u64;
        let end = origin + periods * period;
        let (mut now, mut total, mut random) = (origin, 0_u64, period);
        loop {
            let time = Timestamp::from_nanos(now);
            let room = Answer::from(limiter.peek_n_at(0, time)).remaining;
            if room > 0 {
                assert!(limiter.check_n_at(room, time).is_ok());
                total += room;
            }
            let full_after = limiter.check_at(time).expect_err("all is taken").reset_after.as_nanos() as u64;
            if now == end {
                assert_eq!(total, quota.limit() * (periods + 1), "{quota:?} from {origin}");
                return total;
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now = (now + (random >> 16) % full_after + 1).min(end);
        }
    }

    #[test]
    fn of_buckets_from_one_a_year_to_a_million_million_a_second() {
        for quota in rates() {
            for origin in [0, 1, 999_999_937, 1_790_000_000_123_456_789] {
                let periods = ((HORIZON - origin) / quota.period().as_nanos() as u64).min(400);
                takes_the_rate_and_one_burst::<TokenBucket>(quota, origin, periods);
                takes_the_rate_and_one_burst::<LeakyBucket>(quota, origin, periods);
            }
        }
    }

    #[test]
    fn of_buckets_right_up_to_the_horizon() {
        for quota in rates() {
            let period = quota.period().as_nanos() as u64;
            takes_the_rate_and_one_burst::<TokenBucket>(quota, HORIZON - 100 * period, 100);
            takes_the_rate_and_one_burst::<LeakyBucket>(quota, HORIZON - 100 * period - 1, 100);
        }
    }

    /// Billions of units in costs of thousands, for years: not one more or less.
    #[test]
    fn of_buckets_with_no_drift_after_billions_of_units() {
        for (limit, period) in [(7_000_003, 5 * SECOND), (3_000_000_001, HOUR), (1_000_000_007, 24 * HOUR)] {
            let quota = Quota::new(limit, Duration::from_nanos(period));
            let total = takes_the_rate_and_one_burst::<TokenBucket>(quota, 1, 3_000);
            assert!(total > 2_000_000_000);
        }
    }

    /// One unit each time as soon as it passes: each wait is the shortest, and they add up to the rate.
    #[test]
    fn of_single_requests_that_wait_as_they_are_told() {
        for quota in rates().into_iter().filter(|quota| quota.limit() <= 1_000) {
            // Of a burst of 1, the part of a nanosecond for which it waits too long would be lost each time.
            let bucket = TokenBucket::new(quota.burst(2)).unwrap();
            let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
            let rounds = 100;
            let mut now = Timestamp::ZERO;
            assert!(limiter.check_n_at(2, now).is_ok());
            for round in 1..=rounds * quota.limit() {
                let wait = limiter.check_at(now).unwrap_err().retry_after.unwrap();
                now = now + wait;
                assert!(limiter.check_at(now).is_ok());
                let exact = (u128::from(round) * quota.period().as_nanos()).div_ceil(quota.limit().into());
                assert_eq!(u128::from(now.as_nanos()), exact, "unit {round} of {quota:?}");
            }
        }
    }

    /// Windows: the limit in each, neither more nor less, to the last before the horizon.
    #[test]
    fn of_windows_and_logs() {
        for (limit, period) in [(1, YEAR), (7, 5 * SECOND), (1_000, SECOND), (3, 1)] {
            let quota = Quota::new(limit, Duration::from_nanos(period));
            let windows = (HORIZON / period).min(500);
            for first in [0, 1, HORIZON / period - windows] {
                let fixed = RateLimiter::with_clock(FixedWindow::new(quota).unwrap(), ManualClock::new());
                let log = RateLimiter::with_clock(SlidingLog::new(quota).unwrap(), ManualClock::new());
                for window in first..(first + windows).min(HORIZON / period) {
                    let edge = |off: u64| Timestamp::from_nanos(window * period + off % period);
                    assert!(fixed.check_n_at(limit, edge(0)).is_ok());
                    assert!(fixed.check_at(edge(period - 1)).is_err());
                    assert!(log.check_n_at(limit, edge(period / 2)).is_ok());
                    assert!(log.check_at(edge(period - 1)).is_err());
                }
            }
        }
    }
}

#[test]
fn the_oracles_know_the_longest_duration() {
    assert_eq!(duration(u128::MAX), Duration::MAX);
    assert_eq!(duration(1_500_000_000), Duration::from_millis(1_500));
}
