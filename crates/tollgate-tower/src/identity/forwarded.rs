//! What proxies tell of their clients: the headers `Forwarded` and `X-Forwarded-For`, read from the right.

use std::net::{IpAddr, Ipv6Addr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, ValueIter},
};
use ipnet::IpNet;

use super::Unidentified;

/// The header in which a proxy tells whom it forwards for.
///
/// There is one, the one that *your* proxies write. A client can send the other, and a proxy that does not know it passes it
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// `Forwarded` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

impl Via {
    const fn name(self) -> HeaderName {
        match self {
            Self::Forwarded => header::FORWARDED,
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        }
    }
}

/// The proxies between the clients and this server: in which networks they are, and how many of them in a row.
///
/// Each of them adds the address from which it was called to the right of the header. So the header is read from the right,
/// beginning at the peer of the connection: who is in a trusted network is believed about its own client, and no further
/// than there are proxies. What a client writes is left of that, and changes nothing; an address that is not trusted *is*
/// the client, whatever it sends.
///
/// Without any network nobody is trusted, and the peer is the client.
///
/// A request for which a trusted proxy tells no address, or not in the form of one, has no identity.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    via: Via,
    hops: usize,
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// One proxy, that tells of its clients in this header.
    #[must_use]
    pub const fn new(via: Via) -> Self {
        Self { via, hops: 1, networks: Vec::new() }
    }

    /// So many proxies in a row.
    #[must_use]
    pub fn hops(self, hops: usize) -> Self {
        Self { hops, ..self }
    }

    /// Proxies may be in this network too.
    #[must_use]
    pub fn network(mut self, network: IpNet) -> Self {
        self.networks.push(network);
        self
    }

    /// The client of who is at the other end of the connection.
    ///
    /// # Errors
    ///
    /// [`Unidentified`] if a trusted proxy does not tell it.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Unidentified> {
        let name = self.via.name();
        let mut elements = Elements { via: self.via, lines: headers.get_all(&name).iter(), line: None };
        let mut client = peer.to_canonical();
        for _ in 0..self.hops {
            if !self.networks.iter().any(|network| network.contains(&client)) {
                break;
            }
            let element = elements.next().ok_or_else(|| Unidentified::absent(name.to_string()))?;
            let told = match self.via {
                Via::Forwarded => element.and_then(forwarded_for),
                Via::XForwardedFor => element,
            };
            client = told.and_then(address).ok_or_else(|| Unidentified::malformed(name.to_string()))?;
        }
        Ok(client)
    }
}

/// An element is no longer than this many bytes: so much is looked at of a header at most.
const LONGEST: usize = 1024;

/// The elements of all lines of a header, the last first.
struct Elements<'a> {
    via: Via,
    lines: ValueIter<'a, HeaderValue>,
    /// What is left of the line that was begun.
    line: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    /// `None` if it is not one, or too long.
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.line.take() {
            Some(line) => line,
            None => self.lines.next_back()?.as_bytes(),
        };
        let near = &line[line.len().saturating_sub(LONGEST)..];
        let comma = match self.via {
            Via::Forwarded => last_comma(near),
            Via::XForwardedFor => near.iter().rposition(|&byte| byte == b','),
        };
        match comma {
            Some(comma) => {
                let comma = line.len() - near.len() + comma;
                self.line = Some(&line[..comma]);
                Some(Some(&line[comma + 1..]))
            }
            None => Some(Some(line).filter(|line| line.len() == near.len())),
        }
    }
}

