"""Describe layers as real PyTorch builds them: class, attributes and tensor shapes, without weights.

    python assets/samples/make.py PROGRAM                    # writes layers.jsonl: the configurations that are measured, and
                                                             # torch_nn_classes.txt: the public classes of torch.nn
    python assets/samples/make.py PROGRAM --random 3200 FILE # random ones, one JSON object a line, gzipped

PROGRAM is t2m-tui: it reads the saved modules, so that a description is what it would see of a checkpoint. Each line is
{"build": the Python expression, "modules": as `inspect --format json` lists them, each with its path, class, attributes and
tensors (name, dtype, shape)}.

A line that is not about the default call of forward has a "call" as well:

    inputs      names of forward's parameters that are given, in its order; a state that is a tuple is one name
    masks       what a mask among them is: "bool" (random, True is left out, no row wholly), "float" (normal numbers, added),
                "causal" (bool, True above the diagonal)
    targets     of a loss: "spatial" (class ids, input with two axes behind the classes) or "probabilities" (of each class)
    the rest    forward's flags by their names: "need_weights", "average_attn_weights", "is_causal", …

random.jsonl.gz, a small sample of the random ones, is made with `--random 300 assets/samples/random.jsonl.gz`. The nightly one
is not kept: `--random 3200 random-3200.jsonl.gz --seed NUMBER` makes it in under a minute, another with each seed.
"""

import argparse
import gzip
import inspect as python_inspect
import json
import pathlib
import subprocess
import tempfile
import warnings

import torch
from torch import nn

from random_layers import random_layers

HERE = pathlib.Path(__file__).parent

