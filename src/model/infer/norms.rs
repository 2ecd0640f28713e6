//! Norms without statistics: one vector, or two, tell LayerNorm from GroupNorm and RMSNorm by names and by what is around.

use super::rules::{GROUP_NORM, LAYER_NORM, RMS_NORM, Surroundings};
use super::{Context, Guess, Shapes, has_word, names};
use crate::model::Module;

/// A norm of one vector: RMSNorm, mostly.
pub(super) fn without_bias(name: &str, length: u64, context: &Context, surroundings: &Surroundings<'_>) -> Guess {
    let sized = |guess: Guess| guess.sizes("normalized_shape", &[length]);
    if names::is_rms_norm(name) || context.is_rms {
        return sized(Guess::new(RMS_NORM, 0.95));
    }
    // The block of Llama and of all that are built like it: a norm before the attention, another behind it, and a gated MLP.
    let llama = ["input_layernorm", "post_attention_layernorm"];
    let is_sibling =
        |norm: &str| surroundings.has_sibling(|sibling| sibling.name == norm && sibling.tensor("bias").is_none());
    let gated = || surroundings.beside(|module| names::is_gate(&module.name));
    if llama.contains(&name) && llama.into_iter().all(is_sibling) && gated() {
        return sized(Guess::new(RMS_NORM, 0.95));
    }
    // T5's blocks, by the names that only they have.
    if surroundings
        .has_sibling(|sibling| ["SelfAttention", "EncDecAttention", "DenseReluDense"].contains(&&*sibling.name))
    {
        return sized(Guess::new(RMS_NORM, 0.95));
    }
    sized(Guess::new(RMS_NORM, 0.7).or(&[LAYER_NORM]))
}

/// A norm of weight and bias: LayerNorm or GroupNorm.
pub(super) fn with_bias(
    name: &str,
    length: u64,
    shapes: &Shapes<'_>,
    context: &Context,
    surroundings: &Surroundings<'_>,
) -> Guess {
    let layer = |confidence| Guess::new(LAYER_NORM, confidence).sizes("normalized_shape", &[length]);
    let group = |confidence| Guess::new(GROUP_NORM, confidence).number("num_channels", length);
    let weight = |module: &Module| module.tensor("weight").and_then(|weight| shapes.shape(weight));
    let sibling =
        |is_it: &dyn Fn(&[u64]) -> bool| surroundings.has_sibling(|sibling| weight(sibling).is_some_and(is_it));
    // A convolution beside it that gives as many channels.
    let convolved = sibling(&|shape| shape.len() >= 3 && shape.first() == Some(&length));
    let amid = || surroundings.beside(|module| weight(module).is_some_and(|shape| shape.len() > 2));
    let is_member = shapes.module.name.bytes().all(|byte| byte.is_ascii_digit());
    let is_named = is_member || names::is_norm(name);
    if names::is_group_norm(name) {
        return group(0.95);
    }
    if names::is_layer_norm(name) {
        // Of speech models' extractors the first norm may be one over each channel, whatever its name.
        let matrix = || surroundings.beside(|module| weight(module).is_some_and(|shape| shape.len() == 2));
        return if convolved || (amid() && !matrix()) { layer(0.75).or(&[GROUP_NORM]) } else { layer(0.97) };
    }
    // `norm`, `proj_in`, `transformer_blocks`, `proj_out`: the transformer in a U-Net of diffusers.
    let named = |names: &[&str]| names.iter().all(|name| surroundings.has_sibling(|sibling| sibling.name == *name));
    if name == "norm" && named(&["proj_in", "transformer_blocks", "proj_out"]) {
        return group(0.93);
    }
    // `norm1`, `conv1`, `norm2`, `conv2`: the residual block of autoencoders.
    let mixes = |name: &str| {
        let is_it = |shape: &[u64]| shape.len() >= 3 && shape.get(1) > Some(&1);
        surroundings.has_sibling(|sibling| sibling.name == name && weight(sibling).is_some_and(is_it))
    };
    let is_numbered = has_word(name, &["norm"]) && name.ends_with(['1', '2', '3']);
    if is_numbered && (mixes("conv1") && mixes("conv2") || named(&["time_emb_proj"])) {
        return group(0.93);
    }
    // `conv_norm_out`, `conv_out`: the end of a U-Net.
    if name.contains("conv_norm") {
        return group(0.9).or(&[LAYER_NORM]);
    }
    // A layer beside it that takes what it gives: LayerNorm, as ConvNeXt has between its convolution and its matrices. So it is
    // in blocks, whose layers are parts of what is beside it.
    let takes = |shape: &[u64]| matches!(shape, &[_, columns] if columns == length);
    if is_named && sibling(&takes) {
        return layer(if convolved { 0.9 } else { 0.95 });
    }
    // In a row with a convolution that takes what it gives and keeps its size: one over groups, where it is neither.
    let keeps = |shape: &[u64]| match shape {
        [_, taken, kernel @ ..] if !kernel.is_empty() => {
            *taken == length && kernel.iter().any(|side| *side > 1) && kernel.iter().all(|side| side % 2 == 1)
        }
        _ => false,
    };
    if is_member && sibling(&keeps) {
        return group(0.75).or(&[LAYER_NORM]);
    }
    let inside =
        surroundings.beside(|module| weight(module).is_some_and(takes) || is_attention(module, shapes, length));
    match (is_named && inside && surroundings.is_block(), amid()) {
        (true, false) => layer(0.95),
        (true, true) => layer(0.92),
        (false, _) if context.is_convnet => group(0.6).or(&[LAYER_NORM]),
        (false, false) if context.is_transformer && is_named => layer(0.93),
        _ => layer(0.75).or(&[GROUP_NORM]),
    }
}

/// Whether it is torch's own attention over so many features.
fn is_attention(module: &Module, shapes: &Shapes<'_>, length: u64) -> bool {
    let weight = module.tensor("in_proj_weight").and_then(|weight| shapes.shape(weight));
    matches!(weight, Some(&[_, columns]) if columns == length)
}
