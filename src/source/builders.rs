//! What in the given source may build a model: classes whose constructor assigns the names at the top of it, and functions that
//! make one of them. Nothing is run: they are told as expressions, for somebody to choose from.

use std::collections::BTreeSet;
use std::path::Path;

use tree_sitter::Node;

use super::Sources;
use super::python::{Method, Module};

/// Classes that are looked at.
const MOST_CLASSES: usize = 2000;
/// Expressions that are told.
const MOST: usize = 12;

/// Expressions that may build a model with these names at its top, those that need no argument first. Names in place of
/// arguments stand for what must be filled in.
pub fn expressions(sources: &Sources, top: &BTreeSet<&str>) -> Vec<String> {
    let mut ready = Vec::new();
    let mut open = Vec::new();
    if top.is_empty() {
        return ready;
    }
    for found in sources.classes().take(MOST_CLASSES) {
        let (Some(path), Some(class)) = (&found.path, found.module.class(&found.name)) else { continue };
        let Some(constructor) = class.method("__init__").filter(|_| !found.name.contains('<')) else { continue };
        let assigned: BTreeSet<String> =
            found.module.mentions(constructor.node).into_iter().map(|(_, name)| name).collect();
        if !top.iter().all(|name| assigned.contains(*name)) {
            continue;
        }
        let module = dotted(path);
        let mut tell = |name: &str, needed: &[&str]| {
            let expression = format!("{module}.{name}({})", needed.join(", "));
            if needed.is_empty() { ready.push(expression) } else { open.push(expression) }
        };
        tell(&found.name, &needed(&found.module, constructor, true));
        let mut functions: Vec<&str> = found.module.function_names().collect();
        functions.sort_unstable();
        for function in functions {
            let Some(builder) = found.module.function(function) else { continue };
            if found.module.slice(builder.node).contains(&format!("{}(", found.name)) {
                tell(function, &needed(&found.module, builder, false));
            }
        }
    }
    ready.append(&mut open);
    ready.truncate(MOST);
    ready
}

/// The name that a file is imported by: that of its package and its own.
fn dotted(file: &Path) -> String {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut parts: Vec<String> = Some(stem(file)).filter(|name| name != "__init__").into_iter().collect();
    let mut folder = file.parent();
    while let Some(package) = folder.filter(|folder| folder.join("__init__.py").is_file()) {
        parts.push(stem(package));
        folder = package.parent();
    }
    parts.reverse();
    parts.join(".")
}

/// Parameters without a default; the first of a method is the receiver.
fn needed<'t>(module: &'t Module, method: Method<'t>, is_method: bool) -> Vec<&'t str> {
    let Some(list) = method.node.child_by_field_name("parameters") else { return Vec::new() };
    let parameters: Vec<Node<'_>> = list.named_children(&mut list.walk()).collect();
    let plain = |node: &Node<'t>| match node.kind() {
        "identifier" => Some(module.slice(*node)),
        "typed_parameter" => {
            node.named_child(0).filter(|name| name.kind() == "identifier").map(|name| module.slice(name))
        }
        _ => None,
    };
    parameters.iter().skip(usize::from(is_method)).filter_map(plain).collect()
}
