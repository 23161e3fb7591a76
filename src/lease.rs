//! Units taken ahead of time, to be spent by one thread without an atomic and without the clock.

use core::{cell::Cell, time::Duration};

use crate::{Allowed, Decision, Denied, Headroom, Limiter, Timestamp, Undo};

/// A lease takes ahead only where it leaves so many times as much for others.
const SHARE: u64 = 8;

/// A limiter for one thread, which takes units ahead with one swap and spends them without an atomic or the clock.
///
/// The word of a limiter that many threads share is what they wait for: each check has to fetch its cache line from another
/// core. A lease fetches it once for many checks, and [`check`](Limiter::check) and [`check_n`](Limiter::check_n) of what is
/// *in hand* is a subtraction. Each thread makes one of its own; it is for limits that are much larger than the number of
/// threads, where a check of the limiter itself is too slow.
///
/// ```
/// use tollgate::{Limiter, ManualClock, Quota, RateLimiter, TokenBucket, Undo};
///
/// let bucket = TokenBucket::new(Quota::per_second(100_000))?;
/// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
///
/// let lease = (&limiter).lease(); // each thread has its own
/// for _ in 0..1_000 {
///     assert!(lease.check().is_ok());
/// }
/// let in_hand = lease.in_hand();
/// assert_eq!(limiter.peek_n(0)?.remaining, 100_000 - 1_000 - in_hand);
///
/// drop(lease); // and what it has not spent goes back
/// assert_eq!(limiter.peek_n(0)?.remaining, 100_000 - 1_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # How many
///
/// The first check takes its cost and no more. From then on twice as much is taken ahead each time, up to
/// [`at_most`](Self::at_most) units, 256 if not given; half as much, if it took longer to spend than the
/// [longest time](Self::held_for); and never more than leaves eight times as much for others, which is part of the one
/// step that takes. So near the limit nothing is taken ahead, and a lease is as fast, and as exact, as the limiter.
///
/// # When they go back
///
/// When the lease is dropped; when [`settle`](Self::settle) is called; and when a request comes that they are too few for,
/// after they were held for longer than [`held_for`](Self::held_for), 10 ms if not given. To spend what is in hand the clock
/// is not read, so that a lease that is left alone, or never used up, goes on holding what it has: whoever has the time at
/// hand, of a [`CoarseClock`](crate::CoarseClock) for instance, enforces the longest time by
/// [`check_at`](Limiter::check_at), which puts back first what is older. A thread that has nothing to do should `settle`.
///
/// They go back by an [`undo`](Undo::undo_at): as many as time has not regained, none of anybody else's. What a key
/// took from the state that newcomers share, where a keyed limiter has no room, does not go back. To a
/// [`SlidingLog`](crate::SlidingLog) not all of it may go back while other threads write theirs: what does not stays in use until
/// it leaves the window. So with a long window, a log that many leases share can admit less than its limit.
///
/// # What it admits
///
/// - *Never more than the limiter.* In all the time since the limiter was made, leases and all others together have
///   admitted no more than the limiter's bound for that time: each unit is taken before it is spent.
/// - *Within a time that begins later*, no more than the bound, and what was in hand when it began: of each lease at most
///   `at_most` units, and none older than the longest time, as far as the lease was told the time. That is what the
///   speed costs: the limiter counts a unit from when it was taken, which is before it was spent.
/// - *A refusal is the limiter's own*, and its waits are honest. Before it, all that is in hand goes back; so a lease refuses
///   nothing that the limiter would admit to this thread. It may refuse what other leases have in hand: at most
///   `at_most` units each.
/// - *What is allowed* is answered by what the limiter said when the units were taken, with what is in hand as a part of
///   `remaining`. So `remaining` and `reset_after` are as old as that.
/// - A request that must [leave](Limiter::leaving) some for others goes to the limiter.
/// - A limiter whose answers have a [`delay`](Allowed::delay), as those of a leaky bucket have, is not asked for units
///   ahead: if they were spent at once, they would not be evenly spaced. There a lease is the limiter.
///
/// # Several limits
///
/// A [`Composite`](crate::Composite) has no lease: one would take ahead of all its parts as much as of the scarcest, and
/// hold it back from everybody. A lease is a limiter, so it can be a part of one, in the place of the part that all
/// threads meet in. A unit that another part refuses stays in hand.
///
/// ```
/// use tollgate::{Composite, KeyedLimiter, Limiter, ManualClock, Quota, RateLimiter, TokenBucket, Undo};
///
/// let clock = ManualClock::new();
/// let client = TokenBucket::new(Quota::per_second(10))?;
/// let clients: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(client, 1_000, clock.clone());
/// let everybody = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(100_000))?, clock);
///
/// let lease = (&everybody).lease(); // in each thread
/// assert!(Composite::new((clients.key("alice"), &lease)).check().is_ok());
/// assert!(Composite::new((clients.key("bob"), &lease)).check_n(11).is_err());
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
///
/// A lease can be sent to another thread, but not shared with one.
#[derive(Debug)]
pub struct Lease<L: Undo> {
    limiter: L,
    /// The most units to take ahead.
    most: u64,
    /// How long units may be in hand.
    longest: Duration,
    /// How many are in hand: all of them of `taken`.
    in_hand: Cell<u64>,
    /// What there is to put them back by.
    taken: Cell<Option<L::Taken>>,
    /// When they were taken.
    since: Cell<Timestamp>,
    /// What the limiter said then; `remaining` without them.
    said: Cell<Allowed>,
    /// How many were taken ahead.
    ahead: Cell<u64>,
    /// Whether a part of what was taken is waiting for the consent of others, and may come back into hand: then `taken` must
    /// stay.
    pending: Cell<bool>,
}

