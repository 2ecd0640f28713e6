//! All of the selected module: its hyper-parameters and who says them, its tensors and those below it with shape, type, bytes and where
//! they go in MLX; and, when asked, what their numbers are like.

use std::collections::HashMap;
use std::sync::Arc;

use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::attributes::{self, Attribute};
use super::{Name, Panel, Then};
use crate::figures::{bytes, count, shape};
use crate::model::ModuleId;
use crate::plan::assumed::{CLASS, value_words};
use crate::statistics::Statistics;
use crate::tui::action::{Command, Effect};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::context::{Context, Hit};
use crate::tui::document::Document;
use crate::tui::draw::bars;
use crate::tui::glyphs;
use crate::tui::measuring::{Event, Targets};
use crate::tui::scroll::ListCursor;
use crate::tui::text;
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_checkpoint::{Checkpoint, TensorId};

/// Columns with the border, at most.
const WIDTH: u16 = 128;
/// Columns of the names, and of the values of hyper-parameters.
const NAMES: usize = 30;
const VALUES: usize = 30;
/// Tensors that are listed of one module; a model may have a million.
const MOST_TENSORS: usize = 2_000;
/// Rows of the histogram.
const BARS: u16 = 5;

/// What was found out, and where the cursor is.
#[derive(Debug, Clone, Default)]
pub struct Details {
    cursor: ListCursor,
    /// Where tensors go; `None` until the thread has said it.
    targets: Option<Result<Arc<Targets>, String>>,
    /// Of tensors that were read: what their numbers are like, or why that cannot be said.
    found: HashMap<TensorId, Result<Arc<Statistics>, String>>,
    /// What is being read, and the share of it that is done.
    reading: Option<(TensorId, f64)>,
    /// How many tensors were asked for and are not done.
    waiting: usize,
}

/// A row of the panel.
enum Row {
    Heading(&'static str),
    Attribute(Attribute),
    Tensor(TensorId, String),
    Words(String),
}

impl Details {
    /// The thread reports.
    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Targets(targets) => self.targets = Some(targets),
            Event::Progress(id, share) => self.reading = Some((id, share)),
            Event::Done(id, found) => {
                self.found.insert(id, found.map(|found| Arc::from(*found)));
                self.waiting = self.waiting.saturating_sub(1);
            }
            Event::Idle => (self.reading, self.waiting) = (None, 0),
        }
    }

    /// More is known of the modules: tensors may go elsewhere, and hold the same numbers.
    pub fn retell(&mut self) {
        (self.targets, self.reading, self.waiting) = (None, None, 0);
    }

    fn rows(document: &Document, id: ModuleId) -> Vec<Row> {
        let mut rows = vec![Row::Heading("hyper-parameters")];
        rows.extend(attributes::rows(document, id).into_iter().map(Row::Attribute));
        let (tensors, more) = tensors(document, id);
        rows.push(Row::Heading("tensors"));
        if tensors.is_empty() {
            rows.push(Row::Words("none, here or below".to_owned()));
        }
        rows.extend(tensors.into_iter().map(|(id, name)| Row::Tensor(id, name)));
        if more {
            rows.push(Row::Words(format!("and more: the first {MOST_TENSORS} are listed")));
        }
        rows
    }

    /// Ask for the statistics of those that are not known.
    fn read(&mut self, tensors: impl Iterator<Item = TensorId>, context: &mut Context<'_>) {
        let wanted: Vec<TensorId> = tensors.filter(|id| !matches!(self.found.get(id), Some(Ok(_)))).collect();
        if self.waiting > 0 {
            let stops = context.keymap.key(Some(Name::Details), Command::Cancel);
            return context.say(&format!("tensors are being read: {stops} stops that"));
        }
        if !wanted.is_empty() {
            self.waiting = wanted.len();
            context.effects.push(Effect::ReadTensors(wanted));
        }
    }

    /// The tensor of a row.
    fn tensor(rows: &[Row], at: usize) -> Option<TensorId> {
        match rows.get(at) {
            Some(Row::Tensor(id, _)) => Some(*id),
            _ => None,
        }
    }
}

/// The tensors of a module and of those below it, each with its name from there; and whether there are more.
fn tensors(document: &Document, id: ModuleId) -> (Vec<(TensorId, String)>, bool) {
    let Some(top) = document.module(id) else { return (Vec::new(), false) };
    let below = document.model.modules.get(id..top.end.max(id + 1)).unwrap_or_default();
    let named = below.iter().flat_map(|module| {
        let path = module.path.strip_prefix(top.path.as_str()).unwrap_or(&module.path).trim_start_matches('.');
        module.tensors.iter().filter_map(move |own| {
            let name = if path.is_empty() { own.name.to_string() } else { format!("{path}.{}", own.name) };
            Some((own.tensor?, name))
        })
    });
    let mut named: Vec<(TensorId, String)> = named.take(MOST_TENSORS + 1).collect();
    let more = named.len() > MOST_TENSORS;
    named.truncate(MOST_TENSORS);
    (named, more)
}

