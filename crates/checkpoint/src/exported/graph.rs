//! The graph of an exported program, out of its JSON.
//!
//! What `torch.no_grad()` and `torch.autocast` wrap is a graph within a node; as neither changes what is computed here (all of
//! it in one type), its nodes stand in the outer graph.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::super::error::name_for_message;
use super::super::graph::{self, Graph, Input, Node, Origin, TensorMeta, Value, ValueId};
use super::schema::{self, Argument, ConstantInput, InputSpec, Program, Symbol};
use super::tree::{innermost, place, without_call_number};
use super::{dtype, members};
use crate::Dtype;

/// Nodes that run the graph that they are given as it stands.
const WRAPPERS: [&str; 2] = ["higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast"];

/// The graph of a program.
///
/// # Errors
/// In words: a value that nothing gives, or that two give.
pub(super) fn graph(program: &Program) -> Result<Graph, String> {
    let module = &program.graph_module;
    let mut reader = Reader::default();
    let specs = &module.signature.input_specs;
    for (at, argument) in module.graph.inputs.iter().enumerate() {
        let spec = specs.get(at);
        let fixed = spec.and_then(|spec| spec.constant_input.as_ref());
        let origin = match (argument, spec.map_or(Origin::User, origin)) {
            (Argument::Symbol(Symbol::Name(name)), Origin::User) => Origin::Number(module.graph.hint(name)),
            (_, Origin::Other) => fixed.and_then(fixed_value).map_or(Origin::Other, Origin::Fixed),
            (_, origin) => origin,
        };
        reader.placeholder(&module.graph, argument, origin, fixed.map(|fixed| fixed.name.as_str()))?;
    }
    reader.graph.members = members::members(program, &reader.graph);
    reader.nodes(&module.graph)?;
    let outputs = &module.signature.output_specs;
    for (at, argument) in module.graph.outputs.iter().enumerate() {
        // The others are buffers and parameters as they are afterwards.
        if outputs.get(at).is_none_or(|spec| spec.user_output.is_some()) {
            let argument = reader.argument(argument)?;
            reader.graph.outputs.push(argument);
        }
    }
    Ok(reader.graph)
}

/// The value of an input that the export made part of the graph.
fn fixed_value(fixed: &ConstantInput) -> Option<Json> {
    fixed.value.as_ref()?.constant()
}

fn origin(spec: &InputSpec) -> Origin {
    if let Some(parameter) = &spec.parameter {
        Origin::State(parameter.parameter_name.clone())
    } else if let Some(buffer) = &spec.buffer {
        Origin::State(buffer.buffer_name.clone())
    } else if let Some(constant) = &spec.tensor_constant {
        Origin::State(constant.tensor_constant_name.clone())
    } else if spec.user_input.is_some() {
        Origin::User
    } else {
        Origin::Other
    }
}

/// A graph in the making.
#[derive(Default)]
struct Reader {
    graph: Graph,
    /// Values by their names.
    names: HashMap<String, ValueId>,
    texts: HashMap<String, Arc<str>>,
}

impl Reader {
    fn placeholder(
        &mut self,
        from: &schema::Graph,
        argument: &Argument,
        origin: Origin,
        fixed: Option<&str>,
    ) -> Result<(), String> {
        let (name, origin) = match (argument, origin) {
            (Argument::Tensor(name) | Argument::Symbol(Symbol::Name(name)), origin) => (name.clone(), origin),
            (_, origin @ Origin::Fixed(_)) => match fixed.filter(|name| !self.names.contains_key(*name)) {
                Some(name) => (name.to_owned(), origin),
                None => (format!("input_{}", self.graph.inputs.len()), origin),
            },
            _ => (format!("input_{}", self.graph.inputs.len()), Origin::Other),
        };
        let value = self.define(from, &name)?;
        self.graph.inputs.push(Input { value, origin });
        Ok(())
    }

