//! What keys, the mouse and measurements do to the screen, and the loop around it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::sample::{
    self, act, command, draw, drawn, engines_ready, measure, measure_all, select, trial, view,
};
use crossbeam_channel::unbounded;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use t2m_tui::compare::Verdict;
use t2m_tui::exit::Exit;
use t2m_tui::filter::Tick;
use t2m_tui::source::{Reach, Severity};
use t2m_tui::triage::Status;
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::areas::Rows;
use t2m_tui::tui::converting::{self, Converter, Wish as Written};
use t2m_tui::tui::opening::Opening;
use t2m_tui::tui::panels::findings::Kind;
use t2m_tui::tui::panels::{self, Name};
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::runtime::{Loaded, Message, Verifier, Workers, event_loop};
use t2m_tui::tui::snapshot::rows;
use t2m_tui::tui::state::{Screen, State};
use t2m_tui::tui::term::{Console, Wish};
use t2m_tui::verify::{Event, Request};

fn selected(state: &State) -> String {
    let view = view(state);
    view.document.module(view.tree.selected).unwrap().path.to_string()
}

fn submitted(effects: &[Effect]) -> Option<&Request> {
    effects.iter().find_map(|effect| match effect {
        Effect::Submit(request) => Some(request),
        _ => None,
    })
}

fn id(path: &str) -> usize {
    sample::document().model.find(path).unwrap()
}

#[test]
fn moving_folding_and_unfolding() {
    let mut state = drawn();
    command(&mut state, Command::Down);
    assert_eq!(selected(&state), "stem");
    command(&mut state, Command::Left);
    assert!(view(&state).tree.is_folded(id("stem")));
    command(&mut state, Command::Down);
    assert_eq!(selected(&state), "layer1");
    command(&mut state, Command::Right);
    assert_eq!(selected(&state), "layer1.0");
    command(&mut state, Command::Left);
    command(&mut state, Command::Left);
    assert_eq!(selected(&state), "layer1");
    command(&mut state, Command::Bottom);
    assert_eq!(selected(&state), "head");
    command(&mut state, Command::Top);
    assert_eq!(selected(&state), "");
    command(&mut state, Command::FoldAll);
    assert_eq!(view(&state).tree.rows.len(), 9, "the root and its children");
    command(&mut state, Command::UnfoldAll);
    assert_eq!(view(&state).tree.rows.len(), view(&state).document.len());
}

#[test]
fn folding_around_the_selection_takes_it_along() {
    let mut state = drawn();
    select(&mut state, "encoder.mlp.2");
    command(&mut state, Command::FoldAll);
    assert_eq!(selected(&state), "encoder");
}

#[test]
fn running_asks_for_the_layers_below_in_order_and_once() {
    let mut state = drawn();
    select(&mut state, "layer1.0");
    let effects = command(&mut state, Command::Run);
    let request = submitted(&effects).unwrap();
    let names: Vec<&str> = ["conv1", "bn1", "conv2", "gn", "act"].to_vec();
    let expected: Vec<usize> = names.iter().map(|name| id(&format!("layer1.0.{name}"))).collect();
    assert_eq!((request.modules.clone(), request.trials, request.seed), (expected, 8, 7));
    assert!(submitted(&command(&mut state, Command::Run)).is_none(), "what is queued is not asked for again");
    assert_eq!(state.notice.as_deref(), Some("it runs already"));
    let all = command(&mut state, Command::RunAll);
    assert_eq!(submitted(&all).unwrap().modules.len(), 30 - 5);
}

#[test]
fn what_has_no_conversion_says_so() {
    let mut state = drawn();
    select(&mut state, "roi");
    assert!(command(&mut state, Command::Run).is_empty());
    assert_eq!(state.notice.as_deref(), Some("nothing to run: roi has no conversion"));
}

#[test]
fn cancelling_reaches_the_runner_and_frees_what_was_queued() {
    let mut state = drawn();
    command(&mut state, Command::RunAll);
    assert!(state.is_moving());
    assert!(matches!(command(&mut state, Command::Cancel)[..], [Effect::Cancel]));
    assert!(!state.is_moving());
    assert!(view(&state).measured.layer(id("head")).is_none());
}

