//! What drawing code gets: what to show, and where.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::action::Command;
use super::areas::{Areas, Rows};
use super::glyphs;
use super::keymap::Keymap;
use super::panes::View;
use super::text;
use super::theme::Theme;
use crate::afar::Fetched;
use crate::fuzzy::{Matcher, Words};
use crate::model::ModuleId;

/// One frame over an open checkpoint.
#[derive(Debug)]
pub struct Canvas<'a> {
    /// Colours.
    pub theme: &'a Theme,
    /// Keys.
    pub keymap: &'a Keymap,
    /// Counts the frames of spinners.
    pub tick: usize,
    /// What was fetched of a checkpoint elsewhere.
    pub fetched: Option<Fetched>,
    /// The panes.
    pub view: &'a View,
    /// What the search matches, in order.
    pub found: &'a [ModuleId],
    /// What it looks for, where it matches something.
    pub sought: Option<(&'a Words, Matcher)>,
    /// The cells.
    pub buffer: &'a mut Buffer,
    /// Where things have been drawn so far.
    pub areas: &'a mut Areas,
}

impl Canvas<'_> {
    /// The key of a command of the panes, as keys are shown.
    pub fn key(&self, command: Command) -> Span<'static> {
        Span::styled(self.keymap.key(None, command), self.theme.key())
    }

    /// A cleared box in the middle, no larger than `area`, with a border and a title. Returns what is inside.
    pub fn popup(&mut self, area: Rect, size: (u16, u16), title: &str) -> Rect {
        let (width, height) = (size.0.min(area.width), size.1.min(area.height));
        let x = area.x + (area.width - width) / 2;
        let y = area.y + (area.height - height) / 2;
        let place = Rect::new(x, y, width, height);
        Clear.render(place, self.buffer);
        let title = Line::from(Span::styled(format!(" {title} "), self.theme.title(true)));
        frame(self.buffer, place, self.theme, true, &title)
    }

    /// Note where a panel's rows went, so that keys and mouse find them; say on the border of `inner` how many more come
    /// below.
    pub fn scrolled(&mut self, inner: Rect, rows: Rows) {
        let below = rows.below();
        if below > 0 {
            let words = format!(" {below} more ");
            let x = inner.right().saturating_sub(words.len() as u16 + 1);
            text::put_text(self.buffer, x, inner.bottom(), words.len(), &words, self.theme.notice());
        }
        self.areas.panel = Some(rows);
    }

    /// Lay a style over cells.
    pub fn overlay(&mut self, area: Rect, style: Style) {
        self.buffer.set_style(area.intersection(self.buffer.area), style);
    }

    /// The spinner's current frame.
    pub fn spinner(&self) -> char {
        spinner(self.tick)
    }
}

/// A border with its title; returns what is inside.
pub fn frame(buffer: &mut Buffer, area: Rect, theme: &Theme, focus: bool, title: &Line<'_>) -> Rect {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(theme.border(focus));
    let inner = block.inner(area);
    block.render(area, buffer);
    if area.width > 2 {
        text::put(buffer, area.x + 1, area.y, usize::from(area.width - 2), title);
    }
    inner
}

/// The spinner's frame at a tick.
pub fn spinner(tick: usize) -> char {
    glyphs::SPINNER.get(tick % glyphs::SPINNER.len()).copied().unwrap_or('·')
}
