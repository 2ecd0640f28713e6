//! `verify`, collected from the runner's events: text, JSON, one JSON line a layer, Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::compare::WeightSource;
use crate::compare::{self, Apart, Trial, Verdict};
use crate::model::ModuleId;
use crate::open::Opened;
use crate::verify::{Event, Twin};
use t2m_checkpoint::Dtype;
use t2m_checkpoint::escape::{quoted, sentence};
use t2m_engine::{EngineInfo, EngineState, Side, protocol};

/// What a run has shown so far.
#[derive(Debug, Default)]
pub struct Run {
    /// Finished layers in order.
    pub layers: Vec<Layer>,
    /// What each engine said of itself when it last greeted.
    pub engines: BTreeMap<&'static str, EngineInfo>,
    trials: Vec<Trial>,
    twins: Vec<Twin>,
}

/// A finished layer.
#[derive(Debug)]
pub struct Layer {
    /// Which.
    pub module: ModuleId,
    /// The verdict of its float32 trials.
    pub verdict: Verdict,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// Its trials in order.
    pub trials: Vec<Trial>,
    /// Its naive twins, where they were asked for.
    pub twins: Vec<Twin>,
}

impl Run {
    /// Take an event in; returns the layer that it finished.
    pub fn take(&mut self, event: Event) -> Option<&Layer> {
        match event {
            Event::Engine(side, EngineState::Ready(info)) => {
                self.engines.insert(side.program(), info);
            }
            Event::Started { .. } => self.trials.clear(),
            Event::Trial { trial, .. } => self.trials.push(*trial),
            Event::Twin { twin, .. } => self.twins.push(*twin),
            Event::Finished { module, verdict, reason } => {
                let (trials, twins) = (std::mem::take(&mut self.trials), std::mem::take(&mut self.twins));
                self.layers.push(Layer { module, verdict, reason, trials, twins });
                return self.layers.last();
            }
            Event::Engine(..) | Event::Done { .. } => {}
        }
        None
    }

    /// Number of layers of each verdict, best first; those that do not occur are left out.
    pub fn counts(&self) -> Vec<(Verdict, usize)> {
        let count = |verdict: &Verdict| self.layers.iter().filter(|layer| layer.verdict == *verdict).count();
        Verdict::ALL.iter().map(|verdict| (*verdict, count(verdict))).filter(|(_, count)| *count > 0).collect()
    }

    /// Whether a layer is drift, broken or failed.
    pub fn is_bad(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.verdict, Verdict::Drift | Verdict::Broken | Verdict::Failed))
    }

    /// The whole run as one JSON object, schema 1.
    pub fn json(&self, opened: &Opened) -> Value {
        let layers: Vec<Value> = self.layers.iter().map(|layer| layer_json(opened, layer)).collect();
        let summary: Map<String, Value> =
            self.counts().into_iter().map(|(verdict, count)| (verdict.name().to_owned(), json!(count))).collect();
        json!({
            "schema": 1,
            "engines": {"torch": self.engine_json(Side::Torch), "mlx": self.engine_json(Side::Mlx)},
            "layers": layers,
            "summary": summary,
        })
    }

    fn engine_json(&self, side: Side) -> Value {
        let Some(info) = self.engines.get(side.program()) else { return Value::Null };
        let mut value = json!({"version": info.version, "device": info.device, "flags": info.flags});
        if side == Side::Mlx {
            let off = info.flags.get("MLX_ENABLE_TF32").is_some_and(|flag| flag == "0");
            value["tf32"] = json!(!off);
            value["blas"] = info.flags.get(protocol::BLAS).cloned().unwrap_or(Value::Null);
        }
        value
    }

    /// One line a verdict, and what measured it.
    pub fn summary_text(&self) -> String {
        let counts: Vec<String> =
            self.counts().iter().map(|(verdict, count)| format!("{count} {}", verdict.name())).collect();
        let engines: Vec<String> = [Side::Torch, Side::Mlx].iter().filter_map(|side| self.engine_text(*side)).collect();
        let layers = format!("layers: {}", counts.join(", "));
        let measured = self.layers.iter().any(|layer| !layer.trials.is_empty());
        if measured {
            format!("{layers}\nmeasured with {}", engines.join(", "))
        } else {
            format!("{layers}\nnothing was measured")
        }
    }

    fn engine_text(&self, side: Side) -> Option<String> {
        let info = self.engines.get(side.program())?;
        Some(format!("{} {} ({})", side.library(), info.version, info.settings()))
    }

    /// The run as a Markdown table.
    pub fn markdown(&self, opened: &Opened) -> String {
        let mut out = String::from(
            "| layer | class | MLX | f32 max abs | tolerance | torch to f64 | mlx to f64 | verdict |\n|---|---|---|---|---|---|---|---|\n",
        );
        for layer in &self.layers {
            let (module, triaged) = (&opened.model.modules[layer.module], &opened.triage.modules[layer.module]);
            let [error, tolerance, torch, mlx] =
                worst(layer, Dtype::Float32).map_or([const { String::new() }; 4], |trial| {
                    let mlx = trial.apart.as_ref().map(|apart| apart.mlx_vs_f64);
                    [trial.max_abs(), Some(trial.tolerance), Some(trial.torch_vs_f64), mlx].map(number_or_none)
                });
            let reason = layer
                .reason
                .as_deref()
                .map(|reason| format!(": {}", sentence(reason).replace('|', "\\|")))
                .unwrap_or_default();
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {error} | {tolerance} | {torch} | {mlx} | {}{reason} |",
                super::code_cell(&module.path),
                quoted(module.short_class()).replace('|', "\\|"),
                triaged.target().unwrap_or(""),
                layer.verdict.name(),
            );
        }
        format!("{out}\n{}\n", self.summary_text())
    }
}

