//! The results, as a table or as JSON.

use std::{
    fmt::{Display, Write as _},
    io::{self, Write as _},
};

use serde::Serialize;

use crate::{
    cli::Options,
    outcome::Outcome,
    trace::Trace,
    workload::{CLIENTS, Workload},
};

/// All that there is to tell.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) trace: &'a Trace,
    pub(crate) outcomes: &'a [Outcome],
    pub(crate) workload: Option<&'a Workload>,
}

/// One line of JSON.
#[derive(Serialize)]
struct Record {
    algorithm: &'static str,
    limit: u64,
    period_ns: u64,
    /// Of the buckets only.
    burst: Option<u64>,
    admitted: u64,
    refused: u64,
    share: Option<f64>,
    worst_window: u64,
    bound: u64,
    worst_window_by_log: u64,
    longest_delay_ns: u64,
    ns_per_decision: Option<f64>,
    keys: usize,
    taken_over: u64,
    overflowed: u64,
    lines: u64,
    malformed: u64,
    out_of_order: u64,
}

/// Tells the user on standard error; if nobody listens there, nobody is told.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

impl Report<'_> {
    /// Writes the results to standard output, and what is odd about them to standard error.
    pub(crate) fn print(&self) -> Result<(), String> {
        let text = if self.options.json { self.json() } else { self.table() };
        match io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever read has read enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(format!("standard output: {error}")),
            Ok(()) => {}
        }
        self.notes();
        Ok(())
    }

    fn json(&self) -> String {
        let mut text = String::new();
        for outcome in self.outcomes {
            let record = self.record(outcome);
            // A record of numbers and a name has nothing that JSON cannot say.
            text += &serde_json::to_string(&record).unwrap_or_default();
            text += "\n";
        }
        text
    }

    fn record(&self, outcome: &Outcome) -> Record {
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Record {
            algorithm: outcome.name,
            limit: self.options.limit(),
            period_ns: nanos(self.options.window),
            burst: outcome.name.ends_with("bucket").then(|| self.options.burst()),
            admitted: outcome.admitted,
            refused: outcome.refused,
            share: outcome.share(),
            worst_window: outcome.worst_window,
            bound: outcome.bound,
            worst_window_by_log: outcome.worst_window_by_log,
            longest_delay_ns: nanos(outcome.longest_delay),
            ns_per_decision: outcome.ns_per_decision,
            keys: self.trace.keys,
            taken_over: outcome.stats.taken_over,
            overflowed: outcome.stats.overflowed,
            lines: self.trace.lines,
            malformed: self.trace.malformed,
            out_of_order: self.trace.out_of_order,
        }
    }

    fn table(&self) -> String {
        let heading = ["", "admitted", "refused", "share", "worst window", "bound", "longest delay", "ns/decision"];
        let mut rows = vec![heading.map(String::from).to_vec()];
        for outcome in self.outcomes {
            let decimal = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
            rows.push(vec![
                title(outcome),
                grouped(outcome.admitted),
                grouped(outcome.refused),
                outcome.share().map_or("-".into(), percent),
                grouped(outcome.worst_window),
                grouped(outcome.bound),
                if outcome.longest_delay.is_zero() { "-".into() } else { format!("{:.1?}", outcome.longest_delay) },
                decimal(outcome.ns_per_decision),
            ]);
        }
        let mut text = self.heading();
        text += &aligned(&rows);
        if self.workload.is_some() {
            text += "\nadmitted of each client's requests:\n\n";
            text += &self.clients();
        }
        text
    }

    /// What was replayed, and by what quota.
    fn heading(&self) -> String {
        let Self { options, trace, .. } = self;
        let requests = grouped(trace.requests.len() as u64);
        let keys = grouped(trace.keys as u64);
        let source = match &options.log {
            None => format!("built-in workload: requests {requests}, clients {keys}"),
            Some(path) => format!(
                "{}: requests {requests}, {} {keys}, lines {}, malformed {}, out of order {}{}",
                path.display(),
                options.key.plural(),
                grouped(trace.lines),
                grouped(trace.malformed),
                grouped(trace.out_of_order),
                if options.is_sorted(trace.keys) { " (sorted)" } else { "" },
            ),
        };
        let (limit, window) = (grouped(options.limit()), options.window);
        format!("{source}\nquota of each: {limit} per {window:?}, in a bucket {} at once\n\n", grouped(options.burst()))
    }

    /// A line for each client of the built-in workload.
    fn clients(&self) -> String {
        let heading = ["", "requests"].map(String::from).into_iter().chain(self.outcomes.iter().map(title));
        let mut rows = vec![heading.collect::<Vec<_>>()];
        for (key, client) in CLIENTS.iter().enumerate() {
            let requests = self.trace.requests.iter().filter(|request| request.key == key).count();
            let admitted = self.outcomes.iter().map(|outcome| grouped(outcome.by_key[key]));
            rows.push([client.name.into(), grouped(requests as u64)].into_iter().chain(admitted).collect());
        }
        let mut text = aligned(&rows);
        text += "\n";
        for client in &CLIENTS {
            // A String takes all that is written to it.
            let _ = writeln!(text, "{:8}{}", client.name, client.habit);
        }
        text
    }

    fn notes(&self) {
        if self.options.log.is_some() && self.trace.requests.is_empty() {
            note("note: no line of the log could be read; is it in Common or Combined Log Format?");
        }
        for outcome in self.outcomes {
            let Outcome { worst_window, worst_window_by_log, bound, .. } = outcome;
            let title = title(outcome);
            if !outcome.is_within_bound() {
                note(format_args!("BROKEN: the {title} admitted {worst_window} in one window, its bound is {bound}"));
            } else if worst_window_by_log > bound {
                note(format_args!(
                    "note: the {title} admitted {worst_window_by_log} in one window by the log's time, which goes back \
                     and forth; by its own time, which does not, {worst_window}"
                ));
            }
            if outcome.stats.overflowed > 0 {
                note(format_args!(
                    "note: the {title} had no room for some clients, which shared {} admissions; try a larger --capacity",
                    grouped(outcome.stats.overflowed)
                ));
            }
        }
    }
}

fn title(outcome: &Outcome) -> String {
    outcome.name.replace('_', " ")
}

/// A share of 1 as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A number with a comma before each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns, the first flush left and the others flush right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // A String takes all that is written to it.
            let _ = match column {
                0 => write!(text, "{cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [["", "share"], ["token", "5 %"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(aligned(&rows), "       share\ntoken    5 %\n");
    }
}
