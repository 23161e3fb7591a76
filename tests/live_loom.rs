//! Quotas that are changed, under the model checker: checks, newcomers, undos and other changes in every order.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test live_loom --target-dir target/loom`.
//!
//! The clock is an atomic that moves with each reading, also with the one by which a state is brought over. A state that was
//! missed by two changes would be looked for forever: the models find it as one that does not end.
#![cfg(loom)]

mod moving;

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
use moving::Moving;
use tollgate::{
    Carry, Decision, FixedWindow, Headroom, KeyedLimiter, Limiter, Live, Quota, RateLimiter, SlidingWindow, Timestamp,
    TokenBucket, Undo,
    algorithm::{Adjustable, Rule},
};

const START: u64 = 1_000_000;

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

type One<A> = RateLimiter<Live<A>, Moving>;
type Table<A> = KeyedLimiter<u64, Live<A>, Moving, Identity>;

/// A quota that regains nothing within the model.
fn quota(units: u64) -> Quota {
    Quota::new(units, Duration::from_secs(1))
}

fn one<A: Adjustable>(quota: Quota, step: u64) -> Arc<One<A>> {
    Arc::new(RateLimiter::with_clock(Live::new(quota).unwrap(), Moving::new(START, step)))
}

/// A table of one set with two slots.
fn table<A: Adjustable>(quota: Quota) -> Arc<Table<A>> {
    Arc::new(KeyedLimiter::with_clock_and_hasher(
        Live::new(quota).unwrap(),
        1,
        Moving::new(START, 1),
        Identity::default(),
    ))
}

fn left(decision: Decision) -> u64 {
    decision.map_or_else(|denied| denied.remaining, |allowed| allowed.remaining)
}

fn model(preemptions: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(check);
}

/// So many checks race with a change from the first quota to the next.
fn consumption_is_kept<A: Adjustable + 'static>(preemptions: usize, checks: usize, quotas: &'static [Quota]) {
    model(Some(preemptions), move || {
        let limiter = one::<A>(quotas[0], 1);
        let other = limiter.clone();
        let checks = thread::spawn(move || (0..checks).map(|_| other.check()).collect::<Vec<_>>());
        for &quota in &quotas[1..] {
            limiter.set_quota(quota, Carry::Absolute).unwrap();
        }
        let answers = checks.join().unwrap();
        let taken = answers.iter().flatten().count() as u64;
        let versions = answers.iter().map(|answer| {
            let limit = answer.map_or_else(|denied| denied.limit, |allowed| allowed.limit);
            quotas.iter().position(|quota| quota.limit() == limit).expect("half a quota")
        });
        assert!(versions.is_sorted(), "the old quota after the new one");
        let last = quotas[quotas.len() - 1].limit();
        assert_eq!(left(limiter.peek_n(0)), last.saturating_sub(taken), "{taken} taken of {last}");
    });
}

#[test]
fn what_is_taken_during_a_change_is_kept() {
    const TO_LESS: &[Quota] = &[Quota::new(3, Duration::from_secs(1)), Quota::new(2, Duration::from_secs(1))];
    const TO_MORE: &[Quota] = &[Quota::new(1, Duration::from_secs(1)), Quota::new(4_000, Duration::from_secs(1))];
    consumption_is_kept::<FixedWindow>(3, 2, TO_LESS);
    consumption_is_kept::<FixedWindow>(3, 2, TO_MORE);
    consumption_is_kept::<SlidingWindow>(3, 2, TO_LESS);
    consumption_is_kept::<TokenBucket>(3, 2, TO_LESS);
    consumption_is_kept::<TokenBucket>(3, 2, TO_MORE);
}

