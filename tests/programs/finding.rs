//! Finding in a real terminal: the filter's language, the search within it, orders, classes, and back again.

use crate::common::pty::Terminal;

#[test]
fn a_filter_a_search_an_order_the_classes_and_back() {
    let engines = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];
    let mut terminal = Terminal::start(&["demo"], &engines, 140, 40);
    terminal.wait_for("Scene");
    terminal.send("fclass:Conv2d|Linear");
    terminal.wait_for("Show only");
    terminal.send("\x1b");
    terminal.wait("the panel to go", |screen| !screen.contains("Show only"));
    let screen = terminal.wait_for("filter: class:Conv2d|Linear");
    let convolutions = screen.lines().filter(|line| line.contains("Conv2d ")).count();
    assert!(convolutions >= 2 && !screen.contains("BatchNorm2d"), "{screen}");
    terminal.send("/conv\r");
    terminal.wait_for("/conv  1 of ");
    terminal.send("n");
    terminal.wait_for("/conv  2 of ");
    terminal.send("S");
    terminal.wait_for("by parameters");
    terminal.send("C");
    terminal.wait_for("by class, parameters");
    terminal.wait_for("▸ ● Linear ×");
    terminal.send("C");
    terminal.wait("the classes to go", |screen| !screen.contains("by class"));
    terminal.send("SSSS");
    terminal.wait("the tree to come back", |screen| !screen.contains("· by "));
    // Back to before `n`, and to before the search; alt-right goes forward again.
    terminal.send("\x0f");
    terminal.wait_for("/conv  1 of ");
    terminal.send("\x1b[1;3C");
    terminal.wait_for("/conv  2 of ");
    terminal.send("fstatsu:x");
    terminal.wait_for("did you mean status?");
    terminal.send("\x1b");
    terminal.wait("the panel to go", |screen| !screen.contains("Show only"));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}
