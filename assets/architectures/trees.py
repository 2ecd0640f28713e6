"""Module trees as they are built, and the rules that several of them follow."""

import copy
import json
import time

import describe
from expressions import Unknown, evaluate, same

# Attributes that say nothing of what a model computes.
NOISE = {
    "name_or_path", "kernel_config", "loss_type", "gradient_checkpointing", "all_tied_weights_keys", "config", "generation_config",
    "_internal_dict", "warnings_issued", "model_tags", "_gradient_checkpointing_func", "can_return_tuple", "layer_idx_for_cache",
}
# A reference to whichever class a type has for text that goes on.
CAUSAL = "AutoModelForCausalLM"
# The same to the class that gives features of several stages.
BACKBONE = "AutoBackbone"

# Modules of a list that are told one by one at the most.
MOST_ALONE = 32
# An expression that never has a value: of an attribute that is not there.
ABSENT = ["at", ["list"], 0]


class Node:
    """A module as it was built."""

    __slots__ = ("name", "cls", "attributes", "tensors", "children", "part")

    def __init__(self, name, cls, attributes, tensors, part):
        self.name, self.cls, self.attributes, self.tensors, self.part, self.children = name, cls, attributes, tensors, part, []


def tree(model, parts):
    """Nodes, and which tensors are others under a second name. `parts`: id of a configuration → its key."""
    ties = getattr(model, "all_tied_weights_keys", None)

    def visit(name, module):
        attributes = {key: value for key, value in describe.attributes(module).items() if key not in NOISE}
        rope = getattr(getattr(module, "config", None), "rope_parameters", None)
        if isinstance(rope, dict) and "rope_type" in attributes:
            # What follows of its parameters is computed of them.
            attributes["rope_parameters"] = describe.plain(rope)
            for buffer, tensor in module._buffers.items():
                if buffer.endswith("inv_freq") and "original" not in buffer and tensor is not None and is_usual(module):
                    attributes[buffer.replace("inv_freq", "rotary_dim")] = 2 * int(tensor.shape[0])
            for key in [key for key in attributes if key == "rope_type" or key.endswith("attention_scaling")]:
                attributes.pop(key)
        own = [[own, kind, shape] for own, kind, _, shape in describe.own_tensors(module)]
        part = parts.get(id(getattr(module, "config", None))) if hasattr(module, "base_model_prefix") else None
        node = Node(name, describe.name_of(type(module)), attributes, own, part)
        node.children = [visit(key, child) for key, child in module._modules.items() if child is not None]
        return node

    return visit("", model), dict(ties) if isinstance(ties, dict) else {}


USUAL = {}


def is_usual(rotary):
    """Whether the frequencies of a rotary embedding that is not scaled are 1 / theta^(2i / n)."""
    import torch

    kind = type(rotary)
    if kind not in USUAL:
        try:
            config = copy.deepcopy(rotary.config)
            config.rope_parameters = {"rope_type": "default", "rope_theta": 1000.0}
            found = kind.compute_default_rope_parameters(config)[0]
            wanted = 1.0 / 1000.0 ** (torch.arange(0, 2 * len(found), 2, dtype=torch.float) / (2 * len(found)))
            USUAL[kind] = bool(torch.allclose(found, wanted))
        except Exception:
            # Frequencies of their own for each type of layer are made alike.
            USUAL[kind] = "layer_type" in str(getattr(kind, "compute_default_rope_parameters", None) and kind.compute_default_rope_parameters.__code__.co_varnames)
    return USUAL[kind]


def listed(node, path=""):
    """Path → (class, attributes, tensors)."""
    found = {path: node}
    for child in node.children:
        found |= listed(child, f"{path}.{child.name}" if path else child.name)
    return found


def sizes_below(node, path="", depth=2):
    """Tensors in and below a node, and their sizes."""
    found = {f"{path}{name}": shape for name, _, shape in node.tensors}
    for child in node.children if depth else ():
        found |= sizes_below(child, f"{path}{child.name}.", depth - 1)
    return found


def sizes_of(built):
    """Those of a tree that `listed` made."""
    return {f"{path}.{name}".lstrip("."): shape for path, node in built.items() for name, _, shape in node.tensors}


def size(expression, path, sizes):
    """What ["size", tensor, dimension] says of a tensor in or below a module."""
    shape = sizes.get(f"{path}.{expression[1]}".lstrip("."))
    if shape is None or expression[2] >= len(shape):
        raise Unknown
    return shape[expression[2]]


