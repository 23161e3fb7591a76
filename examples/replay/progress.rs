//! A bar on standard error, where that is a terminal and the wait is long.

use std::{
    io::{self, IsTerminal, Read},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long to wait before there is a bar: most input is read sooner.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far some work has come. Gone from the terminal when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// So many `steps` of the work `what`.
    pub(crate) fn of_steps(what: &'static str, steps: u64) -> Self {
        Self::new(what, Some(steps), "{msg} {bar:40} {pos} of {len} {eta}")
    }

    /// Bytes, `length` of them if that is known.
    pub(crate) fn of_bytes(what: &'static str, length: Option<u64>) -> Self {
        let known = "{msg} {bar:40} {bytes} of {total_bytes} {eta}";
        Self::new(what, length, if length.is_some() { known } else { "{msg} {spinner} {bytes}" })
    }

    fn new(what: &'static str, length: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        // A template of ours is well-formed; if it were not, the default would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, started: Instant::now() }
    }

    pub(crate) fn add(&self, amount: u64) {
        if self.bar.is_hidden() && self.started.elapsed() > PATIENCE && io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(amount);
    }

    /// Counts what is read of `reader`.
    pub(crate) fn wrap<R: Read>(self, reader: R) -> impl Read {
        Counted { reader, progress: self }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

struct Counted<R> {
    reader: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}
