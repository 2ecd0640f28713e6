//! Classes from names and shapes, where a bare state dict is all there is.
//!
//! The rules are ordered; each says how sure it is. Those numbers were measured on models whose classes were known. A rule
//! fills in the hyper-parameters that shapes determine (channels, kernel) and never those that they do not (stride, eps).

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::reparametrized::{self, Reparametrized};
use super::{Model, Module};
use t2m_checkpoint::{Sizes, Tensor, TensorId};

const LINEAR: &str = "torch.nn.modules.linear.Linear";
const EMBEDDING: &str = "torch.nn.modules.sparse.Embedding";
const LAYER_NORM: &str = "torch.nn.modules.normalization.LayerNorm";
const GROUP_NORM: &str = "torch.nn.modules.normalization.GroupNorm";
const RMS_NORM: &str = "torch.nn.modules.normalization.RMSNorm";
pub(super) const CONV: [&str; 3] =
    ["torch.nn.modules.conv.Conv1d", "torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv.Conv3d"];
pub(super) const CONV_TRANSPOSE: [&str; 3] = [
    "torch.nn.modules.conv.ConvTranspose1d",
    "torch.nn.modules.conv.ConvTranspose2d",
    "torch.nn.modules.conv.ConvTranspose3d",
];
const BATCH_NORM: [&str; 3] = [
    "torch.nn.modules.batchnorm.BatchNorm1d",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.batchnorm.BatchNorm3d",
];
const INSTANCE_NORM: [&str; 3] = [
    "torch.nn.modules.instancenorm.InstanceNorm1d",
    "torch.nn.modules.instancenorm.InstanceNorm2d",
    "torch.nn.modules.instancenorm.InstanceNorm3d",
];

/// A layer has no more tensors of its own: an LSTM of 32 layers both ways has 256.
const MOST_TENSORS: usize = 256;

/// What a rule found.
struct Guess {
    class: &'static str,
    confidence: f32,
    alternatives: Alternatives,
    attributes: Attributes,
}

