"""Builds of a model type with many configurations, and what follows from them."""

import copy
import itertools
import json
import math
import random
import re
import time

import describe
from expressions import Finder, Unknown, constant, is_number, same
from trees import Unifier, differences, drop, listed, predicted, sizes_of

SECONDS = 20
# Of one build: smaller sizes are tried beyond.
SLOW = 0.5
# Seconds for a default that follows from other keys.
SECONDS_FOR_DEFAULT = 2
# Of one build: more values are tried below.
QUICK = 0.08
# Switches under which other keys are changed as well, and seconds for these builds, as a share of those for one class.
MOST_SWITCHES = 6
SHARE_OF_SWITCHES = 0.15
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

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


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
    if values.get("id2label") is not None:
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


def has(raw, path):
    for key in path:
        if not isinstance(raw, dict) or key not in raw:
            return False
        raw = raw[key]
    return True


def alternatives(key, value, annotation, words, literals=()):
    """Other values to try for a key, the likeliest first."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        if FEW.search(key) or abs(value) <= 6:
            return [value + 1, value - 1, value + 2, 2 * value] if value > 1 else [value + 1, value + 2, 4, 8]
        # An odd one is among the first: code asks for it.
        return [2 * value, value // 2, value + 1, value + value // 2, 3 * value, value + 8]
    if isinstance(value, float):
        return [value / 2, value * 3] if value else [0.25]
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
            ends = {item.rpartition("_")[2] for item in value}
            words = [*words, *(word for word in literals if word.rpartition("_")[2] in ends and "_" in word)][:8]
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


def signs(node, path=""):
    """What there is in a tree: modules and the names of their attributes; of a list its first."""
    for name in node.attributes:
        yield path, node.cls, name
    yield path, node.cls
    for child in node.children:
        if child.name != "0" and child.name.isdigit() and path.endswith("layers"):
            continue
        yield from signs(child, f"{path}.{child.name}")


class Study:
    """Builds of one model type."""

    def __init__(self, library, kind, seed, seconds=120):
        self.library, self.kind, self.seconds = library, kind, seconds
        self.until = time.process_time() + seconds
        self.random = random.Random(f"{kind} {seed}")
        self.sources = library.sources(kind)
        self.literals = list(dict.fromkeys(word for source in self.sources for word in re.findall(r"[\"']([a-z_]{4,40})[\"']", source)))
        self.base = self.start()
        self.changes = []  # (key path, value) that build alone

    def start(self):
        """The default configuration, of few layers; what cannot be built so is left as it is."""
        raw = copy.deepcopy(self.library.start(self.kind))
        env = self.library.env(self.kind, raw)
        # Some leave the vocabulary open.
        raw |= {key: 40 for key, value in env.items() if key == "vocab_size" and value is None}
        smaller = raw
        fewer = list(self.fewer(env))
        for path, value in fewer:
            smaller = self.attempted(env, smaller, path, value)
        names = self.library.types()[self.kind]
        if self.seconds_of(names, smaller) is not None:
            return self.quicker(names, env, smaller)
        if self.seconds_of(names, raw) is None:
            # A key that is not set may have to be.
            typed = self.library.annotations(self.kind)
            for key in [key for key, value in env.items() if value is None and key.rpartition(".")[2] not in IDLE][:20]:
                for value in alternatives(key, None, typed.get(key.rpartition(".")[2], "int"), [])[:2]:
                    attempt = self.attempted(env, smaller, key.split("."), value)
                    if attempt is not smaller and self.seconds_of(names, attempt) is not None:
                        return attempt
            return smaller
        for path, value in fewer:
            attempt = self.attempted(env, raw, path, value)
            if attempt is not raw and self.seconds_of(names, attempt) is not None:
                raw = attempt
        return raw

    def fewer(self, env):
        """Keys that say how many layers there are, with fewer."""
        for key, value in env.items():
            last = key.rpartition(".")[2]
            if not FEW.search(last) or "expert" in key or "kernel" in last:
                continue
            few = 7 if "layer_types" in env or f"{key.rpartition('.')[0]}.layer_types".lstrip(".") in env else 4
            if isinstance(value, int) and not isinstance(value, bool) and value > few:
                yield key.split("."), few
            elif isinstance(value, float) and value > 1.5:
                yield key.split("."), 1.25
            elif isinstance(value, list) and value and all(isinstance(item, int) and not isinstance(item, bool) for item in value) and 3 < max(value) < 64 and re.search("depth|layer|repeat|block", last):
                yield key.split("."), [min(item, 3) for item in value]

    def attempted(self, env, raw, path, value):
        """The arguments with another one, or as they are where that is no configuration."""
        changed = self.change(env, raw, path, value)
        try:
            self.library.env(self.kind, changed)
        except Exception:
            return raw
        return changed

    def seconds_of(self, names, raw):
        """How long a build takes, of the first class that can be built."""
        for name in names[:3]:
            begun = time.process_time()
            try:
                self.observe(name, raw)
            except Exception as error:
                self.why = error
                continue
            return time.process_time() - begun
        return None

    def quicker(self, names, env, raw):
        """Smaller sizes, where builds are slow for them: of images and the like."""
        seconds = self.seconds_of(names, raw)
        for key, value in env.items() if seconds and seconds > SLOW else ():
            if isinstance(value, int) and value >= 96 and not key.endswith("_id") and seconds > SLOW:
                smaller = self.attempted(env, raw, key.split("."), value // 4)
                took = self.seconds_of(names, smaller) if smaller is not raw else None
                if took is not None and took < seconds * 0.7:
                    raw, seconds = smaller, took
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
            yield path, alternatives(last, value, typed.get(last, ""), words_of(self.sources, last), self.literals)
        for key, value in env.items():
            if key.rpartition(".")[2] == "rope_parameters" and isinstance(value, dict) and isinstance(value.get("rope_theta"), float):
                yield key.split("."), [{**value, "rope_theta": 5e5}]
                for rope in ROPES:
                    yield key.split("."), [{"rope_theta": value["rope_theta"], **rope}]

        # What gives features may be of any type.
        for key, value in env.items():
            if key.endswith("backbone_config.model_type"):
                stages = env.get(key.replace("model_type", "out_indices")) or [1, 2, 3, 4]
                for kind in ("resnet", "convnext", "swin"):
                    if kind != value:
                        yield key.split(".")[:-1], [{"model_type": kind, "out_indices": stages, "depths": [1, 2, 1, 2]}]

        # Lists that are as long as others beside them grow together.
        lists = {}
        for key, value in env.items():
            if isinstance(value, list) and 1 < len(value) < 17 and all(is_number(item) or isinstance(item, str) for item in value):
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
            if model_type and not has(raw, [*path[:depth], "model_type"]):
                raw = placed(raw, [*path[:depth], "model_type"], model_type)
        return placed(raw, path, value)

    def joint(self, env, share):
        raw = copy.deepcopy(self.base)
        # Of several values of a key the last stays.
        for path, value in self.random.sample(self.changes, len(self.changes)):
            if self.random.random() < share:
                raw = self.change(env, raw, path, value)
        return raw

    def together(self, name, env, wanted, seconds=math.inf):
        """Builds with several keys changed at once; three at least, where there is no time for more."""
        found, share = [], 0.5
        begun = time.process_time()
        for attempt in range(wanted * 4):
            if len(found) == wanted or (len(found) > 2 and time.process_time() - begun > seconds):
                break
            raw = self.joint(env, share)
            try:
                found.append((raw, *self.observe(name, raw)))
            except Exception:
                share = max(share * 0.75, 2.0 / max(len(self.changes), 4))
        return found

    def left(self):
        return max(self.until - time.process_time(), 0.0)

    def rules(self, name, first):
        """The rule of a class, the expression of its ties, how much of it had to be dropped, and its builds.

        Of classes after the first, which mostly hold it, keys that are likely to matter there are changed; all where that is too few."""
        found = self.attempt(name, first, first)
        if not first and found[2] > 2 and self.left() > self.seconds * 0.3:
            again = self.attempt(name, first, True)
            if again[2] <= found[2]:
                return again
        return found

    def singly(self, name, env, builds, singles):
        """Builds with one key changed, of each key; what builds is remembered."""
        begun = time.process_time()
        failed = []
        self.observe(name, self.base)
        quick = time.process_time() - begun < QUICK
        for path, values in self.options(env):
            taken = 0
            now = env.get(".".join(path)) if isinstance(path[0], str) else None
            for value in [value for value in values if not same(value, now)][:6]:
                if time.process_time() - begun > min(self.library.patience, 0.25 * self.seconds):
                    break
                raw = self.change(env, self.base, path, value)
                try:
                    built = self.observe(name, raw)
                except Exception:
                    failed.append((path, value))
                    continue
                self.add_single(builds, singles, env, raw, built)
                self.changes.append((path, value))
                taken += 1
                few = 1 if isinstance(value, bool) else 2 if isinstance(value, float) else 4 if isinstance(value, int) else 3
                if taken == (few if quick else min(few, 2)):
                    break
        # A switch may want another one.
        switches = [(path, value) for path, value in self.changes if isinstance(value, bool)]
        for path, value in [(path, value) for path, value in failed if isinstance(value, bool)][:4]:
            for other, also in switches[:12]:
                both = [path, other], [value, also]
                raw = self.change(env, self.base, *both)
                try:
                    built = self.observe(name, raw)
                except Exception:
                    continue
                self.add_single(builds, singles, env, raw, built)
                self.changes.append(both)
                break
        self.under_switches(name, env, builds, singles)

    def under_switches(self, name, env, builds, singles):
        """Builds with one key changed where another one is that makes something be there at all."""
        until = time.process_time() + min(SHARE_OF_SWITCHES * self.seconds, self.library.patience)
        known = set(signs(builds[0][2]))
        switches = []
        for number, (_, changed) in list(singles.items()):
            more = set(signs(builds[number][2])) - known
            path = next((path for path, _ in self.changes if isinstance(path[0], str) and ".".join(path) in changed), None)
            if more and path is not None and len(switches) < MOST_SWITCHES:
                known |= more
                switches.append((number, path))
        for number, path in switches:
            raw, own = builds[number][0], builds[number][1]
            for other, value in list(self.changes):
                if time.process_time() > until:
                    return
                if other == path or not isinstance(other[0], str):
                    continue
                changed = self.change(own, raw, other, value)
                try:
                    self.add_single(builds, singles, own, changed, self.observe(name, changed), number)
                except Exception:
                    continue

    def attempt(self, name, first, all_keys):
        builds, singles = [], {}
        base = self.observe(name, self.base)
        builds.append((self.base, *base))
        env = base[0]
        if first:
            self.singly(name, env, builds, singles)
        else:
            likely = re.compile(r"label|classif|pool|head$|tie|dropout|hidden_size$|d_model")
            begun = time.process_time()
            for path, value in [*self.changes, (["num_labels"], 5)]:
                if (not all_keys and path != ["num_labels"] and not likely.search(str(path[-1]))) or time.process_time() - begun > self.library.patience / 2:
                    continue
                raw = self.change(env, self.base, path, value)
                try:
                    self.add_single(builds, singles, env, raw, self.observe(name, raw))
                except Exception:
                    continue
        builds += self.together(name, env, 20 if first else 12 if all_keys else 4, 0.1 * self.seconds)
        held = self.together(name, env, 8 if all_keys else 3, 0.05 * self.seconds)
        hints = self.library.hints.setdefault(self.kind, {})
        for attempt in range(3 if all_keys else 2):
            envs = [env for _, env, _, _ in builds]
            begun = time.process_time()
            finder = Finder(0, singles, min(self.library.search, 0.2 * self.left()), not all_keys)
            finder.hints = hints
            unifier = Unifier(finder, envs, self.library, name)
            rows = [(number, ()) for number in range(len(builds))]
            rule = unifier.node(rows, [node for _, _, node, _ in builds], is_root=True)
            try:
                ties = finder.find(rows, envs, [ties if len(ties) < 9 else {} for *_, ties in builds])
            except Unknown:
                ties = {}
            wrong = sum(self.check(rule, env, node) for _, env, node, _ in held)
            took = time.process_time() - begun
            if not wrong or attempt == (2 if all_keys else 1) or self.left() < max(2 * took, 0.5 * self.seconds if first else 0):
                break
            builds += held
            held = self.together(name, env, 10, 0.05 * self.seconds)
        dropped = 0
        for _, env, node, _ in [*held, *builds]:
            built = listed(node)
            for _ in range(3):
                more = drop(predicted(rule, env, self.library, sizes_of(built)), built)
                dropped += more
                if not more:
                    break
        return rule, ties, dropped, builds

    def add_single(self, builds, singles, env, raw, built, of=0):
        changed = {key for key in built[0].keys() | env.keys() if not same(built[0].get(key), env.get(key))}
        if changed:
            singles[len(builds)] = (of, changed)
        builds.append((raw, *built))

    def check(self, rule, env, node):
        built = listed(node)
        told = predicted(rule, env, self.library, sizes_of(built))
        return len(told.keys() ^ built.keys()) + sum(bool(differences(told[path], built[path])) for path in told.keys() & built.keys())


def computed(samples, seconds):
    """Defaults of a configuration's own keys: constants, and expressions of other keys, in the order in which they are computed.

    `samples`: (arguments, flat configuration) of many; no more is searched for after `seconds`.
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
    until = time.process_time() + seconds
    for _ in range(3):
        for key in list(rest):
            if time.process_time() > until:
                break
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
    if all(same(values[0], value) for value in values):
        return constant(values[0])
    builds = sorted({build for build, _ in rows})
    varying = [key for key in envs[builds[0]] if len({json.dumps(envs[build].get(key), default=str) for build in builds}) > 1]
    inside = any(index for _, index in rows)
    until = time.process_time() + SECONDS_FOR_DEFAULT
    for size in (0, 1, 2) if inside else (1, 2):
        for keys in itertools.combinations(varying, size):
            table = {}
            for (build, index), value in zip(rows, values):
                mark = json.dumps([[envs[build].get(key) for key in keys], index], default=str)
                if not same(table.setdefault(mark, value), value):
                    break
            else:
                if time.process_time() > until:
                    raise Unknown
                try:
                    return finder.enumerate(rows, envs, values, list(keys), inside, 2)
                except Unknown:
                    continue
    raise Unknown
