//! What a constructor or a function is called with.

use std::collections::HashMap;

use serde_json::Value;
use tree_sitter::Node;

use super::builder::Reader;
use crate::source::literals::{Scope, Values};
use crate::source::python::Module;

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub positional: Vec<Option<Value>>,
    named: HashMap<String, Option<Value>>,
    /// Parameters that are not given have their defaults; otherwise nothing is known of them.
    defaults: bool,
    /// Nothing was handed on as `*args` or `**kwargs`: what is not given is left to its default.
    complete: bool,
}

/// What `*args` and `**kwargs` of a function stand for, where it only hands them on.
#[derive(Debug, Default)]
pub(super) struct Rest {
    positional: Option<(String, Vec<Option<Value>>)>,
    named: Option<(String, HashMap<String, Option<Value>>)>,
}

impl Arguments {
    /// Those that are known by name; parameters that are not given have their defaults, or else are not known.
    pub(super) fn named(named: HashMap<String, Option<Value>>, defaults: bool) -> Arguments {
        Arguments { positional: Vec::new(), named, defaults, complete: true }
    }

    pub(super) fn read(reader: &Reader<'_>, values: &Values, call: Node<'_>) -> Arguments {
        let (scope, rest) = (reader.scope(values), &reader.rest);
        let mut arguments = Arguments { complete: true, defaults: true, ..Arguments::default() };
        let Some(list) = call.child_by_field_name("arguments") else { return arguments };
        for argument in list.named_children(&mut list.walk()).filter(|child| !child.is_extra()) {
            let splat = argument.named_child(0).map_or("", |name| scope.module.slice(name));
            match argument.kind() {
                "keyword_argument" => {
                    let (name, value) = (argument.child_by_field_name("name"), argument.child_by_field_name("value"));
                    if let (Some(name), Some(value)) = (name, value) {
                        arguments.named.insert(scope.module.slice(name).to_owned(), scope.value(value));
                    }
                }
                "list_splat" => match rest.positional.as_ref().filter(|(name, _)| name == splat) {
                    Some((_, given)) if arguments.complete => arguments.positional.extend(given.iter().cloned()),
                    _ => arguments.complete = false,
                },
                "dictionary_splat" => match rest.named.as_ref().filter(|(name, _)| name == splat) {
                    Some((_, given)) => {
                        arguments.named.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
                    }
                    None => arguments.complete = false,
                },
                _ if arguments.complete => arguments.positional.push(scope.value(argument)),
                _ => {}
            }
        }
        arguments
    }

    /// By name, for parameters in this order.
    pub(super) fn by_name(self, parameters: impl Iterator<Item = String>) -> (Values, bool) {
        let mut named = self.named;
        named.extend(parameters.zip(self.positional));
        (named, self.complete)
    }
}

/// The names of a function's parameters in order, `self` left out, and how many of them can be given by place.
pub(super) fn names<'t>(
    module: &'t Module,
    function: Node<'t>,
    method: bool,
) -> Vec<(&'t str, Option<Node<'t>>, Kind)> {
    let Some(list) = function.child_by_field_name("parameters") else { return Vec::new() };
    let mut cursor = list.walk();
    let parameters = list.named_children(&mut cursor).filter(|child| !child.is_extra()).skip(usize::from(method));
    let mut by_place = true;
    let mut names = Vec::new();
    for parameter in parameters {
        // `*args: int`
        let inner = parameter.named_child(0).filter(|_| parameter.kind() == "typed_parameter").unwrap_or(parameter);
        let kind = match inner.kind() {
            "list_splat_pattern" => Kind::Positional,
            "dictionary_splat_pattern" => Kind::Named,
            "keyword_separator" | "positional_separator" => Kind::Mark,
            _ if by_place => Kind::Plain,
            _ => Kind::KeywordOnly,
        };
        by_place &= !matches!(inner.kind(), "list_splat_pattern" | "keyword_separator");
        let name = parameter.child_by_field_name("name").or_else(|| inner.named_child(0)).unwrap_or(inner);
        names.push((module.slice(name), parameter.child_by_field_name("value"), kind));
    }
    names.retain(|(_, _, kind)| *kind != Kind::Mark);
    names
}

/// How a parameter is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By place or by name.
    Plain,
    KeywordOnly,
    /// `*args`
    Positional,
    /// `**kwargs`
    Named,
    /// `*` and `/`, which are none.
    Mark,
}

/// What the parameters of a function hold when it is called in this way, and what it hands on as `*args` and `**kwargs`.
pub(super) fn parameters(
    module: &Module,
    function: Node<'_>,
    arguments: Arguments,
    outer: [&Values; 2],
    method: bool,
) -> (Values, Rest) {
    let names = names(module, function, method);
    let (known, complete) = (arguments.defaults, arguments.complete);
    let Arguments { positional, named: mut given, .. } = arguments;
    let mut positional = positional.into_iter();
    let scope = Scope { module, values: outer.to_vec() };
    let (mut values, mut rest) = (Values::new(), Rest::default());
    for (name, default, kind) in &names {
        let default = || default.filter(|_| complete && known).and_then(|default| scope.value(default));
        let value = match kind {
            Kind::Plain => positional.next().or_else(|| given.remove(*name)).unwrap_or_else(default),
            Kind::KeywordOnly => given.remove(*name).unwrap_or_else(default),
            Kind::Positional | Kind::Named | Kind::Mark => None,
        };
        values.insert((*name).to_owned(), value);
    }
    // What is changed on the way is not what was given.
    let handed_on = |name: &str| complete && known && is_only_handed_on(module, function, name);
    for (name, _, kind) in names {
        match kind {
            Kind::Positional if handed_on(name) => {
                rest.positional = Some((name.to_owned(), positional.by_ref().collect()))
            }
            Kind::Named if handed_on(name) => rest.named = Some((name.to_owned(), std::mem::take(&mut given))),
            _ => {}
        }
    }
    (values, rest)
}

/// Whether the body mentions a name as `*name` and `**name` alone.
fn is_only_handed_on(module: &Module, function: Node<'_>, name: &str) -> bool {
    let Some(body) = function.child_by_field_name("body") else { return false };
    let (mut only, mut splats) = (true, Vec::new());
    module.preorder(body, |node, _| {
        match node.kind() {
            "list_splat" | "dictionary_splat" => splats.extend(node.named_child(0).map(|inner| inner.id())),
            "identifier" if module.slice(node) == name && !splats.contains(&node.id()) => only = false,
            _ => {}
        }
        only
    });
    only
}