/// The heading of [`layer_text`]'s columns.
pub fn heading_text() -> String {
    format!("{:<36} {:<46} {:>9} {:>9}  verdict", "layer", "class → MLX", "max abs", "tolerance")
}

/// A finished layer on one line, its half-precision trials on lines below.
pub fn layer_text(opened: &Opened, layer: &Layer) -> String {
    let (module, triaged) = (&opened.model.modules[layer.module], &opened.triage.modules[layer.module]);
    let target = triaged.target().map(|mlx| format!(" → {mlx}")).unwrap_or_default();
    let path = if module.path.is_empty() { "(root)" } else { &module.path };
    let mut line = format!("{:<36} {:<46}", quoted(path), quoted(&format!("{}{target}", module.short_class())));
    let reason = layer.reason.as_deref().map(|reason| format!(": {}", sentence(reason))).unwrap_or_default();
    let numbers = |trial: Option<&Trial>| match trial {
        Some(trial) => format!(" {:>9} {:>9}", number_or_none(trial.max_abs()), number(trial.tolerance)),
        None => format!(" {:>9} {:>9}", "", ""),
    };
    let _ = write!(line, "{}  {}{reason}", numbers(worst(layer, Dtype::Float32)), layer.verdict.name());
    for dtype in [Dtype::Float16, Dtype::BFloat16] {
        if let Some(trial) = worst(layer, dtype) {
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

/// The trial with the largest error of that dtype.
pub fn worst(layer: &Layer, dtype: Dtype) -> Option<&Trial> {
    compare::worst(layer.trials.iter().filter(|trial| trial.dtype == dtype))
}

/// `6.0e-07`; `0` for an exact zero.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{value:.1e}");
    match text.split_once("e-") {
        Some((mantissa, exponent)) => format!("{mantissa}e-{exponent:0>2}"),
        None => text.split_once('e').map_or(text.clone(), |(mantissa, exponent)| format!("{mantissa}e+{exponent:0>2}")),
    }
}

/// The same, and a dash where outputs of different shapes cannot be subtracted.
fn number_or_none(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// A finished layer as JSON.
pub fn layer_json(opened: &Opened, layer: &Layer) -> Value {
    let (module, triaged) = (&opened.model.modules[layer.module], &opened.triage.modules[layer.module]);
    let mut value = json!({
        "path": module.path.as_str(), "class": module.class.as_str(), "status": triaged.status, "verdict": layer.verdict.name(),
    });
    if let Some(reason) = &layer.reason {
        value["reason"] = json!(reason);
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

/// Milliseconds to three places: the clock tells no more.
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
        assert_eq!((trial.max_abs(), trial.excess(), number_or_none(None)), (None, None, "–".to_owned()));
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
        assert_eq!(number_or_none(trial.max_abs()), "inf", "it was measured");
    }

    #[test]
    fn numbers_have_two_digits_of_exponent() {
        assert_eq!(number(6.04e-7), "6.0e-07");
        assert_eq!(number(1.5e-12), "1.5e-12");
        assert_eq!(number(0.44), "4.4e-01");
        assert_eq!(number(12.0), "1.2e+01");
        assert_eq!(number(0.0), "0");
        assert_eq!(number(f64::INFINITY), "inf");
    }
}
