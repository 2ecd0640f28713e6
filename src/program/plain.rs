//! What is worked out before a program runs: numbers, shapes and lists, conditions on them, and which branch is taken.
//!
//! A row of an op has one text for all its calls; the arguments and shapes of a call decide what of it becomes steps.

use serde_json::{Value, json};
use tree_sitter::Node;

use super::{Argument, Lower, Lowered, children, fold};
use t2m_checkpoint::Dtype;
use t2m_engine::program::Operand;

/// Longest list that a range or a comprehension makes: axes, or positions along one.
const LONGEST: usize = 1 << 16;

/// Functions that a text may call besides the library's: Python's own on what is known beforehand, and those of `helpers.rs`.
const FUNCTIONS: [&str; 47] = [
    "len",
    "list",
    "tuple",
    "reversed",
    "range",
    "sum",
    "prod",
    "max",
    "min",
    "abs",
    "int",
    "float",
    "sqrt",
    "ceil",
    "floor",
    "isinstance_int",
    "is_list",
    "any",
    "all",
    "zip",
    "enumerate",
    "refuse",
    "is_float",
    "is_bool",
    "is_infinite",
    "broadcast",
    "array",
    "given",
    "cut",
    "cropped",
    "rolled",
    "padded",
    "windows",
    "averaged",
    "resized",
    "positive",
    "chained",
    "differences",
    "flatnonzero",
    "numbered",
    "lgamma",
    "digamma",
    "polygamma",
    "permutation",
    "largest",
    "sampled",
    "recurrent",
];

/// What a name of the text stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// A plain value.
    Plain(Value),
    /// An infinity.
    Infinite(f64),
    /// An array of this type and shape.
    Array {
        /// Element type.
        dtype: Dtype,
        /// Sizes.
        shape: Vec<usize>,
    },
    /// Several arrays.
    Arrays(Vec<(Dtype, Vec<usize>)>),
}

/// Type and shape of an input.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// An element type's name in `mlx.core`.
pub fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Bool => "bool_",
        other => other.name(),
    }
}

impl<'t> Lower<'t> {
    /// Let a name stand for something; returns the program's inputs for it.
    pub(super) fn bind_known(&mut self, name: &str, known: &Known) -> Vec<String> {
        match known {
            Known::Plain(value) => {
                self.names.insert(name.to_owned(), Argument::Plain(value.clone()));
                Vec::new()
            }
            Known::Infinite(number) => {
                self.names.insert(name.to_owned(), Argument::Infinite(*number));
                Vec::new()
            }
            Known::Array { dtype, shape } => {
                self.names.insert(name.to_owned(), Argument::Array(Operand::Name(name.to_owned())));
                self.forms.insert(name.to_owned(), Form { dtype: *dtype, shape: shape.clone() });
                vec![name.to_owned()]
            }
            Known::Arrays(forms) => {
                let names: Vec<String> = (0..forms.len()).map(|at| format!("{name}_{at}")).collect();
                for (name, (dtype, shape)) in names.iter().zip(forms) {
                    self.forms.insert(name.clone(), Form { dtype: *dtype, shape: shape.clone() });
                }
                let list = names.iter().cloned().map(Operand::Name).collect();
                self.names.insert(name.to_owned(), Argument::Array(Operand::List(list)));
                names
            }
        }
    }

    fn plain(&mut self, node: Node<'t>) -> Lowered<Value> {
        match self.expression(node)? {
            Argument::Plain(value) => Ok(value),
            Argument::Dtype(name) => Ok(name.into()),
            _ => Err(self.error(node, "a value that is known beforehand is expected")),
        }
    }

    fn items(&mut self, node: Node<'t>) -> Lowered<Vec<Value>> {
        match self.plain(node)? {
            Value::Array(items) => Ok(items),
            _ => Err(self.error(node, "a list is expected")),
        }
    }

    /// `a if condition else b`: one branch becomes steps.
    pub(super) fn conditional(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let parts: Vec<Node<'_>> = children(node).collect();
        let [yes, condition, no] = parts.as_slice() else { return Err(self.error(node, "it has three parts")) };
        let holds = truth(&self.plain(*condition)?);
        self.expression(if holds { *yes } else { *no })
    }

    /// `a and b`, `a or b`, as Python gives them.
    pub(super) fn both_or_either(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let (left, right) = (self.field(node, "left")?, self.field(node, "right")?);
        let is_and = self.slice(self.field(node, "operator")?) == "and";
        let first = self.expression(left)?;
        let Argument::Plain(value) = &first else { return Err(self.error(left, "a plain value is expected")) };
        if truth(value) == is_and { self.expression(right) } else { Ok(first) }
    }

