//! What a request is limited by.

use std::net::{IpAddr, Ipv6Addr};

use clap::ValueEnum;

use crate::log_line::LogLine;

/// What has a limiter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// The client's address, or its name where the log has names
    Address,
    /// The network that the address is in: the first 24 bits of IPv4, 64 of IPv6
    Prefix,
    /// The path that is asked for, without the query
    Path,
}

/// One client, or network, or path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Address(IpAddr),
    Name(Box<[u8]>),
}

impl KeyKind {
    /// The key of a request: one for all spellings of an address or name.
    pub(crate) fn of(self, line: &LogLine<'_>) -> Key {
        if self == Self::Path {
            return Key::Name(line.path().into());
        }
        match (address(line.host), self) {
            (None, _) => Key::Name(line.host.to_ascii_lowercase().into()),
            (Some(IpAddr::V4(address)), Self::Prefix) => {
                let [a, b, c, _] = address.octets();
                Key::Address([a, b, c, 0].into())
            }
            (Some(IpAddr::V6(address)), Self::Prefix) => {
                Key::Address(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into())
            }
            (Some(address), _) => Key::Address(address),
        }
    }

    /// What the keys are, for a count of them.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Address => "addresses",
            Self::Prefix => "networks",
            Self::Path => "paths",
        }
    }
}

fn address(host: &[u8]) -> Option<IpAddr> {
    let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let address: IpAddr = str::from_utf8(bare).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: KeyKind, host: &str) -> Key {
        let line = format!(r#"{host} - - [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.0" 200 1"#);
        kind.of(&LogLine::parse(line.as_bytes()).unwrap())
    }

    #[test]
    fn spellings_of_one_client_are_one_key() {
        for [one, other] in [
            ["::1", "0:0:0:0:0:0:0:1"],
            ["2001:db8::7", "2001:DB8::7"],
            ["2001:db8::7", "[2001:db8::7]"],
            ["192.0.2.7", "::ffff:192.0.2.7"],
            ["www.example.net", "WWW.example.net"],
        ] {
            assert_eq!(key(KeyKind::Address, one), key(KeyKind::Address, other));
        }
        assert_ne!(key(KeyKind::Address, "192.0.2.7"), key(KeyKind::Address, "192.0.2.8"));
    }

    #[test]
    fn neighbours_share_a_prefix() {
        let prefix = |host| key(KeyKind::Prefix, host);
        assert_eq!(prefix("192.0.2.7"), prefix("192.0.2.200"));
        assert_ne!(prefix("192.0.2.7"), prefix("192.0.3.7"));
        assert_eq!(prefix("2001:db8::7"), prefix("2001:db8::ffff:0:0:1"));
        assert_ne!(prefix("2001:db8::7"), prefix("2001:db8:0:1::7"));
    }

    #[test]
    fn a_path_is_shared_by_all_clients() {
        assert_eq!(key(KeyKind::Path, "192.0.2.7"), key(KeyKind::Path, "::1"));
    }
}
