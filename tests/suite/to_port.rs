//! What is to be ported: each class once, with how much it is, and the forward with what it calls, in the order in which it is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::sample::{self, act, draw, view};
use crate::common::{json, run};
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use safetensors::tensor::{Dtype, TensorView};
use t2m_tui::findings::to_port::to_port;
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::source::ClassSource;
use t2m_tui::source::listing::Heading;
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panels::findings::Kind;
use t2m_tui::tui::runtime::action_of;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::{Screen, State};

const HELPERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/source/helpers");

/// Weights of `net.Net` of the fixture.
fn weights(folder: &Path) -> PathBuf {
    let bytes = vec![0u8; 8 * 27 * 4];
    let mut shapes = vec![
        ("conv.weight".to_owned(), vec![8, 3, 3, 3]),
        ("conv.bias".to_owned(), vec![8]),
        ("scale".to_owned(), vec![5]),
    ];
    for block in 0..3 {
        for name in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("blocks.{block}.norm.{name}"), vec![8]));
        }
    }
    let views = shapes.into_iter().map(|(name, shape)| {
        let length = shape.iter().product::<usize>() * 4;
        (name, TensorView::new(Dtype::F32, shape, &bytes[..length]).unwrap())
    });
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()).unwrap();
    path
}

fn opened() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = weights(folder.path());
    open(&Options { checkpoint, sources: vec![HELPERS.into()], ..Options::default() }).unwrap()
}

fn source<'a>(opened: &'a Opened, short: &str) -> &'a ClassSource {
    let named = |(class, _): &(&String, &'a ClassSource)| class.rsplit('.').next() == Some(short);
    opened.triage.classes.iter().find(named).unwrap().1
}

fn name_of(file: &str) -> &str {
    file.rsplit('/').next().unwrap()
}

#[test]
fn a_forward_is_read_with_what_it_calls() {
    let opened = opened();
    let net = source(&opened, "Net");
    let called: Vec<String> = net
        .called
        .iter()
        .map(|called| format!("{} {}:{}", called.name, name_of(&called.file), called.lines.start))
        .collect();
    assert_eq!(called, ["Base._features base.py:7", "scaled net.py:9", "Net._head net.py:32"]);
    assert_eq!(net.lines_to_port(), 5 + 3 + 2 + 4);
    let listing = net.listing();
    let headings: Vec<String> = listing
        .sections()
        .iter()
        .filter_map(|section| {
            Some(match section.heading? {
                Heading::Called(called) => format!("{}: {}", section.first, called.name),
                Heading::Moved(called) => format!("{}: {} moved", section.first, called.name),
                Heading::Rest(line) => format!("{}: rest from {line}", section.first),
            })
        })
        .collect();
    insta::assert_snapshot!(headings.join("\n"));
    // Every line of the file has a row of its own, and the text that is coloured is that of the rows.
    let text = listing.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), listing.rows());
    let mut seen = vec![false; listing.rows() + 1];
    for (at, line) in net.text.lines().enumerate() {
        let row = listing.row(&net.file, at + 1).unwrap();
        assert_eq!((lines[row - 1], listing.at(row)), (line, Some((net.file.as_str(), at + 1))));
        assert!(!std::mem::replace(&mut seen[row], true));
    }
    for called in &net.called {
        for line in called.lines.clone() {
            let row = listing.row(&called.file, line).unwrap();
            assert_eq!(lines[row - 1], called.text.lines().nth(line - 1).unwrap());
        }
    }
    assert_eq!(listing.row(&net.file, 10_000), Some(listing.rows() + 10_000 - net.text.lines().count()));
    assert_eq!(listing.row("elsewhere.py", 1), None);
    // Links are those of the methods too, from whatever file.
    let named: Vec<&str> = net.named_rows(&listing).into_iter().map(|(row, _)| lines[row - 1].trim()).collect();
    assert!(named.contains(&"x = self.conv(x)") && named.contains(&"for block in self.blocks:"), "{named:?}");
    // A class that calls nothing of its own is its file.
    let base = source(&open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap(), "Scene").clone();
    if base.called.is_empty() {
        assert_eq!((base.listing().rows(), base.listing().row(&base.file, 7)), (base.text.lines().count(), Some(7)));
    }
}

