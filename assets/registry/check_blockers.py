"""Try what blockers.toml says of MLX: python assets/registry/check_blockers.py, with mlx installed.

Each claim is a few lines of Python and what becomes of them: the error that is raised, or the value that comes out. Each runs in
a process of its own, since an error inside mx.compile can leave the interpreter unwell.
"""

import pathlib
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).parent
HEAD = """
import mlx.core as mx, mlx.nn as nn
mx.set_default_device(mx.cpu)
x = mx.arange(12).reshape(3, 4).astype(mx.float32)
class Counter(nn.Module):
    def __init__(self): super().__init__(); self.steps = mx.zeros(1); self.row = mx.zeros(4)
    def __call__(self, x): self.steps = self.steps + 1; return x + self.steps
class Writer(Counter):
    def __call__(self, x): self.row[0] = x[0, 0] + 1; return x + self.row
def twice(module):
    f = mx.compile(module); a, b = f(x), f(x); mx.eval(a, b); return module.steps.item(), mx.eval(module.row)
def noise():
    f = mx.compile(lambda x: x + mx.random.normal(x.shape)); return mx.array_equal(f(x), f(x)).item()
def after(write):
    y = mx.array(x); write(y); return y[0, 1].item()
"""
ABSENT = "AttributeError"
# Pattern: expressions, each with the error it raises or the text of its value.
CLAIMS = {
    ".copy_(": {"x.copy_(x)": ABSENT},
    ".item()": {"mx.compile(lambda x: x * x.sum().item())(x)": "ValueError", "x.sum().item()": "66.0"},
    "register_forward_hook": {"nn.Module().register_forward_hook": ABSENT},
    "+=": {"after(lambda y: y.__iadd__(1))": "2.0", "after(lambda y: y[0].__iadd__(1))": "1.0"},
    "in-place method": {"x.clamp_(0, 1)": ABSENT},
    ".tolist()": {"mx.compile(lambda x: x.tolist())(x)": "ValueError"},
    ".numpy()": {"x.numpy()": ABSENT},
    "data-dependent branch": {"mx.compile(lambda x: x if x.sum() > 0 else -x)(x)": "ValueError"},
    "int() of a tensor": {"mx.compile(lambda x: int(x.sum()) * x)(x)": "ValueError", "int(x)": "ValueError"},
    "size from a tensor": {
        "range(mx.array(3))": "TypeError", "x[:mx.array(2)]": "ValueError", "mx.arange(mx.array(3))": "TypeError",
        "mx.zeros(mx.array(3))": "RuntimeError",
    },
    "nonzero": {"mx.nonzero": ABSENT, "mx.argwhere": ABSENT},
    "where() of one argument": {"mx.where(x > 5)": "TypeError"},
    "unique": {"mx.unique": ABSENT},
    "masked_select": {"mx.masked_select": ABSENT},
    "masked_scatter": {"x.masked_scatter": ABSENT},
    "counts by value": {"mx.bincount": ABSENT, "mx.histc": ABSENT},
    "repeat_interleave by a tensor": {"mx.repeat(x, mx.array([1, 2, 1]), axis=0)": "TypeError"},
    "boolean mask as an index": {
        "x[x > 5]": "ValueError", "after(lambda y: y.__setitem__(y < 2, 7))": "7.0",
        "x.__setitem__((slice(None), mx.array([True, False, True, False])), 0)": "SystemError",
    },
    "inplace=True": {"nn.relu(x, inplace=True)": "TypeError"},
    "out=": {"mx.add(x, x, out=x)": "TypeError"},
    "write through a view": {"after(lambda y: y[0].__setitem__(1, 9))": "1.0", "after(lambda y: y.__setitem__((0, 1), 9))": "9.0"},
    "buffer changed in forward": {"twice(Counter())[0]": "1.0", "twice(Writer())": "RuntimeError"},
    ".backward()": {"x.backward()": ABSENT},
    "random numbers": {"noise()": "True"},
    "device branch": {"x.device": ABSENT, "x.is_cuda": ABSENT},
    "dtype branch": {"mx.compile(lambda x: x if x.dtype == mx.float32 else -x)(x)[0, 1].item()": "1.0"},
    "float64": {"mx.exp(mx.array([1.0], dtype=mx.float64)).dtype": "mlx.core.float64", "mx.complex128": ABSENT, "x.double()": ABSENT},
    "as_strided": {"mx.as_strided(x.T, (2, 2), (1, 2), 0).tolist()": "[[0.0, 8.0], [4.0, 1.0]]"},
    "sparse tensors": {"mx.sparse": ABSENT},
    "complex views": {
        "mx.polar": ABSENT, "mx.view_as_complex": ABSENT, "mx.complex": ABSENT,
        "mx.view(mx.ones((3, 2)), mx.complex64).shape": "(3, 1)",
    },
    "storage and strides": {"x.stride()": ABSENT, "x.is_contiguous()": ABSENT, "x.data_ptr()": ABSENT},
    "autocast": {"mx.autocast": ABSENT},
    "checkpointing": {"mx.checkpoint(lambda x: x * 2)(x)[0, 1].item()": "2.0"},
}


def outcome(expression):
    code = f"{HEAD}\ntry: print(eval({expression!r}))\nexcept Exception as error: print(type(error).__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return run.stdout.strip().splitlines()[-1] if run.stdout.strip() else f"died: {run.returncode}"


def main():
    rows = {row["pattern"] for row in tomllib.loads((HERE / "blockers.toml").read_text())["blocker"]}
    wrong = [f"{pattern} is no row" for pattern in CLAIMS if pattern not in rows]
    count = 0
    for pattern, claims in CLAIMS.items():
        for expression, expected in claims.items():
            count += 1
            found = outcome(expression)
            if found != expected:
                wrong.append(f"{pattern}: {expression} gives {found}, not {expected}")
    print(f"{count} claims on {len(CLAIMS)} of {len(rows)} patterns, {len(wrong)} wrong")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
