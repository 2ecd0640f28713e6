//! Optimizers in training checkpoints: which parameter each of their moments belongs to.
//!
//! An optimizer numbers the parameters in the order in which it was given them. That is the model's order, unless they were
//! sorted into groups; so the shapes of the moments have to agree before a name is given.

use serde_json::{Map, Value};

use super::members::is_optimizer;
use super::pickle::{NodeId, Pickle, Printer, key_text};
use super::rebuild::Rebuilder;
use super::stream;
use super::weights::optimizer;
use super::wrapping::Wrapping;
use super::{Content, Sizes, TensorKind};

/// More names are not written out.
const MOST_NAMES: usize = 10_000;
/// Optimizers in a list, as Lightning keeps them.
const MOST_OPTIMIZERS: usize = 16;
/// Adam has three.
const MOST_MOMENTS: usize = 16;
/// Endings of a state dict's names that are no parameters.
const BUFFERS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// Add `"parameters": [names]`, in the optimizer's order and without wrappers, to each optimizer beside the weights.
pub(super) fn name_moments(
    rebuilder: &Rebuilder<'_>,
    content: &Content,
    wrapping: &Wrapping,
    metadata: &mut Map<String, Value>,
) {
    if metadata.is_empty() {
        return;
    }
    let pickle = rebuilder.pickle;
    let parameters = parameters(rebuilder, content);
    for (key, value) in pickle.entries(pickle.root()).into_iter().flatten() {
        let key = key_text(pickle, key);
        let Some(kept) = metadata.get_mut(key.as_str()) else { continue };
        if is_optimizer(pickle, value) {
            name(rebuilder, &parameters, wrapping, value, kept);
            continue;
        }
        let list = if pickle.tuple(value).is_some() { Vec::new() } else { stream::items(pickle, value) };
        if list.is_empty() || list.len() > MOST_OPTIMIZERS || !list.iter().all(|item| is_optimizer(pickle, *item)) {
            continue;
        }
        let mut printer = Printer::for_metadata();
        let described = list.into_iter().map(|item| {
            let mut described = optimizer(pickle, &mut printer, item);
            name(rebuilder, &parameters, wrapping, item, &mut described);
            described
        });
        *kept = Value::Array(described.collect());
    }
}

/// Indices of the model's parameters, in its order, each once.
fn parameters(rebuilder: &Rebuilder<'_>, content: &Content) -> Vec<usize> {
    let tensors = &rebuilder.tensors;
    let once = |id: &usize| tensors.get(*id).is_some_and(|tensor| tensor.shared_with.is_none());
    match content {
        Content::Modules(modules) => {
            let own = modules.iter().flat_map(|module| &module.tensors);
            own.filter(|own| own.kind == TensorKind::Parameter).filter_map(|own| own.tensor).filter(once).collect()
        }
        Content::StateDict { .. } => {
            let trained = tensors.iter().enumerate().filter(|(_, tensor)| {
                tensor.dtype.is_floating() && !BUFFERS.contains(&tensor.name.rsplit('.').next().unwrap_or_default())
            });
            trained.map(|(id, _)| id).filter(once).collect()
        }
    }
}

fn name(
    rebuilder: &Rebuilder<'_>,
    parameters: &[usize],
    wrapping: &Wrapping,
    optimizer: NodeId,
    described: &mut Value,
) {
    if parameters.len() <= MOST_NAMES
        && fits(rebuilder, parameters, optimizer) == Some(true)
        && let Some(described) = described.as_object_mut()
    {
        let tensors = parameters.iter().filter_map(|id| rebuilder.tensors.get(*id));
        let names = tensors.map(|tensor| Value::from(wrapping.rename(&tensor.name).as_str()));
        described.insert("parameters".to_owned(), names.collect());
    }
}

/// Whether an optimizer numbers just these parameters, and its moments have their shapes.
fn fits(rebuilder: &Rebuilder<'_>, parameters: &[usize], optimizer: NodeId) -> Option<bool> {
    let pickle = rebuilder.pickle;
    let groups = stream::items(pickle, pickle.get(optimizer, "param_groups")?);
    let numbers = groups.iter().flat_map(|group| match pickle.get(*group, "params") {
        Some(params) => stream::items(pickle, params),
        None => Vec::new(),
    });
    let in_order = numbers.map(|number| pickle.int(number)).eq((0..parameters.len() as i64).map(Some));
    let mut known = 0;
    for (number, moments) in pickle.entries(pickle.get(optimizer, "state")?)? {
        let parameter = *parameters.get(usize::try_from(pickle.int(number)?).ok()?)?;
        let parameter = rebuilder.tensors.get(parameter)?;
        let shapes = moment_shapes(rebuilder, pickle, moments);
        if shapes.iter().any(|shape| *shape != parameter.shape) {
            return Some(false);
        }
        known += usize::from(!shapes.is_empty());
    }
    // Groups may have sorted the parameters: then every shape has to be seen to agree.
    Some(in_order && known > 0 && (groups.len() == 1 || known == parameters.len()))
}

/// Shapes of a parameter's moments; counters have none.
fn moment_shapes(rebuilder: &Rebuilder<'_>, pickle: &Pickle, moments: NodeId) -> Vec<Sizes> {
    let values = pickle.entries(moments).into_iter().flatten().take(MOST_MOMENTS).map(|(_, value)| value);
    values.filter_map(|value| rebuilder.shape(value)).filter(|shape| !shape.is_empty()).collect()
}
