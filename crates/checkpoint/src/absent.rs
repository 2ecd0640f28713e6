//! Weights that a model has and its file does not hold: placeholders, tensors of the meta device, shards that are not there,
//! and the other parts of a set in which each file has a part of the model.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::error::name_for_message;
use super::rebuild::ON_META;
use super::{Checkpoint, TensorId, llama, mount};

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Of which kind.
    pub kind: AbsentKind,
    /// The tensors that stand for what is missing; empty where whole files or parts of every tensor are.
    pub tensors: Vec<TensorId>,
    /// What is missing, in a sentence.
    pub what: String,
    /// Where the weights are to be had, in a sentence.
    pub way_out: String,
}

/// Kinds of weights that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsentKind {
    /// Tensors without elements, as ZeRO-3 leaves them where parameters are shared among ranks.
    Placeholders,
    /// Tensors that were never given memory.
    Meta,
    /// Files that an index names.
    Shards,
    /// Weights that are there as arrays of NumPy's, which are not read.
    Arrays,
    /// The file is one part of a set: tensor-parallel or pipeline-parallel.
    Part,
    /// The file is one shard of several, with some of the tensors, which are whole.
    Shard,
}

/// Files in a folder that are looked at for the other parts of a set.
const MOST_FILES: usize = 100_000;

/// Find what is missing, by the tensors, the metadata, and the file's name among its neighbours.
pub(super) fn find(checkpoint: &mut Checkpoint) {
    let mut found = Vec::new();
    found.extend(placeholders(checkpoint));
    found.extend(on_meta(checkpoint));
    found.extend(part(checkpoint));
    found.extend(arrays(checkpoint));
    for absent in &found {
        checkpoint.warnings.insert(0, format!("{} {}", absent.what, absent.way_out));
    }
    checkpoint.absent.extend(found);
}

/// ZeRO-3 leaves parameters of fewer elements whole (DeepSpeed's `stage3_param_persistence_threshold`, its default).
const PERSISTENT: u64 = 100_000;

/// A parameter without elements has one axis of length 0: that is how ZeRO-3 leaves it. Names tell parameters from buffers that
/// may well be empty. Some libraries have empty parameters of their own (e3nn's biases of layers without scalars): where most
/// parameters are there, or a big one is, nothing is missing.
fn placeholders(checkpoint: &Checkpoint) -> Option<Absent> {
    let is_parameter = |name: &str| {
        let own = name.rsplit('.').next().unwrap_or_default();
        ["weight", "bias"].iter().any(|word| own.contains(word))
    };
    let sharded = checkpoint.metadata.contains_key("param_shapes");
    let is_empty = |tensor: &super::Tensor| tensor.shape.as_slice() == [0] && (sharded || is_parameter(&tensor.name));
    let tensors: Vec<TensorId> =
        checkpoint.tensors.iter().enumerate().filter(|(_, tensor)| is_empty(tensor)).map(|(id, _)| id).collect();
    let first = checkpoint.tensors.get(*tensors.first()?)?;
    let whole = || checkpoint.tensors.iter().filter(|tensor| is_parameter(&tensor.name) && !is_empty(tensor));
    let matrices = whole().filter(|tensor| tensor.shape.len() > 1).count();
    let weights = tensors.iter().filter(|&&id| checkpoint.tensors[id].name.ends_with("weight")).count();
    let big = || whole().any(|tensor| tensor.elements() >= PERSISTENT);
    if !sharded && (matrices > weights || big()) && !lack_a_bias(checkpoint, &tensors) {
        return None;
    }
    let what = format!(
        "The weights are not in the file: {} of {} tensors are empty placeholders (`{}` has shape [0]), as DeepSpeed's ZeRO-3 leaves them.",
        tensors.len(),
        checkpoint.tensors.len(),
        name_for_message(&first.name)
    );
    let way_out = "Gather them with its zero_to_fp32.py (or stage3_gather_16bit_weights_on_model_save), and open what that writes.";
    Some(Absent { kind: AbsentKind::Placeholders, tensors, what, way_out: way_out.to_owned() })
}

/// Whether an empty bias stands beside a matrix, which wants as many biases as it has rows.
fn lack_a_bias(checkpoint: &Checkpoint, empty: &[TensorId]) -> bool {
    let is_matrix = |tensor: &&super::Tensor| tensor.shape.len() > 1 && tensor.elements() > 0;
    let matrices = checkpoint.tensors.iter().filter(is_matrix).filter_map(|tensor| tensor.name.strip_suffix("weight"));
    let matrices: HashSet<&str> = matrices.collect();
    let mut biases = empty.iter().filter_map(|&id| checkpoint.tensors[id].name.strip_suffix("bias"));
    biases.any(|path| matrices.contains(path))
}

