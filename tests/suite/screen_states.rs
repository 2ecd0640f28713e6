//! What the screen says of its state: the bottom line, panes of other sizes, questions; each in every set of colours.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::common::sample::{self, act, draw, measure, measure_all, select, view};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{
    Event as Input, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Rect;
use t2m_checkpoint::progress::{Of, Progress};
use t2m_tui::export::writer::{Phase, Progress as Written};
use t2m_tui::open::watch::{Now, Stage};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::converting::{self, Preview};
use t2m_tui::tui::draw::render;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::opening::Opening;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::panes::splits::Line;
use t2m_tui::tui::runtime::action_of;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::{Screen, State};
use t2m_tui::tui::theme::{Level, Theme};
use t2m_tui::verify::Event;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (160, 48)];

/// A screen at three sizes: its text, in Unicode and in ASCII, and the styles of its lines in each set of colours.
fn everywhere(state: &State) -> String {
    let mut out = String::new();
    let styles = |state: &State, (width, height)| {
        let text = styled(&draw(&mut state.clone(), width, height));
        let is_run = |line: &&str| line.split_once(": ").is_some_and(|(row, _)| row.parse::<u16>().is_ok());
        text.lines().filter(is_run).collect::<Vec<_>>().join("\n")
    };
    for size in SIZES {
        out += &format!("\n== {}x{}\n{}\n", size.0, size.1, rows(&draw(&mut state.clone(), size.0, size.1)).join("\n"));
        let ascii = State { ascii: true, ..state.clone() };
        out += &format!("-- ascii\n{}\n", rows(&draw(&mut ascii.clone(), size.0, size.1)).join("\n"));
    }
    let themed = |name: &str| Theme::load(name, |_| None).unwrap();
    let colours = [
        ("dark", themed("dark")),
        ("light, painted", themed("light").painted()),
        ("16 colours", themed("dark").at(Level::Ansi16)),
        ("no colours", themed("dark").at(Level::Never)),
    ];
    for (name, theme) in colours {
        out += &format!("-- {name}, 80x24\n{}\n", styles(&State { theme, ..state.clone() }, SIZES[0]));
    }
    out
}

fn commands(state: &mut State, commands: &[Command]) {
    for &command in commands {
        act(state, Action::Command(command));
    }
}

fn typed(state: &mut State, text: &str) {
    text.chars().for_each(|character| drop(act(state, Action::Text(character))));
}

/// A run of which some layers are done, after so long.
fn running() -> State {
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Weights, Command::Twins, Command::Half, Command::RunAll]);
    state.clock = Duration::from_secs(4);
    for path in ["stem.0", "stem.1", "stem.2", "head"] {
        let id = view(&state).document.model.find(path).unwrap();
        measure(&mut state, id, 0.4, None);
    }
    state
}

fn footer(state: &State, width: u16) -> String {
    let buffer = draw(&mut state.clone(), width, 24);
    rows(&buffer).pop().unwrap()
}

#[test]
fn the_palette_in_all_colours() {
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Open(Name::Palette)]);
    typed(&mut state, "next");
    insta::assert_snapshot!(everywhere(&state));
}

#[test]
fn the_searched_help_in_all_colours() {
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Open(Name::Help), Command::Search]);
    typed(&mut state, "tree");
    insta::assert_snapshot!(everywhere(&state));
}

#[test]
fn the_question_whether_to_leave_in_all_colours() {
    let mut state = running();
    commands(&mut state, &[Command::Quit]);
    assert_eq!(state.panels.open, Some(Name::Leave));
    insta::assert_snapshot!(everywhere(&state));
}

#[test]
fn the_path_of_a_conversion_in_all_colours() {
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Open(Name::Convert)]);
    let target = "/home/somebody/models/a folder/vision_mini.mlx.safetensors".into();
    let preview = Preview { target, bytes: 4_928_307, ..Preview::default() };
    act(&mut state, Action::Converting(converting::Event::Planned(Ok(Arc::new(preview)))));
    commands(&mut state, &[Command::Accept]);
    insta::assert_snapshot!(everywhere(&state));
}

