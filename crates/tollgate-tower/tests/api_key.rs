//! `ApiKeyLayer` in front of axum, over sockets: what each request is answered, and what reaches a handler.
#![cfg(all(feature = "axum", feature = "keys"))]

mod raw;

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use axum::{Router, extract::Request as AxumRequest, routing::get};
use http::{HeaderMap, HeaderName, StatusCode, header};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use raw::{Request, Response};
use tollgate::{
    FixedWindow, IpKey, KeyedLimiter, ManualClock, Quota, TokenBucket,
    keys::{
        ApiKey, CreditPlan, Credits, Digester, Gate, HangOn, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Prefix,
        Quotas, Record, RecordLimiter, Refusal, Scope, UnixTime, Write,
    },
};
use tollgate_tower::{
    ApiKeyLayer, ApiKeyService, Dialect, Granted, IpNet, KeyFamily, KeyOwner, RequestHead,
    identity::{ClientAddress, Identity, PeerAddr, TrustedProxies, Via},
};
use tower::{Layer, Service, ServiceExt, service_fn};

const PREFIX: Prefix = Prefix::literal("tg_test");
const READ: Scope<'static> = Scope::literal("items:read");
const WRITE: Scope<'static> = Scope::literal("items:write");
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// A store that can be down, and then says what no stranger should read.
#[derive(Debug, Default)]
struct Store {
    records: MemoryStore,
    down: AtomicBool,
}

#[derive(Debug)]
struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no route to db-7.internal")
    }
}

impl KeyStore for Store {
    type Meta = ();
    type Error = Down;

    fn get(&self, id: &KeyId) -> Result<Option<Arc<Record>>, Down> {
        if self.down.load(Ordering::Relaxed) {
            return Err(Down);
        }
        let Ok(record) = self.records.get(id);
        Ok(record)
    }

    fn insert(&self, record: Record) -> Result<Write, Down> {
        let Ok(written) = self.records.insert(record);
        Ok(written)
    }

    fn update(&self, record: Record) -> Result<Write, Down> {
        let Ok(written) = self.records.update(record);
        Ok(written)
    }
}

/// A gate with a clock that is moved by hand: two requests in five seconds, and three failures a minute of one address.
struct Setting {
    gate: Arc<Gate<Store>>,
    clock: ManualClock,
}

impl Setting {
    fn new() -> Self {
        let clock = ManualClock::new();
        let failures = TokenBucket::new(Quota::per_minute(3)).unwrap();
        let window = FixedWindow::new(Quota::new(2, Duration::from_secs(5))).unwrap();
        let limit = RecordLimiter::with_clock(HangOn::Family, [window], Quotas::new(0), 100, clock.clone()).unwrap();
        let gate = Gate::new(Keyring::new(Digester::plain(), Store::default()))
            .throttle(KeyedLimiter::<IpKey, _, _>::with_clock(failures, 100, clock.clone()))
            .limit(limit);
        Self { gate: Arc::new(gate), clock }
    }

    fn issue(&self, seed: u64, change: impl FnOnce(NewKey) -> NewKey) -> ApiKey {
        let new = NewKey::new(PREFIX, "acme").scopes("items:read".parse().unwrap());
        self.gate.keyring().issue(change(new), &mut ChaCha20Rng::seed_from_u64(seed)).unwrap().key
    }

    /// By the peer's address, and the setting's time.
    fn layer(&self) -> ApiKeyLayer<Store> {
        ApiKeyLayer::new(Arc::clone(&self.gate), ClientAddress::peer()).requires([READ]).time(|| NOW)
    }

    /// What hangs on the day or on an address is out of the way.
    fn next_minute(&self) {
        self.clock.advance(Duration::from_secs(60));
    }
}

/// Serves on a thread of its own, until the test program ends.
fn serve(router: Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
        });
    });
    address
}

/// A route that says whose request it was, and counts.
fn whose(reached: &Arc<AtomicU64>) -> axum::routing::MethodRouter {
    let reached = Arc::clone(reached);
    get(async move |granted: Granted| {
        reached.fetch_add(1, Ordering::Relaxed);
        granted.record.owner.to_string()
    })
}

/// A service of one route behind the layer.
fn behind(layer: ApiKeyLayer<Store>) -> (SocketAddr, Arc<AtomicU64>) {
    let reached = Arc::new(AtomicU64::new(0));
    (serve(Router::new().route("/", whose(&reached)).layer(layer)), reached)
}

