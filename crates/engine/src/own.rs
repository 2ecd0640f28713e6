//! What t2m-torch computes beside torch's own layers: functions for classes of other libraries that no layer of torch
//! computes. A registry row names one as its `torch`; the functions are in `crates/torch/src/zoo`. [`Told`] is what we
//! say about a layer beside its attributes.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The prefix of their names.
pub const PREFIX: &str = "t2m.";

/// What the registry row, the recipe or a sample says about a torch layer beside its attributes. A file only has
/// attributes, so nothing in it, whatever its name, can say any of this.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Told {
    /// How forward is called; by default with its first inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The module's own names for tensors, by the layer's names for them.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub tensors: IndexMap<String, String>,
    /// That `weight` is `g·v/‖v‖`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_norm: Option<WeightNorm>,
    /// The attributes of the modules below the layer, by their paths relative to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<BTreeMap<String, Map<String, Value>>>,
}

/// How a layer's forward is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The parameters that the inputs are for, in the inputs' order; by default the first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,
    /// Parameters that are not tensors, such as `need_weights`.
    #[serde(flatten)]
    pub scalars: Map<String, Value>,
}

/// What `torch.nn.utils.weight_norm` keeps beside `v`, which takes the place of `weight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightNorm {
    /// Name of `g`.
    pub norm: String,
    /// The axis that keeps its norm; `None` for one norm over all.
    pub dim: Option<i64>,
}

/// The functions. Each is documented at its definition.
pub const FUNCTIONS: [&str; 28] = [
    // zoo/norm.rs
    "t2m.rms_norm",
    "t2m.gated_rms_norm",
    "t2m.layer_norm",
    "t2m.layer_norm_per_head",
    "t2m.simple_norm",
    "t2m.global_response_norm",
    "t2m.filter_response_norm",
    "t2m.scale",
    // zoo/activation.rs
    "t2m.quick_gelu",
    "t2m.clipped_gelu",
    "t2m.laplace",
    "t2m.relu_squared",
    "t2m.sqrt_softplus",
    "t2m.hard_mish",
    "t2m.xielu",
    // zoo/conv.rs
    "t2m.linear_transposed",
    "t2m.conv2d_same",
    "t2m.std_conv2d",
    "t2m.avg_pool2d_same",
    "t2m.max_pool2d_same",
    "t2m.blur_pool",
    "t2m.cut_end",
    "t2m.permute",
    // zoo/embedding.rs
    "t2m.scaled_embedding",
    "t2m.positions",
    "t2m.relative_position_bias",
    // zoo/rotary.rs
    "t2m.rotary",
    // zoo/mod.rs
    "t2m.sequence",
];
