//! The life of an API key, told with a clock that is moved by hand:
//!
//! ```sh
//! cargo run --example api_keys
//! ```

use std::{error::Error, net::Ipv4Addr, time::Duration};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use tollgate::{
    IpKey, KeyedLimiter, ManualClock, Quota, TokenBucket,
    keys::{
        Attempt, CreditPlan, Credits, Digester, Gate, HangOn, Keyring, MemoryStore, NewKey, Prefix, Presented, Quotas,
        RecordLimiter, Scope, UnixTime, bearer,
    },
};

const LIVE: Prefix = Prefix::literal("tg_live");
const READ: Scope<'static> = Scope::literal("orders:read");
const WRITE: Scope<'static> = Scope::literal("orders:write");
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A service: its gate, and the time, which a limiter reads off its clock and a key's expiry is compared with.
struct Service {
    gate: Gate<MemoryStore>,
    clock: ManualClock,
    now: UnixTime,
    generator: ChaCha20Rng,
}

impl Service {
    fn new() -> Result<Self, Box<dyn Error>> {
        let clock = ManualClock::new();
        // A secret of the service, which a real one reads from a vault. Generators come from the operating system there:
        // `NewKey::issue_from_os`, with the feature `getrandom`.
        let digester = Digester::peppered(1, b"32 bytes of randomness, from a vault")?;
        let failures = TokenBucket::new(Quota::per_minute(5))?;
        let (free, pro) = (TokenBucket::new(Quota::per_minute(3))?, TokenBucket::new(Quota::per_minute(600))?);
        let quotas = Quotas::new(0).with_tier("pro", 1);
        let gate = Gate::new(Keyring::new(digester, MemoryStore::new()))
            .throttle(KeyedLimiter::<IpKey, _, _>::with_clock(failures, 10_000, clock.clone()))
            .limit(RecordLimiter::with_clock(HangOn::Family, [free, pro], quotas, 10_000, clock.clone())?);
        Ok(Self { gate, clock, now: UnixTime::from_secs(1_700_000_000), generator: ChaCha20Rng::seed_from_u64(7) })
    }

    /// A request with such an `Authorization` header, and what becomes of it.
    fn request(&self, who: &str, authorization: &str, requires: &[Scope<'_>], cost: u64) {
        let presented = Presented::in_one_of([bearer(authorization.as_bytes())]);
        let from = IpKey::from(Ipv4Addr::new(192, 0, 2, 1));
        let attempt = Attempt::new(presented, from, self.now).requires(requires).costs(cost);
        match self.gate.check(&attempt) {
            Ok(grant) => {
                let remaining = grant.tightest().map_or(u64::MAX, |allowed| allowed.remaining);
                let credits = grant.credits.map(|credits| format!(", {credits} credits left")).unwrap_or_default();
                println!("    {who}: 200, {remaining} requests left this minute{credits}");
            }
            Err(refusal) => {
                let retry = refusal.retry_after_secs().map(|secs| format!(", Retry-After: {secs}")).unwrap_or_default();
                println!("    {who}: {}{retry} ({refusal})", refusal.status());
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.now = self.now + time;
        println!("\n  {time:?} pass");
    }
}

fn header(key: &tollgate::keys::ApiKey) -> String {
    format!("Bearer {}", key.expose_secret())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut service = Service::new()?;

    println!("Initech gets a key that may read. It is shown once; what is stored is a digest of it.\n");
    let new = NewKey::new(LIVE, "initech").tier("free").scopes("orders:read".parse()?);
    let initech = service.gate.keyring().issue(new, &mut service.generator)?;
    println!("    shown:   {}", initech.key.expose_secret());
    println!("    logged:  {:?}", initech.key);
    println!("    stored:  {:?} of {}, tier {}", initech.record.digest, initech.record.owner, initech.record.tier);
    let authorization = header(&initech.key);

    println!("\nIt reads, and is not let near anything else. The free tier has 3 requests a minute.\n");
    service.request("initech reads ", &authorization, &[READ], 1);
    service.request("initech writes", &authorization, &[WRITE], 1);
    service.request("initech reads ", &authorization, &[READ], 1);
    service.request("initech reads ", &authorization, &[READ], 1);
    service.request("initech reads ", &authorization, &[READ], 1);
    service.pass(MINUTE);

    println!("\nIt pays for the pro tier; the key stays the same.\n");
    let pro = |record: &mut tollgate::keys::Record| {
        record.tier = "pro".into();
        Ok(())
    };
    service.gate.keyring().change(&initech.key.id(), pro)?;
    service.request("initech reads ", &authorization, &[READ], 1);

    println!("\nA key a year is a good habit. The old one goes on for an hour; they share their limits.\n");
    let rotated = service.gate.keyring().rotate(&initech.key.id(), HOUR, service.now, &mut service.generator)?;
    let renewed = header(&rotated.key);
    service.request("by the old key", &authorization, &[READ], 100);
    service.request("by the new key", &renewed, &[READ], 100);
    service.pass(HOUR);
    service.request("by the old key", &authorization, &[READ], 1);
    service.request("by the new key", &renewed, &[READ], 1);

    println!(
        "\nSomebody types it wrong, somebody guesses. Nobody is told which; the address has 5 failures a minute.\n"
    );
    service.request("without a key ", "Basic aW5pdGVjaA==", &[READ], 1);
    service.request("with a typo   ", &renewed.replace("tg_live", "tg_live_"), &[READ], 1);
    for _ in 0..4 {
        let guess = NewKey::new(LIVE, "").issue(&Digester::plain(), &mut service.generator)?;
        service.request("by a guess    ", &header(&guess.key), &[READ], 1);
    }
    service.request("by the new key", &renewed, &[READ], 1);
    service.pass(MINUTE);

    println!("\nHooli has prepaid: 5 credits, a generated report costs 2.\n");
    let new = NewKey::new(LIVE, "hooli").tier("pro").scopes("*".parse()?);
    let hooli = service.gate.keyring().issue(new, &mut service.generator)?;
    let credits = Credits::new(CreditPlan::prepaid(5)?, service.now);
    service.gate.credits().open(hooli.record.family, credits);
    for _ in 0..3 {
        service.request("hooli reports ", &header(&hooli.key), &[WRITE], 2);
    }
    if let Some(credits) = service.gate.credits().get(&hooli.record.family) {
        println!("    hooli buys 2 credits, and has {}", credits.add(2, service.now));
    }
    service.request("hooli reports ", &header(&hooli.key), &[WRITE], 2);

    println!("\nInitech's key turns up in a public repository: it is disabled at once, and then revoked for good.\n");
    service.gate.keyring().disable(&rotated.key.id())?;
    service.request("by the new key", &renewed, &[READ], 1);
    service.gate.keyring().revoke(&rotated.key.id())?;
    service.request("by the new key", &renewed, &[READ], 1);
    println!("    and enabling it again: {}", service.gate.keyring().enable(&rotated.key.id()).unwrap_err());
    println!("    what scanners look for: {}", LIVE.scanner_pattern());

    println!("\nWhat was counted, to be written to a database in one go:\n");
    let mut usage = service.gate.usage().drain();
    usage.sort_by_key(|(id, _)| *id);
    for (id, counts) in usage {
        println!("    {id}: {} allowed, {} limited, {} refused", counts.allowed, counts.limited, counts.refused);
    }
    println!("    no key at all: {} failures", service.gate.usage().drain_failures());
    Ok(())
}
