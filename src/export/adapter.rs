//! A LoRA adapter of peft's as mlx-lm reads one: `lora_a` and `lora_b` are A and B transposed, `m` is DoRA's magnitude, and an
//! adapter_config.json beside them says rank, scale and which layers. Held against mlx-lm 0.32.2, whose loader takes these names
//! alone, one rank and one scale.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::state_dict::{Entry, Known, Left, Shape, Sources, StateDict, Why};
use crate::open::Opened;
use crate::plan::{Move, Rule};
use globset::GlobSet;
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Tensor};

/// What mlx-lm calls the weights of an adapter.
pub const WEIGHTS: &str = "adapters.safetensors";
/// What it calls its configuration.
pub const CONFIG: &str = "adapter_config.json";
/// What peft puts before the model's names.
const PREFIX: &str = "base_model.model.";
/// Scales that may be told apart.
const CLOSE: f64 = 1e-9;

/// What is written.
#[derive(Debug)]
pub struct Adapter {
    /// Its tensors.
    pub map: StateDict,
    /// Its adapter_config.json.
    pub config: Value,
}

/// What a tensor of an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    A,
    B,
    Magnitude,
}

/// Ends of peft's names, and whether the layer is an embedding.
const ENDS: [(&str, Part, bool); 5] = [
    (".lora_A", Part::A, false),
    (".lora_B", Part::B, false),
    (".lora_embedding_A", Part::A, true),
    (".lora_embedding_B", Part::B, true),
    (".lora_magnitude_vector", Part::Magnitude, false),
];

/// The adapter as mlx-lm has it, or what stands in the way, in words.
///
/// # Errors
/// It is no LoRA adapter with its configuration, or has what mlx-lm has no place for; the message names it.
pub fn adapter(opened: &Opened, skip: &GlobSet) -> Result<Adapter, String> {
    let checkpoint = &opened.checkpoint;
    let config = checkpoint.metadata.get("adapter_config").and_then(Value::as_object);
    let config = config.ok_or("--lora is for an adapter of peft's with its adapter_config.json: give its folder")?;
    let kind = config.get("peft_type").and_then(Value::as_str).unwrap_or("LORA");
    if kind != "LORA" {
        return Err(format!("it is {}, of which mlx-lm knows nothing; merge it into the model", quoted(kind)));
    }
    let mut map = StateDict::default();
    let mut layers: BTreeMap<String, BTreeSet<Part>> = BTreeMap::new();
    let (mut ranks, mut embeddings) = (BTreeSet::new(), Vec::new());
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        if skip.is_match(tensor.name.as_str()) {
            map.left.push(Left { name: tensor.name.to_string(), tensor: id, why: Why::Skipped });
            continue;
        }
        let (path, part, embedding) = part(&tensor.name).ok_or_else(|| stranger(checkpoint, tensor))?;
        let (own, step) = match part {
            Part::A => ("lora_a", turned("lora_a")),
            Part::B => ("lora_b", turned("lora_b")),
            Part::Magnitude => ("m", Move::keep("m")),
        };
        let sizes: Shape = tensor.shape.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
        let wanted = if part == Part::Magnitude { 1 } else { 2 };
        if sizes.len() != wanted {
            let name = quoted(&tensor.name);
            return Err(format!(
                "`{name}` has shape {:?}; mlx-lm has LoRA for linear layers and embeddings alone",
                tensor.shape.as_slice()
            ));
        }
        ranks.extend((part == Part::A).then(|| sizes[0]));
        embeddings.extend(embedding.then(|| path.clone()));
        let shape: Shape = if wanted == 2 { sizes.iter().rev().copied().collect() } else { sizes };
        let name = format!("{path}.{own}").into();
        let (step, from) = (step.into(), Sources::from_slice(&[id]));
        map.entries.push(Entry { name, module: 0, step, from, shape, dtype: tensor.dtype, known: Known::Layout });
        layers.entry(path).or_default().insert(part);
    }
    let dora = layers.values().any(|parts| parts.contains(&Part::Magnitude));
    for (path, parts) in &layers {
        let path = quoted(path);
        if !parts.contains(&Part::A) || !parts.contains(&Part::B) {
            return Err(format!("`{path}` has only one of its two factors"));
        }
        if dora && !parts.contains(&Part::Magnitude) {
            return Err(format!("`{path}` has no magnitude, and other layers do: mlx-lm's DoRA is for all or none"));
        }
    }
    if let Some(path) = embeddings.first().filter(|_| dora) {
        return Err(format!(
            "`{}` is an embedding with DoRA, whose magnitude mlx-lm has along the other axis",
            quoted(path)
        ));
    }
    let ranks: Vec<usize> = ranks.into_iter().collect();
    let &[rank] = ranks.as_slice() else {
        return Err(format!("its layers have the ranks {ranks:?}: mlx-lm has one for all"));
    };
    let scale = scale(config, rank)?;
    let keys: BTreeSet<&str> = layers.keys().map(|path| key(path)).collect();
    let config = json!({
        "fine_tune_type": if dora { "dora" } else { "lora" },
        // All layers: those without an adapter get one that changes nothing.
        "num_layers": -1,
        "lora_parameters": {"rank": rank, "scale": scale, "dropout": 0.0, "keys": keys},
        "base_model_name_or_path": config.get("base_model_name_or_path"),
        "tool": format!("t2m-tui {}", env!("CARGO_PKG_VERSION")),
    });
    Ok(Adapter { map, config })
}

