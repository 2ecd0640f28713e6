"""Models of sound, of states and of graphs. Labels: see tests/suite/labelled.rs."""

import torch
import torch as th
import torch.distributed as dist
import torch.nn.functional as fn
import torch_scatter
import triton
import triton.language as tl
from torch import bernoulli, einsum, nn
from torch.autograd import Function

import scan_cuda


class Straight(Function):
    """Rounds forward and hands the gradient through."""

    @staticmethod
    def forward(ctx, x):
        return x.round()  # op: x.round

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@triton.jit
def kernel(x, y, n, block: tl.constexpr):
    pass


quantise = Straight.apply


class Encoder(nn.Module):
    def __init__(self, rate=16000):
        super().__init__()
        self.rate = rate
        self.conv = nn.Conv1d(1, 32, 10, stride=5)
        self.memory = nn.LSTM(32, 32, batch_first=True)
        self.norm = nn.LayerNorm(32)
        self.register_buffer("window", torch.hann_window(400))

    def forward(self, wave: torch.Tensor, lengths: torch.Tensor):
        if wave.dim() == 1:  # none
            wave = wave.unsqueeze(0)  # op: x.unsqueeze
        wave = wave - wave.mean(dim=-1, keepdim=True)  # op: x.mean
        spectrum = torch.stft(wave, 400, 160, window=self.window, return_complex=True)  # op: torch.stft # blocker: short-time Fourier transform
        power = spectrum.abs().square()  # op: x.abs, x.square
        floor = torch.max(power.log10().amax(), th.tensor(-8.0))  # op: torch.max, x.log10, x.amax, torch.tensor
        energy = torch.logsumexp(power, dim=1)  # op: torch.logsumexp
        x = self.conv(wave.unsqueeze(1)).transpose(1, 2)  # op: x.unsqueeze, x.transpose
        x = nn.functional.gelu(x)  # op: F.gelu
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True)  # op: x.cpu # blocker: device control
        states, (h, c) = self.memory(packed)
        x = fn.layer_norm(h[-1], (32,))  # op: F.layer_norm
        x = fn.normalize(x, dim=-1)  # op: F.normalize
        return x, floor, energy, c.squeeze(0)  # op: x.squeeze


class Codebook(nn.Module):
    def __init__(self, size=64, width=32):
        super().__init__()
        self.embed = nn.Embedding(size, width)
        self.register_buffer("usage", torch.zeros(size))
        self.decay = 0.99

    def forward(self, x: torch.Tensor):
        flat = x.reshape(-1, x.shape[-1])  # op: x.reshape
        distance = torch.cdist(flat, self.embed.weight)  # op: torch.cdist # blocker: pairwise distances
        nearest = distance.argmin(dim=-1)  # op: x.argmin
        hot = fn.one_hot(nearest, 64).float()  # op: F.one_hot, x.float
        if self.training:  # none
            self.usage.mul_(self.decay).add_(hot.sum(0), alpha=1 - self.decay)  # op: x.mul_, x.add_, x.sum # blocker: in-place method, in-place method
            dist.all_reduce(self.usage)  # blocker: torch.distributed
            self.usage[nearest] = 1.0  # blocker: buffer changed in forward
        y = quantise(self.embed(nearest))  # blocker: torch.autograd.Function
        y = x + (y.view_as(x) - x).detach()  # op: x.view_as, x.detach
        perplexity = torch.exp(-torch.sum(hot.mean(0) * torch.log(hot.mean(0) + 1e-10)))  # op: torch.exp, torch.sum, x.mean, torch.log, x.mean
        return y, perplexity


class Selective(nn.Module):
    """A state space: kernels where there are any, and a loop."""

    def __init__(self, width=16, states=4):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(width, states))
        self.project = nn.Linear(width, 2 * states + width)
        self.states = states
        self.op = torch.ops.selective.scan

    def forward(self, x: torch.Tensor):
        b, t, d = x.shape
        delta, gate, out = self.project(x).split([d, self.states, self.states], dim=-1)  # op: x.split
        delta = fn.softplus(delta)  # op: F.softplus
        if x.device.type == "cuda":  # blocker: device branch
            y = torch.empty_like(x)  # op: torch.empty_like
            kernel[(b, t)](x, y, d, block=64)  # blocker: Triton kernel
            y = scan_cuda.fwd(x, delta, self.a)  # blocker: compiled extension
            return self.op(y)  # blocker: torch.ops
        state = x.new_zeros(b, d, self.states)  # op: x.new_zeros
        results = []
        for step in range(t):  # none
            decay = torch.exp(einsum("bd,dn->bdn", delta[:, step], self.a))  # op: torch.exp, torch.einsum
            state = decay * state + delta[:, step, :, None] * gate[:, step, None]
            results.append(einsum("bdn,bn->bd", state, out[:, step]))  # op: torch.einsum
        first = state[:, 0]
        first += 1.0  # blocker: +=
        state[0][1] = 0.0  # blocker: write through a view
        return torch.stack(results, dim=1), first, state  # op: torch.stack


class Graph(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.depth = 3
        self.weights = {"a": 1.0}

    def forward(self, x: torch.Tensor, edges: torch.Tensor, batch: torch.Tensor):
        source, target = edges[0], edges[1]
        messages = self.linear(x)[source]  # none
        y = torch_scatter.scatter_mean(messages, target, dim=0)  # blocker: compiled extension
        adjacency = torch.sparse_coo_tensor(edges, messages.new_ones(3), (9, 9))  # op: torch.sparse_coo_tensor, x.new_ones # blocker: sparse tensors
        y = y + torch.sparse.mm(adjacency, x)  # blocker: sparse tensors
        y = y.scatter_add(0, target[:, None], messages)  # op: x.scatter_add
        counts = batch.bincount()  # op: x.bincount # blocker: counts by value
        spread = y.repeat_interleave(counts, dim=0)  # op: x.repeat_interleave # blocker: repeat_interleave by a tensor
        kept = y.masked_select(y > 0)  # op: x.masked_select # blocker: masked_select
        dropped = bernoulli(torch.full((4,), 0.5))  # op: torch.bernoulli, torch.full # blocker: random numbers
        torch.add(y, 1, out=x)  # op: torch.add # blocker: out=
        total = sum(self.weights.values())  # none
        windows = y.as_strided((2, 2), (1, 1))  # op: x.as_strided # blocker: as_strided
        steps = y.stride(0)  # blocker: storage and strides
        host = y.detach().numpy()  # op: x.detach # blocker: .numpy()
        gradient, = torch.autograd.grad(y.sum(), x)  # op: x.sum # blocker: torch.autograd.grad
        return spread, kept, dropped, total, windows, steps, host, gradient


class Watching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.layer.register_forward_hook(self.note)  # blocker: register_forward_hook
        self.kept = {}

    def note(self, module, inputs, output):
        self.kept["layer"] = output

    def forward(self, x: torch.Tensor):
        x.register_hook(lambda gradient: gradient * 2)  # blocker: register_backward_hook
        y = self.layer(x)
        fn.relu_(y)  # op: F.relu_ # blocker: in-place function
        y.data.copy_(x)  # op: x.copy_ # blocker: .copy_(
        self.kept.clear()  # none
        for name in sorted(self.kept):  # none
            name.split("_")  # none
        return torch.stack([y, x]).sum(0)  # op: torch.stack, x.sum
