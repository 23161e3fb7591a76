//! Atomics from `core`, or from the model checker when built with `--cfg loom`, or where a target has none of 64 bits
//! from `portable-atomic`.
//!
//! Every atomic of the crate comes from here, so that the code that loom explores is the code that ships.

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering},
    thread::yield_now,
};
#[cfg(not(loom))]
pub(crate) use {
    core::{hint::spin_loop, sync::atomic::Ordering},
    plain::AtomicU64,
};

/// Atomics that are never the model checker's: those of clocks, which a model replaces by its own.
pub(crate) mod plain {
    #[cfg(not(feature = "portable-atomic"))]
    pub(crate) use core::sync::atomic::AtomicU64;

    #[cfg(feature = "portable-atomic")]
    pub(crate) use portable_atomic::AtomicU64;
}

/// Gives the processor to another thread, where there is an operating system that can.
#[cfg(not(loom))]
pub(crate) fn yield_now() {
    #[cfg(feature = "std")]
    std::thread::yield_now();
}

/// A lock for what is off the path of checks. A panic while it is held leaves nothing behind that would not hold.
#[cfg(feature = "std")]
#[derive(Debug)]
pub(crate) struct Mutex<T>(lock::Mutex<T>);

#[cfg(feature = "std")]
pub(crate) use lock::MutexGuard;

#[cfg(feature = "std")]
impl<T> Mutex<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(lock::Mutex::new(inner))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(loom)]
use loom::sync as lock;
#[cfg(all(feature = "std", not(loom)))]
use std::sync as lock;
