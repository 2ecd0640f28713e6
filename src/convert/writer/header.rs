//! Where each tensor goes: shards, headers, the index.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Described, cast};
use crate::checkpoint::Dtype;

/// How the name of this program begins in what it writes; its version follows.
pub(super) const TOOL: &str = "t2m-tui ";
/// What stands in for a file's hash until it is known: as long as one.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One file of the output.
#[derive(Debug)]
pub(super) struct Shard {
    pub target: PathBuf,
    pub tensors: Vec<Slot>,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// One tensor's place.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its index in the source's list.
    pub entry: usize,
    pub dtype: Dtype,
    /// In the shard's data.
    pub range: Range<u64>,
}

/// Distribute tensors over files of at most `most` bytes of tensors. Elements of more bytes come first in each file, so
/// that every tensor is aligned to its elements; besides that the order is the source's.
pub(super) fn shards(tensors: &[Described], target: &Path, most: u64) -> Vec<Shard> {
    let mut files: Vec<Vec<(usize, Dtype, u64)>> = vec![Vec::new()];
    let mut filled = 0u64;
    for (at, tensor) in tensors.iter().enumerate() {
        let dtype = tensor.written;
        let bytes = tensor.shape.iter().fold(dtype.size() as u64, |bytes, &axis| bytes.saturating_mul(axis as u64));
        if filled > 0 && filled.saturating_add(bytes) > most {
            files.push(Vec::new());
            filled = 0;
        }
        filled = filled.saturating_add(bytes);
        if let Some(file) = files.last_mut() {
            file.push((at, dtype, bytes));
        }
    }
    let count = files.len();
    let shard = |(index, mut file): (usize, Vec<(usize, Dtype, u64)>)| {
        file.sort_by_key(|(_, dtype, _)| std::cmp::Reverse(dtype.size()));
        let mut end = 0u64;
        let slot = |(entry, dtype, bytes)| {
            let begin = end;
            end = end.saturating_add(bytes);
            Slot { entry, dtype, range: begin..end }
        };
        let tensors: Vec<Slot> = file.into_iter().map(slot).collect();
        Shard { target: shard_path(target, index, count), tensors, bytes: end }
    };
    files.into_iter().enumerate().map(shard).collect()
}

/// `model.safetensors` → `model-00001-of-00003.safetensors`; itself where there is one file.
fn shard_path(target: &Path, index: usize, count: usize) -> PathBuf {
    if count == 1 {
        return target.to_owned();
    }
    let stem = target.file_stem().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{stem}-{:05}-of-{count:05}.safetensors", index + 1))
}

/// `model.safetensors.index.json`
pub(super) fn index_path(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".index.json");
    target.with_file_name(name)
}

/// The index in Hugging Face's form.
pub(super) fn index(tensors: &[Described], shards: &[Shard], metadata: &Map<String, Value>) -> Value {
    let mut weights = BTreeMap::new();
    for shard in shards {
        let file = shard.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        weights.extend(shard.tensors.iter().map(|slot| (tensors[slot.entry].name.as_str(), file.clone())));
    }
    let mut about = metadata.clone();
    about.insert("total_size".to_owned(), json!(shards.iter().map(|shard| shard.bytes).sum::<u64>()));
    json!({"metadata": about, "weight_map": weights})
}

/// Where the weights are from, as strings, which is all that safetensors keeps. `hashes` are the sources', by file name; a
/// hash that is not known yet has its length all the same.
pub(super) fn metadata(
    mut about: Map<String, Value>,
    source: &str,
    hashes: &[(String, Option<String>)],
) -> Map<String, Value> {
    let hash = |hash: &Option<String>| Value::from(hash.as_deref().unwrap_or(NO_HASH));
    let hashes = match hashes {
        [(_, one)] => hash(one),
        several => {
            let by_name: Map<String, Value> = several.iter().map(|(name, one)| (name.clone(), hash(one))).collect();
            Value::from(Value::Object(by_name).to_string())
        }
    };
    about.insert("source".to_owned(), json!(source));
    about.insert("source_sha256".to_owned(), hashes);
    about.insert("tool".to_owned(), json!(format!("{TOOL}{}", env!("CARGO_PKG_VERSION"))));
    about
}

/// The first bytes of a file: the header's length, and the header, padded so that the data is aligned.
pub(super) fn header(tensors: &[Described], shard: &Shard, metadata: &Map<String, Value>) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), Value::Object(metadata.clone()));
    for slot in &shard.tensors {
        let entry = &tensors[slot.entry];
        let offsets = [slot.range.start, slot.range.end];
        let about = json!({"dtype": cast::name(slot.dtype), "shape": entry.shape, "data_offsets": offsets});
        header.insert(entry.name.clone(), about);
    }
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
