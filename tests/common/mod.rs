//! Helpers of the tests that run the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, missing_docs)]

pub mod archive;
pub mod legacy;
pub mod pty;
pub mod sample;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;

/// The program under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_t2m-tui"));
    // What the developer's shell has active must not matter.
    command.env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
    command
}

/// Run it and wait.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// A program of `examples/`, built where a test run for one file alone did not build it.
pub fn example(name: &str) -> PathBuf {
    static BUILD: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILD.lock();
    let here = std::env::current_exe().unwrap();
    let path = here.parent().unwrap().with_file_name("examples").join(name);
    // A test run builds examples with the tests: one that is older than this test's program was left behind.
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let newest = |folder: &Path| {
        let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| changed(&file.path())).max()
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["examples", "src", "src/engine", "src/tui"].map(|folder| newest(&root.join(folder)));
    if changed(&path) < sources.into_iter().max().flatten() {
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--example", name]).status().unwrap();
        assert!(built.success());
    }
    path
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
