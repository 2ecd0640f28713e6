//! The line at the top: which file, and three facts that are never one: which weights can be moved, what is known in full, what
//! was measured. Beside them what none of these says: how many forwards are left to port, and what stands in their way.

use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use crate::afar;
use crate::compare::Verdict;
use crate::figures::percent;
use crate::model::ModuleId;
use crate::source::Severity;
use crate::triage::Status;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::panes::View;
use crate::tui::text;
use crate::tui::theme::Theme;
use t2m_checkpoint::escape::{escape, quoted};

/// Rows it takes on a screen of that size.
pub fn rows(area: Rect) -> u16 {
    if (60..120).contains(&area.width) && area.height >= 24 { 2 } else { 1 }
}

/// How much of the facts is written.
#[derive(Debug, Clone, Copy)]
struct Detail {
    /// Columns of the bar before a share; none where it is 0.
    bar: usize,
    /// Whether what is left to port has its words.
    words: bool,
    /// How many of the shares are there, the most flattering first to go: weights, behaviour, measured.
    shares: usize,
}

/// From everything to what must not be missing: bars go first, then words, then the shares, the most flattering first. What is
/// left to port and what stands in its way stay.
const DETAILS: [Detail; 6] = [
    Detail { bar: 10, words: true, shares: 3 },
    Detail { bar: 6, words: true, shares: 3 },
    Detail { bar: 0, words: true, shares: 3 },
    Detail { bar: 0, words: false, shares: 3 },
    Detail { bar: 0, words: false, shares: 2 },
    Detail { bar: 0, words: false, shares: 1 },
];

/// Columns that the file's name has at least, where the facts stand in the same row.
const NAME: usize = 14;

/// Draw it.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let (theme, view) = (canvas.theme, canvas.view);
    let all = DETAILS.map(|detail| facts(theme, view, detail));
    let widest = |room: usize| all.iter().find(|line| line.width() <= room).or(all.last()).unwrap_or(&all[0]);
    if area.height > 1 {
        text::put(canvas.buffer, area.x, area.y, columns, &file(canvas, columns));
        text::put(canvas.buffer, area.x, area.y + 1, columns, widest(columns));
        return;
    }
    // The fullest facts that leave room for the file: for all that is said of it on a wide screen, else for its name.
    let most = if canvas.fetched.is_some() { columns * 3 / 5 } else { columns * 2 / 5 };
    let wish = if columns >= 120 { file(canvas, columns).width().min(most) } else { NAME };
    let right = widest(columns.saturating_sub(wish + 2));
    let taken = right.width() + 1;
    if taken + 8 > columns {
        return text::put(canvas.buffer, area.x, area.y, columns, &file(canvas, columns));
    }
    text::put(canvas.buffer, area.right() - taken as u16, area.y, taken, right);
    let room = columns.saturating_sub(taken + 1);
    text::put(canvas.buffer, area.x, area.y, room, &file(canvas, room));
}

