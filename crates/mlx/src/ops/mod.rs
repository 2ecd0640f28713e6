//! MLX's functions by their Python names and arguments: one arm for each function in the table of signatures, which
//! calls a function of its own if it takes more than a line.
//!
//! mlx-rs's scalars are float32 arrays that promote half precision. Python's plain numbers take the dtype of their
//! partner, and so do those here. Functions that mlx-rs does not bind are called through mlx-sys.

mod fused;
mod index;
mod integers;
mod loss;
mod make;
mod matrix;
mod pick;
mod reduce;
mod shape;

use mlx_rs::ops::indexing::{self, argmax_axis, argmin_axis, topk_axis};
use mlx_rs::{Array, Dtype, nn, ops};

use super::tensor::dtype;
use super::{Problem, conv, float32, int32};
use t2m_engine::args::Args;
use t2m_engine::program::{MlxOp as Op, infinity};

/// The value of a positional argument.
pub(super) enum Given {
    /// A plain number.
    Number(f64),
    /// An array.
    Array(Array),
    /// Several.
    List(Vec<Array>),
}

impl Given {
    /// The array; a number becomes a float32 one.
    pub fn array(self) -> Result<Array> {
        match self {
            Given::Array(array) => Ok(array),
            Given::Number(number) => Ok(Array::from_f32(float32(number))),
            Given::List(_) => Err(Problem("one array is expected, not several".to_owned())),
        }
    }
}

type Result<T> = std::result::Result<T, Problem>;
type Computed = mlx_rs::error::Result<Array>;

