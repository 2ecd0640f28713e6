//! Reading one tensor, whole or in pieces: what is written piece by piece need not fit in memory.

use std::ops::Range;
use std::path::Path;

use super::error::name_for_message;
use super::made::{MadeReader, Source};
use super::strided::{self, Strided};
use super::tensor::{StorageOffset, Tensor, TensorId};
use super::{Bytes, Checkpoint, Error, Sizes, TensorData, archive, zip};

/// A view with repeated elements (stride 0) is written out up to this many bytes even if its storage is smaller.
const EXPANDED_LIMIT: u64 = 64 << 20;

/// A tensor whose place in the file is found and checked. Pieces that lie together in the file are read from there; for
/// others the tensor's run of bytes is read once and held.
#[derive(Debug)]
pub struct TensorReader<'a> {
    checkpoint: &'a Checkpoint,
    tensor: &'a Tensor,
    file: Option<&'a Bytes>,
    shape: Vec<usize>,
    strides: Sizes,
    offset: u64,
    /// First byte of the storage in the file.
    begin: u64,
    big_endian: bool,
    held: Option<Held>,
    /// Where it is made of others.
    made: Option<Box<MadeReader<'a, TensorReader<'a>>>>,
}

/// The bytes that a view can touch.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// In elements of the storage.
    reach: Range<u64>,
}

