//! What a model at the hub consists of: by the hub's interface, or by the cache of the hub's own library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::client::{Ask, Client};
use super::error::{Error, Trouble, words};
use super::place::{Facts, Hub};

/// Pages of a listing, of a thousand files each.
const MOST_PAGES: usize = 200;
/// Files of a model.
pub const MOST_FILES: usize = 100_000;

/// The files of a model at one commit.
#[derive(Debug, Default)]
pub struct Listing {
    /// The commit, where it is known; else the revision as it was asked for.
    pub commit: String,
    /// Each file by its path, with what is known of it.
    pub files: BTreeMap<String, Option<Facts>>,
    /// The folder of the library's cache that has some of them.
    pub snapshot: Option<PathBuf>,
    /// Whether nothing may be asked for.
    pub offline: bool,
}

/// Find out what a model consists of.
///
/// # Errors
/// There is no such model, it may not be read, or the hub does not answer and nothing is in the cache.
pub fn list(client: &Client, hub: &Hub) -> Result<Listing, Error> {
    let cache = client.settings.hub_cache.as_deref();
    let model = cache.map(|cache| cache.join(format!("models--{}", hub.repo.replace('/', "--"))));
    if client.settings.offline {
        return cached(model.as_deref(), &hub.revision).ok_or_else(|| {
            let place = model.map_or("no folder".to_owned(), |model| model.to_string_lossy().into_owned());
            let what = format!(
                "HF_HUB_OFFLINE is set, and the hub's cache ({place}) has no revision `{}` of it; unset it, or fetch the model with `hf download {}`",
                words(&hub.revision),
                hub.repo
            );
            Error::new(Trouble::Missing, format!("hf://{}", hub.repo), what)
        });
    }
    match asked(client, hub) {
        Ok(mut listing) => {
            let snapshot = model.map(|model| model.join("snapshots").join(&listing.commit));
            listing.snapshot = snapshot.filter(|snapshot| snapshot.is_dir());
            Ok(listing)
        }
        // As the hub's own library does: what lies here is better than nothing.
        Err(error) if error.trouble == Trouble::Unreachable => cached(model.as_deref(), &hub.revision).ok_or(error),
        Err(error) => Err(error),
    }
}

/// By the hub's interface.
fn asked(client: &Client, hub: &Hub) -> Result<Listing, Error> {
    let about = json(client, hub, "revision", &hub.revision);
    let commit = match &about {
        Ok((about, _)) => about.get("sha").and_then(Value::as_str).map(str::to_owned),
        Err(_) => None,
    };
    let commit =
        commit.filter(|commit| !commit.is_empty() && commit.bytes().all(|letter| letter.is_ascii_alphanumeric()));
    let revision = commit.clone().unwrap_or_else(|| hub.revision.clone());
    let files = match (tree(client, hub, &revision), about) {
        (Ok(files), _) => files,
        // A mirror without trees names the files at least.
        (Err(error), Ok((about, _))) if error.is_absence() => {
            let names = about.get("siblings").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(|file| Some((file.get("rfilename")?.as_str()?.to_owned(), None))).collect()
        }
        (Err(_), Err(first)) => return Err(first),
        (Err(error), Ok(_)) => return Err(error),
    };
    let files = files.into_iter().filter(|(path, _)| is_plain(path)).collect();
    Ok(Listing { commit: revision, files, ..Listing::default() })
}

/// Whether a path out of a listing leads to a file below the root.
pub fn is_plain(path: &str) -> bool {
    path.len() <= 4096 && path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains(['\\', '\0'])
}

/// All pages of the tree of a revision.
fn tree(client: &Client, hub: &Hub, revision: &str) -> Result<BTreeMap<String, Option<Facts>>, Error> {
    let mut url = hub.api("tree", revision);
    url.query = Some("recursive=true".to_owned());
    let mut files = BTreeMap::new();
    for _ in 0..MOST_PAGES {
        let (page, next) = ask(client, hub, &url)?;
        let entries = page.as_array().ok_or_else(|| {
            Error::new(
                Trouble::Answer,
                url.to_string(),
                "the hub's listing is none; HF_ENDPOINT may name something else",
            )
        })?;
        for entry in entries {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            if text("type").is_some_and(|kind| kind != "file") {
                continue;
            }
            let Some(path) = text("path") else { continue };
            // Of large files the hash of the content counts; of others that of the blob.
            let large = entry.get("lfs");
            let size = large.and_then(|large| large.get("size")).or_else(|| entry.get("size")).and_then(Value::as_u64);
            let id = large
                .and_then(|large| large.get("oid").or_else(|| large.get("sha256"))?.as_str())
                .or_else(|| text("oid"));
            let facts = size.map(|length| Facts { length, version: id.unwrap_or_default().to_owned() });
            files.insert(path.to_owned(), facts);
        }
        if files.len() > MOST_FILES {
            let what = format!("it lists more than {MOST_FILES} files, which no model has");
            return Err(Error::new(Trouble::Answer, url.to_string(), what));
        }
        match next {
            None => return Ok(files),
            Some(next) => {
                let next = url.join(&next).map_err(|what| Error::new(Trouble::Answer, url.to_string(), what))?;
                if !next.is_same_server(&url) {
                    let what = format!("its listing goes on at another server, {next}; that is not followed");
                    return Err(Error::new(Trouble::Answer, url.to_string(), what));
                }
                url = next;
            }
        }
    }
    Err(Error::new(Trouble::Answer, url.to_string(), format!("its listing does not end after {MOST_PAGES} pages")))
}

