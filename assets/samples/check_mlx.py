"""Run what the program shows: every sample's conversion in Python's MLX, against the layer in Python's PyTorch.

    cargo run --release --example export-programs > programs.jsonl
    python assets/samples/check_mlx.py programs.jsonl [NAME]

Needs torch 2.13 and mlx 0.32 (on Linux `mlx[cpu]`). Each line holds the Python of a conversion, its moved weights, the layer's own
weights and one input. Both are run, and the largest difference is held against 1e-4 of the output's scale: this finds a recipe
that Python's MLX would not run, or would run to something else; rounding is measured elsewhere. Exits 1 if one disagrees.
"""

import json
import sys

import mlx.core as mx
import mlx.nn as mlx_nn
import numpy
import torch
from torch import nn

BOUND = 1e-4
KINDS = {"float32": numpy.float32, "int64": numpy.int64, "bool": numpy.bool_}


def array(tensor):
    return numpy.array([float("nan") if v is None else v for v in tensor["values"]]).astype(KINDS[tensor["dtype"]]).reshape(tensor["shape"])


def flat(result):
    return [part for item in result for part in flat(item)] if isinstance(result, (tuple, list)) else [result]


def run_torch(line):
    module = eval(line["build"], {"nn": nn, "torch": torch}).eval()
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    with torch.no_grad():
        for name, tensor in line["torch"].items():
            own[name].copy_(torch.from_numpy(array(tensor)))
        inputs = [torch.from_numpy(array(tensor)) for tensor in line["inputs"]]
        call = line["call"] or {}
        names = call.get("inputs")
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and len(inputs) > 1:
            inputs = [inputs[0], tuple(inputs[1:]) if len(inputs) == 3 else inputs[1]]
        flags = {name: value for name, value in call.items() if name in ("need_weights", "average_attn_weights")}
        # With gradients on, Python's transformer layers do not take their fused path.
        with torch.enable_grad():
            result = module(**dict(zip(names, inputs)), **flags) if names else module(*inputs)
    result = [part for part in flat(result) if part is not None]
    return [part.detach().numpy() for part in result[: len(line["outputs"])]]


class Holder:
    """Where dotted names lead: attributes, and lists by number."""

    def __getitem__(self, index):
        return self.__dict__.setdefault(str(index), Holder())

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__.setdefault(name, Holder())


def place(root, name):
    *path, last = name.split(".")
    for part in path:
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root, last


def run_mlx(line):
    scope = {"mx": mx, "nn": mlx_nn, "self": Holder()}
    for built in line["built"]:
        exec(built, scope)
    for name, tensor in line["mlx"].items():
        root, last = place(scope["self"], f"layer.{name}" if line["own_layer"] else name)
        value = mx.array(array(tensor))
        if isinstance(root, mlx_nn.Module):
            known = root[last] if last in root else None
            assert known is not None and known.shape == value.shape, f"{name}: {value.shape} does not fit {known if known is None else known.shape}"
            root[last] = value
        else:
            setattr(root, last, value)
    layers = [scope["self"]]
    while layers:
        layer = layers.pop()
        if isinstance(layer, mlx_nn.Module):
            layer.eval()
        else:
            layers += [value for value in vars(layer).values() if isinstance(value, (Holder, mlx_nn.Module))]
    for name, tensor in zip(line["names"], line["inputs"]):
        value = array(tensor)
        value = value.transpose(tensor["axes"]) if tensor["axes"] else value
        scope[name] = mx.array(value.astype(numpy.int32) if value.dtype == numpy.int64 else value)
    *steps, last = line["lines"]
    for step in steps:
        exec(step, scope)
    results = flat(eval(last.removeprefix("return "), scope))
    outputs = []
    for result, axes in zip(results, line["outputs"]):
        value = numpy.array(result)
        outputs.append(value.transpose(axes) if axes and len(axes) == value.ndim else value)
    return outputs


def main():
    path, *names = sys.argv[1:]
    counts, worst = {"agree": 0, "disagree": 0}, 0.0
    for line in map(json.loads, open(path)):
        if names and not any(name in line["build"] for name in names):
            continue
        try:
            expected, got = run_torch(line), run_mlx(line)
            scale = max([float(numpy.abs(part[numpy.isfinite(part)]).max(initial=0.0)) for part in expected]) or 1.0
            error = max(float(numpy.abs(numpy.nan_to_num(a.astype(numpy.float64) - b)).max(initial=0.0)) if a.shape == b.shape else float("inf") for a, b in zip(expected, got, strict=True)) / scale
            said = "" if error <= BOUND else f"{error:.1e} of the scale, {[a.shape for a in expected]} and {[b.shape for b in got]}"
        except Exception as problem:  # whatever Python says is the finding
            error, said = float("inf"), f"{type(problem).__name__}: {problem}"
        counts["disagree" if said else "agree"] += 1
        worst = worst if said else max(worst, error)
        if said:
            print(f"{line['build']}\n    {said}\n    " + "\n    ".join(line["built"] + line["lines"]))
    print(f"{counts['agree']} conversions agree in Python, {counts['disagree']} do not; largest difference {worst:.1e} of the scale")
    sys.exit(counts["disagree"] > 0)


main()
