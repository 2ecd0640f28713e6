//! Draws `screenshots/*.svg` and `*.png` with the program's own drawing code: `make screenshots`.
//!
//! What is drawn is the built-in demo, and a graph of the tests, measured by both engines while this runs (T2M_TORCH and T2M_MLX name them): no
//! number in a picture is made up.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use t2m_tui::exit::Exit;
use t2m_tui::graph::runner;
use t2m_tui::open::{Opened, Options, open};
use t2m_tui::source::highlight;
use t2m_tui::tui::action::{Action, Command, Effect, HighlightJob, Highlighted};
use t2m_tui::tui::converting::{Converter, Wish};
use t2m_tui::tui::document::Document;
use t2m_tui::tui::draw::render;
use t2m_tui::tui::keymap::Keymap;
use t2m_tui::tui::panels::Name;
use t2m_tui::tui::panes::Pane;
use t2m_tui::tui::png::png;
use t2m_tui::tui::runtime::{Loaded, RunOptions, StartConverter, StartFn, Verifier, run_with};
use t2m_tui::tui::show::Wanted;
use t2m_tui::tui::state::{Notify, Screen, State, Trials};
use t2m_tui::tui::svg::{animated, svg};
use t2m_tui::tui::theme::{Level, Theme};
use t2m_tui::tui::update::update;
use t2m_tui::verify::{Event, Runner};

const DEADLINE: Duration = Duration::from_secs(60);
/// Columns and rows of the animation.
const TOUR: (u16, u16) = (120, 34);
/// How long a layer takes in it.
const PACE: Duration = Duration::from_millis(30);

/// A registry that takes GroupNorm's flag away.
const WRONG: &str = "[[layer]]\nclass = \"torch.nn.modules.normalization.GroupNorm\"\nargs = {}\n";

/// A registry in which a sigmoid is a little too steep.
const STEEP: &str = "[ops]\n\"sigmoid(Tensor self) -> Tensor\" = \"mx.sigmoid(self * 1.02)\"\n";

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots");
    fs::create_dir_all(&folder).unwrap();
    let save = |name: &str, state: State, size: (u16, u16)| picture(&folder, name, state, size);

    let registry = std::env::temp_dir().join(format!("t2m-screenshots-{}.toml", std::process::id()));
    fs::write(&registry, STEEP).unwrap();
    save("graph", graph(registry.clone()), (160, 45));

    let demo = Take::of(Vec::new());
    let attention = "caption.blocks.0.attention";
    save("main", demo.measured("dark", attention), (160, 45));
    save("light", demo.measured("light", attention), (160, 45));
    save("running", demo.running("dark", attention, 5), (160, 45));
    save("blockers", blockers(demo.measured("dark", "sound")), (160, 45));
    save("whole-model", demo.measured("dark", ""), (160, 45));
    save("help", help(demo.measured("dark", attention)), (160, 45));
    save("medium", demo.measured("dark", attention), (100, 30));
    save("narrow", demo.measured("dark", attention), (58, 16));
    fs::write(folder.join("tour.svg"), demo.tour()).unwrap();
    println!("screenshots/tour.svg");

    fs::write(&registry, WRONG).unwrap();
    save("broken", Take::of(vec![registry.clone()]).measured("dark", "picture.blocks.0.norm1"), (160, 45));
    fs::remove_file(registry).unwrap();
}

/// A graph of the tests, run with a mistake in one row, at the node where it is.
fn graph(registry: PathBuf) -> State {
    let folder = Path::new("tests/fixtures/graphs");
    let (checkpoint, sources) = (folder.join("attention.pt2"), vec![folder.to_owned()]);
    let opened = open(&Options { checkpoint, sources, registries: vec![registry], ..Options::default() }).unwrap();
    let mut state = state_of(&opened, "dark");
    let area = Rect::new(0, 0, 160, 45);
    render(&mut state, area, &mut Buffer::empty(area));
    let request = act(&mut state, Action::Command(Command::RunGraph))
        .into_iter()
        .find_map(|effect| if let Effect::RunGraph(request) = effect { Some(request) } else { None })
        .expect("the file has a graph");
    let (sender, reports) = crossbeam_channel::unbounded();
    let runner = runner::Runner::start(opened.job().unwrap(), Vec::new(), DEADLINE, sender);
    runner.submit(request);
    for (number, report) in &reports {
        let done = matches!(report, runner::Report::Ended(_));
        act(&mut state, Action::Graph(number, report));
        if done {
            break;
        }
    }
    act(&mut state, Action::Command(Command::FirstDivergence));
    state
}

