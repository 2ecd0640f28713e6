//! How a sample wants a layer to be called.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::input::Values;

/// How forward is called, where a sample asks for another way than the default. Samples alone ask: a checkpoint says what a
/// layer is, never how it is to be measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// Names of forward's parameters that are given.
    pub inputs: Option<Vec<String>>,
    /// Which of them are masks, and of what kind.
    pub masks: IndexMap<String, Mask>,
    /// What a loss is given for targets.
    pub targets: Option<Targets>,
    /// Whether an attention gives its weights as well.
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
    /// True is left out.
    Bool,
    /// Numbers that are added.
    Float,
    /// What comes later is left out.
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
    /// Whether that parameter is given.
    pub fn gives(&self, name: &str) -> bool {
        self.inputs.iter().flatten().any(|known| known == name)
    }
}

impl Mask {
    /// What such a mask is filled with.
    pub fn values(self) -> Values {
        match self {
            Mask::Bool => Values::Drops,
            Mask::Float => Values::Additive,
            Mask::Causal => Values::Future,
        }
    }
}
