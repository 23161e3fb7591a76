//! Base62: the digits that tokens are written in, `0-9A-Za-z` in the order of ASCII.

/// The digits by their value.
pub(super) const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether all of `bytes` are digits. Looks at every byte, wherever the first that is none may be.
#[inline]
pub(super) fn are_digits(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, byte| all & byte.is_ascii_alphanumeric())
}

/// The value of a digit.
#[inline]
const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

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
    let mut number = 0u64;
    for &digit in digits {
        number = number * 62 + u64::from(value(digit)?);
    }
    u32::try_from(number).ok()
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
            assert_eq!(value(byte).map(|value| DIGITS[usize::from(value)]), DIGITS.contains(&byte).then_some(byte));
        }
        assert!(!are_digits(b"_00000000000000000"));
        assert!(!are_digits(b"00000000000000000_"));
    }
}