#[test]
fn sums_follow_the_verdicts_up_the_tree_and_back() {
    let mut state = drawn();
    engines_ready(&mut state);
    measure(&mut state, id("layer1.0.conv1"), 0.4, None);
    measure(&mut state, id("layer1.0.gn"), 50_000.0, None);
    let sum = view(&state).measured.sum(id("layer1"));
    assert_eq!((sum.passed(), sum.of(Verdict::Broken), sum.worst()), (1, 1, Some(Verdict::Broken)));
    measure(&mut state, id("layer1.0.gn"), 0.2, None);
    let sum = view(&state).measured.sum(0);
    assert_eq!((sum.passed(), sum.of(Verdict::Broken), sum.worst()), (2, 0, Some(Verdict::Ok)));
}

#[test]
fn the_worst_trial_is_shown_and_nan_is_the_worst() {
    let mut state = drawn();
    let head = id("head");
    act(&mut state, Action::Verify(Event::Started { module: head, trials: 3 }));
    for (seed, share) in [(1, 0.1), (2, f64::NAN), (3, 0.9)] {
        act(&mut state, Action::Verify(Event::Trial { module: head, trial: Box::new(trial(seed, share)) }));
    }
    assert_eq!(view(&state).measured.layer(head).unwrap().worst().unwrap().seed, 2);
    select(&mut state, "head");
    let text = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(text.contains("max abs    nan"), "{text}");
}

#[test]
fn blockers_are_visited_in_order_round_and_back() {
    let mut state = drawn();
    let mut visit = |next: bool| {
        command(&mut state, if next { Command::NextBlocker } else { Command::PreviousBlocker });
        (selected(&state), view(&state).source.line.unwrap())
    };
    // What is harmless, in line 52 of the model's own, is no stop: the header does not count it.
    let lines = [25, 26, 28];
    for line in lines {
        assert_eq!(visit(true), ("layer1.0".to_owned(), line), "once, however many modules run it");
    }
    assert_eq!(visit(true), ("layer1.0".to_owned(), 25));
    assert_eq!(visit(false), ("layer1.0".to_owned(), 28));
    assert_eq!(view(&state).document.flags(), lines.len());
}

#[test]
fn from_another_module_that_runs_a_place_the_next_one_is_gone_to() {
    let mut state = drawn();
    select(&mut state, "layer2.0");
    command(&mut state, Command::NextBlocker);
    assert_eq!((selected(&state), view(&state).source.line), ("layer1.0".to_owned(), Some(25)));
    select(&mut state, "layer2.0");
    command(&mut state, Command::PreviousBlocker);
    assert_eq!((selected(&state), view(&state).source.line), ("layer1.0".to_owned(), Some(28)));
}

#[test]
fn a_jump_unfolds_and_shows_the_line() {
    let mut state = drawn();
    command(&mut state, Command::FoldAll);
    command(&mut state, Command::NextBlocker);
    assert_eq!(selected(&state), "layer1.0");
    let shown = rows(&draw(&mut state, 160, 45));
    assert!(shown.iter().any(|row| row.contains(" 25 │")), "{shown:#?}");
}

#[test]
fn the_source_follows_the_selection_and_leads_back() {
    let mut state = drawn();
    select(&mut state, "layer1.1.gn");
    draw(&mut state, 160, 45);
    assert_eq!(view(&state).source.owner, Some(id("layer1.1")));
    assert_eq!(view(&state).source.line, Some(24));
    let (link, child) = state.areas.links[0];
    assert_eq!(child, id("layer1.1.conv1"));
    act(&mut state, Action::Click(link.x + 3, link.y));
    assert_eq!(selected(&state), "layer1.1.conv1");
    assert_eq!(view(&state).focus, Pane::Source);
}

