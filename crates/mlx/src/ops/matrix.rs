//! Decompositions and solutions of matrices, and Fourier transforms. MLX computes the former on the CPU alone.

use mlx_rs::fft::{self, FftnOptions};
use mlx_rs::{Array, Axes, Stream, linalg, with_stream};

use super::{Problem, Result, int32, integers};
use t2m_engine::args::Args;
use t2m_engine::program::MlxOp as Op;

/// MLX divides by zero where there is no matrix, or none with elements, and its process ends.
fn filled(a: &Array) -> Result<()> {
    if a.size() == 0 { Err(Problem("MLX takes no empty matrices".to_owned())) } else { Ok(()) }
}

/// Functions of one matrix, or of several, with one result.
pub(super) fn one(op: Op, a: &Array, args: &Args<'_>) -> Result<Array> {
    filled(a)?;
    let upper = || args.flag_or("upper", false);
    let uplo = || args.text_or("UPLO", "L");
    with_stream(&Stream::cpu(), || {
        Ok(match op {
            Op::LinalgInv => linalg::inv(a)?,
            Op::LinalgTriInv => linalg::tri_inv(a, Some(upper()?))?,
            Op::LinalgCholesky => linalg::cholesky(a, Some(upper()?))?,
            Op::LinalgCholeskyInv => linalg::cholesky_inv(a, Some(upper()?))?,
            Op::LinalgEigvalsh => linalg::eigvalsh(a, Some(uplo()?))?,
            Op::LinalgEigvals => linalg::eigvals(a)?,
            Op::LinalgPinv => linalg::pinv(a)?,
            Op::LinalgDet => linalg::det(a)?,
            _ => return Err(Problem("that is no function of one matrix".to_owned())),
        })
    })
}

/// Those with several results.
pub(super) fn several(op: Op, a: &Array, args: &Args<'_>) -> Result<Vec<Array>> {
    filled(a)?;
    let pair = |(a, b): (Array, Array)| vec![a, b];
    let triple = |(a, b, c): (Array, Array, Array)| vec![a, b, c];
    with_stream(&Stream::cpu(), || {
        Ok(match op {
            Op::LinalgQr => pair(linalg::qr(a)?),
            Op::LinalgSvd => triple(linalg::svd(a)?),
            Op::LinalgEigh => pair(linalg::eigh(a, Some(args.text_or("UPLO", "L")?))?),
            Op::LinalgEig => pair(linalg::eig(a)?),
            Op::LinalgLu => triple(linalg::lu(a)?),
            Op::LinalgLuFactor => pair(linalg::lu_factor(a)?),
            Op::LinalgSlogdet => {
                let both = linalg::slogdet(a)?;
                vec![both.sign, both.log_abs_det]
            }
            _ => return Err(Problem("that is no decomposition".to_owned())),
        })
    })
}

/// Functions of two arrays.
pub(super) fn two(op: Op, [a, b]: [&Array; 2], args: &Args<'_>) -> Result<Array> {
    filled(a)?;
    filled(b)?;
    with_stream(&Stream::cpu(), || {
        Ok(match op {
            Op::LinalgSolve => linalg::solve(a, b)?,
            Op::LinalgSolveTriangular => linalg::solve_triangular(a, b, Some(args.flag_or("upper", false)?))?,
            Op::LinalgCross => linalg::cross(a, b, Some(int32(args.integer_or("axis", -1)?, "axis")?))?,
            _ => return Err(Problem("that is no function of two matrices".to_owned())),
        })
    })
}

/// Transforms over these axes, or all; `s` are their sizes, to which the input is cut or padded.
pub(super) fn fourier(op: Op, x: &Array, args: &Args<'_>) -> Result<Array> {
    let given = |name: &str| -> Result<Option<Vec<i32>>> {
        if args.has(name) && !args.is_none(name)? { integers(args, name).map(Some) } else { Ok(None) }
    };
    let options = FftnOptions { lengths: given("s")?, axes: given("axes")?.map_or(Axes::All, Axes::Axes) };
    Ok(match op {
        Op::FftFftn => fft::fftn(x, options)?,
        Op::FftIfftn => fft::ifftn(x, options)?,
        Op::FftRfftn => fft::rfftn(x, options)?,
        Op::FftIrfftn => fft::irfftn(x, options)?,
        _ => return Err(Problem("that is no Fourier transform".to_owned())),
    })
}
