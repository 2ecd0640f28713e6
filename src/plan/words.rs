//! A plan in words, as rows of a label and what belongs to it.

use super::input::Values;
use super::{Input, Move, Plan};
use crate::compare::tolerance::Bound;
use crate::figures;
use t2m_engine::ModuleSpec;
use t2m_engine::program::python_arguments;

impl Plan {
    /// What would be run: both layers as Python, weights, steps, inputs, outputs, bound. A row without a label goes on
    /// with the row above it.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("torch", call(&self.torch))];
        rows.extend(mlx_rows(&self.mlx));
        let moves: Vec<String> = self.weights.iter().map(Move::words).collect();
        rows.push(("weights", if moves.is_empty() { "none".to_owned() } else { moves.join("; ") }));
        if let Some(steps) = self.way.words("; ") {
            rows.push(("steps", steps));
        }
        let inputs: Vec<String> = self.inputs.iter().map(input_words).collect();
        rows.push(("input", inputs.join("; ")));
        for output in &self.outputs {
            if let Some(axes) = &output.to_torch {
                rows.push((output.name, format!("axes {} back to torch's layout", join(axes))));
            }
        }
        rows.push(("bound", bound_words(self.bound)));
        rows
    }
}

/// A layer as a call: `nn.Conv2d(in_channels=3, …)`.
fn call(spec: &ModuleSpec) -> String {
    let name = spec.kind.rsplit_once(".modules.").map_or(spec.kind.as_str(), |_| {
        // torch.nn.modules.conv.Conv2d is written as people know it.
        spec.kind.rsplit('.').next().unwrap_or("")
    });
    // What a layer holds below it is in the tree.
    let own = spec.args.iter().filter(|(_, value)| !value.is_object());
    format!("{name}({})", python_arguments(&own.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

/// What MLX computes, as Python: one call, or the lines of a program.
fn mlx_rows(spec: &ModuleSpec) -> Vec<(&'static str, String)> {
    let Some(program) = &spec.program else { return vec![("mlx", call(spec))] };
    let (built, steps) = program.python();
    let inputs = format!("def __call__(self, {}):", program.inputs.join(", "));
    let lines = built.into_iter().chain([inputs]).chain(steps.into_iter().map(|step| format!("    {step}")));
    lines.enumerate().map(|(index, line)| (if index == 0 { "mlx" } else { "" }, line)).collect()
}

fn input_words(input: &Input) -> String {
    let values = match input.values {
        Values::Normal(1.0) => "normal".to_owned(),
        Values::Normal(scale) => format!("normal × {scale}"),
        Values::AndSmall => "normal, half of them × 0.02".to_owned(),
        Values::Ids(below) => format!("ids below {below}"),
        Values::Places(below) => format!("places below {below}, each once"),
        Values::LabelLists(below) => format!("lists of labels below {below}"),
        Values::Offsets { of, .. } => format!("where bags of {of} ids begin"),
        Values::Positive => "above 0".to_owned(),
        Values::Probabilities => "probabilities".to_owned(),
        Values::Signs => "-1 or 1".to_owned(),
        Values::Drops => "a mask that drops a third".to_owned(),
        Values::Additive => "a mask to add".to_owned(),
        Values::Future => "a causal mask".to_owned(),
    };
    let axes = input.to_mlx.as_ref().map_or(String::new(), |axes| format!(", axes {} for MLX", join(axes)));
    format!("{} {values}{axes}", figures::shape(&input.shape))
}

fn bound_words(bound: Bound) -> String {
    match bound {
        Bound::Copy => "elements are moved, not computed: none may differ".to_owned(),
        Bound::Pointwise => "one element in, one out".to_owned(),
        Bound::Approximate => "one element in, one out, by an approximation".to_owned(),
        Bound::Contraction(terms) => format!("rounding of sums over {terms} products"),
        Bound::Winograd(channels) => format!("rounding of Winograd's algorithm over {channels} channels"),
        Bound::Norm(terms) => format!("rounding of a norm over {terms} elements"),
        Bound::Stack(terms) => format!("rounding of layers in a row, as of sums over {terms} products"),
    }
}

fn join(axes: &[usize]) -> String {
    axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
