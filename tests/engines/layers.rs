//! Every layer on both engines, found by T2M_TORCH and T2M_MLX: random weights, shapes that are not square, and the traps
//! in which a wrong conversion looks like a right one. The full tolerance machinery is elsewhere; here a difference has to
//! stay within a few roundings of a sum over `k` products.

use std::time::Duration;

use ndarray::{ArrayD, Axis, IxDyn};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};
use t2m_checkpoint::{Dtype, TensorData};
use t2m_engine::client::{CancelToken, Client, Error, Output};
use t2m_engine::{ModuleSpec, Side};

type Tensors = Vec<(&'static str, ArrayD<f32>)>;

/// Both engines and a source of random numbers.
struct Bench {
    torch: Client,
    mlx: Client,
    random: ChaCha8Rng,
}

/// A layer on one side.
struct Layer {
    kind: &'static str,
    args: Value,
    tensors: Tensors,
}

fn layer(kind: &'static str, args: Value, tensors: Tensors) -> Layer {
    Layer { kind, args, tensors }
}

impl Bench {
    fn new() -> Bench {
        let cancel = CancelToken::default();
        let client = |side| Client::new(side, Duration::from_secs(120), cancel.clone(), Box::new(|_, _| {}));
        Bench { torch: client(Side::Torch), mlx: client(Side::Mlx), random: ChaCha8Rng::seed_from_u64(7) }
    }

    fn normal(&mut self, shape: &[usize]) -> ArrayD<f32> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || StandardNormal.sample(&mut self.random))
    }

    /// Between a half and two.
    fn positive(&mut self, shape: &[usize]) -> ArrayD<f32> {
        self.normal(shape).mapv(|x| x.tanh().exp2())
    }

    fn torch(&mut self, layer: &Layer, inputs: &[TensorData], compute: Dtype) -> Result<Output, Error> {
        run(&mut self.torch, layer, inputs, compute)
    }

    fn mlx(&mut self, layer: &Layer, inputs: &[TensorData], compute: Dtype) -> Result<Output, Error> {
        run(&mut self.mlx, layer, inputs, compute)
    }

    /// The largest difference in units of a rounding of the largest output.
    fn difference(&mut self, torch: &Layer, mlx: &Layer, inputs: &[ArrayD<f32>], last: bool) -> f32 {
        let mine: Vec<TensorData> = inputs.iter().map(data).collect();
        let theirs: Vec<TensorData> = inputs.iter().map(|x| if last { data(&to_last(x)) } else { data(x) }).collect();
        let expected = floats(&self.torch(torch, &mine, Dtype::Float32).expect(torch.kind).tensors[0]);
        let got = floats(&self.mlx(mlx, &theirs, Dtype::Float32).expect(mlx.kind).tensors[0]);
        let got = if last { to_first(&got) } else { got };
        assert_eq!(got.shape(), expected.shape(), "{} {}", mlx.kind, mlx.args);
        let scale = expected.iter().fold(0f32, |most, y| most.max(y.abs()));
        let worst = got.iter().zip(&expected).fold(0f32, |most, (y, x)| most.max((y - x).abs()));
        assert!(scale > 0.0 && worst.is_finite());
        worst / (scale * f32::EPSILON)
    }

    /// Both sides agree on channels-last inputs, up to the rounding of sums over `k` terms.
    fn agree_last(&mut self, torch: Layer, mlx: Layer, input: ArrayD<f32>, k: usize) {
        let roundings = self.difference(&torch, &mlx, &[input], true);
        assert_within(roundings, k, &torch, &mlx);
    }

    /// The same for inputs that both sides lay out alike.
    fn agree(&mut self, torch: Layer, mlx: Layer, inputs: &[ArrayD<f32>], k: usize) {
        let roundings = self.difference(&torch, &mlx, inputs, false);
        assert_within(roundings, k, &torch, &mlx);
    }
}