/// A thread does something while the quota is changed twice: limit and period differ each time, and so does all that is told
/// from them. The second change writes where the first rule was.
fn during_two_changes(act: fn(&One<FixedWindow>, Timestamp) -> Decision, left_at_the_end: u64) {
    let quotas = [
        Quota::new(2, Duration::from_nanos(1 << 40)),
        Quota::new(3_000, Duration::from_secs(9)),
        Quota::new(7, Duration::from_secs(60)),
    ];
    let now = Timestamp::from_nanos(START);
    let whole = quotas.map(|quota| FixedWindow::new(quota).unwrap().step(0, 1, now).unwrap().0);
    model(Some(1), move || {
        let limiter = one::<FixedWindow>(quotas[0], 0);
        let other = limiter.clone();
        let acting = thread::spawn(move || act(&other, now).unwrap());
        limiter.set_quota(quotas[1], Carry::Absolute).unwrap();
        limiter.set_quota(quotas[2], Carry::Absolute).unwrap();
        let seen = acting.join().unwrap();
        assert!(whole.contains(&seen), "half a quota: {seen:?}, and not one of {whole:?}");
        assert_eq!(left(limiter.peek_n(0)), left_at_the_end);
    });
}

#[test]
fn an_answer_is_of_one_quota() {
    during_two_changes(|limiter, now| limiter.peek_at(now), 7);
}

#[test]
fn what_is_taken_during_two_changes_is_kept() {
    during_two_changes(|limiter, now| limiter.check_at(now), 6);
}

#[test]
fn two_changes_come_one_after_the_other() {
    model(Some(2), || {
        let limiter = one::<FixedWindow>(quota(10), 1);
        assert!(limiter.check_n(6).is_ok());
        let other = limiter.clone();
        let change = thread::spawn(move || other.set_quota(quota(20), Carry::Proportional).unwrap());
        limiter.set_quota(quota(5), Carry::Absolute).unwrap();
        change.join().unwrap();
        // Six of ten are twelve of twenty, and then too many for five; or six of five, and 24 of twenty.
        match limiter.algorithm().quota().limit() {
            5 => assert_eq!(limiter.peek_n(0).unwrap_err().remaining, 0),
            20 => assert_eq!(limiter.peek_n(0).unwrap_err().remaining, 0),
            other => panic!("{other}"),
        }
        limiter.refund(u64::MAX);
        assert!(limiter.check().is_ok());
    });
}

#[test]
fn an_undo_across_a_change_gives_back_nothing_of_others() {
    model(Some(3), || {
        let limiter = one::<FixedWindow>(quota(4), 1);
        let other = limiter.clone();
        let undone = thread::spawn(move || {
            let mut taken = false;
            let _ = other.check_and(1, Headroom::NONE, other.now(), &mut |_| {
                taken = true;
                false
            });
            taken
        });
        assert!(limiter.check_n(2).is_ok());
        limiter.set_quota(quota(3), Carry::Absolute).unwrap();
        let taken = undone.join().unwrap();
        // Ours are still there; the other's may be.
        let most = left(limiter.peek_n(0));
        assert!(most == 1 || (most == 0 && taken), "{most} are left of one");
    });
}

#[test]
fn an_undo_before_or_after_a_change_is_exact() {
    model(Some(3), || {
        let limiter = one::<TokenBucket>(quota(4), 0);
        let other = limiter.clone();
        let (_, taken) = limiter.take(3).unwrap();
        let undo = thread::spawn(move || other.undo(taken, 3));
        limiter.set_quota(quota(8), Carry::Absolute).unwrap();
        undo.join().unwrap();
        // Undone in time, or not at all; but never in part, or as units of another size.
        assert!([8, 5].contains(&left(limiter.peek_n(0))));
    });
}

/// A bucket that is empty, of a quota that regains nothing, becomes one that regains a token per step of the clock. Whoever
/// reads the clock early makes it seem that time has passed in which it did not have that rate.
#[test]
fn time_before_a_change_does_not_count_for_it() {
    model(Some(3), || {
        let limiter = one::<TokenBucket>(quota(2), 1_000);
        let other = limiter.clone();
        let early = thread::spawn(move || other.check().is_ok());
        limiter.set_quota(Quota::new(2, Duration::from_nanos(2_000)), Carry::Absolute).unwrap();
        let begun = limiter.clock().nanos.load(Ordering::Relaxed);
        let first = early.join().unwrap();
        let taken = u64::from(first) + u64::from(limiter.check().is_ok()) + u64::from(limiter.check().is_ok());
        // Two readings are made here, and perhaps the one of the other thread.
        assert!(taken <= 2 + 3, "{taken} since {begun}");
        assert!(taken >= 2);
    });
}

