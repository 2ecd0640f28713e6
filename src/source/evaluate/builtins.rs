//! Python's own functions, and methods of its own values.

use std::rc::Rc;

use tree_sitter::Node;

use super::{Arguments, Callee, Evaluator, Value, children, each};

/// Numbers of a `range` that are told apart.
const RANGE: i64 = 256;

impl<'t> Evaluator<'t, '_> {
    /// What a function of Python gives; anything of what is not known.
    pub(super) fn built_in(&mut self, callee: &Callee<'t>, arguments: &Arguments) -> Value {
        match callee {
            Callee::Name(name) if !arguments.more => self.function(self.module.slice(*name), arguments),
            Callee::Method { object, value, name, .. } => {
                let (value, changed) = method(value, name, arguments);
                if let Some(changed) = changed.filter(|_| object.kind() == "identifier") {
                    self.environment.bind(self.module.slice(*object), changed);
                }
                value
            }
            _ => Value::Unknown,
        }
    }

    fn function(&mut self, name: &str, arguments: &Arguments) -> Value {
        let positional = arguments.positional.as_slice();
        match (name, positional) {
            ("len", [value]) => match value {
                Value::Sequence(elements) => Value::Int(elements.len() as i64),
                Value::Mapping(fields) => Value::Int(fields.len() as i64),
                Value::Text(text) => Value::Int(text.chars().count() as i64),
                _ => Value::Object,
            },
            ("bool", [value]) => value.truth().map_or(Value::Object, Value::Bool),
            ("int", [value]) => match value.number().filter(|number| number.abs() < 1e15) {
                Some(number) => Value::Int(number as i64),
                None => Value::Object,
            },
            ("float", [value]) => value.number().map_or(Value::Object, Value::Float),
            ("abs", [Value::Int(value)]) => value.checked_abs().map_or(Value::Object, Value::Int),
            ("abs", [Value::Float(value)]) => Value::Float(value.abs()),
            ("min" | "max", [_, _, ..]) => extreme(name, positional),
            ("any" | "all", [Value::Sequence(elements)]) => {
                let truths: Vec<Option<bool>> = elements.iter().map(Value::truth).collect();
                let stops = name == "any";
                match () {
                    () if truths.contains(&Some(stops)) => Value::Bool(stops),
                    () if truths.contains(&None) => Value::Object,
                    () => Value::Bool(!stops),
                }
            }
            ("hasattr", [Value::None, Value::Text(_)]) => Value::Bool(false),
            ("tuple" | "list" | "sorted" | "reversed" | "iter" | "set", [value]) => match (name, value) {
                ("tuple", Value::Sequence(_)) => value.clone(),
                (_, value) => each(self.turn_of(value)),
            },
            ("tuple", []) => Value::sequence(Vec::new()),
            ("enumerate", [value, ..]) => each(Value::sequence(vec![Value::Object, self.turn_of(value)])),
            ("zip", values) => each(Value::sequence(values.iter().map(|value| self.turn_of(value)).collect())),
            ("range", [end]) => range(0, end.whole()),
            ("range", [Value::Int(start), end]) => range(*start, end.whole()),
            ("range", _) => each(Value::Object),
            ("dict", []) => Value::Mapping(Rc::new(arguments.named.iter().cloned().collect())),
            ("str" | "repr" | "type" | "id" | "print" | "slice" | "super" | "sum" | "round" | "dict", _) => {
                Value::Object
            }
            _ => Value::Unknown,
        }
    }

    fn turn_of(&mut self, value: &Value) -> Value {
        match value {
            Value::Modules(_) => self.environment.element(value, &Value::Unknown),
            other => other.element().unwrap_or(Value::Unknown),
        }
    }

    /// Whether a value is an instance of a class or of one of several, where that is known.
    pub(super) fn is_instance(&self, value: &Value, class: Node<'t>, depth: usize) -> Option<bool> {
        if class.kind() == "tuple" && depth == 0 {
            let each: Vec<Option<bool>> =
                children(class).into_iter().map(|class| self.is_instance(value, class, depth + 1)).collect();
            // A sequence of a file is a tuple or a list.
            let both =
                ["tuple", "list"].iter().all(|name| children(class).iter().any(|it| self.module.slice(*it) == *name));
            return match (each.contains(&Some(true)), each.contains(&None), value) {
                (_, _, Value::Sequence(_)) if both => Some(true),
                (true, ..) => Some(true),
                (false, true, _) => None,
                (false, false, _) => Some(false),
            };
        }
        let name = self.module.slice(class);
        let plain = ["int", "float", "bool", "str", "dict", "tuple", "list"].contains(&name);
        let tensor = name.ends_with("Tensor") || name.ends_with(".Module");
        match value {
            Value::None if plain || tensor => Some(false),
            Value::Bool(_) if plain => Some(matches!(name, "bool" | "int")),
            Value::Int(_) if plain => Some(name == "int"),
            Value::Float(_) if plain => Some(name == "float"),
            Value::Text(_) if plain => Some(name == "str"),
            Value::Mapping(_) if plain => Some(name == "dict"),
            Value::Sequence(_) if plain && !matches!(name, "tuple" | "list") => Some(false),
            Value::Modules(_) if name.ends_with(".Module") => Some(true),
            Value::Modules(_) if plain || tensor => Some(false),
            Value::Tensor(_) if plain => Some(false),
            Value::Tensor(_) if name.ends_with("Tensor") => Some(true),
            Value::Each(_) | Value::Fresh if tensor => Some(false),
            Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Mapping(_)
            | Value::Sequence(_)
                if tensor =>
            {
                Some(false)
            }
            _ => None,
        }
    }
}