type Alternatives = SmallVec<[&'static str; 2]>;
type Attributes = SmallVec<[(&'static str, Known); 4]>;

/// The value of a hyper-parameter that shapes tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Known {
    Flag(bool),
    Number(u64),
    Sizes(Sizes),
}

impl Guess {
    fn new(class: &'static str, confidence: f32) -> Guess {
        Guess { class, confidence, alternatives: SmallVec::new(), attributes: SmallVec::new() }
    }

    fn or(mut self, alternatives: &[&'static str]) -> Guess {
        self.alternatives.extend(alternatives.iter().filter(|other| **other != self.class).copied());
        self
    }

    fn number(mut self, name: &'static str, value: u64) -> Guess {
        self.attributes.push((name, Known::Number(value)));
        self
    }

    fn flag(mut self, name: &'static str, value: bool) -> Guess {
        self.attributes.push((name, Known::Flag(value)));
        self
    }

    fn sizes(mut self, name: &'static str, value: &[u64]) -> Guess {
        self.attributes.push((name, Known::Sizes(value.into())));
        self
    }
}

/// Different guesses that are remembered, so that modules that are alike share what was found.
const MOST_GUESSES: usize = 4_096;

type SharedAlternatives = Arc<[CompactString]>;
type SharedAttributes = Arc<Map<String, Value>>;

/// Lists of alternatives and of hyper-parameters that modules have in common.
#[derive(Default)]
struct Shared {
    alternatives: HashMap<Alternatives, SharedAlternatives, RandomState>,
    attributes: HashMap<Attributes, SharedAttributes, RandomState>,
}

impl Shared {
    fn alternatives(&mut self, found: Alternatives) -> SharedAlternatives {
        if found.is_empty() {
            return Arc::default();
        }
        // The rules know a few lists.
        let make = |found: &Alternatives| found.iter().map(|class| CompactString::const_new(class)).collect();
        self.alternatives.entry(found).or_insert_with_key(make).clone()
    }

    fn attributes(&mut self, found: Attributes) -> SharedAttributes {
        let value = |known: &Known| match known {
            Known::Flag(flag) => Value::from(*flag),
            Known::Number(number) => Value::from(*number),
            Known::Sizes(sizes) => Value::from(sizes.as_slice()),
        };
        let make = |found: &Attributes| {
            Arc::new(found.iter().map(|(name, known)| ((*name).to_owned(), value(known))).collect::<Map<_, _>>())
        };
        if self.attributes.len() >= MOST_GUESSES {
            return self.attributes.get(&found).cloned().unwrap_or_else(|| make(&found));
        }
        self.attributes.entry(found).or_insert_with_key(make).clone()
    }
}

/// What the rules know of the rest of the model.
#[derive(Default)]
struct Context {
    /// Whether convolutions prevail and no name speaks of layer norms.
    is_convnet: bool,
    /// Output channels of the last convolution or linear layer before this module.
    channels: Option<u64>,
    /// Dimensions of the last convolution before this module; 0 for a linear layer.
    dimensions: Option<usize>,
}

/// A module's own tensors, looked at by name.
struct Shapes<'a> {
    module: &'a Module,
    tensors: &'a [Tensor],
    /// How its weight is computed, where it is, and a tensor of the weight's shape.
    computed: Option<(Reparametrized, TensorId)>,
}

impl<'a> Shapes<'a> {
    fn new(model: &'a Model, id: usize, tensors: &'a [Tensor]) -> Option<Shapes<'a>> {
        let module = model.modules.get(id)?;
        Some(Shapes { module, tensors, computed: reparametrized::weight(model, id) })
    }

    fn get(&self, name: &str) -> Option<&'a [u64]> {
        let id: TensorId = match self.computed {
            Some((_, tensor)) if name == "weight" => tensor,
            _ => self.module.tensor(name)?,
        };
        let tensor = self.tensors.get(id).filter(|tensor| !tensor.is_uninitialised())?;
        Some(tensor.shape.as_slice())
    }

    fn has(&self, name: &str) -> bool {
        self.module.tensor(name).is_some()
    }

    /// Whether every tensor of the module is one of these.
    fn only(&self, names: &[&str]) -> bool {
        self.module.tensors.iter().all(|own| names.contains(&own.name.as_str()))
    }

    /// Length of a vector.
    fn vector(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            &[length] => Some(length),
            _ => None,
        }
    }
}

/// Fill in classes, confidences, alternatives and attributes. `versions` are those of `_metadata`, by module.
pub(super) fn infer(model: &mut Model, tensors: &[Tensor], versions: &[Option<i64>]) {
    let mut context = Context { is_convnet: is_convnet(model, tensors), ..Context::default() };
    let mut shared = Shared::default();
    for id in 0..model.modules.len() {
        let Some(shapes) = Shapes::new(model, id, tensors) else { continue };
        let version = versions.get(id).copied().flatten();
        let guess = if shapes.module.tensors.len() > MOST_TENSORS {
            None
        } else if shapes.module.tensors.is_empty() && shapes.computed.is_none() {
            container(model, id).or_else(|| parametrization(model, id))
        } else {
            let surroundings = Surroundings { model, id, version };
            packed(&shapes)
                .or_else(|| parametrization(model, id))
                .or_else(|| by_marks(&shapes, &context))
                .or_else(|| by_weight(&shapes, &context, &surroundings))
        };
        remember(&shapes, guess.as_ref(), &mut context);
        let parametrized = matches!(shapes.computed, Some((Reparametrized::Parametrized, _)));
        if let (Some(guess), Some(module)) = (guess, model.modules.get_mut(id)) {
            module.class = match guess.class.rsplit_once('.') {
                Some((_, name)) if parametrized => format_compact!("torch.nn.utils.parametrize.Parametrized{name}"),
                _ => CompactString::const_new(guess.class),
            };
            module.confidence = guess.confidence;
            module.alternatives = shared.alternatives(guess.alternatives);
            module.attributes = shared.attributes(guess.attributes);
        }
    }
}

