//! How to pad a convolution's input where MLX does not do it: the places that each mode repeats, and which paddings
//! must not be given to MLX. Plain arithmetic, kept apart from the library so that tests need no MLX.

/// Where the values around the input come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nowhere: zeros.
    Zeros,
    /// The input mirrored, without its edge.
    Reflect,
    /// Its edge.
    Replicate,
    /// Its opposite end.
    Circular,
}

impl Mode {
    /// By torch's name.
    pub fn named(name: &str) -> Option<Mode> {
        match name {
            "zeros" => Some(Mode::Zeros),
            "reflect" => Some(Mode::Reflect),
            "replicate" => Some(Mode::Replicate),
            "circular" => Some(Mode::Circular),
            _ => None,
        }
    }
}

/// For each place of a padded axis, the place of the input that it repeats. Not for zeros.
///
/// # Errors
/// The padding is too wide for this input, as torch says too.
pub fn sources(size: i32, low: i32, high: i32, mode: Mode) -> Result<Vec<i32>, String> {
    let limit = match mode {
        Mode::Reflect => size - 1,
        Mode::Circular => size,
        Mode::Replicate | Mode::Zeros => i32::MAX,
    };
    if size < 1 || low.max(high) > limit {
        let mode = format!("{mode:?}").to_lowercase();
        return Err(format!("{mode} padding of {} does not fit an input of {size}", low.max(high)));
    }
    let place = |index: i32| match mode {
        Mode::Reflect => (size - 1) - ((size - 1) - index.abs()).abs(),
        Mode::Circular => index.rem_euclid(size),
        Mode::Replicate | Mode::Zeros => index.clamp(0, size - 1),
    };
    Ok((-low..size + high).map(place).collect())
}

/// A padding width whose sum with an input's length fits in 32 bits.
pub fn width(number: i64) -> Option<i32> {
    if (0..1 << 28).contains(&number) { i32::try_from(number).ok() } else { None }
}

/// How far a dilated kernel reaches beyond its first element.
pub fn reach(kernel: i32, dilation: i32) -> i64 {
    i64::from(kernel - 1) * i64::from(dilation)
}

/// Whether MLX's two-dimensional convolution on the CPU writes outside its output, in 0.32.2: it loops over the rows
/// that touch the padding in front without checking how many rows there are. It does so wherever it does not use a
/// matrix product (with groups, with dilation, and transposed with stride 1). Sooner or later the process dies of it.
///
/// `low` is the padding in front, `output` the length of the output along that axis. Measured under valgrind: 520
/// random configurations, and every invalid write was where this says so.
pub fn overruns(low: i64, stride: i64, output: i64) -> bool {
    low.max(0).saturating_add(stride - 1) / stride.max(1) > output
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_repeats_the_input_as_torch_does() {
        assert_eq!(sources(4, 2, 3, Mode::Reflect).unwrap(), [2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(sources(3, 2, 1, Mode::Replicate).unwrap(), [0, 0, 0, 1, 2, 2]);
        assert_eq!(sources(3, 2, 3, Mode::Circular).unwrap(), [1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(sources(3, 3, 0, Mode::Reflect).unwrap_err(), "reflect padding of 3 does not fit an input of 3");
        assert_eq!(sources(3, 0, 4, Mode::Circular).unwrap_err(), "circular padding of 4 does not fit an input of 3");
    }

    #[test]
    fn overruns_are_where_valgrind_saw_them() {
        // Kernel 7, padding 3, input 2: two outputs, three rows that touch the padding.
        assert!(overruns(3, 1, 2));
        // Kernel 5, padding 2, input 2: two outputs, two such rows.
        assert!(!overruns(2, 1, 2));
        // Kernel 6, dilation 2, stride 2, padding 5, input 2.
        assert!(overruns(5, 2, 1));
        assert!(!overruns(-1, 1, 3));
    }

    proptest! {
        #[test]
        fn every_source_lies_in_the_input(size in 0i32..9, low in 0i32..12, high in 0i32..12) {
            for mode in [Mode::Reflect, Mode::Replicate, Mode::Circular] {
                if let Ok(places) = sources(size, low, high, mode) {
                    prop_assert_eq!(places.len() as i32, low + size + high);
                    prop_assert!(places.iter().all(|place| (0..size).contains(place)));
                    prop_assert!((0..size).all(|place| places.get((low + place) as usize) == Some(&place)));
                }
            }
        }
    }
}
