//! Which classes are in which files below a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::budget::Part;
use super::files::Files;
use super::locate::{is_python, name_of};

/// Files, and bytes in them, that are looked through for a class whose module a folder does not have.
const SEARCH_FILES: usize = 2_000;
const SEARCH_BYTES: u64 = 64 << 20;
/// Folders within folders that are searched, and entries of all of them.
const SEARCH_DEPTH: usize = 8;
const SEARCH_ENTRIES: usize = 200_000;
/// Steps for a class that is found there.
const NAME_STEPS: usize = 10;
/// Files of a folder by the names of the classes in them.
pub(super) type Index = HashMap<String, Vec<PathBuf>>;

/// Which files below a folder define which classes: by the lines that begin with `class`, no more than a few thousand files.
pub(super) fn classes_below(folder: &Path, sources: &Files) -> Index {
    let budget = sources.budget();
    let mut index = Index::new();
    let (mut files, mut bytes, mut looked_at) = (0, 0, 0);
    let mut waiting = vec![(folder.to_owned(), 0)];
    let mut complete = true;
    while let Some((folder, depth)) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let room = SEARCH_ENTRIES.saturating_sub(looked_at);
        let mut entries: Vec<_> = entries.filter_map(Result::ok).take(room + 1).collect();
        complete &= entries.len() <= room;
        looked_at += entries.len();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            // The type of the entry itself: links are not followed, so that none leads out or round.
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() && depth < SEARCH_DEPTH && is_searched(&path) {
                waiting.push((path, depth + 1));
            } else if kind.is_file() && is_python(&path) {
                if files >= SEARCH_FILES || bytes >= SEARCH_BYTES || budget.is_spent() {
                    complete = false;
                    break;
                }
                let Some(text) = sources.text(&path) else { continue };
                (files, bytes) = (files + 1, bytes + text.len() as u64);
                for name in class_names(&text) {
                    let holding = index.entry(name.to_owned()).or_default();
                    if holding.last() != Some(&path) && budget.burn(NAME_STEPS) {
                        holding.push(path.clone());
                    }
                }
            }
        }
    }
    if !complete {
        budget.leave_out(Part::Folder, &format!("{} (the first {files} files were)", folder.display()));
    }
    index
}

pub(super) fn class_names(text: &str) -> impl Iterator<Item = &str> {
    let statements = text.lines().filter_map(|line| line.trim_start().strip_prefix("class "));
    statements.filter_map(|rest| {
        rest.trim_start().split(|character: char| !character.is_alphanumeric() && character != '_').next()
    })
}

/// How many parts of a class's path, from its end, are parts of a file's path, from its end.
pub(super) fn likeness(file: &str, parts: &[&str]) -> usize {
    let file = file.strip_suffix(".py").unwrap_or(file);
    let file = file.strip_suffix("/__init__").unwrap_or(file);
    let folders = file.rsplit(['/', '\\']);
    let module = parts.iter().rev().skip(1);
    folders.zip(module).take_while(|(folder, part)| folder == *part).count()
}

fn is_searched(folder: &Path) -> bool {
    let name = name_of(folder).unwrap_or_default();
    let skipped =
        name.starts_with('.') || matches!(&*name, "__pycache__" | "node_modules" | "site-packages" | "dist-packages");
    !skipped && !folder.join("pyvenv.cfg").exists()
}
