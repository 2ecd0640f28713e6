#!/usr/bin/env python3
"""Measures what the program knows of published models from their state dicts alone.

    python assets/architectures/check.py PROGRAM [--library timm] [--models 100] [--seed 0] [--variants]

Builds models with the libraries that are installed, writes their state dicts without data (every tensor is one number,
expanded), runs `PROGRAM inspect --format json`, and compares each module's class and plain attributes with the real ones. A
module counts as right if both are; an attribute that the file cannot tell (`checkpoint.candidates`) counts where the real
value is among those that are listed. --variants builds fine-tuned ones instead: another head, a prefix, a backbone alone.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import describe
import make

# They change nothing at inference, or say only how a file was made.
WITHOUT_EFFECT = {"inplace", "momentum", "p", "drop_prob", "training", "num_batches_tracked", "dropout", "return_indices"}


def save(tensors, path):
    import torch

    dummy = {}
    for name, tensor in tensors.items():
        dummy[name] = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) if tensor.dim() else torch.zeros((), dtype=tensor.dtype)
    torch.save(dummy, path)


def variants(model, tensors, names, seed):
    """A state dict as somebody would have it after fine-tuning, and what its module paths begin with."""
    import torch

    kind = ("head", "prefix", "backbone")[seed % 3]
    if kind == "prefix":
        return kind, {f"model.backbone.{name}": tensor for name, tensor in tensors.items()}, "model.backbone."
    last = next(name for name in reversed(list(tensors)) if name.endswith("weight") and tensors[name].dim() >= 2)
    stem = last.rpartition(".")[0]
    if kind == "backbone":
        return kind, {name: tensor for name, tensor in tensors.items() if not name.startswith(stem + ".")}, ""
    changed = dict(tensors)
    changed[last] = torch.empty((7, *tensors[last].shape[1:]), device="meta")
    if stem + ".bias" in changed:
        changed[stem + ".bias"] = torch.empty(7, device="meta")
    return kind, changed, ""


def compare(model, report, prefix, tensors, kind):
    """Modules that are right, and what is wrong with the others."""
    found = {module["path"]: module for module in report["modules"]}
    apart = {}
    for candidate in report["checkpoint"].get("candidates", []):
        for path, values in candidate["differs"].items():
            apart.setdefault(path, {}).update(values)
    kept, shapes, gone = set(tensors), model.state_dict(), set()
    right, wrong = 0, []
    for truth in describe.modules(model):
        path = (prefix + truth["path"]).rstrip(".")
        inside = [name for name in kept if name.startswith(path + ".") or not path]
        had = truth["tensors"] and not any((path + "." if path else "") + own[0] in kept for own in truth["tensors"])
        if had or (not inside and prefix_missing(truth, model)) or truth["path"].rpartition(".")[0] in gone:
            # What was cut off, and what is inside of a part that lost all of its weights.
            gone.add(truth["path"])
            continue
        if kind == "backbone" and truth["path"] and not inside and not truth["tensors"]:
            parent = model.get_submodule(truth["path"].rpartition(".")[0])
            if truth["path"].rpartition(".")[0] and any(True for _ in parent.parameters()) and not any(
                name.startswith(prefix + truth["path"].rpartition(".")[0] + ".") for name in kept
            ):
                continue
        changed = any(
            (name := (path + "." if path else "") + own[0]) in tensors and list(tensors[name].shape) != own[3] for own in truth["tensors"]
        )
        module = found.get(path)
        if module is None:
            wrong.append((path, truth["class"], "not there"))
            continue
        listed = truth["class"] in apart.get(path, {}).get("class", [])
        if module["class"] != truth["class"] and listed:
            right += 1
            continue
        if module["class"] != truth["class"]:
            wrong.append((path, truth["class"], module["class"] or "no class"))
            continue
        bad = []
        for name, value in truth["attributes"].items():
            if name in WITHOUT_EFFECT or isinstance(value, dict) or (changed and name.startswith("out_")):
                continue
            missing = name not in module["attributes"]
            if missing and value in apart.get(path, {}).get(name, []):
                continue
            if missing or json.loads(json.dumps(value)) != module["attributes"][name]:
                bad.append(f"{name}: {value!r}, not {module['attributes'].get(name, 'told')!r}")
        if bad:
            wrong.append((path, truth["class"], "; ".join(bad)))
        else:
            right += 1
    return right, wrong


def prefix_missing(truth, model):
    """Whether a module and all below it are gone with their parameters."""
    part = model.get_submodule(truth["path"])
    return any(True for _ in part.parameters())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--library", action="append")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", action="store_true")
    arguments = parser.parse_args()
    import torch

    libraries = arguments.library or ["torchvision", "timm"]
    names = [(label, name, builder) for label, _, names, builder in make.LIBRARIES if label in libraries for name in names()]
    chosen = random.Random(arguments.seed).sample(names, min(arguments.models, len(names)))
    right, all_modules, kinds = 0, 0, Counter()
    for number, (library, name, builder) in enumerate(chosen):
        try:
            with torch.device("meta"):
                model = builder(name).eval()
        except Exception:
            try:
                model = builder(name).eval()
            except Exception as error:
                print("not built:", library, name, error)
                continue
        tensors, prefix, kind = model.state_dict(), "", "whole"
        if arguments.variants:
            kind, tensors, prefix = variants(model, tensors, names, number)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"
            save(tensors, path)
            answer = subprocess.run([arguments.program, "inspect", path, "--format", "json"], capture_output=True, text=True)
        if answer.returncode:
            print(library, name, "refused:", answer.stderr.strip())
            continue
        report = json.loads(answer.stdout)
        good, wrong = compare(model, report, prefix, tensors, kind)
        right, all_modules = right + good, all_modules + good + len(wrong)
        architecture = report["checkpoint"].get("architecture", {})
        said = architecture.get("names", [])
        hit = "same" if name in said else "candidate" if any(name in c["name"] for c in report["checkpoint"].get("candidates", [])) else "other" if said else "none"
        kinds[hit] += 1
        if wrong or hit in ("other", "none"):
            print(f"{library} {name} ({kind}): {good} of {good + len(wrong)} modules; said {architecture.get('name')}, {architecture.get('match')}, {architecture.get('tensors')}")
            for path, cls, why in wrong[:3]:
                print("   ", path or "(root)", cls, "→", why)
    print(f"{right} of {all_modules} modules right: {right / max(all_modules, 1):.4f}; models: {dict(kinds)}")


if __name__ == "__main__":
    main()
