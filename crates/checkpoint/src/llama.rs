//! The parts of a model in Llama's own format, joined: `consolidated.00.pth` and the others hold a slice of each matrix, cut
//! along its outputs or its inputs, and all of what is small.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use serde_json::{Map, Value, json};

use super::error::name_for_message;
use super::made::Made;
use super::tensor::StorageOffset;
use super::{Bytes, Checkpoint, Error, Format, Storage, Tensor, TensorId, config, mount};

/// What Llama keeps a model's hyper-parameters in, beside its parts.
pub(super) const PARAMS: &str = "params.json";
/// Names of a folder that are looked at.
const MOST_NAMES: usize = 100_000;
/// Models come in up to 16 parts.
const MOST_PARTS: usize = 256;
/// Cut along the outputs, which are axis 0.
const BY_OUTPUTS: [&str; 6] = ["wq", "wk", "wv", "w1", "w3", "output"];
/// Cut along the inputs, which are axis 1.
const BY_INPUTS: [&str; 2] = ["wo", "w2"];
/// The table of tokens: cut along its features (Llama 1 and 2) or its rows (3).
const TABLE: &str = "tok_embeddings";
/// What every part has whole.
const WHOLE: [&str; 4] = ["attention_norm", "ffn_norm", "norm", "rope"];

/// Its parts beside each other, by their numbers.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    /// Numbers and names, in their order.
    found: Vec<(usize, String)>,
}

impl Parts {
    /// Those in a folder; `None` where there are not two.
    pub fn in_folder(folder: &Path) -> Option<Parts> {
        let names = mount::names(folder, MOST_NAMES).ok()?.list;
        let mut found: Vec<(usize, String)> =
            names.into_iter().filter_map(|(name, _)| Some((number(&name)?, name))).collect();
        found.sort();
        (found.len() > 1 && found.len() <= MOST_PARTS).then(|| Parts { folder: folder.to_owned(), found })
    }

    /// Those beside a file that is one.
    pub fn beside(path: &Path) -> Option<Parts> {
        number(path.file_name()?.to_str()?)?;
        let folder = mount::absolute(path)?.parent()?.to_owned();
        Parts::in_folder(&folder)
    }

    /// The first of them.
    pub fn first(&self) -> PathBuf {
        self.found.first().map_or_else(|| self.folder.clone(), |(_, name)| self.folder.join(name))
    }

    /// The joined model, or why it cannot be joined, in a sentence.
    ///
    /// # Errors
    /// A part cannot be read.
    pub fn join(&self, path: &Path) -> Result<Result<Checkpoint, String>, Error> {
        let numbers = self.found.iter().map(|(number, _)| *number);
        if numbers.enumerate().any(|(at, number)| at != number) {
            return Ok(Err("parts are missing".to_owned()));
        }
        let mut parts = Vec::with_capacity(self.found.len());
        for (_, name) in &self.found {
            let path = self.folder.join(name);
            parts.push(Checkpoint::parse(&path, Bytes::open(&path)?, None)?);
        }
        Ok(joined(path, &self.folder, parts))
    }
}

/// The number of a part, by its name: `consolidated.00.pth`.
fn number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("consolidated.")?.strip_suffix(".pth")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The hyper-parameters beside a part.
pub(super) fn params(folder: &Path) -> Option<Map<String, Value>> {
    let path = folder.join(PARAMS);
    mount::is_file(&path).then(|| config::read(&path).ok())?
}

/// In how many parts the model of a part is, where its shapes and the hyper-parameters say so.
pub(super) fn count(checkpoint: &Checkpoint, params: Option<&Map<String, Value>>) -> Option<usize> {
    let shape = |name: &str| Some(checkpoint.tensors.iter().find(|tensor| tensor.name == name)?.shape.as_slice());
    let table = shape("tok_embeddings.weight")?;
    let &[features] = shape("norm.weight")? else { return None };
    let &[rows, columns] = table else { return None };
    let vocabulary = params.and_then(|params| params.get("vocab_size")?.as_u64());
    let quotient = |whole: u64, part: u64| (part > 0 && whole.is_multiple_of(part)).then(|| whole / part);
    let count = match quotient(features, columns)? {
        1 => quotient(vocabulary?, rows)?,
        count => count,
    };
    usize::try_from(count).ok()
}

