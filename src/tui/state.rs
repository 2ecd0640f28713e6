//! Everything the screen knows.

use std::collections::HashMap;
use std::sync::Arc;

use super::action::{Highlighted, Pane};
use super::converting::Converting;
use super::document::{Document, Place};
use super::keymap::{Keymap, Mode};
use super::layout::Layout;
use super::theme::Theme;
use super::tree::Tree;
use crate::compare::WeightSource;
use crate::model::ModuleId;
use crate::verify::Results;
use t2m_checkpoint::Dtype;

/// What a run does unless told otherwise.
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
    /// Whether naive twins are run, too.
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
    /// What is on.
    pub screen: Screen,
    /// A sentence for the bottom line, until the next key.
    pub notice: Option<String>,
    /// Counts the pictures of spinners.
    pub tick: usize,
    /// Where the last frame put things.
    pub layout: Layout,
}

/// What is on.
#[derive(Debug, Clone)]
pub enum Screen {
    /// The checkpoint is being opened.
    Opening(String),
    /// It could not be opened: message, first row on show.
    Failed(String, usize),
    /// It is open.
    Open(Box<View>),
}

/// The view of an open checkpoint.
#[derive(Debug, Clone)]
pub struct View {
    /// The checkpoint.
    pub document: Arc<Document>,
    /// The tree pane.
    pub tree: Tree,
    /// The source pane.
    pub source: Source,
    /// First row of the measurement on show.
    pub live_top: usize,
    /// What was measured.
    pub measured: Results,
    /// The pane that keys move in.
    pub focus: Pane,
    /// The pane below the tree where there is room for one only.
    pub lower: Pane,
    /// What has the keyboard.
    pub mode: Mode,
    /// First row on show of the help, or of the panel about the file.
    pub overlay_top: usize,
    /// The row of the filter that the cursor is on.
    pub filter_row: usize,
    /// The row of the list of findings that the cursor is on.
    pub finding_row: usize,
    /// The search, typed or kept.
    pub find: Option<Find>,
    /// The conversion to MLX.
    pub converting: Converting,
}

/// The source pane.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The module whose class is shown.
    pub owner: Option<ModuleId>,
    /// First line on show, 1-based.
    pub top: usize,
    /// Columns scrolled away on the left.
    pub left: usize,
    /// The line that something points at.
    pub line: Option<usize>,
    /// The line that was chosen by its links, while this module is selected.
    pub chosen: Option<(ModuleId, usize)>,
    /// A line to go to, once the pane is on show.
    pub jump: Option<usize>,
    /// Colours, by class.
    pub colours: HashMap<String, Highlighted>,
    /// What was asked to be coloured last.
    pub asked: Option<(String, std::ops::Range<usize>)>,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Find {
    /// What was typed.
    pub text: String,
    /// What matches, in order.
    pub matches: Vec<ModuleId>,
    /// The tree as it was before.
    pub before: Tree,
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
            notice: None,
            tick: 0,
            layout: Layout::default(),
        }
    }

    /// What has the keyboard.
    pub fn mode(&self) -> Mode {
        match &self.screen {
            Screen::Open(view) => view.mode,
            _ => Mode::Main,
        }
    }

    /// Where the source is, which follows from what was drawn.
    pub fn scrolled(&self) -> Option<(Option<ModuleId>, usize, Option<usize>)> {
        match &self.screen {
            Screen::Open(view) => Some((view.source.owner, view.source.top, view.source.line)),
            _ => None,
        }
    }

    /// Whether something on screen moves by itself.
    pub fn is_moving(&self) -> bool {
        match &self.screen {
            Screen::Opening(_) => true,
            Screen::Failed(..) => false,
            Screen::Open(view) => {
                let planning = view.mode == Mode::Convert && view.converting.preview.is_none();
                view.measured.is_running() || view.converting.progress.is_some() || planning
            }
        }
    }
}

impl View {
    /// A fresh view: the root's children are open, and theirs where the model is small.
    pub fn new(document: Arc<Document>) -> View {
        let depth = if document.len() <= 60 { usize::MAX } else { 2 };
        View {
            tree: Tree::new(&document, depth),
            source: Source { top: 1, ..Source::default() },
            live_top: 0,
            measured: Results::of(document.model.clone()),
            focus: Pane::Tree,
            lower: Pane::Source,
            mode: Mode::Main,
            overlay_top: 0,
            filter_row: 0,
            finding_row: 0,
            find: None,
            converting: Converting::default(),
            document,
        }
    }

    /// Where a jump to the next blocker starts.
    pub fn place(&self) -> Place {
        let blockers = self.document.blockers(self.tree.selected);
        let line = self.source.line.filter(|line| blockers.iter().any(|blocker| blocker.line == *line));
        Place { module: self.tree.selected, line: line.unwrap_or(0) }
    }
}

impl Find {
    /// Modules that match: every word occurs in the path or in the class, upper and lower case alike unless a word has
    /// an upper-case letter.
    pub fn search(document: &Document, text: &str) -> Vec<ModuleId> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() {
            return Vec::new();
        }
        let matches = |id: &ModuleId| {
            document.module(*id).is_some_and(|module| {
                words.iter().all(|word| contains(&module.path, word) || contains(module.short_class(), word))
            })
        };
        (0..document.len()).filter(matches).collect()
    }
}

/// Whether `text` contains `word`; case counts where the word has an upper-case letter.
pub fn contains(text: &str, word: &str) -> bool {
    if word.chars().any(char::is_uppercase) {
        text.contains(word)
    } else {
        word.is_empty() || text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    }
}