#[test]
fn lines_that_name_modules_are_walked_and_lead_to_them() {
    let mut state = drawn();
    select(&mut state, "layer1.1");
    draw(&mut state, 160, 45);
    let walk = |state: &mut State, to| {
        command(state, to);
        view(state).source.line.unwrap()
    };
    let first = walk(&mut state, Command::NextLink);
    let second = walk(&mut state, Command::NextLink);
    assert!(second > first && first > 0);
    assert_eq!((walk(&mut state, Command::PreviousLink), selected(&state)), (first, "layer1.1".to_owned()));
    command(&mut state, Command::PreviousLink);
    let last = view(&state).source.line.unwrap();
    assert!(last > second, "round at the beginning");
    command(&mut state, Command::NextLink);
    while view(&state).focus != Pane::Source {
        command(&mut state, Command::NextPane);
    }
    command(&mut state, Command::Fold);
    assert_eq!(selected(&state), "layer1.1.conv1");
    assert_eq!(view(&state).focus, Pane::Source);
}

#[test]
fn where_the_selected_module_is_built_and_called_is_marked() {
    let mut state = drawn();
    select(&mut state, "encoder.norm1");
    draw(&mut state, 160, 45);
    let buffer = draw(&mut state, 160, 45);
    let source = state.areas.pane(Pane::Source).unwrap();
    let text = rows(&buffer);
    let marked: Vec<&str> = (source.area.top()..source.area.bottom())
        .filter(|y| buffer[(source.area.x, *y)].symbol() == "▌")
        .map(|y| text[usize::from(y)].as_str())
        .collect();
    assert_eq!(marked.len(), 2, "{marked:#?}");
    assert!(marked[0].contains("self.norm1 = ") && marked[1].contains("self.norm1("), "{marked:#?}");
}

#[test]
fn the_list_of_blockers_is_worst_first_and_leads_to_each() {
    let mut state = drawn();
    command(&mut state, Command::Open(Name::Findings));
    assert_eq!(state.panels.open, Some(Name::Findings));
    let findings = view(&state).document.findings.clone();
    let severities: Vec<Kind> = findings.iter().map(|finding| finding.kind).collect();
    assert!(
        severities.len() > 3 && severities[0] == Kind::Blocker(Severity::Breaks, Reach::Inference),
        "{severities:?}"
    );
    assert_eq!(findings.iter().find(|finding| finding.what == ".item()").unwrap().count, 4, "one place, four modules");
    let text = rows(&draw(&mut state, 160, 45)).join("\n");
    assert!(
        text.contains("Blockers and ops") && text.contains("branch on data") && text.contains(&findings[0].words[..20])
    );
    command(&mut state, Command::Down);
    command(&mut state, Command::Down);
    command(&mut state, Command::Up);
    command(&mut state, Command::Accept);
    assert_eq!((state.panels.open, view(&state).tree.selected), (None, findings[1].at.module));
    assert_eq!(view(&state).source.line, Some(findings[1].at.line));
    command(&mut state, Command::Open(Name::Findings));
    command(&mut state, Command::PageDown);
    command(&mut state, Command::PageDown);
    assert_eq!(state.panels.findings.cursor.row, findings.len() - 1);
    command(&mut state, Command::Dismiss);
    assert_eq!(state.panels.open, None);
}

#[test]
fn the_filter_keeps_ancestors_and_forgets_them_again() {
    let mut state = drawn();
    command(&mut state, Command::FoldAll);
    command(&mut state, Command::Open(Name::Filter));
    command(&mut state, Command::Bottom);
    sample::type_text(&mut state, "status:recipe");
    let tree = &view(&state).tree;
    assert!(tree.filter.is_ticked(Tick::Status(Status::Recipe)));
    assert_eq!(tree.wanted(&view(&state).document), 6);
    assert!(tree.row_of(id("layer1.0.gn")).is_some() && tree.row_of(id("layer1.0.conv1")).is_none());
    assert!(tree.is_dimmed(id("layer1.0")));
    command(&mut state, Command::Accept);
    assert_eq!(state.panels.open, None);
    command(&mut state, Command::Dismiss);
    assert!(view(&state).tree.filter.is_empty());
    assert!(view(&state).tree.row_of(id("layer1.0.conv1")).is_some());
}

