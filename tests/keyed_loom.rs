//! The table of keys under the model checker: hits, newcomers and take-overs in every order.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test keyed_loom --target-dir target/loom`.
//!
//! A table for the model has one set of two slots, so that two keys fill it, and a third needs a slot that has recovered or
//! shares what newcomers share. The clock is an atomic that moves with every reading.
#![cfg(loom)]

use std::{
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tollgate::{
    FixedWindow, KeyedLimiter, ManualClock, Quota, SlidingLog, SlidingWindow, Tiers, Timestamp, TokenBucket,
    keyed::{PlanFor, Resolver},
};

/// The period of every quota, in nanoseconds. The log and the buckets have recovered a period after their last unit.
const PERIOD: u64 = 100;
/// When the models begin: well after the epoch, at the beginning of a window.
const START: u64 = 1_000;

/// A hash is the key: models must not differ from run to run.
#[derive(Clone, Copy, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are numbers")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl BuildHasher for Identity {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

/// Everything a model shares: a limiter with two slots, and a clock that moves with every reading.
struct Shared<A> {
    limiter: KeyedLimiter<u64, A, ManualClock, Identity>,
    clock: AtomicU64,
    step: u64,
}

impl<A: PlanFor<u64>> Shared<A> {
    fn new(plan: A, step: u64) -> Arc<Self> {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let limiter = KeyedLimiter::with_clock_and_hasher(plan, 2, clock, Identity::default());
        Arc::new(Self { limiter, clock: AtomicU64::new(START), step })
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(self.step, Ordering::Relaxed)
    }

    /// One check, as the time at which it was admitted.
    fn check(&self, key: u64) -> Option<u64> {
        let now = self.now();
        self.check_at(key, now)
    }

    fn check_at(&self, key: u64, now: u64) -> Option<u64> {
        self.limiter.check_at(&key, Timestamp::from_nanos(now)).ok().map(|_| now)
    }

    fn refund(&self, key: u64) {
        self.limiter.refund_at(&key, 1, Timestamp::from_nanos(self.now()));
    }
}

fn model(preemptions: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(check);
}

fn quota(limit: u64) -> Quota {
    Quota::new(limit, Duration::from_nanos(PERIOD))
}

fn bucket(limit: u64) -> TokenBucket {
    TokenBucket::new(quota(limit)).unwrap()
}

/// Two keys that are known, and the slots of the table with it full.
const OLD: u64 = 11;
const BESIDE: u64 = 12;
/// Keys that come later.
const NEW: u64 = 21;
const NEWER: u64 = 22;

/// When `OLD` has just recovered, by every algorithm: the sliding window takes two periods.
const RECOVERED: u64 = START + 2 * PERIOD;

/// Fills the table at its start with `OLD`, and with `BESIDE` when `OLD` has recovered.
fn with_one_recovered<A: PlanFor<u64>>(plan: A) -> Arc<Shared<A>> {
    let shared = Shared::new(plan, 1);
    assert!(shared.check_at(OLD, START).is_some());
    assert!(shared.check_at(BESIDE, RECOVERED).is_some());
    shared.clock.store(RECOVERED, Ordering::Relaxed);
    shared
}

#[test]
fn two_threads_share_a_known_key() {
    model(None, || {
        let shared = Shared::new(bucket(2), 0);
        assert!(shared.check(OLD).is_some());
        let other = shared.clone();
        let thread = thread::spawn(move || other.check(OLD));
        let admitted = usize::from(shared.check(OLD).is_some()) + usize::from(thread.join().unwrap().is_some());
        assert_eq!(admitted, 1, "one unit was left");
    });
}

#[test]
fn two_threads_bring_one_new_key() {
    model(Some(3), || {
        let shared = Shared::new(bucket(1), 0);
        let other = shared.clone();
        let thread = thread::spawn(move || other.check(NEW));
        let admitted = usize::from(shared.check(NEW).is_some()) + usize::from(thread.join().unwrap().is_some());
        assert_eq!(admitted, 1, "one key has two states");
        assert_eq!(shared.check(NEW), None);
        assert_eq!(shared.limiter.len(), 1);
    });
}

/// Two newcomers, and one slot that can be had: the other takes from what newcomers share. Each has its unit, once.
fn two_new_keys_race_for_one_slot<A: PlanFor<u64> + Copy + Send + Sync + 'static>(plan: A) {
    model(Some(2), move || {
        let shared = with_one_recovered(plan);
        let other = shared.clone();
        let thread = thread::spawn(move || other.check(NEW));
        assert!(shared.check(NEWER).is_some());
        assert!(thread.join().unwrap().is_some());
        for key in [NEW, NEWER, BESIDE] {
            assert_eq!(shared.check(key), None, "{key} was admitted twice");
        }
        let stats = shared.limiter.stats();
        assert_eq!((stats.taken_over, stats.overflowed), (1, 1));
    });
}

