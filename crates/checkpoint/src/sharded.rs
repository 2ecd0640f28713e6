//! Sharded checkpoints: a `*.index.json` that says which file each tensor is in, and the files beside it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use indexmap::{IndexMap, IndexSet};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::error::name_for_message;
use super::progress::{self, Of};
use super::{
    Absent, AbsentKind, Bytes, Checkpoint, Content, Error, FileId, Format, PickleReport, detect, json, mount,
    safetensors, torch_legacy, zip,
};

/// The longest index that is read, in bytes: 100,000 tensors take a tenth.
const LONGEST_INDEX: u64 = 64 << 20;
/// Models of a trillion parameters come in some hundreds.
const MOST_SHARDS: usize = 10_000;
/// Tensors of all shards together.
const MOST_TENSORS: usize = 2_000_000;
/// Bytes of all shards together that are no tensors': headers, pickles, directories.
const MOST_HEADER_BYTES: u64 = 1 << 30;
/// Bytes of the names of all shards' tensors and modules.
const MOST_NAME_BYTES: usize = 256 << 20;
/// So many names are given in a warning.
const NAMED: usize = 3;
/// Warnings of the shards themselves.
const MOST_WARNINGS: usize = 50;
/// Values beside the tensors.
const MOST_METADATA: usize = 10_000;
/// Globals that all pickles mention, and calls that they ask for.
const MOST_GLOBALS: usize = 10_000;

/// The content of an index.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    #[serde(default, deserialize_with = "json::object")]
    metadata: Map<String, Value>,
    weight_map: WeightMap,
}

/// The shard of each tensor.
#[derive(Debug)]
struct WeightMap {
    /// Names of shards, each once.
    shards: IndexSet<String>,
    /// The number of each tensor's shard in that list.
    places: IndexMap<String, usize>,
}

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

/// Read the headers of all shards of an index, each file once however many of the names lead to it.
///
/// # Errors
/// A shard's name leads out of the folder, a shard is damaged, none is there, or together they hold more than is read.
pub(super) fn read(path: &Path, index_bytes: u64, index: Index) -> Result<Checkpoint, Error> {
    let WeightMap { shards, places } = index.weight_map;
    let error = |what: String| Error::Format { path: path.to_path_buf(), what };
    if shards.len() > MOST_SHARDS {
        return Err(error(format!("names {} shards; {MOST_SHARDS} are read at most", shards.len())));
    }
    if let Some((stray, name)) = shards.iter().enumerate().find(|(_, name)| !is_plain(name)) {
        let tensor = places.iter().find(|(_, shard)| **shard == stray).map_or("", |(tensor, _)| tensor.as_str());
        return Err(error(format!(
            "gives `{}` as the shard of tensor `{}`; only names of files in the same folder are followed",
            name_for_message(name),
            name_for_message(tensor)
        )));
    }
    let files = Files::find(path.parent().unwrap_or(Path::new("")), &shards);
    if files.list.is_empty() {
        let what = match files.missing.first().or(files.pointers.first()) {
            Some(first) if files.missing.is_empty() => format!(
                "its shards ({} in number, the first is `{}`) are Git LFS pointers, not the shards themselves; fetch them with `git lfs pull`",
                shards.len(),
                name_for_message(first)
            ),
            Some(first) => format!(
                "its shards ({} in number, the first is `{}`) are not beside it; fetch them",
                shards.len(),
                name_for_message(first)
            ),
            None => "names no shards".to_owned(),
        };
        return Err(error(what));
    }
    let mut all = Merged::new(path, &places, &files.of_shard);
    all.checkpoint.bytes = index_bytes;
    for (number, (name, file)) in files.list.iter().enumerate() {
        progress::tell(Of::Files, number as u64, files.list.len() as u64);
        all.add(number, name, read_shard(file)?).map_err(error)?;
    }
    Ok(all.finish(&files, index.metadata))
}

/// The files that the names of shards lead to.
struct Files<'a> {
    /// Each file once: the first of its names, in their order, and its path.
    list: Vec<(&'a str, PathBuf)>,
    /// The number of each shard's file in the list; `None` where it is missing.
    of_shard: Vec<Option<usize>>,
    missing: Vec<&'a str>,
    /// Git LFS pointers in the place of shards.
    pointers: Vec<&'a str>,
    /// Further names of files in the list.
    links: Vec<&'a str>,
}