fn assert_within(roundings: f32, k: usize, torch: &Layer, mlx: &Layer) {
    let bound = 4.0 + 0.75 * (k as f32).sqrt();
    println!("{:60} {roundings:8.2} of {bound:6.2}   {}", torch.kind, mlx.args);
    assert!(roundings <= bound, "{} {}: {roundings} roundings, bound {bound}", torch.kind, torch.args);
}

fn run(client: &mut Client, layer: &Layer, inputs: &[TensorData], compute: Dtype) -> Result<Output, Error> {
    let Value::Object(args) = layer.args.clone() else { panic!("arguments are an object") };
    let module = ModuleSpec { kind: layer.kind.to_owned(), args, ..ModuleSpec::default() };
    let tensors: Vec<_> = layer.tensors.iter().map(|(name, array)| ((*name).to_owned(), data(array))).collect();
    client.start_load(0, &module, &tensors)?;
    client.finish_load()?;
    client.start_run(0, inputs, compute)?;
    client.finish_run()
}

fn data(array: &ArrayD<f32>) -> TensorData {
    let bytes = array.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorData { dtype: Dtype::Float32, shape: array.shape().to_vec(), bytes }
}

fn floats(tensor: &TensorData) -> ArrayD<f32> {
    assert_eq!(tensor.dtype, Dtype::Float32);
    let values = tensor.bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
    ArrayD::from_shape_vec(IxDyn(&tensor.shape), values).unwrap()
}

/// Move an axis to the end.
fn move_last(array: &ArrayD<f32>, from: usize) -> ArrayD<f32> {
    let mut axes: Vec<usize> = (0..array.ndim()).filter(|&axis| axis != from).collect();
    axes.push(from);
    array.clone().permuted_axes(axes)
}

/// `[N, C, *]` → `[N, *, C]`; also a convolution's weight.
fn to_last(array: &ArrayD<f32>) -> ArrayD<f32> {
    move_last(array, 1)
}

/// `[N, *, C]` → `[N, C, *]`
fn to_first(array: &ArrayD<f32>) -> ArrayD<f32> {
    let last = array.ndim() - 1;
    let axes: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
    array.clone().permuted_axes(axes)
}

/// A transposed convolution's weight `[in, out / groups, *]` → `[out, *, in / groups]`.
fn transposed_weight(weight: &ArrayD<f32>, groups: usize) -> ArrayD<f32> {
    let parts: Vec<ArrayD<f32>> = (0..groups)
        .map(|group| {
            let size = weight.shape()[0] / groups;
            let part = weight.slice_axis(Axis(0), (group * size..(group + 1) * size).into());
            move_last(&part.to_owned(), 0)
        })
        .collect();
    join(&parts)
}

/// One after the other along the first axis.
fn join(parts: &[ArrayD<f32>]) -> ArrayD<f32> {
    ndarray::concatenate(Axis(0), &parts.iter().map(|part| part.view()).collect::<Vec<_>>()).unwrap()
}

