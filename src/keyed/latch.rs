//! What newcomers go through, one at a time: a lock, and the time of the last take-over, in one word.
//!
//! A group of sets has one latch. Keys that have a slot never come near it.

use crate::{
    Timestamp,
    cell::BackOff,
    sync::{AtomicU64, Ordering},
};

/// The latch of a group of sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latch<'a> {
    /// The latest time at which a slot of the group was given from one key to another, twice, plus 1 while it is held.
    control: &'a AtomicU64,
}

impl<'a> Latch<'a> {
    pub(crate) fn new(control: &'a AtomicU64) -> Self {
        Self { control }
    }

    /// Waits until nobody holds the latch, and holds it.
    ///
    /// Acquire, as the partner of the release in [`unlock`](Self::unlock): what the last holder wrote is seen.
    pub(crate) fn lock(self) {
        let mut back_off = BackOff::from_waits();
        loop {
            let control = self.control.load(Ordering::Relaxed);
            let free = control & 1 == 0;
            if free
                && self
                    .control
                    .compare_exchange_weak(control, control | 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
            back_off = back_off.wait();
        }
    }

    /// As [`lock`](Self::lock), until what is returned is dropped.
    pub(crate) fn hold(self) -> Held<'a> {
        self.lock();
        Held(self)
    }

    /// Lets others hold the latch.
    pub(crate) fn unlock(self) {
        self.control.store(self.control.load(Ordering::Relaxed) & !1, Ordering::Release);
    }

    /// The latest time at which a slot of the group was given from one key to another.
    pub(crate) fn floor(self) -> Timestamp {
        Timestamp::from_nanos(self.control.load(Ordering::Acquire) >> 1)
    }

    /// Remembers that a slot was given from one key to another at `now`. Only for who holds the latch.
    pub(crate) fn raise(self, now: Timestamp) {
        let floor = self.floor().max(now).within_horizon();
        self.control.store(floor << 1 | 1, Ordering::Release);
    }
}

/// A latch that is held.
#[derive(Debug)]
// `Save` has it, whose methods are public.
#[cfg_attr(not(feature = "serde"), allow(unreachable_pub))]
pub struct Held<'a>(Latch<'a>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}
