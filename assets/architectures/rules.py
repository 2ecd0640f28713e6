#!/usr/bin/env python3
"""Finds how the model classes of transformers and diffusers follow their configurations, and writes that to rules.bin.

    python assets/architectures/rules.py [--only TYPE ...] [--kept FOLDER] [--write]

Each class is built on the meta device from its default configuration with few layers, then with each key of the configuration
changed alone, then with several changed at once. Modules at the same place of the tree are one node; for each node, what exists,
the class, each plain attribute and each tensor's shape become the simplest expression over the configuration that gives all
observed values (expressions.py). What was found is held against builds of other random configurations: expressions that do not
hold there are searched once more with these, and dropped if they still do not hold. Needs torch, transformers and diffusers; no
weights and no network. With --kept each type's rules are kept as JSON, and a type that is there is not built again.

The file, numbers little-endian: `T2MRULE1`, the length of the index (u32), the index (JSON, deflate), the blocks (JSON,
deflate), one for each model type, each read alone when it is wanted.

index  {"libraries": [[name, version], …], "activations": [{name: [class, {attribute: value}]}, …] for each library,
        "types": [{name: [offset, bytes]}, …] for each library}
block  {"config": {"names": {old: new}, "defaults": {key: value}, "computed": [[key, expression], …], "parts": {key: type}},
        "classes": [class, …], "texts": [text, …], "expressions": [expression, …], "nodes": [node, …],
        "models": {class name: [node, expression of the tied tensors], …}, "base": class name}
node   [class or null, [[text, expression], …], [[text, buffer, exists, shape], …], [[text or null, expression, node], …]]
       a child with a name exists where its expression is true (null: not known); one without is repeated so often
       {"of": expression, "nodes": {class: node}}  {"act": expression}  {"ref": [type or null, class or null, key]}
"""

import argparse
import copy
import gzip
import json
import os
import random
import re
import struct
import sys
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import describe  # noqa: E402
from expressions import Finder, Unknown, constant, evaluate, is_number, same  # noqa: E402

MAGIC = b"T2MRULE1"
SECONDS = 20
# Attributes that say nothing of what a model computes.
NOISE = {
    "name_or_path", "kernel_config", "loss_type", "gradient_checkpointing", "all_tied_weights_keys", "config", "generation_config",
    "_internal_dict", "warnings_issued", "model_tags", "_gradient_checkpointing_func", "can_return_tuple", "layer_idx_for_cache",
}
# Keys that change no module.
IDLE = {
    "output_hidden_states", "output_attentions", "return_dict", "dtype", "torch_dtype", "id2label", "label2id", "problem_type",
    "use_cache", "transformers_version", "architectures", "_name_or_path", "initializer_range", "initializer_factor", "model_type",
    "is_encoder_decoder", "bos_token_id", "eos_token_id", "decoder_start_token_id", "sep_token_id", "return_dict_in_generate",
    "chunk_size_feed_forward", "_attn_implementation", "attn_implementation", "tokenizer_class", "ignore_index", "auto_map",
}
FEW = re.compile(r"layer|depth|block|stage|num_experts|n_head_cross|hidden_layers|num_codebook|num_conv")
ACTIVATIONS = ["gelu", "gelu_new", "silu", "relu", "quick_gelu", "gelu_pytorch_tanh", "tanh"]
ROPES = [
    {"rope_type": "linear", "factor": 2.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512},
]


class TooSlow(Exception):
    pass


def limited(seconds, call):
    import signal

    def late(*_):
        raise TooSlow

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        return call()
    finally:
        signal.alarm(0)


# ---- Trees -------------------------------------------------------------------------------------------------------------


class Node:
    """A module as it was built."""

    __slots__ = ("name", "cls", "attributes", "tensors", "children", "part")

    def __init__(self, name, cls, attributes, tensors, part):
        self.name, self.cls, self.attributes, self.tensors, self.part, self.children = name, cls, attributes, tensors, part, []


