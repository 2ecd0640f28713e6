#!/usr/bin/env python3
"""Finds how the model classes of transformers and diffusers follow their configurations, and writes that to rules.bin.

    python assets/architectures/rules.py [--only TYPE ...] [--kept FOLDER] [--seconds 120] [--more] [--write]

Each class is built on the meta device from its default configuration with few layers, then with each key of the configuration
changed alone, then with several changed at once. Modules at the same place of the tree are one node; for each node, what exists,
the class, each plain attribute and each tensor's shape become the simplest expression over the configuration that gives all
observed values (expressions.py). What was found is held against builds of other random configurations: expressions that do not
hold there are searched once more with these, and dropped if they still do not hold. Needs torch, transformers and diffusers; no
weights and no network. With --kept each type's rules are kept as JSON, and a type that is there is not built again. A type that takes
longer than --seconds keeps the classes that are done.

The file, numbers little-endian: `T2MRULE1`, the length of the index (u32), the index (JSON, deflate), the blocks (JSON,
deflate), one for each model type, each read alone when it is wanted.

index  {"libraries": [[name, version], …], "activations": [{name: [class, {attribute: value}]}, …] for each library,
        "types": [{name: [offset, bytes]}, …] for each library}
block  {"config": {"names": {old: new}, "defaults": {key: value}, "computed": [[key, expression], …], "parts": {key: type}},
        "classes": [class, …], "texts": [text, …], "expressions": [expression, …], "nodes": [node, …],
        "models": {class name: [node, expression of the tied tensors], …}, "base": class name, "saved": [table, …], "saved_as":
        {class name: table, …}}; the class that the type has for text that goes on is AutoModelForCausalLM as well,
        the one for features AutoBackbone
table  {"names": [[place in the tree, place in a file], …], "pieces": [[tensor in a file, its place in the tree, tensor that it is a
       part of], …]}, where names in files are others than the modules' (saved.py)
node   [class or null, [[text, expression], …], [[text, buffer, exists, shape], …], [[text or null, expression, node], …]]
       a child with a name exists where its expression is true (null: not known); one without is repeated so often
       {"of": expression, "nodes": {class: node}}  {"act": expression}  {"ref": [type or null, class or null, key], "instead": {class: class that is in its place}}
"""

import argparse
import gzip
import json
import os
import signal
import struct
import sys
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import libraries  # noqa: E402
import trees  # noqa: E402
from expressions import constant  # noqa: E402
from studies import Study, computed  # noqa: E402

MAGIC = b"T2MRULE1"


def derive(library, kind, names, seconds=120, seed=0):
    """What is known of a model type: its configuration, and a rule for each class; of those for which there is time."""
    study = Study(library, kind, seed, seconds)
    models, told, samples = {}, [], [(library.start(kind), library.env(kind, library.start(kind)))]
    first = True
    for name in names:
        try:
            rule, ties, dropped, builds = in_time(max(study.left(), seconds * 0.05), lambda: study.rules(name, first))
        except TooLong:
            told.append(f"{name}: given up")
            if study.left() < seconds * 0.05:
                break
            continue
        except Exception as error:
            if os.environ.get("RULES_TRACE"):
                traceback.print_exc()
            told.append(f"{name}: {type(error).__name__} {str(error)[:90]}")
            continue
        if first:
            samples += [(raw, env) for raw, env, *_ in builds]
        first = False
        library.known[kind, name] = rule
        models[name] = [rule, ties]
        if dropped:
            told.append(f"{name}: {dropped} dropped")
    if not models:
        return None, told
    for share in [0.1, 0.3, 0.5] * 40:
        raw = study.joint(samples[0][1], share)
        try:
            samples.append((raw, library.env(kind, raw)))
        except Exception:
            continue
    defaults, expressions = computed(samples, seconds * 0.2)
    config = {"names": library.names(kind), "defaults": defaults, "computed": expressions, "parts": library.parts_of(kind)}
    tables = {name: library.saved[kind, name].table() for name in models if (kind, name) in library.saved}
    saved = {name: table for name, table in tables.items() if table}
    return {"config": config, "models": models, "base": library.base(kind), "saved": saved}, told


class TooLong(BaseException):
    """Not to be caught where a build that fails is passed over."""


def in_time(seconds, call):
    def late(*_):
        raise TooLong

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


class Block:
    """Rules with everything that is alike stored once."""

    def __init__(self):
        self.classes, self.texts, self.expressions, self.nodes = {}, {}, {}, {}

    @staticmethod
    def place(table, value):
        return table.setdefault(value, len(table))

    def expression(self, value):
        return self.place(self.expressions, json.dumps(value, separators=(",", ":")))

    def text(self, value):
        return self.place(self.texts, value)

    def add(self, rule):
        if "act" in rule:
            packed = {"act": self.expression(rule["act"])}
        elif "ref" in rule:
            packed = {"ref": rule["ref"], **({"instead": rule["instead"]} if rule.get("instead") else {})}
        elif "of" in rule:
            packed = {"of": self.expression(rule["of"]), "nodes": {cls: self.add(node) for cls, node in rule["nodes"].items()}}
        else:
            packed = [
                None if rule["c"] is None else self.place(self.classes, rule["c"]),
                [[self.text(name), self.expression(value)] for name, value in rule["a"].items()],
                [[self.text(name), buffer, self.expression(exists), self.expression(shape)] for name, buffer, exists, shape in rule["t"]],
                [[None if name is None else self.text(name), self.expression(e), self.add(node)] for name, e, node in rule["k"]],
            ]
        return self.place(self.nodes, json.dumps(packed, separators=(",", ":")))


