//! MLX's weights back under torch's names and in its layouts, by a key map: that of the checkpoint they came from, or one that
//! was written with them.
//!
//! With the checkpoint at hand its own tensors come back to the bit wherever they still convert to what the MLX file
//! holds, folds among them. Without it a fold is undone as [`weights::invert`] does it: into torch tensors that fold to
//! the same.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::state_dict::key_map::{KeyMap, Row};
use super::state_dict::{StateDict, Why, key_map};
use super::writer::{Described, Error as WriteError, Source};
use crate::plan::weights::{self, Move};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Dtype, TensorData, TensorId};

/// Why there is no way back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The map names a tensor that the MLX file does not have.
    #[error(
        "the key map wants `{}`, which the MLX file does not have: the map belongs to another conversion",
        quoted(name)
    )]
    Missing {
        /// MLX's name.
        name: String,
    },
    /// The MLX file has a tensor that the map does not know.
    #[error("the MLX file has `{}`, of which the key map does not say where it goes", quoted(name))]
    Extra {
        /// MLX's name.
        name: String,
    },
    /// A tensor has another shape than the map says.
    #[error("`{}` has shape {found:?} in the MLX file and {wanted:?} in the key map", quoted(name))]
    Shape {
        /// MLX's name.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// In the map.
        wanted: Vec<usize>,
    },
    /// The file's metadata does not say which tensors are tied.
    #[error(
        "`tied` in the MLX file's metadata has to be a JSON object that names for each tied torch tensor the MLX tensor \
         it repeats: {}; convert the checkpoint again, or remove the entry to go back without tied tensors",
        quoted(reason)
    )]
    Tied {
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor cannot be read.
    #[error(transparent)]
    Read(#[from] t2m_checkpoint::Error),
    /// A move cannot be undone.
    #[error(transparent)]
    Move(#[from] weights::Error),
}

/// The MLX tensors that some torch tensors became, which have no torch tensor in common with others.
#[derive(Debug, Default)]
struct Group {
    moves: Vec<Move>,
    /// MLX's, by the moves' order.
    mlx: Vec<TensorId>,
    /// Torch's tensors, in the order in which the moves name them first, with their shapes and, given the checkpoint, ids.
    torch: Vec<(String, Vec<usize>, Option<TensorId>)>,
    /// Whether the checkpoint's own tensors convert to what the MLX file holds.
    exact: bool,
}

/// Torch's tensors made of MLX's.
#[derive(Debug)]
pub struct Reversal<'a> {
    mlx: &'a Checkpoint,
    original: Option<&'a Checkpoint>,
    groups: Vec<Group>,
    tensors: Vec<Back>,
    /// Where each tensor comes from.
    places: Vec<Place>,
}

/// A torch tensor that comes back.
#[derive(Debug, Clone)]
struct Back {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
}

/// Where a torch tensor comes from.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A group, and its index among the group's.
    Group(usize, usize),
    /// The checkpoint itself, which MLX's file keeps nothing of.
    Original(TensorId),
}

/// What came back how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Torch tensors that the checkpoint holds to the bit.
    pub exact: usize,
    /// Those that were made of MLX's.
    pub inverted: usize,
    /// Those that MLX keeps nothing of, taken from the checkpoint.
    pub kept: usize,
}

impl<'a> Reversal<'a> {
    /// By a key map alone.
    ///
    /// # Errors
    /// The map does not belong to the file, or a move cannot be undone.
    pub fn by_map(mlx: &'a Checkpoint, map: &KeyMap) -> Result<Reversal<'a>, Error> {
        let mut reversal = Reversal::new(mlx, None, map, &HashMap::new())?;
        reversal.describe()?;
        for (torch, written) in tied_in(mlx)? {
            let from = map.get(&written).and_then(|row| row.from.first());
            if let Some(from) = from {
                reversal.repeat(&torch, from);
            }
        }
        Ok(reversal)
    }

    /// By the checkpoint that it was made of.
    ///
    /// # Errors
    /// The checkpoint does not belong to the file, or a move cannot be undone.
    pub fn by_checkpoint(
        mlx: &'a Checkpoint,
        original: &'a Checkpoint,
        map: &StateDict,
    ) -> Result<Reversal<'a>, Error> {
        let ids = map.entries.iter().flat_map(|entry| &entry.from);
        let ids: HashMap<String, TensorId> = ids.map(|&id| (original.tensors[id].name.to_string(), id)).collect();
        let rows = key_map::rows(original, map);
        let mut reversal = Reversal::new(mlx, Some(original), &rows, &ids)?;
        reversal.describe()?;
        for left in &map.left {
            match &left.why {
                Why::Tied(written) => {
                    if let Some(from) = rows.get(written).and_then(|row| row.from.first()) {
                        reversal.repeat(&left.name, from);
                    }
                }
                Why::Dropped => {
                    let kept = original.read(left.tensor)?;
                    reversal.push(&left.name, kept.shape, kept.dtype, Place::Original(left.tensor));
                }
                Why::Skipped => {}
            }
        }
        Ok(reversal)
    }

