"""Names of tensors in files of transformers, where save_pretrained writes others than those of the modules.

transformers renames tensors when it loads a file and gives them back their old names when it saves one (its conversion tables). What
follows of these tables for a class is kept: `names`, the place of a module in a file by its place in the tree, and `pieces`, the
place in the tree of a tensor that is one of several of which a module's tensor is made. Numbers are `#` in a place that is looked
for, and `#0`, `#1` … in the other one: the first number of the first, the second …"""

# The conversions of a model, by its class and those in it.
KNOWN = {}


def files_of(model):
    """Natural name → the names in a file, and whether the tensor is saved as it is; empty where no name is another."""
    from transformers import PreTrainedModel
    from transformers.core_model_loading import revert_weight_conversion

    key = tuple((path, type(module)) for path, module in model.named_modules() if isinstance(module, PreTrainedModel))
    if KNOWN.get(key, True) is False:
        return {}
    ties = getattr(model, "all_tied_weights_keys", None) or {}
    state = {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if name not in ties}
    files = revert_weight_conversion(model, dict(state))
    own = {id(tensor): name for name, tensor in state.items()}
    found = {own[id(tensor)]: ([name], True) for name, tensor in files.items() if id(tensor) in own and "*" not in name}
    left = [name for name in state if name not in found]
    if not left and all(names == [name] for name, (names, _) in found.items()):
        KNOWN[key] = False
        return {}
    alike, more = set(), {}
    for name in left:
        # One of those that differ in numbers alone is looked at; where it becomes nothing alone, with those that have its numbers.
        pattern, numbers = pattern_of(name)
        if pattern in alike:
            continue
        alike.add(pattern)
        try:
            found[name] = (list(revert_weight_conversion(model, {name: state[name]})), False)
        except Exception:
            more.setdefault(tuple(numbers), []).append(name)
    for names in more.values():
        try:
            together = list(revert_weight_conversion(model, {name: state[name] for name in names}))
        except Exception:
            continue
        for name in names:
            found[name] = (together, False)
    return found


def pattern_of(name):
    """A name with `#` for its numbers, and these."""
    parts = name.split(".")
    return ".".join("#" if part.isdigit() else part for part in parts), [part for part in parts if part.isdigit()]


def template(pairs):
    """The name in a file of all tensors with one pattern; `pairs`: their numbers, and their names there. None where there is none."""
    files = [file.split(".") for _, file in pairs]
    if len({len(file) for file in files}) > 1:
        return None
    found, used = [], set()
    for place in range(len(files[0])):
        parts = [file[place] for file in files]
        if len(set(parts)) == 1 and not parts[0].isdigit():
            found.append(parts[0])
            continue
        gives = [at for at in range(len(pairs[0][0])) if all(numbers[at] == part for (numbers, _), part in zip(pairs, parts))]
        chosen = next((at for at in gives if at not in used), None)
        if chosen is not None:
            used.add(chosen)
            found.append(f"#{chosen}")
        elif len(set(parts)) == 1:
            found.append(parts[0])
        else:
            return None
    return found


class Saved:
    """What is observed of a class in several builds."""

    def __init__(self):
        # Pattern → [(numbers, name in a file)]; pattern of a piece, and of what is made of it → its place in the tree.
        self.whole, self.pieces = {}, {}

    def add(self, model):
        for name, (files, is_whole) in files_of(model).items():
            pattern, numbers = pattern_of(name)
            if is_whole:
                pairs = self.whole.setdefault(pattern, [])
                if len(pairs) < 200 and (numbers, files[0]) not in pairs:
                    pairs.append((numbers, files[0]))
                continue
            for file in files:
                piece, own = pattern_of(file)
                place = placed(name, file)
                if place:
                    self.pieces.setdefault((piece, pattern), place)

    def table(self):
        """`names` and `pieces`; None where files have the names of the modules."""
        leaves = {}
        for pattern, pairs in self.whole.items():
            found = template(pairs)
            if found is not None:
                leaves[tuple(pattern.split("."))] = found
        names = []
        entries(leaves, (), (), names)
        pieces = [[piece, place, pattern] for (piece, pattern), place in self.pieces.items()]
        return {"names": names, "pieces": pieces} if names or pieces else None


def numbered(parts, before):
    """Parts of a place with their numbers counted from `before` on."""
    found = []
    for part in parts:
        if part == "#":
            part, before = f"#{before}", before + 1
        found.append(part)
    return found


def entries(leaves, above, inherited, names):
    """Places in the tree and in files: those that do not follow from the one above."""
    depth = len(above)
    starts = {}
    for pattern, file in leaves.items():
        rest = numbered(pattern[depth:], sum(part == "#" for part in above))
        starts[tuple(file[: len(file) - len(rest)]) if file[len(file) - len(rest) :] == rest else None] = True
    if len(starts) == 1 and None not in starts:
        start = next(iter(starts))
        if list(start) != list(inherited):
            names.append([".".join(above), ".".join(start)])
        return
    below = {}
    for pattern, file in leaves.items():
        below.setdefault(pattern[: depth + 1], {})[pattern] = file
    # What most of what is below has in common.
    for place, some in below.items():
        if len(place) > depth:
            step = numbered(place[depth:], sum(part == "#" for part in above))
            entries(some, place, (*inherited, *step), names)


def placed(name, file):
    """Where in the tree a tensor is of which another is made: beneath its module, by what the file's name has behind the numbers of the
    module's; where the other is a part of it, beside its module."""
    module = name.rpartition(".")[0].split(".")
    parts, count = file.split("."), sum(part.isdigit() for part in name.split("."))
    seen = 0
    for at, part in enumerate(parts):
        if part.isdigit():
            seen += 1
            if seen > count:
                numbers = iter(range(count))
                place = [f"#{next(numbers)}" if own.isdigit() else own for own in module]
                return ".".join([*place, *numbered(["#" if own.isdigit() else own for own in parts[at:]], count)])
    numbers = iter(range(count))
    place = [f"#{next(numbers)}" if own.isdigit() else own for own in module[:-1]]
    return ".".join([*place, *parts[-2:]]) if not any(part.isdigit() for part in parts[-2:]) else None
