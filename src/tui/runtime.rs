//! The loop: waits for something to happen, lets the state change, does what it asks for, and draws at most every 16 ms.
//!
//! Threads: this one draws; one reads the keyboard, one waits for signals, one opens the checkpoint, one colours source,
//! the runner of [`crate::verify`] measures, and that of [`crate::graph`] runs the whole graph. They talk to this one over channels alone.

mod acts;
mod away;
mod input;
mod opening;
mod showing;
mod workers;

use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select, unbounded};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::style::force_color_output;
use ratatui::layout::Rect;
use rustix::io::Errno;

use super::action::{Action, HighlightJob, Highlighted};
use super::converting;
use super::draw::render;
use super::keymap::Keymap;
use super::measuring;
use super::reporting::Refused;
use super::show;
use super::state::{Notify, Screen, State, Trials};
use super::term::{self, Console, Guard, Wish};
use super::theme::{self, Level, Theme};
use crate::afar;
use crate::exit::Exit;
use crate::graph::runner;
use crate::interrupt;
use crate::open;
use crate::session::{self, Told};
use crate::source::highlight;
use crate::stderr;
use crate::verify;
pub use acts::action_of;
use acts::{do_all, on_message, perform};
pub use opening::{Again, OpenAgainFn, OpenFn, run};
use t2m_checkpoint::escape::escape_lines;
use workers::Reopener;
pub use workers::{GraphRunner, Loaded, StartConverter, StartFn, StartGraph, StartMeasurer, Verifier, Workers};

/// Shortest time between two frames.
const FRAME: Duration = Duration::from_millis(16);
/// Time between two frames of a spinner.
const TICK: Duration = Duration::from_millis(120);
/// Rows that one notch of the wheel moves.
const WHEEL: i32 = 3;
/// How long an engine may take to answer before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long after a key it is kept where the user is.
const SETTLED: Duration = Duration::from_millis(750);
/// Messages taken in before a frame is drawn.
const BATCH: usize = 4096;

