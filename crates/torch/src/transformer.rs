//! Transformers: layers made of others. The arguments of those come with the layer, by path.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use super::attention::{Attention, Masks, numbers};
use super::call::{self, Named, Order};
use super::tensor::{Weights, length};
use super::{Built, Forward, Problem, single};
use t2m_engine::args::Args;

const FOR_ENCODER: &[&str] = &["src", "mask", "src_key_padding_mask"];
const FOR_ENCODER_LAYER: &[&str] = &["src", "src_mask", "src_key_padding_mask"];
const FOR_DECODER: &[&str] =
    &["tgt", "memory", "tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"];
const FOR_BOTH: &[&str] = &[
    "src",
    "tgt",
    "src_mask",
    "tgt_mask",
    "memory_mask",
    "src_key_padding_mask",
    "tgt_key_padding_mask",
    "memory_key_padding_mask",
];

/// The class `torch.nn.modules.transformer.*`; inputs `[L, N, E]`, batch first if the layer's attention says so, or
/// `[L, E]`.
pub(super) fn build(class: &str, args: &Args<'_>, weights: &Weights) -> Built {
    let parts = || Parts::new(args, weights);
    Ok(Some(match class {
        "TransformerEncoderLayer" => {
            let layer = Layer::new(&parts()?, args, "", false)?;
            let (order, causal) = call::read(args, FOR_ENCODER_LAYER, |call| call.flag_or("is_causal", false))?;
            single(move |weights, given| {
                let named = order.bind(given)?;
                let masks = source_masks(&named, "src_mask", causal);
                layer.forward(weights, named.get("src")?, &masks, None)
            })
        }
        "TransformerDecoderLayer" => {
            let layer = Layer::new(&parts()?, args, "", true)?;
            let (order, hints) = call::read(args, FOR_DECODER, hints)?;
            single(move |weights, given| {
                let named = order.bind(given)?;
                let target = target_masks(&named, hints.target.unwrap_or(false));
                let memory = (named.get("memory")?, memory_masks(&named, hints.memory));
                layer.forward(weights, named.get("tgt")?, &target, Some(&memory))
            })
        }
        "TransformerEncoder" => {
            let stack = Stack::new(&parts()?, "", false)?;
            let (order, causal) = call::read(args, FOR_ENCODER, |call| call.flag_or_none("is_causal"))?;
            single(move |weights, given| {
                let named = order.bind(given)?;
                stack.encode(weights, named.get("src")?, &source_masks(&named, "mask", false), causal)
            })
        }
        "TransformerDecoder" => {
            let stack = Stack::new(&parts()?, "", true)?;
            let (order, hints) = call::read(args, FOR_DECODER, hints)?;
            single(move |weights, given| {
                let named = order.bind(given)?;
                stack.decode(weights, &named, named.get("memory")?, &hints)
            })
        }
        "Transformer" => both(args, &parts()?)?,
        _ => return Ok(None),
    }))
}

/// `Transformer`: inputs src `[S, N, E]` and tgt `[T, N, E]`.
fn both(args: &Args<'_>, parts: &Parts<'_>) -> Result<Forward, Problem> {
    let encoder = Stack::new(parts, "encoder.", false)?;
    let decoder = Stack::new(parts, "decoder.", true)?;
    let (order, (source, hints)): (Order, _) =
        call::read(args, FOR_BOTH, |call| Ok((call.flag_or_none("src_is_causal")?, hints(call)?)))?;
    Ok(single(move |weights, given| {
        let named = order.bind(given)?;
        let masks = source_masks(&named, "src_mask", false);
        let memory = encoder.encode(weights, named.get("src")?, &masks, source)?;
        decoder.decode(weights, &named, &memory, &hints)
    }))
}

/// Whether the caller says that a decoder's masks are causal. For `tgt_mask` it is determined if the caller does not
/// say.
struct Hints {
    target: Option<bool>,
    memory: bool,
}

fn hints(call: &Args<'_>) -> Result<Hints, String> {
    let memory = call.flag_or("memory_is_causal", false)?;
    Ok(Hints { target: call.flag_or_none("tgt_is_causal")?, memory })
}

fn source_masks<'a>(named: &Named<'a>, mask: &str, causal: bool) -> Masks<'a> {
    Masks { keys: named.find("src_key_padding_mask"), scores: named.find(mask), causal }
}

fn target_masks<'a>(named: &Named<'a>, causal: bool) -> Masks<'a> {
    Masks { keys: named.find("tgt_key_padding_mask"), scores: named.find("tgt_mask"), causal }
}

fn memory_masks<'a>(named: &Named<'a>, causal: bool) -> Masks<'a> {
    Masks { keys: named.find("memory_key_padding_mask"), scores: named.find("memory_mask"), causal }
}