/// Those that are not drawn elsewhere in what makes them what they are.
#[test]
fn every_panel_in_all_colours() {
    let apart = [Name::Palette, Name::Help, Name::Leave, Name::Convert];
    for panel in Name::ALL.into_iter().filter(|panel| !apart.contains(panel)) {
        let mut state = running();
        commands(&mut state, &[Command::Cancel]);
        select(&mut state, "layer1.0.conv1");
        commands(&mut state, &[Command::Open(panel)]);
        assert_eq!(state.panels.open, Some(panel));
        insta::assert_snapshot!(format!("panel_{}_in_all_colours", panel.name()), everywhere(&state));
    }
}

#[test]
fn the_opening_in_all_colours() {
    let mut state = sample::state("dark");
    let mut opening = Opening::new("/home/ada/models/vision_mini.pt".to_owned(), Duration::ZERO);
    let progress = Progress { of: Of::Bytes, done: 120 << 20, total: 280 << 20 };
    opening.hear(Now { stage: Stage::Reading, progress: Some(Progress { done: 0, ..progress }) }, Duration::ZERO);
    opening.hear(Now { stage: Stage::Reading, progress: Some(progress) }, Duration::from_secs(3));
    (state.screen, state.clock) = (Screen::Opening(opening), Duration::from_secs(3));
    insta::assert_snapshot!(everywhere(&state));
}

#[test]
fn a_file_that_cannot_be_opened_in_all_colours() {
    let mut state = sample::state("dark");
    let words =
        "vision_mini.pt: the pickle ends at byte 4096, in the middle of an opcode. The download may be incomplete.";
    act(&mut state, Action::OpenFailed(words.to_owned()));
    insta::assert_snapshot!(everywhere(&state));
}

#[test]
fn the_panes_in_all_colours() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    for (path, pane) in [("encoder.mlp", Pane::Tree), ("layer1.0", Pane::Source), ("stem.0", Pane::Live)] {
        select(&mut state, path);
        if let Screen::Open(view) = &mut state.screen {
            view.focus(pane);
        }
        insta::assert_snapshot!(format!("pane_{}_in_all_colours", pane.word()), everywhere(&state));
    }
}

#[test]
fn a_run_in_all_colours() {
    let mut state = running();
    measure_all(&mut state);
    commands(&mut state, &[Command::RunAll]);
    select(&mut state, "layer1");
    insta::assert_snapshot!(everywhere(&state));
}

#[test]
fn the_state_is_said_at_every_width_and_keys_give_way() {
    let state = running();
    let wide = footer(&state, 200);
    for words in ["running 4/30 · 1.0/s · 26 s left", "random weights", "plain renames", "f16 bf16", "? help", "q quit"]
    {
        assert!(wide.contains(words), "{words}: {wide}");
    }
    for width in 20..200 {
        let line = footer(&state, width);
        let has = |forms: &[&str]| forms.iter().any(|form| line.contains(form));
        assert!(has(&["4/30"]), "{width}: {line}");
        assert!(has(&["random", " w"]) && has(&["renames", " t"]) && has(&["f16", " d"]), "{width}: {line}");
    }
    // After the run is over its settings are still said.
    let mut state = state;
    act(&mut state, Action::Verify(Event::Done { cancelled: false }));
    assert!(!footer(&state, 120).contains("running") && footer(&state, 120).contains("random weights"));
}

#[test]
fn a_filter_and_a_zoom_are_said() {
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Open(Name::Filter), Command::Bottom]);
    typed(&mut state, "status:recipe");
    commands(&mut state, &[Command::Accept, Command::Zoom]);
    let line = footer(&state, 120);
    assert!(line.contains("zoomed · filter: 6 of ") && line.contains("q quit"), "{line}");
}

