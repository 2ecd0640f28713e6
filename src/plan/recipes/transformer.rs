//! Transformer layers and stacks, built from MLX's attention, which can have a bias, and its norms: MLX's own stacks
//! have attention without bias and always end in a norm.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::attention::{self, Attention, drops, linear};
use super::phrase::{self, entries};
use super::site::{Draft, Site, unexpected};
use crate::compare::tolerance::Bound;
use crate::plan::input::Values;
use crate::plan::{Input, Move, Output, Refusal};
use t2m_checkpoint::escape::quoted;
use t2m_engine::Program;
use t2m_engine::program::{MlxLayer, MlxOp, Operand};

const BATCH: usize = 2;
const SOURCE: usize = 9;
const TARGET: usize = 7;
/// The deepest stack that is measured.
const MOST_LAYERS: usize = 64;

/// A plan's program and moves, built layer by layer.
struct Stack {
    p: Program,
    weights: Vec<Move>,
    /// Attributes of the layers by path, with the activation as a name, for torch's side.
    modules: BTreeMap<String, Map<String, Value>>,
    batch_first: bool,
    width: usize,
    /// Terms of the longest sum, and how many layers it goes through.
    terms: usize,
    depth: usize,
}

impl Stack {
    fn new(inputs: &[&str]) -> Stack {
        Stack {
            p: Program::new(inputs),
            weights: Vec::new(),
            modules: BTreeMap::new(),
            batch_first: false,
            width: 0,
            terms: 1,
            depth: 0,
        }
    }

    /// `layers.0` + `attention` → `layers.0.attention`.
    fn path(prefix: &str, own: &str) -> String {
        if prefix.is_empty() { own.to_owned() } else { format!("{prefix}.{own}") }
    }

    fn take(&mut self, from: &str, to: &str, moves: Vec<Move>) {
        self.weights.extend(moves.into_iter().map(|mut step| {
            step.from.iter_mut().for_each(|name| *name = Stack::path(from, name));
            step.to = Stack::path(to, &step.to);
            step
        }));
    }

    /// Declare an attention layer.
    fn attention(&mut self, site: &Site<'_>, from: &str, to: &str) -> Result<(), Refusal> {
        let child = site.child(from)?;
        let read = Attention::read(&child)?;
        (self.batch_first, self.width) = (read.batch_first, child.number("embed_dim")?);
        if child.has("bias_k") || child.flag("add_zero_attn")? {
            return Err(Refusal::Unsupported(format!("`{from}` has add_bias_kv or add_zero_attn")));
        }
        if let Bound::Contraction(terms) = read.bound() {
            self.terms = self.terms.max(terms);
        }
        self.take(from, to, attention::moves(&child));
        phrase::layer(&mut self.p, to, MlxLayer::MultiHeadAttention, read.args());
        Ok(())
    }

    fn linear(&mut self, site: &Site<'_>, from: &str, to: &str) -> Result<(), Refusal> {
        let child = site.child(from)?;
        let [outputs, inputs] = child.shape_of_rank("weight")?;
        self.terms = self.terms.max(inputs);
        self.take(from, to, child.moves(&["bias"]));
        phrase::layer(&mut self.p, to, MlxLayer::Linear, linear(inputs, outputs, child.has("bias")));
        Ok(())
    }

    fn norm(&mut self, site: &Site<'_>, from: &str, to: &str) -> Result<(), Refusal> {
        let child = site.child(from)?;
        let class = &child.module().class;
        if !class.ends_with("normalization.LayerNorm") {
            return Err(Refusal::Unsupported(format!("`{from}` is a {}, not a LayerNorm", quoted(class))));
        }
        let [width] = child.shape_of_rank("weight")?;
        let args = entries([
            ("dims", json!(width)),
            ("eps", json!(child.float("eps")?)),
            ("affine", json!(true)),
            ("bias", json!(child.has("bias"))),
        ]);
        self.take(from, to, child.moves(&["bias"]));
        phrase::layer(&mut self.p, to, MlxLayer::LayerNorm, args);
        Ok(())
    }

    /// One encoder layer under `from` of the site, called on `x`.
    fn encoder_layer(&mut self, site: &Site<'_>, from: &str, x: &str, mask: Option<&str>) -> Result<String, Refusal> {
        let own = if from.is_empty() { *site } else { site.child(from)? };
        let own_path = |name: &str| Stack::path(from, name);
        self.attention(site, &own_path("self_attn"), &own_path("attention"))?;
        for (norm, to) in [("norm1", "ln1"), ("norm2", "ln2")] {
            self.norm(site, &own_path(norm), &own_path(to))?;
        }
        let block = self.feed_forward(site, &own, from)?;
        let attend = |stack: &mut Stack, x: &str| stack.attend(&own_path("attention"), [x, x, x], mask);
        let (ln1, ln2) = (own_path("ln1"), own_path("ln2"));
        let x = self.residual(&own, x, &ln1, attend)?;
        self.residual(&own, &x, &ln2, |stack, x| stack.run_block(&block, x))
    }

