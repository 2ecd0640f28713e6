//! Both engines through a graph in lockstep, node by node.
//!
//! Each node is run five times: by torch in float32 as the graph goes on, by torch in float64 likewise, by torch in float64 on
//! the float32 values, by MLX on torch's values (isolated) and by MLX on its own (accumulated). A value is dropped after its
//! last use, so that memory is what lives at one time.
//!
//! Torch runs the graph as it is, writes and views included, and says where each result lies in memory. MLX's programs never
//! write: where a node wrote, the values that lie in the same storage are made anew from what was written, by their places.

mod again;
mod ahead;
mod carried;
mod condition;
mod fetched;
mod halved;
mod judged;
mod lost;
mod watched;
mod writes;

pub(super) use fetched::first_tensor;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value as Json;

pub use super::events::{Event, NodeResult, NodeVerdict, OutputResult, Seen, Stop};
use super::fast;
use super::host::{self, Here};
use super::inputs;
use super::job::State;
use super::judge::Inherited;
use super::library;
use super::node::{Allowed, judge_node};
use super::picks::Sides;
use super::plan::{self, Form, MlxCall, Refusal, TorchCall, computed};
use super::rounding::Again;
use super::special::{self, Nan, Special};
use super::uses::last_uses;
use crate::compare::Verdict;
use crate::compare::tolerance::Bound;
use crate::registry::aten::{Table, functional};
use halved::widened;
use judged::Called;
use lost::Lost;
use t2m_checkpoint::graph::{Graph, Node, Origin, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{self, CancelToken, Client, Step};
use t2m_engine::device::arguments;
use t2m_engine::graph::{Call, Outcome, Place, Run};
use t2m_engine::{Device, EngineInfo, EngineState, Side};
pub use watched::Watched;

/// A value that lives in the engines.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub form: Form,
    pub keys: Keys,
    pub place: Option<Place>,
    pub special: Special,
    pub inherited: Inherited,
    /// Where its NaN come from, if it has some.
    pub nan: Option<Nan>,
    /// The half precision that it was rounded to.
    pub half: Option<Dtype>,
    /// Whether rounding explains how far MLX's own is from torch's.
    pub agrees: bool,
    /// Which start of MLX's program it was given to; a later one does not have it.
    pub start: usize,
}

impl Live {
    /// A value of which nothing is known yet but where it is.
    fn new(form: Form, keys: Keys) -> Live {
        Live {
            form,
            keys,
            place: None,
            special: Special::default(),
            inherited: Inherited::default(),
            nan: None,
            half: None,
            agrees: true,
            start: 0,
        }
    }

    /// Whether it is a tensor.
    pub fn is_tensor(&self) -> bool {
        matches!(self.form, Form::Tensor { .. })
    }

    /// Whether it is a tensor of numbers with a fraction.
    pub fn is_float(&self) -> bool {
        matches!(&self.form, Form::Tensor { dtype, .. } if dtype.is_floating())
    }
}

/// The numbers that the engines hold a value under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// Torch, float32.
    pub torch: u64,
    /// Torch, float64.
    pub exact: u64,
    /// MLX, torch's value.
    pub copy: u64,
    /// MLX, its own.
    pub own: u64,
}

/// Those of what no engine holds.
const NO_KEYS: Keys = Keys { torch: 0, exact: 0, copy: 0, own: 0 };

/// The values of a graph, or of one within it.
pub(super) type Values = HashMap<ValueId, Live>;

