//! Drawing: a pure function of the state. One file a pane.
//!
//! Everything is drawn in full colour and with all its signs; what the terminal cannot show is replaced at the end, in the
//! finished buffer. Text that comes from a file goes through [`t2m_checkpoint::escape::escape`] first.

pub mod chart;
pub mod footer;
pub mod header;
pub mod live;
pub mod numbers;
pub mod source;
pub mod tree;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::action::{Action, Effect, Pane};
use super::areas::{Areas, Shape};
use super::canvas::{Canvas, frame, spinner};
use super::glyphs;
use super::state::{Screen, State, View};
use super::text;
use super::update::update;

/// Draw the state into `area` of a buffer; say where things went.
pub fn draw(state: &State, area: Rect, buffer: &mut Buffer) -> Areas {
    let mut areas = Areas { shape: Shape::of(area.width, area.height), ..Areas::default() };
    let area = area.intersection(buffer.area);
    match (&state.screen, areas.shape) {
        (_, Shape::Tiny) => too_small(state, area, buffer),
        (Screen::Opening(what), _) => opening(state, what, area, buffer),
        (Screen::Failed(message, top), _) => failed(state, message, *top, area, buffer),
        (Screen::Open(view), _) => open(state, view, area, buffer, &mut areas),
    }
    if state.ascii {
        glyphs::to_ascii(buffer);
    }
    state.theme.adapt(buffer);
    areas
}

/// Draw, and tell the state where things went. Where that makes it scroll (a pane was shown for the first time, or has
/// another size), draw again. Returns what the state asks for.
pub fn render(state: &mut State, area: Rect, buffer: &mut Buffer) -> Vec<Effect> {
    let areas = draw(state, area, buffer);
    let before = state.scrolled();
    let effects = update(state, Action::Drawn(Box::new(areas)));
    if state.scrolled() != before {
        buffer.reset();
        state.areas = draw(state, area, buffer);
    }
    effects
}

fn too_small(state: &State, area: Rect, buffer: &mut Buffer) {
    let rows = text::wrap("t2m-tui needs 20×5", usize::from(area.width));
    let lines: Vec<Line> = rows.into_iter().map(|row| Line::styled(row, state.theme.muted())).collect();
    text::put_lines(buffer, area, &lines);
}

fn opening(state: &State, what: &str, area: Rect, buffer: &mut Buffer) {
    let row = area.y + area.height / 2;
    let what = t2m_checkpoint::escape::escape(what);
    let line = Line::from(vec![
        Span::styled(format!("{} ", spinner(state.tick)), state.theme.running()),
        Span::styled(format!("opening {what} …"), state.theme.text()),
    ]);
    let columns = (line.width() as u16).min(area.width);
    text::put(buffer, area.x + (area.width - columns) / 2, row, usize::from(columns), &line);
}

