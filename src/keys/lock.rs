//! The lock of the tables in memory: the standard library's, or the model checker's.
//!
//! It is never held across a call of anybody else's code, so it cannot be poisoned by one that panics, nor waited for in
//! a circle.

use core::ops::{Deref, DerefMut};
#[cfg(all(feature = "std", not(loom)))]
use std::sync::{PoisonError, RwLock};

#[cfg(loom)]
use loom::sync::RwLock;

/// Many readers or one writer.
///
/// Without `std` there is no thread to wait, so it is a cell that only one thread can use, which the compiler checks.
#[derive(Debug, Default)]
#[cfg(any(feature = "std", loom))]
pub(super) struct Lock<T>(RwLock<T>);

#[derive(Debug, Default)]
#[cfg(not(any(feature = "std", loom)))]
pub(super) struct Lock<T>(core::cell::RefCell<T>);

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        #[cfg(any(feature = "std", loom))]
        return Self(RwLock::new(value));
        #[cfg(not(any(feature = "std", loom)))]
        return Self(core::cell::RefCell::new(value));
    }

    #[cfg(all(feature = "std", not(loom)))]
    pub(super) fn read(&self) -> impl Deref<Target = T> + '_ {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(all(feature = "std", not(loom)))]
    pub(super) fn write(&self) -> impl DerefMut<Target = T> + '_ {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(loom)]
    pub(super) fn read(&self) -> impl Deref<Target = T> + '_ {
        self.0.read().expect("the model checker's lock is not poisoned")
    }

    #[cfg(loom)]
    pub(super) fn write(&self) -> impl DerefMut<Target = T> + '_ {
        self.0.write().expect("the model checker's lock is not poisoned")
    }

    #[cfg(not(any(feature = "std", loom)))]
    pub(super) fn read(&self) -> impl Deref<Target = T> + '_ {
        self.0.borrow()
    }

    #[cfg(not(any(feature = "std", loom)))]
    pub(super) fn write(&self) -> impl DerefMut<Target = T> + '_ {
        self.0.borrow_mut()
    }
}
