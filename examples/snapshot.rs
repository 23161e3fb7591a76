//! A service that is restarted, and its clients, who are not let off by it:
//!
//! ```sh
//! cargo run --features serde --example snapshot
//! ```

use std::{
    error::Error,
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tollgate::{Clock, KeyedLimiter, ManualClock, Quota, Timestamp, TokenBucket, snapshot::KeyedSnapshot};

/// By a clock that is moved by hand; a service leaves it out, for the system's.
type Clients = KeyedLimiter<String, TokenBucket, ManualClock>;

/// For how many clients the table is built; the same before and after.
const CLIENTS: usize = 1_000;

fn quota() -> Result<TokenBucket, Box<dyn Error>> {
    Ok(TokenBucket::new(Quota::per_minute(60))?)
}

/// The time since 1970, as the operating system says.
fn wall() -> Result<Timestamp, Box<dyn Error>> {
    Ok(Timestamp::ZERO + SystemTime::now().duration_since(UNIX_EPOCH)?)
}

fn left(clients: &Clients, name: &str) -> u64 {
    clients.peek_n(name, 0).map_or_else(|denied| denied.remaining, |allowed| allowed.remaining)
}

/// The first process: what its clients have used is in the file when it ends.
fn serve_and_stop(file: &Path, wall: Timestamp) -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::starting_at(Timestamp::from_secs(86_400)); // it has been up for a day
    let clients = Clients::with_clock(quota()?, CLIENTS, clock);
    assert!(clients.check_n("alice", 60).is_ok());
    assert!(clients.check_n("bob", 20).is_ok());
    println!("Before: alice has {} left, bob {}.", left(&clients, "alice"), left(&clients, "bob"));

    // No more requests are let in. What is written is as confidential as the memory of this process.
    fs::write(file, serde_json::to_vec(&clients.snapshot(Some(wall)))?)?;
    Ok(())
}

/// The next process, and what it says of the file.
fn start(file: &Path, wall: Timestamp) -> Result<Clients, Box<dyn Error>> {
    let snapshot: KeyedSnapshot = serde_json::from_slice(&fs::read(file)?)?;
    Ok(Clients::restore(quota()?, CLIENTS, ManualClock::new(), &snapshot, Some(wall))?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("tollgate-snapshot-{}.json", std::process::id()));
    let wall = wall()?;
    serve_and_stop(&file, wall)?;

    let later = Duration::from_secs(10);
    let clients = start(&file, wall + later)?;
    println!("{later:?} later, by a clock at {:?}:", clients.clock().now());
    println!(
        "    alice has {} left, bob {}, carol {}.",
        left(&clients, "alice"),
        left(&clients, "bob"),
        left(&clients, "carol")
    );
    assert_eq!([left(&clients, "alice"), left(&clients, "bob"), left(&clients, "carol")], [10, 50, 60]);

    // What cannot be gone on with is refused, and a service can begin anew if that is what it wants.
    let snapshot: KeyedSnapshot = serde_json::from_slice(&fs::read(&file)?)?;
    let other = TokenBucket::new(Quota::per_minute(120))?;
    let error = Clients::restore(other, CLIENTS, ManualClock::new(), &snapshot, Some(wall)).unwrap_err();
    println!("By another quota: {error}");
    fs::write(&file, "half a fi")?;
    let error = start(&file, wall + later).unwrap_err();
    println!("From a file that is damaged: {error}");

    fs::remove_file(&file)?;
    Ok(())
}
