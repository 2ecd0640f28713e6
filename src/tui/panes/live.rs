//! The measurement of the selected layer, or of all layers below the selected module, and the keys that measure.
//!
//! It always says what was done, by whom, on what, and against which bound.

use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Behaviour, Pane, Place, View, beside, graph, kept, subtree};
use crate::compare::{Apart, Trial, Verdict, WeightSource};
use crate::model::ModuleId;
use crate::plan::{Assumed, Plan};
use crate::triage::Status;
use crate::tui::action::{Command, Effect};
use crate::tui::areas::{Areas, Rows, Shape};
use crate::tui::canvas::Canvas;
use crate::tui::context::Context;
use crate::tui::draw::chart::{self, Chart, Point};
use crate::tui::glyphs;
use crate::tui::scroll::{Scroll, distance};
use crate::tui::state::Trials;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::work::setting;
use crate::verify::{Layer, Progress};
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_engine::{EngineState, Side};

/// Narrowest pane that has chart and numbers side by side.
const SIDE_BY_SIDE: u16 = 64;
/// Columns of a label and its value, with the gap after them.
const PAIR: usize = 26;
/// Columns of a label.
const LABEL: usize = 11;

/// How far the pane is scrolled.
#[derive(Debug, Clone, Default)]
pub struct Live {
    scroll: Scroll,
}

/// The measurement as a pane.
pub(super) struct LivePane;

impl Behaviour for LivePane {
    fn title(&self) -> &'static str {
        "Measured"
    }

    fn command(&self, command: Command, context: &mut Context<'_>) -> bool {
        let by = distance(command, context.areas.page(Pane::Live));
        if let Some(by) = by {
            self.scroll(by, context.view, context.areas);
        }
        by.is_some()
    }

    fn command_anywhere(&self, command: Command, context: &mut Context<'_>) -> bool {
        match command {
            Command::Run => {
                let chosen = context.view.tree.chosen();
                run(context, &chosen);
            }
            Command::RunAll => run_missing(context),
            Command::RunAgain => run(context, &[0]),
            Command::Cancel => cancel(context),
            Command::Half => said(context, Trials::toggle_half),
            Command::Weights => {
                said(context, Trials::toggle_weights);
                context.view.measured.use_weights(context.trials.weights);
            }
            Command::Twins => said(context, Trials::toggle_naive),
            Command::Tf32 => said(context, Trials::toggle_tf32),
            Command::Device => beside::other_device(context),
            _ => return false,
        }
        true
    }

    /// A row of the list of the worst, or a dot, leads to its layer.
    fn click(&self, at: Position, _rows: Rows, context: &mut Context<'_>) {
        if let Some(&(_, layer)) = context.areas.links.iter().rev().find(|(area, _)| area.contains(at)) {
            context.view.tree.reveal(&context.view.document, layer);
        }
    }

    fn scroll(&self, rows: i64, view: &mut View, areas: &Areas) {
        view.live.scroll.by(rows, areas.pane(Pane::Live));
    }

    fn draw(&self, canvas: &mut Canvas<'_>, place: Place) {
        let (theme, view) = (canvas.theme, canvas.view);
        let id = view.tree.selected;
        titles(canvas, id, place);
        let chart = chart_of(view, id);
        let columns = (place.inner.width >= SIDE_BY_SIDE).then(|| (place.inner.width * 2 / 5).clamp(28, 72));
        let (chart_area, text_area) = super::beside(place.inner, chart.is_some(), columns);
        if let (Some(chart), Some(area)) = (&chart, chart_area) {
            chart::draw(theme, area, canvas.buffer, chart);
            if view.measured.layer(id).is_none() {
                let layers = in_order(view, id);
                let dots = chart::columns(area, chart).into_iter();
                canvas.areas.links.extend(dots.filter_map(|(column, at)| Some((column, *layers.get(at)?))));
            }
        }
        let (lines, links) = lines(canvas, id, usize::from(text_area.width));
        let rows = view.live.scroll.rows(text_area, lines.len());
        text::put_lines(canvas.buffer, text_area, lines.get(rows.top..).unwrap_or_default());
        for (row, layer) in links {
            let y = row.checked_sub(rows.top).filter(|y| *y < usize::from(text_area.height));
            let strip = y.map(|y| Rect { y: text_area.y + y as u16, height: 1, ..text_area });
            canvas.areas.links.extend(strip.map(|strip| (strip, layer)));
        }
        canvas.areas.panes.push((Pane::Live, rows));
        place.scrollbar(canvas, rows.top, usize::from(text_area.height), rows.count);
    }
}

