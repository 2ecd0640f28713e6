//! Parameters of the root's constructor that the shapes in the file tell.
//!
//! Where a layer's number is such a parameter, and nothing else, the layer's weight in the file has its value: the constructor is
//! read with two numbers that nobody would give, one large and one small, and an argument that is both times that number is the
//! parameter itself.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::arguments::{Kind, names};
use super::{Built, Given, Modules};
use crate::registry::constructors::Axis;
use crate::source::locate::Found;

/// Parameters that are tried.
const PARAMETERS: usize = 64;
/// Numbers that no model has …
const LARGE: i64 = 1_000_003;
/// … and smaller ones than any bound that a constructor could name.
const SMALL: i64 = 2;

/// The numbers of the root's constructor that follow from shapes; `given` is what it is called with, and what it builds then.
pub(super) fn by_shapes(
    family: &[Found],
    weights: &HashMap<&str, &[u64]>,
    (given, plain): (&Given, &Modules),
    build: &mut impl FnMut(Given, bool) -> Modules,
) -> Given {
    let parameters = parameters(family, given);
    // Where everything is written out there is nothing to find.
    let open = |built: &Built| {
        let arguments = built.constructor.into_iter().flat_map(|constructor| &constructor.arguments);
        arguments.into_iter().any(|argument| !built.arguments.contains_key(&argument.name))
    };
    if parameters.is_empty() || weights.is_empty() || !plain.values().any(open) {
        return Given::new();
    }
    let [large, small] = [LARGE, SMALL].map(|first| {
        let numbers = parameters.iter().zip(first..).map(|(name, number)| (name.clone(), Some(Value::from(number))));
        build(given.clone().into_iter().chain(numbers).collect(), false)
    });
    let mut told: HashMap<usize, BTreeSet<u64>> = HashMap::new();
    for (path, shape) in weights {
        // A layer that is only built where the numbers are like this tells nothing.
        let built = [plain, &large, &small].map(|modules| modules.get(*path));
        let [Some(plain), Some(large), Some(small)] = built else { continue };
        if plain.class == large.class && plain.class == small.class {
            tell([plain, large, small], shape, parameters.len(), &mut told);
        }
    }
    let mut found = Given::new();
    for (at, values) in told {
        if let (Some(name), [value]) = (parameters.get(at), values.iter().collect::<Vec<_>>().as_slice()) {
            found.insert(name.clone(), Some(Value::from(**value)));
        }
    }
    found
}

/// Names of the parameters that may be numbers and of which nothing is known.
fn parameters(family: &[Found], given: &Given) -> Vec<String> {
    let init = family.iter().find_map(|found| Some((found, found.module.class(&found.name)?.method("__init__")?)));
    let Some((found, init)) = init else { return Vec::new() };
    let number = |default: &tree_sitter::Node<'_>| matches!(default.kind(), "integer" | "binary_operator");
    names(&found.module, init.node, true)
        .into_iter()
        .filter(|(_, _, kind)| matches!(kind, Kind::Plain | Kind::KeywordOnly))
        .filter(|(name, default, _)| default.as_ref().is_none_or(number) && !given.contains_key(*name))
        .map(|(name, _, _)| name.to_owned())
        .take(PARAMETERS)
        .collect()
}

/// The parameters that the axes of one weight are.
fn tell([plain, large, small]: [&Built; 3], shape: &[u64], count: usize, told: &mut HashMap<usize, BTreeSet<u64>>) {
    let Some(constructor) = plain.constructor else { return };
    let which = |large: &Value, small: &Value| {
        let at = usize::try_from(large.as_i64()?.checked_sub(LARGE)?).ok()?;
        (at < count && small.as_i64()?.checked_sub(SMALL)? == at as i64).then_some(at)
    };
    let mut sizes = shape.iter();
    for axis in &constructor.weight {
        let (name, each) = match axis {
            Axis::Argument(name) => (name, false),
            Axis::Each(name) => (name, true),
            // The quotient is one number for two arguments.
            Axis::Quotient(..) => {
                sizes.next();
                continue;
            }
        };
        let values = (large.arguments.get(name), small.arguments.get(name));
        let (Some(large), Some(small)) = values else {
            if each {
                return;
            }
            sizes.next();
            continue;
        };
        let pairs: Vec<(&Value, &Value)> = match (large, small) {
            (Value::Array(large), Value::Array(small)) if each => large.iter().zip(small).collect(),
            both => vec![both],
        };
        for ((large, small), size) in pairs.into_iter().zip(sizes.by_ref()) {
            if let Some(at) = which(large, small) {
                told.entry(at).or_default().insert(*size);
            }
        }
    }
}
