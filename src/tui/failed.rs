//! The screen of a checkpoint that cannot be opened: the message, which scrolls.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::text::{Line, Span};

use super::action::{Command, Effect};
use super::canvas::frame;
use super::text;
use super::theme::Theme;
use crate::exit::Exit;

/// Why nothing is open.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The whole message.
    pub message: String,
    /// First row on show; drawing stops where the last page begins.
    top: usize,
}

impl Failed {
    /// The message from its beginning.
    pub fn new(message: String) -> Failed {
        Failed { message, top: 0 }
    }

    pub(super) fn command(&mut self, command: Command, effects: &mut Vec<Effect>) {
        match command {
            Command::Quit | Command::Dismiss => effects.push(Effect::Quit(Exit::WrongInput)),
            Command::Down => self.top += 1,
            Command::Up => self.top = self.top.saturating_sub(1),
            _ => {}
        }
    }

    pub(super) fn draw(&self, theme: &Theme, area: Rect, buffer: &mut Buffer) {
        let [body, bottom] = Split::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
        let title = Line::from(Span::styled(" It cannot be opened ", theme.title(true)));
        let inner = frame(buffer, body, theme, true, &title);
        // The message is ours but names files: its line ends are kept, everything else is made safe.
        let safe: Vec<_> = self.message.lines().map(t2m_checkpoint::escape::escape).collect();
        let rows = text::wrap(&safe.join("\n"), usize::from(inner.width.saturating_sub(2)));
        let top = self.top.min(rows.len().saturating_sub(usize::from(inner.height)));
        let lines: Vec<Line> = rows.into_iter().skip(top).map(|row| Line::from(format!(" {row}"))).collect();
        text::put_lines(buffer, inner, &lines);
        let keys = Line::from(vec![
            Span::styled(" q", theme.key()),
            Span::styled(" quit   ", theme.muted()),
            Span::styled("j k", theme.key()),
            Span::styled(" scroll", theme.muted()),
        ]);
        text::put(buffer, bottom.x, bottom.y, usize::from(bottom.width), &keys);
    }
}
