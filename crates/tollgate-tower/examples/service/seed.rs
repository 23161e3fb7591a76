//! Many keys at once, to measure with.

use std::{
    error::Error,
    io::{self, BufWriter, Write as _},
};

use getrandom::SysRng;
use tollgate::keys::{NewKey, Scopes};

use crate::{
    app::{App, PREFIX},
    items, tiers,
};

/// Issues so many keys in one transaction, each with an owner of its own, and prints them, one a line.
pub(crate) fn run(app: &App, count: usize) -> Result<(), Box<dyn Error>> {
    let keyring = app.gate.keyring();
    let scopes = Scopes::new([items::READ.as_str()])?;
    let (mut keys, mut records) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count {
        let key = NewKey::new(PREFIX, format!("owner {number}")).tier(tiers::TIERS[0].name).scopes(scopes.clone());
        let issued = key.issue(keyring.digester(), &mut SysRng)?;
        keys.push(issued.key);
        records.push(issued.record);
    }
    keyring.store().insert_all(records)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for key in keys {
        writeln!(out, "{}", key.expose_secret())?;
    }
    out.flush()?;
    Ok(())
}
