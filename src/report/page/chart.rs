//! Charts as SVG within the page: errors against their tolerances, on an axis of powers of ten.

use std::fmt::Write;

use super::safe::html;
use super::{Page, Row, shown};
use crate::compare::Trial;
use crate::figures::error;

/// Size of a chart, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
/// Where the plot is: left, top, right, bottom.
const PLOT: [f64; 4] = [64.0, 14.0, 948.0, 262.0];
/// Most places on the axis of layers; where there are more layers, each place shows the worst of several.
const MOST_SLOTS: usize = 600;

/// A layer in a chart.
struct Point<'a> {
    row: &'a Row<'a>,
    trial: &'a Trial,
    /// The error of a plain rename.
    rename: Option<f64>,
}

/// The errors of the layers in the model's order, each beside its tolerance; empty where nothing was compared.
pub(super) fn of_layers(page: &Page<'_>) -> String {
    let twin = |row: &Row<'_>| {
        let errors = row.layer.twins.iter().filter_map(|twin| twin.trial.as_ref()?.max_abs());
        errors.max_by(f64::total_cmp)
    };
    let points: Vec<Point<'_>> = page
        .layers
        .iter()
        .filter(|row| !row.by_definition)
        .filter_map(|row| Some(Point { row, trial: row.worst?, rename: twin(row) }))
        .collect();
    draw(&points, "Largest error of each layer in the model's order, and the tolerance that it is held to")
}

/// The same of the runs in half precision, the worse of the two.
pub(super) fn of_halves(page: &Page<'_>) -> String {
    let points = page.layers.iter().filter_map(|row| {
        let trials = super::HALF.iter().filter_map(|dtype| row.layer.worst_in(*dtype));
        Some(Point { row, trial: trials.max_by(by_badness)?, rename: None })
    });
    let points: Vec<Point<'_>> = points.collect();
    draw(&points, "Largest error in half precision of each layer, and the tolerance of that type")
}

fn by_badness(left: &&Trial, right: &&Trial) -> std::cmp::Ordering {
    left.badness().total_cmp(&right.badness())
}

fn draw(points: &[Point<'_>], title: &str) -> String {
    let finite = |value: &f64| value.is_finite() && *value > 0.0;
    let values = points.iter().flat_map(|point| [point.trial.max_abs(), Some(point.trial.tolerance), point.rename]);
    let values: Vec<f64> = values.flatten().filter(finite).collect();
    if points.is_empty() {
        return String::new();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min).max(1e-300).log10().floor();
    let high = values.iter().copied().fold(0.0, f64::max).max(1e-300).log10().ceil();
    let (low, high) = if values.is_empty() { (-8.0, 0.0) } else { (low - 1.0, high.max(low + 1.0) + 1.0) };
    let scale = Scale { low, high };
    // Writing to a String cannot fail.
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\"><title>{}</title>",
        html(title),
        html(title)
    );
    axis(&mut svg, &scale);
    let slots = points.len().min(MOST_SLOTS);
    for slot in 0..slots {
        let (from, to) = (slot * points.len() / slots, (slot + 1) * points.len() / slots);
        let of_slot = points.get(from..to).unwrap_or_default();
        let worst = of_slot
            .iter()
            .max_by(|left, right| left.row.verdict.cmp(&right.row.verdict).then(by_badness(&left.trial, &right.trial)));
        if let Some(point) = worst {
            let x = PLOT[0] + (PLOT[2] - PLOT[0]) * (slot as f64 + 0.5) / slots as f64;
            draw_point(&mut svg, &scale, x, ((PLOT[2] - PLOT[0]) / slots as f64 * 0.4).clamp(0.8, 9.0), point);
        }
    }
    let caption = match points.len() {
        1 => "1 layer".to_owned(),
        all if all > slots => format!("{all} layers in order; of those that share a place the worst is shown"),
        all => format!("{all} layers in order"),
    };
    let _ = write!(svg, "<text class=\"axis\" x=\"{:.0}\" y=\"{:.0}\">{caption}</text></svg>", PLOT[0], HEIGHT - 10.0);
    svg
}

/// The axis of errors.
struct Scale {
    /// Powers of ten.
    low: f64,
    high: f64,
}

impl Scale {
    /// An exact zero stands on the lowest line, what is not finite on the highest.
    fn y(&self, value: f64) -> f64 {
        let power = match value {
            value if value.is_nan() || value == f64::INFINITY => self.high,
            value if value <= 0.0 => self.low,
            value => value.log10().clamp(self.low, self.high),
        };
        PLOT[3] - (PLOT[3] - PLOT[1]) * (power - self.low) / (self.high - self.low)
    }
}

fn axis(svg: &mut String, scale: &Scale) {
    let powers = (scale.high - scale.low) as i64;
    let step = (powers / 9 + 1).max(1);
    for at in (0..=powers).step_by(step as usize) {
        let power = scale.low as i64 + at;
        let y = PLOT[3] - (PLOT[3] - PLOT[1]) * at as f64 / powers as f64;
        let label = if at == 0 { "0".to_owned() } else { format!("1e{power}") };
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{:.0} {y:.1}H{:.0}\"/><text class=\"axis end\" x=\"{:.0}\" y=\"{:.1}\">{label}</text>",
            PLOT[0],
            PLOT[2],
            PLOT[0] - 8.0,
            y + 4.0
        );
    }
}

fn draw_point(svg: &mut String, scale: &Scale, x: f64, half: f64, point: &Point<'_>) {
    let Point { row, trial, rename } = point;
    let found = trial.max_abs().unwrap_or(f64::INFINITY);
    let (y, bound) = (scale.y(found), scale.y(trial.tolerance));
    let words = format!(
        "{}: {} against a tolerance of {}, {}",
        shown(&row.module.path),
        crate::figures::error_or_dash(trial.max_abs()),
        error(trial.tolerance),
        trial.verdict.name()
    );
    let rename_words = rename.map_or(String::new(), |rename| format!("; as a plain rename {}", error(rename)));
    let _ = write!(svg, "<g><title>{}{rename_words}</title>", html(&words));
    let _ = write!(svg, "<path class=\"bound\" d=\"M{:.1} {bound:.1}H{:.1}\"/>", x - half, x + half);
    if let Some(rename) = rename {
        let to = scale.y(*rename);
        let size = half.clamp(1.6, 4.0);
        let _ = write!(
            svg,
            "<path class=\"rename\" d=\"M{:.1} {:.1}l{:.1} {:.1}m0 -{:.1}l-{:.1} {:.1}\"/>",
            x - size,
            to - size,
            2.0 * size,
            2.0 * size,
            2.0 * size,
            2.0 * size,
            2.0 * size
        );
    }
    let radius = half.clamp(1.4, 3.6);
    let _ = write!(
        svg,
        "<circle class=\"dot {}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/></g>",
        trial.verdict.name()
    );
}
