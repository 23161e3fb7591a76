//! One limiter, many keys.
//!
//! | case | |
//! | --- | --- |
//! | `keyed/<keys>/<kind>` | everything is admitted; keys are drawn uniformly, and all of them are known beforehand |
//! | `keyed/many/<keys>` | the same, in batches of 256 keys, where a crate can decide on a batch |
//! | `keyed/contended/100k` | the same, from two threads |
//! | `keyed/flood` | a table for 10,000 keys, 100 of them at their limit, and then nothing but keys never seen before |

use std::net::IpAddr;

use super::Case;
use crate::{
    keyed::{Batch, Maker, Table, batch_makers, floor, makers},
    keys::{Generator, Key},
    quota::Quota,
    rounds::{Audit, Workload},
    subject::{Lane, Subject},
};

const SIZES: [(&str, u64); 5] = [("1", 1), ("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000), ("10m", 10_000_000)];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, keys) in SIZES {
        cases.extend([case::<u64>(size, keys), case::<String>(size, keys), case::<IpAddr>(size, keys)]);
    }
    for (size, keys) in [("1m", 1_000_000), ("10m", 10_000_000)] {
        cases.push(Case::new(format!("keyed/many/{size}"), 1, keys, move || many(keys)));
    }
    cases.push(Case::new("keyed/contended/100k", 2, 100_000, || uniform::<u64>(100_000)));
    cases.push(Case::new("keyed/flood", 1, 10_000, flood));
    cases
}

fn case<K: Key>(size: &str, keys: u64) -> Case {
    Case::new(format!("keyed/{size}/{}", K::KIND), 1, keys, move || uniform::<K>(keys))
}

fn uniform<K: Key>(keys: u64) -> Workload<K> {
    let table = Table { keys, bounded: false, quota: Quota::AMPLE };
    let mut lanes = lanes(table, makers::<K>());
    lanes.push(Lane { name: "floor", subject: floor(table) });
    for Lane { subject, .. } in &lanes {
        warm_up(&**subject, keys);
    }
    let mut generator = Generator::new(5);
    let draw = move |count| (0..count).map(|_| K::nth(generator.below(keys))).collect();
    Workload { lanes, draw: Box::new(draw), expected: Some(true), decisions: 1, audit: None }
}

fn many(keys: u64) -> Workload<Batch> {
    let lanes = lanes(Table { keys, bounded: false, quota: Quota::AMPLE }, batch_makers());
    let known: Vec<u64> = (0..keys).collect();
    let (batches, _) = known.as_chunks();
    for Lane { subject, .. } in &lanes {
        subject.decide(batches, Some(true));
    }
    let mut generator = Generator::new(5);
    let draw = move |count| (0..count).map(|_| std::array::from_fn(|_| generator.below(keys))).collect();
    Workload {
        lanes,
        draw: Box::new(draw),
        expected: Some(true),
        decisions: size_of::<Batch>() / size_of::<u64>(),
        audit: None,
    }
}

fn flood() -> Workload<u64> {
    const AT_THEIR_LIMIT: u64 = 100;
    let table = Table { keys: 10_000, bounded: true, quota: Quota::SCARCE };
    let keys = (0..AT_THEIR_LIMIT).collect();
    let audit = Some(Audit { keys, limit: table.quota.limit.into() });
    let mut next = AT_THEIR_LIMIT;
    let draw = move |count| {
        next += count as u64;
        (next - count as u64..next).collect()
    };
    Workload { lanes: lanes(table, makers()), draw: Box::new(draw), expected: None, decisions: 1, audit }
}

fn lanes<K>(table: Table, makers: Vec<Maker<K>>) -> Vec<Lane<K>> {
    makers.into_iter().map(|Maker { name, make }| Lane { name, subject: make(table) }).collect()
}

/// Makes all keys known.
pub fn warm_up<K: Key>(subject: &dyn Subject<K>, keys: u64) {
    for n in 0..keys {
        subject.decide(&[K::nth(n)], Some(true));
    }
}
