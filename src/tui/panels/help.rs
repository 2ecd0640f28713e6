//! The help: every key from the table, and what each sign means.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Panel, Then, read};
use crate::compare::Verdict;
use crate::source::Severity;
use crate::triage::Status;
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::field::Field;
use crate::tui::glyphs;
use crate::tui::keymap::{Keymap, has_words};
use crate::tui::panels::Name;
use crate::tui::scroll::Scroll;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::quoted;

/// Fewest and most columns of one column of help.
const WIDTH: (usize, usize) = (56, 74);
/// Columns of the keys in it.
const KEYS: usize = 23;

/// How far the help is scrolled, and what is searched for in it.
#[derive(Debug, Clone, Default)]
pub struct Help {
    scroll: Scroll,
    search: Field,
    /// Whether the search is being typed.
    typing: bool,
}

impl Panel for Help {
    fn scroll(&mut self) -> Option<&mut Scroll> {
        Some(&mut self.scroll)
    }

    fn open(&mut self, _context: &mut Context<'_>) {
        *self = Help::default();
    }

    fn command(&mut self, command: Command, context: &mut Context<'_>) -> Then {
        match command {
            Command::Search => (self.typing, self.search) = (true, Field::default()),
            Command::Accept if self.typing => self.typing = false,
            Command::Accept => return Then::Close,
            Command::Dismiss if self.typing || !self.search.text.is_empty() => *self = Help::default(),
            _ if self.typing && self.search.command(command) => self.scroll = Scroll::default(),
            _ => return read(self, command, context),
        }
        Then::Stay
    }

    fn takes_text(&self) -> bool {
        self.typing
    }

    fn text(&mut self, text: &str, _context: &mut Context<'_>) {
        self.search.insert(text);
        self.scroll = Scroll::default();
    }

    fn prompt(&self, canvas: &Canvas<'_>, columns: usize) -> Option<Line<'static>> {
        if !self.typing {
            return None;
        }
        let mut spans = vec![Span::styled("/", canvas.theme.key())];
        spans.extend(self.search.spans(canvas.theme, columns.saturating_sub(1), true));
        Some(Line::from(spans))
    }

    /// In two columns where there is room.
    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let room = usize::from(area.width.saturating_sub(2));
        let columns = if room >= 2 * WIDTH.0 { 2 } else { 1 };
        let width = (room / columns).min(WIDTH.1);
        let words: Vec<String> = self.search.text.split_whitespace().map(str::to_lowercase).collect();
        let (mut left, right) = sections(canvas.theme, canvas.keymap, columns, width, &words);
        if left.is_empty() {
            left.push(Line::styled("   Nothing in the help has these words.", canvas.theme.muted()));
        }
        let count = left.len().max(right.len());
        let size = ((columns * width + 2) as u16, count as u16 + 2);
        let title = match self.search.text.as_str() {
            "" => "Help".to_owned(),
            words => format!("Help: {}", text::clip(&quoted(words), width / 2)),
        };
        let inner = canvas.popup(area, size, &title);
        let rows = self.scroll.rows(inner, count);
        text::put_lines(canvas.buffer, inner, left.get(rows.top..).unwrap_or_default());
        if columns == 2 {
            let half = Rect { x: inner.x + width as u16, width: inner.width.saturating_sub(width as u16), ..inner };
            text::put_lines(canvas.buffer, half, right.get(rows.top..).unwrap_or_default());
        }
        canvas.scrolled(inner, rows);
    }
}

