//! Norms that add one to their weight look like those that do not: names and shapes are the same. Which they are the model's
//! family says, by its configuration, or the source does; otherwise it stays undecided.

use serde_json::{Map, Value};

use crate::model::{Evidence, Model, Module, ModuleId};
use crate::open::Opened;
use crate::registry::{Attribute, Layer, Recipe, Registry};

/// What is known of the norms of one family.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    /// RMS norms add this number to their weight.
    Rms(f64),
    /// Layer norms do.
    Layer(f64),
    /// None adds anything.
    Plain,
    /// It has norms of both kinds, or is not known.
    Nothing,
}

/// What a norm whose class only names and shapes tell adds to its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Added {
    /// Nothing.
    Nothing,
    /// This number.
    Number(f64),
    /// That is not known.
    Unknown,
}

/// Parts of a multimodal model by the beginnings of their names, and what configurations call them.
const PARTS: [(&[&str], &[&str]); 3] = [
    (
        &["language", "text", "llm", "lm_"],
        &["text_config", "llm_config", "language_config", "decoder", "decoder_config"],
    ),
    (&["vision", "visual", "vit", "image"], &["vision_config", "vit_config", "visual"]),
    (&["audio", "speech"], &["audio_config", "speech_config", "audio_encoder_config"]),
];
/// Configurations in configurations are looked through so deep.
const DEEPEST: usize = 4;
/// Modules that are looked at for names that tell a family: layers are alike. An index of all paths would be kept.
const LOOKED_AT: usize = 1_000;

/// The norms of a model.
#[derive(Debug)]
pub(super) struct Norms<'a> {
    model: &'a Model,
    /// The whole model's family.
    root: Says,
    /// Those of the parts in [`PARTS`] that have a configuration of their own.
    parts: [Option<Says>; PARTS.len()],
    /// Whether layer norms are in doubt too.
    looks_like_nemotron: bool,
}

impl<'a> Norms<'a> {
    /// By the configuration beside the weights, if there is one.
    pub fn of(opened: &'a Opened) -> Norms<'a> {
        let (checkpoint, registry) = (&opened.checkpoint, &opened.registry);
        let config = checkpoint.config();
        // Code of the repository's own may be a copy of a family's, or anything.
        let otherwise =
            if config.is_some_and(|config| config.contains_key("auto_map")) { Says::Nothing } else { Says::Plain };
        let named = checkpoint.root_class.as_deref();
        let class = named.map_or_else(|| config.and_then(architecture), |class| class.rsplit('.').next());
        let root = if named.is_some_and(|class| class.starts_with("diffusers.")) {
            Says::Plain
        } else if let Some(class) = class {
            by_class(registry, class).unwrap_or(otherwise)
        } else {
            let kind = config.and_then(model_type);
            kind.map_or(Says::Nothing, |kind| by_type(registry, kind).unwrap_or(otherwise))
        };
        let part = |(_, keys): &(&[&str], &[&str])| {
            let kind = config.and_then(|config| part_type(config, keys, DEEPEST))?;
            Some(by_type(registry, kind).unwrap_or(Says::Plain))
        };
        let metas = || is_metas_llama(&opened.model);
        let root = if root == Says::Nothing && metas() { Says::Plain } else { root };
        Norms {
            model: &opened.model,
            root,
            parts: PARTS.each_ref().map(part),
            looks_like_nemotron: looks_like_nemotron(&opened.model),
        }
    }

    /// What a module adds to its weight, if it is a norm and its class only inferred.
    pub fn added(&self, id: ModuleId) -> Added {
        let Some(module) = self.model.modules.get(id).filter(|module| is_inferred_norm(module)) else {
            return Added::Nothing;
        };
        let has_bias = module.tensors.iter().any(|own| own.name == "bias" && own.tensor.is_some());
        let parent = module.parent.and_then(|parent| self.model.modules.get(parent));
        // The norm inside a state-space block multiplies by its weight, in families whose other norms add one.
        let gated = parent.is_some_and(|parent| parent.tensors.iter().any(|own| own.name == "A_log"));
        match self.says(&module.path) {
            _ if gated => Added::Nothing,
            Says::Rms(offset) if !has_bias => Added::Number(offset),
            Says::Layer(offset) if has_bias => Added::Number(offset),
            Says::Nothing if !has_bias || self.looks_like_nemotron => Added::Unknown,
            _ => Added::Nothing,
        }
    }

    fn says(&self, path: &str) -> Says {
        let begins = |names: &[&str]| path.split('.').any(|part| names.iter().any(|name| part.starts_with(name)));
        let own = PARTS.iter().zip(&self.parts).find_map(|((names, _), says)| says.filter(|_| begins(names)));
        own.unwrap_or(self.root)
    }
}

/// Whether names and shapes alone say that a module is an RMS or a layer norm.
fn is_inferred_norm(module: &Module) -> bool {
    let class = module.class.rsplit('.').next().unwrap_or_default();
    module.evidence == Evidence::Inferred
        && matches!(class, "RMSNorm" | "LayerNorm")
        && module.tensor("weight").is_some()
}

/// Llama's own format is known by its names: its norms add nothing.
fn is_metas_llama(model: &Model) -> bool {
    ["tok_embeddings", "layers.0.attention_norm", "layers.0.attention.wq", "layers.0.feed_forward.w1"]
        .iter()
        .all(|path| model.modules.iter().take(LOOKED_AT).any(|module| module.path == *path))
}

/// Nemotron's layers have layer norms of Llama's names, and no gate: its norms add one.
fn looks_like_nemotron(model: &Model) -> bool {
    let has = |name: &str, bias: bool| {
        let mut modules = model.modules.iter().take(LOOKED_AT).filter(|module| module.name == name);
        modules.any(|module| !bias || module.tensor("bias").is_some())
    };
    has("input_layernorm", true) && has("up_proj", false) && !has("gate_proj", false)
}

fn architecture(config: &Map<String, Value>) -> Option<&str> {
    config.get("architectures")?.get(0)?.as_str()
}

fn model_type(config: &Map<String, Value>) -> Option<&str> {
    config.get("model_type")?.as_str()
}

/// The type of the first configuration of one of these names.
fn part_type<'c>(config: &'c Map<String, Value>, keys: &[&str], depth: usize) -> Option<&'c str> {
    let own = keys.iter().find_map(|key| model_type(config.get(*key)?.as_object()?));
    own.or_else(|| {
        let mut inner = config.values().filter_map(Value::as_object).filter(|_| depth > 0);
        inner.find_map(|config| part_type(config, keys, depth - 1))
    })
}

