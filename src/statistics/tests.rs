#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use t2m_checkpoint::Bytes;

use super::*;

/// A checkpoint of safetensors with one tensor of these bytes.
fn checkpoint(dtype: safetensors::Dtype, shape: Vec<usize>, bytes: &[u8]) -> Checkpoint {
    let view = safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap();
    let file = safetensors::serialize([("t".to_owned(), view)], None).unwrap();
    Checkpoint::from_bytes(Path::new("x.safetensors"), Bytes::Owned(file)).unwrap()
}

fn read(dtype: safetensors::Dtype, shape: Vec<usize>, bytes: &[u8]) -> Statistics {
    of_tensor(&checkpoint(dtype, shape, bytes), 0, |_| true).unwrap().unwrap()
}

#[test]
fn numbers_are_those_of_the_definition() {
    let all = Statistics::of([1.0, -2.0, 0.0, -0.0, 4.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 7.0]);
    assert_eq!((all.count, all.finite(), all.nan, all.infinite, all.minus_infinite, all.zeros), (9, 6, 1, 1, 1, 2));
    assert_eq!(all.range, Some((-2.0, 7.0)));
    // (1 − 2 + 0 + 0 + 4 + 7) / 6; the mean of the squares is 70/6.
    let mean: f64 = 10.0 / 6.0;
    assert!((all.mean().unwrap() - mean).abs() < 1e-15, "{:?}", all.mean());
    assert!((all.deviation().unwrap() - (70.0 / 6.0 - mean * mean).sqrt()).abs() < 1e-15, "{:?}", all.deviation());
    assert!((all.zero_share().unwrap() - 2.0 / 9.0).abs() < 1e-15);
}

#[test]
fn of_nothing_nothing_is_said() {
    let none = Statistics::of([]);
    assert_eq!((none.range, none.mean(), none.deviation(), none.zero_share()), (None, None, None, None));
    assert!(none.histogram.counts().is_empty());
    let no_numbers = Statistics::of([f64::NAN, f64::INFINITY]);
    assert_eq!((no_numbers.range, no_numbers.mean(), no_numbers.zero_share()), (None, None, Some(0.0)));
    assert_eq!(read(safetensors::Dtype::F32, vec![0, 3], &[]), none);
}

#[test]
fn bins_are_powers_of_two_wide() {
    // From −1 to 3 in 64 bins at most: 1/16 wide, from index −16 to 48, would be 65.
    let all = Statistics::of([-1.0, 3.0, 0.0, 0.124_999, 0.125, 0.125]);
    assert_eq!((all.histogram.width(), all.histogram.start(), all.histogram.counts().len()), (0.125, -1.0, 33));
    let counts = all.histogram.counts();
    assert_eq!((counts[0], counts[8], counts[9], counts[32]), (1, 2, 2, 1));
    assert_eq!(all.histogram.columns(11), [1, 0, 2, 2, 0, 0, 0, 0, 0, 0, 1]);
    // All alike: one bin.
    let same = Statistics::of([0.3; 9]);
    assert_eq!((same.histogram.counts(), same.deviation()), (&[9][..], Some(0.0)));
    // As far apart as numbers are.
    let far = Statistics::of([f64::MAX, f64::MIN, 0.0, f64::MIN_POSITIVE / 4.0]);
    assert_eq!(far.histogram.counts().iter().sum::<u64>(), 4);
    assert!(far.histogram.counts().len() <= 64);
    assert_eq!(Statistics::of([f64::MIN_POSITIVE / 4.0, 0.0]).histogram.counts(), [2]);
}