/// Change what a run does, and say how it is now.
fn said(context: &mut Context<'_>, toggle: fn(&mut Trials) -> &'static str) {
    let words = toggle(context.trials);
    context.say(words);
}

fn cancel(context: &mut Context<'_>) {
    let of_graph = graph::cancel(context);
    let waited = std::mem::take(&mut context.view.work.waits);
    if context.view.measured.is_running() || waited {
        context.effects.push(Effect::Cancel);
        context.view.measured.forget_unfinished();
        context.say("cancelled");
    } else {
        context.say(if of_graph { "cancelled" } else { "nothing runs" });
    }
}

/// Ask for the measurement of everything at these modules and below them.
fn run(context: &mut Context<'_>, roots: &[ModuleId]) {
    let view = &mut *context.view;
    let root = roots.first().copied().unwrap_or(0);
    let mut runnable: Vec<ModuleId> = roots.iter().flat_map(|root| view.document.runnable_below(*root)).collect();
    runnable.sort_unstable();
    runnable.dedup();
    let pending = |id: &ModuleId| view.measured.layer(*id).is_some_and(|layer| layer.verdict().is_none());
    let modules: Vec<ModuleId> = runnable.iter().copied().filter(|id| !pending(id)).collect();
    if modules.is_empty() {
        let name = view.document.module(root).map_or("", |module| module.path.as_str());
        let name = if name.is_empty() { "the model" } else { name };
        let words = if runnable.is_empty() {
            let name = t2m_checkpoint::escape::escape(name);
            match view.document.triage(root).map(|triage| triage.status) {
                Some(Status::Incomplete) => format!("nothing to run: what {name} is, is not known in full"),
                Some(Status::Custom) => format!("nothing to run: the forward of {name} has to be ported"),
                _ => format!("nothing to run: {name} has no conversion"),
            }
        } else {
            "it runs already".to_owned()
        };
        return context.say(&words);
    }
    submit(context, modules);
}

/// Ask for the measurement of these.
fn submit(context: &mut Context<'_>, modules: Vec<ModuleId>) {
    let view = &mut *context.view;
    view.bottom = Pane::Live;
    if context.areas.shape == Shape::Two {
        view.show(Pane::Live, Shape::Two);
    }
    view.ask(&modules, setting(context.trials));
    view.measured.queue(&modules);
    view.measured.run_beside(&modules, context.trials.naive);
    context.effects.push(Effect::Submit(context.trials.request(modules)));
}

/// Ask for the measurement of what was not measured, or not as it would be now. Whether what is on record was computed by engines
/// of these versions is known once they have started.
fn run_missing(context: &mut Context<'_>) {
    let view = &mut *context.view;
    if view.measured.waits_for_engines() && !view.work.waits {
        view.work.waits = true;
        view.measured.queue(&[]);
        context.effects.push(Effect::Submit(context.trials.request(Vec::new())));
        return context.say("the engines start: what is missing or stale runs then");
    }
    run_lacking(context);
}

/// The engines have said which they are, or cannot be started.
pub(super) fn run_lacking(context: &mut Context<'_>) {
    let view = &mut *context.view;
    view.work.waits = false;
    let runnable = view.document.runnable_below(0);
    let setting = setting(context.trials);
    let lacking: Vec<ModuleId> = runnable.iter().copied().filter(|id| view.measured.lacks(*id, &setting)).collect();
    if !lacking.is_empty() {
        return submit(context, lacking);
    }
    if runnable.is_empty() || view.measured.is_running() {
        return run(context, &[0]);
    }
    context.say(&format!("nothing is missing or stale: {} runs all again", context.key(Command::RunAgain)));
}

/// The layer and what it becomes on the left, the engines on the right.
fn titles(canvas: &mut Canvas<'_>, id: ModuleId, place: Place) {
    let (theme, view) = (canvas.theme, canvas.view);
    let (Some(module), Some(triage)) = (view.document.module(id), view.document.triage(id)) else { return };
    let name = if module.path.is_empty() { "the whole model" } else { &module.path };
    let mut words = quoted(module.short_class()).into_owned();
    if let Some(mlx) = &triage.mlx {
        words = format!("{words} → {}", quoted(mlx));
    }
    let steps = triage.plan.as_ref().and_then(|plan| plan.way.words(", "));
    let mut spans = vec![
        Span::styled("─ ", theme.border(place.focus)),
        Span::styled(quoted(name).into_owned(), theme.text().add_modifier(Modifier::BOLD)),
        Span::styled(format!("  {words} "), theme.status(triage.status)),
    ];
    if let Some(steps) = steps {
        spans.push(Span::styled(format!("· {} ", sentence(&steps)), theme.muted()));
    }
    place.write_titles(canvas.buffer, &Line::from(spans), &engines(theme, view));
}

