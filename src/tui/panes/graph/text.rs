//! What the pane says: of a node, of the whole run, or how to get a graph.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::super::live::paragraph;
use super::{is_bad, selected};
use crate::architecture::spec::written;
use crate::graph::judge::Measured;
use crate::graph::results::{blame, diverges};
use crate::graph::run::{NodeResult, NodeVerdict};
use crate::tui::action::Command;
use crate::tui::canvas::Canvas;
use crate::tui::glyphs;
use crate::tui::nodes::{Nodes, Row, short};
use crate::tui::panels::Name;
use crate::tui::ran::{Progress, Which};
use crate::tui::text::{self, shape};
use t2m_checkpoint::escape::{quoted, sentence};

/// What is said of the nodes of code that was not run yet.
const OUTLINE: &str = "These are the nodes that the code of TorchScript's tells by itself: of a condition that sizes decide both sides, of a \
    loop one round. When it is run libtorch goes through it with the inputs, and the graph is what it does then.";
/// Columns of a label.
const LABEL: usize = 13;
/// Columns of a number.
const NUMBER: usize = 13;
/// Ops that do not convert and outputs that are named.
const NAMED: usize = 40;

/// Everything there is to say, in lines of at most `columns`.
pub(super) fn lines(canvas: &Canvas<'_>, columns: usize) -> Vec<Line<'static>> {
    let view = canvas.view;
    let mut lines = Vec::new();
    match (&view.document.nodes, selected(view)) {
        (None, _) => no_graph(canvas, columns, &mut lines),
        (Some(_), Some(row)) => of_node(canvas, row, columns, &mut lines),
        (Some(nodes), None) => of_run(canvas, nodes, columns, &mut lines),
    }
    lines
}

/// What was found of a node, and what MLX ran.
fn of_node(canvas: &Canvas<'_>, row: &Row, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, view) = (canvas.theme, canvas.view);
    let bold = Modifier::BOLD;
    let module = view.document.module(row.module).map_or("", |module| module.path.as_str());
    let module = if module.is_empty() { "the model's own forward" } else { module };
    let where_it_is = format!("{} in {}", quoted(&row.name), quoted(module));
    let results = view.ran.of(row.index);
    let Some(verdict) = view.ran.verdict(row.index) else {
        lines.push(Line::styled(format!("· not run   {where_it_is}"), theme.muted()));
        match &row.refused {
            Some(reason) => paragraph(lines, reason, columns, theme.verdict_of(NodeVerdict::Refused)),
            None => lines
                .push(keys(canvas, &[(Command::RunGraph, " runs the graph, "), (Command::RunFrom, " from here on")])),
        }
        return;
    };
    let style = theme.verdict_of(verdict);
    lines.push(Line::from(vec![
        Span::styled(format!("{} {}", glyphs::node_verdict(verdict), verdict.name()), style.add_modifier(bold)),
        Span::styled(format!("   {where_it_is}"), theme.muted()),
    ]));
    for result in results {
        if results.len() > 1 {
            lines.push(Line::styled(
                format!("{} {}", quoted(short(&result.target)), quoted(&result.name)),
                theme.text(),
            ));
        }
        of_result(canvas, result, columns, lines);
    }
}

fn of_result(canvas: &Canvas<'_>, result: &NodeResult, columns: usize, lines: &mut Vec<Line<'static>>) {
    let theme = canvas.theme;
    if diverges(result) {
        paragraph(lines, &blame(result), columns, theme.notice());
    } else if let Some(reason) = &result.reason {
        let style = if result.verdict.is_bad() { theme.verdict_of(result.verdict) } else { theme.muted() };
        paragraph(lines, reason, columns, style);
    }
    if result.isolated.is_some() || result.accumulated.is_some() {
        numbers(canvas, result, lines);
    }
    if let Some(mlx) = &result.mlx {
        lines.push(Line::styled("MLX ran:", theme.muted()));
        for line in mlx.lines() {
            let rows = text::wrap(&quoted(line), columns.saturating_sub(2));
            lines.extend(rows.into_iter().map(|row| Line::styled(format!("  {row}"), theme.text())));
        }
    }
    let ms = |ms: f64| format!("{ms:.2} ms");
    let times = format!("torch {}, MLX {}", ms(result.ms_torch), ms(result.ms_mlx));
    lines.push(Line::styled(times, theme.faint()));
}

/// The two columns of numbers.
fn numbers(canvas: &Canvas<'_>, result: &NodeResult, lines: &mut Vec<Line<'static>>) {
    let theme = canvas.theme;
    let both = [&result.isolated, &result.accumulated];
    let heads = format!("{:<LABEL$}{:<NUMBER$}{}", "", "isolated", "accumulated");
    lines.push(Line::styled(heads, theme.muted()));
    let mut row = |label: &str, cell: &dyn Fn(&Measured) -> String| {
        let cells = both.map(|measured| measured.as_ref().map_or_else(|| "–".to_owned(), cell));
        lines.push(Line::from(vec![
            Span::styled(format!("{label:<LABEL$}"), theme.muted()),
            Span::styled(format!("{:<width$} {}", cells[0], cells[1], width = NUMBER - 1), theme.text()),
        ]));
    };
    row("max abs", &|one| format!("{} {}", glyphs::verdict(one.verdict), text::error(one.max_abs)));
    row("tolerance", &|one| text::error(one.tolerance));
    row("mean abs", &|one| text::error(one.mean_abs));
    row("cosine", &|one| format!("{:.7}", one.cosine));
    row("torch to f64", &|one| text::error(one.torch_vs_f64));
    row("mlx to f64", &|one| text::error(one.mlx_vs_f64));
    row("worst at", &|one| index(&one.worst_index));
}

/// `(0, 7, 23)`
fn index(at: &[usize]) -> String {
    let numbers: Vec<String> = at.iter().map(usize::to_string).collect();
    format!("({})", numbers.join(", "))
}

/// The run as a whole, or what can be said before it.
fn of_run(canvas: &Canvas<'_>, nodes: &Nodes, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, view) = (canvas.theme, canvas.view);
    let (ran, bold) = (&view.ran, theme.text().add_modifier(Modifier::BOLD));
    let done = ran.last.map_or(0, |last| last + 1);
    match &ran.progress {
        Progress::None => {
            paragraph(lines, &nodes.preflight.words(), columns, bold);
            if let Some(run) = &view.work.graph {
                let words = format!("on record since {}: {}", run.at.minute(), run.words());
                paragraph(lines, &words, columns, theme.muted());
            }
            lines.push(keys(
                canvas,
                &[(Command::RunGraph, " runs it node by node in both engines, "), (Command::Nodes, " shows the nodes")],
            ));
            if nodes.is_outline {
                paragraph(lines, OUTLINE, columns, theme.muted());
            }
            of_inputs(canvas, columns, lines);
        }
        Progress::Running if nodes.is_outline => {
            let words = format!(
                "{} libtorch goes through the code with the inputs: the graph is what it runs",
                canvas.spinner()
            );
            paragraph(lines, &words, columns, theme.running().add_modifier(Modifier::BOLD));
        }
        Progress::Running => {
            let words = format!("{} node {done} of {}", canvas.spinner(), nodes.length);
            lines.push(Line::styled(words, theme.running().add_modifier(Modifier::BOLD)));
        }
        Progress::Done => paragraph(lines, &format!("all {} nodes were run", nodes.all.len()), columns, bold),
        Progress::Stopped(stop) if ran.is_empty() => {
            paragraph(lines, &format!("it was not run: {stop}"), columns, theme.notice());
            lines.push(keys(
                canvas,
                &[(Command::RunGraph, " runs it anew, "), (Command::Open(Name::Inputs), " changes its inputs")],
            ));
        }
        Progress::Stopped(stop) => {
            let words = format!("stopped after node {} of {}: {stop}", done.saturating_sub(1), nodes.length);
            paragraph(lines, &words, columns, theme.notice());
            lines.push(keys(canvas, &[(Command::RunFrom, " goes on there, "), (Command::RunGraph, " runs it anew")]));
        }
    }
    if ran.from > 0 {
        let words = format!("from node {} on, where MLX took over torch's values", ran.from);
        paragraph(lines, &words, columns, theme.muted());
    }
    if !ran.is_empty() {
        let mut counts = Vec::new();
        for (verdict, count) in ran.counts() {
            let words = format!("{} {count} {}   ", glyphs::node_verdict(verdict), verdict.name());
            counts.push(Span::styled(words, theme.verdict_of(verdict)));
        }
        lines.push(Line::from(counts));
        told(canvas, nodes, "first divergence", "D", ran.first_divergence(), columns, lines);
        told(canvas, nodes, "worst by itself", "W", ran.worst(), columns, lines);
    }
    for output in ran.outputs.iter().flatten().take(NAMED) {
        let (words, verdict) = match &output.measured {
            Ok(measured) => (
                format!("{} of {} tolerated", text::error(measured.max_abs), text::error(measured.tolerance)),
                Some(measured.verdict),
            ),
            Err(reason) => (sentence(reason).into_owned(), None),
        };
        let sign = verdict.map_or('!', glyphs::verdict);
        let style = if is_bad(verdict) || verdict.is_none() { theme.notice() } else { theme.text() };
        let words = format!("{sign} output {} {}: {words}", quoted(&output.name), shape(&output.shape));
        paragraph(lines, &words, columns, style);
    }
    for given in ran.given.iter().take(NAMED) {
        let what = match &given.value {
            Some(value) => format!("{} {}", given.dtype, quoted(&written(value))),
            None => format!("{} {}", given.dtype, shape(&given.shape)),
        };
        let words = format!("input {} {what}: {}", quoted(&given.name), origin(given.from));
        paragraph(lines, &words, columns, theme.muted());
    }
    for missing in nodes.preflight.missing.iter().take(NAMED) {
        let times = if missing.count > 1 { format!(" × {}", missing.count) } else { String::new() };
        let words = format!("? {}{times}: {}", quoted(&missing.op), missing.reason);
        paragraph(lines, &words, columns, theme.verdict_of(NodeVerdict::Refused));
    }
}

/// What the graph takes, before it is run.
fn of_inputs(canvas: &Canvas<'_>, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, document) = (canvas.theme, &canvas.view.document);
    for one in document.takes.iter().take(NAMED) {
        let may = if one.is_needed { "" } else { ", may be left out" };
        paragraph(lines, &format!("takes {}: {}{may}", quoted(&one.name), one.kind), columns, theme.muted());
    }
    if document.asks {
        lines.push(keys(canvas, &[(Command::Open(Name::Inputs), " says what they are: the file does not")]));
    }
}

fn origin(from: &str) -> &str {
    match from {
        "sample" => "the file's own sample",
        "seed" => "drawn from the seed",
        "call" => "as it was typed",
        other => other,
    }
}

/// A place of interest with the key that leads there.
fn told(
    canvas: &Canvas<'_>,
    nodes: &Nodes,
    what: &str,
    key: &'static str,
    index: Option<usize>,
    columns: usize,
    lines: &mut Vec<Line<'static>>,
) {
    let theme = canvas.theme;
    let row = index.and_then(|index| nodes.get(nodes.row_of(index)?));
    let Some(row) = row else {
        if !canvas.view.ran.is_running() {
            let so_far = if matches!(canvas.view.ran.progress, Progress::Stopped(_)) { " so far" } else { "" };
            lines.push(Line::styled(format!("{what}: none{so_far}"), theme.muted()));
        }
        return;
    };
    let at = row.at().map(|at| format!(", {at}")).unwrap_or_default();
    let measured = canvas.view.ran.measured(row.index, Which::Isolated);
    let number = measured.map(|one| format!(", {}", text::error(one.max_abs))).unwrap_or_default();
    let words = format!(" {what}: node {} {}{}{number}", row.index, quoted(row.op()), quoted(&at));
    let words = text::clip(&words, columns.saturating_sub(1));
    lines.push(Line::from(vec![Span::styled(key, theme.key()), Span::styled(words, theme.text())]));
}

/// Keys with what they do.
fn keys(canvas: &Canvas<'_>, keys: &[(Command, &'static str)]) -> Line<'static> {
    let theme = canvas.theme;
    let spans = keys.iter().flat_map(|(command, words)| [canvas.key(*command), Span::styled(*words, theme.text())]);
    Line::from(spans.collect::<Vec<Span<'static>>>())
}

