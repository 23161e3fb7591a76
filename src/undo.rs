//! Checks that can be undone exactly.

use alloc::{boxed::Box, sync::Arc};
use core::fmt::Debug;

use crate::{Allowed, Decision, Denied, Headroom, Lease, Limiter, Timestamp};

/// A limiter of which what was taken can be put back later, and nothing but that: a single one, or one key of a keyed one.
///
/// A [`refund`](Limiter::refund) does not know which check it undoes, and takes the newest units that are in use for its
/// own. An undo does: it puts back of the units that were taken as many as time has not regained since, and never any of
/// somebody else's, whatever others took or undid meanwhile and in whatever order. Right after the check it leaves the
/// limiter as if neither had happened.
///
/// Not noticed are a [`reset`](Limiter::reset) or a refund by somebody else meanwhile, a clock that steps back, and a
/// key that was moved to another [tier](crate::Tiers) and back: after one of these, units of others may be put back.
/// Nothing is put back where the key is in another tier by then, or a [`Live`](crate::Live) quota was changed.
///
/// The state that newcomers share in a keyed limiter without room for them is not undone, as it is not refunded.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Headroom, Limiter, ManualClock, Quota, RateLimiter, TokenBucket, Undo};
///
/// let clock = ManualClock::new();
/// let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, clock.clone());
/// let before = limiter.peek();
/// let (_, first) = limiter.take(4)?;
/// let (_, second) = limiter.take(6)?;
/// limiter.undo(first, 4);
/// assert!(limiter.check_n(4).is_ok());
/// limiter.refund(4);
///
/// // Of ten units in use, time has regained four: they cannot be put back a second time.
/// clock.advance(Duration::from_millis(400));
/// limiter.undo(second, 6);
/// assert_eq!(limiter.peek(), before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Undo: Limiter {
    /// What there is to undo a check by.
    type Taken: Copy + Debug;

    /// As [`check_n_leaving_at`](Limiter::check_n_leaving_at), with what there is to undo it by.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the request must not pass; nothing is taken then.
    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, Self::Taken), Denied>;

    /// Puts `cost` of the units that were `taken` back, or as many of them as were taken and time has not regained.
    ///
    /// Once at most for what one check has taken. `now` is a time of the limiter's clock, or later if others have gone by
    /// later times.
    fn undo_at(&self, taken: Self::Taken, cost: u64, now: Timestamp);

    /// Whether what passes may have to wait for its [`delay`](Allowed::delay), as with a leaky bucket: then units must not
    /// be taken ahead of time, as by a [`Lease`].
    fn delays(&self) -> bool;

    /// A handle on this limiter for one thread, which takes units ahead and spends them without an atomic or the clock.
    ///
    /// To keep the limiter, call it on a reference: `(&limiter).lease()`. A key of a keyed limiter can be copied.
    fn lease(self) -> Lease<Self>
    where
        Self: Sized,
    {
        Lease::new(self)
    }

    /// As [`check_n`](Limiter::check_n), with what there is to undo it by.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the request must not pass; nothing is taken then.
    fn take(&self, cost: u64) -> Result<(Allowed, Self::Taken), Denied> {
        self.take_leaving_at(cost, Headroom::NONE, self.now())
    }

    /// Puts `cost` of the units that were `taken` back now; see [`undo_at`](Self::undo_at).
    fn undo(&self, taken: Self::Taken, cost: u64) {
        self.undo_at(taken, cost, Timestamp::ZERO);
    }
}

/// What [`Limiter::check_and`] is for a limiter that can undo its checks.
pub(crate) fn check_and<L: Undo + ?Sized>(
    limiter: &L,
    cost: u64,
    leave: Headroom,
    now: Timestamp,
    agree: &mut dyn FnMut(&Allowed) -> bool,
) -> Decision {
    let (allowed, taken) = limiter.take_leaving_at(cost, leave, now)?;
    if !agree(&allowed) {
        limiter.undo_at(taken, cost, now);
    }
    Ok(allowed)
}

macro_rules! undo_behind {
    ($($pointer:ty),+) => {$(
        impl<L: Undo + ?Sized> Undo for $pointer {
            type Taken = L::Taken;

            #[inline]
            fn take_leaving_at(
                &self,
                cost: u64,
                leave: Headroom,
                now: Timestamp,
            ) -> Result<(Allowed, Self::Taken), Denied> {
                (**self).take_leaving_at(cost, leave, now)
            }

            #[inline]
            fn undo_at(&self, taken: Self::Taken, cost: u64, now: Timestamp) {
                (**self).undo_at(taken, cost, now);
            }

            #[inline]
            fn delays(&self) -> bool {
                (**self).delays()
            }
        }
    )+};
}

undo_behind!(&L, Box<L>, Arc<L>);
