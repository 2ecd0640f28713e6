//! A drawn buffer as a PNG picture: the same shapes as in the SVG one, and text in outlines that are built in, so that it is the same
//! on a machine without fonts.

mod font;
mod path;

use ratatui::buffer::Buffer;
use ratatui::style::Modifier;
use tiny_skia::{Color, FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::svg::{Drawing, FONT, HEIGHT, MARGIN, Pen, STROKE, WIDTH, paint};
use super::theme::{Rgb, Theme};
use font::Font;

/// Pixels of the picture for one of the SVG's units.
const ZOOM: f32 = 2.0;
/// Rounding of the corners.
const CORNER: f32 = 8.0;
/// How far a letter leans for each unit of its height.
const SLANT: f32 = 0.2;
/// Height of a letter that the font does not have, and the space beside its box.
const BOX: (f32, f32) = (10.0, 1.5);

/// The picture, on the background that the theme is meant for.
///
/// # Errors
/// In words: the screen is too large for a picture.
pub fn png(buffer: &Buffer, theme: &Theme) -> Result<Vec<u8>, String> {
    let side = |cells: u16, size: f64| (f64::from(cells) * size + 2.0 * MARGIN) as f32;
    let (width, height) = (side(buffer.area.width, WIDTH), side(buffer.area.height, HEIGHT));
    let pixels = |side: f32| (side * ZOOM).round() as u32;
    let pixmap = Pixmap::new(pixels(width), pixels(height)).ok_or("the screen is too large for a picture")?;
    let mut pen = Brush { pixmap, font: Font::built_in(), place: Transform::from_scale(ZOOM, ZOOM) };
    if let Some(page) = rounded(width, height) {
        let Rgb(red, green, blue) = theme.background;
        pen.fill(&page, Color::from_rgba8(red, green, blue, 255));
    }
    pen.place = pen.place.pre_translate(MARGIN as f32, MARGIN as f32);
    paint(buffer, theme, &mut pen);
    pen.pixmap.encode_png().map_err(|error| error.to_string())
}

/// A page with round corners.
fn rounded(width: f32, height: f32) -> Option<Path> {
    // A quarter of a circle by a curve.
    let bend = CORNER * (1.0 - 0.552_284_8);
    let mut path = PathBuilder::new();
    path.move_to(CORNER, 0.0);
    path.line_to(width - CORNER, 0.0);
    path.cubic_to(width - bend, 0.0, width, bend, width, CORNER);
    path.line_to(width, height - CORNER);
    path.cubic_to(width, height - bend, width - bend, height, width - CORNER, height);
    path.line_to(CORNER, height);
    path.cubic_to(bend, height, 0.0, height - bend, 0.0, height - CORNER);
    path.line_to(0.0, CORNER);
    path.cubic_to(0.0, bend, bend, 0.0, CORNER, 0.0);
    path.close();
    path.finish()
}

/// Draws into pixels.
struct Brush {
    pixmap: Pixmap,
    font: Font,
    /// From the screen's upper left corner into pixels.
    place: Transform,
}

impl Brush {
    fn fill(&mut self, path: &Path, colour: Color) {
        self.fill_at(path, colour, self.place);
    }

    fn fill_at(&mut self, path: &Path, colour: Color, place: Transform) {
        let mut paint = Paint::default();
        paint.set_color(colour);
        self.pixmap.fill_path(path, &paint, FillRule::Winding, place, None);
    }

    fn stroke(&mut self, path: &Path, colour: Color, width: f64, cap: LineCap) {
        let mut paint = Paint::default();
        paint.set_color(colour);
        let stroke = Stroke { width: width as f32, line_cap: cap, ..Stroke::default() };
        self.pixmap.stroke_path(path, &paint, &stroke, self.place, None);
    }
}

impl Pen for Brush {
    fn background(&mut self, x: f64, y: f64, width: f64, colour: &str) {
        let area = Rect::from_xywh(x as f32, y as f32, width as f32, HEIGHT as f32);
        if let (Some(area), Some(colour)) = (area, colour_of(colour)) {
            // Whole pixels, so that neighbours have no seam.
            let mut paint = Paint { anti_alias: false, ..Paint::default() };
            paint.set_color(colour);
            self.pixmap.fill_rect(area, &paint, self.place, None);
        }
    }

    fn underline(&mut self, x: f64, y: f64, width: f64, colour: &str) {
        let mut path = PathBuilder::new();
        path.move_to(x as f32, y as f32);
        path.line_to((x + width) as f32, y as f32);
        if let (Some(path), Some(colour)) = (path.finish(), colour_of(colour)) {
            self.stroke(&path, colour, 1.0, LineCap::Butt);
        }
    }

    fn shape(&mut self, drawing: &Drawing, colour: &str) {
        let Some(colour) = colour_of(colour) else { return };
        match drawing {
            Drawing::Stroke(data) => {
                if let Some(path) = path::of(data) {
                    self.stroke(&path, colour, STROKE, LineCap::Round);
                }
            }
            Drawing::Fill(data) => {
                if let Some(path) = path::of(data) {
                    self.fill(&path, colour);
                }
            }
        }
    }

    fn text(&mut self, words: &str, look: Modifier, x: f64, y: f64, colour: &str, _cells: usize) {
        let Some(colour) = colour_of(colour) else { return };
        // The font's units are upwards.
        let scale = FONT as f32 / font::UNITS;
        let lean = if look.contains(Modifier::ITALIC) { SLANT } else { 0.0 };
        for (at, letter) in words.chars().enumerate() {
            let (x, y) = ((x + at as f64 * WIDTH) as f32, y as f32);
            match self.font.glyph(letter, look.contains(Modifier::BOLD)) {
                Some(glyph) => {
                    let own = Transform::from_row(scale, 0.0, lean * scale, -scale, x, y);
                    self.fill_at(&glyph, colour, self.place.pre_concat(own));
                }
                // A blank is none, and a letter that the font does not have is a box.
                None if letter.is_whitespace() => {}
                None => {
                    let hollow = Rect::from_xywh(x + BOX.1, y - BOX.0, WIDTH as f32 - 2.0 * BOX.1, BOX.0);
                    if let Some(hollow) = hollow {
                        self.stroke(&PathBuilder::from_rect(hollow), colour, 0.8, LineCap::Butt);
                    }
                }
            }
        }
    }
}

/// `#rrggbb`
fn colour_of(hex: &str) -> Option<Color> {
    let number = u32::from_str_radix(hex.strip_prefix('#')?, 16).ok()?;
    let [_, red, green, blue] = number.to_be_bytes();
    Some(Color::from_rgba8(red, green, blue, 255))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ratatui::layout::Rect as Area;
    use ratatui::style::{Color as Shown, Style};

    use super::*;

    #[test]
    fn letters_signs_and_backgrounds_are_where_the_cells_are() {
        let theme = Theme::load("dark", |_| None).unwrap();
        let mut buffer = Buffer::empty(Area::new(0, 0, 12, 3));
        buffer.set_string(0, 0, "M", Style::new().fg(Shown::Rgb(255, 0, 0)));
        buffer.set_string(2, 0, "M", Style::new().fg(Shown::Rgb(255, 0, 0)).bold());
        buffer.set_string(4, 0, "●", Style::new().fg(Shown::Rgb(0, 255, 0)));
        buffer.set_string(6, 0, " ", Style::new().bg(Shown::Rgb(0, 0, 255)));
        buffer.set_string(8, 0, "漢", Style::new().fg(Shown::Rgb(255, 255, 0)));
        buffer.set_string(0, 1, "─│", Style::new().fg(Shown::Rgb(255, 0, 255)));
        let picture = Pixmap::decode_png(&png(&buffer, &theme).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (258, 164));
        let count = |column: f64, row: f64, colour: [u8; 3]| {
            let start = |at: f64, size: f64| ((MARGIN + at * size) * f64::from(ZOOM)).round() as u32;
            let (left, right) = (start(column, WIDTH), start(column + 1.0, WIDTH));
            let (top, bottom) = (start(row, HEIGHT), start(row + 1.0, HEIGHT));
            let pixels = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
            let same = |(x, y): &(u32, u32)| {
                let pixel = picture.pixel(*x, *y).unwrap();
                [pixel.red(), pixel.green(), pixel.blue()] == colour
            };
            pixels.filter(same).count()
        };
        let (plain, bold) = (count(0.0, 0.0, [255, 0, 0]), count(2.0, 0.0, [255, 0, 0]));
        assert!(plain > 40 && bold > plain, "{plain} {bold}");
        assert_eq!(count(1.0, 0.0, [255, 0, 0]), 0, "nothing leaves its cell");
        assert!((120..200).contains(&count(4.0, 0.0, [0, 255, 0])), "a disc of radius 3.7");
        assert!(count(6.0, 0.0, [0, 0, 255]) >= 16 * 36);
        assert!(count(8.0, 0.0, [255, 255, 0]) > 20, "a letter that the font does not have is a box");
        assert!(count(0.0, 1.0, [255, 0, 255]) > 10 && count(1.0, 1.0, [255, 0, 255]) > 30);
        let Rgb(red, green, blue) = theme.background;
        assert_eq!(count(5.0, 2.0, [red, green, blue]), 17 * 36);
        assert_eq!(picture.pixel(0, 0).unwrap().alpha(), 0, "the corners are round");
    }
}
