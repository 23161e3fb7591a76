//! One line of an access log, in Common Log Format or one that begins like it.
//!
//! ```text
//! 192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif?x=1 HTTP/1.0" 200 2326 "http://example.net/" "Mozilla"
//! host ident user   time                         request                   status size, then whatever
//! ```
//!
//! The fields up to the size must be there and well-formed, with one space between them. What follows, as in the
//! Combined Log Format and the many that append to it, is not read. A line is bytes: only the host must be ASCII.

use tollgate::Timestamp;

use crate::date::{Date, MONTHS};

/// What a line says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLine<'a> {
    /// The client's address or name: printable ASCII, and at least one character of it.
    pub(crate) host: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub(crate) at: Timestamp,
    /// The first line of the request, with its escapes as they are; `-` if there was none.
    request: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Reads a line, with or without its end; `None` if it is malformed.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
        let host = word(&mut rest)?;
        let _ident = word(&mut rest)?;
        let _user = word(&mut rest)?;
        let at = time(rest.get(..TIME.len())?)?;
        rest = rest[TIME.len()..].strip_prefix(b" ")?;
        let request = quoted(&mut rest)?;
        let status = word(&mut rest)?;
        let size = rest.split(|&byte| byte == b' ').next()?;
        let is_host = host.iter().all(u8::is_ascii_graphic);
        let is_status = status == b"-" || status.len() == 3 && status.iter().all(u8::is_ascii_digit);
        let is_size = size == b"-" || !size.is_empty() && size.iter().all(u8::is_ascii_digit);
        (is_host && is_status && is_size).then_some(Self { host, at, request })
    }

    /// The path of the request, without the query; `-` if there is none.
    pub(crate) fn path(&self) -> &'a [u8] {
        let target = self.request.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        if path.is_empty() { b"-" } else { path }
    }
}

/// Takes what comes before the next space, at least one byte, and the space.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == b' ').filter(|&end| end > 0)?;
    let word = &rest[..end];
    *rest = &rest[end + 1..];
    Some(word)
}

/// Takes a string in quotes and the space after it; `\"` does not end it.
fn quoted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let inner = rest.strip_prefix(b"\"")?;
    let mut escaped = false;
    let end = inner.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    *rest = inner[end + 1..].strip_prefix(b" ")?;
    Some(&inner[..end])
}

/// What a time looks like: `0` stands for a digit, `A` for a letter of the month, `+` for a sign.
const TIME: &[u8; 28] = b"[00/AAA/0000:00:00:00 +0000]";

/// Reads a time that exists and is not before 1970 nor after what 64 bits of nanoseconds hold.
fn time(text: &[u8]) -> Option<Timestamp> {
    let fits = |(&byte, &wanted): (&u8, &u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_alphabetic(),
        b'+' => byte == b'+' || byte == b'-',
        _ => byte == wanted,
    };
    if text.len() != TIME.len() || !text.iter().zip(TIME).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().fold(0, |number: u32, &digit| 10 * number + u32::from(digit - b'0'))
    };
    let month = MONTHS.iter().position(|month| month.as_bytes() == &text[4..7])?;
    let date = Date::new(number(8, 12), month as u32 + 1, number(1, 3))?;
    let seconds = seconds_of(number(13, 15), number(16, 18), number(19, 21))?;
    let offset = seconds_of(number(23, 25), number(25, 27), 0)?;
    let offset = if text[22] == b'-' { -offset } else { offset };
    let since_1970 = u64::try_from(date.days_since_1970() * 24 * 60 * 60 + seconds - offset).ok()?;
    since_1970.checked_mul(1_000_000_000).map(Timestamp::from_nanos)
}

