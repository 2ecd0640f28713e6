//! Figures as readers see them, on the screen and in reports alike: shares, counts, bytes, errors. JSON has the numbers
//! themselves.

/// Whole percents of a share (0 to 1), without the sign: `90`. Rounded down, as `--fail-under` judges: only the whole
/// is `100`. Only nothing is `0`: less than a hundredth is `<1`.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 {
        return "<1".to_owned();
    }
    // A share is a fraction of two counts: 0.29 times 100 must not come out as 28.999…, but 0.99999 is not all.
    let percent = (share * 100.0 + 1e-9).floor();
    if share < 1.0 { percent.clamp(0.0, 99.0) } else { 100.0 }.to_string()
}

/// A part of a whole as a share: 1 only for all of it, or if the whole is 0.
pub fn share(part: u64, whole: u64) -> f64 {
    // Floats of this size are rounded, and less than all must not become 1.
    if part >= whole { 1.0 } else { (part as f64 / whole as f64).min(1.0 - f64::EPSILON) }
}

/// `1234567` → `1.2 M`.
pub fn count(number: u64) -> String {
    scaled(number as f64, 1000.0, &["", " k", " M", " G", " T"])
}

/// `4928307` → `4.7 MiB`.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    if unit == 0 { format!("{number:.0}{}", units[0]) } else { format!("{number:.1}{}", units[unit]) }
}

/// How long something takes, as somebody who waits wants it: `5 s`, `3 min 20 s`, `2 h 5 min`.
pub fn time(took: std::time::Duration) -> String {
    let seconds = took.as_secs_f64().ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// An error in seven columns: `6.0e-07`; `0` for an exact zero, `inf` and `nan` as they are.
pub fn error(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.is_nan() {
        return "nan".to_owned();
    }
    let text = format!("{value:.1e}");
    match text.split_once("e-") {
        Some((mantissa, exponent)) => format!("{mantissa}e-{exponent:0>2}"),
        None => text.split_once('e').map_or(text.clone(), |(mantissa, exponent)| format!("{mantissa}e+{exponent:0>2}")),
    }
}

/// Like [`error`], with a dash if the outputs have different shapes and cannot be subtracted.
pub fn error_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), error)
}

/// A shape: `1×3×32×32`, `scalar` without axes.
pub fn shape(axes: &[usize]) -> String {
    if axes.is_empty() {
        return "scalar".to_owned();
    }
    axes.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nothing_is_zero_percent_and_only_all_is_a_hundred() {
        let of = |part, whole| percent(share(part, whole));
        assert_eq!([of(0, 126), of(1, 126), of(1, 250), of(1, u64::MAX)], ["0", "<1", "<1", "<1"]);
        assert_eq!([of(125, 126), of(999, 1000), of(u64::MAX - 1, u64::MAX)], ["99"; 3]);
        assert_eq!([of(126, 126), of(0, 0), of(127, 126)], ["100"; 3]);
        assert_eq!(percent(1.0 - 1e-12), "99");
        // Every hundredth is itself: no product of floats falls below it.
        for hundredth in 1..=100u64 {
            assert_eq!(of(hundredth, 100), hundredth.to_string());
            assert_eq!(percent(hundredth as f64 / 100.0), hundredth.to_string());
        }
        assert_eq!([of(30, 33), of(15, 1000)], ["90", "1"], "rounded down: what is shown was reached");
    }

    #[test]
    fn a_time_is_told_in_two_units_at_most() {
        let told = |seconds: f64| time(std::time::Duration::from_secs_f64(seconds));
        assert_eq!([told(0.2), told(59.1), told(200.0), told(7500.0)], ["1 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]);
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1.2 M");
        assert_eq!(count(671_000_000_000), "671.0 G");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(4_928_307), "4.7 MiB");
    }

    #[test]
    fn errors_have_two_digits_of_exponent() {
        assert_eq!(error(6.04e-7), "6.0e-07");
        assert_eq!(error(1.5e-12), "1.5e-12");
        assert_eq!(error(0.44), "4.4e-01");
        assert_eq!(error(12.0), "1.2e+01");
        assert_eq!(error(0.0), "0");
        assert_eq!(error(f64::INFINITY), "inf");
        assert_eq!(error(f64::NAN), "nan");
        assert_eq!(error_or_dash(None), "–");
    }

    #[test]
    fn shapes_are_short() {
        assert_eq!(shape(&[1, 3, 32]), "1×3×32");
    }
}