/// At least 8 convolutions for each matrix, and no name of a layer norm.
fn is_convnet(model: &Model, tensors: &[Tensor]) -> bool {
    let (mut convolutions, mut matrices) = (0usize, 0usize);
    for module in &model.modules {
        let weight = module.tensor("weight").and_then(|weight| tensors.get(weight));
        match weight.map(|weight| weight.shape.len()) {
            Some(3..=5) => convolutions += 1,
            Some(2) => matrices += 1,
            Some(1) if has_word(&module.name, &["ln", "layernorm", "layer_norm"]) => return false,
            _ => {}
        }
    }
    convolutions >= 8 * matrices.max(1)
}

/// Let the next modules know what came out of this one.
fn remember(shapes: &Shapes<'_>, guess: Option<&Guess>, context: &mut Context) {
    let Some(guess) = guess else { return };
    let dimensions =
        [CONV, CONV_TRANSPOSE].iter().find_map(|classes| classes.iter().position(|class| *class == guess.class));
    let channels = match guess.class {
        LINEAR => shapes.get("weight").and_then(|weight| weight.first()).copied(),
        _ => guess.attributes.iter().find_map(|(name, known)| match known {
            Known::Number(number) if *name == "out_channels" => Some(*number),
            _ => None,
        }),
    };
    if guess.class == LINEAR || dimensions.is_some() {
        context.channels = channels;
        context.dimensions = Some(dimensions.map_or(0, |index| index + 1));
    }
}

/// A module without tensors of its own: numbered children are a Sequential or a ModuleList.
fn container(model: &Model, id: usize) -> Option<Guess> {
    let module = model.modules.get(id)?;
    let mut child = id + 1;
    if child >= module.end {
        return None;
    }
    while child < module.end {
        let next = model.modules.get(child)?;
        if next.name.is_empty() || !next.name.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        child = next.end;
    }
    let (sequential, list) = ("torch.nn.modules.container.Sequential", "torch.nn.modules.container.ModuleList");
    Some(Guess::new(sequential, 0.5).or(&[list]))
}

/// The modules in which `torch.nn.utils.parametrize` keeps its own.
fn parametrization(model: &Model, id: usize) -> Option<Guess> {
    let module = model.modules.get(id)?;
    if module.name == "parametrizations" && module.tensors.is_empty() {
        return Some(Guess::new("torch.nn.modules.container.ModuleDict", 0.95));
    }
    let parent = model.modules.get(module.parent?)?;
    let grandparent = model.modules.get(parent.parent?)?;
    if grandparent.name != "parametrizations" {
        return None;
    }
    let has = |name: &str| module.tensor(name).is_some();
    let class = if has("_u") && has("_v") {
        "torch.nn.utils.parametrizations._SpectralNorm"
    } else if has("base") {
        "torch.nn.utils.parametrizations._Orthogonal"
    } else if module.tensors.is_empty() && parent.tensor("original0").is_some() && parent.tensor("original1").is_some()
    {
        "torch.nn.utils.parametrizations._WeightNorm"
    } else {
        return None;
    };
    Some(Guess::new(class, 0.95))
}

/// Layers whose weight is packed or adapted, and parametrizations: the names of their tensors give them away.
fn packed(shapes: &Shapes<'_>) -> Option<Guess> {
    let has = |names: &[&str]| names.iter().all(|name| shapes.has(name));
    let class = if has(&["original0", "original1"]) || has(&["original"]) {
        "torch.nn.utils.parametrize.ParametrizationList"
    } else if has(&["qweight", "qzeros", "scales"]) {
        "auto_gptq.nn_modules.qlinear.QuantLinear"
    } else if has(&["weight", "weight.absmax"]) || has(&["weight", "absmax"]) {
        "bitsandbytes.nn.modules.Linear4bit"
    } else if has(&["weight", "SCB"]) {
        "bitsandbytes.nn.modules.Linear8bitLt"
    } else if has(&["lora_A", "lora_B"]) {
        "loralib.layers.Linear"
    } else if has(&["scale", "zero_point"]) && shapes.only(&["scale", "zero_point", "_packed_params.dtype"]) {
        "torch.ao.nn.quantized.modules.linear.Linear"
    } else {
        return None;
    };
    Some(Guess::new(class, 0.9))
}

