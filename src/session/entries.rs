//! What is kept of one checkpoint.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::time::Time;
use crate::compare::{Trial, Verdict, WeightSource};
use crate::typed::{Edit, Which};
use t2m_checkpoint::Dtype;
use t2m_engine::EngineInfo;

/// Everything that is kept of one checkpoint. Each entry has the time of its last change: of two the newer holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session {
    /// Where the checkpoint was, for a person who looks into the file.
    pub checkpoint: String,
    /// What was measured, by the module's path.
    pub results: BTreeMap<String, Measured>,
    /// Marks and notes. One that was taken away stays as an empty one, so that another program does not bring it back.
    pub notes: BTreeMap<About, Note>,
    /// Attributes that were typed, in the order of their times; see [`Session::edits`].
    pub attributes: Vec<TypedEntry>,
    /// The last run of the whole graph, in sum.
    pub graph: Option<GraphRun>,
    /// Where the user was.
    pub screen: Option<Screen>,
    /// Fields that this version does not know, which stay as they are.
    pub other: Map<String, Value>,
}

/// What a mark or a note is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// The module at this path; the root's is empty.
    Module(String),
    /// Every module of this class, by its full path.
    Class(String),
}

/// A mark and a note; an empty one says that there is none any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// The note: one line or several; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When it was changed.
    pub at: Time,
}

impl Note {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.mark.is_none() && self.note.is_empty()
    }
}

/// What is to be done about a module or a class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Mark {
    /// Work to do.
    Todo,
    /// Work that is done.
    Done,
    /// Not to be done.
    Skip,
    /// The user's own word.
    Own(String),
}

impl Mark {
    /// Those that have a key of their own.
    pub const USUAL: [Mark; 3] = [Mark::Todo, Mark::Done, Mark::Skip];

    /// Its word: `todo`, `done`, `skip` or the user's own.
    pub fn word(&self) -> &str {
        match self {
            Mark::Todo => "todo",
            Mark::Done => "done",
            Mark::Skip => "skip",
            Mark::Own(word) => word,
        }
    }
}

impl From<String> for Mark {
    fn from(word: String) -> Mark {
        Mark::USUAL.into_iter().find(|mark| mark.word() == word).unwrap_or(Mark::Own(word))
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> String {
        mark.word().to_owned()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What was measured of one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// When it was finished.
    pub at: Time,
    /// The verdict.
    pub verdict: Verdict,
    /// Anything to say beside the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was asked for.
    pub setting: Setting,
    /// Which programs computed it.
    pub engines: Engines,
    /// What the result rests on in the file and in this program.
    pub rests_on: Basis,
    /// The trials, in order.
    #[serde(default)]
    pub trials: Vec<Trial>,
    /// What a plain rename gave, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<Twin>,
}

/// What a run was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What the layers computed with.
    pub weights: WeightSource,
    /// In which types.
    pub dtypes: Vec<Dtype>,
    /// Trials for each of them.
    pub trials: usize,
    /// Seed of the first.
    pub seed: u64,
    /// Whether plain renames were run as well.
    #[serde(default)]
    pub twins: bool,
    /// Whether MLX's default was run as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tf32: bool,
}

/// What each engine said about itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Engines {
    /// libtorch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torch: Option<EngineInfo>,
    /// MLX's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlx: Option<EngineInfo>,
}

/// What a result rests on: with another of these it says nothing of the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// Full path of the module's class.
    pub class: String,
    /// Its hyper-parameters.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// What stands for the conversion: the first digits of a SHA-256 of it.
    pub recipe: String,
    /// The version of t2m-tui, whose registry made the conversion.
    #[serde(default)]
    pub program: String,
}

/// A layer as a plain rename would convert it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// What is done wrong.
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The worst trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An attribute that was typed, or that one was forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypedEntry {
    /// Of which modules.
    pub modules: Which,
    /// Its name.
    pub attribute: String,
    /// Its value.
    #[serde(default)]
    pub value: Value,
    /// Whether it was taken back: then the value means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
    /// When.
    pub at: Time,
}

/// A run of the whole graph, in sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphRun {
    /// When it ended.
    pub at: Time,
    /// Nodes of the graph.
    pub nodes: usize,
    /// How many nodes have each verdict, by its word.
    pub verdicts: BTreeMap<String, usize>,
    /// The first node at which the two part: its number and what it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_divergence: Option<(usize, String)>,
    /// Why it ended before the graph did, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Which programs computed it.
    pub engines: Engines,
}

