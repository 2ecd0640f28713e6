//! Panels over the panes. Each is one file here: its state, its keys, its mouse and its drawing.
//!
//! A new one is a file with a type that is a [`Panel`], its line in each list of this file, and in `assets/keymap.toml` the
//! key that opens it (`command = { open = "name" }`) and its own keys (`mode = "name"`). The keys that move through rows
//! need no line there: they mean the same everywhere.

pub mod about;
pub mod attributes;
pub mod build;
pub mod convert;
pub mod copy;
pub mod details;
pub mod dicts;
pub mod filter;
pub mod find;
pub mod findings;
pub mod help;
pub mod inputs;
pub mod keep;
pub mod leave;
pub mod marks;
pub mod palette;
pub mod port;
pub mod report;
pub mod seek;

use ratatui::layout::{Position, Rect};
use ratatui::text::Line;
use serde::{Deserialize, Serialize};

use super::action::Command;
use super::canvas::Canvas;
use super::context::Context;
use super::panes::View;
use super::scroll::Scroll;

/// Every panel. `assets/keymap.toml` uses these names in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Name {
    About,
    Attributes,
    Build,
    Convert,
    Details,
    Dicts,
    Filter,
    Find,
    Findings,
    Help,
    Port,
    Copy,
    Report,
    Keep,
    Marks,
    Inputs,
    Leave,
    Palette,
}

impl Name {
    /// As the table of keys has it: `find`.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }

    /// Whether characters are text there all the while, but for the keys that end what runs: no command has a letter then.
    pub fn is_typed_in(self) -> bool {
        match self {
            Name::Attributes | Name::Build | Name::Find | Name::Inputs | Name::Marks | Name::Palette | Name::Report => {
                true
            }
            Name::About | Name::Convert | Name::Copy | Name::Details | Name::Dicts | Name::Filter | Name::Findings => {
                false
            }
            Name::Help | Name::Keep | Name::Leave | Name::Port => false,
        }
    }

    /// All of them. A test holds each key that opens a panel against it.
    pub const ALL: [Name; 18] = [
        Name::About,
        Name::Attributes,
        Name::Build,
        Name::Convert,
        Name::Details,
        Name::Dicts,
        Name::Filter,
        Name::Find,
        Name::Findings,
        Name::Help,
        Name::Port,
        Name::Copy,
        Name::Report,
        Name::Keep,
        Name::Marks,
        Name::Inputs,
        Name::Leave,
        Name::Palette,
    ];
}

/// The state of each panel, and which of them is open. A closed panel keeps its state.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Panels {
    /// The open one, which has the keyboard.
    pub open: Option<Name>,
    pub about: about::About,
    pub attributes: attributes::Attributes,
    pub build: build::Build,
    pub convert: convert::Convert,
    pub details: details::Details,
    pub dicts: dicts::Dicts,
    pub filter: filter::Filter,
    pub find: find::Find,
    pub findings: findings::Findings,
    pub help: help::Help,
    pub port: port::Port,
    pub copy: copy::Copy,
    pub report: report::Report,
    pub keep: keep::Keep,
    pub marks: marks::Marks,
    pub inputs: inputs::Inputs,
    pub leave: leave::Leave,
    pub palette: palette::Palette,
    /// The panel that the palette was opened over, which comes back.
    below: Option<Name>,
}

impl Panels {
    fn of(&self, name: Name) -> &dyn Panel {
        match name {
            Name::About => &self.about,
            Name::Attributes => &self.attributes,
            Name::Build => &self.build,
            Name::Convert => &self.convert,
            Name::Details => &self.details,
            Name::Dicts => &self.dicts,
            Name::Filter => &self.filter,
            Name::Find => &self.find,
            Name::Findings => &self.findings,
            Name::Help => &self.help,
            Name::Port => &self.port,
            Name::Copy => &self.copy,
            Name::Report => &self.report,
            Name::Keep => &self.keep,
            Name::Marks => &self.marks,
            Name::Inputs => &self.inputs,
            Name::Leave => &self.leave,
            Name::Palette => &self.palette,
        }
    }

    fn of_mut(&mut self, name: Name) -> &mut dyn Panel {
        match name {
            Name::About => &mut self.about,
            Name::Attributes => &mut self.attributes,
            Name::Build => &mut self.build,
            Name::Convert => &mut self.convert,
            Name::Details => &mut self.details,
            Name::Dicts => &mut self.dicts,
            Name::Filter => &mut self.filter,
            Name::Find => &mut self.find,
            Name::Findings => &mut self.findings,
            Name::Help => &mut self.help,
            Name::Port => &mut self.port,
            Name::Copy => &mut self.copy,
            Name::Report => &mut self.report,
            Name::Keep => &mut self.keep,
            Name::Marks => &mut self.marks,
            Name::Inputs => &mut self.inputs,
            Name::Leave => &mut self.leave,
            Name::Palette => &mut self.palette,
        }
    }

    /// The open panel.
    pub fn current(&self) -> Option<&dyn Panel> {
        self.open.map(|name| self.of(name))
    }