fn extreme(name: &str, values: &[Value]) -> Value {
    let numbers: Option<Vec<f64>> = values.iter().map(Value::number).collect();
    let Some(numbers) = numbers else { return Value::Object };
    let better = |a: f64, b: f64| if name == "min" { a < b } else { a > b };
    let mut best = 0;
    for (at, number) in numbers.iter().enumerate() {
        if numbers.get(best).is_some_and(|known| better(*number, *known)) {
            best = at;
        }
    }
    values.get(best).cloned().unwrap_or(Value::Object)
}

fn range(start: i64, end: Option<i64>) -> Value {
    match end.and_then(|end| Some((end, end.checked_sub(start)?))) {
        Some((end, count)) if count <= RANGE => Value::sequence((start..end).map(Value::Int).collect()),
        _ => each(Value::Object),
    }
}

/// What a method of a value gives, and what it leaves of the value where it changes it.
fn method(value: &Value, name: &str, arguments: &Arguments) -> (Value, Option<Value>) {
    let argument = |at: usize| arguments.positional.get(at).cloned();
    match (value, name) {
        (Value::Mapping(fields), "get" | "pop") => {
            let Some(Value::Text(key)) = argument(0).filter(|_| !arguments.more) else {
                return (Value::Unknown, Some(Value::Object));
            };
            let found = fields.get(&*key).cloned();
            let left = (name == "pop").then(|| {
                let mut fields = (**fields).clone();
                fields.remove(&*key);
                Value::Mapping(Rc::new(fields))
            });
            (found.or_else(|| argument(1)).unwrap_or(Value::None), left)
        }
        (Value::Mapping(fields), "keys") => {
            (Value::sequence(fields.keys().map(|name| Value::text(name)).collect()), None)
        }
        (Value::Mapping(fields), "values") => (Value::sequence(fields.values().cloned().collect()), None),
        (Value::Mapping(fields), "items") => {
            let pair = |(name, value): (&String, &Value)| Value::sequence(vec![Value::text(name), value.clone()]);
            (Value::sequence(fields.iter().map(pair).collect()), None)
        }
        (Value::Mapping(_), "copy") => (value.clone(), None),
        (Value::Mapping(_), _) => (Value::Unknown, Some(Value::Object)),
        (Value::Fresh, "append") if !arguments.more => (Value::None, argument(0).map(each)),
        (Value::Fresh, "insert" | "extend" | "append") => (Value::None, Some(Value::Object)),
        (Value::Each(element), _) if element.layout().is_some() => match (name, argument(0)) {
            ("append", Some(added)) => (Value::None, Some(each((**element).clone().or(added)))),
            ("insert" | "extend" | "append", _) => (Value::None, Some(Value::Object)),
            ("pop", _) => ((**element).clone(), None),
            _ => (Value::Unknown, None),
        },
        (Value::Text(text), "startswith" | "endswith") => match argument(0) {
            Some(Value::Text(part)) if name == "startswith" => (Value::Bool(text.starts_with(&*part)), None),
            Some(Value::Text(part)) => (Value::Bool(text.ends_with(&*part)), None),
            _ => (Value::Object, None),
        },
        (Value::Text(text), "lower") => (Value::text(&text.to_lowercase()), None),
        (Value::Text(_), _) => (Value::Object, None),
        _ => (Value::Unknown, None),
    }
}
