//! What was fetched of a file: runs of its bytes, in a log beside others in the cache folder, or in memory.
//!
//! The log has no holes: each run stands in it as it came, behind its place, length and hash, and is held against that hash when it
//! is first read. What was not fetched is not there, so it cannot be taken for zeros; what is damaged is let go of and fetched
//! again. One process writes a log; another that has the same file open reads what was there and keeps the rest in memory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::sign::hex;

/// How a run begins in the log.
const MARK: &[u8; 8] = b"t2mrun1\n";
/// Mark, place, length, hash.
const HEAD: usize = 8 + 8 + 8 + 16;
/// The longest run in the log: a run is hashed as a whole when it is first read.
const LONGEST: usize = 1 << 20;
/// What is kept in memory where there is no log, in bytes.
const MOST_IN_MEMORY: usize = 64 << 20;
/// Logs that are looked at when room is made.
const MOST_LOGS: usize = 100_000;

/// The cache folder, and what may still be written there by all files together.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    left: AtomicU64,
}

impl Folder {
    /// A folder in which logs may take so many bytes. Those that were not used for longest make room, down to half of that.
    pub fn open(path: PathBuf, most: u64) -> Folder {
        let taken = make_room(&path, most);
        Folder { path, left: AtomicU64::new(most.saturating_sub(taken)) }
    }

    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Fetched runs of one file.
#[derive(Debug, Default)]
pub struct Store {
    /// By the place of their first byte; they do not overlap.
    runs: BTreeMap<u64, Run>,
    log: Option<Log>,
    in_memory: usize,
}

#[derive(Debug)]
struct Run {
    length: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Where its bytes are in the log; the hash that they must have, until they were held against it.
    Log {
        at: u64,
        hash: Option<[u8; 16]>,
    },
    Memory(Vec<u8>),
}

#[derive(Debug)]
struct Log {
    file: File,
    length: u64,
    /// Whether this process may write to it.
    ours: bool,
    /// Who knows how much more may be written.
    folder: Arc<Folder>,
}

impl Store {
    /// The store of a file in the cache folder, by what the file is. Without a folder, or where it cannot be used, in memory.
    pub fn open(folder: Option<&Arc<Folder>>, of: &str) -> Store {
        let log = folder.and_then(|folder| Log::open(folder, of).ok());
        let mut store = Store { log, ..Store::default() };
        store.scan();
        store
    }

    /// Find the runs in the log. It ends where something else stands: there it was cut off while it was written, or is damaged.
    fn scan(&mut self) {
        let Some(log) = &mut self.log else { return };
        let mut at = 0;
        let mut head = [0; HEAD];
        while let Some(run) = log.head(at, &mut head) {
            let end = run.place.checked_add(run.length);
            let before = self.runs.range(..=run.place).next_back();
            let is_free = before.is_none_or(|(start, before)| start + before.length <= run.place);
            let is_free = is_free && end.is_some_and(|end| self.runs.range(run.place..end).next().is_none());
            if is_free {
                let place = Place::Log { at: at + HEAD as u64, hash: Some(run.hash) };
                self.runs.insert(run.place, Run { length: run.length, place });
            }
            at += HEAD as u64 + run.length;
        }
        if log.ours && at < log.length {
            let _ = log.file.set_len(at);
        }
        log.length = at;
    }

    /// Where the run begins that has a byte; `None` where that was not fetched.
    fn run_with(&self, offset: u64) -> Option<u64> {
        let (start, run) = self.runs.range(..=offset).next_back()?;
        (offset < start + run.length).then_some(*start)
    }

