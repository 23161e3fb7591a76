//! What is proved, and the controls.

use std::hint;

use tollgate::keys::{Digest, Digester, Token};

/// A token, and not a secret: it is in the source.
pub const PRESENTED: &[u8] = b"tg_live_4eC39HqLyjWDarjtT1zdp7dcTYooMQauvdEDq54NiTphI7jx0FWHZ6";

/// A comparison, by its name.
pub struct Subject {
    digester: Digester,
    compare: fn(&Digester, &Token<'_>, &Digest) -> bool,
}

impl Subject {
    pub fn new(name: &str) -> Self {
        let digester = match name {
            "hmac-sha256" => Digester::peppered(1, b"a pepper in the source of a test").expect("it is long enough"),
            _ => Digester::plain(),
        };
        let compare = match name {
            "leaky: slices" => |digester: &Digester, token: &Token<'_>, stored: &Digest| {
                // Of a length that the compiler does not know: for 32 bytes it happens to write code without a branch.
                hint::black_box(&digester.digest(token).as_bytes()[..]) == hint::black_box(&stored.as_bytes()[..])
            },
            "leaky: early exit" => |digester: &Digester, token: &Token<'_>, stored: &Digest| {
                let digest = digester.digest(token);
                for (a, b) in digest.as_bytes().iter().zip(stored.as_bytes()) {
                    if hint::black_box(a) != b {
                        return false;
                    }
                }
                true
            },
            _ => Digester::matches,
        };
        Self { digester, compare }
    }

    /// The digest of the token.
    pub fn stored(&self) -> Digest {
        self.digester.digest(&Token::parse(PRESENTED).expect("it is a token"))
    }

    /// A digest that differs in one byte.
    pub fn differing_at(&self, byte: usize) -> Digest {
        let digest = self.stored();
        let mut bytes = *digest.as_bytes();
        bytes[byte] ^= 1;
        Digest::from_parts(digest.scheme(), bytes)
    }

    pub fn matches(&self, presented: &[u8], stored: &Digest) -> bool {
        let token = Token::parse(presented).expect("it is a token");
        measured(self, &token, stored)
    }
}

/// Of a name that the instruction counter can be told of, and in which nothing is but the comparison.
#[unsafe(no_mangle)]
#[inline(never)]
fn measured(subject: &Subject, token: &Token<'_>, stored: &Digest) -> bool {
    (subject.compare)(&subject.digester, token, stored)
}
