//! The torch ops that a class's forward uses: resolved through imports, told from methods of other things.

use crate::common::python::net;
use t2m_tui::source::OpUse;

/// Each op as `line name`, `?` behind a guess.
fn ops(text: &str) -> Vec<String> {
    let describe = |op: &OpUse| format!("{} {}{}", op.line, op.name, if op.guess { "?" } else { "" });
    net(text).ops.iter().map(describe).collect()
}

/// The ops of a forward with these parameters and this body, lines counted from the body's first.
fn forward(parameters: &str, body: &str) -> Vec<String> {
    let head = "import torch\nimport torch.nn.functional as F\nfrom torch import nn, Tensor\n";
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    let text = format!("{head}class Net(nn.Module):\n    def forward(self, {parameters}):\n{body}");
    let lines = ops(&text);
    let counted = lines.iter().map(|line| {
        let (number, rest) = line.split_once(' ').unwrap();
        format!("{} {rest}", number.parse::<usize>().unwrap() - 5)
    });
    counted.collect()
}

#[test]
fn functions_are_resolved_through_imports() {
    let text = "\
import torch, numpy as np, math
import torch as th
import torch.nn.functional as F
import torch.nn.functional as fn
from torch import cat, relu as r
from torch.nn import functional
from torch.functional import einsum
from elsewhere import stack
class Net:
    def forward(self, x):
        torch.cat(x); th.stack(x); cat(x); r(x)
        F.relu(x); fn.gelu(x); functional.silu(x); torch.nn.functional.elu(x)
        einsum('a', x); torch.linalg.norm(x); torch.Tensor.view(x, 1)
        np.sum(x); math.sqrt(2); stack(x); undefined.cat(1); print(x)
        torch.is_tensor(x); torch.device('cpu'); torch.jit.is_scripting(); torch.Tensor(3); nn.Linear(1, 2)
        with torch.no_grad():
            pass
";
    let expected = [
        "11 torch.cat",
        "11 torch.stack",
        "11 torch.cat",
        "11 torch.relu",
        "12 F.relu",
        "12 F.gelu",
        "12 F.silu",
        "12 F.elu",
        "13 torch.einsum",
        "13 torch.linalg.norm",
        "13 x.view",
        "16 torch.no_grad",
    ];
    assert_eq!(ops(text), expected);
}

#[test]
fn a_name_that_the_method_gives_is_not_the_imported_one() {
    let text = "from torch import cat\nclass Net:\n    def forward(self, cat, x):\n        return cat(x)\n";
    assert_eq!(ops(text), Vec::<String>::new());
}

#[test]
fn methods_of_tensors_are_told_from_guesses() {
    assert_eq!(forward("x", "return x.view(1)"), ["1 x.view?"]);
    assert_eq!(forward("x: torch.Tensor", "return x.view(1).permute(0)"), ["1 x.permute", "1 x.view"]);
    assert_eq!(forward("x: Optional[Tensor] = None", "return x.mean()"), ["1 x.mean"]);
    assert_eq!(
        forward("x", "y = F.relu(x)\nz = y\nreturn z[0].sum() + (y > 0).any()"),
        ["1 F.relu", "3 torch.add", "3 x.sum", "3 x.any"]
    );
    assert_eq!(
        forward("x", "a, b = torch.chunk(x, 2)\nreturn a.exp(), b.log()"),
        ["1 torch.chunk", "2 x.exp", "2 x.log"]
    );
    assert_eq!(forward("x, c", "y = F.relu(x) if c else x\nreturn y.exp()"), ["1 F.relu", "2 x.exp?"]);
    assert_eq!(forward("xs", "return [x.exp() for x in xs]"), ["1 x.exp?"]);
    assert_eq!(forward("x", "return self.weight.exp(), self.cache.update(x)"), ["1 x.exp?"]);
}

#[test]
fn what_is_no_tensor_has_no_ops() {
    let body = "names = []\nnames.sort()\n'a,b'.split(',')\nlen(x).view()\nself.view(x)\nsuper().view(x)\nx.size(0)\nx.shape\n\
                x.append(1)\nkey.split('.')\nLOG.log(x)\nx.is_contiguous()\n{}.copy_(x)\nself.norm(x)";
    assert_eq!(forward("x, key", body), Vec::<String>::new());
}

#[test]
fn layers_and_buffers_give_tensors() {
    let text = "\
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(1, 2, 3)
        self.memory = nn.LSTM(1, 2)
        self.mine = Mine()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer('mean', torch.zeros(3))
    def forward(self, x):
        self.conv(x).exp()
        self.memory(x).exp()
        self.mine(x).exp()
        self.scale.exp()
        self.mean.exp()
";
    assert_eq!(ops(text), ["11 x.exp", "12 x.exp?", "13 x.exp?", "14 x.exp", "15 x.exp"]);
}

