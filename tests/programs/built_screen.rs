//! The screen asks before the user's own Python builds a model. Python is real, torch the stand-in of `tests/fixtures/built`.

use std::path::{Path, PathBuf};

use crate::common::pty::Terminal;
use safetensors::tensor::{Dtype, TensorView};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/built");

/// Weights of `nets.Net(8)`.
fn weights(folder: &Path) -> PathBuf {
    let bytes = vec![0u8; 8 * 75 * 4];
    let views = [("conv.weight", vec![8, 3, 5, 5]), ("conv.bias", vec![8])].map(|(name, shape)| {
        let length = shape.iter().product::<usize>() * 4;
        (name.to_owned(), TensorView::new(Dtype::F32, shape, &bytes[..length]).unwrap())
    });
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

fn start(folder: &Path) -> Terminal {
    let environment = [
        ("T2M_TORCH", "/nowhere/t2m-torch"),
        ("T2M_MLX", "/nowhere/t2m-mlx"),
        ("XDG_CACHE_HOME", folder.to_str().unwrap()),
        ("PYTHONPATH", SOURCE),
    ];
    let terminal = Terminal::start(&[weights(folder).to_str().unwrap()], &environment, 140, 40);
    terminal.wait_for("p asks your own Python");
    terminal
}

#[test]
fn a_yes_builds_and_the_tree_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path());
    terminal.send("jp");
    terminal.wait_for("This runs your code");
    // No, and nothing was run.
    terminal.send("\u{1b}");
    terminal.wait("the question to go", |screen| !screen.contains("This runs your code"));
    assert!(!terminal.text().contains("ReLU"));
    terminal.send("p");
    terminal.wait_for("This runs your code");
    terminal.send("\u{15}nets.Net(8, kernel=3)\r");
    terminal.wait_for("got an unexpected keyword argument");
    // The mistake is mended in place.
    terminal.send(&"\u{7f}".repeat(9));
    terminal.send("stride=3)\t\u{15}python3\r");
    let screen = terminal.wait_for("(2 of 2 tensors fit)");
    assert!(screen.contains("built nets.Net(8, stride=3)"), "{screen}");
    let screen = terminal.wait_for("ReLU");
    assert!(screen.contains("s3") && !screen.contains("This runs your code"), "{screen}");
    // The selection is where it was.
    assert!(screen.lines().any(|line| line.contains('▌') && line.contains("conv")), "{screen}");
    terminal.send("i");
    terminal.wait_for("built by python3");
    terminal.send("i");
    // Asked again, it begins with what was built; with an input its graph is there, too.
    terminal.send("p");
    terminal.wait_for("model    nets.Net(8, stride=3)");
    terminal.send("\t\t1x3x8x8\r");
    terminal.wait("the question to go", |screen| !screen.contains("This runs your code"));
    terminal.send("i");
    terminal.wait_for("graph: 11 nodes");
    terminal.send("iq");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

fn is_alive(process: &str) -> bool {
    let output = std::process::Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[test]
fn one_that_hangs_is_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    // A Python that hangs before it says anything, and a model that does.
    let script = file("python");
    std::fs::write(&script, format!("#!/bin/sh\nsleep 1000 &\necho $$ $! > '{}'\nwait\n", file("first"))).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let model = format!("nets.hangs('{}')", file("second"));
    for (mark, python, model) in [(file("first"), script.as_str(), "nets.Net(8)"), (file("second"), "python3", &model)]
    {
        terminal.send("p");
        terminal.wait_for("This runs your code");
        terminal.send(&format!("\u{15}{model}\t\u{15}{python}\r"));
        terminal.wait_for("that Python builds it");
        terminal.wait("its child", |_| std::fs::read_to_string(&mark).is_ok_and(|text| text.ends_with('\n')));
        // Keys do not wait for it: x ends it.
        terminal.send("x");
        terminal.wait_for("it was cancelled");
        for process in std::fs::read_to_string(&mark).unwrap().split_whitespace() {
            terminal.wait("it to be ended", |_| !is_alive(process));
        }
        terminal.send("\u{1b}");
        terminal.wait("the question to go", |screen| !screen.contains("This runs your code"));
    }
    // It can be asked again.
    terminal.send("p");
    terminal.wait_for("This runs your code");
    terminal.send("\u{15}nets.Net(8)\t\u{15}python3\r");
    terminal.wait_for("(2 of 2 tensors fit)");
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}
