//! Where each tensor goes: shards, headers, the index.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Described, Source, cast};
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

/// Bytes of a header at most, as the format allows; what the metadata takes is left to them.
const LONGEST_HEADER: usize = 100_000_000 - (4 << 20);

/// Distribute tensors over files of at most `most` bytes of tensors, and of headers that readers take. Elements of more bytes
/// come first in each file, so that every tensor is aligned to its elements; besides that the order is the source's.
pub(super) fn shards(source: &dyn Source, target: &Path, most: u64) -> Vec<Shard> {
    let mut files: Vec<Vec<Slot>> = vec![Vec::with_capacity(source.count())];
    let (mut filled, mut header) = (0u64, 0usize);
    for at in 0..source.count() {
        let tensor = source.tensor(at);
        let dtype = tensor.written;
        let bytes = tensor.shape.iter().fold(dtype.size() as u64, |bytes, &axis| bytes.saturating_mul(axis as u64));
        let row = row_length(&tensor);
        if (filled > 0 && filled.saturating_add(bytes) > most) || (header > 0 && header + row > LONGEST_HEADER) {
            files.push(Vec::new());
            (filled, header) = (0, 0);
        }
        (filled, header) = (filled.saturating_add(bytes), header + row);
        if let Some(file) = files.last_mut() {
            file.push(Slot { entry: at, dtype, range: 0..bytes });
        }
    }
    let count = files.len();
    let shard = |(index, mut tensors): (usize, Vec<Slot>)| {
        tensors.sort_by_key(|slot| std::cmp::Reverse(slot.dtype.size()));
        let mut end = 0u64;
        for slot in &mut tensors {
            let begin = end;
            end = end.saturating_add(slot.range.end);
            slot.range = begin..end;
        }
        Shard { target: shard_path(target, index, count), tensors, bytes: end }
    };
    files.into_iter().enumerate().map(shard).collect()
}

/// Bytes that a tensor's row takes in a header, or less. Escapes in its name take up to six for one.
fn row_length(tensor: &Described<'_>) -> usize {
    const NUMBER: usize = 21;
    let plain = tensor.name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    let name = if plain { tensor.name.len() } else { 6 * tensor.name.len() };
    // `"":{"dtype":"F8_E4M3","shape":[],"data_offsets":[,]},`
    name + 56 + NUMBER * (2 + tensor.shape.len())
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
pub(super) fn index(source: &dyn Source, shards: &[Shard], metadata: &Map<String, Value>) -> Value {
    let mut weights = BTreeMap::new();
    for shard in shards {
        let file = shard.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        weights.extend(shard.tensors.iter().map(|slot| (source.tensor(slot.entry).name, file.clone())));
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

/// The first bytes of a file: the header's length, and the header, padded so that the data is aligned. It is written as text at
/// once: of a million tensors the values would take a gigabyte.
pub(super) fn header(source: &dyn Source, shard: &Shard, metadata: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    // Writing to a vector does not fail.
    let _ = write_rows(&mut bytes, source, shard, metadata);
    let padded = bytes.len().next_multiple_of(8);
    bytes.resize(padded, b' ');
    let length = (padded as u64 - 8).to_le_bytes();
    bytes.splice(..8, length);
    bytes
}

fn write_rows(
    out: &mut Vec<u8>,
    source: &dyn Source,
    shard: &Shard,
    metadata: &Map<String, Value>,
) -> std::io::Result<()> {
    write!(out, "{{\"__metadata__\":{}", serde_json::to_string(metadata)?)?;
    for slot in &shard.tensors {
        let tensor = source.tensor(slot.entry);
        out.push(b',');
        serde_json::to_writer(&mut *out, tensor.name)?;
        out.extend_from_slice(b":{\"dtype\":");
        serde_json::to_writer(&mut *out, &cast::name(slot.dtype))?;
        out.extend_from_slice(b",\"shape\":");
        serde_json::to_writer(&mut *out, tensor.shape)?;
        write!(out, ",\"data_offsets\":[{},{}]}}", slot.range.start, slot.range.end)?;
    }
    out.push(b'}');
    Ok(())
}
