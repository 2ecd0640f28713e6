//! Keys and what they mean, from `assets/keymap.toml`. Footer, help and manual are made from the same table.

use std::collections::HashMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

use super::action::Command;
use super::panels::Name;
use super::scroll::distance;

const TABLE: &str = include_str!("../../assets/keymap.toml");

/// One row of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The panel that it is a key of; `None` for the panes.
    #[serde(default)]
    pub mode: Option<Name>,
    /// Heading in the help.
    pub group: String,
    /// What happens.
    pub command: Command,
    /// Names of the keys.
    pub keys: Vec<String>,
    /// What happens, in words.
    pub help: String,
    /// What happens in a word or two, where the bottom line shows it.
    #[serde(default)]
    pub footer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    binding: Vec<Binding>,
}

/// A key with its modifiers. Shift is part of a character, not a modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    control: bool,
    shift: bool,
    alt: bool,
}

/// A table of keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not TOML, or not of this form.
    #[error("keymap.toml: {0}")]
    Toml(#[from] toml::de::Error),
    /// No key has this name.
    #[error(
        "keymap.toml: \"{0}\" is no key; write a character, or enter, space, tab, up, pagedown, ctrl-c and the like"
    )]
    Key(String),
    /// Two bindings have the same key.
    #[error("keymap.toml: the key \"{0}\" is bound twice in one mode")]
    Twice(String),
}

/// The table, ready for use.
#[derive(Debug, Clone, Default)]
pub struct Keymap {
    /// The rows, in order.
    pub bindings: Vec<Binding>,
    commands: HashMap<(Option<Name>, Key), Command>,
}

impl Keymap {
    /// The built-in table.
    ///
    /// # Errors
    /// None with the table in the repository; a test loads it.
    pub fn built_in() -> Result<Keymap, Error> {
        Keymap::parse(TABLE)
    }

    /// Read a table.
    ///
    /// # Errors
    /// It is not such TOML, names an unknown key, command or field, or binds a key twice.
    pub fn parse(text: &str) -> Result<Keymap, Error> {
        let Table { binding: bindings } = toml::from_str(text)?;
        let mut commands = HashMap::new();
        for binding in &bindings {
            for name in &binding.keys {
                let key = parse_key(name).ok_or_else(|| Error::Key(name.clone()))?;
                if commands.insert((binding.mode, key), binding.command).is_some() {
                    return Err(Error::Twice(name.clone()));
                }
            }
        }
        Ok(Keymap { bindings, commands })
    }

    /// What a key means in a panel, or in the panes. Keys that leave or suspend the program, move through rows or find mean
    /// the same in every panel, unless the panel has a use of its own for them.
    pub fn command(&self, panel: Option<Name>, event: &KeyEvent) -> Option<Command> {
        let key = Key::of(event)?;
        let everywhere = |command: &&Command| {
            let finds = Command::Open(Name::Find);
            matches!(
                command,
                Command::Interrupt | Command::Suspend | Command::Screenshot | Command::FindNext | Command::FindPrevious
            ) || **command == finds
                || distance(**command, 1).is_some()
        };
        let own = self.commands.get(&(panel, key));
        own.or_else(|| self.commands.get(&(None, key)).filter(everywhere)).copied()
    }

    /// The rows of a panel, or of the panes, in order.
    pub fn of(&self, panel: Option<Name>) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |binding| binding.mode == panel)
    }
}

impl Key {
    fn of(event: &KeyEvent) -> Option<Key> {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        Some(match event.code {
            KeyCode::Char(character) if control => {
                Key { code: KeyCode::Char(character.to_ascii_lowercase()), control, shift: false, alt }
            }
            KeyCode::Char(_) => Key { code: event.code, control, shift: false, alt },
            KeyCode::BackTab => Key { code: KeyCode::Tab, control, shift: true, alt },
            code => Key { code, control, shift: event.modifiers.contains(KeyModifiers::SHIFT), alt },
        })
    }
}

/// The event that a key of that name gives, as scripts name keys; `None` where no key has it.
pub fn event_of(name: &str) -> Option<KeyEvent> {
    let key = parse_key(name)?;
    let code = if key.code == KeyCode::Tab && key.shift { KeyCode::BackTab } else { key.code };
    let control = if key.control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
    let shift = if key.shift { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    Some(KeyEvent::new(code, control | shift))
}

/// The character that a key types, if it types one.
pub fn typed(event: &KeyEvent) -> Option<char> {
    match event.code {
        KeyCode::Char(character) if !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            Some(character)
        }
        _ => None,
    }
}

