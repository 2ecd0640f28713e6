//! The recipes: one function a family of layers, from a module and its registry row to a plan.

mod activation;
mod activation_variants;
mod attention;
mod conv;
mod conv_variants;
mod distance;
mod layout;
mod linear;
mod loss;
mod norm;
mod norm_variants;
mod phrase;
mod pool;
mod positions;
mod recurrent;
mod resize;
mod rotary;
mod shape;
mod site;
mod transformer;

use std::cell::RefCell;

use super::{Move, Plan, Refusal, weights::Fold};
use crate::model::reparametrized::{self, WeightNorm};
use crate::registry::Layer;
pub use layout::layout;
use site::Draft;
pub use site::{Asked, Setting, Site};
use t2m_engine::own;

/// No input and no output is larger: a hyper-parameter out of a damaged or hostile file must not ask for all memory.
/// 16 Mi elements are 64 MiB in float32, and some 600 MiB of numbers to compare.
const MOST_ELEMENTS: usize = 16 << 20;
/// Nor any hyper-parameter that is a step, a kernel or a shape …
const MOST_STEPS: usize = 16 << 20;
/// … or counts features.
const MOST_UNITS: usize = 1 << 31;

type Recipe = fn(&Site<'_>) -> Result<Draft, Refusal>;

const RECIPES: &[(&str, Recipe)] = &[
    ("adaptive_average_pool", pool::adaptive_average),
    ("adaptive_max_pool", pool::adaptive_max),
    ("alpha", activation::alpha),
    ("attention", attention::attention),
    ("average_pool", pool::average),
    ("batch_norm", norm::batch_norm),
    ("bilinear", linear::bilinear),
    ("binary_cross_entropy", loss::binary_cross_entropy),
    ("binary_cross_entropy_with_logits", loss::binary_cross_entropy_with_logits),
    ("blur_pool", conv_variants::blur),
    ("channel_shuffle", shape::channel_shuffle),
    ("clipped_gelu", activation_variants::clipped_gelu),
    ("conv", conv::conv),
    ("conv_same", conv_variants::same),
    ("conv_transpose", conv::conv_transpose),
    ("cosine_embedding_loss", loss::cosine_embedding),
    ("cosine_similarity", distance::cosine),
    ("cross_entropy", loss::cross_entropy),
    ("cut_end", conv_variants::cut_end),
    ("dropout", activation::dropout),
    ("embedding", linear::embedding),
    ("embedding_bag", linear::embedding_bag),
    ("filter_response_norm", norm_variants::filter_response),
    ("flatten", shape::flatten),
    ("fold", shape::fold),
    ("gaussian_nll_loss", loss::gaussian),
    ("gated_rms_norm", norm_variants::gated_rms),
    ("gelu", activation::gelu),
    ("global_response_norm", norm_variants::global_response),
    ("glu", activation::glu),
    ("group_norm", norm::group_norm),
    ("hard_mish", activation_variants::hard_mish),
    ("hard_shrink", activation::hard_shrink),
    ("hard_sigmoid", activation::hard_sigmoid),
    ("hard_tanh", activation::hard_tanh),
    ("hinge_embedding_loss", loss::hinge_embedding),
    ("huber_loss", loss::huber),
    ("identity", shape::identity),
    ("instance_norm", norm::instance_norm),
    ("kl_divergence", loss::kl_divergence),
    ("l1_loss", loss::mean_absolute),
    ("laplace", activation_variants::laplace),
    ("last_axis", activation::last_axis),
    ("layer_norm", norm::layer_norm),
    ("layer_norm_per_head", norm_variants::layer_per_head),
    ("layer_norm_variant", norm_variants::layer),
    ("leaky_relu", activation::leaky_relu),
    ("linear", linear::linear),
    ("linear_cross_entropy", loss::linear_cross_entropy),
    ("linear_transposed", conv_variants::linear_transposed),
    ("local_response_norm", norm::local_response),
    ("margin_ranking_loss", loss::margin_ranking),
    ("max_pool", pool::max),
    ("max_unpool", pool::max_unpool),
    ("mse_loss", loss::mean_squared),
    ("multi_label_margin_loss", loss::multi_label_margin),
    ("multi_label_soft_margin_loss", loss::multi_label_soft_margin),
    ("multi_margin_loss", loss::multi_margin),
    ("nll_loss", loss::negative_log_likelihood),
    ("norm_then_activation", norm_variants::then_activation),
    ("pad", shape::pad),
    ("pairwise_distance", distance::pairwise),
    ("permute", conv_variants::permute),
    ("pixel_shuffle", shape::pixel_shuffle),
    ("pixel_unshuffle", shape::pixel_unshuffle),
    ("pointwise", activation::pointwise),
    ("poisson_nll_loss", loss::poisson),
    ("pool_same", conv_variants::pool_same),
    ("positions", positions::positions),
    ("power_average_pool", pool::power_average),
    ("prelu", activation::prelu),
    ("quick_gelu", activation_variants::quick_gelu),
    ("random_relu", activation::random_relu),
    ("recurrent", recurrent::recurrent),
    ("recurrent_cell", recurrent::cell),
    ("relative_position_bias", positions::relative_bias),
    ("relu", activation::relu),
    ("relu_squared", activation_variants::relu_squared),
    ("rms_norm", norm::rms_norm),
    ("rms_norm_variant", norm_variants::rms),
    ("rotary", rotary::rotary),
    ("scale", norm_variants::scale),
    ("scaled_embedding", positions::scaled),
    ("selu", activation::selu),
    ("simple_norm", norm_variants::simple),
    ("smooth_l1_loss", loss::smooth),
    ("soft_margin_loss", loss::soft_margin),
    ("soft_shrink", activation::soft_shrink),
    ("softmax", activation::softmax),
    ("softmax_2d", activation::softmax_2d),
    ("softplus", activation::softplus),
    ("sqrt_softplus", activation_variants::sqrt_softplus),
    ("standardised_conv", conv_variants::standardised),
    ("tanh_shrink", activation::tanh_shrink),
    ("threshold", activation::threshold),
    ("transformer", transformer::transformer),
    ("transformer_decoder", transformer::decoder),
    ("transformer_decoder_layer", transformer::decoder_layer),
    ("transformer_encoder", transformer::encoder),
    ("transformer_encoder_layer", transformer::encoder_layer),
    ("triplet_margin_loss", loss::triplet),
    ("unflatten", shape::unflatten),
    ("unfold", shape::unfold),
    ("upsample", resize::upsample),
    ("xielu", activation_variants::xielu),
];

/// The names that a registry row may give as its recipe.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// Plan the conversion of a module by its registry row.
///
/// # Errors
/// Says which hyper-parameter is missing, or why this configuration has no conversion.
pub fn plan(site: &Site<'_>) -> Result<Plan, Refusal> {
    let Some(norm) = reparametrized::weight_norm(site.checkpoint, site.model, site.id) else { return drafted(site) };
    let row = with_norm(site.row, &norm);
    let mut plan = drafted(&Site { row: &row, ..*site })?;
    fold_norm(&mut plan.weights, &norm)?;
    let told = plan.torch.told.get_or_insert_default();
    told.weight_norm = Some(own::WeightNorm { norm: norm.norm.to_owned(), dim: norm.dim.map(|dim| dim as i64) });
    plan.way.step("weight norm folded");
    Ok(plan)
}

/// To the recipe the weight is the norm's `v`, which has its shape.
fn with_norm(row: &Layer, norm: &WeightNorm) -> Layer {
    let mut row = row.clone();
    row.tensors.insert("weight".to_owned(), norm.direction.to_owned());
    row
}

/// The moves of a plain weight with its norm folded into it.
fn fold_norm(moves: &mut [Move], norm: &WeightNorm) -> Result<(), Refusal> {
    for step in moves.iter_mut().filter(|step| step.from.iter().any(|from| from == norm.direction)) {
        if step.fold != Fold::One {
            return Err(Refusal::Unsupported(
                "its weight is computed from a norm and a direction, and the recipe computes with it once more"
                    .to_owned(),
            ));
        }
        step.from = vec![norm.norm.to_owned(), norm.direction.to_owned()];
        step.fold = Fold::WeightNorm { dim: norm.dim };
    }
    Ok(())
}

fn drafted(site: &Site<'_>) -> Result<Plan, Refusal> {
    let unsupported = || Refusal::Unsupported(site.row.reason.clone());
    let name = site.row.recipe.as_deref().ok_or_else(unsupported)?;
    let (_, recipe) = RECIPES.iter().find(|(known, _)| *known == name).ok_or_else(unsupported)?;
    let handed = RefCell::default();
    let ours = site.torch_class().starts_with(own::PREFIX);
    let site = &Site { handed: ours.then_some(&handed), ..*site };
    let draft = recipe(site)?;
    let inputs = draft.inputs.iter().map(|input| ("an input that fits it", &input.shape));
    for (what, shape) in inputs.chain([("its output", &draft.output_shape)]) {
        if site::product(shape).is_ok_and(|elements| elements <= MOST_ELEMENTS) {
            continue;
        }
        return Err(Refusal::Unsupported(format!("{what} would have the shape {shape:?}, too large to measure with")));
    }
    check_dtypes(site, &draft.weights)?;
    Ok(draft.finish(site))
}

/// Layers compute with real numbers alone.
fn check_dtypes(site: &Site<'_>, moves: &[Move]) -> Result<(), Refusal> {
    for from in moves.iter().flat_map(|movement| &movement.from) {
        let tensor = site.tensor(from).and_then(|id| site.checkpoint.tensors.get(id));
        if let Some(dtype) = tensor.map(|tensor| &tensor.dtype).filter(|dtype| !dtype.is_real()) {
            let dtype = dtype.name();
            return Err(Refusal::Unsupported(format!(
                "`{from}` is {dtype}: torch does not compute this layer with it; scales that belong to it are not applied"
            )));
        }
    }
    Ok(())
}
