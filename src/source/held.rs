//! What the methods of a class keep in the attributes of `self`.

use tree_sitter::Node;

use super::names::{Attributes, Held, Names};
use super::python::{Module, preorder};
use super::reach::Lineage;

/// What all methods together say of each attribute.
pub(super) fn attributes(lineage: &Lineage<'_>) -> Attributes {
    let unknown = Attributes::new();
    let mut attributes = Attributes::new();
    for reached in lineage.methods() {
        let (module, function) = (reached.module, reached.method.node);
        for (name, held) in Names::new(module, function, &unknown).attributes() {
            let known = attributes.entry(name).or_insert(held);
            *known = match (*known, held) {
                (a, b) if a == b => a,
                (Held::Array, _) | (_, Held::Array) => Held::Array,
                _ => Held::Unknown,
            };
        }
        let receiver = module.receiver(function).unwrap_or("self");
        let registered = registered(module, function);
        attributes.extend(registered.into_iter().map(|name| (format!("{receiver}.{name}"), Held::Array)));
    }
    attributes
}

/// Names given to `register_buffer` and `register_parameter`.
fn registered<'t>(module: &'t Module, function: Node<'t>) -> Vec<&'t str> {
    let mut names = Vec::new();
    preorder(function, |node, _| {
        if node.kind() == "call"
            && let Some(called) =
                node.child_by_field_name("function").and_then(|it| it.child_by_field_name("attribute"))
            && matches!(module.slice(called), "register_buffer" | "register_parameter")
            && let Some(name) = node.child_by_field_name("arguments").and_then(|arguments| arguments.named_child(0))
        {
            names.push(module.slice(name).trim_matches(['"', '\'']));
        }
        true
    });
    names
}