impl<'a> TensorReader<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, id: TensorId) -> Result<TensorReader<'a>, Error> {
        let fail = |name: &str, what: String| Error::Tensor {
            path: checkpoint.path.clone(),
            tensor: name_for_message(name),
            what,
        };
        let tensor = checkpoint.tensors.get(id).ok_or_else(|| fail("", format!("there is no tensor number {id}")))?;
        TensorReader::of(checkpoint, tensor)
    }

    /// Of a tensor that need not be one of the checkpoint's list, but is in its files.
    pub(super) fn of(checkpoint: &'a Checkpoint, tensor: &'a Tensor) -> Result<TensorReader<'a>, Error> {
        let fail = |what: String| Error::Tensor {
            path: checkpoint.path.clone(),
            tensor: name_for_message(&tensor.name),
            what,
        };
        if let Some(problem) = &tensor.problem {
            return Err(fail(problem.to_string()));
        }
        let shape: Option<Vec<usize>> = tensor.shape.iter().map(|&axis| usize::try_from(axis).ok()).collect();
        let shape = shape.ok_or_else(|| fail("is too large for this machine".to_owned()))?;
        let strides = tensor.strides();
        let view = Strided { shape: &tensor.shape, strides: &strides, offset: tensor.offset };
        let reach = view.reach().map_err(fail)?;
        let mut reader = TensorReader {
            checkpoint,
            tensor,
            file: None,
            shape,
            strides,
            offset: tensor.offset,
            begin: 0,
            big_endian: false,
            held: None,
            made: None,
        };
        if reach.is_empty() {
            return Ok(reader);
        }
        let storage = tensor.storage.and_then(|index| checkpoint.storages.get(index as usize));
        let storage = storage.ok_or_else(|| fail("the file holds no bytes for it".to_owned()))?;
        let file = checkpoint.files.get(storage.file as usize);
        let file = file.ok_or_else(|| fail("its file is not open".to_owned()))?;
        reader.begin = match storage.offset {
            StorageOffset::Archive(offset) => {
                let inner = read_archived(file, offset, storage.bytes, tensor).map_err(fail)?;
                let reach = 0..tensor.elements();
                (reader.strides, reader.offset) = (strided::contiguous_strides(&tensor.shape), 0);
                reader.held = Some(Held { bytes: inner.bytes, reach });
                return Ok(reader);
            }
            StorageOffset::Made(number) => {
                let made = checkpoint.made.get(number as usize);
                let made = made.ok_or_else(|| fail("what it is made of is not known".to_owned()))?;
                let sources = made.sources().into_iter().map(|source| TensorReader::of(checkpoint, source));
                let sources = sources.collect::<Result<Vec<_>, Error>>()?;
                reader.made = Some(Box::new(MadeReader::new(made, sources, tensor.dtype, &reader.shape)));
                return Ok(reader);
            }
            StorageOffset::Data(offset) => offset,
            StorageOffset::ZipLocalHeader(header) => archive::data_offset(file, header)?.map_err(fail)?,
        };
        let size = tensor.dtype.size() as u64;
        let range = bytes_of(&reach, size)
            .filter(|range| range.end <= storage.bytes)
            .ok_or_else(|| fail(format!("reaches element {} of a storage of {} bytes", reach.end, storage.bytes)))?;
        let span = range.end - range.start;
        let wanted = strided::elements(&tensor.shape).and_then(|count| count.checked_mul(size));
        if wanted.is_none_or(|bytes| bytes > span.max(EXPANDED_LIMIT)) {
            return Err(fail(format!(
                "is an expanded view of {span} bytes that would be too large written out; it is not written out"
            )));
        }
        (reader.file, reader.big_endian) = (Some(file), storage.big_endian);
        Ok(reader)
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether its elements lie row-major in the file, so that any run of them can be read by itself.
    pub fn is_contiguous(&self) -> bool {
        self.made.is_none() && self.whole_view().is_contiguous()
    }

    /// The bytes of the file that it can touch; `None` where it has none, or is an archive of its own.
    pub(super) fn place(&self) -> Option<Range<u64>> {
        let reach = self.whole_view().reach().ok().filter(|reach| !reach.is_empty() && self.file.is_some())?;
        let range = bytes_of(&reach, self.tensor.dtype.size() as u64)?;
        Some(self.begin.checked_add(range.start)?..self.begin.checked_add(range.end)?)
    }

    /// All of it.
    ///
    /// # Errors
    /// The range is not in the file any more, or does not fit in memory.
    pub fn whole(&mut self) -> Result<TensorData, Error> {
        if let Some(made) = &mut self.made {
            return made.whole();
        }
        self.view(self.tensor.shape.clone(), self.offset)
    }

    /// Some of the elements of a contiguous tensor, in row-major order, as one axis.
    ///
    /// # Errors
    /// As [`TensorReader::whole`].
    pub fn run(&mut self, range: Range<usize>) -> Result<TensorData, Error> {
        let strides = std::mem::replace(&mut self.strides, Sizes::from_slice(&[1]));
        let taken = self.view(Sizes::from_slice(&[range.len() as u64]), self.offset.saturating_add(range.start as u64));
        self.strides = strides;
        taken
    }

    /// The part with these indices along an axis.
    ///
    /// # Errors
    /// As [`TensorReader::whole`], or there is no such axis.
    pub fn slice(&mut self, axis: usize, range: Range<usize>) -> Result<TensorData, Error> {
        let mut shape = self.tensor.shape.clone();
        let (Some(length), Some(&stride)) = (shape.get_mut(axis), self.strides.get(axis)) else {
            return Err(self.fail(format!("has no axis {axis}")));
        };
        if range.end as u64 > *length {
            return Err(self.fail(format!("has no index {} along axis {axis}", range.end)));
        }
        *length = range.len() as u64;
        if let Some(made) = &mut self.made {
            return made.slice(axis, range);
        }
        self.view(shape, self.offset.saturating_add(stride.saturating_mul(range.start as u64)))
    }

    fn strided<'l>(&'l self, shape: &'l [u64], offset: u64) -> Strided<'l> {
        Strided { shape, strides: &self.strides, offset }
    }

    fn view(&mut self, shape: Sizes, offset: u64) -> Result<TensorData, Error> {
        let dtype = self.tensor.dtype;
        let sizes = shape.iter().map(|&axis| axis as usize).collect();
        let view = self.strided(&shape, offset);
        let reach = view.reach().map_err(|what| self.fail(what))?;
        if reach.is_empty() {
            return Ok(TensorData { dtype, shape: sizes, bytes: Vec::new() });
        }
        let size = dtype.size();
        let wanted = strided::elements(&shape).and_then(|count| count.checked_mul(size as u64));
        let no_room = || self.fail("its bytes do not fit in memory".to_owned());
        let mut bytes = if self.held.is_none() && view.is_contiguous() {
            self.read(&reach)?
        } else if self.held.is_none() && view.is_sparse(size as u64) {
            self.read_runs(&view, wanted).ok_or_else(no_room)??
        } else if self.held.is_none() && self.whole_view().is_sparse(size as u64) {
            // What lies between its parts is not worth holding.
            let near = self.read(&reach)?;
            wanted.and_then(|wanted| view.gather(&near, &reach, size, wanted)).ok_or_else(no_room)?
        } else {
            self.hold()?;
            let view = self.strided(&shape, offset);
            let held = self.held.as_ref().zip(wanted);
            let gathered = held.and_then(|(held, wanted)| view.gather(&held.bytes, &held.reach, size, wanted));
            gathered.ok_or_else(|| self.fail("its bytes do not fit in memory".to_owned()))?
        };
        if self.big_endian {
            bytes.chunks_exact_mut(dtype.part_size()).for_each(<[u8]>::reverse);
        }
        Ok(TensorData { dtype, shape: sizes, bytes })
    }

    fn whole_view(&self) -> Strided<'_> {
        self.strided(&self.tensor.shape, self.offset)
    }

    /// Read the runs of a view that lie far apart, each by itself; `None` where there is no memory for them.
    fn read_runs(&self, view: &Strided<'_>, wanted: Option<u64>) -> Option<Result<Vec<u8>, Error>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(wanted?).ok()?).ok()?;
        let mut read = |run: Range<u64>| -> Result<(), Error> {
            bytes.extend_from_slice(&self.read(&run)?);
            Ok(())
        };
        Some(view.runs().try_for_each(&mut read).map(|()| bytes))
    }

    /// Read what the view can touch, once.
    fn hold(&mut self) -> Result<(), Error> {
        if self.held.is_none() {
            let reach = self.whole_view().reach().map_err(|what| self.fail(what))?;
            self.held = Some(Held { bytes: self.read(&reach)?, reach });
        }
        Ok(())
    }

    fn read(&self, reach: &Range<u64>) -> Result<Vec<u8>, Error> {
        let range = bytes_of(reach, self.tensor.dtype.size() as u64);
        let place = range.and_then(|range| Some((self.begin.checked_add(range.start)?, range.end - range.start)));
        let (position, span) = place.ok_or_else(|| self.fail("lies outside the file".to_owned()))?;
        let file = self.file.ok_or_else(|| self.fail("its file is not open".to_owned()))?;
        file.read_range(position, span)?.ok_or_else(|| {
            self.fail(format!(
                "its {span} bytes at byte {position} are not in the file any more, or do not fit in memory"
            ))
        })
    }

    fn fail(&self, what: String) -> Error {
        Error::Tensor { path: self.checkpoint.path.clone(), tensor: name_for_message(&self.tensor.name), what }
    }
}

