//! The line of the model's own code that a node of the graph comes from, with what MLX ran for it.

use std::sync::Arc;

use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::super::{Pane, Place, View, graph};
use crate::tui::areas::Rows;
use crate::tui::canvas::Canvas;
use crate::tui::draw::code::{Colours, styled_code};
use crate::tui::glyphs;
use crate::tui::nodes::{Row, Text};
use crate::tui::text;
use t2m_checkpoint::escape::{escape, quoted, sentence};

/// Lines of what MLX ran that are shown below the line; the graph's pane has all of them.
const RAN: usize = 8;
/// Ops that are named beside their line.
const NAMED: usize = 3;

/// The node that is selected, its file and its line, if the file was found.
pub(super) fn shown(view: &View) -> Option<(&Row, &Text, usize)> {
    let row = graph::selected(view)?;
    let (text, line) = view.document.nodes.as_ref()?.text(row)?;
    Some((row, text, line))
}

/// The text to be coloured, by its file.
pub(super) fn job(view: &View) -> Option<(String, Arc<str>)> {
    let (_, text, _) = shown(view)?;
    Some((key(text), Arc::clone(&text.text)))
}

/// What its colours are kept under: no class has such a name.
fn key(text: &Text) -> String {
    text.path.display().to_string()
}

/// Point at the node's line. The pane is `height` rows high.
pub(super) fn follow(view: &mut View, node: u32, height: usize) {
    if view.source.node == Some(node) {
        return;
    }
    let line = shown(view).map(|(_, _, line)| line);
    let source = &mut view.source;
    (source.node, source.owner, source.chosen, source.line) = (Some(node), None, None, line);
    (source.left, source.top) = (0, line.map_or(1, |line| line.saturating_sub(height / 3).max(1)));
}

