//! What an operator wants to know of a table.

use core::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;

use crate::sync::plain::AtomicU64;

/// What has happened to the newcomers of a [`KeyedLimiter`](crate::KeyedLimiter) since it was made.
///
/// They are counted where newcomers wait anyway; a key that has a state of its own is never counted, and costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeyedStats {
    /// How often the recovered state of one key was taken over by another: normal wear.
    pub taken_over: u64,
    /// How many requests were admitted on the state that newcomers share where there is no room: more than a few mean that
    /// the capacity is too small, or that somebody is flooding it.
    pub overflowed: u64,
}

/// The counts in several stripes, so that newcomers of different groups rarely meet.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    stripes: [CachePadded<Stripe>; 8],
}

#[derive(Debug, Default)]
struct Stripe {
    taken_over: AtomicU64,
    overflowed: AtomicU64,
}

impl Counters {
    pub(crate) fn taken_over(&self, group: usize) {
        self.stripe(group).taken_over.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn overflowed(&self, group: usize) {
        self.stripe(group).overflowed.fetch_add(1, Ordering::Relaxed);
    }

    fn stripe(&self, group: usize) -> &Stripe {
        &self.stripes[group % self.stripes.len()]
    }

    /// The sums of all stripes.
    pub(crate) fn read(&self) -> KeyedStats {
        let sum = |count: fn(&Stripe) -> &AtomicU64| {
            self.stripes.iter().map(|stripe| count(stripe).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        KeyedStats { taken_over: sum(|stripe| &stripe.taken_over), overflowed: sum(|stripe| &stripe.overflowed) }
    }
}