    pub(super) fn not(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let argument = self.field(node, "argument")?;
        let holds = truth(&self.plain(argument)?);
        Ok(Argument::Plain((!holds).into()))
    }

    /// A comparison of what is known beforehand; `None` where arrays are compared, which is a step.
    pub(super) fn compared(&mut self, node: Node<'t>) -> Lowered<Option<Argument>> {
        let sides: Vec<Node<'_>> = children(node).collect();
        let operator = self.slice(self.field(node, "operators")?);
        let [left, right] = sides.as_slice() else { return Err(self.error(node, "two sides are expected")) };
        let told = |holds: bool| Ok(Some(Argument::Plain(holds.into())));
        match operator {
            "is" | "is not" => {
                let is_none = matches!(self.expression(*left)?, Argument::Plain(Value::Null));
                if right.kind() != "none" {
                    return Err(self.error(*right, "only None is compared so"));
                }
                told(is_none == (operator == "is"))
            }
            "in" | "not in" => {
                let (item, items) = (self.plain(*left)?, self.items(*right)?);
                let found = items.iter().any(|other| equal(&item, other));
                told(found == (operator == "in"))
            }
            _ => {
                let before = self.program.steps.len();
                let (a, b) = (self.expression(*left)?, self.expression(*right)?);
                let (Argument::Plain(a), Argument::Plain(b)) = (&a, &b) else {
                    self.program.steps.truncate(before);
                    return Ok(None);
                };
                let holds = match (operator, a.as_f64(), b.as_f64()) {
                    ("==", ..) => equal(a, b),
                    ("!=", ..) => !equal(a, b),
                    ("<", Some(a), Some(b)) => a < b,
                    ("<=", Some(a), Some(b)) => a <= b,
                    (">", Some(a), Some(b)) => a > b,
                    (">=", Some(a), Some(b)) => a >= b,
                    _ => return Err(self.error(node, "these values are not compared")),
                };
                told(holds)
            }
        }
    }

    /// `x.shape`, `x.ndim`, `x.size`, `x.dtype` of an input.
    pub(super) fn form(&self, object: Node<'t>, name: &str) -> Option<Argument> {
        let Some(Argument::Array(Operand::Name(array))) = self.names.get(self.slice(object)) else { return None };
        let form = self.forms.get(array)?;
        Some(match name {
            "shape" => Argument::Plain(json!(form.shape)),
            "ndim" => Argument::Plain(form.shape.len().into()),
            "size" => Argument::Plain(form.shape.iter().product::<usize>().into()),
            "dtype" => Argument::Plain(dtype_name(form.dtype).into()),
            _ => return None,
        })
    }

    /// The elements of a list that is known beforehand: `shape[0]`, `shape[1:]`, `shape[dim]`; and one of several arrays.
    pub(super) fn element(&mut self, node: Node<'t>) -> Lowered<Option<Argument>> {
        let value = self.field(node, "value")?;
        let before = self.program.steps.len();
        let whole = self.expression(value)?;
        let places: Vec<Node<'_>> = node.children_by_field_name("subscript", &mut node.walk()).collect();
        let [place] = places.as_slice() else {
            self.program.steps.truncate(before);
            return Ok(None);
        };
        let length = match &whole {
            Argument::Plain(Value::Array(items)) => items.len(),
            Argument::Array(Operand::List(items)) => items.len(),
            _ => {
                self.program.steps.truncate(before);
                return Ok(None);
            }
        };
        let range = if place.kind() == "slice" {
            self.range_of(*place, length)?
        } else {
            let at = self.plain(*place)?.as_i64().ok_or_else(|| self.error(*place, "a whole number is expected"))?;
            let at = usize::try_from(if at < 0 { at + length as i64 } else { at }).unwrap_or(usize::MAX);
            let found = match whole {
                Argument::Plain(Value::Array(items)) => items.get(at).cloned().map(Argument::Plain),
                Argument::Array(Operand::List(items)) => items.get(at).cloned().map(Argument::Array),
                _ => None,
            };
            return found.map(Some).ok_or_else(|| self.error(node, "there is no such element"));
        };
        Ok(Some(match whole {
            Argument::Plain(Value::Array(items)) => {
                Argument::Plain(items.get(range).unwrap_or_default().to_vec().into())
            }
            Argument::Array(Operand::List(items)) => {
                Argument::Array(Operand::List(items.get(range).unwrap_or_default().to_vec()))
            }
            other => other,
        }))
    }

