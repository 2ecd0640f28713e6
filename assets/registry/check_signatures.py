"""Hold signatures.toml against the real libraries: python assets/registry/check_signatures.py

Every function and layer has to be there, with parameters of these names in this order. Checks what is installed of mlx and
torch, and says what it did not check. The suite compares the table with programs; this compares it with Python.
"""

import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

TABLE = tomllib.loads((Path(__file__).parents[2] / "crates" / "engine" / "assets" / "signatures.toml").read_text())
# Parameters that Python has in no signature, and why they are right.
OTHER_NAMES = {
    ("einsum", "operands"): "of a function in Python that takes any number, `tensors` in the schema",
    ("view", "shape"): "`size` in the schema; it is given by its place",
    ("logsigmoid", "input"): "a builtin without a signature, by another name in the schemas",
}


def names(takes):
    words = [word.strip() for word in takes.split(",")]
    return [re.split(r"[:=]", word)[0].strip().lstrip("*") for word in words if word.strip("*/ ")]


def outer(text):
    """The words between commas that are in no bracket."""
    words, depth, word = [], 0, ""
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            words.append(word)
            word = ""
        else:
            word += letter
    return [*words, word]


def of_mlx(function):
    """The parameters of each way to call it: out of the signature, or of the first lines that nanobind writes."""
    try:
        return [list(inspect.signature(function).parameters)]
    except ValueError:
        lines = re.findall(r"^\w+\((.*)\) ->", function.__doc__ or "", re.M)
        return [names(", ".join(re.split(r"[:=]", word)[0] for word in outer(line))) for line in lines]


def of_torch(name):
    import torch

    functional = torch.nn.functional
    bare = name.removeprefix("F.")
    ways = []
    if hasattr(functional, bare):
        try:
            ways.append(list(inspect.signature(getattr(functional, bare)).parameters))
        except ValueError:
            pass
    schemas = torch._C._jit_get_schemas_for_operator("aten::" + name.replace(".", "_"))
    return ways + [[argument.name for argument in schema.arguments] for schema in schemas]


def find(module, path):
    for part in path.split("."):
        module = getattr(module, part, None)
    return module


def in_order(wanted, there):
    there = iter(there)
    return all(name in there for name in wanted)


def fault(name, wanted, ways):
    wanted = [one for one in wanted if (name, one) not in OTHER_NAMES]
    if not wanted:
        return None
    if not ways:
        return f"{name}: not found"
    # torch's own docs call the tensor of a method `input`, its schemas `self`.
    ways = [["input" if one == "self" else one for one in way] for way in ways]
    # `max` of one tensor and of two: what one way to call it has not another has.
    together = sum(ways, [])
    if any(in_order(wanted, way) for way in ways) or len(ways) > 1 and set(wanted) <= set(together):
        return None
    return f"{name}: {wanted} are not among {ways}"


def main():
    faults, counted = [], 0
    try:
        nn, core = importlib.import_module("mlx.nn"), importlib.import_module("mlx.core")
        modules = {"mx": core, "nn": nn}
        for name, row in TABLE["mlx"].items():
            space, _, path = name.partition(".")
            if space in modules:
                counted += 1
                function = find(modules[space], path)
                faults.append(fault(name, names(row["takes"]), of_mlx(function) if function else []))
        for name, takes in TABLE["layers"].items():
            space, _, path = name.partition(".")
            if space in modules:
                counted += 1
                layer = find(modules[space], path)
                there = of_mlx(layer.__init__ if inspect.isclass(layer) else layer) if layer else []
                faults.append(fault(name, names(takes), there))
    except ImportError:
        print("mlx is not installed: its part is not checked")
    try:
        importlib.import_module("torch")
        properties = {"T", "mT", "index", "slice", "getitem", "set_slice"}
        casts = {"float", "half", "bfloat16", "double", "long", "int", "bool", "type"}
        for name, row in TABLE["torch"].items():
            if name not in properties | casts:
                counted += 1
                faults.append(fault(name, names(row["takes"]), of_torch(name)))
    except ImportError:
        print("torch is not installed: its part is not checked")
    faults = [line for line in faults if line]
    print("\n".join([*faults, f"{counted} checked, {len(faults)} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
