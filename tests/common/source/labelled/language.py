"""Language models of the kinds that people write. Labels: see tests/suite/labelled.rs."""

import math
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import flash_attn
import torch
from flash_attn import flash_attn_func as flash
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    width: int = 64
    heads: int = 4


class Norm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor):
        kind = x.dtype
        x = x.to(torch.float32)  # op: x.to
        variance = x.pow(2).mean(-1, keepdim=True)  # op: x.pow, x.mean
        x = x * torch.rsqrt(variance + self.eps)  # op: torch.rsqrt
        return self.weight * x.to(kind)  # op: x.to


def rotate(x: torch.Tensor):
    a, b = x.chunk(2, dim=-1)  # op: x.chunk
    return torch.cat((-b, a), dim=-1)  # op: torch.cat


class Rotary(nn.Module):
    def __init__(self, width, base=10000.0):
        super().__init__()
        inverse = 1.0 / (base ** (torch.arange(0, width, 2).float() / width))
        self.register_buffer("inverse", inverse, persistent=False)
        self.longest = 0

    def forward(self, x: torch.Tensor, positions: torch.Tensor):
        length = int(positions.max()) + 1  # op: x.max # blocker: int() of a tensor
        if length > self.longest:  # none
            self.longest = length  # none
        angles = torch.outer(positions.float(), self.inverse)  # op: torch.outer, x.float
        turns = torch.polar(torch.ones_like(angles), angles)  # op: torch.polar, torch.ones_like # blocker: complex views
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))  # op: torch.view_as_complex, x.float, x.reshape # blocker: complex views
        turned = torch.view_as_real(pairs * turns)  # op: torch.view_as_real # blocker: complex views
        return turned.flatten(3).type_as(x)  # op: x.flatten, x.type_as


class Attention(nn.Module):
    def __init__(self, config: Config, fast: bool = False):
        super().__init__()
        self.heads = config.heads
        self.size = config.width // config.heads
        self.fast = fast
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.rotary = Rotary(self.size)
        self.register_buffer("triangle", torch.tril(torch.ones(1024, 1024)).bool())

    def forward(self, x: torch.Tensor, cache: Optional[Dict[str, torch.Tensor]] = None, mask=None):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).split(self.heads * self.size, dim=-1)  # op: x.split
        q = q.view(b, t, self.heads, self.size).transpose(1, 2)  # op: x.view, x.transpose
        k = k.view(b, t, self.heads, self.size).transpose(1, 2)  # op: x.view, x.transpose
        v = v.view(b, t, self.heads, self.size).transpose(1, 2)  # op: x.view, x.transpose
        if cache is not None and "k" in cache:  # none
            k = torch.cat([cache["k"], k], dim=2)  # op: torch.cat
            v = torch.cat([cache["v"], v], dim=2)  # op: torch.cat
        if cache is not None:
            cache.update({"k": k, "v": v})  # none
        if self.fast and x.is_cuda:  # blocker: device branch
            y = flash(q, k, v, causal=True)  # blocker: compiled extension
            y = flash_attn.bert_padding.pad_input(y, None, b, t)  # blocker: compiled extension
        elif hasattr(F, "scaled_dot_product_attention"):  # none
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # op: F.scaled_dot_product_attention
        else:
            scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(self.size)  # op: torch.matmul, x.transpose
            hidden = ~self.triangle[:t, :t]
            scores = scores.masked_fill(hidden, float("-inf"))  # op: x.masked_fill
            if mask is not None:  # none
                scores += mask  # blocker: +=
            weights = F.softmax(scores.float(), dim=-1).type_as(q)  # op: F.softmax, x.float, x.type_as
            weights = F.dropout(weights, p=0.1, training=self.training)  # op: F.dropout
            y = weights @ v
        y = y.transpose(1, 2).contiguous().view(b, t, -1)  # op: x.transpose, x.contiguous, x.view
        return self.out(y)


