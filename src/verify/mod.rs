//! Running modules through both engines: trials as events, for the screen and the reports alike.

mod ahead;
mod inputs;
mod jobs;
mod judge;
pub mod keeping;
mod pair;
mod renamed;
mod results;
mod tensors;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::compare::WeightSource;
use crate::compare::{Trial, Verdict, worst};
use crate::model::ModuleId;
use crate::open::Opened;
use crate::plan::assumed::Tried;
use crate::plan::naive;
use crate::plan::{Plan, Refusal};
use crate::threads;
use crate::triage::ModuleTriage;
use ahead::Ahead;
use judge::Terms;
use pair::{Pair, Stop};
use t2m_checkpoint::Dtype;
use t2m_engine::client::CancelToken;
use t2m_engine::{Device, EngineState, Side};
use tensors::Weights;

pub use jobs::{Job, Outcome, run};
pub use renamed::Renamed;
pub use results::recorded;
pub use results::{Layer, Measured, Progress, Results, Sum};

/// The reason of a layer whose run was cancelled.
pub const CANCELLED: &str = "cancelled";

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which modules, in this order. None: the engines start, and say which they are.
    pub modules: Vec<ModuleId>,
    /// Trials for each dtype.
    pub trials: usize,
    /// `f32` is always first and gives the verdict; f16 and bf16 are shown beside it.
    pub dtypes: Vec<Dtype>,
    /// Seed of the first trial; each further trial adds one.
    pub seed: u64,
    /// What the layers compute with.
    pub weights: WeightSource,
    /// Whether the layers are also run as a plain rename would convert them.
    pub naive: bool,
    /// Where MLX computes; by its own choice without one.
    pub device: Option<Device>,
    /// Whether float32 is also run as MLX does it by default, with TF32 where its GPU has that.
    pub tf32: bool,
}

/// A layer as a plain rename would convert it, run beside the right conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Twin {
    /// What is done wrong.
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The worst trial in float32, if there was one.
    pub trial: Option<Trial>,
    /// Why there was none.
    pub reason: Option<String>,
}

/// What the runner reports. Events of one request come in order, and none follow its `Done`.
#[derive(Debug, Clone)]
pub enum Event {
    /// An engine started, greeted, died or was killed.
    Engine(Side, EngineState),
    /// A module begins.
    Started {
        /// The module that this is about.
        module: ModuleId,
        /// Trials to come, all dtypes together.
        trials: usize,
    },
    /// A trial of it is done.
    Trial {
        /// The module that this is about.
        module: ModuleId,
        /// The numbers.
        trial: Box<Trial>,
    },
    /// A naive twin of it was run.
    Twin {
        /// The module that this is about.
        module: ModuleId,
        /// Its result.
        twin: Box<Twin>,
    },
    /// The module is done.
    Finished {
        /// The module that this is about.
        module: ModuleId,
        /// Its verdict.
        verdict: Verdict,
        /// Why, for `failed` and `not-run`, and anything else worth saying.
        reason: Option<String>,
    },
    /// All modules of the request are done, or it was cancelled.
    Done {
        /// Whether it was cut short.
        cancelled: bool,
    },
}

/// The thread that runs requests, one after the other, and owns both engines. Dropping it ends both.
#[derive(Debug)]
pub struct Runner {
    requests: Sender<Queued>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

/// A request, and its generation: cancelling begins a new one, and older requests are skipped.
struct Queued {
    request: Request,
    generation: u64,
}

impl Runner {
    /// Start the thread. Events are sent to `events`, whether or not somebody listens. Engines start with the first
    /// request; an answer that takes longer than `deadline` counts as a hang.
    pub fn start(opened: Opened, deadline: Duration, events: Sender<Event>) -> Runner {
        let (requests, queue) = crossbeam_channel::unbounded::<Queued>();
        let cancel = CancelToken::default();
        let mut worker = Worker::new(opened, deadline, cancel.clone(), events);
        let thread = std::thread::spawn(move || {
            for queued in queue {
                worker.run(&queued);
            }
        });
        Runner { requests, cancel, thread: Some(thread) }
    }

    /// Ask for a run. Requests queue up.
    pub fn submit(&self, request: Request) {
        let generation = self.cancel.generation();
        // The worker ends with this handle, so there is a receiver.
        let _ = self.requests.send(Queued { request, generation });
    }

    /// Stop the current run and forget the queue. Each of these requests still reports `Done { cancelled: true }`.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.cancel.end();
        // Closing the queue ends the worker's loop, and with it both engines.
        self.requests = crossbeam_channel::unbounded().0;
        threads::leave(self.thread.take());
    }
}

/// A conversion that is to be run.
struct Planned<'a> {
    /// The conversion, or why there is none.
    plan: Result<Cow<'a, Plan>, String>,
    /// What is assumed of the module, in words.
    with: Option<String>,
}

