//! A model with the code of its classes, and how its modules call each other: from the root's forward down.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::layouts::Gives;
use super::parameters::Trust;
use super::seen::Seen;
use super::walk::{self, Called, Outcome, Walk};
use crate::model::{Model, ModuleId};
use crate::source::evaluate::{Arguments, Runs, Spent, Value};
use crate::source::literals;
use crate::source::python::Module;
use crate::source::reach::{Lineage, Reached};

/// Times that all modules are gone through: calls mostly lead down the tree, and then once is enough.
const SWEEPS: usize = 3;
/// Steps to look at one module that has no code.
const STEP: usize = 2;
/// Classes that hand on what they are called with.
const HANDS_ON: [&str; 4] = [
    "torch.nn.parallel.data_parallel.DataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel",
    "torch._dynamo.eval_frame.OptimizedModule",
];
/// Modules of a Sequential that are followed one after another.
const LINKS: usize = 256;
/// A path that stands for everything below a module.
const ALL: &str = "**";

/// The code of one class.
pub(super) struct Code<'t> {
    pub lineage: Lineage<'t>,
    /// Attributes that methods set which run with the forward.
    pub changed: HashSet<String>,
    /// Attributes that any method sets.
    pub assigned: HashSet<String>,
    /// Constants of the class's body and those of its bases.
    pub constants: HashMap<String, Value>,
    /// It inherits the forward of torch's Sequential.
    pub sequential: bool,
}

impl<'t> Code<'t> {
    pub(super) fn of(lineage: Lineage<'t>) -> Code<'t> {
        let mut changed = HashSet::new();
        for Reached { module, method, .. } in lineage.reached() {
            assigned_in(module, method.node, &mut changed);
        }
        let (mut assigned, mut constants) = (HashSet::new(), HashMap::new());
        for member in &lineage.members {
            member.class.methods().for_each(|method| assigned_in(member.module, method.node, &mut assigned));
            let Some(body) = member.class.node.child_by_field_name("body") else { continue };
            let file = member.module.constants();
            for (name, value) in literals::constants(member.module, body, &[&file]) {
                if let Some(value) = value {
                    constants.entry(name).or_insert_with(|| Value::from_json(&value));
                }
            }
        }
        let mut bases = lineage
            .members
            .iter()
            .flat_map(|member| member.class.bases.iter().map(move |base| member.module.resolve(base)));
        let sequential = bases.any(|base| is_sequential(&base));
        Code { lineage, changed, assigned, constants, sequential }
    }
}

fn is_sequential(class: &str) -> bool {
    class.starts_with("torch.nn.") && class.ends_with(".Sequential")
}

/// Names of attributes of `self` that a method assigns.
fn assigned_in<'t>(module: &'t Module, function: tree_sitter::Node<'t>, names: &mut HashSet<String>) {
    let Some(receiver) = module.receiver(function) else { return };
    module.preorder(function, |node, _| {
        if let Some(targets) = literals::targets(node) {
            module.preorder(targets, |target, _| {
                let object = target.child_by_field_name("object").filter(|_| target.kind() == "attribute");
                if object.is_some_and(|object| module.slice(object) == receiver) {
                    names.extend(target.child_by_field_name("attribute").map(|name| module.slice(name).to_owned()));
                }
                true
            });
        }
        true
    });
}

/// What following has shown, by the first module of a kind and whether nothing is known of training; for each way to call it.
pub(super) type Known = HashMap<(ModuleId, bool), Vec<(Arguments, Rc<Outcome>)>>;

/// A model and the code of its classes.
pub(super) struct World<'t, 'm> {
    pub model: &'m Model,
    /// By the class's full path.
    pub code: HashMap<&'m str, Code<'t>>,
    /// Modules that the registry replaces as a whole: their code does not run.
    pub replaced: &'m (dyn Fn(ModuleId) -> bool + Sync),
    /// What a layer makes of the axes of its input.
    pub gives: &'m (dyn Fn(ModuleId) -> Gives + Sync),
    /// How many axes a tensor has, by its number in the checkpoint.
    pub rank: &'m (dyn Fn(usize) -> Option<usize> + Sync),
    /// Whether any layer has channels last in MLX.
    pub images: bool,
    /// The first module that each is like.
    pub kinds: &'m [ModuleId],
    /// What `config` holds.
    pub config: Option<Value>,
    /// What following one kind of module has shown, by how it was called.
    pub known: RefCell<Known>,
}

