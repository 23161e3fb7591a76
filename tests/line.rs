//! Waiting in line: first come, first served; bounded in number and in time; nobody is forgotten.
#![cfg(not(loom))]

mod world;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tollgate::{
    Algorithm, Composite, Decision, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, Line, ManualClock,
    Quota, RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket, WaitError,
};
use world::{Flag, World};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn clock() -> ManualClock {
    ManualClock::starting_at(Timestamp::from_secs(1_000))
}

fn by<A: Algorithm>(algorithm: A, clock: &ManualClock) -> RateLimiter<A, ManualClock> {
    RateLimiter::with_clock(algorithm, clock.clone())
}

fn tokens(quota: Quota, clock: &ManualClock) -> RateLimiter<TokenBucket, ManualClock> {
    by(TokenBucket::new(quota).unwrap(), clock)
}

/// When requests of these costs pass that come all at once.
fn times(limiter: &impl Limiter, clock: &ManualClock, costs: &[u64]) -> Vec<Duration> {
    let line = Line::new(limiter, 100);
    let mut world = World::new(clock);
    for &cost in costs {
        let timers = world.timers.clone();
        world.spawn(line.wait(cost, Duration::MAX, timers));
    }
    world.advance(Duration::from_secs(100));
    assert!(world.passed.is_sorted(), "out of order: {:?}", world.passed);
    assert_eq!(line.waiting(), 0);
    world.times().into_iter().map(Option::unwrap).collect()
}

#[test]
fn each_passes_in_its_order_as_soon_as_it_can() {
    let quota = Quota::per_second(10);
    let clock = clock();
    let expected = [0, 500, 600, 1_600].map(millis);
    assert_eq!(times(&tokens(quota, &clock), &clock, &[10, 5, 1, 10]), expected);
    let keys: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(TokenBucket::new(quota).unwrap(), 10, clock.clone());
    assert_eq!(times(&keys.key("alice"), &clock, &[10, 5, 1, 10]), expected);

    clock.set(Timestamp::from_secs(2_000));
    assert_eq!(
        times(&by(FixedWindow::new(quota).unwrap(), &clock), &clock, &[6, 4, 6, 6]),
        [0, 0, 1_000, 2_000].map(millis)
    );
    clock.set(Timestamp::from_secs(2_000));
    assert_eq!(
        times(&by(SlidingLog::new(quota).unwrap(), &clock), &clock, &[6, 4, 6, 6]),
        [0, 0, 1_000, 2_000].map(millis)
    );
    clock.set(Timestamp::from_secs(2_000));
    assert_eq!(
        times(&by(SlidingWindow::new(quota).unwrap(), &clock), &clock, &[10, 5, 5]),
        [0, 1_500, 2_000].map(millis)
    );

    // Both limits, whatever their kind.
    clock.set(Timestamp::from_secs(3_000));
    let both = Composite::new((tokens(quota, &clock), by(FixedWindow::new(Quota::per_second(7)).unwrap(), &clock)));
    assert_eq!(times(&both, &clock, &[7, 5, 7]), [0, 1_000, 2_000].map(millis));
}

#[test]
fn behind_a_leaky_bucket_one_passes_when_it_is_ones_turn() {
    let clock = clock();
    let limiter = by(LeakyBucket::new(Quota::per_second(10).burst(3)).unwrap(), &clock);
    assert_eq!(times(&limiter, &clock, &[1, 3, 1, 2]), [0, 100, 400, 500].map(millis));
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    let large = world.spawn(line.wait(10, Duration::MAX, timers.clone()));
    for _ in 0..40 {
        world.spawn(line.wait(1, Duration::MAX, timers.clone()));
        world.advance(millis(50));
    }
    assert_eq!(world.outcome(large).map(|(at, outcome)| (at, outcome.is_ok())), Some((millis(1_000), true)));
    world.advance(Duration::from_secs(10));
    assert_eq!(world.passed, (0..=40).collect::<Vec<_>>());
}

