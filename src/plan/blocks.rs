//! Blocks that a module may be: an MLP, a convolution block, a stack of them, a transformer block, an adaptive average pool.
//! The package `t2m-mlx` has them as modules of mlx-rs.
//!
//! The forward of a `Sequential` is its order: the block has a plan and can be measured. Of a class of one's own only
//! the children are known: the block is a suggestion, and somebody has to read the forward.

use serde_json::{Map, Value, json};

use super::recipes::{self, Site};
use super::{Input, Move, Output, Plan, Way};
use crate::compare::tolerance::Bound;
use crate::model::{Model, ModuleId};
use crate::plan::input::Values;
use crate::registry::Registry;
use t2m_checkpoint::Checkpoint;
use t2m_engine::ModuleSpec;

/// The prefix of their names in t2m-mlx.
pub const PREFIX: &str = "t2m.";

/// Rows of an MLP's input.
const ROWS: [usize; 2] = [4, 7];
/// Images in a convolution's input, and the size of what the last one gives: no two axes alike.
const BATCH: usize = 2;
const LAST_SIZE: [usize; 2] = [3, 4];
/// More blocks than any stack built by hand has.
const MOST_PARTS: usize = 256;

const ANY: &[&str] = &["MLP", "ConvBlock", "ConvStack"];
const CONV: &[&str] = &["ConvBlock", "ConvStack"];
const TRANSFORMER: &[&str] = &["TransformerBlock"];

/// Layers of torch, and the blocks that they are part of.
pub const WITH: &[(&str, &[&str])] = &[
    ("torch.nn.modules.linear.Linear", &["MLP", "TransformerBlock"]),
    ("torch.nn.modules.dropout.Dropout", &["MLP", "TransformerBlock"]),
    ("torch.nn.modules.activation.ReLU", ANY),
    ("torch.nn.modules.activation.GELU", ANY),
    ("torch.nn.modules.activation.SiLU", ANY),
    ("torch.nn.modules.activation.Tanh", ANY),
    ("torch.nn.modules.activation.Sigmoid", ANY),
    ("torch.nn.modules.conv.Conv1d", CONV),
    ("torch.nn.modules.conv.Conv2d", CONV),
    ("torch.nn.modules.batchnorm.BatchNorm1d", CONV),
    ("torch.nn.modules.batchnorm.BatchNorm2d", CONV),
    ("torch.nn.modules.normalization.LayerNorm", TRANSFORMER),
    ("torch.nn.modules.activation.MultiheadAttention", TRANSFORMER),
    (ENCODER_LAYER, TRANSFORMER),
    (ADAPTIVE_POOL, &["AdaptiveAvgPool2d"]),
];

/// Classes whose forward is their children in order.
const SEQUENCES: [&str; 4] = [
    "torch.nn.modules.container.Sequential",
    "torchvision.ops.misc.Conv2dNormActivation",
    "torchvision.ops.misc.ConvNormActivation",
    "torchvision.ops.misc.MLP",
];
const ENCODER_LAYER: &str = "torch.nn.modules.transformer.TransformerEncoderLayer";
const ADAPTIVE_POOL: &str = "torch.nn.modules.pooling.AdaptiveAvgPool2d";

/// A block that a module is, or looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// `MLP`
    pub name: &'static str,
    /// Its arguments.
    pub args: Map<String, Value>,
    /// How its weights move and how it is measured; `None` where the forward is not known.
    pub plan: Option<Plan>,
}

impl Block {
    /// What it means for the module, as a sentence.
    pub fn words(&self) -> String {
        match self.plan {
            Some(_) => format!("As a whole: {}.", self.call()),
            None => format!("It has the parts of {}: see whether its forward runs them in this order.", self.call()),
        }
    }

    /// As a call: `MLP(dims=[24, 40, 10], activation="relu", bias=True, dropout=0.0)`.
    pub fn call(&self) -> String {
        let call = |name: &str, args: &Map<String, Value>| {
            ModuleSpec { kind: name.to_owned(), args: args.clone(), ..ModuleSpec::default() }.python()
        };
        match self.args.get("blocks").and_then(Value::as_array) {
            Some(blocks) => {
                let blocks = blocks.iter().filter_map(Value::as_object).map(|block| call("ConvBlock", block));
                format!("{}([{}])", self.name, blocks.collect::<Vec<_>>().join(", "))
            }
            None => call(self.name, &self.args),
        }
    }
}

