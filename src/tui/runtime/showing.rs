//! The recording and the script that are asked for, and a screen that is drawn on nothing.

use std::io;
use std::path::Path;

use crossbeam_channel::{Receiver, Sender, unbounded};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::acts::perform;
use super::{Error, HighlightJob, Message, Workers, World, event_loop, highlight_all, spawn};
use crate::exit::Exit;
use crate::files;
use crate::interrupt;
use crate::tui::action::Action;
use crate::tui::show::cast::Recorder;
use crate::tui::show::player::{Player, Sent, Watch};
use crate::tui::show::{Showing, Told, Wanted, script};
use crate::tui::state::{Screen, State};
use crate::tui::term::Console;
use t2m_checkpoint::escape::escape;

/// The longest script.
const LONGEST_SCRIPT: u64 = 1 << 20;

/// The steps of the script that is asked for, if one is.
pub(super) fn script(wanted: &Wanted) -> Result<Option<Vec<script::Step>>, Error> {
    let Some(path) = &wanted.play else { return Ok(None) };
    let text =
        files::read_text(path, LONGEST_SCRIPT).map_err(|error| Error::Show(format!("{} {error}", path.display())))?;
    let steps = script::parse(&text).map_err(|error| Error::Show(format!("{}:{error}", path.display())))?;
    Ok(Some(steps))
}

/// Begin the recording, and the thread that plays; `told` where time passes in the script alone.
pub(super) fn begin(
    wanted: &Wanted,
    steps: Option<Vec<script::Step>>,
    title: &str,
    told: bool,
    messages: &Sender<Message>,
) -> Result<Showing, Error> {
    let mut showing = Showing::default();
    if let Some(path) = &wanted.record {
        let fault = |error: io::Error| {
            let words = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "is there already, and a recording is never written over; give another name".to_owned()
                }
                _ => format!("cannot be written: {error}"),
            };
            Error::Show(format!("{}: {words}", path.display()))
        };
        showing.recorder = Some(Recorder::create(path, title, told).map_err(fault)?);
        let name = escape(&path.to_string_lossy()).into_owned();
        interrupt::hold().leaves(format!("what was recorded so far is in {name}"));
    }
    if let (Some(path), Some(steps)) = (wanted.play.clone(), steps) {
        let watch = Watch::default();
        showing.watch = Some(watch.clone());
        spawn("player", messages.clone(), move |messages| play(&path, &steps, watch, told, messages))?;
    }
    Ok(showing)
}

fn play(path: &Path, steps: &[script::Step], watch: Watch, told: bool, messages: &Sender<Message>) {
    let send = |sent: Sent| {
        let message = match sent {
            Sent::Key(event) => Message::Input(event),
            Sent::Told(told) => Message::Shown(told),
        };
        messages.send(message).is_ok()
    };
    Player::new(send, watch, told).play(&path.display().to_string(), steps);
}

/// What the script says.
pub(super) fn told(state: &mut State, told: Told, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
    match told {
        Told::Caption(words) => return perform(state, Action::Caption(words), world),
        Told::Passed(time) => {
            let passed = world.workers.show.recorder.as_mut().map(|recorder| recorder.pass(time));
            if let Some(Err(error)) = passed {
                world.workers.show.recorder = None;
                return Err(Error::Show(format!("the recording ended: {error}")));
            }
        }
        Told::Said(number) => world.workers.show.played = number,
        Told::Ended(ended) => match (world.workers.show.ends, ended) {
            (true, Ok(())) => {
                let failed = matches!(state.screen, Screen::Failed(_));
                return Ok(Some(if failed { Exit::WrongInput } else { Exit::Fine }));
            }
            (true, Err(words)) => return Err(Error::Show(words)),
            (false, Ok(())) => {}
            (false, Err(words)) => return perform(state, Action::Said(words), world),
        },
    }
    Ok(None)
}

/// Run the screen on nothing, for as long as the script goes on.
pub(super) fn on_nothing(
    (columns, rows): (u16, u16),
    state: &mut State,
    inbox: &Receiver<Message>,
    workers: &mut Workers,
    messages: &Sender<Message>,
) -> Result<Exit, Error> {
    let (jobs, job_inbox) = unbounded::<HighlightJob>();
    spawn("highlighter", messages.clone(), move |messages| highlight_all(&job_inbox, messages))?;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).map_err(io::Error::other)?;
    workers.show.ends = true;
    event_loop(&mut terminal, &mut Nothing, state, inbox, &jobs, workers)
}

/// A terminal that is none.
struct Nothing;

impl Console for Nothing {
    fn begin_frame(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_mouse(&mut self, _on: bool) -> io::Result<()> {
        Ok(())
    }

    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn retake(&mut self) -> io::Result<()> {
        Ok(())
    }
}
