//! What constructors in the source say about modules that the file only names: class and hyper-parameters, compared
//! with the shapes in the file.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use compact_str::CompactString;
use serde_json::{Map, Value};

use crate::model::{Evidence, Model, Module, ModuleId, Origin, ToldBy, reparametrized};
use crate::registry::constructors::Constructor;
use crate::source::Sources;
use crate::source::constructors::{self, Built, Constructed, Root};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Tensor};

/// How torch names the class of a layer with a parametrization.
const PARAMETRIZED: &str = "torch.nn.utils.parametrize.Parametrized";
/// Names of what fits as well that are told.
const TIES: usize = 4;
/// How many warnings are given individually.
const WARNINGS: usize = 20;

/// Give inferred modules the classes and hyper-parameters that the constructors of the model's class write out. That
/// class is the one that a config.json names, or the one in the sources whose constructor assigns the names at the top
/// of the model; if none or several do, nothing happens.
///
/// A module whose tensors contradict this stays as it was; the warnings say which.
pub fn from_source(checkpoint: &Checkpoint, model: &mut Model, sources: &Sources) -> Vec<String> {
    if model.modules.iter().all(|module| module.evidence != Evidence::Inferred) {
        return Vec::new();
    }
    let config = checkpoint.metadata.get("config").and_then(Value::as_object);
    let class = model.modules.first().map_or("", |root| root.class.as_str());
    // Without sources nothing is built, and looking at a million modules would be wasted.
    if sources.is_empty() {
        return Vec::new();
    }
    let shapes = weights(model, &checkpoint.tensors);
    let weights = shapes.iter().map(|(id, shape)| (model.modules[*id].path.as_str(), *shape)).collect();
    let stem = checkpoint.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let (names, counts, tensors) = (top_names(model), counts(model), tensors(model));
    let root = Root { class, names, config, counts, weights, tensors, stem };
    let Some(Constructed { modules: built, ties, .. }) = constructors::construct(sources, &root) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if !ties.is_empty() {
        let (shown, rest) =
            (ties.iter().take(TIES).cloned().collect::<Vec<_>>().join(", "), ties.len().saturating_sub(TIES));
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        warnings.push(format!(
            "Several in the source fit this file as well as each other: {}{more}. What they differ in is not known.",
            quoted(&shown)
        ));
    }
    for (id, module) in model.modules.iter_mut().enumerate() {
        let Some(built) = built.get(module.path.as_str()).filter(|_| module.evidence == Evidence::Inferred) else {
            continue;
        };
        match attributes(module, shapes.get(&id).copied(), built) {
            Ok(mut attributes) => {
                // What the file showed of the same class before.
                if module.class == built.class || built.constructor.is_some_and(|it| it.class == module.class.as_str())
                {
                    for (name, value) in module.attributes.iter() {
                        attributes.entry(name).or_insert_with(|| value.clone());
                    }
                }
                module.class = class_of(&module.class, built).into();
                module.alternatives = Arc::default();
                (module.evidence, module.confidence) = (Evidence::Source, 1.0);
                module.told_by = told_by(built, &attributes);
                module.attributes = Arc::new(attributes);
            }
            Err(reason) => warnings.push(format!(
                "{}:{} builds `{}` as {}, but {reason}: it is left as names and shapes suggest",
                built.file,
                built.line,
                module.path,
                built.class.rsplit('.').next().unwrap_or(&built.class),
            )),
        }
    }
    let rest = warnings.len().saturating_sub(WARNINGS);
    warnings.truncate(WARNINGS);
    if rest > 0 {
        warnings.push(format!("{rest} more modules differ from what the source builds"));
    }
    warnings
}

/// Names of the tensors of each module that has some, by its path.
fn tensors(model: &Model) -> HashMap<&str, Vec<&str>> {
    let own = |module: &'_ Module| module.tensors.iter().any(|own| own.tensor.is_some());
    let with = model.modules.iter().filter(|module| own(module));
    with.map(|module| (module.path.as_str(), module.tensors.iter().map(|own| own.name.as_str()).collect())).collect()
}

