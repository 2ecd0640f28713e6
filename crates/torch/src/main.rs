//! The libtorch side: one function for each family of layers, in eval mode, without autograd, on the CPU.
//!
//! A layer is known by the full path of its class, its hyper-parameters are the instance's attributes, and its tensors have
//! the names of its state dict. What the Python class does around the call (defaults, padding modes, the order of
//! operations in attention) is done here the same way.

mod activation;
mod attention;
mod call;
mod container;
mod conv;
mod dispatch;
mod distance;
mod linear;
mod loss;
mod margin;
mod norm;
mod ops;
mod pad;
mod pool;
mod program;
mod recurrent;
mod reduction;
mod resize;
mod response;
mod scalars;
mod shape;
mod sparse;
mod tensor;
mod transformer;
mod unpool;
mod zoo;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::Map;
use tch::Tensor;

use self::tensor::Weights;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::args::Args;
use t2m_engine::graph::{Call, Outcome, Run};
use t2m_engine::serve::{Engine, serve};
use t2m_engine::{EngineInfo, ModuleSpec, own, protocol};

/// The version that the headers named at build time.
const VERSION: &str = match option_env!("T2M_TORCH_VERSION") {
    Some(version) => version,
    None => "unknown",
};

/// Runs a layer on its inputs. Weights and inputs are in the compute dtype.
type Forward = Box<dyn Fn(&Weights, &[Tensor]) -> Result<Vec<Tensor>, Problem>>;

/// Why a layer cannot be built or run: the engine's words, or libtorch's first line.
#[derive(Debug)]
struct Problem(String);

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem(text)
    }
}

impl From<tch::TchError> for Problem {
    /// libtorch appends the place in its C++ code; that part is left out.
    fn from(error: tch::TchError) -> Problem {
        let text = match error {
            tch::TchError::Torch(text) => text,
            other => other.to_string(),
        };
        let said = text.lines().take_while(|line| {
            let line = line.trim_start();
            !line.starts_with("Exception raised from") && !line.starts_with("frame #")
        });
        Problem(said.map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned())
    }
}

/// A layer that is loaded.
struct Layer {
    forward: Forward,
    weights: Weights,
    norm: Option<own::WeightNorm>,
    /// The weights as they are computed with, by type: made once, however often the layer runs.
    ready: HashMap<Dtype, Weights>,
}

impl Layer {
    /// Make the weights ready to compute with, if they are not.
    fn prepare(&mut self, compute: Dtype) -> Result<(), Problem> {
        if self.ready.contains_key(&compute) {
            return Ok(());
        }
        let mut weights = self.weights.cast(tensor::compute_kind(compute)?)?;
        if let Some(norm) = &self.norm {
            weights.normalise(norm)?;
        }
        self.ready.insert(compute, weights);
        Ok(())
    }
}

/// libtorch behind the engine protocol.
#[derive(Default)]
pub struct Torch {
    layer: Option<Layer>,
    held: dispatch::Held,
}

/// The main function of `t2m-torch`.
fn main() -> ExitCode {
    serve("t2m-torch", Torch::default)
}

impl Engine for Torch {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            protocol: protocol::VERSION,
            engine: "t2m-torch".to_owned(),
            version: VERSION.to_owned(),
            device: "cpu".to_owned(),
            flags: Map::new(),
        }
    }

    fn load(&mut self, module: &ModuleSpec, tensors: Vec<(String, TensorData)>) -> Result<(), String> {
        self.layer = None;
        let args = Args::new(module);
        let weights = Weights::new(&tensors, args.told().map(|told| &told.tensors)).map_err(|problem| problem.0)?;
        let forward = match &module.program {
            Some(program) => program::program(program),
            None => build(&module.kind, &args, &weights).map_err(|problem| problem.0)?,
        };
        let norm = args.told().and_then(|told| told.weight_norm.clone());
        self.layer = Some(Layer { forward, weights, norm, ready: HashMap::new() });
        Ok(())
    }

    fn run(&mut self, inputs: Vec<TensorData>, compute: Dtype) -> Result<(Vec<TensorData>, f64), String> {
        let layer = self.layer.as_mut().ok_or("no layer is loaded")?;
        layer.prepare(compute).map_err(|problem| problem.0)?;
        let Layer { forward, ready, .. } = layer;
        let weights = ready.get(&compute).ok_or("no layer is loaded")?;
        let run = || {
            let kind = tensor::compute_kind(compute)?;
            let inputs = inputs.iter().map(|input| tensor::cast(&tensor::from_data(input)?, kind));
            let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
            let begun = Instant::now();
            let outputs = tch::no_grad(|| scalars::caught(|| forward(weights, &inputs)))?;
            let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
            Ok((outputs.iter().map(tensor::to_data).collect::<Result<_, _>>()?, milliseconds))
        };
        run().map_err(|problem: Problem| problem.0)
    }

    fn hold(&mut self, value: u64, tensor: &TensorData) -> Result<(), String> {
        self.held.hold(value, tensor).map_err(|problem| problem.0)
    }

    fn step(&mut self, call: &Call, run: &Run) -> Result<(Vec<Outcome>, f64), String> {
        let ran = match call {
            Call::Nothing => self.held.nothing(run).map(|outcomes| (outcomes, 0.0)),
            Call::Op(op) => self.held.op(op, run),
            Call::Program { .. } => Err(Problem("libtorch's side runs ops, no programs, in a graph".to_owned())),
        };
        ran.map_err(|problem| problem.0)
    }

    fn release(&mut self, value: u64) {
        self.held.release(value);
    }
}

