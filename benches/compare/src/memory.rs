//! Memory per key: by how much the process grows while a million keys become known.
//!
//! A process per subject, since what one subject gives back would hide what the next one takes. The parent runs itself
//! with `--grow KIND SUBJECT`, and the child prints the number. Linux only: elsewhere there are no such cases.

use std::{fs, net::IpAddr, process::Command};

use crate::{
    cases::{Case, warm_up},
    keyed::{Table, makers},
    keys::Key,
    quota::Quota,
    report::{Figure, Unit},
};

const KEYS: u64 = 1_000_000;

pub fn cases() -> Vec<Case> {
    if resident().is_none() {
        return Vec::new();
    }
    vec![case::<u64>(), case::<String>(), case::<IpAddr>()]
}

fn case<K: Key>() -> Case {
    let measure = |_| {
        let grown = |name| -> Figure {
            let this = std::env::current_exe().expect("the path of this program");
            let child = Command::new(this).args(["--grow", K::KIND, name]).output().expect("a child");
            let text = String::from_utf8_lossy(&child.stdout);
            let bytes: f64 = text.trim().parse().expect("the child prints a number");
            Figure { name, values: vec![bytes / KEYS as f64], over_admitted: None }
        };
        // What is in brackets changes no memory.
        makers::<K>().iter().filter(|maker| !maker.name.contains('(')).map(|maker| grown(maker.name)).collect()
    };
    Case {
        name: format!("memory/1m/{}", K::KIND),
        threads: 1,
        unit: Unit::BytesPerKey,
        measure: Box::new(measure),
        keys: KEYS,
    }
}

/// The child's part: the bytes by which it has grown for `subject` with keys of `kind`.
pub fn grow(kind: &str, subject: &str) -> Option<u64> {
    fn with<K: Key>(subject: &str) -> Option<u64> {
        let maker = makers::<K>().into_iter().find(|maker| maker.name == subject)?;
        let before = resident()?;
        let subject = (maker.make)(Table { keys: KEYS, bounded: false, quota: Quota::AMPLE });
        warm_up(&*subject, KEYS);
        Some(resident()? - before)
    }
    match kind {
        u64::KIND => with::<u64>(subject),
        String::KIND => with::<String>(subject),
        IpAddr::KIND => with::<IpAddr>(subject),
        _ => None,
    }
}

/// The resident memory of this process, in bytes.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
