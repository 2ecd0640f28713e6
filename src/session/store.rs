//! Where a session is kept, and how it is read and written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entries::{About, GraphRun, Mark, Measured, Note, Screen, Session, TypedEntry};
use super::identity;
use super::time::Time;
use crate::files;
use crate::typed::Edit;
use t2m_checkpoint::escape::escape;
use t2m_checkpoint::{Checkpoint, mount};

/// The version of the file's form. The first held attributes alone.
const SCHEMA: u64 = 2;
const ATTRIBUTES_ALONE: u64 = 1;
/// The longest file that is read.
const LONGEST: u64 = 256 << 20;
/// What stands behind the name of a checkpoint beside which its session is kept.
const BESIDE: &str = ".t2m-session.json";
/// The folder of sessions within the program's own, and the one of earlier versions.
const SESSIONS: &str = "sessions";
const EARLIER: &str = "attributes";
/// The file with the answer where sessions are to be kept.
const ANSWER: &str = "session-place";

/// Where sessions are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// In the program's state folder; `None` where there is none, since neither HOME nor `XDG_STATE_HOME` is set.
    State(Option<PathBuf>),
    /// Beside the checkpoint: `FILE.t2m-session.json`.
    Beside,
    /// In this file.
    File(PathBuf),
    /// Nowhere: nothing is read and nothing written.
    #[default]
    Nowhere,
}

/// The folder in which this program keeps what outlives a run: `$XDG_STATE_HOME/t2m-tui`, else `~/.local/state/t2m-tui`.
pub fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("t2m-tui"))
}

impl FromStr for Place {
    type Err = String;

    /// `state`, `beside`, `none` or a file's path.
    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "state" => Ok(Place::State(folder())),
            "beside" => Ok(Place::Beside),
            "none" => Ok(Place::Nowhere),
            "" => Err("state, beside, none or a file's path is expected".to_owned()),
            path => Ok(Place::File(path.into())),
        }
    }
}

impl Place {
    /// What was asked for, else what the user has answered before, else the state folder.
    pub fn usual(asked: Option<Place>) -> Place {
        asked.or_else(answer).unwrap_or_else(|| Place::State(folder()))
    }

