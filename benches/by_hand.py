"""What a person writes instead of `t2m-tui verify`: every leaf of a ResNet in torch and in MLX, side by side.

    python benches/by_hand.py resnet50.pt                 # inputs as the network itself has them, of an image of 224 x 224
    python benches/by_hand.py resnet50.pt --like run.json # inputs of the shapes in a report of `t2m-tui verify --format json`

It loads the pickled module (which runs the code in it), gives each leaf some inputs, runs it in torch in float32 and in float64 and
in mlx.nn with the same weights, laid out as MLX wants them, and prints how far the two are apart and what rounding explains. The
last line says how long it took to the first number and to the last, from the start of Python on. It needs torch, torchvision, mlx
and numpy. docs/performance.md holds its times against those of t2m-tui.
"""

import time

BEGUN = time.perf_counter()

import argparse
import copy
import json
import math
import sys

import mlx.core as mx
import mlx.nn as mnn
import numpy as np
import torch


def in_mlx(leaf):
    """The same layer in MLX, as a function of an input with channels last; None for a class that is not known here."""
    kind = type(leaf).__name__
    if kind == "Conv2d":
        groups = leaf.groups
        conv = mnn.Conv2d(
            leaf.in_channels, leaf.out_channels, leaf.kernel_size, leaf.stride, leaf.padding, leaf.dilation, groups,
            bias=leaf.bias is not None,
        )
        conv.weight = mx.array(leaf.weight.detach().numpy().transpose(0, 2, 3, 1))
        if leaf.bias is not None:
            conv.bias = mx.array(leaf.bias.detach().numpy())
        return conv
    if kind == "BatchNorm2d":
        norm = mnn.BatchNorm(leaf.num_features, eps=leaf.eps)
        norm.eval()
        norm.weight, norm.bias = mx.array(leaf.weight.detach().numpy()), mx.array(leaf.bias.detach().numpy())
        norm.running_mean, norm.running_var = mx.array(leaf.running_mean.numpy()), mx.array(leaf.running_var.numpy())
        return norm
    if kind == "ReLU":
        return mnn.ReLU()
    if kind == "MaxPool2d":
        return mnn.MaxPool2d(leaf.kernel_size, leaf.stride, leaf.padding)
    if kind == "AdaptiveAvgPool2d":
        return lambda x: x.mean(axis=(1, 2), keepdims=True)
    if kind == "Linear":
        linear = mnn.Linear(leaf.in_features, leaf.out_features)
        linear.weight, linear.bias = mx.array(leaf.weight.detach().numpy()), mx.array(leaf.bias.detach().numpy())
        return linear
    return None


def tolerance(leaf, shape, scale, own):
    """What rounding explains, by the rule of t2m-tui."""
    kind, terms = type(leaf).__name__, 0.0
    if kind == "Conv2d":
        terms = 0.75 * math.sqrt(leaf.in_channels // leaf.groups * math.prod(leaf.kernel_size))
    elif kind == "Linear":
        terms = 0.75 * math.sqrt(leaf.in_features)
    elif kind == "AdaptiveAvgPool2d":
        terms = 0.75 * math.sqrt(math.prod(shape[2:]))
    return max(float(np.finfo(np.float32).eps) * scale * (4 + terms), 4 * own)


def shapes_of(model, image):
    """The shapes of what each leaf is given when the network sees an image, by its path."""
    shapes, hooks = {}, []
    for path, leaf in leaves(model):

        def note(_, given, path=path):
            shapes.setdefault(path, tuple(given[0].shape))

        hooks.append(leaf.register_forward_pre_hook(note))
    with torch.no_grad():
        model(torch.zeros(1, 3, image, image))
    for hook in hooks:
        hook.remove()
    return shapes


def leaves(model):
    return [(path, module) for path, module in model.named_modules() if not list(module.children())]


def compare(leaf, double, other, given):
    """One trial: the largest, mean, 99th percentile and relative difference, the cosine, and the tolerance."""
    with torch.no_grad():
        ours = leaf(given).numpy()
        exact = double(given.double()).numpy()
    if given.dim() == 4:
        theirs = other(mx.array(given.numpy().transpose(0, 2, 3, 1)))
        mx.eval(theirs)
        theirs = np.array(theirs).transpose(0, 3, 1, 2)
    else:
        theirs = other(mx.array(given.numpy()))
        mx.eval(theirs)
        theirs = np.array(theirs)
    a, b = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    apart, scale = np.abs(a - b), np.abs(a).max()
    bound = tolerance(leaf, given.shape, scale, np.abs(a - exact.ravel()).max())
    above = np.abs(a) > bound
    relative = (apart[above] / np.abs(a[above])).max() if above.any() else 0.0
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return apart.max(), apart.mean(), np.quantile(apart, 0.99), relative, (a @ b / norms if norms else 1.0), bound


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--like", help="report of t2m-tui verify --format json")
    args = parser.parse_args()

    model = torch.load(args.checkpoint, weights_only=False).eval()
    if args.like:
        with open(args.like, encoding="utf-8") as file:
            layers = json.load(file)["layers"]
        shapes = {layer["path"]: [trial["input_shapes"][0] for trial in layer["trials"]] for layer in layers}
    else:
        shapes = {path: [shape] * args.trials for path, shape in shapes_of(model, args.image).items()}

    first, bad = None, 0
    print(f"{'layer':24} {'max abs':>9} {'mean':>9} {'p99':>9} {'rel':>9} {'cosine':>9} {'tolerance':>9}")
    for path, leaf in leaves(model):
        other = in_mlx(leaf)
        if other is None or path not in shapes:
            print(f"{path:24} not compared: {type(leaf).__name__}")
            continue
        leaf.inplace = False
        double = copy.deepcopy(leaf).double()
        worst = None
        for trial, shape in enumerate(shapes[path]):
            given = torch.randn(*shape, generator=torch.Generator().manual_seed(7 + trial))
            found = compare(leaf, double, other, given)
            worst = found if worst is None or found[0] > worst[0] else worst
            first = first or (time.perf_counter() - BEGUN, time.process_time())
        bad += worst[0] > worst[5]
        print(f"{path:24} " + " ".join(f"{value:9.2g}" for value in worst), flush=True)
    last = (time.perf_counter() - BEGUN, time.process_time())
    print(f"first number after {first[0]:.2f} s ({first[1]:.2f} s of processor time), ", end="")
    print(f"last after {last[0]:.2f} s ({last[1]:.2f}); {bad} beyond what rounding explains")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
