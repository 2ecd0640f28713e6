//! Text reports fit the terminal that they are printed on; elsewhere a row is one line, of any length.

use crate::common::pty::Terminal;
use crate::common::{json, program, run, stderr};
use unicode_width::UnicodeWidthStr;

/// What the program prints on a terminal of so many columns.
fn on_a_terminal(arguments: &[&str], columns: u16) -> String {
    let environment = [("T2M_TORCH", "/nowhere/t2m-torch"), ("T2M_MLX", "/nowhere/t2m-mlx")];
    let mut terminal = Terminal::start(arguments, &environment, columns, 24);
    terminal.wait_end();
    let mut plain = String::new();
    let raw = terminal.raw().replace('\r', "\n");
    let mut parts = raw.split('\x1b');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.trim_start_matches(|sign: char| !sign.is_ascii_alphabetic()).get(1..).unwrap_or_default());
    }
    plain
}

fn widest(text: &str) -> usize {
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn piped(arguments: &[&str], columns: Option<&str>) -> String {
    let mut command = program();
    command.args(arguments).env("T2M_TORCH", "/nowhere/t2m-torch").env("T2M_MLX", "/nowhere/t2m-mlx");
    if let Some(columns) = columns {
        command.env("COLUMNS", columns);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// A fixture by its whole path: a terminal's program may begin elsewhere.
fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The reports, with one that names long tensors.
fn reports(folder: &std::path::Path) -> Vec<Vec<String>> {
    let output = folder.join("demo.safetensors").to_str().unwrap().to_owned();
    let convert = run(&["convert", "demo", "-o", &output]);
    assert!(convert.status.success(), "{}", stderr(&convert));
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        of(&["inspect", "demo"]),
        of(&["inspect", "demo", "--check"]),
        of(&["inspect", &fixture("module.pt"), "--source", &fixture("source")]),
        of(&["verify", "demo"]),
        of(&["convert", "demo", "-o", &output, "--force"]),
        of(&["compare", &fixture("blocks.pt"), &output]),
        of(&["compare", &fixture("compare/folds.pt"), &fixture("compare/folds_wrong.safetensors")]),
        of(&["doctor"]),
    ]
}

#[test]
fn reports_fit_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for report in reports(folder.path()) {
        let report: Vec<&str> = report.iter().map(String::as_str).collect();
        for columns in [60, 80, 120] {
            let text = on_a_terminal(&report, columns);
            // Messages of standard error are no report, and the terminal breaks them.
            let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("t2m-tui: ")).collect();
            let text = text.join("\n");
            assert!(text.lines().count() > 2, "{report:?}: {text}");
            assert!(widest(&text) <= usize::from(columns), "{report:?} at {columns}: {}\n{text}", widest(&text));
        }
    }
}

#[test]
fn elsewhere_a_row_is_a_line_unless_columns_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    for report in reports(folder.path()) {
        let report: Vec<&str> = report.iter().map(String::as_str).collect();
        let fitted = piped(&report, Some("80"));
        assert!(widest(&fitted) <= 80, "{report:?}: {fitted}");
        for nonsense in ["", "0", "wide"] {
            assert_eq!(widest(&piped(&report, Some(nonsense))), widest(&piped(&report, None)), "{report:?}");
        }
    }
    let inspect = piped(&["inspect", "demo"], None);
    assert!(widest(&inspect) > 120, "{inspect}");
    let modules = json(&run(&["inspect", "demo", "--format", "json"]))["modules"].as_array().unwrap().len();
    let rows = inspect.lines().skip_while(|line| !line.is_empty()).skip(1).take_while(|line| !line.is_empty());
    assert_eq!(rows.count(), modules, "one line for each module");
}

/// What a row says that an earlier one has said is said by that one's path.
#[test]
fn a_fitted_listing_says_long_words_once() {
    let fitted = piped(&["inspect", "demo"], Some("80"));
    let words = "its forward has to be ported. demo/scene.py:22";
    assert_eq!(fitted.matches(words).count(), 1, "{fitted}");
    assert!(fitted.contains("as picture.blocks.0\n"), "{fitted}");
    assert_eq!(piped(&["inspect", "demo"], None).matches(words).count(), 2);
}

/// A folder of source is named once, and every file by the rest of its path.
#[test]
fn no_path_is_repeated_on_each_row() {
    let source = std::fs::canonicalize("tests/fixtures/source").unwrap();
    let source = source.to_str().unwrap();
    for format in ["text", "md"] {
        let report = piped(&["inspect", "tests/fixtures/module.pt", "--source", source, "--format", format], None);
        assert_eq!(report.matches(source).count(), 1, "{report}");
        assert!(report.contains(" net.py:"), "{report}");
    }
}

#[test]
fn a_missing_engine_is_one_line() {
    let output = program()
        .args(["verify", "demo"])
        .env("T2M_TORCH", "/nowhere/t2m-torch")
        .env("T2M_MLX", "/nowhere/t2m-mlx")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text.matches("50 of 53 layers could not be run: T2M_TORCH names /nowhere/t2m-torch").count(),
        1,
        "{text}"
    );
    assert!(
        text.contains("layers: 3 not-run; 50 without an engine\n") && text.ends_with("measured: nothing\n"),
        "{text}"
    );
    assert!(!text.contains("failed"), "{text}");
    for name in ["T2M_TORCH", "T2M_MLX"] {
        assert_eq!(stderr(&output).matches(name).count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_terminal_that_can_draw_nothing_gets_the_report() {
    let mut terminal = Terminal::start(&["demo"], &[("TERM", "dumb")], 80, 24);
    assert_eq!(terminal.wait_end().exit_code(), 0);
    assert!(!terminal.raw().contains('\x1b') && terminal.raw().contains("to port: "), "{}", terminal.raw());
}
