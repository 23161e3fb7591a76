//! The whole life of keys, in random order, against a model that is naive: a list of what was done to each key.
//!
//! Two kinds of promises are checked. Every answer is the one that the model expects. And whatever the model thinks, no
//! sequence lets a revoked, expired or out-of-scope key through, makes anything valid for longer than the key that it
//! descends from, or multiplies a quota.
#![cfg(all(feature = "keys", not(loom)))]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tollgate::{
    Decision, FixedWindow, Limiter, ManualClock, Quota, RateLimiter,
    keys::{
        Attempt, ChangeError, CreditPlan, Credits, Digester, Gate, Issued, KeyError, KeyId, KeyStore, Keyring, LimitBy,
        MemoryStore, NewKey, Prefix, Record, Refusal, Scope, Scopes, Status, UnixTime, Write,
    },
};

const START: u64 = 1_000_000;
/// Units per family, once and for all, as the limiter's clock stands still.
const LIMIT: u64 = 12;
/// Credits: so many per hundred seconds, up to twice that.
const REFILL: u64 = 4;
const PERIOD: u64 = 100;

const SCOPES: [Scope<'static>; 3] = [Scope::literal("a:read"), Scope::literal("a:write"), Scope::literal("b")];
const GRANTS: [&str; 5] = ["*", "a:*", "a:read", "a:read b", ""];

/// A change of a record, made through the keyring at once, or read now and written later.
#[derive(Clone, Copy, Debug)]
enum Change {
    Disable,
    Enable,
    Revoke,
    Grant(usize),
    Expire(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Issue {
        grants: usize,
        not_before: Option<u64>,
        lifetime: Option<u64>,
    },
    Check {
        key: usize,
        scopes: Vec<usize>,
        cost: u64,
    },
    Change {
        key: usize,
        change: Change,
    },
    Rotate {
        key: usize,
        grace: u64,
    },
    /// Reads a record, to change it later.
    Read {
        key: usize,
    },
    /// Writes the change of a record that was read some time ago.
    Write {
        read: usize,
        change: Change,
    },
    Guess {
        key: usize,
    },
    Pass {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..8usize;
    let seconds = || prop_oneof![Just(0), 1..30u64, Just(PERIOD), Just(u64::MAX)];
    let change = || {
        prop_oneof![
            1 => Just(Change::Disable),
            3 => Just(Change::Enable),
            1 => Just(Change::Revoke),
            1 => (0..GRANTS.len()).prop_map(Change::Grant),
            1 => (0..150u64).prop_map(Change::Expire),
        ]
    };
    let step = prop_oneof![
        1 => (0..GRANTS.len(), proptest::option::weighted(0.2, 0..40u64), proptest::option::of(seconds()))
            .prop_map(|(grants, not_before, lifetime)| Step::Issue { grants, not_before, lifetime }),
        6 => (key.clone(), vec(0..SCOPES.len(), 0..3), prop_oneof![3 => Just(1), 1 => 0..6u64, 1 => Just(u64::MAX)])
            .prop_map(|(key, scopes, cost)| Step::Check { key, scopes, cost }),
        2 => (key.clone(), change()).prop_map(|(key, change)| Step::Change { key, change }),
        2 => (key.clone(), seconds()).prop_map(|(key, grace)| Step::Rotate { key, grace }),
        1 => key.clone().prop_map(|key| Step::Read { key }),
        1 => (0..3usize, change()).prop_map(|(read, change)| Step::Write { read, change }),
        1 => key.prop_map(|key| Step::Guess { key }),
        2 => prop_oneof![0..30u64, 80..120u64].prop_map(|seconds| Step::Pass { seconds }),
    ];
    vec(step, 1..60)
}

/// Why the model expects a refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    Revoked,
    Disabled,
    Expired,
    Early,
    Scope,
    Limit,
    Credits,
}

/// A limiter per family.
struct PerFamily(Mutex<HashMap<KeyId, RateLimiter<FixedWindow, ManualClock>>>);

impl PerFamily {
    fn with<T>(&self, record: &Record, act: impl FnOnce(&RateLimiter<FixedWindow, ManualClock>) -> T) -> T {
        let window = FixedWindow::new(Quota::per_day(LIMIT)).expect("a quota that can be held");
        let new = || RateLimiter::with_clock(window, ManualClock::new());
        act(self.0.lock().unwrap().entry(record.family).or_insert_with(new))
    }
}

impl LimitBy<Record> for PerFamily {
    fn check_n(&self, record: &Record, cost: u64) -> Decision {
        self.with(record, |limiter| limiter.check_n(cost))
    }

    fn refund(&self, record: &Record, cost: u64) {
        self.with(record, |limiter| limiter.refund(cost));
    }
}

/// What was done to one key.
#[derive(Clone, Debug)]
struct Key {
    text: String,
    id: KeyId,
    family: usize,
    grants: usize,
    status: Status,
    not_before: Option<u64>,
    expires: Option<u64>,
    retires: Option<u64>,
    version: u64,
}

/// What the keys of one family have used together.
#[derive(Clone, Debug)]
struct Family {
    units: u64,
    balance: u64,
    period: u64,
    spent: u64,
    opened: u64,
}

struct World {
    gate: Gate<MemoryStore, ()>,
    digester: Digester,
    generator: ChaCha20Rng,
    now: u64,
    keys: Vec<Key>,
    families: Vec<Family>,
    reads: Vec<(usize, Record)>,
}

impl World {
    fn new() -> Self {
        let digester = Digester::peppered(1, b"a pepper for the model").unwrap();
        let gate = Gate::new(Keyring::new(digester.clone(), MemoryStore::new())).limit(PerFamily(Mutex::default()));
        let generator = ChaCha20Rng::seed_from_u64(1);
        Self { gate, digester, generator, now: START, keys: vec![], families: vec![], reads: vec![] }
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.now)
    }

    fn keyring(&self) -> &Keyring<MemoryStore> {
        self.gate.keyring()
    }

    fn record(&self, key: &Key) -> Arc<Record> {
        self.keyring().store().get(&key.id).unwrap().expect("records are never removed")
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Pass { seconds } => self.now += seconds,
            Step::Issue { grants, not_before, lifetime } => self.issue(grants, not_before, lifetime),
            _ if self.keys.is_empty() => {}
            Step::Check { key, scopes, cost } => self.check(key % self.keys.len(), &scopes, cost)?,
            Step::Change { key, change } => self.change(key % self.keys.len(), change)?,
            Step::Rotate { key, grace } => self.rotate(key % self.keys.len(), grace)?,
            Step::Read { key } => {
                let key = key % self.keys.len();
                self.reads.push((key, (*self.record(&self.keys[key])).clone()));
            }
            Step::Write { read, change } => self.write(read, change)?,
            Step::Guess { key } => self.guess(key % self.keys.len())?,
        }
        Ok(())
    }

    fn issue(&mut self, grants: usize, not_before: Option<u64>, lifetime: Option<u64>) {
        let not_before = not_before.map(|seconds| self.now + seconds);
        let expires = lifetime.map(|seconds| self.now.saturating_add(seconds));
        let mut new = NewKey::new(Prefix::literal("tg_live"), "acme").scopes(GRANTS[grants].parse().unwrap());
        if let Some(from) = not_before {
            new = new.not_before(UnixTime::from_secs(from));
        }
        if let Some(at) = expires {
            new = new.expires_at(UnixTime::from_secs(at));
        }
        let issued = self.gate.keyring().issue(new, &mut self.generator).unwrap();
        let plan = CreditPlan::refilled(REFILL, Duration::from_secs(PERIOD)).unwrap().up_to(2 * REFILL).unwrap();
        self.gate.credits().open(issued.record.family, Credits::with_balance(plan, REFILL, self.now()));
        let period = self.now / PERIOD;
        self.families.push(Family { units: 0, balance: REFILL, period, spent: 0, opened: period });
        let family = self.families.len() - 1;
        let status = Status::Active;
        self.push(
            &issued,
            Key {
                text: String::new(),
                family,
                grants,
                status,
                not_before,
                expires,
                retires: None,
                version: 0,
                id: issued.key.id(),
            },
        );
    }

    fn push(&mut self, issued: &Issued, key: Key) {
        let (text, id) = (issued.key.expose_secret().into(), issued.key.id());
        self.keys.push(Key { text, id, ..key });
    }

    /// What the model expects of a request, by the order of the specification.
    fn expected(&self, key: &Key, scopes: &[usize], cost: u64) -> Result<(), Why> {
        let granted = |&scope: &usize| {
            let names = GRANTS[key.grants].split(' ').filter(|grant| !grant.is_empty());
            let wanted = SCOPES[scope].as_str();
            let star = |grant: &str| grant.ends_with('*') && wanted.starts_with(grant.trim_end_matches('*'));
            names.into_iter().any(|grant| grant == wanted || star(grant))
        };
        let family = &self.families[key.family];
        if key.status == Status::Revoked {
            Err(Why::Revoked)
        } else if key.status == Status::Disabled {
            Err(Why::Disabled)
        } else if key.expires.is_some_and(|at| self.now >= at) || key.retires.is_some_and(|at| self.now >= at) {
            Err(Why::Expired)
        } else if key.not_before.is_some_and(|from| self.now < from) {
            Err(Why::Early)
        } else if !scopes.iter().all(granted) {
            Err(Why::Scope)
        } else if family.units.saturating_add(cost.max(1)) > LIMIT {
            Err(Why::Limit)
        } else if self.balance(family) < cost.max(1) {
            Err(Why::Credits)
        } else {
            Ok(())
        }
    }

    fn balance(&self, family: &Family) -> u64 {
        (family.balance + (self.now / PERIOD - family.period) * REFILL).min(2 * REFILL)
    }

    fn check(&mut self, index: usize, scopes: &[usize], cost: u64) -> TestCaseResult {
        let key = self.keys[index].clone();
        let expected = self.expected(&key, scopes, cost);
        let required: Vec<Scope<'_>> = scopes.iter().map(|&scope| SCOPES[scope]).collect();
        let attempt = Attempt::new(key.text.as_str(), (), self.now()).requires(&required).costs(cost);
        let answer = self.gate.check(&attempt);
        let got = match &answer {
            Ok(_) => Ok(()),
            Err(Refusal::Key(KeyError::Revoked)) => Err(Why::Revoked),
            Err(Refusal::Key(KeyError::Disabled)) => Err(Why::Disabled),
            Err(Refusal::Key(KeyError::Expired { .. })) => Err(Why::Expired),
            Err(Refusal::Key(KeyError::NotYetValid { .. })) => Err(Why::Early),
            Err(Refusal::Scope { .. }) => Err(Why::Scope),
            Err(Refusal::Limited { .. }) => Err(Why::Limit),
            Err(Refusal::Credits(_)) => Err(Why::Credits),
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        prop_assert_eq!(got, expected, "{:?} at {}", key, self.now);
        let balance = self.balance(&self.families[key.family]);
        if let Ok(grant) = answer {
            let family = &mut self.families[key.family];
            family.units += cost;
            family.spent += cost;
            if cost > 0 {
                (family.balance, family.period) = (balance - cost, self.now / PERIOD);
            }
            prop_assert_eq!(grant.limits[0].remaining, LIMIT - family.units);
            prop_assert_eq!(grant.credits, Some(balance - cost));
            // Whatever the model thinks: never more than the quota, for all keys of a family together.
            let refills = self.now / PERIOD - family.opened;
            prop_assert!(family.units <= LIMIT && family.spent <= REFILL + refills * REFILL);
        }
        Ok(())
    }

    /// Applies a change to the model; `None` if a revocation forbids it.
    fn apply(&self, key: &Key, change: Change) -> Option<Key> {
        let mut key = key.clone();
        match change {
            Change::Disable | Change::Enable if key.status == Status::Revoked => return None,
            Change::Disable => key.status = Status::Disabled,
            Change::Enable => key.status = Status::Active,
            Change::Revoke => key.status = Status::Revoked,
            Change::Grant(grants) => key.grants = grants,
            // Only ever sooner.
            Change::Expire(seconds) => {
                let at = self.now.saturating_add(seconds);
                key.expires = Some(key.expires.map_or(at, |expires| expires.min(at)));
            }
        }
        key.version += 1;
        Some(key)
    }

    /// Applies a change to a record.
    fn edit(now: u64, record: &mut Record, change: Change) -> Result<(), tollgate::keys::IsRevoked> {
        match change {
            Change::Disable => record.disable()?,
            Change::Enable => record.enable()?,
            Change::Revoke => record.revoke(),
            Change::Grant(grants) => record.scopes = GRANTS[grants].parse::<Scopes>().unwrap(),
            Change::Expire(seconds) => {
                let at = UnixTime::from_secs(now.saturating_add(seconds));
                record.expires_at = Some(record.expires_at.map_or(at, |expires| expires.min(at)));
            }
        }
        Ok(())
    }

    fn change(&mut self, index: usize, change: Change) -> TestCaseResult {
        let key = self.keys[index].clone();
        let answer = match change {
            Change::Disable => self.keyring().disable(&key.id),
            Change::Enable => self.keyring().enable(&key.id),
            Change::Revoke => self.keyring().revoke(&key.id),
            _ => self.keyring().change(&key.id, |record| Self::edit(self.now, record, change)),
        };
        match self.apply(&key, change) {
            Some(next) => {
                prop_assert_eq!(answer, Ok(()));
                self.keys[index] = next;
            }
            None => prop_assert!(matches!(answer, Err(ChangeError::Revoked(_)))),
        }
        Ok(())
    }

    /// Writes what was read before other steps were made: stored only if none of them changed the record.
    fn write(&mut self, read: usize, change: Change) -> TestCaseResult {
        if self.reads.is_empty() {
            return Ok(());
        }
        let (index, mut record) = self.reads.swap_remove(read % self.reads.len());
        if Self::edit(self.now, &mut record, change).is_err() {
            return Ok(());
        }
        let key = self.keys[index].clone();
        let fresh = record.version == key.version;
        let answer = self.keyring().store().update(record).unwrap();
        prop_assert_eq!(answer, if fresh { Write::Done } else { Write::Conflict });
        if fresh {
            self.keys[index] = self.apply(&key, change).expect("the record allowed it");
        }
        Ok(())
    }

    fn rotate(&mut self, index: usize, grace: u64) -> TestCaseResult {
        let key = self.keys[index].clone();
        let now = self.now();
        let rotated = self.gate.keyring().rotate(&key.id, Duration::from_secs(grace), now, &mut self.generator);
        let allowed =
            key.status != Status::Revoked && key.retires.is_none() && key.expires.is_none_or(|at| at > self.now);
        prop_assert_eq!(rotated.is_ok(), allowed, "{:?} {:?}", key, rotated);
        if let Ok(successor) = rotated {
            let end = self.now.saturating_add(grace);
            let retires = Some(key.expires.map_or(end, |expires| expires.min(end)));
            self.keys[index] = Key { retires, version: key.version + 1, ..key.clone() };
            self.push(&successor, Key { version: 0, retires: None, ..key });
        }
        Ok(())
    }

    /// The id of one key with the secret of another, or of none: never a word about the key itself.
    fn guess(&mut self, index: usize) -> TestCaseResult {
        let prefix = Prefix::literal("tg_live");
        let guess = NewKey::new(prefix, "").issue(&self.digester, &mut self.generator).unwrap().key;
        let attempt = Attempt::new(guess.expose_secret(), (), self.now());
        prop_assert_eq!(self.gate.check(&attempt).unwrap_err(), Refusal::Key(KeyError::Invalid));
        let token = self.digester.read(guess.expose_secret().as_bytes()).unwrap();
        let record = self.record(&self.keys[index]);
        let error = self.digester.verify(&token, Some(&record), self.now()).unwrap_err();
        prop_assert_eq!(error, KeyError::Invalid);
        Ok(())
    }

    /// What holds whatever the model thinks, of every key at every moment.
    fn promises(&self) -> TestCaseResult {
        for key in &self.keys {
            let record = self.record(key);
            prop_assert_eq!(record.version, key.version);
            let first = self.keys.iter().find(|other| other.family == key.family).expect("it has a first key");
            prop_assert_eq!(record.family, first.id);
            if record.usable(self.now()).is_ok() {
                prop_assert!(key.status == Status::Active);
                prop_assert!(record.effective_expiry().is_none_or(|at| at > self.now()));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_sequence_lets_a_key_do_what_it_may_not(steps in steps()) {
        let mut world = World::new();
        world.issue(0, None, Some(300));
        let first = world.keys[0].id;
        let mut revoked: Vec<String> = Vec::new();
        for step in steps {
            world.step(step)?;
            world.promises()?;
            // No descendant of the first key outlives it, whatever was done.
            let end = UnixTime::from_secs(START + 300);
            for key in &world.keys {
                let record = world.record(key);
                if record.family == first {
                    prop_assert!(record.effective_expiry().is_some_and(|at| at <= end));
                }
                // And what was revoked once is never accepted again.
                if key.status == Status::Revoked && !revoked.contains(&key.text) {
                    revoked.push(key.text.clone());
                }
            }
            for text in &revoked {
                prop_assert!(world.keyring().verify(text.as_bytes(), world.now()).is_err());
            }
        }
    }
}
