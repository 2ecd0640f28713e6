"""Compare t2m-torch with Python's torch on layers whose attributes were tampered with, as a damaged or hostile file has them.

    python assets/samples/check_tampered.py target/release/t2m-torch [NAME]

Each public attribute of each layer of layers.jsonl (whose expression has NAME in it) gets other values, on both sides. Where
both give numbers they have to be the same: what Python's forward goes by is what the program goes by. That the program
refuses what Python runs is no fault, and neither is the reverse, which is counted. Exits with 1 if anything disagrees.
"""

import collections
import copy
import json
import pathlib
import sys
import warnings

import torch
from torch import nn

from check_torch import LONG, Program, attempt, distance, forward
from torch_inputs import cases, randomise

OTHERS = [None, True, False, 0, 1, 2, 3, -1, 3.5, 0.25, "relu", "none", "same", "RNN_RELU", [2, 1], [1, 1, 2]]


def plain(value):
    return value is None or isinstance(value, (bool, int, float, str)) or isinstance(value, (tuple, list)) and all(map(plain, value))


def tampered(program, line, counts):
    top, *rest = line["modules"]
    name = top["class"].rsplit(".", 1)[1]
    module = eval(line["build"], {"nn": nn, "torch": torch}).eval()
    randomise(module)
    inputs, call = next(iter(cases(name, module)))
    below = {"modules": {part["path"]: part["attributes"] for part in rest}} if rest else {}
    tensors = list(module.state_dict().items())
    for attribute, own in top["attributes"].items():
        if not plain(vars(module).get(attribute, ...)):
            continue
        for value in OTHERS:
            if value == own and type(value) is type(own):
                continue
            twin = copy.deepcopy(module)
            setattr(twin, attribute, tuple(value) if isinstance(value, list) else value)
            expected, no = attempt(forward, name, twin, inputs, call)
            told = below | ({} if call is None else {"call": call})
            _, refused = attempt(program.load, top["class"], top["attributes"] | {attribute: value}, tensors, told)
            got, why = (None, refused) if refused else attempt(program.run, inputs, torch.float32)
            if no or why:
                counts["refused by both" if no and why else "refused here" if why else "refused by Python"] += 1
                continue
            apart = distance(expected, got)
            counts["alike" if apart <= LONG else "apart"] += 1
            if apart > LONG:
                print(f"{line['build']}: {attribute} = {value!r}, not {own!r}: {apart:.2g}")


@torch.no_grad()
def main(path, wanted=""):
    torch.manual_seed(7)
    torch.backends.mha.set_fastpath_enabled(False)
    warnings.simplefilter("ignore")
    program, counts, seen = Program(path), collections.Counter(), set()
    for line in map(json.loads, pathlib.Path(__file__).with_name("layers.jsonl").read_text().splitlines()):
        kind = (line["modules"][0]["class"], "call" in line)
        if wanted in line["build"] and kind not in seen:
            seen.add(kind)
            tampered(program, line, counts)
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return 1 if counts["apart"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
