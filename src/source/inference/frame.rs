//! The statements of one function, in order: what its names stand for, and what of it runs.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tree_sitter::Node;

use super::parameters::Trust;
use super::walk::Walk;
use crate::source::evaluate::{Arguments, Callee, Environment, Runs, Spent, Value, children, evaluate, implied};
use crate::source::literals::targets;
use crate::source::python::Module;
use crate::source::reach::Reached;

/// Blocks within one another; Python allows a hundred.
const BLOCKS: usize = 100;

/// How a statement or a block ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// What follows it runs.
    Falls,
    /// What follows may run.
    MayLeave,
    /// It returns, or goes on with the loop.
    Leaves,
    /// It raises an error.
    Raises,
}

impl Flow {
    /// Where it is either of two; an error is not what a run that counts ends in.
    fn or(self, other: Flow) -> Flow {
        match (self, other) {
            (Flow::Raises, other) | (other, Flow::Raises) => other,
            (a, b) if a == b => a,
            _ => Flow::MayLeave,
        }
    }

    /// This, and then what follows.
    pub(super) fn then(self, next: Flow) -> Flow {
        match (self, next) {
            (Flow::Falls, next) => next,
            (Flow::MayLeave, Flow::Leaves | Flow::Raises) => Flow::Leaves,
            (Flow::MayLeave, _) => Flow::MayLeave,
            (ended, _) => ended,
        }
    }

    fn leaves(self) -> bool {
        matches!(self, Flow::Leaves | Flow::Raises)
    }
}

type Locals<'t> = HashMap<&'t str, Value>;

/// A function that is followed.
pub(super) struct Frame<'t, 'w, 'k> {
    pub(super) walk: &'k mut Walk<'t, 'w>,
    pub(super) module: &'t Module,
    owner: usize,
    pub(super) locals: Locals<'t>,
    pub(super) runs: Runs,
    returned: Option<Value>,
    /// Returns that were met.
    pub(super) returns: usize,
    blocks: usize,
    /// Loops around what is followed.
    pub(super) loops: usize,
}

impl<'t, 'w, 'k> Frame<'t, 'w, 'k> {
    pub(super) fn new(walk: &'k mut Walk<'t, 'w>, reached: Reached<'t>, locals: Locals<'t>, runs: Runs) -> Self {
        let Reached { owner, module, .. } = reached;
        Frame { walk, module, owner, locals, runs, returned: None, returns: 0, blocks: 0, loops: 0 }
    }

    pub(super) fn set(&mut self, name: &'t str, value: Value) {
        self.locals.insert(name, value);
    }

    /// What the function gives, by how its body ends.
    pub(super) fn result(mut self, flow: Flow) -> Value {
        if !flow.leaves() {
            self.give(Value::None);
        }
        self.returned.take().unwrap_or(Value::Unknown)
    }

    fn give(&mut self, value: Value) {
        self.returned = Some(match self.returned.take() {
            Some(known) => known.or(value),
            None => value,
        });
    }

    pub(super) fn evaluate(&mut self, node: Node<'t>) -> Result<Value, Spent> {
        evaluate(self.module, node, self)
    }

    fn field(&mut self, node: Node<'t>, name: &str) -> Result<Value, Spent> {
        node.child_by_field_name(name).map_or(Ok(Value::Unknown), |node| self.evaluate(node))
    }

    /// The statements of a block.
    pub(super) fn block(&mut self, block: Node<'t>) -> Result<Flow, Spent> {
        if self.blocks >= BLOCKS {
            return Err(Spent);
        }
        self.blocks += 1;
        let before = self.runs;
        let mut flow = Flow::Falls;
        for statement in children(block) {
            if flow.leaves() {
                self.walk.mark(self.module, statement, Runs::Never);
                continue;
            }
            self.walk.mark(self.module, statement, self.runs);
            let next = self.statement(statement)?;
            flow = flow.then(next);
            if flow == Flow::MayLeave {
                self.runs = self.runs.min(Runs::Maybe);
            }
        }
        (self.runs, self.blocks) = (before, self.blocks - 1);
        Ok(flow)
    }