def tree(model, parts):
    """`parts`: id of a configuration → its key. Nodes, and which tensors are others under a second name."""
    ties = getattr(model, "all_tied_weights_keys", None)
    ties = dict(ties) if isinstance(ties, dict) else {}

    def visit(name, path, module):
        attributes = {key: value for key, value in describe.attributes(module).items() if key not in NOISE}
        rope = getattr(getattr(module, "config", None), "rope_parameters", None)
        if isinstance(rope, dict) and "rope_type" in attributes:
            # What follows of its parameters is computed of them.
            attributes["rope_parameters"] = describe.plain(rope)
            for buffer, tensor in module._buffers.items():
                if buffer.endswith("inv_freq") and "original" not in buffer and tensor is not None:
                    attributes[buffer.replace("inv_freq", "rotary_dim")] = 2 * int(tensor.shape[0])
            for key in [key for key in attributes if key == "rope_type" or key.endswith("attention_scaling")]:
                attributes.pop(key)
        own = [[name, kind, shape] for name, kind, _, shape in describe.own_tensors(module)]
        part = parts.get(id(getattr(module, "config", None))) if hasattr(module, "base_model_prefix") else None
        node = Node(name, describe.name_of(type(module)), attributes, own, part)
        for key, child in module._modules.items():
            if child is not None:
                node.children.append(visit(key, f"{path}{key}.", child))
        return node

    return visit("", "", model), ties


def listed(node, path=""):
    """Path → (class, attributes, tensors)."""
    found = {path: node}
    for child in node.children:
        found |= listed(child, f"{path}.{child.name}" if path else child.name)
    return found


# ---- Rules -------------------------------------------------------------------------------------------------------------


def predicted(rule, env, library, index=(), path="", entry=None, parent=None):
    """What a rule gives for a configuration: path → (rule, class, attributes, tensors, its entry in the parent)."""
    if "act" in rule:
        cls, attributes = library.activations.get(evaluate(rule["act"], env, index), (None, {}))
        return {path: (rule, cls, dict(attributes), {}, entry, parent)}
    if "ref" in rule:
        kind, name, key = rule["ref"]
        inside = {k[len(key) + 1 :]: v for k, v in env.items() if k.startswith(key + ".")} if key else env
        target, _ = library.referred(kind, name, inside)
        found = predicted(target, inside, library, (), path, entry, parent)
        return {p: (rule, *rest[1:]) for p, rest in found.items()}
    if "of" in rule:
        try:
            cls = evaluate(rule["of"], env, index)
        except Unknown:
            return {path: (rule, None, {}, {}, entry, parent)}
        if cls not in rule["nodes"]:
            return {path: (rule, None, {}, {}, entry, parent)}
        found = predicted(rule["nodes"][cls], env, library, index, path, entry, parent)
        return found
    attributes, tensors = {}, {}
    for name, expression in rule["a"].items():
        try:
            attributes[name] = evaluate(expression, env, index)
        except Unknown:
            pass
    for name, buffer, exists, shape in rule["t"]:
        try:
            if evaluate(exists, env, index):
                tensors[name] = evaluate(shape, env, index)
        except Unknown:
            pass
    found = {path: (rule, rule["c"], attributes, tensors, entry, parent)}
    for child in rule["k"]:
        name, expression, below = child
        try:
            times = evaluate(expression, env, index) if expression != ["?"] else None
        except Unknown:
            times = None
        if times is None:
            continue
        if name is None:
            for number in range(times if isinstance(times, int) and times < 500 else 0):
                found |= predicted(below, env, library, (*index, number), f"{path}.{number}" if path else str(number), child, rule)
        elif times:
            found |= predicted(below, env, library, index, f"{path}.{name}" if path else name, child, rule)
    return found


