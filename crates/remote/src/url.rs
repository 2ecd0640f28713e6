//! Addresses of the web, as far as files need them.

use std::fmt;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Unencrypted.
    Http,
    /// Encrypted.
    Https,
}

impl Scheme {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// An address. What it shows of itself has neither the query, which may be a signature, nor a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// How it is spoken.
    pub scheme: Scheme,
    /// The host, in small letters; an IPv6 address in its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, percent-encoded, from its slash on.
    pub path: String,
    /// The query, without its question mark.
    pub query: Option<String>,
    /// Name and password in front of the host.
    pub user: Option<(String, String)>,
}

impl Url {
    /// Read one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").ok_or("an address begins with https://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err("an address begins with https://".to_owned()),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                (Some((decode(name), decode(password))), place)
            }
            None => (None, authority),
        };
        let digits = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
        let (host, port) = match place.rsplit_once(':').filter(|(_, port)| digits(port)) {
            Some((host, "")) => (host, scheme.port()),
            Some((host, port)) => (host, port.parse().map_err(|_| "its port is no number below 65536")?),
            None => (place, scheme.port()),
        };
        let plain = |host: &str| {
            host.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-._[]:".contains(&letter)) && !host.is_empty()
        };
        if !plain(host) {
            return Err("it has no host, or one with letters that no host has".to_owned());
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(encode(query, QUERY))),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { encode(path, PATH) };
        Ok(Url { scheme, host: host.to_ascii_lowercase(), port, path, query, user })
    }

    /// Where a redirect leads.
    ///
    /// # Errors
    /// It is no address.
    pub fn join(&self, location: &str) -> Result<Url, String> {
        let here = || format!("{}://{}", self.scheme.name(), self.authority());
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme.name()));
        }
        let folder = || self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match location.chars().next() {
            Some('/') => Url::parse(&format!("{}{location}", here())),
            Some('?') => Url::parse(&format!("{}{}{location}", here(), self.path)),
            Some(_) => Url::parse(&format!("{}{}/{location}", here(), folder())),
            None => Err("it is empty".to_owned()),
        }
    }

    /// The same place with another path, of plain text, and without a query.
    pub fn with_path(&self, path: &str) -> Url {
        Url { path: encode(path, SEGMENTS), query: None, ..self.clone() }
    }

    /// Host, and port where it is not the usual one.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether it is the same server, spoken to in the same way: what is told to one may be told to the other.
    pub fn is_same_server(&self, other: &Url) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// As it goes to the server: without name and password, which go in a header.
    pub fn whole(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{self}{query}")
    }

    /// The path in plain text.
    pub fn plain_path(&self) -> String {
        decode(&self.path)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Letters that stay as they are: in a path and a query that somebody wrote, escapes as well.
const PATH: &[u8] = b"-._~/%!$&'()*+,;=:@";
const QUERY: &[u8] = b"-._~/%!$&'()*+,;=:@?[]";
/// In a path out of names. S3's signature wants all others escaped.
const SEGMENTS: &[u8] = b"-._~/";
/// In one name, a slash not included.
const NAME: &[u8] = b"-._~";

/// Percent-encode a name that stands in a path or a query.
pub fn encode_name(text: &str) -> String {
    encode(text, NAME)
}

fn encode(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Undo percent-encoding. What is no escape stays.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_shown_without_secrets() {
        let url = Url::parse("https://me:p%40ss@Host.example:8443/a b/m.pt?X-Signature=abc#top").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("host.example", 8443, "/a%20b/m.pt"));
        assert_eq!(url.user, Some(("me".to_owned(), "p@ss".to_owned())));
        assert_eq!(
            format!("{url} {url:?}"),
            "https://host.example:8443/a%20b/m.pt https://host.example:8443/a%20b/m.pt"
        );
        assert_eq!(url.whole(), "https://host.example:8443/a%20b/m.pt?X-Signature=abc");
        assert_eq!(Url::parse("http://[::1]:80").unwrap().authority(), "[::1]");
        for wrong in ["ftp://a/b", "https:///a", "https://a b/c", "https://a:99999/", "model.pt"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn redirects_lead_on() {
        let url = Url::parse("https://a/x/y?q=1").unwrap();
        let to = |location: &str| url.join(location).unwrap().whole();
        assert_eq!(to("https://b:1/z?s=2"), "https://b:1/z?s=2");
        assert_eq!(to("//c/z"), "https://c/z");
        assert_eq!(to("/z"), "https://a/z");
        assert_eq!(to("z"), "https://a/x/z");
        assert_eq!(to("?r=https://b/"), "https://a/x/y?r=https://b/");
        assert!(url.join("").is_err());
        assert!(url.is_same_server(&Url::parse("https://A:443/other").unwrap()));
        assert!(!url.is_same_server(&Url::parse("http://a/").unwrap()));
    }

    #[test]
    fn names_are_escaped_and_back() {
        let url = Url::parse("https://a/").unwrap().with_path("/models/ä b+c%.pt");
        assert_eq!(url.path, "/models/%C3%A4%20b%2Bc%25.pt");
        assert_eq!(url.plain_path(), "/models/ä b+c%.pt");
        assert_eq!((encode_name("refs/pr/1"), decode("100%")), ("refs%2Fpr%2F1".to_owned(), "100%".to_owned()));
    }
}