    /// The word that [`FromStr`] takes.
    pub fn word(&self) -> String {
        match self {
            Place::State(_) => "state".to_owned(),
            Place::Beside => "beside".to_owned(),
            Place::Nowhere => "none".to_owned(),
            Place::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// What the user has answered when he was asked where sessions are to be kept; `None` where he was not.
pub fn answer() -> Option<Place> {
    let text = files::read_text(&folder()?.join(ANSWER), 64).ok()?;
    let place = text.trim().parse().ok()?;
    if let Place::File(_) = place { None } else { Some(place) }
}

/// Remember the answer.
///
/// # Errors
/// In a sentence: it cannot be written.
pub fn remember(place: &Place) -> Result<(), String> {
    let folder = folder().ok_or(NO_HOME)?;
    let path = folder.join(ANSWER);
    let written = make(&folder).and_then(|()| files::hold(&path)?.replace(format!("{}\n", place.word()).as_bytes()));
    written.map_err(|error| format!("The answer cannot be remembered: {}: {error}.", shown(&path)))
}

const NO_HOME: &str = "Nothing is kept: neither HOME nor XDG_STATE_HOME names a folder; --session FILE names a file.";

/// Make the folder of a session: the program's own with what is missing above it but for the user's, since who names a folder that is
/// not there has mistyped it; of any other the last part.
fn make(folder: &Path) -> io::Result<()> {
    let above: Vec<&Path> = folder.ancestors().collect();
    let Some(own) = above.iter().position(|path| path.ends_with("t2m-tui")) else {
        return if folder.is_dir() { Ok(()) } else { fs::create_dir(folder) };
    };
    let users = above.get(own + 2).filter(|path| !path.ends_with(".local")).or(above.get(own + 3));
    if let Some(users) = users.filter(|path| !path.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", users.display())));
    }
    fs::create_dir_all(folder)
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// The file of one checkpoint's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The file, which need not be there.
    pub path: PathBuf,
    /// Where an earlier version kept attributes of the same checkpoint, if it did.
    pub earlier: Option<PathBuf>,
    /// The checkpoint, for a person who looks into the file.
    pub checkpoint: PathBuf,
    /// Whether the user named the file, which may be anything then: only a session is written over, and nothing is set aside.
    pub is_named: bool,
}

/// A session that was looked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// What is kept; nothing where nothing is.
    pub session: Session,
    /// Where it was looked for; `None` where nothing is kept of any checkpoint, where there is no place for it, or where what is there
    /// must stay as it is.
    pub store: Option<Store>,
    /// What is wrong, in sentences.
    pub told: Vec<String>,
    /// Why nothing is kept where that was not the user's wish, in a sentence.
    pub unkept: Option<String>,
}

impl Loaded {
    /// Where more of the same checkpoint is to be kept, if anywhere.
    ///
    /// # Errors
    /// In a sentence: there is no place for it, or what is there must stay as it is.
    pub fn store_at(&self, checkpoint: &Checkpoint, place: &Place) -> Result<Option<Store>, String> {
        match (place, &self.unkept, &self.store) {
            (Place::Nowhere, ..) => Ok(None),
            (_, Some(why), _) => Err(why.clone()),
            (_, None, Some(store)) => Ok(Some(store.clone())),
            (_, None, None) => store(checkpoint, place).map(Some),
        }
    }
}

/// Look for the session of a checkpoint. No tensor is read. A file that is damaged is set aside, one of a newer version left alone.
/// Where nothing is kept of any checkpoint, none is found, and no file of the checkpoint is looked at.
pub fn load(checkpoint: &Checkpoint, place: &Place) -> Loaded {
    let unused = |folder: &PathBuf| [SESSIONS, EARLIER].iter().all(|name| is_empty(&folder.join(name)));
    match place {
        Place::State(Some(folder)) if unused(folder) => Loaded::default(),
        _ => find(checkpoint, place),
    }
}

/// As [`load`], and find out where it would be kept even if there is none yet.
pub fn find(checkpoint: &Checkpoint, place: &Place) -> Loaded {
    if *place == Place::Nowhere {
        return Loaded::default();
    }
    let store = match store(checkpoint, place) {
        Ok(store) => store,
        Err(unkept) => return Loaded { unkept: Some(unkept), ..Loaded::default() },
    };
    match store.read() {
        Ok(session) => Loaded { session: session.unwrap_or_default(), store: Some(store), ..Loaded::default() },
        Err(Unread::Lost(told)) => Loaded { store: Some(store), told: vec![told], ..Loaded::default() },
        Err(Unread::Kept(told)) => Loaded { unkept: Some(told.clone()), told: vec![told], ..Loaded::default() },
    }
}

/// Whether nothing is in a folder, or it is not there.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Where the session of a checkpoint is kept at a place.
///
/// # Errors
/// In a sentence: there is no such place for it.
pub fn store(checkpoint: &Checkpoint, place: &Place) -> Result<Store, String> {
    let store = |path| Store { path, earlier: None, checkpoint: checkpoint.path.clone(), is_named: false };
    match place {
        Place::Nowhere => Err("Nothing is kept: --session none.".to_owned()),
        Place::File(path) => Ok(Store { is_named: true, ..store(path.clone()) }),
        Place::State(None) => Err(NO_HOME.to_owned()),
        Place::State(Some(folder)) => {
            let name = identity::of(checkpoint);
            let name = name.ok_or("Nothing is kept: the checkpoint's files cannot be read again.")?;
            let earlier = folder.join(EARLIER);
            let earlier = (!is_empty(&earlier)).then(|| identity::earlier(&checkpoint.origin().files)).flatten();
            let earlier = earlier.map(|name| folder.join(EARLIER).join(format!("{name}.json")));
            Ok(Store { earlier, ..store(folder.join(SESSIONS).join(format!("{name}.json"))) })
        }
        Place::Beside => {
            let files = checkpoint.origin();
            if files.files.is_empty() {
                return Err("Nothing is kept: the built-in checkpoint has no file to keep it beside.".to_owned());
            }
            let path = &checkpoint.path;
            if mount::has_scheme(path) {
                return Err("Nothing is kept: the checkpoint is elsewhere, and nothing can be kept beside it; --session state keeps it here."
                    .to_owned());
            }
            let whole = fs::canonicalize(path).ok().filter(|_| path.file_name().is_none());
            let path = whole.as_ref().unwrap_or(path);
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(BESIDE);
            Ok(store(path.with_file_name(name)))
        }
    }
}

/// Why a session was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is lost, or set aside: another one may be written. The whole sentence.
    Lost(String),
    /// It is there and must stay as it is. The whole sentence.
    Kept(String),
}

/// The file's form.
#[derive(Serialize, Deserialize)]
struct Written {
    schema: u64,
    /// Where the checkpoint was, for a person who looks in here.
    #[serde(default)]
    checkpoint: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Noted>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<TypedEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    screen: Option<Screen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graph: Option<GraphRun>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    results: Vec<Row>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    #[serde(flatten)]
    about: About,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    at: Time,
}

#[derive(Serialize, Deserialize)]
struct Row {
    module: String,
    #[serde(flatten)]
    measured: Measured,
}

/// The form of the first version, which held attributes alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "schema")]
    _schema: u64,
    checkpoint: String,
    attributes: Vec<Edit>,
}

