//! Idioms in forwards: the variant, the line, and what is none.

use serde_json::json;
use t2m_tui::findings::idioms::idioms;
use t2m_tui::open::Opened;
use t2m_tui::registry::idioms::Kind;
use t2m_tui::registry::idioms::Kind::*;

use crate::constructors::opened;

const HEAD: &str = "\
import math
import torch
from torch import nn
import torch.nn.functional as F
from far import far_rotary, far_repeat
";
/// What a file beside it has: the parameter decides how it turns.
const FAR: &str = "\
import torch
def rot_pairs(x):
    return torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
def rot_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat([-x2, x1], dim=-1)
def rot_apply(x, sin, cos, half=False):
    if half:
        return x * cos + rot_half(x) * sin
    return x * cos + rot_pairs(x) * sin
def far_rotary(x, emb, half: bool = False):
    sin, cos = emb.chunk(2, -1)
    return rot_apply(x, sin, cos, half=half)
def far_repeat(hidden, n_rep):
    b, heads, length, width = hidden.shape
    return hidden[:, :, None, :, :].expand(b, heads, n_rep, length, width).reshape(b, heads * n_rep, length, width)
";

/// `Net` with this forward and these functions before it; its constructor sets `half`, `norm_topk` and `scaling`.
fn net(functions: &str, forward: &str) -> Opened {
    let forward: String = forward.lines().map(|line| format!("        {line}\n")).collect();
    let text = format!(
        "{HEAD}{functions}\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.half = True\n        \
         self.norm_topk = False\n        self.one = 1.0\n        self.scaling = 0.125\n        self.gate = nn.Linear(4, 4)\n        \
         self.up = nn.Linear(4, 4)\n        self.act = nn.SiLU()\n        self.weight = nn.Parameter(torch.ones(4))\n    \
         def forward(self, x, q, k, v, cos, sin, mask=None):\n{forward}"
    );
    let linear: [(&str, &[usize]); 5] =
        [("gate.weight", &[4, 4]), ("gate.bias", &[4]), ("up.weight", &[4, 4]), ("up.bias", &[4]), ("weight", &[4])];
    opened(&linear, &[("net.py", &text), ("far.py", FAR)])
}

fn kinds(opened: &Opened) -> Vec<Kind> {
    assert_eq!(opened.model.modules[0].class, "net.Net");
    idioms(opened).iter().map(|found| found.row.kind).collect()
}

const ROTATE_HALF: &str = "\
def rotate_half(x):
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)
";
const ROTATE_PAIRS: &str = "\
def rotate_half(x):
    x1 = x[:, :, :, ::2]
    x2 = x[:, :, :, 1::2]
    x = torch.stack((-x2, x1), dim=-1)
    return x.flatten(-2)
";

