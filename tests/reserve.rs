//! Booking ahead: when to act, what cancelling puts back, and costs that are known only afterwards.
#![cfg(not(loom))]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tollgate::{
    Clock, Decision, Headroom, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, Reserve, Tiers,
    Timestamp, TokenBucket, Undo,
};

type Tokens = RateLimiter<TokenBucket, ManualClock>;

fn tokens(quota: Quota) -> (Tokens, ManualClock) {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_000));
    (RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), clock.clone()), clock)
}

fn left(limiter: &impl Limiter) -> u64 {
    match limiter.peek_n(0) {
        Ok(allowed) => allowed.remaining,
        Err(denied) => denied.remaining,
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A key's limiter, and one by itself.
fn with_both(
    algorithm: TokenBucket,
    test: impl Fn(&dyn Fn(u64, Duration) -> Box<dyn Booked>, &dyn Limiter, &ManualClock),
) {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_000));
    let one: &'static _ = Box::leak(Box::new(RateLimiter::with_clock(algorithm, clock.clone())));
    test(&|cost, longest| Box::new(one.reserve(cost, longest).unwrap()), &one, &clock);
    let many: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(algorithm, 100, clock.clone());
    let many: &'static _ = Box::leak(Box::new(many));
    let alice = many.key("alice");
    test(&|cost, longest| Box::new(alice.reserve(cost, longest).unwrap()), &alice, &clock);
    assert_eq!(left(&many.key("bob")), algorithm.burst(), "another key's booking");
}

/// A booking of any limiter.
trait Booked {
    fn delay(&self) -> Duration;
    fn commit(self: Box<Self>);
    fn settle(self: Box<Self>, used: u64);
}

impl<L: Reserve> Booked for tollgate::Booking<L> {
    fn delay(&self) -> Duration {
        tollgate::Booking::delay(self)
    }
    fn commit(self: Box<Self>) {
        (*self).commit();
    }
    fn settle(self: Box<Self>, used: u64) {
        (*self).settle(used);
    }
}

#[test]
fn a_booking_says_when_to_act_and_others_come_after_it() {
    with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, clock| {
        let delays = [10, 5, 1, 10].map(|cost| {
            let booking = reserve(cost, Duration::from_secs(10));
            let delay = booking.delay();
            booking.commit();
            delay
        });
        assert_eq!(delays, [0, 500, 600, 1_600].map(millis));
        assert_eq!(limiter.check().unwrap_err().retry_after, Some(millis(1_700)));
        clock.advance(millis(1_699));
        assert!(limiter.check().is_err());
        clock.advance(millis(1));
        assert!(limiter.check().is_ok());
    });
}

#[test]
fn longer_than_one_is_ready_to_wait_is_refused_and_says_until_when() {
    let (limiter, clock) = tokens(Quota::per_second(10));
    assert!(limiter.check_n(10).is_ok());
    let denied = (&limiter).reserve(8, millis(500)).unwrap_err();
    assert_eq!((denied.retry_after, denied.remaining), (Some(millis(300)), 0));
    clock.advance(millis(300) - Duration::from_nanos(1));
    assert!((&limiter).reserve(8, millis(500)).is_err());
    clock.advance(Duration::from_nanos(1));
    assert_eq!((&limiter).reserve(8, millis(500)).unwrap().delay(), millis(500));
    assert_eq!((&limiter).reserve(11, Duration::MAX).unwrap_err().retry_after, None);
    assert_eq!((&limiter).leaving(Headroom::units(4)).reserve(7, Duration::MAX).unwrap_err().retry_after, None);
    assert_eq!((&limiter).leaving(Headroom::units(3)).reserve(7, Duration::MAX).unwrap().delay(), millis(700));
}

#[test]
fn in_any_order_cancelled_bookings_leave_what_was_there() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for waits in [[0, 0, 0], [100, 0, 900], [300, 300, 300], [0, 2_500, 17], [999, 1, 0]] {
            with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, clock| {
                let mut bookings = [10, 7, 9].map(|cost| Some(reserve(cost, Duration::from_secs(9))));
                for (one, wait) in order.into_iter().zip(waits) {
                    clock.advance(millis(wait));
                    bookings[one] = None;
                }
                assert_eq!(left(&limiter), 10, "{order:?} {waits:?}");
            });
        }
    }
}

