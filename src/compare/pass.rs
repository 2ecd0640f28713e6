//! Three results of one shape in one pass over their bytes: torch's in float32 and in float64, and MLX's.
//!
//! The pass goes by blocks. Within a block the sums run in lanes, which the compiler turns into vector instructions; a block with a
//! number that is none is done again, element by element.

use std::array;

use super::statistics::distance;
use t2m_checkpoint::{Dtype, TensorData};

/// What is said of three results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Largest |torch − MLX|; infinite where exactly one is NaN, or infinities differ.
    pub max_abs: f64,
    /// Where it is.
    pub worst: usize,
    /// Mean |torch − MLX|.
    pub mean_abs: f64,
    /// Cosine of the two as vectors; 1 where both are zero.
    pub cosine: f64,
    /// Largest finite |torch|.
    pub scale: f64,
    /// Whether torch's has a finite number at all.
    pub any_finite: bool,
    /// Largest distance of torch's float32 from its float64, over the places where both are finite: an overflow in float32 says
    /// nothing of rounding.
    pub torch_vs_f64: f64,
    /// The same of MLX.
    pub mlx_vs_f64: f64,
}

/// Elements of a block: three of them fit into a core's first cache.
pub(super) const BLOCK: usize = 1024;
/// Sums that run side by side.
const LANES: usize = 8;

/// Compare three results of the same length; `exact` is torch's own float32 where there is no other.
///
/// # Errors
/// The type whose numbers are not read.
pub fn pass(torch: &TensorData, exact: Option<&TensorData>, mlx: &TensorData) -> Result<Pass, Dtype> {
    run(torch, exact, mlx, Overflow::Ignored)
}

/// As [`pass`], but distances from float64 count everywhere: infinite where one of the two is NaN, or infinite alone.
///
/// # Errors
/// The type whose numbers are not read.
pub fn pass_everywhere(torch: &TensorData, exact: &TensorData, mlx: &TensorData) -> Result<Pass, Dtype> {
    run(torch, Some(exact), mlx, Overflow::Counted)
}

/// What a number that is none, on one side alone, is in the distance from float64.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Overflow {
    /// Nothing.
    Ignored,
    /// Infinity.
    Counted,
}

fn run(torch: &TensorData, exact: Option<&TensorData>, mlx: &TensorData, overflow: Overflow) -> Result<Pass, Dtype> {
    let [torch, mlx] = [Numbers::of(torch)?, Numbers::of(mlx)?];
    let exact = exact.map(Numbers::of).transpose()?;
    let length = torch.len().min(mlx.len());
    let mut sums = Sums::default();
    let mut blocks: [[f64; BLOCK]; 3] = [[0.0; BLOCK]; 3];
    for start in (0..length).step_by(BLOCK) {
        let count = BLOCK.min(length - start);
        let [a, b, e] = &mut blocks;
        let (a, b, e) = (&mut a[..count], &mut b[..count], &mut e[..count]);
        torch.read(start, a);
        mlx.read(start, b);
        match &exact {
            Some(exact) => exact.read(start, e),
            None => e.copy_from_slice(a),
        }
        sums.block(start, [a, b, e], overflow);
    }
    Ok(sums.finish(length))
}

/// The numbers of a tensor, wherever they lie in memory.
pub(super) enum Numbers<'a> {
    Single(&'a [u8]),
    Double(&'a [u8]),
    Other(Vec<f64>),
}

impl Numbers<'_> {
    pub fn of(tensor: &TensorData) -> Result<Numbers<'_>, Dtype> {
        Ok(match tensor.dtype {
            Dtype::Float32 => Numbers::Single(&tensor.bytes),
            Dtype::Float64 => Numbers::Double(&tensor.bytes),
            other => Numbers::Other(tensor.to_f64().ok_or(other)?),
        })
    }

    pub fn len(&self) -> usize {
        match self {
            Numbers::Single(bytes) => bytes.len() / size_of::<f32>(),
            Numbers::Double(bytes) => bytes.len() / size_of::<f64>(),
            Numbers::Other(values) => values.len(),
        }
    }

    /// Those from a place on, as many as there are.
    pub fn read(&self, start: usize, into: &mut [f64]) {
        match self {
            Numbers::Single(bytes) => {
                let (all, _) = bytes.as_chunks::<4>();
                for (slot, bytes) in into.iter_mut().zip(all.get(start..).unwrap_or_default()) {
                    *slot = f64::from(f32::from_le_bytes(*bytes));
                }
            }
            Numbers::Double(bytes) => {
                let (all, _) = bytes.as_chunks::<8>();
                for (slot, bytes) in into.iter_mut().zip(all.get(start..).unwrap_or_default()) {
                    *slot = f64::from_le_bytes(*bytes);
                }
            }
            Numbers::Other(values) => {
                for (slot, value) in into.iter_mut().zip(values.get(start..).unwrap_or_default()) {
                    *slot = *value;
                }
            }
        }
    }
}