fn with_key(key: &ApiKey) -> Request {
    Request::get("/").key(key.expose_secret())
}

/// What a refusal must be: a problem of this status that says this.
#[track_caller]
fn assert_refused(answer: &Response, status: u16, kind: &str, detail: &str) {
    let body = answer.json();
    assert_eq!((answer.status, body["detail"].as_str()), (status, Some(detail)));
    assert_eq!((&body["status"], body["type"].as_str()), (&status.into(), Some(kind)));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

const BLANK: &str = "about:blank";
const QUOTA: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const ABNORMAL: &str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";
const MISSING: &str = "Send a key as `X-API-Key`, or as `Authorization: Bearer`.";
const TWICE: &str = "Keys came in two places; send one in one.";

#[test]
fn a_key_passes_in_either_header() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let (address, reached) = behind(setting.layer());

    let answer = with_key(&key).send(address);
    assert_eq!((answer.status, answer.body.as_str()), (200, "acme"));
    let bearer = format!("beaRER   {}", key.expose_secret());
    assert_eq!(Request::get("/").header("Authorization", bearer).send(address).status, 200);
    assert_eq!(reached.load(Ordering::Relaxed), 2);
}

#[test]
fn a_key_is_missing_wherever_else_it_is() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let key = key.expose_secret();
    let (address, reached) = behind(setting.layer());
    let elsewhere = [
        Request::get("/"),
        Request::get(&format!("/?x-api-key={key}&api_key={key}&access_token={key}")),
        Request::get("/").header("cookie", format!("x-api-key={key}")),
        Request::get("/").header("authorization", format!("Basic {key}")),
        Request::get("/").header("authorization", key),
        Request::get("/").header("authorization", "Bearer"),
        Request::get("/").header("proxy-authorization", format!("Bearer {key}")),
    ];
    for request in elsewhere {
        let answer = request.send(address);
        assert_refused(&answer, 401, BLANK, MISSING);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

/// The place that is read must not be a matter of who reads.
#[test]
fn a_key_in_two_places_is_refused() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let bearer = format!("Bearer {}", key.expose_secret());
    let (address, reached) = behind(setting.layer());
    let twice = [
        with_key(&key).key(key.expose_secret()),
        with_key(&key).key(""),
        with_key(&key).header("authorization", &bearer),
        Request::get("/").header("authorization", &bearer).header("authorization", "bearer x"),
    ];
    for request in twice {
        let answer = request.send(address);
        assert_refused(&answer, 400, BLANK, TWICE);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_request""#));
    }
    // Another scheme is no place for a key.
    assert_eq!(with_key(&key).header("authorization", "Basic dXNlcjpwYXNz").send(address).status, 200);
    assert_eq!(reached.load(Ordering::Relaxed), 1);
}

#[test]
fn a_guess_learns_nothing() {
    let setting = Setting::new();
    let (address, reached) = behind(setting.layer());
    // A secret that belongs to another id, and an id that nobody has.
    let unknown = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut ChaCha20Rng::seed_from_u64(2)).unwrap();
    let theirs = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut ChaCha20Rng::seed_from_u64(3)).unwrap();
    let swapped = Record { digest: unknown.record.digest, ..theirs.record };
    assert_eq!(setting.gate.keyring().store().insert(swapped).unwrap(), Write::Done);

    let answers = [&unknown.key, &theirs.key].map(|key| with_key(key).send(address));
    for answer in &answers {
        assert_refused(answer, 401, BLANK, "invalid key");
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    }
    assert_eq!(answers[0].body, answers[1].body);
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