/// How a module is called: by all that call it together.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    runs: Runs,
    arguments: Arguments,
    /// Nobody that was followed calls it.
    loose: bool,
}

/// What following all forwards has shown, by module.
#[derive(Default)]
pub(super) struct Followed {
    incoming: Vec<Option<Incoming>>,
    outcomes: Vec<Option<Rc<Outcome>>>,
    contradicts: bool,
}

/// What is known of a module's code follows from this.
pub(super) type Key = (*const Outcome, Option<(Runs, bool)>);

impl Followed {
    /// What was seen of an op of a module's code, by the byte that its name begins at.
    pub(super) fn seen(&self, id: ModuleId, module: &Module, at: usize) -> Option<&Seen> {
        let outcome = self.outcomes.get(id)?.as_ref()?;
        outcome.seen.get(&std::ptr::from_ref(module))?.get(&at).filter(|seen| !seen.is_empty())
    }

    /// What [`Followed::runs`] gives for a module follows from.
    pub(super) fn key(&self, id: ModuleId) -> Key {
        let outcome = self.outcomes.get(id).and_then(Option::as_ref).map_or(std::ptr::null(), Rc::as_ptr);
        let incoming = self.incoming.get(id).and_then(Option::as_ref);
        (outcome, incoming.map(|incoming| (incoming.runs, incoming.loose)))
    }

    /// How certainly a place in a module's code runs, and whether somebody is known to call the module; `None` where its forward
    /// was not followed.
    pub(super) fn runs(&self, id: ModuleId, module: &Module, at: usize) -> Option<(Runs, bool)> {
        let outcome = self.outcomes.get(id)?.as_ref()?;
        let incoming = self.incoming.get(id)?.as_ref()?;
        let stretches = outcome.stretches.get(&std::ptr::from_ref(module)).map_or(&[][..], Vec::as_slice);
        let here = stretches.partition_point(|(start, _)| *start <= at).checked_sub(1);
        let runs = here.and_then(|here| stretches.get(here)).map_or(outcome.outside, |(_, runs)| *runs);
        Some((runs.min(incoming.runs), incoming.loose))
    }
}

impl<'t, 'm> World<'t, 'm> {
    /// Follow all forwards, with defaults where the root's caller gives nothing, as far as that leads to no error.
    pub(super) fn follow(&self, training: &Value) -> Result<Followed, Spent> {
        for trust in [Trust::All, Trust::Some] {
            let followed = self.pass(training, trust)?;
            if !followed.contradicts {
                return Ok(followed);
            }
        }
        self.follow_any(training)
    }

    /// Follow all forwards, whatever the root is called with.
    pub(super) fn follow_any(&self, training: &Value) -> Result<Followed, Spent> {
        self.pass(training, Trust::Nothing)
    }

