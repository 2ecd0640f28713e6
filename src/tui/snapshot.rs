//! A drawn buffer as text that a test can compare: its rows, and the runs of style in each.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// The rows alone, without trailing spaces.
pub fn rows(buffer: &Buffer) -> Vec<String> {
    buffer_rows(buffer).map(|row| visible(row).map(|(_, cell)| cell.symbol()).collect::<String>()).map(trim).collect()
}

/// Rows, and below them for each row its runs of one style: first and last column, colours, modifiers. Cells in the
/// terminal's own style are left out.
pub fn styled(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in rows(buffer) {
        let _ = writeln!(text, "{row}");
    }
    text.push_str("---\n");
    for (y, row) in buffer_rows(buffer).enumerate() {
        let runs = runs(row);
        if !runs.is_empty() {
            let _ = writeln!(text, "{y}: {}", runs.join("; "));
        }
    }
    text
}

fn trim(row: String) -> String {
    row.trim_end().to_owned()
}

fn buffer_rows(buffer: &Buffer) -> impl Iterator<Item = &[Cell]> {
    buffer.content.chunks(usize::from(buffer.area.width).max(1))
}

/// The cells that show: one behind a wide character does not.
pub(super) fn visible(row: &[Cell]) -> impl Iterator<Item = (usize, &Cell)> {
    let mut covered = 0;
    row.iter().enumerate().filter(move |(x, cell)| {
        let shows = *x >= covered;
        if shows {
            covered = x + unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1);
        }
        shows
    })
}

fn runs(row: &[Cell]) -> Vec<String> {
    let mut runs: Vec<(usize, usize, String)> = Vec::new();
    // Whether only blanks have come since the last run: words of one style are one run.
    let mut blanks = true;
    for (x, cell) in row.iter().enumerate() {
        // The colour of a space does not show, unless it is reversed or underlined.
        let blank = cell.symbol() == " " && !cell.modifier.intersects(Modifier::REVERSED | Modifier::UNDERLINED);
        let style = describe(cell, blank);
        match runs.last_mut() {
            _ if style.is_empty() => blanks &= blank,
            Some(run) if run.2 == style && blanks => run.1 = x,
            _ => {
                runs.push((x, x, style));
                blanks = true;
            }
        }
    }
    runs.into_iter().map(|(first, last, style)| format!("{first}-{last} {style}")).collect()
}

fn describe(cell: &Cell, blank: bool) -> String {
    let mut words = Vec::new();
    if cell.fg != Color::Reset && !blank {
        words.push(cell.fg.to_string());
    }
    if cell.bg != Color::Reset {
        words.push(format!("on {}", cell.bg));
    }
    let modifiers = [
        (Modifier::BOLD, "bold"),
        (Modifier::ITALIC, "italic"),
        (Modifier::UNDERLINED, "underlined"),
        (Modifier::REVERSED, "reversed"),
    ];
    for (modifier, word) in modifiers {
        if cell.modifier.contains(modifier) && !(blank && matches!(word, "bold" | "italic")) {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn rows_and_runs_are_those_of_the_buffer() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        buffer.set_string(0, 0, "漢 ok", Style::new().fg(Color::Rgb(1, 2, 3)).bold());
        buffer.set_string(2, 1, "x y", Style::new().reversed());
        assert_eq!(rows(&buffer), ["漢 ok", "  x y"]);
        assert_eq!(styled(&buffer), "漢 ok\n  x y\n---\n0: 0-4 #010203 bold\n1: 2-4 reversed\n");
    }
}
