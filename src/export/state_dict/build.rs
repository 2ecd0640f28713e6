//! From a model to the key map: a walk in which the outermost module with moves takes the tensors below it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as HashEntry;
use std::hash::BuildHasher;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use foldhash::fast::RandomState;
use globset::GlobSet;
use smallvec::SmallVec;

use super::family::{Added, Norms};
use super::moves::{is_vector, without_plan};
use super::{Doubt, Entry, Known, Left, Shape, Sources, StateDict, Why};
use crate::model::{Classes, Model, ModuleId, reparametrized};
use crate::open::Opened;
use crate::plan::Move;
use crate::plan::weights::{self, Fold};
use crate::registry::Registry;
use crate::triage::{ModuleTriage, Status};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Dtype, Tensor, TensorId};

/// Why there is no key map.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two tensors would have one name.
    #[error(
        "`{}` would be the name of two MLX tensors, made of {} and of {}; rename one in the checkpoint",
        quoted(name),
        quoted(first),
        quoted(second)
    )]
    Collision {
        /// The MLX name that two tensors would have.
        name: String,
        /// What the first is made of.
        first: String,
        /// What the second is made of.
        second: String,
    },
    /// A tensor does not fit its move.
    #[error("module `{}`: {error}", quoted(module))]
    Move {
        /// The module's path.
        module: String,
        /// What does not fit.
        error: weights::Error,
    },
}

/// The key map of an opened checkpoint. Torch tensors whose names match `skip` are left out.
///
/// # Errors
/// Two tensors would have one name, or a tensor does not fit its move.
pub fn map(opened: &Opened, skip: &GlobSet) -> Result<StateDict, Error> {
    let tensors = opened.checkpoint.tensors.len();
    let mut builder = Builder {
        opened,
        paths: paths(&opened.model, &opened.checkpoint, &opened.registry),
        certain: opened.model.certain_classes(),
        moves: HashMap::new(),
        kept: HashMap::default(),
        norms: Norms::of(opened),
        shifted: HashMap::new(),
        undecided: Doubt::Added.into(),
        map: StateDict::default(),
        names: Names::default(),
        tied: Tied::of(tensors),
        taken: vec![false; tensors],
        skipped: vec![false; tensors],
    };
    builder.map.entries.reserve(tensors);
    for (id, tensor) in opened.checkpoint.tensors.iter().enumerate() {
        if skip.is_match(tensor.name.as_str()) {
            builder.skipped[id] = true;
            builder.leave(id, tensor.name.to_string(), Why::Skipped);
        }
    }
    let mut id = 0;
    while id < opened.model.modules.len() {
        id = builder.module(id)?;
    }
    builder.loose()?;
    builder.left_out();
    Ok(builder.map)
}

/// Each module's path in MLX, where it is not torch's. Where files have other names than the modules, those of the files are known
/// to whoever loads such files, and stay.
fn paths(model: &Model, checkpoint: &Checkpoint, registry: &Registry) -> Vec<Option<CompactString>> {
    let mut paths: Vec<Option<CompactString>> = Vec::with_capacity(model.modules.len());
    for (id, module) in model.modules.iter().enumerate() {
        let Some(parent) = module.parent else {
            paths.push(None);
            continue;
        };
        let in_file = module.tensors.first().filter(|_| model.is_renamed).and_then(|own| {
            let name = model.name_in_file(checkpoint, id, own);
            Some(CompactString::from(name.strip_suffix(own.name.as_str())?.strip_suffix('.')?))
        });
        if let Some(path) = in_file.filter(|path| *path != module.path) {
            paths.push(Some(path));
            continue;
        }
        let above = &model.modules[parent];
        let list = registry.layer(&above.class).and_then(|row| row.children.as_deref());
        // A list that is no module of its own would have no name at the root; elsewhere a doubtful one stays a list.
        let certain = above.alternatives.is_empty() || above.path.is_empty();
        let numbered = module.name.bytes().all(|byte| byte.is_ascii_digit());
        let list = list.filter(|_| certain && numbered);
        let path = match (&paths[parent], list) {
            (None, None) => None,
            (renamed, list) => {
                let mut path = renamed.clone().unwrap_or_else(|| above.path.clone());
                for part in list.into_iter().chain([module.name.as_str()]) {
                    path = join(&path, part);
                }
                Some(path)
            }
        };
        paths.push(path);
    }
    paths
}

fn join(path: &str, name: &str) -> CompactString {
    if path.is_empty() { name.into() } else { format_compact!("{path}.{name}") }
}

