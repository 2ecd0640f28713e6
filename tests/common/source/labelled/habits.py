"""Model code with other people's habits: no annotations, helpers, closures, names used twice. Labels: see tests/suite/labelled.rs."""

import logging
import random
from collections import Counter, OrderedDict, defaultdict

import numpy
import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import pad as fill, silu
from torch.utils import checkpoint

log = logging.getLogger(__name__)
ACTIVATIONS = {"silu": silu, "relu": torch.relu}


def exists(value):
    return value is not None


def shift_right(tokens, start, fallback=0):
    moved = torch.zeros_like(tokens)  # op: torch.zeros_like
    moved[:, 1:] = tokens[:, :-1]  # none
    moved[:, 0] = start  # none
    if (moved == fallback).any():  # op: x.any # blocker: data-dependent branch
        log.warning("fallback %s", fallback)  # none
    return moved


class Registry:
    """No tensor, though its methods are called like a tensor's."""

    def __init__(self):
        self.entries = []

    def add_(self, entry):
        self.entries.append(entry)

    def item(self):
        return self.entries[0]


class Loose(nn.Module):
    def __init__(self, width, kind="silu", layers=2):
        super().__init__()
        self.activation = ACTIVATIONS[kind]
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.scale = nn.Parameter(torch.ones(1))
        self.history = defaultdict(list)
        self.limit = None
        self.counter = Counter()
        self.offsets = torch.zeros(4)

    @property
    def device(self):
        return self.scale.device

    def mix(self, x, *rest, gate=None, **options):
        for other in rest:
            x = x + other
        if exists(gate):  # none
            x = x * gate.sigmoid()  # op: x.sigmoid
        return options.get("after", lambda y: y)(x)  # none

    def forward(self, batch, state=None, mask=None, return_dict=True):
        x, tokens = batch["x"], batch["tokens"]
        tokens = shift_right(tokens, 1)
        size = x.shape
        rows = size[0]
        rows *= 2  # none
        x = rearrange(x, "b t (h d) -> b h t d", h=2)  # op: einops.rearrange
        x = fill(x, (0, 0, 1, 1))  # op: F.pad
        results = OrderedDict()
        for index, layer in enumerate(self.layers):
            x = layer(x) if index % 2 else checkpoint.checkpoint(layer, x)  # blocker: checkpointing
            results[str(index)] = x  # none
            self.history[index].append(x.detach())  # op: x.detach
        if mask is not None and mask.dtype == torch.bool:  # blocker: dtype branch
            x = x.masked_fill(~mask, 0)  # op: x.masked_fill
        if (largest := x.abs().max()) > 1e4:  # op: x.abs, x.max # blocker: data-dependent branch
            x = x / largest
        elif self.limit and len(results) > self.limit:  # none
            x = x[: self.limit]  # none
        view = x.view(rows, -1)  # op: x.view
        view -= view.mean(1, keepdim=True)  # op: x.mean # blocker: -= *= /=
        x = self.mix(x, x, gate=state)
        return x if not return_dict else {"x": x, "rows": rows, "device": self.device}


class Closures(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(10))
        self.registry = Registry()
        self.noise = random.random()

    def forward(self, x, times):
        def inner(y):
            y = y.clone()  # op: x.clone
            y[0] = 1  # none
            return y.exp()  # op: x.exp

        square = lambda y: y.pow(2)  # op: x.pow
        parts = [inner(part) for part in x.chunk(2)]  # op: x.chunk
        total = sum(part.sum() for part in parts)  # op: x.sum
        counts = numpy.unique(numpy.asarray([1, 2, 2]))  # none
        order = sorted(range(len(parts)), key=lambda at: -at)  # none
        first = parts[order[0]]
        first[0] += total  # blocker: +=
        Registry().add_("seen")  # none
        label = " ".join(str(count) for count in counts).split(" ")  # none
        try:
            x = square(x).index_select(0, times.long())  # op: x.index_select, x.long
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        with torch.no_grad():  # op: torch.no_grad
            x = torch.nan_to_num(x)  # op: torch.nan_to_num
        self.table = self.table.to(x.device)  # op: x.to # blocker: buffer changed in forward
        flat = x.flatten()  # op: x.flatten
        flat[0] = 0.0  # blocker: write through a view
        again = x.new_empty(3).normal_()  # op: x.new_empty, x.normal_ # blocker: in-place method
        steps = torch.linspace(0, 1, 5, dtype=torch.float64)  # op: torch.linspace # blocker: float64
        loud = random.choice(label)  # none
        return x, again, steps, loud, self.table[times]


class Base(nn.Module):
    def forward(self, x):
        return self.head(self.body(x))

    def body(self, x):
        return x.tanh()  # op: x.tanh

    def head(self, x):
        raise NotImplementedError


class Derived(Base):
    fn = staticmethod(torch.abs)

    def body(self, x):
        x = super().body(x)
        return torch.as_tensor(x, dtype=torch.float32)  # op: torch.as_tensor

    def head(self, x):
        best = torch.max(x, dim=1)  # op: torch.max
        chosen = best.indices.cpu().numpy()  # op: x.cpu # blocker: .numpy(), device control
        weights = {"a": x, "b": x * 2}
        weights["a"][:, 0] = 1  # none
        limits = tuple(int(edge) for edge in (1.0, 2.0))  # none
        size = max(x.size(0), x.size(1))  # none
        bound = float(best.values.mean())  # op: x.mean # blocker: int() of a tensor
        return torch.full((size,), bound).to(x), chosen, limits  # op: torch.full, x.to
