//! What the screen keeps of a checkpoint for the next time: marks and notes, what was measured, where the user was.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::action::Effect;
use super::document::Document;
use super::panes::View;
use super::panes::tree::order::Order;
use super::ran::Progress;
use super::state::Trials;
use crate::filter::{Filter, Kept};
use crate::model::{Model, Module, ModuleId};
use crate::open::Opened;
use crate::session::{
    self, About, Change, Engines, GraphRun, Loaded, Mark, Note, Place, Screen, Session, Setting, Store, Told,
};
use crate::verify::recorded::basis;
use t2m_checkpoint::Dtype;
use t2m_engine::EngineState;

/// What is kept of a checkpoint, as it was read, and where it can be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Keeping {
    /// What was read.
    pub loaded: Arc<Loaded>,
    /// Where it is kept.
    pub place: Place,
    /// The file in which it is kept now.
    pub store: Option<Store>,
    /// Why it is kept in none, where the user wants it kept: a sentence.
    pub unkept: Option<String>,
    /// Its file in the state folder, or why there is none.
    pub state: Result<Store, String>,
    /// Its file beside the checkpoint, or why there is none.
    pub beside: Result<Store, String>,
    /// Whether the user is asked where it is kept.
    pub ask: Ask,
}

/// Whether somebody has said where things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// Yes: by an option, in the configuration, or on the screen.
    #[default]
    Answered,
    /// No. It is asked once there is something to keep.
    ToAsk,
    /// It is asked now, in the bottom line, until it is answered.
    Asked,
}

impl Default for Keeping {
    /// Nothing is kept anywhere.
    fn default() -> Keeping {
        let none = || Err(String::new());
        Keeping {
            loaded: Arc::default(),
            place: Place::Nowhere,
            store: None,
            unkept: None,
            state: none(),
            beside: none(),
            ask: Ask::Answered,
        }
    }
}

impl Keeping {
    /// Of an opened checkpoint.
    pub fn of(opened: &Opened, place: &Place, ask: bool) -> Keeping {
        let (checkpoint, loaded) = (&opened.checkpoint, Arc::clone(&opened.kept));
        let found = |at: &Place| session::store::store(checkpoint, at);
        let known = loaded.store.clone().filter(|_| matches!(place, Place::State(_)));
        let state = known.map_or_else(|| found(&Place::State(session::store::folder())), Ok);
        let beside = found(&Place::Beside);
        let store = match place {
            Place::Nowhere => Ok(None),
            _ if loaded.unkept.is_some() => Ok(None),
            Place::State(_) => state.clone().map(Some),
            Place::Beside => beside.clone().map(Some),
            Place::File(_) => found(place).map(Some),
        };
        let unkept = loaded.unkept.clone().or(store.as_ref().err().cloned());
        let ask = if ask { Ask::ToAsk } else { Ask::Answered };
        Keeping { loaded, place: place.clone(), store: store.unwrap_or_default(), unkept, state, beside, ask }
    }

    /// What was read, to be shown and left as it is, from the screen's beginning: a script plays the same each time.
    pub fn untouched(self) -> Keeping {
        let Loaded { session, .. } = self.loaded.as_ref().clone();
        let session = Session { screen: None, ..session };
        Keeping { loaded: Arc::new(Loaded { session, ..Loaded::default() }), ..Keeping::default() }
    }
}

/// How many there are of each mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Mark, usize)>);

impl Counts {
    /// `3 todo`, `2 done`: those that there are, the usual ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&Mark, usize)> {
        self.0.iter().map(|(mark, count)| (mark, *count))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is kept, as the screen has it now.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Where.
    pub keeping: Keeping,
    /// Why nothing is kept, in a sentence.
    pub unkept: Option<String>,
    /// The last run of the whole graph, of an earlier day.
    pub graph: Option<GraphRun>,
    /// How many modules and classes have each mark.
    pub counts: Counts,
    notes: BTreeMap<About, Note>,
    /// What was asked for of modules that run or have run.
    asked: HashMap<ModuleId, Arc<Setting>>,
    /// Whether what is missing is run once the engines have said which they are.
    pub waits: bool,
    /// Whether it was said why nothing is kept.
    told: bool,
}

impl Work {
    /// What was read of a document.
    pub fn of(document: &Document) -> Work {
        let session = &document.keeping.loaded.session;
        let mut work = Work {
            keeping: document.keeping.clone(),
            unkept: document.keeping.unkept.clone(),
            graph: session.graph.clone(),
            ..Work::default()
        };
        work.adopt(session, document);
        work
    }

    /// Take over marks and notes.
    fn adopt(&mut self, session: &Session, document: &Document) {
        self.notes.extend(session.notes.iter().map(|(about, note)| (about.clone(), note.clone())));
        self.count(document);
    }

    /// How many marks there are of modules and classes that the model has.
    pub fn count(&mut self, document: &Document) {
        let there = |about: &About| match about {
            About::Module(path) => document.model.find(path).is_some(),
            About::Class(class) => document.model.modules.iter().any(|module| module.class == *class),
        };
        let mut counts: BTreeMap<&Mark, usize> = BTreeMap::new();
        for (_, note) in self.notes.iter().filter(|(about, note)| note.mark.is_some() && there(about)) {
            note.mark.iter().for_each(|mark| *counts.entry(mark).or_default() += 1);
        }
        self.counts = Counts(counts.into_iter().map(|(mark, count)| (mark.clone(), count)).collect());
    }