/// The block that a module is or looks like, if there is one.
pub fn of(checkpoint: &Checkpoint, model: &Model, registry: &Registry, id: ModuleId) -> Option<Block> {
    let site = |id: ModuleId| {
        let row = registry.layer(&model.modules[id].class)?;
        Some(Site::new(checkpoint, model, registry, id, row))
    };
    match model.modules[id].class.as_str() {
        ENCODER_LAYER => transformer(&site(id)?),
        ADAPTIVE_POOL => adaptive(&site(id)?),
        class => {
            let children = children(model, id, site)?;
            let mut block = mlp(&children).or_else(|| convolutions(&children))?;
            if !SEQUENCES.contains(&class) {
                block.plan = None;
            }
            Some(block)
        }
    }
}

/// A child of a block, and its role in it.
struct Child<'a> {
    name: &'a str,
    part: Part,
    plan: Plan,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Linear,
    Conv,
    Norm,
    Activation(&'static str),
    Dropout(f64),
    Nothing,
}

/// The direct children, if each is a part of some block.
fn children<'a>(model: &'a Model, of: ModuleId, site: impl Fn(ModuleId) -> Option<Site<'a>>) -> Option<Vec<Child<'a>>> {
    let mut parts = Vec::new();
    let mut id = of + 1;
    while id < model.modules[of].end {
        let module = &model.modules[id];
        if parts.len() == MOST_PARTS {
            return None;
        }
        parts.push((id, part(&module.class, &module.attributes)?));
        id = module.end;
    }
    // Most modules are not blocks: plans are made only once all children are known to be parts of one.
    let planned = parts
        .into_iter()
        .map(|(id, part)| Some(Child { name: &model.modules[id].name, part, plan: recipes::plan(&site(id)?).ok()? }));
    planned.collect()
}

fn part(class: &str, attributes: &Map<String, Value>) -> Option<Part> {
    Some(match class.strip_prefix("torch.nn.modules.")? {
        "linear.Linear" => Part::Linear,
        "linear.Identity" => Part::Nothing,
        "conv.Conv1d" | "conv.Conv2d" => Part::Conv,
        "batchnorm.BatchNorm1d" | "batchnorm.BatchNorm2d" => Part::Norm,
        "dropout.Dropout" | "dropout.Dropout1d" | "dropout.Dropout2d" => Part::Dropout(attributes.get("p")?.as_f64()?),
        "activation.ReLU" => Part::Activation("relu"),
        "activation.SiLU" => Part::Activation("silu"),
        "activation.Tanh" => Part::Activation("tanh"),
        "activation.Sigmoid" => Part::Activation("sigmoid"),
        "activation.GELU" => Part::Activation(match attributes.get("approximate")?.as_str()? {
            "none" => "gelu",
            "tanh" => "gelu_tanh",
            _ => return None,
        }),
        _ => return None,
    })
}

/// The parts that compute something, in order.
fn working<'c, 'a>(children: &'c [Child<'a>]) -> Vec<&'c Child<'a>> {
    children.iter().filter(|child| child.part != Part::Nothing).collect()
}

/// All of them the same, or none.
fn same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

fn size(child: &Child<'_>, name: &str) -> Option<usize> {
    child.plan.mlx.args.get(name)?.as_u64().and_then(|size| usize::try_from(size).ok())
}

