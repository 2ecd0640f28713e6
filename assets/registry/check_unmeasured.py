#!/usr/bin/env python3
"""Hold what `unmeasured` rows of ops.toml say against torch and MLX: `python assets/registry/check_unmeasured.py`.

Needs torch and mlx. The interpreters of the measurement have no function of these ops, so that tests/engines cannot run them;
here each claim is a line of Python for torch and one for MLX, which have to give the same numbers. Rows that say that MLX has
nothing have to be right in that, too.
"""

import sys
import tomllib
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
import torch.nn.functional as F

mx.set_default_device(mx.cpu)
rng = np.random.default_rng(3)
ARRAYS = {
    "x": rng.standard_normal((3, 5)).astype(np.float32),
    "y": rng.standard_normal((3, 5)).astype(np.float32),
    "v": rng.standard_normal(5).astype(np.float32),
    "p": rng.uniform(0.05, 0.95, (3, 5)).astype(np.float32),
    "s": (lambda a: a @ a.T + 3 * np.eye(4))(rng.standard_normal((4, 4))).astype(np.float32),
    "b": rng.standard_normal((4, 2)).astype(np.float32),
    "i": rng.integers(0, 7, (3, 5)).astype(np.int32),
    "j": rng.integers(0, 7, (3, 5)).astype(np.int32),
    "m": rng.uniform(size=(3, 5)) > 0.5,
    "n": rng.uniform(size=(3, 5)) > 0.5,
    "c": (rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))).astype(np.complex64),
    "img": rng.standard_normal((2, 4, 6, 6)).astype(np.float32),
    "seq": rng.standard_normal((2, 4, 9)).astype(np.float32),
    "w1": rng.standard_normal((8, 4, 3)).astype(np.float32),
    "u1": rng.standard_normal((4, 8, 3)).astype(np.float32),
    "bounds": np.sort(rng.standard_normal(4)).astype(np.float32),
}

