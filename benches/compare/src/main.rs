//! tollgate beside its peers; `README.md` says how to run it, how to read it and how to add a subject or a case.

mod cases;
mod clocks;
mod direct;
mod keyed;
mod keys;
mod memory;
mod quota;
mod report;
mod rounds;
mod subject;

use rounds::Effort;

const USAGE: &str = "usage: compare [--quick] [--json] [--list] [--case PREFIX]...";

fn main() {
    let (mut effort, mut json, mut list, mut prefixes) = (Effort::FULL, false, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => effort = Effort::QUICK,
            "--json" => json = true,
            "--list" => list = true,
            "--grow" => return grow(arguments.next(), arguments.next()),
            "--case" => prefixes.push(arguments.next().unwrap_or_else(|| usage())),
            _ => usage(),
        }
    }
    let mut cases = cases::all();
    cases.retain(|case| prefixes.is_empty() || prefixes.iter().any(|prefix| case.name.starts_with(prefix)));
    if list {
        return cases.iter().for_each(|case| println!("{}", case.name));
    }
    if !json {
        report::print_head();
    }
    for case in cases.iter().filter(|case| case.keys <= effort.most_keys) {
        let figures = (case.measure)(effort);
        if json { report::print_json(case, &figures) } else { report::print_rows(case, &figures) }
    }
}

/// What `memory.rs` runs in a process of its own.
fn grow(kind: Option<String>, subject: Option<String>) {
    match kind.zip(subject).and_then(|(kind, subject)| memory::grow(&kind, &subject)) {
        Some(bytes) => println!("{bytes}"),
        None => usage(),
    }
}

fn usage() -> ! {
    eprintln!("{USAGE}");
    std::process::exit(2);
}
