//! Usage: every request is counted once, whenever it is drained.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tollgate::keys::{Counts, KeyId, Outcome, Usage, UsageTable};

use super::secs;

fn id(number: u64) -> KeyId {
    format!("{number:016}").parse().unwrap()
}

#[test]
fn each_outcome_has_its_counter() {
    let usage = Usage::default();
    for (outcome, times) in [(Outcome::Allowed, 3), (Outcome::Limited, 2), (Outcome::Refused, 1)] {
        (0..times).for_each(|second| usage.count(outcome, secs(second)));
    }
    assert_eq!(usage.drain(), Counts { allowed: 3, limited: 2, refused: 1, last_used: Some(secs(2)) });
    assert_eq!(usage.drain(), Counts::default());
}

/// A last use that a late thread moves back, or 0 taken for never.
#[test]
fn the_last_use_is_the_latest() {
    let usage = Usage::default();
    usage.count(Outcome::Allowed, secs(0));
    assert_eq!(usage.drain().last_used, Some(secs(0)));
    for second in [7, 9, 8] {
        usage.count(Outcome::Allowed, secs(second));
    }
    assert_eq!(usage.drain().last_used, Some(secs(9)));
    usage.count(Outcome::Allowed, secs(u64::MAX));
    assert!(usage.drain().last_used >= Some(secs(u64::MAX - 1)));
}

#[test]
fn a_batch_has_the_keys_that_were_used() {
    let table = UsageTable::new();
    for number in 0..3 {
        table.count(&id(number), Outcome::Allowed, secs(number));
    }
    let mut batch = table.drain();
    batch.sort_by_key(|(id, _)| *id);
    let counts = |number| Counts { allowed: 1, last_used: Some(secs(number)), ..Counts::default() };
    assert_eq!(batch, [(id(0), counts(0)), (id(1), counts(1)), (id(2), counts(2))]);
    table.count(&id(1), Outcome::Refused, secs(9));
    let refused = Counts { refused: 1, last_used: Some(secs(9)), ..Counts::default() };
    assert_eq!(table.drain(), [(id(1), refused)]);
    // Keys that are not used any more are not kept for ever; nothing else forgets them.
    assert_eq!(table.len(), 1);
    assert!(table.drain().is_empty() && table.is_empty());
}

#[test]
fn failures_are_one_number() {
    let table = UsageTable::new();
    (0..1_000).for_each(|_| table.count_failure());
    assert_eq!((table.drain_failures(), table.drain_failures()), (1_000, 0));
    assert!(table.is_empty() && table.drain().is_empty());
}

/// Read, then set to zero: what comes in between is lost. On real threads; loom has the rest.
#[test]
fn what_is_counted_while_draining_is_in_one_batch_or_the_next() {
    const EACH: u64 = 20_000;
    let table = UsageTable::new();
    let done = AtomicBool::new(false);
    let drained: u64 = thread::scope(|scope| {
        let counters: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..EACH).for_each(|n| table.count(&id(n % 3), Outcome::Allowed, secs(n)))))
            .collect();
        let drainer = scope.spawn(|| {
            let mut total = 0;
            loop {
                let last = done.load(Ordering::Acquire);
                total += table.drain().iter().map(|(_, counts)| counts.allowed).sum::<u64>();
                if last {
                    return total;
                }
            }
        });
        counters.into_iter().for_each(|counter| counter.join().unwrap());
        done.store(true, Ordering::Release);
        drainer.join().unwrap()
    });
    assert_eq!(drained, 2 * EACH);
}