#[test]
fn each_class_is_one_row_the_longest_first() {
    let opened = opened();
    let rows = to_port(&opened);
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let (file, line) = row.place.clone().unwrap();
            let (modules, lines, blockers) = (row.modules.len(), row.lines, row.blockers.total());
            format!(
                "{} ×{modules} {}:{line} {lines} lines, {blockers} blockers, {} own",
                row.short,
                name_of(&file),
                row.parameters
            )
        })
        .collect();
    assert_eq!(told, ["Net ×1 net.py:37 14 lines, 2 blockers, 5 own", "Block ×3 net.py:18 4 lines, 0 blockers, 0 own"]);
    for path in ["demo", "tests/fixtures/module.pt"] {
        let opened = open(&Options { checkpoint: path.into(), ..Options::default() }).unwrap();
        let rows = to_port(&opened);
        assert_eq!(rows.len(), Document::of(&opened).headline.forwards.to_port());
        assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse(row.lines)), "{rows:?}");
    }
}

#[test]
fn reports_have_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = weights(folder.path());
    let inspect = |format: &str| run(&["inspect", path.to_str().unwrap(), "--source", HELPERS, "--format", format]);
    let list = json(&inspect("json"))["to_port"].clone();
    let first = &list[0];
    assert_eq!(list.as_array().unwrap().len(), 2);
    for (key, wanted) in [("instances", 1), ("line", 37), ("lines", 14), ("blockers", 2), ("parameters", 5)] {
        assert_eq!(first[key], wanted, "{key}: {first}");
    }
    assert!(first["class"].as_str().unwrap().ends_with("Net") && first["file"].as_str().unwrap().ends_with("net.py"));
    let text = String::from_utf8(inspect("text").stdout).unwrap();
    assert!(text.contains("forwards to port, the longest first") && text.contains("net.py:37, 14 lines"), "{text}");
    let markdown = String::from_utf8(inspect("md").stdout).unwrap();
    assert!(
        markdown.contains("| forward to port | instances |") && markdown.contains("net.py:18, 4 lines"),
        "{markdown}"
    );
    // Without the source the class, or nothing, is said; never a line.
    let bare = json(&run(&["inspect", "tests/fixtures/module.pt", "--format", "json"]))["to_port"].clone();
    for row in bare.as_array().unwrap() {
        assert!(row.get("line").is_none() || row["file"].is_string(), "{row}");
        assert!(row["lines"] != 0 || row.get("file").is_none(), "{row}");
    }
}

/// Select a module of the open file.
fn select(state: &mut State, path: &str) {
    let Screen::Open(view) = &mut state.screen else { panic!("nothing is open") };
    let document = view.document.clone();
    view.tree.reveal(&document, document.model.find(path).unwrap());
}

fn screen(opened: &Opened, width: u16, height: u16) -> State {
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(Document::of(opened))));
    draw(&mut state, width, height);
    state
}

/// Press keys as the terminal gives them.
fn press(state: &mut State, keys: &[KeyCode]) {
    for &code in keys {
        if let Some(action) = action_of(state, Input::Key(KeyEvent::new(code, KeyModifiers::NONE))) {
            act(state, action);
        }
        draw(state, 160, 48);
    }
}

/// The text of the row of the source that is marked.
fn marked(state: &State) -> String {
    let view = view(state);
    let shown = view.document.source(view.tree.selected).unwrap();
    let text = shown.source.listing().text();
    text.lines().nth(view.source.line.unwrap() - 1).unwrap().trim().to_owned()
}

fn selected(state: &State) -> String {
    let view = view(state);
    view.document.module(view.tree.selected).unwrap().path.to_string()
}

