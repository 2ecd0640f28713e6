//! The user's configuration: defaults, under the file, under the environment, under the options of the call. Each value knows where
//! it is from. What is wrong is told with file, line and column, and with what may have been meant.

pub mod docs;
mod file;
mod keys;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use settings::{SETTINGS, Value};

use crate::files;
use crate::guess::nearest;
use crate::tui::keymap::Keymap;
use crate::tui::panels::Name;
use keys::Change;
use t2m_checkpoint::escape::{escape, quoted};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The line of the file.
    File(usize),
    /// A variable of the environment.
    Environment(String),
    /// An option of the call.
    Option(String),
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `config.toml:3:7`, or the variable.
    pub place: String,
    /// What, and the way out.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", escape(&self.place), self.what)
    }
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, which need not be there; `None` where there is no place for one.
    pub path: Option<PathBuf>,
    /// Whether it was read.
    pub is_there: bool,
    /// The keys.
    pub keymap: Keymap,
    values: BTreeMap<&'static str, (Value, Origin)>,
    changes: Vec<Change>,
}

impl Config {
    /// The built-in one.
    pub fn built_in() -> Config {
        let defaults = SETTINGS.iter().map(|setting| (setting.name, (setting.default_value(), Origin::Default)));
        // A test loads the built-in table.
        let keymap = Keymap::built_in().unwrap_or_default();
        Config { path: None, is_there: false, keymap, values: defaults.collect(), changes: Vec::new() }
    }

    /// That of the user: the file that the environment names or that is in its place, and the environment. What is wrong is left
    /// out, and told.
    pub fn load(variable: impl Fn(&str) -> Option<String>) -> (Config, Vec<Fault>) {
        let mut config = Config::built_in();
        let mut faults = Vec::new();
        let (path, is_wanted) = place(&variable);
        if let Some(path) = &path {
            match files::read_text(path, LONGEST) {
                Ok(text) => {
                    config.is_there = true;
                    faults.extend(config.take_file(path, &text));
                }
                Err(error) if is_wanted || path.exists() => {
                    faults.push(Fault { place: path.display().to_string(), what: error.to_string() });
                }
                Err(_) => {}
            }
        }
        config.path = path;
        faults.extend(config.take_environment(&variable));
        (config, faults)
    }

    /// Take over what a file says.
    fn take_file(&mut self, path: &Path, text: &str) -> Vec<Fault> {
        let read = file::read(path, text);
        let mut faults = read.faults;
        for (name, value, line) in read.values {
            self.values.insert(name, (value, Origin::File(line)));
        }
        match keys::apply(&self.keymap, &read.changes, path) {
            Ok(keymap) => self.keymap = keymap,
            Err(clashes) => faults.extend(clashes),
        }
        self.changes = read.changes;
        faults
    }

    fn take_environment(&mut self, variable: &impl Fn(&str) -> Option<String>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut take = |name: &'static str, value: Value, from: &str| {
            self.values.insert(name, (value, Origin::Environment(from.to_owned())));
        };
        if set("NO_COLOR").is_some() {
            take("color", Value::Text("never".to_owned()), "NO_COLOR");
        }
        // The locale that counts is the first that is set; without one the terminal is probably newer than its settings.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| Some((name, set(name)?)));
        if let Some((name, _)) = locale.filter(|(_, locale)| !speaks_utf8(locale)) {
            take("ascii", Value::Flag(true), name);
        }
        for setting in &SETTINGS {
            let name = setting.variable();
            match set(&name).map(|text| setting.parse(&text)) {
                Some(Ok(value)) => take(setting.name, value, &name),
                Some(Err(what)) => faults.push(Fault { place: name, what }),
                None => {}
            }
        }
        faults
    }

    /// Take over what an option of the call says.
    pub fn take_option(&mut self, name: &str, value: Value) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
            self.values.insert(setting.name, (value, Origin::Option(format!("--{name}"))));
        }
    }

    /// A value, where anybody set it; `None` where it is the built-in one.
    pub fn set(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|(_, origin)| *origin != Origin::Default).map(|(value, _)| value)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }

    /// A text; empty where there is no such setting.
    pub fn text(&self, name: &str) -> &str {
        self.value(name).and_then(Value::text).unwrap_or_default()
    }

    /// Whether something is on.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Some(&Value::Flag(true))
    }

    /// A number.
    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A list of texts.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// The whole of it as a file that would say the same, each value with where it is from.
    pub fn print(&self) -> String {
        let path = self.path.as_ref().map(|path| escape(&path.to_string_lossy()).into_owned());
        let mut out = match (&path, self.is_there) {
            (Some(path), true) => format!("# {path}\n"),
            (Some(path), false) => format!("# {path} is not there; what stands here could be in it\n"),
            (None, _) => "# There is no place for a file: neither XDG_CONFIG_HOME nor HOME is set\n".to_owned(),
        };
        let from = |origin: &Origin| match (origin, &path) {
            (Origin::Default, _) => "default".to_owned(),
            (Origin::File(line), Some(path)) => format!("{path}:{line}"),
            (Origin::File(line), None) => format!("line {line}"),
            (Origin::Environment(name) | Origin::Option(name), _) => name.clone(),
        };
        let mut row = |name: &str, value: &str, origin: &str| {
            let text = format!("{name} = {value}");
            out += &format!("{text:<34} # {origin}\n");
        };
        for setting in &SETTINGS {
            if let Some((value, origin)) = self.values.get(setting.name) {
                row(setting.name, &value.toml(), &from(origin));
            }
        }
        // Rows of one panel need not stand together in the table, but a file has a table once.
        let mut modes: Vec<Option<Name>> = Vec::new();
        for binding in &self.keymap.bindings {
            if !modes.contains(&binding.mode) {
                modes.push(binding.mode);
            }
        }
        for mode in modes {
            let name = mode.map_or("[keys]".to_owned(), |panel| format!("[keys.{}]", panel.name()));
            out += &format!("\n{name}\n");
            for binding in self.keymap.of(mode) {
                let is_of = |change: &&Change| (change.mode, change.command) == (mode, binding.command);
                let changed = self.changes.iter().find(is_of);
                let origin = changed.map_or(Origin::Default, |change| Origin::File(change.line));
                let text = format!("{} = {}", binding.command.name(), Value::List(binding.keys.clone()).toml());
                out += &format!("{text:<34} # {}\n", from(&origin));
            }
        }
        out
    }
}

fn speaks_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The file: the one that `T2M_CONFIG` names, which has to be there (`true`); else the first that is there of those in the usual
/// places, or the first of these.
fn place(variable: &impl Fn(&str) -> Option<String>) -> (Option<PathBuf>, bool) {
    if let Some(named) = variable("T2M_CONFIG").filter(|path| !path.is_empty()) {
        return (Some(named.into()), true);
    }
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = folder("HOME");
    let set = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let mut folders: Vec<PathBuf> = set.into_iter().collect();
    if cfg!(target_os = "macos") {
        folders.extend(home.map(|home| home.join("Library/Application Support")));
    }
    let mut files = folders.into_iter().map(|folder| folder.join("t2m-tui/config.toml"));
    let first = files.next();
    let there = first.iter().cloned().chain(files).find(|path| path.exists());
    (there.or(first), false)
}

/// `no setting is called "thme": did you mean "theme"?`
fn unknown<'a>(what: &str, written: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let short = |name: &str| quoted(name).chars().take(60).collect::<String>();
    let way_out = match nearest(written, names.clone()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
    };
    format!("no {what} is called \"{}\": {way_out}", short(written))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
