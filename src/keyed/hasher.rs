//! How keys are hashed unless a limiter is given another way: by foldhash, under secret seeds.

use core::hash::BuildHasher;

use foldhash::{
    SharedSeed,
    quality::{FoldHasher, SeedableRandomState},
};

/// The default hasher of a [`KeyedLimiter`](crate::KeyedLimiter): [foldhash](https://docs.rs/foldhash), in its "quality"
/// form, under seeds that no one outside of the process knows.
///
/// **What it resists.** Whoever chooses keys without seeing their hashes cannot choose two that share a limit, nor many
/// that crowd one place of the table: the seeds are 128 bits of the operating system's randomness, drawn anew for each
/// process, half of it for each hasher.
///
/// **What it does not.** foldhash is not a cryptographic function. An attacker who could see hashes, or measure very many
/// collisions, might work out the seeds. What that is worth: keys that share the state of another are refused together
/// with it, and keys that crowd a place are refused early; none is ever admitted more than its quota. Where that matters,
/// give `std::hash::RandomState` (SipHash-1-3) to
/// [`with_clock_and_hasher`](crate::KeyedLimiter::with_clock_and_hasher), which takes some 6 ns longer for an integer.
///
/// ```
/// use std::hash::BuildHasher;
/// use tollgate::SecretState;
///
/// let (one, other) = (SecretState::new(), SecretState::new());
/// assert_eq!(one.hash_one("key"), one.hash_one("key"));
/// assert_ne!(one.hash_one("key"), other.hash_one("key"));
/// ```
#[derive(Clone)]
pub struct SecretState(SeedableRandomState);

impl SecretState {
    /// A hasher with a seed of its own, from the operating system's randomness.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn new() -> Self {
        use std::{hash::RandomState, sync::OnceLock};

        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        // The standard library offers no randomness but this: the keys of its SipHash, which gives none of them away.
        let random = || RandomState::new().hash_one(());
        Self(SeedableRandomState::with_seed(random(), SHARED.get_or_init(|| SharedSeed::from_u64(random()))))
    }

    /// A hasher with the seed that is given, which must be random and kept secret: for programs without `std`, and for
    /// tests.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self(SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()))
    }
}

#[cfg(feature = "std")]
impl Default for SecretState {
    fn default() -> Self {
        Self::new()
    }
}

impl BuildHasher for SecretState {
    type Hasher = FoldHasher<'static>;

    #[inline(always)]
    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}

/// The seeds are secret.
impl core::fmt::Debug for SecretState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SecretState(..)")
    }
}
