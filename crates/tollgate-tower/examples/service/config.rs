//! What the environment says.

use std::{env, error::Error, fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// How the service is to run.
///
/// No `Debug`: one of its fields is a secret.
pub(crate) struct Config {
    /// `TOLLGATE_PEPPER`: the secret that digests of keys are made with; without it, what is stored is worth nothing.
    pub(crate) pepper: String,
    /// `TOLLGATE_DATABASE`: the file of keys and usage; `service.sqlite` unless set.
    pub(crate) database: PathBuf,
    /// `TOLLGATE_LISTEN`: where to listen; `127.0.0.1:8080` unless set.
    pub(crate) listen: SocketAddr,
    /// `TOLLGATE_FLUSH_SECONDS`: how often usage is written; every 5 seconds unless set.
    pub(crate) flush: Duration,
    /// `TOLLGATE_ADDRESS_LIMIT`: requests a second of one address; 100 unless set.
    pub(crate) address_limit: u64,
    /// `TOLLGATE_SERVICE_LIMIT`: requests a second of all together; 10,000 unless set.
    pub(crate) service_limit: u64,
    /// `TOLLGATE_KEYS`: how many keys may be in use at one time; 100,000 unless set.
    pub(crate) keys: usize,
}

/// Each has some 23 bytes, twice: 46 GB.
const MOST_KEYS: usize = 1_000_000_000;

impl Config {
    pub(crate) fn from_env() -> Result<Self, Box<dyn Error>> {
        let keys = or("TOLLGATE_KEYS", "100000")?;
        if !(1..=MOST_KEYS).contains(&keys) {
            return Err(format!("TOLLGATE_KEYS: {keys}; use 1 to {MOST_KEYS}").into());
        }
        Ok(Self {
            pepper: env::var("TOLLGATE_PEPPER").map_err(|error| {
                format!("TOLLGATE_PEPPER: {error}; set it to 16 or more random bytes, as of `openssl rand -hex 32`")
            })?,
            database: or("TOLLGATE_DATABASE", "service.sqlite")?,
            listen: or("TOLLGATE_LISTEN", "127.0.0.1:8080")?,
            flush: Duration::from_secs(or::<u64>("TOLLGATE_FLUSH_SECONDS", "5")?.max(1)),
            address_limit: or("TOLLGATE_ADDRESS_LIMIT", "100")?,
            service_limit: or("TOLLGATE_SERVICE_LIMIT", "10000")?,
            keys,
        })
    }
}

/// The variable of that name, or else `fallback`.
fn or<T: FromStr<Err: Display>>(name: &str, fallback: &str) -> Result<T, String> {
    let value = match env::var(name) {
        Ok(value) => value,
        Err(env::VarError::NotPresent) => fallback.to_owned(),
        Err(error) => return Err(format!("{name}: {error}")),
    };
    value.parse().map_err(|error| format!("{name}: {value:?}: {error}"))
}
