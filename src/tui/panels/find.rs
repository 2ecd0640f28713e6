//! The search: the user types at the bottom, and the tree goes to the first match. It is kept after its line is closed,
//! for the keys that go to the next match.

use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::model::ModuleId;
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::document::Document;
use crate::tui::panes::{self, View, tree};
use crate::tui::text;
use t2m_checkpoint::escape::{escape, sentence};

/// The search, while it is typed and after.
#[derive(Debug, Clone, Default)]
pub struct Find {
    /// The search, once there is one.
    pub search: Option<Search>,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Search {
    /// The text.
    pub text: String,
    /// What matches, in order.
    pub matches: Vec<ModuleId>,
    /// The tree as it was before the search.
    pub before: tree::Tree,
}

impl Find {
    /// What matches, in order.
    pub fn matches(&self) -> &[ModuleId] {
        self.search.as_ref().map_or(&[], |search| &search.matches)
    }

    /// Forget it.
    pub fn forget(&mut self) {
        self.search = None;
    }

    /// The search that is kept, as text.
    pub fn text(&self) -> &str {
        self.search.as_ref().map_or("", |search| &search.text)
    }

    /// Take up a search that was kept. The tree stays where it is.
    pub fn resume(&mut self, view: &View, text: &str) {
        let matches = matches(&view.document, text);
        if !matches.is_empty() {
            self.search = Some(Search { text: text.to_owned(), matches, before: view.tree.clone() });
        }
    }

    /// Go to the next match, or to the one before.
    pub fn step(&self, view: &mut View, forward: bool) {
        let (matches, here) = (self.matches(), view.tree.selected);
        let target = if forward {
            matches.iter().find(|&&id| id > here).or(matches.first())
        } else {
            matches.iter().rev().find(|&&id| id < here).or(matches.last())
        };
        if let Some(&target) = target {
            view.tree.reveal(&view.document, target);
        }
    }

    /// `/conv  3 of 12`: the text, and the selection's index among the matches.
    pub fn place(&self, selected: ModuleId) -> Option<String> {
        let search = self.search.as_ref()?;
        let at = search.matches.binary_search(&selected).map_or("-".to_owned(), |at| (at + 1).to_string());
        Some(format!("/{}  {at} of {}", escape(&search.text), search.matches.len()))
    }

    /// Change what is searched for, and go to the first match from where the search began.
    fn edit(&mut self, view: &mut View, edit: impl FnOnce(&mut String)) {
        let Some(search) = &mut self.search else { return };
        edit(&mut search.text);
        search.matches = matches(&view.document, &search.text);
        let start = search.before.selected;
        let target = search.matches.iter().find(|&&id| id >= start).or(search.matches.first()).copied();
        view.tree = search.before.clone();
        if let Some(target) = target {
            view.tree.reveal(&view.document, target);
        }
    }

    /// Keep it, unless nothing matches.
    fn accept(&mut self) -> Then {
        if self.matches().is_empty() {
            self.forget();
        }
        Then::Close
    }
}

impl Panel for Find {
    fn open(&mut self, context: &mut Context<'_>) {
        self.search = Some(Search { text: String::new(), matches: Vec::new(), before: context.view.tree.clone() });
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.accept(),
            Command::Dismiss => {
                if let Some(search) = self.search.take() {
                    context.view.tree = search.before;
                }
                return Then::Close;
            }
            Command::Erase => self.edit(context.view, |text| {
                text.pop();
            }),
            Command::EraseAll => self.edit(context.view, String::clear),
            Command::FindNext => self.step(context.view, true),
            Command::FindPrevious => self.step(context.view, false),
            _ => {}
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str, context: &mut Context<'_>) {
        self.edit(context.view, |words| words.extend(text.chars().filter(|character| !character.is_control())));
    }

    /// The panes are still in view: a click keeps the search and goes to them.
    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        panes::click(at, context);
        self.accept()
    }

    fn wheel(&mut self, at: Position, rows: i32, context: &mut Context<'_>) {
        panes::wheel(at, rows, context);
    }

    /// The text with a cursor, and how many modules match.
    fn prompt(&self, canvas: &Canvas<'_>, columns: usize) -> Option<Line<'static>> {
        let search = self.search.as_ref()?;
        let words = sentence(&search.text);
        // Of a long text the end is shown, where the user types.
        let hidden = text::width(&words).saturating_sub(columns.max(8));
        let shown: String = words.chars().skip(hidden).collect();
        let count = match search.matches.len() {
            _ if words.trim().is_empty() => String::new(),
            0 => "  no match".to_owned(),
            1 => "  1 match".to_owned(),
            count => format!("  {count} matches"),
        };
        let theme = canvas.theme;
        Some(Line::from(vec![
            Span::styled("/", theme.key()),
            Span::styled(shown, theme.text()),
            Span::styled(" ", theme.text().add_modifier(Modifier::REVERSED)),
            Span::styled(count, theme.muted()),
        ]))
    }

    /// Nothing: the search shows in the bottom line and in the tree.
    fn draw(&self, _canvas: &mut Canvas<'_>, _area: Rect) {}
}

/// Modules that match: each word occurs in the path or the class. Case counts only for words with an upper-case letter.
pub fn matches(document: &Document, text: &str) -> Vec<ModuleId> {
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

/// Whether `text` contains `word`; case counts where the word has an upper-case letter.
fn contains(text: &str, word: &str) -> bool {
    if word.chars().any(char::is_uppercase) {
        text.contains(word)
    } else {
        word.is_empty() || text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    }
}
