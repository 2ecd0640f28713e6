//! What is taken away from the screen, in a pseudo-terminal: a report, texts for the clipboard, a line in the editor, a picture.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::pty::Terminal;
use crate::common::run;

const NO_ENGINES: [(&str, &str); 2] = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];

fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
    let environment: Vec<(&str, &str)> = NO_ENGINES.iter().chain(environment).copied().collect();
    let terminal = Terminal::start(arguments, &environment, 140, 40);
    terminal.wait_for("weights ");
    terminal
}

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/module.pt");
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/source");

fn end(mut terminal: Terminal) {
    terminal.send("q");
    assert_eq!(terminal.wait_end().exit_code(), 0);
}

#[test]
fn a_report_is_written_and_a_file_is_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.html");
    let mut terminal = start(&["demo"], &[]);
    terminal.send("E");
    terminal.wait_for("demo.report.html");
    terminal.send(&format!("\u{15}{}\r", path.display()));
    terminal.wait_for("the report is in");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    std::fs::write(&path, "mine").unwrap();
    terminal.send("E");
    terminal.wait_for("demo.report.html");
    terminal.send(&format!("\u{15}{}\r", path.display()));
    terminal.wait_for("enter replaces it");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    terminal.send("\r");
    terminal.wait_for("the report is in");
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), page.len());
    // A name that is no report's is refused in place.
    terminal.send("E\u{15}x.pdf\r");
    terminal.wait_for("a report is .html, .md or .json");
    terminal.send("\u{1b}");
    terminal.wait("the panel to go", |screen| !screen.contains("a report is"));
    end(terminal);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_command_writes_the_same_without_a_screen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.md");
    let output = run(&["report", "demo", "-o", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("## To port"));
    let output = run(&["report", "demo", "-o", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force replaces it"));
    assert_eq!(run(&["report", "demo", "-o", path.to_str().unwrap(), "--force"]).status.code(), Some(0));
}

/// What a sequence of OSC 52 in what the program wrote copies, for each.
fn copied(raw: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in raw.split("\u{1b}]52;c;").skip(1) {
        let text = part.split(['\u{7}', '\u{1b}']).next().unwrap();
        found.push(decode(text));
    }
    found
}

fn decode(text: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0u32, |bits, letter| bits << 6 | LETTERS.find(char::from(*letter)).unwrap() as u32);
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_selected_is_copied() {
    let mut terminal = start(&[MODULE, "--source", SOURCE], &[("TMUX", "")]);
    terminal.send("/blocks.0.conv\r");
    terminal.wait("the module", |screen| screen.lines().any(|line| line.contains('▌') && line.contains("conv")));
    for (keys, said) in [
        ("yp", "copied the path"),
        ("yf", "copied the file and line"),
        ("yw", "copied the explanation"),
        ("yc", "copied the command"),
        ("ym", "copied the MLX snippet"),
    ] {
        terminal.send(keys);
        terminal.wait_for(said);
    }
    let texts = copied(&terminal.raw());
    assert_eq!(texts.len(), 5, "{texts:?}");
    assert!(texts[0].starts_with("blocks.0.conv"), "{texts:?}");
    assert!(texts[1].contains(".py:"), "{texts:?}");
    assert!(texts[2].contains("Conv2d"), "{texts:?}");
    let wanted = format!("t2m-tui verify {MODULE} --source {SOURCE} --layers={}", texts[0]);
    assert!(texts[3].starts_with(&wanted), "{texts:?}");
    assert!(texts[4].contains("layer = nn.Conv2d(") && texts[4].contains(".transpose(0, 2, 3, 1)"), "{texts:?}");
    // The command is one that this program takes, up to the engines that are not here.
    let words: Vec<&str> = texts[3].split_whitespace().skip(1).collect();
    let mut command = crate::common::program();
    let output = command.args(words).envs(NO_ENGINES).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/t2m-torch"), "{output:?}");
    // In a panel it is the row.
    terminal.send("by");
    terminal.wait_for("copied the row");
    let row = copied(&terminal.raw()).pop().unwrap();
    assert!(row.contains(".py:"), "{row}");
    terminal.send("b");
    terminal.wait("the list to go", |screen| !screen.contains("the worst first"));
    end(terminal);
}

#[test]
fn within_tmux_the_text_is_passed_through_as_well() {
    let mut terminal = start(&["demo"], &[("TMUX", "/tmp/tmux,1,0")]);
    terminal.send("jyp");
    terminal.wait_for("copied the path");
    let raw = terminal.raw();
    assert!(raw.contains("\u{1b}Ptmux;\u{1b}\u{1b}]52;c;"), "{raw:?}");
    end(terminal);
}

/// An editor that notes its arguments, reads a line of the keyboard, and ends.
fn fake_editor(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let note = folder.join("note");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > '{0}.args'\nstty -a > '{0}.stty'\necho EDITING\nread line\necho \"$line\" > '{0}'\n",
        note.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn the_line_on_show_is_opened_in_the_editor_and_the_screen_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a b")).unwrap();
    let editor = fake_editor(&folder.path().join("a b"), "vim");
    let arguments = [MODULE, "--source", SOURCE];
    let variable = format!("'{editor}' -p --cmd 'set x'");
    let mut terminal = start(&arguments, &[("VISUAL", ""), ("EDITOR", &variable)]);
    let before = terminal.settings();
    terminal.send("]e");
    let raw = |terminal: &Terminal| terminal.raw().matches("EDITING").count();
    terminal.wait("the editor", |_| raw(&terminal) == 1);
    assert!(!terminal.is_alternate(), "the terminal is the editor's");
    // An interrupt would end nothing of ours; what is typed is the editor's, keys of the screen too.
    terminal.send("quit q\r");
    terminal.wait("the screen", |_| terminal.is_alternate());
    terminal.wait_for("weights ");
    let note = folder.path().join("a b/note");
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "quit q\n");
    let told = std::fs::read_to_string(format!("{}.args", note.display())).unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!((told[0], told[1], told[2]), ("-p", "--cmd", "set x"), "{told:?}");
    assert!(told[3].starts_with('+') && told[3][1..].parse::<usize>().unwrap() > 1, "{told:?}");
    assert!(told[4].ends_with(".py") && Path::new(told[4]).is_file(), "{told:?}");
    // The terminal was cooked for the editor, and is raw again.
    let cooked = std::fs::read_to_string(format!("{}.stty", note.display())).unwrap();
    assert!(cooked.contains(" icanon") && cooked.contains(" echo "), "{cooked}");
    assert_eq!(terminal.settings(), before);
    // Keys are the screen's again.
    terminal.send("?");
    terminal.wait_for("run the selected layer");
    terminal.send("?");
    terminal.wait("the help to go", |screen| !screen.contains("run the selected layer"));
    end(terminal);
}

#[test]
fn without_an_editor_or_a_file_a_sentence_says_so() {
    let source = [MODULE, "--source", SOURCE];
    let mut terminal = start(&source, &[("VISUAL", ""), ("EDITOR", "")]);
    terminal.send("e");
    terminal.wait_for("no editor is named");
    end(terminal);
    let mut terminal = start(&source, &[("VISUAL", ""), ("EDITOR", "/nowhere/editor")]);
    terminal.send("e");
    terminal.wait_for("the editor cannot be run");
    terminal.send("?");
    terminal.wait_for("run the selected layer");
    terminal.send("?");
    terminal.wait("the help to go", |screen| !screen.contains("run the selected layer"));
    end(terminal);
    let mut terminal = start(&["demo"], &[("VISUAL", ""), ("EDITOR", "vi")]);
    terminal.send("e");
    terminal.wait_for("is no file of its own");
    end(terminal);
}
