//! What is in a pickled dict, list or object.

use compact_str::{CompactString, ToCompactString};

use super::pickle::{NodeId, Pickle, key_text};

/// A member's name in its container.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Name(NodeId),
    Index(u32),
}

impl Key {
    pub fn text(self, pickle: &Pickle) -> CompactString {
        match self {
            Key::Name(key) => key_text(pickle, key),
            Key::Index(index) => index.to_compact_string(),
        }
    }
}

/// Keys and values of a dict, places and items of a list or tuple, attributes and values of another object.
pub(super) fn parts(pickle: &Pickle, container: NodeId) -> impl Iterator<Item = (Key, NodeId)> {
    let state = || pickle.object(container).and_then(|object| pickle.state(&object));
    let entries = pickle.entries(container);
    let items = if entries.is_none() { pickle.items(container) } else { None };
    let attributes =
        if entries.is_none() && items.is_none() { state().and_then(|state| pickle.entries(state)) } else { None };
    let named = entries.or(attributes).into_iter().flatten().map(|(key, value)| (Key::Name(key), value));
    named.chain(items.into_iter().flatten().zip(0u32..).map(|(value, index)| (Key::Index(index), value)))
}

/// Whether a dict is the state of an optimizer, as torch saves it.
pub(super) fn is_optimizer(pickle: &Pickle, dict: NodeId) -> bool {
    pickle.get(dict, "param_groups").is_some() && pickle.get(dict, "state").is_some()
}