    fn range_of(&mut self, slice: Node<'t>, length: usize) -> Lowered<std::ops::Range<usize>> {
        let [start, stop, step] = self.slice_parts(slice)?;
        if step.is_some_and(|step| step != 1) {
            return Err(self.error(slice, "a list is cut without a step"));
        }
        let resolve = |at: Option<i64>, missing: usize| {
            let at = at.map_or(missing as i64, |at| if at < 0 { at + length as i64 } else { at });
            usize::try_from(at).unwrap_or(0).min(length)
        };
        let (start, stop) = (resolve(start, 0), resolve(stop, length));
        Ok(start..stop.max(start))
    }

    /// Start, stop and stride of `1:-1:2`, as far as they are written.
    pub(super) fn slice_parts(&mut self, slice: Node<'t>) -> Lowered<[Option<i64>; 3]> {
        let mut parts = [None; 3];
        let mut at = 0;
        for index in 0..slice.child_count() {
            let Some(child) = slice.child(index) else { continue };
            if child.kind() == ":" {
                at += 1;
                continue;
            }
            let value = self.plain(child)?;
            if let Some(part) = parts.get_mut(at).filter(|_| !value.is_null()) {
                *part = Some(value.as_i64().ok_or_else(|| self.error(child, "a whole number is expected"))?);
            }
        }
        Ok(parts)
    }

    /// `[f(i, j) for i in range(3) if i != dim for j in range(i)]`
    pub(super) fn comprehension(&mut self, node: Node<'t>) -> Lowered<Argument> {
        let body = self.field(node, "body")?;
        let clauses: Vec<Node<'t>> = children(node).skip(1).collect();
        let outside = self.names.clone();
        let mut results = Vec::new();
        let done = self.clauses(&clauses, body, &mut results);
        self.names = outside;
        done?;
        self.list_of(node, results)
    }

