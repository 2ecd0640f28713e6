//! The filter: a line in which its language is typed, what may come next below it, and ticks that write terms of their own. What is
//! typed holds at once, as far as it can be read.

use std::ops::Range;

use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::compare::Verdict;
use crate::filter::complete::{Candidate, Completion, Values};
use crate::filter::{self, Tick};
use crate::triage::Status;
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::field::Field;
use crate::tui::glyphs;
use crate::tui::panes::View;
use crate::tui::scroll::{distance, moved};
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{escape, quoted};

/// The statuses, and "measured badly".
const TICKS: usize = Status::ALL.len() + 1;
/// Rows of what may come next, at most and where there is little room.
const NEXT: (usize, usize) = (7, 2);
/// The line, what is wrong with it, a blank, the border.
const AROUND: usize = 5;
/// Columns with the border.
const WIDTH: u16 = 74;
/// Columns of what may come next, before what it asks.
const CANDIDATE: usize = 24;

/// What is typed, and what the list below shows. The filter itself is part of the tree's state.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    line: Field,
    /// What is wrong with it.
    wrong: Option<filter::Error>,
    /// What occurs in the model.
    values: Values,
    next: Completion,
    /// How many modules each tick would let through with what else is asked, in the order of the ticks.
    counts: Vec<usize>,
    /// The row of the list: what may come next, then the ticks. `None`: the line is typed in.
    row: Option<usize>,
}

impl Filter {
    /// What is typed is read, and holds where it can be read.
    fn edited(&mut self, view: &mut View) {
        match filter::Filter::parse(&self.line.text) {
            Ok(filter) => {
                self.wrong = None;
                if filter != view.tree.filter {
                    view.set_filter(filter);
                }
                self.count(view);
            }
            Err(error) => self.wrong = Some(error),
        }
        self.next = self.values.complete(&self.line.text, self.line.cursor);
    }

    fn count(&mut self, view: &View) {
        self.counts = vec![0; TICKS];
        let facts = view.facts();
        let statuses = view.tree.filter.without(Tick::Status(Status::Direct)).wanted(&facts);
        let bad = view.tree.filter.without(Tick::Bad).wanted(&facts);
        for (id, (in_status, in_bad)) in statuses.into_iter().zip(bad).enumerate() {
            let status = view.document.triage(id).map(|triaged| triaged.status);
            for (tick, count) in Tick::all().zip(&mut self.counts) {
                let has = match tick {
                    Tick::Status(asked) => in_status && status == Some(asked),
                    Tick::Bad => in_bad && view.measured.is_bad(id),
                };
                *count += usize::from(has);
            }
        }
    }

    /// Write another filter into the line.
    fn write(&mut self, view: &mut View, change: impl FnOnce(&mut filter::Filter)) {
        let mut filter = view.tree.filter.clone();
        change(&mut filter);
        self.line = line_of(&filter);
        self.edited(view);
    }

    fn toggle(&mut self, view: &mut View, tick: usize) {
        if let Some(tick) = Tick::all().nth(tick) {
            let before = self.next.candidates.len();
            self.write(view, |filter| filter.toggle(tick));
            // The ticks begin behind what may come next, which is less or more now.
            self.row = self.row.map(|row| (row + self.next.candidates.len()).saturating_sub(before));
        }
    }

    /// Let something that may come next take the place of what is typed of it.
    fn take(&mut self, view: &mut View, at: usize) {
        let Some(Candidate { text, .. }) = self.next.candidates.get(at).cloned() else { return };
        let letters: Vec<char> = self.line.text.chars().collect();
        let before: String = letters.iter().take(self.next.from).collect();
        let behind: String = letters.iter().skip(self.line.cursor).collect();
        // Behind a value the next term may begin; a key waits for its value.
        let ends = text.ends_with([':', '>']) || !behind.is_empty();
        let before = format!("{before}{text}{}", if ends { "" } else { " " });
        self.line = Field { cursor: before.chars().count(), text: before + &behind };
        self.row = None;
        self.edited(view);
    }

    /// What the selected row of the list is for.
    fn act(&mut self, view: &mut View, row: usize) {
        match row.checked_sub(self.next.candidates.len()) {
            Some(tick) => self.toggle(view, tick),
            None => self.take(view, row),
        }
    }

    fn rows(&self) -> usize {
        self.next.candidates.len() + TICKS
    }