impl<'a> Files<'a> {
    fn find(folder: &Path, shards: &'a IndexSet<String>) -> Files<'a> {
        let mut sorted: Vec<(usize, &str)> = shards.iter().map(String::as_str).enumerate().collect();
        sorted.sort_unstable_by_key(|(_, name)| *name);
        let mut files = Files {
            list: Vec::new(),
            of_shard: vec![None; shards.len()],
            missing: Vec::new(),
            pointers: Vec::new(),
            links: Vec::new(),
        };
        mount::expect(&sorted.iter().map(|(_, name)| folder.join(name)).collect::<Vec<_>>());
        let mut known: HashMap<FileId, usize> = HashMap::new();
        for (shard, name) in sorted {
            let path = folder.join(name);
            let Some(id) = FileId::of(&path) else {
                files.missing.push(name);
                continue;
            };
            if detect::is_lfs_pointer(&path) {
                files.pointers.push(name);
                continue;
            }
            let number = *known.entry(id).or_insert(files.list.len());
            if number == files.list.len() {
                files.list.push((name, path));
            } else {
                files.links.push(name);
            }
            if let Some(place) = files.of_shard.get_mut(shard) {
                *place = Some(number);
            }
        }
        files
    }
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
        Format::TorchLegacy => torch_legacy::read(path, bytes, None)?,
        _ => zip::open(path, bytes, None)?,
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
    places: &'a IndexMap<String, usize>,
    /// The file of each shard that the places name.
    of_shard: &'a [Option<usize>],
    /// Whether each tensor of the index was found where the index says.
    seen: Vec<bool>,
    /// Places of the pickles' globals in the report.
    globals: HashMap<String, usize>,
    versions: Vec<(String, Option<i64>)>,
    extra: usize,
    /// The first names of those.
    named: Vec<String>,
    /// Tensors that are also in another shard than the index says.
    copies: usize,
    spent: Spent,
}

/// What was read so far, of all shards together.
#[derive(Debug, Default)]
struct Spent {
    tensors: usize,
    header_bytes: u64,
    name_bytes: usize,
}

impl Spent {
    fn add(&mut self, shard: &Checkpoint) -> Result<(), String> {
        let data = shard.storages.iter().fold(0u64, |sum, storage| sum.saturating_add(storage.bytes));
        let mut names: usize = shard.tensors.iter().map(|tensor| tensor.name.len()).sum();
        if let Content::StateDict { module_versions } = &shard.content {
            names += module_versions.iter().map(|(path, _)| path.len()).sum::<usize>();
        }
        self.tensors += shard.tensors.len();
        self.header_bytes = self.header_bytes.saturating_add(shard.bytes.saturating_sub(data));
        self.name_bytes += names;
        let beyond = if self.tensors > MOST_TENSORS {
            format!("{MOST_TENSORS} tensors")
        } else if self.header_bytes > MOST_HEADER_BYTES {
            format!("{} MiB of headers", MOST_HEADER_BYTES >> 20)
        } else if self.name_bytes > MOST_NAME_BYTES {
            format!("{} MiB of names", MOST_NAME_BYTES >> 20)
        } else {
            return Ok(());
        };
        Err(format!("its shards hold more than {beyond} together, which no model does; open them one by one"))
    }
}

impl<'a> Merged<'a> {
    fn new(path: &Path, places: &'a IndexMap<String, usize>, of_shard: &'a [Option<usize>]) -> Merged<'a> {
        let checkpoint = Checkpoint {
            shards: 0,
            tensors: Vec::with_capacity(places.len()),
            storages: Vec::with_capacity(places.len()),
            ..Checkpoint::new(path, Format::ShardedTorch, Content::StateDict { module_versions: Vec::new() })
        };
        Merged {
            checkpoint,
            places,
            of_shard,
            seen: vec![false; places.len()],
            globals: HashMap::new(),
            versions: Vec::new(),
            extra: 0,
            named: Vec::new(),
            copies: 0,
            spent: Spent::default(),
        }
    }

