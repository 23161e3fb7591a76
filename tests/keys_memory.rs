//! What keys do with memory: no allocation on a refusal, one at most on the way through, and no secret left behind.
//!
//! An allocator that counts, and looks at what is given back to it.
#![cfg(all(feature = "keys", not(loom)))]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tollgate::{
    IpKey, KeyedLimiter, ManualClock, Quota, TokenBucket,
    keys::{
        Attempt, Digester, Gate, HangOn, KeyError, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter,
        Refusal, Scope, UnixTime, VerifyError,
    },
};

struct Watching;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// What must not be in a block that is freed.
    static SECRET: Cell<Option<[u8; 12]>> = const { Cell::new(None) };
    static LEFT_BEHIND: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(secret) = SECRET.get() {
            // SAFETY: the block is the caller's until it is freed below, and it was zeroed before it was handed out.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            if bytes.windows(secret.len()).any(|window| window == secret) {
                LEFT_BEHIND.set(LEFT_BEHIND.get() + 1);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

const PREFIX: Prefix = Prefix::literal("tg_live");
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// How often `act` allocates.
fn allocations<T>(act: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let answer = act();
    (answer, ALLOCATIONS.get() - before)
}

fn generator() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

#[test]
fn verification_allocates_nothing() {
    for digester in [Digester::plain(), Digester::peppered(1, &[1; 32]).unwrap(), Digester::plain().with_foreign()] {
        let keyring = Keyring::new(digester, MemoryStore::new());
        let issued = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator()).unwrap();
        let other = NewKey::new(PREFIX, "x").issue(keyring.digester(), &mut ChaCha20Rng::seed_from_u64(2)).unwrap();
        let text = issued.key.expose_secret();
        let (verified, count) = allocations(|| keyring.verify(text.as_bytes(), NOW));
        assert!(verified.is_ok() && count == 0, "{count}");
        for refused in ["", "nonsense", &text[1..], &"x".repeat(200), other.key.expose_secret()] {
            let (error, count) = allocations(|| keyring.verify(refused.as_bytes(), NOW).unwrap_err());
            assert!(matches!(error, VerifyError::Key(_)));
            assert_eq!(count, 0, "{refused}");
        }
        keyring.disable(&issued.key.id()).unwrap();
        let (error, count) = allocations(|| keyring.verify(text.as_bytes(), NOW).unwrap_err());
        assert_eq!((error, count), (VerifyError::Key(KeyError::Disabled), 0));
    }
}

#[test]
fn the_whole_way_through_a_gate_allocates_once() {
    const READ: Scope<'static> = Scope::literal("a:read");
    let clock = ManualClock::new();
    let bucket = |limit| TokenBucket::new(Quota::per_minute(limit)).unwrap();
    let limiter =
        |on, limit| RecordLimiter::with_clock(on, [bucket(limit)], Quotas::new(0), 100, clock.clone()).unwrap();
    let gate = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
        .throttle(KeyedLimiter::<IpKey, _, _>::with_clock(bucket(100), 100, clock.clone()))
        .limit(limiter(HangOn::Family, 10))
        .limit(limiter(HangOn::Owner, 100))
        .limit(limiter(HangOn::Owner, 5));
    let new = NewKey::new(PREFIX, "acme").scopes("a:*".parse().unwrap());
    let issued = gate.keyring().issue(new, &mut generator()).unwrap();
    let from = IpKey::from(std::net::Ipv4Addr::LOCALHOST);
    let attempt = |presented| Attempt::new(presented, from, NOW).requires(&[READ]);
    let good = attempt(issued.key.expose_secret());
    // The first request of a key brings its counters about.
    let grant = gate.check(&good).unwrap();
    gate.refund(&grant, 1, NOW);
    for _ in 0..5 {
        let (grant, count) = allocations(|| gate.check(&good));
        assert!(grant.is_ok_and(|grant| grant.limits.len() == 3));
        assert_eq!(count, 1);
    }
    let (refusal, count) = allocations(|| gate.check(&good).unwrap_err());
    assert!(matches!(refusal, Refusal::Limited { limit: 2, .. }));
    assert_eq!(count, 1, "two limits had passed it");
    for refused in [attempt("nonsense"), attempt(&issued.key.expose_secret()[1..]), good.costs(11)] {
        let (_, count) = allocations(|| gate.check(&refused).unwrap_err());
        assert_eq!(count, 0, "{refused:?}");
    }
    let (_, count) = allocations(|| gate.check(&good.requires(&[Scope::literal("b")])).unwrap_err());
    assert_eq!(count, 0);
}

#[test]
fn secrets_are_wiped_when_they_are_dropped() {
    let issued = NewKey::new(PREFIX, "acme").issue(&Digester::plain(), &mut generator()).unwrap();
    let text = issued.key.expose_secret();
    let secret: [u8; 12] = text.as_bytes()[30..42].try_into().unwrap();
    // The control: a copy that nobody wipes is noticed.
    let copy = text.to_owned();
    SECRET.set(Some(secret));
    drop(copy);
    assert_eq!(LEFT_BEHIND.replace(0), 1);
    drop(issued);
    assert_eq!(LEFT_BEHIND.get(), 0);
    // From the first draw to the last drop, with everything in between.
    let keyring = Keyring::new(Digester::peppered(1, &[1; 32]).unwrap(), MemoryStore::new());
    let issued = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator()).unwrap();
    assert_eq!(&issued.key.expose_secret().as_bytes()[30..42], &secret, "the same generator draws the same key");
    assert!(keyring.verify(issued.key.expose_secret().as_bytes(), NOW).is_ok());
    drop(issued);
    SECRET.set(None);
    assert_eq!(LEFT_BEHIND.get(), 0);
}