#[test]
fn the_panel_leads_to_an_instance_and_its_forward() {
    let opened = opened();
    for (width, height) in [(80, 24), (120, 40), (160, 48)] {
        let mut state = screen(&opened, width, height);
        act(&mut state, Action::Command(Command::Open(Name::Port)));
        let buffer = draw(&mut state, width, height);
        let screen = rows(&buffer).join("\n");
        assert!(screen.contains("2 forwards to port, of 4 modules"), "{screen}");
        let shown: Vec<&str> = screen.lines().filter(|line| line.contains("net.py:")).collect();
        assert!(
            shown.iter().any(|line| line.contains("net.py:37")) && shown.iter().any(|line| line.contains("×3")),
            "{screen}"
        );
        let panel = state.areas.panel.unwrap().area;
        let looks = styled(&buffer);
        let looks: Vec<&str> = looks.lines().filter(|line| line.starts_with(&format!("{}: ", panel.y))).collect();
        insta::assert_snapshot!(format!("port_{width}"), format!("{}\n{}", within(&screen, panel.y), looks.join("\n")));
    }
    let mut state = screen(&opened, 160, 48);
    use KeyCode::{Char, Enter, Right};
    press(&mut state, &[Char('P'), Char('j'), Right, Right, Right, Enter]);
    assert_eq!((state.panels.open, selected(&state).as_str()), (None, "blocks.2"));
    assert_eq!(marked(&state), "def forward(self, x):");
    // The line stays marked while something else happens, and goes with the module.
    act(&mut state, Action::Tick);
    assert_eq!(marked(&state), "def forward(self, x):");
    press(&mut state, &[Char('.')]);
    assert_eq!((selected(&state).as_str(), marked(&state).as_str()), ("blocks.0", "def forward(self, x):"));
    press(&mut state, &[Char(','), Char(',')]);
    assert_eq!(selected(&state), "blocks.1");
    // It opens at the class and the instance that are selected.
    press(&mut state, &[Char('P')]);
    let shown = rows(&draw(&mut state, 160, 48)).join("\n");
    assert!(shown.contains("module 2 of 3: blocks.1"), "{shown}");
}

/// The rows of the screen from the panel's on.
fn within(screen: &str, y: u16) -> String {
    screen.lines().skip(usize::from(y) - 2).take(14).collect::<Vec<_>>().join("\n")
}

#[test]
fn without_source_the_panel_says_what_to_do_for_it() {
    let sample = sample::document();
    let mut document = Document::new("net.pt".to_owned(), sample.model.clone(), {
        let triage = t2m_tui::triage::Triage { modules: sample.triage.modules.clone(), ..Default::default() };
        Arc::new(triage)
    });
    document.headline.weights = Some(1.0);
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    act(&mut state, Action::Command(Command::Open(Name::Port)));
    let screen = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(screen.contains("source not found") && screen.contains("--source PATH: the .py file"), "{screen}");
    act(&mut state, Action::Command(Command::Accept));
    draw(&mut state, 120, 40);
    assert_eq!(state.panels.open, None);
}

#[test]
fn the_source_shows_the_helpers_with_links_blockers_and_traps() {
    let opened = opened();
    let mut state = screen(&opened, 160, 48);
    let shown = rows(&draw(&mut state, 160, 48));
    let place = |what: &str| {
        shown.iter().position(|row| row.contains(what)).unwrap_or_else(|| panic!("{what}: {}", shown.join("\n")))
    };
    let order = ["def forward(self, x):", "── Base._features", "x = self.conv(x)", "── scaled", "── Net._head  "];
    let places: Vec<usize> = order.iter().map(|what| place(what)).collect();
    assert!(places.is_sorted(), "{}", shown.join("\n"));
    assert!(shown[place("x = self.conv(x)")].contains("← conv"), "{}", shown.join("\n"));
    assert!(shown[place("── Base._features")].contains("base.py:7"), "{}", shown.join("\n"));
    // The blocker of the base's file stands under its own line.
    assert!(shown[place("x.mean().item()") + 1].contains(".item()"), "{}", shown.join("\n"));
    // An op to look after is marked at its line.
    let op = &shown[place("x.flatten(1).expand(2, -1)")];
    assert!(op.contains("trap") || op.contains("axis"), "{op}");
    insta::assert_snapshot!(
        "forward_with_helpers",
        shown[places[0] - 2..]
            .iter()
            .take(30)
            .map(|row| row.chars().skip(76).collect::<String>())
            .collect::<Vec<_>>()
            .join("\n")
    );
    let mut lines = Vec::new();
    for _ in 0..2 {
        act(&mut state, Action::Command(Command::NextBlocker));
        draw(&mut state, 160, 48);
        lines.push(marked(&state));
    }
    assert_eq!(lines, ["return x * x.mean().item()", "if x.sum() > 0:"]);
    // A link of the base's method leads to the child, and back the line that calls it is marked.
    select(&mut state, "conv");
    draw(&mut state, 160, 48);
    assert_eq!(marked(&state), "x = self.conv(x)");
}

