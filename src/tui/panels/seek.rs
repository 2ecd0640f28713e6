//! Finding within a panel's rows: `/` asks for letters, the rows that have them are marked, `n` and `N` go on. A panel has it by
//! [`Panel::seek`], [`Panel::row_names`], [`Panel::row`] and [`Panel::go_to_row`], and draws it by [`Seek::mark`].

use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{Name, Panel};
use crate::fuzzy::{Hits, Matcher, Words};
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use t2m_checkpoint::escape::{escape, sentence};

/// What is looked for in a panel, while it is typed and after.
#[derive(Debug, Clone, Default)]
pub struct Seek {
    /// What is typed.
    pub text: String,
    /// Whether it is typed now.
    pub is_typing: bool,
    words: Words,
    /// The rows that match.
    found: Hits,
    /// The row where it began.
    began: usize,
}

impl Seek {
    /// `/conv  3 of 12`: where a row is among the matches.
    pub fn place(&self, row: usize) -> Option<String> {
        if self.text.is_empty() || self.is_typing {
            return None;
        }
        let at = self.found.hits.binary_search(&row).map_or("-".to_owned(), |at| (at + 1).to_string());
        Some(format!("/{}  {at} of {}", escape(&self.text), self.found.hits.len()))
    }

    /// The line that is typed, with its cursor and the number of matches.
    pub fn prompt(&self, canvas: &Canvas<'_>, columns: usize) -> Option<Line<'static>> {
        if !self.is_typing {
            return None;
        }
        let words = sentence(&self.text);
        let hidden = words.chars().count().saturating_sub(columns.max(8));
        let count = match self.found.hits.len() {
            _ if self.words.is_empty() => String::new(),
            0 => "  no match".to_owned(),
            1 => "  1 match".to_owned(),
            count => format!("  {count} matches"),
        };
        let theme = canvas.theme;
        Some(Line::from(vec![
            Span::styled("/", theme.key()),
            Span::styled(words.chars().skip(hidden).collect::<String>(), theme.text()),
            Span::styled(" ", theme.text().add_modifier(Modifier::REVERSED)),
            Span::styled(count, theme.muted()),
        ]))
    }

    /// Mark the letters of a row that match, where it is drawn.
    pub fn mark(&self, canvas: &mut Canvas<'_>, strip: Rect, row: usize) {
        if self.words.is_empty() || self.found.hits.binary_search(&row).is_err() {
            return;
        }
        let strip = strip.intersection(canvas.buffer.area);
        let cell = |x: u16| canvas.buffer.cell((x, strip.y)).and_then(|cell| cell.symbol().chars().next());
        let letters: Vec<(u16, char)> = (strip.left()..strip.right()).filter_map(|x| Some((x, cell(x)?))).collect();
        let drawn: String = letters.iter().map(|(_, letter)| letter).collect();
        let style = canvas.theme.found().add_modifier(Modifier::BOLD);
        for at in self.words.places(&[&drawn], &mut Matcher::default()).into_iter().flatten() {
            if let Some((x, _)) = letters.get(at as usize) {
                canvas.overlay(Rect::new(*x, strip.y, 1, 1), style);
            }
        }
    }

    /// Change what is looked for among these rows; returns the first match from where the search began, going round.
    fn edit(&mut self, rows: &[Names<'_>], edit: impl FnOnce(&mut String)) -> Option<usize> {
        edit(&mut self.text);
        let words = Words::of(&self.text);
        let narrowed = words.narrows(&self.words).then_some(&self.found);
        self.found = words.among(rows.len(), narrowed, |row| rows.get(row).copied());
        self.words = words;
        self.found.hits.iter().find(|row| **row >= self.began).or(self.found.hits.first()).copied()
    }

    /// The next match behind a row, or the one before it, going round at the ends.
    fn next(&self, row: usize, forward: bool) -> Option<usize> {
        let next = match forward {
            true => self.found.hits.iter().find(|hit| **hit > row).or(self.found.hits.first()),
            false => self.found.hits.iter().rev().find(|hit| **hit < row).or(self.found.hits.last()),
        };
        next.copied()
    }
}

/// What a row is found by.
pub type Names<'a> = [&'a str; 3];

/// A key that is the search's, in a panel that has one. Returns whether it was.
pub(super) fn command(panel: &mut dyn Panel, command: Command, context: &mut Context<'_>) -> bool {
    let here = panel.row();
    let Some(seek) = panel.seek_mut() else { return false };
    let target = match (command, seek.is_typing) {
        (Command::Open(Name::Find), false) => {
            *seek = Seek { is_typing: true, began: here, ..Seek::default() };
            None
        }
        (Command::Accept, true) => {
            seek.is_typing = false;
            if seek.found.hits.is_empty() {
                *seek = Seek::default();
            }
            None
        }
        (Command::Dismiss, true) => Some(std::mem::take(seek).began),
        (Command::Erase, true) => edit(panel, context, |text| {
            text.pop();
        }),
        (Command::EraseAll, true) => edit(panel, context, String::clear),
        (Command::FindNext | Command::FindPrevious, _) => seek.next(here, command == Command::FindNext),
        (_, true) => None,
        _ => return false,
    };
    if let Some(row) = target {
        panel.go_to_row(row, context);
    }
    true
}

/// Text that is typed into the search of a panel. Returns whether there is one that awaits it.
pub(super) fn text(panel: &mut dyn Panel, typed: &str, context: &mut Context<'_>) -> bool {
    if !panel.seek().is_some_and(|seek| seek.is_typing) {
        return false;
    }
    let plain = typed.chars().filter(|character| !character.is_control());
    if let Some(row) = edit(panel, context, |text| text.extend(plain)) {
        panel.go_to_row(row, context);
    }
    true
}

fn edit(panel: &mut dyn Panel, context: &Context<'_>, edit: impl FnOnce(&mut String)) -> Option<usize> {
    let mut seek = std::mem::take(panel.seek_mut()?);
    let target = seek.edit(&panel.row_names(context.view), edit);
    let began = seek.began;
    *panel.seek_mut()? = seek;
    Some(target.unwrap_or(began))
}
