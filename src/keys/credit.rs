//! A balance that is spent, and refilled a period at a time.
//!
//! Not a rate: what is not spent in one period is there in the next, up to a maximum, and all of a refill comes at once, at
//! the beginning of a period. Prepaid calls are credits without a refill.
//!
//! - **Equation**: in period `k = floor((now - start) / period)`, where the word says `(j, balance)`, there are
//!   `min(most, balance + max(0, k - j) * refill)`; the word's next value is `(max(j, k), that - cost)`.
//! - **Bound**: what there was at first, and `refill` for each period that has begun since; never more than `most` at once.
//! - **Memory**: 8 bytes.

use alloc::sync::Arc;
use core::{convert::Infallible, fmt, time::Duration};

use super::{KeyId, UnixTime, table::Table};
use crate::{
    cell::{Sole, Update, update},
    sync::{AtomicU64, Ordering},
};

/// How credits come: at most so many, refilled by so many a period, or never.
///
/// ```
/// use std::time::Duration;
/// use tollgate::keys::CreditPlan;
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let prepaid = CreditPlan::prepaid(1_000_000)?;
/// let daily = CreditPlan::refilled(1_000, DAY)?; // at midnight UTC; what is left over is lost
/// let saving = CreditPlan::refilled(1_000, DAY)?.up_to(5_000)?; // what is left over is kept, to a limit
/// assert_eq!((prepaid.most(), daily.most(), saving.most()), (1_000_000, 1_000, 5_000));
/// # Ok::<(), tollgate::keys::CreditError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditPlan {
    most: u64,
    refill: u64,
    /// In seconds; without a refill, longer than time lasts.
    period: u64,
    start: UnixTime,
}

impl CreditPlan {
    /// The last second that is told apart from later ones, in the year 2242: no refill comes after it.
    const HORIZON: u64 = (1 << 33) - 1;

    /// Credits that are never refilled, at most `most` of them.
    ///
    /// # Errors
    ///
    /// [`CreditError::Zero`].
    pub const fn prepaid(most: u64) -> Result<Self, CreditError> {
        Self { most, refill: 0, period: u64::MAX, start: UnixTime::EPOCH }.checked()
    }

    /// `refill` credits at the beginning of each `period`, in whole seconds, and no more than that at once.
    ///
    /// # Errors
    ///
    /// [`CreditError`] if one of them is zero, the period is not whole seconds, or so many do not fit in the state
    /// beside the number of the period: 4 × 10^9 of them do at periods of 2 seconds, 10^14 at periods of a day.
    pub const fn refilled(refill: u64, period: Duration) -> Result<Self, CreditError> {
        if period.as_secs() == 0 || period.subsec_nanos() != 0 {
            return Err(CreditError::Period { period });
        }
        Self { most: refill, refill, period: period.as_secs(), start: UnixTime::EPOCH }.checked()
    }

    /// The same refill, but up to `most` credits are kept.
    ///
    /// # Errors
    ///
    /// [`CreditError`] if that is zero or does not fit in the state.
    pub const fn up_to(self, most: u64) -> Result<Self, CreditError> {
        Self { most, ..self }.checked()
    }

    /// The same refill, but its periods are counted from `start`, the day of the month of a subscription say. Before it
    /// there is no refill.
    #[must_use]
    pub const fn starting_at(self, start: UnixTime) -> Self {
        Self { start, ..self }
    }

    /// The most credits that there can be.
    #[must_use]
    pub const fn most(&self) -> u64 {
        self.most
    }

    const fn checked(self) -> Result<Self, CreditError> {
        if self.most == 0 {
            return Err(CreditError::Zero);
        }
        let fits = self.mask();
        if self.most > fits {
            return Err(CreditError::TooMany { most: self.most, fits });
        }
        Ok(self)
    }

    /// How many bits of the word are the balance; the rest are the period's number.
    const fn balance_bits(&self) -> u32 {
        (Self::HORIZON / self.period).leading_zeros()
    }

