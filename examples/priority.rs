//! Who yields first when three times as much comes as can be served, told with a clock that is moved by hand:
//!
//! ```sh
//! cargo run --example priority
//! ```

use std::{error::Error, time::Duration};

use tollgate::{Limiter, ManualClock, Priority, Quota, RateLimiter, TokenBucket};

/// What comes, with the least important first: who asks first is not what decides.
const LEVELS: [Priority; 3] = [Priority::Background, Priority::Normal, Priority::Critical];

/// Serves ten seconds of evenly spaced requests, so many per second of each level, and says what became of them.
fn serve(limiter: &impl Limiter, clock: &ManualClock, per_second: [u64; 3], prioritised: bool) -> [(u64, u64); 3] {
    let mut counts = [(0, 0); 3];
    for millis in 1..=10_000_u64 {
        for ((level, rate), (came, passed)) in LEVELS.into_iter().zip(per_second).zip(&mut counts) {
            // So many have come by now.
            while *came < millis * rate / 1_000 {
                *came += 1;
                let decision = if prioritised { limiter.leaving(level).check() } else { limiter.check() };
                *passed += u64::from(decision.is_ok());
            }
        }
        clock.advance(Duration::from_millis(1));
    }
    for (level, (came, passed)) in LEVELS.iter().zip(counts).rev() {
        let bar = "#".repeat((passed * 40 / came.max(1)) as usize);
        println!("    {:<11}{passed:>5} of {came:<5} {bar}", format!("{level:?}"));
    }
    counts
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let fresh =
        || TokenBucket::new(Quota::per_second(100)).map(|bucket| RateLimiter::with_clock(bucket, clock.clone()));

    println!("A service of 100 requests a second, and 90 come: nobody is refused.");
    let calm = serve(&fresh()?, &clock, [40, 30, 20], true);
    assert!(calm.iter().all(|(came, passed)| came == passed));

    println!("300 come, and nobody says what is important: what passes is a matter of luck.");
    serve(&fresh()?, &clock, [150, 100, 50], false);

    println!("The same, but each request says its priority: background leaves half of the burst, normal a fifth.");
    let [background, normal, critical] = serve(&fresh()?, &clock, [150, 100, 50], true);
    assert_eq!(critical.0, critical.1);
    assert!(background.1 * normal.0 < normal.1 * background.0);

    println!("Critical requests alone are as many as can be served: all others wait for better times.");
    let [.., critical] = serve(&fresh()?, &clock, [150, 100, 99], true);
    assert_eq!(critical.0, critical.1);
    Ok(())
}