    /// Fill the buffer, as far as the run goes that has its first byte; `None` where that was not fetched, or is damaged.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let start = self.run_with(offset)?;
        let run = self.runs.get_mut(&start)?;
        let skipped = offset - start;
        let count = usize::try_from(run.length - skipped).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..count)?;
        let sound = match (&mut run.place, &self.log) {
            (Place::Memory(bytes), _) => {
                let skipped = usize::try_from(skipped).ok()?;
                buffer.copy_from_slice(bytes.get(skipped..skipped.checked_add(count)?)?);
                true
            }
            (Place::Log { at, hash: Some(hash) }, Some(log)) => {
                let mut bytes = vec![0; usize::try_from(run.length).ok()?];
                let whole = read_at(&log.file, &mut bytes, *at).is_ok() && hash_of(start, &bytes) == *hash;
                if whole {
                    let skipped = usize::try_from(skipped).ok()?;
                    buffer.copy_from_slice(bytes.get(skipped..skipped.checked_add(count)?)?);
                    run.place = Place::Log { at: *at, hash: None };
                }
                whole
            }
            (Place::Log { at, hash: None }, Some(log)) => read_at(&log.file, buffer, *at + skipped).is_ok(),
            (Place::Log { .. }, None) => false,
        };
        if !sound {
            self.runs.remove(&start);
            return None;
        }
        Some(count)
    }

    /// Where the run ends that has a byte; the byte itself where none has.
    pub fn end_of_run(&self, offset: u64) -> u64 {
        let run = self.run_with(offset).and_then(|start| Some(start + self.runs.get(&start)?.length));
        run.unwrap_or(offset)
    }

    /// The bytes around a place that were not fetched: it and what follows, up to the next run.
    pub fn gap(&self, offset: u64) -> Option<std::ops::Range<u64>> {
        if self.run_with(offset).is_some() {
            return None;
        }
        let before = self.runs.range(..=offset).next_back();
        let start = before.map_or(0, |(start, run)| start + run.length);
        let end = self.runs.range(offset..).next().map_or(u64::MAX, |(start, _)| *start);
        Some(start..end)
    }

    /// Keep bytes that were fetched, where nothing was kept yet.
    pub fn keep(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        for part in bytes.chunks(LONGEST) {
            let logged = self.log.as_mut().and_then(|log| log.append(at, part));
            let place = match logged {
                Some(place) => Place::Log { at: place, hash: None },
                None => {
                    // Whatever was longest ago is not known; all of it can be fetched again.
                    if self.in_memory + part.len() > MOST_IN_MEMORY {
                        self.runs.retain(|_, run| matches!(run.place, Place::Log { .. }));
                        self.in_memory = 0;
                    }
                    self.in_memory += part.len();
                    Place::Memory(part.to_vec())
                }
            };
            self.runs.insert(at, Run { length: part.len() as u64, place });
            at += part.len() as u64;
        }
    }
}

/// The beginning of a run in a log.
struct Head {
    place: u64,
    length: u64,
    hash: [u8; 16],
}

impl Log {
    fn open(folder: &Arc<Folder>, of: &str) -> io::Result<Log> {
        std::fs::create_dir_all(&folder.path)?;
        let path =
            folder.path.join(format!("{}.runs", hex(Sha256::digest(of.as_bytes()).get(..16).unwrap_or_default())));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ours = file.try_lock().is_ok();
        // So that those that were used last stay.
        let _ = file.set_modified(SystemTime::now());
        let length = file.metadata()?.len();
        Ok(Log { file, length, ours, folder: Arc::clone(folder) })
    }

    fn head(&self, at: u64, buffer: &mut [u8; HEAD]) -> Option<Head> {
        at.checked_add(HEAD as u64).filter(|end| *end < self.length)?;
        read_at(&self.file, buffer, at).ok()?;
        let rest = buffer.strip_prefix(MARK)?;
        let (place, rest) = rest.split_first_chunk::<8>()?;
        let (length, hash) = rest.split_first_chunk::<8>()?;
        let (place, length) = (u64::from_le_bytes(*place), u64::from_le_bytes(*length));
        let fits = (1..=LONGEST as u64).contains(&length) && at + HEAD as u64 + length <= self.length;
        fits.then_some(Head { place, length, hash: hash.try_into().ok()? })
    }

    /// Write a run at the end, and say where its bytes are; `None` where there is no room.
    fn append(&mut self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let end = self.length + HEAD as u64 + bytes.len() as u64;
        if !self.ours || !self.folder.take(end - self.length) {
            return None;
        }
        let mut run = Vec::with_capacity(HEAD + bytes.len());
        run.extend_from_slice(MARK);
        run.extend_from_slice(&offset.to_le_bytes());
        run.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        run.extend_from_slice(&hash_of(offset, bytes));
        run.extend_from_slice(bytes);
        if write_at(&self.file, &run, self.length).is_err() {
            // The disk is full: what is there stays, and nothing more is written.
            let _ = self.file.set_len(self.length);
            self.ours = false;
            return None;
        }
        let place = self.length + HEAD as u64;
        self.length = end;
        Some(place)
    }
}

/// The hash that a run has: of its place as well, so that none is taken for another.
fn hash_of(offset: u64, bytes: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(offset.to_le_bytes());
    hash.update(bytes);
    let mut short = [0; 16];
    short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    short
}

