//! What an action does to the state. Pure: whatever the outside world has to do is returned as an [`Effect`].

use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Position;

use super::action::{Action, Command, Effect};
use super::context::Context;
use super::document::Document;
use super::failed::Failed;
use super::jobs::{Ended, Unit};
use super::jumps::{self, Place};
use super::keymap::Keymap;
use super::opening::Opening;
use super::panels::{self, Name, Panel, Panels, Then};
use super::panes::{self, Pane, View};
use super::state::{Bell, Screen, State};
use super::work::{self, Ask};
use crate::exit::Exit;
use crate::figures::time;
use crate::filter::Filter;
use crate::graph::runner::Report;
use crate::session::Change;
use crate::verify;

/// Modules of a model whose rows are put in order for each layer that ends; larger ones wait for the next tick.
const AT_ONCE: usize = 5_000;
const WRITING: &str = "a file is being written: wait for its end, or stop it";

/// Change the state; return what has to be done outside.
pub fn update(state: &mut State, action: Action) -> Vec<Effect> {
    let mut effects = Vec::new();
    let before = Before::of(state, &action);
    match action {
        Action::Command(Command::Interrupt) => effects.push(Effect::Quit(Exit::Interrupted)),
        Action::Command(Command::Suspend) => effects.push(Effect::Suspend),
        Action::Command(Command::Screenshot) => effects.push(Effect::Screenshot),
        Action::Caption(words) => state.caption = words,
        Action::Said(words) => state.notice = Some(words),
        Action::Opens(now) => {
            if let Screen::Opening(opening) = &mut state.screen {
                opening.hear(now, state.clock);
            }
        }
        Action::Opened(document) => {
            tell(state, &mut effects, "the file is open", state.clock);
            state.notice = document.about.alarm().or_else(|| advice(&state.keymap, &document));
            state.panels = Default::default();
            opened(state, document);
        }
        Action::Retold(document) => retold(state, document),
        Action::NotRetold(message) => state.notice = Some(message),
        Action::OpenFailed(message) => state.screen = Screen::Failed(Failed::new(message)),
        Action::WorkerPanicked(message) => worker_panicked(state, &message),
        Action::Drawn(areas) => {
            if let Screen::Open(view) = &mut state.screen {
                panes::drawn(view, &areas);
            }
            state.areas = *areas;
        }
        Action::Tick => {
            state.tick = state.tick.wrapping_add(1);
            if let Screen::Open(view) = &mut state.screen
                && view.is_behind
            {
                view.apply_filter();
            }
        }
        action => {
            if matches!(action, Action::Command(_) | Action::Click(..)) {
                state.notice = None;
            }
            on_screen(state, action, &mut effects);
        }
    }
    refind(state);
    build(state, &mut effects);
    reopen(state, &mut effects);
    jobs(state, &mut effects);
    if let Some((mut context, _)) = state.context(&mut effects) {
        panes::follow(&mut context);
    }
    before.leave(state);
    keeps(state, &effects);
    settle(state, &mut effects);
    effects
}

/// Who leaves without an answer where things are kept is content with where they are, and is not asked again.
fn settle(state: &mut State, effects: &mut Vec<Effect>) {
    let leaves = effects.iter().position(|effect| matches!(effect, Effect::Quit(Exit::Fine)));
    if let (Some(at), Screen::Open(view)) = (leaves, &mut state.screen)
        && view.work.keeping.ask == Ask::Asked
    {
        view.work.keeping.ask = Ask::Answered;
        effects.insert(at, Effect::Answer(view.work.keeping.place.clone()));
    }
}

/// Where the user was before something happened.
struct Before {
    place: Option<Place>,
    searching: bool,
    /// Whether what happens may lead far away.
    jumps: bool,
}

impl Before {
    fn of(state: &State, action: &Action) -> Before {
        let Screen::Open(view) = &state.screen else { return Before { place: None, searching: false, jumps: false } };
        let jumps = match action {
            Action::Command(command) => command.is_jump(),
            // The rows of the tree are where the user goes by hand.
            Action::Click(column, row) => {
                let pane = state.areas.pane_at(Position::new(*column, *row)).map(|(pane, _)| pane);
                state.panels.open.is_some() || pane != Some(Pane::Tree)
            }
            _ => false,
        };
        Before { place: Some(jumps::place(view)), searching: state.panels.open == Some(Name::Find), jumps }
    }

