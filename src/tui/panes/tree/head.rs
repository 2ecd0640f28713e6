//! The row of a class, where the modules stand under their classes.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::order::Group;
use super::row::{Columns, STATUS};
use crate::figures;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::text;
use t2m_checkpoint::escape::quoted;

/// Draw it: the class and how many modules it has, their parameters, what was measured of them.
pub(super) fn draw(canvas: &mut Canvas<'_>, group: &Group, selected: bool, strip: Rect, columns: &Columns) {
    let (theme, view) = (canvas.theme, canvas.view);
    let fold = if view.tree.is_unfolded(group) { glyphs::OPEN } else { glyphs::CLOSED };
    let short = group.class.rsplit('.').next().unwrap_or("");
    let short = if short.is_empty() { "class not known" } else { short };
    let times = format!(" ×{}", group.modules.len());
    let room = columns.text.saturating_sub(5 + text::width(&times));
    let class = text::clip(&quoted(short), room);
    let status = group.status.map(|status| (glyphs::status(status), status.name(), theme.status(status)));
    let (sign, word, style) = status.unwrap_or((' ', "several", theme.muted()));
    let gap = columns.description.saturating_sub(5 + text::width(&class) + text::width(&times)).max(2);
    // What the classes stand by comes first.
    let says = if group.says.is_empty() { String::new() } else { format!("{:>10}", group.says) };
    let spans = vec![
        Span::styled(if selected { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::styled(format!("{fold} "), theme.muted()),
        Span::styled(format!("{sign} "), style),
        Span::styled(class, theme.text()),
        Span::styled(times, theme.key()),
        Span::raw(" ".repeat(gap)),
        Span::styled(says, theme.key()),
        Span::styled(format!("{:>9}", figures::count(group.parameters)), theme.muted()),
    ];
    text::put(canvas.buffer, strip.x, strip.y, columns.text, &Line::from(spans));
    if let Some(at) = columns.status {
        text::put_text(canvas.buffer, strip.x + at as u16, strip.y, STATUS, word, style);
    }
    if let (Some(at), Some(worst)) = (columns.measured, group.worst) {
        let words = format!("{}/{} {}", group.passed, group.judged, glyphs::verdict(worst));
        let width = columns.measured_width - 1;
        text::put_text(canvas.buffer, strip.x + at as u16, strip.y, width, &words, theme.verdict(worst));
    }
}
