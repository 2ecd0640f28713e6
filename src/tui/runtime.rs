//! The loop: waits for something to happen, lets the state change, does what it asks for, and draws at most every 16 ms.
//!
//! Threads: this one draws; one reads the keyboard, one waits for signals, one opens the checkpoint, one colours source,
//! and the runner of [`crate::verify`] measures. They talk to this one over channels alone.

use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select, unbounded};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::crossterm::event::{self, Event, KeyEventKind, MouseButton, MouseEventKind};
use ratatui::crossterm::style::force_color_output;
use rustix::io::Errno;

use super::action::{Action, Effect, HighlightJob, Highlighted};
use super::converting::{self, Converter};
use super::document::Document;
use super::draw::render;
use super::keymap::{self, Keymap, typed};
use super::offer::Offer;
use super::panels::Panel;
use super::panels::build::Wanted;
use super::state::{Screen, State, Trials};
use super::term::{self, Console, Guard, Wish};
use super::theme::{self, Level, Theme};
use super::update::update;
use crate::exit::Exit;
use crate::interrupt;
use crate::open::{self, TypedFrom};
use crate::source::highlight;
use crate::stderr;
use crate::typed::Edit;
use crate::typed::store::Store;
use crate::verify;
use t2m_checkpoint::escape::escape_lines;

