//! The module tree: one row a module, with its status and what was measured of it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Place, overlay, spinner, text};
use crate::compare::Verdict;
use crate::model::{Evidence, Module, ModuleId};
use crate::tui::document::Document;
use crate::tui::glyphs;
use crate::tui::layout::Layout;
use crate::tui::state::{State, View};
use crate::tui::tree::{indent, scroll_to};
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
pub fn draw(state: &State, view: &View, place: Place, buffer: &mut Buffer, layout: &mut Layout) {
    let area = place.inner;
    let columns = Columns::new(view, usize::from(area.width));
    titles(state, view, place, &columns, buffer);
    let (row, height, count) = (view.tree.selected_row(), usize::from(area.height), view.tree.rows.len());
    let top = if view.tree.follow {
        scroll_to(view.tree.top, row, height, count)
    } else {
        view.tree.top.min(count.saturating_sub(height))
    };
    layout.tree = Some((area, top));
    if count == 0 {
        text::put_text(
            buffer,
            area.x,
            area.y,
            usize::from(area.width),
            " nothing passes the filter",
            state.theme.muted(),
        );
    }
    for (&id, y) in view.tree.rows.iter().skip(top).zip(area.top()..area.bottom()) {
        draw_row(state, view, id, Rect { y, height: 1, ..area }, place.focus, &columns, buffer);
    }
    scrollbar(state, place, top, height, count, buffer);
}

/// The columns' names, in the border above them.
fn titles(state: &State, view: &View, place: Place, columns: &Columns, buffer: &mut Buffer) {
    let style = state.theme.muted();
    let y = place.frame.y;
    for (column, word) in [(columns.status, " status "), (columns.measured, " measured ")] {
        if let Some(column) = column {
            let x = (usize::from(place.inner.x) + column).saturating_sub(1);
            if x > usize::from(place.frame.x) + place.title + 2 {
                text::put_text(buffer, x as u16, y, word.len(), word, style);
            }
        }
    }
    if !view.tree.filter.is_empty() {
        let shown = format!(" {} of {} ", view.tree.wanted(&view.document), view.document.len());
        let x = usize::from(place.frame.x) + 1 + place.title + 1;
        let end = columns.status.or(columns.measured).unwrap_or(columns.text) + usize::from(place.inner.x);
        if x + shown.len() + 1 < end {
            text::put_text(buffer, x as u16, y, shown.len(), &shown, state.theme.notice());
        }
    }
}

fn draw_row(state: &State, view: &View, id: ModuleId, row: Rect, focus: bool, columns: &Columns, buffer: &mut Buffer) {
    let (theme, document) = (&state.theme, &view.document);
    let (Some(module), Some(triage)) = (document.module(id), document.triage(id)) else { return };
    let dimmed = view.tree.is_dimmed(id);
    let shade = |style: Style| if dimmed { theme.faint() } else { style };
    let selected = view.tree.selected == id;
    let found = view.find.as_ref().is_some_and(|find| find.matches.binary_search(&id).is_ok());
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
    spans.extend(description(state, document, module, columns.text.saturating_sub(used), dimmed));
    text::put(buffer, row.x, row.y, columns.text, &Line::from(spans));

    if let Some(at) = columns.status {
        let word = triage.status.name();
        text::put_text(buffer, row.x + at as u16, row.y, STATUS, word, shade(theme.status(triage.status)));
    }
    if let Some(at) = columns.measured {
        let (words, style) = measured(state, view, id);
        text::put_text(buffer, row.x + at as u16, row.y, MEASURED, &words, shade(style));
    }
    if let Some(at) = columns.blockers {
        let (own, worst) = document.serious(id);
        let hidden = if view.tree.is_folded(id) { document.serious_below(id) } else { own };
        if hidden > 0 {
            let words = format!("{}{hidden}", glyphs::FLAG);
            text::put_text(buffer, row.x + at as u16, row.y, BLOCKERS, &words, shade(theme.severity(worst)));
        }
    }
    if selected {
        overlay(buffer, row, theme.selection(focus));
    }
}

fn name_of(module: &Module) -> &str {
    if module.depth == 0 { if module.class.is_empty() { "model" } else { module.short_class() } } else { &module.name }
}

/// What a module is, its class a shade stronger than the rest; `~Conv2d?` where it is a guess.
fn description(state: &State, document: &Document, module: &Module, room: usize, dimmed: bool) -> Vec<Span<'static>> {
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
    let theme = &state.theme;
    let class = text::clip(&class, room);
    let rest = text::clip(rest, room.saturating_sub(text::width(&class) + 1));
    let (strong, weak) = if dimmed { (theme.faint(), theme.faint()) } else { (theme.text(), theme.muted()) };
    vec![Span::styled(class, strong), Span::raw(" "), Span::styled(rest, weak)]
}

/// The cell that says what was measured: of the layer, or of those below it.
pub fn measured(state: &State, view: &View, id: ModuleId) -> (String, Style) {
    let theme = &state.theme;
    if let Some(layer) = view.measured.layer(id) {
        return match &layer.progress {
            Progress::Queued => ("· queued".to_owned(), theme.muted()),
            Progress::Running(trials) => {
                (format!("{} {}/{trials}", spinner(state.tick), layer.trials.len()), theme.running())
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
            (_, None) => (format!("{score} {}", spinner(state.tick)), theme.running()),
            (_, Some(worst)) => {
                let style = if worst.passes() { theme.running() } else { theme.verdict(worst) };
                (format!("{score} {}", spinner(state.tick)), style)
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
pub fn sign(state: &State, view: &View, id: ModuleId) -> Option<(char, Style)> {
    let theme = &state.theme;
    let verdict = match view.measured.layer(id).map(|layer| &layer.progress) {
        Some(Progress::Running(_)) => return Some((spinner(state.tick), theme.running())),
        Some(Progress::Queued) => return None,
        Some(Progress::Done(verdict, _)) => *verdict,
        None => view.measured.sum(id).worst()?,
    };
    Some((glyphs::verdict(verdict), theme.verdict(verdict)))
}

/// Where in the list we are, on the right border, where it is longer than the pane.
pub fn scrollbar(state: &State, place: Place, top: usize, height: usize, count: usize, buffer: &mut Buffer) {
    if count <= height || height < 3 {
        return;
    }
    let thumb = (height * height / count).clamp(1, height);
    let last = count - height;
    let start = (top.min(last) * (height - thumb) + last / 2) / last;
    let x = place.frame.right().saturating_sub(1);
    let style = state.theme.border(place.focus).add_modifier(Modifier::BOLD);
    for row in start..start + thumb {
        let y = place.inner.y + row as u16;
        if let Some(cell) = buffer.cell_mut((x, y)) {
            cell.set_char('┃').set_style(style);
        }
    }
}
