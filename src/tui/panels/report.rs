//! A report for colleagues: asks where it goes, and before it replaces a file.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Name, Panel, Then};
use crate::report::page::Record;
use crate::session::Time;
use crate::tui::action::{Command, Effect};
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::field::Field;
use crate::tui::glyphs;
use crate::tui::reporting::{Order, Refused};
use crate::tui::text;
use t2m_checkpoint::escape::sentence;

/// Columns with the border, at most.
const WIDTH: u16 = 92;
/// What stands before the path.
const PROMPT: &str = " file  ";
const WHAT: &str = "What is known and was measured of this file, for colleagues without the program. The end of the name says \
    what it is: .html (one page that needs no network), .md or .json.";
const NOTHING: &str = "Nothing was measured so far: the report says what is known without it.";

/// Where it goes, and how it went.
#[derive(Debug, Clone, Default)]
pub struct Report {
    path: Field,
    writing: bool,
    /// The path that has a file, which may be replaced if the user says so again.
    there: Option<String>,
    /// What went wrong.
    wrong: Option<String>,
}

impl Report {
    /// It is written, or is not: what to say, and whether the panel is done.
    pub fn hear(&mut self, written: Result<String, Refused>) -> Option<String> {
        self.writing = false;
        match written {
            Ok(words) => return Some(words),
            Err(Refused::Exists) => self.there = Some(self.path.text.clone()),
            Err(Refused::Wrong(words)) => self.wrong = Some(words),
        }
        None
    }

    fn accept(&mut self, context: &mut Context<'_>) {
        let path = self.path.text.trim().to_owned();
        let Some(opened) = context.view.document.opened.clone() else {
            self.wrong = Some("there is no file behind this screen".to_owned());
            return;
        };
        let force = self.there.as_ref() == Some(&self.path.text);
        let (results, work) = (context.view.measured.clone(), &context.view.work);
        let notes = work.noted().map(|(about, note)| (about.clone(), note.clone())).collect();
        let record = Record { opened, results, notes, graph: work.graph.clone(), written: Time::now() };
        self.wrong = None;
        self.writing = true;
        context.effects.push(Effect::Report(Box::new(Order { path: path.into(), force, record })));
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Field)) {
        if !self.writing {
            let before = self.path.text.clone();
            edit(&mut self.path);
            // What is asked, or wrong, stays so while the cursor moves.
            if self.path.text != before {
                (self.wrong, self.there) = (None, None);
            }
        }
    }
}

impl Panel for Report {
    fn open(&mut self, context: &mut Context<'_>) {
        if self.writing {
            return;
        }
        let name = &context.view.document.name;
        let stem = std::path::Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        *self = Report { path: Field::of(&format!("{stem}.report.html")), ..Report::default() };
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Dismiss => return Then::Close,
            Command::Accept if !self.writing => self.accept(context),
            _ => self.edit(|field| {
                field.command(command);
            }),
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn text(&mut self, text: &str, _context: &mut Context<'_>) {
        self.edit(|field| field.insert(text));
    }

    /// A click elsewhere must not lose what was typed.
    fn click(&mut self, _at: Position, _context: &mut Context<'_>) -> Then {
        Then::Stay
    }

    fn is_moving(&self) -> bool {
        self.writing
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let say = |words: &str, style| {
            let rows = text::wrap(&sentence(words), columns);
            rows.into_iter().map(move |row| Line::styled(format!(" {row}"), style)).collect::<Vec<_>>()
        };
        let mut lines = say(WHAT, theme.text());
        if canvas.view.measured.total().finished() == 0 {
            lines.extend(say(NOTHING, theme.muted()));
        }
        lines.push(Line::default());
        let mut field = vec![Span::styled(PROMPT, theme.muted())];
        field.extend(self.path.spans(theme, columns.saturating_sub(PROMPT.len()), !self.writing));
        lines.push(Line::from(field));
        if self.writing {
            lines.push(Line::styled(format!(" {} it is written", canvas.spinner()), theme.key()));
        } else if self.there.is_some() {
            let replaces = canvas.keymap.key(Some(Name::Report), Command::Accept);
            let words = format!("{} It is there already: {replaces} replaces it, or type another name.", glyphs::FLAG);
            lines.extend(say(&words, theme.notice()));
        } else if let Some(wrong) = &self.wrong {
            lines.extend(say(wrong, theme.notice()));
        }
        let inner = canvas.popup(area, (width, lines.len() as u16 + 2), "Report");
        text::put_lines(canvas.buffer, inner, &lines);
    }
}
