//! Finding the weights in what was saved: a state dict, a module, or a training checkpoint around either.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::{Map, Value, json};

use super::Tensor;
use super::error::name_for_message;
use super::members::{Key, is_optimizer, parts};
use super::objects::{join, module_state};
use super::pickle::{Fault, NodeId, Pickle, Printer, key_text};
use super::rebuild::Rebuilder;

/// Keys that training scripts put the weights under, the usual first.
pub(super) const WRAPPERS: [&str; 12] = [
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
];
/// Prefixes that `DataParallel` and `torch.compile` put in front of every name.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];
/// A dict in a dict in a dict holds the weights; more is not looked through.
const MOST_WRAPPERS: usize = 4;
/// Dicts and lists inside a state dict are followed to this depth.
const DEEPEST: usize = 64;
/// Work that a value costs, besides its name and what becomes of it.
const VISIT_WORK: u64 = 64;
/// So many values beside the tensors are kept.
const MOST_METADATA: usize = 10_000;

/// Where the weights are and what is around them.
pub(super) struct Unwrapped {
    /// A module, or a dict, or whatever was saved.
    pub inner: NodeId,
    /// Keys from the outside in.
    pub wrappers: Vec<String>,
    /// The values beside the weights; those of inner levels under `wrapper.key`.
    pub metadata: Map<String, Value>,
}

/// Follow the keys that hold the weights: of dicts, of lists and tuples, and attributes of objects that are no modules.
pub(super) fn unwrap(rebuilder: &mut Rebuilder<'_>) -> Unwrapped {
    let pickle = rebuilder.pickle;
    let mut found = Unwrapped { inner: pickle.root(), wrappers: Vec::new(), metadata: Map::new() };
    let mut printer = Printer::for_metadata();
    for _ in 0..MOST_WRAPPERS {
        if module_state(pickle, found.inner).is_some() {
            break;
        }
        let Some((key, inner)) = weights_in(rebuilder, found.inner) else { break };
        let name = key.text(pickle);
        let around = found.wrappers.join(".");
        let mut others = Vec::new();
        for (key, value) in parts(pickle, found.inner) {
            let key = key.text(pickle);
            if key == name {
                continue;
            }
            if holds_weights(rebuilder, value) || rebuilder.is_tensor(value) {
                others.push(name_for_message(&key));
            }
            keep(&mut found.metadata, join(&around, key), || summary(rebuilder, &mut printer, value));
        }
        if !others.is_empty() {
            let (shown, hold) = (name_for_message(&name), if others.len() == 1 { "holds" } else { "hold" });
            rebuilder.warn(format!("`{}` {hold} weights too; only `{shown}` is shown.", others.join("`, `")));
        }
        found.wrappers.push(name.into());
        found.inner = inner;
    }
    found
}

/// The key under which the weights are: a usual one, or the only one that holds any.
fn weights_in(rebuilder: &Rebuilder<'_>, container: NodeId) -> Option<(Key, NodeId)> {
    let pickle = rebuilder.pickle;
    // A state dict has many keys, and tensors are the cheapest to rule out.
    let is_usual = |key: Key| match key {
        Key::Name(key) => WRAPPERS.iter().position(|usual| pickle.is_text(key, usual)),
        Key::Index(_) => None,
    };
    let candidates = parts(pickle, container).filter(|(_, value)| !rebuilder.is_tensor(*value));
    let usual = candidates.filter_map(|(key, value)| Some((is_usual(key)?, key, value)));
    let usual = usual.filter(|(_, _, value)| holds_weights(rebuilder, *value)).min_by_key(|(rank, ..)| *rank);
    if let Some((_, key, value)) = usual {
        return Some((key, value));
    }
    if parts(pickle, container).any(|(_, value)| rebuilder.is_tensor(value)) {
        return None;
    }
    let mut holders = parts(pickle, container).filter(|(_, value)| holds_weights(rebuilder, *value));
    let found = holders.next()?;
    holders.next().is_none().then_some(found)
}

