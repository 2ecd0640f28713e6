//! MLX's weights back under torch's names and in its layouts, by a key map: that of the checkpoint they came from, or one that
//! was written with them.
//!
//! With the checkpoint at hand its own tensors come back to the bit wherever they still convert to what the MLX file
//! holds, folds among them. Without it a fold is undone as [`weights::invert`] does it: into torch tensors that fold to
//! the same.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::{Map, Value, json};
use smallvec::SmallVec;

use super::state_dict::key_map::{KeyMap, Names};
use super::state_dict::{Shape, StateDict, Why};
use super::writer::{Described, Error as WriteError, Source};
use crate::plan::Rule;
use crate::plan::weights::{self, Move};
use t2m_checkpoint::escape::quoted;
use t2m_checkpoint::{Checkpoint, Dtype, Spread, TensorData, TensorId};

/// MLX tensors that are made of one another's sources; each way back looks at all of them. Those of a layer are three or four.
const MOST_TOGETHER: usize = 1_000;

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
    /// Too many tensors hang together.
    #[error(
        "the key map makes more than {MOST_TOGETHER} tensors of one another's parts, `{}` among them, which no conversion does",
        quoted(name)
    )]
    Together {
        /// MLX's name.
        name: String,
    },
    /// A tensor cannot be read.
    #[error(transparent)]
    Read(#[from] t2m_checkpoint::Error),
    /// A move cannot be undone.
    #[error(transparent)]
    Move(#[from] weights::Error),
}

/// How MLX's tensors were made: by a key map that was read, or by the conversion of the checkpoint at hand.
#[derive(Debug, Clone, Copy)]
enum Rows<'a> {
    Map(&'a KeyMap),
    Conversion(&'a Checkpoint, &'a StateDict),
}

impl<'a> Rows<'a> {
    fn count(self) -> usize {
        match self {
            Rows::Map(map) => map.rows.len(),
            Rows::Conversion(_, map) => map.entries.len(),
        }
    }

    /// MLX's name.
    fn name(self, row: usize) -> &'a str {
        match self {
            Rows::Map(map) => map.rows.get_index(row).map_or("", |(name, _)| name),
            Rows::Conversion(_, map) => &map.entries[row].name,
        }
    }

    /// MLX's shape.
    fn shape(self, row: usize) -> &'a [usize] {
        match self {
            Rows::Map(map) => &map.rows[row].shape,
            Rows::Conversion(_, map) => &map.entries[row].shape,
        }
    }

    /// How many torch tensors it is made of, of which names and shapes are known.
    fn sources(self, row: usize) -> usize {
        match self {
            Rows::Map(map) => map.rows[row].from.len().min(map.rows[row].from_shapes.len()),
            Rows::Conversion(_, map) => map.entries[row].from.len(),
        }
    }

    /// A source's name.
    fn source(self, row: usize, at: usize) -> &'a CompactString {
        match self {
            Rows::Map(map) => &map.rows[row].from[at],
            Rows::Conversion(checkpoint, map) => &checkpoint.tensors[map.entries[row].from[at]].name,
        }
    }

    /// A source's shape.
    fn source_shape(self, row: usize, at: usize) -> Shape {
        match self {
            Rows::Map(map) => map.rows[row].from_shapes[at].clone(),
            Rows::Conversion(checkpoint, map) => {
                checkpoint.tensors[map.entries[row].from[at]].shape.iter().map(|&axis| axis as usize).collect()
            }
        }
    }

    /// A source in the checkpoint at hand.
    fn source_id(self, row: usize, at: usize) -> Option<TensorId> {
        match self {
            Rows::Map(_) => None,
            Rows::Conversion(_, map) => map.entries[row].from.get(at).copied(),
        }
    }

    /// The move, with torch's and MLX's full names.
    fn step(self, row: usize) -> Move {
        match self {
            Rows::Map(map) => map.rows[row].step(self.name(row)),
            Rows::Conversion(_, map) => {
                let entry = &map.entries[row];
                Move {
                    from: (0..entry.from.len()).map(|at| self.source(row, at).to_string()).collect(),
                    to: entry.name.to_string(),
                    fold: entry.step.fold.clone(),
                    rule: Rule { name: entry.rule(), layout: entry.step.rule.layout.clone() },
                }
            }
        }
    }
}

