//! A limiter that is restored goes on as it would have, by whatever clock: never with more room than it had, by the time that has
//! passed. A snapshot of something else, or a damaged one, is refused.
#![cfg(all(feature = "serde", not(loom)))]

#[macro_use]
mod runner;

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use proptest::{collection::vec, prelude::*, sample::Index};
use runner::hold;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tollgate::{
    Algorithm, Carry, Clock, Decision, FixedWindow, KeyedLimiter, LeakyBucket, Limiter, Live, ManualClock, Quota,
    RateLimiter, SecretState, SlidingLog, SlidingWindow, Tiers, Timestamp, TokenBucket,
    algorithm::Adjustable,
    snapshot::{KeyedSnapshot, RestoreError, Save, Snapshot},
};

const START: u64 = 1_790_000_000_123_456_789;
const SECOND: u64 = 1_000_000_000;

/// An algorithm that can be made of a limit and a period.
trait Made: Save + 'static {
    fn made(limit: u64, period: Duration) -> Self;
}

macro_rules! made {
    ($($algorithm:ident),+) => {$(
        impl Made for $algorithm {
            fn made(limit: u64, period: Duration) -> Self {
                $algorithm::new(Quota::new(limit, period)).unwrap()
            }
        }
    )+};
}

/// One whose quota can be changed.
impl<A: Adjustable + 'static> Made for Live<A>
where
    Live<A>: Save,
{
    fn made(limit: u64, period: Duration) -> Self {
        Live::new(Quota::new(limit, period)).unwrap()
    }
}

macro_rules! for_all_live {
    ($name:ident, $property:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn fixed_window() {
                $property::<Live<FixedWindow>>();
            }
            #[test]
            fn sliding_window() {
                $property::<Live<SlidingWindow>>();
            }
            #[test]
            fn token_bucket() {
                $property::<Live<TokenBucket>>();
            }
            #[test]
            fn leaky_bucket() {
                $property::<Live<LeakyBucket>>();
            }
        }
    };
}

made!(FixedWindow, SlidingWindow, SlidingLog, TokenBucket, LeakyBucket);

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn by<A: Algorithm>(algorithm: A, now: u64) -> RateLimiter<A, ManualClock> {
    RateLimiter::with_clock(algorithm, ManualClock::starting_at(at(now)))
}

/// What goes through a file and comes back, in two formats.
fn written<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(snapshot: &T) -> T {
    let text: T = serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap();
    let binary: T = postcard::from_bytes(&postcard::to_allocvec(snapshot).unwrap()).unwrap();
    assert_eq!(&binary, snapshot);
    assert_eq!(&text, snapshot);
    text
}

/// What a limiter says now and later, for all costs that make a difference.
fn sayings(limiter: &impl Limiter, now: Timestamp, period: u64) -> Vec<Decision> {
    let waits = [0, 1, period / 10, period / 3, period / 2, period - 1, period, period * 3 / 2, 2 * period, 3 * period];
    let times = waits.map(|wait| now + Duration::from_nanos(wait));
    times.iter().flat_map(|&time| [0, 1, 2, 3, 5, 8, 12].map(move |cost| limiter.peek_n_at(cost, time))).collect()
}

/// What the one says lets through nothing that the other does not.
fn no_more_room(new: &[Decision], old: &[Decision]) -> Result<(), TestCaseError> {
    for (new, old) in new.iter().zip(old) {
        match (new, old) {
            (Ok(new), Ok(old)) => prop_assert!(new.remaining <= old.remaining, "{new:?} {old:?}"),
            (Ok(new), Err(old)) => prop_assert!(false, "{new:?} {old:?}"),
            (Err(_), _) => {}
        }
    }
    Ok(())
}

/// Some requests, and how long after the one before it each comes, in tenths of a period and some nanoseconds.
type Requests = Vec<(u64, u64, u64)>;

fn requests() -> impl Strategy<Value = Requests> {
    vec((1..5_u64, prop_oneof![Just(0_u64), 0..4_u64, 0..20_u64], prop_oneof![Just(0_u64), 0..9_u64]), 0..12)
}

fn periods() -> impl Strategy<Value = u64> {
    prop_oneof![Just(SECOND), Just(7 * SECOND), Just(60 * SECOND), 1_000_000..3 * SECOND]
}

fn passing() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), Just(1_u64), 0..SECOND, 0..100 * SECOND, Just(u64::MAX)]
}

fn send(limiter: &impl Limiter, clock: &ManualClock, period: u64, requests: Requests) {
    for (cost, tenths, nanos) in requests {
        clock.advance(Duration::from_nanos(period / 10 * tenths + nanos));
        let _ = limiter.check_n(cost);
    }
}

