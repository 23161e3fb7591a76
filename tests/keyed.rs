//! One limit per key: what [`KeyedLimiter`] promises, by hand.
#![cfg(not(loom))]

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tollgate::{
    Algorithm, Clock, Decision, FixedWindow, IpKey, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Quota,
    SecretState, SlidingLog, SlidingWindow, Tiers, Timestamp, TokenBucket,
    keyed::{OneKey, PlanFor},
};

const SECOND: u64 = 1_000_000_000;

type Keyed<K, A, S = SecretState> = KeyedLimiter<K, A, ManualClock, S>;

fn keyed<K, A: Algorithm>(algorithm: A, keys: usize) -> Keyed<K, A> {
    KeyedLimiter::with_clock(algorithm, keys, ManualClock::new())
}

fn bucket(quota: Quota) -> TokenBucket {
    TokenBucket::new(quota).expect("a quota that can be held")
}

fn nanos(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn secs(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// What is left of a key at `now`.
fn room(decision: Decision) -> u64 {
    decision.map_or_else(|denied| denied.remaining, |allowed| allowed.remaining)
}

/// One test for each algorithm, of a function that takes it and its limit, which is 10 a second.
macro_rules! for_all_algorithms {
    ($name:ident, $check:ident) => {
        #[test]
        fn $name() {
            let quota = Quota::per_second(10);
            $check(FixedWindow::new(quota).unwrap());
            $check(SlidingWindow::new(quota).unwrap());
            $check(SlidingLog::new(quota).unwrap());
            $check(TokenBucket::new(quota).unwrap());
            $check(LeakyBucket::new(quota).unwrap());
        }
    };
}

mod look_ups {
    use super::*;

    #[test]
    fn a_key_is_found_by_what_it_borrows_as() {
        let names: Keyed<String, _> = keyed(bucket(Quota::per_day(2)), 100);
        assert_eq!(names.check("alice").unwrap().remaining, 1);
        assert_eq!(names.check(&String::from("alice")).unwrap().remaining, 0);
        assert!(names.peek("alice").is_err());

        let lists: Keyed<Vec<u8>, _> = keyed(bucket(Quota::per_day(1)), 100);
        assert!(lists.check([1, 2].as_slice()).is_ok());
        assert!(lists.check(&vec![1, 2]).is_err());
        assert!(lists.check([1, 2, 0].as_slice()).is_ok());

        let pairs: Keyed<(u32, IpKey), _> = keyed(bucket(Quota::per_day(1)), 100);
        let local = IpKey::from(Ipv4Addr::LOCALHOST);
        assert!(pairs.check(&(1, local)).is_ok() && pairs.check(&(2, local)).is_ok());
        assert!(pairs.check(&(1, local)).is_err());
    }

    #[test]
    fn a_type_of_no_size_at_compile_time_can_be_the_key() {
        let names: KeyedLimiter<str, _, _> =
            KeyedLimiter::with_clock(bucket(Quota::per_day(1)), 100, ManualClock::new());
        assert!(names.check("alice").is_ok() && names.check("alice").is_err() && names.check("bob").is_ok());
    }

    #[test]
    fn any_hasher_will_do() {
        let limiter: KeyedLimiter<u64, _, _, RandomState> = KeyedLimiter::with_clock_and_hasher(
            bucket(Quota::per_day(1)),
            1_000,
            ManualClock::new(),
            RandomState::new(),
        );
        assert!((0..1_000).all(|key| limiter.check(&key).is_ok()));
        assert!((0..1_000).all(|key| limiter.check(&key).is_err()));
    }

    #[test]
    fn a_limiter_is_shared_between_threads_whatever_its_keys_are() {
        fn assert_shared<T: Send + Sync>() {}
        assert_shared::<KeyedLimiter<std::rc::Rc<str>, TokenBucket>>();
        assert_shared::<KeyedLimiter<u64, SlidingLog>>();
    }
}

mod methods {
    use super::*;

    for_all_algorithms!(every_method_is_about_its_own_key, every_method);

    fn every_method<A: Algorithm + Copy>(algorithm: A) {
        let limiter: Keyed<&str, A> = keyed(algorithm, 100);
        limiter.clock().set(secs(5));
        assert!(limiter.is_empty());
        assert_eq!(room(limiter.peek_n("a", 0)), 10);
        assert_eq!(limiter.check("a").unwrap().remaining, 9);
        assert_eq!(limiter.check_n("a", 3).unwrap().remaining, 6);
        assert_eq!(limiter.check_at("a", secs(5)).unwrap().remaining, 5);
        assert_eq!(limiter.check_n_at("a", 2, secs(5)).unwrap().remaining, 3);
        assert_eq!(limiter.peek("a").unwrap().remaining, 2);
        assert_eq!(limiter.peek_n("a", 3).unwrap().remaining, 0);
        assert_eq!(limiter.peek_n_at("a", 4, secs(5)).unwrap_err().remaining, 3);
        assert!(limiter.check_n("a", 4).is_err());
        assert_eq!(limiter.check_n("a", 0).unwrap().remaining, 3, "a cost of 0 takes nothing, a refusal neither");
        assert_eq!(limiter.check_n("a", 11).unwrap_err().retry_after, None, "can never pass");

        assert_eq!(room(limiter.peek_n("b", 0)), 10, "another key");
        limiter.refund("a", 2);
        limiter.refund_at("a", 1, secs(5));
        assert_eq!(room(limiter.peek_n("a", 0)), 6);
        limiter.refund("a", u64::MAX);
        assert_eq!(room(limiter.peek_n("a", 0)), 10);

        assert!(limiter.check_n("a", 10).is_ok() && limiter.check_n("b", 10).is_ok());
        assert_eq!(limiter.len(), 2);
        limiter.reset("a");
        assert_eq!((room(limiter.peek_n("a", 0)), room(limiter.peek_n("b", 0))), (10, 0));
        limiter.reset_at("b", secs(5));
        assert_eq!(room(limiter.peek_n("b", 0)), 10);
        assert!(limiter.is_empty());
    }

    for_all_algorithms!(a_view_of_a_key_is_a_limiter, view);

    fn view<A: Algorithm + Copy>(algorithm: A) {
        let limiter: Keyed<String, A> = keyed(algorithm, 100);
        limiter.clock().set(secs(7));
        let alice = limiter.key("alice");
        let any: &dyn Limiter = &alice;
        assert_eq!(any.now(), secs(7));
        assert!(limiter.is_empty(), "a view takes no slot");
        assert_eq!(any.check_n(4).unwrap().remaining, 6);
        assert_eq!(limiter.peek_n("alice", 0).unwrap().remaining, 6);
        assert_eq!(limiter.check("alice").unwrap().remaining, 5);
        assert_eq!(any.peek().unwrap().remaining, 4);
        any.refund(3);
        assert_eq!(room(limiter.peek_n("alice", 0)), 8);
        any.reset();
        assert!(limiter.is_empty());
        let copy = alice;
        assert_eq!(copy.check_n(10), limiter.peek_n("bob", 10));
        assert!(alice.check().is_err());
    }

    for_all_algorithms!(keys_that_were_never_seen_have_nothing_to_give_back_or_forget, absent);

    fn absent<A: Algorithm + Copy>(algorithm: A) {
        let limiter: Keyed<u64, A> = keyed(algorithm, 10);
        limiter.refund(&1, 5);
        limiter.reset(&1);
        assert!(limiter.check_n(&1, 0).is_ok());
        assert!(limiter.check_n(&1, 11).is_err());
        assert_eq!((limiter.len(), limiter.stats()), (0, Default::default()));
        assert_eq!(limiter.check_n(&1, 10).unwrap().remaining, 0);
        assert!(limiter.check(&1).is_err(), "a refund of nothing is no credit");
    }

    for_all_algorithms!(len_counts_keys_in_use, len);

    fn len<A: Algorithm + Copy>(algorithm: A) {
        let limiter: Keyed<u64, A> = keyed(algorithm, 1_000);
        assert_eq!(limiter.len(), 0);
        for key in 0..300 {
            assert!(limiter.check(&key).is_ok());
        }
        assert!(!limiter.is_empty());
        assert_eq!(limiter.len(), 300);
        limiter.clock().set(secs(2));
        assert!(limiter.is_empty(), "all have recovered");
        assert!(limiter.check(&7).is_ok());
        assert_eq!(limiter.len(), 1);
    }

    #[test]
    fn stats_tell_what_became_of_newcomers() {
        let limiter: Keyed<u64, _> = keyed(bucket(Quota::per_second(10)), 1);
        let passed = (0..1_000).filter(|key| limiter.check(key).is_ok()).count();
        let full = limiter.stats();
        assert_eq!(
            (full.taken_over, full.overflowed),
            (0, 10),
            "none has recovered, and newcomers share a limit of 10"
        );
        assert_eq!((passed, limiter.len()), (32 + 10, 32), "all slots are taken");
        limiter.clock().set(secs(1));
        assert!((1_000..1_010).all(|key| limiter.check(&key).is_ok()));
        let later = limiter.stats();
        assert_eq!((later.taken_over, later.overflowed), (10, 10), "there is room again, in what were others' slots");
        assert_eq!(limiter.len(), 10);
    }

    #[test]
    fn debug_shows_no_key_and_no_seed() {
        let limiter: Keyed<String, _> = keyed(bucket(Quota::per_second(10)), 10);
        assert!(limiter.check("alice").is_ok());
        let shown = format!("{limiter:?} {:?} {:?}", limiter.key("alice"), limiter.check_each(["alice"].into_iter()));
        assert!(shown.starts_with("KeyedLimiter") && !shown.contains("alice") && shown.len() < 1_000, "{shown}");
        assert_eq!(format!("{:?}", SecretState::with_seed(12_345)), "SecretState(..)");
    }
}

mod many {
    use super::*;

    /// A batch with many keys that come twice and more, longer than what is looked up ahead.
    fn batch() -> Vec<u64> {
        (0..500_u64).map(|nth| nth * nth % 97).collect()
    }

    for_all_algorithms!(many_at_once_are_as_many_one_by_one, many);

    fn many<A: Algorithm + Copy>(algorithm: A) {
        for keys in [1, 5, 1_000] {
            let limiters = [0; 3].map(|_| -> Keyed<u64, A> {
                KeyedLimiter::with_clock_and_hasher(algorithm, keys, ManualClock::new(), SecretState::with_seed(7))
            });
            let [one_by_one, many, each] = &limiters;
            for (second, cost) in [(0, 1), (1, 1), (2, 3), (9, 11)] {
                limiters.iter().for_each(|limiter| limiter.clock().set(secs(second)));
                let expected: Vec<_> = batch().iter().map(|key| one_by_one.check_n(key, cost)).collect();
                let found: Vec<_> = each.check_each_n_at(&batch(), cost, secs(second)).collect();
                assert_eq!(found, expected);
                if cost == 1 {
                    assert_eq!(many.check_many(&batch()), expected);
                    assert_eq!(many.stats(), one_by_one.stats());
                }
                assert!(expected.iter().any(Result::is_err), "a batch that shows that duplicates count");
            }
        }
    }

    #[test]
    fn only_what_is_asked_for_is_charged() {
        let limiter: Keyed<u64, _> = keyed(bucket(Quota::per_second(10)), 1_000);
        let keys: Vec<u64> = (0..200).collect();
        drop(limiter.check_each(&keys));
        assert!(limiter.is_empty());
        let mut decisions = limiter.check_each(&keys);
        assert_eq!(decisions.by_ref().take(50).filter(Result::is_ok).count(), 50);
        assert_eq!(decisions.size_hint(), (150, Some(150)));
        drop(decisions);
        assert_eq!(limiter.len(), 50);
        assert!((0..50).all(|key| limiter.peek_n(&key, 0).unwrap().remaining == 9));
        assert!((50..200).all(|key| limiter.peek_n(&key, 0).unwrap().remaining == 10));
    }

    #[test]
    fn none_at_all_are_no_decisions() {
        let limiter: Keyed<u64, _> = keyed(bucket(Quota::per_second(10)), 10);
        assert_eq!(limiter.check_many::<u64>(&[]), []);
        let mut none = limiter.check_each(&[]);
        assert_eq!((none.size_hint(), none.next(), none.next()), ((0, Some(0)), None, None));
    }

    #[test]
    fn all_are_decided_at_one_reading_of_the_clock() {
        struct Counting(AtomicUsize);
        impl tollgate::Clock for Counting {
            fn now(&self) -> Timestamp {
                secs(self.0.fetch_add(1, Ordering::Relaxed) as u64)
            }
        }
        let limiter =
            KeyedLimiter::<u64, _, _>::with_clock(bucket(Quota::per_second(1)), 100, Counting(AtomicUsize::new(0)));
        let passed = limiter.check_many(&[1; 100]).into_iter().filter(Result::is_ok).count();
        assert_eq!(
            (passed, limiter.clock().0.load(Ordering::Relaxed)),
            (1, 2),
            "one reading to build it, one to check"
        );
    }
}

mod addresses {
    use super::*;

    fn key(address: &str, prefix: u8) -> IpKey {
        IpKey::with_prefix(address.parse().unwrap(), prefix)
    }

    #[test]
    fn all_of_a_version_4_address_counts_whatever_the_prefix() {
        for prefix in [0, 1, 24, 32, 64, 96, 128, 255] {
            assert_ne!(key("192.0.2.1", prefix), key("192.0.2.2", prefix));
            assert_eq!(key("192.0.2.1", prefix), key("::ffff:192.0.2.1", prefix), "written as version 6");
            assert_eq!(key("192.0.2.1", prefix).address(), "192.0.2.1".parse::<IpAddr>().unwrap());
        }
        assert_eq!(IpKey::from(Ipv4Addr::new(192, 0, 2, 1)), key("192.0.2.1", 64));
    }

    #[test]
    fn the_prefix_of_a_version_6_address_counts() {
        let address = u128::from("2001:db8:1234:5678:9abc:def0:1234:5678".parse::<Ipv6Addr>().unwrap());
        for prefix in 0..=255_u8 {
            let key = |bits: u128| IpKey::with_prefix(Ipv6Addr::from(bits).into(), prefix);
            for bit in 0..128_u8 {
                let other = address ^ 1 << (127 - bit);
                assert_eq!(key(address) == key(other), bit >= prefix, "/{prefix}, bit {bit}");
            }
        }
        assert_eq!(key("2001:db8::1", 0), key("fe80::7", 0), "a prefix of nothing is one client");
        assert_eq!(key("2001:db8::1", 128), key("2001:db8::1", 200));
        assert_eq!(key("2001:db8::1", 128).address(), "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:0:7:1::1", 64).address(), "2001:db8:0:7::".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn by_default_a_client_has_a_64() {
        assert_eq!(IpKey::DEFAULT_PREFIX, 64);
        let limiter: Keyed<IpKey, _> = keyed(bucket(Quota::per_day(1)), 100);
        let check = |address: &str| limiter.check(&IpKey::from(address.parse::<IpAddr>().unwrap())).is_ok();
        assert!(check("2001:db8::1"));
        assert!(!check("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(check("2001:db8:0:1::1"));
        assert!(check("192.0.2.1") && !check("::ffff:192.0.2.1") && check("192.0.2.2"));
        assert!(check("::192.0.2.1"), "the old, compatible form is a version 6 address");
    }
}

mod collisions {
    use super::*;

    /// Every key has the same hash.
    #[derive(Clone, Copy)]
    struct Same(u64);

    impl BuildHasher for Same {
        type Hasher = Same;
        fn build_hasher(&self) -> Same {
            *self
        }
    }

    impl Hasher for Same {
        fn write(&mut self, _: &[u8]) {}
        fn finish(&self) -> u64 {
            self.0
        }
    }

    /// The hash of a number is the number, shifted, with other bits set.
    #[derive(Clone, Copy, Default)]
    struct Identity {
        shift: u32,
        set: u64,
        found: u64,
    }

    impl BuildHasher for Identity {
        type Hasher = Identity;
        fn build_hasher(&self) -> Identity {
            *self
        }
    }

    impl Hasher for Identity {
        fn write(&mut self, _: &[u8]) {
            unreachable!("numbers only");
        }
        fn write_u64(&mut self, found: u64) {
            self.found = found;
        }
        fn finish(&self) -> u64 {
            self.found << self.shift | self.set
        }
    }

    for_all_algorithms!(keys_of_one_hash_share_a_limit_and_nothing_breaks, one_hash);

    fn one_hash<A: Algorithm + Copy>(algorithm: A) {
        for hash in [0, 1, 255, 256, 1 << 63, u64::MAX - 256, u64::MAX - 255, u64::MAX - 1, u64::MAX] {
            let limiter: Keyed<u64, A, _> =
                KeyedLimiter::with_clock_and_hasher(algorithm, 100, ManualClock::new(), Same(hash));
            for second in [0, 5] {
                limiter.clock().set(secs(second));
                let passed = (0..1_000).filter(|key| limiter.check(key).is_ok()).count();
                assert_eq!((passed, limiter.len()), (10, 1), "{hash:#x}");
                limiter.refund(&17, 4);
                assert_eq!(room(limiter.peek_n(&4_711, 0)), 4);
                limiter.reset(&3);
                assert!(limiter.is_empty());
            }
            assert_eq!(limiter.stats(), Default::default());
        }
    }

    #[test]
    fn keys_of_one_hash_and_several_tiers_break_nothing() {
        for hash in [0, 255, 256, u64::MAX - 256, u64::MAX - 255, u64::MAX] {
            let algorithms = (1..=256).map(|limit| bucket(Quota::per_day(limit)));
            let tiers = Tiers::new(algorithms, |key: &u64| *key as usize).unwrap();
            let limiter: Keyed<u64, _, _> =
                KeyedLimiter::with_clock_and_hasher(tiers, 100, ManualClock::new(), Same(hash));
            let passed = (0..256).filter(|key| limiter.check(key).is_ok()).count();
            assert_eq!((passed, limiter.len()), (256, 1), "{hash:#x}: each tier allows one more than the last");
            assert!((0..256).rev().all(|key| limiter.check(&key).is_err()), "{hash:#x}");
        }
    }

    // A fingerprint that cannot be kept as it is (that of a slot which was never used, or is being given away) must not
    // become that of a neighbour.
    #[test]
    fn consecutive_hashes_are_told_apart() {
        for set in [0, 0xFFFF_FFFF_0000_0000, u64::MAX << 12] {
            let hasher = Identity { set, ..Identity::default() };
            let limiter: Keyed<u64, _, _> =
                KeyedLimiter::with_clock_and_hasher(bucket(Quota::per_day(1)), 10_000, ManualClock::new(), hasher);
            assert!((0..4_096).all(|key| limiter.check(&key).is_ok()), "{set:#x}: two keys share a limit");
            assert!((0..4_096).all(|key| limiter.check(&key).is_err()), "{set:#x}");
            assert_eq!((limiter.len(), limiter.stats().overflowed), (4_096, 0), "{set:#x}");
        }
    }

    #[test]
    fn consecutive_hashes_are_told_apart_beside_a_tier() {
        let algorithms = [1, 2].map(|limit| bucket(Quota::per_day(limit)));
        let tiers = Tiers::new(algorithms, |key: &u64| (*key % 2) as usize).unwrap();
        let limiter: Keyed<u64, _, _> =
            KeyedLimiter::with_clock_and_hasher(tiers, 10_000, ManualClock::new(), Identity::default());
        for key in 0..4_096 {
            assert_eq!(limiter.check_n(&key, 1 + key % 2).unwrap().remaining, 0, "{key}");
        }
        assert_eq!(limiter.len(), 4_096);
    }

    #[test]
    fn hashes_that_differ_in_their_high_bits_alone_break_nothing() {
        let hasher = Identity { shift: 52, ..Identity::default() };
        let limiter: Keyed<u64, _, _> =
            KeyedLimiter::with_clock_and_hasher(bucket(Quota::per_day(1)), 10_000, ManualClock::new(), hasher);
        let passed = (0..4_096).filter(|key| limiter.check(key).is_ok()).count();
        assert!(passed > 3_000, "{passed} of 4,096 found room");
        assert!((0..4_096).all(|key| limiter.check(&key).is_err()));
    }
}

/// What shares its limiter is counted with what borrows it, in the tier of its key, and can go to another thread.
#[test]
fn a_key_that_shares_its_limiter_is_that_key() {
    let tiers = Tiers::new([2, 5].map(|limit| bucket(Quota::per_day(limit))), |key: &u64| (*key % 2) as usize).unwrap();
    let limiter: Arc<Keyed<u64, _>> = Arc::new(KeyedLimiter::with_clock(tiers, 100, ManualClock::new()));
    let shared = OneKey::of(Arc::clone(&limiter), &7);
    assert!(limiter.check(&7).is_ok());
    let left = thread::spawn(move || shared.check_n(3).map(|allowed| (allowed.limit, allowed.remaining)));
    assert_eq!(left.join().unwrap(), Ok((5, 1)));
    assert_eq!(limiter.peek_n(&7, 0).unwrap().remaining, 1);
}

mod fingerprints {
    use super::*;

    #[test]
    fn a_fingerprint_is_its_key_in_its_tier() {
        let tiers = Tiers::new([2, 5].map(|limit| bucket(Quota::per_day(limit))), |key: &u64| (*key % 2) as usize);
        let limiter: Keyed<u64, _> = KeyedLimiter::with_clock(tiers.unwrap(), 100, ManualClock::new());
        let kept: Vec<_> = (0..10).map(|key| limiter.key(&key).fingerprint()).collect();
        for (key, &fingerprint) in (0..10).zip(&kept) {
            let limit = [2, 5][key as usize % 2];
            assert_eq!(limiter.key_of(fingerprint).quota(), Quota::per_day(limit));
            assert_eq!(limiter.key_of(fingerprint).check_n(limit).unwrap().remaining, 0);
            assert!(limiter.check(&key).is_err());
        }
        assert_eq!(limiter.len(), 10);
    }

    #[test]
    fn it_does_not_show_what_it_is_made_of() {
        let limiter: Keyed<u64, _> = keyed(bucket(Quota::per_day(1)), 100);
        assert_eq!(format!("{:?}", limiter.key(&7).fingerprint()), "Fingerprint(..)");
    }
}

mod tiers {
    use super::*;

    /// A limiter of these tiers, and where to set the one that all keys have.
    fn by_switch<'a, A: Algorithm>(
        algorithms: impl IntoIterator<Item = A>,
        tier: &'a AtomicUsize,
        keys: usize,
    ) -> Keyed<u64, Tiers<A, impl Fn(&u64) -> usize + 'a>> {
        let tiers = Tiers::new(algorithms, move |_: &u64| tier.load(Ordering::Relaxed)).unwrap();
        KeyedLimiter::with_clock(tiers, keys, ManualClock::new())
    }

    /// Ten and thirty a second.
    fn up_and_down<A: Algorithm>(build: impl Fn(Quota) -> A) {
        let tier = AtomicUsize::new(0);
        let limiter = by_switch([10, 30].map(|limit| build(Quota::per_second(limit))), &tier, 100);
        let in_tier = |number: usize| tier.store(number, Ordering::Relaxed);
        limiter.clock().set(nanos(5 * SECOND + 1));

        // Up: what was consumed stays consumed, whichever method comes first.
        assert_eq!(limiter.check_n(&1, 7).unwrap().remaining, 3);
        assert!(limiter.check_n(&2, 10).is_ok() && limiter.check_n(&3, 6).is_ok() && limiter.check_n(&4, 6).is_ok());
        in_tier(1);
        assert_eq!(limiter.check(&1).unwrap().remaining, 22);
        assert_eq!(limiter.peek_n(&2, 0).unwrap().remaining, 20);
        limiter.refund(&3, 2);
        assert_eq!(limiter.check_n(&3, 0).unwrap().remaining, 26);
        limiter.reset(&4);
        assert_eq!(limiter.check_n(&4, 0).unwrap().remaining, 30);
        assert_eq!(limiter.len(), 3);

        // Down: all that the smaller quota has is consumed, or as much as was.
        assert!(limiter.check_n(&1, 20).is_ok());
        in_tier(0);
        let denied = limiter.check(&1).unwrap_err();
        assert_eq!((denied.limit, denied.remaining), (10, 0));
        assert!(denied.retry_after.is_some());
        assert_eq!(limiter.check_n(&3, 0).unwrap().remaining, 6);
        assert_eq!(limiter.stats(), Default::default());

        // In time it recovers, as under any quota.
        limiter.clock().set(secs(60));
        assert!(limiter.is_empty());
        assert_eq!(limiter.check(&1).unwrap().remaining, 9);
    }

    #[test]
    fn a_change_keeps_what_was_consumed() {
        up_and_down(|quota| FixedWindow::new(quota).unwrap());
        up_and_down(|quota| SlidingWindow::new(quota).unwrap());
        up_and_down(|quota| SlidingLog::new(quota).unwrap());
        up_and_down(|quota| TokenBucket::new(quota).unwrap());
        up_and_down(|quota| LeakyBucket::new(quota).unwrap());
    }

    /// Two keys of one owner in two tiers, say, that are limited as one.
    fn to_and_fro<A: Algorithm>(build: impl Fn(Quota) -> A) {
        let tier = AtomicUsize::new(0);
        let limiter = by_switch([100, 10].map(|limit| build(Quota::per_minute(limit))), &tier, 100);
        limiter.clock().set(secs(600));
        assert!(limiter.check_n(&1, 100).is_ok());
        tier.store(1, Ordering::Relaxed);
        assert!(limiter.check(&1).is_err());
        tier.store(0, Ordering::Relaxed);
        assert!(limiter.check(&1).is_err(), "what did not fit in the smaller quota was forgotten");
    }

    #[test]
    fn nothing_is_shed_by_moving_to_and_fro() {
        to_and_fro(|quota| FixedWindow::new(quota).unwrap());
        to_and_fro(|quota| SlidingWindow::new(quota).unwrap());
        to_and_fro(|quota| SlidingLog::new(quota).unwrap());
        to_and_fro(|quota| TokenBucket::new(quota).unwrap());
        to_and_fro(|quota| LeakyBucket::new(quota).unwrap());
    }

    /// From ten a second to a hundred a minute: another period, and for buckets another fraction of a token.
    fn to_another_period<A: Algorithm>(build: impl Fn(Quota) -> A) {
        let tier = AtomicUsize::new(0);
        let limiter = by_switch([build(Quota::per_second(10)), build(Quota::per_minute(100))], &tier, 100);
        limiter.clock().set(secs(125));
        assert!(limiter.check_n(&1, 8).is_ok());
        tier.store(1, Ordering::Relaxed);
        assert_eq!(limiter.check_n(&1, 2).unwrap().remaining, 90);
        assert_eq!(limiter.check_n(&1, 90).unwrap().remaining, 0);
        tier.store(0, Ordering::Relaxed);
        assert_eq!(limiter.check(&1).unwrap_err().remaining, 0);
        tier.store(7, Ordering::Relaxed);
        assert!(limiter.check(&1).is_err(), "past the last tier is the first");
    }

    #[test]
    fn a_change_of_the_period_keeps_what_was_consumed() {
        to_another_period(|quota| FixedWindow::new(quota).unwrap());
        to_another_period(|quota| SlidingWindow::new(quota).unwrap());
        to_another_period(|quota| SlidingLog::new(quota).unwrap());
        to_another_period(|quota| TokenBucket::new(quota).unwrap());
        to_another_period(|quota| LeakyBucket::new(quota).unwrap());
    }

    #[test]
    fn a_change_to_a_rate_that_is_counted_modulo_a_word_keeps_what_was_consumed() {
        let tier = AtomicUsize::new(0);
        let fast = bucket(Quota::per_second(1_000_000_000_000).burst(1_000));
        let limiter = by_switch([bucket(Quota::per_hour(100)), fast], &tier, 100);
        for day in [0, 100, 1_000, 40_000] {
            limiter.clock().set(secs(day * 86_400));
            tier.store(0, Ordering::Relaxed);
            assert!(limiter.check_n(&day, 60).is_ok());
            tier.store(1, Ordering::Relaxed);
            assert_eq!(limiter.check(&day).unwrap().remaining, 939, "day {day}");
            assert!(limiter.check_n(&day, 939).is_ok());
            tier.store(0, Ordering::Relaxed);
            assert_eq!(limiter.check(&day).unwrap_err().remaining, 0, "day {day}");
        }
    }

    #[test]
    fn a_tier_out_of_range_is_the_first() {
        let tiers = Tiers::new([1, 2, 3].map(|limit| bucket(Quota::per_day(limit))), |key: &usize| *key).unwrap();
        let limiter: Keyed<usize, _> = KeyedLimiter::with_clock(tiers, 100, ManualClock::new());
        let limits = [0, 1, 2, 3, 255, 256, 257, usize::MAX].map(|key| limiter.check(&key).unwrap().limit);
        assert_eq!(limits, [1, 2, 3, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn there_are_from_1_to_256_tiers() {
        let tiers = |count: usize| Tiers::new(vec![bucket(Quota::per_day(1)); count], |_: &u64| 0);
        for count in [1, 2, 255, 256] {
            assert_eq!(tiers(count).unwrap().algorithms().len(), count);
        }
        for count in [0, 257, 1_000] {
            let error = tiers(count).expect_err("that is refused");
            assert!(error.to_string().contains(&count.to_string()), "{error}");
        }
    }

    #[test]
    fn the_last_of_256_tiers_is_none_of_the_marks() {
        let tiers = Tiers::new((1..=256).map(|limit| bucket(Quota::per_day(limit))), |key: &u64| *key as usize % 256);
        let limiter: Keyed<u64, _> = KeyedLimiter::with_clock(tiers.unwrap(), 10_000, ManualClock::new());
        for key in 0..5_000 {
            let limit = key % 256 + 1;
            assert_eq!(limiter.check_n(&key, limit).unwrap().remaining, 0);
        }
        assert!((0..5_000).all(|key| limiter.check(&key).is_err()));
        assert_eq!(limiter.len(), 5_000);
    }
}

mod room_for_keys {
    use super::*;

    for_all_algorithms!(the_smallest_tables_limit_too, smallest);

    fn smallest<A: Algorithm + Copy>(algorithm: A) {
        for keys in [0, 1] {
            let limiter: Keyed<u64, A> = keyed(algorithm, keys);
            assert!(limiter.check_n(&1, 10).is_ok());
            assert!(limiter.check(&1).is_err());
            for key in 2..1_000 {
                let _ = limiter.check(&key);
                assert!(limiter.check(&1).is_err(), "reset by a flood");
            }
            assert!(limiter.stats().overflowed > 0);
            limiter.clock().set(secs(2));
            assert!(limiter.check_n(&1, 10).is_ok());
        }
    }

    #[test]
    fn memory_is_24_bytes_a_key_whatever_the_key() {
        for keys in [10_000_usize, 1_000_000] {
            let numbers: Keyed<u64, _> = keyed(bucket(Quota::per_second(10)), keys);
            let names: Keyed<String, _> = keyed(FixedWindow::new(Quota::per_second(10)).unwrap(), keys);
            assert_eq!(numbers.memory(), names.memory());
            let each = numbers.memory() as f64 / keys as f64;
            assert!((23.0..24.5).contains(&each), "{each} bytes a key");
            let log: Keyed<u64, _> = keyed(SlidingLog::new(Quota::per_second(20)).unwrap(), keys);
            let more = (log.memory() - numbers.memory()) as f64 / keys as f64;
            assert!((11.0..12.1).contains(&(more / 20.0)), "{more} bytes a key for logs of 20");
        }
    }

    #[test]
    fn each_further_tier_takes_a_third_of_a_byte_a_key_and_of_each_unit_of_a_log() {
        let bytes = |tiers: usize| {
            let tiers = Tiers::new(vec![bucket(Quota::per_day(1)); tiers], |_: &u64| 0).expect("not too many");
            let limiter: Keyed<u64, _> = KeyedLimiter::with_clock(tiers, 10_000, ManualClock::new());
            limiter.memory() as f64 / 10_000.0
        };
        assert!((0.3..0.4).contains(&((bytes(256) - bytes(1)) / 255.0)));
        let bytes = |limits: &[u64]| {
            let logs = limits.iter().map(|&limit| SlidingLog::new(Quota::per_day(limit)).unwrap());
            let tiers = Tiers::new(logs, |_: &u64| 0).expect("not too many");
            let limiter: Keyed<u64, _> = KeyedLimiter::with_clock(tiers, 10_000, ManualClock::new());
            limiter.memory() as f64 / 10_000.0
        };
        assert!((12.0 * 100.0..12.1 * 100.0 + 24.4).contains(&bytes(&[100])));
        let further = (bytes(&[100, 1, 1]) - bytes(&[100])) / 2.0;
        assert!((0.3 * 100.0..0.4 * 100.0).contains(&further), "{further}");
    }

    #[test]
    fn memory_stays_what_it_was() {
        let limiter: Keyed<u64, _> = keyed(bucket(Quota::per_day(10)), 100);
        let before = limiter.memory();
        assert!((0..10_000).filter(|key| limiter.check(key).is_ok()).count() > 100);
        assert_eq!(limiter.memory(), before);
    }

    #[test]
    #[should_panic(expected = "capacity overflow")]
    fn more_than_can_be_addressed_is_a_panic() {
        let _: Keyed<u64, _> = keyed(bucket(Quota::per_second(10)), usize::MAX);
    }

    // A small share of the newcomers, as the documentation has it.
    #[test]
    fn a_table_has_room_for_as_many_keys_as_it_was_built_for() {
        for keys in [1_000_u64, 10_000, 100_000] {
            let limiter: Keyed<u64, _> = KeyedLimiter::with_clock_and_hasher(
                bucket(Quota::per_day(10)),
                keys as usize,
                ManualClock::new(),
                SecretState::with_seed(keys),
            );
            assert!((0..keys).filter(|key| limiter.check(key).is_ok()).count() as u64 > keys / 2);
            let overflowed = limiter.stats().overflowed;
            assert!(overflowed <= keys / 500, "{overflowed} of {keys}");
        }
    }
}

mod newcomers {
    use super::*;

    /// Fills a table of four sets with keys in use, from 1,000 on.
    fn fill<A: Algorithm>(limiter: &Keyed<u64, A>) {
        for key in 1_000..1_200 {
            let _ = limiter.check(&key);
        }
        assert!(limiter.stats().overflowed > 0);
    }

    for_all_algorithms!(where_there_is_no_room_newcomers_are_one_key, one_key);

    fn one_key<A: Algorithm + Copy>(algorithm: A) {
        let limiter: Keyed<u64, A> = keyed(algorithm, 1);
        fill(&limiter);
        // All of the ten that they share are gone.
        assert!((2_000..2_100).all(|key| limiter.check(&key).is_err()));
        let denied = limiter.check(&1).unwrap_err();
        assert_eq!(limiter.peek(&1).unwrap_err(), denied);
        let waited = Timestamp::ZERO + denied.retry_after.unwrap();
        assert!(limiter.peek_n_at(&1, 1, waited - Duration::from_nanos(1)).is_err());
        assert!(limiter.peek_n_at(&1, 1, waited).is_ok());
        // A refund or a reset of one that has no slot takes nothing out of what others share.
        limiter.refund(&1, 10);
        limiter.reset(&1);
        assert!(limiter.check(&1).is_err());
    }

    for_all_algorithms!(a_newcomer_that_finds_room_begins_with_what_it_has_shared, begins_with);

    fn begins_with<A: Algorithm + Copy>(algorithm: A) {
        let limiter: Keyed<u64, A> = keyed(algorithm, 1);
        fill(&limiter);
        // Somebody's slot becomes free, while what was shared is still in use.
        (1_000..1_200).for_each(|key| limiter.reset(&key));
        assert!(limiter.is_empty());
        assert!((2_000..2_100).all(|key| limiter.check(&key).is_err()), "each may be one that has taken from it");
        // Under way to recovery, it begins with what is left of it.
        let now = nanos(1_500_000_000);
        let left = room(limiter.peek_n_at(&1, 0, now));
        assert!(left > 0);
        assert!(limiter.check_n_at(&1, left, now).is_ok());
        assert!(limiter.check_at(&1, now).is_err());
        assert!(limiter.check_n_at(&2, left, now).is_ok(), "and in a slot each has its own");
    }

    #[test]
    fn who_never_came_is_as_one_who_came_when_the_table_was_made() {
        let empty = bucket(Quota::per_second(10)).start_empty();
        let limiter: Keyed<u64, _> = KeyedLimiter::with_clock(empty, 100, ManualClock::starting_at(secs(100)));
        let first = limiter.check(&1).unwrap_err();
        assert_eq!(first.retry_after, Some(Duration::from_millis(100)));
        assert_eq!(limiter.peek(&2).unwrap_err(), first);
        for (millis, left) in [(100, 1), (199, 1), (500, 5), (1_000, 10), (1_001, 10), (1_000_000, 10)] {
            let now = secs(100) + Duration::from_millis(millis);
            assert_eq!(room(limiter.peek_n_at(&millis, 0, now)), left, "after {millis} ms");
            assert!(limiter.check_n_at(&millis, left, now).is_ok());
            assert!(limiter.check_at(&millis, now).is_err());
        }
        assert!(limiter.check_at(&7, secs(99)).is_err(), "before it was made it was empty too");
    }

    #[test]
    fn beyond_the_horizon_a_table_that_starts_empty_stays_empty() {
        for quota in [Quota::per_second(10), Quota::per_second(1 << 42)] {
            let clock = ManualClock::starting_at(Timestamp::HORIZON);
            let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(bucket(quota).start_empty(), 10, clock);
            assert!(limiter.check_at(&1, nanos(u64::MAX)).is_err(), "time stands still");
        }
    }

    // Whether a key that has recovered still has its slot, nobody can tell.
    #[test]
    fn a_reset_key_is_as_one_that_never_came() {
        let empty = LeakyBucket::new(Quota::per_second(10)).unwrap().start_empty();
        let limiter: Keyed<u64, _> = keyed(empty, 100);
        let now = secs(10);
        assert!(limiter.check_n_at(&1, 10, now).is_ok());
        for key in [1, 2] {
            limiter.reset_at(&key, now);
            assert_eq!(limiter.peek_n_at(&key, 10, now).unwrap().remaining, 0, "key {key}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_grants_no_key_its_limit_again_and_again() {
        back_and_forth(|quota| FixedWindow::new(quota).unwrap());
        back_and_forth(|quota| SlidingWindow::new(quota).unwrap());
        back_and_forth(|quota| SlidingLog::new(quota).unwrap());
        back_and_forth(|quota| TokenBucket::new(quota).unwrap());
        back_and_forth(|quota| LeakyBucket::new(quota).unwrap());
    }

    fn back_and_forth<A: Algorithm>(build: impl Fn(Quota) -> A) {
        // The others have a tier of their own, in which they share enough.
        let algorithms = [10, 10_000].map(|limit| build(Quota::per_second(limit)));
        let tiers = Tiers::new(algorithms, |key: &u64| usize::from(*key > 0)).expect("two tiers");
        let limiter: Keyed<u64, _> = KeyedLimiter::with_clock(tiers, 1, ManualClock::new());
        let (early, late) = (secs(10), secs(13));
        let mut admitted = 0;
        for round in 0..20 {
            admitted += u64::from(limiter.check_n_at(&0, 10, early).is_ok());
            // By the later time the key has recovered, and others are given all slots, and leave them.
            let others = round * 200 + 1..round * 200 + 200;
            others.clone().for_each(|key| assert!(limiter.check_at(&key, late).is_ok()));
            others.for_each(|key| limiter.reset_at(&key, late));
        }
        assert!(limiter.stats().taken_over > 100);
        assert_eq!(admitted, 2, "once at the earlier time, and once by the later");
        assert!(limiter.check_at(&0, late).is_err(), "the second is counted there");
    }

    #[test]
    fn a_clock_that_jumps_ahead_and_back_costs_newcomers_no_more_than_the_jump() {
        let limiter: Keyed<u64, _> = keyed(bucket(Quota::per_second(10)), 1);
        let check_all =
            |keys: std::ops::Range<u64>, now| keys.filter(|key| limiter.check_n_at(key, 10, now).is_ok()).count();
        check_all(0..100, secs(1));
        // All slots change hands an hour ahead.
        check_all(100..200, secs(3_600));
        assert!(limiter.stats().taken_over > 8);
        // Back, newcomers are where the clock has been; what they are told is true.
        let denied = limiter.check_n_at(&1, 10, secs(2)).unwrap_err();
        let wait = denied.retry_after.unwrap();
        assert!(wait >= Duration::from_secs(3_598), "{wait:?}");
        assert!(limiter.peek_n_at(&1, 10, secs(2) + wait - Duration::from_nanos(1)).is_err());
        assert!(limiter.peek_n_at(&1, 10, secs(2) + wait).is_ok());
        assert_eq!(check_all(200..210, secs(3_601)), 10);
    }
}

mod modulo {
    use super::*;

    /// 4.4 × 10^12 a second: a word comes round in 48 days.
    #[test]
    fn keys_that_come_at_any_time_have_their_burst_and_no_more() {
        let quota = Quota::per_second(1 << 42).burst(1_000);
        for origin in [0, 1, 1_790_000_000] {
            let limiter: Keyed<u64, _> =
                KeyedLimiter::with_clock(bucket(quota), 1, ManualClock::starting_at(secs(origin)));
            for hour in (0..24 * 400).step_by(7) {
                let now = secs(origin + hour * 3_600);
                assert_eq!(limiter.check_n_at(&hour, 600, now).unwrap().remaining, 400, "hour {hour}");
                assert_eq!(limiter.check_n_at(&hour, 400, now).unwrap().remaining, 0, "hour {hour}");
                assert!(limiter.check_at(&hour, now).is_err());
            }
            assert_eq!(limiter.stats().overflowed, 0);
        }
    }

    #[test]
    fn keys_in_a_table_that_starts_empty_are_full_by_then_at_any_later_time() {
        let quota = Quota::per_second(1 << 42).burst(1_000);
        let limiter: Keyed<u64, _> = keyed(bucket(quota).start_empty(), 100);
        assert!(limiter.check(&1).is_err());
        for day in [1, 12, 24, 25, 48, 49, 96, 40_000] {
            let now = secs(day * 86_400);
            assert_eq!(limiter.check_n_at(&day, 1_000, now).unwrap().remaining, 0, "day {day}");
            assert!(limiter.check_at(&day, now).is_err());
        }
    }
}

mod extremes {
    use super::*;

    for_all_algorithms!(no_cost_and_no_time_is_too_large, extreme);

    fn extreme<A: Algorithm + Copy>(algorithm: A) {
        let ends = [0, 1, Timestamp::HORIZON.as_nanos(), u64::MAX - 1, u64::MAX];
        for begun in ends {
            let limiter: Keyed<u64, A> = KeyedLimiter::with_clock(algorithm, 1, ManualClock::starting_at(nanos(begun)));
            for (nth, now) in ends.into_iter().chain(ends.into_iter().rev()).enumerate() {
                for key in 0..60 {
                    for cost in [0, 1, 10, 11, u64::MAX] {
                        let now = nanos(now);
                        assert_eq!(limiter.peek_n_at(&key, cost, now), limiter.check_n_at(&key, cost, now));
                    }
                    if (key as usize + nth).is_multiple_of(5) {
                        limiter.refund_at(&key, u64::MAX, nanos(now));
                        limiter.reset_at(&key, nanos(now));
                    }
                }
                limiter.clock().set(nanos(now));
                assert!(limiter.len() <= 32);
            }
        }
    }
}

#[test]
fn a_key_that_comes_to_another_tier_at_an_earlier_time_regains_nothing_twice() {
    fn holds<A: Algorithm>(tiers: [A; 2]) {
        let tier = Cell::new(0);
        let clock = ManualClock::starting_at(Timestamp::from_secs(120));
        let tiers = Tiers::new(tiers, |_: &u64| tier.get()).unwrap();
        let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(tiers, 100, clock.clone());
        // A thread reads the clock, and is held up until others have acted a second later.
        let early = secs(120);
        clock.advance(Duration::from_secs(1));
        assert!(limiter.check_n(&1, 10).is_ok());
        tier.set(1);
        assert!(limiter.check_at(&1, early).is_err());
        assert!(limiter.check(&1).is_err(), "the second counted once more, at the new rate");
    }
    holds([Quota::per_hour(10), Quota::per_second(1_000).burst(10)].map(|quota| TokenBucket::new(quota).unwrap()));
    holds([Quota::per_minute(10), Quota::per_second(10)].map(|quota| FixedWindow::new(quota).unwrap()));
    holds([Quota::per_minute(10), Quota::per_second(10)].map(|quota| SlidingWindow::new(quota).unwrap()));
}

/// Whether a key gets more than 10 units by one reading of the clock: in tables of 32 slots, each of which was somebody's, some
/// have been taken over at 200 seconds, and the clock is back at 100. `meanwhile` comes after each key has taken what it can.
fn no_key_has_two_bursts_after_a_step_back<A: PlanFor<u64>>(plan: impl Fn() -> A, meanwhile: impl Fn(&Keyed<u64, A>)) {
    for seed in 0..20 {
        let clock = ManualClock::new();
        let limiter: Keyed<u64, A> =
            KeyedLimiter::with_clock_and_hasher(plan(), 1, clock.clone(), SecretState::with_seed(seed));
        for (keys, at) in [(100..132, 50), (0..10, 100), (200..204, 200)] {
            clock.set(secs(at));
            assert!(keys.into_iter().all(|key| limiter.check(&key).is_ok()));
        }
        clock.set(secs(100));
        let stats = limiter.stats();
        let take = || (0..10).map(|key| (0..20).filter(|_| limiter.check(&key).is_ok()).count()).collect::<Vec<_>>();
        let before = take();
        meanwhile(&limiter);
        for (key, (before, after)) in before.into_iter().zip(take()).enumerate() {
            assert!(before + after <= 10, "{key} got {before} and {after} with seed {seed}");
        }
        assert_eq!(limiter.stats().overflowed, stats.overflowed, "none of that is about what newcomers share");
    }
}

for_all_algorithms!(after_a_step_back_no_key_in_use_is_taken_over, not_taken_over);

fn not_taken_over<A: Algorithm + Copy>(algorithm: A) {
    let newcomers = |limiter: &Keyed<u64, A>| (300..304).for_each(|key| _ = limiter.check(&key));
    no_key_has_two_bursts_after_a_step_back(|| algorithm, newcomers);
}

for_all_algorithms!(after_a_step_back_a_key_takes_what_it_has_in_use_to_another_tier, tier_changed);

fn tier_changed<A: Algorithm + Copy>(algorithm: A) {
    let tier = Rc::new(Cell::new(0));
    let tiers = || {
        tier.set(0);
        let tier = tier.clone();
        Tiers::new([algorithm; 2], move |_: &u64| tier.get()).unwrap()
    };
    no_key_has_two_bursts_after_a_step_back(tiers, |_| tier.set(1));
}

/// A clock that panics if it is told to.
#[derive(Clone, Default)]
struct Fussy(Rc<Cell<bool>>);

impl Clock for Fussy {
    fn now(&self) -> Timestamp {
        assert!(!self.0.get(), "no time");
        secs(100)
    }
}

#[test]
fn a_clock_that_panics_while_a_key_comes_to_another_tier_loses_neither_what_it_used_nor_its_slot() {
    let (clock, tier) = (Fussy::default(), Cell::new(0));
    let bucket = bucket(Quota::per_second(10));
    let tiers = Tiers::new([bucket; 2], |_: &u64| tier.get()).unwrap();
    let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(tiers, 1, clock.clone());
    assert!(limiter.check_n_at(&1, 10, secs(100)).is_ok());
    tier.set(1);
    clock.0.set(true);
    assert!(catch_unwind(AssertUnwindSafe(|| limiter.check_at(&1, secs(100)))).is_err());
    clock.0.set(false);
    assert_eq!(limiter.len(), 1);
    assert!(limiter.check_at(&1, secs(100)).is_err(), "it had its burst a second time");
    assert_eq!(limiter.len(), 1);
}
