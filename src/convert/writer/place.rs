//! Where output goes: a locked temporary file beside the target, which takes the target's place at the end.
//!
//! The system lets go of a lock when its process ends, however it ends. A temporary file of ours that nobody locks is what
//! a killed run left behind: the next run into that folder removes it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::checkpoint::Checkpoint;

/// How a temporary file's name ends; it begins with a dot.
const SUFFIX: &str = ".t2m-part";

/// A temporary file, removed again unless it takes its target's place.
#[derive(Debug)]
pub(super) struct Part {
    pub file: File,
    pub path: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Part {
    /// Make the temporary file of a target, or take over the one that a killed run left.
    pub fn create(target: &Path) -> Result<Part, Error> {
        let name = target.file_name().ok_or_else(|| not_a_file(target, "has no file name"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(SUFFIX);
        let path = folder(target).join(hidden);
        let fault = |source| Error::Write { path: path.clone(), source };
        // Another run may remove the file between opening and locking it: then it is made anew.
        for _ in 0..64 {
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fault)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: target.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(fault(source)),
            }
            if is_same(&file, &path) {
                file.set_len(0).map_err(fault)?;
                return Ok(Part { file, path, target: target.to_owned(), done: false });
            }
        }
        Err(Error::Busy { path: target.to_owned() })
    }

    /// Everything is on the disk: take the target's place.
    pub fn commit(mut self) -> Result<(), Error> {
        let fault = |source| Error::Write { path: self.target.clone(), source };
        std::fs::rename(&self.path, &self.target).map_err(fault)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            // There is nobody to tell; the next run removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Remove what killed runs left in the target's folder.
pub(super) fn sweep(target: &Path) {
    let Ok(entries) = std::fs::read_dir(folder(target)) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !(name.starts_with('.') && name.ends_with(SUFFIX)) || path.is_symlink() {
            continue;
        }
        let file = OpenOptions::new().write(true).open(&path);
        if file.is_ok_and(|file| file.try_lock().is_ok() && is_same(&file, &path)) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Make sure that a rename in this folder is on the disk.
pub(super) fn sync_folder(target: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        let path = folder(target);
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::Write { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Whether output may go to a path: it is no input, no folder and no link, and nothing is there unless that is wanted.
pub(super) fn check(target: &Path, inputs: &[&Checkpoint], force: bool) -> Result<(), Error> {
    if target.file_name().is_none() {
        return Err(not_a_file(target, "names no file; give OUT.safetensors"));
    }
    let above = folder(target);
    if !above.is_dir() {
        let source = io::Error::new(io::ErrorKind::NotFound, "its folder is not there; make it first");
        return Err(Error::Write { path: target.to_owned(), source });
    }
    let Ok(found) = std::fs::symlink_metadata(target) else { return Ok(()) };
    if inputs.iter().flat_map(|input| input.paths()).any(|input| is_same_file(&input, target)) {
        return Err(Error::Input { path: target.to_owned() });
    }
    if found.is_symlink() {
        return Err(not_a_file(
            target,
            "is a symbolic link, which would be replaced and not followed; give the file's own path",
        ));
    }
    if !found.is_file() {
        return Err(not_a_file(target, "is no regular file; give OUT.safetensors"));
    }
    if force { Ok(()) } else { Err(Error::Exists { path: target.to_owned() }) }
}

fn not_a_file(path: &Path, what: &'static str) -> Error {
    Error::Target { path: path.to_owned(), what }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether two paths are one file, by whatever names or links.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => identity(&one) == identity(&other),
        _ => false,
    }
}

/// Whether a path still leads to an open file.
fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => identity(&open) == identity(&found),
        _ => false,
    }
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(metadata: &std::fs::Metadata) -> (u64, Option<std::time::SystemTime>) {
    (metadata.len(), metadata.created().ok())
}
