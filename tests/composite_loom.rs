//! Composites under the model checker: what two of them that share a part leave behind, in every interleaving.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --profile loom --test composite_loom --target-dir target/loom`.
//!
//! The clock is an atomic that moves with each reading, also with the one by which something is given back.
#![cfg(loom)]

mod moving;

use std::time::Duration;

use loom::{
    sync::{Arc, atomic::Ordering},
    thread,
};
use moving::Moving;
use tollgate::{
    Algorithm, Clock, Composite, FixedWindow, Headroom, LeakyBucket, Limiter, Quota, RateLimiter, SlidingLog,
    SlidingWindow, Timestamp, TokenBucket,
};

const START: u64 = 1_000;

/// Two limits of two threads' own, of 1 unit each, and one that they share. All by one clock.
struct World<A: Algorithm> {
    clock: Moving,
    shared: RateLimiter<A, Moving>,
    own: [RateLimiter<TokenBucket, Moving>; 2],
}

impl<A: Algorithm> World<A> {
    fn new(shared: A, step: u64) -> Arc<Self> {
        let clock = Moving::new(START, step);
        let shared = RateLimiter::with_clock(shared, clock.clone());
        let own =
            || RateLimiter::with_clock(TokenBucket::new(Quota::new(1, Duration::from_secs(1))).unwrap(), clock.clone());
        let own = [own(), own()];
        // Each of them has read it.
        clock.nanos.store(START, Ordering::Relaxed);
        Arc::new(Self { clock, shared, own })
    }

    /// A request by the limit of one's own, which comes last, and the one before it.
    fn check(&self, whose: usize) -> bool {
        Composite::new((&self.shared, &self.own[whose])).check_all(1).is_ok()
    }

    fn left(limiter: &impl Limiter, now: u64) -> u64 {
        match limiter.peek_n_at(0, Timestamp::from_nanos(now)) {
            Ok(allowed) => allowed.remaining,
            Err(denied) => denied.remaining,
        }
    }
}

fn model(preemptions: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(check);
}

/// A quota that regains nothing within the model.
fn quota(units: u64) -> Quota {
    Quota::new(units, Duration::from_secs(1))
}

/// Two threads ask for a unit of two limits, of which the second has only one: both may have looked, found it there, and
/// taken from the first by the time that one of them is refused.
fn a_refused_one_leaves_nothing<A: Algorithm + Copy + 'static>(algorithm: A, limit: u64) {
    model(Some(2), move || {
        let world = World::new(algorithm, 1);
        let others = world.clone();
        let other = thread::spawn(move || others.check(0));
        let mine = world.check(0);
        let theirs = other.join().unwrap();
        let passed = u64::from(mine) + u64::from(theirs);
        assert_eq!(passed, 1, "one's own limit is 1, and there was room for both in the other");
        assert_eq!(World::<A>::left(&world.shared, START + 20), limit - passed, "a refused composite was charged");
        assert_eq!(World::<A>::left(&world.own[0], START + 20), 0);
    });
}

#[test]
fn a_refused_composite_leaves_nothing_taken() {
    a_refused_one_leaves_nothing(TokenBucket::new(quota(3)).unwrap(), 3);
    a_refused_one_leaves_nothing(LeakyBucket::new(quota(3)).unwrap(), 3);
    a_refused_one_leaves_nothing(FixedWindow::new(quota(3)).unwrap(), 3);
    a_refused_one_leaves_nothing(SlidingWindow::new(quota(3)).unwrap(), 3);
    a_refused_one_leaves_nothing(SlidingLog::new(quota(3)).unwrap(), 3);
}

#[test]
fn two_composites_share_a_part_and_one_is_refused() {
    // The one that passes is short of nothing: at most one unit of the other's is in hand, and there is room for that.
    model(Some(3), || {
        let world = World::new(SlidingLog::new(quota(2)).unwrap(), 1);
        assert!(world.own[0].check().is_ok());
        let others = world.clone();
        let other = thread::spawn(move || others.check(0));
        assert!(world.check(1), "refused for a unit that nobody has got");
        assert!(!other.join().unwrap());
        assert_eq!(World::<SlidingLog>::left(&world.shared, START + 20), 1);
    });
}