    /// A jump that led elsewhere leaves its place in the list; a search does when it is over.
    fn leave(self, state: &mut State) {
        let (Screen::Open(view), Some(place)) = (&mut state.screen, self.place) else { return };
        let (here, searches) = (jumps::place(view), state.panels.open == Some(Name::Find));
        match (self.searching, searches) {
            (false, true) => view.jumps.begin_search(place),
            (true, false) => view.jumps.end_search(here),
            (false, false) if self.jumps && here != place => view.jumps.leave(place),
            _ => {}
        }
    }
}

/// Follow what takes time, and tell the end of what took long, unless it was given up.
fn jobs(state: &mut State, effects: &mut Vec<Effect>) {
    for effect in effects.iter() {
        match effect {
            Effect::Cancel => state.jobs.forget(Unit::Layers),
            Effect::CancelGraph => state.jobs.forget(Unit::Nodes),
            Effect::StopConversion => state.jobs.forget(Unit::Bytes),
            _ => {}
        }
    }
    for Ended { job, took } in state.note_jobs() {
        let what = match job.unit {
            Unit::Layers if job.total == 1 => "the layer has run".to_owned(),
            Unit::Layers => format!("{} layers have run", job.total),
            Unit::Nodes => format!("the graph's {} nodes have run", job.total),
            Unit::Bytes => "the conversion is over".to_owned(),
            // The end of the opening is told by what is open.
            Unit::Opening(_) => continue,
        };
        tell(state, effects, &what, took);
    }
    if state.panels.open == Some(Name::Leave) {
        state.panels.leave.lost = state.at_stake();
    }
}

/// Tell the terminal that something is over that took so long, if that is wanted.
fn tell(state: &State, effects: &mut Vec<Effect>, what: &str, took: Duration) {
    if state.notify.by != Bell::Off && took >= state.notify.after {
        effects.push(Effect::Notify(format!("t2m-tui: {what}, {}", time(took))));
    }
}

/// What can be done with a file that has just been opened, where that is not plain to see.
fn advice(keymap: &Keymap, document: &Document) -> Option<String> {
    let key = |command| keymap.key(None, command);
    if document.offer.wanted {
        let asks = key(Command::Open(Name::Build));
        return Some(format!("not everything about these modules is known: {asks} asks your own Python"));
    }
    let (runs, shows) = (key(Command::RunGraph), key(Command::Nodes));
    let words = format!("this file holds a graph: {runs} runs it node by node, {shows} shows its nodes");
    document.nodes.is_some().then_some(words)
}

/// A file is there: what is kept of it is taken up where it was left.
fn opened(state: &mut State, document: Arc<Document>) {
    let loaded = Arc::clone(&document.keeping.loaded);
    let mut view = View::new(document);
    if let Some(screen) = &loaded.session.screen {
        work::resume(&mut state.trials, screen);
        view.go_back(screen);
        state.panels.find.resume(&view, &screen.search);
    }
    view.measured.use_weights(state.trials.weights);
    if !loaded.told.is_empty() {
        state.notice = Some(loaded.told.join(" "));
    }
    state.screen = Screen::Open(Box::new(view));
}

/// Something is kept for the first time: ask where, or say why it is not.
fn keeps(state: &mut State, effects: &[Effect]) {
    let kept = |effect: &Effect| match effect {
        Effect::Keep(Change::Screen(_) | Change::Move(_)) => false,
        Effect::Keep(_) => true,
        _ => false,
    };
    let Screen::Open(view) = &mut state.screen else { return };
    if !view.work.is_kept() || !effects.iter().any(kept) {
        return;
    }
    // What is said already stays, and this waits for the next time.
    if state.notice.is_none() || view.work.unkept.is_none() {
        state.notice = state.notice.take().or(view.work.keeps());
    }
}

/// Where the filter has become another one, a search that is kept looks within that.
fn refind(state: &mut State) {
    if let Screen::Open(view) = &state.screen {
        state.panels.find.follow(view);
    }
}

/// The same file, with modules that are known now: what the user looks at stays, and so do measurements that hold.
fn built(state: &mut State, document: Arc<Document>) {
    let Screen::Open(view) = &mut state.screen else { return };
    let known_as = document.about.known_as.clone().unwrap_or_default();
    **view = View::again(view, document);
    state.panels = Panels::default();
    state.notice = Some(format!("{known_as}: {} says more", state.keymap.key(None, Command::Open(Name::About))));
}

/// While a file is being written no model is built, since that would end the writing.
fn build(state: &mut State, effects: &mut Vec<Effect>) {
    if state.panels.convert.is_writing() && effects.iter().any(|effect| matches!(effect, Effect::Build(_))) {
        effects.retain(|effect| !matches!(effect, Effect::Build(_)));
        state.panels.build.fail(WRITING.to_owned());
    }
}

