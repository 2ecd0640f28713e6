//! Loops: one turn, and a second one where the first shows that a tensor changes its axes.

use std::collections::HashMap;

use tree_sitter::Node;

use super::frame::{Flow, Frame};
use crate::source::evaluate::{Runs, Spent, Value, children};

/// Loops within one another in which tensors are followed from turn to turn.
const NESTED: usize = 3;

impl<'t> Frame<'t, '_, '_> {
    /// `for` and `while`: one turn, of which nothing is known that an earlier one may have changed, but where a tensor's axes
    /// are, if a turn leaves them there.
    pub(super) fn turns(&mut self, node: Node<'t>) -> Result<Flow, Spent> {
        let body = node.child_by_field_name("body");
        let mut runs = self.runs;
        let element = match node.child_by_field_name("right") {
            Some(right) => {
                let over = self.evaluate_over(right)?;
                match &over {
                    Value::Modules(path) => Some(self.walk.element(path, &Value::Unknown)),
                    other => other.element(),
                }
            }
            None => None,
        };
        let before = self.keep();
        let mut tensors = self.tensors();
        self.forget(node);
        self.know(&tensors);
        if let Some(condition) = node.child_by_field_name("condition") {
            match self.evaluate(condition)?.truth() {
                Some(true) => {}
                Some(false) => runs = Runs::Never,
                None => runs = runs.min(Runs::Maybe),
            }
        } else if element.is_none() {
            runs = Runs::Never;
        }
        let returns = self.returns;
        self.loops += 1;
        for last in [false, true] {
            if let (Some(element), Some(left)) = (&element, node.child_by_field_name("left")) {
                self.assign(left, element)?;
            }
            self.arm(body, runs)?;
            let stay = |(name, value): &(&'t str, Value)| {
                self.locals.get(name).cloned().map(Value::settled).as_ref() == Some(value)
            };
            if last || runs == Runs::Never || tensors.iter().all(stay) {
                tensors.retain(stay);
                break;
            }
            tensors.retain(stay);
            self.locals.clone_from(&before);
            self.forget(node);
            self.know(&tensors);
        }
        self.loops -= 1;
        let returned = self.returns > returns;
        let (flow, mut after) = (Flow::Falls, std::mem::take(&mut self.locals));
        if runs == Runs::Never {
            after.clone_from(&before);
        }
        // What a turn made may not have been made.
        self.join(vec![(flow, before), (flow, after)]);
        self.forget(node);
        self.know(&tensors);
        let rest = node.child_by_field_name("alternative").and_then(|clause| clause.child_by_field_name("body"));
        let flow = self.arm(rest, self.runs.min(if returned { Runs::Maybe } else { self.runs }))?;
        Ok(if returned { Flow::MayLeave.then(flow) } else { flow })
    }

    /// Names that stand for tensors whose axes are known.
    fn tensors(&self) -> Vec<(&'t str, Value)> {
        if self.loops >= NESTED {
            return Vec::new();
        }
        let known = self.locals.iter().filter(|(_, value)| value.layout().is_some());
        known.map(|(name, value)| (*name, value.clone().settled())).collect()
    }

    /// Let names stand for what they are known to stand for at every turn.
    fn know(&mut self, tensors: &[(&'t str, Value)]) {
        self.locals.extend(tensors.iter().cloned().collect::<HashMap<&'t str, Value>>());
    }

    /// What a loop goes over, of a list that is written out its elements.
    fn evaluate_over(&mut self, node: Node<'t>) -> Result<Value, Spent> {
        let parts = children(node);
        if node.kind() != "list" || parts.iter().any(|part| part.kind() == "list_splat") {
            return self.evaluate(node);
        }
        let values: Result<Vec<Value>, Spent> = parts.into_iter().map(|part| self.evaluate(part)).collect();
        Ok(Value::sequence(values?))
    }
}
