//! The token bucket and the leaky bucket, which differ only in the delay: twice.
//!
//! What is in use falls only with the time since the epoch, so an earlier time sees more in use than a later one. A
//! refund takes back no more than is in use, and at once no more than the burst.

use num_bigint::BigUint;
use tollgate::{Carry, Quota, Timestamp};

use super::{Adjust, Oracle};

const HOUR: u64 = 3_600_000_000_000;

/// The burst of a quota: the limit if none was asked for.
fn burst(quota: Quota) -> u64 {
    quota.explicit_burst().unwrap_or(quota.limit())
}

/// The tokens generated within `nanos`, rounded up.
fn tokens_in(nanos: u64, quota: Quota) -> u128 {
    (u128::from(nanos) * u128::from(quota.limit())).div_ceil(quota.period().as_nanos())
}

/// Whether a bucket of this quota counts modulo 2^64: if all that can be spent by the horizon does not fit in a word.
pub(crate) fn wraps(quota: Quota) -> bool {
    tokens_in(Timestamp::HORIZON.as_nanos(), quota) + u128::from(burst(quota)) > u128::from(u64::MAX)
}

/// GCRA as it stands in the book, over a list of admissions and without any rounding.
///
/// `n` units pass iff for every admission there was, the units since then, itself and the `n` included, are no
/// more than the burst and what was gained since then. To compute with whole numbers, units are cut into *grains*, a
/// period's nanoseconds of them: then a nanosecond gains as many grains as the limit has units.
#[derive(Clone, Debug)]
pub(crate) struct PlainBucket {
    quota: Quota,
    leaky: bool,
    /// Units that a bucket lacks when it begins.
    lacking: u64,
    /// The time of an admission, and its grains, less what was given back before the next one.
    entries: Vec<(u128, i128)>,
}

impl PlainBucket {
    /// A bucket that begins at `start` and lacks that many units then.
    pub(crate) fn new(quota: Quota, leaky: bool, lacking: u64, start: u128) -> Self {
        let mut oracle = Self { quota, leaky, lacking, entries: Vec::new() };
        oracle.begin_again(start);
        oracle
    }

    /// The grains of so many units. No product or sum here exceeds an `i128`: the constructors refuse such quotas.
    fn grains(&self, units: u64) -> i128 {
        i128::from(units) * self.quota.period().as_nanos() as i128
    }

    /// The grains gained since the epoch.
    fn gained(&self, at: u128) -> i128 {
        (at as i128).saturating_mul(self.quota.limit().into())
    }

    fn in_use(&self, at: u128) -> i128 {
        let (mut since, mut most) = (0, 0);
        for &(time, grains) in self.entries.iter().rev() {
            since += grains;
            most = most.max(self.gained(time) + since);
        }
        (most - self.gained(at)).max(0)
    }
}

impl Oracle for PlainBucket {
    fn limit(&self) -> u64 {
        burst(self.quota)
    }

    fn room(&self, at: u128) -> u64 {
        let free = self.grains(self.limit()) - self.in_use(at);
        (free.max(0) / self.grains(1)) as u64
    }

    fn recovered(&self, at: u128) -> bool {
        self.in_use(at) == 0
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.entries.push((now, self.grains(cost)));
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        let returned = self.in_use(now).min(self.grains(cost));
        if let Some(last) = self.entries.last_mut() {
            last.1 -= returned;
        }
    }

    fn begin_again(&mut self, now: u128) {
        self.entries.clear();
        if self.lacking > 0 {
            self.entries.push((now, self.grains(self.lacking)));
        }
    }

    fn delays(&self) -> bool {
        self.leaky
    }
}

/// The bucket as it is documented, the rounding included: tokens since the epoch, counted in whole units of
/// 2^-`f` tokens.
///
/// `V(now) = floor(now * limit * 2^f / period)`; what is in use is `c - V(now)`, if that is positive. Where everything
/// does not fit in a word, `f` is 0 and numbers are compared modulo 2^64: `c` is in the future of `V` if it is less
/// than the burst and an hour's tokens ahead.
#[derive(Clone, Debug)]
pub(crate) struct QuantisedBucket {
    quota: Quota,
    leaky: bool,
    lacking: u64,
    /// The bits of a word.
    bits: u32,
    fraction_bits: u32,
    wraps: bool,
    /// `c`.
    spent: BigUint,
}

