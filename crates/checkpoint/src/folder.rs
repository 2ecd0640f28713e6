//! Folders: as Hugging Face keeps models, as `torch.distributed.checkpoint` writes them, or with one checkpoint in them.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::name_for_message;
use super::{Bytes, Checkpoint, Error, Format, dcp, json};

/// What libraries keep a model's configuration in.
pub(super) const CONFIG: &str = "config.json";
/// What peft keeps an adapter's configuration in.
const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Names of a folder that are looked at, where none of them is usual.
const MOST_NAMES: usize = 200_000;
/// Names in an error message.
const NAMED: usize = 12;
/// A longer config.json is none.
const LONGEST_CONFIG: u64 = 16 << 20;
/// Files that can be checkpoints, by their extensions.
const EXTENSIONS: [&str; 5] = ["safetensors", "pt", "pth", "ckpt", "bin"];
/// What libraries call the model's weights where the folder holds other files of tensors as well, the best first.
const USUAL: [&str; 9] = [
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
];

/// Open the checkpoint that a folder is, or that is in it; `asked` is the key of the dict to take.
///
/// # Errors
/// There is none, or more than one; the message lists what was found.
pub(super) fn open(path: &Path, asked: Option<&str>) -> Result<Checkpoint, Error> {
    if path.join(dcp::METADATA).is_file() {
        return Checkpoint::open_file(path.join(dcp::METADATA).as_path(), asked);
    }
    // A folder may hold any number of other files: the usual names are asked for, and the rest listed only without them.
    let usual = USUAL.iter().find(|usual| path.join(usual).is_file());
    let (name, cut) = match usual {
        Some(usual) => ((*usual).to_owned(), false),
        None => {
            let listing = Listing::read(path, MOST_NAMES)?;
            let name = listing.checkpoint().map_err(|what| Error::NotAFile { path: path.to_path_buf(), what })?;
            (name.to_owned(), listing.cut)
        }
    };
    let mut checkpoint = Checkpoint::open_file(&path.join(&name), asked)?;
    checkpoint.path = path.to_path_buf();
    checkpoint.metadata.insert("file".to_owned(), Value::from(name));
    if cut {
        let what = "the folder has more, and another checkpoint may be among them";
        checkpoint.warnings.push(format!("Only the first {MOST_NAMES} names of the folder were looked at; {what}."));
    }
    let config_path = path.join(CONFIG);
    if config_path.is_file() {
        checkpoint.format = Format::HfFolder;
        match config(&config_path) {
            Ok(config) => {
                checkpoint.root_class = root_class(&config);
                checkpoint.metadata.insert("config".to_owned(), Value::Object(config));
            }
            Err(why) => checkpoint.warnings.push(format!("config.json was not used: {why}.")),
        }
    }
    let adapter = path.join(ADAPTER_CONFIG);
    if adapter.is_file()
        && checkpoint.metadata.get("file").and_then(Value::as_str).is_some_and(|name| name.starts_with("adapter_model"))
    {
        checkpoint.format = Format::PeftAdapter;
        match config(&adapter) {
            Ok(config) => {
                checkpoint.metadata.insert("adapter_config".to_owned(), Value::Object(config));
            }
            Err(why) => checkpoint.warnings.push(format!("{ADAPTER_CONFIG} was not used: {why}.")),
        }
    }
    Ok(checkpoint)
}

/// The names in a folder, in order.
struct Listing {
    files: Vec<String>,
    folders: Vec<String>,
    /// Whether there are names that were not looked at.
    cut: bool,
}

