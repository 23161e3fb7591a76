//! A quota that can be changed while it is in use.
//!
//! # What it holds
//!
//! A live limiter's quota has a *version*: how often it was changed. Two *banks* of atomics hold the rules of the present
//! version and of the one before, the even ones in the first bank, the odd ones in the second. The highest eight bits of a
//! state's word are its *tag*: the lowest eight of the version under which the word was written. The rule has the other 56
//! bits for itself, and is built to need no more.
//!
//! # A check
//!
//! The word is loaded, and then the rule that its tag names; a step of that rule is swapped in with the same tag. If the bank
//! does not hold that version any more, or was written to meanwhile, the word is loaded again.
//!
//! # A change
//!
//! One at a time: the rule is written into the bank of the version before last, the version is counted up, and then all
//! states are brought over, each by a swap of the word for what it is under the new rule. In a table that is done set by set,
//! with the latch held that newcomers need; the states that they share come first.
//!
//! # Why nobody sees half a change
//!
//! - *A word says by itself what it means.* Which quota, and what was consumed under it, are one fact in one atomic word: a
//!   state goes from the old quota to the new one at one instant, the swap by which it is brought over. Before it checks are
//!   decided by the old quota, after it by the new one. A step under the old one that was prepared before it and comes after
//!   it finds another word, and begins again.
//! - *A rule is whole.* A bank is only written when no state has its version any more. Before that, it says that it holds
//!   another version. Whoever has copied a word that is of the new rule sees that, as it looks once more when all are copied;
//!   its state's word is out of date then, and it loads it again. So nobody waits for a change, however long it takes: to
//!   begin again means that one has been made.
//! - *No state is missed.* A newcomer in a table begins under its latch, with the version of the state that newcomers share,
//!   or with the present one if there is none. Before a change has come to this latch, it will; afterwards, the present
//!   version is the new one, and so is the shared state's: the shared states of all latches have been brought over before the
//!   first slot is.
//! - *No burst.* What is in use is brought over as of a reading of the clock that is made after the word was loaded: nobody
//!   has acted on that word at a later time, so no time counts twice.
//!
//! Tags come round after 256 changes. A check would have to be held up, between its loads and its swap, for as long as these
//! take, and then find the same word, to take it for the one that it knew.
//!
//! # Orderings
//!
//! The version of a bank is stored with release after its rule, as is each word of the rule after the version that was there
//! before was struck out; both are loaded with acquire. A state's word is swapped with release after the bank was written, and
//! loaded with acquire before it is read: whoever sees a tag finds its rule, or a later one.
//!
//! Checked by `tests/live_loom.rs`.

use core::{fmt, marker::PhantomData, time::Duration};

use crossbeam_utils::CachePadded;

use crate::{
    Allowed, Clock, Decision, Denied, Headroom, Quota, QuotaError, RateLimiter, Timestamp,
    algorithm::{Adjustable, Algorithm, Answer, Step, most, sealed::Sealed},
    cell::{self, Moved, Owner, Place, Sole, Update},
    keyed::latch::Latch,
    sync::{AtomicU64, Ordering},
};
#[cfg(feature = "serde")]
use crate::{
    keyed::latch::Held,
    snapshot::{Save, SaveWord, Shift, State},
};

/// What becomes of the units that are in use when a quota is changed.
///
/// "The most" is the burst of a bucket, and the limit of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carry {
    /// As many units as were in use are in use under the new quota, even where that is more than the most that it allows.
    ///
    /// Nobody sheds anything; but whoever has used up a large quota may have to wait for long under a small one.
    Absolute,

    /// As large a share of the most as was in use is in use, rounded up to whole units in a window.
    ///
    /// Whoever was at the old limit is at the new one, and whoever had half left has half left. To and fro, what is rounded up
    /// adds up; never against the limit.
    Proportional,
}