/// Takes a unit and gives it back, as a refused composite does, while another thread takes at times that may be later: so
/// much later that the window has gone by, or the unit has been regained. From one time to another, no more than `most`
/// may be admitted.
fn taken_and_given_back<A: Algorithm + Copy + 'static>(
    algorithm: A,
    step: u64,
    most: fn(u64, u64) -> u64,
    undone: fn(&RateLimiter<A, Moving>, Timestamp),
) {
    model(Some(3), move || {
        let world = World::new(algorithm, step);
        let others = world.clone();
        let check = |world: &World<A>| {
            let now = world.clock.now();
            world.shared.check_at(now).is_ok().then_some(now.as_nanos())
        };
        let other = thread::spawn(move || [check(&others), check(&others)]);
        undone(&world.shared, world.clock.now());
        let mut times: Vec<u64> = other.join().unwrap().into_iter().flatten().collect();
        // What is left for afterwards.
        times.extend([check(&world), check(&world)].into_iter().flatten());
        for (first, &start) in times.iter().enumerate() {
            for (last, &end) in times.iter().enumerate().skip(first) {
                let count = (last - first + 1) as u64;
                assert!(count <= most(start, end), "{count} within {} ns: {times:?}", end - start);
            }
        }
    });
}

fn in_40(limit: u64) -> Quota {
    Quota::new(limit, Duration::from_nanos(40))
}

/// One in each window of 40 ns.
fn in_its_window(start: u64, end: u64) -> u64 {
    if start / 40 == end / 40 { 1 } else { 9 }
}

#[test]
fn an_undo_gives_back_nothing_of_others() {
    fn holds<A: Algorithm + Copy + 'static>(algorithm: A, step: u64, most: fn(u64, u64) -> u64) {
        taken_and_given_back(algorithm, step, most, |limiter, now| {
            let _ = limiter.check_and(1, Headroom::NONE, now, &mut |_| false);
        });
    }
    // A unit is regained in four readings of the clock, in one, in half of one.
    holds(TokenBucket::new(in_40(1)).unwrap(), 10, |start, end| 1 + (end - start) / 40);
    holds(TokenBucket::new(in_40(1)).unwrap(), 40, |start, end| 1 + (end - start) / 40);
    holds(TokenBucket::new(in_40(2)).unwrap(), 10, |start, end| 2 + (end - start) / 20);
    holds(LeakyBucket::new(in_40(4).burst(2)).unwrap(), 5, |start, end| 2 + (end - start) / 10);
    holds(FixedWindow::new(in_40(1)).unwrap(), 20, in_its_window);
    holds(SlidingWindow::new(in_40(1)).unwrap(), 20, |start, end| if end - start < 40 { 1 } else { 9 });
    holds(SlidingWindow::new(in_40(2)).unwrap(), 10, |start, end| if end - start < 40 { 3 } else { 9 });
    holds(SlidingLog::new(in_40(1)).unwrap(), 20, |start, end| if end - start < 40 { 1 } else { 9 });
    holds(SlidingLog::new(in_40(2)).unwrap(), 10, |start, end| if end - start < 40 { 2 } else { 9 });
}

/// Planted: limits are checked one after the other, and what the first has taken stays taken if the second refuses.
#[test]
#[should_panic(expected = "a refused composite was charged")]
fn a_composite_without_a_way_back_is_caught() {
    model(Some(2), || {
        let world = World::new(TokenBucket::new(quota(3)).unwrap(), 1);
        let check = |world: &World<TokenBucket>| {
            let limits = [&world.shared, &world.own[0]];
            limits.iter().all(|limit| limit.peek().is_ok()) && limits.iter().all(|limit| limit.check().is_ok())
        };
        let others = world.clone();
        let other = thread::spawn(move || check(&others));
        let passed = u64::from(check(&world)) + u64::from(other.join().unwrap());
        let left = World::<TokenBucket>::left(&world.shared, START + 20);
        assert_eq!(left, 3 - passed, "a refused composite was charged");
    });
}

/// Planted: what is given back is a refund, which takes the newest units there are for its own.
#[test]
#[should_panic(expected = "within 20 ns")]
fn a_refund_for_an_undo_is_caught() {
    let refunds = |limiter: &RateLimiter<FixedWindow, Moving>, now| {
        if limiter.check_at(now).is_ok() {
            limiter.refund_at(1, now);
        }
    };
    taken_and_given_back(FixedWindow::new(in_40(1)).unwrap(), 20, in_its_window, refunds);
}
