//! A place as a tree of files: what t2m-checkpoint mounts.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use t2m_checkpoint::mount::{Found, Kind, Ranges, Tree};

use super::client::Client;
use super::error::{Error, Trouble};
use super::file::RemoteFile;
use super::place::{Facts, Place, Target};
use super::store::Folder;
use super::url::Url;

/// Files whose heads are fetched at the same time.
const AT_ONCE: usize = 8;
/// What is read of a head: fetching goes by larger blocks.
const HEAD: usize = 16;
/// How far from its end the directory of a zip archive is looked for, as t2m-checkpoint does.
const TAIL: u64 = 65_557;

/// A file that was opened, or why it could not be.
type Slot = Arc<Mutex<Option<Result<Arc<RemoteFile>, Error>>>>;

/// A tree of files at a place.
#[derive(Debug)]
pub struct Shelf {
    /// Where it is mounted.
    pub root: PathBuf,
    pub client: Arc<Client>,
    pub place: Arc<Place>,
    pub folder: Option<Arc<Folder>>,
    pub files: Files,
    opened: Mutex<HashMap<String, Slot>>,
}

/// Which files there are.
#[derive(Debug)]
pub enum Files {
    /// These, by their paths: where each is asked for, and what is known of it.
    Listed {
        files: BTreeMap<String, Option<Facts>>,
        /// A folder of this machine that has some of them.
        here: Option<PathBuf>,
        /// Whether nothing else may be asked for.
        offline: bool,
        /// The commit that they are of.
        commit: String,
    },
    /// Nobody says: they are asked for. The one that was named has an address of its own.
    Asked {
        /// The name of that one.
        name: String,
        /// Its address.
        url: Url,
        /// Whether others beside it may be asked for.
        beside: bool,
    },
}

impl Shelf {
    /// A tree, mounted at `root`.
    pub fn new(root: PathBuf, client: Arc<Client>, place: Place, folder: Option<Arc<Folder>>, files: Files) -> Shelf {
        Shelf { root, client, place: Arc::new(place), folder, files, opened: Mutex::default() }
    }

    /// The path below the root, with slashes; `None` for what is not below it.
    fn below(&self, path: &Path) -> Option<String> {
        let rest = path.strip_prefix(&self.root).ok()?;
        let parts: Option<Vec<&str>> = rest.iter().map(|part| part.to_str()).collect();
        Some(parts?.join("/"))
    }

    fn target(&self, key: &str) -> Option<Target> {
        let target =
            |url: Url, listed: Option<Facts>| Target { key: key.to_owned(), identity: url.to_string(), url, listed };
        match (&self.files, self.place.as_ref()) {
            (Files::Listed { files, commit, .. }, Place::Hub(hub)) => {
                let listed = files.get(key)?.clone();
                // The content has the same hash at every commit.
                let named = listed.as_ref().is_some_and(|facts| !facts.version.is_empty());
                let identity = hub.resolve(if named { "" } else { commit }, key).to_string();
                Some(Target { identity, ..target(hub.resolve(commit, key), listed) })
            }
            (Files::Listed { files, .. }, Place::Bucket(bucket)) => {
                let listed = files.get(key)?.clone();
                let key = self.key_in_bucket(key);
                Some(Target { key: key.clone(), ..target(bucket.url(&key), listed) })
            }
            (Files::Listed { .. }, Place::Web(_)) => None,
            (Files::Asked { name, url, beside }, place) => {
                if key == name {
                    let key = match place {
                        Place::Bucket(_) => self.key_in_bucket(key),
                        Place::Hub(_) | Place::Web(_) => key.to_owned(),
                    };
                    return Some(Target { key, ..target(url.clone(), None) });
                }
                if !beside || key.contains('/') || key.is_empty() {
                    return None;
                }
                match place {
                    Place::Bucket(bucket) => {
                        let key = self.key_in_bucket(key);
                        Some(Target { key: key.clone(), ..target(bucket.url(&key), None) })
                    }
                    Place::Hub(_) | Place::Web(_) => {
                        let path = url.plain_path();
                        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                        Some(target(url.with_path(&format!("{folder}/{key}")), None))
                    }
                }
            }
        }
    }

