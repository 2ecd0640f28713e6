//! A small file that several programs change: each reads it, changes it and replaces it under a lock, in one step for whoever reads.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder;

/// How often to wait for another program that writes there, and how long each time.
const WAITS: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);
/// The end of a temporary file's name.
const END: &str = ".part";

/// The lock of the folder in which a file is, as long as this lives. A file system without locks gives one that locks nothing.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    lock: Option<File>,
}

/// Wait until no other program changes the file at `path`, and keep others from it.
///
/// # Errors
/// Its folder cannot be opened, or another program does not let go of it.
pub fn hold(path: &Path) -> io::Result<Held> {
    let lock = File::open(folder(path))?;
    if !lock.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    for _ in 0..WAITS {
        match lock.try_lock() {
            Ok(()) => return Ok(Held { path: path.to_owned(), lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(_)) => return Ok(Held { path: path.to_owned(), lock: None }),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another program holds its folder"))
}

impl Held {
    /// Let the file hold these bytes: whoever reads it, and whatever happens, finds the old ones or the new ones.
    ///
    /// # Errors
    /// The system refused; then the old file is there, and nothing else.
    pub fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        self.sweep();
        let beside = self.beside();
        let written = OpenOptions::new().write(true).create_new(true).open(&beside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)
        });
        if written.is_err() {
            // Nothing of it is left behind; the error is what counts.
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    /// Take the file away, if there is one.
    ///
    /// # Errors
    /// The system refused.
    pub fn remove(&self) -> io::Result<()> {
        self.sweep();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn prefix(&self) -> String {
        format!(".{}.", self.path.file_name().unwrap_or_default().to_string_lossy())
    }

    fn beside(&self) -> PathBuf {
        folder(&self.path).join(format!("{}{}{END}", self.prefix(), std::process::id()))
    }

    /// Remove what programs have left that were killed while they wrote. Without a lock they may be at it.
    fn sweep(&self) {
        let (prefix, own) = (self.prefix(), self.beside());
        if self.lock.is_none() {
            let _ = std::fs::remove_file(own);
            return;
        }
        for entry in std::fs::read_dir(folder(&self.path)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let middle = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(END));
            if middle.is_some_and(|middle| !middle.is_empty() && middle.bytes().all(|digit| digit.is_ascii_digit())) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_replaced_and_what_a_killed_program_left_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(folder.path().join(".a.json.4711.part"), "half").unwrap();
        std::fs::write(folder.path().join(".a.json.mine.part"), "the user's").unwrap();
        hold(&path).unwrap().replace(b"one").unwrap();
        hold(&path).unwrap().replace(b"two").unwrap();
        let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|at| at.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".a.json.mine.part", "a.json"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        hold(&path).unwrap().remove().unwrap();
        hold(&path).unwrap().remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn one_that_cannot_be_written_says_so_and_leaves_nothing() {
        assert!(hold(Path::new("/dev/null/a.json")).is_err());
        let folder = tempfile::tempdir().unwrap();
        // A folder is in the way.
        let path = folder.path().join("a.json");
        std::fs::create_dir(&path).unwrap();
        assert!(hold(&path).unwrap().replace(b"one").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
