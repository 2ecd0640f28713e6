//! Zip archives as torch writes them.
//!
//! Only the central directory counts: local headers of torch's archives hold zeros for the sizes and checksums, and
//! checksums may be wrong on purpose (torch can leave them out). A record's data offset comes from its local header,
//! which is read when the data is.

use std::io::Read;
use std::path::Path;

use rawzip::{CompressionMethod, ZipLocator};

use super::error::name_for_message;
use super::records::Records;
pub use super::records::{Method, Record};
use super::{Bytes, Error};

/// Length of an end-of-central-directory record without its comment (zip specification 4.3.16).
const END_SIZE: u64 = 22;
/// How far from the end of the file that record can begin: its comment is at most 65,535 bytes.
const END_SEARCH: u64 = END_SIZE + 65_535;
/// Length of a local header without name and extra field (zip specification 4.3.7).
const LOCAL_SIZE: u64 = 30;
/// Length of a central directory entry without its texts (zip specification 4.3.12).
const CENTRAL_SIZE: u64 = 46;
/// Inflated records may always be this long, and longer only in proportion to the compressed bytes.
const INFLATE_LIMIT: u64 = 64 << 20;
/// That proportion.
const INFLATE_RATIO: u64 = 100;
/// Records read whole (pickles, texts) may not be longer: a pickle of a checkpoint with a million tensors is a tenth.
const RECORD_LIMIT: u64 = 1 << 30;

/// The records of an archive, by their names below the root folder.
#[derive(Debug)]
pub struct Archive {
    /// The folder that all records are in, as the writer named it (the file's stem).
    pub root: String,
    /// Records by name, without the root (`data.pkl`, `data/0`), in the directory's order.
    records: Records,
    /// The first record outside the root folder, and where its directory entry is.
    pub stray: Option<(String, u64)>,
    /// What is unusual but harmless.
    pub warnings: Vec<String>,
}

impl Archive {
    /// Read the central directory.
    ///
    /// # Errors
    /// The directory is missing, damaged or ambiguous, or a record lies outside the file.
    pub fn open(path: &Path, bytes: &Bytes) -> Result<Archive, Error> {
        Archive::open_watched(path, bytes, |_, _| ())
    }

