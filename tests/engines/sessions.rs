//! A session with both real engines, in a pseudo-terminal: what was measured is there again, and only the rest is run.

use std::path::Path;

use crate::common::pty::Terminal;
use serde_json::Value;

fn start(state: &Path) -> Terminal {
    let terminal = Terminal::start(&["demo"], &[("XDG_STATE_HOME", state.to_str().unwrap())], 150, 45);
    terminal.wait_for("Scene");
    terminal
}

/// The session as it is written; empty where there is none yet.
fn text(state: &Path) -> String {
    // A file that is being written has another name.
    let all =
        std::fs::read_dir(state.join("t2m-tui/sessions")).into_iter().flatten().flatten().map(|entry| entry.path());
    let path = all.into_iter().find(|path| path.extension().is_some_and(|end| end == "json"));
    path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

/// Each result with its date, by the module's path.
fn results(state: &Path) -> Vec<(String, String)> {
    let session: Value = serde_json::from_str(&text(state)).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let results = session["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| (text(&result["module"]), text(&result["at"]))).collect()
}

#[test]
fn what_was_measured_survives_a_kill_and_only_the_rest_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path());
    terminal.send("/picture.stem.0\r ");
    terminal.wait("a verdict", |screen| screen.contains("measured 1/"));
    terminal.wait("the result to be kept", |_| results(folder.path()).len() == 1);
    terminal.wait("the place to be kept", |_| text(folder.path()).contains("\"selected\": \"picture.stem.0\""));
    terminal.signal("KILL");
    terminal.wait_end();
    let first = results(folder.path());

    let mut terminal = start(folder.path());
    terminal.wait_for("measured 1/");
    terminal.wait_for("on record since");
    terminal.send("a");
    let rest = terminal.wait("the rest", |screen| {
        let scores = screen.lines().find(|line| line.contains("Scene") && line.contains("custom"));
        let score = scores.and_then(|line| line.split_whitespace().find(|word| word.contains('/')));
        score.and_then(|words| words.split_once('/')).is_some_and(|(done, all)| done == all)
    });
    terminal.wait("everything to be kept", |_| results(folder.path()).len() > 10);
    terminal.send("a");
    terminal.wait_for("nothing is missing or stale");
    let after = results(folder.path());
    assert!(after.contains(&first[0]), "the first was not run again: {first:?} {rest}");
    // Other weights: what has weights is stale and counts as nothing; what has none computes the same.
    let holds = |screen: &str| screen.lines().next().is_some_and(|line| line.contains("measured 50/50"));
    terminal.wait("all to be measured", holds);
    terminal.send("w");
    terminal.wait_for("stale");
    terminal.wait("fewer to be measured", |screen| !holds(screen) && !screen.contains("measured 0/"));
    terminal.send("w");
    terminal.wait("it holds again", holds);
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

/// The modules with results in the one session of a state folder.
fn on_record(state: &std::path::Path) -> Vec<(String, String)> {
    let files: Vec<_> = std::fs::read_dir(state.join("t2m-tui/sessions")).into_iter().flatten().collect();
    let json = files
        .into_iter()
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "json"));
    let Some(path) = json else { return Vec::new() };
    let session: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = session["results"].as_array().cloned().unwrap_or_default();
    let word = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (word(row, "module"), word(row, "verdict"))).collect()
}

#[test]
fn what_verify_measured_goes_on_record_and_a_report_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = |arguments: &[&str]| {
        let output = crate::common::program().args(arguments).env("XDG_STATE_HOME", &state).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let names = |state: &std::path::Path| on_record(state).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    // What says less is not kept, and nothing is where nothing is to be.
    run(&["verify", "demo", "--layers", "head", "--weights", "random"]);
    run(&["verify", "demo", "--layers", "head", "--session", "none"]);
    assert!(on_record(&state).is_empty());
    run(&["verify", "demo", "--layers", "picture.stem.0", "--trials", "2"]);
    run(&["verify", "demo", "--layers", "head", "--format", "json"]);
    assert_eq!(names(&state), ["head", "picture.stem.0"]);
    assert!(on_record(&state).iter().all(|(_, verdict)| verdict == "ok" || verdict == "exact"));
    let page = folder.path().join("x.md");
    run(&["report", "demo", "-o", page.to_str().unwrap()]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("2 of ") && page.contains("libtorch 2.13.0"), "{page}");
    // The screen has it, too, as of an earlier run.
    let mut terminal = Terminal::start(&["demo"], &[("XDG_STATE_HOME", state.to_str().unwrap())], 150, 45);
    terminal.wait_for("measured 2/");
    terminal.send("/head\r");
    terminal.wait_for("on record since");
    // A place that was named and cannot be written is told, and the answer is the same.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = crate::common::program();
    command.args(["verify", "demo", "--layers", "head", "--session"]).arg(file.join("session.json"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("This session is not kept"), "{output:?}");
}
