//! Keys of each kind, drawn uniformly by a cheap generator with a fixed seed.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
};

use clock_lib::Clock;

/// A kind of key, and the `n`-th of that kind.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    const KIND: &'static str;

    fn nth(n: u64) -> Self;

    /// The check that rate-net recommends for this kind; it has keys of its own, and a way round them for long ones.
    fn rate_net<C: Clock + Clone>(&self, limiter: &rate_net::RateLimiter<C>) -> rate_net::Decision;
}

impl Key for u64 {
    const KIND: &'static str = "u64";

    fn nth(n: u64) -> Self {
        n
    }

    #[inline(always)]
    fn rate_net<C: Clock + Clone>(&self, limiter: &rate_net::RateLimiter<C>) -> rate_net::Decision {
        limiter.check(*self)
    }
}

impl Key for String {
    const KIND: &'static str = "string";

    fn nth(n: u64) -> Self {
        format!("user:{n:012}")
    }

    #[inline(always)]
    fn rate_net<C: Clock + Clone>(&self, limiter: &rate_net::RateLimiter<C>) -> rate_net::Decision {
        limiter.check_bytes(self)
    }
}

impl Key for IpAddr {
    const KIND: &'static str = "ip";

    fn nth(n: u64) -> Self {
        Ipv4Addr::from_bits(n as u32).into()
    }

    #[inline(always)]
    fn rate_net<C: Clock + Clone>(&self, limiter: &rate_net::RateLimiter<C>) -> rate_net::Decision {
        limiter.check(*self)
    }
}

/// SplitMix64.
pub struct Generator(u64);

impl Generator {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform below `end`, which is far below 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(end)) >> 64) as u64
    }
}
