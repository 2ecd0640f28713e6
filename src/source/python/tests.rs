//! What is found in files.

#![allow(clippy::unwrap_used)]

use super::super::syntax::statement_start;
use super::*;

fn module(text: &str) -> Module {
    Module::parse(text.into()).unwrap()
}

#[test]
fn definitions_that_run_last_are_taken() {
    let module = module(
        "class A: ...\nclass A: ...\nif x:\n    class A: ...\n    class B: ...\nelse:\n    class B: ...\n\
         def make():\n    class C:\n        class D: ...\n",
    );
    let line = |name: &str| module.class(name).map(|class| class.node.start_position().row + 1);
    assert_eq!([line("A"), line("B"), line("make.<locals>.C.D"), line("C")], [Some(2), Some(5), Some(10), None]);
}

#[test]
fn lines_of_a_method_begin_with_its_decorators() {
    let module = module(
        "class A:\n    @one\n    @two(\n    )\n    def f(self):\n        return (\n            1)\n\n    def g(self): pass",
    );
    let class = module.class("A").unwrap();
    let lines = |name: &str| class.method(name).map(|method| method.lines());
    assert_eq!([lines("f"), lines("g"), lines("h")], [Some(2..8), Some(9..10), None]);
}

#[test]
fn imports_are_resolved() {
    let module =
        module("import torch.nn as nn\nimport a.b\nfrom torch import autograd as ag, nn as n2\nfrom .ops import f\n");
    let resolved = ["nn.Linear", "a.b.c", "ag.Function", "n2", "f", "other.x"].map(|name| module.resolve(name));
    assert_eq!(resolved, ["torch.nn.Linear", "a.b.c", "torch.autograd.Function", "torch.nn", ".ops.f", "other.x"]);
}

#[test]
fn mentions_name_children_by_path() {
    let module = module(
        "class A:\n    def f(this, x):\n        y = this.conv(x) + this.conv(x) + self.no\n\
         \x20       for block in this.blocks[1:]: y = block(this.layers[this.at].norm)\n\
         \x20       return this.enc.layers[0].norm(y, this.heads['cls'], this.proj.weight, x.this.no)\n\
         \x20       return this.attention(y)[0].sum(1)\n",
    );
    let function = module.class("A").unwrap().method("f").unwrap().node;
    let mentions = module.mentions(function);
    let mentions: Vec<(usize, &str)> = mentions.iter().map(|(line, name)| (*line, name.as_str())).collect();
    let expected = [
        (3, "conv"),
        (4, "blocks"),
        (4, "layers"),
        (4, "at"),
        (5, "enc"),
        (5, "enc.layers.0.norm"),
        (5, "heads"),
        (5, "heads.cls"),
        (5, "proj"),
        (5, "proj.weight"),
        (6, "attention"),
    ];
    assert_eq!(mentions, expected);
}

#[test]
fn a_statement_of_the_file_begins_above_its_lines() {
    let text = "x = 1\n\nclass A:\n    \"\"\"a\nb\n\"\"\"\n    y = 2\n# c\nz = (\n0)\n";
    let starts: Vec<Option<usize>> = (1..12).map(|line| statement_start(text, line)).collect();
    let expected = [None, Some(1), Some(3), Some(3), Some(3), Some(3), Some(3), Some(3), Some(9), Some(9), Some(9)];
    assert_eq!(starts, expected);
    assert_eq!(statement_start("x = (\nclass A:\n  y = 1\n", 3), None);
}
