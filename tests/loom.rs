//! The production code under the model checker: every interleaving of two threads, and of three within a bound.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test loom --target-dir target/loom`.
//!
//! The clock is an atomic that moves: each reading takes a step, so that threads apply their times in every order.
//! A clock that stands still has hidden a real over-admission from a model elsewhere.
#![cfg(loom)]

use std::time::Duration;

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tollgate::{
    Algorithm, FixedWindow, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, SlidingLog, SlidingWindow,
    Timestamp, TokenBucket, algorithm::Rule,
};

/// Time in which one unit is regained, and the step of the clock, in nanoseconds.
const STEP: u64 = 10;

/// Everything a model shares: an algorithm with its state, and a clock that moves with every reading.
struct Shared<A: Algorithm> {
    limiter: RateLimiter<A, ManualClock>,
    clock: AtomicU64,
    step: u64,
}

impl<A: Algorithm> Shared<A> {
    /// The clock starts well after its epoch, as a state of zeros must not be taken for one of time zero.
    const START: u64 = 1_000;

    fn new(algorithm: A, step: u64) -> Arc<Self> {
        // The limiter's own clock only tells when it is made; each request comes with its time.
        let made = ManualClock::starting_at(Timestamp::from_nanos(Self::START));
        let limiter = RateLimiter::with_clock(algorithm, made);
        Arc::new(Self { limiter, clock: AtomicU64::new(Self::START), step })
    }

    /// The time now; the clock moves on.
    fn now(&self) -> u64 {
        self.clock.fetch_add(self.step, Ordering::Relaxed)
    }

    /// One check, as `(time, admitted)`.
    fn check(&self) -> (u64, bool) {
        let now = self.now();
        (now, self.limiter.check_at(Timestamp::from_nanos(now)).is_ok())
    }

    fn remaining(&self, now: u64) -> u64 {
        match self.limiter.peek_n_at(0, Timestamp::from_nanos(now)) {
            Ok(allowed) => allowed.remaining,
            Err(denied) => denied.remaining,
        }
    }
}

/// Runs `checks[i]` checks on thread `i` and returns the times of those admitted, sorted.
fn admitted<A: Algorithm + Copy + 'static>(algorithm: A, step: u64, checks: &[usize]) -> (Vec<u64>, Arc<Shared<A>>) {
    let shared = Shared::new(algorithm, step);
    let run = |count: usize, shared: &Shared<A>| (0..count).map(|_| shared.check()).collect::<Vec<_>>();
    let others: Vec<_> = checks[1..]
        .iter()
        .map(|&count| {
            let shared = shared.clone();
            thread::spawn(move || run(count, &shared))
        })
        .collect();
    let mut answers = run(checks[0], &shared);
    for other in others {
        answers.extend(other.join().unwrap());
    }
    let mut times: Vec<u64> = answers.into_iter().filter_map(|(now, ok)| ok.then_some(now)).collect();
    times.sort_unstable();
    (times, shared)
}

/// Asserts that no interval admits more than `most` of its length (last time minus first) allows.
fn assert_bound(times: &[u64], most: impl Fn(u64) -> u64) {
    for (first, start) in times.iter().enumerate() {
        for (last, end) in times.iter().enumerate().skip(first) {
            let count = (last - first + 1) as u64;
            assert!(count <= most(end - start), "{count} within {} ns: {times:?}", end - start);
        }
    }
}

fn model(preemptions: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(check);
}

/// `units` per `units * STEP` nanoseconds.
fn quota(units: u64) -> Quota {
    Quota::new(units, Duration::from_nanos(units * STEP))
}

mod word {
    use super::*;

    #[test]
    fn two_threads_share_one_word_token_bucket() {
        model(None, || {
            // Half a unit is regained between two readings.
            let (times, _) = admitted(TokenBucket::new(quota(1)).unwrap(), STEP / 2, &[2, 2]);
            assert_bound(&times, |time| 1 + time / STEP);
            assert!(!times.is_empty());
        });
    }

    #[test]
    fn two_threads_share_one_word_leaky_bucket() {
        model(None, || {
            let (times, _) = admitted(LeakyBucket::new(quota(2).burst(2)).unwrap(), STEP / 2, &[2, 2]);
            assert_bound(&times, |time| 2 + time / STEP);
            assert!(times.len() >= 2);
        });
    }

    #[test]
    fn two_threads_share_one_word_fixed_window() {
        // Windows of 20 ns and steps of 10: the four readings cross an edge.
        model(None, || {
            let (times, _) = admitted(FixedWindow::new(quota(2)).unwrap(), STEP, &[2, 2]);
            for window in 0..=(Shared::<FixedWindow>::START + 4 * STEP) / (2 * STEP) {
                let inside = times.iter().filter(|&&time| time / (2 * STEP) == window).count();
                assert!(inside <= 2, "{inside} in window {window}: {times:?}");
            }
        });
    }

    #[test]
    fn two_threads_share_one_word_sliding_window() {
        model(None, || {
            let (times, _) = admitted(SlidingWindow::new(quota(2)).unwrap(), STEP, &[2, 2]);
            // 2 * limit - 1 in any period of 20 ns, half-open.
            assert_bound(&times, |time| if time < 2 * STEP { 3 } else { u64::MAX });
        });
    }

