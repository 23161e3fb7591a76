//! What can be asked for on the command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use tollgate::Quota;

use crate::key::KeyKind;

/// Replays a web server's access log through five rate-limiting algorithms at once, one limiter per client.
#[derive(Debug, Parser)]
#[command(
    name = "replay",
    after_help = "Exit status: 0 if every algorithm stayed within its bound, 1 if one did not, 2 if an option or the \
                  input cannot be used."
)]
pub(crate) struct Options {
    /// An access log in Common or Combined Log Format, plain or gzip; `-` is standard input [default: a built-in
    /// workload that shows how the algorithms differ]
    pub(crate) log: Option<PathBuf>,

    /// How many requests per window a client may make [default: 5, and 100 for the built-in workload]
    #[arg(long, value_name = "N", visible_alias = "quota")]
    limit: Option<u64>,

    /// The window, or period, of the limit: a whole number of ns, us, ms, s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, visible_alias = "period")]
    pub(crate) window: Duration,

    /// How many requests the two buckets let pass at once [default: the limit]
    #[arg(long, value_name = "N")]
    burst: Option<u64>,

    /// What has a limiter of its own
    #[arg(long, value_enum, default_value_t = KeyKind::Address, requires = "log")]
    pub(crate) key: KeyKind,

    /// How many clients to keep limiters for at one time; more than that share what room there is, and none is ever reset.
    /// Fewer than there are implies `--sort`: a limiter that was given to another client is past its time [default: as
    /// many as there are]
    #[arg(long, value_name = "N")]
    pub(crate) capacity: Option<usize>,

    /// Decides the requests in the order of their times instead of the order of the log
    #[arg(long, requires = "log")]
    pub(crate) sort: bool,

    /// Prints one JSON object per algorithm instead of the table
    #[arg(long)]
    pub(crate) json: bool,

    /// Draws the offered and the admitted load over time, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
}

impl Options {
    pub(crate) fn limit(&self) -> u64 {
        self.limit.unwrap_or(if self.log.is_some() { 5 } else { 100 })
    }

    /// How many of `keys` clients to keep limiters for at one time.
    pub(crate) fn capacity(&self, keys: usize) -> usize {
        self.capacity.unwrap_or(keys)
    }

    /// Whether the requests of `keys` clients are decided in the order of their times.
    pub(crate) fn is_sorted(&self, keys: usize) -> bool {
        self.sort || self.capacity(keys) < keys
    }

    /// What the buckets let pass at once.
    pub(crate) fn burst(&self) -> u64 {
        self.burst.unwrap_or(self.limit())
    }

    /// The quota of the buckets; that of the others is the same without its burst.
    pub(crate) fn quota(&self) -> Quota {
        Quota::new(self.limit(), self.window).burst(self.burst())
    }
}

/// Reads `250ms` and the like.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60 * 1_000_000_000,
        "h" => 60 * 60 * 1_000_000_000,
        "d" => 24 * 60 * 60 * 1_000_000_000,
        _ => return Err("expected a whole number and a unit, such as 500ms, 60s, 1m or 1h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a whole number before the unit, such as 60s")?;
    let nanos = number.checked_mul(nanos).ok_or("longer than 584 years")?;
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_fit_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, nanos) in
            [("7ns", 7), ("500ms", 500_000_000), ("60s", 60_000_000_000), ("1m", 60_000_000_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "60", "s", "-1s", "1.5s", "1 s", "1s ", "1w", "999999999999h", "99999999999999999999s", "٣s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
