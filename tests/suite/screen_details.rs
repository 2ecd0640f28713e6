//! The details of a module: what it is asked for, what it shows, and what the thread that reads reports.

use std::sync::Arc;

use crate::common::sample::{self, act, draw, view};
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::statistics::{Statistics, of_tensor};
use t2m_tui::tui::action::{Action, Command, Effect};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::measuring::{Event, Measurer, Worker};
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::snapshot::{rows, styled};
use t2m_tui::tui::state::{Screen, State};

fn opened() -> Opened {
    open(&Options { checkpoint: "demo".into(), ..Options::default() }).unwrap()
}

/// Select a module of the open file.
fn select(state: &mut State, path: &str) {
    let Screen::Open(view) = &mut state.screen else { panic!("nothing is open") };
    let document = view.document.clone();
    view.tree.reveal(&document, document.model.find(path).unwrap());
}

fn screen(opened: &Opened, path: &str, width: u16, height: u16) -> State {
    let mut state = sample::state("dark");
    act(&mut state, Action::Opened(Arc::new(Document::of(opened))));
    draw(&mut state, width, height);
    select(&mut state, path);
    state
}

fn command(state: &mut State, command: Command) -> Vec<Effect> {
    let effects = act(state, Action::Command(command));
    draw(state, 120, 40);
    effects
}

/// Where tensors go, as the thread says it.
fn targets(opened: &Opened) -> Action {
    let (events, heard) = crossbeam_channel::unbounded();
    let worker = Worker::start(opened.clone(), events);
    worker.targets();
    Action::Measuring(heard.recv().unwrap())
}

#[test]
fn tensors_are_listed_with_where_they_go_and_read_when_asked() {
    let opened = opened();
    for (width, height) in [(80, 24), (120, 40), (160, 48)] {
        let mut state = screen(&opened, "head", width, height);
        let effects = act(&mut state, Action::Command(Command::Open(Name::Details)));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::FindTargets)), "{effects:?}");
        act(&mut state, targets(&opened));
        let text = rows(&draw(&mut state, width, height)).join("\n");
        for words in ["in_features", "float32", "7×48", "→ head.weight", "KiB"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let effects = act(&mut state, Action::Command(Command::Accept));
        let read: Vec<&Vec<usize>> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::ReadTensors(tensors) => Some(tensors),
                _ => None,
            })
            .collect();
        let [tensors] = read.as_slice() else { panic!("{effects:?}") };
        let [id] = tensors.as_slice() else { panic!("{tensors:?}") };
        assert_eq!(opened.checkpoint.tensors[*id].name, "head.weight");
        act(&mut state, Action::Measuring(Event::Progress(*id, 0.25)));
        assert!(rows(&draw(&mut state, width, height)).join("\n").contains("reading: 25 %; x stops"));
        assert!(state.is_moving());
        let found = of_tensor(&opened.checkpoint, *id, |_| true).unwrap().unwrap();
        act(&mut state, Action::Measuring(Event::Done(*id, Ok(Box::new(found)))));
        act(&mut state, Action::Measuring(Event::Idle));
        assert!(!state.is_moving());
        let buffer = draw(&mut state, width, height);
        let text = rows(&buffer).join("\n");
        assert!(text.contains("min ") && text.contains("std ") && text.contains("no NaN, no infinity"), "{text}");
        assert!(text.contains('█') && text.contains("the highest: "), "{text}");
        let looks = styled(&buffer);
        let first = text.lines().position(|line| line.contains("min ")).unwrap();
        let looks: Vec<&str> = looks.lines().filter(|line| line.starts_with(&format!("{}: ", first + 2))).collect();
        insta::assert_snapshot!(format!("details_{width}"), format!("{text}\n{}", looks.join("\n")));
        // What is known is not read again.
        assert!(
            act(&mut state, Action::Command(Command::Accept)).iter().all(|it| !matches!(it, Effect::ReadTensors(_)))
        );
        state.ascii = true;
        let text = rows(&draw(&mut state, width, height)).join("\n");
        assert!(text.is_ascii() && text.contains('#'), "{text}");
    }
}

#[test]
fn all_of_a_module_are_read_and_one_can_stop() {
    let opened = opened();
    let mut state = screen(&opened, "caption", 120, 40);
    command(&mut state, Command::Open(Name::Details));
    let effects = command(&mut state, Command::RunAll);
    let Some(Effect::ReadTensors(asked)) = effects.iter().find(|it| matches!(it, Effect::ReadTensors(_))) else {
        panic!("{effects:?}")
    };
    let (model, top) = (&opened.model, opened.model.find("caption").unwrap());
    let below = &model.modules[top..model.modules[top].end];
    let wanted: Vec<usize> =
        below.iter().flat_map(|module| module.tensors.iter().filter_map(|own| own.tensor)).collect();
    assert_eq!((asked, asked.len() > 10), (&wanted, true));
    // One job at a time; x stops it.
    assert!(command(&mut state, Command::RunAll).iter().all(|it| !matches!(it, Effect::ReadTensors(_))));
    let effects = command(&mut state, Command::Cancel);
    assert!(effects.iter().any(|it| matches!(it, Effect::StopReading)), "{effects:?}");
    act(&mut state, Action::Measuring(Event::Done(asked[0], Err("the file was cut".to_owned()))));
    act(&mut state, Action::Measuring(Event::Idle));
    assert!(!state.is_moving());
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("the file was cut"), "{text}");
    // What failed and what was not reached is asked for again.
    let found = Statistics::of([1.0, f64::NAN]);
    act(&mut state, Action::Measuring(Event::Done(asked[1], Ok(Box::new(found)))));
    let effects = command(&mut state, Command::RunAll);
    let again = effects.iter().find_map(|it| match it {
        Effect::ReadTensors(tensors) => Some(tensors.len()),
        _ => None,
    });
    assert_eq!(again, Some(wanted.len() - 1));
    act(&mut state, Action::Measuring(Event::Idle));
    command(&mut state, Command::Down);
    let text = rows(&draw(&mut state, 120, 40)).join("\n");
    assert!(text.contains("1 NaN, 0 infinite"), "{text}");
    // Another reading of the same file: where tensors go is asked for anew.
    command(&mut state, Command::Dismiss);
    let document = view(&state).document.clone();
    act(&mut state, Action::Retold(document));
    let effects = command(&mut state, Command::Open(Name::Details));
    assert!(effects.iter().any(|it| matches!(it, Effect::FindTargets)));
}
