"""Examples of torch's overloads, for `aten.jsonl`: calls as they occur in the graphs of OpInfo's and ModuleInfo's samples.

    python assets/samples/aten.py > assets/samples/aten.jsonl      # needs torch and the package `expecttest`

A line is {"op", "inputs", "arguments"}: the overload, its tensors by the schema's names (a list where the argument is one; in the
notation of src/certify/values.rs), and its other arguments. The samples give shapes, axes and options: odd sizes, negative axes,
empty tensors, tensors without axes, several types. Values are drawn anew where any will do, and written out where they matter.
"""

import json
import logging
import pathlib
import sys
import warnings

import torch
import torch.fx

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/databases"))
import make  # noqa: E402

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
# Examples of an overload, elements of a tensor, and those that are written out.
EACH = 3
LARGEST = 2_000
WRITTEN = 40
# Ops for which a matrix has to be of a kind.
MATRICES = ("linalg", "cholesky", "inverse", "pinverse", "logdet", "slogdet", "det", "triangular", "lu", "ormqr", "geqrf")
# Ops whose domain an open interval says no better than the sample.
WRITE_OUT = ("acosh", "erfinv", "special_ndtri", "logit", "histc", "histogram", "searchsorted", "bucketize", "polar")


class Unsuitable(Exception):
    pass


def shape(tensor):
    return "x".join(map(str, tensor.shape)) or "()"


def written(tensor):
    if tensor.numel() > WRITTEN or tensor.numel() == 0:
        raise Unsuitable
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype == torch.bool:
        numbers = [str(int(value)) for value in tensor.flatten().tolist()]
    else:
        numbers = [repr(value) for value in tensor.flatten().tolist()]
    return f"{kind} {shape(tensor)} [{', '.join(numbers)}]"


def told(op, tensor):
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.numel() > LARGEST:
        raise Unsuitable
    tensor = tensor.detach()
    if tensor.dtype == torch.float32:
        if tensor.numel() and (op.startswith(MATRICES) or op.startswith(WRITE_OUT) or not tensor.isfinite().all()):
            return written(tensor)
        least, most = (tensor.min().item(), tensor.max().item()) if tensor.numel() else (-1.0, 1.0)
        if least >= 0 and most <= 1:
            return f"probabilities {shape(tensor)}"
        return f"{'positive' if least > 0 else 'normal'} {shape(tensor)}"
    if tensor.dtype == torch.bool:
        return written(tensor) if 0 < tensor.numel() <= WRITTEN else f"mask {shape(tensor)}"
    if tensor.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        if tensor.numel() == 0 or tensor.numel() > WRITTEN:
            if tensor.dtype != torch.int64 or (tensor.numel() and tensor.min() < 0):
                raise Unsuitable
            return f"ids({int(tensor.max()) + 1 if tensor.numel() else 1}) {shape(tensor)}"
        return written(tensor)
    raise Unsuitable


def plain(value):
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            return {"infinite": value > 0}
        if value != value:
            raise Unsuitable
        return value
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
        return None
    raise Unsuitable


class Calls(torch.fx.Interpreter):
    """Runs a graph and notes its calls."""

    def __init__(self, module, note):
        super().__init__(module)
        self.note = note

    def call_function(self, target, args, kwargs):
        if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
            try:
                self.note(target, args, kwargs)
            except Unsuitable:
                pass
        return super().call_function(target, args, kwargs)


def main():
    seen = {}

    def note(target, args, kwargs):
        schema = target._schema
        name = schema.name.removeprefix("aten::")
        op = f"{name}.{schema.overload_name}" if schema.overload_name else name
        # What asks for a size, or checks one, runs on neither engine.
        if len(seen.get(op, ())) >= EACH or name.startswith(("_assert", "sym_")):
            return
        given = dict(zip((argument.name for argument in schema.arguments), args)) | kwargs
        inputs, arguments = {}, {}
        for argument in schema.arguments:
            value = given.get(argument.name)
            if value is None or argument.name not in given:
                continue
            if isinstance(value, torch.Tensor):
                inputs[argument.name] = told(name, value)
            elif isinstance(value, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in value):
                inputs[argument.name] = [None if item is None else told(name, item) for item in value]
            else:
                answer = plain(value)
                if answer is not None:
                    arguments[argument.name] = answer
        line = json.dumps({"op": op, "inputs": inputs, "arguments": arguments})
        if line not in seen.setdefault(op, []):
            seen[op].append(line)

    for source in (make.ops, make.modules):
        for _, made, _ in source():
            for part in made:
                try:
                    program = make.exported(part.eval(), part.tensors)
                    tensors = [tensor.clone() for tensor in part.tensors]
                    with torch.no_grad():
                        Calls(program.module(), note).run(*tensors)
                except Exception:  # noqa: BLE001: a sample that does not run gives no examples
                    continue
    for op in sorted(seen):
        for line in seen[op]:
            print(line)


if __name__ == "__main__":
    main()
