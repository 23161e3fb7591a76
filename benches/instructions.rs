//! What is counted by `.ci/instructions`: each operation in a function of its own name, repeated at given times.

mod common;

use std::hint::black_box;

use common::{AMPLE, AMPLE_LIVE, AMPLE_LOG, AMPLE_WINDOW, ample, spent};
use composite::{spare, two};
use keyed::{KEYS, known};
use tollgate::{
    FixedWindow, LeakyBucket, Limiter, Live, ManualClock, SlidingLog, SlidingWindow, Timestamp, TokenBucket,
};

/// In a module, so that it is not counted as an operation.
mod keyed {
    use tollgate::{KeyedLimiter, ManualClock, SecretState, TokenBucket};

    /// The keys that are known, from 0 on.
    pub(super) const KEYS: u64 = 64;

    /// A limiter per key, with all keys in their places and nobody in the way; hashed alike in every run.
    pub(super) fn known() -> KeyedLimiter<u64, TokenBucket, ManualClock, SecretState> {
        let bucket = TokenBucket::new(super::AMPLE).expect("a quota that all algorithms can hold");
        let limiter = KeyedLimiter::with_clock_and_hasher(bucket, 1_000, ManualClock::new(), SecretState::with_seed(1));
        (0..KEYS).for_each(|key| limiter.check(&key).map(drop).expect("an ample quota"));
        limiter
    }
}

mod composite {
    use tollgate::{Composite, ManualClock, RateLimiter, SlidingWindow, TokenBucket};

    use super::{AMPLE, AMPLE_WINDOW, ample};

    type Bucket = RateLimiter<TokenBucket, ManualClock>;

    pub(super) fn spare() -> Bucket {
        ample(TokenBucket::new, AMPLE, ManualClock::new())
    }

    /// A window, and after it a bucket.
    pub(super) fn two(bucket: Bucket) -> Composite<(RateLimiter<SlidingWindow, ManualClock>, Bucket)> {
        Composite::new((ample(SlidingWindow::new, AMPLE_WINDOW, ManualClock::new()), bucket))
    }
}

/// How often each is repeated; `.ci/instructions` divides by it.
const REPETITIONS: u64 = 10_000;

/// A function for each operation on a subject at a time, and a `main` that runs them all.
macro_rules! count {
    ($($name:ident: $subject:expr, $operation:expr;)+) => {
        $(
            #[inline(never)]
            fn $name<S, T>(subject: &S, operation: impl Fn(&S, Timestamp) -> T) {
                // Makes the function unlike the others: the compiler makes one of those that are equal.
                black_box(stringify!($name));
                for n in 1..=REPETITIONS {
                    black_box(operation(subject, Timestamp::from_nanos(10 * n)));
                }
            }
        )+

        fn main() {
            $($name(&$subject, $operation);)+
        }
    };
}

count! {
    token_bucket_allow: ample(TokenBucket::new, AMPLE, ManualClock::new()), |limiter, now| limiter.check_at(now);
    token_bucket_allow_bare: ample(TokenBucket::new, AMPLE, ManualClock::new()), |limiter, now| limiter.check_at(now).is_ok();
    token_bucket_deny: spent(TokenBucket::new, ManualClock::new()), |limiter, now| limiter.check_at(now);
    token_bucket_deny_bare: spent(TokenBucket::new, ManualClock::new()), |limiter, now| limiter.check_at(now).is_ok();
    token_bucket_peek: ample(TokenBucket::new, AMPLE, ManualClock::new()), |limiter, now| limiter.peek_at(now);
    token_bucket_refund: spent(TokenBucket::new, ManualClock::new()), |limiter, now| limiter.refund_at(1, now);
    leaky_bucket_allow: ample(LeakyBucket::new, AMPLE, ManualClock::new()), |limiter, now| limiter.check_at(now);
    leaky_bucket_deny: spent(LeakyBucket::new, ManualClock::new()), |limiter, now| limiter.check_at(now);
    fixed_window_allow: ample(FixedWindow::new, AMPLE_WINDOW, ManualClock::new()), |limiter, now| limiter.check_at(now);
    fixed_window_deny: spent(FixedWindow::new, ManualClock::new()), |limiter, now| limiter.check_at(now);
    sliding_window_allow: ample(SlidingWindow::new, AMPLE_WINDOW, ManualClock::new()), |limiter, now| limiter.check_at(now);
    sliding_window_deny: spent(SlidingWindow::new, ManualClock::new()), |limiter, now| limiter.check_at(now);
    sliding_log_allow: ample(SlidingLog::new, AMPLE_LOG, ManualClock::new()), |limiter, now| limiter.check_at(now);
    sliding_log_deny: spent(SlidingLog::new, ManualClock::new()), |limiter, now| limiter.check_at(now);
    live_token_bucket_allow: ample(Live::<TokenBucket>::new, AMPLE_LIVE, ManualClock::new()), |limiter, now| limiter.check_at(now);
    live_token_bucket_allow_bare: ample(Live::<TokenBucket>::new, AMPLE_LIVE, ManualClock::new()), |limiter, now| limiter.check_at(now).is_ok();
    live_token_bucket_deny: spent(Live::<TokenBucket>::new, ManualClock::new()), |limiter, now| limiter.check_at(now);
    live_fixed_window_allow: ample(Live::<FixedWindow>::new, AMPLE_WINDOW, ManualClock::new()), |limiter, now| limiter.check_at(now);
    keyed_hit: known(), |limiter, now| limiter.check_at(&(now.as_nanos() % KEYS), now);
    keyed_hits_in_a_batch: known(), |limiter, now| limiter.check_many(&[now.as_nanos() % KEYS; 64]);
    composite_of_two_allow: two(spare()), |limiter, now| limiter.check_at(now);
    composite_of_two_deny: two(spent(TokenBucket::new, ManualClock::new())), |limiter, now| limiter.check_at(now);
}