/// Where the last comma is that is not in a quoted string.
///
/// From the right, as what is to the left may be the client's: who opens a quote and does not close it must not swallow
/// what a proxy has added. Whether the quotes are in order is for [`forwarded_for`] to say.
fn last_comma(text: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (index, byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' => {
                let slashes = text[..index].iter().rev().take_while(|&&byte| byte == b'\\').count();
                if !quoted || slashes % 2 == 0 {
                    quoted = !quoted;
                }
            }
            b',' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// The value of the one `for` of an element of `Forwarded`, without its quotes.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    let mut told = None;
    let mut rest = element.trim_ascii();
    while !rest.is_empty() {
        let name_end = rest.iter().position(|&byte| matches!(byte, b'=' | b';'))?;
        if rest[name_end] == b';' {
            // A pair may be left out.
            if name_end > 0 {
                return None;
            }
            rest = rest[1..].trim_ascii_start();
            continue;
        }
        let (name, value) = (&rest[..name_end], &rest[name_end + 1..]);
        let value_end = match value.first() {
            Some(b'"') => quoted_end(value)?,
            _ => value.iter().position(|&byte| byte == b';').unwrap_or(value.len()),
        };
        if name.eq_ignore_ascii_case(b"for") && told.replace(&value[..value_end]).is_some() {
            return None;
        }
        rest = value[value_end..].trim_ascii_start();
        match rest.split_first() {
            Some((b';', after)) => rest = after.trim_ascii_start(),
            Some(_) => return None,
            None => {}
        }
    }
    match told? {
        [b'"', quoted @ .., b'"'] => Some(quoted),
        token => Some(token.trim_ascii_end()),
    }
}

/// Where the quoted string ends with which `text` begins.
fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// An address, with or without a port, of which an IPv6 one has brackets if it has a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        (port.is_empty() || port.starts_with(':')).then_some(IpAddr::V6(address))?
    } else {
        match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => IpAddr::V4(address.parse().ok()?),
            _ => text.parse().ok()?,
        }
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(via: Via, lines: &[&str]) -> Vec<Option<String>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(via.name(), HeaderValue::from_str(line).unwrap());
        }
        let lines = headers.get_all(via.name()).iter();
        let elements = Elements { via, lines, line: None };
        elements.map(|element| element.map(|text| String::from_utf8(text.to_vec()).unwrap())).collect()
    }

    fn found(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_last_line_and_its_last_element_come_first() {
        let lines = ["a,b", "c"];
        assert_eq!(elements(Via::XForwardedFor, &lines), [found("c"), found("b"), found("a")]);
        assert_eq!(elements(Via::Forwarded, &lines), [found("c"), found("b"), found("a")]);
    }

    #[test]
    fn a_comma_in_quotes_ends_nothing() {
        let proxy = r#"for=192.0.2.1;host="x\", for=6.6.6.6;z=\"""#;
        assert_eq!(elements(Via::Forwarded, &[&format!("for=evil,{proxy}")]), [found(proxy), found("for=evil")]);
    }

    #[test]
    fn a_quote_that_the_client_left_open_swallows_nothing() {
        let line = r#"for="evil, for=192.0.2.1"#;
        assert_eq!(elements(Via::Forwarded, &[line])[0], found(" for=192.0.2.1"));
    }

    #[test]
    fn of_a_long_header_only_the_end_is_looked_at() {
        let long = "x".repeat(1 << 20);
        let line = format!("{long},192.0.2.1");
        for via in [Via::Forwarded, Via::XForwardedFor] {
            assert_eq!(elements(via, &[&line]), [found("192.0.2.1"), None]);
        }
    }

    #[test]
    fn the_one_for_of_an_element() {
        let told =
            |element: &'static str| forwarded_for(element.as_bytes()).map(|value| str::from_utf8(value).unwrap());
        for element in [
            "for=192.0.2.1",
            " For=192.0.2.1 ",
            "proto=https;for=192.0.2.1;by=_x",
            r#"host="a;for=6.6.6.6";for="192.0.2.1""#,
            ";;for=192.0.2.1;",
        ] {
            assert_eq!(told(element), Some("192.0.2.1"), "{element}");
        }
        for element in ["", "for", "by=1", "for=a;for=b", r#"for="a"#, r#"for="a"b"#, r#"for="a\""#] {
            assert_eq!(told(element), None, "{element}");
        }
    }

    #[test]
    fn addresses_in_all_their_forms() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1\t", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("192.0.2.1:_port", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(text.as_bytes()), Some(expected.parse().unwrap()), "{text}");
        }
        for text in
            ["", "unknown", "_hidden", "192.0.2", "192.0.2.1.", "[192.0.2.1]", "[::1]x", "[::1", "::1]", "1:2:3"]
        {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(address(&[0xff; 9]), None);
    }
}
