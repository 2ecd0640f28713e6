//! Which places in a model's source run at inference.
//!
//! The root's forward is followed statement by statement, with what is known: `self.training` is False, the attributes of each
//! module are those that were saved, built or configured, and a parameter that no caller gives has its default. Conditions on
//! such values are decided; what depends on tensors is not. Calls lead into methods and functions of the file, and into the
//! modules below, which are followed in turn with the arguments that all of their callers give. A second time nothing is known of
//! `training`: what only that reaches is training's, where labels are given, too.
//!
//! Nothing is run. A place that cannot be decided counts.

mod axes;
mod frame;
mod layouts;
mod loops;
mod parameters;
mod seen;
mod shapes;
mod walk;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

pub use self::layouts::Gives;
use self::seen::Axes;
pub use self::seen::{Order, Seen};
use self::world::{Code, Followed, World};
use super::ClassSource;
use super::budget::Part;
use super::evaluate::{Runs, Value};
use super::imports::Imports;
use super::locate::{Found, Sources};
use super::reach::{Lineage, Member};
use crate::model::{Model, ModuleId};

/// Following forwards may take this part of the steps that are left.
const SHARE: u64 = 2;
/// Bytes of stack for following them, of which little is touched: a call takes some ten frames of half a kilobyte each.
const STACK: usize = 64 << 20;

/// What reaches a place in source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// The model, when it just runs.
    Inference,
    /// That cannot be decided.
    Unknown,
    /// Training alone.
    Training,
}

impl Reach {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Reach::Inference => "inference",
            Reach::Unknown => "unknown",
            Reach::Training => "training",
        }
    }

    /// What reports say behind a blocker's severity: nothing where the model runs it.
    pub fn aside(self) -> &'static str {
        match self {
            Reach::Inference => "",
            Reach::Unknown => ", undecided",
            Reach::Training => ", training only",
        }
    }

    /// What is said in front of a blocker's explanation: nothing where the model runs it.
    pub fn sentence(self) -> &'static str {
        match self {
            Reach::Inference => "",
            Reach::Unknown => "Whether the model runs it is not known. ",
            Reach::Training => "Training only, and not counted. ",
        }
    }

    /// Whether somebody who ports the model for inference has to deal with it.
    pub fn counts(self) -> bool {
        self != Reach::Training
    }
}

/// What reaches the code of a class in one module; `None` for code that the module never runs. Modules that are alike share it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// By blocker, in the order of [`ClassSource::all_blockers`].
    pub blockers: Vec<Option<Reach>>,
    /// By op, in the order of [`ClassSource::uses`].
    pub ops: Vec<Option<Reach>>,
    /// By idiom, in the order of [`ClassSource::idioms`].
    pub idioms: Vec<Option<Reach>>,
    /// What was seen of some of the ops, by their number there.
    pub seen: BTreeMap<usize, Seen>,
}

/// What is asked.
pub struct Question<'a> {
    /// The model.
    pub model: &'a Model,
    /// For each module the first one that is like it.
    pub kinds: &'a [ModuleId],
    /// The source of its classes, by their full paths.
    pub classes: &'a BTreeMap<String, ClassSource>,
    /// Whether the registry replaces a module as a whole.
    pub replaced: &'a (dyn Fn(ModuleId) -> bool + Sync),
    /// What a layer that is not followed makes of the axes of its input.
    pub gives: &'a (dyn Fn(ModuleId) -> Gives + Sync),
    /// How many axes a tensor has, by its number in the checkpoint.
    pub rank: &'a (dyn Fn(usize) -> Option<usize> + Sync),
    /// What the checkpoint's config holds.
    pub config: Option<&'a Map<String, Json>>,
}

/// For each module what reaches the code of its class; `None` where that has neither blockers nor ops, and nothing at all where no
/// class has any.
pub fn reached(sources: &Sources, question: &Question<'_>) -> Vec<Option<Arc<Reached>>> {
    let asked = |class: &str| question.classes.get(class).is_some_and(ClassSource::has_findings);
    if !question.model.modules.iter().any(|module| asked(&module.class)) {
        return Vec::new();
    }
    // Blocks in functions in calls: as deep as text may be nested, times as deep as calls are followed.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let deep = thread.spawn_scoped(scope, || answer(sources, question, true));
        let done = deep.ok().and_then(|thread| thread.join().ok());
        done.unwrap_or_else(|| answer(sources, question, false))
    })
}

