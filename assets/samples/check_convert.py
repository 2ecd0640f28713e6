"""Load what `t2m-tui convert` writes into Python's mlx.nn, strictly, and run it beside Python's PyTorch.

    python assets/samples/check_convert.py target/release/t2m-tui > docs/convert-check.md

Needs torch 2.13, safetensors and mlx 0.32 (on Linux `mlx[cpu]`). Three parts:

- layers: every layer of mlx.nn that has weights, as a pickled module, and where names and shapes tell the class as a bare
  state dict too;
- models: small networks, written for both libraries as one would write them;
- files: the demo and the fixtures of the tests: every layer in them by itself, and every tensor where the file has no classes.

`load_weights(strict=True)` refuses a name too many or too few and a shape that differs. Outputs are compared with the largest
difference over the output's scale; 1e-4 and more fails. Exits 1 if something fails.
"""

import contextlib
import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import mlx.core as mx
import mlx.nn as mnn
import numpy
import safetensors.torch
import torch
from torch import nn

BOUND = 1e-4
ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(tempfile.mkdtemp())
rows, failures = [], 0


def convert(source, *more):
    """The MLX file of a checkpoint, and its key map."""
    out, key_map = FOLDER / "out.safetensors", FOLDER / "map.json"
    command = [sys.argv[1], "convert", str(source), "-o", str(out), "--map", str(key_map), "--force", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, json.loads(key_map.read_text())


def to_mlx(x, channels_last):
    x = x.detach().numpy()
    if channels_last and x.ndim > 2:
        x = numpy.moveaxis(x, 1, -1)
    return mx.array(x.astype(numpy.int32) if x.dtype == numpy.int64 else x)


def apart(expected, got, channels_last):
    """Largest difference over the output's scale."""
    expected, got = expected.detach().numpy(), numpy.array(got)
    if channels_last and got.ndim > 2:
        got = numpy.moveaxis(got, -1, 1)
    assert expected.shape == got.shape, f"{expected.shape} and {got.shape}"
    return float(numpy.abs(expected - got).max()) / (float(numpy.abs(expected).max()) or 1.0)


def check(kind, name, work):
    """Run one check; it returns the largest difference and how many tensors were loaded."""
    global failures
    try:
        # What a hook of a fixture prints is no part of the table.
        with contextlib.redirect_stdout(sys.stderr):
            error, tensors = work()
        said = "ok" if error < BOUND else "FAILED"
    except Exception as problem:  # whatever Python says is the finding
        error, tensors, said = math.nan, 0, f"FAILED: {type(problem).__name__}: {str(problem)[:120]}"
    failures += said != "ok"
    rows.append((kind, name, tensors, error, said))


def randomise(module):
    """Weights in which no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=generator) * 0.3
                tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return module.eval()


def run(torch_module, mlx_module, inputs, source, channels_last, call=lambda module, *x: module(*x), mlx_call=None):
    """Strictly load and compare."""
    out, _ = convert(source)
    mlx_module.load_weights(str(out), strict=True)
    mlx_module.eval()
    with torch.no_grad():
        expected = call(torch_module, *inputs)
    got = (mlx_call or call)(mlx_module, *[to_mlx(x, channels_last) for x in inputs])
    expected = expected[0] if isinstance(expected, tuple) else expected
    got = got[0] if isinstance(got, tuple) else got
    return apart(expected, got, channels_last), len(mx.load(str(out)))


def attention(module, x):
    result = module(x, x, x, need_weights=False) if isinstance(module, nn.Module) else module(x, x, x)
    return result


def image(*shape):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(3))


# torch, mlx, input, whether channels move last, whether a bare state dict tells the class, how it is called
LAYERS = [
    ("Linear", lambda: nn.Linear(12, 7), lambda: mnn.Linear(12, 7), image(5, 12), False, True, None),
    ("Linear, no bias", lambda: nn.Linear(12, 7, bias=False), lambda: mnn.Linear(12, 7, bias=False), image(5, 12), False, True, None),
    ("Embedding", lambda: nn.Embedding(11, 6), lambda: mnn.Embedding(11, 6), torch.tensor([[1, 4, 10], [0, 2, 3]]), False, True, None),
    ("Bilinear", lambda: nn.Bilinear(5, 6, 4), lambda: mnn.Bilinear(5, 6, 4), (image(3, 5), image(3, 6)), False, False, None),
    ("LayerNorm", lambda: nn.LayerNorm(12), lambda: mnn.LayerNorm(12), image(5, 12), False, True, None),
    ("RMSNorm", lambda: nn.RMSNorm(12, eps=1e-5), lambda: mnn.RMSNorm(12), image(5, 12), False, False, None),
    ("GroupNorm", lambda: nn.GroupNorm(3, 12), lambda: mnn.GroupNorm(3, 12, pytorch_compatible=True), image(12, 5, 7), True, True, None),
    ("BatchNorm1d", lambda: nn.BatchNorm1d(12), lambda: mnn.BatchNorm(12), image(12), True, True, None),
    ("BatchNorm2d", lambda: nn.BatchNorm2d(12), lambda: mnn.BatchNorm(12), image(12, 5, 7), True, True, None),
    ("InstanceNorm2d", lambda: nn.InstanceNorm2d(12, affine=True), lambda: mnn.InstanceNorm(12, affine=True), image(12, 5, 7), True, False, None),
    ("PReLU", lambda: nn.PReLU(), lambda: mnn.PReLU(), image(5, 12), False, False, None),
    ("Conv1d", lambda: nn.Conv1d(6, 8, 3, 2, 1), lambda: mnn.Conv1d(6, 8, 3, 2, 1), image(6, 13), True, True, None),
    ("Conv1d, groups", lambda: nn.Conv1d(6, 9, 3, groups=3), lambda: mnn.Conv1d(6, 9, 3, groups=3), image(6, 13), True, True, None),
    ("Conv2d", lambda: nn.Conv2d(6, 8, (3, 5), 2, 1), lambda: mnn.Conv2d(6, 8, (3, 5), 2, 1), image(6, 13, 11), True, True, None),
    ("Conv2d, groups", lambda: nn.Conv2d(6, 12, 3, groups=2), lambda: mnn.Conv2d(6, 12, 3, groups=2), image(6, 13, 11), True, True, None),
    ("Conv3d", lambda: nn.Conv3d(4, 5, 3), lambda: mnn.Conv3d(4, 5, 3), image(4, 5, 6, 7), True, True, None),
    ("ConvTranspose1d", lambda: nn.ConvTranspose1d(6, 8, 3, 2, 1), lambda: mnn.ConvTranspose1d(6, 8, 3, 2, 1), image(6, 13), True, True, None),
    ("ConvTranspose2d", lambda: nn.ConvTranspose2d(6, 8, (3, 4), 2, 1), lambda: mnn.ConvTranspose2d(6, 8, (3, 4), 2, 1), image(6, 7, 9), True, True, None),
    ("ConvTranspose3d", lambda: nn.ConvTranspose3d(4, 5, 2), lambda: mnn.ConvTranspose3d(4, 5, 2), image(4, 3, 4, 5), True, True, None),
    ("MultiheadAttention", lambda: nn.MultiheadAttention(12, 3, batch_first=True), lambda: mnn.MultiHeadAttention(12, 3, bias=True), image(5, 12), False, True, attention),
    ("LSTM", lambda: nn.LSTM(5, 8, batch_first=True), lambda: mnn.LSTM(5, 8), image(6, 5), False, True, None),
    ("GRU", lambda: nn.GRU(5, 8, batch_first=True), lambda: mnn.GRU(5, 8), image(6, 5), False, True, None),
    ("RNN", lambda: nn.RNN(5, 8, batch_first=True), lambda: mnn.RNN(5, 8), image(6, 5), False, False, None),
    ("Conv1d with weight_norm", lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(6, 8, 3)), lambda: mnn.Conv1d(6, 8, 3), image(6, 13), True, True, None),
    ("Linear with weight_norm", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), lambda: mnn.Linear(6, 8), image(5, 6), False, True, None),
]


class TorchNet(nn.Module):
    """Sequentials, a list, norms, a depthwise convolution, a transposed one."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 1)) for _ in range(2)])
        self.up = nn.ConvTranspose2d(8, 5, 2, 2)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.up(x).mean((2, 3)))


