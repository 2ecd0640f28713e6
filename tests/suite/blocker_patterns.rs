//! Every pattern of the table: code that it must find, and code that only looks like it.

use std::collections::BTreeSet;

use t2m_tui::registry::blockers;
use t2m_tui::source::Sources;

/// Names that every text below has; `mine` is no library of torch's.
const HEAD: &str = "\
import math
import numpy as np
import torch
import torch as th
import torch.nn.functional as F
import torch.distributed as dist
import triton
import flash_attn
import mine_cuda
import mine
from torch import nn, Tensor, nonzero as nz
from torch.utils.checkpoint import checkpoint
from torchvision.ops import nms, box_area
from mine import nonzero, unique

class Custom(torch.autograd.Function): ...

scan = torch.ops.mine.scan

@triton.jit
def kernel(x): ...

def plain(x): return x
";

/// Patterns and severities found in the body of a forward, each statement on a line of its own.
fn found(body: &str) -> Vec<String> {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    let text = format!(
        "{HEAD}\nclass Net(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n        self.n = n\n        \
         self.names = []\n        self.relu = nn.ReLU(inplace=True)\n        self.norm = nn.LayerNorm(8)\n        \
         self.register_buffer('seen', torch.zeros(8))\n        self.op = torch.ops.mine.other\n\n    \
         def forward(self, x: Tensor, y, mask, lengths, n: int, names: list, device, lookup: dict):\n{body}"
    );
    let mut sources = Sources::default();
    sources.add_text("m", "m.py", "from a test", &text);
    let found = sources.class("m.Net").unwrap().blockers;
    found.iter().map(|blocker| format!("{} {}", blocker.pattern, blocker.severity.name())).collect()
}