/// Whether a value is a module, or a dict of tensors, or a dict of such dicts. An optimizer's state is not.
fn holds_weights(rebuilder: &Rebuilder<'_>, value: NodeId) -> bool {
    let pickle = rebuilder.pickle;
    if module_state(pickle, value).is_some() {
        return true;
    }
    if is_optimizer(pickle, value) {
        return false;
    }
    let has_tensor = |value: NodeId| parts(pickle, value).any(|(_, value)| rebuilder.is_tensor(value));
    has_tensor(value)
        || parts(pickle, value).take(100).any(|(_, inner)| {
            module_state(pickle, inner).is_some() || (!is_optimizer(pickle, inner) && has_tensor(inner))
        })
}

/// A value for the metadata: an optimizer and a dict of tensors by their shape, everything else written out.
fn summary(rebuilder: &Rebuilder<'_>, printer: &mut Printer, value: NodeId) -> Value {
    let pickle = rebuilder.pickle;
    if is_optimizer(pickle, value) {
        return optimizer(pickle, printer, value);
    }
    let tensors =
        pickle.entries(value).map_or(0, |entries| entries.filter(|(_, value)| rebuilder.is_tensor(*value)).count());
    if tensors > 0 { json!({ "tensors": tensors }) } else { printer.value(pickle, value) }
}

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

/// A container that is being read: its members not visited yet, the next one last.
struct Level {
    id: NodeId,
    path: CompactString,
    members: Vec<(Key, NodeId)>,
}

/// Add every tensor in a dict, and in the dicts, lists and objects in it, under its dotted name; scalars go to the metadata.
///
/// # Errors
/// The nesting is too deep or unfolds too far, or a tensor is wrong.
pub(super) fn flatten(
    rebuilder: &mut Rebuilder<'_>,
    root: NodeId,
    metadata: &mut Map<String, Value>,
) -> Result<(), Fault> {
    let pickle = rebuilder.pickle;
    let mut printer = Printer::for_metadata();
    let members_of_root = members(rebuilder, root);
    rebuilder.reserve(members_of_root.len());
    let mut levels = vec![Level { id: root, path: CompactString::default(), members: members_of_root }];
    while let Some(level) = levels.last_mut() {
        let Some((key, value)) = level.members.pop() else {
            levels.pop();
            continue;
        };
        let name = join(&level.path, key.text(pickle));
        let fault = |what: &str| Fault { offset: pickle.offset(value), what: what.to_owned() };
        // Shared containers are visited under each of their names; a bomb of them is not.
        if !pickle.spend(VISIT_WORK + name.len() as u64) {
            return pickle.check_work();
        }
        let Some(name) = rebuilder.add_or_return(value, name)? else { continue };
        if !is_container(pickle, value) {
            keep(metadata, name, || printer.value(pickle, value));
            continue;
        }
        if levels.iter().any(|level| level.id == value) {
            keep(metadata, name, || Value::from(format!("(back to byte {})", pickle.offset(value))));
            continue;
        }
        if levels.len() >= DEEPEST {
            return Err(fault(&format!("nested deeper than {DEEPEST} levels, which no checkpoint is")));
        }
        let members = members(rebuilder, value);
        if members.is_empty() {
            keep(metadata, name, || printer.value(pickle, value));
        } else {
            levels.push(Level { id: value, path: name, members });
        }
    }
    Ok(())
}

/// Add to the metadata unless it is full.
fn keep(metadata: &mut Map<String, Value>, name: CompactString, value: impl FnOnce() -> Value) {
    if metadata.len() < MOST_METADATA {
        metadata.insert(name.into(), value());
    }
}

fn is_container(pickle: &Pickle, value: NodeId) -> bool {
    let state = pickle.object(value).and_then(|object| pickle.state(&object));
    pickle.is_dict(value) || pickle.items(value).is_some() || state.is_some_and(|state| pickle.is_dict(state))
}