#[test]
fn a_long_message_has_rows_of_its_own_and_eats_no_key() {
    let mut state = sample::state("dark");
    let words = "the pickle names ".to_owned() + &"torchvision.models.resnet.ResNet, ".repeat(9) + "nothing was run: i";
    state.notice = Some(words);
    for (width, height) in SIZES {
        let buffer = draw(&mut state, width, height);
        let text = rows(&buffer);
        let last = text.last().unwrap();
        assert!(last.contains("? help") && last.contains("q quit"), "{last}");
        assert!(text[text.len() - 4..].join(" ").contains("the pickle names"), "{text:#?}");
    }
    let text = rows(&draw(&mut state, 160, 48)).join("\n");
    assert!(text.contains("nothing was run: i"), "all of it is read: {text}");
}

#[test]
fn what_a_rename_and_half_precision_give_stands_first() {
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Twins, Command::Half]);
    commands(&mut state, &[Command::RunAll]);
    measure_all(&mut state);
    let id = view(&state).document.model.find("stem.0").unwrap();
    let twin = |verdict, reason: Option<&str>| t2m_tui::verify::Twin {
        name: "weights as they are".to_owned(),
        verdict,
        trial: None,
        reason: reason.map(str::to_owned),
    };
    let wrong = twin(t2m_tui::compare::Verdict::Broken, None);
    act(&mut state, Action::Verify(Event::Twin { module: id, twin: Box::new(wrong) }));
    let head = view(&state).document.model.find("head").unwrap();
    let refused = twin(t2m_tui::compare::Verdict::Failed, Some("shapes do not fit"));
    act(&mut state, Action::Verify(Event::Twin { module: head, twin: Box::new(refused) }));
    let mut half = sample::trial(7, 0.5);
    half.dtype = t2m_checkpoint::Dtype::Float16;
    act(&mut state, Action::Verify(Event::Trial { module: id, trial: Box::new(half) }));
    select(&mut state, "");
    let sum = view(&state).measured.renamed(0);
    assert_eq!((sum.wrong, sum.refused), (1, 1));
    let text = rows(&draw(&mut state, 160, 48));
    let pane = text.iter().position(|row| row.contains("Measured")).unwrap();
    let above_the_fold = text[pane..pane + 8].join("\n");
    let words = format!("plain rename: 1 of {} layers would be wrong, 1 would not load", sum.layers);
    assert!(above_the_fold.contains(&words), "{words}: {above_the_fold}");
    assert!(above_the_fold.contains("float16: worst ") && above_the_fold.contains(" at stem.0"), "{above_the_fold}");
    select(&mut state, "stem.0");
    let text = rows(&draw(&mut state, 160, 48));
    let row =
        |words: &str| text.iter().position(|row| row.contains(words)).unwrap_or_else(|| panic!("{words}: {text:#?}"));
    assert!(row("plain rename ✗") < row("mean abs") && row("float16 ") < row("mean abs"), "{text:#?}");
}

#[test]
fn panes_are_zoomed_and_moved_by_keys_and_by_the_mouse() {
    let mut state = sample::state("dark");
    draw(&mut state, 160, 48);
    let tree = |state: &State| state.areas.pane(Pane::Tree).unwrap().area;
    let before = tree(&state);
    for (command, wider) in [(Command::Wider, true), (Command::Narrower, false)] {
        let width = tree(&state).width;
        commands(&mut state, &[command]);
        draw(&mut state, 160, 48);
        assert_eq!(tree(&state).width > width, wider);
    }
    commands(&mut state, &[Command::Taller]);
    draw(&mut state, 160, 48);
    assert!(tree(&state).height < before.height);
    let mouse = |state: &mut State, kind, column, row| {
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        if let Some(action) = action_of(state, Input::Mouse(event)) {
            act(state, action);
        }
        draw(state, 160, 48);
    };
    let split = *state.areas.splits.iter().find(|split| split.line == Line::Tree).unwrap();
    mouse(&mut state, MouseEventKind::Down(MouseButton::Left), split.grip.x, 10);
    mouse(&mut state, MouseEventKind::Drag(MouseButton::Left), 100, 12);
    mouse(&mut state, MouseEventKind::Up(MouseButton::Left), 100, 12);
    assert_eq!(tree(&state).right(), 100, "the border is below the pointer");
    mouse(&mut state, MouseEventKind::Drag(MouseButton::Left), 50, 12);
    assert_eq!(tree(&state).right(), 100, "it was let go");
    commands(&mut state, &[Command::Zoom]);
    draw(&mut state, 160, 48);
    assert_eq!((tree(&state).width, state.areas.panes.len()), (158, 1));
    commands(&mut state, &[Command::NextPane]);
    draw(&mut state, 160, 48);
    assert_eq!(state.areas.panes[0].0, Pane::Source, "the focused pane is the one");
    commands(&mut state, &[Command::Zoom, Command::PreviousPane]);
    draw(&mut state, 160, 48);
    assert_eq!(tree(&state).right(), 100, "what was moved stays");
}

