//! Where each tensor goes: shards, headers, the index.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Described, Source, cast};
use t2m_checkpoint::Dtype;

/// The program's name at the beginning of what it writes; its version follows.
pub(super) const TOOL: &str = "t2m-tui ";
/// Written in place of a file's hash until it is known: as long as one.
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

/// Bytes of a header at most, as the format allows; some are kept for the hashes' names.
const LONGEST_HEADER: usize = 100_000_000 - (2 << 20);

/// Distribute tensors over files of at most `most` bytes of tensors, and of headers that readers take. Elements of more bytes
/// come first in each file, so that every tensor is aligned to its elements; besides that the order is the source's.
pub(super) fn shards(source: &dyn Source, target: &Path, most: u64) -> Vec<Shard> {
    let mut files: Vec<Vec<Slot>> = vec![Vec::with_capacity(source.count())];
    let bytes = |tensor: &Described<'_>| {
        tensor.shape.iter().fold(tensor.written.size() as u64, |bytes, &axis| bytes.saturating_mul(axis as u64))
    };
    // No offset is beyond the sum.
    let all = (0..source.count()).fold(0u64, |sum, at| sum.saturating_add(bytes(&source.tensor(at))));
    let about = serde_json::to_string(&source.about()).map_or(0, |text| text.len());
    let (mut filled, mut header) = (0u64, about);
    for at in 0..source.count() {
        let tensor = source.tensor(at);
        let dtype = tensor.written;
        let bytes = bytes(&tensor);
        let row = row_length(&tensor, digits(all));
        if (filled > 0 && filled.saturating_add(bytes) > most) || (header > about && header + row > LONGEST_HEADER) {
            files.push(Vec::new());
            (filled, header) = (0, about);
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

/// The most bytes that a tensor's row takes in a header, with offsets of this many digits. Escapes in its name take up
/// to six bytes for one.
fn row_length(tensor: &Described<'_>, offset: usize) -> usize {
    const FIXED: usize = r#""":{"dtype":"F8_E4M3","shape":[],"data_offsets":[,]},"#.len();
    let plain = tensor.name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    let name = if plain { tensor.name.len() } else { 6 * tensor.name.len() };
    let shape: usize = tensor.shape.iter().map(|&axis| digits(axis as u64) + 1).sum();
    name + FIXED + shape + 2 * offset
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Error;
    use super::*;
    use t2m_checkpoint::{Checkpoint, TensorData};

    struct Named(Vec<String>);

    impl Source for Named {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn tensor(&self, at: usize) -> Described<'_> {
            Described { name: &self.0[at], shape: &[3, 40], dtype: Dtype::Float32, written: Dtype::BFloat16 }
        }

        fn each(&self, _: usize, _: &mut dyn FnMut(TensorData) -> Result<(), Error>) -> Result<(), Error> {
            Ok(())
        }

        fn about(&self) -> Map<String, Value> {
            Map::from_iter([("format".to_owned(), json!("mlx"))])
        }

        fn inputs(&self) -> Vec<&Checkpoint> {
            Vec::new()
        }
    }

    #[test]
    fn a_header_is_the_json_that_it_stands_for_and_as_long_as_was_foreseen() {
        let source = Named(["a", "b\"\n", "漢"].map(str::to_owned).to_vec());
        let shards = shards(&source, Path::new("x.safetensors"), u64::MAX);
        let metadata = source.about();
        let bytes = header(&source, &shards[0], &metadata);
        assert_eq!((bytes.len() % 8, u64::from_le_bytes(bytes[..8].try_into().unwrap())), (0, bytes.len() as u64 - 8));
        let value: Value = serde_json::from_slice(&bytes[8..]).unwrap();
        assert_eq!(value["__metadata__"], Value::Object(metadata));
        assert_eq!(value["漢"], json!({"dtype": "BF16", "shape": [3, 40], "data_offsets": [480, 720]}));
        let rows: usize = (0..3).map(|at| row_length(&source.tensor(at), 3)).sum();
        assert!(rows + 40 >= bytes.len() && rows < bytes.len() + 40, "{rows} for {}", bytes.len());
    }

    #[test]
    fn no_file_has_a_header_that_readers_refuse() {
        // Three names of 49 MB: two fit.
        let source = Named((0..3).map(|at| format!("{at}{}", "x".repeat(48_900_000))).collect());
        let shards = shards(&source, Path::new("x.safetensors"), u64::MAX);
        assert_eq!(shards.iter().map(|shard| shard.tensors.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(header(&source, &shards[0], &source.about()).len() < 100_000_000);
    }
}