/// Sums of the blocks so far.
#[derive(Default)]
struct Sums {
    max_abs: f64,
    worst: usize,
    apart: f64,
    dot: f64,
    norms: [f64; 2],
    scale: f64,
    any_finite: bool,
    torch_vs_f64: f64,
    mlx_vs_f64: f64,
}

impl Sums {
    fn block(&mut self, start: usize, [torch, mlx, exact]: [&[f64]; 3], overflow: Overflow) {
        let lanes = Lanes::of(torch, mlx, exact);
        // A NaN or an infinity in either is in the sum of squares, one in float64 in its own sum.
        if !lanes.is_finite() {
            for (at, ((&a, &b), &e)) in torch.iter().zip(mlx).zip(exact).enumerate() {
                self.element(start + at, [a, b, e], overflow);
            }
            return;
        }
        self.any_finite = true;
        if lanes.max_abs > self.max_abs {
            self.max_abs = lanes.max_abs;
            let at = torch.iter().zip(mlx).position(|(a, b)| (a - b).abs() == lanes.max_abs);
            self.worst = start + at.unwrap_or(0);
        }
        self.apart += lanes.apart;
        self.dot += lanes.dot;
        self.norms[0] += lanes.norms[0];
        self.norms[1] += lanes.norms[1];
        self.scale = self.scale.max(lanes.scale);
        self.torch_vs_f64 = self.torch_vs_f64.max(lanes.torch_vs_f64);
        self.mlx_vs_f64 = self.mlx_vs_f64.max(lanes.mlx_vs_f64);
    }

    fn element(&mut self, at: usize, [torch, mlx, exact]: [f64; 3], overflow: Overflow) {
        let apart = distance(torch, mlx);
        if apart > self.max_abs {
            (self.max_abs, self.worst) = (apart, at);
        }
        self.apart += apart;
        if torch.is_finite() {
            self.scale = self.scale.max(torch.abs());
            self.any_finite = true;
        }
        if torch.is_finite() && mlx.is_finite() {
            self.dot += torch * mlx;
            self.norms[0] += torch * torch;
            self.norms[1] += mlx * mlx;
        }
        let counts = |value: f64| overflow == Overflow::Counted || (exact.is_finite() && value.is_finite());
        if counts(torch) {
            self.torch_vs_f64 = self.torch_vs_f64.max(distance(exact, torch));
        }
        if counts(mlx) {
            self.mlx_vs_f64 = self.mlx_vs_f64.max(distance(exact, mlx));
        }
    }

    fn finish(&self, length: usize) -> Pass {
        let [a, b] = self.norms;
        let cosine = match (a == 0.0, b == 0.0) {
            (true, true) => 1.0,
            (false, false) => (self.dot / (a.sqrt() * b.sqrt())).clamp(-1.0, 1.0),
            _ => 0.0,
        };
        Pass {
            max_abs: self.max_abs,
            worst: self.worst,
            mean_abs: if length == 0 { 0.0 } else { self.apart / length as f64 },
            cosine,
            scale: self.scale,
            any_finite: self.any_finite,
            torch_vs_f64: self.torch_vs_f64,
            mlx_vs_f64: self.mlx_vs_f64,
        }
    }
}

/// One block without regard to numbers that are none.
struct Lanes {
    max_abs: f64,
    apart: f64,
    dot: f64,
    norms: [f64; 2],
    scale: f64,
    torch_vs_f64: f64,
    mlx_vs_f64: f64,
    exact: f64,
}

impl Lanes {
    fn of(torch: &[f64], mlx: &[f64], exact: &[f64]) -> Lanes {
        let mut lanes = [[0.0f64; LANES]; 9];
        let [max_abs, apart, dot, norm_torch, norm_mlx, scale, torch_off, mlx_off, exacts] = &mut lanes;
        let mut add = |torch: &[f64; LANES], mlx: &[f64; LANES], exact: &[f64; LANES]| {
            for lane in 0..LANES {
                let (a, b, e) = (torch[lane], mlx[lane], exact[lane]);
                let difference = (a - b).abs();
                raise(&mut max_abs[lane], difference);
                apart[lane] += difference;
                dot[lane] += a * b;
                norm_torch[lane] += a * a;
                norm_mlx[lane] += b * b;
                raise(&mut scale[lane], a.abs());
                raise(&mut torch_off[lane], (e - a).abs());
                raise(&mut mlx_off[lane], (e - b).abs());
                exacts[lane] += e.abs();
            }
        };
        let ((a, a_rest), (b, b_rest), (e, e_rest)) =
            (torch.as_chunks::<LANES>(), mlx.as_chunks::<LANES>(), exact.as_chunks::<LANES>());
        for ((a, b), e) in a.iter().zip(b).zip(e) {
            add(a, b, e);
        }
        // Zeros in the place of what is not there change nothing.
        let filled = |rest: &[f64]| array::from_fn(|lane| rest.get(lane).copied().unwrap_or(0.0));
        add(&filled(a_rest), &filled(b_rest), &filled(e_rest));
        let sum = |lanes: &[f64; LANES]| lanes.iter().sum::<f64>();
        let most = |lanes: &[f64; LANES]| lanes.iter().copied().fold(0.0, f64::max);
        Lanes {
            max_abs: most(max_abs),
            apart: sum(apart),
            dot: sum(dot),
            norms: [sum(norm_torch), sum(norm_mlx)],
            scale: most(scale),
            torch_vs_f64: most(torch_off),
            mlx_vs_f64: most(mlx_off),
            exact: sum(exacts),
        }
    }

