//! What the methods of a class keep in the attributes of `self`.

use std::rc::Rc;

use tree_sitter::Node;

use super::bindings::{Bindings, Value};
use super::names::{Attributes, Held, Names};
use super::python::{Class, Module};
use super::reach::Lineage;
use super::tensors::{Layers, gives_a_tensor};

/// What is in the attributes of `self`, by attribute as written: `self.calls`.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub attributes: Attributes,
    /// Those that a constructor fills with a layer of torch which gives one tensor.
    pub layers: Layers,
    /// Those with a layer that overwrites its input: `nn.ReLU(inplace=True)`.
    pub overwriting: Layers,
}

impl Facts {
    /// What the methods of all classes of a lineage say.
    pub(super) fn of(lineage: &Lineage<'_>) -> Facts {
        let mut all = Facts::default();
        for member in &lineage.members {
            let facts = member.module.facts(&member.class);
            member.module.budget().burn(facts.attributes.len() + facts.layers.len());
            facts.attributes.iter().for_each(|(name, held)| all.hold(name, *held));
            all.layers.extend(facts.layers.iter().cloned());
            all.overwriting.extend(facts.overwriting.iter().cloned());
        }
        all
    }

    /// What the methods of one class say.
    pub(super) fn of_class(module: &Module, class: &Class<'_>) -> Facts {
        let unknown = Attributes::new();
        let mut facts = Facts::default();
        for method in class.methods() {
            let receiver = module.receiver(method.node).unwrap_or("self");
            if !may_assign(module.whole(method.node), receiver) {
                continue;
            }
            let bindings = Rc::new(Bindings::new(module, method.node));
            let names = Names::new(module, method.node, Rc::clone(&bindings), &unknown);
            for (name, held) in names.attributes() {
                facts.hold(&name, held);
            }
            for name in registered(module, method.node) {
                facts.attributes.insert(format!("{receiver}.{name}"), Held::Array);
            }
            facts.note_layers(module, &bindings, receiver);
        }
        facts
    }

    fn hold(&mut self, name: &str, held: Held) {
        let known = self.attributes.entry(name.to_owned()).or_insert(held);
        *known = match (*known, held) {
            (a, b) if a == b => a,
            (Held::Array, _) | (_, Held::Array) => Held::Array,
            _ => Held::Unknown,
        };
    }

    fn note_layers(&mut self, module: &Module, bindings: &Bindings<'_>, receiver: &str) {
        for binding in bindings.all() {
            let Value::Of(value) = &binding.value else { continue };
            let own = binding.name.strip_prefix(receiver).is_some_and(|rest| rest.starts_with('.'));
            let Some(called) = value.child_by_field_name("function").filter(|_| own) else { continue };
            let class = module.resolve(module.slice(called));
            if gives_a_tensor(&class) {
                self.layers.insert(binding.name.to_owned());
            }
            if class.starts_with("torch.nn.") && is_in_place(module, *value) {
                self.overwriting.insert(binding.name.to_owned());
            }
        }
    }
}

/// Whether a method may set an attribute: a quick look at its text, since most do not.
fn may_assign(text: &str, receiver: &str) -> bool {
    let own = |line: &str| line.split(receiver).skip(1).any(|rest| rest.starts_with('.'));
    text.lines().any(|line| own(line) && (line.contains('=') || line.contains(" as ") || line.contains("for ")))
        || text.contains("register_")
}

/// Whether the call itself is given `inplace=True`: not a layer within it.
fn is_in_place(module: &Module, call: Node<'_>) -> bool {
    let arguments = call.child_by_field_name("arguments");
    arguments.is_some_and(|arguments| {
        let mut cursor = arguments.walk();
        arguments.named_children(&mut cursor).any(|it| module.slice(it).replace(' ', "") == "inplace=True")
    })
}

/// Names given to `register_buffer` and `register_parameter`.
fn registered<'t>(module: &'t Module, function: Node<'t>) -> Vec<&'t str> {
    let mut names = Vec::new();
    module.preorder(function, |node, _| {
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
