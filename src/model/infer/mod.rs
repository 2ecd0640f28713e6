//! Classes from names and shapes, where a bare state dict is all there is.
//!
//! The rules are ordered, and each has a confidence, measured on models whose classes were known. A rule fills in
//! hyper-parameters that shapes determine (channels, kernel), and never others (stride, eps).

mod names;
mod norms;
mod rules;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::reparametrized::{self, Reparametrized};
use super::{Evidence, Model, Module};
pub(super) use rules::{CONV, CONV_TRANSPOSE};
use rules::{LINEAR, Surroundings};
use t2m_checkpoint::{Sizes, Tensor, TensorId};

/// The most tensors of a layer: an LSTM of 32 layers both ways has 256.
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

/// The value of a hyper-parameter, as shapes determine it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Known {
    Flag(bool),
    Number(u64),
    Sizes(Sizes),
}

/// Give modules that the file lists without a class one where what they hold tells it: in an exported program these are the modules
/// that nothing calls, so that numbered children are those of a list.
pub(super) fn uncalled(model: &mut Model) {
    for id in 1..model.modules.len() {
        let Some(module) = model.modules.get(id).filter(|module| module.class.is_empty()) else { continue };
        let numbered = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_leaf = module.end == id + 1;
        let holds_parameters = !module.tensors.is_empty() && module.tensors.iter().all(|own| numbered(&own.name));
        let guess = match (is_leaf, holds_parameters) {
            (true, true) => Some(Guess::new("torch.nn.modules.container.ParameterList", 0.95)),
            (true, false) => None,
            (false, _) => rules::parametrization(model, id)
                .or_else(|| rules::container(model, id).map(|_| Guess::new(MODULE_LIST, 0.95))),
        };
        if let (Some(guess), Some(module)) = (guess, model.modules.get_mut(id)) {
            module.class = guess.class.into();
            (module.evidence, module.confidence) = (Evidence::Inferred, guess.confidence);
        }
    }
}

/// The class of a list of modules.
const MODULE_LIST: &str = "torch.nn.modules.container.ModuleList";

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

/// Confidence from the other norms of the model.
const BY_AGREEMENT: f32 = 0.92;

/// How many different guesses are remembered, so that modules that are alike share them.
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
        // The rules have only a few lists.
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

/// What the rules know about the rest of the model.
#[derive(Default)]
struct Context {
    /// Whether most layers are convolutions and no name suggests a layer norm.
    is_convnet: bool,
    /// Whether nearly all are matrices.
    is_transformer: bool,
    /// Whether the config.json says that its norms are RMS norms.
    is_rms: bool,
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

