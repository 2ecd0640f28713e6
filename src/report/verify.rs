//! `verify`: text, JSON, one line of JSON for each layer, Markdown.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::compare::WeightSource;
use crate::compare::{Apart, Trial, Verdict};
use crate::figures::{error, error_or_dash};
use crate::findings::Forwards;
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
            let off = info.flags.get("MLX_ENABLE_TF32").is_some_and(|flag| flag == "0");
            value["tf32"] = json!(!off);
            value["blas"] = info.flags.get(protocol::BLAS).cloned().unwrap_or(Value::Null);
        }
        value
    }

    /// One line for each verdict, and what measured it.
    pub fn summary_text(&self) -> String {
        let total = self.results.total();
        let counts: Vec<String> =
            total.counts().map(|(verdict, count)| format!("{count} {}", verdict.name())).collect();
        let engines: Vec<String> = [Side::Torch, Side::Mlx].iter().filter_map(|side| self.engine_text(*side)).collect();
        let mut layers = format!("layers: {}", counts.join(", "));
        let by_definition = self.results.measured(&self.opened.triage).by_definition;
        if by_definition > 0 {
            let _ = write!(layers, "; {by_definition} exact by definition, as both sides are the identity");
        }
        if let Some(forwards) = Forwards::of(&self.opened.model, &self.opened.triage).words() {
            let _ = write!(layers, "\nnot measured: {forwards}");
        }
        if self.results.any_measured() {
            format!("{layers}\nmeasured with {}", engines.join(", "))
        } else {
            format!("{layers}\nnothing was measured")
        }
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

/// The heading of [`layer_text`]'s columns.
pub fn heading_text() -> String {
    format!("{:<36} {:<46} {:>9} {:>9}  verdict", "layer", "class → MLX", "max abs", "tolerance")
}

/// A finished layer on one line, with its trials in half precision on lines below.
pub fn layer_text(opened: &Opened, id: ModuleId, layer: &Layer) -> String {
    let (module, triaged) = (&opened.model.modules[id], &opened.triage.modules[id]);
    let target = triaged.target().map(|mlx| format!(" → {mlx}")).unwrap_or_default();
    let path = if module.path.is_empty() { "(root)" } else { &module.path };
    let mut line = format!("{:<36} {:<46}", quoted(path), quoted(&format!("{}{target}", module.short_class())));
    let reason = layer.reason().map(|reason| format!(": {}", sentence(reason))).unwrap_or_default();
    let numbers = |trial: Option<&Trial>| match trial {
        Some(trial) => format!(" {:>9} {:>9}", error_or_dash(trial.max_abs()), error(trial.tolerance)),
        None => format!(" {:>9} {:>9}", "", ""),
    };
    let verdict = verdict_words(triaged, layer);
    let _ = write!(line, "{}  {verdict}{reason}", numbers(layer.worst_in(Dtype::Float32)));
    for dtype in [Dtype::Float16, Dtype::BFloat16] {
        if let Some(trial) = layer.worst_in(dtype) {
            let note = trial.complaint().map(|note| format!(": {note}")).unwrap_or_default();
            let _ = write!(
                line,
                "\n{:<36} {:<46}{}  {}{note}",
                "",
                dtype.name(),
                numbers(Some(trial)),
                trial.verdict.name()
            );
        }
    }
    for twin in &layer.twins {
        let words = format!("  plain rename: {}", twin.name);
        let reason = twin.reason.as_deref().map(|reason| format!(": {}", sentence(reason))).unwrap_or_default();
        let numbers = numbers(twin.trial.as_ref());
        let _ = write!(line, "\n{:<36} {words:<46}{numbers}  {}{reason}", "", twin.verdict.name());
    }
    line
}

/// The verdict of a layer; `not-run` if it has none yet.
fn verdict_word(layer: &Layer) -> &'static str {
    layer.verdict().unwrap_or(Verdict::NotRun).name()
}

/// The verdict, and whether it says anything of the class.
fn verdict_words(triaged: &ModuleTriage, layer: &Layer) -> String {
    let by_definition = triaged.is_by_definition() && layer.verdict() == Some(Verdict::Exact);
    format!("{}{}", verdict_word(layer), if by_definition { " by definition" } else { "" })
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
    if triaged.is_by_definition() && layer.verdict() == Some(Verdict::Exact) {
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
