//! Replays a web server's access log through all five algorithms at once, one limiter per client address.
//!
//! ```text
//! cargo run --release --example replay                                  # a built-in workload
//! cargo run --release --example replay -- access.log.gz --limit 10 --window 60s
//! zcat access.log.*.gz | cargo run --release --example replay -- - --key path --json
//! cargo run --release --example replay -- --plot docs/replay.svg
//! ```
//!
//! For each algorithm it tells how many requests pass and how many do not, the most that one client got in any window
//! beside the most that the algorithm promises, and what a decision takes. It exits with 1 if a promise is broken.
//!
//! The requests are decided in the order of the log, each at the time that its line gives, even if that is earlier than
//! the one before; with `--sort`, in the order of those times.

mod algorithms;
mod cli;
mod date;
mod input;
mod key;
mod log_line;
mod outcome;
mod plot;
mod progress;
mod report;
mod timeline;
mod trace;
mod workload;
mod worst_window;

use std::{error::Error, process::ExitCode};

use clap::Parser;

use crate::{
    algorithms::Algorithms, cli::Options, outcome::Outcome, report::Report, timeline::Timeline, trace::Trace,
    workload::Workload,
};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            report::note(format_args!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Whether all algorithms stayed within their bounds.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    // A quota that cannot be held is told before a long log is read.
    let algorithms = Algorithms::new(&options.quota())?;
    let (trace, timeline, workload) = match &options.log {
        Some(path) => {
            let trace = Trace::read(input::open(path)?, options.key, |keys| options.is_sorted(keys))?;
            let timeline = Timeline::of_log(&trace.requests);
            (trace, timeline, None)
        }
        None => {
            let workload = Workload::new(options.limit(), options.window)?;
            (workload.trace(), workload.timeline(), Some(workload))
        }
    };
    let capacity = options.capacity(trace.keys);
    algorithms.check_memory(capacity)?;
    let outcomes = algorithms.replay(&trace, capacity, &timeline);

    let report = Report { options, trace: &trace, outcomes: &outcomes, workload: workload.as_ref() };
    report.print()?;
    if let Some(path) = &options.plot {
        let picture = plot::svg(options, &trace, &outcomes, &timeline, workload.as_ref())?;
        std::fs::write(path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(outcomes.iter().all(Outcome::is_within_bound))
}
