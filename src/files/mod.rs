//! Files beside the checkpoints' own reading: what a run reads and writes, known before the first byte is written
//! ([`Inputs`], [`Outputs`]); temporary files, which are made here alone ([`Stage`]); small files, read with a bound ([`read()`])
//! and replaced under a lock ([`hold`]).

mod inputs;
mod outputs;
mod read;
mod replace;
mod stage;
mod toml;

use std::fs::Metadata;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use t2m_checkpoint::escape::escape;

pub use inputs::{Inputs, Role};
pub use outputs::{Kind, Outputs, Wanted};
pub use read::{Error as ReadError, open, read, read_text, reader};
pub use replace::{Held, hold};
pub use stage::{Part, Stage, sync_folder};
pub use toml::parse_toml;

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The output is a file that is read.
    #[error("{}: is {input}, which is never written to; give {option}another path", shown(path))]
    Input {
        /// The output.
        path: PathBuf,
        /// Which input it is, and its other name if it has one.
        input: String,
        /// The option that named it, with a trailing space; empty if that is obvious.
        option: &'static str,
    },
    /// Two outputs are one file.
    #[error("{}: would be {one} and {other} at once; give {option} another path", shown(path))]
    Twice {
        /// Path of the file.
        path: PathBuf,
        /// What one option would write there.
        one: &'static str,
        /// What another would.
        other: &'static str,
        /// The option to change.
        option: &'static str,
    },
    /// There is a file already.
    #[error("{}: is there already; --force replaces it", shown(path))]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// There is a file that the call does not name and that this program did not write.
    #[error("{}: {what}; move it away, or give {option} another path", shown(path))]
    Foreign {
        /// Path of the file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// The option to change.
        option: &'static str,
    },
    /// The output is not a file that can be created.
    #[error("{}: {what}", shown(path))]
    Target {
        /// Path of the file.
        path: PathBuf,
        /// Why, and what to give instead.
        what: &'static str,
    },
    /// Another run writes there.
    #[error("{}: another t2m-tui is writing it; wait for it or give another path", shown(path))]
    Busy {
        /// Path of the file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot be written: {source}; nothing was left behind", shown(path))]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Write one file, whole or not at all. One that is there is replaced only by `force`; no file that is read ever is.
///
/// # Errors
/// It cannot go there, or the system refused.
pub fn write_whole(
    inputs: &Inputs,
    wanted: Wanted,
    force: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let path = wanted.path.clone();
    let stage = Outputs::check(inputs, vec![wanted], force, |_, _| false)?.stage()?;
    let part = stage.create(&path)?;
    let mut file = BufWriter::new(&part.file);
    let written = write(&mut file).and_then(|()| file.flush()).and_then(|()| part.file.sync_all());
    drop(file);
    written.map_err(|source| Error::Write { path, source })?;
    part.place()?;
    stage.sync()
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// The folder that a path's file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The identity of a file, independent of names and links.
#[cfg(unix)]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}
#[cfg(not(unix))]
type Identity = PathBuf;

/// The identity of the file that a path leads to, following links.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|metadata| identity_of(&metadata))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    path.canonicalize().ok()
}

#[cfg(unix)]
fn identity_of(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

/// Whether it is a plain file of this user with no other name.
#[cfg(unix)]
fn is_own_file(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.is_file() && metadata.nlink() == 1 && is_own(metadata)
}

#[cfg(not(unix))]
fn is_own_file(metadata: &Metadata) -> bool {
    metadata.is_file()
}

#[cfg(unix)]
fn is_own(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_own(_: &Metadata) -> bool {
    true
}
