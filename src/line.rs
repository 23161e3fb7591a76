//! Waiting in line for a limiter.
//!
//! # How
//!
//! Whoever has to wait has a place in the line. Only the first in it asks the limiter, sleeps until it may pass, and asks again;
//! the others sleep until they are called, or their deadline. A waiter holds nothing of the limiter while it waits, so there
//! is nothing to give back when it leaves: it has but to call the next, if it was first.
//!
//! # Why nobody is forgotten
//!
//! Whoever leaves the line, for whatever reason, does so in [`Queue::remove`]: if it was the first, the one behind it is marked
//! as called, and woken when the lock has been released. That one finds the mark, whether it had registered a waker already or
//! comes to it later, as both are done under the lock. If instead it is dropped, it is the first that leaves.
//!
//! No waker is woken or dropped with the lock held, since that may run what drops another waiter of this line.
//!
//! Checked by `tests/line_loom.rs`.

use alloc::{collections::VecDeque, sync::Arc, task::Wake};
use core::{future::poll_fn, pin::pin, task::Poll, task::Waker, time::Duration};
use std::thread::{self, Thread};

use crate::{Allowed, Headroom, Limiter, Timer, Timestamp, sync::Mutex};

/// A limiter with a line in front of it: first come, first served; for so many at most.
///
/// A request that cannot pass waits, by [`wait`](Self::wait) in a task or by [`wait_blocking`](Self::wait_blocking) in a
/// thread, until it may. Both are served in the order in which they came; a request of a large cost is not overtaken by small
/// ones behind it.
///
/// It works for every [`Limiter`]: all algorithms, one key of a keyed limiter, a [`Composite`](crate::Composite),
/// [`leaving`](Limiter::leaving) some for others. A line is for one limiter: there must be one line for each key that is
/// waited for, of a key that [shares](crate::keyed::OneKey::of) its limiter where the line must outlive a borrow. With a
/// leaky bucket, one waits until it is one's turn, so its delays are over when one passes.
///
/// What asks the limiter by itself is not in line, and takes what the first in line waits for. The line is fair among those
/// in it.
///
/// # Failing at once
///
/// A request whose cost can never pass, or not by its deadline, is refused as soon as that is known: when it comes, and again
/// when it is first in line. For the buckets all that are ahead are counted exactly; for the windows and the log it is a time
/// before which it cannot pass, so of what is hopeless some is only found out later. It counts with all ahead staying in
/// line, and with nobody giving back units.
///
/// At its deadline a request that is not first passes if all that are ahead of it could pass as well at that moment:
/// they are about to be woken, and it leaves them what they ask for.
///
/// # What holds a line up
///
/// A task that is first in line and is neither polled nor dropped: the others are not called until it is, and leave at
/// their deadlines. And whatever asks the line a question while it is locked, which it is while the limiter is asked:
/// an [`Observer`](crate::Observer), a clock, or a limiter of your own that looks how many are [waiting](Self::waiting)
/// waits for itself.
///
/// # Time
///
/// What time it is, the limiter's clock says; timers only sleep, and the first in line asks again when it wakes. If units
/// are given back meanwhile, by a refund or a reset, or a [`Live`](crate::Live) quota is made larger, it finds out when its sleep is
/// over; [`recheck`](Self::recheck) wakes it.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Limiter, Line, Quota, RateLimiter, TokenBucket, WaitError};
///
/// let bucket = TokenBucket::new(Quota::per_second(1_000).burst(5))?;
/// let line = Line::new(RateLimiter::new(bucket), 100);
///
/// for _ in 0..10 {
///     line.wait_blocking(1, Duration::from_secs(1))?; // the first five at once, the others as they may
/// }
/// // In a tenth of a second there will not be as much as ...
/// assert!(matches!(line.wait_blocking(6, Duration::from_millis(100)), Err(WaitError::Never { limit: 5, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Line<L> {
    limiter: L,
    most: usize,
    queue: Mutex<Queue>,
}

