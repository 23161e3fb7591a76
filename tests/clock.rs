//! The clocks: what each shows, and that a limiter runs by any of them, or by one of the user's own.
#![cfg(not(loom))]

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tollgate::{Clock, CoarseClock, Limiter, ManualClock, MonotonicClock, Quota, RateLimiter, Timestamp, TokenBucket};

/// One per second, one at a time.
fn one_per_second() -> TokenBucket {
    TokenBucket::new(Quota::per_second(1)).unwrap()
}

mod manual {
    use super::*;

    #[test]
    fn it_stands_still_until_it_is_told_to_move() {
        let clock = ManualClock::new();
        assert_eq!(clock.now(), Timestamp::ZERO);
        thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.now(), Timestamp::ZERO);
        clock.advance(Duration::from_nanos(17));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_nanos(1_000_000_017));
    }

    #[test]
    fn it_may_step_back() {
        let clock = ManualClock::starting_at(Timestamp::from_secs(10));
        assert_eq!(clock.now(), Timestamp::from_secs(10));
        clock.set(Timestamp::from_secs(4));
        assert_eq!(clock.now(), Timestamp::from_secs(4));
    }

    #[test]
    fn clones_share_the_time() {
        let clock = ManualClock::new();
        let same = clock.clone();
        same.advance(Duration::from_secs(2));
        clock.advance(Duration::from_secs(3));
        assert_eq!((clock.now(), same.now()), (Timestamp::from_secs(5), Timestamp::from_secs(5)));
    }

    #[test]
    fn it_saturates() {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::from_nanos(u64::MAX));
        clock.advance(Duration::from_nanos(1));
        assert_eq!(clock.now(), Timestamp::from_nanos(u64::MAX));
    }

    #[test]
    fn no_step_is_lost_between_threads() {
        let clock = ManualClock::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| clock.advance(Duration::from_nanos(3))));
            }
        });
        assert_eq!(clock.now(), Timestamp::from_nanos(4 * 10_000 * 3));
    }
}

mod coarse {
    use super::*;

    /// Long enough for any thread to be scheduled.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Whether the clock moves on within a fair time.
    fn moves(clock: &CoarseClock) -> bool {
        let (before, started) = (clock.now(), Instant::now());
        while started.elapsed() < PATIENCE {
            if clock.now() > before {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    #[test]
    fn it_shows_what_it_was_told_and_never_steps_back() {
        let clock = CoarseClock::new();
        assert_eq!(clock.now(), Timestamp::ZERO);
        for (told, shown) in [(5, 5), (3, 5), (0, 5), (6, 6), (6, 6), (5, 6), (u64::MAX, u64::MAX), (7, u64::MAX)] {
            clock.refresh(Timestamp::from_nanos(told));
            assert_eq!(clock.now(), Timestamp::from_nanos(shown));
        }
    }

    #[test]
    fn it_never_steps_back_between_threads() {
        let clock = CoarseClock::new();
        thread::scope(|scope| {
            for offset in 0..3 {
                let clock = &clock;
                scope.spawn(move || (0..20_000).for_each(|n| clock.refresh(Timestamp::from_nanos(n * 3 + offset))));
            }
            let mut latest = Timestamp::ZERO;
            for _ in 0..20_000 {
                let now = clock.now();
                assert!(latest <= now, "{latest:?}, then {now:?}");
                latest = now;
            }
        });
        assert_eq!(clock.now(), Timestamp::from_nanos(19_999 * 3 + 2));
    }

    #[test]
    fn clones_share_the_time() {
        let clock = CoarseClock::new();
        let limiter = RateLimiter::with_clock(one_per_second(), clock.clone());
        assert!(limiter.check().is_ok() && limiter.check().is_err());
        clock.refresh(Timestamp::from_secs(1));
        assert!(limiter.check().is_ok() && limiter.check().is_err());
    }

    #[test]
    fn a_ticker_refreshes_it_at_once_and_then_again_and_again() {
        let _ = MonotonicClock::new(); // the epoch
        thread::sleep(Duration::from_millis(2));
        let clock = CoarseClock::new();
        let ticker = clock.start_ticker(Duration::from_millis(1)).unwrap();
        assert!(clock.now() >= Timestamp::from_nanos(1_000_000), "before the first tick: {:?}", clock.now());
        assert!(moves(&clock) && moves(&clock));
        drop(ticker);
    }

    #[test]
    fn it_follows_the_monotonic_clock() {
        let (real, clock) = (MonotonicClock::new(), CoarseClock::new());
        let ticker = clock.start_ticker(Duration::from_millis(1)).unwrap();
        for _ in 0..20 {
            assert!(moves(&clock));
            assert!(clock.now() <= real.now());
        }
        drop(ticker);
    }

    #[test]
    fn it_stands_still_once_the_ticker_is_dropped() {
        let clock = CoarseClock::new();
        drop(clock.start_ticker(Duration::from_micros(100)).unwrap());
        let stopped = clock.now();
        thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.now(), stopped);
        // And goes on with the next one.
        let ticker = clock.start_ticker(Duration::from_micros(100)).unwrap();
        assert!(moves(&clock));
        drop(ticker);
    }

    #[test]
    fn a_ticker_stops_at_once_however_long_its_interval() {
        for interval in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3_600), Duration::MAX] {
            let ticker = CoarseClock::new().start_ticker(interval).unwrap();
            thread::sleep(Duration::from_millis(2));
            let dropped = Instant::now();
            drop(ticker);
            assert!(dropped.elapsed() < PATIENCE, "{interval:?} took {:?}", dropped.elapsed());
        }
    }
}

