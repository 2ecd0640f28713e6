//! Source that would take memory by what it says and not by how long it is.

use crate::{alone, memory};
use t2m_tui::source::Sources;
use t2m_tui::source::budget::HEAP;
use t2m_tui::source::constructors::{self, Root};

/// A class with this body of `__init__` and this of `forward`.
fn net(init: &str, forward: &str) -> String {
    format!(
        "import torch\nimport torch.nn as nn\nclass Net(nn.Module):\n    def __init__(self):\n        {init}\n\n    def forward(self, x):\n        {forward}\n"
    )
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<String>>().join("\n        ")
}

#[test]
fn what_would_take_too_much_memory_is_left_out() {
    let _alone = alone();
    let doubled = lines(60, |at| format!("a{} = [a{at}, a{at}]", at + 1));
    let nested = lines(5_000, |at| format!("a{} = [a{at}]", at + 1));
    let grown = lines(60, |at| format!("a.b{at} = a"));
    let long_name = "a".repeat(900);
    let names = (0..20_000).map(|at| format!("b{at}")).collect::<Vec<String>>().join(", ");
    let deep: String = (1..600).map(|at| format!("{}class B:\n", " ".repeat(at))).collect();
    let cases = [
        net(&format!("a0 = [1, 2]\n        {doubled}"), "return x"),
        net(&format!("a0 = 1\n        {nested}"), "return x"),
        net(&grown, "return x"),
        format!("from {long_name} import {names}\n{}", net("pass", "return x.item()")),
        format!("class {}:\n{deep}{}pass\n{}", "A".repeat(100_000), " ".repeat(600), net("pass", "return x.item()")),
    ];
    for text in cases {
        let ((), peak) = memory::peak_of(|| {
            let mut sources = Sources::default();
            sources.add_text("net", "net.py", "a test", &text);
            assert!(sources.class("net.Net").is_some());
            assert!(constructors::modules(&sources, &Root { class: "net.Net", ..Root::default() }).is_some());
        });
        assert!(peak < 64 << 20, "{peak} bytes for {} of text", text.len());
    }
}

/// The parser's own memory is counted with the rest: a megabyte of signs takes it hundreds of bytes for each.
#[test]
fn what_the_parser_holds_is_bounded() {
    let _alone = alone();
    let length = 1 << 20;
    let texts =
        ["a*", "-a", "~", "(", "a;", "a,", "x.a()", "a<", "[", "lambda:", "not ", "a[0]", "f(", "{", "''", "$ "];
    for sign in texts {
        let text = net("pass", &format!("return {}x", sign.repeat(length / sign.len())));
        let (sources, peak) = memory::peak_of(|| {
            let mut sources = Sources::default();
            sources.add_text("net", "net.py", "a test", &text);
            let _ = sources.class("net.Net");
            sources
        });
        let (told, held) = (sources.budget().warnings(), sources.budget().held());
        println!("{sign:>8}: {} MiB at most, {} MiB kept, {} warnings", peak >> 20, held >> 20, told.len());
        assert!(peak < memory::bound(text.len()), "{sign}: {peak} bytes");
        assert!(held > 0 || told.first().is_some_and(|told| told.contains("net.py")), "{sign}: {told:?}");
    }
    // Many files take no more than one.
    let text = net("pass", &format!("return {}x", "~".repeat(100_000)));
    let (sources, peak) = memory::peak_of(|| {
        let mut sources = Sources::default();
        for file in 0..20 {
            sources.add_text(&format!("net{file}"), &format!("net{file}.py"), "a test", &text);
            let _ = sources.class(&format!("net{file}.Net"));
        }
        sources
    });
    let (told, held) = (sources.budget().warnings(), sources.budget().held());
    assert!(
        held <= HEAP
            && told.iter().any(|told| told.contains("too much memory") && told.contains("net4.py and 15 more")),
        "{held} {told:?}"
    );
    assert!(peak < memory::bound(20 * text.len()), "{peak} bytes");
}
