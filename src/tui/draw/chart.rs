//! Errors on a logarithmic axis: a dot for each measurement, a dashed line for the tolerance, a row at the bottom for
//! exact zeros.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::compare::{Trial, Verdict};
use crate::tui::text;
use crate::tui::theme::Theme;

/// Columns of the axis labels with their tick: `1e-5 ┤`.
pub(super) const AXIS: u16 = 6;
/// Fewest decades on the axis.
const DECADES: i32 = 4;
/// Widest distance between two dots.
const WIDEST: f64 = 7.0;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Its index on the horizontal axis, from 0.
    pub slot: usize,
    /// Largest absolute error. 0, infinity and NaN have rows of their own; NaN means that an engine failed.
    pub value: f64,
    /// Mean absolute error.
    pub mean: f64,
    /// The bound.
    pub tolerance: f64,
    /// Colour of the dot.
    pub verdict: Verdict,
}

impl Point {
    /// The point of a trial. An output of another shape has no error, and is drawn as an infinite one.
    pub fn of(slot: usize, trial: &Trial) -> Point {
        let (value, mean) =
            trial.apart.as_ref().map_or((f64::INFINITY, f64::INFINITY), |apart| (apart.max_abs, apart.mean_abs));
        Point { slot, value, mean, tolerance: trial.tolerance, verdict: trial.verdict }
    }
}

/// What to draw.
#[derive(Debug, Clone, Default)]
pub struct Chart<'a> {
    /// The measurements.
    pub points: Vec<Point>,
    /// How many points there will be, so that dots keep their places while more arrive.
    pub slots: usize,
    /// The words below the axis: what the dots are.
    pub caption: &'a str,
    /// Whether the axis counts them.
    pub numbered: bool,
}

/// Decades from the bottom to the top of the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    pub(super) fn of(points: &[Point]) -> Scale {
        let usable = |value: f64| (value.is_finite() && value > 0.0).then(|| value.log10());
        let values = points.iter().filter_map(|point| usable(point.value));
        let tolerances = points.iter().filter_map(|point| usable(point.tolerance));
        let top = values.clone().chain(tolerances.clone()).fold(f64::NEG_INFINITY, f64::max);
        let bottom = values.chain(tolerances).fold(f64::INFINITY, f64::min);
        // An error above its bound must not share the topmost row with it.
        let above = points.iter().any(|point| point.value > point.tolerance && usable(point.value) == Some(top));
        let high = if top.is_finite() { (top + if above { 0.2 } else { 0.0 }).ceil() as i32 } else { -4 };
        let low = if bottom.is_finite() { bottom.floor() as i32 } else { high };
        Scale { low: low.min(high - DECADES), high }
    }

    /// Row from the top, for a value above 0, on an axis of this many rows.
    pub(super) fn row(self, value: f64, rows: u16) -> u16 {
        let share = (f64::from(self.high) - value.log10()) / f64::from(self.high - self.low);
        (share * f64::from(rows.saturating_sub(1))).round().clamp(0.0, f64::from(rows.saturating_sub(1))) as u16
    }
}

/// Draw it. Nothing is drawn where there is no room for an axis.
pub fn draw(theme: &Theme, area: Rect, buffer: &mut Buffer, chart: &Chart<'_>) {
    if area.height < 5 || area.width < AXIS + 8 {
        return;
    }
    // Below the decades: the row for exact zeros, and the axis.
    let plot = Rect { x: area.x + AXIS, width: area.width - AXIS, height: area.height - 2, ..area };
    let scale = Scale::of(&chart.points);
    draw_axis(theme, area, plot, scale, buffer);
    let tolerance = one_tolerance(&chart.points);
    if let Some(tolerance) = tolerance {
        draw_tolerance(theme, plot, scale, tolerance, buffer);
    }
    let Spacing { slots, step, caption } = spacing(plot, chart);
    let column = |index: usize| ((index as f64 + 0.5) * step) as usize;
    let mut points: Vec<&Point> = chart.points.iter().collect();
    points.sort_by_key(|point| point.verdict);
    let style = Dots { theme, plot, scale, own_tolerance: tolerance.is_none(), with_mean: step >= 2.0 };
    for point in points {
        style.draw(plot.x + 1 + column(point.slot) as u16, point, buffer);
    }
    draw_bottom(theme, area, chart.numbered.then_some(slots), &caption, &column, step, buffer);
}

/// How dots are spaced.
struct Spacing {
    slots: usize,
    /// Columns from one dot to the next. Below 1 several dots share a column, and the worst is drawn last.
    step: f64,
    caption: String,
}

fn spacing(plot: Rect, chart: &Chart<'_>) -> Spacing {
    let last = chart.points.iter().map(|point| point.slot + 1).max().unwrap_or(1);
    let slots = chart.slots.max(last);
    let width = usize::from(plot.width.saturating_sub(2));
    let caption = caption(chart, width);
    let room = if slots > width / 2 { width } else { width.saturating_sub(text::width(&caption)) };
    Spacing { slots, step: (room as f64 / slots as f64).min(WIDEST), caption }
}