/// Shortest time between two frames.
const FRAME: Duration = Duration::from_millis(16);
/// Time between two frames of a spinner.
const TICK: Duration = Duration::from_millis(120);
/// Rows that one notch of the wheel moves.
const WHEEL: i32 = 3;
/// How long an engine may take to answer before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(60);
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
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The theme.
    #[error(transparent)]
    Theme(#[from] theme::Error),
    /// The table of keys.
    #[error(transparent)]
    Keymap(#[from] keymap::Error),
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

/// Runs measurements, as [`verify::Runner`] does.
pub trait Verifier {
    /// Ask for a run.
    fn submit(&self, request: verify::Request);
    /// End what runs.
    fn cancel(&self);
}

impl Verifier for verify::Runner {
    fn submit(&self, request: verify::Request) {
        verify::Runner::submit(self, request);
    }

    fn cancel(&self) {
        verify::Runner::cancel(self);
    }
}

/// Starts a verifier that sends its events there.
pub type StartFn = Box<dyn FnOnce(Sender<verify::Event>) -> Box<dyn Verifier> + Send>;

/// Starts a converter that sends its events there.
pub type StartConverter = Box<dyn FnOnce(Sender<converting::Event>) -> Box<dyn Converter> + Send>;

/// An opened checkpoint, and how to measure and convert it.
pub struct Loaded {
    /// What is shown.
    pub document: Arc<Document>,
    /// Called once, on the screen's thread.
    pub verifier: StartFn,
    /// Starts the thread that converts; called once, on the screen's thread.
    pub converter: StartConverter,
}

/// Opens the checkpoint, on a thread of its own.
pub type OpenFn = Box<dyn FnOnce() -> Result<Loaded, String> + Send>;

/// The same file in another way.
#[derive(Debug, Clone)]
pub enum Again {
    /// With this dict as the model.
    Dict(String),
    /// With these attributes typed, which are to be kept.
    Typed(Vec<Edit>),
    /// With the model that the user's Python builds, and what ends that Python once it is set.
    Build(Box<Wanted>, Arc<AtomicBool>),
}

/// Opens the same file in another way, on a thread of its own.
pub type OpenAgainFn = Box<dyn Fn(Again) -> Result<Loaded, String> + Send + Sync>;

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
    /// A thread panicked.
    Panicked(String),
}

/// Open the screen, stay until the user leaves, and return how it ended: wrong input where the checkpoint could
/// not be opened. After ctrl-c or a signal it does not return: the process ends, as [`interrupt::leave`] says. The terminal is
/// as it was before, whatever happened.
///
/// # Errors
/// The theme cannot be used, or there is no terminal.
pub fn run(options: RunOptions) -> Result<Exit, Error> {
    // What was chosen on the screen holds for whatever is opened next.
    let request = Mutex::new(options.open.clone());
    let kept_in = match &options.open.typed {
        TypedFrom::Kept(folder) => Some(folder.clone()),
        _ => None,
    };
    let load = move |again: Option<Again>| {
        let now = {
            let mut request = request.lock().unwrap_or_else(PoisonError::into_inner);
            match &again {
                Some(Again::Dict(key)) => request.key = Some(key.clone()),
                Some(Again::Typed(edits)) => request.typed = TypedFrom::Given(edits.clone()),
                Some(Again::Build(..)) | None => {}
            }
            let mut request = request.clone();
            if let Some(Again::Build(wanted, stop)) = &again {
                let Wanted { model, python, inputs } = (**wanted).clone();
                (request.model, request.python, request.inputs) = (Some(model), Some(python.into()), inputs);
                request.stop = Some(Arc::clone(stop));
            }
            request
        };
        let opened = open::open(&now).map_err(|error| error.to_string())?;
        if let Some(Again::Build(..)) = &again {
            // The answer holds for this file: what is typed later is typed of the model that was built.
            *request.lock().unwrap_or_else(PoisonError::into_inner) = open::Options { stop: None, ..now.clone() };
        }
        let mut document = Document::of(&opened);
        document.offer = Offer::of(&opened, &now);
        if let (Some(Again::Typed(_)), Some(folder)) = (&again, &kept_in)
            && let Err(error) = keep(&opened, folder)
        {
            document.warnings.push(format!("What was typed holds until you quit, and cannot be kept: {error}."));
        }
        let document = Arc::new(document);
        let converted = opened.clone();
        let verifier: StartFn = Box::new(move |events| Box::new(verify::Runner::start(opened, DEADLINE, events)));
        let converter: StartConverter =
            Box::new(move |events| Box::new(converting::Worker::start(converted, PathBuf::new(), events)));
        Ok(Loaded { document, verifier, converter })
    };
    let again = Arc::new(load);
    let first = Arc::clone(&again);
    run_again(options, Box::new(move || first(None)), Some(Box::new(move |how| again(Some(how)))))
}

/// Keep what was typed for the next run.
fn keep(opened: &open::Opened, folder: &Path) -> Result<(), String> {
    let store = Store::of(folder, &opened.checkpoint.origin().files).ok_or("the file cannot be read again")?;
    let path = store.path.display().to_string();
    store.write(&opened.checkpoint.path, &opened.typed.edits).map_err(|error| format!("{path}: {error}"))
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
    let mut state = State::new(options.open.checkpoint.display().to_string(), theme, Keymap::built_in()?);
    state.ascii = options.ascii;
    state.mouse = options.mouse;
    state.trials = options.trials;
    // The level has been decided: crossterm must not look at NO_COLOR a second time.
    force_color_output(options.level != Level::Never);

    let (messages, inbox) = unbounded();
    let panics = messages.clone();
    let guard = Guard::take(options.mouse, move |words| drop(panics.send(Message::Panicked(words))));
    let mut guard = or_leave(guard)?;
    let _signals = term::listen(messages.clone(), Message::Signal)?;
    // This starts listening for changes of size now: the thread below may first run after the first frame.
    let _ = event::poll(Duration::ZERO);
    spawn("input", messages.clone(), read_input)?;
    let (jobs, job_inbox) = unbounded();
    spawn("highlighter", messages.clone(), move |messages| highlight_all(&job_inbox, messages))?;
    let reopened = messages.clone();
    spawn("opener", messages, move |messages| drop(messages.send(Message::Opened(open()))))?;

    // Never dropped: it would say by `eprintln!` that a terminal is gone, and panic where it says so. The guard shows the cursor.
    let mut terminal = ManuallyDrop::new(or_leave(Terminal::new(CrosstermBackend::new(io::stdout())))?);
    let again = again.map(Arc::new);
    let reopener = again.map(|again| -> Reopener {
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
            spawn("opener", reopened.clone(), work)
        })
    });
    let mut workers = Workers::default();
    workers.reopener = reopener;
    let code = event_loop(&mut terminal, &mut guard, &mut state, &inbox, &jobs, &mut workers);
    // The terminal is the user's again before the engines are ended, which may take a moment.
    drop(guard);
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

fn read_input(messages: &Sender<Message>) {
    loop {
        let message = event::read().map_or(Message::InputClosed, Message::Input);
        let closed = matches!(message, Message::InputClosed);
        if messages.send(message).is_err() || closed {
            return;
        }
    }
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

/// Who measures and who converts, once the checkpoint is open. Dropping them waits for both.
#[derive(Default)]
pub struct Workers {
    verifier: Option<Box<dyn Verifier>>,
    converter: Option<Box<dyn Converter>>,
    reopener: Option<Reopener>,
    /// How many models were asked for, and what ends the Python that builds the last.
    built: u64,
    building: Option<Arc<AtomicBool>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop_building();
    }
}

impl Workers {
    /// End the Python that builds a model, if one does; what it says is not heard.
    fn stop_building(&mut self) {
        if let Some(stop) = self.building.take() {
            stop.store(true, Ordering::SeqCst);
        }
    }

