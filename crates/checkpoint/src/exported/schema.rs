//! The JSON of exported programs: what of torch's schema (8.20 of PyTorch 2.13, and those back to 2.1) is read here.
//! Fields that are not named are skipped. serde_json refuses more than 128 levels of nesting.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
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
#[derive(Debug, serde::Deserialize)]
pub(super) struct Graph {
    /// In the order they run.
    pub nodes: Vec<Node>,
}

/// The call of an op.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Node {
    /// The op (`torch.ops.aten.conv2d.default`).
    pub target: String,
    /// Its arguments; those that have the default are left out.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Where it comes from.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A named argument.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Input {
    /// Its name in the op's schema.
    pub name: String,
    /// Its value.
    pub arg: Argument,
}

/// A value: one of the fields is there. Values of other kinds are no constants of a layer.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Argument {
    as_none: Option<bool>,
    as_int: Option<i64>,
    as_ints: Option<Vec<i64>>,
    as_float: Option<Value>,
    as_floats: Option<Vec<Value>>,
    as_bool: Option<bool>,
    as_string: Option<String>,
    /// The branch of a condition or the body of a loop.
    pub as_graph: Option<Box<SubGraph>>,
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
    /// In order.
    pub input_specs: Vec<InputSpec>,
}

/// An input: a parameter, a buffer, or neither.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct InputSpec {
    /// Trained.
    pub parameter: Option<ParameterSpec>,
    /// Not trained.
    pub buffer: Option<BufferSpec>,
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
}

impl Argument {
    /// The value where it is a constant.
    pub fn constant(&self) -> Option<Value> {
        if self.as_none.is_some() {
            return Some(Value::Null);
        }
        let float = |value: &Value| if value.is_number() { Some(value.clone()) } else { None };
        None.or_else(|| self.as_int.map(Value::from))
            .or_else(|| self.as_ints.clone().map(Value::from))
            .or_else(|| self.as_float.as_ref().and_then(float))
            .or_else(|| Some(Value::Array(self.as_floats.as_ref()?.iter().map(float).collect::<Option<_>>()?)))
            .or_else(|| self.as_bool.map(Value::from))
            .or_else(|| self.as_string.clone().map(Value::from))
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