/// Call a function.
pub(super) fn call(op: Op, given: &[Given], args: &Args<'_>) -> Result<Vec<Array>> {
    let result = match op {
        // Functions with several results.
        Op::Split => return shape::split(given, args),
        Op::Unstack => return Ok(one(given)?.unstack(axis_or(args, 0)?)?),
        Op::Meshgrid => return shape::meshgrid(list(given)?, args),
        Op::LinalgQr
        | Op::LinalgSvd
        | Op::LinalgEigh
        | Op::LinalgEig
        | Op::LinalgLu
        | Op::LinalgLuFactor
        | Op::LinalgSlogdet => return matrix::several(op, one(given)?, args),

        // Elements moved and picked.
        Op::Concatenate => ops::concatenate(list(given)?, axis_or(args, 0)?)?,
        Op::Stack => ops::stack(list(given)?, axis_or(args, 0)?)?,
        Op::Reshape => ops::reshape(one(given)?, &integers(args, "shape")?)?,
        Op::Transpose => shape::transpose(one(given)?, args)?,
        Op::Swapaxes => ops::swap_axes(one(given)?, axis(args, "axis1")?, axis(args, "axis2")?)?,
        Op::Moveaxis => ops::move_axis(one(given)?, axis(args, "source")?, axis(args, "destination")?)?,
        Op::ExpandDims => ops::expand_dims_axes(one(given)?, &integers(args, "axis")?)?,
        Op::Squeeze => shape::squeeze(one(given)?, args)?,
        Op::Flatten => {
            let (start, end) = (args.integer_or("start_axis", 0)?, args.integer_or("end_axis", -1)?);
            ops::flatten(one(given)?, int32(start, "start_axis")?, int32(end, "end_axis")?)?
        }
        Op::Unflatten => ops::unflatten(one(given)?, axis(args, "axis")?, &integers(args, "shape")?)?,
        Op::View => one(given)?.view_dtype(dtype(args.text("dtype")?)?)?,
        Op::Contiguous => one(given)?.contiguous()?,
        Op::StopGradient => one(given)?.clone(),
        Op::BroadcastTo => ops::broadcast_to(one(given)?, &integers(args, "shape")?)?,
        Op::Tile => ops::tile(one(given)?, &integers(args, "reps")?)?,
        Op::Repeat => shape::repeat(one(given)?, args)?,
        Op::Pad => shape::pad(one(given)?, args)?,
        Op::AsStrided => shape::as_strided(one(given)?, args)?,
        Op::Tril => ops::tril(one(given)?, int32(args.integer_or("k", 0)?, "k")?)?,
        Op::Triu => ops::triu(one(given)?, int32(args.integer_or("k", 0)?, "k")?)?,
        Op::Roll => shape::roll(one(given)?, args)?,
        Op::Flip => shape::flip(one(given)?, args)?,
        Op::Diagonal => shape::diagonal(one(given)?, args)?,
        Op::Take => index::take(given, args)?,
        Op::TakeAlongAxis => index::take_along_axis(given, args)?,
        Op::PutAlongAxis => index::put_along_axis(given, args)?,
        Op::Where => pick::either(given)?,
        Op::Clip => pick::clip(one(given)?, args)?,
        Op::Maximum => binary(given, |a, b| ops::maximum(a, b))?,
        Op::Minimum => binary(given, |a, b| ops::minimum(a, b))?,
        Op::Sort => ops::sort_axis(one(given)?, axis_or(args, -1)?)?,
        Op::Argsort => ops::argsort_axis(one(given)?, axis_or(args, -1)?)?,
        Op::Topk => topk_axis(one(given)?, int32(args.count("k")?, "k")?, axis_or(args, -1)?)?,
        Op::Searchsorted => index::searchsorted(given, args)?,
        Op::Astype => one(given)?.as_dtype(dtype(args.text("dtype")?)?)?,
        Op::AstypeLike => {
            let [x, like] = arrays(given)?;
            x.as_dtype(like.dtype())?
        }
        Op::Index => index::element(one(given)?, args)?,
        Op::Slice => index::slice(one(given)?, args)?,
        Op::Getitem => index::getitem(given)?,
        Op::SetSlice => index::set_slice(given, args)?,
        Op::AtAdd => index::at_add(given, args)?,
        Op::AtMaximum => index::at(given, |x, at, updates| indexing::scatter_max_single(x, at, updates, 0))?,
        Op::AtMinimum => index::at(given, |x, at, updates| indexing::scatter_min_single(x, at, updates, 0))?,
        Op::AtMultiply => index::at(given, |x, at, updates| indexing::scatter_prod_single(x, at, updates, 0))?,
        Op::Flatnonzero => index::flatnonzero(one(given)?)?,

        // Made from nothing.
        Op::Arange => make::arange(given, args)?,
        Op::Linspace => make::linspace(given, args)?,
        Op::Zeros => make::zeros(given, args)?,
        Op::Ones => make::ones(given, args)?,
        Op::Full => make::full(given, args)?,
        Op::Eye => make::eye(given, args)?,
        Op::ZerosLike => unary(given, |x| ops::zeros_like(x))?,
        Op::OnesLike => unary(given, |x| ops::ones_like(x))?,
        Op::RandomNormal => make::normal(given, args)?,
        Op::RandomUniform => make::uniform(given, args)?,

        // Over an axis, or all of them.
        Op::Sum => reduce::over(given, args, |x, axes, keep| ops::sum_axes(x, axes, keep))?,
        Op::Mean => reduce::over(given, args, |x, axes, keep| ops::mean_axes(x, axes, keep))?,
        Op::Max => reduce::over(given, args, |x, axes, keep| ops::max_axes(x, axes, keep))?,
        Op::Min => reduce::over(given, args, |x, axes, keep| ops::min_axes(x, axes, keep))?,
        Op::Prod => reduce::over(given, args, |x, axes, keep| ops::prod_axes(x, axes, keep))?,
        Op::Any => reduce::over(given, args, |x, axes, keep| ops::any_axes(x, axes, keep))?,
        Op::All => reduce::over(given, args, |x, axes, keep| ops::all_axes(x, axes, keep))?,
        Op::Logsumexp => reduce::over(given, args, |x, axes, keep| ops::logsumexp_axes(x, axes, keep))?,
        Op::Median => reduce::over(given, args, |x, axes, keep| ops::median_axes(x, axes, keep))?,
        Op::Var => reduce::spread(given, args, |x, axes, keep, ddof| ops::var_axes(x, axes, keep, ddof))?,
        Op::Std => reduce::spread(given, args, |x, axes, keep, ddof| ops::std_axes(x, axes, keep, ddof))?,
        Op::Argmax => reduce::place(given, args, |x, axis, keep| argmax_axis(x, axis, keep))?,
        Op::Argmin => reduce::place(given, args, |x, axis, keep| argmin_axis(x, axis, keep))?,
        Op::Cumsum => reduce::along(given, args, |x, axis| x.cumsum(axis, false, true))?,
        Op::Cumprod => reduce::along(given, args, |x, axis| x.cumprod(axis, false, true))?,
        Op::Cummax => reduce::along(given, args, |x, axis| x.cummax(axis, false, true))?,
        Op::Cummin => reduce::along(given, args, |x, axis| x.cummin(axis, false, true))?,
        Op::Logcumsumexp => reduce::along(given, args, |x, axis| {
            x.logcumsumexp(ops::LogCumsumExpOptions { axis: Some(axis), reverse: false, inclusive: true })
        })?,
        Op::Softmax => reduce::softmax(one(given)?, args)?,
        Op::LinalgNorm => reduce::norm(one(given)?, args)?,
        Op::LinalgInv
        | Op::LinalgTriInv
        | Op::LinalgCholesky
        | Op::LinalgCholeskyInv
        | Op::LinalgEigvalsh
        | Op::LinalgEigvals
        | Op::LinalgPinv
        | Op::LinalgDet => matrix::one(op, one(given)?, args)?,
        Op::LinalgSolve | Op::LinalgSolveTriangular | Op::LinalgCross => matrix::two(op, arrays(given)?, args)?,
        Op::FftFftn | Op::FftIfftn | Op::FftRfftn | Op::FftIrfftn => matrix::fourier(op, one(given)?, args)?,

        // Products.
        Op::Matmul => binary(given, |a, b| ops::matmul(a, b))?,
        Op::Inner => binary(given, |a, b| ops::inner(a, b))?,
        Op::Outer => binary(given, |a, b| ops::outer(a, b))?,
        Op::Kron => binary(given, |a, b| ops::kron(a, b))?,
        Op::Addmm => {
            let [c, a, b] = arrays(given)?;
            let (alpha, beta) = (args.number_or("alpha", 1.0)?, args.number_or("beta", 1.0)?);
            ops::addmm(c, a, b, float32(alpha), float32(beta))?
        }
        Op::Einsum => ops::einsum(args.text("subscripts")?, list(given)?)?,
        Op::Conv1d => conv::function(arrays(given)?, args, 1)?,
        Op::Conv2d => conv::function(arrays(given)?, args, 2)?,
        Op::Conv3d => conv::function(arrays(given)?, args, 3)?,
        Op::ConvTranspose1d => conv::transposed_function(arrays(given)?, args, 1)?,
        Op::ConvTranspose2d => conv::transposed_function(arrays(given)?, args, 2)?,
        Op::ConvTranspose3d => conv::transposed_function(arrays(given)?, args, 3)?,
        Op::FastLayerNorm => fused::layer_norm(given, args)?,
        Op::FastRmsNorm => fused::rms_norm(given, args)?,
        Op::FastRope => fused::rope(one(given)?, args)?,
        Op::FastScaledDotProductAttention => fused::attention(given, args)?,

        // One element in, one out.
        Op::Abs => unary(given, |x| ops::abs(x))?,
        Op::Exp => unary(given, |x| ops::exp(x))?,
        Op::Expm1 => unary(given, |x| ops::expm1(x))?,
        Op::Log => unary(given, |x| ops::log(x))?,
        Op::Log1p => unary(given, |x| ops::log1p(x))?,
        Op::Log2 => unary(given, |x| ops::log2(x))?,
        Op::Log10 => unary(given, |x| ops::log10(x))?,
        Op::Sqrt => unary(given, |x| ops::sqrt(x))?,
        Op::Rsqrt => unary(given, |x| ops::rsqrt(x))?,
        Op::Square => unary(given, |x| ops::square(x))?,
        Op::Sigmoid | Op::NnSigmoid => unary(given, |x| ops::sigmoid(x))?,
        Op::Tanh | Op::NnTanh => unary(given, |x| ops::tanh(x))?,
        Op::Erf => unary(given, |x| ops::erf(x))?,
        Op::Sin => unary(given, |x| ops::sin(x))?,
        Op::Cos => unary(given, |x| ops::cos(x))?,
        Op::Tan => unary(given, |x| ops::tan(x))?,
        Op::Arcsin => unary(given, |x| ops::asin(x))?,
        Op::Arccos => unary(given, |x| ops::acos(x))?,
        Op::Arctan => unary(given, |x| ops::atan(x))?,
        Op::Sinh => unary(given, |x| ops::sinh(x))?,
        Op::Cosh => unary(given, |x| ops::cosh(x))?,
        Op::Arcsinh => unary(given, |x| ops::asinh(x))?,
        Op::Arccosh => unary(given, |x| ops::acosh(x))?,
        Op::Arctanh => unary(given, |x| ops::atanh(x))?,
        Op::Erfinv => unary(given, |x| ops::erfinv(x))?,
        Op::Conjugate => integers::conjugate(one(given)?)?,
        Op::Negative => unary(given, |x| ops::negative(x))?,
        Op::Floor => unary(given, |x| ops::floor(x))?,
        Op::Ceil => unary(given, |x| ops::ceil(x))?,
        Op::Trunc => one(given)?.trunc()?,
        Op::Round => ops::round(one(given)?, int32(args.integer_or("decimals", 0)?, "decimals")?)?,
        Op::Sign => unary(given, |x| ops::sign(x))?,
        Op::Reciprocal => unary(given, |x| ops::reciprocal(x))?,
        Op::LogicalNot => unary(given, |x| ops::logical_not(x))?,
        Op::Isnan => unary(given, |x| ops::is_nan(x))?,
        Op::Isinf => unary(given, |x| ops::is_inf(x))?,
        Op::Isfinite => one(given)?.is_finite()?,
        Op::Real => one(given)?.real()?,
        Op::Imag => one(given)?.imag()?,
        Op::ToFp8 => one(given)?.to_fp8()?,
        Op::FromFp8 => one(given)?.from_fp8(dtype(args.text_or("dtype", "bfloat16")?)?)?,
        Op::Add => binary(given, |a, b| ops::add(a, b))?,
        Op::Subtract => binary(given, |a, b| ops::subtract(a, b))?,
        Op::Multiply => binary(given, |a, b| ops::multiply(a, b))?,
        Op::Divide => binary(given, |a, b| ops::divide(a, b))?,
        Op::Power => binary(given, |a, b| ops::power(a, b))?,
        Op::Remainder => binary(given, |a, b| ops::remainder(a, b))?,
        Op::FloorDivide => binary(given, |a, b| ops::floor_divide(a, b))?,
        Op::Logaddexp => binary(given, |a, b| ops::logaddexp(a, b))?,
        Op::Arctan2 => binary(given, |a, b| ops::atan2(a, b))?,
        Op::Greater => binary(given, |a, b| ops::gt(a, b))?,
        Op::GreaterEqual => binary(given, |a, b| ops::ge(a, b))?,
        Op::Less => binary(given, |a, b| ops::lt(a, b))?,
        Op::LessEqual => binary(given, |a, b| ops::le(a, b))?,
        Op::Equal => binary(given, |a, b| ops::eq(a, b))?,
        Op::NotEqual => binary(given, |a, b| ops::ne(a, b))?,
        Op::LogicalAnd => binary(given, |a, b| ops::logical_and(a, b))?,
        Op::LogicalOr => binary(given, |a, b| ops::logical_or(a, b))?,
        Op::BitwiseAnd | Op::BitwiseOr | Op::BitwiseXor | Op::LeftShift | Op::RightShift => {
            let [a, b] = two(given)?;
            integers::bits(op, &a, &b)?
        }
        Op::BitwiseInvert => integers::inverted(one(given)?)?,

        // mlx.nn, by mlx-rs where it has them.
        Op::NnRelu => unary(given, |x| nn::relu(x))?,
        Op::NnRelu6 => unary(given, |x| nn::relu6(x))?,
        Op::NnSilu => unary(given, |x| nn::silu(x))?,
        Op::NnGelu => unary(given, |x| nn::gelu(x))?,
        Op::NnGeluApprox => unary(given, |x| nn::gelu_approximate(x))?,
        Op::NnGeluFastApprox => unary(given, |x| nn::gelu_fast_approximate(x))?,
        Op::NnSoftplus => unary(given, |x| nn::softplus(x))?,
        Op::NnSoftsign => unary(given, |x| nn::softsign(x))?,
        Op::NnMish => unary(given, |x| nn::mish(x))?,
        Op::NnSelu => unary(given, |x| nn::selu(x))?,
        Op::NnHardswish => unary(given, |x| nn::hard_swish(x))?,
        Op::NnLogSigmoid => unary(given, |x| nn::log_sigmoid(x))?,
        Op::NnElu => nn::elu(one(given)?, float32(args.number_or("alpha", 1.0)?))?,
        Op::NnCelu => nn::celu(one(given)?, float32(args.number_or("alpha", 1.0)?))?,
        Op::NnLeakyRelu => nn::leaky_relu(one(given)?, float32(args.number_or("negative_slope", 0.01)?))?,
        Op::NnLogSoftmax => nn::log_softmax(one(given)?, axis_or(args, -1)?)?,
        Op::NnGlu => nn::glu(one(given)?, axis_or(args, -1)?)?,
        Op::NnHardTanh => pick::hard_tanh(one(given)?, args)?,
        Op::NnPrelu => {
            let [x, alpha] = arrays(given)?;
            nn::prelu(x, alpha)?
        }
        Op::LossCrossEntropy => loss::cross_entropy(given, args)?,
        Op::LossNll => loss::nll(given, args)?,
        Op::LossMse => loss::mse(given, args)?,
        Op::LossL1 => loss::l1(given, args)?,
        Op::LossSmoothL1 => loss::smooth_l1(given, args)?,
        Op::LossHuber => loss::huber(given, args)?,
        Op::LossBinaryCrossEntropy => loss::binary_cross_entropy(given, args)?,
        Op::LossKlDiv => loss::kl_div(given, args)?,
        Op::LossGaussianNll => loss::gaussian_nll(given, args)?,
        Op::LossMarginRanking => loss::margin_ranking(given, args)?,
    };
    Ok(vec![result])
}

