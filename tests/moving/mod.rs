//! The clock of models: an atomic that moves, as one that stands still has missed an over-admission elsewhere.

use loom::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tollgate::{Clock, Timestamp};

/// Each reading is a step later.
#[derive(Clone)]
pub(crate) struct Moving {
    pub(crate) nanos: Arc<AtomicU64>,
    step: u64,
}

impl Moving {
    pub(crate) fn new(start: u64, step: u64) -> Self {
        Self { nanos: Arc::new(AtomicU64::new(start)), step }
    }
}

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.fetch_add(self.step, Ordering::Relaxed))
    }
}
