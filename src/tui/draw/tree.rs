//! The module tree: one row a module, with its status and what was measured of it.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::Place;
use crate::compare::Verdict;
use crate::model::{Evidence, Module, ModuleId};
use crate::tui::canvas::Canvas;
use crate::tui::document::Document;
use crate::tui::glyphs;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::tree::{indent, scroll_to};
use crate::tui::view::View;
use crate::verify::Progress;
use t2m_checkpoint::escape::{quoted, sentence};

/// Columns of the right-hand side, from the left: where each begins, counted from the pane's left edge.
struct Columns {
    /// End of name and description.
    text: usize,
    /// Where descriptions begin.
    description: usize,
    status: Option<usize>,
    measured: Option<usize>,
    blockers: Option<usize>,
}

const STATUS: usize = 12;
const MEASURED: usize = 10;
const BLOCKERS: usize = 4;

impl Columns {
    fn new(view: &View, width: usize) -> Columns {
        let mut end = width;
        let mut take = |columns: usize, wanted: bool| {
            wanted.then(|| {
                end = end.saturating_sub(columns);
                end
            })
        };
        let blockers = take(BLOCKERS, width >= 28 && view.document.serious_below(0) > 0);
        let measured = take(MEASURED, width >= 30);
        let status = take(STATUS, width >= 60);
        let text = end.saturating_sub(1);
        // Two signs and a space stand before a name; a name may take up to six tenths of the room.
        let description = (view.tree.name_width + 8).min(text * 6 / 10);
        Columns { text, description, status, measured, blockers }
    }
}

/// Draw the pane.
pub fn draw(canvas: &mut Canvas<'_>, place: Place) {
    let (view, area) = (canvas.view, place.inner);
    let columns = Columns::new(view, usize::from(area.width));
    titles(canvas, place, &columns);
    let (row, height, count) = (view.tree.selected_row(), usize::from(area.height), view.tree.rows.len());
    let top = if view.tree.follow {
        scroll_to(view.tree.top, row, height, count)
    } else {
        view.tree.top.min(count.saturating_sub(height))
    };
    canvas.areas.tree = Some((area, top));
    if count == 0 {
        let (words, style) = (" nothing passes the filter", canvas.theme.muted());
        text::put_text(canvas.buffer, area.x, area.y, usize::from(area.width), words, style);
    }
    for (&id, y) in view.tree.rows.iter().skip(top).zip(area.top()..area.bottom()) {
        draw_row(canvas, id, Rect { y, height: 1, ..area }, place.focus, &columns);
    }
    scrollbar(canvas, place, top, height, count);
}

/// The columns' names, in the border above them.
fn titles(canvas: &mut Canvas<'_>, place: Place, columns: &Columns) {
    let (view, style) = (canvas.view, canvas.theme.muted());
    let y = place.frame.y;
    for (column, word) in [(columns.status, " status "), (columns.measured, " measured ")] {
        if let Some(column) = column {
            let x = (usize::from(place.inner.x) + column).saturating_sub(1);
            if x > usize::from(place.frame.x) + place.title + 2 {
                text::put_text(canvas.buffer, x as u16, y, word.len(), word, style);
            }
        }
    }
    if !view.tree.filter.is_empty() {
        let shown = format!(" {} of {} ", view.tree.wanted(&view.document), view.document.len());
        let x = usize::from(place.frame.x) + 1 + place.title + 1;
        let end = columns.status.or(columns.measured).unwrap_or(columns.text) + usize::from(place.inner.x);
        if x + shown.len() + 1 < end {
            text::put_text(canvas.buffer, x as u16, y, shown.len(), &shown, canvas.theme.notice());
        }
    }
}

fn draw_row(canvas: &mut Canvas<'_>, id: ModuleId, row: Rect, focus: bool, columns: &Columns) {
    let (theme, view) = (canvas.theme, canvas.view);
    let document = &view.document;
    let (Some(module), Some(triage)) = (document.module(id), document.triage(id)) else { return };
    let dimmed = view.tree.is_dimmed(id);
    let shade = |style: Style| if dimmed { theme.faint() } else { style };
    let selected = view.tree.selected == id;
    let found = canvas.found.binary_search(&id).is_ok();
    let name_style = if found { theme.found() } else { shade(theme.text()) };

    let fold = match (module.is_leaf(id), view.tree.is_folded(id)) {
        (true, _) => ' ',
        (false, true) => glyphs::CLOSED,
        (false, false) => glyphs::OPEN,
    };
    let pad = indent(module.depth);
    let room = columns.text.saturating_sub(pad + 5);
    let name = text::clip(&quoted(name_of(module)), room);
    let before_description = columns.description.saturating_sub(pad + 5 + text::width(&name)).max(1);
    let mut spans = vec![
        Span::styled(if selected { glyphs::MARK } else { ' ' }.to_string(), theme.mark()),
        Span::raw(" ".repeat(pad)),
        Span::styled(format!("{fold} "), shade(theme.muted())),
        Span::styled(format!("{} ", glyphs::status(triage.status)), shade(theme.status(triage.status))),
        Span::styled(name, name_style),
        Span::raw(" ".repeat(before_description)),
    ];
    let used: usize = spans.iter().map(Span::width).sum();
    spans.extend(description(theme, document, module, columns.text.saturating_sub(used), dimmed));
    text::put(canvas.buffer, row.x, row.y, columns.text, &Line::from(spans));

    if let Some(at) = columns.status {
        let word = triage.status.name();
        text::put_text(canvas.buffer, row.x + at as u16, row.y, STATUS, word, shade(theme.status(triage.status)));
    }
    if let Some(at) = columns.measured {
        let (words, style) = measured(canvas, id);
        text::put_text(canvas.buffer, row.x + at as u16, row.y, MEASURED, &words, shade(style));
    }
    if let Some(at) = columns.blockers {
        let (own, worst) = document.serious(id);
        let hidden = if view.tree.is_folded(id) { document.serious_below(id) } else { own };
        if hidden > 0 {
            let words = format!("{}{hidden}", glyphs::FLAG);
            text::put_text(canvas.buffer, row.x + at as u16, row.y, BLOCKERS, &words, shade(theme.severity(worst)));
        }
    }
    if selected {
        canvas.overlay(row, theme.selection(focus));
    }
}

