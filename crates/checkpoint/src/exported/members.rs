//! What Python calls the inputs of an exported program that are members of dicts, tuples and lists, which the graph has apart.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::super::graph::{Graph, ValueId};
use super::schema::Program;

/// Inputs deeper than this have their names in the graph alone.
const DEEPEST: usize = 16;

/// The members among the inputs, by the names of forward's parameters and the keys and places in them. None where the file does not say.
pub(super) fn members(program: &Program, graph: &Graph) -> HashMap<ValueId, String> {
    names(program, graph).unwrap_or_default()
}

fn names(program: &Program, graph: &Graph) -> Option<HashMap<ValueId, String>> {
    let module = &program.graph_module;
    let root = module.module_call_graph.iter().find(|call| call.fqn.is_empty())?.signature.as_ref()?;
    // The number of the notation's version, and what was flattened: positional inputs, and those by name.
    let (_, spec): (u64, Json) = serde_json::from_str(&root.in_spec).ok()?;
    let [positional, named] = children(&spec)?.as_slice() else { return None };
    let mut parameters = root.forward_arg_names.iter().flatten();
    let mut leaves = Vec::new();
    for spec in children(positional)? {
        leaf(spec, parameters.next()?, 0, &mut leaves)?;
    }
    for (key, spec) in keys(named)?.iter().zip(children(named)?) {
        leaf(spec, key, 0, &mut leaves)?;
    }
    let specs = &module.signature.input_specs;
    let given =
        specs.iter().zip(&graph.inputs).filter(|(spec, _)| spec.user_input.is_some() || spec.constant_input.is_some());
    let given: Vec<ValueId> = given.map(|(_, input)| input.value).collect();
    if given.len() != leaves.len() {
        return None;
    }
    Some(given.into_iter().zip(leaves).filter(|(_, name)| name.contains('.')).collect())
}

/// Add the names of what a part of the inputs is made of.
fn leaf(spec: &Json, name: &str, depth: usize, leaves: &mut Vec<String>) -> Option<()> {
    if spec.get("type")?.is_null() {
        leaves.push(name.to_owned());
        return Some(());
    }
    if depth == DEEPEST {
        return None;
    }
    let parts = children(spec)?;
    let keys = keys(spec).unwrap_or_else(|| (0..parts.len()).map(|at| at.to_string()).collect());
    if keys.len() != parts.len() {
        return None;
    }
    keys.iter().zip(parts).try_for_each(|(key, part)| leaf(part, &format!("{name}.{key}"), depth + 1, leaves))
}

fn children(spec: &Json) -> Option<&Vec<Json>> {
    spec.get("children_spec")?.as_array()
}

/// The keys of a dict; a list and a tuple have none.
fn keys(spec: &Json) -> Option<Vec<String>> {
    let context: Vec<Json> = serde_json::from_str(spec.get("context")?.as_str()?).ok()?;
    let key = |key: Json| match key {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    context.into_iter().map(key).collect()
}
