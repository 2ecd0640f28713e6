//! Weights that are packed, scaled or only the difference to a model: quantized checkpoints and adapters. Their tensors' names,
//! types and what a configuration says tell the format; which numbers they stand for is for its own library to say.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::error::name_for_message;
use super::{Checkpoint, Dtype, TensorId};

/// Tensors of one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The format.
    pub scheme: Scheme,
    /// Bits of a weight, where that is known.
    pub bits: Option<u64>,
    /// How many weights share a scale, where the configuration says.
    pub group: Option<u64>,
    /// The model that it was made of or belongs to, where the configuration says.
    pub base: Option<String>,
    /// An adapter's rank.
    pub rank: Option<u64>,
    /// The tensors, in ascending order.
    pub tensors: Vec<TensorId>,
    /// How many layers they belong to.
    pub layers: usize,
}

/// Formats of packed weights and of adapters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// AutoAWQ.
    Awq,
    /// GPTQ, by AutoGPTQ or GPTQModel.
    Gptq,
    /// bitsandbytes, four bits (NF4 or FP4).
    BitsAndBytes4,
    /// bitsandbytes, eight bits.
    BitsAndBytes8,
    /// compressed-tensors, packed integers.
    CompressedTensors,
    /// Eight-bit floats with a scale for each block.
    Fp8Blocks,
    /// Eight-bit floats with a scale for each row or for the tensor.
    Fp8,
    /// Eight-bit integers with scales.
    Int8,
    /// torchao's tensor subclasses.
    TorchAo,
    /// Four-bit floats in blocks that share an exponent.
    Mx,
    /// Types that MLX reads as bytes or not at all: exponents alone, halves of a byte.
    Exotic,
    /// LoRA, in any of its spellings.
    Lora,
    /// Another adapter, by the name that its configuration or its tensors give.
    Adapter(String),
    /// Another method, as the configuration calls it.
    Other(String),
}

impl Scheme {
    /// The name that users know it by.
    pub fn name(&self) -> &str {
        match self {
            Scheme::Awq => "AWQ",
            Scheme::Gptq => "GPTQ",
            Scheme::BitsAndBytes4 => "bitsandbytes 4-bit",
            Scheme::BitsAndBytes8 => "bitsandbytes 8-bit",
            Scheme::CompressedTensors => "compressed-tensors",
            Scheme::Fp8Blocks => "fp8 with block scales",
            Scheme::Fp8 => "fp8 with scales",
            Scheme::Int8 => "int8 with scales",
            Scheme::TorchAo => "torchao",
            Scheme::Mx => "MXFP4",
            Scheme::Exotic => "4-bit floats or E8M0 exponents, no numbers to MLX",
            Scheme::Lora => "LoRA",
            Scheme::Adapter(name) | Scheme::Other(name) => name,
        }
    }

    /// Whether it is an adapter: the difference to a model, without which it is none.
    pub fn is_adapter(&self) -> bool {
        matches!(self, Scheme::Lora | Scheme::Adapter(_))
    }

    /// What MLX wants instead, in a sentence.
    fn wants(&self) -> &'static str {
        match self {
            Scheme::Lora => {
                "mlx-lm wants an adapters.safetensors with `lora_a` = A transposed and `lora_b` = B transposed, which `convert --lora` writes; or merge it into its base model with peft's merge_and_unload(), and convert that."
            }
            Scheme::Adapter(_) => "Merge it into its base model with peft's merge_and_unload(), and convert that.",
            Scheme::Fp8Blocks | Scheme::Fp8 | Scheme::Int8 => {
                "The numbers are codes: multiplied by their scales they are the weights, which `convert --dequantize` writes."
            }
            Scheme::Mx | Scheme::Exotic => {
                "MLX quantizes so itself (mode=\"mxfp4\" of mx.quantize): convert the model in bfloat16, or dequantize it first."
            }
            _ => {
                "MLX packs its own way: convert the model in float16 or bfloat16 and quantize that with nn.quantize or mlx_lm.convert -q."
            }
        }
    }
}

