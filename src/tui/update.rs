//! What an action does to the state. Pure: whatever touches the world comes back as an [`Effect`].

use ratatui::layout::Position;

use super::action::{Action, Command, Effect, Pane};
use super::areas::Shape;
use super::following::{self, ask_for_colours, follow_selection};
use super::mouse;
use super::panels::{Context, Name, Panel, Then};
use super::state::{Screen, State, View};
use super::tree::Filter;
use crate::exit::Exit;
use crate::model::ModuleId;
use crate::verify;

/// Change the state; return what is to be done outside.
pub fn update(state: &mut State, action: Action) -> Vec<Effect> {
    let mut effects = Vec::new();
    match action {
        Action::Command(Command::Interrupt) => effects.push(Effect::Quit(Exit::Interrupted)),
        Action::Command(Command::Suspend) => effects.push(Effect::Suspend),
        Action::Opened(document) => {
            state.notice = document.about.alarm();
            state.panels = Default::default();
            state.screen = Screen::Open(Box::new(View::new(document)));
        }
        Action::OpenFailed(message) => state.screen = Screen::Failed(message, 0),
        Action::WorkerPanicked(message) => worker_panicked(state, &message),
        Action::Drawn(areas) => {
            if let (Screen::Open(view), Some((_, top))) = (&mut state.screen, areas.tree) {
                view.tree.top = top;
            }
            state.areas = *areas;
        }
        Action::Tick => state.tick = state.tick.wrapping_add(1),
        action => {
            if matches!(action, Action::Command(_) | Action::Click(..)) {
                state.notice = None;
            }
            on_screen(state, action, &mut effects);
        }
    }
    if let Screen::Open(view) = &mut state.screen {
        follow_selection(view, &state.areas);
        effects.extend(ask_for_colours(view, &state.areas, state.theme.dark));
    }
    effects
}

fn on_screen(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    match (&mut state.screen, action) {
        (Screen::Opening(_), Action::Command(Command::Quit)) => effects.push(Effect::Quit(Exit::Fine)),
        (Screen::Failed(..), Action::Command(Command::Quit | Command::Dismiss)) => {
            effects.push(Effect::Quit(Exit::WrongInput));
        }
        (Screen::Failed(_, top), Action::Command(Command::Down)) => *top += 1,
        (Screen::Failed(_, top), Action::Command(Command::Up)) => *top = top.saturating_sub(1),
        (Screen::Open(_), action) => on_open(state, action, effects),
        _ => {}
    }
}

fn on_open(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    let Screen::Open(view) = &mut state.screen else { return };
    match action {
        Action::Command(command) => on_command(state, command, effects),
        Action::Text(character) => {
            let mut buffer = [0; 4];
            in_panel(state, effects, |panel, context| typed(panel, character.encode_utf8(&mut buffer), context));
        }
        Action::Paste(text) => in_panel(state, effects, |panel, context| typed(panel, &text, context)),
        Action::Click(column, row) => click(state, Position::new(column, row), effects),
        Action::Wheel(column, row, by) => wheel(state, Position::new(column, row), by, effects),
        Action::Verify(event) => measured(view, event),
        Action::Converting(event) => {
            let ended = state.panels.convert.hear(event);
            // Where its panel is closed, the end is said at the bottom.
            if ended.is_some() && state.panels.open != Some(Name::Convert) {
                state.notice = ended;
            }
        }
        Action::Highlighted(done) => drop(view.source.colours.insert(done.class.clone(), done)),
        _ => {}
    }
}

fn worker_panicked(state: &mut State, message: &str) {
    let message = format!("this is a bug in t2m-tui: {message}");
    match &mut state.screen {
        Screen::Opening(_) => state.screen = Screen::Failed(message, 0),
        Screen::Failed(..) => {}
        // The runner goes on after a panic over a layer, and says that the layer failed.
        Screen::Open(_) => state.notice = Some(message),
    }
}

