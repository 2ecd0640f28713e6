//! Two sessions of one checkpoint: for each entry the newer holds, and what only one has stays.

use std::collections::BTreeMap;

use serde::Serialize;

use super::entries::{GraphRun, Measured, Note, Screen, Session, TypedEntry};
use super::time::Time;

/// An entry with a time.
trait Dated: Serialize {
    fn at(&self) -> Time;
}

macro_rules! dated {
    ($($entry:ty),+) => {
        $(impl Dated for $entry {
            fn at(&self) -> Time {
                self.at
            }
        })+
    };
}

dated!(Measured, Note, TypedEntry, GraphRun, Screen);

/// Whether the other one holds: it is newer, or as new and comes later in the order of what is written, so that it does not matter
/// which of the two is asked.
fn other_holds<T: Dated + PartialEq>(own: &T, other: &T) -> bool {
    let written = |entry: &T| serde_json::to_string(entry).unwrap_or_default();
    other.at() > own.at() || (other.at() == own.at() && own != other && written(other) > written(own))
}

fn maps<K: Ord, T: Dated + PartialEq>(own: &mut BTreeMap<K, T>, other: BTreeMap<K, T>) {
    for (key, entry) in other {
        if own.get(&key).is_none_or(|known| other_holds(known, &entry)) {
            own.insert(key, entry);
        }
    }
}

fn one<T: Dated + PartialEq>(own: &mut Option<T>, other: Option<T>) {
    if let Some(entry) = other
        && own.as_ref().is_none_or(|known| other_holds(known, &entry))
    {
        *own = Some(entry);
    }
}

impl Session {
    /// Take in what another program, or this one before, has kept of the same checkpoint.
    pub fn merge(&mut self, other: Session) {
        if self.checkpoint.is_empty() {
            self.checkpoint = other.checkpoint;
        }
        maps(&mut self.results, other.results);
        maps(&mut self.notes, other.notes);
        for entry in other.attributes {
            let same = |known: &&mut TypedEntry| known.modules == entry.modules && known.attribute == entry.attribute;
            match self.attributes.iter_mut().find(same) {
                Some(known) if other_holds(known, &entry) => *known = entry,
                Some(_) => {}
                None => self.attributes.push(entry),
            }
        }
        self.sort();
        one(&mut self.graph, other.graph);
        one(&mut self.screen, other.screen);
        for (name, value) in other.other {
            self.other.entry(name).or_insert(value);
        }
    }

    /// The entries that another one does not have, or has otherwise; where the user was is not among them.
    pub fn without(&self, other: &Session) -> Session {
        let new = |key: &String, entry: &Measured| other.results.get(key) != Some(entry);
        let results = self.results.iter().filter(|(key, entry)| new(key, entry));
        let notes = self.notes.iter().filter(|(key, entry)| other.notes.get(key) != Some(entry));
        let attributes = self.attributes.iter().filter(|entry| !other.attributes.contains(entry));
        Session {
            results: results.map(|(key, entry)| (key.clone(), entry.clone())).collect(),
            notes: notes.map(|(key, entry)| (key.clone(), entry.clone())).collect(),
            attributes: attributes.cloned().collect(),
            graph: self.graph.clone().filter(|_| self.graph != other.graph),
            ..Session::default()
        }
    }
}
