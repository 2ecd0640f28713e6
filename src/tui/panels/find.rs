//! The search: the user types at the bottom, and the tree goes to the best match. It is kept after its line is closed, for the keys
//! that go to the next match. It looks within what the filter shows, and leaves the filter as it is.

use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::fuzzy::{Fit, Matcher, Words, in_parts};
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
    /// What it says.
    pub words: Words,
    /// What matches.
    pub found: Found,
    /// The tree as it was before the search.
    pub before: tree::Tree,
    /// How often the filter had been applied when it was looked.
    within: usize,
}

/// What a search finds.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// What matches, in the order of the tree.
    pub matches: Vec<ModuleId>,
    /// The points of each, the more the better.
    points: Vec<u32>,
    /// These and what longer words may still match: `None` before anything was looked for.
    candidates: Option<Vec<ModuleId>>,
}

impl Find {
    /// What matches, in order.
    pub fn matches(&self) -> &[ModuleId] {
        self.search.as_ref().map_or(&[], |search| &search.found.matches)
    }

    /// What is looked for, where something matches.
    pub fn words(&self) -> Option<&Words> {
        self.search.as_ref().filter(|search| !search.found.matches.is_empty()).map(|search| &search.words)
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
        let before = view.tree.clone();
        let words = Words::of(text);
        let found = Found::default().next(&view.document, &before, &Words::default(), &words);
        if !found.matches.is_empty() {
            let within = before.filtered();
            self.search = Some(Search { text: text.to_owned(), words, found, before, within });
        }
    }

    /// Where the filter wants other modules than when it was looked, look again within them.
    pub fn follow(&mut self, view: &View) {
        if let Some(search) = self.search.as_mut().filter(|search| search.within != view.tree.filtered()) {
            search.within = view.tree.filtered();
            search.found = Found::default().next(&view.document, &view.tree, &Words::default(), &search.words);
        }
    }

    /// Go to the next match, or to the one before, in the order of the rows.
    pub fn step(&self, view: &mut View, forward: bool) {
        if let Some(target) = view.tree.next_of(self.matches(), forward) {
            view.tree.reveal(&view.document, target);
        }
    }

    /// `/conv  3 of 12`: the text, and the selection's index among the matches.
    pub fn place(&self, tree: &tree::Tree) -> Option<String> {
        let search = self.search.as_ref()?;
        let at = tree.place_among(&search.found.matches).map_or("-".to_owned(), |at| (at + 1).to_string());
        Some(format!("/{}  {at} of {}", escape(&search.text), search.found.matches.len()))
    }

    /// Change what is searched for, and go to the best match.
    fn edit(&mut self, view: &mut View, edit: impl FnOnce(&mut String)) {
        let Some(search) = &mut self.search else { return };
        edit(&mut search.text);
        let words = Words::of(&search.text);
        search.found = search.found.next(&view.document, &search.before, &search.words, &words);
        search.words = words;
        let target = search.found.best(&view.document, search.before.selected);
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

impl Found {
    /// What these words match, where `before` were the ones so far.
    pub fn next(&self, document: &Document, tree: &tree::Tree, before: &Words, words: &Words) -> Found {
        if words.is_empty() {
            return Found::default();
        }
        let narrowed = self.candidates.as_ref().filter(|_| words.narrows(before));
        let count = narrowed.map_or(document.len(), Vec::len);
        let fits = in_parts(count, |range| {
            let mut matcher = Matcher::default();
            let id = |at: usize| narrowed.map_or(Some(at), |ids| ids.get(at).copied());
            let ids = range.filter_map(id).filter(|id| narrowed.is_some() || tree.wants(*id));
            let fit = |id: ModuleId| {
                let module = document.module(id)?;
                Some((id, words.fit(&[&module.path, module.short_class()], &mut matcher)?))
            };
            ids.filter_map(fit).collect()
        });
        let mut found = Found { candidates: Some(fits.iter().map(|(id, _)| *id).collect()), ..Found::default() };
        for (id, fit) in fits {
            if let Fit::Close(points) = fit {
                found.matches.push(id);
                found.points.push(points);
            }
        }
        found
    }

    /// The best match: of those with the most points the one with the shortest path, and of these the next from `start` on.
    pub fn best(&self, document: &Document, start: ModuleId) -> Option<ModuleId> {
        let length = |id: ModuleId| document.module(id).map_or(0, |module| module.path.len());
        let scored = self.matches.iter().zip(&self.points);
        let rank = |(points, id): (u32, ModuleId)| (std::cmp::Reverse(points), length(id), id < start, id);
        scored.map(|(id, points)| (*points, *id)).min_by_key(|found| rank(*found)).map(|(_, id)| id)
    }
}

impl Panel for Find {
    fn open(&mut self, context: &mut Context<'_>) {
        let before = context.view.tree.clone();
        let (words, found, within) = (Words::default(), Found::default(), before.filtered());
        self.search = Some(Search { text: String::new(), words, found, before, within });
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
        let within = if canvas.view.tree.filter.is_empty() { "" } else { " within the filter" };
        let count = match search.found.matches.len() {
            _ if words.trim().is_empty() => within.replacen(' ', "  ", 1),
            0 => format!("  no match{within}"),
            1 => format!("  1 match{within}"),
            count => format!("  {count} matches{within}"),
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

/// Modules that match in path or class, without a filter.
pub fn matches(document: &Document, text: &str) -> Vec<ModuleId> {
    Found::default().next(document, &tree::Tree::default(), &Words::default(), &Words::of(text)).matches
}