/// The MLX tensors that some torch tensors became, which have no torch tensor in common with others.
#[derive(Debug, Default)]
struct Group {
    /// By the rows' order.
    rows: SmallVec<[u32; 4]>,
    /// Whether the checkpoint's own tensors convert to what the MLX file holds.
    exact: bool,
}

/// Torch's tensors made of MLX's.
#[derive(Debug)]
pub struct Reversal<'a> {
    mlx: &'a Checkpoint,
    original: Option<&'a Checkpoint>,
    rows: Rows<'a>,
    /// The MLX tensor of each row.
    of_row: Vec<u32>,
    groups: Vec<Group>,
    tensors: Vec<Back>,
}

/// A torch tensor that comes back.
#[derive(Debug, Clone)]
struct Back {
    name: CompactString,
    shape: Shape,
    dtype: Dtype,
    place: Place,
}

/// Where a torch tensor comes from.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A group, and where it is named among the sources of one of its rows.
    Group { group: u32, row: u32, at: u32 },
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
    pub fn by_map(mlx: &'a Checkpoint, map: &'a KeyMap) -> Result<Reversal<'a>, Error> {
        let mut reversal = Reversal::new(mlx, None, Rows::Map(map))?;
        let tied = tied_in(mlx)?;
        let first = |written: &CompactString| map.rows.get(written).and_then(|row| row.from.first());
        reversal.repeat(tied.iter().filter_map(|(torch, written)| Some((torch.as_str(), first(written)?.as_str()))));
        Ok(reversal)
    }

    /// By the checkpoint that it was made of.
    ///
    /// # Errors
    /// The checkpoint does not belong to the file, or a move cannot be undone.
    pub fn by_checkpoint(
        mlx: &'a Checkpoint,
        original: &'a Checkpoint,
        map: &'a StateDict,
    ) -> Result<Reversal<'a>, Error> {
        let mut reversal = Reversal::new(mlx, Some(original), Rows::Conversion(original, map))?;
        for left in map.left.iter().filter(|left| left.why == Why::Dropped) {
            let kept = &original.tensors[left.tensor];
            let shape = kept.shape.iter().map(|&axis| axis as usize).collect();
            let (name, place) = (left.name.as_str().into(), Place::Original(left.tensor));
            reversal.tensors.push(Back { name, shape, dtype: kept.dtype, place });
        }
        if map.tied().next().is_some() {
            let entries = map.entries.iter();
            let by_name: HashMap<&str, TensorId, RandomState> =
                entries.filter_map(|entry| Some((entry.name.as_str(), *entry.from.first()?))).collect();
            let first = |written: &str| by_name.get(written).map(|&id| original.tensors[id].name.as_str());
            reversal.repeat(map.tied().filter_map(|(left, written)| Some((left.name.as_str(), first(written)?))));
        }
        Ok(reversal)
    }

    fn new(mlx: &'a Checkpoint, original: Option<&'a Checkpoint>, rows: Rows<'a>) -> Result<Reversal<'a>, Error> {
        let of_row = of_rows(mlx, rows)?;
        let mut spread = Spread::of(&std::iter::once(mlx).chain(original).collect::<Vec<_>>());
        of_row.iter().for_each(|&id| spread.add_tensor(mlx, id as TensorId));
        if let Rows::Conversion(original, map) = rows {
            map.entries.iter().flat_map(|entry| &entry.from).for_each(|&id| spread.add_tensor(original, id));
        }
        spread.check()?;
        let mut reversal =
            Reversal { mlx, original, rows, of_row, groups: Vec::new(), tensors: Vec::with_capacity(rows.count()) };
        reversal.group()?;
        reversal.describe()?;
        Ok(reversal)
    }

    /// Find what hangs together, and list torch's tensors.
    fn group(&mut self) -> Result<(), Error> {
        let rows = self.rows;
        // Moves that share a torch tensor stand together in the map's order, but not always side by side.
        let mut of_torch: HashMap<&str, u32, RandomState> = HashMap::default();
        of_torch.reserve(rows.count());
        let mut listed: Vec<(u32, u32, u32)> = Vec::with_capacity(rows.count());
        for row in 0..rows.count() {
            let named = (0..rows.sources(row)).find_map(|at| of_torch.get(rows.source(row, at).as_str()).copied());
            let group = named.unwrap_or(self.groups.len() as u32);
            if group as usize == self.groups.len() {
                self.groups.push(Group::default());
            }
            for at in 0..rows.sources(row) {
                if of_torch.insert(rows.source(row, at), group).is_none() {
                    listed.push((group, row as u32, at as u32));
                }
            }
            let together = &mut self.groups[group as usize].rows;
            together.push(row as u32);
            if together.len() > MOST_TOGETHER {
                return Err(Error::Together { name: rows.name(row).to_owned() });
            }
        }
        listed.sort_by_key(|(group, ..)| *group);
        for (group, row, at) in listed {
            let (name, shape) =
                (rows.source(row as usize, at as usize).clone(), rows.source_shape(row as usize, at as usize));
            self.tensors.push(Back { name, shape, dtype: Dtype::Float32, place: Place::Group { group, row, at } });
        }
        Ok(())
    }

    /// Say of which type the tensors are, and whether the checkpoint's own can be taken.
    fn describe(&mut self) -> Result<(), Error> {
        for at in 0..self.groups.len() {
            self.groups[at].exact = self.is_original(&self.groups[at])?;
        }
        for at in 0..self.tensors.len() {
            let Place::Group { group, row, at: source } = self.tensors[at].place else { continue };
            let group = &self.groups[group as usize];
            let of_mlx = group.rows.first().map_or(Dtype::Float32, |&row| self.mlx_tensor(row).dtype);
            let own = self.rows.source_id(row as usize, source as usize).zip(self.original);
            let own = own.map(|(id, original)| original.tensors[id].dtype).filter(|_| group.exact);
            self.tensors[at].dtype = own.unwrap_or(of_mlx);
        }
        Ok(())
    }

    fn mlx_id(&self, row: u32) -> TensorId {
        self.of_row[row as usize] as TensorId
    }

    fn mlx_tensor(&self, row: u32) -> &'a t2m_checkpoint::Tensor {
        &self.mlx.tensors[self.mlx_id(row)]
    }

    /// List tensors once more under other names, as torch lists tied ones: each name, and that of the tensor.
    fn repeat<'n>(&mut self, tied: impl Iterator<Item = (&'n str, &'n str)>) {
        let mut tied = tied.peekable();
        if tied.peek().is_none() {
            return;
        }
        let mut places: HashMap<CompactString, usize, RandomState> =
            self.tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect();
        for (name, of) in tied {
            let Some(&at) = places.get(of).filter(|_| !places.contains_key(name)) else { continue };
            places.insert(name.into(), self.tensors.len());
            self.tensors.push(Back { name: name.into(), ..self.tensors[at].clone() });
        }
    }

    /// How many came back how.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for tensor in &self.tensors {
            match tensor.place {
                Place::Original(_) => summary.kept += 1,
                Place::Group { group, .. } if self.groups[group as usize].exact => summary.exact += 1,
                Place::Group { .. } => summary.inverted += 1,
            }
        }
        summary
    }

    fn make(&self, at: usize) -> Result<TensorData, Error> {
        let from = |id: TensorId| match self.original {
            Some(original) => Ok(original.read(id)?),
            None => Err(Error::Missing { name: self.tensors[at].name.to_string() }),
        };
        match self.tensors[at].place {
            Place::Original(id) => from(id),
            Place::Group { group, row, at } => {
                let group = &self.groups[group as usize];
                match self.rows.source_id(row as usize, at as usize).filter(|_| group.exact) {
                    Some(id) => from(id),
                    None => self.invert(group, self.rows.source(row as usize, at as usize)),
                }
            }
        }
    }

    /// Whether the checkpoint's tensors are what the MLX file was made of: they convert to the same bytes.
    fn is_original(&self, group: &Group) -> Result<bool, Error> {
        let Rows::Conversion(original, map) = self.rows else { return Ok(false) };
        for &row in &group.rows {
            let entry = &map.entries[row as usize];
            let sources: Result<Vec<TensorData>, _> = entry.from.iter().map(|&id| original.read(id)).collect();
            let made = entry.step.apply(&sources?.iter().collect::<Vec<_>>())?;
            let there = self.mlx.read(self.mlx_id(row))?;
            if made.cast(there.dtype).is_none_or(|made| made.bytes != there.bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A torch tensor of a group, made of MLX's.
    fn invert(&self, group: &Group, name: &str) -> Result<TensorData, Error> {
        let rows = self.rows;
        let moves: Vec<Move> = group.rows.iter().map(|&row| rows.step(row as usize)).collect();
        let read = |&row: &u32| Ok((rows.name(row as usize).to_owned(), self.mlx.read(self.mlx_id(row))?));
        let there: Result<Vec<(String, TensorData)>, Error> = group.rows.iter().map(read).collect();
        let shape = |name: &str| {
            let mut named = group.rows.iter().flat_map(|&row| {
                (0..rows.sources(row as usize))
                    .map(move |at| (row as usize, at))
                    .filter(|&(row, at)| rows.source(row, at) == name)
            });
            named.next().map(|(row, at)| rows.source_shape(row, at).to_vec())
        };
        let back = weights::invert(&moves, &there?, shape)?;
        let found = back.into_iter().find(|(known, _)| known == name);
        found.map(|(_, tensor)| tensor).ok_or_else(|| Error::Missing { name: name.to_owned() })
    }
}

/// The MLX tensor of each row.
fn of_rows(mlx: &Checkpoint, rows: Rows<'_>) -> Result<Vec<u32>, Error> {
    let names = mlx.tensors.iter().map(|tensor| tensor.name.as_str());
    let found: HashMap<&str, u32, RandomState> = names.zip(0..).collect();
    let mut taken = vec![false; mlx.tensors.len()];
    let mut missing = None;
    let mut of_row = Vec::with_capacity(rows.count());
    for row in 0..rows.count() {
        match found.get(rows.name(row)) {
            Some(&id) => {
                taken[id as usize] = true;
                of_row.push(id);
            }
            None => missing = missing.or(Some(row)),
        }
    }
    // Of two of one name the last is taken.
    let extra =
        |tensor: &&t2m_checkpoint::Tensor| found.get(tensor.name.as_str()).is_none_or(|&id| !taken[id as usize]);
    if let Some(tensor) = mlx.tensors.iter().find(extra) {
        return Err(Error::Extra { name: tensor.name.to_string() });
    }
    if let Some(row) = missing {
        return Err(Error::Missing { name: rows.name(row).to_owned() });
    }
    for (row, &id) in of_row.iter().enumerate() {
        let shape = mlx.tensors[id as usize].shape.iter().map(|&axis| axis as usize);
        if !shape.clone().eq(rows.shape(row).iter().copied()) {
            let (name, wanted) = (rows.name(row).to_owned(), rows.shape(row).to_vec());
            return Err(Error::Shape { name, found: shape.collect(), wanted });
        }
    }
    Ok(of_row)
}

/// Torch's names of tied tensors and MLX's names of those that were written, out of the file's metadata.
fn tied_in(mlx: &Checkpoint) -> Result<Vec<(CompactString, CompactString)>, Error> {
    let Some(text) = mlx.metadata.get("tied") else { return Ok(Vec::new()) };
    let text = text.as_str().ok_or_else(|| Error::Tied { reason: "it is no text".to_owned() })?;
    let names = serde_json::from_str(text).map_err(|error| Error::Tied { reason: error.to_string() });
    names.map(|Names(tied)| tied)
}

impl Source for Reversal<'_> {
    fn count(&self) -> usize {
        self.tensors.len()
    }

    fn tensor(&self, at: usize) -> Described<'_> {
        let Back { name, shape, dtype, .. } = &self.tensors[at];
        Described { name, shape, dtype: *dtype, written: *dtype }
    }

    fn each(&self, at: usize, take: &mut dyn FnMut(TensorData) -> Result<(), WriteError>) -> Result<(), WriteError> {
        let made = self.make(at).map_err(|error| WriteError::Make { reason: error.to_string() })?;
        // The shape was foretold by the map, which may lie.
        let Back { name, shape, .. } = &self.tensors[at];
        if made.shape != **shape {
            let (name, found, wanted) = (name.to_string(), made.shape, shape.to_vec());
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
