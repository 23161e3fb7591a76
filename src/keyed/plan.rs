//! Which quota a key is under: one for all, or one of several tiers.

use crate::{Algorithm, algorithm::sealed::Sealed};

/// The algorithms of a table, numbered by tags: a single one, or a [`Tiers`](crate::Tiers).
///
/// The trait is sealed; it is here to be named in bounds.
pub trait Plan: Sealed {
    /// What all keys are counted by, each under its own quota.
    type Algorithm: Algorithm;

    /// The bits of a tag: none where there is but one algorithm, which then costs nothing.
    const TAG_BITS: u32;

    /// The algorithm of `tag`; that of the first tag if there is none such.
    fn algorithm(&self, tag: u64) -> &Self::Algorithm;

    /// How many tags there are.
    fn tags(&self) -> usize;
}

/// A [`Plan`] that knows which of its tags a key has.
pub trait PlanFor<Q: ?Sized>: Plan {
    /// The tag of `key`, less than [`tags`](Plan::tags).
    fn tag(&self, key: &Q) -> u64;
}

impl<A: Algorithm> Plan for A {
    type Algorithm = A;

    const TAG_BITS: u32 = 0;

    #[inline(always)]
    fn algorithm(&self, _tag: u64) -> &A {
        self
    }

    fn tags(&self) -> usize {
        1
    }
}

impl<A: Algorithm, Q: ?Sized> PlanFor<Q> for A {
    #[inline(always)]
    fn tag(&self, _key: &Q) -> u64 {
        0
    }
}
