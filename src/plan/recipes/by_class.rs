//! How a module's tensors move, where that follows from its class and its tensors alone: a stride or an epsilon that
//! the file does not hold changes what a layer computes, but not where its weights go.
//!
//! The plans get their moves from the same functions; a test compares them.

use super::site::Site;
use super::{attention, conv, norm, norm_variants, positions, recurrent};
use crate::model::reparametrized;
use crate::plan::{Move, Refusal};
use crate::registry::Recipe;

/// The moves of a recipe, if no unknown hyper-parameter changes them; otherwise `None`.
fn moves(recipe: Recipe, site: &Site<'_>) -> Option<Result<Vec<Move>, Refusal>> {
    Some(match recipe {
        Recipe::Attention => Ok(attention::all_moves(site)),
        Recipe::BatchNorm | Recipe::InstanceNorm => norm::affine_moves(site, &["running_mean", "running_var"]),
        Recipe::Bilinear | Recipe::Conv | Recipe::ConvSame | Recipe::Linear | Recipe::LinearTransposed => {
            Ok(site.moves(&["bias"]))
        }
        Recipe::ConvTranspose => {
            // One input is one group.
            let single = || site.shape("weight").is_ok_and(|shape| shape.first() == Some(&1));
            let groups = site.number("groups").or_else(|refusal| if single() { Ok(1) } else { Err(refusal) });
            groups.map(|groups| conv::transposed_moves(site, groups.max(1)))
        }
        Recipe::Embedding | Recipe::EmbeddingBag | Recipe::Prelu => Ok(site.moves(&[])),
        Recipe::ScaledEmbedding => Ok(positions::scaled_moves(site)),
        Recipe::GroupNorm => norm::affine_moves(site, &[]),
        Recipe::GatedRmsNorm => Ok(site.moves(&[])),
        Recipe::RmsNormVariant | Recipe::LayerNormVariant => Ok(norm_variants::affine(site)),
        Recipe::LayerNorm => norm::last_axes_moves(site, &["bias"]),
        Recipe::Recurrent => recurrent::moves(site),
        Recipe::RecurrentCell => Ok(recurrent::cell_moves(site)),
        Recipe::RmsNorm => norm::last_axes_moves(site, &[]),
        _ => return None,
    })
}

/// The moves of a module's tensors by its class, whatever its hyper-parameters are.
///
/// # Errors
/// The layout depends on a hyper-parameter that the file does not hold, or a tensor is missing or has a type that
/// layers do not compute with.
pub fn moves_by_class(site: &Site<'_>) -> Result<Vec<Move>, Refusal> {
    let Some(norm) = reparametrized::weight_norm(site.checkpoint, site.model, site.id) else { return plain(site) };
    let row = super::with_norm(site.row, &norm);
    let mut moves = plain(&Site { row: &row, ..*site })?;
    super::fold_norm(&mut moves, &norm)?;
    Ok(moves)
}

fn plain(site: &Site<'_>) -> Result<Vec<Move>, Refusal> {
    let unknown = || Refusal::Incomplete("how its weights move follows from what the file does not say".to_owned());
    let moves = site.row.recipe.and_then(|recipe| moves(recipe, site));
    let mut moves = moves.ok_or_else(unknown)??;
    super::check_dtypes(site, &moves)?;
    site.rename_sources(&mut moves);
    Ok(moves)
}
