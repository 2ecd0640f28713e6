//! What a recipe sees of a module, and what it fills in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::obeyed::{self, Read};
use super::{MOST_STEPS, MOST_UNITS};
use crate::compare::tolerance::Bound;
use crate::model::{Model, Module, ModuleId};
use crate::plan::input::Values;
use crate::plan::weights::Layout;
use crate::plan::{Call, Input, Move, Output, Plan, Refusal, Rule, Way};
use crate::registry::{Attribute, Layer, Registry};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, TensorId};
use t2m_engine::own::{self, Told};
use t2m_engine::program::{MlxLayer, MlxOp};
use t2m_engine::{ModuleSpec, Program};

/// A module in its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The checkpoint that the module is in.
    pub checkpoint: &'a Checkpoint,
    /// Its tree.
    pub model: &'a Model,
    /// The module.
    pub id: ModuleId,
    /// Its row.
    pub row: &'a Layer,
    /// All rows and rules.
    pub registry: &'a Registry,
    /// Its attributes, where they are not the module's own: with values for what the file does not say.
    pub assumed: Option<&'a Map<String, Value>>,
    /// Where to note which hyper-parameters the recipe asks for.
    pub asked: Option<&'a Asked<'a>>,
    /// How a sample wants it to be called.
    pub call: Option<&'a Call>,
    /// The attributes that the recipe took, by the names it used, where torch's side gets nothing else: our own
    /// functions have their own parameters, and an attribute of the class that happens to have such a name is not an
    /// argument.
    pub handed: Option<&'a RefCell<Map<String, Value>>>,
    /// Where to note what the recipe reads of the row.
    pub read: Option<&'a Read>,
}

/// The hyper-parameters that a module's recipe asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    module: &'a str,
    names: RefCell<BTreeSet<String>>,
}

impl<'a> Asked<'a> {
    /// No name yet, for the module at this path.
    pub fn of(module: &'a str) -> Asked<'a> {
        Asked { module, names: RefCell::default() }
    }

    fn note(&self, module: &str, name: &str) {
        let below = module.strip_prefix(self.module).unwrap_or(module).trim_start_matches('.');
        let path = below.split('.').filter(|part| !part.is_empty());
        self.names.borrow_mut().insert(path.chain([name]).collect::<Vec<_>>().join("."));
    }

    /// Their names, those of modules below with their paths.
    pub fn names(self) -> BTreeSet<String> {
        self.names.into_inner()
    }
}

/// What only a row can say about how a class computes: as a constant, or by naming the class's attribute that holds it.
/// These names are ours. If a file has an attribute with one of them, the class means something else by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// What is added to a norm's weight, or the number of rows before a table of positions.
    Offset,
    /// Whether channels are the second axis.
    ChannelsFirst,
    /// Axes of the input.
    Rank,
    /// Whether heads are flattened after the norm.
    Merged,
    /// What positions are counted along.
    Count,
    /// Whether there is a batch axis.
    Batch,
    /// What rows of an embedding are multiplied by.
    Scale,
    /// How a rotary embedding arranges its axes.
    Axes,
    /// How it arranges its angles.
    Layout,
    /// Whether it gives the input's dtype back.
    Cast,
    /// The norm in front of an activation.
    Norm,
}

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 11] = [
        Setting::Offset,
        Setting::ChannelsFirst,
        Setting::Rank,
        Setting::Merged,
        Setting::Count,
        Setting::Batch,
        Setting::Scale,
        Setting::Axes,
        Setting::Layout,
        Setting::Cast,
        Setting::Norm,
    ];

    /// Its name in a row.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Offset => "offset",
            Setting::ChannelsFirst => "channels_first",
            Setting::Rank => "rank",
            Setting::Merged => "merged",
            Setting::Count => "count",
            Setting::Batch => "batch",
            Setting::Scale => "scale",
            Setting::Axes => "axes",
            Setting::Layout => "layout",
            Setting::Cast => "cast",
            Setting::Norm => "norm",
        }
    }
}

