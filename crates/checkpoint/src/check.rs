//! Reading everything once, when asked: whether the members of zip archives have the checksums that they are listed with,
//! and how many numbers are NaN or infinite. Both go piece by piece, whatever the size of the file.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::archive::{self, Member, Method};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Dtype, Spread, Storage, TensorId, spare, zip};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Zip archives among the files.
    pub archives: usize,
    /// Those that were written without checksums (`torch.serialization.set_crc32_options(False)`).
    pub without: usize,
    /// Members whose content was read.
    pub members: usize,
    /// Bytes of content that they have.
    pub bytes: u64,
    /// Members that are not what the archive says, or of which it says two things.
    pub damaged: Vec<Damaged>,
    /// Tensors of numbers that can be NaN, tied ones once.
    pub tensors: usize,
    /// Their elements.
    pub elements: u64,
    /// Tensors in which some are.
    pub not_finite: Vec<NotFinite>,
    /// Tensors that cannot be read although the file says where they are.
    pub unread: Vec<(TensorId, String)>,
    /// The bytes that the tensors come to where they are views of far fewer: then each stored number was looked at once, for
    /// the first tensor that can touch it, and so are counted.
    pub repeated: Option<u64>,
}

/// A member of an archive that is not what its directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The archive that it is in.
    pub file: PathBuf,
    /// The member's full name; empty where it is about the archive.
    pub member: String,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// How many elements of a tensor are no finite numbers. A complex one counts once for each of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// The tensor.
    pub tensor: TensorId,
    /// NaN.
    pub nan: u64,
    /// Infinite, of either sign.
    pub infinite: u64,
}

impl Check {
    /// Whether everything that was read is what the file says. NaN and infinities are numbers and change nothing here.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.unread.is_empty()
    }

    /// NaN and infinities of all tensors together.
    pub fn totals(&self) -> (u64, u64) {
        self.not_finite.iter().fold((0, 0), |(nan, infinite), one| (nan + one.nan, infinite + one.infinite))
    }
}

/// Read a checkpoint's archives and numbers.
pub fn check(checkpoint: &Checkpoint) -> Check {
    let mut check = Check::default();
    check.archives(checkpoint);
    let mut seen = HashSet::new();
    let mut numbers = Vec::new();
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        let first = seen.insert(tensor.shared_with.unwrap_or(id));
        match &tensor.problem {
            Some(problem) => check.unread.push((id, problem.to_string())),
            None if first && tensor.dtype.is_floating() => numbers.push(id),
            None => {}
        }
    }
    let mut spread = Spread::of(&[checkpoint]);
    numbers.iter().for_each(|&id| spread.add_tensor(checkpoint, id));
    if spread.is_repeated() {
        check.repeated = Some(spread.sum());
        check.stored_once(checkpoint, &numbers, None);
    } else {
        numbers.into_iter().for_each(|id| check.numbers(checkpoint, id));
    }
    check
}

/// What one tensor can touch of a file.
struct Touched {
    file: u32,
    dtype: Dtype,
    range: Range<u64>,
    big_endian: bool,
    tensor: TensorId,
}

impl Check {
    /// The archives among the files; of a distributed checkpoint each tensor is one.
    fn archives(&mut self, checkpoint: &Checkpoint) {
        let mut inside: HashMap<&Path, Vec<(&Bytes, Range<u64>)>> = HashMap::new();
        for storage in &checkpoint.storages {
            if let StorageOffset::Archive(offset) = storage.offset
                && let Some(file) = checkpoint.files.get(storage.file as usize)
                && let Some(path) = file.file_path()
            {
                inside.entry(path).or_default().push((file, offset..offset.saturating_add(storage.bytes)));
            }
        }
        for bytes in checkpoint.sources_of_bytes() {
            let Some(mut archives) = bytes.file_path().and_then(|path| inside.remove(path)) else {
                self.archive(bytes, bytes.path());
                continue;
            };
            archives.sort_by_key(|(_, range)| (range.start, range.end));
            archives.dedup_by(|(_, later), (_, range)| later == range);
            let mut end = 0;
            for (file, range) in archives {
                let length = range.end - range.start;
                if range.start < end {
                    let what = format!("its archive of {length} bytes at byte {} overlaps another", range.start);
                    self.damaged.push(Damaged { file: bytes.path(), member: String::new(), what });
                } else if let Ok(Some(own)) = file.read_range(range.start, length) {
                    self.archive(&Bytes::Owned(own), bytes.path());
                }
                end = end.max(range.end);
            }
        }
    }