impl Source for TensorReader<'_> {
    fn shape(&self) -> &[usize] {
        TensorReader::shape(self)
    }

    fn whole(&mut self) -> Result<TensorData, Error> {
        TensorReader::whole(self)
    }

    fn slice(&mut self, axis: usize, range: Range<usize>) -> Result<TensorData, Error> {
        TensorReader::slice(self, axis, range)
    }
}

/// A tensor out of an archive of its own.
fn read_archived(file: &Bytes, offset: u64, length: u64, expected: &Tensor) -> Result<TensorData, String> {
    let place = format!("its archive of {length} bytes at byte {offset}");
    let gone = || format!("{place} is not in the file any more, or does not fit in memory");
    let bytes = file.read_range(offset, length).map_err(|error| error.to_string())?.ok_or_else(gone)?;
    let inner = zip::open(Path::new("part"), Bytes::Owned(bytes), None).map_err(|error| format!("{place}: {error}"))?;
    match inner.tensors.first() {
        Some(found) if found.dtype == expected.dtype && found.shape == expected.shape => {
            inner.read(0).map_err(|error| format!("{place}: {error}"))
        }
        _ => Err(format!("{place} holds something else than the tensor described")),
    }
}

fn bytes_of(elements: &Range<u64>, size: u64) -> Option<Range<u64>> {
    Some(elements.start.checked_mul(size)?..elements.end.checked_mul(size)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pieces_of_every_fixture_make_up_the_whole() {
        let mut pieces = 0;
        for name in ["module.pt", "odd_tensors.pt", "big_endian.pt", "legacy/state_dict.pth", "state_dict.safetensors"]
        {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
            let Ok(checkpoint) = Checkpoint::open(&path) else { continue };
            for id in 0..checkpoint.tensors.len() {
                let Ok(whole) = checkpoint.read(id) else { continue };
                let Some(&rows) = whole.shape.first() else { continue };
                let mut reader = checkpoint.reader(id).unwrap();
                let by_row: Vec<u8> = (0..rows).flat_map(|row| reader.slice(0, row..row + 1).unwrap().bytes).collect();
                assert_eq!(by_row, whole.bytes, "{name} {}", checkpoint.tensors[id].name);
                if reader.is_contiguous() {
                    let count = whole.shape.iter().product::<usize>();
                    let (left, right) = (reader.run(0..count / 2).unwrap(), reader.run(count / 2..count).unwrap());
                    assert_eq!([left.bytes, right.bytes].concat(), whole.bytes);
                }
                assert!(reader.slice(0, 0..rows + 1).is_err() && reader.slice(9, 0..1).is_err());
                pieces += rows;
            }
        }
        assert!(pieces > 100, "{pieces}");
    }
}
