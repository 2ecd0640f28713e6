//! Ops on tensors: the overload that a call means, and the node that it becomes.

use serde_json::{Number as JsonNumber, Value as Json};

use super::Given;
use super::calls::Named;
use super::machine::{Frame, MOST_NODES, Machine, Result};
use super::value::{Number, Tensor, Value};
use crate::registry::schemas::{Kind, Overload, overloads};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::{escape, quoted};
use t2m_checkpoint::graph::{Argument, Node, ValueId};

/// Torch's numbers of the element types (c10/core/ScalarType.h).
const DTYPES: [(i64, Dtype); 13] = [
    (0, Dtype::UInt8),
    (1, Dtype::Int8),
    (2, Dtype::Int16),
    (3, Dtype::Int32),
    (4, Dtype::Int64),
    (5, Dtype::Float16),
    (6, Dtype::Float32),
    (7, Dtype::Float64),
    (8, Dtype::Complex32),
    (9, Dtype::Complex64),
    (10, Dtype::Complex128),
    (11, Dtype::Bool),
    (15, Dtype::BFloat16),
];

/// Torch's number of a type.
pub(super) fn number_of(dtype: Dtype) -> Option<i64> {
    DTYPES.iter().find(|(_, known)| *known == dtype).map(|(number, _)| *number)
}