impl Packed {
    /// The format with its figures: `AWQ, 4 bits, groups of 128`.
    pub fn title(&self) -> String {
        let mut title = self.scheme.name().to_owned();
        if let Some(rank) = self.rank {
            title += &format!(" of rank {rank}");
        }
        if let Some(bits) = self.bits.filter(|bits| {
            ![format!("{bits}-bit"), format!("p{bits}"), format!("int{bits}")].iter().any(|known| title.contains(known))
        }) {
            title += &format!(", {bits} bits");
        }
        if let Some(group) = self.group {
            title += &format!(", groups of {group}");
        }
        if let Some(base) = &self.base {
            title += &format!(", for {}", name_for_message(base));
        }
        title
    }

    /// Why a tensor of it can only be copied, and what to do.
    pub fn doubt(&self) -> String {
        format!("{}: {}", self.title(), self.scheme.wants())
    }

    fn warning(&self) -> String {
        let (count, layers) = (self.tensors.len(), self.layers);
        let kind = if self.scheme.is_adapter() { "an adapter, not a model" } else { "packed or scaled" };
        let of = if layers == 1 { "1 layer".to_owned() } else { format!("{layers} layers") };
        format!("{count} tensors of {of} are {kind}: {}. {}", self.title(), self.scheme.wants())
    }
}

/// What a group of tensors in one module is, by the ends of their names.
struct Mark {
    /// All of these have to be there.
    ends: &'static [&'static str],
    scheme: fn(&Found<'_>) -> Option<Scheme>,
}

/// A module's tensors by the ends of their names.
struct Found<'a> {
    checkpoint: &'a Checkpoint,
    by_end: &'a HashMap<&'a str, TensorId>,
}

impl Found<'_> {
    fn dtype(&self, end: &str) -> Option<Dtype> {
        Some(self.checkpoint.tensors.get(*self.by_end.get(end)?)?.dtype)
    }

    fn shape(&self, end: &str) -> Option<&[u64]> {
        Some(self.checkpoint.tensors.get(*self.by_end.get(end)?)?.shape.as_slice())
    }

    fn has_part(&self, part: &str) -> bool {
        self.by_end.keys().any(|end| end.contains(part))
    }
}

/// AWQ packs along the outputs, GPTQ along the inputs: the scales have the outputs' number.
fn awq_or_gptq(found: &Found<'_>) -> Option<Scheme> {
    let (packed, scales) = (found.shape("qweight")?, found.shape("scales")?);
    Some(if packed.get(1)? == scales.get(1)? { Scheme::Gptq } else { Scheme::Awq })
}

/// Codes of eight bits beside a scale: with more rows than scales, and not one scale alone, the scales are of blocks.
fn scaled(found: &Found<'_>) -> Option<Scheme> {
    let rows = *found.shape("weight")?.first()?;
    let scale =
        ["weight_scale_inv", "weight_scale", "scale_weight", "scale"].iter().find_map(|end| found.shape(end))?;
    let blocks = matches!(scale, [first, second] if *first < rows && first * second > 1);
    match found.dtype("weight")? {
        Dtype::Int8 | Dtype::UInt8 => Some(Scheme::Int8),
        dtype if dtype.name().starts_with("float8") && dtype != Dtype::Float8E8M0FNU => {
            Some(if blocks { Scheme::Fp8Blocks } else { Scheme::Fp8 })
        }
        _ => None,
    }
}

