//! Keys and what they mean, from `assets/keymap.toml` and the user's own. Footer, help, palette, manual and docs/keys.md are made
//! from the same table.

use std::collections::HashMap;
use std::fmt;

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

impl Binding {
    /// Whether each of these words, in small letters, is one of its keys or in what is said of it.
    pub fn has(&self, words: &[String]) -> bool {
        let said = format!("{} {} {}", self.help, self.command.name(), self.group);
        has_words(words, self.keys.iter().map(String::as_str), &said)
    }
}

/// Whether each of these words, in small letters, is one of the keys or in a text.
pub fn has_words<'k>(words: &[String], keys: impl Iterator<Item = &'k str>, text: &str) -> bool {
    let (keys, text): (Vec<String>, String) = (keys.map(str::to_lowercase).collect(), text.to_lowercase());
    words.iter().all(|word| text.contains(word.as_str()) || keys.contains(word))
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
    alt: bool,
    shift: bool,
}

/// The keys that have names, and the names.
const NAMED: [(&str, KeyCode); 27] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("space", KeyCode::Char(' ')),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("insert", KeyCode::Insert),
    ("delete", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("f1", KeyCode::F(1)),
    ("f2", KeyCode::F(2)),
    ("f3", KeyCode::F(3)),
    ("f4", KeyCode::F(4)),
    ("f5", KeyCode::F(5)),
    ("f6", KeyCode::F(6)),
    ("f7", KeyCode::F(7)),
    ("f8", KeyCode::F(8)),
    ("f9", KeyCode::F(9)),
    ("f10", KeyCode::F(10)),
    ("f11", KeyCode::F(11)),
    ("f12", KeyCode::F(12)),
];

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

/// One key that two commands would have in one mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The panel; `None` for the panes.
    pub mode: Option<Name>,
    /// The key's name.
    pub key: String,
    /// The commands, in the table's order.
    pub commands: [Command; 2],
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
        if let Some(name) = bindings.iter().flat_map(|binding| &binding.keys).find(|name| Key::parse(name).is_none()) {
            return Err(Error::Key(name.clone()));
        }
        Keymap::of_bindings(bindings)
            .map_err(|clashes| Error::Twice(clashes.into_iter().next().map(|clash| clash.key).unwrap_or_default()))
    }

    /// From rows whose keys have names that [`Key::parse`] knows.
    ///
    /// # Errors
    /// Keys that two commands of one mode have.
    pub fn of_bindings(bindings: Vec<Binding>) -> Result<Keymap, Vec<Clash>> {
        let mut commands = HashMap::new();
        let mut clashes = Vec::new();
        for Binding { mode, command, keys, .. } in &bindings {
            for (name, key) in keys.iter().filter_map(|name| Some((name, Key::parse(name)?))) {
                if let Some(other) = commands.insert((*mode, key), *command) {
                    clashes.push(Clash { mode: *mode, key: name.clone(), commands: [other, *command] });
                }
            }
        }
        if clashes.is_empty() { Ok(Keymap { bindings, commands }) } else { Err(clashes) }
    }

    /// The names of the keys of a command, in the order in which they are shown; none where it has no key.
    pub fn keys_of(&self, mode: Option<Name>, command: Command) -> &[String] {
        let binding = self.bindings.iter().find(|binding| (binding.mode, binding.command) == (mode, command));
        binding.map_or(&[], |binding| &binding.keys)
    }

    /// The first key of a command, for a sentence; where it has none, its name, by which the palette has it.
    pub fn key(&self, mode: Option<Name>, command: Command) -> String {
        self.keys_of(mode, command).first().map_or_else(|| command.name(), Clone::clone)
    }

    /// What a key means in a panel, or in the panes. Keys that leave or suspend the program, open the palette, move through
    /// rows or find mean the same in every panel, unless the panel has a use of its own for them.
    pub fn command(&self, panel: Option<Name>, event: &KeyEvent) -> Option<Command> {
        let key = Key::of(event)?;
        let everywhere = |command: &&Command| {
            matches!(
                command,
                Command::Interrupt
                    | Command::Suspend
                    | Command::Screenshot
                    | Command::Left
                    | Command::Right
                    | Command::FindNext
                    | Command::FindPrevious
                    | Command::Open(Name::Palette | Name::Find)
            ) || distance(**command, 1).is_some()
        };
        let own = self.commands.get(&(panel, key));
        own.or_else(|| self.commands.get(&(None, key)).filter(everywhere)).copied()
    }

    /// The rows of a panel, or of the panes, in order.
    pub fn of(&self, panel: Option<Name>) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |binding| binding.mode == panel)
    }
}

impl Command {
    /// Whether a key that types a character would never be this command's in a panel: text is typed then.
    pub fn is_typed_over(self, panel: Name) -> bool {
        let of_text = matches!(self, Command::Erase | Command::EraseAll | Command::Complete);
        // Nothing is typed while a Python builds the model, and the line in which matches are looked for can be left.
        let while_it_runs = panel == Name::Build && matches!(self, Command::Cancel | Command::Dismiss);
        of_text || (panel.is_typed_in() && !while_it_runs)
    }
}

impl Key {
    fn of(event: &KeyEvent) -> Option<Key> {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        Some(match event.code {
            KeyCode::Char(character) if control => {
                Key { code: KeyCode::Char(character.to_ascii_lowercase()), control, alt, shift: false }
            }
            KeyCode::Char(_) => Key { code: event.code, control, alt, shift: false },
            KeyCode::BackTab => Key { code: KeyCode::Tab, control, alt, shift: true },
            code => Key { code, control, alt, shift: event.modifiers.contains(KeyModifiers::SHIFT) },
        })
    }

