//! Text that fits: clipped, wrapped and aligned by the columns it takes on a terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::figures::{bytes, count, error, shape};

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text, or its beginning and an ellipsis where it takes more than `columns`.
pub fn clip(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if taken + wide + 1 > columns {
            break;
        }
        taken += wide;
        clipped.push(character);
    }
    if columns > 0 {
        clipped.push('…');
    }
    clipped
}

/// Text padded with spaces to a number of columns.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text in rows of at most `columns`, broken at spaces where that is possible.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut rows = Vec::new();
    for paragraph in text.split('\n') {
        let mut row = String::new();
        for word in paragraph.split_whitespace() {
            if !row.is_empty() && row.width() + 1 + word.width() > columns {
                rows.push(std::mem::take(&mut row));
            }
            if !row.is_empty() {
                row.push(' ');
            }
            for character in word.chars() {
                if row.width() + character.width().unwrap_or(0) > columns && !row.is_empty() {
                    rows.push(std::mem::take(&mut row));
                }
                row.push(character);
            }
        }
        rows.push(row);
    }
    rows
}

/// Like [`wrap`], but at most `most` rows; the last one is clipped.
pub fn wrap_to(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut rows = wrap(text, columns);
    if rows.len() > most {
        let rest = rows.split_off(most.saturating_sub(1)).join(" ");
        rows.push(clip(&rest, columns));
    }
    rows
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_clipped_by_columns_not_by_characters() {
        assert_eq!(clip("conv1", 5), "conv1");
        assert_eq!(clip("conv1", 4), "con…");
        assert_eq!(clip("漢字漢字", 5), "漢字…");
        assert_eq!(clip("漢字漢字", 4), "漢…");
        assert_eq!(clip("abc", 0), "");
    }

    #[test]
    fn long_words_are_broken_and_paragraphs_kept() {
        assert_eq!(wrap("a host value in the graph", 12), ["a host value", "in the graph"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap_to("one two three four", 5, 2), ["one", "two …"]);
    }
}
