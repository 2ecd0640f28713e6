//! What each term of the filter lets through, and what the screen makes of it.

use crate::common::sample::{self, act, draw, measure_all, select, type_text, view};
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use t2m_checkpoint::Dtype;
use t2m_tui::filter::{Facts, Filter, Kept, NothingKept};
use t2m_tui::model::{Model, Module, ModuleId};
use t2m_tui::open::{Options, open};
use t2m_tui::tui::action::{Action, Command};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::runtime::action_of;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::{Screen, State};
use t2m_tui::tui::theme::Level;
use t2m_tui::verify::Results;

/// Two marks and a note.
struct Some3;

impl Kept for Some3 {
    fn mark(&self, module: &Module) -> Option<&str> {
        match &*module.path {
            "stem.0" => Some("todo"),
            "stem.1" => Some("done"),
            _ => None,
        }
    }

    fn notes(&self, module: &Module) -> Vec<&str> {
        if &*module.path == "stem.2" { vec!["Look at the mask"] } else { Vec::new() }
    }

    fn marks(&self, _: &Model) -> Vec<(&str, usize)> {
        vec![("todo", 1), ("done", 1)]
    }
}

fn paths(facts: &Facts<'_>, text: &str) -> Vec<String> {
    let wanted = Filter::parse(text).unwrap().wanted(facts);
    let ids = (0..facts.model.modules.len()).filter(|&id| wanted[id]);
    ids.map(|id| facts.model.modules[id].path.to_string()).collect()
}

#[test]
fn each_term_lets_through_what_it_says() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    let view = view(&state);
    let facts = Facts { kept: &Some3, ..view.document.facts(&view.measured, &NothingKept) };
    let model = &view.document.model;
    let all = model.modules.len();
    let count = |text: &str| paths(&facts, text).len();
    let only = |text: &str| paths(&facts, text).join(" ");

    assert_eq!(
        (count("class:Conv2d"), count("class:conv2d"), count("class:CONV2D"), count("class:Conv")),
        (9, 9, 0, 0)
    );
    assert_eq!((count("class:*Norm*"), count("class:torch.nn.modules.linear.Linear")), (16, 3));
    assert_eq!((count("class:Conv2d|Linear"), count("-class:Conv2d")), (12, all - 9));
    assert_eq!(only("path:layer1.0"), "layer1.0");
    assert_eq!(count("path:layer1.*"), 12);
    assert_eq!(only("path:*.attn"), "encoder.attn");
    assert_eq!((count("status:recipe"), only("status:unknown|unsupported")), (6, "roi scan".to_owned()));
    assert_eq!(only("verdict:bad"), "layer2.0.bn1 layer2.1.gn encoder.mlp.1");
    assert_eq!(
        (only("verdict:drift"), only("verdict:failed")),
        ("layer2.0.bn1".to_owned(), "encoder.mlp.1".to_owned())
    );
    assert_eq!(count("verdict:any") + count("verdict:none"), all);
    assert_eq!(count("verdict:passed") + 3, count("verdict:any") - count("verdict:not-run"));
    // The trials' tolerance is 9.4e-6.
    assert_eq!(count("err>1tol"), count("err>9.4e-6"));
    assert_eq!(only("err>1tol verdict:bad -class:GELU"), "layer2.0.bn1 layer2.1.gn");
    assert!(count("err<=1tol") > 20 && count("err<=1tol") + count("err>1tol") == count("err>=0"));
    assert!(count("time>0") > 20 && count("time>1k") == 0);
    assert_eq!(
        only("params>20k"),
        "layer1.0.conv1 layer1.0.conv2 layer1.1.conv1 layer1.1.conv2 layer2.0.conv1 layer2.0.conv2 layer2.1.conv1 layer2.1.conv2"
    );
    assert_eq!(only("total>20k depth=1"), "layer1 layer2 encoder");
    assert_eq!((count("depth<1"), count("depth<=1")), (1, 9));
    assert_eq!(only("params=9408"), "stem.0");
    assert_eq!(only("evidence:inferred"), "encoder.norm2");
    assert_eq!((count("assumed:no"), count("assumed:yes")), (all, 0));
    // The blocks' forward has an .item(), the encoder's branches on data.
    assert_eq!(only("blocker:item"), "layer1.0 layer1.1 layer2.0 layer2.1");
    assert_eq!(count("blocker:any") + count("blocker:none"), all);
    assert!(only("blocker:any class:EncoderLayer | blocker:breaks class:EncoderLayer").contains("encoder"));
    assert!(count("blocker:harmless") < count("blocker:breaks") && count("blocker:training") == 0);
    let lines = facts.lines(model.find("layer1.0").unwrap()).unwrap();
    assert_eq!(only(&format!("lines={lines} class:Block")).split(' ').count(), 4);
    assert_eq!(count(&format!("lines>{lines} class:Block")), 0);
    assert_eq!(
        (only("mark:todo"), only("mark:any"), count("mark:none")),
        ("stem.0".into(), "stem.0 stem.1".into(), all - 2)
    );
    assert_eq!(
        (only("note:mask"), only("note:any"), only("note:\"the Mask\"")),
        ("stem.2".into(), "stem.2".into(), String::new())
    );
    assert_eq!((count("stale:yes"), count("stale:no")), (0, all));
    assert_eq!((only("encattn"), count("conv|linear"), count("conv linear")), ("encoder.attn".into(), 12, 0));
    assert_eq!(only("layer1 conv2 -\"layer1.0.conv2\""), "layer1.1.conv2");
    assert_eq!(only("attn | roi"), "roi encoder.attn");
    assert_eq!(count(""), all);
}

