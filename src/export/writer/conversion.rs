//! A key map's tensors as what is written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Described, Error, Source, cast, slabs};
use crate::export::state_dict::{Entry, StateDict};
use t2m_checkpoint::{Checkpoint, Dtype, Spread, TensorData};

/// The tensors of a key map, each by its move.
#[derive(Debug)]
pub struct Conversion<'a> {
    checkpoint: &'a Checkpoint,
    map: &'a StateDict,
    asked: Option<Dtype>,
}

impl<'a> Conversion<'a> {
    /// The tensors of a key map, with real numbers cast to `asked`.
    ///
    /// # Errors
    /// One is of a type that MLX does not read, or cannot be read at all; or they are views that come to far more than is
    /// stored.
    pub fn new(checkpoint: &'a Checkpoint, map: &'a StateDict, asked: Option<Dtype>) -> Result<Conversion<'a>, Error> {
        let mut spread = Spread::of(&[checkpoint]);
        for entry in &map.entries {
            let sources = entry.from.iter().map(|&id| checkpoint.bytes_to_read(id));
            // A part is read by itself where it lies together.
            let whole = entry.from.iter().any(|&id| checkpoint.tensors[id].strides.is_some());
            let parts = if whole { 1 } else { entry.step.fold.parts() };
            spread.add(&entry.name, sources.fold(0u64, u64::saturating_add) / parts);
        }
        spread.check().map_err(Error::Read)?;
        match map.entries.iter().find(|entry| cast::written(entry.dtype, asked).is_none()) {
            Some(entry) => Err(unwritable(checkpoint, entry)),
            None => Ok(Conversion { checkpoint, map, asked }),
        }
    }
}

/// Why an entry cannot be written: the file holds nothing that is read, or of a type that MLX does not read.
fn unwritable(checkpoint: &Checkpoint, entry: &Entry) -> Error {
    match entry.from.iter().find_map(|&id| checkpoint.reader(id).err()) {
        Some(error) => Error::Read(error),
        None => Error::Dtype { name: entry.name.to_string(), dtype: entry.dtype.name() },
    }
}

impl Source for Conversion<'_> {
    fn count(&self) -> usize {
        self.map.entries.len()
    }

    fn tensor(&self, at: usize) -> Described<'_> {
        let Entry { name, shape, dtype, .. } = &self.map.entries[at];
        // That there is one was asked of each.
        let written = cast::written(*dtype, self.asked).unwrap_or(*dtype);
        Described { name, shape, dtype: *dtype, written }
    }

    fn each(&self, at: usize, take: &mut dyn FnMut(TensorData) -> Result<(), Error>) -> Result<(), Error> {
        slabs::each(self.checkpoint, &self.map.entries[at], slabs::SIZES, take)
    }

    fn about(&self) -> Map<String, Value> {
        let mut about = Map::new();
        about.insert("format".to_owned(), json!("mlx"));
        about.insert("rules".to_owned(), json!(json!(self.map.rules()).to_string()));
        let tied: BTreeMap<&str, &str> = self.map.tied().map(|(left, name)| (left.name.as_str(), name)).collect();
        if !tied.is_empty() {
            about.insert("tied".to_owned(), json!(json!(tied).to_string()));
        }
        about
    }

    fn inputs(&self) -> Vec<&Checkpoint> {
        vec![self.checkpoint]
    }
}
