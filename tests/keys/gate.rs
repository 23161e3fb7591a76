//! The gate: the order of its steps, and that nothing is taken by a request that is refused.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tollgate::{
    Decision, FixedWindow, IpKey, KeyedLimiter, LeakyBucket, Limiter, ManualClock, Quota, RateLimiter, TokenBucket,
    keys::{
        Attempt, CreditPlan, Credits, Digester, Gate, HangOn, Issued, KeyError, KeyId, KeyStore, Keyring, LimitBy,
        MemoryStore, NewKey, Presented, Quotas, Record, RecordLimiter, Refusal, Scheme, Scope, Status, UnixTime, Write,
    },
};

use super::{NOW, PREFIX, generator};

const READ: Scope<'static> = Scope::literal("orders:read");
const WRITE: Scope<'static> = Scope::literal("orders:write");
const HERE: &str = "192.0.2.1";

fn address(text: &str) -> IpKey {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn bucket(limit: u64) -> TokenBucket {
    TokenBucket::new(Quota::per_minute(limit)).unwrap()
}

/// A gate with a throttle of 5 failures a minute, 10 units a minute per family and 12 per owner, and one key that may
/// read.
struct World {
    gate: Gate<MemoryStore>,
    issued: Issued,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let limiter = |on, limit| {
            RecordLimiter::with_clock(on, [bucket(limit)], Quotas::new(0), 100, clock.clone()).expect("a tier")
        };
        let gate = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
            .throttle(KeyedLimiter::<IpKey, _, _>::with_clock(bucket(5), 100, clock.clone()))
            .limit(limiter(HangOn::Family, 10))
            .limit(limiter(HangOn::Owner, 12));
        let new = NewKey::new(PREFIX, "acme").scopes("orders:read".parse().unwrap());
        let issued = gate.keyring().issue(new, &mut generator(1)).unwrap();
        Self { gate, issued, clock }
    }

    fn text(&self) -> &str {
        self.issued.key.expose_secret()
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt::new(self.text(), address(HERE), NOW)
    }

    fn refused(&self, attempt: &Attempt<'_>) -> Refusal<core::convert::Infallible> {
        self.gate.check(attempt).expect_err("it has to be refused")
    }

    /// What the limits have left, read off a request that passes and is given back.
    fn left(&self) -> Vec<u64> {
        let grant = self.gate.check(&self.attempt()).expect("there is room");
        self.gate.refund(&grant, 1, NOW);
        grant.limits.iter().map(|allowed| allowed.remaining + 1).collect()
    }
}

#[test]
fn a_grant_says_all_there_is_to_say() {
    let world = World::new();
    let plan = CreditPlan::prepaid(100).unwrap();
    world.gate.credits().open(world.issued.record.family, Credits::new(plan, NOW));
    let grant = world.gate.check(&world.attempt().requires(&[READ]).costs(3)).unwrap();
    assert_eq!(grant.record.id, world.issued.key.id());
    assert_eq!(grant.limits.iter().map(|allowed| allowed.remaining).collect::<Vec<_>>(), [7, 9]);
    assert_eq!(grant.tightest().map(|allowed| (allowed.limit, allowed.remaining)), Some((10, 7)));
    assert_eq!((grant.credits, grant.upgrade.is_none(), grant.delay()), (Some(97), true, Duration::ZERO));
    // And it can be given back.
    world.gate.refund(&grant, 3, NOW);
    assert_eq!(world.left(), [10, 12]);
    assert_eq!(world.gate.credits().get(&grant.record.family).unwrap().balance(NOW), 100);
}