#[test]
fn a_booking_cancelled_before_its_turn_is_put_back_to_the_last_unit() {
    with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, clock| {
        reserve(10, Duration::ZERO).commit();
        let ahead = reserve(10, Duration::from_secs(5));
        reserve(6, Duration::from_secs(5)).commit();
        // As much as was booked has been gained since, but not of what was booked.
        clock.advance(millis(1_000));
        drop(ahead);
        assert_eq!(left(&limiter), 4);
    });
}

#[test]
fn those_behind_a_cancelled_booking_move_up() {
    with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, clock| {
        reserve(10, Duration::ZERO).commit();
        let [first, second, third] = [10, 10, 10].map(|cost| reserve(cost, Duration::from_secs(9)));
        drop(first);
        // The second stands where the first stood, and time has reached the middle of it.
        clock.advance(millis(1_500));
        drop(second);
        assert_eq!(limiter.check().unwrap_err().retry_after, Some(millis(100)));
        clock.advance(millis(300));
        drop(third);
        assert_eq!(left(&limiter), 10);
    });
}

/// A peer's refund, reset or undo moves places that the ledger does not know of.
#[test]
fn what_others_gave_back_is_not_put_back_a_second_time() {
    type GiveBack = fn(&Tokens, <Tokens as Undo>::Taken);
    let ways: [GiveBack; 3] =
        [|limiter, _| limiter.refund(10), |limiter, _| limiter.reset(), |limiter, taken| limiter.undo(taken, 10)];
    for (way, give_back) in ways.into_iter().enumerate() {
        let (limiter, clock) = tokens(Quota::per_second(10).burst(20));
        let (_, taken) = limiter.take(10).unwrap();
        let booking = (&limiter).reserve(10, Duration::ZERO).unwrap();
        give_back(&limiter, taken);
        clock.advance(millis(1_000)); // what was booked is regained
        assert!(limiter.check_n(10).is_ok());
        drop(booking);
        assert_eq!(left(&limiter), 10, "way {way}: units of the last check were put back");
    }
}

#[test]
fn what_a_reset_has_forgotten_is_not_put_back() {
    with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, clock| {
        let [before, other] = [reserve(6, Duration::ZERO), reserve(4, Duration::ZERO)];
        limiter.reset();
        assert!(limiter.check_n(5).is_ok());
        let after = reserve(5, Duration::ZERO);
        drop(before);
        other.settle(3);
        assert_eq!(left(&limiter), 0, "those are others' units");
        drop(after);
        assert_eq!(left(&limiter), 5);
        clock.advance(millis(500));
        assert_eq!(left(&limiter), 10);
    });
}

#[test]
fn a_booking_is_forgotten_if_its_key_went_to_another_tier_and_came_back() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_000));
    let bucket = |limit| TokenBucket::new(Quota::per_second(limit).burst(20)).unwrap();
    let tier = AtomicUsize::new(0);
    let tiers = Tiers::new([bucket(1), bucket(100)], |_: &str| tier.load(Ordering::Relaxed)).unwrap();
    let limiter: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(tiers, 100, clock.clone());
    let booking = limiter.key("alice").reserve(10, Duration::ZERO).unwrap();
    tier.store(1, Ordering::Relaxed);
    assert_eq!(limiter.peek_n("alice", 0).unwrap().remaining, 10);
    clock.advance(millis(200));
    tier.store(0, Ordering::Relaxed);
    assert!(limiter.check_n("alice", 20).is_ok());
    drop(booking);
    assert_eq!(left(&limiter.key("alice")), 0);
}

#[test]
fn an_estimate_is_settled_for_less_or_for_more() {
    with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, clock| {
        reserve(8, Duration::ZERO).settle(3);
        assert_eq!(left(&limiter), 7);
        reserve(7, Duration::ZERO).settle(7);
        assert_eq!(left(&limiter), 0);
        clock.advance(millis(1_000));
        // Three times the burst: a debt.
        reserve(10, Duration::ZERO).settle(30);
        let denied = limiter.check().unwrap_err();
        assert_eq!((denied.remaining, denied.retry_after, denied.reset_after), (0, Some(millis(2_100)), millis(3_000)));
        assert_eq!(reserve(1, Duration::from_secs(9)).delay(), millis(2_100));
        clock.advance(millis(2_099));
        assert!(limiter.check().is_err());
        clock.advance(millis(1));
        assert!(limiter.check().is_ok());
    });
}

