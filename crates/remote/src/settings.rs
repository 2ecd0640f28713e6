//! What the environment says of networks, tokens and caches: the variables that Python's huggingface_hub, AWS's tools and curl
//! obey as well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::aws::Aws;
use super::basics::{Secret, Variables, text_of};
use super::error::{Error, Trouble};
use super::url::{Scheme, Url};

/// The hub, unless `HF_ENDPOINT` names another.
const HUB: &str = "https://huggingface.co";
/// A server that sends no ranges is asked for a whole file up to this length, unless `T2M_REMOTE_WHOLE` says otherwise.
const WHOLE: u64 = 256_000_000;
/// What all remote files together may take in the cache folder, unless `T2M_REMOTE_CACHE` says otherwise.
const CACHE: u64 = 16_000_000_000;
/// How long a server may be silent, unless `T2M_REMOTE_TIMEOUT` says otherwise.
const SILENCE: u64 = 20;

/// The longest file of certificates, in bytes: those that systems trust take a quarter of one.
const LONGEST_BUNDLE: u64 = 16 << 20;

/// What holds for one run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the hub is.
    pub hub: Url,
    /// What the hub knows the user by.
    pub token: Option<Secret>,
    /// Whether nothing may be asked of the hub.
    pub offline: bool,
    /// Where the hub's own library keeps what it fetched.
    pub hub_cache: Option<PathBuf>,
    /// The proxies.
    pub proxies: Proxies,
    /// Certificates of those who vouch for servers, in place of the built-in ones: a PEM file, and the variable that names it.
    pub authorities: Option<(&'static str, PathBuf)>,
    /// For S3.
    pub aws: Aws,
    /// Where fetched blocks are kept; `None` where there is no such folder.
    pub cache: Option<PathBuf>,
    /// What they may take there, in bytes.
    pub most_cached: u64,
    /// The longest file that is fetched whole where a server has no ranges, in bytes.
    pub most_whole: u64,
    /// How long a server may take to answer, or to send the next bytes.
    pub silence: Duration,
}

impl Settings {
    /// By these variables.
    ///
    /// # Errors
    /// One of them, or a file that one of them names, cannot be used.
    pub fn of(variables: Variables<'_>) -> Result<Settings, Error> {
        let variable =
            |name: &str| variables(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let caches = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = caches.or_else(|| Some(home.as_ref()?.join(".cache")));
        let hub_home = variable("HF_HOME").map(|path| below_home(&path, home.as_deref()));
        let hub_home = hub_home.or_else(|| Some(caches.as_ref()?.join("huggingface")));
        let hub_cache = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].iter().find_map(|name| variable(name));
        let hub_cache = hub_cache.map(|path| below_home(&path, home.as_deref()));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let hub = Url::parse(endpoint.trim_end_matches('/'))
            .map_err(|what| Error::new(Trouble::Asked, format!("HF_ENDPOINT={endpoint}"), what))?;
        let number = |name: &str, usual: u64| match variable(name) {
            None => Ok(usual),
            Some(text) => bytes(&text).ok_or_else(|| {
                Error::new(Trouble::Asked, format!("{name}={text}"), "a size such as 5GB, 300MB or 4096 is expected")
            }),
        };
        let silence = match variable("T2M_REMOTE_TIMEOUT") {
            None => SILENCE,
            Some(text) => text.parse().ok().filter(|seconds| (1..=3600).contains(seconds)).ok_or_else(|| {
                Error::new(Trouble::Asked, format!("T2M_REMOTE_TIMEOUT={text}"), "seconds are expected, 1 to 3600")
            })?,
        };
        let authorities = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
        Ok(Settings {
            hub,
            token: token(&variable, hub_home.as_deref(), home.as_deref())?,
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].iter().any(|name| is_yes(variable(name))),
            hub_cache: hub_cache.or_else(|| Some(hub_home?.join("hub"))),
            proxies: Proxies::of(&variable),
            authorities: authorities.into_iter().find_map(|name| Some((name, PathBuf::from(variable(name)?)))),
            aws: Aws::of(&variable, home.as_deref())?,
            cache: caches.map(|path| path.join("t2m-tui").join("remote")),
            most_cached: number("T2M_REMOTE_CACHE", CACHE)?,
            most_whole: number("T2M_REMOTE_WHOLE", WHOLE)?,
            silence: Duration::from_secs(silence),
        })
    }
}

/// A path that may begin with `~`.
fn below_home(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn is_yes(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str()))
}

/// The token, from where the hub's own tools have it.
fn token(variable: Variables<'_>, hub_home: Option<&Path>, home: Option<&Path>) -> Result<Option<Secret>, Error> {
    let given = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].iter().find_map(|name| Some((*name, variable(name)?)));
    let (from, token) = match given {
        Some((name, token)) => (name.to_owned(), token),
        None if is_yes(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN")) => return Ok(None),
        None => {
            let path = variable("HF_TOKEN_PATH").map(|path| below_home(&path, home));
            let Some(path) = path.or_else(|| Some(hub_home?.join("token"))) else { return Ok(None) };
            let Some(text) = text_of(&path) else { return Ok(None) };
            (path.to_string_lossy().into_owned(), text.trim().to_owned())
        }
    };
    if token.is_empty() {
        return Ok(None);
    }
    if !token.bytes().all(|letter| letter.is_ascii_graphic()) {
        return Err(Error::new(Trouble::Asked, from, "holds no token: tokens are letters and digits without blanks"));
    }
    Ok(Some(Secret(token)))
}