class Unifier:
    """Makes one rule of the trees of several builds."""

    def __init__(self, finder, envs, library, root):
        self.finder, self.envs, self.library, self.root = finder, envs, library, root

    def find(self, rows, values, hint=None):
        return self.finder.find(rows, self.envs, values, hint)

    def node(self, rows, nodes, is_root=False):
        classes = [node.cls for node in nodes]
        distinct = list(dict.fromkeys(classes))
        if not is_root:
            reference = self.reference(rows, nodes, distinct)
            if reference:
                return reference
        if not nodes[0].children and any(cls in self.library.activation_classes for cls in distinct):
            act = self.activation(rows, nodes)
            if act:
                return act
        if len(distinct) == 1:
            return self.of_class(distinct[0], rows, nodes)
        try:
            selector = self.find(rows, classes)
        except Unknown:
            return {"c": None, "a": {}, "t": [], "k": []}
        parts = {}
        for cls in distinct:
            chosen = [place for place, own in enumerate(classes) if own == cls]
            parts[cls] = self.of_class(cls, [rows[place] for place in chosen], [nodes[place] for place in chosen])
        return {"of": selector, "nodes": parts}

    def activation(self, rows, nodes):
        """A module that is what the library has for the name of an activation."""
        first = {build for build, _ in rows}
        is_name = lambda value: isinstance(value, str) and value in self.library.activations  # noqa: E731
        keys = {key for build in first for key, value in self.envs[build].items() if is_name(value)}

        def gives(key):
            for (build, _), node in zip(rows, nodes):
                known = self.library.activations.get(self.envs[build].get(key) if isinstance(self.envs[build].get(key), str) else None)
                if known is None or known[0] != node.cls or not same(known[1], node.attributes):
                    return False
            return len({self.envs[build].get(key) for build in first}) > 1

        found = [key for key in sorted(keys, key=lambda key: (len(key), key)) if gives(key)]
        return {"act": found[0]} if found else None

    def reference(self, rows, nodes, classes):
        if len(classes) != 1 or any(node.part is None for node in nodes) or len({node.part for node in nodes}) != 1:
            return None
        key = nodes[0].part
        name = classes[0].rpartition(".")[2]
        first = self.envs[rows[0][0]]
        kind = first.get(f"{key}.model_type") if key else None
        if key and kind is None:
            return None
        if not key and name == self.root:
            return None
        options = [[kind, name, key]]
        if key and self.library.base(kind) == name:
            options.insert(0, [None, None, key])
        for option in options:
            rule = {"ref": option}
            try:
                good = all(
                    self.agrees(predicted(rule, self.envs[build], self.library), node) for (build, _), node in zip(rows, nodes)
                )
            except (Unknown, KeyError, RecursionError):
                continue
            if good:
                return rule
        return None

    @staticmethod
    def agrees(told, node):
        built = listed(node)
        return told.keys() == built.keys() and not any(differences(told[path], built[path]) for path in built)

    def of_class(self, cls, rows, nodes):
        rule = {"c": cls, "a": {}, "t": [], "k": []}
        names = dict.fromkeys(name for node in nodes for name in node.attributes)
        for name in names:
            chosen = [(row, node.attributes[name]) for row, node in zip(rows, nodes) if name in node.attributes]
            if len(chosen) < len(rows):
                continue
            try:
                rule["a"][name] = self.find(rows, [value for _, value in chosen], (cls, name))
            except Unknown:
                pass
        for name in dict.fromkeys(own[0] for node in nodes for own in node.tensors):
            owns = [next((own for own in node.tensors if own[0] == name), None) for node in nodes]
            there = [own is not None for own in owns]
            chosen = [row for row, is_there in zip(rows, there) if is_there]
            first = next(own for own in owns if own)
            try:
                exists = self.find(rows, there, (cls, name, "there"))
                shape = self.find(chosen, [own[2] for own in owns if own], (cls, name, "shape"))
            except Unknown:
                exists, shape = (exists if False else None), None
            rule["t"].append([name, int(first[1] == "buffer"), exists, shape] if shape is not None else [name, int(first[1] == "buffer"), None, None])
        self.children(rule, cls, rows, nodes)
        return rule

    def children(self, rule, cls, rows, nodes):
        numbered = all(child.name == str(place) for node in nodes for place, child in enumerate(node.children))
        counts = [len(node.children) for node in nodes]
        if numbered and max(counts, default=0) > 0:
            alike = all(len({child.cls for child in node.children}) <= 1 for node in nodes)
            if len(set(counts)) > 1 or (alike and max(counts) > 1):
                below = [((build, (*index, place)), child) for (build, index), node in zip(rows, nodes) for place, child in enumerate(node.children)]
                try:
                    count = self.find(rows, counts, (cls, "count"))
                    rule["k"].append([None, count, self.node([row for row, _ in below], [child for _, child in below])])
                    return
                except Unknown:
                    pass
        order = []
        for node in nodes:
            last = -1
            for child in node.children:
                if child.name in order:
                    last = order.index(child.name)
                else:
                    last += 1
                    order.insert(last, child.name)
        for name in order:
            owns = [next((child for child in node.children if child.name == name), None) for node in nodes]
            there = [child is not None for child in owns]
            chosen = [(row, child) for row, child in zip(rows, owns) if child is not None]
            try:
                exists = self.find(rows, there, (cls, name, "child"))
            except Unknown:
                exists = ["?"]
            rule["k"].append([name, exists, self.node([row for row, _ in chosen], [child for _, child in chosen])])