#[test]
fn what_cannot_pass_in_time_is_refused_at_once_with_all_ahead_counted() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    for cost in [10, 10, 10] {
        world.spawn(line.wait(cost, Duration::MAX, timers.clone()));
    }
    let refused = world.spawn(line.wait(5, millis(2_499), timers.clone()));
    let error = WaitError::TooLong { cost: 5, wait: millis(2_500), longest: millis(2_499) };
    assert_eq!(world.outcome(refused), Some((Duration::ZERO, Err(error))));
    let in_time = world.spawn(line.wait(5, millis(2_500), timers.clone()));
    let never = world.spawn(line.wait(11, Duration::MAX, timers.clone()));
    assert_eq!(world.outcome(never), Some((Duration::ZERO, Err(WaitError::Never { cost: 11, limit: 10 }))));
    world.advance(millis(2_500));
    assert!(matches!(world.outcome(in_time), Some((at, Ok(_))) if at == millis(2_500)), "{:?}", world.outcome(in_time));
}

#[test]
fn what_has_become_hopeless_is_refused_before_its_deadline() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    let first = world.spawn(line.wait(5, millis(700), timers.clone()));
    let second = world.spawn(line.wait(1, millis(900), timers));
    world.advance(millis(400));
    assert!(limiter.check_n(4).is_ok(), "what asks by itself is not in line");
    world.advance(millis(500));
    let error = WaitError::TooLong { cost: 5, wait: millis(900), longest: millis(700) };
    assert_eq!(world.outcome(first), Some((millis(500), Err(error))), "when it looked, not at its deadline");
    assert!(matches!(world.outcome(second), Some((at, Ok(_))) if at == millis(500)));
}

#[test]
fn one_in_the_middle_of_the_line_leaves_at_its_deadline() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    world.spawn(line.wait(5, Duration::MAX, timers.clone()));
    let middle = world.spawn(line.wait(1, millis(600), timers.clone()));
    world.spawn(line.wait(1, Duration::MAX, timers));
    world.advance(millis(499));
    assert!(limiter.check_n(4).is_ok());
    world.advance(Duration::from_secs(1));
    let (at, outcome) = world.outcome(middle).unwrap();
    assert_eq!(at, millis(600));
    assert!(
        matches!(outcome, Err(WaitError::TooLong { cost: 1, longest, .. }) if longest == millis(600)),
        "{outcome:?}"
    );
    assert_eq!(world.passed, [0, 2]);
}

/// Polls once, by a waker that wakes nobody.
fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn at_its_deadline_one_passes_if_all_ahead_could_as_well() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    // Also one that must leave some for others: what is left to it is what counts.
    for (limiter, has) in [((&limiter).leaving(Headroom::NONE), 10), ((&limiter).leaving(Headroom::units(3)), 7)] {
        let line = Line::new(limiter, 100);
        clock.advance(Duration::from_secs(10));
        assert!(limiter.check_n(has).is_ok());
        let timers = World::new(&clock).timers;
        let mut first = Box::pin(line.wait(3, Duration::MAX, timers.clone()));
        let mut second = Box::pin(line.wait(4, millis(700), timers.clone()));
        let mut third = Box::pin(line.wait(1, millis(800), timers.clone()));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending() && poll(&mut third).is_pending());
        clock.advance(millis(700));
        assert!(matches!(poll(&mut second), Poll::Ready(Ok(_))), "nobody has to wait for longer because of it");
        let left = limiter.peek_n(0).unwrap().remaining;
        assert_eq!(left, 3);
        clock.advance(millis(99));
        assert!(limiter.check_n(left - 2).is_ok());
        clock.advance(millis(1));
        // One more has come, and the first needs three of three.
        let refused = poll(&mut third);
        assert!(
            matches!(refused, Poll::Ready(Err(WaitError::TooLong { wait, .. })) if wait == millis(900)),
            "{refused:?}"
        );
        assert!(matches!(poll(&mut first), Poll::Ready(Ok(_))));
    }
}

