//! What a plain rename of the state dict gives, made from a layer's plan: the tensors as torch has them, in the layer of MLX that is
//! called the same, built with its own defaults.

use serde_json::{Map, Value, json};

use super::weights::{self, Layout, Move};
use super::{Plan, Rule};
use crate::registry::Recipe;
use t2m_engine::ModuleSpec;

/// Why a recipe has no twin that a plain rename makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTwin {
    /// A rename gives the same: the layer is called alike in MLX, takes its tensors as they are, and has torch's defaults.
    SameAsRename,
    /// MLX has no layer that could be meant: a function stands in, and there is nothing to rename.
    NoLayerInMlx,
    /// Its layers are run one by one, each with a twin of its own where it has one.
    OfItsParts,
}

/// MLX's default of `eps` in its norms.
const EPS: f64 = 1e-5;
/// An eps that differs less from the default shows only on inputs near zero, which not every layer is measured with.
const APART: f64 = 50.0;

/// The twins, by what is done wrong.
pub(super) fn twins(plan: &Plan) -> Vec<(String, Plan)> {
    let made = [
        ("weights as torch has them", as_they_are(plan)),
        ("the weight without what is computed into it", unfolded(plan)),
        ("MLX's layer alone, without what stands around it", alone(plan)),
        ("MLX's default eps", default_eps(plan)),
        ("nn.Upsample by the same factor and mode", upsample(plan)),
    ];
    made.into_iter().filter_map(|(name, twin)| Some((name.to_owned(), twin.filter(|twin| twin != plan)?))).collect()
}

fn as_they_are(plan: &Plan) -> Option<Plan> {
    let mut twin = plan.clone();
    let laid_out = |step: &&mut Move| step.rule.layout != Layout::Keep && step.fold == weights::Fold::One;
    twin.weights.iter_mut().filter(laid_out).for_each(|step| step.rule = Rule::identity());
    Some(twin)
}

/// `weight` where MLX wants 1 + weight, and the direction alone of a weight norm.
fn unfolded(plan: &Plan) -> Option<Plan> {
    let mut twin = plan.clone();
    let mut rest = Vec::new();
    for step in &mut twin.weights {
        match step.fold {
            weights::Fold::Offset(_) | weights::Fold::Standardised { .. } => {
                rest.extend(step.from.iter().skip(1).map(|name| Move::keep(name)));
                step.from.truncate(1);
            }
            weights::Fold::WeightNorm { .. } => {
                rest.extend(step.from.iter().take(1).map(|name| Move::keep(name)));
                step.from = step.from.split_off(1);
            }
            _ => continue,
        }
        step.fold = weights::Fold::One;
    }
    // torch's side still needs the tensors that MLX's no longer uses.
    twin.weights.extend(rest);
    Some(twin)
}

fn alone(plan: &Plan) -> Option<Plan> {
    // A program of the layer's call alone computes what the layer does.
    let program = plan.mlx.program.as_ref().filter(|program| program.steps.len() > 1)?;
    let layer = program.layers.get("")?.clone();
    Some(Plan { mlx: layer, ..plan.clone() })
}

fn default_eps(plan: &Plan) -> Option<Plan> {
    let far = |args: &Map<String, Value>| {
        let eps = args.get("eps").and_then(Value::as_f64)?;
        (!(EPS / APART..=EPS * APART).contains(&eps)).then_some(())
    };
    let mut twin = plan.clone();
    let layers =
        twin.mlx.program.iter_mut().flat_map(|program| program.layers.values_mut().map(|layer| &mut layer.args));
    for args in std::iter::once(&mut twin.mlx.args).chain(layers) {
        if far(args).is_some() {
            args.insert("eps".to_owned(), json!(EPS));
        }
    }
    Some(twin)
}

/// What one would write for an Upsample that is computed in another way here.
fn upsample(plan: &Plan) -> Option<Plan> {
    let torch = &plan.torch;
    if plan.mlx.program.is_none() || !torch.kind.contains(".upsampling.") {
        return None;
    }
    let mode = match torch.args.get("mode").and_then(Value::as_str)? {
        "nearest" => "nearest",
        "linear" | "bilinear" | "trilinear" => "linear",
        "bicubic" => "cubic",
        _ => return None,
    };
    let factor = torch.args.get("scale_factor").filter(|factor| !factor.is_null())?;
    // By one and a half MLX picks the same rows.
    if mode == "nearest" && factor.as_f64() == Some(1.5) {
        return None;
    }
    let corners = torch.args.get("align_corners").and_then(Value::as_bool).unwrap_or(false);
    let args = [("scale_factor", factor.clone()), ("mode", json!(mode)), ("align_corners", json!(corners))];
    let args: Map<String, Value> = args.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Some(Plan { mlx: ModuleSpec { kind: "nn.Upsample".to_owned(), args, ..ModuleSpec::default() }, ..plan.clone() })
}

/// Why no plan of a recipe has a twin; `None` where some have. A test holds it against every sample.
pub fn without_twin(recipe: Recipe) -> Option<NoTwin> {
    use Recipe::*;
    match recipe {
        Alpha | Dropout | Embedding | Glu | Identity | LeakyRelu | Pointwise | Prelu | Relu | SoftShrink => {
            Some(NoTwin::SameAsRename)
        }
        LayerNormPerHead | Transformer | TransformerDecoder | TransformerDecoderLayer | TransformerEncoder => {
            Some(NoTwin::OfItsParts)
        }
        AdaptiveAveragePool
        | AdaptiveMaxPool
        | BinaryCrossEntropy
        | BinaryCrossEntropyWithLogits
        | ChannelShuffle
        | ClippedGelu
        | CosineEmbeddingLoss
        | CosineSimilarity
        | CutEnd
        | EmbeddingBag
        | FilterResponseNorm
        | Fold
        | GaussianNllLoss
        | GlobalResponseNorm
        | HardMish
        | HardSigmoid
        | HingeEmbeddingLoss
        | HuberLoss
        | KlDivergence
        | L1Loss
        | Laplace
        | LinearCrossEntropy
        | LocalResponseNorm
        | MarginRankingLoss
        | MaxUnpool
        | MseLoss
        | MultiLabelMarginLoss
        | MultiLabelSoftMarginLoss
        | MultiMarginLoss
        | NllLoss
        | PairwiseDistance
        | Permute
        | PixelShuffle
        | PixelUnshuffle
        | PoissonNllLoss
        | Positions
        | QuickGelu
        | RandomRelu
        | RelativePositionBias
        | ReluSquared
        | Rotary
        | Scale
        | SimpleNorm
        | SmoothL1Loss
        | SoftMarginLoss
        | Softmax2d
        | SqrtSoftplus
        | TanhShrink
        | Threshold
        | TripletMarginLoss
        | Unflatten
        | Unfold
        | Xielu => Some(NoTwin::NoLayerInMlx),
        _ => None,
    }
}