/// The attributes of the submodules by path, and all tensors.
struct Parts<'a> {
    modules: &'a BTreeMap<String, Map<String, Value>>,
    weights: &'a Weights,
}

impl<'a> Parts<'a> {
    fn new(args: &Args<'a>, weights: &'a Weights) -> Result<Parts<'a>, Problem> {
        let modules = args.told().and_then(|told| told.modules.as_ref());
        let missing = || Problem("the attributes of the layer's submodules were not given".to_owned());
        Ok(Parts { modules: modules.ok_or_else(missing)?, weights })
    }

    fn find(&self, path: &str) -> Option<Args<'a>> {
        let (path, attributes) = self.modules.get_key_value(path)?;
        Some(Args::of(path, attributes))
    }

    fn args(&self, path: &str) -> Result<Args<'a>, Problem> {
        self.find(path).ok_or_else(|| Problem(format!("the attributes of the submodule {path} are missing")))
    }
}

/// Layers one after the other, followed by a norm.
struct Stack {
    layers: Vec<Layer>,
    norm: Option<Norm>,
    batch_first: bool,
}

impl Stack {
    fn new(parts: &Parts<'_>, prefix: &str, decoder: bool) -> Result<Stack, Problem> {
        // The forward uses all layers, whatever `num_layers` says.
        let mut layers = Vec::new();
        while let Some(own) = parts.find(&format!("{prefix}layers.{}", layers.len())) {
            layers.push(Layer::new(parts, &own, &format!("{prefix}layers.{}.", layers.len()), decoder)?);
        }
        if layers.is_empty() {
            return Err(Problem(format!("the attributes of the submodule {prefix}layers.0 are missing")));
        }
        let norm = match parts.find(&format!("{prefix}norm")) {
            Some(_) => Some(Norm::new(parts, &format!("{prefix}norm"))?),
            None => None,
        };
        let batch_first = layers.first().is_some_and(|layer| layer.attention.batch_first);
        Ok(Stack { layers, norm, batch_first })
    }

    fn encode(
        &self,
        weights: &Weights,
        source: &Tensor,
        masks: &Masks<'_>,
        causal: Option<bool>,
    ) -> Result<Tensor, Problem> {
        let mask = masks.scores.map(|mask| numbers(mask, source.f_kind()?)).transpose()?;
        let causal = self.is_causal(mask.as_ref(), causal, source)?;
        let masks = Masks { keys: masks.keys, scores: mask.as_ref(), causal };
        self.run(weights, source, &masks, None)
    }

    fn decode(&self, weights: &Weights, named: &Named<'_>, memory: &Tensor, hints: &Hints) -> Result<Tensor, Problem> {
        let target = named.get("tgt")?;
        let mut masks = target_masks(named, false);
        masks.causal = self.is_causal(masks.scores, hints.target, target)?;
        let memory = (memory, memory_masks(named, hints.memory));
        self.run(weights, target, &masks, Some(&memory))
    }

    fn run(
        &self,
        weights: &Weights,
        input: &Tensor,
        masks: &Masks<'_>,
        memory: Option<&(&Tensor, Masks<'_>)>,
    ) -> Result<Tensor, Problem> {
        let mut output = input.shallow_clone();
        for layer in &self.layers {
            output = layer.forward(weights, &output, masks, memory)?;
        }
        match &self.norm {
            Some(norm) => norm.forward(weights, &output),
            None => Ok(output),
        }
    }

    /// What the caller says, or else whether the mask is the causal one for the input's length.
    fn is_causal(&self, mask: Option<&Tensor>, said: Option<bool>, input: &Tensor) -> Result<bool, Problem> {
        let mask = match (said, mask) {
            (None, Some(mask)) => mask,
            (said, _) => return Ok(said.unwrap_or(false)),
        };
        let size = length(input, if self.batch_first && input.dim() == 3 { 1 } else { 0 })?;
        if mask.size() != [size, size] {
            return Ok(false);
        }
        let kind = mask.f_kind()?;
        let value = if kind == Kind::Bool { 1.0 } else { f64::NEG_INFINITY };
        let causal = Tensor::f_full([size, size], value, (kind, mask.device()))?.f_triu(1)?;
        Ok(mask.f_eq_tensor(&causal)?.f_all()?.f_int64_value(&[])? != 0)
    }
}

/// `TransformerEncoderLayer`, or `TransformerDecoderLayer`, which also attends to the memory.
struct Layer {
    attention: Attention,
    to_memory: Option<Attention>,
    feed: Feed,
    norms: Vec<Norm>,
    norm_first: bool,
}

impl Layer {
    fn new(parts: &Parts<'_>, own: &Args<'_>, prefix: &str, decoder: bool) -> Result<Layer, Problem> {
        let attention = |name: &str| {
            let path = format!("{prefix}{name}");
            Attention::new(&parts.args(&path)?, parts.weights, &format!("{path}."))
        };
        let norms: &[&str] = if decoder { &["norm1", "norm2", "norm3"] } else { &["norm1", "norm2"] };
        Ok(Layer {
            attention: attention("self_attn")?,
            to_memory: if decoder { Some(attention("multihead_attn")?) } else { None },
            feed: Feed::new(parts, own, prefix)?,
            norms: norms.iter().map(|name| Norm::new(parts, &format!("{prefix}{name}"))).collect::<Result<_, _>>()?,
            norm_first: own.flag_or("norm_first", false)?,
        })
    }

