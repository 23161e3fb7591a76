//! `examples/replay`, as its users meet it: options, input, results, exit status.
#![cfg(not(loom))]

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::SystemTime,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

const NAMES: [&str; 5] = ["fixed_window", "sliding_log", "sliding_window", "token_bucket", "leaky_bucket"];

/// What a run of the program came to.
#[derive(Debug)]
struct Run {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// The program, beside this test; `cargo test` has built it, and only if it was told to build this test alone, it is
/// built here.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test.ancestors().nth(2).expect("a test is in <target>/<profile>/deps");
        let program = profile.join("examples").join(format!("replay{}", std::env::consts::EXE_SUFFIX));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        if changed(&program) < changed(&root.join("examples/replay")).max(changed(&root.join("src"))) {
            let name = profile.file_name().expect("a profile has a name");
            let built = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--example", "replay", "--profile"])
                .arg(if name == "debug" { "dev".as_ref() } else { name })
                .arg("--target-dir")
                .arg(profile.parent().expect("a profile is in a target directory"))
                .current_dir(root)
                .status();
            assert!(built.expect("cargo runs").success(), "the example does not build");
        }
        program
    })
}

/// When a file, or the newest in a directory, was last changed; `None` if there is none.
fn changed(path: &Path) -> Option<SystemTime> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| changed(&entry.ok()?.path())).max(),
        Err(_) => path.metadata().ok()?.modified().ok(),
    }
}

/// Runs the program with `input` on standard input.
fn replay(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_vec();
    // A program that refuses its options does not read its input.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    let run = Run { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(!run.stderr.contains("panicked"), "{arguments:?}: {run:?}");
    run
}

/// The records of a run that succeeded, without the times.
fn records(run: &Run) -> Vec<Value> {
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let parse = |line: &str| -> Value { serde_json::from_str(line).expect("each line is JSON") };
    let mut records: Vec<Value> = run.stdout.lines().map(parse).collect();
    let names: Vec<_> = records.iter().map(|record| record["algorithm"].as_str().unwrap_or("?")).collect();
    assert_eq!(names, NAMES);
    for record in &mut records {
        let [admitted, refused, lines, malformed, worst, bound] =
            ["admitted", "refused", "lines", "malformed", "worst_window", "bound"]
                .map(|field| record[field].as_u64().unwrap_or_else(|| panic!("{field} is missing: {record}")));
        assert_eq!(admitted + refused + malformed, lines);
        assert!(worst <= bound, "{record}");
        let any = admitted + refused > 0;
        let share = admitted as f64 / (admitted + refused) as f64;
        assert_eq!(any, record["share"].as_f64().is_some_and(|told| (told - share).abs() < 1e-9), "{record}");
        let ns = record["ns_per_decision"].take().as_f64();
        assert_eq!(any, ns.is_some_and(|ns| ns > 0.0), "{record}");
    }
    records
}

fn json(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    records(&replay(&[arguments, &["--json"]].concat(), input))
}

/// The value of one field for each algorithm.
fn each<'a>(records: &'a [Value], field: &str) -> Vec<&'a Value> {
    records.iter().map(|record| &record[field]).collect()
}

/// One line of a log.
fn line(host: &str, second: u32) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!("{host} - - [10/Oct/2000:13:{minute:02}:{second:02} +0000] \"GET /{second}?q HTTP/1.1\" 200 17\n")
}

