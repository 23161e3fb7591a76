//! Keys in a database: the [`KeyStore`] trait on a file of SQLite, across a restart, and with two processes that change
//! one key at the same time:
//!
//! ```sh
//! cargo run --example sqlite_store
//! ```

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rusqlite::{Connection, OptionalExtension, Row, named_params, types::Type};
use tollgate::keys::{Digest, Digester, KeyId, KeyStore, Keyring, NewKey, Prefix, Record, Status, UnixTime, Write};

/// Keys in a table of SQLite. What the application keeps with each of them is a note.
struct SqliteStore {
    connection: Mutex<Connection>,
}

type Note = String;

impl SqliteStore {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
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
                 version    INTEGER NOT NULL,
                 note       TEXT NOT NULL
             ) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Runs a statement on all fields of a record; how many rows it has changed.
    fn execute(&self, sql: &str, record: &Record<Note>) -> rusqlite::Result<usize> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.prepare_cached(sql)?.execute(named_params! {
            ":id": record.id.as_str(),
            ":prefix": record.prefix.as_str(),
            ":scheme": record.digest.scheme().to_string(),
            ":digest": record.digest.as_bytes(),
            ":owner": &*record.owner,
            ":family": record.family.as_str(),
            ":tier": &*record.tier,
            ":scopes": record.scopes.as_str(),
            ":status": name_of(record.status),
            ":not_before": record.not_before.map(seconds),
            ":expires_at": record.expires_at.map(seconds),
            ":retires_at": record.retires_at.map(seconds),
            ":version": record.version.cast_signed(),
            ":note": record.meta,
        })
    }
}

impl KeyStore for SqliteStore {
    type Meta = Note;
    type Error = rusqlite::Error;

    fn get(&self, id: &KeyId) -> rusqlite::Result<Option<Arc<Record<Note>>>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = connection.prepare_cached("SELECT * FROM keys WHERE id = ?1")?;
        Ok(query.query_row([id.as_str()], record).optional()?.map(Arc::new))
    }

    fn insert(&self, record: Record<Note>) -> rusqlite::Result<Write> {
        let rows = self.execute(
            "INSERT INTO keys VALUES (:id, :prefix, :scheme, :digest, :owner, :family, :tier, :scopes, :status,
                                      :not_before, :expires_at, :retires_at, :version, :note)
             ON CONFLICT (id) DO NOTHING",
            &record,
        )?;
        Ok(if rows == 1 { Write::Done } else { Write::Conflict })
    }

    /// The comparison and the swap are one statement, which is what makes them one step, for other processes too.
    fn update(&self, record: Record<Note>) -> rusqlite::Result<Write> {
        let rows = self.execute(
            "UPDATE keys SET prefix = :prefix, scheme = :scheme, digest = :digest, owner = :owner, family = :family,
                             tier = :tier, scopes = :scopes, status = :status, not_before = :not_before,
                             expires_at = :expires_at, retires_at = :retires_at, version = :version + 1, note = :note
             WHERE id = :id AND version = :version",
            &record,
        )?;
        Ok(if rows == 1 { Write::Done } else { Write::Conflict })
    }
}

/// A time as SQLite has it, in 63 bits: enough for some hundred billion years.
fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn name_of(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
        Status::Revoked => "revoked",
    }
}

/// A record from its row. What cannot be read is an error, and an error lets nobody in.
fn record(row: &Row<'_>) -> rusqlite::Result<Record<Note>> {
    fn parsed<T: std::str::FromStr<Err: Error + Send + Sync + 'static>>(
        row: &Row<'_>,
        column: &str,
    ) -> rusqlite::Result<T> {
        let text: String = row.get(column)?;
        text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
    }
    let time = |column| -> rusqlite::Result<Option<UnixTime>> {
        let seconds: Option<i64> = row.get(column)?;
        Ok(seconds.map(|seconds| UnixTime::from_secs(seconds.max(0).cast_unsigned())))
    };
    let status: String = row.get("status")?;
    let status =
        [Status::Active, Status::Disabled, Status::Revoked].into_iter().find(|&known| name_of(known) == status);
    Ok(Record {
        id: parsed(row, "id")?,
        prefix: parsed(row, "prefix")?,
        digest: Digest::from_parts(parsed(row, "scheme")?, row.get("digest")?),
        owner: row.get("owner")?,
        family: parsed(row, "family")?,
        tier: row.get("tier")?,
        scopes: parsed(row, "scopes")?,
        status: status.ok_or_else(|| rusqlite::Error::InvalidColumnName("status".into()))?,
        not_before: time("not_before")?,
        expires_at: time("expires_at")?,
        retires_at: time("retires_at")?,
        version: row.get::<_, i64>("version")?.cast_unsigned(),
        meta: row.get("note")?,
    })
}