    #[test]
    fn three_threads_share_one_word() {
        model(Some(2), || {
            let (times, _) = admitted(TokenBucket::new(quota(2)).unwrap(), STEP / 2, &[1, 2, 1]);
            assert_bound(&times, |time| 2 + time / STEP);
            assert!(times.len() >= 2);
        });
    }

    #[test]
    fn no_unit_is_lost() {
        // Without time passing, exactly the burst passes, however the threads interleave.
        model(None, || {
            let (times, shared) = admitted(TokenBucket::new(quota(3)).unwrap(), 0, &[2, 2]);
            assert_eq!(times.len(), 3);
            assert_eq!(shared.remaining(Shared::<TokenBucket>::START), 0);
        });
    }

    #[test]
    fn a_refund_races_a_check() {
        model(None, || {
            let shared = Shared::new(TokenBucket::new(quota(2)).unwrap(), 0);
            assert!(shared.check().1);
            let refunder = shared.clone();
            let refund = thread::spawn(move || {
                let now = Timestamp::from_nanos(refunder.now());
                refunder.limiter.refund_at(1, now);
            });
            let taken = u64::from(shared.check().1) + u64::from(shared.check().1);
            refund.join().unwrap();
            // One was taken and given back: what is left is what the checks left.
            assert_eq!(shared.remaining(Shared::<TokenBucket>::START), 2 - taken);
        });
    }

    /// Planted: the next word is stored, not swapped in. The model has to find the lost update.
    #[test]
    #[should_panic(expected = "lost update")]
    fn a_store_for_a_swap_is_caught() {
        model(None, || {
            let rule = TokenBucket::new(quota(1)).unwrap();
            let word = Arc::new(AtomicU64::new(rule.fresh(Timestamp::ZERO)));
            let take = move |word: &AtomicU64| {
                let step = rule.step(word.load(Ordering::Relaxed), 1, Timestamp::from_nanos(1_000));
                step.map(|(_, next)| word.store(next, Ordering::Relaxed)).is_ok()
            };
            let other = word.clone();
            let thread = thread::spawn(move || take(&other));
            let both = take(&word) & thread.join().unwrap();
            assert!(!both, "lost update: two units of one");
        });
    }
}

mod ring {
    use super::*;

    /// A log of `limit` units per `window` nanoseconds.
    fn log(limit: u64, window: u64) -> SlidingLog {
        SlidingLog::new(Quota::new(limit, Duration::from_nanos(window))).unwrap()
    }

    fn assert_log(times: &[u64], limit: u64, window: u64) {
        assert_bound(times, |time| if time < window { limit } else { u64::MAX });
    }

    #[test]
    fn ring_two_threads_claim() {
        model(None, || {
            let (times, shared) = admitted(log(3, 1_000), STEP, &[2, 2]);
            assert_log(&times, 3, 1_000);
            assert_eq!(times.len(), 3, "a free place was refused");
            assert_eq!(shared.remaining(Shared::<SlidingLog>::START + 4 * STEP), 0);
        });
    }

    #[test]
    fn ring_places_are_given_out_again() {
        // One place and a window of one step: every reading but the earliest may find it gone.
        model(None, || {
            let (times, _) = admitted(log(1, STEP), STEP, &[2, 2]);
            assert_log(&times, 1, STEP);
            assert!(!times.is_empty());
        });
        model(Some(2), || {
            let (times, _) = admitted(log(2, 2 * STEP), STEP, &[3, 2]);
            assert_log(&times, 2, 2 * STEP);
            assert!(times.len() >= 2);
        });
    }

    #[test]
    fn ring_three_threads() {
        model(Some(2), || {
            let (times, _) = admitted(log(2, 2 * STEP), STEP, &[2, 1, 1]);
            assert_log(&times, 2, 2 * STEP);
            assert!(times.len() >= 2);
        });
    }

    #[test]
    fn ring_costs_claim_several_places() {
        model(None, || {
            let shared = Shared::new(log(3, 3 * STEP), STEP);
            let other = shared.clone();
            let take = |shared: &Shared<SlidingLog>, cost: u64| {
                let now = shared.now();
                let admitted = shared.limiter.check_n_at(cost, Timestamp::from_nanos(now)).is_ok();
                vec![now; if admitted { cost as usize } else { 0 }]
            };
            let thread = thread::spawn(move || [take(&other, 2), take(&other, 2)].concat());
            let mut times = [take(&shared, 1), take(&shared, 3)].concat();
            times.extend(thread.join().unwrap());
            times.sort_unstable();
            assert_log(&times, 3, 3 * STEP);
        });
    }

