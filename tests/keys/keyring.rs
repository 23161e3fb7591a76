//! Keys that are stored: what a failing or a racing store must not lead to.

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::Arc,
    thread,
    time::Duration,
};

use tollgate::keys::{
    ChangeError, Digester, IsRevoked, KeyError, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Record, Status,
    VerifyError, Write,
};

use super::{NOW, PREFIX, generator};

#[derive(Debug, PartialEq)]
struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("down")
    }
}

/// A store that can be down, and in which somebody else's change comes in between a `get` and the next `update`.
#[derive(Default)]
struct Fragile {
    store: MemoryStore,
    down: Cell<bool>,
    meanwhile: RefCell<Vec<fn(&mut Record)>>,
}

impl Fragile {
    fn up<T>(&self, answer: Result<T, core::convert::Infallible>) -> Result<T, Down> {
        if self.down.get() { Err(Down) } else { Ok(answer.unwrap()) }
    }
}

impl KeyStore for Fragile {
    type Meta = ();
    type Error = Down;

    fn get(&self, id: &KeyId) -> Result<Option<Arc<Record>>, Down> {
        self.up(self.store.get(id))
    }

    fn insert(&self, record: Record) -> Result<Write, Down> {
        self.up(self.store.insert(record))
    }

    fn update(&self, record: Record) -> Result<Write, Down> {
        if let Some(change) = self.meanwhile.borrow_mut().pop() {
            let mut theirs = (*self.store.get(&record.id).unwrap().unwrap()).clone();
            change(&mut theirs);
            assert_eq!(self.store.update(theirs), Ok(Write::Done));
        }
        self.up(self.store.update(record))
    }
}

fn keyring() -> (Keyring<Fragile>, KeyId, String) {
    let keyring = Keyring::new(Digester::plain(), Fragile::default());
    let issued = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    (keyring, issued.key.id(), issued.key.expose_secret().into())
}

fn stored(keyring: &Keyring<Fragile>, id: &KeyId) -> Record {
    (*keyring.store().store.get(id).unwrap().unwrap()).clone()
}

/// A store that is down lets everybody in, or says that a good key is bad, and the client throws it away.
#[test]
fn a_store_that_is_down_lets_nobody_in_and_accuses_nobody() {
    let (keyring, id, text) = keyring();
    keyring.store().down.set(true);
    let error = keyring.verify(text.as_bytes(), NOW).unwrap_err();
    assert_eq!(error, VerifyError::Unavailable(Down));
    assert_eq!(error.to_string(), "the key store is unavailable: down");
    assert_eq!(keyring.revoke(&id), Err(ChangeError::Unavailable(Down)));
    assert!(matches!(keyring.rotate(&id, Duration::ZERO, NOW, &mut generator(2)), Err(ChangeError::Unavailable(Down))));
    keyring.store().down.set(false);
    assert_eq!(keyring.verify(text.as_bytes(), NOW).unwrap().record.version, 0, "nothing happened to it");
}

/// Malformed input that reaches the store: a flood of nonsense is a flood of queries.
#[test]
fn malformed_input_never_reaches_the_store() {
    let (keyring, _, text) = keyring();
    keyring.store().down.set(true);
    for nonsense in ["", "tg_live_", &text[1..], &text.to_uppercase(), &format!("{text} ")] {
        let error = keyring.verify(nonsense.as_bytes(), NOW).unwrap_err();
        assert!(matches!(error, VerifyError::Key(KeyError::Malformed(_))), "{nonsense}: {error}");
    }
}

/// Read, change, write: somebody else's revocation is undone by a change of the tier that was read before it.
#[test]
fn a_change_in_between_is_not_lost() {
    let (keyring, id, _) = keyring();
    keyring.store().meanwhile.borrow_mut().push(Record::revoke);
    let tier = |record: &mut Record| {
        record.tier = "pro".into();
        Ok(())
    };
    keyring.change(&id, tier).unwrap();
    let record = stored(&keyring, &id);
    assert_eq!((record.status, &*record.tier, record.version), (Status::Revoked, "pro", 2));
    // And one that the revocation rules out is not made.
    let (keyring, id, _) = self::keyring();
    keyring.disable(&id).unwrap();
    keyring.store().meanwhile.borrow_mut().push(Record::revoke);
    assert_eq!(keyring.enable(&id), Err(ChangeError::Revoked(IsRevoked)));
    assert_eq!(stored(&keyring, &id).status, Status::Revoked);
}

