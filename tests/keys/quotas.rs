//! From a key to its quota: the nearest exception wins.

use std::time::Duration;

use tollgate::{
    Quota,
    keys::{Digester, Quotas, Record, Source},
};

use super::{NOW, generator, issue};

fn record(owner: &str, tier: &str) -> Record {
    Record { owner: owner.into(), tier: tier.into(), ..issue(&Digester::plain(), 1).record }
}

const fn q(limit: u64) -> Quota {
    Quota::per_minute(limit)
}

#[test]
fn key_then_owner_then_tier_then_fallback() {
    let key = record("acme", "pro");
    let mut quotas = Quotas::new(q(1)).with_tier("pro", q(2)).with_owner("acme", q(3)).with_family(key.family, q(4));
    assert_eq!(quotas.resolve(&key), (&q(4), Source::Key));
    assert_eq!(quotas.set_family(key.family, None), Some(q(4)));
    assert_eq!(quotas.resolve(&key), (&q(3), Source::Owner));
    assert_eq!(quotas.set_owner("acme", None), Some(q(3)));
    assert_eq!(quotas.resolve(&key), (&q(2), Source::Tier));
    assert_eq!(quotas.set_tier("pro", None), Some(q(2)));
    assert_eq!(quotas.resolve(&key), (&q(1), Source::Fallback));
    assert_eq!(quotas.set_tier("pro", None), None);
}

/// An owner named like a tier, and the other way round.
#[test]
fn names_of_owners_and_tiers_are_kept_apart() {
    let quotas = Quotas::new(q(1)).with_tier("pro", q(2)).with_owner("acme", q(3));
    assert_eq!(quotas.resolve(&record("pro", "acme")), (&q(1), Source::Fallback));
    assert_eq!(quotas.resolve(&record("", "PRO")), (&q(1), Source::Fallback));
}

/// An exception that is lost when its key is rotated.
#[test]
fn an_exception_outlives_a_rotation() {
    let key = record("acme", "pro");
    let quotas = Quotas::new(q(1)).with_family(key.id, q(4));
    let rotated = key.rotate(Duration::ZERO, NOW, &Digester::plain(), &mut generator(2)).unwrap().issued.record;
    assert_ne!(rotated.id, key.id);
    assert_eq!(quotas.resolve(&rotated), (&q(4), Source::Key));
}