fn answer(sources: &Sources, question: &Question<'_>, following: bool) -> Vec<Option<Arc<Reached>>> {
    let Question { model, classes, .. } = question;
    let asked = |class: &str| classes.get(class).filter(|source| source.has_findings());
    let families: HashMap<&str, Vec<Found>> = classes
        .keys()
        .filter_map(|class| Some((class.as_str(), Imports::new(sources).family(sources.found(class)?))))
        .collect();
    let budget = sources.budget();
    let followed = budget.share(SHARE, || if following { follow(question, &families) } else { None });
    if followed.is_none() || budget.is_spent() {
        budget.leave_out(Part::Reach, model.modules.first().map_or("", |root| root.class.as_str()));
    }
    let mut shared: HashMap<(&str, Key), Arc<Reached>> = HashMap::new();
    let reach = model.modules.iter().enumerate().map(|(id, module)| {
        let source = asked(&module.class)?;
        let replaced = (question.replaced)(id);
        let key = match &followed {
            _ if replaced => Key::Replaced,
            None => Key::Unknown,
            Some(ways) => Key::Followed(ways.each().map(|followed| followed.key(id))),
        };
        let compute = || {
            let family = families.get(module.class.as_str());
            // The registry's layer stands for all of it.
            let decide = |file: &str, at: Option<usize>| {
                if replaced { None } else { decide(followed.as_ref(), family, id, file, at) }
            };
            let blockers = source.all_blockers().map(|(file, blocker)| decide(file, blocker.at));
            let ops = source.uses().map(|op| decide(op.file.as_deref().unwrap_or(&source.file), Some(op.at)));
            let idioms = source.idioms.iter();
            let idioms = idioms.map(|it| decide(it.file.as_deref().unwrap_or(&source.file), Some(it.at)));
            let seen = source.uses().enumerate().filter(|_| !replaced).filter_map(|(number, op)| {
                let file = op.file.as_deref().unwrap_or(&source.file);
                Some((number, seen(followed.as_ref()?, family?, id, file, op.at)?))
            });
            Arc::new(Reached {
                blockers: blockers.collect(),
                ops: ops.collect(),
                idioms: idioms.collect(),
                seen: seen.collect(),
            })
        };
        Some(Arc::clone(shared.entry((module.class.as_str(), key)).or_insert_with(compute)))
    });
    reach.collect()
}

/// What the answer for a module follows from: modules of one class with one key have the same.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Replaced,
    Unknown,
    Followed([world::Key; 4]),
}

/// All forwards, followed in four ways.
struct Ways {
    /// At inference, called with what nobody can leave out.
    inference: Followed,
    /// At inference, called with anything.
    asked: Followed,
    /// The same in training: there somebody gives labels.
    training: Followed,
    taught: Followed,
}

impl Ways {
    fn each(&self) -> [&Followed; 4] {
        [&self.inference, &self.asked, &self.training, &self.taught]
    }
}

fn follow(question: &Question<'_>, families: &HashMap<&str, Vec<Found>>) -> Option<Ways> {
    let code = families.iter().map(|(class, family)| {
        let members = family
            .iter()
            .filter_map(|found| Some(Member { module: &found.module, class: found.module.class(&found.name)? }));
        (*class, Code::of(Lineage { members: members.collect() }))
    });
    let config = question.config.map(|config| Value::from_json(&Json::Object(config.clone())));
    let Question { model, kinds, replaced, gives, rank, .. } = *question;
    let image = |id: usize| matches!(gives(id), Gives::Window { .. } | Gives::Channels { .. });
    let images = kinds.iter().enumerate().any(|(id, first)| id == *first && image(id));
    let known = RefCell::default();
    let world = World { model, code: code.collect(), replaced, gives, rank, images, kinds, config, known };
    let (off, any) = (Value::Bool(false), Value::Unknown);
    Some(Ways {
        inference: world.follow(&off).ok()?,
        asked: world.follow_any(&off).ok()?,
        training: world.follow(&any).ok()?,
        taught: world.follow_any(&any).ok()?,
    })
}

/// What was seen of an op: at inference, or called with anything.
fn seen(ways: &Ways, family: &[Found], id: ModuleId, file: &str, at: usize) -> Option<Seen> {
    let module = &family.iter().find(|found| found.file == file)?.module;
    [&ways.inference, &ways.asked].into_iter().find_map(|followed| followed.seen(id, module, at)).cloned()
}

fn decide(
    ways: Option<&Ways>,
    family: Option<&Vec<Found>>,
    id: ModuleId,
    file: &str,
    at: Option<usize>,
) -> Option<Reach> {
    // What stands in a class's body counts wherever it stands.
    let Some(at) = at else { return Some(Reach::Inference) };
    let module = family.and_then(|family| family.iter().find(|found| found.file == file)).map(|found| &found.module);
    let (Some(ways), Some(module)) = (ways, module) else { return Some(Reach::Unknown) };
    let [Some(inference), Some(asked), Some(training), Some(taught)] =
        ways.each().map(|followed| followed.runs(id, module, at))
    else {
        return Some(Reach::Unknown);
    };
    // A module that nobody was seen to call may run or not.
    let reached = |(runs, loose): (Runs, bool)| runs != Runs::Never && !loose;
    match inference {
        (Runs::Always, false) => Some(Reach::Inference),
        (Runs::Maybe, false) => Some(Reach::Unknown),
        // What a parameter asks for that nobody gives is not training's.
        _ if reached(training) || reached(taught) && !reached(asked) => Some(Reach::Training),
        (Runs::Never, _) => None,
        (_, true) => Some(Reach::Unknown),
    }
}
