//! A lease spends what it has taken ahead: together with all others it never admits more than the limiter, it refuses nothing
//! that the limiter would let it have, and nothing is lost.
#![cfg(not(loom))]

#[macro_use]
mod runner;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use runner::hold;
use tollgate::{
    Algorithm, Allowed, Clock, Composite, Decision, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Lease, Limiter,
    ManualClock, MonotonicClock, Quota, RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket, Undo,
};

const START: u64 = 1_790_000_000_123_456_789;

fn bucket(limit: u64) -> (RateLimiter<TokenBucket, ManualClock>, ManualClock) {
    let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
    (RateLimiter::with_clock(TokenBucket::new(Quota::per_second(limit)).unwrap(), clock.clone()), clock)
}

fn left(limiter: &impl Limiter) -> u64 {
    match limiter.peek_n(0) {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

/// An algorithm that can be made of a limit per second, and the most that it admits in all, from when it is made on.
trait PerSecond: Algorithm + Copy + 'static {
    fn per_second(limit: u64) -> Self;
    fn most(limit: u64, elapsed: u64) -> u64;
}

macro_rules! per_second {
    ($($algorithm:ident: $most:expr;)+) => {$(
        impl PerSecond for $algorithm {
            fn per_second(limit: u64) -> Self {
                $algorithm::new(Quota::per_second(limit)).unwrap()
            }
            fn most(limit: u64, elapsed: u64) -> u64 {
                let most: fn(u64, u64) -> u64 = $most;
                most(limit, elapsed)
            }
        }
    )+};
}

const SECOND: u64 = 1_000_000_000;

per_second! {
    // As many windows as were touched.
    FixedWindow: |limit, elapsed| limit * ((START + elapsed) / SECOND - START / SECOND + 1);
    SlidingWindow: |limit, elapsed| limit * ((START + elapsed) / SECOND - START / SECOND + 1);
    SlidingLog: |limit, elapsed| limit * (elapsed / SECOND + 1);
    // To the nanosecond by which the moment at which it was full is rounded.
    TokenBucket: |limit, elapsed| limit + (u128::from(limit) * u128::from(elapsed + 1) / u128::from(SECOND)) as u64;
    LeakyBucket: |limit, elapsed| limit + (u128::from(limit) * u128::from(elapsed + 1) / u128::from(SECOND)) as u64;
}

/// What is done next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Check(usize, u64),
    CheckAt(usize, u64),
    CalledOff(usize, u64),
    Leaving(usize, u64, u64),
    Direct(u64),
    Peek(usize, u64),
    Settle(usize),
    Drop(usize),
    Later(u64),
}

const LEASES: usize = 3;

fn steps(later: impl Strategy<Value = u64>) -> impl Strategy<Value = Vec<Step>> {
    let lease = || 0..LEASES;
    let cost = || prop_oneof![6 => Just(1_u64), 2 => 0..6_u64, 1 => 0..120_u64];
    let step = prop_oneof![
        8 => (lease(), cost()).prop_map(|(lease, cost)| Step::Check(lease, cost)),
        2 => (lease(), cost()).prop_map(|(lease, cost)| Step::CheckAt(lease, cost)),
        1 => (lease(), cost()).prop_map(|(lease, cost)| Step::CalledOff(lease, cost)),
        1 => (lease(), cost(), 0..40_u64).prop_map(|(lease, cost, leave)| Step::Leaving(lease, cost, leave)),
        1 => cost().prop_map(Step::Direct),
        1 => (lease(), cost()).prop_map(|(lease, cost)| Step::Peek(lease, cost)),
        1 => lease().prop_map(Step::Settle),
        1 => lease().prop_map(Step::Drop),
        2 => later.prop_map(Step::Later),
    ];
    vec(step, 1..200)
}

