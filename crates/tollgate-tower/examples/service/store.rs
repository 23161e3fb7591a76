//! The keys: all of them in memory, where requests look them up, and in the database, which every change reaches first.

use std::{convert::Infallible, sync::Arc};

use rusqlite::Connection;
use tollgate::keys::{KeyId, KeyStore, MemoryStore, Record, Scope, Status, UnixTime, Write};

use crate::{database::Database, row};

/// A [`MemoryStore`] before a [`Database`] that belongs to this process alone.
///
/// A look-up touches the memory only, so that it may happen where other requests are waiting, and that guesses, however
/// many, do not reach the database. A change blocks until it is committed.
#[derive(Debug)]
pub(crate) struct Store {
    memory: MemoryStore,
    database: Arc<Database>,
}

const INSERT: &str =
    "INSERT INTO keys VALUES (:id, :prefix, :scheme, :digest, :owner, :family, :tier, :scopes, :status,
                          :not_before, :expires_at, :retires_at, :version)
                      ON CONFLICT (id) DO NOTHING";

/// The comparison and the swap are one statement, which is what makes them one step.
const UPDATE: &str = "UPDATE keys SET prefix = :prefix, scheme = :scheme, digest = :digest, owner = :owner,
                          family = :family, tier = :tier, scopes = :scopes, status = :status, not_before = :not_before,
                          expires_at = :expires_at, retires_at = :retires_at, version = :version + 1
                      WHERE id = :id AND version = :version";

impl Store {
    /// Reads all keys into memory.
    pub(crate) fn open(database: Arc<Database>) -> rusqlite::Result<Self> {
        let memory = MemoryStore::new();
        database.with(|connection| {
            let mut query = connection.prepare("SELECT * FROM keys")?;
            for record in query.query_map([], row::read)? {
                done(memory.insert(record?));
            }
            Ok(())
        })?;
        Ok(Self { memory, database })
    }

    /// How many keys there are, revoked ones too.
    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Up to `most` records in the order of their ids, of those that come after `after`. It blocks.
    pub(crate) fn list(&self, after: &str, most: u32) -> rusqlite::Result<Vec<Record>> {
        self.database.with(|connection| {
            let mut query = connection.prepare_cached("SELECT * FROM keys WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            query.query_map((after, most), row::read)?.collect()
        })
    }

    /// Whether a key, not counting those that were rotated, may be used for what requires `scope`. It blocks.
    pub(crate) fn is_granted(&self, scope: Scope<'_>, now: UnixTime) -> rusqlite::Result<bool> {
        self.database.with(|connection| {
            let mut query = connection.prepare("SELECT * FROM keys WHERE retires_at IS NULL")?;
            for record in query.query_map([], row::read)? {
                let record = record?;
                if record.scopes.grants(scope) && record.usable(now).is_ok() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The families of keys with the names of their tiers, the last being that of the key which is used: one that is not
    /// revoked, and has not retired, or not for as long as the others. It blocks.
    pub(crate) fn families(&self) -> rusqlite::Result<Vec<(KeyId, String)>> {
        self.database.with(|connection| {
            let mut query = connection
                .prepare("SELECT family, tier FROM keys ORDER BY status = ?1, retires_at IS NULL, retires_at")?;
            query
                .query_map([row::status_name(Status::Active)], |row| {
                    Ok((row::parsed(row, "family")?, row.get("tier")?))
                })?
                .collect()
        })
    }

    /// Stores many records in one transaction.
    pub(crate) fn insert_all(&self, records: Vec<Record>) -> rusqlite::Result<()> {
        self.database.with(|connection| {
            let transaction = connection.transaction()?;
            for record in &records {
                row::execute(&transaction, INSERT, record)?;
            }
            transaction.commit()?;
            for record in records {
                done(self.memory.insert(record));
            }
            Ok(())
        })
    }

    /// Changes the database and then, still with nobody in between, the memory.
    fn write(
        &self,
        sql: &str,
        record: Record,
        remember: fn(&MemoryStore, Record) -> Result<Write, Infallible>,
    ) -> rusqlite::Result<Write> {
        self.database.with(|connection: &mut Connection| {
            if row::execute(connection, sql, &record)? == 0 {
                return Ok(Write::Conflict);
            }
            done(remember(&self.memory, record));
            Ok(Write::Done)
        })
    }
}

/// What the memory says to a change that the database has accepted, of which it is a copy.
fn done(written: Result<Write, Infallible>) {
    let Ok(written) = written;
    debug_assert_eq!(written, Write::Done);
}

impl KeyStore for Store {
    type Meta = ();
    type Error = rusqlite::Error;

    fn get(&self, id: &KeyId) -> rusqlite::Result<Option<Arc<Record>>> {
        let Ok(record) = self.memory.get(id);
        Ok(record)
    }

    fn insert(&self, record: Record) -> rusqlite::Result<Write> {
        self.write(INSERT, record, MemoryStore::insert)
    }

    fn update(&self, record: Record) -> rusqlite::Result<Write> {
        self.write(UPDATE, record, MemoryStore::update)
    }
}