    /// Add what a file holds.
    fn add(&mut self, file: usize, name: &str, shard: Checkpoint) -> Result<(), String> {
        self.spent.add(&shard)?;
        let all = &mut self.checkpoint;
        if shard.format == Format::Safetensors {
            all.format = Format::ShardedSafetensors;
        }
        // Bounds on shards and tensors keep both far from 32 bits.
        let (first_file, first_storage) = (all.files.len() as u32, all.storages.len() as u32);
        let mut places: Vec<Option<usize>> = Vec::with_capacity(shard.tensors.len());
        for mut tensor in shard.tensors {
            match self.places.get_full(tensor.name.as_str()) {
                Some((_, _, place)) if self.of_shard.get(*place) != Some(&Some(file)) => {
                    self.copies += 1;
                    places.push(None);
                    continue;
                }
                Some((number, ..)) => {
                    if let Some(seen) = self.seen.get_mut(number) {
                        *seen = true;
                    }
                }
                None => {
                    self.extra += 1;
                    if self.named.len() < NAMED {
                        self.named.push(tensor.name.to_string());
                    }
                }
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
        let shown = name_for_message(name);
        all.warnings.extend(shard.warnings.into_iter().take(room).map(|warning| format!("{shown}: {warning}")));
        if let Content::StateDict { module_versions } = shard.content {
            self.versions.extend(module_versions);
        }
        if let Some(report) = shard.pickle {
            self.add_report(report);
        }
        Ok(())
    }

    fn add_report(&mut self, report: PickleReport) {
        let merged = self.checkpoint.pickle.get_or_insert_default();
        for global in report.globals {
            match self.globals.get(&global.name).and_then(|&place| merged.globals.get_mut(place)) {
                Some(known) => known.count += global.count,
                None => {
                    if merged.globals.len() < MOST_GLOBALS {
                        self.globals.insert(global.name.clone(), merged.globals.len());
                        merged.globals.push(global);
                    }
                }
            }
        }
        let room = MOST_GLOBALS.saturating_sub(merged.refused.len());
        merged.refused.extend(report.refused.into_iter().take(room));
    }

    fn finish(mut self, files: &Files<'_>, metadata: Map<String, Value>) -> Checkpoint {
        let (missing, pointers) = (&files.missing, &files.pointers);
        let absent = || self.places.keys().zip(&self.seen).filter(|(_, seen)| !**seen).map(|(name, _)| name.as_str());
        let count = absent().count();
        let all = &mut self.checkpoint;
        let files_absent = |what: &str, way_out: &str| Absent {
            kind: AbsentKind::Shards,
            tensors: Vec::new(),
            what: what.to_owned(),
            way_out: way_out.to_owned(),
        };
        if !missing.is_empty() {
            let what = format!(
                "Missing shards: {} of {} ({}). Tensors of the index that are not shown: {count}.",
                missing.len(),
                self.of_shard.len(),
                some(missing.len(), missing.iter().copied()),
            );
            all.absent.push(files_absent(&what, "Fetch them first."));
            all.warnings.push(what);
        }
        if !pointers.is_empty() {
            let what = format!(
                "Shards that are Git LFS pointers, not the shards themselves: {} of {} ({}). Tensors of the index that are not shown: {count}.",
                pointers.len(),
                self.of_shard.len(),
                some(pointers.len(), pointers.iter().copied()),
            );
            let way_out = "Fetch them with `git lfs pull`.";
            all.absent.push(files_absent(&what, way_out));
            all.warnings.push(format!("{what} {way_out}"));
        }
        if missing.is_empty() && pointers.is_empty() && count > 0 {
            all.warnings.push(format!(
                "Tensors of the index that are not in the shards it gives for them: {count} ({}).",
                some(count, absent())
            ));
        }
        if !files.links.is_empty() {
            let (links, named) = (files.links.len(), some(files.links.len(), files.links.iter().copied()));
            all.warnings.push(format!(
                "Shards that are the same file as another one of the index, which is read once: {links} ({named})."
            ));
        }
        if self.extra > 0 {
            all.warnings.push(format!(
                "Tensors of the shards that are not in the index: {} ({}).",
                self.extra,
                some(self.extra, self.named.iter().map(String::as_str))
            ));
        }
        if self.copies > 0 {
            let copies = self.copies;
            all.warnings.push(format!("Tensors that are in another shard too; the one of the index counts: {copies}."));
        }
        if missing.is_empty()
            && pointers.is_empty()
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
        all.content = Content::StateDict { module_versions: self.versions };
        self.checkpoint
    }
}

/// The first of these names, for a message.
fn some<'n>(count: usize, names: impl Iterator<Item = &'n str>) -> String {
    let mut shown: Vec<String> = names.take(NAMED).map(|name| format!("`{}`", name_for_message(name))).collect();
    if count > NAMED {
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
        let mut found = WeightMap { shards: IndexSet::new(), places: IndexMap::new() };
        while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
            if found.places.contains_key(&tensor) {
                return Err(A::Error::custom(format!("the tensor `{tensor}` is there twice")));
            }
            let shard = found.shards.get_index_of(&shard).unwrap_or_else(|| found.shards.insert_full(shard).0);
            found.places.insert(tensor, shard);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Bytes, Dtype, Sizes, Tensor};

    /// A shard of so many tensors with names of so many bytes.
    fn shard(tensors: usize, name: usize) -> Checkpoint {
        let tensor = Tensor {
            name: "x".repeat(name).into(),
            dtype: Dtype::Float32,
            shape: Sizes::new(),
            strides: None,
            offset: 0,
            storage: None,
            requires_grad: false,
            shared_with: None,
            problem: None,
        };
        let content = Content::StateDict { module_versions: Vec::new() };
        let empty = Checkpoint::new(Path::new("a.safetensors"), Format::Safetensors, content);
        Checkpoint { tensors: vec![tensor; tensors], files: vec![Bytes::Static(b"")], bytes: 10 << 20, ..empty }
    }

    #[test]
    fn the_bounds_are_over_the_sum_of_all_shards() {
        for (shard, most, beyond) in [
            (shard(1_000, 0), 102, "1024 MiB of headers"),
            (Checkpoint { bytes: 0, ..shard(10_000, 0) }, 200, "2000000 tensors"),
            (Checkpoint { bytes: 0, ..shard(1_000, 3_000) }, 89, "256 MiB of names"),
        ] {
            let mut spent = Spent::default();
            for _ in 0..most {
                spent.add(&shard).unwrap();
            }
            let said = spent.add(&shard).unwrap_err();
            assert!(said.contains(beyond) && said.contains("together"), "{said}");
        }
    }
}