/// Linear layers with one kind of activation between them, and dropout.
fn mlp(children: &[Child<'_>]) -> Option<Block> {
    let mut linears: Vec<&Child<'_>> = Vec::new();
    let (mut activations, mut dropouts) = (Vec::new(), Vec::new());
    for child in working(children) {
        match &child.part {
            Part::Linear if linears.len() == activations.len() => linears.push(child),
            Part::Activation(name) if linears.len() == activations.len() + 1 => activations.push(*name),
            // After the last layer, dropout does nothing once the model is trained.
            Part::Dropout(share) if !linears.is_empty() => dropouts.push((activations.len(), *share)),
            _ => return None,
        }
    }
    if linears.len() < 2 || linears.len() != activations.len() + 1 {
        return None;
    }
    let between = dropouts.iter().filter(|(after, _)| *after < linears.len() - 1 || *after == activations.len());
    let dropout = same(between.map(|(_, share)| *share)).unwrap_or(0.0);
    let bias = same(linears.iter().map(|child| child.plan.mlx.args.get("bias").cloned()))??;
    let mut dims = vec![size(linears[0], "input_dims")?];
    for child in &linears {
        if dims.last() != size(child, "input_dims").as_ref() {
            return None;
        }
        dims.push(size(child, "output_dims")?);
    }
    let activation = same(activations.into_iter())?;
    let weights = linears.iter().enumerate().flat_map(|(at, child)| moved(child, &format!("layers.{at}")));
    let args =
        object([("dims", json!(dims)), ("activation", json!(activation)), ("bias", bias), ("dropout", json!(dropout))]);
    let input = Input::new([ROWS.as_slice(), &dims[..1]].concat(), Values::Normal(1.0));
    let parts = Row { children, weights: weights.collect(), input, depth: linears.len(), moves: None };
    Some(parts.block("MLP", args))
}

/// Convolutions, each followed by a batch norm, an activation, or both.
fn convolutions(children: &[Child<'_>]) -> Option<Block> {
    struct Parts<'c, 'a> {
        conv: &'c Child<'a>,
        norm: Option<&'c Child<'a>>,
        activation: Option<&'static str>,
    }
    let mut blocks: Vec<Parts<'_, '_>> = Vec::new();
    for child in working(children) {
        match (&child.part, blocks.last_mut()) {
            (Part::Conv, _) => blocks.push(Parts { conv: child, norm: None, activation: None }),
            (Part::Norm, Some(block)) if block.norm.is_none() && block.activation.is_none() => {
                block.norm = Some(child);
            }
            (Part::Activation(name), Some(block)) if block.activation.is_none() => block.activation = Some(name),
            (Part::Dropout(_), Some(_)) => {}
            _ => return None,
        }
    }
    if blocks.is_empty() || blocks.iter().all(|block| block.norm.is_none() && block.activation.is_none()) {
        return None;
    }
    let single = blocks.len() == 1;
    let (mut weights, mut described) = (Vec::new(), Vec::new());
    for (at, block) in blocks.iter().enumerate() {
        let below = |name: &str| if single { name.to_owned() } else { format!("blocks.{at}.{name}") };
        weights.extend(moved(block.conv, &below("conv")));
        // Padding that MLX's layer lacks is done around it, which the block cannot do.
        if block.conv.plan.mlx.program.is_some() {
            return None;
        }
        let mut args = block.conv.plan.mlx.args.clone();
        let eps = match block.norm {
            Some(norm) => {
                weights.extend(moved(norm, &below("norm")));
                if norm.plan.mlx.program.is_some() || norm.plan.weights.len() != 4 {
                    return None;
                }
                norm.plan.mlx.args.get("eps").cloned()?
            }
            None => Value::Null,
        };
        args.insert("norm".to_owned(), eps);
        args.insert("activation".to_owned(), json!(block.activation));
        described.push(args);
    }
    for pair in blocks.windows(2) {
        if size(pair[0].conv, "out_channels") != size(pair[1].conv, "in_channels") {
            return None;
        }
    }
    let first = &blocks[0].conv.plan.inputs[0];
    let axes = first.shape.len() - 2;
    let sizes = LAST_SIZE.iter().take(axes).enumerate();
    let sizes = sizes.map(|(axis, &last)| described.iter().rev().try_fold(last, |out, args| needed(args, axis, out)));
    let shape = [BATCH, first.shape[1]].into_iter().map(Some).chain(sizes).collect::<Option<Vec<usize>>>()?;
    let input = Input::new(shape, Values::Normal(1.0)).channels_last();
    let depth = blocks.iter().map(|block| 1 + usize::from(block.norm.is_some())).sum();
    let moves = blocks.last()?.conv.plan.outputs.first()?.to_torch.clone();
    let parts = Row { children, weights, input, depth, moves };
    Some(if single {
        parts.block("ConvBlock", described.into_iter().next()?)
    } else {
        parts.block("ConvStack", object([("blocks", json!(described))]))
    })
}

/// The length of an input that gives an output of this length.
fn needed(args: &Map<String, Value>, axis: usize, out: usize) -> Option<usize> {
    let number = |name: &str| {
        let value = args.get(name)?;
        let value = value.get(axis).unwrap_or(value).as_u64()?;
        usize::try_from(value).ok()
    };
    let reach = number("dilation")?.checked_mul(number("kernel_size")?.checked_sub(1)?)?;
    let padded = out.checked_sub(1)?.checked_mul(number("stride")?)?.checked_add(reach)?.checked_add(1)?;
    Some(padded.saturating_sub(number("padding")?.checked_mul(2)?).max(1))
}

/// A child's moves, renamed to the block's.
fn moved<'c>(child: &'c Child<'_>, to: &'c str) -> Vec<Move> {
    let below = |path: &str, name: &str| format!("{path}.{name}");
    let moves = child.plan.weights.iter().map(|step| Move {
        from: step.from.iter().map(|name| below(child.name, name)).collect(),
        to: below(to, &step.to),
        ..step.clone()
    });
    moves.collect()
}

/// Consecutive children that make up a block.
struct Row<'c, 'a> {
    children: &'c [Child<'a>],
    weights: Vec<Move>,
    input: Input,
    /// Layers that add to the error, one after the other.
    depth: usize,
    moves: Option<Vec<usize>>,
}