impl Panel for Details {
    fn open(&mut self, context: &mut Context<'_>) {
        if self.targets.is_none() {
            context.effects.push(Effect::FindTargets);
        }
        let rows = Details::rows(&context.view.document, context.view.tree.selected);
        self.cursor.row = rows.iter().position(|row| matches!(row, Row::Tensor(..))).unwrap_or(0);
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        let rows = Details::rows(&context.view.document, context.view.tree.selected);
        match command {
            Command::Dismiss => return Then::Close,
            Command::Accept => match Details::tensor(&rows, self.cursor.row) {
                Some(id) => self.read(std::iter::once(id), context),
                None => context.say("that is no tensor: its numbers are read in a row of one"),
            },
            Command::RunAll => {
                let all = (0..rows.len()).filter_map(|at| Details::tensor(&rows, at));
                self.read(all, context);
            }
            Command::Cancel => context.effects.push(Effect::StopReading),
            _ => self.cursor.command(command, rows.len(), context.rows()),
        }
        Then::Stay
    }

    fn click(&mut self, at: Position, context: &mut Context<'_>) -> Then {
        match context.hit(at) {
            Hit::Row(row) => self.cursor.row = row,
            Hit::Inside => {}
            Hit::Beside => return Then::Close,
        }
        Then::Stay
    }

    fn wheel(&mut self, _at: Position, by: i32, context: &mut Context<'_>) {
        let rows = Details::rows(&context.view.document, context.view.tree.selected);
        self.cursor.wheel(by, rows.len());
    }

    fn is_moving(&self) -> bool {
        self.waiting > 0
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (theme, view) = (canvas.theme, canvas.view);
        let id = view.tree.selected;
        let Some(module) = view.document.module(id) else { return };
        let rows = Details::rows(&view.document, id);
        let width = area.width.min(WIDTH);
        let columns = usize::from(width.saturating_sub(2));
        let checkpoint = view.document.checked.as_ref().map(|checked| &*checked.checkpoint);
        let tensor = Details::tensor(&rows, self.cursor.row);
        let below = self.below(canvas, checkpoint, tensor, columns.saturating_sub(2));
        let room_below = (area.height.saturating_sub(2) * 3 / 5).max(4);
        let below_height = (below.len() as u16).min(room_below);
        let height = (rows.len() as u16).saturating_add(below_height + 3);
        let name = if module.path.is_empty() { "the root" } else { module.path.as_str() };
        let title = format!("Details of {}", text::clip_left(&quoted(name), columns.saturating_sub(16)));
        let inner = canvas.popup(area, (width, height), &title);
        let room = inner.height.saturating_sub(below_height + 1);
        let list = Rect { height: room, ..inner };
        let top = self.cursor.row.saturating_sub(usize::from(room).max(1) - 1);
        for ((index, row), y) in rows.iter().enumerate().skip(top).zip(list.top()..list.bottom()) {
            let chosen = index == self.cursor.row;
            let line = self.line(canvas, checkpoint, row, chosen, columns);
            text::put(canvas.buffer, inner.x, y, columns, &line);
            if chosen {
                canvas.overlay(Rect { y, height: 1, ..inner }, theme.selection(true));
            }
        }
        let place =
            Rect { x: inner.x + 1, y: list.bottom() + 1, width: inner.width.saturating_sub(2), height: below_height };
        text::put_lines(canvas.buffer, place.intersection(inner), &below);
        canvas.areas.panel = Some(Rows { area: list, top, count: rows.len() });
    }
}