/// The same file, of which more is known: what was measured of layers that are run as before stays.
fn retold(state: &mut State, document: Arc<Document>) {
    // What was said when it was asked for stays, unless it went wrong.
    let wrong = document.warnings.iter().find(|warning| warning.contains("was typed")).cloned();
    state.notice = wrong.or(state.notice.take());
    match &mut state.screen {
        Screen::Open(view) if view.document.is_alike(&document) => {
            let stopped = view.measured.is_running() || view.ran.is_running();
            view.retell(document);
            let said = stopped.then(|| "what ran was stopped".to_owned());
            state.notice = state.notice.take().or(said);
        }
        screen => {
            let mut view = View::new(document);
            if let Screen::Open(before) = screen {
                view.work = std::mem::take(&mut before.work);
            }
            *screen = Screen::Open(Box::new(view));
        }
    }
    // What a conversion would write is to be found out anew.
    state.panels.convert = Default::default();
    state.panels.details.retell();
}

/// Where another dict of the file was chosen, the screen waits for it; while a file is being written nothing is opened.
fn reopen(state: &mut State, effects: &mut Vec<Effect>) {
    let chosen = effects.iter().find_map(|effect| match effect {
        Effect::Reopen(dict) => Some(dict.clone()),
        _ => None,
    });
    let anew =
        |effect: &Effect| matches!(effect, Effect::Reopen(_) | Effect::Retell(_) | Effect::Keep(Change::Typed(..)));
    if state.panels.convert.is_writing() && effects.iter().any(anew) {
        effects.retain(|effect| !anew(effect));
        state.notice = Some(WRITING.to_owned());
        return;
    }
    let (Some(dict), Screen::Open(view)) = (chosen, &state.screen) else { return };
    let name = format!("{} ({dict})", view.document.name);
    state.screen = Screen::Opening(Opening::new(name, state.clock));
}

fn on_screen(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    match (&mut state.screen, action) {
        (Screen::Opening(_), Action::Command(Command::Quit | Command::Dismiss)) => {
            effects.push(Effect::Quit(Exit::Fine))
        }
        (Screen::Failed(failed), Action::Command(command)) => failed.command(command, effects),
        (Screen::Open(_), action) => on_open(state, action, effects),
        _ => {}
    }
}

fn on_open(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    let Screen::Open(view) = &mut state.screen else { return };
    match action {
        Action::Built(Ok(document)) => built(state, document),
        Action::Built(Err(words)) => state.panels.build.fail(words),
        Action::Command(command) => on_command(state, command, effects),
        Action::Text(character) => {
            let mut buffer = [0; 4];
            in_panel(state, effects, |panel, context| typed(panel, character.encode_utf8(&mut buffer), context));
        }
        Action::Paste(text) => in_panel(state, effects, |panel, context| typed(panel, &text, context)),
        Action::Drag(column, row, on) => {
            if let Some((mut context, _)) = state.context(effects) {
                panes::drag(Position::new(column, row), on, &mut context);
            }
        }
        Action::Click(column, row) => click(state, Position::new(column, row), effects),
        Action::Wheel(column, row, by) => wheel(state, Position::new(column, row), by, effects),
        Action::Verify(event) => {
            let done = matches!(event, verify::Event::Done { .. });
            let said = measured(view, event, effects);
            state.notice = said.or(state.notice.take());
            let waits = matches!(&state.screen, Screen::Open(view) if view.work.waits);
            if done
                && waits
                && let Some((mut context, _)) = state.context(effects)
            {
                panes::run_lacking(&mut context);
            }
        }
        Action::Kept(told) => {
            if let Some(words) = view.hear_keeper(told) {
                state.notice = Some(words);
            }
        }
        Action::Graph(number, Report::Graph(graph)) => view.take_graph(number, &graph),
        Action::Graph(number, report) => {
            let ran = view.ran.is_running();
            view.ran.hear(number, report);
            if ran && !view.ran.is_running() {
                view.graph_ended(effects);
            }
        }
        Action::Converting(event) => {
            let ended = state.panels.convert.hear(event);
            // If its panel is closed, the bottom line says how it ended.
            if ended.is_some() && state.panels.open != Some(Name::Convert) {
                state.notice = ended;
            }
        }
        Action::Measuring(event) => state.panels.details.hear(event),
        Action::Highlighted(done) => view.source.colour(done),
        Action::Reported(written) => {
            let said = state.panels.report.hear(written);
            if said.is_some() {
                state.notice = said;
                state.panels.open = state.panels.open.filter(|open| *open != Name::Report);
            }
        }
        _ => {}
    }
}