    /// A decoder's layer gets `memory` with its masks.
    fn forward(
        &self,
        weights: &Weights,
        input: &Tensor,
        masks: &Masks<'_>,
        memory: Option<&(&Tensor, Masks<'_>)>,
    ) -> Result<Tensor, Problem> {
        let mut output = input.shallow_clone();
        let mut norms = self.norms.iter();
        let mut step = |block: &dyn Fn(&Tensor) -> Result<Tensor, Problem>| -> Result<(), Problem> {
            let norm = norms.next().ok_or_else(|| Problem("a norm of the layer is missing".to_owned()))?;
            output = if self.norm_first {
                output.f_add(&block(&norm.forward(weights, &output)?)?)?
            } else {
                norm.forward(weights, &output.f_add(&block(&output)?)?)?
            };
            Ok(())
        };
        step(&|x| Ok(self.attention.forward(weights, [x, x, x], masks, false)?.0))?;
        if let (Some(attention), Some((memory, masks))) = (&self.to_memory, memory) {
            step(&|x| Ok(attention.forward(weights, [x, memory, memory], masks, false)?.0))?;
        }
        step(&|x| self.feed.forward(weights, x))?;
        Ok(output)
    }
}

/// Two linear layers with an activation between them.
struct Feed {
    prefix: String,
    /// GELU's `approximate`, or ReLU.
    gelu: Option<String>,
}

impl Feed {
    fn new(parts: &Parts<'_>, own: &Args<'_>, prefix: &str) -> Result<Feed, Problem> {
        let feed = Feed { prefix: prefix.to_owned(), gelu: gelu(parts, own, prefix)? };
        parts.weights.get(&format!("{prefix}linear1.weight"))?;
        parts.weights.get(&format!("{prefix}linear2.weight"))?;
        Ok(feed)
    }

    fn forward(&self, weights: &Weights, input: &Tensor) -> Result<Tensor, Problem> {
        let linear = |input: &Tensor, name: &str| -> Result<Tensor, Problem> {
            let weight = weights.get(&format!("{}{name}.weight", self.prefix))?;
            Ok(input.f_linear(weight, weights.find(&format!("{}{name}.bias", self.prefix)))?)
        };
        let wide = linear(input, "linear1")?;
        let active = match &self.gelu {
            Some(approximate) => wide.f_gelu(approximate)?,
            None => wide.f_relu()?,
        };
        linear(&active, "linear2")
    }
}

/// The layer's activation: a function by its path or last name, or a module, whose class only `activation_relu_or_gelu`
/// tells (1 is ReLU, 2 GELU, 0 another one). ReLU is the default.
fn gelu(parts: &Parts<'_>, own: &Args<'_>, prefix: &str) -> Result<Option<String>, Problem> {
    if own.has("activation") {
        return match own.text("activation")?.rsplit('.').next() {
            Some("relu") => Ok(None),
            Some("gelu") => Ok(Some("none".to_owned())),
            _ => Err(own.wrong("activation", "relu or gelu, the ones that are known here").into()),
        };
    }
    let module = parts.find(&format!("{prefix}activation"));
    let code = own.integer_or("activation_relu_or_gelu", if module.is_some() { 0 } else { 1 })?;
    match (code, module) {
        (_, Some(module)) if module.has("approximate") => Ok(Some(module.text("approximate")?.to_owned())),
        (1, _) => Ok(None),
        (2, _) => Ok(Some("none".to_owned())),
        _ => Err(Problem(format!("the class of the submodule {prefix}activation is not known here"))),
    }
}

/// `LayerNorm`.
struct Norm {
    path: String,
    shape: Vec<i64>,
    eps: f64,
}

impl Norm {
    fn new(parts: &Parts<'_>, path: &str) -> Result<Norm, Problem> {
        let args = parts.args(path)?;
        Ok(Norm { path: path.to_owned(), shape: args.list("normalized_shape")?, eps: args.number("eps")? })
    }

    fn forward(&self, weights: &Weights, input: &Tensor) -> Result<Tensor, Problem> {
        let find = |name: &str| weights.find(&format!("{}.{name}", self.path));
        Ok(input.f_layer_norm(&self.shape, find("weight"), find("bias"), self.eps, false)?)
    }
}