#[test]
fn dots_the_worst_list_and_flags_lead_to_what_they_are_about() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    select(&mut state, "");
    draw(&mut state, 160, 48);
    let links = state.areas.links.clone();
    let live = state.areas.pane(Pane::Live).unwrap().area;
    let below: Vec<(Rect, usize)> = links.into_iter().filter(|(area, _)| area.y >= live.y).collect();
    let (rows_of_list, dots): (Vec<_>, Vec<_>) = below.into_iter().partition(|(area, _)| area.width > 1);
    assert!(!rows_of_list.is_empty() && dots.len() > 20, "{} rows, {} dots", rows_of_list.len(), dots.len());
    for (area, wanted) in [rows_of_list[0], dots[3]] {
        select(&mut state, "");
        draw(&mut state, 160, 48);
        act(&mut state, Action::Click(area.x, area.y));
        // Of dots that share a column the worst is gone to.
        let same = state.areas.links.iter().rev().find(|(at, _)| at.contains((area.x, area.y).into())).unwrap().1;
        assert!(view(&state).tree.selected == wanted || view(&state).tree.selected == same);
        assert_ne!(view(&state).tree.selected, 0);
    }
    select(&mut state, "");
    let text = rows(&draw(&mut state, 160, 48));
    let tree = state.areas.pane(Pane::Tree).unwrap();
    let y = text.iter().position(|row| row.contains("▾ ◇ 0") && row.contains('⚑')).unwrap();
    let x = text[y].chars().take_while(|sign| *sign != '⚑').count() as u16;
    assert!(x < tree.area.right());
    act(&mut state, Action::Click(x, y as u16));
    draw(&mut state, 160, 48);
    let path = view(&state).document.module(view(&state).tree.selected).unwrap().path.to_string();
    assert_eq!((path.as_str(), view(&state).source.line), ("layer1.0", Some(25)));
}

