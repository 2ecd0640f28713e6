//! NumPy's archives of arrays (`.npz`), as `mx.savez` and `numpy.savez` write them: a zip with one `.npy` for each array.

use std::path::Path;

use serde_json::Value;

use super::archive::{self, Archive, Method, Record};
use super::error::name_for_message;
use super::literal::literal;
use super::strided::{contiguous_strides, odd_strides};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Content, Dtype, Error, Format, Sizes, Storage, Tensor};

/// The longest header of an array; NumPy's are a hundredth.
const LONGEST_HEADER: u64 = 64 << 10;
/// What follows the name of an array.
const SUFFIX: &str = ".npy";

/// Whether a zip archive holds arrays and nothing else.
pub(super) fn is_npz(archive: &Archive) -> bool {
    archive.names().next().is_some() && archive.names().all(|name| name.ends_with(SUFFIX))
}

/// Read the arrays' headers; their bytes stay in the file.
///
/// # Errors
/// An array is compressed, or its header is damaged; the message says which.
pub(super) fn read(path: &Path, bytes: Bytes, archive: &Archive) -> Result<Checkpoint, Error> {
    let content = Content::StateDict { module_versions: Vec::new() };
    let mut checkpoint = Checkpoint { bytes: bytes.length(), ..Checkpoint::new(path, Format::Npz, content) };
    for name in archive.names() {
        let Some(record) = archive.find(name) else { continue };
        let full = if archive.root.is_empty() || archive.stray.is_some() {
            name.to_owned()
        } else {
            format!("{}/{name}", archive.root)
        };
        let fault = |what: String| Error::Archive {
            path: path.to_path_buf(),
            record: format!("record `{}`", name_for_message(&full)),
            offset: record.header,
            what,
        };
        let array = Array::read(&bytes, record)?.map_err(fault)?;
        checkpoint.tensors.push(Tensor {
            name: full.strip_suffix(SUFFIX).unwrap_or(&full).into(),
            strides: odd_strides(&array.shape, array.strides),
            shape: array.shape,
            dtype: array.dtype.unwrap_or(Dtype::Unknown),
            offset: 0,
            storage: u32::try_from(checkpoint.storages.len()).ok(),
            requires_grad: false,
            shared_with: None,
            problem: array.dtype.is_none().then(|| format!("elements of type {} are not read", array.descr).into()),
        });
        checkpoint.storages.push(Storage {
            file: 0,
            offset: StorageOffset::Data(array.begin),
            bytes: array.bytes,
            big_endian: array.descr.starts_with('>'),
        });
    }
    checkpoint.files = vec![bytes];
    Ok(checkpoint)
}

/// What a header says.
struct Array {
    shape: Sizes,
    strides: Sizes,
    descr: String,
    dtype: Option<Dtype>,
    begin: u64,
    bytes: u64,
}

impl Array {
    fn read(bytes: &Bytes, record: Record) -> Result<Result<Array, String>, Error> {
        if record.method != Method::Stored {
            let what = "is compressed, which is not read: in Python `mx.save_safetensors(\"theirs.safetensors\", \
                        mx.load(\"theirs.npz\"))` writes what is";
            return Ok(Err(what.to_owned()));
        }
        let begin = match archive::data_offset(bytes, record.header)? {
            Ok(begin) => begin,
            Err(what) => return Ok(Err(what)),
        };
        let head = bytes.read_range(begin, record.size.min(LONGEST_HEADER))?;
        let head = head.unwrap_or_default();
        Ok(Array::parse(&head, begin, record.size)
            .ok_or_else(|| "is no array as NumPy writes it, or is damaged".to_owned()))
    }