fn failed(state: &State, message: &str, top: usize, area: Rect, buffer: &mut Buffer) {
    let theme = &state.theme;
    let [body, bottom] = Split::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let title = Line::from(Span::styled(" It cannot be opened ", theme.title(true)));
    let inner = frame(buffer, body, theme, true, &title);
    // The message is ours but names files: its line ends are kept, everything else is made safe.
    let safe: Vec<_> = message.lines().map(t2m_checkpoint::escape::escape).collect();
    let rows = text::wrap(&safe.join("\n"), usize::from(inner.width.saturating_sub(2)));
    let top = top.min(rows.len().saturating_sub(usize::from(inner.height)));
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

fn open(state: &State, view: &View, area: Rect, buffer: &mut Buffer, areas: &mut Areas) {
    let header = header::rows(area);
    let rows = [Constraint::Length(header), Constraint::Fill(1), Constraint::Length(1)];
    let [top, body, bottom] = Split::vertical(rows).areas(area);
    let canvas = &mut Canvas {
        theme: &state.theme,
        keymap: &state.keymap,
        tick: state.tick,
        view,
        found: state.panels.find.matches(),
        buffer,
        areas,
    };
    header::draw(canvas, top);
    match canvas.areas.shape {
        Shape::Three => three_panes(canvas, body),
        Shape::Two => two_panes(canvas, body),
        _ => pane(canvas, view.focus, &Pane::ALL, body),
    }
    footer::draw(state, canvas, bottom);
    if let Some(panel) = state.panels.current() {
        panel.draw(canvas, body);
    }
}

fn three_panes(canvas: &mut Canvas<'_>, body: Rect) {
    let live_height = (body.height / 3).clamp(10, 15);
    let [upper, lower] = Split::vertical([Constraint::Fill(1), Constraint::Length(live_height)]).areas(body);
    let tree_width = (body.width * 12 / 25).clamp(58, 90);
    let [left, right] = Split::horizontal([Constraint::Length(tree_width), Constraint::Fill(1)]).areas(upper);
    pane(canvas, Pane::Tree, &[], left);
    pane(canvas, Pane::Source, &[], right);
    pane(canvas, Pane::Live, &[], lower);
}

fn two_panes(canvas: &mut Canvas<'_>, body: Rect) {
    let [upper, lower] = Split::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(body);
    pane(canvas, Pane::Tree, &[], upper);
    pane(canvas, canvas.view.lower, &[Pane::Source, Pane::Live], lower);
}

/// Draw one pane; `tabs` are those that share its place.
fn pane(canvas: &mut Canvas<'_>, which: Pane, tabs: &[Pane], area: Rect) {
    let theme = canvas.theme;
    let focus = canvas.view.focus == which;
    let title = if tabs.is_empty() {
        Line::from(Span::styled(format!(" {} ", which.title()), theme.title(focus)))
    } else {
        tab_line(canvas, which, focus, tabs, area)
    };
    let titles = title.width();
    let inner = frame(canvas.buffer, area, theme, focus, &title);
    let place = Place { frame: area, inner, title: titles, focus };
    match which {
        Pane::Tree => tree::draw(canvas, place),
        Pane::Source => source::draw(canvas, place),
        Pane::Live => live::draw(canvas, place),
    }
}

/// Where a pane may draw.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// With its border.
    pub frame: Rect,
    /// Without.
    pub inner: Rect,
    /// Columns of the border that the title took.
    pub title: usize,
    /// Whether keys go there.
    pub focus: bool,
}

impl Place {
    /// Write more of the title: on the left behind the pane's name, and on the right. What does not fit is left out, the
    /// right one first.
    pub fn write_titles(&self, buffer: &mut Buffer, left: &Line<'_>, right: &Line<'_>) {
        let start = self.frame.x as usize + 1 + self.title;
        let end = (self.frame.right() as usize).saturating_sub(2);
        let room = end.saturating_sub(start);
        let (left_width, right_width) = (left.width(), right.width());
        let right_fits = right_width > 0 && left_width + right_width + 2 <= room;
        let left_room = if right_fits { room - right_width - 1 } else { room };
        if left_width > 0 && left_room > 8 {
            put_clipped(buffer, start as u16, self.frame.y, left_room, left);
        }
        if right_fits {
            text::put(buffer, (end - right_width) as u16, self.frame.y, right_width, right);
        }
    }
}

/// Draw a line; where it is too long, its last span is clipped with an ellipsis.
fn put_clipped(buffer: &mut Buffer, x: u16, y: u16, columns: usize, line: &Line<'_>) {
    let mut spans = Vec::new();
    let mut left = columns;
    for span in &line.spans {
        let clipped = text::clip(&span.content, left);
        left -= text::width(&clipped).min(left);
        spans.push(Span::styled(clipped, span.style));
        if left == 0 {
            break;
        }
    }
    text::put(buffer, x, y, columns, &Line::from(spans));
}

fn tab_line(canvas: &mut Canvas<'_>, which: Pane, focus: bool, tabs: &[Pane], area: Rect) -> Line<'static> {
    let theme = canvas.theme;
    let mut spans = Vec::new();
    let mut x = area.x + 1;
    for (index, &tab) in tabs.iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled("│", theme.border(focus)));
            x += 1;
        }
        let style = match tab == which {
            true => theme.title(true).add_modifier(Modifier::UNDERLINED),
            false => theme.muted(),
        };
        let columns = tab.title().len() as u16 + 2;
        canvas.areas.tabs.push((Rect::new(x, area.y, columns, 1).intersection(area), tab));
        spans.extend([Span::raw(" "), Span::styled(tab.title(), style), Span::raw(" ")]);
        x += columns;
    }
    Line::from(spans)
}