/// Layers with tensors that no other layer has.
fn by_marks(shapes: &Shapes<'_>, context: &Context) -> Option<Guess> {
    if shapes.has("running_mean") && shapes.has("running_var") {
        return Some(batch_norm(shapes, context));
    }
    if let Some(weight) = shapes.get("in_proj_weight").or_else(|| shapes.get("q_proj_weight")) {
        let embed_dim = *weight.get(1)?;
        let guess = Guess::new("torch.nn.modules.activation.MultiheadAttention", 0.97).number("embed_dim", embed_dim);
        let input = |name: &str| shapes.get(name).and_then(|weight| weight.get(1).copied()).unwrap_or(embed_dim);
        return Some(guess.number("kdim", input("k_proj_weight")).number("vdim", input("v_proj_weight")));
    }
    recurrent(shapes)
}

fn batch_norm(shapes: &Shapes<'_>, context: &Context) -> Guess {
    let features = shapes.vector("running_mean").unwrap_or_default();
    let guess = match context.dimensions.filter(|_| context.channels == Some(features)) {
        Some(0) => Guess::new(BATCH_NORM[0], 0.97),
        Some(dimensions) => Guess::new(BATCH_NORM.get(dimensions - 1).copied().unwrap_or(BATCH_NORM[1]), 0.97),
        None => Guess::new(BATCH_NORM[1], 0.97).or(&BATCH_NORM),
    };
    let affine = shapes.has("weight");
    let guess = match (affine, shapes.has("num_batches_tracked")) {
        (true, true) => guess,
        // FrozenBatchNorm2d, or a BatchNorm of torch before 0.4.1.
        (true, false) => Guess::new("torchvision.ops.misc.FrozenBatchNorm2d", 0.8).or(&BATCH_NORM),
        (false, _) => Guess { confidence: 0.6, ..guess }.or(&INSTANCE_NORM),
    };
    guess.number("num_features", features).flag("affine", affine).flag("track_running_stats", true)
}

/// RNN, GRU, LSTM and their cells: the number of gates is in the shapes.
fn recurrent(shapes: &Shapes<'_>) -> Option<Guess> {
    let cell = !shapes.has("weight_ih_l0");
    let (input, hidden) = if cell { ("weight_ih", "weight_hh") } else { ("weight_ih_l0", "weight_hh_l0") };
    let (&[rows, input_size], &[_, output]) = (shapes.get(input)?, shapes.get(hidden)?) else { return None };
    let projected = shapes.get("weight_hr_l0").and_then(|weight| weight.get(1).copied());
    let hidden_size = projected.unwrap_or(output);
    let class = match (rows.checked_div(hidden_size)?, cell) {
        (4, false) => "torch.nn.modules.rnn.LSTM",
        (3, false) => "torch.nn.modules.rnn.GRU",
        (1, false) => "torch.nn.modules.rnn.RNN",
        (4, true) => "torch.nn.modules.rnn.LSTMCell",
        (3, true) => "torch.nn.modules.rnn.GRUCell",
        (1, true) => "torch.nn.modules.rnn.RNNCell",
        _ => return None,
    };
    let guess = Guess::new(class, 0.96).number("input_size", input_size).number("hidden_size", hidden_size);
    if cell {
        return Some(guess.flag("bias", shapes.has("bias_ih")));
    }
    let own = || shapes.module.tensors.iter().filter_map(|own| own.name.strip_prefix("weight_ih_l"));
    let layers = own().filter_map(|layer| layer.parse::<u64>().ok()).max().map_or(1, |last| last.saturating_add(1));
    Some(
        guess
            .number("num_layers", layers)
            .flag("bias", shapes.has("bias_ih_l0"))
            .flag("bidirectional", own().any(|layer| layer.ends_with("_reverse")))
            .number("proj_size", if projected.is_some() { output } else { 0 }),
    )
}

