//! Statements: assignments, conditions, loops.

use std::collections::HashMap;

use super::machine::{Frame, Machine, Result, refused};
use super::value::{Number, Value};
use t2m_checkpoint::script::syntax::{Action, Expression, Form, Statement};

/// What becomes of a block.
pub(super) enum Flow {
    /// It goes on behind it.
    On,
    /// The function gives this.
    Return(Value),
}

impl Machine<'_> {
    pub(super) fn block(&mut self, frame: &mut Frame, body: &[Statement]) -> Result<Flow> {
        for statement in body {
            if let Flow::Return(value) = self.deeper(|machine| machine.statement(frame, statement))? {
                return Ok(Flow::Return(value));
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, frame: &mut Frame, statement: &Statement) -> Result<Flow> {
        match &statement.action {
            Action::Pass => {}
            Action::Expression(expression) => {
                self.expression(frame, expression)?;
            }
            Action::Return(None) => return Ok(Flow::Return(Value::None)),
            Action::Return(Some(value)) => return Ok(Flow::Return(self.expression(frame, value)?)),
            Action::Assign { targets, unpacks, value } => {
                self.wanted = unpacks.then_some(targets.len());
                let value = self.expression(frame, value)?;
                self.wanted = None;
                match (targets.as_slice(), unpacks) {
                    ([target], false) => self.assign(frame, target, value)?,
                    _ => self.unpack(frame, statement.at, targets, &value)?,
                }
            }
            Action::If { test, then, otherwise } => {
                let holds = self.expression(frame, test)?;
                return match self.truth(frame, test.at, &holds)? {
                    Some(true) => self.block(frame, then),
                    Some(false) => self.block(frame, otherwise),
                    None => self.both(frame, test.at, then, otherwise),
                };
            }
            Action::While { test, body } => loop {
                let holds = self.expression(frame, test)?;
                match self.truth(frame, test.at, &holds)? {
                    Some(false) => break,
                    Some(true) => {}
                    None if self.lenient => {
                        return self.block(frame, body);
                    }
                    None => return self.refuse(frame, test.at, "a loop ends by what is not known"),
                }
                if let Flow::Return(value) = self.block(frame, body)? {
                    return Ok(Flow::Return(value));
                }
            },
            Action::With { of, name, body } => {
                return match (self.expression(frame, of)?, name) {
                    (Value::None, None) => self.block(frame, body),
                    _ => self.refuse(frame, of.at, "a `with` other than torch.no_grad()"),
                };
            }
            Action::For { target, over, body } => {
                let values = match self.expression(frame, over)? {
                    Value::Unknown if self.lenient => vec![Value::Unknown],
                    Value::Several(tensor) => vec![Value::Tensor(tensor)],
                    other => match other.items() {
                        Some(items) => items,
                        None => return self.refuse(frame, over.at, format!("a loop goes over {}", other.kind())),
                    },
                };
                for value in values {
                    self.assign(frame, target, value)?;
                    if let Flow::Return(value) = self.block(frame, body)? {
                        return Ok(Flow::Return(value));
                    }
                }
            }
        }
        Ok(Flow::On)
    }

    fn assign(&mut self, frame: &mut Frame, target: &Expression, value: Value) -> Result<()> {
        match &target.form {
            Form::Name(name) => {
                frame.locals.insert(name.clone(), value);
                Ok(())
            }
            Form::Attribute(of, name) => match self.expression(frame, of)? {
                Value::Object(object) => {
                    self.set.insert((object, name.clone()), value);
                    Ok(())
                }
                other => self.refuse(frame, target.at, format!("{} gets an attribute", other.kind())),
            },
            Form::Subscript(of, index) => {
                let (of, index) = (self.expression(frame, of)?, self.one(frame, target.at, index)?);
                self.set_item(frame, target.at, &of, &index, value)
            }
            Form::Tuple(targets) => self.unpack(frame, target.at, targets, &value),
            _ => self.refuse(frame, target.at, "an assignment to what is neither a name nor an attribute"),
        }
    }

    fn unpack(&mut self, frame: &mut Frame, at: usize, targets: &[Expression], value: &Value) -> Result<()> {
        let items = match value {
            Value::Several(tensor) => vec![Value::Tensor(tensor.clone()); targets.len()],
            Value::Unknown if self.lenient => vec![Value::Unknown; targets.len()],
            other => other.items().unwrap_or_else(|| vec![other.clone()]),
        };
        if items.len() != targets.len() {
            let what = format!("{} values are taken apart into {}", items.len(), targets.len());
            return self.refuse(frame, at, what);
        }
        for (target, item) in targets.iter().zip(items) {
            self.assign(frame, target, item)?;
        }
        Ok(())
    }

    /// Whether a condition holds; `None` where that is not known.
    pub(super) fn truth(&mut self, frame: &Frame, at: usize, value: &Value) -> Result<Option<bool>> {
        match value {
            Value::Number(number) | Value::Scalar(number) => Ok(Some(number.holds())),
            Value::Tensor(_) => Ok(self.number_of(value)?.map(Number::holds)),
            Value::Unknown => Ok(None),
            other => self.refuse(frame, at, format!("{} decides", other.kind())),
        }
    }

    /// Both sides of a condition that depends on what is not known. Names that they give different values have none that is
    /// known afterwards; a tensor stands for the other.
    fn both(&mut self, frame: &mut Frame, at: usize, then: &[Statement], otherwise: &[Statement]) -> Result<Flow> {
        if !self.lenient {
            return self.refuse(frame, at, "a condition depends on what is not known");
        }
        let before = frame.locals.clone();
        let first = self.side(frame, then)?;
        let after = std::mem::replace(&mut frame.locals, before);
        let second = self.side(frame, otherwise)?;
        match (first, second) {
            (None, None) => Err(refused("both sides of a condition raise an error")),
            (None, Some(flow)) => Ok(flow),
            (Some(flow), None) => {
                frame.locals = after;
                Ok(flow)
            }
            (Some(first), Some(second)) => {
                join(&mut frame.locals, after);
                Ok(match (first, second) {
                    (Flow::Return(a), Flow::Return(b)) => Flow::Return(joined(a, b)),
                    (Flow::Return(value), Flow::On) | (Flow::On, Flow::Return(value)) => Flow::Return(value),
                    (Flow::On, Flow::On) => Flow::On,
                })
            }
        }
    }

    /// One side; `None` where it raises an error, and nothing of it is in the graph.
    fn side(&mut self, frame: &mut Frame, body: &[Statement]) -> Result<Option<Flow>> {
        let nodes = self.graph.nodes.len();
        match self.block(frame, body) {
            Ok(flow) => Ok(Some(flow)),
            Err(refused) if refused.raises => {
                self.graph.nodes.truncate(nodes);
                Ok(None)
            }
            Err(refused) => Err(refused),
        }
    }
}

fn join(locals: &mut HashMap<String, Value>, other: HashMap<String, Value>) {
    for (name, value) in other {
        let both = match locals.remove(&name) {
            Some(own) => joined(value, own),
            None => value,
        };
        locals.insert(name, both);
    }
}

fn joined(a: Value, b: Value) -> Value {
    match (&a, &b) {
        (Value::Tensor(_) | Value::Several(_), _) => a,
        (_, Value::Tensor(_) | Value::Several(_)) => b,
        (Value::List(_), Value::List(_)) | (Value::Tuple(..), Value::Tuple(..)) => {
            let (first, second) = (a.items().unwrap_or_default(), b.items().unwrap_or_default());
            if first.len() != second.len() {
                // More members stand for fewer, so that all their tensors are there.
                return if first.len() > second.len() { a } else { b };
            }
            let items = first.into_iter().zip(second).map(|(a, b)| joined(a, b)).collect();
            if matches!(a, Value::List(_)) { Value::list(items) } else { Value::tuple(items) }
        }
        _ if a.equals(&b) == Some(true) => a,
        (Value::Object(_) | Value::Dict(_), _) => a,
        _ => Value::Unknown,
    }
}