#[test]
fn a_type_is_that_of_the_modules_own_tensors() {
    let opened = open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap();
    let document = Document::of(&opened);
    let results = Results::of(opened.model.clone(), &opened.triage);
    let facts = document.facts(&results, &NothingKept);
    let own = |dtype| {
        let has = |id: &ModuleId| {
            let own = &opened.model.modules[*id].tensors;
            own.iter().any(|own| own.tensor.is_some_and(|at| opened.checkpoint.tensors[at].dtype == dtype))
        };
        (0..document.len()).filter(has).count()
    };
    assert!(own(Dtype::Float32) > 3);
    assert_eq!(paths(&facts, "dtype:f32").len(), own(Dtype::Float32));
    assert_eq!(paths(&facts, "dtype:i64").len(), own(Dtype::Int64));
    assert_eq!(paths(&facts, "dtype:float32|int64").len(), paths(&facts, "dtype:f32 | dtype:i64").len());
}

fn command(state: &mut State, command: Command) {
    act(state, Action::Command(command));
}

fn press(state: &mut State, code: KeyCode) {
    if let Some(action) = action_of(state, Input::Key(KeyEvent::new(code, KeyModifiers::NONE))) {
        act(state, action);
    }
}

fn press_all(state: &mut State, keys: &str) {
    keys.chars().for_each(|key| press(state, KeyCode::Char(key)));
}

fn selected(state: &State) -> String {
    let view = view(state);
    view.document.module(view.tree.selected).unwrap().path.to_string()
}

#[test]
fn what_is_typed_holds_at_once_as_far_as_it_can_be_read() {
    let mut state = sample::state("dark");
    press_all(&mut state, "fclass:Conv2d");
    assert_eq!(view(&state).tree.filter.to_string(), "class:Conv2d");
    assert_eq!(view(&state).tree.wanted(&view(&state).document), 9);
    press_all(&mut state, " statsu:recipe");
    assert_eq!(view(&state).tree.filter.to_string(), "class:Conv2d", "what cannot be read changes nothing");
    let text = rows(&draw(&mut state, 100, 30)).join("\n");
    assert!(text.contains("^ no key is called statsu; did you mean status?"), "{text}");
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.panels.open, Some(Name::Filter), "a mistake is not taken for an answer");
    press(&mut state, KeyCode::Esc);
    assert_eq!((state.panels.open, view(&state).tree.filter.to_string().as_str()), (None, "class:Conv2d"));
    press(&mut state, KeyCode::Esc);
    assert!(view(&state).tree.filter.is_empty(), "esc over the panes clears it");
}

#[test]
fn what_may_come_next_is_taken_by_tab() {
    let mut state = sample::state("dark");
    press_all(&mut state, "fcla");
    press(&mut state, KeyCode::Tab);
    press_all(&mut state, "lin");
    let text = rows(&draw(&mut state, 100, 30)).join("\n");
    let row = text.lines().find(|line| line.contains(" Linear ")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains(" 3 "), "with the number of modules: {row}");
    press(&mut state, KeyCode::Tab);
    assert_eq!(view(&state).tree.filter.to_string(), "class:Linear");
    // Behind a value comes the next term, and a list of values goes on behind a comma.
    press_all(&mut state, "status:direct,rec");
    press(&mut state, KeyCode::Tab);
    assert_eq!(view(&state).tree.filter.to_string(), "class:Linear status:direct|recipe");
    press_all(&mut state, "par");
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Enter);
    press_all(&mut state, "16500");
    press(&mut state, KeyCode::Enter);
    assert_eq!((state.panels.open, view(&state).tree.wanted(&view(&state).document)), (None, 1));
}

