//! torch's functions by their Python names and arguments: what a forward calls outside of layers. One arm for each
//! function in the table of signatures, which calls a function of its own if it takes more than a line.
//!
//! A plain number is a tensor without axes, which takes the dtype of its partner.

mod index;
mod loss;
mod nn;
mod reduce;
mod shape;

use tch::{Device, Kind, TchError, Tensor};

use super::Problem;
use t2m_engine::args::Args;
use t2m_engine::program::TorchOp as Op;

type Result<T> = std::result::Result<T, Problem>;

/// The value of a positional argument.
pub(super) enum Given {
    /// A plain number.
    Number(f64),
    /// A tensor.
    Tensor(Tensor),
    /// Several.
    List(Vec<Tensor>),
}

impl Given {
    /// The tensor; a number becomes one without axes.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Given::Tensor(tensor) => Ok(tensor.shallow_clone()),
            Given::Number(number) => scalar(*number, None),
            Given::List(_) => Err(Problem("one tensor is expected, not several".to_owned())),
        }
    }
}

/// Call a function.
pub(super) fn call(op: Op, given: &[Given], args: &Args<'_>) -> Result<Vec<Tensor>> {
    let single = match op {
        // Functions with several results.
        Op::Split => return shape::split(given, args),
        Op::Chunk => return Ok(one(given)?.f_chunk(args.integer("chunks")?, args.integer_or("dim", 0)?)?),
        Op::Unbind => return Ok(one(given)?.f_unbind(args.integer_or("dim", 0)?)?),
        Op::Meshgrid => return Ok(Tensor::f_meshgrid_indexing(list(given)?, args.text_or("indexing", "ij")?)?),
        Op::Max => return reduce::extreme(given, args, &reduce::MAX),
        Op::Min => return reduce::extreme(given, args, &reduce::MIN),
        Op::Median => return reduce::extreme(given, args, &reduce::MEDIAN),
        Op::Topk => return reduce::topk(given, args),
        Op::Sort => {
            let (dim, descending) = (args.integer_or("dim", -1)?, args.flag_or("descending", false)?);
            return both(one(given)?.f_sort(dim, descending));
        }

        // Elements moved, and tensors made.
        Op::Cat => Tensor::f_cat(list(given)?, args.integer_or("dim", 0)?)?,
        Op::Stack => Tensor::f_stack(list(given)?, args.integer_or("dim", 0)?)?,
        Op::View if args.has("dtype") => one(given)?.f_view_dtype(kind(args.text("dtype")?)?)?,
        Op::View => one(given)?.f_view(args.list("shape")?.as_slice())?,
        Op::Reshape => one(given)?.f_reshape(args.list("shape")?)?,
        Op::Permute => one(given)?.f_permute(args.list("dims")?)?,
        Op::Transpose => one(given)?.f_transpose(args.integer("dim0")?, args.integer("dim1")?)?,
        Op::T => one(given)?.f_numpy_t()?,
        Op::MT => one(given)?.f_transpose(-2, -1)?,
        Op::Unsqueeze => one(given)?.f_unsqueeze(args.integer("dim")?)?,
        Op::Squeeze if args.has("dim") => one(given)?.f_squeeze_dim(args.integer("dim")?)?,
        Op::Squeeze => one(given)?.f_squeeze()?,
        Op::Flatten => one(given)?.f_flatten(args.integer_or("start_dim", 0)?, args.integer_or("end_dim", -1)?)?,
        Op::Unflatten => one(given)?.f_unflatten(args.integer("dim")?, args.list("sizes")?)?,
        Op::Expand => one(given)?.f_expand(args.list("size")?, false)?,
        Op::Repeat => one(given)?.f_repeat(args.list("repeats")?)?,
        Op::RepeatInterleave => {
            one(given)?.f_repeat_interleave_self_int(args.integer("repeats")?, reduce::dim(args)?, None)?
        }
        Op::Roll => one(given)?.f_roll(args.list("shifts")?, args.list_or_none("dims")?.unwrap_or_default())?,
        Op::Flip => one(given)?.f_flip(args.list("dims")?)?,
        Op::Tril => one(given)?.f_tril(args.integer_or("diagonal", 0)?)?,
        Op::Triu => one(given)?.f_triu(args.integer_or("diagonal", 0)?)?,
        Op::Diagonal => {
            let (first, second) = (args.integer_or("dim1", 0)?, args.integer_or("dim2", 1)?);
            one(given)?.f_diagonal(args.integer_or("offset", 0)?, first, second)?
        }
        Op::Unfold => {
            let (axis, size) = (args.integer("dimension")?, args.integer("size")?);
            one(given)?.f_unfold(axis, size, args.integer("step")?)?
        }
        Op::Zeros => Tensor::f_zeros(args.list("size")?, on_cpu(kind_or(args, Kind::Float)?))?,
        Op::Ones => Tensor::f_ones(args.list("size")?, on_cpu(kind_or(args, Kind::Float)?))?,
        Op::Randn => Tensor::f_randn(args.list("size")?, on_cpu(Kind::Float))?,
        Op::Rand => Tensor::f_rand(args.list("size")?, on_cpu(Kind::Float))?,
        Op::Full => shape::full(args)?,
        Op::Arange => shape::arange(args)?,
        Op::Linspace => {
            let (start, end) = (args.number("start")?, args.number("end")?);
            Tensor::f_linspace(start, end, args.integer("steps")?, on_cpu(Kind::Float))?
        }
        Op::Eye => Tensor::f_eye(args.integer("n")?, on_cpu(Kind::Float))?,
        Op::ZerosLike => one(given)?.f_zeros_like()?,
        Op::OnesLike => one(given)?.f_ones_like()?,

        // Slices, and reading and writing at given places.
        Op::Index => one(given)?.f_select(0, args.integer("at")?)?,
        Op::Slice => index::slice(one(given)?, args)?,
        Op::SetSlice => index::set_slice(given, args)?,
        Op::Getitem => index::getitem(given)?,
        Op::Gather => {
            let [x, index] = tensors(given)?;
            x.f_gather(args.integer("dim")?, index, false)?
        }
        Op::IndexSelect => {
            let [x, index] = tensors(given)?;
            x.f_index_select(args.integer("dim")?, index)?
        }
        Op::IndexAdd => {
            let [x, index, source] = tensors(given)?;
            x.f_index_add(args.integer("dim")?, index, source)?
        }
        Op::Scatter => {
            let [x, index, source] = tensors(given)?;
            x.f_scatter(args.integer("dim")?, index, source)?
        }
        Op::ScatterAdd => {
            let [x, index, source] = tensors(given)?;
            x.f_scatter_add(args.integer("dim")?, index, source)?
        }
        Op::IndexPut => index::index_put(given, args)?,
        Op::MaskedFill => index::masked_fill(given)?,
        Op::Where => index::either(given)?,
        Op::Nonzero => one(given)?.f_nonzero()?,

        // Over an axis, or all of them.
        Op::Sum => one(given)?.f_sum_dim_intlist(args.list_or_none("dim")?, keep(args)?, None)?,
        Op::Mean => one(given)?.f_mean_dim(args.list_or_none("dim")?, keep(args)?, None)?,
        Op::Logsumexp => one(given)?.f_logsumexp(args.list("dim")?, keep(args)?)?,
        Op::Var => one(given)?.f_var_correction(args.list_or_none("dim")?, reduce::correction(args)?, keep(args)?)?,
        Op::Std => one(given)?.f_std_correction(args.list_or_none("dim")?, reduce::correction(args)?, keep(args)?)?,
        Op::Prod => match reduce::dim(args)? {
            None => one(given)?.f_prod(None)?,
            Some(dim) => one(given)?.f_prod_dim_int(dim, keep(args)?, None)?,
        },
        Op::Any => match reduce::dim(args)? {
            None => one(given)?.f_any()?,
            Some(dim) => one(given)?.f_any_dim(dim, keep(args)?)?,
        },
        Op::All => match reduce::dim(args)? {
            None => one(given)?.f_all()?,
            Some(dim) => one(given)?.f_all_dim(dim, keep(args)?)?,
        },
        Op::Argmax => one(given)?.f_argmax(reduce::dim(args)?, keep(args)?)?,
        Op::Argmin => one(given)?.f_argmin(reduce::dim(args)?, keep(args)?)?,
        Op::Norm => reduce::norm(one(given)?, args, "p")?,
        Op::LinalgNorm => reduce::norm(one(given)?, args, "ord")?,
        Op::Cumsum => one(given)?.f_cumsum(args.integer("dim")?, None)?,
        Op::Cumprod => one(given)?.f_cumprod(args.integer("dim")?, None)?,
        Op::Argsort => one(given)?.f_argsort(args.integer_or("dim", -1)?, args.flag_or("descending", false)?)?,
        Op::Softmax => one(given)?.f_softmax(args.integer("dim")?, None)?,
        Op::LogSoftmax => one(given)?.f_log_softmax(args.integer("dim")?, None)?,

        // Products.
        Op::Einsum => Tensor::f_einsum(args.text("equation")?, list(given)?, None::<i64>)?,
        Op::Matmul => binary(given, Tensor::f_matmul)?,
        Op::Bmm => binary(given, Tensor::f_bmm)?,
        Op::Mm => binary(given, Tensor::f_mm)?,
        Op::Mv => binary(given, Tensor::f_mv)?,
        Op::Dot => binary(given, Tensor::f_dot)?,
        Op::Outer => binary(given, Tensor::f_outer)?,
        Op::Addmm => nn::addmm(given, args)?,
        Op::Baddbmm => {
            let [c, a, b] = tensors(given)?;
            c.f_baddbmm(a, b, args.number_or("beta", 1.0)?, args.number_or("alpha", 1.0)?)?
        }
        Op::Linear => {
            let [x, weight] = tensors(given.get(..2).unwrap_or_default())?;
            x.f_linear(weight, optional(given, 2)?)?
        }
        Op::ScaledDotProductAttention => nn::attention(given, args)?,

        // One element in, one out.
        Op::Abs => one(given)?.f_abs()?,
        Op::Neg | Op::Negative => one(given)?.f_neg()?,
        Op::Exp => one(given)?.f_exp()?,
        Op::Expm1 => one(given)?.f_expm1()?,
        Op::Log => one(given)?.f_log()?,
        Op::Log1p => one(given)?.f_log1p()?,
        Op::Log2 => one(given)?.f_log2()?,
        Op::Log10 => one(given)?.f_log10()?,
        Op::Sqrt => one(given)?.f_sqrt()?,
        Op::Rsqrt => one(given)?.f_rsqrt()?,
        Op::Square => one(given)?.f_square()?,
        Op::Sin => one(given)?.f_sin()?,
        Op::Cos => one(given)?.f_cos()?,
        Op::Tan => one(given)?.f_tan()?,
        Op::Sigmoid => one(given)?.f_sigmoid()?,
        Op::Tanh => one(given)?.f_tanh()?,
        Op::Erf => one(given)?.f_erf()?,
        Op::Floor => one(given)?.f_floor()?,
        Op::Ceil => one(given)?.f_ceil()?,
        Op::Trunc => one(given)?.f_trunc()?,
        Op::Sign => one(given)?.f_sign()?,
        Op::Reciprocal => one(given)?.f_reciprocal()?,
        Op::Real => one(given)?.f_real()?,
        Op::Imag => one(given)?.f_imag()?,
        Op::Isnan => one(given)?.f_isnan()?,
        Op::Isinf => one(given)?.f_isinf()?,
        Op::Isfinite => one(given)?.f_isfinite()?,
        Op::LogicalNot => one(given)?.f_logical_not()?,
        Op::Round => match args.integer_or("decimals", 0)? {
            0 => one(given)?.f_round()?,
            decimals => one(given)?.f_round_decimals(decimals)?,
        },
        Op::Clamp => nn::clamp(one(given)?, args)?,
        Op::Pow => binary(given, Tensor::f_pow)?,
        Op::Atan2 => binary(given, Tensor::f_atan2)?,
        Op::Maximum => binary(given, Tensor::f_maximum)?,
        Op::Minimum => binary(given, Tensor::f_minimum)?,
        Op::Add => {
            let [a, b] = scaled(given, args)?;
            a.f_add(&b)?
        }
        Op::Sub => {
            let [a, b] = scaled(given, args)?;
            a.f_sub(&b)?
        }
        Op::Mul => binary(given, Tensor::f_mul)?,
        Op::Div if args.has("rounding_mode") => {
            let [a, b] = two(given)?;
            a.f_div_tensor_mode(&b, args.text("rounding_mode")?)?
        }
        Op::Div => binary(given, Tensor::f_div)?,
        Op::TrueDivide => binary(given, Tensor::f_true_divide)?,
        Op::FloorDivide => binary(given, Tensor::f_floor_divide)?,
        Op::Remainder => binary(given, Tensor::f_remainder_tensor)?,
        Op::Fmod => binary(given, Tensor::f_fmod_tensor)?,
        Op::LogicalAnd => binary(given, Tensor::f_logical_and)?,
        Op::LogicalOr => binary(given, Tensor::f_logical_or)?,
        Op::Gt => binary(given, Tensor::f_gt_tensor)?,
        Op::Ge => binary(given, Tensor::f_ge_tensor)?,
        Op::Lt => binary(given, Tensor::f_lt_tensor)?,
        Op::Le => binary(given, Tensor::f_le_tensor)?,
        Op::Eq => binary(given, Tensor::f_eq_tensor)?,
        Op::Ne => binary(given, Tensor::f_ne_tensor)?,

        // Casts. An argument that is not a dtype is a device, and there is only one.
        Op::To | Op::Type if !args.has("dtype") => one(given)?.shallow_clone(),
        Op::To | Op::Type => cast(given, kind(args.text("dtype")?)?)?,
        Op::Float => cast(given, Kind::Float)?,
        Op::Half => cast(given, Kind::Half)?,
        Op::Bfloat16 => cast(given, Kind::BFloat16)?,
        Op::Double => cast(given, Kind::Double)?,
        Op::Long => cast(given, Kind::Int64)?,
        Op::Int => cast(given, Kind::Int)?,
        Op::Bool => cast(given, Kind::Bool)?,
        Op::Contiguous => one(given)?.f_contiguous()?,
        Op::Clone => one(given)?.f_alias_copy()?,
        Op::Detach => one(given)?.f_detach()?,

        // torch.nn.functional. Functions whose optional arguments tch omits use the layer of the same name.
        Op::Relu => one(given)?.f_relu()?,
        Op::Relu6 => one(given)?.f_relu6()?,
        Op::Silu => one(given)?.f_silu()?,
        Op::Selu => one(given)?.f_selu()?,
        Op::Mish => one(given)?.f_mish()?,
        Op::Hardswish => one(given)?.f_hardswish()?,
        Op::Hardsigmoid => one(given)?.f_hardsigmoid()?,
        Op::Logsigmoid => one(given)?.f_log_sigmoid()?,
        Op::Softsign => one(given)?.f_div(&one(given)?.f_abs()?.f_add_scalar(1.0)?)?,
        Op::Gelu => one(given)?.f_gelu(args.text_or("approximate", "none")?)?,
        Op::Elu => nn::layer("ELU", &[("alpha", 1.0)], given, args)?,
        Op::Celu => nn::layer("CELU", &[("alpha", 1.0)], given, args)?,
        Op::LeakyRelu => nn::layer("LeakyReLU", &[("negative_slope", 0.01)], given, args)?,
        Op::Softplus => nn::layer("Softplus", &[("beta", 1.0), ("threshold", 20.0)], given, args)?,
        Op::Hardtanh => one(given)?.f_clamp(args.number_or("min_val", -1.0)?, args.number_or("max_val", 1.0)?)?,
        Op::Glu => one(given)?.f_glu(args.integer_or("dim", -1)?)?,
        Op::Dropout => one(given)?.f_dropout(args.number_or("p", 0.5)?, args.flag_or("training", true)?)?,
        Op::LayerNorm => nn::layer_norm(given, args)?,
        Op::RmsNorm => nn::rms_norm(given, args)?,
        Op::GroupNorm => nn::group_norm(given, args)?,
        Op::Normalize => nn::normalize(one(given)?, args)?,
        Op::CosineSimilarity => {
            let [a, b] = tensors(given)?;
            Tensor::f_cosine_similarity(a, b, args.integer_or("dim", 1)?, args.number_or("eps", 1e-8)?)?
        }
        Op::Embedding => {
            let [indices, weight] = tensors(given)?;
            Tensor::f_embedding(weight, indices, -1, false, false)?
        }
        Op::OneHot => one(given)?.f_one_hot(args.integer_or("num_classes", -1)?)?,
        Op::Interpolate => nn::interpolate(one(given)?, args)?,
        Op::Pad => {
            let value = if args.has("value") { args.number_or_none("value")? } else { None };
            one(given)?.f_pad(args.list("pad")?, args.text_or("mode", "constant")?, value)?
        }
        Op::MaxPool2d => nn::max_pool(one(given)?, args)?,
        Op::AvgPool2d => nn::average_pool(one(given)?, args)?,
        Op::AdaptiveAvgPool2d => one(given)?.f_adaptive_avg_pool2d(args.integers("output_size", 2)?)?,
        Op::PixelShuffle => one(given)?.f_pixel_shuffle(args.count("upscale_factor")?)?,
        Op::ImagesUnfold => nn::unfold(one(given)?, args)?,
        Op::ImagesFold => nn::fold(one(given)?, args)?,

        Op::CrossEntropy => loss::cross_entropy(given, args)?,
        Op::NllLoss => loss::nll(given, args)?,
        Op::MseLoss => loss::mse(given, args)?,
        Op::L1Loss => loss::l1(given, args)?,
        Op::SmoothL1Loss => loss::smooth_l1(given, args)?,
        Op::HuberLoss => loss::huber(given, args)?,
        Op::BinaryCrossEntropy => loss::binary_cross_entropy(given, args)?,
        Op::BinaryCrossEntropyWithLogits => loss::binary_cross_entropy_with_logits(given, args)?,
        Op::KlDiv => loss::kl_div(given, args)?,
    };
    Ok(vec![single])
}

