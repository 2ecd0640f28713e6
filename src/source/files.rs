//! Python files on disk: read whole, decoded as Python would, parsed once.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::{Budget, Part};
use super::python::Module;

/// Larger files are not read: no model is written by hand in four mebibytes.
pub(super) const SIZE_LIMIT: u64 = 4 << 20;

/// Steps that it takes to look for a file.
const PROBE: usize = 50;

/// Files that were asked for, parsed; `None` for those that cannot be.
#[derive(Debug, Default)]
pub(super) struct Files {
    budget: Arc<Budget>,
    parsed: Mutex<HashMap<PathBuf, Option<Arc<Module>>>>,
    /// Every file that was opened, whatever was in it.
    read: Mutex<BTreeSet<PathBuf>>,
}

impl Files {
    /// Files that are read with steps from this budget.
    pub(super) fn within(budget: Budget) -> Files {
        Files { budget: Arc::new(budget), ..Files::default() }
    }

    /// Where the steps of everything that is read come from.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The file, if it is a regular file of a bearable size in an encoding we know. Each is read and parsed once.
    pub(super) fn module(&self, path: &Path) -> Option<Arc<Module>> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(path) {
            return known.clone();
        }
        if !self.budget.burn(PROBE) {
            self.budget.leave_out(Part::Places, &path.display().to_string());
            return None;
        }
        let text = self.text(path);
        let found = text.is_some();
        let module = text.and_then(|text| Module::parse_within(text.into(), &self.budget)).map(Arc::new);
        if found && module.is_none() {
            self.budget.leave_out(Part::File, &path.display().to_string());
        }
        parsed.insert(path.to_owned(), module.clone());
        module
    }

    /// The text of a file, to look through; `None` where [`Files::module`] gives none.
    pub(super) fn text(&self, path: &Path) -> Option<String> {
        let text = read(path);
        if text.is_some() || path.is_file() {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
        text
    }

    /// The files that were read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn read(path: &Path) -> Option<String> {
    // A pipe or a device would be waited on.
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > SIZE_LIMIT {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
    File::open(path).ok()?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return None;
    }
    decode(bytes)
}

/// Python source as text: UTF-8 unless a comment in the first two lines says Latin-1 (PEP 263), UTF-16 where its mark is in
/// front; a byte order mark is left out, and every line ends in `\n`. In other encodings that hold ASCII what is not ASCII gets a
/// sign for it: names of classes are as they should be. `None` for what is no text.
pub(super) fn decode(mut bytes: Vec<u8>) -> Option<String> {
    if let Some(wide) = bytes.strip_prefix(b"\xff\xfe") {
        return utf_16(wide, u16::from_le_bytes);
    }
    if let Some(wide) = bytes.strip_prefix(b"\xfe\xff") {
        return utf_16(wide, u16::from_be_bytes);
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    if bytes.contains(&0) {
        return None;
    }
    let text = match declared_encoding(&bytes).as_deref() {
        Some("latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "l1") => bytes.into_iter().map(char::from).collect(),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Some(unix_lines(text))
}

fn utf_16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Option<String> {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(read);
    let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    (!text.contains('\0')).then(|| unix_lines(text))
}

/// Lines that end in `\r\n` or `\r`, as Python reads them, made to end in `\n`.
pub(super) fn unix_lines(text: String) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}

/// The name behind `coding:` or `coding=` in a comment of the first two lines, in lower case and with hyphens.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    for line in bytes.split(|byte| *byte == b'\n').take(2) {
        let line = String::from_utf8_lossy(line.get(..line.len().min(200))?);
        let Some(comment) = line.trim_start_matches([' ', '\t', '\x0c']).strip_prefix('#') else { continue };
        let Some((_, rest)) = comment.split_once("coding") else { continue };
        let Some(rest) = rest.strip_prefix([':', '=']) else { continue };
        let of_name = |character: &char| character.is_ascii_alphanumeric() || "-_.".contains(*character);
        let name: String = rest.trim_start().chars().take_while(of_name).collect();
        return Some(name.to_ascii_lowercase().replace('_', "-"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_as_python_does() {
        let decoded = |bytes: &[u8]| decode(bytes.to_vec());
        assert_eq!(decoded("\u{feff}é = 1\r\ny = 2\rz".as_bytes()).as_deref(), Some("é = 1\ny = 2\nz"));
        assert_eq!(
            decoded(b"# -*- coding: latin-1 -*-\n\xe9 = 1").as_deref(),
            Some("# -*- coding: latin-1 -*-\né = 1")
        );
        let vim = decoded(b"#!/x\n# vim: set fileencoding=ISO_8859_1 :\n\xe9");
        assert!(vim.is_some_and(|text| text.ends_with("\né")));
        assert_eq!(
            decoded(b"\n\n# coding: latin-1\n\xe9").as_deref(),
            Some("\n\n# coding: latin-1\n\u{fffd}"),
            "two lines count"
        );
        assert_eq!(decoded(b"# coding: cp1251\nx = '\xcf'").as_deref(), Some("# coding: cp1251\nx = '\u{fffd}'"));
        assert_eq!(decoded(b"\xff\xfex\0\r\0\n\0").as_deref(), Some("x\n"));
        assert_eq!(decoded(b"\xfe\xff\0x\0\xe9").as_deref(), Some("xé"));
        assert_eq!(decoded(b"\x7fELF\0\0"), None);
        assert_eq!(decoded(b""), Some(String::new()));
    }
}
