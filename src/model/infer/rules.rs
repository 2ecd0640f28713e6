//! The rules, one function for each family: what the names and shapes of tensors say about a module's class.

use super::{Context, Guess, Shapes, names, norms};
use crate::model::{Model, Module};

pub(super) const LINEAR: &str = "torch.nn.modules.linear.Linear";
const EMBEDDING: &str = "torch.nn.modules.sparse.Embedding";
pub(super) const LAYER_NORM: &str = "torch.nn.modules.normalization.LayerNorm";
pub(super) const GROUP_NORM: &str = "torch.nn.modules.normalization.GroupNorm";
const PRELU: &str = "torch.nn.modules.activation.PReLU";
pub(super) const RMS_NORM: &str = "torch.nn.modules.normalization.RMSNorm";
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
pub(super) fn by_marks(shapes: &Shapes<'_>, context: &Context, surroundings: &Surroundings<'_>) -> Option<Guess> {
    if shapes.has("running_mean") && shapes.has("running_var") {
        return Some(batch_norm(shapes, context, surroundings));
    }
    if let Some(weight) = shapes.get("in_proj_weight").or_else(|| shapes.get("q_proj_weight")) {
        let embed_dim = *weight.get(1)?;
        let guess = Guess::new("torch.nn.modules.activation.MultiheadAttention", 0.97).number("embed_dim", embed_dim);
        let input = |name: &str| shapes.get(name).and_then(|weight| weight.get(1).copied()).unwrap_or(embed_dim);
        return Some(guess.number("kdim", input("k_proj_weight")).number("vdim", input("v_proj_weight")));
    }
    recurrent(shapes)
}

