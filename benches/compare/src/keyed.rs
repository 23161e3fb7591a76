//! The limiters with keys, as subjects: one entry a configuration.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

use governor::{
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};
use rate_net::Eviction;
use tollgate::{KeyedLimiter, MonotonicClock, SecretState, TokenBucket};

use crate::{
    clocks,
    keys::Key,
    quota::Quota,
    subject::{Subject, whole},
};

/// What a table of keys is made for.
#[derive(Clone, Copy)]
pub struct Table {
    pub keys: u64,
    /// Whether more keys than that will come, and must not take more memory where a crate can help it.
    pub bounded: bool,
    pub quota: Quota,
}

/// A subject that is yet to be made.
pub struct Maker<K> {
    pub name: &'static str,
    pub make: fn(Table) -> Box<dyn Subject<K>>,
}

/// All of them.
pub fn makers<K: Key>() -> Vec<Maker<K>> {
    vec![
        Maker { name: "tollgate", make: |table| tollgate(table, MonotonicClock::new(), SecretState::new()) },
        Maker { name: "tollgate (bare answer)", make: tollgate_bare },
        Maker { name: "tollgate (SipHash)", make: |table| tollgate(table, MonotonicClock::new(), siphash()) },
        Maker {
            name: "tollgate (coarse clock)",
            make: |table| tollgate(table, clocks::tollgate(), SecretState::new()),
        },
        Maker { name: "governor", make: |table| governor(table, DefaultClock::default(), siphash()) },
        Maker { name: "governor (foldhash)", make: |table| governor(table, DefaultClock::default(), foldhash()) },
        Maker {
            name: "governor (foldhash, upkeep clock)",
            make: |table| governor(table, clocks::governor(), foldhash()),
        },
        Maker { name: "rate-net", make: |table| rate_net(table, clock_lib::SystemClock::new()) },
        Maker { name: "rate-net (coarse clock)", make: |table| rate_net(table, clocks::rate_net()) },
        Maker { name: "pingora-limits", make: pingora },
    ]
}

fn siphash() -> std::hash::RandomState {
    std::hash::RandomState::new()
}

fn foldhash() -> foldhash::fast::RandomState {
    foldhash::fast::RandomState::default()
}

fn limiter<K: Key, C, S>(table: Table, clock: C, hasher: S) -> KeyedLimiter<K, TokenBucket, C, S>
where
    C: tollgate::Clock,
    S: BuildHasher,
{
    let bucket = TokenBucket::new(table.quota.tollgate()).expect("a quota");
    KeyedLimiter::with_clock_and_hasher(bucket, table.keys as usize, clock, hasher)
}

fn tollgate<K: Key, C, S>(table: Table, clock: C, hasher: S) -> Box<dyn Subject<K>>
where
    C: tollgate::Clock + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    let limiter = limiter::<K, C, S>(table, clock, hasher);
    Box::new(move |key: &K| whole(limiter.check(key)).is_ok())
}

/// Of which only whether the request passes is looked at: what governor's answer says.
fn tollgate_bare<K: Key>(table: Table) -> Box<dyn Subject<K>> {
    let limiter = limiter::<K, _, _>(table, MonotonicClock::new(), SecretState::new());
    Box::new(move |key: &K| limiter.check(key).is_ok())
}

/// Keys that are decided on together.
pub type Batch = [u64; 256];

/// All of them, for batches.
pub fn batch_makers() -> Vec<Maker<Batch>> {
    vec![
        Maker { name: "tollgate", make: |table| tollgate_many(table, SecretState::new()) },
        Maker { name: "tollgate (SipHash)", make: |table| tollgate_many(table, siphash()) },
        Maker { name: "tollgate (check_each)", make: tollgate_each },
        Maker {
            name: "tollgate (one by one)",
            make: |table| one_by_one(tollgate(table, MonotonicClock::new(), SecretState::new())),
        },
        Maker { name: "governor", make: |table| one_by_one(governor(table, DefaultClock::default(), siphash())) },
        Maker {
            name: "governor (foldhash)",
            make: |table| one_by_one(governor(table, DefaultClock::default(), foldhash())),
        },
        Maker { name: "rate-net", make: |table| one_by_one(rate_net(table, clock_lib::SystemClock::new())) },
    ]
}

