//! Both engines: a plan loaded into them, and trials of it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::compare::{ByDefault, Trial, Verdict};
use crate::plan::Plan;
use t2m_checkpoint::escape::sentence;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{self, CancelToken, Client, Listener};
use t2m_engine::device::arguments;
use t2m_engine::{Device, EngineState, Side};

use super::inputs::{Given, Inputs};
use super::judge::{Outputs, Terms};
use super::tensors::Weights;

/// The engines of a thread that runs plans.
pub(super) struct Pair {
    torch: Client,
    mlx: Client,
    inputs: Inputs,
    /// MLX as it is by default, beside the exact one, where that is asked for.
    by_default: Option<Client>,
    /// The device that was asked for.
    device: Option<Device>,
    /// Makes a client of MLX's; its listener is left out of one that computes beside another.
    another: Box<dyn Fn(bool) -> Client + Send>,
    cancel: CancelToken,
}

/// Why a plan has no verdict from a comparison.
pub(super) enum Stop {
    Failed(String),
    /// An engine is not there, or cannot be started: nothing is said of the plan.
    Absent(String),
    /// The output says nothing about the conversion.
    Mute(String),
    Cancelled,
}

impl Pair {
    /// Engines that start when they are first needed, and report what happens to them.
    pub fn new(
        deadline: Duration,
        cancel: &CancelToken,
        listener: impl Fn(Side, EngineState) + Clone + Send + 'static,
    ) -> Pair {
        let client = |side| Client::new(side, deadline, cancel.clone(), Box::new(listener.clone()));
        let (torch, mlx) = (client(Side::Torch), client(Side::Mlx));
        let of = cancel.clone();
        let another = move |is_heard| {
            let listener: Listener = if is_heard { Box::new(listener.clone()) } else { Box::new(|_, _| {}) };
            Client::new(Side::Mlx, deadline, of.clone(), listener)
        };
        let (inputs, another) = (Inputs::default(), Box::new(another));
        Pair { torch, mlx, inputs, by_default: None, device: None, another, cancel: cancel.clone() }
    }

    /// Let MLX compute there, and also as it does by default where `tf32` is set. Its program is started again where it runs elsewhere.
    pub fn compute_on(&mut self, device: Option<Device>, tf32: bool) {
        let is_elsewhere = self.device != device;
        if is_elsewhere {
            self.mlx = (self.another)(true).with_arguments(arguments(device, false));
            self.device = device;
        }
        if self.by_default.is_none() || is_elsewhere || !tf32 {
            self.by_default = tf32.then(|| (self.another)(false).with_arguments(arguments(device, true)));
        }
    }

    /// An engine that could not be started may be tried again.
    pub fn allow_start(&mut self) {
        [&mut self.torch, &mut self.mlx].into_iter().chain(&mut self.by_default).for_each(Client::allow_start);
    }

    /// Start what has not been started. Where one is missing the other is asked as well, so that each is told.
    ///
    /// # Errors
    /// One that cannot be started, or the run was cancelled.
    pub fn start(&mut self) -> Result<(), Stop> {
        // Side by side: libtorch takes a while.
        self.torch.begin();
        self.mlx.begin();
        let started = [self.torch.info(), self.mlx.info()];
        started.into_iter().try_for_each(|greeting| match greeting {
            Ok(_) => Ok(()),
            Err(client::Error::Cancelled) => Err(Stop::Cancelled),
            Err(error) => Err(Stop::Absent(sentence(&error.to_string()).into_owned())),
        })
    }

    /// Whether both run.
    pub fn is_ready(&self) -> bool {
        self.torch.is_ready() && self.mlx.is_ready()
    }

    /// Load both sides of a plan.
    pub fn load(&mut self, generation: u64, plan: &Plan, weights: Weights) -> Result<(), Stop> {
        self.torch.start_load(generation, &plan.torch, &weights.torch).map_err(|error| stop(Side::Torch, error))?;
        let started = self.mlx.start_load(generation, &plan.mlx, &weights.mlx).map_err(|error| stop(Side::Mlx, error));
        if let Some(by_default) = &mut self.by_default {
            // What it cannot load it cannot run either, which its trials say.
            let _ = by_default.start_load(generation, &plan.mlx, &weights.mlx).and_then(|()| by_default.finish_load());
        }
        // The engines have the weights now; a large layer need not be held twice.
        drop(weights);
        self.torch.finish_load().map_err(|error| stop(Side::Torch, error))?;
        started.and_then(|()| self.mlx.finish_load().map_err(|error| stop(Side::Mlx, error)))
    }

    /// Trials of the loaded plan, one for each seed, told in this order as they are judged.
    ///
    /// MLX is a trial ahead: it computes the next one beside torch's float64, whose time nobody reads. What has come of a trial is
    /// compared on a thread of its own meanwhile.
    ///
    /// # Errors
    /// The first trial that has no result; those before it were told.
    pub fn trials(
        &mut self,
        generation: u64,
        terms: &Terms<'_>,
        seeds: &[u64],
        mut tell: impl FnMut(Trial),
    ) -> Result<(), Stop> {
        thread::scope(|scope| {
            let (done, queue) = crossbeam_channel::bounded::<Done>(1);
            let (judged, trials) = crossbeam_channel::unbounded();
            scope.spawn(move || {
                // Who listens no more has been told of an earlier trial that failed.
                queue.into_iter().all(|trial| judged.send(trial.judge(terms).map_err(Stop::Failed)).is_ok())
            });
            let ran = self.run(generation, terms, seeds, |trial| {
                // Its thread goes on for as long as trials come.
                let _ = done.send(trial);
                trials.try_iter().try_for_each(|trial| trial.map(&mut tell))
            });
            drop(done);
            trials.iter().try_for_each(|trial| trial.map(&mut tell))?;
            ran
        })
    }

