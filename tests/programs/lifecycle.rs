//! The screen in a pseudo-terminal: it comes, it goes, and the terminal is as it was. No engine is needed.

use std::path::Path;

use crate::common::file;
use crate::common::pty::Terminal;

/// What leaves raw mode recognisable in stty's output.
fn cooked(terminal: &Terminal) -> bool {
    let settings = terminal.settings();
    let has = |flag: &str| settings.split_whitespace().any(|word| word.trim_end_matches(';') == flag);
    has("icanon") && has("echo") && has("isig")
}

/// Whatever ends the program, these have been taken back.
fn assert_restored(terminal: &Terminal) {
    assert!(!terminal.is_alternate(), "the alternate screen is still there");
    let raw = terminal.raw();
    let last = |sequence: &str| raw.rfind(sequence);
    assert!(last("\x1b[?25h") > last("\x1b[?25l"), "the cursor is still hidden");
    assert!(last("\x1b[?1000l") >= last("\x1b[?1000h"), "the mouse is still captured");
    assert!(last("\x1b[?2004l") > last("\x1b[?2004h"), "pasting is still bracketed");
    assert!(cooked(terminal), "the terminal is still raw: {}", terminal.settings());
    let (before, now) = terminal.settings_before_and_now();
    assert_eq!(now, before, "every setting is what it was: {}", terminal.settings());
}

fn start(arguments: &[&str]) -> Terminal {
    let terminal =
        Terminal::start(arguments, &[("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")], 140, 40);
    terminal.wait_for("Scene");
    assert!(terminal.is_alternate());
    terminal
}

#[test]
fn q_quits_and_restores() {
    let mut terminal = start(&["demo"]);
    assert!(!cooked(&terminal));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    assert_restored(&terminal);
}

#[test]
fn the_tree_and_the_source_of_the_demo_are_shown() {
    let terminal = start(&["demo"]);
    terminal.wait_for("torch-zip");
    terminal.wait_for("picture");
    terminal.wait_for("demo/scene.py");
    terminal.wait_for("def forward(self, image, wave, words)");
}

#[test]
fn a_missing_engine_becomes_a_line_and_the_screen_goes_on() {
    let mut terminal = start(&["demo"]);
    terminal.send("/head\r");
    terminal.send(" ");
    terminal.wait_for("· no engine");
    let screen = terminal.wait_for("mlx is down: ");
    assert!(
        !screen.contains("failed") && screen.contains("libtorch is down: ") && screen.contains("! engine"),
        "{screen}"
    );
    terminal.wait_for("/nowhere/t2m-");
    terminal.send("?");
    terminal.wait_for("Help");
    terminal.send("?");
    terminal.wait("the help to go", |screen| !screen.contains("Help"));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    assert_restored(&terminal);
}

#[test]
fn another_dict_of_the_file_is_opened_by_its_key() {
    let engines = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];
    let mut terminal =
        Terminal::start(&[concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/files/gan.pt")], &engines, 140, 40);
    terminal.wait_for("196 parameters");
    terminal.send("o");
    terminal.wait_for("Which dict is the model");
    terminal.send("jj\r");
    terminal.wait_for("86 parameters");
    // The list says which it is, and leads to another one.
    terminal.send("o");
    terminal.wait("the mark", |screen| screen.lines().any(|line| line.contains("g_ema") && line.contains("is shown")));
    terminal.send("k\r");
    terminal.wait_for("16 parameters");
    terminal.send("o");
    terminal.wait("the mark", |screen| screen.lines().any(|line| line.contains("d  is shown")));
    terminal.send("qq");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    assert_restored(&terminal);
    // A file of one dict says so.
    let mut terminal = start(&["demo"]);
    terminal.send("o");
    terminal.wait_for("The file has no other dict with weights.");
    terminal.send("oq");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn signals_restore() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut terminal = start(&["demo"]);
        terminal.signal(signal);
        let status = terminal.wait_end();
        assert_eq!(status.exit_code(), 130, "{signal}");
        assert_restored(&terminal);
        // In a panel in which text is typed, too.
        let mut terminal = start(&["demo"]);
        terminal.send("M");
        terminal.wait_for("Mark and note of");
        terminal.send("a word");
        terminal.signal(signal);
        assert_eq!(terminal.wait_end().exit_code(), 130, "{signal}");
        assert_restored(&terminal);
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    // A backtrace, where the developer's shell asks for one, would push the message off the screen.
    let environment = [("RUST_BACKTRACE", "0")];
    let program = Path::new(env!("CARGO_BIN_EXE_panicking-screen"));
    let mut terminal = Terminal::start_program(program, &[], &environment, 120, 30);
    let status = terminal.wait_end();
    assert!(!status.success());
    assert_restored(&terminal);
    assert!(terminal.text().contains("a panic on the screen's thread"), "{}", terminal.text());
}

#[test]
fn ctrl_z_stops_and_continuing_comes_back() {
    let mut terminal = start(&["demo"]);
    terminal.send("\x1a");
    terminal.wait_stopped();
    assert_restored(&terminal);
    terminal.signal("CONT");
    terminal.wait_for("Scene");
    assert!(terminal.is_alternate());
    assert!(!cooked(&terminal));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    assert_restored(&terminal);
}

#[test]
fn an_opening_that_takes_long_is_shown_and_ended_by_a_key() {
    use std::os::unix::fs::PermissionsExt;
    // A Python that is asked for its path and never answers.
    let (_folder, python) = file("python", b"#!/bin/sh\nexec sleep 600\n");
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    for key in ["q", "\x1b"] {
        let mut terminal = Terminal::start(&["demo", "--python", python.to_str().unwrap()], &[], 100, 30);
        terminal.wait_for("opening demo …");
        terminal.wait_for("looking where source may be");
        terminal.send(key);
        assert_eq!(terminal.wait_end().exit_code(), 0);
        assert_restored(&terminal);
    }
}

#[test]
fn ctrl_c_quits() {
    let mut terminal = start(&["demo"]);
    terminal.send("\x03");
    assert_eq!(terminal.wait_end().exit_code(), 130);
    assert_restored(&terminal);
}

#[test]
fn a_file_that_cannot_be_opened_says_why() {
    let (_folder, path) = file("broken.pt", b"PK\x03\x04 and then nothing of an archive");
    let mut terminal = Terminal::start(&[path.to_str().unwrap()], &[], 120, 30);
    terminal.wait_for("It cannot be opened");
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 2);
    assert_restored(&terminal);
    assert!(terminal.text().contains("broken.pt"), "the reason stays on the terminal: {}", terminal.text());
}

#[test]
fn every_size_is_survived() {
    let mut terminal = start(&["demo"]);
    for (columns, rows) in [(200, 60), (100, 30), (58, 16), (20, 5), (8, 3), (1, 1), (120, 35)] {
        terminal.resize(columns, rows);
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    terminal.wait_for("Scene");
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}
