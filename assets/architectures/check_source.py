#!/usr/bin/env python3
"""Measures what the program knows of a state dict from the source of its package alone.

    python assets/architectures/check_source.py PROGRAM [--library torchvision] [--models 40] [--seed 0] [--list FILE]

Builds models with the libraries that are installed, writes their state dicts without data, runs `PROGRAM inspect --source FILE`
with the file that defines the model, and compares the class and the plain attributes of each module with tensors. A module counts
as known by its source if its evidence is `source`: what the list of architectures says does not count. --list opens checkpoints
that are there instead, one a line: name, path and source folders (commas between several) with tabs between them; of these nobody knows the truth, so that
modules are counted by evidence and by status.
"""

import argparse
import inspect
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import check
import describe


def opened(program, path, *sources):
    command = [program, "inspect", "--format", "json", str(path), *(part for source in sources for part in ("--source", str(source)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return json.loads(done.stdout) if done.returncode == 0 else None


def models(library):
    if library == "torchvision":
        import torchvision

        for name in torchvision.models.list_models(torchvision.models):
            builder = torchvision.models.get_model_builder(name)
            yield name, (lambda name=name: torchvision.models.get_model(name)), inspect.getsourcefile(inspect.unwrap(builder))
    else:
        import timm

        for name in timm.list_models():
            builder = timm.models.model_entrypoint(name)
            yield name, (lambda name=name: timm.create_model(name)), inspect.getsourcefile(builder)


def is_known(module):
    return module["evidence"] == "source"


def implied(kind, name):
    """Attributes that say no more than the class does."""
    return name == "transposed" or (name == "output_padding" and "Transpose" not in kind)


def compared(model, report):
    """Modules with tensors: how many there are, are told by the source, and are right."""
    found = {module["path"]: module for module in report["modules"]}
    all_, told, right, wrong = 0, 0, 0, []
    for truth in describe.modules(model):
        module = found.get(truth["path"])
        if not truth["tensors"] or module is None:
            continue
        all_ += 1
        if not is_known(module):
            wrong.append((truth["path"], truth["class"], module["evidence"]))
            continue
        told += 1
        have = module["attributes"]
        differ = {
            name: (value, have.get(name))
            for name, value in truth["attributes"].items()
            if name not in check.WITHOUT_EFFECT and not implied(truth["class"], name) and have.get(name) != value
        }
        # Attributes of a class of the source's own are what its constructor sets; layers of torch are told whole.
        own = not truth["class"].startswith("torch.nn.")
        if module["class"] == truth["class"] and (own or not differ):
            right += 1
        else:
            wrong.append((truth["path"], truth["class"], module["class"], differ))
    return all_, told, right, wrong


def measure(program, library, count, seed):
    import torch

    chosen = list(models(library))
    random.Random(seed).shuffle(chosen)
    total = Counter()
    for name, build, source in chosen[:count]:
        with torch.device("meta"):
            try:
                model = build()
            except Exception:
                continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pth"
            check.save(model.state_dict(), path)
            report = opened(program, path, source)
        if report is None:
            print(f"{name}: not opened")
            continue
        all_, told, right, wrong = compared(model, report)
        total.update(all=all_, told=told, right=right)
        print(f"{name:40} {right:5} right, {told:5} told of {all_:5}  {wrong[:1] if wrong else ''}", flush=True)
    print(f"{library}: {total['right'] / total['all']:.3f} right, {total['told'] / total['all']:.3f} told of {total['all']} modules")


def listed(program, path):
    shares = []
    for line in Path(path).read_text().splitlines():
        fields = line.split("\t")
        if line.startswith("#") or len(fields) < 3 or not fields[2]:
            continue
        report = opened(program, fields[1], *fields[2].split(","))
        if report is None:
            print(f"{fields[0]}: not opened")
            continue
        modules = [module for module in report["modules"] if module["tensors"] and "ParametrizationList" not in module["class"]]
        sure = [module for module in modules if module["evidence"] in ("source", "exact")]
        runs = [module for module in modules if module["status"] in ("direct", "recipe")]
        shares.append((len(sure) / len(modules), len(runs) / len(modules)))
        print(f"{fields[0]:32} {len(sure):4} by source, {len(runs):4} direct or by recipe of {len(modules):4}", flush=True)
    mean = [sum(share) / len(shares) for share in zip(*shares)]
    print(f"in the mean of {len(shares)}: {mean[0]:.3f} by source, {mean[1]:.3f} direct or by recipe")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--library", default="torchvision", choices=["torchvision", "timm"])
    arguments.add_argument("--models", type=int, default=40)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--list")
    given = arguments.parse_args()
    if given.list:
        listed(given.program, given.list)
    else:
        measure(given.program, given.library, given.models, given.seed)


if __name__ == "__main__":
    main()
