//! A drawn buffer as an SVG picture.
//!
//! Borders, blocks, braille and the signs of the screen are vector shapes, so that they meet at the edges of their cells
//! and look alike whatever font there is; everything else is text in a monospace font.

use std::fmt::Write;

use indexmap::IndexMap;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::snapshot::visible;
use super::theme::{Rgb, Theme};

/// Width of a cell: the advance of DejaVu Sans Mono at the font size below.
pub(super) const WIDTH: f64 = 8.43;
/// Height of a cell.
pub(super) const HEIGHT: f64 = 18.0;
/// Size of the font.
pub(super) const FONT: f64 = 14.0;
/// Baseline of the text, from the top of its cell.
const BASELINE: f64 = 13.4;
/// Space around the screen.
pub(super) const MARGIN: f64 = 14.0;
/// Width of lines.
pub(super) const STROKE: f64 = 1.3;
/// Fonts, in order of preference.
const FONTS: &str = "'DejaVu Sans Mono', Menlo, Consolas, monospace";

/// The picture, on the background that the theme is meant for.
pub fn svg(buffer: &Buffer, theme: &Theme) -> String {
    let mut svg = head(buffer, theme);
    paint(buffer, theme, &mut svg);
    svg.push_str(END);
    svg
}

/// Draw a buffer, row by row, with a pen.
pub(super) fn paint(buffer: &Buffer, theme: &Theme, pen: &mut impl Pen) {
    let painter = Painter { theme };
    for (y, row) in rows(buffer).enumerate() {
        painter.row(pen, row, y as f64 * HEIGHT);
    }
}

/// What a picture is drawn with. Places are in the picture's units, from the screen's upper left corner; colours are `#rrggbb`.
pub(super) trait Pen {
    /// The background of cells: their left upper corner, and how wide they are.
    fn background(&mut self, x: f64, y: f64, width: f64, colour: &str);
    /// A line below text.
    fn underline(&mut self, x: f64, y: f64, width: f64, colour: &str);
    /// A sign that is no text.
    fn shape(&mut self, drawing: &Drawing, colour: &str);
    /// Text in so many cells, the first of them at `x`; `y` is its baseline.
    fn text(&mut self, words: &str, look: Modifier, x: f64, y: f64, colour: &str, cells: usize);
}

impl Pen for String {
    fn background(&mut self, x: f64, y: f64, width: f64, colour: &str) {
        // Writing to a String cannot fail.
        let _ =
            writeln!(self, "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{HEIGHT}\" fill=\"{colour}\"/>");
    }

    fn underline(&mut self, x: f64, y: f64, width: f64, colour: &str) {
        let _ = writeln!(
            self,
            "<path d=\"M{x:.2} {y:.1}h{width:.2}\" stroke=\"{colour}\" stroke-width=\"1\" fill=\"none\"/>"
        );
    }

    fn shape(&mut self, drawing: &Drawing, colour: &str) {
        let _ = match drawing {
            Drawing::Stroke(path) => writeln!(
                self,
                "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{STROKE}\" fill=\"none\" stroke-linecap=\"round\"/>"
            ),
            Drawing::Fill(path) => writeln!(self, "<path d=\"{path}\" fill=\"{colour}\"/>"),
        };
    }

    fn text(&mut self, words: &str, look: Modifier, x: f64, y: f64, colour: &str, cells: usize) {
        let weight = if look.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
        let slant = if look.contains(Modifier::ITALIC) { " font-style=\"italic\"" } else { "" };
        let length = if cells > 1 {
            format!(" textLength=\"{:.2}\" lengthAdjust=\"spacingAndGlyphs\"", cells as f64 * WIDTH)
        } else {
            String::new()
        };
        let _ = writeln!(
            self,
            "<text x=\"{x:.2}\" y=\"{y:.1}\" fill=\"{colour}\" xml:space=\"preserve\"{weight}{slant}{length}>{}</text>",
            xml(words)
        );
    }
}

/// Pictures one after the other, each with the second from which on it is shown; after so many seconds it begins anew. A row that
/// several have in common is drawn once. All are of the first one's size.
pub fn animated(frames: &[(f64, Buffer)], seconds: f64, theme: &Theme) -> String {
    let Some((_, first)) = frames.first() else { return String::new() };
    let mut svg = head(first, theme);
    let painter = Painter { theme };
    for y in 0..usize::from(first.area.height) {
        // Each look of the row, with the frames that have it.
        let mut looks: IndexMap<String, Vec<usize>> = IndexMap::new();
        for (at, (_, buffer)) in frames.iter().enumerate() {
            let mut look = String::new();
            rows(buffer).nth(y).into_iter().for_each(|row| painter.row(&mut look, row, y as f64 * HEIGHT));
            looks.entry(look).or_default().push(at);
        }
        for (look, shown) in looks.iter().filter(|(look, _)| !look.is_empty()) {
            if shown.len() == frames.len() {
                svg.push_str(look);
                continue;
            }
            // Writing to a String cannot fail.
            let _ = writeln!(svg, "<g visibility=\"hidden\">{look}{}</g>", animation(frames, seconds, shown));
        }
    }
    svg.push_str(END);
    svg
}