    /// Open an archive; `watch` sees each record as soon as it is found.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_watched(path: &Path, bytes: &Bytes, mut watch: impl FnMut(&str, Record)) -> Result<Archive, Error> {
        Archive::walk(path, bytes, |_, name, record| watch(name, record))
    }

    /// Walk the directory; `watch` sees each record with its entry.
    fn walk(
        path: &Path,
        bytes: &Bytes,
        mut watch: impl FnMut(&rawzip::ZipFileHeaderRecord<'_>, &str, Record),
    ) -> Result<Archive, Error> {
        let damaged = |record: &str, offset: u64, what: String| Error::Archive {
            path: path.to_path_buf(),
            record: record.to_owned(),
            offset,
            what,
        };
        let end = find_end(path, bytes)?;
        let misplaced = || {
            let what = format!("the central directory is said to begin at byte {}, where it is not", end.directory);
            damaged("end of the central directory", end.offset, what)
        };
        if end.directory >= end.offset {
            return Err(misplaced());
        }
        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let mut warnings = end.warnings;
        let mut head = [0u8; LOCAL_SIZE as usize];
        let head = bytes.read_at_most(0, &mut head)?;
        if is_overwritten(head) {
            let found = name_for_message(&String::from_utf8_lossy(head.get(..4).unwrap_or_default()));
            warnings.push(format!(
                "The first bytes are `{found}`, where a zip archive has `PK`: something overwrote them. Directory and records are whole, and were read."
            ));
        }
        let archive = ZipLocator::new()
            .max_search_space(END_SIZE)
            .locate_in_reader(bytes, &mut buffer, end.offset + END_SIZE)
            .map_err(|(_, error)| {
                damaged(
                    "end of the central directory",
                    end.offset,
                    format!("{error}; the archive is damaged or cut off"),
                )
            })?;
        let directory = archive.directory_offset();
        // rawzip looks for a directory elsewhere if it is not where it should be; torch's archives have nothing to repair.
        if end.directory != directory {
            return Err(misplaced());
        }
        let mut found = Archive { root: String::new(), records: Records::default(), stray: None, warnings };
        let (mut count, mut place) = (0u64, directory);
        // An entry is 46 bytes or more, so a declared number cannot reserve more than the file justifies.
        let most = archive.entries_hint().min((end.offset - directory) / CENTRAL_SIZE);
        found.records.reserve(usize::try_from(most).unwrap_or_default());
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(|error| {
            damaged("central directory", place, format!("entry {count} is damaged: {error}; download the file again"))
        })? {
            place = entry.central_directory_offset();
            count += 1;
            found.add(&entry, directory).map_err(|(record, what)| damaged(&record, place, what))?;
            if let Some((name, record)) = found.records.last() {
                watch(&entry, name, record);
            }
        }
        if count != archive.entries_hint() {
            let what = format!("holds {count} entries where {} are declared", archive.entries_hint());
            return Err(damaged("central directory", directory, what));
        }
        Ok(found)
    }

    fn add(&mut self, entry: &rawzip::ZipFileHeaderRecord<'_>, directory: u64) -> Result<(), (String, String)> {
        let path = entry.file_path();
        let full = String::from_utf8_lossy(path.as_ref());
        let refuse = |what: String| Err((format!("record `{}`", name_for_message(&full)), what));
        let (root, mut name) = full.split_once('/').unwrap_or(("", &full));
        if self.records.is_empty() {
            self.root = root.to_owned();
        } else if root != self.root {
            name = &full;
            self.stray.get_or_insert_with(|| (full.to_string(), entry.central_directory_offset()));
        }
        let (header, compressed) = (entry.local_header_offset(), entry.compressed_size_hint());
        let last = [LOCAL_SIZE, path.as_ref().len() as u64, compressed]
            .iter()
            .try_fold(header, |sum, &part| sum.checked_add(part));
        if last.is_none_or(|last| last > directory) {
            return refuse(format!(
                "its {compressed} bytes behind the local header at byte {header} reach past the central directory at {directory}"
            ));
        }
        let method = match entry.compression_method() {
            _ if entry.flags().is_encrypted() => Method::Other,
            CompressionMethod::STORE if compressed == entry.uncompressed_size_hint() => Method::Stored,
            CompressionMethod::DEFLATE => Method::Deflated,
            _ => Method::Other,
        };
        let record = Record { header, compressed, size: entry.uncompressed_size_hint(), method };
        if !self.records.insert(name.into(), record) {
            return refuse("is there twice; readers disagree on which one counts".to_owned());
        }
        Ok(())
    }

    /// The record of that exact name.
    pub fn find(&self, name: &str) -> Option<Record> {
        self.records.find(name).map(|(_, record)| record)
    }

    /// The record `FOLDER/KEY` and its number in the directory. `guess` is the number to try first: storages are written in
    /// the order in which the pickle names them.
    pub fn find_storage(&self, folder: &str, key: &str, guess: usize) -> Option<(usize, Record)> {
        let is_it = |name: &str| name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) == Some(key);
        match self.records.at(guess) {
            Some((name, record)) if is_it(name) => Some((guess, record)),
            _ => self.records.find(&format!("{folder}/{key}")),
        }
    }

    /// Names of all records.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.records.names()
    }

    /// The whole content of a record: a pickle or a text, never a tensor.
    ///
    /// # Errors
    /// It is too long, compressed in a way that is not read, inflates beyond what is sensible, or is outside the file.
    pub fn read(&mut self, path: &Path, bytes: &Bytes, name: &str, record: Record) -> Result<Vec<u8>, Error> {
        let (content, warning) = record.read(path, bytes, name)?;
        self.warnings.extend(warning);
        Ok(content)
    }
}

impl Record {
    /// The longest inflated record, whatever the archive says.
    pub(super) fn inflated_limit(&self) -> u64 {
        INFLATE_LIMIT.max(self.compressed.saturating_mul(INFLATE_RATIO))
    }