    /// Whether no element was NaN or infinite. Squares that overflow say no as well, and are done again.
    fn is_finite(&self) -> bool {
        (self.norms[0] + self.norms[1] + self.exact + self.apart).is_finite()
    }
}

/// As `f64::max` without its rule for NaN, which vector instructions do not have.
pub(super) fn raise(most: &mut f64, value: f64) {
    if value > *most {
        *most = value;
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::compare::statistics::difference;
    use crate::compare::tolerance::scale;

    fn double(values: &[f64]) -> TensorData {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorData { dtype: Dtype::Float64, shape: vec![values.len()], bytes }
    }

    /// By the definition, one after the other.
    fn plainly(torch: &[f32], exact: &[f64], mlx: &[f32]) -> Pass {
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let (torch, mlx) = (wide(torch), wide(mlx));
        let apart = difference(&torch, &mlx, 0.0);
        let off = |values: &[f64]| {
            let both = exact.iter().zip(values).filter(|(a, b)| a.is_finite() && b.is_finite());
            both.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        Pass {
            max_abs: apart.max_abs,
            worst: apart.worst,
            mean_abs: apart.mean_abs,
            cosine: apart.cosine,
            scale: scale(&torch),
            any_finite: torch.iter().any(|value| value.is_finite()),
            torch_vs_f64: off(&torch),
            mlx_vs_f64: off(&mlx),
        }
    }

    pub(in crate::compare) fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            200 => -10f32..10.0,
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
            1 => Just(f32::MAX),
            3 => Just(0.0),
        ]
    }

    proptest! {
        #[test]
        fn a_pass_says_what_the_definition_says(
            torch in proptest::collection::vec(number(), 0..3000),
            seed in 0u64..1000,
        ) {
            let turn = |at: usize, scale: f32| ((at as u64 * 2_654_435_761 + seed) % 1000) as f32 / 1000.0 * scale;
            let mlx: Vec<f32> = torch.iter().enumerate().map(|(at, value)| value + turn(at, 1e-3)).collect();
            let exact: Vec<f64> =
                torch.iter().enumerate().map(|(at, value)| f64::from(*value) + f64::from(turn(at + 7, 1e-6))).collect();
            let tensor = |values: &[f32]| TensorData::from_f32(&[values.len()], values);
            let found = pass(&tensor(&torch), Some(&double(&exact)), &tensor(&mlx)).unwrap();
            let everywhere = pass_everywhere(&tensor(&torch), &double(&exact), &tensor(&mlx)).unwrap();
            let wanted = plainly(&torch, &exact, &mlx);
            let same = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
            prop_assert_eq!((found.max_abs, found.worst, found.scale), (wanted.max_abs, wanted.worst, wanted.scale));
            prop_assert_eq!((found.torch_vs_f64, found.mlx_vs_f64), (wanted.torch_vs_f64, wanted.mlx_vs_f64));
            prop_assert_eq!(found.any_finite, wanted.any_finite);
            let off = |values: &[f32]| {
                let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
                difference(&exact, &wide, 0.0).max_abs
            };
            prop_assert_eq!((everywhere.torch_vs_f64, everywhere.mlx_vs_f64), (off(&torch), off(&mlx)));
            let Pass { torch_vs_f64, mlx_vs_f64, .. } = found;
            prop_assert_eq!(Pass { torch_vs_f64, mlx_vs_f64, ..everywhere }, found);
            prop_assert!(same(found.mean_abs, wanted.mean_abs) && (found.cosine - wanted.cosine).abs() < 1e-12, "{found:?} {wanted:?}");
        }
    }

    #[test]
    fn whole_numbers_and_truth_values_are_numbers() {
        let places = TensorData::from_i64(&[3], &[4, 5, 6]);
        let found = pass(&places, None, &TensorData::from_i64(&[3], &[4, 7, 6])).unwrap();
        assert_eq!((found.max_abs, found.worst, found.scale, found.torch_vs_f64), (2.0, 1, 6.0, 0.0));
        let text = TensorData { dtype: Dtype::Unknown, shape: vec![0], bytes: Vec::new() };
        assert_eq!(pass(&text, None, &text), Err(Dtype::Unknown));
    }
}