/// A plan in the making.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// Another MLX layer than the row's.
    pub mlx: Option<String>,
    /// Keyword arguments of the Python call.
    pub args: Map<String, Value>,
    /// What is computed, where it is not one layer.
    pub program: Option<Program>,
    /// Arguments for torch's side besides the module's attributes.
    pub torch_args: Map<String, Value>,
    /// What torch's side learns about the layer beside its attributes.
    pub told: Told,
    pub weights: Vec<Move>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// Shape of torch's output, or one at least as large.
    pub output_shape: Vec<usize>,
    pub bound: Bound,
    pub way: Way,
}

impl<'a> Site<'a> {
    /// A module with the attributes that it has, called as usual.
    pub fn new(
        checkpoint: &'a Checkpoint,
        model: &'a Model,
        registry: &'a Registry,
        id: ModuleId,
        row: &'a Layer,
    ) -> Site<'a> {
        Site { checkpoint, model, id, row, registry, assumed: None, asked: None, call: None, handed: None, read: None }
    }

    /// The module itself.
    pub fn module(&self) -> &'a Module {
        &self.model.modules[self.id]
    }

    /// Its hyper-parameters.
    pub(in crate::plan) fn attributes(&self) -> &'a Map<String, Value> {
        self.assumed.unwrap_or(&self.module().attributes)
    }

    /// The class of torch that it computes like.
    pub(in crate::plan) fn torch_class(&self) -> &'a str {
        self.row.torch.as_deref().unwrap_or(&self.module().class)
    }

    /// A tensor of the module or of a module below it, by its name relative to the module; `None` if it is torch's
    /// None.
    pub fn tensor(&self, name: &str) -> Option<TensorId> {
        self.model.tensor(self.id, self.own_name(name))
    }

    /// The class's own name for the tensor that torch's layer calls this.
    fn own_name<'n>(&self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        self.read.inspect(|read| read.tensor(name));
        self.row.tensors.get(name).map_or(name, String::as_str)
    }

    /// Whether there is such a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensor(name).is_some()
    }

    /// Shape of a tensor that the layer needs.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>, Refusal> {
        let id = self.tensor(name).ok_or_else(|| Refusal::Incomplete(format!("the file holds no `{name}` for it")))?;
        let too_large = |_| Refusal::Unsupported(format!("`{name}` is larger than this machine can address"));
        let shape = &self.checkpoint.tensors[id].shape;
        shape.iter().map(|&axis| usize::try_from(axis).map_err(too_large)).collect()
    }

    /// The shape of a tensor that must have this many axes.
    pub(super) fn shape_of_rank<const N: usize>(&self, name: &str) -> Result<[usize; N], Refusal> {
        let shape = self.shape(name)?;
        let wrong =
            |shape: Vec<usize>| Refusal::Unsupported(format!("`{name}` has shape {shape:?}, {N} axes were expected"));
        shape.try_into().map_err(wrong)
    }

    /// A hyper-parameter that the result depends on.
    pub(super) fn attribute(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.read.inspect(|read| read.attribute(name));
        let own = match self.row.attributes.get(name) {
            Some(Attribute::Constant(value)) => return Ok(value),
            Some(Attribute::Own(own)) => own,
            None => name,
        };
        let missing = || Refusal::Missing {
            module: self.module().path.to_string(),
            attribute: own.to_owned(),
            like: name.to_owned(),
        };
        self.take(name, own).ok_or_else(missing)
    }

    /// A hyper-parameter by torch's name, from wherever the row takes it; `None` where the file does not hold it. An
    /// optional parameter of our own functions comes only through a row: one class has a `group_size`, and in another,
    /// which has no such parameter, an attribute of this name changes nothing.
    pub(in crate::plan) fn given(&self, name: &str) -> Option<&'a Value> {
        self.read.inspect(|read| read.attribute(name));
        match self.row.attributes.get(name) {
            Some(Attribute::Constant(value)) => Some(value),
            Some(Attribute::Own(own)) => self.take(name, own),
            None if self.torch_class().starts_with(own::PREFIX) && !self.has_taken(name) => None,
            None => self.take(name, name),
        }
    }

    /// Whether the recipe has taken that hyper-parameter already, as a required one.
    fn has_taken(&self, name: &str) -> bool {
        self.handed.is_some_and(|handed| handed.borrow().contains_key(name))
    }

    /// The module's own attribute of that name, for what torch's layer calls something else.
    fn take(&self, name: &str, own: &str) -> Option<&'a Value> {
        let value = self.attributes().get(own)?;
        if let Some(asked) = self.asked {
            asked.note(&self.module().path, own);
        }
        if let Some(handed) = self.handed {
            handed.borrow_mut().insert(name.to_owned(), value.clone());
        }
        Some(value)
    }

    pub(super) fn number(&self, name: &str) -> Result<usize, Refusal> {
        let value = self.attribute(name)?;
        let number = value.as_u64().and_then(|value| usize::try_from(value).ok());
        number.ok_or_else(|| unexpected(name, value)).and_then(|number| bounded(name, number, MOST_UNITS))
    }

    pub(super) fn float(&self, name: &str) -> Result<f64, Refusal> {
        let value = self.attribute(name)?;
        value.as_f64().ok_or_else(|| unexpected(name, value))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        let value = self.attribute(name)?;
        value.as_bool().ok_or_else(|| unexpected(name, value))
    }

    /// One number for each of `axes` spatial axes; a single number stands for all of them.
    pub(super) fn numbers(&self, name: &str, axes: usize) -> Result<Vec<usize>, Refusal> {
        let value = self.attribute(name)?;
        let whole = |value: &Value| value.as_u64().and_then(|value| usize::try_from(value).ok());
        let numbers = match value {
            Value::Array(values) => values.iter().map(whole).collect::<Option<Vec<usize>>>(),
            single => whole(single).map(|number| vec![number; axes]),
        };
        let numbers = numbers.filter(|numbers| numbers.len() == axes).ok_or_else(|| unexpected(name, value))?;
        numbers.into_iter().map(|number| bounded(name, number, MOST_STEPS)).collect()
    }

    fn place_below(&self, path: &str) -> Option<ModuleId> {
        let own = &self.module().path;
        let full = if own.is_empty() { path.to_owned() } else { format!("{own}.{path}") };
        self.model.place(self.id, &full)
    }

    /// A module below it, by its name relative to the module, whatever its class.
    pub(super) fn below_at(&self, path: &str) -> Option<&'a Module> {
        self.model.modules.get(self.place_below(path)?)
    }

    /// The site of a module below that the recipe computes itself, with that module's own row.
    pub(in crate::plan) fn child(&self, path: &str) -> Result<Site<'a>, Refusal> {
        let child = self.planned_child(path)?;
        obeyed::part_of_another(child.row, path)?;
        Ok(child)
    }

    /// The site of a module below that is planned by its own recipe.
    pub(super) fn planned_child(&self, path: &str) -> Result<Site<'a>, Refusal> {
        let missing = || Refusal::Incomplete(format!("the file holds no `{path}` for it"));
        let id = self.place_below(path).ok_or_else(missing)?;
        let class = &self.model.modules[id].class;
        let no_row = || Refusal::Unsupported(format!("`{path}` is a {}, which has no row", quoted(class)));
        Ok(Site {
            id,
            row: self.registry.layer(class).ok_or_else(no_row)?,
            assumed: None,
            call: None,
            handed: None,
            read: None,
            ..*self
        })
    }

    /// Attributes of every module below it, by its relative path.
    pub(super) fn below(&self) -> BTreeMap<String, Map<String, Value>> {
        let module = self.module();
        let prefix = if module.path.is_empty() { String::new() } else { format!("{}.", module.path) };
        let below = &self.model.modules[self.id + 1..module.end];
        let named = below.iter().filter_map(|module| Some((module.path.strip_prefix(&prefix)?, &module.attributes)));
        named.map(|(path, attributes)| (path.to_owned(), Map::clone(attributes))).collect()
    }

    /// A setting of the recipe; `None` where the row has none.
    pub(super) fn setting(&self, setting: Setting) -> Option<&'a Value> {
        let name = setting.name();
        self.row.attributes.contains_key(name).then(|| self.given(name)).flatten()
    }

    /// A hyper-parameter, or null where the file does not hold it.
    pub(super) fn maybe(&self, name: &str) -> &'a Value {
        self.given(name).unwrap_or(&Value::Null)
    }

    /// Number of spatial axes, out of the class's name (`MaxPool2d`).
    pub(super) fn axes(&self) -> Result<usize, Refusal> {
        let digit = self.torch_class().chars().rev().find_map(|letter| letter.to_digit(10));
        let axes = digit.map(|digit| digit as usize).filter(|axes| (1..=3).contains(axes));
        axes.ok_or_else(|| Refusal::Unsupported("the class does not say how many dimensions it works over".to_owned()))
    }

    /// Signed whole numbers, any number of them.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, Refusal> {
        let value = self.attribute(name)?;
        let most = MOST_STEPS as i64;
        let whole = |value: &Value| value.as_i64().filter(|number| (-most..=most).contains(number));
        let numbers = match value {
            Value::Array(values) => values.iter().map(whole).collect::<Option<Vec<i64>>>(),
            single => whole(single).map(|number| vec![number]),
        };
        numbers.ok_or_else(|| unexpected(name, value))
    }

    /// The row's layout for `weight`.
    pub(super) fn weight_rule(&self, groups: usize) -> Rule {
        self.read.inspect(|read| read.rule());
        let layout = self.row.rule.as_deref().and_then(|name| self.registry.rule(name));
        match layout {
            Some(layout) => {
                let groups = if layout.grouped { groups } else { 1 };
                let axes = layout.axes.clone().map(|axes| Layout::Axes { axes, groups });
                Rule { name: layout.name.clone(), layout: axes.unwrap_or(Layout::Keep) }
            }
            None => Rule::identity(),
        }
    }

    /// Rename sources from torch's names to the class's own.
    pub(super) fn rename_sources(&self, moves: &mut [Move]) {
        for from in moves.iter_mut().flat_map(|step| &mut step.from) {
            *from = self.own_name(from).to_owned();
        }
    }

    /// Moves for `weight` by the row's layout and for the other named tensors unchanged, each if it exists.
    pub(super) fn moves(&self, others: &[&str]) -> Vec<Move> {
        let weight = self.has("weight").then(|| Move::keep("weight").by(self.weight_rule(1)));
        let others = others.iter().filter(|name| self.has(name)).map(|name| Move::keep(name));
        weight.into_iter().chain(others).collect()
    }
}

