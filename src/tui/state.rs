//! Everything the screen knows.

use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;

use super::action::{Command, Effect};
use super::areas::Areas;
use super::context::Context;
use super::failed::Failed;
use super::jobs::{Ended, Jobs, Unit};
use super::keymap::Keymap;
use super::opening::Opening;
use super::panels::{Name, Panel, Panels};
use super::panes::View;
use super::theme::Theme;
use super::work::Ask;
use crate::afar::Fetched;
use crate::compare::WeightSource;
use crate::model::ModuleId;
use crate::session;
use crate::verify;
use t2m_checkpoint::Dtype;
use t2m_engine::Device;

/// What a run does unless it is set otherwise.
#[derive(Debug, Clone)]
pub struct Trials {
    /// Trials for each dtype.
    pub count: usize,
    /// The first gives the verdict.
    pub dtypes: Vec<Dtype>,
    /// Seed of the first trial.
    pub seed: u64,
    /// What the layers compute with.
    pub weights: WeightSource,
    /// Whether naive twins are run as well.
    pub naive: bool,
    /// Where MLX computes; by its own choice without one.
    pub device: Option<Device>,
    /// Whether MLX's default is run as well.
    pub tf32: bool,
}

impl Default for Trials {
    fn default() -> Trials {
        Trials {
            count: 8,
            dtypes: vec![Dtype::Float32],
            seed: 7,
            weights: WeightSource::Checkpoint,
            naive: false,
            device: None,
            tf32: false,
        }
    }
}

/// How the end of something long is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// By what.
    pub by: Bell,
    /// What takes less is not told.
    pub after: Duration,
}

/// What tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bell {
    /// Nothing.
    Off,
    /// The terminal's bell.
    Bell,
    /// OSC 9, which terminals show as a notification of the desktop.
    Osc9,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify { by: Bell::Bell, after: Duration::from_secs(10) }
    }
}

/// The whole state. [`super::update::update`] changes it, [`super::draw::draw`] shows it.
#[derive(Debug, Clone)]
pub struct State {
    /// Colours.
    pub theme: Theme,
    /// Keys.
    pub keymap: Keymap,
    /// Whether only ASCII may be drawn.
    pub ascii: bool,
    /// Whether the mouse is captured.
    pub mouse: bool,
    /// What a run does.
    pub trials: Trials,
    /// What the screen shows.
    pub screen: Screen,
    /// The panels over an open checkpoint.
    pub panels: Panels,
    /// A sentence for the bottom line, until the next key.
    pub notice: Option<String>,
    /// What a script says to those who look on.
    pub caption: Option<String>,
    /// Counts the frames of spinners.
    pub tick: usize,
    /// How long the screen has been there; who drives the state sets it before each action.
    pub clock: Duration,
    /// What was fetched of a checkpoint elsewhere; who drives the state sets it before each action.
    pub fetched: Option<Fetched>,
    /// What goes on and takes time.
    pub jobs: Jobs,
    /// How the end of a job is told.
    pub notify: Notify,
    /// Where the last frame put things.
    pub areas: Areas,
}

/// What the screen shows.
#[derive(Debug, Clone)]
pub enum Screen {
    /// The checkpoint is being opened.
    Opening(Opening),
    /// It could not be opened.
    Failed(Failed),
    /// It is open.
    Open(Box<View>),
}

impl Trials {
    /// Switch runs in half precision on or off; returns what to say.
    pub fn toggle_half(&mut self) -> &'static str {
        let half = [Dtype::Float16, Dtype::BFloat16];
        let on = !self.dtypes.iter().any(|dtype| half.contains(dtype));
        self.dtypes.retain(|dtype| !half.contains(dtype));
        self.dtypes.extend(half.into_iter().filter(|_| on));
        if on { "runs are in float16 and bfloat16 too" } else { "runs are in float32 alone" }
    }

    /// Switch between randomised weights and the checkpoint's; returns what to say.
    pub fn toggle_weights(&mut self) -> &'static str {
        let (other, words) = match self.weights {
            WeightSource::Checkpoint => (WeightSource::Random, "runs are with randomised weights"),
            WeightSource::Random => (WeightSource::Checkpoint, "runs are with the checkpoint's own weights"),
        };
        self.weights = other;
        words
    }

    /// Whether runs use other weights or dtypes than those that the program begins with, or have twins.
    pub fn is_unusual(&self) -> bool {
        let usual = Trials::default();
        (&self.dtypes, self.weights, self.naive, self.tf32) != (&usual.dtypes, usual.weights, usual.naive, usual.tf32)
    }

    /// Switch naive twins on or off; returns what to say.
    pub fn toggle_naive(&mut self) -> &'static str {
        self.naive = !self.naive;
        if self.naive {
            "runs show what a plain rename would give, too"
        } else {
            "runs are of the right conversion alone"
        }
    }

    /// Switch MLX's default beside the exact run on or off; returns what to say.
    pub fn toggle_tf32(&mut self) -> &'static str {
        self.tf32 = !self.tf32;
        if self.tf32 {
            "runs show what MLX gives by default, too: with TF32 where its GPU has it"
        } else {
            "runs are exact alone: TF32 is off"
        }
    }

    /// A run of these modules.
    pub fn request(&self, modules: Vec<ModuleId>) -> verify::Request {
        verify::Request {
            modules,
            trials: self.count,
            dtypes: self.dtypes.clone(),
            seed: self.seed,
            weights: self.weights,
            naive: self.naive,
            device: self.device,
            tf32: self.tf32,
        }
    }
}

