"""Export the models of the sweep with real PyTorch: `python export.py FOLDER [LIBRARY/NAME …]`, each as FOLDER/LIBRARY.NAME.pt2.

Each is exported in a process of its own, since torch keeps what it traced; with one thread, so that other work goes on.
"""

import json
import os
import pathlib
import sys
import time

import torch
from torch.export import export, save

import zoo

# The fastest of so many forwards is the time of torch alone.
FORWARDS = 5


def write(model, path):
    """Export one; returns what a table says of it beside the file: nodes, and milliseconds of torch's forward."""
    module, args, kwargs = zoo.build(model)
    with torch.no_grad():
        program = export(module, args, kwargs, strict=False)
        save(program, path)
        times = []
        for _ in range(FORWARDS):
            begun = time.perf_counter()
            module(*args, **kwargs)
            times.append(1e3 * (time.perf_counter() - begun))
    nodes = sum(node.op == "call_function" for node in program.graph.nodes)
    parameters = sum(tensor.numel() for tensor in module.parameters())
    return {"model": model, "exported": nodes, "parameters": parameters, "torch_alone": min(times)}


def apart(model, path):
    """[`write`] in a child of its own; `error` where it fails."""
    answer, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        try:
            told = write(model, path)
        except BaseException as error:  # whatever it is, the next model goes on
            told = {"model": model, "error": f"{type(error).__name__}: {error}"[:2000]}
        with os.fdopen(there, "w") as pipe:
            json.dump(told, pipe)
        os._exit(0)
    os.close(there)
    with os.fdopen(answer) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"model": model, "error": "the process died"}


def file(folder, model):
    return pathlib.Path(folder) / f"{model.replace('/', '.')}.pt2"


def main():
    folder, *models = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    models = models or list(zoo.names())
    zoo.load(models)
    for model in models:
        print(json.dumps(apart(model, file(folder, model))), flush=True)


if __name__ == "__main__":
    main()