    /// As [`Archive::read`], with what is unusual but harmless.
    ///
    /// # Errors
    /// The record is damaged, or cannot be read.
    pub fn read(self, path: &Path, bytes: &Bytes, name: &str) -> Result<(Vec<u8>, Option<String>), Error> {
        let damaged = |what: String| Error::Archive {
            path: path.to_path_buf(),
            record: format!("record `{}`", name_for_message(name)),
            offset: self.header,
            what,
        };
        let limit = match self.method {
            Method::Stored => RECORD_LIMIT,
            Method::Deflated => self.inflated_limit().min(RECORD_LIMIT),
            Method::Other => {
                return Err(damaged("is encrypted, or compressed in a way torch does not write".to_owned()));
            }
        };
        if self.size > limit {
            return Err(damaged(format!("is {} bytes long; {limit} is the most that is read", self.size)));
        }
        let local = LocalHeader::read(bytes, self.header)?.map_err(damaged)?;
        let disagree = local.size != 0 && local.size != u32::MAX && u64::from(local.size) != self.size;
        let warning = disagree.then(|| {
            format!(
                "Record `{}` is {} bytes long in the central directory and {} in its local header; the first was used.",
                name_for_message(name),
                self.size,
                local.size
            )
        });
        let content = bytes.read_range(local.data, self.compressed)?;
        let content = content.ok_or_else(|| damaged("reaches past the end of the file".to_owned()))?;
        if self.method == Method::Stored {
            return Ok((content, warning));
        }
        let mut inflated = Vec::new();
        let mut decoder = flate2::read::DeflateDecoder::new(content.as_slice()).take(self.size + 1);
        decoder.read_to_end(&mut inflated).map_err(|error| damaged(format!("cannot be inflated: {error}")))?;
        if inflated.len() as u64 != self.size {
            return Err(damaged(format!("does not inflate to the {} bytes it is said to have", self.size)));
        }
        Ok((inflated, warning))
    }
}

/// A record with its full name, and the checksum that the directory lists.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: Vec<u8>,
    pub record: Record,
    pub crc: u32,
}

/// Every record of an archive, by its directory, which is read anew: only a check wants the checksums.
///
/// # Errors
/// As [`Archive::open`].
pub(super) fn members(path: &Path, bytes: &Bytes) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    Archive::walk(path, bytes, |entry, _, record| {
        let name = entry.file_path().as_ref().to_vec();
        members.push(Member { name, record, crc: entry.crc32() });
    })?;
    Ok(members)
}

/// Where a record's data begins, from its local header.
///
/// # Errors
/// The file cannot be read; the inner error says what is wrong with the header.
pub(super) fn data_offset(bytes: &Bytes, header: u64) -> Result<Result<u64, String>, Error> {
    Ok(LocalHeader::read(bytes, header)?.map(|local| local.data))
}

/// What the directory lists of a member and its own local header, or the data descriptor behind its content, contradicts: a
/// sentence each. Zeros in a header, as in torch's, leave a value to the others and contradict nothing.
///
/// # Errors
/// The file cannot be read.
pub(super) fn contradictions(bytes: &Bytes, member: &Member) -> Result<Vec<String>, Error> {
    let record = member.record;
    let header = match LocalHeader::read(bytes, record.header)? {
        Ok(local) => bytes.read_range(record.header, local.data.saturating_sub(record.header))?,
        Err(fault) => return Ok(vec![fault]),
    };
    let Some(local) = header.as_deref().and_then(Local::parse) else {
        return Ok(vec!["its local header reaches past the end of the file".to_owned()]);
    };
    let mut faults = Vec::new();
    let mut differ = |place: &str, what: &str, there: String, listed: String| {
        faults.push(format!("its {place} has the {what} {there}, listed is {listed}"));
    };
    let place = "local header";
    if local.name != member.name {
        let quote = |name: &[u8]| format!("`{}`", name_for_message(&String::from_utf8_lossy(name)));
        differ(place, "name", quote(local.name), quote(&member.name));
    }
    let method = match record.method {
        Method::Stored => 0,
        Method::Deflated => 8,
        Method::Other => local.method,
    };
    if local.method != method {
        differ(place, "method", local.method.to_string(), method.to_string());
    }
    // Zeros are left to what stands behind the content, or to the directory.
    if local.crc != member.crc && local.crc != 0 {
        differ(place, "checksum", format!("{:08x}", local.crc), format!("{:08x}", member.crc));
    }
    for (what, there, listed) in
        [("compressed size", local.compressed, record.compressed), ("size", local.size, record.size)]
    {
        if there != listed && there != 0 {
            differ(place, what, there.to_string(), listed.to_string());
        }
    }
    if local.descriptor {
        let mut buffer = [0u8; 24];
        let end = record.header.saturating_add(local.length).saturating_add(record.compressed);
        let found = bytes.read_at_most(end, &mut buffer)?;
        // Its signature is optional.
        let found = found.strip_prefix(b"PK\x07\x08").unwrap_or(found);
        let crc = found.first_chunk().map(|crc| u32::from_le_bytes(*crc));
        if crc != Some(member.crc) {
            let there = crc.map_or("(the file ends)".to_owned(), |crc| format!("{crc:08x}"));
            differ("data descriptor", "checksum", there, format!("{:08x}", member.crc));
        }
        let sizes = found.get(4..).unwrap_or_default();
        let long = [record.compressed, record.size].map(u64::to_le_bytes).concat();
        let short = long.chunks(8).flat_map(|size| size.iter().take(4)).copied().collect::<Vec<u8>>();
        if !sizes.starts_with(&long) && !sizes.starts_with(&short) {
            differ(
                "data descriptor",
                "sizes",
                "of something else".to_owned(),
                format!("{}, {}", record.compressed, record.size),
            );
        }
    }
    Ok(faults)
}

