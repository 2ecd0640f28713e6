//! Upsampling, as `interpolate` does it.

use tch::Tensor;

use super::tensor::length;
use super::{Built, Forward, Problem, inputs, single};
use t2m_engine::args::Args;

/// The class `torch.nn.modules.upsampling.*`; inputs `[N, C, *]` with one to three axes that change.
pub(super) fn build(class: &str, args: &Args<'_>) -> Built {
    match class {
        "Upsample" | "UpsamplingNearest2d" | "UpsamplingBilinear2d" => resize(args).map(Some),
        _ => Ok(None),
    }
}

/// What determines the output's sizes, and whether libtorch gets the factor itself. A list has to fit the input.
#[derive(Clone)]
enum Target {
    Sizes(Vec<i64>),
    Size(i64),
    Factors { factors: Vec<f64>, recompute: bool },
    Factor { factor: f64, recompute: bool },
}

/// What libtorch gets: sizes, and for each axis the factor if positions follow from it and not from the sizes.
struct Scale {
    sizes: Vec<i64>,
    factors: Vec<Option<f64>>,
}

fn resize(args: &Args<'_>) -> Result<Forward, Problem> {
    let mode = args.text("mode")?.to_owned();
    let corners = args.flag_or_none("align_corners")?;
    let interpolates = matches!(mode.as_str(), "linear" | "bilinear" | "bicubic" | "trilinear");
    if !interpolates && !matches!(mode.as_str(), "nearest" | "nearest-exact" | "area") {
        return Err(args.wrong("mode", "one that nn.Upsample has").into());
    }
    if !interpolates && corners.is_some() {
        return Err(args.wrong("align_corners", &format!("null as the mode {mode} needs it")).into());
    }
    let target = target(args, &mode)?;
    Ok(single(move |_, given| {
        let [input] = inputs(given)?;
        let scale = target.scale(input)?;
        if interpolates {
            interpolated(input, &mode, &scale, corners.unwrap_or(false))
        } else {
            copied(input, &mode, &scale)
        }
    }))
}

fn target(args: &Args<'_>, mode: &str) -> Result<Target, Problem> {
    let given = |name: &str| -> Result<bool, String> { Ok(args.has(name) && !args.is_none(name)?) };
    let recompute = args.flag_or_none("recompute_scale_factor")?.unwrap_or(false);
    let count = |name: &str| -> Result<Option<usize>, String> { Ok(args.get(name)?.as_array().map(Vec::len)) };
    match (given("size")?, given("scale_factor")?) {
        (true, false) if recompute => Err(args.wrong("recompute_scale_factor", "false beside a size").into()),
        (true, false) => Ok(match count("size")? {
            Some(count) => Target::Sizes(args.integers("size", count)?),
            None => Target::Size(args.integer("size")?),
        }),
        (false, true) => {
            // Averages over areas only use sizes.
            let recompute = recompute || mode == "area";
            Ok(match count("scale_factor")? {
                Some(count) => Target::Factors { factors: args.numbers("scale_factor", count)?, recompute },
                None => Target::Factor { factor: args.number("scale_factor")?, recompute },
            })
        }
        _ => Err(Problem("one of size and scale_factor has to be given".to_owned())),
    }
}

impl Target {
    fn scale(&self, input: &Tensor) -> Result<Scale, Problem> {
        let count = match input.dim() {
            axes @ 3..=5 => axes - 2,
            axes => return Err(Problem(format!("the layer takes an input of 3 to 5 axes, not {axes}"))),
        };
        let (factors, recompute) = match self.clone() {
            Target::Size(size) => return Ok(Scale { sizes: vec![size; count], factors: vec![None; count] }),
            Target::Sizes(sizes) if sizes.len() == count => return Ok(Scale { sizes, factors: vec![None; count] }),
            Target::Factor { factor, recompute } => (vec![factor; count], recompute),
            Target::Factors { factors, recompute } if factors.len() == count => (factors, recompute),
            _ => return Err(Problem(format!("the sizes do not fit an input of shape {:?}", input.size()))),
        };
        // The float's integer part, as in C++ and Python's int.
        let size = |(axis, factor): (usize, &f64)| -> Result<i64, Problem> {
            Ok((length(input, axis as i64 + 2)? as f64 * factor) as i64)
        };
        let sizes = factors.iter().enumerate().map(size).collect::<Result<_, _>>()?;
        let given = |factor| if recompute { None } else { Some(factor) };
        Ok(Scale { sizes, factors: factors.into_iter().map(given).collect() })
    }
}

/// Modes that copy or average elements.
fn copied(input: &Tensor, mode: &str, scale: &Scale) -> Result<Tensor, Problem> {
    let sizes = &scale.sizes;
    Ok(match (mode, scale.factors.as_slice()) {
        ("nearest", &[x]) => input.f_upsample_nearest1d(sizes, x)?,
        ("nearest", &[y, x]) => input.f_upsample_nearest2d(sizes, y, x)?,
        ("nearest", &[z, y, x]) => input.f_upsample_nearest3d(sizes, z, y, x)?,
        ("nearest-exact", &[x]) => input.f_internal_upsample_nearest_exact1d(sizes, x)?,
        ("nearest-exact", &[y, x]) => input.f_internal_upsample_nearest_exact2d(sizes, y, x)?,
        ("nearest-exact", &[z, y, x]) => input.f_internal_upsample_nearest_exact3d(sizes, z, y, x)?,
        ("area", &[_]) => input.f_adaptive_avg_pool1d(sizes)?,
        ("area", &[_, _]) => input.f_adaptive_avg_pool2d(sizes)?,
        ("area", &[_, _, _]) => input.f_adaptive_avg_pool3d(sizes)?,
        _ => return Err(unfit(input, mode)),
    })
}

/// Modes that mix neighbours; each is for one number of axes.
fn interpolated(input: &Tensor, mode: &str, scale: &Scale, corners: bool) -> Result<Tensor, Problem> {
    let sizes = &scale.sizes;
    Ok(match (mode, scale.factors.as_slice()) {
        ("linear", &[x]) => input.f_upsample_linear1d(sizes, corners, x)?,
        ("bilinear", &[y, x]) => input.f_upsample_bilinear2d(sizes, corners, y, x)?,
        ("bicubic", &[y, x]) => input.f_upsample_bicubic2d(sizes, corners, y, x)?,
        ("trilinear", &[z, y, x]) => input.f_upsample_trilinear3d(sizes, corners, z, y, x)?,
        _ => return Err(unfit(input, mode)),
    })
}

fn unfit(input: &Tensor, mode: &str) -> Problem {
    Problem(format!("the mode {mode} does not take an input of {} axes", input.dim()))
}
