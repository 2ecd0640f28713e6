//! Both engines: a plan loaded into them, and one trial of it.

use std::time::Duration;

use crate::compare::Trial;
use crate::plan::Plan;
use t2m_checkpoint::escape::sentence;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{self, CancelToken, Client};
use t2m_engine::{EngineState, Side};

use super::judge::{Outputs, Terms};
use super::tensors::{Weights, mlx_input};

/// The engines of a thread that runs plans.
pub(super) struct Pair {
    torch: Client,
    mlx: Client,
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
        Pair { torch: client(Side::Torch), mlx: client(Side::Mlx), cancel: cancel.clone() }
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
        terms.judge(seed, &inputs, &Outputs { torch, mlx, arbiter }).map_err(Stop::Failed)
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
