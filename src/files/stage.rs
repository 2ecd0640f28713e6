//! Temporary files. A run makes a folder of its own beside its targets, accessible to this user alone and with an
//! unpredictable name, and writes there; complete files are renamed into place.
//!
//! The folder contains a file whose name follows from the folder's: the mark. It is locked while the run lives, and
//! lists what the run will write. The system releases a lock when its process ends, however it ends, so the next run
//! into the same place can recognise what a killed one left: a folder of this user with such a name, an unlocked mark,
//! and otherwise only plain files with one name each. Everything else stays, whatever its name.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Error, Identity, Outputs, folder, identity, is_own, is_own_file};
use crate::interrupt;

/// The folder's name: this, 32 hexadecimal digits, and the end.
const BEGIN: &str = ".t2m-tui-";
const END: &str = ".part";
/// The longest list of files; a longer one was not written by this program.
const LONGEST_LIST: u64 = 16 << 20;
/// How often to make the folder again if somebody removes it at once.
const ATTEMPTS: usize = 64;
/// How often to wait for another run that is just beginning, and how long each time.
const WAITS: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The folders for a run's temporary files. Dropping it removes whatever was not moved into place.
#[derive(Debug)]
pub struct Stage {
    outputs: Outputs,
    rooms: Vec<(Identity, Room)>,
}

/// A temporary file, open for writing.
#[derive(Debug)]
pub struct Part {
    /// The file, open for reading and writing.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
    target: PathBuf,
    replaces: bool,
}

/// The folder beside one of the targets.
#[derive(Debug)]
struct Room {
    path: PathBuf,
    /// The mark, open, and locked if the file system has locks.
    mark: File,
    files: Arc<AtomicUsize>,
    undo: u64,
}

impl Stage {
    pub(super) fn new(outputs: Outputs) -> Result<Stage, Error> {
        let mut above: Vec<(Identity, PathBuf, Vec<PathBuf>)> = Vec::new();
        for wanted in outputs.wanted() {
            let path = folder(&wanted.path);
            let Some(found) = identity(path) else { continue };
            match above.iter_mut().find(|(known, ..)| *known == found) {
                Some((.., targets)) => targets.push(wanted.path.clone()),
                None => above.push((found, path.to_owned(), vec![wanted.path.clone()])),
            }
        }
        let mut stage = Stage { outputs, rooms: Vec::new() };
        for (found, path, targets) in above {
            stage.rooms.push((found, Room::make(&path, &targets)?));
        }
        Ok(stage)
    }

    /// Make the temporary file of one of the outputs.
    ///
    /// # Errors
    /// The system refused.
    pub fn create(&self, target: &Path) -> Result<Part, Error> {
        let fault = |source| Error::Write { path: target.to_owned(), source };
        let found = identity(folder(target));
        let room = self.rooms.iter().find(|(known, _)| found.as_ref() == Some(known)).map(|(_, room)| room);
        let room = room.ok_or_else(|| fault(io::Error::new(io::ErrorKind::NotFound, "its folder is gone")))?;
        let (path, file) = room.file().map_err(fault)?;
        Ok(Part { file, path, target: target.to_owned(), replaces: self.outputs.replaces(target) })
    }

    /// Make sure that the renamed files survive a crash.
    ///
    /// # Errors
    /// The system refused.
    pub fn sync(&self) -> Result<(), Error> {
        self.rooms.iter().try_for_each(|(_, room)| sync_folder(&room.path))
    }

    /// Remove a file that existed when the outputs were checked and that nothing replaces.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self, target: &Path) -> Result<(), Error> {
        if !self.outputs.replaces(target) {
            return Ok(());
        }
        match std::fs::remove_file(target) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Write { path: target.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

impl Part {
    /// Rename the file, which is on the disk, into place. A file that has appeared there meanwhile stays.
    ///
    /// # Errors
    /// The system refused, or there is a file now.
    pub fn place(self) -> Result<(), Error> {
        let renamed = if self.replaces {
            std::fs::rename(&self.path, &self.target)
        } else {
            rename_new(&self.path, &self.target)
        };
        renamed.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: self.target },
            _ => Error::Write { path: self.target, source },
        })
    }
}

impl Room {
    fn make(above: &Path, targets: &[PathBuf]) -> Result<Room, Error> {
        let names: Vec<OsString> =
            targets.iter().filter_map(|target| target.file_name()).map(ToOwned::to_owned).collect();
        // Two runs that begin at the same moment would not see each other.
        let _one_at_a_time = lock_folder(above);
        if let Some(at) = sweep(above, &names) {
            return Err(Error::Busy { path: targets[at].clone() });
        }
        let first = targets.first().map_or(above, PathBuf::as_path);
        Room::new(above, &names).map_err(|source| Error::Write { path: first.to_owned(), source })
    }

