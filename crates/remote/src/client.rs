//! Asking servers: redirects, proxies, tries, times.
//!
//! Who has a token gives it for one server; a redirect to another is followed without it. Every wait ends: for a connection, an
//! answer, the next bytes, a whole body.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::basics::Secret;
use super::error::{Error, Trouble, words};
use super::settings::Settings;
use super::sign::{self, Credentials, Scope};
use super::time::Moment;
use super::url::{Scheme, Url};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// How often a request is sent that a server was too busy for.
const TRIES: u32 = 3;
/// The longest that a server may ask to be left alone for; beyond, that is said.
const LONGEST_PAUSE: u64 = 20;
/// A body is to come at this rate at least, in bytes a second, once the silence that is allowed has passed.
const SLOWEST: u64 = 16 << 10;
/// The longest JSON or XML that is read, in bytes: a page of a listing has a thousand files in half of one.
const LONGEST_TEXT: u64 = 16 << 20;
/// Of a server's own words to an error so much is read.
const LONGEST_WORDS: u64 = 4 << 10;

/// Who asks, of one server.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Nobody in particular.
    Nobody,
    /// The bearer of a token.
    Bearer(Secret),
    /// Name and password.
    Basic(String, Secret),
    /// Somebody with keys for S3, in a region.
    Aws(Credentials, String),
}

/// What was fetched since the program began.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of bodies.
    pub bytes: AtomicU64,
    /// Requests, redirects and further tries included.
    pub requests: AtomicU64,
}

/// Sends requests.
#[derive(Debug)]
pub struct Client {
    direct: Agent,
    /// Through the proxy for `http://` and for `https://`.
    http: Option<Agent>,
    https: Option<Agent>,
    pub settings: Settings,
    pub traffic: Traffic,
    stop: Option<Arc<AtomicBool>>,
}

/// An answer, whose body is yet to come.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Who answered, after redirects.
    pub url: Url,
    body: Body,
    began: Instant,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub url: &'a Url,
    pub auth: &'a Auth,
    /// Which bytes.
    pub range: Option<Range<u64>>,
    /// Which file they are to be of: a strong ETag.
    pub if_range: Option<&'a str>,
}

impl Client {
    /// A client by these settings; it gives up once `stop` is set.
    ///
    /// # Errors
    /// The certificates or a proxy cannot be used.
    pub fn new(settings: Settings, stop: Option<Arc<AtomicBool>>) -> Result<Client, Error> {
        let tls = TlsConfig::builder().root_certs(roots(&settings)?).build();
        let agent = |proxy: Option<Proxy>| -> Agent {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .user_agent(concat!("t2m-tui/", env!("CARGO_PKG_VERSION")))
                .accept_encoding("identity")
                .timeout_resolve(Some(settings.silence))
                .timeout_connect(Some(settings.silence))
                .timeout_recv_response(Some(settings.silence))
                .timeout_per_read(Some(settings.silence))
                .max_idle_connections_per_host(8)
                .tls_config(tls.clone())
                .proxy(proxy);
            config.build().new_agent()
        };
        let through = |scheme: Scheme| match settings.proxies.of_scheme(scheme) {
            None => Ok(None),
            Some(text) => match Proxy::new(text) {
                Ok(proxy) => Ok(Some(agent(Some(proxy)))),
                Err(error) => {
                    let of = scheme.name().to_uppercase();
                    let what = format!("the proxy that it names cannot be used: {error}; http://HOST:PORT is expected");
                    Err(Error::new(Trouble::Asked, format!("{of}_PROXY"), what))
                }
            },
        };
        let (http, https) = (through(Scheme::Http)?, through(Scheme::Https)?);
        Ok(Client { direct: agent(None), http, https, settings, traffic: Traffic::default(), stop })
    }

    fn agent(&self, url: &Url) -> &Agent {
        let proxied = match url.scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        proxied.as_ref().filter(|_| !self.settings.proxies.spares(url)).unwrap_or(&self.direct)
    }