/// How to get a graph.
fn no_graph(canvas: &Canvas<'_>, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, document) = (canvas.theme, &canvas.view.document);
    paragraph(
        lines,
        "This file holds no graph. With one the whole model runs node by node in both engines, the forwards between the layers too. \
         Where the model is built:",
        columns,
        theme.text(),
    );
    for line in [
        "import torch",
        "inputs = (torch.randn(1, 3, 224, 224),)",
        "program = torch.export.export(model.eval(), inputs)",
        "torch.export.save(program, \"model.pt2\")",
    ] {
        lines.push(Line::styled(format!("  {line}"), theme.key()));
    }
    if !document.offer.possible {
        return;
    }
    let opens_panel = " does it here, and asks first; or";
    lines.push(keys(canvas, &[(Command::Open(Name::Build), opens_panel)]));
    let offer = &document.offer;
    let model = if offer.model.is_empty() { "package.Model()" } else { &offer.model };
    let input = if offer.inputs.is_empty() { "1x3x224x224" } else { &offer.inputs };
    let path = if document.about.path.is_empty() { &document.name } else { &document.about.path };
    let words = format!(
        "t2m-tui run {} --python {} --model {} --input {input}",
        quote(path),
        quote(&offer.python),
        quote(model)
    );
    let rows = text::wrap(&quoted(&words), columns.saturating_sub(2));
    lines.extend(rows.into_iter().map(|row| Line::styled(format!("  {row}"), theme.key())));
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
