//! The recipes: one function for each family of layers. It turns a module and its registry row into a plan.

mod activation;
mod activation_variants;
mod attention;
mod by_class;
mod conv;
mod conv_variants;
mod distance;
mod linear;
mod loss;
mod norm;
mod norm_variants;
mod obeyed;
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
use crate::program::without_moves;
use crate::registry::{Layer, Recipe};
pub use by_class::moves_by_class;
pub use obeyed::Read;
use site::Draft;
pub use site::{Asked, Setting, Site};
use t2m_engine::own;

/// The largest input or output. A hyper-parameter out of a damaged or hostile file must not ask for all memory. 16 Mi
/// elements are 64 MiB in float32, and some 600 MiB of numbers to compare.
const MOST_ELEMENTS: usize = 16 << 20;
/// The largest step, kernel or shape …
const MOST_STEPS: usize = 16 << 20;
/// … and the largest number of features.
const MOST_UNITS: usize = 1 << 31;

/// Makes a draft of a module's plan.
type Draw = fn(&Site<'_>) -> Result<Draft, Refusal>;

/// The function of a recipe.
fn function(recipe: Recipe) -> Draw {
    match recipe {
        Recipe::AdaptiveAveragePool => pool::adaptive_average,
        Recipe::AdaptiveMaxPool => pool::adaptive_max,
        Recipe::Alpha => activation::alpha,
        Recipe::Attention => attention::attention,
        Recipe::AveragePool => pool::average,
        Recipe::BatchNorm => norm::batch_norm,
        Recipe::Bilinear => linear::bilinear,
        Recipe::BinaryCrossEntropy => loss::binary_cross_entropy,
        Recipe::BinaryCrossEntropyWithLogits => loss::binary_cross_entropy_with_logits,
        Recipe::BlurPool => conv_variants::blur,
        Recipe::ChannelShuffle => shape::channel_shuffle,
        Recipe::ClippedGelu => activation_variants::clipped_gelu,
        Recipe::Conv => conv::conv,
        Recipe::ConvSame => conv_variants::same,
        Recipe::ConvTranspose => conv::conv_transpose,
        Recipe::CosineEmbeddingLoss => loss::cosine_embedding,
        Recipe::CosineSimilarity => distance::cosine,
        Recipe::CrossEntropy => loss::cross_entropy,
        Recipe::CutEnd => conv_variants::cut_end,
        Recipe::Dropout => activation::dropout,
        Recipe::Embedding => linear::embedding,
        Recipe::EmbeddingBag => linear::embedding_bag,
        Recipe::FilterResponseNorm => norm_variants::filter_response,
        Recipe::Flatten => shape::flatten,
        Recipe::Fold => shape::fold,
        Recipe::GaussianNllLoss => loss::gaussian,
        Recipe::GatedRmsNorm => norm_variants::gated_rms,
        Recipe::Gelu => activation::gelu,
        Recipe::GlobalResponseNorm => norm_variants::global_response,
        Recipe::Glu => activation::glu,
        Recipe::GroupNorm => norm::group_norm,
        Recipe::HardMish => activation_variants::hard_mish,
        Recipe::HardShrink => activation::hard_shrink,
        Recipe::HardSigmoid => activation::hard_sigmoid,
        Recipe::HardTanh => activation::hard_tanh,
        Recipe::HingeEmbeddingLoss => loss::hinge_embedding,
        Recipe::HuberLoss => loss::huber,
        Recipe::Identity => shape::identity,
        Recipe::InstanceNorm => norm::instance_norm,
        Recipe::KlDivergence => loss::kl_divergence,
        Recipe::L1Loss => loss::mean_absolute,
        Recipe::Laplace => activation_variants::laplace,
        Recipe::LastAxis => activation::last_axis,
        Recipe::LayerNorm => norm::layer_norm,
        Recipe::LayerNormPerHead => norm_variants::layer_per_head,
        Recipe::LayerNormVariant => norm_variants::layer,
        Recipe::LeakyRelu => activation::leaky_relu,
        Recipe::Linear => linear::linear,
        Recipe::LinearCrossEntropy => loss::linear_cross_entropy,
        Recipe::LinearTransposed => conv_variants::linear_transposed,
        Recipe::LocalResponseNorm => norm::local_response,
        Recipe::MarginRankingLoss => loss::margin_ranking,
        Recipe::MaxPool => pool::max,
        Recipe::MaxUnpool => pool::max_unpool,
        Recipe::MseLoss => loss::mean_squared,
        Recipe::MultiLabelMarginLoss => loss::multi_label_margin,
        Recipe::MultiLabelSoftMarginLoss => loss::multi_label_soft_margin,
        Recipe::MultiMarginLoss => loss::multi_margin,
        Recipe::NllLoss => loss::negative_log_likelihood,
        Recipe::NormThenActivation => norm_variants::then_activation,
        Recipe::Pad => shape::pad,
        Recipe::PairwiseDistance => distance::pairwise,
        Recipe::Permute => conv_variants::permute,
        Recipe::PixelShuffle => shape::pixel_shuffle,
        Recipe::PixelUnshuffle => shape::pixel_unshuffle,
        Recipe::Pointwise => activation::pointwise,
        Recipe::PoissonNllLoss => loss::poisson,
        Recipe::PoolSame => conv_variants::pool_same,
        Recipe::Positions => positions::positions,
        Recipe::PowerAveragePool => pool::power_average,
        Recipe::Prelu => activation::prelu,
        Recipe::QuickGelu => activation_variants::quick_gelu,
        Recipe::RandomRelu => activation::random_relu,
        Recipe::Recurrent => recurrent::recurrent,
        Recipe::RecurrentCell => recurrent::cell,
        Recipe::RelativePositionBias => positions::relative_bias,
        Recipe::Relu => activation::relu,
        Recipe::ReluSquared => activation_variants::relu_squared,
        Recipe::RmsNorm => norm::rms_norm,
        Recipe::RmsNormVariant => norm_variants::rms,
        Recipe::Rotary => rotary::rotary,
        Recipe::Scale => norm_variants::scale,
        Recipe::ScaledEmbedding => positions::scaled,
        Recipe::Selu => activation::selu,
        Recipe::SimpleNorm => norm_variants::simple,
        Recipe::SmoothL1Loss => loss::smooth,
        Recipe::SoftMarginLoss => loss::soft_margin,
        Recipe::SoftShrink => activation::soft_shrink,
        Recipe::Softmax => activation::softmax,
        Recipe::Softmax2d => activation::softmax_2d,
        Recipe::Softplus => activation::softplus,
        Recipe::SqrtSoftplus => activation_variants::sqrt_softplus,
        Recipe::StandardisedConv => conv_variants::standardised,
        Recipe::TanhShrink => activation::tanh_shrink,
        Recipe::Threshold => activation::threshold,
        Recipe::Transformer => transformer::transformer,
        Recipe::TransformerDecoder => transformer::decoder,
        Recipe::TransformerDecoderLayer => transformer::decoder_layer,
        Recipe::TransformerEncoder => transformer::encoder,
        Recipe::TransformerEncoderLayer => transformer::encoder_layer,
        Recipe::TripletMarginLoss => loss::triplet,
        Recipe::Unflatten => shape::unflatten,
        Recipe::Unfold => shape::unfold,
        Recipe::Upsample => resize::upsample,
        Recipe::Xielu => activation_variants::xielu,
    }
}

/// Plan the conversion of a module by its registry row.
///
/// # Errors
/// Says which hyper-parameter is missing, or why this configuration has no conversion.
pub fn plan(site: &Site<'_>) -> Result<Plan, Refusal> {
    let mut plan = whole(site)?;
    plan.mlx.program = plan.mlx.program.take().map(without_moves);
    Ok(plan)
}

fn whole(site: &Site<'_>) -> Result<Plan, Refusal> {
    let Some(norm) = reparametrized::weight_norm(site.checkpoint, site.model, site.id) else { return drafted(site) };
    let row = with_norm(site.row, &norm);
    let mut plan = drafted(&Site { row: &row, ..*site })?;
    fold_norm(&mut plan.weights, &norm)?;
    let told = plan.torch.told.get_or_insert_default();
    told.weight_norm = Some(own::WeightNorm { norm: norm.norm.to_owned(), dim: norm.dim.map(|dim| dim as i64) });
    plan.way.step("weight norm folded");
    Ok(plan)
}

/// The row with the norm's `v`, which has the weight's shape, as the weight.
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
    let recipe = site.row.recipe.ok_or_else(unsupported)?;
    let handed = RefCell::default();
    let ours = site.torch_class().starts_with(own::PREFIX);
    let read = Read::default();
    let site = &Site { handed: ours.then_some(&handed), read: Some(&read), ..*site };
    let draft = function(recipe)(site)?;
    let inputs = draft.inputs.iter().map(|input| ("an input that fits it", &input.shape));
    for (what, shape) in inputs.chain([("its output", &draft.output_shape)]) {
        if site::product(shape).is_ok_and(|elements| elements <= MOST_ELEMENTS) {
            continue;
        }
        return Err(Refusal::Unsupported(format!("{what} would have the shape {shape:?}, too large to measure with")));
    }
    check_dtypes(site, &draft.weights)?;
    draft.finish(site, &read)
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