    /// The key of a file: the tree may be mounted at a folder of the bucket.
    fn key_in_bucket(&self, key: &str) -> String {
        let root = self.root.to_string_lossy();
        let inside = root.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, inside)| inside);
        let inside = inside.trim_matches('/');
        if inside.is_empty() { key.to_owned() } else { format!("{inside}/{key}") }
    }

    /// The file at a path, opened once.
    ///
    /// # Errors
    /// It is not there, or cannot be had.
    pub fn file(&self, key: &str) -> Result<Arc<RemoteFile>, Error> {
        let slot = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(opened.entry(key.to_owned()).or_default())
        };
        // Two who want the same file wait for one request; others go on.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = slot.as_ref() {
            return opened.clone();
        }
        let target = self.target(key).filter(|_| !matches!(self.files, Files::Listed { offline: true, .. }));
        let opened = target
            .ok_or_else(|| Error::new(Trouble::Missing, self.root.join(key).to_string_lossy(), "is not there"))
            .and_then(|target| RemoteFile::open(&self.client, &self.place, target, self.folder.as_ref()))
            .map(Arc::new);
        // What is not there is asked for once; other trouble may pass.
        if opened.as_ref().map_or_else(Error::is_absence, |_| true) {
            *slot = Some(opened.clone());
        }
        opened
    }

    /// The file of this machine that a listed one is, if it is here whole.
    fn here(&self, key: &str) -> Option<PathBuf> {
        let Files::Listed { files, here: Some(here), .. } = &self.files else { return None };
        let facts = files.get(key)?;
        let path = here.join(key);
        let about = std::fs::metadata(&path).ok().filter(|about| about.is_file())?;
        facts.as_ref().is_none_or(|facts| facts.length == about.len()).then_some(path)
    }
}

impl Tree for Shelf {
    fn kind(&self, path: &Path) -> Option<Kind> {
        let key = self.below(path)?;
        match &self.files {
            Files::Listed { files, .. } => {
                let inside = if key.is_empty() { String::new() } else { format!("{key}/") };
                let is_folder =
                    || files.range(inside.clone()..).next().is_some_and(|(path, _)| path.starts_with(&inside));
                if files.contains_key(&key) {
                    Some(Kind::File)
                } else {
                    (key.is_empty() || is_folder()).then_some(Kind::Folder)
                }
            }
            // What was named is taken for a file; why it is none is said when it is read.
            Files::Asked { name, .. } if key == *name => Some(Kind::File),
            Files::Asked { .. } => self.file(&key).is_ok().then_some(Kind::File),
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<(String, Kind)>> {
        let Files::Listed { files, .. } = &self.files else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a web server does not list its files"));
        };
        let key = self.below(folder).ok_or(io::ErrorKind::NotFound)?;
        let inside = if key.is_empty() { String::new() } else { format!("{key}/") };
        let mut names = BTreeMap::new();
        for path in files.range(inside.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&inside)) {
            let rest = path.get(inside.len()..).unwrap_or_default();
            match rest.split_once('/') {
                Some((folder, _)) => names.insert(folder.to_owned(), Kind::Folder),
                None => names.insert(rest.to_owned(), Kind::File),
            };
        }
        Ok(names.into_iter().collect())
    }

    fn open(&self, path: &Path) -> io::Result<Found> {
        let key = self.below(path).ok_or(io::ErrorKind::NotFound)?;
        if let Some(here) = self.here(&key) {
            return Ok(Found::Here(here));
        }
        Ok(Found::There(self.file(&key)?))
    }

    fn expect(&self, paths: &[PathBuf]) {
        let wanted: Vec<String> = paths.iter().filter_map(|path| self.below(path)).collect();
        let wanted: Vec<&String> = wanted.iter().filter(|key| self.here(key).is_none()).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(wanted.len()) {
                // Whoever reads a file hears what is wrong with it.
                let fetch = || {
                    while let Some(key) = wanted.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                        if self.file(key).map_err(io::Error::from).and_then(|file| warm(&file)).is_err() {
                            next.store(wanted.len(), std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                };
                if thread::Builder::new().spawn_scoped(scope, fetch).is_err() {
                    break;
                }
            }
        });
    }
}

/// Fetch what a file is opened by: its head, and of a zip archive its end.
fn warm(file: &RemoteFile) -> io::Result<()> {
    let mut head = [0; HEAD];
    file.read_at(0, &mut head)?;
    if head.starts_with(b"PK\x03\x04") {
        file.read_at(file.length().saturating_sub(TAIL), &mut vec![0; TAIL as usize])?;
    }
    Ok(())
}