/// `libtorch 2.13.0 cpu ↔ mlx 0.32.2 gpu`
fn engines(theme: &Theme, view: &View) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (side, engine) in [(Side::Torch, &view.measured.torch), (Side::Mlx, &view.measured.mlx)] {
        if side == Side::Mlx {
            spans.push(Span::styled(" ↔ ", theme.faint()));
        }
        let (words, style) = engine_words(theme, engine);
        spans.push(Span::styled(format!("{} {words}", side.library()), style));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

pub(super) fn engine_words(theme: &Theme, engine: &EngineState) -> (String, Style) {
    match engine {
        EngineState::Idle => ("not started".to_owned(), theme.muted()),
        EngineState::Starting => ("starting".to_owned(), theme.running()),
        EngineState::Ready(info) => (quoted(&format!("{} {}", info.version, info.device)).into_owned(), theme.text()),
        EngineState::Down(_) => ("is down".to_owned(), theme.verdict(Verdict::Failed)),
    }
}

/// The errors of the layer's trials, or of the layers below.
fn chart_of(view: &View, id: ModuleId) -> Option<Chart<'static>> {
    if let Some(layer) = view.measured.layer(id) {
        return chart_of_trials(layer);
    }
    if view.measured.sum(id).is_empty() {
        return None;
    }
    let document = &view.document;
    let points: Vec<Point> = view
        .measured
        .below(id)
        .filter_map(|(at, layer)| {
            let slot = document.rank(at, id);
            match (layer.worst(), layer.verdict()) {
                (Some(trial), verdict) => {
                    let point = Point::of(slot, trial);
                    Some(Point { verdict: verdict.unwrap_or(point.verdict), ..point })
                }
                (None, Some(verdict @ Verdict::Failed)) if !layer.no_engine => {
                    Some(Point { slot, value: f64::NAN, mean: 0.0, tolerance: f64::NAN, verdict })
                }
                (None, _) => None,
            }
        })
        .collect();
    Some(Chart {
        points,
        slots: (document.runnable(id) + document.assumed(id)) as usize,
        caption: "layers in order",
        numbered: false,
    })
}

fn chart_of_trials(layer: &Layer) -> Option<Chart<'static>> {
    let points: Vec<Point> = layer.judged().enumerate().map(|(slot, trial)| Point::of(slot, trial)).collect();
    let coming = match layer.progress {
        Progress::Running(trials) => trials,
        Progress::Queued | Progress::Done(..) => 0,
    };
    let slots = coming.max(points.len());
    (slots > 0).then_some(Chart { points, slots, caption: "trial", numbered: true })
}

/// The layers below a module in the order of the chart's dots.
fn in_order(view: &View, id: ModuleId) -> Vec<ModuleId> {
    view.measured.below(id).filter(|(_, layer)| has_dot(layer)).map(|(at, _)| at).collect()
}

/// Whether the chart of the layers has a dot for it.
fn has_dot(layer: &Layer) -> bool {
    layer.worst().is_some() || (layer.verdict() == Some(Verdict::Failed) && !layer.no_engine)
}