/// A request was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// No wait can help.
    #[error("a cost of {cost} can never pass where at most {limit} can")]
    Never {
        /// What was asked for.
        cost: u64,
        /// The most that the limiter can hold.
        limit: u64,
    },
    /// It cannot pass in time.
    #[error("it takes {wait:?} until a cost of {cost} passes, and no more than {longest:?} were to be waited")]
    TooLong {
        /// What was asked for.
        cost: u64,
        /// How long it takes at the least, from when it came, as it is known now.
        wait: Duration,
        /// How long it was to wait at most.
        longest: Duration,
    },
    /// As many wait as may.
    #[error("{most} are in line, and no more may be")]
    Full {
        /// How many that is.
        most: usize,
    },
    /// The line was [closed](Line::close).
    #[error("the line is closed")]
    Closed,
}

/// Those who wait, in the order in which they came.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// What they ask for together.
    asked: u128,
    /// The number of the next one.
    next: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    cost: u64,
    /// Whether it was told to look again, and has not looked since.
    called: bool,
    waker: Option<Waker>,
}

impl Waiting {
    /// Tells it to look again: what is returned is to be woken, once the lock is released.
    #[must_use]
    fn call(&mut self) -> Option<Waker> {
        self.called = true;
        self.waker.take()
    }

    /// Has it woken by `waker`: what is returned is to be dropped, once the lock is released.
    #[must_use]
    fn wake_by(&mut self, waker: &Waker) -> Option<Waker> {
        match &self.waker {
            Some(present) if present.will_wake(waker) => None,
            _ => self.waker.replace(waker.clone()),
        }
    }
}

impl Queue {
    fn index(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }

    /// Those ahead of one.
    fn ahead(&self, index: usize) -> Ahead {
        let asked = self.waiting.iter().take(index).map(|waiting| u128::from(waiting.cost)).sum();
        let last_takes_none = index > 0 && self.waiting[index - 1].cost == 0;
        Ahead { asked, needed: asked + u128::from(last_takes_none) }
    }

    /// Takes one out: what is returned is who is to be woken, and who is gone, to be dropped once the lock is released.
    fn remove(&mut self, index: usize) -> (Option<Waker>, Option<Waiting>) {
        let gone = self.waiting.remove(index);
        self.asked -= u128::from(gone.as_ref().map_or(0, |gone| gone.cost));
        let next = if index == 0 { self.waiting.front_mut().and_then(Waiting::call) } else { None };
        (next, gone)
    }
}

/// What those ahead of a request ask for together.
#[derive(Clone, Copy, Default)]
struct Ahead {
    asked: u128,
    /// What must be there for all of them to pass: one more, if the last of them asks for one and takes none.
    needed: u128,
}

/// What there is for a request to do.
enum Turn {
    /// It is in line no more.
    Over(Result<Allowed, WaitError>),
    /// To sleep for so long, or until it is called.
    Sleep(Option<Duration>),
}

/// Whether a request that is first passes.
enum First {
    Passes(Allowed),
    Waits(Duration),
    Never,
}

impl<L: Limiter> Line<L> {
    /// A line in front of `limiter`, in which at most `most` requests wait.
    #[must_use]
    pub fn new(limiter: L, most: usize) -> Self {
        let queue = Queue { waiting: VecDeque::new(), asked: 0, next: 0, closed: false };
        Self { limiter, most, queue: Mutex::new(queue) }
    }