struct Builder<'a> {
    opened: &'a Opened,
    paths: Vec<Option<CompactString>>,
    /// Classes that the model has for certain.
    certain: Classes<'a>,
    /// The moves of modules that are alike, by the triage that they share.
    moves: HashMap<*const ModuleTriage, Arc<Moves>>,
    /// Moves that keep a tensor under its name.
    kept: HashMap<CompactString, Arc<Move>, RandomState>,
    /// What norms add to their weight that only names and shapes tell.
    norms: Norms<'a>,
    /// Moves with what their norm adds, by the move without.
    shifted: HashMap<*const Move, (Arc<Move>, Arc<Move>)>,
    /// Why the weight of a norm is only copied of which that is not known.
    undecided: Arc<Doubt>,
    map: StateDict,
    /// Entries by MLX's name.
    names: Names,
    tied: Tied,
    /// Torch tensors that an entry is made of, or that were left.
    taken: Vec<bool>,
    skipped: Vec<bool>,
}

/// What moves a module's tensors.
#[derive(Debug)]
struct Moves {
    /// None where they can only be copied.
    steps: Vec<Arc<Move>>,
    known: Known,
    /// Why a tensor that no step takes is copied.
    doubt: Arc<Doubt>,
}

/// Names of tensors whose move is remembered.
const MOST_KEPT: usize = 4_096;

impl<'a> Builder<'a> {
    /// Take a module's tensors, and those below it where it moves them. Returns the next module to look at.
    fn module(&mut self, id: ModuleId) -> Result<ModuleId, Error> {
        let opened = self.opened;
        let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
        if module.tensors.is_empty() && triaged.plan.as_ref().is_none_or(|plan| plan.weights.is_empty()) {
            // Its weight may be computed below it.
            if reparametrized::weight(&opened.model, id).is_none() {
                return Ok(id + 1);
            }
        }
        let own = || module.tensors.iter().filter_map(|own| own.tensor);
        if let Some(packed) = own().find_map(|tensor| opened.checkpoint.packed_as(tensor)) {
            self.rest(id, &Doubt::Packed(packed.doubt()).into())?;
            return Ok(id + 1);
        }
        let moves = self.moves(id);
        let (steps, doubt) = match self.resolve(id, &moves.steps) {
            Ok(steps) => (steps, Arc::clone(&moves.doubt)),
            Err(_) if matches!(triaged.status, Status::Custom) => (Vec::new(), Doubt::Own.into()),
            Err(doubt) => (Vec::new(), doubt.into()),
        };
        let end = if steps.is_empty() { id + 1 } else { module.end };
        self.take(id, steps, &moves.known)?;
        for below in id..end {
            self.rest(below, &doubt)?;
        }
        Ok(end)
    }

    /// The moves of a module, made once for all that are alike.
    fn moves(&mut self, id: ModuleId) -> Arc<Moves> {
        let triaged = &self.opened.triage.modules[id];
        if Arc::strong_count(triaged) == 1 {
            return Arc::new(self.make_moves(id));
        }
        if let Some(known) = self.moves.get(&Arc::as_ptr(triaged)) {
            return Arc::clone(known);
        }
        let made = Arc::new(self.make_moves(id));
        self.moves.insert(Arc::as_ptr(triaged), Arc::clone(&made));
        made
    }

    fn make_moves(&self, id: ModuleId) -> Moves {
        let triaged = &self.opened.triage.modules[id];
        let (moves, known) = match &triaged.plan {
            Some(plan) => (Ok(plan.weights.clone()), Known::Plan),
            None if matches!(triaged.status, Status::Container) => (Err(Doubt::Own), Known::Layout),
            None => (without_plan(self.opened, id, &self.certain), Known::Layout),
        };
        let (steps, doubt) = match moves {
            Ok(moves) => (moves, Doubt::NoTensor),
            Err(_) if triaged.status == Status::Custom && !triaged.contradicted => (Vec::new(), Doubt::Own),
            Err(doubt) => (Vec::new(), doubt),
        };
        Moves { steps: steps.into_iter().map(Arc::new).collect(), known, doubt: doubt.into() }
    }

    /// The sources of each move, or why they are not all there.
    fn resolve(&self, id: ModuleId, moves: &[Arc<Move>]) -> Result<Vec<(Arc<Move>, Sources)>, Doubt> {
        let find = |name: &String| {
            let found = self.opened.model.tensor(id, name);
            found.ok_or_else(|| Doubt::Other(format!("the file holds no `{}` for it", quoted(name))))
        };
        let with_sources = |step: &Arc<Move>| {
            let from: Result<Sources, Doubt> = step.from.iter().map(find).collect();
            Ok((Arc::clone(step), from?))
        };
        moves.iter().map(with_sources).collect()
    }

    /// A module's path in MLX.
    fn path(&self, id: ModuleId) -> &str {
        self.paths[id].as_ref().unwrap_or(&self.opened.model.modules[id].path)
    }