/// A rotation that was decided on a record which is no longer true: of a key that was revoked meanwhile, or that has
/// fewer scopes by now.
#[test]
fn a_rotation_is_decided_on_the_record_that_it_replaces() {
    let (keyring, id, _) = keyring();
    keyring.store().meanwhile.borrow_mut().push(Record::revoke);
    let error = keyring.rotate(&id, Duration::ZERO, NOW, &mut generator(2)).unwrap_err();
    assert_eq!(error, ChangeError::Revoked(IsRevoked));
    assert_eq!(stored(&keyring, &id).retires_at, None);

    let (keyring, id, _) = self::keyring();
    keyring.store().meanwhile.borrow_mut().push(|record| record.tier = "less".into());
    let successor = keyring.rotate(&id, Duration::ZERO, NOW, &mut generator(2)).unwrap();
    assert_eq!(&*successor.record.tier, "less");
    // Of the attempt that lost, a record is left that nobody has the key of; it is revoked as well.
    assert_eq!(keyring.store().store.len(), 3);
    // What the generator draws first was for that attempt.
    let orphan = super::issue(&Digester::plain(), 2).record.id;
    assert_eq!(stored(&keyring, &orphan).status, Status::Revoked);
}

#[test]
fn what_must_not_change_does_not() {
    let (keyring, id, text) = keyring();
    let other = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(2)).unwrap().record.id;
    let meddle = |record: &mut Record| {
        record.id = other;
        record.version = 77;
        Ok(())
    };
    keyring.change(&id, meddle).unwrap();
    assert_eq!((stored(&keyring, &id).version, stored(&keyring, &other).version), (1, 0));
    keyring.revoke(&id).unwrap();
    let revive = |record: &mut Record| {
        record.status = Status::Active;
        Ok(())
    };
    assert_eq!(keyring.change(&id, revive), Err(ChangeError::Revoked(IsRevoked)));
    assert_eq!(keyring.verify(text.as_bytes(), NOW).unwrap_err(), VerifyError::Key(KeyError::Revoked));
    keyring.revoke(&id).unwrap();
}

#[test]
fn errors_say_what_would_be_right() {
    let (keyring, _, _) = keyring();
    let unknown = "0000000000000000".parse().unwrap();
    assert_eq!(keyring.revoke(&unknown), Err(ChangeError::NotFound));
    assert!(matches!(keyring.rotate(&unknown, Duration::ZERO, NOW, &mut generator(1)), Err(ChangeError::NotFound)));
    // A generator that repeats itself.
    let error = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap_err();
    assert!(error.to_string().contains("repeats itself"), "{error}");
    // A store that says "conflict" for ever.
    struct Stubborn(MemoryStore);
    impl KeyStore for Stubborn {
        type Meta = ();
        type Error = core::convert::Infallible;
        fn get(&self, id: &KeyId) -> Result<Option<Arc<Record>>, Self::Error> {
            self.0.get(id)
        }
        fn insert(&self, record: Record) -> Result<Write, Self::Error> {
            self.0.insert(record)
        }
        fn update(&self, _: Record) -> Result<Write, Self::Error> {
            Ok(Write::Conflict)
        }
    }
    let keyring = Keyring::new(Digester::plain(), Stubborn(MemoryStore::new()));
    let issued = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    assert_eq!(keyring.revoke(&issued.key.id()), Err(ChangeError::Contended));
}