# By the row's name, or one of its other names: torch, MLX.
CLAIMS = [
    ("torch.tensor", "torch.tensor([[1.5, 2.0]])", "mx.array([[1.5, 2.0]])"),
    ("x.new_zeros", "x.new_zeros((2, 3))", "mx.zeros((2, 3), x.dtype)"),
    ("x.new_ones", "x.new_ones((2, 3))", "mx.ones((2, 3), x.dtype)"),
    ("x.new_full", "x.new_full((2, 3), 4.0)", "mx.full((2, 3), 4.0, x.dtype)"),
    ("torch.full_like", "torch.full_like(x, 2.0)", "mx.full_like(x, 2.0)"),
    ("torch.hann_window", "torch.hann_window(9)", "mx.hanning(10)[:9]"),
    ("torch.hann_window", "torch.hann_window(9, periodic=False)", "mx.hanning(9)"),
    ("torch.hamming_window", "torch.hamming_window(9)", "mx.hamming(10)[:9]"),
    ("torch.logspace", "torch.logspace(0, 2, 5)", "mx.power(10.0, mx.linspace(0, 2, 5))"),
    ("x.expand_as", "v.expand_as(x)", "mx.broadcast_to(v, x.shape)"),
    ("torch.broadcast_to", "torch.broadcast_to(v, (3, 5))", "mx.broadcast_to(v, (3, 5))"),
    ("torch.broadcast_tensors", "torch.broadcast_tensors(v, x)[0]", "mx.broadcast_arrays(v, x)[0]"),
    ("x.view_as", "x.view_as(x.view(5, 3))", "mx.reshape(x, (5, 3))"),
    ("x.t", "x.t()", "x.T"),
    ("torch.movedim", "torch.movedim(img, 1, 3)", "mx.moveaxis(img, 1, 3)"),
    ("torch.hstack", "torch.hstack((x, y))", "mx.concatenate([x, y], axis=1)"),
    ("torch.vstack", "torch.vstack((x, y))", "mx.concatenate([x, y], axis=0)"),
    ("torch.dstack", "torch.dstack((x, y))", "mx.stack([x, y], axis=2)"),
    ("torch.tensor_split", "torch.tensor_split(x, (2, 4), dim=1)[1]", "mx.split(x, [2, 4], axis=1)[1]"),
    ("x.split_with_sizes", "x.split_with_sizes((2, 3), 1)[1]", "mx.split(x, [2], axis=1)[1]"),
    ("x.narrow", "x.narrow(1, 1, 3)", "x[:, 1:4]"),
    ("x.select", "x.select(1, 2)", "x[:, 2]"),
    ("torch.take_along_dim", "torch.take_along_dim(x, (i % 3).long(), dim=0)", "mx.take_along_axis(x, i % 3, axis=0)"),
    ("x.take", "x.take(i.long())", "mx.take(x, i)"),
    ("torch.diag", "torch.diag(v, diagonal=1)", "mx.diag(v, k=1)"),
    ("torch.diag_embed", "torch.diag_embed(x)", "x[..., None] * mx.eye(5)"),
    ("x.scatter_reduce", "torch.zeros(4).scatter_reduce(0, torch.tensor([1, 1, 3]), torch.tensor([2., 5., 1.]), 'amax')",
     "mx.zeros(4).at[mx.array([1, 1, 3])].maximum(mx.array([2., 5., 1.]))"),
    ("x.amax", "x.amax(dim=1, keepdim=True)", "mx.max(x, axis=1, keepdims=True)"),
    ("x.amin", "x.amin(dim=1)", "mx.min(x, axis=1)"),
    ("x.count_nonzero", "m.count_nonzero(dim=1)", "mx.count_nonzero(m, axis=1)"),
    ("torch.linalg.vector_norm", "torch.linalg.vector_norm(x, dim=1)", "mx.linalg.norm(x, axis=1)"),
    ("torch.linalg.vector_norm", "torch.linalg.vector_norm(x, 3, dim=1)", "mx.linalg.norm(x, 3, axis=1)"),
    ("torch.linalg.matrix_norm", "torch.linalg.matrix_norm(x)", "mx.linalg.norm(x, axis=(-2, -1))"),
    ("torch.dist", "torch.dist(x, y)", "mx.linalg.norm(mx.flatten(x - y))"),
    ("x.cummax", "x.cummax(1).values", "mx.cummax(x, axis=1)"),
    ("x.cummin", "x.cummin(1).values", "mx.cummin(x, axis=1)"),
    ("torch.logcumsumexp", "torch.logcumsumexp(x, 1)", "mx.logcumsumexp(x, axis=1)"),
    ("x.diff", "x.diff(dim=1)", "mx.diff(x, axis=1)"),
    ("x.kthvalue", "x.kthvalue(2, dim=1).values", "mx.sort(x, axis=1)[..., 1]"),
    ("x.trace", "s.trace()", "mx.trace(s)"),
    ("torch.equal", "torch.tensor(torch.equal(x, x))", "mx.array_equal(x, x)"),
    ("torch.allclose", "torch.tensor(torch.allclose(x, y))", "mx.allclose(x, y)"),
    ("torch.isclose", "torch.isclose(x, y)", "mx.isclose(x, y)"),
    ("torch.greater", "torch.greater(x, y)", "mx.greater(x, y)"),
    ("torch.less_equal", "torch.less_equal(x, y)", "mx.less_equal(x, y)"),
    ("torch.logical_xor", "torch.logical_xor(m, n)", "mx.logical_xor(m, n)"),
    ("torch.bitwise_xor", "torch.bitwise_xor(i, j)", "mx.bitwise_xor(i, j)"),
    ("torch.bitwise_not", "torch.bitwise_not(i)", "mx.bitwise_invert(i)"),
    ("torch.bitwise_left_shift", "torch.bitwise_left_shift(i, j)", "mx.left_shift(i, j)"),
    ("torch.isin", "torch.isin(i, torch.tensor([1, 4]))", "mx.any(i[..., None] == mx.array([1, 4]), axis=-1)"),
    ("torch.isposinf", "torch.isposinf(x / 0.0)", "mx.isposinf(x / 0.0)"),
    ("torch.searchsorted", "torch.searchsorted(bounds, x)", "mx.searchsorted(bounds, x)"),
    ("torch.searchsorted", "torch.searchsorted(bounds, bounds, right=True)", "mx.searchsorted(bounds, bounds, side='right')"),
    ("torch.searchsorted", "torch.searchsorted(x.sort(1).values, y)",
     "mx.sum(mx.sort(x, axis=1)[..., None, :] < y[..., None], axis=-1)"),
    ("torch.bucketize", "torch.bucketize(x, bounds)", "mx.searchsorted(bounds, x)"),
    ("torch.bucketize", "torch.bucketize(bounds, bounds, right=True)", "mx.searchsorted(bounds, bounds, side='right')"),
    ("x.short", "i.short()", "i.astype(mx.int16)"),
    ("x.type_as", "i.type_as(x)", "i.astype(x.dtype)"),
    ("x.clamp_min", "x.clamp_min(0.2)", "mx.maximum(x, 0.2)"),
    ("x.clamp_max", "x.clamp_max(0.2)", "mx.minimum(x, 0.2)"),
    ("torch.nan_to_num", "torch.nan_to_num(x / 0.0)", "mx.nan_to_num(x / 0.0)"),
    ("torch.acos", "torch.acos(p)", "mx.arccos(p)"),
    ("torch.asin", "torch.asin(p)", "mx.arcsin(p)"),
    ("torch.atan", "torch.atan(x)", "mx.arctan(x)"),
    ("torch.sinh", "torch.sinh(x)", "mx.sinh(x)"),
    ("torch.asinh", "torch.asinh(x)", "mx.arcsinh(x)"),
    ("torch.atanh", "torch.atanh(p)", "mx.arctanh(p)"),
    ("torch.erfinv", "torch.erfinv(p)", "mx.erfinv(p)"),
    ("torch.erfc", "torch.erfc(x)", "1 - mx.erf(x)"),
    ("torch.exp2", "torch.exp2(x)", "mx.power(2.0, x)"),
    ("torch.logaddexp", "torch.logaddexp(x, y)", "mx.logaddexp(x, y)"),
    ("torch.logit", "torch.logit(p)", "mx.log(p / (1 - p))"),
    ("torch.special.expit", "torch.special.expit(x)", "mx.sigmoid(x)"),
    ("torch.xlogy", "torch.xlogy(i.float(), p)", "mx.where(i == 0, 0, i * mx.log(p))"),
    ("torch.sinc", "torch.sinc(x)", "mx.where(x == 0, 1, mx.sin(mx.pi * x) / (mx.pi * x))"),
    ("torch.frac", "torch.frac(x)", "x - mx.trunc(x)"),
    ("torch.deg2rad", "torch.deg2rad(x)", "mx.radians(x)"),
    ("torch.hypot", "torch.hypot(x, y)", "mx.sqrt(x * x + y * y)"),
    ("torch.lerp", "torch.lerp(x, y, 0.3)", "x + 0.3 * (y - x)"),
    ("torch.addcmul", "torch.addcmul(x, y, p, value=2)", "x + 2 * y * p"),
    ("torch.addcdiv", "torch.addcdiv(x, y, p, value=2)", "x + 2 * y / p"),
    ("torch.conj", "torch.conj(c).resolve_conj()", "mx.conj(c)"),
    ("torch.real", "torch.real(c)", "mx.real(c)"),
    ("torch.angle", "torch.angle(c)", "mx.arctan2(mx.imag(c), mx.real(c))"),
    ("torch.angle", "torch.angle(x)", "mx.arctan2(mx.zeros_like(x), x)"),
    ("torch.mv", "torch.mv(x, v)", "mx.matmul(x, v)"),
    ("torch.dot", "torch.dot(v, v)", "mx.inner(v, v)"),
    ("torch.tensordot", "torch.tensordot(x, y, dims=([1], [1]))", "mx.tensordot(x, y, axes=([1], [1]))"),
    ("torch.kron", "torch.kron(x, y)", "mx.kron(x, y)"),
    ("torch.linalg.cross", "torch.linalg.cross(x[:, :3], y[:, :3], dim=1)", "mx.linalg.cross(x[:, :3], y[:, :3], axis=1)"),
    ("torch.linalg.inv", "torch.linalg.inv(s)", "mx.linalg.inv(s, stream=mx.cpu)"),
    ("torch.linalg.pinv", "torch.linalg.pinv(b)", "mx.linalg.pinv(b, stream=mx.cpu)"),
    ("torch.linalg.svd", "torch.linalg.svd(b)[1]", "mx.linalg.svd(b, stream=mx.cpu)[1]"),
    ("torch.linalg.qr", "torch.linalg.qr(b)[1].abs()", "mx.abs(mx.linalg.qr(b, stream=mx.cpu)[1])"),
    ("torch.linalg.cholesky", "torch.linalg.cholesky(s)", "mx.linalg.cholesky(s, stream=mx.cpu)"),
    ("torch.linalg.eigh", "torch.linalg.eigh(s)[0]", "mx.linalg.eigh(s, stream=mx.cpu)[0]"),
    ("torch.linalg.solve", "torch.linalg.solve(s, b)", "mx.linalg.solve(s, b, stream=mx.cpu)"),
    ("torch.linalg.solve_triangular", "torch.linalg.solve_triangular(s, b, upper=True)",
     "mx.linalg.solve_triangular(s, b, upper=True, stream=mx.cpu)"),
    ("torch.linalg.det", "torch.linalg.det(s)", "mx.linalg.det(s, stream=mx.cpu)"),
    ("torch.linalg.slogdet", "torch.linalg.slogdet(s)[1]", "mx.linalg.slogdet(s, stream=mx.cpu)[1]"),
    ("torch.linalg.lstsq", "torch.linalg.lstsq(b, torch.ones(4, 1)).solution", "mx.linalg.pinv(b, stream=mx.cpu) @ mx.ones((4, 1))"),
    ("torch.fft.rfft", "torch.fft.rfft(x, dim=1)", "mx.fft.rfft(x, axis=1)"),
    ("torch.fft.irfft", "torch.fft.irfft(c, n=6, dim=1)", "mx.fft.irfft(c, n=6, axis=1)"),
    ("torch.fft.fft", "torch.fft.fft(c)", "mx.fft.fft(c)"),
    ("torch.fft.rfft", "torch.fft.rfft(x, norm='ortho')", "mx.fft.rfft(x) / 5**0.5"),
    ("torch.fft.fft2", "torch.fft.fft2(x, dim=(0, 1))", "mx.fft.fft2(x, axes=(0, 1))"),
    ("torch.fft.rfft2", "torch.fft.rfft2(x, norm='ortho')", "mx.fft.rfft2(x) / 15**0.5"),
    ("torch.fft.fftshift", "torch.fft.fftshift(x, dim=1)", "mx.fft.fftshift(x, axes=(1,))"),
    ("torch.fft.fftfreq", "torch.fft.fftfreq(7)", "mx.fft.fftfreq(7)"),
    ("torch.stft", "torch.stft(seq[0, 0], 4, 2, window=torch.hann_window(4), center=False, return_complex=True)",
     "mx.fft.rfft(mx.as_strided(seq[0, 0], (3, 4), (2, 1)) * mx.hanning(5)[:4]).T"),
    ("F.conv1d", "F.conv1d(seq, w1, padding=1)",
     "mx.swapaxes(mx.conv1d(mx.swapaxes(seq, 1, 2), mx.swapaxes(w1, 1, 2), padding=1), 1, 2)"),
    ("F.conv_transpose1d", "F.conv_transpose1d(seq, u1, stride=2)",
     "mx.swapaxes(mx.conv_transpose1d(mx.swapaxes(seq, 1, 2), mx.transpose(u1, (1, 2, 0)), stride=2), 1, 2)"),
    ("F.batch_norm", "F.batch_norm(x, v, v * v, v, v)", "(x - v) * mx.rsqrt(v * v + 1e-5) * v + v"),
    ("F.prelu", "F.prelu(x, v)", "nn.prelu(x, v)"),
    ("F.softmin", "F.softmin(x, dim=1)", "nn.softmin(x, axis=1)"),
    ("F.threshold", "F.threshold(x, 0.1, 7.0)", "mx.where(x > 0.1, x, 7.0)"),
    ("F.hardshrink", "F.hardshrink(x)", "nn.hard_shrink(x)"),
    ("F.softshrink", "F.softshrink(x)", "nn.softshrink(x)"),
    ("F.tanhshrink", "F.tanhshrink(x)", "x - mx.tanh(x)"),
    ("F.max_pool1d", "F.max_pool1d(seq, 3, 2)", "mx.swapaxes(nn.MaxPool1d(3, 2)(mx.swapaxes(seq, 1, 2)), 1, 2)"),
    ("F.avg_pool1d", "F.avg_pool1d(seq, 3, 2)", "mx.swapaxes(nn.AvgPool1d(3, 2)(mx.swapaxes(seq, 1, 2)), 1, 2)"),
    ("F.adaptive_avg_pool1d", "F.adaptive_avg_pool1d(seq, 1)", "mx.mean(seq, axis=2, keepdims=True)"),
    ("F.adaptive_max_pool2d", "F.adaptive_max_pool2d(img, 1)", "mx.max(img, axis=(2, 3), keepdims=True)"),
    ("F.bilinear", "F.bilinear(x, y, torch.ones(2, 5, 5))", "mx.einsum('bi,oij,bj->bo', x, mx.ones((2, 5, 5)), y)"),
    ("F.pairwise_distance", "F.pairwise_distance(x, y)", "mx.linalg.norm(x - y + 1e-6, axis=1)"),
    ("torch.cdist", "torch.cdist(x, y)", "mx.linalg.norm(x[..., None, :] - y[..., None, :, :], axis=-1)"),
    ("torch.polar", "torch.polar(p, x)", "p * (mx.cos(x) + 1j * mx.sin(x))"),
    ("torch.polar", "torch.view_as_real(c)", "mx.stack([mx.real(c), mx.imag(c)], axis=-1)"),
    ("torch.bincount", "torch.bincount(i.flatten(), minlength=7)", "(mx.flatten(i)[:, None] == mx.arange(7)).sum(0)"),
    ("torch.copysign", "torch.copysign(x, y)", "mx.where(y < 0, -mx.abs(x), mx.abs(x))"),
    ("torch.diagflat", "torch.diagflat(v)", "mx.diag(mx.flatten(v))"),
    ("torch.fliplr", "torch.fliplr(x)", "mx.flip(x, axis=1)"),
    ("torch.fmax", "torch.fmax(x / i, y)", "mx.where(mx.isnan(x / i), y, mx.maximum(x / i, mx.where(mx.isnan(y), x / i, y)))"),
    ("torch.ravel", "torch.ravel(x)", "mx.flatten(x)"),
    ("torch.msort", "torch.msort(x)", "mx.sort(x, axis=0)"),
    ("torch.cov", "torch.cov(x)", "(x - mx.mean(x, axis=1, keepdims=True)) @ (x - mx.mean(x, axis=1, keepdims=True)).T / 4"),
    ("torch.isreal", "torch.isreal(c)", "mx.imag(c) == 0"),
    ("x.adjoint", "c.adjoint().resolve_conj()", "mx.conj(mx.swapaxes(c, -1, -2))"),
    ("torch.cholesky_inverse", "torch.cholesky_inverse(torch.linalg.cholesky(s))",
     "mx.linalg.cholesky_inv(mx.linalg.cholesky(s, stream=mx.cpu), stream=mx.cpu)"),
    ("torch.aminmax", "torch.aminmax(x, dim=1).max", "mx.max(x, axis=1)"),
    ("torch.heaviside", "torch.heaviside(x, y)", "mx.where(x == 0, y, x > 0)"),
    ("torch.rsub", "torch.rsub(x, y)", "y - x"),
    ("torch.addmv", "torch.addmv(torch.ones(3), x, v)", "mx.ones(3) + x @ v"),
    ("torch.linalg.multi_dot", "torch.linalg.multi_dot((s, s, b))", "s @ s @ b"),
    ("torch.linalg.matrix_power", "torch.linalg.matrix_power(s, 3)", "s @ s @ s"),
    ("torch.rot90", "torch.rot90(x)", "mx.flip(mx.swapaxes(x, 0, 1), axis=0)"),
    ("torch.renorm", "torch.renorm(x, 2, 0, 1.0)",
     "x * mx.minimum(1.0, 1.0 / mx.linalg.norm(x, axis=1, keepdims=True))"),
    ("F.rrelu", "F.rrelu(x)", "nn.leaky_relu(x, (1 / 8 + 1 / 3) / 2)"),
    ("F.pixel_unshuffle", "F.pixel_unshuffle(img, 2)",
     "mx.transpose(img.reshape(2, 4, 3, 2, 3, 2), (0, 1, 3, 5, 2, 4)).reshape(2, 16, 3, 3)"),
    ("F.instance_norm", "F.instance_norm(img)",
     "(img - mx.mean(img, axis=(2, 3), keepdims=True)) * mx.rsqrt(mx.var(img, axis=(2, 3), keepdims=True) + 1e-5)"),
    ("torch.var_mean", "torch.var_mean(x, dim=1)[0]", "mx.var(x, axis=1, ddof=1)"),
    ("x.nansum", "x.nansum()", "mx.sum(mx.where(mx.isnan(x), 0, x))"),
]