    /// Let both engines run trials, and hand each on once it has all of its outputs.
    fn run(
        &mut self,
        generation: u64,
        terms: &Terms<'_>,
        seeds: &[u64],
        mut done: impl FnMut(Done) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let torch_says = |error| stop(Side::Torch, error);
        let mut ahead: Option<Begun> = None;
        for (at, &seed) in seeds.iter().enumerate() {
            if self.cancel.generation() != generation {
                return Err(Stop::Cancelled);
            }
            let (drawn, begun) = match ahead.take() {
                Some(Begun { inputs, started }) => (inputs?, Some(started)),
                None => (self.inputs.of(terms, seed).map_err(Stop::Failed)?, None),
            };
            let inputs: Vec<Arc<TensorData>> = drawn.iter().map(|given| Arc::clone(&given.torch)).collect();
            self.torch.start_run(generation, &inputs, terms.dtype).map_err(torch_says)?;
            let started = begun.unwrap_or_else(|| self.start_mlx(generation, terms, &drawn));
            let torch = self.torch.finish_run().map_err(torch_says)?;
            self.torch.start_run(generation, &inputs, Dtype::Float64).map_err(torch_says)?;
            let mlx = started.and_then(|()| self.mlx.finish_run().map_err(|error| stop(Side::Mlx, error)))?;
            let by_default = self.run_by_default(generation, terms.dtype, &drawn)?;
            if let Some(&next) = seeds.get(at + 1) {
                ahead = Some(self.begin(generation, terms, next));
            }
            let arbiter = self.torch.finish_run().map_err(torch_says)?;
            if self.cancel.generation() != generation {
                return Err(Stop::Cancelled);
            }
            let shapes = inputs.iter().map(|input| input.shape.clone()).collect();
            done(Done { seed, shapes, outputs: Outputs { torch, mlx, arbiter }, by_default })?;
        }
        Ok(())
    }

    /// Begin a trial with MLX, ahead of torch. What goes wrong belongs to that trial.
    fn begin(&mut self, generation: u64, terms: &Terms<'_>, seed: u64) -> Begun {
        let inputs = self.inputs.of(terms, seed).map_err(Stop::Failed);
        let started = inputs.as_ref().map_or(Ok(()), |drawn| self.start_mlx(generation, terms, drawn));
        Begun { inputs, started }
    }

    /// MLX as it is by default on a trial's inputs, where that is asked for; why it gave nothing.
    fn run_by_default(
        &mut self,
        generation: u64,
        dtype: Dtype,
        drawn: &[Given],
    ) -> Result<Option<Result<client::Output, String>>, Stop> {
        let Some(by_default) = self.by_default.as_mut().filter(|_| dtype == Dtype::Float32) else { return Ok(None) };
        let inputs = for_mlx(drawn);
        let ran = by_default.start_run(generation, &inputs, dtype).and_then(|()| by_default.finish_run());
        match ran.map_err(|error| stop(Side::Mlx, error)) {
            Ok(output) => Ok(Some(Ok(output))),
            Err(Stop::Failed(reason)) => Ok(Some(Err(reason))),
            Err(other) => Err(other),
        }
    }

    fn start_mlx(&mut self, generation: u64, terms: &Terms<'_>, drawn: &[Given]) -> Result<(), Stop> {
        self.mlx.start_run(generation, &for_mlx(drawn), terms.dtype).map_err(|error| stop(Side::Mlx, error))
    }
}

/// A trial that MLX has begun.
struct Begun {
    inputs: Result<Vec<Given>, Stop>,
    started: Result<(), Stop>,
}

/// A trial of which all outputs are there.
struct Done {
    seed: u64,
    /// Of its inputs.
    shapes: Vec<Vec<usize>>,
    outputs: Outputs,
    /// What MLX gives as it is by default, or why it gave nothing.
    by_default: Option<Result<client::Output, String>>,
}

impl Done {
    fn judge(self, terms: &Terms<'_>) -> Result<Trial, String> {
        let Done { seed, shapes, mut outputs, by_default } = self;
        let mut trial = terms.judge(seed, &shapes, &outputs)?;
        let Some(by_default) = by_default else { return Ok(trial) };
        let judged = by_default.and_then(|output| {
            outputs.mlx = output;
            terms.judge(seed, &shapes, &outputs)
        });
        trial.tf32 = Some(Box::new(match judged {
            Ok(Trial { verdict, apart, ms_mlx, .. }) => ByDefault { verdict, apart, ms_mlx, reason: None },
            Err(reason) => ByDefault { verdict: Verdict::Failed, apart: None, ms_mlx: 0.0, reason: Some(reason) },
        }));
        Ok(trial)
    }
}

fn for_mlx(drawn: &[Given]) -> Vec<Arc<TensorData>> {
    drawn.iter().map(|given| Arc::clone(&given.mlx)).collect()
}

fn stop(side: Side, error: client::Error) -> Stop {
    match error {
        client::Error::Cancelled => Stop::Cancelled,
        client::Error::Down(reason) => Stop::Failed(sentence(&reason).into_owned()),
        client::Error::Refused(reason) => Stop::Failed(format!("{} says: {}", side.library(), sentence(&reason))),
    }
}
