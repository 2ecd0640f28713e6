//! Sharded checkpoints: a `*.index.json` that says which file each tensor is in, and the files beside it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use indexmap::IndexMap;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::error::name_for_message;
use super::{
    Bytes, Checkpoint, Content, Error, Format, PickleReport, detect, safetensors, state_dict, torch_legacy, torch_zip,
};

/// The longest index that is read, in bytes: 100,000 tensors take a tenth.
const LONGEST_INDEX: u64 = 64 << 20;
/// Models of a trillion parameters come in some hundreds.
const MOST_SHARDS: usize = 10_000;
/// So many names are given in a warning.
const NAMED: usize = 3;
/// Warnings of the shards themselves.
const MOST_WARNINGS: usize = 50;
/// Values beside the tensors.
const MOST_METADATA: usize = 10_000;

/// The content of an index.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    metadata: Map<String, Value>,
    weight_map: WeightMap,
}

/// The shard of each tensor.
#[derive(Debug)]
struct WeightMap(IndexMap<String, String>);

/// The index in a file, if it is one: a JSON object with a `weight_map`.
///
/// # Errors
/// The file cannot be read, or is an index that is damaged.
pub(super) fn index(path: &Path, bytes: &Bytes) -> Result<Option<Index>, Error> {
    let mut head = [0u8; 64];
    if !bytes.read_at_most(0, &mut head)?.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let wanted = b"\"weight_map\"";
    let text = if bytes.length() > LONGEST_INDEX { None } else { bytes.read_range(0, bytes.length())? };
    let Some(text) = text.filter(|text| text.windows(wanted.len()).any(|window| window == wanted)) else {
        return Ok(None);
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| Error::Format {
        path: path.to_path_buf(),
        what: format!("is no sound index of shards: {}; download it again", name_for_message(&error.to_string())),
    })
}

/// Read the headers of all shards of an index.
///
/// # Errors
/// A shard's name leads out of the folder, a shard is damaged, or none is there.
pub(super) fn read(path: &Path, index_bytes: u64, index: Index) -> Result<Checkpoint, Error> {
    let WeightMap(weight_map) = index.weight_map;
    let error = |what: String| Error::Format { path: path.to_path_buf(), what };
    let mut names: Vec<&str> = weight_map.values().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST_SHARDS {
        return Err(error(format!("names {} shards; {MOST_SHARDS} are read at most", names.len())));
    }
    for name in &names {
        if !is_plain(name) {
            let tensor = weight_map.iter().find(|(_, shard)| shard == name).map_or("", |(tensor, _)| tensor.as_str());
            return Err(error(format!(
                "gives `{}` as the shard of tensor `{}`; only names of files in the same folder are followed",
                name_for_message(name),
                name_for_message(tensor)
            )));
        }
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut all = Merged::new(path, &weight_map);
    all.checkpoint.bytes = index_bytes;
    let mut missing = Vec::new();
    for name in &names {
        let file = folder.join(name);
        match std::fs::metadata(&file) {
            Ok(found) if found.is_file() => all.add(name, read_shard(&file)?),
            _ => missing.push(*name),
        }
    }
    if missing.len() == names.len() {
        let what = match missing.first() {
            Some(first) => format!(
                "its shards ({} in number, the first is `{}`) are not beside it; fetch them",
                names.len(),
                name_for_message(first)
            ),
            None => "names no shards".to_owned(),
        };
        return Err(error(what));
    }
    Ok(all.finish(&missing, index.metadata))
}

/// A name that cannot lead elsewhere, on any system.
pub(super) fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}

/// One shard: a safetensors file or a `torch.save` file, never another index.
fn read_shard(path: &Path) -> Result<Checkpoint, Error> {
    let bytes = Bytes::open(path)?.closed();
    let shard = match detect::detect(path, &bytes)? {
        Format::Safetensors => safetensors::read(path, bytes)?,
        Format::TorchLegacy => torch_legacy::read(path, bytes)?,
        _ => torch_zip::open(path, bytes)?,
    };
    match shard.content {
        Content::StateDict { .. } => Ok(shard),
        Content::Modules(_) => Err(Error::Format {
            path: path.to_path_buf(),
            what: "holds modules; the shard of an index can only hold tensors".to_owned(),
        }),
    }
}

/// The shards so far as one checkpoint.
struct Merged<'a> {
    checkpoint: Checkpoint,
    weight_map: &'a IndexMap<String, String>,
    seen: HashSet<&'a str>,
    /// Places of the pickles' globals in the report.
    globals: HashMap<String, usize>,
    versions: Vec<(String, Option<i64>)>,
    extra: Vec<String>,
    /// Tensors that are also in another shard than the index says.
    copies: usize,
}