/// The demo and all that was heard while it was measured once.
struct Take {
    opened: Opened,
    events: Vec<Event>,
}

impl Take {
    fn of(registries: Vec<PathBuf>) -> Take {
        let opened = open(&Options { checkpoint: "demo".into(), registries, ..Options::default() }).unwrap();
        let mut state = state_of(&opened, "dark");
        let request = act(&mut state, Action::Command(Command::RunAll))
            .into_iter()
            .find_map(|effect| if let Effect::Submit(request) = effect { Some(request) } else { None })
            .expect("the demo has layers to run");
        let (sender, events) = crossbeam_channel::unbounded();
        let runner = Runner::start(opened.clone(), DEADLINE, sender);
        runner.submit(request);
        let mut heard = Vec::new();
        for event in &events {
            let done = matches!(event, Event::Done { .. });
            heard.push(event);
            if done {
                break;
            }
        }
        Take { opened, events: heard }
    }

    /// The screen after all of it, at a module.
    fn measured(&self, theme: &str, path: &str) -> State {
        self.state(theme, path, self.events.len())
    }

    /// The screen in the middle of it: after so many trials of the module.
    fn running(&self, theme: &str, path: &str, trials: usize) -> State {
        let id = self.opened.model.find(path).unwrap();
        let is_trial = |event: &&Event| matches!(event, Event::Trial { module, .. } if *module == id);
        let mut seen = 0;
        let until = self.events.iter().position(|event| {
            seen += usize::from(is_trial(&event));
            seen == trials
        });
        self.state(theme, path, until.unwrap() + 1)
    }

