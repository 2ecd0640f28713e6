//! What stands around a constructor's call and leaves the layer what it is: norms of its weight, and functions and methods of the
//! source that give the module that they make.

use serde_json::json;
use tree_sitter::Node;

use super::arguments::{Arguments, Kind, names, parameters};
use super::builder::{Builder, CLASS, CONDITIONS, DEPTH, Place, Reader, join, taken};
use crate::registry::constructors::constructor;
use crate::source::literals::Values;
use crate::source::locate::Found;
use crate::source::python::{Method, Module};

/// Functions of torch that give the module that they are given, its weight computed in another way.
const LEAVE: [&str; 10] = [
    "weight_norm",
    "remove_weight_norm",
    "spectral_norm",
    "remove_spectral_norm",
    "orthogonal",
    "register_parametrization",
    "remove_parametrizations",
    "random_unstructured",
    "l1_unstructured",
    "identity",
];
/// Methods of a module that give it back.
const GIVE_BACK: [&str; 12] =
    ["to", "eval", "train", "apply", "requires_grad_", "half", "float", "double", "bfloat16", "cuda", "cpu", "type"];
/// Wrappers around one another.
const AROUND: usize = 16;

/// Whether a call of this full name gives the module that it is given.
pub(super) fn leaves(full: &str) -> bool {
    let name = full.strip_prefix("torch.nn.utils.").map(|name| name.rsplit('.').next().unwrap_or(name));
    name.is_some_and(|name| LEAVE.contains(&name))
}

/// The expression of the module that a call wraps: `weight_norm(…)`, `….to(device)`. `full` is what the function is called where
/// that is not what is written.
pub(super) fn within<'t>(module: &Module, call: Node<'t>, full: &str) -> Option<Node<'t>> {
    let function = call.child_by_field_name("function").filter(|_| call.kind() == "call")?;
    if let Some(object) = function.child_by_field_name("object").filter(|object| object.kind() == "call") {
        let method = module.slice(function.child_by_field_name("attribute")?);
        return GIVE_BACK.contains(&method).then_some(object);
    }
    let resolved;
    let full = if full.is_empty() {
        resolved = module.resolve(module.slice(function));
        &resolved
    } else {
        full
    };
    let list = call.child_by_field_name("arguments").filter(|_| leaves(full))?;
    let mut cursor = list.walk();
    let mut given = list.named_children(&mut cursor).filter(|child| !child.is_extra());
    let first = given.next()?;
    if first.kind() != "keyword_argument" {
        return (!first.kind().ends_with("_splat")).then_some(first);
    }
    std::iter::once(first)
        .chain(given)
        .find(|it| it.child_by_field_name("name").is_some_and(|name| module.slice(name) == "module"))?
        .child_by_field_name("value")
}

/// What is left of an expression without all that wraps it.
pub(super) fn core<'t>(module: &Module, node: Node<'t>) -> Node<'t> {
    let mut node = node;
    for _ in 0..AROUND {
        match within(module, node, "") {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node
}

/// A function or method of the source that is called.
struct Called<'c> {
    found: &'c Found,
    method: Method<'c>,
    /// `self`, for a method.
    receiver: &'c str,
}