/// File, format, parameters, size, the model that it is: as many of them as fit.
fn file(canvas: &Canvas<'_>, columns: usize) -> Line<'static> {
    let (theme, document) = (canvas.theme, &canvas.view.document);
    let name = text::clip(&escape(&document.name), columns.saturating_sub(1));
    let mut used = 1 + text::width(&name);
    let mut spans = vec![Span::raw(" "), Span::styled(name, theme.title(true))];
    let facts = [
        // Of a file elsewhere it counts what came of it.
        canvas.fetched.map(|fetched| afar::short(fetched, document.bytes)).unwrap_or_default(),
        document.format.clone(),
        format!("{} parameters", text::count(document.parameters())),
        if canvas.fetched.is_none() { text::bytes(document.bytes) } else { String::new() },
        document.about.known_as.as_deref().map(|model| escape(model).into_owned()).unwrap_or_default(),
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

/// The facts, in so much detail.
fn facts(theme: &Theme, view: &View, detail: Detail) -> Line<'static> {
    let (headline, bold) = (&view.document.headline, theme.text().add_modifier(Modifier::BOLD));
    let mut spans = Vec::new();
    let share = |spans: &mut Vec<Span<'static>>, word: &str, share: Option<f64>| {
        spans.push(Span::styled(format!(" {word} "), theme.muted()));
        if detail.bar > 0 {
            bar(theme, spans, share, detail.bar);
        }
        let percent = share.map_or("–".to_owned(), |share| format!("{}%", percent(share)));
        spans.push(Span::styled(percent, bold));
        spans.push(Span::raw(" "));
    };
    if headline.layers == 0 && headline.weights.is_none() {
        spans.push(Span::styled(" no layers ", theme.muted()));
    } else {
        if detail.shares > 2 {
            share(&mut spans, "weights", headline.weights);
        }
        if detail.shares > 1 {
            share(&mut spans, "behaviour", headline.behaviour);
        }
        spans.push(Span::styled(" measured ", theme.muted()));
        let total = view.measured.total();
        let words = match headline.to_measure() {
            0 => "–".to_owned(),
            layers => format!("{}/{layers}", total.measured),
        };
        spans.push(Span::styled(words, bold));
        if headline.unmeasurable > 0 && detail.bar >= DETAILS[0].bar {
            spans.push(Span::styled(format!(", {} cannot be", headline.unmeasurable), theme.muted()));
        }
        if total.as_assumed > 0 {
            spans.push(Span::styled(format!(" +{}~", total.as_assumed), theme.muted()));
        }
        let stale = view.measured.stale_below(0);
        if stale > 0 && detail.words {
            spans.push(Span::styled(format!(" {stale} stale"), theme.muted()));
        }
        let in_graph = in_graph(view);
        if in_graph > 0 {
            spans.push(Span::styled(format!(" +{in_graph} in graph"), theme.muted()));
        }
        if let Some(worst) = total.worst().filter(|worst| worst.is_bad()) {
            spans.push(Span::styled(format!(" {}", glyphs::verdict(worst)), theme.verdict(worst)));
        }
        spans.push(Span::raw(" "));
    }
    if let Some(words) = to_port(view, detail.words) {
        spans.push(Span::styled(format!(" {words} "), theme.status(Status::Custom)));
    }
    for (mark, count) in view.work.counts.iter() {
        let word = if detail.words { quoted(mark.word()).into_owned() } else { glyphs::mark(mark).to_string() };
        spans.push(Span::styled(format!(" {count} {word} "), theme.key()));
    }
    if view.document.about.notable().next().is_some() {
        spans.push(Span::styled(format!(" {} pickle", glyphs::FLAG), theme.severity(Severity::Breaks)));
    }
    if view.measured.engines_down().next().is_some() {
        spans.push(Span::styled(
            format!(" {} engine", glyphs::verdict(Verdict::Failed)),
            theme.verdict(Verdict::Failed),
        ));
    }
    if !view.document.warnings.is_empty() {
        spans.push(Span::styled(format!(" ! {}", view.document.warnings.len()), theme.notice()));
    }
    let blockers = view.document.flags();
    // Where no source was read none is known, which is not that there is none.
    let words = if blockers == 0 && !headline.is_all_read() { "?".to_owned() } else { blockers.to_string() };
    let style = if blockers == 0 { theme.muted() } else { theme.severity(Severity::Breaks) };
    spans.push(Span::styled(format!(" {} {words}", glyphs::FLAG), style));
    Line::from(spans)
}

/// Layers that were not measured by themselves, and whose nodes all ran in the graph and agree.
fn in_graph(view: &View) -> usize {
    let counts = |id: &ModuleId| {
        let is_layer = view.document.triage(*id).is_some_and(|triage| triage.plan.is_some());
        is_layer && view.measured.layer(*id).is_none()
    };
    view.ran.agreeing().iter().filter(|id| counts(id)).count()
}

/// How many forwards there are to port; `?` where the file does not say their classes.
fn to_port(view: &View, words: bool) -> Option<String> {
    let forwards = &view.document.headline.forwards;
    let count = match (forwards.to_port(), forwards.unsaid) {
        (0, 0) => return None,
        (0, _) => "?".to_owned(),
        (count, 0) => count.to_string(),
        (count, _) => format!("{count}+"),
    };
    Some(format!("{} {count}{}", glyphs::status(Status::Custom), if words { " to port" } else { "" }))
}

/// A share as a bar, with a blank behind it.
fn bar(theme: &Theme, spans: &mut Vec<Span<'static>>, share: Option<f64>, columns: usize) {
    let full = filled(share.unwrap_or(0.0), columns);
    spans.push(Span::styled(glyphs::BAR.to_string().repeat(full), theme.bar()));
    spans.push(Span::styled(glyphs::BAR_EMPTY.to_string().repeat(columns - full), theme.faint()));
    spans.push(Span::raw(" "));
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
