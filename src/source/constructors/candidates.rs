//! What the model may be built by: a class of the source, or a function that gives one. Each is evaluated, held against the file, and
//! evaluated again with what the file tells.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_json::{Map, Value as Json};
use tree_sitter::Node;

use super::Root;
use super::calls::{Given, parameters};
use super::fit::{self, Fit};
use super::library::Library;
use super::machine::{Frame, Machine};
use super::oracle::{Choice, Key, Oracle};
use super::things::{Member, Names, Thing};
use super::tree::Tree;
use crate::source::evaluate::{Arguments, Spent, Value};
use crate::source::locate::Found;
use crate::source::python::Module;

/// Times that a candidate is evaluated again with what is known then.
const ROUNDS: usize = 6;
/// What is open and tried the other way.
const OPEN: usize = 32;
/// Counts of the file that are tried for one loop.
const COUNTS: usize = 12;
/// Counts that make no difference before the others are left out.
const ALIKE: usize = 3;
/// Parameters that take the model's config.json.
const CONFIGS: [&str; 2] = ["config", "cfg"];

/// What builds the model.
#[derive(Debug, Clone)]
pub(super) enum Candidate {
    Class(Rc<Found>),
    /// A function that needs no arguments.
    Builder(Rc<Found>),
}

impl Candidate {
    /// Its name and file.
    pub(super) fn named(&self) -> String {
        format!("{} in {}", self.found().name, self.found().file)
    }

    pub(super) fn found(&self) -> &Rc<Found> {
        match self {
            Candidate::Class(found) | Candidate::Builder(found) => found,
        }
    }
}

/// What a candidate builds.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub tree: Tree,
    pub fit: Fit,
    open: Vec<(Key, Choice)>,
    told: HashMap<Key, Value>,
    words: Vec<(String, Vec<Value>)>,
}

type Assumed = HashMap<Key, Value>;

struct Run {
    tree: Tree,
    record: Vec<Choice>,
    open: Vec<(Key, Choice)>,
    symbols: Vec<String>,
    words: Vec<(String, Vec<Value>)>,
}