    /// The marks that are in use besides the usual ones.
    pub fn own_marks(&self) -> Vec<Mark> {
        let mut own: Vec<Mark> = self.notes.values().filter_map(|note| note.mark.clone()).collect();
        own.retain(|mark| matches!(mark, Mark::Own(_)));
        own.sort();
        own.dedup();
        own
    }

    /// What is marked and noted of something.
    pub fn note(&self, about: &About) -> Option<&Note> {
        self.notes.get(about).filter(|note| !note.is_empty())
    }

    /// Everything that is marked or noted.
    pub fn noted(&self) -> impl Iterator<Item = (&About, &Note)> {
        self.notes.iter().filter(|(_, note)| !note.is_empty())
    }

    /// Something is kept. What is said of that, once: that it is not. Who has not said where it is to be kept is asked.
    pub fn keeps(&mut self) -> Option<String> {
        if self.unkept.is_none() && self.keeping.ask == Ask::ToAsk {
            self.keeping.ask = Ask::Asked;
        }
        let why = self.unkept.clone().filter(|_| !self.told)?;
        self.told = true;
        Some(why)
    }

    /// Where it is kept, in words: `in /home/…/sessions/ab12.json`, `until you quit`.
    pub fn place_words(&self) -> String {
        self.keeping.store.as_ref().map_or("until you quit".to_owned(), |store| format!("in {}", store.path.display()))
    }

    /// Whether anything is kept, or to be kept, somewhere.
    pub fn is_kept(&self) -> bool {
        self.keeping.place != Place::Nowhere
    }
}

impl Kept for Work {
    fn mark(&self, module: &Module) -> Option<&str> {
        let mark = |about: About| self.note(&about)?.mark.as_ref().map(Mark::word);
        mark(About::Module(module.path.to_string())).or_else(|| mark(About::Class(module.class.to_string())))
    }

    fn notes(&self, module: &Module) -> Vec<&str> {
        let about = [About::Module(module.path.to_string()), About::Class(module.class.to_string())];
        let notes = about.iter().filter_map(|about| self.note(about)).map(|note| note.note.as_str());
        notes.filter(|note| !note.is_empty()).collect()
    }

    fn marks(&self, model: &Model) -> Vec<(&str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        if self.notes.is_empty() {
            return Vec::new();
        }
        model
            .modules
            .iter()
            .filter_map(|module| self.mark(module))
            .for_each(|mark| *counts.entry(mark).or_default() += 1);
        counts.into_iter().collect()
    }
}

/// What a run asks for.
pub fn setting(trials: &Trials) -> Setting {
    Setting {
        weights: trials.weights,
        dtypes: trials.dtypes.clone(),
        trials: trials.count,
        seed: trials.seed,
        twins: trials.naive,
        tf32: trials.tf32,
    }
}

impl View {
    /// What is marked and noted of this module itself.
    pub fn note(&self, id: ModuleId) -> Option<&Note> {
        self.document.module(id).and_then(|module| self.work.note(&About::Module(module.path.to_string())))
    }

    /// What is marked and noted of its class.
    pub fn class_note(&self, id: ModuleId) -> Option<&Note> {
        let class = self.document.module(id).map(|module| &module.class).filter(|class| !class.is_empty())?;
        self.work.note(&About::Class(class.to_string()))
    }

    /// Its mark: its own, else that of its class.
    pub fn mark(&self, id: ModuleId) -> Option<&Mark> {
        self.note(id).and_then(|note| note.mark.as_ref()).or_else(|| self.class_note(id)?.mark.as_ref())
    }

    /// Why what was measured of it does not hold any more, if anything was and does not.
    pub fn stale(&self, id: ModuleId) -> Option<&str> {
        self.measured.stale(id).map(|stale| stale.reason.as_str())
    }

    /// Mark and note something. Returns what is to be done.
    pub fn set_note(&mut self, about: About, mark: Option<Mark>, note: String, effects: &mut Vec<Effect>) {
        let nothing = Note::default();
        let known = self.work.note(&about).unwrap_or(&nothing);
        if (&known.mark, &known.note) == (&mark, &note) {
            return;
        }
        let at = session::Time::now();
        self.work.notes.insert(about.clone(), Note { mark: mark.clone(), note: note.clone(), at });
        self.work.count(&self.document);
        effects.push(Effect::Keep(Change::Noted(about, mark, note)));
    }

    /// Remember what is asked for of modules that are about to run.
    pub fn ask(&mut self, modules: &[ModuleId], setting: Setting) {
        let setting = Arc::new(setting);
        self.work.asked.extend(modules.iter().map(|id| (*id, Arc::clone(&setting))));
    }