    fn define(&mut self, from: &schema::Graph, name: &str) -> Result<ValueId, String> {
        let id = ValueId(u32::try_from(self.graph.values.len()).map_err(|_| "has too many values".to_owned())?);
        let tensor = from.tensor_values.get(name).map(|meta| TensorMeta {
            dtype: dtype(meta.dtype).unwrap_or(Dtype::Unknown),
            sizes: meta.sizes.iter().map(size).collect(),
        });
        self.graph.values.push(Value { name: name.to_owned(), tensor });
        match self.names.insert(name.to_owned(), id) {
            None => Ok(id),
            Some(_) => Err(format!("gives the value `{}` twice", name_for_message(name))),
        }
    }

    fn nodes(&mut self, from: &schema::Graph) -> Result<(), String> {
        for node in &from.nodes {
            let target = node.target.strip_prefix("torch.ops.").unwrap_or(&node.target);
            if WRAPPERS.contains(&target) && self.unwrapped(node)? {
                continue;
            }
            let mut arguments = Vec::with_capacity(node.inputs.len());
            for input in &node.inputs {
                arguments.push((input.name.clone(), self.argument(&input.arg)?));
            }
            let mut outputs = Vec::new();
            for output in &node.outputs {
                self.outputs(from, output, &mut outputs)?;
            }
            let first = || outputs.iter().flatten().next().and_then(|id| self.graph.value(*id));
            let name = node.name.clone().or_else(|| Some(first()?.name.clone())).unwrap_or_default();
            let module = self.text(without_call_number(innermost(&node.metadata.nn_module_stack).unwrap_or_default()));
            let place = place(&node.metadata.stack_trace).map(|(file, line)| (self.text(&file), line));
            self.graph.nodes.push(Node { name, target: target.to_owned(), arguments, outputs, module, place });
        }
        Ok(())
    }

    /// Put the nodes of a wrapped graph in the place of the node that wraps it. False where it has another form.
    fn unwrapped(&mut self, node: &schema::Node) -> Result<bool, String> {
        let Some(at) = node.inputs.iter().position(|input| input.arg.graph().is_some()) else { return Ok(false) };
        let (Some(inner), given) = (node.inputs[at].arg.graph(), &node.inputs[at + 1..]) else { return Ok(false) };
        let mut results = Vec::new();
        for output in &node.outputs {
            match output {
                Argument::Tensor(name) => results.push(name),
                Argument::Tensors(names) => results.extend(names),
                _ => return Ok(false),
            }
        }
        if inner.inputs.len() != given.len() || inner.outputs.len() != results.len() {
            return Ok(false);
        }
        // Names within are the wrapped graph's own; they hide those outside.
        let mut scope = HashMap::new();
        for (placeholder, given) in inner.inputs.iter().zip(given) {
            let (Argument::Tensor(name), Argument::Tensor(outer)) = (placeholder, &given.arg) else { return Ok(false) };
            scope.insert(name.clone(), self.known(outer)?);
        }
        let outside = std::mem::replace(&mut self.names, scope);
        self.nodes(inner)?;
        let mut ids = Vec::with_capacity(results.len());
        for output in &inner.outputs {
            let Argument::Tensor(name) = output else {
                return Err(format!("wraps a graph in `{}` whose result is no tensor", name_for_message(&node.target)));
            };
            ids.push(self.known(name)?);
        }
        self.names = outside;
        for (name, id) in results.into_iter().zip(ids) {
            self.names.insert(name.clone(), id);
        }
        Ok(true)
    }