#[test]
fn every_type_is_read() {
    use safetensors::Dtype as D;
    let range = |dtype, bytes: &[u8]| {
        let size = bytes.len() / 2;
        let all = read(dtype, vec![bytes.len() / size], bytes);
        (all.range.unwrap(), all.count)
    };
    assert_eq!(range(D::F16, &[0, 0x3c, 0, 0xc0]), ((-2.0, 1.0), 2));
    assert_eq!(range(D::BF16, &[0x80, 0x3f, 0, 0xc0]), ((-2.0, 1.0), 2));
    assert_eq!(range(D::I8, &[0xff, 5]), ((-1.0, 5.0), 2));
    assert_eq!(range(D::U8, &[0xff, 5]), ((5.0, 255.0), 2));
    assert_eq!(range(D::BOOL, &[1, 0]), ((0.0, 1.0), 2));
    assert_eq!(range(D::F8_E4M3, &[0x38, 0xb8]), ((-1.0, 1.0), 2));
    assert_eq!(range(D::F8_E5M2, &[0x3c, 0xc0]), ((-2.0, 1.0), 2));
    let whole: Vec<u8> = [-7i64, 9].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(range(D::I64, &whole), ((-7.0, 9.0), 2));
    let double: Vec<u8> = [1e300f64, -1e-300].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(range(D::F64, &double), ((-1e-300, 1e300), 2));
    // The code of E4M3 that is no number.
    assert_eq!(read(D::F8_E4M3, vec![2], &[0x7f, 0x38]).nan, 1);
}

#[test]
fn it_can_be_stopped_between_two_pieces() {
    let bytes: Vec<u8> = (0..3 * PIECE / 4).flat_map(|at| (at as f32).to_le_bytes()).collect();
    let checkpoint = checkpoint(safetensors::Dtype::F32, vec![3 * PIECE / 4], &bytes);
    let mut asked = Vec::new();
    let stopped = of_tensor(&checkpoint, 0, |done| {
        asked.push(done);
        asked.len() < 3
    });
    assert_eq!((stopped.unwrap(), asked), (None, vec![0.0, 1.0 / 3.0, 2.0 / 3.0]));
    assert!(matches!(of_tensor(&checkpoint, 5, |_| true), Err(Error::Missing)));
}

#[test]
fn pieces_come_to_the_whole() {
    let values: Vec<f32> = (0..PIECE).map(|at| (at as f32 * 0.37).sin()).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let all = read(safetensors::Dtype::F32, vec![PIECE / 256, 256], &bytes);
    let wanted = Statistics::of(values.iter().map(|value| f64::from(*value)));
    assert_eq!(all, wanted);
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / PIECE as f64;
    assert!((all.mean().unwrap() - mean).abs() < 1e-12);
}

/// What the definition gives.
fn plain(numbers: &[f64]) -> Option<(f64, f64)> {
    let finite: Vec<f64> = numbers.iter().copied().filter(|number| number.is_finite()).collect();
    let count = finite.len() as f64;
    let mean = finite.iter().sum::<f64>() / count;
    let squares = finite.iter().map(|number| (number - mean).powi(2)).sum::<f64>();
    (count > 0.0).then(|| (mean, (squares / count).sqrt()))
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-1e3..1e3).prop_map(|number: f64| number),
        2 => any::<f32>().prop_map(f64::from),
        1 => Just(0.0),
        1 => (-8i32..8).prop_map(|power| 2f64.powi(power)),
    ]
}

proptest! {
    #[test]
    fn the_order_changes_no_histogram(mut numbers in prop::collection::vec(number(), 1..400)) {
        let before = Statistics::of(numbers.iter().copied());
        let bins = before.histogram.counts();
        prop_assert_eq!(bins.iter().sum::<u64>(), before.finite());
        prop_assert!(bins.len() <= 64);
        // Each number lies in its bin.
        let (start, width) = (before.histogram.start(), before.histogram.width());
        let mut counted = vec![0u64; bins.len()];
        for number in numbers.iter().filter(|number| number.is_finite()) {
            counted[((number / width).floor() - start / width) as usize] += 1;
        }
        prop_assert_eq!(bins, &counted);
        numbers.reverse();
        let after = Statistics::of(numbers.iter().copied());
        prop_assert_eq!(&before.histogram, &after.histogram);
        prop_assert_eq!((before.range, before.nan, before.zeros), (after.range, after.nan, after.zeros));
    }

    #[test]
    fn mean_and_spread_are_those_of_two_passes(numbers in prop::collection::vec(-1e3..1e3f64, 1..9000)) {
        let all = Statistics::of(numbers.iter().copied());
        let (mean, deviation) = plain(&numbers).unwrap();
        prop_assert!((all.mean().unwrap() - mean).abs() <= 1e-9, "{:?} {mean}", all.mean());
        prop_assert!((all.deviation().unwrap() - deviation).abs() <= 1e-9, "{:?} {deviation}", all.deviation());
    }
}
