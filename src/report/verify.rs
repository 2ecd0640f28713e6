//! `verify`: text, JSON, one line of JSON for each layer, Markdown.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::compare::WeightSource;
use crate::compare::{Apart, ByDefault, Trial, Verdict};
use crate::export::state_dict::known_share;
use crate::figures::{error, error_or_dash};
use crate::findings::Headline;
use crate::fit::{hang, pad, width};
use crate::model::ModuleId;
use crate::open::Opened;
use crate::triage::ModuleTriage;
use crate::verify::{Layer, Results, Twin};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_engine::{Side, protocol};

/// The results of a run so far, and what was run.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// What was run.
    pub opened: &'a Opened,
    /// What came out.
    pub results: &'a Results,
}

impl Report<'_> {
    /// The whole run as one JSON object, schema 1.
    pub fn json(&self) -> Value {
        let layers = self.results.finished().into_iter().map(|(id, layer)| layer_json(self.opened, id, layer));
        let layers: Vec<Value> = layers.collect();
        let counts = self.results.total();
        let summary: Map<String, Value> =
            counts.counts().map(|(verdict, count)| (verdict.name().to_owned(), json!(count))).collect();
        let mut summary = Value::Object(summary);
        let assumed: Map<String, Value> =
            counts.assumed().map(|(verdict, count)| (verdict.name().to_owned(), json!(count))).collect();
        if !assumed.is_empty() {
            summary["assumed"] = Value::Object(assumed);
        }
        json!({
            "schema": 1,
            "engines": {"torch": self.engine_json(Side::Torch), "mlx": self.engine_json(Side::Mlx)},
            "layers": layers,
            "summary": summary,
        })
    }

    fn engine_json(&self, side: Side) -> Value {
        let Some(info) = self.results.greeting(side) else { return Value::Null };
        let mut value = json!({"version": info.version, "device": info.device, "flags": info.flags});
        if side == Side::Mlx {
            value["tf32"] = json!(info.tf32());
            value["blas"] = info.flags.get(protocol::BLAS).cloned().unwrap_or(Value::Null);
        }
        value
    }

    /// The verdicts, what measured them, and what no layer's verdict says anything of.
    pub fn summary_text(&self) -> String {
        let (total, opened) = (self.results.total(), self.opened);
        let mut lines = vec![format!("layers: {}", total.words())];
        let headline = Headline::of(&opened.model, &opened.triage, known_share(opened));
        lines.push(format!("weights: {}", headline.weights_words()));
        lines.push(format!("behaviour: {}", headline.behaviour_words()));
        lines.extend(opened.typed.lines().iter().map(|line| format!("typed: {}", sentence(line))));
        if let Some(words) = headline.forwards.words() {
            let names = headline.forwards.names().map_or(String::new(), |names| format!(": {names}"));
            lines.push(format!("not measured: {words}{names}"));
        }
        let engines: Vec<String> = [Side::Torch, Side::Mlx].iter().filter_map(|side| self.engine_text(*side)).collect();
        lines.push(if self.results.any_measured() {
            let all = total.finished() - total.by_definition;
            let assumed = match total.as_assumed {
                0 => String::new(),
                count => format!(", {count} more with each value of what is not known of them"),
            };
            format!("measured: {} of {all} layers{assumed}, with {}", total.measured, engines.join(", "))
        } else {
            "measured: nothing".to_owned()
        });
        lines.extend(self.by_default_text());
        lines.join("\n")
    }

    /// What MLX's default costs, where it was run as well.
    fn by_default_text(&self) -> Option<String> {
        let finished = self.results.finished();
        let all: Vec<(ModuleId, &Layer, Trial)> =
            finished.into_iter().filter_map(|(id, layer)| Some((id, layer, layer.worst_by_default()?))).collect();
        if all.is_empty() {
            return None;
        }
        let differs = |layer: &Layer, trial: &Trial| layer.worst().and_then(Trial::max_abs) != trial.max_abs();
        let other = all.iter().filter(|(_, layer, trial)| differs(layer, trial)).count();
        if other == 0 {
            let device = self.results.greeting(Side::Mlx).map_or("there", |info| info.device.as_str());
            return Some(format!("MLX's default: TF32 changes no layer on {}", sentence(device)));
        }
        let over = all.iter().filter(|(_, _, trial)| trial.verdict.is_bad()).count();
        let worst = all.iter().max_by(|a, b| a.2.badness().total_cmp(&b.2.badness()));
        let worst = worst.map_or(String::new(), |(id, _, trial)| {
            let times = trial
                .excess()
                .map_or_else(|| "of another shape".to_owned(), |share| format!("at {share:.1} tolerances"));
            format!(", the worst {times}: {}", quoted(&self.opened.model.modules[*id].path))
        });
        Some(format!(
            "MLX's default (TF32): {other} of {} layers differ, {over} of them over the tolerance{worst}",
            all.len()
        ))
    }

    fn engine_text(&self, side: Side) -> Option<String> {
        let info = self.results.greeting(side)?;
        Some(format!("{} {} ({})", side.library(), info.version, info.settings()))
    }

    /// The run as a Markdown table.
    pub fn markdown(&self) -> String {
        let opened = self.opened;
        let mut out = String::from(
            "| layer | class | MLX | f32 max abs | tolerance | torch to f64 | mlx to f64 | verdict |\n|---|---|---|---|---|---|---|---|\n",
        );
        for (id, layer) in self.results.finished() {
            let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
            let [error, tolerance, torch, mlx] =
                layer.worst_in(Dtype::Float32).map_or([const { String::new() }; 4], |trial| {
                    let mlx = trial.apart.as_ref().map(|apart| apart.mlx_vs_f64);
                    [trial.max_abs(), Some(trial.tolerance), Some(trial.torch_vs_f64), mlx].map(error_or_dash)
                });
            let reason =
                layer.reason().map(|reason| format!(": {}", sentence(reason).replace('|', "\\|"))).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {error} | {tolerance} | {torch} | {mlx} | {}{reason} |",
                super::code_cell(&module.path),
                quoted(module.short_class()).replace('|', "\\|"),
                triaged.target().unwrap_or(""),
                verdict_words(triaged, layer),
            );
        }
        format!("{out}\n{}\n", self.summary_text())
    }
}