/// The members of a dict, list, tuple or object with a state, in reverse; a key that comes twice counts once, as in Python.
fn members(rebuilder: &mut Rebuilder<'_>, container: NodeId) -> Vec<(Key, NodeId)> {
    let pickle = rebuilder.pickle;
    let mut members: Vec<(Key, NodeId)> = parts(pickle, container).collect();
    settle_duplicates(rebuilder, &mut members);
    members.reverse();
    members
}

/// Of keys that come twice keep the first place and the last value, as Python does. Say so, and name broken keys.
fn settle_duplicates(rebuilder: &mut Rebuilder<'_>, members: &mut Vec<(Key, NodeId)>) {
    let pickle = rebuilder.pickle;
    let text = |key: &Key| if let Key::Name(key) = key { pickle.text(*key) } else { None };
    let hasher = RandomState::default();
    let mut hashes = HashSet::with_capacity_and_hasher(members.len(), RandomState::default());
    let mut repeated = false;
    for (key, _) in members.iter() {
        let Some(text) = text(key) else { continue };
        repeated |= !hashes.insert(hasher.hash_one(&*text));
        // Sound UTF-8 is borrowed.
        if let (Key::Name(key), Cow::Owned(_)) = (key, &text)
            && pickle.is_broken_text(*key)
        {
            let shown = name_for_message(&key_text(pickle, *key));
            let offset = pickle.offset(*key);
            rebuilder
                .warn(format!("The key `{shown}` at byte {offset} is not UTF-8; its bad bytes are shown as U+FFFD."));
        }
    }
    if !repeated {
        return;
    }
    // Rare, so only now at the cost of a map of all keys.
    let mut places = HashMap::new();
    let mut settled: Vec<(Key, NodeId)> = Vec::with_capacity(members.len());
    for (key, value) in members.drain(..) {
        let place = text(&key).map_or(settled.len(), |text| *places.entry(text).or_insert(settled.len()));
        match settled.get_mut(place) {
            Some((_, earlier)) => {
                *earlier = value;
                let shown = name_for_message(&key.text(pickle));
                let offset = pickle.offset(value);
                rebuilder.warn(format!("The key `{shown}` comes twice; the second value, at byte {offset}, counts."));
            }
            None => settled.push((key, value)),
        }
    }
    *members = settled;
}

/// The module paths and versions that `state_dict()` leaves in the dict's `_metadata`.
pub(super) fn module_versions(pickle: &Pickle, dict: NodeId) -> Vec<(String, Option<i64>)> {
    let state = pickle.object(dict).and_then(|object| pickle.state(&object));
    let metadata = state.and_then(|state| pickle.get(state, "_metadata"));
    let entries = metadata.and_then(|metadata| pickle.entries(metadata)).into_iter().flatten();
    entries
        .filter_map(|(path, facts)| {
            let version = pickle.get(facts, "version").and_then(|version| pickle.int(version));
            Some((pickle.text(path)?.into_owned(), version))
        })
        .collect()
}

/// Take off the prefixes that every name has, and name them among the wrappers.
pub(super) fn strip_prefixes(
    tensors: &mut [Tensor],
    versions: &mut Vec<(String, Option<i64>)>,
    wrappers: &mut Vec<String>,
) {
    while let Some(prefix) = PREFIXES
        .iter()
        .find(|prefix| !tensors.is_empty() && tensors.iter().all(|tensor| tensor.name.starts_with(**prefix)))
    {
        for tensor in tensors.iter_mut() {
            tensor.name.drain(..prefix.len());
        }
        let stem = prefix.trim_end_matches('.');
        versions.retain_mut(|(path, _)| {
            let inner = path
                .strip_prefix(stem)
                .and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') });
            let inner = inner.map(str::to_owned);
            inner.map(|inner| *path = inner).is_some()
        });
        wrappers.push((*prefix).to_owned());
    }
}
