//! API keys under the model checker: credits, usage, and changes of a key that race.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test keys_loom --target-dir target/loom`.
#![cfg(all(loom, feature = "keys"))]

use std::{convert::Infallible, time::Duration};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};
use rand_core::{TryCryptoRng, TryRng};
use tollgate::keys::{
    ChangeError, CreditPlan, Credits, Digester, IsRevoked, Issued, KeyError, KeyId, KeyStore, Keyring, MemoryStore,
    NewKey, Outcome, Prefix, Record, Status, UnixTime, Usage, UsageTable, VerifyError, Write,
};

const NOW: UnixTime = UnixTime::from_secs(1_000);

fn model(preemptions: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(check);
}

/// The same bytes in every run of a model: a counter, well mixed.
struct Numbers(u64);

impl TryRng for Numbers {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Ok(mixed ^ mixed >> 27)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Numbers {}

mod credits {
    use super::*;

    fn plan(refill: u64, period: u64) -> CreditPlan {
        CreditPlan::refilled(refill, Duration::from_secs(period)).unwrap()
    }

    /// Spends `counts[i]` single credits on thread `i`, each at a time of its own; how many were spent.
    fn spend(credits: Credits, step: u64, counts: &[u64]) -> (u64, Arc<(Credits, AtomicU64)>) {
        let shared = Arc::new((credits, AtomicU64::new(NOW.as_secs())));
        let run = move |shared: &(Credits, AtomicU64), count: u64| {
            let spend = |_: &u64| {
                let now = UnixTime::from_secs(shared.1.fetch_add(step, Ordering::Relaxed));
                shared.0.spend(1, now).is_ok()
            };
            (0..count).filter(spend).count() as u64
        };
        let others: Vec<_> = counts[1..]
            .iter()
            .map(|&count| {
                let shared = shared.clone();
                thread::spawn(move || run(&shared, count))
            })
            .collect();
        let mine = run(&shared, counts[0]);
        (others.into_iter().fold(mine, |sum, other| sum + other.join().unwrap()), shared)
    }

    #[test]
    fn threads_that_race_spend_each_credit_once() {
        model(None, || {
            let (spent, shared) = spend(Credits::new(plan(3, 1_000), NOW), 0, &[2, 2]);
            assert_eq!((spent, shared.0.balance(NOW)), (3, 0));
        });
        model(Some(2), || {
            let (spent, _) = spend(Credits::new(plan(2, 1_000), NOW), 0, &[1, 2, 1]);
            assert_eq!(spent, 2);
        });
    }

    /// The clock moves over the beginning of a period, and the threads apply their times in every order.
    #[test]
    fn a_refill_is_made_once() {
        model(None, || {
            // Times 1,000, 1,005, 1,010 and 1,015 by a period of 10: one refill of one credit, and one that was there.
            let (spent, shared) = spend(Credits::new(plan(1, 10), NOW), 5, &[2, 2]);
            assert!((1..=2).contains(&spent), "{spent}");
            let end = UnixTime::from_secs(1_019);
            assert!(spent + shared.0.balance(end) <= 2);
        });
    }

    #[test]
    fn adding_races_spending() {
        model(None, || {
            let credits = Arc::new(Credits::with_balance(CreditPlan::prepaid(10).unwrap(), 1, NOW));
            let other = credits.clone();
            let adding = thread::spawn(move || other.add(2, NOW));
            let spent = u64::from(credits.spend(2, NOW).is_ok()) * 2 + u64::from(credits.spend(1, NOW).is_ok());
            adding.join().unwrap();
            assert_eq!(spent + credits.balance(NOW), 3);
        });
    }

    /// Planted: the balance is stored, not swapped in. The model has to find that one credit is spent twice.
    #[test]
    #[should_panic(expected = "spent twice")]
    fn a_store_for_a_swap_is_caught() {
        model(None, || {
            let balance = Arc::new(AtomicU64::new(1));
            let spend = |balance: &AtomicU64| match balance.load(Ordering::Relaxed) {
                0 => false,
                left => {
                    balance.store(left - 1, Ordering::Relaxed);
                    true
                }
            };
            let other = balance.clone();
            let thread = thread::spawn(move || spend(&other));
            let both = spend(&balance) & thread.join().unwrap();
            assert!(!both, "one credit was spent twice");
        });
    }
}

mod usage {
    use super::*;