/// What a run of a module runs. A module that is not a layer may be a block, which is run as a whole.
fn plans<'a>(opened: &Opened, id: ModuleId, triaged: &'a ModuleTriage) -> Vec<Planned<'a>> {
    if let Some(plan) = triaged.runs() {
        return vec![Planned { plan: Ok(Cow::Borrowed(plan)), with: None }];
    }
    let all = triaged.assumed.iter();
    let all = all.flat_map(|assumed| assumed.plans(&opened.checkpoint, &opened.model, &opened.registry, id));
    let planned = |tried: Tried| {
        let with = Some(tried.words());
        Planned { plan: tried.plan.map(Cow::Owned).map_err(Refusal::words), with }
    };
    all.map(planned).collect()
}

/// Trials of one conversion.
struct Series<'a> {
    plan: &'a Plan,
    dtype: Dtype,
    seeds: Vec<u64>,
    /// What it computes with, if that was read.
    weights: Option<Result<Weights, String>>,
}

struct Worker {
    opened: Opened,
    engines: Pair,
    /// What was read while the module before ran.
    ahead: Option<Ahead>,
    cancel: CancelToken,
    events: Sender<Event>,
}

impl Worker {
    fn new(opened: Opened, deadline: Duration, cancel: CancelToken, events: Sender<Event>) -> Worker {
        let listener = events.clone();
        let engines = Pair::new(deadline, &cancel, move |side, state| drop(listener.send(Event::Engine(side, state))));
        Worker { engines, opened, ahead: None, cancel, events }
    }

    fn run(&mut self, queued: &Queued) {
        self.engines.compute_on(queued.request.device, queued.request.tf32);
        self.engines.allow_start();
        if queued.request.modules.is_empty() {
            // Who asks for nothing wants to know which engines there are: that is told as they start, or fail to.
            let _ = self.engines.start();
        }
        let mut cancelled = false;
        let (request, opened) = (&queued.request, &self.opened.clone());
        for (at, &module) in request.modules.iter().enumerate() {
            cancelled = cancelled || self.cancel.generation() != queued.generation;
            if cancelled {
                break;
            }
            // Nothing is read for a run that there cannot be.
            let next = request.modules.get(at + 1).filter(|_| self.engines.is_ready());
            let next_ahead = thread::scope(|scope| {
                let reader = next.map(|&next| scope.spawn(move || Ahead::read(opened, request, next)));
                // A panic here is a bug, but no reason to lose the remaining layers.
                let run = AssertUnwindSafe(|| self.run_module(request, queued.generation, module));
                cancelled = catch_unwind(run).unwrap_or_else(|_| {
                    let reason = Some("the program panicked over this layer, which is a bug of ours".to_owned());
                    self.tell(Event::Finished { module, verdict: Verdict::Failed, reason });
                    false
                });
                // What panics there does so again where it is needed.
                reader.and_then(|reader| reader.join().ok().flatten())
            });
            self.ahead = next_ahead;
        }
        self.ahead = None;
        self.tell(Event::Done { cancelled });
    }

    /// Run one module and report it. Returns whether the run was cancelled.
    fn run_module(&mut self, request: &Request, generation: u64, module: ModuleId) -> bool {
        let triage = self.opened.triage.clone();
        let Some(triaged) = triage.modules.get(module) else { return false };
        let finished = |verdict, reason| Event::Finished { module, verdict, reason };
        let plans = plans(&self.opened, module, triaged);
        let Some(first) = plans.iter().find_map(|planned| planned.plan.as_deref().ok()) else {
            let verdict = if triaged.ignores_setting { Verdict::Failed } else { Verdict::NotRun };
            self.tell(finished(verdict, Some(triaged.reason.clone())));
            return false;
        };
        self.tell(Event::Started { module, trials: request.trials.max(plans.len()) * request.dtypes.len() });
        let (mut verdict, mut reason) = (Verdict::NotRun, None);
        for &dtype in &request.dtypes {
            let Some((judged, said)) = self.run_plans(request, generation, module, &plans, dtype) else {
                self.tell(finished(Verdict::NotRun, Some(CANCELLED.to_owned())));
                return true;
            };
            // float32 gives the verdict; half precision cannot tell a mistake from rounding and is shown beside it.
            if dtype == Dtype::Float32 {
                (verdict, reason) = (judged, said);
                if !matches!(verdict, Verdict::Exact | Verdict::Ok | Verdict::Drift | Verdict::Broken) {
                    break;
                }
            } else if judged == Verdict::Failed {
                reason = reason.or_else(|| said.map(|said| format!("in {}: {said}", dtype.name())));
            }
        }
        if request.naive && verdict.passes() {
            for (name, twin) in naive::twins(first) {
                let Some(twin) = self.run_twin(request, generation, module, name, &twin) else {
                    self.tell(finished(Verdict::NotRun, Some(CANCELLED.to_owned())));
                    return true;
                };
                self.tell(Event::Twin { module, twin: Box::new(twin) });
            }
        }
        self.tell(finished(verdict, reason));
        false
    }