/// Where a module stands in the tree, and its version in `_metadata`.
struct Surroundings<'a> {
    model: &'a Model,
    id: usize,
    version: Option<i64>,
}

impl Surroundings<'_> {
    /// The name that describes the module: of numbered members of a list, the list's.
    fn telling_name(&self) -> String {
        let mut at = self.model.modules.get(self.id);
        while let Some(module) = at {
            if !module.name.bytes().all(|byte| byte.is_ascii_digit()) {
                return module.name.as_str().to_ascii_lowercase();
            }
            at = module.parent.and_then(|parent| self.model.modules.get(parent));
        }
        String::new()
    }

    /// Whether one of the first modules beside it is such a one.
    fn has_sibling(&self, is_it: impl Fn(&Module) -> bool) -> bool {
        const LOOKED_AT: usize = 16;
        let modules = &self.model.modules;
        let parent = modules.get(self.id).and_then(|module| module.parent);
        let Some((parent, end)) = parent.and_then(|id| Some((id, modules.get(id)?.end))) else { return false };
        let after = |module: &usize| modules.get(*module).map(|sibling| sibling.end).filter(|next| *next < end);
        let siblings = std::iter::successors(Some(parent + 1), after).take(LOOKED_AT);
        siblings.filter_map(|sibling| modules.get(sibling)).any(is_it)
    }
}

/// Layers with a weight, and perhaps a bias: the shapes decide, and where they cannot, the names.
fn by_weight(shapes: &Shapes<'_>, context: &Context, surroundings: &Surroundings<'_>) -> Option<Guess> {
    let computed = ["weight_g", "weight_v", "weight_orig", "weight_u", "weight_mask"];
    let known: &[&str] = if shapes.computed.is_some() { &computed } else { &["weight"] };
    if !shapes.only(&[known, &["bias"]].concat()) {
        return None;
    }
    let weight = shapes.get("weight")?;
    let bias = shapes.get("bias");
    match (weight, bias) {
        (&[length], _) => vector(shapes, length, bias.is_some(), context, surroundings),
        (_, Some(bias)) if bias == weight => Some(Guess::new(LAYER_NORM, 0.8).sizes("normalized_shape", weight)),
        (_, Some(bias)) if bias.len() != 1 => None,
        (&[rows, columns], _) => matrix(shapes, rows, columns, surroundings),
        ([outer, inner, kernel @ ..], _) if kernel.len() <= 3 => convolution(shapes, *outer, *inner, kernel, context),
        _ => None,
    }
}

fn matrix(shapes: &Shapes<'_>, rows: u64, columns: u64, surroundings: &Surroundings<'_>) -> Option<Guess> {
    let linear =
        |confidence| Guess::new(LINEAR, confidence).number("in_features", columns).number("out_features", rows);
    let transposed = "transformers.pytorch_utils.Conv1D";
    let conv1d = |confidence| Guess::new(transposed, confidence).number("nx", rows).number("nf", columns);
    match shapes.vector("bias") {
        // GPT-2's `c_proj` beside its `c_attn`, which is not square.
        Some(bias)
            if bias == rows && rows == columns && surroundings.has_sibling(|other| other.class == transposed) =>
        {
            Some(conv1d(0.9).or(&[LINEAR]))
        }
        Some(bias) if bias == rows && rows == columns => Some(linear(0.9).or(&[transposed])),
        Some(bias) if bias == rows => Some(linear(0.95)),
        Some(bias) if bias == columns => Some(conv1d(0.9)),
        Some(_) => None,
        None => {
            let name = &surroundings.telling_name();
            let like_embedding = name.contains("embed")
                || name == "shared"
                || has_word(
                    name,
                    &["wte", "wpe", "tok", "emb", "token", "tokens", "codebook", "relative_attention_bias"],
                );
            let like_linear = ["proj", "head", "dense", "patch"].iter().any(|part| name.contains(part));
            if like_embedding && !like_linear {
                let guess = Guess::new(EMBEDDING, 0.85).or(&[LINEAR]);
                return Some(guess.number("num_embeddings", rows).number("embedding_dim", columns));
            }
            Some(linear(0.8).or(&[EMBEDDING]))
        }
    }
}

