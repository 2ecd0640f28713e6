//! Names of old checkpoints that transformers renames when it loads them: norms called their weight `gamma` and their bias
//! `beta` in TensorFlow, and the first BERTs kept those names.

use std::collections::HashSet;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;

use super::{Checkpoint, Content};

/// Old names of a norm's tensors, and today's.
const NAMES: [(&str, &str); 2] = [("gamma", "weight"), ("beta", "bias")];

/// Give the tensors of norms today's names: of those that transformers renames whatever is beside them (`LayerNorm`), and of
/// other norms that have both, as vectors of one length.
pub(super) fn new_names(checkpoint: &mut Checkpoint) {
    if !matches!(checkpoint.content, Content::StateDict { .. }) {
        return;
    }
    let old = |name: &str| {
        NAMES.iter().find_map(|(old, new)| {
            let path = name.strip_suffix(old)?.strip_suffix('.')?;
            Some((path.to_owned(), *old, *new))
        })
    };
    if !checkpoint.tensors.iter().any(|tensor| old(&tensor.name).is_some()) {
        return;
    }
    let names: HashSet<CompactString, RandomState> =
        checkpoint.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let mut renamed = Vec::new();
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        let Some((path, own, new)) = old(&tensor.name).filter(|_| tensor.shape.len() == 1) else { continue };
        let layer = path.rsplit('.').next().unwrap_or_default();
        let lower = layer.to_ascii_lowercase();
        let is_norm = lower.contains("norm")
            || lower.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '_') == "ln";
        let other = if own == "gamma" { "beta" } else { "gamma" };
        let has = |name: &str| names.contains(format_compact!("{path}.{name}").as_str());
        if (layer == "LayerNorm" || (is_norm && has(other))) && !has(new) {
            renamed.push((id, format_compact!("{path}.{new}")));
        }
    }
    if renamed.is_empty() {
        return;
    }
    let count = renamed.len();
    for (id, name) in renamed {
        if let Some(tensor) = checkpoint.tensors.get_mut(id) {
            tensor.name = name;
        }
    }
    checkpoint.warnings.push(format!(
        "{count} tensors of norms have old names: `gamma` is `weight` and `beta` is `bias` here, as transformers loads them."
    ));
}