#[test]
fn at_its_deadline_one_leaves_a_unit_to_who_asks_for_one_and_takes_none() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let timers = World::new(&clock).timers;
    let mut first = Box::pin(line.wait(0, Duration::MAX, timers.clone()));
    let mut second = Box::pin(line.wait(1, millis(100), timers));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    clock.advance(millis(100));
    assert!(matches!(poll(&mut second), Poll::Ready(Err(WaitError::TooLong { wait, longest, .. })) if wait > longest));
    assert!(matches!(poll(&mut first), Poll::Ready(Ok(_))));
}

#[test]
fn a_long_line_before_a_fast_bucket_is_counted_to_its_end() {
    let clock = clock();
    let rate = 10_000_000_000;
    let limiter = tokens(Quota::per_second(rate), &clock);
    assert!(limiter.check_n(rate).is_ok());
    let forecast = |ahead| limiter.forecast_at(ahead, rate, Headroom::NONE, limiter.now());
    assert_eq!(forecast(rate * 7_200), Some(Duration::from_secs(7_201)), "more than a word can hold at one time");
    assert!(forecast(u64::MAX).is_some_and(|wait| wait >= Duration::from_secs(u64::MAX / rate)));
}

/// A limiter from which somebody takes between a look and a check; or which panics when it is asked the time.
struct Troubled<L> {
    limiter: L,
    taken_between: u64,
    panics: AtomicBool,
}

impl<L: Limiter> Limiter for Troubled<L> {
    fn now(&self) -> Timestamp {
        assert!(!self.panics.load(Ordering::Relaxed), "no time");
        self.limiter.now()
    }

    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.check_n_leaving_at(cost, leave, now)
    }

    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.peek_n_leaving_at(cost, leave, now)
    }

    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        let forecast = self.limiter.forecast_at(ahead, cost, leave, now);
        let _ = self.limiter.check_n_at(self.taken_between, now);
        forecast
    }

    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.limiter.refund_at(cost, now);
    }

    fn reset_at(&self, now: Timestamp) {
        self.limiter.reset_at(now);
    }
}

#[test]
fn nobody_passes_with_a_delay_that_others_have_just_brought_about() {
    let clock = clock();
    let limiter = by(LeakyBucket::new(Quota::per_second(10).burst(3)).unwrap(), &clock);
    let line = Line::new(Troubled { limiter: &limiter, taken_between: 1, panics: AtomicBool::new(false) }, 100);
    let refused = poll(&mut Box::pin(line.wait(1, millis(99), World::new(&clock).timers)));
    let error = WaitError::TooLong { cost: 1, wait: millis(100), longest: millis(99) };
    assert_eq!(refused, Poll::Ready(Err(error)));
    assert_eq!(limiter.peek().unwrap().delay, millis(100), "and nothing is taken");
}

#[test]
fn a_panic_while_the_line_is_locked_harms_only_whose_it_is() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    assert!(limiter.check_n(10).is_ok());
    let line = Line::new(Troubled { limiter: &limiter, taken_between: 0, panics: AtomicBool::new(false) }, 100);
    let timers = World::new(&clock).timers;
    let mut first = Box::pin(line.wait(10, Duration::MAX, timers.clone()));
    let mut second = Box::pin(line.wait(1, Duration::MAX, timers));
    let next = Flag::raised();
    assert!(poll(&mut first).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&next.clone().into())).is_pending());
    next.take();
    line.limiter().panics.store(true, Ordering::Relaxed);
    clock.advance(millis(1_000));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut first))).is_err());
    line.limiter().panics.store(false, Ordering::Relaxed);
    assert!(next.take(), "the next is called as the first unwinds");
    assert_eq!(line.waiting(), 1);
    assert!(matches!(poll(&mut second), Poll::Ready(Ok(_))));
}