/// Everything there is to say of a module's measurement, in lines of at most `columns`; and the lines that lead to a layer.
fn lines(canvas: &Canvas<'_>, id: ModuleId, columns: usize) -> (Vec<Line<'static>>, Vec<(usize, ModuleId)>) {
    let (theme, view) = (canvas.theme, canvas.view);
    let mut lines = Vec::new();
    kept::notes(canvas, id, columns, &mut lines);
    let waiting = view.measured.sum(id).no_engine;
    for (side, reason) in view.measured.engines_down() {
        let words = format!("{} is down: {}", side.library(), sentence(reason));
        paragraph(&mut lines, &words, columns, theme.verdict(Verdict::Failed));
    }
    if waiting > 1 {
        paragraph(&mut lines, &format!("{waiting} layers could not be run for that."), columns, theme.muted());
    }
    match view.measured.layer(id) {
        Some(layer) => of_layer(canvas, id, layer, columns, &mut lines),
        None if kept::stale(canvas, id, columns, &mut lines) => {}
        None if !view.measured.sum(id).is_empty() => return subtree::of_subtree(canvas, id, columns, lines),
        None => {}
    }
    let triage = view.document.triage(id);
    let assumed = triage.and_then(|triage| triage.assumed.as_deref().filter(|_| triage.is_assumed()));
    let likeliest = assumed.map(|assumed| &assumed.likeliest);
    if let Some(plan) = triage.and_then(|triage| triage.plan.as_ref().or(likeliest)) {
        if view.measured.layer(id).is_none() && view.measured.stale(id).is_none() {
            lines.push(Line::from(vec![
                Span::styled("Not measured yet. ", theme.text()),
                canvas.key(Command::Run),
                Span::styled(if assumed.is_some() { " runs this and its like:" } else { " runs this:" }, theme.text()),
            ]));
        }
        if let Some(assumed) = assumed {
            lines.push(Line::default());
            of_assumed(theme, assumed, columns, &mut lines);
        }
        lines.push(Line::default());
        of_plan(theme, plan, columns, &mut lines);
    } else if view.measured.layer(id).is_none() {
        no_plan(canvas, id, columns, &mut lines);
    }
    (lines, Vec::new())
}

pub(super) fn paragraph(lines: &mut Vec<Line<'static>>, words: &str, columns: usize, style: Style) {
    lines.extend(text::wrap(&sentence(words), columns).into_iter().map(|row| Line::styled(row, style)));
}

fn of_layer(canvas: &Canvas<'_>, id: ModuleId, layer: &Layer, columns: usize, lines: &mut Vec<Line<'static>>) {
    let theme = canvas.theme;
    let (worst, by_definition) = (layer.worst(), canvas.view.measured.is_by_definition(id));
    match &layer.progress {
        Progress::Queued => lines.push(Line::styled("· queued: other layers are before it", theme.muted())),
        Progress::Running(trials) => {
            let words = format!("{} trial {} of {trials}", canvas.spinner(), layer.trials.len() + 1);
            lines.push(Line::styled(words, theme.running().add_modifier(Modifier::BOLD)));
        }
        Progress::Done(..) if layer.no_engine => {
            lines.push(Line::styled("· not run: an engine is missing", theme.muted()));
        }
        Progress::Done(verdict, reason) => {
            let style = theme.verdict(*verdict);
            let assumed = canvas.view.measured.is_assumed(id);
            let by_definition = if by_definition { " by definition: both sides are the identity" } else { "" };
            let mut spans = vec![Span::styled(
                format!(
                    "{} {}{by_definition}{}",
                    glyphs::verdict(*verdict),
                    verdict.name(),
                    if assumed { "~ with each value" } else { "" }
                ),
                style.add_modifier(Modifier::BOLD),
            )];
            if let Some(trial) = worst.filter(|_| by_definition.is_empty()) {
                spans.push(Span::styled(format!("   {}", against_tolerance(trial)), theme.text()));
            }
            lines.push(Line::from(spans));
            if let Some(reason) = reason {
                paragraph(lines, reason, columns, if verdict.passes() { theme.muted() } else { style });
            }
        }
    }
    if let Some(record) = &layer.record {
        kept::on_record(theme, record, columns, lines);
    }
    let Some(trial) = worst else { return };
    if let Some(words) = against_f64(trial) {
        paragraph(lines, &words, columns, theme.muted());
    }
    if trial.mlx_dtype != trial.dtype {
        let words =
            format!("{} asked for {}, MLX answered in {}", glyphs::FLAG, trial.dtype.name(), trial.mlx_dtype.name());
        paragraph(lines, &words, columns, theme.verdict(Verdict::Drift));
    }
    // What a rename would give and half precision are what a demonstration is about: they stand before the details.
    beside::twins(theme, layer, columns, lines);
    beside::by_default(theme, layer, columns, lines);
    lines.extend(other_dtypes(theme, layer, trial, columns));
    lines.push(Line::default());
    lines.extend(in_columns(theme, pairs(theme, layer, trial), columns));
}