fn unary(given: &[Given], function: impl Fn(&Array) -> Computed) -> Result<Array> {
    Ok(function(one(given)?)?)
}

fn binary(given: &[Given], function: impl Fn(&Array, &Array) -> Computed) -> Result<Array> {
    let [a, b] = two(given)?;
    Ok(function(&a, &b)?)
}

fn one(given: &[Given]) -> Result<&Array> {
    match given {
        [Given::Array(array)] => Ok(array),
        _ => Err(Problem("one array is expected".to_owned())),
    }
}

fn list(given: &[Given]) -> Result<&[Array]> {
    match given {
        [Given::List(arrays)] => Ok(arrays),
        _ => Err(Problem("a list of arrays is expected".to_owned())),
    }
}

/// Exactly this many arrays.
fn arrays<const N: usize>(given: &[Given]) -> Result<[&Array; N]> {
    let all = given.iter().map(|one| if let Given::Array(array) = one { Some(array) } else { None });
    let all = all.collect::<Option<Vec<&Array>>>().and_then(|all| <[&Array; N]>::try_from(all).ok());
    all.ok_or_else(|| Problem(format!("{N} arrays are expected")))
}

/// No positional arguments.
fn nothing(given: &[Given]) -> Result<()> {
    if given.is_empty() { Ok(()) } else { Err(Problem("no array is expected".to_owned())) }
}