/// How to run the screen.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What to open, and with which help.
    pub open: open::Options,
    /// `auto`, `dark`, `light`, or a file.
    pub theme: String,
    /// How many colours the terminal has; [`Level::detect`] finds out.
    pub level: Level,
    /// Draw with ASCII alone.
    pub ascii: bool,
    /// Capture the mouse.
    pub mouse: bool,
    /// What a run does.
    pub trials: Trials,
    /// What is recorded and played.
    pub show: show::Wanted,
    /// Keys.
    pub keymap: Keymap,
    /// How the end of something long is told.
    pub notify: Notify,
    /// Whether the screen asks where a session is to be kept: nobody has said.
    pub ask: bool,
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The theme.
    #[error(transparent)]
    Theme(#[from] theme::Error),
    /// What is recorded or played.
    #[error("{0}")]
    Show(String),
    /// The terminal.
    #[error("the terminal cannot be used: {0}; `t2m-tui inspect` prints the same without one")]
    Terminal(#[from] io::Error),
}

impl Error {
    /// Whether the terminal was closed, which a signal and the keyboard tell, too, a moment later.
    fn is_hangup(&self) -> bool {
        let gone = [Errno::IO, Errno::NXIO, Errno::PIPE].map(Errno::raw_os_error);
        let Error::Terminal(error) = self else { return false };
        // Drawing wraps what the system said.
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
        let code = error.raw_os_error().or_else(|| inner?.raw_os_error());
        code.is_some_and(|code| gone.contains(&code))
    }
}

/// What the threads tell the loop.
pub enum Message {
    /// A key, the mouse, a new size.
    Input(Event),
    /// The keyboard can no longer be read.
    InputClosed,
    /// A signal came.
    Signal(Wish),
    /// The checkpoint is open, or is not.
    Opened(Result<Loaded, String>),
    /// The model is built, or is not: the number of the request.
    Built(u64, Result<Loaded, String>),
    /// The checkpoint was opened again with what was typed, or was not.
    Retold(Result<Loaded, String>),
    /// Source has its colours.
    Highlighted(Highlighted),
    /// A report is written, or is not.
    Reported(Result<String, Refused>),
    /// A script that is played says something.
    Shown(show::Told),
    /// A thread panicked.
    Panicked(String),
}

/// Run the screen with another way to open a checkpoint than [`open`].
///
/// # Errors
/// As [`run`].
pub fn run_with(options: RunOptions, open: OpenFn) -> Result<Exit, Error> {
    run_again(options, open, None)
}

/// As [`run_with`], with a way to open another dict of the same file.
fn run_again(options: RunOptions, open: OpenFn, again: Option<OpenAgainFn>) -> Result<Exit, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let theme = Theme::load(&options.theme, variable)?.at(options.level);
    // A theme that was chosen need not be like the terminal; `auto` is.
    let theme = if options.theme == "auto" { theme } else { theme.painted() };
    let shown = afar::shown(&options.open.checkpoint).into_owned();
    let mut state = State::new(shown.display().to_string(), theme, options.keymap);
    state.ascii = options.ascii;
    state.mouse = options.mouse;
    state.trials = options.trials;
    state.notify = options.notify;
    // The level has been decided: crossterm must not look at NO_COLOR a second time.
    force_color_output(options.level != Level::Never);

    let steps = showing::script(&options.show)?;
    let (messages, inbox) = unbounded();
    let mut workers = Workers::default();
    workers.messages = Some(messages.clone());
    workers.watch.clone_from(&options.open.watch);
    workers.reopener = again.map(|again| reopener(again, messages.clone()));
    let title = format!("t2m-tui {}", shown.display());
    workers.afar = afar::is_address(&shown).then_some(shown);
    workers.show = showing::begin(&options.show, steps, &title, options.show.size.is_some(), &messages)?;
    let code = match options.show.size {
        Some(size) => {
            spawn("opener", messages.clone(), move |messages| drop(messages.send(Message::Opened(open()))))?;
            showing::on_nothing(size, &mut state, &inbox, &mut workers, &messages)
        }
        None => on_terminal(options.mouse, &mut state, (&messages, &inbox), &mut workers, open),
    };
    let recorded = workers.show.recorder.take().map_or(Ok(()), |mut recorder| recorder.end());
    let code = match recorded {
        Err(error) if code.is_ok() => Err(Error::Show(format!("the recording ended: {error}"))),
        _ => code,
    };
    workers.keep_place(state.place());
    // Written now, whatever comes: who interrupts does not lose it.
    workers.keeper = None;
    let is_over = match &code {
        Ok(exit) => *exit == Exit::Interrupted,
        Err(error) => error.is_hangup(),
    };
    if is_over {
        // Who interrupts knows that; threads that measure or write are not waited for.
        interrupt::leave(Some(""));
    }
    drop(workers);
    if let Screen::Failed(failed) = &state.screen {
        stderr::line(&escape_lines(&failed.message));
    }
    code
}

/// Run the screen on the terminal, which is the user's again at the end.
fn on_terminal(
    mouse: bool,
    state: &mut State,
    (messages, inbox): (&Sender<Message>, &Receiver<Message>),
    workers: &mut Workers,
    open: OpenFn,
) -> Result<Exit, Error> {
    let panics = messages.clone();
    let guard = Guard::take(mouse, move |words| drop(panics.send(Message::Panicked(words))));
    let mut guard = or_leave(guard)?;
    let _signals = term::listen(messages.clone(), Message::Signal)?;
    // This starts listening for changes of size now: the thread below may first run after the first frame.
    let _ = event::poll(Duration::ZERO);
    let input = workers.input.clone();
    spawn("input", messages.clone(), move |messages| input.read(messages))?;
    let (jobs, job_inbox) = unbounded();
    spawn("highlighter", messages.clone(), move |messages| highlight_all(&job_inbox, messages))?;
    spawn("opener", messages.clone(), move |messages| drop(messages.send(Message::Opened(open()))))?;

    // Never dropped: it would say by `eprintln!` that a terminal is gone, and panic where it says so. The guard shows the cursor.
    let mut terminal = ManuallyDrop::new(or_leave(Terminal::new(CrosstermBackend::new(io::stdout())))?);
    // The terminal is the user's again before the engines are ended, which may take a moment.
    event_loop(&mut terminal, &mut guard, state, inbox, &jobs, workers)
}

