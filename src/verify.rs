//! Running modules through both engines: trials as events, for the screen and the reports alike.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::checkpoint::{Dtype, TensorData};
use crate::compare::statistics::{difference, unravel};
use crate::compare::tolerance;
use crate::compare::{Trial, Verdict};
use crate::convert::{Input, Plan, recipes, weights};
use crate::engine::client::{self, CancelToken, Client, Output};
use crate::engine::{EngineState, Side};
use crate::model::ModuleId;
use crate::open::Opened;

/// How long the end of the program waits for the thread that runs; the engines end with their pipes in any case.
const LEAVING: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which modules, in this order.
    pub modules: Vec<ModuleId>,
    /// Trials for each dtype.
    pub trials: usize,
    /// `f32` is always first and gives the verdict; f16 and bf16 are extra.
    pub dtypes: Vec<Dtype>,
    /// First trial's seed; the others count up.
    pub seed: u64,
}

/// Something happened. Events of one request come in order; after `Done` there are no more of it.
#[derive(Debug, Clone)]
pub enum Event {
    /// An engine started, greeted, died, was killed.
    Engine(Side, EngineState),
    /// A module's turn.
    Started {
        /// Which.
        module: ModuleId,
        /// Trials to come, all dtypes together.
        trials: usize,
    },
    /// A trial of it.
    Trial {
        /// Which.
        module: ModuleId,
        /// The numbers.
        trial: Box<Trial>,
    },
    /// The module is done.
    Finished {
        /// Which.
        module: ModuleId,
        /// Its verdict.
        verdict: Verdict,
        /// Why, for `failed` and `not-run` (and what else is worth saying).
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

/// A request, and the generation it was made in: cancelling starts a new one, and older requests are passed over.
struct Queued {
    request: Request,
    generation: u64,
}

impl Runner {
    /// Start the thread. Events come out of `events`, whoever listens. Engines start with the first request; an answer
    /// that takes longer than `deadline` counts as a hang.
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
        // The worker ends with this handle, so there is somebody to receive it.
        let _ = self.requests.send(Queued { request, generation });
    }

    /// End what runs now and forget what is queued. Each of them still says `Done { cancelled: true }`.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.cancel.end();
        // Closing the queue ends the worker's loop, and with it both engines.
        self.requests = crossbeam_channel::unbounded().0;
        let Some(thread) = self.thread.take() else { return };
        // It may be in the middle of reading a large tensor: nobody waits for that.
        let until = Instant::now() + LEAVING;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    opened: Opened,
    torch: Client,
    mlx: Client,
    cancel: CancelToken,
    events: Sender<Event>,
}

/// Why a module has no verdict by comparison.
enum Stop {
    Failed(String),
    /// What came out says nothing of the conversion.
    Mute(String),
    Cancelled,
}

impl Worker {
    fn new(opened: Opened, deadline: Duration, cancel: CancelToken, events: Sender<Event>) -> Worker {
        let client = |side| {
            let events = events.clone();
            let listener = move |side, state| drop(events.send(Event::Engine(side, state)));
            Client::new(side, deadline, cancel.clone(), Box::new(listener))
        };
        Worker { torch: client(Side::Torch), mlx: client(Side::Mlx), opened, cancel, events }
    }

    fn run(&mut self, queued: &Queued) {
        self.torch.allow_start();
        self.mlx.allow_start();
        let mut cancelled = false;
        for &module in &queued.request.modules {
            cancelled = cancelled || self.cancel.generation() != queued.generation;
            if cancelled {
                break;
            }
            // A panic in here is a bug, but no reason to lose the layers that are still to come.
            let run = AssertUnwindSafe(|| self.run_module(&queued.request, queued.generation, module));
            cancelled = catch_unwind(run).unwrap_or_else(|_| {
                let reason = Some("the program panicked over this layer, which is a bug of ours".to_owned());
                self.tell(Event::Finished { module, verdict: Verdict::Failed, reason });
                false
            });
        }
        self.tell(Event::Done { cancelled });
    }

