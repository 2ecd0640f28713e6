//! State dicts out of a pickle: their tensors under dotted names, and the values beside them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use super::error::name_for_message;
use super::members::{Key, parts};
use super::objects::join;
use super::pickle::{Fault, NodeId, Pickle, Printer, key_text};
use super::rebuild::Rebuilder;
use super::weights::{is_beside, is_training, keep, summary};

/// Dicts and lists inside a state dict are followed to this depth.
const DEEPEST: usize = 64;
/// Work that a value costs, besides its name and what becomes of it.
const VISIT_WORK: u64 = 64;

/// A container that is being read: its members not visited yet, the next one last.
struct Level {
    id: NodeId,
    path: CompactString,
    members: Vec<(Key, NodeId)>,
}

/// Arrays that are told.
const MOST_ARRAYS: usize = 100_000;

/// Add every tensor in a dict, and in the dicts, lists and objects in it, under its dotted name; scalars go to the metadata.
/// So do the parts of training; where several networks stand side by side in the dict, single numbers in it as well.
///
/// # Errors
/// The nesting is too deep or unfolds too far, or a tensor is wrong.
pub(super) fn flatten(
    rebuilder: &mut Rebuilder<'_>,
    root: NodeId,
    side_by_side: bool,
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
        let is_root = levels.len() == 1;
        let is_number = || side_by_side && is_root && rebuilder.shape(value).is_some_and(|shape| shape.is_empty());
        let beside =
            if is_root { is_beside(rebuilder, &name, value) || is_number() } else { is_training(pickle, value) };
        if beside {
            keep(metadata, name, || summary(rebuilder, &mut printer, value));
            continue;
        }
        let Some(name) = rebuilder.add_or_return(value, name)? else { continue };
        if !is_container(pickle, value) {
            if is_array(pickle, value) && rebuilder.arrays.len() < MOST_ARRAYS {
                rebuilder.arrays.push(name.to_string());
            }
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

/// Whether a value is an array of NumPy's, whose numbers are in the pickle itself.
fn is_array(pickle: &Pickle, value: NodeId) -> bool {
    let object = pickle.object(value);
    let name = object.as_ref().and_then(|object| pickle.callable_name(object));
    name.is_some_and(|name| name.starts_with("numpy.") && name.ends_with("._reconstruct"))
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
