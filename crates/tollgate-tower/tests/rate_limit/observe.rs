//! What an operator is told, and what not.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::HeaderName;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tollgate::{ManualClock, Quota};
use tollgate_tower::{
    RequestHead,
    identity::{ClientAddress, Header},
};

use crate::support::*;

const SECRET: &str = "tg_live_0123456789";

/// Sends requests of each outcome through a layer, by one thread.
fn traffic() {
    let clock = ManualClock::new();
    let tenant = keyed("tenant", Header::new(HeaderName::from_static("x-tenant")), 2);
    let limits = layer([tenant, global("all", Quota::per_day(2), &clock)])
        .cost(|request: &RequestHead<'_>| if request.headers.contains_key("x-huge") { 3 } else { 1 });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let send = |headers: &[(&str, &str)]| runtime.block_on(through(&limits, request("192.0.2.77", headers))).status;
    let tenant = ("x-tenant", SECRET);
    let statuses = [
        send(&[tenant]),
        send(&[tenant]),
        send(&[tenant]),
        send(&[("x-tenant", "other")]),
        send(&[tenant, ("x-huge", "1")]),
        send(&[]),
    ];
    assert_eq!(statuses, [200, 200, 429, 429, 403, 400]);
    let nobody = layer([keyed("client", ClientAddress::peer(), 1)]);
    assert_eq!(runtime.block_on(through(&nobody, http::Request::default())).status, 500);
}

#[test]
fn counters_say_what_was_allowed_and_refused_and_by_which_policy() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, traffic);
    let mut counted: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            let DebugValue::Counter(count) = value else { panic!("{value:?}") };
            (key.name().to_owned(), labels.join(" "), count)
        })
        .collect();
    counted.sort();
    let expected = [
        ("tollgate_allowed_total", "", 2),
        ("tollgate_refused_total", "all limited", 2),
        ("tollgate_refused_total", "all never", 1),
        ("tollgate_refused_total", "client unidentified", 1),
        ("tollgate_refused_total", "tenant limited", 1),
        ("tollgate_refused_total", "tenant never", 1),
        ("tollgate_refused_total", "tenant unidentified", 1),
    ];
    assert_eq!(counted, expected.map(|(name, labels, count)| (name.to_owned(), labels.to_owned(), count)));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn events_say_why_and_never_who() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, traffic);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[0].starts_with("DEBUG") && lines[0].contains("limited") && lines[0].contains("retry_after=43200"),
        "{text}"
    );
    assert!(lines[2].contains("never") && !lines[2].contains("retry_after"), "{text}");
    assert!(lines[3].starts_with("DEBUG") && lines[3].contains("unidentified"), "{text}");
    assert!(lines[4].starts_with("ERROR") && lines[4].contains("client"), "{text}");
    for secret in [SECRET, "192.0.2.77", "other"] {
        assert!(!text.contains(secret), "{text}");
    }
}
