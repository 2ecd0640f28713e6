//! Everything the screen knows.

use super::action::Effect;
use super::areas::Areas;
use super::context::Context;
use super::failed::Failed;
use super::keymap::Keymap;
use super::panels::{Panel, Panels};
use super::panes::View;
use super::theme::Theme;
use crate::compare::WeightSource;
use crate::model::ModuleId;
use crate::session;
use crate::verify;
use t2m_checkpoint::Dtype;

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
}

impl Default for Trials {
    fn default() -> Trials {
        Trials { count: 8, dtypes: vec![Dtype::Float32], seed: 7, weights: WeightSource::Checkpoint, naive: false }
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
    /// Where the last frame put things.
    pub areas: Areas,
}

/// What the screen shows.
#[derive(Debug, Clone)]
pub enum Screen {
    /// The checkpoint is being opened.
    Opening(String),
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
        (&self.dtypes, self.weights, self.naive) != (&usual.dtypes, usual.weights, usual.naive)
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

    /// A run of these modules.
    pub fn request(&self, modules: Vec<ModuleId>) -> verify::Request {
        verify::Request {
            modules,
            trials: self.count,
            dtypes: self.dtypes.clone(),
            seed: self.seed,
            weights: self.weights,
            naive: self.naive,
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
            screen: Screen::Opening(what),
            panels: Panels::default(),
            notice: None,
            caption: None,
            tick: 0,
            areas: Areas::default(),
        }
    }

    /// What panes and panels may change, and the panels; `None` while no checkpoint is open.
    pub(super) fn context<'a>(&'a mut self, effects: &'a mut Vec<Effect>) -> Option<(Context<'a>, &'a mut Panels)> {
        let State { screen: Screen::Open(view), areas, trials, notice, theme, panels, .. } = self else { return None };
        Some((Context { view, areas, trials, notice, dark: theme.dark, effects }, panels))
    }

    /// Where the source is, which follows from what was drawn.
    pub fn scrolled(&self) -> Option<(Option<ModuleId>, usize, Option<usize>)> {
        match &self.screen {
            Screen::Open(view) => Some((view.source.owner, view.source.top, view.source.line)),
            _ => None,
        }
    }

    /// Where the user is, to be kept for the next time; `None` while no checkpoint is open.
    pub fn place(&self) -> Option<session::Screen> {
        match &self.screen {
            Screen::Open(view) => Some(view.place(self.panels.find.text(), &self.trials)),
            _ => None,
        }
    }

    /// Whether something on screen moves by itself.
    pub fn is_moving(&self) -> bool {
        match &self.screen {
            Screen::Opening(_) => true,
            Screen::Failed(_) => false,
            Screen::Open(view) => {
                let panels = &self.panels;
                let in_panel = panels.convert.is_writing() || panels.current().is_some_and(Panel::is_moving);
                view.measured.is_running() || view.ran.is_running() || in_panel
            }
        }
    }
}