/// The text of a session's file.
///
/// # Errors
/// There is none: what is kept has only names for keys.
pub fn text(session: &Session) -> serde_json::Result<String> {
    let notes = session.notes.iter().map(|(about, note)| {
        let Note { mark, note, at } = note.clone();
        Noted { about: about.clone(), mark, note, at }
    });
    let results = session.results.iter();
    let written = Written {
        schema: SCHEMA,
        checkpoint: session.checkpoint.clone(),
        notes: notes.collect(),
        attributes: session.attributes.clone(),
        screen: session.screen.clone(),
        graph: session.graph.clone(),
        results: results.map(|(module, measured)| Row { module: module.clone(), measured: measured.clone() }).collect(),
        other: session.other.clone(),
    };
    Ok(serde_json::to_string_pretty(&written)? + "\n")
}

/// A session out of the text of its file.
///
/// # Errors
/// What is wrong with it; the number of the form if it is of a newer version.
pub fn parse(text: &str) -> Result<Session, Misfit> {
    let damaged = |error: serde_json::Error| Misfit::Damaged(error.to_string());
    let value = serde_json::from_str::<Value>(text).map_err(damaged)?;
    match value.get("schema").and_then(Value::as_u64) {
        Some(newer) if newer > SCHEMA => return Err(Misfit::Newer(newer)),
        Some(ATTRIBUTES_ALONE) => {
            let first = serde_json::from_value::<First>(value).map_err(damaged)?;
            let mut session = Session { checkpoint: first.checkpoint, ..Session::default() };
            // Nobody knows when: whatever was typed since is newer.
            session.type_in(&[], &first.attributes, Time::default());
            return Ok(session);
        }
        Some(SCHEMA) => {}
        _ => return Err(Misfit::Damaged("`schema` is not said".to_owned())),
    }
    let written = serde_json::from_value::<Written>(value).map_err(damaged)?;
    let mut session =
        Session { checkpoint: written.checkpoint, screen: written.screen, graph: written.graph, ..Session::default() };
    session.attributes = written.attributes;
    session.other = written.other;
    session.results.extend(written.results.into_iter().map(|Row { module, measured }| (module, measured)));
    let notes = written.notes.into_iter().map(|Noted { about, mark, note, at }| (about, Note { mark, note, at }));
    session.notes.extend(notes);
    Ok(session)
}

/// Why a text is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It is damaged: what is wrong.
    Damaged(String),
    /// It is of a newer version, with this number.
    Newer(u64),
}

impl Store {
    /// What is kept, if anything is. A file that is damaged is set aside.
    ///
    /// # Errors
    /// In a sentence: it cannot be read, was damaged and is set aside, or is of a newer version.
    pub fn read(&self) -> Result<Option<Session>, Unread> {
        let found = read_at(&self.path, self.is_named)?;
        let Some(earlier) = &self.earlier else { return Ok(found) };
        // What an earlier version has typed is taken over; the file goes once it is written anew.
        let Some(before) = read_at(earlier, false)? else { return Ok(found) };
        let mut session = found.unwrap_or_default();
        session.merge(before);
        Ok(Some(session))
    }