/// A local header (zip specification 4.3.7).
struct Local<'a> {
    /// Whether a data descriptor follows the content.
    descriptor: bool,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    name: &'a [u8],
    /// Of all of it.
    length: u64,
}

impl<'a> Local<'a> {
    fn parse(found: &'a [u8]) -> Option<Local<'a>> {
        let short = |at: usize| Some(u16::from_le_bytes(*found.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_le_bytes(*found.get(at..)?.first_chunk()?));
        let fixed = LOCAL_SIZE as usize;
        let names = fixed + usize::from(short(26)?);
        let end = names + usize::from(short(28)?);
        let (name, extra) = (found.get(fixed..names)?, found.get(names..end)?);
        // What does not fit into four bytes is in the ZIP64 field, in this order (4.5.3).
        let mut wide = zip64_field(extra).unwrap_or_default().chunks_exact(8);
        let mut resolved = |value: u32| match value {
            u32::MAX => {
                wide.next().and_then(<[u8]>::first_chunk).map_or(value.into(), |size| u64::from_le_bytes(*size))
            }
            _ => value.into(),
        };
        let size = resolved(long(22)?);
        let compressed = resolved(long(18)?);
        let (descriptor, method, crc) = (short(6)? & 8 != 0, short(8)?, long(14)?);
        let is_one = found.starts_with(b"PK\x03\x04");
        is_one.then_some(Local { descriptor, method, crc, compressed, size, name, length: end as u64 })
    }
}

/// The ZIP64 field among extra fields (zip specification 4.5).
fn zip64_field(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let [a, b, low, high] = *extra.first_chunk()?;
        let (field, rest) = extra.get(4..)?.split_at_checked(u16::from_le_bytes([low, high]).into())?;
        if u16::from_le_bytes([a, b]) == 1 {
            return Some(field);
        }
        extra = rest;
    }
}

struct LocalHeader {
    data: u64,
    size: u32,
}

impl LocalHeader {
    fn read(bytes: &Bytes, offset: u64) -> Result<Result<LocalHeader, String>, Error> {
        let mut buffer = [0u8; LOCAL_SIZE as usize];
        let found = bytes.read_at_most(offset, &mut buffer)?;
        Ok(LocalHeader::parse(found, offset).ok_or_else(|| format!("there is no local header at byte {offset}")))
    }

