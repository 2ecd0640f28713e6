//! The gamma function's relatives, which MLX has not, as steps in float32.
//!
//! lgamma: from 8 on Stirling's series to x⁻⁵ (the next term is below 6e-4·8⁻⁷ = 3e-10). Below, lgamma(x + 1) = lgamma(x) + log x leads to
//! an argument y within ½ of 2, where Taylor's series in y − 2 has the coefficients (−1)ᵏ·(ζ(k) − 1)/k; after the thirteenth the terms
//! are below 4⁻¹⁴/14 = 3e-10. At the zeros 1 and 2 the result is as exact as its logarithm, relative to itself. Below 0 the reflection
//! log(π / |sin πx|) − lgamma(1 − x).
//!
//! digamma: ψ(x + 1) = ψ(x) + 1/x to an argument of 8 or more, and the asymptotic series to y⁻⁶ (the next term is 8⁻⁸/240 = 2e-10);
//! below 0 the reflection ψ(1 − x) − π / tan πx, which is NaN at whole numbers as torch's is.
//!
//! hurwitz: ζ(s, x) = Σ (x + k)⁻ˢ, the first terms added up and the rest by Euler and Maclaurin.
//!
//! What each adds up are terms of the size of 1 and of the result, so that an error is relative to the larger of the two: the class of
//! `approximate` ([`crate::compare::tolerance::Bound`]). Against float64, over [−31, 10⁴]: lgamma at most 1.8 roundings of the larger of the
//! result's scale and 1, digamma 9.4 between ½ and 1, where torch's own float32 is 9.5 off as well.

use serde_json::{Value, json};

use super::Lower;
use t2m_engine::program::Operand;

/// lgamma(2 + w) by powers of w, from the first.
const TAYLOR: [f64; 13] = [
    0.422_784_335_098_467_1,
    0.322_467_033_424_113_2,
    -0.067_352_301_053_198_1,
    0.020_580_808_427_784_5,
    -0.007_385_551_028_673_99,
    0.002_890_510_330_741_52,
    -0.001_192_753_911_703_26,
    0.000_509_669_524_743_042,
    -0.000_223_154_758_453_579,
    9.945_751_278_180_853e-5,
    -4.492_623_673_813_314e-5,
    2.050_721_277_567_069e-5,
    -9.439_488_275_268_397e-6,
];
/// ½·log 2π
const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_8;
/// How many terms of a Hurwitz series are added up one by one: it is right from −14 on.
const TERMS: usize = 24;