impl Details {
    fn line(
        &self,
        canvas: &Canvas<'_>,
        checkpoint: Option<&Checkpoint>,
        row: &Row,
        chosen: bool,
        columns: usize,
    ) -> Line<'static> {
        let theme = canvas.theme;
        let mark = Span::styled(if chosen { glyphs::MARK } else { ' ' }.to_string(), theme.mark());
        let name = |name: &str| text::pad(&text::clip_left(&quoted(name), NAMES - 1), NAMES);
        match row {
            Row::Heading(words) => Line::from(vec![mark, Span::styled((*words).to_owned(), theme.key())]),
            Row::Words(words) => Line::from(vec![mark, Span::styled(format!("  {words}"), theme.muted())]),
            Row::Attribute(attribute) => {
                let value = match &attribute.value {
                    Some(serde_json::Value::String(class)) if attribute.name == CLASS => class.clone(),
                    Some(value) => value_words(&attribute.name, value),
                    None => "?".to_owned(),
                };
                let most = if attribute.name == CLASS { columns.saturating_sub(NAMES + 16) } else { VALUES };
                let value = text::clip(&quoted(&value), most);
                let style = if attribute.value.is_some() { theme.text() } else { theme.notice() };
                let from = columns.saturating_sub(NAMES + VALUES.max(text::width(&value)) + 5);
                Line::from(vec![
                    mark,
                    Span::styled(format!("  {}", name(&attribute.name)), theme.text()),
                    Span::styled(format!("{}  ", text::pad(&value, VALUES)), style),
                    Span::styled(text::clip(&sentence(&attribute.from), from), theme.muted()),
                ])
            }
            Row::Tensor(id, known) => {
                let Some(tensor) = checkpoint.and_then(|checkpoint| checkpoint.tensors.get(*id)) else {
                    return Line::from(vec![mark, Span::styled(format!(" {}", name(known)), theme.text())]);
                };
                let axes: Vec<usize> =
                    tensor.shape.iter().map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
                let size = tensor.elements().saturating_mul(tensor.dtype.size() as u64);
                let facts = format!(
                    "{}{}{}",
                    text::pad(&text::clip(&shape(&axes), 20), 21),
                    text::pad(tensor.dtype.name(), 15),
                    text::pad(&bytes(size), 11)
                );
                let target = match (&self.targets, &tensor.problem) {
                    (_, Some(problem)) => (problem.to_string(), theme.notice()),
                    (None, _) => (String::new(), theme.muted()),
                    (Some(Err(_)), _) => ("–".to_owned(), theme.muted()),
                    (Some(Ok(targets)), _) => {
                        let known = targets.get(id).and_then(|all| all.first());
                        (known.map_or_else(|| "not written".to_owned(), |words| format!("→ {words}")), theme.muted())
                    }
                };
                let sign = match self.found.get(id) {
                    Some(Ok(found)) if found.finite() < found.count => ('!', theme.notice()),
                    Some(Ok(_)) => ('✓', theme.muted()),
                    Some(Err(_)) => ('!', theme.notice()),
                    None if self.reading.is_some_and(|(reading, _)| reading == *id) => {
                        (canvas.spinner(), theme.running())
                    }
                    None => (' ', theme.muted()),
                };
                let room = columns.saturating_sub(NAMES + 50);
                Line::from(vec![
                    mark,
                    Span::styled(format!("{} ", sign.0), sign.1),
                    Span::styled(name(known), theme.text()),
                    Span::styled(facts, theme.muted()),
                    Span::styled(text::clip(&sentence(&target.0), room), target.1),
                ])
            }
        }
    }

    /// All of the tensor of the cursor: its name, where it goes, what its numbers are like.
    fn below(
        &self,
        canvas: &Canvas<'_>,
        checkpoint: Option<&Checkpoint>,
        id: Option<TensorId>,
        columns: usize,
    ) -> Vec<Line<'static>> {
        let theme = canvas.theme;
        let key = |command| canvas.keymap.key(Some(Name::Details), command);
        let mut lines = Vec::new();
        let (Some(checkpoint), Some(id)) = (checkpoint, id) else { return lines };
        let Some(tensor) = checkpoint.tensors.get(id) else { return lines };
        let mut push = |words: &str, style: Style| {
            lines.extend(text::wrap(words, columns).into_iter().map(|row| Line::styled(row, style)));
        };
        push(&quoted(&tensor.name), theme.key());
        let tied = tensor.shared_with.and_then(|first| checkpoint.tensors.get(first));
        if let Some(first) = tied {
            push(&format!("the same tensor as {}", quoted(&first.name)), theme.text());
        }
        match &self.targets {
            None => push("looking where it goes in MLX", theme.muted()),
            Some(Err(reason)) => push(&format!("where it goes cannot be said: {}", sentence(reason)), theme.notice()),
            Some(Ok(targets)) => {
                for words in targets.get(&id).into_iter().flatten() {
                    push(&format!("→ {}", sentence(words)), theme.text());
                }
            }
        }
        match self.found.get(&id) {
            Some(Err(reason)) => push(&format!("cannot be read: {}", sentence(reason)), theme.notice()),
            Some(Ok(found)) => {
                let not_finite = found.finite() < found.count;
                for (row, words) in words(found).into_iter().enumerate() {
                    push(&words, if row > 0 && not_finite { theme.notice() } else { theme.text() });
                }
                lines.extend(histogram(canvas, found, columns));
            }
            None => match self.reading.filter(|(reading, _)| *reading == id) {
                Some((_, share)) => {
                    let stops = key(Command::Cancel);
                    push(&format!("reading: {:.0} %; {stops} stops", share * 100.0), theme.running());
                }
                None if self.waiting > 0 => {
                    push(&format!("it is waited for; {} stops", key(Command::Cancel)), theme.muted());
                }
                None => {
                    let (one, all) = (key(Command::Accept), key(Command::RunAll));
                    push(&format!("{one}: what its numbers are like; {all}: of all that are listed"), theme.muted());
                }
            },
        }
        lines
    }
}

