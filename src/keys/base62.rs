//! Base62: the digits that tokens are written in, `0-9A-Za-z` in the order of ASCII.

/// The digits by their value.
pub(super) const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether all of `bytes` are digits. Looks at every byte, wherever the first that is none may be.
#[inline]
pub(super) fn are_digits(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, byte| all & byte.is_ascii_alphanumeric())
}

/// The value of each byte as a digit; `NONE` if it is none.
static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// More than any value, and it shows in the sum of bits of several.
const NONE: u8 = 0x80;

/// `number` in `N` digits, the most significant first, padded with zeros; what does not fit is cut off.
pub(super) fn encode<const N: usize>(mut number: u128) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    digits
}

/// The number that six digits stand for, if they are digits and it has 32 bits.
#[inline]
pub(super) fn decode(digits: &[u8; 6]) -> Option<u32> {
    let (mut number, mut all) = (0u64, 0);
    for &digit in digits {
        let value = VALUES[usize::from(digit)];
        number = number * 62 + u64::from(value);
        all |= value;
    }
    u32::try_from(number).ok().filter(|_| all & NONE == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_survives_its_digits() {
        for number in [0, 1, 61, 62, 3_843, 3_844, 916_132_831, 916_132_832, u32::MAX - 1, u32::MAX] {
            assert_eq!(decode(&encode(number.into())), Some(number));
        }
        assert_eq!(&encode::<6>(u32::MAX.into()), b"4gfFC3");
    }

    #[test]
    fn more_than_32_bits_are_refused() {
        assert_eq!(decode(b"4gfFC4"), None);
        assert_eq!(decode(b"zzzzzz"), None);
    }

    #[test]
    fn digits_are_the_62_and_no_others() {
        for byte in 0..=u8::MAX {
            assert_eq!(are_digits(&[byte]), DIGITS.contains(&byte), "{byte}");
            let alone = [b'0', b'0', b'0', b'0', b'0', byte];
            let value = decode(&alone).map(|value| DIGITS[value as usize]);
            assert_eq!(value, DIGITS.contains(&byte).then_some(byte));
            assert_eq!(decode(&[byte, b'0', b'0', b'0', b'0', b'0']).is_some(), DIGITS[..5].contains(&byte));
        }
        assert!(!are_digits(b"_00000000000000000"));
        assert!(!are_digits(b"00000000000000000_"));
    }
}