    fn take(&mut self, id: ModuleId, moves: Vec<(Arc<Move>, Sources)>, known: &Known) -> Result<(), Error> {
        let real = moves.iter().flat_map(|(_, from)| from).find_map(|&from| self.dtype(from));
        for (step, from) in moves {
            // What was asked to be left out takes what is made of it along.
            if from.iter().any(|&from| self.skipped[from]) {
                continue;
            }
            let dtype = from.first().and_then(|&from| self.dtype(from)).or(real).unwrap_or(Dtype::Float32);
            let name = join(self.path(id), &step.to);
            let (step, known) = self.with_added(id, step, known);
            self.add(Entry { name, module: id, step, from, shape: Shape::new(), dtype, known })?;
        }
        Ok(())
    }

    /// A norm's weight with what the norm adds to it.
    fn with_added(&mut self, id: ModuleId, step: Arc<Move>, known: &Known) -> (Arc<Move>, Known) {
        if step.fold != Fold::One || step.to != "weight" || *known == Known::Plan {
            return (step, known.clone());
        }
        match self.norms.added(id) {
            Added::Nothing => (step, known.clone()),
            Added::Unknown => (step, Known::Copied(Arc::clone(&self.undecided))),
            Added::Number(offset) => {
                // Modules that are alike share the move; it is kept, so that its place is not another's.
                let made = || (Arc::clone(&step), Arc::new(Move { fold: Fold::Offset(offset), ..(*step).clone() }));
                let (_, shifted) = self.shifted.entry(Arc::as_ptr(&step)).or_insert_with(made);
                (Arc::clone(shifted), known.clone())
            }
        }
    }

    /// What of a module's own tensors no move took.
    fn rest(&mut self, id: ModuleId, doubt: &Arc<Doubt>) -> Result<(), Error> {
        let module = &self.opened.model.modules[id];
        let counted = |name: &str| name == "num_batches_tracked" && module.tensor("running_mean").is_some();
        for own in &module.tensors {
            let Some(tensor) = own.tensor.filter(|&tensor| !self.taken[tensor]) else { continue };
            if counted(&own.name) {
                self.leave(tensor, join(&module.path, &own.name).into(), Why::Dropped);
                continue;
            }
            let name = join(self.path(id), &own.name);
            self.copy(id, tensor, name, &own.name, doubt)?;
        }
        Ok(())
    }

    /// Tensors that belong to no module.
    fn loose(&mut self) -> Result<(), Error> {
        let doubt = Doubt::NoModule.into();
        for (id, tensor) in self.opened.checkpoint.tensors.iter().enumerate() {
            if !self.taken[id] {
                self.copy(0, id, tensor.name.clone(), &tensor.name, &doubt)?;
            }
        }
        Ok(())
    }

    /// Tensors that the file leaves out, since they are the same as others in it: tied to what those become.
    fn left_out(&mut self) {
        // One that a module has was listed with it.
        let model = &self.opened.model;
        let is_listed = |name: &str, tensor: TensorId| {
            let parts =
                name.rsplit_once('.').and_then(|(path, own)| Some((model.modules.get(model.find(path)?)?, own)));
            parts.is_some_and(|(module, own)| module.tensor(own) == Some(tensor))
        };
        for (name, tensor) in self.opened.checkpoint.ties.iter().filter(|(name, tensor)| !is_listed(name, *tensor)) {
            let written = self.map.entries.iter().find(|entry| entry.from.as_slice() == [*tensor]);
            if let Some(written) = written {
                let why = Why::Tied(written.name.to_string());
                self.map.left.push(Left { name: name.clone(), tensor: *tensor, why });
            }
        }
    }

    fn copy(
        &mut self,
        id: ModuleId,
        from: TensorId,
        name: CompactString,
        own: &str,
        doubt: &Arc<Doubt>,
    ) -> Result<(), Error> {
        let dtype = self.dtype(from).unwrap_or(Dtype::Unknown);
        let is_vector = is_vector(self.opened, id, from);
        let known = if is_vector { Known::Layout } else { Known::Copied(Arc::clone(doubt)) };
        let (step, from) = (self.keep(own), Sources::from_slice(&[from]));
        self.add(Entry { name, module: id, step, from, shape: Shape::new(), dtype, known })
    }

    /// The move that keeps a tensor of that name.
    fn keep(&mut self, own: &str) -> Arc<Move> {
        if let Some(known) = self.kept.get(own) {
            return Arc::clone(known);
        }
        let step = Arc::new(Move::keep(own));
        if self.kept.len() < MOST_KEPT {
            self.kept.insert(own.into(), Arc::clone(&step));
        }
        step
    }