class Experts(nn.Module):
    """Each token goes to the experts that its own values choose."""

    def __init__(self, config: Config, number=4):
        super().__init__()
        self.gate = nn.Linear(config.width, number)
        self.experts = nn.ModuleList([nn.Linear(config.width, config.width) for _ in range(number)])
        self.register_buffer("load", torch.zeros(number))

    def forward(self, x: torch.Tensor):
        flat = x.reshape(-1, x.shape[-1])  # op: x.reshape
        weights = self.gate(flat).softmax(dim=-1)  # op: x.softmax
        best, chosen = torch.topk(weights, 2, dim=-1)  # op: torch.topk
        best /= best.sum(dim=-1, keepdim=True)  # op: x.sum # blocker: -= *= /=
        result = torch.zeros_like(flat)  # op: torch.zeros_like
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)  # op: torch.where # blocker: where() of one argument
            if token.numel() == 0:  # none
                continue
            part = expert(flat[token]) * best[token, place, None]  # none
            result.index_add_(0, token, part)  # op: x.index_add_ # blocker: in-place method
        self.load += torch.bincount(chosen.flatten(), minlength=4)  # op: torch.bincount, x.flatten # blocker: counts by value, buffer changed in forward
        return result.view_as(x)  # op: x.view_as


class Merge(nn.Module):
    """Puts what a picture gave among the words."""

    def __init__(self, config: Config, token=7):
        super().__init__()
        self.embed = nn.Embedding(100, config.width)
        self.token = token

    def forward(self, ids: torch.Tensor, picture: Optional[torch.Tensor], lengths: torch.Tensor, labels=None):
        x = self.embed(ids)
        mask = (ids == self.token).unsqueeze(-1).expand_as(x)  # op: x.unsqueeze, x.expand_as
        if picture is not None:  # none
            if x[mask].numel() != picture.numel():  # blocker: boolean mask as an index
                raise ValueError("as many tokens as there are patches")
            x = x.masked_scatter(mask, picture)  # op: x.masked_scatter # blocker: masked_scatter
        steps = torch.arange(lengths.max(), device=x.device)  # op: torch.arange, x.max # blocker: size from a tensor
        valid = steps[None] < lengths[:, None]
        x = x[:, : lengths.max()]  # op: x.max # blocker: size from a tensor
        x[~valid] = 0.0  # none
        kinds = torch.unique(ids)  # op: torch.unique # blocker: unique
        words = [str(word) for word in ids.tolist()]  # blocker: .tolist()
        if labels is not None:  # none
            shifted = labels.new_zeros(labels.shape)  # op: x.new_zeros
            shifted[..., 1:] = labels[..., :-1].clone()  # op: x.clone
            shifted.masked_fill_(shifted == -100, 0)  # op: x.masked_fill_ # blocker: in-place method
            loss = F.cross_entropy(x.flatten(0, 1), shifted.flatten())  # op: F.cross_entropy, x.flatten, x.flatten
            if loss.isnan().any():  # op: x.isnan, x.any # blocker: data-dependent branch
                loss.backward()  # blocker: .backward()
        return x, kinds, ",".join(words)


class Sampler(nn.Module):
    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: torch.Tensor, generator=None, config: dict = None):
        logits = logits[:, -1].double() / self.temperature  # op: x.double # blocker: float64
        values, _ = torch.sort(logits, descending=True)  # op: torch.sort
        floor = values[:, 50].unsqueeze(-1)  # op: x.unsqueeze
        logits = torch.where(logits < floor, torch.full_like(logits, -1e9), logits)  # op: torch.where, torch.full_like
        chances = logits.softmax(-1)  # op: x.softmax
        torch.manual_seed(0)  # blocker: random numbers
        ids = torch.multinomial(chances, 1, generator=generator)  # op: torch.multinomial # blocker: random numbers
        done = (ids == 2).all()  # op: x.all
        while not done:  # blocker: data-dependent branch
            done = (ids == 2).any() | done  # op: x.any
        names = config.copy() if config else {}  # none
        names.update(size=ids.size(0))  # none
        label = "{}: {}".format("ids", ids.dim())  # none
        return ids, names, label


class Block(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.norm = Norm(config.width)
        self.attention = Attention(config)
        self.experts = Experts(config)
        self.merge = Merge(config)
        self.sampler = Sampler()

    def forward(self, hidden: torch.Tensor, cache=None) -> Tuple[torch.Tensor, ...]:
        hidden = hidden + self.attention(self.norm(hidden), cache)
        if hidden.dtype == torch.float16:  # blocker: dtype branch
            top = torch.finfo(hidden.dtype).max  # none
            hidden = torch.clamp(hidden, min=-top, max=top)  # op: torch.clamp
        with torch.autocast("cpu", enabled=False):  # blocker: autocast
            hidden = hidden + self.experts(hidden)
        return rotate(hidden), cache