/// What shows a part of the picture in those frames alone.
fn animation(frames: &[(f64, Buffer)], seconds: f64, shown: &[usize]) -> String {
    let (mut values, mut times, mut before) = (Vec::new(), Vec::new(), None);
    for (at, (start, _)) in frames.iter().enumerate() {
        let now = shown.binary_search(&at).is_ok();
        if before != Some(now) {
            values.push(if now { "visible" } else { "hidden" });
            times.push(format!("{:.4}", if at == 0 { 0.0 } else { (start / seconds).min(1.0) }));
            before = Some(now);
        }
    }
    format!(
        "<animate attributeName=\"visibility\" calcMode=\"discrete\" dur=\"{seconds:.2}s\" repeatCount=\"indefinite\" \
         values=\"{}\" keyTimes=\"{}\"/>",
        values.join(";"),
        times.join(";")
    )
}

const END: &str = "</g>\n</svg>\n";

fn rows(buffer: &Buffer) -> impl Iterator<Item = &[Cell]> {
    buffer.content.chunks(usize::from(buffer.area.width).max(1))
}

/// Everything before the first row.
fn head(buffer: &Buffer, theme: &Theme) -> String {
    let (columns, rows) = (f64::from(buffer.area.width), f64::from(buffer.area.height));
    let (width, height) = (columns * WIDTH + 2.0 * MARGIN, rows * HEIGHT + 2.0 * MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.2} {height:.2}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>\n\
         <g transform=\"translate({MARGIN} {MARGIN})\" font-family=\"{FONTS}\" font-size=\"{FONT}\">\n",
        hex(theme.background)
    )
}

struct Painter<'a> {
    theme: &'a Theme,
}

impl Painter<'_> {
    fn row(&self, pen: &mut impl Pen, row: &[Cell], y: f64) {
        let cells: Vec<(usize, &Cell)> = visible(row).collect();
        for run in cells.chunk_by(|left, right| self.background(left.1) == self.background(right.1)) {
            let (Some((first, cell)), Some((last, _))) = (run.first(), run.last()) else { continue };
            if let Some(colour) = self.background(cell) {
                pen.background(*first as f64 * WIDTH, y, (last - first + 1) as f64 * WIDTH, &colour);
            }
        }
        let alike = |left: &(usize, &Cell), right: &(usize, &Cell)| {
            left.0 + 1 == right.0
                && self.foreground(left.1) == self.foreground(right.1)
                && left.1.modifier == right.1.modifier
                && is_plain(left.1)
                && is_plain(right.1)
        };
        for run in cells.chunk_by(alike) {
            let (Some((first, cell)), Some((last, _))) = (run.first(), run.last()) else { continue };
            let words: String = run.iter().map(|(_, cell)| cell.symbol()).collect();
            let blank = words.trim().is_empty();
            let (x, colour) = (*first as f64 * WIDTH, self.foreground(cell));
            if cell.modifier.contains(Modifier::UNDERLINED) {
                pen.underline(x, y + BASELINE + 2.5, (last - first + 1) as f64 * WIDTH, &colour);
            }
            if blank {
                continue;
            }
            match words.chars().next().and_then(|sign| shape(sign, x, y)) {
                Some(drawing) => pen.shape(&drawing, &colour),
                None => {
                    let lead = words.len() - words.trim_start().len();
                    let trail = words.len() - words.trim_end().len();
                    let cells = run.len() - lead - trail;
                    pen.text(words.trim(), cell.modifier, x + lead as f64 * WIDTH, y + BASELINE, &colour, cells);
                }
            }
        }
    }

    fn foreground(&self, cell: &Cell) -> String {
        if cell.modifier.contains(Modifier::REVERSED) {
            return self.colour(cell.bg).unwrap_or_else(|| hex(self.theme.background));
        }
        self.colour(cell.fg).unwrap_or_else(|| hex(self.theme.foreground))
    }

    /// `None` where the background of the picture shows.
    fn background(&self, cell: &Cell) -> Option<String> {
        if cell.modifier.contains(Modifier::REVERSED) {
            return Some(self.colour(cell.fg).unwrap_or_else(|| hex(self.theme.foreground)));
        }
        self.colour(cell.bg)
    }

    /// `None` for the terminal's own; the sixteen are those of xterm.
    fn colour(&self, colour: Color) -> Option<String> {
        Some(match colour {
            Color::Rgb(red, green, blue) => hex(Rgb(red, green, blue)),
            Color::DarkGray => "#7f7f7f".to_owned(),
            Color::Gray => "#c0c0c0".to_owned(),
            Color::Red => "#cd0000".to_owned(),
            Color::Green => "#00cd00".to_owned(),
            Color::Yellow => "#cdcd00".to_owned(),
            Color::Blue => "#0000ee".to_owned(),
            Color::Magenta => "#cd00cd".to_owned(),
            Color::Cyan => "#00cdcd".to_owned(),
            Color::LightRed => "#ff5f5f".to_owned(),
            Color::LightGreen => "#5fff5f".to_owned(),
            Color::LightYellow => "#ffff5f".to_owned(),
            Color::LightBlue => "#5c9cff".to_owned(),
            Color::LightMagenta => "#ff5fff".to_owned(),
            Color::LightCyan => "#5fffff".to_owned(),
            _ => return None,
        })
    }
}

