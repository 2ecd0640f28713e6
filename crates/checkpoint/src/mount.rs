//! Files that are elsewhere: at a server, say. The reader knows no network. Who does mounts a tree of files at a path with a
//! scheme (`hf://org/name`), and from then on what lies below that path is listed and read through it like any file. A path with a
//! scheme at which nothing is mounted is a file that is not there: nothing is ever asked of anybody unless it was mounted.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// What a name in a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// The bytes of a file elsewhere.
pub trait Ranges: Debug + Send + Sync {
    /// Length in bytes.
    fn length(&self) -> u64;

    /// What changes with the content: an ETag. Two files with the same one and the same length are the same.
    fn version(&self) -> &str;

    /// Fill some of the buffer, at least one byte unless `offset` is the end.
    ///
    /// # Errors
    /// The bytes cannot be had; the error names who was asked and the way out.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Where the bytes of a file of a tree are.
#[derive(Debug, Clone)]
pub enum Found {
    /// In a file of this machine: a cache has it.
    Here(PathBuf),
    /// Elsewhere.
    There(Arc<dyn Ranges>),
}

/// A tree of files. Paths are whole, as they were mounted.
pub trait Tree: Debug + Send + Sync {
    /// What is at a path; `None` where nothing is.
    fn kind(&self, path: &Path) -> Option<Kind>;

    /// The names in a folder.
    ///
    /// # Errors
    /// They cannot be listed.
    fn names(&self, folder: &Path) -> io::Result<Vec<(String, Kind)>>;

    /// A file.
    ///
    /// # Errors
    /// It is not there, or cannot be had.
    fn open(&self, path: &Path) -> io::Result<Found>;

    /// These files are about to be read from their beginnings: their heads may be fetched at once.
    fn expect(&self, paths: &[PathBuf]);
}

/// Trees by where they are mounted. A process opens a handful of them.
static MOUNTED: RwLock<Vec<(PathBuf, Arc<dyn Tree>)>> = RwLock::new(Vec::new());

/// Let paths below `at`, which has a scheme, lead into a tree. What was mounted there before is let go of.
pub fn mount(at: &Path, tree: Arc<dyn Tree>) {
    let mut mounted = MOUNTED.write().unwrap_or_else(PoisonError::into_inner);
    mounted.retain(|(path, _)| path != at);
    mounted.push((at.to_owned(), tree));
}

/// Whether a path has a scheme in front, so that no file of this machine is meant.
pub fn has_scheme(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let letters = text.iter().take_while(|letter| letter.is_ascii_alphanumeric()).count();
    letters > 1 && text.get(letters..).is_some_and(|rest| rest.starts_with(b"://"))
}

/// Whether a path leads into a tree that is mounted.
pub fn is_mounted(path: &Path) -> bool {
    tree(path).is_some()
}

/// The tree that a path leads into: of several the one whose root is nearest.
pub(super) fn tree(path: &Path) -> Option<Arc<dyn Tree>> {
    if !has_scheme(path) {
        return None;
    }
    let mounted = MOUNTED.read().unwrap_or_else(PoisonError::into_inner);
    let holding = mounted.iter().filter(|(at, _)| path.starts_with(at));
    holding.max_by_key(|(at, _)| at.as_os_str().len()).map(|(_, tree)| Arc::clone(tree))
}

/// Whether a path leads to a plain file, wherever that is.
pub fn is_file(path: &Path) -> bool {
    tree(path).map_or_else(|| path.is_file(), |tree| tree.kind(path) == Some(Kind::File))
}

/// Whether a path leads to a folder, wherever that is.
pub fn is_folder(path: &Path) -> bool {
    tree(path).map_or_else(|| path.is_dir(), |tree| tree.kind(path) == Some(Kind::Folder))
}

/// Names in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// In no order, each with what it is; `None` where that cannot be found out.
    pub list: Vec<(String, Option<Kind>)>,
    /// Whether there are more.
    pub cut: bool,
}