/// Both engines, and what they hold.
pub struct Lockstep<'a> {
    pub(super) state: &'a dyn State,
    pub(super) table: &'a Table,
    programs: plan::Programs,
    /// Nodes before this one are run by torch alone; from here on MLX goes on with torch's values.
    from: usize,
    /// The node whose call and inputs are kept, and these.
    watched: Option<Watched>,
    /// Inputs that are numbers.
    numbers: Vec<(ValueId, Json)>,
    seen: Option<Seen>,
    pub(super) torch: Client,
    pub(super) mlx: Client,
    pub(super) generation: u64,
    next_key: u64,
    /// Values that MLX is still to be given.
    pub(super) pending: Vec<(u64, TensorData)>,
    /// Values to be let go with the next step.
    pub(super) torch_drops: Vec<u64>,
    pub(super) mlx_drops: Vec<u64>,
    /// Values of the graph around the one that runs.
    outside: HashSet<u64>,
    /// Values that no node gave, and which node it was that did not.
    pub(super) lost: Lost,
    /// How often MLX's program was started again.
    starts: usize,
    /// How often it had been started when that was last looked at.
    known: usize,
    tell: &'a mut dyn FnMut(Event),
}

impl<'a> Lockstep<'a> {
    /// Engines that start when they are first needed.
    pub fn new(
        state: &'a dyn State,
        deadline: Duration,
        cancel: &CancelToken,
        listener: impl Fn(Side, EngineState) + Clone + Send + 'static,
        tell: &'a mut dyn FnMut(Event),
    ) -> Lockstep<'a> {
        let client = |side| Client::new(side, deadline, cancel.clone(), Box::new(listener.clone()));
        Lockstep {
            state,
            table: Table::built_in(),
            programs: plan::Programs::default(),
            from: 0,
            watched: None,
            numbers: Vec::new(),
            seen: None,
            torch: client(Side::Torch),
            mlx: client(Side::Mlx),
            generation: cancel.generation(),
            next_key: 0,
            pending: Vec::new(),
            torch_drops: Vec::new(),
            mlx_drops: Vec::new(),
            outside: HashSet::new(),
            lost: Lost::new(),
            starts: 0,
            known: 0,
            tell,
        }
    }

    /// Convert ops by these rows instead of the built-in ones.
    pub fn with_rows(self, table: &'a Table) -> Lockstep<'a> {
        Lockstep { table, ..self }
    }

    /// Let MLX compute there, by its own choice without a device; with TF32 where its GPU has that, if it is asked for.
    pub fn on_device(self, device: Option<Device>, tf32: bool) -> Lockstep<'a> {
        Lockstep { mlx: self.mlx.with_arguments(arguments(device, tf32)), ..self }
    }

    /// Begin at this node: those before it are run by torch alone, and nothing is told of them.
    pub fn from(self, node: usize) -> Lockstep<'a> {
        Lockstep { from: node, ..self }
    }

    /// Give these of the graph's inputs these numbers.
    pub fn with_numbers(self, numbers: &[(ValueId, Json)]) -> Lockstep<'a> {
        Lockstep { numbers: numbers.to_vec(), ..self }
    }

    /// Keep what this node is given; [`Lockstep::seen`] hands it out.
    pub fn watch(self, node: Option<Watched>) -> Lockstep<'a> {
        Lockstep { watched: node, ..self }
    }

    /// What the node that is watched was given, once it was run.
    pub fn seen(&mut self) -> Option<Seen> {
        self.seen.take()
    }

    /// Start both engines.
    ///
    /// # Errors
    /// One that cannot be started.
    pub fn start(&mut self) -> Result<[EngineInfo; 2], Stop> {
        // Side by side: libtorch takes a while.
        self.torch.begin();
        self.mlx.begin();
        Ok([self.torch.info()?, self.mlx.info()?])
    }

    /// Run the whole graph on these inputs, one for each that a caller gives.
    ///
    /// # Errors
    /// An engine that is gone, inputs that are too few, or a cancellation.
    pub fn run(&mut self, graph: &Graph, inputs: &[TensorData]) -> Result<(), Stop> {
        let mut values = Values::new();
        let wanted: Vec<ValueId> = graph.user_inputs().collect();
        if wanted.len() != inputs.len() {
            return Err(Stop::Inputs(format!("the graph takes {} inputs, not {}", wanted.len(), inputs.len())));
        }
        for (id, tensor) in wanted.iter().zip(inputs) {
            let mut live = self.hold(tensor)?;
            live.nan = Nan::held(tensor, live.special, &format!("the input `{}`", inputs::name_of(graph, *id)));
            values.insert(*id, live);
        }
        for (id, number) in std::mem::take(&mut self.numbers) {
            values.insert(id, Live::new(Form::Number(number), NO_KEYS));
        }
        self.nodes(graph, &mut values, None)?;
        let outputs = self.outputs(graph, &mut values)?;
        (self.tell)(Event::Outputs(outputs));
        Ok(())
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Give a tensor to both engines.
    pub(super) fn hold(&mut self, tensor: &TensorData) -> Result<Live, Stop> {
        let [raw, torch, exact, copy] = [self.key(), self.key(), self.key(), self.key()];
        // What is in float32 already need not come back.
        let returns = |compute| compute == Dtype::Float32 && tensor.dtype != Dtype::Float32;
        let run = |compute, key| Run { compute, takes: vec![raw], gives: vec![key], returns: returns(compute) };
        let step = Step {
            values: vec![(raw, tensor)],
            call: Call::Nothing,
            runs: vec![run(Dtype::Float32, torch), run(Dtype::Float64, exact)],
            drops: vec![raw],
        };
        self.torch.start_step(self.generation, &step)?;
        let mut ran = self.torch.finish_step()?.into_iter();
        let first =
            ran.next().map(|ran| ran.results).ok_or_else(|| Stop::Engine("libtorch gave nothing".to_owned()))?;
        let outcomes = first.map_err(Stop::Engine)?;
        let Some(Outcome::Tensor { header, place, data }) = outcomes.into_iter().next() else {
            return Err(Stop::Engine("libtorch gave no tensor".to_owned()));
        };
        let data = data.unwrap_or_else(|| tensor.clone());
        let special = Special::of(&data);
        self.pending.push((copy, data));
        let form = Form::Tensor { dtype: header.dtype, shape: header.shape };
        Ok(Live { place, special, start: self.starts, ..Live::new(form, Keys { torch, exact, copy, own: copy }) })
    }

    /// Load the parameters and buffers that a node is the first to need.
    fn state(&mut self, graph: &Graph, node: &Node, values: &mut Values) -> Result<Result<(), Refusal>, Stop> {
        for id in node.arguments.iter().flat_map(|(_, argument)| argument.values()) {
            if let Err(refusal) = self.load(graph, id, values)? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Load a parameter or a buffer, if the value is one and is not there.
    pub(super) fn load(
        &mut self,
        graph: &Graph,
        id: ValueId,
        values: &mut Values,
    ) -> Result<Result<(), Refusal>, Stop> {
        let input = graph.inputs.iter().find(|input| input.value == id);
        let Some(Origin::State(name)) = input.filter(|_| !values.contains_key(&id)).map(|input| &input.origin) else {
            return Ok(Ok(()));
        };
        let data = match self.state.read(name) {
            Ok(data) => data,
            Err(reason) => return Ok(Err(Refusal(reason))),
        };
        let mut live = self.hold(&data)?;
        live.nan = Nan::held(&data, live.special, &format!("the file's `{name}`"));
        values.insert(id, live);
        Ok(Ok(()))
    }

    /// Run the nodes of a graph; `within` is the index of the node that it belongs to.
    fn nodes(&mut self, graph: &Graph, values: &mut Values, within: Option<usize>) -> Result<(), Stop> {
        let last_uses = last_uses(graph);
        for (at, node) in graph.nodes.iter().enumerate() {
            let index = within.unwrap_or(at);
            self.ahead(graph, at, values)?;
            let loaded = self.state(graph, node, values)?;
            let result = match loaded {
                Ok(()) => self.node(graph, node, values, index)?,
                Err(refusal) => Some(NodeResult::refused(node, index, refusal)),
            };
            self.lose(node, index, result.as_ref(), values);
            if let Some(result) = result.filter(|_| index >= self.from) {
                (self.tell)(Event::Node(Box::new(result)));
            }
            for id in last_uses.get(&at).into_iter().flatten() {
                if let Some(gone) = values.remove(id) {
                    self.drop_value(gone.keys, values);
                }
            }
        }
        Ok(())
    }

    /// Let a value's numbers go that no other value has.
    fn drop_value(&mut self, keys: Keys, values: &Values) {
        let is_held = |key: u64| values.values().any(|live| [live.keys.torch, live.keys.exact].contains(&key));
        let gone = [keys.torch, keys.exact].into_iter().filter(|key| !is_held(*key) && !self.outside.contains(key));
        self.torch_drops.extend(gone);
        let is_held = |key: u64| values.values().any(|live| [live.keys.copy, live.keys.own].contains(&key));
        let mut drops = vec![keys.copy];
        if keys.own != keys.copy {
            drops.push(keys.own);
        }
        drops.retain(|key| !is_held(*key) && !self.outside.contains(key));
        // What was never sent need not be.
        self.pending.retain(|(key, _)| !drops.contains(key));
        self.mlx_drops.extend(drops);
    }

    /// Run one node. `None` for one that only checks.
    fn node(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &mut Values,
        index: usize,
    ) -> Result<Option<NodeResult>, Stop> {
        let forms = |id: ValueId| values.get(&id).map(|live| live.form.clone());
        match host::run(node, &forms) {
            Some(Here::Nothing) => return Ok(None),
            Some(Here::Number(number)) => {
                give_number(node, number, values);
                return Ok(None);
            }
            None => {}
        }
        if let Some(result) = self.wanting(node, index) {
            return Ok(Some(result));
        }
        if node.target == "higher_order.cond" {
            return self.condition(node, values, index);
        }
        if let Some((graph, given)) = library::written(node, &forms) {
            self.within(&graph, &given, node, values, index)?;
            return Ok(None);
        }
        let torch = match plan::torch(node, &forms) {
            Ok(torch) => torch,
            Err(refusal) => return Ok(Some(NodeResult::refused(node, index, refusal))),
        };
        let given = self.table.row(&node.target).and_then(|row| row.given).filter(|_| index >= self.from);
        if let Some(given) = given {
            return self.given(node, values, index, &torch, given).map(Some);
        }
        let mlx = match index < self.from {
            true => Err(Refusal("it is before the first node that MLX runs".to_owned())),
            false => plan::mlx_within(graph, node, &forms, self.table, &self.programs),
        };
        let is_metal = cfg!(target_os = "macos") && self.mlx.info().is_ok_and(|info| fast::is_metal(&info));
        let other = is_metal.then(|| fast::on_metal(node, &forms)).flatten();
        let mlx = mlx.map(|call| MlxCall { bound: other.unwrap_or(call.bound), ..call });
        if self.watched.as_ref().is_some_and(|watched| watched.is(index, node)) {
            self.seen = Some(self.look(node, values, &torch, &mlx)?);
        }
        self.both(graph, node, values, index, &torch, mlx).map(Some)
    }

    /// Both engines at one node.
    fn both(
        &mut self,
        graph: &Graph,
        node: &Node,
        values: &mut Values,
        index: usize,
        torch: &TorchCall,
        mlx: Result<MlxCall, Refusal>,
    ) -> Result<NodeResult, Stop> {
        let keys: Vec<Keys> = node.outputs.iter().map(|_| self.new_keys()).collect();
        let taken = |which: fn(&Keys) -> u64, takes: &[ValueId], values: &Values| -> Vec<u64> {
            takes.iter().filter_map(|id| values.get(id)).map(|live| which(&live.keys)).collect()
        };
        let exact_keys = taken(|keys| keys.exact, &torch.takes, values);
        let torch_keys = taken(|keys| keys.torch, &torch.takes, values);
        let isolated = mlx.is_ok();
        let mut runs = vec![];
        if isolated {
            let takes = torch_keys.clone();
            runs.push(Run { compute: Dtype::Float64, takes, gives: Vec::new(), returns: true });
        }
        let gives = |which: fn(&Keys) -> u64| keys.iter().map(which).collect::<Vec<u64>>();
        runs.push(Run { compute: Dtype::Float32, takes: torch_keys, gives: gives(|keys| keys.torch), returns: true });
        runs.push(Run { compute: Dtype::Float64, takes: exact_keys, gives: gives(|keys| keys.exact), returns: true });
        let step = Step {
            values: Vec::new(),
            call: Call::Op(torch.op.clone()),
            runs,
            drops: std::mem::take(&mut self.torch_drops),
        };
        let mut revived = None;
        if let Ok(call) = &mlx {
            revived = self.revive()?;
            self.give_again(&call.takes, values)?;
        }
        self.torch.start_step(self.generation, &step).map_err(|error| self.torch_gone(node, index, error))?;
        let (mut mlx_ran, mut crash) = (None, None);
        if let Ok(call) = &mlx {
            let started = self.start_mlx(node, graph, call, values, &keys);
            match started.and_then(|()| self.mlx.finish_step()) {
                Ok(ran) => mlx_ran = Some(ran),
                Err(error) => crash = Some(self.mlx_gone(error)?),
            }
        }
        let mut torch_ran = self.torch.finish_step().map_err(|error| self.torch_gone(node, index, error))?;
        let exact = torch_ran.pop();
        let Some(single) = torch_ran.pop() else { return Err(Stop::Engine("libtorch gave nothing".to_owned())) };
        let alone = torch_ran.pop();
        let mut result = NodeResult::blank(node, index);
        result.ms_torch = single.milliseconds;
        result.widened = widened(graph, node, values);
        result.ms_torch_f64 = exact.iter().chain(&alone).map(|ran| ran.milliseconds).sum();
        let (exact, alone) = (exact.map(|ran| ran.results), alone.map(|ran| ran.results));
        let exact = exact.unwrap_or_else(|| Err(String::new()));
        let outcomes = match single.results {
            Ok(outcomes) => outcomes,
            Err(words) => {
                if let Some(fault) = self.out_of_range(graph, node, index, values, &words)? {
                    return Err(Stop::Inputs(fault));
                }
                result.failed = Some(Side::Torch);
                (result.verdict, result.reason) = match mlx {
                    Err(refusal) => (NodeVerdict::Refused, Some(refusal.to_string())),
                    Ok(_) => (NodeVerdict::Compared(Verdict::Failed), Some(format!("libtorch: {words}"))),
                };
                return Ok(result);
            }
        };
        let mut mlx_ran = mlx_ran.into_iter().flatten();
        let (mlx_alone, mlx_own) = (mlx_ran.next(), mlx_ran.next());
        result.ms_mlx = mlx_own.as_ref().map_or(0.0, |ran| ran.milliseconds);
        result.ms_mlx_isolated = mlx_alone.as_ref().map_or(0.0, |ran| ran.milliseconds);
        let bound = mlx.as_ref().map_or(Bound::Pointwise, |call| call.bound);
        result.by_winograd = matches!(bound, Bound::Winograd(_));
        result.mlx = mlx.as_ref().ok().map(|call| {
            let (built, lines) = call.program.python();
            [built, lines].concat().join("\n")
        });
        let had = Special::any(torch.takes.iter().filter_map(|id| values.get(id)).map(|live| live.special));
        let exact = exact.unwrap_or_default();
        let own = mlx_own.map(|ran| ran.results);
        let alone_mlx = mlx_alone.map(|ran| ran.results);
        let takes = mlx.as_ref().map_or(&torch.takes, |call| &call.takes);
        let inherited = Inherited::all(takes.iter().filter_map(|id| values.get(id)).map(|live| live.inherited));
        self.keep(node, values, &keys, &outcomes, &own)?;
        let judge = |result: &mut NodeResult, bound, again: Option<&Again>, carried: &[f64]| {
            let (alone, alone_mlx, own) = (alone.as_ref(), alone_mlx.as_ref(), own.as_ref());
            judge_node(result, Allowed { bound, inherited, again, carried }, &outcomes, &exact, alone, alone_mlx, own)
        };
        self.judged(&mut result, Called { node, torch, exact: &exact }, values, bound, &judge)?;
        self.by_rounding(&mut result, node, values, &Sides { torch: &outcomes, alone: &alone_mlx, own: &own, bound })?;
        if let Err(refusal) = mlx {
            result.verdict = NodeVerdict::Refused;
            result.reason = Some(refusal.to_string());
        }
        if let Some(words) = crash {
            (result.verdict, result.reason) = (NodeVerdict::Compared(Verdict::Failed), Some(words));
        }
        if result.reason.is_none() {
            result.reason = revived;
        }
        special::mark(&mut result, node, had, &outcomes, &exact);
        self.trace_nan(&mut result, node, torch, values, &outcomes);
        self.halve(&mut result, graph, node, bound, values)?;
        if functional(&node.target).is_some() {
            self.written(node, values)?;
        }
        Ok(result)
    }

    pub(super) fn new_keys(&mut self) -> Keys {
        Keys { torch: self.key(), exact: self.key(), copy: self.key(), own: self.key() }
    }

    fn start_mlx(
        &mut self,
        node: &Node,
        graph: &Graph,
        call: &MlxCall,
        values: &Values,
        keys: &[Keys],
    ) -> Result<(), client::Error> {
        let pending = std::mem::take(&mut self.pending);
        let taken = |which: fn(&Keys) -> u64| -> Vec<u64> {
            call.takes.iter().filter_map(|id| values.get(id)).map(|live| which(&live.keys)).collect()
        };
        let dtypes = node.outputs.iter().map(|id| {
            let meta = graph.value((*id)?)?.tensor.as_ref()?;
            Some(computed(meta.dtype)).filter(|dtype| *dtype != Dtype::Unknown)
        });
        let run = |takes, gives| Run { compute: Dtype::Float32, takes, gives, returns: true };
        let step = Step {
            values: pending.iter().map(|(key, data)| (*key, data)).collect(),
            call: Call::Program { program: call.program.clone(), dtypes: dtypes.collect() },
            runs: vec![
                run(taken(|keys| keys.copy), Vec::new()),
                run(taken(|keys| keys.own), keys.iter().map(|keys| keys.own).collect()),
            ],
            drops: std::mem::take(&mut self.mlx_drops),
        };
        self.mlx.start_step(self.generation, &step)
    }

    /// Take up what a node gave.
    pub(super) fn keep(
        &mut self,
        node: &Node,
        values: &mut Values,
        keys: &[Keys],
        outcomes: &[Outcome],
        own: &Option<Result<Vec<Outcome>, String>>,
    ) -> Result<(), Stop> {
        let start = self.starts;
        for (at, (output, keys)) in node.outputs.iter().zip(keys).enumerate() {
            let Some(id) = output else { continue };
            match outcomes.get(at) {
                Some(Outcome::Tensor { header, place, data: Some(data) }) => {
                    let form = Form::Tensor { dtype: header.dtype, shape: header.shape.clone() };
                    let computed = matches!(own, Some(Ok(outcomes)) if outcomes.len() > at
                        && matches!(&outcomes[at], Outcome::Tensor { header: mlx, .. } if mlx.shape == header.shape));
                    let mut keys = *keys;
                    if !computed {
                        // What MLX does not compute goes on with torch's value.
                        keys.own = keys.copy;
                    }
                    self.pending.push((keys.copy, data.clone()));
                    let special = Special::of(data);
                    values.insert(*id, Live { place: place.clone(), special, start, ..Live::new(form, keys) });
                }
                Some(Outcome::Number(number)) => {
                    values.insert(*id, Live::new(Form::Number(number.clone()), *keys));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn give_number(node: &Node, number: Json, values: &mut Values) {
    if let Some(Some(id)) = node.outputs.first() {
        values.insert(*id, Live::new(Form::Number(number), NO_KEYS));
    }
}