const MARKS: [Mark; 17] = [
    Mark { ends: &["qweight", "qzeros", "scales"], scheme: awq_or_gptq },
    Mark { ends: &["qweight", "scales"], scheme: awq_or_gptq },
    Mark { ends: &["weight_packed", "weight_scale"], scheme: |_| Some(Scheme::CompressedTensors) },
    Mark { ends: &["weight", "weight.absmax"], scheme: |_| Some(Scheme::BitsAndBytes4) },
    Mark { ends: &["weight", "SCB"], scheme: |_| Some(Scheme::BitsAndBytes8) },
    Mark { ends: &["weight", "weight_scale_inv"], scheme: scaled },
    Mark { ends: &["weight", "weight_scale"], scheme: scaled },
    Mark { ends: &["weight", "scale_weight"], scheme: scaled },
    Mark { ends: &["weight", "scale"], scheme: scaled },
    Mark { ends: &["weight_qdata"], scheme: |_| Some(Scheme::TorchAo) },
    Mark { ends: &["lora_A", "lora_B"], scheme: |_| Some(Scheme::Lora) },
    Mark { ends: &["lora_A.weight"], scheme: |_| Some(Scheme::Lora) },
    Mark { ends: &["lora_B.weight"], scheme: |_| Some(Scheme::Lora) },
    Mark { ends: &["lora_down.weight", "lora_up.weight"], scheme: |_| Some(Scheme::Lora) },
    Mark { ends: &["hada_w1_a", "hada_w2_a"], scheme: |_| Some(Scheme::Adapter("LoHa".to_owned())) },
    Mark { ends: &["lokr_w1"], scheme: |_| Some(Scheme::Adapter("LoKr".to_owned())) },
    Mark { ends: &["ia3_l"], scheme: |_| Some(Scheme::Adapter("IA3".to_owned())) },
];

/// What stands in names between a layer and the ends that tell a format: adapters have names themselves.
const BETWEEN: [&str; 12] = [
    ".lora_A.",
    ".lora_B.",
    ".lora_embedding_A.",
    ".lora_embedding_B.",
    ".lora_magnitude_vector.",
    ".lora_down.",
    ".lora_up.",
    ".weight.",
    ".hada_",
    ".lokr_",
    ".ia3_l",
    ".oft_",
];

/// The layer of a name, and what of it is behind the layer's path.
fn split(name: &str) -> Option<(&str, &str)> {
    let place = BETWEEN.iter().filter_map(|part| name.find(part)).min().or_else(|| name.rfind('.'))?;
    Some((name.get(..place)?, name.get(place + 1..)?))
}

/// The end of an adapter's name without the adapter's own (`lora_A.default.weight`).
fn plain(end: &str) -> &str {
    for (begin, plain) in [
        ("lora_A.", "lora_A.weight"),
        ("lora_B.", "lora_B.weight"),
        ("lora_embedding_A", "lora_A.weight"),
        ("lora_embedding_B", "lora_B.weight"),
        ("weight.quant_state.", "weight.quant_state"),
        ("ia3_l", "ia3_l"),
    ] {
        if end.starts_with(begin) {
            return plain;
        }
    }
    if end == "_weight_qdata" { "weight_qdata" } else { end }
}

/// Find packed tensors, by the configurations beside the weights and by names, types and shapes.
pub(super) fn find(checkpoint: &mut Checkpoint) {
    let config = |key: &str| checkpoint.metadata.get(key).and_then(Value::as_object);
    let quantized = config("config").and_then(|config| config.get("quantization_config")?.as_object());
    let adapter = config("adapter_config");
    let mut found = by_names(checkpoint);
    if let Some(config) = quantized {
        by_config(checkpoint, config, &mut found);
    }
    let globals = checkpoint.pickle.iter().flat_map(|report| &report.globals);
    if found.is_empty() && globals.clone().any(|global| global.name.starts_with("torchao.")) {
        let tensors: Vec<TensorId> = checkpoint
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, tensor)| tensor.problem.is_some())
            .map(|(id, _)| id)
            .collect();
        let layers = tensors.len();
        found.push(Packed { layers, tensors, ..Packed::new(Scheme::TorchAo) });
    }
    if let Some(config) = adapter {
        by_adapter(checkpoint, config, &mut found);
    }
    let warnings: Vec<String> = found.iter().map(Packed::warning).collect();
    checkpoint.warnings.splice(0..0, warnings);
    checkpoint.packed = found;
}

impl Packed {
    fn new(scheme: Scheme) -> Packed {
        Packed { scheme, bits: None, group: None, base: None, rank: None, tensors: Vec::new(), layers: 0 }
    }
}

