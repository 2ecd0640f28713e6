//! Converting from the screen: the thread that plans and writes, and what it reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use globset::GlobSet;

use super::queue::Queue;
use crate::export::run::{self, Export};
use crate::export::state_dict::{self, Known};
use crate::export::writer::{self, Progress};
use crate::figures;
use crate::files::{self, Inputs};
use crate::model::ModuleId;
use crate::open::Opened;
use t2m_checkpoint::{Checkpoint, mount};

/// Shortest time between two reports of progress.
const PAUSE: Duration = Duration::from_millis(50);

/// What would be written.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The file that is proposed, in the folder where the program was started.
    pub target: PathBuf,
    /// Bytes of tensors.
    pub bytes: u64,
    /// Every MLX tensor.
    pub rows: Vec<Row>,
    /// Torch tensors that have no MLX tensor of their own: dropped, or tied to another.
    pub left: usize,
}

/// One MLX tensor of the preview.
#[derive(Debug, Clone)]
pub struct Row {
    /// MLX's name.
    pub name: String,
    /// Torch's names.
    pub from: String,
    /// By which rule.
    pub rule: String,
    /// The module whose plan moves it.
    pub module: ModuleId,
    /// How its move is known.
    pub known: Known,
}

/// What is to be written where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The file; `~/` is the user's home.
    pub path: PathBuf,
    /// Whether a file that is there is replaced.
    pub replace: bool,
}

/// What the thread reports.
#[derive(Debug, Clone)]
pub enum Event {
    /// The preview is ready, or why there is none.
    Planned(Result<Arc<Preview>, String>),
    /// How far the writing has got.
    Progress(Progress<'static>),
    /// Nothing was written: there is a file already, and what it is.
    Exists(PathBuf, String),
    /// It is done: what was written, or why nothing was.
    Ended(Result<String, String>),
}

/// Plans and writes, as [`Worker`] does.
pub trait Converter {
    /// Ask for the preview.
    fn plan(&self);
    /// Ask for the file.
    fn write(&self, wish: Wish);
    /// Stop writing, and leave nothing behind.
    fn stop(&self);
}

#[derive(Debug)]
enum Job {
    Plan,
    Write(Wish),
}

/// The thread. Dropping it stops the writing and waits until the temporary file is removed.
#[derive(Debug)]
pub struct Worker(Queue<Job>);

impl Worker {
    /// Start it; it proposes files in `folder`, events are sent to `events`.
    pub fn start(opened: Opened, folder: PathBuf, events: Sender<Event>) -> Worker {
        Worker(Queue::start(events, move |job, events, stop| match job {
            Job::Plan => Event::Planned(plan(&opened, &folder).map(Arc::new).map_err(|error| told(&error))),
            Job::Write(wish) => match write(&opened, &wish, events, stop) {
                Err(run::Error::Write(writer::Error::File(files::Error::Exists { path }))) => {
                    let words = what_is_there(&path);
                    Event::Exists(path, words)
                }
                ended => Event::Ended(ended.map_err(|error| told(&error))),
            },
        }))
    }
}

impl Converter for Worker {
    fn plan(&self) {
        self.0.ask(Job::Plan);
    }

    fn write(&self, wish: Wish) {
        self.0.begin(Job::Write(wish));
    }

