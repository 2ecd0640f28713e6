"""Compare t2m-torch with Python's torch, layer by layer.

    python assets/samples/check_torch.py target/release/t2m-torch [NAME]

For each line of layers.jsonl (whose expression has NAME in it) the layer is built in Python, its parameters and inputs are
drawn at random, and both sides run it in eval mode without autograd, each in four dtypes. What Python refuses, the program
has to refuse. The Python side needs the torch that the program is linked to (`t2m-torch --version`); its fused fast path
is off, which computes attention in another order. Exits with 1 if anything disagrees.
"""

import copy
import json
import math
import pathlib
import struct
import subprocess
import sys
import warnings

import torch
from torch import nn

from torch_inputs import cases, randomise

VERSION = 4  # of crates/engine/src/protocol.rs
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
# In float32, where many sums follow one another. Python alone differs from itself by 8e-7 for an RNN of three layers whose
# weights lie elsewhere in memory.
LONG = 1e-5
NAMES = {**{dtype: str(dtype).removeprefix("torch.") for dtype in TOLERANCE}, torch.int64: "int64", torch.bool: "bool"}
DTYPES = {name: dtype for dtype, name in NAMES.items()}


class Program:
    """The engine program, asked over its pipe."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.count = 0
        reply, _ = self.ask({"request": "hello", "protocol": VERSION})
        assert reply["protocol"] == VERSION, reply
        self.version = reply["version"]

    def ask(self, header, tensors=()):
        payload = b"".join(raw(tensor) for _, tensor in tensors)
        header = json.dumps(header).encode()
        self.process.stdin.write(struct.pack("<IQ", len(header), len(payload)) + header + payload)
        self.process.stdin.flush()
        prefix = self.process.stdout.read(12)
        assert len(prefix) == 12, f"the program died: {self.process.wait()}"
        header, payload = struct.unpack("<IQ", prefix)
        return json.loads(self.process.stdout.read(header)), self.process.stdout.read(payload)

    def send(self, request, field, tensors, **more):
        self.count += 1
        described = [{"name": name, "dtype": NAMES[t.dtype], "shape": list(t.shape)} for name, t in tensors]
        header = {"request": request, "id": self.count, "generation": 1, field: described, **more}
        reply, payload = self.ask(header, tensors)
        if reply["reply"] == "failed":
            raise RuntimeError(reply["message"])
        return reply, payload

    def load(self, kind, attributes, tensors, told=None):
        module = {"kind": kind, "args": attributes} | ({"told": told} if told else {})
        self.send("load", "tensors", tensors, module=module)

    def run(self, inputs, dtype):
        reply, payload = self.send("run", "inputs", [("", tensor) for tensor in inputs], compute=NAMES[dtype])
        outputs = []
        for header in reply["outputs"]:
            shape, dtype = header["shape"], DTYPES[header["dtype"]]
            size = math.prod(shape) * dtype.itemsize
            data = torch.frombuffer(bytearray(payload[:size]), dtype=dtype) if size else torch.empty(0, dtype=dtype)
            outputs.append(data.view(shape))
            payload = payload[size:]
        return outputs


def raw(tensor):
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def forward(name, module, inputs, call):
    """What Python gives, flat."""
    if call is not None:
        scalars = {key: value for key, value in call.items() if key != "inputs"}
        outputs = module(**dict(zip(call["inputs"], inputs)), **scalars)
    elif "LSTM" in name and len(inputs) > 1:
        outputs = module(inputs[0], tuple(inputs[1:]))
    else:
        outputs = module(*inputs)
    if name == "MultiheadAttention" and call is None:
        return [outputs[0]]
    flat, rest = [], [outputs]
    while rest:
        value = rest.pop(0)
        if isinstance(value, tuple):
            rest = [*value, *rest]
        elif value is not None:
            flat.append(value)
    return flat


def distance(expected, got):
    """The largest difference relative to the output's scale; infinite where the outputs cannot be compared."""
    worst = 0.0
    if len(expected) != len(got):
        return math.inf
    for one, other in zip(expected, got):
        if one.shape != other.shape or one.dtype != other.dtype:
            return math.inf
        one, other = one.double(), other.double()
        same = (one == other) | (one.isnan() & other.isnan())
        if not same.all():
            scale = one[one.isfinite()].abs().max().item() if one.isfinite().any() else 0.0
            difference = (one - other)[~same].abs().max().item()
            worst = max(worst, difference / scale if scale > 0 and math.isfinite(difference) else math.inf)
    return worst


