//! Programs that t2m-tui starts, engines and the Python of `--python`: however it ends, nothing of them is left behind, and
//! it waits for nobody who only holds a pipe.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::pty::Terminal;
use crate::common::{assert_gone, is_alive, program, stderr};

/// A program that starts another one, which disobeys and holds its pipes, and writes both numbers to a file; then it does
/// `what`.
struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new(what: &str) -> Script {
        let script = Script { folder: tempfile::tempdir().unwrap() };
        let numbers = script.folder.path().join("numbers");
        let text = format!(
            "#!/bin/sh\n(trap '' TERM HUP INT; while :; do sleep 1; done) &\n\
             echo $$ $! > {0}.new\nmv {0}.new {0}\n{what}\n",
            numbers.display()
        );
        std::fs::write(script.path(), text).unwrap();
        std::fs::set_permissions(script.path(), PermissionsExt::from_mode(0o755)).unwrap();
        script
    }

    /// It answers nothing.
    fn hanging() -> Script {
        Script::new("while :; do sleep 1; done")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// The numbers of both processes, once they run.
    fn numbers(&self) -> [String; 2] {
        let begun = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(self.folder.path().join("numbers")) {
                let mut numbers = text.split_whitespace().map(str::to_owned);
                return [numbers.next().unwrap(), numbers.next().unwrap()];
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it was never started");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn assert_gone(&self) {
        self.numbers().iter().for_each(|number| assert_gone(number));
    }
}

fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap().success());
}

/// Start t2m-tui, wait until it has started the script, end it by the signal, and look for what is left.
fn assert_nothing_is_left(mut command: Command, script: &Script, name: &str) {
    let mut running = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(script.numbers().iter().all(|number| is_alive(number)), "they run until then");
    signal(name, running.id());
    let code = running.wait().unwrap().code();
    assert_eq!(code, if matches!(name, "KILL" | "ABRT") { None } else { Some(130) }, "{name}");
    script.assert_gone();
}

/// At the same time, as each has to wait for its script. All scripts are written before the first one starts: a file
/// that a new process still has open for writing can't be executed.
fn for_each_signal<const COUNT: usize>(names: [&str; COUNT], test: impl Fn(&str, &Script) + Sync) {
    let scripts = names.map(|name| (name, Script::hanging()));
    thread::scope(|scope| {
        for (name, script) in &scripts {
            let test = &test;
            scope.spawn(move || test(name, script));
        }
    });
}

#[test]
fn an_engine_and_what_it_has_started_end_with_the_program() {
    for_each_signal(["INT", "TERM", "HUP", "KILL", "ABRT"], |name, script| {
        let mut command = program();
        command.arg("doctor").env("T2M_TORCH", script.path()).env("T2M_MLX", "/nowhere/t2m-mlx");
        assert_nothing_is_left(command, script, name);
    });
}

#[test]
fn a_python_and_what_it_has_started_end_with_the_program() {
    for_each_signal(["INT", "TERM", "HUP", "KILL"], |name, script| {
        let mut command = program();
        command.args(["inspect", "demo", "--python", &script.text()]);
        assert_nothing_is_left(command, script, name);
    });
}

#[test]
fn a_python_that_leaves_a_child_with_its_output_has_answered() {
    let script = Script::new("echo '[\"/\"]'");
    let output = program().args(["inspect", "demo", "--python", &script.text()]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    script.assert_gone();
}

#[test]
fn a_python_that_fails_is_quoted_and_leaves_nothing() {
    let script = Script::new("echo 'no such \u{1b}[31mmodule' >&2\nexit 3");
    let output = program().args(["inspect", "demo", "--python", &script.text()]).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("exit status: 3: no such \\u{1b}[31mmodule"), "{}", stderr(&output));
    script.assert_gone();
}

#[test]
fn a_python_without_an_end_to_its_answer_is_refused() {
    let script = Script::new("exec cat /dev/zero");
    let output = program().args(["inspect", "demo", "--python", &script.text()]).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("it wrote more than 1048576 bytes"), "{}", stderr(&output));
    script.assert_gone();
}

/// The screen, with a run that waits for an engine, ended by what `end` does.
fn assert_screen_leaves_nothing(end: impl FnOnce(&mut Terminal)) {
    let script = Script::hanging();
    let environment = [("T2M_TORCH", script.text()), ("T2M_MLX", "/nowhere/t2m-mlx".to_owned())];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut terminal = Terminal::start(&["demo"], &environment, 140, 40);
    terminal.wait_for("Scene");
    terminal.send("/head\r");
    terminal.send(" ");
    assert!(script.numbers().iter().all(|number| is_alive(number)), "they run until then");
    end(&mut terminal);
    terminal.wait_end();
    script.assert_gone();
}

#[test]
fn the_screen_leaves_no_engine_however_it_ends() {
    for name in ["INT", "TERM", "HUP", "KILL"] {
        assert_screen_leaves_nothing(|terminal| terminal.signal(name));
    }
    for key in ["qy", "\x03"] {
        assert_screen_leaves_nothing(|terminal| terminal.send(key));
    }
}
