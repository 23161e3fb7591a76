//! From a key to its quota.

use alloc::{collections::BTreeMap, sync::Arc};

use super::{KeyId, Record};
use crate::Quota;

/// What each tier may do, and whoever is an exception: the key's own quota, else its owner's, else its tier's, else the
/// fallback.
///
/// `T` is a [`Quota`], or whatever else is to be looked up so: several quotas, an algorithm, a number of credits.
///
/// The exception of a key is that of its [family](Record::family), so that it outlives a rotation.
///
/// ```
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// use tollgate::{Quota, keys::{Digester, NewKey, Prefix, Quotas, Source}};
///
/// let quotas = Quotas::new(Quota::per_minute(10))
///     .with_tier("pro", Quota::per_minute(1_000))
///     .with_owner("acme", Quota::per_minute(5_000));
///
/// let key = |owner| NewKey::new(Prefix::literal("tg_live"), owner).tier("pro");
/// let record = key("acme").issue(&Digester::plain(), &mut generator)?.record;
/// assert_eq!(quotas.resolve(&record), (&Quota::per_minute(5_000), Source::Owner));
/// let record = key("initech").issue(&Digester::plain(), &mut generator)?.record;
/// assert_eq!(quotas.resolve(&record), (&Quota::per_minute(1_000), Source::Tier));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quotas<T = Quota> {
    fallback: T,
    tiers: BTreeMap<Arc<str>, T>,
    owners: BTreeMap<Arc<str>, T>,
    families: BTreeMap<KeyId, T>,
}

/// What a quota was resolved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An exception for the key, that is for its family.
    Key,
    /// An exception for the owner.
    Owner,
    /// The key's tier.
    Tier,
    /// Nothing: the key's tier is not known here.
    Fallback,
}

impl<T> Quotas<T> {
    /// No tier is known yet: everyone has the fallback, which should be the least that anyone has.
    #[must_use]
    pub const fn new(fallback: T) -> Self {
        Self { fallback, tiers: BTreeMap::new(), owners: BTreeMap::new(), families: BTreeMap::new() }
    }

    /// Names a tier.
    #[must_use]
    pub fn with_tier(mut self, tier: impl Into<Arc<str>>, quota: T) -> Self {
        self.set_tier(tier, Some(quota));
        self
    }

    /// Makes an exception for an owner.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<Arc<str>>, quota: T) -> Self {
        self.set_owner(owner, Some(quota));
        self
    }

    /// Makes an exception for a key and its rotations.
    #[must_use]
    pub fn with_family(mut self, family: KeyId, quota: T) -> Self {
        self.set_family(family, Some(quota));
        self
    }

    /// Changes what a tier has, or forgets the tier. Returns what it had.
    pub fn set_tier(&mut self, tier: impl Into<Arc<str>>, quota: Option<T>) -> Option<T> {
        set(&mut self.tiers, tier.into(), quota)
    }

    /// Changes the exception for an owner, or forgets it. Returns what it was.
    pub fn set_owner(&mut self, owner: impl Into<Arc<str>>, quota: Option<T>) -> Option<T> {
        set(&mut self.owners, owner.into(), quota)
    }

    /// Changes the exception for a key and its rotations, or forgets it. Returns what it was.
    pub fn set_family(&mut self, family: KeyId, quota: Option<T>) -> Option<T> {
        set(&mut self.families, family, quota)
    }

    /// What a key has, and why.
    pub fn resolve<M>(&self, record: &Record<M>) -> (&T, Source) {
        if let Some(quota) = self.families.get(&record.family) {
            return (quota, Source::Key);
        }
        if let Some(quota) = self.owners.get(&record.owner) {
            return (quota, Source::Owner);
        }
        match self.tiers.get(&record.tier) {
            Some(quota) => (quota, Source::Tier),
            None => (&self.fallback, Source::Fallback),
        }
    }
}

fn set<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, quota: Option<T>) -> Option<T> {
    match quota {
        Some(quota) => map.insert(key, quota),
        None => map.remove(&key),
    }
}
