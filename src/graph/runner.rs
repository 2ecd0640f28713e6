//! The thread that runs a graph, and what it reports.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::inputs::{self, Given, Source};
use super::job::Job;
use super::run::{self, Lockstep, Stop};
use super::scripted;
use crate::architecture::spec::InputSpec;
use crate::threads;
use t2m_checkpoint::graph::Graph;
use t2m_engine::Device;
use t2m_engine::client::CancelToken;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Tells its reports from those of others.
    pub number: u64,
    /// The node to begin at; those before it are run by torch alone.
    pub from: usize,
    /// Seed of inputs that are drawn.
    pub seed: u64,
    /// What the user typed of the inputs; without it they are those that the thread was started with.
    pub specs: Vec<InputSpec>,
    /// Where MLX computes; by its own choice without one.
    pub device: Option<Device>,
}

/// What the thread reports, with the request's number. Reports of one request come in order, and none follow its end.
#[derive(Debug, Clone)]
pub enum Report {
    /// The run begins, on these inputs.
    Started(Vec<Given>),
    /// Something happened in it.
    Event(run::Event),
    /// The graph that a TorchScript file's code became on these inputs.
    Graph(Arc<Graph>),
    /// It is over: at the graph's end, or before it.
    Ended(Result<(), Stop>),
}

/// A report with the number of its run.
pub type Told = (u64, Report);

/// The thread. Each run has engines of its own, which end with it. Dropping it ends them.
#[derive(Debug)]
pub struct Runner {
    requests: Sender<(Request, u64)>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Start the thread; nothing runs yet. Inputs are drawn as `specs` say where there are some, otherwise they are the file's own,
    /// and drawn where it holds none. An answer that takes longer than `deadline` counts as a hang.
    pub fn start(job: Job, specs: Vec<InputSpec>, deadline: Duration, reports: Sender<Told>) -> Runner {
        let (requests, queue) = crossbeam_channel::unbounded::<(Request, u64)>();
        let cancel = CancelToken::default();
        let worker = Worker { job, specs, deadline, cancel: cancel.clone(), reports };
        let thread = std::thread::spawn(move || {
            for (request, generation) in queue {
                // A panic here is a bug, but the screen goes on.
                let run = AssertUnwindSafe(|| worker.run(&request, generation));
                let bug =
                    || Err(Stop::Engine("the program panicked over this graph, which is a bug of ours".to_owned()));
                let ended = catch_unwind(run).unwrap_or_else(|_| bug());
                worker.tell(request.number, Report::Ended(ended));
            }
        });
        Runner { requests, cancel, thread: Some(thread) }
    }

    /// Ask for a run. Requests queue up.
    pub fn submit(&self, request: Request) {
        // The thread ends with this handle, so there is a receiver.
        let _ = self.requests.send((request, self.cancel.generation()));
    }

    /// Stop the run, and forget those that wait.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.cancel.end();
        self.requests = crossbeam_channel::unbounded().0;
        threads::leave(self.thread.take());
    }
}

struct Worker {
    job: Job,
    specs: Vec<InputSpec>,
    deadline: Duration,
    cancel: CancelToken,
    reports: Sender<Told>,
}

impl Worker {
    fn run(&self, request: &Request, generation: u64) -> Result<(), Stop> {
        let specs = if request.specs.is_empty() { self.specs.as_slice() } else { request.specs.as_slice() };
        let source = match (specs, self.job.samples()) {
            ([], Some(samples)) => Source::Sample(samples),
            ([], None) => Source::Seed(request.seed),
            (specs, _) => Source::Specs(specs, request.seed),
        };
        let number = request.number;
        let inputs = match self.job.graph() {
            Some(graph) => inputs::of_graph(graph, source),
            None => inputs::of_script(&self.job.checkpoint, source),
        };
        let inputs = inputs.map_err(Stop::Inputs)?;
        self.tell(number, Report::Started(inputs.given.clone()));
        let listener = self.reports.clone();
        let states = move |side, state| drop(listener.send((number, Report::Event(run::Event::Engine(side, state)))));
        let written;
        let graph = match self.job.graph() {
            Some(graph) => graph,
            None => {
                let (checkpoint, cancel) = (&self.job.checkpoint, &self.cancel);
                let graph = scripted::graph(checkpoint, &inputs, self.deadline, cancel, Box::new(states.clone()))?;
                written = Arc::new(graph);
                self.tell(number, Report::Graph(Arc::clone(&written)));
                &written
            }
        };
        let mut tell = |event| self.tell(number, Report::Event(event));
        let lockstep = Lockstep::new(&self.job, self.deadline, &self.cancel, states, &mut tell);
        if self.cancel.generation() != generation {
            return Err(Stop::Cancelled);
        }
        let lockstep = lockstep.with_rows(&self.job.table).with_numbers(&inputs.numbers).from(request.from);
        let mut lockstep = lockstep.on_device(request.device, false);
        lockstep.start()?;
        lockstep.run(graph, &inputs.tensors)
    }

    fn tell(&self, number: u64, report: Report) {
        // A receiver that has gone is no reason to stop in the middle of a frame.
        let _ = self.reports.send((number, report));
    }
}
