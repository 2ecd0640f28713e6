//! How a sample wants a layer to be called.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::input::Values;

/// How forward is called, where a sample asks for another way than the default. Only samples do: a checkpoint says what
/// a layer is, never how to measure it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// Names of the parameters that forward gets.
    pub inputs: Option<Vec<String>>,
    /// Which of them are masks, and of what kind.
    pub masks: IndexMap<String, Mask>,
    /// What a loss gets as targets.
    pub targets: Option<Targets>,
    /// Whether an attention returns its weights as well.
    pub need_weights: Option<bool>,
    /// Whether those are averaged over the heads.
    pub average_attn_weights: Option<bool>,
    /// That the mask is the causal one.
    pub is_causal: Option<bool>,
}

/// Kinds of masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// Booleans: True is left out.
    Bool,
    /// Numbers that are added to the scores.
    Float,
    /// Booleans: later positions are left out.
    Causal,
}

/// Kinds of targets other than one class for each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Targets {
    /// A class for each place of an image.
    Spatial,
    /// The probabilities of every class.
    Probabilities,
}

impl Call {
    /// Whether forward gets this parameter.
    pub fn gives(&self, name: &str) -> bool {
        self.inputs.iter().flatten().any(|known| known == name)
    }
}

impl Mask {
    /// What a mask of this kind is filled with.
    pub fn values(self) -> Values {
        match self {
            Mask::Bool => Values::Drops,
            Mask::Float => Values::Additive,
            Mask::Causal => Values::Future,
        }
    }
}