#[test]
fn each_variant_is_told_from_the_others() {
    let cases: &[(&str, &str, &[Kind])] = &[
        (ROTATE_HALF, "return q * cos + rotate_half(q) * sin", &[RopeHalves]),
        (ROTATE_PAIRS, "return q * cos + rotate_half(q) * sin", &[RopePairs]),
        (
            "",
            "a, b = q.chunk(2, dim=-1)\nreturn torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)",
            &[RopeHalves],
        ),
        (
            "",
            "a, b = q[..., ::2], q[..., 1::2]\nleft = a * cos - b * sin\nright = a * sin + b * cos\nreturn torch.stack((left, right), dim=-1).flatten(-2)",
            &[RopePairs],
        ),
        (
            "",
            "a, b = q.float().reshape(*q.shape[:-1], -1, 2).unbind(-1)\nreturn torch.stack((a * cos - b * sin, b * cos + a * sin), -1)",
            &[RopePairs],
        ),
        (
            "",
            "a, b = q[..., 0::2], q[..., 1::2]\nreturn torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)",
            &[RopePairsToHalves],
        ),
        (
            "def rotary(x, freqs_cis):\n    x = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))\n    return torch.view_as_real(x * freqs_cis).flatten(3)\n",
            "return rotary(q, cos)",
            &[RopePairs],
        ),
        ("", "return far_rotary(q, cos)", &[RopePairs]),
        ("", "return far_rotary(q, cos, True)", &[RopeHalves]),
        ("", "return far_rotary(q, cos, half=self.half)", &[RopeHalves]),
        ("", "half = getattr(self, 'absent', False)\nreturn far_rotary(q, cos, half=half)", &[RopePairs]),
        ("", "a, b = x.chunk(2, dim=-1)\nreturn F.silu(a) * b", &[GateFirst]),
        ("", "a, b = x.chunk(2, dim=-1)\nreturn a * self.act(b)", &[GateSecond]),
        ("", "b, a = torch.split(x, 4, dim=-1)\nreturn b * F.gelu(a)", &[GateSecond]),
        ("", "return torch.sigmoid(x[..., 4:]) * x[..., :4]", &[GateSecond]),
        (
            "",
            "gate, up = x[..., ::2], x[..., 1::2]\ngate = gate.clamp(max=7.0)\nglu = gate * torch.sigmoid(gate * 1.5)\nreturn (up + 1) * glu",
            &[GateEven],
        ),
        ("", "up, gate = x[..., ::2], x[..., 1::2]\nreturn up * F.silu(gate)", &[GateOdd]),
        ("", "return self.act(self.gate(x)) * self.up(x)", &[GateApart]),
        (
            "def repeat_kv(hidden, n_rep):\n    b, h, s, d = hidden.shape\n    hidden = hidden[:, :, None, :, :].expand(b, h, n_rep, s, d)\n    return hidden.reshape(b, h * n_rep, s, d)\n",
            "k = repeat_kv(k, 2)\nreturn q @ k",
            &[RepeatEach],
        ),
        ("", "return far_repeat(k, 2)", &[RepeatEach]),
        ("", "return q + k.repeat_interleave(2, dim=1)", &[RepeatEach]),
        ("", "return q + k.repeat(1, 2, 1, 1)", &[RepeatWhole]),
        (
            "def build_alibi(heads):\n    base = 2 ** (-(2 ** -(math.log2(heads) - 3)))\n    return torch.pow(base, torch.arange(1, 1 + heads))\n",
            "return x + build_alibi(8)",
            &[Alibi],
        ),
        ("", "w = torch.matmul(q, k.transpose(-2, -1)) * 0.125\nreturn torch.softmax(w, dim=-1) @ v", &[ScoresAfter]),
        ("", "w = q @ k.transpose(-2, -1) / math.sqrt(8)\nw = w + mask\nreturn w.softmax(-1) @ v", &[ScoresAfter]),
        (
            "",
            "w = torch.matmul(q, k.mT) / 8\nw = F.softmax(w, dim=-1, dtype=torch.float32).to(q.dtype)\nreturn w @ v",
            &[ScoresAfterUpcast],
        ),
        ("", "q = q * 0.125\nreturn (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v", &[ScoresBefore]),
        (
            "",
            "q = q * 0.125\nreturn torch.softmax((q @ k.transpose(-2, -1)).float(), dim=-1) @ v",
            &[ScoresBeforeUpcast],
        ),
        (
            "",
            "experts = F.softmax(self.gate(x), dim=-1)\nw, at = torch.topk(experts, 2, dim=-1)\nreturn w",
            &[RouterSoftmaxFirst],
        ),
        (
            "",
            "experts = F.softmax(self.gate(x).float(), dim=-1)\nw, at = experts.topk(2)\nw /= w.sum(dim=-1, keepdim=True)\nreturn w",
            &[RouterSoftmaxFirstNormalised],
        ),
        (
            "",
            "experts = F.softmax(self.gate(x), dim=-1)\nw, at = experts.topk(2)\nif self.norm_topk:\n    w = w / w.sum(dim=-1, keepdim=True)\nreturn w",
            &[RouterSoftmaxFirst],
        ),
        (
            "",
            "router = self.gate(x)\nw, at = torch.topk(router, 2, dim=-1)\nreturn torch.softmax(w, dim=-1)",
            &[RouterSoftmaxLast],
        ),
        (
            "",
            "router = self.gate(x).sigmoid()\nchoice = router + self.weight\nw, at = torch.topk(choice, 2)\nreturn w",
            &[RouterSigmoid],
        ),
        (
            "",
            "h = x.float()\nh = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)\nreturn h * (1.0 + self.weight.float())",
            &[NormPlusOne],
        ),
        ("", "return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))", &[Norm]),
        ("", "return 0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x ** 3)))", &[GeluTanh]),
        ("", "return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))", &[GeluErf]),
        ("", "return x * torch.sigmoid(1.702 * x)", &[GeluSigmoid]),
    ];
    for (functions, forward, expected) in cases {
        assert_eq!(kinds(&net(functions, forward)), *expected, "{functions}{forward}");
    }
}

