//! What a run of a graph comes to: sums, the first divergence, the exit code.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::run::{Event, NodeResult, NodeVerdict, OutputResult};
use crate::compare::Verdict;
use crate::exit::Exit;
use crate::figures::error;
use t2m_checkpoint::escape::sentence;
use t2m_engine::Side;

/// The results of a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// In the order they ran.
    pub nodes: Vec<NodeResult>,
    /// What the caller gets, once the end was reached.
    pub outputs: Option<Vec<OutputResult>>,
}

/// Nodes of one module, or of it and those below it, as a run told of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that it told of.
    pub nodes: u32,
    /// Results: one for each node, and for each of those in a condition's branch.
    pub told: u32,
    /// Of these, those that are right alone.
    pub right: u32,
    /// Of these, those that both engines computed, and that were compared.
    pub compared: u32,
    /// Of these, those that MLX did not run, or that gave nothing to compare.
    pub refused: u32,
}

/// What a run says of a module whose nodes were all run: it was measured in the graph, on the values that it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InGraph {
    /// Every node is right alone.
    Agrees,
    /// One at least is wrong or failed.
    Parts,
}

impl Tally {
    /// Count a result; `is_new` for the first of a node.
    pub fn add(&mut self, verdict: NodeVerdict, is_new: bool) {
        self.nodes += u32::from(is_new);
        self.told += 1;
        self.right += u32::from(!verdict.is_bad() && !verdict.is_mute());
        self.compared += u32::from(!matches!(verdict, NodeVerdict::Given | NodeVerdict::Refused) && !verdict.is_mute());
        self.refused += u32::from(verdict == NodeVerdict::Refused || verdict.is_mute());
    }

    /// What is said of a module of so many nodes. `None` where not all were run in both engines, or nothing was compared.
    pub fn in_graph(&self, nodes: u32) -> Option<InGraph> {
        if self.nodes < nodes || self.compared == 0 || self.refused > 0 {
            return None;
        }
        Some(if self.right == self.told { InGraph::Agrees } else { InGraph::Parts })
    }
}

/// Milliseconds of a run by what was computed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Computed {
    /// Torch, float32.
    pub torch: f64,
    /// Torch, float64, both runs.
    pub torch_f64: f64,
    /// MLX, its own values.
    pub mlx: f64,
    /// MLX, torch's values.
    pub mlx_isolated: f64,
}

impl Computed {
    /// Both engines.
    pub fn total(&self) -> f64 {
        self.torch + self.torch_f64 + self.mlx + self.mlx_isolated
    }
}

impl Results {
    /// Take an event up; returns the node that it is about.
    pub fn apply(&mut self, event: Event) -> Option<&NodeResult> {
        match event {
            Event::Node(node) => {
                self.nodes.push(*node);
                self.nodes.last()
            }
            Event::Outputs(outputs) => {
                self.outputs = Some(outputs);
                None
            }
            Event::Engine(..) => None,
        }
    }

    /// The first node whose own result is wrong, or with which what has come together is no longer explained by rounding.
    pub fn first_divergence(&self) -> Option<&NodeResult> {
        self.nodes.iter().find(|node| diverges(node))
    }

    /// How many nodes have each verdict, in the verdicts' order.
    pub fn verdicts(&self) -> BTreeMap<NodeVerdict, usize> {
        let mut counts = BTreeMap::new();
        for node in &self.nodes {
            *counts.entry(node.verdict).or_default() += 1;
        }
        counts
    }

    /// Ops that were refused, by name, and how often.
    pub fn refused(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.verdict == NodeVerdict::Refused) {
            *counts.entry(node.target.as_str()).or_default() += 1;
        }
        counts
    }

    /// Why nodes gave nothing to compare, and how many there are of each.
    pub fn mute(&self) -> IndexMap<&str, usize> {
        let mut counts = IndexMap::new();
        for node in self.nodes.iter().filter(|node| node.verdict.is_mute()) {
            *counts.entry(node.reason.as_deref().unwrap_or_default()).or_default() += 1;
        }
        counts
    }

    /// Nodes that both engines ran.
    pub fn run(&self) -> usize {
        let ran = |node: &&NodeResult| {
            !matches!(node.verdict, NodeVerdict::Given | NodeVerdict::Refused) && !node.verdict.is_mute()
        };
        self.nodes.iter().filter(ran).count()
    }

    /// Fine if every node ran and every output agrees; not where nothing was run, which shows nothing.
    pub fn exit(&self) -> Exit {
        let outputs = self.outputs.as_ref();
        let agree = |output: &OutputResult| output.measured.as_ref().is_ok_and(|measured| measured.verdict.passes());
        let all_agree = outputs.is_some_and(|outputs| outputs.iter().all(agree));
        Exit::of(all_agree && self.run() > 0 && !self.nodes.iter().any(|node| node.verdict.is_bad()))
    }

    /// Of the modules with nodes in their own forward, those that were measured in the graph and agree, and all. Only a run that came
    /// to its end says so.
    pub fn modules(&self) -> Option<(usize, usize)> {
        self.outputs.as_ref()?;
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for node in &self.nodes {
            tallies.entry(&node.module).or_default().add(node.verdict, true);
        }
        let agree = tallies.values().filter(|tally| tally.in_graph(tally.nodes) == Some(InGraph::Agrees)).count();
        Some((agree, tallies.len()))
    }

    /// Milliseconds that both engines computed, in all of a node's runs.
    pub fn computed(&self) -> Computed {
        self.nodes.iter().fold(Computed::default(), |all, node| Computed {
            torch: all.torch + node.ms_torch,
            torch_f64: all.torch_f64 + node.ms_torch_f64,
            mlx: all.mlx + node.ms_mlx,
            mlx_isolated: all.mlx_isolated + node.ms_mlx_isolated,
        })
    }

    /// The worst verdict of what has come together.
    pub fn worst_accumulated(&self) -> Option<Verdict> {
        self.nodes.iter().filter_map(|node| node.accumulated.as_ref()).map(|measured| measured.verdict).max()
    }
}

/// Whether torch and MLX part at a node.
pub fn diverges(node: &NodeResult) -> bool {
    let together = node.accumulated.as_ref().is_some_and(|measured| measured.verdict.is_bad());
    together || matches!(node.verdict, NodeVerdict::Compared(verdict) if verdict.is_bad())
}

/// Whose fault it is that torch and MLX part at a node, in words.
pub fn blame(node: &NodeResult) -> String {
    let alone = matches!(node.verdict, NodeVerdict::Compared(verdict) if verdict.is_bad());
    match (&node.reason, alone, &node.isolated, &node.accumulated) {
        (Some(reason), true, ..) if node.failed == Some(Side::Torch) => {
            format!(
                "torch itself does not run this node on these inputs, which says nothing of its conversion: {}",
                sentence(reason)
            )
        }
        (Some(reason), true, ..) => format!("it is this node's own: {}", sentence(reason)),
        (_, true, Some(isolated), _) => {
            let nearer = if isolated.torch_vs_f64 <= isolated.mlx_vs_f64 { "libtorch" } else { "MLX" };
            format!(
                "it is this node's own: both had torch's values and are {} apart; {nearer} is nearer to float64",
                error(isolated.max_abs)
            )
        }
        (.., Some(together)) => format!(
            "alone it is right; what has come together up to it is {} apart, {} is what rounding explains",
            error(together.max_abs),
            error(together.tolerance)
        ),
        _ => "it was not compared".to_owned(),
    }
}
