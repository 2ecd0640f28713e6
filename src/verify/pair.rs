//! Both engines: a plan loaded into them, and one trial of it.

use std::time::Duration;

use crate::compare::{ByDefault, Trial, Verdict};
use crate::plan::Plan;
use t2m_checkpoint::escape::sentence;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{self, CancelToken, Client, Listener};
use t2m_engine::device::arguments;
use t2m_engine::{Device, EngineState, Side};

use super::judge::{Outputs, Terms};
use super::tensors::{Weights, mlx_input};

/// The engines of a thread that runs plans.
pub(super) struct Pair {
    torch: Client,
    mlx: Client,
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
        Pair { torch, mlx, by_default: None, device: None, another: Box::new(another), cancel: cancel.clone() }
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
        self.torch.allow_start();
        self.mlx.allow_start();
    }

    /// Start what has not been started. Where one is missing the other is asked as well, so that each is told.
    ///
    /// # Errors
    /// One that cannot be started, or the run was cancelled.
    pub fn start(&mut self) -> Result<(), Stop> {
        let started = [self.torch.info(), self.mlx.info()];
        started.into_iter().try_for_each(|greeting| match greeting {
            Ok(_) => Ok(()),
            Err(client::Error::Cancelled) => Err(Stop::Cancelled),
            Err(error) => Err(Stop::Absent(sentence(&error.to_string()).into_owned())),
        })
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

    /// One trial of the loaded plan.
    pub fn trial(&mut self, generation: u64, terms: &Terms<'_>, seed: u64) -> Result<Trial, Stop> {
        if self.cancel.generation() != generation {
            return Err(Stop::Cancelled);
        }
        let dtype = terms.dtype;
        let (inputs, for_mlx) = inputs(terms, seed)?;

        // Both work at the same time; the f64 reference runs afterwards, so that it does not distort the times.
        self.torch.start_run(generation, &inputs, dtype).map_err(|error| stop(Side::Torch, error))?;
        let started = self.mlx.start_run(generation, &for_mlx, dtype).map_err(|error| stop(Side::Mlx, error));
        let torch = self.torch.finish_run().map_err(|error| stop(Side::Torch, error))?;
        let mlx = started.and_then(|()| self.mlx.finish_run().map_err(|error| stop(Side::Mlx, error)))?;
        self.torch.start_run(generation, &inputs, Dtype::Float64).map_err(|error| stop(Side::Torch, error))?;
        let arbiter = self.torch.finish_run().map_err(|error| stop(Side::Torch, error))?;
        if self.cancel.generation() != generation {
            return Err(Stop::Cancelled);
        }
        let mut outputs = Outputs { torch, mlx, arbiter };
        let mut trial = terms.judge(seed, &inputs, &outputs).map_err(Stop::Failed)?;
        if let Some(by_default) = self.by_default.as_mut().filter(|_| dtype == Dtype::Float32) {
            let ran = by_default.start_run(generation, &for_mlx, dtype).and_then(|()| by_default.finish_run());
            let judged = match ran.map_err(|error| stop(Side::Mlx, error)) {
                Ok(output) => {
                    outputs.mlx = output;
                    terms.judge(seed, &inputs, &outputs)
                }
                Err(Stop::Failed(reason)) => Err(reason),
                Err(other) => return Err(other),
            };
            trial.tf32 = Some(Box::new(match judged {
                Ok(Trial { verdict, apart, ms_mlx, .. }) => ByDefault { verdict, apart, ms_mlx, reason: None },
                Err(reason) => ByDefault { verdict: Verdict::Failed, apart: None, ms_mlx: 0.0, reason: Some(reason) },
            }));
        }
        Ok(trial)
    }
}

/// The inputs of a trial for both sides: drawn by the seed, or explicit ones, which MLX gets as they are.
fn inputs(terms: &Terms<'_>, seed: u64) -> Result<(Vec<TensorData>, Vec<TensorData>), Stop> {
    let (mut torch, mut mlx) = (Vec::new(), Vec::new());
    for (at, input) in terms.plan.inputs.iter().enumerate() {
        match terms.given.get(at).and_then(Option::as_ref) {
            Some(data) => {
                torch.push(data.clone());
                mlx.push(data.clone());
            }
            None => {
                let data = input.generate(seed, at, terms.dtype);
                mlx.push(mlx_input(&data, input).map_err(Stop::Failed)?);
                torch.push(data);
            }
        }
    }
    Ok((torch, mlx))
}

fn stop(side: Side, error: client::Error) -> Stop {
    match error {
        client::Error::Cancelled => Stop::Cancelled,
        client::Error::Down(reason) => Stop::Failed(sentence(&reason).into_owned()),
        client::Error::Refused(reason) => Stop::Failed(format!("{} says: {}", side.library(), sentence(&reason))),
    }
}