/// How a tensor of this name is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Along(usize),
    Whole,
}

fn joined(path: &Path, folder: &Path, parts: Vec<Checkpoint>) -> Result<Checkpoint, String> {
    let count = parts.len();
    let params = params(folder);
    let names: Vec<HashMap<CompactString, TensorId, RandomState>> = parts
        .iter()
        .map(|part| part.tensors.iter().enumerate().map(|(id, tensor)| (tensor.name.clone(), id)).collect())
        .collect();
    let first = parts.first().ok_or("there are no parts")?;
    if let Some(odd) = names.iter().position(|own| own.len() != first.tensors.len()) {
        return Err(format!(
            "part {odd} has {} tensors, part 0 has {}",
            parts.get(odd).map_or(0, |part| part.tensors.len()),
            first.tensors.len()
        ));
    }
    let width =
        first.tensors.iter().find(|tensor| tensor.name == "norm.weight").and_then(|norm| norm.shape.first().copied());
    let width = width.ok_or("there is no `norm.weight` to tell the model's width")?;
    let mut plan = Vec::with_capacity(first.tensors.len());
    for tensor in &first.tensors {
        let same: Option<Vec<&Tensor>> =
            parts.iter().zip(&names).map(|(part, names)| part.tensors.get(*names.get(&tensor.name)?)).collect();
        let shown = name_for_message(&tensor.name);
        let same = same.ok_or_else(|| format!("not every part has `{shown}`"))?;
        if same.iter().any(|other| (other.dtype, &other.shape) != (tensor.dtype, &tensor.shape)) {
            return Err(format!("`{shown}` has another type or shape in another part"));
        }
        let cut = cut(tensor, width, count as u64, params.as_ref())
            .ok_or_else(|| format!("how `{shown}` is cut is not known"))?;
        plan.push((cut, same.into_iter().cloned().collect::<Vec<Tensor>>()));
    }
    let mut all = Checkpoint {
        shards: 0,
        ..Checkpoint::new(path, Format::ShardedTorch, super::Content::StateDict { module_versions: Vec::new() })
    };
    let mut first_storages = Vec::with_capacity(count);
    let mut warnings = Vec::new();
    for part in parts {
        let first_file = all.files.len() as u32;
        first_storages.push(all.storages.len() as u32);
        all.storages
            .extend(part.storages.into_iter().map(|storage| Storage { file: storage.file + first_file, ..storage }));
        all.files.extend(part.files);
        all.bytes = all.bytes.saturating_add(part.bytes);
        all.shards += 1;
        all.metadata.extend(part.metadata);
        all.pickle = all.pickle.take().or(part.pickle);
        warnings.extend(part.warnings);
    }
    warnings.dedup();
    all.warnings = warnings;
    let (mut along, mut whole) = ([0usize; 2], Vec::new());
    for (cut, same) in plan {
        let here = |(tensor, first): (Tensor, &u32)| Tensor {
            storage: tensor.storage.map(|storage| storage + first),
            shared_with: None,
            ..tensor
        };
        let mut same: Vec<Tensor> = same.into_iter().zip(&first_storages).map(here).collect();
        match cut {
            Cut::Whole => {
                whole.push((all.tensors.len(), same.split_off(1)));
                all.tensors.extend(same);
            }
            Cut::Along(axis) => {
                if let Some(along) = along.get_mut(axis) {
                    *along += 1;
                }
                let tensor = all.join(axis, same);
                all.tensors.extend(tensor);
            }
        }
    }
    for (id, others) in &whole {
        all.held_alike(*id, others)?;
    }
    let how = json!({"parts": count, "along_axis_0": along[0], "along_axis_1": along[1], "whole_in_each": whole.len()});
    all.metadata.insert("joined".to_owned(), how);
    all.warnings.insert(
        0,
        format!(
            "Joined of {count} tensor-parallel parts (Llama's own format): {} tensors along axis 0, {} along axis 1, {} that every part has, found equal. \
             The rows of wq and wk stand for RoPE of neighbours: traditional=True of mlx.nn.RoPE.",
            along[0],
            along[1],
            whole.len()
        ),
    );
    if let Some(params) = params {
        all.metadata.insert("params".to_owned(), Value::Object(params));
    }
    Ok(all)
}