    /// Shape of any tensor, unless it has none yet.
    fn shape(&self, id: TensorId) -> Option<&'a [u64]> {
        self.tensors.get(id).filter(|tensor| !tensor.is_uninitialised()).map(|tensor| tensor.shape.as_slice())
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

/// Fill in classes, confidences, alternatives and attributes. `versions` are those of `_metadata`, by module; `config` is the
/// model's config.json.
pub(super) fn infer(
    model: &mut Model,
    tensors: &[Tensor],
    versions: &[Option<i64>],
    config: Option<&Map<String, Value>>,
) {
    let is_rms = config.is_some_and(|config| config.contains_key("rms_norm_eps"));
    let kinds = Kinds::of(model, tensors);
    let (is_convnet, is_transformer) = (kinds.is_convnet(), kinds.is_transformer());
    let mut context = Context { is_convnet, is_transformer, is_rms, ..Context::default() };
    let mut shared = Shared::default();
    for id in 0..model.modules.len() {
        let Some(shapes) = Shapes::new(model, id, tensors) else { continue };
        let version = versions.get(id).copied().flatten();
        let guess = if shapes.module.tensors.len() > MOST_TENSORS {
            None
        } else if shapes.module.tensors.is_empty() && shapes.computed.is_none() {
            rules::container(model, id).or_else(|| rules::parametrization(model, id))
        } else if shapes.only(&["weight", "bias"]) && shapes.computed.is_none() {
            // By far the most. What the other rules look for goes by other names.
            rules::by_weight(&shapes, &context, &Surroundings { model, id, version })
        } else {
            let surroundings = Surroundings { model, id, version };
            rules::packed(&shapes)
                .or_else(|| rules::parametrization(model, id))
                .or_else(|| rules::by_marks(&shapes, &context, &surroundings))
                .or_else(|| rules::by_weight(&shapes, &context, &surroundings))
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
    agree(model);
}

/// Of one part of a model the norms without a bias are of one kind: where some are known to be RMS norms, the others are.
fn agree(model: &mut Model) {
    let is_norm = |module: &Module, class: &str| module.evidence == Evidence::Inferred && module.class == class;
    let sure = |module: &&Module| is_norm(module, rules::RMS_NORM) && module.alternatives.is_empty();
    // A model that is made of others may have norms of each.
    let depth =
        (0..).take(3).find(|depth| model.modules.iter().filter(|module| module.depth == depth + 1).nth(1).is_some());
    let depth = depth.unwrap_or_default() + 1;
    let part = |module: &Module| {
        let end = module.path.match_indices('.').nth(depth - 1).map_or(module.path.len(), |(at, _)| at);
        CompactString::from(module.path.get(..end).unwrap_or_default())
    };
    let parts: HashSet<CompactString, RandomState> = model.modules.iter().filter(sure).map(part).collect();
    if parts.is_empty() {
        return;
    }
    // `model.layers` beside `model.norm`: what is a norm itself at that depth is none of them.
    for module in &mut model.modules {
        let belongs = module.depth <= depth || parts.contains(&part(module));
        if belongs && is_norm(module, rules::RMS_NORM) && !module.alternatives.is_empty() {
            module.alternatives = Arc::default();
            module.confidence = BY_AGREEMENT;
        }
    }
}

/// Convolutions and matrices of a model, and whether a name is a layer norm's.
struct Kinds {
    convolutions: usize,
    matrices: usize,
    has_layer_norm: bool,
}

impl Kinds {
    fn of(model: &Model, tensors: &[Tensor]) -> Kinds {
        let mut kinds = Kinds { convolutions: 0, matrices: 0, has_layer_norm: false };
        for module in &model.modules {
            let weight = module.tensor("weight").and_then(|weight| tensors.get(weight));
            match weight.map(|weight| weight.shape.len()) {
                Some(3..=5) => kinds.convolutions += 1,
                Some(2) => kinds.matrices += 1,
                Some(1) if has_word(&module.name, &["ln", "layernorm", "layer_norm"]) => kinds.has_layer_norm = true,
                _ => {}
            }
        }
        kinds
    }

    /// At least 8 convolutions for each matrix, and no name of a layer norm.
    fn is_convnet(&self) -> bool {
        !self.has_layer_norm && self.convolutions >= 8 * self.matrices.max(1)
    }

    /// Matrices, and hardly a convolution but those at the entrance.
    fn is_transformer(&self) -> bool {
        self.matrices >= 4 && self.matrices >= 6 * self.convolutions
    }
}

/// Remember for the next modules what this one outputs.
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

/// Whether a name has one of these as a whole word, in any case: between underscores, dots and digits. A file may ask this a
/// million times: nothing is copied for it.
fn has_word(name: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        let places = name.as_bytes().windows(word.len().max(1)).enumerate();
        let mut found = places.filter(|(_, bytes)| bytes.eq_ignore_ascii_case(word.as_bytes()));
        found.any(|(start, _)| {
            let before = name.get(..start).and_then(|before| before.chars().next_back());
            let behind = name.get(start + word.len()..).and_then(|behind| behind.chars().next());
            ![before, behind].into_iter().flatten().any(char::is_alphabetic)
        })
    })
}
