//! What an action does to the state. Pure: whatever touches the world comes back as an [`Effect`].

use std::sync::Arc;

use super::action::{Action, Command, Effect, HighlightJob, Pane};
use super::converting;
use super::keymap::Mode;
use super::layout::{Layout, Shape};
use super::links;
use super::mouse::{click, wheel};
use super::state::{Find, Screen, State, View};
use super::tree::Filter;
use crate::compare::WeightSource;
use crate::exit::Exit;
use crate::export::writer::Progress;
use crate::model::ModuleId;
use crate::source::ClassSource;
use crate::triage::Status;
use crate::verify;
use t2m_checkpoint::Dtype;

/// Lines coloured at once, around those on show.
const HIGHLIGHT_MARGIN: usize = 150;
/// Columns that the source moves sideways at once.
const SIDEWAYS: usize = 8;
/// Rows that the notes of a blocker take, about.
const NOTE_ROWS: usize = 3;
/// Rows of the filter: the statuses, and "measured badly".
pub const FILTER_ROWS: usize = Status::ALL.len() + 1;

/// Change the state; return what is to be done outside.
pub fn update(state: &mut State, action: Action) -> Vec<Effect> {
    let mut effects = Vec::new();
    match action {
        Action::Command(Command::Interrupt) => effects.push(Effect::Quit(Exit::Interrupted)),
        Action::Command(Command::Suspend) => effects.push(Effect::Suspend),
        Action::Opened(document) => {
            state.notice = document.about.alarm();
            state.screen = Screen::Open(Box::new(View::new(document)));
        }
        Action::OpenFailed(message) => state.screen = Screen::Failed(message, 0),
        Action::WorkerPanicked(message) => worker_panicked(state, &message),
        Action::Drawn(layout) => {
            if let (Screen::Open(view), Some((_, top))) = (&mut state.screen, layout.tree) {
                view.tree.top = top;
            }
            state.layout = *layout;
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
        follow_selection(view, &state.layout);
        effects.extend(ask_for_colours(view, &state.layout, state.theme.dark));
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
        (Screen::Open(_), Action::Command(command)) => on_command(state, command, effects),
        (Screen::Open(view), Action::Text(character)) if view.mode == Mode::Find => {
            edit_find(view, |text| text.push(character));
        }
        (Screen::Open(view), Action::Paste(pasted)) if view.mode == Mode::Find => {
            edit_find(view, |text| text.extend(pasted.chars().filter(|character| !character.is_control())));
        }
        (Screen::Open(_), Action::Click(column, row)) => click(state, column, row, effects),
        (Screen::Open(_), Action::Wheel(column, row, by)) => wheel(state, column, row, by),
        (Screen::Open(view), Action::Verify(event)) => measured(view, event),
        (Screen::Open(_), Action::Converting(event)) => converted(state, event),
        (Screen::Open(view), Action::Highlighted(done)) => {
            view.source.colours.insert(done.class.clone(), done);
        }
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

pub(super) fn on_command(state: &mut State, command: Command, effects: &mut Vec<Effect>) {
    let Screen::Open(view) = &mut state.screen else { return };
    match view.mode {
        Mode::Find => in_find(view, command),
        Mode::Filter => in_filter(view, command),
        Mode::Help | Mode::About => in_overlay(view, command, state.layout.overlay.map_or(0, |(_, below)| below)),
        Mode::Findings => links::in_findings(view, command, state.layout.shape),
        Mode::Convert => {
            let below = state.layout.overlay.map_or(0, |(_, below)| below);
            in_convert(view, command, below, effects);
        }
        Mode::Main => in_main(state, command, effects),
    }
}

fn in_main(state: &mut State, command: Command, effects: &mut Vec<Effect>) {
    let shape = state.layout.shape;
    let Screen::Open(view) = &mut state.screen else { return };
    let document = view.document.clone();
    match command {
        Command::Quit => effects.push(Effect::Quit(Exit::Fine)),
        Command::Run => run(state, state_selected, effects),
        Command::RunAll => run(state, |_| 0, effects),
        Command::Cancel if view.measured.is_running() => {
            effects.push(Effect::Cancel);
            view.measured.forget_unfinished();
            state.notice = Some("cancelled".to_owned());
        }
        Command::Cancel => state.notice = Some("nothing runs".to_owned()),
        Command::Filter => view.mode = Mode::Filter,
        Command::Find => {
            view.mode = Mode::Find;
            view.find = Some(Find { text: String::new(), matches: Vec::new(), before: view.tree.clone() });
        }
        Command::FindNext => next_match(view, true),
        Command::FindPrevious => next_match(view, false),
        Command::NextBlocker | Command::PreviousBlocker => {
            match document.blocker_from(view.place(), command == Command::NextBlocker) {
                Some(place) => {
                    view.tree.reveal(&document, place.module);
                    show(view, Pane::Source, shape);
                    (view.source.chosen, view.source.jump) = (None, Some(place.line));
                }
                None => state.notice = Some("no blockers in the source that was found".to_owned()),
            }
        }
        Command::Findings => view.mode = Mode::Findings,
        Command::NextLink | Command::PreviousLink => {
            show(view, Pane::Source, shape);
            if !links::step(view, command == Command::NextLink) {
                state.notice = Some("no line of the source names a module".to_owned());
            }
        }
        Command::Fold if view.focus == Pane::Source => {
            if !links::follow(view) {
                state.notice = Some("no module is named in that line: } goes to the next that names one".to_owned());
            }
        }
        Command::NextPane => focus_by(view, 1),
        Command::PreviousPane => focus_by(view, 2),
        Command::FoldAll => view.tree.fold_all(&document, true),
        Command::UnfoldAll => view.tree.fold_all(&document, false),
        Command::Fold => {
            let selected = view.tree.selected;
            view.tree.toggle(&document, selected);
        }
        Command::Help => (view.mode, view.overlay_top) = (Mode::Help, 0),
        Command::About => (view.mode, view.overlay_top) = (Mode::About, 0),
        Command::Convert => {
            (view.mode, view.overlay_top) = (Mode::Convert, 0);
            effects.extend(view.converting.preview.is_none().then_some(Effect::PlanConversion));
        }
        Command::Half => {
            let half = [Dtype::Float16, Dtype::BFloat16];
            let dtypes = &mut state.trials.dtypes;
            let on = !dtypes.iter().any(|dtype| half.contains(dtype));
            dtypes.retain(|dtype| !half.contains(dtype));
            dtypes.extend(half.into_iter().filter(|_| on));
            let words = if on { "runs are in float16 and bfloat16 too" } else { "runs are in float32 alone" };
            state.notice = Some(words.to_owned());
        }
        Command::Weights => {
            let weights = &mut state.trials.weights;
            let (other, words) = match weights {
                WeightSource::Checkpoint => (WeightSource::Random, "runs are with randomised weights"),
                WeightSource::Random => (WeightSource::Checkpoint, "runs are with the checkpoint's own weights"),
            };
            *weights = other;
            state.notice = Some(words.to_owned());
        }
        Command::Twins => {
            state.trials.naive = !state.trials.naive;
            let words = if state.trials.naive {
                "runs show what a plain rename would give, too"
            } else {
                "runs are of the right conversion alone"
            };
            state.notice = Some(words.to_owned());
        }
        Command::Mouse => {
            state.mouse = !state.mouse;
            state.notice =
                Some(if state.mouse { "mouse on" } else { "mouse off: the terminal selects text" }.to_owned());
            effects.push(Effect::Mouse(state.mouse));
        }
        Command::Dismiss => {
            view.find = None;
            view.tree.filter = Filter::default();
            view.tree.apply_filter(&document, &view.measured);
        }
        _ => move_in(state, command),
    }
}

fn state_selected(view: &View) -> ModuleId {
    view.tree.selected
}

/// Ask for the measurement of everything below a module.
fn run(state: &mut State, root: fn(&View) -> ModuleId, effects: &mut Vec<Effect>) {
    let shape = state.layout.shape;
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
        show(view, Pane::Live, shape);
    }
    view.measured.queue(&modules);
    let trials = &state.trials;
    effects.push(Effect::Submit(verify::Request {
        modules,
        trials: trials.count,
        dtypes: trials.dtypes.clone(),
        seed: trials.seed,
        weights: trials.weights,
        naive: trials.naive,
    }));
}

fn measured(view: &mut View, event: verify::Event) {
    let document = view.document.clone();
    let done = matches!(event, verify::Event::Finished { .. } | verify::Event::Done { .. });
    view.measured.apply(event);
    if done && view.tree.filter.bad {
        view.tree.apply_filter(&document, &view.measured);
    }
}

fn move_in(state: &mut State, command: Command) {
    let Screen::Open(view) = &mut state.screen else { return };
    let page = state.layout.page(view.focus) as i64;
    let by = match command {
        Command::Down => 1,
        Command::Up => -1,
        Command::HalfDown => (page / 2).max(1),
        Command::HalfUp => -(page / 2).max(1),
        Command::PageDown => (page - 1).max(1),
        Command::PageUp => -(page - 1).max(1),
        Command::Top => i64::MIN / 2,
        Command::Bottom => i64::MAX / 2,
        Command::Left | Command::Right => return sideways(view, command == Command::Right),
        _ => return,
    };
    match view.focus {
        Pane::Tree => view.tree.step(by),
        pane => scroll(view, &state.layout, pane, by),
    }
}

fn sideways(view: &mut View, right: bool) {
    let document = view.document.clone();
    match (view.focus, right) {
        (Pane::Tree, true) => view.tree.enter(&document),
        (Pane::Tree, false) => view.tree.leave(&document),
        (Pane::Source, true) => view.source.left = (view.source.left + SIDEWAYS).min(200),
        (Pane::Source, false) => view.source.left = view.source.left.saturating_sub(SIDEWAYS),
        (Pane::Live, _) => {}
    }
}

/// Scroll a pane that has no cursor.
pub(super) fn scroll(view: &mut View, layout: &Layout, pane: Pane, by: i64) {
    let below = layout.live.map_or(0, |(_, below)| below);
    let page_of_source = layout.page(Pane::Source);
    let moved = |top: usize, last: usize| (top as i64).saturating_add(by).clamp(0, last as i64) as usize;
    match pane {
        Pane::Tree => {
            view.tree.top = moved(view.tree.top, view.tree.rows.len().saturating_sub(1));
            view.tree.follow = false;
        }
        Pane::Source => {
            let lines = shown_lines(view);
            view.source.top = moved(view.source.top, lines.saturating_sub(page_of_source / 2)).max(1);
        }
        Pane::Live => view.live_top = moved(view.live_top, view.live_top + below),
    }
}

fn shown_lines(view: &View) -> usize {
    view.document.source(view.tree.selected).map_or(1, |shown| shown.source.text.lines().count())
}

fn focus_by(view: &mut View, by: usize) {
    let at = Pane::ALL.iter().position(|&pane| pane == view.focus).unwrap_or(0);
    focus(view, Pane::ALL.get((at + by) % Pane::ALL.len()).copied().unwrap_or(Pane::Tree));
}

pub(super) fn focus(view: &mut View, pane: Pane) {
    view.focus = pane;
    if pane != Pane::Tree {
        view.lower = pane;
    }
}

/// Bring a pane into view; where there is one pane only, that means going there.
pub(super) fn show(view: &mut View, pane: Pane, shape: Shape) {
    view.lower = pane;
    if view.focus != Pane::Tree || matches!(shape, Shape::One | Shape::Tiny) {
        focus(view, pane);
    }
}

pub(super) fn in_find(view: &mut View, command: Command) {
    match command {
        Command::Accept => {
            view.mode = Mode::Main;
            if view.find.as_ref().is_some_and(|find| find.matches.is_empty()) {
                view.find = None;
            }
        }
        Command::Dismiss => {
            view.mode = Mode::Main;
            if let Some(find) = view.find.take() {
                view.tree = find.before;
            }
        }
        Command::Erase => edit_find(view, |text| {
            text.pop();
        }),
        Command::EraseAll => edit_find(view, String::clear),
        Command::FindNext => next_match(view, true),
        Command::FindPrevious => next_match(view, false),
        _ => {}
    }
}

/// Change what is searched for, and go to the first match from where the search began.
fn edit_find(view: &mut View, edit: impl FnOnce(&mut String)) {
    let document = view.document.clone();
    let Some(find) = &mut view.find else { return };
    edit(&mut find.text);
    find.matches = Find::search(&document, &find.text);
    let start = find.before.selected;
    let target = find.matches.iter().find(|&&id| id >= start).or(find.matches.first()).copied();
    view.tree = find.before.clone();
    if let Some(target) = target {
        view.tree.reveal(&document, target);
    }
}

fn next_match(view: &mut View, forward: bool) {
    let document = view.document.clone();
    let Some(find) = &view.find else { return };
    let here = view.tree.selected;
    let target = if forward {
        find.matches.iter().find(|&&id| id > here).or(find.matches.first())
    } else {
        find.matches.iter().rev().find(|&&id| id < here).or(find.matches.last())
    };
    if let Some(&target) = target {
        view.tree.reveal(&document, target);
    }
}

pub(super) fn in_filter(view: &mut View, command: Command) {
    match command {
        Command::Down => view.filter_row = (view.filter_row + 1) % FILTER_ROWS,
        Command::Up => view.filter_row = (view.filter_row + FILTER_ROWS - 1) % FILTER_ROWS,
        Command::Toggle => toggle_filter(view),
        Command::Clear => {
            view.tree.filter = Filter::default();
            view.tree.apply_filter(&view.document.clone(), &view.measured);
        }
        Command::Accept | Command::Dismiss => view.mode = Mode::Main,
        _ => {}
    }
}

pub(super) fn toggle_filter(view: &mut View) {
    let filter = &mut view.tree.filter;
    match Status::ALL.get(view.filter_row) {
        Some(status) if !filter.statuses.remove(status) => drop(filter.statuses.insert(*status)),
        Some(_) => {}
        None => filter.bad = !filter.bad,
    }
    view.tree.apply_filter(&view.document.clone(), &view.measured);
}

pub(super) fn in_overlay(view: &mut View, command: Command, below: usize) {
    match command {
        Command::Down if below > 0 => view.overlay_top += below.min(5),
        Command::Up => view.overlay_top = view.overlay_top.saturating_sub(5),
        Command::Dismiss => view.mode = Mode::Main,
        _ => {}
    }
}

/// In the panel of a conversion. Closing it does not stop the writing.
fn in_convert(view: &mut View, command: Command, below: usize, effects: &mut Vec<Effect>) {
    let converting = &mut view.converting;
    let writing = converting.progress.is_some();
    match command {
        Command::Accept if !writing && matches!(converting.preview, Some(Ok(_))) => {
            (converting.outcome, converting.progress) = (None, Some(Progress::default()));
            effects.push(Effect::Convert);
        }
        Command::Cancel if writing => effects.push(Effect::StopConversion),
        _ => in_overlay(view, command, below),
    }
}

/// What a conversion tells; how it ended is said at the bottom where its panel is closed.
fn converted(state: &mut State, event: converting::Event) {
    let Screen::Open(view) = &mut state.screen else { return };
    if let (converting::Event::Ended(Ok(words) | Err(words)), true) = (&event, view.mode != Mode::Convert) {
        state.notice = Some(words.clone());
    }
    view.converting.apply(event);
}

/// Let the source pane show what belongs to the selection: its class, and the line that calls it. Waits until the pane
/// was drawn once, since where to scroll depends on its height.
fn follow_selection(view: &mut View, layout: &Layout) {
    let document = view.document.clone();
    let selected = view.tree.selected;
    let Some(area) = &layout.source else { return };
    let height = usize::from(area.area.height);
    let Some(shown) = document.source(selected) else {
        view.source.owner = None;
        view.source.line = None;
        return;
    };
    let child = document.child_towards(shown.owner, selected).and_then(|child| document.module(child));
    let called = child.and_then(|child| shown.source.mentions.iter().find(|(_, name)| *name == child.name));
    let called = called.map(|(line, _)| *line);
    let arrived = view.source.owner != Some(shown.owner);
    if arrived {
        let forward = shown.source.forward.clone().unwrap_or(shown.source.class_line..shown.source.class_line + 1);
        let whole_class = rows_between(shown.source, shown.source.class_line, forward.end) <= height;
        let first = if whole_class { shown.source.class_line } else { forward.start.saturating_sub(1).max(1) };
        view.source.owner = Some(shown.owner);
        view.source.left = 0;
        view.source.line = None;
        view.source.top = first;
        // A file that fits is shown from its beginning.
        if rows_between(shown.source, 1, shown.source.text.lines().count() + 1) <= height {
            view.source.top = 1;
        }
    }
    let chosen = view.source.chosen.filter(|(module, _)| *module == selected);
    view.source.chosen = chosen;
    if let Some((_, line)) = chosen {
        if view.source.line != Some(line) {
            point_at(view, shown.source, line, height);
        }
    } else if let Some(line) = view.source.jump.take() {
        point_at(view, shown.source, line, height);
    } else if called.is_some() && view.source.line != called {
        view.source.line = called;
        point_at(view, shown.source, called.unwrap_or(1), height);
    } else if called.is_none() && !document.blockers(selected).iter().any(|at| Some(at.line) == view.source.line) {
        view.source.line = None;
    }
}

/// Rows that these lines take, the notes of their blockers included.
fn rows_between(source: &ClassSource, first: usize, end: usize) -> usize {
    let notes = source.blockers.iter().filter(|blocker| (first..end).contains(&blocker.line)).count();
    end.saturating_sub(first) + notes * NOTE_ROWS
}

/// Highlight a line, and scroll to it where it is out of view.
fn point_at(view: &mut View, source: &ClassSource, line: usize, height: usize) {
    view.source.line = Some(line);
    if line < view.source.top || rows_between(source, view.source.top, line + 1) > height {
        view.source.top = line.saturating_sub(height / 3).max(1);
    }
}

/// The lines on show may not have their colours yet.
fn ask_for_colours(view: &mut View, layout: &Layout, dark: bool) -> Option<Effect> {
    layout.source.as_ref()?;
    let document = Arc::clone(&view.document);
    let shown = document.source(view.tree.selected)?;
    let class = &document.module(shown.owner)?.class;
    let count = shown.source.text.lines().count();
    let top = view.source.top.min(count.max(1));
    let wanted = top..(top + layout.page(Pane::Source)).min(count + 1);
    let covers = |lines: &std::ops::Range<usize>| lines.start <= wanted.start && lines.end >= wanted.end;
    let here = view.source.colours.get(class.as_str()).is_some_and(|colours| covers(&colours.lines));
    let asked = view.source.asked.as_ref().is_some_and(|(asked, lines)| asked == class && covers(lines));
    if here || asked {
        return None;
    }
    let lines = wanted.start.saturating_sub(HIGHLIGHT_MARGIN).max(1)..(wanted.end + HIGHLIGHT_MARGIN).min(count + 1);
    view.source.asked = Some((class.to_string(), lines.clone()));
    Some(Effect::Highlight(HighlightJob { class: class.to_string(), text: shown.source.text.clone(), lines, dark }))
}
