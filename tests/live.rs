//! Quotas that are changed while they are in use: what is kept, what is refused, and who sees what.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use tollgate::{
    Carry, Clock, Composite, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, Live, ManualClock, Priority,
    Quota, QuotaError, RateLimiter, SecretState, SlidingWindow, Tiers, Timestamp, TokenBucket, Undo,
    algorithm::Adjustable,
};

const SECOND: Duration = Duration::from_secs(1);

fn limiter<A: Adjustable>(quota: Quota) -> (RateLimiter<Live<A>, ManualClock>, ManualClock) {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_000));
    (RateLimiter::with_clock(Live::new(quota).unwrap(), clock.clone()), clock)
}

fn keyed<A: Adjustable>(quota: Quota, keys: usize) -> (KeyedLimiter<u64, Live<A>, ManualClock>, ManualClock) {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_000));
    (KeyedLimiter::with_clock(Live::new(quota).unwrap(), keys, clock.clone()), clock)
}

fn left(limiter: &impl Limiter) -> u64 {
    match limiter.peek_n(0) {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

/// Takes 6 of 10, and then finds so many left of another limit.
fn six_of_ten_are_in_use<A: Adjustable>(limit: u64, carry: Carry) -> u64 {
    let (limiter, _) = limiter::<A>(Quota::per_minute(10));
    assert!(limiter.check_n(6).is_ok());
    limiter.set_quota(Quota::per_minute(limit), carry).unwrap();
    assert_eq!(limiter.peek_n(0).map_or_else(|denied| denied.limit, |allowed| allowed.limit), limit);
    left(&limiter)
}

#[test]
fn what_was_consumed_is_kept_as_it_was_or_as_a_share() {
    fn holds<A: Adjustable>() {
        for (limit, absolute, proportional) in [(10, 4, 4), (20, 14, 8), (7, 1, 2), (5, 0, 2), (1, 0, 0)] {
            assert_eq!(six_of_ten_are_in_use::<A>(limit, Carry::Absolute), absolute, "of {limit}");
            assert_eq!(six_of_ten_are_in_use::<A>(limit, Carry::Proportional), proportional, "of {limit}");
        }
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<TokenBucket>();
    holds::<LeakyBucket>();
}

#[test]
fn all_fields_are_changed_at_once() {
    let (limiter, clock) = limiter::<TokenBucket>(Quota::per_second(10).burst(10));
    assert!(limiter.check_n(10).is_ok());
    let quota = Quota::new(3, Duration::from_millis(700)).burst(11);
    limiter.set_quota(quota, Carry::Absolute).unwrap();
    assert_eq!(limiter.algorithm().quota(), quota);
    assert_eq!(left(&limiter), 1);
    // Two more are regained at the new rate, but for what the rounding of a live bucket may amount to.
    let retry_after = limiter.check_n(3).unwrap_err().retry_after.unwrap();
    let exact = Duration::from_nanos(466_666_667);
    assert!((exact - Duration::from_nanos(120)..=exact).contains(&retry_after), "{retry_after:?}");
    clock.advance(retry_after - Duration::from_nanos(1));
    assert!(limiter.check_n(3).is_err());
    clock.advance(Duration::from_nanos(1));
    assert!(limiter.check_n(3).is_ok());
}

#[test]
fn what_is_in_use_beyond_a_smaller_burst_is_waited_for() {
    let (limiter, clock) = limiter::<TokenBucket>(Quota::per_second(100));
    assert!(limiter.check_n(100).is_ok());
    limiter.set_quota(Quota::per_second(10), Carry::Absolute).unwrap();
    assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_millis(9_100)));
    clock.advance(Duration::from_millis(9_100));
    assert!(limiter.check().is_ok() && limiter.check().is_err());
}

#[test]
fn a_change_to_and_fro_gives_nothing_away() {
    let (limiter, _) = limiter::<TokenBucket>(Quota::per_second(1_000_000).burst(1_000));
    assert!(limiter.check_n(1_000).is_ok());
    for round in 0..1_000 {
        let quota = Quota::new(1 + round % 7, Duration::from_secs(1 + round % 3600)).burst(1 + round % 900);
        limiter.set_quota(quota, if round % 2 == 0 { Carry::Absolute } else { Carry::Proportional }).unwrap();
        assert!(limiter.check().is_err(), "after {round} changes");
    }
}

#[test]
fn a_quota_that_cannot_be_changes_nothing() {
    let (limiter, _) = limiter::<FixedWindow>(Quota::per_minute(10));
    assert!(limiter.check_n(3).is_ok());
    let before = limiter.peek();
    for (quota, field) in [
        (Quota::per_minute(0), "limit"),
        (Quota::new(1, Duration::ZERO), "period"),
        (Quota::per_minute(1).burst(1), "burst"),
        (Quota::per_second(u64::MAX), "limit"),
    ] {
        assert_eq!(limiter.set_quota(quota, Carry::Absolute).unwrap_err().field(), field);
        assert_eq!((limiter.peek(), limiter.algorithm().quota()), (before, Quota::per_minute(10)));
    }
}

#[test]
fn the_largest_quotas_are_those_of_the_documentation() {
    fn most<A: Adjustable>(period: Duration) -> u64 {
        let most = match Live::<A>::new(Quota::new(u64::MAX, period)) {
            Err(QuotaError::LimitTooLarge { most, .. } | QuotaError::RateTooHigh { most, .. }) => most,
            other => panic!("{other:?}"),
        };
        let (limiter, _) = limiter::<A>(Quota::new(most, period));
        assert!(limiter.check_n(most).is_ok() && limiter.check().is_err());
        assert!(Live::<A>::new(Quota::new(most + 1, period)).is_err());
        most
    }
    assert_eq!(most::<SlidingWindow>(SECOND), 4_095);
    assert_eq!(most::<SlidingWindow>(60 * SECOND), 16_383);
    assert_eq!(most::<SlidingWindow>(3_600 * SECOND), 131_071);
    assert_eq!(most::<FixedWindow>(SECOND), 16_777_215);
    assert_eq!(most::<FixedWindow>(60 * SECOND), 536_870_911);
    assert_eq!(most::<TokenBucket>(SECOND), 1 << 23);
    // The shortest windows leave no room at all.
    for nanos in 1..64 {
        let error = Live::<SlidingWindow>::new(Quota::new(1, Duration::from_nanos(nanos))).unwrap_err();
        assert_eq!(error.field(), "limit");
    }
}

#[test]
fn the_fastest_bucket_is_one_of_its_rate() {
    // To the end of time, with the largest burst at once.
    let limit = 1 << 23;
    let clock = ManualClock::starting_at(Timestamp::HORIZON - 3 * SECOND);
    let quota = Quota::per_second(limit).burst((1 << 55) - 1);
    let limiter = RateLimiter::with_clock(Live::<TokenBucket>::new(quota).unwrap(), clock.clone());
    assert!(limiter.check_n((1 << 55) - 1).is_ok());
    for _ in 0..3 {
        assert!(limiter.check().is_err());
        clock.advance(SECOND);
        assert!(limiter.check_n(limit).is_ok());
    }
    assert!(Live::<TokenBucket>::new(quota.burst(1 << 55)).is_err());
    limiter.set_quota(Quota::per_second(10), Carry::Proportional).unwrap();
    assert_eq!(left(&limiter), 0);
}

#[test]
fn percents_are_of_the_present_quota() {
    let (limiter, _) = limiter::<FixedWindow>(Quota::per_minute(10));
    assert_eq!((&limiter).leaving(Priority::Background).peek_n(0).unwrap().remaining, 5);
    limiter.set_quota(Quota::per_minute(40), Carry::Absolute).unwrap();
    assert_eq!((&limiter).leaving(Priority::Background).peek_n(0).unwrap().remaining, 20);
    assert_eq!((&limiter).leaving(Headroom::percent(75)).check_n(10).unwrap().remaining, 0);
}

#[test]
fn refunds_and_resets_are_by_the_present_quota() {
    let (limiter, _) = limiter::<SlidingWindow>(Quota::per_minute(10));
    assert!(limiter.check_n(10).is_ok());
    limiter.set_quota(Quota::per_minute(20), Carry::Absolute).unwrap();
    limiter.refund(4);
    assert_eq!(left(&limiter), 14);
    limiter.reset();
    assert_eq!(left(&limiter), 20);
}

#[test]
fn what_is_in_use_beyond_the_present_quota_is_refunded_as_well() {
    fn holds<A: Adjustable>() {
        let (limiter, _) = limiter::<A>(Quota::per_minute(100));
        assert!(limiter.check_n(100).is_ok());
        limiter.set_quota(Quota::per_minute(10), Carry::Absolute).unwrap();
        limiter.refund(93);
        assert_eq!(left(&limiter), 3);
        limiter.refund(u64::MAX);
        assert_eq!(left(&limiter), 10);
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<TokenBucket>();
    holds::<LeakyBucket>();
}

#[test]
fn what_was_taken_under_another_quota_is_not_undone() {
    fn holds<A: Adjustable>() {
        let (limiter, _) = limiter::<A>(Quota::per_minute(10));
        let (_, before) = limiter.take(3).unwrap();
        limiter.set_quota(Quota::per_minute(5), Carry::Absolute).unwrap();
        let (_, after) = limiter.take(2).unwrap();
        assert_eq!(left(&limiter), 0);
        limiter.undo(before, 3);
        assert_eq!(left(&limiter), 0, "units of another were given back");
        limiter.undo(after, 2);
        assert_eq!(left(&limiter), 2);
        // Nor where the tags of both quotas are the same.
        let (_, before) = limiter.take(2).unwrap();
        for nth in 1..=256 {
            limiter.set_quota(Quota::per_minute(5 + nth % 2), Carry::Absolute).unwrap();
        }
        limiter.undo(before, 2);
        assert_eq!(left(&limiter), 0);
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<TokenBucket>();
    holds::<LeakyBucket>();
}

/// A clock that, once it has been read, holds up who reads it, while something happens.
struct Told<'a> {
    time: ManualClock,
    then: RefCell<Option<&'a dyn Fn()>>,
}

impl Clock for &Told<'_> {
    fn now(&self) -> Timestamp {
        let now = self.time.now();
        let then = self.then.borrow_mut().take();
        if let Some(then) = then {
            then();
        }
        now
    }
}

#[test]
fn a_state_that_is_not_brought_over_yet_is_under_the_old_quota() {
    let asked = Cell::new(0);
    type Bucket<'a> = RateLimiter<Live<TokenBucket>, &'a Told<'a>>;
    let limiter: RefCell<Option<Bucket<'_>>> = RefCell::default();
    let in_between = || {
        // The word was loaded, and what is about to be swapped in is out of date after this.
        let limiter = limiter.borrow();
        let limiter = limiter.as_ref().unwrap();
        let now = Timestamp::from_secs(1);
        assert_eq!(limiter.algorithm().quota(), Quota::per_second(2));
        assert_eq!(limiter.check_at(now).unwrap().limit, 10);
        asked.set(asked.get() + 1);
    };
    let clock = Told { time: ManualClock::starting_at(Timestamp::from_secs(1)), then: RefCell::default() };
    *limiter.borrow_mut() = Some(RateLimiter::with_clock(Live::new(Quota::per_second(10)).unwrap(), &clock));
    {
        let limiter = limiter.borrow();
        let limiter = limiter.as_ref().unwrap();
        assert!(limiter.check().is_ok());
        *clock.then.borrow_mut() = Some(&in_between);
        limiter.set_quota(Quota::per_second(2), Carry::Absolute).unwrap();
        assert_eq!((asked.get(), left(limiter)), (1, 0), "what was taken in between is lost");
        assert_eq!(limiter.peek_n(0).unwrap_err().limit, 2);
    }
    drop(limiter.borrow_mut().take());
}

#[test]
fn time_that_has_passed_before_a_change_is_not_regained_by_it() {
    type Bucket<'a> = RateLimiter<Live<TokenBucket>, &'a Told<'a>>;
    let limiter: RefCell<Option<Bucket<'_>>> = RefCell::default();
    let clock = Told { time: ManualClock::starting_at(Timestamp::from_secs(1)), then: RefCell::default() };
    let a_second_later = || {
        clock.time.advance(SECOND);
        assert!(limiter.borrow().as_ref().unwrap().check_n_at(10, Timestamp::from_secs(2)).is_ok());
    };
    *limiter.borrow_mut() = Some(RateLimiter::with_clock(Live::new(Quota::per_hour(10)).unwrap(), &clock));
    {
        let limiter = limiter.borrow();
        let limiter = limiter.as_ref().unwrap();
        *clock.then.borrow_mut() = Some(&a_second_later);
        limiter.set_quota(Quota::per_second(1_000).burst(10), Carry::Absolute).unwrap();
        assert!(limiter.check().is_err(), "the second before it counted, at the new rate");
    }
    drop(limiter.borrow_mut().take());
}

#[test]
fn a_clock_that_panics_leaves_a_change_that_the_next_one_finishes() {
    let panics = || panic!("no time");
    let clock = Told { time: ManualClock::starting_at(Timestamp::from_secs(1)), then: RefCell::default() };
    let keyed: KeyedLimiter<u64, Live<FixedWindow>, _> =
        KeyedLimiter::with_clock(Live::new(Quota::per_minute(10)).unwrap(), 100, &clock);
    for key in 0..20 {
        assert!(keyed.check_n(&key, 6).is_ok());
    }
    *clock.then.borrow_mut() = Some(&panics);
    let change = || keyed.set_quota(Quota::per_minute(20), Carry::Proportional);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(change)).is_err());
    // Where it has come to, and where not, keys are under one of the two.
    for key in 0..20 {
        let allowed = keyed.peek_n(&key, 0).unwrap();
        assert!([(10, 4), (20, 8)].contains(&(allowed.limit, allowed.remaining)), "{allowed:?}");
    }
    keyed.set_quota(Quota::per_minute(30), Carry::Absolute).unwrap();
    for key in 0..20 {
        let allowed = keyed.peek_n(&key, 0).unwrap();
        assert_eq!((allowed.limit, allowed.remaining), (30, 18), "key {key}");
    }
}

