//! What a run of the graph has given so far, with sums that would be too slow to compute for every frame.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::levels::Levels;
use super::nodes::Nodes;
use crate::architecture::spec::InputSpec;
use crate::compare::Verdict;
use crate::graph::inputs::Given;
use crate::graph::judge::Measured;
use crate::graph::results::{InGraph, Tally, diverges};
use crate::graph::run::{Event, NodeResult, NodeVerdict, OutputResult, Stop};
use crate::graph::runner::{Report, Request};
use crate::model::{Model, ModuleId};
use t2m_engine::{Device, EngineState, Side};

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Progress {
    /// None was asked for.
    #[default]
    None,
    /// It runs.
    Running,
    /// It came to the graph's end.
    Done,
    /// It ended before, and why.
    Stopped(Stop),
}

/// Which of a node's two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Both engines on torch's values.
    Isolated,
    /// MLX on its own values.
    Accumulated,
}

/// The nodes of a module and of those below it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// Its nodes, counted.
    pub nodes: Tally,
    /// The worst of what was found of them alone.
    pub worst: Option<NodeVerdict>,
    /// The worst of what has come together.
    pub accumulated: Option<Verdict>,
}

/// Results by node.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    /// How far it is.
    pub progress: Progress,
    /// The node that it began at.
    pub from: usize,
    /// What the user typed of the inputs.
    pub specs: Vec<InputSpec>,
    /// What the graph was given.
    pub given: Vec<Given>,
    /// What the caller would get.
    pub outputs: Option<Vec<OutputResult>>,
    /// The same of the run before, where this one goes on from a node.
    before: Vec<OutputResult>,
    /// libtorch, once something was heard of it.
    pub torch: Option<EngineState>,
    /// The same of MLX.
    pub mlx: Option<EngineState>,
    /// Tells the reports of this run from those of others.
    number: u64,
    /// The node that was told of last.
    pub last: Option<usize>,
    model: Arc<Model>,
    nodes: Arc<Nodes>,
    /// By a node's index; a condition has one for each node of its branch.
    results: Vec<Vec<NodeResult>>,
    counts: BTreeMap<NodeVerdict, usize>,
    bad: BTreeSet<usize>,
    diverging: BTreeSet<usize>,
    worst: Option<usize>,
    sums: Vec<Sum>,
    agreeing: BTreeSet<ModuleId>,
    isolated: Levels,
    accumulated: Levels,
}

impl Ran {
    /// Nothing yet.
    pub fn new(model: Arc<Model>, nodes: Arc<Nodes>) -> Ran {
        let (count, modules) = (nodes.length, model.modules.len());
        Ran {
            model,
            nodes,
            before: Vec::new(),
            results: vec![Vec::new(); count],
            sums: vec![Sum::default(); modules],
            isolated: Levels::new(count),
            accumulated: Levels::new(count),
            ..Ran::default()
        }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.progress == Progress::Running
    }

    /// Nodes that a run has yet to come to, and how many it goes through.
    pub fn left(&self) -> (u64, u64) {
        let all = self.nodes.length.saturating_sub(self.from);
        let done = self.last.map_or(0, |last| (last + 1).saturating_sub(self.from));
        (all.saturating_sub(done) as u64, all as u64)
    }

    /// Whether anything was found.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// A run from this node on, or from the first that was not reached: what was found of those before it stays. Returns what is to
    /// be asked for.
    pub fn begin(&mut self, from: usize, seed: u64, device: Option<Device>) -> Request {
        let mut kept = std::mem::take(&mut self.results);
        let outputs = self.outputs.take().unwrap_or_default();
        let number = self.number + 1;
        let before = Ran::new(Arc::clone(&self.model), Arc::clone(&self.nodes));
        let specs = std::mem::take(&mut self.specs);
        *self = Ran { progress: Progress::Running, from, number, specs, before: outputs, ..before };
        kept.truncate(from);
        kept.into_iter().flatten().for_each(|result| self.add(result));
        Request { number, from, seed, specs: self.specs.clone(), device }
    }