fn convolution(shapes: &Shapes<'_>, outer: u64, inner: u64, kernel: &[u64], context: &Context) -> Option<Guess> {
    let index = kernel.len().checked_sub(1)?;
    let (plain, transposed) = (*CONV.get(index)?, *CONV_TRANSPOSE.get(index)?);
    let bias = shapes.vector("bias");
    let name = shapes.module.path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let named_transposed = name.contains("deconv") || name.contains("transpose");
    let guess = match bias {
        Some(bias) if bias == outer && outer != inner => Guess::new(plain, 0.95),
        Some(bias) if bias == inner && outer != inner => Guess::new(transposed, 0.93),
        // A plain one has a bias for each of the first axis; this one has groups.
        Some(bias) if bias != outer && bias % inner.max(1) == 0 => Guess::new(transposed, 0.9),
        Some(bias) if bias != outer => return None,
        _ if named_transposed => Guess::new(transposed, 0.5).or(&[plain]),
        _ if name.contains("up") => Guess::new(plain, 0.5).or(&[transposed]),
        _ => Guess::new(plain, 0.8).or(&[transposed]),
    };
    let guess = guess.sizes("kernel_size", kernel);
    if guess.class == transposed {
        let guess = guess.number("in_channels", outer);
        return Some(match bias {
            Some(bias) => guess.number("out_channels", bias).number("groups", bias / inner.max(1)),
            None => guess,
        });
    }
    let guess = guess.number("out_channels", outer);
    // The weight has in_channels / groups: only what comes in can tell them apart.
    Some(match context.channels {
        Some(channels) if inner == 1 && channels == outer && outer > 1 => {
            guess.number("in_channels", outer).number("groups", outer)
        }
        Some(channels) if inner > 1 && (channels == inner || channels % inner != 0) => {
            guess.number("in_channels", inner).number("groups", 1)
        }
        None => guess.number("in_channels", inner).number("groups", 1),
        Some(_) => guess,
    })
}

/// Weights of one axis: normalisations, mostly.
fn vector(
    shapes: &Shapes<'_>,
    length: u64,
    bias: bool,
    context: &Context,
    surroundings: &Surroundings<'_>,
) -> Option<Guess> {
    let name = shapes.module.name.to_ascii_lowercase();
    if !bias {
        let rms = name.contains("rmsnorm") || has_word(&name, &["rms", "rms_norm"]);
        return if rms || name.contains("norm") || has_word(&name, &["ln"]) {
            let guess = Guess::new(RMS_NORM, if rms { 0.75 } else { 0.7 }).or(&[LAYER_NORM]);
            Some(guess.sizes("normalized_shape", &[length]))
        } else if length == 1 || name.contains("prelu") {
            Some(Guess::new("torch.nn.modules.activation.PReLU", 0.6).number("num_parameters", length))
        } else {
            None
        };
    }
    if shapes.vector("bias") != Some(length) {
        return None;
    }
    // `_NormBase` raises the version to 2: batch and instance norms, here without statistics.
    if surroundings.version == Some(2) {
        let index = context.dimensions.filter(|&dimensions| dimensions > 0).map_or(1, |dimensions| dimensions - 1);
        let class = INSTANCE_NORM.get(index).copied().unwrap_or(INSTANCE_NORM[1]);
        let guess = Guess::new(class, 0.7).or(&INSTANCE_NORM).or(&BATCH_NORM);
        return Some(guess.number("num_features", length).flag("affine", true).flag("track_running_stats", false));
    }
    // `norm1`, `conv1`, `norm2`, `conv2`: the residual block of autoencoders.
    let is_resnet = context.dimensions.is_some_and(|dimensions| dimensions > 0)
        && has_word(&name, &["norm"])
        && !name.contains("layer")
        && ["conv1", "conv2"].iter().all(|conv| surroundings.has_sibling(|sibling| sibling.name == *conv));
    let named = has_word(&name, &["groupnorm", "group_norm", "gn"]);
    Some(if named || context.is_convnet || is_resnet {
        Guess::new(GROUP_NORM, if named { 0.8 } else { 0.6 }).or(&[LAYER_NORM]).number("num_channels", length)
    } else {
        Guess::new(LAYER_NORM, 0.75).or(&[GROUP_NORM]).sizes("normalized_shape", &[length])
    })
}

