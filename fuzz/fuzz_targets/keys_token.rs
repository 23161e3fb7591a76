//! Any bytes as a token: read without a panic; whatever is read has the form that the documentation gives, and prints
//! nothing of its secret; and a token that is made of the bytes, checksum included, is read back as it was made.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::keys::{Digester, FormatError, Token, UnixTime};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fuzz_target!(|bytes: &[u8]| {
    match Token::parse(bytes) {
        Ok(token) => holds(bytes, &token),
        Err(FormatError::TooLong { len }) => assert!(len > Token::MAX_INPUT && len == bytes.len()),
        Err(_) => assert!(bytes.len() <= Token::MAX_INPUT),
    }
    // Nothing is known of them, and nothing is accepted.
    let digester = Digester::plain().with_foreign();
    if let Ok(token) = digester.read(bytes) {
        assert!(digester.verify::<()>(&token, None, UnixTime::EPOCH).is_err());
    }
    // The same bytes as the characters of a token.
    let Some((length, bytes)) = bytes.split_first() else { return };
    let length = 1 + usize::from(length % 32);
    if bytes.len() < length + 48 {
        return;
    }
    let mut made: Vec<u8> = bytes[..length].iter().map(|byte| DIGITS[36 + usize::from(byte % 26)]).collect();
    for byte in made.iter_mut().skip(1).step_by(3) {
        *byte = b'_';
    }
    if made.last() == Some(&b'_') {
        made.push(b'0');
        made.remove(1);
    }
    made.push(b'_');
    made.extend(bytes[length..length + 48].iter().map(|byte| DIGITS[usize::from(byte % 62)]));
    let mut crc = crc32(&made);
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
    }
    made.extend(digits);
    let token = Token::parse(&made).expect("it has the form of a token");
    holds(&made, &token);
});

/// What holds of every token that is read.
fn holds(bytes: &[u8], token: &Token<'_>) {
    let (front, tail) = bytes.split_at(bytes.len() - 55);
    assert!((Token::MIN_LEN..=Token::MAX_LEN).contains(&bytes.len()));
    assert_eq!(token.prefix().expect("it is none of another issuer's").as_str().as_bytes(), front);
    assert_eq!((tail[0], token.id().as_str().as_bytes()), (b'_', &tail[1..17]));
    assert!(tail[1..].iter().all(|byte| DIGITS.contains(byte)));
    let printed = format!("{token:?}");
    assert!(!printed.as_bytes().windows(32).any(|window| window == &tail[17..49]));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