impl GraphRun {
    /// `4 nodes: 3 ok, 1 drift; parted at node 3 aten.add.Tensor`
    pub fn words(&self) -> String {
        let counts: Vec<String> = self.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let parted = self.first_divergence.as_ref().map(|(at, op)| format!("; parted at node {at} {op}"));
        let stopped = self.stopped.as_ref().map(|why| format!("; stopped: {why}"));
        let [parted, stopped] = [parted, stopped].map(Option::unwrap_or_default);
        format!("{} nodes: {}{parted}{stopped}", self.nodes, counts.join(", "))
    }
}

/// Where the user was on the screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// When it was left so.
    #[serde(default)]
    pub at: Time,
    /// Path of the selected module.
    #[serde(default)]
    pub selected: String,
    /// Paths of modules that are folded although the screen opens them, and of those that are open although it folds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<String>,
    /// See [`Screen::folded`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
    /// What is searched for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub search: String,
    /// The filter as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// In which order modules stand, by its word; empty for the tree's own. One of another version is taken for that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub order: String,
    /// Whether modules stand under their classes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grouped: bool,
    /// Full paths of the classes whose modules are on show then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfolded: Vec<String>,
    /// How the panes stand; `None` where they stand as they do at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panes: Option<Panes>,
    /// What runs compute with.
    #[serde(default)]
    pub weights: WeightSource,
    /// Whether runs are in half precision too.
    #[serde(default)]
    pub half: bool,
    /// Whether runs show what a plain rename gives.
    #[serde(default)]
    pub twins: bool,
    /// Whether runs show what MLX gives by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tf32: bool,
}

/// How the panes of the screen stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panes {
    /// The pane that keys move in: `tree`, `source`, `live`, `graph`.
    #[serde(default)]
    pub focus: String,
    /// The pane below the tree where there is room for one.
    #[serde(default)]
    pub lower: String,
    /// The pane below tree and source.
    #[serde(default)]
    pub bottom: String,
    /// Whether the one with the focus is alone on the screen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zoomed: bool,
    /// The share of the tree, of the pane at the bottom, and of the lower of two, in thousandths of the screen; `None` where nobody
    /// moved the line.
    #[serde(default)]
    pub shares: [Option<u16>; 3],
}

impl Session {
    /// What is marked or noted about a module or a class, if anything is.
    pub fn note(&self, about: &About) -> Option<&Note> {
        self.notes.get(about).filter(|note| !note.is_empty())
    }

    /// Everything that is marked or noted.
    pub fn noted(&self) -> impl Iterator<Item = (&About, &Note)> {
        self.notes.iter().filter(|(_, note)| !note.is_empty())
    }

    /// The attributes that were typed and hold, in the order in which they were.
    pub fn edits(&self) -> Vec<Edit> {
        let live = self.attributes.iter().filter(|entry| !entry.forgotten);
        let edit = |entry: &TypedEntry| Edit {
            modules: entry.modules.clone(),
            attribute: entry.attribute.clone(),
            value: entry.value.clone(),
        };
        live.map(edit).collect()
    }

    /// Take over that other attributes are typed now than before: those that are gone are forgotten. What another program has typed
    /// meanwhile stays.
    pub fn type_in(&mut self, before: &[Edit], now: &[Edit], at: Time) {
        let same = |one: &Edit, other: &Edit| one.modules == other.modules && one.attribute == other.attribute;
        let gone = before.iter().filter(|old| !now.iter().any(|edit| same(old, edit)));
        let new = now.iter().filter(|edit| !before.contains(edit));
        let changed: Vec<TypedEntry> = gone
            .map(|edit| (edit, true))
            .chain(new.map(|edit| (edit, false)))
            .map(|(edit, forgotten)| {
                let Edit { modules, attribute, value } = edit.clone();
                let value = if forgotten { Value::Null } else { value };
                TypedEntry { modules, attribute, value, forgotten, at }
            })
            .collect();
        for entry in changed {
            self.attributes.retain(|known| (&known.modules, &known.attribute) != (&entry.modules, &entry.attribute));
            self.attributes.push(entry);
        }
        self.sort();
    }

    /// Order the attributes by their times: a later one wins.
    pub(super) fn sort(&mut self) {
        self.attributes.sort_by_cached_key(|entry| (entry.at, serde_json::to_string(entry).unwrap_or_default()));
    }

    /// Whether there is anything that a user would miss: where he was alone is not.
    pub fn is_worth_keeping(&self) -> bool {
        let typed = self.attributes.iter().any(|entry| !entry.forgotten);
        typed || !self.results.is_empty() || self.noted().next().is_some() || self.graph.is_some()
    }
}
