//! Statements, one after the other.

use tree_sitter::Node;

use super::machine::Frame;
use super::things::{Function, Thing};
use crate::source::evaluate::{Environment, Spent, Store, Value, children, evaluate};

/// Blocks within one another that are followed; Python allows a hundred.
const NESTED: usize = 100;
/// Turns of a `while` loop.
const TURNS: usize = 1_024;

/// How statements end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Flow {
    /// With the next one.
    Falls,
    Breaks,
    Continues,
    Returns(Value),
    Raises,
}

impl<'t> Frame<'t, '_, '_> {
    pub(super) fn value(&mut self, node: Node<'t>) -> Result<Value, Spent> {
        evaluate(self.module, node, self)
    }

    fn field(&mut self, node: Node<'t>, name: &str) -> Result<Value, Spent> {
        node.child_by_field_name(name).map_or(Ok(Value::None), |node| self.value(node))
    }

    pub(super) fn block(&mut self, block: Option<Node<'t>>, depth: usize) -> Result<Flow, Spent> {
        let Some(block) = block else { return Ok(Flow::Falls) };
        if depth > NESTED {
            return Err(Spent);
        }
        for statement in children(block) {
            let flow = self.statement(statement, depth)?;
            if flow != Flow::Falls {
                return Ok(flow);
            }
        }
        Ok(Flow::Falls)
    }

    fn statement(&mut self, node: Node<'t>, depth: usize) -> Result<Flow, Spent> {
        if !self.module.budget().burn(1) {
            return Err(Spent);
        }
        match node.kind() {
            "expression_statement" => {
                if let Some(inner) = node.named_child(0) {
                    self.expression(inner)?;
                }
            }
            "return_statement" => {
                let given = node.named_child(0).map_or(Ok(Value::None), |given| self.value(given))?;
                return Ok(Flow::Returns(given));
            }
            "if_statement" => return self.condition(node, depth),
            "for_statement" => return self.turns_of(node, depth),
            "while_statement" => return self.repeat(node, depth),
            "with_statement" => {
                // What stands behind `as` is nothing that a module is made of.
                return self.block(node.child_by_field_name("body"), depth + 1);
            }
            "try_statement" => return self.attempt(node, depth),
            "break_statement" => return Ok(Flow::Breaks),
            "continue_statement" => return Ok(Flow::Continues),
            "raise_statement" => return Ok(Flow::Raises),
            "assert_statement" => {}
            "function_definition" => self.define(node),
            "class_definition" => self.define_class(node)?,
            "decorated_definition" => match node.child_by_field_name("definition") {
                Some(inner) if inner.kind() == "function_definition" => self.define(inner),
                Some(inner) => self.define_class(inner)?,
                None => {}
            },
            "delete_statement" => {
                for target in children(node) {
                    self.delete(target)?;
                }
            }
            _ => {}
        }
        Ok(Flow::Falls)
    }

    fn expression(&mut self, node: Node<'t>) -> Result<(), Spent> {
        match node.kind() {
            "assignment" => {
                let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right"))
                else {
                    return Ok(());
                };
                let mut targets = vec![left];
                let mut right = right;
                while right.kind() == "assignment" && targets.len() < NESTED {
                    let sides = (right.child_by_field_name("left"), right.child_by_field_name("right"));
                    let (Some(left), Some(inner)) = sides else { break };
                    targets.push(left);
                    right = inner;
                }
                let value = self.value(right)?;
                for target in targets {
                    self.assign(target, value.clone(), 0)?;
                }
            }
            "augmented_assignment" => {
                let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right"))
                else {
                    return Ok(());
                };
                let operator = node.child_by_field_name("operator").map_or("", |it| self.module.slice(it));
                let operator = operator.trim_end_matches('=');
                let (before, by) = (self.value(left)?, self.value(right)?);
                if operator == "+" && self.machine.extend(&before, &by) {
                    return Ok(());
                }
                let value = match Store::operate(self, operator, &before, &by)? {
                    Some(value) => value,
                    None => crate::source::evaluate::binary(operator, &before, &by),
                };
                self.assign(left, value, 0)?;
            }
            _ => {
                self.value(node)?;
            }
        }
        Ok(())
    }