/// A log of a few clients over ten minutes, in no order.
fn shuffled(count: u64) -> String {
    let mut state = 1u64;
    let mut below = |end: u64| {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    (0..count).map(|_| line(&format!("192.0.2.{}", below(3)), below(600) as u32)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a Vec takes it all");
    encoder.finish().expect("a Vec takes it all")
}

/// A file in the directory that cargo keeps for tests.
fn file(name: &str, contents: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, contents).expect("the directory is there");
    path.to_str().expect("its name is UTF-8").to_owned()
}

#[test]
fn the_built_in_workload_tells_the_algorithms_apart() {
    let records = json(&[], b"");
    assert_eq!(each(&records, "admitted"), [1396, 1185, 1262, 1387, 1387]);
    assert_eq!(each(&records, "worst_window"), [200, 100, 149, 199, 199]);
    assert_eq!(each(&records, "bound"), [200, 100, 199, 199, 199]);
    assert_eq!(each(&records, "keys"), [5; 5]);
    assert!(records[3]["longest_delay_ns"] == 0 && records[4]["longest_delay_ns"].as_u64() > Some(0));
}

#[test]
fn the_table_is_for_people() {
    let run = replay(&[], b"");
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(run.stderr, "");
    for expected in NAMES.map(|name| name.replace('_', " ")).iter().map(String::as_str).chain(["1,396", "63.5 %"]) {
        assert!(run.stdout.contains(expected), "{expected}: {}", run.stdout);
    }
}

#[test]
fn any_small_quota_is_replayed() {
    for quota in [["1", "1ns"], ["1", "48d"], ["7", "13ms"], ["1000", "1h"]] {
        let [limit, window] = quota;
        json(&["--limit", limit, "--window", window], b"");
        json(&["--quota", limit, "--period", window, "--burst", "3"], b"");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let log = file("refused.log", line("::1", 0).as_bytes());
    let nowhere = file("not-a-directory", b"") + "/out.svg";
    let many: String = (0..600).map(|n| line(&format!("192.0.{}.{}", n / 256, n % 256), 0)).collect();
    let many = file("many.log", many.as_bytes());
    for (arguments, reason) in [
        (&["--limit", "0"][..], "--limit: 0 would refuse everything"),
        (&["--burst", "0"], "--burst: 0 would refuse everything"),
        (&["--window", "0s"], "--window: 0 has no rate"),
        (&["--window", "60"], "such as 500ms"),
        (&["--window", "-1s"], "-1"),
        (&["--window", "200000d"], "--window"),
        (&["--window", "40000d"], "built-in workload"),
        (&["--limit", "100001", "--window", "1h"], "built-in workload"),
        (&["--limit", "18446744073709551615"], "--limit: 18446744073709551615 is too large"),
        (&["--limit", "18446744073709551616"], "--limit"),
        (&["--burst", "18446744073709551615"], "--burst: 18446744073709551615 is too large"),
        (&[&log, "--limit", "1000000", "--window", "1s"], "use at most"),
        (&[&many, "--limit", "260000"], "GiB for 600 keys"),
        (&["--key", "path"], "<LOG>"),
        (&[&log, "--key", "colour"], "colour"),
        (&["no-such-file.log"], "no-such-file.log: "),
        (&["."], ".: "),
        (&["--plot", &nowhere], "out.svg: "),
        (&["--nonsense"], "--nonsense"),
    ] {
        let run = replay(arguments, b"");
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("error: ") && run.stderr.contains(reason), "{arguments:?}: {run:?}");
    }
}

#[test]
fn a_file_and_a_pipe_plain_and_gzip_are_one() {
    let log = shuffled(500);
    let from_pipe = json(&["-"], log.as_bytes());
    assert_eq!(each(&from_pipe, "lines"), [500; 5]);
    assert_eq!(json(&["-"], &gzip(log.as_bytes())), from_pipe);
    assert_eq!(json(&[&file("plain.log", log.as_bytes())], b""), from_pipe);
    // Told by its first bytes, whatever its name.
    assert_eq!(json(&[&file("compressed.log", &gzip(log.as_bytes()))], b""), from_pipe);
    let (front, back) = log.split_at(log.len() / 3);
    assert_eq!(json(&["-"], &[gzip(front.as_bytes()), gzip(back.as_bytes())].concat()), from_pipe);
}

#[test]
fn broken_gzip_is_refused() {
    let log = gzip(shuffled(500).as_bytes());
    for broken in [&log[..log.len() / 2], &log[..log.len() - 1], b"\x1f\x8b", b"\x1f\x8bgarbage, not gzip"] {
        let run = replay(&["-"], broken);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(run.stderr.starts_with("error: -: "), "{run:?}");
    }
}

#[test]
fn every_line_is_accounted_for() {
    let log = [
        line("192.0.2.1", 5).as_bytes(),
        b"\n",
        line("2001:db8::1", 7).replace('\n', "\r\n").as_bytes(),
        b"garbage\n",
        line("2001:DB8:0::1", 6).as_bytes(),
        line("client.example.net", 3).replace("Oct", "Foo").as_bytes(),
        line("client.example.net", 3).replace("10/Oct", "31/Feb").as_bytes(),
        b"\xff\xfe\x00\n",
        line("client.example.net", 8).replace("GET", "G\\\"ET").as_bytes(),
        "x".repeat(1 << 20).as_bytes(),
        b"\n",
        line("client.example.net", 4).trim_end().as_bytes(),
    ]
    .concat();
    let records = json(&["-"], &log);
    for (field, count) in [("lines", 11), ("malformed", 6), ("out_of_order", 2), ("keys", 3), ("admitted", 5)] {
        assert_eq!(each(&records, field), [count; 5], "{field}");
    }
    let table = replay(&["-"], &log).stdout;
    assert!(table.contains("lines 11, malformed 6, out of order 2"), "{table}");
}

#[test]
fn garbage_is_counted_and_said_to_be_none() {
    let noise: Vec<u8> = shuffled(2_000).bytes().map(|byte| byte.wrapping_mul(167) ^ 0x5a).collect();
    for garbage in [&b""[..], b"\0", b"\n\n\n", b"[10/Oct/2000:13:55:36 -0700]", &noise, &[b'"'; 300_000]] {
        let run = replay(&["-", "--json"], garbage);
        assert_eq!(each(&records(&run), "admitted"), [0; 5]);
        assert!(run.stderr.contains("no line of the log could be read"), "{run:?}");
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("garbage.svg");
        let run = replay(&["-", "--plot", picture.to_str().expect("its name is UTF-8")], garbage);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
    }
}

/// By each limiter's own time, which does not step back with the log's; see `worst_window.rs` of the example.
#[test]
fn no_order_of_the_lines_breaks_a_bound() {
    let log = shuffled(3_000);
    for quota in [["1", "1s"], ["3", "10s"], ["5", "7s"], ["10", "60s"], ["40", "5m"]] {
        let [limit, window] = quota;
        let arguments = ["-", "--limit", limit, "--window", window];
        let records = json(&arguments, log.as_bytes());
        for bucket in &records[3..] {
            assert!(bucket["worst_window_by_log"].as_u64() <= bucket["bound"].as_u64(), "{bucket}");
        }

        // In order, the two times are one.
        let sorted = json(&[&arguments[..], &["--sort"]].concat(), log.as_bytes());
        assert_eq!(each(&sorted, "worst_window"), each(&sorted, "worst_window_by_log"));
        let mut lines: Vec<_> = log.split_inclusive('\n').collect();
        lines.sort_by_key(|line| line.split_once('[').map(|(_, time)| &time[..20]));
        let by_hand = json(&arguments, lines.concat().as_bytes());
        assert_eq!(each(&sorted, "admitted"), each(&by_hand, "admitted"));
        assert_eq!(each(&by_hand, "out_of_order"), [0; 5]);
    }
}

#[test]
fn keys_are_what_is_asked_for() {
    let log: String = [line("192.0.2.1", 1), line("192.0.2.2", 1), line("192.0.3.1", 2), line("::1", 2)].concat();
    for (kind, keys) in [("address", 4), ("prefix", 3), ("path", 2)] {
        assert_eq!(each(&json(&["-", "--key", kind], log.as_bytes()), "keys"), [keys; 5], "{kind}");
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    for arguments in [&[][..], &["--json"]] {
        let mut child = Command::new(program())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("it is a pipe").read_to_string(&mut stderr).expect("it is UTF-8");
        assert_eq!((child.wait().expect("it ends").code(), stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn the_picture_in_the_docs_is_what_is_drawn() {
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay.svg");
    let run = replay(&["--plot", picture.to_str().expect("its name is UTF-8")], b"");
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let drawn = std::fs::read_to_string(picture).expect("it was drawn");
    assert!(drawn.starts_with("<svg") && NAMES.iter().all(|name| drawn.contains(&name.replace('_', " "))));
    match std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/replay.svg")) {
        Ok(kept) => assert!(kept == drawn, "draw it again: cargo run --example replay -- --plot docs/replay.svg"),
        Err(_) => println!("skipped: docs/replay.svg is not part of the package"),
    }
}

#[test]
fn a_real_log() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/apache_access.log");
    let Some(log) = path.to_str().filter(|_| path.exists()) else {
        return println!("skipped: there is no {}", path.display());
    };
    let records = json(&[log], b"");
    for (field, count) in [("lines", 10_000), ("malformed", 0), ("keys", 1_753)] {
        assert_eq!(each(&records, field), [count; 5], "{field}");
    }
    assert!(records.iter().all(|record| record["refused"].as_u64() > Some(1_000)));
    for arguments in [&["--sort"][..], &["--limit", "10", "--window", "60s"], &["--limit", "100", "--window", "1d"]] {
        json(&[&[log], arguments].concat(), b"");
    }
    for kind in ["prefix", "path"] {
        json(&[log, "--key", kind], b"");
    }
}