    fn outputs(
        &mut self,
        from: &schema::Graph,
        output: &Argument,
        outputs: &mut Vec<Option<ValueId>>,
    ) -> Result<(), String> {
        match output {
            Argument::Tensor(name) | Argument::Symbol(Symbol::Name(name)) => {
                outputs.push(Some(self.define(from, name)?))
            }
            Argument::Tensors(names) => {
                for name in names {
                    outputs.push(Some(self.define(from, name)?));
                }
            }
            Argument::OptionalTensors(names) => {
                for name in names {
                    let id = name.as_ref().map(|name| self.define(from, name)).transpose()?;
                    outputs.push(id);
                }
            }
            Argument::Symbols(symbols) => {
                for symbol in symbols {
                    let Symbol::Name(name) = symbol else {
                        outputs.push(None);
                        continue;
                    };
                    outputs.push(Some(self.define(from, name)?));
                }
            }
            _ => outputs.push(None),
        }
        Ok(())
    }

    fn known(&self, name: &str) -> Result<ValueId, String> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| format!("takes the value `{}`, which nothing before gives", name_for_message(name)))
    }

    fn argument(&mut self, argument: &Argument) -> Result<graph::Argument, String> {
        use graph::Argument as To;
        let plain = |value: Json| Ok(To::Plain(value));
        match argument {
            Argument::None => plain(Json::Null),
            Argument::Int(number) => plain(json!(number)),
            Argument::Ints(numbers) => plain(json!(numbers)),
            Argument::Float(number) => Ok(float(*number)),
            Argument::Floats(numbers) => Ok(To::List(numbers.iter().copied().map(float).collect())),
            Argument::Bool(is_so) => plain(json!(is_so)),
            Argument::Bools(all) => plain(json!(all)),
            Argument::Text(text) => plain(json!(text)),
            Argument::Tensor(name) => Ok(To::Value(self.known(name)?)),
            Argument::Tensors(names) => {
                Ok(To::List(names.iter().map(|name| Ok(To::Value(self.known(name)?))).collect::<Result<_, String>>()?))
            }
            Argument::OptionalTensors(names) => {
                let item = |name: &Option<String>| match name {
                    Some(name) => Ok(To::Value(self.known(name)?)),
                    None => Ok(To::Plain(Json::Null)),
                };
                Ok(To::List(names.iter().map(item).collect::<Result<_, String>>()?))
            }
            Argument::Symbol(symbol) => self.symbol(symbol),
            Argument::Symbols(symbols) => {
                Ok(To::List(symbols.iter().map(|symbol| self.symbol(symbol)).collect::<Result<_, _>>()?))
            }
            Argument::ScalarType(number) => Ok(To::Dtype(dtype(*number).unwrap_or(Dtype::Unknown))),
            Argument::MemoryFormat => Ok(To::MemoryFormat),
            Argument::Layout => Ok(To::Layout),
            Argument::Device(kind) => Ok(To::Device(kind.clone())),
            Argument::Graph(sub) => {
                let mut inner = Reader::default();
                for argument in &sub.graph.inputs {
                    inner.placeholder(&sub.graph, argument, Origin::User, None)?;
                }
                inner.nodes(&sub.graph)?;
                for output in &sub.graph.outputs {
                    let output = inner.argument(output)?;
                    inner.graph.outputs.push(output);
                }
                Ok(To::Graph(Box::new(inner.graph)))
            }
            Argument::Other(field) => Ok(To::Unread(field.clone())),
        }
    }

    fn symbol(&self, symbol: &Symbol) -> Result<graph::Argument, String> {
        Ok(match symbol {
            Symbol::Name(name) => graph::Argument::Value(self.known(name)?),
            Symbol::Plain(value) => graph::Argument::Plain(value.clone()),
        })
    }

    /// The same text once.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = Arc::from(text);
        self.texts.insert(text.to_owned(), Arc::clone(&shared));
        shared
    }
}

fn float(number: f64) -> graph::Argument {
    match serde_json::Number::from_f64(number) {
        Some(number) => graph::Argument::Plain(Json::Number(number)),
        None => graph::Argument::Infinite(number),
    }
}

fn size(size: &schema::SymInt) -> Option<u64> {
    let hint = || size.as_expr.as_ref()?.hint.as_ref()?.as_int;
    u64::try_from(size.as_int.or_else(hint)?).ok()
}
