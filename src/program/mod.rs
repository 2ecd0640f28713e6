//! Programs from Python text: the few lines of calls, operators and slices in the registry's examples.
//!
//! The text is not run. A call becomes a [`Step`], its arguments bound by `bind`: arrays are inputs, everything else is
//! passed by name. Text that has no step (loops, lambdas, calls that no signature describes) is refused.

mod bind;
mod gamma;
mod helpers;
mod moves;
mod plain;
mod pools;
mod recurrent;
mod resize;
mod subscript;
mod windows;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use tree_sitter::{Node, Parser};

use crate::grammar;
use bind::bind;
pub use moves::{cancelling, without_moves};
use plain::Form;
pub use plain::{Known, dtype_name};
use t2m_engine::ModuleSpec;
use t2m_engine::program::signatures::Dialect;
use t2m_engine::program::{Operand, Program, Step};

/// The longest text: examples have a few lines, and deep nesting would be walked recursively.
const MAX_TEXT: usize = 4096;
/// Deepest nesting of expressions.
const MAX_DEPTH: usize = 40;

/// Why a text is not a program, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", if text.is_empty() { String::new() } else { format!("`{text}`: ") })]
pub struct Error {
    /// The text in question.
    text: String,
    /// What is wrong with it.
    reason: String,
}

/// An expression's value before the program runs.
#[derive(Debug, Clone, PartialEq)]
enum Argument {
    /// A value that has to be computed: a variable, or several.
    Array(Operand),
    /// A plain value.
    Plain(Value),
    /// An infinity, which JSON cannot write.
    Infinite(f64),
    /// `torch.float16`, `mx.float16`
    Dtype(String),
}

/// The program that a Python text of this dialect describes; `inputs` are the names of its inputs.
///
/// # Errors
/// The text is not Python, or contains something that has no step.
pub fn parse(dialect: Dialect, text: &str, inputs: &[&str]) -> Result<Program, Error> {
    let tree = syntax(text)?;
    let mut lower = Lower::new(dialect, text);
    let names = inputs.iter().map(|&name| (name.to_owned(), Argument::Array(Operand::Name(name.to_owned()))));
    lower.names = names.collect();
    lower.program = Program::new(inputs);
    lower.module(tree.root_node())?;
    Ok(lower.program)
}

/// The program that a text of MLX's describes, where its names stand for these arrays and values: what is known beforehand is
/// worked out, and of each condition one branch becomes steps.
///
/// # Errors
/// As [`parse`]; a text may also refuse itself, in words (`refuse("…")`).
pub fn plan<'n>(text: &str, known: impl IntoIterator<Item = (&'n str, &'n Known)>) -> Result<Program, Error> {
    let tree = syntax(text)?;
    let mut lower = Lower::new(Dialect::Mlx, text);
    for (name, known) in known {
        let inputs = lower.bind_known(name, known);
        lower.program.inputs.extend(inputs);
    }
    lower.module(tree.root_node())?;
    Ok(without_moves(pruned(lower.program)))
}

/// A program without the steps of which nothing comes: a row's text has lines that only some of its calls need.
fn pruned(mut program: Program) -> Program {
    let mut needed: HashSet<String> = program.outputs.iter().cloned().collect();
    let mut kept = Vec::with_capacity(program.steps.len());
    for step in program.steps.into_iter().rev() {
        if step.to.iter().any(|name| needed.contains(name)) {
            step.inputs.iter().for_each(|operand| names_of(operand, &mut needed));
            kept.push(step);
        }
    }
    kept.reverse();
    program.steps = kept;
    program
}

fn names_of(operand: &Operand, names: &mut HashSet<String>) {
    match operand {
        Operand::Name(name) => {
            names.insert(name.clone());
        }
        Operand::List(items) => items.iter().for_each(|item| names_of(item, names)),
        Operand::Number(_) | Operand::Flag(_) | Operand::Constant { .. } => {}
    }
}

/// Check a text, and hand its syntax tree on.
fn syntax(text: &str) -> Result<tree_sitter::Tree, Error> {
    let error = |reason: &str| Error { text: text.to_owned(), reason: reason.to_owned() };
    if text.len() > MAX_TEXT {
        return Err(error("it is too long"));
    }
    let language = grammar::python();
    let mut parser = Parser::new();
    parser.set_language(&language).map_err(|reason| error(&reason.to_string()))?;
    let tree = parser.parse(text, None).ok_or_else(|| error("it cannot be parsed"))?;
    if tree.root_node().has_error() { Err(error("it is no Python")) } else { Ok(tree) }
}

