//! The JSON of exported programs: what of torch's schema (8.20 of PyTorch 2.13, and those back to 2.1) is read here.
//! Fields that are not named are skipped. serde_json refuses more than 128 levels of nesting.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A program.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Program {
    /// The graph and what belongs to it.
    pub graph_module: GraphModule,
    /// Of dynamic sizes, by symbol.
    #[serde(default)]
    pub range_constraints: Map<String, Value>,
    /// `{"major": 8, "minor": 20}`, a single number in early versions.
    #[serde(default)]
    pub schema_version: Value,
    /// Operator sets by namespace.
    #[serde(default)]
    pub opset_version: Map<String, Value>,
    /// The torch that wrote it.
    #[serde(default)]
    pub torch_version: Option<String>,
}

/// A graph with its signature and its modules.
#[derive(Debug, serde::Deserialize)]
pub(super) struct GraphModule {
    /// The nodes.
    pub graph: Graph,
    /// What the inputs are.
    #[serde(default)]
    pub signature: Signature,
    /// Modules of the original, in `named_modules` order, those that are never called too.
    #[serde(default)]
    pub module_call_graph: Vec<ModuleCall>,
}

/// A graph, or one within a graph.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Graph {
    /// What it is given.
    pub inputs: Vec<Argument>,
    /// What it gives.
    pub outputs: Vec<Argument>,
    /// In the order they run.
    pub nodes: Vec<Node>,
    /// Types and shapes of tensors, by name.
    pub tensor_values: HashMap<String, ValueMeta>,
    /// Whole numbers, by name.
    pub sym_int_values: HashMap<String, SymInt>,
}

impl Graph {
    /// What a whole number was for the sample inputs.
    pub fn hint(&self, name: &str) -> Option<Value> {
        let number = self.sym_int_values.get(name)?;
        let hint = || number.as_expr.as_ref()?.hint.as_ref()?.as_int;
        number.as_int.or_else(hint).map(Value::from)
    }
}

/// What the exporter knew of a tensor in the graph.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ValueMeta {
    /// Number of the type in torch's schema.
    pub dtype: i64,
    /// Sizes; those that are symbols have a hint.
    #[serde(default)]
    pub sizes: Vec<SymInt>,
}

/// The call of an op.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Node {
    /// The op (`torch.ops.aten.conv2d.default`).
    pub target: String,
    /// Its arguments; those that have the default are left out.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Its results.
    #[serde(default)]
    pub outputs: Vec<Argument>,
    /// Where it comes from.
    #[serde(default)]
    pub metadata: Metadata,
    /// Its name; early versions have none.
    #[serde(default)]
    pub name: Option<String>,
}

impl Node {
    /// The name of its second result, where it gives two tensors.
    pub fn second_result(&self) -> Option<&str> {
        match self.outputs.as_slice() {
            [Argument::Tensor(_), Argument::Tensor(second)] => Some(second),
            _ => None,
        }
    }
}

/// A named argument.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Input {
    /// Its name in the op's schema.
    pub name: String,
    /// Its value.
    pub arg: Argument,
}

/// A value: torch's schema has a union, an object with one field.
#[derive(Debug, Default)]
pub(super) enum Argument {
    /// None.
    #[default]
    None,
    /// A tensor of the graph, by name.
    Tensor(String),
    /// Several.
    Tensors(Vec<String>),
    /// Several, of which some may be None.
    OptionalTensors(Vec<Option<String>>),
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A number.
    Float(f64),
    /// Numbers.
    Floats(Vec<f64>),
    /// A truth value.
    Bool(bool),
    /// Truth values.
    Bools(Vec<bool>),
    /// A text.
    Text(String),
    /// A number that the graph computes, or a plain one.
    Symbol(Symbol),
    /// Several.
    Symbols(Vec<Symbol>),
    /// The number of an element type.
    ScalarType(i64),
    /// A memory format.
    MemoryFormat,
    /// A layout.
    Layout,
    /// `cpu`, `cuda`.
    Device(String),
    /// The branch of a condition or the body of a loop.
    Graph(Box<SubGraph>),
    /// What else the schema has, by the name of its field.
    Other(String),
}

/// A number that the graph computes, by its name, or a plain one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Symbol {
    /// The name of a value.
    Name(String),
    /// A number or a truth value.
    Plain(Value),
}

/// A graph as an argument.
#[derive(Debug, serde::Deserialize)]
pub(super) struct SubGraph {
    /// The graph itself.
    pub graph: Graph,
}

/// Notes of the exporter on a node.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    /// `key,path,class` for each module around the node, from the root, separated by `;`.
    pub nn_module_stack: String,
    /// The Python stack, outermost frame first.
    pub stack_trace: String,
}

