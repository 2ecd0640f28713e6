//! What is around calls, attributes and names of a method, noted as the method is walked through: to climb from each of them
//! would take the square of the time where expressions are nested deep.

use std::collections::{HashMap, HashSet};

use tree_sitter::Node;

/// Answers by the ids of nodes.
#[derive(Debug, Default)]
pub(super) struct Surroundings<'t> {
    /// The condition that a call or attribute stands in.
    conditions: HashMap<usize, Node<'t>>,
    /// The assignment that a call is the value of, or a part of it.
    statements: HashMap<usize, Node<'t>>,
    /// The assignment that a node is the target of.
    targets: HashMap<usize, Node<'t>>,
    open: Vec<Open<'t>>,
    statement: Vec<(usize, Option<Node<'t>>)>,
    /// Nodes that are conditions, and are still to come.
    expected: HashSet<usize>,
}

/// A condition, or a block or function in which those outside do not count.
#[derive(Debug)]
struct Open<'t> {
    end: usize,
    condition: Option<Node<'t>>,
}

impl<'t> Surroundings<'t> {
    /// Take in the next node, in pre-order.
    pub(super) fn enter(&mut self, node: Node<'t>) {
        let (start, end) = (node.start_byte(), node.end_byte());
        while self.open.last().is_some_and(|open| open.end <= start) {
            self.open.pop();
        }
        while self.statement.last().is_some_and(|(end, _)| *end <= start) {
            self.statement.pop();
        }
        if self.expected.remove(&node.id()) {
            self.open.push(Open { end, condition: Some(node) });
        }
        let kind = node.kind();
        match kind {
            "call" | "attribute" => {
                let condition = self.open.last().and_then(|open| open.condition);
                self.conditions.extend(condition.map(|condition| (node.id(), condition)));
                let statement = self.statement.last().and_then(|(_, assignment)| *assignment);
                self.statements.extend(statement.filter(|_| kind == "call").map(|statement| (node.id(), statement)));
            }
            "assignment" => {
                self.targets.extend(node.child_by_field_name("left").map(|left| (left.id(), node)));
            }
            "block" | "module" | "function_definition" | "lambda" => self.open.push(Open { end, condition: None }),
            _ => {}
        }
        let condition = match kind {
            "if_statement" | "elif_clause" | "while_statement" => node.child_by_field_name("condition"),
            "conditional_expression" => node.named_child(1),
            "assert_statement" | "if_clause" => node.named_child(0),
            _ => None,
        };
        self.expected.extend(condition.map(|condition| condition.id()));
        if kind.ends_with("_statement") {
            let assignment = node.named_child(0).filter(|child| child.kind() == "assignment");
            self.statement.push((end, assignment));
        }
    }

    /// The condition of an `if`, `while`, `assert` or the like that a call or attribute is in.
    pub(super) fn condition(&self, node: Node<'t>) -> Option<Node<'t>> {
        self.conditions.get(&node.id()).copied()
    }

    /// The assignment whose statement a call is in.
    pub(super) fn assignment_around(&self, call: Node<'t>) -> Option<Node<'t>> {
        self.statements.get(&call.id()).copied()
    }

    /// The assignment whose target a node is.
    pub(super) fn assignment_to(&self, target: Node<'t>) -> Option<Node<'t>> {
        self.targets.get(&target.id()).copied()
    }
}
