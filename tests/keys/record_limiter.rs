//! Limits of families and owners: rotating doubles none, and a change of tier forgives nothing.

use std::time::Duration;

use tollgate::{
    FixedWindow, ManualClock, Quota, TokenBucket,
    keyed::TiersError,
    keys::{Digester, HangOn, LimitBy, Quotas, Record, RecordLimiter},
};

use super::{NOW, generator, issue};

/// Tiers of 4 and of 10 units per minute; "pro" is the second.
fn limiter(on: HangOn) -> (RecordLimiter<TokenBucket, ManualClock>, ManualClock) {
    let tiers = [4, 10].map(|limit| TokenBucket::new(Quota::per_minute(limit)).unwrap());
    let clock = ManualClock::new();
    let limiter = RecordLimiter::with_clock(on, tiers, Quotas::new(0).with_tier("pro", 1), 100, clock.clone());
    (limiter.unwrap(), clock)
}

fn record(seed: u64, tier: &str) -> Record {
    Record { tier: tier.into(), ..issue(&Digester::plain(), seed).record }
}

fn left(limiter: &RecordLimiter<TokenBucket, ManualClock>, record: &Record) -> u64 {
    match limiter.check_n(record, 0) {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

/// A limit that hangs on the key: every rotation comes with a fresh one.
#[test]
fn a_rotation_shares_the_limit_of_its_family() {
    let (limiter, _) = limiter(HangOn::Family);
    let first = record(1, "");
    assert!(limiter.check_n(&first, 3).is_ok());
    let mut current = first.clone();
    for seed in 2..6 {
        let rotated = current.rotate(Duration::from_secs(60), NOW, &Digester::plain(), &mut generator(seed)).unwrap();
        current = rotated.issued.record;
        assert_eq!((left(&limiter, &current), left(&limiter, &rotated.retired)), (1, 1));
    }
    assert!(limiter.check_n(&current, 1).is_ok());
    assert!(limiter.check_n(&first, 1).is_err());
    // Another key has a limit of its own, the same owner's too.
    assert_eq!(left(&limiter, &record(9, "")), 4);
}

#[test]
fn the_keys_of_an_owner_share_a_limit() {
    let (limiter, _) = limiter(HangOn::Owner);
    let (one, other) = (record(1, ""), record(2, ""));
    assert!(limiter.check_n(&one, 3).is_ok());
    assert_eq!(left(&limiter, &other), 1);
    assert_eq!(left(&limiter, &Record { owner: "initech".into(), ..other }), 4);
}

/// An owner who calls themselves like somebody's key shares that key's limit.
#[test]
fn families_and_owners_do_not_meet() {
    let (limiter, _) = limiter(HangOn::Owner);
    let key = record(1, "");
    let owner = Record { owner: key.family.as_str().into(), ..record(2, "") };
    assert!(limiter.check_n(&owner, 4).is_ok());
    assert_eq!(left(&limiter, &key), 4);
}

/// The mistake: up and down again, and whoever changes tier has a full limit once more.
#[test]
fn a_change_of_tier_keeps_what_was_consumed() {
    let (limiter, _) = limiter(HangOn::Family);
    let key = record(1, "");
    assert!(limiter.check_n(&key, 4).is_ok());
    let pro = Record { tier: "pro".into(), ..key.clone() };
    assert_eq!(left(&limiter, &pro), 6);
    assert!(limiter.check_n(&pro, 2).is_ok());
    assert_eq!(left(&limiter, &key), 0);
    // Under the lower tier more is in use than it has, and none of that is forgotten when they come back.
    assert_eq!(left(&limiter, &Record { tier: "pro".into(), ..key }), 4);
}

#[test]
fn exceptions_can_be_made_at_any_time() {
    let (limiter, _) = limiter(HangOn::Family);
    let key = record(1, "");
    assert!(limiter.check_n(&key, 1).is_ok());
    let quotas = |quotas: Quotas<usize>| limiter.set_quotas(quotas);
    quotas((*limiter.quotas()).clone().with_family(key.family, 1));
    assert_eq!(left(&limiter, &key), 9);
    // A number past the last tier is the first.
    quotas(Quotas::new(7));
    assert_eq!(left(&limiter, &key), 3);
    assert_eq!(limiter.tiers().len(), 2);
}

#[test]
fn what_is_given_back_is_there_again() {
    let (limiter, clock) = limiter(HangOn::Family);
    let key = record(1, "");
    assert!(limiter.check_n(&key, 3).is_ok());
    limiter.refund(&key, 2);
    assert_eq!(left(&limiter, &key), 3);
    clock.advance(Duration::from_secs(15));
    assert_eq!(left(&limiter, &key), 4);
}

#[test]
fn there_has_to_be_a_tier() {
    let none: [TokenBucket; 0] = [];
    assert!(RecordLimiter::per_family(none, Quotas::new(0), 10).is_err());
    let bucket = TokenBucket::new(Quota::per_minute(1)).unwrap();
    let limiter = RecordLimiter::per_owner([bucket], Quotas::new(0), 10).unwrap();
    assert!(limiter.check_n(&record(1, ""), 1).is_ok());
}

/// The mistake: two keys of one owner in tiers of different periods, where a look by the shorter ends the longer's window.
#[test]
fn tiers_of_different_periods_are_refused() {
    let tiers = [Quota::per_hour(1_000), Quota::per_second(5)].map(|quota| FixedWindow::new(quota).unwrap());
    let refused = RecordLimiter::with_clock(HangOn::Owner, tiers, Quotas::new(0), 10, ManualClock::new());
    assert!(matches!(refused, Err(TiersError::Periods { .. })));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("3600s") && text.contains("1s"), "{text}");
}