    /// Go through the loops and conditions from here on, and work the body out for each round.
    fn clauses(&mut self, clauses: &[Node<'t>], body: Node<'t>, results: &mut Vec<Argument>) -> Lowered<()> {
        let Some((clause, rest)) = clauses.split_first() else {
            results.push(self.expression(body)?);
            return Ok(());
        };
        if clause.kind() == "if_clause" {
            let test = children(*clause).next().ok_or_else(|| self.error(*clause, "it is empty"))?;
            return if truth(&self.plain(test)?) { self.clauses(rest, body, results) } else { Ok(()) };
        }
        let (left, right) = (self.field(*clause, "left")?, self.field(*clause, "right")?);
        let targets: Vec<String> = match left.kind() {
            "identifier" => vec![self.slice(left).to_owned()],
            _ => children(left).map(|name| self.slice(name).to_owned()).collect(),
        };
        let items: Vec<Argument> = match self.expression(right)? {
            Argument::Plain(Value::Array(items)) => items.into_iter().map(Argument::Plain).collect(),
            Argument::Array(Operand::List(items)) => items.into_iter().map(Argument::Array).collect(),
            _ => return Err(self.error(right, "a list is expected")),
        };
        for item in items {
            match (targets.as_slice(), item) {
                ([target], item) => {
                    self.names.insert(target.clone(), item);
                }
                (targets, Argument::Plain(Value::Array(parts))) if parts.len() == targets.len() => {
                    for (target, part) in targets.iter().zip(parts) {
                        self.names.insert(target.clone(), Argument::Plain(part));
                    }
                }
                _ => return Err(self.error(left, "as many names as values are expected")),
            }
            self.clauses(rest, body, results)?;
        }
        Ok(())
    }

    /// Functions of Python's own on what is known beforehand; `None` for a name that is none.
    pub(super) fn builtin(&mut self, node: Node<'t>) -> Lowered<Option<Argument>> {
        let (function, list) = (self.field(node, "function")?, self.field(node, "arguments")?);
        let name = self.slice(function);
        if function.kind() != "identifier" || self.names.contains_key(name) || !FUNCTIONS.contains(&name) {
            return Ok(None);
        }
        if list.kind() == "generator_expression" {
            let items = self.comprehension(list)?;
            return self.applied(node, name, vec![items]).map(Some);
        }
        let mut given = Vec::new();
        for child in children(list) {
            given.push(self.expression(child)?);
        }
        self.applied(node, name, given).map(Some)
    }

    fn applied(&mut self, node: Node<'t>, name: &str, given: Vec<Argument>) -> Lowered<Argument> {
        if name == "refuse" {
            let reason = match given.as_slice() {
                [Argument::Plain(Value::String(reason))] => reason.clone(),
                _ => "is not converted".to_owned(),
            };
            return Err(super::Error { text: String::new(), reason });
        }
        if let Some(made) = self.helper(node, name, &given)? {
            return Ok(made);
        }
        if let ("len", [Argument::Array(Operand::List(items))]) = (name, given.as_slice()) {
            return Ok(Argument::Plain(items.len().into()));
        }
        let plain = given.into_iter().map(|argument| match argument {
            Argument::Plain(value) => Some(value),
            _ => None,
        });
        let plain = plain.collect::<Option<Vec<Value>>>();
        let plain = plain.ok_or_else(|| self.error(node, "values that are known beforehand are expected"))?;
        applied(name, &plain).map(Argument::Plain).ok_or_else(|| self.error(node, "this is not worked out"))
    }
}

/// Whether Python takes a value for true.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_so) => *is_so,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A function of Python's own.
fn applied(name: &str, given: &[Value]) -> Option<Value> {
    let list = |value: &Value| value.as_array().cloned();
    let integers = |values: &[Value]| values.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
    let folded = |operator: &str, values: &[Value], first: Value| {
        values.iter().try_fold(first, |sum, value| fold(operator, &sum, value))
    };
    let extreme = |values: &[Value], better: fn(f64, f64) -> bool| {
        let mut values = values.iter();
        let first = values.next()?.clone();
        values.try_fold(first, |best, value| {
            Some(if better(value.as_f64()?, best.as_f64()?) { value.clone() } else { best })
        })
    };
    match (name, given) {
        ("len", [Value::Array(items)]) => Some(items.len().into()),
        ("list" | "tuple", [Value::Array(items)]) => Some(items.clone().into()),
        ("reversed", [Value::Array(items)]) => Some(items.iter().rev().cloned().collect::<Vec<_>>().into()),
        ("range", limits) => {
            let limits = integers(limits)?;
            let (start, stop, step) = match limits.as_slice() {
                [stop] => (0, *stop, 1),
                [start, stop] => (*start, *stop, 1),
                [start, stop, step] if *step != 0 => (*start, *stop, *step),
                _ => return None,
            };
            let mut items = Vec::new();
            let mut at = start;
            while (step > 0 && at < stop) || (step < 0 && at > stop) {
                items.push(Value::from(at));
                at = at.checked_add(step)?;
                if items.len() > LONGEST {
                    return None;
                }
            }
            Some(items.into())
        }
        ("sum", [items]) => folded("+", &list(items)?, 0.into()),
        ("prod", [items]) => folded("*", &list(items)?, 1.into()),
        ("max", [Value::Array(items)]) => extreme(items, |a, b| a > b),
        ("min", [Value::Array(items)]) => extreme(items, |a, b| a < b),
        ("max", items) => extreme(items, |a, b| a > b),
        ("min", items) => extreme(items, |a, b| a < b),
        ("abs", [number]) => match number.as_i64() {
            Some(whole) => Some(whole.checked_abs()?.into()),
            None => Some(number.as_f64()?.abs().into()),
        },
        ("int", [number]) => match number {
            Value::Bool(is_so) => Some(i64::from(*is_so).into()),
            number => number.as_i64().or_else(|| Some(number.as_f64()?.trunc() as i64)).map(Value::from),
        },
        ("float", [number]) => number.as_f64().map(Value::from),
        ("sqrt", [number]) => number.as_f64().map(|number| number.sqrt().into()),
        ("ceil", [number]) => number.as_f64().map(|number| (number.ceil() as i64).into()),
        ("floor", [number]) => number.as_f64().map(|number| (number.floor() as i64).into()),
        ("isinstance_int", [number]) => Some(number.is_i64().into()),
        ("is_list", [value]) => Some(value.is_array().into()),
        ("any", [items]) => Some(list(items)?.iter().any(truth).into()),
        ("all", [items]) => Some(list(items)?.iter().all(truth).into()),
        ("zip", [a, b]) => {
            let (a, b) = (list(a)?, list(b)?);
            Some(a.into_iter().zip(b).map(|(a, b)| json!([a, b])).collect::<Vec<_>>().into())
        }
        ("enumerate", [items]) => {
            let items = list(items)?.into_iter().enumerate();
            Some(items.map(|(at, item)| json!([at, item])).collect::<Vec<_>>().into())
        }
        _ => None,
    }
}