/// The error compared with its bound.
pub(super) fn against_tolerance(trial: &Trial) -> String {
    let Some(error) = trial.max_abs() else { return "another shape".to_owned() };
    let ratio = error / trial.tolerance;
    let (is_exact, error, bound) = (error == 0.0, text::error(error), text::error(trial.tolerance));
    match ratio {
        _ if is_exact => "no element differs".to_owned(),
        ratio if !ratio.is_finite() => format!("{error} against a tolerance of {bound}"),
        ratio if ratio < 0.005 => format!("{error}, under 1 % of the tolerance"),
        ratio if ratio <= 1.0 => format!("{error}, {:.0} % of the tolerance", ratio * 100.0),
        ratio if ratio < 10.0 => format!("{error}, {ratio:.1} times the tolerance"),
        ratio => format!("{error}, {} times the tolerance", text::count(ratio as u64)),
    }
}

/// Which library is nearer to f64: this tells a rounding difference from a wrong conversion.
fn against_f64(trial: &Trial) -> Option<String> {
    let apart = trial.apart.as_ref()?;
    let (torch, mlx) = (trial.torch_vs_f64, apart.mlx_vs_f64);
    if apart.max_abs == 0.0 || !torch.is_finite() || !mlx.is_finite() || torch + mlx == 0.0 {
        return None;
    }
    Some(match mlx / torch {
        ratio if ratio < 0.5 => "MLX is nearer to f64 than libtorch is".to_owned(),
        ratio if ratio <= 2.0 => "both are equally near to f64".to_owned(),
        ratio if ratio <= 10.0 => "libtorch is nearer to f64".to_owned(),
        _ => "libtorch is much nearer to f64: the difference is MLX's".to_owned(),
    })
}

type Pair = (&'static str, String, Style);

fn pairs(theme: &Theme, layer: &Layer, trial: &Trial) -> Vec<Pair> {
    let plain = theme.text();
    let verdict = theme.verdict(trial.verdict).add_modifier(Modifier::BOLD);
    let inputs = trial.input_shapes.iter().map(|axes| text::shape(axes)).collect::<Vec<_>>().join(", ");
    let mlx_dtype = if trial.mlx_dtype == trial.dtype { plain } else { theme.verdict(Verdict::Drift) };
    let count = layer.judged().count();
    let weights = match trial.weights {
        WeightSource::Checkpoint => "the checkpoint's",
        WeightSource::Random => "randomised",
    };
    // Outputs of different shapes cannot be subtracted.
    let apart = trial.apart.as_ref();
    let number = |of: fn(&Apart) -> f64| apart.map_or_else(|| "–".to_owned(), |apart| text::error(of(apart)));
    let cosine = apart.map_or_else(|| "–".to_owned(), |apart| format!("{:.7}", apart.cosine));
    let worst = apart.map_or_else(
        || "–".to_owned(),
        |apart| format!("({})", apart.worst_index.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    );
    vec![
        ("max abs", number(|apart| apart.max_abs), verdict),
        ("mean abs", number(|apart| apart.mean_abs), plain),
        ("p99 abs", number(|apart| apart.p99_abs), plain),
        ("max rel", number(|apart| apart.max_rel), plain),
        ("cosine", cosine, plain),
        ("worst at", worst, plain),
        ("torch↔f64", text::error(trial.torch_vs_f64), plain),
        ("mlx↔f64", number(|apart| apart.mlx_vs_f64), plain),
        ("tolerance", text::error(trial.tolerance), theme.verdict(Verdict::Drift)),
        ("scale", text::error(trial.scale), plain),
        ("torch", format!("{:.2} ms", trial.ms_torch), plain),
        ("mlx", format!("{:.2} ms", trial.ms_mlx), plain),
        ("dtype", trial.dtype.name().to_owned(), plain),
        ("mlx dtype", trial.mlx_dtype.name().to_owned(), mlx_dtype),
        ("seed", trial.seed.to_string(), plain),
        ("trials", format!("worst of {count}"), plain),
        ("weights", weights.to_owned(), plain),
        ("input", inputs, plain),
        ("output", text::shape(&trial.output_shape), plain),
    ]
}

/// Pairs in as many columns as fit, each read from top to bottom.
fn in_columns(theme: &Theme, pairs: Vec<Pair>, columns: usize) -> Vec<Line<'static>> {
    let across = (columns / PAIR).clamp(1, 3);
    let rows = pairs.len().div_ceil(across);
    let width = columns / across;
    (0..rows)
        .map(|row| {
            let mut spans = Vec::new();
            for column in 0..across {
                let Some((label, value, style)) = pairs.get(column * rows + row) else { continue };
                let value = text::clip(&quoted(value), width.saturating_sub(LABEL + 1));
                let gap = width.saturating_sub(LABEL + text::width(&value));
                let fill = LABEL.saturating_sub(text::width(label));
                spans.push(Span::styled(format!("{label}{}", " ".repeat(fill)), theme.muted()));
                spans.push(Span::styled(value, *style));
                spans.push(Span::raw(" ".repeat(gap)));
            }
            Line::from(spans)
        })
        .collect()
}

/// One line for each dtype that does not give the verdict.
fn other_dtypes(theme: &Theme, layer: &Layer, judged: &Trial, columns: usize) -> Vec<Line<'static>> {
    let mut dtypes = Vec::new();
    for trial in &layer.trials {
        if trial.dtype != judged.dtype && !dtypes.contains(&trial.dtype) {
            dtypes.push(trial.dtype);
        }
    }
    let of = |trial: &Trial| {
        let style = theme.verdict(trial.verdict);
        let mut spans = vec![
            Span::styled(format!("{:<LABEL$}", trial.dtype.name()), theme.muted()),
            Span::styled(format!("{} {:<7}", glyphs::verdict(trial.verdict), trial.verdict.name()), style),
            Span::styled(text::clip(&against_tolerance(trial), columns.saturating_sub(LABEL + 9)), theme.text()),
        ];
        if trial.mlx_dtype != trial.dtype {
            let words = format!("  {} MLX answered in {}", glyphs::FLAG, trial.mlx_dtype.name());
            spans.push(Span::styled(words, theme.verdict(Verdict::Drift)));
        }
        Line::from(spans)
    };
    dtypes.into_iter().filter_map(|dtype| layer.worst_in(dtype)).map(of).collect()
}