    /// The panel whose keys hold: while something is looked for within one, those of the search.
    pub fn mode(&self) -> Option<Name> {
        let seeks = self.current().and_then(Panel::seek).is_some_and(|seek| seek.is_typing);
        if seeks { Some(Name::Find) } else { self.open }
    }

    /// Whether characters are text now.
    pub fn take_text(&self) -> bool {
        self.mode() != self.open || self.current().is_some_and(Panel::takes_text)
    }

    /// Open a panel.
    pub fn open(&mut self, name: Name, context: &mut Context<'_>) {
        self.open = Some(name);
        self.of_mut(name).open(context);
    }

    /// Open the palette over the panes, or over the panel that is open.
    pub fn open_palette(&mut self, context: &mut Context<'_>) {
        if self.open == Some(Name::Palette) {
            return;
        }
        self.below = self.open;
        self.palette.of = self.below;
        self.open(Name::Palette, context);
    }

    /// Let the open panel, if there is one, act, and close it if it asks for that. Returns the command that it asks for instead.
    pub fn act(&mut self, act: impl FnOnce(&mut dyn Panel) -> Then) -> Option<Command> {
        let then = act(self.of_mut(self.open?));
        if then == Then::Stay {
            return None;
        }
        self.open = self.below.take();
        match then {
            Then::Run(command) => Some(command),
            Then::Stay | Then::Close => None,
        }
    }
}

/// Whether a panel stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stays.
    Stay,
    /// It closes.
    Close,
    /// It closes, and this is done where it was opened.
    Run(Command),
}

/// A key in a panel that has no meaning of its own for it: it scrolls or closes.
fn read(panel: &mut (impl Panel + ?Sized), command: Command, context: &Context<'_>) -> Then {
    if command == Command::Dismiss {
        return Then::Close;
    }
    if let Some(scroll) = panel.scroll() {
        scroll.command(command, context.rows());
    }
    Then::Stay
}

/// A key in the open panel: the search within it first.
pub(super) fn command(panel: &mut dyn Panel, command: Command, context: &mut Context<'_>) -> Then {
    // The key that says no to a question goes to the next match where nothing is asked.
    let command = if command == Command::No && !panel.asks() { Command::FindNext } else { command };
    if seek::command(panel, command, context) { Then::Stay } else { panel.command(command, context) }
}

/// Text in the open panel: the search within it first.
pub(super) fn text(panel: &mut dyn Panel, text: &str, context: &mut Context<'_>) {
    if !seek::text(panel, text, context) {
        panel.text(text, context);
    }
}

/// What every panel does. It changes only itself and what [`Context`] holds; drawing changes nothing.
///
/// Without more than [`Panel::scroll`] and [`Panel::draw`] a panel is text that opens at its beginning and scrolls.
pub trait Panel {
    /// How far the panel is scrolled, where it has rows that are only read.
    fn scroll(&mut self) -> Option<&mut Scroll> {
        None
    }

    /// It was opened.
    fn open(&mut self, _context: &mut Context<'_>) {
        self.scroll().into_iter().for_each(|scroll| *scroll = Scroll::default());
    }

    /// A key of the panel, or one that moves through rows.
    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        read(self, command, context)
    }

    /// Whether it waits for a yes or a no.
    fn asks(&self) -> bool {
        false
    }

    /// Whether characters are text here instead of keys.
    fn takes_text(&self) -> bool {
        false
    }

    /// Text was typed or pasted.
    fn text(&mut self, _text: &str, _context: &mut Context<'_>) {}

    /// A click, in the panel or beside it.
    fn click(&mut self, _at: Position, _context: &mut Context<'_>) -> Then {
        Then::Close
    }

    /// The wheel turned by this many rows, downwards positive.
    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.scroll().into_iter().for_each(|scroll| scroll.by(i64::from(rows), context.rows()));
    }

    /// What is looked for among its rows, in a panel that has such a search (`/`, `n`, `N`). It needs the five functions from here
    /// on, and draws matches by [`seek::Seek::mark`].
    fn seek(&self) -> Option<&seek::Seek> {
        None
    }

    /// See [`Panel::seek`].
    fn seek_mut(&mut self) -> Option<&mut seek::Seek> {
        None
    }

    /// What each row is found by.
    fn row_names<'a>(&'a self, _view: &'a View) -> Vec<seek::Names<'a>> {
        Vec::new()
    }

    /// The row that is selected, or the first one on show.
    fn row(&self) -> usize {
        0
    }

    /// Go to a row.
    fn go_to_row(&mut self, _row: usize, _context: &mut Context<'_>) {}

    /// Whether something in it moves by itself.
    fn is_moving(&self) -> bool {
        false
    }

    /// The text at the left of the bottom line, before the keys, in at most `_columns` columns.
    fn prompt(&self, _canvas: &Canvas<'_>, _columns: usize) -> Option<Line<'static>> {
        None
    }

    /// Draw it over the panes, which are in `area`.
    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect);
}
