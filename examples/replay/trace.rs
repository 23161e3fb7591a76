//! Requests in the order in which they are decided.

use std::collections::HashMap;

use tollgate::Timestamp;

use crate::{
    input::{Line, Lines},
    key::{Key, KeyKind},
    log_line::LogLine,
};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Nanoseconds since the Unix epoch.
    pub(crate) at: Timestamp,
    /// The number of its key, from 0.
    pub(crate) key: usize,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) requests: Vec<Request>,
    /// How many keys there are.
    pub(crate) keys: usize,
    /// How many lines: one for each request and each that is malformed.
    pub(crate) lines: u64,
    pub(crate) malformed: u64,
    /// How many requests are earlier than one before them in the log.
    pub(crate) out_of_order: u64,
}

impl Trace {
    /// Reads all lines, in their order, or by time if that is to be `sorted`, given how many keys there are.
    pub(crate) fn read(mut lines: Lines, kind: KeyKind, sorted: impl Fn(usize) -> bool) -> Result<Self, String> {
        let mut trace = Self::default();
        let mut keys: HashMap<Key, usize> = HashMap::new();
        let mut latest = Timestamp::ZERO;
        while let Some(line) = lines.next()? {
            trace.lines += 1;
            let parsed = match line {
                Line::Whole(line) => LogLine::parse(line),
                Line::TooLong => None,
            };
            let Some(parsed) = parsed else {
                trace.malformed += 1;
                continue;
            };
            trace.out_of_order += u64::from(parsed.at < latest);
            latest = latest.max(parsed.at);
            let next = keys.len();
            let key = *keys.entry(kind.of(&parsed)).or_insert(next);
            trace.requests.push(Request { at: parsed.at, key });
        }
        trace.keys = keys.len();
        if sorted(trace.keys) {
            trace.requests.sort_by_key(|request| request.at);
        }
        Ok(trace)
    }
}