fn goes_on_as_it_was_by_the_same_clock<A: Made>() {
    let strategy = (1..13_u64, periods(), requests(), passing());
    hold(250, strategy, |(limit, period, requests, passed)| {
        let made = || A::made(limit, Duration::from_nanos(period));
        let limiter = by(made(), START);
        send(&limiter, limiter.clock(), period, requests);
        let snapshot = written(&limiter.snapshot(Some(at(77))));
        limiter.clock().advance(Duration::from_nanos(passed));
        let now = limiter.now();
        let clock = ManualClock::starting_at(now);
        let wall = at(77) + Duration::from_nanos(passed);
        let restored = RateLimiter::restore(made(), clock, &snapshot, Some(wall)).unwrap();
        prop_assert_eq!(sayings(&restored, now, period), sayings(&limiter, now, period));
        Ok(())
    });
}

for_all_algorithms!(same_clock, goes_on_as_it_was_by_the_same_clock);
for_all_live!(same_clock_live, goes_on_as_it_was_by_the_same_clock);

fn leaves_no_more_room_by_another_clock<A: Made>() {
    let passing = prop_oneof![Just(0_u64), 0..SECOND, 0..20 * SECOND];
    let starts = prop_oneof![Just(0_u64), 0..100 * SECOND, 0..4_000_000_000 * SECOND, Just(4_294_967_295 * SECOND)];
    let strategy = (1..13_u64, periods(), requests(), passing, starts, prop_oneof![Just(0_u64), 0..3 * SECOND]);
    hold(250, strategy, |(limit, period, requests, passed, start, back)| {
        let made = || A::made(limit, Duration::from_nanos(period));
        let limiter = by(made(), START);
        send(&limiter, limiter.clock(), period, requests);
        // A clock that has stepped back.
        limiter.clock().set(limiter.now() - Duration::from_nanos(back));
        let snapshot = written(&limiter.snapshot(Some(at(0))));
        let restored = RateLimiter::restore(made(), ManualClock::starting_at(at(start)), &snapshot, Some(at(passed)));
        let restored = restored.unwrap();
        let before = limiter.now() + Duration::from_nanos(passed);
        no_more_room(&sayings(&restored, at(start), period), &sayings(&limiter, before, period))?;
        // No state stays for much longer than it would have: by one period, and two for what was ahead of its time.
        let far = Duration::from_nanos(2 * back + 4 * period);
        if at(start) + far < Timestamp::HORIZON {
            prop_assert!(restored.peek_n_at(limit, at(start) + far).is_ok());
        }
        Ok(())
    });
}

for_all_algorithms!(other_clock, leaves_no_more_room_by_another_clock);
for_all_live!(other_clock_live, leaves_no_more_room_by_another_clock);

fn a_bucket_loses_less_than_a_nanosecond<A: Made>() {
    let strategy = (1..13_u64, periods(), requests(), 0..10 * SECOND, 0..100 * SECOND);
    hold(250, strategy, |(limit, period, requests, passed, start)| {
        let made = || A::made(limit, Duration::from_nanos(period));
        let limiter = by(made(), START);
        send(&limiter, limiter.clock(), period, requests);
        let snapshot = limiter.snapshot(Some(at(0)));
        let clock = ManualClock::starting_at(at(start));
        let restored = RateLimiter::restore(made(), clock, &snapshot, Some(at(passed))).unwrap();
        let before = limiter.now() + Duration::from_nanos(passed);
        for cost in 1..=limit {
            let wait =
                |decision: Decision| decision.map_or_else(|denied| denied.retry_after.unwrap(), |_| Duration::ZERO);
            let old = wait(limiter.peek_n_at(cost, before));
            let new = wait(restored.peek_n(cost));
            prop_assert!(new >= old && new <= old + Duration::from_nanos(1), "{cost}: {old:?}, then {new:?}");
        }
        Ok(())
    });
}

#[test]
fn a_token_bucket_loses_less_than_a_nanosecond() {
    a_bucket_loses_less_than_a_nanosecond::<TokenBucket>();
}

#[test]
fn a_leaky_bucket_loses_less_than_a_nanosecond() {
    a_bucket_loses_less_than_a_nanosecond::<LeakyBucket>();
}

/// Counted modulo 2^64.
#[test]
fn the_fastest_buckets_are_restored_as_well() {
    let bucket = TokenBucket::new(Quota::per_second(1_000_000_000_000)).unwrap();
    let limiter = by(bucket, START);
    assert!(limiter.check_n(900_000_000_000).is_ok());
    let snapshot = written(&limiter.snapshot(Some(at(0))));
    for (passed, left) in [(0, 100_000_000_000), (500_000_000, 600_000_000_000), (u64::MAX, 1_000_000_000_000)] {
        let clock = ManualClock::starting_at(at(SECOND));
        let restored = RateLimiter::restore(bucket, clock, &snapshot, Some(at(passed))).unwrap();
        assert_eq!(restored.peek_n(0).unwrap().remaining, left);
    }
}

