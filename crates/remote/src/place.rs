//! The three kinds of places: how a file there is asked for, and what a refusal there means.

use std::sync::{Mutex, PoisonError};

use super::aws::Aws;
use super::basics::Secret;
use super::client::{Answer, Auth, Client};
use super::error::{Error, Trouble, words};
use super::url::{Url, encode_name};
use super::xml;

/// What a file is, as the first answer or a listing says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Length in bytes.
    pub length: u64,
    /// What changes with the content; empty where nobody says.
    pub version: String,
}

/// A file at a place.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its path from the place's root, in plain text.
    pub key: String,
    /// Where it is asked for, and what messages name.
    pub url: Url,
    /// What it is, together with its version: the name that its blocks are kept under.
    pub identity: String,
    /// What a listing says of it.
    pub listed: Option<Facts>,
}

/// A model at the hub.
#[derive(Debug)]
pub struct Hub {
    /// The hub.
    pub endpoint: Url,
    /// `org/name`.
    pub repo: String,
    /// As it was asked for.
    pub revision: String,
    /// Whom the hub knows.
    pub token: Option<Secret>,
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Who asks, and whom.
    pub aws: Aws,
    /// The region that it is in, as far as is known.
    pub region: Mutex<String>,
}

/// A kind of place.
#[derive(Debug)]
pub enum Place {
    /// A model at the hub.
    Hub(Hub),
    /// A web server, and who asks it.
    Web(Auth),
    /// A bucket.
    Bucket(Bucket),
}

impl Place {
    /// Where to ask for a file, as whom.
    pub fn way(&self, target: &Target) -> (Url, Auth) {
        match self {
            Place::Hub(hub) => (target.url.clone(), hub.auth()),
            Place::Web(auth) => (target.url.clone(), auth.clone()),
            Place::Bucket(bucket) => (bucket.url(&target.key), bucket.auth()),
        }
    }

    /// Whether an answer tells something that is worth asking again.
    pub fn learns(&self, answer: &Answer) -> bool {
        match self {
            Place::Bucket(bucket) => bucket.learns(answer),
            Place::Hub(_) | Place::Web(_) => false,
        }
    }

    /// Why an answer is no file, and what to do.
    pub fn explain(&self, answer: Answer, client: &Client) -> Error {
        match self {
            Place::Hub(hub) => hub.explain(answer, client),
            Place::Web(_) => web(answer, client),
            Place::Bucket(bucket) => bucket.explain(answer, client),
        }
    }
}

impl Hub {
    /// Who asks.
    pub fn auth(&self) -> Auth {
        self.token.clone().map_or(Auth::Nobody, Auth::Bearer)
    }

    /// An address of the hub's interface.
    pub fn api(&self, what: &str, revision: &str) -> Url {
        let base = self.endpoint.plain_path();
        let mut url =
            self.endpoint.with_path(&format!("{}/api/models/{}/{what}/", base.trim_end_matches('/'), self.repo));
        url.path.push_str(&encode_name(revision));
        url
    }

    /// Where a file of a commit is.
    pub fn resolve(&self, commit: &str, file: &str) -> Url {
        let base = self.endpoint.plain_path();
        let base = base.trim_end_matches('/');
        let mut url = self.endpoint.with_path(&format!("{base}/{}/resolve/", self.repo));
        let file: Vec<String> = file.split('/').map(encode_name).collect();
        url.path.push_str(&format!("{}/{}", encode_name(commit), file.join("/")));
        url
    }

    /// Why the hub says no.
    pub fn explain(&self, answer: Answer, client: &Client) -> Error {
        let (said, url, status) = (answer.said(), answer.url.to_string(), answer.status);
        let code = answer.header("x-error-code").unwrap_or_default().to_owned();
        let message = answer.header("x-error-message").map(words).unwrap_or_default();
        let (repo, revision) = (&self.repo, &self.revision);
        let hub = self.endpoint.to_string();
        let log_in = "set HF_TOKEN, or log in with `hf auth login`";
        let (trouble, what) = match (status, code.as_str()) {
            (401 | 403, "GatedRepo") => {
                let first = format!("the model is gated: ask for access at {hub}{repo}");
                (Trouble::Denied, if self.token.is_none() { format!("{first}, then {log_in}") } else { first })
            }
            (_, "RevisionNotFound") => {
                let what =
                    format!("the model has no revision `{}`; hf://{repo}@REVISION names another", words(revision));
                (Trouble::Missing, what)
            }
            (_, "EntryNotFound") => (Trouble::Missing, "the model has no such file".to_owned()),
            (401 | 403, _) if self.token.is_none() => {
                (Trouble::Denied, format!("there is no model `{repo}`, or it is private: check the name, or {log_in}"))
            }
            (401 | 403, _) => {
                let what = format!(
                    "the token does not open the model `{repo}`: HF_TOKEN, or what `hf auth login` kept, is sent"
                );
                (Trouble::Denied, what)
            }
            (404, _) => {
                let what = format!(
                    "there is no model `{repo}` with a revision `{}`; HF_ENDPOINT names another hub",
                    words(revision)
                );
                (Trouble::Missing, what)
            }
            _ => (Trouble::Answer, "a file was expected".to_owned()),
        };
        let message =
            if message.is_empty() && trouble == Trouble::Answer { short(&answer.words(client)) } else { message };
        let message = if message.is_empty() { String::new() } else { format!(" (the hub says: {message})") };
        Error::new(trouble, url, format!("{said}: {what}{message}"))
    }
}

