//! The token bucket and the leaky bucket as rules: their words are those of a [`Bucket`], and all that differs is whether what
//! passes has to wait for its turn.

use core::time::Duration;

#[cfg(feature = "std")]
use super::Bookable;
use super::{Adjustable, LeakyBucket, Rule, Step, TokenBucket, bucket::Bucket};
#[cfg(feature = "serde")]
use crate::snapshot::{SaveWord, Shift, State};
use crate::{Allowed, Carry, Denied, Quota, QuotaError, Timestamp};

macro_rules! of_bucket {
    ($algorithm:ident, delays: $delays:literal, called: $name:literal) => {
        impl Rule for $algorithm {
            fn quota(&self) -> Quota {
                self.bucket.quota()
            }

            fn delays(&self) -> bool {
                $delays
            }

            fn fresh(&self, now: Timestamp) -> u64 {
                self.bucket.fresh(now)
            }

            #[inline(always)]
            fn step_leaving(&self, word: u64, cost: u64, leave: u64, now: Timestamp) -> Result<(Allowed, u64), Denied> {
                let taken = self.bucket.take(word, cost, leave, now)?;
                Ok((self.bucket.allowed(&taken, leave, $delays), taken.next))
            }

            fn forecast(&self, word: u64, ahead: u64, cost: u64, leave: u64, now: Timestamp) -> Option<Duration> {
                self.bucket.forecast(word, ahead, cost, leave, $delays, now)
            }

            fn give_back(&self, word: u64, cost: u64, now: Timestamp) -> u64 {
                self.bucket.give_back(word, cost, now)
            }

            fn undo(&self, word: u64, step: &Step, cost: u64, latest: Timestamp) -> u64 {
                self.bucket.undo(word, step, cost, latest)
            }

            fn recovered(&self, word: u64, now: Timestamp) -> bool {
                self.bucket.recovered(word, now)
            }

            fn unseen(&self, begun: Timestamp, now: Timestamp) -> u64 {
                self.bucket.unseen(begun, now)
            }

            fn carry(&self, word: u64, from: &Self, carry: Carry, now: Timestamp) -> u64 {
                self.bucket.carry(word, &from.bucket, carry, now)
            }
        }

        #[cfg(feature = "std")]
        impl Bookable for $algorithm {
            fn book(
                &self,
                word: u64,
                cost: u64,
                leave: u64,
                longest: Duration,
                now: Timestamp,
            ) -> Result<(Allowed, u64), Denied> {
                self.bucket.book(word, cost, leave, longest, $delays, now)
            }

            fn charge(&self, word: u64, cost: u64, now: Timestamp) -> u64 {
                self.bucket.charge(word, cost, now)
            }

            fn ahead(&self, end: u64, cost: u64, latest: Timestamp) -> u64 {
                self.bucket.ahead(end, cost, latest)
            }
        }

        impl Adjustable for $algorithm {
            type Words = [u64; Bucket::WORDS];

            fn within(quota: Quota, bits: u32) -> Result<Self, QuotaError> {
                Ok(Self { bucket: Bucket::within(quota, bits)? })
            }

            fn save(&self) -> Self::Words {
                self.bucket.save()
            }

            #[inline(always)]
            fn restore(word: impl Fn(usize) -> u64) -> Self {
                Self { bucket: Bucket::restore(word) }
            }
        }

        #[cfg(feature = "serde")]
        impl SaveWord for $algorithm {
            const NAME: &'static str = $name;
            const LIVE_NAME: &'static str = concat!("live ", $name);

            fn save_word(&self, word: u64, now: Timestamp) -> State {
                self.bucket.save_word(word, now)
            }

            fn load_word(&self, state: &State, shift: &Shift) -> Option<u64> {
                self.bucket.load_word(state, shift)
            }
        }
    };
}

of_bucket!(TokenBucket, delays: false, called: "token bucket");
of_bucket!(LeakyBucket, delays: true, called: "leaky bucket");