#[test]
fn every_place_of_an_op_is_reached() {
    let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
    let mut state = screen(&opened, 160, 48);
    let findings = view(&state).document.findings.clone();
    let (at, found) = findings
        .iter()
        .enumerate()
        .filter(|(_, found)| matches!(found.kind, Kind::Op(_)))
        .max_by_key(|(_, found)| found.spots.len())
        .unwrap();
    assert!(found.spots.len() > 1, "{found:?}");
    for (spot, place) in found.spots.iter().enumerate() {
        state.panels.findings = Default::default();
        press(&mut state, &[KeyCode::Char('b')]);
        for _ in 0..at {
            press(&mut state, &[KeyCode::Char('j')]);
        }
        press(&mut state, &[KeyCode::Enter]);
        assert_eq!(state.panels.open, Some(Name::Findings), "it opens to its places");
        assert_eq!(state.areas.panel.unwrap().count, findings.len() + found.spots.len());
        for _ in 0..=spot {
            press(&mut state, &[KeyCode::Char('j')]);
        }
        press(&mut state, &[KeyCode::Enter]);
        assert_eq!((state.panels.open, view(&state).tree.selected), (None, place.at.module));
        // The line is marked, and stays so.
        act(&mut state, Action::Tick);
        let view = view(&state);
        let listing = view.document.source(place.at.module).unwrap().source.listing();
        assert_eq!(listing.at(view.source.line.unwrap()), Some((&*place.file, place.line)));
    }
    // Closed again, the list is as long as before.
    press(&mut state, &[KeyCode::Char('b'), KeyCode::Char('h')]);
    assert_eq!(state.areas.panel.unwrap().count, findings.len());
}

#[test]
fn a_line_number_is_never_cut_and_a_hint_is_seen_whole() {
    let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
    let mut document = Document::of(&opened);
    let long = "the reason goes on ".repeat(100) + "and_ends_here";
    for finding in &mut document.findings {
        let line = finding.place.rsplit(':').next().unwrap().to_owned();
        finding.place = format!("a/very/long/folder/that/goes/on/and/on/swin_transformer_of_a_long_name.py:{line}");
        finding.words.clone_from(&long);
    }
    let places: Vec<String> = document.findings.iter().map(|finding| finding.place.clone()).collect();
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    for (width, height) in [(60, 20), (80, 24), (120, 40), (200, 50)] {
        draw(&mut state, width, height);
        act(&mut state, Action::Command(Command::Open(Name::Findings)));
        act(&mut state, Action::Command(Command::Top));
        let screen = rows(&draw(&mut state, width, height)).join("\n");
        let listed = state.areas.panel.unwrap().page().min(places.len());
        for place in &places[..listed] {
            let line = place.rsplit(':').next().unwrap();
            assert!(screen.contains(&format!("name.py:{line} ")), "{width}: {place}\n{screen}");
        }
        assert!(screen.contains("space shows all of it") && !screen.contains("and_ends_here"), "{screen}");
        act(&mut state, Action::Command(Command::Toggle));
        draw(&mut state, width, height);
        act(&mut state, Action::Command(Command::Bottom));
        let screen = rows(&draw(&mut state, width, height)).join("\n");
        assert!(screen.contains("and_ends_here"), "{width}×{height}: {screen}");
        act(&mut state, Action::Command(Command::Toggle));
        act(&mut state, Action::Command(Command::Dismiss));
        assert_eq!(state.panels.open, None);
    }
}
