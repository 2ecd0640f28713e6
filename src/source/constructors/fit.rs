//! How a tree that constructors build fits the file: names of modules, shapes of weights. And numbers that shapes tell.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use super::Root;
use super::tree::{Layer, Tree};
use crate::registry::constructors::Axis;
use crate::source::evaluate::Symbol;

/// How well a tree fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fit {
    /// Modules of the file that are built so.
    pub explained: usize,
    /// Modules of the file that may be: the source does not tell what is there.
    pub open: usize,
    /// Modules of the file that are not, …
    pub unexplained: usize,
    /// … those that are built otherwise, …
    pub contradicted: usize,
    /// … and layers with weights that the file has not.
    pub spare: usize,
}

impl Fit {
    /// What is larger fits better.
    pub(super) fn score(self) -> i64 {
        let wrong = self.unexplained + 2 * self.contradicted + self.spare;
        2 * (self.explained + self.open) as i64 - wrong as i64
    }

    /// Nothing is left over on either side.
    pub(super) fn is_whole(self) -> bool {
        self.explained > 0 && self.open + self.unexplained + self.contradicted + self.spare == 0
    }

    /// It is this model, perhaps with another head.
    pub(super) fn is_likely(self) -> bool {
        let wrong = self.unexplained + self.contradicted + self.spare;
        self.explained > 0 && wrong * 10 <= self.explained.max(20)
    }
}

/// Hold a tree against the file.
pub(super) fn fit(tree: &Tree, root: &Root<'_>) -> Fit {
    let mut fit = Fit::default();
    let paths = root.weights.keys().chain(root.tensors.keys()).copied();
    let paths: std::collections::BTreeSet<&str> = paths.filter(|path| !path.contains("parametrizations")).collect();
    for path in &paths {
        match tree.get(*path) {
            None if is_within(tree, path) => fit.explained += 1,
            None if is_open(tree, path) => fit.open += 1,
            None => fit.unexplained += 1,
            Some(layer) if fits(layer, path, root) => fit.explained += 1,
            Some(_) => fit.contradicted += 1,
        }
    }
    for (path, layer) in tree {
        let weighs = layer.built.constructor.is_some_and(|it| !it.weight.is_empty()) && is_affine(layer);
        let holds = layer.built.constructor.is_none() && !layer.parameters.is_empty();
        fit.spare += usize::from((weighs || holds) && !paths.contains(path.as_str()));
    }
    fit
}

/// Whether a path is below a layer of torch, which builds what is in it itself.
fn is_within(tree: &Tree, path: &str) -> bool {
    let mut at = path;
    while let Some((above, _)) = at.rsplit_once('.') {
        if let Some(layer) = tree.get(above) {
            return layer.built.constructor.is_some();
        }
        at = above;
    }
    false
}

/// Whether a path is, or is below, an attribute that may be anything.
fn is_open(tree: &Tree, path: &str) -> bool {
    let mut at = path;
    loop {
        let (above, name) = at.rsplit_once('.').unwrap_or(("", at));
        if let Some(layer) = tree.get(above) {
            return layer.holes.iter().any(|hole| hole == name);
        }
        if above.is_empty() {
            return false;
        }
        at = above;
    }
}

fn is_affine(layer: &Layer) -> bool {
    ["affine", "elementwise_affine"].iter().all(|name| layer.built.arguments.get(*name) != Some(&Json::Bool(false)))
}

fn fits(layer: &Layer, path: &str, root: &Root<'_>) -> bool {
    if layer.container {
        return false;
    }
    let Some(constructor) = layer.built.constructor else {
        let own = root.tensors.get(path);
        return own.is_none_or(|own| layer.parameters.iter().all(|name| own.contains(&name.as_str())));
    };
    let Some(shape) = root.weights.get(path) else { return constructor.weight.is_empty() || !is_affine(layer) };
    if constructor.weight.is_empty() || constructor.fill(shape, &mut layer.built.arguments.clone()).is_none() {
        return false;
    }
    let names = root.tensors.get(path);
    // What keeps statistics shows them.
    let keeps = match layer.built.arguments.get("track_running_stats") {
        Some(Json::Bool(keeps)) => Some(*keeps),
        Some(_) => None,
        None => (!constructor.names().any(|name| name == "track_running_stats")).then_some(false),
    };
    if let (Some(names), Some(keeps)) = (names, keeps)
        && names.contains(&"running_mean") != keeps
    {
        return false;
    }
    let has_bias = names.is_some_and(|names| names.contains(&"bias"));
    match layer.built.arguments.get("bias") {
        Some(Json::Bool(told)) if names.is_some() => *told == has_bias,
        _ => true,
    }
}

/// The numbers that the axes of weights are; where two weights tell two values nothing is known.
pub(super) fn told(tree: &Tree, root: &Root<'_>) -> HashMap<u32, i64> {
    let mut told: BTreeMap<u32, Option<i64>> = BTreeMap::new();
    for (path, layer) in tree {
        let (Some(shape), Some(constructor)) = (root.weights.get(path.as_str()), layer.built.constructor) else {
            continue;
        };
        let mut sizes = shape.iter();
        for axis in &constructor.weight {
            // The quotient is one number for two arguments, and a tuple ends the shape.
            let (name, each) = match axis {
                Axis::Argument(name) => (Some(name), false),
                Axis::Each(name) => (Some(name), true),
                Axis::Quotient(..) => (None, false),
            };
            let sizes: Vec<u64> =
                if each { sizes.by_ref().copied().collect() } else { sizes.next().copied().into_iter().collect() };
            let symbol = name.and_then(|name| layer.symbols.iter().find(|(known, _)| known == name));
            let (Some((_, Symbol { of, times: 1, plus: 0 })), Some(size)) = (symbol, sizes.first()) else { continue };
            let value = i64::try_from(*size).ok().filter(|_| sizes.iter().all(|other| other == size));
            let known = told.entry(*of).or_insert(value);
            if *known != value {
                *known = None;
            }
        }
    }
    told.into_iter().filter_map(|(of, value)| Some((of, value?))).collect()
}

/// Take from a tree that rests on defaults what the shapes in the file bear out.
pub(super) fn confirm(tree: &mut Tree, defaults: &Tree, root: &Root<'_>) {
    for (path, layer) in tree {
        let (Some(constructor), Some(other)) = (layer.built.constructor, defaults.get(path)) else { continue };
        let Some(shape) = root.weights.get(path.as_str()).filter(|_| other.built.class == layer.built.class) else {
            continue;
        };
        if constructor.fill(shape, &mut other.built.arguments.clone()).is_none() {
            continue;
        }
        // Groups that are not one show in the quotient.
        let quotient = |name: &str| {
            let of = constructor.weight.iter().any(|axis| matches!(axis, Axis::Quotient(_, by) if by == name));
            of && other.built.arguments.get(name).is_some_and(|value| *value != 1)
        };
        for (name, value) in &other.built.arguments {
            if constructor.weight.iter().any(|axis| axis.tells(name)) || quotient(name) {
                layer.built.arguments.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Keep what two trees say alike.
pub(super) fn common(tree: &mut Tree, other: &Tree) {
    tree.retain(|path, _| other.contains_key(path));
    for (path, layer) in tree {
        let Some(other) = other.get(path) else { continue };
        if layer.built.class != other.built.class {
            layer.built.constructor = None;
            layer.built.class = String::new();
        }
        layer.built.arguments.retain(|name, value| other.built.arguments.get(name) == Some(value));
    }
}