    /// The limiter.
    #[must_use]
    pub fn limiter(&self) -> &L {
        &self.limiter
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Takes `cost` units as soon as they pass, within the time `longest`; a cost of 0 waits for one and takes none.
    ///
    /// It sleeps by `timer`, and runs on any executor. It comes into line when it is first polled. It may be dropped at any
    /// time: then it has taken nothing, and the next one is called. Whoever is ready to wait for ever says [`Duration::MAX`].
    /// If it is woken only after its deadline, it still passes if it may by then.
    ///
    /// # Errors
    ///
    /// [`WaitError`] if it is not let through; nothing is taken then.
    ///
    /// ```
    /// # use std::{future::{Ready, ready}, time::Duration};
    /// # use tollgate::{Clock, ManualClock, Timer};
    /// # struct Skip(ManualClock);
    /// # impl Timer for Skip {
    /// #     type Sleep = Ready<()>;
    /// #     fn sleep(&self, duration: Duration) -> Ready<()> {
    /// #         self.0.advance(duration);
    /// #         ready(())
    /// #     }
    /// # }
    /// use tollgate::{Line, Quota, RateLimiter, TokenBucket, WaitError};
    ///
    /// # let clock = ManualClock::new();
    /// # let timer = Skip(clock.clone()); // for tests: see `Timer`
    /// # let waits = async {
    /// let line = Line::new(RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, clock.clone()), 100);
    /// line.wait(10, Duration::ZERO, &timer).await?;
    /// line.wait(3, Duration::from_secs(1), &timer).await?;
    /// assert_eq!(clock.now().as_nanos(), 300_000_000);
    ///
    /// let refused = line.wait(3, Duration::from_millis(200), &timer).await.unwrap_err();
    /// let (wait, longest) = (Duration::from_millis(300), Duration::from_millis(200));
    /// assert_eq!(refused, WaitError::TooLong { cost: 3, wait, longest });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # };
    /// # let mut waits = std::pin::pin!(waits);
    /// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// # assert!(matches!(waits.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(()))));
    /// ```
    pub async fn wait<T: Timer>(&self, cost: u64, longest: Duration, timer: T) -> Result<Allowed, WaitError> {
        let mut place = match self.join(cost, longest) {
            Ok(place) => place,
            Err(outcome) => return outcome,
        };
        loop {
            let sleep = match poll_fn(|context| Poll::Ready(place.turn(context.waker()))).await {
                Turn::Over(outcome) => return outcome,
                Turn::Sleep(sleep) => sleep,
            };
            let mut sleep = pin!(sleep.map(|duration| timer.sleep(duration)));
            let woken = poll_fn(|context| {
                if place.is_called(context.waker()) {
                    return Poll::Ready(());
                }
                match sleep.as_mut().as_pin_mut() {
                    Some(sleep) => sleep.poll(context),
                    None => Poll::Pending,
                }
            });
            woken.await;
        }
    }

    /// As [`wait`](Self::wait), but it blocks the thread.
    ///
    /// It sleeps in real time, whatever the limiter's clock is.
    ///
    /// # Errors
    ///
    /// [`WaitError`] if it is not let through; nothing is taken then.
    pub fn wait_blocking(&self, cost: u64, longest: Duration) -> Result<Allowed, WaitError> {
        let mut place = match self.join(cost, longest) {
            Ok(place) => place,
            Err(outcome) => return outcome,
        };
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            // Whatever wakes the thread, it looks.
            match place.turn(&waker) {
                Turn::Over(outcome) => return outcome,
                Turn::Sleep(Some(duration)) => thread::park_timeout(duration),
                Turn::Sleep(None) => thread::park(),
            }
        }
    }

    /// Has the first in line ask the limiter now: of use after units were given back, or a quota was changed.
    pub fn recheck(&self) {
        let first = self.queue.lock().waiting.front_mut().and_then(Waiting::call);
        wake(first);
    }

    /// Sends everybody away who waits, and who comes later, with [`WaitError::Closed`].
    pub fn close(&self) {
        let wakers: VecDeque<_> = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.waiting.iter_mut().map(Waiting::call).collect()
        };
        wakers.into_iter().for_each(wake);
    }

    /// A place in line; or the outcome, if there is no need for one.
    fn join(&self, cost: u64, longest: Duration) -> Result<Place<'_, L>, Result<Allowed, WaitError>> {
        let mut queue = self.queue.lock();
        let now = self.limiter.now();
        if queue.closed {
            return Err(Err(WaitError::Closed));
        }
        let first = if queue.waiting.is_empty() { self.first(cost, now) } else { self.behind(queue.asked, cost, now) };
        let wait = match first {
            First::Passes(allowed) => return Err(Ok(allowed)),
            First::Never => return Err(Err(self.never(cost, now))),
            First::Waits(wait) => wait,
        };
        if wait > longest {
            return Err(Err(WaitError::TooLong { cost, wait, longest }));
        }
        if queue.waiting.len() >= self.most {
            return Err(Err(WaitError::Full { most: self.most }));
        }
        let number = queue.next;
        queue.next += 1;
        queue.asked += u128::from(cost);
        queue.waiting.push_back(Waiting { number, cost, called: false, waker: None });
        Ok(Place { line: self, number, cost, since: now, longest, left: false })
    }

    /// Takes `cost` units, if they pass without a delay.
    fn first(&self, cost: u64, now: Timestamp) -> First {
        self.among(Ahead::default(), cost, now)
    }

    /// Takes `cost` units, if they pass without a delay, and all those `ahead` would pass as well at this moment.
    fn among(&self, ahead: Ahead, cost: u64, now: Timestamp) -> First {
        match self.behind(ahead.asked, cost, now) {
            First::Waits(Duration::ZERO) => {}
            later => return later,
        }
        let mut agreed = false;
        let mut agree = |allowed: &Allowed| {
            agreed = allowed.delay.is_zero() && u128::from(allowed.remaining) >= ahead.needed;
            agreed
        };
        match self.limiter.check_and(cost, Headroom::NONE, now, &mut agree) {
            Ok(allowed) if agreed => First::Passes(allowed),
            Ok(allowed) => First::Waits(allowed.delay),
            Err(denied) => denied.retry_after.map_or(First::Never, First::Waits),
        }
    }

    /// How long a request has to wait at the least that is behind others.
    fn behind(&self, ahead: u128, cost: u64, now: Timestamp) -> First {
        let ahead = ahead.try_into().unwrap_or(u64::MAX);
        self.limiter.forecast_at(ahead, cost, Headroom::NONE, now).map_or(First::Never, First::Waits)
    }

    #[cold]
    fn never(&self, cost: u64, now: Timestamp) -> WaitError {
        let limit = match self.limiter.peek_n_at(cost, now) {
            Ok(allowed) => allowed.limit,
            Err(denied) => denied.limit,
        };
        WaitError::Never { cost, limit }
    }
}

