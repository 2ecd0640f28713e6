//! Which op a layer of torch's is, and what its arguments are called there.

/// Arguments of ops in their order, with the defaults that the schema gives them (`native_functions.yaml` of PyTorch 2.13).
pub(super) const SCHEMAS: &[(&[&str], &str)] = &[
    (&["conv1d", "conv2d", "conv3d"], "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1"),
    (&["_convolution_mode"], "input, weight, bias, stride, padding, dilation, groups"),
    (
        &["_convolution", "convolution"],
        "input, weight, bias, stride, padding, dilation, transposed, output_padding, groups",
    ),
    (
        &["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
        "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1",
    ),
    (&["batch_norm"], "input, weight, bias, running_mean, running_var, training, momentum, eps"),
    (&["instance_norm"], "input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps"),
    (&["layer_norm"], "input, normalized_shape, weight=None, bias=None, eps=1e-05"),
    (&["rms_norm"], "input, normalized_shape, weight=None, eps=None"),
    (&["group_norm"], "input, num_groups, weight=None, bias=None, eps=1e-05"),
    (&["embedding"], "weight, indices, padding_idx=-1"),
    (&["linear"], "input, weight, bias=None"),
    (&["gelu"], "self, approximate='none'"),
    (&["leaky_relu", "leaky_relu_"], "self, negative_slope=0.01"),
    (&["softmax", "log_softmax"], "self, dim, dtype=None"),
    (&["dropout", "feature_dropout"], "input, p, train"),
    (
        &[
            "max_pool1d",
            "max_pool2d",
            "max_pool3d",
            "max_pool1d_with_indices",
            "max_pool2d_with_indices",
            "max_pool3d_with_indices",
        ],
        "self, kernel_size, stride=[], padding=0, dilation=1, ceil_mode=False",
    ),
    (&["avg_pool1d"], "self, kernel_size, stride=[], padding=0, ceil_mode=False, count_include_pad=True"),
    (
        &["avg_pool2d", "avg_pool3d"],
        "self, kernel_size, stride=[], padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None",
    ),
    (
        &[
            "adaptive_avg_pool1d",
            "adaptive_avg_pool2d",
            "adaptive_avg_pool3d",
            "adaptive_max_pool1d",
            "adaptive_max_pool2d",
            "adaptive_max_pool3d",
        ],
        "self, output_size",
    ),
    (
        &[
            "upsample_nearest1d",
            "upsample_nearest2d",
            "upsample_nearest3d",
            "_upsample_nearest_exact1d",
            "_upsample_nearest_exact2d",
            "_upsample_nearest_exact3d",
        ],
        "input, output_size, scale_factors",
    ),
    (
        &["upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"],
        "input, output_size, align_corners, scale_factors",
    ),
    (&["flatten"], "self, start_dim=0, end_dim=-1"),
    (&["unflatten"], "self, dim, sizes"),
    (&["elu", "elu_"], "self, alpha=1, scale=1, input_scale=1"),
    (&["celu", "celu_"], "self, alpha=1.0"),
    (&["softplus"], "self, beta=1, threshold=20"),
    (&["hardtanh", "hardtanh_"], "self, min_val=-1, max_val=1"),
    (&["threshold", "threshold_"], "self, threshold, value"),
    (&["hardshrink", "softshrink"], "self, lambd=0.5"),
    (&["glu"], "self, dim=-1"),
    (&["rrelu", "rrelu_"], "self, lower=0.125, upper=0.3333333333333333, training=False"),
    (&["pixel_shuffle"], "self, upscale_factor"),
    (&["pixel_unshuffle"], "self, downscale_factor"),
    (&["channel_shuffle"], "self, groups"),
    (&["im2col"], "self, kernel_size, dilation, padding, stride"),
    (&["col2im"], "self, output_size, kernel_size, dilation, padding, stride"),
    (&["cosine_similarity"], "x1, x2, dim=1, eps=1e-08"),
    (&["pairwise_distance"], "x1, x2, p=2, eps=1e-06, keepdim=False"),
    (
        &["embedding_bag"],
        "weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None",
    ),
    (&["rnn_tanh_cell", "rnn_relu_cell"], "input, hx, w_ih, w_hh, b_ih=None, b_hh=None"),
    (&["pad"], "self, pad, mode='constant', value=None"),
    (&["mul", "add", "div"], "self, other"),
    (&["pow"], "self, exponent"),
    (&["transpose"], "self, dim0, dim1"),
    (&["unsqueeze"], "self, dim"),
    (&["view", "reshape"], "self, size"),
    (&["_native_multi_head_attention"], "query, key, value, embed_dim, num_head"),
    (
        &["lstm", "gru", "rnn_tanh", "rnn_relu"],
        "input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first",
    ),
];

/// What a layer's op says of it.
pub(super) struct Layer {
    /// Class names behind `torch.nn.modules.`, without the digit of the dimensions.
    pub classes: &'static [&'static str],
    /// The op that is the layer, without the digit.
    pub ops: &'static [&'static str],
    /// Arguments that are hyper-parameters: argument and attribute.
    pub takes: &'static [(&'static str, &'static str)],
    /// Arguments that are one number or one for each spatial axis.
    pub spatial: &'static [&'static str],
    /// Hyper-parameters that tell whether an argument is not None.
    pub given: &'static [(&'static str, &'static str)],
    /// Hyper-parameters that an op tells by being the one: op, attribute, value.
    pub says: &'static [(&'static str, &'static str, &'static str)],
    /// Hyper-parameters that are sizes of a tensor: tensor, axis, attribute.
    pub sizes: &'static [(&'static str, usize, &'static str)],
}