#[test]
fn operators_count_where_a_tensor_is_certain() {
    assert_eq!(forward("x, n", "return (n // 2, n + 1, '%s' % n, n ** 2)"), Vec::<String>::new());
    assert_eq!(forward("a, b", "return a @ b"), ["1 torch.matmul?"]);
    let body = "return (x @ y, 2 ** x, x // 2, x % 2, 1 / x, x - 1)";
    let expected =
        ["1 torch.matmul", "1 torch.pow", "1 torch.floor_divide", "1 torch.remainder", "1 torch.div", "1 torch.sub"];
    assert_eq!(forward("x: Tensor, y", body), expected);
    assert_eq!(forward("x: Tensor, y", "return x.T, y.T, self.T"), ["1 x.T"]);
    assert!(net("class Net:\n    def forward(self, a, b):\n        return a @ b\n").ops[0].operator);
}

#[test]
fn methods_and_functions_that_forward_uses_are_read() {
    let text = "\
import torch
def pad(x): return torch.roll(x, 1)
def unused(x): return torch.exp(x)
def act(x): return torch.tanh(x)
class Base:
    def forward(self, x): return self.head(torch.abs(pad(x)))
    def head(self, x): return torch.sin(x)
class Net(Base):
    def forward(self, x): return super().forward(x, kernel=act)
    def head(self, x): return torch.cos(x)
    def loss(self, x): return torch.log(x)
";
    assert_eq!(ops(text), ["4 torch.tanh", "10 torch.cos", "2 torch.roll", "6 torch.abs"]);
}

#[test]
fn a_name_told_over_many_lines_stays_certain() {
    let body = format!("x = torch.exp(x)\n{}return x.log()", "x = x + 1\n".repeat(300));
    assert_eq!(forward("x", &body).last().unwrap(), "302 x.log");
}

#[test]
fn hostile_text_ends() {
    let deep = format!("return {}x{}", "(".repeat(10_000), ").exp()".repeat(10_000));
    assert!(forward("x", &deep).len() <= 5_000);
    let wide: String = (0..3_000).map(|at| format!("y{at} = y{} + y{}\n", at / 2, at / 3)).collect();
    let loops = format!("while x:\n    a, b = b @ a, a @ b\n{wide}return a.exp()");
    assert!(!forward("a, b, y0", &loops).is_empty());
}

mod reported {
    use crate::common::{json, run};

    #[test]
    fn the_demo_lists_its_ops() {
        let report = json(&run(&["inspect", "demo", "--format", "json"]));
        let ops = report["ops"].as_array().unwrap();
        let op = |name: &str| ops.iter().find(|op| op["torch"] == name).unwrap_or_else(|| panic!("no {name}"));
        let cat = op("torch.cat");
        assert_eq!((cat["mlx"].as_str(), cat["status"].as_str()), (Some("mx.concatenate"), Some("direct")));
        assert_eq!((cat["count"].as_u64(), cat["guess"].as_bool()), (Some(1), Some(false)));
        assert_eq!(cat["renames"]["dim"], "axis");
        assert_eq!(cat["places"][0]["file"], "demo/scene.py");
        // Two blocks of one class: each place counts twice and is listed once.
        let add = op("torch.add");
        assert_eq!((add["count"].as_u64(), add["places"].as_array().unwrap().len()), (Some(2), 1));
        let transpose = op("x.transpose");
        assert!(transpose["status"] == "trap" && transpose["trap"].as_str().unwrap().contains("reverses"));
        let largest = op("x.amax");
        assert_eq!((largest["status"].as_str(), largest["mlx"].as_str()), (Some("direct"), Some("mx.max")));
        assert_eq!(largest["guess"], true);
        let module = |path: &str| report["modules"].as_array().unwrap().iter().find(|at| at["path"] == path).unwrap();
        let counts = &module("picture")["ops"];
        assert_eq!(
            (counts["direct"].as_u64(), counts["renames"].as_u64(), counts["trap"].as_u64()),
            (Some(3), Some(1), Some(0))
        );
        assert!(module("picture.stem").get("ops").is_none() && module("sound")["ops"]["guesses"].as_u64() > Some(0));
        assert_eq!(module("picture")["source"]["trust"], "it came with the weights");
        let ranks: Vec<&str> = ops.iter().map(|op| op["status"].as_str().unwrap()).collect();
        let mut sorted = ranks.clone();
        sorted.sort_by_key(|status| {
            ["none", "unknown", "trap", "axis", "recipe", "direct"].iter().position(|rank| rank == status)
        });
        assert_eq!(ranks, sorted);
    }

    #[test]
    fn text_and_markdown_list_them_too() {
        let text = String::from_utf8(run(&["inspect", "demo"]).stdout).unwrap();
        assert!(text.contains("ops in the forwards: 4 trap, 1 axis, 1 recipe, 13 direct, "), "{text}");
        assert!(
            text.contains("direct       torch.cat → mx.concatenate ×1") && text.contains("x.transpose? → mx.swapaxes")
        );
        let markdown = String::from_utf8(run(&["inspect", "demo", "--format", "md"]).stdout).unwrap();
        assert!(markdown.contains("| `torch.cat` | `mx.concatenate` | direct | 1 | dim → axis |"), "{markdown}");
    }
}
