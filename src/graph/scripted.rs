//! The graph of a TorchScript file: its code is gone through with torch beside it, which runs each op on the sample as it comes and
//! says what sizes there are.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::events::Stop;
use super::inputs::Inputs;
use super::plan::{self, Form};
use crate::script::{self, Given, World};
use t2m_checkpoint::graph::{Graph, Node, Origin, TensorMeta, ValueId};
use t2m_checkpoint::{Checkpoint, Dtype, TensorData};
use t2m_engine::Side;
use t2m_engine::client::{self, CancelToken, Client, Listener, Step};
use t2m_engine::graph::{Call, Outcome, Run};

/// Results that are held of a node at first. One that gives more is run again.
const FEW: usize = 8;

/// The graph of a TorchScript file on these inputs.
///
/// # Errors
/// The code does what no graph can, which is named with its place; or libtorch is missing, or gone.
pub fn graph(
    checkpoint: &Checkpoint,
    inputs: &Inputs,
    deadline: Duration,
    cancel: &CancelToken,
    listener: Listener,
) -> Result<Graph, Stop> {
    let mut torch = Torch {
        checkpoint,
        client: Client::new(Side::Torch, deadline, cancel.clone(), listener),
        generation: cancel.generation(),
        inputs: &inputs.tensors,
        held: HashMap::new(),
        next_key: 0,
        drops: Vec::new(),
        stopped: None,
    };
    let graph = script::graph(checkpoint, &inputs.arguments, &mut torch);
    match torch.stopped {
        Some(stop) => Err(stop),
        None => graph.map_err(|refused| Stop::Inputs(refused.to_string())),
    }
}

/// Torch, and what it holds.
struct Torch<'a> {
    checkpoint: &'a Checkpoint,
    client: Client,
    generation: u64,
    inputs: &'a [TensorData],
    held: HashMap<ValueId, (u64, Form)>,
    next_key: u64,
    drops: Vec<u64>,
    /// Why the engine no longer answers.
    stopped: Option<Stop>,
}

impl Torch<'_> {
    fn keys(&mut self, count: usize) -> Vec<u64> {
        let first = self.next_key + 1;
        self.next_key += count as u64;
        (first..=self.next_key).collect()
    }

    fn stop(&mut self, error: client::Error) -> String {
        let stop = Stop::from(error);
        let words = stop.to_string();
        self.stopped.get_or_insert(stop);
        words
    }

    /// Run a call once, and keep its results; gives them.
    fn step(&mut self, values: Vec<(u64, &TensorData)>, call: Call, run: Run) -> Result<Vec<Outcome>, String> {
        let step = Step { values, call, runs: vec![run], drops: std::mem::take(&mut self.drops) };
        let ran = match self.client.start_step(self.generation, &step).and_then(|()| self.client.finish_step()) {
            Ok(ran) => ran,
            Err(error) => return Err(self.stop(error)),
        };
        match ran.into_iter().next() {
            Some(ran) => ran.results,
            None => Err("libtorch gave nothing".to_owned()),
        }
    }

    /// Give torch a tensor that it is the first to need: one of the file's, or of the inputs.
    fn hold(&mut self, graph: &Graph, id: ValueId) -> Result<(), String> {
        let Some(input) = graph.inputs.iter().find(|input| input.value == id) else { return Ok(()) };
        let stored;
        let data = match &input.origin {
            Origin::State(name) => {
                let tensor = self.checkpoint.tensors.iter().position(|tensor| tensor.name == *name);
                let tensor = tensor.ok_or_else(|| format!("the file does not hold `{name}`"))?;
                stored = self.checkpoint.read(tensor).map_err(|error| error.to_string())?;
                &stored
            }
            _ => {
                let place = graph.user_inputs().position(|user| user == id);
                place.and_then(|place| self.inputs.get(place)).ok_or("an input is missing")?
            }
        };
        let [raw, key] = *self.keys(2) else { return Ok(()) };
        let run = Run { compute: Dtype::Float32, takes: vec![raw], gives: vec![key], returns: false };
        let outcomes = self.step(vec![(raw, data)], Call::Nothing, run)?;
        self.drops.push(raw);
        if let Some(Outcome::Tensor { header, .. }) = outcomes.into_iter().next() {
            self.held.insert(id, (key, Form::Tensor { dtype: header.dtype, shape: header.shape }));
        }
        Ok(())
    }
}

impl World for Torch<'_> {
    fn run(&mut self, graph: &Graph, node: &Node, first: ValueId) -> Result<Option<Vec<Given>>, String> {
        for id in node.arguments.iter().flat_map(|(_, argument)| argument.values()) {
            if !self.held.contains_key(&id) {
                self.hold(graph, id)?;
            }
        }
        let call =
            plan::torch(node, &|id| Some(self.held.get(&id)?.1.clone())).map_err(|refusal| refusal.to_string())?;
        let takes: Vec<u64> = call.takes.iter().filter_map(|id| Some(self.held.get(id)?.0)).collect();
        let mut room = FEW;
        let (keys, outcomes) = loop {
            let keys = self.keys(room);
            let run = Run { compute: Dtype::Float32, takes: takes.clone(), gives: keys.clone(), returns: false };
            let outcomes = self.step(Vec::new(), Call::Op(call.op.clone()), run)?;
            if outcomes.len() <= room {
                break (keys, outcomes);
            }
            room = outcomes.len();
            self.drops.extend(keys);
        };
        let mut given = Vec::with_capacity(outcomes.len());
        for (place, (outcome, key)) in outcomes.into_iter().zip(keys).enumerate() {
            given.push(match outcome {
                Outcome::Tensor { header, .. } => {
                    let sizes = header.shape.iter().map(|size| Some(*size as u64)).collect();
                    let meta = TensorMeta { dtype: header.dtype, sizes };
                    let id = ValueId(first.0.saturating_add(u32::try_from(place).unwrap_or(u32::MAX)));
                    self.held.insert(id, (key, Form::Tensor { dtype: header.dtype, shape: header.shape }));
                    Given::Tensor(meta)
                }
                Outcome::Number(number) => Given::Number(number),
                Outcome::Nothing => Given::Nothing,
            });
        }
        Ok(Some(given))
    }

    fn number(&mut self, graph: &Graph, value: ValueId) -> Result<Option<Json>, String> {
        if !self.held.contains_key(&value) {
            self.hold(graph, value)?;
        }
        let Some((key, _)) = self.held.get(&value) else { return Ok(None) };
        let run = Run { compute: Dtype::Float32, takes: vec![*key], gives: Vec::new(), returns: true };
        let outcomes = self.step(Vec::new(), Call::Nothing, run)?;
        let Some(Outcome::Tensor { data: Some(data), .. }) = outcomes.into_iter().next() else { return Ok(None) };
        let numbers = data.to_f64().unwrap_or_default();
        let [number] = numbers.as_slice() else {
            return Err(format!("a tensor of {} elements is no number", numbers.len()));
        };
        Ok(match data.dtype {
            Dtype::Bool => Some(Json::Bool(*number != 0.0)),
            dtype if dtype.is_floating() => serde_json::Number::from_f64(*number).map(Json::Number),
            _ => Some(Json::from(*number as i64)),
        })
    }

    fn release(&mut self, values: &[ValueId]) {
        for value in values {
            if let Some((key, _)) = self.held.remove(value) {
                self.drops.push(key);
            }
        }
    }
}