def differences(told, node):
    """Names of what is wrong: `class`, ("attribute", name), ("tensor", name)."""
    _, cls, attributes, tensors, *_ = told
    if cls is None:
        return []
    if cls != node.cls:
        return ["class"]
    wrong = [("attribute", name) for name, value in attributes.items() if name not in node.attributes or not same(value, node.attributes[name])]
    own = {name: shape for name, _, shape in node.tensors}
    wrong += [("tensor", name) for name, shape in tensors.items() if name not in own or not same(shape, own[name])]
    return wrong


def drop(told, built):
    """Take out of the rules what does not hold for a build; how much there was."""
    dropped = 0
    for path, node in built.items():
        if path not in told:
            above = path.rpartition(".")[0]
            # The outermost one that is missing is told.
            if above in told and told[above][0].get("k") is not None:
                for child in told[above][0]["k"]:
                    if child[0] == path.rpartition(".")[2] and child[1] != ["?"]:
                        child[1] = ["?"]
                        dropped += 1
            continue
        rule = told[path][0]
        for wrong in differences(told[path], node):
            dropped += 1
            if "c" not in rule:
                rule.clear()
                rule.update({"c": None, "a": {}, "t": [], "k": []})
                break
            if wrong == "class":
                entry = told[path][4]
                rule["c"], rule["a"] = None, {}
                if entry is not None and entry[0] is not None:
                    entry[1] = ["?"]
                break
            kind, name = wrong
            if kind == "attribute":
                rule["a"].pop(name, None)
            else:
                rule["t"] = [own if own[0] != name else [name, own[1], None, None] for own in rule["t"]]
    for path, known in told.items():
        if path not in built and known[4] is not None and known[4][0] is not None and known[4][1] != ["?"]:
            above = path.rpartition(".")[0]
            if above in built:
                known[4][1] = ["?"]
                dropped += 1
    return dropped


# ---- Configurations ----------------------------------------------------------------------------------------------------