    /// A key by its name: a character, or `enter`, `f1` and the like, with `ctrl-`, `alt-` and `shift-` before it.
    pub fn parse(name: &str) -> Option<Key> {
        let (mut rest, mut control, mut alt, mut shift) = (name, false, false, false);
        while let Some((modifier, behind)) = rest.split_once('-').filter(|(_, behind)| !behind.is_empty()) {
            match modifier {
                "ctrl" => control = true,
                "alt" => alt = true,
                "shift" => shift = true,
                _ => break,
            }
            rest = behind;
        }
        if let Some((_, code)) = NAMED.iter().find(|(known, _)| *known == rest) {
            return Some(Key { code: *code, control, alt, shift });
        }
        let mut characters = rest.chars();
        let character = characters.next()?;
        if characters.next().is_some() || shift || character.is_control() {
            return None;
        }
        let character = if control { character.to_ascii_lowercase() } else { character };
        Some(Key { code: KeyCode::Char(character), control, alt, shift })
    }

    /// Whether it types a character where text is typed.
    pub fn is_typed(self) -> bool {
        matches!(self.code, KeyCode::Char(_)) && !self.control && !self.alt
    }

    /// The names of keys that are no characters.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (is_set, prefix) in [(self.control, "ctrl-"), (self.alt, "alt-"), (self.shift, "shift-")] {
            if is_set {
                out.write_str(prefix)?;
            }
        }
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((name, _)), _) => out.write_str(name),
            (None, KeyCode::Char(character)) => write!(out, "{character}"),
            (None, _) => Ok(()),
        }
    }
}

/// The event that a key of that name gives, as scripts name keys; `None` where no key has it.
pub fn event_of(name: &str) -> Option<KeyEvent> {
    let key = Key::parse(name)?;
    let code = if key.code == KeyCode::Tab && key.shift { KeyCode::BackTab } else { key.code };
    let control = if key.control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
    let shift = if key.shift { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    let alt = if key.alt { KeyModifiers::ALT } else { KeyModifiers::NONE };
    Some(KeyEvent::new(code, control | shift | alt))
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
        // What asks whether to leave is opened by leaving.
        let mut all = Name::ALL.iter().filter(|name| **name != Name::Leave);
        assert!(all.all(|name| opened.contains(name)), "{opened:?}");
    }

    #[test]
    fn keys_that_move_mean_the_same_in_every_panel() {
        let keymap = Keymap::built_in().unwrap();
        // In the panels that take a text, keys are letters of it.
        let typed = [Name::Find, Name::Build, Name::Report, Name::Palette, Name::Leave];
        let panels = Name::ALL.into_iter().filter(|panel| !typed.contains(panel));
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
    fn names_of_keys_are_read_and_written_alike() {
        for name in
            Key::names().chain(["q", "G", "ctrl-p", "alt-right", "ctrl-alt-x", "shift-up", "shift-tab", "ctrl--", "-"])
        {
            let key = Key::parse(name).unwrap();
            assert_eq!(key.to_string(), name);
        }
        assert_eq!(Key::parse("ctrl-P"), Key::parse("ctrl-p"));
        assert_eq!(Key::parse("alt-ctrl-x"), Key::parse("ctrl-alt-x"));
        for wrong in ["", "ctrl-shift", "shift-a", "F13", "enterr", "ab"] {
            assert_eq!(Key::parse(wrong), None, "{wrong}");
        }
        // ctrl- is the key `-` with ctrl before nothing: it is no key of its own.
        assert_eq!(Key::parse("ctrl-"), None);
    }

    #[test]
    fn every_command_has_one_name_and_the_palette_is_everywhere() {
        let keymap = Keymap::built_in().unwrap();
        let names: std::collections::BTreeMap<String, Command> =
            keymap.bindings.iter().map(|binding| (binding.command.name(), binding.command)).collect();
        assert_eq!(names.get("open-help"), Some(&Command::Open(Name::Help)));
        assert_eq!(names.get("run-all"), Some(&Command::RunAll));
        let commands: std::collections::HashSet<Command> =
            keymap.bindings.iter().map(|binding| binding.command).collect();
        assert_eq!(names.len(), commands.len());
        for panel in [None, Some(Name::Help), Some(Name::Convert), Some(Name::Findings)] {
            let open = keymap.command(panel, &press(KeyCode::Char('p'), KeyModifiers::CONTROL));
            assert_eq!(open, Some(Command::Open(Name::Palette)));
        }
    }

    #[test]
    fn mistakes_in_a_table_are_named() {
        let row = |rest: &str| format!("[[binding]]\ngroup = \"x\"\ncommand = \"quit\"\nhelp = \"x\"\n{rest}");
        let error = |text: &str| Keymap::parse(text).unwrap_err().to_string();
        assert!(error(&row("keys = [\"ctrl-shift\"]")).contains("\"ctrl-shift\" is no key"));
        assert!(error(&row("keys = [\"q\", \"q\"]")).contains("bound twice"));
        assert!(error(&row("keys = [\"q\"]\ncolour = 1")).contains("unknown field `colour`"));
        assert!(error(&row("keys = [\"q\"]").replace("\"quit\"", "\"quite\"")).contains("unknown variant `quite`"));
    }
}
