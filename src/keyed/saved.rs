//! A table's states, taken down and restored.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    plan::Plan,
    print::{BUSY, VACANT},
    table::{GROUP, SLOTS, Table, tag_of},
};
use crate::{
    Algorithm, Timestamp,
    snapshot::{RestoreError, Save, Shift, State},
    sync::Ordering,
};

/// What is in use of a table.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedTable {
    /// How many slots it has, in use or not.
    slots: u64,
    /// For how many nanoseconds it has stood.
    age: u64,
    /// How many nanoseconds the latest take-over lies ahead of when this was taken down, where a clock has stepped back.
    lead: u64,
    keys: Vec<SavedKey>,
    /// What newcomers share, by group and tag, where they ever had to.
    shared: Vec<(u64, u64, State)>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedKey {
    slot: u64,
    fingerprint: u64,
    state: State,
}

impl SavedTable {
    /// How many keys were in use.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// A table for so many keys that has as much in use.
    pub(crate) fn restore<A: Plan>(&self, plan: A, keys: usize, shift: &Shift) -> Result<Table<A>, RestoreError>
    where
        A::Algorithm: Save,
    {
        let now = Timestamp::from_nanos(shift.now);
        let age = self.age.saturating_add(shift.passed);
        let table = Table::new(plan, keys, now - Duration::from_nanos(age));
        let expected = table.slots() as u64;
        if self.slots != expected {
            return Err(RestoreError::Capacity { found: self.slots, expected });
        }
        for key in &self.keys {
            table.load_key(key, shift)?;
        }
        for (group, tag, state) in &self.shared {
            table.load_shared((*group, *tag), state, shift)?;
        }
        if let lead @ 1.. = shift.left(self.lead) {
            table.raise_all(now + Duration::from_nanos(lead));
        }
        Ok(table)
    }
}

const fn damaged(what: &'static str) -> RestoreError {
    RestoreError::Damaged { what }
}

impl<A: Plan> Table<A>
where
    A::Algorithm: Save,
{
    /// What is in use at `now`.
    ///
    /// The latch of a group is held while its states are copied: so no slot changes hands, and each state is its key's.
    pub(crate) fn save(&self, now: Timestamp) -> SavedTable {
        let mut saved = SavedTable {
            slots: self.slots() as u64,
            age: (now - self.begun()).as_nanos() as u64,
            lead: 0,
            keys: Vec::new(),
            shared: Vec::new(),
        };
        for group in 0..self.groups() {
            let latch = self.latch(group);
            latch.lock();
            saved.lead = saved.lead.max((latch.floor() - now).as_nanos() as u64);
            let slots = group * GROUP * SLOTS..((group + 1) * GROUP * SLOTS).min(self.slots());
            for slot in slots.filter(|&slot| self.in_use(slot, now)).map(|number| self.slot(number)) {
                let fingerprint = slot.fingerprint.load(Ordering::Acquire);
                let state = self.algorithm_of(fingerprint).save(self.place(slot), now);
                saved.keys.push(SavedKey { slot: slot.number as u64, fingerprint, state });
            }
            for tag in 0..self.plan().tags() {
                let (algorithm, shared) = (self.algorithm_of(tag as u64), self.shared_by(group, tag));
                let used = shared.word.load(Ordering::Acquire) != 0;
                if used && algorithm.recovered_word(shared, now).is_none() {
                    saved.shared.push((group as u64, tag as u64, algorithm.save(shared, now)));
                }
            }
            latch.unlock();
        }
        saved
    }

    /// Puts a key where it was, in a table that nobody else has yet.
    fn load_key(&self, key: &SavedKey, shift: &Shift) -> Result<(), RestoreError> {
        let number = usize::try_from(key.slot).ok().filter(|&number| number < self.slots());
        let slot = self.slot(number.ok_or(damaged("a key is in a slot that there is not"))?);
        if slot.fingerprint.load(Ordering::Relaxed) != VACANT {
            return Err(damaged("two keys are in one slot"));
        }
        let tag = tag_of::<A>(key.fingerprint);
        if [VACANT, BUSY].contains(&key.fingerprint) || tag >= self.plan().tags() as u64 {
            return Err(damaged("a key has a fingerprint that no key has"));
        }
        let loaded = self.algorithm_of(key.fingerprint).load(self.place(slot), &key.state, shift);
        loaded.ok_or(damaged("a key has more in use than can be, or it is counted in another way"))?;
        slot.fingerprint.store(key.fingerprint, Ordering::Release);
        Ok(())
    }

    /// Restores a state that newcomers share, in a table that nobody else has yet.
    fn load_shared(&self, (group, tag): (u64, u64), state: &State, shift: &Shift) -> Result<(), RestoreError> {
        let place = |group: u64, tag: u64| {
            let group = usize::try_from(group).ok().filter(|&group| group < self.groups())?;
            let tag = usize::try_from(tag).ok().filter(|&tag| tag < self.plan().tags())?;
            Some((self.algorithm_of(tag as u64), self.shared_by(group, tag)))
        };
        let (algorithm, place) = place(group, tag).ok_or(damaged("what newcomers share is of no group, or no tier"))?;
        if place.word.load(Ordering::Relaxed) != 0 {
            return Err(damaged("what newcomers share is there twice"));
        }
        let loaded = algorithm.load(place, state, shift);
        loaded.ok_or(damaged("newcomers share more than can be in use, or it is counted in another way"))
    }

    /// Lets no newcomer begin before `floor`.
    fn raise_all(&self, floor: Timestamp) {
        for latch in (0..self.groups()).map(|group| self.latch(group)) {
            latch.lock();
            latch.raise(floor);
            latch.unlock();
        }
    }
}
