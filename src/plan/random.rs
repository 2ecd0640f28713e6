//! Randomised parameters and buffers, for certifying a conversion.
//!
//! A fresh layer hides mistakes: a bias of zeros can be dropped, a norm's ones can be swapped, stored statistics of 0
//! and 1 can be forgotten. Every tensor is drawn at random, at a scale that keeps the layer's output near 1.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use t2m_checkpoint::TensorData;

/// A parameter or buffer of this name and shape: float32, and on every machine the same for the same seed.
pub fn tensor(name: &str, shape: &[usize], seed: u64) -> TensorData {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // FNV-1a of the name: each tensor has a stream of its own.
    random.set_stream(
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
    );
    let last = name.rsplit('.').next().unwrap_or(name);
    let fan_in: usize = shape.iter().skip(1).product();
    let count: usize = shape.iter().product();
    let value = |normal: f32| match last {
        // Variances, and weights of classes in a loss, are positive.
        "running_var" => normal.tanh().exp2(),
        "pos_weight" => normal.tanh().exp2(),
        "weight" if shape.len() == 1 => 1.0 + 0.5 * normal.tanh(),
        _ if shape.len() < 2 => 0.5 * normal,
        _ => normal / (fan_in.max(1) as f32).sqrt(),
    };
    let values: Vec<f32> = (0..count).map(|_| value(StandardNormal.sample(&mut random))).collect();
    TensorData::from_f32(shape, &values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_tensor_has_its_own_numbers() {
        let values = |name: &str, shape: &[usize], seed| tensor(name, shape, seed).to_f32().unwrap();
        assert_eq!(values("a.weight", &[4, 3], 7), values("a.weight", &[4, 3], 7));
        assert_ne!(values("a.weight", &[4, 3], 7), values("b.weight", &[4, 3], 7));
        assert_ne!(values("a.weight", &[4, 3], 7), values("a.weight", &[4, 3], 8));
        assert!(values("running_var", &[100], 7).iter().all(|value| (0.5..=2.0).contains(value)));
        assert!(values("norm.weight", &[100], 7).iter().all(|value| (0.5..=1.5).contains(value)));
        assert!(values("bias", &[100], 7).iter().any(|value| value.abs() > 0.5));
    }
}