    /// Look at each stored number once, whatever tensors repeat it. `of` is the tensor that the checkpoint is the archive of.
    fn stored_once(&mut self, checkpoint: &Checkpoint, tensors: &[TensorId], of: Option<TensorId>) {
        let mut touched: Vec<Touched> = Vec::new();
        let mut archives: Vec<Touched> = Vec::new();
        for &id in tensors {
            let Some(tensor) = checkpoint.tensors.get(id) else { continue };
            let storage = tensor.storage.and_then(|storage| checkpoint.storages.get(storage as usize));
            let at = |range, storage: &Storage| Touched {
                file: storage.file,
                dtype: tensor.dtype,
                range,
                big_endian: storage.big_endian,
                tensor: id,
            };
            if let Some(storage) = storage
                && let StorageOffset::Archive(offset) = storage.offset
            {
                archives.push(at(offset..offset.saturating_add(storage.bytes), storage));
                continue;
            }
            match checkpoint.reader(id) {
                Ok(reader) => {
                    touched.extend(storage.and_then(|storage| Some(at(reader.place()?, storage))));
                    self.tensors += usize::from(of.is_none());
                }
                Err(error) => self.unread.push((of.unwrap_or(id), error.to_string())),
            }
        }
        touched.sort_by_key(|one| (one.file, one.dtype.name(), one.range.start, Reverse(one.range.end)));
        let mut before: Option<(u32, Dtype, u64)> = None;
        for one in touched {
            let size = one.dtype.size() as u64;
            let end =
                before.filter(|(file, dtype, _)| (*file, *dtype) == (one.file, one.dtype)).map_or(0, |(.., end)| end);
            before = Some((one.file, one.dtype, end.max(one.range.end)));
            // Whole numbers, by where this tensor has them.
            let known = end.saturating_sub(one.range.start) / size * size;
            let range = one.range.start.saturating_add(known)..one.range.end;
            let counted = checkpoint.files.get(one.file as usize).map_or(Ok((0, 0, 0)), |file| one.count(file, range));
            self.add(of.unwrap_or(one.tensor), counted);
        }
        archives.sort_by_key(|one| (one.file, one.range.start, one.range.end));
        let mut before = (0, 0);
        for one in archives {
            self.tensors += usize::from(of.is_none());
            if one.file == before.0 && one.range.start < before.1 {
                continue;
            }
            before = (one.file, one.range.end);
            let id = of.unwrap_or(one.tensor);
            let bytes = checkpoint.files.get(one.file as usize);
            let bytes = bytes.map(|file| file.read_range(one.range.start, one.range.end - one.range.start));
            let own = match bytes {
                Some(Ok(Some(own))) => zip::open(Path::new("part"), Bytes::Owned(own), None),
                Some(Err(error)) => Err(error),
                _ => continue,
            };
            match own {
                Ok(own) => self.stored_once(&own, &(0..own.tensors.len().min(1)).collect::<Vec<_>>(), Some(id)),
                Err(error) => self.unread.push((id, error.to_string())),
            }
        }
    }

    fn archive(&mut self, bytes: &Bytes, file: PathBuf) {
        let mut magic = [0u8; 4];
        if !matches!(bytes.read_at_most(0, &mut magic), Ok(b"PK\x03\x04")) {
            return;
        }
        self.archives += 1;
        let members = match archive::members(&file, bytes) {
            Ok(members) => members,
            Err(error) => return self.damaged.push(Damaged { file, member: String::new(), what: error.to_string() }),
        };
        // Members that overlap would have the same bytes read over and over.
        let claimed = members.iter().fold(0u64, |sum, member| sum.saturating_add(member.record.compressed));
        if claimed > bytes.length() {
            let what = format!("its members claim {claimed} bytes of the file's {}: they overlap", bytes.length());
            return self.damaged.push(Damaged { file, member: String::new(), what });
        }
        // torch writes 0 for all of them when it is asked to save the time.
        let without =
            members.iter().all(|member| member.crc == 0) && members.iter().any(|member| member.record.size > 0);
        self.without += usize::from(without);
        for member in members {
            let mut damaged = |what: String| {
                let member = String::from_utf8_lossy(&member.name).into_owned();
                self.damaged.push(Damaged { file: file.clone(), member, what });
            };
            match content(bytes, &member) {
                Ok((length, crc)) => {
                    self.members += 1;
                    self.bytes = self.bytes.saturating_add(length);
                    let mut faults =
                        archive::contradictions(bytes, &member).unwrap_or_else(|error| vec![error.to_string()]);
                    if crc != member.crc && !without {
                        faults.insert(0, format!("its checksum is {crc:08x}, listed is {:08x}", member.crc));
                    }
                    if !faults.is_empty() {
                        damaged(faults.join("; "));
                    }
                }
                Err(what) => damaged(what),
            }
        }
    }