    /// Take a report up. Of a run that was given up nothing is heard.
    pub fn hear(&mut self, number: u64, report: Report) {
        if !self.is_of(number) {
            return;
        }
        match report {
            Report::Started(given) => self.given = given,
            // The view takes it up.
            Report::Graph(_) => {}
            Report::Event(Event::Engine(Side::Torch, state)) => self.torch = Some(state),
            Report::Event(Event::Engine(Side::Mlx, state)) => self.mlx = Some(state),
            Report::Event(Event::Node(result)) => self.add(*result),
            Report::Event(Event::Outputs(outputs)) => {
                // Those of nodes before the one that it went on from stay what they were.
                let known = |new: &OutputResult| {
                    let before = self.before.iter().find(|old| old.name == new.name);
                    before.filter(|_| self.from > 0 && new.measured.is_err()).cloned()
                };
                let outputs = outputs.into_iter().map(|new| known(&new).unwrap_or(new)).collect();
                self.outputs = Some(outputs);
            }
            Report::Ended(Ok(())) => self.progress = Progress::Done,
            Report::Ended(Err(stop)) => self.progress = Progress::Stopped(stop),
        }
    }

    /// Whether this is the number of the run that goes on.
    pub fn is_of(&self, number: u64) -> bool {
        number == self.number && self.is_running()
    }

    /// The code became a graph of these nodes; what was found of others is of no use.
    pub fn renew(&mut self, nodes: Arc<Nodes>) {
        let before = std::mem::replace(self, Ran::new(Arc::clone(&self.model), nodes));
        let Ran { progress, from, specs, given, torch, mlx, number, .. } = before;
        let new = std::mem::take(self);
        *self = Ran { progress, from, specs, given, torch, mlx, number, ..new };
    }

    /// It is given up.
    pub fn stop(&mut self) {
        self.progress = Progress::Stopped(Stop::Cancelled);
    }

    fn add(&mut self, result: NodeResult) {
        let index = result.index;
        let Some(slot) = self.results.get_mut(index) else { return };
        self.last = Some(index);
        *self.counts.entry(result.verdict).or_default() += 1;
        if result.verdict.is_bad() {
            self.bad.insert(index);
        }
        if diverges(&result) {
            self.diverging.insert(index);
        }
        let module = self.nodes.row_of(index).and_then(|row| self.nodes.get(row)).map(|row| row.module);
        let (verdict, accumulated) = (result.verdict, result.accumulated.as_ref().map(|one| one.verdict));
        let is_new = slot.is_empty();
        slot.push(result);
        self.sum(module, verdict, accumulated, is_new);
        for which in [Which::Isolated, Which::Accumulated] {
            if self.measured(index, which).is_none() {
                continue;
            }
            let mut levels = std::mem::take(self.levels_mut(which));
            levels.note(index, |a, b| self.excess(a as usize, which) > self.excess(b as usize, which));
            *self.levels_mut(which) = levels;
        }
        let excess = |at: usize| (self.bad.contains(&at), self.excess(at, Which::Isolated));
        if self.measured(index, Which::Isolated).is_some()
            && self.worst.is_none_or(|worst| excess(index) > excess(worst))
        {
            self.worst = Some(index);
        }
    }

    fn levels_mut(&mut self, which: Which) -> &mut Levels {
        match which {
            Which::Isolated => &mut self.isolated,
            Which::Accumulated => &mut self.accumulated,
        }
    }

    fn sum(&mut self, module: Option<ModuleId>, verdict: NodeVerdict, accumulated: Option<Verdict>, is_new: bool) {
        let mut at = module;
        while let Some(id) = at {
            if let Some(sum) = self.sums.get_mut(id) {
                sum.nodes.add(verdict, is_new);
                let found = sum.nodes.in_graph(self.nodes.below(id));
                if found == Some(InGraph::Agrees) {
                    self.agreeing.insert(id);
                } else {
                    self.agreeing.remove(&id);
                }
                sum.worst = sum.worst.into_iter().chain([verdict]).max_by_key(|verdict| badness(*verdict));
                sum.accumulated = sum.accumulated.max(accumulated);
            }
            at = self.model.modules.get(id).and_then(|module| module.parent).filter(|parent| *parent < id);
        }
    }

    /// How many times its tolerance a node's error is.
    fn excess(&self, index: usize, which: Which) -> f64 {
        let of = |measured: &Measured| match (measured.max_abs, measured.tolerance) {
            (error, _) if error.is_nan() => f64::INFINITY,
            (0.0, _) => 0.0,
            (error, tolerance) => error / tolerance,
        };
        self.measured(index, which).map_or(-1.0, of)
    }

