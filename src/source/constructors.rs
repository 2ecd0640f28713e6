//! What the constructors of a model's classes build: the layers with their arguments, by the path they get in the model.
//!
//! Constructors are evaluated, not run: over the syntax tree, with values that are known or not. Nothing is imported but files of the
//! source, and every loop is bounded. Where a condition is open, both ways are followed and the one is taken whose names and shapes
//! fit the file; where both do, what they differ in is not known.

mod builtins;
mod calls;
mod candidates;
mod fit;
mod frame;
mod library;
mod machine;
mod methods;
mod oracle;
mod outside;
mod statements;
mod things;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Map, Value};
use tree_sitter::Node;

use candidates::{Candidate, Outcome, search};
use library::Library;
use things::Shelf;

use super::budget::Part;
use super::imports::Imports;
use super::literals::plain_string;
use super::locate::{Found, Sources};
use super::python::Module;
use crate::registry::constructors::Constructor;

/// Modules that are built in one run.
const MODULES: usize = 10_000;
/// Steps for a module that is built.
const BUILT: usize = 10;
/// Bytes of stack for evaluating, of which little is touched.
const STACK: usize = 256 << 20;
/// Functions without arguments that are tried.
const BUILDERS: usize = 400;
/// One of them may take this part of the steps that are left.
const BUILDER_SHARE: u64 = 4;
/// Classes that are evaluated where names alone do not tell which it is, …
const CLASSES: usize = 8;
/// … and where no class assigns these names as they are written.
const UNNAMED: usize = 64;
/// Classes that are tried as the root.
const CANDIDATES: usize = 2_000;
/// The search for the root, and each reading of its constructor, may take this part of the steps that are left.
const SHARE: u64 = 2;
/// Parts of the model that other classes build.
const PARTS: usize = 16;
/// Packages within one another.
const PACKAGES: usize = 16;
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
    /// Names of tensors in the file, by the path of the module.
    pub tensors: HashMap<&'a str, Vec<&'a str>>,
    /// What the file is called, without its folder and its ending.
    pub stem: &'a str,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Constructed {
    /// The modules.
    pub modules: Modules,
    /// Nothing is left over between file and source.
    pub whole: bool,
    /// Paths of modules that are handed to the constructor.
    holes: Vec<String>,
    /// Little is left over.
    likely: bool,
    /// What builds the model just as well, where that is not known: names of functions and classes.
    pub ties: Vec<String>,
}

/// What the constructors of the model's class build: of the one that is named, or else of the function without arguments, or the
/// class, whose modules fit the file best. `None` if none does, or several classes do equally well. The root is under the empty path.
pub fn modules(sources: &Sources, model: &Root<'_>) -> Option<Modules> {
    construct(sources, model).map(|found| found.modules).filter(|modules| modules.contains_key(""))
}

/// The same, with what else could have built it.
pub fn construct(sources: &Sources, model: &Root<'_>) -> Option<Constructed> {
    // Expressions in statements in calls: as deep as text may be nested, times as deep as calls are followed.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let deep = thread.spawn_scoped(scope, || sources.budget().share(SHARE, || whole(sources, model)));
        deep.ok().and_then(|thread| thread.join().ok()).flatten()
    })
}

/// The model's own modules, and those below what is handed to its constructor, or to that of a class that is not there: a part of
/// the model may be built by another class.
fn whole(sources: &Sources, model: &Root<'_>) -> Option<Constructed> {
    let found = choose(sources, model);
    let open: Vec<String> = match &found {
        Some(found) if found.modules.is_empty() => {
            return Some(Constructed { ties: found.ties.clone(), ..Constructed::default() });
        }
        Some(found) => found.holes.clone(),
        None => parts(model).into_iter().map(str::to_owned).collect(),
    };
    let mut all = found.unwrap_or_default();
    for path in open.into_iter().take(PARTS) {
        let below = model.below(&path);
        if below.weights.len() < 2 {
            continue;
        }
        let Some(part) = choose(sources, &below).filter(|part| part.likely) else { continue };
        for (inner, built) in part.modules {
            let path = if inner.is_empty() { path.clone() } else { format!("{path}.{inner}") };
            all.modules.insert(path, built);
        }
    }
    (!all.modules.is_empty()).then_some(all)
}

/// The names at the top of a model that have modules below them.
fn parts<'a>(model: &Root<'a>) -> BTreeSet<&'a str> {
    model.weights.keys().filter_map(|path| Some(path.split_once('.')?.0)).collect()
}

