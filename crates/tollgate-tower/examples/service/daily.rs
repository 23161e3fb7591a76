//! How many requests a key and its rotations have left today.
//!
//! Counted as credits, in memory; what was used before a restart is read from the usage that was written.

use std::error::Error;

use tollgate::keys::{CreditError, CreditTable, Credits, Gate, KeyId, UnixTime};

use crate::{store::Store, tiers, usage::UsageLog};

/// Opens the credits of all families, less what each of them has used today. It blocks.
pub(crate) fn restore(gate: &Gate<Store>, usage: &UsageLog, now: UnixTime) -> Result<(), Box<dyn Error>> {
    let used = usage.of_families(now)?;
    for (family, tier) in gate.keyring().store().families()? {
        open(gate.credits(), family, &tier, used.get(&family).copied().unwrap_or(0), now)?;
    }
    Ok(())
}

/// Gives a family what its tier has in a day, less what it has used today.
pub(crate) fn open(
    credits: &CreditTable,
    family: KeyId,
    tier: &str,
    used: u64,
    now: UnixTime,
) -> Result<(), CreditError> {
    let plan = tiers::daily(tier)?;
    credits.open(family, Credits::with_balance(plan, plan.most().saturating_sub(used), now));
    Ok(())
}

/// Gives a family what another tier has in a day, less what it has used today.
///
/// What requests spend at this very moment may be forgotten: a few of thousands.
pub(crate) fn change_tier(credits: &CreditTable, family: KeyId, tier: &str, now: UnixTime) -> Result<(), CreditError> {
    let used = credits.get(&family).map_or(0, |before| before.plan().most().saturating_sub(before.balance(now)));
    open(credits, family, tier, used, now)
}