impl QuantisedBucket {
    /// A bucket that begins at `start` and lacks that many units then.
    pub(crate) fn new(quota: Quota, leaky: bool, lacking: u64, start: u128) -> Self {
        Self::within(quota, 64, leaky, lacking, start)
    }

    /// The same, whose words have so many bits.
    pub(crate) fn within(quota: Quota, bits: u32, leaky: bool, lacking: u64, start: u128) -> Self {
        let most = BigUint::from(tokens_in(Timestamp::HORIZON.as_nanos(), quota)) + burst(quota);
        let fits = |fraction: &u32| (&most << *fraction) < BigUint::from(1_u8) << bits;
        let fraction_bits = (0..64).rev().find(fits);
        let mut oracle = Self {
            quota,
            leaky,
            lacking,
            bits,
            fraction_bits: fraction_bits.unwrap_or(0),
            wraps: fraction_bits.is_none(),
            spent: BigUint::ZERO,
        };
        oracle.begin_again(start);
        oracle
    }

    fn units(&self, tokens: u64) -> BigUint {
        BigUint::from(tokens) << self.fraction_bits
    }

    /// `V`.
    fn generated(&self, at: u128) -> BigUint {
        ((BigUint::from(at) * self.quota.limit()) << self.fraction_bits) / self.quota.period().as_nanos()
    }

    fn in_use(&self, at: u128) -> BigUint {
        let generated = self.generated(at);
        if self.wraps {
            let modulus = BigUint::from(1_u8) << self.bits;
            let ahead = (&self.spent % &modulus + &modulus - generated % &modulus) % modulus;
            if ahead <= self.reach() { ahead } else { BigUint::ZERO }
        } else if self.spent > generated {
            &self.spent - generated
        } else {
            BigUint::ZERO
        }
    }
}

/// `dividend / divisor`, rounded up.
fn ceil(dividend: BigUint, divisor: &BigUint) -> BigUint {
    (dividend + divisor - 1_u8) / divisor
}

impl QuantisedBucket {
    /// How far ahead counts as the future, where numbers are compared modulo.
    fn reach(&self) -> BigUint {
        (burst(self.quota) + tokens_in(HOUR, self.quota) as u64).into()
    }
}

impl Adjust for QuantisedBucket {
    fn set_quota(&mut self, quota: Quota, carry: Carry, now: u128) {
        let new = Self::within(quota, self.bits, self.leaky, 0, now);
        let (used, most) = (self.in_use(now), self.units(self.limit()));
        let carried = match carry {
            Carry::Absolute => ceil(used << new.fraction_bits, &(BigUint::from(1_u8) << self.fraction_bits)),
            Carry::Proportional => ceil(used * new.units(new.limit()), &most),
        };
        // The most that a word holds: a bucket that is empty at the horizon.
        let most = if new.wraps {
            new.reach()
        } else {
            new.generated(Timestamp::HORIZON.as_nanos().into()) - new.generated(now) + new.units(new.limit())
        };
        let spent = new.generated(now) + carried.min(most);
        *self = Self { spent, ..new };
    }
}

impl Oracle for QuantisedBucket {
    fn limit(&self) -> u64 {
        burst(self.quota)
    }

    fn room(&self, at: u128) -> u64 {
        let (most, in_use) = (self.units(self.limit()), self.in_use(at));
        if in_use > most {
            return 0;
        }
        ((most - in_use) >> self.fraction_bits).try_into().expect("no more than the burst")
    }

    fn recovered(&self, at: u128) -> bool {
        self.in_use(at) == BigUint::ZERO
    }

    fn enter(&mut self, cost: u64, now: u128) {
        self.spent = self.generated(now) + self.in_use(now) + self.units(cost);
    }

    fn give_back(&mut self, cost: u64, now: u128) {
        let returned = self.in_use(now).min(self.units(cost));
        if self.wraps {
            self.spent += BigUint::from(1_u8) << self.bits;
        }
        self.spent -= returned;
    }

    fn begin_again(&mut self, now: u128) {
        self.spent = match (self.lacking, self.wraps) {
            (0, false) => BigUint::ZERO,
            // As far from the future as can be.
            (0, true) => self.generated(now) + (BigUint::from(1_u8) << (self.bits - 1)),
            (lacking, _) => self.generated(now) + self.units(lacking),
        };
    }

    fn delays(&self) -> bool {
        self.leaky
    }
}
