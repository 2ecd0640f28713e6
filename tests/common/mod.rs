//! Helpers of the tests: the program, terminals, and files made on the spot. Each test binary has its own copy of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, missing_docs)]

pub mod archive;
pub mod conversation;
pub mod inference;
pub mod legacy;
pub mod pty;
pub mod python;
pub mod sample;
pub mod server;

use std::path::PathBuf;
use std::process::{Command, Output};

use proptest::sample::Index;
use serde_json::Value;

/// A folder of state that nobody has: what was typed on the developer's screen must not matter.
pub const NO_STATE: &str = "/nowhere/state";

/// The program under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t2m-tui"));
    // What the developer's shell has active must not matter.
    command.env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX").env_remove("COLUMNS");
    command.env("XDG_STATE_HOME", NO_STATE).env("XDG_CONFIG_HOME", NO_STATE).env_remove("T2M_CONFIG");
    command
}

/// Run it and wait.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// The bytes with some of them changed, and perhaps cut off.
pub fn mutated(mut bytes: Vec<u8>, edits: &[(Index, u8)], cut: Option<Index>) -> Vec<u8> {
    for (at, value) in edits {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
    bytes
}

/// Stdout as JSON.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Stderr as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file of that name and content in a fresh folder, which lives as long as the returned guard.
pub fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// Wait for a program's end and take what it has written; fail if it does not end.
pub fn finish(mut child: std::process::Child, what: &str) -> Output {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > until {
            child.kill().unwrap();
            panic!("{what}: does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// Whether a process is there and no zombie.
pub fn is_alive(process: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", process.trim()]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

/// Wait until a process has gone; fail if it does not go.
pub fn assert_gone(process: &str) {
    let begun = std::time::Instant::now();
    while is_alive(process) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "process {process} was left behind");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