/// Columns of the text: whole lines, or what fits a terminal.
#[derive(Debug, Clone, Copy)]
struct Columns {
    path: usize,
    what: usize,
    number: usize,
    /// Of the terminal, where there is one that the lines have to fit.
    all: Option<usize>,
}

impl Columns {
    fn of(all: Option<usize>) -> Columns {
        let wide = Columns { path: 36, what: 46, number: 9, all };
        // Verdict and gaps take eleven columns, numbers eight each.
        match all {
            Some(all) if all < 120 => {
                let room = all.saturating_sub(27);
                let what = (room * 2 / 5).clamp(12, 24);
                Columns { path: room.saturating_sub(what + 1).max(8), what, number: 7, all: Some(all) }
            }
            _ => wide,
        }
    }

    /// Whether a layer is named by what it becomes alone.
    fn is_narrow(&self) -> bool {
        self.number < 9
    }

    /// A row; what is too long for its column pushes the rest into the next line.
    fn row(&self, path: &str, what: &str, [error, tolerance]: [&str; 2], verdict: &str) -> String {
        let Columns { path: first, what: second, number, .. } = *self;
        let numbers = format!("{error:>number$} {tolerance:>number$}  {verdict}");
        if self.all.is_none() {
            return format!("{} {} {numbers}", pad(path, first), pad(what, second));
        }
        let mut row = path.to_owned();
        for (text, at) in [(what, first + 1), (&numbers, first + second + 2)] {
            if text.is_empty() {
                continue;
            }
            let last = row.lines().last().map_or(0, width);
            if last >= at && last > 0 {
                row += &format!("\n{}{text}", " ".repeat(at));
            } else {
                row += &format!("{}{text}", " ".repeat(at - last));
            }
        }
        row
    }

    /// What is said of a row: behind it, or on lines of its own.
    fn said(&self, row: &mut String, words: &str) {
        match self.all {
            None => *row += &format!(": {words}"),
            Some(all) => *row += &format!("\n    {}", hang(words, all, 4, 4).join("\n")),
        }
    }
}

/// The heading of [`layer_text`]'s columns, for a terminal of so many; `None` where lines may be of any length.
pub fn heading_text(columns: Option<usize>) -> String {
    let columns = Columns::of(columns);
    let (what, tolerance) = if columns.is_narrow() { ("in MLX", "at most") } else { ("class → MLX", "tolerance") };
    columns.row("layer", what, ["max abs", tolerance], "verdict")
}

