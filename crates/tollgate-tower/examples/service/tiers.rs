//! What a key may do, by the name of its tier.

use std::{error::Error, time::Duration};

use tollgate::{
    FixedWindow, Quota,
    keys::{CreditError, CreditPlan, Quotas, RecordLimiter},
};

/// A tier of keys.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) name: &'static str,
    /// Requests in each [`WINDOW`].
    pub(crate) requests: u64,
    /// Requests in each day, which begins at midnight UTC.
    daily: u64,
}

/// The period in which requests are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(86_400);

/// The tiers; the first one is also that of keys whose tier is not here.
pub(crate) const TIERS: [Tier; 3] = [
    Tier { name: "basic", requests: 2, daily: 1_000 },
    Tier { name: "premium", requests: 20, daily: 100_000 },
    Tier { name: "internal", requests: 5_000, daily: 100_000_000 },
];

/// The tier of that name, if there is one.
pub(crate) fn named(name: &str) -> Option<&'static Tier> {
    TIERS.iter().find(|tier| tier.name == name)
}

/// The limit of each key and its rotations, for so many in use within one [`WINDOW`].
pub(crate) fn limiter(keys: usize) -> Result<RecordLimiter<FixedWindow>, Box<dyn Error>> {
    let windows = TIERS.iter().map(|tier| FixedWindow::new(Quota::new(tier.requests, WINDOW)));
    let windows: Vec<FixedWindow> = windows.collect::<Result<_, _>>()?;
    let numbers = TIERS.iter().enumerate();
    let quotas = numbers.fold(Quotas::new(0), |quotas, (number, tier)| quotas.with_tier(tier.name, number));
    Ok(RecordLimiter::per_family(windows, quotas, keys)?)
}

/// How many requests a key of that tier has in a day: credits that come anew at midnight.
pub(crate) fn daily(tier: &str) -> Result<CreditPlan, CreditError> {
    CreditPlan::refilled(named(tier).unwrap_or(&TIERS[0]).daily, DAY)
}