#[test]
fn what_no_key_can_be() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let (address, reached) = behind(setting.layer());
    let typo = key.expose_secret().replace("tg_test", "tg_tent");
    let long = "a".repeat(100_000);
    let odd: [(&[u8], &str); 6] = [
        (b"", "malformed key: 0 bytes are too few for a key"),
        (b"tg_test_1234", "malformed key: 12 bytes are too few for a key"),
        (typo.as_bytes(), "malformed key: the checksum does not match; part of it may be mistyped or missing"),
        (&[0xff; 70], "malformed key: no `_` between prefix and key; part of it may be missing"),
        ("sch\u{fc}ssel".as_bytes(), "malformed key: 9 bytes are too few for a key"),
        (long.as_bytes(), "malformed key: 100000 bytes are too many for a key"),
    ];
    for (value, detail) in odd {
        let own = Request::get("/").header("x-api-key", value).send(address);
        assert_refused(&own, 401, BLANK, detail);
        assert_eq!(own.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
        // A scheme without a token is no key.
        let bearer = Request::get("/").header("authorization", [b"Bearer ", value].concat()).send(address);
        assert_refused(&bearer, 401, BLANK, if value.is_empty() { MISSING } else { detail });
        setting.next_minute();
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0);

    // The server does not read as much; whatever it says to that, it goes on.
    let megabyte = Request::get("/").header("x-api-key", "a".repeat(1 << 20)).try_send(address);
    assert!(megabyte.is_none_or(|answer| (400..500).contains(&answer.status)));
    setting.next_minute();
    assert_eq!(with_key(&key).send(address).status, 200);
}

/// Told to whoever has the secret, each with its own words.
#[test]
fn a_key_that_may_not_be_used() {
    let setting = Setting::new();
    let (address, reached) = behind(setting.layer());
    let keyring = setting.gate.keyring();
    let [revoked, disabled] = [1, 2].map(|seed| setting.issue(seed, |new| new));
    keyring.revoke(&revoked.id()).unwrap();
    keyring.disable(&disabled.id()).unwrap();
    let keys = [
        (revoked, "the key was revoked"),
        (disabled, "the key is disabled"),
        (setting.issue(3, |new| new.expires_at(NOW)), "the key expired at Unix time 1700000000"),
        (
            setting.issue(4, |new| new.not_before(NOW + Duration::from_secs(1))),
            "the key is not valid before Unix time 1700000001",
        ),
    ];
    for (key, detail) in &keys {
        let answer = with_key(key).send(address);
        assert_refused(&answer, 401, BLANK, detail);
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0);
    // None of it was a guess.
    assert_eq!(setting.gate.usage().drain_failures(), 0);
}

/// Layers that differ in their scopes share the gate, and with it the limits.
#[test]
fn scopes_are_of_a_route() {
    let setting = Setting::new();
    let reached = Arc::new(AtomicU64::new(0));
    let layer = setting.layer();
    let address = serve(
        Router::new()
            .route("/", whose(&reached).layer(layer.clone()))
            .route("/none", whose(&reached).layer(layer.clone().requires([])))
            .route("/both", whose(&reached).layer(layer.requires([READ, WRITE]))),
    );
    let key = setting.issue(1, |new| new);
    let to = |path: &str| Request::get(path).key(key.expose_secret()).send(address);

    let answer = to("/both");
    assert_refused(&answer, 403, BLANK, "The key lacks the scope `items:write`.");
    assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="insufficient_scope""#));
    assert_eq!([to("/").status, to("/none").status, to("/").status], [200, 200, 429]);
    assert_eq!(reached.load(Ordering::Relaxed), 2);
}

#[test]
fn limits_and_credits_say_when_to_come_back() {
    let setting = Setting::new();
    let (address, reached) = behind(setting.layer());
    let key = setting.issue(1, |new| new);
    assert_eq!([with_key(&key).send(address).status, with_key(&key).send(address).status], [200, 200]);
    setting.clock.advance(Duration::from_millis(500));
    let answer = with_key(&key).send(address);
    assert_refused(&answer, 429, QUOTA, "Retry after 5 s.");
    assert_eq!((answer.header("retry-after"), answer.header("www-authenticate")), (Some("5"), None));
    setting.next_minute();

    let plan = CreditPlan::refilled(1, Duration::from_secs(86_400)).unwrap();
    setting.gate.credits().open(key.id(), Credits::new(plan, NOW));
    assert_eq!(with_key(&key).send(address).status, 200);
    let answer = with_key(&key).send(address);
    // 1,700,000,000 is 6,400 seconds before midnight.
    assert_refused(&answer, 429, QUOTA, "Retry after 6400 s.");
    assert_eq!(answer.header("retry-after"), Some("6400"));
    setting.gate.credits().open(key.id(), Credits::with_balance(CreditPlan::prepaid(1).unwrap(), 0, NOW));
    let answer = with_key(&key).send(address);
    assert_refused(&answer, 429, QUOTA, "The credits of the key are spent.");
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(reached.load(Ordering::Relaxed), 3);
}

