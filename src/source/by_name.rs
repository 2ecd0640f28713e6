//! Classes of transformers where the path that a config.json suggests leads nowhere: of many model types (`gemma3_text`) the
//! module has another name (`gemma3`), so the class is looked for by its own.

use std::path::{Path, PathBuf};

use super::files::Files;
use super::folders::{Index, class_names};

/// Folders of models that are looked through; transformers has some 600.
const MOST_FOLDERS: usize = 4_000;
/// Bytes that are looked through: all of transformers' model files have 25 MB.
const MOST_BYTES: usize = 100 << 20;
/// Steps for a class that is found.
const NAME_STEPS: usize = 10;

/// Whether a class may be found so.
pub(super) fn is_asked(parts: &[&str]) -> bool {
    matches!(parts, ["transformers", "models", _, _, _])
}

/// The files of transformers' models below a folder of packages, by the classes in them.
pub(super) fn index(packages: &Path, files: &Files) -> Index {
    let models = packages.join("transformers").join("models");
    let mut index = Index::new();
    let Ok(entries) = std::fs::read_dir(&models) else { return index };
    let mut folders: Vec<String> =
        entries.take(MOST_FOLDERS).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    folders.sort_unstable();
    let mut bytes = 0;
    for folder in folders {
        let path = models.join(&folder).join(format!("modeling_{folder}.py"));
        if bytes > MOST_BYTES || files.budget().is_spent() {
            break;
        }
        let Some(text) = files.text(&path) else { continue };
        bytes += text.len();
        for name in class_names(&text) {
            if files.budget().burn(NAME_STEPS) {
                index.entry(name.to_owned()).or_default().push(path.clone());
            }
        }
    }
    index
}

/// Of the files that have the class the one whose folder's name the class's begins with at the greatest length.
pub(super) fn file_of<'i>(index: &'i Index, class: &str) -> Option<&'i PathBuf> {
    let class_begins = |path: &PathBuf| {
        let folder = path.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str())?;
        let squashed = folder.replace('_', "");
        class.to_ascii_lowercase().starts_with(&squashed).then_some(squashed.len())
    };
    index.get(class)?.iter().rev().max_by_key(|path| class_begins(path))
}
