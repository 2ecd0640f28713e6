#!/usr/bin/env python3
"""Measures what the program knows of models of transformers and diffusers from their folders: config.json and the weights' header.

    python assets/architectures/check_folders.py PROGRAM [--library transformers] [--models 60] [--seed 0] [--only TYPE ...] [--all] [--default]

Random model classes get random configurations, other than those that rules.py looked at; the config.json is the library's own
(save_pretrained of the configuration), and the weights are a safetensors file without data (a hole), whose names are those that
save_pretrained gives. `PROGRAM inspect --format json` is then compared with the real modules: a module is right where its class and
every plain attribute are, those apart that change nothing at inference. Without --all classes are drawn from the types in rules.bin.
"""

import argparse
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import check
import libraries
import rules
import studies
import trees
from expressions import same

WITHOUT_EFFECT = check.WITHOUT_EFFECT | {
    "attention_dropout", "hidden_dropout", "activation_dropout", "dropout_prob", "dropout_p", "layerdrop", "drop_path_rate",
    "vocab_size", "pad_token_id", "num_labels", "layer_idx", "resid_dropout", "attn_dropout",
}
TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "bool": "BOOL", "complex64": "C64"}


def save(tensors, path):
    """A safetensors file of holes."""
    header, offset = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": TYPES[str(tensor.dtype).removeprefix("torch.")], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)


