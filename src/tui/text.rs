//! Drawing text into a frame, cut off where its place ends.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

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

/// A line from column `left` on.
pub fn shifted(line: &Line<'_>, left: usize) -> Line<'static> {
    let mut hidden = left;
    let mut spans = Vec::new();
    for span in &line.spans {
        let mut shown = String::new();
        for sign in span.content.chars() {
            let columns = sign.width().unwrap_or(0);
            if hidden == 0 {
                shown.push(sign);
            } else {
                hidden = hidden.saturating_sub(columns);
            }
        }
        spans.push(Span::styled(shown, span.style));
    }
    Line::from(spans).style(line.style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shifted_across_its_spans() {
        let line = Line::from(vec![Span::raw("ab漢"), Span::raw("cd")]);
        let words = |left| shifted(&line, left).spans.iter().map(|span| span.content.to_string()).collect::<String>();
        assert_eq!([words(0), words(1), words(2), words(4), words(9)], ["ab漢cd", "b漢cd", "漢cd", "cd", ""]);
    }
}
