//! `examples/service`, as a process: what its README tells, and what survives when it is killed.

mod raw;

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use raw::{Request, Response};
use serde_json::{Value, json};

const ADMIN: &str = "the first key, which is shown this once: ";
const LISTENING: &str = "listening on http://";

/// The program, built as this test was.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "tollgate-tower", "--example", "service"]);
        // Those of this test, so that little is built twice.
        build.args(["--features", if cfg!(feature = "tracing") { "axum,metrics,tracing" } else { "axum,metrics" }]);
        // target/debug/deps/service-0123456789abcdef
        let test = env::current_exe().expect("a test is a file");
        let profile = test.parent().and_then(Path::parent).expect("in the folder of its profile");
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo is there").success(), "the service can be built");
        profile.join("examples").join("service")
    })
}

/// A folder for the database of a test, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("tollgate-service-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is room for a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running service.
struct Service {
    process: Child,
    out: BufReader<ChildStdout>,
    address: SocketAddr,
    /// The key that it has printed, if it has.
    admin: Option<String>,
}

impl Service {
    /// With limits of an address and of the service that no test reaches.
    fn start(folder: &Folder, flush_seconds: u32) -> Self {
        Self::limited(folder, flush_seconds, 100_000, 100_000)
    }

    fn limited(folder: &Folder, flush_seconds: u32, address_limit: u32, service_limit: u32) -> Self {
        let mut process = Self::command(folder)
            .env("TOLLGATE_FLUSH_SECONDS", flush_seconds.to_string())
            .env("TOLLGATE_ADDRESS_LIMIT", address_limit.to_string())
            .env("TOLLGATE_SERVICE_LIMIT", service_limit.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut out = BufReader::new(process.stdout.take().expect("it is piped"));
        let (mut line, mut admin) = (String::new(), None);
        let address = loop {
            line.clear();
            assert_ne!(out.read_line(&mut line).expect("it prints lines"), 0, "it stopped before it listened");
            if let Some(key) = line.trim_end().strip_prefix(ADMIN) {
                admin = Some(key.to_owned());
            }
            if let Some(address) = line.trim_end().strip_prefix(LISTENING) {
                break address.parse().expect("an address");
            }
        };
        Self { process, out, address, admin }
    }

    fn command(folder: &Folder) -> Command {
        let mut command = Command::new(program());
        command
            .env("TOLLGATE_PEPPER", "32 bytes of randomness for tests")
            .env("TOLLGATE_DATABASE", folder.0.join("service.sqlite"))
            .env("TOLLGATE_LISTEN", "127.0.0.1:0");
        command
    }

    /// SIGKILL: it learns nothing of it.
    fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
    }

    /// SIGTERM: it ends by itself, and says so.
    fn terminate(mut self) -> String {
        let killed = Command::new("kill").arg(self.process.id().to_string()).status().expect("there is a `kill`");
        assert!(killed.success());
        let mut rest = String::new();
        while self.out.read_line(&mut rest).expect("it prints lines") > 0 {}
        assert!(self.process.wait().expect("it has ended").success());
        rest
    }

