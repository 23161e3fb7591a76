//! What all requests share: the gate, and where usage is written.

use std::{error::Error, sync::Arc};

use getrandom::SysRng;
use metrics_exporter_prometheus::PrometheusHandle;
use tollgate::{
    IpKey, KeyedLimiter, Quota, TokenBucket,
    keys::{Digester, Gate, Issued, Keyring, NewKey, Prefix, Scopes, UnixTime},
};

use crate::{admin, config::Config, daily, database::Database, metrics, pepper, store::Store, tiers, usage::UsageLog};

/// What keys of this service begin with.
pub(crate) const PREFIX: Prefix = Prefix::literal("tg_demo");

/// What all requests share.
pub(crate) struct App {
    pub(crate) gate: Arc<Gate<Store>>,
    pub(crate) usage: UsageLog,
    pub(crate) metrics: PrometheusHandle,
}

impl App {
    /// Opens the database, and takes up what it says.
    pub(crate) fn open(config: &Config) -> Result<Self, Box<dyn Error>> {
        let digester =
            Digester::peppered(1, config.pepper.as_bytes()).map_err(|error| format!("TOLLGATE_PEPPER: {error}"))?;
        let database = Database::open(&config.database)
            .map_err(|error| format!("TOLLGATE_DATABASE: {}: {error}", config.database.display()))?;
        pepper::check(&database, &digester)?;
        let database = Arc::new(database);
        let usage = UsageLog::new(Arc::clone(&database));
        let keyring = Keyring::new(digester, Store::open(database)?);
        // Whoever guesses keys may do so 30 times a minute from one address.
        let failures = TokenBucket::new(Quota::per_minute(30))?;
        let gate = Gate::new(keyring)
            .throttle(KeyedLimiter::<IpKey, _>::with_capacity(failures, 100_000))
            .limit(tiers::limiter(config.keys)?);
        daily::restore(&gate, &usage, UnixTime::now())?;
        Ok(Self { gate: Arc::new(gate), usage, metrics: metrics::install()? })
    }

    /// A key which may do everything, if there is none by which keys can be administered: the first, or one in place of
    /// the last, which was revoked or has expired.
    pub(crate) fn first_key(&self) -> Result<Option<Issued>, Box<dyn Error>> {
        let now = UnixTime::now();
        if self.gate.keyring().store().is_granted(admin::SCOPE, now)? {
            return Ok(None);
        }
        let key = NewKey::new(PREFIX, "admin").tier("internal").scopes(Scopes::new(["*"])?);
        let issued = self.gate.keyring().issue(key, &mut SysRng)?;
        daily::open(self.gate.credits(), issued.record.family, &issued.record.tier, 0, now)?;
        Ok(Some(issued))
    }

    /// Writes what was counted since the last time. It blocks.
    pub(crate) fn flush(&self) -> rusqlite::Result<()> {
        self.usage.flush(self.gate.usage(), UnixTime::now())
    }
}
