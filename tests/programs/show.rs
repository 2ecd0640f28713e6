//! Recording the screen and playing scripts: with a terminal, without one, and when the program is killed.

use std::path::Path;

use crate::common::program;
use crate::common::pty::Terminal;

const NO_ENGINES: [(&str, &str); 2] = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];

/// A recording: its size, and what a terminal shows after each of its events, with the time.
fn played(path: &Path) -> ((u16, u16), Vec<(f64, String)>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let head = lines.next().unwrap();
    assert_eq!(head["version"], 2);
    let size = ["width", "height"].map(|name| u16::try_from(head[name].as_u64().unwrap()).unwrap());
    let mut screen = vt100::Parser::new(size[1].try_into().unwrap(), size[0].try_into().unwrap(), 0);
    let mut shown = Vec::new();
    let mut before = 0.0;
    for line in lines {
        let at = line[0].as_f64().unwrap();
        assert!(at >= before, "time goes on");
        before = at;
        let data = line[2].as_str().unwrap();
        match line[1].as_str().unwrap() {
            "o" => screen.process(data.as_bytes()),
            "r" => {
                let (columns, rows) = data.split_once('x').unwrap();
                let size = [rows, columns].map(|number| number.parse::<u16>().unwrap());
                screen.screen_mut().set_size(size[0].try_into().unwrap(), size[1].try_into().unwrap());
            }
            other => panic!("{other}"),
        }
        shown.push((at, screen.screen().contents()));
    }
    ((size[0], size[1]), shown)
}

const SCRIPT: &str = "# the demo\nsay Which layers convert?\nwait 1s\nkeys j j\ntype /head\nkeys enter\nsay\nwait 500ms\nkeys ?\nwait-for text run the selected layer\nwait 2s\nkeys esc\n";

#[test]
fn a_script_without_a_terminal_gives_the_same_recording_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tour");
    std::fs::write(&script, SCRIPT).unwrap();
    let record = |name: &str| {
        let path = folder.path().join(name);
        let mut command = program();
        command.arg("demo").arg("--play").arg(&script).arg("--record").arg(&path).envs(NO_ENGINES);
        let output = command.args(["--size", "110x30", "--color", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        path
    };
    let (first, second) = (record("a.cast"), record("b.cast"));
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap(), "to the byte");
    let (size, shown) = played(&first);
    assert_eq!(size, (110, 30));
    let at = |words: &str| shown.iter().find(|(_, text)| text.contains(words)).unwrap_or_else(|| panic!("{words}")).0;
    assert_eq!(at("Which layers convert?"), 0.0);
    assert!(
        at("run the selected layer") > 1.9 && shown.last().unwrap().0 >= at("run the selected layer") + 2.0,
        "{:?}",
        at("run the selected layer")
    );
    assert!(!shown.last().unwrap().1.contains("run the selected layer"));
    // Into a file that is there nothing is recorded.
    let output = program().args(["demo", "--play"]).arg(&script).arg("--record").arg(&first).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("never written over"), "{output:?}");
}

#[test]
fn a_recording_is_never_empty_and_a_signal_says_that_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tour");
    let path = folder.path().join("x.cast");
    let play = || {
        let mut command = program();
        command.args(["demo", "--play"]).arg(&script).arg("--record").arg(&path).envs(NO_ENGINES);
        command
    };
    // Whatever it waits for is there at once.
    std::fs::write(&script, "wait-for text Scene\n").unwrap();
    let output = play().output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (_, shown) = played(&path);
    assert!(shown.last().unwrap().1.contains("Scene"), "{shown:?}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&script, "keys j\nwait 1s\nwait-for text nothing of the kind 60s\n").unwrap();
    let child = play().stderr(std::process::Stdio::piped()).spawn().unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while std::fs::read_to_string(&path).unwrap_or_default().lines().count() < 2 {
        assert!(std::time::Instant::now() < until, "nothing is recorded");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = crate::common::finish(child, "TERM");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("what was recorded so far is in {}", path.display())), "{said}");
    assert!(!said.contains("nothing was left behind"), "{said}");
    played(&path);
}

#[test]
fn what_cannot_be_played_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tour");
    let play = |text: &str, more: &[&str]| {
        std::fs::write(&script, text).unwrap();
        let output = program().args(["demo", "--play"]).arg(&script).args(more).envs(NO_ENGINES).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = play("keys j\nkeys nokey\n", &[]);
    assert_eq!(code, Some(2));
    assert!(words.contains("tour:2:6: \"nokey\" is no key"), "{words}");
    let (code, words) = play("wait-for measured 1s\n", &[]);
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("tour:1: 1 s passed, and the measurement is not at its end"), "{words}");
    let (code, words) = play("keys q\n", &["--size", "3x3"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("as 120x36"), "{words}");
    // Without a script nobody would press a key.
    let output = program().args(["demo", "--record"]).arg(folder.path().join("x.cast")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("give --play SCRIPT"), "{output:?}");
    assert!(!folder.path().join("x.cast").exists());
    let output = program().args(["--play", "x", "inspect", "demo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // A checkpoint that does not open is no success.
    std::fs::write(&script, "wait 1s\n").unwrap();
    let output = program().arg("/nowhere/x.pt").arg("--play").arg(&script).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/x.pt"), "{output:?}");
}

#[test]
fn what_a_terminal_shows_is_recorded_with_its_sizes_and_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.cast");
    let mut terminal = Terminal::start(&["demo", "--record", path.to_str().unwrap()], &NO_ENGINES, 120, 30);
    terminal.wait_for("weights ");
    terminal.send("?");
    terminal.wait_for("run the selected layer");
    terminal.send("?");
    terminal.wait("the help to go", |screen| !screen.contains("run the selected layer"));
    terminal.resize(90, 24);
    terminal.send("j");
    terminal.wait("a frame", |screen| screen.lines().next().is_some_and(|line| line.len() <= 130));
    // Until the recording has the size, too.
    terminal.wait("the recording", |_| std::fs::read_to_string(&path).unwrap().contains("90x24"));
    terminal.signal("KILL");
    terminal.wait_end();
    let (size, shown) = played(&path);
    assert_eq!(size, (120, 30));
    assert!(shown.iter().any(|(_, text)| text.contains("run the selected layer")));
    assert!(shown.last().unwrap().1.lines().count() <= 24);
}

#[test]
fn a_script_is_played_on_a_terminal_and_the_user_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tour");
    std::fs::write(
        &script,
        "say Look here\nkeys ?\nwait-for text run the selected layer\nkeys ?\ntype /head\nkeys enter\nsay The end\n",
    )
    .unwrap();
    let mut terminal = Terminal::start(&["demo", "--play", script.to_str().unwrap()], &NO_ENGINES, 120, 40);
    terminal.wait_for("Look here");
    terminal.wait_for("The end");
    terminal.wait("the selection", |screen| screen.lines().any(|line| line.contains("▌") && line.contains("head")));
    terminal.send("?");
    terminal.wait_for("run the selected layer");
    terminal.send("?");
    terminal.wait("the help to go", |screen| !screen.contains("run the selected layer"));
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}
