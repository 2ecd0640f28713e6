#!/usr/bin/env python3
"""Completes kept rules (rules.py --kept) with what a few more builds tell, without searching anew.

    python assets/architectures/mend.py FOLDER TYPE ... [--builds 10]

Each class is built with random configurations; an attribute that its rules leave open becomes the key of its own name, a size of
the file's tensors, the usual expression of a rotary embedding or what it is in all builds, whichever holds in each of them. What does not hold
in these builds is dropped.
"""

import argparse
import gzip
import json
import random
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import check_folders
import libraries
import studies
import trees
from expressions import Unknown, constant, evaluate, same

# Of builds in which what is always the same is taken for a constant.
ENOUGH = 6


def holds(expression, samples):
    try:
        return all(same(evaluate(expression, env), value) for env, value in samples)
    except Unknown:
        return False


def completed(found):
    """`found`: rule → [(configuration, node)]; how many attributes are told now that were not."""
    more = 0
    for rule, samples in found:
        names = {name for _, node in samples for name in node.attributes}
        for name in sorted(names - set(rule["a"])):
            chosen = [(env, node) for env, node in samples if name in node.attributes]
            if len(chosen) < len(samples) or len({id(env) for env, _ in chosen}) < ENOUGH:
                continue
            values = [(env, node.attributes[name]) for env, node in chosen]
            for guess in (name, *trees.rotary(name)):
                if holds(guess, values):
                    rule["a"][name] = guess
                    break
            else:
                if all(same(values[0][1], value) for _, value in values):
                    rule["a"][name] = constant(values[0][1])
                else:
                    trees.Unifier.by_size(rule, name, [node for _, node in chosen])
            more += name in rule["a"]
    return more


def mend(library, kind, count):
    kept = library.remembered(kind)
    if not kept:
        return 0, 0
    study = studies.Study(library, kind, "mended")
    chance = random.Random(kind)
    env = library.env(kind, study.base)
    more = dropped = 0
    for name, (rule, _) in kept["models"].items():
        builds = []
        for attempt in range(2 * count):
            if len(builds) == count:
                break
            raw = check_folders.arguments_of(study, env, chance) if attempt else study.base
            try:
                builds.append(study.observe(name, raw))
            except Exception:
                continue
        samples = {}
        for own, node, _ in builds:
            built = trees.listed(node)
            for path, told in trees.predicted(rule, own, library, trees.sizes_of(built)).items():
                if path in built and told[1] == built[path].cls and "a" in told[0]:
                    inside = own
                    samples.setdefault(id(told[0]), (told[0], []))[1].append((inside, built[path]))
        more += completed(samples.values())
        for own, node, _ in builds:
            built = trees.listed(node)
            dropped += trees.drop(trees.predicted(rule, own, library, trees.sizes_of(built)), built)
    library.place(kind).write_bytes(gzip.compress(json.dumps(kept).encode()))
    return more, dropped


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("types", nargs="+")
    parser.add_argument("--builds", type=int, default=10)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    library = libraries.Transformers()
    library.kept = arguments.folder
    for kind in arguments.types:
        begun = time.process_time()
        try:
            more, dropped = mend(library, kind, arguments.builds)
        except Exception as error:
            print(f"{kind}: {type(error).__name__} {str(error)[:100]}", flush=True)
            continue
        print(f"{kind}: {more} more attributes, {dropped} dropped, {time.process_time() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