#[test]
fn a_dropped_waiter_has_taken_nothing_and_the_next_is_called() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    let large = world.spawn(line.wait(10, Duration::MAX, timers.clone()));
    let between = world.spawn(line.wait(10, Duration::MAX, timers.clone()));
    let small = world.spawn(line.wait(2, Duration::MAX, timers));
    world.advance(millis(150));
    world.drop_task(between);
    world.drop_task(large);
    world.advance(millis(50));
    assert!(matches!(world.outcome(small), Some((at, Ok(_))) if at == millis(200)), "{:?}", world.outcome(small));
    assert_eq!(line.waiting(), 0);
    world.advance(millis(1_000));
    assert_eq!(limiter.peek_n(0).unwrap().remaining, 10);
}

#[test]
fn one_that_was_called_and_dropped_before_it_looked_calls_the_next() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    let [woken, next] = [Flag::raised(), Flag::raised()];
    let (one, other) = (Waker::from(woken.clone()), Waker::from(next.clone()));
    let mut first = Box::pin(line.wait(5, Duration::MAX, timers.clone()));
    let mut second = Box::pin(line.wait(5, Duration::MAX, timers.clone()));
    let mut third = pin!(line.wait(1, Duration::MAX, timers));
    assert!(first.as_mut().poll(&mut Context::from_waker(&one)).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&one)).is_pending());
    assert!(third.as_mut().poll(&mut Context::from_waker(&other)).is_pending());
    woken.take();
    next.take();
    world.timers.clock.advance(millis(100));
    drop(first);
    assert!(woken.take() && !next.take(), "the second is called");
    drop(second);
    assert!(next.take(), "and as it does not look, the third");
    assert!(matches!(third.as_mut().poll(&mut Context::from_waker(&other)), Poll::Ready(Ok(_))));
    world.run();
}

#[test]
fn whoever_polled_last_is_woken() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 100);
    assert!(limiter.check_n(10).is_ok());
    let world = World::new(&clock);
    let mut first = Box::pin(line.wait(5, Duration::MAX, world.timers.clone()));
    let mut second = pin!(line.wait(1, Duration::MAX, world.timers.clone()));
    let flags = [Flag::raised(), Flag::raised()];
    let [old, new] = flags.clone().map(Waker::from);
    assert!(first.as_mut().poll(&mut Context::from_waker(&old)).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&old)).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&new)).is_pending());
    flags.iter().for_each(|flag| {
        flag.take();
    });
    drop(first);
    assert!(flags[1].take() && !flags[0].take());
}

#[test]
fn the_line_is_bounded_and_says_so() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 2);
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    for _ in 0..3 {
        world.spawn(line.wait(10, Duration::MAX, timers.clone()));
    }
    assert_eq!(line.waiting(), 2);
    let refused = world.spawn(line.wait(1, Duration::MAX, timers.clone()));
    assert_eq!(world.outcome(refused), Some((Duration::ZERO, Err(WaitError::Full { most: 2 }))));
    world.drop_task(2);
    world.spawn(line.wait(1, Duration::MAX, timers));
    assert_eq!(line.waiting(), 2);
    assert_eq!(WaitError::Full { most: 2 }.to_string(), "2 are in line, and no more may be");
}

#[test]
fn a_closed_line_sends_everybody_away() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    let line = Line::new(&limiter, 10);
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    for _ in 0..4 {
        world.spawn(line.wait(10, Duration::MAX, timers.clone()));
    }
    line.close();
    world.run();
    world.spawn(line.wait(1, Duration::MAX, timers));
    assert_eq!(world.passed, [0]);
    assert!((1..5).all(|task| matches!(world.outcome(task), Some((Duration::ZERO, Err(WaitError::Closed))))));
}

#[test]
fn after_units_were_given_back_the_first_looks_again_if_told() {
    let clock = clock();
    let limiter = by(FixedWindow::new(Quota::per_hour(10)).unwrap(), &clock);
    let line = Line::new(&limiter, 10);
    assert!(limiter.check_n(10).is_ok());
    let mut world = World::new(&clock);
    let timers = world.timers.clone();
    let waiting = world.spawn(line.wait(3, Duration::MAX, timers));
    limiter.refund(3);
    world.run();
    assert!(world.is_waiting(waiting));
    line.recheck();
    world.run();
    assert!(matches!(world.outcome(waiting), Some((Duration::ZERO, Ok(_)))));
}

