//! How clients are told of limits: the headers of a response.
//!
//! Whatever the dialect, the headers are there once, however many layers a response has come through. Of the limits that
//! were looked at, the header or headers with what is left are about the tightest: the one of which the fewest units are
//! left, or that which has refused. Times are rounded up to whole seconds, numbers that a structured field cannot hold down
//! to those that it can.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};
use tollgate::Quota;

/// The headers that tell clients of limits.
///
/// | dialect | headers |
/// | --- | --- |
/// | [`Structured`](Self::Structured) | `RateLimit: "minute";r=7;t=12` and `RateLimit-Policy: "minute";q=10;w=60` |
/// | [`ThreeFields`](Self::ThreeFields) | `RateLimit-Limit: 10`, `RateLimit-Remaining: 7`, `RateLimit-Reset: 12` |
/// | [`XSeconds`](Self::XSeconds) | `X-RateLimit-Limit: 10`, `X-RateLimit-Remaining: 7`, `X-RateLimit-Reset: 12` |
/// | [`XEpoch`](Self::XEpoch) | the same, but `X-RateLimit-Reset: 1700000012` |
/// | [`None`](Self::None) | none |
///
/// The reset is when the limit is as if it had never been used, if nothing else arrives; on a refusal, when the request
/// passes, as in `Retry-After`, which a refusal has in every dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// `RateLimit` and `RateLimit-Policy`, structured fields, of
    /// [draft-ietf-httpapi-ratelimit-headers-11](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/).
    ///
    /// Of a policy `q` is the quota's limit and `w` its period, rounded up to whole seconds: never more than really passes.
    #[default]
    Structured,
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, as that draft had them until its seventh version.
    ThreeFields,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, in seconds from now.
    XSeconds,
    /// The same three, but the reset is a time: in seconds since 1970.
    XEpoch,
    /// No headers but `Retry-After` on a refusal.
    None,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing<'a> {
    /// The policy's name, as it is written in a header.
    pub(crate) policy: &'a str,
    /// The most units that can be left.
    pub(crate) limit: u64,
    /// The units that are left.
    pub(crate) remaining: u64,
    /// When there are more.
    pub(crate) reset: Duration,
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The names for limit, remaining units and reset.
struct Three(HeaderName, HeaderName, HeaderName);

const RATE_LIMIT_THREE: Three = Three(
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
);
const X_RATE_LIMIT_THREE: Three = Three(
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
);