/// The seconds of a time of day that exists; servers count none of the leap seconds.
fn seconds_of(hours: u32, minutes: u32, seconds: u32) -> Option<i64> {
    let exists = hours < 24 && minutes < 60 && seconds < 60;
    exists.then_some(i64::from((hours * 60 + minutes) * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::SplitMix64;

    const COMMON: &str = r#"192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif?x=1 HTTP/1.0" 200 2326"#;

    /// The line with `old` replaced.
    fn with(old: &str, new: &str) -> String {
        assert!(COMMON.contains(old));
        COMMON.replacen(old, new, 1)
    }

    fn parse(line: &str) -> Option<LogLine<'_>> {
        LogLine::parse(line.as_bytes())
    }

    #[test]
    fn a_common_and_a_combined_line() {
        let line = parse(COMMON).unwrap();
        assert_eq!((line.host, line.path()), (&b"192.0.2.7"[..], &b"/a.gif"[..]));
        assert_eq!(line.at, Timestamp::from_secs(971_211_336));
        for tail in [" \"http://example.net/\" \"Moz\\\"illa\"", " \"-\" \"cut of", " ", "\n", "\r\n", "\r"] {
            assert_eq!(parse(&format!("{COMMON}{tail}")), Some(line), "{tail:?}");
        }
    }

    #[test]
    fn hosts() {
        for host in ["::1", "2001:db8::7", "::ffff:192.0.2.7", "client.example.net", "-"] {
            assert_eq!(parse(&with("192.0.2.7", host)).unwrap().host, host.as_bytes());
        }
        for host in ["", " ", "\t", "a\u{7f}", "höst"] {
            assert_eq!(parse(&with("192.0.2.7", host)), None, "{host:?}");
        }
        // Of several virtual hosts: the first field is not the client.
        assert_eq!(parse(&format!("www.example.net:80 {COMMON}")), None);
    }

    #[test]
    fn requests() {
        for (request, path) in [
            ("-", "-"),
            ("", "-"),
            ("GET", "-"),
            ("GET  HTTP/1.0", "-"),
            ("GET /", "/"),
            (r#"GET /\"quoted\" HTTP/1.0"#, r#"/\"quoted\""#),
            (r"GET /back\\ HTTP/1.0", r"/back\\"),
            (r"\x16\x03\x01", "-"),
            ("GET ?only=query HTTP/1.0", "-"),
        ] {
            let line = with("GET /a.gif?x=1 HTTP/1.0", request);
            assert_eq!(parse(&line).unwrap().path(), path.as_bytes(), "{request}");
        }
        for request in [r#"GET /" HTTP/1.0"#, r"GET /\"] {
            assert_eq!(parse(&with("GET /a.gif?x=1 HTTP/1.0", request)), None, "{request}");
        }
        let mut bytes = COMMON.as_bytes().to_vec();
        bytes[54] = 0xff;
        assert_eq!(LogLine::parse(&bytes).unwrap().path(), b"/a\xffgif");
    }

    #[test]
    fn times() {
        let at = |time: &str| parse(&with("10/Oct/2000:13:55:36 -0700", time)).map(|line| line.at.as_nanos());
        for (time, seconds) in [
            ("01/Jan/1970:00:00:00 +0000", 0),
            ("01/Jan/1970:01:00:00 +0100", 0),
            ("31/Dec/1969:16:00:00 -0800", 0),
            ("29/Feb/2000:00:00:00 +0000", 951_782_400),
            ("29/Feb/2024:23:59:59 +0530", 1_709_231_399),
            ("21/Jul/2554:23:34:33 +0000", 18_446_744_073),
        ] {
            assert_eq!(at(time), Some(seconds * 1_000_000_000), "{time}");
        }
        for time in [
            "31/Feb/2000:00:00:00 +0000",
            "29/Feb/1900:00:00:00 +0000",
            "29/Feb/2023:00:00:00 +0000",
            "00/Jan/2000:00:00:00 +0000",
            "10/oct/2000:00:00:00 +0000",
            "10/Okt/2000:00:00:00 +0000",
            "10/Oct/2000:24:00:00 +0000",
            "10/Oct/2000:00:60:00 +0000",
            "10/Oct/2000:00:00:60 +0000",
            "10/Oct/2000:00:00:00 +2400",
            "10/Oct/2000:00:00:00 +0060",
            "10/Oct/2000:00:00:00  0000",
            "10/Oct/2000:00:00:00 Z",
            "10/Oct/2000:00:00:00",
            "1/Oct/2000:00:00:00 +00000",
            "31/Dec/1969:23:59:59 +0000",
            "01/Jan/1970:00:00:00 +0001",
            "21/Jul/2554:23:34:34 +0000",
            "31/Dec/9999:23:59:59 +0000",
        ] {
            assert_eq!(at(time), None, "{time}");
        }
    }

    #[test]
    fn malformed() {
        for line in [
            String::new(),
            "\n".into(),
            " ".into(),
            with("- frank", "frank"),
            with(" - ", "  - "),
            with("] \"", "]\""),
            with("\" 200", "\"200"),
            with(" 200 ", " 20 "),
            with(" 200 ", " "),
            with(" 2326", ""),
            with(" 2326", " "),
            with("2326", "-1"),
        ] {
            assert_eq!(parse(&line), None, "{line:?}");
        }
        let cut = COMMON.len() - "326".len();
        assert!((0..cut).all(|end| parse(&COMMON[..end]).is_none()));
    }

    /// Any bytes have an answer.
    #[test]
    fn no_bytes_panic() {
        let mut random = SplitMix64::new(7);
        for _ in 0..100_000 {
            let mut line = COMMON.as_bytes().to_vec();
            for _ in 0..random.below(6) {
                let place = random.below(line.len() as u64) as usize;
                match random.below(3) {
                    0 => line[place] = random.below(256) as u8,
                    1 => line[place] = b" \"\\[]/:-+\n"[random.below(10) as usize],
                    _ => line.truncate(place + 1),
                }
            }
            if let Some(parsed) = LogLine::parse(&line) {
                assert!(!parsed.host.is_empty() && !parsed.path().is_empty());
            }
        }
    }
}