def flat(values, prefix=""):
    """Keys of nested configurations behind dots; other dicts are there whole too."""
    found = {}
    for key, value in values.items():
        value = describe.plain(value) if not isinstance(value, dict) else value
        if value is describe.LEFT_OUT or key in ("id2label", "label2id"):
            continue
        if isinstance(value, dict):
            if "model_type" not in value:
                found[prefix + key] = json.loads(json.dumps(value, default=str))
            found |= flat({str(name): item for name, item in value.items()}, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    if "id2label" in values:
        found[prefix + "num_labels"] = len(values["id2label"])
    return found


def placed(raw, key, value):
    """A copy of the arguments with one more, at a path of keys."""
    raw = copy.deepcopy(raw)
    *above, last = key
    inner = raw
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return raw


def alternatives(key, value, annotation, words):
    """Other values to try for a key, the likeliest first."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        if FEW.search(key) or abs(value) <= 6:
            return [value + 1, value - 1, value + 2, 2 * value] if value > 1 else [value + 1, value + 2, 4, 8]
        return [2 * value, value // 2, value + value // 2, value + 8, value + 1]
    if isinstance(value, float):
        return [value / 2, value * 2] if value else [0.25]
    if isinstance(value, str):
        if value in ACTIVATIONS or key.endswith(("act", "activation", "act_fn", "activation_function", "activation_fn")):
            return [other for other in ACTIVATIONS if other != value]
        return [word for word in words if word != value]
    if value is None:
        found = [word for word in words if "str" in annotation]
        if "bool" in annotation:
            found.append(True)
        if "int" in annotation:
            found += [8, 64, 2]
        if "float" in annotation:
            found.append(0.5)
        return found
    if isinstance(value, list) and value:
        if all(is_number(item) for item in value):
            return [[2 * item for item in value], [item + 1 for item in value], [item // 2 if isinstance(item, int) else item / 2 for item in value]]
        if all(isinstance(item, str) for item in value):
            several = list(dict.fromkeys([*value, *words]))
            return [value[1:] + value[:1], value[::-1], *[[word] * len(value) for word in several]]
    return []


def words_of(sources, key):
    """Texts that the code compares a key with, or that its annotation lists."""
    last = re.escape(key)
    found = []
    for source in sources:
        for match in re.finditer(rf"\b{last}\b\s*(?:==|!=|in|not in)\s*([\[(]?(?:\s*[\"'][\w-]+[\"']\s*,?)+)", source):
            found += re.findall(r"[\"']([\w-]+)[\"']", match.group(1))
        for match in re.finditer(rf"\b{last}\s*:\s*Literal\[([^\]]+)\]", source):
            found += re.findall(r"[\"']([\w-]+)[\"']", match.group(1))
    return list(dict.fromkeys(found))


class Study:
    """Builds of one model type."""

    def __init__(self, library, kind, seed):
        self.library, self.kind = library, kind
        self.random = random.Random(f"{kind} {seed}")
        self.sources = library.sources(kind)
        self.base = self.start()
        self.changes = []  # (key path, value) that build alone

    def start(self):
        """The default configuration, of few layers."""
        env = self.library.env(self.kind, {})
        raw = {}
        for key, value in env.items():
            few = 7 if "layer_types" in env or f"{key.rpartition('.')[0]}.layer_types".lstrip(".") in env else 4
            if isinstance(value, int) and not isinstance(value, bool) and FEW.search(key.rpartition(".")[2]) and value > few and "expert" not in key:
                path = key.split(".")
                smaller = placed(raw, path, few)
                for depth in range(1, len(path)):
                    model_type = env.get(".".join([*path[:depth], "model_type"]))
                    if model_type:
                        smaller = placed(smaller, [*path[:depth], "model_type"], model_type)
                try:
                    self.library.env(self.kind, smaller)
                    raw = smaller
                except Exception:
                    pass
        return raw

    def observe(self, name, raw):
        return limited(SECONDS, lambda: self.library.observe(self.kind, name, raw))

    def options(self, env):
        """Keys with values to try."""
        typed = self.library.annotations(self.kind)
        for key, value in env.items():
            last = key.rpartition(".")[2]
            if last in IDLE or last.startswith("_") or (isinstance(value, dict)):
                continue
            path = key.split(".")
            if last in ("rope_type", "rope_theta", "type") and "rope_parameters" in path:
                continue
            yield path, alternatives(last, value, typed.get(last, ""), words_of(self.sources, last))
        for key, value in env.items():
            if key.rpartition(".")[2] == "rope_parameters" and isinstance(value, dict) and isinstance(value.get("rope_theta"), float):
                yield key.split("."), [{**value, "rope_theta": 5e5}]
                for rope in ROPES:
                    yield key.split("."), [{"rope_theta": value["rope_theta"], **rope}]

        # Lists that are as long as others beside them grow together.
        lists = {}
        for key, value in env.items():
            if isinstance(value, list) and 1 < len(value) < 17 and all(is_number(item) for item in value):
                lists.setdefault((key.rpartition(".")[0], len(value)), []).append((key.split("."), value))
        for several in lists.values():
            for grown in (lambda value: [*value, value[-1]], lambda value: value[:-1]):
                yield [path for path, _ in several], [[grown(value) for _, value in several]]

    def change(self, env, raw, path, value):
        if isinstance(path[0], list):
            for own, part in zip(path, value):
                raw = self.change(env, raw, own, part)
            return raw
        for depth in range(1, len(path)):
            model_type = env.get(".".join([*path[:depth], "model_type"]))
            if model_type:
                raw = placed(raw, [*path[:depth], "model_type"], model_type)
        return placed(raw, path, value)

    def joint(self, env, share):
        raw = copy.deepcopy(self.base)
        for path, value in self.changes:
            if self.random.random() < share:
                raw = self.change(env, raw, path, value)
        return raw

    def together(self, name, env, wanted):
        """Builds with several keys changed at once."""
        found, share = [], 0.5
        for attempt in range(wanted * 4):
            if len(found) == wanted:
                break
            raw = self.joint(env, share)
            try:
                found.append((raw, *self.observe(name, raw)))
            except Exception:
                share = max(share * 0.75, 2.0 / max(len(self.changes), 4))
        return found

    def rules(self, name, first):
        """The rule of a class, the expression of its ties, and how much of it had to be dropped."""
        builds, singles = [], {}
        base = self.observe(name, self.base)
        builds.append((self.base, *base))
        env = base[0]
        begun = time.time()
        if first:
            for path, values in self.options(env):
                taken = 0
                for value in values[:6]:
                    if time.time() - begun > self.library.patience:
                        break
                    raw = self.change(env, self.base, path, value)
                    try:
                        built = self.observe(name, raw)
                    except Exception:
                        continue
                    self.add_single(builds, singles, env, raw, built)
                    self.changes.append((path, value))
                    taken += 1
                    if taken == (1 if isinstance(value, (bool, float)) else 2):
                        break
        else:
            for path, value in self.changes:
                if re.search(r"label|classif|pool|head|tie|pad_token|dropout|vocab|hidden_size$|d_model|act", str(path[-1])):
                    raw = self.change(env, self.base, path, value)
                    try:
                        self.add_single(builds, singles, env, raw, self.observe(name, raw))
                    except Exception:
                        continue
            raw = {**self.base, "num_labels": 5}
            try:
                self.add_single(builds, singles, env, raw, self.observe(name, raw))
            except Exception:
                pass
        builds += self.together(name, env, 10 if first else 5)
        held = self.together(name, env, 5 if first else 3)
        hints = self.library.hints.setdefault(self.kind, {})
        for attempt in range(2):
            envs = [env for _, env, _, _ in builds]
            finder = Finder(0, singles)
            finder.hints = hints
            unifier = Unifier(finder, envs, self.library, name)
            rows = [(number, ()) for number in range(len(builds))]
            rule = unifier.node(rows, [node for _, _, node, _ in builds], is_root=True)
            try:
                ties = finder.find(rows, envs, [ties if len(ties) < 9 else {} for *_, ties in builds])
            except Unknown:
                ties = {}
            wrong = sum(self.check(rule, env, node) for _, env, node, _ in held)
            if not wrong or attempt:
                break
            hints.clear()
            builds += held
            held = self.together(name, env, 4)
        dropped = 0
        for _, env, node, _ in [*held, *builds]:
            for _ in range(3):
                more = drop(predicted(rule, env, self.library), listed(node))
                dropped += more
                if not more:
                    break
        return rule, ties, dropped, builds

    def add_single(self, builds, singles, env, raw, built):
        changed = {key for key in built[0].keys() | env.keys() if not same(built[0].get(key), env.get(key))}
        if changed:
            singles[len(builds)] = changed
        builds.append((raw, *built))

    def check(self, rule, env, node):
        told, built = predicted(rule, env, self.library), listed(node)
        return len(told.keys() ^ built.keys()) + sum(bool(differences(told[path], built[path])) for path in told.keys() & built.keys())


def computed(samples, library):
    """Defaults of a configuration's own keys: constants, and expressions of other keys, in the order in which they are computed.

    `samples`: (arguments, flat configuration) of many.
    """
    defaults, rest = {}, []
    first = samples[0][1]
    own = [key for key in first if "." not in key and key not in ("model_type", "transformers_version")]
    for key in own:
        values = [env.get(key) for raw, env in samples if key not in raw]
        if values and all(same(values[0], value) for value in values):
            defaults[key] = values[0]
        elif values:
            rest.append(key)
    found = []
    for _ in range(3):
        for key in list(rest):
            chosen = [env for raw, env in samples if key not in raw]
            known = set(defaults) | {name for name, _ in found}
            envs = [{name: value for name, value in env.items() if name in known} for env in chosen]
            values = [env.get(key) for env in chosen]
            rows = [(number, ()) for number in range(len(chosen))]
            finder = Finder(0, {number: set(envs[number]) for number in ()})
            try:
                expression = find_value(finder, rows, envs, values)
            except Unknown:
                continue
            found.append([key, expression])
            rest.remove(key)
    return defaults, found


def find_value(finder, rows, envs, values):
    """As Finder.find; lists of different lengths are found item by item."""
    try:
        return by_simple_keys(finder, rows, envs, values)
    except Unknown:
        if not all(isinstance(value, list) for value in values):
            raise
    count = by_simple_keys(finder, rows, envs, [len(value) for value in values])
    below = [((build, (place,)), item) for (build, _), value in zip(rows, values) for place, item in enumerate(value)]
    return ["each", count, by_simple_keys(finder, [row for row, _ in below], envs, [item for _, item in below])]


def by_simple_keys(finder, rows, envs, values):
    """An expression of few keys: those that decide the value alone are tried first, then pairs of keys that vary."""
    import itertools

    if all(same(values[0], value) for value in values):
        return constant(values[0])
    builds = sorted({build for build, _ in rows})
    varying = [key for key in envs[builds[0]] if len({json.dumps(envs[build].get(key), default=str) for build in builds}) > 1]
    inside = any(index for _, index in rows)
    for size in (0, 1, 2) if inside else (1, 2):
        if size == 2 and len(varying) > 40:
            break
        for keys in itertools.combinations(varying, size):
            table = {}
            for (build, index), value in zip(rows, values):
                mark = json.dumps([[envs[build].get(key) for key in keys], index], default=str)
                if not same(table.setdefault(mark, value), value):
                    break
            else:
                if len(table) == len(rows) and size == 2 and not inside:
                    pass
                try:
                    return finder.enumerate(rows, envs, values, list(keys), inside, 2)
                except Unknown:
                    continue
    raise Unknown


# ---- The file ----------------------------------------------------------------------------------------------------------


def derive(library, kind, names, seed=0):
    """What is known of a model type: its configuration, and a rule for each class."""
    study = Study(library, kind, seed)
    models, told, samples = {}, [], [({}, library.env(kind, {}))]
    first = True
    for name in names:
        try:
            rule, ties, dropped, builds = study.rules(name, first)
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
    defaults, expressions = computed(samples, library)
    config = {"names": library.names(kind), "defaults": defaults, "computed": expressions, "parts": library.parts_of(kind)}
    return {"config": config, "models": models, "base": library.base(kind)}, told


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
            packed = {"ref": rule["ref"]}
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


def packed(known):
    block = Block()
    models = {name: [block.add(rule), block.expression(constant(ties) if isinstance(ties, dict) else ties)] for name, (rule, ties) in known["models"].items()}
    dump = lambda value: json.dumps(value, separators=(",", ":"))  # noqa: E731
    return '{"config":%s,"classes":%s,"texts":%s,"expressions":[%s],"nodes":[%s],"models":%s,"base":%s}' % (
        dump(known["config"]), dump(list(block.classes)), dump(list(block.texts)), ",".join(block.expressions), ",".join(block.nodes),
        dump(models), dump(known["base"]),
    )


def write(libraries, out):
    """`libraries`: library and {type: what is known of it}."""
    from make import deflate

    blocks, types, offset = [], [], 0
    for library, known in libraries:
        places = {}
        for kind, value in known.items():
            block = deflate(packed(value))
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


def main():
    import libraries as known_libraries

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", action="append")
    parser.add_argument("--only", nargs="*", help="model types")
    parser.add_argument("--kept", type=Path, help="a folder where what is found is kept")
    parser.add_argument("--write", action="store_true", help="write rules.bin of all that is found and kept")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    done = []
    for make_library in known_libraries.every():
        if arguments.library and make_library.name not in arguments.library:
            continue
        library = make_library()
        known = {}
        kinds = library.types()
        wanted = [kind for kind in (arguments.only or kinds) if kind in kinds]
        for kind in [*wanted, *(kind for kind in kinds if kind not in wanted and arguments.write)]:
            kept = arguments.kept and arguments.kept / f"{library.name}-{kind}.json.gz"
            begun = time.time()
            if kept and kept.exists():
                found, told = json.loads(gzip.decompress(kept.read_bytes())), []
                for name, (rule, _) in (found or {"models": {}})["models"].items():
                    library.known[kind, name] = rule
            elif kind in wanted:
                try:
                    found, told = derive(library, kind, kinds[kind])
                except Exception as error:
                    found, told = None, [f"{type(error).__name__} {str(error)[:120]}"]
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_bytes(gzip.compress(json.dumps(found).encode()))
                print(f"{kind}: {len(found['models']) if found else 0} of {len(kinds[kind])} classes, {time.time() - begun:.1f} s", *told, sep="; ", flush=True)
            else:
                continue
            if found:
                known[kind] = found
        done.append((library, known))
    if arguments.write:
        write(done, HERE / "rules.bin")


if __name__ == "__main__":
    # libraries.py knows this file by its name.
    sys.modules["rules"] = sys.modules["__main__"]
    main()
