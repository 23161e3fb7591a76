//! Several limits as one: what a composite answers, and what others see of it meanwhile.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use tollgate::{
    Algorithm, Composite, Decision, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Parts,
    Quota, QuotaError, RateLimiter, SlidingLog, SlidingWindow, Timestamp, TokenBucket,
};

fn limiter<A: Algorithm>(algorithm: Result<A, QuotaError>, clock: &ManualClock) -> RateLimiter<A, ManualClock> {
    RateLimiter::with_clock(algorithm.expect("a quota that can be held"), clock.clone())
}

fn left(limiter: &impl Limiter) -> u64 {
    match limiter.peek_n(0) {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

#[test]
fn a_grant_carries_the_tightest_of_all() {
    let clock = ManualClock::new();
    let log = limiter(SlidingLog::new(Quota::per_second(7)), &clock);
    let hour = limiter(FixedWindow::new(Quota::per_hour(5)), &clock);
    let queue = limiter(LeakyBucket::new(Quota::per_second(10)), &clock);
    let allowed = Composite::new((&log, &hour, &queue)).check_n(2).unwrap();
    assert_eq!((allowed.limit, allowed.remaining), (5, 3));
    assert_eq!(allowed.reset_after, Duration::from_secs(3_600));
    assert_eq!(Composite::new((&log, &hour, &queue)).check().unwrap().delay, Duration::from_millis(200));
}

#[test]
fn a_refusal_carries_the_longest_wait_and_names_its_limit() {
    let clock = ManualClock::new();
    let second = limiter(TokenBucket::new(Quota::per_second(10).burst(1)), &clock);
    let minute = limiter(SlidingLog::new(Quota::per_minute(2)), &clock);
    let limits = Composite::new([&second as &dyn Limiter, &minute]).named(&["per second"]);
    assert!(limits.check().is_ok());

    let refused = limits.check_all(1).unwrap_err();
    assert_eq!((refused.limit, refused.name), (0, Some("per second")));
    assert_eq!(refused.denied.retry_after, Some(Duration::from_millis(100)));

    clock.advance(Duration::from_millis(100));
    assert!(limits.check().is_ok());
    // Both refuse now.
    let refused = limits.check_all(1).unwrap_err();
    assert_eq!((refused.limit, refused.name), (1, None), "not all parts need a name");
    assert_eq!(refused.denied.retry_after, Some(Duration::from_millis(59_900)));
    assert_eq!(refused.to_string(), "limit 1: rate limited: 0 of 2 units left, retry after 59.9s");
    assert_eq!(limits.peek_all(1), Err(refused));
    assert_eq!(limits.check().unwrap_err().retry_after, refused.denied.retry_after);

    // The one that can never let it pass, though the other refuses as well.
    let never = limits.check_all(2).unwrap_err();
    assert_eq!((never.limit, never.denied.retry_after), (0, None));
    assert_eq!(limits.check_n(2).unwrap_err().retry_after, None);
}

#[test]
fn as_a_limiter_it_refuses_as_one_limiter_would() {
    let clock = ManualClock::new();
    let large = limiter(FixedWindow::new(Quota::per_second(500)), &clock);
    let small = limiter(FixedWindow::new(Quota::per_hour(10)), &clock);
    assert!(large.check_n(500).is_ok() && small.check_n(3).is_ok());
    let limits = Composite::new((&small, &large));
    let denied = limits.check().unwrap_err();
    assert_eq!((denied.limit, denied.remaining), (10, 0));
    assert_eq!((denied.retry_after, denied.reset_after), (Some(Duration::from_secs(1)), Duration::from_secs(3_600)));
    // What is named speaks for itself.
    assert_eq!(limits.check_all(1).unwrap_err().denied.limit, 500);
}

#[test]
fn static_and_dynamic_keyed_and_nested() {
    let clock = ManualClock::new();
    let bucket = TokenBucket::new(Quota::per_second(3)).unwrap();
    let client: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(bucket, 100, clock.clone());
    let global = limiter(SlidingWindow::new(Quota::per_second(5)), &clock);
    let service = limiter(FixedWindow::new(Quota::per_second(100)), &clock);

    let everybody = Composite::new((&service, &global));
    for (who, passes) in [("alice", 3), ("bob", 2)] {
        let limits: Vec<Box<dyn Limiter + '_>> = vec![Box::new(client.key(who)), Box::new(everybody)];
        let limits = Composite::new(limits);
        assert_eq!((0..10).filter(|_| limits.check().is_ok()).count(), passes, "{who}");
    }
    assert_eq!(left(&client.key("bob")), 1);
    assert_eq!((left(&service), left(&global)), (95, 0));

    // One's own index is that of the outermost.
    assert_eq!(Composite::new((client.key("carol"), everybody)).check_all(1).unwrap_err().limit, 1);
    assert_eq!(everybody.check_all(1).unwrap_err().limit, 1);

    Composite::new((client.key("alice"), everybody)).refund(2);
    assert_eq!((left(&client.key("alice")), left(&service), left(&global)), (2, 97, 2));
    everybody.reset();
    assert_eq!((left(&service), left(&global)), (100, 5));
}

#[test]
fn of_no_part_everything_passes() {
    let none = Composite::new(Vec::<Box<dyn Limiter>>::new());
    assert!(none.check_n(u64::MAX).is_ok() && none.parts().is_empty());
    assert_eq!(none.now(), Timestamp::ZERO);
}

/// A list that happens to be empty has no clock: the others have.
#[test]
fn a_first_part_without_parts_does_not_stop_the_clock() {
    let clock = ManualClock::new();
    let bucket = limiter(TokenBucket::new(Quota::per_second(3)), &clock);
    let limits = Composite::new((Composite::new(Vec::<Box<dyn Limiter>>::new()), &bucket));
    for _ in 0..3 {
        assert!(limits.check_n(3).is_ok());
        clock.advance(Duration::from_secs(1));
    }
}

/// As a struct of limits that many requests share, each with a composite of its own.
#[test]
fn parts_can_be_borrowed_and_shared() {
    let clock = ManualClock::new();
    let parts = (
        limiter(TokenBucket::new(Quota::per_second(3)), &clock),
        limiter(FixedWindow::new(Quota::per_second(9)), &clock),
    );
    assert_eq!(Composite::new(&parts).check().unwrap().remaining, 2);
    let shared: Arc<dyn Parts + Send + Sync> = Arc::new(parts);
    let limits = Composite::new(shared);
    assert_eq!(thread::scope(|scope| scope.spawn(|| limits.check().unwrap().remaining).join().unwrap()), 1);
    let boxed: Box<dyn Parts> = Box::new([&limits]);
    assert_eq!(Composite::new(boxed).check().unwrap().remaining, 0);
}

/// Boxed limiters say nothing of themselves: whoever holds them can still be shown.
#[test]
fn a_composite_of_anything_can_be_shown() {
    let none = Composite::new(Vec::<Box<dyn Limiter>>::new()).named(&["no limit"]);
    assert_eq!(format!("{none:?}"), "Composite { len: 0, names: [\"no limit\"], .. }");
}

/// The second time it is taken, what it must leave is looked at again.
#[test]
fn a_part_that_leaves_some_does_so_when_it_is_taken() {
    let clock = ManualClock::new();
    let ten = limiter(FixedWindow::new(Quota::per_second(10)), &clock);
    let half = (&ten).leaving(Headroom::units(5));
    assert_eq!(Composite::new((half, half)).check_all(3).unwrap_err().limit, 1);
    assert_eq!(left(&ten), 10);
    assert!(Composite::new((half, half)).check_all(2).is_ok());
}

#[test]
fn a_limit_that_is_there_twice_is_charged_twice_or_not_at_all() {
    let clock = ManualClock::new();
    let three = limiter(SlidingLog::new(Quota::per_second(3)), &clock);
    let twice = Composite::new((&three, &three));
    assert!(twice.check().is_ok());
    assert_eq!(left(&three), 1);
    assert_eq!(twice.check_all(1).unwrap_err().limit, 1);
    assert_eq!(left(&three), 1);
}

/// A limiter whose time is read, and whose check is made, by whoever watches.
struct Watched<'a> {
    limiter: &'a dyn Limiter,
    reads: Cell<u32>,
    check: RefCell<Box<dyn FnMut() + 'a>>,
}

impl<'a> Watched<'a> {
    fn new(limiter: &'a dyn Limiter, check: impl FnMut() + 'a) -> Self {
        Self { limiter, reads: Cell::new(0), check: RefCell::new(Box::new(check)) }
    }
}

impl Limiter for Watched<'_> {
    fn now(&self) -> Timestamp {
        self.reads.set(self.reads.get() + 1);
        self.limiter.now()
    }

    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        (self.check.borrow_mut())();
        self.limiter.check_n_leaving_at(cost, leave, now)
    }

    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.peek_n_leaving_at(cost, leave, now)
    }

    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.limiter.refund_at(cost, now);
    }

    fn reset_at(&self, now: Timestamp) {
        self.limiter.reset_at(now);
    }
}

