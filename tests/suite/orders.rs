//! Modules in another order and under their classes, places to come back to, and finding within lists.

use std::sync::Arc;

use crate::common::sample::{self, act, draw, measure, measure_all, select, trial, view};
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use t2m_tui::export::state_dict::Known;
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::converting::{self, Preview, Row};
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::panes::tree::order::Order;
use t2m_tui::tui::runtime::action_of;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::State;
use t2m_tui::tui::theme::Level;
use t2m_tui::verify::Event;

fn press(state: &mut State, code: KeyCode) -> Vec<Effect> {
    press_with(state, code, KeyModifiers::NONE)
}

fn press_with(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Vec<Effect> {
    let action = action_of(state, Input::Key(KeyEvent::new(code, modifiers)));
    action.map(|action| act(state, action)).unwrap_or_default()
}

fn press_all(state: &mut State, keys: &str) {
    for key in keys.chars() {
        press(state, KeyCode::Char(key));
    }
}

fn back(state: &mut State) -> String {
    press_with(state, KeyCode::Char('o'), KeyModifiers::CONTROL);
    selected(state)
}

fn forward(state: &mut State) -> String {
    press_with(state, KeyCode::Right, KeyModifiers::ALT);
    selected(state)
}

fn path(state: &State, id: usize) -> String {
    view(state).document.module(id).unwrap().path.to_string()
}

fn selected(state: &State) -> String {
    path(state, view(state).tree.selected)
}

/// The first rows by their paths.
fn first(state: &State, count: usize) -> Vec<String> {
    view(state).tree.rows.iter().take(count).map(|id| path(state, *id)).collect()
}

#[test]
fn each_order_has_its_largest_first_and_the_cursor_stays() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    select(&mut state, "encoder.attn");
    press_all(&mut state, "S");
    assert_eq!(view(&state).tree.order(), Order::Parameters);
    // Eight convolutions have 36,864 each, in the order of the tree; then one of 16,640 that stands before another.
    let convolutions = first(&state, 8);
    assert!(convolutions.iter().all(|path| path.contains(".conv")) && convolutions[0] == "layer1.0.conv1");
    assert_eq!(first(&state, 12)[8..], ["encoder.attn", "encoder.mlp.0", "encoder.mlp.2", "stem.0"]);
    assert_eq!(
        (selected(&state).as_str(), view(&state).tree.rows.len()),
        ("encoder.attn", view(&state).document.len())
    );
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("Modules ─ by parameters ─") && text.contains("36.9 k  Conv2d"), "{text}");

    press_all(&mut state, "S");
    assert_eq!(first(&state, 2), ["layer2.1.gn", "layer2.0.bn1"], "against tolerance");
    press_all(&mut state, "S");
    assert_eq!(view(&state).tree.order(), Order::Blockers);
    let serious: Vec<usize> = view(&state).tree.rows.iter().map(|id| view(&state).facts().serious(*id)).collect();
    assert!(serious[0] > 0 && serious.is_sorted_by(|left, right| left >= right), "{serious:?}");
    press_all(&mut state, "S");
    let times: Vec<f64> = view(&state).tree.rows.iter().filter_map(|id| view(&state).facts().time(*id)).collect();
    assert!(times.len() > 20 && times.is_sorted_by(|left, right| left >= right), "{times:?}");
    assert_eq!(selected(&state), "encoder.attn");
    press_all(&mut state, "S");
    assert_eq!((view(&state).tree.order(), selected(&state).as_str()), (Order::Tree, "encoder.attn"));
    assert!(view(&state).tree.row_of(view(&state).tree.selected).is_some());
}

#[test]
fn an_order_is_of_what_the_filter_leaves_and_a_search_follows_it() {
    let mut state = sample::state("dark");
    press_all(&mut state, "fclass:Linear|MultiheadAttention");
    press(&mut state, KeyCode::Enter);
    press_all(&mut state, "S");
    assert_eq!(first(&state, 9), ["encoder.attn", "encoder.mlp.0", "encoder.mlp.2", "head"], "no modules above them");
    press_all(&mut state, "/enc");
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Char('g'));
    press_all(&mut state, "nn");
    assert_eq!(selected(&state), "encoder.mlp.2");
    press_all(&mut state, "n");
    assert_eq!(selected(&state), "encoder.attn", "round at the end of the list");
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("/enc  1 of 3") && text.contains(" 4 of 43 · by parameters"), "{text}");
    // What is not wanted is shown behind the others.
    press_all(&mut state, "]");
    let tree = &view(&state).tree;
    assert_eq!(tree.row_of(tree.selected), Some(4));
    assert!(tree.is_dimmed(tree.selected));
}

