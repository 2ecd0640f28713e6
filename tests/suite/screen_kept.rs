//! Marks, notes and results on record on the screen: the panels, the rows, what is said, and what is asked of the keeper.

use std::sync::Arc;

use crate::common::sample::{self, act, draw, engines_ready, select, trial, view};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use t2m_engine::{EngineState, Side};
use t2m_tui::compare::{Verdict, WeightSource};
use t2m_tui::session::{
    About, Basis, Change, Engines, Loaded, Mark, Measured, Note, Panes, Place, Screen as Left, Session, Setting, Store,
    Time, Told,
};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panels::keep::Where;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::State;
use t2m_tui::tui::work::{Ask, Keeping};
use t2m_tui::verify::Event;
use t2m_tui::verify::recorded::basis;

fn store(name: &str) -> Store {
    Store {
        path: format!("/home/ada/{name}").into(),
        earlier: None,
        checkpoint: "vision_mini.pt".into(),
        is_named: false,
    }
}

/// The sample with this session, kept in the state folder.
fn open(session: Session, ask: bool) -> State {
    let mut document = Document::clone(&sample::document());
    let loaded = Loaded { session, store: Some(store("state/ab12.json")), ..Loaded::default() };
    document.keeping = Keeping {
        store: loaded.store.clone(),
        loaded: Arc::new(loaded),
        place: Place::State(None),
        unkept: None,
        state: Ok(store("state/ab12.json")),
        beside: Ok(store("vision_mini.pt.t2m-session.json")),
        ask: if ask { Ask::ToAsk } else { Ask::Answered },
    };
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(document)));
    draw(&mut state, 160, 45);
    state
}

fn commands(state: &mut State, commands: &[Command]) -> Vec<Effect> {
    commands.iter().flat_map(|command| act(state, Action::Command(*command))).collect()
}

fn type_text(state: &mut State, text: &str) {
    text.chars().for_each(|sign| drop(act(state, Action::Text(sign))));
}

fn changes(effects: &[Effect]) -> Vec<&Change> {
    let change = |effect: &'_ Effect| matches!(effect, Effect::Keep(_));
    let kept = effects.iter().filter(|effect| change(effect));
    kept.filter_map(|effect| if let Effect::Keep(change) = effect { Some(change) } else { None }).collect()
}

fn note(mark: Option<Mark>, words: &str) -> Note {
    Note { mark, note: words.to_owned(), at: Time::of_millis(1) }
}

/// Marks of every kind, two results, one of which is stale.
fn session() -> Session {
    let document = sample::document();
    let mut session = Session::default();
    let module = |path: &str| About::Module(path.to_owned());
    session.notes.insert(
        module("roi"),
        note(Some(Mark::Todo), "bilinear gathers; ask in the MLX channel before writing a kernel of our own"),
    );
    session.notes.insert(module("encoder"), note(Some(Mark::Done), ""));
    session.notes.insert(module("scan"), note(Some(Mark::Skip), "not used at inference"));
    session.notes.insert(module("pool"), note(Some(Mark::Own("ask Ada".to_owned())), ""));
    session.notes.insert(module("head"), note(None, "100 classes"));
    session.notes.insert(module("gone.long.ago"), note(Some(Mark::Todo), ""));
    session.notes.insert(About::Class("vision.net.Block".to_owned()), note(Some(Mark::Todo), "one forward for all"));
    for (path, changed) in [("head", false), ("stem.0", true)] {
        let id = document.model.find(path).unwrap();
        let mut rests_on = basis(&document.model, &document.triage, id);
        if changed {
            rests_on.recipe = "0".to_owned();
            rests_on.attributes.insert("stride".to_owned(), json!(1));
        }
        session.results.insert(path.to_owned(), result(rests_on));
    }
    session
}

