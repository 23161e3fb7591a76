//! API keys: issue, verify, rotate, revoke, and from a key to its quota.
//!
//! ```text
//! {prefix}_{id:16}{secret:32}{crc:6}        tg_live_4eC39HqLyjWDarjtT1zdp7dcTYooMQauvdEDq54NiTphI7jx0FWHZ6
//! ```
//!
//! - A [`NewKey`] is issued as an [`ApiKey`], to be shown once, and a [`Record`], to be stored. What is stored of the
//!   secret is a [`Digest`]; a [`Digester`] makes them and compares them, in time that tells nothing.
//! - A [`Keyring`] is a digester with a [`KeyStore`], a database of yours or a [`MemoryStore`]: it issues, verifies, rotates,
//!   disables and revokes. Without I/O, the same is in [`Digester::verify`], [`Record::rotate`], [`Record::revoke`].
//! - [`Scopes`] say what a key is for, [`Quotas`] what its tier may, [`Credits`] what is left to spend; a [`RecordLimiter`]
//!   holds it to that, and a [`UsageTable`] counts.
//! - A [`Gate`] is all of it in one call: what was presented goes in, a [`Grant`] comes out, or a [`Refusal`].
//!
//! Nothing here does I/O or reads a clock. Times are [`UnixTime`]s and randomness is a generator, and both are handed in.

mod base62;
mod crc32;
mod credit;
mod digest;
mod draw;
mod gate;
mod id;
mod issue;
mod keyring;
mod leak;
mod limit;
mod lock;
mod prefix;
mod presented;
mod quotas;
mod record;
mod record_limiter;
mod refusal;
mod rotate;
mod scope;
mod secret;
mod store;
mod table;
mod time;
mod token;
mod usage;
mod verify;

pub use {
    credit::{CreditError, CreditPlan, CreditTable, Credits, Exhausted},
    digest::{Digest, Digester, PepperError, Scheme, SchemeError},
    gate::{Attempt, Gate, Grant},
    id::{KeyId, KeyIdError},
    issue::{IssueError, Issued, NewKey},
    keyring::{ChangeError, Keyring, Verified, VerifyError},
    leak::leak_digest,
    limit::LimitBy,
    prefix::{Prefix, PrefixError},
    presented::{Presented, bearer},
    quotas::{Quotas, Source},
    record::{IsRevoked, Record, Status},
    record_limiter::{HangOn, RecordLimiter},
    refusal::Refusal,
    rotate::{RotateError, Rotation},
    scope::{Scope, ScopeError, Scopes},
    secret::ApiKey,
    store::{KeyStore, MemoryStore, Write},
    time::UnixTime,
    token::{FormatError, Token},
    usage::{Counts, Outcome, Usage, UsageTable},
    verify::KeyError,
};
