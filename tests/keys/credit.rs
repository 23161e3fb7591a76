//! Credits: each is spent once, and refills come on time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use proptest::prelude::*;
use tollgate::keys::{CreditError, CreditPlan, CreditTable, Credits, UnixTime};

use super::secs;

fn plan(refill: u64, period: u64) -> CreditPlan {
    CreditPlan::refilled(refill, Duration::from_secs(period)).unwrap()
}

#[test]
fn prepaid_credits_end() {
    let credits = Credits::new(CreditPlan::prepaid(3).unwrap(), secs(0));
    assert_eq!(credits.spend(2, secs(0)), Ok(1));
    let refused = credits.spend(2, secs(u64::MAX)).unwrap_err();
    assert_eq!((refused.balance, refused.retry_after), (1, None));
    assert_eq!(refused.to_string(), "out of credits: 1 left, and no refill brings as many as were asked for");
    assert_eq!(credits.spend(1, secs(0)), Ok(0));
    assert_eq!(credits.spend(0, secs(0)).unwrap_err().balance, 0, "a cost of 0 asks whether there is one");
    assert_eq!(credits.add(2, secs(0)), 2);
    assert_eq!(credits.add(u64::MAX, secs(0)), 3, "no more than the plan allows");
    assert_eq!(Credits::new(CreditPlan::prepaid(u64::MAX).unwrap(), secs(0)).balance(secs(5)), u64::MAX);
}

/// A refill that is counted from when somebody looked, so that looking late loses some.
#[test]
fn refills_come_at_the_beginning_of_a_period() {
    let credits = Credits::with_balance(plan(10, 60).up_to(25).unwrap(), 0, secs(119));
    assert_eq!(credits.balance(secs(119)), 0);
    assert_eq!(credits.balance(secs(120)), 10);
    assert_eq!(credits.spend(1, secs(179)), Ok(9));
    assert_eq!(credits.spend(1, secs(180)), Ok(18));
    assert_eq!(credits.balance(secs(240)), 25, "no more than is kept");
    assert_eq!(credits.balance(secs(u64::MAX)), 25);
    let waiting = credits.spend(25, secs(181)).unwrap_err();
    assert_eq!((waiting.balance, waiting.retry_after), (18, Some(Duration::from_secs(59))));
    assert_eq!(waiting.to_string(), "out of credits: 18 left, retry after 59s");
    assert_eq!(credits.spend(26, secs(181)).unwrap_err().retry_after, None, "more than is ever kept");
}

/// A month that begins on the day of the subscription, not on the first.
#[test]
fn periods_can_begin_anywhere() {
    let credits = Credits::with_balance(plan(10, 60).starting_at(secs(130)), 3, secs(0));
    for (now, balance) in [(0, 3), (130, 3), (189, 3), (190, 10), (250, 10)] {
        assert_eq!(credits.balance(secs(now)), balance, "at {now}");
    }
    assert_eq!(credits.spend(4, secs(0)).unwrap_err().retry_after, Some(Duration::from_secs(190)));
}

/// A clock that steps back over the beginning of a period and forth again: the refill is made twice.
#[test]
fn a_clock_that_steps_back_refills_nothing() {
    let credits = Credits::new(plan(10, 60), secs(600));
    assert_eq!(credits.spend(10, secs(600)), Ok(0));
    assert_eq!(credits.spend(1, secs(599)).unwrap_err().balance, 0);
    assert_eq!(credits.add(0, secs(10)), 0);
    assert_eq!(credits.balance(secs(600)), 0);
    assert_eq!(credits.balance(secs(660)), 10);
}

#[test]
fn plans_are_checked() {
    assert_eq!(CreditPlan::prepaid(0), Err(CreditError::Zero));
    assert_eq!(CreditPlan::refilled(0, Duration::from_secs(1)), Err(CreditError::Zero));
    for period in [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(1_500)] {
        assert_eq!(CreditPlan::refilled(1, period), Err(CreditError::Period { period }));
    }
    let fits = (1 << 31) - 1;
    assert_eq!(plan(fits, 1).most(), fits);
    let too_many = CreditPlan::refilled(fits + 1, Duration::from_secs(1));
    assert_eq!(too_many, Err(CreditError::TooMany { most: fits + 1, fits }));
    assert_eq!(plan(1, 1).up_to(fits + 1), Err(CreditError::TooMany { most: fits + 1, fits }));
    assert_eq!(plan(1, 1).up_to(0), Err(CreditError::Zero));
    assert!(CreditPlan::refilled(100_000_000_000_000, Duration::from_secs(24 * 60 * 60)).is_ok());
    assert!(CreditPlan::refilled(u64::MAX, Duration::from_secs(u64::MAX)).is_ok());
}

/// The same, step by step, in 128 bits and without a word to fit in.
struct Reference {
    most: u128,
    refill: u128,
    period: u64,
    start: u64,
    at: u64,
    balance: u128,
}

impl Reference {
    /// The balance as it is seen at `now`; only a change makes that the time from which refills are counted.
    fn seen(&self, now: u64) -> u128 {
        let period = |now: u64| now.min((1 << 33) - 1).saturating_sub(self.start) / self.period;
        let periods = period(now).saturating_sub(period(self.at));
        (self.balance + u128::from(periods) * self.refill).min(self.most)
    }

