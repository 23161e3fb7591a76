//! The store in memory: create only, and compare before swapping.

use std::{sync::Arc, thread};

use tollgate::keys::{Digester, KeyStore, MemoryStore, Record, Write};

use super::issue;

fn record(seed: u64) -> Record {
    issue(&Digester::plain(), seed).record
}

/// An insert that replaces: whoever draws, or chooses, an id that exists takes the key over.
#[test]
fn an_insert_replaces_nothing() {
    let store = MemoryStore::new();
    let mine = record(1);
    assert_eq!(store.insert(mine.clone()), Ok(Write::Done));
    assert_eq!(store.insert(Record { id: mine.id, ..record(2) }), Ok(Write::Conflict));
    assert_eq!(store.len(), 1);
    let stored = store.get(&mine.id).unwrap().unwrap();
    assert_eq!(stored.digest.as_bytes(), mine.digest.as_bytes());
}

/// An update that inserts: a record that was removed comes back.
#[test]
fn an_update_inserts_nothing() {
    let store = MemoryStore::new();
    assert_eq!(store.update(record(1)), Ok(Write::Conflict));
    assert!(store.is_empty());
    assert!(store.get(&record(1).id).unwrap().is_none());
}

#[test]
fn an_update_is_for_one_version() {
    let store = MemoryStore::new();
    let mine = record(1);
    assert_eq!(store.insert(mine.clone()), Ok(Write::Done));
    for version in 0..4 {
        for wrong in [version + 1, u64::MAX, version.wrapping_sub(1)] {
            assert_eq!(store.update(Record { version: wrong, ..mine.clone() }), Ok(Write::Conflict), "{wrong}");
        }
        assert_eq!(store.update(Record { version, ..mine.clone() }), Ok(Write::Done));
        assert_eq!(store.get(&mine.id).unwrap().unwrap().version, version + 1);
    }
}

/// Check, then swap: of many writers of one version, two thought that they had won.
#[test]
fn of_many_writers_of_one_version_one_wins() {
    let store = Arc::new(MemoryStore::new());
    let mine = record(1);
    assert_eq!(store.insert(mine.clone()), Ok(Write::Done));
    for version in 0..200 {
        let write = |owner: &str| {
            let next = Record { version, owner: owner.into(), ..mine.clone() };
            let store = Arc::clone(&store);
            thread::spawn(move || store.update(next) == Ok(Write::Done))
        };
        let threads = [write("a"), write("b"), write("c")];
        let wins = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|&won| won).count();
        assert_eq!(wins, 1, "version {version}");
    }
}

/// A reader's record that changes under it.
#[test]
fn what_was_read_stays_as_it_was() {
    let store = MemoryStore::new();
    let mine = record(1);
    assert_eq!(store.insert(mine.clone()), Ok(Write::Done));
    let read = store.get(&mine.id).unwrap().unwrap();
    assert_eq!(store.update(Record { owner: "other".into(), ..mine }), Ok(Write::Done));
    assert_eq!((&*read.owner, read.version), ("acme", 0));
}

#[test]
fn many_records_are_all_found() {
    let store = MemoryStore::new();
    let ids: Vec<_> = (0..2_000)
        .map(|seed| {
            let record = record(seed);
            let id = record.id;
            assert_eq!(store.insert(record), Ok(Write::Done));
            id
        })
        .collect();
    assert_eq!(store.len(), ids.len());
    for id in ids {
        assert_eq!(store.get(&id).unwrap().unwrap().id, id);
    }
}
