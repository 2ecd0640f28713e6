//! Statistics of tensors, and where tensors go in MLX, from the screen: the thread that finds both out, and what it reports.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use globset::GlobSet;

use super::queue::Queue;
use crate::export::run;
use crate::export::state_dict::{Entry, Known, Why};
use crate::figures::shape;
use crate::open::Opened;
use crate::statistics::{Statistics, of_tensor};
use t2m_checkpoint::TensorId;

/// Shortest time between two reports of progress.
const PAUSE: Duration = Duration::from_millis(50);

/// Where each tensor goes in MLX, in words: one line for each tensor of MLX's that it is in, or why there is none.
pub type Targets = HashMap<TensorId, Vec<String>>;

/// What the thread reports.
#[derive(Debug, Clone)]
pub enum Event {
    /// Where tensors go, or why that cannot be said.
    Targets(Result<Arc<Targets>, String>),
    /// A tensor is being read: the share that is done, 0 to 1.
    Progress(TensorId, f64),
    /// The statistics of a tensor, or why there are none.
    Done(TensorId, Result<Box<Statistics>, String>),
    /// Nothing is read any more: all was, or it was stopped.
    Idle,
}

/// Finds out, as [`Worker`] does.
pub trait Measurer {
    /// Ask where tensors go.
    fn targets(&self);
    /// Ask for the statistics of these tensors.
    fn read(&self, tensors: Vec<TensorId>);
    /// Stop reading.
    fn stop(&self);
}

#[derive(Debug)]
enum Job {
    Targets,
    Read(Vec<TensorId>),
}

/// The thread. Dropping it stops the reading.
#[derive(Debug)]
pub struct Worker(Queue<Job>);

impl Worker {
    /// Start it; events are sent to `events`.
    pub fn start(opened: Opened, events: Sender<Event>) -> Worker {
        Worker(Queue::start(events, move |job, events, stop| match job {
            Job::Targets => Event::Targets(targets(&opened).map(Arc::new)),
            Job::Read(tensors) => {
                read(&opened, &tensors, events, stop);
                Event::Idle
            }
        }))
    }
}

impl Measurer for Worker {
    fn targets(&self) {
        self.0.ask(Job::Targets);
    }

    fn read(&self, tensors: Vec<TensorId>) {
        self.0.begin(Job::Read(tensors));
    }

    fn stop(&self) {
        self.0.stop();
    }
}

fn read(opened: &Opened, tensors: &[TensorId], events: &Sender<Event>, stop: &AtomicBool) {
    let mut told = Instant::now();
    for &id in tensors {
        let _ = events.send(Event::Progress(id, 0.0));
        let found = of_tensor(&opened.checkpoint, id, |done| {
            if told.elapsed() >= PAUSE {
                told = Instant::now();
                let _ = events.send(Event::Progress(id, done));
            }
            !stop.load(Ordering::SeqCst)
        });
        let found = match found {
            Ok(None) => return,
            Ok(Some(found)) => Ok(Box::new(found)),
            Err(error) => Err(error.to_string()),
        };
        let _ = events.send(Event::Done(id, found));
    }
}

/// Where every tensor goes.
fn targets(opened: &Opened) -> Result<Targets, String> {
    let map = run::map(opened, &GlobSet::empty()).map_err(|error| error.to_string())?;
    let mut targets = Targets::new();
    for entry in &map.entries {
        let words = entry_words(entry);
        for id in &entry.from {
            targets.entry(*id).or_default().push(words.clone());
        }
    }
    for left in map.left {
        let words = match left.why {
            Why::Dropped => "dropped: MLX's layer keeps nothing like it".to_owned(),
            Why::Tied(name) => format!("tied: written once, as {name}"),
            Why::Skipped => "left out, as it was asked".to_owned(),
        };
        targets.entry(left.tensor).or_default().push(words);
    }
    Ok(targets)
}

/// `layer1.0.conv1.weight [64, 3, 3, 64]: weight → weight, axes 0 2 3 1`
fn entry_words(entry: &Entry) -> String {
    let words = format!("{} {}: {}", entry.name, shape(&entry.shape), entry.step.words());
    match &entry.known {
        Known::Plan => words,
        Known::Layout => format!("{words} (known by its class alone)"),
        Known::Copied(doubt) => format!("{words} (copied under its name: {doubt})"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::open::{Options, open};

    #[test]
    fn the_worker_says_where_tensors_go_and_reads_them_until_it_is_stopped() {
        let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
        let count = opened.checkpoint.tensors.len();
        let (events, heard) = crossbeam_channel::unbounded();
        let worker = Worker::start(opened, events);
        worker.targets();
        let Event::Targets(Ok(targets)) = heard.recv().unwrap() else { panic!("no targets") };
        assert_eq!(targets.len(), count, "every tensor goes somewhere or is told to go nowhere");
        worker.read(vec![0, 1, usize::MAX]);
        let mut done = Vec::new();
        loop {
            match heard.recv().unwrap() {
                Event::Done(id, found) => done.push((id, found.is_ok())),
                Event::Progress(_, share) => assert!((0.0..=1.0).contains(&share)),
                Event::Idle => break,
                Event::Targets(_) => panic!("they were not asked for"),
            }
        }
        assert_eq!(done, [(0, true), (1, true), (usize::MAX, false)]);
    }
}