/// An algorithm whose quota can be changed while it is in use, by all who use it, and what was consumed is kept.
///
/// In place of the algorithm, in a single limiter or one limiter per key: `RateLimiter<Live<TokenBucket>>`. Then there is
/// [`RateLimiter::set_quota`], and [`KeyedLimiter::set_quota`](crate::KeyedLimiter::set_quota). A quota is changed as a
/// whole, with all its fields. A limiter that has no `Live` in it pays nothing for this.
///
/// ```
/// use tollgate::{Carry, Limiter, Live, ManualClock, Quota, RateLimiter, TokenBucket};
///
/// let bucket = Live::<TokenBucket>::new(Quota::per_second(100).burst(10))?;
/// let limiter = RateLimiter::with_clock(bucket, ManualClock::new());
/// assert_eq!(limiter.check_n(6)?.remaining, 4);
///
/// // Six are in use, and stay so; then six of eight are as large a share as fifteen of twenty.
/// limiter.set_quota(Quota::per_second(100).burst(8), Carry::Absolute)?;
/// assert_eq!(limiter.peek_n(0)?.remaining, 2);
/// limiter.set_quota(Quota::per_second(500).burst(20), Carry::Proportional)?;
/// assert_eq!(limiter.peek_n(0)?.remaining, 5);
///
/// // What cannot be is refused, and changes nothing.
/// assert!(limiter.set_quota(Quota::per_second(0), Carry::Absolute).is_err());
/// assert_eq!(limiter.algorithm().quota(), Quota::per_second(500).burst(20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What others see of a change
///
/// Each state goes from the old quota to the new one at one instant, within the call: no check is decided by half of one and
/// half of the other. Nobody waits, but for newcomers to the same sets of a table, for about a microsecond. When the call
/// returns, all states are under the new quota. Changes come one at a time; who makes the second waits for the first.
///
/// What was taken under an older quota is not [undone](crate::Undo): it is in use until time has regained it. A
/// [`Composite`](crate::Composite) that takes a part, and is refused by another while the quota of the first is changed, has
/// lost these units.
///
/// Windows keep their counts where the period stays the same. Where it does not, what is in use counts as taken in the
/// current window of the new period, and is forgotten with it. If the clock has stepped back, what is in use by its present
/// time is what counts.
///
/// What is in use is kept up to what a word can hold under the new quota, which is more than anybody waits for: what a bucket
/// regains until [the horizon](Timestamp::HORIZON), and the largest limit that a window of the period can have. A quota
/// that is so small that this is less than what is in use, and then a larger one again, does shed the difference.
///
/// # What it costs
///
/// A check takes some nanoseconds more, to find the rule. Memory is the same, 8 bytes a state: of these, 8 bits tell the quota
/// under which it was written. So there are 8 bits less for the rest:
///
/// | | most | without `Live` |
/// | --- | --- | --- |
/// | buckets | 8.3 × 10^6 per second, a burst of 3.6 × 10^16 | 4 × 10^12, 4.6 × 10^18 |
/// | a bucket's rounding | 0.12 µs, and 2^-55 of the time in which it fills | 0.47 ns, 2^-63 |
/// | fixed window | 1.6 × 10^7 per second, 5.3 × 10^8 per minute | 4.2 × 10^9, 1.3 × 10^11 |
/// | sliding window | 4,095 per second, 16,383 per minute, 131,071 per hour | 65,535, 262,143, 2,097,151 |
///
/// The sliding log has no live form, and a live limiter cannot be booked ahead of time: neither compiles. One can wait in a
/// `Line` for it; whoever is first there asks again when its wait by the old quota is over, or is told to by `recheck`.
///
/// ```compile_fail,E0277
/// use tollgate::{Live, Quota, SlidingLog};
///
/// let log = Live::<SlidingLog>::new(Quota::per_second(10)); // `SlidingLog` has no live form
/// ```
pub struct Live<A> {
    banks: [CachePadded<Bank>; 2],
    version: AtomicU64,
    /// Held by whoever changes the quota.
    latch: AtomicU64,
    /// How states of the version before the present one are to be brought over, if not all of them have been.
    unsettled: AtomicU64,
    algorithm: PhantomData<A>,
}