/// A store that swaps and fails to say so: the key has a successor that nobody has, and could not be rotated again.
#[test]
fn a_rotation_of_unknown_end_can_be_taken_back() {
    struct Mute(MemoryStore);
    impl KeyStore for Mute {
        type Meta = ();
        type Error = &'static str;
        fn get(&self, id: &KeyId) -> Result<Option<Arc<Record>>, Self::Error> {
            let Ok(record) = self.0.get(id);
            Ok(record)
        }
        fn insert(&self, record: Record) -> Result<Write, Self::Error> {
            let Ok(write) = self.0.insert(record);
            Ok(write)
        }
        fn update(&self, record: Record) -> Result<Write, Self::Error> {
            let Ok(_) = self.0.update(record);
            Err("no answer")
        }
    }
    let keyring = Keyring::new(Digester::plain(), Mute(MemoryStore::new()));
    let issued = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap();
    let (id, text) = (issued.key.id(), issued.key.expose_secret().as_bytes());
    let failed = keyring.rotate(&id, Duration::ZERO, NOW, &mut generator(2)).unwrap_err();
    assert_eq!(failed, ChangeError::Unavailable("no answer"));
    assert_eq!(keyring.verify(text, NOW).unwrap_err(), VerifyError::Key(KeyError::Expired { at: NOW }));

    let keyring = Keyring::new(Digester::plain(), &keyring.store().0);
    assert_eq!(keyring.rotate(&id, Duration::ZERO, NOW, &mut generator(3)).unwrap_err(), ChangeError::Rotated);
    let take_back = |record: &mut Record| {
        record.retires_at = None;
        Ok(())
    };
    keyring.change(&id, take_back).unwrap();
    assert!(keyring.verify(text, NOW).is_ok());
    assert!(keyring.rotate(&id, Duration::ZERO, NOW, &mut generator(3)).is_ok());
}

#[test]
fn an_upgrade_is_stored_once_and_only_over_what_was_verified() {
    let issued = {
        let old = Keyring::new(Digester::plain(), Fragile::default());
        old.issue(NewKey::new(PREFIX, "acme"), &mut generator(1)).unwrap()
    };
    let (id, text) = (issued.key.id(), issued.key.expose_secret().as_bytes());
    let digester = Digester::peppered(1, &[1; 32]).unwrap().with_plain();
    let keyring = Keyring::new(digester, Fragile::default());
    assert_eq!(keyring.store().insert(issued.record.clone()), Ok(Write::Done));
    let verified = keyring.verify(text, NOW).unwrap();
    // Revoked in between: the upgrade must not bring the record of before back.
    keyring.revoke(&id).unwrap();
    keyring.upgrade(&verified).unwrap();
    let record = stored(&keyring, &id);
    assert_eq!((record.status, record.digest.scheme()), (Status::Revoked, tollgate::keys::Scheme::Sha256));

    let keyring = Keyring::new(keyring.digester().clone(), Fragile::default());
    assert_eq!(keyring.store().insert(issued.record.clone()), Ok(Write::Done));
    keyring.upgrade(&keyring.verify(text, NOW).unwrap()).unwrap();
    assert_eq!(stored(&keyring, &id).digest.scheme(), tollgate::keys::Scheme::HmacSha256 { pepper: 1 });
    keyring.upgrade(&keyring.verify(text, NOW).unwrap()).unwrap();
    assert_eq!(stored(&keyring, &id).version, 1, "there was nothing to store any more");
}

/// On real threads: of rotations that race one wins, and there is one successor.
#[test]
fn of_rotations_that_race_one_wins() {
    for round in 0..100 {
        let keyring = Keyring::new(Digester::plain(), MemoryStore::new());
        let id = keyring.issue(NewKey::new(PREFIX, "acme"), &mut generator(round)).unwrap().key.id();
        let rotate = |seed| keyring.rotate(&id, Duration::from_secs(9), NOW, &mut generator(1_000 + seed));
        let answers: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|thread| scope.spawn(move || rotate(round * 3 + thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        assert!(answers.iter().all(|answer| answer.is_ok() || matches!(answer, Err(ChangeError::Rotated))));
        assert!(keyring.verify(won[0].key.expose_secret().as_bytes(), NOW).is_ok());
    }
}

/// A flood of well-formed keys that do not exist: nothing is kept of them.
#[test]
fn guesses_create_no_state() {
    let (keyring, ..) = keyring();
    let before = keyring.store().store.len();
    let mut generator = generator(77);
    for _ in 0..5_000 {
        let guess = NewKey::new(PREFIX, "nobody").issue(&Digester::plain(), &mut generator).unwrap().key;
        let error = keyring.verify(guess.expose_secret().as_bytes(), NOW).unwrap_err();
        assert_eq!(error, VerifyError::Key(KeyError::Invalid));
    }
    assert_eq!(keyring.store().store.len(), before);
}
