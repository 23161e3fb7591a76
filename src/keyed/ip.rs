//! Addresses as keys: what one client is, in either version of the protocol.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client by its address: all of an IPv4 address, the first bits of an IPv6 one.
///
/// Whoever has one IPv6 address has the whole subnet, 2^64 addresses, and can use a new one for each request. So by default
/// only the first 64 bits count. Providers that give each customer a larger part are met with fewer bits:
/// [`with_prefix`](Self::with_prefix). An IPv4 address that is written as an IPv6 one is the IPv4 address.
///
/// ```
/// use std::net::IpAddr;
/// use tollgate::IpKey;
///
/// let key = |address: &str| IpKey::from(address.parse::<IpAddr>().unwrap());
/// assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
/// assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
/// assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
/// assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpKey(
    /// As the bits of an IPv6 address, so that it is hashed as one number.
    u128,
);

impl IpKey {
    /// How many bits of an IPv6 address count by default.
    pub const DEFAULT_PREFIX: u8 = 64;

    /// The client at `address`, of which the first `prefix` bits count if it is an IPv6 address; more than 128 are taken
    /// for 128.
    #[must_use]
    pub const fn with_prefix(address: IpAddr, prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => {
                let rest = 128_u32.saturating_sub(prefix as u32);
                Self(match address.to_bits().checked_shr(rest) {
                    Some(bits) => bits << rest,
                    None => 0,
                })
            }
        }
    }

    /// The address that stands for the client: its own, or the first of its network.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self.0)).to_canonical()
    }
}

impl From<IpAddr> for IpKey {
    #[inline]
    fn from(address: IpAddr) -> Self {
        Self::with_prefix(address, Self::DEFAULT_PREFIX)
    }
}

impl From<Ipv4Addr> for IpKey {
    #[inline]
    fn from(address: Ipv4Addr) -> Self {
        Self::from(IpAddr::V4(address))
    }
}

impl From<Ipv6Addr> for IpKey {
    #[inline]
    fn from(address: Ipv6Addr) -> Self {
        Self::from(IpAddr::V6(address))
    }
}