#[test]
fn what_only_looks_like_one_is_none() {
    let cases = [
        // Turned the other way, of two tensors, or not turned at all.
        ("", "a, b = q.chunk(2, dim=-1)\nreturn torch.cat([b, -a], dim=-1)"),
        ("", "a, b = q.chunk(2, dim=-1)\nc, d = k.chunk(2, dim=-1)\nreturn torch.cat([-b, c], dim=-1)"),
        ("", "a, b = q.chunk(2, dim=-1)\nreturn torch.stack([-b, a], dim=-1)"),
        ("", "return far_rotary(q, cos, half=unknown())"),
        ("", "return torch.view_as_real(torch.view_as_complex(x) * 2)"),
        // A gate of something else, four gates, a plain product.
        ("", "a, b = x.chunk(2, dim=-1)\nreturn F.silu(a) * cos"),
        ("", "a, b, c, d = x.chunk(4, dim=-1)\nreturn torch.sigmoid(a) * b"),
        ("", "return self.gate(x) * self.up(x)"),
        ("", "return self.act(self.gate(x)) * self.up(q)"),
        ("", "return torch.sigmoid(self.gate(x)) * self.up(x)"),
        // Repeated, but not heads of keys.
        ("", "return cos.repeat_interleave(2, dim=-1) + x.repeat(1, 2, 1, 1)"),
        // A softmax of no product of queries, of scores of float32, or of nothing scaled.
        ("", "return torch.softmax(x, dim=-1)"),
        ("", "q = q.to(torch.float32)\nreturn torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.125, dim=-1)"),
        ("", "return torch.softmax(x @ cos.transpose(-2, -1), dim=-1)"),
        // Chosen, but no experts.
        ("", "p = F.softmax(x, dim=-1)\nw, at = torch.topk(p, 2)\nreturn w"),
        // Another norm, other numbers.
        ("", "m = x - x.mean(-1, keepdim=True)\nreturn self.weight * m * torch.rsqrt((m * m).sum(-1) + 1e-6)"),
        ("", "return torch.tanh(x) * 0.5 + torch.erf(x)"),
        ("", "return x * torch.sigmoid(1.5 * x)"),
    ];
    for (functions, forward) in cases {
        assert_eq!(kinds(&net(functions, forward)), [], "{functions}{forward}");
    }
}

#[test]
fn scores_that_a_caller_scales_by_one_are_not_scaled() {
    let attention = "\
def attention(module, query, key, value, scaling):
    w = torch.matmul(query, key.transpose(2, 3)) * scaling
    return torch.softmax(w, dim=-1) @ value
";
    for (scaling, expected) in
        [("self.scaling", &[ScoresAfter][..]), ("self.one", &[]), ("1.0", &[]), ("0.5", &[ScoresAfter])]
    {
        let opened = net(attention, &format!("return attention(self, q, k, v, scaling={scaling})"));
        assert_eq!(kinds(&opened), expected, "{scaling}");
    }
}

#[test]
fn an_idiom_is_told_once_at_the_line_that_uses_it() {
    let functions = format!(
        "{ROTATE_HALF}def rotary(q, k, cos, sin):\n    q = q * cos + rotate_half(q) * sin\n    k = k * cos + rotate_half(k) * sin\n    return q, k\n"
    );
    let opened = net(
        &functions,
        "q, k = rotary(q, k, cos, sin)\nif self.training:\n    return far_rotary(q, cos)\nreturn q @ k",
    );
    let found = idioms(&opened);
    assert_eq!(found.len(), 1, "what only training runs is none: {found:?}");
    let places: Vec<(bool, usize)> =
        found[0].places.iter().map(|(file, line)| (file.ends_with("net.py"), *line)).collect();
    assert_eq!((found[0].row.kind, found[0].count, places), (RopeHalves, 1, vec![(true, 11)]));
    let report = t2m_tui::report::inspect_json::Report { opened: &opened, check: None };
    let report = serde_json::to_value(&report).unwrap();
    let row = RopeHalves.row().unwrap();
    assert_eq!(report["idioms"][0]["idiom"], json!("RoPE"));
    assert_eq!(report["idioms"][0]["variant"], json!("halves"));
    assert_eq!(report["idioms"][0]["mlx"], json!(row.mlx));
    assert_eq!(report["idioms"][0]["places"][0]["line"], json!(11));
    assert_eq!(report["idioms"][0]["reach"], json!("inference"));
    let either = net(ROTATE_HALF, "if self.unknown.kind:\n    return rotate_half(q) * sin\nreturn far_rotary(q, cos)");
    let report = t2m_tui::report::inspect_json::Report { opened: &either, check: None };
    let report = serde_json::to_value(&report).unwrap();
    let found = report["idioms"].as_array().unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|idiom| idiom["reach"] == "unknown"), "{found:?}");
}

#[test]
fn the_source_pane_names_an_idiom_beside_its_line() {
    use t2m_tui::tui::action::Action;
    use t2m_tui::tui::document::Document;
    let opened = net(ROTATE_HALF, "return q * cos + rotate_half(q) * sin");
    let mut state = crate::common::sample::state("dark");
    crate::common::sample::act(&mut state, Action::Opened(std::sync::Arc::new(Document::of(&opened))));
    let screen = |state: &mut _, width| t2m_tui::tui::snapshot::rows(&crate::common::sample::draw(state, width, 45));
    let line = |rows: Vec<String>| rows.into_iter().find(|row| row.contains("+ rotate_half(q)")).unwrap();
    let wide = line(screen(&mut state, 300));
    assert!(wide.contains("RoPE: halves → mx.fast.rope(x, dims, traditional=False"), "{wide}");
    let narrow = line(screen(&mut state, 180));
    assert!(narrow.contains("RoPE: halves") && !narrow.contains("mx.fast"), "{narrow}");
}