    /// One decoder layer under `from` of the site, called on `x` and what the encoder gave.
    fn decoder_layer(
        &mut self,
        site: &Site<'_>,
        from: &str,
        [x, memory]: [&str; 2],
        [mask, memory_mask]: [Option<&str>; 2],
    ) -> Result<String, Refusal> {
        let own = if from.is_empty() { *site } else { site.child(from)? };
        let own_path = |name: &str| Stack::path(from, name);
        self.attention(site, &own_path("self_attn"), &own_path("self_attention"))?;
        self.attention(site, &own_path("multihead_attn"), &own_path("cross_attention"))?;
        for (norm, to) in [("norm1", "ln1"), ("norm2", "ln2"), ("norm3", "ln3")] {
            self.norm(site, &own_path(norm), &own_path(to))?;
        }
        let block = self.feed_forward(site, &own, from)?;
        let x = self.residual(&own, x, &own_path("ln1"), |stack, x| {
            stack.attend(&own_path("self_attention"), [x, x, x], mask)
        })?;
        let x = self.residual(&own, &x, &own_path("ln2"), |stack, x| {
            stack.attend(&own_path("cross_attention"), [x, memory, memory], memory_mask)
        })?;
        self.residual(&own, &x, &own_path("ln3"), |stack, x| stack.run_block(&block, x))
    }

    /// The two linear layers and the function between them.
    fn feed_forward(
        &mut self,
        site: &Site<'_>,
        own: &Site<'_>,
        from: &str,
    ) -> Result<(String, MlxOp, String), Refusal> {
        self.depth += 1;
        let [first, second] = ["linear1", "linear2"].map(|name| Stack::path(from, name));
        self.linear(site, &first, &first)?;
        self.linear(site, &second, &second)?;
        let (name, function) = activation(own)?;
        let mut described = own.attributes().clone();
        described.insert("activation".to_owned(), json!(name));
        self.modules.insert(from.to_owned(), described);
        Ok((first, function, second))
    }

    fn run_block(&mut self, (first, function, second): &(String, MlxOp, String), x: &str) -> String {
        let x = phrase::run(&mut self.p, first, x);
        let x = phrase::unary(&mut self.p, *function, &x);
        phrase::run(&mut self.p, second, &x)
    }

    fn attend(&mut self, layer: &str, inputs: [&str; 3], mask: Option<&str>) -> String {
        let inputs: Vec<Operand> = inputs.into_iter().chain(mask).map(Operand::from).collect();
        self.p.run(layer, inputs)
    }

    /// `x + f(norm(x))`, or `norm(x + f(x))`.
    fn residual(
        &mut self,
        own: &Site<'_>,
        x: &str,
        norm: &str,
        block: impl FnOnce(&mut Stack, &str) -> String,
    ) -> Result<String, Refusal> {
        if own.flag("norm_first")? {
            let normed = phrase::run(&mut self.p, norm, x);
            let inner = block(self, &normed);
            Ok(phrase::add(&mut self.p, x, inner))
        } else {
            let inner = block(self, x);
            let sum = phrase::add(&mut self.p, x, inner);
            Ok(phrase::run(&mut self.p, norm, &sum))
        }
    }

    /// A stack's layers under `from` (`layers.0`, `layers.1`, …) and the norm that may close it.
    fn layers(
        &mut self,
        site: &Site<'_>,
        from: &str,
        x: &str,
        mut layer: impl FnMut(&mut Stack, &str, &str) -> Result<String, Refusal>,
    ) -> Result<String, Refusal> {
        let own = if from.is_empty() { *site } else { site.child(from)? };
        let mut x = x.to_owned();
        let mut count = 0;
        while own.below_at(&format!("layers.{count}")).is_some() {
            if count == MOST_LAYERS {
                return Err(Refusal::Unsupported(format!(
                    "more than {MOST_LAYERS} layers are not measured as one: measure them one by one"
                )));
            }
            x = layer(self, &Stack::path(from, &format!("layers.{count}")), &x)?;
            count += 1;
        }
        if count == 0 {
            return Err(Refusal::Incomplete("the file holds no layer of it".to_owned()));
        }
        if own.below_at("norm").is_some() {
            let to = Stack::path(from, "ln");
            self.norm(site, &Stack::path(from, "norm"), &to)?;
            x = phrase::run(&mut self.p, &to, &x);
        }
        Ok(x)
    }

