//! From a model to the key map: a walk in which the outermost module with moves takes the tensors below it.

use std::collections::{HashMap, HashSet};

use globset::GlobSet;

use super::moves::without_plan;
use super::{Doubt, Entry, Known, Left, StateDict, Why};
use crate::checkpoint::{Dtype, TensorId};
use crate::convert::Move;
use crate::convert::weights::{self, Fold};
use crate::escape::quoted;
use crate::model::{Model, ModuleId, reparametrized};
use crate::open::Opened;
use crate::registry::Registry;
use crate::triage::Status;

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
        /// The name.
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
    let mut builder = Builder {
        opened,
        paths: paths(&opened.model, &opened.registry),
        certain: opened.model.certain_classes(),
        map: StateDict::default(),
        names: HashMap::new(),
        tied: HashMap::new(),
        taken: HashSet::new(),
        skipped: HashSet::new(),
    };
    for (id, tensor) in opened.checkpoint.tensors.iter().enumerate() {
        if skip.is_match(tensor.name.as_str()) {
            builder.skipped.insert(id);
            builder.leave(id, tensor.name.to_string(), Why::Skipped);
        }
    }
    let mut id = 0;
    while id < opened.model.modules.len() {
        id = builder.module(id)?;
    }
    builder.loose()?;
    Ok(builder.map)
}

/// Each module's path in MLX.
fn paths(model: &Model, registry: &Registry) -> Vec<String> {
    let mut paths: Vec<String> = Vec::with_capacity(model.modules.len());
    for module in &model.modules {
        let Some(parent) = module.parent else {
            paths.push(module.path.clone());
            continue;
        };
        let (above, mut path) = (&model.modules[parent], paths[parent].clone());
        let list = registry.layer(&above.class).and_then(|row| row.children.as_deref());
        // A list that is no module of its own would have no name at the root; elsewhere a doubtful one stays a list.
        let certain = above.alternatives.is_empty() || above.path.is_empty();
        let numbered = module.name.bytes().all(|byte| byte.is_ascii_digit());
        let list = list.filter(|_| certain && numbered);
        for part in list.into_iter().chain([module.name.as_str()]) {
            path = join(&path, part);
        }
        paths.push(path);
    }
    paths
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

struct Builder<'a> {
    opened: &'a Opened,
    paths: Vec<String>,
    /// Classes that the model has for certain.
    certain: HashSet<&'a str>,
    map: StateDict,
    /// Entries by MLX's name.
    names: HashMap<String, usize>,
    /// Entries by their sources, as the first of those that share their bytes.
    tied: HashMap<Vec<TensorId>, Vec<usize>>,
    /// Torch tensors that an entry is made of, or that were left.
    taken: HashSet<TensorId>,
    skipped: HashSet<TensorId>,
}