fn turned(own: &str) -> Move {
    Move::keep(own).by(Rule::axes("linear_transposed", &[1, 0]))
}

/// The layer's path in the model, what the tensor is to it, and whether it is an embedding.
fn part(name: &str) -> Option<(String, Part, bool)> {
    let (end, part, embedding) = *ENDS.iter().find(|(end, ..)| {
        name.rfind(end).is_some_and(|at| matches!(name.as_bytes().get(at + end.len()), None | Some(b'.')))
    })?;
    let at = name.rfind(end)?;
    // `.weight`, `.default.weight`, `.default`: the adapter's own name and the module's.
    let behind = name.get(at + end.len()..)?;
    let path = name.get(..at)?;
    let is_factor = behind.split('.').count() <= 3 && !behind.ends_with(".bias");
    is_factor.then(|| (path.strip_prefix(PREFIX).unwrap_or(path).to_owned(), part, embedding))
}

/// Why a tensor that is no factor stands in the way.
fn stranger(checkpoint: &Checkpoint, tensor: &Tensor) -> String {
    let name = quoted(&tensor.name);
    let config = checkpoint.metadata.get("adapter_config");
    let saved = config.and_then(|config| config.get("modules_to_save")?.as_array()).into_iter().flatten();
    let is_saved = saved.filter_map(Value::as_str).any(|module| tensor.name.split('.').any(|part| part == module));
    let what = if is_saved {
        "is a whole module that was trained as well (modules_to_save)"
    } else if tensor.name.contains("lora_bias") || tensor.name.ends_with("lora_B.bias") {
        "is a bias of LoRA (lora_bias)"
    } else if tensor.name.ends_with(".bias") {
        "is a bias that was trained as well"
    } else {
        "is no factor of LoRA"
    };
    format!(
        "`{name}` {what}: mlx-lm's adapters have no place for it. Merge the adapter with peft's merge_and_unload(), or leave it out with --skip"
    )
}

/// What the product of the factors is multiplied by.
fn scale(config: &Map<String, Value>, rank: usize) -> Result<f64, String> {
    let alpha = config.get("lora_alpha").and_then(Value::as_f64);
    let alpha = alpha.ok_or("its adapter_config.json does not say lora_alpha, and so no scale")?;
    let stabilised = config.get("use_rslora").and_then(Value::as_bool) == Some(true);
    let by = |alpha: f64, rank: f64| alpha / if stabilised { rank.sqrt() } else { rank };
    let scale = by(alpha, rank as f64);
    let patterns = config.get("alpha_pattern").and_then(Value::as_object).into_iter().flatten();
    for (layer, own) in patterns {
        let is_same = |alpha: f64| (by(alpha, rank as f64) - scale).abs() <= CLOSE * scale.abs();
        if !own.as_f64().is_some_and(is_same) {
            return Err(format!("alpha_pattern gives `{}` a scale of its own: mlx-lm has one for all", quoted(layer)));
        }
    }
    Ok(scale)
}

/// A layer's name as mlx-lm's configuration has it: within its block, or in the model where it is in none.
fn key(path: &str) -> &str {
    let mut parts = path.match_indices('.').map(|(at, _)| at);
    let begin = |at: usize| path[..at].rfind('.').map_or(0, |before| before + 1);
    let number = parts.find(|&at| path[begin(at)..at].bytes().all(|byte| byte.is_ascii_digit()));
    number.map_or(path, |at| &path[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let said = |name: &str| part(name);
        let path = "model.layers.0.self_attn.q_proj".to_owned();
        for end in ["lora_A.weight", "lora_A.default.weight", "lora_A"] {
            assert_eq!(said(&format!("base_model.model.{path}.{end}")), Some((path.clone(), Part::A, false)));
        }
        assert_eq!(said("base_model.model.embed.lora_embedding_B.default"), Some(("embed".to_owned(), Part::B, true)));
        assert_eq!(said("a.lora_magnitude_vector.weight"), Some(("a".to_owned(), Part::Magnitude, false)));
        assert_eq!(said("base_model.model.lm_head.weight"), None);
        assert_eq!(
            [key(&path), key("model.embed_tokens"), key("h.3.attn.c_attn")],
            ["self_attn.q_proj", "model.embed_tokens", "attn.c_attn"]
        );
    }
}
