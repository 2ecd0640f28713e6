//! Calls: of the archive's own functions and methods, of Python's, and of torch's.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::machine::{Found, Frame, Machine, Result};
use super::statements::Flow;
use super::value::{Number, Value};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::script::syntax::{Call, Expression, Form};

/// Values with their names.
pub(super) type Named = Vec<(String, Value)>;

impl Machine<'_> {
    pub(super) fn called(&mut self, frame: &mut Frame, at: usize, call: &Call) -> Result<Value> {
        let wanted = self.wanted.take();
        if let Form::Name(name) = &call.function.form {
            if let Some(Value::Function(own)) = frame.locals.get(name).cloned() {
                let (given, named) = self.given(frame, call)?;
                return self.own(frame, at, &own, given, named);
            }
            return self.python(frame, at, name, call);
        }
        let dotted = call.function.dotted().filter(|dotted| {
            let first = dotted.split('.').next().unwrap_or_default();
            matches!(first, "torch" | "ops" | "__torch__") && !frame.locals.contains_key(first)
        });
        // `torch.no_grad()`, made before a `with`: nothing is different within it where no gradient is wanted.
        if dotted.as_deref().is_some_and(|dotted| dotted.ends_with(".grad_mode.no_grad.__new__")) {
            return Ok(Value::None);
        }
        let Some(dotted) = dotted else {
            let Form::Attribute(of, method) = &call.function.form else {
                return self.refuse(frame, at, "a call of what is neither a function nor a method");
            };
            let of = self.expression(frame, of)?;
            if matches!((&of, method.as_str()), (Value::None, "__init__")) {
                return Ok(Value::None);
            }
            let (mut given, named) = self.given(frame, call)?;
            let Value::Object(object) = of else {
                return self.refuse(frame, at, format!("a call of {} of {}", quoted(method), of.kind()));
            };
            let class = self.class_name(object).unwrap_or_default().to_owned();
            let Some(found) = self.method(&class, method)? else {
                return self.refuse(frame, at, format!("{} has no method {}", quoted(&class), quoted(method)));
            };
            given.insert(0, of);
            return self.call(frame, at, &found, given, named);
        };
        let (given, named) = self.given(frame, call)?;
        match dotted.strip_prefix("__torch__.") {
            Some(_) => self.own(frame, at, &dotted, given, named),
            None => self.torchs(frame, at, &dotted, given, named, wanted),
        }
    }

    fn given(&mut self, frame: &mut Frame, call: &Call) -> Result<(Vec<Value>, Named)> {
        let given = self.all(frame, &call.positional)?;
        let mut named = Vec::with_capacity(call.named.len());
        for (name, value) in &call.named {
            named.push((name.clone(), self.expression(frame, value)?));
        }
        Ok((given, named))
    }

    /// A function of the archive's, or a class of which an object is made.
    fn own(&mut self, frame: &mut Frame, at: usize, name: &str, given: Vec<Value>, named: Named) -> Result<Value> {
        if let Some(found) = self.function(name)? {
            return self.call(frame, at, &found, given, named);
        }
        if let Some((_, module, class)) = self.class(name)? {
            let Some(class) = module.classes.get(class) else { return Ok(Value::Unknown) };
            if class.base.as_deref() == Some("NamedTuple") {
                let names: Vec<String> = class.fields.iter().map(|(name, _)| name.clone()).collect();
                let mut items = given;
                for name in names.iter().skip(items.len()) {
                    let value = named.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                    items.push(value.unwrap_or(Value::None));
                }
                self.nested(frame, at, &items)?;
                return Ok(Value::Tuple(Rc::new(items), Some(Rc::new(names))));
            }
            let object = self.script.objects.len() + self.made.len();
            self.made.push(name.to_owned());
            if let Some(found) = self.method(name, "__init__")? {
                let mut given = given;
                given.insert(0, Value::Object(object));
                self.call(frame, at, &found, given, named)?;
            }
            return Ok(Value::Object(object));
        }
        // A method of a class, called as a function.
        if let Some((class, method)) = name.rsplit_once('.')
            && let Some(found) = self.method(class, method)?
        {
            return self.call(frame, at, &found, given, named);
        }
        self.refuse(frame, at, format!("the archive's code has no {}", quoted(name)))
    }

    /// Go through a function of the archive's.
    pub(super) fn call(
        &mut self,
        frame: &Frame,
        at: usize,
        found: &Found,
        given: Vec<Value>,
        named: Named,
    ) -> Result<Value> {
        let Some(function) = found.function() else { return Ok(Value::Unknown) };
        if given.len() > function.parameters.len() {
            let what = format!("{} is given {} arguments", quoted(&function.name), given.len());
            return self.refuse(frame, at, what);
        }
        let is_method_of = match (found.class, given.first()) {
            (Some(_), Some(Value::Object(object))) if *object < self.script.objects.len() => Some(*object),
            _ => None,
        };
        let module = match is_method_of {
            Some(object) => self.path(object),
            None => Arc::clone(&frame.module),
        };
        let begin = function.body.first().map_or(0, |statement| statement.at);
        let called_at = self.place(frame, at);
        let mut inner = Frame { file: found.file, begin, locals: HashMap::new(), module, called_at };
        let mut given = given.into_iter();
        for parameter in &function.parameters {
            let by_name = || named.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value.clone());
            let value = match given.next().or_else(by_name) {
                Some(value) => value,
                None => match &parameter.default {
                    Some(default) => self.expression(&mut inner, default)?,
                    None => {
                        let what = format!("{} is not given {}", quoted(&function.name), quoted(&parameter.name));
                        return self.refuse(frame, at, what);
                    }
                },
            };
            inner.locals.insert(parameter.name.clone(), value);
        }
        match self.deeper(|machine| machine.block(&mut inner, &function.body))? {
            Flow::Return(value) => Ok(value),
            Flow::On => Ok(Value::None),
        }
    }

    /// Python's own functions, and what TorchScript has in their place.
    fn python(&mut self, frame: &mut Frame, at: usize, name: &str, call: &Call) -> Result<Value> {
        let [first, rest @ ..] = call.positional.as_slice() else {
            return self.refuse(frame, at, format!("a call of {} without arguments", quoted(name)));
        };
        match name {
            // What is not initialized is never read.
            "uninitialized" => return Ok(Value::None),
            "annotate" | "unchecked_cast" => {
                let Some(value) = rest.first() else { return self.refuse(frame, at, "a cast of nothing") };
                return self.expression(frame, value);
            }
            "isinstance" => {
                let value = self.expression(frame, first)?;
                let is_so = rest.first().map_or(Some(false), |kind| is_a(&value, kind));
                return Ok(is_so.map_or(Value::Unknown, Value::bool));
            }
            _ => {}
        }
        let given = self.all(frame, &call.positional)?;
        let Some(value) = given.first() else { return Ok(Value::Unknown) };
        match name {
            "getattr" | "hasattr" => {
                let (Value::Object(object), Some(Value::Text(attribute))) = (value, given.get(1)) else {
                    return self.refuse(frame, at, "getattr of what is no object");
                };
                match (self.attribute(*object, attribute)?, name) {
                    (found, "hasattr") => Ok(Value::bool(found.is_some())),
                    (Some(value), _) => Ok(value),
                    (None, _) => self.refuse(frame, at, format!("an object has no attribute {}", quoted(attribute))),
                }
            }
            "int" | "float" | "bool" => self.cast(frame, at, name, value),
            "str" => Ok(match value {
                Value::Text(_) => value.clone(),
                _ => Value::text(&super::lists::shown(value)),
            }),
            "len" => match self.builtin(frame, at, "len", &given, &Vec::new())? {
                Some(value) => Ok(value),
                None => self.refuse(frame, at, "len of what has none"),
            },
            "range" => self.range(frame, at, &given),
            "print" => Ok(Value::None),
            "max" | "min" | "abs" | "sorted" | "sum" => {
                self.torchs(frame, at, &format!("torch.{name}"), given, Vec::new(), None)
            }
            _ => self.refuse(frame, at, format!("a call of {}, which is not known", quoted(name))),
        }
    }

    /// `int(x)`, `float(x)`, `bool(x)`.
    pub(super) fn cast(&mut self, frame: &Frame, at: usize, name: &str, value: &Value) -> Result<Value> {
        if let Value::Text(text) = value {
            let number = match (name, text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
                ("int", Ok(whole), _) => Number::Int(whole),
                ("float", _, Ok(number)) => Number::Float(number),
                _ => return self.refuse(frame, at, format!("{name} of a text")),
            };
            return Ok(Value::Number(number));
        }
        let Some(number) = self.number_of(value)? else {
            return match value {
                Value::Unknown => Ok(Value::Unknown),
                Value::Tensor(_) if self.lenient => Ok(Value::Unknown),
                other => self.refuse(frame, at, format!("{name} of {} that is not known", other.kind())),
            };
        };
        let cast = match name {
            "int" => match number {
                Number::Float(float) => super::numbers::rounded(float.trunc()).map(Number::Int),
                other => {
                    Some(Number::Int(other.float() as i64)).filter(|_| matches!(other, Number::Bool(_))).or(Some(other))
                }
            },
            "float" => Some(Number::Float(number.float())),
            _ => Some(Number::Bool(number.holds())),
        };
        match cast {
            Some(number) => Ok(Value::Number(number)),
            None => self.refuse(frame, at, "int of a number that is too large"),
        }
    }

    /// The number of a value: its own, or the only element of a tensor where that is known.
    pub(super) fn number_of(&mut self, value: &Value) -> Result<Option<Number>> {
        let Value::Tensor(tensor) = value else { return Ok(value.number()) };
        if let Some(number) = self.constant(tensor) {
            return Ok(Some(number));
        }
        let found = self.world.number(&self.graph, tensor.id()).map_err(super::machine::refused)?;
        Ok(found.as_ref().and_then(super::builtins::number))
    }

    fn range(&mut self, frame: &Frame, at: usize, given: &[Value]) -> Result<Value> {
        if given.iter().any(|value| matches!(value, Value::Unknown)) {
            return Ok(Value::Unknown);
        }
        let whole: Option<Vec<i64>> = given.iter().map(Value::as_int).collect();
        let (start, stop, step) = match whole.as_deref() {
            Some([stop]) => (0, *stop, 1),
            Some([start, stop]) => (*start, *stop, 1),
            Some([start, stop, step]) if *step != 0 => (*start, *stop, *step),
            _ => return self.refuse(frame, at, "a range of what is no whole number"),
        };
        let mut values = Vec::new();
        let mut next = start;
        while (step > 0 && next < stop) || (step < 0 && next > stop) {
            if values.len() >= MOST_ROUNDS {
                return self.refuse(frame, at, format!("a loop of more than {MOST_ROUNDS} rounds"));
            }
            values.push(Value::int(next));
            match next.checked_add(step) {
                Some(after) => next = after,
                None => break,
            }
        }
        Ok(Value::list(values))
    }
}