impl Machine<'_> {
    /// An op of ATen's by its name.
    pub(super) fn op(
        &mut self,
        frame: &mut Frame,
        at: usize,
        name: &str,
        given: Vec<Value>,
        named: Named,
        wanted: Option<usize>,
    ) -> Result<Value> {
        let known = overloads(name);
        if known.is_empty() {
            return self.refuse(frame, at, format!("{} has no schema that is known", quoted(name)));
        }
        let found = [false, true]
            .iter()
            .find_map(|loose| known.iter().find(|overload| bound(overload, &given, &named, *loose).is_some()));
        let Some(overload) = found else {
            let kinds: Vec<&str> = given.iter().map(Value::kind).collect();
            return self.refuse(frame, at, format!("no overload of {} takes {}", quoted(name), kinds.join(", ")));
        };
        let made = self.temporary.len();
        let values = bound(overload, &given, &named, true).unwrap_or_default();
        let mut arguments = Vec::with_capacity(values.len());
        for (parameter, value) in values {
            arguments.push((parameter.name.clone(), self.argument(frame, at, &parameter.kind, &value)?));
        }
        let value = self.node(frame, at, name, overload.target.clone(), arguments, &overload.returns, wanted);
        self.temporary.truncate(made);
        value
    }

    /// An op of another library, whose schema is not known.
    pub(super) fn custom(
        &mut self,
        frame: &mut Frame,
        at: usize,
        space: &str,
        name: &str,
        given: &[Value],
        wanted: Option<usize>,
    ) -> Result<Value> {
        let target = format!("{space}.{name}.default");
        if !self.lenient {
            return self.refuse(
                frame,
                at,
                format!("{} is an op of another library, which is not run", quoted(&target)),
            );
        }
        let mut arguments = Vec::new();
        for (number, value) in given.iter().enumerate() {
            let kind = if matches!(value, Value::Tensor(_)) { Kind::Tensor } else { Kind::Other };
            arguments.push((format!("arg{number}"), self.argument(frame, at, &kind, value)?));
        }
        let returns = vec![Kind::Tensor; wanted.unwrap_or(1)];
        self.node(frame, at, name, target, arguments, &returns, wanted)
    }

    /// Add a node, and give what it gives.
    #[allow(clippy::too_many_arguments, reason = "a node is made of as much")]
    fn node(
        &mut self,
        frame: &Frame,
        at: usize,
        name: &str,
        target: String,
        arguments: Vec<(String, Argument)>,
        returns: &[Kind],
        wanted: Option<usize>,
    ) -> Result<Value> {
        if self.graph.nodes.len() >= MOST_NODES {
            return self.refuse(frame, at, format!("the graph has more than {MOST_NODES} nodes"));
        }
        let gone = std::mem::take(&mut *self.gone.borrow_mut());
        if !gone.is_empty() {
            self.world.release(&gone);
        }
        let place = self.place(frame, at);
        let name = self.name(name);
        let mut node = Node { name, target, arguments, outputs: Vec::new(), module: frame.module.clone(), place };
        let first = ValueId(u32::try_from(self.graph.values.len()).unwrap_or(u32::MAX));
        let ran = self.world.run(&self.graph, &node, first);
        let given = match ran {
            Ok(given) => given,
            Err(words) => return self.refuse(frame, at, format!("{}: {}", node.target, escape(&words))),
        };
        let value = match given {
            Some(given) => self.told(&mut node, given, returns),
            None => self.untold(&mut node, returns, wanted),
        };
        // What gives numbers alone is known, and need not run again.
        if node.outputs.iter().any(Option::is_some) || returns.is_empty() {
            self.graph.nodes.push(node);
        }
        Ok(value)
    }

    /// The results of a node that was run.
    fn told(&mut self, node: &mut Node, given: Vec<Given>, returns: &[Kind]) -> Value {
        let single = returns.len() == 1 && !matches!(returns, [Kind::List(..)]);
        let all = given.len();
        let mut values = Vec::with_capacity(all);
        for (place, one) in given.into_iter().enumerate() {
            let name = if all == 1 { node.name.clone() } else { format!("{}.{place}", node.name) };
            let number = one.number();
            let meta = if let Given::Tensor(meta) = &one { Some(meta.clone()) } else { None };
            // Each result has its place among the values, whatever it is.
            let id = self.define(name, meta);
            let is_tensor = matches!(one, Given::Tensor(_));
            node.outputs.push(is_tensor.then_some(id));
            values.push(match (is_tensor, number) {
                (true, _) => Value::Tensor(Tensor::new(id, &self.gone)),
                (false, Some(number)) => Value::Number(number),
                (false, None) => Value::None,
            });
        }
        match returns {
            [] => Value::None,
            [_] if single => values.pop().unwrap_or(Value::None),
            [Kind::List(..)] => Value::list(values),
            // A list among others takes what they leave.
            [first, .., Kind::List(..)] | [first, Kind::List(..)] if !matches!(first, Kind::List(..)) => {
                let rest = values.split_off((returns.len() - 1).min(values.len()));
                values.push(Value::list(rest));
                Value::tuple(values)
            }
            _ => Value::tuple(values),
        }
    }

    /// The results of a node of which nothing is known but its schema.
    fn untold(&mut self, node: &mut Node, returns: &[Kind], wanted: Option<usize>) -> Value {
        let mut values = Vec::with_capacity(returns.len());
        for kind in returns {
            let count = match kind {
                Kind::Tensor => 1,
                Kind::List(of, _) if **of == Kind::Tensor => wanted.unwrap_or(1),
                _ => {
                    node.outputs.push(None);
                    values.push(Value::Unknown);
                    continue;
                }
            };
            let mut tensors = Vec::with_capacity(count);
            for _ in 0..count {
                let place = node.outputs.len();
                let name = if place == 0 && returns.len() == 1 && count == 1 {
                    node.name.clone()
                } else {
                    format!("{}.{place}", node.name)
                };
                let id = self.define(name, None);
                node.outputs.push(Some(id));
                tensors.push(Tensor::new(id, &self.gone));
            }
            values.push(match (kind, wanted, tensors.pop()) {
                (Kind::Tensor, _, Some(tensor)) => Value::Tensor(tensor),
                (_, None, Some(tensor)) => Value::Several(tensor),
                (_, _, last) => Value::list(tensors.into_iter().chain(last).map(Value::Tensor).collect()),
            });
        }
        match values.len() {
            0 => Value::None,
            1 => values.pop().unwrap_or(Value::None),
            _ => Value::tuple(values),
        }
    }

    /// An argument of a node.
    fn argument(&mut self, frame: &mut Frame, at: usize, kind: &Kind, value: &Value) -> Result<Argument> {
        if let Kind::Optional(inner) = kind {
            return match value {
                Value::None => Ok(Argument::Plain(Json::Null)),
                _ => self.argument(frame, at, inner, value),
            };
        }
        Ok(match (kind, value) {
            (_, Value::Unknown) => Argument::Unknown,
            (_, Value::Tensor(tensor)) => Argument::Value(tensor.id()),
            (Kind::List(..), Value::Several(tensor)) => {
                Argument::List(vec![Argument::Value(tensor.id()), Argument::Unknown])
            }
            (Kind::Tensor, Value::Scalar(number) | Value::Number(number)) => {
                let dtype = Value::int(super::builtins::default_dtype(*number));
                let tensor = self.op(
                    frame,
                    at,
                    "scalar_tensor",
                    vec![Value::Number(*number)],
                    vec![("dtype".to_owned(), dtype)],
                    None,
                )?;
                match tensor {
                    Value::Tensor(tensor) => {
                        let id = tensor.id();
                        self.temporary.push(tensor);
                        Argument::Value(id)
                    }
                    _ => Argument::Unknown,
                }
            }
            (Kind::Dtype, value) => {
                match value.as_int().and_then(|number| DTYPES.iter().find(|(known, _)| *known == number)) {
                    Some((_, dtype)) => Argument::Dtype(*dtype),
                    None => Argument::Unread("dtype".to_owned()),
                }
            }
            (Kind::Device, _) => Argument::Device("cpu".to_owned()),
            (Kind::Layout, _) => Argument::Layout,
            (Kind::MemoryFormat, _) => Argument::MemoryFormat,
            (Kind::Float, Value::Number(number) | Value::Scalar(number)) => float(number.float()),
            (_, Value::Number(number) | Value::Scalar(number)) => match number {
                Number::Bool(is_so) => Argument::Plain(Json::Bool(*is_so)),
                Number::Int(whole) => Argument::Plain(Json::from(*whole)),
                Number::Float(number) => float(*number),
            },
            (_, Value::Text(text)) => Argument::Plain(Json::from(text.to_string())),
            (_, Value::None) => Argument::Plain(Json::Null),
            (Kind::List(of, _), value) => {
                let mut items = Vec::new();
                for item in value.items().unwrap_or_default() {
                    items.push(self.argument(frame, at, of, &item)?);
                }
                let plain: Option<Vec<Json>> = items
                    .iter()
                    .map(|item| if let Argument::Plain(json) = item { Some(json.clone()) } else { None })
                    .collect();
                match plain {
                    Some(plain) if !matches!(**of, Kind::Tensor | Kind::Optional(_)) => {
                        Argument::Plain(Json::Array(plain))
                    }
                    _ => Argument::List(items),
                }
            }
            (_, other) => Argument::Unread(other.kind().to_owned()),
        })
    }
}