impl Listing {
    /// List at most this many names.
    fn read(path: &Path, most: usize) -> Result<Listing, Error> {
        let io_error = |source| Error::Io { path: path.to_path_buf(), source };
        let mut listing = Listing { files: Vec::new(), folders: Vec::new(), cut: false };
        let mut entries = std::fs::read_dir(path).map_err(io_error)?;
        for entry in entries.by_ref().take(most) {
            let entry = entry.map_err(io_error)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Links are followed: caches keep the files elsewhere. What kind a plain entry is comes with its name.
            let kind = match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => kind,
                _ => match std::fs::metadata(entry.path()) {
                    Ok(about) => about.file_type(),
                    Err(_) => continue,
                },
            };
            if kind.is_file() {
                listing.files.push(name);
            } else if kind.is_dir() {
                listing.folders.push(name);
            }
        }
        listing.cut = entries.next().is_some();
        listing.files.sort_unstable();
        listing.folders.sort_unstable();
        Ok(listing)
    }

    /// The file to open: the only index, or the only checkpoint.
    fn checkpoint(&self) -> Result<&str, String> {
        let indices = self.files.iter().filter(|name| name.ends_with(".index.json"));
        let files = self.files.iter().filter(|name| {
            let extension = Path::new(name.as_str()).extension();
            extension.is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
        });
        let (indices, files): (Vec<&String>, Vec<&String>) = (indices.collect(), files.collect());
        match (indices.as_slice(), files.as_slice()) {
            ([index], _) => Ok(index),
            ([], [file]) => Ok(file),
            ([], []) => Err(format!(
                "is a folder without a checkpoint: {}; give the checkpoint's file or folder",
                self.describe()
            )),
            ([], files) => Err(format!("is a folder with several checkpoints; give one of them: {}", list(files))),
            (indices, _) => {
                Err(format!("is a folder with several sharded checkpoints; give one of them: {}", list(indices)))
            }
        }
    }

    fn describe(&self) -> String {
        let folders: Vec<String> = self.folders.iter().map(|name| format!("{name}/")).collect();
        let names: Vec<&String> = folders.iter().chain(&self.files).collect();
        let cut = if self.cut { " (more names than are looked at)" } else { "" };
        if names.is_empty() { "it is empty".to_owned() } else { format!("it holds {}{cut}", list(&names)) }
    }
}

fn list(names: &[&String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| name_for_message(name)).collect();
    if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

fn config(path: &Path) -> Result<Map<String, Value>, String> {
    let bytes = Bytes::open(path).map_err(|error| error.to_string())?;
    if bytes.length() > LONGEST_CONFIG {
        return Err(format!("it has {} bytes", bytes.length()));
    }
    let text = bytes.read_range(0, bytes.length()).map_err(|error| error.to_string())?.unwrap_or_default();
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let config = json::object(&mut reader).and_then(|config| reader.end().map(|()| config));
    config.map_err(|error| name_for_message(&error.to_string()))
}

/// The class of the whole model, by the conventions of the libraries that write such folders.
fn root_class(config: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| config.get(key)?.as_str();
    // diffusers
    if let Some(class) = text("_class_name") {
        return is_name(class).then(|| format!("diffusers.{class}"));
    }
    let class = config.get("architectures")?.get(0)?.as_str().filter(|class| is_name(class))?;
    // Models with code of their own name its file.
    let mapped = config.get("auto_map").and_then(Value::as_object);
    let own = mapped.into_iter().flatten().filter_map(|(_, place)| {
        let place = place.as_str()?;
        place.rsplit_once("--").map_or(Some(place), |(_, place)| Some(place))
    });
    let mut own = own.filter(|place| place.rsplit('.').next() == Some(class) && place.split('.').all(is_name));
    if let Some(own) = own.next() {
        return Some(own.to_owned());
    }
    let family = text("model_type")?.replace('-', "_");
    is_name(&family).then(|| format!("transformers.models.{family}.modeling_{family}.{class}"))
}

fn is_name(text: &str) -> bool {
    text.len() <= 200
        && text.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && text.chars().all(|character| character.is_alphanumeric() || character == '_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_listing_that_was_cut_says_so() {
        let folder = tempfile::tempdir().unwrap();
        for name in 0..5 {
            std::fs::write(folder.path().join(format!("{name}.txt")), "").unwrap();
        }
        assert!(!Listing::read(folder.path(), 5).unwrap().cut);
        let listing = Listing::read(folder.path(), 4).unwrap();
        assert!(listing.cut && listing.files.len() == 4);
        assert!(listing.checkpoint().unwrap_err().contains("more names than are looked at"));
    }
}