/// Arrays of NumPy's among the weights: by their names, or since there is nothing else. Others are told alone.
fn arrays(checkpoint: &mut Checkpoint) -> Option<Absent> {
    let first = checkpoint.arrays.first()?;
    let is_weight = |name: &String| {
        let own = name.rsplit('.').next().unwrap_or_default();
        name.contains('.') || ["weight", "bias"].contains(&own)
    };
    let (count, shown) = (checkpoint.arrays.len(), name_for_message(first));
    let what = if count == 1 {
        format!("`{shown}` is a NumPy array, which is not read.")
    } else {
        format!("{count} values are NumPy arrays, which are not read (`{shown}` is the first).")
    };
    let way_out = "Load the file in Python, make tensors of them with torch.from_numpy, and save it again.";
    if !checkpoint.tensors.is_empty() && !checkpoint.arrays.iter().any(is_weight) {
        checkpoint.warnings.push(what);
        return None;
    }
    Some(Absent { kind: AbsentKind::Arrays, tensors: Vec::new(), what, way_out: way_out.to_owned() })
}

fn on_meta(checkpoint: &Checkpoint) -> Option<Absent> {
    let is_meta = |tensor: &super::Tensor| tensor.problem.as_deref().is_some_and(|problem| problem.ends_with(ON_META));
    let tensors: Vec<TensorId> =
        checkpoint.tensors.iter().enumerate().filter(|(_, tensor)| is_meta(tensor)).map(|(id, _)| id).collect();
    let first = checkpoint.tensors.get(*tensors.first()?)?;
    let what = format!(
        "{} of {} tensors (`{}`) are on the meta device: the file holds no bytes for them.",
        tensors.len(),
        checkpoint.tensors.len(),
        name_for_message(&first.name)
    );
    let way_out = "Save the model again when its weights are loaded.";
    Some(Absent { kind: AbsentKind::Meta, tensors, what, way_out: way_out.to_owned() })
}

/// A kind of set: how the names of its parts look (`#` is a number), what a part is, and what to do.
struct Set {
    pattern: &'static str,
    /// Whether the pattern is that of the folder that the file is in.
    folder: bool,
    what: &'static str,
    way_out: &'static str,
}

/// Llama's own parts.
const LLAMAS: &str = "consolidated.#.pth";
/// Missing parts that are looked for, and that are named.
const MOST_PARTS: usize = 256;
const NAMED: usize = 4;

const SETS: [Set; 6] = [
    Set {
        pattern: LLAMAS,
        folder: false,
        what: "tensor-parallel parts (Llama's own format), each with a slice of most tensors",
        way_out: "Take the model's Hugging Face folder, or make one of all parts with transformers' convert_llama_weights_to_hf.py.",
    },
    Set {
        pattern: "mp_rank_#_model_states.pt",
        folder: false,
        what: "model-parallel parts (DeepSpeed), each with a slice of most tensors",
        way_out: "Merge them with the trainer's own tool (DeepSpeed's ds_to_universal.py), and open what that writes.",
    },
    Set {
        pattern: "zero_pp_rank_#_mp_rank_#_model_states.pt",
        folder: false,
        what: "ranks of DeepSpeed's ZeRO-3",
        way_out: "Gather them with its zero_to_fp32.py, and open what that writes.",
    },
    Set {
        pattern: "layer_#-model_#-model_states.pt",
        folder: false,
        what: "pipeline-parallel parts (DeepSpeed), each with a layer of the model",
        way_out: "Merge them with the trainer's own tool (DeepSpeed's ds_to_universal.py), and open what that writes.",
    },
    Set {
        pattern: "mp_rank_#",
        folder: true,
        what: "tensor-parallel parts (Megatron), each with a slice of most tensors",
        way_out: "Merge them with Megatron's tools/checkpoint/convert.py (target sizes 1), and open what that writes.",
    },
    Set {
        pattern: "mp_rank_#_#",
        folder: true,
        what: "tensor- and pipeline-parallel parts (Megatron), each with a piece of the model",
        way_out: "Merge them with Megatron's tools/checkpoint/convert.py (target sizes 1), and open what that writes.",
    },
];