fn by_names(checkpoint: &Checkpoint) -> Vec<Packed> {
    let mut layers: indexmap::IndexMap<&str, Vec<TensorId>, foldhash::fast::RandomState> =
        indexmap::IndexMap::default();
    // Nothing of the kind has only names that every model has; a `scale` alone is a norm's. Of a million names most have no
    // underscore, and are not searched.
    const ENDS: [&str; 3] = [".scales", ".absmax", ".SCB"];
    const PARTS: [&str; 9] =
        ["weight_scale", "scale_weight", "_scales", "_packed", "_qdata", "lora_", "hada_", "lokr_", "ia3_"];
    let telling = |name: &str| {
        ENDS.iter().any(|end| name.ends_with(end))
            || (name.contains('_') && PARTS.iter().any(|part| name.contains(part)))
    };
    let is_telling = |tensor: &super::Tensor| telling(&tensor.name) || tensor.dtype.name().starts_with("float8_e");
    if checkpoint.tensors.iter().any(is_telling) {
        for (id, tensor) in checkpoint.tensors.iter().enumerate() {
            if let Some((layer, _)) = split(&tensor.name) {
                layers.entry(layer).or_default().push(id);
            }
        }
    }
    let mut found: Vec<Packed> = Vec::new();
    for ids in layers.values().filter(|ids| ids.len() <= 64) {
        let names = ids.iter().filter_map(|id| Some((plain(split(&checkpoint.tensors.get(*id)?.name)?.1), *id)));
        let by_end: HashMap<&str, TensorId> = names.collect();
        let in_layer = Found { checkpoint, by_end: &by_end };
        let fits = |mark: &&Mark| mark.ends.iter().all(|end| by_end.contains_key(end));
        let Some(scheme) = MARKS.iter().filter(fits).find_map(|mark| (mark.scheme)(&in_layer)) else { continue };
        let place = found.iter().position(|packed| packed.scheme == scheme).unwrap_or_else(|| {
            found.push(Packed::new(scheme.clone()));
            found.len() - 1
        });
        let Some(packed) = found.get_mut(place) else { continue };
        packed.bits = packed.bits.or_else(|| bits(&scheme, &in_layer));
        packed.rank = packed.rank.or_else(|| rank(&in_layer));
        packed.layers += 1;
        // A bias is what it is.
        packed.tensors.extend(ids.iter().filter(|id| by_end.get("bias").is_none_or(|bias| bias != *id)));
    }
    let exotic: Vec<TensorId> = checkpoint
        .tensors
        .iter()
        .enumerate()
        .filter(|(id, tensor)| {
            let half =
                tensor.problem.as_deref().is_some_and(|problem| HALVES.iter().any(|name| problem.contains(name)));
            (half || tensor.dtype == Dtype::Float8E8M0FNU) && !found.iter().any(|packed| packed.tensors.contains(id))
        })
        .map(|(id, _)| id)
        .collect();
    if !exotic.is_empty() {
        let layers = exotic.len();
        found.push(Packed { tensors: exotic, layers, ..Packed::new(Scheme::Exotic) });
    }
    found.iter_mut().for_each(|packed| packed.tensors.sort_unstable());
    found
}

/// Types of less than a byte, as messages name them.
const HALVES: [&str; 4] = ["type F4 ", "float4_e2m1", "type F6_", "type torch.uint4"];

fn bits(scheme: &Scheme, found: &Found<'_>) -> Option<u64> {
    match scheme {
        Scheme::Awq => {
            Some(32 * found.shape("qweight")?.get(1)? / found.shape("scales")?.get(1).filter(|size| **size > 0)?)
        }
        Scheme::Gptq => {
            let inputs = found.shape("g_idx")?.first().filter(|size| **size > 0)?;
            Some(32 * found.shape("qweight")?.first()? / inputs)
        }
        Scheme::BitsAndBytes4 => Some(4),
        Scheme::BitsAndBytes8 | Scheme::Fp8Blocks | Scheme::Fp8 | Scheme::Int8 => Some(8),
        _ => None,
    }
}