#[test]
fn two_new_keys_race_for_one_slot_of_words() {
    two_new_keys_race_for_one_slot(bucket(1));
    two_new_keys_race_for_one_slot(SlidingWindow::new(quota(1)).unwrap());
}

#[test]
fn two_new_keys_race_for_one_slot_of_a_log() {
    two_new_keys_race_for_one_slot(SlidingLog::new(quota(1)).unwrap());
}

/// The slot of a recovered key is taken over while the key comes back: both have their unit, once, wherever it is counted.
fn a_take_over_races_a_hit<A: PlanFor<u64> + Copy + Send + Sync + 'static>(plan: A) {
    model(Some(3), move || {
        let shared = with_one_recovered(plan);
        let other = shared.clone();
        let thread = thread::spawn(move || other.check(NEW));
        assert!(shared.check(OLD).is_some());
        assert!(thread.join().unwrap().is_some());
        for key in [OLD, NEW, BESIDE] {
            assert_eq!(shared.check(key), None, "{key} was admitted twice");
        }
    });
}

#[test]
fn a_take_over_races_a_hit_on_a_bucket() {
    a_take_over_races_a_hit(bucket(1));
}

#[test]
fn a_take_over_races_a_hit_on_a_window() {
    a_take_over_races_a_hit(FixedWindow::new(quota(1)).unwrap());
}

#[test]
fn a_take_over_races_a_hit_on_a_log() {
    a_take_over_races_a_hit(SlidingLog::new(quota(1)).unwrap());
}

#[test]
fn a_hit_that_makes_a_take_over_fail_is_counted_once() {
    // Two units a period: the key that comes back takes one of them, and has one left, however its slot was fought over.
    model(Some(3), || {
        let shared = Shared::new(bucket(2), 0);
        for key in [OLD, OLD] {
            assert!(shared.check_at(key, START).is_some());
        }
        for key in [BESIDE, BESIDE] {
            assert!(shared.check_at(key, START + PERIOD).is_some());
        }
        shared.clock.store(START + PERIOD, Ordering::Relaxed);
        let other = shared.clone();
        let thread = thread::spawn(move || other.check(NEW));
        assert!(shared.check(OLD).is_some());
        assert!(thread.join().unwrap().is_some());
        let left =
            |key| shared.limiter.peek_n_at(&key, 0, Timestamp::from_nanos(START + PERIOD)).map(|free| free.remaining);
        assert_eq!([left(OLD), left(NEW)], [Ok(1), Ok(1)]);
    });
}

#[test]
fn a_refund_after_a_take_over_races_a_hit() {
    // Time stands still at the moment at which the old key has recovered, and the newcomer gives its unit back: its word is
    // then the one that the old key's thread has loaded.
    model(Some(3), || {
        let shared = Shared::new(bucket(1), 0);
        assert!(shared.check_at(OLD, START).is_some());
        assert!(shared.check_at(BESIDE, START + PERIOD).is_some());
        shared.clock.store(START + PERIOD, Ordering::Relaxed);
        let other = shared.clone();
        let thread = thread::spawn(move || {
            if other.check(NEW).is_some() {
                other.refund(NEW);
            }
        });
        let first = shared.check(OLD);
        thread.join().unwrap();
        assert!(first.is_some());
        assert_eq!(shared.check(OLD), None, "the old key was admitted twice");
    });
}

#[test]
fn a_thread_that_was_held_up_does_not_turn_back_time() {
    // It has read the clock before the key recovered; by the time it acts, the slot may be another's.
    model(Some(3), || {
        let shared = with_one_recovered(bucket(1));
        let other = shared.clone();
        let thread = thread::spawn(move || other.check_at(OLD, START + PERIOD - 1));
        assert!(shared.check_at(NEW, RECOVERED).is_some());
        // By its own time not even one period has passed. Where it was taken over, the key begins at the later time.
        let late = thread.join().unwrap();
        assert!(late.is_none() || shared.check_at(OLD, RECOVERED + PERIOD - 1).is_none(), "two units within a period");
    });
}

