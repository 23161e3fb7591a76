//! Limits that hang on something about a request.

use crate::Decision;

/// A limiter per `T`: per address, per record.
///
/// What a [`Gate`](super::Gate) asks: in front of verification a `LimitBy` of addresses, behind it any number of
/// `LimitBy<Record<M>>`.
pub trait LimitBy<T: ?Sized> {
    /// Decides on `cost` units of what `by` has now, and takes them if they pass.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Denied) if they do not; nothing is taken then.
    fn check_n(&self, by: &T, cost: u64) -> Decision;

    /// Gives back `cost` units that a [`check_n`](Self::check_n) has just taken, as another limit has refused.
    fn refund(&self, by: &T, cost: u64);
}
