//! Two proofs that the comparison of a key does not depend on the digest that is stored, by running this program under
//! valgrind, and a control for each: a comparison that leaks, which has to be caught.
//!
//! - *No branch, no index.* Its memory checker is told that the stored digest is undefined. It then reports every branch and
//!   every address that depends on it.
//! - *The same number of instructions*, whether the first byte of the digest differs, the last, or none.
//!
//! Without arguments, it runs itself under valgrind in all these ways and says what came of it. Where there is no valgrind,
//! it says that it was skipped.

mod client;
mod subject;

use std::{
    env, hint,
    process::{Command, ExitCode},
};

use subject::{PRESENTED, Subject};

/// Both schemes, and two comparisons that leak: that of slices, and one that stops at the first difference.
const ALL: &[&str] = &["sha256", "hmac-sha256", "leaky: slices", "leaky: early exit"];
const LEAKY: &[&str] = &["leaky: slices", "leaky: early exit"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => prove(),
        ["undefined", subject] => undefined(subject),
        ["count", subject, differs] => count(subject, differs),
        _ => {
            eprintln!("usage: tollgate-constant-time");
            ExitCode::FAILURE
        }
    }
}

/// Under the memory checker: compares with a digest that is marked undefined.
fn undefined(subject: &str) -> ExitCode {
    let subject = Subject::new(subject);
    let stored = hint::black_box(subject.stored());
    client::make_undefined(stored.as_bytes());
    let mut equal = subject.matches(PRESENTED, &stored);
    // What comes out is what everybody may know.
    client::make_defined(std::slice::from_mut(&mut equal));
    println!("{equal}");
    ExitCode::SUCCESS
}

/// Under the instruction counter: compares with a digest that differs in one byte, or in none.
fn count(subject: &str, differs: &str) -> ExitCode {
    let subject = Subject::new(subject);
    let stored = match differs {
        "first" => subject.differing_at(0),
        "last" => subject.differing_at(31),
        _ => subject.stored(),
    };
    let equal = subject.matches(hint::black_box(PRESENTED), hint::black_box(&stored));
    println!("{equal}");
    ExitCode::SUCCESS
}

fn valgrind(options: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let program = env::current_exe().expect("a program knows where it is");
    let output = Command::new("valgrind").args(options).arg(program).args(arguments).output();
    let output = output.expect("valgrind was found before");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The instructions within the function that is measured, everything that it calls included.
fn instructions(subject: &str, differs: &str) -> u64 {
    const OPTIONS: &[&str] = &["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=measured"];
    let (code, report) = valgrind(OPTIONS, &["count", subject, differs]);
    assert_eq!(code, Some(0), "{report}");
    let collected = report.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind reports a count");
    collected.1.trim().parse().expect("a count is a number")
}

fn prove() -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: there is no valgrind");
        return ExitCode::SUCCESS;
    }
    let mut proved = true;
    let mut expect = |what: &str, holds: bool, seen: String| {
        println!("{} {what}: {seen}", if holds { "ok     " } else { "FAILED " });
        proved &= holds;
    };
    for subject in ALL {
        // 9 if anything was reported, and nothing else but what depends on the digest can be.
        let (code, report) = valgrind(&["-q", "--error-exitcode=9"], &["undefined", subject]);
        let depends = report.matches("depends on uninitialised value").count();
        let caught = code == Some(9) && depends > 0;
        let holds = if LEAKY.contains(subject) { caught } else { code == Some(0) && depends == 0 };
        expect(subject, holds, format!("{depends} branches or addresses depend on the digest"));

        let counts = ["first", "last", "none"].map(|differs| instructions(subject, differs));
        let same = counts.iter().all(|&count| count == counts[0] && count > 100);
        let [first, last, none] = counts;
        let seen = format!("{first} instructions if the first byte differs, {last} if the last, {none} if none");
        expect(subject, same != LEAKY.contains(subject), seen);
    }
    if proved { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
