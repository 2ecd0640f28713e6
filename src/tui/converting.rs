//! Converting from the screen: the thread that plans and writes, and what it reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use globset::GlobSet;

use crate::export::run::{self, Export};
use crate::export::state_dict::{self, Known};
use crate::export::writer::Progress;
use crate::files::Inputs;
use crate::model::ModuleId;
use crate::open::Opened;
use t2m_checkpoint::Checkpoint;

/// Shortest time between two reports of progress.
const PAUSE: Duration = Duration::from_millis(50);

/// What would be written.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The file, in the folder where the program was started.
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

/// What the thread reports.
#[derive(Debug, Clone)]
pub enum Event {
    /// The preview is ready, or why there is none.
    Planned(Result<Arc<Preview>, String>),
    /// How far the writing has got.
    Progress(Progress<'static>),
    /// It is done: what was written, or why nothing was.
    Ended(Result<String, String>),
}

/// Plans and writes, as [`Worker`] does.
pub trait Converter {
    /// Ask for the preview.
    fn plan(&self);
    /// Ask for the file.
    fn write(&self);
    /// Stop writing, and leave nothing behind.
    fn stop(&self);
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Plan,
    Write,
}

/// The thread. Dropping it stops the writing and waits until the temporary file is removed.
#[derive(Debug)]
pub struct Worker {
    jobs: Sender<Job>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Start it; files go into `folder`, events are sent to `events`.
    pub fn start(opened: Opened, folder: PathBuf, events: Sender<Event>) -> Worker {
        let (jobs, queue) = crossbeam_channel::unbounded::<Job>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for job in queue {
                let event = match job {
                    Job::Plan => {
                        Event::Planned(plan(&opened, &folder).map(Arc::new).map_err(|error| error.to_string()))
                    }
                    Job::Write => {
                        Event::Ended(write(&opened, &folder, &events, &stopped).map_err(|error| error.to_string()))
                    }
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        });
        Worker { jobs, stop, thread: Some(thread) }
    }

    fn ask(&self, job: Job) {
        // The thread ends with this handle, so there is somebody to receive it.
        let _ = self.jobs.send(job);
    }
}

impl Converter for Worker {
    fn plan(&self) {
        self.ask(Job::Plan);
    }

    fn write(&self) {
        self.stop.store(false, Ordering::SeqCst);
        self.ask(Job::Write);
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.jobs = crossbeam_channel::unbounded().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
    let stem = Path::new(name.file_name().unwrap_or_default()).file_stem().unwrap_or_default().to_string_lossy();
    folder.join(format!("{stem}.mlx.safetensors"))
}

fn write(opened: &Opened, folder: &Path, events: &Sender<Event>, stop: &AtomicBool) -> Result<String, run::Error> {
    let options = run::Options::to(target(&opened.checkpoint, folder));
    let mut told = Instant::now();
    let written = Export::plan(opened, Inputs::default(), options)?.write(|now| {
        if told.elapsed() >= PAUSE {
            told = Instant::now();
            let _ = events.send(Event::Progress(now.into_owned()));
        }
        !stop.load(Ordering::SeqCst)
    })?;
    let last = written.files.last().map(|file| file.display().to_string()).unwrap_or_default();
    Ok(format!("{last} is written, and every tensor read back and compared"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::open::{Options, open};

    #[test]
    fn the_worker_plans_writes_and_refuses_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
        let (events, heard) = crossbeam_channel::unbounded();
        let worker = Worker::start(opened, folder.path().to_owned(), events);
        worker.plan();
        worker.write();
        worker.write();
        let mut ends = Vec::new();
        let mut planned = None;
        while ends.len() < 2 {
            match heard.recv().unwrap() {
                Event::Planned(preview) => planned = preview.ok(),
                Event::Progress(now) => assert!(now.done <= now.total),
                Event::Ended(end) => ends.push(end),
            }
        }
        let preview = planned.unwrap();
        assert_eq!(preview.target, folder.path().join("demo.mlx.safetensors"));
        let written = Checkpoint::open(&preview.target).unwrap();
        assert_eq!(written.tensors.len(), preview.rows.len());
        assert!(ends[0].as_ref().is_ok_and(|words| words.contains("is written")), "{ends:?}");
        assert!(ends[1].as_ref().is_err_and(|words| words.contains("is there already")), "{ends:?}");
        drop(worker);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