#[test]
fn without_a_wall_clock_or_with_one_that_went_back_no_time_has_passed() {
    let bucket = TokenBucket::new(Quota::per_second(10)).unwrap();
    let limiter = by(bucket, START);
    assert!(limiter.check_n(10).is_ok());
    for (then, now) in [(None, None), (None, Some(9)), (Some(9), None), (Some(9), Some(8)), (Some(9), Some(9))] {
        let [then, now] = [then, now].map(|seconds| seconds.map(Timestamp::from_secs));
        let clock = ManualClock::starting_at(at(START + SECOND));
        let restored = RateLimiter::restore(bucket, clock, &limiter.snapshot(then), now).unwrap();
        assert_eq!(restored.check().unwrap_err().retry_after, Some(Duration::from_millis(100)));
    }
}

#[test]
fn a_bucket_that_started_empty_does_not_start_again() {
    let bucket = TokenBucket::new(Quota::per_second(10)).unwrap().start_empty();
    let limiter = by(bucket, START);
    limiter.clock().advance(Duration::from_millis(500));
    let snapshot = limiter.snapshot(Some(at(0)));
    let restored = |passed| RateLimiter::restore(bucket, ManualClock::new(), &snapshot, Some(at(passed))).unwrap();
    assert_eq!(restored(0).peek_n(0).unwrap().remaining, 5);
    assert_eq!(restored(SECOND).peek_n(0).unwrap().remaining, 10);
}

#[test]
fn a_log_by_a_clock_that_begins_anew_forgets_nothing_too_early() {
    let log = SlidingLog::new(Quota::per_second(3)).unwrap();
    let limiter = by(log, START);
    for _ in 0..3 {
        limiter.clock().advance(Duration::from_millis(100));
        assert!(limiter.check().is_ok());
    }
    let snapshot = limiter.snapshot(Some(at(0)));
    let restored = |now| RateLimiter::restore(log, ManualClock::starting_at(at(now)), &snapshot, Some(at(0))).unwrap();
    // As it was, by a clock that is old enough.
    assert_eq!(restored(SECOND).check().unwrap_err().retry_after, Some(Duration::from_millis(800)));
    // As if they were taken now, by one that is not.
    assert_eq!(restored(0).check().unwrap_err().retry_after, Some(Duration::from_secs(1)));
    // But for those that have left the window since.
    let later = RateLimiter::restore(log, ManualClock::new(), &snapshot, Some(at(SECOND * 9 / 10))).unwrap();
    assert_eq!(later.peek_n(0).unwrap().remaining, 2);
}

// Refusals.

fn bucket() -> TokenBucket {
    TokenBucket::new(Quota::per_second(10)).unwrap()
}

fn refused<A: Save + std::fmt::Debug>(algorithm: A, snapshot: &Snapshot) -> RestoreError {
    RateLimiter::restore(algorithm, ManualClock::new(), snapshot, None).unwrap_err()
}

fn edited(snapshot: &Snapshot, from: &str, to: &str) -> Snapshot {
    let text = serde_json::to_string(snapshot).unwrap();
    assert!(text.contains(from), "{text}");
    serde_json::from_str(&text.replace(from, to)).unwrap()
}