fn float(number: f64) -> Argument {
    JsonNumber::from_f64(number).map_or(Argument::Infinite(number), |number| Argument::Plain(Json::Number(number)))
}

/// The values of an overload's arguments, those that are given; `None` where they do not fit it.
fn bound<'o>(
    overload: &'o Overload,
    given: &[Value],
    named: &Named,
    loose: bool,
) -> Option<Vec<(&'o crate::registry::schemas::Parameter, Value)>> {
    let by_place = overload.parameters.iter().filter(|parameter| !parameter.by_name).count();
    if given.len() > by_place
        || named.iter().any(|(name, _)| !overload.parameters.iter().any(|known| known.name == *name))
    {
        return None;
    }
    let mut values = Vec::with_capacity(overload.parameters.len());
    for (place, parameter) in overload.parameters.iter().enumerate() {
        let by_name = || named.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value);
        match given.get(place).filter(|_| !parameter.by_name).or_else(by_name) {
            Some(value) if fits(&parameter.kind, value, loose) => values.push((parameter, value.clone())),
            Some(_) => return None,
            None if parameter.has_default => {}
            None => return None,
        }
    }
    Some(values)
}

/// Whether an argument takes a value; strictly, or where torch converts it.
fn fits(kind: &Kind, value: &Value, loose: bool) -> bool {
    use Number::{Bool, Float, Int};
    match (kind, value) {
        (Kind::Optional(_), Value::None) => true,
        (Kind::Optional(inner), value) => fits(inner, value, loose),
        (Kind::Other, _) => false,
        // What is not known is a number, or several: tensors are always known.
        (Kind::Tensor, Value::Unknown) => loose,
        (_, Value::Unknown) => true,
        (Kind::Tensor, Value::Tensor(_) | Value::Scalar(_)) => true,
        (Kind::Tensor, Value::Number(_)) => loose,
        (Kind::Int | Kind::Dtype | Kind::Layout | Kind::MemoryFormat, Value::Number(Int(_))) => true,
        (Kind::Int, Value::Scalar(Int(_)) | Value::Number(Bool(_))) => loose,
        (Kind::Float, Value::Number(Float(_))) => true,
        (Kind::Float, Value::Number(_) | Value::Scalar(_)) => loose,
        (Kind::Bool, Value::Number(Bool(_))) => true,
        (Kind::Scalar, Value::Number(_)) => true,
        (Kind::Scalar, Value::Scalar(_)) => loose,
        (Kind::Text, Value::Text(_)) | (Kind::Device, Value::Device) => true,
        (Kind::Device, Value::Text(_)) => loose,
        (Kind::List(of, _), Value::Several(_)) => matches!(**of, Kind::Tensor | Kind::Optional(_)),
        (Kind::List(of, _), Value::List(_) | Value::Tuple(..)) => {
            value.items().unwrap_or_default().iter().all(|item| fits(of, item, loose))
        }
        (Kind::List(of, one_for_all), value) => *one_for_all && fits(of, value, loose),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_is_found_by_what_it_is_given() {
        let number = |number: Number| Value::Number(number);
        let tensor = || Value::Tensor(Tensor::new(ValueId(0), &Default::default()));
        let target = |name: &str, given: &[Value], named: &Named| {
            let found = [false, true].iter().find_map(|loose| {
                overloads(name).iter().find(|overload| bound(overload, given, named, *loose).is_some())
            });
            found.map(|overload| overload.target.as_str())
        };
        let none = Named::new();
        let alpha = vec![("alpha".to_owned(), Value::int(1))];
        let ints = || Value::list(vec![Value::int(1), Value::int(2)]);
        assert_eq!(target("add", &[tensor(), tensor()], &alpha), Some("aten.add.Tensor"));
        assert_eq!(target("add", &[tensor(), number(Number::Float(0.5))], &none), Some("aten.add.Scalar"));
        assert_eq!(target("mean", &[tensor(), ints(), Value::bool(true)], &none), Some("aten.mean.dim"));
        assert_eq!(target("max", &[tensor()], &none), Some("aten.max.default"));
        assert_eq!(target("max", &[tensor(), Value::int(1)], &none), Some("aten.max.dim"));
        assert_eq!(target("split", &[tensor(), Value::int(2), Value::int(1)], &none), Some("aten.split.Tensor"));
        assert_eq!(target("split", &[tensor(), ints()], &none), Some("aten.split.sizes"));
        assert_eq!(
            target("conv2d", &[tensor(), tensor(), Value::None, Value::int(1), Value::text("same")], &none),
            Some("aten.conv2d.padding")
        );
        assert_eq!(target("to", &[tensor(), Value::int(6)], &none), Some("aten.to.dtype"));
        assert_eq!(target("add", &[Value::text("x")], &none), None);
        assert_eq!(target("relu", &[tensor()], &alpha), None, "an argument that it has not");
    }
}
