//! From a torch module to its MLX twin: which layer, with which arguments, and how each tensor moves.
//!
//! A [`Plan`] is all that verify runs and all that the writer writes: the same moves, the same code. A [`StateDict`] is the
//! plans of a whole model, by name.

pub mod already;
pub mod call;
pub mod compare;
pub mod input;
pub mod random;
pub mod recipes;
pub mod reverse;
pub mod state_dict;
pub mod templates;
pub mod weights;
pub mod writer;

use crate::compare::tolerance::Bound;
use crate::engine::ModuleSpec;

pub use call::Call;
pub use input::Input;
pub use recipes::plan;
pub use state_dict::StateDict;
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
    /// What is done beyond a rename, in words. Empty for a direct conversion.
    pub steps: Vec<String>,
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
    Incomplete(String),
    /// This configuration has no conversion.
    Unsupported(String),
}
