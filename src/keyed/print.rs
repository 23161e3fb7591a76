//! What a table knows of a key: the bits that tell it from others, and where to look for it.

use core::hash::{BuildHasher, Hash};

/// The fingerprint of a key, with the tag of its quota, and where it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Print {
    /// The spread hash of the key, but for its lowest bits, which hold the tag.
    pub(crate) tagged: u64,
    /// The hash, spread.
    spread: u64,
}

/// A slot that was never used. No key has this fingerprint.
pub(crate) const VACANT: u64 = 0;

/// A slot that is being given to another key. No key has this fingerprint.
pub(crate) const BUSY: u64 = u64::MAX;

impl Print {
    /// No key's.
    pub(crate) const NONE: Self = Self { tagged: VACANT, spread: 0 };

    /// The print of `key`, with `tag` in its lowest `tag_bits` bits.
    #[inline(always)]
    pub(crate) fn new<Q: Hash + ?Sized>(hasher: &impl BuildHasher, key: &Q, tag: u64, tag_bits: u32) -> Self {
        // A hasher may be as weak as the identity; one multiplication spreads its low bits over the high ones, from which
        // places are taken, and the bits that tell keys apart beside a tag. By the golden ratio, as in Knuth, "The Art of
        // Computer Programming", volume 3, section 6.4.
        let spread = hasher.hash_one(key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // Neither vacant nor busy, whatever the tag.
        let fingerprint = spread.clamp(1 << tag_bits, u64::MAX - (1 << tag_bits));
        Self { tagged: fingerprint >> tag_bits << tag_bits | tag, spread }
    }

    /// The same, but neither vacant nor busy in a table of so many tag bits, which may be another than it was made for.
    #[inline(always)]
    pub(crate) fn kept_clear(self, tag_bits: u32) -> Self {
        Self { tagged: self.tagged.clamp(1 << tag_bits, u64::MAX - (1 << tag_bits)), ..self }
    }

    /// The `nth` number below `count` that this key draws, always the same.
    #[inline(always)]
    pub(crate) const fn draw(&self, nth: u32, count: usize) -> usize {
        ((self.spread.rotate_left(21 * nth) as u128 * count as u128) >> 64) as usize
    }

    /// One bit, independent of the numbers that are drawn in any but the largest tables.
    #[inline(always)]
    pub(crate) const fn bit(&self) -> usize {
        (self.spread & 1) as usize
    }

    /// The fingerprint of the key, whatever its tag.
    #[cfg(feature = "std")]
    pub(crate) const fn untagged(&self, tag_bits: u32) -> u64 {
        self.tagged >> tag_bits
    }

    /// Whether `found` is this key's fingerprint, whatever the tag.
    #[inline(always)]
    pub(crate) const fn matches(&self, found: u64, tag_bits: u32) -> bool {
        (found ^ self.tagged) >> tag_bits == 0
    }
}
