//! The inputs of the graph: what it takes, as far as the file tells, and a line in which the user types what `--input` takes.

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Name, Panel, Then};
use crate::architecture::spec;
use crate::graph::inputs::Takes;
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::field::Field;
use crate::tui::panes;
use crate::tui::text;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 100;
/// Inputs that are listed.
const LISTED: usize = 12;
const NO_GRAPH: &str = "This file holds no graph: the Graph pane says how to get one.";
const NONE_NEEDED: &str = "The file has inputs for the run; what is typed here is taken in their place.";
const NEEDED: &str = "The file does not say what the run is to be given. Tensors are drawn from the seed; a number, a text, None or a \
    list is written as Python writes it.";

/// What is typed.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    field: Field,
    /// Why it cannot be taken.
    wrong: Option<String>,
}

impl Inputs {
    fn edit(&mut self, edit: impl FnOnce(&mut Field)) {
        let before = self.field.text.clone();
        edit(&mut self.field);
        // What is wrong stays wrong while the cursor moves.
        self.wrong = self.wrong.take().filter(|_| self.field.text == before);
    }

    fn accept(&mut self, context: &mut Context<'_>) -> Then {
        match spec::inputs(self.field.text.trim()) {
            Ok(specs) => {
                context.view.ran.specs = specs;
                panes::graph::run(context, 0);
                Then::Close
            }
            Err(error) => {
                self.wrong = Some(error.to_string());
                Then::Stay
            }
        }
    }
}

impl Panel for Inputs {
    /// What was typed before, or an example that fits.
    fn open(&mut self, context: &mut Context<'_>) {
        let view = &*context.view;
        let typed: Vec<String> = view.ran.specs.iter().map(ToString::to_string).collect();
        let example =
            || view.document.takes.iter().filter(|one| one.is_needed).flat_map(|one| one.example.clone()).collect();
        let words: Vec<String> = if typed.is_empty() { example() } else { typed };
        *self = Inputs { field: Field::of(&words.join(" ")), wrong: None };
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Dismiss => return Then::Close,
            Command::Accept if context.view.document.nodes.is_some() => return self.accept(context),
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

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let lines = self.lines(canvas, columns);
        let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
        let inner = canvas.popup(area, (width, height), "Inputs of the graph");
        text::put_lines(canvas.buffer, inner, &lines);
    }
}

impl Inputs {
    fn lines(&self, canvas: &Canvas<'_>, columns: usize) -> Vec<Line<'static>> {
        let (theme, document) = (canvas.theme, &canvas.view.document);
        let say = |words: &str, style: Style| {
            let rows = text::wrap(&sentence(words), columns);
            rows.into_iter().map(|row| Line::styled(format!(" {row}"), style)).collect::<Vec<_>>()
        };
        if document.nodes.is_none() {
            return say(NO_GRAPH, theme.text());
        }
        let mut lines = say(if document.asks { NEEDED } else { NONE_NEEDED }, theme.text());
        lines.push(Line::default());
        let names = document.takes.iter().take(LISTED).map(|one| text::width(&one.name)).max().unwrap_or(0).min(20);
        for one in document.takes.iter().take(LISTED) {
            lines.push(takes(canvas, one, names, columns));
        }
        if document.takes.len() > LISTED {
            lines.push(Line::styled(format!(" and {} more", document.takes.len() - LISTED), theme.muted()));
        }
        lines.push(Line::default());
        let mut spans = vec![Span::styled(" input  ", theme.muted())];
        spans.extend(self.field.spans(theme, columns.saturating_sub(8), true));
        lines.push(Line::from(spans));
        if let Some(wrong) = &self.wrong {
            lines.extend(say(wrong, theme.notice()));
        }
        lines.push(Line::default());
        let key = |before: &str, command| {
            Span::styled(format!("{before}{} ", canvas.keymap.key(Some(Name::Inputs), command)), theme.key())
        };
        let words = |words: &'static str| Span::styled(words, theme.muted());
        let (yes, no) = (key(" ", Command::Accept), key("   ", Command::Dismiss));
        lines.push(Line::from(vec![yes, words("runs the graph"), no, words("not now")]));
        lines
    }
}

/// `x    Tensor   x=1x3x224x224`
fn takes(canvas: &Canvas<'_>, one: &Takes, names: usize, columns: usize) -> Line<'static> {
    let theme = canvas.theme;
    let (name, kind) = (quoted(&one.name).into_owned(), quoted(&one.kind).into_owned());
    let mut note = match (one.is_needed, one.is_made_up) {
        (false, _) => "may be left out".to_owned(),
        (true, true) => format!("as in {}; the file does not tell its sizes", one.example.join(" ")),
        (true, false) => format!("as in {}", one.example.join(" ")),
    };
    let gap = names.saturating_sub(text::width(&name)) + 2;
    let room = columns.saturating_sub(names + 4 + text::width(&kind));
    note = text::clip(&note, room);
    Line::from(vec![
        Span::styled(format!(" {name}{}", " ".repeat(gap)), theme.text()),
        Span::styled(format!("{kind}  "), theme.key()),
        Span::styled(note, theme.muted()),
    ])
}
