//! Random characters, each of the 62 as likely as any other.

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{IssueError, base62::DIGITS};

/// Draws `N` characters by rejection: six bits of each random byte, and again if they are 62 or 63.
///
/// What is left of the random bytes is wiped and never used, so that no two draws have a byte in common.
pub(super) fn characters<const N: usize, R: TryCryptoRng + ?Sized>(
    generator: &mut R,
) -> Result<Zeroizing<[u8; N]>, IssueError<R::Error>> {
    /// A block yields 31 characters out of 32 bytes on average; so many blocks without 32 of them have a probability
    /// below 2^-1000 each, unless the generator is stuck.
    const BLOCKS: usize = 16;

    let mut characters = Zeroizing::new([0; N]);
    let mut block = Zeroizing::new([0; 32]);
    let mut rest = characters.iter_mut();
    for _ in 0..BLOCKS {
        generator.try_fill_bytes(&mut *block).map_err(IssueError::Generator)?;
        for byte in block.iter() {
            let Some(&digit) = DIGITS.get(usize::from(byte & 63)) else { continue };
            match rest.next() {
                Some(character) => *character = digit,
                None => return distinct(characters),
            }
        }
    }
    match rest.next() {
        Some(_) => Err(IssueError::Stuck),
        None => distinct(characters),
    }
}

/// Refuses characters that are all the same, which only a stuck generator draws (62^-15 for an id).
fn distinct<const N: usize, E>(characters: Zeroizing<[u8; N]>) -> Result<Zeroizing<[u8; N]>, IssueError<E>> {
    if characters.iter().all(|character| *character == characters[0]) {
        return Err(IssueError::Stuck);
    }
    Ok(characters)
}