/// Two operands, of which one may be a plain number.
fn two(given: &[Given]) -> Result<[Array; 2]> {
    match given {
        [Given::Array(a), Given::Array(b)] => Ok([a.clone(), b.clone()]),
        [Given::Array(a), Given::Number(b)] => Ok([a.clone(), weak(*b, a)?]),
        [Given::Number(a), Given::Array(b)] => Ok([weak(*a, b)?, b.clone()]),
        _ => Err(Problem("two operands are expected".to_owned())),
    }
}

/// A plain number in the dtype of its partner.
fn weak(number: f64, other: &Array) -> Result<Array> {
    let dtype = other.dtype();
    let is_whole = !dtype.is_float() && !matches!(dtype, Dtype::Bool | Dtype::Complex64);
    if is_whole && number.fract() == 0.0 && number.abs() < 2f64.powi(53) {
        return Ok(Array::from_slice(&[number as i64], &[]).as_dtype(dtype)?);
    }
    let scalar = Array::from_f32(float32(number));
    // The fraction of infinity is NaN.
    let keeps = dtype.is_float() || (number.fract() == 0.0 && dtype != Dtype::Bool);
    Ok(if keeps { scalar.as_dtype(dtype)? } else { scalar })
}

fn axis(args: &Args<'_>, name: &str) -> Result<i32> {
    int32(args.integer(name)?, name)
}

fn integers(args: &Args<'_>, name: &str) -> Result<Vec<i32>> {
    args.list(name)?.into_iter().map(|number| int32(number, name)).collect()
}

/// `axis` as one axis or several, `None` for all of them.
fn axes_or_none(args: &Args<'_>) -> Result<Option<Vec<i32>>> {
    let axes = args.list_or_none("axis")?;
    axes.map(|axes| axes.into_iter().map(|axis| int32(axis, "axis")).collect()).transpose()
}

/// The argument `axis`, or this default.
fn axis_or(args: &Args<'_>, otherwise: i32) -> Result<i32> {
    int32(args.integer_or("axis", i64::from(otherwise))?, "axis")
}