fn batch_norm(shapes: &Shapes<'_>, context: &Context, surroundings: &Surroundings<'_>) -> Guess {
    let features = shapes.vector("running_mean").unwrap_or_default();
    let weight = |module: &Module| module.tensor("weight").and_then(|weight| shapes.shape(weight));
    let dimensions = context.dimensions.filter(|_| context.channels == Some(features));
    let taken = || {
        surroundings
            .has_sibling(|sibling| matches!(weight(sibling), Some(sides @ &[_, _]) if sides.contains(&features)))
    };
    let convolved = || surroundings.beside(|module| weight(module).is_some_and(|shape| shape.len() > 2));
    let follows = || matches!(surroundings.members().0.and_then(weight), Some(&[rows, _]) if rows == features);
    let dimensions = match dimensions {
        // Right behind a matrix of the same block.
        _ if follows() => Some(0),
        // Behind a matrix, and amid convolutions all the same: what came in between has no weights.
        Some(0) if convolved() => None,
        // Beside one, away from the convolutions: the head's.
        Some(1..) | None if taken() && !convolved() => Some(0),
        other => other,
    };
    // In files that are sorted by name the convolution may stand anywhere.
    let fitting = |shape: &&[u64]| shape.len() > 2 && shape.first() == Some(&features);
    let beside = || surroundings.first_beside(|module| Some(weight(module).filter(fitting)?.len() - 2));
    let dimensions = dimensions.or_else(beside);
    let guess = match dimensions {
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

/// Longer kernels are rare: the side of a matrix, more likely.
const LONGEST_KERNEL: u64 = 64;

/// Modules on either side that are looked at.
const NEAR: usize = 8;

/// A module's place in the tree, and its version in `_metadata`.
pub(super) struct Surroundings<'a> {
    pub model: &'a Model,
    pub id: usize,
    pub version: Option<i64>,
}

impl Surroundings<'_> {
    /// The name that describes the module: for numbered members of a list, the list's.
    pub(super) fn telling_name(&self) -> String {
        let mut at = self.model.modules.get(self.id);
        while let Some(module) = at {
            if !module.name.bytes().all(|byte| byte.is_ascii_digit()) {
                return module.name.as_str().to_ascii_lowercase();
            }
            at = module.parent.and_then(|parent| self.model.modules.get(parent));
        }
        String::new()
    }

    /// Where that is `layers`, `net` or the like, the name above it.
    fn name_above(&self) -> String {
        let mut at = self.model.modules.get(self.id);
        while let Some(module) = at {
            let name = module.name.to_ascii_lowercase();
            if !name.bytes().all(|byte| byte.is_ascii_digit()) && !names::is_list(&name) {
                return if module.path.len() == self.model.modules[self.id].path.len() {
                    String::new()
                } else {
                    name.into()
                };
            }
            at = module.parent.and_then(|parent| self.model.modules.get(parent));
        }
        String::new()
    }

    /// Whether a size is one that the model's layers have at their inputs, or its norms: its width, or the width inside.
    fn is_width(&self, size: u64, shapes: &Shapes<'_>) -> bool {
        let own = shapes.module.tensor("weight");
        let near = |module: &Module| {
            let weight = module.tensor("weight").filter(|weight| Some(*weight) != own);
            match weight.and_then(|weight| shapes.shape(weight)) {
                Some(&[length]) => length == size,
                Some(&[_, columns]) => columns == size,
                _ => false,
            }
        };
        self.near(NEAR * 4).any(near)
    }

    /// Whether a matrix lies between others as layers in a row do: the one before gives what it takes, or the one behind takes
    /// what it gives, and not what a table's rows would be.
    fn continues(&self, rows: u64, columns: u64, shapes: &Shapes<'_>) -> bool {
        let matrix = |module: &Module| match module.tensor("weight").and_then(|weight| shapes.shape(weight)) {
            Some(&[rows, columns]) => Some((rows, columns)),
            _ => None,
        };
        let modules = &self.model.modules;
        let before = modules.get(self.id.saturating_sub(NEAR)..self.id).unwrap_or_default();
        let behind = modules.get(self.id + 1..).unwrap_or_default();
        let before = before.iter().rev().find_map(matrix);
        let behind = behind.iter().take(NEAR).find_map(matrix);
        before.is_some_and(|(given, taken)| given == columns && taken != columns)
            || behind.is_some_and(|(_, taken)| taken == rows && taken != columns)
    }

    /// Modules before and behind this one in the file, so many each.
    fn near(&self, count: usize) -> impl Iterator<Item = &Module> {
        let range = self.id.saturating_sub(count)..(self.id + count).min(self.model.modules.len());
        self.model.modules.get(range).unwrap_or_default().iter()
    }

    /// Whether it is a part of a norm: what scales and shifts there may be looked up.
    fn is_in_norm(&self) -> bool {
        let parent = self.model.modules.get(self.id).and_then(|module| self.model.modules.get(module.parent?));
        parent.is_some_and(|parent| names::is_norm(&parent.name.to_ascii_lowercase()))
    }

    /// Whether a module below its parent is like this; not all of a long one are looked at. Where it is a member of a list of norms,
    /// what is beside the list counts.
    pub(super) fn beside(&self, is_it: impl Fn(&Module) -> bool) -> bool {
        self.first_beside(|module| is_it(module).then_some(())).is_some()
    }

    /// Whether it is a member of a list.
    fn is_member(&self) -> bool {
        let name = self.model.modules.get(self.id).map(|module| module.name.as_str());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The member of the same list before this one, and the one behind it.
    fn members(&self) -> (Option<&Module>, Option<&Module>) {
        let modules = &self.model.modules;
        let parent = modules.get(self.id).and_then(|module| module.parent);
        let of_list = |module: &&Module| module.parent == parent;
        let behind = modules.get(self.id).and_then(|module| modules.get(module.end)).filter(of_list);
        let before = self.id.checked_sub(1).and_then(|id| modules.get(id)).filter(of_list);
        (before, behind)
    }

    /// Whether the parent is a block of the model, and not the whole of it.
    pub(super) fn is_block(&self) -> bool {
        let modules = &self.model.modules;
        let parent = modules.get(self.id).and_then(|module| module.parent).filter(|parent| *parent > 0);
        parent.and_then(|id| Some(modules.get(id)?.end - id)).is_some_and(|count| count <= 8 * NEAR)
    }

    /// What the first of those modules gives that gives anything.
    fn first_beside<Found>(&self, find: impl Fn(&Module) -> Option<Found>) -> Option<Found> {
        let modules = &self.model.modules;
        let parent = |id: usize| modules.get(id).and_then(|module| module.parent);
        let is_list =
            |id: usize| modules.get(id).is_some_and(|module| names::is_norm(&module.name.to_ascii_lowercase()));
        let above = parent(self.id).map(|id| if is_list(id) { parent(id).unwrap_or(id) } else { id });
        let range = above.and_then(|id| modules.get(id + 1..modules.get(id)?.end));
        range.unwrap_or_default().iter().take(4 * NEAR).find_map(find)
    }

    /// Whether one of its first siblings is like this.
    pub(super) fn has_sibling(&self, is_it: impl Fn(&Module) -> bool) -> bool {
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
        // Experts' matrices in one tensor.
        (&[_, _, _], None) if shapes.module.path.contains("expert") => None,
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
        Some(bias) if bias == rows && names::matrix(&surroundings.telling_name()) == Some(names::Matrix::Router) => {
            Some(linear(0.8))
        }
        Some(bias) if bias == rows => Some(linear(0.95)),
        Some(bias) if bias == columns => Some(conv1d(0.9)),
        Some(_) => None,
        None => Some(without_bias(shapes, rows, columns, surroundings)),
    }
}

/// A matrix alone: Linear, or a table that is looked up. The name tells, or the matrices beside it, whose sizes it continues.
fn without_bias(shapes: &Shapes<'_>, rows: u64, columns: u64, surroundings: &Surroundings<'_>) -> Guess {
    let linear =
        |confidence| Guess::new(LINEAR, confidence).number("in_features", columns).number("out_features", rows);
    let table =
        |confidence| Guess::new(EMBEDDING, confidence).number("num_embeddings", rows).number("embedding_dim", columns);
    match names::matrix(&surroundings.telling_name()).or_else(|| names::matrix(&surroundings.name_above())) {
        Some(names::Matrix::Router) => linear(0.8),
        Some(names::Matrix::Linear) => linear(0.95),
        // In a row of layers, whatever the row is called.
        Some(names::Matrix::Table) if surroundings.is_member() && surroundings.continues(rows, columns, shapes) => {
            linear(0.9)
        }
        // `bond_embedding`, from nine numbers to the model's width: named so, and a projection.
        Some(names::Matrix::Table)
            if surroundings.is_width(rows, shapes) && !surroundings.is_width(columns, shapes) =>
        {
            linear(0.8).or(&[EMBEDDING])
        }
        Some(names::Matrix::Table) => table(0.95),
        None if !surroundings.is_in_norm() && surroundings.continues(rows, columns, shapes) => linear(0.93),
        None => linear(0.8).or(&[EMBEDDING]),
    }
}

fn convolution(shapes: &Shapes<'_>, outer: u64, inner: u64, kernel: &[u64], context: &Context) -> Option<Guess> {
    let index = kernel.len().checked_sub(1)?;
    let (plain, transposed) = (*CONV.get(index)?, *CONV_TRANSPOSE.get(index)?);
    let bias = shapes.vector("bias");
    let name = shapes.module.path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // Its own name, or what it is the only layer of.
    let path = shapes.module.path.to_ascii_lowercase();
    let near = path.rsplitn(3, '.').take(2);
    let named_transposed =
        near.into_iter().any(|part| ["deconv", "transp", "convtr", "tconv"].iter().any(|word| part.contains(word)));
    let is_long = kernel.iter().any(|length| *length > LONGEST_KERNEL);
    // A weight that is made for each input has an axis more.
    if is_long && kernel.len() == 3 {
        return None;
    }
    let is_depthwise = inner == 1 && outer > 1 && !path.contains("up");
    let guess = match bias {
        Some(bias) if bias == outer && outer != inner => Guess::new(plain, 0.95),
        Some(bias) if bias == inner && outer != inner => Guess::new(transposed, 0.93),
        // A plain one has as many biases as the first axis is long; this one has groups.
        Some(bias) if bias != outer && bias % inner.max(1) == 0 => Guess::new(transposed, 0.9),
        Some(bias) if bias != outer => return None,
        _ if named_transposed => Guess::new(transposed, 0.5).or(&[plain]),
        // Enlarging takes a kernel of more than one.
        _ if kernel.iter().all(|length| *length == 1) && !name.contains("up") => Guess::new(plain, 0.95),
        _ if name.contains("up") => Guess::new(plain, 0.5).or(&[transposed]),
        _ if is_depthwise => Guess::new(plain, 0.93),
        // Experts' matrices in one tensor have long sides everywhere.
        _ if names::matrix(&name) == Some(names::Matrix::Linear) && ((outer, inner) == (1, 1) || !is_long) => {
            Guess::new(plain, 0.92)
        }
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
        let side = |at: Option<&Module>| at.and_then(|module| shapes.shape(module.tensor("weight")?));
        let (before, behind) = surroundings.members();
        let is_member = surroundings.is_member();
        return if is_member && side(before).is_some_and(|shape| shape.len() > 1 && shape.first() == Some(&length)) {
            let guess = Guess::new(PRELU, 0.7).or(&[RMS_NORM]);
            Some(guess.number("num_parameters", length))
        } else if is_member && side(behind).is_some_and(|shape| shape.len() == 2 && shape.get(1) == Some(&length)) {
            Some(Guess::new(RMS_NORM, 0.7).or(&[LAYER_NORM]).sizes("normalized_shape", &[length]))
        } else if names::is_norm(&name) {
            Some(norms::without_bias(&name, length, context, surroundings))
        } else if length == 1 || name.contains("prelu") {
            Some(Guess::new(PRELU, 0.6).number("num_parameters", length))
        } else {
            None
        };
    }
    if shapes.vector("bias") != Some(length) {
        return None;
    }
    // `_NormBase` raises the version to 2: batch and instance norms, here without statistics.
    if surroundings.version == Some(2) {
        // A batch norm that keeps no statistics is next to unheard of.
        let named = ["1d", "2d", "3d"].iter().position(|dimensions| name.contains(dimensions));
        let behind = context.dimensions.filter(|dimensions| *dimensions > 0 && context.channels == Some(length));
        let index = named.or(behind.map(|dimensions| dimensions - 1));
        let class = INSTANCE_NORM.get(index.unwrap_or(1)).copied().unwrap_or(INSTANCE_NORM[1]);
        let guess = match index {
            Some(_) => Guess::new(class, 0.92),
            None => Guess::new(class, 0.7).or(&INSTANCE_NORM).or(&BATCH_NORM),
        };
        return Some(guess.number("num_features", length).flag("affine", true).flag("track_running_stats", false));
    }
    // A member of a list has the list's name.
    let name = if name.bytes().all(|byte| byte.is_ascii_digit()) { surroundings.telling_name() } else { name.into() };
    Some(norms::with_bias(&name, length, shapes, context, surroundings))
}
