//! Opening what may be elsewhere: with what was fetched on stderr, while it goes on and at the end.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::afar;
use crate::open::{self, Opened, Options};
use crate::stderr;
use t2m_checkpoint::Checkpoint;
use t2m_checkpoint::escape::escape;

/// How often it is said how far it is.
const PAUSE: Duration = Duration::from_millis(250);

/// What was opened from elsewhere, and how large each is.
static OPENED: Mutex<Vec<(PathBuf, u64)>> = Mutex::new(Vec::new());

/// [`open::open`], of what may be elsewhere.
///
/// # Errors
/// As there.
pub fn open(options: &Options) -> Result<Opened, open::Error> {
    let opened = watched(&options.checkpoint, || open::open(options))?;
    note(&opened.checkpoint);
    Ok(opened)
}

/// A checkpoint that is not triaged, and may be elsewhere.
///
/// # Errors
/// It cannot be reached, or `read` says what is wrong.
pub fn checkpoint(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<Checkpoint, t2m_checkpoint::Error>,
) -> Result<Checkpoint, open::Error> {
    let checkpoint = watched(path, || {
        let path = afar::reach(path, None)?;
        Ok::<_, open::Error>(read(&path)?)
    })?;
    note(&checkpoint);
    Ok(checkpoint)
}

fn note(checkpoint: &Checkpoint) {
    if afar::is_address(&checkpoint.path) {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(path, _)| *path != checkpoint.path);
        opened.push((checkpoint.path.clone(), checkpoint.bytes));
    }
}

/// Say on a terminal how much was fetched while something is opened.
fn watched<T>(path: &Path, work: impl FnOnce() -> T) -> T {
    if !afar::is_address(path) || !stderr::is_terminal() {
        return work();
    }
    let shown = afar::shown(path).into_owned();
    let (done, over) = mpsc::channel::<()>();
    let say = move || {
        while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            let fetched = afar::fetched(&shown).map(|fetched| afar::words(fetched, None));
            stderr::rewrite(&format!(
                "{}: {}",
                escape(&shown.to_string_lossy()),
                fetched.as_deref().unwrap_or("asking …")
            ));
        }
    };
    let teller = thread::Builder::new().spawn(say);
    let result = work();
    drop(done);
    // Nothing is written over what comes next.
    if let Ok(teller) = teller {
        let _ = teller.join();
    }
    stderr::rewrite("");
    result
}

/// Say what was fetched of everything that was opened.
pub fn say() {
    for (path, bytes) in OPENED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Some(fetched) = afar::fetched(path) {
            stderr::line(&format!("{}: {}", escape(&path.to_string_lossy()), afar::words(fetched, Some(*bytes))));
        }
    }
}