/// Keys of the table; all in the same set.
const KEYS: [u64; 3] = [1, 2, 3];

#[test]
fn a_known_key_races_a_change() {
    model(Some(3), || {
        let limiter = table::<FixedWindow>(quota(3));
        assert!(limiter.check(&KEYS[0]).is_ok());
        let other = limiter.clone();
        let check = thread::spawn(move || other.check(&KEYS[0]).is_ok());
        limiter.set_quota(quota(5), Carry::Absolute).unwrap();
        assert!(check.join().unwrap());
        assert_eq!(left(limiter.peek_n(&KEYS[0], 0)), 3);
    });
}

#[test]
fn a_newcomer_races_two_changes() {
    model(Some(2), || {
        let limiter = table::<FixedWindow>(quota(3));
        let other = limiter.clone();
        let check = thread::spawn(move || other.check(&KEYS[0]).is_ok());
        limiter.set_quota(quota(4), Carry::Absolute).unwrap();
        limiter.set_quota(quota(5), Carry::Absolute).unwrap();
        assert!(check.join().unwrap());
        assert_eq!(left(limiter.peek_n(&KEYS[0], 0)), 4, "a state was missed");
    });
}

#[test]
fn a_newcomer_without_room_races_a_change() {
    model(Some(2), || {
        let limiter = table::<FixedWindow>(quota(3));
        assert!(limiter.check(&KEYS[0]).is_ok() && limiter.check(&KEYS[1]).is_ok());
        let other = limiter.clone();
        let check = thread::spawn(move || other.check(&KEYS[2]).is_ok());
        limiter.set_quota(quota(4), Carry::Absolute).unwrap();
        assert!(check.join().unwrap());
        limiter.set_quota(quota(5), Carry::Absolute).unwrap();
        assert_eq!(left(limiter.peek_n(&KEYS[2], 0)), 4, "what is shared was missed");
        assert_eq!(left(limiter.peek_n(&KEYS[0], 0)), 4);
    });
}

#[test]
fn a_take_over_races_a_change() {
    model(Some(2), || {
        let limiter = table::<TokenBucket>(Quota::new(2, Duration::from_micros(1)));
        assert!(limiter.check(&KEYS[0]).is_ok() && limiter.check(&KEYS[1]).is_ok());
        limiter.clock().nanos.store(START + 10_000, Ordering::Relaxed);
        let other = limiter.clone();
        let check = thread::spawn(move || other.check(&KEYS[2]).is_ok());
        limiter.set_quota(quota(5), Carry::Absolute).unwrap();
        limiter.set_quota(quota(6), Carry::Absolute).unwrap();
        assert!(check.join().unwrap());
        // Nothing is regained since the first change; before it, the unit may have been.
        assert!([5, 6].contains(&left(limiter.peek_n(&KEYS[2], 0))));
        assert!(limiter.check_n(&KEYS[2], 5).is_ok());
    });
}

/// Mistakes that are not made, planted in the smallest limiter in which they can be made: the models above would find them,
/// since these do.
mod planted {
    use super::*;

    /// A state that says beside its word which quota it was kept under. The limit of an even version is 1, of an odd one 2; a
    /// unit is one of 10, or of 20.
    struct TwoWords {
        version: AtomicU64,
        used: AtomicU64,
    }

    const UNIT: [u64; 2] = [10, 20];

    impl TwoWords {
        /// Takes a unit; looks at the version before and after, and swaps.
        fn take(&self) -> bool {
            loop {
                let version = self.version.load(Ordering::Acquire);
                let used = self.used.load(Ordering::Acquire);
                let unit = UNIT[version as usize % 2];
                if self.version.load(Ordering::Acquire) != version {
                    continue;
                }
                if self.used.compare_exchange(used, used + unit, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    return true;
                }
            }
        }

