//! What a pickle would have done, for the reader's eyes.

use std::collections::HashMap;

use super::super::error::name_for_message;
use super::super::{PickleGlobal, PickleReport};
use super::globals::is_dangerous;
use super::values::Printer;
use super::{Node, Object, Pickle};

/// How many different functions are listed with their calls.
const MOST_REFUSED: usize = 1_000;

/// The globals of a pickle, and the calls that torch's `weights_only` unpickler would refuse: one line for each function,
/// with its first arguments.
pub fn report(pickle: &Pickle) -> PickleReport {
    let globals = pickle
        .globals
        .iter()
        .map(|global| PickleGlobal {
            name: global.name.clone(),
            allowed: global.allowed,
            dangerous: is_dangerous(&global.name),
            count: global.count,
        })
        .collect();
    let mut order: Vec<(Object, u64, u64)> = Vec::new();
    let mut places = HashMap::new();
    for (object, id) in &pickle.objects {
        let global = pickle.global(object.callable);
        if global.is_some_and(|global| global.allowed) {
            continue;
        }
        match places.entry(global_index(pickle, object)) {
            std::collections::hash_map::Entry::Occupied(place) => {
                if let Some((_, _, count)) = order.get_mut(*place.get()) {
                    *count += 1;
                }
            }
            std::collections::hash_map::Entry::Vacant(place) if order.len() < MOST_REFUSED => {
                place.insert(order.len());
                order.push((*object, pickle.offset(*id), 1));
            }
            std::collections::hash_map::Entry::Vacant(_) => {}
        }
    }
    let extensions = pickle.extensions.iter().take(MOST_REFUSED);
    let refused = order.iter().map(|(object, offset, count)| refusal(pickle, object, *offset, *count));
    let refused = refused.chain(extensions.map(|(offset, code)| format!("extension code {code} at byte {offset}")));
    PickleReport { globals, refused: refused.collect() }
}

fn global_index(pickle: &Pickle, object: &Object) -> Option<u32> {
    match pickle.node(object.callable) {
        Node::Global(index) => Some(index),
        _ => None,
    }
}

fn refusal(pickle: &Pickle, object: &Object, offset: u64, count: u64) -> String {
    let call = name_for_message(&Printer::for_messages().call(pickle, object));
    match count {
        1 => format!("{call} at byte {offset}"),
        _ => format!("{call} at byte {offset}, and {} more of it", count - 1),
    }
}

impl Pickle {
    /// The first globals that torch would refuse, for the end of an error message; empty where there are none.
    pub fn refused_globals(&self) -> String {
        let names: Vec<String> = self
            .globals
            .iter()
            .filter(|global| !global.allowed)
            .take(3)
            .map(|global| format!("{} (byte {})", name_for_message(&global.name), global.offset))
            .collect();
        match names.is_empty() {
            true => String::new(),
            false => format!("; it mentions {}, which was not run", names.join(", ")),
        }
    }
}