    /// A block that runs so certainly, with names of its own making kept; `None` is nothing to run.
    pub(super) fn arm(&mut self, block: Option<Node<'t>>, runs: Runs) -> Result<Flow, Spent> {
        let Some(block) = block else { return Ok(Flow::Falls) };
        self.walk.mark(self.module, block, runs);
        if runs == Runs::Never {
            return Ok(Flow::Falls);
        }
        let before = std::mem::replace(&mut self.runs, runs);
        let flow = self.block(block);
        self.runs = before;
        flow
    }

    fn statement(&mut self, node: Node<'t>) -> Result<Flow, Spent> {
        if !self.module.budget().burn(1) {
            return Err(Spent);
        }
        match node.kind() {
            "return_statement" => {
                let value = node.named_child(0).map_or(Ok(Value::None), |value| self.evaluate(value))?;
                self.give(value);
                self.returns += 1;
                Ok(Flow::Leaves)
            }
            "raise_statement" => {
                for part in children(node) {
                    self.evaluate(part)?;
                }
                if self.runs == Runs::Always {
                    self.walk.outcome.contradicts = true;
                }
                Ok(Flow::Raises)
            }
            "break_statement" | "continue_statement" => Ok(Flow::Leaves),
            "if_statement" => self.branch(node),
            "for_statement" | "while_statement" => self.turns(node),
            "try_statement" => self.attempt(node),
            "with_statement" => {
                self.resources(node)?;
                self.arm(node.child_by_field_name("body"), self.runs)
            }
            "match_statement" => self.cases(node),
            "assert_statement" => {
                let Some(condition) = node.named_child(0) else { return Ok(Flow::Falls) };
                self.evaluate(condition)?;
                self.narrow(condition, true);
                Ok(Flow::Falls)
            }
            "expression_statement" => {
                for part in children(node) {
                    self.expression(part)?;
                }
                Ok(Flow::Falls)
            }
            "delete_statement" => {
                self.forget(node);
                Ok(Flow::Falls)
            }
            "function_definition" => self.inner(node),
            "decorated_definition" => {
                node.child_by_field_name("definition").map_or(Ok(Flow::Falls), |it| self.inner(it))
            }
            "block" => self.block(node),
            _ => Ok(Flow::Falls),
        }
    }

    fn expression(&mut self, node: Node<'t>) -> Result<(), Spent> {
        match node.kind() {
            "assignment" => {
                let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right"))
                else {
                    return Ok(());
                };
                let (mut targets, mut right) = (vec![left], right);
                while right.kind() == "assignment" {
                    let Some(next) = right.child_by_field_name("right") else { break };
                    targets.extend(right.child_by_field_name("left"));
                    right = next;
                    if !self.module.budget().burn(1) {
                        return Err(Spent);
                    }
                }
                let value = self.evaluate(right)?;
                self.unpacked(left, right, &value);
                targets.into_iter().try_for_each(|target| self.assign(target, &value))
            }
            "augmented_assignment" => {
                let added = self.field(node, "right")?;
                let Some(left) = node.child_by_field_name("left") else { return Ok(()) };
                let before = self.evaluate(left)?;
                let operator = node.child_by_field_name("operator");
                let met = operator.and_then(|operator| self.between(operator, &before, &added));
                // `x += 1` of a number that is known would be another; of anything else it stays something.
                let known = if before.is_none() == Some(false) { Value::Object } else { Value::Unknown };
                self.assign(left, &met.unwrap_or(known))
            }
            _ => self.evaluate(node).map(|_| ()),
        }
    }