/// What a candidate builds when it is called as the file suggests; `None` where it builds no module.
///
/// # Errors
/// The budget is spent.
pub(super) fn search<'t>(
    library: &mut Library<'t>,
    candidate: &Candidate,
    root: &Root<'_>,
) -> Result<Option<Outcome>, Spent> {
    let mut assumed = Assumed::new();
    let Some(mut best) = attempt(library, candidate, root, &assumed)? else { return Ok(None) };
    // What a function builds is another model where little of it fits.
    let builder = matches!(candidate, Candidate::Builder(_));
    if builder && best.fit.explained + best.fit.open < 2 * (best.fit.contradicted + best.fit.unexplained) {
        return Ok(Some(best));
    }
    let mut tried: HashSet<Key> = HashSet::new();
    let mut ties: Vec<Tree> = Vec::new();
    for _ in 0..ROUNDS {
        let new: Vec<(Key, Value)> = best
            .told
            .iter()
            .filter(|(key, _)| !assumed.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !new.is_empty() {
            let mut with = assumed.clone();
            with.extend(new);
            match attempt(library, candidate, root, &with)? {
                Some(next) if next.fit.score() >= best.fit.score() => {
                    (assumed, best) = (with, next);
                    continue;
                }
                _ => {}
            }
        }
        let (mut better, mut heard) = (false, HashSet::new());
        for (key, values, condition) in best.questions(root) {
            if tried.contains(&key) || assumed.contains_key(&key) || (!condition && best.fit.is_whole()) {
                continue;
            }
            tried.insert(key.clone());
            let mut alike = 0;
            for value in values {
                // A loop that makes no difference builds nothing.
                if alike >= ALIKE {
                    break;
                }
                let mut with = assumed.clone();
                with.insert(key.clone(), value);
                let Some(other) = attempt(library, candidate, root, &with)? else { continue };
                alike = if other.fit == best.fit && !condition { alike + 1 } else { 0 };
                for (name, words) in &other.words {
                    if best.hear(name, words) {
                        heard.insert(Key::Argument(name.clone()));
                    }
                }
                let word = matches!(key, Key::Argument(_)) && condition;
                let rank = |outcome: &Outcome| {
                    let fit = outcome.fit;
                    (fit.score(), if word { fit.explained } else { 0 })
                };
                if rank(&other) > rank(&best) {
                    let words = std::mem::take(&mut best.words);
                    (assumed, best, better) = (with, other, true);
                    words.iter().for_each(|(name, words)| {
                        best.hear(name, words);
                    });
                    ties.clear();
                } else if condition && rank(&other) == rank(&best) {
                    ties.push(other.tree);
                }
            }
        }
        if better {
            // What was tried before may fit now.
            tried.retain(|key| assumed.contains_key(key));
        } else if heard.is_empty() {
            break;
        }
        tried.retain(|key| !heard.contains(key));
    }
    for other in ties {
        fit::common(&mut best.tree, &other);
    }
    Ok(Some(best))
}

impl Outcome {
    /// Words that an argument is compared with; whether there are new ones.
    fn hear(&mut self, name: &str, words: &[Value]) -> bool {
        let Some((_, known)) = self.words.iter_mut().find(|(known, _)| known == name) else {
            self.words.push((name.to_owned(), words.to_vec()));
            return true;
        };
        let new: Vec<Value> = words.iter().filter(|word| !known.contains(word)).cloned().collect();
        known.extend(new.iter().cloned());
        !new.is_empty()
    }

    /// What is open, with what else may be chosen; and whether a choice that fits as well is as likely.
    fn questions(&self, root: &Root<'_>) -> Vec<(Key, Vec<Value>, bool)> {
        let words = self.words.iter();
        let words = words.map(|(name, words)| (Key::Argument(name.clone()), words.clone(), true));
        let open = self.open.iter().map(|(key, choice)| {
            let condition = matches!(choice, Choice::Truth(_));
            (key.clone(), alternatives(*choice, root), condition)
        });
        words.chain(open).take(OPEN).collect()
    }
}

/// What else may be chosen.
fn alternatives(choice: Choice, root: &Root<'_>) -> Vec<Value> {
    if let Some(other) = choice.other() {
        return vec![other];
    }
    let mut counts: Vec<usize> = root.counts.values().copied().collect();
    counts.sort_unstable();
    counts.dedup();
    let near = counts.into_iter().take(COUNTS).flat_map(|count| [count, count.saturating_sub(1), count + 1]);
    let mut found: Vec<Value> = Vec::new();
    for count in near {
        let value = Value::Int(count as i64);
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// Evaluate a candidate once. Of a class that nobody calls the defaults are no facts: they are used to find out which way it goes,
/// and then it is evaluated once more without them.
fn attempt<'t>(
    library: &mut Library<'t>,
    candidate: &Candidate,
    root: &Root<'_>,
    assumed: &Assumed,
) -> Result<Option<Outcome>, Spent> {
    let first = Oracle { assumed: assumed.clone(), ..Oracle::default() };
    let Some(with_defaults) = run(library, candidate, root, first, true)? else { return Ok(None) };
    let run = match candidate {
        Candidate::Builder(_) => with_defaults,
        Candidate::Class(_) => {
            let again = Oracle { assumed: assumed.clone(), follow: with_defaults.record.clone(), ..Oracle::default() };
            match self::run(library, candidate, root, again, false)? {
                Some(mut run) => {
                    fit::confirm(&mut run.tree, &with_defaults.tree, root);
                    run
                }
                None => return Ok(None),
            }
        }
    };
    let fit = fit::fit(&run.tree, root);
    let told = fit::told(&run.tree, root).into_iter();
    let told =
        told.filter_map(|(of, value)| Some((Key::Argument(run.symbols.get(of as usize)?.clone()), Value::Int(value))));
    Ok(Some(Outcome { told: told.collect(), tree: run.tree, fit, open: run.open, words: run.words }))
}

fn run<'t>(
    library: &mut Library<'t>,
    candidate: &Candidate,
    root: &Root<'_>,
    oracle: Oracle,
    defaults: bool,
) -> Result<Option<Run>, Spent> {
    let found = candidate.found();
    let Some(module) = library.keep(found) else { return Ok(None) };
    let mut machine = Machine::new(library, oracle);
    let built = match candidate {
        Candidate::Builder(_) => {
            let Some(method) = module.function(&found.name) else { return Ok(None) };
            let function = machine.global(found, module, &found.name)?;
            let line = method.node.start_position().row + 1;
            machine.call_value(&function, Arguments::default(), (found, line))?
        }
        Candidate::Class(_) => {
            let Some(read) = module.class(&found.name) else { return Ok(None) };
            let class = machine.class_at(found, module, read.node, None)?;
            let arguments = machine.arguments_of_root(&class, root.config, defaults)?;
            machine.call_value(&class, arguments, (found, read.node.start_position().row + 1))?
        }
    };
    if machine.library.budget.is_spent() {
        return Err(Spent);
    }
    let Some(tree) = machine.tree(&built) else { return Ok(None) };
    let words = machine.oracle.words.into_iter().collect();
    let open = machine.oracle.open.into_iter().collect();
    Ok(Some(Run { tree, record: machine.oracle.record, open, symbols: machine.oracle.symbols, words }))
}

impl<'t> Machine<'t, '_> {
    /// What the root's constructor is called with, as far as the config tells, or is assumed.
    fn arguments_of_root(
        &mut self,
        class: &Value,
        config: Option<&Map<String, Json>>,
        defaults: bool,
    ) -> Result<Arguments, Spent> {
        let mut arguments = Arguments::default();
        let Some(Thing::Class(read)) = self.thing(class) else { return Ok(arguments) };
        let read = Rc::clone(read);
        let id = read.order.first().copied().unwrap_or_default();
        let config = config.map(|config| {
            let value = Value::from_json(&Json::Object(config.clone()));
            self.stored(&value, 0)
        });
        let fields: Vec<(&'t str, Option<Node<'t>>)>;
        let (of, found, known): (&'t Module, Rc<Found>, Vec<_>) = match self.member(id, None, "__init__") {
            Some((owner, Member::Method(node, _))) => {
                let Some(owner) = self.class(owner) else { return Ok(arguments) };
                let found = Rc::clone(&owner.found);
                (
                    owner.module,
                    found,
                    parameters(owner.module, node).into_iter().skip(1).map(|it| (it, Some(node))).collect(),
                )
            }
            _ => {
                fields = read.shape.fields.clone();
                (
                    read.module,
                    Rc::clone(&read.found),
                    fields.iter().map(|(name, default)| ((*name, *default, Given::Plain), None)).collect(),
                )
            }
        };
        let takes_config = known.iter().any(|((name, ..), _)| CONFIGS.contains(name));
        for ((name, default, given), init) in known {
            if matches!(given, Given::Positional | Given::Named) {
                continue;
            }
            let value = match &config {
                Some(config) if CONFIGS.contains(&name) => Some(self.config_of(class, of, init, name, config)?),
                Some(config) if !takes_config => match self.item(config, &Value::text(name))? {
                    Value::Unknown => None,
                    value => Some(value),
                },
                _ => None,
            };
            let assumed = self.oracle.assumed.get(&Key::Argument(name.to_owned())).cloned();
            let value = match value.or(assumed) {
                Some(value) => value,
                None if defaults && default.is_some() => continue,
                None => match default {
                    // A class or function is what its modules' tensors show.
                    Some(node) if matches!(node.kind(), "attribute" | "identifier" | "lambda" | "call") => {
                        let mut frame = Frame::new(self, of, Rc::clone(&found), Names::within(None));
                        let value = frame.value(node)?;
                        match self.thing(&value) {
                            Some(Thing::Row(..) | Thing::Dict(_) | Thing::Tensor(_) | Thing::Range { .. }) | None => {
                                self.symbol(name)
                            }
                            Some(_) => value,
                        }
                    }
                    _ => self.symbol(name),
                },
            };
            arguments.named.push((name.to_owned(), value));
        }
        Ok(arguments)
    }

    /// The config as an object of its class, where the source has that: what the file leaves out has its defaults.
    fn config_of(
        &mut self,
        model: &Value,
        module: &'t Module,
        init: Option<Node<'t>>,
        name: &str,
        config: &Value,
    ) -> Result<Value, Spent> {
        let annotated = init.and_then(|init| {
            let list = init.child_by_field_name("parameters")?;
            let parameters = crate::source::evaluate::children(list);
            let typed =
                parameters.into_iter().find(|it| it.named_child(0).is_some_and(|it| module.slice(it) == name))?;
            Some(module.slice(typed.child_by_field_name("type")?))
        });
        let mut class = self.attribute(model, "config_class")?;
        if let (Some(annotated), Some(Thing::Class(read))) = (annotated, self.thing(model))
            && !matches!(self.thing(&class), Some(Thing::Class(_)))
        {
            let found = Rc::clone(&read.found);
            class = self.global(&found, module, annotated)?;
        }
        let (Some(Thing::Class(read)), Some(Thing::Dict(pairs))) = (self.thing(&class), self.thing(config)) else {
            return Ok(config.clone());
        };
        let (found, pairs) = (Rc::clone(&read.found), pairs.clone());
        let named: Vec<(String, Value)> =
            pairs.iter().filter_map(|(name, value)| Some((super::frame::shown(name)?, value.clone()))).collect();
        let arguments = Arguments { named: named.clone(), ..Arguments::default() };
        let object = self.call_value(&class, arguments, (&found, 0))?;
        for (name, value) in named {
            // A config within the config is an object already.
            let made = self.attribute(&object, &name)?;
            if self.object(&made).is_none() {
                self.set_attribute(&object, &name, value);
            }
        }
        Ok(if self.object(&object).is_some() { object } else { config.clone() })
    }
}
