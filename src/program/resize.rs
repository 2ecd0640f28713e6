//! Where each place of a resized axis comes from, as torch has it (ATen/native/UpSample.h and UpSampleKernel.cpp).

/// How values between places are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The nearest place, by its lower edge.
    Nearest,
    /// The nearest place, by its middle.
    NearestExact,
    /// Between two.
    Linear,
    /// Between four.
    Cubic,
    /// Over all that shrink to one, by a triangle.
    LinearSmooth,
    /// Over all that shrink to one, by a cubic.
    CubicSmooth,
}

impl Mode {
    /// As rows name it.
    pub fn named(name: &str) -> Option<Mode> {
        Some(match name {
            "nearest" => Mode::Nearest,
            "nearest_exact" => Mode::NearestExact,
            "linear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            "linear_aa" => Mode::LinearSmooth,
            "cubic_aa" => Mode::CubicSmooth,
            _ => return None,
        })
    }
}

/// An axis that is resized.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Places it has.
    pub length: usize,
    /// Places it gets.
    pub wanted: usize,
    /// The factor, where it was asked for by one.
    pub factor: Option<f64>,
    /// Whether the outermost places stay where they are.
    pub align: bool,
}

/// Torch's cubic between places, and the one of its smoothing.
const CUBIC: f64 = -0.75;
const CUBIC_SMOOTH: f64 = -0.5;

impl Scale {
    /// Places of the input for one of the output.
    fn ratio(self) -> f64 {
        if self.align {
            return if self.wanted > 1 { (self.length as f64 - 1.0) / (self.wanted as f64 - 1.0) } else { 0.0 };
        }
        match self.factor.filter(|factor| *factor > 0.0) {
            Some(factor) => 1.0 / factor,
            None => self.length as f64 / self.wanted as f64,
        }
    }

    /// The place that each comes from, in float32 as torch computes it, by this point of each place.
    pub fn nearest(self, shift: f32) -> Vec<i64> {
        let ratio = match self.factor.filter(|factor| *factor > 0.0) {
            Some(factor) => (1.0 / factor) as f32,
            None => self.length as f32 / self.wanted as f32,
        };
        let last = self.length.saturating_sub(1) as i64;
        (0..self.wanted).map(|at| (((at as f32 + shift) * ratio).floor() as i64).min(last)).collect()
    }

    /// A matrix, row by row, from the places that there are to those that are wanted. `None` for nearest places.
    pub fn weights(self, mode: Mode) -> Option<Vec<f64>> {
        let mut matrix = vec![0.0; self.length * self.wanted];
        for (at, row) in matrix.chunks_mut(self.length.max(1)).enumerate() {
            match mode {
                Mode::Nearest | Mode::NearestExact => return None,
                Mode::Linear => self.linear(at, row),
                Mode::Cubic => self.cubic(at, row),
                Mode::LinearSmooth => self.smooth(at, row, 1.0, |x| (1.0 - x.abs()).max(0.0)),
                Mode::CubicSmooth => self.smooth(at, row, 2.0, |x| cubic_weight(x, CUBIC_SMOOTH)),
            }
        }
        Some(matrix)
    }

    fn source(self, at: usize) -> f64 {
        let ratio = self.ratio();
        if self.align { at as f64 * ratio } else { (at as f64 + 0.5) * ratio - 0.5 }
    }

    fn linear(self, at: usize, row: &mut [f64]) {
        let source = self.source(at).max(0.0);
        let low = (source.floor() as usize).min(self.length - 1);
        let high = (low + 1).min(self.length - 1);
        let share = (source - low as f64).clamp(0.0, 1.0);
        row[low] += 1.0 - share;
        row[high] += share;
    }

    fn cubic(self, at: usize, row: &mut [f64]) {
        let source = self.source(at);
        let low = source.floor();
        for step in -1..=2i64 {
            let place = (low as i64 + step).clamp(0, self.length as i64 - 1);
            row[place as usize] += cubic_weight(source - low - step as f64, CUBIC);
        }
    }

    fn smooth(self, at: usize, row: &mut [f64], reach: f64, filter: impl Fn(f64) -> f64) {
        let ratio = self.ratio();
        let wide = ratio.max(1.0);
        let (support, centre) = (reach * wide, ratio * (at as f64 + 0.5));
        let first = ((centre - support + 0.5) as i64).max(0);
        let last = ((centre + support + 0.5) as i64).min(self.length as i64);
        let weights: Vec<f64> = (first..last).map(|place| filter((place as f64 - centre + 0.5) / wide)).collect();
        let total: f64 = weights.iter().sum();
        for (place, weight) in (first..).zip(weights) {
            if let Some(own) = usize::try_from(place).ok().and_then(|place| row.get_mut(place)) {
                *own = if total == 0.0 { 0.0 } else { weight / total };
            }
        }
    }
}

/// The cubic convolution kernel (Keys 1981) with this parameter.
fn cubic_weight(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}