fn result(rests_on: Basis) -> Measured {
    let info = |version: &str| {
        serde_json::from_value(json!({"protocol": 5, "engine": "x", "version": version, "device": "cpu", "flags": {}}))
    };
    Measured {
        at: Time::of_millis(1_796_070_070_123),
        verdict: Verdict::Ok,
        reason: None,
        setting: Setting {
            weights: WeightSource::Checkpoint,
            dtypes: vec![t2m_checkpoint::Dtype::Float32],
            trials: 2,
            seed: 7,
            twins: false,
            tf32: false,
        },
        engines: Engines { torch: info("2.13.0").ok(), mlx: info("0.32.2").ok() },
        rests_on,
        trials: vec![trial(7, 0.06), trial(8, 0.05)],
        twins: Vec::new(),
    }
}

#[test]
fn marks_notes_and_stale_results_are_seen() {
    let mut state = open(session(), false);
    select(&mut state, "stem.0");
    insta::assert_snapshot!("kept_stale", styled(&draw(&mut state, 120, 40)));
    select(&mut state, "roi");
    insta::assert_snapshot!("kept_noted_narrow", styled(&draw(&mut state, 80, 24)));
    select(&mut state, "head");
    state.ascii = true;
    let buffer = draw(&mut state, 80, 24);
    assert!(rows(&buffer).iter().all(|row| row.is_ascii()));
    insta::assert_snapshot!("kept_ascii", rows(&buffer).join("\n"));
}

#[test]
fn the_panel_of_mark_and_note() {
    let mut state = open(session(), false);
    select(&mut state, "roi");
    commands(&mut state, &[Command::Open(Name::Marks)]);
    insta::assert_snapshot!("marks", styled(&draw(&mut state, 120, 40)));
    commands(&mut state, &[Command::EraseAll]);
    type_text(&mut state, "sk");
    commands(&mut state, &[Command::Down]);
    insta::assert_snapshot!("marks_narrow", styled(&draw(&mut state, 80, 24)));
    select(&mut state, "layer1.0");
    commands(&mut state, &[Command::Dismiss, Command::Open(Name::Marks), Command::Scope]);
    insta::assert_snapshot!("marks_of_a_class", rows(&draw(&mut state, 80, 24)).join("\n"));
}

#[test]
fn a_module_and_its_class_are_marked_by_keys() {
    let mut state = open(Session::default(), false);
    select(&mut state, "layer1.0.conv1");
    commands(&mut state, &[Command::Open(Name::Marks)]);
    type_text(&mut state, "t");
    commands(&mut state, &[Command::Down]);
    type_text(&mut state, " groups\nlike this ");
    commands(&mut state, &[Command::Scope, Command::Up, Command::Right, Command::Right]);
    let effects = commands(&mut state, &[Command::Accept]);
    let conv = "torch.nn.modules.conv.Conv2d".to_owned();
    assert_eq!(
        changes(&effects),
        [
            &Change::Noted(About::Module("layer1.0.conv1".to_owned()), Some(Mark::Todo), "groups like this".to_owned()),
            &Change::Noted(About::Class(conv), Some(Mark::Done), String::new()),
        ]
    );
    let at = |path: &str| sample::document().model.find(path).unwrap();
    let shown = view(&state);
    assert_eq!(shown.mark(at("layer1.0.conv1")), Some(&Mark::Todo), "its own is nearer than its class's");
    assert_eq!(shown.mark(at("stem.0")), Some(&Mark::Done));
    assert_eq!(shown.mark(at("stem.1")), None);
    let header = rows(&draw(&mut state, 160, 45))[0].clone();
    assert!(header.contains("1 todo") && header.contains("1 done"), "{header}");

    // What was not changed is not kept again; esc leaves it; ctrl-x takes it away.
    commands(&mut state, &[Command::Open(Name::Marks)]);
    assert!(changes(&commands(&mut state, &[Command::Accept])).is_empty());
    commands(&mut state, &[Command::Open(Name::Marks)]);
    type_text(&mut state, "x");
    assert!(changes(&commands(&mut state, &[Command::Dismiss])).is_empty());
    commands(&mut state, &[Command::Open(Name::Marks), Command::Forget]);
    let effects = commands(&mut state, &[Command::Accept]);
    let gone = Change::Noted(About::Module("layer1.0.conv1".to_owned()), None, String::new());
    assert_eq!(changes(&effects), [&gone]);
    assert_eq!(view(&state).mark(at("layer1.0.conv1")), Some(&Mark::Done));
}