    pub(super) fn assign(&mut self, target: Node<'t>, value: &Value) -> Result<(), Spent> {
        match target.kind() {
            "identifier" => {
                self.locals.insert(self.module.slice(target), value.clone());
            }
            "pattern_list" | "tuple_pattern" | "list_pattern" => {
                let parts = children(target);
                let splat = parts.iter().any(|part| part.kind() == "list_splat_pattern");
                for (number, part) in parts.iter().enumerate() {
                    let element = match value {
                        Value::Sequence(elements) if elements.len() == parts.len() && !splat => {
                            elements.get(number).cloned()
                        }
                        Value::Each(element) => Some((**element).clone()),
                        _ => None,
                    };
                    self.assign(*part, &element.unwrap_or(Value::Unknown))?;
                }
            }
            "list_splat_pattern" => {
                if let Some(name) = target.named_child(0) {
                    self.assign(name, &Value::Object)?;
                }
            }
            "subscript" => {
                let object = target.child_by_field_name("value");
                for part in children(target) {
                    self.evaluate(part)?;
                }
                // What is written into is not what it was.
                if let Some(name) =
                    object.filter(|object| object.kind() == "identifier").map(|it| self.module.slice(it))
                    && let Some(known) = self.locals.get_mut(name)
                    && matches!(known, Value::Mapping(_) | Value::Sequence(_))
                {
                    *known = Value::Object;
                }
            }
            "attribute" => {
                if let Some(object) = target.child_by_field_name("object") {
                    self.evaluate(object)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `if`, `elif`, `else`.
    fn branch(&mut self, node: Node<'t>) -> Result<Flow, Spent> {
        let mut cursor = node.walk();
        let clauses: Vec<Node<'t>> = node.children_by_field_name("alternative", &mut cursor).collect();
        let first = (node.child_by_field_name("condition"), node.child_by_field_name("consequence"));
        let arms = std::iter::once(first).chain(clauses.iter().map(|clause| match clause.kind() {
            "elif_clause" => (clause.child_by_field_name("condition"), clause.child_by_field_name("consequence")),
            _ => (None, clause.child_by_field_name("body")),
        }));
        let entry = self.runs;
        let mut ends: Vec<(Flow, Locals<'t>)> = Vec::new();
        // How certainly the next condition is asked.
        let mut runs = entry;
        for (condition, block) in arms {
            let before = std::mem::replace(&mut self.runs, runs);
            let truth = match condition {
                _ if runs == Runs::Never => Ok(Some(false)),
                Some(condition) => self.evaluate(condition).map(|value| value.truth()),
                None => Ok(Some(true)),
            };
            self.runs = before;
            let truth = truth?;
            match truth {
                Some(false) => {
                    if runs == Runs::Never
                        && let Some(condition) = condition
                    {
                        self.walk.mark(self.module, condition, Runs::Never);
                    }
                    self.arm(block, Runs::Never)?;
                }
                Some(true) => {
                    let flow = self.arm(block, runs)?;
                    ends.push((flow, self.locals.clone()));
                    runs = Runs::Never;
                }
                None => {
                    let kept = self.keep();
                    if let Some(condition) = condition {
                        self.narrow(condition, true);
                    }
                    let flow = self.arm(block, runs.min(Runs::Maybe))?;
                    let made = std::mem::replace(&mut self.locals, kept);
                    ends.push((flow, made));
                    runs = runs.min(Runs::Maybe);
                    if let Some(condition) = condition {
                        self.narrow(condition, false);
                    }
                }
            }
        }
        if runs != Runs::Never {
            ends.push((Flow::Falls, self.keep()));
        }
        Ok(self.join(ends))
    }

    /// A copy of the names, paid for.
    pub(super) fn keep(&self) -> Locals<'t> {
        self.module.budget().burn(self.locals.len());
        self.locals.clone()
    }

    /// Go on with what is known after any of several ways.
    pub(super) fn join(&mut self, ends: Vec<(Flow, Locals<'t>)>) -> Flow {
        let flow = ends.iter().map(|(flow, _)| *flow).reduce(Flow::or).unwrap_or(Flow::Falls);
        let mut open = ends.into_iter().filter(|(flow, _)| !flow.leaves()).map(|(_, locals)| locals);
        if let Some(mut joined) = open.next() {
            for other in open {
                self.module.budget().burn(joined.len());
                let names: HashSet<&'t str> = joined.keys().chain(other.keys()).copied().collect();
                for name in names {
                    let value = match (joined.remove(name), other.get(name)) {
                        (Some(a), Some(b)) => a.or(b.clone()),
                        _ => Value::Unknown,
                    };
                    joined.insert(name, value);
                }
            }
            self.locals = joined;
        }
        flow
    }

    fn narrow(&mut self, condition: Node<'t>, holds: bool) {
        for (name, value) in implied(self.module, condition, holds) {
            if let Some(known) = self.locals.get_mut(name).filter(|known| known.is_none().is_none()) {
                *known = value;
            }
        }
    }

    /// Every name that is assigned within is not known.
    pub(super) fn forget(&mut self, within: Node<'t>) {
        let (module, locals) = (self.module, &mut self.locals);
        module.preorder(within, |node, _| {
            if let Some(targets) = targets(node) {
                module.preorder(targets, |target, _| {
                    if target.kind() == "identifier"
                        && let Some(known) = locals.get_mut(module.slice(target))
                    {
                        *known = Value::Unknown;
                    }
                    !matches!(target.kind(), "identifier" | "attribute" | "subscript")
                });
            }
            !matches!(node.kind(), "function_definition" | "class_definition" | "lambda")
        });
    }

    fn attempt(&mut self, node: Node<'t>) -> Result<Flow, Spent> {
        let before = self.keep();
        let flow = self.arm(node.child_by_field_name("body"), self.runs)?;
        let mut ends = vec![(flow, std::mem::replace(&mut self.locals, before))];
        self.forget(node);
        let mut last = None;
        for clause in children(node) {
            let block = children(clause).into_iter().rfind(|part| part.kind() == "block");
            match clause.kind() {
                "except_clause" | "except_group_clause" => {
                    let kept = self.keep();
                    let flow = self.arm(block, self.runs.min(Runs::Maybe))?;
                    ends.push((flow, std::mem::replace(&mut self.locals, kept)));
                }
                "else_clause" => {
                    let block = clause.child_by_field_name("body").or(block);
                    let kept = self.keep();
                    let flow = self.arm(block, self.runs)?;
                    ends.push((flow, std::mem::replace(&mut self.locals, kept)));
                }
                "finally_clause" => last = block,
                _ => {}
            }
        }
        let flow = self.join(ends);
        let flow = if flow == Flow::Raises { Flow::MayLeave } else { flow };
        Ok(match self.arm(last, self.runs)? {
            Flow::Falls => flow,
            end => end,
        })
    }

    fn resources(&mut self, node: Node<'t>) -> Result<(), Spent> {
        let clause = children(node).into_iter().find(|part| part.kind() == "with_clause");
        for item in clause.map(children).unwrap_or_default() {
            let value = item.child_by_field_name("value").or_else(|| item.named_child(0));
            let Some(value) = value else { continue };
            if value.kind() == "as_pattern" {
                if let Some(made) = value.named_child(0) {
                    self.evaluate(made)?;
                }
                if let Some(name) = value.child_by_field_name("alias").and_then(|alias| alias.named_child(0)) {
                    self.assign(name, &Value::Unknown)?;
                }
            } else {
                self.evaluate(value)?;
            }
        }
        Ok(())
    }

    /// `match`: any of the cases.
    fn cases(&mut self, node: Node<'t>) -> Result<Flow, Spent> {
        self.field(node, "subject")?;
        let mut ends = vec![(Flow::Falls, self.keep())];
        let body = node.child_by_field_name("body").unwrap_or(node);
        for case in children(body).into_iter().filter(|part| part.kind() == "case_clause") {
            let kept = self.keep();
            for pattern in children(case).into_iter().filter(|part| part.kind() == "case_pattern") {
                let module = self.module;
                let locals = &mut self.locals;
                module.preorder(pattern, |name, _| {
                    if name.kind() == "identifier" {
                        locals.insert(module.slice(name), Value::Unknown);
                    }
                    true
                });
            }
            let flow = self.arm(case.child_by_field_name("consequence"), self.runs.min(Runs::Maybe))?;
            ends.push((flow, std::mem::replace(&mut self.locals, kept)));
        }
        Ok(self.join(ends))
    }

    /// A function within: somebody calls it, with anything.
    fn inner(&mut self, node: Node<'t>) -> Result<Flow, Spent> {
        if node.kind() != "function_definition" {
            return Ok(Flow::Falls);
        }
        let before = self.keep();
        let (returned, returns) = (self.returned.take(), self.returns);
        let anything = Arguments { more: true, ..Arguments::default() };
        let parameters = super::parameters::bind(self.module, node, false, &anything, Trust::Nothing);
        self.locals.extend(parameters);
        // A name that is set later on may have another value when it runs.
        self.forget(node);
        self.arm(node.child_by_field_name("body"), self.runs.min(Runs::Maybe))?;
        (self.locals, self.returned, self.returns) = (before, returned, returns);
        if let Some(name) = node.child_by_field_name("name") {
            self.locals.insert(self.module.slice(name), Value::Object);
        }
        Ok(Flow::Falls)
    }
}

impl<'t> Environment<'t> for Frame<'t, '_, '_> {
    fn name(&mut self, name: Node<'t>) -> Result<Value, Spent> {
        let text = self.module.slice(name);
        if let Some(known) = self.locals.get(text) {
            return Ok(known.clone());
        }
        if let Some(method) = self.module.function(text) {
            self.walk.mentioned(self.module, self.owner, method, self.runs)?;
            return Ok(Value::Object);
        }
        Ok(self.walk.constant(self.module, text))
    }

    fn is_bound(&self, name: &str) -> bool {
        self.locals.contains_key(name)
    }

    fn bind(&mut self, name: &'t str, value: Value) {
        self.locals.insert(name, value);
    }

    fn attribute(&mut self, object: &Value, name: &'t str) -> Result<Value, Spent> {
        match object {
            Value::Modules(path) => self.walk.attribute(&Rc::clone(path), name, self.runs),
            Value::Mapping(fields) => Ok(fields.get(name).cloned().unwrap_or(Value::Unknown)),
            Value::None => {
                if self.runs == Runs::Always {
                    self.walk.outcome.contradicts = true;
                }
                Ok(Value::Unknown)
            }
            _ if matches!(name, "shape" | "dtype" | "device" | "ndim") => Ok(Value::Object),
            _ => Ok(Value::Unknown),
        }
    }

    fn call(&mut self, callee: &Callee<'t>, arguments: &Arguments) -> Result<Option<Value>, Spent> {
        self.walk.called((self.module, self.owner), callee, arguments, self.runs)
    }

    fn property(&mut self, node: Node<'t>, object: &Value, name: &'t str) -> Option<Value> {
        self.of_tensor(node, object, name)
    }

    fn indexed(&mut self, node: Node<'t>, object: &Value, indices: &[(Node<'t>, Value)]) -> Option<Value> {
        self.under(node, object, indices)
    }

    fn operation(&mut self, node: Node<'t>, left: &Value, right: &Value) -> Option<Value> {
        self.between(node.child_by_field_name("operator")?, left, right)
    }

    fn enter(&mut self, part: Node<'t>, runs: Runs) -> Runs {
        let runs = runs.min(self.runs);
        self.walk.mark(self.module, part, runs);
        std::mem::replace(&mut self.runs, runs)
    }

    fn leave(&mut self, before: Runs) {
        self.runs = before;
    }

    fn element(&mut self, object: &Value, index: &Value) -> Value {
        match object {
            Value::Modules(path) => self.walk.element(path, index),
            _ => Value::Unknown,
        }
    }
}
