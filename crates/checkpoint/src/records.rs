//! The records of an archive by name, in the directory's order, in little memory: a checkpoint has a record for each of its
//! storages, which may be a million.

use std::hash::BuildHasher;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// One record as the central directory describes it.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Where its local header begins.
    pub header: u64,
    /// Bytes in the file.
    pub compressed: u64,
    /// Bytes of content.
    pub size: u64,
    /// How it is stored.
    pub method: Method,
}

/// How a record is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// Compressed with deflate.
    Deflated,
    /// Compressed in a way that is not read, or encrypted.
    Other,
}

/// Records and their names. The table has four bytes for each, where an `IndexMap` has sixteen.
#[derive(Debug, Default)]
pub(super) struct Records {
    list: Vec<(CompactString, Record)>,
    /// Indices in the list, by the hash of the name.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Records {
    /// Make room for this many more.
    pub fn reserve(&mut self, count: usize) {
        let Records { list, places, hasher } = self;
        list.reserve(count);
        places.reserve(count, |place| hash_at(list, hasher, *place));
    }

    /// Add a record; `false` where there is one of that name, which stays.
    pub fn insert(&mut self, name: CompactString, record: Record) -> bool {
        let Records { list, places, hasher } = self;
        // Far from 32 bits: an entry is 46 bytes of directory or more, and a directory that long does not open.
        let Ok(next) = u32::try_from(list.len()) else { return false };
        let hash = hasher.hash_one(name.as_str());
        let is_it = |place: &u32| list.get(*place as usize).is_some_and(|(known, _)| *known == name);
        match places.entry(hash, is_it, |place| hash_at(list, hasher, *place)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(next);
                list.push((name, record));
                true
            }
        }
    }

    /// The record of that exact name, with its number.
    pub fn find(&self, name: &str) -> Option<(usize, Record)> {
        let found = |place: &u32| self.at(*place as usize).filter(|(known, _)| *known == name);
        let place = *self.places.find(self.hasher.hash_one(name), |place| found(place).is_some())?;
        found(&place).map(|(_, record)| (place as usize, record))
    }

    /// The record of that number.
    pub fn at(&self, number: usize) -> Option<(&str, Record)> {
        self.list.get(number).map(|(name, record)| (name.as_str(), *record))
    }

    /// The record that was added last.
    pub fn last(&self) -> Option<(&str, Record)> {
        self.at(self.list.len().checked_sub(1)?)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Their names, in the directory's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(name, _)| name.as_str())
    }
}

fn hash_at(list: &[(CompactString, Record)], hasher: &RandomState, place: u32) -> u64 {
    list.get(place as usize).map_or(0, |(name, _)| hasher.hash_one(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_name_and_number_and_a_name_counts_once() {
        let record = |header| Record { header, compressed: 1, size: 1, method: Method::Stored };
        let mut records = Records::default();
        records.reserve(3);
        for number in 0..5000u64 {
            assert!(records.insert(format!("data/{number}").into(), record(number)));
        }
        assert!(!records.insert("data/77".into(), record(9999)));
        assert_eq!(records.find("data/77").map(|(number, record)| (number, record.header)), Some((77, 77)));
        assert_eq!(records.at(4999).map(|(name, _)| name), Some("data/4999"));
        assert_eq!(records.last().map(|(name, record)| (name, record.header)), Some(("data/4999", 4999)));
        assert!(records.find("data/5000").is_none() && records.at(5000).is_none());
        assert!(records.names().take(3).eq(["data/0", "data/1", "data/2"]));
    }
}
