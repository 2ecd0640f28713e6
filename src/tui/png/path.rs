//! Path data of SVG, as far as the signs of the screen and the font are written in it.

use tiny_skia::{Path, PathBuilder};

/// How far the controls of a quarter of a circle are from its ends, in radii.
const QUARTER: f32 = 0.552_284_8;

/// The path; `None` where the data is of another kind: M, L, Q, h, v, l, z, and `a` of half a circle.
pub(super) fn of(data: &str) -> Option<Path> {
    let mut path = PathBuilder::new();
    let mut at = (0.0f32, 0.0f32);
    let mut start = at;
    let mut rest = data.trim_start();
    while let Some(letter) = rest.chars().next() {
        let body = rest.get(letter.len_utf8()..)?;
        let end = body.find(|sign: char| sign.is_ascii_alphabetic()).unwrap_or(body.len());
        let (numbers, behind) = body.split_at(end);
        let numbers = numbers_of(numbers)?;
        match (letter, numbers.as_slice()) {
            ('M', &[x, y]) => {
                (at, start) = ((x, y), (x, y));
                path.move_to(x, y);
            }
            ('L', &[x, y]) => line(&mut path, &mut at, (x, y)),
            ('l', &[x, y]) => {
                let to = (at.0 + x, at.1 + y);
                line(&mut path, &mut at, to);
            }
            ('h', &[x]) => {
                let to = (at.0 + x, at.1);
                line(&mut path, &mut at, to);
            }
            ('v', &[y]) => {
                let to = (at.0, at.1 + y);
                line(&mut path, &mut at, to);
            }
            ('Q', &[control_x, control_y, x, y]) => {
                path.quad_to(control_x, control_y, x, y);
                at = (x, y);
            }
            // Two in a row are written with one letter.
            ('a', arcs) if arcs.len().is_multiple_of(7) => {
                for arc in arcs.chunks(7) {
                    half_circle(&mut path, &mut at, arc)?;
                }
            }
            ('z' | 'Z', []) => {
                path.close();
                at = start;
            }
            _ => return None,
        }
        rest = behind.trim_start();
    }
    path.finish()
}

fn line(path: &mut PathBuilder, at: &mut (f32, f32), to: (f32, f32)) {
    path.line_to(to.0, to.1);
    *at = to;
}

/// `r r 0 large sweep dx dy` of which the ends are two radii apart.
fn half_circle(path: &mut PathBuilder, at: &mut (f32, f32), arc: &[f32]) -> Option<()> {
    let &[radius, other, _, _, sweep, dx, dy] = arc else { return None };
    if radius != other || (dx.hypot(dy) - 2.0 * radius).abs() > 0.01 {
        return None;
    }
    let middle = (at.0 + dx / 2.0, at.1 + dy / 2.0);
    let from = (-dx / 2.0, -dy / 2.0);
    let turn = if sweep > 0.5 { 1.0 } else { -1.0 };
    let top = (-turn * from.1, turn * from.0);
    let point = |a: f32, b: f32| (middle.0 + a * from.0 + b * top.0, middle.1 + a * from.1 + b * top.1);
    let mut curve =
        |one: (f32, f32), two: (f32, f32), to: (f32, f32)| path.cubic_to(one.0, one.1, two.0, two.1, to.0, to.1);
    curve(point(1.0, QUARTER), point(QUARTER, 1.0), point(0.0, 1.0));
    curve(point(-QUARTER, 1.0), point(-1.0, QUARTER), point(-1.0, 0.0));
    *at = point(-1.0, 0.0);
    Some(())
}

/// Numbers that blanks, or a minus alone, divide.
fn numbers_of(text: &str) -> Option<Vec<f32>> {
    text.replace('-', " -").split_whitespace().map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::super::svg::{Drawing, shape};
    use super::*;

    #[test]
    fn every_sign_that_is_a_shape_can_be_drawn() {
        let mut shapes = 0;
        for sign in '\u{21}'..'\u{ffff}' {
            let Some(drawing) = shape(sign, 100.0, 200.0) else { continue };
            // A braille pattern without a dot is nothing.
            if sign == '\u{2800}' {
                continue;
            }
            let (Drawing::Stroke(data) | Drawing::Fill(data)) = &drawing;
            let bounds = of(data).unwrap_or_else(|| panic!("{sign}: {data}")).bounds();
            let within =
                bounds.left() >= 99.0 && bounds.right() <= 110.0 && bounds.top() >= 199.0 && bounds.bottom() <= 219.0;
            assert!(within, "{sign}: {data}: {bounds:?}");
            shapes += 1;
        }
        assert!(shapes > 280, "{shapes}");
    }

    #[test]
    fn half_circles_turn_as_they_are_told() {
        let left = of("M10 0a5 5 0 1 0 0 10z").unwrap().bounds();
        assert_eq!((left.left().round(), left.right().round()), (5.0, 10.0), "against the clock");
        let right = of("M10 0a5 5 0 1 1 0 10z").unwrap().bounds();
        assert_eq!((right.left().round(), right.right().round()), (10.0, 15.0));
        assert!(of("M1 1c1 2 3 4 5 6").is_none() && of("M1").is_none() && of("M0 0a5 5 0 1 0 3 3z").is_none());
    }
}
