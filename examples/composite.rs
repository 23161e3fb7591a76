//! Ten a second and a thousand an hour for each client, and two thousand an hour for all of them, as one limit. Told with
//! a clock that is moved by hand:
//!
//! ```sh
//! cargo run --example composite
//! ```

use std::{error::Error, time::Duration};

use tollgate::{
    Composite, FixedWindow, KeyedLimiter, Limiter, ManualClock, Quota, RateLimiter, SlidingWindow, TokenBucket,
};

const NAMES: &[&str] = &["10 per second", "1,000 per hour", "everybody's 2,000 per hour"];

/// The limits of a service.
struct Limits {
    second: KeyedLimiter<str, TokenBucket, ManualClock>,
    hour: KeyedLimiter<str, SlidingWindow, ManualClock>,
    everybody: RateLimiter<FixedWindow, ManualClock>,
    clock: ManualClock,
}

impl Limits {
    fn new() -> Result<Self, Box<dyn Error>> {
        let clock = ManualClock::new();
        Ok(Self {
            second: KeyedLimiter::with_clock(TokenBucket::new(Quota::per_second(10))?, 10_000, clock.clone()),
            hour: KeyedLimiter::with_clock(SlidingWindow::new(Quota::per_hour(1_000))?, 10_000, clock.clone()),
            everybody: RateLimiter::with_clock(FixedWindow::new(Quota::per_hour(2_000))?, clock.clone()),
            clock,
        })
    }

    /// So many requests of a client, one after the other: how many passed, and what the last one was told.
    fn requests(&self, client: &str, count: u64) {
        // On the stack; made for each request, or kept. What most share comes last.
        let limits = Composite::new((self.second.key(client), self.hour.key(client), &self.everybody)).named(NAMES);
        let answers: Vec<_> = (0..count).map(|_| limits.check_all(1)).collect();
        let passed = answers.iter().filter(|answer| answer.is_ok()).count();
        match answers.last() {
            Some(Ok(allowed)) => println!("    {client}: {passed} of {count} passed, {} more would", allowed.remaining),
            Some(Err(refused)) => println!("    {client}: {passed} of {count} passed, the last: {refused}"),
            None => {}
        }
    }

    /// So many seconds of ten requests each.
    fn busy_seconds(&self, client: &str, seconds: u64) {
        for _ in 0..seconds {
            let limits = Composite::new((self.second.key(client), self.hour.key(client), &self.everybody));
            let passed = (0..10).filter(|_| limits.check().is_ok()).count();
            assert_eq!(passed, 10);
            self.clock.advance(Duration::from_secs(1));
        }
        println!("    {client}: {seconds} seconds of 10 requests, all passed");
    }

    /// What is left of each limit, for a client.
    fn left(&self, client: &str) -> Result<[u64; 3], Box<dyn Error>> {
        let limits: [&dyn Limiter; 3] = [&self.second.key(client), &self.hour.key(client), &self.everybody];
        let mut left = [0; 3];
        for (left, limit) in left.iter_mut().zip(limits) {
            *left = limit.peek_n(0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining);
        }
        println!("    left for {client}: {} this second, {} this hour, {} for everybody", left[0], left[1], left[2]);
        Ok(left)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits::new()?;

    println!("A client in a hurry is stopped by the second, and only that:");
    limits.requests("alice", 10);
    let before = limits.left("alice")?;
    limits.requests("alice", 5);
    let after = limits.left("alice")?;
    assert_eq!(before, after);
    println!("    five refusals took nothing from the hour, nor from anybody else");

    println!("A client who never rests is stopped by the hour:");
    limits.clock.advance(Duration::from_secs(1));
    limits.busy_seconds("alice", 99);
    limits.requests("alice", 1);

    println!("Of those who are many, each within the limits of one, the last are stopped by the one that all share:");
    limits.busy_seconds("bob", 99);
    limits.requests("carol", 9);
    limits.requests("dave", 2);
    assert_eq!(limits.left("dave")?, [9, 999, 0]);

    println!("And in the next hour all is well again:");
    limits.clock.advance(Duration::from_secs(3_600));
    limits.requests("dave", 1);
    Ok(())
}