    /// Send a request, follow redirects, and try again where a server is busy.
    ///
    /// # Errors
    /// Nobody answers, or redirects lead nowhere. A status that says no is an answer.
    pub fn send(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let mut url = ask.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            // What one server may be told no other is.
            let own = url.is_same_server(ask.url);
            let auth = if own { ask.auth } else { &Auth::Nobody };
            let answer = self.patiently(&url, auth, ask)?;
            let location = answer.headers.get("location").and_then(|location| location.to_str().ok());
            let (true, Some(location)) = (matches!(answer.status, 301 | 302 | 303 | 307 | 308), location) else {
                return Ok(answer);
            };
            let wrong =
                |what: String| Error::new(Trouble::Answer, url.to_string(), format!("redirects elsewhere, {what}"));
            let next = url.join(location).map_err(|what| wrong(format!("but {what}")))?;
            if (url.scheme, next.scheme) == (Scheme::Https, Scheme::Http) {
                return Err(wrong(format!("to {next}, which is not encrypted; that is not followed")));
            }
            url = next;
        }
        let what = format!("redirects more than {MOST_REDIRECTS} times; the last leads to {url}");
        Err(Error::new(Trouble::Answer, ask.url.to_string(), what))
    }

    fn patiently(&self, url: &Url, auth: &Auth, ask: &Ask<'_>) -> Result<Answer, Error> {
        let mut tries = 1;
        loop {
            let answer = match self.once(url, auth, ask) {
                Err(error) if error.trouble == Trouble::Passing && tries < TRIES => {
                    self.pause(pause_before(tries), url)?;
                    tries += 1;
                    continue;
                }
                other => other?,
            };
            if !matches!(answer.status, 429 | 500 | 502 | 503 | 504) {
                return Ok(answer);
            }
            let asked = retry_after(&answer.headers);
            if let Some(seconds) = asked.filter(|seconds| *seconds > LONGEST_PAUSE) {
                let what = format!("{}; it asks to be left alone for {seconds} seconds: try again then", answer.said());
                return Err(Error::new(Trouble::Unreachable, url.to_string(), what));
            }
            if tries == TRIES {
                let busy = if answer.status == 429 { "too many requests: try again later" } else { "try again later" };
                let what = format!("{}, {TRIES} times; {busy}", answer.said());
                return Err(Error::new(Trouble::Unreachable, url.to_string(), what));
            }
            self.pause(asked.map_or(pause_before(tries), Duration::from_secs), url)?;
            tries += 1;
        }
    }

    fn once(&self, url: &Url, auth: &Auth, ask: &Ask<'_>) -> Result<Answer, Error> {
        self.check_stop(url)?;
        let mut headers: Vec<(&str, String)> = match auth {
            Auth::Nobody => Vec::new(),
            Auth::Bearer(token) => vec![("authorization", format!("Bearer {}", token.0))],
            Auth::Basic(name, password) => {
                vec![("authorization", format!("Basic {}", base64(format!("{name}:{}", password.0).as_bytes())))]
            }
            Auth::Aws(credentials, region) => {
                sign::headers(url, credentials, &Scope { region, service: "s3", at: Moment::now() })
            }
        };
        let length = ask.range.as_ref().map_or(LONGEST_TEXT, |range| range.end - range.start);
        headers.extend(ask.range.as_ref().map(|range| ("range", format!("bytes={}-{}", range.start, range.end - 1))));
        headers.extend(ask.if_range.map(|tag| ("if-range", tag.to_owned())));
        let mut request = self.agent(url).get(url.whole());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let limit = self.settings.silence + Duration::from_secs(length / SLOWEST);
        let response: Response<Body> = request
            .config()
            .timeout_recv_body(Some(limit))
            .build()
            .call()
            .map_err(|error| self.unanswered(url, error))?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, url: url.clone(), body, began })
    }

    /// What it means that there is no answer, or no more of it.
    pub fn unanswered(&self, url: &Url, error: ureq::Error) -> Error {
        let silence = self.settings.silence.as_secs();
        let through = self
            .agent(url)
            .config()
            .proxy()
            .map(|proxy| format!(" through the proxy {}:{}", proxy.host(), proxy.port()));
        let through = through.unwrap_or_default();
        let (trouble, what) = match error {
            ureq::Error::Timeout(of) => {
                let what = format!(
                    "no answer{through} in time ({of}); {silence} seconds of silence are waited for, T2M_REMOTE_TIMEOUT sets another number"
                );
                (Trouble::Unreachable, what)
            }
            ureq::Error::HostNotFound => {
                (Trouble::Unreachable, format!("no host is called that{through}; check the address and the network"))
            }
            ureq::Error::ConnectProxyFailed(why) => {
                let what = format!("the proxy refuses: {}; HTTPS_PROXY names it, NO_PROXY spares hosts", words(&why));
                (Trouble::Unreachable, what)
            }
            ureq::Error::Io(error) => match (error.kind(), encryption(&error)) {
                (_, Some(error)) => untrusted(error, &through),
                (std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock, _) => {
                    (Trouble::Unreachable, format!("nothing came{through} for {silence} seconds"))
                }
                (std::io::ErrorKind::ConnectionRefused, _) => {
                    (Trouble::Unreachable, format!("nobody answers{through}: the connection is refused; {WAY_OUT}"))
                }
                _ => {
                    let why = words(&error.to_string());
                    (Trouble::Passing, format!("the connection broke{through}: {why}; {WAY_OUT}"))
                }
            },
            ureq::Error::Rustls(error) => untrusted(&error, &through),
            ureq::Error::LargeResponseHeader(..) => (Trouble::Answer, "its headers do not end".to_owned()),
            other => (Trouble::Passing, format!("no sound answer{through}: {}", words(&other.to_string()))),
        };
        Error::new(trouble, url.to_string(), what)
    }

    fn check_stop(&self, url: &Url) -> Result<(), Error> {
        match &self.stop {
            Some(stop) if stop.load(Ordering::SeqCst) => Err(Error::new(Trouble::Stopped, url.to_string(), "stopped")),
            _ => Ok(()),
        }
    }

    /// Wait, unless whoever asks does not want it any more.
    pub fn pause(&self, time: Duration, url: &Url) -> Result<(), Error> {
        let until = Instant::now() + time;
        while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            self.check_stop(url)?;
            thread::sleep(rest.min(Duration::from_millis(50)));
        }
        Ok(())
    }
}