/// Pattern, severity, and bodies in which it is all that is found.
const HITS: &[(&str, &str, &[&str])] = &[
    (".copy_(", "breaks", &["x.copy_(y)", "self.seen[0].copy_(x)", "y.data.copy_(x)"]),
    ("torch.autograd.Function", "breaks", &["y = Custom.apply(x)"]),
    (".item()", "breaks", &["s = x.mean().item()", "s = y.item()", "return (x\n  .sum()\n  .item())"]),
    ("register_forward_hook", "breaks", &["self.norm.register_forward_hook(plain)"]),
    ("register_backward_hook", "breaks", &["y.register_hook(plain)", "self.norm.register_full_backward_hook(plain)"]),
    ("+=", "harmless", &["x += y", "x[0] += 1"]),
    ("+=", "differs", &["v = x[0]\nv += 1", "x.T[0] += y"]),
    ("-= *= /=", "harmless", &["x *= 2", "x //= y"]),
    ("-= *= /=", "differs", &["v = x.view(-1)\nv -= y"]),
    (
        "in-place method",
        "breaks",
        &["x.clamp_(0, 1)", "y.zero_()", "h = torch.zeros(3).scatter_(0, y, 1.0)", "x.normal_()"],
    ),
    (".tolist()", "breaks", &["s = x.shape, lengths.tolist()"]),
    (".numpy()", "breaks", &["s = x.numpy()", "s = x.detach().numpy(force=True)"]),
    (
        "data-dependent branch",
        "breaks",
        &[
            "if x.sum() > 0: pass",
            "if mask.any(): pass",
            "if n > 2 and not torch.isnan(y).any(): pass",
            "while (x > 0).all(): pass",
            "s = 1 if y.max() == 2 else 3",
            "assert torch.isfinite(y).all()",
            "if torch.equal(x, y): pass",
            "h = F.relu(y)\nif h.mean(): pass",
            "if n: pass\nelif x[0] > 1: pass",
        ],
    ),
    ("int() of a tensor", "breaks", &["s = int(lengths.max())", "s = float(x[0])", "s = bool((x > 0).any())"]),
    (
        "size from a tensor",
        "breaks",
        &[
            "for i in range(lengths.max()): pass",
            "h = x[:, :lengths.max()]",
            "h = torch.zeros(lengths.max(), 3)",
            "h = torch.arange(lengths.max() + 1)",
            "h = torch.ones((lengths.sum(), 4))",
        ],
    ),
    ("nonzero", "breaks", &["i = torch.nonzero(x)", "i = mask.nonzero()", "i = nz(x)", "i = th.argwhere(y)"]),
    ("where() of one argument", "breaks", &["i, j = torch.where(mask)", "i = torch.where(x > 0)[0]"]),
    (
        "unique",
        "breaks",
        &["u = torch.unique(x)", "u = y.unique()", "u, c = torch.unique_consecutive(x, return_counts=True)"],
    ),
    ("masked_select", "breaks", &["s = torch.masked_select(x, mask)", "s = x.masked_select(mask)"]),
    ("masked_scatter", "breaks", &["s = x.masked_scatter(mask, y)"]),
    ("counts by value", "breaks", &["c = torch.bincount(y)", "c = torch.histc(x, 10)", "c = y.bincount()"]),
    (
        "repeat_interleave by a tensor",
        "breaks",
        &["r = torch.repeat_interleave(x, y.sum(1))", "r = x.repeat_interleave(lengths.max(0)[0], dim=0)"],
    ),
    (
        "boolean mask as an index",
        "breaks",
        &[
            "h = x[mask]",
            "h = x[x > 0]",
            "h = x[:, ~mask]",
            "m = y != 3\nh = x[m]",
            "h = x[torch.isnan(x)]",
            "h = x[(x > 0) & (x < 1)]",
            "x[:, mask] = 0",
            "h = x[y.bool()]",
            "m = torch.zeros(3, dtype=torch.bool)\nh = x[m]",
        ],
    ),
    ("in-place function", "breaks", &["h = F.relu_(x)", "torch.relu_(x)", "nn.init.normal_(x)"]),
    ("inplace=True", "harmless", &["h = F.relu(self.norm(x), inplace=True)", "x = F.silu(x, inplace=True)\nreturn x"]),
    ("inplace=True", "differs", &["h = F.relu(x, inplace=True)\nreturn h, x", "h = self.relu(x)\nx = self.norm(x)"]),
    ("out=", "breaks", &["torch.matmul(x, y, out=lookup)", "h = torch.abs(x, out=y)"]),
    (
        "write through a view",
        "differs",
        &["x[0][1] = 3", "v = x[0]\nv[1] = y", "x.view(-1)[n] = 1", "h = x[:, 0]\nx[0] = 1\nreturn h", "x.data = y"],
    ),
    (
        "buffer changed in forward",
        "differs",
        &["self.seen = self.seen + 1", "self.seen += x", "self.seen[0] = 1", "self.last = x", "self.last = F.relu(y)"],
    ),
    (
        ".backward()",
        "breaks",
        &["x.backward()", "(x * y).sum().backward(retain_graph=True)", "torch.autograd.backward(x)"],
    ),
    ("torch.autograd.grad", "breaks", &["g, = torch.autograd.grad(y, x)", "j = torch.func.jacrev(plain)(x)"]),
    ("torch.ops", "breaks", &["h = torch.ops.aten.relu(x)", "h = scan(x)", "h = self.op(x)"]),
    (
        "compiled extension",
        "breaks",
        &["h = flash_attn.flash_attn_func(x, x, x)", "h = mine_cuda.run(x)", "k = nms(x, y, 0.5)"],
    ),
    ("Triton kernel", "breaks", &["kernel[(n,)](x)"]),
    (
        "random numbers",
        "differs",
        &["e = torch.randn_like(x)", "e = torch.rand(3)", "s = y.multinomial(1)", "e = F.gumbel_softmax(x)"],
    ),
    (
        "dropout left on",
        "differs",
        &["x = F.dropout(x, 0.1)", "x = F.dropout2d(x, training=True)", "x = F.dropout(x, 0.1, True)"],
    ),
    (
        "device branch",
        "breaks",
        &[
            "if x.is_cuda: pass",
            "if x.device.type == 'cuda': pass",
            "s = 1 if torch.cuda.is_available() else 2",
            "if device.type != 'mps': pass",
        ],
    ),
    ("dtype branch", "harmless", &["if x.dtype == torch.float16: pass", "s = 1 if x.is_floating_point() else 2"]),
    (
        "float64",
        "breaks",
        &[
            "h = x.double()",
            "h = x.to(torch.float64)",
            "h = torch.zeros(3, dtype=torch.double)",
            "h = y.to(th.complex128)",
        ],
    ),
    ("as_strided", "differs", &["h = x.as_strided((2, 2), (1, 2))", "h = torch.as_strided(x, (2,), (1,))"]),
    (
        "sparse tensors",
        "breaks",
        &["h = torch.sparse.mm(x, y)", "h = x.to_sparse()", "h = torch.sparse_coo_tensor(x, y)"],
    ),
    ("complex views", "breaks", &["h = torch.view_as_complex(x)", "h = torch.polar(x, y)", "h = torch.complex(x, y)"]),
    ("storage and strides", "breaks", &["s = x.stride()", "s = x.is_contiguous()", "p = y.data_ptr()"]),
    (
        "autocast",
        "differs",
        &["with torch.autocast('cuda'): pass", "with torch.amp.autocast('cuda', enabled=False): pass"],
    ),
    ("torch.distributed", "breaks", &["dist.all_reduce(x)", "n = torch.distributed.get_world_size()"]),
    (
        "checkpointing",
        "harmless",
        &["h = checkpoint(self.norm, x)", "h = torch.utils.checkpoint.checkpoint(self.norm, x)"],
    ),
    ("device control", "harmless", &["torch.cuda.synchronize()", "h = x.cuda()", "h = y.cpu()"]),
    ("memory_format=", "harmless", &["h = x.contiguous(memory_format=torch.channels_last)"]),
    ("grid sampling", "breaks", &["y = F.grid_sample(x, y)", "g = F.affine_grid(x, (1, 1, 4, 4))"]),
    ("short-time Fourier transform", "breaks", &["s = torch.stft(x, 16)", "w = th.istft(x, 16)", "s = x.stft(16)"]),
    ("pairwise distances", "breaks", &["d = torch.cdist(x, y)", "d = F.pdist(x)"]),
    ("bucketize", "breaks", &["b = torch.bucketize(x, y)"]),
    (
        "linear algebra that MLX lacks",
        "breaks",
        &["s = torch.linalg.lstsq(x, y)", "m = torch.matrix_exp(x)", "r = torch.linalg.matrix_rank(x)"],
    ),
    ("CTC loss", "breaks", &["l = F.ctc_loss(x, y, lengths, lengths)"]),
    ("angle", "breaks", &["a = torch.angle(x)", "a = x.angle()"]),
    ("special functions", "breaks", &["g = torch.lgamma(x)", "g = x.digamma()", "b = torch.special.i0(x)"]),
    (
        "functions that MLX lacks",
        "breaks",
        &["e = F.embedding_bag(x, y)", "u = F.max_unpool2d(x, y, 2)", "m = torch.mode(x)", "h = torch.fft.hfft(x)"],
    ),
];

