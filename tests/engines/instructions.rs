//! Instructions of whole runs, counted by valgrind: no other work on the machine reaches them. The program is the release build that
//! stands beside the engines; without it, or without valgrind, there is nothing to count.
//!
//! Growth is measured between two sizes, so that what the program always does does not count. A budget is what was counted and
//! 15 %: another compiler or C library gives a few hundredths more or less.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::generate::{self, Kind};

const FEW: usize = 2_000;
const MANY: usize = 3 * FEW;

/// The program, if there is one and it can be counted.
fn program() -> Option<PathBuf> {
    let found = PathBuf::from(std::env::var_os("T2M_TORCH")?).with_file_name("t2m-tui");
    let counts = Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success());
    Some(found).filter(|found| found.is_file() && counts && cfg!(target_os = "linux"))
}

/// Instructions of a run.
fn instructions(program: &Path, folder: &Path, arguments: &[&str]) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments);
    command.envs(["XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"].map(|name| (name, folder)));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :")).unwrap_or_else(|| panic!("{said}"));
    line.1.trim().parse().unwrap()
}

#[test]
fn a_tensor_adds_no_more_instructions_than_its_budget() {
    let Some(program) = program() else {
        eprintln!("not counted: there is no valgrind, or no release build beside T2M_TORCH");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let mut over = Vec::new();
    for (kind, [text, json, convert]) in [("safetensors", [21_000, 44_000, 60_000]), ("pt", [26_500, 49_000, 76_000])] {
        let [few, many] = [FEW, MANY].map(|count| {
            let file = path(&format!("{count}.{kind}"));
            let write = if kind == "pt" { generate::torch } else { generate::safetensors };
            write(Path::new(&file), &generate::blocks(count), Kind::Float32);
            let out = path("out.safetensors");
            let runs: [&[&str]; 3] = [
                &["inspect", &file],
                &["inspect", "--format", "json", &file],
                &["convert", "--force", &file, "-o", &out],
            ];
            runs.map(|run| instructions(&program, folder.path(), run))
        });
        for (at, (what, budget)) in [("text", text), ("JSON", json), ("convert", convert)].into_iter().enumerate() {
            let each = many[at].saturating_sub(few[at]) / (MANY - FEW) as u64;
            println!("{kind} {what}: {} and {} instructions, {each} for each tensor of {budget}", few[at], many[at]);
            if each > budget {
                over.push(format!("{kind} {what}: {each} instructions for each tensor, {budget} are its budget"));
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}