def other(value, chance):
    """Another value of its kind that rules.py does not try."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice([3 * value, 4 * value, value + value // 4]) if value > 6 else value + chance.choice([1, 2, 3])
    if isinstance(value, float):
        return value * chance.choice([0.25, 3.0, 1.5])
    return value


def arguments_of(study, env, chance):
    """Random arguments: small, of other sizes, with other activations and switches."""
    raw = dict(study.base)
    keys = [(path, values) for path, values in study.options(env) if values and not isinstance(path[0], list)]
    chance.shuffle(keys)
    for path, values in keys:
        if chance.random() > 0.35:
            continue
        value = env.get(".".join(path))
        changed = other(value, chance) if isinstance(value, (bool, int, float)) else chance.choice(values)
        attempt = study.change(env, raw, path, changed)
        try:
            study.library.env(study.kind, attempt)
        except Exception:
            continue
        raw = attempt
    return raw


SMALL = [
    (re.compile(r"^(num_hidden_layers|num_layers|n_layers?|(encoder|decoder|num_encoder|num_decoder)_layers|encoder_depth|num_blocks)$"), 2),
    (re.compile(r"^(hidden_size|d_model|n_embd|dim|hidden_dim)$"), 64),
    (re.compile(r"^(intermediate_size|ffn_dim|d_ff|n_inner|(encoder|decoder)_ffn_dim)$"), 128),
    (re.compile(r"^(num_attention_heads|n_heads?|num_heads|(encoder|decoder)_attention_heads)$"), 4),
    (re.compile(r"^num_key_value_heads$"), 2),
    (re.compile(r"^vocab_size$"), 128),
]


def small(study, env, is_narrow):
    """Arguments of a default configuration with few layers, and narrower ones, as somebody writes them who tries a model out."""
    raw = study.library.start(study.kind)
    for key, value in env.items():
        last = key.rpartition(".")[2]
        for pattern, wanted in SMALL if is_narrow else SMALL[:1]:
            if pattern.search(last) and isinstance(value, int) and not isinstance(value, bool):
                raw = study.attempted(env, raw, key.split("."), wanted)
    return raw


def write_folder(library, kind, name, raw, folder):
    """The folder as the library saves it; the nodes that the program should find."""
    import torch

    env, build, parts = library.prepare(kind, name, raw)
    with torch.device("meta"):
        model = build().eval()
    if library.name == "transformers":
        from transformers.core_model_loading import revert_weight_conversion

        model.config.architectures = [name]
        model.config.save_pretrained(folder)
        state = model.state_dict()
        tied = getattr(model, "all_tied_weights_keys", None) or {}
        state = {key: tensor for key, tensor in state.items() if key not in tied}
        save(revert_weight_conversion(model, state), Path(folder) / "model.safetensors")
    else:
        model.save_config(folder)
        save(model.state_dict(), Path(folder) / "diffusion_pytorch_model.safetensors")
    node, ties = trees.tree(model, parts(model))
    return trees.listed(node), ties, model


IDLE = re.compile(r"(\.Identity|Dropout\w*|DropPath)$")


def compare(built, ties, report):
    """Modules that are right, and what is wrong with the others."""
    found = {module["path"]: module for module in report["modules"]}
    right, wrong = 0, []
    for path, node in built.items():
        # A module whose only tensor is another one's is not in the file.
        own = [f"{path}.{name}".lstrip(".") for name, *_ in node.tensors]
        if own and all(name in ties for name in own):
            continue
        module = found.get(path)
        if module is None:
            # What does nothing at inference.
            if IDLE.search(node.cls):
                continue
            wrong.append((path, node.cls, "not there"))
            continue
        if module["class"] != node.cls:
            wrong.append((path, node.cls, f"{module['class'] or 'no class'} ({module['evidence']})"))
            continue
        bad = []
        for key, value in json.loads(json.dumps(node.attributes)).items():
            if key in WITHOUT_EFFECT or key.endswith("dropout"):
                continue
            if key not in module["attributes"]:
                # None where another configuration has a module.
                if value is None and not node.cls.startswith("torch.nn."):
                    continue
                bad.append(f"{key}: {value!r}, not told")
            elif not same(value, module["attributes"][key]):
                bad.append(f"{key}: {value!r}, not {module['attributes'][key]!r}")
        if bad:
            wrong.append((path, node.cls, "; ".join(bad[:3])))
        else:
            right += 1
    return right, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--library", default="transformers")
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--all", action="store_true", help="types that have no rules as well")
    parser.add_argument("--default", action="store_true", help="default configurations with few layers and small sizes instead of random ones")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    library = next(make for make in libraries.every() if make.name == arguments.library)()
    kinds = {kind: names for kind, names in library.types().items() if not arguments.only or kind in arguments.only}
    if not arguments.all:
        known = rules.known_types(library.name)
        kinds = {kind: names for kind, names in kinds.items() if kind in known}
    chance = random.Random(arguments.seed)
    names = [(kind, name) for kind, names in kinds.items() for name in names]
    chance.shuffle(names)
    right, every, models, unbuilt, kinds_of_wrong = 0, 0, 0, 0, Counter()
    for kind, name in names:
        if models == arguments.models:
            break
        try:
            study = studies.Study(library, kind, "held out")
            env = library.env(kind, study.base)
        except Exception:
            unbuilt += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            for attempt in range(6):
                if arguments.default:
                    raw = small(study, env, attempt == 0) if attempt < 2 else study.base
                else:
                    raw = arguments_of(study, env, chance) if attempt < 5 else study.base
                try:
                    built, ties, model = studies.limited(60, lambda: write_folder(library, kind, name, raw, folder))
                    break
                except Exception as error:
                    why = error
            else:
                unbuilt += 1
                if os.environ.get("RULES_TRACE"):
                    print("not built:", kind, name, type(why).__name__, str(why)[:100])
                continue
            answer = subprocess.run([arguments.program, "inspect", folder, "--format", "json"], capture_output=True, text=True)
        if answer.returncode:
            print(kind, name, "refused:", answer.stderr.strip()[:200])
            continue
        models += 1
        report = json.loads(answer.stdout)
        good, wrong = compare(built, ties, report)
        right, every = right + good, every + good + len(wrong)
        told = report["checkpoint"].get("architecture", {})
        if wrong:
            print(f"{kind} {name}: {good} of {good + len(wrong)}; {told.get('name')}, {told.get('match')}, {told.get('tensors')}")
            for (cls, why), (path, count) in group(wrong)[:4]:
                print(f"    {count} × {path or '(root)'} {cls.rpartition('.')[2]}: {why}")
            for _, cls, why in wrong:
                kinds_of_wrong[cls.rpartition(".")[2], why.split(":")[0][:40]] += 1
    print(f"{right} of {every} modules right: {right / max(every, 1):.4f}; {models} models, {unbuilt} not built")
    for (cls, why), count in kinds_of_wrong.most_common(25):
        print(f"    {count} × {cls}: {why}")


def group(wrong):
    found = {}
    for path, cls, why in wrong:
        first, count = found.get((cls, why), (path, 0))
        found[cls, why] = (first, count + 1)
    return sorted(found.items(), key=lambda item: -item[1][1])


if __name__ == "__main__":
    main()