    #[test]
    fn usage_is_drained_once() {
        model(None, || {
            let usage = Arc::new(Usage::default());
            let other = usage.clone();
            let counting = thread::spawn(move || {
                other.count(Outcome::Allowed, NOW);
                other.count(Outcome::Limited, UnixTime::from_secs(2_000));
            });
            let first = usage.drain();
            usage.count(Outcome::Allowed, NOW);
            counting.join().unwrap();
            let second = usage.drain();
            assert_eq!((first.allowed + second.allowed, first.limited + second.limited), (2, 1));
            assert_eq!(first.last_used.max(second.last_used), Some(UnixTime::from_secs(2_000)));
        });
    }

    /// Keys that were not used are forgotten by a drain, while another thread begins to use one.
    #[test]
    fn a_key_that_is_forgotten_loses_no_count() {
        model(Some(3), || {
            let table = Arc::new(UsageTable::new());
            let id = "0123456789ABCDEF".parse().unwrap();
            table.count(&id, Outcome::Allowed, NOW);
            let total = |table: &UsageTable| table.drain().iter().map(|(_, counts)| counts.allowed).sum::<u64>();
            assert_eq!(total(&table), 1);
            let other = table.clone();
            let counting = thread::spawn(move || other.count(&id, Outcome::Allowed, NOW));
            let drained = total(&table);
            counting.join().unwrap();
            assert_eq!(drained + total(&table), 1);
        });
    }

    /// Planted: read, then set to zero. The model has to find the count in between.
    #[test]
    #[should_panic(expected = "lost")]
    fn a_drain_in_two_steps_is_caught() {
        model(None, || {
            let counter = Arc::new(AtomicU64::new(0));
            let other = counter.clone();
            let counting = thread::spawn(move || other.fetch_add(1, Ordering::Relaxed));
            let drained = counter.load(Ordering::Relaxed);
            counter.store(0, Ordering::Relaxed);
            counting.join().unwrap();
            assert_eq!(drained + counter.load(Ordering::Relaxed), 1, "a count was lost");
        });
    }
}

mod life {
    use super::*;

    fn issued() -> Issued {
        NewKey::new(Prefix::literal("tg_live"), "acme").issue(&Digester::plain(), &mut Numbers(1)).unwrap()
    }

    /// A keyring with one key in it, made inside of the model, as its lock has to be.
    fn keyring(record: &Record) -> Arc<Keyring<MemoryStore>> {
        let store = MemoryStore::new();
        assert_eq!(store.insert(record.clone()), Ok(Write::Done));
        Arc::new(Keyring::new(Digester::plain(), store))
    }

    fn status(keyring: &Keyring<MemoryStore>, id: &KeyId) -> Status {
        keyring.store().get(id).unwrap().expect("it is there").status
    }

    #[test]
    fn nothing_is_accepted_once_a_revocation_has_returned() {
        let issued = issued();
        model(None, move || {
            let keyring = keyring(&issued.record);
            let revoked = Arc::new(AtomicBool::new(false));
            let (id, other, flag) = (issued.key.id(), keyring.clone(), revoked.clone());
            let revoking = thread::spawn(move || {
                other.revoke(&id).unwrap();
                flag.store(true, Ordering::Release);
            });
            let was_revoked = revoked.load(Ordering::Acquire);
            match keyring.verify(issued.key.expose_secret().as_bytes(), NOW) {
                Ok(_) => assert!(!was_revoked, "accepted after it was revoked"),
                Err(error) => assert_eq!(error, VerifyError::Key(KeyError::Revoked)),
            }
            revoking.join().unwrap();
        });
    }

