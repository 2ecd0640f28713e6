//! Whether a file holds MLX's weights already: those must not be converted once more.

use crate::open::Opened;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Dtype, Format, Tensor};

/// By what it is known that a file is MLX's, in words; `None` where it is torch's as far as that can be known.
pub fn is_mlx(opened: &Opened) -> Option<String> {
    let checkpoint = &opened.checkpoint;
    if checkpoint.metadata.get("format").and_then(|format| format.as_str()) == Some("mlx") {
        return Some("its metadata says format = mlx".to_owned());
    }
    if let Some(name) = quantized(&checkpoint.tensors) {
        return Some(format!("`{}` is packed as mlx.nn.quantize does it, with scales and biases", quoted(name)));
    }
    convolutions(opened)
}

/// A weight of packed words with `scales` and `biases` beside it.
fn quantized(tensors: &[Tensor]) -> Option<&str> {
    let is_packed = |tensor: &&Tensor| tensor.dtype == Dtype::UInt32 && tensor.shape.len() >= 2;
    if !tensors.iter().any(|tensor| is_packed(&tensor)) {
        return None;
    }
    let names: std::collections::HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let packed = tensors.iter().filter(is_packed);
    let mut weights = packed.filter_map(|tensor| Some((tensor.name.as_str(), tensor.name.strip_suffix("weight")?)));
    let all = |prefix: &str| ["scales", "biases"].iter().all(|name| names.contains(format!("{prefix}{name}").as_str()));
    weights.find(|(_, prefix)| all(prefix)).map(|(name, _)| name)
}

/// Ends of names, and parts of them, that torch's layers have and MLX's do not.
const TORCHS: [&str; 8] = [
    ".num_batches_tracked",
    ".in_proj_weight",
    ".weight_ih_l0",
    ".weight_hh_l0",
    ".weight_g",
    ".weight_v",
    ".parametrizations.",
    ".gamma",
];

/// Whether a file is torch's for certain: it has a pickle, says so, or has names that only torch's layers
/// and wrappers have.
fn is_torchs(checkpoint: &Checkpoint) -> bool {
    let safetensors = matches!(checkpoint.format, Format::Safetensors | Format::ShardedSafetensors | Format::HfFolder);
    let says_so = checkpoint.metadata.get("format").and_then(|format| format.as_str()) == Some("pt");
    let is_torchs = |tensor: &Tensor| TORCHS.iter().any(|part| tensor.name.contains(part));
    let wrapped = !checkpoint.wrappers.is_empty();
    !safetensors || checkpoint.pickle.is_some() || says_so || wrapped || checkpoint.tensors.iter().any(is_torchs)
}

/// Two-dimensional convolutions have square kernels nearly everywhere: torch's lie in the last two axes, MLX's in the middle.
/// Where every one that tells says the same, the file is that library's; kernels need not be square, so that shapes alone say
/// nothing of a file that is torch's by anything else.
fn convolutions(opened: &Opened) -> Option<String> {
    if is_torchs(&opened.checkpoint) {
        return None;
    }
    let modules = opened.model.modules.iter().filter(|module| module.class.contains(".conv.Conv"));
    // A file that says its classes was written by torch.
    let guessed = modules.filter(|module| module.evidence != crate::model::Evidence::Exact);
    let weights = guessed.filter_map(|module| opened.checkpoint.tensors.get(module.tensor("weight")?));
    let (mut torch, mut mlx, mut last) = (0, 0, None);
    for weight in weights {
        if let [_, a, b, c] = *weight.shape {
            torch += usize::from(b == c && a != b);
            if a == b && b != c {
                mlx += 1;
                last = Some(weight);
            }
        }
    }
    let weight = last.filter(|_| torch == 0 && mlx > 0)?;
    Some(format!(
        "the kernel of `{}` lies in its middle axes ({:?}), as MLX has it",
        weight.name,
        weight.shape.as_slice()
    ))
}