/// What MLX has that computes a draft: a layer, or the function that its program is about.
pub(super) struct Target(&'static str);

impl From<MlxLayer> for Target {
    fn from(layer: MlxLayer) -> Target {
        Target(layer.name())
    }
}

impl From<MlxOp> for Target {
    fn from(op: MlxOp) -> Target {
        Target(op.name())
    }
}

impl Draft {
    /// A draft with one normal input of that shape, laid out the same for both sides.
    pub fn new(shape: Vec<usize>, bound: Bound) -> Draft {
        let input = Input { shape: shape.clone(), values: Values::Normal(1.0), to_mlx: None };
        Draft {
            mlx: None,
            args: Map::new(),
            program: None,
            torch_args: Map::new(),
            told: Told::default(),
            weights: Vec::new(),
            inputs: vec![input],
            outputs: vec![Output { name: "output", to_torch: None }],
            output_shape: shape,
            bound,
            way: Way::Direct,
        }
    }

    /// A draft with several inputs, or with one that is not normal.
    pub fn of(inputs: Vec<Input>, bound: Bound) -> Draft {
        let shape = inputs.first().map(|input| input.shape.clone()).unwrap_or_default();
        Draft { inputs, ..Draft::new(shape, bound) }
    }

    /// Channels move last for MLX and back again: torch's axes are (N, C, …).
    pub fn channels_last(mut self) -> Draft {
        self.inputs = self.inputs.into_iter().map(Input::channels_last).collect();
        let rank = self.inputs.first().map_or(0, |input| input.shape.len());
        for output in &mut self.outputs {
            output.to_torch = Some(channels_first(rank));
        }
        self
    }

    /// What comes out, one or more.
    pub fn outputs(mut self, outputs: Vec<Output>) -> Draft {
        self.outputs = outputs;
        self
    }

    /// What is computed, where it is not one layer.
    pub fn program(mut self, program: Program) -> Draft {
        self.program = Some(program);
        self
    }

    /// An argument for torch's side besides the module's attributes.
    pub fn torch_arg(mut self, name: &str, value: impl Into<Value>) -> Draft {
        self.torch_args.insert(name.to_owned(), value.into());
        self
    }

    /// How torch's side calls the layer: which parameters the inputs are for, and what is no tensor.
    pub fn called<const N: usize>(mut self, inputs: &[&str], scalars: [(&str, Value); N]) -> Draft {
        let inputs = Some(inputs.iter().map(|name| (*name).to_owned()).collect());
        self.told.call = Some(own::Call { inputs, scalars: super::phrase::entries(scalars) });
        self
    }

    /// The drafted layer becomes part of a program. `around` gets the program and the variable with the input; it
    /// returns the variable with the output.
    pub fn wrapped(mut self, site: &Site<'_>, around: impl FnOnce(&mut Program, String) -> String) -> Draft {
        let mut program = Program::new(&["x"]);
        let kind = self.mlx.clone().or_else(|| site.row.mlx.clone()).unwrap_or_default();
        let args = std::mem::take(&mut self.args);
        program.layers.insert(String::new(), ModuleSpec { kind, args, ..ModuleSpec::default() });
        let output = around(&mut program, "x".to_owned());
        program.outputs = vec![output];
        self.program(program)
    }

    pub fn arg(mut self, name: &str, value: impl Into<Value>) -> Draft {
        self.args.insert(name.to_owned(), value.into());
        self
    }

    /// The draft with another MLX layer.
    pub fn named(mut self, mlx: impl Into<Target>) -> Draft {
        let Target(name) = mlx.into();
        self.mlx = Some(name.to_owned());
        self
    }

    /// What its inputs are filled with.
    pub fn values(mut self, values: Values) -> Draft {
        for input in &mut self.inputs {
            input.values = values;
        }
        self
    }

    /// The shape that comes out, where it is not the input's.
    pub fn output_shape(mut self, shape: Vec<usize>) -> Draft {
        self.output_shape = shape;
        self
    }

    pub fn weights(mut self, weights: Vec<Move>) -> Draft {
        self.weights = weights;
        self
    }

    /// Add a step beyond a rename.
    pub fn step(mut self, text: impl Into<String>) -> Draft {
        self.way.step(text);
        self
    }

    /// The plan, with what the row sets over the recipe's.
    ///
    /// # Errors
    /// Names what the row sets and nothing in this layer reads.
    pub fn finish(mut self, site: &Site<'_>, read: &Read) -> Result<Plan, Refusal> {
        obeyed::arguments(&mut self, site.row)?;
        obeyed::fields(&self, site, read)?;
        let kind = self.mlx.or_else(|| site.row.mlx.clone()).unwrap_or_default();
        let mut torch_args = match site.handed {
            Some(handed) => handed.take(),
            None => site.attributes().clone(),
        };
        for name in site.row.attributes.keys() {
            torch_args.extend(site.given(name).map(|value| (name.clone(), value.clone())));
        }
        torch_args.extend(self.torch_args);
        let told = Told { tensors: site.row.tensors.clone(), ..self.told };
        site.rename_sources(&mut self.weights);
        Ok(Plan {
            torch: ModuleSpec {
                kind: site.torch_class().to_owned(),
                args: torch_args,
                program: None,
                told: (told != Told::default()).then(|| Box::new(told)),
            },
            mlx: ModuleSpec { kind, args: self.args, program: self.program, told: None },
            weights: self.weights,
            inputs: self.inputs,
            outputs: self.outputs,
            bound: site.row.bound.as_deref().and_then(Bound::from_words).unwrap_or(self.bound),
            way: self.way,
        })
    }
}

/// The permutation that turns `[N, *, C]` back into `[N, C, *]`.
pub(super) fn channels_first(rank: usize) -> Vec<usize> {
    match rank {
        0 | 1 => (0..rank).collect(),
        _ => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
    }
}

fn bounded(name: &str, number: usize, most: usize) -> Result<usize, Refusal> {
    let too_large = || Refusal::Unsupported(format!("`{name}` is {number}, too large to measure with"));
    if number <= most { Ok(number) } else { Err(too_large()) }
}

/// A product of sizes out of a file.
pub(super) fn product(sizes: &[usize]) -> Result<usize, Refusal> {
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    product.ok_or_else(|| Refusal::Unsupported(format!("sizes of {sizes:?} are too large to measure with")))
}

/// A hyper-parameter has a value that torch's own layer would not accept.
pub(super) fn unexpected(name: &str, value: &Value) -> Refusal {
    let value = value.to_string();
    Refusal::Unsupported(format!("`{name}` is {}, which this layer does not know", quoted(&value)))
}