#[test]
fn a_cost_of_nothing_waits_for_one_and_takes_none() {
    let clock = clock();
    let limiter = tokens(Quota::per_second(10), &clock);
    assert_eq!(times(&limiter, &clock, &[10, 0, 1, 0]), [0, 100, 100, 200].map(millis));
}

#[test]
fn what_waits_can_be_sent_to_another_thread() {
    fn is_send(_: impl Send) {}
    let clock = clock();
    let line = Line::new(tokens(Quota::per_second(10), &clock), 10);
    is_send(line.wait(1, Duration::MAX, World::new(&clock).timers.clone()));
    fn is_sync<T: Send + Sync>(_: &T) {}
    is_sync(&line);
}

mod blocking {
    use super::*;

    fn real(quota: Quota) -> RateLimiter<TokenBucket> {
        RateLimiter::new(TokenBucket::new(quota).unwrap())
    }

    #[test]
    fn it_takes_as_long_as_it_must_and_no_longer() {
        let line = Line::new(real(Quota::per_second(100).burst(1)), 10);
        let start = Instant::now();
        for _ in 0..6 {
            line.wait_blocking(1, Duration::from_secs(60)).unwrap();
        }
        let took = start.elapsed();
        assert!(took >= millis(49), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn hopeless_is_known_at_once() {
        let line = Line::new(real(Quota::per_hour(60).burst(1)), 10);
        let start = Instant::now();
        assert!(line.wait_blocking(1, Duration::ZERO).is_ok());
        assert!(matches!(line.wait_blocking(1, Duration::from_secs(50)), Err(WaitError::TooLong { .. })));
        assert!(matches!(line.wait_blocking(2, Duration::MAX), Err(WaitError::Never { limit: 1, .. })));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_large_request_passes_among_small_ones_and_all_do_in_the_end() {
        let line = Line::new(real(Quota::per_second(2_000).burst(100)), 100);
        line.limiter().check_n(100).unwrap();
        let passed = AtomicU64::new(0);
        let (line, passed) = (&line, &passed);
        let before_large = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for _ in 0..50 {
                        line.wait_blocking(5, Duration::MAX).unwrap();
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            line.wait_blocking(100, Duration::MAX).unwrap();
            passed.load(Ordering::Relaxed)
        });
        assert_eq!(passed.load(Ordering::Relaxed), 200);
        // Those who were in line before it, and whoever has passed since it was let through and before it could look.
        assert!(before_large < 150, "{before_large} small ones passed before a large one");
        assert_eq!(line.waiting(), 0);
    }

    #[test]
    fn threads_that_give_up_leave_the_others_what_they_did_not_take() {
        // Deadlines that are just missed, or just met, by many threads at once.
        let quota = Quota::per_second(1_000).burst(10);
        let line = Line::new(real(quota), 64);
        let (start, passed) = (Instant::now(), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (line, passed) = (&line, &passed);
                scope.spawn(move || {
                    for round in 0..40 {
                        let cost = 1 + (thread + round) % 4;
                        let longest = Duration::from_micros(500 * ((thread * 7 + round * 3) % 24));
                        if line.wait_blocking(cost, longest).is_ok() {
                            passed.fetch_add(cost, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let passed = passed.load(Ordering::Relaxed);
        let most = 10 + 1 + start.elapsed().as_millis() as u64;
        assert!((10..=most).contains(&passed), "{passed} of {most}");
        assert_eq!(line.waiting(), 0);
        line.wait_blocking(10, Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_closed_line_wakes_threads() {
        let line = Arc::new(Line::new(real(Quota::per_hour(1)), 10));
        line.wait_blocking(1, Duration::ZERO).unwrap();
        let waits = [0, 1].map(|_| {
            let line = line.clone();
            thread::spawn(move || line.wait_blocking(1, Duration::MAX))
        });
        while line.waiting() < 2 {
            thread::yield_now();
        }
        line.close();
        for wait in waits {
            assert_eq!(wait.join().unwrap(), Err(WaitError::Closed));
        }
    }
}
