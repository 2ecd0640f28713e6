//! The recipes by name: how a layer may be planned. `plan::recipes` has a function for each, and the compiler checks
//! that none is missing.

macro_rules! recipes {
    ($($recipe:ident = $name:literal,)*) => {
        /// How a layer is planned: the name of a function of `plan::recipes`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the functions are documented where they are written")]
        pub enum Recipe {
            $($recipe,)*
        }

        impl Recipe {
            /// Every recipe, in the order of their names.
            pub const ALL: &[Recipe] = &[$(Recipe::$recipe,)*];

            /// The name that registry rows use.
            pub fn name(self) -> &'static str {
                match self {
                    $(Recipe::$recipe => $name,)*
                }
            }
        }
    };
}

impl Recipe {
    /// The recipe of that name.
    pub fn named(name: &str) -> Option<Recipe> {
        Recipe::ALL.iter().copied().find(|recipe| recipe.name() == name)
    }
}

recipes! {
    AdaptiveAveragePool = "adaptive_average_pool",
    AdaptiveMaxPool = "adaptive_max_pool",
    Alpha = "alpha",
    Attention = "attention",
    AveragePool = "average_pool",
    BatchNorm = "batch_norm",
    Bilinear = "bilinear",
    BinaryCrossEntropy = "binary_cross_entropy",
    BinaryCrossEntropyWithLogits = "binary_cross_entropy_with_logits",
    BlurPool = "blur_pool",
    ChannelShuffle = "channel_shuffle",
    ClippedGelu = "clipped_gelu",
    Conv = "conv",
    ConvSame = "conv_same",
    ConvTranspose = "conv_transpose",
    CosineEmbeddingLoss = "cosine_embedding_loss",
    CosineSimilarity = "cosine_similarity",
    CrossEntropy = "cross_entropy",
    CutEnd = "cut_end",
    Dropout = "dropout",
    Embedding = "embedding",
    EmbeddingBag = "embedding_bag",
    FilterResponseNorm = "filter_response_norm",
    Flatten = "flatten",
    Fold = "fold",
    GatedRmsNorm = "gated_rms_norm",
    GaussianNllLoss = "gaussian_nll_loss",
    Gelu = "gelu",
    GlobalResponseNorm = "global_response_norm",
    Glu = "glu",
    GroupNorm = "group_norm",
    HardMish = "hard_mish",
    HardShrink = "hard_shrink",
    HardSigmoid = "hard_sigmoid",
    HardTanh = "hard_tanh",
    HingeEmbeddingLoss = "hinge_embedding_loss",
    HuberLoss = "huber_loss",
    Identity = "identity",
    InstanceNorm = "instance_norm",
    KlDivergence = "kl_divergence",
    L1Loss = "l1_loss",
    Laplace = "laplace",
    LastAxis = "last_axis",
    LayerNorm = "layer_norm",
    LayerNormPerHead = "layer_norm_per_head",
    LayerNormVariant = "layer_norm_variant",
    LeakyRelu = "leaky_relu",
    Linear = "linear",
    LinearCrossEntropy = "linear_cross_entropy",
    LinearTransposed = "linear_transposed",
    LocalResponseNorm = "local_response_norm",
    MarginRankingLoss = "margin_ranking_loss",
    MaxPool = "max_pool",
    MaxUnpool = "max_unpool",
    MseLoss = "mse_loss",
    MultiLabelMarginLoss = "multi_label_margin_loss",
    MultiLabelSoftMarginLoss = "multi_label_soft_margin_loss",
    MultiMarginLoss = "multi_margin_loss",
    NllLoss = "nll_loss",
    NormThenActivation = "norm_then_activation",
    Pad = "pad",
    PairwiseDistance = "pairwise_distance",
    Permute = "permute",
    PixelShuffle = "pixel_shuffle",
    PixelUnshuffle = "pixel_unshuffle",
    Pointwise = "pointwise",
    PoissonNllLoss = "poisson_nll_loss",
    PoolSame = "pool_same",
    Positions = "positions",
    PowerAveragePool = "power_average_pool",
    Prelu = "prelu",
    QuickGelu = "quick_gelu",
    RandomRelu = "random_relu",
    Recurrent = "recurrent",
    RecurrentCell = "recurrent_cell",
    RelativePositionBias = "relative_position_bias",
    Relu = "relu",
    ReluSquared = "relu_squared",
    RmsNorm = "rms_norm",
    RmsNormVariant = "rms_norm_variant",
    Rotary = "rotary",
    Scale = "scale",
    ScaledEmbedding = "scaled_embedding",
    Selu = "selu",
    SimpleNorm = "simple_norm",
    SmoothL1Loss = "smooth_l1_loss",
    SoftMarginLoss = "soft_margin_loss",
    SoftShrink = "soft_shrink",
    Softmax = "softmax",
    Softmax2d = "softmax_2d",
    Softplus = "softplus",
    SqrtSoftplus = "sqrt_softplus",
    StandardisedConv = "standardised_conv",
    TanhShrink = "tanh_shrink",
    Threshold = "threshold",
    Transformer = "transformer",
    TransformerDecoder = "transformer_decoder",
    TransformerDecoderLayer = "transformer_decoder_layer",
    TransformerEncoder = "transformer_encoder",
    TransformerEncoderLayer = "transformer_encoder_layer",
    TripletMarginLoss = "triplet_margin_loss",
    Unflatten = "unflatten",
    Unfold = "unfold",
    Upsample = "upsample",
    Xielu = "xielu",
}

#[cfg(test)]
mod tests {
    use super::Recipe;

    #[test]
    fn names_are_found_and_in_order() {
        let names: Vec<&str> = Recipe::ALL.iter().map(|recipe| recipe.name()).collect();
        assert!(names.is_sorted() && names.len() > 90);
        assert!(Recipe::ALL.iter().all(|&recipe| Recipe::named(recipe.name()) == Some(recipe)));
        assert_eq!(Recipe::named("convv"), None);
    }
}
