//! How keys are drawn: each character as likely as any other, and no two keys alike.

use std::{
    collections::HashSet,
    convert::Infallible,
    fmt::{self, Display},
};

use rand_core::{TryCryptoRng, TryRng};
use tollgate::keys::{Digester, IssueError, NewKey, Scheme, Status};

use super::{NOW, PREFIX, generator};

/// A generator that was cloned for every draw: three calls returned the same key. A modulus: some characters came
/// more often than others.
#[test]
fn a_million_keys_are_all_different_and_uniform() {
    const KEYS: usize = 1_000_000;
    let mut generator = generator(7);
    let digester = Digester::plain();
    let mut halves = HashSet::with_capacity(2 * KEYS);
    let mut counts = [[0u32; 128]; 48];
    for _ in 0..KEYS {
        let issued = NewKey::new(PREFIX, "").issue(&digester, &mut generator).unwrap();
        let drawn = &issued.key.expose_secret().as_bytes()["tg_live_".len()..][..48];
        for (count, &character) in counts.iter_mut().zip(drawn) {
            count[usize::from(character)] += 1;
        }
        // The id and the first half of the secret, in one set: neither repeats, and neither is the other.
        for half in [&drawn[..16], &drawn[16..32]] {
            assert!(halves.insert(<[u8; 16]>::try_from(half).unwrap()), "a repetition");
        }
    }
    // 61 degrees of freedom: more than 130 has a probability below 10^-6 for each of the 48 places.
    let expected = KEYS as f64 / 62.0;
    for (place, count) in counts.iter().enumerate() {
        let used: Vec<f64> = count.iter().filter(|&&count| count > 0).map(|&count| f64::from(count)).collect();
        assert_eq!(used.len(), 62, "place {place}");
        let chi_squared: f64 = used.iter().map(|count| (count - expected).powi(2) / expected).sum();
        assert!(chi_squared < 130.0, "place {place}: {chi_squared}");
    }
}

/// A generator that returns what it is told to.
struct Told<F>(F);

impl<E: core::error::Error, F: FnMut(&mut [u8]) -> Result<(), E>> TryRng for Told<F> {
    type Error = E;

    fn try_next_u32(&mut self) -> Result<u32, E> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, E> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), E> {
        (self.0)(bytes)
    }
}

impl<E: core::error::Error, F: FnMut(&mut [u8]) -> Result<(), E>> TryCryptoRng for Told<F> {}

#[derive(Debug, PartialEq)]
struct NoEntropy;

impl Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no entropy")
    }
}

impl core::error::Error for NoEntropy {}

/// A loop without end, or a key of zeros, if the generator is stuck.
#[test]
fn a_generator_that_is_stuck_is_found_out() {
    for byte in 0..=u8::MAX {
        let mut stuck = Told(|bytes: &mut [u8]| {
            bytes.fill(byte);
            Ok::<(), Infallible>(())
        });
        let error = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut stuck).unwrap_err();
        assert_eq!(error, IssueError::Stuck, "{byte}");
    }
}

/// A generator that is cloned for each draw: the id, which is public, was the first half of the secret.
#[test]
fn a_generator_that_repeats_itself_is_found_out() {
    let mut repeating = Told(|bytes: &mut [u8]| generator(1).try_fill_bytes(bytes));
    let error = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut repeating).unwrap_err();
    assert_eq!(error, IssueError::Stuck);
}

/// A generator's failure that is passed over, so that the buffer's zeros become the key.
#[test]
fn a_generator_that_fails_issues_nothing() {
    for good in 0..2 {
        let mut left = good;
        let mut seed = generator(1);
        let mut failing = Told(|bytes: &mut [u8]| {
            if left == 0 {
                return Err(NoEntropy);
            }
            left -= 1;
            seed.try_fill_bytes(bytes).map_err(|never| match never {})
        });
        let error = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut failing).unwrap_err();
        assert_eq!(error, IssueError::Generator(NoEntropy));
        assert_eq!(error.to_string(), "generator: no entropy");
    }
}

/// Bytes left over from the id used for the secret, so that a public id tells of the secret.
#[test]
fn id_and_secret_share_no_byte() {
    let mut drawn = Vec::new();
    let mut seed = generator(1);
    let mut recording = Told(|bytes: &mut [u8]| {
        let Ok(()) = seed.try_fill_bytes(bytes);
        drawn.push(bytes.to_vec());
        Ok::<(), Infallible>(())
    });
    let issued = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut recording).unwrap();
    let text = issued.key.expose_secret().to_owned();
    // Drawn again by hand, from the blocks: the id from the first, and the secret from those after it.
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let accepted = |blocks: &[Vec<u8>]| -> String {
        let kept = blocks.iter().flatten().map(|byte| usize::from(byte & 63)).filter(|&value| value < 62);
        kept.map(|value| char::from(digits[value])).collect()
    };
    assert_eq!(accepted(&drawn[..1])[..16], text[8..24]);
    assert_eq!(accepted(&drawn[1..])[..32], text[24..56]);
}

#[test]
fn what_is_not_said_is_what_grants_least() {
    let record = NewKey::new(PREFIX, "acme").issue(&Digester::plain(), &mut generator(1)).unwrap().record;
    assert_eq!((&*record.owner, &*record.tier, record.status), ("acme", "", Status::Active));
    assert_eq!((record.family, record.version), (record.id, 0));
    assert_eq!((record.not_before, record.expires_at, record.retires_at), (None, None, None));
    assert!(record.scopes.is_empty());
    assert_eq!(record.digest.scheme(), Scheme::Sha256);
    assert_eq!(record.usable(NOW), Ok(()));
}

#[cfg(feature = "getrandom")]
#[test]
fn the_operating_system_has_keys() {
    let digester = Digester::plain();
    let issue = || NewKey::new(PREFIX, "acme").issue_from_os(&digester).unwrap().record.id;
    assert_ne!(issue(), issue());
}