/// The bits of a tag, and of what a rule has for itself.
const TAG_BITS: u32 = 8;
const BITS: u32 = u64::BITS - TAG_BITS;
const WORD: u64 = u64::MAX >> TAG_BITS;
const TAG: u64 = (1 << TAG_BITS) - 1;

/// The words of the longest rule.
const WORDS: usize = 15;

/// What [`Live::unsettled`] says.
const SETTLED: u64 = 0;
const ABSOLUTE: u64 = 1;
const PROPORTIONAL: u64 = 2;

/// A rule, and its version: of the other bank's while the rule is being written.
#[derive(Debug)]
struct Bank {
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// What was taken, and under which version of the quota.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    version: u64,
    step: Step,
}

/// A rule and its version.
struct Versioned<A> {
    version: u64,
    rule: A,
}

impl<A> Versioned<A> {
    /// The word of a state, with the version's tag.
    #[inline(always)]
    const fn tagged(&self, word: u64) -> u64 {
        self.version << BITS | word & WORD
    }
}

#[inline(always)]
const fn tag(word: u64) -> u64 {
    word >> BITS
}

impl<A: Adjustable> Live<A> {
    /// The algorithm, with a quota to begin with. A bucket begins full.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] as for the algorithm itself, but its largest limits and bursts are smaller; see
    /// [above](Self#what-it-costs).
    pub fn new(quota: Quota) -> Result<Self, QuotaError> {
        let live = Self {
            banks: [Bank::new(), Bank::new()].map(CachePadded::new),
            version: AtomicU64::new(0),
            latch: AtomicU64::new(0),
            unsettled: AtomicU64::new(SETTLED),
            algorithm: PhantomData,
        };
        live.banks[0].write(&A::within(quota, BITS)?, 0);
        Ok(live)
    }