/// The whole table of refusals, with what HTTP makes of them.
#[test]
fn a_refusal_has_a_status_and_a_challenge() {
    let world = World::new();
    let other = NewKey::new(PREFIX, "x").issue(&Digester::plain(), &mut generator(2)).unwrap();
    let check = |presented: Presented<'_>, scopes: &[Scope<'_>], cost| {
        let refusal = world.refused(&Attempt { presented, scopes, cost, ..world.attempt() });
        (refusal, refusal.status(), refusal.challenge(), refusal.retry_after_secs())
    };
    let good = Presented::from(world.text());
    let invalid = Some(r#"Bearer error="invalid_token""#);
    assert_eq!(check(Presented::Nothing, &[], 1), (Refusal::Missing, 401, Some("Bearer"), None));
    let twice = Presented::in_one_of([Some(world.text().as_bytes()); 2]);
    assert_eq!(check(twice, &[], 1), (Refusal::Twice, 400, Some(r#"Bearer error="invalid_request""#), None));
    let (refusal, status, challenge, _) = check("nonsense".into(), &[], 1);
    assert!(matches!(refusal, Refusal::Key(KeyError::Malformed(_))) && (status, challenge) == (401, invalid));
    let wrong = check(other.key.expose_secret().into(), &[], 1);
    assert_eq!(wrong, (Refusal::Key(KeyError::Invalid), 401, invalid, None));
    let scope = check(good, &[READ, WRITE], 1);
    assert_eq!(scope, (Refusal::Scope { missing: 1 }, 403, Some(r#"Bearer error="insufficient_scope""#), None));
    let (refusal, status, challenge, retry_after) = check(good, &[], 11);
    assert!(matches!(refusal, Refusal::Limited { limit: 0, .. }));
    assert_eq!((status, challenge, retry_after), (403, None, None), "no wait can help");
    world.gate.check(&world.attempt().costs(9)).unwrap();
    let (refusal, status, _, retry_after) = check(good, &[], 4);
    assert!(matches!(refusal, Refusal::Limited { limit: 0, .. }));
    assert_eq!((status, retry_after), (429, Some(18)));
    let plan = CreditPlan::refilled(1, Duration::from_secs(60)).unwrap();
    let family = world.issued.record.family;
    world.gate.credits().open(family, Credits::with_balance(plan, 0, NOW));
    let (refusal, status, _, retry_after) = check(good, &[], 1);
    assert!(matches!(refusal, Refusal::Credits(exhausted) if exhausted.balance == 0));
    // 1,700,000,000 is 20 seconds into its minute.
    assert_eq!((status, retry_after), (429, Some(40)));
    for (change, error) in [
        ((|record| record.status = Status::Disabled) as fn(&mut Record), KeyError::Disabled),
        (|record| record.expires_at = Some(NOW), KeyError::Expired { at: NOW }),
        (|record| record.not_before = Some(UnixTime::MAX), KeyError::NotYetValid { from: UnixTime::MAX }),
        (Record::revoke, KeyError::Revoked),
    ] {
        let restore = |record: &mut Record| {
            (record.expires_at, record.not_before) = (None, None);
            record.enable()?;
            change(record);
            Ok(())
        };
        world.gate.keyring().change(&world.issued.key.id(), restore).unwrap();
        assert_eq!(check(good, &[], 1), (Refusal::Key(error), 401, invalid, None));
    }
}

/// A store that is down.
struct Down;

impl KeyStore for Down {
    type Meta = ();
    type Error = &'static str;

    fn get(&self, _: &KeyId) -> Result<Option<Arc<Record>>, &'static str> {
        Err("no connection")
    }

    fn insert(&self, _: Record) -> Result<Write, &'static str> {
        Err("no connection")
    }

    fn update(&self, _: Record) -> Result<Write, &'static str> {
        Err("no connection")
    }
}

/// A store that is down lets everybody in, or has everybody throttled.
#[test]
fn a_store_that_is_down_is_nobodys_fault() {
    let clock = ManualClock::new();
    let throttle = KeyedLimiter::<IpKey, _, _>::with_clock(bucket(2), 10, clock);
    let gate = Gate::new(Keyring::new(Digester::plain(), Down)).throttle(throttle);
    let issued = super::issue(&Digester::plain(), 1);
    for _ in 0..10 {
        let attempt = Attempt::new(issued.key.expose_secret(), address(HERE), NOW);
        let refusal = gate.check(&attempt).unwrap_err();
        assert_eq!(refusal, Refusal::Unavailable("no connection"));
        assert_eq!((refusal.status(), refusal.challenge(), refusal.retry_after_secs()), (503, None, None));
    }
    assert_eq!(gate.usage().drain_failures(), 0);
}

/// Sequential limits that leave the earlier ones charged when a later one refuses.
#[test]
fn nothing_is_taken_by_a_request_that_is_refused() {
    let world = World::new();
    let family = world.issued.record.family;
    // A second key of the same owner's takes from the owner's limit alone.
    let sibling = world.gate.keyring().issue(NewKey::new(PREFIX, "acme"), &mut generator(2)).unwrap();
    let attempt = Attempt { presented: sibling.key.expose_secret().into(), ..world.attempt().costs(8) };
    world.gate.check(&attempt).unwrap();
    assert_eq!(world.left(), [10, 4]);
    for _ in 0..5 {
        // The second limit refuses, the first had passed it.
        assert!(matches!(world.refused(&world.attempt().costs(5)), Refusal::Limited { limit: 1, .. }));
        assert!(matches!(world.refused(&world.attempt().requires(&[WRITE])), Refusal::Scope { missing: 0 }));
    }
    assert_eq!(world.left(), [10, 4]);
    world.gate.credits().open(family, Credits::with_balance(CreditPlan::prepaid(9).unwrap(), 2, NOW));
    for _ in 0..5 {
        assert!(matches!(world.refused(&world.attempt().costs(3)), Refusal::Credits(_)));
    }
    assert_eq!(world.left(), [10, 4]);
    assert_eq!(world.gate.credits().get(&family).unwrap().balance(NOW), 2);
}

/// Limits before verification, by an identity that nobody has proved: whoever has an id spends its owner's quota.
#[test]
fn a_wrong_secret_costs_its_address_and_not_the_key() {
    let world = World::new();
    let text = world.text().to_owned();
    let forged = forgery(&text);
    for left in (0..5).rev() {
        let refusal = world.refused(&Attempt { presented: forged.as_str().into(), ..world.attempt() });
        assert_eq!(refusal, Refusal::Key(KeyError::Invalid), "{left} left");
    }
    // The address has failed often enough, and now has to wait, whatever it presents.
    let refusal = world.refused(&world.attempt());
    assert!(matches!(refusal, Refusal::Throttled(_)));
    assert_eq!((refusal.status(), refusal.retry_after_secs()), (429, Some(12)));
    // Another address does not, and the key's limits are as they were.
    let elsewhere = Attempt { from: address("192.0.2.2"), ..world.attempt() };
    let grant = world.gate.check(&elsewhere).unwrap();
    assert_eq!(grant.limits[0].remaining, 9);
    world.clock.advance(Duration::from_secs(12));
    assert!(world.gate.check(&world.attempt()).is_ok());
    assert_eq!(world.gate.usage().drain_failures(), 5);
}

/// A well-formed token with the id of another, and a secret of its own.
fn forgery(text: &str) -> String {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        })
    };
    let mut forged = format!("{}{}", &text[..24], "x".repeat(32));
    let mut rest = crc(forged.as_bytes());
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(rest % 62) as usize]);
        rest /= 62;
    }
    digits.reverse();
    forged.push_str(core::str::from_utf8(&digits).unwrap());
    forged
}