    fn pass(&self, training: &Value, trust: Trust) -> Result<Followed, Spent> {
        let count = self.model.modules.len();
        let mut followed = Followed { incoming: vec![None; count], outcomes: vec![None; count], contradicts: false };
        if let Some(root) = followed.incoming.first_mut() {
            *root = Some(Incoming { runs: Runs::Always, arguments: Arguments::of_one(), loose: false });
        }
        let mut waiting = vec![true; count];
        for _ in 0..SWEEPS {
            for id in 0..count {
                if !waiting.get_mut(id).is_some_and(std::mem::take) {
                    continue;
                }
                let Some(slot) = followed.incoming.get_mut(id).filter(|_| self.burn(STEP)) else { return Err(Spent) };
                // Whoever could call it has been followed.
                let incoming = slot
                    .get_or_insert_with(|| Incoming {
                        runs: Runs::Maybe,
                        arguments: Arguments { more: true, ..Arguments::default() },
                        loose: true,
                    })
                    .clone();
                let trust = if id == 0 { trust } else { Trust::All };
                let outcome = self.outcome(id, (&incoming.arguments, trust), training, 0)?;
                followed.contradicts |= outcome.contradicts && incoming.runs == Runs::Always;
                for called in &outcome.calls {
                    for at in self.below(id, &called.path, count) {
                        let call = Incoming {
                            runs: called.runs.min(incoming.runs),
                            arguments: called.arguments.clone(),
                            loose: incoming.loose,
                        };
                        if let Some(slot) = followed.incoming.get_mut(at)
                            && at != id
                            && meet(slot, call)
                            && let Some(again) = waiting.get_mut(at)
                        {
                            *again = true;
                        }
                    }
                }
                if let Some(slot) = followed.outcomes.get_mut(id) {
                    *slot = Some(outcome);
                }
            }
            if !waiting.contains(&true) {
                break;
            }
        }
        Ok(followed)
    }

    fn outcome(
        &self,
        id: ModuleId,
        (arguments, trust): (&Arguments, Trust),
        training: &Value,
        nested: usize,
    ) -> Result<Rc<Outcome>, Spent> {
        let key = (self.kind(id), *training == Value::Unknown);
        let found = |known: &Known| {
            let ways = known.get(&key)?;
            ways.iter().find(|(other, _)| other == arguments).map(|(_, outcome)| Rc::clone(outcome))
        };
        // The root is followed in several ways.
        if id > 0
            && let Some(outcome) = found(&self.known.borrow())
        {
            return Ok(outcome);
        }
        let class = self.model.modules.get(id).map_or("", |module| module.class.as_str());
        let outcome = match self.code.get(class) {
            Some(code) if !(self.replaced)(id) => {
                Walk::of(self, (id, code), training.clone(), (arguments, trust), nested)?
            }
            _ => self.without_code(id, class, (arguments, training), nested)?,
        };
        let outcome = Rc::new(outcome);
        if outcome.cut {
            return Ok(outcome);
        }
        self.known.borrow_mut().entry(key).or_default().push((arguments.clone(), Rc::clone(&outcome)));
        Ok(outcome)
    }

    /// The first module that one is like.
    pub(super) fn kind(&self, id: ModuleId) -> ModuleId {
        self.kinds.get(id).copied().unwrap_or(id)
    }

    /// What a module gives when it is called with these arguments.
    pub(super) fn given(
        &self,
        id: ModuleId,
        arguments: &Arguments,
        training: &Value,
        nested: usize,
    ) -> Result<Value, Spent> {
        let class = self.model.modules.get(id).map_or("", |module| module.class.as_str());
        if !self.is_followed(id) {
            // A tensor, or several.
            return Ok((self.gives)(id).value(arguments));
        }
        if !is_sequential(class) && !self.code.contains_key(class) {
            return Ok(Value::Unknown);
        }
        let arguments = arguments.of_any_width();
        Ok(self.outcome(id, (&arguments, Trust::All), training, nested)?.value.clone())
    }

    /// Whether what a module gives follows from what is in it, and not from its class.
    pub(super) fn is_followed(&self, id: ModuleId) -> bool {
        let class = self.model.modules.get(id).map_or("", |module| module.class.as_str());
        !(self.replaced)(id) && (is_sequential(class) || !class.starts_with("torch.nn."))
    }

    /// The modules below one, each called with what the one before it gives; and what the last one gives.
    pub(super) fn chain(
        &self,
        id: ModuleId,
        arguments: &Arguments,
        training: &Value,
        nested: usize,
    ) -> Result<(Vec<Called>, Value), Spent> {
        let children: Vec<ModuleId> = self.model.children(id).take(LINKS + 1).collect();
        let anything = |path: &str| Called { path: path.into(), arguments: Arguments::of_one(), runs: Runs::Always };
        if children.len() > LINKS || nested >= walk::DEPTH {
            return Ok((vec![anything("*")], Value::Unknown));
        }
        let (mut calls, mut value) = (Vec::new(), arguments.positional.first().cloned().unwrap_or(Value::Object));
        for child in children {
            let name = self.model.modules.get(child).map_or("", |child| child.name.as_str());
            let tensor = value.layout().map_or(Value::Object, Value::Tensor);
            let arguments = Arguments { positional: vec![tensor], ..Arguments::default() };
            value = self.given(child, &arguments, training, nested + 1)?;
            calls.push(Called { path: name.into(), arguments: arguments.of_any_width(), runs: Runs::Always });
        }
        Ok((calls, value))
    }

