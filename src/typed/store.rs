//! What was typed, kept between two runs: one small file for each checkpoint, in the user's state folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Edit;
use crate::files;
use t2m_checkpoint::escape::escape;

/// The version of the file's form.
const SCHEMA: u64 = 1;
/// Bytes at the beginning and at the end of a file by which it is known: headers and directories stand there.
const ENDS: u64 = 64 << 10;
/// Files of a checkpoint that are looked at.
const MOST_FILES: usize = 64;
/// The longest file that is read.
const LONGEST: u64 = 1 << 20;

/// The file in which it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: u64,
    /// Where the checkpoint was, for a person who looks in here.
    checkpoint: String,
    attributes: Vec<Edit>,
}

/// Where what was typed of one checkpoint is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The file, which need not be there.
    pub path: PathBuf,
}

/// The folder in which this program keeps what outlives a run: `$XDG_STATE_HOME/t2m-tui`, else `~/.local/state/t2m-tui`.
pub fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("t2m-tui"))
}

impl Store {
    /// That of a checkpoint which was read from these files: it is known by their sizes and what stands at both ends, wherever
    /// it lies. `None` where a file cannot be read, and without any.
    pub fn of(folder: &Path, files: &[PathBuf]) -> Option<Store> {
        let mut hash = Sha256::new();
        for path in files.iter().take(MOST_FILES) {
            let mut file = File::open(path).ok()?;
            let size = file.metadata().ok()?.len();
            hash.update(size.to_le_bytes());
            let mut ends = Vec::new();
            Read::by_ref(&mut file).take(ENDS).read_to_end(&mut ends).ok()?;
            file.seek(SeekFrom::Start(size.saturating_sub(ENDS))).ok()?;
            file.take(ENDS).read_to_end(&mut ends).ok()?;
            hash.update(&ends);
        }
        let name: String = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        (!files.is_empty()).then(|| Store { path: folder.join("attributes").join(format!("{name}.json")) })
    }

    /// Whether anything is kept at all: where not no file of a checkpoint need be read for it.
    pub fn is_used(folder: &Path) -> bool {
        fs::read_dir(folder.join("attributes")).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// What is kept. A file that is damaged is set aside.
    ///
    /// # Errors
    /// In a sentence: it cannot be read, or was damaged and is set aside.
    pub fn read(&self) -> Result<Vec<Edit>, String> {
        let shown = escape(&self.path.to_string_lossy()).into_owned();
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let text = files::read_text(&self.path, LONGEST)
            .map_err(|error| format!("What was typed before is in {shown}, which cannot be read: {error}."))?;
        let kept = serde_json::from_str::<Value>(&text);
        let schema = kept.as_ref().ok().and_then(|kept| kept.get("schema")?.as_u64());
        if let Some(other) = schema.filter(|schema| *schema != SCHEMA) {
            return Err(format!("{shown} is of another version ({other}) and is left alone."));
        }
        let wrong = match kept.and_then(serde_json::from_value::<Kept>) {
            Ok(kept) => return Ok(kept.attributes),
            Err(wrong) => wrong,
        };
        let aside = self.path.with_extension("damaged");
        let moved = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("it is set aside as {}", escape(&aside.to_string_lossy())),
            Err(error) => format!("it could not be set aside: {error}"),
        };
        Err(format!("What was typed before is lost: {shown} is damaged ({wrong}); {moved}."))
    }

    /// Keep this, in one step: another run sees the old file or the new one. Nothing to keep is no file.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, checkpoint: &Path, edits: &[Edit]) -> io::Result<()> {
        if edits.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let kept =
            Kept { schema: SCHEMA, checkpoint: checkpoint.to_string_lossy().into_owned(), attributes: edits.to_vec() };
        let beside = self.path.with_extension(format!("{}.new", std::process::id()));
        let written = (|| {
            let mut file = File::options().write(true).create(true).truncate(true).open(&beside)?;
            file.write_all(serde_json::to_string_pretty(&kept)?.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        })();
        if written.is_err() {
            // Nothing of it is left behind; the error is what counts.
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::typed::Which;

    #[test]
    fn what_is_kept_comes_back_for_the_same_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let long: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        let mut other = long.clone();
        *other.last_mut().unwrap() ^= 1;
        let [a, copy, b] = [("a", &long), ("copy", &long), ("b", &other)].map(|(name, bytes)| file(name, bytes));
        let store = |path: &PathBuf| Store::of(folder.path(), std::slice::from_ref(path)).unwrap();
        assert!(!Store::is_used(folder.path()));
        let modules = Which::Path("conv".to_owned());
        let edits = vec![Edit { modules, attribute: "stride".to_owned(), value: json!(2) }];
        store(&a).write(&a, &edits).unwrap();
        assert!(Store::is_used(folder.path()));
        assert_eq!(store(&copy).read().unwrap(), edits, "it is known by what is in it, not by its name");
        assert_eq!(store(&b).read().unwrap(), []);
        let left: Vec<_> = fs::read_dir(folder.path().join("attributes")).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing temporary is left: {left:?}");
        store(&a).write(&a, &[]).unwrap();
        assert_eq!((store(&a).read().unwrap(), store(&a).path.exists()), (Vec::new(), false));
        assert_eq!(Store::of(folder.path(), &[]), None);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { path: folder.path().join("a.json") };
        fs::write(&store.path, "{\"schema\": 1, \"attri").unwrap();
        let said = store.read().unwrap_err();
        assert!(said.contains("a.json is damaged") && said.contains("a.damaged"), "{said}");
        assert!(!store.path.exists() && folder.path().join("a.damaged").exists());
        assert_eq!(store.read(), Ok(Vec::new()));
        // What a later version wrote is left as it is.
        fs::write(&store.path, "{\"schema\": 9, \"checkpoint\": \"x\", \"attributes\": []}").unwrap();
        assert!(store.read().unwrap_err().contains("another version (9)"));
        assert!(store.path.exists());
    }
}
