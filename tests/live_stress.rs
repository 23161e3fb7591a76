//! Real threads that check while the quota is changed again and again: no key is ever admitted more than the most generous of
//! its quotas allows.
#![cfg(not(loom))]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tollgate::{
    Carry, Clock, Composite, FixedWindow, KeyedLimiter, LeakyBucket, Limiter, Live, ManualClock, MonotonicClock, Quota,
    RateLimiter, SlidingWindow, Tiers, Timestamp, TokenBucket, Undo, algorithm::Adjustable,
};

const THREADS: u64 = 4;

/// A draw that need not be good, but another for each number.
fn draw(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// Runs `check` in several threads so many times, with a number of its own each time, while `change` is made over and over.
fn meanwhile(times: u64, change: impl Fn(u64) + Sync, check: impl Fn(u64) + Sync) {
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (done, check) = (&done, &check);
            scope.spawn(move || {
                (0..times).for_each(|nth| check(nth * THREADS + thread));
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        (0..).take_while(|_| done.load(Ordering::Relaxed) < THREADS).for_each(&change);
    });
}

/// At one instant, of more keys than there are slots: each unit is counted once.
#[test]
fn no_key_is_admitted_more_than_its_quota_at_one_instant() {
    fn holds<A: Adjustable>() {
        let now = Timestamp::from_secs(1_000_020);
        let quota = |nth: u64| Quota::per_minute(100 - nth % 3);
        let limiter: KeyedLimiter<u64, _, _> =
            KeyedLimiter::with_clock(Live::<A>::new(quota(0)).unwrap(), 20, ManualClock::starting_at(now));
        let admitted: Vec<_> = (0..80).map(|_| AtomicU64::new(0)).collect();
        meanwhile(
            4_000,
            |nth| limiter.set_quota(quota(nth), Carry::Absolute).unwrap(),
            |nth| {
                let key = draw(nth) % 80;
                let (one, count) = (limiter.key(&key), &admitted[key as usize]);
                match nth % 8 {
                    0 => drop(Composite::new((&one, &one)).check_n(60)),
                    1 => {
                        if let Ok((_, taken)) = one.take(3) {
                            one.undo(taken, 0);
                            count.fetch_add(3, Ordering::Relaxed);
                        }
                    }
                    _ if one.check().is_ok() => drop(count.fetch_add(1, Ordering::Relaxed)),
                    _ => {}
                }
            },
        );
        assert!(limiter.stats().overflowed > 0);
        limiter.set_quota(Quota::per_minute(200), Carry::Absolute).unwrap();
        for (key, admitted) in (0..80_u64).zip(&admitted) {
            let admitted = admitted.load(Ordering::Relaxed);
            assert!(admitted <= 100, "key {key}: {admitted}");
            // What is in use is at least that, of a state of its own or of one that it shares.
            let left = limiter.peek_n(&key, 0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining);
            assert!(left <= 200 - admitted, "key {key}: {admitted}, and {left} left");
        }
    }
    holds::<FixedWindow>();
    holds::<SlidingWindow>();
    holds::<TokenBucket>();
    holds::<LeakyBucket>();
}

/// By a real clock, of keys that recover and are taken over in between, and that move between tiers.
#[test]
fn no_key_is_admitted_more_than_its_bound_as_time_goes_by() {
    const RATE: u64 = 20_000;
    let quota = |nth: u64| Quota::per_second([RATE, RATE / 100, 1][nth as usize % 3]).burst(10 - nth % 2);
    let bucket = || Live::<TokenBucket>::new(quota(0)).unwrap();
    let clock = MonotonicClock::new();
    let tier = AtomicU64::new(0);
    let by = |key: &u64| (tier.load(Ordering::Relaxed) + key) as usize % 2;
    let limiter: KeyedLimiter<u64, _, _> =
        KeyedLimiter::with_clock(Tiers::new([bucket(), bucket()], by).unwrap(), 20, clock.clone());
    let admitted: Vec<_> = (0..80).map(|_| AtomicU64::new(0)).collect();
    let begun = clock.now();
    meanwhile(
        30_000,
        |nth| {
            limiter.set_tier_quota(nth as usize % 2, quota(nth / 2), Carry::Absolute).unwrap();
        },
        |nth| {
            if nth % 64 == 0 {
                tier.fetch_add(1, Ordering::Relaxed);
            }
            let key = draw(nth) % 80;
            if limiter.check(&key).is_ok() {
                admitted[key as usize].fetch_add(1, Ordering::Relaxed);
            }
        },
    );
    let passed = clock.now() - begun;
    let bound = 10 + 2 * 10 + passed.as_nanos() as u64 * RATE / 1_000_000_000 + 1;
    for (key, admitted) in admitted.iter().enumerate() {
        let admitted = admitted.load(Ordering::Relaxed);
        assert!(admitted <= bound, "key {key}: {admitted} of {bound} in {passed:?}");
    }
}

/// A single limiter by a real clock, whose burst and rate are changed under load.
#[test]
fn a_limiter_is_not_admitted_more_than_its_bound_as_time_goes_by() {
    fn holds<A: Adjustable>() {
        const RATE: u64 = 100_000;
        let quota = |nth: u64| {
            Quota::new([RATE, RATE / 50, 3, RATE / 2][nth as usize % 4], Duration::from_secs(1)).burst(10 + nth % 5)
        };
        let limiter = RateLimiter::new(Live::<A>::new(quota(0)).unwrap());
        let admitted = AtomicU64::new(0);
        let begun = limiter.now();
        meanwhile(
            50_000,
            |nth| limiter.set_quota(quota(nth), Carry::Absolute).unwrap(),
            |_| {
                if limiter.check().is_ok() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            },
        );
        let passed = limiter.now() - begun;
        let (admitted, bound) = (admitted.into_inner(), 14 + passed.as_nanos() as u64 * RATE / 1_000_000_000 + 1);
        assert!(admitted <= bound, "{admitted} of {bound} in {passed:?}");
    }
    holds::<TokenBucket>();
    holds::<LeakyBucket>();
}