class MlxNet(mnn.Module):
    def __init__(self):
        super().__init__()
        self.stem = mnn.Sequential(mnn.Conv2d(3, 8, 3, 2, 1, bias=False), mnn.BatchNorm(8), mnn.ReLU())
        self.blocks = [mnn.Sequential(mnn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), mnn.BatchNorm(8), mnn.SiLU(), mnn.Conv2d(8, 8, 1)) for _ in range(2)]
        self.up = mnn.ConvTranspose2d(8, 5, 2, 2)
        self.head = mnn.Linear(5, 4)

    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.up(x).mean((1, 2)))


class TorchLm(nn.Module):
    """A pre-norm decoder with tied embeddings."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layers = nn.ModuleList([TorchBlock() for _ in range(2)])
        self.norm = nn.RMSNorm(16, eps=1e-5)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class TorchBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x):
        y = self.ln(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(x)


class MlxBlock(mnn.Module):
    def __init__(self):
        super().__init__()
        self.ln = mnn.LayerNorm(16)
        self.attention = mnn.MultiHeadAttention(16, 4, bias=True)
        self.mlp = mnn.Sequential(mnn.LayerNorm(16), mnn.Linear(16, 32), mnn.GELU(), mnn.Linear(32, 16))

    def __call__(self, x):
        y = self.ln(x)
        x = x + self.attention(y, y, y)
        return x + self.mlp(x)


class MlxLm(mnn.Module):
    def __init__(self):
        super().__init__()
        self.embed = mnn.Embedding(20, 16)
        self.layers = [MlxBlock() for _ in range(2)]
        self.norm = mnn.RMSNorm(16)

    def __call__(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.embed.as_linear(self.norm(x))


class MlxEncoderLayer(mnn.Module):
    """nn.TransformerEncoderLayer, post-norm, as its plan has it: MLX's own has attention without bias."""

    def __init__(self):
        super().__init__()
        self.attention = mnn.MultiHeadAttention(16, 4, bias=True)
        self.ln1, self.ln2 = mnn.LayerNorm(16), mnn.LayerNorm(16)
        self.linear1, self.linear2 = mnn.Linear(16, 32), mnn.Linear(32, 16)

    def __call__(self, x):
        x = self.ln1(x + self.attention(x, x, x))
        return self.ln2(x + self.linear2(mnn.relu(self.linear1(x))))