    /// Run all conversions of a module in one dtype: the worst verdict, and what else to say, with what it is said of. One that
    /// cannot be run ends it. `None` where the run was cancelled.
    fn run_plans(
        &mut self,
        request: &Request,
        generation: u64,
        module: ModuleId,
        plans: &[Planned<'_>],
        dtype: Dtype,
    ) -> Option<(Verdict, Option<String>)> {
        let mut worst: Option<(Verdict, Option<String>)> = None;
        let trials = request.trials.max(plans.len());
        let mut ahead = self.ahead.take().and_then(|ahead| ahead.of(module, dtype)).filter(|_| plans.len() == 1);
        for (at, Planned { plan, with: assumed }) in plans.iter().enumerate() {
            // The inputs are dealt out: each conversion has one at least.
            let seeds = (at..trials).step_by(plans.len()).map(|trial| request.seed.wrapping_add(trial as u64));
            let outcome = match plan {
                Ok(plan) => {
                    let series = Series { plan, dtype, seeds: seeds.collect(), weights: ahead.take() };
                    let events = self.events.clone();
                    self.run_series(request, generation, module, series, |trial| {
                        let _ = events.send(Event::Trial { module, trial: Box::new(trial) });
                    })
                }
                Err(reason) => Err(Stop::Failed(reason.clone())),
            };
            let with = |reason: String| match assumed {
                Some(assumed) => format!("with {assumed}: {reason}"),
                None => reason,
            };
            let (verdict, reason) = match outcome {
                Ok((verdict, reason)) => {
                    let wrong = (!verdict.passes() && assumed.is_some()).then(|| verdict.name().to_owned());
                    (verdict, reason.or(wrong).map(with))
                }
                Err(Stop::Failed(reason)) => (Verdict::Failed, Some(with(reason))),
                // What is said of an engine or of the weights is said of all of them.
                Err(Stop::Absent(reason)) => return Some((Verdict::Failed, Some(reason))),
                Err(Stop::Mute(reason)) => return Some((Verdict::NotRun, Some(reason))),
                Err(Stop::Cancelled) => return None,
            };
            if worst.as_ref().is_none_or(|(known, _)| verdict > *known) {
                worst = Some((verdict, reason));
            }
        }
        worst
    }

    /// Run a naive twin in float32. `None` where the run was cancelled.
    fn run_twin(
        &mut self,
        request: &Request,
        generation: u64,
        module: ModuleId,
        name: String,
        plan: &Plan,
    ) -> Option<Twin> {
        let mut trials = Vec::new();
        let seeds = (0..request.trials as u64).map(|trial| request.seed.wrapping_add(trial)).collect();
        let series = Series { plan, dtype: Dtype::Float32, seeds, weights: None };
        let outcome = self.run_series(request, generation, module, series, |trial| trials.push(trial));
        let (verdict, reason) = match outcome {
            Ok(outcome) => outcome,
            Err(Stop::Failed(reason) | Stop::Absent(reason)) => (Verdict::Failed, Some(reason)),
            Err(Stop::Mute(reason)) => (Verdict::NotRun, Some(reason)),
            Err(Stop::Cancelled) => return None,
        };
        Some(Twin { name, verdict, trial: worst(trials.iter()).cloned(), reason })
    }

    /// Trials of a module: the worst verdict, and what else to say.
    fn run_series(
        &mut self,
        request: &Request,
        generation: u64,
        module: ModuleId,
        series: Series<'_>,
        mut tell: impl FnMut(Trial),
    ) -> Result<(Verdict, Option<String>), Stop> {
        let Series { plan, dtype, seeds, weights } = series;
        // Before anything is read for a run that there cannot be.
        self.engines.start()?;
        let read = || Weights::read(&self.opened, module, plan, dtype, ahead::source(request));
        let weights = weights.unwrap_or_else(read).map_err(Stop::Failed)?;
        if let Some(name) = weights.zero() {
            return Err(Stop::Mute(format!(
                "`{name}` is all zero in this file, which says nothing of where it was moved"
            )));
        }
        self.engines.load(generation, plan, weights)?;
        let terms = Terms { plan, given: &[], dtype, weights: request.weights };

        let (mut worst, mut reason) = (Verdict::Exact, None);
        self.engines.trials(generation, &terms, &seeds, |trial| {
            worst = worst.max(trial.verdict);
            reason = reason.take().or_else(|| trial.complaint());
            tell(trial);
        })?;
        Ok((worst, reason))
    }

    fn tell(&self, event: Event) {
        // A receiver that has gone is no reason to stop in the middle of a frame.
        let _ = self.events.send(event);
    }
}
