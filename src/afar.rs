//! Checkpoints elsewhere, as the program reaches for them: by the environment's settings, once, before anything is opened. What is
//! on this machine passes through untouched, and no network is known there.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::figures;
use t2m_checkpoint::Checkpoint;
use t2m_remote::settings::Settings;
pub use t2m_remote::{Error, Fetched, is_address};

/// The path that a checkpoint is opened by: its own, or where the tree is mounted that an address leads to.
///
/// # Errors
/// It is an address, and nobody answers, nothing is there, or a setting is wrong.
pub fn reach(path: &Path, stop: Option<&Arc<AtomicBool>>) -> Result<PathBuf, Error> {
    if !is_address(path) {
        return Ok(path.to_owned());
    }
    let settings = Settings::of(&|name| std::env::var(name).ok())?;
    t2m_remote::reach(path, settings, stop.cloned())
}

/// What was fetched of a checkpoint, which may still be on its way.
pub fn fetched(path: &Path) -> Option<Fetched> {
    t2m_remote::fetched(path)
}

/// A path as it can be shown: an address without passwords and signatures.
pub fn shown(path: &Path) -> Cow<'_, Path> {
    if !is_address(path) {
        return Cow::Borrowed(path);
    }
    let text = path.to_string_lossy();
    let text = if text.starts_with("hf:") { text.as_ref() } else { text.split(['?', '#']).next().unwrap_or_default() };
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(path) };
    let authority = rest.split('/').next().unwrap_or_default();
    // In a model's address a revision stands behind the sign.
    let host = authority.rsplit('@').next().filter(|_| !scheme.eq_ignore_ascii_case("hf")).unwrap_or(authority);
    let behind = rest.get(authority.len()..).unwrap_or_default();
    Cow::Owned(PathBuf::from(format!("{scheme}://{host}{behind}")))
}

/// Why a checkpoint is better downloaded before it is read whole, several times over; `None` where it is here, or what is fetched can be
/// kept.
pub fn too_large(checkpoint: &Checkpoint) -> Option<String> {
    let most = t2m_remote::kept_at_most(&checkpoint.path)?;
    let elsewhere = checkpoint.sources_of_bytes().into_iter().filter(|bytes| bytes.version().is_some());
    let bytes: u64 = elsewhere.map(|bytes| bytes.length()).sum();
    (bytes > most).then(|| {
        let address = checkpoint.path.to_string_lossy();
        let how = match address.strip_prefix("hf://") {
            Some(model) => format!("`hf download {}`", model.split(['@', '/']).take(2).collect::<Vec<_>>().join("/")),
            None => "download it".to_owned(),
        };
        format!(
            "a conversion reads all of it three times, and its {} are more than the {} that are kept of files elsewhere: {how} and open what that \
             gives, or T2M_REMOTE_CACHE=SIZE keeps more",
            figures::bytes(bytes),
            figures::bytes(most)
        )
    })
}

/// `fetched 1.2 MiB of 55.9 GiB`, where there is little room.
pub fn short(fetched: Fetched, whole: u64) -> String {
    format!("fetched {} of {}", figures::bytes(fetched.bytes), figures::bytes(whole))
}

/// `fetched 1.2 MiB of 55.9 GiB in 14 requests`; the whole is left out where it is not known yet.
pub fn words(fetched: Fetched, whole: Option<u64>) -> String {
    let requests =
        if fetched.requests == 1 { "1 request".to_owned() } else { format!("{} requests", fetched.requests) };
    let of = whole.map(|whole| format!(" of {}", figures::bytes(whole))).unwrap_or_default();
    format!("fetched {}{of} in {requests}", figures::bytes(fetched.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_secrets() {
        let show = |text: &str| shown(Path::new(text)).to_string_lossy().into_owned();
        assert_eq!(show("https://me:pw@host/a.pt?X-Amz-Signature=1"), "https://host/a.pt");
        assert_eq!(show("hf://org/name@v1/a.pt"), "hf://org/name@v1/a.pt");
        assert_eq!(show("hf://gpt2@v1"), "hf://gpt2@v1");
        assert_eq!(show("models/a?b@c.pt"), "models/a?b@c.pt");
    }

    #[test]
    fn what_was_fetched_is_said() {
        let fetched = Fetched { bytes: 1_258_291, requests: 14 };
        assert_eq!(words(fetched, Some(60_000_000_000)), "fetched 1.2 MiB of 55.9 GiB in 14 requests");
        assert_eq!(words(Fetched { bytes: 3, requests: 1 }, None), "fetched 3 B in 1 request");
    }
}