/// What opens the same file again, each time on a thread of its own.
fn reopener(again: OpenAgainFn, messages: Sender<Message>) -> Reopener {
    let again = Arc::new(again);
    Box::new(move |how, number| {
        let again = Arc::clone(&again);
        let work = move |messages: &Sender<Message>| {
            let retold = matches!(how, Again::Typed(_));
            let opened = again(how);
            let message = match number {
                Some(number) => Message::Built(number, opened),
                None if retold => Message::Retold(opened),
                None => Message::Opened(opened),
            };
            drop(messages.send(message));
        };
        spawn("opener", messages.clone(), work)
    })
}

/// What the terminal gave. One that is closed before the first frame is an interrupt like one that is closed later.
fn or_leave<T>(got: io::Result<T>) -> Result<T, Error> {
    got.map_err(Error::from).inspect_err(|error| {
        if error.is_hangup() {
            interrupt::leave(Some(""));
        }
    })
}

fn spawn(
    name: &str,
    messages: Sender<Message>,
    work: impl FnOnce(&Sender<Message>) + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(move || work(&messages)).map(drop)
}

/// Colour source. Of several waiting jobs only the newest matters.
fn highlight_all(jobs: &Receiver<HighlightJob>, messages: &Sender<Message>) {
    while let Ok(mut job) = jobs.recv() {
        while let Ok(newer) = jobs.try_recv() {
            job = newer;
        }
        let runs = highlight::python(&job.text, job.lines.clone(), job.dark);
        let done = Highlighted { class: job.class, lines: job.lines, runs };
        if messages.send(Message::Highlighted(done)).is_err() {
            return;
        }
    }
}

/// Everything that the loop keeps besides the state.
struct World<'a> {
    console: &'a mut dyn Console,
    jobs: &'a Sender<HighlightJob>,
    workers: &'a mut Workers,
    events: (Sender<verify::Event>, Receiver<verify::Event>),
    converted: (Sender<converting::Event>, Receiver<converting::Event>),
    graphs: (Sender<runner::Told>, Receiver<runner::Told>),
    measured: (Sender<measuring::Event>, Receiver<measuring::Event>),
    kept: (Sender<Told>, Receiver<Told>),
    /// The next frame needs a cleared screen.
    clear: bool,
    /// When the loop began.
    began: Instant,
    /// Whether the end of something long is told in words.
    osc9: bool,
    /// Where the last frame was drawn.
    area: Rect,
}

