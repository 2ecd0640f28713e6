//! `[keys]` of the configuration: a command's keys in the panes, and `[keys.help]` and the like for the panels.
//!
//!     [keys]
//!     run = ["space", "r"]      # these instead of the built-in ones
//!     quit = []                 # none

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::file::{Read, Text};
use super::{Fault, unknown};
use crate::guess::nearest;
use crate::tui::action::Command;
use crate::tui::keymap::{Key, Keymap};
use crate::tui::panels::Name;
use t2m_checkpoint::escape::quoted;

/// The keys of a command that somebody set.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The panel; `None` for the panes.
    pub mode: Option<Name>,
    /// The command.
    pub command: Command,
    /// Names of its keys.
    pub keys: Vec<String>,
    /// Where that is said.
    pub line: usize,
    column: usize,
}

/// Read the table `[keys]`.
pub(super) fn read(place: &Text<'_>, table: &DeTable<'_>, keymap: &Keymap, into: &mut Read) {
    let modes: Vec<(String, Name)> = Name::ALL.into_iter().map(|panel| (panel.name(), panel)).collect();
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(of_panel) => match modes.iter().find(|(name, _)| name == key.get_ref()) {
                Some((_, panel)) => {
                    for (key, value) in of_panel {
                        command(place, Some(*panel), (key.get_ref(), key.span()), value, keymap, into);
                    }
                }
                None => {
                    let names = modes.iter().map(|(name, _)| name.as_str());
                    into.faults.push(place.fault(key.span(), unknown("panel", key.get_ref(), names)));
                }
            },
            _ => command(place, None, (key.get_ref(), key.span()), value, keymap, into),
        }
    }
}

/// Read one command's keys.
fn command(
    place: &Text<'_>,
    mode: Option<Name>,
    (name, at): (&str, Range<usize>),
    value: &toml::Spanned<DeValue<'_>>,
    keymap: &Keymap,
    into: &mut Read,
) {
    let known: Vec<(String, Command)> =
        keymap.of(mode).map(|binding| (binding.command.name(), binding.command)).collect();
    let Some((_, command)) = known.iter().find(|(known, _)| known == name) else {
        let what = mode.map_or("command".to_owned(), |panel| format!("command of the panel {}", panel.name()));
        let names = known.iter().map(|(name, _)| name.as_str());
        return into.faults.push(place.fault(at, unknown(&what, name, names)));
    };
    let named = match value.get_ref() {
        DeValue::String(key) => vec![(key.clone().into_owned(), value.span())],
        DeValue::Array(keys) if keys.iter().all(|key| key.get_ref().is_str()) => {
            let text = |key: &toml::Spanned<DeValue<'_>>| key.get_ref().as_str().unwrap_or_default().to_owned();
            keys.iter().map(|key| (text(key), key.span())).collect()
        }
        _ => {
            let what = format!("the keys of `{name}` are a list: [\"q\", \"ctrl-q\"], or [] for none");
            return into.faults.push(place.fault(value.span(), what));
        }
    };
    let mut keys = Vec::new();
    for (key, at) in named {
        match (Key::parse(&key), mode) {
            (Some(key), Some(panel)) if key.is_typed() && command.is_typed_over(panel) => {
                into.faults.push(place.fault(at, is_text(&key, panel)));
            }
            (Some(key), _) => keys.push(key.to_string()),
            (None, _) => into.faults.push(place.fault(at, no_key(&key))),
        }
    }
    let (line, column) = place.line(at.start);
    into.changes.push(Change { mode, command: *command, keys, line, column });
}

/// `the key "x" is text in the panel marks, so that it would never be this command's: …`
fn is_text(key: &Key, panel: Name) -> String {
    format!(
        "the key \"{key}\" is text in the panel {}, so that it would never be this command's: give it a key that types \
         nothing, as \"ctrl-{}\" or \"f5\"",
        panel.name(),
        if key.to_string().len() == 1 { key.to_string().to_lowercase() } else { "x".to_owned() }
    )
}

/// `no key is called "ctl-x": did you mean "ctrl-x"?`
fn no_key(written: &str) -> String {
    let prefixed = written.rsplit_once('-').filter(|(before, after)| !before.is_empty() && !after.is_empty());
    let last = prefixed.map_or(written, |(_, last)| last);
    let names: Vec<&str> = Key::names().collect();
    let modifiers = ["ctrl", "alt", "shift"];
    let meant = |word: &str, names: &[&'static str]| match names.iter().find(|name| **name == word) {
        Some(name) => Some((*name).to_owned()),
        None => nearest(word, names.iter().copied()).map(str::to_owned),
    };
    let end = if last.chars().count() == 1 { Some(last.to_owned()) } else { meant(last, &names) };
    let begin: Option<Vec<String>> = prefixed
        .map_or(Some(Vec::new()), |(before, _)| before.split('-').map(|word| meant(word, &modifiers)).collect());
    let whole = begin.zip(end).map(|(mut words, end)| {
        words.push(end);
        words.join("-")
    });
    let shown: String = quoted(written).chars().take(40).collect();
    match whole.filter(|whole| Key::parse(whole).is_some()) {
        Some(whole) => format!("no key is called \"{shown}\": did you mean \"{whole}\"?"),
        None => format!(
            "no key is called \"{shown}\": write a character, or {}, with ctrl-, alt- or shift- before it",
            names.join(", ")
        ),
    }
}

/// The table with these changes, or which keys would be two commands' then.
pub(super) fn apply(keymap: &Keymap, changes: &[Change], path: &Path) -> Result<Keymap, Vec<Fault>> {
    let mut bindings = keymap.bindings.clone();
    for change in changes {
        let row = bindings.iter_mut().find(|row| (row.mode, row.command) == (change.mode, change.command));
        if let Some(row) = row {
            row.keys.clone_from(&change.keys);
        }
    }
    Keymap::of_bindings(bindings).map_err(|clashes| {
        let fault = |clash: crate::tui::keymap::Clash| {
            let [one, two] = clash.commands.map(Command::name);
            let is_of = |change: &&Change| change.mode == clash.mode && clash.commands.contains(&change.command);
            let has_key = |change: &&Change| change.keys.contains(&clash.key);
            let change = changes.iter().rev().filter(is_of).find(has_key);
            let place = change.map_or(String::new(), |change| format!(":{}:{}", change.line, change.column));
            let wher = clash.mode.map_or(String::new(), |panel| format!(" in the panel {}", panel.name()));
            let what = if one == two {
                format!("the key \"{}\" stands twice for `{one}`{wher}", clash.key)
            } else {
                format!(
                    "the key \"{}\" would be both `{one}` and `{two}`{wher}: give one of them another key, or none (`{one} = []`)",
                    clash.key
                )
            };
            Fault { place: format!("{}{place}", path.display()), what }
        };
        clashes.into_iter().map(fault).collect()
    })
}
