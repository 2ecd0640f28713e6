//! What the parameters of a function stand for when it is called in one way.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use tree_sitter::Node;

use crate::source::evaluate::{Arguments, Environment, Spent, Value, children, evaluate};
use crate::source::python::{Method, Module};

/// Which parameters that are not given have their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    /// All of them.
    All,
    /// Those whose default is not None: of others, somebody may give one.
    Some,
    /// None of them.
    Nothing,
}

/// The names of a function's parameters, where it is called with these arguments. The first of a method is left out.
pub(super) fn bind<'t>(
    module: &'t Module,
    function: Node<'t>,
    method: bool,
    arguments: &Arguments,
    trust: Trust,
) -> HashMap<&'t str, Value> {
    let mut locals = HashMap::new();
    let Some(list) = function.child_by_field_name("parameters") else { return locals };
    let mut positional = arguments.positional.iter().cloned();
    let mut named: BTreeMap<String, Value> = arguments.named.iter().cloned().collect();
    let mut by_place = true;
    for parameter in children(list).into_iter().skip(usize::from(method)) {
        let inner = if parameter.kind() == "typed_parameter" { parameter.named_child(0) } else { Some(parameter) };
        let Some(inner) = inner else { continue };
        match inner.kind() {
            "list_splat_pattern" => {
                let rest: Vec<Value> = positional.by_ref().collect();
                let value =
                    if arguments.more || trust == Trust::Nothing { Value::Object } else { Value::sequence(rest) };
                locals.extend(inner.named_child(0).map(|name| (module.slice(name), value)));
                by_place = false;
            }
            "dictionary_splat_pattern" => {
                let rest = std::mem::take(&mut named);
                let known = !arguments.more && trust != Trust::Nothing;
                let value = if known { Value::Mapping(Rc::new(rest)) } else { Value::Object };
                locals.extend(inner.named_child(0).map(|name| (module.slice(name), value)));
            }
            "keyword_separator" => by_place = false,
            "positional_separator" => {}
            _ => {
                let name = module.slice(parameter.child_by_field_name("name").unwrap_or(inner));
                let given = if by_place { positional.next() } else { None };
                let given = given.or_else(|| named.remove(name));
                let value = given.unwrap_or_else(|| {
                    let default = parameter.child_by_field_name("value").filter(|_| !arguments.more);
                    let value = default.map_or(Value::Unknown, |default| constant(module, default));
                    match trust {
                        Trust::All => value,
                        Trust::Some if value != Value::None => value,
                        Trust::Some | Trust::Nothing => Value::Unknown,
                    }
                });
                locals.insert(name, value);
            }
        }
    }
    locals
}

/// The value of a default.
fn constant<'t>(module: &'t Module, default: Node<'t>) -> Value {
    evaluate(module, default, &mut Constants(module)).unwrap_or(Value::Unknown)
}

/// What the file assigns once.
struct Constants<'t>(&'t Module);

impl<'t> Environment<'t> for Constants<'t> {
    fn name(&mut self, name: Node<'t>) -> Result<Value, Spent> {
        let constants = self.0.constants();
        let known = constants.get(self.0.slice(name)).and_then(Option::as_ref);
        Ok(known.map_or(Value::Unknown, Value::from_json))
    }

    fn is_bound(&self, _name: &str) -> bool {
        false
    }

    fn bind(&mut self, _name: &'t str, _value: Value) {}

    fn attribute(&mut self, _object: &Value, _name: &'t str) -> Result<Value, Spent> {
        Ok(Value::Unknown)
    }

    fn call(
        &mut self,
        _callee: &crate::source::evaluate::Callee<'t>,
        _arguments: &Arguments,
    ) -> Result<Option<Value>, Spent> {
        Ok(None)
    }
}

/// Whether what a method gets is what it is called with: a decorator may hand on something else.
pub(super) fn are_kept<'t>(module: &'t Module, method: &Method<'t>) -> bool {
    decorators(module, method).all(|name| KEEP.iter().any(|known| name == *known || name.starts_with("add_")))
}

/// Whether it is called by being looked at.
pub(super) fn is_property<'t>(module: &'t Module, method: &Method<'t>) -> bool {
    decorators(module, method).any(|name| name.ends_with("property"))
}

/// Whether it has no `self`.
pub(super) fn is_static<'t>(module: &'t Module, method: &Method<'t>) -> bool {
    decorators(module, method).any(|name| matches!(name, "staticmethod" | "classmethod"))
}

/// The last parts of the names of a method's decorators.
fn decorators<'t>(module: &'t Module, method: &Method<'t>) -> impl Iterator<Item = &'t str> {
    method.decorators().into_iter().map(move |node| {
        let text = module.slice(node).trim_start_matches('@').trim();
        let name = text.split('(').next().unwrap_or(text).trim();
        name.rsplit('.').next().unwrap_or(name)
    })
}

/// Decorators that hand on the arguments as they are.
const KEEP: [&str; 20] = [
    "staticmethod",
    "classmethod",
    "property",
    "cached_property",
    "no_grad",
    "inference_mode",
    "enable_grad",
    "ignore",
    "export",
    "unused",
    "jit_ignore",
    "disable",
    "compile",
    "auto_docstring",
    "can_return_tuple",
    "replace_return_docstrings",
    "deprecate_kwarg",
    "dynamic_rope_update",
    "force_fp32",
    "autocast",
];