/// What is not known, and what a run takes for it.
fn of_assumed(theme: &Theme, assumed: &Assumed, columns: usize, lines: &mut Vec<Line<'static>>) {
    let words = "Not known, and each of these tried: the weights are converted in the same way whatever it is";
    paragraph(lines, words, columns, theme.status(Status::Incomplete));
    for (name, values) in assumed.listed() {
        let wrapped = text::wrap(&sentence(&values), columns.saturating_sub(LABEL + 3));
        for (index, row) in wrapped.into_iter().enumerate() {
            let label = if index == 0 { text::clip(&quoted(name), LABEL + 2) } else { String::new() };
            let pad = " ".repeat((LABEL + 3).saturating_sub(text::width(&label)));
            lines.push(Line::from(vec![
                Span::styled(format!("{label}{pad}"), theme.muted()),
                Span::styled(row, theme.text()),
            ]));
        }
    }
}

/// What would be run, in words.
fn of_plan(theme: &Theme, plan: &Plan, columns: usize, lines: &mut Vec<Line<'static>>) {
    for (label, words) in plan.rows() {
        let wrapped = text::wrap(&sentence(&words), columns.saturating_sub(LABEL));
        for (index, row) in wrapped.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!("{label:<LABEL$}"), theme.muted()),
                Span::styled(row, theme.text()),
            ]));
        }
    }
}

/// Why a module cannot be measured, and what can be measured below it.
fn no_plan(canvas: &Canvas<'_>, id: ModuleId, columns: usize, lines: &mut Vec<Line<'static>>) {
    let (theme, view) = (canvas.theme, canvas.view);
    let Some(triage) = view.document.triage(id) else { return };
    let word = match triage.difficulty {
        Some(difficulty) => format!("{}, {}", triage.status.name(), difficulty.name()),
        None => triage.status.name().to_owned(),
    };
    let style = theme.status(triage.status).add_modifier(Modifier::BOLD);
    lines.push(Line::styled(format!("{} {word}", glyphs::status(triage.status)), style));
    paragraph(lines, &triage.reason, columns, theme.text());
    if let Some(block) = &triage.block {
        lines.push(Line::default());
        paragraph(lines, &block.words(), columns, theme.text());
    }
    if view.document.to_port(id) > usize::from(triage.status == Status::Custom) {
        lines.push(Line::default());
        subtree::left_to_port(canvas, id, columns, lines);
    }
    let below = view.document.runnable(id) + view.document.assumed(id);
    if below > 0 {
        lines.push(Line::default());
        let words = if below == 1 { "1 layer".to_owned() } else { format!("{below} layers") };
        let words = format!(" runs the {words} below it that can be measured");
        lines.push(Line::from(vec![canvas.key(Command::Run), Span::styled(words, theme.muted())]));
    }
    if matches!(triage.status, Status::Incomplete) {
        lines.push(Line::default());
        paragraph(lines, "--source PATH names the Python that says it", columns, theme.muted());
    }
}