    fn parse(found: &[u8], offset: u64) -> Option<LocalHeader> {
        let overwritten = offset == 0 && is_overwritten(found);
        if !(overwritten || found.starts_with(LOCAL)) {
            return None;
        }
        let name = u16::from_le_bytes(found.get(26..28)?.try_into().ok()?);
        let extra = u16::from_le_bytes(found.get(28..30)?.try_into().ok()?);
        let size = u32::from_le_bytes(found.get(22..26)?.try_into().ok()?);
        let data = offset.checked_add(LOCAL_SIZE + u64::from(name) + u64::from(extra))?;
        Some(LocalHeader { data, size })
    }
}

struct End {
    offset: u64,
    /// Where it, or the ZIP64 record it leaves that to, says the directory begins.
    directory: u64,
    warnings: Vec<String>,
}

/// Find the one end-of-central-directory record whose comment reaches the end of the file. A record inside the comment
/// of another one, put there to make readers disagree, does not.
fn find_end(path: &Path, bytes: &Bytes) -> Result<End, Error> {
    let length = bytes.length();
    let start = length.saturating_sub(END_SEARCH);
    let damaged = |offset: u64, what: &str| Error::Archive {
        path: path.to_path_buf(),
        record: "zip archive".to_owned(),
        offset,
        what: what.to_owned(),
    };
    let mut buffer = vec![0; usize::try_from(length - start).unwrap_or_default()];
    let tail = bytes.read_at_most(start, &mut buffer)?;
    let mut exact = Vec::new();
    let mut last = None;
    for (position, window) in tail.windows(END_SIZE as usize).enumerate() {
        if !window.starts_with(b"PK\x05\x06") {
            continue;
        }
        let (Some(&[a, b, c, d]), Some(&[low, high])) = (window.get(16..20), window.get(20..22)) else { continue };
        let directory = u32::from_le_bytes([a, b, c, d]);
        let offset = start + position as u64;
        let end = End { offset, directory: directory.into(), warnings: Vec::new() };
        let reach = offset + END_SIZE + u64::from(u16::from_le_bytes([low, high]));
        match reach.cmp(&length) {
            std::cmp::Ordering::Equal => exact.push(end),
            std::cmp::Ordering::Less => last = Some((end, length - reach)),
            std::cmp::Ordering::Greater => {}
        }
    }
    if exact.len() > 1 {
        let offset = exact.first().map_or(start, |end| end.offset);
        return Err(damaged(
            offset,
            "two ends of the central directory fit the end of the file; readers disagree on which counts",
        ));
    }
    let end = match (exact.pop(), last) {
        (Some(end), _) => Ok(end),
        (None, Some((end, behind))) => {
            let warnings = vec![format!("{behind} bytes behind the end of the archive were not looked at.")];
            Ok(End { warnings, ..end })
        }
        (None, None) => Err(damaged(
            length,
            "no end of a central directory in the last 65,557 bytes: the file is cut off; download or copy it again",
        )),
    }?;
    if end.directory != u64::from(u32::MAX) {
        return Ok(end);
    }
    let directory = zip64_directory(bytes, end.offset)?;
    let directory =
        directory.ok_or_else(|| damaged(end.offset, "the ZIP64 record that the archive refers to is missing"))?;
    Ok(End { directory, ..end })
}

/// The directory's offset in the ZIP64 end record (zip specification 4.3.14), found by its locator in front of the end.
fn zip64_directory(bytes: &Bytes, end: u64) -> Result<Option<u64>, Error> {
    let number = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let Some(position) = end.checked_sub(20) else { return Ok(None) };
    let mut locator = [0u8; 20];
    let locator = bytes.read_at_most(position, &mut locator)?;
    let Some(position) = number(locator, 8).filter(|_| locator.starts_with(b"PK\x06\x07")) else { return Ok(None) };
    let mut record = [0u8; 56];
    let record = bytes.read_at_most(position, &mut record)?;
    Ok(number(record, 48).filter(|_| record.starts_with(b"PK\x06\x06")))
}

/// How a local header begins.
const LOCAL: &[u8] = b"PK\x03\x04";

/// Whether a file that begins like this is a zip archive. torch wants the first record at the very beginning.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(LOCAL)
}

/// Whether what stands at the beginning of a file is a local header but for its mark: a version and a method that torch
/// writes. Some tools put a mark of their own over the first bytes.
fn is_overwritten(head: &[u8]) -> bool {
    !is_zip(head) && matches!(head.get(4..10), Some([0..=63, 0, _, _, 0 | 8, 0]))
}

/// Whether a file is a `torch.save` archive of which only the first bytes are overwritten: its directory is whole, and its first
/// record begins there.
pub(super) fn is_zip_behind_its_mark(path: &Path, bytes: &Bytes, head: &[u8]) -> bool {
    let first = |archive: &Archive| archive.find("data.pkl").is_some_and(|record| record.header == 0);
    is_overwritten(head) && Archive::open(path, bytes).is_ok_and(|archive| first(&archive))
}