    /// The draft of what was built, with inputs of these lengths and masks.
    fn draft(mut self, site: &Site<'_>, output: String, lengths: &[usize], masks: Masks) -> Draft {
        self.p.outputs = vec![output];
        let swap = (!self.batch_first).then(|| vec![1, 0, 2]);
        let sequence = |&length: &usize| {
            let shape =
                if self.batch_first { vec![BATCH, length, self.width] } else { vec![length, BATCH, self.width] };
            Input { to_mlx: swap.clone(), ..Input::new(shape, Values::Normal(1.0)) }
        };
        let mut inputs: Vec<Input> = lengths.iter().map(sequence).collect();
        inputs.extend(masks.inputs);
        // Each layer adds the rounding of its sums to what came in.
        let terms = self.terms.saturating_mul((2 * self.depth).pow(2));
        let mut draft = Draft::of(inputs, Bound::Stack(terms)).weights(self.weights).program(self.p);
        draft.outputs = vec![Output { name: "output", to_torch: swap }];
        if let Some(own) = self.modules.remove("") {
            draft = draft.torch_arg("activation", own["activation"].clone());
        }
        let mut modules = site.below();
        modules.extend(self.modules);
        draft.told.modules = Some(modules);
        if let Some(names) = masks.called {
            draft = draft.called(&names.iter().map(String::as_str).collect::<Vec<_>>(), []);
        }
        draft = draft
            .step("by MLX's attention with bias, norms and linear layers: its own stacks have attention without bias");
        if self.batch_first { draft } else { draft.step("batch first") }
    }
}

/// torch's activation by name, and MLX's function. It is a function of torch, known by its full path, or a module below
/// the layer. torch's fast path reads `activation_relu_or_gelu`: 1 or 2, and 0 for neither.
fn activation(site: &Site<'_>) -> Result<(&'static str, MlxOp), Refusal> {
    const RELU: (&str, MlxOp) = ("relu", MlxOp::NnRelu);
    const GELU: (&str, MlxOp) = ("gelu", MlxOp::NnGelu);
    let (value, code) = (site.maybe("activation"), site.maybe("activation_relu_or_gelu"));
    let named = match value.as_str() {
        Some("relu" | "torch.relu" | "torch.nn.functional.relu") => Some(RELU),
        Some("gelu" | "torch._C._nn.gelu" | "torch.nn.functional.gelu") => Some(GELU),
        None if value.is_null() => None,
        _ => return Err(unexpected("activation", value)),
    };
    let module = match site.below_at("activation") {
        None => None,
        Some(module) => {
            let approximate = module.attributes.get("approximate").and_then(Value::as_str);
            match (module.class.as_str(), approximate) {
                ("torch.nn.modules.activation.ReLU", _) => Some(RELU),
                ("torch.nn.modules.activation.GELU", Some("none")) => Some(GELU),
                (class, _) => {
                    let class = quoted(class);
                    return Err(Refusal::Unsupported(format!(
                        "its activation is a {class}, not a ReLU or an exact GELU"
                    )));
                }
            }
        }
    };
    let coded = match code.as_u64() {
        Some(1) => Some(RELU),
        Some(2) => Some(GELU),
        None if code.is_null() => None,
        _ => return Err(unexpected("activation_relu_or_gelu", code)),
    };
    let said: Vec<_> = [named, module, coded].into_iter().flatten().collect();
    match said.split_first() {
        // A layer saved before torch had the choice has ReLU.
        None => Ok(RELU),
        Some((&first, rest)) if rest.iter().all(|other| *other == first) => Ok(first),
        Some(_) => Err(unexpected("activation_relu_or_gelu", code)),
    }
}

/// Masks that a sample asks for: their inputs, and the call for torch's side.
#[derive(Default)]
struct Masks {
    names: Vec<String>,
    inputs: Vec<Input>,
    /// All inputs by name, where the call is not the default.
    called: Option<Vec<String>>,
}

impl Masks {
    /// `query` and `key` are the lengths of each mask's axes, by its name.
    fn read(site: &Site<'_>, plain: &[&str], lengths: impl Fn(&str) -> [usize; 2]) -> Masks {
        let Some(call) = site.call else { return Masks::default() };
        let mut masks = Masks::default();
        for (name, mask) in &call.masks {
            let values = mask.values();
            let [queries, keys] = lengths(name);
            let shape = if name.ends_with("key_padding_mask") { vec![BATCH, keys] } else { vec![queries, keys] };
            masks.names.push(name.clone());
            masks.inputs.push(Input::new(shape, values));
        }
        masks.called = Some(masks.names(plain).into_iter().map(str::to_owned).collect());
        masks
    }