/// Patterns, and bodies in which nothing at all is found.
const MISSES: &[(&str, &[&str])] = &[
    (".copy_(", &["copy_(x)", "h = names.copy()", "h = lookup.copy()", "s = '.copy_(x)'"]),
    ("torch.autograd.Function", &["h = mine.Function.apply(x)", "h = x.apply(y)"]),
    (
        ".item()",
        &[
            "s = lookup.item()",
            "s = x.item",
            "s = np.zeros(3).item()",
            "s = y.item('key')",
            "for k, v in lookup.items(): pass",
        ],
    ),
    ("register_forward_hook", &["hook = self.register_forward_hook", "self.register_module('forward_hook', y)"]),
    ("register_backward_hook", &["self.register_buffer('hook', y)"]),
    ("+=", &["n += 1", "names += ['a']", "s = 0\ns += len(names)", "a = np.ones(3)\na += 1"]),
    ("-= *= /=", &["n *= 2", "s = x.shape[0]\ns //= 2"]),
    (
        "in-place method",
        &["mine.load_()", "names.sort_()", "self.prepare_(x)", "x.requires_grad_()", "lookup.update_(x)"],
    ),
    (".tolist()", &["s = np.arange(3).tolist()", "s = lookup.tolist()", "s = x.tolist"]),
    (".numpy()", &["s = mine.numpy()", "s = np.zeros(3).numpy()"]),
    (
        "data-dependent branch",
        &[
            "if x is None: pass",
            "if mask is not None and n > 1: pass",
            "if x.shape[0] > 1: pass",
            "if x.dim() == 3 or x.size(1) == n: pass",
            "if self.training: pass",
            "if names: pass",
            "if 'a' in lookup: pass",
            "if isinstance(y, torch.Tensor): pass",
            "if max(n, 3) > 2 or any(names): pass",
            "h = torch.where(x > 0, x, y)",
            "if np.any(lookup): pass",
            "if x.numel() == 0 or len(x) > 3: pass",
        ],
    ),
    (
        "int() of a tensor",
        &["s = int(x.shape[0] / 2)", "s = float('inf')", "s = int(math.sqrt(n))", "s = bool(n)", "h = x.int()"],
    ),
    (
        "size from a tensor",
        &[
            "for i in range(x.size(0)): pass",
            "h = x[:, : x.shape[1] // 2]",
            "h = torch.zeros(x.shape)",
            "h = torch.arange(n)",
            "h = x[n:]",
        ],
    ),
    ("nonzero", &["i = nonzero(x)", "i = np.nonzero(lookup)", "i = x.count_nonzero()"]),
    ("where() of one argument", &["h = torch.where(mask, x, y)", "h = mine.where(mask)"]),
    ("unique", &["u = unique(x)", "u = np.unique(lookup)", "u = set(names)"]),
    ("masked_select", &["h = torch.where(mask, x, 0)", "h = mine.masked_select(x)"]),
    ("masked_scatter", &["h = x.masked_fill(mask, 0)", "h = x.scatter(0, y, x)"]),
    ("counts by value", &["c = np.bincount(lookup)", "c = names.count(3)"]),
    (
        "repeat_interleave by a tensor",
        &["r = x.repeat_interleave(2, dim=1)", "r = torch.repeat_interleave(x, n, dim=0)"],
    ),
    (
        "boolean mask as an index",
        &[
            "x[mask] = 0",
            "h = x[:, n]",
            "h = mask[:, None]",
            "h = names[n > 1]",
            "h = x[y]",
            "i = x.argmax(1)\nh = y[i]",
            "h = x[None, ..., 0]",
            "h = lookup[mask]",
            "mask_ids = y\nh = x[mask_ids]",
        ],
    ),
    ("in-place function", &["h = F.relu(x)", "h = mine.relu_(x)"]),
    (
        "inplace=True",
        &[
            "h = F.relu(x, inplace=False)",
            "h = self.relu(x)",
            "x = self.relu(x)\nreturn x",
            "h = mine.act(x, inplace=True)\nreturn x",
        ],
    ),
    ("out=", &["h = mine.run(x, out=y)", "h = self.norm(x, out=y)", "out = torch.abs(x)"]),
    (
        "write through a view",
        &[
            "x[0] = 1",
            "x[0, 1] = y",
            "names[0] = y",
            "h = x.clone()\nh[0] = 1",
            "h = x[[0, 1]]\nh[0] = 1",
            "lookup['a']['b'] = x",
        ],
    ),
    ("buffer changed in forward", &["self.n = n", "self.names = [x]", "seen = self.seen + 1", "self.shape = x.shape"]),
    (".backward()", &["mine.backward(x)", "self.backward(x)"]),
    ("torch.autograd.grad", &["g = mine.grad(x)", "with torch.no_grad(): pass"]),
    ("torch.ops", &["h = mine.ops.relu(x)", "h = plain(x)"]),
    ("compiled extension", &["a = box_area(x)", "h = mine.run(x)"]),
    ("Triton kernel", &["plain[0](x)", "names[0](x)", "h = self.names[n](x)"]),
    ("random numbers", &["e = torch.zeros_like(x)", "e = np.random.randn(3)", "e = mine.rand(3)"]),
    (
        "dropout left on",
        &[
            "x = F.dropout(x, 0.1, self.training)",
            "x = F.dropout(x, p=0.1, training=self.training)",
            "x = F.dropout(x, 0.1, False)",
        ],
    ),
    ("device branch", &["h = torch.zeros(3, device=x.device)", "h = y.to(x.device)", "if n > 1: h = y.to(x.device)"]),
    ("dtype branch", &["h = y.to(x.dtype)", "h = torch.zeros(3, dtype=x.dtype)"]),
    ("float64", &["h = x.float()", "h = x.to(torch.float32)", "h = np.float64(3)", "h = mine.double(x)"]),
    ("as_strided", &["h = np.lib.stride_tricks.as_strided(lookup)"]),
    ("sparse tensors", &["h = mine.to_sparse(x)", "h = nn.Embedding(3, 4, sparse=True)"]),
    ("complex views", &["h = torch.fft.rfft(x)", "h = x.real", "h = mine.polar(x)"]),
    ("storage and strides", &["s = self.norm.stride", "s = np.zeros(3).stride()", "h = x.contiguous()"]),
    ("autocast", &["with torch.no_grad(): pass", "with mine.autocast(): pass"]),
    ("torch.distributed", &["h = mine.all_reduce(x)"]),
    ("checkpointing", &["h = mine.checkpoint(x)", "h = self.checkpoint(x)"]),
    ("device control", &["h = mine.cuda.synchronize()", "h = self.cuda()"]),
    ("memory_format=", &["h = x.contiguous()", "s = 'memory_format='"]),
    ("grid sampling", &["y = F.interpolate(x, size=4)", "y = mine.grid_sample(x)"]),
    ("short-time Fourier transform", &["y = torch.fft.rfft(x)", "y = mine.stft(x)"]),
    ("pairwise distances", &["y = torch.linalg.norm(x - y)", "y = mine.cdist(x, y)"]),
    ("bucketize", &["y = torch.searchsorted(x, y)"]),
    ("linear algebra that MLX lacks", &["y = torch.linalg.solve(x, y)", "y = torch.linalg.svd(x)"]),
    ("CTC loss", &["y = F.cross_entropy(x, y)"]),
    ("angle", &["y = torch.atan2(x, y)", "y = self.angle(x)"]),
    ("special functions", &["y = torch.special.expit(x)", "y = torch.erf(x)", "y = math.lgamma(3)"]),
    ("functions that MLX lacks", &["y = F.embedding(x, y)", "y = F.max_pool2d(x, 2)", "y = torch.fft.fft(x)"]),
];

#[test]
fn every_pattern_is_found() {
    let mut wrong = Vec::new();
    for (pattern, severity, bodies) in HITS {
        let expected = [format!("{pattern} {severity}")];
        wrong.extend(bodies.iter().map(|body| (body, found(body))).filter(|(_, found)| *found != expected));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_only_looks_like_a_pattern_is_not_called_one() {
    let bodies = MISSES.iter().flat_map(|(_, bodies)| bodies.iter());
    let wrong: Vec<_> = bodies.map(|body| (body, found(body))).filter(|(_, found)| !found.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_row_has_code_that_it_finds_and_code_that_it_does_not() {
    let rows: BTreeSet<&str> = blockers::built_in().iter().map(|row| row.name.as_str()).collect();
    assert!(rows.len() >= 25);
    assert_eq!(HITS.iter().map(|(pattern, ..)| *pattern).collect::<BTreeSet<_>>(), rows);
    assert_eq!(MISSES.iter().map(|(pattern, _)| *pattern).collect::<BTreeSet<_>>(), rows);
}