/// Whether a name has one of these as a whole word: between underscores, dots and digits.
fn has_word(name: &str, words: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    words.iter().any(|word| {
        name.match_indices(word).any(|(start, _)| {
            let before = name.get(..start).and_then(|before| before.chars().next_back());
            let behind = name.get(start + word.len()..).and_then(|behind| behind.chars().next());
            ![before, behind].into_iter().flatten().any(char::is_alphabetic)
        })
    })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use crate::model::{Model, attributes::describe, build};
    use t2m_checkpoint::{Checkpoint, Content, Dtype, Format, Tensor};

    pub fn tensors_of(tensors: &[(&str, &[u64])]) -> Vec<Tensor> {
        let tensor = |(name, shape): &(&str, &[u64])| Tensor {
            name: (*name).into(),
            dtype: Dtype::Float32,
            shape: (*shape).into(),
            strides: None,
            offset: 0,
            storage: None,
            requires_grad: false,
            shared_with: None,
            problem: None,
        };
        tensors.iter().map(tensor).collect()
    }

    pub fn model_of(tensors: &[(&str, &[u64])]) -> Model {
        model(tensors, &[])
    }

    pub fn model(tensors: &[(&str, &[u64])], versions: &[(&str, i64)]) -> Model {
        let module_versions = versions.iter().map(|(path, version)| ((*path).to_owned(), Some(*version))).collect();
        let content = Content::StateDict { module_versions };
        let mut checkpoint = Checkpoint::new(Path::new("x.pt"), Format::TorchZip, content);
        checkpoint.tensors = tensors_of(tensors);
        build(&checkpoint)
    }

    /// Class, description and alternatives of the module that the tensors belong to.
    fn guess(tensors: &[(&str, &[u64])]) -> String {
        let model = model(tensors, &[]);
        let module = model.modules.iter().find(|module| !module.tensors.is_empty()).unwrap();
        let others: Vec<&str> = module.alternatives.iter().map(|class| class.rsplit('.').next().unwrap()).collect();
        let parts = [module.short_class().to_owned(), describe(module), others.join("|")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn shapes_decide_where_they_can() {
        assert_eq!(guess(&[("a.weight", &[3, 4]), ("a.bias", &[3])]), "Linear 4→3");
        assert_eq!(guess(&[("a.weight", &[3, 4]), ("a.bias", &[4])]), "Conv1D 3→4");
        assert_eq!(guess(&[("a.weight", &[8, 3, 7]), ("a.bias", &[8])]), "Conv1d 3→8 k7");
        assert_eq!(guess(&[("a.weight", &[8, 3, 2, 2]), ("a.bias", &[3])]), "ConvTranspose2d 8→3 k2");
        assert_eq!(guess(&[("a.weight", &[8, 8, 3, 3, 1]), ("a.bias", &[8])]), "Conv3d 8→8 k3×3×1 ConvTranspose3d");
        assert_eq!(guess(&[("a.weight", &[4, 5]), ("a.bias", &[4, 5])]), "LayerNorm 4×5");
        let lstm: [(&str, &[u64]); 3] =
            [("r.weight_ih_l0", &[32, 4]), ("r.weight_hh_l0", &[32, 8]), ("r.weight_ih_l0_reverse", &[32, 4])];
        assert_eq!(guess(&lstm), "LSTM 4→8 both ways");
        assert_eq!(guess(&[("r.weight_ih", &[24, 4]), ("r.weight_hh", &[24, 8])]), "GRUCell 4→8");
        assert_eq!(guess(&[("a.in_proj_weight", &[24, 8]), ("a.in_proj_bias", &[24])]), "MultiheadAttention 8");
        assert_eq!(
            guess(&[("n.running_mean", &[4]), ("n.running_var", &[4])]),
            "BatchNorm2d 4 BatchNorm1d|BatchNorm3d|InstanceNorm1d|InstanceNorm2d|InstanceNorm3d"
        );
    }

    #[test]
    fn names_decide_where_shapes_cannot_and_the_doubt_is_told() {
        assert_eq!(guess(&[("token_embed.weight", &[9, 4])]), "Embedding 9×4 Linear");
        assert_eq!(guess(&[("embed_proj.weight", &[9, 4])]), "Linear 4→9 Embedding");
        assert_eq!(guess(&[("a.weight", &[4]), ("a.bias", &[4])]), "LayerNorm 4 GroupNorm");
        assert_eq!(guess(&[("norms.weight", &[4])]), "RMSNorm 4 LayerNorm");
        assert_eq!(guess(&[("act.weight", &[1])]), "PReLU");
        assert_eq!(guess(&[("deconv.weight", &[4, 4, 2, 2])]), "ConvTranspose2d 4→ k2 Conv2d");
        // Nothing is claimed of what no rule covers.
        assert_eq!(guess(&[("block.gamma", &[4])]), "");
        assert_eq!(guess(&[("block.weight", &[4, 4]), ("block.mask", &[4])]), "");
    }

    #[test]
    fn weights_that_are_computed_or_packed_are_not_taken_for_plain_ones() {
        let shape: &[u64] = &[4];
        let class = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("a.{name}")).collect();
            guess(&names.iter().map(|name| (name.as_str(), shape)).collect::<Vec<_>>())
        };
        assert_eq!(class(&["qweight", "qzeros", "scales"]), "QuantLinear");
        assert_eq!(class(&["weight", "SCB"]), "Linear8bitLt");
    }

    #[test]
    fn the_layers_around_help() {
        let depthwise =
            model(&[("0.weight", &[8, 3, 1, 1]), ("1.weight", &[8, 1, 3, 3]), ("2.weight", &[16, 4, 1, 1])], &[]);
        let lines: Vec<String> = depthwise.modules.iter().skip(1).map(describe).collect();
        // Four inputs for each of two groups, or of another layer: that is not known.
        assert_eq!(lines, ["3→8 k1", "8→8 k3 g8", "→16 k1"]);
        assert_eq!(depthwise.modules[0].short_class(), "Sequential");
        let norm = model(
            &[
                ("c.weight", &[8, 3, 1]),
                ("n.running_mean", &[8]),
                ("n.running_var", &[8]),
                ("n.weight", &[8]),
                ("n.num_batches_tracked", &[]),
            ],
            &[],
        );
        assert_eq!((norm.modules[2].short_class(), norm.modules[2].alternatives.len()), ("BatchNorm1d", 0));
        assert_eq!(norm.modules[0].total_parameters, 8 * 3 + 8);
        let instance = model(&[("n.weight", &[8]), ("n.bias", &[8])], &[("", 1), ("n", 2)]);
        assert_eq!(instance.modules[1].short_class(), "InstanceNorm2d");
    }
}
