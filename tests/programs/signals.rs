//! SIGINT, SIGTERM and SIGHUP end every subcommand and the screen in the same way, whatever they are in the middle of.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::pty::Stuck;
use crate::common::{assert_gone, finish, program, stderr};

/// After which a run counts as one that never ends: no budget, a net.
const PATIENCE: Duration = Duration::from_secs(60);
const SIGNALS: [&str; 3] = ["INT", "TERM", "HUP"];
const DEMO: &str = "assets/demo/demo.pt";

/// A pipe that takes no byte more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    while writer.write(&[0]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap().success());
}

/// Wait until the process handles SIGTERM by itself, as far as the system tells: before that nothing has begun.
fn wait_until_it_listens(process: u32) {
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        if caught.is_some_and(|signals| signals & 1 << 14 != 0) {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn assert_interrupted(output: &Output, words: &str, what: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(130), "{what}: {:?}: {said}", output.status);
    assert!(said.contains(words), "{what}: {said}");
}

/// Every subcommand, while it hangs on a pipe that nobody reads.
#[test]
fn every_subcommand_ends_with_130_while_nobody_reads_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("o.safetensors");
    let out = out.to_str().unwrap();
    let calls: [&[&str]; 15] = [
        &["demo"],
        &["inspect", "demo"],
        &["inspect", "demo", "--check"],
        &["inspect", "demo", "--format", "json"],
        &["inspect", "demo", "--format", "md"],
        &["verify", "demo"],
        &["verify", "demo", "--format", "json"],
        &["convert", "demo", "--force", "-o", out],
        &["compare", "demo", DEMO],
        &["matrix"],
        &["matrix", "--format", "json"],
        &["doctor"],
        &["doctor", "--format", "json"],
        &["completions", "bash"],
        &["man"],
    ];
    for call in calls {
        for name in SIGNALS {
            let (reader, writer) = full_pipe();
            let mut command = program();
            command.args(call).env("T2M_TORCH", "/nowhere/torch").env("T2M_MLX", "/nowhere/mlx");
            let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
            drop(command);
            wait_until_it_listens(child.id());
            thread::sleep(Duration::from_millis(20));
            signal(name, child.id());
            assert_interrupted(&finish(child, name), "interrupted", &format!("{call:?}, {name}"));
            drop(reader);
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "o.safetensors"), "{left:?}");
}

/// A program in an engine's or a Python's place that goes on after SIGTERM and counts how often it has looked round since.
struct Stubborn(tempfile::TempDir);

impl Stubborn {
    fn new() -> Stubborn {
        let stubborn = Stubborn(tempfile::tempdir().unwrap());
        let text = format!(
            "#!/bin/sh\ncd {}\ntrap 'told=1' TERM HUP INT\n(trap '' TERM HUP INT; while :; do sleep 1; done) &\n\
             echo $$ $! > numbers.new\nmv numbers.new numbers\n\
             while :; do sleep 0.02; [ -z \"$told\" ] || echo >> looks; [ ! -e answer ] || exec echo '[]'; done\n",
            stubborn.0.path().display()
        );
        std::fs::write(stubborn.path(), text).unwrap();
        std::fs::set_permissions(stubborn.path(), PermissionsExt::from_mode(0o755)).unwrap();
        stubborn
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("program")
    }

    /// The numbers of its processes, once they run.
    fn wait(&self, child: &mut Child) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read_to_string(self.0.path().join("numbers")) {
                return text.split_whitespace().map(str::to_owned).collect();
            }
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "it was never started");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn looks(&self) -> usize {
        std::fs::read(self.0.path().join("looks")).map_or(0, |looks| looks.len())
    }
}

/// Looks of a program that disobeys, fifty of them a second. It is given a twentieth of a second.
const LOOKS: usize = 25;

#[test]
fn what_ignores_sigterm_is_gone_at_once() {
    let calls: [(&[&str], &str); 8] = [
        (&["inspect", "demo", "--python", "SCRIPT"], "nothing was left behind"),
        (&["inspect", "demo", "--check", "--python", "SCRIPT"], "nothing was left behind"),
        (&["compare", "demo", DEMO, "--python", "SCRIPT"], "nothing was left behind"),
        (&["convert", "demo", "-o", "/nowhere/o.st", "--python", "SCRIPT"], "nothing was left behind"),
        (&["verify", "demo", "--python", "SCRIPT"], "nothing was left behind"),
        (&["doctor", "--python", "SCRIPT"], "nothing was left behind"),
        (&["doctor"], "nothing was left behind"),
        (&["verify", "demo", "--format", "json"], "interrupted"),
    ];
    let scripts: Vec<Stubborn> = (0..calls.len() * SIGNALS.len()).map(|_| Stubborn::new()).collect();
    let mut scripts = scripts.iter();
    for (call, words) in calls {
        for name in SIGNALS {
            let script = scripts.next().unwrap();
            let mut command = program();
            let path = script.path();
            command.args(call.iter().map(|word| if *word == "SCRIPT" { path.as_os_str() } else { word.as_ref() }));
            command.env("T2M_TORCH", &path).env("T2M_MLX", "/nowhere/mlx");
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let numbers = script.wait(&mut child);
            signal(name, child.id());
            let output = finish(child, name);
            assert_interrupted(&output, words, &format!("{call:?}, {name}"));
            numbers.iter().for_each(|number| assert_gone(number));
            assert!(script.looks() <= LOOKS, "{call:?}, {name}: it looked round {} times", script.looks());
            // On a machine that is very busy the report may have been given up.
            if stderr(&output).contains("interrupted after 0 of") {
                assert!(
                    serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok(),
                    "what there is is printed"
                );
            }
        }
    }
}

