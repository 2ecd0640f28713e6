//! Drawing text into a frame, cut off where its place ends.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub use crate::figures::{bytes, count, error, shape};
pub use crate::fit::{clip, clip_left, pad, width, wrap, wrap_to};

/// Draw a line at a place, cut off at `columns`.
pub fn put(buffer: &mut Buffer, x: u16, y: u16, columns: usize, line: &Line<'_>) {
    if buffer.area.contains((x, y).into()) {
        buffer.set_line(x, y, line, columns.min(usize::from(u16::MAX)) as u16);
    }
}

/// Draw text in one style, clipped with an ellipsis.
pub fn put_text(buffer: &mut Buffer, x: u16, y: u16, columns: usize, text: &str, style: Style) {
    put(buffer, x, y, columns, &Line::from(Span::styled(clip(text, columns), style)));
}

/// Draw lines from the top of an area.
pub fn put_lines(buffer: &mut Buffer, area: Rect, lines: &[Line<'_>]) {
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        put(buffer, area.x, y, usize::from(area.width), line);
    }
}
