//! Checkpoints elsewhere: at a hub (`hf://org/name[@rev][/file]`), at a web server (`https://…`), in a bucket (`s3://bucket/key`).
//!
//! [`reach`] understands an address, finds out which files there are, and mounts them ([`t2m_checkpoint::mount`]), so that
//! t2m-checkpoint reads them like files of this machine. What it reads, a header, a pickle, a directory, is fetched by range
//! requests when it is read, checked against what the file is known to be, and kept in the cache folder by the file's version. This
//! crate is the only one that knows the network, and nothing in it is used before somebody names an address.

mod address;
mod aws;
mod basics;
mod bucket;
mod client;
mod error;
mod file;
mod hub;
mod place;
pub mod settings;
mod sign;
mod store;
mod time;
mod tree;
mod url;
mod xml;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use t2m_checkpoint::mount;

use self::address::Address;
use self::basics::Secret;
use self::client::{Auth, Client};
pub use self::error::{Error, Trouble};
use self::place::{Bucket, Hub, Place};
use self::settings::Settings;
use self::store::Folder;
use self::tree::{Files, Shelf};
use self::url::Url;

/// Whether what the user typed is an address, and no path of this machine.
pub fn is_address(path: &Path) -> bool {
    mount::has_scheme(path)
}

/// What was fetched so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of answers.
    pub bytes: u64,
    /// Requests, redirects and further tries included.
    pub requests: u64,
}

/// What was reached since the program began: where it is mounted, and who fetches.
static REACHED: Mutex<Vec<(PathBuf, Arc<Client>)>> = Mutex::new(Vec::new());

/// What was fetched of the checkpoint at a path; `None` where that is on this machine.
pub fn fetched(path: &Path) -> Option<Fetched> {
    if !is_address(path) {
        return None;
    }
    let reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let holding = reached.iter().filter(|(root, _)| path.starts_with(root));
    let (_, client) = holding.max_by_key(|(root, _)| root.as_os_str().len())?;
    Some(of(client))
}

/// How many bytes of what is at a path can be kept, so that reading it again costs nothing; `None` where that is on this machine.
pub fn kept_at_most(path: &Path) -> Option<u64> {
    let reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, client) = reached.iter().find(|(root, _)| path.starts_with(root)).filter(|_| is_address(path))?;
    let settings = &client.settings;
    Some(if settings.cache.is_some() { settings.most_cached } else { 0 })
}

fn of(client: &Client) -> Fetched {
    let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    Fetched { bytes: load(&client.traffic.bytes), requests: load(&client.traffic.requests) }
}

/// Reach for an address: understand it, find out which files there are, and mount them. The path that it gives is opened like any
/// other; it is the address, without what may be secret in it. Until the program ends the files stay what they are now.
///
/// # Errors
/// It is no address, nobody answers, or nothing is there; the message says what was asked and the way out.
pub fn reach(address: &Path, settings: Settings, stop: Option<Arc<AtomicBool>>) -> Result<PathBuf, Error> {
    let text = address
        .to_str()
        .ok_or_else(|| Error::new(Trouble::Asked, address.to_string_lossy(), "an address is text of UTF-8"))?;
    let understood = Address::parse(text, &settings.hub)?;
    let at = where_mounted(&understood);
    if mount::is_mounted(&at) {
        return Ok(at);
    }
    let folder = settings.cache.clone().map(|path| Arc::new(Folder::open(path, settings.most_cached)));
    let client = Arc::new(Client::new(settings, stop)?);
    let roots = match understood {
        Address::Hub { repo, revision, root, .. } => reach_hub(&client, folder, repo, revision, root)?,
        Address::Web(url) => reach_web(&client, folder, url, &at)?,
        Address::Bucket { bucket, key } => reach_bucket(&client, folder, &bucket, &key, &at)?,
    };
    let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    reached.retain(|(root, _)| !roots.contains(root));
    reached.extend(roots.into_iter().map(|root| (root, Arc::clone(&client))));
    Ok(at)
}