/// What the inputs of the graph are.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Signature {
    /// In the order of the graph's inputs.
    pub input_specs: Vec<InputSpec>,
    /// In the order of the graph's outputs.
    pub output_specs: Vec<OutputSpec>,
}

/// An input: a parameter, a buffer, or neither.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct InputSpec {
    /// Trained.
    pub parameter: Option<ParameterSpec>,
    /// Not trained.
    pub buffer: Option<BufferSpec>,
    /// A tensor that the code made while it was traced.
    pub tensor_constant: Option<ConstantSpec>,
    /// What the caller gives.
    pub user_input: Option<IgnoredAny>,
    /// A plain value that the caller gave at the export, and that is part of the graph since.
    pub constant_input: Option<ConstantInput>,
}

/// A plain value that is part of the graph.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct ConstantInput {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Option<Argument>,
}

/// A tensor that the code made while it was traced.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ConstantSpec {
    /// Its name.
    pub tensor_constant_name: String,
}

/// An output: what the caller gets, or a tensor of the model that is another afterwards.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct OutputSpec {
    /// What the caller gets.
    pub user_output: Option<IgnoredAny>,
}

/// A parameter of the original module.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ParameterSpec {
    /// Its full name.
    pub parameter_name: String,
}

/// A buffer of the original module.
#[derive(Debug, serde::Deserialize)]
pub(super) struct BufferSpec {
    /// Its full name.
    pub buffer_name: String,
}

/// A module of the original.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ModuleCall {
    /// Its path.
    pub fqn: String,
    /// What it takes; known of the model itself.
    #[serde(default)]
    pub signature: Option<CallSignature>,
}

/// What a module takes.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct CallSignature {
    /// How its inputs are made of tensors, as torch.utils._pytree writes it.
    pub in_spec: String,
    /// Names of forward's parameters, in order.
    pub forward_arg_names: Option<Vec<String>>,
}

/// `model_weights_config.json` and `model_constants_config.json`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Config {
    /// By full name.
    pub config: Pairs<Payload>,
}

/// A tensor, and the record with its bytes.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Payload {
    /// Name of the record; tied tensors have the same.
    pub path_name: String,
    /// Whether it is a parameter.
    #[serde(default)]
    pub is_param: bool,
    /// Whether the record is a `torch.save` archive of its own instead of raw bytes.
    #[serde(default)]
    pub use_pickle: bool,
    /// Its layout; constants that are no tensor have none.
    #[serde(default)]
    pub tensor_meta: Option<TensorMeta>,
}

/// The layout of a tensor.
#[derive(Debug, serde::Deserialize)]
pub(super) struct TensorMeta {
    /// Number of the type in torch's schema.
    pub dtype: i64,
    /// Sizes.
    pub sizes: Vec<SymInt>,
    /// Strides in elements.
    pub strides: Vec<SymInt>,
    /// First element.
    pub storage_offset: SymInt,
    /// Number of the layout in torch's schema.
    pub layout: i64,
    /// Whether it is trained.
    #[serde(default)]
    pub requires_grad: bool,
}

/// A size. One that is an expression is no size of a stored tensor.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct SymInt {
    /// The number.
    pub as_int: Option<i64>,
    /// An expression of symbols.
    pub as_expr: Option<SymExpr>,
}

/// An expression of symbols (`s77 + 1`).
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct SymExpr {
    /// What it was for the sample inputs.
    pub hint: Option<Hint>,
}

/// A number, where it is a size.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Hint {
    /// The number.
    pub as_int: Option<i64>,
}

impl Argument {
    /// The value where it is a constant of a layer: a number, a text, a truth value, None, or a list of numbers.
    pub fn constant(&self) -> Option<Value> {
        Some(match self {
            Argument::None => Value::Null,
            Argument::Int(number) => Value::from(*number),
            Argument::Ints(numbers) => Value::from(numbers.clone()),
            Argument::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
            Argument::Floats(numbers) if numbers.iter().all(|number| number.is_finite()) => {
                Value::from(numbers.clone())
            }
            Argument::Bool(is_so) => Value::from(*is_so),
            Argument::Text(text) => Value::from(text.clone()),
            _ => return None,
        })
    }

    /// As [`Argument::constant`], and of a list of sizes those that are plain numbers, with None in the place of the others.
    pub fn sizes(&self) -> Option<Value> {
        let Argument::Symbols(symbols) = self else { return self.constant() };
        let plain = |symbol: &Symbol| if let Symbol::Plain(value) = symbol { value.clone() } else { Value::Null };
        Some(Value::Array(symbols.iter().map(plain).collect()))
    }

