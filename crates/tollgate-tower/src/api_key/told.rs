//! What a client is told of the gate's limits.

use std::{
    iter,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;
use tollgate::{Allowed, Denied, Quota, keys::UnixTime};

use crate::{
    Dialect,
    dialect::{self, Standing},
    text::Text,
};

/// The name that clients know one of the gate's limits by, and the time in which it counts.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: Text,
    pub(super) window: Duration,
}

impl Named {
    /// What is told of it to those who have this limit.
    fn told(&self, limit: u64) -> (&str, Quota, Option<&str>) {
        (self.name.quoted(), Quota::new(limit, self.window), None)
    }
}

/// The limits that clients are told of, in the order in which the gate has them.
#[derive(Debug, Default)]
pub(super) struct NamedLimits {
    list: Box<[Named]>,
    /// What the header of all policies says to those who have these limits: as many as most gates have tiers.
    headers: [OnceLock<(SmallVec<[u64; 2]>, HeaderValue)>; 8],
}

impl NamedLimits {
    /// The same, and one more.
    pub(super) fn and(&self, named: Named) -> Self {
        Self { list: self.list.iter().cloned().chain([named]).collect(), ..Self::default() }
    }

    /// That of this index, if it has a name.
    pub(super) fn get(&self, index: usize) -> Option<&Named> {
        self.list.get(index)
    }

    /// What the header of all policies says to those of whom that is said.
    fn header(&self, said: &[Allowed]) -> HeaderValue {
        let limits = || self.list.iter().zip(said).map(|(_, said)| said.limit);
        let write = || dialect::policies(self.list.iter().zip(limits()).map(|(named, limit)| named.told(limit)));
        for seen in &self.headers {
            let (of, header) = seen.get_or_init(|| (limits().collect(), write()));
            if of.iter().copied().eq(limits()) {
                return header.clone();
            }
        }
        write()
    }
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
    pub(super) fn allowed(named: &NamedLimits, said: &[Allowed], now: UnixTime, dialect: Dialect) -> Option<Self> {
        let (tightest, of) = named.list.iter().zip(said).min_by_key(|(_, said)| said.remaining)?;
        let policies = (dialect == Dialect::Structured).then(|| named.header(said));
        let &Allowed { limit, remaining, reset_after: reset, .. } = of;
        Some(Self { policy: Arc::clone(tightest.name.quoted()), limit, remaining, reset, policies, now })
    }

    /// To a request that one of them has refused.
    pub(super) fn denied(named: &Named, said: &Denied, now: UnixTime) -> Self {
        Self {
            policy: Arc::clone(named.name.quoted()),
            limit: said.limit,
            remaining: said.remaining,
            reset: said.retry_after.unwrap_or(said.reset_after),
            policies: Some(dialect::policies(iter::once(named.told(said.limit)))),
            now,
        }
    }

    /// Writes the headers, once.
    pub(super) fn write(&mut self, dialect: Dialect, headers: &mut HeaderMap) {
        let Self { ref policy, limit, remaining, reset, ref mut policies, now } = *self;
        // The end of the second, so that who waits until then has waited long enough.
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::new(now.as_secs(), 999_999_999));
        let calendar = || now.unwrap_or(SystemTime::UNIX_EPOCH);
        dialect.write(headers, Standing { policy, limit, remaining, reset }, || policies.take(), &calendar);
    }
}
