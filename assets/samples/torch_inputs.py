"""Random parameters and inputs for the layers of layers.jsonl, in every way that `check_torch.py` calls them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

SPATIAL = (13, 17, 11)


def randomise(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.4)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)


def ids(*shape, below):
    return torch.randint(0, below, shape)


def signs(*shape):
    return torch.randint(0, 2, shape) * 2.0 - 1


def hide(*shape):
    """A boolean mask that leaves something to look at in each row."""
    mask = torch.rand(shape) < 0.3
    mask[..., 0] = False
    return mask


def causal(size, boolean=False):
    mask = torch.ones(size, size).triu(1).bool()
    return mask if boolean else torch.zeros(size, size).masked_fill(mask, -math.inf)


def loss_inputs(name, module):
    score, other, rows = torch.randn(5, 6), torch.randn(5, 6), ids(5, below=6)
    match name.removesuffix("Loss"):
        case "BCE":
            yield torch.rand(5, 6), torch.rand(5, 6)
        case "BCEWithLogits":
            yield score, torch.rand(5, 6)
        case "KLDiv":
            yield score.log_softmax(1), other.log_softmax(1) if module.log_target else other.softmax(1)
        case "NLL":
            yield score.log_softmax(1), rows
            yield torch.randn(2, 6, 3, 4).log_softmax(1), ids(2, 3, 4, below=6)
        case "CrossEntropy":
            yield score, rows
            yield torch.randn(2, 6, 3, 4), ids(2, 3, 4, below=6)
            yield score, other.softmax(1)
        case "LinearCrossEntropy":
            yield torch.randn(5, 10), rows
            yield torch.randn(5, 10), other.softmax(1)
            yield torch.randn(10), ids(below=6)
        case "PoissonNLL":
            yield score if module.log_input else torch.rand(5, 6), ids(5, 6, below=5).float()
        case "GaussianNLL":
            for shape in ((5, 6), (5, 1), (5,)):
                yield score, other, torch.rand(shape) + 0.1
        case "HingeEmbedding" | "SoftMargin":
            yield score, signs(5, 6)
        case "CosineEmbedding":
            yield score, other, signs(5)
        case "MarginRanking":
            yield score[0], other[0], signs(6)
        case "MultiMargin":
            yield score, rows
            yield score[0], rows[0]
            yield score[0], rows[:1]
            yield score, rows[:1]
        case "MultiLabelMargin":
            yield score, torch.stack([torch.randperm(6) for _ in range(5)]).masked_fill(torch.rand(5, 6) < 0.3, -1)
        case "MultiLabelSoftMargin":
            yield score, (torch.rand(5, 6) < 0.5).float()
        case "TripletMargin" | "TripletMarginWithDistance":
            yield score, other, torch.randn(5, 6)
        case _:
            yield score, other


def unpool_inputs(module, axes):
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    window = module.kernel_size, module.stride, module.padding
    sizes = [(n - 1) * s + k - 2 * p for n, k, s, p in zip((5, 6, 4), *window)]
    yield pool(torch.randn(2, 3, *sizes), *window, return_indices=True), {}
    sizes = [size + 1 for size in sizes]
    yield pool(torch.randn(2, 3, *sizes), *window, return_indices=True), {"output_size": sizes}


def resize_inputs(module):
    several = [module.size, module.scale_factor]
    axes = {"linear": [1], "trilinear": [3], "nearest": [1, 2, 3], "area": [1, 2, 3]}.get(module.mode, [2])
    counts = [len(value) for value in several if isinstance(value, tuple)]
    for count in counts or (axes if module._get_name() == "Upsample" else [2]):
        yield (torch.randn(2, 3, *(7, 9, 5)[:count]),)


def recurrent_inputs(module):
    rows = module.num_layers * (2 if module.bidirectional else 1)
    hidden = [module.proj_size or module.hidden_size, module.hidden_size][: 2 if module.mode == "LSTM" else 1]
    shape = (3, 7) if module.batch_first else (7, 3)
    yield (torch.randn(*shape, module.input_size),)
    yield torch.randn(*shape, module.input_size), *(torch.randn(rows, 3, width) for width in hidden)
    yield torch.randn(7, module.input_size), *(torch.randn(rows, width) for width in hidden)


def cell_inputs(module, name):
    states = 2 if name == "LSTMCell" else 1
    yield (torch.randn(3, module.input_size),)
    yield torch.randn(3, module.input_size), *(torch.randn(3, module.hidden_size) for _ in range(states))
    yield torch.randn(module.input_size), *(torch.randn(module.hidden_size) for _ in range(states))


def bag_calls(module):
    last = [11] if module.include_last_offset else []
    flat, offsets = ids(11, below=40), torch.tensor([0, 4, 4, 7, *last])
    yield {"input": ids(4, 6, below=7)}, {}
    yield {"input": flat, "offsets": offsets}, {}
    yield {"offsets": offsets, "input": flat, "per_sample_weights": torch.randn(11)}, {}
    yield {"input": ids(4, 6, below=7), "per_sample_weights": torch.randn(4, 6)}, {}


def attention_calls(module):
    def inputs(queries, keys, *batch):
        widths = {"query": module.embed_dim, "key": module.kdim, "value": module.vdim}
        lengths = {"query": queries, "key": keys, "value": keys}
        order = (lambda n: (*batch, n)) if module.batch_first else (lambda n: (n, *batch))
        return {name: torch.randn(*order(lengths[name]), width) for name, width in widths.items()}

    heads = module.num_heads
    for wanted, average in ((True, True), (True, False), (False, True)):
        scalars = {"need_weights": wanted, "average_attn_weights": average}
        of_heads = {"attn_mask": torch.randn(3 * heads, 5, 7), "key_padding_mask": torch.randn(3, 7)}
        yield inputs(5, 7, 3), scalars
        yield {**inputs(5, 7, 3), "key_padding_mask": hide(3, 7), "attn_mask": hide(5, 7)}, scalars
        yield {**inputs(5, 7, 3), **of_heads}, scalars
        yield {**inputs(6, 6, 3), "attn_mask": causal(6, boolean=True)}, {**scalars, "is_causal": True}
        yield {**inputs(5, 7), "key_padding_mask": hide(7), "attn_mask": hide(heads, 5, 7)}, scalars


def transformer_calls(module, name):
    batch_first = next(part for part in module.modules() if isinstance(part, nn.MultiheadAttention)).batch_first

    def inputs(names, *batch):
        lengths = [5 if name == "tgt" else 7 for name in names]
        shapes = [(*batch, length, 24) if batch_first else (length, *batch, 24) for length in lengths]
        return {name: torch.randn(shape) for name, shape in zip(names, shapes)}

    mask = "mask" if name == "TransformerEncoder" else "src_mask"
    of_source = {mask: hide(7, 7), "src_key_padding_mask": hide(3, 7)}
    of_target = {"tgt_mask": torch.randn(5, 5), "tgt_key_padding_mask": torch.randn(3, 5)}
    of_memory = {"memory_mask": hide(5, 7), "memory_key_padding_mask": hide(3, 7)}
    if "Encoder" in name:
        yield inputs(["src"], 3), {}
        yield {**inputs(["src"], 3), **of_source}, {}
        yield {**inputs(["src"], 3), mask: causal(7)}, {}
        yield {**inputs(["src"], 3), mask: causal(7)}, {"is_causal": True}
        yield {**inputs(["src"]), mask: torch.randn(7, 7)}, {}
        return
    names = ["src", "tgt"] if name == "Transformer" else ["tgt", "memory"]
    if name == "Transformer":
        of_memory.update(of_source)
    yield inputs(names, 3), {}
    yield {**inputs(names, 3), **of_memory, **of_target}, {}
    yield {**inputs(names, 3), "tgt_mask": causal(5, boolean=True)}, {}
    yield {**inputs(names, 3), "tgt_mask": causal(5)}, {"tgt_is_causal": True}
    yield {**inputs(names), "tgt_mask": torch.randn(5, 5)}, {}


def plain_inputs(name, module):
    """Lists of positional inputs for layers that are called in one way."""
    axes = int(name[-2]) if name[-2:] in ("1d", "2d", "3d") else 2
    match name:
        case _ if name.endswith("Loss"):
            yield from loss_inputs(name, module)
        case "Linear":
            yield (torch.randn(3, 5, module.in_features),)
        case "Bilinear":
            yield torch.randn(3, 5, module.in1_features), torch.randn(3, 5, module.in2_features)
        case "Embedding":
            yield (ids(4, 6, below=module.num_embeddings),)
        case "SyncBatchNorm" | "BatchNorm1d" | "BatchNorm2d" | "BatchNorm3d":
            yield (torch.randn(3, 7, *(5, 9, 4)[:axes]),)
        case "InstanceNorm1d" | "InstanceNorm2d" | "InstanceNorm3d":
            yield (torch.randn(3, 7, *(5, 9, 4)[:axes]),)
            yield (torch.randn(7, *(5, 9, 4)[:axes]),)
        case "GroupNorm":
            yield (torch.randn(3, module.num_channels, 5, 4),)
        case "LayerNorm" | "RMSNorm":
            yield (torch.randn(3, 4, *module.normalized_shape),)
        case "LocalResponseNorm":
            yield (torch.randn(3, 8, 6),)
            yield (torch.randn(2, 8, 5, 7),)
        case "CrossMapLRN2d":
            yield (torch.randn(2, 9, 5, 7),)
            yield (torch.randn(2, 2, 5, 7),)
        case _ if name.startswith("Conv"):
            yield (torch.randn(2, module.in_channels, *SPATIAL[:axes]),)
            yield (torch.randn(module.in_channels, *SPATIAL[:axes]),)
        case _ if "Pool" in name or "Pad" in name:
            yield (torch.randn(2, 3, *SPATIAL[:axes]),)
            yield (torch.randn(3, *SPATIAL[:axes]),)
        case _ if name.startswith("Upsampl"):
            yield from resize_inputs(module)
        case "LSTM" | "GRU" | "RNN":
            yield from recurrent_inputs(module)
        case _ if name.endswith("Cell"):
            yield from cell_inputs(module, name)
        case "CosineSimilarity" | "PairwiseDistance":
            yield torch.randn(5, 7, 6), torch.randn(5, 7, 6)
        case "Unfold":
            yield (torch.randn(2, 3, 10, 13),)
        case "Fold":
            window = module.kernel_size, module.dilation, module.padding, module.stride
            yield (torch.randn_like(F.unfold(torch.randn(2, 2, *module.output_size), *window)),)
        case "Unflatten":
            yield (torch.randn(2, 12, 6),)
        case "PixelShuffle":
            yield (torch.randn(2, 2 * module.upscale_factor**2, 3, 5),)
        case "Dropout1d":
            yield (torch.randn(3, 6, 8),)
        case "Dropout3d":
            yield (torch.randn(2, 3, 4, 6, 8),)
        case _:
            yield (3 * torch.randn(3, 6, 4, 8),)


def cases(name, module):
    """The ways to call the layer: inputs by position with no call, or by name with the call's scalars."""
    calls = ()
    if name == "MultiheadAttention":
        yield list(next(attention_calls(module))[0].values()), None
        calls = attention_calls(module)
    elif name == "EmbeddingBag":
        calls = bag_calls(module)
    elif name.startswith("Transformer"):
        calls = transformer_calls(module, name)
    elif name.startswith("MaxUnpool"):
        pairs = unpool_inputs(module, int(name[-2]))
        calls = ((dict(zip(("input", "indices"), inputs)), scalars) for inputs, scalars in pairs)
    else:
        for inputs in plain_inputs(name, module):
            yield list(inputs), None
    for inputs, scalars in calls:
        yield list(inputs.values()), {"inputs": list(inputs), **scalars}
