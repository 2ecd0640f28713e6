"""Describes a module tree as a checkpoint reader sees it: paths, classes, plain attributes, tensors.

Nothing but the standard library and the module's own methods: torch comes with the module.
"""

# Longer lists and texts are data, not hyper-parameters.
LONGEST_LIST = 256
LONGEST_TEXT = 200
DEEPEST = 4
LEFT_OUT = object()


def name_of(thing):
    """The dotted name of a class or a function."""
    return f"{thing.__module__}.{thing.__qualname__}"


def plain(value, depth=0):
    """A value as JSON has it, as the pickle of the module would give it; LEFT_OUT where it is no plain value."""
    import math

    if value is None or isinstance(value, (bool, str)):
        return value[:LONGEST_TEXT] if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else foreign(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    kind = type(value)
    if kind.__module__ == "torch" and kind.__name__ in ("dtype", "device"):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        if depth == DEEPEST or len(value) > LONGEST_LIST:
            return LEFT_OUT
        items = [plain(item, depth + 1) for item in value]
        return LEFT_OUT if LEFT_OUT in items else items
    if isinstance(value, dict):
        if depth == DEEPEST or len(value) > LONGEST_LIST:
            return LEFT_OUT
        items = {str(key): plain(item, depth + 1) for key, item in value.items()}
        return LEFT_OUT if LEFT_OUT in items.values() else items
    if isinstance(value, type) or kind.__name__ in ("function", "builtin_function_or_method"):
        name = getattr(value, "__qualname__", "")
        module = getattr(value, "__module__", None)
        return f"{module}.{name}" if name and module and "<" not in name else LEFT_OUT
    return foreign(value)


def foreign(value):
    """What stands for an object that is no plain value: nothing."""
    return LEFT_OUT


def class_of(module):
    """The class of a module; of a lazy one that it has after its first run, as in any file that holds its weights."""
    become = getattr(type(module), "cls_to_become", None)
    return name_of(become if isinstance(become, type) else type(module))


def attributes(module):
    """What the constructor left in the module besides parameters, buffers and children."""
    values = {}
    for name, value in vars(module).items():
        if name.startswith("_") or name == "training":
            continue
        value = plain(value)
        if value is not LEFT_OUT:
            values[name] = value
    return values


def own_tensors(module):
    """Names, kinds, types and shapes of a module's own parameters and of the buffers that are saved."""
    found = []
    for kind, tensors in (("parameter", module._parameters), ("buffer", module._buffers)):
        for name, tensor in tensors.items():
            if tensor is None or name in module._non_persistent_buffers_set:
                continue
            shape = None if type(tensor).__name__.startswith("Uninitialized") else [int(size) for size in tensor.shape]
            found.append([name, kind, str(tensor.dtype).removeprefix("torch."), shape])
    return found


def place_of(cls):
    """File and line of a class, where Python knows them."""
    import inspect

    try:
        return [inspect.getsourcefile(cls), inspect.getsourcelines(cls)[1]]
    except (OSError, TypeError):
        return None


def walk(root):
    """Paths and modules, as `named_modules(remove_duplicate=False)` has them; a module that holds one around it is no circle."""
    above = set()

    def visit(path, module):
        yield path, module
        above.add(id(module))
        for name, child in module._modules.items():
            if child is not None and id(child) not in above:
                yield from visit(f"{path}.{name}" if path else name, child)
        above.discard(id(module))

    return visit("", root)


def modules(root):
    """The tree in its order; `tied` names the first place of a repeated module."""
    seen = {}
    found = []
    for path, module in walk(root):
        first = seen.setdefault(id(module), path)
        entry = {"path": path, "class": class_of(module)}
        if first != path:
            entry["tied"] = first
        entry["attributes"] = attributes(module)
        entry["tensors"] = own_tensors(module)
        found.append(entry)
    return found
