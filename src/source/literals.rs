//! Values that source writes out: literals, names of constants, simple arithmetic. Anything else is not known.

use std::collections::HashMap;

use serde_json::{Number, Value};
use tree_sitter::Node;

use super::python::Module;

/// How deep expressions are followed.
const DEPTH: usize = 32;
/// Elements of a tuple or list that are kept.
const ELEMENTS: usize = 256;
/// Values in a list together with those in its lists, and how deep they are nested: `a = [b, b]` line after line would double
/// them each time.
const WEIGHT: usize = 4_096;
const NESTED: usize = 32;
/// Steps to copy one value.
const COPY: usize = 2;

/// Values by name as written (`width`, `self.width`); `None` for a name whose value is not known.
pub(super) type Values = HashMap<String, Option<Value>>;

/// What names mean in one place: the first that knows a name is asked.
pub(super) struct Scope<'a> {
    pub module: &'a Module,
    pub values: Vec<&'a Values>,
}

impl Scope<'_> {
    /// The value of an expression; tuples are arrays, None is null.
    pub(super) fn value(&self, node: Node<'_>) -> Option<Value> {
        self.at(node, 0)
    }

    fn at(&self, node: Node<'_>, depth: usize) -> Option<Value> {
        if depth > DEPTH || !self.module.budget().burn(1) {
            return None;
        }
        let text = self.module.slice(node);
        let field = |name: &str| self.at(node.child_by_field_name(name)?, depth + 1);
        match node.kind() {
            "integer" => text.replace('_', "").parse::<i64>().ok().map(Value::from),
            "float" => float(text.replace('_', "").parse().ok()?),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "none" => Some(Value::Null),
            "string" => plain_string(self.module, node).map(Value::from),
            "parenthesized_expression" => self.at(node.named_child(0)?, depth + 1),
            "tuple" | "list" => {
                let mut cursor = node.walk();
                let elements = node.named_children(&mut cursor).filter(|child| !child.is_extra()).take(ELEMENTS + 1);
                let elements: Option<Vec<Value>> = elements.map(|element| self.at(element, depth + 1)).collect();
                elements.filter(|elements| elements.len() <= ELEMENTS).map(Value::Array).filter(is_bearable)
            }
            "identifier" | "attribute" => match self.values.iter().find_map(|values| values.get(text)) {
                Some(known) => self.copy(known.as_ref()?),
                // `config.hidden_size`
                None => {
                    let name = self.module.slice(node.child_by_field_name("attribute")?);
                    let object = node.child_by_field_name("object")?;
                    match self.known(object) {
                        // `config.hidden_size`: the whole configuration is not copied for it.
                        Some(known) => self.copy(known?.get(name)?),
                        None => self.at(object, depth + 1)?.get(name).cloned(),
                    }
                }
            },
            "call" => self.looked_up(node, depth),
            "not_operator" => Some(Value::Bool(!truth(&field("argument")?)?)),
            "boolean_operator" => {
                let left = field("left")?;
                let or = self.module.slice(node.child_by_field_name("operator")?) == "or";
                if truth(&left)? == or { Some(left) } else { field("right") }
            }
            "comparison_operator" if node.named_child_count() == 2 => {
                let operator = self.module.slice(node.child_by_field_name("operators")?);
                compare(
                    operator,
                    &self.at(node.named_child(0)?, depth + 1)?,
                    &self.at(node.named_child(1)?, depth + 1)?,
                )
            }
            "conditional_expression" => {
                let holds = truth(&self.at(node.named_child(1)?, depth + 1)?)?;
                self.at(node.named_child(if holds { 0 } else { 2 })?, depth + 1)
            }
            "unary_operator" if text.starts_with('-') => arithmetic("-", &Value::from(0), &field("argument")?),
            "binary_operator" => {
                let operator = self.module.slice(node.child_by_field_name("operator")?);
                arithmetic(operator, &field("left")?, &field("right")?)
            }
            _ => None,
        }
    }
}