    fn add(&mut self, mut entry: Entry) -> Result<(), Error> {
        let tensors = &self.opened.checkpoint.tensors;
        let path = &self.opened.model.modules[entry.module].path;
        let size = |&axis: &u64| usize::try_from(axis).unwrap_or(usize::MAX);
        let shapes: SmallVec<[Shape; 2]> =
            entry.from.iter().map(|&from| tensors[from].shape.iter().map(size).collect()).collect();
        let shapes: SmallVec<[&[usize]; 2]> = shapes.iter().map(Shape::as_slice).collect();
        let fault = |error| Error::Move { module: path.to_string(), error };
        entry.shape = entry.step.shape(&shapes).map_err(fault)?.into();
        entry.from.iter().for_each(|&from| self.taken[from] = true);
        // Zeros are made of nothing, and are not one tensor for that.
        if let Some(first) = self.tied.first(tensors, &self.map.entries, &entry) {
            let first = &self.map.entries[first].name;
            if *first != entry.name {
                let why = Why::Tied(first.to_string());
                for &tensor in &entry.from {
                    let name = join(path, &entry.step.from[0]).into();
                    self.map.left.push(Left { name, tensor, why: why.clone() });
                }
            }
            return Ok(());
        }
        self.tied.push(tensors, &entry);
        if let Some(first) = self.names.insert(&self.map.entries, &entry.name) {
            let (first, second) = (self.sources(&self.map.entries[first]), self.sources(&entry));
            return Err(Error::Collision { name: entry.name.into(), first, second });
        }
        self.map.entries.push(entry);
        Ok(())
    }

    fn sources(&self, entry: &Entry) -> String {
        let names = entry.from.iter().map(|&id| self.opened.checkpoint.tensors[id].name.as_str());
        names.collect::<Vec<_>>().join(" + ")
    }

    fn dtype(&self, id: TensorId) -> Option<Dtype> {
        self.opened.checkpoint.tensors.get(id).map(|tensor| tensor.dtype)
    }

    fn leave(&mut self, tensor: TensorId, name: String, why: Why) {
        self.taken[tensor] = true;
        self.map.left.push(Left { name, tensor, why });
    }
}

/// Names that entries have already: a hash of each, and the entry.
#[derive(Default)]
struct Names {
    state: RandomState,
    known: HashMap<u64, usize, RandomState>,
}

impl Names {
    /// Add the name of the next entry; the entry that has it already, if there is one.
    fn insert(&mut self, entries: &[Entry], name: &str) -> Option<usize> {
        match self.known.entry(self.state.hash_one(name)) {
            HashEntry::Vacant(place) => {
                place.insert(entries.len());
                None
            }
            HashEntry::Occupied(known) if entries.get(*known.get()).is_some_and(|known| known.name == name) => {
                Some(*known.get())
            }
            // Two names of one hash, which is as good as impossible.
            HashEntry::Occupied(_) => entries.iter().position(|known| known.name == name),
        }
    }
}

/// Entries by what they are made of. Of tensors that share their bytes the first stands for all.
struct Tied {
    /// The last entry whose first source is this tensor, one more than its index; 0 where there is none.
    last: Vec<u32>,
    /// For each entry the one before it of the same first source, likewise one more than its index.
    before: Vec<u32>,
}

impl Tied {
    fn of(tensors: usize) -> Tied {
        Tied { last: vec![0; tensors], before: Vec::new() }
    }

    /// The entry that is the same move of the same tensors.
    fn first(&self, tensors: &[Tensor], entries: &[Entry], entry: &Entry) -> Option<usize> {
        let elders = |entry: &Entry| -> Sources { entry.from.iter().map(|&id| elder(tensors, id)).collect() };
        let made_of = elders(entry);
        let mut at = *self.last.get(*made_of.first()?)?;
        while let Some(index) = (at as usize).checked_sub(1) {
            let known = entries.get(index)?;
            let same = (&known.step.fold, &known.step.rule.layout) == (&entry.step.fold, &entry.step.rule.layout);
            if same && elders(known) == made_of {
                return Some(index);
            }
            at = *self.before.get(index)?;
        }
        None
    }

    /// Add the next entry.
    fn push(&mut self, tensors: &[Tensor], entry: &Entry) {
        let next = u32::try_from(self.before.len() + 1).unwrap_or(0);
        let last = entry.from.first().and_then(|&id| self.last.get_mut(elder(tensors, id)));
        self.before.push(last.map_or(0, |last| std::mem::replace(last, next)));
    }
}

fn elder(tensors: &[Tensor], id: TensorId) -> TensorId {
    tensors.get(id).and_then(|tensor| tensor.shared_with).unwrap_or(id)
}