impl Lower<'_> {
    fn of_two(&mut self, call: &str, a: impl Into<Operand>, b: impl Into<Operand>) -> Operand {
        self.called(call, vec![a.into(), b.into()], json!({}))
    }

    fn of_one(&mut self, call: &str, a: &Operand) -> Operand {
        self.called(call, vec![a.clone()], json!({}))
    }

    fn add(&mut self, a: &Operand, b: impl Into<Operand>) -> Operand {
        self.of_two("mx.add", a.clone(), b)
    }

    fn less(&mut self, a: &Operand, b: impl Into<Operand>) -> Operand {
        self.of_two("mx.subtract", a.clone(), b)
    }

    fn times(&mut self, a: &Operand, b: impl Into<Operand>) -> Operand {
        self.of_two("mx.multiply", a.clone(), b)
    }

    fn choose(&mut self, is_so: &Operand, yes: impl Into<Operand>, no: impl Into<Operand>) -> Operand {
        self.called("mx.where", vec![is_so.clone(), yes.into(), no.into()], json!({}))
    }

    /// ((c₀·x + c₁)·x + …), from the last coefficient to the first.
    fn polynomial(&mut self, x: &Operand, coefficients: &[f64]) -> Operand {
        let mut all = coefficients.iter().rev();
        let mut sum = Operand::Number(all.next().copied().unwrap_or(0.0));
        for (at, coefficient) in all.enumerate() {
            let product = if at == 0 { self.times(x, sum) } else { self.times(&sum, x.clone()) };
            sum = self.add(&product, *coefficient);
        }
        sum
    }

    /// `lgamma(x)`
    pub(super) fn lgamma(&mut self, x: &Operand) -> Operand {
        let size = self.of_one("mx.abs", x);
        let right = self.lgamma_of_positive(&size);
        let mirrored = self.of_two("mx.subtract", 1.0, x.clone());
        let mirrored = self.lgamma_of_positive(&mirrored);
        let beside = self.beside_whole(x);
        let sine = self.of_one("mx.sin", &beside);
        let sine = self.of_one("mx.abs", &sine);
        let ratio = self.of_two("mx.divide", std::f64::consts::PI, sine);
        let log = self.of_one("mx.log", &ratio);
        let left = self.less(&log, mirrored);
        let is_left = self.of_two("mx.less", x.clone(), 0.0);
        let both = self.choose(&is_left, left, right);
        let is_infinite = self.of_one("mx.isinf", x);
        self.choose(&is_infinite, size, both)
    }

    /// π times what x is beside the nearest whole number.
    fn beside_whole(&mut self, x: &Operand) -> Operand {
        let whole = self.of_one("mx.round", x);
        let beside = self.less(x, whole);
        self.times(&beside, std::f64::consts::PI)
    }

    fn lgamma_of_positive(&mut self, x: &Operand) -> Operand {
        // Up by two or one, to ½ beside 2.
        let next = self.add(x, 1.0);
        let (is_small, is_low) = (self.of_two("mx.less", x.clone(), 0.5), self.of_two("mx.less", x.clone(), 1.5));
        let product = self.times(x, next.clone());
        let one = self.choose(&is_low, x.clone(), 1.0);
        let below = self.choose(&is_small, product, one);
        let after = self.add(x, 2.0);
        let up = self.choose(&is_low, next, x.clone());
        let mut y = self.choose(&is_small, after, up);
        // Down, by one at a time.
        let mut above = Operand::Number(1.0);
        for _ in 0..6 {
            let is_high = self.of_two("mx.greater_equal", y.clone(), 2.5);
            let lower = self.less(&y, 1.0);
            let product = self.of_two("mx.multiply", above.clone(), lower.clone());
            above = self.choose(&is_high, product, above);
            y = self.choose(&is_high, lower, y);
        }
        let w = self.less(&y, 2.0);
        let w = self.called("mx.clip", vec![w], json!({"a_min": -0.5, "a_max": 0.5}));
        let series = self.polynomial(&w, &TAYLOR);
        let series = self.times(&series, w);
        let (above, below) = (self.of_one("mx.log", &above), self.of_one("mx.log", &below));
        let near = self.add(&series, above);
        let near = self.less(&near, below);
        let z = self.of_one("mx.reciprocal", x);
        let square = self.times(&z, z.clone());
        let tail = self.polynomial(&square, &[1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0]);
        let tail = self.times(&tail, z);
        let tail = self.add(&tail, HALF_LOG_TWO_PI - 0.5);
        let log = self.of_one("mx.log", x);
        let (log, half) = (self.less(&log, 1.0), self.less(x, 0.5));
        let main = self.times(&half, log);
        let far = self.add(&main, tail);
        let is_near = self.of_two("mx.less", x.clone(), 8.0);
        self.choose(&is_near, near, far)
    }

    /// `digamma(x)`
    pub(super) fn digamma(&mut self, x: &Operand) -> Operand {
        let size = self.of_one("mx.abs", x);
        let right = self.digamma_of_positive(&size);
        let mirrored = self.of_two("mx.subtract", 1.0, x.clone());
        let mirrored = self.digamma_of_positive(&mirrored);
        let beside = self.beside_whole(x);
        let tangent = self.of_one("mx.tan", &beside);
        let ratio = self.of_two("mx.divide", std::f64::consts::PI, tangent);
        // 0/0 at whole numbers, 1 beside them.
        let hole = self.of_two("mx.divide", beside.clone(), beside);
        let ratio = self.times(&ratio, hole);
        let left = self.less(&mirrored, ratio);
        let is_left = self.of_two("mx.less", x.clone(), 0.0);
        self.choose(&is_left, left, right)
    }

    fn digamma_of_positive(&mut self, x: &Operand) -> Operand {
        let (mut y, mut sum) = (x.clone(), Operand::Number(0.0));
        for _ in 0..8 {
            let is_low = self.of_two("mx.less", y.clone(), 8.0);
            let inverse = self.of_one("mx.reciprocal", &y);
            let more = self.of_two("mx.add", inverse, sum.clone());
            sum = self.choose(&is_low, more, sum);
            let next = self.add(&y, 1.0);
            y = self.choose(&is_low, next, y);
        }
        let z = self.of_one("mx.reciprocal", &y);
        let square = self.times(&z, z.clone());
        let tail = self.polynomial(&square, &[1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0]);
        let tail = self.times(&tail, square);
        let half = self.times(&z, 0.5);
        let log = self.of_one("mx.log", &y);
        let most = self.less(&log, half);
        let most = self.less(&most, tail);
        self.less(&most, sum)
    }

    /// `polygamma(n, x)`, where n is known: (−1)ⁿ⁺¹·n!·ζ(n + 1, x).
    pub(super) fn polygamma(&mut self, n: &Value, x: &Operand) -> Option<Operand> {
        let n = n.as_u64()?;
        if n == 0 {
            return Some(self.digamma(x));
        }
        let zeta = self.hurwitz(n as f64 + 1.0, x);
        let factorial = (1..=n).map(|k| k as f64).product::<f64>();
        Some(self.times(&zeta, if n % 2 == 0 { -factorial } else { factorial }))
    }

    /// ζ(s, x), from x = −14 on; below it is NaN.
    fn hurwitz(&mut self, s: f64, x: &Operand) -> Operand {
        let mut sum = Operand::Number(0.0);
        for k in (0..TERMS).rev() {
            let y = if k == 0 { x.clone() } else { self.add(x, k as f64) };
            let term = self.inverse_power(&y, s as usize);
            sum = self.of_two("mx.add", term, sum);
        }
        let a = self.add(x, TERMS as f64);
        let z = self.of_one("mx.reciprocal", &a);
        let square = self.times(&z, z.clone());
        // a^(1−s)·(1/(s−1) + z/2 + s·z²/12 − s(s+1)(s+2)·z⁴/720)
        let tail = self.polynomial(&square, &[1.0 / (s - 1.0), s / 12.0, -s * (s + 1.0) * (s + 2.0) / 720.0]);
        let half = self.times(&z, 0.5);
        let tail = self.add(&tail, half);
        let power = self.inverse_power(&a, s as usize - 1);
        let tail = self.times(&tail, power);
        let whole = self.of_two("mx.add", sum, tail);
        let is_known = self.of_two("mx.greater", x.clone(), -14.0);
        // The logarithm of −1.
        let none = self.times(x, 0.0);
        let none = self.less(&none, 1.0);
        let none = self.of_one("mx.log", &none);
        self.choose(&is_known, whole, none)
    }

    /// x to the power of −n.
    fn inverse_power(&mut self, x: &Operand, n: usize) -> Operand {
        let z = self.of_one("mx.reciprocal", x);
        let mut power = z.clone();
        for _ in 1..n {
            power = self.times(&power, z.clone());
        }
        power
    }

    /// `permutation(pivots, rows, count)`: where each row comes from, after row after row was exchanged with the one that its pivot
    /// names. There are `count` pivots, and they begin at 1.
    pub(super) fn permutation(&mut self, pivots: &Operand, rows: &Value, count: &Value) -> Option<Operand> {
        let (rows, count) = (rows.as_i64()?, count.as_i64()?);
        let Operand::Name(name) = pivots else { return None };
        let shape = &self.forms.get(name)?.shape;
        let shape: Vec<i64> = shape.iter().rev().skip(1).rev().map(|size| *size as i64).chain([rows]).collect();
        let places = self.called("mx.arange", vec![], json!({"stop": rows, "dtype": "int32"}));
        let mut order = self.called("mx.broadcast_to", vec![places.clone()], json!({"shape": shape}));
        for at in 0..count {
            let column = |of: &mut Self, x: &Operand| {
                of.called("mx.take", vec![x.clone(), Operand::indices([at])], json!({"axis": -1}))
            };
            let (first, pivot) = (column(self, &order), column(self, pivots));
            let there = self.less(&pivot, Operand::indices([1]));
            let second = self.called("mx.take_along_axis", vec![order.clone(), there.clone()], json!({"axis": -1}));
            let is_there = self.of_two("mx.equal", places.clone(), there);
            let is_here = self.of_two("mx.equal", places.clone(), at as f64);
            let moved = self.choose(&is_there, first, order);
            order = self.choose(&is_here, second, moved);
        }
        Some(order)
    }
}