#[test]
fn rows_follow_what_is_measured() {
    let mut state = sample::state("dark");
    press_all(&mut state, "SS");
    let (stem, head) =
        (sample::document().model.find("stem.0").unwrap(), sample::document().model.find("head").unwrap());
    measure(&mut state, stem, 0.5, None);
    assert_eq!(first(&state, 1), ["stem.0"]);
    measure(&mut state, head, 40.0, None);
    assert_eq!(first(&state, 2), ["head", "stem.0"]);
    let nan = t2m_tui::compare::Trial { tolerance: f64::NAN, ..trial(7, 0.5) };
    let attention = sample::document().model.find("encoder.attn").unwrap();
    act(&mut state, Action::Verify(Event::Started { module: attention, trials: 1 }));
    act(&mut state, Action::Verify(Event::Trial { module: attention, trial: Box::new(nan) }));
    let verdict = t2m_tui::compare::Verdict::Broken;
    act(&mut state, Action::Verify(Event::Finished { module: attention, verdict, reason: None }));
    assert_eq!(first(&state, 3), ["encoder.attn", "head", "stem.0"], "nothing is worse than what is no number");
}

#[test]
fn modules_stand_under_their_classes_with_sums() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    select(&mut state, "layer1.0.conv2");
    press_all(&mut state, "C");
    let heads = view(&state).tree.rows.len();
    let group = view(&state).tree.head().expect("the cursor is on the class of its module").clone();
    assert_eq!((group.class.as_str(), group.modules.len()), ("torch.nn.modules.conv.Conv2d", 9));
    assert_eq!(group.parameters, 8 * 36_864 + 9_408);
    assert_eq!((group.judged, group.passed), (9, 9));
    let classes = view(&state).tree.list().unwrap().groups.as_ref().unwrap();
    assert_eq!((heads, classes.iter().map(|group| group.modules.len()).sum::<usize>()), (classes.len(), 43));
    assert_eq!(selected(&state), "layer1.0.conv2");
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("Modules ─ by class ─") && text.contains("▸ ● Conv2d ×9"), "{text}");

    // It unfolds to its modules, and folds from any of them.
    press(&mut state, KeyCode::Enter);
    assert_eq!(view(&state).tree.rows.len(), heads + 9);
    press_all(&mut state, "l");
    assert_eq!((selected(&state).as_str(), view(&state).tree.head().is_none()), ("stem.0", true));
    press_all(&mut state, "jh");
    assert!(view(&state).tree.head().is_some());
    press_all(&mut state, "h");
    assert_eq!(view(&state).tree.rows.len(), heads);

    // A run of the class is one of each of its modules.
    let effects = press(&mut state, KeyCode::Char(' '));
    let Some(Effect::Submit(request)) = effects.iter().find(|effect| matches!(effect, Effect::Submit(_))) else {
        panic!("{effects:?}")
    };
    assert_eq!(request.modules.len(), 9);

    // Classes have an order as well, and what leads to a module unfolds its class.
    press_all(&mut state, "S");
    let classes = view(&state).tree.list().unwrap().groups.as_ref().unwrap();
    let sums: Vec<u64> = classes.iter().map(|group| group.parameters).collect();
    assert!(sums.is_sorted_by(|left, right| left >= right), "{sums:?}");
    press_all(&mut state, "/encattn");
    press(&mut state, KeyCode::Enter);
    assert_eq!((selected(&state).as_str(), view(&state).tree.head().is_none()), ("encoder.attn", true));
    press_all(&mut state, "-");
    assert!(view(&state).tree.head().is_some() && view(&state).tree.rows.len() == heads);
    press_all(&mut state, "+");
    assert_eq!(view(&state).tree.rows.len(), heads + 43);
    press_all(&mut state, "CSSSS");
    assert!(view(&state).tree.list().is_none());
    assert_eq!(selected(&state), "encoder.attn");
}

#[test]
fn orders_and_classes_are_drawn_at_each_size_and_in_each_set_of_colours() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    press_all(&mut state, "SS");
    insta::assert_snapshot!("by_error", styled(&draw(&mut state, 120, 40)));
    insta::assert_snapshot!("by_error_small", rows(&draw(&mut state, 58, 16)).join("\n"));
    press_all(&mut state, "C");
    press(&mut state, KeyCode::Enter);
    insta::assert_snapshot!("by_class", styled(&draw(&mut state, 120, 40)));
    let theme = state.theme.clone();
    for (name, level) in [("by_class_sixteen", Level::Ansi16), ("by_class_no_colour", Level::Never)] {
        state.theme = theme.clone().at(level);
        insta::assert_snapshot!(name, styled(&draw(&mut state, 80, 24)));
    }
    state.ascii = true;
    let text = rows(&draw(&mut state, 80, 24));
    assert!(text.iter().all(|row| row.is_ascii()));
    insta::assert_snapshot!("by_class_ascii", text.join("\n"));
}

