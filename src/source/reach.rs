//! Which methods run when a module is called: `forward` and what it uses, of the class and of its bases.

use std::collections::HashSet;

use tree_sitter::Node;

use super::python::{Class, Method, Module};

/// Methods that do not change what a module computes once it is built.
const PLAIN: [&str; 6] = ["__init__", "extra_repr", "__repr__", "reset_parameters", "_init_weights", "init_weights"];

/// A class with its bases, in the order in which methods are looked for.
#[derive(Debug)]
pub(super) struct Lineage<'t> {
    pub members: Vec<Member<'t>>,
}

/// One class of a [`Lineage`].
#[derive(Debug)]
pub(super) struct Member<'t> {
    /// The file it is in.
    pub module: &'t Module,
    pub class: Class<'t>,
}

/// A method, or a function of a file that a member is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached<'t> {
    /// The member of the lineage that has the method, or that mentions the function.
    pub owner: usize,
    pub module: &'t Module,
    pub method: Method<'t>,
}

impl<'t> Lineage<'t> {
    /// The method that runs when the module is called: `forward`, or `__call__` where there is none.
    pub(super) fn entry(&self) -> Option<Reached<'t>> {
        ["forward", "__call__"].iter().find_map(|name| self.method(0, name))
    }

    /// The class of torch at the end of the lineage, if no member defines a method that could change what it computes, and
    /// every other base is a member too.
    pub(super) fn plain_base(&self) -> Option<String> {
        if self.members.iter().flat_map(|member| member.class.method_names()).any(|name| !PLAIN.contains(&name)) {
            return None;
        }
        let bases =
            self.members.iter().flat_map(|member| member.class.bases.iter().map(|base| member.module.resolve(base)));
        let (torch, others): (Vec<String>, Vec<String>) = bases.partition(|base| base.starts_with("torch."));
        match torch.as_slice() {
            [base] if others.len() + 1 == self.members.len() => Some(base.clone()),
            _ => None,
        }
    }

    /// The method of this name of the first member from `from` on that has it.
    pub(super) fn method(&self, from: usize, name: &str) -> Option<Reached<'t>> {
        self.members.iter().enumerate().skip(from).find_map(|(owner, member)| {
            Some(Reached { owner, module: member.module, method: member.class.method(name)? })
        })
    }

    /// The entry, and all methods and functions of the same file that it mentions, directly or through others: each behind the one
    /// that mentions it first, in the order in which that does.
    pub(super) fn reached(&self) -> Vec<Reached<'t>> {
        let mut reached: Vec<Reached<'t>> = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting: Vec<Reached<'t>> = self.entry().into_iter().collect();
        while let Some(next) = waiting.pop() {
            if seen.insert((std::ptr::from_ref(next.module), next.method.node.id())) {
                waiting.extend(self.used(next).into_iter().rev());
                reached.push(next);
            }
        }
        reached
    }

    /// `self.name`, called or handed on, `super().name`, and functions of the file.
    fn used(&self, by: Reached<'t>) -> Vec<Reached<'t>> {
        let Reached { owner, module, method } = by;
        let receiver = module.receiver(method.node).unwrap_or("self");
        let mut used = Vec::new();
        let mut labels = HashSet::new();
        module.preorder(method.node, |node, _| {
            labels.extend(label(node).map(|label| label.id()));
            if node.kind() == "identifier" && !labels.contains(&node.id()) {
                let function = module.function(module.slice(node));
                used.extend(function.map(|method| Reached { owner, module, method }));
            }
            if node.kind() == "attribute"
                && let (Some(object), Some(name)) =
                    (node.child_by_field_name("object"), node.child_by_field_name("attribute"))
            {
                let name = module.slice(name);
                match object.kind() {
                    "identifier" if module.slice(object) == receiver => used.extend(self.method(0, name)),
                    "call" if is_super(module, object) => used.extend(self.method(owner + 1, name)),
                    _ => {}
                }
            }
            true
        });
        used
    }
}

/// The part of a node that is a name only within it: of an attribute, an argument, a parameter.
fn label(node: Node<'_>) -> Option<Node<'_>> {
    match node.kind() {
        "attribute" => node.child_by_field_name("attribute"),
        "keyword_argument" | "function_definition" | "default_parameter" | "typed_default_parameter" => {
            node.child_by_field_name("name")
        }
        _ => None,
    }
}

/// Whether a call is `super()`.
pub(super) fn is_super(module: &Module, call: Node<'_>) -> bool {
    call.child_by_field_name("function").is_some_and(|function| module.slice(function) == "super")
}
