//! `examples/service`, as a process: what its README tells, and what survives when it is killed.

mod raw;

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
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
        build.args(["--features", "axum,metrics"]);
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
    fn start(folder: &Folder, flush_seconds: u32) -> Self {
        let mut process = Command::new(program())
            .env("TOLLGATE_PEPPER", "32 bytes of randomness for tests")
            .env("TOLLGATE_DATABASE", folder.0.join("service.sqlite"))
            .env("TOLLGATE_LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_FLUSH_SECONDS", flush_seconds.to_string())
            .env("TOLLGATE_ADDRESS_LIMIT", "100000")
            .env("TOLLGATE_SERVICE_LIMIT", "100000")
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
