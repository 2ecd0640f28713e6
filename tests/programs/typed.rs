//! Attributes typed on the screen, kept, and there again: in a pseudo-terminal, without engines.

use std::path::Path;

use crate::common::pty::Terminal;
use crate::common::{json, program, stderr};
use serde_json::json;

const LAYERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/assumed/layers.pth");

fn start(state: &Path) -> Terminal {
    let state = state.to_str().unwrap();
    let environment = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx"), ("XDG_STATE_HOME", state)];
    let terminal = Terminal::start(&[LAYERS], &environment, 140, 45);
    terminal.wait_for("stem_norm");
    terminal
}

/// Close the panel, then the program: escape and a letter sent together are another key.
fn leave(mut terminal: Terminal) {
    terminal.send("\x1b");
    terminal.wait("the panel to go", |screen| !screen.contains("Attributes of"));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

fn inspect(state: &Path) -> serde_json::Value {
    let output = program().args(["inspect", LAYERS, "--format", "json"]).env("XDG_STATE_HOME", state).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    let modules = report["modules"].as_array().unwrap().clone();
    modules.into_iter().find(|module| module["path"] == "stem_norm").unwrap()
}

#[test]
fn what_is_typed_on_the_screen_is_there_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(inspect(folder.path())["status"], "incomplete");
    let mut terminal = start(folder.path());
    terminal.send("/stem_norm\r");
    terminal.wait_for("eps?");
    terminal.send("s");
    terminal.wait_for("Attributes of stem_norm");
    terminal.send("eps=");
    // A slip is shown where it is, and mended.
    terminal.send("1e-\r");
    terminal.wait_for("^ a number, a text");
    terminal.send("3\r");
    terminal.wait("the attribute to be known", |screen| {
        screen.lines().any(|line| line.contains("eps ") && line.contains("1e-3") && line.contains("typed"))
    });
    terminal.wait("the layer to be complete", |screen| {
        screen.lines().any(|line| line.contains("stem_norm") && line.contains("direct"))
    });
    leave(terminal);

    // Every front end has it.
    let norm = inspect(folder.path());
    assert_eq!((&norm["status"], &norm["told_by"]), (&json!("direct"), &json!({"eps": "typed"})));
    let mut terminal = start(folder.path());
    terminal.wait("what was typed to be there", |screen| {
        screen.lines().any(|line| line.contains("stem_norm") && line.contains("direct"))
    });
    // Forgotten it is gone, and so is the file in which it was kept.
    terminal.send("/stem_norm\rs");
    terminal.wait_for("Attributes of stem_norm");
    for _ in 0..8 {
        let screen = terminal.text();
        if screen.lines().any(|line| line.contains("▌eps ")) {
            break;
        }
        terminal.send("\x1b[B");
        terminal.wait("the cursor to move", |now| now != screen);
    }
    terminal.send("\x18");
    terminal.wait_for("forgotten: eps=0.001 of stem_norm");
    terminal.wait_for("not known; tries");
    leave(terminal);
    assert_eq!(inspect(folder.path())["status"], "incomplete");
    let kept = folder.path().join("t2m-tui/sessions");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0);
}

#[test]
fn what_was_kept_and_is_damaged_is_set_aside_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path());
    terminal.send("/stem_norm\rs");
    terminal.wait_for("Attributes of stem_norm");
    terminal.send("eps=1e-3\r");
    terminal.wait_for("typed");
    leave(terminal);
    let kept = folder.path().join("t2m-tui/sessions");
    let file = std::fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "{").unwrap();
    let output = program().args(["inspect", LAYERS]).env("XDG_STATE_HOME", folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("warning: What was typed, measured and noted before is lost") && text.contains(".damaged"),
        "{text}"
    );
    assert!(!file.exists());
}