/// The lines of each column.
fn sections(
    theme: &Theme,
    keymap: &Keymap,
    columns: usize,
    width: usize,
    words: &[String],
) -> (Vec<Line<'static>>, Vec<Line<'static>>) {
    let mut groups: Vec<Vec<Line<'static>>> = Vec::new();
    let mut headings: Vec<&str> = Vec::new();
    for binding in &keymap.bindings {
        if binding.keys.is_empty() || !binding.has(words) {
            continue;
        }
        // The rows of a heading may stand apart in the table.
        let at = headings.iter().position(|heading| *heading == binding.group).unwrap_or_else(|| {
            headings.push(&binding.group);
            groups.push(vec![title(theme, &binding.group)]);
            headings.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            let keys = binding.keys.join(" ");
            group.extend(entry(theme, width, &keys, theme.key(), &binding.help));
        }
    }
    let has_sign = |head: &str, said: &str| has_words(words, head.split(' '), &format!("signs {head} {said}"));
    groups.extend(signs(theme, keymap, width, has_sign));
    let total: usize = groups.iter().map(|group| group.len() + 1).sum();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for group in groups {
        let side = if columns == 1 || left.len() + group.len() / 2 < total / 2 { &mut left } else { &mut right };
        if !side.is_empty() {
            side.push(Line::default());
        }
        side.extend(group);
    }
    (left, right)
}

fn title(theme: &Theme, heading: &str) -> Line<'static> {
    Line::from(Span::styled(format!(" {heading}"), theme.title(true)))
}

fn entry(theme: &Theme, width: usize, head: &str, style: Style, words: &str) -> Vec<Line<'static>> {
    let rows = text::wrap(words, width.saturating_sub(KEYS + 2));
    let mut heads = vec![head.to_owned()];
    heads.resize(rows.len().max(1), String::new());
    heads
        .into_iter()
        .zip(rows)
        .map(|(head, row)| {
            Line::from(vec![
                Span::styled(format!("   {}", text::clip(&head, KEYS - 4)), style),
                Span::raw(" ".repeat((KEYS - 3).saturating_sub(text::width(&text::clip(&head, KEYS - 4))))),
                Span::styled(row, theme.text()),
            ])
        })
        .collect()
}

fn signs(
    theme: &Theme,
    keymap: &Keymap,
    width: usize,
    wanted: impl Fn(&str, &str) -> bool,
) -> Option<Vec<Line<'static>>> {
    let mut lines = vec![title(theme, "Signs")];
    let mut add = |head: &str, style: Style, words: &str| {
        if wanted(head, words) {
            lines.extend(entry(theme, width, head, style, words));
        }
    };
    for status in Status::ALL {
        let words = match status {
            Status::Direct => "the same layer, weights as they are or by a rule",
            Status::Recipe => "convertible, with more than a rename",
            Status::Incomplete => "an argument that changes the result is not known",
            Status::Unsupported => "no conversion; behind it: how hard one would be",
            Status::Container => "holds layers and has no forward of its own",
            Status::Custom => "a forward of its own, a library's or yours, to be ported",
            Status::Unknown => "a layer that the registry does not know",
        };
        let head = format!("{} {}", glyphs::status(status), status.name());
        add(&head, theme.status(status), words);
    }
    for verdict in Verdict::ALL {
        let words = match verdict {
            Verdict::Exact => "no element differs",
            Verdict::Ok => "within the tolerance",
            Verdict::Drift => "above the tolerance, below 1e-3 of the scale",
            Verdict::Broken => "above that: the conversion is wrong",
            Verdict::Failed => "an engine said no or died",
            Verdict::NotRun => "not measured yet",
        };
        let head = format!("{} {}", glyphs::verdict(verdict), verdict.name());
        add(&head, theme.verdict(verdict).add_modifier(Modifier::BOLD), words);
    }
    let words = "something is not known (eps?): the verdict holds with each plausible value, which";
    let words = format!("{words} `{}` shows", keymap.key(None, Command::Open(Name::Attributes)));
    add("~", theme.status(Status::Incomplete), &words);
    let port = format!("{}n", glyphs::status(Status::Custom));
    let words = "forwards left to port, here and below: no layer's verdict says anything of them";
    add(&port, theme.status(Status::Custom), words);
    let flag = format!("{} n", glyphs::FLAG);
    add(&flag, theme.severity(Severity::Breaks), "blockers in its forward");
    (lines.len() > 1).then_some(lines)
}
