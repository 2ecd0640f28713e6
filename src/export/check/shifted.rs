//! Norms that add one to their weight: with the one added, not added, added twice.

use std::collections::HashMap;
use std::sync::Arc;

use super::rounding::Rounding;
use super::{Error, Ours, Verdict};
use crate::export::state_dict::StateDict;
use crate::model::{Evidence, Module};
use crate::open::Opened;
use crate::plan::Move;
use crate::plan::weights::Fold;
use crate::registry::{Attribute, Layer, Recipe, Registry};
use t2m_checkpoint::TensorData;

/// Where ours adds an offset: whether theirs holds torch's weight as it is, or with the offset added twice.
pub(super) fn judge(ours: &Ours<'_>, found: &TensorData) -> Result<Option<Verdict>, Error> {
    let (Fold::Offset(offset), [source]) = (&ours.step.fold, &ours.from[..]) else { return Ok(None) };
    let raw = ours.torch.read(*source)?;
    if raw.shape != found.shape {
        return Ok(None);
    }
    if raw.cast(found.dtype).is_some_and(|raw| raw.bytes == found.bytes) {
        return Ok(Some(Verdict::Unshifted { offset: *offset }));
    }
    // Two offsets are three terms.
    let twice = apart_by(&raw, found, 2.0 * offset, 5.0);
    Ok(twice.then_some(Verdict::ShiftedTwice { offset: *offset }))
}

/// Where every number of theirs is one more, or one less, than ours: what is to be said of it.
pub(super) fn by_one(made: &TensorData, found: &TensorData) -> Option<&'static str> {
    // A single number is one more than another by chance.
    if made.shape != found.shape || made.shape.iter().product::<usize>() < 2 {
        return None;
    }
    if apart_by(made, found, 1.0, 4.0) {
        Some("every number is 1 more than ours: a norm that computes with 1 + weight")
    } else if apart_by(made, found, -1.0, 4.0) {
        Some("every number is 1 less than ours: the weight of a norm that adds the 1 at run time")
    } else {
        None
    }
}

/// Whether each number of the second is the first's plus this, but for so many roundings.
fn apart_by(first: &TensorData, second: &TensorData, by: f64, roundings: f64) -> bool {
    let (Some(rounding), Some(first), Some(second)) =
        (Rounding::coarsest([first.dtype, second.dtype]), first.to_f64(), second.to_f64())
    else {
        return false;
    };
    let fits =
        |(first, second): (&f64, &f64)| (second - first - by).abs() <= rounding.of(roundings, first.abs() + by.abs());
    first.iter().zip(&second).all(fits)
}

/// Let norms whose class only names and shapes tell add what the norms of the model's family add, by the registry. What
/// is said of a file is then the same whether or not the family's source is at hand.
pub fn by_family(opened: &Opened, map: &mut StateDict) {
    let Some(root) = opened.checkpoint.root_class.as_deref() else { return };
    let Some((row, offset)) = norm_of_family(&opened.registry, root) else { return };
    // Entries of one move share it.
    let mut shifted: HashMap<*const Move, Arc<Move>> = HashMap::new();
    for entry in &mut map.entries {
        let Some(module) = opened.model.modules.get(entry.module) else { continue };
        let parent = module.parent.and_then(|parent| opened.model.modules.get(parent));
        let is_weight = entry.step.fold == Fold::One && entry.step.to == "weight" && entry.shape.len() == 1;
        if is_weight && is_norm(module, row) && !parent.is_some_and(is_state_space) {
            let step = shifted.entry(Arc::as_ptr(&entry.step));
            let add = || Arc::new(Move { fold: Fold::Offset(offset), ..(*entry.step).clone() });
            entry.step = Arc::clone(step.or_insert_with(add));
        }
    }
}

/// Whether names and shapes allow a module to be the norm of that row: an RMS norm has no bias.
fn is_norm(module: &Module, row: &Layer) -> bool {
    let has_bias = module.tensors.iter().any(|own| own.name == "bias" && own.tensor.is_some());
    module.evidence == Evidence::Inferred
        && module.name.to_ascii_lowercase().contains("norm")
        && has_bias == (row.recipe == Some(Recipe::LayerNormVariant))
}

/// The norm inside a state-space block multiplies by its weight, in families whose other norms add one.
fn is_state_space(parent: &Module) -> bool {
    parent.tensors.iter().any(|own| own.name == "A_log")
}

/// The row of the family's norm, and what it adds. A family is known by the name that its classes begin with.
fn norm_of_family<'a>(registry: &'a Registry, root: &str) -> Option<(&'a Layer, f64)> {
    if !root.starts_with("transformers.") {
        return None;
    }
    let name = root.rsplit('.').next()?;
    let norms = registry.classes().filter(|(class, row)| {
        class.starts_with("transformers.")
            && matches!(row.recipe, Some(Recipe::RmsNormVariant | Recipe::LayerNormVariant))
    });
    let family = |class: &'a str| {
        let short = class.rsplit('.').next()?;
        let at =
            ["TextRMSNorm", "TextCenteredRMSNorm", "RMSNorm", "LayerNorm"].iter().find_map(|word| short.find(word))?;
        // The gated norms are those of state-space blocks.
        (at > 0 && !short.ends_with("Gated")).then_some(&short[..at])
    };
    let of_root = |family: &str| {
        let rest = name.strip_prefix(family);
        rest.is_some_and(|rest| ["For", "Model", "Text", "PreTrained"].iter().any(|word| rest.starts_with(word)))
    };
    let found = norms.filter_map(|(class, row)| Some((family(class).filter(|family| of_root(family))?, row)));
    let found: Vec<(&str, &Layer)> = found.collect();
    let longest = found.iter().map(|(family, _)| family.len()).max()?;
    let offset = |row: &Layer| match row.attributes.get("offset") {
        Some(Attribute::Constant(value)) => value.as_f64(),
        _ => None,
    };
    let mut rows = found.into_iter().filter(|(family, _)| family.len() == longest).map(|(_, row)| row);
    let row = rows.next()?;
    // A family that has norms of both kinds does not tell which one this is.
    rows.all(|other| offset(other) == offset(row)).then(|| offset(row).map(|offset| (row, offset)))?
}