LINEAR = [
    "nn.Linear(50, 24)",
    "nn.Linear(50, 24, bias=False)",
    "nn.Linear(1500, 7)",
    "nn.Bilinear(10, 14, 12)",
    "nn.Bilinear(12, 12, 9, bias=False)",
    "nn.Identity()",
    "nn.Embedding(100, 32)",
    "nn.Embedding(11, 6, padding_idx=0)",
    "nn.Embedding(40, 12, max_norm=1.0)",
    "nn.EmbeddingBag(40, 12)",
    "nn.EmbeddingBag(40, 12, mode='sum')",
    "nn.EmbeddingBag(40, 12, mode='max')",
    "nn.EmbeddingBag(40, 12, mode='mean', padding_idx=3)",
    "nn.EmbeddingBag(40, 12, mode='sum', include_last_offset=True)",
    "nn.EmbeddingBag(40, 12, max_norm=1.0)",
]
CONV = [
    "nn.Conv1d(6, 8, 3)",
    "nn.Conv1d(6, 8, 3, stride=2, padding=2, dilation=2)",
    "nn.Conv1d(12, 12, 5, groups=12, padding=2)",
    "nn.Conv1d(6, 8, 4, padding='same')",
    "nn.Conv1d(6, 8, 4, padding=3, padding_mode='circular')",
    "nn.Conv2d(6, 8, 3, padding=1)",
    "nn.Conv2d(3, 16, 7, stride=2, padding=3, bias=False)",
    "nn.Conv2d(6, 10, (3, 5), padding=(1, 2))",
    "nn.Conv2d(6, 10, (3, 5), stride=(2, 1), dilation=(1, 2), padding=(0, 3))",
    "nn.Conv2d(12, 12, (3, 2), groups=3, padding=(1, 0))",
    "nn.Conv2d(6, 12, 7, groups=6, padding=3)",
    "nn.Conv2d(6, 10, (4, 3), padding='same')",
    "nn.Conv2d(6, 10, (4, 3), padding='valid')",
    "nn.Conv2d(6, 10, 1)",
    "nn.Conv2d(6, 10, (3, 5), padding=(2, 1), padding_mode='reflect')",
    "nn.Conv2d(6, 10, (3, 5), padding=(2, 1), padding_mode='replicate')",
    "nn.Conv2d(6, 10, (3, 5), padding='same', padding_mode='circular')",
    "nn.Conv3d(4, 8, 3, padding=1)",
    "nn.Conv3d(4, 6, (2, 3, 1), stride=(1, 2, 1), dilation=(2, 1, 1), bias=False)",
    "nn.Conv3d(6, 8, 3, groups=2)",
    "nn.Conv3d(4, 6, (3, 1, 2), padding='same')",
    "nn.Conv3d(4, 6, 3, padding=1, padding_mode='replicate')",
    "nn.ConvTranspose1d(6, 8, 4, stride=2, padding=1)",
    "nn.ConvTranspose1d(6, 8, 3, stride=3, padding=1, output_padding=2)",
    "nn.ConvTranspose1d(12, 8, 3, groups=4, dilation=2)",
    "nn.ConvTranspose2d(6, 8, (4, 3), stride=(2, 1), padding=(1, 0))",
    "nn.ConvTranspose2d(6, 8, 3, stride=2, padding=1, output_padding=(1, 0))",
    "nn.ConvTranspose2d(8, 6, (3, 2), stride=2, groups=2, dilation=(1, 2))",
    "nn.ConvTranspose2d(6, 8, 2, stride=2, bias=False)",
    "nn.ConvTranspose3d(6, 4, 3, stride=2, padding=1, output_padding=1)",
    "nn.ConvTranspose3d(4, 6, (2, 3, 2), bias=False)",
    "nn.ConvTranspose3d(6, 4, 2, groups=2)",
]
NORM = [
    *(f"nn.BatchNorm{n}d(7{more})" for n in (1, 2, 3) for more in ("", ", affine=False, eps=1e-3", ", track_running_stats=False", ", bias=False")),
    "nn.SyncBatchNorm(7)",
    *(f"nn.InstanceNorm{n}d(7{more})" for n in (1, 2, 3) for more in ("", ", affine=True", ", affine=True, track_running_stats=True", ", affine=True, bias=False")),
    "nn.GroupNorm(4, 16)",
    "nn.GroupNorm(3, 12, eps=1e-3)",
    "nn.GroupNorm(1, 6)",
    "nn.GroupNorm(6, 6, affine=False)",
    "nn.GroupNorm(2, 6, bias=False)",
    "nn.LayerNorm(96)",
    "nn.LayerNorm(96, eps=1e-12)",
    "nn.LayerNorm(96, bias=False)",
    "nn.LayerNorm(96, elementwise_affine=False)",
    "nn.LayerNorm((5, 7, 3))",
    "nn.RMSNorm(96)",
    "nn.RMSNorm(96, eps=1e-6)",
    "nn.RMSNorm(96, elementwise_affine=False)",
    "nn.RMSNorm((5, 7))",
    "nn.LocalResponseNorm(5)",
    "nn.LocalResponseNorm(4, alpha=2e-2, beta=0.6, k=2.0)",
    "nn.CrossMapLRN2d(5, alpha=1e-2)",
]
POOL = [
    *(f"nn.MaxPool{n}d({more})" for n in (1, 2, 3) for more in ("2", "3, stride=2, padding=1", "3, stride=2, ceil_mode=True", "3, stride=1, dilation=2", "2, return_indices=True")),
    "nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0))",
    *(f"nn.AvgPool{n}d({more})" for n in (1, 2, 3) for more in ("2", "3, stride=2, padding=1", "3, stride=2, padding=1, count_include_pad=False", "3, stride=2, ceil_mode=True", "3, stride=2, padding=1, ceil_mode=True, count_include_pad=False")),
    "nn.AvgPool2d((3, 2), stride=(2, 1), divisor_override=5)",
    "nn.AvgPool3d(2, divisor_override=3)",
    "nn.AdaptiveAvgPool1d(5)",
    "nn.AdaptiveAvgPool1d(1)",
    "nn.AdaptiveAvgPool2d(1)",
    "nn.AdaptiveAvgPool2d((3, 5))",
    "nn.AdaptiveAvgPool2d((7, None))",
    "nn.AdaptiveAvgPool2d(30)",
    "nn.AdaptiveAvgPool3d((2, None, 3))",
    "nn.AdaptiveMaxPool1d(4)",
    "nn.AdaptiveMaxPool2d((3, 5))",
    "nn.AdaptiveMaxPool2d(4, return_indices=True)",
    "nn.AdaptiveMaxPool2d(40, return_indices=True)",
    "nn.AdaptiveMaxPool3d((2, 3, 4))",
    "nn.LPPool1d(2, 3, stride=2)",
    "nn.LPPool2d(2, 3, stride=2)",
    "nn.LPPool2d(3, (2, 3), ceil_mode=True)",
    "nn.LPPool3d(2, 2)",
    "nn.MaxUnpool1d(2)",
    "nn.MaxUnpool2d(2)",
    "nn.MaxUnpool2d((3, 2), stride=(2, 2), padding=(1, 0))",
    "nn.MaxUnpool3d(2)",
]
ACTIVATION = [
    *(f"nn.{name}()" for name in "ReLU ReLU6 SiLU Sigmoid Tanh Mish Softsign LogSigmoid SELU Hardswish Hardsigmoid Tanhshrink RReLU Softmax2d".split()),
    "nn.ReLU(inplace=True)",
    "nn.GELU()",
    "nn.GELU(approximate='tanh')",
    "nn.LeakyReLU()",
    "nn.LeakyReLU(0.2)",
    "nn.LeakyReLU(1.5)",
    "nn.ELU()",
    "nn.ELU(0.5)",
    "nn.CELU()",
    "nn.CELU(1.5)",
    "nn.Hardtanh()",
    "nn.Hardtanh(-2, 3)",
    "nn.Softplus()",
    "nn.Softplus(beta=2, threshold=5)",
    "nn.Softshrink()",
    "nn.Softshrink(0.7)",
    "nn.Hardshrink()",
    "nn.Hardshrink(0.7)",
    "nn.Threshold(0.1, 20)",
    "nn.RReLU(0.1, 0.5)",
    "nn.RReLU(1.2, 1.4)",
    "nn.PReLU()",
    "nn.PReLU(6)",
    "nn.GLU()",
    "nn.GLU(dim=1)",
    *(f"nn.{name}(dim={dim})" for name in ("Softmax", "LogSoftmax", "Softmin") for dim in (-1, 1, 2)),
    *(f"nn.{name}(0.3)" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")),
]
RECURRENT = [
    *(f"nn.{name}(10, 14{more})" for name in ("LSTM", "GRU", "RNN") for more in ("", ", batch_first=True", ", num_layers=2, bidirectional=True", ", num_layers=3, batch_first=True, bias=False")),
    "nn.RNN(10, 14, nonlinearity='relu', num_layers=2)",
    "nn.LSTM(10, 14, proj_size=6)",
    "nn.LSTM(10, 14, num_layers=2, bidirectional=True, proj_size=6, batch_first=True)",
    *(f"nn.{name}Cell(10, 14{more})" for name in ("LSTM", "GRU", "RNN") for more in ("", ", bias=False")),
    "nn.RNNCell(10, 14, nonlinearity='relu')",
]
ATTENTION = [
    "nn.MultiheadAttention(24, 4)",
    "nn.MultiheadAttention(24, 4, batch_first=True)",
    "nn.MultiheadAttention(24, 3, bias=False, batch_first=True)",
    "nn.MultiheadAttention(24, 4, kdim=10, vdim=18)",
    "nn.MultiheadAttention(24, 4, add_bias_kv=True)",
    "nn.MultiheadAttention(24, 4, add_zero_attn=True, batch_first=True)",
    "nn.MultiheadAttention(24, 4, add_bias_kv=True, add_zero_attn=True, kdim=10, vdim=18)",
    *(f"nn.Transformer{part}Layer(24, 4, dim_feedforward=40{more})" for part in ("Encoder", "Decoder") for more in ("", ", batch_first=True", ", norm_first=True, activation='gelu'", ", bias=False, layer_norm_eps=1e-6")),
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, batch_first=True), 2)",
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, norm_first=True), 3, norm=nn.LayerNorm(24))",
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, batch_first=True), 2, norm=nn.RMSNorm(24))",
    "nn.TransformerEncoderLayer(24, 4, 40, batch_first=True, activation=nn.functional.silu)",
    "nn.TransformerDecoder(nn.TransformerDecoderLayer(24, 4, 40), 2)",
    "nn.TransformerDecoder(nn.TransformerDecoderLayer(24, 4, 40, batch_first=True), 2, norm=nn.LayerNorm(24))",
    "nn.Transformer(24, 4, 2, 2, 40)",
    "nn.Transformer(24, 4, 1, 2, 40, batch_first=True, norm_first=True)",
]
SHAPE = [
    "nn.Flatten()",
    "nn.Flatten(0, 2)",
    "nn.Flatten(-2)",
    "nn.Unflatten(1, (3, 4))",
    "nn.Unflatten(-1, (2, -1))",
    "nn.PixelShuffle(2)",
    "nn.PixelShuffle(3)",
    "nn.PixelUnshuffle(2)",
    "nn.ChannelShuffle(3)",
    *(f"nn.{kind}Pad{n}d({pad})" for n, pad in ((1, "(2, 1)"), (2, "(1, 2, 3, 1)"), (3, "(1, 2, 0, 1, 2, 1)")) for kind in ("Zero", "Reflection", "Replication", "Circular")),
    *(f"nn.ConstantPad{n}d({pad}, 3.5)" for n, pad in ((1, "(2, 1)"), (2, "(1, 2, 3, 1)"), (3, "1"))),
    "nn.ZeroPad2d((-1, 2, 1, -2))",
    "nn.Upsample(scale_factor=2)",
    "nn.Upsample(scale_factor=1.5)",
    "nn.Upsample(scale_factor=(0.5, 2))",
    "nn.Upsample(size=(13, 20), mode='nearest-exact')",
    "nn.Upsample(scale_factor=2, mode='bilinear')",
    "nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True)",
    "nn.Upsample(scale_factor=1.7, mode='bilinear')",
    "nn.Upsample(scale_factor=1.7, mode='bilinear', recompute_scale_factor=True)",
    "nn.Upsample(size=(13, 20), mode='bilinear')",
    "nn.Upsample(scale_factor=2, mode='bicubic')",
    "nn.Upsample(size=(13, 20), mode='bicubic', align_corners=True)",
    "nn.Upsample(scale_factor=3, mode='linear')",
    "nn.Upsample(scale_factor=2, mode='trilinear')",
    "nn.Upsample(size=(4, 5), mode='area')",
    "nn.UpsamplingNearest2d(scale_factor=2)",
    "nn.UpsamplingBilinear2d(size=(13, 20))",
    "nn.Unfold(3)",
    "nn.Unfold((3, 2), dilation=(1, 2), padding=1, stride=2)",
    "nn.Fold((9, 11), 3)",
    "nn.Fold((9, 11), (3, 2), dilation=(1, 2), padding=1, stride=2)",
]
DISTANCE = [
    "nn.CosineSimilarity()",
    "nn.CosineSimilarity(dim=-1, eps=1e-3)",
    "nn.PairwiseDistance()",
    "nn.PairwiseDistance(p=1, keepdim=True)",
    "nn.PairwiseDistance(p=float('inf'))",
]
REDUCTIONS = ("mean", "sum", "none")
LOSS = [
    *(
        f"nn.{call[:-1]}{'' if call.endswith('()') else ', '}reduction='{reduction}')"
        for call in (
            "L1Loss()", "MSELoss()", "SmoothL1Loss()", "SmoothL1Loss(beta=0.5)", "HuberLoss()", "HuberLoss(delta=0.7)", "BCELoss()",
            "BCEWithLogitsLoss()", "KLDivLoss()", "KLDivLoss(log_target=True)", "NLLLoss()", "CrossEntropyLoss()", "CrossEntropyLoss(label_smoothing=0.1)",
            "CrossEntropyLoss(ignore_index=2)", "PoissonNLLLoss()", "PoissonNLLLoss(log_input=False, full=True)", "GaussianNLLLoss()", "GaussianNLLLoss(full=True)",
            "HingeEmbeddingLoss()", "HingeEmbeddingLoss(margin=0.4)", "CosineEmbeddingLoss()", "CosineEmbeddingLoss(margin=0.2)", "MarginRankingLoss(margin=0.3)",
            "SoftMarginLoss()", "MultiMarginLoss()", "MultiMarginLoss(p=2, margin=0.6)", "MultiLabelMarginLoss()", "MultiLabelSoftMarginLoss()",
            "TripletMarginLoss()", "TripletMarginLoss(margin=0.5, p=1, swap=True)", "TripletMarginWithDistanceLoss()",
        )
        for reduction in (REDUCTIONS if "(" in call and call.endswith("()") else ("mean",))
    ),
    "nn.KLDivLoss(reduction='batchmean')",
    "nn.CrossEntropyLoss(weight=torch.rand(6))",
    "nn.NLLLoss(weight=torch.rand(6), ignore_index=1)",
    "nn.BCELoss(weight=torch.rand(6))",
    "nn.BCEWithLogitsLoss(pos_weight=torch.rand(6), weight=torch.rand(6))",
    "nn.MultiMarginLoss(weight=torch.rand(6))",
    "nn.MultiLabelSoftMarginLoss(weight=torch.rand(6))",
    "nn.LinearCrossEntropyLoss(10, 6)",
    "nn.LinearCrossEntropyLoss(10, 6, bias=True, label_smoothing=0.1)",
    "nn.LinearCrossEntropyLoss(10, 6, out_features=(2, 3))",
]
# Shapes that do not tell which axis is which.
SQUARE = [
    "nn.Linear(24, 24)",
    "nn.Conv1d(3, 8, 3)",
    "nn.Conv2d(3, 8, 3)",
    "nn.Conv3d(3, 6, 3)",
    "nn.ConvTranspose1d(8, 8, 3)",
    "nn.ConvTranspose2d(8, 8, 3)",
]
LAYERS = [*LINEAR, *CONV, *NORM, *POOL, *ACTIVATION, *RECURRENT, *ATTENTION, *SHAPE, *DISTANCE, *LOSS, *SQUARE]