    /// A module has finished: keep what was measured of it.
    pub fn finished(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        let Some(setting) = self.work.asked.get(&id).map(|setting| setting.as_ref().clone()) else { return };
        let rests_on = basis(&self.document.model, &self.document.triage, id);
        // One that was cancelled shows what it had before, with what that rests on.
        if self.measured.layer(id).is_some_and(|layer| layer.record.is_none() && layer.is_result()) {
            self.measured.note_basis(id, setting, rests_on);
            if let (Some(kept), Some(module)) = (self.measured.to_keep(id), self.document.module(id)) {
                effects.push(Effect::Keep(Change::Measured(module.path.to_string(), Box::new(kept))));
            }
            self.measured.settle(id);
        }
    }

    /// A run of the graph has ended: keep what came of it, in sum.
    pub fn graph_ended(&mut self, effects: &mut Vec<Effect>) {
        let (ran, nodes) = (&self.ran, self.document.nodes.as_ref());
        let info = |state: &Option<EngineState>| match state {
            Some(EngineState::Ready(info)) => Some(info.clone()),
            _ => None,
        };
        let verdicts: BTreeMap<String, usize> =
            ran.counts().map(|(verdict, count)| (verdict.name().to_owned(), count)).collect();
        if verdicts.is_empty() {
            return;
        }
        let op = |index: usize| nodes.and_then(|nodes| nodes.get(nodes.row_of(index)?)).map(|row| row.op().to_owned());
        let run = GraphRun {
            at: session::Time::now(),
            nodes: nodes.map_or(0, |nodes| nodes.all.len()),
            verdicts,
            first_divergence: ran.first_divergence().map(|index| (index, op(index).unwrap_or_default())),
            stopped: match &ran.progress {
                Progress::Stopped(stop) => Some(stop.to_string()),
                _ => None,
            },
            engines: Engines { torch: info(&ran.torch), mlx: info(&ran.mlx) },
        };
        self.work.graph = Some(run.clone());
        effects.push(Effect::Keep(Change::Graph(Box::new(run))));
    }

    /// The keeper has told something. Returns what is to be said.
    pub fn hear_keeper(&mut self, told: Told) -> Option<String> {
        match told {
            Told::Unkept(why) => {
                let new = self.work.unkept.as_ref() != Some(&why);
                self.work.unkept = Some(why.clone());
                new.then_some(why)
            }
            Told::Kept(others) => {
                self.work.unkept = None;
                if let Some(others) = others {
                    self.work.adopt(&others, &self.document);
                    for (path, kept) in &others.results {
                        if let Some(id) = self.document.model.find(path) {
                            let now = basis(&self.document.model, &self.document.triage, id);
                            self.measured.put_on_record(id, kept, &now);
                        }
                    }
                }
                None
            }
        }
    }

    /// Where the user is, to be kept.
    pub fn place(&self, search: &str, trials: &Trials) -> Screen {
        let path = |id: ModuleId| self.document.module(id).map(|module| module.path.to_string()).unwrap_or_default();
        let (folded, open) = self.tree.unusual_folds(&self.document);
        let half = trials.dtypes.iter().any(|dtype| matches!(dtype, Dtype::Float16 | Dtype::BFloat16));
        Screen {
            selected: path(self.tree.selected),
            folded: folded.into_iter().map(path).collect(),
            open: open.into_iter().map(path).collect(),
            search: search.to_owned(),
            filter: self.tree.filter.to_string(),
            order: self.tree.order().word().to_owned(),
            grouped: self.tree.is_grouped(),
            unfolded: if self.tree.is_grouped() { self.tree.unfolded() } else { Vec::new() },
            panes: self.stand(),
            weights: trials.weights,
            half,
            twins: trials.naive,
            tf32: trials.tf32,
            ..Screen::default()
        }
    }

    /// Go to where the user was.
    pub fn go_back(&mut self, screen: &Screen) {
        let find = |path: &String| self.document.model.find(path);
        let (folded, open): (Vec<_>, Vec<_>) =
            (screen.folded.iter().filter_map(find).collect(), screen.open.iter().filter_map(find).collect());
        let selected = find(&screen.selected);
        let order = Order::ALL.into_iter().find(|order| order.word() == screen.order).unwrap_or_default();
        self.tree.unfold(&screen.unfolded);
        self.tree.arrange(order, screen.grouped);
        if let Some(panes) = &screen.panes {
            self.let_stand(panes);
        }
        // One of another version may ask for what there is not: then everything is shown.
        self.set_filter(Filter::parse(&screen.filter).unwrap_or_default());
        // The filter has opened what it wants; what the user has folded since is folded.
        self.tree.set_folds(&self.document, &folded, &open);
        if let Some(selected) = selected {
            self.tree.resume_at(&self.document, selected);
        }
        self.tree.follow = true;
    }
}

/// What runs do, as it was left.
pub fn resume(trials: &mut Trials, screen: &Screen) {
    trials.weights = screen.weights;
    trials.naive = screen.twins;
    // What the call asks for holds as well.
    trials.tf32 |= screen.tf32;
    let half = trials.dtypes.iter().any(|dtype| matches!(dtype, Dtype::Float16 | Dtype::BFloat16));
    if half != screen.half {
        let _ = trials.toggle_half();
    }
}