/// One's place in line, which is left when it is dropped.
struct Place<'a, L: Limiter> {
    line: &'a Line<L>,
    number: u64,
    cost: u64,
    since: Timestamp,
    longest: Duration,
    left: bool,
}

impl<L: Limiter> Place<'_, L> {
    /// Looks whether it is one's turn; if not, one is to be woken by `waker` when it may be.
    fn turn(&mut self, waker: &Waker) -> Turn {
        let mut queue = self.line.queue.lock();
        let now = self.line.limiter.now();
        let index = queue.index(self.number).expect("one is in line until one leaves");
        let waited = now - self.since;
        let rest = self.longest.saturating_sub(waited);
        let too_long = |wait: Duration| {
            let wait = waited.saturating_add(wait);
            Turn::Over(Err(WaitError::TooLong { cost: self.cost, wait, longest: self.longest }))
        };
        let turn = if queue.closed {
            Turn::Over(Err(WaitError::Closed))
        } else if index == 0 {
            match self.line.first(self.cost, now) {
                First::Passes(allowed) => Turn::Over(Ok(allowed)),
                First::Never => Turn::Over(Err(self.line.never(self.cost, now))),
                First::Waits(wait) if wait > rest => too_long(wait),
                First::Waits(wait) => Turn::Sleep(Some(wait)),
            }
        } else if rest.is_zero() {
            match self.line.among(queue.ahead(index), self.cost, now) {
                First::Passes(allowed) => Turn::Over(Ok(allowed)),
                First::Never => Turn::Over(Err(self.line.never(self.cost, now))),
                // Where a bound from below is all that is known, it is this: not now.
                First::Waits(wait) => too_long(wait.max(Duration::from_nanos(1))),
            }
        } else {
            Turn::Sleep((self.longest != Duration::MAX).then_some(rest))
        };
        match turn {
            Turn::Sleep(_) => {
                let waiting = &mut queue.waiting[index];
                waiting.called = false;
                let old = waiting.wake_by(waker);
                drop(queue);
                drop(old);
            }
            Turn::Over(_) => {
                let (next, gone) = queue.remove(index);
                drop(queue);
                self.left = true;
                wake(next);
                drop(gone);
            }
        }
        turn
    }

    /// Whether one was called since one has looked; if not, one is to be woken by `waker` when one is.
    fn is_called(&self, waker: &Waker) -> bool {
        let mut queue = self.line.queue.lock();
        let Some(index) = queue.index(self.number) else { return true };
        let waiting = &mut queue.waiting[index];
        if waiting.called {
            return true;
        }
        let old = waiting.wake_by(waker);
        drop(queue);
        drop(old);
        false
    }
}

impl<L: Limiter> Drop for Place<'_, L> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut queue = self.line.queue.lock();
        if let Some(index) = queue.index(self.number) {
            let (next, gone) = queue.remove(index);
            drop(queue);
            wake(next);
            drop(gone);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