#[test]
fn where_it_is_kept_is_asked_once_and_chosen() {
    let mut state = open(Session::default(), true);
    assert_eq!(state.notice.as_deref().unwrap_or_default(), "");
    let mark = |state: &mut State, word: &str| {
        commands(state, &[Command::Open(Name::Marks), Command::EraseAll]);
        type_text(state, word);
        commands(state, &[Command::Accept]);
    };
    assert!(!state.asks_where(), "there is nothing to keep yet");
    mark(&mut state, "todo");
    let asked = "Where is what you do here to be kept?  1 in the state folder  2 beside the file  3 nowhere";
    assert!(rows(&draw(&mut state, 160, 45))[44].contains(asked));
    for (width, words) in
        [(80, "Keep where?  1 state folder  2 beside the file  3 nowhere"), (50, "Keep?  1 state  2 beside  3 no")]
    {
        let line = rows(&draw(&mut state, width, 24))[23].clone();
        assert!(line.contains(words), "{line}");
    }
    // It takes no key but its answers, which are none where a panel is open, and stays until one is given.
    let key = |character| KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE);
    assert_eq!(state.command_of(&key('2')), Some(Command::Keep(Where::Beside)));
    assert_eq!(state.command_of(&key('j')), Some(Command::Down));
    commands(&mut state, &[Command::Open(Name::About)]);
    assert_eq!(state.command_of(&key('2')), None);
    commands(&mut state, &[Command::Dismiss, Command::Down]);
    assert!(state.asks_where());
    // Who leaves without an answer is content.
    let mut left = state.clone();
    let effects = commands(&mut left, &[Command::Quit]);
    assert!(matches!(effects[..], [Effect::Answer(Place::State(_)), Effect::Quit(_)]), "{effects:?}");
    // A click on an answer gives it.
    let mut clicked = state.clone();
    draw(&mut clicked, 160, 45);
    let areas = clicked.areas.keys.clone();
    let (area, _) = areas.iter().find(|(_, command)| *command == Command::Keep(Where::Nowhere)).unwrap();
    let effects = act(&mut clicked, Action::Click(area.x, area.y));
    assert_eq!(changes(&effects), [&Change::Move(None)]);
    assert!(!clicked.asks_where());
    let mut answered = state.clone();
    let effects = commands(&mut answered, &[Command::Keep(Where::Beside)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Answer(Place::Beside))));
    mark(&mut answered, "done");
    assert!(!answered.asks_where() && state.command_of(&key('2')).is_some(), "it is asked once");
    assert_eq!(answered.command_of(&key('2')), None);
    commands(&mut state, &[Command::Open(Name::Keep)]);
    insta::assert_snapshot!("keep", styled(&draw(&mut state, 120, 40)));
    insta::assert_snapshot!("keep_narrow", rows(&draw(&mut state, 80, 24)).join("\n"));
    let effects = commands(&mut state, &[Command::Down, Command::Accept]);
    assert_eq!(changes(&effects), [&Change::Move(Some(store("vision_mini.pt.t2m-session.json")))]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Answer(Place::Beside))));
    assert!(state.notice.as_deref().unwrap().contains("/home/ada/vision_mini.pt.t2m-session.json"));
}

