"""Torch's own databases as graphs: OpInfo (one entry an operator) and ModuleInfo (one a configuration of a layer), as they lie in
the torch wheel, which needs the package `expecttest` for them.

    python tests/databases/make.py ops FOLDER       # OpInfo, its float32 entries
    python tests/databases/make.py modules FOLDER   # ModuleInfo, its float32 configurations in eval

Each sample is exported alone, to see whether torch.export takes it at all. Those that it takes are put together, so that few
programs have to be started for many samples: each becomes a sub-module that bears the entry's name, and the graph's nodes say
whose they are. `run.py` runs the files and writes the table. FOLDER/*.json says which entries are in which file, and which were
not exported and why.
"""

import json
import logging
import pathlib
import signal
import sys
import warnings

import torch
import torch.utils._pytree as pytree

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
torch.set_num_threads(1)
# Samples of an entry: its first ones, as many as make the graph small.
SAMPLES = 3
# Elements that a sample may have: larger ones show nothing more.
LARGEST = 20_000
# Samples in a file.
TOGETHER = 40
# Seconds that an export may take.
PATIENCE = 60


class Call(torch.nn.Module):
    """A function or a layer with its arguments, of which the tensors are inputs."""

    def __init__(self, function, arguments):
        super().__init__()
        flat, self.spec = pytree.tree_flatten(arguments)
        self.function = function
        self.places = [at for at, leaf in enumerate(flat) if isinstance(leaf, torch.Tensor)]
        self.flat = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in flat]
        # A view of something larger would be saved without it.
        self.tensors = [flat[at].detach().clone() for at in self.places]

    def forward(self, *tensors):
        flat = list(self.flat)
        for at, tensor in zip(self.places, tensors):
            flat[at] = tensor
        args, kwargs = pytree.tree_unflatten(flat, self.spec)
        return self.function(*args, **kwargs)


class Together(torch.nn.Module):
    """Several samples, each a sub-module with the name of its entry."""

    def __init__(self, parts):
        super().__init__()
        self.counts = []
        for at, (_, part) in enumerate(parts):
            self.add_module(f"s{at}", part)
            self.counts.append(len(part.tensors))

    def forward(self, *tensors):
        results = []
        for at, count in enumerate(self.counts):
            given, tensors = tensors[:count], tensors[count:]
            # Torch's functions may write into what they are given.
            leaves = pytree.tree_leaves(getattr(self, f"s{at}")(*given))
            results.extend(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        return tuple(results)


def exported(module, tensors):
    def ring(*_):
        raise TimeoutError(f"its export took more than {PATIENCE} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    try:
        return torch.export.export(module, tuple(tensors), strict=False)
    finally:
        signal.alarm(0)


def small(tensors):
    return sum(tensor.numel() for tensor in tensors) <= LARGEST


def ops():
    """Name, and samples as modules or why there are none."""
    from torch.testing._internal.common_methods_invocations import op_db

    for entry in op_db:
        if torch.float32 not in entry.dtypes:
            continue
        name = entry.name + (f".{entry.variant_test_name}" if entry.variant_test_name else "")
        torch.manual_seed(7)
        try:
            samples = entry.sample_inputs("cpu", torch.float32, requires_grad=False)
            made = []
            for sample in samples:
                call = Call(entry.op, ((sample.input, *sample.args), sample.kwargs))
                if small(call.tensors):
                    made.append(call)
                if len(made) == SAMPLES:
                    break
            yield name, made, None if made else "every sample is large"
        except Exception as error:  # noqa: BLE001: whatever torch says is the reason
            yield name, [], str(error)


def modules():
    """Name, and configurations as modules."""
    from torch.testing._internal.common_modules import module_db

    # Whether a mask is a causal one is asked of its values, which an export cannot; the answer only chooses a kernel.
    torch.nn.modules.transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: bool(is_causal)

    for entry in module_db:
        if torch.float32 not in entry.dtypes:
            continue
        torch.manual_seed(7)
        inputs = entry.module_inputs_func(
            entry, device="cpu", dtype=torch.float32, requires_grad=False, training=False
        )
        kind = entry.module_cls.__name__
        for at, given in enumerate(inputs):
            name = f"{kind}.{at:03}"
            try:
                built = given.constructor_input
                layer = entry.module_cls(*built.args, **built.kwargs).eval()
                forward = given.forward_input
                if forward is None:
                    yield name, [], "the database has no arguments for its forward"
                    continue
                call = Call(layer, (forward.args, forward.kwargs))
                if isinstance(layer, torch.nn.modules.lazy.LazyModuleMixin):
                    call(*[tensor.clone() for tensor in call.tensors])
                yield name, [call], None
            except Exception as error:  # noqa: BLE001
                yield name, [], str(error)


def words(error):
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:300]


def save(folder, stem, parts, said):
    """Put samples together in one file; where that fails, halve them."""
    tensors = [tensor for _, part in parts for tensor in part.tensors]
    try:
        program = exported(Together(parts).eval(), tensors)
        name = f"{stem}_{len(said['files']):03}.pt2"
        torch.export.save(program, folder / name)
    except Exception as error:  # noqa: BLE001
        if len(parts) == 1:
            said["refused"].setdefault(parts[0][0], words(error))
            return
        half = len(parts) // 2
        save(folder, stem, parts[:half], said)
        save(folder, stem, parts[half:], said)
        return
    said["files"][name] = [entry for entry, _ in parts]


def main():
    what, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    said = {"torch": torch.__version__, "entries": [], "files": {}, "refused": {}}
    waiting = []
    for name, made, reason in {"ops": ops, "modules": modules}[what]():
        said["entries"].append(name)
        taken = 0
        for part in made:
            try:
                program = exported(part.eval(), part.tensors)
                # What is exported need not run: a fake tensor has no end.
                program.module()(*[tensor.clone() for tensor in part.tensors])
                waiting.append((name, part))
                taken += 1
            except Exception as error:  # noqa: BLE001
                reason = reason or words(error)
        if not taken:
            said["refused"][name] = reason or "it gave no sample"
        if len(waiting) >= TOGETHER:
            save(folder, what, waiting, said)
            waiting = []
    if waiting:
        save(folder, what, waiting, said)
    (folder / f"{what}.json").write_text(json.dumps(said, indent=1) + "\n")
    print(f"{len(said['entries'])} entries, {len(said['refused'])} not exported, {len(said['files'])} files")


if __name__ == "__main__":
    main()