/// Where the dots are clicked: the column of each point, in their order; the worst of those that share one is the last there.
pub fn columns(area: Rect, chart: &Chart<'_>) -> Vec<(Rect, usize)> {
    if area.height < 5 || area.width < AXIS + 8 {
        return Vec::new();
    }
    let plot = Rect { x: area.x + AXIS, width: area.width - AXIS, height: area.height - 2, ..area };
    let step = spacing(plot, chart).step;
    let mut points: Vec<(usize, &Point)> = chart.points.iter().enumerate().collect();
    points.sort_by_key(|(_, point)| point.verdict);
    let column = |(at, point): (usize, &Point)| {
        let x = plot.x + 1 + ((point.slot as f64 + 0.5) * step) as u16;
        (Rect { x, width: 1, height: plot.height + 1, ..area }.intersection(area), at)
    };
    points.into_iter().map(column).collect()
}

/// The bound that all points share, if they do. A scale that differs from input to input moves it a little: then it is that of the
/// point that comes nearest to its own, as the numbers beside the chart have it.
fn one_tolerance(points: &[Point]) -> Option<f64> {
    let bounded = || points.iter().filter(|point| point.tolerance > 0.0 && point.tolerance.is_finite());
    let most = bounded().map(|point| point.tolerance).fold(f64::NEG_INFINITY, f64::max);
    let least = bounded().map(|point| point.tolerance).fold(f64::INFINITY, f64::min);
    // An engine that failed has none; nought and infinity are bounds of their own.
    let is_one =
        points.iter().all(|point| point.tolerance.is_nan() || (point.tolerance > 0.0 && point.tolerance.is_finite()))
            && most <= least * 1.5;
    let near = |point: &Point| if point.value.is_nan() { f64::INFINITY } else { point.value / point.tolerance };
    let worst = bounded().max_by(|a, b| a.verdict.cmp(&b.verdict).then(near(a).total_cmp(&near(b))));
    worst.map(|point| point.tolerance).filter(|_| is_one)
}

pub(super) fn draw_axis(theme: &Theme, area: Rect, plot: Rect, scale: Scale, buffer: &mut Buffer) {
    for row in 0..=plot.height {
        let decade = (scale.low..=scale.high).rev().find(|&at| scale.row(10f64.powi(at), plot.height) == row);
        let label = match decade {
            _ if row == plot.height => Some("0".to_owned()),
            Some(decade) => Some(format!("1e{decade}")),
            None => None,
        };
        let rule = if label.is_some() { '┤' } else { '│' };
        let line = format!("{:>width$}{rule}", label.unwrap_or_default(), width = usize::from(AXIS));
        text::put_text(buffer, area.x, area.y + row, usize::from(AXIS) + 1, &line, theme.muted());
    }
}

fn draw_tolerance(theme: &Theme, plot: Rect, scale: Scale, tolerance: f64, buffer: &mut Buffer) {
    let y = plot.y + scale.row(tolerance, plot.height);
    let style = theme.verdict(Verdict::Drift);
    let line = "┄".repeat(usize::from(plot.width.saturating_sub(1)));
    text::put_text(buffer, plot.x + 1, y, usize::from(plot.width - 1), &line, style);
    let label = format!(" tolerance {} ", text::error(tolerance));
    if let Some(x) = plot.right().checked_sub(label.len() as u16 + 2).filter(|&x| x > plot.x + 2) {
        text::put_text(buffer, x, y, label.len(), &label, style);
    }
}

/// How dots are drawn.
struct Dots<'a> {
    theme: &'a Theme,
    plot: Rect,
    scale: Scale,
    /// Whether each has its own bound beside it.
    own_tolerance: bool,
    /// Whether the mean hangs below it.
    with_mean: bool,
}

impl Dots<'_> {
    /// Row of an error above 0. An error that would fall on the row of its bound moves to the side where it belongs.
    fn row_of(&self, point: &Point) -> u16 {
        let row = |value: f64| self.scale.row(value, self.plot.height);
        let here = row(point.value);
        let bounded = point.tolerance > 0.0 && point.tolerance.is_finite() && row(point.tolerance) == here;
        let shown = match point.value > point.tolerance {
            true if bounded => here.saturating_sub(1),
            false if bounded => (here + 1).min(self.plot.height.saturating_sub(1)),
            _ => here,
        };
        self.plot.y + shown
    }

    fn draw(&self, x: u16, point: &Point, buffer: &mut Buffer) {
        let (theme, plot) = (self.theme, self.plot);
        let style = theme.verdict(point.verdict);
        let row = |value: f64| plot.y + self.scale.row(value, plot.height);
        let usable = |value: f64| value > 0.0 && value.is_finite();
        let mut set = |y: u16, sign: char, style: Style| {
            if let Some(cell) = buffer.cell_mut((x, y)).filter(|_| x < plot.right()) {
                cell.set_char(sign).set_style(style);
            }
        };
        if self.own_tolerance && usable(point.tolerance) {
            set(row(point.tolerance), '┄', theme.verdict(Verdict::Drift));
        }
        if point.value == 0.0 {
            return set(plot.bottom(), '=', style);
        }
        if !point.value.is_finite() {
            let sign = match point.verdict {
                Verdict::Failed => '!',
                _ if point.value.is_nan() => 'N',
                _ => '∞',
            };
            return set(plot.y, sign, style);
        }
        if self.with_mean && usable(point.mean) {
            for y in self.row_of(point) + 1..row(point.mean) {
                set(y, '┊', theme.faint());
            }
            set(row(point.mean), '∙', theme.muted());
        }
        set(self.row_of(point), '●', style);
    }
}