    /// A change and a revocation race: whichever is first, the key ends revoked and the change is not lost.
    #[test]
    fn a_revocation_is_not_undone_by_a_change_that_races() {
        let record = issued().record;
        model(Some(3), move || {
            let keyring = keyring(&record);
            let (id, other) = (record.id, keyring.clone());
            let revoking = thread::spawn(move || other.revoke(&id).unwrap());
            let tier = |record: &mut Record| {
                record.tier = "pro".into();
                Ok(())
            };
            keyring.change(&id, tier).unwrap();
            revoking.join().unwrap();
            let record = keyring.store().get(&id).unwrap().unwrap();
            assert_eq!((record.status, &*record.tier, record.version), (Status::Revoked, "pro", 2));
        });
    }

    #[test]
    fn of_two_rotations_that_race_one_wins() {
        let record = issued().record;
        model(Some(2), move || {
            let keyring = keyring(&record);
            let (id, other) = (record.id, keyring.clone());
            let grace = Duration::from_secs(10);
            let rotating = thread::spawn(move || other.rotate(&id, grace, NOW, &mut Numbers(2)));
            let answers = [keyring.rotate(&id, grace, NOW, &mut Numbers(3)), rotating.join().unwrap()];
            let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
            assert_eq!(won.len(), 1, "{answers:?}");
            assert!(answers.iter().any(|answer| matches!(answer, Err(ChangeError::Rotated))), "{answers:?}");
            assert_eq!(status(&keyring, &won[0].key.id()), Status::Active);
            // Of the one that lost there is no record, or one that is revoked.
            for seed in [2, 3] {
                let new = NewKey::new(Prefix::literal("tg_live"), "acme");
                let drawn = new.issue(&Digester::plain(), &mut Numbers(seed)).unwrap().record.id;
                if drawn != won[0].key.id() && keyring.store().get(&drawn).unwrap().is_some() {
                    assert_eq!(status(&keyring, &drawn), Status::Revoked);
                }
            }
        });
    }

    #[test]
    fn a_rotation_races_a_revocation() {
        let record = issued().record;
        model(Some(2), move || {
            let keyring = keyring(&record);
            let (id, other) = (record.id, keyring.clone());
            let revoking = thread::spawn(move || other.revoke(&id).unwrap());
            let rotated = keyring.rotate(&id, Duration::ZERO, NOW, &mut Numbers(2));
            revoking.join().unwrap();
            assert_eq!(status(&keyring, &id), Status::Revoked);
            match rotated {
                // It came first: its successor is a key of its own.
                Ok(successor) => assert_eq!(status(&keyring, &successor.key.id()), Status::Active),
                Err(error) => assert_eq!(error, ChangeError::Revoked(IsRevoked)),
            }
        });
    }

    /// Planted: a store that writes without comparing. The model has to find the key that comes back to life.
    #[test]
    #[should_panic(expected = "came back")]
    fn a_store_that_does_not_compare_is_caught() {
        struct Careless(MemoryStore);
        impl KeyStore for Careless {
            type Meta = ();
            type Error = Infallible;
            fn get(&self, id: &KeyId) -> Result<Option<std::sync::Arc<Record>>, Infallible> {
                self.0.get(id)
            }
            fn insert(&self, record: Record) -> Result<Write, Infallible> {
                self.0.insert(record)
            }
            fn update(&self, record: Record) -> Result<Write, Infallible> {
                let version = self.0.get(&record.id)?.expect("it is there").version;
                self.0.update(Record { version, ..record })
            }
        }
        let record = issued().record;
        model(Some(3), move || {
            let store = MemoryStore::new();
            assert_eq!(store.insert(record.clone()), Ok(Write::Done));
            let keyring = Arc::new(Keyring::new(Digester::plain(), Careless(store)));
            let (id, other) = (record.id, keyring.clone());
            let revoking = thread::spawn(move || while other.revoke(&id).is_err() {});
            let _ = keyring.disable(&id);
            revoking.join().unwrap();
            let status = keyring.store().get(&id).unwrap().expect("it is there").status;
            assert_eq!(status, Status::Revoked, "it came back");
        });
    }
}