fn rank(found: &Found<'_>) -> Option<u64> {
    let first = ["lora_A.weight", "lora_A", "lora_down.weight"].iter().find_map(|end| found.shape(end))?;
    (!found.has_part("embedding")).then(|| first.first().copied()).flatten()
}

/// What a model's `quantization_config` says, as transformers writes it.
fn by_config(checkpoint: &Checkpoint, config: &Map<String, Value>, found: &mut Vec<Packed>) {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    let method = text("quant_method").unwrap_or("unnamed");
    let scheme = match method {
        "awq" => Scheme::Awq,
        "gptq" => Scheme::Gptq,
        "bitsandbytes" if config.get("load_in_8bit").and_then(Value::as_bool) == Some(true) => Scheme::BitsAndBytes8,
        "bitsandbytes" => Scheme::BitsAndBytes4,
        "compressed-tensors" => Scheme::CompressedTensors,
        "fp8" | "finegrained_fp8" => Scheme::Fp8Blocks,
        "fbgemm_fp8" => Scheme::Fp8,
        "torchao" => Scheme::TorchAo,
        "mxfp4" => Scheme::Mx,
        other => Scheme::Other(other.to_owned()),
    };
    // The configuration names what the names alone leave open.
    let group =
        config.get("config_groups").and_then(|groups| groups.as_object()?.values().next()?.get("weights")?.as_object());
    let of_group = |key: &str| group.and_then(|group| group.get(key)?.as_u64());
    let bits = number("bits").or_else(|| number("w_bit")).or_else(|| of_group("num_bits"));
    let size = number("group_size").or_else(|| number("q_group_size")).or_else(|| of_group("group_size"));
    if let [packed] = found.as_mut_slice() {
        if !packed.scheme.is_adapter() {
            // How many scales there are the shapes say better.
            if !matches!(packed.scheme, Scheme::Fp8 | Scheme::Fp8Blocks) {
                packed.scheme = scheme;
            }
            packed.bits = bits.or(packed.bits);
            packed.group = size;
        }
        return;
    }
    if !found.is_empty() {
        return;
    }
    let is_packed = |name: &str, dtype: Dtype| {
        let ends = ["_blocks", "_scales", ".weight_scale", ".weight_shape", ".qweight", ".qzeros", ".scales"];
        ends.iter().any(|end| name.ends_with(end))
            || (name.ends_with("weight") && !dtype.is_real() && dtype != Dtype::Unknown)
    };
    let tensors: Vec<TensorId> = checkpoint
        .tensors
        .iter()
        .enumerate()
        .filter(|(_, tensor)| is_packed(&tensor.name, tensor.dtype))
        .map(|(id, _)| id)
        .collect();
    if !tensors.is_empty() {
        let layers = tensors.len();
        found.push(Packed { bits, group: size, layers, tensors, ..Packed::new(scheme) });
    }
}

/// What an `adapter_config.json` says, as peft writes it.
fn by_adapter(checkpoint: &Checkpoint, config: &Map<String, Value>, found: &mut Vec<Packed>) {
    let base = config.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
    let kind = config.get("peft_type").and_then(Value::as_str).unwrap_or("LORA");
    if !found.iter().any(|packed| packed.scheme.is_adapter()) {
        let scheme = if kind == "LORA" { Scheme::Lora } else { Scheme::Adapter(kind.to_owned()) };
        let tensors: Vec<TensorId> = (0..checkpoint.tensors.len()).collect();
        found.push(Packed { layers: tensors.len(), tensors, ..Packed::new(scheme) });
    }
    for packed in found.iter_mut().filter(|packed| packed.scheme.is_adapter()) {
        packed.base = base.clone();
        packed.rank = packed.rank.or_else(|| config.get("r").and_then(Value::as_u64));
        if kind != "LORA" {
            packed.scheme = Scheme::Adapter(kind.to_owned());
        }
    }
}