mod monotonic {
    use super::*;

    #[test]
    fn it_never_steps_back_on_one_thread() {
        let clock = MonotonicClock::new();
        let mut latest = clock.now();
        for _ in 0..100_000 {
            let now = clock.now();
            assert!(latest <= now, "{latest:?}, then {now:?}");
            latest = now;
        }
    }

    #[test]
    fn it_goes_as_fast_as_real_time() {
        let clock = MonotonicClock::new();
        // Read on both sides, so that a pause of this thread between two readings cannot be mistaken for an error.
        let (outer, start, inner) = (Instant::now(), clock.now(), Instant::now());
        thread::sleep(Duration::from_millis(50));
        let (inner, end, outer) = (inner.elapsed(), clock.now(), outer.elapsed());
        let shown = end - start;
        assert!(shown <= outer + outer / 100 && inner <= shown + shown / 100, "{inner:?} <= {shown:?} <= {outer:?}");
    }

    #[test]
    fn all_of_a_process_count_from_one_epoch() {
        let first = MonotonicClock::new();
        thread::sleep(Duration::from_millis(5));
        let second = thread::spawn(MonotonicClock::default).join().unwrap();
        let (before, between, after) = (first.now(), second.now(), first.now());
        assert!(before <= between && between <= after, "{before:?} <= {between:?} <= {after:?}");
        assert!(first.clone().now() >= after);
    }

    #[test]
    fn it_is_the_default_of_a_limiter() {
        let limiter: RateLimiter<TokenBucket> = RateLimiter::new(TokenBucket::new(Quota::per_hour(1)).unwrap());
        let (before, now) = (limiter.clock().now(), limiter.now());
        assert!(before <= now);
        assert!(limiter.check().is_ok() && limiter.check().is_err());
    }
}

mod of_the_users_own {
    use super::*;

    /// A second later each time it is read. Neither `Send` nor `Sync`, which a limiter of one thread need not be.
    #[derive(Default)]
    struct Counting(Cell<u64>);

    impl Clock for Counting {
        fn now(&self) -> Timestamp {
            self.0.set(self.0.get() + 1);
            Timestamp::from_secs(self.0.get())
        }
    }

    /// As a clock of a process that others set.
    struct Shared(AtomicU64);

    impl Clock for Shared {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn by_value_by_reference_boxed_or_shared() {
        fn by<C: Clock>(clock: C) -> [bool; 3] {
            let limiter =
                RateLimiter::with_clock(TokenBucket::new(Quota::new(1, Duration::from_secs(2))).unwrap(), clock);
            [(); 3].map(|()| limiter.check().is_ok())
        }
        let expected = [true, false, true];
        let counting = Counting::default();
        assert_eq!(by(&counting), expected);
        assert_eq!(by(counting), expected);
        assert_eq!(by(Box::new(Counting::default())), expected);
        assert_eq!(by(Box::new(Counting::default()) as Box<dyn Clock>), expected);
        #[expect(clippy::arc_with_non_send_sync, reason = "that it may be shared is all that is asked of it")]
        let shared: Arc<dyn Clock> = Arc::new(Counting::default());
        assert_eq!(by(shared.clone()), expected);
        assert_eq!(by(&shared), expected);
    }

    #[test]
    fn one_clock_for_many_limiters_on_many_threads() {
        let clock = Arc::new(Shared(AtomicU64::new(7)));
        let limiter = Arc::new(RateLimiter::with_clock(one_per_second(), clock.clone()));
        let checked = limiter.clone();
        assert!(thread::spawn(move || checked.check().is_ok()).join().unwrap());
        assert!(limiter.check().is_err());
        clock.0.store(1_000_000_007, Ordering::Relaxed);
        assert!(limiter.check().is_ok());
        assert_eq!(limiter.now(), limiter.clock().now());
    }

    /// A limiter takes its start from its clock: one that starts empty is empty when it is made, not at the epoch.
    #[test]
    fn it_is_read_when_the_limiter_is_made() {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_790_000_000));
        let limiter = RateLimiter::with_clock(one_per_second().start_empty(), clock.clone());
        assert_eq!(limiter.check().unwrap_err().retry_after, Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert!(limiter.check().is_ok());
    }
}