def predicted(rule, env, library, sizes, index=(), path="", entry=None, parent=None):
    """What a rule gives for a configuration and a file with tensors of some sizes: path → (rule, class, attributes, tensors, its
    entry in the parent)."""
    if "act" in rule:
        cls, attributes = library.activations.get(evaluate(rule["act"], env, index), (None, {}))
        return {path: (rule, cls, dict(attributes), {}, entry, parent)}
    if "ref" in rule:
        kind, name, key = rule["ref"]
        inside = {k[len(key) + 1 :]: v for k, v in env.items() if k.startswith(key + ".")} if key else env
        target, _ = library.referred(kind, name, inside)
        found = predicted(target, inside, library, sizes, (), path, entry, parent)
        instead = rule.get("instead", {})
        found = {p: (own, instead[cls], {}, *rest) if cls in instead else (own, cls, a, *rest) for p, (own, cls, a, *rest) in found.items()}
        # What is wrong of a class of the same type is wrong wherever that is; of another type it is this reference.
        return found if not key else {p: (rule, *rest[1:]) for p, rest in found.items()}
    if "of" in rule:
        try:
            cls = evaluate(rule["of"], env, index)
        except Unknown:
            return {path: (rule, None, {}, {}, entry, parent)}
        if cls not in rule["nodes"]:
            return {path: (rule, None, {}, {}, entry, parent)}
        found = predicted(rule["nodes"][cls], env, library, sizes, index, path, entry, parent)
        return found
    attributes, tensors = {}, {}
    for name, expression in rule["a"].items():
        try:
            is_size = isinstance(expression, list) and expression[0] == "size"
            attributes[name] = size(expression, path, sizes) if is_size else evaluate(expression, env, index)
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
                found |= predicted(below, env, library, sizes, (*index, number), f"{path}.{number}" if path else str(number), child, rule)
        elif times:
            found |= predicted(below, env, library, sizes, index, f"{path}.{name}" if path else name, child, rule)
    return found