    /// Move through the list; above its first row is the line.
    fn step(&mut self, command: Command, page: usize) {
        let Some(by) = distance(command, page) else { return };
        self.row = match (self.row, command) {
            (None, Command::Up | Command::PageUp | Command::HalfUp) => Some(self.rows() - 1),
            (None, _) => Some(0),
            (Some(0), Command::Up) => None,
            (Some(row), Command::Down) if row + 1 >= self.rows() => None,
            (Some(row), _) => Some(moved(row, by, self.rows() - 1)),
        };
    }

    /// Which of what may come next are on show, in so many rows.
    fn window(&self, rows: usize) -> Range<usize> {
        let count = self.next.candidates.len();
        let at = self.row.filter(|row| *row < count).unwrap_or(0);
        let top = (at + 1).saturating_sub(rows).min(count.saturating_sub(rows));
        top..(top + rows).min(count)
    }
}

/// The line that says it, ready for the next term.
fn line_of(filter: &filter::Filter) -> Field {
    let text = filter.to_string();
    Field::of(&if text.is_empty() { text } else { format!("{text} ") })
}

impl Panel for Filter {
    fn open(&mut self, context: &mut Context<'_>) {
        let view = &mut *context.view;
        self.values = Values::of(&view.facts());
        self.line = line_of(&view.tree.filter);
        self.row = None;
        self.edited(view);
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        let page = context.rows().map_or(1, Rows::page);
        let view = &mut *context.view;
        match (command, self.row) {
            (Command::Toggle, Some(row)) => self.act(view, row),
            (Command::Complete, row) => self.take(view, row.unwrap_or(0)),
            (Command::Accept, Some(row)) if row < self.next.candidates.len() => self.take(view, row),
            (Command::Accept, _) if self.wrong.is_some() => self.row = None,
            (Command::Accept | Command::Dismiss, _) => return Then::Close,
            (Command::Clear | Command::EraseAll, _) | (Command::Erase, Some(_)) => {
                self.write(view, |filter| *filter = filter::Filter::default());
                self.row = self.row.map(|_| self.next.candidates.len());
            }
            (Command::Erase, None) => {
                self.line.erase();
                self.edited(view);
            }
            (Command::Left | Command::Right | Command::Top | Command::Bottom, None) => {
                self.line.go(command);
                self.next = self.values.complete(&self.line.text, self.line.cursor);
            }
            _ => self.step(command, page),
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        self.row.is_none()
    }

    fn text(&mut self, text: &str, context: &mut Context<'_>) {
        self.row = None;
        self.line.insert(text);
        self.edited(context.view);
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        let Some(rows) = context.rows().filter(|rows| rows.area.contains(at)) else { return Then::Close };
        let Some(row) = rows.at(at) else { return Then::Stay };
        let shown = self.window(rows.count.saturating_sub(TICKS));
        let row = if row < shown.len() { shown.start + row } else { row - shown.len() + self.next.candidates.len() };
        self.row = Some(row);
        self.act(context.view, row);
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.step(if rows > 0 { Command::Down } else { Command::Up }, context.rows().map_or(1, Rows::page));
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let room = usize::from(area.height).saturating_sub(AROUND + TICKS);
        let most = room.clamp(NEXT.1, NEXT.0);
        let shown = self.window(most.min(self.next.candidates.len()));
        let view = canvas.view;
        let (wanted, all) = (view.tree.wanted(&view.document), view.document.len());
        let height = (AROUND + most + TICKS) as u16;
        let inner = canvas.popup(area, (WIDTH, height), &format!("Show only · {wanted} of {all}"));
        let columns = usize::from(inner.width);
        let (line, wrong) = self.typed(theme, columns);
        text::put(canvas.buffer, inner.x, inner.y, columns, &line);
        if inner.height > 1 {
            text::put(canvas.buffer, inner.x, inner.y + 1, columns, &wrong);
        }
        let list = Rect { y: inner.y + 2, height: inner.height.saturating_sub(2), ..inner };
        let list = list.intersection(inner);
        let next = shown.clone().filter_map(|at| Some((at, self.next(theme, at, columns)?)));
        let ticks =
            Tick::all().enumerate().map(|(at, tick)| (self.next.candidates.len() + at, self.tick(canvas, at, tick)));
        let lines: Vec<(usize, Line)> = next.chain(ticks).collect();
        // Where there is no room for all of them, the list moves with the cursor.
        let cursor = lines.iter().position(|(row, _)| Some(*row) == self.row).unwrap_or(0);
        let skipped = (cursor + 1).saturating_sub(usize::from(list.height));
        for ((row, line), y) in lines.iter().skip(skipped).zip(list.top()..list.bottom()) {
            text::put(canvas.buffer, list.x, y, columns, line);
            if Some(*row) == self.row {
                canvas.overlay(Rect { y, height: 1, ..list }, theme.selection(true));
            }
        }
        canvas.areas.panel = Some(Rows { area: list, top: skipped, count: lines.len() });
    }
}

impl Filter {
    /// The line with its cursor, and what is wrong with it, below its place.
    fn typed(&self, theme: &Theme, columns: usize) -> (Line<'static>, Line<'static>) {
        let room = columns.saturating_sub(3);
        let start = (self.line.cursor + 1).saturating_sub(room);
        let letters: Vec<char> = self.line.text.chars().collect();
        let wrong = self.wrong.as_ref();
        let mut spans =
            vec![Span::styled(if self.row.is_none() { glyphs::MARK } else { ' ' }.to_string(), theme.mark())];
        for at in start..(start + room).min(letters.len() + 1) {
            let letter = letters.get(at).map_or(' '.to_string(), |letter| escape(&letter.to_string()).into_owned());
            let here = wrong.is_some_and(|error| !error.open && error.at.contains(&at));
            let mut style = if here { theme.notice().add_modifier(Modifier::UNDERLINED) } else { theme.text() };
            if at == self.line.cursor && self.row.is_none() {
                style = style.add_modifier(Modifier::REVERSED);
            }
            spans.push(Span::styled(letter, style));
        }
        if letters.is_empty() {
            spans.push(Span::styled(" class:Conv2d params>1M -verdict:ok attn", theme.faint()));
        }
        let line = Line::from(spans);
        let Some(error) = wrong else { return (line, Line::default()) };
        let style = if error.open { theme.muted() } else { theme.notice() };
        let words = text::clip(&error.message, columns.saturating_sub(3));
        let at = 1 + error.at.start.saturating_sub(start).min(room);
        // The words stand behind the sign, or before it where there is no room behind.
        let width = text::width(&words);
        let message = match columns.checked_sub(at + 2 + width) {
            Some(_) => format!("{}^ {words}", " ".repeat(at)),
            None if width + 2 <= at => format!("{}{words} ^", " ".repeat(at - width - 1)),
            None => format!(" {words}"),
        };
        (line, Line::styled(message, style))
    }