impl Builder<'_> {
    /// The module that a function or method of the source gives when it is called.
    pub(super) fn helper(
        &mut self,
        reader: &Reader<'_>,
        path: &str,
        (call, written): (Node<'_>, &str),
        values: &Values,
        arguments: Arguments,
        depth: usize,
    ) {
        if depth > DEPTH {
            return;
        }
        let own = written.strip_prefix(reader.receiver).and_then(|rest| rest.strip_prefix('.'));
        if let Some(name) = own.filter(|name| !reader.receiver.is_empty() && !name.contains('.')) {
            for (member, found) in reader.place.family.iter().enumerate() {
                let Some(method) = found.module.class(&found.name).and_then(|class| class.method(name)) else {
                    continue;
                };
                let decorators: Vec<&str> = method
                    .decorators()
                    .into_iter()
                    .map(|node| found.module.slice(node).trim_start_matches('@'))
                    .collect();
                let receiver = match decorators.as_slice() {
                    [] => found.module.receiver(method.node).unwrap_or(""),
                    ["staticmethod"] => "",
                    _ => return,
                };
                let called = Called { found, method, receiver };
                let place = Place { path: reader.place.path, family: reader.place.family, member, depth };
                return self.follow(reader, path, &called, &place, (call, values, arguments));
            }
            return;
        }
        let Some(found) = self.imports.function(reader.found, written) else { return };
        let Some(method) = found.module.function(&found.name) else { return };
        let plain = method.node.parent().is_none_or(|parent| parent.kind() != "decorated_definition");
        if plain {
            let called = Called { found: &found, method, receiver: "" };
            let place = Place { path: reader.place.path, family: &[], member: 0, depth };
            self.follow(reader, path, &called, &place, (call, values, arguments));
        }
    }

    fn follow(
        &mut self,
        reader: &Reader<'_>,
        path: &str,
        called: &Called<'_>,
        place: &Place<'_>,
        (call, outside, arguments): (Node<'_>, &Values, Arguments),
    ) {
        let Called { found, method, receiver } = *called;
        let (module, is_method) = (&found.module, !receiver.is_empty());
        let Some(body) = method.node.child_by_field_name("body") else { return };
        let locals = self.frame();
        let file = module.constants();
        let constants = is_method.then(|| self.constants(place, found, receiver));
        let class = Values::new();
        let outer = [constants.as_ref().map_or(&class, |both| &both.0), &*file];
        let (mut values, rest) = parameters(module, method.node, arguments, outer, is_method);
        if is_method && receiver == reader.receiver {
            // What `self` has.
            let own = format!("{receiver}.");
            module.budget().burn(outside.len());
            values
                .extend(outside.iter().filter(|(name, _)| name.starts_with(&own)).map(|(a, b)| (a.clone(), b.clone())));
        }
        self.hand_modules(reader, (call, outside), &names(module, method.node, is_method), (&locals, &mut values));
        let reader = Reader { module, found, receiver, outer, place, rest, locals: &locals };
        self.returned(&reader, path, body, &mut values, 0);
        self.remove(&locals);
    }

    /// Modules, and classes of torch, among the arguments of a call: what the parameters stand for.
    fn hand_modules(
        &mut self,
        reader: &Reader<'_>,
        (call, outside): (Node<'_>, &Values),
        parameters: &[(&str, Option<Node<'_>>, Kind)],
        (locals, values): (&str, &mut Values),
    ) {
        let Some(list) = call.child_by_field_name("arguments") else { return };
        let mut cursor = list.walk();
        for (at, argument) in list.named_children(&mut cursor).filter(|child| !child.is_extra()).enumerate() {
            let (name, value) = match argument.kind() {
                "list_splat" | "dictionary_splat" => return,
                "keyword_argument" => {
                    let name = argument.child_by_field_name("name").map(|name| reader.module.slice(name));
                    (name, argument.child_by_field_name("value"))
                }
                _ => {
                    let parameter = parameters.get(at).filter(|(_, _, kind)| *kind == Kind::Plain);
                    (parameter.map(|(name, _, _)| *name), Some(argument))
                }
            };
            let (Some(name), Some(value)) = (name, value) else { continue };
            if !parameters.iter().any(|(known, _, _)| *known == name) {
                continue;
            }
            let class = self.chosen(reader, value, outside, 0).map(|class| reader.module.resolve(&class));
            // A class of the source has another name in another file.
            if let Some(class) = class.filter(|class| constructor(class).is_some() || leaves(class)) {
                values.insert(name.to_owned(), Some(json!({ CLASS: class })));
            } else {
                self.module(reader, &join(locals, name), value, outside, reader.place.depth + 1);
            }
        }
    }

    /// Read statements up to the one that gives the module; whether there was one.
    fn returned(
        &mut self,
        reader: &Reader<'_>,
        path: &str,
        block: Node<'_>,
        values: &mut Values,
        depth: usize,
    ) -> bool {
        for statement in block.named_children(&mut block.walk()) {
            match statement.kind() {
                "return_statement" => {
                    if let Some(given) = statement.named_child(0) {
                        self.module(reader, path, given, values, reader.place.depth);
                    }
                    return true;
                }
                "if_statement" if depth < CONDITIONS => match taken(&reader.scope(values), statement) {
                    Some(Some(block)) if self.returned(reader, path, block, values, depth + 1) => return true,
                    Some(_) => {}
                    None => {
                        let given = returns(statement);
                        if !given.is_empty() {
                            let rest =
                                returns(block).into_iter().filter(|it| it.start_byte() >= statement.start_byte());
                            let mut cores = rest.map(|it| core(reader.module, it));
                            // Each way gives the same module, wrapped or not.
                            if let Some(first) = cores.next()
                                && first.kind() == "identifier"
                                && cores.all(|other| reader.module.slice(other) == reader.module.slice(first))
                            {
                                self.module(reader, path, first, values, reader.place.depth);
                            }
                            return true;
                        }
                        self.statement(reader, statement, values, depth);
                    }
                },
                _ => self.statement(reader, statement, values, depth),
            }
        }
        false
    }
}

/// What the `return`s within a node give.
fn returns(node: Node<'_>) -> Vec<Node<'_>> {
    let (mut found, mut waiting) = (Vec::new(), vec![node]);
    while let Some(node) = waiting.pop() {
        match node.kind() {
            "return_statement" => found.extend(node.named_child(0)),
            "function_definition" | "class_definition" | "lambda" => {}
            kind if kind.ends_with("_statement") || kind.ends_with("_clause") || kind == "block" => {
                waiting.extend(node.named_children(&mut node.walk()));
            }
            _ => {}
        }
    }
    found
}
