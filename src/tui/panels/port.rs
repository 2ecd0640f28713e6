//! The work list: the classes whose forwards have to be ported, each once, the longest first. `enter` goes to an instance and its
//! forward.

use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Panel, Then};
use crate::figures::count;
use crate::findings::{ToPort, forwards};
use crate::model::ModuleId;
use crate::session::Mark;
use crate::source::Severity;
use crate::tui::action::Command;
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::glyphs;
use crate::tui::panes::{View, source};
use crate::tui::scroll::{ListCursor, moved};
use crate::tui::text;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 124;
/// Rows about the selected class, below the list.
const WORDS: u16 = 7;
/// Columns of the mark, of the number of modules, of lines, of blockers and of parameters.
const MARKS: usize = 8;
const MODULES: usize = 9;
const LINES: usize = 7;
const FLAGS: usize = 5;
const PARAMETERS: usize = 9;

/// The chosen class, and which of its modules is gone to.
#[derive(Debug, Clone, Default)]
pub struct Port {
    /// The row that the cursor is on.
    pub cursor: ListCursor,
    /// The instance of the chosen class, counted from 0.
    instance: usize,
}

impl Port {
    fn module(&self, row: &ToPort) -> Option<ModuleId> {
        row.modules.get(self.instance).or(row.modules.first()).copied()
    }

    /// Go to the instance and to its forward.
    fn accept(&self, context: &mut Context<'_>) -> Then {
        let module = context.view.document.port.get(self.cursor.row).and_then(|row| self.module(row));
        if let Some(module) = module {
            source::go_to_forward(context.view, module, context.areas.shape);
        }
        Then::Close
    }

    fn step(&mut self, by: i64, context: &Context<'_>) {
        let row = context.view.document.port.get(self.cursor.row);
        self.instance = moved(self.instance, by, row.map_or(0, |row| row.modules.len().saturating_sub(1)));
    }
}

impl Panel for Port {
    fn open(&mut self, context: &mut Context<'_>) {
        let (document, selected) = (&context.view.document, context.view.tree.selected);
        // The class of the selected module, where it is one of them.
        let own = document
            .port
            .iter()
            .enumerate()
            .find_map(|(at, row)| Some((at, row.modules.binary_search(&selected).ok()?)));
        let last = document.port.len().saturating_sub(1);
        (self.cursor.row, self.instance) = own.unwrap_or((self.cursor.row.min(last), 0));
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Accept => return self.accept(context),
            Command::Dismiss => return Then::Close,
            Command::Right => self.step(1, context),
            Command::Left => self.step(-1, context),
            _ => {
                let before = self.cursor.row;
                self.cursor.command(command, context.view.document.port.len(), context.rows());
                self.instance = if self.cursor.row == before { self.instance } else { 0 };
            }
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        let Some(row) = context.rows().and_then(|rows| rows.at(at)) else { return Then::Close };
        if row == self.cursor.row {
            return self.accept(context);
        }
        (self.cursor.row, self.instance) = (row, 0);
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        self.cursor.wheel(rows, context.view.document.port.len());
        self.instance = 0;
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (theme, document) = (canvas.theme, &canvas.view.document);
        let port = &document.port;
        let width = area.width.min(WIDTH);
        let height = (port.len().max(1) as u16).saturating_add(WORDS + 4);
        let forwards = &document.headline.forwards;
        let title = forwards.words().unwrap_or_else(|| forwards::plural(0));
        let title = text::clip(&capitalised(&title), usize::from(width).saturating_sub(6));
        let inner = canvas.popup(area, (width, height), &title);
        let columns = usize::from(inner.width);
        let room = columns.saturating_sub(2);
        if port.is_empty() {
            let words = match forwards.unsaid {
                0 => "Nothing: every module is a layer or a container, which MLX has or a recipe makes.",
                _ => {
                    "Not known: the file does not say the classes of its modules. --source, --python or --model tell them."
                }
            };
            for (row, y) in text::wrap(words, room).into_iter().zip(inner.top()..inner.bottom()) {
                text::put_text(canvas.buffer, inner.x + 1, y, room, &row, theme.muted());
            }
            canvas.areas.panel = Some(Rows { area: inner, top: 0, count: 0 });
            return;
        }
        // The column of marks is there where a class has one.
        let marks = if port.iter().any(|row| mark(canvas.view, row).is_some()) { MARKS } else { 0 };
        let names = ["class", if marks > 0 { "mark" } else { "" }, "modules", "lines", "⚑", "own", "forward at"];
        let heading = Self::cells(columns, marks, names.map(str::to_owned));
        text::put_text(canvas.buffer, inner.x + 2, inner.y, columns, &heading.concat(), theme.muted());
        let rows = inner.height.saturating_sub(WORDS + 2);
        let list = Rect { y: inner.y + 1, height: rows, ..inner };
        let top = self.cursor.row.saturating_sub(usize::from(rows.max(1)) - 1);
        for ((index, row), y) in port.iter().enumerate().skip(top).zip(list.top()..list.bottom()) {
            let chosen = index == self.cursor.row;
            text::put(canvas.buffer, inner.x, y, columns, &line(canvas, row, chosen, (columns, marks)));
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        let place = Rect { y: list.bottom() + 1, height: inner.bottom().saturating_sub(list.bottom() + 1), ..inner };
        if let Some(row) = port.get(self.cursor.row) {
            self.about(canvas, row, place);
        }
        canvas.areas.panel = Some(Rows { area: list, top, count: port.len() });
    }
}

impl Port {
    /// The cells of a row, each padded; of the class its end is cut, of the place its beginning.
    fn cells(columns: usize, marks: usize, cells: [String; 7]) -> [String; 7] {
        let [class, mark, modules, lines, flags, parameters, place] = cells;
        let numbers = MODULES + LINES + FLAGS + PARAMETERS;
        let left = columns.saturating_sub(numbers + marks + 4);
        let name = (left * 2 / 5).max(12);
        let right =
            |text: &str, columns: usize| format!("{}{text}", " ".repeat(columns.saturating_sub(text::width(text))));
        [
            text::pad(&text::clip(&class, name), name),
            text::pad(&text::clip(&mark, marks), marks),
            right(&modules, MODULES),
            right(&lines, LINES),
            right(&flags, FLAGS),
            right(&parameters, PARAMETERS),
            format!("  {}", text::clip_left(&place, left.saturating_sub(name))),
        ]
    }