    /// `examples/tour.play` as the program plays and records it, with what was heard while the demo was measured.
    fn tour(&self) -> String {
        let cast = std::env::temp_dir().join(format!("t2m-tour-{}.cast", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tour.play");
        let show = Wanted { record: Some(cast.clone()), play: Some(script), size: Some(TOUR) };
        let options = RunOptions {
            open: Options { checkpoint: "demo".into(), ..Options::default() },
            theme: "dark".to_owned(),
            level: Level::True,
            ascii: false,
            mouse: false,
            trials: Trials::default(),
            show,
            keymap: Keymap::built_in().unwrap(),
            notify: Notify::default(),
            ask: false,
        };
        let (document, events) = (Arc::new(Document::of(&self.opened)), self.events.clone());
        let load = move || {
            let verifier: StartFn = Box::new(move |to| Box::new(Replay { events, to }));
            let converter: StartConverter = Box::new(|_| Box::new(NoConverter));
            Ok(Loaded { document, verifier, converter, measurer: None, graph: None })
        };
        let exit = run_with(options, Box::new(load)).unwrap();
        assert_eq!(exit, Exit::Fine, "the tour is played to its end");
        let theme = Theme::load("dark", |_| None).unwrap();
        let (frames, seconds) = frames(&fs::read_to_string(&cast).unwrap());
        fs::remove_file(cast).unwrap();
        animated(&frames, seconds, &theme)
    }

    fn state(&self, theme: &str, path: &str, events: usize) -> State {
        let mut state = state_of(&self.opened, theme);
        act(&mut state, Action::Command(Command::RunAll));
        for event in &self.events[..events] {
            act(&mut state, Action::Verify(event.clone()));
        }
        if let Screen::Open(view) = &mut state.screen {
            let document = view.document.clone();
            view.tree.reveal(&document, self.opened.model.find(path).unwrap());
        }
        state
    }
}

/// Tells again what was heard, a layer after the other.
struct Replay {
    events: Vec<Event>,
    to: Sender<Event>,
}

impl Verifier for Replay {
    fn submit(&self, _request: t2m_tui::verify::Request) {
        let (events, to) = (self.events.clone(), self.to.clone());
        std::thread::spawn(move || {
            for event in events {
                if matches!(event, Event::Finished { .. }) {
                    std::thread::sleep(PACE);
                }
                let _ = to.send(event);
            }
        });
    }

    fn cancel(&self) {}
}

/// The tour converts nothing.
struct NoConverter;

impl Converter for NoConverter {
    fn plan(&self) {}

    fn write(&self, _wish: Wish) {}

    fn stop(&self) {}
}

/// What a terminal shows at each moment of a recording, and how long it goes on.
fn frames(cast: &str) -> (Vec<(f64, Buffer)>, f64) {
    let mut terminal = vt100::Parser::new(TOUR.1.try_into().unwrap(), TOUR.0.try_into().unwrap(), 0);
    let mut frames: Vec<(f64, Buffer)> = Vec::new();
    for line in cast.lines().skip(1) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        terminal.process(event[2].as_str().unwrap().as_bytes());
        let at = event[0].as_f64().unwrap();
        frames.pop_if(|(before, _)| *before == at);
        frames.push((at, shown(terminal.screen())));
    }
    let end = frames.last().map_or(0.0, |(at, _)| *at) + 2.0;
    (frames, end)
}

/// A terminal's screen as a buffer.
fn shown(screen: &vt100::Screen) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, TOUR.0, TOUR.1));
    let colour = |colour: vt100::Color| match colour {
        vt100::Color::Default => Color::Reset,
        vt100::Color::Idx(index) => Color::Indexed(index),
        vt100::Color::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
    };
    for (x, y) in (0..TOUR.1).flat_map(|y| (0..TOUR.0).map(move |x| (x, y))) {
        let Some(cell) = screen.cell(y, x).filter(|cell| cell.has_contents()) else { continue };
        let mut style = Style::new().fg(colour(cell.fgcolor())).bg(colour(cell.bgcolor()));
        for (is, modifier) in [
            (cell.bold(), Modifier::BOLD),
            (cell.italic(), Modifier::ITALIC),
            (cell.underline(), Modifier::UNDERLINED),
            (cell.inverse(), Modifier::REVERSED),
        ] {
            style = if is { style.add_modifier(modifier) } else { style };
        }
        buffer[(x, y)].set_symbol(cell.contents()).set_style(style);
    }
    // The colour behind blanks.
    for (x, y) in (0..TOUR.1).flat_map(|y| (0..TOUR.0).map(move |x| (x, y))) {
        if let Some(cell) = screen.cell(y, x).filter(|cell| !cell.has_contents() && !cell.is_wide_continuation()) {
            buffer[(x, y)].set_bg(colour(cell.bgcolor()));
        }
    }
    buffer
}

fn state_of(opened: &Opened, theme: &str) -> State {
    let theme = Theme::load(theme, |_| None).unwrap();
    let mut state = State::new("demo".to_owned(), theme, Keymap::built_in().unwrap());
    act(&mut state, Action::Opened(Arc::new(Document::of(opened))));
    state
}

fn act(state: &mut State, action: Action) -> Vec<Effect> {
    let effects = update(state, action);
    colour(state, &effects);
    effects
}

/// What the highlighting thread would do.
fn colour(state: &mut State, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Highlight(HighlightJob { class, text, lines, dark }) = effect {
            let runs = highlight::python(text, lines.clone(), *dark);
            update(state, Action::Highlighted(Highlighted { class: class.clone(), lines: lines.clone(), runs }));
        }
    }
}

/// Draw a state and write it as SVG and PNG.
fn picture(folder: &Path, name: &str, mut state: State, size: (u16, u16)) {
    let area = Rect::new(0, 0, size.0, size.1);
    let wanted = render(&mut state, area, &mut Buffer::empty(area));
    colour(&mut state, &wanted);
    let mut buffer = Buffer::empty(area);
    render(&mut state, area, &mut buffer);
    fs::write(folder.join(format!("{name}.svg")), svg(&buffer, &state.theme)).unwrap();
    fs::write(folder.join(format!("{name}.png")), png(&buffer, &state.theme).unwrap()).unwrap();
    println!("screenshots/{name}.svg, .png");
}

fn blockers(mut state: State) -> State {
    act(&mut state, Action::Command(Command::NextBlocker));
    if let Screen::Open(view) = &mut state.screen {
        view.focus = Pane::Source;
    }
    state
}

fn help(mut state: State) -> State {
    act(&mut state, Action::Command(Command::Open(Name::Help)));
    state
}