    fn new(
        mlx: &'a Checkpoint,
        original: Option<&'a Checkpoint>,
        map: &KeyMap,
        ids: &HashMap<String, TensorId>,
    ) -> Result<Reversal<'a>, Error> {
        let found: HashMap<&str, TensorId> =
            mlx.tensors.iter().enumerate().map(|(id, tensor)| (tensor.name.as_str(), id)).collect();
        if let Some(tensor) = mlx.tensors.iter().find(|tensor| !map.contains_key(tensor.name.as_str())) {
            return Err(Error::Extra { name: tensor.name.to_string() });
        }
        let mut groups: Vec<Group> = Vec::new();
        // Moves that share a torch tensor stand together in the map's order, but not always side by side.
        let mut of_torch: HashMap<&str, usize> = HashMap::new();
        for (name, row) in map {
            let &id = found.get(name.as_str()).ok_or_else(|| Error::Missing { name: name.clone() })?;
            let shape: Vec<usize> = mlx.tensors[id].shape.iter().map(|&axis| axis as usize).collect();
            if shape != row.shape {
                return Err(Error::Shape { name: name.clone(), found: shape, wanted: row.shape.clone() });
            }
            let known = row.from.iter().find_map(|from| of_torch.get(from.as_str()).copied());
            let at = known.unwrap_or(groups.len());
            if at == groups.len() {
                groups.push(Group::default());
            }
            for (from, shape) in row.from.iter().zip(&row.from_shapes) {
                if of_torch.insert(from, at).is_none() {
                    groups[at].torch.push((from.clone(), shape.clone(), ids.get(from).copied()));
                }
            }
            groups[at].add(name, row, id);
        }
        Ok(Reversal { mlx, original, groups, tensors: Vec::new(), places: Vec::new() })
    }

    /// Say what comes out, and whether the checkpoint's own tensors can be taken.
    fn describe(&mut self) -> Result<(), Error> {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let exact = group.is_original(self.mlx, self.original)?;
            let torch = group.torch.clone();
            let of_mlx = group.mlx.first().map_or(Dtype::Float32, |&id| self.mlx.tensors[id].dtype);
            for (index, (name, shape, id)) in torch.into_iter().enumerate() {
                let own = id.zip(self.original).map(|(id, original)| original.tensors[id].dtype);
                let dtype = own.filter(|_| exact).unwrap_or(of_mlx);
                self.push(&name, shape, dtype, Place::Group(at, index));
            }
            self.groups[at].exact = exact;
        }
        Ok(())
    }

    fn push(&mut self, name: &str, shape: Vec<usize>, dtype: Dtype, place: Place) {
        self.tensors.push(Back { name: name.to_owned(), shape, dtype });
        self.places.push(place);
    }

    /// List a tensor once more under another name, as torch lists tied ones.
    fn repeat(&mut self, name: &str, of: &str) {
        if self.tensors.iter().any(|tensor| tensor.name == name) {
            return;
        }
        if let Some(at) = self.tensors.iter().position(|tensor| tensor.name == of) {
            let (known, place) = (self.tensors[at].clone(), self.places[at]);
            self.push(name, known.shape, known.dtype, place);
        }
    }

    /// How many came back how.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for place in &self.places {
            match place {
                Place::Original(_) => summary.kept += 1,
                Place::Group(at, _) if self.groups[*at].exact => summary.exact += 1,
                Place::Group(..) => summary.inverted += 1,
            }
        }
        summary
    }

    fn make(&self, at: usize) -> Result<TensorData, Error> {
        let from = |id: TensorId| match self.original {
            Some(original) => Ok(original.read(id)?),
            None => Err(Error::Missing { name: self.tensors[at].name.clone() }),
        };
        match self.places[at] {
            Place::Original(id) => from(id),
            Place::Group(group, index) => {
                let group = &self.groups[group];
                let (name, _, id) = &group.torch[index];
                match id.filter(|_| group.exact) {
                    Some(id) => from(id),
                    None => group.invert(self.mlx, name),
                }
            }
        }
    }
}