    fn parse(head: &[u8], begin: u64, size: u64) -> Option<Array> {
        let rest = head.strip_prefix(b"\x93NUMPY")?;
        // A version, and the length of the header: two bytes of it in version 1, four from 2 on.
        let (length, prefix) = match rest.first()? {
            1 => (usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)), 10),
            _ => (usize::try_from(u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?)).ok()?, 12),
        };
        let end = prefix + length;
        let text = std::str::from_utf8(head.get(prefix..end)?).ok()?;
        let Value::String(descr) = literal(field(text, "descr")?)? else { return None };
        let Value::Bool(fortran) = literal(field(text, "fortran_order")?)? else { return None };
        let Value::Array(shape) = literal(field(text, "shape")?)? else { return None };
        let shape: Sizes = shape.iter().map(Value::as_u64).collect::<Option<_>>()?;
        let strides = if fortran {
            // The first axis is the nearest.
            let turned: Sizes = shape.iter().rev().copied().collect();
            contiguous_strides(&turned).into_iter().rev().collect()
        } else {
            contiguous_strides(&shape)
        };
        let (dtype, bytes) = (dtype(&descr), size.checked_sub(end as u64)?);
        let elements = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
        let is_whole = dtype.is_none_or(|dtype| elements.checked_mul(dtype.size() as u64) == Some(bytes));
        is_whole.then_some(Array { shape, strides, descr, dtype, begin: begin + end as u64, bytes })
    }
}

/// The text of a field's value: of a tuple, or of what ends with a comma.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = text.split_once(&format!("'{name}':"))?;
    let value = value.trim_start();
    let end = if value.starts_with('(') { value.find(')')? + 1 } else { value.find([',', '}'])? };
    value.get(..end).map(str::trim)
}

/// NumPy's types by their codes, without the byte order. `V2` are bfloat16 as MLX writes them.
fn dtype(descr: &str) -> Option<Dtype> {
    Some(match descr.trim_start_matches(['<', '>', '|', '=']) {
        "f8" => Dtype::Float64,
        "f4" => Dtype::Float32,
        "f2" => Dtype::Float16,
        "V2" => Dtype::BFloat16,
        "i8" => Dtype::Int64,
        "i4" => Dtype::Int32,
        "i2" => Dtype::Int16,
        "i1" => Dtype::Int8,
        "u8" => Dtype::UInt64,
        "u4" => Dtype::UInt32,
        "u2" => Dtype::UInt16,
        "u1" => Dtype::UInt8,
        "b1" | "?" => Dtype::Bool,
        "c8" => Dtype::Complex64,
        "c16" => Dtype::Complex128,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn array(header: &str, bytes: usize) -> Option<Array> {
        let mut head = b"\x93NUMPY\x01\x00".to_vec();
        head.extend((header.len() as u16).to_le_bytes());
        head.extend(header.as_bytes());
        let size = (head.len() + bytes) as u64;
        Array::parse(&head, 100, size)
    }

    #[test]
    fn headers_of_numpy_and_mlx_are_read() {
        let numpy = array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }      \n", 24).unwrap();
        assert_eq!(
            (numpy.dtype, numpy.shape.as_slice(), numpy.strides.as_slice()),
            (Some(Dtype::Float32), &[2, 3][..], &[3, 1][..])
        );
        assert_eq!((numpy.begin, numpy.bytes), (100 + 10 + 66, 24));
        let mlx = array("{'descr': '<V2', 'fortran_order': False, 'shape': (3, )}", 6).unwrap();
        assert_eq!((mlx.dtype, mlx.shape.as_slice()), (Some(Dtype::BFloat16), &[3][..]));
        let columns = array("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3)}", 48).unwrap();
        assert_eq!(columns.strides.as_slice(), [1, 2]);
        let scalar = array("{'descr': '|b1', 'fortran_order': False, 'shape': ()}", 1).unwrap();
        assert!(scalar.shape.is_empty());
        let odd = array("{'descr': '<U3', 'fortran_order': False, 'shape': (1,)}", 12).unwrap();
        assert_eq!(odd.dtype, None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", 20).is_none());
        assert!(array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}", 24).is_none());
        assert!(array("{'descr': '<f4', 'shape': (2, 3)}", 24).is_none());
        assert!(array("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 2)}", 24).is_none());
        assert!(Array::parse(b"\x93NUMPY\x01\x00\xff\xff{", 0, 20).is_none());
    }
}