    fn names<'a>(&'a self, plain: &[&'a str]) -> Vec<&'a str> {
        plain.iter().copied().chain(self.names.iter().map(String::as_str)).collect()
    }

    /// The masks of these names as one that is added to the scores.
    fn additive(&self, p: &mut Program, own: &str, padding: &str) -> Option<String> {
        let own = self.names.iter().position(|name| name == own).map(|at| match self.inputs[at].values {
            Values::Additive => self.names[at].clone(),
            _ => drops(p, &self.names[at]),
        });
        let padding = self.names.iter().find(|name| *name == padding).map(|name| {
            let numbers = drops(p, name);
            p.call(MlxOp::ExpandDims, [numbers.into()], [("axis", json!([1, 2]))])
        });
        match (own, padding) {
            (Some(own), Some(padding)) => Some(phrase::add(p, own, padding)),
            (own, padding) => own.or(padding),
        }
    }
}

/// `src` → the same shape.
pub(super) fn encoder_layer(site: &Site<'_>) -> Result<Draft, Refusal> {
    let masks = Masks::read(site, &["src"], |_| [SOURCE, SOURCE]);
    let mut stack = Stack::new(&masks.names(&["src"]));
    let mask = masks.additive(&mut stack.p, "src_mask", "src_key_padding_mask");
    let output = stack.encoder_layer(site, "", "src", mask.as_deref())?;
    Ok(stack.draft(site, output, &[SOURCE], masks))
}

/// `src` → the same shape, through every layer and the norm that may close it.
pub(super) fn encoder(site: &Site<'_>) -> Result<Draft, Refusal> {
    let masks = Masks::read(site, &["src"], |_| [SOURCE, SOURCE]);
    let mut stack = Stack::new(&masks.names(&["src"]));
    let mask = masks.additive(&mut stack.p, "mask", "src_key_padding_mask");
    let output = stack.layers(site, "", "src", |stack, from, x| stack.encoder_layer(site, from, x, mask.as_deref()))?;
    Ok(stack.draft(site, output, &[SOURCE], masks))
}

fn decoder_lengths(name: &str) -> [usize; 2] {
    [TARGET, if name.starts_with("memory") { SOURCE } else { TARGET }]
}

/// `tgt` and `memory` → the shape of `tgt`.
pub(super) fn decoder_layer(site: &Site<'_>) -> Result<Draft, Refusal> {
    let masks = Masks::read(site, &["tgt", "memory"], decoder_lengths);
    let mut stack = Stack::new(&masks.names(&["tgt", "memory"]));
    let own = masks.additive(&mut stack.p, "tgt_mask", "tgt_key_padding_mask");
    let memory = masks.additive(&mut stack.p, "memory_mask", "memory_key_padding_mask");
    let output = stack.decoder_layer(site, "", ["tgt", "memory"], [own.as_deref(), memory.as_deref()])?;
    Ok(stack.draft(site, output, &[TARGET, SOURCE], masks))
}

/// `tgt` and `memory` → the shape of `tgt`, through every layer and the norm that may close it.
pub(super) fn decoder(site: &Site<'_>) -> Result<Draft, Refusal> {
    let masks = Masks::read(site, &["tgt", "memory"], decoder_lengths);
    let mut stack = Stack::new(&masks.names(&["tgt", "memory"]));
    let own = masks.additive(&mut stack.p, "tgt_mask", "tgt_key_padding_mask");
    let memory = masks.additive(&mut stack.p, "memory_mask", "memory_key_padding_mask");
    let output = stack.layers(site, "", "tgt", |stack, from, x| {
        stack.decoder_layer(site, from, [x, "memory"], [own.as_deref(), memory.as_deref()])
    })?;
    Ok(stack.draft(site, output, &[TARGET, SOURCE], masks))
}

/// `src` and `tgt` → the shape of `tgt`.
pub(super) fn transformer(site: &Site<'_>) -> Result<Draft, Refusal> {
    let lengths = |name: &str| match name {
        _ if name.starts_with("src") => [SOURCE, SOURCE],
        _ => decoder_lengths(name),
    };
    let masks = Masks::read(site, &["src", "tgt"], lengths);
    let mut stack = Stack::new(&masks.names(&["src", "tgt"]));
    let source = masks.additive(&mut stack.p, "src_mask", "src_key_padding_mask");
    let target = masks.additive(&mut stack.p, "tgt_mask", "tgt_key_padding_mask");
    let across = masks.additive(&mut stack.p, "memory_mask", "memory_key_padding_mask");
    let memory =
        stack.layers(site, "encoder", "src", |stack, from, x| stack.encoder_layer(site, from, x, source.as_deref()))?;
    let output = stack.layers(site, "decoder", "tgt", |stack, from, x| {
        stack.decoder_layer(site, from, [x, &memory], [target.as_deref(), across.as_deref()])
    })?;
    Ok(stack.draft(site, output, &[SOURCE, TARGET], masks))
}