impl Scope<'_> {
    /// What is known of a name, if anything is.
    fn known(&self, node: Node<'_>) -> Option<Option<&Value>> {
        let named = matches!(node.kind(), "identifier" | "attribute");
        let text = self.module.slice(node);
        let known = self.values.iter().filter(|_| named).find_map(|values| values.get(text))?;
        Some(known.as_ref())
    }

    fn copy(&self, value: &Value) -> Option<Value> {
        self.module.budget().burn(COPY * weight(value)).then(|| value.clone())
    }

    /// `getattr(config, "name", default)`, `config.get("name", default)`, `int(…)`
    fn looked_up(&self, call: Node<'_>, depth: usize) -> Option<Value> {
        let (function, list) = (call.child_by_field_name("function")?, call.child_by_field_name("arguments")?);
        let argument = |at: u32| list.named_child(at).map(|argument| self.at(argument, depth + 1));
        match self.module.slice(function) {
            "getattr" => {
                let name = plain_string(self.module, list.named_child(1)?)?;
                argument(0)??.get(name).cloned().or_else(|| argument(2)?)
            }
            "copy.deepcopy" | "copy.copy" | "deepcopy" | "bool" if list.named_child_count() == 1 => argument(0)?,
            "int" if list.named_child_count() == 1 => {
                let value = argument(0)??;
                value
                    .as_i64()
                    .or_else(|| value.as_f64().filter(|it| it.abs() < 1e15).map(|it| it as i64))
                    .map(Value::from)
            }
            _ => None,
        }
    }
}

/// Python's truth of a value; of an object nothing is said.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(value) => Some(*value),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => Some(!text.is_empty()),
        Value::Array(elements) => Some(!elements.is_empty()),
        Value::Object(_) => None,
    }
}

/// How many values there are in one, itself included.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(weight).sum::<usize>(),
        _ => 1,
    }
}

/// Whether a value is not too much to be kept in another.
pub(super) fn is_bearable(value: &Value) -> bool {
    fn fits(value: &Value, depth: usize, left: &mut usize) -> bool {
        *left = left.saturating_sub(1);
        *left > 0
            && depth < NESTED
            && match value {
                Value::Array(elements) => elements.iter().all(|element| fits(element, depth + 1, left)),
                Value::Object(fields) => fields.values().all(|field| fits(field, depth + 1, left)),
                _ => true,
            }
    }
    fits(value, 0, &mut WEIGHT.clone())
}

fn compare(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    let numbers = left.as_f64().zip(right.as_f64());
    let same = numbers.map_or_else(|| left == right, |(a, b)| a == b);
    let answer = match (operator, numbers) {
        ("==" | "is", _) => same,
        ("!=" | "is not", _) => !same,
        ("in", _) => right.as_array()?.contains(left),
        ("not in", _) => !right.as_array()?.contains(left),
        ("<", Some((a, b))) => a < b,
        ("<=", Some((a, b))) => a <= b,
        (">", Some((a, b))) => a > b,
        (">=", Some((a, b))) => a >= b,
        _ => return None,
    };
    Some(Value::Bool(answer))
}

/// The text of a string without escapes, prefixes and braces.
pub(super) fn plain_string<'t>(module: &'t Module, node: Node<'t>) -> Option<&'t str> {
    let text = module.slice(node);
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains(['\\', quote, '\n'])).then_some(inner)
}

fn float(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

/// Python's arithmetic on two numbers; `None` where it is not on plain numbers or leaves their range.
fn arithmetic(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    if let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) {
        return match operator {
            "/" if b != 0 => float(a as f64 / b as f64),
            _ => whole(operator, a, b).map(Value::from),
        };
    }
    let (a, b) = (left.as_f64()?, right.as_f64()?);
    match operator {
        "+" => float(a + b),
        "-" => float(a - b),
        "*" => float(a * b),
        "/" if b != 0.0 => float(a / b),
        _ => None,
    }
}

