//! Where records are kept.

use alloc::sync::Arc;
use core::convert::Infallible;

use hashbrown::hash_map::Entry;

use super::{KeyId, Record, table::Table};

/// Where records are kept: a database of the application's, or a [`MemoryStore`].
///
/// Three operations, all of them atomic for one record. Records are never removed here; a store that forgets a revoked
/// key may do so, as an unknown key is as invalid as a revoked one.
///
/// `examples/sqlite_store.rs` has it on a file. Whoever reads records asynchronously does without it, see
/// [`Digester::verify`](super::Digester::verify).
pub trait KeyStore {
    /// What the application keeps with each key.
    type Meta;

    /// Why the store could not answer.
    type Error;

    /// The record under `id`, as the last [`update`](Self::update) that returned has left it, or a later one.
    ///
    /// # Errors
    ///
    /// If the store cannot say; no key is accepted then.
    #[expect(clippy::type_complexity, reason = "spelt out, it says all there is to know")]
    fn get(&self, id: &KeyId) -> Result<Option<Arc<Record<Self::Meta>>>, Self::Error>;

    /// Stores a record under an id that has none yet, as it is.
    ///
    /// # Errors
    ///
    /// If the store cannot say whether it is stored.
    fn insert(&self, record: Record<Self::Meta>) -> Result<Write, Self::Error>;

    /// Stores a record in place of the one with the same id and version, and adds one to its version.
    ///
    /// # Errors
    ///
    /// If the store cannot say whether it is stored.
    fn update(&self, record: Record<Self::Meta>) -> Result<Write, Self::Error>;
}

/// Whether a record was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was stored"]
pub enum Write {
    /// It was.
    Done,
    /// It was not: the id is taken, or the record has another version by now, or is gone.
    Conflict,
}

/// A store behind a pointer is a store.
macro_rules! store_behind {
    ($($pointer:ty),+) => {$(
        impl<S: KeyStore + ?Sized> KeyStore for $pointer {
            type Meta = S::Meta;
            type Error = S::Error;

            #[inline]
            fn get(&self, id: &KeyId) -> Result<Option<Arc<Record<S::Meta>>>, S::Error> {
                (**self).get(id)
            }

            fn insert(&self, record: Record<S::Meta>) -> Result<Write, S::Error> {
                (**self).insert(record)
            }

            fn update(&self, record: Record<S::Meta>) -> Result<Write, S::Error> {
                (**self).update(record)
            }
        }
    )+};
}

store_behind!(&S, Arc<S>);

/// Records in memory, for tests, small services, and in front of something slower.
///
/// Behind a reference or an `Arc` it can be used from any number of threads; without the `std` feature, a thread that
/// waits for another spins. Readers do not wait for each other, and a look-up allocates nothing.
///
/// ```
/// # use rand_core::SeedableRng;
/// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
/// use tollgate::keys::{Digester, KeyStore, MemoryStore, NewKey, Prefix, Write};
///
/// let store = MemoryStore::new();
/// let issued = NewKey::new(Prefix::literal("tg_live"), "acme").issue(&Digester::plain(), &mut generator)?;
/// assert_eq!(store.insert(issued.record)?, Write::Done);
///
/// let read = store.get(&issued.key.id())?.expect("it was just inserted");
/// let mut mine = (*read).clone();
/// mine.revoke();
/// assert_eq!(store.update(mine)?, Write::Done);
///
/// // Whoever read before that write has nothing to say any more.
/// let mut stale = (*read).clone();
/// stale.enable()?;
/// assert_eq!(store.update(stale)?, Write::Conflict);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryStore<M = ()> {
    records: Table<Arc<Record<M>>>,
}

impl<M> MemoryStore<M> {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { records: Table::default() }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M> Default for MemoryStore<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> KeyStore for MemoryStore<M> {
    type Meta = M;
    type Error = Infallible;

    #[inline]
    fn get(&self, id: &KeyId) -> Result<Option<Arc<Record<M>>>, Infallible> {
        Ok(self.records.read().get(id).cloned())
    }

    fn insert(&self, record: Record<M>) -> Result<Write, Infallible> {
        match self.records.write().entry(record.id) {
            Entry::Occupied(_) => Ok(Write::Conflict),
            Entry::Vacant(place) => {
                place.insert(Arc::new(record));
                Ok(Write::Done)
            }
        }
    }

    fn update(&self, record: Record<M>) -> Result<Write, Infallible> {
        let next = Arc::new(Record { version: record.version.wrapping_add(1), ..record });
        // The old record is dropped after the lock: its metadata is the caller's, and so is what dropping it does.
        let _old = match self.records.write().get_mut(&next.id) {
            Some(stored) if stored.version.wrapping_add(1) == next.version => core::mem::replace(stored, next),
            _ => return Ok(Write::Conflict),
        };
        Ok(Write::Done)
    }
}
