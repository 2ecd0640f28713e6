//! What the user typed: `hf://org/name[@rev][/file]`, `https://…`, `s3://bucket/key`.

use super::error::{Error, Trouble};
use super::url::{Url, decode};

/// An address, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A model at the hub, or a file of it.
    Hub {
        /// `org/name`.
        repo: String,
        /// A branch, a tag, a commit, `refs/pr/1`; `main` where none is named.
        revision: String,
        /// The file's path, or a folder's; empty for the model.
        file: String,
        /// The address as far as the model, as it was typed: where its tree is mounted.
        root: String,
    },
    /// A file at a web server.
    Web(Url),
    /// An object, or what begins like it.
    Bucket {
        /// The bucket.
        bucket: String,
        /// The key; empty for all of it, ending in a slash for a folder.
        key: String,
    },
}

/// Where most people's branch is.
const MAIN: &str = "main";

impl Address {
    /// Understand an address. What the hub's own pages are called means the model there.
    ///
    /// # Errors
    /// It is none, with what is expected.
    pub fn parse(text: &str, hub: &Url) -> Result<Address, Error> {
        let wrong = |what: &str| Error::new(Trouble::Asked, text, what);
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("is no address"))?;
        match scheme.to_ascii_lowercase().as_str() {
            "hf" => model(text, rest).map_err(wrong),
            "s3" => bucket(rest).map_err(wrong),
            "http" | "https" => {
                let url = Url::parse(text).map_err(|what| {
                    // Without what may be a password.
                    Error::new(Trouble::Asked, text.rsplit('@').next().unwrap_or_default(), what)
                })?;
                Ok(page(&url, hub).unwrap_or(Address::Web(url)))
            }
            _ => Err(wrong("addresses begin with hf://, https:// or s3://")),
        }
    }
}

const EXPECTED: &str = "hf://ORG/NAME, hf://ORG/NAME@REVISION or hf://ORG/NAME/FILE is expected";

fn model(text: &str, rest: &str) -> Result<Address, &'static str> {
    let rest = rest.trim_end_matches('/');
    if ["datasets/", "spaces/", "buckets/"].iter().any(|kind| rest.starts_with(kind)) {
        return Err("only models are read: hf://ORG/NAME");
    }
    let (org, behind) = rest.split_once('/').unwrap_or((rest, ""));
    // Some of the first models have no organisation.
    let (name, file) = behind.split_once('/').unwrap_or((behind, ""));
    let last = if name.is_empty() { org } else { name };
    let (last, revision, file) = match last.split_once('@') {
        None => (last, MAIN.to_owned(), file),
        Some((last, revision)) => {
            // Names of pull requests have slashes.
            let whole = if file.is_empty() { revision.to_owned() } else { format!("{revision}/{file}") };
            match whole.strip_prefix("refs/").and_then(|rest| rest.match_indices('/').nth(1).map(|(at, _)| at)) {
                Some(at) => {
                    let at = at + "refs/".len();
                    let (revision, _) = whole.split_at(at);
                    let behind = file.len() - (whole.len() - at - 1);
                    (last, revision.to_owned(), file.get(behind..).unwrap_or_default())
                }
                None if whole.starts_with("refs/") => (last, whole, ""),
                None => (last, decode(revision), file),
            }
        }
    };
    let repo = if name.is_empty() { last.to_owned() } else { format!("{org}/{last}") };
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter))
    };
    let is_revision = |text: &str| !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !repo.split('/').all(plain) || !is_revision(&revision) || file.split('/').any(|part| matches!(part, "." | ".."))
    {
        return Err(EXPECTED);
    }
    let text = text.trim_end_matches('/');
    let root = text.strip_suffix(file).unwrap_or(text).trim_end_matches('/').to_owned();
    Ok(Address::Hub { repo, revision, file: file.to_owned(), root })
}