#[test]
fn what_is_not_kept_is_said_once_and_stays_on_the_screen() {
    let mut state = open(Session::default(), false);
    let why = "This session is not kept: /home/ada/state: Read-only file system (os error 30).".to_owned();
    act(&mut state, Action::Kept(Told::Unkept(why.clone())));
    assert_eq!(state.notice.as_ref(), Some(&why));
    commands(&mut state, &[Command::Down]);
    act(&mut state, Action::Kept(Told::Unkept(why.clone())));
    assert_eq!(state.notice, None);
    commands(&mut state, &[Command::Open(Name::Marks)]);
    let panel = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(panel.contains("Read-only file system"), "{panel}");
}

#[test]
fn what_another_program_marked_and_measured_appears() {
    let mut state = open(Session::default(), false);
    let others = session();
    act(&mut state, Action::Kept(Told::Kept(Some(Box::new(others)))));
    let at = |path: &str| sample::document().model.find(path).unwrap();
    let view = view(&state);
    assert_eq!(view.mark(at("roi")), Some(&Mark::Todo));
    assert_eq!((view.measured.verdict(at("head")), view.measured.total().measured), (Some(Verdict::Ok), 1));
    assert!(view.stale(at("stem.0")).is_some());
}

#[test]
fn it_is_taken_up_where_it_was_left() {
    let mut state = open(Session::default(), false);
    select(&mut state, "encoder.mlp");
    commands(&mut state, &[Command::Weights, Command::Half, Command::Open(Name::Filter)]);
    type_text(&mut state, "status:direct");
    commands(&mut state, &[Command::Accept]);
    select(&mut state, "encoder.mlp");
    commands(&mut state, &[Command::Fold]);
    let left = state.place().unwrap();
    let session = Session { screen: Some(left.clone()), ..Session::default() };
    let mut again = open(session, false);
    assert_eq!(again.place().unwrap(), left);
    assert_eq!(left.filter, "status:direct");
    assert_eq!(again.trials.weights, WeightSource::Random);
    // Order, classes and panes, too.
    let mut other = open(Session::default(), false);
    draw(&mut other, 160, 45);
    commands(&mut other, &[Command::Group, Command::Sort, Command::Fold, Command::Down, Command::Down]);
    let chosen = view(&other).tree.selected;
    commands(&mut other, &[Command::Wider, Command::NextPane, Command::Zoom]);
    let placed = other.place().unwrap();
    assert_eq!((placed.order.as_str(), placed.grouped, placed.unfolded.len()), ("parameters", true, 1));
    let text = serde_json::to_string(&placed).unwrap();
    let kept: Left = serde_json::from_str(&text).unwrap();
    let mut resumed = open(Session { screen: Some(kept), ..Session::default() }, false);
    assert_eq!(resumed.place().unwrap(), placed);
    let shown = view(&resumed);
    assert_eq!((shown.tree.selected, shown.focus, shown.zoomed), (chosen, Pane::Source, true));
    assert_eq!(rows(&draw(&mut resumed, 160, 45))[3..40], rows(&draw(&mut other, 160, 45))[3..40]);
    commands(&mut resumed, &[Command::Zoom]);
    assert!(rows(&draw(&mut resumed, 160, 45)).join("\n").contains("by class, parameters"));
    // A session of another version may have words and shares that mean nothing here.
    let odd = Left {
        order: "moon".to_owned(),
        panes: Some(Panes {
            focus: "graph".into(),
            lower: "tree".into(),
            bottom: "x".into(),
            shares: [Some(9000); 3],
            ..Panes::default()
        }),
        ..Left::default()
    };
    assert_eq!(open(Session { screen: Some(odd), ..Session::default() }, false).place().unwrap(), Left::default());
    assert_eq!(view(&again).document.model.modules[view(&again).tree.selected].path, "encoder.mlp");
    let mlp = view(&again).tree.selected;
    assert!(view(&again).tree.is_folded(mlp) && !view(&open(Session::default(), false)).tree.is_folded(mlp));
    assert!(rows(&draw(&mut again, 160, 45)).join("\n").contains("status:direct"));
    // A fresh screen and one that was left at its beginning are the same.
    let fresh = open(Session::default(), false).place().unwrap();
    assert_eq!(fresh, Left::default());
}

