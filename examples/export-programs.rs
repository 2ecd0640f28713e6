//! Write every sample's conversion as Python would run it: `cargo run --release --example export-programs > programs.jsonl`,
//! for `assets/samples/check_mlx.py`, which runs both sides in Python. One JSON object a line.

use std::error::Error;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::Program;
use t2m_tui::certify::{SampleModel, built_in};
use t2m_tui::plan::{Plan, random};
use t2m_tui::registry::Registry;

/// Seed of the weights and inputs.
const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let samples = built_in()?;
    let whole = SampleModel::new(&samples, Arc::new(Registry::load(&[])?));
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (index, sample) in samples.iter().enumerate() {
        let Some(plan) = whole.triage(index).and_then(|triaged| triaged.plan.as_ref()) else { continue };
        let shape = |name: &str| {
            let found = sample.tensor_shape(name);
            found.ok_or_else(|| format!("{}: there is no `{name}`", sample.build))
        };
        let mut line = written(plan, &shape)?;
        line["build"] = json!(sample.build);
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn written(plan: &Plan, shape: &dyn Fn(&str) -> Result<Vec<usize>, String>) -> Result<Value, Box<dyn Error>> {
    let mut torch: Vec<(String, TensorData)> = Vec::new();
    let mut mlx: Vec<(String, TensorData)> = Vec::new();
    for step in &plan.weights {
        for name in &step.from {
            if !torch.iter().any(|(known, _)| known == name) {
                torch.push((name.clone(), random::tensor(name, &shape(name)?, SEED)));
            }
        }
        let source = |name: &String| torch.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor);
        let sources: Vec<&TensorData> = step.from.iter().filter_map(source).collect();
        mlx.push((step.to.clone(), step.apply(&sources)?));
    }
    let inputs = plan.inputs.iter().enumerate().map(|(at, input)| {
        let data = input.generate(SEED, at, Dtype::Float32);
        let mut value = tensor(&data);
        value["axes"] = json!(input.to_mlx);
        value
    });
    // A layer alone is a program of one call.
    let program = plan.mlx.program.clone().unwrap_or_else(|| {
        let names: Vec<String> = (0..plan.inputs.len()).map(|at| format!("x{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut program = Program::new(&names);
        program.layers.insert(String::new(), plan.mlx.clone());
        let output = program.run("", names.iter().map(|name| (*name).into()));
        program.outputs = vec![output];
        program
    });
    let (built, lines) = program.python();
    let own = program.layers.iter().any(|(name, layer)| name.is_empty() && !layer.kind.starts_with("mx."));
    let named = |tensors: &[(String, TensorData)]| -> Value {
        tensors.iter().map(|(name, data)| (name.clone(), tensor(data))).collect::<serde_json::Map<_, _>>().into()
    };
    Ok(json!({
        "call": plan.torch.told.as_ref().and_then(|told| told.call.clone()),
        "torch": named(&torch),
        "mlx": named(&mlx),
        "own_layer": own,
        "inputs": inputs.collect::<Vec<_>>(),
        "names": program.inputs,
        "built": built,
        "lines": lines,
        "outputs": plan.outputs.iter().map(|output| json!(output.to_torch)).collect::<Vec<_>>(),
    }))
}

fn tensor(data: &TensorData) -> Value {
    json!({"dtype": data.dtype.name(), "shape": data.shape, "values": data.to_f64()})
}