const BLANK: Layer = Layer { classes: &[], ops: &[], takes: &[], spatial: &[], given: &[], says: &[], sizes: &[] };
const NORM: &[(&str, &str)] = &[("eps", "eps"), ("momentum", "momentum")];
const NORM_GIVEN: &[(&str, &str)] = &[("weight", "affine"), ("running_mean", "track_running_stats")];

pub(super) const LAYERS: &[Layer] = &[
    Layer {
        classes: &["conv.Conv"],
        ops: &["conv", "_convolution", "convolution", "_convolution_mode"],
        takes: &[("groups", "groups")],
        spatial: &["stride", "padding", "dilation"],
        sizes: &[("weight", 0, "out_channels")],
        ..BLANK
    },
    Layer {
        classes: &["conv.ConvTranspose"],
        ops: &["conv_transpose", "_convolution", "convolution"],
        takes: &[("groups", "groups")],
        spatial: &["stride", "padding", "output_padding", "dilation"],
        sizes: &[("weight", 0, "in_channels")],
        ..BLANK
    },
    Layer {
        classes: &["batchnorm.BatchNorm"],
        ops: &["batch_norm"],
        takes: NORM,
        given: NORM_GIVEN,
        sizes: &[("weight", 0, "num_features"), ("running_mean", 0, "num_features")],
        ..BLANK
    },
    Layer {
        classes: &["instancenorm.InstanceNorm"],
        ops: &["instance_norm"],
        takes: NORM,
        given: NORM_GIVEN,
        sizes: &[("weight", 0, "num_features"), ("running_mean", 0, "num_features")],
        ..BLANK
    },
    Layer {
        classes: &["normalization.LayerNorm"],
        ops: &["layer_norm"],
        takes: &[("normalized_shape", "normalized_shape"), ("eps", "eps")],
        given: &[("weight", "elementwise_affine")],
        ..BLANK
    },
    Layer {
        classes: &["normalization.RMSNorm"],
        ops: &["rms_norm"],
        takes: &[("normalized_shape", "normalized_shape"), ("eps", "eps")],
        given: &[("weight", "elementwise_affine")],
        ..BLANK
    },
    Layer {
        classes: &["normalization.GroupNorm"],
        ops: &["group_norm"],
        takes: &[("num_groups", "num_groups"), ("eps", "eps")],
        given: &[("weight", "affine")],
        sizes: &[("weight", 0, "num_channels")],
        ..BLANK
    },
    Layer {
        classes: &["sparse.Embedding"],
        ops: &["embedding"],
        takes: &[("padding_idx", "padding_idx")],
        sizes: &[("weight", 0, "num_embeddings"), ("weight", 1, "embedding_dim")],
        ..BLANK
    },
    Layer {
        classes: &["linear.Linear", "linear.NonDynamicallyQuantizableLinear"],
        ops: &["linear"],
        sizes: &[("weight", 1, "in_features"), ("weight", 0, "out_features")],
        ..BLANK
    },
    Layer { classes: &["activation.GELU"], ops: &["gelu"], takes: &[("approximate", "approximate")], ..BLANK },
    Layer {
        classes: &["activation.LeakyReLU"],
        ops: &["leaky_relu", "leaky_relu_"],
        takes: &[("negative_slope", "negative_slope")],
        ..BLANK
    },
    Layer {
        classes: &["activation.Softmax", "activation.Softmin"],
        ops: &["softmax"],
        takes: &[("dim", "dim")],
        ..BLANK
    },
    Layer { classes: &["activation.LogSoftmax"], ops: &["log_softmax"], takes: &[("dim", "dim")], ..BLANK },
    Layer { classes: &["activation.GLU"], ops: &["glu"], takes: &[("dim", "dim")], ..BLANK },
    Layer { classes: &["activation.ELU"], ops: &["elu", "elu_"], takes: &[("alpha", "alpha")], ..BLANK },
    Layer { classes: &["activation.CELU"], ops: &["celu", "celu_"], takes: &[("alpha", "alpha")], ..BLANK },
    Layer {
        classes: &["activation.Softplus"],
        ops: &["softplus"],
        takes: &[("beta", "beta"), ("threshold", "threshold")],
        ..BLANK
    },
    Layer {
        classes: &["activation.Hardtanh"],
        ops: &["hardtanh", "hardtanh_"],
        takes: &[("min_val", "min_val"), ("max_val", "max_val")],
        ..BLANK
    },
    Layer {
        classes: &["activation.Threshold"],
        ops: &["threshold", "threshold_"],
        takes: &[("threshold", "threshold"), ("value", "value")],
        ..BLANK
    },
    Layer { classes: &["activation.Hardshrink"], ops: &["hardshrink"], takes: &[("lambd", "lambd")], ..BLANK },
    Layer { classes: &["activation.Softshrink"], ops: &["softshrink"], takes: &[("lambd", "lambd")], ..BLANK },
    Layer {
        classes: &["activation.RReLU"],
        ops: &["rrelu", "rrelu_"],
        takes: &[("lower", "lower"), ("upper", "upper")],
        ..BLANK
    },
    Layer {
        classes: &["activation.MultiheadAttention"],
        ops: &["_native_multi_head_attention"],
        takes: &[("embed_dim", "embed_dim"), ("num_head", "num_heads")],
        says: &[("_native_multi_head_attention", "batch_first", "True")],
        ..BLANK
    },
    Layer { classes: &["dropout.Dropout"], ops: &["dropout", "feature_dropout"], takes: &[("p", "p")], ..BLANK },
    Layer {
        classes: &["pooling.MaxPool"],
        ops: &["max_pool", "max_pool_with_indices"],
        takes: &[("ceil_mode", "ceil_mode")],
        spatial: &["kernel_size", "stride", "padding", "dilation"],
        says: &[("max_pool", "return_indices", "False"), ("max_pool_with_indices", "return_indices", "True")],
        ..BLANK
    },
    Layer {
        classes: &["pooling.AvgPool"],
        ops: &["avg_pool"],
        takes: &[
            ("ceil_mode", "ceil_mode"),
            ("count_include_pad", "count_include_pad"),
            ("divisor_override", "divisor_override"),
        ],
        spatial: &["kernel_size", "stride", "padding"],
        ..BLANK
    },
    Layer {
        classes: &["pooling.AdaptiveAvgPool", "pooling.AdaptiveMaxPool"],
        ops: &["adaptive_avg_pool", "adaptive_max_pool"],
        spatial: &["output_size"],
        ..BLANK
    },
    Layer {
        classes: &["flatten.Flatten"],
        ops: &["flatten"],
        takes: &[("start_dim", "start_dim"), ("end_dim", "end_dim")],
        ..BLANK
    },
    Layer {
        classes: &["rnn.LSTM", "rnn.GRU", "rnn.RNN"],
        ops: &["lstm", "gru", "rnn_tanh", "rnn_relu"],
        says: &[("rnn_tanh", "nonlinearity", "'tanh'"), ("rnn_relu", "nonlinearity", "'relu'")],
        takes: &[
            ("num_layers", "num_layers"),
            ("has_biases", "bias"),
            ("batch_first", "batch_first"),
            ("dropout", "dropout"),
            ("bidirectional", "bidirectional"),
        ],
        sizes: &[("weight_ih_l0", 1, "input_size"), ("weight_hh_l0", 1, "hidden_size")],
        ..BLANK
    },
    Layer {
        classes: &["rnn.RNNCell"],
        ops: &["rnn_tanh_cell", "rnn_relu_cell"],
        says: &[("rnn_tanh_cell", "nonlinearity", "'tanh'"), ("rnn_relu_cell", "nonlinearity", "'relu'")],
        sizes: &[("weight_ih", 1, "input_size"), ("weight_hh", 1, "hidden_size")],
        ..BLANK
    },
    Layer {
        classes: &["upsampling.Upsample", "upsampling.UpsamplingNearest", "upsampling.UpsamplingBilinear"],
        ops: &[
            "upsample_nearest",
            "_upsample_nearest_exact",
            "upsample_linear",
            "upsample_bilinear",
            "upsample_trilinear",
            "upsample_bicubic",
        ],
        says: &[
            ("upsample_nearest", "mode", "'nearest'"),
            ("_upsample_nearest_exact", "mode", "'nearest-exact'"),
            ("upsample_linear", "mode", "'linear'"),
            ("upsample_bilinear", "mode", "'bilinear'"),
            ("upsample_trilinear", "mode", "'trilinear'"),
            ("upsample_bicubic", "mode", "'bicubic'"),
        ],
        ..BLANK
    },
    Layer {
        classes: &[
            "padding.ReflectionPad",
            "padding.ReplicationPad",
            "padding.CircularPad",
            "padding.ZeroPad",
            "padding.ConstantPad",
        ],
        ops: &["pad"],
        takes: &[("pad", "padding")],
        ..BLANK
    },
    Layer {
        classes: &["pixelshuffle.PixelShuffle"],
        ops: &["pixel_shuffle"],
        takes: &[("upscale_factor", "upscale_factor")],
        ..BLANK
    },
    Layer {
        classes: &["pixelshuffle.PixelUnshuffle"],
        ops: &["pixel_unshuffle"],
        takes: &[("downscale_factor", "downscale_factor")],
        ..BLANK
    },
    Layer {
        classes: &["channelshuffle.ChannelShuffle"],
        ops: &["channel_shuffle"],
        takes: &[("groups", "groups")],
        ..BLANK
    },
    Layer {
        classes: &["fold.Unfold"],
        ops: &["im2col"],
        takes: &[
            ("kernel_size", "kernel_size"),
            ("dilation", "dilation"),
            ("padding", "padding"),
            ("stride", "stride"),
        ],
        ..BLANK
    },
    Layer {
        classes: &["fold.Fold"],
        ops: &["col2im"],
        takes: &[
            ("output_size", "output_size"),
            ("kernel_size", "kernel_size"),
            ("dilation", "dilation"),
            ("padding", "padding"),
            ("stride", "stride"),
        ],
        ..BLANK
    },
    Layer {
        classes: &["flatten.Unflatten"],
        ops: &["unflatten"],
        takes: &[("dim", "dim"), ("sizes", "unflattened_size")],
        ..BLANK
    },
    Layer {
        classes: &["distance.CosineSimilarity"],
        ops: &["cosine_similarity"],
        takes: &[("dim", "dim"), ("eps", "eps")],
        ..BLANK
    },
    Layer {
        classes: &["distance.PairwiseDistance"],
        ops: &["pairwise_distance"],
        takes: &[("p", "norm"), ("eps", "eps"), ("keepdim", "keepdim")],
        ..BLANK
    },
    Layer {
        classes: &["sparse.EmbeddingBag"],
        ops: &["embedding_bag"],
        takes: &[("include_last_offset", "include_last_offset"), ("padding_idx", "padding_idx")],
        sizes: &[("weight", 0, "num_embeddings"), ("weight", 1, "embedding_dim")],
        ..BLANK
    },
    Layer {
        classes: &["pooling.LPPool"],
        ops: &["avg_pool"],
        takes: &[("ceil_mode", "ceil_mode")],
        spatial: &["kernel_size", "stride"],
        ..BLANK
    },
    Layer { classes: &["normalization.LocalResponseNorm"], ops: &["avg_pool"], ..BLANK },
];
