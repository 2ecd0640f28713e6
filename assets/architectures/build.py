

# The folder that we stand in must not put a json.py of its own in the way of what this script needs.
import sys

sys.path = [path for path in sys.path if path]

import ast
import builtins
import functools
import hashlib
import importlib
import inspect
import json
import os
import sysconfig
import tempfile
import time
import traceback

# Parameters that take more bytes are not given values for an export, which needs none.
LARGE = 2 << 30
# A part of an export that nobody finished by then, in seconds, is removed.
STALE = 3600
LONGEST_MESSAGE = 400
# A model that is asked for tells more of its attributes than one of a list of thousands.
LONGEST_LIST = 10_000
LONGEST_TEXT = 10_000
DEEPEST = 32
# Part of the key of every graph: another number where the script writes other graphs than before.
GRAPHS = 1


def foreign(value):
    """What is no plain value, as the reader of a pickled module names it."""
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ())):
        return {"class": "torch.Tensor"}
    kind = type(value)
    return {"class": "bytes" if kind is bytes else name_of(kind)}


attributes_of_pickle = attributes


def attributes(module):
    """The same as in a pickle; where a module's frequencies follow from a configuration, which no file of weights holds, that too."""
    values = attributes_of_pickle(module)
    config = vars(module).get("config")
    parameters = getattr(config, "rope_parameters", None)
    if parameters is None and getattr(config, "rope_theta", None) is not None:
        parameters = {"rope_theta": config.rope_theta, **(getattr(config, "rope_scaling", None) or {})}
    parameters = plain(parameters)
    if not isinstance(parameters, dict):
        return values
    for name, buffer in module.named_buffers(recurse=False):
        if name.endswith("inv_freq") and not name.endswith("original_inv_freq"):
            values.setdefault("rope_parameters", parameters)
            values.setdefault(name.removesuffix("inv_freq") + "rotary_dim", 2 * buffer.numel())
    return values


def look_in(folders):
    """Puts folders before what this Python has, and a package's root before the package, for its relative imports."""
    first, last = [], []
    for folder in folders:
        root = folder
        while os.path.exists(os.path.join(root, "__init__.py")) and os.path.dirname(root) != root:
            root = os.path.dirname(root)
        first.append(root)
        if root != folder:
            last.append(folder)
    sys.path[:0] = [*first, os.getcwd()]
    sys.path.extend(last)


def dotted(node):
    """The parts of a dotted name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        above = dotted(node.value)
        return above and above + [node.attr]
    return None


def find(parts):
    """Imports what a dotted name needs: modules as far as they go, then attributes. Returns what its first part is."""
    first = found = importlib.import_module(parts[0])
    for end in range(1, len(parts)):
        # What a package has under the name is meant, as Python's own dots do, and only then a module that it could import.
        if not hasattr(found, parts[end]) and hasattr(found, "__path__"):
            name = ".".join(parts[: end + 1])
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                # Only that this name is no module is passed over; what it lacks itself is told.
                if error.name != name:
                    raise
        if not hasattr(found, parts[end]):
            break
        found = getattr(found, parts[end])
    return first


def read(text):
    """The expression as code, and what its names are."""
    expression = ast.parse(text.strip(), "--model", mode="eval")
    nodes = list(ast.walk(expression))
    # Names of lambdas and comprehensions are its own.
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    names = {}
    for node in nodes:
        parts = dotted(node)
        if parts and parts[0] not in own and not hasattr(builtins, parts[0]):
            names[parts[0]] = find(parts)
    return compile(expression, "--model", "eval"), names


def evaluate(code, names):
    """What the expression gives: a module, or it is an error that says what to write."""
    import torch

    model = eval(code, dict(names))
    if isinstance(model, torch.nn.Module):
        # Models may have a `train` of their own that returns nothing, or does not work yet.
        try:
            model.eval()
        except Exception:
            pass
        return model
    if isinstance(model, (type, functools.partial)) or inspect.isroutine(model):
        raise TypeError(f"it gives {getattr(model, '__name__', 'a function')} itself: call it, as in …({', '.join(needed(model))})")
    inside = []
    if isinstance(model, (list, tuple)):
        inside = [f"[{at}]" for at, item in enumerate(model) if isinstance(item, torch.nn.Module)]
    elif isinstance(model, dict):
        inside = [f"[{key!r}]" for key, item in model.items() if isinstance(item, torch.nn.Module)]
    else:
        attributes = getattr(model, "__dict__", {})
        inside = [f".{name}" for name, item in attributes.items() if isinstance(item, torch.nn.Module)]
    hint = f": one of its parts is, write …{inside[0]}" if inside else ""
    raise TypeError(f"it gives {type(model).__name__}, which is no torch.nn.Module{hint}")


def needed(function):
    """Names of the arguments that a class or a function must be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in parameters if one.kind in plain and one.default is one.empty]