impl<'a> Root<'a> {
    /// What is known of the part of the model below a path.
    fn below(&self, path: &str) -> Root<'a> {
        let inside = |full: &'a str| full.strip_prefix(path)?.strip_prefix('.');
        let weights: HashMap<&str, &[u64]> =
            self.weights.iter().filter_map(|(full, shape)| Some((inside(full)?, *shape))).collect();
        let own = |full: &'a str| if full == path { Some("") } else { inside(full) };
        let tensors: HashMap<&str, Vec<&str>> =
            self.tensors.iter().filter_map(|(full, names)| Some((own(full)?, names.clone()))).collect();
        let counts = self.counts.iter().filter_map(|(full, count)| {
            let inner = full.strip_prefix(path)?;
            let inner = if inner.is_empty() { inner } else { inner.strip_prefix('.')? };
            Some((inner.to_owned(), *count))
        });
        let modules = weights.keys().chain(tensors.keys()).copied();
        let mut names: BTreeSet<&str> =
            modules.map(|path| path.split('.').next().unwrap_or(path)).filter(|name| !name.is_empty()).collect();
        names.extend(tensors.get("").into_iter().flatten());
        Root { class: "", names, config: None, counts: counts.collect(), weights, tensors, stem: self.stem }
    }
}

fn choose(sources: &Sources, model: &Root<'_>) -> Option<Constructed> {
    let (imports, shelf) = (Imports::of_many(sources), Shelf::default());
    let mut library = Library::new(&imports, &shelf);
    if let Some(found) = sources.found(model.class) {
        return Some(alone(&mut library, found, model));
    }
    let fitting = assigning(sources, &Imports::new(sources), &model.names)?;
    let mut outcomes = built_by_functions(&mut library, &fitting, model);
    let best = outcomes.iter().map(|(_, outcome)| outcome.fit.score()).max();
    if let Some(best) = best {
        outcomes.retain(|(_, outcome)| outcome.fit.score() == best);
        // Of several the file's name may tell.
        let stem = model.stem.to_lowercase().replace('-', "_");
        let named = |candidate: &Candidate| stem.contains(&candidate.found().name.to_lowercase());
        if outcomes.iter().any(|(candidate, _)| named(candidate)) {
            outcomes.retain(|(candidate, _)| named(candidate));
            let longest = outcomes.iter().map(|(candidate, _)| candidate.found().name.len()).max();
            outcomes.retain(|(candidate, _)| Some(candidate.found().name.len()) == longest);
        }
        let mut all = outcomes.into_iter();
        let (candidate, mut outcome) = all.next()?;
        let mut ties = Vec::new();
        for (other, built) in all {
            if outcome.tree.len() != built.tree.len() || !same_facts(&outcome, &built) {
                fit::common(&mut outcome.tree, &built.tree);
                ties.push(other.found().name.clone());
            }
        }
        if !ties.is_empty() {
            ties.insert(0, candidate.found().name.clone());
        }
        return Some(finished(outcome, model, ties, true));
    }
    let least = fitting.iter().map(|(spare, _)| *spare).min();
    let mut best: Vec<Found> = match least {
        Some(least) => {
            fitting.into_iter().filter(|(spare, _)| *spare == least).map(|(_, found)| found).take(CLASSES).collect()
        }
        // Names may be put together while they are assigned.
        None => sources.classes().take(UNNAMED).collect(),
    };
    if least.is_some() && best.len() == 1 {
        return best.pop().map(|found| alone(&mut library, found, model));
    }
    let mut outcomes = Vec::new();
    for found in best {
        let name = found.name.clone();
        let candidate = Candidate::Class(Rc::new(found));
        let budget = library.budget;
        let outcome = budget.share(BUILDER_SHARE, || search(&mut library, &candidate, model));
        if outcome.is_err() {
            budget.leave_out(Part::Constructors, &candidate.named());
        }
        if let Ok(Some(outcome)) = outcome
            && (least.is_some() || outcome.fit.is_likely())
        {
            outcomes.push((name, outcome));
        }
    }
    let most = outcomes.iter().map(|(_, outcome)| outcome.fit.score()).max()?;
    outcomes.retain(|(_, outcome)| outcome.fit.score() == most);
    let ties: Vec<String> = outcomes.iter().map(|(name, _)| name.clone()).collect();
    match outcomes.pop() {
        Some((_, outcome)) if outcomes.is_empty() => Some(finished(outcome, model, Vec::new(), false)),
        Some(_) => Some(Constructed { ties, ..Constructed::default() }),
        None => None,
    }
}

fn same_facts(one: &Outcome, other: &Outcome) -> bool {
    one.tree.iter().all(|(path, layer)| {
        other
            .tree
            .get(path)
            .is_some_and(|it| it.built.class == layer.built.class && it.built.arguments == layer.built.arguments)
    })
}

/// What one class builds, whatever the file says.
fn alone(library: &mut Library<'_>, found: Found, model: &Root<'_>) -> Constructed {
    let sources = library.imports.sources();
    let class = if model.class.is_empty() { dotted(sources, &found) } else { model.class.to_owned() };
    let line = found.module.class(&found.name).map_or(1, |class| class.node.start_position().row + 1);
    let file = found.file.clone();
    let built = Built { class: class.clone(), constructor: None, arguments: Map::new(), file: file.clone(), line };
    let candidate = Candidate::Class(Rc::new(found));
    let outcome = search(library, &candidate, model);
    let mut constructed = match outcome {
        Ok(Some(outcome)) => finished(outcome, model, Vec::new(), false),
        Ok(None) => Constructed::default(),
        Err(_) => {
            library.budget.leave_out(Part::Constructors, &format!("{class} in {file}"));
            Constructed::default()
        }
    };
    constructed.modules.entry(String::new()).or_insert(built).class = class;
    constructed
}