/// How a tensor is cut, where its name says it and its shape agrees.
fn cut(tensor: &Tensor, width: u64, count: u64, params: Option<&Map<String, Value>>) -> Option<Cut> {
    let (path, _) = tensor.name.rsplit_once('.')?;
    let layer = path.rsplit('.').next()?;
    let number = |key: &str| params.and_then(|params| params.get(key)?.as_u64());
    match tensor.shape.as_slice() {
        [_] if WHOLE.contains(&layer) => Some(Cut::Whole),
        [_] if tensor.name.ends_with(".bias") && BY_OUTPUTS.contains(&layer) => Some(Cut::Along(0)),
        &[rows, columns] if BY_OUTPUTS.contains(&layer) => {
            // Keys and values of fewer heads than there are parts are in several of them.
            let heads = number("n_kv_heads").filter(|_| matches!(layer, "wk" | "wv"));
            let own = heads.zip(number("n_heads")).and_then(|(heads, all)| heads.checked_mul(width.checked_div(all)?));
            let fits = columns == width && own.is_none_or(|own| Some(own) == rows.checked_mul(count));
            fits.then_some(Cut::Along(0))
        }
        &[rows, _] if BY_INPUTS.contains(&layer) => (rows == width).then_some(Cut::Along(1)),
        &[_, columns] if layer == TABLE => match columns {
            _ if columns == width => Some(Cut::Along(0)),
            _ if columns.checked_mul(count) == Some(width) => Some(Cut::Along(1)),
            _ => None,
        },
        _ => None,
    }
}

impl Checkpoint {
    /// Parts in this checkpoint's files as one tensor.
    fn join(&mut self, axis: usize, parts: Vec<Tensor>) -> Option<Tensor> {
        let first = parts.first()?.clone();
        let mut shape = first.shape.clone();
        *shape.get_mut(axis)? =
            parts.iter().filter_map(|part| part.shape.get(axis)).fold(0u64, |sum, &length| sum.saturating_add(length));
        let file =
            first.storage.and_then(|storage| self.storages.get(storage as usize)).map_or(0, |storage| storage.file);
        let problem = parts.iter().find_map(|part| part.problem.clone());
        let mut tensor = Tensor { shape, strides: None, offset: 0, problem, ..first };
        let bytes = tensor.elements().saturating_mul(tensor.dtype.size() as u64);
        tensor.storage = Some(self.storages.len() as u32);
        let offset = StorageOffset::Made(self.made.len() as u32);
        self.storages.push(Storage { file, offset, bytes, big_endian: false });
        self.made.push(Made::Joined { axis, parts });
        Some(tensor)
    }

    /// Whether the other parts have the same numbers as the first.
    fn held_alike(&self, id: TensorId, others: &[Tensor]) -> Result<(), String> {
        let Some(tensor) = self.tensors.get(id) else { return Ok(()) };
        let shown = name_for_message(&tensor.name);
        let own = self.read(id).map_err(|error| error.to_string())?;
        for other in others {
            let read = super::TensorReader::of(self, other).and_then(|mut reader| reader.whole());
            if read.map_err(|error| error.to_string())?.bytes != own.bytes {
                return Err(format!("every part should have the same `{shown}`, and they differ"));
            }
        }
        Ok(())
    }
}
