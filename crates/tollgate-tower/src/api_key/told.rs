//! What a client is told of the gate's limits.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use tollgate::{Allowed, Denied, Quota, keys::UnixTime};

use crate::{
    Dialect,
    dialect::{self, Standing},
};

/// The name that clients know one of the gate's limits by, and the time in which it counts.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: Arc<str>,
    pub(super) window: Duration,
}

/// What a response is to say of the limits.
#[derive(Debug)]
pub(super) struct Told {
    policy: Arc<str>,
    limit: u64,
    remaining: u64,
    reset: Duration,
    policies: Option<HeaderValue>,
    now: UnixTime,
}

impl Told {
    /// To a request that has passed all limits, of which these are named.
    pub(super) fn allowed(named: &[Named], said: &[Allowed], now: UnixTime, dialect: Dialect) -> Option<Self> {
        let (named_tightest, tightest) = named.iter().zip(said).min_by_key(|(_, said)| said.remaining)?;
        let policies = (dialect == Dialect::Structured).then(|| {
            dialect::policies(
                named.iter().zip(said).map(|(named, said)| (&*named.name, Quota::new(said.limit, named.window), None)),
            )
        });
        let &Allowed { limit, remaining, reset_after: reset, .. } = tightest;
        Some(Self { policy: Arc::clone(&named_tightest.name), limit, remaining, reset, policies, now })
    }

    /// To a request that one of them has refused.
    pub(super) fn denied(named: &Named, said: &Denied, now: UnixTime) -> Self {
        let quota = Quota::new(said.limit, named.window);
        Self {
            policy: Arc::clone(&named.name),
            limit: said.limit,
            remaining: said.remaining,
            reset: said.retry_after.unwrap_or(said.reset_after),
            policies: Some(dialect::policies([(&*named.name, quota, None)].into_iter())),
            now,
        }
    }

    pub(super) fn write(self, dialect: Dialect, headers: &mut HeaderMap) {
        let Self { policy, limit, remaining, reset, policies, now } = self;
        // The end of the second, so that who waits until then has waited long enough.
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::new(now.as_secs(), 999_999_999));
        let calendar = || now.unwrap_or(SystemTime::UNIX_EPOCH);
        dialect.write(headers, Standing { policy: &policy, limit, remaining, reset }, || policies, &calendar);
    }
}
