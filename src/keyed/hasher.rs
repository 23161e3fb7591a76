//! How keys are hashed unless a limiter is given another way: by foldhash, under secret seeds.

use core::hash::BuildHasher;

use foldhash::{
    SharedSeed,
    quality::{FoldHasher, SeedableRandomState},
};

/// The seed that all hashers of this process share.
#[cfg(feature = "std")]
static SHARED: std::sync::OnceLock<(u64, SharedSeed)> = std::sync::OnceLock::new();

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
pub struct SecretState {
    state: SeedableRandomState,
    #[cfg(feature = "serde")]
    seeds: Seeds,
}

/// What a hasher was made of: its own seed, and the one that it shares with others, if that is not the fixed one.
type Seeds = (u64, Option<u64>);

impl SecretState {
    /// A hasher with a seed of its own, from the operating system's randomness.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn new() -> Self {
        use std::hash::RandomState;

        // The standard library offers no randomness but this: the keys of its SipHash, which gives none of them away.
        let random = || RandomState::new().hash_one(());
        let (seed, shared) = SHARED.get_or_init(|| {
            let seed = random();
            (seed, SharedSeed::from_u64(seed))
        });
        Self::of((random(), Some(*seed)), shared)
    }

    /// A hasher with the seed that is given, which must be random and kept secret: for programs without `std`, and for
    /// tests.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::of((seed, None), SharedSeed::global_fixed())
    }

    fn of(seeds: Seeds, shared: &'static SharedSeed) -> Self {
        Self {
            state: SeedableRandomState::with_seed(seeds.0, shared),
            #[cfg(feature = "serde")]
            seeds,
        }
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
        self.state.build_hasher()
    }
}

/// The seeds, in plain text: for a [`KeyedSnapshot`](crate::snapshot::KeyedSnapshot), which is as confidential as they are.
#[cfg(feature = "serde")]
impl serde::Serialize for SecretState {
    fn serialize<T: serde::Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        self.seeds.serialize(serializer)
    }
}

/// A hasher that hashes as the one that was written did.
///
/// It keeps some 50 bytes for good, unless that one was of this process, or made with a seed: what it shares must not go
/// away before the last of its clones.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for SecretState {
    fn deserialize<T: serde::Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        let seeds = Seeds::deserialize(deserializer)?;
        let known = |seed: u64| {
            #[cfg(feature = "std")]
            if let Some((_, shared)) = SHARED.get().filter(|(ours, _)| *ours == seed) {
                return shared;
            }
            &*alloc::boxed::Box::leak(alloc::boxed::Box::new(SharedSeed::from_u64(seed)))
        };
        Ok(Self::of(seeds, seeds.1.map_or_else(SharedSeed::global_fixed, known)))
    }
}

/// Which seeds is all that there is to tell them apart by.
#[cfg(feature = "serde")]
impl PartialEq for SecretState {
    fn eq(&self, other: &Self) -> bool {
        self.seeds == other.seeds
    }
}

#[cfg(feature = "serde")]
impl Eq for SecretState {}

/// The seeds are secret.
impl core::fmt::Debug for SecretState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SecretState(..)")
    }
}
