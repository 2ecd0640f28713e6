//! The panel of a conversion: where it goes, how far it is, and which tensor becomes which.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{popup, spinner, text};
use crate::compare::Verdict;
use crate::export::state_dict::Known;
use crate::export::writer::Progress;
use crate::figures::{percent, share};
use crate::tui::converting::{Preview, Row};
use crate::tui::glyphs;
use crate::tui::layout::Layout;
use crate::tui::state::{State, View};
use t2m_checkpoint::escape::{quoted, sentence};

/// Most columns.
const WIDTH: u16 = 120;
/// Columns of the rule.
const RULE: usize = 18;

/// Draw it over the panes.
pub fn draw(state: &State, view: &View, area: Rect, buffer: &mut Buffer, layout: &mut Layout) {
    let theme = &state.theme;
    let width = area.width.min(WIDTH);
    let columns = usize::from(width.saturating_sub(4));
    let mut head: Vec<Line> = Vec::new();
    let say = |words: &str, style: Style| {
        let rows = text::wrap(&sentence(words), columns);
        rows.into_iter().map(|row| Line::styled(format!(" {row}"), style)).collect::<Vec<_>>()
    };
    let rows: &[Row] = match &view.converting.preview {
        None => {
            head.push(Line::styled(format!(" {} reading names and shapes", spinner(state.tick)), theme.muted()));
            &[]
        }
        Some(Err(reason)) => {
            head.extend(say(reason, theme.notice()));
            &[]
        }
        Some(Ok(preview)) => {
            head.extend(say(&summary(view, preview), theme.text()));
            &preview.rows
        }
    };
    if let Some(now) = &view.converting.progress {
        let words = progress(now);
        head.push(Line::styled(
            format!(" {} {}", spinner(state.tick), text::clip(&sentence(&words), columns)),
            theme.key(),
        ));
    }
    match &view.converting.outcome {
        Some(Ok(words)) => head.extend(say(words, theme.verdict(Verdict::Ok))),
        Some(Err(words)) => head.extend(say(words, theme.notice())),
        None => {}
    }
    head.push(Line::default());
    let height = (head.len() + rows.len() + 2).min(usize::from(u16::MAX)) as u16;
    let inner = popup(buffer, area, (width, height), theme, "Convert");
    let shown = usize::from(inner.height).saturating_sub(head.len());
    let below = rows.len().saturating_sub(shown);
    let top = view.overlay_top.min(below);
    let lines = rows.iter().skip(top).take(shown).map(|row| line(state, view, row, columns));
    let all: Vec<Line> = head.into_iter().chain(lines).collect();
    text::put_lines(buffer, inner, &all);
    if below > top {
        let words = format!(" {} more ", below - top);
        let x = inner.right().saturating_sub(words.len() as u16 + 1);
        text::put_text(buffer, x, inner.bottom(), words.len(), &words, theme.notice());
    }
    layout.overlay = Some((inner, below - top));
}

/// Where it goes, and what of it nobody has measured.
fn summary(view: &View, preview: &Preview) -> String {
    let passed = |row: &&Row| view.measured.verdict(row.module).is_some_and(Verdict::passes);
    let unmeasured = preview.rows.iter().filter(|row| !passed(row)).count();
    let copied = preview.rows.iter().filter(|row| matches!(row.known, Known::Copied(_))).count();
    let mut words =
        format!("{}: {} tensors, {}", preview.target.display(), preview.rows.len(), text::bytes(preview.bytes));
    for (count, what) in [
        (preview.left, "dropped or tied to another"),
        (copied, "only copied under their names"),
        (unmeasured, "of layers that no run has passed yet, which are marked"),
    ] {
        if count > 0 {
            words += &format!("; {count} {what}");
        }
    }
    words
}

fn progress(now: &Progress<'_>) -> String {
    if !now.counts_bytes() {
        return now.words();
    }
    let (done, of) = now.in_phase();
    format!("{}, {} %, {}", now.words(), percent(share(done, of)), now.tensor)
}

/// A mark for what was measured of its layer, both names, the rule.
fn line(state: &State, view: &View, row: &Row, columns: usize) -> Line<'static> {
    let theme = &state.theme;
    let verdict = view.measured.verdict(row.module);
    let (mark, style) = match (&row.known, verdict) {
        (Known::Copied(_), _) => (glyphs::FLAG, theme.notice()),
        (_, Some(verdict)) => (glyphs::verdict(verdict), theme.verdict(verdict)),
        (_, None) => (glyphs::verdict(Verdict::NotRun), theme.notice()),
    };
    let names = columns.saturating_sub(RULE + 6) / 2;
    let cell = |name: &str| {
        let clipped = text::clip(&quoted(name), names);
        let pad = names.saturating_sub(text::width(&clipped));
        clipped + &" ".repeat(pad)
    };
    let rule = match &row.known {
        Known::Copied(_) => "copied".to_owned(),
        _ => text::clip(&row.rule, RULE),
    };
    Line::from(vec![
        Span::styled(format!(" {mark} "), style),
        Span::styled(cell(&row.name), theme.text()),
        Span::styled(" ← ".to_owned(), theme.muted()),
        Span::styled(cell(&row.from), theme.muted()),
        Span::styled(format!(" {rule}"), theme.muted()),
    ])
}