impl Dialect {
    /// Tells of `standing` and, if it is of those that are told, of `policies`.
    ///
    /// Where a layer behind has told of a tighter limit, that stays.
    pub(crate) fn write(
        self,
        headers: &mut HeaderMap,
        standing: Standing<'_>,
        policies: impl FnOnce() -> Option<HeaderValue>,
        calendar: &dyn Fn() -> SystemTime,
    ) {
        let reset = seconds(standing.reset);
        match self {
            Self::Structured => {
                if let Some(policies) = policies() {
                    add_policies(headers, policies);
                }
                // One look at the map, where no layer behind has told of anything.
                match headers.entry(RATE_LIMIT) {
                    Entry::Vacant(place) => {
                        place.insert(structured(standing, reset));
                    }
                    Entry::Occupied(_) => {
                        if is_tightest(headers, &RATE_LIMIT, standing.remaining, least_remaining, structured_reset) {
                            headers.insert(RATE_LIMIT, structured(standing, reset));
                        }
                    }
                }
            }
            Self::ThreeFields => write_three(headers, RATE_LIMIT_THREE, standing, reset, RATE_LIMIT_THREE.2),
            Self::XSeconds => write_three(headers, X_RATE_LIMIT_THREE, standing, reset, X_RATE_LIMIT_THREE.2),
            Self::XEpoch => {
                // The end of a second that has begun: who waits until then has waited long enough.
                let since_1970 = calendar().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let at = seconds(since_1970.saturating_add(standing.reset));
                // The time is not the number of `Retry-After`: whoever has that is taken to have refused.
                write_three(headers, X_RATE_LIMIT_THREE, standing, at, header::RETRY_AFTER);
            }
            Self::None => {}
        }
    }
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// The policies of this layer, before those of the layers behind it.
fn add_policies(headers: &mut HeaderMap, policies: HeaderValue) {
    match headers.entry(RATE_LIMIT_POLICY) {
        Entry::Vacant(place) => {
            place.insert(policies);
        }
        Entry::Occupied(mut told) => {
            let length = told.iter().map(|behind| b", ".len() + behind.len()).sum::<usize>();
            let mut all = Vec::with_capacity(policies.len() + length);
            all.extend_from_slice(policies.as_bytes());
            for behind in told.iter() {
                all.extend_from_slice(b", ");
                all.extend_from_slice(behind.as_bytes());
            }
            told.insert(HeaderValue::from_maybe_shared(Bytes::from(all)).unwrap_or(policies));
        }
    }
}

/// Whether no layer behind has told of a limit, in the header `name`, of which as few units are left, or has refused.
fn is_tightest(
    headers: &HeaderMap,
    name: &HeaderName,
    remaining: u64,
    least: impl Fn(&HeaderValue) -> Option<u64>,
    reset: impl Fn(&HeaderMap) -> Option<&[u8]>,
) -> bool {
    let Some(told) = headers.get(name) else { return true };
    // What it says when it refuses belongs to its `Retry-After`, which is when it resets. That of a handler is of something
    // else.
    let has_refused = headers.get(header::RETRY_AFTER).is_some_and(|after| reset(headers) == Some(after.as_bytes()));
    !has_refused && least(told).is_none_or(|told| remaining < told)
}

/// The parameter at the end of a `RateLimit`: as it is written here, the reset.
fn structured_reset(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(RATE_LIMIT)?.as_bytes().rsplit(|&byte| byte == b'=').next()
}

/// `"name";r=1;t=2`, in one allocation.
fn structured(standing: Standing<'_>, reset: u64) -> HeaderValue {
    let (mut remaining, mut after) = (itoa::Buffer::new(), itoa::Buffer::new());
    let remaining = remaining.format(standing.remaining.min(LARGEST));
    value([standing.policy, ";r=", remaining, ";t=", after.format(reset.min(LARGEST))].concat())
}

/// `"one";q=1;w=2, "other";q=3;w=4;qu="bytes"`, of names and units as they are written in a header.
pub(crate) fn policies<'a>(list: impl Iterator<Item = (&'a str, Quota, Option<&'a str>)>) -> HeaderValue {
    let mut line = String::new();
    for (name, quota, unit) in list {
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(name);
        push_parameter(&mut line, ";q=", quota.limit());
        push_parameter(&mut line, ";w=", seconds(quota.period()));
        if let Some(unit) = unit {
            line.push_str(";qu=");
            line.push_str(unit);
        }
    }
    value(line)
}

fn push_parameter(line: &mut String, name: &str, number: u64) {
    line.push_str(name);
    line.push_str(itoa::Buffer::new().format(number.min(LARGEST)));
}

/// The largest integer of a structured field.
const LARGEST: u64 = 999_999_999_999_999;

/// A number, of at most 15 digits, in one allocation.
pub(crate) fn number(number: u64) -> HeaderValue {
    value(itoa::Buffer::new().format(number.min(LARGEST)).to_owned())
}

/// A header value of what was written here: printable ASCII. It is not copied.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `seconds` is the header that says in how many seconds what was told resets.
fn write_three(
    headers: &mut HeaderMap,
    Three(limit, remaining, reset): Three,
    standing: Standing<'_>,
    at: u64,
    seconds: HeaderName,
) {
    let least = |told: &HeaderValue| told.to_str().ok()?.parse().ok();
    if is_tightest(headers, &remaining, standing.remaining, least, |headers| Some(headers.get(&seconds)?.as_bytes())) {
        headers.insert(limit, number(standing.limit));
        headers.insert(remaining, number(standing.remaining));
        headers.insert(reset, number(at));
    }
}

/// The least `r` of a `RateLimit` as it is written here; `None` if it is written in another way.
fn least_remaining(value: &HeaderValue) -> Option<u64> {
    let mut rest = value.as_bytes();
    let mut least = u64::MAX;
    loop {
        rest = after_string(rest)?.strip_prefix(b";r=")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let remaining = str::from_utf8(&rest[..digits]).ok()?;
        least = least.min(remaining.parse().ok()?);
        match rest.iter().position(|&byte| byte == b',') {
            Some(end) => rest = rest[end..].strip_prefix(b", ")?,
            None => return Some(least),
        }
    }
}

/// What comes after the string with which `text` begins.
fn after_string(text: &[u8]) -> Option<&[u8]> {
    let mut escaped = false;
    let inside = text.strip_prefix(b"\"")?;
    let end = inside.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(&inside[end + 1..])
}