    fn stop(&self) {
        self.0.stop();
    }
}

fn plan(opened: &Opened, folder: &Path) -> Result<Preview, run::Error> {
    let map = run::map(opened, &GlobSet::empty())?;
    let tensors = &opened.checkpoint.tensors;
    let row = |entry: &state_dict::Entry| Row {
        name: entry.name.to_string(),
        from: entry.from.iter().map(|&id| tensors[id].name.as_str()).collect::<Vec<_>>().join(" + "),
        rule: entry.rule(),
        module: entry.module,
        known: entry.known.clone(),
    };
    let bytes = map.entries.iter().map(|entry| (entry.elements() * entry.dtype.size()) as u64).sum();
    Ok(Preview {
        target: target(&opened.checkpoint, folder),
        bytes,
        rows: map.entries.iter().map(row).collect(),
        left: map.left.len(),
    })
}

/// `models/net.pt` → `net.mlx.safetensors`
fn target(checkpoint: &Checkpoint, folder: &Path) -> PathBuf {
    let name = checkpoint.path.canonicalize().unwrap_or_else(|_| checkpoint.path.clone());
    let last = name.file_name().unwrap_or_default();
    // What stands behind a dot of a folder's name is no extension: `Llama-3.2-1B`.
    let stem = if mount::is_folder(&name) { Some(last) } else { Path::new(last).file_stem() };
    let stem = stem.unwrap_or_default().to_string_lossy();
    folder.join(format!("{stem}.mlx.safetensors"))
}

fn write(opened: &Opened, wish: &Wish, events: &Sender<Event>, stop: &AtomicBool) -> Result<String, run::Error> {
    let options = run::Options { force: wish.replace, ..run::Options::to(at_home(&wish.path)) };
    let mut said = Instant::now();
    let written = Export::plan(opened, Inputs::default(), options)?.write(|now| {
        if said.elapsed() >= PAUSE {
            said = Instant::now();
            let _ = events.send(Event::Progress(now.into_owned()));
        }
        !stop.load(Ordering::SeqCst)
    })?;
    let last = written.files.last().map(|file| file.display().to_string()).unwrap_or_default();
    Ok(format!("{last} is written, and every tensor read back and compared"))
}

/// A path that begins with `~/` in the user's home.
pub(super) fn at_home(path: &Path) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    match path.strip_prefix("~") {
        Ok(rest) => home().map_or_else(|| path.to_owned(), |home| home.join(rest)),
        Err(_) => path.to_owned(),
    }
}

/// A message of a conversion. On the screen no option can be given, so that it says whose it is.
fn told(error: &run::Error) -> String {
    let has_option = matches!(
        error,
        run::Error::AlreadyMlx { .. } | run::Error::Write(writer::Error::Read(_) | writer::Error::Dtype { .. })
    );
    let whose = if has_option { " (an option of `t2m-tui convert`)" } else { "" };
    format!("{error}{whose}")
}

/// What would be replaced: how large it is and how old.
fn what_is_there(path: &Path) -> String {
    let Ok(metadata) = path.metadata() else { return "which cannot be looked at".to_owned() };
    let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
    let age = age.map_or(String::new(), |age| format!(", {} old", figures::time(age)));
    format!("{}{age}", figures::bytes(metadata.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::open::{Options, open};

    #[test]
    fn the_worker_plans_writes_and_asks_before_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
        let (events, heard) = crossbeam_channel::unbounded();
        let worker = Worker::start(opened, folder.path().to_owned(), events);
        worker.plan();
        let Ok(Event::Planned(Ok(preview))) = heard.recv() else { panic!("no preview") };
        assert_eq!(preview.target, folder.path().join("demo.mlx.safetensors"));
        let ends = |wish: Wish| {
            worker.write(wish);
            loop {
                match heard.recv().unwrap() {
                    Event::Progress(now) => assert!(now.done <= now.total),
                    end => return end,
                }
            }
        };
        let wish = Wish { path: preview.target.clone(), replace: false };
        let first = ends(wish.clone());
        assert!(matches!(&first, Event::Ended(Ok(words)) if words.contains("is written")), "{first:?}");
        let written = Checkpoint::open(&preview.target).unwrap();
        assert_eq!(written.tensors.len(), preview.rows.len());
        // What is there is not replaced before somebody said so.
        let second = ends(wish.clone());
        assert!(
            matches!(&second, Event::Exists(path, words) if *path == preview.target && words.contains("KiB")),
            "{second:?}"
        );
        let third = ends(Wish { replace: true, ..wish });
        assert!(matches!(third, Event::Ended(Ok(_))), "{third:?}");
        let nowhere = ends(Wish { path: folder.path().join("no/such/folder.safetensors"), replace: false });
        assert!(matches!(&nowhere, Event::Ended(Err(words)) if words.contains("folder")), "{nowhere:?}");
        drop(worker);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
