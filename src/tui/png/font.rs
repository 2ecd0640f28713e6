//! The outlines that text is drawn with: `assets/font/mono.z`, which `assets/font/make.py` writes.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;
use tiny_skia::Path;

use super::path;
use crate::assets;

const OUTLINES: &[u8] = include_bytes!("../../../assets/font/mono.z");
/// Units of the font's size.
pub(super) const UNITS: f32 = 2048.0;
/// The line before the bold glyphs.
const BOLD: &str = "bold";

/// The glyphs as path data, by letter and weight.
pub(super) struct Font {
    data: HashMap<(char, bool), String>,
}

impl Font {
    /// The one that is built in.
    pub fn built_in() -> Font {
        let mut text = String::new();
        let read = ZlibDecoder::new(OUTLINES).read_to_string(&mut text);
        assets::built_in("mono.z", read);
        let mut bold = false;
        let mut data = HashMap::new();
        for line in text.lines() {
            if line == BOLD {
                bold = true;
            } else if let Some((code, outline)) = line.split_once(' ') {
                let letter = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                data.extend(letter.map(|letter| ((letter, bold), outline.to_owned())));
            }
        }
        Font { data }
    }

    /// The outline of a letter; of one that is not there in bold the plain one.
    pub fn glyph(&self, letter: char, bold: bool) -> Option<Path> {
        let data = self.data.get(&(letter, bold)).or_else(|| self.data.get(&(letter, false)))?;
        path::of(data)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::svg::shape;
    use super::*;
    use crate::tui::glyphs;

    #[test]
    fn every_letter_of_the_screen_is_there() {
        let font = Font::built_in();
        for ((letter, bold), data) in &font.data {
            assert!(path::of(data).is_some(), "{letter} {bold}: {data}");
        }
        let ascii = ('!'..='~').map(|letter| (letter, true));
        let signs = include_str!("../glyphs.rs").chars().chain(include_str!("../draw/chart.rs").chars());
        let signs = signs.filter(|sign| !sign.is_ascii() && shape(*sign, 0.0, 0.0).is_none()).map(|sign| (sign, false));
        for (letter, bold) in ascii.chain(signs) {
            assert!(font.glyph(letter, bold).is_some(), "{letter} U+{:04X}", u32::from(letter));
        }
        assert!(font.glyph(glyphs::MARK, false).is_some());
    }
}
