

def build(request):
    """The tree of the model that an expression builds; `describe` above says what is told of it."""
    import ast
    import importlib
    import sys

    sys.path[:0] = request["path"]
    expression = ast.parse(request["model"].strip(), mode="eval")
    names = {}

    def dotted(node):
        if isinstance(node, ast.Name):
            return [node.id]
        if isinstance(node, ast.Attribute):
            above = dotted(node.value)
            return above and above + [node.attr]
        return None

    import builtins

    for node in ast.walk(expression):
        parts = dotted(node) or []
        if not parts or hasattr(builtins, parts[0]):
            continue
        # The longest part of a dotted name that is a module; what follows are its attributes.
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as error:
                # Only that this name is no module is for us to pass over; what it lacks itself is told.
                if error.name and (name == error.name or name.startswith(error.name + ".")) and end > 1:
                    break
                raise
            names[parts[0]] = sys.modules[parts[0]] if end > 1 else module

    import torch

    code = compile(expression, "--model", "eval")
    try:
        with torch.device("meta"):
            model = eval(code, dict(names))
    except Exception as first:  # Some constructors want numbers in their tensors.
        try:
            model = eval(code, dict(names))
        except Exception:
            raise first
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"it gives {type(model).__name__}, which is no torch.nn.Module")
    found = modules(model.eval())
    places = {}
    for module in model.modules():
        places.setdefault(name_of(type(module)), place_of(type(module)))
    package = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", "")
    return {"modules": found, "places": places, "library": package, "version": version if isinstance(version, str) else ""}


def main():
    import json
    import os
    import sys

    # What a package prints is no answer: it goes to the standard error.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        told = build(json.loads(sys.argv[1]))
    except BaseException as error:
        kind = type(error)
        told = {"error": f"{kind.__name__}: {error}", "missing": getattr(error, "name", None) if kind is ModuleNotFoundError else None}
    with os.fdopen(answer, "w") as out:
        json.dump(told, out)
    sys.stdout = sys.stderr
    os._exit(0)


main()
