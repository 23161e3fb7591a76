//! `Allowed` and `Denied`: what they say, and that a header rounds up.
#![cfg(not(loom))]

use std::{collections::HashSet, time::Duration};

use tollgate::{Decision, Denied, FixedWindow, Limiter, ManualClock, Quota, RateLimiter, Timestamp, TokenBucket};

/// A refusal that asks for a wait of so many nanoseconds, from a window that ends then.
fn denied_for(nanos: u64) -> Denied {
    let window = FixedWindow::new(Quota::new(1, Duration::from_nanos(nanos))).unwrap();
    let limiter = RateLimiter::with_clock(window, ManualClock::new());
    assert!(limiter.check().is_ok());
    let denied = limiter.check().unwrap_err();
    assert_eq!(denied.retry_after, Some(Duration::from_nanos(nanos)));
    denied
}

/// A bucket of 5 per second, of which some units are taken.
fn bucket(taken: u64) -> RateLimiter<TokenBucket, ManualClock> {
    let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(5)).unwrap(), ManualClock::new());
    assert!(limiter.check_n(taken).is_ok());
    limiter
}

#[test]
fn a_header_rounds_up_to_whole_seconds_and_is_never_zero() {
    const SECOND: u64 = 1_000_000_000;
    for (nanos, seconds) in [
        (1, 1),
        (999, 1),
        (SECOND / 2, 1),
        (SECOND - 1, 1),
        (SECOND, 1),
        (SECOND + 1, 2),
        (59 * SECOND + 999_999_999, 60),
        (60 * SECOND, 60),
        (Timestamp::HORIZON.as_nanos(), 1 << 32),
    ] {
        assert_eq!(denied_for(nanos).retry_after_secs(), Some(seconds), "{nanos} ns");
    }
}

/// Fields of a refusal that was made by hand are taken as they come, to the longest wait there is.
#[test]
fn a_header_does_not_overflow() {
    let mut denied = denied_for(1);
    denied.retry_after = Some(Duration::MAX);
    assert_eq!(denied.retry_after_secs(), Some(u64::MAX));
    denied.retry_after = Some(Duration::ZERO);
    assert_eq!(denied.retry_after_secs(), Some(1));
    denied.retry_after = None;
    assert_eq!(denied.retry_after_secs(), None);
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let limiter = bucket(4);
    let refused = |cost| limiter.check_n(cost).unwrap_err().to_string();
    assert_eq!(refused(2), "rate limited: 1 of 5 units left, retry after 200ms");
    assert_eq!(refused(5), "rate limited: 1 of 5 units left, retry after 800ms");
    assert_eq!(refused(6), "rate limited: 1 of 5 units left, the cost is more than can ever pass");
}

#[test]
fn a_refusal_is_an_error_to_those_who_want_one() {
    fn handle(limiter: &impl Limiter) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
        Ok(limiter.check_n(3)?.remaining)
    }
    assert_eq!(handle(&bucket(1)).unwrap(), 1);
    assert_eq!(handle(&bucket(4)).unwrap_err().to_string(), "rate limited: 1 of 5 units left, retry after 400ms");
}

#[test]
fn an_answer_says_what_is_left_after_the_request() {
    let limiter = bucket(1);
    let allowed = limiter.check_n(3).unwrap();
    assert_eq!((allowed.limit, allowed.remaining), (5, 1));
    assert_eq!((allowed.reset_after, allowed.delay), (Duration::from_millis(800), Duration::ZERO));
    // A refusal: what is left now, which it did not take.
    let denied = limiter.check_n(2).unwrap_err();
    assert_eq!((denied.limit, denied.remaining, denied.reset_after), (5, 1, Duration::from_millis(800)));
    assert_eq!(denied.retry_after, Some(Duration::from_millis(200)));
}

#[test]
fn answers_are_plain_values() {
    fn is_plain<T: Copy + Send + Sync + Unpin + std::hash::Hash + Eq + std::fmt::Debug + 'static>() {}
    is_plain::<Decision>();
    let limiter = bucket(1);
    let answers: HashSet<Decision> = [limiter.peek(), limiter.peek(), limiter.check_n(6)].into_iter().collect();
    assert_eq!(answers.len(), 2);
}