/// Told of with the names that the layer gives them, in its dialect; of none otherwise.
#[test]
fn clients_are_told_of_limits() {
    let setting = Setting::new();
    let five = Duration::from_secs(5);
    let layer = setting.layer().tell("key", five).unwrap();
    let (structured, _) = behind(layer.clone());
    let (seconds, _) = behind(layer.clone().dialect(Dialect::XSeconds));
    let (epoch, _) = behind(layer.dialect(Dialect::XEpoch));
    let (nothing, _) = behind(setting.layer());
    let key = setting.issue(1, |new| new);
    let headers = |answer: &Response, names: [&str; 3]| names.map(|name| answer.header(name).map(str::to_owned));
    let (own, x) = (
        ["ratelimit", "ratelimit-policy", "retry-after"],
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    );
    let some = |values: [&str; 3]| values.map(|value| Some(value).filter(|value| !value.is_empty()).map(str::to_owned));

    let passed = with_key(&key).send(structured);
    assert_eq!(headers(&passed, own), some([r#""key";r=1;t=5"#, r#""key";q=2;w=5"#, ""]));
    setting.clock.advance(Duration::from_millis(500));
    assert_eq!(headers(&with_key(&key).send(seconds), x), some(["2", "0", "5"]));
    setting.clock.advance(Duration::from_millis(2_500));
    let refused = with_key(&key).send(structured);
    assert_eq!(headers(&refused, own), some([r#""key";r=0;t=2"#, r#""key";q=2;w=5"#, "2"]));
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["key"]));
    // By the end of the second that has begun.
    assert_eq!(headers(&with_key(&key).send(epoch), x), some(["2", "0", "1700000003"]));
    assert_eq!(headers(&with_key(&key).send(nothing), own), some(["", "", "2"]));
    assert!(setting.layer().tell("k\u{fc}", five).is_err());
}

/// The header of a tier is kept, and given to no other; nor to those that come when no more are kept.
#[test]
fn each_tier_is_told_its_own_limit() {
    let day = Duration::from_secs(86_400);
    let clock = ManualClock::new();
    let tiers = (10..20).map(|limit| FixedWindow::new(Quota::new(limit, day)).unwrap());
    let quotas = (0..10).fold(Quotas::new(0), |quotas, tier| quotas.with_tier(tier.to_string(), tier));
    let limit = RecordLimiter::with_clock(HangOn::Family, tiers, quotas, 100, clock).unwrap();
    let gate = Arc::new(Gate::new(Keyring::new(Digester::plain(), Store::default())).limit(limit));
    let layer = ApiKeyLayer::new(Arc::clone(&gate), ClientAddress::peer()).tell("day", day).unwrap();
    let (address, _) = behind(layer);
    let keys = (0..10_u64).map(|tier| {
        let new = NewKey::new(PREFIX, "acme").tier(tier.to_string());
        gate.keyring().issue(new, &mut ChaCha20Rng::seed_from_u64(tier)).unwrap().key
    });
    let keys: Vec<ApiKey> = keys.collect();
    for _ in 0..2 {
        for (limit, key) in (10..).zip(&keys) {
            let told = format!(r#""day";q={limit};w=86400"#);
            assert_eq!(with_key(key).send(address).header("ratelimit-policy"), Some(&*told));
        }
    }
}

/// Waiting does not help, so it is not 429.
#[test]
fn what_costs_more_than_ever_passes_is_forbidden() {
    let setting = Setting::new();
    let (address, reached) = behind(setting.layer().cost(|_| 3));
    let key = setting.issue(1, |new| new);
    let answer = with_key(&key).send(address);
    assert_refused(&answer, 403, QUOTA, "The request costs more than the limit ever allows. Do not retry it.");
    assert_eq!((answer.header("retry-after"), reached.load(Ordering::Relaxed)), (None, 0));

    // As well where the other refusals have statuses of the program's choice.
    let chosen = setting.layer().cost(|_| 3).status(|refusal| match refusal {
        Refusal::Missing => StatusCode::BAD_REQUEST,
        _ => StatusCode::from_u16(refusal.status()).unwrap(),
    });
    let (address, _) = behind(chosen);
    assert_eq!([with_key(&key), Request::get("/")].map(|request| request.send(address).status), [403, 400]);
}

#[test]
fn a_request_costs_what_the_closure_says() {
    let setting = Setting::new();
    let (address, _) = behind(setting.layer().cost(|request| if request.uri.query().is_some() { 2 } else { 1 }));
    let key = setting.issue(1, |new| new);
    assert_eq!(Request::get("/?all").key(key.expose_secret()).send(address).status, 200);
    assert_eq!(with_key(&key).send(address).status, 429);
}

/// Guesses are limited by where they come from, and by nothing that they say of themselves.
#[test]
fn failed_attempts_are_limited_by_address() {
    let setting = Setting::new();
    let proxy: IpNet = "127.0.0.1/32".parse().unwrap();
    let client = ClientAddress::behind(TrustedProxies::new(Via::XForwardedFor).network(proxy));
    let layer = ApiKeyLayer::new(Arc::clone(&setting.gate), client).requires([READ]).time(|| NOW);
    let (address, reached) = behind(layer);
    let key = setting.issue(1, |new| new);
    let from = |request: Request, client: &str| request.header("x-forwarded-for", client).send(address);
    let guess = |number: u64| Request::get("/").key(&format!("tg_test_{number}"));

    for number in 0..3 {
        assert_eq!(from(guess(number), &format!("192.0.2.{number}, 198.51.100.1")).status, 401);
    }
    let answer = from(guess(3), "192.0.2.3, 198.51.100.1");
    assert_refused(&answer, 429, ABNORMAL, "Retry after 20 s.");
    assert_eq!(answer.header("retry-after"), Some("20"));
    // Not even a good key is looked at, and elsewhere it is.
    assert_eq!(from(with_key(&key), "198.51.100.1").status, 429);
    assert_eq!(from(with_key(&key), "198.51.100.2").status, 200);
    assert_eq!(reached.load(Ordering::Relaxed), 1);

    // Who has a key may use it without end, and who sends none has not guessed.
    let limit = setting.gate.usage().drain_failures();
    assert_eq!(limit, 3);
    for _ in 0..5 {
        assert_eq!(from(Request::get("/"), "198.51.100.2").status, 401);
        setting.clock.advance(Duration::from_secs(5));
        assert_eq!(from(with_key(&key), "198.51.100.2").status, 200);
    }
}

/// A trusted proxy that tells no address, or a server that tells no peer.
#[test]
fn a_request_from_nowhere_is_refused() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let proxy: IpNet = "127.0.0.1/32".parse().unwrap();
    let client = ClientAddress::behind(TrustedProxies::new(Via::XForwardedFor).network(proxy));
    let (address, reached) = behind(ApiKeyLayer::new(Arc::clone(&setting.gate), client));
    assert_refused(&with_key(&key).send(address), 400, BLANK, "the request has no x-forwarded-for");
    let odd = with_key(&key).header("x-forwarded-for", [0xff, 0xfe]).send(address);
    assert_eq!((odd.status, reached.load(Ordering::Relaxed)), (400, 0));

    let service = setting.layer().layer(service_fn(async |_: http::Request<()>| -> Result<_, Infallible> {
        Ok(http::Response::new(String::new()))
    }));
    let mut request = http::Request::new(());
    request.headers_mut().insert("x-api-key", key.expose_secret().parse().unwrap());
    let answer = block_on(service.oneshot(request)).unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

/// Nothing passes while the store cannot say, and nobody is told what it says.
#[test]
fn a_store_that_is_down_lets_nobody_in() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let (address, reached) = behind(setting.layer());
    let (chosen, _) = behind(setting.layer().status(|refusal| match refusal {
        Refusal::Unavailable(Down) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::FORBIDDEN,
    }));
    setting.gate.keyring().store().down.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        let answer = with_key(&key).send(address);
        assert_refused(&answer, 503, BLANK, "Keys cannot be looked up at present.");
        assert!(!format!("{answer:?}").contains("db-7"));
    }
    assert_eq!(with_key(&key).send(chosen).status, 502);
    assert_eq!(reached.load(Ordering::Relaxed), 0);

    // It was nobody's guess, and took nothing.
    setting.gate.keyring().store().down.store(false, Ordering::Relaxed);
    assert_eq!([with_key(&key).send(address).status, with_key(&key).send(address).status], [200, 200]);
}

/// Every refusal with a status of the program's choice; one that is no error's is not used.
#[test]
fn every_status_can_be_chosen() {
    let setting = Setting::new();
    let keyring = setting.gate.keyring();
    let (good, revoked, broke) =
        (setting.issue(1, |new| new), setting.issue(2, |new| new), setting.issue(3, |new| new));
    let scopeless = setting.issue(4, |new| new.scopes("".parse().unwrap()));
    keyring.revoke(&revoked.id()).unwrap();
    setting.gate.credits().open(broke.id(), Credits::with_balance(CreditPlan::prepaid(1).unwrap(), 0, NOW));
    let status = Arc::new(AtomicU64::new(418));
    let chosen = Arc::clone(&status);
    let layer = setting.layer().status(move |_| StatusCode::from_u16(chosen.load(Ordering::Relaxed) as u16).unwrap());
    let (address, reached) = behind(layer);
    let refused = || {
        setting.next_minute();
        assert_eq!([with_key(&good).send(address).status, with_key(&good).send(address).status], [200, 200]);
        let requests = [
            Request::get("/"),
            with_key(&good).key("x"),
            Request::get("/").key("x"),
            with_key(&revoked),
            with_key(&scopeless),
            with_key(&good),
            with_key(&broke),
        ];
        requests.map(|request| request.send(address)).map(|answer| (answer.status, answer.json()["status"].clone()))
    };
    assert!(refused().into_iter().all(|status| status == (418, 418.into())));
    for no_error in [200, 302, 600] {
        status.store(no_error, Ordering::Relaxed);
        assert_eq!(refused().map(|(status, _)| status), [401, 400, 401, 401, 403, 429, 429]);
    }
    // A 401 has a challenge, whatever it is chosen for.
    status.store(401, Ordering::Relaxed);
    assert_eq!(with_key(&good).send(address).header("www-authenticate"), Some("Bearer"));
    assert_eq!(reached.load(Ordering::Relaxed), 8);
}

/// A handler that prints the headers of its request.
#[test]
fn keys_are_not_printed() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let print = async |headers: HeaderMap, granted: Granted| format!("{headers:?} {granted:?}");
    let own = HeaderName::from_static("x-token");
    let address = serve(
        Router::new()
            .route("/", get(print).layer(setting.layer()))
            .route("/own", get(print).layer(setting.layer().header(own))),
    );
    let secret = &key.expose_secret()[key.expose_secret().len() - 38..];
    for request in [
        with_key(&key).header("authorization", "Basic c2VjcmV0").header("authorization", "Digest c2VjcmV0"),
        Request::get("/own").header("x-token", key.expose_secret()),
    ] {
        let answer = request.send(address);
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("Sensitive") && answer.body.contains("acme"), "{}", answer.body);
        assert!(!answer.body.contains(secret) && !answer.body.contains("c2VjcmV0"), "{}", answer.body);
    }
    assert!(!format!("{:?}", setting.layer()).contains(secret));
}

#[test]
fn extractors_and_identities() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let optional =
        get(async |granted: Option<Granted>| granted.map_or("nobody".into(), |g| g.record.owner.to_string()));
    let who = get(async |request: AxumRequest| {
        let head = RequestHead::from(&request);
        format!("{} {}", KeyOwner::new().key(&head).unwrap(), KeyFamily::new().key(&head).unwrap())
    });
    let address = serve(
        Router::new()
            .route("/optional", optional.clone())
            .route("/optional/key", optional.layer(setting.layer()))
            .route("/who", who.layer(setting.layer()))
            .route("/no-layer", get(async |_: Granted| "never")),
    );
    let to = |path: &str| Request::get(path).key(key.expose_secret()).send(address);
    assert_eq!(to("/optional").body, "nobody");
    assert_eq!(to("/optional/key").body, "acme");
    assert_eq!(to("/who").body, format!("acme {}", key.id()));
    assert_eq!(to("/no-layer").status, 500);
    let identity = KeyOwner::<()>::with_meta().key(&RequestHead::from(&http::Request::new(())));
    assert_eq!(identity.unwrap_err().status(), StatusCode::INTERNAL_SERVER_ERROR);
}

