//! A key's record as a row of the table `keys`, and back.

use std::{error::Error, str::FromStr};

use rusqlite::{Connection, Row, named_params, types::Type};
use tollgate::keys::{Digest, Record, Status, UnixTime};

/// Runs a statement on all fields of a record; how many rows it has changed.
pub(crate) fn execute(connection: &Connection, sql: &str, record: &Record) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": record.id.as_str(),
        ":prefix": record.prefix.as_str(),
        ":scheme": record.digest.scheme().to_string(),
        ":digest": record.digest.as_bytes(),
        ":owner": &*record.owner,
        ":family": record.family.as_str(),
        ":tier": &*record.tier,
        ":scopes": record.scopes.as_str(),
        ":status": status_name(record.status),
        ":not_before": record.not_before.map(seconds),
        ":expires_at": record.expires_at.map(seconds),
        ":retires_at": record.retires_at.map(seconds),
        ":version": record.version.cast_signed(),
    })
}

/// A record from its row. What cannot be read is an error, and an error lets nobody in.
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let time = |column| -> rusqlite::Result<Option<UnixTime>> { Ok(row.get::<_, Option<i64>>(column)?.map(time)) };
    let status: String = row.get("status")?;
    let status =
        [Status::Active, Status::Disabled, Status::Revoked].into_iter().find(|&known| status_name(known) == status);
    Ok(Record {
        id: parsed(row, "id")?,
        prefix: parsed(row, "prefix")?,
        digest: digest(row)?,
        owner: row.get("owner")?,
        family: parsed(row, "family")?,
        tier: row.get("tier")?,
        scopes: parsed(row, "scopes")?,
        status: status.ok_or_else(|| rusqlite::Error::InvalidColumnName("status".into()))?,
        not_before: time("not_before")?,
        expires_at: time("expires_at")?,
        retires_at: time("retires_at")?,
        version: row.get::<_, i64>("version")?.cast_unsigned(),
        meta: (),
    })
}

/// The digest of a row's columns `scheme` and `digest`.
pub(crate) fn digest(row: &Row<'_>) -> rusqlite::Result<Digest> {
    Ok(Digest::from_parts(parsed(row, "scheme")?, row.get("digest")?))
}

/// The text of a column, as what it stands for.
pub(crate) fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

/// A time as SQLite has it, in 63 bits: enough for some hundred billion years.
pub(crate) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn time(seconds: i64) -> UnixTime {
    UnixTime::from_secs(seconds.max(0).cast_unsigned())
}

pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
        Status::Revoked => "revoked",
    }
}
