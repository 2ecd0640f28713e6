//! Small files, read whole: never a pipe, a device or a folder, and never more than a bound.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::shown;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system said no.
    #[error("{}: cannot be read: {source}", shown(path))]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no plain file.
    #[error("{}: is {what}; give a plain file", shown(path))]
    NotAFile {
        /// Path of the file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is larger than anything that is meant.
    #[error("{}: is larger than the {most} bytes that are read of such a file", shown(path))]
    TooLong {
        /// Path of the file.
        path: PathBuf,
        /// The bound, in bytes.
        most: u64,
    },
}

/// Open a plain file for reading, links followed. Nothing else is opened, or waited for.
///
/// # Errors
/// It is something else, or cannot be opened.
pub fn open(path: &Path) -> Result<File, Error> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let check = |metadata: std::fs::Metadata| {
        let what = match metadata.file_type() {
            kind if kind.is_file() => return Ok(()),
            kind if kind.is_dir() => "a folder",
            _ => "a pipe or a device",
        };
        Err(Error::NotAFile { path: path.to_owned(), what })
    };
    // Before opening, which some devices notice; and after, as the name may have changed hands.
    check(std::fs::metadata(path).map_err(io_error)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path).map_err(io_error)?;
    check(file.metadata().map_err(io_error)?)?;
    Ok(file)
}

/// Read a plain file of at most `most` bytes.
///
/// # Errors
/// It is larger, is something else, or cannot be read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let length = file.metadata().map_err(io_error)?.len();
    let mut bytes = Vec::new();
    if length <= most {
        bytes.reserve_exact(usize::try_from(length).unwrap_or_default());
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error)?;
    }
    if length > most || bytes.len() as u64 > most {
        return Err(Error::TooLong { path: path.to_owned(), most });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_bound_is_the_last_length_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(Error::TooLong { most: 4, .. })));
        assert!(matches!(read(folder.path(), 4), Err(Error::NotAFile { what: "a folder", .. })));
        assert!(matches!(read(&folder.path().join("y"), 4), Err(Error::Io { .. })));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_that_the_system_makes_up_are_bounded_by_what_comes() {
        // It says that it has no bytes, and has some.
        assert!(matches!(read(Path::new("/proc/self/maps"), 10), Err(Error::TooLong { .. })));
        assert!(matches!(read(Path::new("/dev/zero"), 10), Err(Error::NotAFile { .. })));
    }
}