    /// Start to build a model; one that is being built is given up.
    fn build(&mut self, wanted: Wanted) -> io::Result<()> {
        self.stop_building();
        let stop = Arc::new(AtomicBool::new(false));
        self.built += 1;
        self.building = Some(Arc::clone(&stop));
        let how = Again::Build(Box::new(wanted), stop);
        self.reopener.as_ref().map_or(Ok(()), |reopen| reopen(how, Some(self.built)))
    }
}

/// Starts a thread that opens the file again; with a number it answers as [`Message::Built`].
type Reopener = Box<dyn Fn(Again, Option<u64>) -> io::Result<()>>;

/// Everything that the loop keeps besides the state.
struct World<'a> {
    console: &'a mut dyn Console,
    jobs: &'a Sender<HighlightJob>,
    workers: &'a mut Workers,
    events: (Sender<verify::Event>, Receiver<verify::Event>),
    converted: (Sender<converting::Event>, Receiver<converting::Event>),
    /// The next frame needs a cleared screen.
    clear: bool,
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
    let (events, converted) = (unbounded(), unbounded());
    let mut world = World { console, jobs, workers, events, converted, clear: false };
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
        let tick = if state.is_moving() { after(TICK.saturating_sub(ticked.elapsed())) } else { never() };
        let code = select! {
            recv(inbox) -> message => match message {
                Ok(message) => {
                    dirty = true;
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
            recv(world.converted.1) -> event => {
                dirty = true;
                match event {
                    Ok(event) => perform(state, Action::Converting(event), &mut world)?,
                    Err(_) => None,
                }
            }
            recv(tick) -> _ => {
                dirty = true;
                ticked = Instant::now();
                perform(state, Action::Tick, &mut world)?
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
    terminal.draw(|frame| effects = render(state, frame.area(), frame.buffer_mut())).map_err(io::Error::other)?;
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

fn on_message(state: &mut State, message: Message, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
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
            world.workers.verifier = Some((loaded.verifier)(world.events.0.clone()));
            world.workers.converter = Some((loaded.converter)(world.converted.0.clone()));
            Action::Opened(loaded.document)
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
            if let Some(verifier) = world.workers.verifier.take() {
                verifier.cancel();
            }
            (world.events, world.converted) = (unbounded(), unbounded());
            world.workers.verifier = Some((loaded.verifier)(world.events.0.clone()));
            world.workers.converter = Some((loaded.converter)(world.converted.0.clone()));
            Action::Retold(loaded.document)
        }
        Message::Retold(Err(message)) => Action::NotRetold(message),
        Message::Highlighted(done) => Action::Highlighted(done),
        Message::Panicked(words) => Action::WorkerPanicked(words),
    };
    perform(state, action, world)
}

/// Let another reading of the file take the place of the first; returns what is shown of it.
fn replace(loaded: Loaded, world: &mut World<'_>) -> Arc<Document> {
    forget_workers(world);
    world.workers.verifier = Some((loaded.verifier)(world.events.0.clone()));
    world.workers.converter = Some((loaded.converter)(world.converted.0.clone()));
    loaded.document
}

/// What was asked of the model before means nothing to the next.
fn forget_workers(world: &mut World<'_>) {
    if let Some(verifier) = world.workers.verifier.take() {
        verifier.cancel();
    }
    world.workers.converter = None;
    (world.events, world.converted) = (unbounded(), unbounded());
}

/// What an event of the terminal means now.
pub fn action_of(state: &State, event: Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            let panel = state.panels.current();
            match typed(&key).filter(|_| panel.is_some_and(Panel::takes_text)) {
                Some(character) => Some(Action::Text(character)),
                None => state.keymap.command(state.panels.open, &key).map(Action::Command),
            }
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Action::Click(mouse.column, mouse.row)),
            MouseEventKind::ScrollDown => Some(Action::Wheel(mouse.column, mouse.row, WHEEL)),
            MouseEventKind::ScrollUp => Some(Action::Wheel(mouse.column, mouse.row, -WHEEL)),
            _ => None,
        },
        Event::Paste(text) => Some(Action::Paste(text)),
        _ => None,
    }
}

/// Change the state, and do what it asks for. `Some` ends the loop.
fn perform(state: &mut State, action: Action, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
    do_all(update(state, action), world)
}

fn do_all(effects: Vec<Effect>, world: &mut World<'_>) -> Result<Option<Exit>, Error> {
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
            Effect::PlanConversion | Effect::Convert | Effect::StopConversion => {
                if let Some(converter) = &world.workers.converter {
                    match effect {
                        Effect::PlanConversion => converter.plan(),
                        Effect::Convert => converter.write(),
                        _ => converter.stop(),
                    }
                }
            }
            Effect::Reopen(key) => {
                forget_workers(world);
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
            Effect::Highlight(job) => {
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
