//! Tensors that `safetensors.torch.save_model` left out: its metadata name each, and the tensor that it was the same as.

use super::error::name_for_message;
use super::{Checkpoint, Content, TensorId};

/// So many are named in a warning.
const NAMED: usize = 3;

/// Find them: metadata whose key is no tensor's name, and whose value is.
pub(super) fn find(checkpoint: &mut Checkpoint) {
    if checkpoint.metadata.is_empty() || !matches!(checkpoint.content, Content::StateDict { .. }) {
        return;
    }
    let texts = checkpoint.metadata.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let candidates: Vec<(&String, &str)> =
        texts.filter(|(key, value)| key.contains('.') && value.contains('.')).collect();
    let mut ties: Vec<(String, TensorId)> = Vec::new();
    for (key, value) in candidates {
        let at = |name: &str| checkpoint.tensors.iter().position(|tensor| tensor.name == name);
        if let Some(id) = at(value).filter(|_| at(key).is_none()) {
            ties.push((key.clone(), id));
        }
    }
    if ties.is_empty() {
        return;
    }
    let shown = ties.iter().take(NAMED).filter_map(|(name, id)| {
        Some(format!("`{}` is `{}`", name_for_message(name), name_for_message(&checkpoint.tensors.get(*id)?.name)))
    });
    let shown: Vec<String> = shown.collect();
    let more = if ties.len() > NAMED { ", …" } else { "" };
    let count = ties.len();
    checkpoint.warnings.push(format!("{count} tied, and in the file once: {}{more}.", shown.join(", ")));
    checkpoint.ties = ties;
}
