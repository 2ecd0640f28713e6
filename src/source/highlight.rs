//! Colours for Python source, by syntect.

use std::ops::Range;
use std::sync::OnceLock;

use syntect::highlighting::{
    Color, FontStyle, HighlightState, Highlighter, RangedHighlightIterator, Style, Theme, ThemeSet,
};
use syntect::parsing::{ParseState, ScopeStack, SyntaxReference, SyntaxSet};
use syntect::util::LinesWithEndings;

use super::syntax::statement_start;

/// Longer lines are left plain: regular expressions on them take seconds, and nobody reads them.
const LINE_LIMIT: usize = 4_000;

/// Lines above the first one that are read for the state at its beginning. A statement that begins further above is read from
/// there on: colours may be those of code where it is a docstring, and are there within a second.
const LINES_ABOVE: usize = 5_000;

/// A run of one style within a line: byte range, foreground colour, bold, italic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Bytes of the line.
    pub bytes: Range<usize>,
    /// Red, green, blue.
    pub colour: (u8, u8, u8),
    /// Bold.
    pub bold: bool,
    /// Italic.
    pub italic: bool,
}

/// Highlight these lines (1-based, end excluded) of a Python file for a dark or a light background. One list of runs a line.
///
/// The runs of a line follow each other and cover it, its end excluded; an empty line has none. Lines beyond the file's end
/// have no list. Reading begins at the statement of the file's top level that the first line is in, so that a docstring
/// begun above it is seen; it takes up to 0.2 ms a line, so it is not for the thread that draws.
pub fn python(text: &str, lines: Range<usize>, dark: bool) -> Vec<Vec<Run>> {
    let first = lines.start.max(1);
    let start = statement_start(text, first).unwrap_or(1).max(first.saturating_sub(LINES_ABOVE));
    let Some((set, syntax, theme)) = assets(dark) else { return plain(text, first..lines.end) };
    let highlighter = Highlighter::new(theme);
    let mut parser = ParseState::new(syntax);
    let mut state = HighlightState::new(&highlighter, ScopeStack::new());
    let mut all = Vec::new();
    let numbered = (1..lines.end).zip(LinesWithEndings::from(text)).skip(start - 1);
    for (number, line) in numbered {
        let operations = if line.len() > LINE_LIMIT { None } else { parser.parse_line(line, set).ok() };
        let Some(operations) = operations else {
            if number >= first {
                all.push(whole(line));
            }
            continue;
        };
        let runs = RangedHighlightIterator::new(&mut state, &operations, line, &highlighter);
        // The iterator carries the state on, so that it runs for the lines above as well.
        let runs: Vec<Run> = runs.filter_map(|(style, _, bytes)| run(style, bytes, content(line))).collect();
        if number >= first {
            all.push(runs);
        }
    }
    all
}

/// The sets that come with syntect, loaded once.
fn assets(dark: bool) -> Option<(&'static SyntaxSet, &'static SyntaxReference, &'static Theme)> {
    static SYNTAXES: OnceLock<SyntaxSet> = OnceLock::new();
    static THEMES: OnceLock<ThemeSet> = OnceLock::new();
    let set = SYNTAXES.get_or_init(SyntaxSet::load_defaults_newlines);
    let themes = THEMES.get_or_init(ThemeSet::load_defaults);
    let theme = themes.themes.get(if dark { "base16-ocean.dark" } else { "InspiredGitHub" })?;
    Some((set, set.find_syntax_by_extension("py")?, theme))
}

fn run(style: Style, bytes: Range<usize>, content: &str) -> Option<Run> {
    let bytes = bytes.start..bytes.end.min(content.len());
    let Color { r, g, b, .. } = style.foreground;
    let (bold, italic) = (style.font_style.contains(FontStyle::BOLD), style.font_style.contains(FontStyle::ITALIC));
    (!bytes.is_empty()).then_some(Run { bytes, colour: (r, g, b), bold, italic })
}

/// A line without its end.
fn content(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// A line in one grey that both backgrounds bear.
fn whole(line: &str) -> Vec<Run> {
    let bytes = 0..content(line).len();
    let run = Run { bytes, colour: (128, 128, 128), bold: false, italic: false };
    if run.bytes.is_empty() { Vec::new() } else { vec![run] }
}

fn plain(text: &str, lines: Range<usize>) -> Vec<Vec<Run>> {
    (1..lines.end).zip(LinesWithEndings::from(text)).skip(lines.start - 1).map(|(_, line)| whole(line)).collect()
}