/// Three leases and who goes without, on one limiter: after each step, `check` is told the step, what was admitted in all, and
/// the answer if there was one.
fn play<L: Undo + Copy>(
    limiter: L,
    clock: &ManualClock,
    most: u64,
    steps: Vec<Step>,
    mut check: impl FnMut(Step, u64, u64, Option<Decision>, &[Lease<L>]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let lease = || limiter.lease().at_most(most).held_for(Duration::from_millis(100));
    let mut leases: Vec<_> = (0..LEASES).map(|_| lease()).collect();
    let mut admitted = 0;
    for step in steps {
        let others = |leases: &[Lease<L>], but: usize| -> u64 {
            leases.iter().enumerate().filter(|(nth, _)| *nth != but).map(|(_, lease)| lease.in_hand()).sum()
        };
        let (who, cost, takes) = match step {
            Step::Check(who, cost) | Step::CheckAt(who, cost) | Step::Leaving(who, cost, _) => (who, cost, true),
            Step::CalledOff(who, cost) | Step::Peek(who, cost) => (who, cost, false),
            Step::Direct(cost) => (LEASES, cost, true),
            Step::Settle(who) | Step::Drop(who) => (who, 0, false),
            Step::Later(_) => (0, 0, false),
        };
        let held = others(&leases, who);
        let decision = match step {
            Step::Check(who, cost) => Some(leases[who].check_n(cost)),
            Step::CheckAt(who, cost) => Some(leases[who].check_n_at(cost, clock.now())),
            Step::CalledOff(who, cost) => {
                Some(leases[who].check_and(cost, Headroom::NONE, clock.now(), &mut |_| false))
            }
            Step::Leaving(who, cost, leave) => Some((&leases[who]).leaving(Headroom::units(leave)).check_n(cost)),
            Step::Direct(cost) => Some(limiter.check_n(cost)),
            Step::Peek(who, cost) => Some(leases[who].peek_n(cost)),
            Step::Settle(who) => {
                leases[who].settle();
                None
            }
            Step::Drop(who) => {
                leases[who] = lease();
                None
            }
            Step::Later(nanos) => {
                clock.advance(Duration::from_nanos(nanos));
                None
            }
        };
        check(step, admitted, held, decision, &leases)?;
        if takes && decision.is_some_and(|decision| decision.is_ok()) {
            admitted += cost;
        }
    }
    Ok(())
}

/// While the clock stands still, all can be told exactly: what is left is the limit, less what was admitted, less what others
/// have in hand; a lease answers by that, and once all are settled nothing is missing.
fn is_exact_while_the_clock_stands_still<A: PerSecond>() {
    let strategy = (1..200_u64, prop_oneof![0..6_u64, Just(256), Just(u64::MAX)], any::<bool>(), steps(Just(0)));
    hold(100, strategy, |(limit, most, keyed, steps)| {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let (single, keys);
        if keyed {
            keys = KeyedLimiter::<str, A, _>::with_clock(A::per_second(limit), 10, clock.clone());
            stands_still(keys.key("one"), &clock, (limit, most), steps)
        } else {
            single = RateLimiter::with_clock(A::per_second(limit), clock.clone());
            stands_still(&single, &clock, (limit, most), steps)
        }
    });
}

fn stands_still<L: Undo + Copy>(
    limiter: L,
    clock: &ManualClock,
    (limit, most): (u64, u64),
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut total = 0;
    play(limiter, clock, most, steps, |step, admitted, held, decision, leases| {
        let room = limit - admitted - held;
        let (cost, leave, takes) = match step {
            Step::Leaving(_, cost, leave) => (cost, leave, true),
            Step::Check(_, cost) | Step::CheckAt(_, cost) | Step::Direct(cost) => (cost, 0, true),
            Step::CalledOff(_, cost) | Step::Peek(_, cost) => (cost, 0, false),
            _ => (0, 0, false),
        };
        let in_hand: u64 = leases.iter().map(Lease::in_hand).sum();
        prop_assert!(leases.iter().all(|lease| lease.in_hand() <= most));
        total = admitted;
        match decision {
            Some(Ok(allowed)) => {
                prop_assert!(cost.max(1) + leave <= room, "{step:?} with {room} left");
                prop_assert_eq!(allowed.limit, limit - leave, "{:?}", step);
                if let Step::Direct(_) | Step::Leaving(_, _, 1..) = step {
                    prop_assert_eq!(allowed.remaining, room - cost - leave, "{:?}", step);
                }
                total += if takes { cost } else { 0 };
            }
            Some(Err(denied)) => {
                prop_assert!(cost.max(1) + leave > room, "{step:?} refused with {room} left");
                prop_assert_eq!(denied.remaining, room.saturating_sub(leave));
                prop_assert_eq!(denied.retry_after.is_some(), cost.max(1) + leave <= limit);
            }
            None => {}
        }
        prop_assert_eq!(left(&limiter) + in_hand + total, limit, "{:?}", step);
        Ok(())
    })?;
    // The leases are dropped.
    prop_assert_eq!(left(&limiter), limit - total);
    Ok(())
}

for_all_algorithms!(exact, is_exact_while_the_clock_stands_still);

/// In all the time since the limiter was made, no more than its bound; and a refusal is the truth about the limiter.
fn never_admits_more_in_all<A: PerSecond>() {
    let later = prop_oneof![3 => 0..200_000_000_u64, 1 => Just(SECOND), 1 => 0..3 * SECOND];
    let strategy = (1..200_u64, prop_oneof![0..6_u64, Just(256)], any::<bool>(), steps(later));
    hold(100, strategy, |(limit, most, keyed, steps)| {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
        let (single, keys);
        if keyed {
            keys = KeyedLimiter::<str, A, _>::with_clock(A::per_second(limit), 10, clock.clone());
            moves::<A, _>(keys.key("one"), &clock, (limit, most), steps)
        } else {
            single = RateLimiter::with_clock(A::per_second(limit), clock.clone());
            moves::<A, _>(&single, &clock, (limit, most), steps)
        }
    });
}

fn moves<A: PerSecond, L: Undo + Copy>(
    limiter: L,
    clock: &ManualClock,
    (limit, most): (u64, u64),
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    play(limiter, clock, most, steps, |step, admitted, _, decision, leases| {
        let bound = A::most(limit, clock.now().as_nanos() - START);
        prop_assert!(admitted <= bound, "{admitted} of {bound}");
        if let (Step::Check(who, cost) | Step::CheckAt(who, cost), Some(Err(denied))) = (step, decision) {
            prop_assert_eq!(leases[who].in_hand(), 0, "refused with units in hand");
            if let Some(wait) = denied.retry_after {
                let then = clock.now() + wait;
                prop_assert!(limiter.peek_n_at(cost, then).is_ok());
                prop_assert!(limiter.peek_n_at(cost, then - Duration::from_nanos(1)).is_err());
            }
        }
        Ok(())
    })
}

for_all_algorithms!(in_all, never_admits_more_in_all);

#[test]
fn more_is_taken_ahead_each_time_and_nothing_near_the_limit() {
    let (limiter, _) = bucket(1_000);
    let lease = (&limiter).lease();
    let mut taken = Vec::new();
    while left(&limiter) > 0 {
        let before = left(&limiter);
        assert!(lease.check().is_ok());
        if left(&limiter) < before {
            taken.push(before - left(&limiter));
        }
    }
    assert_eq!(taken[..7], [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(taken.iter().max(), Some(&97)); // a ninth of what there then was, and the request
    let alone = taken.iter().rev().take_while(|&&units| units == 1).count();
    assert_eq!(alone, 8, "{taken:?}");
    assert_eq!(taken.iter().sum::<u64>(), 1_000);
}

#[test]
fn what_is_left_is_told_with_what_is_in_hand_as_it_was_when_it_was_taken() {
    let (limiter, _) = bucket(10_000);
    let lease = (&limiter).lease();
    for left in (0..1_000).map(|spent| 10_000 - 1 - spent) {
        assert_eq!(lease.peek().unwrap().remaining, left);
        let allowed = lease.check().unwrap();
        assert_eq!((allowed.limit, allowed.remaining, allowed.delay), (10_000, left, Duration::ZERO));
    }
    assert!(lease.in_hand() > 1 && limiter.check_n(1_000).is_ok());
    assert_eq!(lease.check().unwrap().remaining, 10_000 - 1_001);
}

#[test]
fn a_lease_of_who_must_leave_some_leaves_it() {
    let (limiter, _) = bucket(1_000);
    let lease = (&limiter).leaving(Headroom::units(500)).lease();
    for left in (0..500).rev() {
        let allowed = lease.check().unwrap();
        assert_eq!((allowed.limit, allowed.remaining), (500, left));
    }
    assert!(lease.check().is_err());
    assert_eq!(left(&limiter), 500);
}

#[test]
fn idle_leases_leave_nearly_all_to_one_that_is_not() {
    let (limiter, _) = bucket(100_000);
    let idle: Vec<_> = (0..64).map(|_| (&limiter).lease()).collect();
    for lease in &idle {
        (0..1_000).for_each(|_| assert!(lease.check().is_ok()));
    }
    let held: u64 = idle.iter().map(Lease::in_hand).sum();
    let busy = (&limiter).lease();
    let admitted = (0..100_000).filter(|_| busy.check().is_ok()).count() as u64;
    assert_eq!(admitted, 100_000 - 64_000 - held);
    assert!(held <= 64 * 256);
}

#[test]
fn what_is_held_for_too_long_goes_back_where_the_time_is_known() {
    let (limiter, clock) = bucket(100_000);
    let lease = (&limiter).lease().held_for(Duration::from_millis(5));
    while lease.in_hand() < 100 {
        assert!(lease.check().is_ok());
    }
    clock.advance(Duration::from_millis(5));
    let before = lease.in_hand();
    assert!(lease.check_at(clock.now()).is_ok());
    assert_eq!(lease.in_hand(), before - 1);

    // Without the time it cannot be known.
    clock.advance(Duration::from_nanos(1));
    assert!(lease.check().is_ok());
    assert_eq!(lease.in_hand(), before - 2);

    assert!(lease.check_at(clock.now()).is_ok());
    assert!(lease.in_hand() < 100, "{}: they were spent slowly", lease.in_hand());
    lease.settle();
    // All is regained after so long, what was spent and what was held.
    assert_eq!(left(&limiter), 100_000 - 1);
}

#[test]
fn what_is_held_for_too_long_is_not_spent_on_a_request_that_it_is_too_little_for() {
    let (limiter, clock) = bucket(100_000);
    let lease = (&limiter).lease();
    while lease.in_hand() < 100 {
        assert!(lease.check().is_ok());
    }
    // In this time all is regained.
    clock.advance(Duration::from_millis(20));
    assert!(lease.check_n(1_000).is_ok());
    assert_eq!(left(&limiter) + lease.in_hand(), 100_000 - 1_000);
}

#[test]
fn nothing_is_taken_ahead_of_what_others_have_left() {
    let (limiter, _) = bucket(10_000);
    let lease = (&limiter).lease().at_most(15);
    loop {
        assert!(lease.check().is_ok());
        // It knows of thousands that are left, and would take 15 ahead.
        if lease.in_hand() == 0 && left(&limiter) < 9_900 {
            break;
        }
    }
    assert!(limiter.check_n(left(&limiter) - 20).is_ok());
    assert!(lease.check().is_ok());
    assert_eq!((left(&limiter), lease.in_hand()), (19, 0));
}

#[test]
fn a_slow_thread_takes_nothing_ahead() {
    let (limiter, clock) = bucket(100_000);
    let lease = (&limiter).lease();
    for _ in 0..100 {
        clock.advance(Duration::from_millis(11));
        assert!(lease.check().is_ok());
        assert_eq!(lease.in_hand(), 0);
    }
}

#[test]
fn a_cost_of_more_than_is_in_hand_spends_that_first() {
    let (limiter, _) = bucket(1_000);
    let lease = (&limiter).lease().at_most(10);
    while lease.in_hand() != 10 {
        assert!(lease.check().is_ok());
    }
    let before = left(&limiter);
    assert!(lease.check_n(100).is_ok());
    assert_eq!((left(&limiter), lease.in_hand()), (before - 100, 10));
}

#[test]
fn what_the_limiter_can_never_hold_does_not_pass_with_what_is_in_hand() {
    let (limiter, clock) = bucket(1_000);
    let lease = (&limiter).lease().held_for(Duration::MAX);
    while lease.in_hand() < 50 {
        assert!(lease.check().is_ok());
    }
    // What is in hand has been regained, and would come on top of all that there is.
    clock.advance(Duration::from_secs(10));
    assert_eq!(lease.check_n(1_001).unwrap_err().retry_after, None);
    assert!(lease.check_n(1_000).is_ok());
}

#[test]
fn a_lease_on_a_leaky_bucket_is_the_leaky_bucket() {
    let clock = ManualClock::new();
    let limiter = RateLimiter::with_clock(LeakyBucket::new(Quota::per_second(1_000)).unwrap(), clock);
    let lease = (&limiter).lease();
    for nth in 0..100 {
        assert_eq!(lease.check().unwrap().delay, Duration::from_millis(nth));
        assert_eq!(lease.in_hand(), 0);
    }
    let _ = lease.check_and(1, Headroom::NONE, lease.now(), &mut |_| false);
    assert_eq!(lease.in_hand(), 0);
    assert_eq!(lease.check().unwrap().delay, Duration::from_millis(100));
}

#[test]
fn a_lease_is_a_part_of_a_composite_and_what_is_called_off_stays_in_hand() {
    let (everybody, clock) = bucket(10_000);
    let own = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(100)).unwrap(), clock);
    let lease = (&everybody).lease();
    let all = Composite::new((&lease, &own));
    for _ in 0..100 {
        assert!(all.check().is_ok());
    }
    let (before, in_hand) = (left(&everybody), lease.in_hand());
    assert!(in_hand > 0);
    let _ = lease.check_and(1, Headroom::NONE, lease.now(), &mut |_| false);
    assert!(all.check().is_err());
    assert_eq!((left(&everybody), lease.in_hand()), (before, in_hand));
    drop(lease);
    assert_eq!(left(&everybody), 10_000 - 100);
}

/// To be put back into hand what is of another taking than what is there: more would then go back than may.
#[test]
fn the_same_lease_twice_in_one_composite_loses_nothing() {
    [0, 2, 256].into_iter().for_each(called_off_within_what_is_called_off);
}

fn called_off_within_what_is_called_off(most: u64) {
    let (limiter, _) = bucket(1_000);
    let lease = (&limiter).lease().at_most(most);
    let mut admitted = 0;
    for round in 0..60 {
        let cost = round % 7;
        // Both parts are asked, and then it is called off.
        let mut called_off = |_: &_| false;
        let mut outer = |_: &_| {
            let inner = lease.check_and(3, Headroom::NONE, lease.now(), &mut called_off);
            assert!(inner.is_ok());
            lease.settle(); // must wait
            assert!(lease.check_n(2).is_ok());
            admitted += 2;
            false
        };
        assert!(lease.check_and(cost, Headroom::NONE, lease.now(), &mut outer).is_ok());
        assert!(Composite::new((&lease, &lease)).check_n(1).is_ok());
        admitted += 2;
        assert_eq!(left(&limiter) + lease.in_hand() + admitted, 1_000, "round {round}");
    }
    drop(lease);
    assert_eq!(left(&limiter), 1_000 - admitted);
}

#[test]
fn what_is_in_hand_goes_back_also_after_a_panic_of_who_was_asked() {
    let (limiter, clock) = bucket(1_000);
    let lease = (&limiter).lease();
    while lease.in_hand() < 10 {
        assert!(lease.check().is_ok());
    }
    let (in_hand, before) = (lease.in_hand(), left(&limiter));
    let mut panics = |_: &Allowed| panic!("no answer");
    let asked = catch_unwind(AssertUnwindSafe(|| lease.check_and(1, Headroom::NONE, clock.now(), &mut panics)));
    assert!(asked.is_err());
    drop(lease);
    assert_eq!(left(&limiter), before + in_hand - 1, "what the panic was about counts as spent");
}

#[test]
fn a_reset_forgets_what_is_in_hand() {
    let (limiter, _) = bucket(1_000);
    let lease = (&limiter).lease();
    (0..100).for_each(|_| assert!(lease.check().is_ok()));
    assert!(lease.in_hand() > 0);
    lease.reset();
    assert_eq!((left(&limiter), lease.in_hand()), (1_000, 0));
    assert!(limiter.check_n(1_000).is_ok());
    drop(lease);
    assert_eq!(left(&limiter), 0, "units of others were put back");
}

/// The clock is what a lease is to do without.
#[test]
fn what_is_in_hand_is_spent_without_a_look_at_the_clock() {
    struct Counting(AtomicU64);
    impl Clock for Counting {
        fn now(&self) -> Timestamp {
            self.0.fetch_add(1, Ordering::Relaxed);
            Timestamp::ZERO
        }
    }
    let bucket = TokenBucket::new(Quota::per_second(100_000)).unwrap();
    let limiter = RateLimiter::with_clock(bucket, Counting(AtomicU64::new(0)));
    let lease = (&limiter).lease();
    let generic = |limiter: &dyn Limiter| assert!(limiter.check().is_ok());
    (0..5_000).for_each(|_| assert!(lease.check().is_ok()));
    (0..5_000).for_each(|_| generic(&&lease));
    let looks = limiter.clock().0.load(Ordering::Relaxed);
    assert!(looks < 60, "{looks}");
}

/// Real threads, each with a lease of its own, on a limit of which nothing is regained: how many pass, and how many are left.
fn race_for_what_there_is(algorithm: impl Algorithm, limit: u64) -> (u64, u64) {
    let limiter = RateLimiter::with_clock(algorithm, MonotonicClock::new());
    let barrier = Barrier::new(4);
    let race = |nth: u64| {
        let lease = (&limiter).lease();
        barrier.wait();
        let mut admitted = 0;
        for request in 0..limit {
            let cost = 1 + (request + nth) % 3;
            admitted += if lease.check_n(cost).is_ok() { cost } else { 0 };
            if request % 1_000 == nth {
                lease.settle();
            }
        }
        admitted
    };
    let admitted: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|nth| scope.spawn(move || race(nth))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    (admitted, left(&limiter))
}

#[test]
fn threads_admit_what_there_is_and_no_more() {
    let quota = |limit| Quota::new(limit, Duration::from_secs(100 * 365 * 24 * 60 * 60));
    let exactly = |(admitted, left)| {
        assert_eq!(admitted + left, 100_000);
        assert!(left < 3, "{left} were held back until the end");
    };
    exactly(race_for_what_there_is(TokenBucket::new(quota(100_000)).unwrap(), 100_000));
    exactly(race_for_what_there_is(FixedWindow::new(quota(100_000)).unwrap(), 100_000));
    exactly(race_for_what_there_is(SlidingWindow::new(quota(100_000)).unwrap(), 100_000));
    // A thread that is held up as it writes a unit keeps what is put back behind it in use.
    let (admitted, left) = race_for_what_there_is(SlidingLog::new(quota(20_000)).unwrap(), 20_000);
    assert!(admitted + left <= 20_000, "{admitted} and {left}");
}

/// Real threads on the real clock: in all they get the rate, and at most that.
#[test]
fn threads_get_the_rate_and_no_more() {
    const RATE: u64 = 1_000_000;
    const RUN: Duration = Duration::from_millis(500);
    let clock = MonotonicClock::new();
    let start = clock.now();
    let algorithm = TokenBucket::new(Quota::per_second(RATE).burst(RATE / 4)).unwrap().start_empty();
    let limiter = RateLimiter::with_clock(algorithm, clock);
    let worker = || {
        let lease = (&limiter).lease();
        let mut admitted = 0;
        loop {
            let time = limiter.now() - start;
            if lease.check().is_ok() {
                admitted += 1;
            } else if time >= RUN {
                return (admitted, time.as_nanos() as u64);
            }
        }
    };
    let (admitted, nanos) = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().fold((0, 0), |(total, latest), worker| {
            let (admitted, time) = worker.join().unwrap();
            (total + admitted, latest.max(time))
        })
    });
    // Up to the end of the last check, which began at that time.
    let most = (u128::from(RATE) * u128::from(nanos + 10_000_000) / u128::from(SECOND)) as u64;
    assert!(admitted <= most, "{admitted} of at most {most}");
    assert!(admitted >= most - most / 20, "{admitted} of {most}");
}