/// Before anything was taken.
const NOTHING_SAID: Allowed = Allowed { limit: 0, remaining: 0, reset_after: Duration::ZERO, delay: Duration::ZERO };

impl<L: Undo> Lease<L> {
    /// A lease on `limiter`, with nothing in hand: the same as [`Undo::lease`].
    #[must_use]
    pub const fn new(limiter: L) -> Self {
        Self {
            limiter,
            most: 256,
            longest: Duration::from_millis(10),
            in_hand: Cell::new(0),
            taken: Cell::new(None),
            since: Cell::new(Timestamp::ZERO),
            said: Cell::new(NOTHING_SAID),
            ahead: Cell::new(0),
            pending: Cell::new(false),
        }
    }

    /// The same, but it takes at most so many units ahead. With 0 it is the limiter itself.
    #[must_use]
    pub const fn at_most(mut self, units: u64) -> Self {
        self.most = units;
        self
    }

    /// The same, but units are put back that were held for longer, where the time is known.
    #[must_use]
    pub const fn held_for(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// The limiter.
    #[must_use]
    pub const fn limiter(&self) -> &L {
        &self.limiter
    }

    /// How many units are in hand: taken, and not spent.
    #[must_use]
    pub const fn in_hand(&self) -> u64 {
        self.in_hand.get()
    }

    /// Puts back what is in hand.
    pub fn settle(&self) {
        self.settle_at(Timestamp::ZERO);
    }

    /// As [`settle`](Self::settle), where others may have gone by times up to `now`.
    fn settle_at(&self, now: Timestamp) {
        if self.in_hand.get() > 0 && !self.pending.get() {
            let unspent = self.in_hand.take();
            if let Some(taken) = self.taken.take() {
                self.limiter.undo_at(taken, unspent, now);
            }
        }
    }

    /// Puts back what is in hand, if it has been for too long.
    #[inline]
    fn settle_if_old(&self, now: Timestamp) {
        if self.in_hand.get() > 0 && now - self.since.get() > self.longest {
            self.settle_at(now);
        }
    }

    /// Whether `cost` units are in hand; for a cost of 0, whether any is.
    #[inline(always)]
    fn has(&self, cost: u64) -> bool {
        cost.max(1) <= self.in_hand.get()
    }

    /// What was said, with so many units in hand.
    #[inline(always)]
    fn answer(&self, in_hand: u64) -> Allowed {
        let said = self.said.get();
        Allowed {
            limit: said.limit,
            remaining: said.remaining.saturating_add(in_hand),
            reset_after: said.reset_after,
            delay: said.delay,
        }
    }

    /// Spends `cost` units, which are in hand.
    #[inline(always)]
    fn spend(&self, cost: u64) -> Allowed {
        let left = self.in_hand.get() - cost;
        self.in_hand.set(left);
        self.answer(left)
    }

    /// Brings `cost` units into hand at `now`, where fewer are, to be spent at once.
    ///
    /// It answers nothing if they pass: so the answer is always made of what was said, and in one place, from where an optimiser
    /// can leave out what is not looked at.
    #[cold]
    #[inline(never)]
    fn refill(&self, cost: u64, now: Timestamp) -> Result<(), Denied> {
        if cost == 0 || self.pending.get() {
            // What stays in hand is still of the taking that it was of.
            self.said.set(self.limiter.check_n_at(cost, now)?);
            self.in_hand.set(self.in_hand.get() + cost);
            return Ok(());
        }
        self.settle_if_old(now);
        if cost > self.said.get().limit {
            // It can never pass, and would with the help of what time has regained since that was taken.
            self.settle_at(now);
        }
        let lacking = cost - self.in_hand.get();
        let ahead = self.next_ahead(lacking, now);
        if ahead > 0 && self.take(lacking, ahead, now).is_ok() {
            return Ok(());
        }
        self.take(lacking, 0, now).or_else(|denied| {
            self.ahead.set(0);
            if self.in_hand.get() == 0 {
                return Err(denied);
            }
            self.settle_at(now);
            self.take(cost, 0, now)
        })
    }

    /// How many to take ahead of what is `lacking` at `now`: twice as many as the last time, or half if they took too long to
    /// spend, and no more than there was room for.
    fn next_ahead(&self, lacking: u64, now: Timestamp) -> u64 {
        let (last, room) = (self.ahead.get(), self.said.get().remaining.saturating_sub(lacking) / (SHARE + 1));
        let spent_slowly = now - self.since.get() > self.longest;
        match self.limiter.delays() {
            true => 0,
            false if spent_slowly => (last / 2).min(room),
            false => last.saturating_mul(2).saturating_add(1).min(self.most).min(room),
        }
    }

    /// Takes what is `lacking` for a request, which will spend all that is in hand, and so many units `ahead`.
    fn take(&self, lacking: u64, ahead: u64, now: Timestamp) -> Result<(), Denied> {
        let leave = Headroom::units(ahead.saturating_mul(SHARE));
        let (allowed, taken) = self.limiter.take_leaving_at(lacking.saturating_add(ahead), leave, now)?;
        // What it says to one that need not leave anything.
        let said = if ahead > 0 { self.said_after(&allowed, now) } else { allowed };
        self.in_hand.set(self.in_hand.get() + lacking + ahead);
        self.taken.set(Some(taken));
        self.since.set(now);
        self.said.set(said);
        self.ahead.set(ahead);
        Ok(())
    }

    /// What the limiter says to who has just been `allowed` to take and leave some.
    fn said_after(&self, allowed: &Allowed, now: Timestamp) -> Allowed {
        let (limit, remaining, reset_after) = match self.limiter.peek_n_at(0, now) {
            Ok(Allowed { limit, remaining, reset_after, .. }) | Err(Denied { limit, remaining, reset_after, .. }) => {
                (limit, remaining, reset_after)
            }
        };
        Allowed { limit, remaining, reset_after, ..*allowed }
    }

    /// What `ask` gets from the limiter; if that is a refusal, once more with nothing in hand.
    fn ask_limiter(&self, now: Timestamp, mut ask: impl FnMut() -> Decision) -> Decision {
        match ask() {
            Ok(allowed) => Ok(Allowed { remaining: allowed.remaining.saturating_add(self.in_hand.get()), ..allowed }),
            Err(_) if self.in_hand.get() > 0 => {
                self.settle_at(now);
                ask()
            }
            refused => refused,
        }
    }
}

impl<L: Undo> Limiter for Lease<L> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.limiter.now()
    }

    #[inline(always)]
    fn check(&self) -> Decision {
        self.check_n(1)
    }

    /// Without a look at the clock, if it is in hand.
    #[inline(always)]
    fn check_n(&self, cost: u64) -> Decision {
        if !self.has(cost) {
            self.refill(cost, self.limiter.now())?;
        }
        Ok(self.spend(cost))
    }

    #[inline]
    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        if leave != Headroom::NONE {
            return self.ask_limiter(now, || self.limiter.check_n_leaving_at(cost, leave, now));
        }
        self.settle_if_old(now);
        if !self.has(cost) {
            self.refill(cost, now)?;
        }
        Ok(self.spend(cost))
    }

    /// What is not in hand is looked for in the limiter, into which what is in hand is put back first.
    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.settle_if_old(now);
        if leave == Headroom::NONE && self.has(cost) {
            return Ok(self.answer(self.in_hand.get() - cost));
        }
        self.settle_at(now);
        self.limiter.peek_n_leaving_at(cost, leave, now)
    }

    /// What is called off stays in hand, if it is not more than may be.
    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        if leave != Headroom::NONE {
            return self.ask_limiter(now, || self.limiter.check_and(cost, leave, now, agree));
        }
        self.settle_if_old(now);
        if !self.has(cost) {
            if self.pending.get() {
                // The same lease, twice in one composite.
                return self.limiter.check_and(cost, leave, now, agree);
            }
            // All that may come back into hand is then of one taking.
            self.settle_at(now);
            self.refill(cost, now)?;
        }
        let allowed = self.spend(cost);
        let pending = Pending::begin(&self.pending);
        let agreed = agree(&allowed);
        drop(pending);
        if !agreed {
            self.in_hand.set(self.in_hand.get() + cost);
            if self.in_hand.get() > self.most || self.limiter.delays() {
                self.settle_at(now);
            }
        }
        Ok(allowed)
    }

    /// What the limiter says once what is in hand has been put back.
    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        self.settle_at(now);
        self.limiter.forecast_at(ahead, cost, leave, now)
    }

    fn refused_at(&self, cost: u64, leave: Headroom, now: Timestamp, denied: &Denied) {
        self.limiter.refused_at(cost, leave, now, denied);
    }

    /// To the limiter: what is refunded is not in hand.
    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.limiter.refund_at(cost, now);
    }

    /// Of the limiter, and with it of what is in hand.
    fn reset_at(&self, now: Timestamp) {
        if !self.pending.get() {
            self.in_hand.set(0);
        }
        self.limiter.reset_at(now);
    }
}

/// While others are asked for their consent, which may panic.
struct Pending<'a> {
    flag: &'a Cell<bool>,
    before: bool,
}

impl<'a> Pending<'a> {
    fn begin(flag: &'a Cell<bool>) -> Self {
        Self { flag, before: flag.replace(true) }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.flag.set(self.before);
    }
}

impl<L: Undo> Drop for Lease<L> {
    fn drop(&mut self) {
        self.pending.set(false);
        self.settle();
    }
}
