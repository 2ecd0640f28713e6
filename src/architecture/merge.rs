//! Gives a model's modules what an architecture says of them. What the file itself shows wins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;
use serde_json::{Map, Value};
use t2m_checkpoint::{Checkpoint, TensorId};

use super::asset::Described;
use super::fit::{Fit, Place};
use crate::model::{Evidence, Known, Model};
use crate::registry::constructors::constructor;

/// A hyper-parameter in which models that fit as well differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The module's path.
    pub module: String,
    /// The attribute.
    pub attribute: String,
    /// The values that it has in them; `None` where one has no such attribute.
    pub values: Vec<Option<Value>>,
}

/// Modules of an architecture by the file's paths: class and attributes.
type Modules<'a> = HashMap<CompactString, (&'a str, Arc<Map<String, Value>>), RandomState>;
/// The name under which a class stands among what tells models apart; no attribute has it.
const CLASS: &str = "class";

/// Change the model's modules; what tells the other trees apart stays unknown and is returned.
pub(super) fn merge(
    checkpoint: &Checkpoint,
    model: &mut Model,
    root: Described<'_>,
    fit: &Fit,
    others: &[(Described<'_>, &Place)],
    evidence: Evidence,
) -> Vec<Told> {
    merge_tied(checkpoint, model, root, fit, others, &[], evidence)
}

/// The same of a model that has tensors under second names, which the file leaves out: name and tensor. Their modules get them.
pub(super) fn merge_tied(
    checkpoint: &Checkpoint,
    model: &mut Model,
    root: Described<'_>,
    fit: &Fit,
    others: &[(Described<'_>, &Place)],
    ties: &[(String, TensorId)],
    evidence: Evidence,
) -> Vec<Told> {
    let mut told = Vec::new();
    let gathered = || -> Vec<Modules<'_>> {
        let modules = others.iter().map(|(root, place)| {
            let mut found = Modules::default();
            gather(*root, "", place, &mut found);
            found
        });
        modules.collect()
    };
    let others = gathered();
    let mut walk = Walk { checkpoint, model, place: &fit.place, others, ties, told: &mut told, known: Vec::new() };
    walk.module(root, "", None);
    let known = std::mem::take(&mut walk.known);
    model.describe(known, evidence, &checkpoint.tensors);
    model.tie(ties, &checkpoint.tensors);
    leave_open(model, &told, &gathered());
    told
}

/// Keep with each module the values that something of it may have, and under the name of each other class that it may be of the
/// attributes that it has then in all models where it is of that class.
fn leave_open(model: &mut Model, told: &[Told], others: &[Modules<'_>]) {
    for Told { module: path, attribute, values } in told {
        let Some(module) = model.find(path).and_then(|id| model.modules.get_mut(id)) else { continue };
        // What the file itself tells is not open.
        if module.attributes.contains_key(attribute) {
            continue;
        }
        let class = module.class.clone();
        let open = Arc::make_mut(module.open.get_or_insert_default());
        if attribute != CLASS {
            open.insert(attribute.clone(), values.iter().flatten().cloned().collect());
            continue;
        }
        for (other, known) in
            others.iter().filter_map(|other| other.get(path.as_str())).filter(|(other, _)| *other != class)
        {
            match open.get_mut(*other).and_then(Value::as_object_mut) {
                Some(all) => all.retain(|name, value| known.get(name) == Some(value)),
                None => drop(open.insert((*other).to_owned(), Value::Object(Map::clone(known)))),
            }
        }
    }
}

fn gather<'a>(module: Described<'a>, path: &str, place: &Place, found: &mut Modules<'a>) {
    if let Some(path) = in_file(place, path) {
        found.insert(path, (module.class(), module.attributes()));
    }
    for (name, child) in module.children() {
        gather(child, &join(path, name), place, found);
    }
}

fn join(path: &str, name: &str) -> CompactString {
    if path.is_empty() { name.into() } else { format_compact!("{path}.{name}") }
}

/// A module's path in the file; `None` where the file has only a part of the tree and this is outside of it.
pub(super) fn in_file(place: &Place, path: &str) -> Option<CompactString> {
    match place {
        Place::Below(prefix) if path.is_empty() => Some(prefix.trim_end_matches('.').into()),
        Place::Below(prefix) => Some(format_compact!("{prefix}{path}")),
        Place::Above(prefix) if format_compact!("{path}.") == *prefix => Some(CompactString::default()),
        Place::Above(prefix) => path.strip_prefix(prefix.as_str()).map(CompactString::from),
    }
}

struct Walk<'a> {
    checkpoint: &'a Checkpoint,
    model: &'a Model,
    place: &'a Place,
    others: Vec<Modules<'a>>,
    ties: &'a [(String, TensorId)],
    told: &'a mut Vec<Told>,
    known: Vec<Known>,
}

impl Walk<'_> {
    /// Visit a module and what is below it; `parent` says whether the file has the one above.
    fn module(&mut self, module: Described<'_>, path: &str, parent: Option<bool>) {
        let Some(place) = in_file(self.place, path) else {
            for (name, child) in module.children() {
                self.module(child, &join(path, name), None);
            }
            return;
        };
        let found = self.model.find(&place);
        let is_there =
            found.is_some() || (parent != Some(false) && (!has_parameters(module) || self.is_tied(module, &place)));
        if !is_there {
            return;
        }
        let attributes = match found {
            // What is there, and of what class, rules of a configuration may leave open.
            _ if module.class().is_empty() => None,
            Some(id) => self.attributes(module, id),
            None => Some(module.attributes()),
        };
        if let Some(attributes) = attributes {
            let attributes = self.common(&place, module, attributes);
            let alternatives = self.alternatives(&place, module);
            self.known.push(Known { path: place, class: module.class().into(), alternatives, attributes });
        }
        for (name, child) in module.children() {
            self.module(child, &join(path, name), Some(true));
        }
    }

    /// Whether all parameters of a module are in the file under other names.
    fn is_tied(&self, module: Described<'_>, path: &str) -> bool {
        let tied = |name: &str| self.ties.iter().any(|(tied, _)| *tied == join(path, name));
        module.tensors().all(|tensor| tensor.is_buffer || tied(tensor.name))
            && module.children().all(|(name, child)| self.is_tied(child, &join(path, name)))
    }

    /// What is known of a module that the file has; `None` where its tensors are others.
    fn attributes(&self, module: Described<'_>, id: usize) -> Option<Arc<Map<String, Value>>> {
        let own = self.model.modules.get(id)?;
        let mut attributes = module.attributes();
        for tensor in module.tensors() {
            let Some(have) = own.tensor(tensor.name).and_then(|tensor| self.checkpoint.tensors.get(tensor)) else {
                if tensor.is_buffer {
                    continue;
                }
                return None;
            };
            match tensor.shape {
                Some(shape) if shape != have.shape.as_slice() => {
                    // The shapes of the file decide what they can: another number of classes, for one.
                    let constructor = constructor(module.class())?;
                    if tensor.name == "weight" {
                        constructor.refill(&have.shape, Arc::make_mut(&mut attributes))?;
                    }
                }
                // A lazy layer has no shape before its first run: the file's is the one that it had after it.
                None if tensor.name == "weight" => {
                    if let Some(constructor) = constructor(module.class()) {
                        constructor.refill(&have.shape, Arc::make_mut(&mut attributes))?;
                    }
                }
                _ => {}
            }
        }
        let has = |name: &str| module.tensors().any(|tensor| tensor.name == name);
        let more = own.tensors.iter().any(|own| own.tensor.is_some() && !has(&own.name));
        (!more).then_some(attributes)
    }

    /// Classes that a layer has in the other trees. A module with children has the same ones there, whatever it is called.
    fn alternatives(&mut self, path: &CompactString, module: Described<'_>) -> Arc<[CompactString]> {
        let mut found: Vec<&str> = Vec::new();
        if module.children().next().is_none() {
            for (class, _) in self.others.iter().filter_map(|other| other.get(path)) {
                if *class != module.class() && !found.contains(class) {
                    found.push(class);
                }
            }
        }
        if !found.is_empty() {
            let values = std::iter::once(module.class()).chain(found.iter().copied());
            let values = values.map(|class| Some(Value::from(class))).collect();
            self.told.push(Told { module: path.to_string(), attribute: CLASS.to_owned(), values });
        }
        found.into_iter().map(CompactString::from).collect()
    }

    /// Attributes without those in which modules of the same class differ in the other trees.
    fn common(
        &mut self,
        path: &CompactString,
        module: Described<'_>,
        mut attributes: Arc<Map<String, Value>>,
    ) -> Arc<Map<String, Value>> {
        // What the file's shapes show is no question: the architecture's own values are compared.
        let told = module.attributes();
        let others: Vec<&Arc<Map<String, Value>>> = self
            .others
            .iter()
            .filter_map(|other| other.get(path))
            .filter(|(other, _)| *other == module.class())
            .map(|(_, known)| known)
            .collect();
        if others.iter().all(|other| Arc::ptr_eq(other, &told) || **other == told) {
            return attributes;
        }
        let names: BTreeMap<&str, ()> =
            others.iter().flat_map(|other| other.keys()).chain(told.keys()).map(|name| (name.as_str(), ())).collect();
        let mut differing = Vec::new();
        for (name, ()) in names {
            let mut values: Vec<Option<Value>> = vec![told.get(name).cloned()];
            for other in &others {
                let value = other.get(name).cloned();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            if values.len() > 1 {
                differing.push(Told { module: path.to_string(), attribute: name.to_owned(), values });
            }
        }
        for told in &differing {
            Arc::make_mut(&mut attributes).remove(&told.attribute);
        }
        self.told.extend(differing);
        attributes
    }
}

fn has_parameters(module: Described<'_>) -> bool {
    module.tensors().any(|tensor| !tensor.is_buffer) || module.children().any(|(_, child)| has_parameters(child))
}