impl Builder<'_> {
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
        let (moves, known) = match &triaged.plan {
            Some(plan) => (Ok(plan.weights.clone()), Known::Plan),
            None if matches!(triaged.status, Status::Container) => (Err(Doubt::Own), Known::Layout),
            None => (without_plan(opened, id, &self.certain), Known::Layout),
        };
        let moves = moves.and_then(|moves| self.resolve(id, moves));
        let (moves, doubt) = match moves {
            Ok(moves) => (moves, Doubt::NoTensor),
            Err(_) if matches!(triaged.status, Status::Custom) => (Vec::new(), Doubt::Own),
            Err(doubt) => (Vec::new(), doubt),
        };
        let end = if moves.is_empty() { id + 1 } else { module.end };
        self.take(id, moves, &known)?;
        for below in id..end {
            self.rest(below, &doubt)?;
        }
        Ok(end)
    }

    /// The sources of each move, or why they are not all there.
    fn resolve(&self, id: ModuleId, moves: Vec<Move>) -> Result<Vec<(Move, Vec<TensorId>)>, Doubt> {
        let find = |name: &String| {
            let found = self.opened.model.tensor(id, name);
            found.ok_or_else(|| Doubt::Other(format!("the file holds no `{}` for it", quoted(name))))
        };
        let with_sources = |step: Move| {
            let from: Result<Vec<TensorId>, Doubt> = step.from.iter().map(find).collect();
            Ok((step, from?))
        };
        moves.into_iter().map(with_sources).collect()
    }

    fn take(&mut self, id: ModuleId, moves: Vec<(Move, Vec<TensorId>)>, known: &Known) -> Result<(), Error> {
        let real = moves.iter().flat_map(|(_, from)| from).find_map(|&from| self.dtype(from));
        for (step, from) in moves {
            // What was asked to be left out takes what is made of it along.
            if from.iter().any(|from| self.skipped.contains(from)) {
                continue;
            }
            let dtype = from.first().and_then(|&from| self.dtype(from)).or(real).unwrap_or(Dtype::Float32);
            let name = join(&self.paths[id], &step.to);
            self.add(Entry { name, module: id, step, from, shape: Vec::new(), dtype, known: known.clone() })?;
        }
        Ok(())
    }

    /// What of a module's own tensors no move took.
    fn rest(&mut self, id: ModuleId, doubt: &Doubt) -> Result<(), Error> {
        let module = &self.opened.model.modules[id];
        let counted = |name: &str| name == "num_batches_tracked" && module.tensor("running_mean").is_some();
        for own in &module.tensors {
            let Some(tensor) = own.tensor.filter(|tensor| !self.taken.contains(tensor)) else { continue };
            if counted(&own.name) {
                self.leave(tensor, join(&module.path, &own.name), Why::Dropped);
                continue;
            }
            let name = join(&self.paths[id], &own.name);
            self.copy(id, tensor, name, &own.name, doubt)?;
        }
        Ok(())
    }

    /// Tensors that belong to no module.
    fn loose(&mut self) -> Result<(), Error> {
        for (id, tensor) in self.opened.checkpoint.tensors.iter().enumerate() {
            if !self.taken.contains(&id) {
                self.copy(0, id, tensor.name.to_string(), &tensor.name, &Doubt::NoModule)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, id: ModuleId, from: TensorId, name: String, own: &str, doubt: &Doubt) -> Result<(), Error> {
        let dtype = self.dtype(from).unwrap_or(Dtype::Unknown);
        let known = Known::Copied(doubt.clone());
        let step = Move::keep(own);
        self.add(Entry { name, module: id, step, from: vec![from], shape: Vec::new(), dtype, known })
    }

    fn add(&mut self, mut entry: Entry) -> Result<(), Error> {
        let tensors = &self.opened.checkpoint.tensors;
        let size = |&axis: &u64| usize::try_from(axis).unwrap_or(usize::MAX);
        let shapes: Vec<Vec<usize>> =
            entry.from.iter().map(|&from| tensors[from].shape.iter().map(size).collect()).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let path = &self.opened.model.modules[entry.module].path;
        let fault = |error| Error::Move { module: path.clone(), error };
        entry.shape = entry.step.shape(&shapes).map_err(fault)?;
        self.taken.extend(&entry.from);
        let first: Vec<TensorId> = entry.from.iter().map(|&id| tensors[id].shared_with.unwrap_or(id)).collect();
        let alike = self.tied.entry(first).or_default();
        let entries = &self.map.entries;
        let same = |&&at: &&usize| {
            let known = &entries[at].step;
            (&known.fold, &known.rule.layout) == (&entry.step.fold, &entry.step.rule.layout)
        };
        // Zeros are made of nothing, and are not one tensor for that.
        if let Some(&first) = alike.iter().find(same).filter(|_| !matches!(entry.step.fold, Fold::Zeros(_))) {
            let why = Why::Tied(self.map.entries[first].name.clone());
            if self.map.entries[first].name != entry.name {
                for &tensor in &entry.from {
                    let name = join(path, &entry.step.from[0]);
                    self.map.left.push(Left { name, tensor, why: why.clone() });
                }
            }
            return Ok(());
        }
        alike.push(entries.len());
        if let Some(&first) = self.names.get(&entry.name) {
            let (first, second) = (self.sources(&self.map.entries[first]), self.sources(&entry));
            return Err(Error::Collision { name: entry.name, first, second });
        }
        self.names.insert(entry.name.clone(), self.map.entries.len());
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
        self.taken.insert(tensor);
        self.map.left.push(Left { name, tensor, why });
    }
}