/// A finished layer on one line, with its trials in half precision on lines below. On a terminal what is said of it stands below
/// as well.
pub fn layer_text(opened: &Opened, id: ModuleId, layer: &Layer, columns: Option<usize>) -> String {
    let columns = Columns::of(columns);
    let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
    let what = match triaged.target() {
        Some(mlx) if columns.is_narrow() => mlx.to_owned(),
        Some(mlx) => format!("{} → {mlx}", module.short_class()),
        None => module.short_class().to_owned(),
    };
    let path = if module.path.is_empty() { "(root)" } else { &module.path };
    let numbers = |trial: Option<&Trial>| match trial {
        Some(trial) => [error_or_dash(trial.max_abs()), error(trial.tolerance)],
        None => [const { String::new() }; 2],
    };
    let row = |path: &str, what: &str, trial: Option<&Trial>, verdict: &str| {
        let [error, tolerance] = numbers(trial);
        columns.row(path, what, [&error, &tolerance], verdict)
    };
    let by_definition = is_by_definition(triaged, layer);
    let mut lines = if by_definition && columns.is_narrow() {
        columns.row(&quoted(path), &quoted(&what), ["by", "defin."], verdict_word(layer))
    } else {
        row(&quoted(path), &quoted(&what), layer.worst_in(Dtype::Float32), &verdict_words(triaged, layer))
    };
    if let Some(reason) = layer.reason() {
        columns.said(&mut lines, &sentence(reason));
    }
    for dtype in [Dtype::Float16, Dtype::BFloat16] {
        if let Some(trial) = layer.worst_in(dtype) {
            let mut line = row("", dtype.name(), Some(trial), trial.verdict.name());
            if let Some(note) = trial.complaint() {
                columns.said(&mut line, &note);
            }
            let _ = write!(lines, "\n{line}");
        }
    }
    for twin in &layer.twins {
        let mut line = if columns.is_narrow() {
            row(&quoted(&format!("    plain rename: {}", twin.name)), "", twin.trial.as_ref(), twin.verdict.name())
        } else {
            row("", &format!("  plain rename: {}", twin.name), twin.trial.as_ref(), twin.verdict.name())
        };
        if let Some(reason) = &twin.reason {
            columns.said(&mut line, &sentence(reason));
        }
        let _ = write!(lines, "\n{line}");
    }
    if let Some(trial) = layer.worst_by_default() {
        let words = "  MLX's default (TF32)";
        let mut line = if columns.is_narrow() {
            row(&format!("  {words}"), "", Some(&trial), trial.verdict.name())
        } else {
            row("", words, Some(&trial), trial.verdict.name())
        };
        if let Some(reason) = layer.judged().find_map(|trial| trial.tf32.as_ref()?.reason.as_deref()) {
            columns.said(&mut line, &sentence(reason));
        }
        let _ = write!(lines, "\n{line}");
    }
    lines
}

/// The verdict of a layer; `not-run` if it has none yet.
fn verdict_word(layer: &Layer) -> &'static str {
    layer.verdict().unwrap_or(Verdict::NotRun).name()
}

/// The verdict, what was assumed, and whether it says anything of the class.
fn verdict_words(triaged: &ModuleTriage, layer: &Layer) -> String {
    let aside = match triaged.assumed.as_ref().filter(|_| triaged.is_assumed()) {
        Some(assumed) => format!(" as assumed ({})", assumed.words()),
        None if is_by_definition(triaged, layer) => " by definition".to_owned(),
        None => String::new(),
    };
    format!("{}{aside}", verdict_word(layer))
}

/// Whether a layer is exact as both sides are the identity.
fn is_by_definition(triaged: &ModuleTriage, layer: &Layer) -> bool {
    triaged.is_by_definition() && layer.verdict() == Some(Verdict::Exact)
}

/// A finished layer as JSON.
pub fn layer_json(opened: &Opened, id: ModuleId, layer: &Layer) -> Value {
    let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
    let mut value = json!({
        "path": module.path.as_str(), "class": module.class.as_str(), "status": triaged.status, "verdict": verdict_word(layer),
    });
    if let Some(reason) = layer.reason() {
        value["reason"] = json!(reason);
    }
    if let Some(assumed) = triaged.assumed.as_ref().filter(|_| triaged.is_assumed()) {
        value["assumed"] = json!(assumed.values);
    }
    if is_by_definition(triaged, layer) {
        value["by_definition"] = json!(true);
    }
    value["trials"] = layer.trials.iter().map(trial_json).collect();
    if !layer.twins.is_empty() {
        value["naive"] = layer.twins.iter().map(twin_json).collect();
    }
    value
}

