//! The line at the top: which file, how much of it, and how much of that converts.

use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use crate::figures::percent;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::panes::View;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::escape;

/// Rows it takes on a screen of that size.
pub fn rows(area: Rect) -> u16 {
    if (60..120).contains(&area.width) && area.height >= 24 { 2 } else { 1 }
}

/// Draw it.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let (theme, view) = (canvas.theme, canvas.view);
    if area.height > 1 {
        text::put(canvas.buffer, area.x, area.y, columns, &file(theme, view, columns));
        text::put(canvas.buffer, area.x, area.y + 1, columns, &bars(theme, view, 16, true));
        return;
    }
    // The longest right-hand side that leaves room for the file.
    let variants = [(12, true), (6, true), (0, true), (0, false)].map(|(bar, words)| bars(theme, view, bar, words));
    let wish = file(theme, view, columns).width().min(columns / 2 + 8);
    let fitting = variants.iter().find(|right| right.width() + wish + 2 <= columns);
    let right = fitting.or(variants.last().filter(|right| right.width() + 12 <= columns));
    let taken = right.map_or(0, |right| right.width() + 1);
    if let Some(right) = right {
        text::put(canvas.buffer, area.right() - taken as u16, area.y, taken, right);
    }
    let room = columns.saturating_sub(taken + 1);
    text::put(canvas.buffer, area.x, area.y, room, &file(theme, view, room));
}

/// File, format, parameters, size: as many of them as fit.
fn file(theme: &Theme, view: &View, columns: usize) -> Line<'static> {
    let document = &view.document;
    let name = text::clip(&escape(&document.name), columns.saturating_sub(1));
    let mut used = 1 + text::width(&name);
    let mut spans = vec![Span::raw(" "), Span::styled(name, theme.title(true))];
    let facts = [
        document.format.clone(),
        format!("{} parameters", text::count(document.parameters())),
        text::bytes(document.bytes),
    ];
    for fact in facts.into_iter().filter(|fact| !fact.is_empty()) {
        used += 3 + text::width(&fact);
        if used > columns {
            break;
        }
        spans.push(Span::styled(" · ", theme.faint()));
        spans.push(Span::styled(fact, theme.muted()));
    }
    Line::from(spans)
}

/// The two shares that people look for first, and the number of places in source that stop or change a port.
fn bars(theme: &Theme, view: &View, bar: usize, words: bool) -> Line<'static> {
    let shares = view.document.coverage.map(|all| [("layers", all.layers), ("parameters", all.parameters)]);
    let mut spans = Vec::new();
    if shares.is_none() {
        spans.push(Span::styled(" no layers ", theme.muted()));
    }
    for (word, share) in shares.into_iter().flatten() {
        spans.push(Span::raw(" "));
        if words {
            spans.push(Span::styled(format!("{word} "), theme.muted()));
        }
        let full = filled(share.unwrap_or(0.0), bar);
        spans.push(Span::styled(glyphs::BAR.to_string().repeat(full), theme.bar()));
        spans.push(Span::styled(glyphs::BAR_EMPTY.to_string().repeat(bar - full), theme.faint()));
        let percent = share.map_or("–".to_owned(), |share| format!("{}%", percent(share)));
        let percent = format!("{}{percent}", if bar > 0 { " " } else { "" });
        spans.push(Span::styled(percent, theme.text().add_modifier(Modifier::BOLD)));
        spans.push(Span::raw(" "));
    }
    let about = &view.document.about;
    let foreign = about.pickle.as_ref().map_or(0, |pickle| pickle.foreign.len());
    if foreign > 0 {
        spans.push(Span::styled(format!(" {} pickle", glyphs::FLAG), theme.severity(crate::source::Severity::Breaks)));
    }
    if !view.document.warnings.is_empty() {
        spans.push(Span::styled(format!(" ! {}", view.document.warnings.len()), theme.notice()));
    }
    let blockers = view.document.flags;
    let style = if blockers == 0 { theme.muted() } else { theme.severity(crate::source::Severity::Breaks) };
    spans.push(Span::styled(format!(" {} {blockers}", glyphs::FLAG), style));
    Line::from(spans)
}

/// How many cells of a bar are full: none only if the share is 0, all only if it is 1.
fn filled(share: f64, bar: usize) -> usize {
    let full = (share * bar as f64).round() as usize;
    if bar < 2 {
        return full.min(bar);
    }
    match full {
        0 if share > 0.0 => 1,
        full if full >= bar && share < 1.0 => bar - 1,
        full => full.min(bar),
    }
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn full_means_full_and_empty_means_empty() {
        assert_eq!((filled(1.0, 10), filled(0.99, 10), filled(0.01, 10), filled(0.0, 10)), (10, 9, 1, 0));
        assert_eq!(filled(0.5, 0), 0);
    }
}