    /// What a class of torch or one whose source is not known does with the modules below it.
    fn without_code(
        &self,
        id: ModuleId,
        class: &str,
        (arguments, training): (&Arguments, &Value),
        nested: usize,
    ) -> Result<Outcome, Spent> {
        let call = |arguments: Arguments, runs: Runs| Outcome {
            calls: vec![Called { path: "*".into(), arguments, runs }],
            ..Outcome::default()
        };
        let anything = Arguments { more: true, ..Arguments::default() };
        let leaf = self.model.modules.get(id).is_none_or(|module| module.is_leaf(id));
        Ok(match class {
            _ if leaf => Outcome::default(),
            class if is_sequential(class) => {
                let (calls, value) = self.chain(id, arguments, training, nested)?;
                Outcome { calls, value, ..Outcome::default() }
            }
            // What is in it is called as it is itself: by whoever runs the model.
            class if HANDS_ON.contains(&class) => call(Arguments::of_one(), Runs::Always),
            // Whoever has it calls what is in it.
            class if class.starts_with("torch.nn.") && class.contains(".container.") => Outcome::default(),
            class if class.starts_with("torch.nn.") => call(anything, Runs::Always),
            _ => call(anything, Runs::Maybe),
        })
    }

    /// The modules at a path below one.
    pub(super) fn below(&self, id: ModuleId, path: &str, most: usize) -> Vec<ModuleId> {
        let mut at = vec![id];
        if path.is_empty() {
            return at;
        }
        for part in path.split('.') {
            self.burn(at.len() * STEP);
            at = match part {
                ALL => at.iter().flat_map(|id| id + 1..self.model.modules.get(*id).map_or(0, |it| it.end)).collect(),
                "*" => at.iter().flat_map(|id| self.model.children(*id)).take(most).collect(),
                name => at.iter().filter_map(|id| self.model.child(*id, name)).collect(),
            };
        }
        self.burn(at.len());
        at
    }

    /// Steps are taken from the budget that all files have in common.
    fn burn(&self, steps: usize) -> bool {
        let member = self.code.values().find_map(|code| code.lineage.members.first());
        member.is_none_or(|member| member.module.budget().burn(steps))
    }
}

/// Let a module be called in one more way; whether that changes anything.
fn meet(slot: &mut Option<Incoming>, call: Incoming) -> bool {
    let Some(known) = slot else {
        *slot = Some(call);
        return true;
    };
    if known.loose && !call.loose {
        *known = call;
        return true;
    }
    if call.loose && !known.loose {
        return false;
    }
    let arguments = either(&known.arguments, &call.arguments);
    let runs = known.runs.max(call.runs);
    let changed = arguments != known.arguments || runs != known.runs;
    (known.arguments, known.runs) = (arguments, runs);
    changed
}

/// What is known of arguments that are one or the other.
fn either(a: &Arguments, b: &Arguments) -> Arguments {
    if a == b {
        return a.clone();
    }
    let names = |it: &Arguments| it.named.iter().map(|(name, _)| name.clone()).collect::<Vec<String>>();
    let alike = !a.more && !b.more && a.positional.len() == b.positional.len() && names(a) == names(b);
    if !alike {
        return Arguments { more: true, ..Arguments::default() };
    }
    let join = |(a, b): (&Value, &Value)| a.clone().or(b.clone());
    Arguments {
        positional: a.positional.iter().zip(&b.positional).map(join).collect(),
        named: a.named.iter().zip(&b.named).map(|((name, a), (_, b))| (name.clone(), join((a, b)))).collect(),
        more: false,
    }
}