fn twin_json(twin: &Twin) -> Value {
    let mut value = json!({"name": twin.name, "verdict": twin.verdict.name()});
    if let Some(trial) = &twin.trial {
        value["trial"] = trial_json(trial);
    }
    if let Some(reason) = &twin.reason {
        value["reason"] = json!(reason);
    }
    value
}

fn trial_json(trial: &Trial) -> Value {
    // Null where outputs cannot be subtracted; JSON has no infinity either.
    let apart = |of: fn(&Apart) -> f64| trial.apart.as_ref().map(of);
    let worst_index = trial.apart.as_ref().map_or(&[][..], |apart| &apart.worst_index);
    let mut value = json!({
        "dtype": short_dtype(trial.dtype), "seed": trial.seed, "input_shapes": trial.input_shapes,
        "output_shape": trial.output_shape, "max_abs": trial.max_abs(), "mean_abs": apart(|apart| apart.mean_abs),
        "max_rel": apart(|apart| apart.max_rel), "p99_abs": apart(|apart| apart.p99_abs),
        "cosine": apart(|apart| apart.cosine), "worst_index": worst_index,
        "tolerance": trial.tolerance, "scale": trial.scale, "torch_vs_f64": trial.torch_vs_f64,
        "mlx_vs_f64": apart(|apart| apart.mlx_vs_f64), "mlx_dtype": short_dtype(trial.mlx_dtype), "ms_torch": microseconds(trial.ms_torch),
        "ms_mlx": microseconds(trial.ms_mlx), "verdict": trial.verdict.name(),
    });
    if trial.weights != WeightSource::Checkpoint {
        value["weights"] = json!(trial.weights.name());
    }
    if let Some(output) = &trial.output {
        value["output"] = json!(output);
    }
    if let Some(by_default) = &trial.tf32 {
        value["tf32"] = by_default_json(by_default);
    }
    value
}

/// What MLX gives by default, beside the exact run.
fn by_default_json(by_default: &ByDefault) -> Value {
    let apart = |of: fn(&Apart) -> f64| by_default.apart.as_ref().map(of);
    let mut value = json!({
        "max_abs": apart(|apart| apart.max_abs), "mean_abs": apart(|apart| apart.mean_abs), "cosine": apart(|apart| apart.cosine),
        "mlx_vs_f64": apart(|apart| apart.mlx_vs_f64), "ms_mlx": microseconds(by_default.ms_mlx), "verdict": by_default.verdict.name(),
    });
    if let Some(reason) = &by_default.reason {
        value["reason"] = json!(reason);
    }
    value
}

/// Milliseconds to three places, which is all the precision the clock has.
fn microseconds(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

/// The dtype as the command line takes it.
fn short_dtype(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Float32 => "f32",
        Dtype::Float16 => "f16",
        Dtype::BFloat16 => "bf16",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_different_shapes_have_no_difference() {
        let mut trial = Trial {
            dtype: Dtype::Float32,
            weights: WeightSource::Checkpoint,
            seed: 1,
            input_shapes: vec![vec![2]],
            output: None,
            output_shape: vec![2],
            apart: None,
            tolerance: 1e-6,
            scale: 1.0,
            torch_vs_f64: 0.0,
            mlx_dtype: Dtype::Float32,
            ms_torch: 0.0,
            ms_mlx: 0.0,
            mlx_shape: vec![3],
            verdict: Verdict::Broken,
            tf32: None,
        };
        let value = trial_json(&trial);
        for name in ["max_abs", "mean_abs", "max_rel", "p99_abs", "cosine", "mlx_vs_f64"] {
            assert_eq!(value.get(name), Some(&Value::Null), "{name}");
        }
        assert_eq!(value["worst_index"], json!([]));
        assert_eq!((trial.max_abs(), trial.excess(), error_or_dash(None)), (None, None, "–".to_owned()));
        let infinite = Apart {
            max_abs: f64::INFINITY,
            mean_abs: f64::INFINITY,
            max_rel: 0.0,
            p99_abs: 0.5,
            cosine: 1.0,
            worst_index: vec![1],
            mlx_vs_f64: 0.25,
        };
        trial.apart = Some(infinite);
        let value = trial_json(&trial);
        assert_eq!((&value["max_abs"], &value["mlx_vs_f64"]), (&Value::Null, &json!(0.25)), "JSON has no infinity");
        assert_eq!(error_or_dash(trial.max_abs()), "inf", "it was measured");
    }
}
