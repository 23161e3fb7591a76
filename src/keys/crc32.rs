//! CRC-32 as in IEEE 802.3, zip and PNG: polynomial 0x04C11DB7, reflected.
//!
//! Sixteen bytes a step, with one table for each place ("slicing", Kounavis and Berry, "Novel table lookup-based algorithms
//! for high-performance CRC generation", IEEE Transactions on Computers 57 (2008)): a token's checksum has to cost little
//! beside its hash.

/// `TABLES[k][b]` is what the byte `b` contributes when `k` bytes follow it within a step.
static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    const REFLECTED: u32 = 0xEDB8_8320;
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { REFLECTED } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut place = 1;
    while place < 16 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[place - 1][byte];
            tables[place][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        place += 1;
    }
    tables
}

/// The CRC-32 of `bytes`.
#[inline]
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let (steps, rest) = bytes.as_chunks::<16>();
    let mut crc = steps.iter().fold(!0, |crc, step| {
        let [a, b, c, d, ..] = *step;
        // Only the first four lookups wait for the step before.
        let later = (0..12).fold(0, |sum, place| sum ^ TABLES[11 - place][usize::from(step[4 + place])]);
        fold(15, [a, b, c, d], crc) ^ later
    });
    let (steps, rest) = rest.as_chunks::<4>();
    for step in steps {
        crc = fold(3, *step, crc);
    }
    for &byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xFF) as usize];
    }
    !crc
}

/// What four bytes contribute, with the `crc` of all before them, if the first of them has the table `place`.
#[inline(always)]
fn fold(place: usize, word: [u8; 4], crc: u32) -> u32 {
    let [a, b, c, d] = (u32::from_le_bytes(word) ^ crc).to_le_bytes().map(usize::from);
    TABLES[place][a] ^ TABLES[place - 1][b] ^ TABLES[place - 2][c] ^ TABLES[place - 3][d]
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The definition, bit by bit.
    fn by_bits(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }

    /// The check value of every catalogue of CRCs, and others that are commonly published.
    #[test]
    fn published_vectors() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"a"), 0xE8B7_BE43);
        assert_eq!(crc32(b"abc"), 0x3524_41C2);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
        assert_eq!(crc32(&[0; 32]), 0x190A_55AD);
        assert_eq!(crc32(&[0xFF; 32]), 0xFF6C_AB0B);
    }

    #[test]
    fn all_lengths_agree_with_the_definition() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(151).wrapping_add(7)).collect();
        for start in 0..9 {
            for end in start..bytes.len() {
                assert_eq!(crc32(&bytes[start..end]), by_bits(&bytes[start..end]), "{start}..{end}");
            }
        }
    }
}
