//! How much each key was used, from counters in memory to the database, a batch at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use serde::Serialize;
use tollgate::keys::{Counts, KeyId, UnixTime, UsageTable};

use crate::{
    database::Database,
    row::{self, parsed},
};

/// The number of the day, since 1970, in UTC.
pub(crate) fn day(now: UnixTime) -> i64 {
    row::seconds(now) / 86_400
}

/// Writes what the counters say.
#[derive(Debug)]
pub(crate) struct UsageLog {
    database: Arc<Database>,
    /// What was taken off the counters and could not be written yet, of each key and each day that it counts for.
    pending: Mutex<HashMap<(KeyId, i64), Counts>>,
}

/// What a key was used in a day.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct DayUsage {
    /// The number of the day, since 1970, in UTC.
    day: i64,
    /// Requests that passed.
    pub(crate) allowed: u64,
    /// Requests that a limit has refused.
    limited: u64,
    /// Requests that were refused for another reason.
    refused: u64,
    /// When the last of them came, in seconds since 1970.
    last_used: Option<u64>,
}

impl UsageLog {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, pending: Mutex::default() }
    }

    /// Takes what was counted since the last time, and writes it in one transaction. It blocks.
    ///
    /// What cannot be written is kept, and written the next time.
    pub(crate) fn flush(&self, counters: &UsageTable, now: UnixTime) -> rusqlite::Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, more) in counters.drain() {
            let counts = pending.entry((id, day(now))).or_default();
            counts.allowed += more.allowed;
            counts.limited += more.limited;
            counts.refused += more.refused;
            counts.last_used = counts.last_used.max(more.last_used);
        }
        if pending.is_empty() {
            return Ok(());
        }
        self.database.with(|connection| write(connection, &pending))?;
        pending.clear();
        Ok(())
    }

    /// What a key was used in each of its last days, the last one first. It blocks.
    pub(crate) fn of(&self, id: &KeyId, days: u32) -> rusqlite::Result<Vec<DayUsage>> {
        self.database.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT day, allowed, limited, refused, last_used FROM usage WHERE id = ?1 ORDER BY day DESC LIMIT ?2",
            )?;
            let usage = query.query_map((id.as_str(), days), |row| {
                Ok(DayUsage {
                    day: row.get(0)?,
                    allowed: count(row.get(1)?),
                    limited: count(row.get(2)?),
                    refused: count(row.get(3)?),
                    last_used: row.get::<_, Option<i64>>(4)?.map(|seconds| row::time(seconds).as_secs()),
                })
            })?;
            usage.collect()
        })
    }

    /// How many requests of each family of keys have passed on the day of `now`. It blocks.
    pub(crate) fn of_families(&self, now: UnixTime) -> rusqlite::Result<HashMap<KeyId, u64>> {
        self.database.with(|connection| {
            let mut query = connection.prepare(
                "SELECT family, sum(allowed) AS allowed FROM usage JOIN keys USING (id) WHERE day = ?1 GROUP BY family",
            )?;
            let families =
                query.query_map([day(now)], |row| Ok((parsed(row, "family")?, count(row.get("allowed")?))))?;
            families.collect()
        })
    }
}

fn write(connection: &mut Connection, batch: &HashMap<(KeyId, i64), Counts>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut add = transaction.prepare_cached(
            "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id, day) DO UPDATE SET
                 allowed = allowed + excluded.allowed,
                 limited = limited + excluded.limited,
                 refused = refused + excluded.refused,
                 last_used = max(coalesce(last_used, 0), coalesce(excluded.last_used, 0))",
        )?;
        for ((id, day), counts) in batch {
            let Counts { allowed, limited, refused, last_used } = *counts;
            let [allowed, limited, refused] = [allowed, limited, refused].map(u64::cast_signed);
            add.execute((id.as_str(), day, allowed, limited, refused, last_used.map(row::seconds)))?;
        }
    }
    transaction.commit()
}

/// A number of requests as it was stored.
fn count(stored: i64) -> u64 {
    stored.max(0).cast_unsigned()
}
