//! Drawing: a pure function of the state. Panes and panels draw themselves; here is what is around them, and the chart.
//!
//! Everything is drawn in full colour and with all its signs; what the terminal cannot show is replaced at the end, in the
//! finished buffer. Text that comes from a file goes through [`t2m_checkpoint::escape::escape`] first.

pub mod along;
pub mod bars;
pub mod chart;
pub mod code;
mod footer;
mod header;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget};

use super::action::{Action, Effect};
use super::areas::{Areas, Shape};
use super::canvas::{Canvas, frame};
use super::glyphs;
use super::panes::{self, View};
use super::state::{Screen, State};
use super::text;
use super::update::update;
use crate::fuzzy::Matcher;

/// Most columns of a caption.
const CAPTION: usize = 72;

/// Draw the state into `area` of a buffer; say where things went.
pub fn draw(state: &State, area: Rect, buffer: &mut Buffer) -> Areas {
    let mut areas = Areas { shape: Shape::of(area.width, area.height), ..Areas::default() };
    let area = area.intersection(buffer.area);
    match (&state.screen, areas.shape) {
        (_, Shape::Tiny) => too_small(state, area, buffer),
        (Screen::Opening(opening), _) => opening.draw(state, area, buffer),
        (Screen::Failed(failed), _) => failed.draw(&state.theme, area, buffer),
        (Screen::Open(view), _) => open(state, view, area, buffer, &mut areas),
    }
    if let Some(caption) = &state.caption {
        captioned(state, caption, area, buffer);
    }
    if state.ascii {
        glyphs::to_ascii(buffer);
    }
    state.theme.adapt(buffer);
    areas
}

/// Draw, and pass the geometry on to the state. If the state scrolls because of it (a pane has come into view or has
/// another size), draw again. Returns the effects that the state asks for.
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

/// What a script says, in a box above the bottom line.
fn captioned(state: &State, caption: &str, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width.saturating_sub(8)).min(CAPTION);
    let lines = text::wrap(&t2m_checkpoint::escape::sentence(caption), columns);
    let widest = lines.iter().map(|line| text::width(line)).max().unwrap_or(0) as u16;
    let (width, height) = ((widest + 4).min(area.width), (lines.len() as u16 + 2).min(area.height.saturating_sub(1)));
    let place = Rect::new(
        area.x + (area.width - width) / 2,
        area.bottom().saturating_sub(height + 2).max(area.y),
        width,
        height,
    );
    let place = place.intersection(area);
    Clear.render(place, buffer);
    let inner = frame(buffer, place, &state.theme, true, &Line::default());
    let style = state.theme.key();
    let lines: Vec<Line> = lines.into_iter().map(|line| Line::styled(format!(" {line}"), style)).collect();
    text::put_lines(buffer, inner, &lines);
}

fn open(state: &State, view: &View, area: Rect, buffer: &mut Buffer, areas: &mut Areas) {
    let header = header::rows(area);
    let rows = [Constraint::Length(header), Constraint::Fill(1), Constraint::Length(1)];
    let [top, body, bottom] = Split::vertical(rows).areas(area);
    let canvas = &mut Canvas {
        theme: &state.theme,
        keymap: &state.keymap,
        tick: state.tick,
        fetched: state.fetched,
        view,
        found: state.panels.find.matches(),
        sought: state.panels.find.words().map(|words| (words, Matcher::default())),
        buffer,
        areas,
    };
    header::draw(canvas, top);
    panes::draw(canvas, body);
    if let Some(panel) = state.panels.current() {
        panel.draw(canvas, body);
    }
    footer::draw(state, canvas, bottom);
}