    const fn mask(&self) -> u64 {
        match self.balance_bits() {
            64.. => u64::MAX,
            bits => (1 << bits) - 1,
        }
    }

    /// The number of the period that `now` is in.
    fn period_at(&self, now: UnixTime) -> u64 {
        now.as_secs().min(Self::HORIZON).saturating_sub(self.start.as_secs()) / self.period
    }

    /// The period and the balance that a word holds, brought up to `now`.
    #[inline]
    fn read(&self, word: u64, now: UnixTime) -> (u64, u64) {
        let (period, balance) = (word.checked_shr(self.balance_bits()).unwrap_or(0), word & self.mask());
        let current = self.period_at(now);
        // An earlier time than that of the last refill finds none.
        let refills = current.saturating_sub(period);
        (current.max(period), balance.saturating_add(refills.saturating_mul(self.refill)).min(self.most))
    }

    fn word(&self, period: u64, balance: u64) -> u64 {
        period.checked_shl(self.balance_bits()).unwrap_or(0) | balance
    }

    /// How long after `now`, in which period `period` is current, until the balance has grown by `missing`.
    #[cold]
    fn wait(&self, missing: u64, period: u64, now: UnixTime) -> Option<Duration> {
        let periods = period.checked_add(missing.div_ceil(self.refill.max(1)))?;
        let at = periods.checked_mul(self.period)?.checked_add(self.start.as_secs())?;
        (self.refill > 0 && at <= Self::HORIZON).then(|| Duration::from_secs(at.saturating_sub(now.as_secs())))
    }
}

/// The credits of one key, family or owner: a balance in one atomic word.
///
/// Any number of threads that race for the same credits spend each of them once. Refills happen when somebody looks.
///
/// ```
/// use std::time::Duration;
/// use tollgate::keys::{CreditPlan, Credits, UnixTime};
///
/// let plan = CreditPlan::refilled(100, Duration::from_secs(3600))?;
/// let start = UnixTime::from_secs(3600 * 1000);
/// let credits = Credits::new(plan, start);
///
/// assert_eq!(credits.spend(80, start)?, 20);
/// let refused = credits.spend(30, start).unwrap_err();
/// assert_eq!((refused.balance, refused.retry_after), (20, Some(Duration::from_secs(3600))));
/// assert_eq!(credits.spend(30, start + Duration::from_secs(3600))?, 70);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Credits {
    plan: CreditPlan,
    word: AtomicU64,
}

impl Credits {
    /// As many credits as the plan allows.
    #[must_use]
    pub fn new(plan: CreditPlan, now: UnixTime) -> Self {
        Self::with_balance(plan, plan.most, now)
    }

    /// So many credits, or as many as the plan allows; to go on with a [`balance`](Self::balance) that was stored.
    ///
    /// `now` is the time of that balance: refills that came due since then will be made.
    #[must_use]
    pub fn with_balance(plan: CreditPlan, balance: u64, now: UnixTime) -> Self {
        Self { plan, word: AtomicU64::new(plan.word(plan.period_at(now), balance.min(plan.most))) }
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &CreditPlan {
        &self.plan
    }

    /// How many credits there are at `now`.
    #[must_use]
    pub fn balance(&self, now: UnixTime) -> u64 {
        self.plan.read(self.word.load(Ordering::Relaxed), now).1
    }

    /// Spends `cost` credits, and returns how many are left. A cost of 0 asks whether there is one, and spends none.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if there are not so many; none are spent then.
    #[inline]
    pub fn spend(&self, cost: u64, now: UnixTime) -> Result<u64, Exhausted> {
        let Ok(answer) = update(&self.word, Sole, &Spend { plan: &self.plan, cost, now });
        answer
    }

    /// Adds credits, as many as the plan allows: for a purchase, or for what was spent in vain.
    ///
    /// Returns how many there are then.
    pub fn add(&self, credits: u64, now: UnixTime) -> u64 {
        let Ok(Ok(balance)) = update(&self.word, Sole, &Add { plan: &self.plan, credits, now });
        balance
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let balance = self.word.load(Ordering::Relaxed) & self.plan.mask();
        f.debug_struct("Credits").field("plan", &self.plan).field("balance", &balance).finish()
    }
}

/// The credits of all that have some, by the id of the key's [family](super::Record::family).
///
/// ```
/// # let family: tollgate::keys::KeyId = "4eC39HqLyjWDarjt".parse().unwrap();
/// use tollgate::keys::{CreditPlan, CreditTable, Credits, UnixTime};
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// let table = CreditTable::new();
/// table.open(family, Credits::new(CreditPlan::prepaid(1_000)?, now));
/// let credits = table.get(&family).expect("they were just opened");
/// assert_eq!(credits.spend(1, now)?, 999);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct CreditTable {
    accounts: Table<Arc<Credits>>,
}