#[test]
fn all_keys_are_brought_over_and_newcomers_begin_with_the_new_quota() {
    fn holds<A: Adjustable>() {
        let (limiter, _) = keyed::<A>(Quota::per_minute(10), 2_000);
        for key in 0..2_000 {
            assert!(limiter.check_n(&key, key % 11).is_ok() || key % 11 == 0);
        }
        for round in 1..=600 {
            let limit = if round % 2 == 0 { 10 } else { 12 };
            limiter.set_quota(Quota::per_minute(limit), Carry::Absolute).unwrap();
        }
        limiter.set_quota(Quota::per_minute(15), Carry::Absolute).unwrap();
        for key in 0..2_000 {
            assert_eq!(limiter.peek_n(&key, 0).unwrap().remaining, 15 - key % 11, "key {key}");
        }
        assert_eq!(limiter.check_n(&5_000, 15).unwrap().remaining, 0);
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<TokenBucket>();
}

#[test]
fn a_live_table_takes_no_more_memory() {
    let quota = Quota::per_minute(10);
    let plain: KeyedLimiter<u64, _, _> =
        KeyedLimiter::with_clock(TokenBucket::new(quota).unwrap(), 10_000, ManualClock::new());
    let (live, _) = keyed::<TokenBucket>(quota, 10_000);
    for limit in 1..100 {
        live.set_quota(Quota::per_minute(limit), Carry::Absolute).unwrap();
    }
    assert_eq!(live.memory(), plain.memory());
}

#[test]
fn what_newcomers_share_is_brought_over() {
    let (limiter, clock) = keyed::<FixedWindow>(Quota::per_minute(10), 1);
    // More keys than there are slots: the rest share one state in each group.
    let full = (0..200).take_while(|key| limiter.stats().overflowed == 0 || limiter.check(key).is_ok()).count();
    assert!(full > 0);
    for key in 0..200 {
        let _ = limiter.check_n(&key, 1);
    }
    assert!(limiter.stats().overflowed >= 10, "{:?}", limiter.stats());
    // A newcomer finds ten in use, of whatever the limit is.
    assert_eq!(limiter.peek_n(&1_000, 0).unwrap_err().remaining, 0);
    limiter.set_quota(Quota::per_minute(25), Carry::Absolute).unwrap();
    assert_eq!(limiter.peek_n(&1_000, 0).unwrap().remaining, 15);
    limiter.set_quota(Quota::per_minute(50), Carry::Proportional).unwrap();
    assert_eq!(limiter.check_n(&1_000, 30).unwrap().remaining, 0);
    // Versions come round, and nothing of it is taken for something else.
    for limit in (1..=400).chain([10]) {
        limiter.set_quota(Quota::per_minute(limit), Carry::Proportional).unwrap();
    }
    assert!(limiter.check(&1_001).is_err());
    clock.advance(60 * SECOND);
    assert_eq!(limiter.check_n(&1_000, 10).unwrap().remaining, 0);
}

#[test]
fn slots_are_taken_over_after_any_number_of_changes() {
    let (limiter, clock) = keyed::<TokenBucket>(Quota::per_second(5), 1);
    for round in 0..700_u64 {
        let burst = 2 + round % 3;
        limiter.set_quota(Quota::per_second(5).burst(burst), Carry::Absolute).unwrap();
        // Another key each time, in a table of a few slots.
        assert_eq!(limiter.check_n(&round, burst).unwrap().remaining, 0, "in round {round}");
        clock.advance(SECOND);
    }
    assert_eq!(limiter.stats().overflowed, 0);
}

#[test]
fn after_a_step_back_what_keys_have_in_use_is_brought_over() {
    fn holds<A: Adjustable>(seed: u64) {
        let (quota, clock) = (Quota::per_second(10), ManualClock::new());
        let live = Live::<A>::new(quota).unwrap();
        let limiter: KeyedLimiter<u64, _, _, _> =
            KeyedLimiter::with_clock_and_hasher(live, 1, clock.clone(), SecretState::with_seed(seed));
        // Each slot was somebody's, and some of the last have been taken over: there newcomers begin at 200 seconds.
        for (keys, at) in [(100..132, 50), (0..10, 100), (200..204, 200)] {
            clock.set(Timestamp::from_secs(at));
            assert!(keys.into_iter().all(|key| limiter.check(&key).is_ok()));
        }
        clock.set(Timestamp::from_secs(100));
        let stats = limiter.stats();
        (0..10).for_each(|key| while limiter.check(&key).is_ok() {});
        limiter.set_quota(Quota::per_second(11), Carry::Absolute).unwrap();
        assert_eq!(limiter.stats().overflowed, stats.overflowed, "none of that is about what newcomers share");
        for key in 0..10 {
            assert!(limiter.check_n(&key, 2).is_err(), "{key} had its burst a second time with seed {seed}");
        }
    }
    for seed in 0..20 {
        holds::<FixedWindow>(seed);
        holds::<SlidingWindow>(seed);
        holds::<TokenBucket>(seed);
        holds::<LeakyBucket>(seed);
    }
}

#[test]
fn a_tier_is_changed_and_others_are_not() {
    let [a, b] = [10, 100].map(|limit| Live::<TokenBucket>::new(Quota::per_minute(limit)).unwrap());
    let tier = Cell::new(0);
    let by = |key: &u64| if *key == 7 { tier.get() } else { (*key % 2) as usize };
    let limiter: KeyedLimiter<u64, _, _> =
        KeyedLimiter::with_clock(Tiers::new([a, b], by).unwrap(), 100, ManualClock::new());
    for key in [1, 2, 7] {
        assert!(limiter.check_n(&key, 8).is_ok());
    }
    limiter.set_tier_quota(1, Quota::per_minute(50), Carry::Absolute).unwrap();
    let left = |key: u64| limiter.peek_n(&key, 0).unwrap().remaining;
    assert_eq!([1, 2, 7].map(left), [42, 2, 2]);
    // A key that comes to it later has what it left elsewhere, whatever has been changed since.
    tier.set(1);
    assert_eq!(left(7), 42);
    limiter.set_tier_quota(0, Quota::per_minute(20), Carry::Absolute).unwrap();
    tier.set(0);
    assert_eq!([1, 2, 7].map(left), [42, 12, 12]);
}

#[test]
fn a_part_of_a_composite_is_changed() {
    let (minute, _) = limiter::<FixedWindow>(Quota::per_minute(10));
    let (keys, _) = keyed::<TokenBucket>(Quota::per_second(3), 10);
    let both = Composite::new((keys.key(&1), &minute));
    assert_eq!(both.check_n(2).unwrap().remaining, 1);
    keys.set_quota(Quota::per_second(30), Carry::Absolute).unwrap();
    assert_eq!(both.peek_n(0).unwrap().remaining, 8);
    assert!(both.check_n(9).is_err());
    assert_eq!(keys.peek_n(&1, 0).unwrap().remaining, 28);
    minute.set_quota(Quota::per_minute(11), Carry::Absolute).unwrap();
    assert!(both.check_n(9).is_ok());
}

#[test]
fn a_window_that_is_made_shorter_forgets_what_it_had_with_the_new_one() {
    let (limiter, clock) = limiter::<FixedWindow>(Quota::per_hour(100));
    assert!(limiter.check_n(100).is_ok());
    limiter.set_quota(Quota::per_second(100), Carry::Absolute).unwrap();
    assert!(limiter.check().is_err());
    clock.advance(SECOND);
    assert_eq!(left(&limiter), 100);
}

#[test]
fn what_was_admitted_ahead_of_the_clock_is_not_forgotten_with_the_period() {
    // By a thread that has read the clock after whoever makes the change did; or before the clock stepped back.
    fn holds<A: Adjustable>() {
        let (limiter, clock) = limiter::<A>(Quota::per_minute(10));
        let ahead = Timestamp::from_secs(1_020);
        clock.set(ahead - Duration::from_nanos(1));
        assert!(limiter.check_n_at(10, ahead).is_ok());
        limiter.set_quota(Quota::per_second(10), Carry::Absolute).unwrap();
        clock.set(ahead);
        assert!(limiter.check().is_err(), "forgotten with a window in which it was not admitted");
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
}

#[test]
fn the_same_quota_again_is_no_change() {
    let (limiter, _) = limiter::<TokenBucket>(Quota::per_second(10));
    let (_, taken) = limiter.take(4).unwrap();
    limiter.set_quota(Quota::per_second(10), Carry::Proportional).unwrap();
    limiter.undo(taken, 4);
    assert_eq!(left(&limiter), 10);
}

#[test]
fn it_says_what_its_rule_is() {
    let (limiter, _) = limiter::<FixedWindow>(Quota::per_second(10));
    limiter.set_quota(Quota::per_second(11), Carry::Absolute).unwrap();
    let shown = format!("{:?}", limiter.algorithm());
    assert!(shown.starts_with("Live { rule: FixedWindow") && shown.ends_with("version: 1 }"), "{shown}");
}