#[test]
fn every_key_of_the_panes_does_something_or_says_why_not() {
    let keymap = Keymap::built_in().unwrap();
    let mut silent = Vec::new();
    for binding in keymap.of(None) {
        let mut state = sample::state("dark");
        measure_all(&mut state);
        select(&mut state, "layer1.1");
        let before = draw(&mut state, 160, 48);
        let effects = act(&mut state, Action::Command(binding.command));
        let after = draw(&mut state, 160, 48);
        if effects.is_empty() && before == after && state.notice.is_none() {
            silent.push(binding.command);
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn leaving_asks_only_where_something_would_be_lost() {
    let quits = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Quit(_)));
    let mut state = sample::state("dark");
    assert!(quits(&act(&mut state, Action::Command(Command::Quit))));
    let mut state = running();
    assert!(!quits(&act(&mut state, Action::Command(Command::Quit))));
    assert!(state.panels.leave.lost[0].contains("4 of 30 are done"), "{:?}", state.panels.leave.lost);
    commands(&mut state, &[Command::Dismiss]);
    assert_eq!(state.panels.open, None, "it stays");
    commands(&mut state, &[Command::Quit]);
    assert!(quits(&act(&mut state, Action::Command(Command::Yes))));
    // While a file is written.
    let mut state = sample::state("dark");
    commands(&mut state, &[Command::Open(Name::Convert)]);
    act(&mut state, Action::Converting(converting::Event::Planned(Ok(Arc::default()))));
    commands(&mut state, &[Command::Accept]);
    act(&mut state, Action::Text('x'));
    commands(&mut state, &[Command::Accept, Command::Dismiss]);
    let now = Written { phase: Phase::Writing, done: 1 << 20, total: 4 << 20, tensor: "w".into() };
    act(&mut state, Action::Converting(converting::Event::Progress(now)));
    assert!(footer(&state, 120).contains("writing 25 %"), "{}", footer(&state, 120));
    assert!(!quits(&act(&mut state, Action::Command(Command::Quit))));
    assert!(rows(&draw(&mut state, 100, 30)).join("\n").contains("A file is being written"));
    // It ends while the question stands there.
    act(&mut state, Action::Converting(converting::Event::Ended(Ok("done".to_owned()))));
    assert!(rows(&draw(&mut state, 100, 30)).join("\n").contains("All of it has ended meanwhile"));
    // An interrupt never asks.
    let effects = act(&mut running(), Action::Command(Command::Interrupt));
    assert!(quits(&effects));
}

#[test]
fn the_end_of_something_long_is_told_once() {
    let told = |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Notify(_))).count();
    let after = |seconds: u64, action: Action| {
        let mut state = running();
        state.clock = Duration::from_secs(seconds);
        told(&act(&mut state, action))
    };
    let done = || Action::Verify(Event::Done { cancelled: false });
    assert_eq!(after(5, done()), 0, "nobody went away for that");
    assert_eq!(after(60, done()), 1);
    assert_eq!(after(60, Action::Command(Command::Cancel)), 0, "who gives it up is there");
    let mut state = running();
    state.notify.by = t2m_tui::tui::state::Bell::Off;
    state.clock = Duration::from_secs(60);
    assert_eq!(told(&act(&mut state, done())), 0);
}

/// Anything that a terminal may send.
fn any_input() -> impl Strategy<Value = Input> {
    let codes = prop_oneof![
        8 => prop::sample::select("abcdefghijklmnopqrstuvwxyzABCDEFGMNPRSTWZ/?:;()[]{}<>-+= 0".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Backspace,
            KeyCode::Delete, KeyCode::F(5),
        ]),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    let modifiers = prop::sample::select(vec![
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::CONTROL,
        KeyModifiers::SHIFT,
        KeyModifiers::ALT,
    ]);
    let kinds = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Up(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
    ]);
    prop_oneof![
        6 => (codes, modifiers).prop_map(|(code, modifiers)| Input::Key(KeyEvent::new(code, modifiers))),
        3 => (kinds, 0u16..170, 0u16..60).prop_map(|(kind, column, row)| {
            Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
        }),
        1 => ".{0,12}".prop_map(Input::Paste),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_typed_and_clicked_the_bottom_line_holds(
        steps in prop::collection::vec((any_input(), 20u16..180, 5u16..60, 0u64..3000), 1..60),
    ) {
        let mut state = sample::state("dark");
        for (input, width, height, time) in steps {
            if let Some(action) = action_of(&state, input) {
                act(&mut state, action);
            }
            state.clock += Duration::from_millis(time);
            act(&mut state, Action::Tick);
            let area = Rect::new(0, 0, width, height);
            let mut buffer = Buffer::empty(area);
            render(&mut state, area, &mut buffer);
            // Each key that can be clicked stands where it was noted, whole, and none lies over another.
            let cell = |x: u16| buffer.cell((x, height - 1)).map_or(String::new(), |cell| cell.symbol().to_owned());
            let mut taken = BTreeSet::new();
            for (place, command) in &state.areas.keys {
                prop_assert!(place.right() <= width && place.y == height - 1, "{command:?} at {place:?} of {width}x{height}");
                for x in place.left()..place.right() {
                    prop_assert!(taken.insert(x), "{command:?} lies over another");
                }
                let key = state.keymap.keys_of(state.panels.open, *command).first().cloned().unwrap_or_default();
                let shown: String = (place.x..).take(key.chars().count()).map(cell).collect();
                prop_assert_eq!(shown, key);
            }
        }
    }
}
