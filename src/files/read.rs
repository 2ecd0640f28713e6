//! Small files, read whole: never a pipe, a device or a folder, and never more than a bound.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Why a file is not read, as the end of a sentence that begins with its path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not a plain file.
    #[error("is {0}; give a file")]
    NotAFile(&'static str),
    /// It is longer than the bound, in bytes.
    #[error("has more than {} KiB, and no file of its kind is read that long", .0 / 1024)]
    TooLong(u64),
    /// It is not text.
    #[error("byte {0} is no UTF-8: it is no text file")]
    NotText(usize),
}

/// Open a plain file for reading, following links. Nothing else is opened or waited for.
///
/// # Errors
/// It is something else, or cannot be opened.
pub fn open(path: &Path) -> Result<File, Error> {
    let check = |metadata: Metadata| match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(Error::NotAFile("a folder")),
        _ => Err(Error::NotAFile("a device or a pipe")),
    };
    // Checked before opening, which some devices notice, and after, as the name may lead to another file by then.
    check(std::fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

/// Read a plain file of at most `most` bytes.
///
/// # Errors
/// It is larger, is something else, or cannot be read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= most {
        bytes.reserve_exact(usize::try_from(length).unwrap_or_default());
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    if length > most || bytes.len() as u64 > most {
        return Err(Error::TooLong(most));
    }
    Ok(bytes)
}

/// A plain file of at most `most` bytes, to be read piece by piece.
///
/// # Errors
/// It is larger, is something else, or cannot be opened.
pub fn reader(path: &Path, most: u64) -> Result<impl Read, Error> {
    let file = open(path)?;
    // What is longer than it says ends there.
    if file.metadata()?.len() > most { Err(Error::TooLong(most)) } else { Ok(file.take(most)) }
}

/// Read a text file of at most `most` bytes.
///
/// # Errors
/// As [`read`], or it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, Error> {
    String::from_utf8(read(path, most)?).map_err(|error| Error::NotText(error.utf8_error().valid_up_to()))
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
        assert!(matches!(read(&path, 4), Err(Error::TooLong(4))));
        // A file of 3 GB that is one hole costs no more.
        File::create(&path).unwrap().set_len(3 << 30).unwrap();
        assert!(matches!(read(&path, 5), Err(Error::TooLong(5))));
        std::fs::write(&path, b"a = \"\xff\"").unwrap();
        assert!(matches!(read_text(&path, 64), Err(Error::NotText(5))));
        assert!(matches!(read(folder.path(), 4), Err(Error::NotAFile("a folder"))));
        assert!(matches!(read(&folder.path().join("y"), 4), Err(Error::Io(_))));
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(matches!(read(path, 64), Err(Error::NotAFile("a device or a pipe"))), "{path:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_that_the_system_makes_up_are_bounded_by_what_comes() {
        // It claims to be empty, and is not.
        assert!(matches!(read(Path::new("/proc/self/maps"), 10), Err(Error::TooLong(10))));
    }
}