/// A file of certificates; `None` where it cannot be read.
pub(crate) fn text_of_certificates(path: &Path) -> Option<Vec<u8>> {
    let about = std::fs::metadata(path).ok().filter(|about| about.is_file())?;
    if about.len() > LONGEST_BUNDLE { None } else { std::fs::read(path).ok() }
}

/// `5GB`, `300 MB`, `4096`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Which proxy is asked for what.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http://`.
    http: Option<String>,
    /// For `https://`.
    https: Option<String>,
    /// Hosts that are asked without one, as `NO_PROXY` lists them.
    without: Vec<String>,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Their addresses may hold passwords.
        write!(f, "Proxies({}, {})", self.http.is_some(), self.https.is_some())
    }
}

impl Proxies {
    fn of(variable: Variables<'_>) -> Proxies {
        // Small letters first, as curl has it.
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
        let all = || first(&["all_proxy", "ALL_PROXY"]);
        let without = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Proxies {
            http: first(&["http_proxy", "HTTP_PROXY"]).or_else(all),
            https: first(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
            without: without.split([',', ' ']).map(|host| host.trim().to_ascii_lowercase()).collect(),
        }
    }

    /// The proxy for a scheme.
    pub fn of_scheme(&self, scheme: Scheme) -> Option<&str> {
        match scheme {
            Scheme::Http => self.http.as_deref(),
            Scheme::Https => self.https.as_deref(),
        }
    }

    /// Whether a server is asked without a proxy: its name, or a domain that it is in, is listed, with its port or without.
    pub fn spares(&self, url: &Url) -> bool {
        let with_port = format!("{}:{}", url.host, url.port);
        self.without.iter().filter(|listed| !listed.is_empty()).any(|listed| {
            let domain = listed.trim_start_matches("*.").trim_start_matches('.');
            let is_in =
                |host: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            listed == "*" || is_in(&url.host) || is_in(&with_port)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let found =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::of(&found)
    }

    #[test]
    fn the_hub_is_known_by_its_usual_variables() {
        let usual = settings(&[("HOME", "/home/me")]).unwrap();
        assert_eq!(usual.hub.to_string(), format!("{HUB}/"));
        assert_eq!(usual.hub_cache.unwrap(), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(usual.cache.unwrap(), Path::new("/home/me/.cache/t2m-tui/remote"));
        assert!(!usual.offline && usual.token.is_none());
        let given =
            [("HF_ENDPOINT", "http://mirror:81/"), ("HF_HUB_OFFLINE", "true"), ("HF_HOME", "~/hf"), ("HOME", "/h")];
        let given = settings(&given).unwrap();
        assert_eq!((given.hub.to_string().as_str(), given.offline), ("http://mirror:81/", true));
        assert_eq!(given.hub_cache.unwrap(), Path::new("/h/hf/hub"));
        assert!(settings(&[("HF_ENDPOINT", "mirror")]).unwrap_err().to_string().starts_with("HF_ENDPOINT=mirror: "));
    }

    #[test]
    fn a_token_comes_from_the_variable_then_from_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("token"), "hf_file\n").unwrap();
        std::fs::write(path("other"), "hf_other").unwrap();
        let token = |more: &[(&str, &str)]| {
            let home = path("");
            let mut all = vec![("HF_HOME", home.as_str())];
            all.extend(more);
            settings(&all).map(|settings| settings.token.map(|token| token.0))
        };
        assert_eq!(token(&[]).unwrap().unwrap(), "hf_file");
        assert_eq!(token(&[("HF_TOKEN_PATH", &path("other"))]).unwrap().unwrap(), "hf_other");
        assert_eq!(token(&[("HF_TOKEN", " hf_given ")]).unwrap().unwrap(), "hf_given");
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).unwrap(), None);
        assert!(token(&[("HF_TOKEN", "two words")]).unwrap_err().to_string().starts_with("HF_TOKEN: "));
        assert_eq!(format!("{:?}", Secret("hf_given".to_owned())), "Secret");
    }

    #[test]
    fn sizes_and_times_are_checked() {
        assert_eq!(settings(&[("T2M_REMOTE_WHOLE", "5 GB")]).unwrap().most_whole, 5_000_000_000);
        assert!(settings(&[("T2M_REMOTE_CACHE", "much")]).unwrap_err().to_string().contains("T2M_REMOTE_CACHE=much"));
        assert!(settings(&[("T2M_REMOTE_TIMEOUT", "0")]).is_err());
    }

    #[test]
    fn proxies_are_for_hosts_that_are_not_spared() {
        let given = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "example.org, .local,10.0.0.1:81")];
        let proxies = settings(&given).unwrap().proxies;
        assert_eq!((proxies.of_scheme(Scheme::Https), proxies.of_scheme(Scheme::Http)), (Some("http://p:1"), None));
        let spares = |url: &str| proxies.spares(&Url::parse(url).unwrap());
        assert!(spares("https://example.org/a") && spares("https://a.example.org") && spares("http://x.local"));
        assert!(spares("http://10.0.0.1:81/") && !spares("http://10.0.0.1/") && !spares("https://notexample.org"));
        let all = settings(&[("all_proxy", "socks5://s"), ("no_proxy", "*")]).unwrap().proxies;
        assert!(all.of_scheme(Scheme::Http) == Some("socks5://s") && all.spares(&Url::parse("https://a").unwrap()));
    }
}