/// Why a web server sends no file.
fn web(answer: Answer, client: &Client) -> Error {
    let (said, url, status) = (answer.said(), answer.url.to_string(), answer.status);
    let (trouble, what) = match status {
        401 | 403 | 407 => (
            Trouble::Denied,
            "the server wants to know who asks; https://NAME:PASSWORD@HOST/… says so, and signed addresses expire"
                .to_owned(),
        ),
        404 | 410 => (Trouble::Missing, "no file is there; check the address".to_owned()),
        _ => {
            let words = short(&answer.words(client));
            let words = if words.is_empty() { words } else { format!(" (the server says: {words})") };
            (Trouble::Answer, format!("a file was expected{words}"))
        }
    };
    Error::new(trouble, url, format!("{said}: {what}"))
}

/// The first line of a server's words, unless it is a page.
fn short(text: &str) -> String {
    let first = text.trim().lines().next().unwrap_or_default();
    if first.starts_with('<') { String::new() } else { words(first) }
}

impl Bucket {
    /// A bucket that somebody asks for.
    pub fn new(name: &str, aws: Aws) -> Bucket {
        let region = Mutex::new(aws.region.clone());
        Bucket { name: name.to_owned(), aws, region }
    }

    fn region(&self) -> String {
        self.region.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who asks.
    pub fn auth(&self) -> Auth {
        self.aws.credentials.clone().map_or(Auth::Nobody, |credentials| Auth::Aws(credentials, self.region()))
    }

    /// Where an object is.
    pub fn url(&self, key: &str) -> Url {
        if let Some(endpoint) = &self.aws.endpoint {
            let base = endpoint.plain_path();
            return endpoint.with_path(&format!("{}/{}/{key}", base.trim_end_matches('/'), self.name));
        }
        let region = self.region();
        // A name with dots fits no certificate of a host.
        let is_host =
            self.name.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-');
        let (host, path) = if is_host {
            (format!("{}.s3.{region}.amazonaws.com", self.name), format!("/{key}"))
        } else {
            (format!("s3.{region}.amazonaws.com"), format!("/{}/{key}", self.name))
        };
        let server =
            Url { scheme: super::url::Scheme::Https, host, port: 443, path: String::new(), query: None, user: None };
        server.with_path(&path)
    }

    /// Take the region that an answer names, once.
    pub fn learns(&self, answer: &Answer) -> bool {
        let Some(named) = answer.header("x-amz-bucket-region") else { return false };
        let plain = named.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
        let mut region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(answer.status, 301 | 307 | 400 | 403) || !plain || named.is_empty() || *region == named {
            return false;
        }
        named.clone_into(&mut region);
        true
    }

    /// Why S3 says no.
    pub fn explain(&self, answer: Answer, client: &Client) -> Error {
        let (said, url, status) = (answer.said(), answer.url.to_string(), answer.status);
        let text = answer.words(client);
        let code = xml::first(&text, "Code").map(|code| words(&code)).unwrap_or_default();
        let message = xml::first(&text, "Message").map(|message| format!(" (S3 says: {code}: {})", words(&message)));
        let name = &self.name;
        let (trouble, what) = match (status, code.as_str()) {
            (_, "NoSuchBucket") => (Trouble::Missing, format!("there is no bucket `{name}`")),
            (404, _) => (Trouble::Missing, format!("the bucket `{name}` has no such object")),
            (_, "SignatureDoesNotMatch" | "InvalidAccessKeyId") => (
                Trouble::Denied,
                "the keys are not known there: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile"
                    .to_owned(),
            ),
            (_, "ExpiredToken" | "InvalidToken") => {
                (Trouble::Denied, "the session has expired: get new credentials, with AWS_SESSION_TOKEN".to_owned())
            }
            (_, "RequestTimeTooSkewed") => (Trouble::Denied, "the clock of this machine is wrong".to_owned()),
            (401 | 403, _) if self.aws.credentials.is_none() => {
                let what = format!("the bucket `{name}` is not public, or has no such object: {}", self.aws.why_none);
                (Trouble::Denied, what)
            }
            (401 | 403, _) => {
                let what = format!("the keys do not allow it, or the bucket `{name}` has no such object");
                (Trouble::Denied, what)
            }
            (301 | 307 | 400, _) => (
                Trouble::Answer,
                "the bucket may be in another region: AWS_REGION names it, AWS_ENDPOINT_URL another server".to_owned(),
            ),
            _ => (Trouble::Answer, "an object was expected".to_owned()),
        };
        Error::new(trouble, url, format!("{said}: {what}{}", message.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn buckets_are_hosts_unless_their_names_are_none() {
        let aws = |variables: &'static [(&'static str, &'static str)]| {
            let found =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Aws::of(&found, None).unwrap()
        };
        let url = |name: &str, aws: Aws| Bucket::new(name, aws).url("a/b c.pt").to_string();
        let region = &[("AWS_REGION", "eu-west-1")];
        assert_eq!(url("models", aws(region)), "https://models.s3.eu-west-1.amazonaws.com/a/b%20c.pt");
        assert_eq!(url("my.models", aws(region)), "https://s3.eu-west-1.amazonaws.com/my.models/a/b%20c.pt");
        let other = &[("AWS_ENDPOINT_URL", "http://localhost:9000/s3/")];
        assert_eq!(url("models", aws(other)), "http://localhost:9000/s3/models/a/b%20c.pt");
    }

    #[test]
    fn the_hub_is_asked_by_escaped_names() {
        let endpoint = Url::parse("https://hub.example/mirror").unwrap();
        let hub = Hub { endpoint, repo: "org/name".into(), revision: "refs/pr/1".into(), token: None };
        assert_eq!(
            hub.api("tree", "refs/pr/1").to_string(),
            "https://hub.example/mirror/api/models/org/name/tree/refs%2Fpr%2F1"
        );
        assert_eq!(
            hub.resolve("abc", "a/b#c.pt").to_string(),
            "https://hub.example/mirror/org/name/resolve/abc/a/b%23c.pt"
        );
    }
}