    fn numbers(&mut self, checkpoint: &Checkpoint, id: TensorId) {
        let counted = count(checkpoint, id);
        self.tensors += usize::from(counted.is_ok());
        self.add(id, counted.map_err(|error| error.to_string()));
    }

    fn add(&mut self, id: TensorId, counted: Result<(u64, u64, u64), String>) {
        match counted {
            Ok((elements, nan, infinite)) => {
                self.elements = self.elements.saturating_add(elements);
                if nan + infinite > 0 {
                    self.not_finite.push(NotFinite { tensor: id, nan, infinite });
                }
            }
            Err(what) => self.unread.push((id, what)),
        }
    }
}

impl Touched {
    /// The numbers in a part of what it touches, and how many of them are NaN and infinite.
    fn count(&self, file: &Bytes, range: Range<u64>) -> Result<(u64, u64, u64), String> {
        let size = self.dtype.size();
        let mut sums = (range.end.saturating_sub(range.start) / size as u64, 0, 0);
        let step = (PIECE / size * size) as u64;
        for start in range.clone().step_by(step as usize) {
            let bytes = file.read_range(start, step.min(range.end - start)).map_err(|error| error.to_string())?;
            let mut bytes = bytes.ok_or("its bytes are not in the file any more")?;
            if self.big_endian {
                bytes.chunks_exact_mut(self.dtype.part_size()).for_each(<[u8]>::reverse);
            }
            let (nan, infinite) = not_finite(self.dtype, &bytes);
            (sums.1, sums.2) = (sums.1 + nan, sums.2 + infinite);
            spare::give_back(bytes);
        }
        Ok(sums)
    }
}

/// Length and checksum of a member's content.
fn content(bytes: &Bytes, member: &Member) -> Result<(u64, u32), String> {
    let record = member.record;
    let data = archive::data_offset(bytes, record.header).map_err(|error| error.to_string())??;
    let stored = Window { bytes, at: data, left: record.compressed };
    let (length, crc) = match record.method {
        Method::Stored => hashed(stored),
        Method::Deflated if record.size > record.inflated_limit() => {
            return Err(format!("is said to inflate from {} bytes to {}", record.compressed, record.size));
        }
        Method::Deflated => {
            let stored = io::BufReader::with_capacity(PIECE, stored);
            hashed(flate2::bufread::DeflateDecoder::new(stored).take(record.size.saturating_add(1)))
        }
        Method::Other => return Err("is encrypted, or compressed in a way that is not read".to_owned()),
    }
    .map_err(|error| format!("cannot be read: {error}"))?;
    if length != record.size {
        return Err(format!("has {length} bytes or more where {} are listed", record.size));
    }
    Ok((length, crc))
}

fn hashed(mut content: impl Read) -> io::Result<(u64, u32)> {
    let mut crc = flate2::Crc::new();
    let mut length = 0;
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok((length, crc.sum())),
            Ok(count) => {
                crc.update(piece.get(..count).unwrap_or_default());
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Some of the bytes, as a stream.
struct Window<'a> {
    bytes: &'a Bytes,
    at: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let wanted = buffer.get_mut(..most).unwrap_or_default();
        let count = self.bytes.read_at_most(self.at, wanted).map_err(io::Error::other)?.len();
        self.at = self.at.saturating_add(count as u64);
        self.left -= count as u64;
        Ok(count)
    }
}

