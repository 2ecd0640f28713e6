//! The MLX side: one function for each family of layers, on MLX's default device. It uses mlx-rs's own modules where
//! they compute what MLX's Python modules do, and its ops elsewhere; each function says which.
//!
//! A layer is known by its Python name (`nn.Conv2d`), its tensors have MLX's names and layouts, activations are
//! channels-last. The output's dtype is whatever MLX gave: some of mlx-rs's modules promote half precision to float32.
//!
//! MLX reports most mistakes. Those that would end in a crash or a silent wrong result are checked here first.

mod activation;
mod attention;
mod blas;
mod block;
mod blocks;
mod conv;
mod device;
mod graph;
mod linear;
mod norm;
mod ops;
mod pool;
mod program;
mod recurrent;
mod tensor;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;
use serde_json::{Map, Value};

use self::tensor::Weights;
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::args::Args;
use t2m_engine::graph::{Call, Outcome, Run};
use t2m_engine::program::MlxLayer;
use t2m_engine::serve::{Engine, serve};
use t2m_engine::{EngineInfo, ModuleSpec, protocol};

/// MLX reads it once, before its first op. With TF32 off, float32 stays float32 in matrix products on a GPU.
const TF32: &str = "MLX_ENABLE_TF32";

/// Runs a layer on its inputs. Weights and inputs are in the compute dtype and evaluated; the output need not be.
type Forward = Box<dyn Fn(&Weights, &[Array]) -> Result<Vec<Array>, Problem>>;

/// Why a layer cannot be built or run: the engine's words, or MLX's.
#[derive(Debug)]
struct Problem(String);

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem(text)
    }
}

impl From<Exception> for Problem {
    /// mlx-c appends the place in its C++ code; that part is left out.
    fn from(exception: Exception) -> Problem {
        let text = exception.what().trim();
        let said = match text.rsplit_once(" at ") {
            Some((said, place)) if place.contains(".cpp:") => said,
            _ => text,
        };
        Problem(said.trim_end().to_owned())
    }
}

/// MLX behind the engine protocol.
#[derive(Default)]
pub struct Mlx {
    layer: Option<Layer>,
    held: graph::Held,
}

struct Layer {
    is_embedding: bool,
    forward: Forward,
    weights: Weights,
}

/// The main function of `t2m-mlx`. Restarts itself where its arguments, or TF32, are not in its environment yet: MLX reads that
/// before anything can be said to it.
fn main() -> ExitCode {
    let (asked, arguments) = device::arguments(std::env::args_os().skip(1).collect());
    let is_default = asked.tf32 || std::env::var_os(device::TF32_VARIABLE).is_some_and(|value| value == "1");
    let tf32 = if is_default { "1" } else { "0" };
    if asked != device::Asked::default() || std::env::var_os(TF32).is_none_or(|value| value != tf32) {
        let error = match std::env::current_exe() {
            Ok(program) => Command::new(program).args(arguments).env(TF32, tf32).envs(asked.variables()).exec(),
            Err(error) => error,
        };
        eprintln!("t2m-mlx needs {TF32}={tf32} in its environment and cannot start itself with it: {error}");
        return ExitCode::from(2);
    }
    if let Err(reason) = device::select(&std::env::var_os(device::VARIABLE).unwrap_or_default()) {
        eprintln!("{reason}");
        return ExitCode::from(2);
    }
    #[cfg(not(target_os = "macos"))]
    if let Err(reason) = blas::select(&std::env::var_os(blas::VARIABLE).unwrap_or_default().to_string_lossy()) {
        eprintln!("{}: {reason}", blas::VARIABLE);
        return ExitCode::from(2);
    }
    serve("t2m-mlx", Mlx::default)
}

impl Engine for Mlx {
    fn info(&self) -> EngineInfo {
        let mut flags = Map::new();
        flags.insert(TF32.to_owned(), std::env::var(TF32).map_or(Value::Null, Value::String));
        if let Some(blas) = blas::name() {
            flags.insert(protocol::BLAS.to_owned(), Value::String(blas));
        }
        EngineInfo {
            protocol: protocol::VERSION,
            engine: "t2m-mlx".to_owned(),
            version: tensor::version(),
            device: device::name().to_owned(),
            flags,
        }
    }