/// Traffic that is throttled as if it were guesses.
#[test]
fn good_keys_are_not_throttled_whatever_else_is_wrong_with_them() {
    let world = World::new();
    for _ in 0..50 {
        assert!(matches!(world.refused(&world.attempt().requires(&[WRITE])), Refusal::Scope { .. }));
        assert!(matches!(world.refused(&world.attempt().costs(11)), Refusal::Limited { .. }));
        world.gate.check(&world.attempt().costs(0)).unwrap();
    }
    world.gate.keyring().disable(&world.issued.key.id()).unwrap();
    for _ in 0..50 {
        assert_eq!(world.refused(&world.attempt()), Refusal::Key(KeyError::Disabled));
    }
    assert_eq!(world.gate.usage().drain_failures(), 0);
}

#[test]
fn every_request_of_a_key_is_counted_once() {
    let world = World::new();
    world.gate.check(&world.attempt()).unwrap();
    world.gate.check(&world.attempt().costs(0)).unwrap();
    world.refused(&world.attempt().costs(11));
    world.refused(&world.attempt().requires(&[WRITE]));
    world.gate.keyring().disable(&world.issued.key.id()).unwrap();
    world.refused(&world.attempt());
    world.refused(&Attempt { presented: Presented::Nothing, ..world.attempt() });
    world.refused(&Attempt { presented: "nonsense".into(), ..world.attempt() });
    let [(id, counts)] = world.gate.usage().drain()[..] else { panic!("one key was used") };
    assert_eq!(id, world.issued.key.id());
    assert_eq!((counts.allowed, counts.limited, counts.refused, counts.last_used), (2, 1, 2, Some(NOW)));
    assert_eq!(world.gate.usage().drain_failures(), 1);
}

