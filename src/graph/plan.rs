//! The two calls of a node: torch's op, and the program that computes it in MLX.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::terms::reduced;
use crate::compare::tolerance::Bound;
use crate::program::{self, Known, dtype_name};
use crate::registry::aten::{Kind, Parameter, Table, functional};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::graph::{Argument, Graph, Node, ValueId};
use t2m_engine::graph::{Argument as TorchArgument, Op};
use t2m_engine::program::signatures::{Dialect, Rounding, Signature};
use t2m_engine::program::{MlxOp, Program, Step};

/// What a value is when its node is planned.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// A tensor of this type and shape.
    Tensor {
        /// Element type.
        dtype: Dtype,
        /// Sizes.
        shape: Vec<usize>,
    },
    /// A number or a truth value.
    Number(Json),
}

/// What a node asks of torch.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchCall {
    /// The op and its arguments.
    pub op: Op,
    /// The tensors that it takes, in the order that the arguments count.
    pub takes: Vec<ValueId>,
}

/// What a node asks of MLX.
#[derive(Debug, Clone, PartialEq)]
pub struct MlxCall {
    /// What is run.
    pub program: Program,
    /// The tensors that are its inputs.
    pub takes: Vec<ValueId>,
    /// What rounding explains of a difference.
    pub bound: Bound,
}

/// Why a node is not run, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Looks up what a value is.
pub type Forms<'a> = &'a dyn Fn(ValueId) -> Option<Form>;

/// Switches that are off whatever the graph says: a whole model is run as in inference.
const INFERENCE: [(&str, &str); 11] = [
    ("dropout", "train"),
    ("feature_dropout", "train"),
    ("alpha_dropout", "train"),
    ("feature_alpha_dropout", "train"),
    ("native_dropout", "train"),
    ("scaled_dot_product_attention", "dropout_p"),
    ("rrelu", "training"),
    ("lstm", "train"),
    ("gru", "train"),
    ("rnn_tanh", "train"),
    ("rnn_relu", "train"),
];

/// Whether a switch is off in inference. A norm of a batch takes its own numbers where it has no others.
fn is_off(node: &Node, op: &str, argument: &str) -> bool {
    let has_statistics = || node.argument("running_mean").is_some_and(|given| !given.values().is_empty());
    let op = op.trim_end_matches('_');
    INFERENCE.contains(&(op, argument)) || ((op, argument) == ("batch_norm", "training") && has_statistics())
}

/// The op of a node, as torch's dispatcher is asked for it.
///
/// # Errors
/// An argument that is not read, or a value that is not there.
pub fn torch(node: &Node, forms: Forms<'_>) -> Result<TorchCall, Refusal> {
    if node.target.starts_with("higher_order.") {
        return Err(Refusal(format!("{} runs graphs of its own, which only higher_order.cond does here", node.target)));
    }
    let mut parts = node.target.splitn(3, '.');
    let (Some(space), Some(name), Some(overload)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal(format!("`{}` is no op of torch's dispatcher", node.target)));
    };
    let mut takes = Vec::new();
    let mut arguments = Vec::with_capacity(node.arguments.len());
    for (argument, value) in &node.arguments {
        let value = torch_argument(value, forms, &mut takes)?;
        let value = match value {
            value if !is_off(node, name, argument) => value,
            TorchArgument::Float(_) => TorchArgument::Float(0.0),
            _ => TorchArgument::Bool(false),
        };
        arguments.push((argument.clone(), value));
    }
    let overload = if overload == "default" { "" } else { overload };
    let op = Op { name: format!("{space}::{name}"), overload: overload.to_owned(), arguments };
    Ok(TorchCall { op, takes })
}

fn torch_argument(argument: &Argument, forms: Forms<'_>, takes: &mut Vec<ValueId>) -> Result<TorchArgument, Refusal> {
    Ok(match argument {
        Argument::Plain(value) => torch_plain(value)?,
        Argument::Infinite(number) => TorchArgument::Float(*number),
        Argument::Value(id) => match forms(*id) {
            Some(Form::Tensor { .. }) => {
                takes.push(*id);
                TorchArgument::Value(takes.len() - 1)
            }
            Some(Form::Number(number)) => torch_plain(&number)?,
            None => return Err(Refusal("a value that it takes is not there".to_owned())),
        },
        Argument::List(items) => {
            let items = items.iter().map(|item| torch_argument(item, forms, takes));
            TorchArgument::List(items.collect::<Result<_, _>>()?)
        }
        Argument::Dtype(dtype) => TorchArgument::Dtype(*dtype),
        Argument::Device(_) => TorchArgument::Device,
        Argument::MemoryFormat => TorchArgument::MemoryFormat,
        Argument::Layout => TorchArgument::Layout,
        Argument::Graph(_) => return Err(Refusal("it runs a graph of its own".to_owned())),
        Argument::Unread(what) => return Err(Refusal(format!("it is given a `{what}`, which is not read"))),
        Argument::Unknown => return Err(Refusal("it is given what depends on sizes that are not known".to_owned())),
    })
}