/// A call of gRPC, which would take an HTTP status for a broken proxy.
#[test]
fn calls_of_grpc_are_answered_in_its_words() {
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let service = setting.layer().layer(OnlyWhenReady::default());
    let call = |key: Option<&str>, scope: Option<Scope<'static>>| {
        let mut request = http::Request::post("/").header("content-type", "application/grpc+proto").body(()).unwrap();
        request.extensions_mut().insert(PeerAddr("192.0.2.1:1".parse().unwrap()));
        if let Some(key) = key {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        }
        let service = match scope {
            Some(scope) => setting.layer().requires([scope]).layer(OnlyWhenReady::default()),
            None => service.clone(),
        };
        let answer = block_on(service.oneshot(request)).unwrap();
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("grpc-status"), header("grpc-retry-pushback-ms"))
    };
    let refused = |status: &str, wait: &str| (Some(status.to_owned()), Some(wait.to_owned()));
    assert_eq!(call(None, None), refused("16", "-1"));
    assert_eq!(call(Some("x"), None), refused("16", "-1"));
    assert_eq!(call(Some(key.expose_secret()), Some(WRITE)), refused("7", "-1"));
    assert_eq!(
        [call(Some(key.expose_secret()), None), call(Some(key.expose_secret()), None)],
        [(None, None), (None, None)]
    );
    assert_eq!(call(Some(key.expose_secret()), None), refused("8", "5000"));
    setting.gate.keyring().store().down.store(true, Ordering::Relaxed);
    assert_eq!(call(Some(key.expose_secret()), None), refused("14", "-1"));

    let from_nowhere = http::Request::post("/").header("content-type", "application/grpc").body(()).unwrap();
    let answer = block_on(service.oneshot(from_nowhere)).unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"13".parse().unwrap()));
}