#[test]
fn a_snapshot_of_something_else_is_refused() {
    let limiter = by(bucket(), START);
    assert!(limiter.check_n(10).is_ok());
    let snapshot = limiter.snapshot(None);

    let error = refused(LeakyBucket::new(Quota::per_second(10)).unwrap(), &snapshot);
    assert!(matches!(&error, RestoreError::Algorithm { found, expected: "leaky bucket" } if found == "token bucket"));
    let message = "algorithm: the snapshot is of a token bucket; restore it as one, not as a leaky bucket";
    assert_eq!(error.to_string(), message);

    for quota in [Quota::per_second(11), Quota::per_minute(10), Quota::per_second(10).burst(10)] {
        let error = refused(TokenBucket::new(quota).unwrap(), &snapshot);
        let expected = RestoreError::Quota { tier: 0, found: Quota::per_second(10), expected: quota };
        assert_eq!(error, expected);
    }
    let later = edited(&snapshot, r#""version":1"#, r#""version":2"#);
    assert_eq!(refused(bucket(), &later), RestoreError::Version { found: 2, expected: 1 });
}

#[test]
fn what_cannot_be_is_refused() {
    let limiter = by(bucket(), START);
    assert!(limiter.check_n(10).is_ok());
    let snapshot = limiter.snapshot(None);
    let text = serde_json::to_string(&snapshot).unwrap();
    let used = text.split(r#""used":"#).nth(1).unwrap().split('}').next().unwrap();
    let too_much = edited(&snapshot, used, &u64::MAX.to_string());
    assert!(matches!(refused(bucket(), &too_much), RestoreError::Damaged { .. }));
    let other = edited(&snapshot, &format!(r#"{{"bucket":{{"used":{used}}}}}"#), r#"{"log":{"times":[]}}"#);
    assert!(matches!(refused(bucket(), &other), RestoreError::Damaged { .. }));

    let window = SlidingWindow::new(Quota::per_second(10)).unwrap();
    let snapshot = by(window, START).snapshot(None);
    for count in ["previous", "current", "left"] {
        let text = serde_json::to_string(&snapshot).unwrap();
        let is = format!(r#""{count}":"#);
        let value: String = text.split(&is).nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        let too_much = edited(&snapshot, &format!("{is}{value}"), &format!("{is}{}", u64::MAX));
        assert!(matches!(refused(window, &too_much), RestoreError::Damaged { .. }), "{count}");
    }

    let log = SlidingLog::new(Quota::per_second(2)).unwrap();
    let limiter = by(log, 5);
    assert!(limiter.check_n(2).is_ok());
    let too_many = edited(&limiter.snapshot(None), "[5,5]", "[5,5,5]");
    assert!(matches!(refused(log, &too_many), RestoreError::Damaged { .. }));
    let too_late = edited(&limiter.snapshot(None), "[5,5]", &format!("[5,{}]", u64::MAX));
    assert!(matches!(refused(log, &too_late), RestoreError::Damaged { .. }));
    // Out of order, they are put in order: none leaves before the one before it.
    let disordered = edited(&limiter.snapshot(None), "[5,5]", "[5,1]");
    let restored = RateLimiter::restore(log, ManualClock::starting_at(at(5)), &disordered, None).unwrap();
    assert_eq!(restored.check_n(2).unwrap_err().retry_after, Some(Duration::from_secs(1)));
    let log = SlidingLog::new(Quota::per_second(3)).unwrap();
    let limiter = by(log, 5);
    assert!(limiter.check_n(3).is_ok());
    let disordered = edited(&limiter.snapshot(None), "[5,5,5]", "[1,5,2]");
    let restored = RateLimiter::restore(log, ManualClock::starting_at(at(5)), &disordered, None).unwrap();
    assert_eq!(restored.check().unwrap_err().reset_after, Duration::from_secs(1));
}

// Keyed.

type Resolver = fn(&u64) -> usize;

fn two_tiers<A: Made>(period: u64) -> Tiers<A, Resolver> {
    let [small, large] = [3, 9].map(|limit| A::made(limit, Duration::from_nanos(period)));
    Tiers::new([small, large], (|key: &u64| usize::from(key.is_multiple_of(3))) as Resolver).unwrap()
}

/// More keys than the table was built for, so that some have no slot: each says what it would have said. (But for one whose
/// state had recovered and still had a slot, while others shared a state: it is a newcomer now, and may have to share it. And
/// where a clock has stepped back behind a take-over, all newcomers begin after it, not those nearby alone.)
fn goes_on_with_all_its_keys<A: Made>() {
    let requests = vec((0..60_u64, 1..4_u64, prop_oneof![8 => Just(0), 1 => 0..4_u64]), 0..200);
    let strategy = (periods(), 0..10_usize, requests, passing(), prop_oneof![4 => Just(0), 1 => 0..3_u64]);
    hold(24, strategy, |(period, keys, requests, passed, back)| {
        let make = || two_tiers::<A>(period);
        let clock = ManualClock::starting_at(at(START));
        let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(make(), keys, clock.clone());
        let stood_still = requests.iter().all(|(.., tenths)| *tenths == 0);
        for (key, cost, tenths) in requests {
            clock.advance(Duration::from_nanos(period / 10 * tenths));
            let _ = limiter.check_n(&key, cost);
        }
        clock.set(clock.now() - Duration::from_nanos(back * period));
        let snapshot = written(&limiter.snapshot(Some(at(77))));
        clock.advance(Duration::from_nanos(passed));
        let (now, wall) = (clock.now(), at(77) + Duration::from_nanos(passed));
        let restored: KeyedLimiter<u64, _, _> =
            KeyedLimiter::restore(make(), keys, ManualClock::starting_at(now), &snapshot, Some(wall)).unwrap();
        prop_assert_eq!(restored.len(), limiter.len());
        for key in 0..60 {
            let [old, new] = [limiter.key(&key), restored.key(&key)].map(|key| sayings(&key, now, period));
            if back == 0 && (stood_still || limiter.stats().overflowed == 0) {
                prop_assert_eq!(new, old, "{}", key);
            } else {
                no_more_room(&new, &old)?;
            }
        }
        Ok(())
    });
}

for_all_algorithms!(keyed, goes_on_with_all_its_keys);
for_all_live!(keyed_live, goes_on_with_all_its_keys);

type Keyed<A = TokenBucket, S = SecretState> = KeyedLimiter<u64, A, ManualClock, S>;

fn keyed(keys: usize) -> Keyed {
    let limiter = Keyed::with_clock(bucket(), keys, ManualClock::starting_at(at(START)));
    (0..50).for_each(|key| assert!(limiter.check_n(&key, 1 + key % 10).is_ok()));
    limiter
}

#[test]
fn a_table_of_another_shape_is_refused() {
    let snapshot = keyed(100).snapshot(None);
    let restore = |keys| Keyed::restore(bucket(), keys, ManualClock::new(), &snapshot, None);
    assert!(restore(100).is_ok());
    let error = restore(200).unwrap_err();
    assert!(matches!(error, RestoreError::Capacity { found, expected } if found < expected), "{error}");

    let tiers = |limits: &[u64]| {
        let tiers = limits.iter().map(|&limit| TokenBucket::new(Quota::per_second(limit)).unwrap());
        Tiers::new(tiers, (|_: &u64| 0) as Resolver).unwrap()
    };
    let restore = |limits: &[u64], snapshot: &KeyedSnapshot| {
        Keyed::<Tiers<TokenBucket, Resolver>>::restore(tiers(limits), 100, ManualClock::new(), snapshot, None)
    };
    let tiered = Keyed::with_clock(tiers(&[10, 20]), 100, ManualClock::new()).snapshot(None);
    assert!(restore(&[10, 20], &tiered).is_ok());
    assert_eq!(restore(&[10], &tiered).unwrap_err(), RestoreError::Tiers { found: 2, expected: 1 });
    let [found, expected] = [20, 21].map(Quota::per_second);
    assert_eq!(restore(&[10, 21], &tiered).unwrap_err(), RestoreError::Quota { tier: 1, found, expected });
    assert!(restore(&[20, 10], &tiered).is_err());
}

/// What is in a table's snapshot, changed.
fn changed(snapshot: &KeyedSnapshot, change: impl FnOnce(&mut serde_json::Value)) -> KeyedSnapshot {
    let mut value = serde_json::to_value(snapshot).unwrap();
    change(&mut value["table"]);
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_table_that_cannot_be_is_refused() {
    let tiers = || two_tiers::<TokenBucket>(SECOND);
    let limiter = Keyed::with_clock(tiers(), 2, ManualClock::starting_at(at(START)));
    for key in 0..200 {
        let _ = limiter.check(&key);
    }
    let snapshot = limiter.snapshot(None);
    let refused = |change: fn(&mut serde_json::Value)| match Keyed::restore(
        tiers(),
        2,
        ManualClock::new(),
        &changed(&snapshot, change),
        None,
    ) {
        Err(RestoreError::Damaged { what }) => what,
        other => panic!("{other:?}"),
    };
    let messages = [
        refused(|table| table["keys"][0]["slot"] = u64::MAX.into()),
        refused(|table| table["keys"][0]["slot"] = table["keys"][1]["slot"].clone()),
        refused(|table| table["keys"][0]["fingerprint"] = 0.into()),
        refused(|table| table["keys"][0]["fingerprint"] = u64::MAX.into()),
        // A third tier.
        refused(|table| {
            let fingerprint = table["keys"][0]["fingerprint"].as_u64().unwrap();
            table["keys"][0]["fingerprint"] = (fingerprint & !255 | 2).into();
        }),
        refused(|table| table["keys"][0]["state"] = serde_json::json!({ "bucket": { "used": u64::MAX } })),
        refused(|table| table["shared"][0][0] = 1.into()),
        refused(|table| table["shared"][0][1] = 2.into()),
        refused(|table| table["shared"][0] = table["shared"][1].clone()),
        refused(|table| table["shared"][0][2] = serde_json::json!({ "log": { "times": [] } })),
    ];
    assert!(messages.iter().all(|what| what.starts_with("a key") || what.contains("keys") || what.contains("share")));
}

#[test]
fn a_key_that_was_never_seen_begins_as_in_a_table_that_has_stood_for_as_long() {
    let bucket = TokenBucket::new(Quota::per_second(10)).unwrap().start_empty();
    let limiter = Keyed::with_clock(bucket, 10, ManualClock::starting_at(at(START)));
    limiter.clock().advance(Duration::from_millis(200));
    let snapshot = limiter.snapshot(Some(at(0)));
    for (now, passed, left) in [(START, 0, 2), (START, SECOND / 2, 7), (START, 2 * SECOND, 10), (0, SECOND / 2, 0)] {
        let clock = ManualClock::starting_at(at(now));
        let restored = Keyed::restore(bucket, 10, clock, &snapshot, Some(at(passed))).unwrap();
        let found = restored.peek_n(&1, 0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining);
        assert_eq!(found, left, "{passed} ns later");
    }
}

/// A clock jumps ahead, keys are taken over, and it steps back: those that are gone then had not recovered, and begin after the
/// take-over, as they would have.
#[test]
fn a_take_over_that_lies_ahead_is_not_forgotten() {
    let bucket = TokenBucket::new(Quota::new(10, Duration::from_secs(100))).unwrap();
    let mut taken_over = 0;
    for (seed, passed) in (0..40).zip([0, 50 * SECOND].into_iter().cycle()) {
        let (clock, hasher) = (ManualClock::starting_at(at(START)), SecretState::with_seed(seed));
        let limiter = Keyed::with_clock_and_hasher(bucket, 2, clock, hasher);
        // Of 32 slots.
        for (keys, seconds) in [(0..20, 0), (100..116, 200)] {
            limiter.clock().set(at(START + seconds * SECOND));
            for key in keys {
                let _ = limiter.check_n(&key, 10);
            }
        }
        // What newcomers share would make them wait as well.
        if limiter.stats().overflowed > 0 {
            continue;
        }
        limiter.clock().set(at(START + SECOND));
        let snapshot = limiter.snapshot(Some(at(0)));
        limiter.clock().advance(Duration::from_nanos(passed));
        let clock = ManualClock::starting_at(at(77));
        let restored = Keyed::restore(bucket, 2, clock, &snapshot, Some(at(passed))).unwrap();
        for key in 0..20 {
            let [old, new] = [&limiter, &restored].map(|limiter| {
                let _ = limiter.check_n(&key, 10);
                limiter.check_n(&key, 10).unwrap_err().retry_after.unwrap()
            });
            assert!(new >= old, "{seed}, {key}: {old:?}, then {new:?}");
            // What it has taken it has taken at the time of the take-over.
            taken_over += u32::from(old > Duration::from_secs(140));
        }
    }
    assert!(taken_over > 20, "{taken_over}: there was nothing to forget");
}

/// One that does not keep its seed when it is written.
#[derive(Clone, Serialize, Deserialize)]
struct Forgetful {
    #[serde(skip)]
    random: RandomState,
}

impl BuildHasher for Forgetful {
    type Hasher = <RandomState as BuildHasher>::Hasher;
    fn build_hasher(&self) -> Self::Hasher {
        self.random.build_hasher()
    }
}

#[test]
fn a_hasher_that_has_come_to_hash_otherwise_is_found_out() {
    let hasher = Forgetful { random: RandomState::new() };
    let limiter = Keyed::with_clock_and_hasher(bucket(), 100, ManualClock::new(), hasher);
    let snapshot = limiter.snapshot(None);
    assert!(Keyed::restore(bucket(), 100, ManualClock::new(), &snapshot, None).is_ok());
    let text = serde_json::to_string(&snapshot).unwrap();
    let read: KeyedSnapshot<Forgetful> = serde_json::from_str(&text).unwrap();
    let error = Keyed::restore(bucket(), 100, ManualClock::new(), &read, None).unwrap_err();
    assert_eq!(error, RestoreError::Hasher);
}

#[test]
fn a_hasher_of_another_process_hashes_as_it_did() {
    let foreign: SecretState = serde_json::from_str("[1,2]").unwrap();
    let again: SecretState = serde_json::from_str(&serde_json::to_string(&foreign).unwrap()).unwrap();
    assert_eq!(foreign.hash_one("key"), again.hash_one("key"));
    let other: SecretState = serde_json::from_str("[1,3]").unwrap();
    assert_ne!(foreign.hash_one("key"), other.hash_one("key"));
    for own in [SecretState::new(), SecretState::with_seed(7)] {
        let read: SecretState = serde_json::from_str(&serde_json::to_string(&own).unwrap()).unwrap();
        assert_eq!(own.hash_one("key"), read.hash_one("key"));
        assert_eq!(own, read);
    }
}

#[test]
fn no_secret_is_shown() {
    let snapshot = keyed(100).snapshot(Some(at(1)));
    let shown = format!("{snapshot:?}");
    let value = serde_json::to_value(&snapshot).unwrap();
    let first = &value["table"]["keys"][0]["fingerprint"];
    assert!(first.is_u64() && shown.contains("keys: 50"), "{shown}");
    for secret in [first, &value["hasher"][0], &value["hasher"][1], &value["probe"]] {
        assert!(!shown.contains(&secret.to_string()), "{shown}");
    }
}

// Live.

#[test]
fn a_live_limiter_is_restored_under_the_quota_that_it_had_last() {
    fn holds<A: Adjustable>()
    where
        Live<A>: Save,
    {
        let limiter = by(Live::<A>::new(Quota::per_minute(10)).unwrap(), START);
        assert!(limiter.check_n(6).is_ok());
        for limit in [7, 300, 20] {
            limiter.set_quota(Quota::per_minute(limit), Carry::Absolute).unwrap();
        }
        let snapshot = written(&limiter.snapshot(None));
        assert_eq!(snapshot.quotas(), [Quota::per_minute(20)]);
        let error = refused(Live::<A>::new(Quota::per_minute(10)).unwrap(), &snapshot);
        assert!(matches!(error, RestoreError::Quota { found, .. } if found == Quota::per_minute(20)), "{error}");
        let live = Live::<A>::new(snapshot.quotas()[0]).unwrap();
        let restored = RateLimiter::restore(live, ManualClock::starting_at(at(START)), &snapshot, None).unwrap();
        assert_eq!(restored.peek_n(0).unwrap().remaining, 14);
        restored.set_quota(Quota::per_minute(40), Carry::Proportional).unwrap();
        assert_eq!(restored.peek_n(0).unwrap().remaining, 28);
        assert_eq!(limiter.peek_n(0).unwrap().remaining, 14);
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<TokenBucket>();
    holds::<LeakyBucket>();
}

#[test]
fn a_live_limiter_is_not_one_that_is_not() {
    let plain = by(bucket(), START).snapshot(None);
    let error = refused(Live::<TokenBucket>::new(Quota::per_second(10)).unwrap(), &plain);
    let message = "algorithm: the snapshot is of a token bucket; restore it as one, not as a live token bucket";
    assert_eq!(error.to_string(), message);
    let live = by(Live::<TokenBucket>::new(Quota::per_second(10)).unwrap(), START).snapshot(None);
    assert!(matches!(refused(bucket(), &live), RestoreError::Algorithm { .. }));
}

/// A table whose quota is changed to and fro, of whose keys each has used half.
#[test]
fn no_snapshot_is_of_two_quotas() {
    let quota = |limit| Live::<FixedWindow>::new(Quota::per_minute(limit)).unwrap();
    let limiter = Keyed::<Live<FixedWindow>>::with_clock(quota(100), 100, ManualClock::starting_at(at(START)));
    (0..50).for_each(|key| assert!(limiter.check_n(&key, 50).is_ok()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for limit in [200, 100].into_iter().cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                limiter.set_quota(Quota::per_minute(limit), Carry::Proportional).unwrap();
            }
        });
        for _ in 0..200 {
            let snapshot = limiter.snapshot(None);
            let limit = snapshot.quotas()[0].limit();
            let clock = ManualClock::starting_at(at(START));
            let restored = Keyed::restore(quota(limit), 100, clock, &snapshot, None).unwrap();
            let left = |key| restored.peek_n(&key, 0).unwrap().remaining;
            if let Some(key) = (0..50).find(|&key| left(key) != limit / 2) {
                done.store(true, Ordering::Relaxed);
                panic!("key {key} has {} left of {limit}", left(key));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A clock that panics once, when it is told to.
struct Panics(AtomicBool);

impl Clock for &Panics {
    fn now(&self) -> Timestamp {
        assert!(!self.0.swap(false, Ordering::Relaxed), "no time");
        at(START)
    }
}

#[test]
fn a_change_that_a_clock_has_cut_short_is_finished_in_the_snapshot() {
    let clock = Panics(AtomicBool::new(false));
    let quota = |limit| Live::<FixedWindow>::new(Quota::per_minute(limit)).unwrap();
    let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(quota(10), 100, &clock);
    (0..20).for_each(|key| assert!(limiter.check_n(&key, 6).is_ok()));
    clock.0.store(true, Ordering::Relaxed);
    let change = || limiter.set_quota(Quota::per_minute(20), Carry::Proportional);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(change)).is_err());
    let snapshot = limiter.snapshot(None);
    let restored: KeyedLimiter<u64, _, _> = KeyedLimiter::restore(quota(20), 100, &clock, &snapshot, None).unwrap();
    (0..20).for_each(|key| assert_eq!(restored.peek_n(&key, 0).unwrap().remaining, 8, "{key}"));
}

// Damage.

/// A number in a text, in place of another: those at which something might overflow.
fn numbers() -> impl Strategy<Value = String> {
    let edges = prop_oneof![
        (0..64_u32, 0..3_u64).prop_map(|(bits, less)| (1_u64 << bits).wrapping_sub(less)),
        any::<u64>(),
        (0..3_u64).prop_map(|less| u64::MAX - less),
        (0..3_u64).prop_map(|less| Timestamp::HORIZON.as_nanos() - less),
    ];
    prop_oneof![8 => edges.prop_map(|number| number.to_string()), 1 => Just("-1".into()), 1 => Just("null".into())]
}

/// What is done to a text.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Byte(Index, u8),
    Number(Index, String),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let damage = prop_oneof![
        1 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(index, byte)| Damage::Byte(index, byte)),
        8 => (any::<Index>(), numbers()).prop_map(|(index, number)| Damage::Number(index, number)),
    ];
    vec(damage, 1..4)
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        match damage {
            _ if bytes.is_empty() => {}
            Damage::Cut(index) => bytes.truncate(index.index(bytes.len())),
            Damage::Byte(index, byte) => {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            Damage::Number(index, number) => {
                let is_first =
                    |&nth: &usize| bytes[nth].is_ascii_digit() && (nth == 0 || !bytes[nth - 1].is_ascii_digit());
                let begins: Vec<usize> = (0..bytes.len()).filter(is_first).collect();
                if let Some(&begin) = begins.get(index.index(begins.len().max(1))) {
                    let end = (begin..bytes.len()).find(|&nth| !bytes[nth].is_ascii_digit()).unwrap_or(bytes.len());
                    bytes.splice(begin..end, number.bytes());
                }
            }
        }
    }
    bytes
}

/// All that can be asked of a limiter, at times that may be far off.
fn exercise(limiter: &impl Limiter, now: Timestamp) {
    for time in [Timestamp::ZERO, now, now + Duration::from_secs(1), Timestamp::HORIZON, at(u64::MAX)] {
        for cost in [0, 1, 3, u64::MAX] {
            let _ = limiter.peek_n_at(cost, time);
            let _ = limiter.check_n_at(cost, time);
            limiter.refund_at(cost / 2, time);
        }
    }
}

fn survives_damage<A: Made>() {
    let nows = || prop_oneof![Just(0_u64), 0..100 * SECOND, any::<u64>()];
    let bytes = prop_oneof![1 => vec(any::<u8>(), 0..64).prop_map(Ok), 4 => damages().prop_map(Err)];
    hold(300, (bytes, nows(), nows(), any::<bool>()), |(bytes, now, wall, of_a_table)| {
        let made = || A::made(5, Duration::from_secs(1));
        let broken = |text: Vec<u8>, binary: Vec<u8>| match &bytes {
            Ok(bytes) => [bytes.clone(), bytes.clone()],
            Err(damages) => [damaged(text, damages), damaged(binary, damages)],
        };
        let (clock, now, wall) = (ManualClock::starting_at(at(now)), at(now), Some(at(wall)));
        if of_a_table {
            let limiter = Keyed::with_clock(two_tiers::<A>(SECOND), 2, ManualClock::starting_at(at(START)));
            for key in 0..60 {
                let _ = limiter.check_n(&key, 1 + key % 3);
            }
            let snapshot = limiter.snapshot(Some(at(77)));
            let [text, binary] =
                broken(serde_json::to_vec(&snapshot).unwrap(), postcard::to_allocvec(&snapshot).unwrap());
            let read: [Option<KeyedSnapshot>; 2] =
                [serde_json::from_slice(&text).ok(), postcard::from_bytes(&binary).ok()];
            for snapshot in read.into_iter().flatten() {
                let restored = Keyed::restore(two_tiers::<A>(SECOND), 2, clock.clone(), &snapshot, wall);
                if let Ok(restored) = restored {
                    (0..60).for_each(|key| exercise(&restored.key(&key), now));
                    let _ = (restored.len(), restored.snapshot(wall));
                }
            }
        } else {
            let limiter = by(made(), START);
            let _ = (limiter.check_n(3), limiter.check_n(2));
            let snapshot = limiter.snapshot(Some(at(77)));
            let [text, binary] =
                broken(serde_json::to_vec(&snapshot).unwrap(), postcard::to_allocvec(&snapshot).unwrap());
            let read: [Option<Snapshot>; 2] = [serde_json::from_slice(&text).ok(), postcard::from_bytes(&binary).ok()];
            for snapshot in read.into_iter().flatten() {
                if let Ok(restored) = RateLimiter::restore(made(), clock.clone(), &snapshot, wall) {
                    exercise(&restored, now);
                    let _ = restored.snapshot(wall);
                }
            }
        }
        Ok(())
    });
}

for_all_algorithms!(damage, survives_damage);
for_all_live!(damage_live, survives_damage);

// Others go on meanwhile.

#[test]
fn each_state_is_as_it_was_at_one_moment() {
    fn holds<A: Made>() {
        let made = || A::made(100_000, Duration::from_secs(60));
        let limiter = by(made(), 60 * SECOND);
        let done = AtomicBool::new(false);
        let left = |limiter: &RateLimiter<A, ManualClock>| {
            limiter.peek_n(0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining)
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                (0..20_000).for_each(|_| assert!(limiter.check_n(3).is_ok()));
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let before = left(&limiter);
                let snapshot = limiter.snapshot(None);
                let after = left(&limiter);
                let clock = ManualClock::starting_at(at(60 * SECOND));
                let restored = left(&RateLimiter::restore(made(), clock, &snapshot, None).unwrap());
                assert!((after..=before).contains(&restored) && (100_000 - restored) % 3 == 0, "{restored}");
            }
        });
    }
    holds::<TokenBucket>();
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<SlidingLog>();
}

/// Newcomers wait for the group of slots that is copied, and no key is in a snapshot twice.
#[test]
fn newcomers_come_while_a_table_is_copied() {
    let limiter = Keyed::with_clock(bucket(), 2_000, ManualClock::starting_at(at(START)));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for key in 0..20_000 {
                let _ = limiter.check(&(key % 4_000));
                if key % 1_000 == 0 {
                    limiter.clock().advance(Duration::from_millis(20));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let snapshot = limiter.snapshot(None);
            let clock = ManualClock::starting_at(limiter.clock().now());
            let restored = Keyed::restore(bucket(), 2_000, clock, &snapshot, None).unwrap();
            assert!(restored.len() <= 4_000);
        }
    });
}