    fn send(&self, request: &Request) -> Response {
        request.send(self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn issue(service: &Service, admin: &str, asked: &Value) -> Response {
    service.send(&Request::new("POST", "/admin/keys").key(admin).json(&asked.to_string()))
}

fn issued(service: &Service, admin: &str, asked: &Value) -> (String, String) {
    let response = issue(service, admin, asked);
    assert_eq!(response.status, 201, "{response:?}");
    (text(&response.json()["id"]), text(&response.json()["key"]))
}

fn items(service: &Service, key: &str) -> Response {
    service.send(&Request::get("/items/").key(key))
}

/// What the README tells: issue, call until it refuses, move to another tier, rotate, revoke.
#[test]
fn the_story() {
    let folder = Folder::new("story");
    let service = Service::start(&folder, 1);
    let admin = service.admin.clone().expect("the first start prints a key");

    let missing = service.send(&Request::get("/items/"));
    assert_eq!((missing.status, missing.header("www-authenticate")), (400, Some("Bearer")));
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
    let wrong = items(&service, "tg_demo_1234");
    assert_eq!(wrong.status, 401);
    assert!(wrong.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));

    let (id, key) = issued(&service, &admin, &json!({ "owner": "acme", "scopes": "items:read" }));
    assert_eq!(items(&service, &key).status, 200);
    assert_eq!(service.send(&Request::get("/items/").header("authorization", format!("Bearer {key}"))).status, 200);
    let refused = items(&service, &key);
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").expect("when to come back").parse().expect("seconds");
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(refused.json()["status"], 429);

    // It may not do anything else.
    assert_eq!(service.send(&Request::get("/admin/keys").key(&key)).status, 403);
    assert_eq!(service.send(&Request::new("POST", "/reports").key(&key)).status, 403);

    // The premium tier has 20; two of them are used.
    let tier = Request::new("PUT", &format!("/admin/keys/{id}/tier")).key(&admin);
    let changed = service.send(&tier.clone().json(r#"{"tier":"premium"}"#));
    assert_eq!((changed.status, &changed.json()["tier"]), (200, &json!("premium")));
    assert_eq!(service.send(&tier.clone().json(r#"{"tier":"gold"}"#)).status, 422);
    assert_eq!(items(&service, &key).status, 200);

    let rotate = Request::new("POST", &format!("/admin/keys/{id}/rotate")).key(&admin).json("{}");
    let rotated = service.send(&rotate);
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let (next_id, next) = (text(&rotated.json()["id"]), text(&rotated.json()["key"]));
    assert_eq!(rotated.json()["family"], json!(id));
    assert_eq!(items(&service, &key).status, 401);
    assert_eq!(items(&service, &next).status, 200);
    assert_eq!(service.send(&rotate).status, 409);
    assert_eq!(service.send(&tier.json(r#"{"tier":"basic"}"#)).status, 409, "the family goes by its newest key");

    let revoke = Request::new("POST", &format!("/admin/keys/{next_id}/revoke")).key(&admin);
    assert_eq!(service.send(&revoke).status, 204);
    assert_eq!(items(&service, &next).status, 401);

    // Written at the end at the latest, which comes here.
    let said = service.terminate();
    assert!(said.contains("usage is written"), "{said}");
    let service = Service::start(&folder, 1);
    assert_eq!(service.admin, None, "the first key is printed once");
    let usage = service.send(&Request::get(&format!("/admin/keys/{id}/usage")).key(&admin));
    // By the first key: three passed, one was limited; two lacked a scope, and one came after the rotation.
    let day = &usage.json()[0];
    assert_eq!([&day["allowed"], &day["limited"], &day["refused"]], [&json!(3), &json!(1), &json!(3)], "{usage:?}");
    assert_eq!(items(&service, &key).status, 401);
    assert_eq!(items(&service, &next).status, 401);
}

/// An administrator with few scopes that issues, or rotates and is shown, a key with more.
#[test]
fn nobody_makes_a_key_that_can_do_more_than_theirs() {
    let folder = Folder::new("stronger");
    let service = Service::start(&folder, 60);
    let admin = service.admin.clone().expect("the first start prints a key");
    let (_, clerk) =
        issued(&service, &admin, &json!({ "owner": "clerk", "tier": "premium", "scopes": "admin:keys items:read" }));
    let (strong, _) = issued(&service, &admin, &json!({ "owner": "acme", "scopes": "reports:write" }));

    assert_eq!(issue(&service, &clerk, &json!({ "owner": "clerk", "scopes": "*" })).status, 403);
    let rotate = Request::new("POST", &format!("/admin/keys/{strong}/rotate")).key(&clerk).json("{}");
    assert_eq!(service.send(&rotate).status, 403);
    assert_eq!(issue(&service, &clerk, &json!({ "owner": "acme", "scopes": "items:read" })).status, 201);
}

/// A service in which nobody can ever issue a key again.
#[test]
fn there_is_always_somebody_who_can_issue_keys() {
    let folder = Folder::new("nobody");
    let seeded = Service::command(&folder).args(["seed", "2"]).output().expect("it can be run");
    assert!(seeded.status.success());
    let service = Service::start(&folder, 60);
    let first = service.admin.clone().expect("keys without the scope are no administrators");
    let revoke = Request::new("POST", &format!("/admin/keys/{}/revoke", &first["tg_demo_".len()..][..16])).key(&first);
    assert_eq!(service.send(&revoke).status, 204);
    service.terminate();

    let service = Service::start(&folder, 60);
    let second = service.admin.clone().expect("the last administrator was revoked");
    let short = json!({ "owner": "temp", "scopes": "admin:*", "expires_in_seconds": 3600 });
    assert_eq!(issue(&service, &first, &short).status, 401);
    assert_eq!(issue(&service, &second, &short).status, 201);
    service.terminate();
    assert_eq!(Service::start(&folder, 60).admin, None);
}

/// A key that lives for ever as its expiry was misspelt, or an owner that fills the memory.
#[test]
fn what_is_asked_for_is_taken_whole_or_refused() {
    let folder = Folder::new("asked");
    let service = Service::start(&folder, 60);
    let admin = service.admin.clone().expect("the first start prints a key");
    for (asked, status) in [
        (json!({ "owner": "acme", "expires_in": 60 }), 422),
        (json!({ "owner": "acme", "expires_in_seconds": -1 }), 422),
        (json!({ "owner": "acme", "expires_in_seconds": 0 }), 422),
        (json!({ "owner": "" }), 422),
        (json!({ "owner": "x".repeat(201) }), 422),
        (json!({ "owner": "acme", "scopes": "items:*:x" }), 422),
        (json!({ "owner": "x".repeat(3_000_000) }), 413),
    ] {
        let refused = issue(&service, &admin, &asked);
        assert_eq!((refused.status, &refused.json()["status"]), (status, &json!(status)), "{refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    let post = |path: &str| Request::new("POST", path).key(&admin);
    assert_eq!(service.send(&post("/admin/keys").header("content-length", "0")).status, 415);
    let listed = |query: &str| service.send(&Request::get(&format!("/admin/keys{query}")).key(&admin));
    assert_eq!(listed("?affter=x").status, 400);
    let all = listed("?after=%27%3B%20DROP%20TABLE%20keys%20--").json();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "nothing was issued, and nothing dropped: {all}");

    let issued = issue(&service, &admin, &json!({ "owner": "acme" }));
    // It is shown to one, and not to a cache.
    assert_eq!((issued.status, issued.header("cache-control")), (201, Some("no-store")));
    for nobody in ["0000000000000000", "x", "%ff"] {
        let usage = service.send(&Request::get(&format!("/admin/keys/{nobody}/usage")).key(&admin));
        let revoked = service.send(&post(&format!("/admin/keys/{nobody}/revoke")));
        assert!([404, 400].contains(&usage.status) && usage.status == revoked.status, "{usage:?} {revoked:?}");
    }
}

/// Two processes of one database would not see each other's revocations.
#[test]
fn a_database_is_of_one_process() {
    let folder = Folder::new("one");
    let service = Service::start(&folder, 60);
    let second = Service::command(&folder).stderr(Stdio::piped()).output().expect("it can be run");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("database is locked"), "{said}");
    assert_eq!(String::from_utf8_lossy(&second.stdout), "");
    service.terminate();
}

/// By another pepper every key would be invalid, and nobody would be told why.
#[test]
fn another_pepper_is_refused() {
    let folder = Folder::new("pepper");
    Service::start(&folder, 60).terminate();
    let mut command = Service::command(&folder);
    let ended = command.env("TOLLGATE_PEPPER", "32 other bytes, of the same size").stderr(Stdio::piped()).output();
    let ended = ended.expect("it can be run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("not the one that the database was begun with"), "{said}");
    Service::start(&folder, 60).terminate();
}

#[test]
fn what_is_wrong_with_the_environment_is_said() {
    let folder = Folder::new("environment");
    for (name, value, expected) in [
        ("TOLLGATE_PEPPER", "short", "TOLLGATE_PEPPER: pepper: 5 bytes can be guessed"),
        ("TOLLGATE_DATABASE", "/", "/: unable to open database file"),
        ("TOLLGATE_LISTEN", "here", "TOLLGATE_LISTEN: \"here\": invalid socket address"),
        ("TOLLGATE_ADDRESS_LIMIT", "0", "TOLLGATE_ADDRESS_LIMIT: limit"),
        ("TOLLGATE_SERVICE_LIMIT", "0", "TOLLGATE_SERVICE_LIMIT: limit"),
        ("TOLLGATE_KEYS", "18446744073709551615", "TOLLGATE_KEYS: 18446744073709551615; use 1 to"),
    ] {
        let ended = Service::command(&folder).env(name, value).stderr(Stdio::piped()).output().expect("it can be run");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.starts_with("service: "), "{said}");
        assert!(said.contains(expected), "{name}={value}: {said}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), "", "a key that is shown before anybody is served");
    }
}

/// The day's quota is counted in memory: what was used before a restart must not be given again.
#[test]
fn a_restart_gives_no_second_day() {
    let folder = Folder::new("day");
    let service = Service::start(&folder, 60);
    let admin = service.admin.clone().expect("the first start prints a key");
    let (id, key) = issued(&service, &admin, &json!({ "owner": "acme", "scopes": "items:read" }));
    assert_eq!(items(&service, &key).status, 200);
    service.terminate();
    // As if it had used all but one of the 1,000 of its tier.
    let sql = format!("UPDATE usage SET allowed = 999 WHERE id = '{id}'");
    let connection = rusqlite::Connection::open(folder.0.join("service.sqlite")).expect("the file is there");
    assert_eq!(connection.execute(&sql, ()).expect("nobody else has it"), 1);
    drop(connection);

    let service = Service::start(&folder, 60);
    assert_eq!(items(&service, &key).status, 200);
    let refused = items(&service, &key);
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").expect("midnight").parse().expect("seconds");
    assert!(wait <= 86_400, "{wait}");
}

/// A rotation that has lost a race leaves a revoked key of the tier at that time, which is the family's no more.
#[test]
fn a_restart_goes_by_the_tier_of_the_key_that_is_used() {
    let folder = Folder::new("orphan");
    let service = Service::start(&folder, 60);
    let admin = service.admin.clone().expect("the first start prints a key");
    let asked = json!({ "owner": "acme", "scopes": "items:read", "tier": "premium" });
    let (id, key) = issued(&service, &admin, &asked);
    assert_eq!(items(&service, &key).status, 200);
    service.terminate();
    let connection = rusqlite::Connection::open(folder.0.join("service.sqlite")).expect("the file is there");
    for orphan in ["0000000000000000", "zzzzzzzzzzzzzzzz"] {
        let copy = format!(
            "INSERT INTO keys SELECT '{orphan}', prefix, scheme, digest, owner, family, 'basic', scopes, 'revoked',
                                     not_before, expires_at, retires_at, version FROM keys WHERE id = '{id}'"
        );
        assert_eq!(connection.execute(&copy, ()).expect("nobody else has it"), 1);
    }
    let used = format!("UPDATE usage SET allowed = 5000 WHERE id = '{id}'");
    assert_eq!(connection.execute(&used, ()).expect("nobody else has it"), 1);
    drop(connection);

    let service = Service::start(&folder, 60);
    assert_eq!(items(&service, &key).status, 200, "a premium key has 100,000 a day, and not 1,000");
}

/// A limit that hangs on the key would be had again with each key.
#[test]
fn reports_are_limited_by_owner() {
    let folder = Folder::new("reports");
    let service = Service::start(&folder, 60);
    let admin = service.admin.clone().expect("the first start prints a key");
    let key = |owner| issued(&service, &admin, &json!({ "owner": owner, "scopes": "reports:write" })).1;
    let report = |key: &str| service.send(&Request::new("POST", "/reports").key(key));

    assert_eq!(report(&key("acme")).status, 201);
    let refused = report(&key("acme"));
    assert_eq!((refused.status, &refused.json()["violated-policies"]), (429, &json!(["reports"])));
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert_eq!(report(&key("initech")).status, 201);
}

/// Tight limits: of the whole service, where a part is left to what is critical, and of an address, keys or not.
#[test]
fn limits_of_all_together_and_of_an_address() {
    let folder = Folder::new("limits");
    let service = Service::limited(&folder, 60, 1_000, 20);
    let admin = service.admin.clone().expect("the first start prints a key");
    let alert = || service.send(&Request::new("POST", "/alerts").key(&admin)).status;
    let refused = (0..1_000).map(|_| items(&service, &admin)).find(|answer| answer.status != 200);
    let refused = refused.expect("there is a limit");
    assert_eq!((refused.status, &refused.json()["violated-policies"]), (429, &json!(["service"])));
    assert_eq!([alert(), alert()], [202, 202]);
    service.terminate();

    let service = Service::limited(&folder, 60, 5, 1_000);
    let refused = (0..1_000).map(|_| service.send(&Request::get("/"))).find(|answer| answer.status != 404);
    let refused = refused.expect("there is a limit");
    assert_eq!((refused.status, &refused.json()["violated-policies"]), (429, &json!(["address"])));
}

#[test]
fn metrics_say_what_was_refused_and_not_to_whom() {
    let folder = Folder::new("metrics");
    let service = Service::start(&folder, 60);
    let admin = service.admin.clone().expect("the first start prints a key");
    let (_, key) = issued(&service, &admin, &json!({ "owner": "acme", "scopes": "items:read" }));
    assert_eq!([items(&service, &key).status, items(&service, "tg_demo_1").status], [200, 401]);
    let answer = service.send(&Request::get("/metrics"));
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    for line in
        ["tollgate_keys_allowed_total 2", r#"tollgate_keys_refused_total{reason="malformed"} 1"#, "service_keys 2"]
    {
        assert!(answer.body.lines().any(|said| said == line), "{line} is not in {}", answer.body);
    }
    assert!(!answer.body.contains("acme") && !answer.body.contains("tg_demo"), "{}", answer.body);
}

/// What the threads of [`kill_nine`] have seen of one life of the service.
struct Seen {
    /// The keys that were shown to somebody, and whether they are revoked: `None` if that was asked for, and not answered.
    keys: Vec<(String, Option<bool>)>,
    /// When requests of one key were answered that they pass.
    passed: Vec<Instant>,
}

/// Issues keys, and revokes every other one, until nobody answers.
fn issue_and_revoke(address: SocketAddr, admin: &str) -> Vec<(String, Option<bool>)> {
    let asked = json!({ "owner": "acme", "scopes": "items:read" }).to_string();
    let issue = Request::new("POST", "/admin/keys").key(admin).json(&asked);
    let mut keys = Vec::new();
    while let Some(answer) = issue.try_send(address) {
        assert_eq!(answer.status, 201, "{answer:?}");
        let (id, key) = (text(&answer.json()["id"]), text(&answer.json()["key"]));
        if keys.len() % 2 == 0 {
            keys.push((key, Some(false)));
            continue;
        }
        let revoke = Request::new("POST", &format!("/admin/keys/{id}/revoke")).key(admin).try_send(address);
        keys.push((key, revoke.map(|answer| answer.status == 204)));
    }
    keys
}

/// Uses a key until nobody answers; when it was let through.
fn use_up(address: SocketAddr, key: &str) -> Vec<Instant> {
    let request = Request::get("/items/").key(key);
    let mut passed = Vec::new();
    while let Some(answer) = request.try_send(address) {
        if answer.status == 200 {
            passed.push(Instant::now());
        }
        thread::sleep(Duration::from_millis(20));
    }
    passed
}

/// Killed while keys are issued, used and revoked: what was answered holds, and usage is lost since the last flush at most.
#[test]
fn kill_nine() {
    const LIVES: u64 = 3;
    // Every second, and within another it is written.
    const FLUSHED: Duration = Duration::from_secs(2);
    let folder = Folder::new("kill");
    let mut service = Service::start(&folder, 1);
    let admin = service.admin.clone().expect("the first start prints a key");
    let new = json!({ "owner": "user", "tier": "premium", "scopes": "items:read" });
    let (used_id, used) = issued(&service, &admin, &new);

    let mut keys = Vec::new();
    let (mut surely_written, mut passed) = (0, 0);
    for life in 0..LIVES {
        let address = service.address;
        let (seen, killed) = thread::scope(|scope| {
            let changes = scope.spawn(|| issue_and_revoke(address, &admin));
            let uses = scope.spawn(|| use_up(address, &used));
            // Not always at the same time after a flush.
            thread::sleep(Duration::from_millis(3_500 + 137 * life));
            let killed = Instant::now();
            service.kill();
            let (keys, passed) = (changes.join().expect("no panic"), uses.join().expect("no panic"));
            (Seen { keys, passed }, killed)
        });
        assert!(seen.keys.len() > 10, "hardly a key was issued: {}", seen.keys.len());
        surely_written += seen.passed.iter().filter(|&&at| at + FLUSHED < killed).count() as u64;
        // One more may have been under way when it was killed.
        passed += seen.passed.len() as u64 + 1;
        keys.extend(seen.keys);
        service = Service::start(&folder, 1);
        assert_eq!(service.admin, None);
    }

    for (key, revoked) in &keys {
        let status = items(&service, key).status;
        match revoked {
            Some(true) => assert_eq!(status, 401, "a revoked key lives"),
            Some(false) => assert_eq!(status, 200, "an issued key is lost"),
            None => assert!(status == 200 || status == 401, "{status}"),
        }
    }
    assert!(surely_written > 0, "no use was followed by a flush");
    let usage = service.send(&Request::get(&format!("/admin/keys/{used_id}/usage")).key(&admin)).json();
    let days = usage.as_array().expect("a list");
    let written: u64 = days.iter().map(|day| day["allowed"].as_u64().expect("a number")).sum();
    assert!((surely_written..=passed).contains(&written), "{surely_written} <= {written} <= {passed}");
}
