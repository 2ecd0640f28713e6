//! Folders: as Hugging Face keeps models, as `torch.distributed.checkpoint` writes them, or with one checkpoint in them.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::name_for_message;
use super::mount::Kind;
use super::{Bytes, Checkpoint, Content, Error, Format, config, dcp, detect, llama, mount, sharded};

/// What diffusers keeps a pipeline's components in.
const PIPELINE: &str = "model_index.json";
/// A pipeline has fewer than ten.
const MOST_COMPONENTS: usize = 100;
/// Names beside the weights that are looked at for others.
const MOST_BESIDE: usize = 10_000;
/// What peft keeps an adapter's configuration in.
const ADAPTER_CONFIG: &str = "adapter_config.json";
/// Names of a folder that are looked at, where none of them is usual.
const MOST_NAMES: usize = 200_000;
/// Names in an error message.
const NAMED: usize = 12;
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
    if mount::is_file(&path.join(dcp::METADATA)) {
        return Checkpoint::open_file(path.join(dcp::METADATA).as_path(), asked);
    }
    let components = path.join(PIPELINE);
    if mount::is_file(&components) {
        return pipeline(path, &components, asked);
    }
    // A folder may hold any number of other files: the usual names are asked for, and the rest listed only without them.
    let usual = USUAL.iter().find(|usual| mount::is_file(&path.join(usual)));
    if let Some(parts) = llama::Parts::in_folder(path).filter(|_| usual.is_none()) {
        return Checkpoint::of_parts(path, &parts, asked);
    }
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
    let config_path = path.join(config::CONFIG);
    if mount::is_file(&config_path) {
        checkpoint.format = Format::HfFolder;
        match config::read(&config_path) {
            Ok(config) => {
                checkpoint.root_class = root_class(&config);
                checkpoint.metadata.insert("config".to_owned(), Value::Object(config));
            }
            Err(why) => checkpoint.warnings.push(format!("config.json was not used: {why}.")),
        }
    }
    let adapter = path.join(ADAPTER_CONFIG);
    if mount::is_file(&adapter)
        && checkpoint.metadata.get("file").and_then(Value::as_str).is_some_and(|name| name.starts_with("adapter_model"))
    {
        checkpoint.format = Format::PeftAdapter;
        match config::read(&adapter) {
            Ok(config) => {
                checkpoint.metadata.insert("adapter_config".to_owned(), Value::Object(config));
            }
            Err(why) => checkpoint.warnings.push(format!("{ADAPTER_CONFIG} was not used: {why}.")),
        }
    }
    name_strays(&mut checkpoint);
    Ok(checkpoint)
}

/// Tell which other files with weights lie beside those that were read. What trainers leave (optimizers, arguments) is none.
fn name_strays(checkpoint: &mut Checkpoint) {
    let Ok(listing) = Listing::read(&checkpoint.path, MOST_BESIDE) else { return };
    let read: Vec<_> = checkpoint.sources_of_bytes().into_iter().map(Bytes::path).collect();
    let is_read = |name: &str| read.iter().any(|path| path.file_name().is_some_and(|read| read == name));
    let trains = |name: &str| {
        ["optimizer", "scheduler", "training_args", "rng_state", "random_states"]
            .iter()
            .any(|word| name.starts_with(word))
    };
    let strays: Vec<&String> = listing.weights().filter(|name| !is_read(name) && !trains(name)).collect();
    // Pointers of an index are told as what is missing.
    let strays: Vec<&String> =
        strays.into_iter().filter(|name| !detect::is_lfs_pointer(&checkpoint.path.join(name))).collect();
    if !strays.is_empty() {
        checkpoint.warnings.push(format!("Also in the folder, and not read: {}.", list(&strays)));
    }
    let hidden: Vec<&String> = listing.apple.iter().collect();
    if !hidden.is_empty() {
        checkpoint.warnings.push(format!("Of macOS (AppleDouble), and no checkpoints: {}.", list(&hidden)));
    }
}

/// The components of a diffusers pipeline with weights, side by side: each under its name.
fn pipeline(path: &Path, index: &Path, asked: Option<&str>) -> Result<Checkpoint, Error> {
    let described = config::read(index)
        .map_err(|why| Error::Format { path: index.to_path_buf(), what: format!("is no list of components: {why}") })?;
    let content = Content::StateDict { module_versions: Vec::new() };
    let mut all = Checkpoint { shards: 0, ..Checkpoint::new(path, Format::DiffusersPipeline, content) };
    let mut found = Vec::new();
    for (name, of) in &described {
        let Some(class) = of.get(1).and_then(Value::as_str).filter(|_| sharded::is_plain(name)) else { continue };
        let folder = path.join(name);
        // A pipeline has no pipelines in it, nor itself.
        if found.len() >= MOST_COMPONENTS || !mount::is_folder(&folder) || mount::is_file(&folder.join(PIPELINE)) {
            continue;
        }
        // Tokenizers and schedulers have no weights.
        let listing = Listing::read(&folder, MOST_NAMES)?;
        if listing.weights().next().is_none() {
            continue;
        }
        let part = open(&folder, None)?;
        if !matches!(part.content, Content::StateDict { .. }) {
            continue;
        }
        found.push(format!("`{}` ({})", name_for_message(name), name_for_message(class)));
        all.add_part(name, part);
    }
    if found.is_empty() {
        let what = "is a pipeline of diffusers without weights: its components' folders are not there; fetch them";
        return Err(Error::NotAFile { path: path.to_path_buf(), what: what.to_owned() });
    }
    all.warnings.insert(0, format!("A pipeline of diffusers: {} hold weights; --key takes one.", found.join(", ")));
    all.dicts = all.metadata.keys().cloned().collect();
    all.metadata.insert("model_index".to_owned(), Value::Object(described));
    all.cleared(asked)
}

/// The names in a folder, in order.
struct Listing {
    files: Vec<String>,
    folders: Vec<String>,
    /// What macOS keeps beside files on foreign disks (`._model.safetensors`).
    apple: Vec<String>,
    /// Whether there are names that were not looked at.
    cut: bool,
}

impl Listing {
    /// List at most this many names.
    fn read(path: &Path, most: usize) -> Result<Listing, Error> {
        let io_error = |source| Error::Io { path: path.to_path_buf(), source };
        let mut listing = Listing { files: Vec::new(), folders: Vec::new(), apple: Vec::new(), cut: false };
        let mount::Names { list, cut } = mount::names(path, most).map_err(io_error)?;
        for (name, kind) in list {
            match kind {
                Some(Kind::File) if name.starts_with("._") => listing.apple.push(name),
                Some(Kind::File) => listing.files.push(name),
                Some(Kind::Folder) => listing.folders.push(name),
                None => {}
            }
        }
        listing.cut = cut;
        listing.files.sort_unstable();
        listing.folders.sort_unstable();
        listing.apple.sort_unstable();
        Ok(listing)
    }

    /// Files that can be checkpoints.
    fn weights(&self) -> impl Iterator<Item = &String> {
        self.files.iter().filter(|name| {
            let extension = Path::new(name.as_str()).extension();
            extension.is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
        })
    }

    /// The file to open: the only index, or the only checkpoint.
    fn checkpoint(&self) -> Result<&str, String> {
        // Variants stand in the middle: `model.safetensors.index.fp16.json`.
        let indices = self.files.iter().filter(|name| name.contains(".index.") && name.ends_with(".json"));
        let (indices, files): (Vec<&String>, Vec<&String>) = (indices.collect(), self.weights().collect());
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
