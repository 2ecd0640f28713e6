//! Where a checkpoint's bytes are: a file read at positions, or memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mount::{self, Found, Kind, Ranges};
use super::{Error, spare};

/// Bytes that can be read at any position, without moving a cursor and without mapping: a file truncated meanwhile gives
/// an error, not a signal.
#[derive(Debug)]
pub enum Bytes {
    /// A file.
    File {
        /// Open for reading.
        file: File,
        /// For messages.
        path: PathBuf,
        /// Length when it was opened.
        length: u64,
    },
    /// A file that is opened for each read: of thousands of shards not all can be open at once.
    Closed {
        /// Where it is.
        path: PathBuf,
        /// Length when it was opened first.
        length: u64,
    },
    /// A file elsewhere, of a tree that is mounted ([`mount`]).
    There {
        /// Its bytes.
        ranges: Arc<dyn Ranges>,
        /// As it was asked for: where it is mounted.
        path: PathBuf,
    },
    /// Built-in bytes.
    Static(&'static [u8]),
    /// Bytes in memory.
    Owned(Vec<u8>),
    /// A run of other bytes: an archive within an archive.
    Part {
        /// All of them.
        whole: Arc<Bytes>,
        /// First byte.
        start: u64,
        /// Number of bytes; the whole may have been truncated meanwhile.
        length: u64,
    },
}

impl Bytes {
    /// Open a file.
    ///
    /// # Errors
    /// It cannot be opened, or is a folder or a device.
    pub fn open(path: &Path) -> Result<Bytes, Error> {
        let io_error = |source| Error::Io { path: path.to_path_buf(), source };
        if let Some(tree) = mount::tree(path) {
            return Bytes::open_in(tree.as_ref(), path);
        }
        // Checked before opening: opening a pipe would wait for its other end.
        let kind = std::fs::metadata(path).map_err(io_error)?.file_type();
        if kind.is_dir() {
            return Err(Error::NotAFile { path: path.to_path_buf(), what: "is a folder; give a file".to_owned() });
        }
        if !kind.is_file() {
            let what = "is a device or a pipe, which cannot be read at positions; save it to a file first".to_owned();
            return Err(Error::NotAFile { path: path.to_path_buf(), what });
        }
        let file = File::open(path).map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        Ok(Bytes::File { file, path: path.to_path_buf(), length })
    }

    fn open_in(tree: &dyn mount::Tree, path: &Path) -> Result<Bytes, Error> {
        if tree.kind(path) == Some(Kind::Folder) {
            return Err(Error::NotAFile { path: path.to_path_buf(), what: "is a folder; give a file".to_owned() });
        }
        match tree.open(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })? {
            Found::Here(file) => Bytes::open(&file),
            Found::There(ranges) => Ok(Bytes::There { ranges, path: path.to_path_buf() }),
        }
    }

    /// What changes with the content of a file elsewhere; `None` for files of this machine.
    pub fn version(&self) -> Option<&str> {
        match self {
            Bytes::There { ranges, .. } => Some(ranges.version()),
            Bytes::Part { whole, .. } => whole.version(),
            _ => None,
        }
    }

    /// These bytes, with the file closed between reads.
    pub fn closed(self) -> Bytes {
        match self {
            Bytes::File { path, length, .. } => Bytes::Closed { path, length },
            other => other,
        }
    }

    /// Length in bytes; for a file, when it was opened.
    pub fn length(&self) -> u64 {
        match self {
            Bytes::File { length, .. } | Bytes::Part { length, .. } | Bytes::Closed { length, .. } => *length,
            Bytes::There { ranges, .. } => ranges.length(),
            Bytes::Static(bytes) => bytes.len() as u64,
            Bytes::Owned(bytes) => bytes.len() as u64,
        }
    }

    /// Fill as much of the buffer as there is behind `offset`, and return that part.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at_most<'a>(&self, offset: u64, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let Some(position) = offset.checked_add(filled as u64) else { break };
            match self.read_some(position, rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { path: self.path(), source }),
            }
        }
        Ok(buffer.get(..filled).unwrap_or_default())
    }

    /// Exactly `length` bytes from `offset`; `None` where the file ends before. Nothing is allocated for bytes that are
    /// not there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_range(&self, offset: u64, length: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(end) = offset.checked_add(length) else { return Ok(None) };
        let Ok(size) = usize::try_from(length) else { return Ok(None) };
        if end > self.length() {
            return Ok(None);
        }
        let Some(mut bytes) = spare::buffer(size) else { return Ok(None) };
        let found = self.read_at_most(offset, &mut bytes)?.len();
        Ok((found == size).then_some(bytes))
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            // An offset that the system's signed type cannot hold is behind the end of every file.
            Bytes::File { .. } | Bytes::Closed { .. } if i64::try_from(offset).is_err() => Ok(0),
            Bytes::File { file, .. } => read_file_at(file, buffer, offset),
            Bytes::Closed { path, .. } => read_file_at(&File::open(path)?, buffer, offset),
            Bytes::There { ranges, .. } => ranges.read_at(offset, buffer),
            Bytes::Static(bytes) => Ok(copy_at(bytes, buffer, offset)),
            Bytes::Owned(bytes) => Ok(copy_at(bytes, buffer, offset)),
            Bytes::Part { whole, start, length } => {
                let rest = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
                let wanted = rest.min(buffer.len());
                match (buffer.get_mut(..wanted), start.checked_add(offset)) {
                    (Some(buffer), Some(offset)) if wanted > 0 => whole.read_some(offset, buffer),
                    _ => Ok(0),
                }
            }
        }
    }

    /// The bytes that these are a part of; themselves where they are none.
    pub fn whole(&self) -> &Bytes {
        match self {
            Bytes::Part { whole, .. } => whole.whole(),
            other => other,
        }
    }

    /// The file; `memory` where there is none.
    pub fn path(&self) -> PathBuf {
        self.file_path().map_or_else(|| PathBuf::from("memory"), Path::to_path_buf)
    }

    /// The file that they are in, or a part of.
    pub fn file_path(&self) -> Option<&Path> {
        match self {
            Bytes::File { path, .. } | Bytes::Closed { path, .. } | Bytes::There { path, .. } => Some(path),
            Bytes::Part { whole, .. } => whole.file_path(),
            Bytes::Static(_) | Bytes::Owned(_) => None,
        }
    }
}

#[cfg(unix)]
fn read_file_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_file_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// The identity of a file, whatever it is called: links to one file have one identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileId(Identity);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// Device and number.
    #[cfg(unix)]
    Node(u64, u64),
    /// Elsewhere: where it is mounted.
    Path(PathBuf),
}

impl FileId {
    /// The identity of the plain file at a path, links followed; `None` where there is none.
    pub fn of(path: &Path) -> Option<FileId> {
        if let Some(tree) = mount::tree(path) {
            return (tree.kind(path) == Some(Kind::File)).then(|| FileId(Identity::Path(path.to_owned())));
        }
        let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        FileId::from_metadata(path, &about)
    }

    #[cfg(unix)]
    fn from_metadata(_: &Path, about: &std::fs::Metadata) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        Some(FileId(Identity::Node(about.dev(), about.ino())))
    }

    #[cfg(not(unix))]
    fn from_metadata(path: &Path, _: &std::fs::Metadata) -> Option<FileId> {
        path.canonicalize().ok().map(Identity::Path).map(FileId)
    }
}

impl rawzip::ReaderAt for &Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_some(offset, buffer)
    }
}

fn copy_at(bytes: &[u8], buffer: &mut [u8], offset: u64) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(rest) {
        *to = *from;
    }
    count
}