/// One more than the largest number among the names of a module's children, by its path.
fn counts(model: &Model) -> HashMap<String, usize> {
    let mut counts: HashMap<ModuleId, usize> = HashMap::new();
    for module in &model.modules {
        if let (Some(parent), Ok(number)) = (module.parent, module.name.parse::<usize>()) {
            let count = counts.entry(parent).or_default();
            *count = number.saturating_add(1).min(model.modules.len()).max(*count);
        }
    }
    let path = |parent: ModuleId| model.modules.get(parent).map(|parent| parent.path.to_string());
    counts.into_iter().filter_map(|(parent, count)| Some((path(parent)?, count))).collect()
}

/// Names of the root's children and of its own tensors.
fn top_names(model: &Model) -> BTreeSet<&str> {
    let children = model.children(0).filter_map(|child| model.modules.get(child)).map(|child| child.name.as_str());
    let own = model.modules.first().into_iter().flat_map(|root| &root.tensors).map(|own| own.name.as_str());
    children.chain(own).collect()
}

/// Shapes of the weights, of those that are computed as well: a norm around a constructor leaves the layer what it is.
fn weights<'c>(model: &Model, tensors: &'c [Tensor]) -> HashMap<ModuleId, &'c [u64]> {
    let weight = |(id, module): (ModuleId, &Module)| {
        let computed = || reparametrized::weight(model, id).map(|(_, tensor)| tensor);
        let tensor = tensors.get(module.tensor("weight").or_else(computed)?)?;
        Some((id, tensor.shape.as_slice()))
    };
    model.modules.iter().enumerate().filter_map(weight).collect()
}

/// The class of what is built where the file has this one: a parametrization changes it.
fn class_of(inferred: &str, built: &Built) -> String {
    let parametrized = inferred.starts_with(PARAMETRIZED) && built.class.starts_with("torch.nn.");
    if !parametrized {
        return built.class.clone();
    }
    format!("{PARAMETRIZED}{}", built.class.rsplit('.').next().unwrap_or(&built.class))
}

/// What says each attribute: the line that builds the module, or the shapes in the file.
fn told_by(built: &Built, attributes: &Map<String, Value>) -> ToldBy {
    let line = Origin::Source { file: built.file.as_str().into(), line: built.line };
    let origin = |name: &String| if built.arguments.contains_key(name) { line.clone() } else { Origin::Shapes };
    attributes.keys().map(|name| (CompactString::from(name), origin(name))).collect()
}

/// The attributes of a module built this way, or why its tensors do not fit.
fn attributes(module: &Module, weight: Option<&[u64]>, built: &Built) -> Result<Map<String, Value>, String> {
    let Some(constructor) = built.constructor else { return Ok(built.arguments.clone()) };
    let mut values = built.arguments.clone();
    check(module, weight, constructor, &mut values)?;
    Ok(values.into_iter().filter(|(name, _)| constructor.keeps(name)).collect())
}

/// Compare arguments with the tensors, and fill in those that only the tensors determine.
fn check(
    module: &Module,
    weight: Option<&[u64]>,
    constructor: &Constructor,
    values: &mut Map<String, Value>,
) -> Result<(), String> {
    if constructor.weight.is_empty() {
        let fits = module.tensors.is_empty() || module.class == constructor.class;
        return if fits { Ok(()) } else { Err("the file has tensors that it would not have".to_owned()) };
    }
    let affine = ["affine", "elementwise_affine"].iter().all(|name| values.get(*name) != Some(&Value::Bool(false)));
    match weight {
        Some(_) if !affine => return Err("the file has a `weight` that it would not have".to_owned()),
        Some(weight) => {
            let wrong = || format!("the file's `weight` has shape {weight:?}");
            constructor.fill(weight, values).ok_or_else(wrong)?;
        }
        None if affine => return Err("the file has no `weight` for it".to_owned()),
        None => {}
    }
    let bias = module.tensor("bias").is_some();
    match values.get("bias").and_then(Value::as_bool) {
        Some(told) if affine && told != bias => Err(format!("the file has {} `bias`", if bias { "a" } else { "no" })),
        _ => Ok(()),
    }
}
