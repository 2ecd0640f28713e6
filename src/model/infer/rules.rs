//! The rules, one function for each family: what the names and shapes of tensors say about a module's class.

use super::{Context, Guess, Shapes, has_word};
use crate::model::{Model, Module};

pub(super) const LINEAR: &str = "torch.nn.modules.linear.Linear";
const EMBEDDING: &str = "torch.nn.modules.sparse.Embedding";
const LAYER_NORM: &str = "torch.nn.modules.normalization.LayerNorm";
const GROUP_NORM: &str = "torch.nn.modules.normalization.GroupNorm";
const RMS_NORM: &str = "torch.nn.modules.normalization.RMSNorm";
pub(in crate::model) const CONV: [&str; 3] =
    ["torch.nn.modules.conv.Conv1d", "torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv.Conv3d"];
pub(in crate::model) const CONV_TRANSPOSE: [&str; 3] = [
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

/// A module without tensors of its own: numbered children are a Sequential or a ModuleList.
pub(super) fn container(model: &Model, id: usize) -> Option<Guess> {
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
pub(super) fn parametrization(model: &Model, id: usize) -> Option<Guess> {
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
pub(super) fn packed(shapes: &Shapes<'_>) -> Option<Guess> {
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
pub(super) fn by_marks(shapes: &Shapes<'_>, context: &Context) -> Option<Guess> {
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

/// A module's place in the tree, and its version in `_metadata`.
pub(super) struct Surroundings<'a> {
    pub model: &'a Model,
    pub id: usize,
    pub version: Option<i64>,
}

impl Surroundings<'_> {
    /// The name that describes the module: for numbered members of a list, the list's.
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

    /// Whether one of its first siblings is like this.
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
pub(super) fn by_weight(shapes: &Shapes<'_>, context: &Context, surroundings: &Surroundings<'_>) -> Option<Guess> {
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
        // A plain one has as many biases as the first axis is long; this one has groups.
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
    // The weight has in_channels / groups channels: only the number of input channels tells them apart.
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