/// The loop itself, over any terminal. Returns how it ended, and leaves the workers to the caller.
///
/// # Errors
/// The terminal is gone.
pub fn event_loop<B: Backend>(
    terminal: &mut Terminal<B>,
    console: &mut dyn Console,
    state: &mut State,
    inbox: &Receiver<Message>,
    jobs: &Sender<HighlightJob>,
    workers: &mut Workers,
) -> Result<Exit, Error>
where
    B::Error: Send + Sync + 'static,
{
    let (events, converted, graphs, kept) = (unbounded(), unbounded(), unbounded(), unbounded());
    let (measured, area, began, osc9) = (unbounded(), Rect::default(), Instant::now(), false);
    let mut world =
        World { console, jobs, workers, events, converted, graphs, measured, kept, clear: false, began, osc9, area };
    let (mut place, mut moved): (Option<session::Screen>, Option<Instant>) = (None, None);
    let mut drawn: Option<Instant> = None;
    let mut dirty = true;
    let mut ticked = Instant::now();
    loop {
        let due = drawn.map_or(Duration::ZERO, |at| FRAME.saturating_sub(at.elapsed()));
        if dirty && due.is_zero() {
            dirty = false;
            drawn = Some(Instant::now());
            if let Some(code) = frame(terminal, state, &mut world)? {
                return Ok(code);
            }
        }
        let redraw = if dirty { after(due) } else { never() };
        let settled = moved.map_or_else(never, |at| after(SETTLED.saturating_sub(at.elapsed())));
        let tick = if state.is_moving() { after(TICK.saturating_sub(ticked.elapsed())) } else { never() };
        let code = select! {
            recv(inbox) -> message => match message {
                Ok(message) => {
                    dirty = true;
                    moved = moved.or_else(|| Some(Instant::now()));
                    take_in(state, message, inbox, &mut world)?
                }
                Err(_) => Some(Exit::Fine),
            },
            recv(world.events.1) -> event => {
                dirty = true;
                let mut code = None;
                let first = event.into_iter();
                let events: Vec<_> = first.chain(world.events.1.try_iter().take(BATCH)).collect();
                for event in events {
                    code = code.or(perform(state, Action::Verify(event), &mut world)?);
                }
                code
            }
            recv(world.graphs.1) -> report => {
                dirty = true;
                let mut code = None;
                let first = report.into_iter();
                let reports: Vec<_> = first.chain(world.graphs.1.try_iter().take(BATCH)).collect();
                for (number, report) in reports {
                    code = code.or(perform(state, Action::Graph(number, report), &mut world)?);
                }
                code
            }
            recv(world.converted.1) -> event => {
                dirty = true;
                match event {
                    Ok(event) => perform(state, Action::Converting(event), &mut world)?,
                    Err(_) => None,
                }
            }
            recv(world.measured.1) -> event => {
                dirty = true;
                match event {
                    Ok(event) => perform(state, Action::Measuring(event), &mut world)?,
                    Err(_) => None,
                }
            }
            recv(tick) -> _ => {
                dirty = true;
                ticked = Instant::now();
                if let (Screen::Opening(_), Some(watch)) = (&state.screen, &world.workers.watch) {
                    let now = watch.now();
                    perform(state, Action::Opens(now), &mut world)?;
                }
                perform(state, Action::Tick, &mut world)?
            }
            recv(world.kept.1) -> told => {
                dirty = true;
                told.map_or(Ok(None), |told| perform(state, Action::Kept(told), &mut world))?
            }
            recv(settled) -> _ => {
                moved = None;
                let now = state.place();
                if now != place {
                    world.workers.keep_place(now.clone());
                    place = now;
                }
                None
            }
            recv(redraw) -> _ => None,
        };
        if let Some(code) = code {
            return Ok(code);
        }
    }
}

/// Draw one frame, inside a bracket that lets the terminal show it at once.
fn frame<B: Backend>(
    terminal: &mut Terminal<B>,
    state: &mut State,
    world: &mut World<'_>,
) -> Result<Option<Exit>, Error>
where
    B::Error: Send + Sync + 'static,
{
    world.console.begin_frame()?;
    if std::mem::take(&mut world.clear) {
        // Not Terminal::clear: that asks the terminal for its cursor, and the answer goes to the thread that reads keys.
        let size = terminal.size().map_err(io::Error::other)?;
        terminal.resize(size.into()).map_err(io::Error::other)?;
    }
    let mut effects = Vec::new();
    let drawn = terminal.draw(|frame| effects = render(state, frame.area(), frame.buffer_mut()));
    let drawn = drawn.map_err(io::Error::other)?;
    world.area = drawn.area;
    if let Some(words) = world.workers.show.frame(drawn.buffer, state) {
        state.notice = Some(words);
    }
    world.console.end_frame()?;
    do_all(effects, world)
}

/// Take in a message and those waiting behind it.
fn take_in(
    state: &mut State,
    first: Message,
    inbox: &Receiver<Message>,
    world: &mut World<'_>,
) -> Result<Option<Exit>, Error> {
    let mut next = Some(first);
    for _ in 0..BATCH {
        let Some(message) = next else { break };
        if let Some(code) = on_message(state, message, world)? {
            return Ok(Some(code));
        }
        next = inbox.try_recv().ok();
    }
    Ok(None)
}