/// Two results.
fn both(results: std::result::Result<(Tensor, Tensor), TchError>) -> Result<Vec<Tensor>> {
    let (first, second) = results?;
    Ok(vec![first, second])
}

fn binary(
    given: &[Given],
    function: impl Fn(&Tensor, &Tensor) -> std::result::Result<Tensor, TchError>,
) -> Result<Tensor> {
    let [a, b] = two(given)?;
    Ok(function(&a, &b)?)
}

/// The first operand and the second times `alpha`.
fn scaled(given: &[Given], args: &Args<'_>) -> Result<[Tensor; 2]> {
    let [a, b] = two(given)?;
    Ok([a, if args.has("alpha") { b.f_mul_scalar(args.number("alpha")?)? } else { b }])
}

fn cast(given: &[Given], kind: Kind) -> Result<Tensor> {
    Ok(one(given)?.f_to_dtype(kind, false, false)?)
}

fn keep(args: &Args<'_>) -> Result<bool> {
    Ok(args.flag_or("keepdim", false)?)
}

fn one(given: &[Given]) -> Result<&Tensor> {
    match given {
        [Given::Tensor(tensor)] => Ok(tensor),
        _ => Err(Problem("one tensor is expected".to_owned())),
    }
}

fn tensors<const N: usize>(given: &[Given]) -> Result<[&Tensor; N]> {
    let all = given.iter().map(|one| if let Given::Tensor(tensor) = one { Some(tensor) } else { None });
    let all: Option<Vec<&Tensor>> = all.collect();
    let all = all.and_then(|all| <[&Tensor; N]>::try_from(all).ok());
    all.ok_or_else(|| Problem(format!("{N} tensors are expected")))
}