#[test]
fn only_what_measured_badly() {
    let mut state = drawn();
    measure_all(&mut state);
    command(&mut state, Command::Open(Name::Filter));
    command(&mut state, Command::Up);
    command(&mut state, Command::Toggle);
    assert_eq!(view(&state).tree.filter.to_string(), "verdict:bad", "a tick writes its term");
    let view = view(&state);
    let leaves: Vec<&str> = view
        .tree
        .rows
        .iter()
        .filter(|&&id| !view.tree.is_dimmed(id))
        .map(|&id| view.document.module(id).unwrap().path.as_str())
        .collect();
    assert_eq!(leaves, ["layer2.0.bn1", "layer2.1.gn", "encoder.mlp.1"]);
}

#[test]
fn a_search_goes_to_matches_and_escape_goes_back() {
    let mut state = drawn();
    select(&mut state, "layer1.1");
    command(&mut state, Command::FoldAll);
    let before = selected(&state);
    command(&mut state, Command::Open(Name::Find));
    for character in "attn".chars() {
        act(&mut state, Action::Text(character));
    }
    assert_eq!(selected(&state), "encoder.attn");
    command(&mut state, Command::Dismiss);
    assert_eq!(selected(&state), before);
    assert!(view(&state).tree.is_folded(id("encoder")), "folds are as they were");

    command(&mut state, Command::Open(Name::Find));
    act(&mut state, Action::Paste("conv\u{7}2".to_owned()));
    assert_eq!(state.panels.find.search.as_ref().unwrap().text, "conv2");
    command(&mut state, Command::Accept);
    let first = selected(&state);
    command(&mut state, Command::FindNext);
    assert_ne!(selected(&state), first);
    command(&mut state, Command::FindPrevious);
    assert_eq!(selected(&state), first);
    assert_eq!(state.panels.find.matches().len(), 9, "by path and by class");
}

#[test]
fn upper_case_in_a_search_counts() {
    let document = sample::document();
    let search = |text: &str| panels::find::matches(&document, text).len();
    assert_eq!((search("conv2d"), search("Conv2d"), search("CONV2D")), (9, 9, 0));
    assert_eq!((search("layer2 gn"), search("gn layer2"), search("layer2 nothing")), (2, 2, 0));
    assert_eq!(search("  "), 0);
}

#[test]
fn the_mouse_hits_what_was_drawn() {
    let mut state = drawn();
    let Rows { area, top, .. } = state.areas.pane(Pane::Tree).unwrap();
    act(&mut state, Action::Click(area.x + 20, area.y + 3));
    let expected = view(&state).tree.rows[top + 3];
    assert_eq!(view(&state).tree.selected, expected);
    let before = view(&state).tree.rows.len();
    act(&mut state, Action::Click(area.x + 3, area.y + 1));
    assert_eq!(view(&state).tree.rows.len(), before - 3, "the marker of stem folds it");

    act(&mut state, Action::Wheel(area.x + 5, area.y + 5, 3));
    draw(&mut state, 160, 45);
    assert_eq!(state.areas.pane(Pane::Tree).unwrap().top, 3, "the view moves");
    assert_eq!(view(&state).tree.selected, id("stem"), "the selection does not");

    let (quit, _) = *state.areas.keys.iter().find(|(_, command)| *command == Command::Quit).unwrap();
    assert!(matches!(act(&mut state, Action::Click(quit.x, quit.y))[..], [Effect::Quit(Exit::Fine)]));
}

#[test]
fn tabs_are_clicked_where_panes_share_a_place() {
    let mut state = sample::state("dark");
    draw(&mut state, 58, 16);
    let (tab, pane) = state.areas.tabs[2];
    assert_eq!(pane, Pane::Live);
    act(&mut state, Action::Click(tab.x + 1, tab.y));
    assert_eq!(view(&state).focus, Pane::Live);
    assert!(rows(&draw(&mut state, 58, 16)).join("\n").contains("space runs the 30 layers below it"));
}