/// A flood of well-formed keys that do not exist, each from an address of its own: no memory is taken for any of them.
#[test]
fn a_flood_of_guesses_creates_no_state() {
    let world = World::new();
    let mut generator = generator(99);
    for number in 0..5_000u32 {
        let guess = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut generator).unwrap();
        let from = IpKey::from(std::net::Ipv4Addr::from_bits(number));
        let attempt = Attempt::new(guess.key.expose_secret(), from, NOW);
        assert!(matches!(world.refused(&attempt), Refusal::Key(KeyError::Invalid) | Refusal::Throttled(_)));
    }
    assert_eq!((world.gate.keyring().store().len(), world.gate.usage().len()), (1, 0));
}

/// Rotating as a way to twice the quota: two keys, both valid for an hour.
#[test]
fn a_rotated_key_shares_its_limits_and_its_credits() {
    let world = World::new();
    let family = world.issued.record.family;
    world.gate.credits().open(family, Credits::new(CreditPlan::prepaid(7).unwrap(), NOW));
    let hour = Duration::from_secs(3600);
    let new = world.gate.keyring().rotate(&family, hour, NOW, &mut generator(2)).unwrap();
    let mut passed = 0;
    for _ in 0..20 {
        for text in [world.text(), new.key.expose_secret()] {
            let attempt = Attempt { presented: text.into(), ..world.attempt() };
            passed += u64::from(world.gate.check(&attempt).is_ok());
        }
    }
    assert_eq!(passed, 7);
    world.gate.credits().close(&family);
    world.gate.check(&world.attempt().costs(3)).unwrap();
    assert!(matches!(world.refused(&world.attempt()), Refusal::Limited { limit: 0, .. }));
}

/// A digest that another issuer made, found through the gate: it is hashed anew on first use, and then is ours.
#[test]
fn what_a_grant_upgrades_can_be_stored() {
    let digester = Digester::peppered(1, &[1; 32]).unwrap().with_foreign();
    let gate: Gate<_, ()> = Gate::new(Keyring::new(digester, MemoryStore::new()));
    let record = NewKey::new(PREFIX, "acme").import(tollgate::keys::leak_digest(b"their key"));
    let id = record.id;
    assert_eq!(gate.keyring().store().insert(record), Ok(Write::Done));
    let check = || gate.check(&Attempt::new("their key", (), NOW)).unwrap();
    let first = check();
    assert_eq!(first.upgrade.map(|digest| digest.scheme()), Some(Scheme::HmacSha256 { pepper: 1 }));
    gate.upgrade(&first).unwrap();
    let second = check();
    assert_eq!((second.record.version, second.upgrade.is_none()), (1, true));
    gate.upgrade(&second).unwrap();
    // The record of before the upgrade must not come back over what has happened since.
    gate.keyring().revoke(&id).unwrap();
    gate.upgrade(&first).unwrap();
    let stored = gate.keyring().store().get(&id).unwrap().unwrap();
    assert_eq!((stored.version, stored.status), (2, Status::Revoked));
}