def rotary(name):
    """How many numbers of a head a rotary embedding usually turns, where `name` is that."""
    if not name.endswith("rotary_dim"):
        return []
    widths = [
        "head_dim", ["//", "hidden_size", "num_attention_heads"],
        ["if", ["true", "head_dim"], "head_dim", ["//", "hidden_size", "num_attention_heads"]],
        "global_head_dim", "qk_rope_head_dim", "attention_head_dim", ["//", "n_embd", "n_head"],
    ]
    parts = ["rope_parameters.partial_rotary_factor", "partial_rotary_factor", f"rope_parameters.{name.removesuffix('_rotary_dim')}.partial_rotary_factor"]
    turned = [*widths, *(["int*", width, part] for part in parts for width in widths)]
    # There is one frequency for two numbers, and for one that is left.
    return [*turned, *(["*", 2, ["//", ["+", width, 1], 2]] for width in turned)]


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
        backbones = [place for place, node in enumerate(nodes) if self.is_backbone(rows[place], node)]
        if backbones and not is_root:
            backbone = self.backbone([rows[place] for place in backbones], [nodes[place] for place in backbones])
            if backbone and len(backbones) == len(nodes):
                return backbone
            if backbone:
                classes = [BACKBONE if place in backbones else own for place, own in enumerate(classes)]
                distinct = list(dict.fromkeys(classes))
        try:
            selector = self.find(rows, classes)
        except Unknown:
            return {"c": None, "a": {}, "t": [], "k": []}
        parts = {}
        for cls in distinct:
            if cls == BACKBONE:
                parts[cls] = backbone
                continue
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
        if self.is_backbone(rows[0], nodes[0]):
            return self.backbone(rows, nodes)
        options = [[kind, name, key]]
        if key and self.library.base(kind) == name:
            options.insert(0, [None, None, key])
        elif key and self.library.causal(kind) == name:
            options.insert(0, [None, CAUSAL, key])
        if not key:
            return self.variant(kind, name, rows, nodes)
        for option in options:
            rule = {"ref": option}
            try:
                shares = [self.wrong_share(rule, self.envs[build], node) for (build, _), node in zip(rows, nodes)]
            except (Unknown, KeyError, RecursionError):
                continue
            if max(shares) == 0:
                return rule
        return None

    def is_backbone(self, row, node):
        """Whether a module is the model with features of the type that its configuration is of."""
        kind = self.envs[row[0]].get(f"{node.part}.model_type") if node.part else None
        return kind is not None and self.library.backbone(kind) == node.cls.rpartition(".")[2]

    def backbone(self, rows, nodes):
        """Models with features, of whatever type; where some layers in them are replaced, with these."""
        if len({node.part for node in nodes}) != 1:
            return None
        rule, instead = {"ref": [None, BACKBONE, nodes[0].part], "instead": {}}, {}
        for (build, _), node in zip(rows, nodes):
            built = listed(node)
            try:
                told = predicted(rule, self.envs[build], self.library, sizes_of(built))
            except (Unknown, KeyError, RecursionError):
                return None
            if told.keys() ^ built.keys():
                return None
            for path, own in built.items():
                cls = told[path][1]
                if cls is not None and instead.setdefault(cls, own.cls) != own.cls:
                    return None
        rule["instead"] = {cls: own for cls, own in instead.items() if cls != own}
        try:
            shares = [self.wrong_share(rule, self.envs[build], node) for (build, _), node in zip(rows, nodes)]
        except (Unknown, KeyError, RecursionError):
            return None
        return rule if max(shares) == 0 else None

    def variant(self, kind, name, rows, nodes):
        """A class of the same type in another: it is referred to where it is the same, and nearly the same where not (without a pooler)."""
        kind = kind or self.envs[rows[0][0]].get("model_type")
        known = self.library.known.get((kind, name))
        if known is None:
            return None
        rule = {"ref": [None, name, ""]}
        for option in (rule, None):
            if option is None:
                option = copy.deepcopy(known)
                children = {child.name for node in nodes for child in node.children}
                option["k"] = [child for child in option.get("k", []) if child[0] is None or child[0] in children]
            try:
                shares = [self.wrong_share(option, self.envs[build], node) for (build, _), node in zip(rows, nodes)]
            except (Unknown, KeyError, RecursionError):
                continue
            if max(shares) == 0 or (option is not rule and sum(shares) / len(shares) < 0.05):
                return option
        return None

    def wrong_share(self, rule, env, node):
        built = listed(node)
        told = predicted(rule, env, self.library, sizes_of(built))
        wrong = len(told.keys() ^ built.keys()) + sum(bool(differences(told[path], built[path])) for path in told.keys() & built.keys())
        return wrong / len(built)

    def of_class(self, cls, rows, nodes):
        rule = {"c": cls, "a": {}, "t": [], "k": []}
        names = dict.fromkeys(name for node in nodes for name in node.attributes)
        for name in names:
            chosen = [(row, node.attributes[name]) for row, node in zip(rows, nodes) if name in node.attributes]
            try:
                value = self.find([row for row, _ in chosen], [value for _, value in chosen], (cls, name))
                if len(chosen) < len(rows):
                    there = self.find(rows, [name in node.attributes for node in nodes], (cls, name, "told"))
                    value = ["if", there, value, ABSENT]
                rule["a"][name] = self.knowing(name, value, rows)
            except Unknown:
                if len(chosen) == len(rows):
                    guess = next((guess for guess in rotary(name) if self.finder.holds(guess, rows, self.envs, [value for _, value in chosen])), None)
                    if guess is not None:
                        rule["a"][name] = guess
                    else:
                        self.by_size(rule, name, nodes)
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

    def knowing(self, name, value, rows):
        """The value of an attribute with the key of its name in it, where that was seen to change and has nothing to do with it: a
        configuration contradicts what knows nothing of such a key."""
        builds = {build for build, _ in rows}
        if name not in self.envs[rows[0][0]] or json.dumps(name) in json.dumps(value) or len({self.finder.code(name, self.envs)[build] for build in builds}) < 2:
            return value
        return ["if", ["true", name], value, value]

    @staticmethod
    def by_size(rule, name, nodes):
        """What no key gives may be a size of the file's tensors."""
        values = [node.attributes[name] for node in nodes]
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            return
        below = [sizes_below(node) for node in nodes]
        for tensor, shape in below[0].items():
            for dimension in range(len(shape)):
                shapes = [sizes.get(tensor, ()) for sizes in below]
                if all(dimension < len(own) and own[dimension] == value for own, value in zip(shapes, values)):
                    rule["a"][name] = ["size", tensor, dimension]
                    return

    def is_late(self):
        return time.process_time() > self.finder.last

    def untold(self, rule, below):
        """How many attributes a rule leaves open that nodes have."""
        missing = 0
        for (build, index), node in below:
            built = listed(node)
            told = predicted(rule, self.envs[build], self.library, sizes_of(built), index)
            missing += sum(path not in told or told[path][1] is None or any(name not in told[path][2] for name in own.attributes) for path, own in built.items())
        return missing

    def children(self, rule, cls, rows, nodes):
        numbered = all(child.name == str(place) for node in nodes for place, child in enumerate(node.children))
        counts = [len(node.children) for node in nodes]
        if numbered and max(counts, default=0) > 0:
            alike = all(len({child.cls for child in node.children}) <= 1 for node in nodes)
            if len(set(counts)) > 1 or (alike and max(counts) > 1):
                below = [((build, (*index, place)), child) for (build, index), node in zip(rows, nodes) for place, child in enumerate(node.children)]
                try:
                    count = self.find(rows, counts, (cls, "count"))
                    one = self.node([row for row, _ in below], [child for _, child in below])
                    # A few that are not alike are told one by one.
                    is_told = one.get("c", "") is not None
                    if len(set(counts)) == 1 and max(counts) <= MOST_ALONE and not self.is_late() and self.untold(one, below):
                        is_told = False
                    if is_told or max(counts) > MOST_ALONE:
                        rule["k"].append([None, count, one])
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