/// A refusal that was logged with the key that it is about.
#[cfg(feature = "tracing")]
#[test]
fn events_say_why_and_not_by_which_key() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let stranger = NewKey::new(PREFIX, "").issue(&Digester::plain(), &mut ChaCha20Rng::seed_from_u64(2)).unwrap().key;
    let service = setting.layer().layer(OnlyWhenReady::default());
    let send = |key: &ApiKey| {
        let mut request = http::Request::new(());
        request.headers_mut().insert("x-api-key", key.expose_secret().parse().unwrap());
        request.extensions_mut().insert(PeerAddr("192.0.2.77:1".parse().unwrap()));
        block_on(service.clone().oneshot(request)).unwrap().status()
    };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(
            [send(&key), send(&key), send(&key), send(&stranger)].map(|status| status.as_u16()),
            [200, 200, 429, 401]
        );
        setting.gate.keyring().store().down.store(true, Ordering::Relaxed);
        assert_eq!(send(&key), 503);
        assert_eq!(block_on(service.clone().oneshot(http::Request::new(()))).unwrap().status(), 500);
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let expected = [["DEBUG", "limited"], ["DEBUG", "invalid"], ["ERROR", "unavailable"], ["ERROR", "unidentified"]];
    for (line, [level, reason]) in lines.iter().zip(expected) {
        assert!(line.contains(level) && line.contains(reason), "{line}");
    }
    assert!(lines[3].contains("the server does not know the peer's address"), "{text}");
    for secret in [key.id().as_str(), stranger.id().as_str(), "tg_test", "192.0.2.77", "db-7"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// A service of which only the one that was polled is ready, as one with a limit of concurrency.
#[derive(Debug, Default)]
struct OnlyWhenReady(bool);

impl Clone for OnlyWhenReady {
    fn clone(&self) -> Self {
        Self(false)
    }
}

impl Service<http::Request<()>> for OnlyWhenReady {
    type Response = http::Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.0), "called without being ready");
        std::future::ready(Ok(http::Response::new(String::new())))
    }
}

/// Types that can be written down, and a service that is called when it is the one that is ready.
#[test]
fn the_service_that_is_ready_is_called() {
    struct Named {
        layer: ApiKeyLayer<Store>,
        service: ApiKeyService<OnlyWhenReady, Store>,
    }
    let setting = Setting::new();
    let key = setting.issue(1, |new| new);
    let layer = setting.layer();
    let mut named = Named { service: layer.layer(OnlyWhenReady::default()), layer };
    let mut request = http::Request::new(());
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", key.expose_secret()).parse().unwrap());
    request.extensions_mut().insert(PeerAddr("192.0.2.1:1".parse().unwrap()));

    let answer = block_on(async { named.service.ready().await?.call(request.clone()).await });
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    // A clone, and another service of the same layer, share what is left: one request.
    let clone = named.service.clone();
    assert_eq!(block_on(clone.oneshot(request.clone())).unwrap().status(), StatusCode::OK);
    let other = named.layer.layer(OnlyWhenReady::default());
    assert_eq!(block_on(other.oneshot(request)).unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
}

fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap());
    RUNTIME.block_on(future)
}