    /// A row of what may come next.
    fn next(&self, theme: &Theme, at: usize, columns: usize) -> Option<Line<'static>> {
        let candidate = self.next.candidates.get(at)?;
        let text = text::clip(&quoted(&candidate.text), CANDIDATE - 1);
        let pad = " ".repeat(CANDIDATE.saturating_sub(text::width(&text)));
        let about = match candidate.count {
            Some(count) => format!("{count:>8}"),
            None => text::clip(&candidate.help.replace('`', ""), columns.saturating_sub(CANDIDATE + 3)),
        };
        Some(Line::from(vec![
            Span::styled(if Some(at) == self.row { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
            Span::styled(format!(" {text}{pad}"), theme.key()),
            Span::styled(about, theme.muted()),
        ]))
    }

    /// A row that can be ticked.
    fn tick(&self, canvas: &Canvas<'_>, at: usize, tick: Tick) -> Line<'static> {
        let theme = canvas.theme;
        let ticked = canvas.view.tree.filter.is_ticked(tick);
        let (sign, word, style): (char, &str, Style) = match tick {
            Tick::Status(status) => (glyphs::status(status), status.name(), theme.status(status)),
            Tick::Bad => (glyphs::verdict(Verdict::Broken), "measured badly", theme.verdict(Verdict::Broken)),
        };
        let chosen = self.row == Some(self.next.candidates.len() + at);
        let count = self.counts.get(at).copied().unwrap_or(0);
        Line::from(vec![
            Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
            Span::styled(if ticked { "[x] " } else { "[ ] " }, if ticked { theme.key() } else { theme.muted() }),
            Span::styled(format!("{sign} {word:<17}"), style),
            Span::styled(format!("{count:>9}"), theme.muted()),
        ])
    }
}