/// A text while it is turned into steps.
struct Lower<'t> {
    dialect: Dialect,
    text: &'t str,
    /// Variables as the text names them.
    names: HashMap<String, Argument>,
    /// Types and shapes of the inputs, where they are known.
    forms: HashMap<String, Form>,
    program: Program,
    temporaries: usize,
    depth: usize,
}

type Lowered<T> = Result<T, Error>;

/// Positional arguments, and those with a name.
type Arguments = (Vec<Argument>, Vec<(String, Argument)>);

impl<'t> Lower<'t> {
    fn new(dialect: Dialect, text: &'t str) -> Lower<'t> {
        let (names, forms) = (HashMap::new(), HashMap::new());
        Lower { dialect, text, names, forms, program: Program::default(), temporaries: 0, depth: 0 }
    }

    fn module(&mut self, root: Node<'t>) -> Lowered<()> {
        let statements: Vec<Node<'_>> = children(root).filter(|node| node.kind() != "comment").collect();
        let Some((last, before)) = statements.split_last() else { return Err(self.error(root, "it is empty")) };
        for statement in before {
            self.statement(*statement)?;
        }
        let results = self.statement(*last)?;
        for result in results {
            match result {
                Operand::Name(name) => self.program.outputs.push(name),
                Operand::List(items) => {
                    for item in items {
                        let Operand::Name(name) = item else {
                            return Err(self.error(*last, "arrays are expected in the end"));
                        };
                        self.program.outputs.push(name);
                    }
                }
                _ => return Err(self.error(*last, "an array is expected in the end")),
            }
        }
        if self.program.outputs.is_empty() { Err(self.error(root, "it gives nothing")) } else { Ok(()) }
    }

    /// One statement; returns its value.
    fn statement(&mut self, node: Node<'t>) -> Lowered<Vec<Operand>> {
        if node.kind() != "expression_statement" {
            return Err(self.error(node, "only expressions and assignments are understood"));
        }
        let parts: Vec<Node<'_>> = children(node).collect();
        if let [assignment] = parts.as_slice()
            && assignment.kind() == "assignment"
        {
            return self.assignment(*assignment);
        }
        let mut results = Vec::new();
        for part in parts {
            let items = if part.kind() == "tuple" { children(part).collect() } else { vec![part] };
            for item in items {
                results.push(self.array(item)?);
            }
        }
        Ok(results)
    }

    fn assignment(&mut self, node: Node<'t>) -> Lowered<Vec<Operand>> {
        let left = self.field(node, "left")?;
        let right = self.field(node, "right")?;
        if left.kind() == "subscript" {
            return self.set_slice(left, right);
        }
        let targets: Vec<String> = match left.kind() {
            "identifier" => vec![self.slice(left).to_owned()],
            "pattern_list" | "tuple_pattern" => children(left).map(|name| self.slice(name).to_owned()).collect(),
            _ => return Err(self.error(left, "a name is expected")),
        };
        if let [target] = targets.as_slice() {
            let value = self.expression(right)?;
            self.names.insert(target.clone(), value.clone());
            return Ok(value.operand().into_iter().collect());
        }
        let is_helper =
            |node: Node<'_>| node.child_by_field_name("function").is_some_and(|of| of.kind() == "identifier");
        if right.kind() != "call" || is_helper(right) {
            return self.unpacked(&targets, right);
        }
        let to: Vec<String> = targets.iter().map(|_| self.temporary()).collect();
        self.call(right, to.clone())?;
        let results: Vec<Operand> = to.into_iter().map(Operand::Name).collect();
        self.names.extend(targets.into_iter().zip(results.iter().cloned().map(Argument::Array)));
        Ok(results)
    }

    /// `a, b = shape[-2:]`: names for the elements of a list that is known beforehand.
    fn unpacked(&mut self, targets: &[String], right: Node<'t>) -> Lowered<Vec<Operand>> {
        match self.expression(right)? {
            Argument::Plain(Value::Array(items)) if items.len() == targets.len() => {
                self.names.extend(targets.iter().cloned().zip(items.into_iter().map(Argument::Plain)));
                Ok(Vec::new())
            }
            Argument::Array(Operand::List(items)) if items.len() == targets.len() => {
                self.names.extend(targets.iter().cloned().zip(items.iter().cloned().map(Argument::Array)));
                Ok(items)
            }
            _ => Err(self.error(right, "a call that gives several arrays is expected")),
        }
    }

    /// An expression that is an array, or a number used like one.
    fn array(&mut self, node: Node<'t>) -> Lowered<Operand> {
        self.expression(node)?.operand().ok_or_else(|| self.error(node, "an array is expected"))
    }

    fn expression(&mut self, node: Node<'t>) -> Lowered<Argument> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(node, "it is nested too deep"));
        }
        let argument = self.expression_inside(node);
        self.depth -= 1;
        argument
    }