fn parse_key(name: &str) -> Option<Key> {
    let (mut rest, mut control, mut shift, mut alt) = (name, false, false, false);
    loop {
        if let Some(behind) = rest.strip_prefix("ctrl-").filter(|behind| !behind.is_empty()) {
            (rest, control) = (behind, true);
        } else if let Some(behind) = rest.strip_prefix("shift-").filter(|behind| !behind.is_empty()) {
            (rest, shift) = (behind, true);
        } else if let Some(behind) = rest.strip_prefix("alt-").filter(|behind| !behind.is_empty()) {
            (rest, alt) = (behind, true);
        } else {
            break;
        }
    }
    let code = match rest {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "space" => KeyCode::Char(' '),
        "tab" => KeyCode::Tab,
        "backspace" => KeyCode::Backspace,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pageup" => KeyCode::PageUp,
        "pagedown" => KeyCode::PageDown,
        _ => {
            let mut characters = rest.chars();
            let character = characters.next()?;
            if characters.next().is_some() || shift {
                return None;
            }
            KeyCode::Char(character)
        }
    };
    Some(Key { code, control, shift, alt })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn the_built_in_table_loads_and_every_mode_can_be_left() {
        let keymap = Keymap::built_in().unwrap();
        let opened: Vec<Option<Name>> = keymap
            .bindings
            .iter()
            .filter_map(|binding| match binding.command {
                Command::Open(name) => Some(Some(name)),
                _ => None,
            })
            .collect();
        assert!(opened.len() > 5, "{opened:?}");
        for panel in opened.into_iter().chain([None]) {
            let escape = press(KeyCode::Esc, KeyModifiers::NONE);
            assert!(keymap.command(panel, &escape).is_some(), "{panel:?} has no way out");
            let interrupt = press(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(keymap.command(panel, &interrupt), Some(Command::Interrupt));
        }
    }

    #[test]
    fn every_panel_that_a_key_opens_is_in_the_list_of_all() {
        let keymap = Keymap::built_in().unwrap();
        let opened: Vec<Name> = keymap
            .commands
            .values()
            .filter_map(|command| match command {
                Command::Open(name) => Some(*name),
                _ => None,
            })
            .collect();
        assert!(opened.iter().all(|name| Name::ALL.contains(name)), "{opened:?}");
        assert!(Name::ALL.iter().all(|name| opened.contains(name)), "{opened:?}");
    }

    #[test]
    fn keys_that_move_mean_the_same_in_every_panel() {
        let keymap = Keymap::built_in().unwrap();
        // In the panels that take a text, keys are letters of it.
        let panels = Name::ALL.into_iter().filter(|panel| !matches!(panel, Name::Find | Name::Build | Name::Report));
        let moves = [
            (KeyCode::Char('j'), Command::Down),
            (KeyCode::PageDown, Command::PageDown),
            (KeyCode::PageUp, Command::PageUp),
            (KeyCode::Char('g'), Command::Top),
            (KeyCode::Home, Command::Top),
            (KeyCode::Char('G'), Command::Bottom),
            (KeyCode::End, Command::Bottom),
        ];
        for (panel, (code, command)) in panels.flat_map(|panel| moves.map(|at| (panel, at))) {
            let found = keymap.command(Some(panel), &press(code, KeyModifiers::NONE));
            assert_eq!(found, Some(command), "{code:?} in {panel:?}");
            let half = press(KeyCode::Char('d'), KeyModifiers::CONTROL);
            assert_eq!(keymap.command(Some(panel), &half), Some(Command::HalfDown), "{panel:?}");
        }
        // A key that only the panes know means nothing in a panel.
        assert_eq!(keymap.command(Some(Name::Help), &press(KeyCode::Char('a'), KeyModifiers::NONE)), None);
        // A panel's own use of a key comes first.
        let erase = press(KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(keymap.command(Some(Name::Find), &erase), Some(Command::EraseAll));
    }

    #[test]
    fn shift_belongs_to_characters_and_to_tab() {
        let keymap = Keymap::built_in().unwrap();
        let find = |code, modifiers| keymap.command(None, &press(code, modifiers));
        assert_eq!(find(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Command::Bottom));
        assert_eq!(find(KeyCode::Char('g'), KeyModifiers::NONE), Some(Command::Top));
        assert_eq!(find(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Command::PreviousPane));
        assert_eq!(find(KeyCode::Char('-'), KeyModifiers::NONE), Some(Command::FoldAll));
        assert_eq!(find(KeyCode::Char('q'), KeyModifiers::ALT), None);
    }

    #[test]
    fn mistakes_in_a_table_are_named() {
        let row = |rest: &str| format!("[[binding]]\ngroup = \"x\"\ncommand = \"quit\"\nhelp = \"x\"\n{rest}");
        let error = |text: &str| Keymap::parse(text).unwrap_err().to_string();
        assert!(error(&row("keys = [\"ctrl-\"]")).contains("\"ctrl-\" is no key"));
        assert!(error(&row("keys = [\"q\", \"q\"]")).contains("bound twice"));
        assert!(error(&row("keys = [\"q\"]\ncolour = 1")).contains("unknown field `colour`"));
        assert!(error(&row("keys = [\"q\"]").replace("\"quit\"", "\"quite\"")).contains("unknown variant `quite`"));
    }
}