    fn load(&mut self, module: &ModuleSpec, tensors: Vec<(String, TensorData)>) -> Result<(), String> {
        self.layer = None;
        let weights = Weights::new(&tensors).map_err(|problem| problem.0)?;
        let forward = match &module.program {
            Some(program) => program::program(program, &weights).map_err(|problem| problem.0)?,
            None => {
                let args = Args::new(module);
                let forward = build(&module.kind, &args, &weights).map_err(|problem| problem.0)?;
                args.all_read()?;
                forward
            }
        };
        self.layer =
            Some(Layer { is_embedding: MlxLayer::named(&module.kind) == Some(MlxLayer::Embedding), forward, weights });
        Ok(())
    }

    fn run(&mut self, inputs: Vec<TensorData>, compute: Dtype) -> Result<(Vec<TensorData>, f64), String> {
        let layer = self.layer.as_ref().ok_or("no layer is loaded")?;
        let run = || {
            let dtype = tensor::compute_dtype(compute)?;
            let weights = layer.weights.cast(dtype)?;
            let inputs = inputs.iter().map(|input| tensor::cast(&tensor::from_data(input)?, dtype));
            let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
            if layer.is_embedding {
                linear::check_ids(&weights, &inputs)?;
            }
            let begun = Instant::now();
            let outputs = (layer.forward)(&weights, &inputs)?;
            eval(&outputs)?;
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
            Call::Program { program, dtypes } => self.held.program(program, dtypes, run),
            Call::Op(op) => Err(Problem(format!("MLX's side runs programs in a graph, not torch's {}", op.name))),
        };
        ran.map_err(|problem| problem.0)
    }

    fn release(&mut self, value: u64) {
        self.held.release(value);
    }
}

