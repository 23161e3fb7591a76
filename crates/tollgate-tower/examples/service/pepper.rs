//! Whether the pepper is the one that the database was begun with: by another, every key would be refused as invalid.

use std::error::Error;

use rusqlite::OptionalExtension;
use tollgate::keys::Digester;

use crate::{database::Database, row};

/// A token of nobody: there is no record of it. Its digest is what the database remembers of the pepper.
///
/// With it, who steals the file can try peppers; as can, without it, whoever has a key. Of 16 random bytes none is found.
const WITNESS: &[u8] = b"tg_pepper_otr1MUy6eYzk2bx0OYCONhnbcSo6uLWyGe9UpVQS0c07DTk03jgcX1";

/// Remembers the pepper of `digester` at the first start, and refuses another from then on.
pub(crate) fn check(database: &Database, digester: &Digester) -> Result<(), Box<dyn Error>> {
    let witness = digester.read(WITNESS)?;
    let kept = database
        .with(|connection| connection.query_row("SELECT scheme, digest FROM pepper", [], row::digest).optional())?;
    match kept {
        Some(kept) if digester.matches(&witness, &kept) => Ok(()),
        Some(_) => {
            Err("TOLLGATE_PEPPER: not the one that the database was begun with; by it no key would be accepted".into())
        }
        None => {
            let digest = digester.digest(&witness);
            let values = (digest.scheme().to_string(), *digest.as_bytes());
            database
                .with(|connection| connection.execute("INSERT INTO pepper (scheme, digest) VALUES (?1, ?2)", values))?;
            Ok(())
        }
    }
}
