//! Sessions in a pseudo-terminal, without engines: what outlives a kill, two programs at once, where it is kept.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::pty::Terminal;
use crate::common::{program, stderr};
use serde_json::Value;

const LAYERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/assumed/layers.pth");

fn start_at(checkpoint: &str, state: &str, arguments: &[&str], size: (u16, u16)) -> Terminal {
    let environment = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx"), ("XDG_STATE_HOME", state)];
    let arguments: Vec<&str> = [checkpoint].into_iter().chain(arguments.iter().copied()).collect();
    let terminal = Terminal::start(&arguments, &environment, size.0, size.1);
    terminal.wait_for("stem_norm");
    terminal
}

fn start(state: &Path) -> Terminal {
    start_at(LAYERS, state.to_str().unwrap(), &[], (140, 45))
}

/// Mark the module of that name.
fn mark(terminal: &mut Terminal, module: &str, word: &str, note: &str) {
    terminal.send(&format!("/{module}\r"));
    terminal.send("M");
    terminal.wait_for("Mark and note of");
    terminal.send(word);
    terminal.send("\x1b[B");
    terminal.send(note);
    terminal.wait("what is typed", |screen| screen.lines().any(|line| line.contains("note > ") && line.contains(note)));
    terminal.send("\r");
    terminal.wait("the panel to go", |screen| !screen.contains("Mark and note of"));
}

/// The sessions in a state folder.
fn files(state: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(state.join("t2m-tui/sessions")).into_iter().flatten();
    folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Wait until a session holds this text.
fn wait_kept(terminal: &Terminal, state: &Path, text: &str) {
    terminal.wait(&format!("{text} to be kept"), |_| {
        files(state).iter().any(|path| fs::read_to_string(path).is_ok_and(|kept| kept.contains(text)))
    });
}

fn leave(mut terminal: Terminal) {
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn marks_and_the_place_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path());
    mark(&mut terminal, "stem_norm", "todo", "eps is a guess");
    terminal.wait_for("1 todo");
    terminal.wait_for("2 beside the file");
    wait_kept(&terminal, folder.path(), "\"selected\": \"stem_norm\"");
    terminal.signal("KILL");
    terminal.wait_end();

    let kept = files(folder.path());
    assert_eq!(kept.len(), 1);
    let session = read(&kept[0]);
    assert_eq!((&session["schema"], &session["notes"][0]["mark"]), (&2.into(), &"todo".into()));
    assert_eq!(session["checkpoint"], LAYERS);
    let again = start(folder.path());
    let screen = again.wait_for("1 todo");
    let row = screen.lines().find(|line| line.contains("stem_norm")).unwrap();
    assert!(row.contains("▌") && row.contains("☐"), "the module is selected and marked: {row}");
    again.wait_for("eps is a guess");
    // A file of the same content is the same checkpoint, whatever its name.
    let copy = folder.path().join("copy.pth");
    fs::copy(LAYERS, &copy).unwrap();
    let other = start_at(copy.to_str().unwrap(), folder.path().to_str().unwrap(), &[], (80, 24));
    other.wait_for("☐");
    leave(other);
    leave(again);
}

#[test]
fn two_programs_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (start(folder.path()), start(folder.path()));
    mark(&mut one, "stem_norm", "todo", "from the first");
    mark(&mut two, "patches", "done", "from the second");
    wait_kept(&two, folder.path(), "from the second");
    wait_kept(&one, folder.path(), "from the first");
    // Each hears of the other as it writes.
    mark(&mut one, "stem_norm", "", ", again");
    one.wait_for("1 done");
    leave(one);
    leave(two);
    let session = read(&files(folder.path())[0]);
    let mut notes: Vec<&str> =
        session["notes"].as_array().unwrap().iter().map(|note| note["note"].as_str().unwrap()).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["from the first, again", "from the second"]);
}

