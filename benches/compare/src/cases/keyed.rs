//! One limiter, many keys: everything is admitted, keys are drawn uniformly, all of them are known beforehand.

use std::net::IpAddr;

use governor::{DefaultKeyedRateLimiter, RateLimiter, clock::DefaultClock, state::keyed::DashMapStateStore};

use super::Case;
use crate::{
    keys::{Generator, Key},
    quota::Quota,
    rounds::Workload,
    subject::{Lane, whole},
};

const SIZES: [(&str, u64); 5] = [("1", 1), ("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000), ("10m", 10_000_000)];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, keys) in SIZES {
        cases.extend([case::<u64>(size, keys), case::<String>(size, keys), case::<IpAddr>(size, keys)]);
    }
    cases.push(Case::new("keyed/contended/100k", 2, 100_000, || workload::<u64>(100_000)));
    cases
}

fn case<K: Key>(size: &str, keys: u64) -> Case {
    Case::new(format!("keyed/{size}/{}", K::KIND), 1, keys, move || workload::<K>(keys))
}

fn workload<K: Key>(keys: u64) -> Workload<K> {
    let lanes = lanes::<K>(keys);
    for lane in &lanes {
        (0..keys).for_each(|n| assert!(lane.subject.allows(&K::nth(n))));
    }
    let mut generator = Generator::new(5);
    let draw = move |count| (0..count).map(|_| K::nth(generator.below(keys))).collect();
    Workload { lanes, draw: Box::new(draw), expected: Some(true), decisions: 1 }
}

/// The subjects: add one by a closure that decides on a key.
fn lanes<K: Key>(keys: u64) -> Vec<Lane<K>> {
    let _ = keys;
    let siphash: DefaultKeyedRateLimiter<K> = RateLimiter::dashmap(Quota::AMPLE.governor());
    let foldhash: RateLimiter<K, DashMapStateStore<K, foldhash::fast::RandomState>, DefaultClock> =
        RateLimiter::dashmap_with_hasher(Quota::AMPLE.governor(), foldhash::fast::RandomState::default());
    let rate_net =
        rate_net::RateLimiter::with_quota(Quota::AMPLE.rate_net()).with_eviction(rate_net::Eviction::unbounded());
    vec![
        Lane::new("governor", move |key: &K| whole(siphash.check_key(key)).is_ok()),
        Lane::new("governor (foldhash)", move |key: &K| whole(foldhash.check_key(key)).is_ok()),
        Lane::new("rate-net", move |key: &K| whole(key.rate_net(&rate_net)).is_allow()),
    ]
}