    /// Takes one unit, then gives it back while another thread checks twice.
    fn refund_races(limit: u64) {
        model(Some(3), move || {
            let shared = Shared::new(log(limit, 1_000), STEP);
            assert!(shared.check().1);
            let refunder = shared.clone();
            let refund = thread::spawn(move || {
                let now = Timestamp::from_nanos(refunder.now());
                refunder.limiter.refund_at(1, now);
            });
            let taken = u64::from(shared.check().1) + u64::from(shared.check().1);
            refund.join().unwrap();
            let end = Shared::<SlidingLog>::START + 10 * STEP;
            assert_eq!(shared.remaining(end), limit - taken, "{taken} taken of {limit}, and one given back");
            // Every place is written: all of them are gone one window later.
            assert_eq!(shared.remaining(end + 1_000), limit);
        });
    }

    #[test]
    fn ring_a_refund_races_a_check() {
        refund_races(1);
        refund_races(2);
        refund_races(3);
    }

    #[test]
    fn ring_two_refunds_race() {
        model(Some(3), || {
            let shared = Shared::new(log(2, 1_000), STEP);
            assert!(shared.check().1 && shared.check().1);
            let give_back = |shared: &Shared<SlidingLog>| {
                let now = Timestamp::from_nanos(shared.now());
                shared.limiter.refund_at(1, now);
            };
            let other = shared.clone();
            let thread = thread::spawn(move || give_back(&other));
            give_back(&shared);
            thread.join().unwrap();
            assert_eq!(shared.remaining(Shared::<SlidingLog>::START + 10 * STEP), 2);
        });
    }

    #[test]
    fn ring_a_reset_races_checks() {
        model(Some(3), || {
            let shared = Shared::new(log(2, 1_000), STEP);
            let other = shared.clone();
            let thread = thread::spawn(move || [other.check().1, other.check().1]);
            shared.limiter.reset_at(Timestamp::from_nanos(shared.now()));
            let answers = thread.join().unwrap();
            assert_eq!(answers, [true, true]);
            // Whatever was claimed before the reset is forgotten, what came after is not; nothing is left unwritten.
            let end = Shared::<SlidingLog>::START + 10 * STEP;
            assert_eq!(shared.remaining(end + 1_000), 2);
            let left = shared.remaining(end);
            for _ in 0..left {
                assert!(shared.check().1);
            }
            assert!(!shared.check().1);
        });
    }

    #[test]
    fn ring_a_place_that_is_used_again_is_not_taken_for_gone() {
        // The head is where it was once a unit is given back and its place claimed again. A thread that saw the first
        // unit leave the window must not let go of the second.
        model(None, || {
            let window = 2 * STEP;
            let shared = Shared::new(log(1, window), STEP);
            let start = Shared::<SlidingLog>::START;
            let check = |shared: &Shared<SlidingLog>, now: u64| {
                shared.limiter.check_n_at(1, Timestamp::from_nanos(now)).is_ok()
            };
            assert!(check(&shared, start));
            let other = shared.clone();
            let again = start + window + STEP;
            let thread = thread::spawn(move || {
                other.limiter.refund_at(1, Timestamp::from_nanos(start + STEP));
                check(&other, again)
            });
            let late = check(&shared, start + window);
            let used_again = thread.join().unwrap();
            assert!(late || used_again, "a free place was refused");
            if used_again {
                assert!(!check(&shared, again + window - 1), "two units of one place, and none of them given back");
            }
        });
    }

    #[test]
    fn ring_times_out_of_order_do_not_end_before_the_window() {
        // Two threads may claim in the other order than they read the clock, and neither see the other's time.
        model(None, || {
            let window = 10 * STEP;
            let shared = Shared::new(log(3, window), STEP);
            let other = shared.clone();
            let thread = thread::spawn(move || other.check());
            let times = [shared.check(), thread.join().unwrap()].map(|(time, _)| time);
            let latest = times[0].max(times[1]);
            for now in latest + window - STEP..=latest + window {
                let peek = shared.limiter.peek_n_at(0, Timestamp::from_nanos(now)).unwrap();
                let in_use = peek.remaining < 3;
                assert_eq!(peek.reset_after > Duration::ZERO, in_use, "{times:?} at {now}");
                assert!(peek.reset_after <= Duration::from_nanos(STEP), "{times:?} at {now}");
            }
        });
    }

    /// Planted: slots without the tag of their lap. A place that is claimed and not yet written then shows the time
    /// of the lap before, which has left the window, and is given out a second time.
    #[test]
    #[should_panic(expected = "admitted twice")]
    fn ring_a_slot_without_its_lap_is_caught() {
        const WINDOW: u64 = 100;
        model(None, || {
            struct Untagged {
                head: AtomicU64,
                slots: [AtomicU64; 1],
            }
            // One place, used long ago.
            let ring = Arc::new(Untagged { head: AtomicU64::new(1), slots: [AtomicU64::new(1)] });
            let claim = |ring: &Untagged, now: u64| {
                let head = ring.head.load(Ordering::Acquire);
                let slot = &ring.slots[0];
                slot.load(Ordering::Relaxed) + WINDOW <= now
                    && ring.head.compare_exchange(head, head + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                    && {
                        slot.store(now, Ordering::Relaxed);
                        true
                    }
            };
            let other = ring.clone();
            let thread = thread::spawn(move || claim(&other, 1_000));
            let both = claim(&ring, 1_001) & thread.join().unwrap();
            assert!(!both, "one place admitted twice within a window");
        });
    }
}
