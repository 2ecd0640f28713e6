//! The question whether the user's own Python may build the model of bare weights: what would run, to be edited, and what to
//! choose from. Nothing runs before the answer.

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Name, Panel, Then};
use crate::architecture::spec::{self, InputSpec};
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::field::Field;
use crate::tui::glyphs;
use crate::tui::offer::Offer;
use crate::tui::shell;
use crate::tui::text;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 108;
/// Columns of the names of the fields.
const NAMES: usize = 9;
/// Lines of what tells the candidates apart.
const MOST_APART: usize = 2;
/// Rows of the list of candidates.
const LIST: usize = 8;
const QUESTION: &str = "This runs your code: the Python below imports what the expression names and evaluates it, without memory \
    for weights where it can, for two minutes at most; with an input it exports the graph as well, ten minutes at most. \
    Nothing of the file is loaded by it. What it tells are the classes and hyper-parameters of the file's modules.";
const SHORT: &str = "This runs your code: the Python below builds what the expression says, in two minutes at most (with an input it \
    exports the graph as well, in ten). Nothing of the file is loaded by it.";
const NOTHING: &str = "The file holds its modules itself: there is nothing to build.";

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The expression.
    pub model: String,
    /// The Python.
    pub python: String,
    /// Inputs to export its graph with.
    pub inputs: Vec<InputSpec>,
}

/// What is asked, and how it goes.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Expression, Python, inputs.
    fields: [Field; 3],
    /// The one that is edited.
    at: usize,
    /// The candidate that the expression is.
    candidate: Option<usize>,
    running: bool,
    /// Why the last one did not come to an end.
    failed: Option<String>,
}

impl Build {
    /// Whether a Python builds now.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// It did not work, and why: the user may edit and try again.
    pub fn fail(&mut self, words: String) {
        (self.running, self.failed) = (false, Some(words));
    }

    /// What the fields say.
    fn wanted(&self) -> Result<Wanted, String> {
        let [model, python, inputs] = &self.fields;
        let (model, python) = (model.text.trim(), python.text.trim());
        if model.is_empty() {
            return Err("an expression is needed, as in timm.create_model('resnet50')".to_owned());
        }
        if python.is_empty() {
            return Err("a Python is needed: the one in which the model's package is installed".to_owned());
        }
        let inputs = spec::inputs(inputs.text.trim()).map_err(|error| format!("input: {error}"))?;
        Ok(Wanted { model: model.to_owned(), python: python.to_owned(), inputs })
    }

    fn accept(&mut self, context: &mut Context<'_>) {
        match self.wanted() {
            Ok(wanted) => {
                (self.running, self.failed) = (true, None);
                context.effects.push(Effect::Build(Box::new(wanted)));
            }
            Err(words) => self.failed = Some(words),
        }
    }

    fn choose(&mut self, by: i64, offer: &Offer) {
        let count = offer.candidates.len();
        if count == 0 {
            return;
        }
        let next = match self.candidate {
            None if by > 0 => 0,
            None => count - 1,
            Some(at) => (at as i64 + by).rem_euclid(count as i64) as usize,
        };
        self.take(next, offer);
    }

    fn take(&mut self, at: usize, offer: &Offer) {
        if let Some(candidate) = offer.candidates.get(at) {
            (self.candidate, self.at) = (Some(at), 0);
            self.fields[0] = Field::of(&candidate.expression);
        }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Field)) {
        if let Some(field) = self.fields.get_mut(self.at) {
            edit(field);
        }
        self.candidate = self.candidate.filter(|_| self.at != 0);
    }
}

impl Panel for Build {
    fn open(&mut self, context: &mut Context<'_>) {
        let offer = &context.view.document.offer;
        let fields = [&offer.model, &offer.python, &offer.inputs].map(|text| Field::of(text));
        let candidate = offer.candidates.iter().position(|candidate| candidate.expression == offer.model);
        *self = Build { fields, candidate, ..Build::default() };
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        if self.running {
            if matches!(command, Command::Cancel | Command::Dismiss) {
                self.fail("it was cancelled, and that Python ended with all that it had started".to_owned());
                context.effects.push(Effect::StopBuild);
            }
            return Then::Stay;
        }
        let offer = &context.view.document.offer;
        match command {
            Command::Dismiss => {
                *self = Build::default();
                return Then::Close;
            }
            _ if !offer.possible => {}
            Command::Accept => self.accept(context),
            Command::NextPane => self.at = (self.at + 1) % self.fields.len(),
            Command::PreviousPane => self.at = (self.at + self.fields.len() - 1) % self.fields.len(),
            Command::Down => self.choose(1, offer),
            Command::Up => self.choose(-1, offer),
            Command::Erase => self.edit(Field::erase),
            Command::EraseAll => self.edit(|field| *field = Field::default()),
            Command::Left | Command::Right | Command::Top | Command::Bottom => {
                if let Some(field) = self.fields.get_mut(self.at) {
                    field.go(command);
                }
            }
            _ => {}
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        !self.running
    }

    fn text(&mut self, text: &str, context: &mut Context<'_>) {
        if !self.running && context.view.document.offer.possible {
            self.edit(|field| field.insert(text));
        }
    }

    /// A click elsewhere must not lose what was typed.
    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        if let Some(row) = context.rows().filter(|_| !self.running).and_then(|rows| rows.at(at)) {
            self.take(row, &context.view.document.offer);
        }
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, rows: i32, context: &mut Context<'_>) {
        if !self.running {
            self.choose(i64::from(rows.signum()), &context.view.document.offer);
        }
    }