const LIVE: Prefix = Prefix::literal("tg_live");
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
/// How many changes each of two processes makes.
const CHANGES: usize = 200;

fn keyring(path: &Path) -> Result<Keyring<SqliteStore>, Box<dyn Error>> {
    let digester = Digester::peppered(1, b"32 bytes of randomness, from a vault")?;
    Ok(Keyring::new(digester, SqliteStore::open(path)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["append", path, id, mark] => append(Path::new(path), &id.parse()?, mark),
        [] => {
            let path = env::temp_dir().join(format!("tollgate-{}.sqlite", std::process::id()));
            let told = tell(&path);
            for suffix in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(PathBuf::from(format!("{}{suffix}", path.display())));
            }
            told
        }
        _ => Err("usage: sqlite_store".into()),
    }
}

/// What the other processes do: many small changes of one key.
fn append(path: &Path, id: &KeyId, mark: &str) -> Result<(), Box<dyn Error>> {
    let keyring = keyring(path)?;
    for _ in 0..CHANGES {
        keyring.change(id, |record| {
            record.meta.push_str(mark);
            Ok(())
        })?;
    }
    Ok(())
}

fn tell(path: &Path) -> Result<(), Box<dyn Error>> {
    // Another seed would be another key: a service takes the operating system's generator instead.
    let mut generator = ChaCha20Rng::seed_from_u64(7);

    println!("A key is issued, and the service stops.");
    let issued = {
        let keyring = keyring(path)?;
        let new = NewKey::new(LIVE, "initech").tier("pro").scopes("orders:*".parse()?);
        keyring.issue(new.expires_at(NOW + Duration::from_secs(86_400)).meta(String::new()), &mut generator)?
    };
    let presented = issued.key.expose_secret().as_bytes();

    println!("It starts again, and knows the key.");
    let keyring = keyring(path)?;
    let verified = keyring.verify(presented, NOW)?;
    println!(
        "    {}: {} of {}, {:?}",
        verified.record.id, verified.record.tier, verified.record.owner, verified.record.scopes
    );
    assert_eq!(verified.record.scopes, issued.record.scopes);
    assert_eq!(verified.record.expires_at, issued.record.expires_at);

    println!("Two processes change its note, {CHANGES} times each, at the same time.");
    let (id, program) = (issued.key.id(), env::current_exe()?);
    let start = |mark| Command::new(&program).arg("append").arg(path).arg(id.as_str()).arg(mark).spawn();
    let (mut a, mut b) = (start("a")?, start("b")?);
    assert!(a.wait()?.success() && b.wait()?.success(), "both have made all their changes");
    let record = keyring.store().get(&id)?.ok_or("it is there")?;
    let count = |mark| record.meta.matches(mark).count();
    println!("    version {}: {} marks of the one, {} of the other", record.version, count('a'), count('b'));
    assert_eq!((count('a'), count('b'), record.version), (CHANGES, CHANGES, 2 * CHANGES as u64));

    println!("It is rotated without grace, and the new one revoked.");
    let rotated = keyring.rotate(&id, Duration::ZERO, NOW, &mut generator)?;
    println!("    the old one: {}", keyring.verify(presented, NOW).unwrap_err());
    keyring.verify(rotated.key.expose_secret().as_bytes(), NOW)?;
    keyring.revoke(&rotated.key.id())?;
    println!("    the new one: {}", keyring.verify(rotated.key.expose_secret().as_bytes(), NOW).unwrap_err());
    Ok(())
}
