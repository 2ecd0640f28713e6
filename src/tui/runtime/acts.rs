//! What a message and an effect do.

use std::sync::Arc;

use crossbeam_channel::unbounded;
use ratatui::crossterm::event::{Event, KeyEventKind, MouseButton, MouseEventKind};

use super::opening::Again;
use super::workers::Loaded as Opened;
use super::{Error, Message, WHEEL, World};
use super::{away, showing};
use crate::afar;
use crate::exit::Exit;
use crate::session::{self, Keeper, Told};
use crate::tui::action::{Action, Effect};
use crate::tui::document::Document;
use crate::tui::keymap::typed;
use crate::tui::state::{Bell, State};
use crate::tui::term::Wish;
use crate::tui::update::update;

pub(super) fn on_message(state: &mut State, message: Message, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
    let action = match message {
        Message::Input(event) => match action_of(state, event) {
            Some(action) => action,
            None => return Ok(None),
        },
        // A terminal that was closed sends both.
        Message::InputClosed | Message::Signal(Wish::End) => return Ok(Some(Exit::Interrupted)),
        Message::Signal(Wish::Suspend) => {
            suspend(world)?;
            return Ok(None);
        }
        Message::Signal(Wish::Continued) => {
            world.console.retake()?;
            world.clear = true;
            return Ok(None);
        }
        Message::Opened(Ok(loaded)) => {
            keep(&loaded.document, world);
            Action::Opened(put_to_work(loaded, world))
        }
        Message::Opened(Err(message)) => Action::OpenFailed(message),
        // One that was cancelled has nothing more to say.
        Message::Built(number, _) if number != world.workers.built || world.workers.building.is_none() => {
            return Ok(None);
        }
        Message::Built(_, built) => {
            world.workers.building = None;
            Action::Built(built.map(|loaded| replace(loaded, world)))
        }
        Message::Retold(Ok(loaded)) => {
            // What runs is of what was known before.
            Action::Retold(replace(loaded, world))
        }
        Message::Retold(Err(message)) => Action::NotRetold(message),
        Message::Highlighted(done) => {
            world.workers.show.coloured(&done);
            Action::Highlighted(done)
        }
        Message::Shown(told) => return showing::told(state, told, world),
        Message::Reported(written) => Action::Reported(written),
        Message::Panicked(words) => Action::WorkerPanicked(words),
    };
    perform(state, action, world)
}

/// Let another reading of the file take the place of the first; returns what is shown of it.
fn replace(loaded: Opened, world: &mut World<'_>) -> Arc<Document> {
    forget_workers(world);
    put_to_work(loaded, world)
}

/// Start to keep what is done on the screen; without a place for it until there is one.
fn keep(document: &Document, world: &mut World<'_>) {
    let keeping = &document.keeping;
    let (store, session) = (keeping.store.clone(), keeping.loaded.session.clone());
    let told = world.kept.0.clone();
    world.workers.keeper = Some(Keeper::start(store, session, move |word| drop(told.send(word))));
}

/// Start the threads that work for an opened file; returns what is shown of it.
fn put_to_work(loaded: Opened, world: &mut World<'_>) -> Arc<Document> {
    world.workers.verifier = Some((loaded.verifier)(world.events.0.clone()));
    world.workers.converter = Some((loaded.converter)(world.converted.0.clone()));
    world.workers.measurer = loaded.measurer.map(|start| start(world.measured.0.clone()));
    world.workers.graph = loaded.graph.map(|start| start(world.graphs.0.clone()));
    loaded.document
}

/// What was asked of the model before means nothing to the next.
fn forget_workers(world: &mut World<'_>) {
    if let Some(verifier) = world.workers.verifier.take() {
        verifier.cancel();
    }
    world.workers.converter = None;
    world.workers.graph = None;
    world.workers.measurer = None;
    (world.events, world.converted, world.graphs) = (unbounded(), unbounded(), unbounded());
    world.measured = unbounded();
}

/// What an event of the terminal means now.
pub fn action_of(state: &State, event: Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            match typed(&key).filter(|_| state.panels.take_text()) {
                Some(character) => Some(Action::Text(character)),
                None => state.command_of(&key).map(Action::Command),
            }
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Action::Click(mouse.column, mouse.row)),
            MouseEventKind::Drag(MouseButton::Left) => Some(Action::Drag(mouse.column, mouse.row, true)),
            MouseEventKind::Up(MouseButton::Left) => Some(Action::Drag(mouse.column, mouse.row, false)),
            MouseEventKind::ScrollDown => Some(Action::Wheel(mouse.column, mouse.row, WHEEL)),
            MouseEventKind::ScrollUp => Some(Action::Wheel(mouse.column, mouse.row, -WHEEL)),
            _ => None,
        },
        Event::Paste(text) => Some(Action::Paste(text)),
        _ => None,
    }
}