/// At most so many names of a folder, wherever it is.
///
/// # Errors
/// They cannot be listed.
pub(super) fn names(folder: &Path, most: usize) -> io::Result<Names> {
    if let Some(tree) = tree(folder) {
        let names = tree.names(folder)?;
        let cut = names.len() > most;
        let list = names.into_iter().take(most).map(|(name, kind)| (name, Some(kind))).collect();
        return Ok(Names { list, cut });
    }
    let mut entries = std::fs::read_dir(folder)?;
    let mut list = Vec::new();
    for entry in entries.by_ref().take(most) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Links are followed: caches keep the files elsewhere. What kind a plain entry is comes with its name.
        let kind = match entry.file_type() {
            Ok(kind) if !kind.is_symlink() => Some(kind),
            _ => std::fs::metadata(entry.path()).ok().map(|about| about.file_type()),
        };
        let kind = kind.and_then(|kind| match kind {
            kind if kind.is_file() => Some(Kind::File),
            kind if kind.is_dir() => Some(Kind::Folder),
            _ => None,
        });
        list.push((name, kind));
    }
    Ok(Names { list, cut: entries.next().is_some() })
}

/// A path that does not depend on where the process is.
pub(super) fn absolute(path: &Path) -> Option<PathBuf> {
    if has_scheme(path) { Some(path.to_owned()) } else { std::path::absolute(path).ok() }
}

/// Tell the trees of files that are about to be read from their beginnings.
pub(super) fn expect(paths: &[PathBuf]) {
    if let Some(tree) = paths.first().and_then(|path| tree(path)) {
        tree.expect(paths);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Debug)]
    struct Bytes(&'static str);

    impl Ranges for Bytes {
        fn length(&self) -> u64 {
            self.0.len() as u64
        }

        fn version(&self) -> &str {
            "one"
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = self.0.as_bytes().get(offset as usize..).unwrap_or_default();
            // A byte at a time: whoever reads goes on.
            let count = rest.len().min(buffer.len()).min(1);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[derive(Debug)]
    struct One;

    impl Tree for One {
        fn kind(&self, path: &Path) -> Option<Kind> {
            match path.to_str()? {
                "test://here" => Some(Kind::Folder),
                "test://here/config.json" => Some(Kind::File),
                _ => None,
            }
        }

        fn names(&self, _: &Path) -> io::Result<Vec<(String, Kind)>> {
            Ok(vec![("config.json".to_owned(), Kind::File)])
        }

        fn open(&self, _: &Path) -> io::Result<Found> {
            Ok(Found::There(Arc::new(Bytes("{\"a\": 1}"))))
        }

        fn expect(&self, _: &[PathBuf]) {}
    }

    #[test]
    fn what_is_mounted_is_read_like_any_file() {
        let at = Path::new("test://here");
        let config = at.join("config.json");
        assert!(!is_mounted(&config) && !is_file(&config), "nothing is there before");
        assert!(super::super::Bytes::open(&config).is_err());
        mount(at, Arc::new(One));
        assert!(
            is_folder(at) && is_file(&config) && !is_file(&at.join("other")) && !is_mounted(Path::new("test://her"))
        );
        let bytes = super::super::Bytes::open(&config).unwrap();
        assert_eq!(bytes.read_range(0, bytes.length()).unwrap().unwrap(), b"{\"a\": 1}");
        assert_eq!(bytes.read_range(1, bytes.length()).unwrap(), None);
        assert_eq!(super::super::config::read(&config).unwrap()["a"], 1);
        assert_eq!(names(at, 0).unwrap(), Names { list: Vec::new(), cut: true });
        assert_eq!(absolute(&config).unwrap(), config);
        let error = super::super::Bytes::open(at).unwrap_err().to_string();
        assert!(error.starts_with("test://here: is a folder"), "{error}");
        assert!(
            !has_scheme(Path::new("c:/a")) && !has_scheme(Path::new("a/b://c")) && has_scheme(Path::new("s3://a/b"))
        );
    }
}