/// ASCII takes exactly one cell a character in every monospace font; anything else is placed on its own.
fn is_plain(cell: &Cell) -> bool {
    cell.symbol().is_ascii()
}

fn hex(rgb: Rgb) -> String {
    format!("#{:02x}{:02x}{:02x}", rgb.0, rgb.1, rgb.2)
}

fn xml(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A sign as path data of SVG.
pub(super) enum Drawing {
    /// A line of [`STROKE`].
    Stroke(String),
    /// What is within.
    Fill(String),
}

/// A sign as a path in the cell at `x`, `y`; `None` for those that are text.
pub(super) fn shape(sign: char, x: f64, y: f64) -> Option<Drawing> {
    let (w, h) = (WIDTH, HEIGHT);
    let (mx, my, right, bottom) = (x + w / 2.0, y + h / 2.0, x + w, y + h);
    let circle = |radius: f64| {
        format!(
            "M{:.2} {my:.2}a{radius} {radius} 0 1 0 {d} 0a{radius} {radius} 0 1 0 -{d} 0z",
            mx - radius,
            d = 2.0 * radius
        )
    };
    let lines = |parts: &[[f64; 4]]| {
        let path = parts.iter().map(|[a, b, c, d]| format!("M{a:.2} {b:.2}L{c:.2} {d:.2}"));
        Some(Drawing::Stroke(path.collect()))
    };
    let (left_half, right_half) = ([x, my, mx, my], [mx, my, right, my]);
    let (upper, lower) = ([mx, y, mx, my], [mx, my, mx, bottom]);
    let corner = |from: [f64; 2], to: [f64; 2]| {
        let [fx, fy] = from;
        let [tx, ty] = to;
        Some(Drawing::Stroke(format!("M{fx:.2} {fy:.2}Q{mx:.2} {my:.2} {tx:.2} {ty:.2}")))
    };
    let polygon = |points: &[[f64; 2]]| {
        let path = points
            .iter()
            .enumerate()
            .map(|(index, [a, b])| format!("{}{:.2} {:.2}", if index == 0 { 'M' } else { 'L' }, mx + a, my + b));
        format!("{}z", path.collect::<String>())
    };
    match sign {
        '─' => lines(&[[x, my, right, my]]),
        '┃' => Some(Drawing::Fill(format!("M{:.2} {y:.2}h3v{h}h-3z", mx - 1.5))),
        '│' => lines(&[[mx, y, mx, bottom]]),
        '┄' => lines(&[[x + 1.4, my, x + w * 0.45, my], [x + w * 0.75, my, right - 0.6, my]]),
        '┊' => lines(&[[mx, y + 2.0, mx, y + 5.5], [mx, y + 10.0, mx, y + 13.5]]),
        '├' => lines(&[[mx, y, mx, bottom], right_half]),
        '┤' => lines(&[[mx, y, mx, bottom], left_half]),
        '└' => lines(&[upper, right_half]),
        '┬' => lines(&[left_half, right_half, lower]),
        '╭' => corner([mx, bottom], [right, my]),
        '╮' => corner([mx, bottom], [x, my]),
        '╰' => corner([mx, y], [right, my]),
        '╯' => corner([mx, y], [x, my]),
        '▌' => Some(Drawing::Fill(format!("M{x:.2} {y:.2}h{:.2}v{h}h-{:.2}z", w * 0.4, w * 0.4))),
        '▰' => Some(Drawing::Fill(polygon(&[[-2.2, -4.2], [4.0, -4.2], [2.2, 4.2], [-4.0, 4.2]]))),
        '▱' => Some(Drawing::Stroke(polygon(&[[-1.9, -3.6], [3.5, -3.6], [1.9, 3.6], [-3.5, 3.6]]))),
        '●' => Some(Drawing::Fill(circle(3.7))),
        '○' => Some(Drawing::Stroke(circle(3.2))),
        '∙' => Some(Drawing::Fill(circle(1.5))),
        '◐' => Some(Drawing::Fill(format!(
            "{}M{mx:.2} {:.2}a2.6 2.6 0 0 1 0 5.2z",
            // The ring is drawn in the opposite direction to the half disc, which is cut out of it.
            circle(3.7),
            my - 2.6
        ))),
        '◇' => Some(Drawing::Stroke(polygon(&[[0.0, -4.2], [3.9, 0.0], [0.0, 4.2], [-3.9, 0.0]]))),
        '▢' => Some(Drawing::Stroke(polygon(&[[-3.1, -3.1], [3.1, -3.1], [3.1, 3.1], [-3.1, 3.1]]))),
        '▸' => Some(Drawing::Fill(polygon(&[[-2.2, -3.6], [3.0, 0.0], [-2.2, 3.6]]))),
        '▾' => Some(Drawing::Fill(polygon(&[[-3.6, -2.2], [3.6, -2.2], [0.0, 3.0]]))),
        '✓' => lines(&[[mx - 3.4, my + 0.4, mx - 1.0, my + 3.2], [mx - 1.0, my + 3.2, mx + 3.4, my - 3.8]]),
        '✗' => lines(&[[mx - 3.0, my - 3.2, mx + 3.0, my + 3.4], [mx + 3.0, my - 3.2, mx - 3.0, my + 3.4]]),
        '⚑' => Some(Drawing::Fill(format!(
            "M{:.2} {:.2}h1.3v11h-1.3zM{:.2} {:.2}l6.2 2.6l-6.2 2.8z",
            mx - 3.2,
            my - 5.0,
            mx - 1.9,
            my - 5.0
        ))),
        '\u{2800}'..='\u{28ff}' => Some(Drawing::Fill(braille(sign, x, y))),
        _ => None,
    }
}

/// The dots of a braille pattern.
fn braille(sign: char, x: f64, y: f64) -> String {
    const DOTS: [(f64, f64); 8] =
        [(0.3, 0.2), (0.3, 0.4), (0.3, 0.6), (0.7, 0.2), (0.7, 0.4), (0.7, 0.6), (0.3, 0.8), (0.7, 0.8)];
    let pattern = sign as u32 - 0x2800;
    let dots = DOTS.iter().enumerate().filter(|(index, _)| pattern & (1 << index) != 0);
    dots.map(|(_, (dx, dy))| {
        format!("M{:.2} {:.2}a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0 -2.4 0z", x + dx * WIDTH - 1.2, y + dy * HEIGHT)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn text_is_escaped_and_signs_are_shapes() {
        let theme = Theme::load("dark", |_| None).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        buffer.set_string(0, 0, "a<b", Style::new().bold());
        buffer.set_string(4, 0, "●⣾", Style::new().fg(Color::Rgb(1, 2, 3)));
        let svg = svg(&buffer, &theme);
        assert!(svg.contains("font-weight=\"bold\"") && svg.contains(">a&lt;b</text>"));
        assert_eq!(svg.matches("fill=\"#010203\"").count(), 2);
        assert!(!svg.contains('●'));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn rows_that_stay_are_drawn_once_and_others_in_their_time() {
        let theme = Theme::load("dark", |_| None).unwrap();
        let frame = |words: &str| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 2));
            buffer.set_string(0, 0, "stays", Style::new());
            buffer.set_string(0, 1, words, Style::new());
            buffer
        };
        let frames = [(0.0, frame("one")), (1.0, frame("two")), (3.0, frame("one"))];
        let svg = animated(&frames, 4.0, &theme);
        assert_eq!(
            [svg.matches(">stays<").count(), svg.matches(">one<").count(), svg.matches(">two<").count()],
            [1, 1, 1]
        );
        assert!(svg.contains("values=\"visible;hidden;visible\" keyTimes=\"0.0000;0.2500;0.7500\""), "{svg}");
        assert!(svg.contains("values=\"hidden;visible;hidden\" keyTimes=\"0.0000;0.2500;0.7500\""), "{svg}");
    }
}