fn name_of(module: &Module) -> &str {
    if module.depth == 0 { if module.class.is_empty() { "model" } else { module.short_class() } } else { &module.name }
}

/// What a module is, its class a shade stronger than the rest; `~Conv2d?` where it is a guess.
fn description(theme: &Theme, document: &Document, module: &Module, room: usize, dimmed: bool) -> Vec<Span<'static>> {
    if module.depth == 0 || room < 3 {
        return Vec::new();
    }
    let words = (document.describe)(module);
    let words = sentence(&words);
    let (class, rest) = words.split_once(' ').unwrap_or((&words, ""));
    let class = if module.evidence == Evidence::Inferred && !class.is_empty() {
        let others = module.alternatives.iter().map(|other| other.rsplit('.').next().unwrap_or(""));
        let others: String = others.filter(|other| !words.contains(other)).map(|other| format!("|{other}")).collect();
        format!("~{class}{}?", quoted(&others))
    } else {
        class.to_owned()
    };
    let class = text::clip(&class, room);
    let rest = text::clip(rest, room.saturating_sub(text::width(&class) + 1));
    let (strong, weak) = if dimmed { (theme.faint(), theme.faint()) } else { (theme.text(), theme.muted()) };
    vec![Span::styled(class, strong), Span::raw(" "), Span::styled(rest, weak)]
}

/// The cell that says what was measured: of the layer, or of those below it.
pub fn measured(canvas: &Canvas<'_>, id: ModuleId) -> (String, Style) {
    let (theme, view) = (canvas.theme, canvas.view);
    if let Some(layer) = view.measured.layer(id) {
        return match &layer.progress {
            Progress::Queued => ("· queued".to_owned(), theme.muted()),
            Progress::Running(trials) => {
                (format!("{} {}/{trials}", canvas.spinner(), layer.trials.len()), theme.running())
            }
            Progress::Done(verdict, _) => {
                let number = match (verdict, layer.worst()) {
                    (Verdict::Ok | Verdict::Drift | Verdict::Broken, Some(trial)) => {
                        trial.max_abs().map_or_else(|| verdict.name().to_owned(), text::error)
                    }
                    _ => verdict.name().to_owned(),
                };
                (format!("{} {number}", glyphs::verdict(*verdict)), theme.verdict(*verdict))
            }
        };
    }
    let (sum, runnable) = (view.measured.sum(id), view.document.runnable(id));
    if !sum.is_empty() {
        let score = format!("{}/{runnable}", sum.passed());
        return match (sum.running, sum.worst()) {
            (0, Some(worst)) => (format!("{score} {}", glyphs::verdict(worst)), theme.verdict(worst)),
            (0, None) => (score, theme.muted()),
            (_, None) => (format!("{score} {}", canvas.spinner()), theme.running()),
            (_, Some(worst)) => {
                let style = if worst.passes() { theme.running() } else { theme.verdict(worst) };
                (format!("{score} {}", canvas.spinner()), style)
            }
        };
    }
    let triage = view.document.triage(id);
    match triage.and_then(|triage| triage.difficulty) {
        Some(difficulty) => (difficulty.name().to_owned(), theme.muted()),
        None if triage.is_some_and(|triage| triage.plan.is_some()) => ("·".to_owned(), theme.faint()),
        None => (String::new(), Style::new()),
    }
}

/// The sign of what was measured of a module or below it, if anything was.
pub fn sign(canvas: &Canvas<'_>, id: ModuleId) -> Option<(char, Style)> {
    let (theme, view) = (canvas.theme, canvas.view);
    let verdict = match view.measured.layer(id).map(|layer| &layer.progress) {
        Some(Progress::Running(_)) => return Some((canvas.spinner(), theme.running())),
        Some(Progress::Queued) => return None,
        Some(Progress::Done(verdict, _)) => *verdict,
        None => view.measured.sum(id).worst()?,
    };
    Some((glyphs::verdict(verdict), theme.verdict(verdict)))
}

/// Where in the list we are, on the right border, where it is longer than the pane.
pub fn scrollbar(canvas: &mut Canvas<'_>, place: Place, top: usize, height: usize, count: usize) {
    if count <= height || height < 3 {
        return;
    }
    let thumb = (height * height / count).clamp(1, height);
    let last = count - height;
    let start = (top.min(last) * (height - thumb) + last / 2) / last;
    let x = place.frame.right().saturating_sub(1);
    let style = canvas.theme.border(place.focus).add_modifier(Modifier::BOLD);
    for row in start..start + thumb {
        let y = place.inner.y + row as u16;
        if let Some(cell) = canvas.buffer.cell_mut((x, y)) {
            cell.set_char('┃').set_style(style);
        }
    }
}