impl State {
    /// At the start: opening `what`.
    pub fn new(what: String, theme: Theme, keymap: Keymap) -> State {
        State {
            theme,
            keymap,
            ascii: false,
            mouse: true,
            trials: Trials::default(),
            screen: Screen::Opening(Opening::new(what, Duration::ZERO)),
            panels: Panels::default(),
            notice: None,
            caption: None,
            tick: 0,
            clock: Duration::ZERO,
            fetched: None,
            jobs: Jobs::default(),
            notify: Notify::default(),
            areas: Areas::default(),
        }
    }

    /// What panes and panels may change, and the panels; `None` while no checkpoint is open.
    pub(super) fn context<'a>(&'a mut self, effects: &'a mut Vec<Effect>) -> Option<(Context<'a>, &'a mut Panels)> {
        let State { screen: Screen::Open(view), areas, trials, notice, theme, panels, keymap, .. } = self else {
            return None;
        };
        Some((Context { view, areas, trials, notice, keymap, dark: theme.dark, effects }, panels))
    }

    /// Where the source is, which follows from what was drawn.
    pub fn scrolled(&self) -> Option<(Option<ModuleId>, usize, Option<usize>)> {
        match &self.screen {
            Screen::Open(view) => Some((view.source.owner, view.source.top, view.source.line)),
            _ => None,
        }
    }

    /// Note how far everything is that takes time. Returns what has ended.
    pub(super) fn note_jobs(&mut self) -> Vec<Ended> {
        let State { screen: Screen::Open(view), panels, jobs, clock, .. } = self else { return Vec::new() };
        let layers = view.measured.is_running().then(|| (u64::from(view.measured.total().running), None));
        let nodes = view.ran.is_running().then(|| view.ran.left()).map(|(left, all)| (left, Some(all)));
        let bytes = panels.convert.progress().map(|now| (now.total.saturating_sub(now.done), Some(now.total)));
        let now = [(Unit::Layers, layers), (Unit::Nodes, nodes), (Unit::Bytes, bytes)];
        now.into_iter().filter_map(|(unit, left)| jobs.note(unit, left, *clock)).collect()
    }

    /// What leaving would end or lose, a sentence each.
    pub fn at_stake(&self) -> Vec<String> {
        let Screen::Open(view) = &self.screen else { return Vec::new() };
        let count = |unit| {
            let job = self.jobs.going().find(|job| job.unit == unit);
            job.map_or((0, 0), |job| (job.done, job.total))
        };
        let mut lost = Vec::new();
        if view.measured.is_running() {
            let (done, all) = count(Unit::Layers);
            lost.push(format!("Layers are being measured, {done} of {all} are done: what runs is given up."));
        }
        if view.ran.is_running() {
            let (done, all) = count(Unit::Nodes);
            lost.push(format!("The graph runs, {done} of {all} nodes are done: the rest is given up."));
        }
        if self.panels.convert.is_writing() {
            lost.push("A file is being written: nothing of it will be left.".to_owned());
        }
        if self.panels.build.is_running() {
            lost.push("Your Python builds the model: it is ended.".to_owned());
        }
        if let Some(reason) = view.work.unkept.as_ref().filter(|_| view.measured.any_measured()) {
            lost.push(format!("What was measured is lost, since nothing can be kept: {reason}"));
        }
        lost
    }

    /// Where the user is, to be kept for the next time; `None` while no checkpoint is open.
    pub fn place(&self) -> Option<session::Screen> {
        match &self.screen {
            Screen::Open(view) => Some(view.place(self.panels.find.text(), &self.trials)),
            _ => None,
        }
    }

    /// Whether the bottom line asks where what is done here is kept.
    pub fn asks_where(&self) -> bool {
        let Screen::Open(view) = &self.screen else { return false };
        self.panels.open.is_none() && view.work.keeping.ask == Ask::Asked
    }

    /// What a key means now. Where the bottom line asks something, its answers are keys that mean nothing else.
    pub fn command_of(&self, key: &KeyEvent) -> Option<Command> {
        let answer = || {
            let answers = |command: &Command| matches!(command, Command::Keep(_));
            self.keymap.command(Some(Name::Keep), key).filter(answers).filter(|_| self.asks_where())
        };
        self.keymap.command(self.panels.mode(), key).or_else(answer)
    }

    /// Whether something on screen moves by itself.
    pub fn is_moving(&self) -> bool {
        match &self.screen {
            Screen::Opening(_) => true,
            Screen::Failed(_) => false,
            Screen::Open(view) => {
                let panels = &self.panels;
                let in_panel = panels.convert.is_writing()
                    || panels.build.is_running()
                    || panels.current().is_some_and(Panel::is_moving);
                view.measured.is_running() || view.ran.is_running() || in_panel
            }
        }
    }
}
