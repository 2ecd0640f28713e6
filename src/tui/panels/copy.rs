//! What can be copied of what is selected: a letter for each, or the cursor.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::clipboard;
use crate::tui::context::{Context, Hit};
use crate::tui::glyphs;
use crate::tui::scroll::ListCursor;
use crate::tui::takeaway::{self, What};
use crate::tui::text;
use t2m_checkpoint::escape::quoted;

/// Columns with the border, at most.
const WIDTH: u16 = 100;
/// Columns of the names.
const NAMES: usize = 16;

/// The cursor, and what there is to copy.
#[derive(Debug, Clone, Default)]
pub struct Copy {
    cursor: ListCursor,
    texts: Vec<(What, Result<String, String>)>,
}

impl Copy {
    fn take(&self, what: What, context: &mut Context<'_>) -> Then {
        match self.texts.iter().find(|(known, _)| *known == what) {
            Some((_, Ok(text))) => copy(text, what.name(), context),
            Some((_, Err(reason))) => context.say(reason),
            None => {}
        }
        Then::Close
    }
}

/// Copy a text, and say which.
pub(in crate::tui) fn copy(text: &str, what: &str, context: &mut Context<'_>) {
    if text.len() > clipboard::MOST {
        let (size, most) = (text::bytes(text.len() as u64), text::bytes(clipboard::MOST as u64));
        return context.say(&format!("the {what} is {size}, more than a terminal copies ({most})"));
    }
    let first = text.lines().find(|line| !line.starts_with('#') && !line.is_empty()).unwrap_or("nothing");
    let lines = match text.lines().count() {
        0 | 1 => String::new(),
        lines => format!(" ({lines} lines)"),
    };
    context.say(&format!("copied the {what}{lines}: {first}"));
    context.effects.push(Effect::Copy(text.to_owned()));
}

impl Panel for Copy {
    fn open(&mut self, context: &mut Context<'_>) {
        self.cursor = ListCursor::default();
        self.texts = What::ALL.map(|what| (what, takeaway::text(context.view, context.trials, what))).to_vec();
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Dismiss => return Then::Close,
            Command::Copy(what) => return self.take(what, context),
            Command::Accept => match self.texts.get(self.cursor.row).map(|(what, _)| *what) {
                Some(what) => return self.take(what, context),
                None => return Then::Close,
            },
            _ => self.cursor.command_round(command, self.texts.len(), context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        match context.hit(at) {
            Hit::Row(row) => match self.texts.get(row) {
                Some((what, _)) => self.take(*what, context),
                None => Then::Stay,
            },
            Hit::Inside => Then::Stay,
            Hit::Beside => Then::Close,
        }
    }

    fn wheel(&mut self, _at: Position, rows: i32, _context: &mut Context<'_>) {
        self.cursor.wheel(rows, self.texts.len());
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let inner = canvas.popup(area, (WIDTH, self.texts.len() as u16 + 2), "Copy");
        let keys: Vec<(What, String)> = canvas
            .keymap
            .of(Some(super::Name::Copy))
            .filter_map(|binding| {
                let Command::Copy(what) = binding.command else { return None };
                Some((what, binding.keys.first()?.clone()))
            })
            .collect();
        let columns = usize::from(inner.width);
        for (index, ((what, text), y)) in self.texts.iter().zip(inner.top()..inner.bottom()).enumerate() {
            let chosen = index == self.cursor.row;
            let key = keys.iter().find(|(of, _)| of == what).map_or("", |(_, key)| key.as_str());
            let room = columns.saturating_sub(NAMES + 5);
            let (words, style) = match text {
                Ok(text) => {
                    let line = text
                        .lines()
                        .find(|line| !line.starts_with('#') && !line.starts_with("import") && !line.is_empty());
                    (line.unwrap_or("").to_owned(), theme.text())
                }
                Err(reason) => (reason.clone(), theme.faint()),
            };
            let line = Line::from(vec![
                Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
                Span::styled(format!("{key:<3}"), theme.key()),
                Span::styled(text::pad(what.name(), NAMES), theme.muted()),
                Span::styled(text::clip(&quoted(&words), room), style),
            ]);
            text::put(canvas.buffer, inner.x, y, columns, &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        canvas.areas.panel = Some(Rows { area: inner, top: 0, count: self.texts.len() });
    }
}