    /// The present quota.
    ///
    /// While it is being changed, some states may still be under the one before.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.present().rule.quota()
    }

    /// Makes `quota` the present one; `bring_over` must do that to all states that there are, with [`bring_over`].
    ///
    /// [`bring_over`]: Self::bring_over
    pub(crate) fn change(&self, quota: Quota, carry: Carry, bring_over: impl Fn()) -> Result<(), QuotaError> {
        let rule = A::within(quota, BITS)?;
        let _held = Latch::new(&self.latch).hold();
        // Relaxed, all that only its holder writes: the latch orders them.
        let settle = || {
            bring_over();
            self.unsettled.store(SETTLED, Ordering::Relaxed);
        };
        if self.unsettled.load(Ordering::Relaxed) != SETTLED {
            // Somebody's clock has panicked half-way.
            settle();
        }
        if quota == self.quota() {
            return Ok(());
        }
        let version = self.version.load(Ordering::Relaxed).wrapping_add(1);
        let carry = match carry {
            Carry::Absolute => ABSOLUTE,
            Carry::Proportional => PROPORTIONAL,
        };
        self.bank(version).write(&rule, version);
        self.unsettled.store(carry, Ordering::Relaxed);
        self.version.store(version, Ordering::Release);
        settle();
        Ok(())
    }

    /// Brings a state of the version before the present one over. Only for [`change`](Self::change).
    ///
    /// No one else may have acted on the state at a time later than what `latest` says after its word was loaded.
    pub(crate) fn bring_over(&self, place: Place<'_>, latest: impl Fn() -> Timestamp) {
        let carry = self.unsettled_carry();
        let present = self.present();
        let Ok(()) = replace(place, Sole, |word| {
            if tag(word) == present.version & TAG {
                return Some(word);
            }
            let before = self.versioned(tag(word))?;
            Some(present.tagged(present.rule.carry(word & WORD, &before.rule, carry, latest())))
        });
    }

    /// How states of the version before the present one are to be brought over.
    fn unsettled_carry(&self) -> Carry {
        match self.unsettled.load(Ordering::Relaxed) {
            PROPORTIONAL => Carry::Proportional,
            _ => Carry::Absolute,
        }
    }

    #[inline(always)]
    fn bank(&self, version: u64) -> &Bank {
        &self.banks[(version & 1) as usize]
    }

    /// The rule of words with this tag; `None` if there are none any more.
    #[inline(always)]
    fn versioned(&self, tag: u64) -> Option<Versioned<A>> {
        let bank = self.bank(tag);
        let version = bank.version.load(Ordering::Acquire);
        let rule = A::restore(|nth| bank.words[nth].load(Ordering::Acquire));
        let whole = version & TAG == tag && bank.version.load(Ordering::Acquire) == version;
        whole.then_some(Versioned { version, rule })
    }

    fn present(&self) -> Versioned<A> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            if let Some(found) = self.versioned(version & TAG)
                && found.version == version
            {
                return found;
            }
        }
    }

    /// What a key without a state of its own begins with: the word that such keys share, or if they never had to, that of a
    /// key that was never seen. For who holds the latch of that word.
    fn unseen(&self, shared: Place<'_>, begun: Timestamp, now: Timestamp) -> (Versioned<A>, u64) {
        loop {
            let word = shared.word.load(Ordering::Acquire);
            if word == 0 {
                let present = self.present();
                let word = present.rule.unseen(begun, now) & WORD;
                return (present, word);
            }
            if let Some(found) = self.versioned(tag(word)) {
                return (found, word & WORD);
            }
        }
    }

    /// What `ask` says of the word in `place`, by the rule under which it was written.
    #[inline(always)]
    fn look<O: Owner, T>(
        &self,
        place: Place<'_>,
        owner: O,
        ask: impl Fn(&Versioned<A>, u64) -> T,
    ) -> Result<T, O::Gone> {
        loop {
            let word = place.word.load(Ordering::Acquire);
            owner.confirm()?;
            if let Some(found) = self.versioned(tag(word)) {
                return Ok(ask(&found, word & WORD));
            }
        }
    }

    /// Makes the word in `place` what `next` says by the rule under which it was written.
    fn change_word<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        next: impl Fn(&Versioned<A>, u64) -> u64,
    ) -> Result<(), O::Gone> {
        replace(place, owner, |word| {
            let found = self.versioned(tag(word))?;
            Some(found.tagged(next(&found, word & WORD)))
        })
    }
}

/// Makes the word in `place` what `next` says, whatever it is; where it says nothing, the word is loaded again.
fn replace<O: Owner>(place: Place<'_>, owner: O, next: impl Fn(u64) -> Option<u64>) -> Result<(), O::Gone> {
    let update = |word| next(word).map(|next| ((), next)).ok_or(());
    while cell::update(place.word, owner, &By(&update))?.is_err() {}
    Ok(())
}

/// An update of a word by a function.
struct By<'a, F>(&'a F);

impl<T, E, F: Fn(u64) -> Result<(T, u64), E>> Update for By<'_, F> {
    type Answer = T;
    type Refusal = E;

    #[inline(always)]
    fn apply(&self, word: u64) -> Result<(T, u64), E> {
        (self.0)(word)
    }
}