/// Check the arguments and the tensors, and make the function that runs the layer.
fn build(kind: &str, args: &Args<'_>, weights: &Weights) -> Result<Forward, Problem> {
    let layer = MlxLayer::named(kind).ok_or_else(|| Problem(format!("MLX's side does not know the layer {kind}")))?;
    match layer {
        MlxLayer::Linear => linear::linear(args, weights),
        MlxLayer::Embedding => linear::embedding(args, weights),
        MlxLayer::Conv1d => conv::conv(args, weights, 1),
        MlxLayer::Conv2d => conv::conv(args, weights, 2),
        MlxLayer::Conv3d => conv::conv(args, weights, 3),
        MlxLayer::ConvTranspose1d => conv::transposed(args, weights, 1),
        MlxLayer::ConvTranspose2d => conv::transposed(args, weights, 2),
        MlxLayer::ConvTranspose3d => conv::transposed(args, weights, 3),
        MlxLayer::Bilinear => linear::bilinear(args, weights),
        MlxLayer::Lstm => recurrent::lstm(args, weights),
        MlxLayer::Gru => recurrent::gru(args, weights),
        MlxLayer::Rnn => recurrent::rnn(args, weights),
        MlxLayer::MaxPool1d => pool::max(args, 1),
        MlxLayer::MaxPool2d => pool::max(args, 2),
        MlxLayer::MaxPool3d => pool::max(args, 3),
        MlxLayer::AvgPool1d => pool::average(args, 1),
        MlxLayer::AvgPool2d => pool::average(args, 2),
        MlxLayer::AvgPool3d => pool::average(args, 3),
        MlxLayer::Upsample => pool::upsample(args),
        MlxLayer::PReLU => activation::prelu(args, weights),
        MlxLayer::Elu => activation::elu(args),
        MlxLayer::Celu => activation::celu(args),
        MlxLayer::Glu => activation::glu(args),
        MlxLayer::Softshrink => activation::softshrink(args),
        MlxLayer::LayerNorm => norm::layer(args, weights),
        MlxLayer::RMSNorm => norm::rms(args, weights),
        MlxLayer::FastRmsNorm => norm::fast_rms(args),
        MlxLayer::GroupNorm => norm::group(args, weights),
        MlxLayer::BatchNorm => norm::batch(args, weights),
        MlxLayer::InstanceNorm => norm::instance(args, weights),
        MlxLayer::MultiHeadAttention => attention::multi_head(args, weights),
        MlxLayer::Gelu => activation::gelu(args),
        MlxLayer::LeakyReLU => activation::leaky_relu(args),
        MlxLayer::Softmax => Ok(activation::softmax_layer()),
        MlxLayer::SoftmaxOver => activation::softmax(args),
        MlxLayer::Dropout | MlxLayer::Dropout2d | MlxLayer::Dropout3d => activation::dropout(args),
        MlxLayer::Identity => Ok(activation::identity()),
        MlxLayer::HardTanh => Ok(activation::hard_tanh()),
        MlxLayer::HardShrink => Ok(activation::hard_shrink()),
        MlxLayer::Softmin => Ok(activation::softmin()),
        MlxLayer::LogSoftmax => Ok(activation::unary(|| mlx_rs::nn::LogSoftmax { axis: -1 })),
        MlxLayer::ReLU6 => Ok(activation::unary(|| mlx_rs::nn::Relu6)),
        MlxLayer::Mish => Ok(activation::unary(|| mlx_rs::nn::Mish)),
        MlxLayer::Selu => Ok(activation::unary(|| mlx_rs::nn::Selu)),
        MlxLayer::Softplus => Ok(activation::unary(|| mlx_rs::nn::Softplus)),
        MlxLayer::Softsign => Ok(activation::unary(|| mlx_rs::nn::Softsign)),
        MlxLayer::LogSigmoid => Ok(activation::unary(|| mlx_rs::nn::LogSigmoid)),
        MlxLayer::Hardswish => Ok(activation::unary(|| mlx_rs::nn::HardSwish)),
        MlxLayer::ReLU => Ok(activation::unary(|| mlx_rs::nn::Relu)),
        MlxLayer::SiLU => Ok(activation::unary(|| mlx_rs::nn::Silu)),
        MlxLayer::Tanh => Ok(activation::unary(|| mlx_rs::nn::Tanh)),
        MlxLayer::Sigmoid => Ok(activation::unary(|| mlx_rs::nn::Sigmoid)),
        MlxLayer::BlockMlp => block::mlp(args, weights),
        MlxLayer::BlockConvBlock => block::conv_block(args, weights),
        MlxLayer::BlockConvStack => block::conv_stack(args, weights),
        MlxLayer::BlockTransformerBlock => block::transformer_block(args, weights),
        MlxLayer::BlockAdaptiveAvgPool2d => block::adaptive_average(args, weights),
    }
}

/// A layer with one output.
fn single(function: impl Fn(&Weights, &[Array]) -> Result<Array, Problem> + 'static) -> Forward {
    Box::new(move |weights, given| Ok(vec![function(weights, given)?]))
}

/// The inputs, as many as the layer takes.
fn inputs<const N: usize>(inputs: &[Array]) -> Result<[&Array; N], Problem> {
    let given = inputs.len();
    let inputs: Result<&[Array; N], _> = inputs.try_into();
    Ok(inputs.map_err(|_| Problem(format!("the layer takes {N} inputs, not {given}")))?.each_ref())
}

/// The length of the last axis, the channels. The input must have at least this many axes.
fn channels(input: &Array, least_axes: usize) -> Result<i32, Problem> {
    let shape = input.shape();
    match shape.last() {
        Some(&last) if shape.len() >= least_axes => Ok(last),
        _ => Err(Problem(format!("the input's shape is {shape:?}; the layer needs {least_axes} axes or more"))),
    }
}

/// A number in MLX's type.
fn int32(number: i64, name: &str) -> Result<i32, Problem> {
    i32::try_from(number).map_err(|_| Problem(format!("the argument `{name}` is {number}, more than MLX can take")))
}

/// A float in MLX's type.
fn float32(number: f64) -> f32 {
    number as f32
}
