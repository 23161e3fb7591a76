//! A statistical test of the same: are stored digests that differ in the first byte told apart by time from those that
//! differ in the last? A report, not a gate: |t| above 5 means that they are.
//!
//! The comparison is lost in the noise of the hash before it, so what is timed is many of them.

#[path = "../src/subject.rs"]
mod subject;

use std::hint;

use dudect_bencher::{
    BenchRng, Class, CtRunner,
    ctbench::{BenchMetadata, BenchName, BenchOpts, run_benches_console},
    rand::RngExt,
};
use subject::{PRESENTED, Subject};

fn first_or_last(name: &str, runner: &mut CtRunner, generator: &mut BenchRng) {
    let subject = Subject::new(name);
    let (first, last) = (subject.differing_at(0), subject.differing_at(31));
    for _ in 0..20_000 {
        let (class, stored) = if generator.random() { (Class::Left, &first) } else { (Class::Right, &last) };
        runner.run_one(class, || {
            for _ in 0..16 {
                hint::black_box(subject.matches(hint::black_box(PRESENTED), hint::black_box(stored)));
            }
        });
    }
}

fn sha256(runner: &mut CtRunner, generator: &mut BenchRng) {
    first_or_last("sha256", runner, generator);
}

fn hmac_sha256(runner: &mut CtRunner, generator: &mut BenchRng) {
    first_or_last("hmac-sha256", runner, generator);
}

/// The control: it has to show.
fn leaky_early_exit(runner: &mut CtRunner, generator: &mut BenchRng) {
    first_or_last("leaky: early exit", runner, generator);
}

/// By hand, as the crate's own macro does not know the argument that cargo gives to a benchmark.
fn main() -> std::io::Result<()> {
    let bench = |name, benchfn| BenchMetadata { name: BenchName(name), seed: None, benchfn };
    let benches =
        vec![bench("sha256", sha256), bench("hmac_sha256", hmac_sha256), bench("leaky_early_exit", leaky_early_exit)];
    run_benches_console(BenchOpts::default(), benches)
}