/// Draw it, or say where it would be.
pub(super) fn draw(canvas: &mut Canvas<'_>, place: Place) {
    let (view, area) = (canvas.view, place.inner);
    titles(canvas, place);
    let Some((row, found, line)) = shown(view) else {
        canvas.areas.panes.push((Pane::Source, Rows { area, top: 0, count: 0 }));
        return not_here(canvas, place);
    };
    let count = found.text.lines().count();
    let digits = count.max(100).to_string().len();
    let top = view.source.top.clamp(1, count.max(1));
    let mut y = area.top();
    for (number, code) in (1..).zip(found.text.lines()).skip(top - 1) {
        if y >= area.bottom() {
            break;
        }
        let strip = Rect { y, height: 1, ..area };
        draw_line(canvas, strip, digits, (number, code), number == line, (row, found));
        y += 1;
        if number == line {
            for note in ran(canvas, row, usize::from(area.width).saturating_sub(digits + 6)) {
                if y >= area.bottom() {
                    break;
                }
                let rule = Span::styled(format!("{}│   ", " ".repeat(digits + 2)), canvas.theme.faint());
                let spans = std::iter::once(rule).chain(note.spans);
                let line = Line::from(spans.collect::<Vec<Span<'static>>>());
                text::put(canvas.buffer, area.x, y, usize::from(area.width), &line);
                y += 1;
            }
        }
    }
    let rows = Rows { area, top: top - 1, count };
    canvas.areas.panes.push((Pane::Source, rows));
    place.scrollbar(canvas, rows.top, usize::from(area.height), rows.count);
}

fn draw_line(
    canvas: &mut Canvas<'_>,
    strip: Rect,
    digits: usize,
    (number, code): (usize, &str),
    pointed: bool,
    (row, found): (&Row, &Text),
) {
    let (theme, view) = (canvas.theme, canvas.view);
    let width = usize::from(strip.width);
    let mark = if pointed { glyphs::MARK } else { ' ' };
    let gutter = Line::from(vec![
        Span::styled(mark.to_string(), theme.mark()),
        Span::styled(format!("{number:>digits$} "), theme.muted()),
        Span::styled("│ ", theme.faint()),
    ]);
    text::put(canvas.buffer, strip.x, strip.y, width, &gutter);
    let colours = view.source.colours.get(&key(found));
    let runs = colours.and_then(|done| done.runs.get(number.checked_sub(done.lines.start)?));
    let room = width.saturating_sub(digits + 4);
    let colours = Colours::of(theme, runs);
    let line = styled_code(code, view.source.left, room, |byte, _| colours.at(byte));
    let used = line.width() + digits + 4;
    text::put(canvas.buffer, strip.x + digits as u16 + 4, strip.y, room, &line);
    let there = view.document.nodes.as_ref().map_or(&[][..], |nodes| nodes.at_line(row, number));
    let ops = ops(canvas, there);
    if !there.is_empty() && used + ops.width() + 2 <= width {
        text::put(canvas.buffer, strip.right() - ops.width() as u16 - 1, strip.y, ops.width(), &ops);
    }
    if pointed {
        canvas.overlay(strip, theme.linked().add_modifier(Modifier::BOLD));
    }
}

/// `← matmul mul.Tensor ✓`: what a line runs, and how it went.
fn ops(canvas: &Canvas<'_>, there: &[u32]) -> Line<'static> {
    let theme = canvas.theme;
    let mut names: Vec<String> = Vec::new();
    for row in there.iter().filter_map(|row| canvas.view.document.nodes.as_ref()?.get(*row)) {
        let op = quoted(row.op()).into_owned();
        if !names.contains(&op) {
            names.push(op);
        }
    }
    let more = if names.len() > NAMED { " …" } else { "" };
    names.truncate(NAMED);
    let mut spans = vec![Span::styled(format!("← {}{more}", names.join(" ")), theme.faint())];
    if let Some(sign) = graph::sign(canvas, there) {
        spans.extend([Span::raw(" "), sign]);
    }
    Line::from(spans)
}

/// What MLX ran, in at most so many lines.
fn ran(canvas: &Canvas<'_>, row: &Row, columns: usize) -> Vec<Line<'static>> {
    let theme = canvas.theme;
    let results = canvas.view.ran.of(row.index);
    let mut lines: Vec<&str> = results.iter().filter_map(|result| result.mlx.as_deref()).flat_map(str::lines).collect();
    let reason = results.iter().find_map(|result| result.reason.as_deref());
    let reason = reason.or(row.refused.as_deref().filter(|_| results.is_empty()));
    let mut notes = Vec::new();
    if let Some(reason) = reason {
        let style = canvas.view.ran.verdict(row.index).map_or(theme.notice(), |verdict| theme.verdict_of(verdict));
        notes.extend(text::wrap_to(&sentence(reason), columns, 2).into_iter().map(|row| Line::styled(row, style)));
    }
    let more = lines.len() > RAN;
    lines.truncate(if more { RAN - 1 } else { RAN });
    for (at, line) in lines.into_iter().enumerate() {
        let head = if at == 0 { "MLX ran: " } else { "         " };
        notes.push(Line::from(vec![
            Span::styled(head, theme.muted()),
            Span::styled(text::clip(&quoted(line), columns.saturating_sub(head.len())), theme.key()),
        ]));
    }
    if more {
        notes.push(Line::styled("         …", theme.muted()));
    }
    notes
}

fn titles(canvas: &mut Canvas<'_>, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let Some(row) = graph::selected(view) else { return };
    let class = view.document.module(row.module).map_or("", |module| module.short_class());
    let at = row.at().unwrap_or_else(|| "no line".to_owned());
    let left = Line::from(vec![
        Span::styled("─ ", theme.border(place.focus)),
        Span::styled(escape(&at).into_owned(), theme.text().add_modifier(Modifier::BOLD)),
        Span::styled(format!("  {}.forward ", quoted(class)), theme.muted()),
    ]);
    place.write_titles(canvas.buffer, &left, &Line::default());
    if let Some((_, text, _)) = shown(view) {
        let room = usize::from(place.frame.width).saturating_sub(4);
        let words = format!(" {}: {} ", escape(&text.path.to_string_lossy()), text.origin);
        let words = text::clip_left(&words, room);
        let x = place.frame.right().saturating_sub(text::width(&words) as u16 + 2);
        text::put_text(canvas.buffer, x, place.frame.bottom().saturating_sub(1), room, &words, theme.muted());
    }
}

/// Where the line is on the machine that exported the graph, and how to see it here.
fn not_here(canvas: &mut Canvas<'_>, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let Some(row) = graph::selected(view) else { return };
    let columns = usize::from(place.inner.width.saturating_sub(4));
    let mut lines = vec![Line::default()];
    let mut push = |words: &str, style| {
        let rows = text::wrap(&sentence(words), columns).into_iter();
        lines.extend(rows.map(|row| Line::styled(format!("  {row}"), style)));
        lines.push(Line::default());
    };
    match &row.place {
        Some((file, line)) => {
            push(&format!("{file}:{line}"), theme.text().add_modifier(Modifier::BOLD));
            push(
                "The graph holds the place and not the code, and no such file was found here. Name the folder with it:",
                theme.muted(),
            );
            push(&format!("t2m-tui --source PATH {}", view.document.name), theme.key());
        }
        None => push("The graph does not say which line this node comes from.", theme.muted()),
    }
    let notes = ran(canvas, row, columns);
    lines.extend(notes.into_iter().map(|note| {
        let spans = std::iter::once(Span::raw("  ")).chain(note.spans);
        Line::from(spans.collect::<Vec<Span<'static>>>())
    }));
    text::put_lines(canvas.buffer, place.inner, &lines);
}