/// Whether the file is one of a set, by its name, those of its neighbours, and what it says of itself.
fn part(checkpoint: &Checkpoint) -> Option<Absent> {
    if !checkpoint.made.is_empty() {
        return None;
    }
    // A folder whose parts are not joined shows the first of them.
    let path = if mount::is_folder(&checkpoint.path) {
        checkpoint
            .files
            .first()
            .map(super::Bytes::path)
            .filter(|path| fits(LLAMAS, &path.file_name().unwrap_or_default().to_string_lossy()).is_some())?
    } else {
        checkpoint.path.clone()
    };
    let path = path.as_path();
    let name = path.file_name()?.to_str()?;
    let absolute = || mount::absolute(path);
    let absent = |kind: AbsentKind, count: usize, name: &str, what: &str, way_out: &str| Absent {
        kind,
        tensors: Vec::new(),
        what: format!("`{}` is one of {count} {what}.", name_for_message(name)),
        way_out: way_out.to_owned(),
    };
    if let Some(count) = shards_by_name(name).filter(|count| *count > 1) {
        let way_out = "Open the folder, or the index beside it.";
        return Some(absent(AbsentKind::Shard, count, name, "shards, each with some of the tensors", way_out));
    }
    let says = checkpoint.metadata.get("mp_world_size").and_then(Value::as_u64).unwrap_or(1);
    for set in &SETS {
        let (own, beside) = if set.folder {
            let Some(folder) = absolute().and_then(|path| Some(path.parent()?.to_owned())) else { continue };
            let Some(own) = folder.file_name().and_then(|name| Some(name.to_str()?.to_owned())) else { continue };
            (own, folder.parent().map(Path::to_owned))
        } else {
            (name.to_owned(), absolute().and_then(|path| Some(path.parent()?.to_owned())))
        };
        let Some(number) = fits(set.pattern, &own) else { continue };
        let there = beside.as_deref().map(|folder| numbers(folder, set.pattern)).unwrap_or_default();
        let mut count = there.len().max(usize::try_from(says).unwrap_or(1)).max(number + 1);
        count = count.max(there.iter().max().map_or(0, |last| last + 1));
        if set.pattern == LLAMAS {
            let params = beside.as_deref().and_then(llama::params);
            count = count.max(llama::count(checkpoint, params.as_ref()).unwrap_or(1));
        }
        if count > 1 {
            let mut absent = absent(AbsentKind::Part, count, &own, set.what, set.way_out);
            let missing: Vec<String> = (0..count.min(MOST_PARTS))
                .filter(|number| !there.contains(number))
                .map(|number| format!("{number:02}"))
                .collect();
            if set.pattern == LLAMAS && !missing.is_empty() {
                let named: Vec<String> =
                    missing.iter().take(NAMED).map(|number| format!("`{}`", LLAMAS.replace('#', number))).collect();
                let more = if missing.len() > NAMED { ", …" } else { "" };
                absent.what += &format!(" Not beside it: {}{more}.", named.join(", "));
                "With all parts in one folder they are joined.".clone_into(&mut absent.way_out);
            } else if let Some(why) = checkpoint.metadata.get("not_joined").and_then(Value::as_str) {
                absent.what += &format!(" They are not joined: {why}.");
            }
            return Some(absent);
        }
    }
    None
}

/// The number of shards that a shard's name gives: `model-00001-of-00005.safetensors`.
fn shards_by_name(name: &str) -> Option<usize> {
    let (stem, _) = name.rsplit_once('.')?;
    let (before, count) = stem.rsplit_once("-of-")?;
    let (_, number) = before.rsplit_once('-')?;
    let digits = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && digits(count)).then(|| count.parse().ok()).flatten()
}

/// The last number of a name that fits a pattern.
fn fits(pattern: &str, name: &str) -> Option<usize> {
    let mut rest = name;
    let mut last = None;
    for (place, literal) in pattern.split('#').enumerate() {
        if place > 0 {
            let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
            last = Some(rest.get(..digits)?.parse::<usize>().ok()?);
            rest = rest.get(digits..)?;
        }
        rest = rest.strip_prefix(literal)?;
    }
    if rest.is_empty() { last } else { None }
}

/// The last numbers of the names in a folder that fit.
fn numbers(folder: &Path, pattern: &str) -> Vec<usize> {
    let names = mount::names(folder, MOST_FILES).map(|names| names.list).unwrap_or_default();
    names.iter().filter_map(|(name, _)| fits(pattern, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_names() {
        assert_eq!(fits("consolidated.#.pth", "consolidated.01.pth"), Some(1));
        assert_eq!(fits("consolidated.#.pth", "consolidated.pth"), None);
        assert_eq!(fits("mp_rank_#_#", "mp_rank_00_003"), Some(3));
        assert_eq!(fits("mp_rank_#", "mp_rank_00_003"), None);
        assert_eq!(shards_by_name("model-00001-of-00003.safetensors"), Some(3));
        assert_eq!(shards_by_name("pytorch_model-00002-of-00002.fp16.bin"), None);
        assert_eq!(shards_by_name("best-of-5.pt"), None);
    }
}
