//! Verification without a store: the order in which things are found out.

use tollgate::keys::{Digester, KeyError, Record, Status};

use super::{NOW, issue, secs};

/// An oracle: whoever has an id, which is public, learns whether it is revoked, disabled or expired.
#[test]
fn only_who_has_the_secret_is_told_of_status_and_time() {
    let digester = Digester::plain();
    let (issued, other) = (issue(&digester, 1), issue(&digester, 2));
    let right = digester.read(issued.key.expose_secret().as_bytes()).unwrap();
    let wrong = digester.read(other.key.expose_secret().as_bytes()).unwrap();
    let base = &issued.record;
    for (record, error) in [
        (Record { status: Status::Revoked, ..base.clone() }, KeyError::Revoked),
        (Record { status: Status::Disabled, ..base.clone() }, KeyError::Disabled),
        (Record { expires_at: Some(secs(0)), ..base.clone() }, KeyError::Expired { at: secs(0) }),
        (Record { retires_at: Some(NOW), ..base.clone() }, KeyError::Expired { at: NOW }),
        (Record { not_before: Some(secs(u64::MAX)), ..base.clone() }, KeyError::NotYetValid { from: secs(u64::MAX) }),
    ] {
        assert_eq!(digester.verify(&right, Some(&record), NOW).unwrap_err(), error);
        assert_eq!(digester.verify(&wrong, Some(&record), NOW).unwrap_err(), KeyError::Invalid);
    }
    assert!(digester.verify(&right, Some(base), NOW).unwrap().is_none());
    assert_eq!(digester.verify::<()>(&right, None, NOW).unwrap_err(), KeyError::Invalid);
}

/// No digest to replace is told of before the key is accepted.
#[test]
fn a_key_that_is_not_accepted_is_not_hashed_anew() {
    let old = Digester::plain();
    let issued = issue(&old, 1);
    let new = Digester::peppered(1, &[1; 32]).unwrap().with_plain();
    let token = new.read(issued.key.expose_secret().as_bytes()).unwrap();
    let mut record = issued.record.clone();
    record.disable().unwrap();
    assert_eq!(new.verify(&token, Some(&record), NOW).unwrap_err(), KeyError::Disabled);
    record.enable().unwrap();
    assert!(new.verify(&token, Some(&record), NOW).unwrap().is_some());
}