class MlxEncoder(mnn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [MlxEncoderLayer() for _ in range(2)]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class MlxStack(mnn.Module):
    """nn.LSTM of two layers both ways, as its plan has it: a layer of MLX for each."""

    def __init__(self):
        super().__init__()
        self.l0, self.l0_reverse = mnn.LSTM(5, 8), mnn.LSTM(5, 8)
        self.l1, self.l1_reverse = mnn.LSTM(16, 8), mnn.LSTM(16, 8)

    def __call__(self, x):
        for forward, backward in [(self.l0, self.l0_reverse), (self.l1, self.l1_reverse)]:
            x = mx.concatenate([forward(x)[0], backward(x[:, ::-1])[0][:, ::-1]], axis=-1)
        return x


MODELS = [
    ("convolutional network", TorchNet, MlxNet, image(3, 16, 16), True),
    ("language model, tied", TorchLm, MlxLm, torch.tensor([[1, 4, 10, 19], [0, 2, 3, 7]]), False),
    ("TransformerEncoder", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2), MlxEncoder, image(5, 16), False),
    ("LSTM, two layers both ways", lambda: nn.LSTM(5, 8, 2, batch_first=True, bidirectional=True), MlxStack, image(6, 5), False),
]


def layer_checks():
    for name, make, make_mlx, inputs, last, bare, call in LAYERS:
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        module = randomise(make())
        arguments = (inputs,) if call is None else (inputs,)
        call = call or (lambda module, *x: module(*x))
        whole = FOLDER / "whole.pt"
        if type(module).__module__ == "torch.nn.utils.parametrize":
            # A parametrized module cannot be pickled.
            check("layer", f"{name}, from a bare state dict", lambda: run(module, make_mlx(), *arguments, save_state(module), last, call))
            continue
        torch.save(module, whole)
        check("layer", name, lambda: run(module, make_mlx(), *arguments, whole, last, call))
        if bare:
            check("layer", f"{name}, from a bare state dict", lambda: run(module, make_mlx(), *arguments, save_state(module), last, call))


def save_state(module):
    path = FOLDER / "state.pt"
    torch.save(module.state_dict(), path)
    return path


def model_checks():
    for name, make, make_mlx, inputs, last in MODELS:
        module = randomise(make())
        whole = FOLDER / "whole.pt"
        torch.save(module, whole)
        # The fused path of torch's transformer layers is not what gradients see.
        call = lambda module, x: module(x)
        check("model", name, lambda: run(module, make_mlx(), (inputs,), whole, last, call))


