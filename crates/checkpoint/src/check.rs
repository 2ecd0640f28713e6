//! Reading everything once, when asked: whether the members of zip archives have the checksums that they are listed with,
//! and how many numbers are NaN or infinite. Both go piece by piece, whatever the size of the file.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::PathBuf;

use super::archive::{self, Member, Method};
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Dtype, TensorId};

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
    for bytes in checkpoint.sources_of_bytes() {
        // Of a distributed checkpoint each tensor is an archive of its own.
        let mut inside = checkpoint.storages.iter().filter_map(|storage| match storage.offset {
            StorageOffset::Archive(offset) => {
                Some((checkpoint.files.get(storage.file as usize)?, offset, storage.bytes))
            }
            _ => None,
        });
        let inside: Vec<_> = inside.by_ref().filter(|(file, ..)| file.path() == bytes.path()).collect();
        if inside.is_empty() {
            check.archive(bytes, bytes.path());
        }
        for (file, offset, length) in inside {
            if let Ok(Some(own)) = file.read_range(offset, length) {
                check.archive(&Bytes::Owned(own), bytes.path());
            }
        }
    }
    let mut seen = HashSet::new();
    for (id, tensor) in checkpoint.tensors.iter().enumerate() {
        let first = seen.insert(tensor.shared_with.unwrap_or(id));
        match &tensor.problem {
            Some(problem) => check.unread.push((id, problem.to_string())),
            None if first && tensor.dtype.is_floating() => check.numbers(checkpoint, id),
            None => {}
        }
    }
    check
}

impl Check {
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
        match count(checkpoint, id) {
            Ok((elements, nan, infinite)) => {
                self.tensors += 1;
                self.elements = self.elements.saturating_add(elements);
                if nan + infinite > 0 {
                    self.not_finite.push(NotFinite { tensor: id, nan, infinite });
                }
            }
            Err(error) => self.unread.push((id, error.to_string())),
        }
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