/// Elements of a tensor, and how many of them are NaN and infinite.
fn count(checkpoint: &Checkpoint, id: TensorId) -> Result<(u64, u64, u64), super::Error> {
    let mut reader = checkpoint.reader(id)?;
    let Some(tensor) = checkpoint.tensors.get(id) else { return Ok((0, 0, 0)) };
    let (dtype, shape) = (tensor.dtype, reader.shape().to_vec());
    let elements: usize = shape.iter().product();
    let mut sums = (elements as u64, 0, 0);
    let mut add = |bytes: &[u8]| {
        let (nan, infinite) = not_finite(dtype, bytes);
        (sums.1, sums.2) = (sums.1 + nan, sums.2 + infinite);
    };
    if elements == 0 {
        return Ok(sums);
    }
    if reader.is_contiguous() {
        let step = (PIECE / dtype.size()).max(1);
        for start in (0..elements).step_by(step) {
            add(&reader.run(start..elements.min(start + step))?.bytes);
        }
    } else {
        let rows = shape.first().copied().unwrap_or(1);
        let step = (PIECE / (elements / rows * dtype.size()).max(1)).max(1);
        for start in (0..rows).step_by(step) {
            add(&reader.slice(0, start..rows.min(start + step))?.bytes);
        }
    }
    Ok(sums)
}

/// How many of the elements are NaN, and how many infinite.
fn not_finite(dtype: Dtype, bytes: &[u8]) -> (u64, u64) {
    /// A float type, by its number of bits, exponent bits and fraction bits.
    fn of<const N: usize>(bytes: &[u8], exponent: u64, fraction: u64) -> (u64, u64) {
        bytes.chunks_exact(N).fold((0, 0), |(nan, infinite), element| {
            let mut wide = [0; 8];
            wide.iter_mut().zip(element).for_each(|(to, from)| *to = *from);
            let bits = u64::from_le_bytes(wide);
            let special = bits & exponent == exponent;
            let is_nan = special && bits & fraction != 0;
            (nan + u64::from(is_nan), infinite + u64::from(special && !is_nan))
        })
    }
    /// A type without infinities, by its NaNs.
    fn nans(bytes: &[u8], is_nan: impl Fn(u8) -> bool) -> (u64, u64) {
        (bytes.iter().filter(|byte| is_nan(**byte)).count() as u64, 0)
    }
    match dtype {
        Dtype::Float64 | Dtype::Complex128 => of::<8>(bytes, 0x7ff << 52, (1 << 52) - 1),
        Dtype::Float32 | Dtype::Complex64 => of::<4>(bytes, 0xff << 23, (1 << 23) - 1),
        Dtype::Float16 | Dtype::Complex32 => of::<2>(bytes, 0x1f << 10, (1 << 10) - 1),
        Dtype::BFloat16 => of::<2>(bytes, 0xff << 7, (1 << 7) - 1),
        Dtype::Float8E5M2 => of::<1>(bytes, 0x1f << 2, 3),
        Dtype::Float8E4M3FN => nans(bytes, |byte| byte & 0x7f == 0x7f),
        Dtype::Float8E4M3FNUZ | Dtype::Float8E5M2FNUZ => nans(bytes, |byte| byte == 0x80),
        Dtype::Float8E8M0FNU => nans(bytes, |byte| byte == 0xff),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn numbers_that_are_none_are_counted_in_every_type() {
        let cases: [(Dtype, Vec<u8>, (u64, u64)); 9] = [
            (Dtype::Float64, [f64::NAN, -f64::NAN, f64::NEG_INFINITY, f64::MAX].map(f64::to_le_bytes).concat(), (2, 1)),
            (Dtype::Float32, [f32::NAN, f32::INFINITY, f32::MAX, 1e-45, -0.0].map(f32::to_le_bytes).concat(), (1, 1)),
            (Dtype::Complex64, [f32::NAN, f32::INFINITY, 1.0, f32::NAN].map(f32::to_le_bytes).concat(), (2, 1)),
            (Dtype::Float16, [f16::NAN, f16::INFINITY, f16::MAX].map(f16::to_le_bytes).concat(), (1, 1)),
            (Dtype::BFloat16, [bf16::NAN, bf16::NEG_INFINITY, bf16::MAX].map(bf16::to_le_bytes).concat(), (1, 1)),
            // As torch 2.13 converts NaN, infinities and the largest number.
            (Dtype::Float8E5M2, vec![0x7f, 0x7c, 0xfc, 0x7b, 0xfd], (2, 2)),
            (Dtype::Float8E4M3FN, vec![0x7f, 0xff, 0x7e, 0xfe], (2, 0)),
            (Dtype::Float8E4M3FNUZ, vec![0x80, 0x7f, 0xff, 0x00], (1, 0)),
            (Dtype::Float8E8M0FNU, vec![0xff, 0xfe, 0x00], (1, 0)),
        ];
        for (dtype, bytes, expected) in cases {
            assert_eq!(not_finite(dtype, &bytes), expected, "{}", dtype.name());
        }
    }
}