def main():
    rows = tomllib.loads((Path(__file__).parent / "ops.toml").read_text())["op"]
    named = {name: row for row in rows for name in [row["torch"], *row.get("also", [])]}
    wrong, asked = 0, set()
    torchs = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    mlxs = {name: mx.array(array) for name, array in ARRAYS.items()}
    for name, ours, theirs in CLAIMS:
        row = named.get(name) or named.get(name.replace("x.", "torch.", 1))
        if row is None:
            print(f"{name}: no row")
            wrong += 1
            continue
        asked.add(row["torch"])
        try:
            a = np.asarray(eval(ours, {"torch": torch, "F": F, **torchs}))
            b = np.array(eval(theirs, {"mx": mx, "nn": nn, **mlxs}))
            right = a.shape == b.shape and np.allclose(a, b, rtol=2e-4, atol=2e-4, equal_nan=True)
            said = f"{a.shape} {b.shape} {np.abs(a.astype(complex) - b).max() if a.shape == b.shape else ''}"
        except Exception as error:  # noqa: BLE001
            right, said = False, f"{type(error).__name__}: {error}"
        if not right:
            wrong += 1
            print(f"{name}: {ours} | {theirs}: {said[:200]}")
    for row in rows:
        last = row["torch"].rsplit(".", 1)[-1]
        spaces = [mx, nn, nn.losses, mx.linalg, mx.fft, mx.random, mx.fast, mx.array]
        if row["status"] == "none" and any(hasattr(space, last) for space in spaces):
            wrong += 1
            print(f"{row['torch']}: MLX has a {last}")
        head, _, rest = row["mlx"].split("(")[0].partition(".")
        home = {"mx": mx, "nn": nn}.get(head)
        if home is not None:
            for part in rest.split("."):
                home = getattr(home, part, None)
            if home is None:
                wrong += 1
                print(f"{row['torch']}: MLX has no {row['mlx']}")
    unasked = [row["torch"] for row in rows if "unmeasured" in row and row["status"] != "none" and row["torch"] not in asked]
    print(f"{len(CLAIMS)} claims, {wrong} wrong; rows without one: {', '.join(unasked)}")
    sys.exit(wrong > 0)


main()