def given(*inputs, **more):
    """How forward is called."""
    return {"inputs": list(inputs), **more}


def masked(*inputs, flags=(), **masks):
    """A call with masks, which follow the other inputs."""
    return {"inputs": [*inputs, *masks], "masks": masks, **dict(flags)}


QUERY = ("query", "key", "value")
MASKED_ATTENTION = [
    masked(*QUERY, attn_mask="bool"),
    masked(*QUERY, attn_mask="float"),
    masked(*QUERY, attn_mask="causal"),
    masked(*QUERY, key_padding_mask="bool"),
    masked(*QUERY, key_padding_mask="bool", attn_mask="bool"),
]
ATTENTION_CALLS = [
    *MASKED_ATTENTION,
    masked(*QUERY, attn_mask="causal", flags={"need_weights": False, "is_causal": True}),
    masked(*QUERY, key_padding_mask="bool", attn_mask="float", flags={"need_weights": True, "average_attn_weights": False}),
    given(*QUERY, need_weights=False),
    given(*QUERY, need_weights=True, average_attn_weights=True),
    given(*QUERY, need_weights=True, average_attn_weights=False),
]
STATES = [given("input", "hx")]
BAGS = [given("input", "offsets")]
WEIGHTED_BAGS = [given("input", "offsets"), given("input", "per_sample_weights"), given("input", "offsets", "per_sample_weights")]
TARGETS = [given("input", "target", targets="spatial")]
CALLS = {
    "nn.MultiheadAttention(24, 4)": ATTENTION_CALLS,
    "nn.MultiheadAttention(24, 4, batch_first=True)": ATTENTION_CALLS,
    "nn.MultiheadAttention(24, 4, kdim=10, vdim=18)": MASKED_ATTENTION,
    "nn.MultiheadAttention(24, 4, add_bias_kv=True)": MASKED_ATTENTION,
    "nn.MultiheadAttention(24, 4, add_zero_attn=True, batch_first=True)": MASKED_ATTENTION,
    "nn.MultiheadAttention(24, 4, add_bias_kv=True, add_zero_attn=True, kdim=10, vdim=18)": [
        *MASKED_ATTENTION,
        masked(*QUERY, key_padding_mask="bool", attn_mask="float", flags={"need_weights": True, "average_attn_weights": False}),
    ],
    **dict.fromkeys(
        ("nn.TransformerEncoderLayer(24, 4, dim_feedforward=40)", "nn.TransformerEncoderLayer(24, 4, dim_feedforward=40, batch_first=True)"),
        [masked("src", src_mask="float"), masked("src", src_key_padding_mask="bool"), masked("src", src_mask="causal", src_key_padding_mask="bool")],
    ),
    "nn.TransformerEncoderLayer(24, 4, dim_feedforward=40, norm_first=True, activation='gelu')": [masked("src", src_mask="causal")],
    **dict.fromkeys(
        ("nn.TransformerDecoderLayer(24, 4, dim_feedforward=40)", "nn.TransformerDecoderLayer(24, 4, dim_feedforward=40, batch_first=True)"),
        [
            masked("tgt", "memory", tgt_mask="causal"),
            masked("tgt", "memory", tgt_mask="causal", memory_key_padding_mask="bool"),
            masked("tgt", "memory", tgt_mask="float", memory_mask="float"),
        ],
    ),
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, batch_first=True), 2)": [masked("src", mask="causal"), masked("src", src_key_padding_mask="bool")],
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, norm_first=True), 3, norm=nn.LayerNorm(24))": [masked("src", mask="causal")],
    "nn.TransformerDecoder(nn.TransformerDecoderLayer(24, 4, 40), 2)": [masked("tgt", "memory", tgt_mask="causal", memory_key_padding_mask="bool")],
    "nn.Transformer(24, 4, 2, 2, 40)": [
        masked("src", "tgt", tgt_mask="causal"),
        masked("src", "tgt", tgt_mask="causal", src_key_padding_mask="bool", memory_key_padding_mask="bool"),
    ],
    "nn.Transformer(24, 4, 1, 2, 40, batch_first=True, norm_first=True)": [masked("src", "tgt", src_mask="float", tgt_mask="causal")],
    **{f"nn.{name}(10, 14{more})": STATES for name in ("LSTM", "GRU", "RNN") for more in ("", ", batch_first=True", ", num_layers=2, bidirectional=True")},
    "nn.LSTM(10, 14, num_layers=2, bidirectional=True, proj_size=6, batch_first=True)": STATES,
    **{f"nn.{name}Cell(10, 14{more})": STATES for name in ("LSTM", "GRU", "RNN") for more in ("", ", bias=False")},
    "nn.EmbeddingBag(40, 12)": BAGS,
    "nn.EmbeddingBag(40, 12, mode='max')": BAGS,
    "nn.EmbeddingBag(40, 12, mode='mean', padding_idx=3)": BAGS,
    "nn.EmbeddingBag(40, 12, mode='sum')": WEIGHTED_BAGS,
    "nn.EmbeddingBag(40, 12, mode='sum', include_last_offset=True)": WEIGHTED_BAGS,
    **{f"nn.CrossEntropyLoss({more})": TARGETS for more in (*(f"reduction='{name}'" for name in REDUCTIONS), "ignore_index=2, reduction='mean'", "weight=torch.rand(6)")},
    **{f"nn.NLLLoss({more})": TARGETS for more in ("reduction='mean'", "reduction='none'", "weight=torch.rand(6), ignore_index=1")},
}
for expression in ("reduction='mean'", "reduction='none'", "label_smoothing=0.1, reduction='mean'", "weight=torch.rand(6)"):
    CALLS[f"nn.CrossEntropyLoss({expression})"] = [*CALLS.get(f"nn.CrossEntropyLoss({expression})", []), given("input", "target", targets="probabilities")]


