//! From a torch module to its MLX twin: which layer, with which arguments, and how each tensor moves.
//!
//! A [`Plan`] is all that verify runs and all that the writer writes: the same moves, the same code.

pub mod assumed;
pub mod blocks;
pub mod call;
pub mod input;
pub mod naive;
pub mod random;
pub mod recipes;
pub mod rename;
mod snippet;
pub mod weights;
mod words;

use crate::compare::tolerance::Bound;
use t2m_engine::ModuleSpec;

pub use assumed::Assumed;
pub use call::Call;
pub use input::Input;
pub use recipes::plan;
pub use weights::{Move, Rule};

/// How one module is converted and how that is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The torch layer: class and attributes.
    pub torch: ModuleSpec,
    /// The MLX layer: name and arguments.
    pub mlx: ModuleSpec,
    /// Where each MLX tensor comes from.
    pub weights: Vec<Move>,
    /// Inputs to measure with, and how MLX wants them laid out.
    pub inputs: Vec<Input>,
    /// What comes out, one or more.
    pub outputs: Vec<Output>,
    /// What the tolerance is made of.
    pub bound: Bound,
    /// Whether it is more than a rename.
    pub way: Way,
}

impl Plan {
    /// Whether torch's side runs the identity and MLX's side as well: that the two agree says nothing of the class.
    pub fn is_by_definition(&self) -> bool {
        self.torch.kind == "torch.nn.modules.linear.Identity"
            && self.mlx.kind == "nn.Identity"
            && self.mlx.program.is_none()
    }
}

/// How a conversion goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Way {
    /// The layer of the same meaning, its weights unchanged or by one rule.
    #[default]
    Direct,
    /// More than a rename: what is done, in words, in order.
    Recipe(Vec<String>),
}

impl Way {
    /// Add a step.
    pub fn step(&mut self, words: impl Into<String>) {
        match self {
            Way::Direct => *self = Way::Recipe(vec![words.into()]),
            Way::Recipe(steps) => steps.push(words.into()),
        }
    }

    /// What is done beyond a rename, joined by `between`; `None` where nothing is.
    pub fn words(&self, between: &str) -> Option<String> {
        match self {
            Way::Direct => None,
            Way::Recipe(steps) => Some(steps.join(between)),
        }
    }
}

/// One output of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `output`, `h_n`, `weights`.
    pub name: &'static str,
    /// Permutation that brings MLX's layout back to torch's; `None` where it is the same.
    pub to_torch: Option<Vec<usize>>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A hyper-parameter that changes the result is not known.
    Missing {
        /// Path of the module whose it is: the planned one, or one below it.
        module: String,
        /// Its name.
        attribute: String,
        /// What torch's layer calls it.
        like: String,
    },
    /// Something else that changes the result is not known.
    Incomplete(String),
    /// This configuration has no conversion.
    Unsupported(String),
    /// A registry file sets what this layer would ignore. A run of it fails: a claim was made that cannot be tried.
    Setting(String),
}

impl Refusal {
    /// Why, in words.
    pub fn words(self) -> String {
        match self {
            Refusal::Missing { attribute, .. } => {
                format!("the file does not say `{attribute}`, and the result depends on it")
            }
            Refusal::Incomplete(reason) | Refusal::Unsupported(reason) | Refusal::Setting(reason) => reason,
        }
    }
}
