//! A line of code in the columns that there are.

use std::ops::Range;

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use crate::source::highlight::Run;
use crate::tui::theme::Theme;

use t2m_checkpoint::escape::escape;

/// Columns of a tab stop.
const TAB: usize = 4;
/// Characters of a line that are drawn for each column: a letter with its accents is several.
const SIGNS: usize = 8;

/// The styles of a line of code, worked out once for each run of it: a colour may have to be moved until it can be read.
#[derive(Debug)]
pub struct Colours {
    base: Style,
    runs: Vec<(Range<usize>, Style)>,
}

impl Colours {
    /// Of a line with these runs, or of one that has none yet.
    pub fn of(theme: &Theme, runs: Option<&Vec<Run>>) -> Colours {
        let base = theme.text();
        let style = |run: &Run| {
            let mut style = base.fg(theme.code(run.colour));
            if run.bold {
                style = style.add_modifier(Modifier::BOLD);
            }
            if run.italic {
                style = style.add_modifier(Modifier::ITALIC);
            }
            (run.bytes.clone(), style)
        };
        Colours { base, runs: runs.into_iter().flatten().map(style).collect() }
    }

    /// The style of the character at a byte.
    pub fn at(&self, byte: usize) -> Style {
        self.runs.iter().find(|(bytes, _)| bytes.contains(&byte)).map_or(self.base, |(_, style)| *style)
    }
}

/// Code from column `left` on, in `room` columns: tabs expanded, unsafe characters spelt out, each character in its style, which
/// `style` gives by its byte and its number in the line.
pub fn styled_code(code: &str, left: usize, room: usize, style: impl Fn(usize, usize) -> Style) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut column = 0;
    let mut cut = false;
    for (index, (byte, character)) in code.char_indices().enumerate() {
        // Characters of width zero could go on for megabytes.
        if column >= left + room || index >= (left + room) * SIGNS {
            cut = true;
            break;
        }
        let mut encoded = [0u8; 4];
        let shown = match character {
            '\t' => " ".repeat(TAB - column % TAB),
            _ => escape(character.encode_utf8(&mut encoded)).into_owned(),
        };
        let style = style(byte, index);
        for character in shown.chars() {
            let columns = character.width().unwrap_or(0);
            if column >= left && column + columns <= left + room {
                match spans.last_mut() {
                    Some(span) if span.style == style => span.content.to_mut().push(character),
                    _ => spans.push(Span::styled(character.to_string(), style)),
                }
            }
            column += columns;
        }
    }
    if cut && let Some(last) = spans.last_mut() {
        last.content.to_mut().pop();
        last.content.to_mut().push('…');
    }
    if left > 0
        && let Some(first) = spans.first_mut()
    {
        // A sign that there is more on the left.
        let rest: String = first.content.chars().skip(1).collect();
        first.content = format!("…{rest}").into();
    }
    Line::from(spans)
}
