#!/usr/bin/env python3
"""Check what idioms.toml says of MLX against mlx and torch: `python assets/registry/check_idioms.py`. One line for each row."""

import math
import sys
import tomllib
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch

RANDOM = np.random.default_rng(0)
WIDTH, LENGTH = 8, 5


def normal(*shape, dtype=np.float32):
    return RANDOM.normal(size=shape).astype(dtype)


def near(a, b, most=2e-6):
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()) <= most


def angles():
    inverse = 1 / (10000 ** (torch.arange(0, WIDTH, 2).float() / WIDTH))
    return torch.outer(torch.arange(LENGTH).float(), inverse)


def halves(x):
    turned = torch.cat((-x[..., WIDTH // 2 :], x[..., : WIDTH // 2]), -1)
    angle = torch.cat([angles()] * 2, -1)
    return x * angle.cos() + turned * angle.sin()


def pairs(x):
    turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    angle = angles().repeat_interleave(2, -1)
    return x * angle.cos() + turned * angle.sin()


def pairs_to_halves(x):
    cos, sin, even, odd = angles().cos(), angles().sin(), x[..., ::2], x[..., 1::2]
    return torch.cat([even * cos - odd * sin, odd * cos + even * sin], -1)


def rope(x, traditional):
    return np.array(mx.fast.rope(mx.array(x), WIDTH, traditional=traditional, base=10000.0, scale=1.0, offset=0))


def rotations():
    x = normal(1, 2, LENGTH, WIDTH)
    t = torch.tensor(x)
    last, other = pairs_to_halves(t).numpy(), rope(x, True)
    yield "rope-halves", near(rope(x, False), halves(t)) and not near(rope(x, True), halves(t), 0.1) and not nn.RoPE(8).traditional
    yield "rope-pairs", near(other, pairs(t)) and not near(rope(x, False), pairs(t), 0.1)
    same = near(last @ last.swapaxes(-1, -2), other @ other.swapaxes(-1, -2), 1e-5)
    yield "rope-pairs-to-halves", same and not near(last, other, 0.1)


def gates():
    x = normal(3, WIDTH)
    a, b = x[:, :4], x[:, 4:]
    silu = torch.nn.functional.silu
    glu = np.array(nn.GLU()(mx.array(x)))
    is_glu = near(glu, a / (1 + np.exp(-b)))
    first, second = (np.array(part) for part in mx.split(mx.array(x), 2, axis=-1))
    split = (first == a).all() and (second == b).all()
    yield "gate-first", is_glu and split and not near(glu, silu(torch.tensor(a)) * torch.tensor(b), 0.1)
    yield "gate-second", is_glu and split and not near(glu, torch.tensor(a) * silu(torch.tensor(b)), 0.1)
    even = near(nn.silu(mx.array(x)[..., ::2]) * mx.array(x)[..., 1::2], silu(torch.tensor(x[..., ::2])) * torch.tensor(x[..., 1::2]))
    yield "gate-even", even and not (np.array(mx.split(mx.array(x), 2, axis=-1)[0]) == x[..., ::2]).all()
    odd = near(mx.array(x)[..., ::2] * nn.silu(mx.array(x)[..., 1::2]), torch.tensor(x[..., ::2]) * silu(torch.tensor(x[..., 1::2])))
    yield "gate-odd", odd
    yield "gate-apart", near(nn.silu(mx.array(a)) * mx.array(b), silu(torch.tensor(a)) * torch.tensor(b))


def groups():
    q, k, v = normal(1, 4, 3, 8), normal(1, 2, 3, 8), normal(1, 2, 3, 8)
    ours = np.array(mx.fast.scaled_dot_product_attention(mx.array(q), mx.array(k), mx.array(v), scale=8**-0.5))
    attend = torch.nn.functional.scaled_dot_product_attention
    q, k, v = map(torch.tensor, (q, k, v))
    each = attend(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    whole = attend(q, k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1))
    yield "repeat-each", near(ours, each)
    yield "repeat-whole", not near(ours, whole, 0.1)


def slopes(heads):
    power = 2 ** math.floor(math.log2(heads))
    base = 2 ** (-(2 ** -(math.log2(power) - 3)))
    found = [base**i for i in range(1, power + 1)]
    if power != heads:
        base = 2 ** (-(2 ** -(math.log2(2 * power) - 3)))
        found += [base**i for i in range(1, 1 + 2 * (heads - power), 2)]
    return np.array(found)


def alibi():
    distance = -np.abs(np.arange(4)[:, None] - np.arange(4)[None])
    same = [near(np.array(nn.ALiBi()(mx.zeros((1, n, 4, 4))))[0], slopes(n)[:, None, None] * distance) for n in (1, 2, 4, 6, 8, 12, 16)]
    yield "alibi", all(same)


def scores():
    q = mx.array(np.full((1, 1, 2, 64), 40, np.float16))
    v = mx.array(normal(1, 1, 2, 64, dtype=np.float16))
    product = q @ q.swapaxes(-1, -2)
    by_hand = [np.isnan(np.array(mx.softmax(product * 0.125, axis=-1, precise=precise))).all() for precise in (False, True)]
    own = np.isfinite(np.array(mx.fast.scaled_dot_product_attention(q, q, v, scale=0.125))).all()
    infinite = np.isinf(np.array(product)).all()
    many = mx.array(normal(1, 4096, dtype=np.float16) * np.float16(0.1))
    total = lambda precise: mx.softmax(many, axis=-1, precise=precise).astype(mx.float32).sum().item()
    adds = abs(total(False) - 1) > 1e-2 and abs(total(True) - 1) < 1e-3
    try:
        mx.softmax(many, axis=-1, dtype=mx.float32)
        takes = True
    except TypeError:
        takes = False
    yield "scores-after", infinite and all(by_hand) and own and adds
    yield "scores-after-upcast", infinite and own and not takes
    scaled = mx.fast.scaled_dot_product_attention(q * 0.125, q, v, scale=1.0)
    yield "scores-before", near(scaled, mx.fast.scaled_dot_product_attention(q, q, v, scale=0.125), 1e-2) and adds
    yield "scores-before-upcast", adds and not takes


def routers():
    logits = normal(6, 8)
    t, m, k = torch.tensor(logits), mx.array(logits), 3
    best = mx.topk(m, k, axis=-1)
    plain = isinstance(best, mx.array) and not (np.diff(np.array(best)) <= 0).all()
    order = lambda x: np.sort(np.array(x), axis=-1)
    chosen = lambda p: mx.take_along_axis(p, mx.argpartition(-p, k - 1, axis=-1)[..., :k], axis=-1)
    softmax = mx.softmax(m, axis=-1, precise=True)
    values = torch.softmax(t, -1).topk(k).values
    yield "router-softmax-first", plain and near(order(chosen(softmax)), order(values))
    first = chosen(softmax) / chosen(softmax).sum(-1, keepdims=True)
    last = mx.softmax(chosen(m), axis=-1, precise=True)
    normalised = order(values / values.sum(-1, keepdim=True))
    yield "router-softmax-first-normalised", near(order(first), normalised) and near(order(last), normalised)
    yield "router-softmax-last", near(order(last), order(torch.softmax(t.topk(k).values, -1)))
    yield "router-sigmoid", near(order(chosen(mx.sigmoid(m))), order(t.sigmoid().topk(k).values))


def norms():
    x, w = normal(64, WIDTH, dtype=np.float16) * np.float16(3), normal(WIDTH, dtype=np.float16)
    wide = x.astype(np.float32)
    normed = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6)
    ours = np.array(mx.fast.rms_norm(mx.array(x), mx.array(w), 1e-6))
    yield "norm", (ours == normed.astype(np.float16) * w).all()
    plus = np.array(mx.fast.rms_norm(mx.array(wide), mx.array(1.0 + w.astype(np.float32)), 1e-6))
    yield "norm-plus-one", near(plus, normed * (1 + w.astype(np.float32)), 1e-5)


def gelus():
    x = np.linspace(-8, 8, 4001).astype(np.float32)
    gelu = torch.nn.functional.gelu
    erf, tanh = gelu(torch.tensor(x)).numpy(), gelu(torch.tensor(x), approximate="tanh").numpy()
    sigmoid = x / (1 + np.exp(-1.702 * x))
    m = mx.array(x)
    yield "gelu-tanh", near(nn.gelu_approx(m), tanh) and near(erf, tanh, 5e-4) and not near(erf, tanh, 1e-4)
    yield "gelu-erf", near(nn.gelu(m), erf, 2e-6) and near(nn.gelu_fast_approx(m), erf, 0.021)
    yield "gelu-sigmoid", near(nn.gelu_fast_approx(m), sigmoid) and not near(sigmoid, erf, 1e-2)


def main():
    rows = tomllib.loads((Path(__file__).parent / "idioms.toml").read_text())["idiom"]
    checks = (rotations, gates, groups, alibi, scores, routers, norms, gelus)
    held = {kind: bool(holds) for check in checks for kind, holds in check()}
    missing = {row["kind"] for row in rows} ^ set(held)
    for kind, holds in held.items():
        print(f"{'ok  ' if holds else 'FAIL'} {kind}")
    print(f"{len(held)} of {len(rows)} rows, mlx {mx.__version__}, torch {torch.__version__}", *missing)
    sys.exit(bool(missing) or not all(held.values()))


if __name__ == "__main__":
    main()