# What crates/mlx/src/blocks has a block for, and what is like it but is none.
TEMPLATES = [
    "nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Dropout(0.1), nn.Linear(40, 10))",
    "nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 32), nn.GELU(), nn.Linear(32, 10))",
    "nn.Sequential(nn.Linear(24, 40, bias=False), nn.GELU(approximate='tanh'), nn.Identity(), nn.Linear(40, 10, bias=False))",
    "nn.Sequential(nn.Linear(600, 900), nn.SiLU(), nn.Linear(900, 600), nn.Dropout(0.2))",
    "nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 4))",
    "nn.Sequential(nn.Linear(7, 5), nn.Sigmoid(), nn.Linear(5, 3))",
    "nn.Sequential(nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU())",
    "nn.Sequential(nn.Conv2d(6, 8, 3, groups=2), nn.ReLU())",
    "nn.Sequential(nn.Conv1d(6, 9, 5, stride=3, padding=2), nn.BatchNorm1d(9, eps=1e-3))",
    "nn.Sequential(nn.Conv1d(6, 9, 3, padding=7), nn.GELU())",
    "nn.Sequential(nn.Conv1d(6, 8, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv1d(8, 12, 5, stride=3, groups=4), nn.BatchNorm1d(12), nn.GELU(), nn.Dropout(0.2))",
    "nn.Sequential(nn.Conv2d(3, 16, 7, stride=2, padding=3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 10, 1))",
    *(f"nn.TransformerEncoderLayer(16, 4, 40{more})" for more in (", batch_first=True", ", batch_first=True, norm_first=True", ", activation='gelu', bias=False", ", layer_norm_eps=1e-3, dropout=0.0")),
    *(f"nn.AdaptiveAvgPool2d({size})" for size in ("1", "(3, 5)", "(None, 4)", "7")),
]