#[test]
fn what_is_settled_goes_back_from_the_middle_of_the_line() {
    let (limiter, _) = tokens(Quota::per_second(10));
    let first = (&limiter).reserve(10, Duration::ZERO).unwrap();
    let second = (&limiter).reserve(10, Duration::MAX).unwrap();
    first.settle(4);
    second.cancel();
    assert_eq!(left(&limiter), 6);
}

#[test]
fn a_leaky_bucket_is_booked_where_a_check_would_wait() {
    let clock = ManualClock::new();
    let bucket = LeakyBucket::new(Quota::per_second(10).burst(5)).unwrap();
    let limiter = RateLimiter::with_clock(bucket, clock.clone());
    let bookings: Vec<_> = (0..3).map(|_| (&limiter).reserve(1, millis(200)).unwrap()).collect();
    assert_eq!(bookings.iter().map(|booking| booking.delay()).collect::<Vec<_>>(), [0, 100, 200].map(millis));
    assert_eq!((&limiter).reserve(1, millis(200)).unwrap_err().retry_after, Some(millis(100)));
    assert_eq!((&limiter).reserve(3, Duration::MAX).unwrap_err().retry_after, Some(millis(100)), "the line is full");
    drop(bookings);
    assert_eq!(limiter.check().unwrap().delay, Duration::ZERO);
}

#[test]
fn a_cost_of_nothing_asks_for_one_and_takes_none() {
    with_both(TokenBucket::new(Quota::per_second(10)).unwrap(), |reserve, limiter, _| {
        assert_eq!(reserve(0, Duration::ZERO).delay(), Duration::ZERO);
        reserve(10, Duration::ZERO).commit();
        let before: Decision = limiter.peek();
        assert_eq!(reserve(0, Duration::from_secs(1)).delay(), millis(100));
        assert_eq!(limiter.peek(), before);
    });
}

#[test]
fn debts_are_as_large_as_a_word_can_hold_and_no_larger() {
    for quota in [Quota::per_day(1), Quota::per_second(10), Quota::per_second(4_000_000_000_000), Quota::per_hour(7)] {
        for start in [Timestamp::ZERO, Timestamp::from_secs(17), Timestamp::HORIZON, Timestamp::from_nanos(u64::MAX)] {
            let clock = ManualClock::starting_at(start);
            let limiter = RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), clock.clone());
            limiter.charge(3);
            limiter.charge(u64::MAX);
            limiter.charge(u64::MAX);
            let denied = limiter.check().unwrap_err();
            assert_eq!(denied.remaining, 0, "{quota:?} {start:?}");
            // There is nothing to book in front of the horizon, or within what a word tells apart.
            let refused = (&limiter).reserve(1, Duration::from_secs(1)).unwrap_err();
            assert_eq!(refused.retry_after.is_none(), quota.limit() < 1_000_000_000, "{quota:?} {start:?}");
            // At the horizon there is no time left for a debt beyond the burst.
            limiter.refund(quota.limit());
            assert_eq!(
                left(&limiter) == 0,
                start < Timestamp::HORIZON || refused.retry_after.is_some(),
                "{quota:?} {start:?}"
            );
            limiter.refund(u64::MAX);
            assert_eq!(left(&limiter), quota.limit(), "{quota:?} {start:?}");
        }
    }
}

#[test]
fn a_booking_moves_with_the_limiter_that_it_owns() {
    let limiter = Arc::new(tokens(Quota::per_second(10)).0);
    let booking = limiter.clone().reserve(4, Duration::ZERO).unwrap();
    assert_eq!(left(&limiter), 6);
    std::thread::spawn(move || drop(booking)).join().unwrap();
    assert_eq!(left(&limiter), 10);
}

