//! The screen with both real engines, in a pseudo-terminal: T2M_TORCH and T2M_MLX name them.

use crate::common::pty::Terminal;

/// Find a module, and wait until it is selected: the title of the live pane names it.
fn select(terminal: &mut Terminal, name: &str, title: &str) {
    terminal.send(&format!("/{name}\r"));
    terminal.wait_for(title);
}

/// Whether a verdict is shown that passes. A short convolution is exact where both libraries add up its products in one order.
fn passes(screen: &str) -> bool {
    screen.contains("✓ ok") || screen.contains("= exact")
}

/// The demo, after a layer was measured: both engines have started.
fn after_a_first_run() -> Terminal {
    let mut terminal = Terminal::start(&["demo"], &[], 140, 42);
    terminal.wait_for("Scene");
    select(&mut terminal, "picture.stem.0", "Conv2d → nn.Conv2d");
    terminal.send(" ");
    terminal.wait("a first verdict", passes);
    terminal
}

#[test]
fn a_convolution_is_run_and_its_error_appears() {
    let mut terminal = Terminal::start(&["demo"], &[], 140, 42);
    terminal.wait_for("Scene");
    select(&mut terminal, "picture.stem.0", "Conv2d → nn.Conv2d");
    terminal.send(" ");
    let screen = terminal.wait("a verdict", passes);
    assert!(screen.contains("max abs"), "{screen}");
    assert!(screen.contains("e-07") || screen.contains("e-06") || screen.contains("e-08"), "no number in\n{screen}");
    assert!(screen.contains("2.13.0") && screen.contains("0.32.2"), "no engine versions in\n{screen}");
    // The run may not be over yet, and leaving asks then.
    terminal.send("qy");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn an_engine_killed_in_mid_run_is_a_failed_verdict_and_the_next_run_works() {
    let mut terminal = after_a_first_run();

    // Stopped, the engine cannot answer: the run is surely under way when it is killed.
    let engine = child_of(terminal.pid(), "t2m-mlx");
    signal("STOP", engine);
    select(&mut terminal, "sound.conv", "Conv1d → nn.Conv1d");
    terminal.send(" ");
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal("KILL", engine);
    terminal.wait_for("signal 9");
    terminal.wait_for("failed");

    terminal.send(" ");
    terminal.wait("the next run's verdict", |screen| !screen.contains("signal 9") && passes(screen));
    // As above.
    terminal.send("qy");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    let (before, now) = terminal.settings_before_and_now();
    assert_eq!(now, before, "every setting of the terminal is what it was");
    assert!(!terminal.is_alternate());
}

#[test]
fn a_cancelled_run_ends_and_the_next_one_works() {
    let mut terminal = after_a_first_run();

    // Stopped, the engine answers nothing: without the cancellation the run would never end.
    let engine = child_of(terminal.pid(), "t2m-mlx");
    signal("STOP", engine);
    terminal.send("a");
    terminal.wait_for("queued");
    terminal.send("x");
    terminal.wait_for("cancelled");
    terminal.wait("nothing to be queued", |screen| !screen.contains("queued"));
    select(&mut terminal, "choose", "Softmax → mx.softmax");
    terminal.send(" ");
    terminal.wait("a verdict", |screen| screen.contains("✓ ok"));
    terminal.send("qy");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn leaving_does_not_wait_for_an_engine_that_hangs() {
    let mut terminal = after_a_first_run();
    let engine = child_of(terminal.pid(), "t2m-mlx");
    signal("STOP", engine);
    terminal.send("a");
    terminal.wait_for("queued");
    // It asks, since a run goes on.
    terminal.send("q");
    terminal.wait_for("Layers are being measured");
    let started = std::time::Instant::now();
    terminal.send("y");
    assert_eq!(terminal.wait_end().exit_code(), 0);
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(!terminal.is_alternate());
    assert!(!crate::common::is_alive(&engine.to_string()), "the engine was left behind");
}

/// The process id of a child program.
pub(crate) fn child_of(parent: u32, program: &str) -> u32 {
    let output = std::process::Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.contains(program))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, ppid) = (words.next()?.parse().ok()?, words.next()?.parse::<u32>().ok()?);
            (ppid == parent).then_some(pid)
        })
        .unwrap_or_else(|| panic!("{program} does not run below {parent}:\n{text}"))
}

pub(crate) fn signal(name: &str, process: u32) {
    assert!(
        std::process::Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap().success()
    );
}