/// The modules of each run that is asked for.
fn submitted(effects: &[Effect]) -> Vec<Vec<usize>> {
    let run = |effect: &Effect| if let Effect::Submit(request) = effect { Some(request.modules.clone()) } else { None };
    effects.iter().filter_map(run).collect()
}

#[test]
fn a_runs_what_is_missing_or_stale_once_the_engines_have_said_which_they_are() {
    let mut state = open(session(), false);
    let document = sample::document();
    let at = |path: &str| document.model.find(path).unwrap();
    assert_eq!(view(&state).measured.total().measured, 1, "what is stale does not count");
    let all = document.runnable_below(0);
    let effects = commands(&mut state, &[Command::RunAll]);
    assert_eq!(submitted(&effects), [Vec::<usize>::new()], "the engines start first");
    engines_ready(&mut state);
    let effects = act(&mut state, Action::Verify(Event::Done { cancelled: false }));
    let rest: Vec<usize> = all.iter().copied().filter(|id| *id != at("head")).collect();
    assert_eq!(submitted(&effects), std::slice::from_ref(&rest));
    assert!(rest.contains(&at("stem.0")));
    for id in rest {
        let effects = act(&mut state, Action::Verify(Event::Started { module: id, trials: 1 }));
        assert!(changes(&effects).is_empty());
        act(&mut state, Action::Verify(Event::Trial { module: id, trial: Box::new(trial(7, 0.1)) }));
        let effects =
            act(&mut state, Action::Verify(Event::Finished { module: id, verdict: Verdict::Ok, reason: None }));
        let [Change::Measured(path, kept)] = changes(&effects)[..] else { panic!("{id} is not kept") };
        assert_eq!((path.as_str(), kept.trials.len()), (document.model.modules[id].path.as_str(), 1));
        assert_eq!(kept.engines.mlx.as_ref().unwrap().version, "0.32.2");
        assert_eq!(kept.rests_on, basis(&document.model, &document.triage, id));
    }
    act(&mut state, Action::Verify(Event::Done { cancelled: false }));
    assert!(submitted(&commands(&mut state, &[Command::RunAll])).is_empty());
    assert_eq!(state.notice.as_deref(), Some("nothing is missing or stale: A runs all again"));
    assert_eq!(submitted(&commands(&mut state, &[Command::RunAgain])), std::slice::from_ref(&all));
    commands(&mut state, &[Command::Cancel]);
    assert_eq!(view(&state).measured.total().finished() as usize, all.len(), "a cancelled run leaves what was known");
    // With other weights what has weights is stale, and missing; what has none computes the same with any.
    commands(&mut state, &[Command::Weights]);
    let with: Vec<usize> = all.iter().copied().filter(|id| document.model.modules[*id].total_parameters > 0).collect();
    assert!(!with.is_empty() && with.len() < all.len());
    assert_eq!(view(&state).measured.total().finished() as usize, all.len() - with.len());
    assert_eq!(submitted(&commands(&mut state, &[Command::RunAll])), [with]);
}

#[test]
fn another_engine_makes_what_is_on_record_stale() {
    let mut state = open(session(), false);
    commands(&mut state, &[Command::RunAll]);
    let info = serde_json::from_value(
        json!({"protocol": 5, "engine": "t2m-mlx", "version": "0.33.0", "device": "cpu", "flags": {}}),
    );
    act(&mut state, Action::Verify(Event::Engine(Side::Mlx, EngineState::Ready(info.unwrap()))));
    let effects = act(&mut state, Action::Verify(Event::Done { cancelled: false }));
    assert_eq!(submitted(&effects), [sample::document().runnable_below(0)]);
}