#[test]
fn one_reading_of_the_clock_is_for_all_parts() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1));
    let bucket = limiter(TokenBucket::new(Quota::per_second(3)), &clock);
    let parts = [(); 3].map(|()| Watched::new(&bucket, || ()));
    let limits = Composite::new(&parts[..]);
    assert!(limits.check().is_ok() && limits.check().is_err());
    assert_eq!(parts.each_ref().map(|part| part.reads.get()), [2, 0, 0]);
}

/// The bound that the documentation gives: while a request is taken others find less, by its cost, and only if a later limit
/// has let it pass when it was looked at.
#[test]
fn others_miss_no_more_than_the_cost_of_what_is_in_hand() {
    let clock = ManualClock::new();
    let first = limiter(TokenBucket::new(Quota::per_second(10)), &clock);
    let second = limiter(FixedWindow::new(Quota::per_second(5)), &clock);

    // Another thread takes the last units of the second between look and take.
    let seen = Cell::new(None);
    let watched = Watched::new(&second, || {
        seen.set(Some(left(&first)));
        assert!(first.check_n(7).is_ok(), "what is not in hand is there for others");
        assert!(first.check_n(1).is_err(), "what is in hand is not");
        assert!(second.check_n(5).is_ok());
    });
    let refused = Composite::new((&first, &watched)).check_all(3).unwrap_err();
    assert_eq!((refused.limit, refused.denied.remaining), (1, 0));
    assert_eq!(seen.get(), Some(7));
    assert_eq!(left(&first), 3, "given back, to the unit, and nothing of what the other took");

    // Where a limit refuses when it is looked at, nothing is taken from any, not for a moment.
    seen.set(None);
    assert!(Composite::new((&first, &watched)).check_all(3).is_err());
    assert_eq!(seen.get(), None);
}

