//! What was measured of all layers below a module, and what no layer's measurement says anything of: the forwards to port.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::live::{against_tolerance, paragraph};
use crate::compare::{Trial, Verdict};
use crate::findings::forwards::plural;
use crate::model::ModuleId;
use crate::triage::Status;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::text;
use crate::verify::{Layer, Progress};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::{quoted, sentence};

/// Most layers in the list of the worst ones.
const WORST: usize = 200;
/// Most classes that are named of those that are left to port.
const NAMED: usize = 8;

/// Verdicts below a module, what is left to port there, and its worst layers first.
pub(super) fn of_subtree(
    canvas: &Canvas<'_>,
    id: ModuleId,
    columns: usize,
    mut lines: Vec<Line<'static>>,
) -> (Vec<Line<'static>>, Vec<(usize, ModuleId)>) {
    let (theme, view) = (canvas.theme, canvas.view);
    let sum = view.measured.sum(id);
    let to_measure = view.document.to_measure(id) as usize;
    let assumed = format!("{} with each value of what is not known of them", sum.assumed_words());
    // Where something is assumed of all there is nothing else to be measured.
    let mut words = match (to_measure, sum.as_assumed) {
        (0, 1..) => assumed.clone(),
        _ => sum.passed_words(to_measure),
    };
    match (view.document.to_port(id), view.document.unsaid(id)) {
        (0, 0) => {}
        (0, _) => words += "; forwards to port are not known",
        (count, _) => words += &format!("; {}", plural(count)),
    }
    paragraph(&mut lines, &words, columns, theme.text().add_modifier(Modifier::BOLD));
    if sum.running > 0 {
        lines.push(Line::styled(format!("{} {} to go", canvas.spinner(), sum.running), theme.running()));
    }
    let mut counts = Vec::new();
    let by_definition = (sum.by_definition > 0).then_some((Verdict::Exact, sum.by_definition, "by definition"));
    for (verdict, count, words) in
        sum.told().map(|(verdict, count)| (verdict, count, verdict.name())).chain(by_definition)
    {
        let words = format!("{} {count} {words}   ", glyphs::verdict(verdict));
        counts.push(Span::styled(words, theme.verdict(verdict)));
    }
    lines.push(Line::from(counts));
    if sum.as_assumed > 0 && to_measure > 0 {
        paragraph(&mut lines, &format!("~ {assumed}"), columns, theme.muted());
    }
    renamed(canvas, id, columns, &mut lines);
    in_half(canvas, id, columns, &mut lines);
    left_to_port(canvas, id, columns, &mut lines);
    lines.push(Line::default());
    let judged = view.measured.below(id).filter(|(_, layer)| layer.verdict().is_some());
    let mut layers: Vec<(ModuleId, &Layer)> = judged.filter(|(_, layer)| !layer.no_engine).collect();
    layers.sort_by(|(_, left), (_, right)| {
        right.verdict().cmp(&left.verdict()).then(badness(right).total_cmp(&badness(left)))
    });
    let mut links = Vec::new();
    for (at, layer) in layers.into_iter().take(WORST) {
        links.push((lines.len(), at));
        lines.push(worst_line(canvas, id, at, layer, columns));
    }
    (lines, links)
}

/// What plain renames of the layers below would have given, where they were run.
fn renamed(canvas: &Canvas<'_>, id: ModuleId, columns: usize, lines: &mut Vec<Line<'static>>) {
    if let Some(words) = canvas.view.measured.renamed(id).words() {
        paragraph(lines, &words, columns, canvas.theme.notice());
    }
}

/// The worst error below in each dtype that does not give the verdict, and where.
fn in_half(canvas: &Canvas<'_>, id: ModuleId, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, view) = (canvas.theme, canvas.view);
    for dtype in [Dtype::Float16, Dtype::BFloat16] {
        let judged = view.measured.below(id).filter(|(_, layer)| layer.judged().all(|trial| trial.dtype != dtype));
        let trials = judged.filter_map(|(at, layer)| Some((at, layer.worst_in(dtype)?)));
        let worst = trials.max_by(|(_, left), (_, right)| {
            left.verdict.cmp(&right.verdict).then(left.badness().total_cmp(&right.badness()))
        });
        let Some((at, trial)) = worst else { continue };
        let path = view.document.module(at).map_or("", |module| module.path.as_str());
        let words = format!("{}: worst {} at {}", dtype.name(), against_tolerance(trial), quoted(path));
        paragraph(lines, &words, columns, theme.verdict(trial.verdict));
    }
}

/// The forwards that no run measures, at a module and below it.
pub(super) fn left_to_port(canvas: &Canvas<'_>, id: ModuleId, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, document) = (canvas.theme, &canvas.view.document);
    let Some(names) = document.headline.forwards.names_within(&document.model, id, NAMED) else { return };
    let words = format!("To port, and not measured: {names}");
    paragraph(lines, &words, columns, theme.status(Status::Custom));
}

/// The error as a multiple of its bound; infinite where there is no such number.
fn badness(layer: &Layer) -> f64 {
    layer.worst().map_or(0.0, Trial::badness)
}

fn worst_line(canvas: &Canvas<'_>, root: ModuleId, id: ModuleId, layer: &Layer, columns: usize) -> Line<'static> {
    let (theme, view) = (canvas.theme, canvas.view);
    let path = |id: ModuleId| view.document.module(id).map_or("", |module| module.path.as_str());
    let verdict = layer.verdict().unwrap_or(Verdict::NotRun);
    let prefix = path(root);
    let name = path(id).strip_prefix(prefix).unwrap_or(path(id)).trim_start_matches('.');
    let words = match (&layer.progress, layer.worst()) {
        (Progress::Done(Verdict::Failed | Verdict::NotRun, Some(reason)), _)
        | (Progress::Done(_, Some(reason)), None) => sentence(reason).into_owned(),
        (_, Some(trial)) => against_tolerance(trial),
        _ => verdict.name().to_owned(),
    };
    let room = (columns / 3).clamp(10, 32);
    // The end of a path tells one layer from another.
    let name = text::clip_left(&quoted(name), room);
    let pad = " ".repeat(room - text::width(&name).min(room));
    Line::from(vec![
        Span::styled(format!("{} ", glyphs::verdict(verdict)), theme.verdict(verdict)),
        Span::styled(format!("{name}{pad}  "), theme.text()),
        Span::styled(text::clip(&words, columns.saturating_sub(room + 4)), theme.verdict(verdict)),
    ])
}
