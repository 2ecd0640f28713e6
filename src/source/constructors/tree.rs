//! The modules that were built, by the paths they get.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Number, Value as Json};

use super::Built;
use super::machine::Machine;
use super::things::{Kind, Object, Part, Thing};
use crate::registry::constructors::constructor;
use crate::source::evaluate::{Symbol, Value};

/// Modules around one another.
const DEPTH: usize = 48;
/// Values of one attribute.
const VALUES: usize = 256;

/// A module with what it says of numbers that are not known.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub built: Built,
    /// Arguments that are such a number.
    pub symbols: Vec<(String, Symbol)>,
    /// Names of its own parameters.
    pub parameters: Vec<String>,
    /// Names of attributes that may be modules of any kind.
    pub holes: Vec<String>,
    /// A container of torch's, which has no tensors of its own.
    pub container: bool,
}

/// Modules by path.
pub(super) type Tree = BTreeMap<String, Layer>;

/// What attention calls its last projection.
const OUT: &str = "out_proj";

/// The projection that torch's attention has in it.
fn projection(layer: &Layer) -> Option<Layer> {
    layer.built.constructor.filter(|it| it.class.ends_with(".MultiheadAttention"))?;
    let width = layer.built.arguments.get("embed_dim");
    let sizes = ["in_features", "out_features"].map(|name| Some((name.to_owned(), width?.clone())));
    let bias = layer.built.arguments.get("bias");
    let arguments: Map<String, Json> =
        sizes.into_iter().flatten().chain(bias.map(|bias| ("bias".to_owned(), bias.clone()))).collect();
    let built = Built {
        class: "torch.nn.modules.linear.NonDynamicallyQuantizableLinear".to_owned(),
        constructor: constructor("torch.nn.modules.linear.Linear"),
        arguments,
        ..layer.built.clone()
    };
    Some(Layer { built, symbols: Vec::new(), parameters: Vec::new(), holes: Vec::new(), container: false })
}

impl Machine<'_, '_> {
    /// The modules from this one down; `None` where it is none.
    pub(super) fn tree(&self, root: &Value) -> Option<Tree> {
        self.part(root)?;
        let mut tree = Tree::new();
        let mut around = HashSet::new();
        self.plant(root, String::new(), &mut around, &mut tree);
        Some(tree)
    }

    fn plant(&self, value: &Value, path: String, around: &mut HashSet<u32>, tree: &mut Tree) {
        let (Value::Thing(id), Some(object)) = (value, self.object(value)) else { return };
        let Some(part) = object.part.as_deref() else { return };
        if around.len() > DEPTH || tree.len() >= super::MODULES || !self.library.budget.burn(super::BUILT) {
            return;
        }
        // A module that is within itself ends there.
        if !around.insert(*id) {
            return;
        }
        for (name, child) in &part.children {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if !name.is_empty() {
                self.plant(child, path, around, tree);
            }
        }
        around.remove(id);
        let layer = self.layer(object, part);
        if let Some(projection) = projection(&layer) {
            tree.insert(if path.is_empty() { OUT.to_owned() } else { format!("{path}.{OUT}") }, projection);
        }
        tree.insert(path, layer);
    }

    fn layer(&self, object: &Object, part: &Part) -> Layer {
        let mut symbols = Vec::new();
        let arguments = match part.constructor {
            Some(known) => {
                let mut given: HashMap<String, Option<Json>> = HashMap::new();
                for (name, value) in part.arguments.iter().chain(&part.changed) {
                    symbols.retain(|(other, _)| other != name);
                    if let Value::Symbol(symbol) = value {
                        symbols.push((name.clone(), *symbol));
                    }
                    given.insert(name.clone(), self.json(value, &mut VALUES.clone(), 0));
                }
                known.attributes(given, part.complete)
            }
            None => {
                let mut kept = Map::new();
                for (name, value) in &object.fields {
                    if let Some(value) = self.json(value, &mut VALUES.clone(), 0).filter(|value| !value.is_object()) {
                        kept.insert(name.clone(), value);
                    }
                }
                kept
            }
        };
        let (file, line) = (part.file.to_string(), part.line);
        let built = Built { class: part.class.clone(), constructor: part.constructor, arguments, file, line };
        let container = object.class.is_none() && part.kind != Kind::Own;
        let parameters = part.tensors.clone();
        Layer { built, symbols, parameters, holes: part.holes.clone(), container }
    }

    /// A value as a file has it; `None` where it is not known.
    fn json(&self, value: &Value, left: &mut usize, depth: usize) -> Option<Json> {
        *left = left.checked_sub(1)?;
        if depth > 8 {
            return None;
        }
        match (self.thing(value), value) {
            (Some(Thing::Row(_, row)), _) => row.iter().map(|it| self.json(it, left, depth + 1)).collect(),
            (Some(_), _) => None,
            (None, Value::None) => Some(Json::Null),
            (None, Value::Bool(truth)) => Some(Json::Bool(*truth)),
            (None, Value::Int(number)) => Some(Json::from(*number)),
            (None, Value::Float(number)) => Number::from_f64(*number).map(Json::Number),
            (None, Value::Text(text)) => Some(Json::from(&**text)),
            (None, Value::Sequence(row)) => row.iter().map(|it| self.json(it, left, depth + 1)).collect(),
            _ => None,
        }
    }
}
