//! What a run of a graph tells: what each node gave, what the caller gets, and why it ended early.

use serde_json::Value as Json;

use super::judge::Measured;
use super::plan::{MlxCall, Refusal, TorchCall};
use crate::compare::Verdict;
use indexmap::IndexMap;
use t2m_checkpoint::escape::sentence;
use t2m_checkpoint::graph::{Node, ValueId};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client;
use t2m_engine::{EngineState, Side};

/// What a node gave.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeResult {
    /// Its place in the graph's order; nodes within a condition's branch have the condition's.
    pub index: usize,
    /// Name and op, as the graph has them.
    pub name: String,
    /// `aten.conv2d.default`
    pub target: String,
    /// Path of its module.
    pub module: String,
    /// Python file and line.
    pub place: Option<(String, usize)>,
    /// What was found.
    pub verdict: NodeVerdict,
    /// Why, where the numbers do not say it.
    pub reason: Option<String>,
    /// Both engines on torch's values.
    pub isolated: Option<Measured>,
    /// MLX on its own values.
    pub accumulated: Option<Measured>,
    /// Milliseconds of torch in float32.
    pub ms_torch: f64,
    /// Milliseconds of MLX on its own values.
    pub ms_mlx: f64,
    /// Milliseconds of torch in float64: as the graph goes on, and on the float32 values.
    pub ms_torch_f64: f64,
    /// Milliseconds of MLX on torch's values.
    pub ms_mlx_isolated: f64,
    /// What MLX ran, as Python.
    pub mlx: Option<String>,
    /// The half precision that the graph has its result in; both engines computed it in float32, and rounded it to that for what follows.
    pub widened: Option<Dtype>,
    /// Whether MLX computed it by Winograd's algorithm, which has a tolerance of its own.
    pub by_winograd: bool,
    /// Which engine could not run it.
    pub failed: Option<Side>,
}

impl NodeResult {
    /// A result without anything found yet.
    pub(super) fn blank(node: &Node, index: usize) -> NodeResult {
        NodeResult {
            index,
            name: node.name.clone(),
            target: node.target.clone(),
            module: node.module.to_string(),
            place: node.place.as_ref().map(|(file, line)| (file.to_string(), *line)),
            verdict: NodeVerdict::Given,
            reason: None,
            isolated: None,
            accumulated: None,
            ms_torch: 0.0,
            ms_mlx: 0.0,
            ms_torch_f64: 0.0,
            ms_mlx_isolated: 0.0,
            mlx: None,
            widened: None,
            by_winograd: false,
            failed: None,
        }
    }

    /// A node that is not run.
    pub(super) fn refused(node: &Node, index: usize, refusal: Refusal) -> NodeResult {
        NodeResult { verdict: NodeVerdict::Refused, reason: Some(refusal.0), ..NodeResult::blank(node, index) }
    }
}

/// What was found of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeVerdict {
    /// It was compared, alone.
    Compared(Verdict),
    /// Its numbers are made here: both engines get the same.
    Given,
    /// Torch made a NaN of values that had none.
    NotANumber,
    /// Torch made an infinity of values that had none.
    Infinite {
        /// Float32 cannot hold what float64 can; otherwise the numbers themselves are infinite, as the logarithm of 0 is.
        overflow: bool,
    },
    /// No row converts it, or its row refuses this call.
    Refused,
}

impl NodeVerdict {
    /// The word in JSON and on screen.
    pub fn name(self) -> &'static str {
        match self {
            NodeVerdict::Compared(verdict) => verdict.name(),
            NodeVerdict::Given => "given",
            NodeVerdict::NotANumber => "nan",
            NodeVerdict::Infinite { .. } => "inf",
            NodeVerdict::Refused => "refused",
        }
    }

    /// Whether nothing of it was compared, as there is nothing to compare.
    pub fn is_mute(self) -> bool {
        self == NodeVerdict::Compared(Verdict::NotRun)
    }

    /// Whether it says that something is wrong.
    pub fn is_bad(self) -> bool {
        matches!(self, NodeVerdict::Compared(verdict) if verdict.is_bad())
            || matches!(self, NodeVerdict::NotANumber | NodeVerdict::Infinite { overflow: true } | NodeVerdict::Refused)
    }
}

/// An output of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputResult {
    /// Its name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes.
    pub shape: Vec<usize>,
    /// What it is where it is no tensor: a number, a truth value, None. Both engines are given the same.
    pub value: Option<Json>,
    /// MLX on its own values all the way, or why nothing was compared.
    pub measured: Result<Measured, String>,
}

/// What a node was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The node.
    pub node: Node,
    /// What torch was asked for.
    pub torch: TorchCall,
    /// What MLX was asked for, or why it was not.
    pub mlx: Result<MlxCall, Refusal>,
    /// Torch's values of what both take, in float32 where they are of floating point.
    pub tensors: IndexMap<ValueId, TensorData>,
}

/// What happens while a graph is run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An engine's state.
    Engine(Side, EngineState),
    /// A node was run.
    Node(Box<NodeResult>),
    /// The end was reached.
    Outputs(Vec<OutputResult>),
}

/// Why a run ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// An engine is not there, or died and could not go on.
    #[error("{0}")]
    Engine(String),
    /// The inputs do not fit.
    #[error("{0}")]
    Inputs(String),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl From<client::Error> for Stop {
    fn from(error: client::Error) -> Stop {
        match error {
            client::Error::Cancelled => Stop::Cancelled,
            other => Stop::Engine(sentence(&other.to_string()).into_owned()),
        }
    }
}