#[test]
fn a_panic_elsewhere_is_told_and_the_screen_stays() {
    let mut state = drawn();
    command(&mut state, Command::RunAll);
    act(&mut state, Action::WorkerPanicked("verify panicked at x.rs:1: boom".to_owned()));
    assert!(state.notice.as_ref().unwrap().contains("this is a bug in t2m-tui: verify panicked at x.rs:1: boom"));
    // The runner goes on after a panic over a layer.
    assert!(state.is_moving());
}

#[test]
fn half_precision_is_run_where_it_is_asked_for() {
    let mut state = drawn();
    command(&mut state, Command::Half);
    let dtypes =
        |effects: &[Effect]| submitted(effects).unwrap().dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>();
    assert_eq!(dtypes(&command(&mut state, Command::Run)), ["float32", "float16", "bfloat16"]);
    command(&mut state, Command::Cancel);
    command(&mut state, Command::Half);
    assert_eq!(dtypes(&command(&mut state, Command::Run)), ["float32"]);
}

#[test]
fn what_is_started_after_a_cancellation_outlives_it() {
    let mut state = drawn();
    command(&mut state, Command::RunAll);
    command(&mut state, Command::Cancel);
    assert!(!state.is_moving(), "what was queued is free at once");
    select(&mut state, "head");
    assert!(submitted(&command(&mut state, Command::Run)).is_some());
    act(&mut state, Action::Verify(Event::Done { cancelled: true }));
    assert!(view(&state).measured.layer(id("head")).is_some(), "the end of the cancelled run is not the new one's");
    act(&mut state, Action::Verify(Event::Done { cancelled: false }));
    assert!(view(&state).measured.layer(id("head")).is_none());
}

