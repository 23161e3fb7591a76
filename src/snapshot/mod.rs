//! The state of limiters, to be kept across a restart: in any format that [serde](https://docs.rs/serde) writes.
//!
//! [`RateLimiter::snapshot`] and [`KeyedLimiter::snapshot`] take down what is in use, and `restore` makes a limiter that
//! goes on from there, by a clock that may count from another epoch.
//!
//! ```
//! use std::time::Duration;
//! use tollgate::{Limiter, ManualClock, Quota, RateLimiter, Timestamp, TokenBucket, snapshot::Snapshot};
//!
//! let bucket = TokenBucket::new(Quota::per_second(10))?;
//! let limiter = RateLimiter::with_clock(bucket, ManualClock::starting_at(Timestamp::from_secs(1_000)));
//! assert!(limiter.check_n(10).is_ok());
//!
//! // Since 1970, as the operating system says.
//! let wall = Timestamp::from_secs(1_790_000_000);
//! let written = serde_json::to_string(&limiter.snapshot(Some(wall)))?;
//!
//! // The new process's clock begins at 0. By the wall clock half a second has passed.
//! let read: Snapshot = serde_json::from_str(&written)?;
//! let wall = wall + Duration::from_millis(500);
//! let limiter = RateLimiter::restore(bucket, ManualClock::new(), &read, Some(wall))?;
//! assert_eq!(limiter.peek_n(0)?.remaining, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is restored
//!
//! A state is moved to the new clock so that it never leaves more room than it did, by the time that has passed:
//!
//! | algorithm | is kept as | on a clock of another phase |
//! | --- | --- | --- |
//! | buckets | units in use | exact to a fraction of a unit, against the caller |
//! | fixed window | the count, and how long its window lasts | the window ends with the first of the new clock's that does not end earlier |
//! | sliding window | two counts, and how long the window lasts | the same; both count for as much longer |
//! | sliding log | the time of each unit | exact; units from before the clock's epoch count as taken at the epoch |
//!
//! So a window can be longer once, by less than one period; if windows begin at the same times by both clocks, as by one
//! that counts from 1970, it is exact. A log wants a clock that does not begin at 0: with one that does, what was
//! taken before stays in use for up to a whole period from there on.
//!
//! The time that has passed is the difference of the wall clock's times that are given to `snapshot` and to `restore`, which
//! must count from the same epoch. Without one of them, or if the later is the earlier, no time has passed: everybody waits
//! for as long as when the snapshot was taken. A wall clock that was set forward in between gives away that much.
//!
//! A [`Live`](crate::Live) limiter is restored with the quota that it had last, which [`Snapshot::quotas`] tells, and can be changed
//! from there on. It counts otherwise than its algorithm without `Live`, so neither is restored as the other.
//!
//! # What is refused
//!
//! A snapshot of another algorithm, quota or version, of another number of tiers or of slots, and one that says what cannot
//! be: with a [`RestoreError`]. No snapshot makes `restore` panic, or take more memory than the limiter does. What a
//! snapshot says is otherwise believed: it is not signed, and who can change it can change what is in use.
//!
//! # What a snapshot is not
//!
//! It is taken while others go on. Each state is as it was at one moment (of a log, units that are taken meanwhile may
//! count as well); the states of different keys are of different moments, and what is admitted after a
//! state was read is not in it. Take it once no more requests are let in, or know that a restart gives back what was
//! admitted since.
//!
//! A booking that is open, and what a [`Lease`](crate::Lease) has in hand, count as in use, like what was admitted; neither can
//! be put back in the next process.
//!
//! A [`KeyedSnapshot`] has the secret seeds of the hasher, by which keys are found again, and fingerprints of the keys: **it
//! is as confidential as the seeds in memory are.** Who reads it can make keys that share limits or crowd each other
//! ([`SecretState`](crate::SecretState) says what that is worth), and can tell whether a key that he guesses is in it.
//! Keys must be hashed as they were: a `Hash` that was derived of other fields finds nothing.
//!
//! [`RateLimiter::snapshot`]: crate::RateLimiter::snapshot
//! [`KeyedLimiter::snapshot`]: crate::KeyedLimiter::snapshot

mod direct;
mod error;
mod header;
mod keyed;
mod state;

pub(crate) use state::{SaveWord, Shift, State};
pub use {direct::Snapshot, error::RestoreError, keyed::KeyedSnapshot, state::Save};
