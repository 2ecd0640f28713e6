"""Random configurations of every layer of torch.nn that is measured, as the Python expressions that build them.

One generator for each family, which draws the constructor's arguments; FAMILIES says which classes it serves. Sizes are
small, all hyper-parameters vary, and each configuration is one that PyTorch accepts for some input.
"""

import itertools
import random
import re


class Code(str):
    """An argument that is an expression of its own."""

    __repr__ = str.__str__


class Draw:
    """Random choices for one layer. `axes` is how many spatial axes it has, by the digit in its name."""

    def __init__(self, rng, name):
        digit = re.search(r"([123])d$", name)
        self.rng, self.name, self.axes = rng, name, int(digit.group(1)) if digit else 1

    def chance(self, probability=0.5):
        return self.rng.random() < probability

    def one(self, *values):
        return self.rng.choice(values)

    def int(self, low, high):
        return self.rng.randint(low, high)

    def number(self, low, high):
        return round(self.rng.uniform(low, high), 2)

    def decade(self, low, high):
        """Between 10**low and 10**high, each decade as likely as the next."""
        return float(f"{10 ** self.rng.uniform(low, high):.1e}")

    def each(self, *values):
        """One of the values for every axis."""
        if self.chance():
            return [self.one(*values)] * self.axes
        return [self.one(*values) for _ in range(self.axes)]

    def shown(self, values):
        """As a constructor takes it: one number where all axes have the same."""
        return values[0] if len(set(values)) == 1 else tuple(values)

    def some(self, **keywords):
        """Each of the keywords or none of it: its default."""
        return {key: value for key, value in keywords.items() if self.chance(0.6)}

    def flags(self, *names):
        return {name: self.chance() for name in names if self.chance(0.6)}

    def weights(self, count):
        return Code(f"torch.rand({count})")


def call(name, *arguments, **keywords):
    texts = [repr(argument) for argument in arguments] + [f"{key}={value!r}" for key, value in keywords.items()]
    return f"nn.{name}({', '.join(texts)})"


# A family takes a Draw and returns the positional arguments and the keywords.


def bare(d):
    return (), {}


def linear(d):
    return (d.int(1, 300), d.int(1, 24)), d.flags("bias")


def bilinear(d):
    return (d.int(1, 20), d.int(1, 20), d.int(1, 20)), d.flags("bias")


def renormalized(d):
    """Arguments that embeddings share. Rows above max_norm are scaled down."""
    return {"max_norm": d.decade(-1, 1), **d.some(norm_type=d.one(1.0, 2.0, 3.0))} if d.chance(0.25) else {}


def embedding(d):
    rows = d.int(2, 60)
    padding = d.some(padding_idx=d.one(0, d.int(0, rows - 1), -d.int(1, rows)))
    return (rows, d.int(1, 24)), {**padding, **renormalized(d), **d.flags("scale_grad_by_freq")}


def embedding_bag(d):
    rows, mode = d.int(2, 60), d.one("sum", "mean", "max")
    return (rows, d.int(1, 24)), {"mode": mode, **d.some(padding_idx=d.int(0, rows - 1)), **renormalized(d), **d.flags("include_last_offset")}