    fn new(above: &Path, names: &[OsString]) -> io::Result<Room> {
        for _ in 0..ATTEMPTS {
            let name = format!("{BEGIN}{:016x}{:016x}{END}", random(), random());
            let path = above.join(&name);
            let mut held = interrupt::hold();
            let mut builder = DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            match builder.create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            let marked = path.join(mark_of(&name));
            let mark = match create_new(&marked) {
                Ok(mark) => mark,
                // Another run took the folder for an abandoned one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let _ = std::fs::remove_dir(&path);
                    return Err(error);
                }
            };
            let locked = !matches!(mark.try_lock(), Err(TryLockError::WouldBlock));
            if !locked || !is_at(&mark, &marked) {
                continue;
            }
            let files = Arc::new(AtomicUsize::new(0));
            let (place, count) = (path.clone(), files.clone());
            let undo = held.note(move || {
                let files = count.load(Ordering::SeqCst);
                let open = (0..files).filter_map(|at| File::open(place.join(at.to_string())).ok()).collect();
                remove(&place, files);
                open
            });
            drop(held);
            let mut room = Room { path, mark, files, undo };
            let listed = names.iter().map(|name| hex(name.as_encoded_bytes())).collect::<Vec<_>>().join("\n");
            room.mark.write_all(listed.as_bytes())?;
            return Ok(room);
        }
        Err(io::Error::other("temporary files vanish as soon as they are made"))
    }

    fn file(&self) -> io::Result<(PathBuf, File)> {
        // A signal handler removes the files that exist and must not miss one.
        let _held = interrupt::hold();
        let path = self.path.join(self.files.fetch_add(1, Ordering::SeqCst).to_string());
        let file = create_new(&path)?;
        Ok((path, file))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut held = interrupt::hold();
        remove(&self.path, self.files.load(Ordering::SeqCst));
        held.forget(self.undo);
    }
}

/// Remove a folder of ours with this many files. If that fails there is nobody to tell; the next run tries again.
fn remove(path: &Path, files: usize) {
    for at in 0..files {
        let _ = std::fs::remove_file(path.join(at.to_string()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let _ = std::fs::remove_file(path.join(mark_of(&name)));
    let _ = std::fs::remove_dir(path);
}

/// Remove what killed runs left in a folder. Returns which of these names another live run is about to write.
fn sweep(above: &Path, names: &[OsString]) -> Option<usize> {
    let entries = std::fs::read_dir(above).ok()?;
    let names: Vec<String> = names.iter().map(|name| hex(name.as_encoded_bytes())).collect();
    let mut busy = None;
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| is_room(name)) {
        match look(&above.join(&name), &name) {
            Some(Found::Left { mark, files }) => {
                files.iter().for_each(|file| drop(std::fs::remove_file(file)));
                let _ = std::fs::remove_file(above.join(&name).join(mark_of(&name)));
                let _ = std::fs::remove_dir(above.join(&name));
                drop(mark);
            }
            Some(Found::Alive(listed)) => {
                busy = busy.or_else(|| names.iter().position(|name| listed.lines().any(|line| line == name)));
            }
            None => {}
        }
    }
    busy
}

/// The state of a folder with such a name.
enum Found {
    /// Left by a killed run; we hold the lock on its mark now.
    Left { mark: Option<File>, files: Vec<PathBuf> },
    /// In use, with the names of its outputs, as [`hex`] writes them.
    Alive(String),
}

/// `None` where it is not ours.
fn look(path: &Path, name: &str) -> Option<Found> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    if !metadata.is_dir() || !is_own(&metadata) {
        return None;
    }
    let (marked, mut files, mut is_marked) = (path.join(mark_of(name)), Vec::new(), false);
    for entry in std::fs::read_dir(path).ok()? {
        let entry = entry.ok()?;
        if !is_own_file(&std::fs::symlink_metadata(entry.path()).ok()?) {
            return None;
        }
        match entry.file_name().to_str() {
            Some(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => files.push(entry.path()),
            _ if entry.path() == marked => is_marked = true,
            _ => return None,
        }
    }
    if !is_marked {
        // Killed before it wrote the mark: there is nothing in it that could be lost.
        return files.is_empty().then_some(Found::Left { mark: None, files });
    }
    let mark = open_mark(&marked)?;
    match mark.try_lock() {
        Ok(()) => Some(Found::Left { mark: Some(mark), files }),
        Err(TryLockError::WouldBlock) => {
            let mut listed = String::new();
            (&mark).take(LONGEST_LIST).read_to_string(&mut listed).ok()?;
            Some(Found::Alive(listed))
        }
        // Without locks there is no way to know.
        Err(TryLockError::Error(_)) => None,
    }
}

fn open_mark(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    let file = options.open(path).ok()?;
    is_own_file(&file.metadata().ok()?).then_some(file)
}

fn is_room(name: &str) -> bool {
    let digits = name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    digits.is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The name of the mark in a folder of that name. Nobody picks it by chance.
fn mark_of(name: &str) -> String {
    let hash = Sha256::new().chain_update("t2m-tui writes in ").chain_update(name).finalize();
    format!("t2m-tui-{}", hex(&hash[..16]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An unpredictable number: the standard library seeds its hash maps with randomness from the system.
fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// Create a file that does not exist yet, not even as a link.
fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path)
}

/// Whether a path still leads to this open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => super::identity_of(&open) == super::identity_of(&found),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Rename to a name that does not exist.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // For file systems that cannot do this.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_absent(from, to),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_absent(from, to)
}

fn rename_absent(from: &Path, to: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}

/// Lock a folder while a run begins. Waits only briefly: somebody else may hold the lock for good.
fn lock_folder(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    for _ in 0..WAITS {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Make sure that a rename in the folder of this file is on the disk.
///
/// # Errors
/// The system refused.
pub fn sync_folder(target: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        let path = folder(target);
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::Write { path: path.to_owned(), source })?;
    }
    Ok(())
}
