//! What t2m-torch computes beside torch's own layers: functions for classes of other libraries that no layer of torch
//! computes like. A registry row names one as its `torch`; the functions are in `torch/zoo`.

/// What the names of such functions begin with.
pub const PREFIX: &str = "t2m.";

/// The argument that holds the module's own names of tensors, by the names that the layer knows them by.
pub const TENSORS: &str = "tensors";

/// The argument that says that `weight` is `g·v/‖v‖`: `{"norm": name of g, "dim": the axis that keeps its norm, or null}`.
pub const WEIGHT_NORM: &str = "weight_norm";

/// The functions. Each is documented where it is written.
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