# A layer of a file: MLX's twin, an input, whether channels move last.
TWINS = {
    nn.Linear: lambda m: (mnn.Linear(m.in_features, m.out_features, bias=m.bias is not None), image(5, m.in_features), False),
    nn.Embedding: lambda m: (mnn.Embedding(m.num_embeddings, m.embedding_dim), torch.arange(m.num_embeddings)[None], False),
    nn.LayerNorm: lambda m: (mnn.LayerNorm(m.normalized_shape[0], eps=m.eps, bias=m.bias is not None), image(5, *m.normalized_shape), False),
    nn.RMSNorm: lambda m: (mnn.RMSNorm(m.normalized_shape[0], eps=m.eps or float(numpy.finfo(numpy.float32).eps)), image(5, *m.normalized_shape), False),
    nn.GroupNorm: lambda m: (mnn.GroupNorm(m.num_groups, m.num_channels, eps=m.eps, pytorch_compatible=True), image(m.num_channels, 5, 7), True),
    nn.BatchNorm1d: lambda m: (mnn.BatchNorm(m.num_features, eps=m.eps), image(m.num_features, 9), True),
    nn.BatchNorm2d: lambda m: (mnn.BatchNorm(m.num_features, eps=m.eps), image(m.num_features, 5, 7), True),
    nn.Conv1d: lambda m: (mnn.Conv1d(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], padding_of(m)[0], m.dilation[0], m.groups, m.bias is not None), image(m.in_channels, 24), True),
    nn.Conv2d: lambda m: (mnn.Conv2d(m.in_channels, m.out_channels, m.kernel_size, m.stride, padding_of(m), m.dilation, m.groups, m.bias is not None), image(m.in_channels, 13, 11), True),
    nn.ConvTranspose1d: lambda m: (mnn.ConvTranspose1d(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0], m.dilation[0], m.output_padding[0], m.bias is not None), image(m.in_channels, 13), True),
    nn.ConvTranspose2d: lambda m: (mnn.ConvTranspose2d(m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.dilation, m.output_padding, m.bias is not None), image(m.in_channels, 7, 9), True),
    nn.MultiheadAttention: lambda m: (mnn.MultiHeadAttention(m.embed_dim, m.num_heads, key_input_dims=m.kdim, value_input_dims=m.vdim, bias=m.in_proj_bias is not None), image(5, m.embed_dim), False),
    nn.LSTM: lambda m: (mnn.LSTM(m.input_size, m.hidden_size, bias=m.bias), image(6, m.input_size), False),
}