/// The caption, where the numbers leave room for it.
fn caption(chart: &Chart<'_>, width: usize) -> String {
    let own = chart.points.len() > 1 && one_tolerance(&chart.points).is_none();
    let bound = if own { "  ┄ its bound" } else { "" };
    let captions = [
        format!("  {}: ● max  ∙ mean{bound} ", chart.caption),
        format!("  {}: ● max  ∙ mean ", chart.caption),
        format!(" {} ", chart.caption),
    ];
    captions.into_iter().find(|caption| text::width(caption) * 2 <= width).unwrap_or_default()
}

/// The axis at the bottom, with the number of each dot where there is room.
fn draw_bottom(
    theme: &Theme,
    area: Rect,
    numbers: Option<usize>,
    caption: &str,
    column: &impl Fn(usize) -> usize,
    step: f64,
    buffer: &mut Buffer,
) {
    let y = area.bottom() - 1;
    let width = usize::from(area.width - AXIS);
    text::put_text(buffer, area.x + AXIS, y, width, &format!("└{}", "─".repeat(width - 1)), theme.faint());
    if step >= 2.0 {
        let every = if step >= 3.0 { 1 } else { 2 };
        for index in (0..numbers.unwrap_or(0)).step_by(every) {
            let label = (index + 1).to_string();
            let x = usize::from(area.x + AXIS) + 1 + column(index);
            text::put_text(buffer, x as u16, y, label.len(), &label, theme.muted());
        }
    }
    let x = area.right().saturating_sub(text::width(caption) as u16);
    text::put_text(buffer, x, y, width, caption, theme.muted());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(value: f64) -> Point {
        Point { slot: 0, value, mean: value / 10.0, tolerance: 9.4e-6, verdict: Verdict::Ok }
    }

    #[test]
    fn the_scale_holds_errors_and_bound_and_does_not_jump() {
        assert_eq!(Scale::of(&[point(6e-7)]), Scale { low: -9, high: -5 });
        assert_eq!(Scale::of(&[point(6e-7), point(0.0), point(f64::NAN)]), Scale { low: -9, high: -5 });
        assert_eq!(Scale::of(&[point(0.3), point(2e-11)]), Scale { low: -11, high: 0 });
        assert_eq!(Scale::of(&[]), Scale { low: -8, high: -4 });
    }

    #[test]
    fn a_dot_is_always_on_its_side_of_the_bound() {
        let theme = Theme::load("dark", |_| None).unwrap();
        for (value, above) in [(9.3e-6, false), (9.5e-6, true), (1.1e-5, true), (7.9e-6, false), (5e-5, true)] {
            let area = Rect::new(0, 0, 40, 9);
            let mut buffer = Buffer::empty(area);
            let chart = Chart { points: vec![point(value)], slots: 1, ..Chart::default() };
            draw(&theme, area, &mut buffer, &chart);
            let rows = crate::tui::snapshot::rows(&buffer);
            let row = |sign: char| rows.iter().position(|row| row.contains(sign)).unwrap();
            assert_eq!(row('●') < row('┄'), above, "{value}: {rows:#?}");
            assert_ne!(row('●'), row('┄'), "{value}: {rows:#?}");
        }
    }

    #[test]
    fn what_is_no_number_or_none_at_all_has_a_place_of_its_own() {
        let theme = Theme::load("dark", |_| None).unwrap();
        let area = Rect::new(0, 0, 40, 9);
        let mut buffer = Buffer::empty(area);
        let values = [0.0, f64::NAN, f64::INFINITY, 3e-7];
        let points = values.iter().enumerate().map(|(slot, &value)| Point { slot, ..point(value) }).collect();
        draw(&theme, area, &mut buffer, &Chart { points, slots: 4, ..Chart::default() });
        let rows = crate::tui::snapshot::rows(&buffer);
        assert!(rows[7].starts_with("     0┤") && rows[7].contains('='), "{rows:#?}");
        assert!(rows[0].contains('N') && rows[0].contains('∞'), "{rows:#?}");
        assert_eq!(rows.iter().filter(|row| row.contains('●')).count(), 1, "{rows:#?}");
    }

    #[test]
    fn rows_run_from_the_largest_error_to_the_smallest() {
        let scale = Scale { low: -8, high: -4 };
        assert_eq!((scale.row(1e-4, 9), scale.row(1e-6, 9), scale.row(1e-8, 9)), (0, 4, 8));
        assert_eq!((scale.row(1.0, 9), scale.row(1e-30, 9)), (0, 8), "what is outside stays on the edge");
    }
}
