//! A client that keeps to somebody else's limit, with many tasks that wait in line on tokio:
//!
//! ```sh
//! cargo run --example waiting --features tokio
//! ```

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use tollgate::{Line, Quota, RateLimiter, Reserve, TokenBucket, TokioTimer, WaitError};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // 100 a second, 10 at once; no more than 30 wait.
    let bucket = TokenBucket::new(Quota::per_second(100).burst(10))?;
    let line = Arc::new(Line::new(RateLimiter::new(bucket), 30));
    let start = Instant::now();
    let passed = |who: &str| println!("{:>5} ms  {who}", start.elapsed().as_millis());

    println!("Fourteen requests come at once, one of which is as large as ten. All are served in their order.");
    let mut tasks = Vec::new();
    for task in 0..14 {
        let line = line.clone();
        let cost = if task == 11 { 10 } else { 1 };
        tasks.push(tokio::spawn(async move {
            let outcome = line.wait(cost, PATIENCE, TokioTimer).await;
            (task, start.elapsed(), outcome)
        }));
        // Into line, before the next one comes.
        tokio::task::yield_now().await;
    }
    let mut last = Duration::ZERO;
    for task in tasks {
        let (task, at, outcome) = task.await?;
        outcome?;
        println!("{:>5} ms  request {task}{}", at.as_millis(), if task == 11 { ", of ten units" } else { "" });
        assert!(last <= at || task < 11);
        last = at;
    }

    println!("What cannot pass in time is told so at once, and not when its time is over.");
    line.limiter().charge(60); // a debt: more than half a second's
    let refused = line.wait(10, Duration::from_millis(50), TokioTimer).await.unwrap_err();
    assert!(matches!(refused, WaitError::TooLong { .. }));
    passed(&format!("refused: {refused}"));
    let refused = line.wait(11, PATIENCE, TokioTimer).await.unwrap_err();
    passed(&format!("refused: {refused}"));

    println!("Whoever gives up while it waits has taken nothing, and the next is called.");
    let impatient = tokio::time::timeout(Duration::from_millis(20), line.wait(10, PATIENCE, TokioTimer));
    let (impatient, small) = tokio::join!(impatient, line.wait(1, PATIENCE, TokioTimer));
    assert!(impatient.is_err());
    small?;
    passed("the small one, that was behind a large one");

    println!("A cost that is known only afterwards: an estimate, and what it came to.");
    let request = line.limiter().reserve(5, Duration::from_secs(1))?;
    tokio::time::sleep(request.remaining_delay()).await;
    passed("a request that may cost 5");
    request.settle(25); // it was 25: those who come later wait for it
    line.wait(1, PATIENCE, TokioTimer).await?;
    passed("the next one, after the debt");
    Ok(())
}
