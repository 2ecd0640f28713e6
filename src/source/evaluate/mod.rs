//! Values of expressions, as far as they follow from what is known: nothing is run, and what does not follow is
//! [`Value::Unknown`].
//!
//! An [`Environment`] says what names, attributes and calls give; here is what Python makes of that. Every node takes a step of
//! the file's budget, and expressions that are nested deeper than anybody writes are given up.

mod builtins;
mod comprehension;
mod environment;
pub mod layout;
mod operators;
mod stored;
mod value;

use std::rc::Rc;

use tree_sitter::Node;

use super::literals::plain_string;
use super::python::Module;
use super::reach::is_super;
pub(super) use environment::{Arguments, Callee, Environment, Row, Runs, Spent, Store};
pub(super) use operators::binary;
pub use value::{Symbol, Value};

/// How deep expressions are followed.
const DEPTH: usize = 48;

/// The value of an expression.
pub(super) fn evaluate<'t>(
    module: &'t Module,
    node: Node<'t>,
    environment: &mut dyn Environment<'t>,
) -> Result<Value, Spent> {
    Evaluator { module, environment }.value(node, 0)
}

/// What follows for names where a condition holds, or does not: `x is None`.
pub(super) fn implied<'t>(module: &'t Module, condition: Node<'t>, holds: bool) -> Vec<(&'t str, Value)> {
    let (mut found, mut waiting) = (Vec::new(), vec![(condition, holds)]);
    while let Some((node, holds)) = waiting.pop() {
        if !module.budget().burn(1) || found.len() > DEPTH {
            break;
        }
        match node.kind() {
            "parenthesized_expression" => waiting.extend(node.named_child(0).map(|inner| (inner, holds))),
            "not_operator" => waiting.extend(node.child_by_field_name("argument").map(|inner| (inner, !holds))),
            "boolean_operator" => {
                let and = node.child_by_field_name("operator").is_some_and(|it| module.slice(it) == "and");
                if and == holds {
                    let sides = ["left", "right"].map(|side| node.child_by_field_name(side));
                    waiting.extend(sides.into_iter().flatten().map(|side| (side, holds)));
                }
            }
            "comparison_operator" if node.named_child_count() == 2 => {
                let operator = node.child_by_field_name("operators").map_or("", |it| module.slice(it));
                let (Some(left), Some(right)) = (node.named_child(0), node.named_child(1)) else { continue };
                if left.kind() == "identifier" && right.kind() == "none" {
                    let none = (operator == "is") == holds;
                    if matches!(operator, "is" | "is not") {
                        found.push((module.slice(left), if none { Value::None } else { Value::Object }));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

struct Evaluator<'t, 'e> {
    module: &'t Module,
    environment: &'e mut dyn Environment<'t>,
}

impl<'t> Evaluator<'t, '_> {
    fn value(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        if depth > DEPTH || !self.module.budget().burn(1) {
            return Err(Spent);
        }
        let text = self.module.slice(node);
        match node.kind() {
            "integer" => Ok(text.replace('_', "").parse().map_or(Value::Object, Value::Int)),
            "float" => Ok(text.replace('_', "").parse().map_or(Value::Object, Value::Float)),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "none" => Ok(Value::None),
            "string" => match plain_string(self.module, node) {
                Some(text) => Ok(Value::text(text)),
                None if self.environment.store().is_some() => self.text(node, depth),
                None => self.parts(node, depth),
            },
            "concatenated_string" if self.environment.store().is_some() => {
                let parts = self.all(&children(node), depth)?;
                let texts: Option<String> =
                    parts.iter().map(|part| if let Value::Text(text) = part { Some(&**text) } else { None }).collect();
                Ok(texts.map_or(Value::Object, |text| Value::text(&text)))
            }
            "tuple" | "expression_list" | "list" | "set" if self.environment.store().is_some() => {
                let kind = match node.kind() {
                    "list" => Row::List,
                    "set" => Row::Set,
                    _ => Row::Tuple,
                };
                let elements = self.unpacked(&children(node), depth)?;
                Ok(match (elements, self.environment.store()) {
                    (Some(elements), Some(store)) => store.row(kind, elements),
                    _ => Value::Unknown,
                })
            }
            "dictionary" if self.environment.store().is_some() => self.mapping(node, depth),
            "parenthesized_expression" => self.field(node.named_child(0), depth),
            "tuple" | "expression_list" => {
                let parts = children(node);
                let splat = parts.iter().any(|part| part.kind() == "list_splat");
                let values = self.all(&parts, depth)?;
                Ok(if splat { Value::Object } else { Value::sequence(values) })
            }
            "identifier" => self.environment.name(node),
            "attribute" => self.attribute(node, depth),
            "subscript" => self.subscript(node, depth),
            "call" => self.call(node, depth),
            "not_operator" => {
                let argument = node.child_by_field_name("argument");
                let value = self.field(argument, depth)?;
                let truth = match argument {
                    Some(argument) if self.environment.store().is_some() => self.environment.decide(argument, &value),
                    _ => value.truth(),
                };
                Ok(truth.map_or(Value::Object, |truth| Value::Bool(!truth)))
            }
            "boolean_operator" => self.boolean(node, depth),
            "comparison_operator" => self.comparison(node, depth),
            "unary_operator" => {
                let value = self.field(node.child_by_field_name("argument"), depth)?;
                Ok(operators::unary(text, &value))
            }
            "binary_operator" => {
                let left = self.field(node.child_by_field_name("left"), depth)?;
                let right = self.field(node.child_by_field_name("right"), depth)?;
                if let Some(value) = self.environment.operation(node, &left, &right) {
                    return Ok(value);
                }
                let operator = node.child_by_field_name("operator").map_or("", |it| self.module.slice(it));
                if let Some(store) = self.environment.store()
                    && let Some(value) = store.operate(operator, &left, &right)?
                {
                    return Ok(value);
                }
                Ok(operators::binary(operator, &left, &right))
            }
            "conditional_expression" => self.conditional(node, depth),
            "named_expression" => {
                let value = self.field(node.child_by_field_name("value"), depth)?;
                if let Some(name) = node.child_by_field_name("name") {
                    self.environment.bind(self.module.slice(name), value.clone());
                }
                Ok(value)
            }
            "list_comprehension" | "set_comprehension" | "generator_expression" | "dictionary_comprehension" => {
                if self.environment.store().is_some() {
                    return self.unrolled(node, depth);
                }
                self.comprehension(node, depth)
            }
            "lambda" => match self.environment.store() {
                Some(store) => Ok(store.lambda(node)),
                None => self.lambda(node, depth),
            },
            "await" | "yield" => {
                self.parts(node, depth)?;
                Ok(Value::Unknown)
            }
            "list" => self.list(node, depth),
            // A list or dict may be changed by whoever has it.
            _ => self.parts(node, depth),
        }
    }

    /// A list may be changed by whoever has it: of tensors it is known what they have in common.
    fn list(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let parts = children(node);
        let values = self.all(&parts, depth)?;
        if parts.is_empty() {
            return Ok(Value::Fresh);
        }
        let tensors = values.iter().all(|value| value.layout().is_some());
        let common = values.into_iter().reduce(Value::or).filter(|_| tensors);
        Ok(common.map_or(Value::Object, each))
    }

    /// The value of a part that may be missing.
    fn field(&mut self, node: Option<Node<'t>>, depth: usize) -> Result<Value, Spent> {
        node.map_or(Ok(Value::Unknown), |node| self.value(node, depth + 1))
    }

    /// Look at everything in an expression whose value is not followed.
    fn parts(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        self.all(&children(node), depth)?;
        Ok(Value::Object)
    }

    fn all(&mut self, nodes: &[Node<'t>], depth: usize) -> Result<Vec<Value>, Spent> {
        nodes.iter().map(|node| self.value(*node, depth + 1)).collect()
    }

    /// A part that runs so certainly, or not at all.
    fn arm(&mut self, node: Option<Node<'t>>, runs: Runs, depth: usize) -> Result<Value, Spent> {
        let Some(node) = node else { return Ok(Value::Unknown) };
        let before = self.environment.enter(node, runs);
        let value = if runs == Runs::Never { Ok(Value::Unknown) } else { self.value(node, depth + 1) };
        self.environment.leave(before);
        value
    }

    /// A part that runs where a condition holds, or does not, with what follows from that for names.
    fn arm_where(
        &mut self,
        arm: Option<Node<'t>>,
        condition: Node<'t>,
        (holds, runs): (bool, Runs),
        depth: usize,
    ) -> Result<Value, Spent> {
        if runs != Runs::Maybe {
            return self.arm(arm, runs, depth);
        }
        let mut before = Vec::new();
        for (name, value) in implied(self.module, condition, holds) {
            if self.environment.is_bound(name)
                && let Some(node) = find_name(self.module, condition, name)
            {
                before.push((name, self.environment.name(node)?));
                self.environment.bind(name, value);
            }
        }
        let value = self.arm(arm, runs, depth);
        before.into_iter().rev().for_each(|(name, value)| self.environment.bind(name, value));
        value
    }

    fn attribute(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let written = node.child_by_field_name("object");
        let object = self.field(written, depth)?;
        let name = node.child_by_field_name("attribute").map_or("", |name| self.module.slice(name));
        let base = written.filter(|it| it.kind() == "call" && is_super(self.module, *it));
        if let Some(written) = base.filter(|_| self.environment.store().is_none()) {
            // A method of a base that is handed on: somebody calls it, with anything.
            let before = self.environment.enter(node, Runs::Maybe);
            let method = Callee::Method { object: written, value: Value::Object, name, at: node.end_byte() };
            let called = self.environment.call(&method, &Arguments { more: true, ..Arguments::default() });
            self.environment.leave(before);
            return called.map(|_| Value::Object);
        }
        if let Some(value) = self.environment.property(node, &object, name) {
            return Ok(value);
        }
        self.environment.attribute(&object, name)
    }

    fn subscript(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let object = self.field(node.child_by_field_name("value"), depth)?;
        let mut cursor = node.walk();
        let indices: Vec<Node<'t>> = node.children_by_field_name("subscript", &mut cursor).collect();
        if self.environment.store().is_some() {
            return self.stored(&object, &indices, depth);
        }
        let values = self.all(&indices, depth)?;
        if matches!(object, Value::Tensor(_) | Value::Sequence(_)) {
            let pairs: Vec<(Node<'t>, Value)> = indices.iter().copied().zip(values.iter().cloned()).collect();
            if let Some(value) = self.environment.indexed(node, &object, &pairs) {
                return Ok(value);
            }
        }
        let ([index], [node]) = (values.as_slice(), indices.as_slice()) else { return Ok(Value::Unknown) };
        Ok(match (&object, index) {
            (Value::Modules(_), _) if node.kind() == "slice" => object.clone(),
            (Value::Modules(_), index) => self.environment.element(&object, index),
            (Value::Sequence(elements), Value::Int(index)) => {
                let at = if *index < 0 { index.checked_add(elements.len() as i64) } else { Some(*index) };
                let element = at.and_then(|at| elements.get(usize::try_from(at).ok()?));
                element.cloned().unwrap_or(Value::Unknown)
            }
            (Value::Mapping(fields), Value::Text(name)) => fields.get(&**name).cloned().unwrap_or(Value::Unknown),
            (Value::Each(_), _) if node.kind() == "slice" => object.clone(),
            (Value::Each(element), _) => (**element).clone(),
            _ => Value::Unknown,
        })
    }

    fn boolean(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let left_node = node.child_by_field_name("left");
        let left = self.field(left_node, depth)?;
        let or = node.child_by_field_name("operator").is_some_and(|it| self.module.slice(it) == "or");
        let truth = left_node.map_or_else(|| left.truth(), |node| self.environment.decide(node, &left));
        let runs = truth.map_or(Runs::Maybe, |truth| if truth == or { Runs::Never } else { Runs::Always });
        let arm = node.child_by_field_name("right");
        let right = match left_node {
            Some(condition) => self.arm_where(arm, condition, (!or, runs), depth)?,
            None => self.arm(arm, runs, depth)?,
        };
        Ok(match runs {
            Runs::Never => left,
            Runs::Always => right,
            // Whichever it is.
            Runs::Maybe if right.truth() == Some(or) => Value::Truth(or),
            Runs::Maybe if or && right.is_none() == Some(false) => Value::Object,
            Runs::Maybe => Value::Unknown,
        })
    }

    fn comparison(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let operands = children(node);
        let mut cursor = node.walk();
        let operators: Vec<Node<'t>> = node.children_by_field_name("operators", &mut cursor).collect();
        let values = operands.iter().map(|node| self.listed(*node, depth)).collect::<Result<Vec<Value>, Spent>>()?;
        if let ([left, right], [operator], Some(store)) =
            (values.as_slice(), operators.as_slice(), self.environment.store())
            && let Some(value) = store.compare(self.module.slice(*operator), left, right)
        {
            return Ok(value);
        }
        let pairs = values.iter().zip(values.iter().skip(1)).zip(&operators);
        let each: Vec<Option<bool>> = pairs
            .map(|((left, right), operator)| operators::compare(self.module.slice(*operator), left, right))
            .collect();
        Ok(match () {
            () if each.contains(&Some(false)) => Value::Bool(false),
            () if each.is_empty() || each.contains(&None) => Value::Object,
            () => Value::Bool(true),
        })
    }

    /// A value, of a list that is written out its elements.
    fn listed(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let parts = children(node);
        let written = matches!(node.kind(), "list" | "set") && self.environment.store().is_none();
        if !written || parts.iter().any(|part| part.kind() == "list_splat") {
            return self.value(node, depth + 1);
        }
        Ok(Value::sequence(self.all(&parts, depth + 1)?))
    }

    fn conditional(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let (then, condition, other) = (node.named_child(0), node.named_child(1), node.named_child(2));
        let Some(condition) = condition else { return Ok(Value::Unknown) };
        let value = self.value(condition, depth + 1)?;
        let truth = self.environment.decide(condition, &value);
        let runs =
            |holds: bool| truth.map_or(Runs::Maybe, |truth| if truth == holds { Runs::Always } else { Runs::Never });
        let first = self.arm_where(then, condition, (true, runs(true)), depth)?;
        let second = self.arm_where(other, condition, (false, runs(false)), depth)?;
        Ok(match truth {
            Some(true) => first,
            Some(false) => second,
            None => first.or(second),
        })
    }

    /// What it does when it is called, with arguments of which nothing is known.
    fn lambda(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let parameters = node.child_by_field_name("parameters").map(names_below).unwrap_or_default();
        self.hidden(&parameters, |it| {
            it.arm(node.child_by_field_name("body"), Runs::Maybe, depth).map(|_| Value::Object)
        })
    }

    /// Do something while these names stand for something else.
    fn hidden(
        &mut self,
        names: &[Node<'t>],
        work: impl FnOnce(&mut Self) -> Result<Value, Spent>,
    ) -> Result<Value, Spent> {
        let mut before = Vec::new();
        for name in names {
            let text = self.module.slice(*name);
            let known = if self.environment.is_bound(text) { self.environment.name(*name)? } else { Value::Unknown };
            before.push((text, known));
            self.environment.bind(text, Value::Unknown);
        }
        let value = work(self);
        before.into_iter().rev().for_each(|(name, value)| self.environment.bind(name, value));
        value
    }

    fn call(&mut self, node: Node<'t>, depth: usize) -> Result<Value, Spent> {
        let (Some(function), Some(list)) =
            (node.child_by_field_name("function"), node.child_by_field_name("arguments"))
        else {
            return Ok(Value::Unknown);
        };
        let callee = self.callee(function, depth)?;
        let arguments = self.arguments(list, depth)?;
        self.environment.calls(node);
        if let Some(value) = self.environment.call(&callee, &arguments)? {
            return Ok(value);
        }
        let name = match &callee {
            Callee::Name(name) if !arguments.more => self.module.slice(*name),
            _ => "",
        };
        match (name, arguments.positional.as_slice(), list.named_child(1)) {
            ("isinstance", [value, _], Some(class)) => {
                let instance = self.is_instance(value, class, 0);
                Ok(instance.map_or(Value::Object, Value::Bool))
            }
            ("getattr", [object, Value::Text(_), default @ ..], Some(name)) => {
                let Some(name) = plain_string(self.module, name) else { return Ok(Value::Unknown) };
                let value = self.environment.attribute(object, name)?;
                Ok(match default {
                    [] => value,
                    // It may be missing.
                    [default] if value == Value::Unknown => value.or(default.clone()),
                    _ => value,
                })
            }
            _ => Ok(self.built_in(&callee, &arguments)),
        }
    }

    fn callee(&mut self, function: Node<'t>, depth: usize) -> Result<Callee<'t>, Spent> {
        // Where there is a store, functions are values too.
        let named = self.environment.store().is_none();
        match function.kind() {
            "identifier" if named && !self.environment.is_bound(self.module.slice(function)) => {
                Ok(Callee::Name(function))
            }
            "attribute" if named && self.is_dotted_name(function) => Ok(Callee::Name(function)),
            "attribute" => {
                let (Some(object), Some(name)) =
                    (function.child_by_field_name("object"), function.child_by_field_name("attribute"))
                else {
                    return Ok(Callee::Value(Value::Unknown));
                };
                let value = self.value(object, depth + 1)?;
                Ok(Callee::Method { object, value, name: self.module.slice(name), at: name.start_byte() })
            }
            _ => Ok(Callee::Value(self.value(function, depth + 1)?)),
        }
    }

    /// A dotted name that begins with no value of the method: `torch.nn.functional.pad`.
    fn is_dotted_name(&self, node: Node<'t>) -> bool {
        super::tensors::root_name(node).is_some_and(|root| {
            let root = self.module.slice(root);
            !self.environment.is_bound(root) && (root == "torch" || self.module.is_imported(root))
        })
    }

    fn arguments(&mut self, list: Node<'t>, depth: usize) -> Result<Arguments, Spent> {
        let mut arguments = Arguments::default();
        // `f(x for x in y)`
        let parts = if list.kind() == "generator_expression" { vec![list] } else { children(list) };
        for part in parts {
            match part.kind() {
                "keyword_argument" => {
                    let name = part.child_by_field_name("name").map_or("", |name| self.module.slice(name));
                    let value = part.child_by_field_name("value");
                    let value = value.map_or(Ok(Value::Unknown), |value| self.listed(value, depth))?;
                    arguments.named.push((name.to_owned(), value));
                }
                "list_splat" => match self.field(part.named_child(0), depth)? {
                    Value::Sequence(elements) if !arguments.more => {
                        arguments.positional.extend(elements.iter().cloned())
                    }
                    other => match self.environment.store().and_then(|store| store.elements(&other)) {
                        Some(elements) if !arguments.more => arguments.positional.extend(elements),
                        _ => arguments.more = true,
                    },
                },
                "dictionary_splat" => match self.field(part.named_child(0), depth)? {
                    Value::Mapping(fields) => {
                        arguments.named.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
                    }
                    other => match self.environment.store().and_then(|store| store.pairs(&other)) {
                        Some(pairs) => {
                            arguments.named.extend(pairs.into_iter().filter_map(|(name, value)| match name {
                                Value::Text(name) => Some((name.to_string(), value)),
                                _ => None,
                            }))
                        }
                        None => arguments.more = true,
                    },
                },
                _ => {
                    let value = self.listed(part, depth)?;
                    // A list that is written out here belongs to whoever is called.
                    arguments.positional.push(value);
                }
            }
        }
        Ok(arguments)
    }
}

/// The named parts of a node, comments left out.
pub(super) fn children(node: Node<'_>) -> Vec<Node<'_>> {
    node.named_children(&mut node.walk()).filter(|child| !child.is_extra()).collect()
}

/// The names at the top of parameters or of a target.
fn names_below(node: Node<'_>) -> Vec<Node<'_>> {
    let (mut names, mut waiting) = (Vec::new(), vec![node]);
    while let Some(node) = waiting.pop().filter(|_| names.len() < DEPTH) {
        match node.kind() {
            "identifier" => names.push(node),
            "default_parameter" | "typed_default_parameter" => waiting.extend(node.child_by_field_name("name")),
            "typed_parameter" => waiting.extend(node.named_child(0)),
            "attribute" | "subscript" | "type" => {}
            _ => waiting.extend(children(node)),
        }
    }
    names
}

/// A mention of this name in a condition.
fn find_name<'t>(module: &'t Module, condition: Node<'t>, name: &str) -> Option<Node<'t>> {
    let mut found = None;
    module.preorder(condition, |node, _| {
        if found.is_none() && node.kind() == "identifier" && module.slice(node) == name {
            found = Some(node);
        }
        found.is_none()
    });
    found
}

/// An iterable whose elements are like this one.
fn each(element: Value) -> Value {
    Value::Each(Rc::new(element))
}

#[cfg(test)]
mod tests;