#[test]
fn a_search_stays_within_the_filter_and_leaves_it() {
    let mut state = sample::state("dark");
    press_all(&mut state, "fstatus:recipe");
    press(&mut state, KeyCode::Enter);
    press_all(&mut state, "/gn");
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("4 matches within the filter"), "{text}");
    press(&mut state, KeyCode::Enter);
    assert_eq!(selected(&state), "layer1.0.gn");
    press_all(&mut state, "nn");
    assert_eq!(
        (selected(&state).as_str(), view(&state).tree.filter.to_string().as_str()),
        ("layer2.0.gn", "status:recipe")
    );
    press_all(&mut state, "/conv");
    assert!(state.panels.find.matches().is_empty(), "convolutions are direct");
    press(&mut state, KeyCode::Esc);
    assert_eq!(view(&state).tree.filter.to_string(), "status:recipe");
    // Something else leads out of it: the module is shown, dimmed, and the filter stays.
    press(&mut state, KeyCode::Char(']'));
    let view = view(&state);
    assert!(!view.tree.wants(view.tree.selected) && view.tree.row_of(view.tree.selected).is_some());
    assert_eq!((view.tree.filter.to_string().as_str(), view.tree.wanted(&view.document)), ("status:recipe", 6));
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("6 of 39") && text.contains("status:recipe"), "the filter is in sight: {text}");
}

#[test]
fn a_search_changes_with_the_filter() {
    let mut state = sample::state("dark");
    press_all(&mut state, "/conv");
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.panels.find.matches().len(), 9);
    press_all(&mut state, "fpath:layer1.*");
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.panels.find.matches().len(), 4);
}

#[test]
fn the_best_match_comes_first_and_the_others_in_the_order_of_the_tree() {
    let mut state = sample::state("dark");
    select(&mut state, "layer2");
    press_all(&mut state, "/l1c2");
    press(&mut state, KeyCode::Enter);
    assert_eq!(selected(&state), "layer1.0.conv2");
    assert_eq!(state.panels.find.matches().len(), 2);
    press_all(&mut state, "n");
    assert_eq!(selected(&state), "layer1.1.conv2");
    press_all(&mut state, "/encoder");
    assert_eq!(selected(&state), "encoder", "of those that fit as well the shortest");
}

#[test]
fn the_filter_is_drawn_at_each_size_and_in_each_set_of_colours() {
    let mut state = sample::state("dark");
    measure_all(&mut state);
    press_all(&mut state, "fclass:*Norm* err>0.01tol ver");
    insta::assert_snapshot!("filter_typed", styled(&draw(&mut state, 100, 30)));
    insta::assert_snapshot!("filter_typed_small", rows(&draw(&mut state, 58, 16)).join("\n"));
    press_all(&mut state, "dikt:bad");
    insta::assert_snapshot!("filter_wrong", styled(&draw(&mut state, 80, 24)));
    (0..13).for_each(|_| press(&mut state, KeyCode::Backspace));
    press(&mut state, KeyCode::Enter);
    insta::assert_snapshot!("filtered", styled(&draw(&mut state, 120, 40)));
    press_all(&mut state, "/l1bn");
    let Screen::Open(_) = &state.screen else { panic!() };
    let theme = state.theme.clone();
    for (name, level) in [("found", Level::True), ("found_sixteen", Level::Ansi16), ("found_no_colour", Level::Never)] {
        state.theme = theme.clone().at(level);
        insta::assert_snapshot!(name, styled(&draw(&mut state, 80, 24)));
    }
    state.ascii = true;
    assert!(rows(&draw(&mut state, 80, 24)).iter().all(|row| row.is_ascii()));
    command(&mut state, Command::Dismiss);
}

#[test]
fn a_list_of_100_000_modules_is_filtered_and_searched_to_the_end() {
    let document = sample::wide_document(100_000);
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(document));
    type_text(&mut state, "ignored where no text is awaited");
    press_all(&mut state, "fpath:experts7.*");
    press(&mut state, KeyCode::Enter);
    assert_eq!(view(&state).tree.wanted(&view(&state).document), 100);
    press_all(&mut state, "/w99");
    assert_eq!((selected(&state).as_str(), state.panels.find.matches().len()), ("experts7.w99", 1));
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Esc);
    press_all(&mut state, "/exp989w99");
    assert_eq!(selected(&state), "experts989.w99");
}
