//! What the model's forward takes, and what it is given.

use std::fmt;

use serde_json::Value as Json;

use super::machine::{Machine, Result};
use super::value::{Number, Value};
use t2m_checkpoint::escape::escape;
use t2m_checkpoint::graph::TensorMeta;
use t2m_checkpoint::script::syntax::{Action, Expression, Form, Statement};

/// A parameter of the model's forward.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether the code says what it is where it is not given.
    pub has_default: bool,
    /// Whole numbers that forward holds it against: values that it is likely to take.
    pub known: Vec<i64>,
}

/// The type of a parameter, as far as what it is given depends on it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Kind {
    Tensor,
    Int,
    Float,
    Bool,
    /// A number of any of the three.
    Number,
    Text,
    List(Box<Kind>),
    /// With the names of its members, where its class has such.
    Tuple(Vec<Kind>, Option<Vec<String>>),
    /// By texts.
    Dict(Box<Kind>),
    Optional(Box<Kind>),
    /// Another, as the code writes it.
    Other(String),
}

/// What a parameter is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A tensor: an input of the graph of this name.
    Tensor(String, Option<TensorMeta>),
    /// A number, a text, a truth value, None, or a list of them.
    Plain(Json),
    /// A list.
    List(Vec<Argument>),
    /// A tuple, with the names of its members.
    Tuple(Vec<Argument>, Option<Vec<String>>),
    /// A dict.
    Dict(Vec<(String, Argument)>),
    /// As many tensors as nothing tells.
    Several(String),
    /// What nothing tells.
    Unknown,
    /// What the code says where nothing is given.
    Default,
}

impl Kind {
    /// What is known of an argument of this type when nothing is given. Its tensors are named after the parameter.
    fn unknown(&self, name: &mut Names<'_>) -> Argument {
        match self {
            Kind::Tensor => Argument::Tensor(name.take(), None),
            Kind::Optional(inner) => inner.unknown(name),
            Kind::List(inner) if **inner == Kind::Tensor => Argument::List(vec![inner.unknown(name)]),
            Kind::Tuple(members, names) => {
                Argument::Tuple(members.iter().map(|member| member.unknown(name)).collect(), names.clone())
            }
            Kind::Dict(inner) if **inner == Kind::Tensor => Argument::Several(name.take()),
            _ => Argument::Unknown,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Tensor => out.write_str("Tensor"),
            Kind::Int => out.write_str("int"),
            Kind::Float => out.write_str("float"),
            Kind::Bool => out.write_str("bool"),
            Kind::Number => out.write_str("number"),
            Kind::Text => out.write_str("str"),
            Kind::List(inner) => write!(out, "List[{inner}]"),
            Kind::Dict(inner) => write!(out, "Dict[str, {inner}]"),
            Kind::Optional(inner) => write!(out, "Optional[{inner}]"),
            Kind::Tuple(members, names) => {
                let member = |(at, kind): (usize, &Kind)| match names.as_ref().and_then(|names| names.get(at)) {
                    Some(name) => format!("{name}: {kind}"),
                    None => kind.to_string(),
                };
                write!(out, "Tuple[{}]", members.iter().enumerate().map(member).collect::<Vec<_>>().join(", "))
            }
            Kind::Other(text) => out.write_str(&escape(text)),
        }
    }
}

/// Names of the tensors that one parameter is made of: `x`, `x_1`, `x_2`.
#[derive(Debug)]
pub struct Names<'a> {
    base: &'a str,
    count: usize,
}

impl<'a> Names<'a> {
    /// Those of a parameter.
    pub fn of(base: &'a str) -> Names<'a> {
        Names { base, count: 0 }
    }

    /// The one that is next, without taking it.
    pub fn peek(&self) -> String {
        match self.count {
            0 => self.base.to_owned(),
            count => format!("{}_{count}", self.base),
        }
    }

    /// The next.
    pub fn take(&mut self) -> String {
        let name = self.peek();
        self.count += 1;
        name
    }

    /// How many were taken.
    pub fn taken(&self) -> usize {
        self.count
    }
}

impl Parameter {
    /// What it is given where nothing is said of it.
    pub(super) fn unknown(&self) -> Argument {
        if self.has_default { Argument::Default } else { self.kind.unknown(&mut Names::of(&self.name)) }
    }
}

impl Machine<'_> {
    /// What the model's forward takes, in order.
    pub fn parameters(&mut self) -> Result<Vec<Parameter>> {
        let function = self.forward()?.1;
        let mut parameters = Vec::new();
        for parameter in function.parameters.iter().skip(1) {
            let kind = match &parameter.kind {
                Some(kind) => self.kind(kind)?,
                None => Kind::Tensor,
            };
            let mut known = Vec::new();
            held_against(&function.body, &parameter.name, &mut known);
            let (name, has_default) = (parameter.name.clone(), parameter.default.is_some());
            parameters.push(Parameter { name, kind, has_default, known });
        }
        Ok(parameters)
    }

    fn kind(&mut self, written: &Expression) -> Result<Kind> {
        self.deeper(|machine| machine.kind_of(written))
    }