/// Rounds of one loop.
const MOST_ROUNDS: usize = 1_000_000;

/// Whether a value is of a type; `None` where that is not known.
fn is_a(value: &Value, kind: &Expression) -> Option<bool> {
    if let Value::Member(member) = value {
        return Some(kind.dotted().is_some_and(|class| class == member.class));
    }
    let named = |name: &str| match (name, value) {
        (_, Value::Unknown) => None,
        ("Tensor", Value::Tensor(_) | Value::Scalar(_)) => Some(true),
        ("int", Value::Number(Number::Int(_)))
        | ("float", Value::Number(Number::Float(_)))
        | ("bool", Value::Number(Number::Bool(_)))
        | ("str", Value::Text(_))
        | ("NoneType", Value::None)
        | ("Device", Value::Device) => Some(true),
        ("number", Value::Number(_)) => Some(true),
        _ => Some(false),
    };
    match &kind.form {
        Form::Name(name) => named(name),
        Form::None => Some(matches!(value, Value::None)),
        Form::List(kinds) | Form::Tuple(kinds) => {
            let all: Vec<Option<bool>> = kinds.iter().map(|kind| is_a(value, kind)).collect();
            if all.contains(&Some(true)) {
                Some(true)
            } else {
                all.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
            }
        }
        Form::Subscript(outer, inner) => {
            let Form::Name(outer) = &outer.form else { return Some(false) };
            match (outer.as_str(), value) {
                ("Optional", Value::None) => Some(true),
                ("Optional" | "Union", _) => is_a(value, &Expression { at: kind.at, form: Form::Tuple(inner.clone()) }),
                ("List", Value::List(items)) => {
                    let items = items.borrow();
                    match (items.first(), inner.first()) {
                        (Some(first), Some(kind)) => is_a(first, kind),
                        _ => Some(true),
                    }
                }
                ("List", Value::Several(_)) | ("Dict", Value::Dict(_)) | ("Tuple", Value::Tuple(..)) => Some(true),
                _ => Some(false),
            }
        }
        _ => Some(false),
    }
}