/// What may help where there is no connection.
const WAY_OUT: &str = "check the address and the network; HTTPS_PROXY names a proxy, HF_ENDPOINT another hub";

/// What went wrong with the encryption, if that did.
fn encryption(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Trouble with the encryption, in words.
fn untrusted(error: &rustls::Error, through: &str) -> (Trouble, String) {
    let why = words(&error.to_string());
    let what = match error {
        rustls::Error::InvalidCertificate(_) => format!(
            "its certificate is not trusted{through}: {why}; SSL_CERT_FILE names a file of certificates to trust, such as your company's"
        ),
        _ => format!("no encrypted connection comes about{through}: {why}; is it https:// that is spoken there?"),
    };
    (Trouble::Unreachable, what)
}

/// The pause before the next try.
pub fn pause_before(tries: u32) -> Duration {
    Duration::from_millis(250 << tries.min(6))
}

impl Answer {
    /// Its status in words: `404 Not Found`.
    pub fn said(&self) -> String {
        let name = ureq::http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        format!("{} {}", self.status, name.unwrap_or("(a status without a name)"))
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// Read some of the body; none at its end.
    ///
    /// # Errors
    /// The connection broke, or nothing comes any more.
    pub fn read(&mut self, client: &Client, buffer: &mut [u8]) -> Result<usize, Error> {
        client.check_stop(&self.url)?;
        match self.body.as_reader().read(buffer) {
            Ok(count) => {
                client.traffic.bytes.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) => Err(client.unanswered(&self.url, ureq::Error::from(error))),
        }
    }

    /// The body as text, of a length that listings have.
    ///
    /// # Errors
    /// It does not end, is no text, or breaks off.
    pub fn text(mut self, client: &Client) -> Result<String, Error> {
        let wrong = |url: &Url, what: &str| Error::new(Trouble::Answer, url.to_string(), what);
        if is_compressed(&self) {
            return Err(wrong(&self.url, COMPRESSED));
        }
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = self.read(client, &mut buffer)?;
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if bytes.len() as u64 > LONGEST_TEXT {
                return Err(wrong(&self.url, "its listing does not end; 16 MiB are read at most"));
            }
            // A text has no length that a rate could be held against.
            if self.began.elapsed() > client.settings.silence * 6 + Duration::from_secs(bytes.len() as u64 / SLOWEST) {
                return Err(wrong(&self.url, "its listing comes too slowly"));
            }
        }
        String::from_utf8(bytes).map_err(|_| wrong(&self.url, "its listing is no text"))
    }

    /// The first of a server's words to an error, or nothing.
    pub fn words(mut self, client: &Client) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; LONGEST_WORDS as usize];
        while let Ok(count @ 1..) = self.read(client, &mut buffer) {
            text.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if text.len() as u64 >= LONGEST_WORDS {
                break;
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// What is said of bodies that have other lengths than the file.
pub const COMPRESSED: &str = "the server sends it compressed, although it was asked not to: no place in the file can be found; download it and open the file";

/// Whether the body is something else than the file's bytes.
pub fn is_compressed(answer: &Answer) -> bool {
    answer.header("content-encoding").is_some_and(|encoding| !encoding.is_empty() && encoding != "identity")
}

/// For how long a server asks to be left alone, in seconds.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    value.parse().ok().or_else(|| Moment::now().until(value))
}

/// Who vouches for servers.
fn roots(settings: &Settings) -> Result<RootCerts, Error> {
    let Some((name, path)) = &settings.authorities else { return Ok(RootCerts::WebPki) };
    let error = |what: &str| Error::new(Trouble::Asked, format!("{name}={}", path.to_string_lossy()), what);
    let pem = super::settings::text_of_certificates(path).ok_or_else(|| error("the file cannot be read"))?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(error("holds no certificates; a PEM file is expected"));
    }
    Ok(RootCerts::from(found))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_standard_has_it() {
        for (text, letters) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), letters);
        }
    }
}
