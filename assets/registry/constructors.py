"""Write constructors.toml anew from the torch that this Python has: python assets/registry/constructors.py > constructors.toml

Names, order and defaults are those of the signatures. Which arguments a layer keeps, which of them one number stands for
several of, and what `weight` is shaped by, is seen on layers that are built: with numbers that are all different, one for
each argument that is required.
"""

import inspect
import json
import pathlib
import tomllib
import warnings

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
NAMES = HERE.parent / "samples" / "torch_nn_classes.txt"
HEAD = """\
# How torch.nn's constructors are called, from torch {version}; written by constructors.py.
#
#   class      full path; the call in source is torch.nn.<last part>
#   arguments  in order, `name` or `name = default`; a default is JSON, or the name of the argument whose value is taken
#   tuples     arguments of which one number stands for `axes` equal ones
#   dropped    arguments that the layer does not keep as attributes
#   constants  attributes that the layer sets itself
#   weight     shape of `weight`: an argument, a quotient of two, or all numbers of a tuple (`*kernel_size`)
"""
# Values of required arguments: no two alike, and fit for each other.
SAMPLES = {
    "in_features": 6, "out_features": 10, "in1_features": 6, "in2_features": 14, "num_embeddings": 22, "embedding_dim": 26,
    "normalized_shape": 34, "num_groups": 2, "num_channels": 38, "in_channels": 12, "out_channels": 20, "kernel_size": 3,
    "num_features": 46, "embed_dim": 24, "num_heads": 4, "input_size": 58, "hidden_size": 62, "d_model": 24, "nhead": 4,
    "upscale_factor": 2, "downscale_factor": 2, "groups": 2, "output_size": 5, "padding": 1, "value": 0.5, "threshold": 0.5,
    "norm_type": 2.0, "size": 5, "n_classes": 40, "cutoffs": [4, 9], "dim": 1, "unflattened_size": (2, 3), "lower": 0.1,
    "num_classes": 18,
}
SPECIAL = {
    "Fold": {"output_size": (8, 8)},
    "FractionalMaxPool2d": {"output_size": 5}, "FractionalMaxPool3d": {"output_size": 5},
    "AdaptiveLogSoftmaxWithLoss": {"in_features": 16},
}
# Attributes that no argument gives and a conversion needs.
CONSTANTS = {"UpsamplingNearest2d": ["mode"], "UpsamplingBilinear2d": ["mode", "align_corners"]}
# A None that the constructor replaces by the value of another argument.
SAME = {("stride", "kernel_size"), ("kdim", "embed_dim"), ("vdim", "embed_dim")}


def default(cls, name, value, built):
    for argument, other in SAME:
        if name == argument and value is None and getattr(built, name, None) == getattr(built, other, ""):
            return other
    if callable(value):
        return json.dumps(getattr(value, "__name__", "")).replace('"', "'")
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value).replace('"', "'")


def build(cls, signature):
    given = {name: SAMPLES[name] for name, p in signature.items() if p.default is p.empty and name in SAMPLES}
    given |= SPECIAL.get(cls.__name__, {})
    if cls.__name__ in ("TransformerEncoder", "TransformerDecoder"):
        part = "encoder_layer" if "Encoder" in cls.__name__ else "decoder_layer"
        given = {part: getattr(nn, cls.__name__ + "Layer")(8, 2), "num_layers": 3}
    return cls(**given), given


def kept(built, signature):
    return [name for name in signature if name in vars(built) or name in getattr(built, "__constants__", [])
            and hasattr(built, name)]


def spread(cls, built, signature, given):
    """Arguments that a layer turns from one number into equal ones, and how many."""
    axes = {}
    for name, p in signature.items():
        asked = given.get(name, p.default)
        value = getattr(built, name, None)
        if isinstance(asked, int) and not isinstance(asked, bool) and isinstance(value, tuple) and set(value) == {asked}:
            axes[name] = len(value)
        if asked is None and (name, "kernel_size") in SAME and isinstance(value, tuple):
            axes[name] = len(value)
    return axes


def weight(built, given, known):
    """What `weight` is shaped by, if each of its axes is one argument."""
    value = getattr(built, "weight", None)
    if known is not None or not isinstance(value, torch.Tensor):
        return known or []
    axes = []
    for size in value.shape:
        named = [name for name, asked in given.items() if asked == size]
        if len(named) != 1:
            return []
        axes += named
    return axes


def parameters(cls):
    """Of a class that passes everything on, the parameters of its base; of one that takes no notice, none."""
    signature = {n: p for n, p in inspect.signature(cls.__init__).parameters.items() if n != "self"}
    if not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.values()):
        return signature
    base = cls.__mro__[1]
    if base is nn.Module:
        return {n: p for n, p in signature.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    signature = {n: p for n, p in inspect.signature(base.__init__).parameters.items() if n not in ("self", "mode")}
    if cls is nn.RNN:
        # RNN alone has a nonlinearity, in fourth place, and no projection.
        items = list(signature.items())
        place = inspect.Parameter("nonlinearity", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="tanh")
        signature = dict(items[:3] + [("nonlinearity", place)] + items[3:])
        signature.pop("proj_size")
    if cls is nn.GRU:
        signature.pop("proj_size")
    return signature


def row(cls, known):
    signature = parameters(cls)
    built, given = build(cls, signature)
    arguments = []
    for name, p in signature.items():
        arguments.append(name if p.default is p.empty else f"{name} = {default(cls, name, p.default, built)}")
    axes = spread(cls, built, signature, given)
    keep = kept(built, signature)
    lines = [f'class = "{cls.__module__}.{cls.__name__}"', "arguments = " + json.dumps(arguments)]
    if known and known.get("tuples"):
        axes = {name: known["axes"] for name in known["tuples"]}
    if axes:
        lines += [f"axes = {max(axes.values())}", "tuples = " + json.dumps(list(axes))]
    dropped = [name for name in signature if name not in keep or isinstance(getattr(built, name), torch.Tensor)]
    dropped += [name for name in ("init",) if name in signature and name not in dropped]
    if dropped:
        lines.append("dropped = " + json.dumps(dropped))
    constants = [f"{name} = {json.dumps(getattr(built, name))}" for name in CONSTANTS.get(cls.__name__, [])]
    if constants:
        lines.append("constants = { " + ", ".join(constants) + " }")
    shape = weight(built, given, known and known.get("weight"))
    if shape:
        lines.append("weight = " + json.dumps(shape))
    return "[[constructor]]\n" + "\n".join(lines) + "\n"


def main():
    warnings.filterwarnings("ignore")
    known = {r["class"]: r for r in tomllib.loads((HERE / "constructors.toml").read_text())["constructor"]}
    print(HEAD.format(version=torch.__version__.split("+")[0].rsplit(".", 1)[0]))
    rows = []
    for path in NAMES.read_text().split():
        module, name = path.rsplit(".", 1)
        cls = getattr(__import__(module, fromlist=[name]), name, None)
        # Containers and wrappers are made of modules, lazy layers have no shapes yet, bases are not built.
        other = "container" in module or "parallel" in module or name.startswith("Lazy") or name.endswith("Base")
        if getattr(nn, name, None) is not cls or other or cls is nn.Module:
            continue
        rows.append(row(cls, known.get(path)))
    print("\n".join(rows), end="")


if __name__ == "__main__":
    main()