/// What a family makes of a class: its layer, or `None` if the class belongs to another family.
type Built = Result<Option<Forward>, Problem>;

/// Check the arguments and the tensors, and make the function that runs the layer.
fn build(kind: &str, args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let unknown = || Problem(format!("libtorch's side does not know the class {kind}"));
    if kind.starts_with(own::PREFIX) {
        return zoo::build(kind, args, weights)?.ok_or_else(unknown);
    }
    let path = kind.strip_prefix("torch.nn.modules.").ok_or_else(unknown)?;
    let (family, class) = path.split_once('.').ok_or_else(unknown)?;
    let built = match family {
        "activation" if class == "MultiheadAttention" => attention::multi_head(args, weights).map(Some),
        "activation" => activation::build(class, args, weights),
        "batchnorm" | "instancenorm" => norm::by_channel(class, args, weights),
        "channelshuffle" | "flatten" | "fold" | "pixelshuffle" => shape::build(class, args),
        "container" => container::build(class, args, weights),
        "conv" => conv::build(class, args, weights),
        "distance" => distance::build(class, args),
        "dropout" => Ok(dropout(class)),
        "linear" => linear::build(class, weights),
        "loss" => loss::build(class, args, weights),
        "normalization" => norm::build(class, args),
        "padding" => pad::build(class, args),
        "pooling" => pool::build(class, args),
        "rnn" => recurrent::build(class, args, weights),
        "sparse" => sparse::build(class, args, weights),
        "transformer" => transformer::build(class, args, weights),
        "upsampling" => resize::build(class, args),
        _ => Ok(None),
    };
    let forward = built?.ok_or_else(unknown)?;
    if !call::is_understood(path) && args.told().is_some_and(|told| told.call.is_some()) {
        return Err(Problem(format!("libtorch's side calls {class} in one way only; it takes no `call`")));
    }
    Ok(forward)
}

/// Dropout passes its input on in eval mode.
fn dropout(class: &str) -> Option<Forward> {
    let known = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"];
    known.contains(&class).then(identity)
}

/// The input as it is.
fn identity() -> Forward {
    single(|_, given| {
        let [input] = inputs(given)?;
        Ok(input.shallow_clone())
    })
}

/// A layer with one output.
fn single(function: impl Fn(&Weights, &[Tensor]) -> Result<Tensor, Problem> + 'static) -> Forward {
    Box::new(move |weights, given| Ok(vec![function(weights, given)?]))
}

/// The inputs, as many as the layer takes.
fn inputs<const N: usize>(inputs: &[Tensor]) -> Result<[&Tensor; N], Problem> {
    let given = inputs.len();
    let inputs: Result<&[Tensor; N], _> = inputs.try_into();
    Ok(inputs.map_err(|_| Problem(format!("the layer takes {N} inputs, not {given}")))?.each_ref())
}

/// The number of axes, if the layer takes this many.
fn axes(input: &Tensor, allowed: &[usize]) -> Result<usize, Problem> {
    let axes = input.dim();
    if allowed.contains(&axes) {
        return Ok(axes);
    }
    let allowed: Vec<String> = allowed.iter().map(usize::to_string).collect();
    Err(Problem(format!("the layer takes an input of {} axes, not {axes}", allowed.join(" or "))))
}
