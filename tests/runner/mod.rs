//! What all properties of algorithms are run by.

use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestError, TestRunner},
};

/// Tries `property` on so many random values, and on smaller and smaller ones once it fails.
///
/// `PROPTEST_CASES` scales the number: it is 256 if not given.
pub(crate) fn hold<V: std::fmt::Debug>(
    cases: u32,
    strategy: impl Strategy<Value = V>,
    property: impl Fn(V) -> TestCaseResult,
) {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 10_000, ..ProptestConfig::default() };
    let config = ProptestConfig { cases: cases * config.cases / 256, ..config };
    match TestRunner::new(config).run(&strategy, property) {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}\n{value:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// A module with one test of a property for each algorithm.
macro_rules! for_all_algorithms {
    ($name:ident, $property:ident) => {
        mod $name {
            use super::*;

            #[test]
            fn fixed_window() {
                $property::<FixedWindow>();
            }
            #[test]
            fn sliding_window() {
                $property::<SlidingWindow>();
            }
            #[test]
            fn sliding_log() {
                $property::<SlidingLog>();
            }
            #[test]
            fn token_bucket() {
                $property::<TokenBucket>();
            }
            #[test]
            fn leaky_bucket() {
                $property::<LeakyBucket>();
            }
        }
    };
}
