//! What keys and the mouse do in the panels over the panes.

use std::sync::Arc;

use crate::common::sample::{self, act, draw, view};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use t2m_tui::export::state_dict::Known;
use t2m_tui::filter::Tick;
use t2m_tui::triage::Status;
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::areas::Rows;
use t2m_tui::tui::converting::{self, Preview, Row};
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::runtime::action_of;
use t2m_tui::tui::snapshot::rows;
use t2m_tui::tui::state::State;

/// A screen on which no panel has room for all of its rows.
fn small(state: &mut State) -> Buffer {
    draw(state, 90, 24)
}

fn open(name: Name) -> State {
    let mut state = sample::state("dark");
    small(&mut state);
    reopen(&mut state, name);
    state
}

fn reopen(state: &mut State, name: Name) {
    act(state, Action::Command(Command::Open(name)));
    small(state);
}

/// Press a key as the terminal gives it; ctrl-d is `\u{4}`.
fn press(state: &mut State, code: KeyCode) {
    let (code, modifiers) = match code {
        KeyCode::Char('\u{4}') => (KeyCode::Char('d'), KeyModifiers::CONTROL),
        code => (code, KeyModifiers::NONE),
    };
    if let Some(action) = action_of(state, Input::Key(KeyEvent::new(code, modifiers))) {
        act(state, action);
    }
    small(state);
}

/// A click on a row of the open panel.
fn click(state: &mut State, row: u16) {
    let area = state.areas.panel.unwrap().area;
    act(state, Action::Click(area.x + 2, area.y + row));
}

/// So many tensors that would be written.
fn preview(count: usize) -> Action {
    let row = |row: usize| Row {
        name: format!("layer{row}.weight"),
        from: format!("layer{row}.weight"),
        rule: "identity".to_owned(),
        module: 1,
        known: Known::Plan,
    };
    let preview = Preview { rows: (0..count).map(row).collect(), ..Preview::default() };
    Action::Converting(converting::Event::Planned(Ok(Arc::new(preview))))
}

#[test]
fn every_sheet_is_paged_in_the_same_way() {
    for name in [Name::Convert, Name::Help] {
        let mut state = open(name);
        act(&mut state, preview(5000));
        small(&mut state);
        let rows = state.areas.panel.unwrap();
        let (page, last) = (rows.page(), rows.last_top());
        assert!(page > 8 && last > 2 * page, "{name:?}: {rows:?}");
        let mut top = |code| {
            press(&mut state, code);
            state.areas.panel.unwrap().top
        };
        assert_eq!(top(KeyCode::PageDown), page - 1, "{name:?}: a row of the page before stays");
        assert_eq!(top(KeyCode::Char('j')), page, "{name:?}");
        assert_eq!(top(KeyCode::Char('\u{4}')), page + page / 2, "{name:?}");
        assert_eq!(top(KeyCode::PageUp), page / 2 + 1, "{name:?}");
        for (to_end, to_start) in [(KeyCode::Char('G'), KeyCode::Char('g')), (KeyCode::End, KeyCode::Home)] {
            assert_eq!(top(to_end), last, "{name:?}");
            assert_eq!(top(to_start), 0, "{name:?}");
        }
        press(&mut state, KeyCode::End);
        assert_eq!(state.areas.panel.unwrap().below(), 0, "{name:?}");
        press(&mut state, KeyCode::Esc);
        assert_eq!(state.panels.open, None);
        reopen(&mut state, name);
        assert_eq!(state.areas.panel.unwrap().top, 0, "{name:?} opens at its beginning");
    }
}

#[test]
fn a_conversion_of_100_000_tensors_is_crossed_by_a_key() {
    let mut state = open(Name::Convert);
    act(&mut state, preview(100_000));
    small(&mut state);
    press(&mut state, KeyCode::Char('G'));
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("layer99999.weight") && !text.contains("more"), "{text}");
    press(&mut state, KeyCode::Char('k'));
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("layer99998.weight") && text.contains(" 1 more "), "{text}");
}

