//! Rotation: nothing becomes valid for longer, or earlier, or twice.

use std::time::Duration;

use proptest::prelude::*;
use tollgate::keys::{Digester, IsRevoked, Issued, KeyError, NewKey, Record, RotateError, Rotation, Status, UnixTime};

use super::{NOW, PREFIX, generator, issue, secs};

fn rotate(record: &Record, grace: u64, now: UnixTime) -> Result<Rotation, RotateError<core::convert::Infallible>> {
    record.rotate(Duration::from_secs(grace), now, &Digester::plain(), &mut generator(record.version + 99))
}

fn full() -> Issued<u8> {
    let new = NewKey::new(PREFIX, "acme").tier("pro").scopes("a:* b".parse().unwrap()).meta(7);
    new.not_before(secs(5))
        .expires_at(NOW + Duration::from_secs(100))
        .issue(&Digester::plain(), &mut generator(1))
        .unwrap()
}

#[test]
fn the_new_key_inherits_everything_but_its_secret() {
    let old = full();
    let rotation = old.record.rotate(Duration::from_secs(10), NOW, &Digester::plain(), &mut generator(2)).unwrap();
    let (new, retired) = (&rotation.issued.record, &rotation.retired);
    assert_eq!((&new.owner, &new.tier, &new.scopes), (&old.record.owner, &old.record.tier, &old.record.scopes));
    assert_eq!((new.prefix, new.status, new.meta), (old.record.prefix, old.record.status, 7));
    assert_eq!((new.not_before, new.expires_at), (old.record.not_before, old.record.expires_at));
    assert_eq!((new.retires_at, new.version, new.family), (None, 0, old.record.id));
    assert_ne!(new.id, old.record.id);
    assert_eq!(rotation.issued.key.id(), new.id);
    assert_ne!(new.digest.as_bytes(), old.record.digest.as_bytes());
    assert_eq!((retired.id, retired.retires_at), (old.record.id, Some(NOW + Duration::from_secs(10))));
    assert_eq!(retired.digest.as_bytes(), old.record.digest.as_bytes());
}

/// A grace of zero that means "for ever", or the second in which it was asked for.
#[test]
fn without_grace_the_old_key_retires_at_once() {
    let rotation = rotate(&issue(&Digester::plain(), 1).record, 0, NOW).unwrap();
    assert_eq!(rotation.retired.usable(NOW), Err(KeyError::Expired { at: NOW }));
    assert_eq!(rotation.issued.record.usable(NOW), Ok(()));
}

/// A grace that outlives the key: rotating just before the end made it valid for longer.
#[test]
fn grace_never_outlives_the_key() {
    for (expires_in, grace, retires_in) in [(100, 10, 10), (10, 100, 10), (10, 10, 10), (1, u64::MAX, 1)] {
        let expires_at = Some(NOW + Duration::from_secs(expires_in));
        let record = Record { expires_at, ..issue(&Digester::plain(), 1).record };
        let rotation = rotate(&record, grace, NOW).unwrap();
        let retires_at = Some(NOW + Duration::from_secs(retires_in));
        assert_eq!(rotation.retired.retires_at, retires_at);
        assert_eq!(rotation.retired.effective_expiry(), retires_at);
        assert_eq!(rotation.issued.record.effective_expiry(), expires_at);
    }
    let rotation = rotate(&issue(&Digester::plain(), 1).record, u64::MAX, NOW).unwrap();
    assert_eq!(rotation.retired.retires_at, Some(UnixTime::MAX));
}

#[test]
fn what_is_at_its_end_is_not_rotated() {
    let record = issue(&Digester::plain(), 1).record;
    let expired = Record { expires_at: Some(NOW), ..record.clone() };
    assert_eq!(rotate(&expired, 10, NOW).unwrap_err(), RotateError::Expired { at: NOW });
    assert_eq!(
        rotate(&Record { expires_at: Some(secs(0)), ..record.clone() }, 10, secs(0)).unwrap_err(),
        RotateError::Expired { at: secs(0) }
    );
    let mut revoked = record.clone();
    revoked.revoke();
    assert_eq!(rotate(&revoked, 10, NOW).unwrap_err(), RotateError::Revoked(IsRevoked));
    // Twice: a fork of the chain, and every fork would have a secret of its own.
    let retired = rotate(&record, 10, NOW).unwrap().retired;
    assert_eq!(rotate(&retired, 10, NOW).unwrap_err(), RotateError::Rotated);
}

/// Rotating as the way round a `disable`, or round the day that a key is for.
#[test]
fn a_rotation_enables_nothing() {
    let mut record = Record { not_before: Some(NOW + Duration::from_secs(9)), ..issue(&Digester::plain(), 1).record };
    record.disable().unwrap();
    let rotated = rotate(&record, 0, NOW).unwrap().issued.record;
    assert_eq!(rotated.status, Status::Disabled);
    assert_eq!(rotated.not_before, record.not_before);
}

proptest! {
    /// A chain of rotations that pushes the expiry on a little each time, or starts a family of its own.
    #[test]
    fn a_chain_of_rotations_ends_when_the_first_key_would_have(
        lifetime in prop_oneof![Just(None), (0..200u64).prop_map(Some), Just(Some(u64::MAX))],
        steps in proptest::collection::vec((0..50u64, prop_oneof![0..100u64, Just(u64::MAX)]), 1..12),
    ) {
        let expires_at = lifetime.map(|seconds| NOW + Duration::from_secs(seconds));
        let first = Record { expires_at, ..issue(&Digester::plain(), 1).record };
        let (mut current, mut now, mut retired) = (first.clone(), NOW, Vec::new());
        for (seed, (wait, grace)) in (10..).zip(steps) {
            now = now + Duration::from_secs(wait);
            let step = current.rotate(Duration::from_secs(grace), now, &Digester::plain(), &mut generator(seed));
            let Ok(rotation) = step else {
                prop_assert!(expires_at.is_some_and(|at| at <= now));
                break;
            };
            retired.push((rotation.retired, now + Duration::from_secs(grace)));
            current = rotation.issued.record;
            prop_assert_eq!((current.family, current.expires_at), (first.id, expires_at));
        }
        for (record, end) in retired {
            let effective = record.effective_expiry().unwrap();
            prop_assert_eq!(effective, expires_at.map_or(end, |expiry| expiry.min(end)));
        }
    }
}