#[test]
fn a_process_that_is_to_ignore_sighup_does() {
    let script = Stubborn::new();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(program().get_program());
    command.args(["inspect", "demo", "--python"]).arg(script.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    script.wait(&mut child);
    signal("HUP", child.id());
    thread::sleep(Duration::from_millis(50));
    std::fs::write(script.0.path().join("answer"), "").unwrap();
    let output = finish(child, "HUP");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// The screen hangs on a terminal that takes no byte more.
#[test]
fn the_screen_ends_on_a_terminal_that_nobody_reads() {
    for name in SIGNALS {
        let mut stuck = Stuck::start(&["demo"]);
        wait_until_it_listens(stuck.pid());
        // Until the terminal is full; where it is not yet, the screen ends all the more.
        thread::sleep(Duration::from_secs(1));
        signal(name, stuck.pid());
        assert_eq!(stuck.wait_end(), 130, "{name}");
    }
}

/// A terminal that is closed is an interrupt, whichever of the keyboard, the signal and the next frame tells first.
#[test]
fn a_closed_terminal_is_an_interrupt() {
    for pause in [0, 50, 200, 400, 500, 600, 700, 800] {
        let mut stuck = Stuck::start(&["demo"]);
        wait_until_it_listens(stuck.pid());
        thread::sleep(Duration::from_millis(pause));
        stuck.close();
        assert_eq!(stuck.wait_end(), 130, "after {pause} ms");
    }
}

fn with_stderr(call: &[&str], stderr: impl Into<Stdio>) -> Output {
    let mut command = program();
    command.args(call).env("T2M_TORCH", "/nowhere/torch").env("T2M_MLX", "/nowhere/mlx");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).output().unwrap()
}

/// What is said on standard error is not worth a panic.
#[test]
fn standard_error_may_be_closed_or_full() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    for (call, code) in [
        (&["inspect", "/nowhere.pt"][..], 2),
        (&["inspect", "demo", "--fail-under", "1"], 1),
        (&["verify", "demo", "--layers", "head", "-v"], 1),
        (&["convert", "demo", "-o", "/nowhere/o.st"], 2),
        (&["matrix", "--measured"], 2),
        (&["--nope"], 2),
        (&["inspect", "demo", "--format", "\u{202e}"], 2),
    ] {
        assert_eq!(with_stderr(call, closed.try_clone().unwrap()).status.code(), Some(code), "{call:?}");
        if let Ok(full) = full() {
            assert_eq!(with_stderr(call, full).status.code(), Some(code), "{call:?}");
        }
    }
}

/// Every subcommand with something to print, into what takes nothing.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("o.safetensors");
    let calls: [&[&str]; 14] = [
        &["demo"],
        &["inspect", "demo"],
        &["inspect", "demo", "--check", "--format", "json"],
        &["inspect", "demo", "--format", "md"],
        &["verify", "demo", "--layers", "head"],
        &["verify", "demo", "--layers", "head", "--format", "jsonl"],
        &["convert", "demo", "--force", "-o", out.to_str().unwrap()],
        &["compare", "demo", DEMO],
        &["matrix"],
        &["doctor"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
    ];
    // A file that is open for reading alone is as good as a disk that is full.
    let outputs = [
        std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap(),
        std::fs::File::open(Path::new(DEMO)).unwrap(),
    ];
    for call in calls {
        for output in &outputs {
            let mut command = program();
            command.args(call).env("T2M_TORCH", "/nowhere/torch").env("T2M_MLX", "/nowhere/mlx");
            command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(Stdio::piped());
            let output = command.spawn().unwrap().wait_with_output().unwrap();
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{call:?}: {said}");
            assert!(said.contains("standard output cannot be written"), "{call:?}: {said}");
        }
    }
}

/// Who shares a pipe may have made it non-blocking: what does not fit is waited for.
#[test]
fn a_pipe_that_does_not_block_gets_all_of_it() {
    let whole = program().args(["inspect", "demo", "--format", "json"]).output().unwrap().stdout;
    let (mut reader, writer) = full_pipe();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut command = program();
    command.args(["inspect", "demo", "--format", "json"]).stdout(writer).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    wait_until_it_listens(child.id());
    thread::sleep(Duration::from_millis(100));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    let output = finish(child, "a pipe");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(read.ends_with(&whole), "{} of {} bytes arrived", read.len(), whole.len());
}