        /// Brings the state over, by a swap, and says so.
        fn change(&self) {
            loop {
                let used = self.used.load(Ordering::Acquire);
                let version = self.version.load(Ordering::Relaxed);
                let carried = used / UNIT[version as usize % 2] * UNIT[(version + 1) as usize % 2];
                if self.used.compare_exchange(used, carried, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.version.store(version + 1, Ordering::Release);
                    return;
                }
            }
        }
    }

    /// A word of zero is the same under both quotas: a step of the old one finds what it expects.
    #[test]
    #[should_panic(expected = "a unit of another size")]
    fn a_version_beside_the_word_is_caught() {
        model(None, || {
            let state = Arc::new(TwoWords { version: AtomicU64::new(0), used: AtomicU64::new(0) });
            let other = state.clone();
            let thread = thread::spawn(move || other.take());
            state.change();
            thread.join().unwrap();
            assert_eq!(state.used.load(Ordering::Relaxed), UNIT[1], "a unit of another size");
        });
    }

    /// A state with its version in the highest half.
    #[test]
    #[should_panic(expected = "lost with the change")]
    fn a_store_for_the_swap_of_a_change_is_caught() {
        model(None, || {
            let word = Arc::new(AtomicU64::new(0));
            let other = word.clone();
            let thread = thread::spawn(move || {
                loop {
                    let found = other.load(Ordering::Acquire);
                    if other.compare_exchange(found, found + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                        break;
                    }
                }
            });
            let found = word.load(Ordering::Acquire);
            word.store(found + (1 << 32), Ordering::Release);
            thread.join().unwrap();
            assert_eq!(word.load(Ordering::Relaxed), (1 << 32) + 1, "lost with the change");
        });
    }

    /// A rule of two words, and a bank that is not looked at a second time.
    #[test]
    #[should_panic(expected = "half a rule")]
    fn a_bank_that_is_not_confirmed_is_caught() {
        model(None, || {
            let bank = Arc::new([0, 1, 1].map(AtomicU64::new));
            let other = bank.clone();
            let thread = thread::spawn(move || {
                let version = other[0].load(Ordering::Acquire);
                let words = [&other[1], &other[2]].map(|word| word.load(Ordering::Acquire));
                (version, words)
            });
            bank[0].store(1, Ordering::Release);
            bank[1].store(2, Ordering::Release);
            bank[2].store(2, Ordering::Release);
            bank[0].store(2, Ordering::Release);
            let (version, words) = thread.join().unwrap();
            assert!(version == 1 || words[0] == words[1], "half a rule");
        });
    }

    /// The last words of a rule are stored relaxed: to find the version unchanged after them means nothing.
    #[test]
    #[should_panic(expected = "half a rule")]
    fn a_word_of_a_rule_that_does_not_release_is_caught() {
        model(None, || {
            let bank = Arc::new([0, 1, 1].map(AtomicU64::new));
            let other = bank.clone();
            let thread = thread::spawn(move || {
                let version = other[0].load(Ordering::Acquire);
                let words = [&other[1], &other[2]].map(|word| word.load(Ordering::Acquire));
                (other[0].load(Ordering::Acquire) == version).then_some((version, words))
            });
            bank[0].store(1, Ordering::Release);
            bank[1].store(2, Ordering::Relaxed);
            bank[2].store(2, Ordering::Relaxed);
            bank[0].store(2, Ordering::Release);
            if let Some((0, words)) = thread.join().unwrap() {
                assert_eq!(words, [1, 1], "half a rule");
            }
        });
    }

    /// A newcomer that reads the version, and then writes its state, while a change walks by without its latch.
    #[test]
    #[should_panic(expected = "a state was missed")]
    fn a_walk_without_the_latch_is_caught() {
        model(None, || {
            let [version, slot] = [1, 0].map(|word| Arc::new(AtomicU64::new(word)));
            let newcomer = {
                let (version, slot) = (version.clone(), slot.clone());
                thread::spawn(move || slot.store(version.load(Ordering::Acquire), Ordering::Release))
            };
            version.store(2, Ordering::Release);
            let _ = slot.compare_exchange(1, 2, Ordering::AcqRel, Ordering::Relaxed);
            newcomer.join().unwrap();
            assert_eq!(slot.load(Ordering::Relaxed), 2, "a state was missed");
        });
    }
}
