//! What counters have counted is all that they were told.
#![cfg(not(loom))]

use std::thread;

use tollgate::{Count, Counters, Limiter, ManualClock, Quota, RateLimiter, TokenBucket};

#[test]
fn nothing_is_lost_when_more_threads_count_than_there_are_shards() {
    let bucket = TokenBucket::new(Quota::per_second(500)).unwrap();
    let counters = Counters::new();
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let limiter = RateLimiter::with_clock(bucket, ManualClock::new()).observed(&counters);
                for _ in 0..1_000 {
                    let _ = limiter.check();
                }
            });
        }
    });
    let counts = counters.read();
    for count in [counts.admitted, counts.must_wait] {
        assert_eq!((count.requests, count.units), (20_000, 20_000));
    }
    assert_eq!((counts.never, counts.put_back), (Count::default(), 0));
}
