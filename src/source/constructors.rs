//! What the constructors of a model's classes build: the layers with their arguments, by the path they get in the model.
//!
//! `__init__` is read, not run: plain statements in order, with the values that are written out. Whatever a condition or a
//! loop assigns is not known.

mod arguments;
mod builder;
mod told;
mod wrapped;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};
use tree_sitter::Node;

use arguments::Arguments;
use builder::Builder;

use super::budget::Part;
use super::imports::Imports;
use super::literals::plain_string;
use super::locate::{Found, Sources};
use super::python::Module;
use crate::registry::constructors::Constructor;

/// Classes that are tried as the root.
const CANDIDATES: usize = 2_000;
/// The search for the root, and each reading of its constructor, may take this part of the steps that are left.
const SHARE: u64 = 3;
/// Steps for a name that a constructor assigns.
const NAME_STEPS: usize = 2;

/// One module that a constructor builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Full path of the class, torch's or the source's.
    pub class: String,
    /// How torch constructs it; `None` for classes of the source and for containers.
    pub constructor: Option<&'static Constructor>,
    /// Arguments whose values are known, by name, defaults included; of a class of the source, attributes that its constructor
    /// sets.
    pub arguments: Map<String, Value>,
    /// The file of the call, …
    pub file: String,
    /// … and its 1-based line.
    pub line: usize,
}

/// What the root's constructor is called with, by name.
type Given = HashMap<String, Option<Value>>;

/// Modules by their path.
pub type Modules = BTreeMap<String, Built>;

/// What is known of the model beside its tensors.
#[derive(Debug, Default)]
pub struct Root<'a> {
    /// Full path of its class; empty where that is to be found out.
    pub class: &'a str,
    /// Names of its children and of its own tensors.
    pub names: BTreeSet<&'a str>,
    /// What its `config` holds.
    pub config: Option<&'a Map<String, Value>>,
    /// One more than the largest number among the names of a module's children, by its path.
    pub counts: HashMap<String, usize>,
    /// Shapes of weights in the file, by the path of the module.
    pub weights: HashMap<&'a str, &'a [u64]>,
}

/// Parameters of a model's constructor that take its config.json.
const CONFIGS: [&str; 2] = ["config", "cfg"];

/// What the constructors of the model's class build: of the one that is named, or else of the one that assigns these names.
/// `None` if no class of the sources does, or several do equally well. The root is under the empty path.
pub fn modules(sources: &Sources, model: &Root<'_>) -> Option<Modules> {
    let imports = Imports::new(sources);
    let searched = || sources.budget().share(SHARE, || assigning(sources, &imports, &model.names));
    let root = sources.found(model.class).or_else(searched)?;
    let line = root.module.class(&root.name)?.node.start_position().row + 1;
    let class = if model.class.is_empty() { dotted(sources, &root) } else { model.class.to_owned() };
    let mut builder = Builder::new(imports, &model.counts);
    let budget = sources.budget();
    let config = model.config.map(|config| Some(Value::Object(config.clone())));
    let named = config.into_iter().flat_map(|config| CONFIGS.map(|name| (name.to_owned(), config.clone())));
    let given: Given = named.collect();
    let mut build = |given: Given, defaults: bool| {
        builder.insert("", class.clone(), None, Map::new(), (&root, line));
        budget.share(SHARE, || {
            builder.construct("", &root, Arguments::named(given, defaults), 0);
            if budget.is_spent() {
                // What a later statement would have replaced must not stand.
                budget.leave_out(Part::Constructors, &format!("{class} in {}", root.file));
                builder.modules.clear();
            }
        });
        std::mem::take(&mut builder.modules)
    };
    let family = Imports::new(sources).family(root.clone());
    let mut without = build(given.clone(), false);
    let told = told::by_shapes(&family, &model.weights, (&given, &without), &mut build);
    let known = !told.is_empty();
    let given: Given = given.into_iter().chain(told).collect();
    if known {
        without = build(given.clone(), false);
    }
    let mut modules = build(given, true);
    // How the root itself was called is not known, except from its config and from shapes. Whatever rests on its defaults is
    // dropped, unless the shapes in the file confirm it.
    modules.retain(|path, built| without.get(path).is_some_and(|other| other.class == built.class));
    for (path, built) in &mut modules {
        let told = |name: &str| built.constructor.is_some_and(|it| it.weight.iter().any(|axis| axis.tells(name)));
        let certain = without.get(path).map(|other| &other.arguments);
        built.arguments.retain(|name, value| told(name) || certain.is_some_and(|it| it.get(name) == Some(value)));
    }
    Some(modules)
}