    fn change(&mut self, now: u64, balance: u128) {
        self.balance = balance;
        self.at = self.at.max(now);
    }
}

proptest! {
    #[test]
    fn credits_agree_with_the_reference(
        refill in prop_oneof![1..20u64, Just(1 << 31), Just((1 << 31) - 1)],
        most in prop_oneof![1..50u64, Just((1 << 31) - 1)],
        period in prop_oneof![1..5u64, Just(86_400), Just(1 << 33), Just(u64::MAX)],
        start in prop_oneof![Just(0u64), 0..100u64, Just(u64::MAX)],
        first in prop_oneof![0..50u64, Just(1 << 33), Just(u64::MAX)],
        steps in proptest::collection::vec((0..3u8, prop_oneof![0..20u64, Just(86_400), Just(u64::MAX)], any::<bool>(),
            prop_oneof![0..30u64, Just(1 << 31), Just(u64::MAX)]), 1..40),
    ) {
        let Ok(plan) = CreditPlan::refilled(refill, Duration::from_secs(period)).and_then(|plan| plan.up_to(most)) else {
            return Ok(());
        };
        let plan = plan.starting_at(secs(start));
        let credits = Credits::with_balance(plan, first, secs(first));
        let mut reference = Reference {
            most: most.into(), refill: refill.into(), period, start, at: first, balance: u128::from(first.min(most)),
        };
        let mut now = first;
        for (what, move_by, back, amount) in steps {
            now = if back { now.saturating_sub(move_by) } else { now.saturating_add(move_by) };
            let (at, seen) = (secs(now), reference.seen(now));
            match what {
                0 => {
                    let asked = u128::from(amount.max(1));
                    match credits.spend(amount, at) {
                        Ok(left) => {
                            prop_assert!(seen >= asked);
                            prop_assert_eq!(u128::from(left), seen - u128::from(amount));
                            if amount > 0 {
                                reference.change(now, left.into());
                            }
                        }
                        Err(refused) => {
                            prop_assert!(seen < asked);
                            prop_assert_eq!(u128::from(refused.balance), seen);
                            // An honest wait: the same passes after it, and not a second earlier.
                            if let Some(wait) = refused.retry_after {
                                let later = |seconds: u64| credits.balance(secs(now.saturating_add(seconds)));
                                prop_assert!(u128::from(later(wait.as_secs())) >= asked);
                                prop_assert!(u128::from(later(wait.as_secs() - 1)) < asked);
                            } else {
                                prop_assert!(u128::from(credits.balance(UnixTime::MAX)) < asked);
                            }
                        }
                    }
                }
                1 => {
                    reference.change(now, (seen + u128::from(amount)).min(reference.most));
                    prop_assert_eq!(u128::from(credits.add(amount, at)), reference.balance);
                }
                _ => prop_assert_eq!(u128::from(credits.balance(at)), seen),
            }
        }
    }
}

/// Two atomics, or a check and then an update: of C credits, more than C were spent. On real threads; loom has the rest.
#[test]
fn many_threads_spend_each_credit_once() {
    for round in 0..20 {
        let credits = Credits::new(plan(1_000, 60), secs(60 * round));
        let spent = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (credits, spent) = (&credits, &spent);
                scope.spawn(move || {
                    while credits.spend(1 + thread % 2, secs(60 * round)).is_ok() {
                        spent.fetch_add(1 + thread % 2, Ordering::Relaxed);
                    }
                });
            }
        });
        // Whoever asked for two at a time may have left one.
        assert_eq!(spent.into_inner() + credits.balance(secs(60 * round)), 1_000);
    }
}

#[test]
fn a_table_has_an_account_per_family() {
    let table = CreditTable::new();
    let family = "0123456789ABCDEF".parse().unwrap();
    assert!(table.get(&family).is_none());
    assert!(table.open(family, Credits::new(plan(5, 60), secs(0))).is_none());
    assert_eq!(table.get(&family).unwrap().spend(2, secs(0)), Ok(3));
    assert_eq!(table.get(&family).unwrap().balance(secs(0)), 3);
    let before: Arc<Credits> = table.open(family, Credits::new(plan(9, 60), secs(0))).unwrap();
    assert_eq!((before.balance(secs(0)), table.get(&family).unwrap().balance(secs(0))), (3, 9));
    assert!(table.close(&family).is_some() && table.get(&family).is_none());
}

/// A balance for each key of an owner's: whoever has more keys spends more.
#[test]
fn families_can_share_an_account() {
    let table = CreditTable::new();
    let families = ["0123456789ABCDEF", "0123456789abcdef"].map(|id| id.parse().unwrap());
    let account = Arc::new(Credits::new(CreditPlan::prepaid(5).unwrap(), secs(0)));
    for family in families {
        table.open(family, account.clone());
    }
    let spend = |family| table.get(family).unwrap().spend(3, secs(0)).is_ok();
    assert_eq!((spend(&families[0]), spend(&families[1]), account.balance(secs(0))), (true, false, 2));
}