#[test]
fn rows_that_are_longer_than_a_list_are_read_to_their_end() {
    let mut state = open(Name::Convert);
    let long = |side: &str| format!("{}.{side}.weight", ["encoder.layers.encoder_layer_0.self_attention"; 3].join("."));
    let row = Row {
        name: long("mlx"),
        from: long("torch"),
        rule: "a rule with a name that is long".to_owned(),
        module: 1,
        known: Known::Plan,
    };
    let preview = Preview { rows: vec![row], ..Preview::default() };
    act(&mut state, Action::Converting(converting::Event::Planned(Ok(Arc::new(preview)))));
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("mlx.weight ←") && text.contains("torch.weight "), "names keep their ends: {text}");
    let mut seen = text;
    for _ in 0..40 {
        press(&mut state, KeyCode::Right);
        seen += &rows(&small(&mut state)).join("\n");
    }
    for part in ["encoder.layers.encoder_layer_0", "self_attention.mlx.weight ← encoder", "name that is long"] {
        assert!(seen.contains(part), "{part} is never seen");
    }
    (0..50).for_each(|_| press(&mut state, KeyCode::Char('h')));
    assert!(rows(&small(&mut state)).join("\n").contains("mlx.weight ←"), "back at the beginning");
}

#[test]
fn the_path_of_a_conversion_is_edited_and_replacing_is_asked_for() {
    let mut state = open(Name::Convert);
    act(&mut state, preview(3));
    press(&mut state, KeyCode::Enter);
    for code in "/tmp/q y.safetensorsx".chars().map(KeyCode::Char).chain([KeyCode::Backspace]) {
        press(&mut state, code);
    }
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("> /tmp/q y.safetensors"), "keys are text there: {text}");
    let asked = |state: &mut State, command| {
        let effects = act(state, Action::Command(command));
        let wish = effects.into_iter().find_map(|effect| match effect {
            t2m_tui::tui::action::Effect::Convert(wish) => Some((wish.path, wish.replace)),
            _ => None,
        });
        small(state);
        wish
    };
    let path = std::path::PathBuf::from("/tmp/q y.safetensors");
    assert_eq!(asked(&mut state, Command::Accept), Some((path.clone(), false)));
    let there = |state: &mut State| {
        let event = converting::Event::Exists(path.clone(), "4.7 MiB, 3 h 2 min old".to_owned());
        act(state, Action::Converting(event));
    };
    there(&mut state);
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("is there already: 4.7 MiB, 3 h 2 min old.") && !text.contains("--force"), "{text}");
    // Enter alone replaces nothing.
    assert_eq!(asked(&mut state, Command::Accept), None);
    assert_eq!(asked(&mut state, Command::Accept), Some((path.clone(), false)));
    there(&mut state);
    assert_eq!(asked(&mut state, Command::Yes), Some((path.clone(), true)));
    let done = converting::Event::Ended(Ok("it is written".to_owned()));
    act(&mut state, Action::Converting(done));
    press(&mut state, KeyCode::Char('q'));
    assert_eq!(state.panels.open, None);
}

#[test]
fn the_palette_runs_what_is_chosen_where_it_was_opened() {
    let mut state = open(Name::Help);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char(':'));
    assert_eq!(state.panels.open, Some(Name::Palette));
    for code in "unfold ev".chars().map(KeyCode::Char) {
        press(&mut state, code);
    }
    act(&mut state, Action::Command(Command::FoldAll));
    let before = view(&state).tree.rows.len();
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.panels.open, None);
    assert!(view(&state).tree.rows.len() >= before);
    assert_eq!(state.notice.as_deref(), Some("everything is unfolded already"));
    // Over a panel it has that panel's commands, and the panel comes back.
    reopen(&mut state, Name::Findings);
    let control = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::CONTROL);
    let action = action_of(&state, Input::Key(control)).unwrap();
    act(&mut state, action);
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("Commands") && text.contains("go there") && !text.contains("unfold everything"), "{text}");
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.panels.open, Some(Name::Findings));
}