fn torch_plain(value: &Json) -> Result<TorchArgument, Refusal> {
    Ok(match value {
        Json::Null => TorchArgument::None,
        Json::Bool(is_so) => TorchArgument::Bool(*is_so),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => TorchArgument::Int(whole),
            None => TorchArgument::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => TorchArgument::Text(text.clone()),
        Json::Array(items) => TorchArgument::List(items.iter().map(torch_plain).collect::<Result<_, _>>()?),
        Json::Object(_) => return Err(Refusal("it is given an object".to_owned())),
    })
}

/// The program of a node.
///
/// # Errors
/// There is no row for the op, the row refuses this call, or an argument is nothing that a program takes.
pub fn mlx(node: &Node, forms: Forms<'_>, table: &Table) -> Result<MlxCall, Refusal> {
    mlx_by(node, forms, table, &Programs::default())
}

fn mlx_by(node: &Node, forms: Forms<'_>, table: &Table, programs: &Programs) -> Result<MlxCall, Refusal> {
    let row = table.row(&node.target).ok_or_else(|| Refusal(format!("no row converts {}", node.target)))?;
    let mut known: Vec<(String, Known)> = Vec::with_capacity(row.schema.parameters.len());
    let mut takes = Vec::new();
    // What is written to is `self`, whatever the op that does not write calls it (`dropout_`).
    let target = node.arguments.first().filter(|_| functional(&node.target).is_some()).map(|(_, argument)| argument);
    for (at, parameter) in row.schema.parameters.iter().enumerate() {
        let given = node.argument(&parameter.name).or(target.filter(|_| at == 0));
        let mut value = bind(parameter, given, forms, &mut takes)?;
        if let Known::Arrays(forms) = &value
            && parameter.kind == Kind::OptionalTensors
        {
            let masks = forms.iter().filter(|(dtype, _)| matches!(dtype, Dtype::Bool | Dtype::UInt8)).count();
            if masks > 0 && forms.len() > 1 || forms.iter().any(|(dtype, _)| *dtype == Dtype::UInt8) {
                return Err(Refusal("it selects by a mask and by indices at once".to_owned()));
            }
            let at = present(given);
            known.push((format!("{}_at", parameter.name), Known::Plain(Json::from(at))));
        }
        if let Known::Plain(plain) = &mut value
            && is_off(node, row.schema.name.split('.').next().unwrap_or_default(), &parameter.name)
        {
            *plain = if plain.is_number() { json!(0.0) } else { Json::Bool(false) };
        }
        known.push((parameter.name.clone(), value));
    }
    let lifted = if row.along { lift(&mut known) } else { Vec::new() };
    let mut program = programs.of(&row.program, &known)?;
    if !lifted.is_empty() {
        lower(&mut program, &lifted);
        program = program::without_moves(program);
    }
    let is_empty = |known: &Known| matches!(known, Known::Array { shape, .. } if shape.contains(&0));
    if known.iter().any(|(_, known)| is_empty(known))
        && program.steps.iter().any(|step| step.call.starts_with("mx.linalg.") && step.call != "mx.linalg.norm")
    {
        return Err(Refusal("MLX takes no empty matrices".to_owned()));
    }
    let shapes = known.iter().flat_map(|(_, known)| match known {
        Known::Array { shape, .. } => shape.clone(),
        Known::Arrays(forms) => forms.iter().flat_map(|(_, shape)| shape.clone()).collect(),
        _ => Vec::new(),
    });
    let longest = reduced(node, forms).unwrap_or_else(|| shapes.max().unwrap_or(1));
    let bound = if row.approximate { Bound::Approximate } else { bound(&program, longest, &takes, forms) };
    Ok(MlxCall { program, takes, bound })
}

/// The program of a node of a graph that says what its results are: of results without elements there is nothing to compute but
/// their shapes, which MLX's functions of matrices do not take.
///
/// # Errors
/// As [`mlx`].
pub fn mlx_within(
    graph: &Graph,
    node: &Node,
    forms: Forms<'_>,
    table: &Table,
    programs: &Programs,
) -> Result<MlxCall, Refusal> {
    mlx_by(node, forms, table, programs).or_else(|refusal| nothing(graph, node).ok_or(refusal))
}

/// Programs that were made, by the row's text and what is known of a call: the layers of a model repeat each other.
#[derive(Debug, Default)]
pub struct Programs(RefCell<HashMap<String, Result<Program, Refusal>>>);

