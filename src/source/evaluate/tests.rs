#![allow(clippy::unwrap_used)]
use std::collections::HashMap;

use super::*;

/// An environment of values by name, in which nothing can be called but Python's own functions.
struct Known<'t> {
    module: &'t Module,
    values: HashMap<String, Value>,
}

impl<'t> Environment<'t> for Known<'t> {
    fn name(&mut self, name: Node<'t>) -> Result<Value, Spent> {
        Ok(self.values.get(self.module.slice(name)).cloned().unwrap_or(Value::Unknown))
    }

    fn is_bound(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn bind(&mut self, name: &'t str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    fn attribute(&mut self, object: &Value, name: &'t str) -> Result<Value, Spent> {
        Ok(match object {
            Value::Mapping(fields) => fields.get(name).cloned().unwrap_or(Value::Unknown),
            _ => Value::Unknown,
        })
    }

    fn call(&mut self, _callee: &Callee<'t>, _arguments: &Arguments) -> Result<Option<Value>, Spent> {
        Ok(None)
    }
}

/// The value of an expression where these names are known.
fn value(text: &str, known: &[(&str, Value)]) -> Value {
    let module = Module::parse(text.into()).unwrap();
    let statement = module.root().named_child(0).unwrap();
    let expression = statement.named_child(0).unwrap();
    let known = known.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    evaluate(&module, expression, &mut Known { module: &module, values: known.collect() }).unwrap()
}

fn config() -> Value {
    Value::from_json(&serde_json::json!({"width": 8, "act": "gelu", "bias": null, "sizes": [1, 2]}))
}

#[test]
fn expressions_have_the_values_that_python_gives_them() {
    let known = [("config", config()), ("p", Value::Float(0.0)), ("n", Value::Int(7)), ("x", Value::Object)];
    let cases = [
        ("p == 0. or not training", Value::Bool(true)),
        ("p == 0.", Value::Bool(true)),
        ("n // 2 + -n % 4", Value::Int(4)),
        ("n ** 2 / 7", Value::Float(7.0)),
        ("0 < n <= 7", Value::Bool(true)),
        ("0 < n < 7 and unknown", Value::Bool(false)),
        ("unknown and p", Value::Truth(false)),
        ("unknown or n", Value::Truth(true)),
        ("not unknown", Value::Object),
        ("x is None", Value::Bool(false)),
        ("x is not None", Value::Bool(true)),
        ("unknown is None", Value::Object),
        ("config.width * 2", Value::Int(16)),
        ("config.bias is None", Value::Bool(true)),
        ("config['act'] in ['relu', 'gelu']", Value::Bool(true)),
        ("config.act not in ('relu', 'gelu')", Value::Bool(false)),
        ("config.get('gone', 3)", Value::Int(3)),
        ("getattr(config, 'width')", Value::Int(8)),
        ("len(config.sizes)", Value::Int(2)),
        ("config.sizes[-1]", Value::Int(2)),
        ("(1, 2) + config.sizes", Value::from_json(&serde_json::json!([1, 2, 1, 2]))),
        ("'a' if n else 'b'", Value::text("a")),
        ("1 if unknown else 1", Value::Int(1)),
        ("(True) ^ (False)", Value::Bool(true)),
        ("isinstance(n, int)", Value::Bool(true)),
        ("isinstance(n, (str, float))", Value::Bool(false)),
        ("isinstance(config.sizes, (tuple, list))", Value::Bool(true)),
        ("isinstance(config.sizes, tuple)", Value::Object),
        ("isinstance(x, int)", Value::Object),
        ("isinstance(n, torch.Tensor)", Value::Bool(false)),
        ("max(n, 3)", Value::Int(7)),
        ("any((False, n))", Value::Bool(true)),
        ("int(2.5)", Value::Int(2)),
        ("bool('')", Value::Bool(false)),
        ("'abc'.startswith('ab')", Value::Bool(true)),
        ("(m := n) and m == 7", Value::Bool(true)),
        ("gone", Value::Unknown),
        ("gone.width", Value::Unknown),
        ("f(n)", Value::Unknown),
        ("n // 0", Value::Object),
        ("[1, 2]", Value::Object),
    ];
    for (text, expected) in cases {
        assert_eq!(value(text, &known), expected, "{text}");
    }
}

#[test]
fn names_of_a_comprehension_are_its_own() {
    let known = [("n", Value::None)];
    assert_eq!(value("([n for n in range(3)], n)[1]", &known), Value::None);
    assert_eq!(value("(any(n for n in (0, 1)), n)[1]", &known), Value::None);
}

#[test]
fn what_is_too_deep_is_given_up() {
    let text = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    let module = Module::parse(text.as_str().into()).unwrap();
    let expression = module.root().named_child(0).unwrap().named_child(0).unwrap();
    assert_eq!(evaluate(&module, expression, &mut Known { module: &module, values: HashMap::new() }), Err(Spent));
}

#[test]
fn a_condition_tells_of_its_names() {
    let told = |text: &str, holds: bool| {
        let module = Module::parse(text.into()).unwrap();
        let condition = module.root().named_child(0).unwrap().named_child(0).unwrap();
        let mut told: Vec<String> =
            implied(&module, condition, holds).iter().map(|(name, value)| format!("{name} {value:?}")).collect();
        told.sort();
        told
    };
    assert_eq!(told("x is None", true), ["x None"]);
    assert_eq!(told("x is None", false), ["x Object"]);
    assert_eq!(told("not (x is None or y is not None)", true), ["x Object", "y None"]);
    assert_eq!(told("x is None or y is None", true), Vec::<String>::new());
    assert_eq!(told("x is None and n > 3", true), ["x None"]);
}