impl Row<'_, '_> {
    fn block(self, name: &'static str, args: Map<String, Value>) -> Block {
        let terms = self.children.iter().map(|child| match child.plan.bound {
            Bound::Contraction(terms) | Bound::Winograd(terms) | Bound::Norm(terms) | Bound::Stack(terms) => terms,
            Bound::Copy | Bound::Pointwise | Bound::Approximate => 1,
        });
        // Each layer passes on the errors before it and adds its own: they grow with the square root of the depth.
        let terms = terms.max().unwrap_or(1).saturating_mul(self.depth.saturating_mul(self.depth));
        let children: Vec<(&str, &ModuleSpec)> =
            self.children.iter().map(|child| (child.name, &child.plan.torch)).collect();
        let plan = Plan {
            torch: ModuleSpec {
                kind: SEQUENCES[0].to_owned(),
                args: object([("children", json!(children))]),
                ..ModuleSpec::default()
            },
            mlx: ModuleSpec { kind: format!("{PREFIX}{name}"), args: args.clone(), ..ModuleSpec::default() },
            weights: self.weights,
            inputs: vec![self.input],
            outputs: vec![Output { name: "output", to_torch: self.moves }],
            bound: Bound::Stack(terms),
            way: Way::Recipe(vec![format!("as one {name}")]),
        };
        Block { name, args, plan: Some(plan) }
    }
}

/// torch's encoder layer, if all of its linear layers and norms have a bias, or none has.
fn transformer(site: &Site<'_>) -> Option<Block> {
    const NAME: &str = "TransformerBlock";
    let plan = recipes::plan(site).ok()?;
    let program = plan.mlx.program.as_ref()?;
    let arg = |layer: &str, name: &str| program.layers.get(layer)?.args.get(name).cloned();
    let layers = ["attention", "ln1", "ln2", "linear1", "linear2"];
    let bias = same(layers.iter().map(|layer| arg(layer, "bias")))??;
    let eps = same(["ln1", "ln2"].iter().map(|layer| arg(layer, "eps")))??;
    let activation = program.steps.iter().find_map(|step| match step.call.as_str() {
        "nn.relu" => Some("relu"),
        "nn.gelu" => Some("gelu"),
        _ => None,
    })?;
    let args = object([
        ("dims", arg("attention", "dims")?),
        ("num_heads", arg("attention", "num_heads")?),
        ("mlp_dims", arg("linear1", "output_dims")?),
        ("eps", eps),
        ("bias", bias),
        ("norm_first", site.given("norm_first")?.clone()),
        ("activation", json!(activation)),
        ("dropout", site.child("dropout").ok().and_then(|child| child.given("p").cloned()).unwrap_or(json!(0.0))),
    ]);
    Some(in_place(plan, NAME, args))
}

fn adaptive(site: &Site<'_>) -> Option<Block> {
    let plan = recipes::plan(site).ok()?;
    let size = site.given("output_size")?;
    let pair = if size.is_array() { size.clone() } else { json!([size, size]) };
    Some(in_place(plan, "AdaptiveAvgPool2d", object([("output_size", pair)])))
}

/// The plan with the block in place of what it has.
fn in_place(plan: Plan, name: &'static str, args: Map<String, Value>) -> Block {
    let mlx = ModuleSpec { kind: format!("{PREFIX}{name}"), args: args.clone(), ..ModuleSpec::default() };
    Block { name, args, plan: Some(Plan { mlx, way: Way::Recipe(vec![format!("as one {name}")]), ..plan }) }
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