#[test]
fn jumps_lead_back_and_forward() {
    let mut state = sample::state("dark");
    draw(&mut state, 160, 45);
    let start = selected(&state);
    press_all(&mut state, "/roi");
    press(&mut state, KeyCode::Enter);
    press_all(&mut state, "jjkk");
    let roi = selected(&state);
    press_all(&mut state, "]");
    let blocker = (selected(&state), view(&state).source.line);
    press_all(&mut state, "b");
    press(&mut state, KeyCode::Char('G'));
    press(&mut state, KeyCode::Enter);
    let finding = selected(&state);
    assert_eq!(roi, "roi");
    assert_ne!(blocker.0, finding);
    assert_eq!(back(&mut state), blocker.0);
    assert_eq!(view(&state).source.line, blocker.1, "with its line");
    assert_eq!(back(&mut state), roi);
    assert_eq!(back(&mut state), start, "a search is one jump, however it was typed");
    assert_eq!(back(&mut state), start, "there is nothing before the first");
    assert_eq!((forward(&mut state), forward(&mut state), forward(&mut state)), (roi, blocker.0, finding.clone()));
    assert_eq!(forward(&mut state), finding);
    // A search that is given up leaves nothing.
    press_all(&mut state, "/stem");
    press(&mut state, KeyCode::Esc);
    assert_eq!(selected(&state), finding);
    back(&mut state);
    assert_eq!(forward(&mut state), finding);
    // A line that names a module, followed by enter or by the mouse.
    press_all(&mut state, "g}");
    act(&mut state, Action::Command(Command::NextPane));
    press(&mut state, KeyCode::Enter);
    assert_ne!(selected(&state), "", "a link was followed");
    assert_eq!(back(&mut state), "");
}

#[test]
fn a_click_in_the_tree_is_no_jump_and_one_on_a_link_is() {
    let mut state = sample::state("dark");
    draw(&mut state, 160, 45);
    let tree = state.areas.pane(Pane::Tree).unwrap().area;
    act(&mut state, Action::Click(tree.x + 10, tree.y + 3));
    let clicked = selected(&state);
    assert_eq!(back(&mut state), clicked);
    draw(&mut state, 160, 45);
    let (link, child) = *state.areas.links.first().expect("a line of the source names a child");
    act(&mut state, Action::Click(link.x, link.y));
    assert_eq!(view(&state).tree.selected, child);
    assert_eq!(back(&mut state), clicked);
}

fn preview(count: usize) -> Action {
    let row = |row: usize| Row {
        name: format!("layers.{row}.weight"),
        from: format!("blocks.{row}.weight"),
        rule: "identity".to_owned(),
        module: 1,
        known: Known::Plan,
    };
    let preview = Preview { rows: (0..count).map(row).collect(), ..Preview::default() };
    Action::Converting(converting::Event::Planned(Ok(Arc::new(preview))))
}

#[test]
fn a_list_is_searched_and_its_keys_come_back() {
    let mut state = sample::state("dark");
    draw(&mut state, 120, 40);
    press_all(&mut state, "bG");
    let last = state.panels.findings.cursor.row;
    press_all(&mut state, "/autocst");
    assert_eq!(state.panels.mode(), Some(Name::Find), "the footer has the search's keys");
    let findings = view(&state).document.findings.clone();
    let row = |state: &State| findings[state.panels.findings.cursor.row].what.clone();
    assert!(row(&state).contains("autocast"), "{}", row(&state));
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains(" /autocst   1 match "), "{text}");
    press(&mut state, KeyCode::Esc);
    assert_eq!((state.panels.open, state.panels.findings.cursor.row), (Some(Name::Findings), last));
    press_all(&mut state, "/layer1.0");
    press(&mut state, KeyCode::Enter);
    let here = state.panels.findings.cursor.row;
    press_all(&mut state, "n");
    assert!(state.panels.findings.cursor.row != here && state.panels.open == Some(Name::Findings));
    press_all(&mut state, "N");
    assert_eq!(state.panels.findings.cursor.row, here);
    insta::assert_snapshot!("found_in_the_list", styled(&draw(&mut state, 120, 40)));
    // Keys that were letters are keys again.
    press_all(&mut state, "q");
    assert_eq!(state.panels.open, None);
}

#[test]
fn a_conversion_of_100_000_tensors_is_searched() {
    let mut state = sample::state("dark");
    press_all(&mut state, "c");
    act(&mut state, preview(100_000));
    draw(&mut state, 90, 24);
    press_all(&mut state, "/blk.77123.w");
    press(&mut state, KeyCode::Enter);
    let buffer = draw(&mut state, 90, 24);
    let text = rows(&buffer).join("\n");
    assert!(text.contains("blocks.77123.weight") && text.contains("1 of 1"), "{text}");
    press(&mut state, KeyCode::Char('g'));
    press_all(&mut state, "n");
    assert!(rows(&draw(&mut state, 90, 24)).join("\n").contains("blocks.77123.weight"));
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.panels.open, None);
}