def on_meta(code, names):
    """The model, built without memory for its weights where it can be; and whether it was."""
    import torch

    try:
        with torch.device("meta"):
            return evaluate(code, names), True
    except Exception:
        pass
    # Some constructors want numbers in their tensors. If it fails with those, too, that error is the model's own.
    return evaluate(code, names), False


def ties(model):
    """Other names of tensors that have more than one: the name, and the first one."""
    first, found = {}, []
    for module_name, module in walk(model):
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and name not in module._non_persistent_buffers_set:
                    path = f"{module_name}.{name}" if module_name else name
                    known = first.setdefault(id(tensor), path)
                    if known != path:
                        found.append([path, known])
    return found


def describe_model(model):
    """What is told of it; `describe` above says what of each module."""
    package = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", "")
    places = {}
    for module in model.modules():
        if name_of(type(module)) not in places:
            places[name_of(type(module))] = place_of(type(module))
    return {
        "modules": modules(model),
        "ties": ties(model),
        "places": {name: place for name, place in places.items() if place},
        "library": package,
        "version": version if isinstance(version, str) else "",
    }


def build(request):
    """The tree of the model that an expression builds, and its graph where inputs are given."""
    look_in(request["path"])
    code, names = read(request["model"])
    model, is_meta = on_meta(code, names)
    told = describe_model(model)
    if request.get("inputs"):
        told["graph"] = graph(request, (code, names), model, is_meta, told)
    return told


def graph(request, expression, model, is_meta, told):
    """Where the graph of the model is: in the cache from before, or exported there now."""
    import torch

    folder = request["cache"]
    os.makedirs(folder, mode=0o700, exist_ok=True)
    file = os.path.join(folder, key(request, model, told) + ".pt2")
    if os.path.exists(file):
        return {"file": file, "reused": True}
    if is_meta:
        size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters() if not is_lazy(tensor))
        torch.manual_seed(0)
        model = (light(*expression) if size > LARGE else None) or evaluate(*expression)
    # A cache of keys and values is state, which a graph has not.
    config = getattr(model, "config", None)
    if getattr(config, "use_cache", None) is True:
        config.use_cache = False
    try:
        program = export(model, request["inputs"])
    except Exception as error:
        raise Stopped(error) from error
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, tensor in list(program.state_dict.items()):
        # The weights are the checkpoint's: here they are of no size.
        if name in weights:
            nothing = torch.zeros(1, dtype=tensor.dtype).expand(tensor.shape)
            program.state_dict[name] = torch.nn.Parameter(nothing, requires_grad=False)
    for part in os.listdir(folder):
        path = os.path.join(folder, part)
        if part.startswith(".") and time.time() - os.path.getmtime(path) > STALE:
            os.remove(path)
    handle, part = tempfile.mkstemp(dir=folder, prefix=".", suffix=".pt2")
    os.close(handle)
    try:
        torch.export.save(program, part)
        os.replace(part, file)
    except BaseException:
        os.remove(part)
        raise
    return {"file": file, "reused": False}


class Stopped(Exception):
    """torch.export has given up."""


def key(request, model, told):
    """The name of the graph: other code, inputs or versions make another one."""
    import torch

    own = {name.partition(".")[0] for name in told["places"]} - {"torch"}
    folders = [os.path.join(folder, "") for folder in [*request["path"], os.getcwd()]]
    files = []
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str):
            continue
        beside = "site-packages" not in path and any(path.startswith(folder) for folder in folders)
        if (name.partition(".")[0] in own or beside) and os.path.exists(path):
            found = os.stat(path)
            files.append([path, found.st_size, found.st_mtime_ns])
    parts = [GRAPHS, request["model"], request["inputs"], sys.executable, sys.version, torch.__version__]
    parts += [told["library"], told["version"], files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def is_lazy(parameter):
    """Whether it has no shape before the model's first run."""
    return type(parameter).__name__.startswith("Uninitialized")


def light(code, names):
    """The model with buffers that have their values, and parameters whose memory nobody touches; None where that fails."""
    import torch
    from torch.utils.weak import WeakIdKeyDictionary

    register = torch.nn.Module.register_parameter
    known = WeakIdKeyDictionary()

    def without_values(module, name, parameter):
        register(module, name, parameter)
        if parameter is None or is_lazy(parameter) or parameter.device.type == "meta":
            return
        if parameter not in known:
            known[parameter] = torch.nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
        module._parameters[name] = known[parameter]

    torch.nn.Module.register_parameter = without_values
    try:
        model = evaluate(code, names)
    except Exception:
        return None
    finally:
        torch.nn.Module.register_parameter = register
    # Some constructors make buffers where their parameters are.
    if any(buffer.device.type == "meta" for buffer in model.buffers()):
        return None
    made = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.device.type == "meta":
                if id(parameter) not in made:
                    made[id(parameter)] = parameter, torch.nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype))
                module._parameters[name] = made[id(parameter)][1]
    return model