impl Group {
    fn add(&mut self, name: &str, row: &Row, id: TensorId) {
        self.moves.push(row.step(name));
        self.mlx.push(id);
    }

    /// Whether the checkpoint's tensors are what the MLX file was made of: they convert to the same bytes.
    fn is_original(&self, mlx: &Checkpoint, original: Option<&Checkpoint>) -> Result<bool, Error> {
        let Some(original) = original else { return Ok(false) };
        for (step, &id) in self.moves.iter().zip(&self.mlx) {
            let sources = step.from.iter().map(|from| self.torch.iter().find(|(name, ..)| name == from)?.2);
            let Some(sources) = sources.collect::<Option<Vec<TensorId>>>() else { return Ok(false) };
            let sources: Result<Vec<TensorData>, _> = sources.into_iter().map(|id| original.read(id)).collect();
            let made = step.apply(&sources?.iter().collect::<Vec<_>>())?;
            let there = mlx.read(id)?;
            if made.cast(there.dtype).is_none_or(|made| made.bytes != there.bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn invert(&self, mlx: &Checkpoint, name: &str) -> Result<TensorData, Error> {
        let read = |(step, &id): (&Move, &TensorId)| Ok((step.to.clone(), mlx.read(id)?));
        let there: Result<Vec<(String, TensorData)>, Error> = self.moves.iter().zip(&self.mlx).map(read).collect();
        let shape = |name: &str| self.torch.iter().find(|(known, ..)| known == name).map(|(_, shape, _)| shape.clone());
        let back = weights::invert(&self.moves, &there?, shape)?;
        let found = back.into_iter().find(|(known, _)| known == name);
        found.map(|(_, tensor)| tensor).ok_or_else(|| Error::Missing { name: name.to_owned() })
    }
}

/// Torch's names of tied tensors and MLX's names of those that were written, out of the file's metadata.
fn tied_in(mlx: &Checkpoint) -> Result<IndexMap<String, String>, Error> {
    let Some(text) = mlx.metadata.get("tied") else { return Ok(IndexMap::new()) };
    let text = text.as_str().ok_or_else(|| Error::Tied { reason: "it is no text".to_owned() })?;
    serde_json::from_str(text).map_err(|error| Error::Tied { reason: error.to_string() })
}

impl Source for Reversal<'_> {
    fn count(&self) -> usize {
        self.tensors.len()
    }

    fn tensor(&self, at: usize) -> Described<'_> {
        let Back { name, shape, dtype } = &self.tensors[at];
        Described { name, shape, dtype: *dtype, written: *dtype }
    }

    fn each(&self, at: usize, take: &mut dyn FnMut(TensorData) -> Result<(), WriteError>) -> Result<(), WriteError> {
        let made = self.make(at).map_err(|error| WriteError::Make { reason: error.to_string() })?;
        // The shape was foretold by the map, which may lie.
        if made.shape != self.tensors[at].shape {
            let (name, found, wanted) = (self.tensors[at].name.clone(), made.shape, self.tensors[at].shape.clone());
            return Err(WriteError::Make { reason: Error::Shape { name, found, wanted }.to_string() });
        }
        take(made)
    }

    fn about(&self) -> Map<String, Value> {
        Map::from_iter([("format".to_owned(), json!("pt"))])
    }

    fn inputs(&self) -> Vec<&Checkpoint> {
        std::iter::once(self.mlx).chain(self.original).collect()
    }
}