fn worker_panicked(state: &mut State, message: &str) {
    let message = format!("this is a bug in t2m-tui: {message}");
    match &mut state.screen {
        Screen::Opening(_) => state.screen = Screen::Failed(Failed::new(message)),
        Screen::Failed(_) => {}
        // The runner goes on after a panic in a layer, and reports the layer as failed.
        Screen::Open(_) => state.notice = Some(message),
    }
}

/// Let the open panel act, and do what it asks for.
fn in_panel(state: &mut State, effects: &mut Vec<Effect>, act: impl FnOnce(&mut dyn Panel, &mut Context<'_>) -> Then) {
    let Some((mut context, panels)) = state.context(effects) else { return };
    if let Some(command) = panels.act(|panel| act(panel, &mut context)) {
        on_command(state, command, effects);
    }
}

fn typed(panel: &mut dyn Panel, text: &str, context: &mut Context<'_>) -> Then {
    panels::text(panel, text, context);
    Then::Stay
}

fn click(state: &mut State, at: Position, effects: &mut Vec<Effect>) {
    if let Some(&(_, command)) = state.areas.keys.iter().find(|(area, _)| area.contains(at)) {
        on_command(state, command, effects);
    } else if state.panels.open.is_some() {
        in_panel(state, effects, |panel, context| panel.click(at, context));
    } else if let Some((mut context, _)) = state.context(effects) {
        panes::click(at, &mut context);
    }
}

fn wheel(state: &mut State, at: Position, rows: i32, effects: &mut Vec<Effect>) {
    let Some((mut context, panels)) = state.context(effects) else { return };
    if panels.open.is_none() {
        return panes::wheel(at, rows, &mut context);
    }
    let _ = panels.act(|panel| {
        panel.wheel(at, rows, &mut context);
        Then::Stay
    });
}

fn on_command(state: &mut State, command: Command, effects: &mut Vec<Effect>) {
    if command == Command::Open(Name::Palette) {
        if let Some((mut context, panels)) = state.context(effects) {
            panels.open_palette(&mut context);
        }
        return;
    }
    if state.panels.open.is_some() {
        return in_panel(state, effects, |panel, context| panels::command(panel, command, context));
    }
    if command == Command::Mouse {
        state.mouse = !state.mouse;
        let words = if state.mouse { "mouse on" } else { "mouse off: the terminal selects text" };
        state.notice = Some(words.to_owned());
        return effects.push(Effect::Mouse(state.mouse));
    }
    let at_stake = command == Command::Quit && !state.at_stake().is_empty();
    let Some((mut context, panels)) = state.context(effects) else { return };
    match command {
        Command::Quit if at_stake => panels.open(Name::Leave, &mut context),
        Command::Keep(at) => {
            panels::keep::answer(at, &mut context);
        }
        Command::Open(name) => panels.open(name, &mut context),
        Command::RunGraph if panes::graph::asks(context.view) => panels.open(Name::Inputs, &mut context),
        Command::Quit => context.effects.push(Effect::Quit(Exit::Fine)),
        Command::FindNext | Command::FindPrevious if panels.find.search.is_none() => {
            context.say("nothing was searched for: / begins a search");
        }
        Command::FindNext | Command::FindPrevious => panels.find.step(context.view, command == Command::FindNext),
        Command::Dismiss if panels.find.search.is_none() && context.view.tree.filter.is_empty() => {
            context.say("neither a search nor a filter is to be cleared");
        }
        Command::Dismiss => {
            panels.find.forget();
            context.view.set_filter(Filter::default());
        }
        _ => panes::command(command, &mut context),
    }
}

/// Take in an event of a run. Returns what is to be said.
fn measured(view: &mut View, event: verify::Event, effects: &mut Vec<Effect>) -> Option<String> {
    let over = matches!(event, verify::Event::Done { .. });
    let (ended, all) = match event {
        verify::Event::Finished { .. } => (true, view.document.len() <= AT_ONCE),
        verify::Event::Done { .. } => (true, true),
        _ => (false, false),
    };
    if let Some(id) = view.measured.apply(event).map(|(id, _)| id) {
        view.finished(id, effects);
    }
    if ended && view.tree.asks_for_results() {
        view.is_behind = true;
        if all {
            view.apply_filter();
        }
    }
    // One message for all layers that a missing engine keeps from being run.
    let waiting = view.measured.total().no_engine;
    let reasons = view.measured.engines_down().map(|(side, reason)| format!("{}: {reason}", side.library()));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    (over && waiting > 0 && !reasons.is_empty()).then(|| {
        let layers = if waiting == 1 { "1 layer was".to_owned() } else { format!("{waiting} layers were") };
        format!("{layers} not run, an engine is missing. {reasons}. `t2m-tui doctor` says more")
    })
}