/// The path that an address is opened by.
fn where_mounted(address: &Address) -> PathBuf {
    match address {
        Address::Hub { root, file, .. } if file.is_empty() => PathBuf::from(root),
        Address::Hub { root, file, .. } => Path::new(root).join(file),
        // In plain text: escapes are for servers.
        Address::Web(url) => PathBuf::from(format!("{}://{}{}", url.scheme.name(), url.authority(), url.plain_path())),
        Address::Bucket { bucket, key } => PathBuf::from(format!("s3://{bucket}/{}", key.trim_matches('/'))),
    }
}

/// Mount a tree, at several paths.
fn mount_at(roots: Vec<PathBuf>, shelf: Shelf) -> Vec<PathBuf> {
    let shelf = Arc::new(shelf);
    for root in &roots {
        mount::mount(root, Arc::<Shelf>::clone(&shelf));
    }
    roots
}

fn reach_hub(
    client: &Arc<Client>,
    folder: Option<Arc<Folder>>,
    repo: String,
    revision: String,
    root: String,
) -> Result<Vec<PathBuf>, Error> {
    let (endpoint, token) = (client.settings.hub.clone(), client.settings.token.clone());
    let hub = Hub { endpoint, repo, revision, token };
    let listing = hub::list(client, &hub)?;
    let hub::Listing { commit, files, snapshot, offline } = listing;
    let files = Files::Listed { files, here: snapshot, offline, commit };
    let root = PathBuf::from(root);
    Ok(mount_at(vec![root.clone()], Shelf::new(root, Arc::clone(client), Place::Hub(hub), folder, files)))
}

fn reach_web(
    client: &Arc<Client>,
    folder: Option<Arc<Folder>>,
    mut url: Url,
    at: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let (Some(name), Some(above)) = (at.file_name().and_then(|name| name.to_str()), at.parent()) else {
        return Err(Error::new(Trouble::Asked, url.to_string(), NO_FILE));
    };
    if url.path.ends_with('/') {
        return Err(Error::new(Trouble::Asked, url.to_string(), NO_FILE));
    }
    let auth = url.user.take().map_or(Auth::Nobody, |(name, password)| Auth::Basic(name, Secret(password)));
    // An address that is signed is for one file.
    let beside = url.query.is_none();
    let files = Files::Asked { name: name.to_owned(), url, beside };
    let shelf = Shelf::new(above.to_owned(), Arc::clone(client), Place::Web(auth), folder, files);
    // What is wrong with the file itself is said at once.
    shelf.file(name)?;
    Ok(mount_at(vec![at.to_owned(), above.to_owned()], shelf))
}

/// What a server's folder is not.
const NO_FILE: &str =
    "names no file; a web server does not list its files: give the address of one, an index.json for shards";

fn reach_bucket(
    client: &Arc<Client>,
    folder: Option<Arc<Folder>>,
    name: &str,
    key: &str,
    at: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let bucket = || Bucket::new(name, client.settings.aws.clone());
    let is_folder = key.is_empty() || key.ends_with('/');
    let object = (|| {
        let (file, above) = (at.file_name()?.to_str()?.to_owned(), at.parent()?.to_owned());
        let files = Files::Asked { name: file.clone(), url: bucket().url(key), beside: true };
        let shelf = Shelf::new(above.clone(), Arc::clone(client), Place::Bucket(bucket()), folder.clone(), files);
        Some((file, above, shelf))
    })();
    let first = match object.filter(|_| !is_folder) {
        None => None,
        Some((file, above, shelf)) => match shelf.file(&file) {
            Ok(_) => return Ok(mount_at(vec![at.to_owned(), above], shelf)),
            // Without the right to list, S3 denies what is not there.
            Err(error) if error.is_absence() => Some(error),
            Err(error) => return Err(error),
        },
    };
    let place = bucket();
    let files = match bucket::list(client, &place, key) {
        Ok(files) => files,
        Err(error) => return Err(first.unwrap_or(error)),
    };
    if files.is_empty() {
        let what = "nothing is there: neither an object nor a folder of objects";
        return Err(first.unwrap_or_else(|| Error::new(Trouble::Missing, at.to_string_lossy(), what)));
    }
    let files = Files::Listed { files, here: None, offline: false, commit: String::new() };
    let shelf = Shelf::new(at.to_owned(), Arc::clone(client), Place::Bucket(place), folder, files);
    Ok(mount_at(vec![at.to_owned()], shelf))
}
