//! The file that keys and their usage are kept in.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

/// One connection to a file of SQLite, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the file, and makes it and its tables if they are not there.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        // Nobody else may open the file, not even to read it: a second service would not see what this one revokes. It waits
        // for one that is about to end, and then gives up.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // With `synchronous = FULL`, what is committed survives the loss of power, and not only of the process.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS keys (
                 id         TEXT PRIMARY KEY,
                 prefix     TEXT NOT NULL,
                 scheme     TEXT NOT NULL,
                 digest     BLOB NOT NULL,
                 owner      TEXT NOT NULL,
                 family     TEXT NOT NULL,
                 tier       TEXT NOT NULL,
                 scopes     TEXT NOT NULL,
                 status     TEXT NOT NULL,
                 not_before INTEGER,
                 expires_at INTEGER,
                 retires_at INTEGER,
                 version    INTEGER NOT NULL
             ) STRICT, WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS pepper (
                 scheme TEXT NOT NULL,
                 digest BLOB NOT NULL
             ) STRICT;
             CREATE TABLE IF NOT EXISTS usage (
                 id        TEXT NOT NULL,
                 day       INTEGER NOT NULL,
                 allowed   INTEGER NOT NULL,
                 limited   INTEGER NOT NULL,
                 refused   INTEGER NOT NULL,
                 last_used INTEGER,
                 PRIMARY KEY (id, day)
             ) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Does something with the connection. It blocks: not to be called from where others' requests are waiting.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        work(&mut self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