    /// Run one module and say how it went. Returns whether the run was cancelled.
    fn run_module(&mut self, request: &Request, generation: u64, module: ModuleId) -> bool {
        let triage = self.opened.triage.clone();
        let Some(triaged) = triage.modules.get(module) else { return false };
        let finished = |verdict, reason| Event::Finished { module, verdict, reason };
        let Some(plan) = &triaged.plan else {
            self.tell(finished(Verdict::NotRun, Some(triaged.reason.clone())));
            return false;
        };
        self.tell(Event::Started { module, trials: request.trials * request.dtypes.len() });
        let (mut verdict, mut reason) = (Verdict::NotRun, None);
        for &dtype in &request.dtypes {
            let (judged, said) = match self.run_dtype(request, generation, module, plan, dtype) {
                Ok(outcome) => outcome,
                Err(Stop::Failed(reason)) => (Verdict::Failed, Some(reason)),
                Err(Stop::Mute(reason)) => (Verdict::NotRun, Some(reason)),
                Err(Stop::Cancelled) => {
                    self.tell(finished(Verdict::NotRun, Some("cancelled".to_owned())));
                    return true;
                }
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
        self.tell(finished(verdict, reason));
        false
    }

    /// All trials of a module in one dtype: the worst verdict of them, and what else is to be said.
    fn run_dtype(
        &mut self,
        request: &Request,
        generation: u64,
        module: ModuleId,
        plan: &Plan,
        dtype: Dtype,
    ) -> Result<(Verdict, Option<String>), Stop> {
        let weights = Weights::read(&self.opened, module, plan, dtype).map_err(Stop::Failed)?;
        if let Some(name) = weights.zero() {
            return Err(Stop::Mute(format!(
                "`{name}` is all zero in this file, which says nothing of where it was moved"
            )));
        }
        self.torch.start_load(generation, &plan.torch, &weights.torch).map_err(|error| stop(Side::Torch, error))?;
        let started = self.mlx.start_load(generation, &plan.mlx, &weights.mlx).map_err(|error| stop(Side::Mlx, error));
        // The engines have them now; a large layer need not be held twice.
        drop(weights);
        self.torch.finish_load().map_err(|error| stop(Side::Torch, error))?;
        started.and_then(|()| self.mlx.finish_load().map_err(|error| stop(Side::Mlx, error)))?;
        let terms = Terms { plan, dtype };

        let (mut worst, mut reason) = (Verdict::Exact, None);
        for seed in (0..request.trials as u64).map(|trial| request.seed.wrapping_add(trial)) {
            if self.cancel.generation() != generation {
                return Err(Stop::Cancelled);
            }
            let trial = self.run_trial(generation, &terms, seed)?;
            worst = worst.max(trial.verdict);
            reason = reason.or_else(|| trial.complaint());
            self.tell(Event::Trial { module, trial: Box::new(trial) });
        }
        Ok((worst, reason))
    }

    fn run_trial(&mut self, generation: u64, terms: &Terms<'_>, seed: u64) -> Result<Trial, Stop> {
        let (plan, dtype) = (terms.plan, terms.dtype);
        let inputs: Vec<TensorData> =
            plan.inputs.iter().enumerate().map(|(at, input)| input.generate(seed, at, dtype)).collect();
        let for_mlx = inputs.iter().zip(&plan.inputs).map(|(data, input)| mlx_input(data, input));
        let for_mlx: Vec<TensorData> = for_mlx.collect::<Result<_, _>>().map_err(Stop::Failed)?;

        // Both work at the same time; the f64 arbiter runs after, so that it does not share the clock.
        self.torch.start_run(generation, &inputs, dtype).map_err(|error| stop(Side::Torch, error))?;
        let started = self.mlx.start_run(generation, &for_mlx, dtype).map_err(|error| stop(Side::Mlx, error));
        let torch = self.torch.finish_run().map_err(|error| stop(Side::Torch, error))?;
        let mlx = started.and_then(|()| self.mlx.finish_run().map_err(|error| stop(Side::Mlx, error)))?;
        self.torch.start_run(generation, &inputs, Dtype::Float64).map_err(|error| stop(Side::Torch, error))?;
        let arbiter = self.torch.finish_run().map_err(|error| stop(Side::Torch, error))?;
        if self.cancel.generation() != generation {
            return Err(Stop::Cancelled);
        }
        terms.judge(seed, &inputs, &Outputs { torch, mlx, arbiter })
    }

    fn tell(&self, event: Event) {
        // Nobody listening any more is no reason to stop in the middle of a frame.
        let _ = self.events.send(event);
    }
}

fn stop(side: Side, error: client::Error) -> Stop {
    match error {
        client::Error::Cancelled => Stop::Cancelled,
        client::Error::Down(reason) => Stop::Failed(reason),
        client::Error::Refused(reason) => Stop::Failed(format!("{} says: {reason}", side.library())),
    }
}

fn mlx_input(data: &TensorData, input: &Input) -> Result<TensorData, String> {
    let moved = match &input.to_mlx {
        Some(axes) => weights::permute(data, axes).map_err(|error| error.to_string())?,
        None => data.clone(),
    };
    // MLX indexes with 32-bit integers.
    Ok(if moved.dtype == Dtype::Int64 { moved.cast(Dtype::Int32).unwrap_or(moved) } else { moved })
}

/// A module's tensors for both sides, in the trial's dtype.
struct Weights {
    torch: Vec<(String, TensorData)>,
    mlx: Vec<(String, TensorData)>,
}

impl Weights {
    /// Read the tensors that the plan moves, round them to `dtype`, and move them as the writer would.
    fn read(opened: &Opened, module: ModuleId, plan: &Plan, dtype: Dtype) -> Result<Weights, String> {
        let mut read = Weights { torch: Vec::new(), mlx: Vec::new() };
        for movement in &plan.weights {
            for name in &movement.from {
                if !read.torch.iter().any(|(known, _)| known == name) {
                    read.torch.push((name.clone(), read_tensor(opened, module, name, dtype)?));
                }
            }
            let source = |name: &String| read.torch.iter().find(|(known, _)| known == name).map(|(_, data)| data);
            let sources: Vec<&TensorData> = movement.from.iter().filter_map(source).collect();
            let moved = movement.apply(&sources).map_err(|error| error.to_string())?;
            let moved = moved.cast(dtype).unwrap_or(moved);
            read.mlx.push((movement.to.clone(), moved));
        }
        Ok(read)
    }

    /// A weight that is zero everywhere, as zero-initialised layers have it: the output then is the same wherever it goes.
    fn zero(&self) -> Option<&str> {
        // Of a number only the sign may be set, in its last byte.
        let is_nothing = |number: &[u8]| {
            number.split_last().is_some_and(|(last, rest)| last & 0x7f == 0 && rest.iter().all(|&byte| byte == 0))
        };
        let is_zero =
            |data: &TensorData| !data.bytes.is_empty() && data.bytes.chunks_exact(data.dtype.size()).all(is_nothing);
        let weights = self.torch.iter().filter(|(name, _)| name.ends_with("weight"));
        weights.filter(|(_, data)| is_zero(data)).map(|(name, _)| name.as_str()).next()
    }
}

fn read_tensor(opened: &Opened, module: ModuleId, name: &str, dtype: Dtype) -> Result<TensorData, String> {
    let id = recipes::tensor(&opened.model, module, name).ok_or_else(|| format!("the file holds no `{name}`"))?;
    let data = opened.checkpoint.read(id).map_err(|error| error.to_string())?;
    let from = data.dtype;
    data.cast(dtype).ok_or_else(|| format!("`{name}` is {}, which cannot be computed with", from.name()))
}

struct Outputs {
    torch: Output,
    mlx: Output,
    arbiter: Output,
}

/// What the trials of a module in one dtype have in common.
struct Terms<'a> {
    plan: &'a Plan,
    dtype: Dtype,
}

impl Terms<'_> {
    /// Compare the outputs of one trial.
    fn judge(&self, seed: u64, inputs: &[TensorData], outputs: &Outputs) -> Result<Trial, Stop> {
        let (plan, dtype) = (self.plan, self.dtype);
        let mlx = match &plan.output {
            Some(axes) if axes.len() == outputs.mlx.tensor.shape.len() => {
                weights::permute(&outputs.mlx.tensor, axes).map_err(|error| Stop::Failed(error.to_string()))?
            }
            _ => outputs.mlx.tensor.clone(),
        };
        let numbers = |tensor: &TensorData| {
            tensor.to_f64().ok_or_else(|| Stop::Failed(format!("an output in {}", tensor.dtype.name())))
        };
        let (reference, output) = (numbers(&outputs.torch.tensor)?, numbers(&mlx)?);
        let exact = numbers(&outputs.arbiter.tensor)?;
        self.check(&reference)?;
        let scale = tolerance::scale(&reference);
        let torch_vs_f64 = difference(&exact, &reference, 0.0).max_abs;
        let tolerance = plan.bound.tolerance(dtype, scale, torch_vs_f64);
        let shape = outputs.torch.tensor.shape.clone();

        let mut trial = Trial {
            dtype,
            seed,
            input_shapes: inputs.iter().map(|input| input.shape.clone()).collect(),
            output_shape: shape.clone(),
            max_abs: f64::INFINITY,
            mean_abs: f64::INFINITY,
            max_rel: f64::INFINITY,
            p99_abs: f64::INFINITY,
            cosine: f64::NAN,
            worst_index: Vec::new(),
            tolerance,
            scale,
            torch_vs_f64,
            mlx_vs_f64: f64::INFINITY,
            mlx_dtype: outputs.mlx.tensor.dtype,
            ms_torch: outputs.torch.milliseconds,
            ms_mlx: outputs.mlx.milliseconds,
            mlx_shape: mlx.shape.clone(),
            verdict: Verdict::Broken,
        };
        // Outputs of different shapes cannot be subtracted: nothing is shown but that.
        if mlx.shape == shape {
            let apart = difference(&reference, &output, tolerance);
            trial.max_abs = apart.max_abs;
            trial.mean_abs = apart.mean_abs;
            trial.max_rel = apart.max_rel;
            trial.p99_abs = apart.p99_abs;
            trial.cosine = apart.cosine;
            trial.worst_index = unravel(apart.worst, &shape);
            trial.mlx_vs_f64 = difference(&exact, &output, 0.0).max_abs;
            trial.verdict = plan.bound.judge(dtype, scale, tolerance, apart.max_abs);
        }
        Ok(trial)
    }

    /// Whether torch's output says anything: two outputs of nothing but NaN agree.
    fn check(&self, reference: &[f64]) -> Result<(), Stop> {
        if reference.is_empty() || reference.iter().any(|value| value.is_finite()) {
            return Ok(());
        }
        let dtype = self.dtype.name();
        Err(Stop::Failed(format!("torch's output in {dtype} holds no finite number: there is nothing to compare")))
    }
}
