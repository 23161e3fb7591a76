//! What nothing can be faster than: a reading of a clock, a swap of a word, a hash of a key.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::Case;
use crate::{
    clocks, direct,
    keys::Generator,
    rounds::Workload,
    subject::{Lane, whole},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("floor/clock", 1, 1, || of(clocks(), || ())),
        Case::new("floor/cas", 1, 1, || of(swaps(), || ())),
        Case::new("floor/hash", 1, 1, || {
            let mut generator = Generator::new(7);
            of(hashes(), move || generator.below(u64::MAX))
        }),
    ]
}

fn of<K: 'static>(lanes: Vec<Lane<K>>, mut nth: impl FnMut() -> K + 'static) -> Workload<K> {
    let draw = move |count| (0..count).map(|_| nth()).collect();
    Workload { lanes, draw: Box::new(draw), expected: Some(true), decisions: 1, audit: None }
}

fn clocks() -> Vec<Lane<()>> {
    let (counter, start, coarse) = (quanta::Clock::new(), Instant::now(), clocks::tollgate());
    vec![
        direct::clock("clock", true),
        Lane::new("clock (counter, not in nanoseconds)", move |()| whole(counter.raw()) > 0),
        Lane::new("clock (of std)", move |()| whole(start.elapsed()).as_nanos() > 0),
        Lane::new("clock (coarse)", move |()| whole(tollgate::Clock::now(&coarse)).as_nanos() > 0),
    ]
}

fn swaps() -> Vec<Lane<()>> {
    let word = AtomicU64::new(0);
    vec![
        direct::cas("cas", true),
        Lane::new("cas (fetch_add)", move |()| whole(word.fetch_add(1, Ordering::Relaxed)) < u64::MAX),
    ]
}

fn hashes() -> Vec<Lane<u64>> {
    fn hash(name: &'static str, hasher: impl BuildHasher + Send + Sync + 'static) -> Lane<u64> {
        Lane::new(name, move |key: &u64| whole(hasher.hash_one(key)) > 0)
    }
    vec![
        hash("siphash", RandomState::new()),
        hash("foldhash", foldhash::fast::RandomState::default()),
        hash("foldhash (quality)", foldhash::quality::RandomState::default()),
    ]
}