    /// What was found of a node: several of a condition.
    pub fn of(&self, index: usize) -> &[NodeResult] {
        self.results.get(index).map_or(&[], Vec::as_slice)
    }

    /// The worst that was found of a node alone.
    pub fn verdict(&self, index: usize) -> Option<NodeVerdict> {
        self.of(index).iter().map(|result| result.verdict).max_by_key(|verdict| badness(*verdict))
    }

    /// The worst numbers of a node.
    pub fn measured(&self, index: usize, which: Which) -> Option<&Measured> {
        let own = |result: &'_ NodeResult| match which {
            Which::Isolated => result.isolated.as_ref().map(|one| (one.verdict, one.max_abs)),
            Which::Accumulated => result.accumulated.as_ref().map(|one| (one.verdict, one.max_abs)),
        };
        let worst = self.of(index).iter().filter(|result| own(result).is_some()).reduce(|a, b| {
            let worse = own(b).partial_cmp(&own(a)).is_some_and(std::cmp::Ordering::is_gt);
            if worse { b } else { a }
        })?;
        match which {
            Which::Isolated => worst.isolated.as_ref(),
            Which::Accumulated => worst.accumulated.as_ref(),
        }
    }

    /// How many nodes have each verdict, in the verdicts' order.
    pub fn counts(&self) -> impl Iterator<Item = (NodeVerdict, usize)> {
        self.counts.iter().map(|(verdict, count)| (*verdict, *count))
    }

    /// Nodes of a module and below it.
    pub fn sum_of(&self, id: ModuleId) -> Sum {
        self.sums.get(id).copied().unwrap_or_default()
    }

    /// What the run says of a module as a whole, once all its nodes ran.
    pub fn in_graph(&self, id: ModuleId) -> Option<InGraph> {
        self.sum_of(id).nodes.in_graph(self.nodes.below(id)).filter(|_| self.nodes.below(id) > 0)
    }

    /// Modules all whose nodes ran and are right alone.
    pub fn agreeing(&self) -> &BTreeSet<ModuleId> {
        &self.agreeing
    }

    /// The first node whose own result is wrong, or with which what has come together is no longer explained by rounding.
    pub fn first_divergence(&self) -> Option<usize> {
        self.diverging.first().copied()
    }

    /// The node whose own error is the largest against its tolerance.
    pub fn worst(&self) -> Option<usize> {
        self.worst
    }

    /// Nodes that are wrong by themselves, were refused, or made a NaN.
    pub fn failures(&self) -> usize {
        self.bad.len()
    }

    /// The failure behind (or before) a node, going round at the end. The first divergence is among them.
    pub fn failure_from(&self, index: Option<usize>, forward: bool) -> Option<usize> {
        let stops = || self.bad.iter().copied().chain(self.first_divergence().filter(|at| !self.bad.contains(at)));
        let (first, last) = (stops().min(), stops().max());
        match (index, forward) {
            (Some(here), true) => stops().filter(|at| *at > here).min().or(first),
            (Some(here), false) => stops().filter(|at| *at < here).max().or(last),
            (None, true) => first,
            (None, false) => last,
        }
    }

    /// The worst node of each stretch of the graph, and how many nodes one has.
    pub fn stretches(&self, which: Which, columns: usize) -> (&[Option<u32>], usize) {
        match which {
            Which::Isolated => self.isolated.stretches(columns),
            Which::Accumulated => self.accumulated.stretches(columns),
        }
    }
}

/// How bad a verdict is, to find the worst of several.
fn badness(verdict: NodeVerdict) -> u8 {
    match verdict {
        NodeVerdict::Given | NodeVerdict::Compared(Verdict::NotRun) => 0,
        NodeVerdict::Compared(Verdict::Exact) => 1,
        NodeVerdict::Compared(Verdict::Ok) => 2,
        NodeVerdict::Infinite { overflow: false } => 2,
        NodeVerdict::Refused => 3,
        NodeVerdict::Compared(Verdict::Drift) => 4,
        NodeVerdict::NotANumber | NodeVerdict::Infinite { overflow: true } => 5,
        NodeVerdict::Compared(Verdict::Broken) => 6,
        NodeVerdict::Compared(Verdict::Failed) => 7,
    }
}
