//! What is measured: something that decides on a key.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Decides whether a request of `key` may pass.
///
/// A limiter without keys decides on `()`, a limiter at a given time on that time. Any closure is a subject.
pub trait Subject<K>: Send + Sync {
    fn allows(&self, key: &K) -> bool;

    /// How long it takes to decide on all of `keys`; every answer must be `expected`, if that is known.
    ///
    /// Here and not in a function of the harness, so that it is compiled for each subject with its check inlined.
    fn batch(&self, keys: &[K], expected: Option<bool>) -> Duration {
        let start = Instant::now();
        match expected {
            Some(expected) => keys.iter().for_each(|key| assert_eq!(self.allows(key), expected)),
            None => keys.iter().for_each(|key| {
                black_box(self.allows(key));
            }),
        }
        start.elapsed()
    }
}

impl<K, F: Fn(&K) -> bool + Send + Sync> Subject<K> for F {
    #[inline(always)]
    fn allows(&self, key: &K) -> bool {
        self(key)
    }
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