def packed(known, others):
    """`others`: other names of its classes, each with the class."""
    block = Block()
    models = {name: [block.add(rule), block.expression(constant(ties) if isinstance(ties, dict) else ties)] for name, (rule, ties) in known["models"].items()}
    models |= {other: models[name] for other, name in others.items() if name in models}
    dump = lambda value: json.dumps(value, separators=(",", ":"))  # noqa: E731
    tables, saved_as = {}, {}
    for name, table in known.get("saved", {}).items():
        saved_as[name] = block.place(tables, dump(table))
    saved_as |= {other: saved_as[name] for other, name in others.items() if name in saved_as}
    return '{"config":%s,"classes":%s,"texts":%s,"expressions":[%s],"nodes":[%s],"models":%s,"base":%s,"saved":[%s],"saved_as":%s}' % (
        dump(known["config"]), dump(list(block.classes)), dump(list(block.texts)), ",".join(block.expressions), ",".join(block.nodes),
        dump(models), dump(known["base"]), ",".join(tables), dump(saved_as),
    )


def write(libraries, out):
    """`libraries`: library and {type: what is known of it}."""
    from make import deflate

    blocks, types, offset = [], [], 0
    for library, known in libraries:
        places = {}
        for kind, value in known.items():
            block = deflate(packed(value, {trees.CAUSAL: library.causal(kind), trees.BACKBONE: library.backbone(kind)}))
            places[kind] = [offset, len(block)]
            offset += len(block)
            blocks.append(block)
        types.append(places)
    index = {
        "libraries": [[library.name, library.version()] for library, _ in libraries],
        "activations": [library.activations for library, _ in libraries],
        "types": types,
    }
    index = deflate(json.dumps(index, separators=(",", ":")))
    with open(out, "wb") as file:
        file.write(MAGIC + struct.pack("<I", len(index)) + index)
        file.writelines(blocks)
    print(f"{sum(map(len, types))} types, {sum(len(v['models']) for _, k in libraries for v in k.values())} classes, index {len(index)}, all {os.path.getsize(out)} bytes")


def known_types(library):
    """Model types of a library that rules.bin has."""
    import zlib

    data = (HERE / "rules.bin").read_bytes()
    (length,) = struct.unpack("<I", data[len(MAGIC) : len(MAGIC) + 4])
    index = json.loads(zlib.decompress(data[len(MAGIC) + 4 :][:length], -15))
    return index["types"][[name for name, _ in index["libraries"]].index(library)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", action="append")
    parser.add_argument("--only", nargs="*", help="model types")
    parser.add_argument("--kept", type=Path, help="a folder where what is found is kept")
    parser.add_argument("--seconds", type=int, default=120, help="of computing, for a type")
    parser.add_argument("--more", action="store_true", help="build types that are kept for the classes that they lack")
    parser.add_argument("--write", action="store_true", help="write rules.bin of all that is found and kept")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    done = []
    for make_library in libraries.every():
        if arguments.library and make_library.name not in arguments.library:
            continue
        library = make_library()
        library.kept = arguments.kept
        known = {}
        kinds = library.types()
        wanted = [kind for kind in arguments.only if kind in kinds] if arguments.only else library.ordered(kinds)
        for kind in [*wanted, *(kind for kind in kinds if kind not in wanted and arguments.write)]:
            kept = library.place(kind)
            begun = time.process_time()
            if kept and kept.exists():
                found = library.remembered(kind)
                more = [name for name in kinds[kind] if found and name not in found["models"]]
                if arguments.more and kind in wanted and more:
                    added, told = derive(library, kind, more, arguments.seconds)
                    found["models"] |= added["models"] if added else {}
                    found["saved"] = found.get("saved", {}) | (added["saved"] if added else {})
                    kept.write_bytes(gzip.compress(json.dumps(found).encode()))
                    print(f"{kind}: {len(added['models']) if added else 0} more of {len(more)} classes, {time.process_time() - begun:.1f} s", *told, sep="; ", flush=True)
            elif kind in wanted:
                try:
                    found, told = derive(library, kind, kinds[kind], arguments.seconds)
                except Exception as error:
                    found, told = None, [f"{type(error).__name__} {str(error)[:120]}"]
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_bytes(gzip.compress(json.dumps(found).encode()))
                print(f"{kind}: {len(found['models']) if found else 0} of {len(kinds[kind])} classes, {time.process_time() - begun:.1f} s", *told, sep="; ", flush=True)
            else:
                continue
            if found:
                known[kind] = found
        done.append((library, known))
    if arguments.write:
        write(done, HERE / "rules.bin")


if __name__ == "__main__":
    main()
