//! The key map: which MLX tensors a checkpoint becomes, and what each is made of. Nothing is read but names and shapes.
//!
//! Names are those that `mlx.nn` gives: lists by index, the children of an `nn.Sequential` under its `layers`, the
//! attributes of a plan's layer below the module's path.

mod build;
mod family;
pub mod key_map;
mod known;
mod moves;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::model::ModuleId;
use crate::plan::Move;
use t2m_checkpoint::{Dtype, TensorId};

pub use build::{Error, map};
pub use known::known_share;

/// What a checkpoint's tensors become.
#[derive(Debug, Clone, Default)]
pub struct StateDict {
    /// MLX's tensors, in the order of the modules.
    pub entries: Vec<Entry>,
    /// Torch's tensors that become none of their own.
    pub left: Vec<Left>,
}

/// Torch tensors that one of MLX's is made of; one or two, nearly always.
pub type Sources = SmallVec<[TensorId; 2]>;
/// A shape; most have up to four axes.
pub type Shape = SmallVec<[usize; 4]>;

/// One MLX tensor.
#[derive(Debug, Clone)]
pub struct Entry {
    /// MLX's name.
    pub name: CompactString,
    /// The module whose plan moves it.
    pub module: ModuleId,
    /// How it is made; names in it are relative to the module. Modules that are alike share it.
    pub step: Arc<Move>,
    /// What it is made of, in the order of the move.
    pub from: Sources,
    /// The shape that comes out.
    pub shape: Shape,
    /// Type of the sources.
    pub dtype: Dtype,
    /// How the move is known.
    pub known: Known,
}

/// How a move is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// By the plan that verify runs.
    Plan,
    /// By the module's class alone: a hyper-parameter that the layout does not depend on is missing, or several classes
    /// with the same layout fit. Or it has one axis, which lies in one order whatever uses it.
    Layout,
    /// Not at all: copied under its name, for this reason.
    Copied(Arc<Doubt>),
}

/// Why it is not known how a tensor moves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// Its module has a forward that has to be ported, and nothing else says how it is used.
    Own,
    /// No module of the model has it.
    NoModule,
    /// MLX's layer has no tensor for it.
    NoTensor,
    /// Several classes fit, here by their short names, that lay their weights out differently.
    Between(Vec<String>),
    /// It is a norm's weight, and nothing says whether the norm adds one to it.
    Added,
    /// It is packed, scaled, or an adapter's: which, and what MLX wants.
    Packed(String),
    /// Something else is missing, in words.
    Other(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Own => f.write_str("only the forward that has to be ported says how it is used"),
            Doubt::NoModule => f.write_str("no module of the model has it"),
            Doubt::NoTensor => f.write_str("its MLX layer has no tensor for it"),
            Doubt::Between(classes) => write!(
                f,
                "names and shapes allow {}, which lay their weights out differently: --source or --registry can say",
                classes.join(" or ")
            ),
            Doubt::Added => f.write_str(
                "names and shapes do not say whether this norm adds 1 to its weight, as Gemma's, Qwen3-Next's and others do: \
                 the model's config.json beside the weights or --source can say",
            ),
            Doubt::Packed(words) | Doubt::Other(words) => f.write_str(words),
        }
    }
}

/// A torch tensor that becomes no MLX tensor of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Torch's name.
    pub name: String,
    /// Which.
    pub tensor: TensorId,
    /// Why.
    pub why: Why,
}

/// Why a tensor becomes none of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// MLX's layer keeps nothing like it.
    Dropped,
    /// It is the same tensor as the one that is written under this MLX name.
    Tied(String),
    /// It was asked to be left out.
    Skipped,
}

impl StateDict {
    /// Entries by the rule that moved them, in words: `conv2d`, `split + identity`.
    pub fn rules(&self) -> BTreeMap<String, usize> {
        let mut rules = BTreeMap::new();
        // Entries of one move share it: its words are asked for once.
        let mut known: HashMap<*const Move, usize> = HashMap::new();
        for entry in &self.entries {
            *known.entry(Arc::as_ptr(&entry.step)).or_default() += 1;
        }
        for entry in &self.entries {
            if let Some(count) = known.remove(&Arc::as_ptr(&entry.step)) {
                *rules.entry(entry.rule()).or_default() += count;
            }
        }
        rules
    }

    /// What is copied under its name, and why.
    pub fn copied(&self) -> impl Iterator<Item = (&Entry, &Doubt)> {
        self.entries.iter().filter_map(|entry| match &entry.known {
            Known::Copied(doubt) => Some((entry, &**doubt)),
            _ => None,
        })
    }

    /// Tensors that are written once and have another name in torch: that name, and MLX's of the one that is written.
    pub fn tied(&self) -> impl Iterator<Item = (&Left, &str)> {
        self.left.iter().filter_map(|left| match &left.why {
            Why::Tied(name) => Some((left, name.as_str())),
            _ => None,
        })
    }
}

impl Entry {
    /// Between which classes its layout is in doubt; `None` where it is not.
    pub fn layout_doubt(&self) -> Option<&Doubt> {
        match &self.known {
            Known::Copied(doubt) if matches!(**doubt, Doubt::Between(_)) => Some(doubt),
            _ => None,
        }
    }

    /// Its rule by the registry's names: the fold, and the layout where it does something.
    pub fn rule(&self) -> String {
        match (self.step.fold.rule(), self.step.rule.name.as_str()) {
            (None, layout) => layout.to_owned(),
            (Some(fold), "identity") => fold.to_owned(),
            (Some(fold), layout) => format!("{fold} + {layout}"),
        }
    }

    /// How many elements it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