/// A page of the hub: `/org/name`, `/org/name/blob/REV/FILE`, `resolve`, `tree`.
fn page(url: &Url, hub: &Url) -> Option<Address> {
    if !url.is_same_server(hub) {
        return None;
    }
    let path = url.plain_path();
    let base = hub.plain_path();
    let path = path.strip_prefix(base.trim_end_matches('/'))?.trim_matches('/');
    let mut parts = path.splitn(5, '/');
    let (org, name) = (parts.next()?, parts.next()?);
    if matches!(org, "api" | "datasets" | "spaces" | "docs" | "collections") {
        return None;
    }
    let (kind, revision, file) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    if !matches!(kind, None | Some("blob" | "resolve" | "raw" | "tree")) {
        return None;
    }
    let revision = revision.unwrap_or(MAIN);
    let at = if revision == MAIN { String::new() } else { format!("@{revision}") };
    let text = format!("hf://{org}/{name}{at}/{file}");
    model(&text, text.strip_prefix("hf://")?).ok()
}

fn bucket(rest: &str) -> Result<Address, &'static str> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    if bucket.is_empty() || !bucket.bytes().all(plain) {
        return Err("s3://BUCKET/KEY is expected");
    }
    Ok(Address::Bucket { bucket: bucket.to_owned(), key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text, &Url::parse("https://hub.example").unwrap()).map_err(|error| error.to_string())
    }

    fn hub(text: &str) -> [String; 4] {
        match parse(text).unwrap() {
            Address::Hub { repo, revision, file, root } => [repo, revision, file, root],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn models_have_revisions_and_files() {
        assert_eq!(hub("hf://org/name"), ["org/name", "main", "", "hf://org/name"]);
        assert_eq!(hub("hf://org/name/"), ["org/name", "main", "", "hf://org/name"]);
        assert_eq!(hub("hf://gpt2"), ["gpt2", "main", "", "hf://gpt2"]);
        assert_eq!(hub("hf://org/name/sub/m.pt"), ["org/name", "main", "sub/m.pt", "hf://org/name"]);
        assert_eq!(hub("hf://org/name@v1.0/m.pt"), ["org/name", "v1.0", "m.pt", "hf://org/name@v1.0"]);
        assert_eq!(hub("hf://org/name@a%2Fb"), ["org/name", "a/b", "", "hf://org/name@a%2Fb"]);
        assert_eq!(hub("hf://org/name@refs/pr/1"), ["org/name", "refs/pr/1", "", "hf://org/name@refs/pr/1"]);
        let pull = hub("hf://org/name@refs/pr/1/sub/m.pt");
        assert_eq!(pull, ["org/name", "refs/pr/1", "sub/m.pt", "hf://org/name@refs/pr/1"]);
        for wrong in
            ["hf://", "hf://org/..", "hf://a b/c", "hf://org/name@", "hf://org/name/../x", "hf://org/name@../x"]
        {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains("hf://ORG/NAME"), "{error}");
        }
        assert!(parse("hf://datasets/org/name").unwrap_err().contains("only models"));
    }

    #[test]
    fn pages_of_the_hub_are_models() {
        assert_eq!(hub("https://hub.example/org/name"), ["org/name", "main", "", "hf://org/name"]);
        let file = hub("https://hub.example/org/name/resolve/main/a/m.safetensors?download=true");
        assert_eq!(file, ["org/name", "main", "a/m.safetensors", "hf://org/name"]);
        assert_eq!(hub("https://hub.example/org/name/tree/v2")[3], "hf://org/name@v2");
        for other in
            ["https://hub.example/api/models/x", "https://other.example/org/name", "http://hub.example/org/name"]
        {
            assert!(matches!(parse(other).unwrap(), Address::Web(_)), "{other}");
        }
    }

    #[test]
    fn others_are_told() {
        assert_eq!(parse("s3://b/a/m.pt").unwrap(), Address::Bucket { bucket: "b".into(), key: "a/m.pt".into() });
        assert!(parse("s3:///m.pt").unwrap_err().contains("s3://BUCKET/KEY"));
        assert!(parse("ftp://a/b").unwrap_err().contains("begin with hf://, https:// or s3://"));
        let error = parse("https://me:secret@ho st/x").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