impl Bank {
    fn new() -> Self {
        Self { version: AtomicU64::new(0), words: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Makes this the rule of `version`. Only for who changes the quota, once no state has the version that is here.
    fn write(&self, rule: &impl Adjustable, version: u64) {
        // Release: who finds the version gone, and loads the word again, finds one of a later version.
        self.version.store(version.wrapping_sub(1), Ordering::Release);
        let words = rule.save();
        for (kept, &word) in self.words.iter().zip(words.as_ref()) {
            kept.store(word, Ordering::Release);
        }
        self.version.store(version, Ordering::Release);
    }
}

impl<A> Sealed for Live<A> {}

impl<A: Adjustable> Algorithm for Live<A> {
    type Taken = Taken;

    fn quota(&self) -> Quota {
        self.quota()
    }

    fn is_live(&self) -> bool {
        true
    }

    #[inline(always)]
    fn beside(&self) -> usize {
        0
    }

    fn initial(&self, now: Timestamp) -> u64 {
        let present = self.present();
        present.tagged(present.rule.fresh(now))
    }

    #[inline(always)]
    fn take<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Answer<Taken>, O::Gone> {
        let take = Take { live: self, cost, leave, now };
        loop {
            match cell::update(place.word, owner, &take)? {
                Ok(answer) => return Ok(Ok(answer)),
                Err(Some(denied)) => return Ok(Err(denied)),
                // The word was out of date.
                Err(None) => {}
            }
        }
    }

    #[inline(always)]
    fn peek<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Decision, O::Gone> {
        self.look(place, owner, |found, word| decide(&found.rule, word, cost, leave, now).map(|(allowed, _)| allowed))
    }

    fn forecast<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Result<Option<Duration>, O::Gone> {
        self.look(place, owner, |Versioned { rule, .. }, word| {
            rule.forecast(word, ahead, cost, units(rule, leave), now)
        })
    }

    fn forecast_shared(
        &self,
        shared: Place<'_>,
        begun: Timestamp,
        ahead: u64,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Option<Duration> {
        let (found, word) = self.unseen(shared, begun, now);
        found.rule.forecast(word, ahead, cost, units(&found.rule, leave), now)
    }

    fn undo<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        taken: Taken,
        cost: u64,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone> {
        let step = taken.step;
        self.change_word(place, owner, |found, word| {
            if found.version == taken.version {
                found.rule.undo(word, &step, cost.min(step.cost), latest())
            } else {
                word
            }
        })
    }

    fn refund<O: Owner>(&self, place: Place<'_>, owner: O, cost: u64, now: Timestamp) -> Result<(), O::Gone> {
        self.change_word(place, owner, |found, word| found.rule.give_back(word, cost, now))
    }

    fn reset<O: Owner>(&self, place: Place<'_>, owner: O, begun: Timestamp, now: Timestamp) -> Result<(), O::Gone> {
        self.change_word(place, owner, |found, _| found.rule.unseen(begun, now))
    }

    fn recovered_word(&self, place: Place<'_>, now: Timestamp) -> Option<u64> {
        let word = place.word.load(Ordering::Acquire);
        let recovered = self.versioned(tag(word))?.rule.recovered(word & WORD, now);
        recovered.then_some(word)
    }

    fn peek_shared(&self, shared: Place<'_>, begun: Timestamp, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        let (found, word) = self.unseen(shared, begun, now);
        decide(&found.rule, word, cost, leave, now).map(|(allowed, _)| allowed)
    }

    fn check_shared(
        &self,
        shared: Place<'_>,
        begun: Timestamp,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
    ) -> Decision {
        let (found, word) = self.unseen(shared, begun, now);
        let (allowed, next) = decide(&found.rule, word, cost, leave, now)?;
        if cost > 0 {
            // 0 says that none ever had to.
            shared.word.store(found.tagged(next).max(1), Ordering::Release);
        }
        Ok(allowed)
    }

    fn begin(
        &self,
        place: Place<'_>,
        word: u64,
        (shared, begun): (Place<'_>, Timestamp),
        cost: u64,
        now: Timestamp,
    ) -> Result<Taken, Moved> {
        let (found, unseen) = self.unseen(shared, begun, now);
        // They may have been found to pass by another quota.
        let Ok((_, next)) = found.rule.step(unseen, cost, now) else { return Err(Moved) };
        let step = Step { after: next & WORD, cost, at: now };
        let swapped = place.word.compare_exchange(word, found.tagged(next), Ordering::AcqRel, Ordering::Relaxed);
        swapped.map(|_| Taken { version: found.version, step }).map_err(|_| Moved)
    }

    fn carry_over<O: Owner>(
        &self,
        place: Place<'_>,
        owner: O,
        from: &Self,
        latest: impl Fn() -> Timestamp,
    ) -> Result<(), O::Gone> {
        let present = self.present();
        replace(place, owner, |word| {
            let before = from.versioned(tag(word))?;
            Some(present.tagged(present.rule.carry(word & WORD, &before.rule, Carry::Absolute, latest())))
        })
    }
}

/// Taking `cost` units at `now` and leaving `leave`, as an update of a word; it refuses for no reason if the word was out of
/// date. Not a closure, as these are not sure to be inlined.
struct Take<'a, A> {
    live: &'a Live<A>,
    cost: u64,
    leave: Headroom,
    now: Timestamp,
}

impl<A: Adjustable> Update for Take<'_, A> {
    type Answer = (Allowed, Taken);
    type Refusal = Option<Denied>;

    #[inline(always)]
    fn apply(&self, word: u64) -> Result<(Self::Answer, u64), Option<Denied>> {
        let Self { live, cost, leave, now } = *self;
        let found = live.versioned(tag(word)).ok_or(None)?;
        let (allowed, next) = decide(&found.rule, word & WORD, cost, leave, now).map_err(Some)?;
        let step = Step { after: next & WORD, cost, at: now };
        Ok(((allowed, Taken { version: found.version, step }), found.tagged(next)))
    }
}

/// How many units `leave` is of what the rule allows.
#[inline(always)]
fn units(rule: &impl Adjustable, leave: Headroom) -> u64 {
    leave.of(|| most(rule.quota()))
}

/// The answer of the rule, and the word that follows.
#[inline(always)]
fn decide(
    rule: &impl Adjustable,
    word: u64,
    cost: u64,
    leave: Headroom,
    now: Timestamp,
) -> Result<(Allowed, u64), Denied> {
    rule.step_leaving(word, cost, units(rule, leave), now)
}

/// Of all states under the present quota, which stays what it is meanwhile.
#[cfg(feature = "serde")]
impl<A: Adjustable + SaveWord> Save for Live<A> {
    const NAME: &'static str = A::LIVE_NAME;

    fn hold(&self) -> Option<Held<'_>> {
        Some(Latch::new(&self.latch).hold())
    }

    fn save(&self, place: Place<'_>, now: Timestamp) -> State {
        let present = self.present();
        let Ok(word) = self.look(place, Sole, |found, word| {
            if found.version == present.version {
                return word;
            }
            // Somebody's clock has panicked half-way through a change.
            present.rule.carry(word, &found.rule, self.unsettled_carry(), now)
        });
        present.rule.save_word(word, now)
    }

    fn load(&self, place: Place<'_>, state: &State, shift: &Shift) -> Option<()> {
        let present = self.present();
        place.word.store(present.tagged(present.rule.load_word(state, shift)?), Ordering::Release);
        Some(())
    }
}

impl<A: Adjustable> fmt::Debug for Live<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versioned { version, rule } = self.present();
        f.debug_struct("Live").field("rule", &rule).field("version", &version).finish()
    }
}

impl<A: Adjustable, C: Clock> RateLimiter<Live<A>, C> {
    /// Changes the quota, all of its fields at once, and keeps what was consumed as `carry` says.
    ///
    /// To those who check meanwhile it happens at one instant. [`Live`] says more.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the algorithm cannot have such a quota; then nothing is changed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{Carry, Limiter, Live, ManualClock, Quota, RateLimiter, SlidingWindow};
    ///
    /// let limiter = RateLimiter::with_clock(Live::<SlidingWindow>::new(Quota::per_hour(1_000))?, ManualClock::new());
    /// assert!(limiter.check_n(1_000).is_ok());
    ///
    /// limiter.set_quota(Quota::per_hour(1_500), Carry::Absolute)?;
    /// assert_eq!(limiter.peek_n(0)?.remaining, 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quota(&self, quota: Quota, carry: Carry) -> Result<(), QuotaError> {
        let live = self.algorithm();
        live.change(quota, carry, || live.bring_over(self.place(), || self.clock().now()))
    }
}