/// A limiter that writes down what it is asked, in which order.
struct Scribe(&'static str, Arc<Mutex<Vec<String>>>, RateLimiter<TokenBucket, ManualClock>);

impl Scribe {
    fn note<T>(&self, what: &str, answer: T) -> T {
        self.1.lock().unwrap().push(format!("{what} {}", self.0));
        answer
    }
}

impl<T> LimitBy<T> for Scribe {
    fn check_n(&self, _: &T, cost: u64) -> Decision {
        self.note("check", self.2.check_n(cost))
    }

    fn refund(&self, _: &T, cost: u64) {
        self.2.refund(cost);
        self.note("refund", ());
    }
}

#[test]
fn the_steps_are_in_their_order() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let scribe = |name, limit| Scribe(name, notes.clone(), RateLimiter::with_clock(bucket(limit), ManualClock::new()));
    let gate: Gate<_, u8> = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
        .throttle(scribe("throttle", 9))
        .limit(scribe("a", 9))
        .limit(scribe("b", 1))
        .limit(scribe("c", 9));
    let issued = gate.keyring().issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    let check = |presented: Presented<'_>, scopes: &[Scope<'_>]| {
        let _ = gate.check(&Attempt { presented, from: 0, scopes, cost: 1, now: NOW });
        std::mem::take(&mut *notes.lock().unwrap()).join(", ")
    };
    let good = Presented::from(issued.key.expose_secret());
    assert_eq!(check(Presented::Nothing, &[]), "");
    assert_eq!(check("nonsense".into(), &[]), "check throttle");
    assert_eq!(check(good, &[READ]), "check throttle, refund throttle");
    assert_eq!(check(good, &[]), "check throttle, refund throttle, check a, check b, check c");
    assert_eq!(check(good, &[]), "check throttle, refund throttle, check a, check b, refund a");
}

/// A limit that refuses, and is slow about it: meanwhile a minute passes, and another request of the same family comes.
struct Late(Arc<RecordLimiter<FixedWindow, ManualClock>>, ManualClock);

impl LimitBy<Record> for Late {
    fn check_n(&self, record: &Record, _: u64) -> Decision {
        self.1.advance(Duration::from_secs(60));
        self.0.check_n(record, 1).expect("the next window has room");
        RateLimiter::with_clock(bucket(1), self.1.clone()).check_n(2)
    }

    fn refund(&self, _: &Record, _: u64) {
        panic!("nothing was taken");
    }
}

// A refund would take the other request's unit for its own, which is of a window that has ended.
#[test]
fn a_late_refusal_gives_back_nothing_of_others() {
    let clock = ManualClock::new();
    let window = FixedWindow::new(Quota::per_minute(2)).unwrap();
    let shared = RecordLimiter::with_clock(HangOn::Family, [window], Quotas::new(0), 100, clock.clone()).unwrap();
    let shared = Arc::new(shared);
    let gate = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
        .limit(shared.clone())
        .limit(Late(shared.clone(), clock));
    let issued = gate.keyring().issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    let refused = gate.check(&Attempt::new(issued.key.expose_secret(), address(HERE), NOW));
    assert!(matches!(refused, Err(Refusal::Limited { limit: 1, .. })));
    let left = |cost| shared.check_n(&issued.record, cost);
    assert_eq!(left(0).unwrap().remaining, 1);
}

#[test]
fn the_longest_delay_is_the_one_to_wait() {
    let clock = ManualClock::new();
    let leaky = |limit| LeakyBucket::new(Quota::per_minute(limit)).unwrap();
    let limiter =
        |limit| RecordLimiter::with_clock(HangOn::Family, [leaky(limit)], Quotas::new(0), 10, clock.clone()).unwrap();
    let gate: Gate<_, ()> = Gate::new(Keyring::new(Digester::plain(), MemoryStore::new()))
        .limit(limiter(60))
        .limit(limiter(10))
        .limit(limiter(30));
    let issued = gate.keyring().issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    let attempt = Attempt::new(issued.key.expose_secret(), (), NOW);
    let delays: Vec<_> = (0..3).map(|_| gate.check(&attempt).unwrap().delay().as_secs()).collect();
    assert_eq!(delays, [0, 6, 12]);
}

#[test]
fn refusals_read_as_sentences() {
    let world = World::new();
    assert_eq!(
        world.refused(&Attempt { presented: Presented::Nothing, ..world.attempt() }).to_string(),
        "no key was presented"
    );
    assert_eq!(
        world.refused(&world.attempt().costs(11)).to_string(),
        "limit 0: rate limited: 10 of 10 units left, the cost is more than can ever pass"
    );
    assert_eq!(
        Refusal::<&str>::Unavailable("no connection").to_string(),
        "the key store is unavailable: no connection"
    );
    assert!(!format!("{:?} {:?}", world.gate, world.attempt()).contains(&world.text()[24..]));
}
