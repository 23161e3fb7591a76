//! An afternoon on which the limits change while they are in use, told with a clock that is moved by hand:
//!
//! ```sh
//! cargo run --example live_change
//! ```

use std::{error::Error, thread, time::Duration};

use tollgate::{
    Carry, FixedWindow, KeyedLimiter, Limiter, Live, ManualClock, Quota, RateLimiter, Timestamp, TokenBucket,
};

const CLIENTS: [&str; 3] = ["alice", "bob", "carol"];

fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let clients = Live::<TokenBucket>::new(Quota::per_second(100))?;
    let clients: KeyedLimiter<str, Live<TokenBucket>, _> = KeyedLimiter::with_clock(clients, 1_000, clock.clone());
    let left = |client: &str| clients.peek_n(client, 0).map_or(0, |allowed| allowed.remaining);
    let show = |what: &str| {
        let each: Vec<String> = CLIENTS.iter().map(|client| format!("{client} has {:>3}", left(client))).collect();
        println!("    {what:<46}{}", each.join(", "));
    };

    println!("Clients have 100 a second. Alice has used all of it, Bob the half, Carol nothing.");
    clients.check_n("alice", 100)?;
    clients.check_n("bob", 50)?;
    show("100 per second:");

    println!("The database is slow: half of it has to do, and each keeps the share that was left.");
    clients.set_quota(Quota::per_second(50), Carry::Proportional)?;
    show("50 per second, proportional:");
    assert_eq!(CLIENTS.map(left), [0, 25, 50]);

    println!("A second later it is well again. As many units as are in use stay in use: nobody gets them twice.");
    clock.advance(Duration::from_secs(1));
    clients.check_n("alice", 50)?;
    clients.set_quota(Quota::per_second(100).burst(200), Carry::Absolute)?;
    show("100 per second, 200 at once, absolute:");
    assert_eq!(CLIENTS.map(left), [150, 200, 200]);

    println!("A quota that cannot be is refused, and nothing is changed:");
    let error = clients.set_quota(Quota::per_second(0), Carry::Absolute).unwrap_err();
    println!("    {error}");
    assert_eq!(clients.algorithm().quota(), Quota::per_second(100).burst(200));

    println!("Four threads take as much as they can, while the day's quota is changed a thousand times.");
    let day = RateLimiter::with_clock(Live::<FixedWindow>::new(Quota::per_day(100_000))?, clock);
    let taken: u64 = thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..200_000).filter(|_| day.check_at(Timestamp::from_secs(60)).is_ok()).count()))
            .collect();
        for nth in 0..1_000 {
            let quota = Quota::per_day(if nth % 2 == 0 { 90_000 } else { 100_000 });
            day.set_quota(quota, Carry::Absolute).expect("a quota that can be");
        }
        takers.into_iter().map(|taker| taker.join().expect("it does not panic") as u64).sum()
    });
    let rest = day.peek_n_at(0, Timestamp::from_secs(60)).map_or(0, |allowed| allowed.remaining);
    println!("    {taken} were admitted and {rest} are left, of 100000: each unit has been counted once.");
    assert_eq!(taken + rest, 100_000);
    Ok(())
}