class Parts(dict):
    """Members of an input, by what their names have behind a dot."""


def place(parts, path, value):
    """Put a value where its name says: `batch.image` is a member of a dict, `pair.0` of a tuple."""
    *outer, last = path
    for name in outer:
        parts = parts.setdefault(name, Parts())
        if not isinstance(parts, Parts):
            raise ValueError(f"--input {'.'.join(path)}: what it is a part of is given whole")
    if last in parts:
        raise ValueError(f"--input {'.'.join(path)}: it is given twice, or its parts are")
    parts[last] = value


def whole(value):
    """A dict, or a tuple where its members are numbered from 0."""
    if not isinstance(value, Parts):
        return value
    parts = {name: whole(part) for name, part in value.items()}
    numbers = [str(number) for number in range(len(parts))]
    return tuple(parts[number] for number in numbers) if sorted(parts) == sorted(numbers) else parts


def export(model, inputs):
    """The graph; the inputs that have names are given by them."""
    import torch

    positional, named = [], {}
    for given in inputs:
        if "value" in given:
            value = given["value"]
        else:
            value = torch.zeros(given["shape"], dtype=getattr(torch, given["dtype"]))
        if given.get("name"):
            place(named, given["name"].split("."), value)
        else:
            positional.append(value)
    named = {name: whole(value) for name, value in named.items()}
    parameters = inspect.signature(torch.export.export).parameters
    options = {"strict": False} if "strict" in parameters else {}
    with torch.no_grad():
        if any(is_lazy(parameter) for parameter in model.parameters()):
            model(*positional, **named)
        return torch.export.export(model, tuple(positional), named, **options)


def place_in(error):
    """File, line and text of the innermost code that is neither torch's nor Python's own nor ours."""
    torch = sys.modules.get("torch")
    inner = [sysconfig.get_path("stdlib"), *getattr(torch, "__path__", [])]
    packages = os.path.join(inner[0], "site-packages")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = frame.filename
        if not os.path.isabs(path):
            continue
        if path.startswith(packages) or not path.startswith(os.path.join(inner[0], "")):
            if not any(path.startswith(os.path.join(folder, "")) for folder in inner[1:]):
                return f"{path}:{frame.lineno}", frame.line or ""
    return None


def in_words(error):
    """What went wrong, on one line."""
    if isinstance(error, Stopped):
        error, how = error.__cause__, "torch.export stops"
    else:
        how = ""
    if isinstance(error, SyntaxError) and error.filename == "--model":
        column = f" at column {error.offset}" if error.offset else ""
        return f"SyntaxError: {error.msg}{column}; one Python expression is expected"
    kind, message = type(error).__name__, " ".join(str(error).split())
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + "…"
    words = f"{kind}: {message}" if message else kind
    place = place_in(error)
    if how:
        return f"{how} at {place[0]} (`{place[1]}`): {words}" if place else f"{how}: {words}"
    return f"{words}, at {place[0]}" if place else words


def fails(error, request):
    """The answer where there is no model."""
    missing = getattr(error, "name", None) if type(error) is ModuleNotFoundError else None
    told = {"error": in_words(error), "missing": missing}
    # A class without its module is a common slip.
    if missing and f"{missing}(" in request.get("model", ""):
        told["hint"] = f"; a class or a function is named with its module, as in package.{missing}(…)"
    return told


def main():
    # What a package prints is no answer: it goes to the standard error.
    answer, process = os.dup(1), os.getpid()
    os.dup2(2, 1)
    request = {}
    try:
        # Packages may read arguments.
        request = json.loads(sys.argv.pop())
        told = build(request)
    except BaseException as error:
        told = fails(error, request)
    if os.getpid() == process:  # And not what it has forked.
        with os.fdopen(answer, "wb") as out:
            # No reader takes halves of characters.
            out.write(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))
    os._exit(0)


main()
