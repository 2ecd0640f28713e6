//! Two errors along a graph on a logarithmic axis: each node's own, and what has come together up to it, with the tolerance of
//! both. Where a column stands for several nodes it shows the worst of them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::chart::{AXIS, Point, Scale, draw_axis};
use crate::compare::Verdict;
use crate::tui::text;
use crate::tui::theme::Theme;

/// Widest distance between two nodes, in columns.
const WIDEST: usize = 4;

/// What to draw.
#[derive(Debug, Clone, Default)]
pub struct Along {
    /// Nodes' own errors: the slot is the column's, from 0.
    pub isolated: Vec<Point>,
    /// What has come together.
    pub together: Vec<Point>,
    /// How many columns of nodes there are.
    pub slots: usize,
    /// How many nodes each stands for.
    pub each: usize,
    /// The column of the node that is selected.
    pub cursor: Option<usize>,
}

/// How many columns of nodes there is room for.
pub fn room(area: Rect) -> usize {
    usize::from(area.width.saturating_sub(AXIS + 2))
}

/// Draw it. Nothing is drawn where there is no room for an axis.
pub fn draw(theme: &Theme, area: Rect, buffer: &mut Buffer, along: &Along) {
    if area.height < 5 || area.width < AXIS + 8 {
        return;
    }
    let plot = Rect { x: area.x + AXIS, width: area.width - AXIS, height: area.height - 2, ..area };
    let all: Vec<Point> = along.isolated.iter().chain(&along.together).copied().collect();
    let scale = Scale::of(&all);
    draw_axis(theme, area, plot, scale, buffer);
    let step = (room(area) / along.slots.max(1)).clamp(1, WIDEST);
    let column = |slot: usize| plot.x + 1 + (slot * step) as u16;
    let usable = |value: f64| value > 0.0 && value.is_finite();
    let mut set = |x: u16, y: u16, sign: char, style| {
        if let Some(cell) = buffer.cell_mut((x, y)).filter(|_| x < plot.right() && x > plot.x) {
            cell.set_char(sign).set_style(style);
        }
    };
    // A line is drawn as far as the next column, dots on it come last.
    for (points, sign, style) in
        [(&along.together, '╌', theme.faint()), (&along.isolated, '┄', theme.verdict(Verdict::Drift))]
    {
        for point in points.iter().filter(|point| usable(point.tolerance)) {
            let y = plot.y + scale.row(point.tolerance, plot.height);
            (0..step as u16).for_each(|by| set(column(point.slot) + by, y, sign, style));
        }
    }
    let height = |value: f64| match value {
        0.0 => plot.bottom(),
        value if value.is_finite() => plot.y + scale.row(value, plot.height),
        _ => plot.y,
    };
    for point in &along.together {
        let style = if point.verdict.is_bad() { theme.verdict(point.verdict) } else { theme.muted() };
        (0..step as u16).for_each(|by| set(column(point.slot) + by, height(point.value), '─', style));
    }
    // An error that would fall on the row of its bound moves to the side where it belongs.
    let apart = |point: &Point| {
        let (here, bound) = (height(point.value), height(point.tolerance));
        match point.value > point.tolerance {
            _ if here != bound || !usable(point.value) || !usable(point.tolerance) => here,
            true => here.saturating_sub(1).max(plot.y),
            false => (here + 1).min(plot.bottom().saturating_sub(1)),
        }
    };
    for point in &along.isolated {
        let sign = match point.verdict {
            Verdict::Failed => '!',
            verdict if verdict.is_bad() => '✗',
            _ if point.value == 0.0 => '=',
            _ => '●',
        };
        set(column(point.slot), apart(point), sign, theme.verdict(point.verdict));
    }
    let y = area.bottom() - 1;
    let width = usize::from(area.width - AXIS);
    text::put_text(buffer, area.x + AXIS, y, width, &format!("└{}", "─".repeat(width - 1)), theme.faint());
    if let Some(x) = along.cursor.map(column).filter(|x| *x < plot.right()) {
        // A line up through what is empty, and its foot on the axis.
        for y in plot.top()..area.bottom() {
            if let Some(cell) =
                buffer.cell_mut((x, y)).filter(|cell| matches!(cell.symbol(), " " | "─") || cell.symbol().is_empty())
            {
                match (y == area.bottom() - 1, cell.symbol()) {
                    (true, "─") => cell.set_char('▲').set_style(theme.mark()),
                    (false, " ") => cell.set_char('┊').set_style(theme.mark()),
                    _ => cell,
                };
            }
        }
    }
    let caption = caption(along.each, width);
    let x = area.right().saturating_sub(text::width(&caption) as u16);
    text::put_text(buffer, x, y, width, &caption, theme.muted());
}

/// What the signs are, in as many words as there is room for.
fn caption(each: usize, width: usize) -> String {
    let each = if each > 1 { format!(", {each} nodes a column") } else { String::new() };
    let captions = [
        format!(" ● isolated ─ accumulated ┄ tolerance{each} "),
        " ● isolated ─ accumulated ┄ tolerance ".to_owned(),
        " ● isolated ─ accumulated ".to_owned(),
    ];
    captions.into_iter().find(|caption| text::width(caption) < width).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tui::snapshot::rows;

    fn point(slot: usize, value: f64, verdict: Verdict) -> Point {
        Point { slot, value, mean: 0.0, tolerance: 1e-5, verdict }
    }

    #[test]
    fn both_errors_have_their_signs_and_the_tolerance_lies_between_right_and_wrong() {
        let theme = Theme::load("dark", |_| None).unwrap();
        let area = Rect::new(0, 0, 50, 11);
        let mut buffer = Buffer::empty(area);
        let along = Along {
            isolated: vec![point(0, 0.0, Verdict::Exact), point(1, 2e-7, Verdict::Ok), point(2, 0.3, Verdict::Broken)],
            together: vec![point(1, 4e-7, Verdict::Ok), point(2, 0.4, Verdict::Broken)],
            slots: 3,
            each: 1,
            cursor: Some(2),
        };
        draw(&theme, area, &mut buffer, &along);
        let rows = rows(&buffer);
        let row = |sign: char| rows[..10].iter().position(|row| row.contains(sign)).unwrap();
        assert!(row('✗') < row('┄') && row('┄') < row('●') && row('●') < row('='), "{rows:#?}");
        assert!(rows[9].starts_with("     0┤="), "{rows:#?}");
        assert!(rows[2].contains('┊') && rows[5].contains('┊'), "{rows:#?}");
        // On a coarse axis each is still on its side of the bound.
        for (value, verdict, above) in [(9.9e-6, Verdict::Ok, false), (1.1e-5, Verdict::Drift, true)] {
            let mut buffer = Buffer::empty(area);
            let one = Along { isolated: vec![point(0, value, verdict)], slots: 3, each: 1, ..Along::default() };
            draw(&theme, area, &mut buffer, &one);
            let rows = crate::tui::snapshot::rows(&buffer);
            let row = |signs: [char; 2]| rows[..10].iter().position(|row| row.contains(signs)).unwrap();
            assert_eq!(row(['●', '✗']) < row(['┄', '┄']), above, "{rows:#?}");
            assert_ne!(row(['●', '✗']), row(['┄', '┄']), "{rows:#?}");
        }
        // Nothing is drawn beyond the pane, however many nodes there are.
        let many =
            Along { isolated: (0..500).map(|slot| point(slot, 1e-7, Verdict::Ok)).collect(), slots: 500, ..along };
        draw(&theme, area, &mut buffer, &many);
    }
}