    fn kind_of(&mut self, written: &Expression) -> Result<Kind> {
        if let Some(dotted) = written.dotted() {
            return Ok(match dotted.as_str() {
                "Tensor" => Kind::Tensor,
                "int" => Kind::Int,
                "float" => Kind::Float,
                "bool" => Kind::Bool,
                "number" => Kind::Number,
                "str" => Kind::Text,
                _ => match self.named_tuple(&dotted)? {
                    Some((kinds, names)) => Kind::Tuple(kinds, Some(names)),
                    None => Kind::Other(dotted),
                },
            });
        }
        let other = || Kind::Other("a type that is not read".to_owned());
        let Form::Subscript(outer, inner) = &written.form else { return Ok(other()) };
        let (Some(outer), [first, ..]) = (outer.dotted(), inner.as_slice()) else { return Ok(other()) };
        Ok(match outer.as_str() {
            "Optional" => Kind::Optional(Box::new(self.kind(first)?)),
            "List" => Kind::List(Box::new(self.kind(first)?)),
            "Tuple" => Kind::Tuple(inner.iter().map(|kind| self.kind(kind)).collect::<Result<_>>()?, None),
            "Dict" => match (self.kind(first)?, inner.get(1)) {
                (Kind::Text, Some(value)) => Kind::Dict(Box::new(self.kind(value)?)),
                (key, _) => Kind::Other(format!("Dict[{key}, …]")),
            },
            _ => Kind::Other(format!("{outer}[…]")),
        })
    }

    /// The members of a named tuple's class.
    fn named_tuple(&mut self, class: &str) -> Result<Option<(Vec<Kind>, Vec<String>)>> {
        let Some((_, module, at)) = self.class(class)? else { return Ok(None) };
        let Some(found) = module.classes.get(at).filter(|found| found.base.as_deref() == Some("NamedTuple")) else {
            return Ok(None);
        };
        let names = found.fields.iter().map(|(name, _)| name.clone()).collect();
        let kinds = found.fields.iter().map(|(_, kind)| self.kind(kind)).collect::<Result<_>>()?;
        Ok(Some((kinds, names)))
    }

    /// The value of an argument. Its tensors become inputs of the graph. `None` for what the code has a default for.
    pub(super) fn given_value(&mut self, argument: &Argument) -> Option<Value> {
        let all = |machine: &mut Self, items: &[Argument]| -> Vec<Value> {
            items.iter().map(|item| machine.given_value(item).unwrap_or(Value::None)).collect()
        };
        Some(match argument {
            Argument::Tensor(name, meta) => self.placeholder(name, meta.clone()),
            Argument::Several(name) => match self.placeholder(name, None) {
                Value::Tensor(tensor) => Value::Several(tensor),
                other => other,
            },
            Argument::Plain(json) => plain(json),
            Argument::List(items) => Value::list(all(self, items)),
            Argument::Tuple(items, names) => {
                Value::Tuple(std::rc::Rc::new(all(self, items)), names.clone().map(std::rc::Rc::new))
            }
            Argument::Dict(pairs) => {
                let pairs: Vec<(Value, Value)> = pairs
                    .iter()
                    .map(|(key, value)| (Value::text(key), self.given_value(value).unwrap_or(Value::None)))
                    .collect();
                Value::Dict(std::rc::Rc::new(pairs.into()))
            }
            Argument::Unknown => Value::Unknown,
            Argument::Default => return None,
        })
    }
}

fn plain(json: &Json) -> Value {
    match json {
        Json::Null | Json::Object(_) => Value::None,
        Json::Bool(is_so) => Value::bool(*is_so),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::int(whole),
            None => Value::Number(Number::Float(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::list(items.iter().map(plain).collect()),
    }
}

/// Whole numbers that a name stands beside in a comparison, or is looked for among.
fn held_against(body: &[Statement], name: &str, found: &mut Vec<i64>) {
    for statement in body {
        match &statement.action {
            Action::Assign { value, .. } | Action::Expression(value) | Action::Return(Some(value)) => {
                compared(value, name, found);
            }
            Action::If { test, then, otherwise } => {
                compared(test, name, found);
                held_against(then, name, found);
                held_against(otherwise, name, found);
            }
            Action::While { test: of, body } | Action::With { of, body, .. } | Action::For { over: of, body, .. } => {
                compared(of, name, found);
                held_against(body, name, found);
            }
            Action::Return(None) | Action::Pass => {}
        }
    }
}

fn compared(expression: &Expression, name: &str, found: &mut Vec<i64>) {
    let Form::Call(call) = &expression.form else { return };
    let function = call.function.dotted().unwrap_or_default();
    // What is assigned anew is written with a number behind it.
    let is_name = |argument: &Expression| match &argument.form {
        Form::Name(known) => {
            known.strip_prefix(name).is_some_and(|rest| rest.bytes().all(|letter| letter.is_ascii_digit()))
        }
        _ => false,
    };
    let compares = function.ends_with(".eq") || function.ends_with(".__contains__");
    if compares && call.positional.iter().any(is_name) {
        for argument in &call.positional {
            let numbers = match &argument.form {
                Form::List(items) => items.as_slice(),
                _ => std::slice::from_ref(argument),
            };
            for number in numbers {
                match number.form {
                    Form::Int(whole) if !found.contains(&whole) => found.push(whole),
                    _ => {}
                }
            }
        }
    }
    call.positional.iter().for_each(|argument| compared(argument, name, found));
}