fn tollgate_many<S: BuildHasher + Send + Sync + 'static>(table: Table, hasher: S) -> Box<dyn Subject<Batch>> {
    let limiter = limiter::<u64, _, _>(table, MonotonicClock::new(), hasher);
    Box::new(move |batch: &Batch| whole(limiter.check_many(batch)).iter().all(Result::is_ok))
}

/// It does not allocate the list of answers.
fn tollgate_each(table: Table) -> Box<dyn Subject<Batch>> {
    let limiter = limiter::<u64, _, _>(table, MonotonicClock::new(), SecretState::new());
    Box::new(move |batch: &Batch| limiter.check_each(batch).all(|decision| whole(decision).is_ok()))
}

/// What there is to do where a crate has no call for many keys.
fn one_by_one(subject: Box<dyn Subject<u64>>) -> Box<dyn Subject<Batch>> {
    Box::new(move |batch: &Batch| subject.decide(batch, None) == batch.len() as u64)
}

/// Its map cannot be bounded.
fn governor<K, S, C>(table: Table, clock: C, hasher: S) -> Box<dyn Subject<K>>
where
    K: Key,
    S: BuildHasher + Clone + Default + Send + Sync + 'static,
    C: Clock<Instant: Send + Sync> + Send + Sync + 'static,
{
    type Limiter<K, S, C> = governor::RateLimiter<K, DashMapStateStore<K, S>, C, NoOpMiddleware<<C as Clock>::Instant>>;
    let limiter: Limiter<K, S, C> =
        governor::RateLimiter::dashmap_with_clock_and_hasher(table.quota.governor(), clock, hasher);
    Box::new(move |key: &K| whole(limiter.check_key(key)).is_ok())
}

/// At its own hasher, which is a fast one.
fn rate_net<K: Key, C>(table: Table, clock: C) -> Box<dyn Subject<K>>
where
    C: clock_lib::Clock + Clone + Send + Sync + 'static,
{
    let eviction = if table.bounded { Eviction::capacity(table.keys as usize) } else { Eviction::unbounded() };
    let limiter = rate_net::RateLimiter::with_quota(table.quota.rate_net()).with_clock(clock).with_eviction(eviction);
    Box::new(move |key: &K| whole(key.rate_net(&limiter)).is_allow())
}

/// A sketch of 4 rows of 1,024 counts, whatever the number of keys: it estimates, and keys that collide in all rows
/// share a count. It has no refusals of its own: the limit is compared with its estimate.
fn pingora<K: Key>(table: Table) -> Box<dyn Subject<K>> {
    let (limit, rate) = (table.quota.limit as isize, pingora_limits::rate::Rate::new(table.quota.period));
    Box::new(move |key: &K| whole(rate.observe(key, 1)) <= limit)
}

/// Not a limiter, but what a limiter per key cannot do without: a hash, a reading of the clock, a swap of a word that
/// lies anywhere in a table of 16 bytes a key.
pub fn floor<K: Key>(table: Table) -> Box<dyn Subject<K>> {
    let slots: Vec<[AtomicU64; 2]> = (0..table.keys).map(|_| Default::default()).collect();
    let (clock, hasher) = (quanta::Clock::new(), foldhash());
    Box::new(move |key: &K| {
        let place = (u128::from(hasher.hash_one(key)) * slots.len() as u128) >> 64;
        let [word, _] = &slots[place as usize];
        let now = clock.delta_as_nanos(0, clock.raw());
        let mut current = word.load(Ordering::Relaxed);
        while let Err(found) =
            word.compare_exchange_weak(current, current.max(now) + 1, Ordering::Relaxed, Ordering::Relaxed)
        {
            current = found;
        }
        whole(current) < u64::MAX
    })
}