def build(expression):
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    return eval(expression, {"nn": nn, "torch": torch, "transformers": None}).eval()


def described(program, expressions, build=build, saved=lambda modules: modules):
    """The modules of each expression, as the program reads them out of a checkpoint that holds them all."""
    modules = [build(expression) for expression in expressions]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "layers.pt"
        torch.save(saved(modules), path)
        report = json.loads(subprocess.run([program, "inspect", str(path), "--format", "json"], check=True, capture_output=True).stdout)
    tensors = {tensor["name"]: (tensor["dtype"], tensor["shape"]) for tensor in report["tensors"]}
    lines = [{"build": expression, "modules": []} for expression in expressions]
    for module in report["modules"]:
        index, _, path = module["path"].partition(".")
        if index == "":
            continue
        prefix = f"{module['path']}."
        own = [[name.removeprefix(prefix), *tensors[name]] for name in module["tensors"]]
        lines[int(index)]["modules"].append({"path": path, "class": module["class"], "attributes": module["attributes"], "tensors": own})
    return lines


def dumps(lines):
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--random", nargs=2, metavar=("COUNT", "FILE"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.random:
        count, file = arguments.random
        lines = described(arguments.program, random_layers(int(count), arguments.seed))
        with open(file, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as out:
            out.write(dumps(lines).encode())
    else:
        unknown = CALLS.keys() - set(LAYERS)
        assert not unknown, f"called but not listed: {unknown}"
        lines = described(arguments.program, LAYERS)
        calls = [{"build": line["build"], "call": call, "modules": line["modules"]} for line in lines for call in CALLS.get(line["build"], [])]
        (HERE / "layers.jsonl").write_text(dumps(lines + calls))
        (HERE / "templates.jsonl").write_text(dumps(described(arguments.program, TEMPLATES)))
        classes = {line["modules"][0]["class"] for line in lines}
        public = {f"{value.__module__}.{name}" for name, value in vars(nn).items() if python_inspect.isclass(value) and issubclass(value, nn.Module)}
        (HERE / "torch_nn_classes.txt").write_text("".join(f"{name}\n" for name in sorted(public)))
        print(f"{len(lines)} configurations of {len(classes)} classes, {len(calls)} other calls of them; none of:", *sorted(public - classes), sep="\n")