/// Remove the logs that were not used for longest until the others leave half of the room, where they leave less; what the others
/// take.
fn make_room(folder: &Path, most: u64) -> u64 {
    let mut logs: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_LOGS) {
        let path = entry.path();
        let Ok(about) = entry.metadata() else { continue };
        if about.is_file() && path.extension().is_some_and(|extension| extension == "runs") {
            logs.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len(), path));
        }
    }
    logs.sort();
    let mut total: u64 = logs.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in logs {
        if total <= most / 2 {
            break;
        }
        // Another process may be reading it.
        let is_free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_free && std::fs::remove_file(&path).is_ok() {
            total -= length;
        }
    }
    total
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    use io::{Read, Seek};
    file.seek(io::SeekFrom::Start(at))?;
    file.read_exact(buffer)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use io::{Seek, Write};
    file.seek(io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(store: &mut Store, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; length];
        let count = store.read(offset, &mut buffer)?;
        buffer.truncate(count);
        Some(buffer)
    }

    fn log_of(folder: &Path) -> PathBuf {
        std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn what_was_kept_is_there_in_the_next_run_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(Folder::open(folder.path().to_owned(), 1 << 20));
        let open = || Store::open(Some(&cache), "a file");
        let mut store = open();
        assert_eq!((read(&mut store, 0, 4), store.gap(7)), (None, Some(0..u64::MAX)));
        store.keep(10, b"ten to fourteen");
        store.keep(100, &[7; 50]);
        assert_eq!(store.gap(30), Some(25..100));
        drop(store);
        let mut store = open();
        assert_eq!(read(&mut store, 14, 2).unwrap(), b"to");
        assert_eq!(read(&mut store, 20, 100).unwrap(), b"rteen");
        assert_eq!((read(&mut store, 25, 1), read(&mut store, 9, 1), store.gap(12)), (None, None, None));
        assert_eq!(read(&mut store, 149, 9).unwrap(), [7]);
        assert_eq!(read(&mut Store::open(Some(&cache), "another"), 10, 1), None);
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_let_go_of() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(Folder::open(folder.path().to_owned(), 1 << 20));
        let open = || Store::open(Some(&cache), "a file");
        let mut store = open();
        store.keep(0, b"first");
        store.keep(1000, b"second");
        drop(store);
        let path = log_of(folder.path());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let mut store = open();
            for (offset, text) in [(0, &b"first"[..]), (1000, b"second")] {
                let found = read(&mut store, offset, 6);
                assert!(found.as_deref().is_none_or(|found| found == text), "byte {at}: {found:?}");
            }
            assert_eq!(read(&mut store, 500, 1), None, "byte {at}");
            drop(store);
            std::fs::write(&path, &whole[..at]).unwrap();
            let mut store = open();
            assert!(read(&mut store, 1000, 6).is_none());
            store.keep(1000, b"again");
            drop(store);
            assert_eq!(read(&mut open(), 1000, 9).unwrap(), b"again", "cut at {at}");
        }
    }

    #[test]
    fn two_who_have_one_file_open_do_not_write_over_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(Folder::open(folder.path().to_owned(), 1 << 20));
        let open = || Store::open(Some(&cache), "a file");
        let (mut first, mut second) = (open(), open());
        first.keep(0, b"from the first");
        second.keep(0, b"from the second");
        assert_eq!(read(&mut second, 0, 50).unwrap(), b"from the second");
        assert_eq!(read(&mut first, 0, 50).unwrap(), b"from the first");
        drop((first, second));
        assert_eq!(read(&mut open(), 0, 50).unwrap(), b"from the first");
    }

    #[test]
    fn there_is_a_bound_to_each_and_to_all() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || Arc::new(Folder::open(folder.path().to_owned(), 10_000));
        let mut store = Store::open(Some(&cache()), "first");
        store.keep(0, &[1; 9_000]);
        store.keep(9_000, &[2; 9_000]);
        assert_eq!(read(&mut store, 9_500, 1).unwrap(), [2], "in memory");
        assert!(std::fs::metadata(log_of(folder.path())).unwrap().len() <= 10_000);
        // While it is open nobody removes it.
        let mut second = Store::open(Some(&cache()), "second");
        second.keep(0, &[3; 9_000]);
        assert_eq!((second.in_memory, std::fs::read_dir(folder.path()).unwrap().count()), (9_000, 2));
        drop((store, second));
        drop(cache());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the empty one is left");
        let mut store = Store::open(None, "no folder");
        for part in 0..100 {
            store.keep(part << 20, &vec![1; 1 << 20]);
            assert!(store.in_memory <= MOST_IN_MEMORY);
        }
    }
}
