//! What tensors come to when they are read and written out, held against what is in the files. A view may repeat what is stored
//! (an expanded mask), and many may view the same: a file of some kilobytes can ask for terabytes.

use super::error::name_for_message;
use super::strided::Strided;
use super::tensor::StorageOffset;
use super::{Checkpoint, Error, TensorId};

/// Tensors may come to so many times the bytes that are in the files. Ordinary ones come to those bytes; a matrix that is there
/// transposed as well, or whole and in its parts, to two or three times as many; a layer that is used again to as many times as
/// it has names (ALBERT's one layer stands for 12) …
const TIMES: u64 = 32;
/// … and to so many bytes besides. An expanded mask or table of positions has a few MiB, and a model some of them.
const BESIDES: u64 = 256 << 20;
/// Looking at what is stored needs no copies: from here on each byte is looked at once.
const TIMES_TO_LOOK: u64 = 2;
const BESIDES_TO_LOOK: u64 = 64 << 20;

/// Adds up what tensors come to.
#[derive(Debug)]
pub struct Spread<'a> {
    /// The first is the one that a message names.
    checkpoints: Vec<&'a Checkpoint>,
    stored: u64,
    sum: u64,
    /// The tensor that comes to the most, and to how much.
    most: Option<(u64, &'a str)>,
}

impl<'a> Spread<'a> {
    /// Nothing yet of tensors that are made of what is in these files.
    pub fn of(checkpoints: &[&'a Checkpoint]) -> Spread<'a> {
        let stored = checkpoints.iter().fold(0u64, |sum, checkpoint| sum.saturating_add(checkpoint.bytes));
        Spread { checkpoints: checkpoints.to_vec(), stored, sum: 0, most: None }
    }

    /// Add something of so many bytes.
    pub fn add(&mut self, name: &'a str, bytes: u64) {
        self.sum = self.sum.saturating_add(bytes);
        if self.most.is_none_or(|(most, _)| bytes > most) {
            self.most = Some((bytes, name));
        }
    }

    /// Add a tensor that is read whole.
    pub fn add_tensor(&mut self, checkpoint: &'a Checkpoint, id: TensorId) {
        let name = checkpoint.tensors.get(id).map_or("", |tensor| tensor.name.as_str());
        self.add(name, checkpoint.bytes_to_read(id));
    }

    /// Bytes so far.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether it is so much that each stored byte had better be looked at once.
    pub(super) fn is_repeated(&self) -> bool {
        self.sum > limit(self.stored, TIMES_TO_LOOK, BESIDES_TO_LOOK)
    }

    /// Whether it is as much as models come to.
    ///
    /// # Errors
    /// It is far more: the error names the tensor that comes to the most.
    pub fn check(self) -> Result<(), Error> {
        let most = limit(self.stored, TIMES, BESIDES);
        if self.sum <= most {
            return Ok(());
        }
        let (bytes, name) = self.most.unwrap_or_default();
        Err(Error::Spread {
            path: self.checkpoints.first().map(|checkpoint| checkpoint.path.clone()).unwrap_or_default(),
            tensor: name_for_message(name),
            bytes,
            sum: self.sum,
            stored: self.stored,
            most,
        })
    }
}

fn limit(stored: u64, times: u64, besides: u64) -> u64 {
    stored.saturating_mul(times).saturating_add(besides)
}

impl Checkpoint {
    /// Bytes that reading a tensor whole goes through: those of its elements, or more where they lie apart.
    pub fn bytes_to_read(&self, id: TensorId) -> u64 {
        let Some(tensor) = self.tensors.get(id) else { return 0 };
        let size = tensor.dtype.size() as u64;
        let own = match tensor.storage.and_then(|storage| self.storages.get(storage as usize)) {
            // An archive of its own is read whole.
            Some(storage) if matches!(storage.offset, StorageOffset::Archive(_)) => storage.bytes,
            _ => 0,
        };
        let strides = tensor.strides.as_deref();
        let spread = match strides {
            None => tensor.elements().saturating_mul(size),
            Some(strides) => Strided { shape: &tensor.shape, strides, offset: tensor.offset }.bytes_to_read(size),
        };
        spread.max(own)
    }
}