    /// `target = value`
    pub(super) fn assign(&mut self, target: Node<'t>, value: Value, depth: usize) -> Result<(), Spent> {
        if depth > NESTED || !self.module.budget().burn(1) {
            return Err(Spent);
        }
        match target.kind() {
            "identifier" => self.bind(self.module.slice(target), value),
            "attribute" => {
                let object = self.field(target, "object")?;
                let name = target.child_by_field_name("attribute").map_or("", |name| self.module.slice(name));
                self.machine.set_attribute(&object, name, value);
            }
            "subscript" => {
                let object = self.field(target, "value")?;
                let mut cursor = target.walk();
                let indices: Vec<Node<'t>> = target.children_by_field_name("subscript", &mut cursor).collect();
                if let [index] = indices.as_slice()
                    && index.kind() == "slice"
                {
                    let bounds = self.bounds(*index)?;
                    let more = self.machine.elements(&value);
                    self.machine.splice(&object, bounds, more);
                } else if let [index] = indices.as_slice() {
                    let index = if index.kind() == "slice" { Value::Unknown } else { self.value(*index)? };
                    self.machine.set_item(&object, &index, value);
                }
            }
            "pattern_list" | "tuple_pattern" | "list_pattern" | "tuple" | "list" | "parenthesized_expression" => {
                let parts = children(target);
                if target.kind() == "parenthesized_expression" && parts.len() == 1 {
                    return parts.first().map_or(Ok(()), |inner| self.assign(*inner, value, depth + 1));
                }
                let elements = self.machine.elements(&value);
                let rest = parts.iter().position(|part| part.kind() == "list_splat_pattern");
                for (at, part) in parts.iter().enumerate() {
                    let element = match (&elements, rest) {
                        (None, _) if rest == Some(at) => Value::Unknown,
                        (None, _) => match &value {
                            Value::Symbol(_) => self.machine.item(&value, &Value::Int(at as i64))?,
                            _ => Value::Unknown,
                        },
                        (Some(all), Some(rest)) => {
                            let behind = parts.len() - rest - 1;
                            let end = all.len().saturating_sub(behind);
                            match at {
                                _ if at == rest => {
                                    let middle = all.get(rest..end.max(rest)).unwrap_or_default().to_vec();
                                    self.machine.list(middle)
                                }
                                _ if at < rest => all.get(at).cloned().unwrap_or(Value::Unknown),
                                _ => all.get(end + (at - rest - 1)).cloned().unwrap_or(Value::Unknown),
                            }
                        }
                        (Some(all), None) if all.len() == parts.len() => all.get(at).cloned().unwrap_or(Value::Unknown),
                        _ => Value::Unknown,
                    };
                    let part = if part.kind() == "list_splat_pattern" { part.named_child(0) } else { Some(*part) };
                    if let Some(part) = part {
                        self.assign(part, element, depth + 1)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `start:end`
    fn bounds(&mut self, slice: Node<'t>) -> Result<[Option<Value>; 2], Spent> {
        let (mut bounds, mut at) = ([None, None], 0);
        for part in slice.children(&mut slice.walk()).collect::<Vec<_>>() {
            if part.kind() == ":" {
                at += 1;
            } else if let Some(bound) = bounds.get_mut(at).filter(|_| part.is_named() && !part.is_extra()) {
                *bound = Some(self.value(part)?);
            }
        }
        Ok(bounds)
    }

    fn delete(&mut self, target: Node<'t>) -> Result<(), Spent> {
        match target.kind() {
            "attribute" => {
                let object = self.field(target, "object")?;
                let name = target.child_by_field_name("attribute").map_or("", |name| self.module.slice(name));
                self.machine.remove(&object, name);
            }
            "subscript" => {
                let object = self.field(target, "value")?;
                if let Some(index) = target.child_by_field_name("subscript").filter(|it| it.kind() != "slice") {
                    let index = self.value(index)?;
                    self.machine.remove_item(&object, &index);
                }
            }
            "expression_list" => {
                for part in children(target) {
                    self.delete(part)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn holds(&mut self, node: Node<'t>) -> Result<bool, Spent> {
        let Some(condition) = node.child_by_field_name("condition") else { return Ok(false) };
        let value = self.value(condition)?;
        Ok(self.decide(condition, &value).unwrap_or(false))
    }

    fn condition(&mut self, node: Node<'t>, depth: usize) -> Result<Flow, Spent> {
        if self.holds(node)? {
            return self.block(node.child_by_field_name("consequence"), depth + 1);
        }
        let mut cursor = node.walk();
        let clauses: Vec<Node<'t>> = node.children_by_field_name("alternative", &mut cursor).collect();
        for clause in clauses {
            if clause.kind() != "elif_clause" {
                return self.block(clause.child_by_field_name("body"), depth + 1);
            }
            if self.holds(clause)? {
                return self.block(clause.child_by_field_name("consequence"), depth + 1);
            }
        }
        Ok(Flow::Falls)
    }

    fn turns_of(&mut self, node: Node<'t>, depth: usize) -> Result<Flow, Spent> {
        let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right")) else {
            return Ok(Flow::Falls);
        };
        let over = self.value(right)?;
        for turn in self.turns(&over, right)? {
            self.assign(left, turn, 0)?;
            match self.block(node.child_by_field_name("body"), depth + 1)? {
                Flow::Falls | Flow::Continues => {}
                Flow::Breaks => return Ok(Flow::Falls),
                out => return Ok(out),
            }
        }
        self.otherwise(node, depth)
    }

    fn otherwise(&mut self, node: Node<'t>, depth: usize) -> Result<Flow, Spent> {
        let rest = node.child_by_field_name("alternative").and_then(|clause| clause.child_by_field_name("body"));
        self.block(rest, depth + 1)
    }

    fn repeat(&mut self, node: Node<'t>, depth: usize) -> Result<Flow, Spent> {
        for _ in 0..TURNS {
            if !self.holds(node)? {
                return self.otherwise(node, depth);
            }
            match self.block(node.child_by_field_name("body"), depth + 1)? {
                Flow::Falls | Flow::Continues => {}
                Flow::Breaks => return Ok(Flow::Falls),
                out => return Ok(out),
            }
        }
        Err(Spent)
    }

    fn attempt(&mut self, node: Node<'t>, depth: usize) -> Result<Flow, Spent> {
        let mut flow = self.block(node.child_by_field_name("body"), depth + 1)?;
        let clauses = children(node);
        let body = |clause: &Node<'t>| children(*clause).into_iter().find(|child| child.kind() == "block");
        let of = |kind: &str| clauses.iter().find(|clause| clause.kind() == kind);
        if flow == Flow::Raises {
            if let Some(clause) = of("except_clause") {
                flow = self.block(body(clause), depth + 1)?;
            }
        } else if flow == Flow::Falls
            && let Some(clause) = of("else_clause")
        {
            flow = self.block(body(clause), depth + 1)?;
        }
        if let Some(clause) = of("finally_clause") {
            let last = self.block(body(clause), depth + 1)?;
            if last != Flow::Falls {
                return Ok(last);
            }
        }
        Ok(flow)
    }

    fn define(&mut self, node: Node<'t>) {
        let Some(name) = node.child_by_field_name("name") else { return };
        let (module, found, scope) = (self.module, self.found.clone(), Some(self.names.clone()));
        let function = Function { module, found, node, scope, owner: self.owner };
        let value = self.machine.make(Thing::Function(function.into()));
        self.bind(self.module.slice(name), value);
    }

    fn define_class(&mut self, node: Node<'t>) -> Result<(), Spent> {
        let Some(name) = node.child_by_field_name("name") else { return Ok(()) };
        let (found, names) = (self.found.clone(), self.names.clone());
        let value = self.machine.class_at(&found, self.module, node, Some(names))?;
        self.bind(self.module.slice(name), value);
        Ok(())
    }
}
