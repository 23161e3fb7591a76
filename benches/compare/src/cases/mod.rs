//! What is measured, a file for each group of cases.

mod contended;
mod direct;
mod floor;
mod keyed;
mod keys;
mod lease;
mod reserve;

pub use keyed::warm_up;

use crate::{
    memory,
    report::{Figure, Unit},
    rounds::{Effort, Workload},
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
    [
        floor::cases(),
        direct::cases(),
        contended::cases(),
        lease::cases(),
        keyed::cases(),
        keys::cases(),
        reserve::cases(),
        memory::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Case {
    /// A case for `threads` threads, whose subjects and keys are made when it is run.
    fn new<K: Send + Sync + 'static>(
        name: impl Into<String>,
        threads: usize,
        keys: u64,
        workload: impl Fn() -> Workload<K> + 'static,
    ) -> Self {
        let measure = move |effort: Effort| workload().measure(effort.for_keys(keys), threads);
        let unit = if threads == 1 { Unit::Nanoseconds } else { Unit::MillionsPerSecond };
        Self { name: name.into(), threads, unit, measure: Box::new(measure), keys }
    }
}