def attempt(function, *arguments):
    try:
        return function(*arguments), None
    except Exception as error:  # whatever a side says no with
        return None, str(error).strip().split("\n")[0]


def runs(program, line):
    """Each run: what it was, its dtype, the error or None where both sides refuse, and what is said of it if need be."""
    top, *rest = line["modules"]
    family, name = top["class"].split(".")[-2:]
    module = eval(line["build"], {"nn": nn, "torch": torch}).eval()
    randomise(module)
    tolerance = dict(TOLERANCE)
    if family in ("rnn", "transformer") or name == "MultiheadAttention":
        tolerance[torch.float32] = LONG
    attributes = dict(top["attributes"])
    below = {"modules": {part["path"]: part["attributes"] for part in rest}} if rest else {}
    for index, (inputs, call) in enumerate(cases(name, module)):
        told = below | ({} if call is None else {"call": call})
        tensors = list(module.state_dict().items())
        _, refused = attempt(program.load, top["class"], attributes, tensors, told)
        for dtype, allowed in tolerance.items():
            twin = copy.deepcopy(module).to(dtype)
            if name == "RMSNorm" and module.eps is None and dtype == torch.float64:
                twin.eps = torch.finfo(torch.float32).eps  # float64 arbitrates a float32 layer
            given = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs]
            expected, no = attempt(forward, name, twin, given, call)
            got, why = (None, refused) if refused else attempt(program.run, inputs, dtype)
            if no and why:
                yield dtype, None, False
                continue
            error = math.inf if no or why else distance(expected, got)
            if error > allowed:
                said = f"Python refuses: {no}" if no else f"the program refuses: {why}" if why else f"{error:.2g}"
                print(f"{line['build']}, inputs {index}, {NAMES[dtype]}: {said}")
            yield dtype, error, error > allowed


@torch.no_grad()
def main(path, wanted=""):
    torch.manual_seed(7)
    torch.backends.mha.set_fastpath_enabled(False)
    warnings.simplefilter("ignore")
    program = Program(path)
    print(f"Python's torch {torch.__version__}, the program's {program.version}")
    table = {}
    for line in map(json.loads, pathlib.Path(__file__).with_name("layers.jsonl").read_text().splitlines()):
        if wanted in line["build"]:
            table.setdefault(line["modules"][0]["class"].rsplit(".", 1)[1], []).append(list(runs(program, line)))
    print(f"{'largest error':30} lines runs" + "".join(f"{NAMES[dtype]:>10}" for dtype in TOLERANCE))
    for name, lines in table.items():
        done = [run for line in lines for run in line]
        worst = [max((e for d, e, _ in done if d == dtype and e is not None), default=None) for dtype in TOLERANCE]
        errors = "".join("   refused" if error is None else f"{error:10.2g}" for error in worst)
        print(f"{name:30} {len(lines):5} {len(done):4}{errors}")
    done = [run for lines in table.values() for line in lines for run in line]
    refused, equal = sum(error is None for _, error, _ in done), sum(error == 0 for _, error, _ in done)
    wrong = sum(bad for *_, bad in done)
    print(
        f"{len(table)} classes, {sum(map(len, table.values()))} lines, {len(done)} runs: {equal} equal to the bit, "
        f"{len(done) - equal - refused - wrong} within the tolerance, {refused} refused by both, {wrong} disagree"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
