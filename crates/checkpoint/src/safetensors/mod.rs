//! Safetensors: a JSON header, then the tensors one behind the other.

mod header;

use std::path::Path;

use serde_json::{Map, Value};

use self::header::Entry;
use super::error::name_for_message;
use super::progress::{self, Of};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Content, Dtype, Error, Format, Storage, Tensor};

/// Length of the header's length.
const PREFIX: u64 = 8;
/// The longest header that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// Read the header; tensors stay in the file.
///
/// # Errors
/// The header is damaged or does not fit the file; the message says where.
pub fn read(path: &Path, bytes: Bytes) -> Result<Checkpoint, Error> {
    let damaged = |offset: u64, what: String| Error::Safetensors { path: path.to_path_buf(), offset, what };
    let mut prefix = [0u8; PREFIX as usize];
    let Ok(prefix) = <[u8; 8]>::try_from(bytes.read_at_most(0, &mut prefix)?) else {
        return Err(damaged(
            0,
            "the file is shorter than the 8 bytes of the header's length; it is cut off".to_owned(),
        ));
    };
    let length = u64::from_le_bytes(prefix);
    if length > LONGEST_HEADER {
        let what = format!("header too large: {length} bytes are declared, {LONGEST_HEADER} are allowed");
        return Err(damaged(0, what));
    }
    let text = bytes.read_range(PREFIX, length)?.ok_or_else(|| {
        let what =
            format!("a header of {length} bytes reaches past the end of the file at {}; it is cut off", bytes.length());
        damaged(0, what)
    })?;
    let header = header::parse(&text).map_err(|fault| damaged(PREFIX + fault.at as u64, fault.what))?;
    drop(text);
    let mut tensors = header.tensors;
    // Stable, so that empty tensors between others keep the header's order.
    tensors.sort_by_key(|tensor| (tensor.begin, tensor.end));
    let data = PREFIX + length;
    let expected = bytes.length();
    let mut checkpoint = Checkpoint {
        bytes: expected,
        tensors: Vec::with_capacity(tensors.len()),
        storages: Vec::with_capacity(tensors.len()),
        warnings: left_out(header.more_metadata),
        metadata: header.metadata.into_iter().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>(),
        files: vec![bytes],
        ..Checkpoint::new(path, Format::Safetensors, Content::StateDict { module_versions: Vec::new() })
    };
    let mut position = 0;
    let count = tensors.len() as u64;
    for entry in tensors {
        progress::step(Of::Tensors, checkpoint.tensors.len() as u64, count);
        check(&entry, position).map_err(|what| damaged(PREFIX + entry.at as u64, what))?;
        position = entry.end;
        add(&mut checkpoint, entry, data);
    }
    if data.checked_add(position) != Some(expected) {
        let end =
            data.checked_add(position).map_or_else(|| "beyond 64 bits".to_owned(), |end| format!("at byte {end}"));
        let what =
            format!("the tensors end {end}, the file at byte {expected}: it is cut off or has something behind it");
        return Err(damaged(PREFIX, what));
    }
    Ok(checkpoint)
}

/// What to say of metadata that was not kept.
fn left_out(more: usize) -> Vec<String> {
    let sentence = || format!("`__metadata__` has more entries than are read; the last {more} are left out.");
    (more > 0).then(sentence).into_iter().collect()
}

/// Whether a tensor begins where the one before it ended, and is as long as its shape and type say.
fn check(entry: &Entry, position: u64) -> Result<(), String> {
    let named = |what: &str| {
        format!(
            "tensor `{}` ({}, shape {:?}, bytes {} to {}): {what}",
            name_for_message(&entry.name),
            name_for_message(&entry.dtype),
            entry.shape.iter().take(16).collect::<Vec<_>>(),
            entry.begin,
            entry.end
        )
    };
    if entry.begin > entry.end {
        return Err(named("it ends before it begins"));
    }
    if entry.begin != position {
        return Err(named("it does not begin where the one before it ends; holes and overlaps are not allowed"));
    }
    // Of a type that is not known only the bytes are.
    let Some((_, bits)) = dtype(&entry.dtype) else { return Ok(()) };
    let elements = entry.shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size));
    let bits = elements.and_then(|elements| elements.checked_mul(bits));
    match bits {
        None => Err(named("the size does not fit 64 bits")),
        Some(bits) if bits % 8 != 0 => Err(named("the elements do not end at a byte's end")),
        Some(bits) if bits / 8 != entry.end - entry.begin => Err(named("shape and type do not give that many bytes")),
        Some(_) => Ok(()),
    }
}

fn add(checkpoint: &mut Checkpoint, entry: Entry, data: u64) {
    let known = dtype(&entry.dtype).and_then(|(dtype, _)| dtype);
    let problem =
        known.is_none().then(|| format!("elements of type {} are not read", name_for_message(&entry.dtype)).into());
    checkpoint.tensors.push(Tensor {
        strides: None,
        shape: entry.shape,
        dtype: known.unwrap_or(Dtype::Unknown),
        offset: 0,
        // A header has no room for more than 32 bits count.
        storage: Some(checkpoint.storages.len() as u32),
        requires_grad: false,
        shared_with: None,
        problem,
        name: entry.name,
    });
    checkpoint.storages.push(Storage {
        file: 0,
        // The sum is checked with the file's end, before anything is read.
        offset: StorageOffset::Data(data.saturating_add(entry.begin)),
        bytes: entry.end - entry.begin,
        big_endian: false,
    });
}

/// The format's types: torch's of the same meaning (none for those of less than a byte), and bits of an element. `None` for
/// a type that came later than this list.
fn dtype(name: &str) -> Option<(Option<Dtype>, u64)> {
    let (dtype, bits) = match name {
        "BOOL" => (Dtype::Bool, 8),
        "U8" => (Dtype::UInt8, 8),
        "I8" => (Dtype::Int8, 8),
        "F8_E5M2" => (Dtype::Float8E5M2, 8),
        "F8_E4M3" => (Dtype::Float8E4M3FN, 8),
        "F8_E8M0" => (Dtype::Float8E8M0FNU, 8),
        "F8_E4M3FNUZ" => (Dtype::Float8E4M3FNUZ, 8),
        "F8_E5M2FNUZ" => (Dtype::Float8E5M2FNUZ, 8),
        "I16" => (Dtype::Int16, 16),
        "U16" => (Dtype::UInt16, 16),
        "F16" => (Dtype::Float16, 16),
        "BF16" => (Dtype::BFloat16, 16),
        "I32" => (Dtype::Int32, 32),
        "U32" => (Dtype::UInt32, 32),
        "F32" => (Dtype::Float32, 32),
        "C64" => (Dtype::Complex64, 64),
        "F64" => (Dtype::Float64, 64),
        "I64" => (Dtype::Int64, 64),
        "U64" => (Dtype::UInt64, 64),
        "F4" => return Some((None, 4)),
        "F6_E2M3" | "F6_E3M2" => return Some((None, 6)),
        _ => return None,
    };
    Some((Some(dtype), bits))
}