/// Change the state, and do what it asks for. `Some` ends the loop.
pub(super) fn perform(state: &mut State, action: Action, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
    state.clock = world.began.elapsed();
    state.fetched = world.workers.afar.as_deref().and_then(afar::fetched);
    world.osc9 = state.notify.by == Bell::Osc9;
    let mut effects = update(state, action);
    let before = effects.len();
    effects.retain(|effect| !matches!(effect, Effect::Screenshot));
    if effects.len() < before {
        state.notice = Some(away::picture(state, world.area));
    }
    // What the editor says is for the bottom line.
    let edits = effects.iter().position(|effect| matches!(effect, Effect::Edit(..)));
    if let Some(Effect::Edit(file, line)) = edits.map(|at| effects.remove(at)) {
        let said = away::edit(&file, line, world)?;
        update(state, Action::Said(said.unwrap_or_default())).into_iter().for_each(|effect| effects.push(effect));
        state.notice = state.notice.take().filter(|words| !words.is_empty());
    }
    do_all(effects, world)
}

pub(super) fn do_all(effects: Vec<Effect>, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
    for effect in effects {
        match effect {
            Effect::Quit(code) => return Ok(Some(code)),
            Effect::Suspend => suspend(world)?,
            Effect::Mouse(on) => world.console.set_mouse(on)?,
            Effect::Submit(request) => {
                if let Some(verifier) = &world.workers.verifier {
                    verifier.submit(request);
                }
            }
            Effect::Cancel => {
                if let Some(verifier) = &world.workers.verifier {
                    verifier.cancel();
                }
            }
            Effect::RunGraph(request) => {
                if let Some(graph) = &world.workers.graph {
                    graph.submit(request);
                }
            }
            Effect::CancelGraph => {
                if let Some(graph) = &world.workers.graph {
                    graph.cancel();
                }
            }
            Effect::Notify(words) => world.console.notify(world.osc9.then_some(&words))?,
            Effect::PlanConversion | Effect::Convert(_) | Effect::StopConversion => {
                if let Some(converter) = &world.workers.converter {
                    match effect {
                        Effect::PlanConversion => converter.plan(),
                        Effect::Convert(wish) => converter.write(wish),
                        _ => converter.stop(),
                    }
                }
            }
            Effect::FindTargets | Effect::ReadTensors(_) | Effect::StopReading => {
                if let Some(measurer) = &world.workers.measurer {
                    match effect {
                        Effect::FindTargets => measurer.targets(),
                        Effect::ReadTensors(tensors) => measurer.read(tensors),
                        _ => measurer.stop(),
                    }
                }
            }
            Effect::Reopen(key) => {
                forget_workers(world);
                // It is written before another one is read.
                world.workers.keeper = None;
                if let Some(reopen) = &world.workers.reopener {
                    reopen(Again::Dict(key), None)?;
                }
            }
            Effect::Retell(edits) => {
                if let Some(reopen) = &world.workers.reopener {
                    reopen(Again::Typed(edits), None)?;
                }
            }
            Effect::Build(wanted) => world.workers.build(*wanted)?,
            Effect::StopBuild => world.workers.stop_building(),
            Effect::Keep(change) => {
                if let Some(keeper) = &world.workers.keeper {
                    keeper.keep(change);
                }
            }
            Effect::Answer(place) => {
                if let Err(why) = session::store::remember(&place) {
                    // The loop has the other end.
                    let _ = world.kept.0.send(Told::Unkept(why));
                }
            }
            Effect::Copy(text) => away::copy(&text, world)?,
            Effect::Report(order) => world.workers.report(*order)?,
            // Done before, where the state is at hand.
            Effect::Edit(..) | Effect::Screenshot => {}
            Effect::Highlight(job) => {
                world.workers.show.asked = Some((job.class.clone(), job.lines.clone()));
                // If the highlighter has ended before the program, its panic was reported.
                let _ = world.jobs.send(job);
            }
        }
    }
    Ok(None)
}

fn suspend(world: &mut World<'_>) -> Result<(), Error> {
    world.console.suspend()?;
    world.clear = true;
    Ok(())
}
