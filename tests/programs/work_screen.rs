//! The work list and the details of a module in a pseudo-terminal. No engine is needed.

use crate::common::pty::Terminal;

fn start() -> Terminal {
    let engines = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];
    let terminal = Terminal::start(&["demo"], &engines, 140, 44);
    terminal.wait_for("Scene");
    terminal
}

#[test]
fn the_work_list_leads_to_a_forward() {
    let mut terminal = start();
    terminal.send("P");
    let screen = terminal.wait_for("forwards to port, of 8 modules");
    // The longest comes first, and the cursor is at the class of the selected module: the root's.
    assert!(screen.lines().any(|line| line.contains('▌') && line.contains("Scene")), "{screen}");
    terminal.send("g\r");
    let screen = terminal.wait("the list to go", |screen| !screen.contains("forwards to port, of 8 modules"));
    assert!(screen.lines().any(|line| line.contains('▌') && line.contains("│     def forward(self")), "{screen}");
    // To the next module of that class and back.
    terminal.send(".");
    terminal.wait_for(" of 1 × ");
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn the_details_of_a_layer_say_what_its_numbers_are_like() {
    let mut terminal = start();
    terminal.send("/blocks.0.norm1\r");
    terminal.wait("the layer", |screen| screen.lines().any(|line| line.contains('▌') && line.contains("norm1")));
    terminal.send("T");
    terminal.wait_for("Details of picture.blocks.0.norm1");
    terminal.wait_for("→ picture.blocks");
    terminal.send("\r");
    let screen = terminal.wait_for("the highest: ");
    assert!(screen.contains("min ") && screen.contains("no NaN, no infinity") && screen.contains('█'), "{screen}");
    // Of all of them.
    terminal.send("aj");
    terminal.wait("both to be read", |screen| screen.matches('✓').count() >= 2 && screen.contains("the highest: "));
    terminal.send("Tq");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}
