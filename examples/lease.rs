//! One limit that many threads share, first directly and then each by a lease of its own:
//!
//! ```sh
//! cargo run --release --example lease
//! ```

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use tollgate::{Limiter, ManualClock, Quota, RateLimiter, TokenBucket, Undo};

const THREADS: u64 = 2;
const REQUESTS: u64 = 2_000_000;

/// Lets each thread make its requests by what `handle` gives it; how many passed, and how long that took.
fn serve<L: Limiter>(handle: impl Fn() -> L + Sync) -> (u64, Duration) {
    let start = Instant::now();
    let passed = thread::scope(|scope| {
        let work = || {
            let limiter = handle();
            (0..REQUESTS).filter(|_| limiter.check().is_ok()).count() as u64
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    (passed, start.elapsed())
}

fn left(limiter: &impl Limiter) -> u64 {
    limiter.peek_n(0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining)
}

fn main() -> Result<(), Box<dyn Error>> {
    // The clock stands still, so that nothing is regained, and it can be told exactly what may pass.
    let clock = ManualClock::new();
    let quota = Quota::per_second(THREADS * REQUESTS);
    let shared = RateLimiter::with_clock(TokenBucket::new(quota)?, clock.clone());
    let each = |time: Duration| time.as_nanos() as f64 / (THREADS * REQUESTS) as f64;

    let (passed, time) = serve(|| &shared);
    println!("{THREADS} threads at one limiter: {passed} passed, {:.1} ns each.", each(time));
    assert_eq!(passed, THREADS * REQUESTS);

    shared.reset();
    let (passed, time) = serve(|| (&shared).lease());
    println!("The same, each with a lease: {passed} passed, {:.1} ns each.", each(time));
    // Near the limit nothing is taken ahead: what one has in hand when the other is refused are a few units.
    assert_eq!(passed + left(&shared), THREADS * REQUESTS);

    println!("What a lease has in hand is taken from the limiter, and goes back when it is settled or dropped.");
    shared.reset();
    let lease = (&shared).lease();
    (0..1_000).for_each(|_| assert!(lease.check().is_ok()));
    println!("    1000 spent, {} in hand, {} left", lease.in_hand(), left(&shared));
    assert_eq!(left(&shared) + lease.in_hand() + 1_000, THREADS * REQUESTS);
    lease.settle();
    println!("    1000 spent, {} in hand, {} left", lease.in_hand(), left(&shared));
    assert_eq!(left(&shared) + 1_000, THREADS * REQUESTS);

    println!("Near the limit it takes what it needs: nobody else is refused for what one does not spend.");
    assert!(shared.check_n(left(&shared) - 10).is_ok());
    for left_to_all in (0..10).rev() {
        assert!(lease.check().is_ok());
        assert_eq!(left(&shared) + lease.in_hand(), left_to_all);
    }
    let denied = lease.check().unwrap_err();
    println!("    {denied}");
    Ok(())
}
