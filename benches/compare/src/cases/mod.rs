//! What is measured, a file for each group of cases.

mod keyed;

use crate::{
    report::{Figure, Unit},
    rounds::{Effort, Workload},
    subject::Lane,
};

/// A case: its name, and how to measure it.
pub struct Case {
    pub name: String,
    pub threads: usize,
    pub unit: Unit,
    pub measure: Box<dyn Fn(Effort) -> Vec<Figure>>,
    /// The keys that it builds tables for.
    pub keys: u64,
}

/// All cases, in the order in which they are printed.
pub fn all() -> Vec<Case> {
    keyed::cases()
}

impl Case {
    /// A case for `threads` threads, whose subjects and keys are made when it is run.
    fn new<K: Send + Sync + 'static>(
        name: impl Into<String>,
        threads: usize,
        keys: u64,
        workload: impl Fn() -> Workload<K> + 'static,
    ) -> Self {
        let measure = move |effort: Effort| {
            let mut workload = workload();
            let effort = effort.for_keys(keys);
            let values = if threads == 1 { workload.time(effort) } else { workload.race(effort, threads) };
            let names = workload.lanes.iter().map(|lane: &Lane<K>| lane.name);
            names.zip(values).map(|(name, values)| Figure { name, values, over_admitted: None }).collect()
        };
        let unit = if threads == 1 { Unit::Nanoseconds } else { Unit::MillionsPerSecond };
        Self { name: name.into(), threads, unit, measure: Box::new(measure), keys }
    }
}
