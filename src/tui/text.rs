//! Text that fits: clipped, wrapped and aligned by the columns it takes on a terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a text.
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

/// Text with spaces behind it, up to a number of columns.
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

/// As [`wrap`], but no more than `most` rows; the last one is clipped.
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

/// A count with thin groups: `11 689 512`, or short: `11.7 M`.
pub fn count(number: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let value = number as f64;
    for (size, unit) in UNITS {
        if value >= size {
            let scaled = value / size;
            let places = if scaled < 9.95 { 1 } else { 0 };
            return format!("{scaled:.places$} {unit}");
        }
    }
    number.to_string()
}

/// Bytes in binary units: `4.7 MiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (number as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let places = usize::from(unit > 0 && value < 99.95);
    format!("{value:.places$} {}", UNITS.get(unit).copied().unwrap_or(""))
}

/// An error in seven columns: `6.0e-07`; `0`, `inf` and `nan` as they are.
pub fn error(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() { "nan".to_owned() } else { "inf".to_owned() };
    }
    let text = format!("{value:.1e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
        }
        None => text,
    }
}

/// A shape: `1×3×32×32`, `scalar` without axes.
pub fn shape(axes: &[usize]) -> String {
    if axes.is_empty() {
        return "scalar".to_owned();
    }
    axes.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
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

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1.2 M");
        assert_eq!(count(671_000_000_000), "671 G");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(4_928_307), "4.7 MiB");
        assert_eq!(error(6.04e-7), "6.0e-07");
        assert_eq!(error(12.0), "1.2e+01");
        assert_eq!(error(0.0), "0");
        assert_eq!(error(f64::INFINITY), "inf");
        assert_eq!(error(f64::NAN), "nan");
        assert_eq!(shape(&[1, 3, 32]), "1×3×32");
    }
}