    fn expression_inside(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let text = self.slice(node);
        Ok(match node.kind() {
            "identifier" => match self.names.get(text) {
                Some(known) => known.clone(),
                None => return Err(self.error(node, "there is no such variable")),
            },
            "integer" => match text.parse::<i64>() {
                Ok(number) => Argument::Plain(number.into()),
                Err(_) => return Err(self.error(node, "the number is too large")),
            },
            "float" => match text.parse::<f64>() {
                Ok(number) => Argument::Plain(number.into()),
                Err(_) => return Err(self.error(node, "that is no number")),
            },
            "true" | "false" => Argument::Plain((node.kind() == "true").into()),
            "none" => Argument::Plain(Value::Null),
            "string" => Argument::Plain(text.trim_matches(['"', '\'']).into()),
            "parenthesized_expression" => match children(node).next() {
                Some(inside) => self.expression(inside)?,
                None => return Err(self.error(node, "it is empty")),
            },
            "tuple" | "list" | "expression_list" => self.list(node)?,
            "unary_operator" => self.unary(node)?,
            "comparison_operator" => match self.compared(node)? {
                Some(told) => told,
                None => self.binary(node)?,
            },
            "binary_operator" => self.binary(node)?,
            "boolean_operator" => self.both_or_either(node)?,
            "not_operator" => self.not(node)?,
            "conditional_expression" => self.conditional(node)?,
            "list_comprehension" => self.comprehension(node)?,
            "attribute" => self.attribute(node)?,
            "subscript" => match self.element(node)? {
                Some(element) => element,
                None => Argument::Array(self.subscript(node)?),
            },
            "call" => {
                if let Some(infinite) = infinite(text) {
                    return Ok(Argument::Infinite(infinite));
                }
                if let Some(told) = self.builtin(node)? {
                    return Ok(told);
                }
                let to = self.temporary();
                self.call(node, vec![to.clone()])?;
                Argument::Array(Operand::Name(to))
            }
            _ => return Err(self.error(node, "this is not understood")),
        })
    }

    /// A list of plain values stays one; with an array among them all are operands.
    fn list(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let mut items = Vec::new();
        for child in children(node) {
            if child.kind() == "list_splat" {
                let inside = children(child).next().ok_or_else(|| self.error(child, "it is empty"))?;
                match self.expression(inside)? {
                    Argument::Plain(Value::Array(all)) => items.extend(all.into_iter().map(Argument::Plain)),
                    Argument::Array(Operand::List(all)) => items.extend(all.into_iter().map(Argument::Array)),
                    _ => return Err(self.error(child, "a list is expected")),
                }
                continue;
            }
            items.push(self.expression(child)?);
        }
        self.list_of(node, items)
    }

    fn list_of(&self, node: Node<'t>, items: Vec<Argument>) -> Lowered<Argument> {
        let plain = items.iter().map(|item| if let Argument::Plain(value) = item { Some(value.clone()) } else { None });
        if let Some(values) = plain.collect::<Option<Vec<Value>>>() {
            return Ok(Argument::Plain(values.into()));
        }
        let operands: Option<Vec<Operand>> = items.iter().map(Argument::operand).collect();
        let operands = operands.ok_or_else(|| self.error(node, "arrays and other things are mixed"))?;
        Ok(Argument::Array(Operand::List(operands)))
    }

