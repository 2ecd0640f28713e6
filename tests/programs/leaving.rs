//! Leaving, writing and configuring in a pseudo-terminal. No engine is needed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::common::pty::Terminal;
use crate::common::{program, stderr};

const NOWHERE: [(&str, &str); 2] = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program that never says anything, as an engine.
fn silent(folder: &Path) -> PathBuf {
    let path = folder.join("silent");
    std::fs::write(&path, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn demo(environment: &[(&str, &str)]) -> Terminal {
    let terminal = Terminal::start(&["demo"], environment, 140, 40);
    terminal.wait_for("Scene");
    terminal
}

#[test]
fn q_asks_while_layers_run() {
    let folder = tempfile::tempdir().unwrap();
    let engine = silent(folder.path());
    let engine = engine.to_str().unwrap();
    let environment = [("T2M_TORCH", engine), ("T2M_MLX", engine)];
    let mut terminal = demo(&environment);
    terminal.send("a");
    terminal.wait_for("running 0/");
    terminal.send("q");
    terminal.wait_for("Layers are being measured");
    terminal.send("n");
    terminal.wait("the question to go", |screen| !screen.contains("Layers are being measured"));
    terminal.send("q");
    terminal.wait_for("y or q leaves, esc or n stays");
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    // ctrl-c asks nothing.
    let mut terminal = demo(&environment);
    terminal.send("a");
    terminal.wait_for("running 0/");
    terminal.send("\x03");
    assert_eq!(terminal.wait_end().exit_code(), 130);
}

#[test]
fn a_conversion_asks_for_its_path_and_before_it_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("of mine.safetensors");
    let mut terminal = demo(&NOWHERE);
    terminal.send("c");
    terminal.wait_for("demo.mlx.safetensors: ");
    // `c enter q q` leaves nothing behind and does not leave: the letters are typed.
    terminal.send("\r");
    let asked = terminal.wait_for("Where to, and under which name?");
    let line = asked.lines().find(|line| line.contains(" > ")).unwrap();
    assert!(line.contains("> /") && line.contains("/demo.mlx.safetensors"), "the folder is shown: {asked}");
    terminal.send("qq");
    terminal.wait_for("safetensorsqq");
    terminal.send("\x15");
    terminal.wait("the line to be empty", |screen| !screen.contains("safetensorsqq"));
    terminal.send(&format!("{}\r", target.display()));
    terminal.wait_for("is written, and every tensor read back");
    assert!(target.is_file());
    let written = std::fs::metadata(&target).unwrap().len();
    std::fs::write(&target, "mine").unwrap();
    terminal.send("\r");
    terminal.wait_for("Where to");
    terminal.send(&format!("\x15{}\r", target.display()));
    terminal.wait_for("is there already: 4 B");
    terminal.send("n");
    terminal.wait_for("Where to");
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    terminal.send("\r");
    terminal.wait_for("is there already: 4 B");
    terminal.send("y");
    terminal.wait_for("is written, and every tensor read back");
    assert_eq!(std::fs::metadata(&target).unwrap().len(), written);
    terminal.send("qq");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

/// The settings of a terminal that nobody has touched.
fn untouched() -> String {
    let mut terminal = Terminal::start_program(Path::new("/bin/sh"), &["-c", "exit 0"], &[], 140, 40);
    terminal.wait_end();
    terminal.settings()
}

#[test]
fn the_terminal_has_the_same_settings_after_each_way_to_end() {
    let before = untouched();
    type Way<'a> = (&'a str, &'a dyn Fn(&mut Terminal));
    let ways: [Way<'_>; 5] = [
        ("q", &|terminal| terminal.send("q")),
        ("ctrl-c", &|terminal| terminal.send("\x03")),
        ("SIGTERM", &|terminal| terminal.signal("TERM")),
        ("SIGHUP", &|terminal| terminal.signal("HUP")),
        ("ctrl-z, fg, q", &|terminal| {
            terminal.send("\x1a");
            terminal.wait_stopped();
            assert_eq!(terminal.settings(), before, "while it is stopped");
            terminal.signal("CONT");
            terminal.wait_for("Scene");
            terminal.send("q");
        }),
    ];
    for (name, end) in ways {
        let mut terminal = demo(&NOWHERE);
        assert_ne!(terminal.settings(), before, "it is raw meanwhile");
        end(&mut terminal);
        terminal.wait_end();
        assert_eq!(terminal.settings(), before, "{name}");
    }
    let mut terminal = Terminal::start_program(
        Path::new(env!("CARGO_BIN_EXE_panicking-screen")),
        &[],
        &[("RUST_BACKTRACE", "0")],
        140,
        40,
    );
    terminal.wait_end();
    assert_eq!(terminal.settings(), before, "a panic");
}

#[test]
fn keys_and_theme_of_the_users_file_hold_on_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "theme = \"light\"\n[keys]\nquit = [\"ctrl-q\"]\nopen-help = [\"f1\"]\n").unwrap();
    let config = ("T2M_CONFIG", file.to_str().unwrap());
    let mut terminal = demo(&[NOWHERE[0], NOWHERE[1], config]);
    let screen = terminal.wait_for("f1 help");
    assert!(screen.contains("ctrl-q quit"), "{screen}");
    terminal.wait("the background to be painted", |_| {
        terminal.raw().contains("48;5;231") || terminal.raw().contains("48;2;255;255;255")
    });
    terminal.send("q?");
    terminal.send("\x11");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn the_configuration_is_printed_found_and_its_faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t2m-tui/config.toml");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "seed = 3\ntrials = 2\n[keys]\nrun = [\"f5\"]\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).env("XDG_CONFIG_HOME", folder.path()).envs(NOWHERE).env("T2M_TRIALS", "4");
        command.output().unwrap()
    };
    let printed = run(&["--print-config", "--theme", "light", "--source", "src"]);
    let text = stdout(&printed);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    for (name, from) in [
        ("seed = 3", "config.toml:1"),
        ("trials = 4", "# T2M_TRIALS"),
        ("theme = \"light\"", "# --theme"),
        ("source = [\"src\"]", "# --source"),
        ("run = [\"f5\"]", "config.toml:4"),
        ("quit = [\"q\"]", "# default"),
    ] {
        let row = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(row.ends_with(from), "{row}");
    }
    let doctor = stdout(&run(&["doctor"]));
    assert!(doctor.contains(&format!("configuration\n  {}", file.display())), "{doctor}");
    std::fs::write(&file, "sed = 3\n").unwrap();
    let faulty = run(&["inspect", "demo"]);
    assert_eq!(faulty.status.code(), Some(2));
    let words = format!("{}:1:1: no setting is called \"sed\": did you mean \"seed\"?", file.display());
    assert!(stderr(&faulty).contains(&words), "{}", stderr(&faulty));
    let doctor = run(&["doctor"]);
    assert!(stdout(&doctor).contains(&words) && doctor.status.code() == Some(1), "{}", stdout(&doctor));
    // The manual needs no configuration.
    let manual = run(&["man"]);
    assert!(manual.status.success() && stdout(&manual).contains(".SH KEYS"), "{}", stderr(&manual));
}