/// A tier that can be changed under the limiter.
struct Switch(Arc<AtomicU64>);

impl Resolver<u64> for Switch {
    fn tier(&self, _key: &u64) -> usize {
        self.0.load(Ordering::Relaxed) as usize
    }
}

#[test]
fn a_change_of_tier_races_a_hit() {
    model(Some(3), || {
        let tier = Arc::new(AtomicU64::new(0));
        let tiers = Tiers::new([bucket(3), bucket(4)], Switch(tier.clone())).unwrap();
        let shared = Shared::new(tiers, 0);
        assert!(shared.check(OLD).is_some());
        let other = shared.clone();
        let thread = thread::spawn(move || other.check(OLD));
        tier.store(1, Ordering::Relaxed);
        assert!(shared.check(OLD).is_some());
        assert!(thread.join().unwrap().is_some());
        // Three of four are in use, under whichever quota they were taken.
        assert!(shared.check(OLD).is_some());
        assert_eq!(shared.check(OLD), None, "consumption was lost with the change of tier");
    });
}

#[test]
fn three_threads_on_known_keys_and_a_new_one() {
    model(Some(2), || {
        let shared = with_one_recovered(bucket(1));
        let threads = [OLD, BESIDE].map(|key| {
            let shared = shared.clone();
            thread::spawn(move || shared.check(key))
        });
        assert!(shared.check(NEW).is_some());
        let [old, beside] = threads.map(|thread| thread.join().unwrap());
        assert_eq!((old.is_some(), beside), (true, None));
        for key in [OLD, NEW, BESIDE] {
            assert_eq!(shared.check(key), None, "{key} was admitted twice");
        }
    });
}

/// Mistakes that the table does not make, planted in the smallest table in which they can be made: the models above would
/// find them, since these do.
mod planted {
    use super::*;

    /// One slot: whose it is, and what it has used.
    struct Slot {
        key: AtomicU64,
        used: AtomicU64,
    }

    const BUSY: u64 = u64::MAX;

    /// Takes one unit of `key` if it has the slot, without a second look at whose it is.
    fn take_without_confirming(slot: &Slot, key: u64) -> bool {
        if slot.key.load(Ordering::Acquire) != key {
            return false;
        }
        let used = slot.used.load(Ordering::Acquire);
        slot.used.compare_exchange(used, used + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    #[test]
    #[should_panic(expected = "charged to another key")]
    fn a_missing_look_at_the_fingerprint_is_caught() {
        model(None, || {
            let slot = Arc::new(Slot { key: AtomicU64::new(OLD), used: AtomicU64::new(0) });
            let other = slot.clone();
            let thread = thread::spawn(move || take_without_confirming(&other, OLD));
            // A take-over, as the table makes it; the newcomer begins with one unit used.
            slot.key.store(BUSY, Ordering::Release);
            if slot.used.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                slot.key.store(NEW, Ordering::Release);
            } else {
                slot.key.store(OLD, Ordering::Release);
            }
            let taken = thread.join().unwrap();
            let [key, used] = [&slot.key, &slot.used].map(|word| word.load(Ordering::Relaxed));
            assert!(!(taken && key == NEW && used == 2), "charged to another key");
        });
    }

    #[test]
    #[should_panic(expected = "one key in two slots")]
    fn a_second_slot_for_one_key_is_caught() {
        model(None, || {
            let slots = Arc::new([0, 0].map(AtomicU64::new));
            // Looks for the key, then takes the first vacant slot, without a latch.
            let insert = |slots: &[AtomicU64; 2]| {
                if slots.iter().all(|slot| slot.load(Ordering::Acquire) != NEW) {
                    let _ = slots
                        .iter()
                        .find(|slot| slot.compare_exchange(0, NEW, Ordering::AcqRel, Ordering::Relaxed).is_ok());
                }
            };
            let other = slots.clone();
            let thread = thread::spawn(move || insert(&other));
            insert(&slots);
            thread.join().unwrap();
            let found = slots.iter().filter(|slot| slot.load(Ordering::Relaxed) == NEW).count();
            assert_eq!(found, 1, "one key in two slots");
        });
    }
}
