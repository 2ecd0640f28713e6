//! How a module's tensors move, where that follows from its class and its tensors alone: a stride or an epsilon that the
//! file does not say changes what a layer computes, not where its weights go.
//!
//! These are the moves of the plans themselves, by the same functions; a test holds both against each other.

use super::site::Site;
use super::{attention, conv, norm, recurrent};
use crate::model::reparametrized;
use crate::plan::{Move, Refusal};

type Moves = fn(&Site<'_>) -> Result<Vec<Move>, Refusal>;

/// Recipes whose moves no unknown hyper-parameter changes.
const LAYOUTS: &[(&str, Moves)] = &[
    ("attention", |site| Ok(attention::all_moves(site))),
    ("batch_norm", |site| norm::affine_moves(site, &["running_mean", "running_var"])),
    ("bilinear", |site| Ok(site.moves(&["bias"]))),
    ("conv", |site| Ok(site.moves(&["bias"]))),
    ("conv_same", |site| Ok(site.moves(&["bias"]))),
    ("conv_transpose", |site| Ok(conv::transposed_moves(site, site.number("groups")?.max(1)))),
    ("embedding", |site| Ok(site.moves(&[]))),
    ("embedding_bag", |site| Ok(site.moves(&[]))),
    ("group_norm", |site| norm::affine_moves(site, &[])),
    ("instance_norm", |site| norm::affine_moves(site, &["running_mean", "running_var"])),
    ("layer_norm", |site| norm::last_axes_moves(site, &["bias"])),
    ("linear", |site| Ok(site.moves(&["bias"]))),
    ("linear_transposed", |site| Ok(site.moves(&["bias"]))),
    ("prelu", |site| Ok(site.moves(&[]))),
    ("recurrent", recurrent::moves),
    ("recurrent_cell", |site| Ok(recurrent::cell_moves(site))),
    ("rms_norm", |site| norm::last_axes_moves(site, &[])),
];

/// The moves of a module's tensors by its class, whatever its hyper-parameters are.
///
/// # Errors
/// The layout depends on one that the file does not say, or a tensor is missing or of a type that layers do not compute with.
pub fn layout(site: &Site<'_>) -> Result<Vec<Move>, Refusal> {
    let Some(norm) = reparametrized::weight_norm(site.checkpoint, site.model, site.id) else { return plain(site) };
    let row = super::with_norm(site.row, &norm);
    let mut moves = plain(&Site { row: &row, ..*site })?;
    super::fold_norm(&mut moves, &norm)?;
    Ok(moves)
}

fn plain(site: &Site<'_>) -> Result<Vec<Move>, Refusal> {
    let name = site.row.recipe.as_deref().unwrap_or_default();
    let layout = LAYOUTS.iter().find(|(known, _)| *known == name).map(|(_, layout)| layout);
    let unknown = || Refusal::Incomplete("how its weights move follows from what the file does not say".to_owned());
    let mut moves = layout.ok_or_else(unknown)?(site)?;
    super::check_dtypes(site, &moves)?;
    site.rename_sources(&mut moves);
    Ok(moves)
}