fn refusal(result: Result<Output, Error>) -> String {
    match result {
        Err(Error::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_engines_say_what_they_are() {
    let mut bench = Bench::new();
    let (torch, mlx) = (bench.torch.info().unwrap(), bench.mlx.info().unwrap());
    assert_eq!((torch.engine.as_str(), torch.device.as_str()), ("t2m-torch", "cpu"));
    assert_eq!(mlx.engine, "t2m-mlx");
    assert!(torch.version.starts_with("2.") && mlx.version.starts_with("0."), "{} {}", torch.version, mlx.version);
    assert_eq!(mlx.flags["MLX_ENABLE_TF32"], "0");
}

#[test]
fn linear_layers_agree() {
    let mut bench = Bench::new();
    for (class, bias) in
        [("linear.Linear", true), ("linear.Linear", false), ("linear.NonDynamicallyQuantizableLinear", true)]
    {
        let class: &'static str = Box::leak(format!("torch.nn.modules.{class}").into_boxed_str());
        let mut tensors = vec![("weight", bench.normal(&[24, 50]))];
        if bias {
            tensors.push(("bias", bench.normal(&[24])));
        }
        let input = bench.normal(&[3, 5, 50]);
        bench.agree(layer(class, json!({}), tensors.clone()), layer("nn.Linear", json!({}), tensors), &[input], 50);
    }
}

#[test]
fn embeddings_are_exact_and_their_ids_are_checked() {
    let mut bench = Bench::new();
    let tensors = vec![("weight", bench.normal(&[11, 6]))];
    let torch =
        layer("torch.nn.modules.sparse.Embedding", json!({"padding_idx": 0, "max_norm": null}), tensors.clone());
    let mlx = layer("nn.Embedding", json!({}), tensors.clone());
    let long = |ids: &[i64]| {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        TensorData { dtype: Dtype::Int64, shape: vec![2, ids.len() / 2], bytes }
    };
    let int = |ids: &[i32]| {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        TensorData { dtype: Dtype::Int32, shape: vec![2, ids.len() / 2], bytes }
    };
    let expected = bench.torch(&torch, &[long(&[0, 10, 3, 3, 7, 1])], Dtype::Float32).unwrap().tensors.remove(0);
    let got = bench.mlx(&mlx, &[int(&[0, 10, 3, 3, 7, 1])], Dtype::Float32).unwrap().tensors.remove(0);
    assert_eq!(got, expected);
    assert_eq!(got.shape, [2, 3, 6]);

    let said = refusal(bench.torch(&torch, &[long(&[0, 11])], Dtype::Float32));
    assert_eq!(said, "index out of range in self");
    let said = refusal(bench.mlx(&mlx, &[int(&[-1, 11])], Dtype::Float32));
    assert_eq!(said, "the ids go from -1 to 11, the embedding's rows from 0 to 10");
    let torch = layer(torch.kind, json!({"max_norm": 1.0}), tensors);
    assert!(refusal(bench.torch(&torch, &[long(&[0, 1])], Dtype::Float32)).contains("max_norm"));
}

/// One convolution on both sides. `padding` is torch's, `sides` what MLX is given.
#[allow(clippy::too_many_arguments)]
fn convolution(bench: &mut Bench, weight: &[usize], input: &[usize], args: Value, sides: Value) {
    let axes = weight.len() - 2;
    let mode = args.get("padding_mode").cloned().unwrap_or(json!("zeros"));
    let groups = args.get("groups").and_then(Value::as_u64).unwrap_or(1);
    let ones = json!(vec![1; axes]);
    let mut mine = json!({"stride": ones, "padding": 0, "dilation": ones, "groups": groups, "padding_mode": mode});
    mine.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
    let mut theirs = mine.clone();
    let theirs_all = theirs.as_object_mut().unwrap();
    theirs_all.remove("padding_mode");
    let widths: Vec<(u64, u64)> = serde_json::from_value(sides.clone()).unwrap();
    assert!(mode == "zeros" && widths.iter().all(|(low, high)| low == high), "other paddings are programs");
    theirs_all.insert("padding".to_owned(), widths.iter().map(|(low, _)| *low).collect());
    let kernel = bench.normal(weight);
    let bias = bench.normal(&weight[..1]);
    let k = weight[1..].iter().product();
    let (torch, mlx) = match axes {
        1 => ("torch.nn.modules.conv.Conv1d", "nn.Conv1d"),
        _ => ("torch.nn.modules.conv.Conv2d", "nn.Conv2d"),
    };
    let torch = layer(torch, mine, vec![("weight", kernel.clone()), ("bias", bias.clone())]);
    let mlx = layer(mlx, theirs, vec![("weight", to_last(&kernel)), ("bias", bias)]);
    let input = bench.normal(input);
    bench.agree_last(torch, mlx, input, k);
}

#[test]
fn convolutions_agree() {
    let mut bench = Bench::new();
    let b = &mut bench;
    convolution(b, &[8, 6, 3], &[2, 6, 17], json!({}), json!([[0, 0]]));
    convolution(b, &[8, 6, 3], &[2, 6, 17], json!({"stride": [2], "padding": [2], "dilation": [2]}), json!([[2, 2]]));
    convolution(b, &[12, 1, 5], &[2, 12, 9], json!({"groups": 12, "padding": [2]}), json!([[2, 2]]));
    convolution(b, &[10, 6, 3, 5], &[2, 6, 11, 14], json!({"padding": [1, 2]}), json!([[1, 1], [2, 2]]));
    let args = json!({"stride": [2, 1], "dilation": [1, 2], "padding": [0, 3]});
    convolution(b, &[10, 6, 3, 5], &[2, 6, 11, 14], args, json!([[0, 0], [3, 3]]));
    convolution(b, &[12, 4, 3, 2], &[2, 12, 7, 9], json!({"groups": 3, "padding": [1, 0]}), json!([[1, 1], [0, 0]]));
    convolution(b, &[10, 6, 5, 3], &[2, 6, 11, 14], json!({"padding": "same"}), json!([[2, 2], [1, 1]]));
    convolution(b, &[10, 6, 4, 3], &[2, 6, 11, 14], json!({"padding": "valid"}), json!([[0, 0], [0, 0]]));
}

#[test]
fn convolutions_that_overrun_mlx_memory_are_padded_before() {
    let mut bench = Bench::new();
    let b = &mut bench;
    convolution(b, &[6, 1, 7, 7], &[1, 6, 2, 2], json!({"groups": 6, "padding": [3, 3]}), json!([[3, 3], [3, 3]]));
    convolution(b, &[8, 2, 5, 5], &[2, 8, 1, 1], json!({"groups": 4, "padding": [2, 2]}), json!([[2, 2], [2, 2]]));
    convolution(b, &[8, 2, 5], &[2, 8, 1], json!({"groups": 4, "padding": [4]}), json!([[4, 4]]));
    convolution(b, &[8, 4, 5, 5], &[2, 4, 1, 1], json!({"padding": [4, 4]}), json!([[4, 4], [4, 4]]));
    // The same overrun is behind these, without groups or without padding of their own.
    convolution(
        b,
        &[3, 4, 6, 5],
        &[2, 4, 2, 4],
        json!({"stride": [2, 1], "padding": [5, 4], "dilation": 2}),
        json!([[5, 5], [4, 4]]),
    );
    transposed(b, &[8, 2, 6, 6], &[2, 8, 2, 4], json!({"groups": 4, "padding": [5, 2], "dilation": [2, 1]}));
    transposed(b, &[3, 4, 7, 7], &[2, 3, 2, 2], json!({"padding": [5, 1], "dilation": 2, "output_padding": [1, 0]}));
    transposed(b, &[8, 2, 5, 5], &[2, 8, 1, 1], json!({"groups": 4}));
}

/// One transposed convolution on both sides.
fn transposed(bench: &mut Bench, weight: &[usize], input: &[usize], args: Value) {
    let axes = weight.len() - 2;
    let mut all = json!({
        "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"
    });
    all.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
    let groups = all["groups"].as_u64().unwrap() as usize;
    let kernel = bench.normal(weight);
    let bias = bench.normal(&[weight[1] * groups]);
    let k = weight[0] / groups * weight[2..].iter().product::<usize>();
    let (torch, mlx) = match axes {
        1 => ("torch.nn.modules.conv.ConvTranspose1d", "nn.ConvTranspose1d"),
        _ => ("torch.nn.modules.conv.ConvTranspose2d", "nn.ConvTranspose2d"),
    };
    let torch = layer(torch, all.clone(), vec![("weight", kernel.clone()), ("bias", bias.clone())]);
    all.as_object_mut().unwrap().remove("padding_mode");
    let mlx = layer(mlx, all, vec![("weight", transposed_weight(&kernel, groups)), ("bias", bias)]);
    let input = bench.normal(input);
    bench.agree_last(torch, mlx, input, k);
}

#[test]
fn transposed_convolutions_agree() {
    let mut bench = Bench::new();
    let b = &mut bench;
    transposed(b, &[6, 8, 4], &[2, 6, 9], json!({"stride": [2], "padding": [1]}));
    transposed(b, &[6, 8, 3], &[2, 6, 9], json!({"stride": [3], "padding": [1], "output_padding": [2]}));
    transposed(b, &[12, 2, 3], &[2, 12, 9], json!({"groups": 4, "dilation": [2]}));
    transposed(b, &[6, 8, 4, 3], &[2, 6, 5, 7], json!({"stride": [2, 1], "padding": [1, 0]}));
    transposed(b, &[6, 8, 3, 3], &[2, 6, 5, 7], json!({"stride": 2, "padding": 1, "output_padding": [1, 0]}));
    transposed(b, &[8, 3, 3, 2], &[2, 8, 5, 7], json!({"stride": 2, "groups": 2, "dilation": [1, 2]}));
}

#[test]
fn layer_norms_agree() {
    let mut bench = Bench::new();
    for (shape, affine) in [(vec![32], 2), (vec![32], 1), (vec![32], 0)] {
        let mut tensors = vec![("weight", bench.positive(&shape)), ("bias", bench.normal(&shape))];
        tensors.truncate(affine);
        let args = json!({"normalized_shape": shape, "eps": 1e-5});
        let input = bench.normal(&[&[3, 5], shape.as_slice()].concat());
        let torch = layer("torch.nn.modules.normalization.LayerNorm", args.clone(), tensors.clone());
        let dims: usize = shape.iter().product();
        let theirs = |eps: f64| json!({"dims": dims, "eps": eps});
        let flat = |tensors: &Tensors| -> Tensors {
            tensors
                .iter()
                .map(|(name, array)| (*name, array.clone().into_shape_with_order(vec![dims]).unwrap()))
                .collect()
        };
        bench.agree(torch, layer("nn.LayerNorm", theirs(1e-5), flat(&tensors)), std::slice::from_ref(&input), 32);

        tensors.truncate(1);
        let torch = layer("torch.nn.modules.normalization.RMSNorm", args.clone(), tensors.clone());
        let rms = |eps: f64| match affine {
            0 => layer("mx.fast.rms_norm", json!({"eps": eps}), vec![]),
            _ => layer("nn.RMSNorm", theirs(eps), flat(&tensors)),
        };
        bench.agree(torch, rms(1e-5), std::slice::from_ref(&input), 32);
        // Without an eps torch takes the dtype's smallest step.
        let args = json!({"normalized_shape": shape, "eps": null});
        let torch = layer("torch.nn.modules.normalization.RMSNorm", args, tensors.clone());
        bench.agree(torch, rms(f64::from(f32::EPSILON)), &[input], 32);
    }
}

#[test]
fn group_norms_agree_only_where_they_are_pytorch_compatible() {
    let mut bench = Bench::new();
    for shape in [vec![2, 12, 5, 7], vec![3, 12, 9], vec![4, 12]] {
        let tensors = vec![("weight", bench.positive(&[12])), ("bias", bench.normal(&[12]))];
        let args = json!({"num_groups": 3, "eps": 1e-5});
        let torch = layer("torch.nn.modules.normalization.GroupNorm", args, tensors.clone());
        let mlx = |compatible: bool| {
            let args = json!({"num_groups": 3, "eps": 1e-5, "pytorch_compatible": compatible});
            layer("nn.GroupNorm", args, tensors.clone())
        };
        let input = bench.normal(&shape);
        let wrong = bench.difference(&torch, &mlx(false), std::slice::from_ref(&input), true);
        assert!(wrong > 1e4, "the default groups other channels: {wrong}");
        bench.agree_last(torch, mlx(true), input, 140);
    }
}

#[test]
fn batch_and_instance_norms_agree() {
    let mut bench = Bench::new();
    let affine = vec![("weight", bench.positive(&[6])), ("bias", bench.normal(&[6]))];
    let running = vec![("running_mean", bench.normal(&[6])), ("running_var", bench.positive(&[6]))];
    for (class, shape) in [("1d", vec![5, 6]), ("1d", vec![3, 6, 10]), ("2d", vec![3, 6, 5, 7])] {
        for (affine, tracked) in [(true, true), (false, true), (true, false), (false, false)]
            .map(|(a, t)| (if a { affine.clone() } else { Vec::new() }, t))
        {
            let mut tensors = affine.clone();
            if tracked {
                tensors.extend(running.clone());
            }
            let args = json!({"eps": 1e-3, "track_running_stats": tracked});
            let input = bench.normal(&shape);
            let name: &'static str = Box::leak(format!("torch.nn.modules.batchnorm.BatchNorm{class}").into_boxed_str());
            let torch = layer(name, args.clone(), tensors.clone());
            bench.agree_last(torch, layer("nn.BatchNorm", args.clone(), tensors.clone()), input.clone(), 100);

            if shape.len() > 2 {
                let name = format!("torch.nn.modules.instancenorm.InstanceNorm{class}").into_boxed_str();
                let torch = layer(Box::leak(name), args.clone(), tensors.clone());
                // With running statistics it is a batch norm.
                let mlx = match tracked {
                    true => layer("nn.BatchNorm", args, tensors),
                    false => layer("nn.InstanceNorm", json!({"eps": 1e-3}), tensors),
                };
                bench.agree_last(torch, mlx, input, 100);
            }
        }
    }
}

/// Attention of width 24 and 4 heads on both sides, with other widths of key and value where given.
fn attention(bench: &mut Bench, bias: bool, batch_first: bool, widths: Option<(usize, usize)>) {
    let (key_width, value_width) = widths.unwrap_or((24, 24));
    let weights = [bench.normal(&[24, 24]), bench.normal(&[24, key_width]), bench.normal(&[24, value_width])];
    let weights = weights.map(|weight| weight * 0.2);
    let biases = [(); 3].map(|()| bench.normal(&[24]));
    let out = bench.normal(&[24, 24]) * 0.2;
    let mut mine = match widths {
        None => vec![("in_proj_weight", join(&weights))],
        Some(_) => ["q_proj_weight", "k_proj_weight", "v_proj_weight"].into_iter().zip(weights.clone()).collect(),
    };
    mine.push(("out_proj.weight", out.clone()));
    let names = ["query_proj.weight", "key_proj.weight", "value_proj.weight"];
    let mut theirs: Tensors = names.into_iter().zip(weights).collect();
    theirs.push(("out_proj.weight", out));
    if bias {
        let last = bench.normal(&[24]);
        mine.extend([("in_proj_bias", join(&biases)), ("out_proj.bias", last.clone())]);
        theirs.extend(["query_proj.bias", "key_proj.bias", "value_proj.bias"].into_iter().zip(biases));
        theirs.push(("out_proj.bias", last));
    }
    let args = json!({"num_heads": 4, "batch_first": batch_first, "add_zero_attn": false});
    let torch = layer("torch.nn.modules.activation.MultiheadAttention", args, mine);
    let mlx = layer("nn.MultiHeadAttention", json!({"num_heads": 4}), theirs);
    let inputs = [bench.normal(&[3, 7, 24]), bench.normal(&[3, 9, key_width]), bench.normal(&[3, 9, value_width])];
    let swap = |x: &ArrayD<f32>| x.clone().permuted_axes(vec![1, 0, 2]);
    let for_torch: Vec<_> = inputs.iter().map(|x| if batch_first { data(x) } else { data(&swap(x)) }).collect();
    let for_mlx: Vec<_> = inputs.iter().map(data).collect();
    let expected = floats(&bench.torch(&torch, &for_torch, Dtype::Float32).unwrap().tensors[0]);
    let expected = if batch_first { expected } else { swap(&expected) };
    let got = floats(&bench.mlx(&mlx, &for_mlx, Dtype::Float32).unwrap().tensors[0]);
    let scale = expected.iter().fold(0f32, |most, y| most.max(y.abs()));
    let worst = got.iter().zip(&expected).fold(0f32, |most, (y, x)| most.max((y - x).abs()));
    assert_eq!(got.shape(), [3, 7, 24]);
    assert_within(worst / (scale * f32::EPSILON), 24, &torch, &mlx);
}

#[test]
fn attention_agrees() {
    let mut bench = Bench::new();
    attention(&mut bench, true, true, None);
    attention(&mut bench, false, true, None);
    attention(&mut bench, true, false, None);
    attention(&mut bench, true, true, Some((10, 16)));
    let mut extra = layer(
        "torch.nn.modules.activation.MultiheadAttention",
        json!({"num_heads": 4, "batch_first": true, "add_zero_attn": false}),
        vec![("bias_k", bench.normal(&[1, 1, 24]))],
    );
    assert!(refusal(bench.torch(&extra, &[], Dtype::Float32)).contains("add_bias_kv"));
    extra.tensors.clear();
    assert_eq!(refusal(bench.torch(&extra, &[], Dtype::Float32)), "the layer's tensor `q_proj_weight` is missing");
}

#[test]
fn activations_agree() {
    let mut bench = Bench::new();
    let input = bench.normal(&[3, 5, 7]) * 2.0;
    let inputs = std::slice::from_ref(&input);
    for (torch, mine, mlx, theirs) in [
        ("activation.GELU", json!({"approximate": "none"}), "nn.GELU", json!({"approx": "none"})),
        ("activation.GELU", json!({"approximate": "tanh"}), "nn.GELU", json!({"approx": "precise"})),
        ("activation.ReLU", json!({}), "nn.ReLU", json!({})),
        ("activation.SiLU", json!({}), "nn.SiLU", json!({})),
        ("activation.Tanh", json!({}), "nn.Tanh", json!({})),
        ("activation.Sigmoid", json!({}), "nn.Sigmoid", json!({})),
        ("activation.LeakyReLU", json!({"negative_slope": 0.2}), "nn.LeakyReLU", json!({"negative_slope": 0.2})),
        ("activation.Softmax", json!({"dim": -1}), "nn.Softmax", json!({})),
        ("activation.Softmax", json!({"dim": 1}), "mx.softmax", json!({"axis": 1, "precise": true})),
        ("activation.Softmax", json!({"dim": null}), "mx.softmax", json!({"axis": 0, "precise": true})),
        ("dropout.Dropout", json!({"p": 0.5}), "nn.Dropout", json!({"p": 0.5})),
    ] {
        let torch: &'static str = Box::leak(format!("torch.nn.modules.{torch}").into_boxed_str());
        bench.agree(layer(torch, mine, vec![]), layer(mlx, theirs, vec![]), inputs, 7);
    }
    let exact = layer("torch.nn.modules.activation.GELU", json!({"approximate": "none"}), vec![]);
    for (approx, least) in [("precise", 100.0), ("fast", 5000.0)] {
        let wrong = bench.difference(&exact, &layer("nn.GELU", json!({"approx": approx}), vec![]), inputs, false);
        assert!(wrong > least, "{approx} is another function: {wrong}");
    }
}

#[test]
fn other_dtypes_are_computed_and_told() {
    let mut bench = Bench::new();
    let input = [data(&bench.normal(&[4, 6]))];
    let tensors = vec![("weight", bench.normal(&[5, 6])), ("bias", bench.normal(&[5]))];
    let torch = layer("torch.nn.modules.linear.Linear", json!({}), tensors.clone());
    let mlx = layer("nn.Linear", json!({}), tensors);
    for dtype in [Dtype::Float32, Dtype::Float16, Dtype::BFloat16] {
        assert_eq!(bench.torch(&torch, &input, dtype).unwrap().tensors[0].dtype, dtype);
        assert_eq!(bench.mlx(&mlx, &input, dtype).unwrap().tensors[0].dtype, dtype);
    }
    assert_eq!(bench.torch(&torch, &input, Dtype::Float64).unwrap().tensors[0].dtype, Dtype::Float64);
    assert_eq!(refusal(bench.mlx(&mlx, &input, Dtype::Float64)), "MLX's side does not compute in float64");
    assert_eq!(refusal(bench.torch(&torch, &input, Dtype::Int8)), "libtorch's side does not compute in int8");

    let torch = layer("torch.nn.modules.activation.LeakyReLU", json!({"negative_slope": 0.01}), vec![]);
    assert_eq!(bench.torch(&torch, &input, Dtype::Float16).unwrap().tensors[0].dtype, Dtype::Float16);
    let mlx = layer("nn.LeakyReLU", json!({"negative_slope": 0.01}), vec![]);
    let promoted = bench.mlx(&mlx, &input, Dtype::Float16).unwrap().tensors[0].dtype;
    assert_eq!(promoted, Dtype::Float32, "mlx-rs multiplies by a float32 slope");
}

#[test]
fn wrong_layers_are_refused_in_words_and_the_engines_live_on() {
    let mut bench = Bench::new();
    let input = [data(&bench.normal(&[2, 6, 5]))];
    let weight = |bench: &mut Bench, shape: &[usize]| vec![("weight", bench.normal(shape))];
    let conv = json!({"stride": 1, "padding": 0, "dilation": 1, "groups": 1});
    let wide = json!({"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "pad": [[9, 9]]});
    let batch = json!({"eps": 1e-5, "track_running_stats": true});
    let group = json!({"num_groups": 4, "eps": 1e-5, "pytorch_compatible": true});
    let mlx = [
        layer("nn.LSTM", json!({}), vec![]),
        layer("nn.Linear", json!({}), vec![]),
        layer("nn.Linear", json!({}), weight(&mut bench, &[4])),
        layer("nn.Linear", json!({}), weight(&mut bench, &[4, 7])),
        layer("nn.Linear", json!({"input_dims": 6}), weight(&mut bench, &[4, 7])),
        layer("nn.Linear", json!({"bias": true}), weight(&mut bench, &[4, 5])),
        layer("nn.Conv1d", json!({}), weight(&mut bench, &[4, 3, 5])),
        layer("nn.Conv1d", conv.clone(), weight(&mut bench, &[4, 3, 7])),
        layer("nn.Conv1d", conv.clone(), weight(&mut bench, &[4, 3])),
        layer("nn.Conv1d", conv, weight(&mut bench, &[4, 8, 5])),
        layer("nn.Conv1d", wide, weight(&mut bench, &[4, 3, 5])),
        layer("nn.BatchNorm", batch, weight(&mut bench, &[5])),
        layer("nn.GroupNorm", group, vec![]),
        layer("nn.LayerNorm", json!({"dims": 4, "eps": 1e-5}), vec![]),
        layer("nn.LayerNorm", json!({"dims": 5, "eps": 1e-5, "pytorch_compatible": true}), vec![]),
        layer("mx.softmax", json!({"axis": 5, "precise": false}), vec![]),
        layer("nn.MultiHeadAttention", json!({"num_heads": 2}), vec![]),
    ];
    let said = mlx.map(|layer| format!("{}: {}", layer.kind, refusal(bench.mlx(&layer, &input, Dtype::Float32))));
    insta::assert_snapshot!("refused_by_mlx", said.join("\n"));

    let torch = [
        layer("torch.nn.modules.rnn.LSTM", json!({}), vec![]),
        layer("mine.Linear", json!({}), vec![]),
        layer("torch.nn.modules.linear.Linear", json!({}), weight(&mut bench, &[4, 7])),
        layer("torch.nn.modules.conv.Conv1d", json!({"stride": [1]}), weight(&mut bench, &[4, 3, 7])),
        layer("torch.nn.modules.activation.GELU", json!({"approximate": "never"}), vec![]),
        layer("torch.nn.modules.activation.Softmax", json!({"dim": 5}), vec![]),
    ];
    let said = torch.map(|layer| format!("{}: {}", layer.kind, refusal(bench.torch(&layer, &input, Dtype::Float32))));
    insta::assert_snapshot!("refused_by_torch", said.join("\n"));
}