impl Programs {
    fn of(&self, text: &str, known: &[(String, Known)]) -> Result<Program, Refusal> {
        let key = format!("{text}\n{known:?}");
        if let Some(made) = self.0.borrow().get(&key) {
            return made.clone();
        }
        let made = program::plan(text, known.iter().map(|(name, known)| (name.as_str(), known)));
        let made = made.map_err(|error| Refusal(error.to_string()));
        self.0.borrow_mut().insert(key, made.clone());
        made
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether none was made yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The program that makes results without elements; `None` where one has some, or none is known.
fn nothing(graph: &Graph, node: &Node) -> Option<MlxCall> {
    let mut program = Program::new(&[]);
    for id in &node.outputs {
        let meta = graph.value((*id)?)?.tensor.as_ref()?;
        let shape: Vec<u64> = meta.sizes.iter().copied().collect::<Option<_>>()?;
        let to = format!("v{}", program.steps.len());
        let args = [("shape", Json::from(shape.clone())), ("dtype", dtype_name(computed(meta.dtype)).into())];
        program.steps.push(Step {
            to: vec![to.clone()],
            call: MlxOp::Zeros.name().to_owned(),
            inputs: Vec::new(),
            args: args.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        });
        program.outputs.push(to);
        if !shape.contains(&0) {
            return None;
        }
    }
    let is_any = !program.outputs.is_empty();
    is_any.then(|| MlxCall { program, takes: Vec::new(), bound: Bound::Copy })
}

/// Where the first tensor has no axes, let all that have none be of one element; returns which.
fn lift(known: &mut [(String, Known)]) -> Vec<String> {
    let has_none = |known: &Known| matches!(known, Known::Array { shape, .. } if shape.is_empty());
    let first = known.iter().find(|(_, known)| matches!(known, Known::Array { .. }));
    if !first.is_some_and(|(_, known)| has_none(known)) {
        return Vec::new();
    }
    let mut lifted = Vec::new();
    for (name, known) in known.iter_mut().filter(|(_, known)| has_none(known)) {
        if let Known::Array { shape, .. } = known {
            *shape = vec![1];
            lifted.push(name.clone());
        }
    }
    lifted
}

/// Give a program arrays without axes in the place of those with one element, on both ends.
fn lower(program: &mut Program, lifted: &[String]) {
    let reshaped = |to: &str, from: &str, shape: Json| Step {
        to: vec![to.to_owned()],
        call: MlxOp::Reshape.name().to_owned(),
        inputs: vec![from.into()],
        args: [("shape".to_owned(), shape)].into_iter().collect(),
    };
    for name in program.inputs.iter_mut().filter(|name| lifted.contains(name)) {
        let outside = format!("{name}_scalar");
        program.steps.insert(0, reshaped(name, &outside, json!([1])));
        *name = outside;
    }
    for output in &mut program.outputs {
        let outside = format!("{output}_scalar");
        program.steps.push(reshaped(&outside, output, json!([])));
        *output = outside;
    }
}

/// The places in a list of optional tensors where there is one.
fn present(given: Option<&Argument>) -> Vec<usize> {
    let Some(Argument::List(items)) = given else { return Vec::new() };
    items.iter().enumerate().filter(|(_, item)| matches!(item, Argument::Value(_))).map(|(at, _)| at).collect()
}

fn bind(
    parameter: &Parameter,
    given: Option<&Argument>,
    forms: Forms<'_>,
    takes: &mut Vec<ValueId>,
) -> Result<Known, Refusal> {
    let missing = || Refusal(format!("its argument `{}` is missing", parameter.name));
    let listed = |value: Json| match (parameter.kind, value) {
        // `kernel_size=3` is one number for all axes.
        (Kind::List, number @ Json::Number(_)) => Known::Plain(Json::Array(vec![number])),
        (_, value) => Known::Plain(value),
    };
    let Some(given) = given else { return parameter.default.clone().map(listed).ok_or_else(missing) };
    Ok(match given {
        Argument::Plain(value) => listed(value.clone()),
        Argument::Infinite(number) => Known::Infinite(*number),
        Argument::Value(id) => match forms(*id).ok_or_else(missing)? {
            Form::Tensor { dtype, shape } => {
                takes.push(*id);
                Known::Array { dtype: held(dtype), shape }
            }
            Form::Number(number) => listed(number),
        },
        Argument::List(items) => {
            let mut arrays = Vec::new();
            let mut plain = Vec::new();
            for item in items {
                match item {
                    Argument::Value(id) => match forms(*id).ok_or_else(missing)? {
                        Form::Tensor { dtype, shape } => {
                            takes.push(*id);
                            arrays.push((held(dtype), shape));
                        }
                        Form::Number(number) => plain.push(number),
                    },
                    Argument::Plain(value) => plain.push(value.clone()),
                    _ => return Err(Refusal(format!("its argument `{}` is not understood", parameter.name))),
                }
            }
            match (arrays.is_empty(), parameter.kind) {
                (false, _) => Known::Arrays(arrays),
                (true, Kind::Tensors | Kind::OptionalTensors) if plain.is_empty() => Known::Arrays(arrays),
                (true, _) => Known::Plain(Json::Array(plain)),
            }
        }
        Argument::Dtype(dtype) => Known::Plain(dtype_name(computed(*dtype)).into()),
        Argument::Device(_) | Argument::MemoryFormat | Argument::Layout => Known::Plain(Json::Null),
        Argument::Graph(_) => return Err(Refusal("it runs a graph of its own".to_owned())),
        Argument::Unread(what) => return Err(Refusal(format!("it is given a `{what}`, which is not read"))),
        Argument::Unknown => return Err(Refusal("it is given what depends on sizes that are not known".to_owned())),
    })
}

/// The type that MLX holds a value in.
fn held(dtype: Dtype) -> Dtype {
    if dtype == Dtype::Float64 { Dtype::Float32 } else { dtype }
}

/// The type that a run computes in where a graph asks for one of floating point.
pub fn computed(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::Float64 | Dtype::Float32 | Dtype::Float16 | Dtype::BFloat16 => Dtype::Float32,
        Dtype::Complex32 | Dtype::Complex64 | Dtype::Complex128 => Dtype::Complex64,
        other => other,
    }
}

/// Functions that MLX computes by one polynomial for all arguments, which is right to within a few roundings of 1.
const APPROXIMATE: [&str; 1] = ["mx.erf"];

/// What rounding explains, from what the program calls: nothing where elements are only moved; as many terms as are added up,
/// the longest axis where the arguments do not say how many; otherwise one element in, one out.
fn bound(program: &Program, longest: usize, takes: &[ValueId], forms: Forms<'_>) -> Bound {
    let rounds = |call: &str| Signature::of(Dialect::Mlx, call).map_or(Rounding::Pointwise, |row| row.rounds);
    let rounds: Vec<Rounding> = program.steps.iter().map(|step| rounds(&step.call)).collect();
    let elements = |id: &ValueId| match forms(*id) {
        Some(Form::Tensor { shape, .. }) => shape.iter().product(),
        _ => 1,
    };
    // A convolution adds up a group's channels times the kernel, which is what one output channel's weight holds.
    let is_convolution = program.steps.iter().any(|step| step.call.starts_with("mx.conv"));
    let terms = match takes.get(1).map(elements) {
        Some(weight) if is_convolution => {
            let outputs = takes.get(1).and_then(|id| match forms(*id) {
                Some(Form::Tensor { shape, .. }) => shape.first().copied(),
                _ => None,
            });
            weight / outputs.unwrap_or(1).max(1)
        }
        _ => longest,
    };
    // A decomposition adds up over both axes of its matrix.
    let decomposes = program.steps.iter().any(|step| step.call.starts_with("mx.linalg."));
    let terms = if decomposes { takes.iter().map(elements).max().unwrap_or(terms) } else { terms };
    let sizes = takes.iter().filter_map(|id| match forms(*id) {
        Some(Form::Tensor { shape, .. }) => Some(shape),
        _ => None,
    });
    let added = added(program, &sizes.collect::<Vec<_>>());
    if rounds.contains(&Rounding::Norm) && added <= longest {
        Bound::Norm(longest)
    } else if rounds.contains(&Rounding::Norm) || rounds.contains(&Rounding::Sum) {
        Bound::Contraction(terms.max(longest.min(terms.max(1))).max(added))
    } else if rounds.iter().all(|&rounds| rounds == Rounding::Copy) {
        Bound::Copy
    } else if program.steps.iter().any(|step| APPROXIMATE.contains(&step.call.as_str())) {
        Bound::Approximate
    } else {
        Bound::Pointwise
    }
}

/// How many elements the sums of a program have at most: as many as the largest axes hold together, of as many as one goes over.
fn added(program: &Program, shapes: &[Vec<usize>]) -> usize {
    const SUMS: [MlxOp; 6] = [MlxOp::Sum, MlxOp::Mean, MlxOp::Prod, MlxOp::Var, MlxOp::Std, MlxOp::Logsumexp];
    let axes = |args: &serde_json::Map<String, Json>| match args.get("axis") {
        None | Some(Json::Null) => usize::MAX,
        Some(Json::Array(axes)) => axes.len(),
        Some(_) => 1,
    };
    let sums = program.steps.iter().filter(|step| MlxOp::named(&step.call).is_some_and(|op| SUMS.contains(&op)));
    let over = sums.map(|step| axes(&step.args)).max().unwrap_or(0);
    let largest = |shape: &Vec<usize>| {
        let mut sizes = shape.clone();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.iter().take(over).product::<usize>()
    };
    if over == 0 { 0 } else { shapes.iter().map(largest).max().unwrap_or(0) }
}
