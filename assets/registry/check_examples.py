"""Run the examples of ops.toml in real PyTorch and real MLX: python assets/registry/check_examples.py [op].

The engines' own interpreters are measured by tests/engines/certify_ops.rs; this shows that the texts are Python that both libraries
accept, and that they agree there as well. Needs torch, mlx and numpy.
"""

import ast
import re
import sys
import tomllib
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
import torch.nn.functional as F

RANDOM = np.random.default_rng(7)


def values(text):
    """The array that an input's notation stands for."""
    if "[" in text:
        head, _, elements = text.partition("[")
        *dtype, shape = head.split()
        numbers = [float(number) for number in elements.rstrip("]").split(",")]
        shape = [int(size) for size in shape.split("x")]
        return np.array(numbers).astype(dtype[0] if dtype else "float32").reshape(shape)
    kind, shape = text.split()
    shape = [int(size) for size in shape.split("x")]
    if ids := re.fullmatch(r"ids\((\d+)\)", kind):
        return RANDOM.integers(0, int(ids[1]), shape)
    normal = RANDOM.standard_normal(shape)
    floats = {
        "normal": normal,
        "positive": 0.05 + abs(normal),
        "probabilities": RANDOM.uniform(0.02, 0.98, shape),
        "signs": np.sign(normal),
    }
    return normal > 0.4 if kind == "mask" else floats[kind].astype(np.float32)


def run(text, names):
    """The last statement's value, as a list of arrays."""
    tree = ast.parse(text)
    last = tree.body.pop()
    exec(compile(ast.Module(tree.body, []), "<example>", "exec"), names)
    result = eval(compile(ast.Expression(last.value), "<example>", "eval"), names)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def numpy(result):
    if isinstance(result, torch.Tensor):
        return result.to(torch.float64).numpy()
    floating = mx.issubdtype(result.dtype, mx.floating)
    return np.array(result.astype(mx.float32) if floating else result).astype(np.float64)


def compare(theirs, ours):
    """The largest difference relative to the largest element; infinite where the shapes differ."""
    theirs, ours = [numpy(x) for x in theirs], [numpy(x) for x in ours]
    if [x.shape for x in theirs] != [x.shape for x in ours]:
        return float("inf")
    worst = 0.0
    for a, b in zip(theirs, ours):
        if not (np.isnan(a) == np.isnan(b)).all():
            return float("inf")
        same = (a == b) | np.isnan(a)
        scale = max(abs(a[np.isfinite(a)]).max(initial=0.0), 1e-30)
        worst = max(worst, abs(np.where(same, 0.0, np.nan_to_num(a - b, nan=np.inf))).max(initial=0.0) / scale)
    return worst


def main():
    rows = tomllib.loads((Path(__file__).parent / "ops.toml").read_text())["op"]
    wanted, faults, counts = sys.argv[1:], 0, [0, 0]
    for row in rows:
        if "torch_example" not in row or wanted and row["torch"] not in wanted:
            continue
        given = {name: values(text) for name, text in row.get("inputs", {}).items()}
        ours = {name: mx.array(x.astype(np.int32) if x.dtype == np.int64 else x) for name, x in given.items()}
        # Both sides get copies: an example may assign to a part of an input.
        theirs = {name: torch.from_numpy(x.copy()) for name, x in given.items()}
        theirs = run(row["torch_example"], {"torch": torch, "F": F, **theirs})
        for kind, caught in (("mlx_example", False), ("naive_example", True)):
            if kind not in row:
                continue
            counts[caught] += 1
            try:
                apart = compare(theirs, run(row[kind], {"mx": mx, "nn": nn, **{n: mx.array(x) for n, x in ours.items()}}))
                said = f"{apart:.1e}"
            except Exception as error:
                apart, said = float("inf"), f"{type(error).__name__}: {error}".split("\n")[0]
            # Rounding explains a few units in the last place and nothing above.
            fault = (apart > 4e-6) != caught if kind == "mlx_example" else apart < 4e-7
            faults += fault
            print(f"{'FAULT' if fault else 'ok':<6} {kind:<14} {row['torch']:<34} {said[:90]}")
    print(f"{counts[0]} examples, {counts[1]} naive ones, {faults} faults")
    if not counts[0]:
        print("no row has that `torch`; give it in full, as in torch.roll")
    return 1 if faults or not counts[0] else 0


if __name__ == "__main__":
    sys.exit(main())
