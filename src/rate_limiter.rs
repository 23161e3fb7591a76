//! One limiter: an algorithm, its state, a clock.

use core::time::Duration;

#[cfg(feature = "std")]
use crossbeam_utils::CachePadded;

use crate::{
    Algorithm, Allowed, Clock, Decision, Denied, Headroom, Limiter, MonotonicClock, Timestamp, Undo,
    cell::{Cell, Place, Sole},
    undo,
};
#[cfg(feature = "std")]
use crate::{
    Reserve,
    algorithm::{self, Bookable},
    ledger::{Booked, Ledger},
};

/// One algorithm, one state, one clock: a single limit, shared by all who hold a reference.
///
/// Behind a reference or an `Arc` it can be used from any number of threads; none of them ever waits for another.
/// In a struct field the type is `RateLimiter<TokenBucket>`.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use tollgate::{Limiter, Quota, RateLimiter, TokenBucket};
///
/// struct Uploads {
///     bytes: RateLimiter<TokenBucket>,
/// }
///
/// let bucket = TokenBucket::new(Quota::per_second(1_000_000))?;
/// let uploads = Uploads { bytes: RateLimiter::new(bucket) };
/// assert!(uploads.bytes.check_n(64 * 1024).is_ok());
/// # }
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct RateLimiter<A: Algorithm, C = MonotonicClock> {
    algorithm: A,
    state: Cell,
    clock: C,
    #[cfg(feature = "std")]
    ledger: CachePadded<Ledger>,
}

#[cfg(feature = "std")]
impl<A: Algorithm> RateLimiter<A> {
    /// A limiter by the operating system's monotonic clock.
    #[must_use]
    pub fn new(algorithm: A) -> Self {
        Self::with_clock(algorithm, MonotonicClock::new())
    }
}

impl<A: Algorithm, C: Clock> RateLimiter<A, C> {
    /// A limiter by `clock`.
    #[must_use]
    pub fn with_clock(algorithm: A, clock: C) -> Self {
        let state = Cell::new(algorithm.initial(clock.now()), algorithm.beside());
        Self {
            algorithm,
            state,
            clock,
            #[cfg(feature = "std")]
            ledger: CachePadded::new(Ledger::new()),
        }
    }

    /// The algorithm, with its quota.
    #[must_use]
    pub fn algorithm(&self) -> &A {
        &self.algorithm
    }

    pub(crate) fn place(&self) -> Place<'_> {
        self.state.place()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &C {
        &self.clock
    }
}

impl<A: Algorithm, C: Clock> Limiter for RateLimiter<A, C> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    #[inline(always)]
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        let Ok(decision) = self.algorithm.check(self.state.place(), Sole, cost, leave, now);
        decision
    }

    #[inline(always)]
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        let Ok(decision) = self.algorithm.peek(self.state.place(), Sole, cost, leave, now);
        decision
    }

    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        let Ok(forecast) = self.algorithm.forecast(self.state.place(), Sole, ahead, cost, leave, now);
        forecast
    }

    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        undo::check_and(self, cost, leave, now, agree)
    }

    #[inline]
    fn refund_at(&self, cost: u64, now: Timestamp) {
        let Ok(()) = self.state.lowered().returns.count(|| self.algorithm.refund(self.state.place(), Sole, cost, now));
    }

    #[inline]
    fn reset_at(&self, now: Timestamp) {
        let Ok(()) = self.state.lowered().breaks.count(|| self.algorithm.reset(self.state.place(), Sole, now, now));
    }
}

impl<A: Algorithm, C: Clock> Undo for RateLimiter<A, C> {
    type Taken = A::Taken;

    #[inline]
    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, A::Taken), Denied> {
        let Ok(answer) = self.algorithm.take(self.state.place(), Sole, cost, leave, now);
        answer
    }

    fn undo_at(&self, taken: A::Taken, cost: u64, now: Timestamp) {
        let latest = || self.clock.now().max(now);
        let Ok(()) =
            self.state.lowered().returns.count(|| self.algorithm.undo(self.state.place(), Sole, taken, cost, latest));
    }

    fn delays(&self) -> bool {
        self.algorithm.delays()
    }
}

#[cfg(feature = "std")]
impl<A: Bookable, C: Clock> Reserve for RateLimiter<A, C> {
    type Booked = Booked;

    fn book_leaving_at(
        &self,
        cost: u64,
        leave: Headroom,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Allowed, Booked), Denied> {
        let line = self.ledger.hold(self.state.lowered());
        let request = algorithm::Request { cost, leave, longest, now };
        let Ok(answer) = algorithm::book(&self.algorithm, self.state.place(), Sole, &request);
        answer.map(|(allowed, step)| (allowed, line.enter(0, step)))
    }

    fn close_at(&self, booked: Booked, kept: u64, now: Timestamp) {
        self.ledger.close(booked, kept, self.state.lowered(), |step, cost, stands| {
            let latest = || self.clock.now().max(now);
            let Ok(returned) =
                algorithm::put_back(&self.algorithm, self.state.place(), Sole, (step, cost), stands, latest);
            returned
        });
    }

    fn charge_at(&self, cost: u64, now: Timestamp) {
        let Ok(()) = algorithm::charge(&self.algorithm, self.state.place(), Sole, cost, now);
    }
}
