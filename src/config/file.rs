//! The file of the configuration: TOML, each fault with its place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Change};
use super::settings::{SETTINGS, Setting, Value};
use super::{Fault, unknown};
use crate::tui::keymap::Keymap;
use t2m_checkpoint::escape::quoted;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Name, value and line of each setting.
    pub values: Vec<(&'static str, Value, usize)>,
    /// What it changes of the keys.
    pub changes: Vec<Change>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Where things are in the text.
pub(super) struct Text<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Text<'_> {
    /// Line and column of a byte, both from 1.
    pub fn line(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    /// Something wrong at a place.
    pub fn fault(&self, at: Range<usize>, what: String) -> Fault {
        let (line, column) = self.line(at.start);
        Fault { place: format!("{}:{line}:{column}", self.path.display()), what }
    }
}

/// Read a file.
pub(super) fn read(path: &Path, text: &str) -> Read {
    let mut read = Read::default();
    let place = Text { path, text };
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let message: String = quoted(error.message()).chars().take(300).collect();
            read.faults.push(place.fault(error.span().unwrap_or(0..0), message));
            return read;
        }
    };
    // A test loads the built-in table.
    let keymap = Keymap::built_in().unwrap_or_default();
    for (key, value) in table.get_ref() {
        if key.get_ref() == "keys" {
            match value.get_ref() {
                DeValue::Table(of) => keys::read(&place, of, &keymap, &mut read),
                _ => read.faults.push(place.fault(value.span(), "`keys` is a table: [keys]".to_owned())),
            }
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key.get_ref()) else {
            let names = SETTINGS.iter().map(|setting| setting.name).chain(["keys"]);
            read.faults.push(place.fault(key.span(), unknown("setting", key.get_ref(), names)));
            continue;
        };
        match plain(value).and_then(|value| setting.check(value)) {
            Ok(value) => {
                let (line, _) = place.line(key.span().start);
                read.values.push((setting.name, from_here(setting, value, path), line));
            }
            Err(what) => read.faults.push(place.fault(value.span(), what)),
        }
    }
    read.values.sort_by_key(|(_, _, line)| *line);
    read
}

/// A value of TOML as one of ours.
fn plain(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Boolean(on) => Value::Flag(*on),
        DeValue::Integer(number) => {
            let read = u64::from_str_radix(number.as_str(), number.radix());
            Value::Number(read.map_err(|_| format!("{} is no whole number from 0 on", quoted(number.as_str())))?)
        }
        DeValue::Array(list) => {
            let texts: Option<Vec<String>> = list.iter().map(text).collect();
            Value::List(texts.ok_or("only texts in quotes can be in this list")?)
        }
        other => return Err(format!("a {} means nothing here", other.type_str())),
    })
}

/// Paths of a file are meant from where it lies; `~/` is the user's home.
fn from_here(setting: &Setting, value: Value, file: &Path) -> Value {
    let resolve = |text: String| {
        if !setting.is_path(&text) {
            return text;
        }
        let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let path = match (text.strip_prefix("~/"), home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => file.parent().map_or_else(|| PathBuf::from(&text), |folder| folder.join(&text)),
        };
        path.to_string_lossy().into_owned()
    };
    match value {
        Value::Text(text) => Value::Text(resolve(text)),
        Value::List(list) => Value::List(list.into_iter().map(resolve).collect()),
        other => other,
    }
}