fn list(given: &[Given]) -> Result<&[Tensor]> {
    match given {
        [Given::List(tensors)] => Ok(tensors),
        _ => Err(Problem("a list of tensors is expected".to_owned())),
    }
}

/// Optional tensors that follow the first ones.
fn optional(given: &[Given], at: usize) -> Result<Option<&Tensor>> {
    match given.get(at) {
        None => Ok(None),
        Some(Given::Tensor(tensor)) => Ok(Some(tensor)),
        Some(_) => Err(Problem("a tensor is expected".to_owned())),
    }
}

/// Two operands, of which one may be a plain number.
fn two(given: &[Given]) -> Result<[Tensor; 2]> {
    match given {
        [Given::Tensor(a), Given::Tensor(b)] => Ok([a.shallow_clone(), b.shallow_clone()]),
        [Given::Tensor(a), Given::Number(b)] => Ok([a.shallow_clone(), scalar(*b, Some(a))?]),
        [Given::Number(a), Given::Tensor(b)] => Ok([scalar(*a, Some(b))?, b.shallow_clone()]),
        _ => Err(Problem("two operands are expected".to_owned())),
    }
}

/// A plain number as a tensor without axes. Beside floating-point numbers it is float64, which loses nothing and takes
/// on their dtype; a whole number beside others is an integer, as in Python.
fn scalar(number: f64, beside: Option<&Tensor>) -> Result<Tensor> {
    let floating = match beside {
        Some(other) => matches!(other.f_kind()?, Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16),
        None => false,
    };
    let kind = match floating {
        true => Kind::Double,
        false if number.fract() == 0.0 => Kind::Int64,
        false => Kind::Float,
    };
    let no_axes: [i64; 0] = [];
    Ok(Tensor::f_full(no_axes, number, on_cpu(kind))?)
}

fn on_cpu(kind: Kind) -> (Kind, Device) {
    (kind, Device::Cpu)
}

/// The dtype of that name in torch.
pub(super) fn kind(name: &str) -> Result<Kind> {
    Ok(match name {
        "float64" | "double" => Kind::Double,
        "float32" | "float" => Kind::Float,
        "float16" | "half" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "int64" | "long" => Kind::Int64,
        "int32" | "int" => Kind::Int,
        "int16" => Kind::Int16,
        "int8" => Kind::Int8,
        "uint8" => Kind::Uint8,
        "bool" | "bool_" => Kind::Bool,
        "complex64" => Kind::ComplexFloat,
        "complex128" => Kind::ComplexDouble,
        "float8_e4m3fn" => Kind::Float8e4m3fn,
        "float8_e5m2" => Kind::Float8e5m2,
        other => return Err(Problem(format!("tch has no dtype `{other}`"))),
    })
}

/// The given dtype, or this default.
fn kind_or(args: &Args<'_>, otherwise: Kind) -> Result<Kind> {
    if args.has("dtype") { kind(args.text("dtype")?) } else { Ok(otherwise) }
}