impl<'a> Merged<'a> {
    fn new(path: &Path, weight_map: &'a IndexMap<String, String>) -> Merged<'a> {
        let checkpoint = Checkpoint {
            path: path.to_path_buf(),
            format: Format::ShardedTorch,
            bytes: 0,
            shards: 0,
            tensors: Vec::with_capacity(weight_map.len()),
            storages: Vec::with_capacity(weight_map.len()),
            content: Content::StateDict { module_versions: Vec::new() },
            metadata: Map::new(),
            wrappers: Vec::new(),
            root_class: None,
            pickle: None,
            sources: Vec::new(),
            ops: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
        };
        Merged {
            checkpoint,
            weight_map,
            seen: HashSet::with_capacity(weight_map.len()),
            globals: HashMap::new(),
            versions: Vec::new(),
            extra: Vec::new(),
            copies: 0,
        }
    }

    fn add(&mut self, file: &str, shard: Checkpoint) {
        let all = &mut self.checkpoint;
        if shard.format == Format::Safetensors {
            all.format = Format::ShardedSafetensors;
        }
        let (first_file, first_storage) = (all.files.len(), all.storages.len());
        // What all names of one shard have in front of them may be in front of some names only.
        let prefix: String =
            shard.wrappers.iter().filter(|wrapper| wrapper.ends_with('.')).map(String::as_str).collect();
        let mut places: Vec<Option<usize>> = Vec::with_capacity(shard.tensors.len());
        for mut tensor in shard.tensors {
            tensor.name.insert_str(0, &prefix);
            match self.weight_map.get_key_value(tensor.name.as_str()) {
                Some((_, place)) if place != file => {
                    self.copies += 1;
                    places.push(None);
                    continue;
                }
                Some((name, _)) => {
                    self.seen.insert(name.as_str());
                }
                None => self.extra.push(tensor.name.to_string()),
            }
            places.push(Some(all.tensors.len()));
            tensor.storage = tensor.storage.map(|storage| storage + first_storage);
            tensor.shared_with = tensor.shared_with.and_then(|elder| places.get(elder).copied().flatten());
            all.tensors.push(tensor);
        }
        all.storages.extend(shard.storages.into_iter().map(|mut storage| {
            storage.file += first_file;
            storage
        }));
        all.files.extend(shard.files);
        all.bytes = all.bytes.saturating_add(shard.bytes);
        all.shards += 1;
        for (key, value) in shard.metadata {
            if all.metadata.len() < MOST_METADATA {
                all.metadata.entry(key).or_insert(value);
            }
        }
        let room = MOST_WARNINGS.saturating_sub(all.warnings.len());
        let shown = name_for_message(file);
        all.warnings.extend(shard.warnings.into_iter().take(room).map(|warning| format!("{shown}: {warning}")));
        if let Content::StateDict { module_versions } = shard.content {
            let prefixed = module_versions.into_iter().map(|(path, version)| (format!("{prefix}{path}"), version));
            self.versions.extend(prefixed);
        }
        if let Some(report) = shard.pickle {
            self.add_report(report);
        }
    }

    fn add_report(&mut self, report: PickleReport) {
        let merged = self.checkpoint.pickle.get_or_insert_default();
        for global in report.globals {
            match self.globals.get(&global.name).and_then(|&place| merged.globals.get_mut(place)) {
                Some(known) => known.count += global.count,
                None => {
                    self.globals.insert(global.name.clone(), merged.globals.len());
                    merged.globals.push(global);
                }
            }
        }
        merged.refused.extend(report.refused);
    }

    fn finish(mut self, missing: &[&str], metadata: Map<String, Value>) -> Checkpoint {
        let absent: Vec<&str> =
            self.weight_map.keys().map(String::as_str).filter(|name| !self.seen.contains(name)).collect();
        let all = &mut self.checkpoint;
        if !missing.is_empty() {
            all.warnings.push(format!(
                "Missing shards: {} of {} ({}). Tensors of the index that are not shown: {}.",
                missing.len(),
                missing.len() + all.shards,
                some(missing),
                absent.len()
            ));
        } else if !absent.is_empty() {
            all.warnings.push(format!(
                "Tensors of the index that are not in the shards it gives for them: {} ({}).",
                absent.len(),
                some(&absent)
            ));
        }
        if !self.extra.is_empty() {
            let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
            all.warnings.push(format!(
                "Tensors of the shards that are not in the index: {} ({}).",
                extra.len(),
                some(&extra)
            ));
        }
        if self.copies > 0 {
            let copies = self.copies;
            all.warnings.push(format!("Tensors that are in another shard too; the one of the index counts: {copies}."));
        }
        if missing.is_empty()
            && let Some(declared) = metadata.get("total_size").and_then(Value::as_u64)
        {
            let bytes = |shared: bool| {
                let counted = all.tensors.iter().filter(|tensor| shared || tensor.shared_with.is_none());
                counted.fold(0u64, |sum, tensor| {
                    sum.saturating_add(tensor.elements().saturating_mul(tensor.dtype.size() as u64))
                })
            };
            if declared != bytes(false) && declared != bytes(true) {
                let found = bytes(true);
                all.warnings.push(format!("The index says that the tensors have {declared} bytes; they have {found}."));
            }
        }
        all.metadata.extend(metadata);
        let mut seen = HashSet::new();
        self.versions.retain(|(path, _)| seen.insert(path.clone()));
        state_dict::strip_prefixes(&mut all.tensors, &mut self.versions, &mut all.wrappers);
        all.content = Content::StateDict { module_versions: self.versions };
        self.checkpoint
    }
}

/// The first names of a list, for a message.
fn some(names: &[&str]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{}`", name_for_message(name))).collect();
    if names.len() > NAMED {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WeightMap, D::Error> {
        deserializer.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map from tensors to files")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut found = IndexMap::new();
        while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
            if found.contains_key(&tensor) {
                return Err(A::Error::custom(format!("the tensor `{tensor}` is there twice")));
            }
            found.insert(tensor, shard);
        }
        Ok(WeightMap(found))
    }
}