    fn is_moving(&self) -> bool {
        self.running
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(4));
        let offer = &canvas.view.document.offer;
        let shown = offer.candidates.len().min(LIST);
        let list = if shown == 0 { 0 } else { shown + 2 };
        let mut lines = self.lines(canvas, columns, false);
        if lines.len() + list + 2 > usize::from(area.height) {
            lines = self.lines(canvas, columns, true);
        }
        let height = u16::try_from(lines.len() + list + 2).unwrap_or(u16::MAX);
        let inner = canvas.popup(area, (width, height), "Build the model in your own Python?");
        text::put_lines(canvas.buffer, inner, &lines);
        if shown == 0 {
            return;
        }
        let above = (lines.len() as u16 + 2).min(inner.height);
        let heading = format!(" {} to choose from, by up and down", offer.candidates.len());
        let y = inner.y + above.saturating_sub(1);
        text::put_text(canvas.buffer, inner.x, y, columns, &heading, canvas.theme.muted());
        let rows = Rect { y: inner.y + above, height: (inner.height - above).min(shown as u16), ..inner };
        let page = usize::from(rows.height).max(1);
        let top = self.candidate.unwrap_or(0).saturating_sub(page - 1);
        for ((at, candidate), y) in offer.candidates.iter().enumerate().skip(top).zip(rows.top()..rows.bottom()) {
            let chosen = self.candidate == Some(at);
            let told = text::width(&candidate.told) + 2;
            let expression = text::clip(&quoted(&candidate.expression), columns.saturating_sub(told + 2));
            let line = Line::from(vec![
                Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), canvas.theme.mark()),
                Span::styled(expression, canvas.theme.text()),
                Span::styled(format!("  {}", candidate.told), canvas.theme.muted()),
            ]);
            text::put(canvas.buffer, rows.x, y, usize::from(rows.width), &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..rows }, canvas.theme.selection(true));
            }
        }
        canvas.areas.panel = Some(Rows { area: rows, top, count: offer.candidates.len() });
    }
}

impl Build {
    /// Everything above the list; `short` of what a small screen has no room for.
    fn lines(&self, canvas: &Canvas<'_>, columns: usize, short: bool) -> Vec<Line<'static>> {
        let (theme, document) = (canvas.theme, &canvas.view.document);
        let say = |words: &str, style: Style| {
            let rows = text::wrap(&sentence(words), columns);
            rows.into_iter().map(|row| Line::styled(format!(" {row}"), style)).collect::<Vec<_>>()
        };
        if !document.offer.possible {
            return say(NOTHING, theme.text());
        }
        let blank = || (!short).then(Line::default);
        let mut lines = say(if short { SHORT } else { QUESTION }, theme.text());
        lines.extend(blank());
        for (at, (name, field)) in ["model", "python", "input"].into_iter().zip(&self.fields).enumerate() {
            lines.push(self.field(canvas, name, field, at == self.at, columns));
        }
        lines.extend(blank());
        if !short {
            let same = format!("the same as: {}", self.command_line(&document.name));
            lines.extend(say(&same, theme.muted()));
            lines.push(Line::default());
        }
        lines.push(self.keys(canvas));
        if let Some(failed) = &self.failed {
            lines.extend(blank());
            lines.extend(say(failed, theme.notice()));
        } else if !document.offer.told_apart.is_empty() {
            lines.extend(blank());
            let told = document.offer.told_apart.iter().take(MOST_APART);
            let line = |told: &String| format!(" {}", text::clip(&sentence(told), columns));
            lines.extend(told.map(|told| Line::styled(line(told), theme.muted())));
        }
        lines
    }

    /// What the keys do, or how to end what runs.
    fn keys(&self, canvas: &Canvas<'_>) -> Line<'static> {
        let key = |before: &str, command| {
            Span::styled(format!("{before}{} ", canvas.keymap.key(Some(Name::Build), command)), canvas.theme.key())
        };
        let words = |words: &'static str| Span::styled(words, canvas.theme.muted());
        if self.running {
            let ends = key(&format!(" {} that Python builds it; ", canvas.spinner()), Command::Dismiss);
            return Line::from(vec![ends, words("ends it with all that it has started")]);
        }
        let (yes, no) = (key(" ", Command::Accept), key("   ", Command::Dismiss));
        let next = key("   ", Command::NextPane);
        Line::from(vec![yes, words("yes, run it"), no, words("no"), next, words("next line to edit")])
    }

    /// A line with its name; of a long one the part around the cursor.
    fn field(&self, canvas: &Canvas<'_>, name: &str, field: &Field, chosen: bool, columns: usize) -> Line<'static> {
        let theme = canvas.theme;
        let active = chosen && !self.running;
        let mark = if active { glyphs::MARK } else { ' ' };
        let none = name == "input" && field.text.is_empty();
        let mut spans =
            vec![Span::styled(mark.to_string(), theme.mark()), Span::styled(format!("{name:<NAMES$}"), theme.muted())];
        if active || !none {
            spans.extend(field.spans(theme, columns.saturating_sub(NAMES + 2).max(8), active));
        }
        if none {
            spans.push(Span::styled("none: the graph is not exported", theme.faint()));
        }
        Line::from(spans)
    }

    /// What does the same in a shell.
    fn command_line(&self, file: &str) -> String {
        let [model, python, inputs] = self.fields.each_ref().map(|field| field.text.trim());
        let mut words =
            format!("t2m-tui {} --python {} --model {}", shell::word(file), shell::word(python), shell::word(model));
        for input in inputs.split([' ', ',']).filter(|input| !input.is_empty()) {
            words += &format!(" --input {}", shell::word(input));
        }
        words
    }
}