def padding_of(m):
    return tuple(d * (k - 1) // 2 for d, k in zip(m.dilation, m.kernel_size)) if m.padding == "same" else m.padding


def layers_of_file(model, source):
    """Every layer of a pickled model by itself: its part of the file, loaded strictly."""
    out, key_map = convert(source, "--dtype", "f32")
    model = model.float()
    weights, worst, count = mx.load(str(out)), 0.0, 0
    taken = set()
    for path, module in model.named_modules():
        twin = TWINS.get(type(module))
        if twin is None or any(path.startswith(f"{other}.") for other in taken) or getattr(module, "padding_mode", "zeros") != "zeros":
            continue
        if module.__dict__.get("groups", 1) != 1 and type(module).__name__.startswith("ConvTranspose") or getattr(module, "padding", 0) == "same" and any(k % 2 == 0 for k in module.kernel_size):
            continue
        own = {f"{path}.{name}" if path else name for name, _ in [*module.named_parameters(), *module.named_buffers()]}
        names = [name for name, row in key_map.items() if own & set(row["from"])]
        if not names:
            continue  # tied: written under another name
        mlx_module, inputs, last = twin(module)
        stem = [parts for parts in names[0].split(".")]
        depth = next(d for d in range(len(stem), -1, -1) if all(n.split(".")[:d] == stem[:d] for n in names) and d < min(len(n.split(".")) for n in names))
        strip = len(".".join(stem[:depth])) + (depth > 0)
        if isinstance(module, nn.MultiheadAttention):
            taken.add(path)
        elif len(names) == 1:
            strip = len(names[0]) - len(names[0].split(".")[-1])
        mlx_module.load_weights([(name[strip:], weights[name]) for name in names], strict=True)
        mlx_module.eval()
        module.eval()
        with torch.no_grad():
            if isinstance(module, nn.MultiheadAttention):
                given = [image(length, width) for length, width in [(5, module.embed_dim), (7, module.kdim), (7, module.vdim)]]
                turned = given if module.batch_first else [x.transpose(0, 1) for x in given]
                expected = module(*turned, need_weights=False)[0]
                expected = expected if module.batch_first else expected.transpose(0, 1)
                got = mlx_module(*[to_mlx(x, False) for x in given])
            elif isinstance(module, nn.LSTM):
                expected = module(inputs if module.batch_first else inputs.transpose(0, 1))[0]
                expected = expected if module.batch_first else expected.transpose(0, 1)
                got = mlx_module(to_mlx(inputs, False))[0]
            else:
                expected, got = nn.Module.__call__(module, inputs), mlx_module(to_mlx(inputs, last))
        error = apart(expected, got, last)
        assert error < BOUND, f"{path}: {error}"
        worst, count = max(worst, error), count + len(names)
    assert count, "no layer was found in it"
    return worst, count


def tensors_of_file(state, source):
    """A file without classes: MLX loads every tensor, and those that only kept their layout hold torch's numbers."""
    out, key_map = convert(source)
    weights = mx.load(str(out))
    while not any(isinstance(value, torch.Tensor) for value in state.values()):
        state = next(value for value in state.values() if isinstance(value, dict) and any(isinstance(part, torch.Tensor) for part in value.values()))
    assert set(weights) == set(key_map)
    compared = 0
    for name, row in key_map.items():
        assert list(weights[name].shape) == row["shape"], name
        found = [key for key in state if key == row["from"][0] or key.endswith(f".{row['from'][0]}")]
        if row["fold"] == "one" and row["layout"] == "keep" and found:
            expected = state[found[0]].detach().to(torch.float64).numpy()
            assert numpy.array_equal(numpy.array(weights[name].astype(mx.float32)), expected.astype(numpy.float32), equal_nan=True), name
            compared += 1
    assert compared
    return 0.0, len(weights)


def module_from(path, name):
    """A Python file as a module, under the name that the pickles know its classes by."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def file_checks():
    module_from(ROOT / "assets/demo/scene.py", "scene")
    check("file", "demo", lambda: layers_of_file(torch.load(ROOT / "assets/demo/demo.pt", weights_only=False), "demo"))
    fixtures = ROOT / "tests/fixtures"
    sys.modules["tiny"] = module_from(fixtures / "make.py", "tiny.net")
    for name in ["module.pt", "graph_module.pt", "in_tuple.pt", "module_in_checkpoint.pt", "averaged.pt"]:
        check("file", name, lambda: layers_of_file(whole(fixtures / name), fixtures / name))
    for name in ["state_dict.pt", "state_dict.safetensors", "protocol_4.pt", "wrapped.pt", "legacy/wrapped.pth"]:
        path = fixtures / name
        load = (lambda: safetensors.torch.load_file(path)) if path.suffix == ".safetensors" else lambda: torch.load(path, weights_only=False)
        check("file", name, lambda: tensors_of_file(load(), path))
    for name in ["script/traced.pt", "script/scripted.pt"]:
        check("file", name, lambda: tensors_of_file(torch.jit.load(fixtures / name).state_dict(), fixtures / name))
    for name in ["script/exported.pt2", "script/exported_flat.pt2"]:
        check("file", name, lambda: tensors_of_file(torch.export.load(fixtures / name).state_dict, fixtures / name))


def whole(path):
    """The module in a file."""
    loaded = torch.load(path, weights_only=False)
    while not isinstance(loaded, nn.Module):
        values = loaded.values() if isinstance(loaded, dict) else loaded
        loaded = next(value for value in values if isinstance(value, (nn.Module, dict)))
    return loaded


def main():
    layer_checks()
    model_checks()
    file_checks()
    good = len(rows) - failures
    print("# What Python's MLX makes of converted weights\n")
    print(f"Printed by `assets/samples/check_convert.py` with torch {torch.__version__.split('+')[0]} and mlx {mx.__version__}, on the CPU.")
    print("Each file was written by `t2m-tui convert`, loaded with `load_weights(strict=True)` and run beside PyTorch; the last column but one is the")
    print("largest difference over the output's scale.\n")
    print("Files that torch itself does not load without a library that is not needed otherwise are left to the tests.\n")
    print(f"{good} of {len(rows)} agree.\n")
    print("| | | tensors | difference | |\n|---|---|---|---|---|")
    for kind, name, tensors, error, said in rows:
        print(f"| {kind} | {name} | {tensors} | {error:.1e} | {said} |".replace("nan", "·"))
    sys.exit(failures > 0)


main()
