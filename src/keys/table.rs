//! A table in memory, by key id.

use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::{KeyId, lock::Lock};

/// A map from key ids, for many readers or one writer.
pub(super) type Table<V> = Lock<HashMap<KeyId, V, BuildHasherDefault<IdHasher>>>;

/// The hash of an id: two multiplications.
///
/// Ids are drawn at random by this library, so it only has to spread them; nobody can choose the ids that are *in*
/// a table, and looking up chosen ones that are not costs a probe or two.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        // An id is two words of 8 digits, each with 6 of 8 bits at random. The halves of the product are mixed.
        const GOLDEN: u128 = 0x9E37_79B9_7F4A_7C15;
        for word in bytes.as_chunks().0 {
            let product = u128::from(self.0 ^ u64::from_le_bytes(*word)) * GOLDEN;
            self.0 = (product >> 64) as u64 ^ product as u64;
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