    /// Keep a session, with what another program has kept meanwhile, and take that into it. Nothing worth keeping is no file.
    ///
    /// # Errors
    /// In a sentence: nothing was written.
    pub fn write(&self, session: &mut Session) -> Result<(), String> {
        let wrong = |error: io::Error| format!("This session is not kept: {}: {error}.", shown(&self.path));
        let is_beside = self.path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(BESIDE));
        if !session.is_worth_keeping() && !self.path.exists() && self.earlier.as_ref().is_none_or(|path| !path.exists())
        {
            return Ok(());
        }
        if !is_beside && let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make(folder).map_err(wrong)?;
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            return Err(format!("This session is not kept: {} is no plain file.", shown(&self.path)));
        }
        let held = files::hold(&self.path).map_err(wrong)?;
        match self.read() {
            Ok(Some(other)) => session.merge(other),
            Ok(None) | Err(Unread::Lost(_)) => {}
            Err(Unread::Kept(why)) => return Err(why),
        }
        if session.checkpoint.is_empty() {
            session.checkpoint = self.checkpoint.to_string_lossy().into_owned();
        }
        if session.is_worth_keeping() {
            let text = text(session).map_err(io::Error::other).map_err(wrong)?;
            held.replace(text.as_bytes()).map_err(wrong)?;
        } else {
            held.remove().map_err(wrong)?;
        }
        if let Some(earlier) = &self.earlier {
            // It is in the new file now.
            let _ = fs::remove_file(earlier);
        }
        Ok(())
    }

    /// Take the file away: the user wants it elsewhere, or nowhere.
    ///
    /// # Errors
    /// In a sentence.
    pub fn remove(&self) -> Result<(), String> {
        if !self.path.exists() {
            return Ok(());
        }
        let removed = files::hold(&self.path).and_then(|held| held.remove());
        removed.map_err(|error| format!("{} cannot be removed: {error}.", shown(&self.path)))
    }
}

/// What is in a file; one that is damaged is set aside, unless the user named it: then it may be something else.
fn read_at(path: &Path, is_named: bool) -> Result<Option<Session>, Unread> {
    let name = shown(path);
    if !path.exists() {
        return Ok(None);
    }
    let text = match files::read_text(path, LONGEST) {
        Ok(text) => text,
        Err(files::ReadError::NotText(byte)) if !is_named => {
            return Err(aside(path, &format!("byte {byte} is no UTF-8")));
        }
        Err(error) => {
            return Err(Unread::Kept(format!("What was kept before is in {name}, which cannot be read: {error}.")));
        }
    };
    match parse(&text) {
        Ok(session) => Ok(Some(session)),
        Err(Misfit::Newer(schema)) => Err(Unread::Kept(format!(
            "What is kept is of another version ({schema}) and is left alone, since a newer t2m-tui wrote it: {name}. Nothing is kept of this run."
        ))),
        Err(Misfit::Damaged(wrong)) if is_named => Err(Unread::Kept(format!(
            "{name} is no session that t2m-tui can read ({wrong}), and is left as it is. Nothing is kept of this run."
        ))),
        Err(Misfit::Damaged(wrong)) => Err(aside(path, &wrong)),
    }
}

/// Set a damaged file aside, under a name that is free.
fn aside(path: &Path, wrong: &str) -> Unread {
    let free = |at: u32| path.with_extension(if at == 1 { "damaged".to_owned() } else { format!("damaged-{at}") });
    let aside = (1..100).map(free).find(|path| fs::symlink_metadata(path).is_err());
    match aside.as_ref().map(|aside| fs::rename(path, aside)) {
        Some(Ok(())) => {
            let aside = aside.map_or_else(String::new, |aside| shown(&aside));
            let lost = "What was typed, measured and noted before is lost: the session is damaged";
            Unread::Lost(format!("{lost}; it is set aside as {aside} ({wrong})."))
        }
        Some(Err(error)) => kept_damaged(path, wrong, &error.to_string()),
        None => kept_damaged(path, wrong, "a hundred lie there already"),
    }
}

fn kept_damaged(path: &Path, wrong: &str, why: &str) -> Unread {
    let name = shown(path);
    Unread::Kept(format!(
        "What was kept before is lost: {name} is damaged ({wrong}) and cannot be set aside: {why}. Nothing is kept of this run."
    ))
}