/// Python's arithmetic on two whole numbers that gives a whole one; `None` where it leaves their range, and of other operators.
pub(super) fn whole(operator: &str, a: i64, b: i64) -> Option<i64> {
    match operator {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "//" => floor_divide(a, b),
        "%" => a.checked_sub(floor_divide(a, b)?.checked_mul(b)?),
        "**" => a.checked_pow(u32::try_from(b).ok()?),
        _ => None,
    }
}

fn floor_divide(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    let exact = quotient.checked_mul(b)? == a;
    if exact || (a < 0) == (b < 0) { Some(quotient) } else { quotient.checked_sub(1) }
}

/// The constants that a body assigns, a file's or a class's: names that are assigned once, and there.
pub(super) fn constants(module: &Module, body: Node<'_>, known: &[&Values]) -> Values {
    let mut values = Values::new();
    let mut cursor = body.walk();
    for statement in body.named_children(&mut cursor) {
        let assignment = statement.named_child(0).filter(|child| child.kind() == "assignment");
        let sides = assignment.and_then(|it| Some((it.child_by_field_name("left")?, it.child_by_field_name("right")?)));
        match sides {
            Some((left, right)) if left.kind() == "identifier" => {
                let name = module.slice(left).to_owned();
                let mut scopes = vec![&values];
                scopes.extend(known);
                let value = Scope { module, values: scopes }.value(right).filter(|_| !values.contains_key(&name));
                values.insert(name, value);
            }
            _ => forget(module, statement, &mut values),
        }
    }
    values
}

/// Make every name that a statement assigns one whose value is not known.
pub(super) fn forget(module: &Module, statement: Node<'_>, values: &mut Values) {
    module.preorder(statement, |node, _| {
        if let Some(targets) = targets(node) {
            module.preorder(targets, |target, _| {
                let name = matches!(target.kind(), "identifier" | "attribute");
                if name {
                    values.insert(module.slice(target).to_owned(), None);
                }
                !name
            });
        }
        !matches!(node.kind(), "function_definition" | "class_definition" | "lambda")
    });
}

/// What a node assigns to.
pub(super) fn targets(node: Node<'_>) -> Option<Node<'_>> {
    match node.kind() {
        "assignment" | "augmented_assignment" | "for_statement" => node.child_by_field_name("left"),
        "named_expression" => node.child_by_field_name("name"),
        "as_pattern" => node.child_by_field_name("alias"),
        "delete_statement" => node.named_child(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Values {
        let module = Module::parse(text.into()).unwrap();
        constants(&module, module.root(), &[])
    }

    #[test]
    fn literals_and_arithmetic_are_read_as_python_does() {
        let values = read(
            "a = 3\nb = a * 4 - 1\nc = (a, 0.5, 'same', None, True)\nd = -7 // 2\ne = -7 % 3\nf = 7 / 2\ng = 2 ** 10\nh = 1_000\ni = -0.5 * a",
        );
        let expected = [
            ("b", json!(11)),
            ("c", json!([3, 0.5, "same", null, true])),
            ("d", json!(-4)),
            ("e", json!(2)),
            ("f", json!(3.5)),
            ("g", json!(1024)),
            ("h", json!(1000)),
            ("i", json!(-1.5)),
        ];
        for (name, value) in expected {
            assert_eq!(values[name], Some(value), "{name}");
        }
    }

    #[test]
    fn the_rest_is_not_known() {
        let values = read(
            "a = 1\na = 2\nb = 1\nif x:\n    b = 2\nc = f(3)\nd = 1 // 0\ne = 9999999999 ** 9\nf = gone\ng = f'{a}'\nh = 0x10\nj = 1\nj += 1\nk = 1\nfor k in x: pass\nl = 1e999\nm = True + 'a'\nn = -9223372036854775807 - 1\no = n // -1",
        );
        for name in "abcdefgjklmo".chars().map(String::from).chain(["h".to_owned()]) {
            assert_eq!(values[&name], None, "{name}");
        }
    }
}