/// Notes what the loop asks of the terminal.
struct FakeConsole(Rc<RefCell<Vec<&'static str>>>);

impl Console for FakeConsole {
    fn begin_frame(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn end_frame(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.0.borrow_mut().push(if on { "mouse on" } else { "mouse off" });
        Ok(())
    }
    fn suspend(&mut self) -> io::Result<()> {
        self.0.borrow_mut().push("suspend");
        Ok(())
    }
    fn retake(&mut self) -> io::Result<()> {
        self.0.borrow_mut().push("retake");
        Ok(())
    }
}

/// Notes what the loop asks of the runner.
struct FakeVerifier(Arc<Mutex<Vec<usize>>>);

impl Verifier for FakeVerifier {
    fn submit(&self, request: Request) {
        self.0.lock().unwrap().push(request.modules.len());
    }
    fn cancel(&self) {
        self.0.lock().unwrap().push(0);
    }
}

/// Notes what it was asked for.
struct FakeConverter(Arc<Mutex<Vec<&'static str>>>);

impl Converter for FakeConverter {
    fn plan(&self) {
        self.0.lock().unwrap().push("plan");
    }

    fn write(&self, _wish: Written) {
        self.0.lock().unwrap().push("write");
    }

    fn stop(&self) {
        self.0.lock().unwrap().push("stop");
    }
}

fn key(character: char, modifiers: KeyModifiers) -> Message {
    Message::Input(Input::Key(KeyEvent::new(KeyCode::Char(character), modifiers)))
}

/// How it ended, what was asked of the terminal, what was asked of the runner, the last screen.
fn run(messages: Vec<Message>) -> (Exit, Vec<&'static str>, State) {
    let mut state = sample::state("dark");
    state.screen = Screen::Opening(Opening::new("x.pt".to_owned(), Duration::ZERO));
    let (sender, inbox) = unbounded();
    let (jobs, _job_inbox) = unbounded();
    for message in messages {
        sender.send(message).unwrap();
    }
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut terminal = Terminal::new(TestBackend::new(160, 45)).unwrap();
    let mut workers = Workers::default();
    let exit =
        event_loop(&mut terminal, &mut FakeConsole(log.clone()), &mut state, &inbox, &jobs, &mut workers).unwrap();
    let log = log.borrow().clone();
    (exit, log, state)
}

#[test]
fn a_conversion_is_planned_written_and_stopped() {
    let asked = |state: &mut State, command| {
        let effects = sample::act(state, Action::Command(command));
        effects.into_iter().find_map(|effect| match effect {
            Effect::PlanConversion => Some("plan"),
            Effect::Convert(_) => Some("write"),
            Effect::StopConversion => Some("stop"),
            _ => None,
        })
    };
    let mut state = sample::state("dark");
    assert_eq!(asked(&mut state, Command::Open(Name::Convert)), Some("plan"));
    assert!(state.is_moving());
    // Nothing is written before it is known what.
    assert_eq!(asked(&mut state, Command::Accept), None);
    sample::act(&mut state, Action::Converting(converting::Event::Planned(Ok(Arc::default()))));
    assert_eq!(asked(&mut state, Command::Cancel), None);
    // First it asks where to.
    assert_eq!(asked(&mut state, Command::Accept), None);
    sample::act(&mut state, Action::Text('o'));
    assert_eq!(asked(&mut state, Command::Accept), Some("write"));
    assert_eq!(asked(&mut state, Command::Accept), None);
    assert_eq!(asked(&mut state, Command::Cancel), Some("stop"));
    // Closed, the panel goes on; the end is said at the bottom.
    assert_eq!(asked(&mut state, Command::Dismiss), None);
    assert!(state.is_moving());
    let words = "interrupted; nothing was left behind".to_owned();
    sample::act(&mut state, Action::Converting(converting::Event::Ended(Err(words.clone()))));
    assert_eq!(state.notice, Some(words));
    assert!(!state.is_moving());
    // The preview is kept.
    assert_eq!(asked(&mut state, Command::Open(Name::Convert)), None);
}

#[test]
fn the_loop_opens_runs_suspends_and_quits() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let verifier = FakeVerifier(asked.clone());
    let converted = Arc::new(Mutex::new(Vec::new()));
    let converter = FakeConverter(converted.clone());
    let loaded = Loaded {
        document: sample::document(),
        verifier: Box::new(move |_| Box::new(verifier) as Box<dyn Verifier>),
        converter: Box::new(move |events| {
            // What is planned is heard at once.
            events.send(converting::Event::Planned(Ok(Arc::default()))).unwrap();
            Box::new(converter) as Box<dyn Converter>
        }),
        measurer: None,
        graph: None,
    };
    let none = KeyModifiers::NONE;
    let (code, log, _) = run(vec![
        Message::Opened(Ok(loaded)),
        key('a', none),
        key('x', none),
        key('z', KeyModifiers::CONTROL),
        Message::Signal(Wish::Continued),
        Message::Signal(Wish::Suspend),
        key('m', none),
        key('c', none),
        key('q', none),
        key('q', none),
    ]);
    assert_eq!(*converted.lock().unwrap(), ["plan"]);
    assert_eq!((code, log), (Exit::Fine, vec!["suspend", "retake", "suspend", "mouse off"]));
    assert_eq!(*asked.lock().unwrap(), [30, 0]);
}

#[test]
fn a_checkpoint_that_does_not_open_ends_with_2() {
    let (code, _, state) = run(vec![
        Message::Opened(Err("x.pt: this is a zip without data.pkl".to_owned())),
        key('q', KeyModifiers::NONE),
    ]);
    assert_eq!(code, Exit::WrongInput);
    assert!(matches!(&state.screen, Screen::Failed(failed) if failed.message.contains("without data.pkl")));
    let (code, _, state) =
        run(vec![Message::Panicked("opener panicked: boom".to_owned()), key('q', KeyModifiers::NONE)]);
    assert_eq!(code, Exit::WrongInput);
    assert!(matches!(&state.screen, Screen::Failed(failed) if failed.message.contains("opener panicked: boom")));
}

#[test]
fn interrupts_signals_and_a_closed_terminal_have_one_code() {
    assert_eq!(run(vec![key('c', KeyModifiers::CONTROL)]).0, Exit::Interrupted);
    assert_eq!(run(vec![Message::Signal(Wish::End)]).0, Exit::Interrupted);
    assert_eq!(run(vec![Message::InputClosed]).0, Exit::Interrupted);
    assert_eq!(run(vec![key('q', KeyModifiers::NONE)]).0, Exit::Fine);
}
