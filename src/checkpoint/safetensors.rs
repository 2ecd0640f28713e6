//! Safetensors: a JSON header, then the tensors one behind the other.
//!
//! Types and rules are those of the `safetensors` crate. Only the outer map is read here, so that the file's order is
//! kept and a name that comes twice is noticed.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use safetensors::tensor::{Dtype as FileDtype, Metadata, SafeTensorError, TensorInfo};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::error::name_for_message;
use super::layout::contiguous_strides;
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
    let header = bytes.read_range(PREFIX, length)?.ok_or_else(|| {
        let what =
            format!("a header of {length} bytes reaches past the end of the file at {}; it is cut off", bytes.length());
        damaged(0, what)
    })?;
    let header: Header = serde_json::from_slice(&header).map_err(|error| {
        let what = error.to_string();
        // The byte says it better than a line and a column of a header without lines.
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
        damaged(PREFIX + position(&header, &error), name_for_message(what))
    })?;
    let data = PREFIX + length;
    let mut tensors = header.tensors;
    // Stable, so that empty tensors between others keep the header's order.
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let checked = Metadata::new(None, tensors.clone());
    let checked = checked.map_err(|error| damaged(PREFIX, explain(&error, &tensors)))?;
    let (end, expected) = (data.checked_add(checked.data_len() as u64), bytes.length());
    if end != Some(expected) {
        let end = end.map_or_else(|| "beyond 64 bits".to_owned(), |end| format!("at byte {end}"));
        let what =
            format!("the tensors end {end}, the file at byte {expected}: it is cut off or has something behind it");
        return Err(damaged(PREFIX, what));
    }
    let metadata = header.metadata.into_iter().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>();
    let mut checkpoint = Checkpoint {
        path: path.to_path_buf(),
        format: Format::Safetensors,
        bytes: expected,
        shards: 1,
        tensors: Vec::with_capacity(tensors.len()),
        storages: Vec::with_capacity(tensors.len()),
        content: Content::StateDict { module_versions: Vec::new() },
        metadata,
        wrappers: Vec::new(),
        root_class: None,
        pickle: None,
        sources: Vec::new(),
        ops: Vec::new(),
        warnings: Vec::new(),
        files: vec![bytes],
    };
    for (name, info) in tensors {
        add(&mut checkpoint, name, &info, data);
    }
    Ok(checkpoint)
}

fn add(checkpoint: &mut Checkpoint, name: String, info: &TensorInfo, data: u64) {
    let (begin, end) = info.data_offsets;
    let (dtype, problem) = match dtype(info.dtype) {
        Some(dtype) => (dtype, None),
        None => (Dtype::Unknown, Some(format!("elements of type {} are not read", info.dtype))),
    };
    let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
    checkpoint.tensors.push(Tensor {
        strides: contiguous_strides(&shape),
        shape,
        dtype,
        offset: 0,
        storage: Some(checkpoint.storages.len()),
        requires_grad: false,
        shared_with: None,
        problem,
        name: name.clone(),
    });
    checkpoint.storages.push(Storage {
        key: name,
        file: 0,
        offset: StorageOffset::Data(data + begin as u64),
        bytes: (end - begin) as u64,
        location: "cpu".to_owned(),
        big_endian: false,
    });
}

/// The crate's type by the name that torch has for it; `None` for types of less than a byte.
fn dtype(dtype: FileDtype) -> Option<Dtype> {
    Some(match dtype {
        FileDtype::BOOL => Dtype::Bool,
        FileDtype::U8 => Dtype::UInt8,
        FileDtype::I8 => Dtype::Int8,
        FileDtype::F8_E5M2 => Dtype::Float8E5M2,
        FileDtype::F8_E4M3 => Dtype::Float8E4M3FN,
        FileDtype::F8_E8M0 => Dtype::Float8E8M0FNU,
        FileDtype::F8_E4M3FNUZ => Dtype::Float8E4M3FNUZ,
        FileDtype::F8_E5M2FNUZ => Dtype::Float8E5M2FNUZ,
        FileDtype::I16 => Dtype::Int16,
        FileDtype::U16 => Dtype::UInt16,
        FileDtype::F16 => Dtype::Float16,
        FileDtype::BF16 => Dtype::BFloat16,
        FileDtype::I32 => Dtype::Int32,
        FileDtype::U32 => Dtype::UInt32,
        FileDtype::F32 => Dtype::Float32,
        FileDtype::C64 => Dtype::Complex64,
        FileDtype::F64 => Dtype::Float64,
        FileDtype::I64 => Dtype::Int64,
        FileDtype::U64 => Dtype::UInt64,
        _ => return None,
    })
}

/// The crate's errors, with the tensor where it does not name it.
fn explain(error: &SafeTensorError, tensors: &[(String, TensorInfo)]) -> String {
    let culprit = tensors.iter().find(|(_, info)| {
        let elements = info.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
        let bytes = bits.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
        bytes.is_none() || bytes != info.data_offsets.1.checked_sub(info.data_offsets.0)
    });
    let named = |what: &str| match culprit {
        Some((name, info)) => format!(
            "tensor `{}` ({}, shape {:?}, bytes {} to {}): {what}",
            name_for_message(name),
            info.dtype,
            info.shape.iter().take(16).collect::<Vec<_>>(),
            info.data_offsets.0,
            info.data_offsets.1
        ),
        None => what.to_owned(),
    };
    match error {
        SafeTensorError::InvalidOffset(name) => format!(
            "tensor `{}` does not begin where the one before it ends; holes and overlaps are not allowed",
            name_for_message(name)
        ),
        SafeTensorError::TensorInvalidInfo => named("shape and type do not give that many bytes"),
        SafeTensorError::ValidationOverflow => named("the size does not fit 64 bits"),
        SafeTensorError::MisalignedSlice => named("the elements do not end at a byte's end"),
        other => named(&other.to_string()),
    }
}

/// The byte of the header that a JSON error means.
fn position(header: &[u8], error: &serde_json::Error) -> u64 {
    let lines = header.split_inclusive(|&byte| byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    (before + error.column()).saturating_sub(1) as u64
}

#[derive(Default)]
struct Header {
    metadata: Vec<(String, String)>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                let metadata: HashMap<String, String> = map.next_value()?;
                header.metadata = metadata.into_iter().collect();
                header.metadata.sort();
            } else {
                header.tensors.push((name.clone(), map.next_value()?));
            }
            if let Some(name) = seen.replace(name) {
                return Err(A::Error::custom(format!("the name `{name}` is there twice")));
            }
        }
        Ok(header)
    }
}