/// What the norms of a class's family do. A family is known by the name that its classes begin with.
fn by_class(registry: &Registry, name: &str) -> Option<Says> {
    let begins = |family: &str| {
        let rest = name.strip_prefix(family);
        rest.is_some_and(|rest| {
            rest.is_empty()
                || ["For", "Model", "Text", "PreTrained", "Encoder", "Decoder", "LM"]
                    .iter()
                    .any(|word| rest.starts_with(word))
        })
    };
    says(registry, begins)
}

/// As [`by_class`], by a configuration's `model_type`: `gemma3_text` is of the family Gemma3.
fn by_type(registry: &Registry, kind: &str) -> Option<Says> {
    let squashed = |name: &str| name.replace(['_', '-', '.'], "").to_ascii_lowercase();
    let kind = squashed(kind);
    says(registry, |family| {
        let rest = kind.strip_prefix(&squashed(family));
        rest.is_some_and(|rest| matches!(rest, "" | "text" | "module" | "encoder" | "decoder" | "llm"))
    })
}

/// What the norms of the family do that the name fits best; `None` where the registry has none of it.
fn says(registry: &Registry, is_family: impl Fn(&str) -> bool) -> Option<Says> {
    let norms = registry.classes().filter(|(class, row)| {
        class.starts_with("transformers.")
            && matches!(row.recipe, Some(Recipe::RmsNormVariant | Recipe::LayerNormVariant | Recipe::RmsNorm))
    });
    let found: Vec<(&str, &Layer)> =
        norms.filter_map(|(class, row)| Some((family(class).filter(|family| is_family(family))?, row))).collect();
    let longest = found.iter().map(|(family, _)| family.len()).max()?;
    let offset = |row: &Layer| match row.attributes.get("offset") {
        Some(Attribute::Constant(value)) => value.as_f64(),
        _ => None,
    };
    let mut rows = found.iter().filter(|(family, _)| family.len() == longest).map(|(_, row)| *row);
    let row = rows.next()?;
    if rows.any(|other| offset(other) != offset(row)) {
        return Some(Says::Nothing);
    }
    Some(match (offset(row), row.recipe) {
        (None, _) => Says::Plain,
        (Some(offset), Some(Recipe::LayerNormVariant)) => Says::Layer(offset),
        (Some(offset), _) => Says::Rms(offset),
    })
}

/// The family of a norm's class; the gated norms are those of state-space blocks.
fn family(class: &str) -> Option<&str> {
    let short = class.rsplit('.').next()?;
    let words = ["TextRMSNorm", "TextCenteredRMSNorm", "RMSNorm", "LayerNorm"];
    let at = words.iter().find_map(|word| short.find(word))?;
    (at > 0 && !short.ends_with("Gated")).then(|| short.get(..at))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_family_is_known_by_class_and_by_type() {
        let registry = Registry::load(&[]).unwrap();
        for (class, kind, says) in [
            ("GemmaForCausalLM", "gemma", Says::Rms(1.0)),
            ("Gemma2Model", "gemma2", Says::Rms(1.0)),
            ("Gemma3ForCausalLM", "gemma3_text", Says::Rms(1.0)),
            ("Gemma3ForConditionalGeneration", "gemma3", Says::Rms(1.0)),
            ("Gemma3nForConditionalGeneration", "gemma3n_text", Says::Plain),
            ("Qwen3NextForCausalLM", "qwen3_next", Says::Rms(1.0)),
            ("Qwen3_5ForConditionalGeneration", "qwen3_5_text", Says::Rms(1.0)),
            ("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text", Says::Rms(1.0)),
            ("RecurrentGemmaForCausalLM", "recurrent_gemma", Says::Rms(1.0)),
            ("VaultGemmaForCausalLM", "vaultgemma", Says::Rms(1.0)),
            ("T5GemmaForConditionalGeneration", "t5gemma", Says::Rms(1.0)),
            ("T5Gemma2ForConditionalGeneration", "t5gemma2", Says::Rms(1.0)),
            ("NemotronForCausalLM", "nemotron", Says::Layer(1.0)),
            ("LlamaForCausalLM", "llama", Says::Plain),
            ("Qwen3ForCausalLM", "qwen3", Says::Plain),
            ("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl_text", Says::Plain),
            ("T5ForConditionalGeneration", "t5", Says::Plain),
        ] {
            let known = [by_class(&registry, class), by_type(&registry, kind)];
            assert_eq!(known.map(|known| known.unwrap_or(Says::Plain)), [says, says], "{class}");
        }
    }
}
