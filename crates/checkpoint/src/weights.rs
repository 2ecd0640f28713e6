//! Which dict of what was saved is the model: the usual names say so, what the dicts hold, and how the names in them look.
//! What belongs to training (optimizers, schedulers, states of random generators, an average's counters) is none.

use std::cell::RefCell;
use std::collections::HashMap;

use compact_str::CompactString;
use serde_json::{Map, Value, json};

use super::error::name_for_message;
use super::members::{Key, is_optimizer, parts};
use super::objects::{join, module_state};
use super::pickle::{NodeId, Pickle, Printer, key_text};
use super::rebuild::Rebuilder;
use super::{Checkpoint, Content, Error, Tensor};

/// Keys that training scripts put the weights under, the usual first.
pub(super) const WRAPPERS: [&str; 15] = [
    "state_dict",
    "model",
    "ema",
    "model_state_dict",
    "net",
    "module",
    "network",
    "model_ema",
    "ema_state_dict",
    "params_ema",
    "params",
    "weights",
    "model_state",
    "model_dict",
    "model_weights",
];
/// A dict in a dict in a dict holds the weights; more wrappers are not looked through.
const MOST_WRAPPERS: usize = 4;
/// Weights are looked for below a dict to this depth, and in so many dicts of each.
const DEEPEST: usize = 12;
const MOST_DICTS: usize = 1_000;
/// Keys that together make a dict the state of something that trains: optimizers, schedulers, gradient scalers, and the
/// unnamed copies of diffusers' and torch_ema's averages. The last key of a list that matters is among the first few.
const TRAINING: [&[&str]; 4] = [
    &["param_groups", "state"],
    &["_step_count", "last_epoch"],
    &["growth_factor", "growth_interval"],
    &["shadow_params"],
];
const MOST_KEYS: usize = 64;
/// So many values beside the tensors are kept.
const MOST_METADATA: usize = 10_000;
/// So many names stand in a message.
const NAMED: usize = 12;

/// Where the weights are and what is around them.
pub(super) struct Unwrapped {
    /// A module, or a dict, or whatever was saved.
    pub inner: NodeId,
    /// Keys from the outside in.
    pub wrappers: Vec<String>,
    /// The values beside the weights; those of inner levels under `wrapper.key`.
    pub metadata: Map<String, Value>,
    /// The networks that stand in `inner` side by side, where it is a training checkpoint with several.
    pub side_by_side: Vec<String>,
}

/// Follow the keys that hold the weights: of dicts, of lists and tuples, and attributes of objects that are no modules.
/// `asked` is the key that the user wants, or a dotted path of keys; where it is not found the choice is as without it.
pub(super) fn unwrap(rebuilder: &mut Rebuilder<'_>, asked: Option<&str>) -> Unwrapped {
    let pickle = rebuilder.pickle;
    let root = pickle.root();
    let mut found = Unwrapped { inner: root, wrappers: Vec::new(), metadata: Map::new(), side_by_side: Vec::new() };
    let mut asked = asked;
    let mut printer = Printer::for_metadata();
    let finder = Finder::new(pickle);
    let mut usual = false;
    for _ in 0..MOST_WRAPPERS {
        if module_state(pickle, found.inner).is_some() {
            break;
        }
        let wanted = asked.and_then(|name| Some((name.to_owned(), finder.at(rebuilder, found.inner, name)?)));
        let choice = match &wanted {
            Some((_, value)) => Choice::Inner { key: None, inner: *value, usual: true },
            None => finder.choose(rebuilder, found.inner, usual),
        };
        let (key, inner) = match choice {
            Choice::Inner { key, inner, usual: is_usual } => {
                usual |= is_usual;
                (key, inner)
            }
            Choice::Several(names) => {
                let around = found.wrappers.join(".");
                rebuilder.dicts.extend(names.iter().map(|name| join(&around, name.as_str().into()).to_string()));
                found.side_by_side = names;
                break;
            }
            Choice::Here => break,
        };
        let name = match (&wanted, key) {
            (Some((name, _)), _) => CompactString::from(name.as_str()),
            (None, Some(key)) => key.text(pickle),
            (None, None) => break,
        };
        let around = found.wrappers.join(".");
        let (mut others, mut loose) = (Vec::new(), Vec::new());
        for (key, value) in parts(pickle, found.inner) {
            let key = key.text(pickle);
            if key == name || (wanted.is_some() && value == inner) {
                continue;
            }
            if rebuilder.is_tensor(value) {
                if !finder.is_aside(rebuilder, &key, value) {
                    loose.push(key.to_string());
                }
            } else if finder.holds(rebuilder, &key, value, DEEPEST) {
                others.push(key.to_string());
            }
            keep(&mut found.metadata, join(&around, key), || summary(rebuilder, &mut printer, value));
        }
        let shown = name_for_message(&name);
        if !others.is_empty() {
            let all = std::iter::once(name.to_string()).chain(others.iter().cloned());
            let new: Vec<String> = all
                .map(|key| join(&around, key.into()).into())
                .filter(|dict| !rebuilder.dicts.contains(dict))
                .collect();
            rebuilder.dicts.extend(new);
            let hold = if others.len() == 1 { "holds" } else { "hold" };
            rebuilder
                .warn(format!("{} {hold} weights too; only `{shown}` is shown, --key takes another.", list(&others)));
        }
        if !loose.is_empty() {
            rebuilder.warn(format!("Tensors beside `{shown}` are not shown: {}.", list(&loose)));
        }
        found.wrappers.push(name.into());
        found.inner = inner;
        if wanted.is_some() {
            asked = None;
        }
    }
    found
}

