//! The archive's objects and code, as a graph is made of them.

use std::collections::HashMap;

use super::super::objects::join;
use super::super::pickle::{How, NodeId, Object as Pickled, Pickle, key_text};
use super::super::rebuild::Rebuilder;
use super::super::script::{Attribute, Object};

/// More objects than any model has.
const MOST_OBJECTS: usize = 1_000_000;
/// Members of lists and dicts together, and how deep they may be in each other.
const MOST_MEMBERS: usize = 1_000_000;
const DEEPEST: usize = 8;
/// What the names of an archive's own classes begin with.
pub(super) const OWN: &str = "__torch__.";
/// What makes a device.
const DEVICE: &str = "torch.device";

/// The root and all objects of the archive's classes that it holds. Names of tensors are those under which the walk over the
/// modules lists them.
pub(super) fn objects(rebuilder: &Rebuilder<'_>) -> Vec<Object> {
    let pickle = rebuilder.pickle;
    let mut finder = Finder {
        rebuilder,
        objects: Vec::new(),
        ids: Vec::new(),
        index: HashMap::new(),
        tensors: HashMap::new(),
        left: MOST_MEMBERS,
    };
    finder.add(pickle.root(), String::new());
    let mut next = 0;
    while let Some(&id) = finder.ids.get(next) {
        let path = finder.objects.get(next).map(|object: &Object| object.path.clone()).unwrap_or_default();
        for (key, value) in entries(pickle, id) {
            let name = join(&path, key_text(pickle, key));
            if rebuilder.is_tensor(value) {
                finder.tensors.entry(value).or_insert_with(|| name.to_string());
            } else {
                finder.add(value, name.to_string());
            }
        }
        next += 1;
    }
    for at in 0..finder.ids.len() {
        let Some(&id) = finder.ids.get(at) else { continue };
        let read =
            entries(pickle, id).map(|(key, value)| (key_text(pickle, key).to_string(), finder.attribute(value, 0)));
        let attributes = read.collect();
        if let Some(object) = finder.objects.get_mut(at) {
            object.attributes = attributes;
        }
    }
    finder.objects
}

/// The value that a class was called with, where it is one: what TorchScript writes of a member of an enumeration. Other objects
/// of its classes are made without any, and get a state.
fn member(pickle: &Pickle, object: &Pickled) -> Option<NodeId> {
    let [value] = *pickle.tuple(object.args).filter(|_| object.how == How::Call)? else { return None };
    pickle.state(object).is_none().then_some(value)
}

fn entries(pickle: &Pickle, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
    let state = pickle.object(id).and_then(|object| pickle.state(&object));
    state.and_then(|state| pickle.entries(state)).into_iter().flatten()
}

struct Finder<'a> {
    rebuilder: &'a Rebuilder<'a>,
    objects: Vec<Object>,
    ids: Vec<NodeId>,
    index: HashMap<NodeId, usize>,
    tensors: HashMap<NodeId, String>,
    /// Members of lists and dicts that may still be read.
    left: usize,
}

impl Finder<'_> {
    /// Note an object, where it is one of the archive's classes and new.
    fn add(&mut self, id: NodeId, path: String) {
        let pickle = self.rebuilder.pickle;
        let Some(object) = pickle.object(id) else { return };
        let Some(class) = pickle.callable_name(&object).filter(|class| class.starts_with(OWN)) else { return };
        if member(pickle, &object).is_some() {
            return;
        }
        if self.objects.len() < MOST_OBJECTS && !self.index.contains_key(&id) {
            self.index.insert(id, self.objects.len());
            self.objects.push(Object { class: class.to_owned(), path, attributes: Vec::new() });
            self.ids.push(id);
        }
    }

    fn attribute(&mut self, id: NodeId, depth: usize) -> Attribute {
        let pickle = self.rebuilder.pickle;
        if let Some(&index) = self.index.get(&id) {
            return Attribute::Object(index);
        }
        if self.rebuilder.is_tensor(id) {
            return self.tensors.get(&id).map_or(Attribute::Unread, |name| Attribute::Tensor(name.clone()));
        }
        if pickle.is_none(id) {
            return Attribute::None;
        }
        if let Some(value) = pickle.bool(id) {
            return Attribute::Bool(value);
        }
        if let Some(value) = pickle.int(id) {
            return Attribute::Int(value);
        }
        if let Some(value) = pickle.float(id) {
            return Attribute::Float(value);
        }
        if let Some(value) = pickle.text(id) {
            return Attribute::Text(value.into_owned());
        }
        if depth >= DEEPEST {
            return Attribute::Unread;
        }
        if let Some(object) = pickle.object(id) {
            let class = pickle.callable_name(&object).unwrap_or_default();
            match member(pickle, &object) {
                Some(value) if class.starts_with(OWN) => {
                    let value = self.attribute(value, depth + 1);
                    return Attribute::Member(class.to_owned(), Box::new(value));
                }
                _ if class == DEVICE => return Attribute::Device,
                _ => {}
            }
        }
        if let Some(items) = pickle.items(id) {
            let mut members = Vec::new();
            for item in items {
                if self.left == 0 {
                    return Attribute::Unread;
                }
                self.left -= 1;
                members.push(self.attribute(item, depth + 1));
            }
            return if pickle.tuple(id).is_some() { Attribute::Tuple(members) } else { Attribute::List(members) };
        }
        let Some(entries) = pickle.entries(id) else { return Attribute::Unread };
        let mut members = Vec::new();
        for (key, value) in entries {
            if self.left == 0 {
                return Attribute::Unread;
            }
            self.left -= 1;
            members.push((self.attribute(key, depth + 1), self.attribute(value, depth + 1)));
        }
        Attribute::Dict(members)
    }
}
