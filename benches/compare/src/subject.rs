//! What is measured: something that decides on a key.

use std::hint::black_box;

/// Decides whether requests may pass.
///
/// A limiter without keys decides on `()`, a limiter at a given time on that time. Any closure from a key to an answer
/// is a subject.
pub trait Subject<K>: Send + Sync {
    /// How many of a request for each of `keys` pass; every answer must be `expected`, if that is known.
    ///
    /// The loop is here and not in the harness, so that it is compiled for each subject; and there is no other method,
    /// so that the closure is called in one place, into which the compiler inlines it whatever its size.
    fn decide(&self, keys: &[K], expected: Option<bool>) -> u64;
}

impl<K, F: Fn(&K) -> bool + Send + Sync> Subject<K> for F {
    fn decide(&self, keys: &[K], expected: Option<bool>) -> u64 {
        decide_each(keys, expected, self)
    }
}

/// How many of `keys` pass if `decides` says so; every answer must be `expected`, if that is known.
#[inline(always)]
pub fn decide_each<K>(keys: &[K], expected: Option<bool>, decides: impl Fn(&K) -> bool) -> u64 {
    let mut passed = 0;
    for key in keys {
        let passes = decides(key);
        if passes != expected.unwrap_or(passes) {
            wrong(passes);
        }
        passed += u64::from(passes);
    }
    passed
}

/// Takes the answer by value: a format string would take its address, and make the loop keep it in memory.
#[cold]
fn wrong(passes: bool) -> ! {
    panic!("a wrong answer: {passes}");
}

/// A subject under the name that it is reported by: the crate's, and in brackets what is not its default.
pub struct Lane<K> {
    pub name: &'static str,
    pub subject: Box<dyn Subject<K>>,
}

impl<K> Lane<K> {
    pub fn new(name: &'static str, decides: impl Fn(&K) -> bool + Send + Sync + 'static) -> Self
    where
        K: 'static,
    {
        Self { name, subject: Box::new(decides) }
    }
}

/// The answer `decision`, in full: what its caller does not look at is computed all the same.
#[inline(always)]
pub fn whole<T>(decision: T) -> T {
    black_box(decision)
}
