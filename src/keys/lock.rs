//! The lock of the tables in memory: one whose readers do not meet, or the model checker's, or without `std` one that spins.
//!
//! Every request reads the tables, and hardly any writes. A reader of an ordinary lock writes to it, so that all threads would wait
//! for one cache line; here a thread has one of eight, and a writer takes all of them.
//!
//! It is held for a look-up or a write, and never across a call of anybody else's code: nobody who panics can poison it, and
//! nobody waits for it in a circle.

use core::ops::{Deref, DerefMut};

#[cfg(all(feature = "std", not(loom)))]
use crossbeam_utils::sync::ShardedLock as RwLock;
#[cfg(loom)]
use loom::sync::RwLock;
#[cfg(not(any(feature = "std", loom)))]
use spin::RwLock;

/// Many readers or one writer.
#[derive(Debug, Default)]
pub(super) struct Lock<T>(RwLock<T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    #[inline]
    pub(super) fn read(&self) -> impl Deref<Target = T> + '_ {
        unpoisoned(self.0.read())
    }

    #[inline]
    pub(super) fn write(&self) -> impl DerefMut<Target = T> + '_ {
        unpoisoned(self.0.write())
    }
}

/// The guard, whatever has become of those who held the lock before.
#[cfg(any(feature = "std", loom))]
#[inline]
fn unpoisoned<G>(guard: Result<G, std::sync::PoisonError<G>>) -> G {
    guard.unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(not(any(feature = "std", loom)))]
#[inline]
fn unpoisoned<G>(guard: G) -> G {
    guard
}
