//! Expressions.

use std::rc::Rc;

use super::machine::{Frame, Machine, Result};
use super::value::{Member, Number, Value};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::script::syntax::{Expression, Form};

impl Machine<'_> {
    pub(super) fn expression(&mut self, frame: &mut Frame, expression: &Expression) -> Result<Value> {
        self.deeper(|machine| machine.form(frame, expression))
    }

    fn form(&mut self, frame: &mut Frame, expression: &Expression) -> Result<Value> {
        Ok(match &expression.form {
            Form::None => Value::None,
            Form::Bool(is_so) => Value::bool(*is_so),
            Form::Int(whole) => Value::int(*whole),
            Form::Float(number) => Value::Number(Number::Float(*number)),
            Form::Text(text) => Value::text(text),
            Form::List(items) => {
                let items = self.all(frame, items)?;
                self.nested(frame, expression.at, &items)?;
                Value::list(items)
            }
            Form::Tuple(items) => {
                let items = self.all(frame, items)?;
                self.nested(frame, expression.at, &items)?;
                Value::tuple(items)
            }
            Form::Dict(pairs) => {
                let mut all = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let (key, value) = (self.expression(frame, key)?, self.expression(frame, value)?);
                    self.nested(frame, expression.at, std::slice::from_ref(&value))?;
                    all.push((key, value));
                }
                Value::Dict(Rc::new(all.into()))
            }
            Form::Name(name) => match frame.locals.get(name) {
                Some(value) => value.clone(),
                None => return self.refuse(frame, expression.at, format!("{} has no value", quoted(name))),
            },
            Form::Attribute(of, name) => self.member(frame, expression, of, name)?,
            Form::Subscript(of, index) => {
                let (of, index) = (self.expression(frame, of)?, self.one(frame, expression.at, index)?);
                self.item(frame, expression.at, &of, &index)?
            }
            Form::Call(call) => self.called(frame, expression.at, call)?,
        })
    }

    pub(super) fn all(&mut self, frame: &mut Frame, items: &[Expression]) -> Result<Vec<Value>> {
        items.iter().map(|item| self.expression(frame, item)).collect()
    }

    /// The only index of a subscript.
    pub(super) fn one(&mut self, frame: &mut Frame, at: usize, index: &[Expression]) -> Result<Value> {
        match index {
            [index] => self.expression(frame, index),
            _ => self.refuse(frame, at, "a subscript of several"),
        }
    }

    /// `self.weight`, `CONSTANTS.c0`, a named tuple's field.
    fn member(&mut self, frame: &mut Frame, whole: &Expression, of: &Expression, name: &str) -> Result<Value> {
        let root = |expression: &Expression| expression.dotted();
        if let Some(dotted) = root(whole) {
            let first = dotted.split('.').next().unwrap_or_default();
            if first == "CONSTANTS" {
                return self.state(&dotted).or_else(|error| self.refuse(frame, whole.at, error.to_string()));
            }
            if first == "__torch__" {
                if let Some(member) = self.member_named(&dotted)? {
                    return Ok(member);
                }
                // `.value` or `.name` of one.
                if let Some((before, what)) = dotted.rsplit_once('.')
                    && let Some(Value::Member(member)) = self.member_named(before)?
                {
                    return self.of_member(frame, whole.at, &member, what);
                }
                return match self.function(&dotted)? {
                    Some(_) => Ok(Value::Function(Rc::from(dotted))),
                    None => self.refuse(frame, whole.at, format!("{} is not known", quoted(&dotted))),
                };
            }
            if !frame.locals.contains_key(first) {
                return self.refuse(frame, whole.at, format!("{} is not known", quoted(&dotted)));
            }
        }
        match self.expression(frame, of)? {
            Value::Object(object) => match self.attribute(object, name) {
                Ok(Some(value)) => Ok(value),
                Ok(None) => self.refuse(frame, whole.at, format!("an object has no attribute {}", quoted(name))),
                Err(error) => self.refuse(frame, whole.at, error.to_string()),
            },
            Value::Tuple(items, Some(names)) => {
                let at = names.iter().position(|known| known == name);
                match at.and_then(|at| items.get(at)) {
                    Some(value) => Ok(value.clone()),
                    None => self.refuse(frame, whole.at, format!("a tuple has no field {}", quoted(name))),
                }
            }
            Value::Member(member) => self.of_member(frame, whole.at, &member, name),
            Value::Device => Ok(if name == "type" { Value::text("cpu") } else { Value::None }),
            other => {
                let (at, kind) = (whole.at, other.kind());
                match self.property(frame, at, name, &other)? {
                    Some(value) => Ok(value),
                    None => self.refuse(frame, at, format!("{kind} has no attribute {}", quoted(name))),
                }
            }
        }
    }

    fn of_member(&mut self, frame: &Frame, at: usize, member: &Member, name: &str) -> Result<Value> {
        match name {
            "name" => Ok(Value::text(&member.name)),
            "value" => Ok(member.value.clone()),
            _ => self.refuse(frame, at, format!("a member of an enumeration has no {}", quoted(name))),
        }
    }
}