    fn unary(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let operator = self.slice(self.field(node, "operator")?);
        let name = match operator {
            "-" => self.dialect.function("negative"),
            "~" => self.dialect.function("logical_not"),
            _ => return Err(self.error(node, "this operator is not understood")),
        };
        match self.expression(self.field(node, "argument")?)? {
            Argument::Plain(Value::Number(number)) if operator == "-" => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Ok(Argument::Plain((-whole).into())),
                (None, Some(float)) => Ok(Argument::Plain((-float).into())),
                _ => Err(self.error(node, "that is no number")),
            },
            Argument::Infinite(infinite) if operator == "-" => Ok(Argument::Infinite(-infinite)),
            Argument::Array(operand) => Ok(Argument::Array(self.step(&name, vec![operand], Map::new()))),
            _ => Err(self.error(node, "an array is expected")),
        }
    }

    fn binary(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let (operator, sides) = match node.kind() {
            "binary_operator" => {
                (self.field(node, "operator")?, [self.field(node, "left")?, self.field(node, "right")?])
            }
            _ => {
                let sides: Vec<Node<'_>> = children(node).collect();
                let [left, right] = sides.as_slice() else {
                    return Err(self.error(node, "two sides are expected"));
                };
                (self.field(node, "operators")?, [*left, *right])
            }
        };
        let name = self.dialect.operator(self.slice(operator));
        let name = name.ok_or_else(|| self.error(operator, "this operator is not understood"))?;
        let [left, right] = [self.expression(sides[0])?, self.expression(sides[1])?];
        if let (Argument::Plain(a), Argument::Plain(b)) = (&left, &right) {
            let folded = fold(self.slice(operator), a, b);
            return folded.map(Argument::Plain).ok_or_else(|| self.error(node, "these numbers are not worked out"));
        }
        let operands = [left.operand(), right.operand()].into_iter().collect::<Option<Vec<Operand>>>();
        let operands = operands.ok_or_else(|| self.error(node, "two arrays are expected"))?;
        Ok(Argument::Array(self.step(&name, operands, Map::new())))
    }

    /// `torch.float16`, `mx.inf`, `x.T`, `x.max(1).values`
    fn attribute(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let (object, name) = (self.field(node, "object")?, self.slice(self.field(node, "attribute")?));
        if self.dialect.is_module(self.slice(object)) {
            return match name {
                "inf" => Ok(Argument::Infinite(f64::INFINITY)),
                _ => Ok(Argument::Dtype(name.to_owned())),
            };
        }
        if let Some(form) = self.form(object, name) {
            return Ok(form);
        }
        if let (Dialect::Torch, "values" | "indices", "call") = (self.dialect, name, object.kind()) {
            let to = [self.temporary(), self.temporary()];
            self.call(object, to.to_vec())?;
            let [values, indices] = to;
            return Ok(Argument::Array(Operand::Name(if name == "values" { values } else { indices })));
        }
        let call = self.dialect.property(name).ok_or_else(|| self.error(node, "this attribute is not understood"))?;
        let object = self.array(object)?;
        Ok(Argument::Array(self.step(call, vec![object], Map::new())))
    }

    /// A call whose results are given to these variables.
    fn call(&mut self, node: Node<'t>, to: Vec<String>) -> Lowered<()> {
        let (function, list) = (self.field(node, "function")?, self.field(node, "arguments")?);
        if function.kind() == "attribute" {
            let (object, method) = (self.field(function, "object")?, self.slice(self.field(function, "attribute")?));
            if self.dialect == Dialect::Mlx && self.is_at(object) {
                return match method {
                    "add" => self.at_add(object, list, to),
                    "maximum" | "minimum" | "multiply" => self.at(object, method, list, to),
                    _ => Err(self.error(function, "this is not done at places")),
                };
            }
            let root = self.slice(function).split(['.', '(', '[']).next().unwrap_or_default();
            let (name, receiver) = if self.dialect.is_module(root) && !self.slice(object).contains(['(', '[']) {
                (self.dialect.full(self.slice(function)), None)
            } else {
                (self.dialect.method(method), Some(self.expression(object)?))
            };
            return self.bound_call(node, &name, receiver, list, to);
        }
        if function.kind() == "call" {
            return self.layer(function, list, to);
        }
        Err(self.error(function, "this is no function of the library"))
    }

    fn bound_call(
        &mut self,
        node: Node<'t>,
        name: &str,
        receiver: Option<Argument>,
        list: Node<'t>,
        to: Vec<String>,
    ) -> Lowered<()> {
        let (mut positional, named) = self.arguments(list)?;
        if let Some(receiver) = receiver {
            positional.insert(0, receiver);
        }
        let (inputs, args) =
            bind(self.dialect, name, &positional, named).map_err(|reason| self.error(node, &reason))?;
        self.program.steps.push(Step { to, call: name.to_owned(), inputs, args });
        Ok(())
    }

    fn arguments(&mut self, list: Node<'t>) -> Lowered<Arguments> {
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        for child in children(list) {
            if child.kind() == "keyword_argument" {
                let (name, value) = (self.field(child, "name")?, self.field(child, "value")?);
                named.push((self.slice(name).to_owned(), self.expression(value)?));
            } else if child.kind() == "list_splat" {
                let inside = children(child).next().ok_or_else(|| self.error(child, "it is empty"))?;
                match self.expression(inside)? {
                    Argument::Array(Operand::List(all)) => positional.extend(all.into_iter().map(Argument::Array)),
                    Argument::Plain(Value::Array(all)) => positional.extend(all.into_iter().map(Argument::Plain)),
                    _ => return Err(self.error(child, "a list is expected")),
                }
            } else {
                positional.push(self.expression(child)?);
            }
        }
        Ok((positional, named))
    }

    /// `nn.Upsample(scale_factor=2)(x)`: a layer that is built and called in one go.
    fn layer(&mut self, built: Node<'t>, list: Node<'t>, to: Vec<String>) -> Lowered<()> {
        let kind = self.slice(self.field(built, "function")?).to_owned();
        let (positional, named) = self.arguments(self.field(built, "arguments")?)?;
        if !kind.starts_with("nn.") || !positional.is_empty() {
            return Err(self.error(built, "a layer of mlx.nn with named arguments is expected"));
        }
        let args = named.into_iter().map(|(name, value)| match value {
            Argument::Plain(value) => Ok((name, value)),
            _ => Err(self.error(built, "a layer takes plain arguments")),
        });
        let spec = ModuleSpec { kind, args: args.collect::<Result<_, _>>()?, ..ModuleSpec::default() };
        spec.check().map_err(|fault| self.error(built, &fault.to_string()))?;
        let name = format!("layer{}", self.program.layers.len());
        self.program.layers.insert(name.clone(), spec);
        let (given, _) = self.arguments(list)?;
        let inputs: Option<Vec<Operand>> = given.iter().map(Argument::operand).collect();
        let inputs = inputs.ok_or_else(|| self.error(list, "arrays are expected"))?;
        self.program.steps.push(Step { to, call: format!("self.{name}"), inputs, args: Map::new() });
        Ok(())
    }

    fn step(&mut self, call: &str, inputs: Vec<Operand>, args: Map<String, Value>) -> Operand {
        let name = self.temporary();
        self.program.steps.push(Step { to: vec![name.clone()], call: call.to_owned(), inputs, args });
        Operand::Name(name)
    }

    /// A name that the text does not use.
    fn temporary(&mut self) -> String {
        loop {
            let name = format!("v{}", self.temporaries);
            self.temporaries += 1;
            if !self.names.contains_key(&name) {
                return name;
            }
        }
    }

    fn slice(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn field(&self, node: Node<'t>, name: &str) -> Lowered<Node<'t>> {
        node.child_by_field_name(name).ok_or_else(|| self.error(node, "a part of it is missing"))
    }

    fn error(&self, node: Node<'_>, reason: &str) -> Error {
        Error { text: self.slice(node).to_owned(), reason: reason.to_owned() }
    }
}

impl Argument {
    /// The value as a positional argument, if it can be one.
    fn operand(&self) -> Option<Operand> {
        match self {
            Argument::Array(operand) => Some(operand.clone()),
            Argument::Infinite(number) => Some(Operand::from(*number)),
            Argument::Plain(Value::Bool(is_so)) => Some(Operand::Flag(*is_so)),
            Argument::Plain(value) => value.as_f64().map(Operand::from),
            Argument::Dtype(_) => None,
        }
    }
}

/// The children that are not punctuation.
fn children(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    (0..node.named_child_count()).filter_map(move |index| node.named_child(index as u32))
}

/// `float("-inf")`
fn infinite(text: &str) -> Option<f64> {
    let word = text.strip_prefix("float(")?.strip_suffix(')')?.trim_matches(['"', '\'']);
    match word {
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Arithmetic on two plain numbers.
fn fold(operator: &str, a: &Value, b: &Value) -> Option<Value> {
    match (operator, a, b) {
        ("+", Value::Array(a), Value::Array(b)) => return Some(a.iter().chain(b).cloned().collect::<Vec<_>>().into()),
        ("*", Value::Array(items), times) | ("*", times, Value::Array(items)) => {
            let times = usize::try_from(times.as_i64()?).unwrap_or(0);
            let length = items.len().checked_mul(times).filter(|length| *length <= MAX_TEXT)?;
            return Some(items.iter().cycle().take(length).cloned().collect::<Vec<_>>().into());
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        match operator {
            "+" => return a.checked_add(b).map(Value::from),
            "-" => return a.checked_sub(b).map(Value::from),
            "*" => return a.checked_mul(b).map(Value::from),
            "//" => return a.checked_div_euclid(b).filter(|_| b > 0).map(Value::from),
            "%" => return a.checked_rem_euclid(b).filter(|_| b > 0).map(Value::from),
            _ => {}
        }
    }
    let (a, b) = (a.as_f64()?, b.as_f64()?);
    let result = match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "**" => a.powf(b),
        _ => return None,
    };
    result.is_finite().then(|| result.into())
}

#[cfg(test)]
mod tests;