impl CreditTable {
    /// A table without credits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The credits of `family` from now on. Returns those that it had, if it had any.
    ///
    /// Families that are given the same `Arc` share its credits: all keys of an owner, say.
    pub fn open(&self, family: KeyId, credits: impl Into<Arc<Credits>>) -> Option<Arc<Credits>> {
        self.accounts.write().insert(family, credits.into())
    }

    /// The credits of `family`; `None` if it has none to count.
    #[must_use]
    pub fn get(&self, family: &KeyId) -> Option<Arc<Credits>> {
        self.accounts.read().get(family).cloned()
    }

    /// Forgets the credits of `family`, and returns them.
    pub fn close(&self, family: &KeyId) -> Option<Arc<Credits>> {
        self.accounts.write().remove(family)
    }
}

struct Spend<'a> {
    plan: &'a CreditPlan,
    cost: u64,
    now: UnixTime,
}

impl Update for Spend<'_> {
    type Answer = u64;
    type Refusal = Exhausted;

    #[inline(always)]
    fn apply(&self, word: u64) -> Result<(u64, u64), Exhausted> {
        let (period, balance) = self.plan.read(word, self.now);
        let asked = self.cost.max(1);
        if balance < asked {
            let reachable = asked <= self.plan.most;
            let retry_after = reachable.then(|| self.plan.wait(asked - balance, period, self.now)).flatten();
            return Err(Exhausted { balance, retry_after });
        }
        let left = balance - self.cost;
        Ok((left, if self.cost == 0 { word } else { self.plan.word(period, left) }))
    }
}

struct Add<'a> {
    plan: &'a CreditPlan,
    credits: u64,
    now: UnixTime,
}

impl Update for Add<'_> {
    type Answer = u64;
    type Refusal = Infallible;

    fn apply(&self, word: u64) -> Result<(u64, u64), Infallible> {
        let (period, balance) = self.plan.read(word, self.now);
        let balance = balance.saturating_add(self.credits).min(self.plan.most);
        Ok((balance, self.plan.word(period, balance)))
    }
}

/// There are not so many credits; none were spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("out of credits: {balance} left, {}", Advice(*retry_after))]
#[non_exhaustive]
pub struct Exhausted {
    /// How many there are: fewer than were asked for.
    pub balance: u64,
    /// How long until refills have brought as many as were asked for, if none are spent, in whole seconds.
    ///
    /// `None` means that no wait can help: there is no refill, or the cost is more than is ever kept.
    pub retry_after: Option<Duration>,
}

/// What to tell the caller in one clause.
struct Advice(Option<Duration>);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, "retry after {wait:?}"),
            None => f.write_str("and no refill brings as many as were asked for"),
        }
    }
}

/// Why a plan was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreditError {
    /// The plan has no credits.
    #[error("credits: 0 would refuse everything; use at least 1")]
    Zero,

    /// The period is not whole seconds, at least one.
    #[error("period: {period:?} is not whole seconds; use at least 1 s")]
    Period {
        /// The period that was asked for.
        period: Duration,
    },

    /// So many do not fit in the state beside the period's number.
    #[error("credits: {most} are too many for this period; use at most {fits}, or a longer period")]
    TooMany {
        /// How many were asked for.
        most: u64,
        /// How many fit.
        fits: u64,
    },
}