/// Let the open panel act.
fn in_panel(state: &mut State, effects: &mut Vec<Effect>, act: impl FnOnce(&mut dyn Panel, &mut Context<'_>) -> Then) {
    let Screen::Open(view) = &mut state.screen else { return };
    let mut context = Context { view, areas: &state.areas, effects };
    state.panels.act(|panel| act(panel, &mut context));
}

fn typed(panel: &mut dyn Panel, text: &str, context: &mut Context<'_>) -> Then {
    panel.text(text, context);
    Then::Stay
}

fn click(state: &mut State, at: Position, effects: &mut Vec<Effect>) {
    if let Some(&(_, command)) = state.areas.keys.iter().find(|(area, _)| area.contains(at)) {
        return on_command(state, command, effects);
    }
    match &mut state.screen {
        _ if state.panels.open.is_some() => in_panel(state, effects, |panel, context| panel.click(at, context)),
        Screen::Open(view) => mouse::click(view, &state.areas, at),
        _ => {}
    }
}

fn wheel(state: &mut State, at: Position, rows: i32, effects: &mut Vec<Effect>) {
    match &mut state.screen {
        _ if state.panels.open.is_some() => in_panel(state, effects, |panel, context| {
            panel.wheel(at, rows, context);
            Then::Stay
        }),
        Screen::Open(view) => mouse::wheel(view, &state.areas, at, rows),
        _ => {}
    }
}

fn on_command(state: &mut State, command: Command, effects: &mut Vec<Effect>) {
    if state.panels.open.is_some() {
        in_panel(state, effects, |panel, context| panel.command(command, context));
    } else {
        in_panes(state, command, effects);
    }
}

/// A key where no panel is open.
fn in_panes(state: &mut State, command: Command, effects: &mut Vec<Effect>) {
    let shape = state.areas.shape;
    let Screen::Open(view) = &mut state.screen else { return };
    let mut say = |words: &str| state.notice = Some(words.to_owned());
    match command {
        Command::Open(name) => state.panels.open(name, &mut Context { view, areas: &state.areas, effects }),
        Command::Quit => effects.push(Effect::Quit(Exit::Fine)),
        Command::Run => run(state, |view| view.tree.selected, effects),
        Command::RunAll => run(state, |_| 0, effects),
        Command::Cancel if view.measured.is_running() => {
            effects.push(Effect::Cancel);
            view.measured.forget_unfinished();
            say("cancelled");
        }
        Command::Cancel => say("nothing runs"),
        Command::FindNext | Command::FindPrevious => state.panels.find.step(view, command == Command::FindNext),
        Command::NextBlocker | Command::PreviousBlocker => {
            match view.document.blocker_from(view.place(), command == Command::NextBlocker) {
                Some(place) => view.go_to(place, shape),
                None => say("no blockers in the source that was found"),
            }
        }
        Command::NextLink | Command::PreviousLink => {
            view.show(Pane::Source, shape);
            if !following::step(view, command == Command::NextLink) {
                say("no line of the source names a module");
            }
        }
        Command::Fold if view.focus == Pane::Source => {
            if !following::follow(view) {
                say("no module is named in that line: } goes to the next that names one");
            }
        }
        Command::Half => say(state.trials.toggle_half()),
        Command::Weights => say(state.trials.toggle_weights()),
        Command::Twins => say(state.trials.toggle_naive()),
        Command::Mouse => {
            state.mouse = !state.mouse;
            say(if state.mouse { "mouse on" } else { "mouse off: the terminal selects text" });
            effects.push(Effect::Mouse(state.mouse));
        }
        Command::Dismiss => {
            state.panels.find.forget();
            view.tree.filter = Filter::default();
            view.tree.apply_filter(&view.document, &view.measured);
        }
        _ => view.command(command, &state.areas),
    }
}

/// Ask for the measurement of everything below a module.
fn run(state: &mut State, root: fn(&View) -> ModuleId, effects: &mut Vec<Effect>) {
    let shape = state.areas.shape;
    let Screen::Open(view) = &mut state.screen else { return };
    let root = root(view);
    let runnable = view.document.runnable_below(root);
    let pending = |id: &ModuleId| view.measured.layer(*id).is_some_and(|layer| layer.verdict().is_none());
    let modules: Vec<ModuleId> = runnable.iter().copied().filter(|id| !pending(id)).collect();
    if modules.is_empty() {
        let name = view.document.module(root).map_or("", |module| module.path.as_str());
        let name = if name.is_empty() { "the model" } else { name };
        state.notice = Some(if runnable.is_empty() {
            format!("nothing to run: {} has no conversion", t2m_checkpoint::escape::escape(name))
        } else {
            "it runs already".to_owned()
        });
        return;
    }
    if shape == Shape::Two {
        view.show(Pane::Live, shape);
    }
    view.measured.queue(&modules);
    effects.push(Effect::Submit(state.trials.request(modules)));
}

fn measured(view: &mut View, event: verify::Event) {
    let done = matches!(event, verify::Event::Finished { .. } | verify::Event::Done { .. });
    view.measured.apply(event);
    if done && view.tree.filter.bad {
        view.tree.apply_filter(&view.document, &view.measured);
    }
}