/// What is said of the numbers, and in a second row of those that are none.
fn words(found: &Statistics) -> Vec<String> {
    let figure = |value: f64| figure(value);
    let Some((least, most)) = found.range else {
        let what = if found.count == 0 { "it has no elements" } else { "none of its numbers is finite" };
        return vec![what.to_owned(), not_finite(found)];
    };
    let zeros = found.zero_share().unwrap_or(0.0);
    let zeros = match found.zeros {
        0 => "no zeros".to_owned(),
        one if zeros < 0.001 => format!("{} zeros", count(one)),
        _ => format!("{:.1} % zeros", zeros * 100.0),
    };
    let (mean, deviation) = (found.mean().unwrap_or(0.0), found.deviation().unwrap_or(0.0));
    let first = format!(
        "min {}, max {}, mean {}, std {}, {zeros} of {}",
        figure(least),
        figure(most),
        figure(mean),
        figure(deviation),
        count(found.count)
    );
    vec![first, not_finite(found)]
}

fn not_finite(found: &Statistics) -> String {
    let infinite = found.infinite + found.minus_infinite;
    if found.nan + infinite == 0 {
        return "no NaN, no infinity".to_owned();
    }
    format!("{} NaN, {} infinite ({} of them minus)", found.nan, infinite, found.minus_infinite)
}

/// Five significant digits, without an exponent where it is readable without.
fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e6).contains(&size) {
        let digits = 4 - size.log10().floor() as i32;
        let text = format!("{value:.*}", usize::try_from(digits.clamp(0, 8)).unwrap_or(0));
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{value:.4e}")
    }
}

/// The bars, and below them where the first begins and the last ends.
fn histogram(canvas: &Canvas<'_>, found: &Statistics, columns: usize) -> Vec<Line<'static>> {
    let (theme, histogram) = (canvas.theme, &found.histogram);
    if histogram.counts().is_empty() {
        return Vec::new();
    }
    // One number has no axis on which it could lie.
    if let Some((least, most)) = found.range.filter(|(least, most)| least == most) {
        let words = match found.finite() {
            1 => format!("it is {}", figure(least)),
            all if most == 0.0 => format!("all {} are zero", count(all)),
            all => format!("all {} are {}", count(all), figure(least)),
        };
        return vec![Line::styled(words, theme.muted())];
    }
    let counts = histogram.columns(columns.min(64));
    let each = histogram.counts().len().div_ceil(counts.len());
    let mut lines: Vec<Line<'static>> =
        bars::rows(&counts, BARS).into_iter().map(|row| Line::styled(row, theme.bar())).collect();
    let from = figure(histogram.start());
    let to = figure(histogram.start() + histogram.width() * (each * counts.len()) as f64);
    let gap = " ".repeat(counts.len().saturating_sub(from.len() + to.len()).max(2));
    let most = counts.iter().max().copied().unwrap_or(0);
    lines.push(Line::from(vec![
        Span::styled(format!("{from}{gap}{to}"), theme.muted()),
        Span::styled(format!("  the highest: {}", count(most)), theme.faint()),
    ]));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_five_digits() {
        let shown = [0.0, 1.0, -0.5, 0.001_234_567, 123_456.7, 1_234_567.0, -3.2e-9, 33.333_333].map(figure);
        assert_eq!(
            shown,
            ["0", "1", "-0.5", "0.0012346", "123457", "1.2346e6", "-3.2000e-9", "33.333"].map(str::to_owned)
        );
    }

    #[test]
    fn what_is_no_number_is_counted_in_words() {
        let found = Statistics::of([0.0, 1.0, f64::NAN, f64::NEG_INFINITY]);
        assert_eq!(
            words(&found),
            ["min 0, max 1, mean 0.5, std 0.5, 25.0 % zeros of 4", "1 NaN, 1 infinite (1 of them minus)"]
        );
        assert_eq!(words(&Statistics::of([f64::NAN]))[0], "none of its numbers is finite");
        assert_eq!(words(&Statistics::of([]))[0], "it has no elements");
    }
}