def channels(d, groups):
    """Channels in and out, both a multiple of the groups."""
    return groups * d.int(1, 24 // groups), groups * d.int(1, 24 // groups)


def kernels(d):
    return d.each(*((1, 2, 3, 3, 4, 5, 7) if d.axes < 3 else (1, 2, 3, 4)))


def conv(d):
    groups = d.one(1, 1, 1, 2, 3, 4, "depthwise")
    if groups == "depthwise":
        groups = d.int(2, 12)
        into, out = groups, groups * d.int(1, 2)
    else:
        into, out = channels(d, groups)
    kernel, dilation = kernels(d), d.each(1, 1, 1, 2, 3)
    more = d.flags("bias")
    if d.chance(0.2):
        more |= {"padding": d.one("same", "same", "valid")}
    else:
        more |= d.some(padding=d.shown([d.int(0, size) for size in kernel]))
    if more.get("padding") != "same":
        more |= d.some(stride=d.shown(d.each(1, 2, 2, 3)))
    if d.chance(0.35):
        more |= {"padding_mode": d.one("reflect", "replicate", "circular")}
    if groups > 1:
        more |= {"groups": groups}
    if set(dilation) != {1}:
        more |= {"dilation": d.shown(dilation)}
    return (into, out, d.shown(kernel)), more


def conv_transpose(d):
    groups = d.one(1, 1, 1, 2, 3, 4)
    kernel, stride, dilation = kernels(d), d.each(1, 2, 2, 3, 4), d.each(1, 1, 1, 2, 3)
    # What is added to the output has to be less than one step of the stride or of the dilation.
    extra = [d.int(0, max(pair) - 1) for pair in zip(stride, dilation)]
    padding = [d.int(0, reach * (size - 1)) for reach, size in zip(dilation, kernel)]
    more = {**d.some(padding=d.shown(padding), output_padding=d.shown(extra)), **d.flags("bias")}
    return (*channels(d, groups), d.shown(kernel)), {"stride": d.shown(stride), "dilation": d.shown(dilation), "groups": groups, **more}


def batch_norm(d):
    return (d.int(1, 24),), {**d.some(eps=d.decade(-12, -1), momentum=d.one(None, 0.01, 0.1, 0.5, 1.0)), **d.flags("affine", "track_running_stats", "bias")}


def instance_norm(d):
    return (d.int(1, 24),), {**d.some(eps=d.decade(-12, -1), momentum=d.one(0.01, 0.1, 0.5)), **d.flags("affine", "track_running_stats", "bias")}


def group_norm(d):
    groups = d.int(1, 8)
    return (groups, groups * d.int(1, 24 // groups)), {**d.some(eps=d.decade(-12, -1)), **d.flags("affine", "bias")}


def normalized_shape(d):
    rank = d.one(1, 1, 1, 2, 3)
    sizes = [d.int(2, (0, 96, 12, 7)[rank]) for _ in range(rank)]
    return sizes[0] if rank == 1 and d.chance(0.7) else tuple(sizes)


def layer_norm(d):
    return (normalized_shape(d),), {**d.some(eps=d.decade(-12, -1)), **d.flags("elementwise_affine", "bias")}


def rms_norm(d):
    return (normalized_shape(d),), {**d.some(eps=d.one(None, d.decade(-12, -1), d.decade(-12, -1))), **d.flags("elementwise_affine")}


def response_norm(d):
    return (d.int(1, 7),), d.some(alpha=d.decade(-4, 0), beta=d.number(0.2, 1.5), k=d.one(0.5, 1.0, 2.0, d.number(0.5, 4)))


def window(d):
    """Kernel, and what moves it: a stride of its own or the kernel, padding at most half of the kernel."""
    kernel = d.each(1, 2, 2, 3, 3, 4, 5, 7) if d.axes < 3 else d.each(1, 2, 3, 4)
    padding = [d.int(0, size // 2) for size in kernel]
    return kernel, padding, d.some(stride=d.shown(d.each(1, 2, 3, 4)), padding=d.shown(padding))


def max_pool(d):
    kernel, _, more = window(d)
    return (d.shown(kernel),), {**more, **d.some(dilation=d.shown(d.each(1, 1, 2, 3))), **d.flags("ceil_mode", "return_indices")}


def avg_pool(d):
    kernel, _, more = window(d)
    divisor = d.some(divisor_override=d.int(1, 9)) if d.axes > 1 and d.chance() else {}
    return (d.shown(kernel),), {**more, **d.flags("ceil_mode", "count_include_pad"), **divisor}


def max_unpool(d):
    kernel, _, more = window(d)
    return (d.shown(kernel),), more


def lp_pool(d):
    kernel, _, more = window(d)
    more.pop("padding", None)
    return (d.one(1, 2, 2.0, 3, 4, 1.5), d.shown(kernel)), {**more, **d.flags("ceil_mode")}


def adaptive_pool(d):
    sizes = d.each(*range(1, (0, 25, 13, 7)[d.axes]))
    if d.axes > 1 and d.chance(0.3):
        sizes[d.int(0, d.axes - 1)] = None
    size = tuple(sizes) if None in sizes else d.shown(sizes)
    return (size,), d.flags("return_indices") if "Max" in d.name else {}


def inplace(d):
    return (), d.flags("inplace")


def positive_alpha(d):
    return (), {**d.some(alpha=d.number(0.05, 3)), **d.flags("inplace")}


def gelu(d):
    return (), d.some(approximate=d.one("none", "tanh"))


def leaky_relu(d):
    return (), {**d.some(negative_slope=d.one(0.0, d.decade(-4, 0), d.number(-0.5, 1.5))), **d.flags("inplace")}


def hardtanh(d):
    low = d.number(-3, 1)
    return (low, round(low + d.number(0.1, 4), 2)), d.flags("inplace")


def softplus(d):
    return (), d.some(beta=d.number(0.1, 8), threshold=d.number(0, 30))


def shrink(d):
    return (), d.some(lambd=d.number(0, 2))


def threshold(d):
    return (d.number(-1, 1), d.number(-20, 20)), d.flags("inplace")


def rrelu(d):
    lower = d.number(0, 0.5)
    return (lower, round(lower + d.number(0, 0.5), 2)), d.flags("inplace")


def prelu(d):
    return (d.one(1, d.int(2, 24)),), d.some(init=d.number(-0.5, 1))


def split_axis(d):
    return (), {"dim": d.one(-1, -2, -3, 1, 2, 3)}


def axis(d):
    return (), {"dim": d.one(None, -1, -2, -3, -4, 0, 1, 2, 3)}


def dropout(d):
    return (), {**d.some(p=d.one(0.0, d.number(0, 1), 1.0)), **d.flags("inplace")}


def recurrent(d):
    hidden, layers = d.int(2, 16), d.one(1, 1, 2, 3)
    more = {"num_layers": layers, **d.flags("bias", "batch_first", "bidirectional")}
    if layers > 1:
        more |= d.some(dropout=d.number(0, 0.9))
    if d.name == "LSTM" and d.chance(0.35):
        more |= {"proj_size": d.int(1, hidden - 1)}
    if d.name == "RNN":
        more |= d.some(nonlinearity=d.one("tanh", "relu"))
    return (d.int(1, 16), hidden), more


def cell(d):
    return (d.int(1, 24), d.int(1, 24)), {**d.flags("bias"), **(d.some(nonlinearity=d.one("tanh", "relu")) if d.name == "RNNCell" else {})}


def heads(d):
    """Width and heads of an attention."""
    count = d.one(1, 2, 3, 4, 6)
    return count * d.int(1, 24 // count), count


def attention(d):
    sizes = d.some(kdim=d.int(1, 24), vdim=d.int(1, 24)) if d.chance() else {}
    return heads(d), {**sizes, **d.some(dropout=d.number(0, 0.9)), **d.flags("bias", "add_bias_kv", "add_zero_attn", "batch_first")}


def transformer_options(d):
    activation = d.one(*["relu", "gelu"] * 4, Code("nn.functional.silu"), Code("nn.Mish()"))
    numbers = d.some(dropout=d.number(0, 0.9), activation=activation, layer_norm_eps=d.decade(-9, -1))
    return {**numbers, **d.flags("batch_first", "norm_first", "bias")}


def transformer_layer(d):
    return (*heads(d), d.int(1, 48)), transformer_options(d)


def transformer_stack(d):
    (width, count, inner), more = transformer_layer(d)
    layer = Code(call(f"{d.name}Layer", width, count, inner, **more))
    norm = d.one(call("LayerNorm", width), call("LayerNorm", width, eps=d.decade(-9, -1), bias=d.chance()), call("RMSNorm", width))
    return (layer, d.int(1, 3)), d.some(norm=Code(norm))


def transformer(d):
    return (*heads(d), d.int(1, 2), d.int(1, 2), d.int(1, 48)), transformer_options(d)


def flatten(d):
    """Axes of an input with four, counted from either end."""
    start = d.int(0, 3)
    end = d.int(start, 3)
    return (d.one(start, start - 4), d.one(end, end - 4)), {}


def unflatten(d):
    sizes = [d.int(1, 5) for _ in range(d.int(1, 3))]
    if d.chance(0.3):
        sizes[d.int(0, len(sizes) - 1)] = -1
    return (d.one(1, 2, 3, -1, -2, -3), tuple(sizes)), {}


def factor(d):
    return (d.int(1, 12) if d.name == "ChannelShuffle" else d.int(1, 6),), {}


def pad(d):
    """Before and after each axis, the last first; negative ones cut."""
    sides = [d.one(0, 1, 2, 3) for _ in range(2 * d.axes)]
    if d.chance(0.3):
        sides = [-side if d.chance(0.3) else side for side in sides]
    sides = sides[0] if d.chance(0.25) else tuple(sides)
    return ((sides, d.number(-9, 9)) if d.name.startswith("Constant") else (sides,)), {}


def resized(d):
    """A size or a factor, for every axis alike or each on its own."""
    if d.chance(0.4):
        return {"size": d.shown(d.each(*range(1, 16)))}
    return {"scale_factor": d.shown(d.each(0.4, 0.5, 1.0, 1.5, 2, 2.0, 3, d.number(0.3, 3)))}


def upsample(d):
    mode, d.axes = d.one(
        ("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2), ("nearest-exact", 3),
        ("area", 1), ("area", 2), ("area", 3), *[("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3)] * 2,
    )
    more = resized(d)
    if mode.endswith(("linear", "bicubic")):
        more |= d.flags("align_corners")
    if "scale_factor" in more:
        more |= d.flags("recompute_scale_factor")
    return (), {**more, "mode": mode}


def upsampling(d):
    return (), resized(d)


def patches(d):
    d.axes = 2
    kernel, dilation, padding, stride = d.each(1, 2, 3, 4), d.each(1, 1, 2, 3), d.each(0, 0, 1, 2), d.each(1, 2, 3)
    return kernel, dilation, padding, {"kernel_size": d.shown(kernel), "dilation": d.shown(dilation), "padding": d.shown(padding), "stride": d.shown(stride)}


def unfold(d):
    return (), patches(d)[-1]


def fold(d):
    kernel, dilation, padding, more = patches(d)
    # At least one patch has to fit in.
    least = [reach * (size - 1) + 1 - 2 * before for size, reach, before in zip(kernel, dilation, padding)]
    return (tuple(max(1, size) + d.int(0, 8) for size in least),), more


def similarity(d):
    return (), d.some(dim=d.one(-1, -2, 0, 1, 2), eps=d.decade(-10, 0))


def distance(d):
    return (), {**d.some(p=d.one(0.0, 1, 1.0, 2.0, 3.0, d.number(0.5, 5), Code("float('inf')")), eps=d.decade(-9, -1)), **d.flags("keepdim")}


def loss(**arguments):
    """A loss with a reduction and arguments of its own, each a function of the Draw."""
    reductions = arguments.pop("reductions", ("mean", "sum", "none"))

    def family(d):
        own = {name: value(d) for name, value in arguments.items()}
        return (), {**d.some(**own), "reduction": d.one(*reductions)}

    return family


def flag(d):
    return d.chance()


def margin(d):
    return d.number(0, 2)


def class_weights(d):
    return d.weights(d.int(2, 9))


def ignored(d):
    return d.one(-100, -1, 0, 1, 2)


def gaussian_nll(d):
    return (), {**d.flags("full"), **d.some(eps=d.decade(-9, -1)), "reduction": d.one("mean", "sum", "none")}


def logits_loss(d):
    count = d.int(2, 9)
    return (), {**d.some(weight=d.weights(count), pos_weight=d.weights(count)), "reduction": d.one("mean", "sum", "none")}


def linear_cross_entropy(d):
    classes = d.int(2, 9)
    more = d.some(weight=d.weights(classes), ignore_index=d.int(0, classes - 1), label_smoothing=d.number(0, 0.9))
    if d.chance(0.3):
        more |= {"out_features": tuple(d.int(1, 3) for _ in range(d.int(1, 2)))}
    return (d.int(1, 24), classes), {**d.flags("bias"), **more, "reduction": d.one("mean", "sum", "none")}


def triplet_by(d):
    by = Code(d.one("nn.PairwiseDistance()", "nn.PairwiseDistance(p=1.0)", "nn.CosineSimilarity()"))
    return loss(distance_function=lambda d: by, margin=lambda d: d.number(0.05, 2), swap=flag)(d)


FAMILIES = {
    bare: "Identity Sigmoid Tanh Softsign LogSigmoid Tanhshrink Softmax2d",
    linear: "Linear",
    bilinear: "Bilinear",
    embedding: "Embedding",
    embedding_bag: "EmbeddingBag",
    conv: "Conv1d Conv2d Conv3d",
    conv_transpose: "ConvTranspose1d ConvTranspose2d ConvTranspose3d",
    batch_norm: "BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm",
    instance_norm: "InstanceNorm1d InstanceNorm2d InstanceNorm3d",
    group_norm: "GroupNorm",
    layer_norm: "LayerNorm",
    rms_norm: "RMSNorm",
    response_norm: "LocalResponseNorm CrossMapLRN2d",
    max_pool: "MaxPool1d MaxPool2d MaxPool3d",
    avg_pool: "AvgPool1d AvgPool2d AvgPool3d",
    max_unpool: "MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    lp_pool: "LPPool1d LPPool2d LPPool3d",
    adaptive_pool: "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d",
    inplace: "ReLU ReLU6 SiLU SELU Hardswish Hardsigmoid Mish",
    positive_alpha: "ELU CELU",
    gelu: "GELU",
    leaky_relu: "LeakyReLU",
    hardtanh: "Hardtanh",
    softplus: "Softplus",
    shrink: "Softshrink Hardshrink",
    threshold: "Threshold",
    rrelu: "RReLU",
    prelu: "PReLU",
    split_axis: "GLU",
    axis: "Softmax LogSoftmax Softmin",
    dropout: "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout",
    recurrent: "LSTM GRU RNN",
    cell: "LSTMCell GRUCell RNNCell",
    attention: "MultiheadAttention",
    transformer_layer: "TransformerEncoderLayer TransformerDecoderLayer",
    transformer_stack: "TransformerEncoder TransformerDecoder",
    transformer: "Transformer",
    flatten: "Flatten",
    unflatten: "Unflatten",
    factor: "PixelShuffle PixelUnshuffle ChannelShuffle",
    pad: " ".join(f"{kind}Pad{axes}d" for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular") for axes in (1, 2, 3)),
    upsample: "Upsample",
    upsampling: "UpsamplingNearest2d UpsamplingBilinear2d",
    unfold: "Unfold",
    fold: "Fold",
    similarity: "CosineSimilarity",
    distance: "PairwiseDistance",
    loss(): "L1Loss MSELoss SoftMarginLoss MultiLabelMarginLoss",
    loss(beta=lambda d: d.one(0.0, d.number(0, 3))): "SmoothL1Loss",
    loss(delta=lambda d: d.decade(-2, 1)): "HuberLoss",
    loss(weight=class_weights): "BCELoss MultiLabelSoftMarginLoss",
    logits_loss: "BCEWithLogitsLoss",
    loss(log_target=flag, reductions=("mean", "sum", "none", "batchmean")): "KLDivLoss",
    loss(weight=class_weights, ignore_index=ignored): "NLLLoss",
    loss(weight=class_weights, ignore_index=ignored, label_smoothing=lambda d: d.number(0, 0.9)): "CrossEntropyLoss",
    loss(log_input=flag, full=flag, eps=lambda d: d.decade(-9, -1)): "PoissonNLLLoss",
    gaussian_nll: "GaussianNLLLoss",
    loss(margin=margin): "HingeEmbeddingLoss",
    loss(margin=lambda d: d.number(-1, 1)): "CosineEmbeddingLoss MarginRankingLoss",
    loss(p=lambda d: d.one(1, 2), margin=margin, weight=class_weights): "MultiMarginLoss",
    loss(margin=lambda d: d.number(0.05, 2), p=lambda d: d.one(1, 2, 3.0), eps=lambda d: d.decade(-9, -1), swap=flag): "TripletMarginLoss",
    triplet_by: "TripletMarginWithDistanceLoss",
    linear_cross_entropy: "LinearCrossEntropyLoss",
}
LAYERS = {name: family for family, names in FAMILIES.items() for name in names.split()}


def random_layer(rng, name):
    """A configuration of the class."""
    arguments, keywords = LAYERS[name](Draw(rng, name))
    return call(name, *arguments, **keywords)


def random_layers(count, seed):
    """That many configurations, each once, of all classes in turn: those of few configurations run out and are passed over."""
    rng = random.Random(seed)
    names, drawn = sorted(LAYERS), {}
    rng.shuffle(names)
    while len(drawn) < count:
        for name in list(names):
            fresh = next((layer for layer in (random_layer(rng, name) for _ in range(30)) if layer not in drawn), None)
            if fresh is None:
                names.remove(name)
            else:
                drawn[fresh] = name
    return list(itertools.islice(drawn, count))
