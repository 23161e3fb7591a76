//! The life of an API key, from a generator of the program's own.

use core::{convert::Infallible, time::Duration};

use rand_core::{TryCryptoRng, TryRng};
use tollgate::{
    IpKey, KeyedLimiter, Quota, SecretState, TokenBucket,
    keys::{
        Attempt, Digester, Gate, HangOn, KeyError, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter,
        Refusal, UnixTime,
    },
};

use crate::CLOCK;

/// Stands for a generator in hardware.
struct Noise(u64);

impl TryRng for Noise {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        Ok(self.0 ^ self.0 >> 32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = (self.try_next_u64()? >> 24) as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Noise {}

/// Issues, uses up, rotates and revokes a key.
pub fn work() -> bool {
    life().is_some_and(|right| right)
}

fn life() -> Option<bool> {
    let bucket = TokenBucket::new(Quota::per_second(2)).ok()?;
    let (secret, quotas) = (SecretState::with_seed(7), Quotas::new(0));
    let limiter = RecordLimiter::with_clock_and_secret(HangOn::Family, [bucket], quotas, 16, &CLOCK, secret.clone());
    let failures = KeyedLimiter::<IpKey, _, _, _>::with_clock_and_hasher(bucket, 16, &CLOCK, secret);
    let digester = Digester::peppered(1, b"a pepper out of the firmware").ok()?;
    let gate = Gate::new(Keyring::new(digester, MemoryStore::new())).throttle(failures).limit(limiter.ok()?);

    let mut noise = Noise(1);
    let now = UnixTime::from_secs(1_700_000_000);
    let from = IpKey::from(core::net::Ipv4Addr::LOCALHOST);
    let old = gate.keyring().issue(NewKey::new(Prefix::literal("device"), "acme"), &mut noise).ok()?;
    let new = gate.keyring().rotate(&old.key.id(), Duration::from_secs(60), now, &mut noise).ok()?;
    let by_old = gate.check(&Attempt::new(old.key.expose_secret(), from, now));
    let by_new = gate.check(&Attempt::new(new.key.expose_secret(), from, now));
    let third = gate.check(&Attempt::new(new.key.expose_secret(), from, now));
    gate.keyring().revoke(&new.key.id()).ok()?;
    let revoked = gate.check(&Attempt::new(new.key.expose_secret(), from, now));
    Some(
        by_old.is_ok()
            && by_new.is_ok()
            && matches!(third, Err(Refusal::Limited { limit: 0, .. }))
            && matches!(revoked, Err(Refusal::Key(KeyError::Revoked))),
    )
}
