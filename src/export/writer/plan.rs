//! Which files a conversion writes.

use std::path::Path;

use serde_json::Value;

use super::header::{self, Shard};
use super::{Error, Options};
use crate::export::state_dict::key_map;
use crate::files::{self, Inputs, Kind, Outputs, Wanted};
use t2m_checkpoint::Checkpoint;

/// The longest index of ours, in bytes.
const LONGEST_INDEX: u64 = 64 << 20;

/// Check what the call names, before it is known into how many files the weights go.
///
/// # Errors
/// Says what does.
pub fn check(inputs: &Inputs, options: &Options, texts: &[(&Path, Kind)]) -> Result<(), Error> {
    outputs(inputs, &options.target, &[], texts, options.force).map(drop)
}

/// The files of a conversion, held against what is read and what is there. Of several shards the target stays empty, of one
/// file the index: what is there goes, so both are among them either way.
pub(super) fn outputs(
    inputs: &Inputs,
    target: &Path,
    shards: &[Shard],
    texts: &[(&Path, Kind)],
    force: bool,
) -> Result<Outputs, Error> {
    let wanted = |path: &Path, kind| Wanted { path: path.to_owned(), kind };
    let mut all = vec![wanted(target, Kind::Weights), wanted(&header::index_path(target), Kind::Index)];
    if shards.len() > 1 {
        all.extend(shards.iter().map(|shard| wanted(&shard.target, Kind::Shard)));
    }
    all.extend(texts.iter().map(|(path, kind)| wanted(path, *kind)));
    Ok(Outputs::check(inputs, all, force, is_ours)?)
}

/// Whether this program wrote a file.
fn is_ours(kind: Kind, path: &Path) -> bool {
    let tool =
        |metadata: Option<&Value>| metadata.and_then(Value::as_str).is_some_and(|tool| tool.starts_with(header::TOOL));
    match kind {
        Kind::Weights | Kind::Shard => Checkpoint::open(path).is_ok_and(|found| tool(found.metadata.get("tool"))),
        Kind::Index => {
            let text = files::read(path, LONGEST_INDEX).unwrap_or_default();
            serde_json::from_slice(&text).is_ok_and(|index: Value| tool(index.pointer("/metadata/tool")))
        }
        Kind::Config => {
            let text = files::read(path, LONGEST_INDEX).unwrap_or_default();
            serde_json::from_slice(&text).is_ok_and(|config: Value| tool(config.get("tool")))
        }
        Kind::Map => key_map::read(path).is_ok_and(|map| !map.rows.is_empty()),
        Kind::Repro | Kind::Report | Kind::Picture => false,
    }
}
