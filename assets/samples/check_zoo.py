"""Compare what stands in for a class of transformers, timm or torchvision in t2m-torch with the class itself.

    python assets/samples/check_zoo.py target/release/t2m-torch [NAME]

For each line of zoo.jsonl (whose expression has NAME in it) the class is built in Python, its parameters and buffers are drawn
at random, and both sides run it on normal input and on a fiftieth of it, where an epsilon shows: in float32, and in float64
unless the class computes in float32 whatever it is given. Kind, attributes and names of tensors come from the registry's rows;
what a recipe adds to them is added here as well. Exits with 1 if anything disagrees.
"""

import inspect
import json
import pathlib
import sys
import tomllib
import warnings

import torch

from check_torch import Program, attempt, distance
from zoo import build

HERE = pathlib.Path(__file__).parent
SMALL = 0.02
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
ROTARY = 3e-6  # cosines of large angles
# Constants of eight digits in the code of the class, where torch's layer has all of them.
ROUNDED = {"BloomGelu": 1e-10}
# Signs of a class that computes in float32; timm's inv_instance_rms does it in a helper.
SINGLE = (".float()", "torch.float32", "force_float32", "torch.float)", "inv_instance_rms")


def registry():
    """The rows by class."""
    rows = {}
    for name in ("layers.toml", "zoo.toml"):
        for row in tomllib.loads((HERE.parent / "registry" / name).read_text())["layer"]:
            rows.update(dict.fromkeys([row["class"], *row.get("also", [])], row))
    return rows


def attributes(row, own):
    """A module's attributes, and those that the row names."""
    named = {}
    for name, said in row.get("attributes", {}).items():
        if not isinstance(said, str):
            named[name] = said["value"] if isinstance(said, dict) else said
        elif said in own:
            named[name] = own[said]
    return {**own, **named}