#[test]
fn the_help_shows_what_is_searched_for() {
    let mut state = open(Name::Help);
    for code in "/blocker".chars().map(KeyCode::Char) {
        press(&mut state, code);
    }
    let text = rows(&small(&mut state)).join("\n");
    assert!(text.contains("next blocker in the model") && !text.contains("unfold everything"), "{text}");
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Char('j'));
    assert!(rows(&small(&mut state)).join("\n").contains("Help: blocker"), "keys are keys again");
    press(&mut state, KeyCode::Esc);
    assert!(rows(&small(&mut state)).join("\n").contains("run the selected layer"), "everything again");
    press(&mut state, KeyCode::Char('q'));
    assert_eq!(state.panels.open, None);
}

#[test]
fn lists_with_a_cursor_are_paged_too() {
    let mut state = open(Name::Findings);
    let last = view(&state).document.findings.len() - 1;
    press(&mut state, KeyCode::Char('G'));
    assert_eq!(state.panels.findings.cursor.row, last);
    press(&mut state, KeyCode::Home);
    assert_eq!(state.panels.findings.cursor.row, 0);
    press(&mut state, KeyCode::Esc);
    reopen(&mut state, Name::Filter);
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::End);
    press(&mut state, KeyCode::Char(' '));
    assert!(view(&state).tree.filter.is_ticked(Tick::Bad), "the last row is \"measured badly\"");
    (0..Status::ALL.len()).for_each(|_| press(&mut state, KeyCode::Char('k')));
    press(&mut state, KeyCode::Char(' '));
    assert!(view(&state).tree.filter.is_ticked(Tick::Status(Status::ALL[0])));
    press(&mut state, KeyCode::Home);
    press(&mut state, KeyCode::Char('k'));
    press(&mut state, KeyCode::Char('-'));
    assert!(state.areas.panel.is_some(), "above the first row is the line, which is typed in");
}

#[test]
fn the_list_of_findings_opens_where_it_was_left() {
    let mut state = open(Name::Findings);
    press(&mut state, KeyCode::Char('j'));
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.panels.open, None);
    reopen(&mut state, Name::Findings);
    assert_eq!(state.panels.findings.cursor.row, 1);
}

#[test]
fn in_a_search_the_keys_that_move_are_text() {
    let mut state = open(Name::Find);
    for code in "gGj?".chars().map(KeyCode::Char).chain([KeyCode::End, KeyCode::PageDown]) {
        press(&mut state, code);
    }
    assert_eq!(state.panels.find.search.as_ref().unwrap().text, "gGj?");
}

#[test]
fn a_click_ticks_chooses_or_closes() {
    let mut state = open(Name::Filter);
    let above = (state.areas.panel.unwrap().count - Status::ALL.len() - 1) as u16;
    click(&mut state, above + 1);
    assert!(view(&state).tree.filter.is_ticked(Tick::Status(Status::ALL[1])));
    act(&mut state, Action::Click(0, 0));
    assert_eq!(state.panels.open, None, "a click beside it closes it");

    reopen(&mut state, Name::Findings);
    let wanted = view(&state).document.findings[1].at;
    click(&mut state, 1);
    assert_eq!((state.panels.open, view(&state).tree.selected), (None, wanted.module));

    reopen(&mut state, Name::Help);
    act(&mut state, Action::Wheel(5, 5, 3));
    small(&mut state);
    assert_eq!(state.areas.panel.unwrap().top, 3);
    act(&mut state, Action::Click(40, 10));
    assert_eq!(state.panels.open, None);
}

#[test]
fn a_click_beside_the_search_keeps_it_and_is_the_panes() {
    let mut state = open(Name::Find);
    act(&mut state, Action::Text('a'));
    small(&mut state);
    let Rows { area, top, .. } = state.areas.pane(Pane::Tree).unwrap();
    act(&mut state, Action::Click(area.x + 20, area.y + 4));
    assert_eq!(state.panels.open, None);
    assert_eq!(view(&state).tree.selected, view(&state).tree.rows[top + 4]);
    assert!(!state.panels.find.matches().is_empty());
}