/// What functions without arguments build that fits the file: those in the files of these classes, or in all.
fn built_by_functions(
    library: &mut Library<'_>,
    fitting: &[(usize, Found)],
    model: &Root<'_>,
) -> Vec<(Candidate, Outcome)> {
    let sources = library.imports.sources();
    let mut files: Vec<Found> = Vec::new();
    let all: Vec<Found> = if fitting.is_empty() {
        sources.classes().take(CANDIDATES).collect()
    } else {
        fitting.iter().map(|(_, found)| found.clone()).collect()
    };
    let bare = if fitting.is_empty() { sources.single_files() } else { Vec::new() };
    for found in bare.into_iter().chain(all) {
        if !files.iter().any(|known| known.file == found.file) {
            files.push(found);
        }
    }
    let mut builders: Vec<Found> = Vec::new();
    for file in files {
        let mut names: Vec<&str> = file.module.function_names().collect();
        names.sort_unstable();
        for name in names {
            let needs_nothing = file.module.function(name).is_some_and(|function| {
                calls::parameters(&file.module, function.node).iter().all(|(_, default, given)| {
                    default.is_some() || matches!(given, calls::Given::Positional | calls::Given::Named)
                })
            });
            if needs_nothing && !matches!(name, "main" | "test" | "train") {
                builders.push(Found { name: name.to_owned(), ..file.clone() });
            }
        }
    }
    // The file's own name is the best guess.
    let stem = model.stem.to_lowercase().replace('-', "_");
    builders.sort_by_key(|found| {
        let name = found.name.to_lowercase();
        (stem != name, !stem.contains(&name), std::cmp::Reverse(name.len()))
    });
    let mut outcomes = Vec::new();
    for found in builders.into_iter().take(BUILDERS) {
        let named = stem.contains(&found.name.to_lowercase());
        let candidate = Candidate::Builder(Rc::new(found));
        let budget = library.budget;
        let outcome = budget.share(BUILDER_SHARE, || search(library, &candidate, model));
        if outcome.is_err() {
            budget.leave_out(Part::Constructors, &candidate.named());
        }
        if let Ok(Some(outcome)) = outcome
            && outcome.fit.is_likely()
        {
            let done = named && outcome.fit.is_whole();
            outcomes.push((candidate, outcome));
            if done {
                outcomes.drain(..outcomes.len() - 1);
                break;
            }
        }
        if budget.is_spent() {
            break;
        }
    }
    outcomes
}

/// The modules of an outcome. Of a model with another head the file's shapes are right.
fn finished(outcome: Outcome, model: &Root<'_>, ties: Vec<String>, other_head: bool) -> Constructed {
    let (whole, likely) = (outcome.fit.is_whole(), outcome.fit.is_likely());
    let holes = outcome.tree.iter().flat_map(|(path, layer)| {
        layer.holes.iter().map(move |name| if path.is_empty() { name.clone() } else { format!("{path}.{name}") })
    });
    let holes = holes.collect();
    let mut modules = Modules::new();
    for (path, layer) in outcome.tree {
        let mut built = layer.built;
        if built.class.is_empty() {
            continue;
        }
        if let (Some(constructor), Some(shape)) = (built.constructor, model.weights.get(path.as_str()))
            && other_head
            && outcome.fit.is_likely()
        {
            let mut filled = built.arguments.clone();
            if constructor.refill(shape, &mut filled).is_some() {
                built.arguments = filled;
            }
        }
        modules.insert(path, built);
    }
    Constructed { modules, whole, holes, likely, ties }
}

/// The classes whose constructors assign all of these names, each with the number of others that it assigns; `None` where the
/// budget is spent.
fn assigning(sources: &Sources, imports: &Imports<'_>, names: &BTreeSet<&str>) -> Option<Vec<(usize, Found)>> {
    let mut fitting: Vec<(usize, Found)> = Vec::new();
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
        fitting.push((spare, found));
    }
    Some(fitting)
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

/// The full path of a class by where its file is: in a package, or in a folder of the sources.
fn dotted(sources: &Sources, found: &Found) -> String {
    let module = match &found.path {
        None => sources.text_module(&found.file).unwrap_or_default().to_owned(),
        Some(path) => {
            let folders = path.ancestors().skip(1);
            let packages = folders.take_while(|folder| folder.join("__init__.py").is_file()).take(PACKAGES).count();
            let package = path.ancestors().nth(packages + 1).filter(|_| packages > 0);
            let folders = sources.folders();
            let root = package.or_else(|| folders.iter().map(PathBuf::as_path).find(|folder| path.starts_with(folder)));
            let inside = root.and_then(|root| path.strip_prefix(root).ok());
            let parts = inside.map(|inside| inside.with_extension("")).unwrap_or_default();
            let parts: Vec<&str> = parts.iter().filter_map(|part| part.to_str()).collect();
            parts.strip_suffix(&["__init__"]).unwrap_or(&parts).join(".")
        }
    };
    if module.is_empty() { found.name.clone() } else { format!("{module}.{}", found.name) }
}