def tensors(module):
    """Parameters and buffers, those as well that no state dict holds."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def randomise(module):
    """Numbers that hide nothing; variances and filters stay positive, a scale is the one that the class says."""
    for path, tensor in tensors(module).items():
        name = path.rpartition(".")[2]
        if name == "embed_scale":
            tensor.fill_(module.scalar_embed_scale)
        elif tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand_like(tensor) if name in ("running_var", "filt") else 0.4 * torch.randn_like(tensor))


class Case:
    """A class beside what stands in for it."""

    def __init__(self, line, row, table):
        self.line, self.row = line, row
        self.module = build(line["build"])
        randomise(self.module)
        self.tensors = {name: t.detach().clone() for name, t in tensors(self.module).items() if t.is_floating_point()}
        self.name = type(self.module).__name__
        top = line["modules"][0]
        self.kind = row.get("torch", top["class"])
        self.args = attributes(row, top["attributes"])
        self.weight = self.tensors.get(row.get("tensors", {}).get("weight", "weight"))
        self.args |= self.added(table, top)
        self.told = {"tensors": row["tensors"]} if "tensors" in row else {}

    def added(self, table, top):
        """What the recipe adds to the attributes."""
        args = self.args
        if self.kind.endswith((".RMSNorm", ".LayerNorm")):
            return {"normalized_shape": args.get("normalized_shape") or list(self.weight.shape)}
        if self.kind == "t2m.gated_rms_norm":
            groups = args.get("n_groups") or len(self.weight) // args.get("group_size", len(self.weight))
            return {"groups": groups, "before": not args["norm_before_gate"]}
        if self.kind == "t2m.layer_norm_per_head":
            return {"eps": self.module.norms[0].eps}
        if self.kind == "t2m.rotary":
            prefixes = [f"{name}_" for name in args["rope_type"]] if self.types() else [""]
            return {"frequencies": [{"tensor": f"{p}inv_freq", "scaling": args[f"{p}attention_scaling"]} for p in prefixes]}
        if self.kind == "t2m.sequence":
            child = next(part for part in self.line["modules"] if part["path"] == "act")
            both = (args["norm"], top["attributes"], ""), (child["class"], child["attributes"], "act")
            parts = ((name, table[name], own, at) for name, own, at in both)
            return {"layers": [{"kind": row.get("torch", name), "args": attributes(row, own), "at": at} for name, row, own, at in parts]}
        return {}

    def types(self):
        """The types of layers that a rotary embedding tells apart."""
        kinds = self.args.get("rope_type")
        return list(kinds) if isinstance(kinds, dict) else []

    def takes_image(self):
        """Whether the input is [N, C, H, W]."""
        args = self.args
        if args.get("data_format") == "channels_first" or args.get("channels_first"):
            return args.get("rank") != 3
        return "2d" in self.kind or "2d" in self.name or "GroupNorm" in self.name or self.kind in ("t2m.blur_pool", "t2m.permute", "t2m.filter_response_norm")

    def shape(self):
        """Of the one input that most classes take."""
        args, weight = self.args, self.weight
        width = weight.shape[-1] if weight is not None and weight.dim() and weight.numel() > 1 else 24
        if self.kind == "t2m.global_response_norm":
            return (2, width, 7, 9) if args["channel_dim"] == 1 else (2, 7, 9, width)
        if self.takes_image():
            normalized = args.get("normalized_shape")
            return 2, args.get("in_channels") or (normalized and normalized[0]) or (len(weight) if weight is not None else 8), 7, 9
        if self.kind == "t2m.layer_norm_per_head":
            return 3, args["num_heads"], 5, args["dim"]
        if args.get("rank") == 3 or self.kind == "t2m.cut_end":
            return 2, width, 13
        if args.get("merged"):
            return 3, 5, args["num_heads"], args["head_dim"]
        if self.kind == "t2m.linear_transposed":
            return 4, 7, len(weight)
        return 3, 5, *(weight.shape if self.kind == "t2m.layer_norm" and weight.dim() == 2 else (width,))

    def inputs(self):
        """What both sides are given."""
        if self.kind == "t2m.rotary":
            shape = {"both": (9, 2), "one": (2, 9)}.get(self.args.get("axes", "one"), (3, 2, 9))
            return [torch.randn(2, 9, 8), torch.randint(0, 16, shape)]
        if self.kind == "t2m.positions":
            return [torch.randint(0, 2 if self.args["count"] == "mask" else 5, (3, 11))]
        if self.kind == "t2m.scaled_embedding":
            return [torch.randint(0, len(self.weight), (3, 11))]
        if self.kind == "t2m.relative_position_bias":
            return []
        return [torch.randn(self.shape()) for _ in range(2 if self.kind == "t2m.gated_rms_norm" else 1)]

    def forward(self, module, inputs):
        """What Python gives, complex numbers as two outputs."""
        if self.kind == "t2m.relative_position_bias":
            inputs = [tuple(self.args["window_size"])]
        first = next(iter(inspect.signature(module.forward).parameters), "")
        inputs = [inputs[0].shape] if first == "input_ids_shape" else [value.clone() if torch.is_tensor(value) else value for value in inputs]
        calls = [module(*inputs, kind) for kind in self.types()] if self.types() else [module(*inputs)]
        flat = [one for call in calls for one in (call if isinstance(call, tuple) else (call,))]
        return [part.contiguous() for one in flat for part in ((one.real, one.imag) if one.is_complex() else (one,))]

    def dtypes(self):
        source = inspect.getsource(type(self.module))
        return (torch.float32,) if any(sign in source for sign in SINGLE) else TOLERANCE

    def twin(self, dtype):
        """The class with the same numbers in another dtype."""
        module = build(self.line["build"])
        for name, tensor in tensors(module).items():
            if name in self.tensors:
                tensor.data.copy_(self.tensors[name])
        return module.to(dtype)

    def runs(self, program):
        """Each run: what stood in, its dtype, the error, and whether that is too much."""
        used = [(name, tensor) for name, tensor in self.tensors.items() if not name.endswith("original_inv_freq")]
        used = [(name, tensor) for name, tensor in used if name != "embed_scale" and name in self.read()]
        _, refused = attempt(program.load, self.kind, self.args, used, self.told)
        drawn = self.inputs()
        for scale in (1.0, SMALL):
            given = [value * scale if value.is_floating_point() else value for value in drawn]
            for dtype in self.dtypes():
                cast = [value.to(dtype) if value.is_floating_point() else value for value in given]
                expected, no = attempt(self.forward, self.twin(dtype), cast)
                got, why = (None, refused) if refused else attempt(program.run, given, dtype)
                error = float("inf") if no or why else distance(expected, got)
                allowed = ROTARY if self.kind == "t2m.rotary" else TOLERANCE[dtype]
                if error > (allowed if dtype == torch.float32 else ROUNDED.get(self.name, allowed)):
                    said = f"Python refuses: {no}" if no else f"the program refuses: {why}" if why else f"{error:.2g}"
                    print(f"{self.line['build']} as {self.kind}, {dtype}, input times {scale}: {said}")
                    yield self.kind, dtype, error, True
                else:
                    yield self.kind, dtype, error, False

    def read(self):
        """Tensors that the forward reads: an empty name in the row says that one is a dummy."""
        dummies = [name for name, own in self.row.get("tensors", {}).items() if not own]
        return [name for name in self.tensors if name not in dummies]


@torch.no_grad()
def main(path, wanted=""):
    torch.manual_seed(7)
    warnings.simplefilter("ignore")
    program, table, done, classes = Program(path), registry(), [], set()
    skipped = ("weight_norm", "spectral_norm", "'rope_type': 'dynamic'", "'rope_type': 'longrope'")
    for line in map(json.loads, (HERE / "zoo.jsonl").read_text().splitlines()):
        row = table[line["modules"][0]["class"]]
        if wanted not in line["build"] or "call" in line or any(name in line["build"] for name in skipped):
            continue
        if row["status"] in ("direct", "recipe"):
            classes.add(line["modules"][0]["class"])
            done += Case(line, row, table).runs(program)
    print(f"{'largest error':50}   float32   float64")
    for kind in sorted({kind for kind, *_ in done}):
        worst = [max((e for k, d, e, _ in done if (k, d) == (kind, dtype)), default=None) for dtype in TOLERANCE]
        print(f"{kind:50}" + "".join("         -" if error is None else f"{error:10.2g}" for error in worst))
    wrong, equal = sum(bad for *_, bad in done), sum(error == 0 for *_, error, _ in done)
    print(f"{len(classes)} classes, {len(done)} runs: {equal} equal to the bit, {len(done) - equal - wrong} within the tolerance, {wrong} disagree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
