//! Atomics from `core`, or from the model checker when built with `--cfg loom`.
//!
//! Every atomic of the crate comes from here, so that the code that loom explores is the code that ships.

#[cfg(not(loom))]
pub(crate) use core::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering},
};
#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering},
};
