//! Records: what is valid when, at the edges of time, and what is final.

use tollgate::keys::{Digester, IsRevoked, KeyError, Record, Status, UnixTime};

use super::{issue, secs};

fn record(not_before: Option<u64>, expires_at: Option<u64>, retires_at: Option<u64>) -> Record {
    Record {
        not_before: not_before.map(secs),
        expires_at: expires_at.map(secs),
        retires_at: retires_at.map(secs),
        ..issue(&Digester::plain(), 1).record
    }
}

const MAX: u64 = u64::MAX;

/// A 0 or a maximum that stands for "never", an interval with both ends in it.
#[test]
fn time_ends_at_the_second_that_is_named() {
    let expired = |at| Err(KeyError::Expired { at: secs(at) });
    let early = |from| Err(KeyError::NotYetValid { from: secs(from) });
    for (not_before, expires_at, retires_at, now, expected) in [
        (None, None, None, 0, Ok(())),
        (None, None, None, MAX, Ok(())),
        (None, Some(0), None, 0, expired(0)),
        (None, Some(0), None, MAX, expired(0)),
        (None, Some(1), None, 0, Ok(())),
        (None, Some(MAX), None, MAX - 1, Ok(())),
        (None, Some(MAX), None, MAX, expired(MAX)),
        (None, None, Some(0), 0, expired(0)),
        (None, Some(10), Some(5), 4, Ok(())),
        (None, Some(10), Some(5), 5, expired(5)),
        (None, Some(5), Some(10), 5, expired(5)),
        (Some(0), None, None, 0, Ok(())),
        (Some(MAX), None, None, MAX - 1, early(MAX)),
        (Some(MAX), None, None, MAX, Ok(())),
        (Some(5), Some(10), None, 4, early(5)),
        (Some(5), Some(10), None, 5, Ok(())),
        (Some(5), Some(10), None, 9, Ok(())),
        (Some(5), Some(10), None, 10, expired(10)),
        // Never valid at all: it has expired, or is early.
        (Some(10), Some(5), None, 4, early(10)),
        (Some(10), Some(5), None, 7, expired(5)),
    ] {
        let usable = record(not_before, expires_at, retires_at).usable(secs(now));
        assert_eq!(usable, expected, "{not_before:?} {expires_at:?} {retires_at:?} at {now}");
    }
}

#[test]
fn the_effective_expiry_is_the_earlier_one() {
    let expiry = |expires_at, retires_at| record(None, expires_at, retires_at).effective_expiry();
    assert_eq!(expiry(None, None), None);
    assert_eq!(expiry(Some(3), None), Some(secs(3)));
    assert_eq!(expiry(None, Some(3)), Some(secs(3)));
    assert_eq!(expiry(Some(3), Some(4)), Some(secs(3)));
    assert_eq!(expiry(Some(4), Some(3)), Some(secs(3)));
}

/// What is final is said first: nobody waits for a revoked key to be enabled.
#[test]
fn what_is_final_is_said_first() {
    let mut record = record(Some(5), Some(2), None);
    assert_eq!(record.usable(secs(3)), Err(KeyError::Expired { at: secs(2) }));
    record.disable().unwrap();
    assert_eq!(record.usable(secs(3)), Err(KeyError::Disabled));
    record.revoke();
    assert_eq!(record.usable(secs(3)), Err(KeyError::Revoked));
}

#[test]
fn revocation_is_final_and_disabling_is_not() {
    let mut record = record(None, None, None);
    record.disable().unwrap();
    record.enable().unwrap();
    assert_eq!(record.usable(UnixTime::EPOCH), Ok(()));
    record.revoke();
    assert_eq!((record.enable(), record.disable()), (Err(IsRevoked), Err(IsRevoked)));
    record.revoke();
    assert_eq!(record.status, Status::Revoked);
}

#[test]
fn errors_read_as_sentences() {
    for (error, text) in [
        (KeyError::Invalid, "invalid key"),
        (KeyError::Revoked, "the key was revoked"),
        (KeyError::Disabled, "the key is disabled"),
        (KeyError::Expired { at: secs(7) }, "the key expired at Unix time 7"),
        (KeyError::NotYetValid { from: secs(7) }, "the key is not valid before Unix time 7"),
        (
            KeyError::Malformed(tollgate::keys::FormatError::TooShort { len: 3 }),
            "malformed key: 3 bytes are too few for a key",
        ),
    ] {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.is_guess(), matches!(error, KeyError::Invalid | KeyError::Malformed(_)));
    }
}