#[test]
fn what_was_taken_in_another_tier_is_not_put_back() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_000));
    let bucket = |limit| TokenBucket::new(Quota::per_second(limit).burst(20)).unwrap();
    let tier = AtomicUsize::new(0);
    let tiers = Tiers::new([bucket(1), bucket(100)], |_: &str| tier.load(Ordering::Relaxed)).unwrap();
    let limiter: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(tiers, 100, clock.clone());
    let slow = limiter.key("alice");
    let booking = slow.reserve(6, Duration::ZERO).unwrap();
    let (_, taken) = slow.take(6).unwrap();
    tier.store(1, Ordering::Relaxed);
    let fast = limiter.key("alice");
    assert_eq!(left(&fast), 8);
    // All of it has been regained here, where it would not have been there; what is in use by now is somebody else's.
    clock.advance(millis(200));
    assert!(fast.check_n(20).is_ok());
    drop(booking);
    slow.undo(taken, 6);
    assert_eq!(left(&fast), 0);
    // It was struck out all the same, and those that come later are put back.
    clock.advance(millis(200));
    fast.reserve(20, Duration::ZERO).unwrap().cancel();
    assert_eq!(left(&fast), 20);
}

#[test]
fn without_room_a_key_is_booked_from_what_newcomers_share_only_if_it_passes_at_once() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(10));
    let limiter: KeyedLimiter<u64, _, _> =
        KeyedLimiter::with_clock(TokenBucket::new(Quota::per_minute(10)).unwrap(), 1, clock.clone());
    let mut key = 0;
    while limiter.stats().overflowed == 0 {
        key += 1;
        assert!(limiter.check(&key).is_ok(), "each gets a slot until there is none");
    }
    let key = limiter.key(&key);
    let seen = left(&key);
    key.reserve(2, Duration::ZERO).unwrap().cancel();
    assert_eq!(left(&key), seen - 2, "it might go to others");
    assert!(key.reserve(10, Duration::MAX).is_err());
    key.charge(100);
    assert_eq!(left(&key), 0);
}

#[test]
fn a_charge_of_nothing_is_nothing_also_to_an_earlier_time() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(2));
    let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(1)).unwrap(), clock.clone());
    limiter.charge(0);
    clock.set(Timestamp::from_secs(1));
    assert!(limiter.check().is_ok());
}

/// Two bookings may come to be of the same instant: the first of them could have acted before.
#[test]
fn a_booking_that_moves_ahead_keeps_its_time_and_those_behind_it_do_not_wait_for_that() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(2));
    let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10)).unwrap(), clock);
    let [before, booking] = [0, 1].map(|_| (&limiter).reserve(10, Duration::from_secs(1)).unwrap());
    assert_eq!([before.delay(), booking.delay()], [Duration::ZERO, Duration::from_secs(1)]);
    before.cancel();
    let behind = (&limiter).reserve(10, Duration::from_secs(1)).unwrap();
    assert_eq!([booking.delay(), behind.delay()], [Duration::from_secs(1); 2]);
    // By its place it may act at once: nothing but it is in use.
    behind.cancel();
    booking.cancel();
    assert_eq!(limiter.peek_n(0).unwrap().remaining, 10);
}

/// A clock that panics if it is told to.
struct Fussy<'a>(&'a ManualClock, &'a AtomicBool);

impl Clock for Fussy<'_> {
    fn now(&self) -> Timestamp {
        assert!(!self.1.load(Ordering::Relaxed), "no time");
        self.0.now()
    }
}

#[test]
fn after_an_undo_that_a_clock_has_cut_short_bookings_are_cancelled_to_the_last_unit() {
    let (clock, panics) = (ManualClock::starting_at(Timestamp::from_secs(1_000)), AtomicBool::new(false));
    let limiter = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(10)).unwrap(), Fussy(&clock, &panics));
    let (_, taken) = limiter.take(10).unwrap();
    panics.store(true, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| limiter.undo(taken, 10))).is_err());
    panics.store(false, Ordering::Relaxed);
    let booking = (&limiter).reserve(5, Duration::from_secs(1)).unwrap();
    clock.advance(millis(500));
    drop(booking);
    assert_eq!(left(&limiter), 5);
}