/// The other has taken at a later time, by which the units in hand were regained: they are not given back again.
#[test]
fn what_time_has_regained_is_not_given_back_again() {
    type Make = fn(&ManualClock) -> Box<dyn Limiter>;
    let algorithms: [Make; 5] = [
        |clock| Box::new(limiter(FixedWindow::new(Quota::per_second(10)), clock)),
        |clock| Box::new(limiter(SlidingWindow::new(Quota::per_second(10)), clock)),
        |clock| Box::new(limiter(SlidingLog::new(Quota::per_second(10)), clock)),
        |clock| Box::new(limiter(TokenBucket::new(Quota::per_second(10)), clock)),
        |clock| Box::new(limiter(LeakyBucket::new(Quota::per_second(10)), clock)),
    ];
    // However long the thread was held up: the places of a log have been used again once, twice ...
    for (algorithm, seconds) in algorithms.iter().flat_map(|algorithm| (1..10).map(move |seconds| (algorithm, seconds)))
    {
        let clock = ManualClock::new();
        let (first, second) = (algorithm(&clock), limiter(FixedWindow::new(Quota::per_hour(5)), &clock));
        let watched = Watched::new(&second, || {
            for _ in 0..seconds {
                clock.advance(Duration::from_secs(2));
                assert!(first.check_n(10).is_ok());
            }
            assert!(second.check_n(5).is_ok());
        });
        assert!(Composite::new((&first, &watched)).check_n(4).is_err());
        assert_eq!(left(&first), 0, "ten of ten were taken by others in this second");
    }
}

/// Of more threads than a limit has units, some are refused late: whatever they do, each limit has in the end what the
/// admitted have left of it.
#[test]
fn threads_leave_what_the_admitted_have_not_taken() {
    let clock = ManualClock::new();
    let log = limiter(SlidingLog::new(Quota::per_hour(20_000)), &clock);
    let bucket = limiter(TokenBucket::new(Quota::per_hour(20_000)), &clock);
    let scarce = limiter(FixedWindow::new(Quota::per_hour(1_000)), &clock);
    let barrier = Barrier::new(4);
    let admitted: u64 = thread::scope(|scope| {
        let run = || {
            let limits = Composite::new((&log, &bucket, &scarce));
            barrier.wait();
            (0..3_000).filter(|_| limits.check().is_ok()).count() as u64
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 1_000);
    assert_eq!((left(&log), left(&bucket), left(&scarce)), (19_000, 19_000, 0));
}