    /// The names of the values that it is, tensors and numbers.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Argument::Tensor(name) => vec![name],
            Argument::Tensors(names) => names.iter().map(String::as_str).collect(),
            Argument::OptionalTensors(names) => names.iter().flatten().map(String::as_str).collect(),
            Argument::Symbol(Symbol::Name(name)) => vec![name],
            Argument::Symbols(symbols) => symbols
                .iter()
                .filter_map(|one| if let Symbol::Name(name) = one { Some(name.as_str()) } else { None })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The graph that it is.
    pub fn graph(&self) -> Option<&Graph> {
        if let Argument::Graph(sub) = self { Some(&sub.graph) } else { None }
    }
}

/// `{"name": "x"}`
#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

/// `{"as_tensor": {"name": "x"}}` or `{"as_none": true}`
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Optional {
    as_tensor: Option<Named>,
}

/// `{"as_name": "s0"}`, or a field with a plain value.
impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Fields {
            as_name: Option<String>,
            as_int: Option<Value>,
            as_float: Option<Value>,
            as_bool: Option<Value>,
        }
        let fields = Fields::deserialize(deserializer)?;
        let plain = || fields.as_int.or(fields.as_float).or(fields.as_bool).unwrap_or_default();
        Ok(fields.as_name.map_or_else(|| Symbol::Plain(plain()), Symbol::Name))
    }
}

/// A number that may be written as a text, since JSON has no infinity.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Float {
    Number(f64),
    Text(String),
}

impl Float {
    fn number(self) -> f64 {
        match self {
            Float::Number(number) => number,
            Float::Text(text) => text.parse().unwrap_or(f64::NAN),
        }
    }
}

/// `{"type": "cpu", "index": null}`
#[derive(serde::Deserialize)]
struct Device {
    #[serde(rename = "type")]
    kind: String,
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

/// Reads the one field of the union; early versions wrote the others too, as null.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Argument;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an argument, an object with one field")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Argument, M::Error> {
        let mut found = Argument::None;
        while let Some(field) = map.next_key::<String>()? {
            if let Some(argument) = field_value(&field, &mut map)? {
                found = argument;
            }
        }
        Ok(found)
    }
}

/// The value of one field; `None` for null.
fn field_value<'de, M: MapAccess<'de>>(field: &str, map: &mut M) -> Result<Option<Argument>, M::Error> {
    fn some<'de, T: Deserialize<'de>, M: MapAccess<'de>>(
        map: &mut M,
        argument: impl FnOnce(T) -> Argument,
    ) -> Result<Option<Argument>, M::Error> {
        Ok(map.next_value::<Option<T>>()?.map(argument))
    }
    let names = |list: Vec<Named>| list.into_iter().map(|named| named.name).collect();
    match field {
        "as_none" => some(map, |_: bool| Argument::None),
        "as_tensor" => some(map, |named: Named| Argument::Tensor(named.name)),
        "as_tensors" => some(map, |list| Argument::Tensors(names(list))),
        "as_optional_tensor" => some(map, |optional: Optional| {
            optional.as_tensor.map_or(Argument::None, |named| Argument::Tensor(named.name))
        }),
        "as_optional_tensors" => some(map, |list: Vec<Optional>| {
            Argument::OptionalTensors(list.into_iter().map(|item| item.as_tensor.map(|named| named.name)).collect())
        }),
        "as_int" => some(map, Argument::Int),
        "as_ints" => some(map, Argument::Ints),
        "as_float" => some(map, |float: Float| Argument::Float(float.number())),
        "as_floats" => some(map, |list: Vec<Float>| Argument::Floats(list.into_iter().map(Float::number).collect())),
        "as_bool" => some(map, Argument::Bool),
        "as_bools" => some(map, Argument::Bools),
        "as_string" => some(map, Argument::Text),
        "as_sym_int" | "as_sym_float" | "as_sym_bool" => some(map, Argument::Symbol),
        "as_sym_ints" | "as_sym_floats" | "as_sym_bools" => some(map, Argument::Symbols),
        "as_scalar_type" => some(map, Argument::ScalarType),
        "as_memory_format" => some(map, |_: IgnoredAny| Argument::MemoryFormat),
        "as_layout" => some(map, |_: IgnoredAny| Argument::Layout),
        "as_device" => some(map, |device: Device| Argument::Device(device.kind)),
        "as_graph" => some(map, Argument::Graph),
        other => some(map, |_: IgnoredAny| Argument::Other(other.to_owned())),
    }
}

/// A JSON object in the order of the file.
#[derive(Debug)]
pub(super) struct Pairs<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Pairs<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<T>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect(PhantomData))
    }
}