/// Names for a message.
pub(super) fn list(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{}`", name_for_message(name))).collect();
    if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// Where the weights of a container are.
enum Choice {
    /// In one of its members.
    Inner { key: Option<Key>, inner: NodeId, usual: bool },
    /// In several of its members, by their names.
    Several(Vec<String>),
    /// In itself, or nowhere.
    Here,
}

/// Looks for weights in values; what was found of a dict is remembered, since many keys may lead to one.
struct Finder<'p> {
    pickle: &'p Pickle,
    holds: RefCell<HashMap<NodeId, bool>>,
    elements: RefCell<HashMap<NodeId, u64>>,
}

impl<'p> Finder<'p> {
    fn new(pickle: &'p Pickle) -> Finder<'p> {
        Finder { pickle, holds: RefCell::default(), elements: RefCell::default() }
    }

    /// The value at a dotted path of keys, if it holds weights.
    fn at(&self, rebuilder: &Rebuilder<'_>, container: NodeId, path: &str) -> Option<NodeId> {
        parts(self.pickle, container).find_map(|(key, value)| {
            let key = key.text(self.pickle);
            match path.strip_prefix(key.as_str())? {
                "" => self.holds(rebuilder, "", value, DEEPEST).then_some(value),
                rest => self.at(rebuilder, value, rest.strip_prefix('.')?),
            }
        })
    }

    /// The member under which the weights are: a usual one, or the only one that has any. Below a usual one the parts of a
    /// model are its own.
    fn choose(&self, rebuilder: &Rebuilder<'_>, container: NodeId, in_usual: bool) -> Choice {
        let pickle = self.pickle;
        let is_usual = |key: Key| match key {
            Key::Name(key) => WRAPPERS.iter().position(|usual| pickle.is_text(key, usual)),
            Key::Index(_) => None,
        };
        let (mut networks, mut loose) = (Vec::new(), 0u64);
        for (key, value) in parts(pickle, container) {
            if rebuilder.is_tensor(value) {
                let name = key.text(pickle);
                // The names of a state dict.
                if name.contains('.') {
                    return Choice::Here;
                }
                if !self.is_aside(rebuilder, &name, value) {
                    loose = loose.saturating_add(elements(rebuilder, value));
                }
            } else if self.holds(rebuilder, &key.text(pickle), value, DEEPEST) {
                networks.push((key, value));
            }
        }
        let size = |value: NodeId| self.elements(rebuilder, value, DEEPEST);
        let usual = networks.iter().filter_map(|(key, value)| Some((is_usual(*key)?, *key, *value)));
        if let Some((_, key, inner)) = usual.min_by_key(|(rank, ..)| *rank) {
            let alone = networks.len() == 1;
            // `net` may be a usual name, but not where it is the least of the parts.
            let outweighed = || networks.iter().any(|(_, other)| size(*other) / 2 > size(inner));
            if alone || (!in_usual && !outweighed()) {
                return Choice::Inner { key: Some(key), inner, usual: true };
            }
        }
        match networks.as_slice() {
            _ if in_usual => Choice::Here,
            [] => Choice::Here,
            [(key, inner)] => {
                let is_state_dict = module_state(pickle, *inner).is_some()
                    || parts(pickle, *inner).any(|(_, value)| rebuilder.is_tensor(value))
                    || matches!(self.choose(rebuilder, *inner, false), Choice::Inner { usual: true, .. });
                let outweighs = loose == 0 || size(*inner) > loose;
                if is_state_dict && outweighs {
                    Choice::Inner { key: Some(*key), inner: *inner, usual: false }
                } else {
                    Choice::Here
                }
            }
            several => Choice::Several(several.iter().map(|(key, _)| key.text(pickle).into()).collect()),
        }
    }

    /// Whether a tensor is no weight: a number, or the state of a random generator.
    fn is_aside(&self, rebuilder: &Rebuilder<'_>, key: &str, value: NodeId) -> bool {
        is_random_state(key) || rebuilder.shape(value).is_some_and(|shape| shape.is_empty())
    }

    /// Whether a value is a module, or a dict with weights in it or in the dicts below it.
    fn holds(&self, rebuilder: &Rebuilder<'_>, key: &str, value: NodeId, depth: usize) -> bool {
        let pickle = self.pickle;
        if module_state(pickle, value).is_some() {
            return true;
        }
        if depth == 0 || is_named_for_training(key) {
            return false;
        }
        if let Some(&known) = self.holds.borrow().get(&value) {
            return known;
        }
        // What leads back to itself holds nothing more.
        self.holds.borrow_mut().insert(value, false);
        let mut inner = Vec::new();
        let mut found = false;
        if !is_training(pickle, value) {
            for (key, value) in parts(pickle, value) {
                if rebuilder.is_tensor(value) {
                    found = !self.is_aside(rebuilder, &key.text(pickle), value);
                    if found {
                        break;
                    }
                } else if inner.len() < MOST_DICTS {
                    inner.push(value);
                }
            }
            found = found || inner.into_iter().any(|value| self.holds(rebuilder, "", value, depth - 1));
        }
        self.holds.borrow_mut().insert(value, found);
        found
    }

    /// Elements of all tensors below a value that holds weights; of a module 0, which is not looked into.
    fn elements(&self, rebuilder: &Rebuilder<'_>, value: NodeId, depth: usize) -> u64 {
        if depth == 0 || is_training(self.pickle, value) {
            return 0;
        }
        if let Some(&known) = self.elements.borrow().get(&value) {
            return known;
        }
        self.elements.borrow_mut().insert(value, 0);
        let sum = parts(self.pickle, value).fold(0u64, |sum, (_, value)| {
            let part = match rebuilder.is_tensor(value) {
                true => elements(rebuilder, value),
                false => self.elements(rebuilder, value, depth - 1),
            };
            sum.saturating_add(part)
        });
        self.elements.borrow_mut().insert(value, sum);
        sum
    }
}

fn elements(rebuilder: &Rebuilder<'_>, tensor: NodeId) -> u64 {
    let shape = rebuilder.shape(tensor).unwrap_or_default();
    shape.iter().fold(1, |product, &size| product.saturating_mul(size))
}

/// Whether a member is no part of a model by its place in a training checkpoint: for the dict that the user's script wrote.
pub(super) fn is_beside(rebuilder: &Rebuilder<'_>, key: &str, value: NodeId) -> bool {
    let pickle = rebuilder.pickle;
    if rebuilder.is_tensor(value) {
        return is_random_state(key);
    }
    module_state(pickle, value).is_none() && (is_named_for_training(key) || is_training(pickle, value))
}

/// Whether a dict, or an object's attributes, are those of an optimizer, a scheduler or another part of training.
pub(super) fn is_training(pickle: &Pickle, value: NodeId) -> bool {
    let mut seen = [0usize; TRAINING.len()];
    for (key, _) in parts(pickle, value).take(MOST_KEYS) {
        let Key::Name(key) = key else { return false };
        for (seen, keys) in seen.iter_mut().zip(TRAINING) {
            *seen += usize::from(keys.iter().any(|name| pickle.is_text(key, name)));
        }
    }
    seen.iter().zip(TRAINING).any(|(seen, keys)| *seen == keys.len())
}

/// Whether a key is what scripts call the state of optimizers, schedulers and random generators, and of Lightning's loops.
fn is_named_for_training(key: &str) -> bool {
    let is_such = |word: &str| {
        let word = word.to_ascii_lowercase();
        let begins = |stem: &str| word.starts_with(stem);
        begins("optimizer")
            || begins("optimiser")
            || begins("scheduler")
            || matches!(&*word, "optim" | "optims" | "sched" | "rng" | "rngs")
    };
    !key.contains('.') && (matches!(key, "callbacks" | "loops") || is_random_state(key) || words(key).any(is_such))
}

fn is_random_state(key: &str) -> bool {
    !key.contains('.')
        && (key.contains("random_state") || (words(key).any(|word| word == "rng") && key.contains("state")))
}

/// The words of a key: between underscores, and up to capitals (`optimizerG`).
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split(|letter: char| !letter.is_alphanumeric()).flat_map(|part| {
        let end =
            part.char_indices().skip(1).find(|(_, letter)| letter.is_uppercase()).map_or(part.len(), |(at, _)| at);
        [part.get(..end).unwrap_or_default(), part.get(end..).unwrap_or_default()]
    })
}

/// A value for the metadata: an optimizer and a dict of tensors by their shape, everything else written out.
pub(super) fn summary(rebuilder: &Rebuilder<'_>, printer: &mut Printer, value: NodeId) -> Value {
    let pickle = rebuilder.pickle;
    if is_optimizer(pickle, value) {
        return optimizer(pickle, printer, value);
    }
    if let Some(shape) = rebuilder.shape(value) {
        return json!({ "tensor": shape.as_slice() });
    }
    let tensors =
        pickle.entries(value).map_or(0, |entries| entries.filter(|(_, value)| rebuilder.is_tensor(*value)).count());
    if tensors > 0 { json!({ "tensors": tensors }) } else { printer.value(pickle, value) }
}

/// A checkpoint has one average, or one of each network.
const MOST_AVERAGES: usize = 32;
/// `{"groups": [{"lr": …, "params": count}], "state": {"entries": count, "fields": ["exp_avg", …]}}`
pub(super) fn optimizer(pickle: &Pickle, printer: &mut Printer, dict: NodeId) -> Value {
    const MOST_GROUPS: usize = 16;
    let groups = pickle.get(dict, "param_groups").and_then(|groups| pickle.items(groups));
    let groups: Vec<Value> = groups
        .into_iter()
        .flatten()
        .take(MOST_GROUPS)
        .map(|group| {
            let options = pickle.entries(group).into_iter().flatten().map(|(key, value)| {
                let key = key_text(pickle, key);
                let shown = match pickle.items(value) {
                    Some(params) if key == "params" => Value::from(params.count()),
                    _ => printer.value(pickle, value),
                };
                (key.into(), shown)
            });
            Value::Object(options.collect())
        })
        .collect();
    let state = pickle.get(dict, "state");
    let entries = || state.and_then(|state| pickle.entries(state)).into_iter().flatten();
    let fields = entries().next().and_then(|(_, first)| pickle.entries(first)).into_iter().flatten();
    let fields: Vec<String> = fields.take(32).map(|(key, _)| key_text(pickle, key).into()).collect();
    json!({ "groups": groups, "state": { "entries": entries().count(), "fields": fields } })
}

/// Add to the metadata unless it is full.
pub(super) fn keep(metadata: &mut Map<String, Value>, name: CompactString, value: impl FnOnce() -> Value) {
    if metadata.len() < MOST_METADATA {
        metadata.insert(name.into(), value());
    }
}

/// The counters that averages keep among the weights: their last parts, and what stands beside them.
const COUNTERS: [(&[&str], &str); 3] =
    [(&["n_averaged"], "module."), (&["initted", "step"], "ema_model."), (&["decay", "num_updates"], "")];

/// Take the counters of an average (`AveragedModel`, ema-pytorch, LitEma) from the weights to the metadata.
pub(super) fn set_counters_aside(checkpoint: &mut Checkpoint) {
    if !matches!(checkpoint.content, Content::StateDict { .. }) {
        return;
    }
    let mut aside = Vec::new();
    let mut is_average = false;
    for (names, beside) in COUNTERS {
        let path = |tensor: &'_ Tensor| -> Option<String> {
            let path = tensor.name.strip_suffix(*names.first()?)?;
            (path.is_empty() || path.ends_with('.')).then(|| path.to_owned())
        };
        let found = checkpoint.tensors.iter().enumerate().filter_map(|(id, tensor)| Some((id, path(tensor)?)));
        for (id, path) in found.take(MOST_AVERAGES) {
            let find = |name: &str| {
                checkpoint.tensors.iter().position(|other| other.name.strip_prefix(path.as_str()) == Some(name))
            };
            let all: Option<Vec<usize>> = names.iter().skip(1).map(|name| find(name)).collect();
            let Some(mut all) = all else { continue };
            all.push(id);
            let number = |id: &usize| checkpoint.tensors.get(*id).is_some_and(|tensor| tensor.elements() == 1);
            let inside = format!("{path}{beside}");
            let is_beside = checkpoint.tensors.iter().any(|tensor| {
                tensor.name.len() > inside.len() && tensor.name.starts_with(&inside) && tensor.elements() > 1
            });
            if all.iter().all(number) && is_beside {
                is_average |= beside == "ema_model.";
                aside.extend(all);
            }
        }
    }
    if aside.is_empty() {
        return;
    }
    aside.sort_unstable();
    let mut names = Vec::new();
    for &id in &aside {
        let value = checkpoint.read(id).ok().and_then(|data| data.to_f64()?.first().copied());
        let Some(tensor) = checkpoint.tensors.get(id) else { continue };
        names.push(tensor.name.to_string());
        checkpoint.metadata.insert(tensor.name.to_string(), json!(value));
    }
    checkpoint
        .warnings
        .push(format!("Counters of an average are no weights and stand in the metadata: {}.", list(&names)));
    checkpoint.keep_tensors(|id, _| aside.binary_search(&id).is_err());
    if is_average && checkpoint.tensors.iter().all(|tensor| tensor.name.starts_with("ema_model.")) {
        strip(checkpoint, "ema_model.");
        checkpoint.wrappers.push("ema_model.".to_owned());
    }
}

/// Take what all names begin with away.
fn strip(checkpoint: &mut Checkpoint, prefix: &str) {
    for tensor in &mut checkpoint.tensors {
        tensor.name.drain(..prefix.len());
    }
    if let Content::StateDict { module_versions } = &mut checkpoint.content {
        let stem = prefix.trim_end_matches('.');
        module_versions.retain_mut(|(path, _)| {
            let rest = path
                .strip_prefix(stem)
                .and_then(|rest| if rest.is_empty() { Some("") } else { rest.strip_prefix('.') });
            let rest = rest.map(str::to_owned);
            rest.map(|rest| *path = rest).is_some()
        });
    }
}

/// The dict that the user asked for, where the format keeps one by the beginning of its names.
///
/// # Errors
/// No name begins so; the message lists what there is.
pub(super) fn select(checkpoint: &mut Checkpoint, key: &str) -> Result<(), Error> {
    if checkpoint.wrappers.iter().any(|wrapper| wrapper == key) {
        return Ok(());
    }
    let prefix = format!("{key}.");
    let begins = |tensor: &Tensor| tensor.name.starts_with(&prefix);
    let is_names = matches!(checkpoint.content, Content::StateDict { .. });
    if !is_names || !checkpoint.tensors.iter().any(begins) {
        let mut tops: Vec<String> = Vec::new();
        for name in checkpoint.tensors.iter().filter_map(|tensor| tensor.name.split_once('.')).map(|(top, _)| top) {
            if tops.last().is_none_or(|last| last != name)
                && !tops.iter().any(|known| known == name)
                && tops.len() <= NAMED
            {
                tops.push(name.to_owned());
            }
        }
        let beside = checkpoint.metadata.iter().filter(|(_, value)| value.get("tensors").is_some());
        tops.extend(beside.map(|(name, _)| name.clone()));
        let what = format!("has no dict `{}` with weights; --key takes one of {}", name_for_message(key), list(&tops));
        return Err(Error::Format { path: checkpoint.path.clone(), what });
    }
    let left = checkpoint.tensors.len();
    checkpoint.keep_tensors(|_, tensor| tensor.name.starts_with(&prefix));
    strip(checkpoint, &prefix);
    let left = left - checkpoint.tensors.len();
    if left > 0 {
        checkpoint
            .warnings
            .push(format!("Only `{}` is shown, as --key asks; tensors outside of it: {left}.", name_for_message(key)));
    }
    checkpoint.wrappers.push(key.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_trains_is_known_by_its_key() {
        let trains = [
            "optimizer",
            "optimizerG",
            "optim_g",
            "actor_optimizer",
            "lr_schedulers",
            "rng_state",
            "torch_rng_state",
            "cuda_rng_states",
            "numpy_random_state",
            "callbacks",
        ];
        assert!(trains.iter().all(|key| is_named_for_training(key)), "{trains:?}");
        let models = ["optics", "generator", "opt", "encoder.rng_state", "strange", "model", "schedule_embedding"];
        assert!(!models.iter().any(|key| is_named_for_training(key)), "{models:?}");
    }
}