fn json(client: &Client, hub: &Hub, what: &str, revision: &str) -> Result<(Value, Option<String>), Error> {
    ask(client, hub, &hub.api(what, revision))
}

/// A page of JSON, and where it goes on.
fn ask(client: &Client, hub: &Hub, url: &super::url::Url) -> Result<(Value, Option<String>), Error> {
    let answer = client.send(&Ask { url, auth: &hub.auth(), range: None, if_range: None })?;
    if answer.status != 200 {
        return Err(hub.explain(answer, client));
    }
    let next = answer.header("link").and_then(next_page);
    let text = answer.text(client)?;
    let value = serde_json::from_str(&text).map_err(|error| {
        let what = format!("the hub's answer is no JSON ({error}); HF_ENDPOINT may name something else");
        Error::new(Trouble::Answer, url.to_string(), what)
    })?;
    Ok((value, next))
}

/// The next page that a header names: `<https://…>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|link| {
        let (address, about) = link.trim().strip_prefix('<')?.split_once('>')?;
        about.replace(' ', "").contains("rel=\"next\"").then(|| address.to_owned())
    })
}

/// What the cache of the hub's own library has of a revision: `refs/REV` names the commit, `snapshots/COMMIT` has the files.
fn cached(model: Option<&Path>, revision: &str) -> Option<Listing> {
    let model = model?;
    let named = super::basics::text_of(&model.join("refs").join(revision));
    let commit = named.map_or_else(|| revision.to_owned(), |commit| commit.trim().to_owned());
    let snapshot = model.join("snapshots").join(&commit);
    if !is_plain(&commit) || !snapshot.is_dir() {
        return None;
    }
    let mut files = BTreeMap::new();
    let mut folders = vec![(snapshot.clone(), String::new())];
    while let Some((folder, above)) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Its files are links.
            let Ok(about) = std::fs::metadata(entry.path()) else { continue };
            let path = format!("{above}{name}");
            if about.is_dir() && path.matches('/').count() < 16 {
                folders.push((entry.path(), format!("{path}/")));
            } else if about.is_file() && files.len() < MOST_FILES {
                files.insert(path, Some(Facts { length: about.len(), version: String::new() }));
            }
        }
    }
    Some(Listing { commit, files, snapshot: Some(snapshot), offline: true })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_next_page_is_named_by_a_header() {
        assert_eq!(next_page("<https://a/b?cursor=x>; rel=\"next\"").unwrap(), "https://a/b?cursor=x");
        assert_eq!(next_page("</p>; rel=\"prev\", </n>; rel=\"next\"").unwrap(), "/n");
        assert_eq!(next_page("<https://a/b>; rel=\"last\""), None);
    }

    #[test]
    fn paths_out_of_a_listing_stay_below_it() {
        assert!(is_plain("a/b.pt"));
        for wrong in ["", "/a", "../a", "a//b", "a/./b", "a\\b"] {
            assert!(!is_plain(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_cache_is_read_by_its_refs() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path();
        std::fs::create_dir_all(model.join("refs/pr")).unwrap();
        std::fs::create_dir_all(model.join("snapshots/abc/sub")).unwrap();
        std::fs::write(model.join("refs/main"), "abc\n").unwrap();
        std::fs::write(model.join("snapshots/abc/config.json"), "{}").unwrap();
        std::fs::write(model.join("snapshots/abc/sub/m.pt"), "PK").unwrap();
        for revision in ["main", "abc"] {
            let listing = cached(Some(model), revision).unwrap();
            assert_eq!(listing.files.keys().collect::<Vec<_>>(), ["config.json", "sub/m.pt"]);
            assert!(listing.offline && listing.commit == "abc");
        }
        assert!(cached(Some(model), "other").is_none() && cached(Some(model), "../snapshots").is_none());
        std::fs::write(model.join("refs/evil"), "../../..").unwrap();
        assert!(cached(Some(model), "evil").is_none());
    }
}