#[test]
fn it_is_kept_beside_the_file_where_that_is_chosen_and_the_answer_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layers.pth");
    fs::copy(LAYERS, &path).unwrap();
    let beside = folder.path().join("layers.pth.t2m-session.json");
    let state = folder.path().join("state");
    let (name, folder) = (path.to_str().unwrap(), state.to_str().unwrap());
    let mut terminal = start_at(name, folder, &[], (120, 40));
    mark(&mut terminal, "stem_norm", "todo", "");
    wait_kept(&terminal, &state, "todo");
    terminal.send("K");
    terminal.wait_for("Where is this kept?");
    terminal.send("\x1b[B\r");
    terminal.wait("the file beside", |_| beside.exists());
    terminal.wait("the other file to go", |_| files(&state).is_empty());
    leave(terminal);
    let mut again = start_at(name, folder, &[], (120, 40));
    again.wait_for("1 todo");
    mark(&mut again, "patches", "skip", "");
    leave(again);
    assert_eq!(read(&beside)["notes"].as_array().unwrap().len(), 2);
    assert!(files(&state).is_empty());
    // An option goes before the answer; nowhere is nowhere.
    let mut none = start_at(name, folder, &["--session", "none"], (120, 40));
    assert!(!none.text().contains("1 todo"));
    mark(&mut none, "stem_norm", "done", "");
    leave(none);
    assert_eq!(read(&beside)["notes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_damaged_session_is_set_aside_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = start(folder.path());
    mark(&mut terminal, "stem_norm", "todo", "");
    leave(terminal);
    let file = files(folder.path()).remove(0);
    let mut text = fs::read_to_string(&file).unwrap();
    text.truncate(text.len() / 2);
    fs::write(&file, &text).unwrap();
    let terminal = start(folder.path());
    terminal.wait_for("is damaged");
    assert!(!terminal.text().contains("1 todo"));
    assert_eq!(fs::read_to_string(file.with_extension("damaged")).unwrap(), text);
    leave(terminal);
    // One of a newer version is told and stays.
    fs::write(&file, "{\"schema\": 77}").unwrap();
    let mut terminal = start(folder.path());
    terminal.wait_for("another version (77)");
    mark(&mut terminal, "stem_norm", "todo", "");
    terminal.wait_for("another version (77)");
    leave(terminal);
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"schema\": 77}");
}

#[test]
fn where_nothing_can_be_kept_a_sentence_says_so_and_nothing_is_lost_on_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t2m-tui"), "a file in the way").unwrap();
    let mut terminal = start(folder.path());
    mark(&mut terminal, "stem_norm", "todo", "mine");
    terminal.wait_for("This session is not kept");
    terminal.wait_for("1 todo");
    leave(terminal);
    // A folder of state that is not there at all was mistyped, and is not made.
    let mut terminal = start_at(LAYERS, folder.path().join("a/b/state").to_str().unwrap(), &[], (140, 45));
    mark(&mut terminal, "stem_norm", "todo", "mine");
    terminal.wait_for("This session is not kept");
    leave(terminal);
    assert!(!folder.path().join("a").exists());
}

#[test]
fn what_an_earlier_version_kept_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("t2m-tui/attributes");
    fs::create_dir_all(&earlier).unwrap();
    let name = t2m_tui::session::identity::earlier(&[LAYERS.into(), LAYERS.into()]);
    let name = name.unwrap();
    let first = format!(
        "{{\"schema\": 1, \"checkpoint\": {LAYERS:?}, \"attributes\": [{{\"modules\": {{\"path\": \"stem_norm\"}}, \"attribute\": \"eps\", \"value\": 0.001}}]}}"
    );
    let file = earlier.join(format!("{name}.json"));
    fs::write(&file, &first).unwrap();
    let inspect = || {
        let output = program()
            .args(["inspect", LAYERS, "--format", "json"])
            .env("XDG_STATE_HOME", folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).contains("\"eps\":\"typed\"")
            || String::from_utf8_lossy(&output.stdout).contains("\"eps\": \"typed\"")
    };
    assert!(inspect());
    assert!(file.exists(), "who reads changes nothing");
    let mut terminal = start(folder.path());
    mark(&mut terminal, "stem_norm", "todo", "");
    leave(terminal);
    assert!(!file.exists() && inspect());
}