/// The one class whose constructor assigns all of these names and the fewest others.
fn assigning(sources: &Sources, imports: &Imports<'_>, names: &BTreeSet<&str>) -> Option<Found> {
    let mut best: Vec<(usize, Found)> = Vec::new();
    let mut seen = HashSet::new();
    for found in sources.classes().take(CANDIDATES) {
        // The same file may be named twice.
        if !seen.insert((found.file.clone(), found.name.clone())) {
            continue;
        }
        let (assigned, other) = assigned(&imports.family(found.clone()));
        if sources.budget().is_spent() {
            // Of those that were not looked at one could fit better.
            let rest = format!("every class from {} in {} on", found.name, found.file);
            sources.budget().leave_out(Part::Constructors, &rest);
            return None;
        }
        if names.is_empty() || !names.iter().all(|name| assigned.contains(*name) || other.contains(*name)) {
            continue;
        }
        let spare = assigned.iter().filter(|name| !names.contains(name.as_str())).count();
        if best.first().is_none_or(|(least, _)| spare <= *least) {
            best.retain(|(least, _)| *least == spare);
            best.push((spare, found));
        }
    }
    if best.len() == 1 { best.pop().map(|(_, root)| root) } else { None }
}

/// Names of the modules, parameters and buffers that the constructors of a class and its bases assign; and of attributes that may
/// be one, made before.
fn assigned(family: &[Found]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut names, mut other) = (BTreeSet::new(), BTreeSet::new());
    for found in family {
        let Some(init) = found.module.class(&found.name).and_then(|class| class.method("__init__")) else { continue };
        let module = &found.module;
        let receiver = module.receiver(init.node).unwrap_or("self");
        module.preorder(init.node, |node, _| {
            let call = |value: Node<'_>| {
                matches!(value.kind(), "call" | "conditional_expression" | "assignment" | "parenthesized_expression")
            };
            if node.kind() == "assignment"
                && let Some(right) = node.child_by_field_name("right")
                && (call(right) || right.kind() == "identifier")
            {
                let target = node.child_by_field_name("left").and_then(|left| own_name(module, left, receiver));
                module.budget().burn(NAME_STEPS);
                if call(right) { &mut names } else { &mut other }.extend(target.map(str::to_owned));
            }
            names.extend(registered(module, node).map(|(name, _)| name.to_owned()));
            true
        });
    }
    (names, other)
}

/// `self.name`
fn own_name<'t>(module: &'t Module, node: Node<'t>, receiver: &str) -> Option<&'t str> {
    let name = module.slice(node).strip_prefix(receiver)?.strip_prefix('.')?;
    (!name.contains(['.', '[', '('])).then_some(name)
}

/// Name and value of `self.add_module("name", value)` and its like.
fn registered<'t>(module: &'t Module, node: Node<'t>) -> Option<(&'t str, Node<'t>)> {
    let method = node.child_by_field_name("function")?.child_by_field_name("attribute")?;
    let adds = ["add_module", "register_module", "register_buffer", "register_parameter"];
    let arguments = node.child_by_field_name("arguments").filter(|_| adds.contains(&module.slice(method)))?;
    Some((plain_string(module, arguments.named_child(0)?)?, arguments.named_child(1)?))
}

/// The full path of a class by where its file is.
fn dotted(sources: &Sources, found: &Found) -> String {
    let module = match &found.path {
        None => sources.text_module(&found.file).unwrap_or_default().to_owned(),
        Some(path) => {
            let folders = sources.folders();
            let inside = folders.iter().find_map(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
            let parts = inside.with_extension("");
            let parts: Vec<&str> = parts.iter().filter_map(|part| part.to_str()).collect();
            parts.strip_suffix(&["__init__"]).unwrap_or(&parts).join(".")
        }
    };
    if module.is_empty() { found.name.clone() } else { format!("{module}.{}", found.name) }
}
