//! The limits that are not of a key: of an address, of all requests together, and of what is costly.

use std::{error::Error, sync::Arc, time::Duration};

use tollgate::{IpKey, KeyedLimiter, Priority, Quota, RateLimiter, TokenBucket};
use tollgate_tower::{KeyOwner, Policy, RateLimitLayer, RequestHead, identity::ClientAddress};

use crate::config::Config;

/// Three limits, as layers.
#[derive(Debug)]
pub(crate) struct Limits {
    /// In front of everything: the requests of one address.
    pub(crate) address: RateLimitLayer,
    /// All requests that have a key, together. A fifth of the burst is left to those that are critical.
    pub(crate) everybody: RateLimitLayer,
    /// The same limit, for those that are critical: they leave nothing.
    pub(crate) everybody_critical: RateLimitLayer,
    /// The reports of one owner, whichever of their keys asks for them.
    pub(crate) reports: RateLimitLayer,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Result<Self, Box<dyn Error>> {
        let bucket = TokenBucket::new(Quota::per_second(config.address_limit))
            .map_err(|error| format!("TOLLGATE_ADDRESS_LIMIT: {error}"))?;
        let addresses = KeyedLimiter::<IpKey, _>::with_capacity(bucket, 100_000);
        let address = Policy::keyed("address", ClientAddress::peer(), addresses)?;

        let bucket = TokenBucket::new(Quota::per_second(config.service_limit))
            .map_err(|error| format!("TOLLGATE_SERVICE_LIMIT: {error}"))?;
        let everybody = Policy::global("service", RateLimiter::new(bucket))?;
        let everybody = |priority: Priority| -> Result<RateLimitLayer, Box<dyn Error>> {
            Ok(RateLimitLayer::new([everybody.clone()])?.priority(move |_: &RequestHead<'_>| priority))
        };

        let bucket = TokenBucket::new(Quota::new(1, Duration::from_secs(10)))?;
        let owners = KeyedLimiter::<Arc<str>, _>::with_capacity(bucket, config.keys);
        let reports = Policy::keyed("reports", KeyOwner::new(), owners)?;

        Ok(Self {
            address: RateLimitLayer::new([address])?,
            everybody: everybody(Priority::Normal)?,
            everybody_critical: everybody(Priority::Critical)?,
            reports: RateLimitLayer::new([reports])?,
        })
    }
}