    /// All of the chosen class: whose it is, where, what is in it, and the instance that `enter` goes to.
    fn about(&self, canvas: &mut Canvas<'_>, row: &ToPort, place: Rect) {
        let (theme, document) = (canvas.theme, &canvas.view.document);
        let room = usize::from(place.width.saturating_sub(2));
        let path = self.module(row).and_then(|id| document.module(id)).map_or("", |module| module.path.as_str());
        let path = if path.is_empty() { "the root" } else { path };
        let at = format!(
            "module {} of {}: {}",
            self.instance.min(row.modules.len() - 1) + 1,
            row.modules.len(),
            quoted(path)
        );
        let mut lines = vec![(text::clip_left(&quoted(&row.class), room), theme.key())];
        let mut push = |words: &str, style| {
            lines.extend(text::wrap(&sentence(words), room).into_iter().map(|row| (row, style)));
        };
        push(&row.place_words(&document.folders), theme.text());
        if let Some((option, what)) = row.option() {
            push(&format!("{option}: {what}"), theme.muted());
        }
        push(&row.content_words(), theme.text());
        let id = self.module(row);
        let note = id.and_then(|id| canvas.view.class_note(id).or_else(|| canvas.view.note(id)));
        if let Some(note) = note {
            let mark = note.mark.as_ref().map(|mark| format!("{}: ", mark.word())).unwrap_or_default();
            push(&format!("{mark}{}", note.note), theme.key());
        }
        let last = usize::from(place.height).saturating_sub(1);
        lines.truncate(last);
        lines.push((text::clip_left(&at, room), theme.muted()));
        for ((words, style), y) in lines.into_iter().zip(place.top()..place.bottom()) {
            text::put_text(canvas.buffer, place.x + 1, y, room, &words, style);
        }
    }
}

fn line(canvas: &Canvas<'_>, row: &ToPort, chosen: bool, (columns, marks): (usize, usize)) -> Line<'static> {
    let theme = canvas.theme;
    let place = match &row.place {
        Some((file, line)) => format!("{}:{line}", canvas.view.document.folders.short(file)),
        None => row.library.clone().unwrap_or_else(|| "source not found".to_owned()),
    };
    let (lines, flags) = match row.place {
        Some(_) => (row.lines.to_string(), row.blockers.serious()),
        None => ("?".to_owned(), 0),
    };
    let flags = match (&row.place, flags) {
        (None, _) => "?".to_owned(),
        (_, 0) => "·".to_owned(),
        (_, flags) => flags.to_string(),
    };
    let parameters = if row.parameters == 0 { "·".to_owned() } else { count(row.parameters) };
    let marked = mark(canvas.view, row).map(|mark| quoted(mark.word()).into_owned()).unwrap_or_default();
    let (modules, place) = (format!("×{}", row.modules.len()), quoted(&place).into_owned());
    let cells = [row.named.clone(), marked, modules, lines, flags, parameters, place];
    let [class, marked, modules, lines, flags, parameters, place] = Port::cells(columns, marks, cells);
    let flag_style = if row.blockers.serious() == 0 { theme.muted() } else { theme.severity(worst(row)) };
    Line::from(vec![
        Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::raw(" "),
        Span::styled(class, theme.text()),
        Span::styled(marked, theme.key()),
        Span::styled(modules, theme.muted()),
        Span::styled(lines, theme.text()),
        Span::styled(flags, flag_style),
        Span::styled(parameters, theme.muted()),
        Span::styled(place, theme.muted()),
    ])
}

/// What the user has marked a class as.
fn mark<'a>(view: &'a View, row: &ToPort) -> Option<&'a Mark> {
    row.modules.first().and_then(|&id| view.class_note(id)).and_then(|note| note.mark.as_ref())
}

/// How bad the worst of its blockers is.
fn worst(row: &ToPort) -> Severity {
    if row.blockers.breaks > 0 { Severity::Breaks } else { Severity::Differs }
}

/// The first letter in upper case.
fn capitalised(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
