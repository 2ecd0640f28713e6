//! The question whether to leave while something runs, is being written, or is kept nowhere.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::exit::Exit;
use crate::tui::action::{Command, Effect};
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::text;
use t2m_checkpoint::escape::sentence;

/// Most columns.
const WIDTH: u16 = 72;

/// What would be lost.
#[derive(Debug, Clone, Default)]
pub struct Leave {
    /// A sentence for each.
    pub lost: Vec<String>,
}

impl Panel for Leave {
    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Yes => context.effects.push(Effect::Quit(Exit::Fine)),
            Command::Dismiss => return Then::Close,
            _ => {}
        }
        Then::Stay
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let columns = usize::from(area.width.min(WIDTH).saturating_sub(4));
        let mut lines = Vec::new();
        let mut say = |words: &str, style: Style| {
            let rows = text::wrap(&sentence(words), columns);
            lines.extend(rows.into_iter().map(|row| Line::styled(format!(" {row}"), style)));
        };
        for words in &self.lost {
            say(words, theme.notice());
        }
        if self.lost.is_empty() {
            say("All of it has ended meanwhile.", theme.text());
        }
        lines.push(Line::default());
        let key = |command| canvas.keymap.keys_of(Some(super::Name::Leave), command).join(" or ");
        lines.push(Line::from(vec![
            Span::styled(format!(" {}", key(Command::Yes)), theme.key()),
            Span::styled(" leaves, ", theme.text()),
            Span::styled(key(Command::Dismiss), theme.key()),
            Span::styled(" stays", theme.text()),
        ]));
        let size = (WIDTH, lines.len() as u16 + 2);
        let inner = canvas.popup(area, size, "Leave?");
        // Of a box that is too low the way out stays.
        let hidden = lines.len().saturating_sub(usize::from(inner.height));
        text::put_lines(canvas.buffer, inner, lines.get(hidden..).unwrap_or_default());
    }
}
