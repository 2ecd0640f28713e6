//! What in a class stands in the way of a port: each pattern where it counts, and where it only looks like one.

use crate::common::python::{describe, net};

fn blockers(text: &str) -> Vec<String> {
    net(text).blockers.iter().map(describe).collect()
}

/// Blockers of a forward with this body, by pattern and severity. Each line of the body is a statement.
fn in_forward(parameters: &str, body: &str) -> Vec<String> {
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    let text = format!("import torch\nclass Net:\n    def forward(self, {parameters}):\n{body}");
    net(&text).blockers.iter().map(|blocker| format!("{} {}", blocker.pattern, blocker.severity.name())).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn each_seed_pattern_is_found_with_its_place() {
    let text = "\
import torch
class Swish(torch.autograd.Function):
    pass
class Net(torch.nn.Module):
    def __init__(self):
        self.register_forward_hook(print)
        self.fc.register_full_backward_hook(lambda *a: None)
    def forward(self, x, buffer):
        buffer.copy_(x)
        scale = x.mean().item()
        y = Swish.apply(x)
        y += 1
        return y * scale
";
    insta::assert_debug_snapshot!(blockers(text), @r#"
        [
            "6:9 register_forward_hook breaks: self.register_forward_hook(print)",
            "7:9 register_backward_hook breaks: self.fc.register_full_backward_hook(lambda *a: None)",
            "9:9 .copy_( breaks: buffer.copy_(x)",
            "10:17 .item() breaks: x.mean().item()",
            "11:13 torch.autograd.Function breaks: Swish.apply(x)",
            "12:9 += harmless: y += 1",
        ]
        "#);
}

#[test]
fn words_in_strings_comments_and_other_names_do_not_count() {
    let body = "\
'''x.item() and torch.autograd.Function, x += 1'''
# buffer.copy_(x); x += 1
s = 'x.copy_(y)' + f\"{'.item()'}\"
items = x.items()
item = x.item
first = x.item('key')
copy_(x)
y = x.copy()
register_forward_hook = None
return x";
    assert_eq!(in_forward("x", body), NONE);
}

#[test]
fn hooks_are_looked_for_in_the_whole_class_but_not_in_nested_ones() {
    let text = "\
class Net:
    class Inner:
        def __init__(self):
            self.register_forward_hook(f)
    def attach(self):
        self.a.register_forward_pre_hook(f)
        self.b.register_backward_hook(f)
        self.c.register_full_backward_pre_hook(f)
        register_module_forward_hook(f)
        self.d.register_buffer('hook', f)
    def register_forward_hook(self, hook): ...
    def forward(self, x): return x
";
    let found = blockers(text);
    let places: Vec<&str> = found.iter().filter_map(|line| line.split(" breaks").next()).collect();
    let expected = [
        "6:9 register_forward_hook",
        "7:9 register_backward_hook",
        "8:9 register_backward_hook",
        "9:9 register_forward_hook",
    ];
    assert_eq!(places, expected);
}

#[test]
fn methods_that_forward_uses_are_read_and_others_are_not() {
    let text = "\
class Base:
    def shared(self, x): return x.item()
class Net(Base):
    def unused(self, x): return x.item()
    def inner(self, x): return x.copy_(x)
    def outer(self, x): return self.inner(x)
    def again(self, x): return self.forward(x)
    def forward(self, x):
        return checkpoint(self.outer, x) + self.again(self.shared(x))
";
    let expected = ["2:33 .item() breaks: x.item()", "5:32 .copy_( breaks: x.copy_(x)"];
    assert_eq!(blockers(text), expected);
}

#[test]
fn a_custom_function_is_known_by_any_name() {
    for (header, body) in [
        ("import torch\nclass F(torch.autograd.Function): ...", "F.apply(x)"),
        ("import torch as th\nclass F(th.autograd.Function): ...", "F.apply(x)"),
        ("import torch.autograd as ag\nclass F(ag.Function): ...", "F.apply(x)"),
        ("from torch import autograd\nclass F(autograd.Function): ...", "F.apply(x)"),
        ("from torch.autograd import Function\nclass F(Function): ...", "F.apply(x)"),
        ("from torch.autograd.function import InplaceFunction as I\nclass F(I): ...", "F.apply(x)"),
        ("import torch\nclass G(torch.autograd.Function): ...\nclass F(G): ...", "F.apply(x)"),
        ("import torch\nclass F(torch.autograd.Function): ...\nswish = F.apply", "swish(x)"),
        ("import torch\nclass F(torch.autograd.Function): ...", "F()(x)"),
        ("import torch\nclass F(torch.autograd.Function): ...", "map(F.apply, x)"),
        ("import torch", "torch.autograd.Function.apply(x)"),
    ] {
        let text = format!("{header}\nclass Net:\n    def forward(self, x):\n        return {body}\n");
        let found = net(&text).blockers;
        assert_eq!(
            found.iter().map(|blocker| &*blocker.pattern).collect::<Vec<_>>(),
            ["torch.autograd.Function"],
            "{text}"
        );
    }
    let nested = "\
import torch
class Net:
    class Fn(torch.autograd.Function):
        pass
    def __init__(self):
        self.act = Net.Fn.apply
    def forward(self, x):
        return self.act(x) + self.Fn.apply(x)
";
    assert_eq!(blockers(nested).len(), 2);
    let others = "\
from functions import Function
import torch
class F(Function): ...
class Unused(torch.autograd.Function): ...
class Net:
    def forward(self, x):
        return self.apply(F.apply(x), torch.autograd.variable(x, x))
";
    assert_eq!(blockers(others), NONE);
}

#[test]
fn counters_strings_and_lists_are_not_arrays() {
    for body in [
        "i = 0\ni += 1",
        "idx += 1",
        "i += 1",
        "count = 0\nfor y in x: count += len(y)",
        "total = 0.0\nfor y in x:\n    total += f(y)",
        "total = len(x)\ntotal += n",
        "names = []\nnames += [1]",
        "names += ['a']",
        "out += [x]",
        "out += (x,)",
        "text = 'a'\ntext += f(x)",
        "text += 'a'",
        "outs = ()\nouts += y",
        "self.calls += 1",
        "self.log['loss'] += x",
        "sizes = [0] * 3\nsizes[0] += n",
        "h, w = x.shape[-2:]\nh += w",
        "b, t = x.size()\nt += 1",
        "n = x.shape[0] // 2\nn += k",
        "a, b = 0, 1\na += b",
        "for i, y in enumerate(x): i += 2",
        "for i in range(3): i += k",
        "stats.calls += 1",
        "if (n := len(x)): n += k",
        "pad = max(0, len(x))\npad += k",
        "size = math.ceil(k)\nsize += k",
        "n: int = f()\nn += k",
    ] {
        assert_eq!(in_forward("x, k", body), NONE, "{body}");
    }
    assert_eq!(in_forward("x, i, start=0, *args, flag: int = None", "i += 1\nstart += k\nargs += y\nflag += k"), NONE);
}

#[test]
fn an_array_of_its_own_is_added_to_alike_in_both() {
    for body in [
        "x += y",
        "x += 1",
        "x = x.view(1, -1)\nx += y",
        "out = self.conv(x)\nout += x",
        "identity = x\nx += y\nreturn identity",
        "total_loss = self.f(x)\ntotal_loss += y",
        "count = self.f(x)\ncount += y",
        "q = self.proj(x).view(2, -1)\nq += y",
        "x[0] += y",
        "x[:, 1:] += 1",
        "self.state += y",
        "v = x[0]\nv = v + 1\nv += y",
        "h = x[0]\nx += y\nreturn x",
        "h = x[0]\nh = self.f(h)\nx += y\nreturn h",
        "outs = [x]\nouts[0] += y",
        "v = self.pairs(x)\nfor a, b in v: a += b",
    ] {
        let found = in_forward("x, y", body);
        if body.starts_with("outs") {
            assert_eq!(found, NONE, "{body}");
        } else {
            assert_eq!(found, ["+= harmless"], "{body}");
        }
    }
}

#[test]
fn adding_through_a_view_differs() {
    for body in [
        "v = x[0]\nv += 1",
        "v = x.view(-1)\nv += y",
        "v = x.transpose(0, 1).reshape(4)\nv += y",
        "v = torch.flatten(x)\nv += y",
        "a, b = x.chunk(2)\na += b",
        "v = x[0]\nw = v\nw += y",
        "h = x[:, 0]\nx += y\nreturn h",
        "h = x[:, 0]\nx[0] += y\nreturn h",
        "o = x\nh = o[0]\nx += y\nreturn h",
        "x[0][1] += y",
        "v = x[0]\nv[1] += y",
        "x.data += y",
        "v = x.T\nv += y",
        "v = x[0] if y else x[1]\nv += 1",
        "for v in x.unbind(0): v += y",
        "v = self.weight[0]\nv += y",
        "if (v := x[0]) is not None: v += 1",
        "v = x[0]\nif y:\n    v = self.f(v)\nv += 1",
        "for i in y:\n    v += 1\n    v = x[i]",
        "def inner():\n    x[0][1] += y\ninner()",
    ] {
        assert_eq!(in_forward("x, y", body), ["+= differs"], "{body}");
    }
}

#[test]
fn attributes_are_judged_by_what_the_class_assigns_to_them() {
    let text = "\
import torch
from torch import nn
class Net(nn.Module):
    steps = 0
    def __init__(self, n):
        self.calls = 0
        self.names = []
        self.size = n
        self.total = torch.zeros(1)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer('seen', torch.zeros(1))
    def forward(self, x):
        self.calls += len(x)
        self.names += x
        self.size += 1
        self.total += 1
        self.seen += 1
        self.scale += 1
        self.size += x
        return x
";
    let found = blockers(text);
    let lines: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(lines, ["16", "17", "18", "19"], "{found:?}");
}

#[test]
fn what_torch2mlx_missed_is_found() {
    for (body, pattern) in [
        ("x -= 1", "-= *= /= harmless"),
        ("x *= 2", "-= *= /= harmless"),
        ("v = x[0]\nv *= 2", "-= *= /= differs"),
        ("x.clamp_(0, 1)", "in-place method breaks"),
        ("x.masked_fill_(y, 0)", "in-place method breaks"),
        ("x.data.fill_(0)", "in-place method breaks"),
        ("n = x.numpy()", ".numpy() breaks"),
        ("n = x.tolist()", ".tolist() breaks"),
    ] {
        assert_eq!(in_forward("x, y", body), [pattern], "{body}");
    }
    assert_eq!(in_forward("x", "x.requires_grad_()\nx.__init__()\nx._()\nn = 2\nn *= 3"), NONE);
}

#[test]
fn methods_of_the_class_are_not_those_of_arrays() {
    let text = "\
class Net:
    def item(self): return 1
    def scale_(self, x): return x.mul_(2)
    def forward(self, x):
        return self.scale_(x) * self.item() + self.state.item()
";
    let expected = ["3:33 in-place method breaks: x.mul_(2)", "5:47 .item() breaks: self.state.item()"];
    assert_eq!(blockers(text), expected);
}

#[test]
fn modern_python_is_read() {
    let text = "\
class Net[T](Base[T], metaclass=Meta):
    @property
    def scale(self): return self.x.item()
    @decorate(lambda self: 0)
    async def forward(self, ñ, /, *, key=None, **rest):
        f = lambda z: z.item()
        async with lock as held:
            match ñ:
                case [a, *_] if (m := a.max().item()) > 0:
                    ñ.copy_(
                        m,
                        key,
                    )
                case _:
                    pass
        return await (ñ
            .mean()
            .item()) * self.scale
";
    insta::assert_debug_snapshot!(blockers(text), @r#"
        [
            "3:29 .item() breaks: self.x.item()",
            "6:23 .item() breaks: z.item()",
            "9:39 .item() breaks: a.max().item()",
            "10:21 .copy_( breaks: ñ.copy_( m, key, )",
            "18:13 .item() breaks: .item()",
        ]
        "#);
}

#[test]
fn syntax_errors_do_not_hide_the_rest() {
    let text = "\
x = = 3
class Net:
    def forward(self, x):
        y = x.item()
        z = (y 3 +)
        y += (((
        x.copy_(y)

class Other:
";
    assert_eq!(blockers(text), ["4:13 .item() breaks: x.item()", "7:9 .copy_( breaks: x.copy_(y)"]);
}

#[test]
fn notebooks_tabs_and_old_line_ends_are_survived() {
    let notebook = "#!/usr/bin/env python\n# coding: utf-8\n# In[1]:\n!pip install torch\n%matplotlib inline\nget_ipython().system('ls')\n\
                    import torch\n\n# In[2]:\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x.item()\n%%time\nnet = Net()\n";
    let expected = "12:16 .item() breaks: x.item()";
    assert_eq!(blockers(notebook), [expected]);
    assert_eq!(blockers(&notebook.replace('\n', "\r\n")), [expected]);
    assert_eq!(blockers(&notebook.replace('\n', "\r")), [expected]);
    assert_eq!(blockers(&notebook.replace("    ", "\t")), ["12:10 .item() breaks: x.item()"]);
    assert_eq!(blockers(&format!("{notebook}def broken(:\n  x = ((\n")), [expected]);
    let python2 = notebook.replace("return x", "print 'a', x\n        return x");
    assert_eq!(blockers(&python2), ["13:16 .item() breaks: x.item()"]);
}

#[test]
fn numbers_that_were_made_arrays_are_read_anywhere() {
    let text = "\
import torch
class Net(torch.nn.Module):
    def forward(self, x, sizes: list[int]):
        a = -torch.log2(torch.tensor(sizes[0], dtype=torch.float32)).item()
        b = 2 ** float(torch.tensor(a).log2().round())
        c = torch.clamp(torch.tensor(0.5), 0, 1).item()
        d = torch.tensor(x.sum()).item()
        e = torch.log2(x.sum()).item()
        f = float(torch.tensor(a) * x.max())
        g = torch.maximum(torch.tensor(a), x.sum()).item()
        return x * a
";
    let found: Vec<String> =
        blockers(text).into_iter().filter(|it| it.contains("item()") || it.contains("int()")).collect();
    let lines: Vec<&str> = found.iter().filter_map(|it| it.split(':').next()).collect();
    assert_eq!(lines, ["7", "8", "9", "10"], "{found:?}");
}
