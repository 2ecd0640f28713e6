//! Several pickles one behind the other, with raw bytes between them. Nothing says where one ends, so each is read with
//! as much of what follows as it takes.

use std::path::Path;

use super::pickle::{Fault, NodeId, Pickle, key_text};
use super::{Bytes, Error};

/// What is read at first, in bytes: most pickles end within it.
const FIRST_WINDOW: u64 = 64 << 10;
/// The longest pickle that is read: whole modules with the source of all their classes take a hundredth.
const LONGEST_PICKLE: u64 = 256 << 20;

/// A part of a file, read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    path: &'a Path,
    bytes: &'a Bytes,
    /// The name of the part in messages.
    record: &'a str,
    begin: u64,
    end: u64,
    /// Where in the file the next item begins.
    pub position: u64,
}

impl<'a> Stream<'a> {
    /// The bytes `begin..end` of a file.
    pub fn new(path: &'a Path, bytes: &'a Bytes, record: &'a str, begin: u64, end: u64) -> Stream<'a> {
        Stream { path, bytes, record, begin, end: end.min(bytes.length()), position: begin }
    }

    /// An error at a position in the file.
    pub fn error(&self, position: u64, what: String) -> Error {
        let offset = position.saturating_sub(self.begin);
        Error::Pickle { path: self.path.to_path_buf(), record: self.record.to_owned(), offset, what }
    }

    /// The next pickle; its offsets count from `base`, which is not behind the position.
    ///
    /// # Errors
    /// It is damaged, or longer than what is read.
    pub fn pickle_from(&mut self, base: u64) -> Result<Pickle, Error> {
        let start = usize::try_from(self.position.saturating_sub(base)).unwrap_or(usize::MAX);
        let longest = self.end.saturating_sub(base).min(LONGEST_PICKLE.saturating_add(start as u64));
        let mut length = FIRST_WINDOW.saturating_add(start as u64).min(longest);
        loop {
            let data = self.bytes.read_range(base, length)?;
            let data =
                data.ok_or_else(|| self.error(self.position, "the file got shorter while it was read".into()))?;
            let (fault, read) = match Pickle::load(data, start) {
                Ok(pickle) => {
                    self.position = base.saturating_add(pickle.end() as u64);
                    return Ok(pickle);
                }
                Err(fault) => fault,
            };
            match read.wants() {
                Some(wanted) if length < longest && wanted as u64 <= longest => {
                    length = length.saturating_mul(4).max(wanted as u64).min(longest);
                }
                _ => return Err(self.fault(base, fault, &read)),
            }
        }
    }

    /// The next pickle.
    ///
    /// # Errors
    /// As [`Stream::pickle_from`].
    pub fn pickle(&mut self) -> Result<Pickle, Error> {
        self.pickle_from(self.position)
    }

    /// An error for what is wrong with a pickle whose offsets count from `base`.
    pub fn fault(&self, base: u64, fault: Fault, pickle: &Pickle) -> Error {
        // The globals are named with their offsets in the pickle, which mean something to the reader only from there.
        let globals = if base == self.begin { pickle.refused_globals() } else { String::new() };
        self.error(base.saturating_add(fault.offset), fault.what + &globals)
    }

    /// The next bytes.
    ///
    /// # Errors
    /// The part ends before; `what` says what they are.
    pub fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut buffer = [0; N];
        let found = self.bytes.read_at_most(self.position, &mut buffer)?.len();
        if found < N || self.end.saturating_sub(self.position) < N as u64 {
            return Err(self.error(self.position, format!("the file is cut off in front of {what}; copy it again")));
        }
        self.position += N as u64;
        Ok(buffer)
    }

    /// A signed integer of 8 bytes, least significant first.
    ///
    /// # Errors
    /// As [`Stream::take`].
    pub fn int(&mut self, what: &str) -> Result<i64, Error> {
        self.take(what).map(i64::from_le_bytes)
    }

    /// Skip this many bytes.
    ///
    /// # Errors
    /// The part ends before; `what` says what they are.
    pub fn skip(&mut self, length: u64, what: &str) -> Result<(), Error> {
        match self.position.checked_add(length).filter(|&end| end <= self.end) {
            Some(end) => {
                self.position = end;
                Ok(())
            }
            None => Err(self.error(
                self.position,
                format!(
                    "{what} has {length} bytes, of which the file holds {}: it is cut off, or the size is made up",
                    self.left()
                ),
            )),
        }
    }

    /// Whether each place costs a request.
    pub fn is_elsewhere(&self) -> bool {
        self.bytes.version().is_some()
    }

    /// Bytes behind the position.
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }
}

/// The key of a storage, as text; `None` for what no key is, a long text too.
pub(super) fn key(pickle: &Pickle, id: NodeId) -> Option<String> {
    const LONGEST: usize = 256;
    let short = pickle.text(id).is_some_and(|text| text.len() <= LONGEST);
    (short || pickle.int(id).is_some()).then(|| key_text(pickle, id).into())
}

/// The members of a list or tuple.
pub(super) fn items(pickle: &Pickle, id: NodeId) -> Vec<NodeId> {
    pickle.items(id).into_iter().flatten().collect()
}
